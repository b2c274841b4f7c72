package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// values are texts, and whether each is exactly one value.
var values = []struct {
	text string
	ok   bool
}{
	{`null`, true},
	{`true`, true},
	{`false`, true},
	{`0`, true},
	{`-0`, true},
	{`-0.0e-00`, true},
	{`1E+9`, true},
	{`1e400`, true}, // as big as one likes: nobody reads it
	{`1234567890.0987654321e5`, true},
	{`""`, true},
	{`"` + "\x7f\u00e9\u2028\U0010ffff" + `"`, true},
	{`"\"\\\/\b\f\n\r\t\u00e9\uABCD\uabcd"`, true},
	{`"\ud800"`, true}, // grammar, though no character
	{`"\udc00\ud800"`, true},
	{`[]`, true},
	{`{}`, true},
	{`[ ]`, true},
	{`{ }`, true},
	{`[[],{},[{}],{"":[]}]`, true},
	{`{"a":1,"a":2,"":{"b":[1,2,{"c":null}]}}`, true},
	{" \t\r\n{ \t\r\n\"a\" \t\r\n: \t\r\n[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n] \t\r\n} \t\r\n", true},
	{"\t1\r\n", true},

	{``, false},
	{` `, false},
	{`1 2`, false},
	{`{}{}`, false},
	{`[]]`, false},
	{`""""`, false},
	{`nul`, false},
	{`nulll`, false},
	{`[tru`, false},
	{`[fals`, false},
	{`[nul`, false},
	{`NULL`, false},
	{`tru`, false},
	{`truE`, false},
	{`fals`, false},
	{`NaN`, false},
	{`Infinity`, false},
	{`01`, false},
	{`00`, false},
	{`-01`, false},
	{`-`, false},
	{`--1`, false},
	{`+1`, false},
	{`.5`, false},
	{`1.`, false},
	{`1.e1`, false},
	{`1e`, false},
	{`1e+`, false},
	{`1.5.5`, false},
	{`0x1`, false},
	{`1_0`, false},
	{`[`, false},
	{`]`, false},
	{`{`, false},
	{`}`, false},
	{`[}`, false},
	{`{]`, false},
	{`[1}`, false},
	{`{"a":1]`, false},
	{`[1`, false},
	{`[1,`, false},
	{`[1,]`, false},
	{`[,1]`, false},
	{`[,]`, false},
	{`[1 2]`, false},
	{`[1:2]`, false},
	{`{,}`, false},
	{`{"a"`, false},
	{`{"a"}`, false},
	{`{"a":`, false},
	{`{"a":}`, false},
	{`{"a":1`, false},
	{`{"a":1,`, false},
	{`{"a":1,}`, false},
	{`{"a" 1}`, false},
	{`{"a":1 "b":2}`, false},
	{`{"a",1}`, false},
	{`{a:1}`, false},
	{`{1:1}`, false},
	{`{'a':1}`, false},
	{`{"a\":1}`, false},
	{`"`, false},
	{`"\`, false},
	{`"\"`, false},
	{`"\u`, false},
	{`"\u123"`, false},
	{`"\u123`, false},
	{`"\u00G0"`, false},
	{`"\u00g0"`, false},
	{`"\u00:0"`, false},
	{`"\u00@0"`, false},
	{"\"\\u00`0\"", false},
	{`"\u/000"`, false},
	{`"\x"`, false},
	{`"\U0000"`, false},
	{`"\'"`, false},
	{"\"a\nb\"", false},
	{"\"\x00\"", false},
	{"\"\\\n\"", false},
	{"\v1", false},
	{"1\f", false},
	{"\x001", false},
	{"1\x00", false},
	{"\u00a01", false},
	{"\ufeff1", false},
	{"\xff", false},
	{"\"\xff\"", false},
	{"\"\xc3\"", false}, // a character that the quote cuts
	{"\"\xc0\x80\"", false},
	{"\"\xed\xa0\x80\"", false}, // a surrogate, raw
	{"\"\xf4\x90\x80\x80\"", false},
	{"{\"\xff\":1}", false},
	{`[1] // no comments`, false},
	{`[/**/]`, false},
}

func TestFrame(t *testing.T) {
	for _, c := range values {
		for _, behind := range behinds {
			b := []byte(c.text + behind)[:len(c.text)]
			got, ok := Frame(b)
			if ok != c.ok || !ok && got != nil || ok && string(got) != strings.Trim(c.text, " \t\r\n") {
				t.Errorf("%q: %q, %v; want %v", c.text, got, ok, c.ok)
			}
		}
	}
}

// behinds are what the memory behind a message may hold, which must not count.
var behinds = []string{"", `"]}1 `, `0"]}`, "e", "l"}

// TestFrameIsAPart: it is the memory of the message, and what is appended to it does not run into what follows.
func TestFrameIsAPart(t *testing.T) {
	b := []byte(` [1] `)
	if f, ok := Frame(b); !ok || &f[0] != &b[1] || cap(f) != 3 {
		t.Errorf("%q of capacity %d, %v", f, cap(f), ok)
	}
	b = []byte(`{"conn_id":"a","frame":[1] }`)
	if e := Parse(b); &e.Conn[0] != &b[12] || cap(e.Conn) != 1 || &e.Frame[0] != &b[23] || cap(e.Frame) != 3 {
		t.Errorf("parts of %s: %s", b, show(e))
	}
	b = []byte(`{"push_wake":{"platform":"fcm","token":"t" } }`)
	if e := Parse(b); &e.Platform[0] != &b[26] || cap(e.Platform) != 3 || &e.Token[0] != &b[40] || cap(e.Token) != 1 {
		t.Errorf("parts of %s: %s", b, show(e))
	}
}

// TestStringsAtEveryPlace puts each byte, and what can follow a backslash, at every place of strings of several lengths: words
// of eight bytes and strides of four words begin and end everywhere.
func TestStringsAtEveryPlace(t *testing.T) {
	var units []string
	for c := range 256 {
		units = append(units, string([]byte{byte(c)}), `\`+string([]byte{byte(c)}))
	}
	units = append(units, `\u00e9`, `\ud83d\ude00`, `\u00g0`, "\u00e9", "\U0001f600", "\x1f!", "\x1f\x80", `"!`, `"#`, `\]`)
	for _, length := range []int{0, 1, 7, 8, 9, 40, 75} {
		for at := range length + 1 {
			for _, u := range units {
				b := []byte(`"` + strings.Repeat("a", at) + u + strings.Repeat("z", length-at) + `"`)
				if _, ok := Frame(b); ok != (json.Valid(b) && utf8.Valid(b)) {
					t.Fatalf("%q: %v", b, ok)
				}
			}
		}
	}
}

var envelopes = []struct {
	text string
	want Envelope
}{
	{`{"conn_id":"a","frame":{"x":1}}`, toPhone("a", `{"x":1}`, 0)},
	{`{"conn_id":"a","frame":"text"}`, toPhone("a", `"text"`, 0)},
	{`{"conn_id":"a","frame":false}`, toPhone("a", `false`, 0)},
	{`{"conn_id":"a","frame":{},"close_code":4000}`, toPhone("a", `{}`, 4000)},
	{`{"close_code":4000,"frame":[],"conn_id":"a"}`, toPhone("a", `[]`, 4000)},
	{`{"conn_id":"a","frame":null,"close_code":4000}`, toPhone("a", ``, 4000)},
	{`{"conn_id":"a","close_code":65535}`, toPhone("a", ``, 65535)},
	{`{"conn_id":"","close_code":1}`, toPhone("", ``, 1)},
	{`{"conn_id":"a","frame":0,"close_code":null}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":0,"close_code":0}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":0,"push_wake":7}`, toPhone("a", `0`, 0)}, // beside a conn_id an unknown field
	{`{"conn_id":"a","frame":0,"push_wake":{}}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":0,"other":[],"":{}}`, toPhone("a", `0`, 0)},
	{" \t\r\n{ \"conn_id\"\t:\r\"a\"\n, \"frame\" : [ 0 ] }\n", toPhone("a", `[ 0 ]`, 0)},
	// escapes
	{`{"conn\u005fid":"a","\u0066\u0072\u0061\u006d\u0065":0}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","\u0063\u006c\u006f\u0073\u0065\u005f\u0063\u006f\u0064\u0065":7}`, toPhone("a", ``, 7)},
	{`{"conn_id":"\"\\\/\b\f\n\r\t\u00E9\u20ac\ud83D\uDe00","frame":1}`, toPhone("\"\\/\b\f\n\r\t\u00e9\u20ac\U0001f600", `1`, 0)},
	{`{"conn_id":"\ud800","frame":"\ud800"}`, toPhone("\ufffd", `"\ud800"`, 0)},
	{`{"conn_id":"\ud800\ud83d\ude00\ude00\ud800x","frame":0}`, toPhone("\ufffd\U0001f600\ufffd\ufffdx", `0`, 0)},
	{`{"conn_id":"\ud800\n\ud800\u0041","frame":0}`, toPhone("\ufffd\n\ufffdA", `0`, 0)},
	{"{\"conn_id\":\"\u00e9\",\"frame\":\"\u00e9\"}", toPhone("\u00e9", "\"\u00e9\"", 0)},
	// the last of a name counts
	{`{"conn_id":7,"conn_id":"a","frame":0}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":null,"frame":0}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":1,"fr\u0061me":2}`, toPhone("a", `2`, 0)},
	{`{"conn_id":"a","close_code":"x","close_code":9}`, toPhone("a", ``, 9)},
	{`{"conn_id":"a","close_code":9,"close_code":null,"frame":0}`, toPhone("a", `0`, 0)},
	{`{"push_wake":0,"push_wake":{"platform":"a","token":"t"}}`, pushes("a", "t")},
	{`{"push_wake":{"platform":1,"token":"s","platform":"a","token":"t"}}`, pushes("a", "t")},
	// names that are not ours
	{`{"conn_id":"a","CONN_ID":7,"frame":0,"Close_Code":"x"}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":0,"conn_id\u0000":7,"conn_id ":7,"\ud800":7}`, toPhone("a", `0`, 0)},
	{`{"conn_id":"a","frame":0,"` + strings.Repeat(`\u0061`, 100) + `":7}`, toPhone("a", `0`, 0)},
	{`{"x":{"conn_id":"b","close_code":"x"},"conn_id":"a","frame":0}`, toPhone("a", `0`, 0)}, // deeper they are the frame's
	// push_wake
	{`{"push_wake":{"platform":"fcm","token":"t"}}`, pushes("fcm", "t")},
	{`{"push_wake": { "token" : "t" , "x":[], "platform" : "a" } ,"frame":0,"close_code":4000}`, pushes("a", "t")},
	{`{"push_wake":{"platform":"","token":""}}`, pushes("", "")},
	{`{"push_wake":{"pl\u0061tform":"f\u0063m","token":"\ud800\"\n"}}`, pushes("fcm", "\ufffd\"\n")},
	{`{"push_wake":{"platform":"a","token":"t","conn_id":7,"close_code":"x"},"platform":7,"token":7}`, pushes("a", "t")},

	{``, malformed},
	{`null`, malformed},
	{`[]`, malformed},
	{`"conn_id"`, malformed},
	{`{}`, malformed},
	{`{} x`, malformed},
	{`{"conn_id":"a"}`, malformed},
	{`{"conn_id":"a","frame":null}`, malformed},
	{`{"conn_id":"a","frame":null,"close_code":null}`, malformed},
	{`{"conn_id":"a","close_code":0}`, malformed},
	{`{"conn_id":"a","push_wake":{}}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":65536}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":18446744073709551617}`, malformed}, // 1, in 64 bits
	{`{"conn_id":"a","frame":0,"close_code":-1}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":-0}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":1.0}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":1e3}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":01000}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":"1000"}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":true}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":[]}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":{}}`, malformed},
	{`{"conn_id":"a","frame":0,"close_code":9,"close_code":"x"}`, malformed},
	{`{"conn_id":7,"frame":0}`, malformed},
	{`{"conn_id":null,"frame":0}`, malformed},
	{`{"conn_id":null,"push_wake":{"platform":"a","token":"t"}}`, malformed},
	{`{"conn_id":["a"],"frame":0}`, malformed},
	{`{"conn_id":"a","conn_id":7,"frame":0}`, malformed},
	{`{"conn_id":"a","frame":0,"frame":null}`, malformed},
	{`{"CONN_ID":"a","frame":0}`, malformed},
	{`{"conn_id":"a","Frame":0}`, malformed},
	{`{"conn_id ":"a","frame":0}`, malformed},
	{`{"frame":0}`, malformed},
	{`{"frame":0,"close_code":4000}`, malformed},
	{`{"push_wake":null}`, malformed},
	{`{"push_wake":true}`, malformed},
	{`{"push_wake":[]}`, malformed},
	{`{"push_wake":{}}`, malformed},
	{`{"push_wake":"{}"}`, malformed},
	{`{"push_wake":{"platform":"a"}}`, malformed},
	{`{"push_wake":{"token":"t"}}`, malformed},
	{`{"push_wake":{"platform":"a","token":null}}`, malformed},
	{`{"push_wake":{"platform":"a","token":7}}`, malformed},
	{`{"push_wake":{"platform":["a"],"token":"t"}}`, malformed},
	{`{"push_wake":{"platform":"a","token":"t","token":{}}}`, malformed},
	{`{"push_wake":{"Platform":"a","token":"t"}}`, malformed},
	{`{"push_wake":{},"platform":"a","token":"t"}`, malformed},
	{`{"platform":"a","token":"t"}`, malformed},
	{`{"push_wake":{"platform":"a","token":"t"},"push_wake":null}`, malformed},
	{`{"push_wake":{"platform":"a","token":"t"},"close_code":"x"}`, malformed},
	{`{"Push_Wake":{"platform":"a","token":"t"}}`, malformed},
	{`{"conn_id":"a","frame":0}{}`, malformed},
	{`{"conn_id":"a","frame":0`, malformed},
	{`{"conn_id":"a","frame":0]`, malformed},
	{`{"conn_id":"a","frame":0,}`, malformed},
	{`{,"conn_id":"a","frame":0}`, malformed},
	{`{"conn_id":"a" "frame":0}`, malformed},
	{`{"conn_id":"a","frame":}`, malformed},
	{`{"conn_id":"a","frame":01}`, malformed},
	{`{"conn_id":"a","frame":0,"other":{"x":[1,]}}`, malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\xff\"}", malformed},
	{"{\"conn_id\":\"a\",\"frame\":0,\"\xff\":0}", malformed},
	{"{\"conn_id\":\"\xff\",\"frame\":0}", malformed},
	{"{\"conn_id\":\"a\",\"frame\":\"\n\"}", malformed},
	{"\ufeff{\"conn_id\":\"a\",\"frame\":0}", malformed},
	{"{\"conn_id\":\"a\",\"frame\":0}\xff", malformed},
}

var malformed = Envelope{}

func toPhone(conn, frame string, code uint16) Envelope {
	return Envelope{Kind: ToPhone, Conn: []byte(conn), Frame: orNil(frame), Close: code}
}

func pushes(platform, token string) Envelope {
	return Envelope{Kind: PushWake, Platform: []byte(platform), Token: []byte(token)}
}

func orNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func TestParse(t *testing.T) {
	for _, c := range envelopes {
		for _, behind := range behinds {
			b := []byte(c.text + behind)[:len(c.text)]
			if got := Parse(b); !same(got, c.want) {
				t.Errorf("%q: %s, want %s", c.text, show(got), show(c.want))
			}
		}
		if want := oracle([]byte(c.text)); !same(want, c.want) {
			t.Errorf("%q: the oracle says %s, the table %s", c.text, show(want), show(c.want))
		}
	}
}

// same holds nil and empty apart: a conn_id may be empty, a frame that is there may not.
func same(a, b Envelope) bool {
	part := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	return a.Kind == b.Kind && part(a.Conn, b.Conn) && part(a.Frame, b.Frame) && a.Close == b.Close &&
		part(a.Platform, b.Platform) && part(a.Token, b.Token)
}

func show(e Envelope) string {
	return fmt.Sprintf("{kind %d conn %q frame %q close %d platform %q token %q}", e.Kind, e.Conn, e.Frame, e.Close, e.Platform, e.Token)
}

func TestTheOrderOfFieldsDoesNotMatter(t *testing.T) {
	fields := []string{`"conn_id":"a"`, `"frame":[1]`, `"close_code":9`, `"push_wake":{}`, `"x":"y"`}
	for range 200 {
		rand.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		text := "{" + strings.Join(fields, ",") + "}"
		if got := Parse([]byte(text)); !same(got, toPhone("a", "[1]", 9)) {
			t.Fatalf("%s: %s", text, show(got))
		}
	}
}

func TestEveryCloseCode(t *testing.T) {
	for n := range 70_000 {
		want := Envelope{}
		if n > 0 && n < 1<<16 {
			want = toPhone("a", "", uint16(n))
		}
		if got := Parse([]byte(`{"conn_id":"a","close_code":` + strconv.Itoa(n) + `}`)); !same(got, want) {
			t.Fatalf("%d: %s", n, show(got))
		}
	}
}

var connIDs = []string{"", "a", "client-home-0123456789abcdef", `client-"\<&>'/-0`, `"`, `\`, `\"`, `\u0041`, visible()}

func visible() string {
	var b []byte
	for c := byte('!'); c <= '~'; c++ {
		b = append(b, c)
	}
	return string(b)
}

func TestAFrameCrossesByteForByte(t *testing.T) {
	for _, conn := range connIDs {
		for _, v := range values {
			frame, ok := Frame([]byte(v.text))
			if !ok || string(frame) == "null" { // which is no frame
				continue
			}
			b := append(append(Head(conn), frame...), Tail...)
			if e := Parse(b); !same(e, toPhone(conn, string(frame), 0)) {
				t.Errorf("%q of %q: %s", frame, conn, show(e))
			}
			if want := oracle(b); !same(want, toPhone(conn, string(frame), 0)) {
				t.Errorf("%q of %q: encoding/json reads %s", frame, conn, show(want))
			}
		}
	}
}

func TestHeadAndNotice(t *testing.T) {
	if got := string(Head(`c"\`)); got != `{"conn_id":"c\"\\","frame":` {
		t.Error(got)
	}
	if got := string(Notice(`c"\`, 4001)); got != `{"conn_id":"c\"\\","close_code":4001}` {
		t.Error(got)
	}
	for _, conn := range connIDs {
		for _, code := range []uint16{0, 1, 1000, 4999, 65535} {
			var got struct {
				Conn *string `json:"conn_id"`
				Code *uint16 `json:"close_code"`
			}
			d := json.NewDecoder(bytes.NewReader(Notice(conn, code)))
			d.DisallowUnknownFields()
			if err := d.Decode(&got); err != nil || got.Conn == nil || *got.Conn != conn || got.Code == nil || *got.Code != code {
				t.Errorf("%s: %v", Notice(conn, code), err)
			}
			if e := Parse(Notice(conn, code)); code > 0 && !same(e, toPhone(conn, "", code)) {
				t.Errorf("%s: %s", Notice(conn, code), show(e))
			}
		}
	}
}

// TestNestingHasNoLimit: a bracket is as good as another byte, however many are open.
func TestNestingHasNoLimit(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 66, 127, 128, 129, 130, 20_000} {
		for _, open := range []string{`[`, `{"a":`, `[{"a":`, `{"a":[`, `[1,[{"a":{"b":[],"c":`, `{"a":0,"b":[{},[[`} {
			var closing []byte
			for i := len(open) - 1; i >= 0; i-- {
				switch {
				case open[i] == '[' && open[i:min(i+2, len(open))] != "[]":
					closing = append(closing, ']')
				case open[i] == '{' && open[i:min(i+2, len(open))] != "{}":
					closing = append(closing, '}')
				}
			}
			b := []byte(strings.Repeat(open, n) + "0" + strings.Repeat(string(closing), n))
			if f, ok := Frame(b); !ok || len(f) != len(b) {
				t.Fatalf("%d times %s: refused", n, open)
			}
			if e := Parse(append(append(Head("a"), b...), Tail...)); e.Kind != ToPhone || !bytes.Equal(e.Frame, b) {
				t.Fatalf("%d times %s in an envelope: refused", n, open)
			}
			if _, ok := Frame(b[:len(b)-1]); ok {
				t.Fatalf("%d times %s: an end too few is taken", n, open)
			}
			if _, ok := Frame(append(b, closing...)); ok {
				t.Fatalf("%d times %s: an end too many is taken", n, open)
			}
			for range 5 {
				at := len(b) - 1 - rand.IntN(n*len(closing))
				b[at] ^= '}' ^ ']'
				if _, ok := Frame(b); ok {
					t.Fatalf("%d times %s: a wrong end at %d is taken", n, open, at)
				}
				b[at] ^= '}' ^ ']'
			}
		}
	}
}

// TestNestingIsCheap: what a peer can make of 16 MiB costs a few of them.
func TestNestingIsCheap(t *testing.T) {
	const size = 16 << 20
	for name, b := range map[string][]byte{
		"open":            bytes.Repeat([]byte("["), size),
		"open and closed": append(bytes.Repeat([]byte("["), size/2), bytes.Repeat([]byte("]"), size/2)...),
		"objects":         bytes.Repeat([]byte(`{"":`), size/4),
	} {
		whole := append(append(Head("a"), b...), Tail...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, ok := Frame(b)
		e := Parse(whole)
		runtime.ReadMemStats(&after)
		if want := name == "open and closed"; ok != want || (e.Kind == ToPhone) != want {
			t.Errorf("%s: %v, kind %d", name, ok, e.Kind)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) / 2; used > 6<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	deep := strings.Repeat(`[{"a":`, 31) + "0" + strings.Repeat("}]", 31)
	for _, text := range []string{
		`{"conn_id":"client-home-0123456789abcdef","frame":{"a":[1,{"b":"c\n\u00e9"}]},"close_code":4000}`,
		"{\"conn_id\":\"a\",\"frame\":\"\u00e9\"}",
		`{"push_wake":{"platform":"fcm"}}`,
		`{"c\u006fnn_id":"a","fr\u0061me":0,"` + strings.Repeat(`\u0061`, 100) + `":0}`,
		`{"conn_id":"a","frame":[{"a":` + deep + `}]}`, // 64 levels within it
		`{"conn_id":"a","close_code":70000}`,
		`{"conn_id":"a","frame":"` + "\xff" + `"}`,
		`{`,
	} {
		b := []byte(text)
		if n := testing.AllocsPerRun(100, func() { Parse(b) }); n > 0 {
			t.Errorf("Parse of %s: %v allocations", text, n)
		}
		if strings.Contains(text, deep) {
			b = []byte(deep)
		}
		if n := testing.AllocsPerRun(100, func() { Frame(b) }); n > 0 {
			t.Errorf("Frame of %s: %v allocations", text, n)
		}
	}
}

// FuzzFrame holds Frame to what encoding/json takes for valid.
func FuzzFrame(f *testing.F) {
	for _, v := range values {
		f.Add([]byte(v.text))
		f.Add([]byte(`{"a":[` + v.text + `,"` + strings.Repeat("QUJD", 12) + `"]}`))
	}
	for _, e := range envelopes {
		f.Add([]byte(e.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if tooDeep(b) {
			return
		}
		got, ok := Frame(b)
		if want := json.Valid(b) && utf8.Valid(b); ok != want {
			t.Fatalf("%q: valid %v, want %v", b, ok, want)
		}
		if ok && !bytes.Equal(got, bytes.Trim(b, " \t\r\n")) || !ok && got != nil {
			t.Fatalf("%q: the value is %q", b, got)
		}
		if !ok || string(got) == "null" {
			return
		}
		if e := Parse(append(append(Head("a"), got...), Tail...)); !same(e, toPhone("a", string(got), 0)) {
			t.Fatalf("%q crosses as %s", got, show(e))
		}
	})
}

// tooDeep: encoding/json refuses what is nested beyond 10,000 levels.
func tooDeep(b []byte) bool { return bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 9_000 }

// FuzzParse holds Parse to a reading by encoding/json.
func FuzzParse(f *testing.F) {
	for _, e := range envelopes {
		f.Add([]byte(e.text))
	}
	for _, v := range values {
		for _, name := range []string{"conn_id", "frame", "close_code", "push_wake", "other"} {
			f.Add([]byte(`{"conn_id":"` + strings.Repeat("QUJD", 12) + `","frame":0,"` + name + `":` + v.text + `}`))
		}
		f.Add([]byte(`{"push_wake":` + v.text + `}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if tooDeep(b) {
			return
		}
		if got, want := Parse(b), oracle(b); !same(got, want) {
			t.Fatalf("%q:\n got %s\nwant %s", b, show(got), show(want))
		}
	})
}

// oracle reads an envelope with encoding/json.
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
	conn, ok := m["conn_id"]
	if !ok {
		var wake map[string]json.RawMessage
		var platform, token *string
		if json.Unmarshal(m["push_wake"], &wake) == nil && json.Unmarshal(wake["platform"], &platform) == nil &&
			json.Unmarshal(wake["token"], &token) == nil && platform != nil && token != nil {
			return pushes(*platform, *token)
		}
		return e
	}
	var id string
	if conn[0] != '"' || json.Unmarshal(conn, &id) != nil || code == 0 && frame == nil {
		return e
	}
	return Envelope{Kind: ToPhone, Conn: []byte(id), Frame: frame, Close: code}
}

func BenchmarkFrame(b *testing.B) {
	for _, s := range samples {
		frame := s.make(s.size)
		b.Run(s.name+"/envelope", func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if _, ok := Frame(frame); !ok {
					b.Fatal(s.name)
				}
			}
		})
		b.Run(s.name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if !json.Valid(frame) {
					b.Fatal(s.name)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, s := range samples {
		whole := append(append(Head("client-home-0123456789abcdef"), s.make(s.size)...), Tail...)
		b.Run(s.name+"/envelope", func(b *testing.B) {
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				if Parse(whole).Kind != ToPhone {
					b.Fatal(s.name)
				}
			}
		})
		b.Run(s.name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				var e struct {
					Conn  string          `json:"conn_id"`
					Frame json.RawMessage `json:"frame"`
					Close uint16          `json:"close_code"`
				}
				if json.Unmarshal(whole, &e) != nil {
					b.Fatal(s.name)
				}
			}
		})
	}
}

// samples: what phones send is mostly one long string of base64; what they may send is anything.
var samples = []struct {
	name string
	size int
	make func(size int) []byte
}{
	{"base64-256", 256, base64},
	{"base64-1Ki", 1 << 10, base64},
	{"base64-16Ki", 16 << 10, base64},
	{"mixed-256", 256, mixed},
	{"mixed-1Ki", 1 << 10, mixed},
	{"mixed-16Ki", 16 << 10, mixed},
}

func base64(size int) []byte {
	const head, tail = `{"n":17,"ct":"`, `"}`
	return []byte(head + strings.Repeat("QUJD", size/4)[:size-len(head)-len(tail)] + tail)
}

func mixed(size int) []byte {
	const item = `{"id":1234567,"on":true,"name":"a b","at":-1.5e3,"tags":["x","yz",null]},`
	b := []byte("[")
	for len(b)+len(item)+3 <= size {
		b = append(b, item...)
	}
	return append(append(b, "{}]"...), bytes.Repeat([]byte(" "), size-len(b)-3)...)
}
