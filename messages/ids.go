package messages

import (
	"fmt"
	"time"
)

// MaxHeaderChars is the longest server-id or version, in characters (docs/protocol.md 1).
const MaxHeaderChars = 128

// ServerID names a slot: 1 to 128 characters of visible ASCII. Made by [ParseServerID] at the gate; inside, nobody asks again.
type ServerID string

// ParseServerID checks s against the rule of docs/protocol.md 1.
func ParseServerID(s string) (ServerID, error) {
	if err := checkASCII("server-id", s, '!'); err != nil {
		return "", err
	}
	return ServerID(s), nil
}

// Version is what a binary says of itself: 1 to 128 characters of printable ASCII. Made by [ParseVersion].
type Version string

// ParseVersion checks s against the rule of docs/protocol.md 1.
func ParseVersion(s string) (Version, error) {
	if err := checkASCII("version", s, ' '); err != nil {
		return "", err
	}
	return Version(s), nil
}

func checkASCII(what, s string, lowest byte) error {
	if len(s) == 0 || len(s) > MaxHeaderChars {
		return fmt.Errorf("%s of %d characters: want 1 to %d", what, len(s), MaxHeaderChars)
	}
	for i := range len(s) {
		if s[i] < lowest || s[i] > '~' {
			return fmt.Errorf("%s has byte 0x%02x at %d: want 0x%02x to 0x7e", what, s[i], i, lowest)
		}
	}
	return nil
}

// ConnID names a connection for people: in logs, in the journal, and for a phone on the wire. A binary's may repeat; what
// identifies a claim is its [ClaimToken], and a grant its [Epoch].
type ConnID string

// Address says where an actor's mail goes. It is opaque and comparable; only package actors turns it into something to send to.
type Address string

// ClaimToken tells one claim, or one place of a phone, from every other of the same process.
type ClaimToken uint64

// Epoch is the number of a grant of a slot. Epochs only grow, with gaps allowed; 0 is none.
type Epoch int64

// ProbeNumber counts the probes of one slot, from 1, across its holders.
type ProbeNumber int64

// CloseCode is a WebSocket status code (RFC 6455 7.4). 0 is none: there is nobody to say it to.
type CloseCode uint16

// The codes that the relay itself closes with. docs/protocol.md 6 says when, and what a client should do.
const (
	CloseNone           CloseCode = 0
	CloseNormal         CloseCode = 1000
	CloseGoingAway      CloseCode = 1001
	CloseProtocolError  CloseCode = 1002
	CloseNoStatus       CloseCode = 1005 // never on the wire: a close frame without a code
	CloseInvalidData    CloseCode = 1007
	ClosePolicy         CloseCode = 1008
	CloseTooBig         CloseCode = 1009
	CloseInternal       CloseCode = 1011
	CloseServiceRestart CloseCode = 1012
	CloseNoServer       CloseCode = 4404
	CloseClaimed        CloseCode = 4409
	CloseTooManyPhones  CloseCode = 4429
)

// The reasons that go with them, exactly as they stand on the wire.
const (
	ReasonClaimed          = "server-id already claimed"
	ReasonHeartbeatTimeout = "heartbeat timeout"
	ReasonShuttingDown     = "relay shutting down"
	ReasonTooSlow          = "message too slow"
	ReasonTooBig           = "message too big"
	ReasonInternal         = "internal error"
	ReasonNoServer         = "no server with that id"
	ReasonTooManyPhones    = "too many phones"
	ReasonBacklog          = "phone backlog full"
	ReasonReleased         = "released by operator"
	ReasonInvalidFrame     = "frame is not valid JSON"
)

// Sendable reports whether a close frame may carry the code (RFC 6455 7.4 and its registry, docs/protocol.md 3).
func (c CloseCode) Sendable() bool {
	return c >= 3000 && c <= 4999 || c >= 1000 && c <= 1014 && (c < 1004 || c > 1006)
}

// Proof is why a claim could be refused: a pong, from whoever held the slot, that answered a ping younger than the claim.
// Sent and Answered are both of the prober's clock; only their difference may be used elsewhere.
type Proof struct {
	Probe    ProbeNumber // which ping
	Sent     time.Time   // when it left the relay
	Answered time.Time   // when its pong came back
	Conn     ConnID      // which connection answered it
}
