package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// join opens a phone's connection, by the library's own client.
func (r *running) join(id string) *websocket.Conn {
	r.t.Helper()
	c := r.tryJoin(id)
	if c == nil {
		r.t.Fatal("a phone is not let in")
	}
	r.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func (r *running) tryJoin(id string) *websocket.Conn {
	c, _, err := websocket.Dial(context.Background(), "ws://"+r.addr+"/v1/client", &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: http.Header{
		"X-Pyrycode-Server": {id}, "X-Pyrycode-Token": {"secret"}, "User-Agent": {"test"}, "X-Pyrycode-Device-Name": {"a phone"},
	}})
	if err != nil {
		return nil
	}
	c.SetReadLimit(1 << 20)
	return c
}

// claims dials a binary that holds id from here on.
func (r *running) claims(id string) *websocket.Conn {
	r.t.Helper()
	c := r.dial(id)
	c.SetReadLimit(1 << 20)
	r.t.Cleanup(func() { _ = c.CloseNow() })
	r.until(id, "granted", 1)
	return c
}

func write(t testing.TB, c *websocket.Conn, format string, args ...any) {
	t.Helper()
	if err := c.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	kind, b, err := c.Read(context.Background())
	if err != nil || kind != websocket.MessageText {
		t.Fatalf("read: %v %v", kind, err)
	}
	return string(b)
}

// envelopeOf is what the relay sends to a binary.
type envelopeOf struct {
	Conn  string          `json:"conn_id"`
	Frame json.RawMessage `json:"frame"`
	Close int             `json:"close_code"`
}

