package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// shown is a relay without a network, and its pages behind a real one.
type shown struct {
	t     testing.TB
	relay *actors.Relay
	pages *Pages
	url   string
	end   func() // ends the feed
}

// wire is a connection's socket that goes nowhere.
type wire struct{ closed atomic.Uint32 }

func (*wire) Send(_, _, _ []byte, _ messages.Passing) bool { return true }
func (*wire) Notify()                                      {}
func (*wire) Ping(messages.Probe)                          {}
func (*wire) Pause()                                       {}
func (*wire) Resume()                                      {}
func (w *wire) Close(code messages.CloseCode, _ string)    { w.closed.Store(uint32(code)) }
func (w *wire) Drop(code messages.CloseCode, _ string)     { w.closed.Store(uint32(code)) }

func show(t testing.TB, cfg Config) *shown {
	t.Helper()
	s := &shown{t: t}
	s.relay = actors.Start(actors.Config{Slots: machine.Config{ProbeTimeout: time.Minute, ProbeInterval: time.Second}, Journal: max(cfg.Journal, 1)})
	cfg.Relay, cfg.Connections = s.relay, func() map[messages.ConnID]Connection { return nil }
	s.pages = New(cfg)
	s.pages.feed.timeout = time.Hour // whoever reads is not dropped where the machine stalls
	s.pages.Metrics(http.NotFoundHandler())
	done, fed := make(chan struct{}), make(chan struct{})
	go func() { defer close(fed); s.pages.Run(done) }()
	pages := s.pages.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Hurried") != "" {
			w = hurried{w}
		}
		pages.ServeHTTP(w, r)
	}))
	s.url = server.URL
	ended := false
	s.end = func() {
		if !ended {
			ended = true
			close(done)
			<-fed
		}
	}
	t.Cleanup(func() {
		s.end()
		server.CloseClientConnections()
		server.Close()
		s.relay.ShutDown()
		s.relay.Stop()
	})
	return s
}

// hurried is the answer to a reader for whom an hour is a tenth of a second, and for nobody else.
type hurried struct{ http.ResponseWriter }

func (h hurried) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hurried) SetWriteDeadline(at time.Time) error {
	return http.NewResponseController(h.ResponseWriter).SetWriteDeadline(time.Now().Add(time.Until(at) / 36_000))
}

// comes has a binary claim a slot, and come to its end: two decisions.
func (s *shown) comes(server messages.ServerID, conn messages.ConnID) {
	in := s.relay.Binary(&wire{}, actors.Binary{Server: server, Conn: conn, Version: "1", Remote: "192.0.2.1"})
	in.Tell(messages.Ended{Code: messages.CloseNormal})
}

// storm makes so many decisions at least.
func (s *shown) storm(decisions int) {
	for end := s.relay.Journal().Last() + int64(decisions); s.relay.Journal().Last() < end; {
		s.comes("storm", "c")
	}
}

func (s *shown) request(method, path string, header ...string) (status int, body string) {
	s.t.Helper()
	req, _ := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// event is one of a stream.
type event struct{ id, name, data string }

// follow opens a stream.
func (s *shown) follow(query string, header ...string) (next func() (event, error)) {
	s.t.Helper()
	req, _ := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/claims/stream"+query, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%v: %+v", err, resp)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	in := bufio.NewReader(resp.Body)
	return func() (e event, err error) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return e, err
			}
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					return e, nil
				}
			}
		}
	}
}

