package envelope

import (
	"bytes"
	"strconv"
)

// Frame returns the one JSON value that message consists of, without the white space around it: a part of message. ok is
// false where message is not exactly one valid value (RFC 8259) in valid UTF-8.
func Frame(message []byte) (frame []byte, ok bool) {
	s := scanner{text: message}
	from := space(message, 0)
	to := s.value(from)
	if to < 0 || space(message, to) != len(message) || !s.utf8() {
		return nil, false
	}
	return message[from:to:to], true
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

	Platform, Token []byte // of PushWake: by what a phone is to be woken, and which
}

// Parse reads what a binary sent.
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
	case f.conn == nil && f.push != nil:
		return wake(f.push)
	}
	return Envelope{}
}

// wake reads the value of push_wake: an object with the two strings, and whatever else.
func wake(value []byte) Envelope {
	f, ok := parse(value)
	if !ok || f.platform == nil || f.platform[0] != '"' || f.token == nil || f.token[0] != '"' {
		return Envelope{}
	}
	return Envelope{Kind: PushWake, Platform: unquote(f.platform), Token: unquote(f.token)}
}

// fields are the values of an envelope, or of its push_wake, as they stand there; of a name given twice the last.
type fields struct{ conn, frame, code, push, platform, token []byte }

func parse(b []byte) (f fields, ok bool) {
	s := scanner{text: b}
	i := space(b, 0)
	if i == len(b) || b[i] != '{' {
		return f, false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return f, false // an empty one is valid, and says nothing
	}
	for {
		at := i
		if i = s.name(i); i < 0 {
			return f, false
		}
		from := i
		if i = s.value(i); i < 0 {
			return f, false
		}
		f.set(b[at:from], b[from:i:i])
		if i = space(b, i); i == len(b) {
			return f, false
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return f, space(b, i+1) == len(b) && s.utf8()
		default:
			return f, false
		}
	}
}

// set takes the value of a field. What it gets of the name is quoted, and goes on with the colon.
func (f *fields) set(name, value []byte) {
	const longest = len(`"\u0063\u006c\u006f\u0073\u0065\u005f\u0063\u006f\u0064\u0065"`) // to write a name that we know
	name = name[:bytes.LastIndexByte(name, '"')+1]
	if len(name) > longest {
		return
	}
	var decoded [longest]byte
	if bytes.IndexByte(name, '\\') >= 0 {
		name = appendText(decoded[:0], name)
	} else {
		name = name[1 : len(name)-1]
	}
	switch string(name) {
	case "conn_id":
		f.conn = value
	case "frame":
		f.frame = value
	case "close_code":
		f.code = value
	case "push_wake":
		f.push = value
	case "platform":
		f.platform = value
	case "token":
		f.token = value
	}
}

// unquote is what a valid string says.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1 : len(quoted)-1] // who appends to it does not write into the message
	}
	return appendText(make([]byte, 0, len(quoted)), quoted)
}

// closeCode reads an integer from 0 to 65535 without sign, fraction or exponent out of a valid value. Absent and null are 0, and
// 0 is as good as absent.
func closeCode(value []byte) (code uint16, ok bool) {
	if value == nil || string(value) == "null" {
		return 0, true
	}
	var n int
	for _, c := range value {
		if n = n*10 + int(c-'0'); c-'0' > 9 || n > 1<<16-1 {
			return 0, false
		}
	}
	return uint16(n), true
}

// Head returns what stands before the frame of a phone in its envelope; Tail is what stands behind it. conn is visible ASCII, as
// any conn-id.
func Head(conn string) []byte {
	return append(appendConn(make([]byte, 0, len(conn)+32), conn), `,"frame":`...)
}

// Tail is what stands behind a frame.
const Tail = "}"

// Notice returns the whole envelope that says that a phone's connection has ended.
func Notice(conn string, code uint16) []byte {
	b := append(appendConn(make([]byte, 0, len(conn)+48), conn), `,"close_code":`...)
	return append(strconv.AppendUint(b, uint64(code), 10), Tail...)
}

// appendConn appends how either envelope begins.
func appendConn(b []byte, conn string) []byte {
	b = append(b, `{"conn_id":"`...)
	for i := range len(conn) {
		if conn[i] == '"' || conn[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, conn[i])
	}
	return append(b, '"')
}
