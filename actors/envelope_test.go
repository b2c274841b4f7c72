package actors

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pyrycode/pyrycode-relay/actors/envelope"
)

// envelopes are the rows of the table in docs/protocol.md 3, and what lies between them.
var envelopes = []struct {
	text string
	want envelopeKind
}{
	{`{"conn_id":"a","frame":{"x":1}}`, unknownConn},
	{`{"conn_id":"a","frame":"text"}`, unknownConn},
	{`{"conn_id":"a","frame":false}`, unknownConn},
	{`{"conn_id":"a","frame":{},"close_code":4000}`, unknownConn},
	{`{"conn_id":"a","frame":null,"close_code":4000}`, unknownConn},
	{`{"conn_id":"a","close_code":65535}`, unknownConn},
	{`{"conn_id":"","close_code":1}`, unknownConn},
	{`{"conn_id":"a","frame":0,"close_code":null}`, unknownConn},
	{`{"conn_id":"a","frame":0,"close_code":0}`, unknownConn},
	{`{"conn_id":"a","frame":0,"push_wake":7}`, unknownConn}, // beside a conn_id an unknown field
	{`{"conn_id":"a","frame":0,"other":[]}`, unknownConn},
	{` { "conn_id" : "a" , "frame" : 0 } `, unknownConn},
	{"{\"conn_id\":\"\\ud800\",\"frame\":\"\\ud800\"}", unknownConn}, // a lone surrogate's escape is grammar
	{`{"conn\u005fid":"a","frame":0}`, unknownConn},
	{`{"conn_id":7,"conn_id":"a","frame":0}`, unknownConn}, // the last counts
	{`{"conn_id":"a","frame":null,"frame":0}`, unknownConn},
	{`{"conn_id":"a","CONN_ID":7,"frame":0,"Close_Code":"x"}`, unknownConn},
	{`{"push_wake":{"platform":"fcm","token":"t"}}`, pushWake},
	{`{"push_wake":{},"frame":0}`, pushWake},

	{``, malformed},
	{`null`, malformed},
	{`[]`, malformed},
	{`"conn_id"`, malformed},
	{`{}`, malformed},
	{`{"conn_id":"a"}`, malformed},
	{`{"conn_id":"a","frame":null}`, malformed},
	{`{"conn_id":"a","frame":null,"close_code":null}`, malformed},
	{`{"conn_id":"a","close_code":0}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":65536}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":-1}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":1.0}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":1e3}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":"1000"}`, malformed},
	{`{"conn_id":7,"frame":0}`, malformed},
	{`{"conn_id":null,"frame":0}`, malformed},
	{`{"conn_id":"a","conn_id":7,"frame":0}`, malformed},
	{`{"conn_id":"a","frame":0,"frame":null}`, malformed},
	{`{"CONN_ID":"a","frame":0}`, malformed},
	{`{"conn_id":"a","Frame":0}`, malformed},
	{`{"frame":0}`, malformed},
	{`{"push_wake":null}`, malformed},
	{`{"push_wake":true}`, malformed},
	{`{"push_wake":{},"close_code":"x"}`, malformed},
	{`{"Push_Wake":{}}`, malformed},
	{`{"conn_id":"a","frame":0}{}`, malformed},
	{`{"conn_id":"a","frame":0,}`, malformed},
	{`{"conn_id":"a","frame":01}`, malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\xff\"}", malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\n\"}", malformed},
	{"\ufeff{\"conn_id\":\"a\",\"frame\":0}", malformed},
}

func TestEnvelopes(t *testing.T) {
	for _, c := range envelopes {
		if got := classify([]byte(c.text)); got != c.want {
			t.Errorf("%s: kind %d, want %d", c.text, got, c.want)
		}
	}
}

// classify says what a binary without phones does with a message.
func classify(message []byte) envelopeKind {
	switch envelope.Parse(message).Kind {
	case envelope.ToPhone:
		return unknownConn
	case envelope.PushWake:
		return pushWake
	}
	return malformed
}

// FuzzEnvelope compares classify with a reading of the same rules token by token.
func FuzzEnvelope(f *testing.F) {
	for _, c := range envelopes {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if got, want := classify(message), slowly(message); got != want {
			t.Errorf("%q: kind %d, want %d", message, got, want)
		}
	})
}

var integer = regexp.MustCompile(`^-?[0-9]+$`)

func slowly(message []byte) envelopeKind {
	if !utf8.Valid(message) || !json.Valid(message) || !strings.HasPrefix(strings.TrimLeft(string(message), " \t\r\n"), "{") {
		return malformed
	}
	d := json.NewDecoder(bytes.NewReader(message))
	if _, err := d.Token(); err != nil {
		return malformed
	}
	var conn, frame, code, push string // raw; empty where absent
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return malformed
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return malformed
		}
		switch name {
		case "conn_id":
			conn = string(raw)
		case "frame":
			frame = string(raw)
		case "close_code":
			code = string(raw)
		case "push_wake":
			push = string(raw)
		}
	}
	if _, err := d.Token(); err != nil && err != io.EOF {
		return malformed
	}
	closes := false
	if code != "" && code != "null" {
		n, err := strconv.Atoi(code)
		if !integer.MatchString(code) || err != nil || n < 0 || n > 65535 || strings.HasPrefix(code, "-") {
			return malformed
		}
		closes = n != 0
	}
	switch {
	case conn == "" && strings.HasPrefix(push, "{"):
		return pushWake
	case strings.HasPrefix(conn, `"`) && (closes || frame != "" && frame != "null"):
		return unknownConn
	}
	return malformed
}