func (s *shown) must(next func() (event, error)) event {
	s.t.Helper()
	e, err := next()
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func TestLoopbackHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:9180": true, "127.0.0.1": true, "127.1.2.3:80": true, "[::1]:9180": true, "[::1]": true,
		"evil.example": false, "127.0.0.1.evil.example:80": false, "localhost.evil.example": false, "192.0.2.1:9180": false,
		"0.0.0.0:9180": false, "[::]:9180": false, "": false, ":9180": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

// TestPagesOfOtherOriginsGetNothing, whatever they ask for, and however a browser sends it.
func TestPagesOfOtherOriginsGetNothing(t *testing.T) {
	s := show(t, Config{Journal: 10, Token: "t"})
	own := strings.TrimPrefix(s.url, "http://")
	for _, c := range []struct {
		what   string
		header []string
		let    bool
	}{
		{"no browser", nil, true},
		{"the page itself", []string{"Origin", "http://" + own, "Sec-Fetch-Site", "same-origin"}, true},
		{"an address that was typed", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, true},
		{"a fetch", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, false},
		{"a fetch, by a browser that says less", []string{"Origin", "https://evil.example"}, false},
		{"a sandboxed frame", []string{"Origin", "null"}, false},
		{"another port of this machine", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, false},
		{"an image", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, false},
		{"a name that leads here", []string{"Host", "evil.example"}, false},
	} {
		for _, path := range []string{"/claims", "/slots", "/check"} {
			if status, body := s.request(http.MethodGet, path, c.header...); (status == 200) != c.let {
				t.Errorf("%s: %s is answered with %d %s", c.what, path, status, body)
			}
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/claims", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%v", resp.Header)
	}
}

// TestReleaseWantsTheToken, and a page of this origin: else nothing changes.
func TestReleaseWantsTheToken(t *testing.T) {
	s := show(t, Config{Journal: 10, Token: "secret"})
	holder := &wire{}
	in := s.relay.Binary(holder, actors.Binary{Server: "a/b?", Conn: "c"})
	defer in.Tell(messages.Ended{})
	const path = "/slots/a%2Fb%3F/release"
	for what, header := range map[string][]string{
		"no token":      nil,
		"another":       {"Authorization", "Bearer other"},
		"an empty one":  {"Authorization", "Bearer "},
		"another way":   {"Authorization", "Basic secret"},
		"as a cookie":   {"Cookie", "token=secret"},
		"from a page":   {"Authorization", "Bearer secret", "Origin", "https://evil.example"},
		"from a form":   {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
		"a name's page": {"Authorization", "Bearer secret", "Host", "evil.example"},
	} {
		if status, _ := s.request(http.MethodPost, path, header...); status != 401 && status != 403 && status != 421 {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, _ := s.request(http.MethodGet, path, "Authorization", "Bearer secret"); status == 200 {
		t.Error("a GET releases")
	}
	if holder.closed.Load() != 0 || s.relay.Holders() != 1 || s.relay.Journal().Last() != 1 {
		t.Fatalf("something has changed: closed with %d, %d holders", holder.closed.Load(), s.relay.Holders())
	}
	status, body := s.request(http.MethodPost, path, "Authorization", "Bearer secret")
	var e struct{ Asked, Decided, Reason string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != 200 || e.Asked != "operator_release" || e.Decided != "released" {
		t.Errorf("%d %s", status, body)
	}
	for holder.closed.Load() == 0 {
		runtime.Gosched()
	}
	if holder.closed.Load() != uint32(messages.CloseServiceRestart) {
		t.Errorf("the holder is closed with %d", holder.closed.Load())
	}
	if status, _ := s.request(http.MethodPost, path, "Authorization", "Bearer secret"); status != 404 {
		t.Errorf("nobody holds it, and it is released: %d", status)
	}
}

// TestEveryHolderCanBeThrownOut, whatever stands in his server-id: "/" and, in most clients, "." and ".." do not come through a path.
func TestEveryHolderCanBeThrownOut(t *testing.T) {
	s := show(t, Config{Journal: 1000, Token: "secret"})
	ids := []string{"..", "a/b", "%2F", "a&server_id=b", "a+b"}
	for c := '!'; c <= '~'; c++ {
		ids = append(ids, string(c))
	}
	for _, id := range ids {
		for _, how := range []string{"query", "form", "path"} {
			holder := &wire{}
			in := s.relay.Binary(holder, actors.Binary{Server: messages.ServerID(id), Conn: "c"})
			named, status, body := url.Values{"server_id": {id}}, 0, ""
			switch how {
			case "query":
				status, body = s.request(http.MethodPost, "/slots/release?"+named.Encode(), "Authorization", "Bearer secret")
			case "form":
				named.Set("token", " secret ") // as it is pasted
				status, body = s.post("/slots/release", named.Encode())
			case "path":
				if id == "/" || id == "." || id == ".." {
					status = http.StatusOK
					break
				}
				status, body = s.request(http.MethodPost, "/slots/"+url.PathEscape(id)+"/release", "Authorization", "Bearer secret")
			}
			if status != http.StatusOK && (status != http.StatusSeeOther || how != "form") {
				t.Errorf("%s by %s: %d %s", id, how, status, body)
			}
			in.Tell(messages.Ended{})
		}
	}
	for what, path := range map[string]string{"a token in an address": "/slots/release?token=secret&server_id=a", "none": "/slots/release?server_id=a"} {
		if status, body := s.request(http.MethodPost, path); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if status, body := s.request(http.MethodPost, "/slots/release", "Authorization", "Bearer secret"); status != http.StatusBadRequest || !strings.HasPrefix(body, "server_id: ") {
		t.Errorf("no server-id: %d %s", status, body)
	}
	if status, body := s.post("/slots/release", "token=secret&server_id=a&x="+strings.Repeat("x", formBytes)); status != http.StatusUnauthorized {
		t.Errorf("a form beyond all bounds: %d %s", status, body)
	}
}

// post sends a form, and follows nowhere.
func (s *shown) post(path, form string) (status int, body string) {
	s.t.Helper()
	req, _ := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(form))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// TestSlotsSaysWhatItWants, and nothing that it does not take.
func TestSlotsSaysWhatItWants(t *testing.T) {
	s := show(t, Config{Journal: 10})
	for query, want := range map[string]string{
		"limit=1":                   "want server_id once, or nothing",
		"after=0":                   "want server_id once, or nothing",
		"server_id=a&server_id=b":   "want server_id once, or nothing",
		"server_id=a&decided=freed": "want server_id once, or nothing",
		"server_id=a%20":            "server-id has byte 0x20 at 1",
		"server_id=%zz":             "want server_id=home, or nothing",
	} {
		if status, body := s.request(http.MethodGet, "/slots?"+query); status != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	for _, query := range []string{"", "server_id=", "server_id=nobody"} {
		if status, body := s.request(http.MethodGet, "/slots?"+query); status != 200 || body != "[]\n" {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
}

// TestShortJournalIsAskedForMore than it keeps, by whoever does not know how much that is.
func TestShortJournalIsAskedForMore(t *testing.T) {
	s := show(t, Config{Journal: 3})
	s.storm(6)
	for query, want := range map[string]int{"newest=100": 200, "limit=4096": 200, "limit=4097": 400} {
		if status, body := s.request(http.MethodGet, "/claims?"+query); status != want || status == 200 && strings.Count(body, `"seq"`) != 3 {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// TestNoTokenIsNoKey: where there is none, an empty one opens nothing.
func TestNoTokenIsNoKey(t *testing.T) {
	s := show(t, Config{Journal: 10})
	for _, authorization := range []string{"Bearer ", "Bearer", ""} {
		if status, _ := s.request(http.MethodPost, "/slots/a/release", "Authorization", authorization); status != 401 {
			t.Errorf("%q: %d", authorization, status)
		}
	}
}

// TestCheckFailsWhereSomethingDoesNotHold, and holds else.
func TestCheckFailsWhereSomethingDoesNotHold(t *testing.T) {
	broken := false
	s := show(t, Config{Journal: 100, Checks: func() []Check { return []Check{{"test", !broken, ""}} }})
	for i := range 600 { // more than two pages
		in := s.relay.Binary(&wire{}, actors.Binary{Server: messages.ServerID(fmt.Sprint("s", i)), Conn: "c"})
		defer in.Tell(messages.Ended{})
	}
	status, body := s.request(http.MethodGet, "/check")
	if status != 200 || !strings.Contains(body, "600 are counted, 600 are there") {
		t.Errorf("%d %s", status, body)
	}
	var all []Check
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all) < 5 {
		t.Errorf("%v: %s", err, body)
	}
	broken = true
	if status, body := s.request(http.MethodGet, "/check"); status != 500 || !strings.Contains(body, `{"check":"test","ok":false`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.request(http.MethodGet, "/slots"); status != 200 || strings.Count(body, `"state":"held"`) != 600 {
		t.Errorf("%d, %d slots", status, strings.Count(body, `"state":"held"`))
	}
	if _, body := s.request(http.MethodGet, "/slots?server_id=s7"); strings.Count(body, "server_id") != 1 {
		t.Errorf("%s", body)
	}
	if status, _ := s.request(http.MethodGet, "/slots?after=7"); status != 400 {
		t.Errorf("a query that means nothing: %d", status)
	}
}

func TestDisagreementIsSeen(t *testing.T) {
	for _, c := range []struct {
		counted, there, slack int
		ok                    bool
	}{{3, 3, 0, true}, {3, 2, 0, false}, {2, 3, 0, false}, {3, 2, 1, true}, {-1, 0, 5, false}} {
		if got := agree("holders", c.counted, c.there, c.slack); got.OK != c.ok {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// smallWindow has a connection take little that nobody reads.
func smallWindow(t testing.TB, url string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	t.Cleanup(func() { c.Close() })
	return c
}
