package actors

import "github.com/pyrycode/pyrycode-relay/actors/envelope"

// envelopeKind is what becomes of a binary's message (docs/protocol.md 3).
type envelopeKind uint8

const (
	malformed     envelopeKind = iota
	unknownConn                // an envelope for a phone, and there are none
	pushWake                   // a wish to wake a phone; nobody grants it yet
	envelopeKinds              // how many
)

// complaints are the log events of the kinds that have one.
var complaints = [envelopeKinds]string{malformed: "malformed_envelope", unknownConn: "unknown_conn_id"}

// classify judges a message.
func classify(message []byte) envelopeKind {
	switch envelope.Parse(message).Kind {
	case envelope.ToPhone:
		return unknownConn
	case envelope.PushWake:
		return pushWake
	}
	return malformed
}
