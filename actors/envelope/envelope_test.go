package envelope

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var frames = []string{
	`{}`, ` {"a":[1,2.5e-3,-0,true,false,null,"x\u00e9\ud800\"\\/"]} `, `"`, `""`, `"a` + "\n" + `"`, `01`, `1.`, `-`, `1e`, `1E+9`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`,
	`{"a":1,}`, `{,}`, `[}`, `{]`, `[[[]]]`, `nul`, `null`, `nulll`, ``, ` `, `1 2`, "\"\xff\"", "\"\u00e9\"", `"\u12"`, `"\x"`, `"\u00G0"`, `"0123456\"89"`, "\"0123456\x1f\"", "\t1\r\n", "\v1",
	`"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\"`, `{"a":{"b":[{}]},"a":2}`, "\xef\xbb\xbf1", `"\`, `"\u`, `tru`, `[`, `{"a"`, `{"a":1`, `--1`, `1.5.5`, `.5`, `+1`,
}

// FuzzFrame holds Frame to what encoding/json takes for valid.
func FuzzFrame(f *testing.F) {
	for _, s := range frames {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nestedDeep(b) {
			return
		}
		got, ok := Frame(b)
		if want := json.Valid(b) && utf8.Valid(b); ok != want {
			t.Fatalf("%q: valid %v, want %v", b, ok, want)
		}
		if ok && !bytes.Equal(got, bytes.Trim(b, " \t\r\n")) {
			t.Fatalf("%q: the value is %q", b, got)
		}
	})
}

// nestedDeep: encoding/json gives up at 10,000 levels, and we do not.
func nestedDeep(b []byte) bool {
	return bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 9_000
}

var envelopes = []string{
	`{"conn_id":"c","frame":{"a":1}}`, `{"conn_id":"c","frame":null}`, `{"conn_id":"c","frame":null,"close_code":4000}`, `{"conn_id":"c","close_code":0}`, `{"conn_id":"c","close_code":null}`,
	`{"conn_id":"c","close_code":65535}`, `{"conn_id":"c","close_code":65536}`, `{"conn_id":"c","close_code":1e3}`, `{"conn_id":"c","close_code":1000.0}`, `{"conn_id":"c","close_code":-0}`,
	`{"conn_id":"c","close_code":"1000"}`, `{"conn_id":1,"frame":1}`, `{"conn_id":null,"push_wake":{}}`, `{"push_wake":{"platform":"fcm","token":"t"}}`, `{"push_wake":null}`, `{"push_wake":[]}`, `{"push_wake":{},"close_code":"x"}`,
	`{"conn\u005fid":"\u0063\"\\","fr\u0061me": [1] }`, `{"conn_id":"a","conn_id":"b","frame":1,"frame":2}`, `{"conn_id":1,"conn_id":"b","frame":1}`, `{"CONN_ID":"c","frame":1}`, `{}`, ` {} `, `{} x`, `[]`, `null`, `"x"`, ``, `{"conn_id":"c","frame":1`,
	`{"conn_id":"\ud800","frame":1}`, `{"conn_id":"","frame":1}`, `{"conn_id":"c","frame":1,}`, `{"conn_id":"c" "frame":1}`, "{\"conn_id\":\"\xff\",\"frame\":1}", `{"x":[{"conn_id":"c"}],"conn_id":"d","frame":"\ud800"}`, `{"conn_id":"c","frame":1,"push_wake":7}`,
}

// FuzzParse holds Parse to a reading by encoding/json.
func FuzzParse(f *testing.F) {
	for _, s := range envelopes {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nestedDeep(b) {
			return
		}
		got, want := Parse(b), oracle(b)
		if got.Kind != want.Kind || got.Close != want.Close || !bytes.Equal(got.Conn, want.Conn) || !bytes.Equal(got.Frame, want.Frame) || !bytes.Equal(got.Push, want.Push) {
			t.Fatalf("%q:\n got %+v\nwant %+v", b, got, want)
		}
	})
}

