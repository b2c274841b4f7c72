package actors

import (
	"encoding/json"
	"unicode/utf8"
)

// envelopeKind is what a binary's message turns out to be (docs/protocol.md 3).
type envelopeKind uint8

const (
	malformed     envelopeKind = iota
	unknownConn                // an envelope for a phone, and there are none
	pushWake                   // a wish to wake a phone; nobody grants it yet
	envelopeKinds              // how many
)

// complaints are the log events of the kinds that have one.
var complaints = [envelopeKinds]string{malformed: "malformed_envelope", unknownConn: "unknown_conn_id"}

// classify judges an envelope by the rules of docs/protocol.md 3.
func classify(message []byte) envelopeKind {
	// A map keeps names apart by case, where a struct would take CONN_ID for conn_id; the last of two counts in both.
	var fields map[string]json.RawMessage
	if !utf8.Valid(message) || json.Unmarshal(message, &fields) != nil {
		return malformed
	}
	conn, hasConn := fields["conn_id"]
	push, hasPush := fields["push_wake"]
	code, ok := closeCode(fields["close_code"])
	frame := fields["frame"]
	switch {
	case !ok, hasConn && conn[0] != '"':
		return malformed // a wrong type
	case hasConn && (code != 0 || frame != nil && string(frame) != "null"):
		return unknownConn
	case !hasConn && hasPush && push[0] == '{':
		return pushWake
	}
	return malformed
}

// closeCode reads an integer from 0 to 65535 without fraction or exponent. Absent and null are 0, and 0 is as good as absent.
func closeCode(value json.RawMessage) (code uint16, ok bool) {
	if value == nil {
		return 0, true
	}
	return code, json.Unmarshal(value, &code) == nil
}
