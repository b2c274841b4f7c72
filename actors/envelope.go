package actors

// envelopeKind is a kind of message of a binary's that goes nowhere (docs/protocol.md 3).
type envelopeKind uint8

const (
	malformed     envelopeKind = iota
	unknownConn                // for a phone that is not one of the slot's
	pushWake                   // a wish to wake a phone; nobody grants it yet
	envelopeKinds              // how many
)

// complaints are the log events of the kinds that have one.
var complaints = [envelopeKinds]string{malformed: "malformed_envelope", unknownConn: "unknown_conn_id"}