func oracle(b []byte) (e Envelope) {
	// A map keeps names apart by case, where a struct would take CONN_ID for conn_id; the last of two counts in both.
	var m map[string]json.RawMessage
	if !utf8.Valid(b) || json.Unmarshal(b, &m) != nil {
		return e
	}
	var code uint16
	if c, ok := m["close_code"]; ok && json.Unmarshal(c, &code) != nil {
		return e
	}
	frame := m["frame"]
	if string(frame) == "null" {
		frame = nil
	}
	conn, has := m["conn_id"]
	if !has {
		if p := m["push_wake"]; len(p) > 0 && p[0] == '{' {
			return Envelope{Kind: PushWake, Push: p}
		}
		return e
	}
	var id string
	if conn[0] != '"' || json.Unmarshal(conn, &id) != nil || code == 0 && frame == nil {
		return e
	}
	return Envelope{Kind: ToPhone, Conn: []byte(id), Frame: frame, Close: code}
}

func TestAFrameCrossesByteForByte(t *testing.T) {
	for _, conn := range []string{"client-home-0123", `client-"\<&>-0`} {
		for _, s := range frames {
			frame, ok := Frame([]byte(s))
			if !ok || string(frame) == "null" {
				continue
			}
			e := Parse(append(append(Head(conn), frame...), Tail...))
			if e.Kind != ToPhone || string(e.Conn) != conn || !bytes.Equal(e.Frame, frame) || e.Close != 0 {
				t.Errorf("%q of %q: %+v", frame, conn, e)
			}
		}
		if e := Parse(Notice(conn, 4001)); e.Kind != ToPhone || string(e.Conn) != conn || e.Frame != nil || e.Close != 4001 {
			t.Errorf("notice of %q: %+v", conn, e)
		}
	}
}

// TestNestingHasNoLimit: a frame of brackets is as good as another, and costs a bit a level.
func TestNestingHasNoLimit(t *testing.T) {
	for _, n := range []int{63, 64, 65, 128, 129, 8 << 20} {
		for _, pair := range []string{"[]", `{}`} {
			open := pair[:1]
			if pair == "{}" {
				open = `{"a":`
			}
			b := []byte(strings.Repeat(open, n) + "1" + strings.Repeat(pair[1:], n))
			if _, ok := Frame(b); !ok {
				t.Fatalf("%d levels of %s are refused", n, pair)
			}
			b[len(b)-1] ^= '}' ^ ']'
			if _, ok := Frame(b); ok {
				t.Fatalf("%d levels of %s with a wrong end are taken", n, pair)
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	b := []byte(`{"conn_id":"client-home-0123456789abcdef","frame":{"a":[1,{"b":"c"}]},"close_code":4000}`)
	if n := testing.AllocsPerRun(100, func() {
		Frame(b)
		Parse(b)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFrame(b *testing.B) {
	for name, frame := range samples() {
		b.Run(name+"/ours", func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				Frame(frame)
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				json.Valid(frame)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, frame := range samples() {
		whole := append(append(Head("client-home-0123456789abcdef"), frame...), Tail...)
		b.Run(name+"/ours", func(b *testing.B) {
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				Parse(whole)
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				var e struct {
					Conn  string          `json:"conn_id"`
					Frame json.RawMessage `json:"frame"`
					Close uint16          `json:"close_code"`
				}
				_ = json.Unmarshal(whole, &e)
			}
		})
	}
}

// samples: what phones send is one long string of base64; what they could send is anything.
func samples() map[string][]byte {
	return map[string][]byte{
		"base64-256": []byte(`{"n":17,"ct":"` + strings.Repeat("QUJD", 60) + `"}`),
		"base64-1Ki": []byte(`{"n":17,"ct":"` + strings.Repeat("QUJD", 252) + `"}`),
		"mixed-1Ki":  []byte(`[` + strings.Repeat(`{"id":123,"on":true,"name":"a b"},`, 30) + `{}]`),
	}
}