func readEnvelope(t testing.TB, c *websocket.Conn) (e envelopeOf) {
	t.Helper()
	text := read(t, c)
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// hello has a phone send its first frame, and gives the conn-id that the binary reads there.
func hello(t testing.TB, phone, binary *websocket.Conn) string {
	t.Helper()
	write(t, phone, `"hello"`)
	e := readEnvelope(t, binary)
	if string(e.Frame) != `"hello"` {
		t.Fatalf("%+v", e)
	}
	return e.Conn
}

func wantClose(t testing.TB, c *websocket.Conn, code int, reason string) {
	t.Helper()
	if ce := closed(t, c); int(ce.Code) != code || ce.Reason != reason {
		t.Fatalf("closed with %d %q, want %d %q", ce.Code, ce.Reason, code, reason)
	}
}

func TestFrameCrossesAndComesBack(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	phone := r.join("home")
	for _, frame := range []string{`{"a":[1, 2 ,3]}`, `"x"`, `null`, `{"\ud800":1,"b":2,"b":3}`, `"` + strings.Repeat("y", 200_000) + `"`, `1e999`} {
		write(t, phone, " \n%s\t", frame)
		text := read(t, binary)
		head, ok := strings.CutPrefix(text, `{"conn_id":"client-home-`)
		if !ok || len(head) < 16 || head[16:] != `","frame":`+frame+"}" {
			t.Fatalf("the binary reads %.200q", text)
		}
		if frame == "null" {
			continue // is never sent to a phone
		}
		write(t, binary, `{"conn_id":"client-home-%s","frame": %s }`, head[:16], frame)
		if got := read(t, phone); got != frame {
			t.Fatalf("the phone reads %.200q, want %.200q", got, frame)
		}
	}
}

func TestPhoneNeedsABinary(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.MaxPhones = 2
	r := run(t, cfg)
	wantClose(t, r.join("home"), 4404, "no server with that id")
	r.claims("home")
	one := r.join("home")
	r.join("home")
	r.until("home", "attached", 2)
	wantClose(t, r.join("home"), 4429, "too many phones")
	wantClose(t, r.join("elsewhere"), 4404, "no server with that id")
	_ = one.Close(4001, "")
	r.until("home", "left", 1)
	r.join("home")
	r.until("home", "attached", 3)
}

// TestEnvelopesOfABinary goes through the table of docs/protocol.md 3.
func TestEnvelopesOfABinary(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	other := r.claims("other")
	foreign := r.join("other")
	foreignID := hello(t, foreign, other)
	for _, c := range []struct {
		envelope string
		frame    string // that the phone reads; empty for none
		code     int    // that it is closed with
	}{
		{`{"conn_id":"ID","frame":{"x":1}}`, `{"x":1}`, 0},
		{`{"conn_id":"ID","frame":1,"close_code":0}`, `1`, 0},
		{`{"conn_id":"ID","frame":2,"push_wake":7,"more":[]}`, `2`, 0},
		{`{"conn_id":"ID","frame":3,"close_code":4321}`, `3`, 4321},
		{`{"conn_id":"ID","frame":null,"close_code":4001}`, ``, 4001},
		{`{"conn_id":"ID","close_code":1000}`, ``, 1000},
		{`{"conn_id":"ID","frame":4,"close_code":999}`, `4`, 1011},
		{`{"conn_id":"ID","close_code":1005}`, ``, 1011},
		{`{"conn_id":"ID","close_code":2000}`, ``, 1011},
		{`{"conn_id":"ID","close_code":65535}`, ``, 1011},
		{`nonsense`, ``, 0},
		{`{"conn_id":"ID"}`, ``, 0},
		{`{"conn_id":"ID","frame":null}`, ``, 0},
		{`{"conn_id":"ID","frame":1,"close_code":"4000"}`, ``, 0},
		{`{"conn_id":"nobody","frame":1,"close_code":4000}`, ``, 0},
		{`{"conn_id":"` + foreignID + `","frame":"stolen","close_code":4000}`, ``, 0},
	} {
		phone := r.join("home")
		id := hello(t, phone, binary)
		write(t, binary, "%s", strings.ReplaceAll(c.envelope, "ID", id))
		if c.frame != "" {
			if got := read(t, phone); got != c.frame {
				t.Errorf("%s: the phone reads %s", c.envelope, got)
			}
		}
		if c.code != 0 {
			wantClose(t, phone, c.code, "")
		} else {
			write(t, binary, `{"conn_id":%q,"frame":"still here"}`, id)
			if got := read(t, phone); got != `"still here"` {
				t.Errorf("%s: the phone reads %s", c.envelope, got)
			}
			_ = phone.Close(4002, "")
			if e := readEnvelope(t, binary); e.Conn != id || e.Close != 4002 || e.Frame != nil {
				t.Errorf("the notice is %+v", e)
			}
		}
	}
	write(t, foreign, `"mine"`)
	if e := readEnvelope(t, other); string(e.Frame) != `"mine"` {
		t.Errorf("%+v", e)
	}
}

func TestWhatIsNoFrameClosesThePhone(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	for _, frame := range []string{"", "x", "1 2", "{", "\"\xff\"", "\ufeff1", "nul", `{"a":1,}`, `"\ud80"`} {
		phone := r.join("home")
		id := hello(t, phone, binary)
		write(t, phone, "%s", frame)
		wantClose(t, phone, 1007, "frame is not valid JSON")
		if e := readEnvelope(t, binary); e.Conn != id || e.Close != 1007 {
			t.Errorf("%q: the binary reads %+v", frame, e)
		}
	}
	phone := r.join("home")
	id := hello(t, phone, binary)
	_ = phone.Write(context.Background(), websocket.MessageText, make([]byte, 256<<10+1))
	wantClose(t, phone, 1009, "message too big")
	if e := readEnvelope(t, binary); e.Conn != id || e.Close != 1009 {
		t.Errorf("the binary reads %+v", e)
	}
}

// TestReclaimKeepsWhomNobodyKnew: phones of which a frame has reached the former binary go, the others stay, and what they
// have sent meanwhile flows.
func TestReclaimKeepsWhomNobodyKnew(t *testing.T) {
	cfg := testConfig()
	r := run(t, cfg)
	first := r.claims("home")
	known, unknown := r.join("home"), r.join("home")
	hello(t, known, first)
	r.until("home", "attached", 2)
	_ = first.CloseNow()
	r.until("home", "released", 1)
	parked := r.join("home")
	r.until("home", "parked", 1)
	write(t, unknown, `"early 1"`)
	write(t, unknown, `"early 2"`)
	write(t, parked, `"parked"`)
	second := r.claims("home")
	wantClose(t, known, 4404, "no server with that id")
	frames := map[string][]string{}
	for range 3 {
		e := readEnvelope(t, second)
		frames[e.Conn] = append(frames[e.Conn], string(e.Frame))
	}
	got := fmt.Sprint(frames)
	if len(frames) != 2 || !strings.Contains(got, `["early 1" "early 2"]`) || !strings.Contains(got, `["parked"]`) {
		t.Fatalf("the new binary reads %v", got)
	}
}

func TestPhonesGoWhenTheGraceIsOver(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.Grace = 300 * time.Millisecond
	r := run(t, cfg)
	binary := r.claims("home")
	phone, parked := r.join("home"), r.join("home")
	hello(t, phone, binary)
	write(t, parked, `"never read"`)
	_ = binary.CloseNow()
	wantClose(t, phone, 4404, "no server with that id")
	wantClose(t, parked, 4404, "no server with that id")
}

func TestPhonesWaitAfterAStart(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.StartupGrace = ample
	r := run(t, cfg)
	phone := r.join("home")
	write(t, phone, `"hello"`)
	r.until("home", "parked", 1)
	binary := r.claims("home")
	if e := readEnvelope(t, binary); string(e.Frame) != `"hello"` {
		t.Fatalf("%+v", e)
	}
	cfg.Slots.StartupGrace = 300 * time.Millisecond
	wantClose(t, run(t, cfg).join("elsewhere"), 4404, "no server with that id") // in the end
}
