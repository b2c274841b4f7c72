package transport

import (
	"slices"
	"strconv"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// verdict is what a close frame says, as it is counted. There are few: a code that a peer has chosen is not one of its own.
type verdict uint8

// ownCodes are those that the relay itself closes with (docs/protocol.md 6), in their order.
var ownCodes = [...]messages.CloseCode{
	messages.CloseGoingAway, messages.CloseProtocolError, messages.CloseInvalidData, messages.ClosePolicy, messages.CloseTooBig,
	messages.CloseInternal, messages.CloseServiceRestart, messages.CloseNoServer, messages.CloseClaimed, messages.CloseTooManyPhones,
}

// A verdict below is the place of an own code.
const (
	echoed   = verdict(len(ownCodes)) + iota // the peer's own close frame, sent back
	ordered                                  // a binary has chosen it for its phone
	verdicts                                 // how many
)

func (v verdict) String() string {
	switch v {
	case echoed:
		return "echoed"
	case ordered:
		return "ordered"
	}
	return strconv.Itoa(int(ownCodes[v]))
}

// verdictOf tells the relay's own codes, which have a reason or are for who broke the protocol, from those of others. The socket is
// locked.
func (s *socket) verdictOf(code messages.CloseCode, reason string) verdict {
	own := slices.Index(ownCodes[:], code)
	switch {
	case own >= 0 && reason != "":
		return verdict(own)
	case s.echoes:
		return echoed
	case code == messages.CloseProtocolError && s.end != nil: // it is what ended the reading, and not a binary's order
		return verdict(own)
	}
	return ordered
}
