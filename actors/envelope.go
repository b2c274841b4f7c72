package actors

import (
	"encoding/json"
	"unicode/utf8"
)

// judge names what is wrong with an envelope from a binary without phones: malformed_envelope, unknown_conn_id, or nothing.
func judge(b []byte) string {
	const malformed, unknown = "malformed_envelope", "unknown_conn_id"
	if !utf8.Valid(b) {
		return malformed
	}
	var fields map[string]json.RawMessage // a map keeps names apart by case, which a struct does not; the last of two counts
	if json.Unmarshal(b, &fields) != nil || fields == nil {
		return malformed
	}
	conn, hasConn := fields["conn_id"]
	if !hasConn {
		if _, wake := fields["push_wake"]; wake {
			return ""
		}
		return malformed
	}
	var id *string
	if json.Unmarshal(conn, &id) != nil || id == nil {
		return malformed
	}
	code, ok := closeCode(fields["close_code"])
	frame := string(fields["frame"])
	if !ok || code == 0 && (frame == "" || frame == "null") {
		return malformed
	}
	return unknown
}

// closeCode reads an integer from 0 to 65535 without fraction or exponent; absent and null are 0.
func closeCode(b json.RawMessage) (code uint16, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	return code, json.Unmarshal(b, &code) == nil
}
