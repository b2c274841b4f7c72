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
	"github.com/pyrycode/pyrycode-relay/actors/tally"
)

// pushWake is an envelope that is not dropped.
const pushWake tally.Drop = 99

// envelopes are the rows of the table in docs/protocol.md 3, and what lies between them.
var envelopes = []struct {
	text string
	want tally.Drop
}{
	{`{"conn_id":"a","frame":{"x":1}}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":"text"}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":false}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":{},"close_code":4000}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":null,"close_code":4000}`, tally.UnknownConn},
	{`{"conn_id":"a","close_code":65535}`, tally.UnknownConn},
	{`{"conn_id":"","close_code":1}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":0,"close_code":null}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":0,"close_code":0}`, tally.UnknownConn},
	{`{"conn_id":"a","frame":0,"push_wake":7}`, tally.UnknownConn}, // beside a conn_id an unknown field
	{`{"conn_id":"a","frame":0,"other":[]}`, tally.UnknownConn},
	{` { "conn_id" : "a" , "frame" : 0 } `, tally.UnknownConn},
	{"{\"conn_id\":\"\\ud800\",\"frame\":\"\\ud800\"}", tally.UnknownConn}, // a lone surrogate's escape is grammar
	{`{"conn\u005fid":"a","frame":0}`, tally.UnknownConn},
	{`{"conn_id":7,"conn_id":"a","frame":0}`, tally.UnknownConn}, // the last counts
	{`{"conn_id":"a","frame":null,"frame":0}`, tally.UnknownConn},
	{`{"conn_id":"a","CONN_ID":7,"frame":0,"Close_Code":"x"}`, tally.UnknownConn},
	{`{"push_wake":{"platform":"fcm","token":"t"}}`, pushWake},
	{`{"push_wake":{"token":"t","platform":"a"},"frame":0}`, pushWake},

	{``, tally.Malformed},
	{`null`, tally.Malformed},
	{`[]`, tally.Malformed},
	{`"conn_id"`, tally.Malformed},
	{`{}`, tally.Malformed},
	{`{"conn_id":"a"}`, tally.Malformed},
	{`{"conn_id":"a","frame":null}`, tally.Malformed},
	{`{"conn_id":"a","frame":null,"close_code":null}`, tally.Malformed},
	{`{"conn_id":"a","close_code":0}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"close_code":65536}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"close_code":-1}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"close_code":1.0}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"close_code":1e3}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"close_code":"1000"}`, tally.Malformed},
	{`{"conn_id":7,"frame":0}`, tally.Malformed},
	{`{"conn_id":null,"frame":0}`, tally.Malformed},
	{`{"conn_id":"a","conn_id":7,"frame":0}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,"frame":null}`, tally.Malformed},
	{`{"CONN_ID":"a","frame":0}`, tally.Malformed},
	{`{"conn_id":"a","Frame":0}`, tally.Malformed},
	{`{"frame":0}`, tally.Malformed},
	{`{"push_wake":null}`, tally.Malformed},
	{`{"push_wake":true}`, tally.Malformed},
	{`{"push_wake":{}}`, tally.Malformed},
	{`{"push_wake":{"platform":"a"}}`, tally.Malformed},
	{`{"push_wake":{"platform":"a","token":null}}`, tally.Malformed},
	{`{"push_wake":{"platform":"a","token":"t"},"close_code":"x"}`, tally.Malformed},
	{`{"Push_Wake":{}}`, tally.Malformed},
	{`{"conn_id":"a","frame":0}{}`, tally.Malformed},
	{`{"conn_id":"a","frame":0,}`, tally.Malformed},
	{`{"conn_id":"a","frame":01}`, tally.Malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\xff\"}", tally.Malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\n\"}", tally.Malformed},
	{"\ufeff{\"conn_id\":\"a\",\"frame\":0}", tally.Malformed},
}

func TestEnvelopes(t *testing.T) {
	for _, c := range envelopes {
		if got := classify([]byte(c.text)); got != c.want {
			t.Errorf("%s: kind %d, want %d", c.text, got, c.want)
		}
	}
}

// classify says what a binary without phones does with a message.
func classify(message []byte) tally.Drop {
	switch envelope.Parse(message).Kind {
	case envelope.ToPhone:
		return tally.UnknownConn
	case envelope.PushWake:
		return pushWake
	}
	return tally.Malformed
}

// FuzzEnvelope compares classify with a reading of the same rules token by token.
func FuzzEnvelope(f *testing.F) {
	for _, c := range envelopes {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if bytes.Count(message, []byte("["))+bytes.Count(message, []byte("{")) > 9_000 {
			return // encoding/json refuses what is nested beyond 10,000 levels
		}
		if got, want := classify(message), slowly(message); got != want {
			t.Errorf("%q: kind %d, want %d", message, got, want)
		}
	})
}

var integer = regexp.MustCompile(`^-?[0-9]+$`)

func slowly(message []byte) tally.Drop {
	if !utf8.Valid(message) || !json.Valid(message) || !strings.HasPrefix(strings.TrimLeft(string(message), " \t\r\n"), "{") {
		return tally.Malformed
	}
	d := json.NewDecoder(bytes.NewReader(message))
	if _, err := d.Token(); err != nil {
		return tally.Malformed
	}
	var conn, frame, code, push string // raw; empty where absent
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return tally.Malformed
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return tally.Malformed
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
		return tally.Malformed
	}
	closes := false
	if code != "" && code != "null" {
		n, err := strconv.Atoi(code)
		if !integer.MatchString(code) || err != nil || n < 0 || n > 65535 || strings.HasPrefix(code, "-") {
			return tally.Malformed
		}
		closes = n != 0
	}
	switch {
	case conn == "" && strings.HasPrefix(push, "{") && isString(push, "platform") && isString(push, "token"):
		return pushWake
	case strings.HasPrefix(conn, `"`) && (closes || frame != "" && frame != "null"):
		return tally.UnknownConn
	}
	return tally.Malformed
}

// isString reports whether a member of an object is a string.
func isString(object, name string) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal([]byte(object), &m) == nil && strings.HasPrefix(string(m[name]), `"`)
}
