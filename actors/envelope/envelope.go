// Package envelope reads and writes what stands around a frame between the relay and a binary (docs/protocol.md 3). A frame crosses
// it byte for byte: nothing here builds what it reads, or copies it.
package envelope

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Frame returns the one JSON value that message consists of, without the white space around it: a part of message. ok is
// false where message is not exactly one valid value (RFC 8259) in valid UTF-8.
func Frame(message []byte) (frame []byte, ok bool) {
	from := space(message, 0)
	to := value(message, from)
	if to < 0 || space(message, to) != len(message) || !utf8.Valid(message) {
		return nil, false
	}
	return message[from:to], true
}

// Kind is what a binary's message turns out to be.
type Kind uint8

// The kinds.
const (
	Malformed Kind = iota // not an envelope
	ToPhone               // a frame for a phone, an order to close it, or both
	PushWake              // a wish to wake a phone
)

// Envelope is what a binary said. Its slices are parts of the message.
type Envelope struct {
	Kind  Kind
	Conn  []byte // of ToPhone: whom it is for. A slice of its own where it was written with escapes
	Frame []byte // of ToPhone: the value; nil for none
	Close uint16 // of ToPhone: the close code; 0 for none
	Push  []byte // of PushWake: its object
}

// Parse reads a message of a binary's.
func Parse(message []byte) Envelope {
	f, ok := parse(message)
	if !ok {
		return Envelope{}
	}
	code, ok := closeCode(f.code)
	if string(f.frame) == "null" {
		f.frame = nil
	}
	switch {
	case !ok, f.conn != nil && f.conn[0] != '"':
		return Envelope{} // a wrong type
	case f.conn != nil && (code != 0 || f.frame != nil):
		return Envelope{Kind: ToPhone, Conn: unquote(f.conn), Frame: f.frame, Close: code}
	case f.conn == nil && f.push != nil && f.push[0] == '{':
		return Envelope{Kind: PushWake, Push: f.push}
	}
	return Envelope{}
}

// fields are the values of an envelope as they stand there; of a name given twice the last.
type fields struct{ conn, frame, code, push []byte }

func parse(b []byte) (f fields, ok bool) {
	i := space(b, 0)
	if i == len(b) || b[i] != '{' || !utf8.Valid(b) {
		return f, false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return f, space(b, i+1) == len(b)
	}
	for {
		at := i
		if i = name(b, i); i < 0 {
			return f, false
		}
		from := i
		if i = value(b, i); i < 0 {
			return f, false
		}
		f.set(b[at:from], b[from:i])
		if i = space(b, i); i == len(b) {
			return f, false
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return f, space(b, i+1) == len(b)
		default:
			return f, false
		}
	}
}

// set takes a field whose name is quoted, with what follows it up to its value.
func (f *fields) set(quoted, value []byte) {
	quoted = quoted[:bytes.LastIndexByte(quoted, '"')+1]
	switch string(unquote(quoted)) {
	case "conn_id":
		f.conn = value
	case "frame":
		f.frame = value
	case "close_code":
		f.code = value
	case "push_wake":
		f.push = value
	}
}

// unquote is what a valid string says.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it is valid
	return []byte(s)
}

// closeCode reads an integer from 0 to 65535 without sign, fraction or exponent. Absent and null are 0, and 0 is as good as absent.
func closeCode(value []byte) (code uint16, ok bool) {
	if value == nil || string(value) == "null" {
		return 0, true
	}
	n, err := strconv.ParseUint(string(value), 10, 16)
	return uint16(n), err == nil
}

// Head is what stands before the frame of a phone, and Tail what stands behind it.
func Head(conn string) []byte {
	// Of visible ASCII, which a conn-id is, Go and JSON escape the same two characters.
	return []byte(`{"conn_id":` + strconv.Quote(conn) + `,"frame":`)
}

// Tail is what stands behind a frame.
const Tail = "}"

// Notice says to a binary that a phone's connection has ended.
func Notice(conn string, code uint16) []byte {
	return []byte(`{"conn_id":` + strconv.Quote(conn) + `,"close_code":` + strconv.Itoa(int(code)) + `}`)
}
