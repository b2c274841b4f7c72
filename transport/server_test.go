package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// say sends raw bytes as a request and reads the answer.
func (r *running) say(addr, raw string) (*http.Response, string) {
	r.t.Helper()
	resp, body, err := r.trySay(addr, raw)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, body
}

func (r *running) trySay(addr, raw string) (*http.Response, string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	// Beside the reading: a server may answer, and cut, before it has read everything.
	go func() { _, _ = io.WriteString(c, raw) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, "", err
	}
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body), nil
}

// untouched fails if the registry was asked for anything.
func (r *running) untouched() {
	r.t.Helper()
	if es := r.journal("", 0); len(es) > 0 {
		r.t.Errorf("the registry was asked: %+v", es)
	}
}

func without(req, header string) string {
	return regexp.MustCompile(`(?m)^`+header+`:.*\r\n`).ReplaceAllString(req, "")
}

func with(req, line string) string {
	return strings.Replace(req, "\r\n\r\n", "\r\n"+line+"\r\n\r\n", 1)
}

func TestBadHeadersGet400WithoutABody(t *testing.T) {
	r := run(t, testConfig())
	good := request(r.addr, "home")
	for what, req := range map[string]string{
		"no id":              without(good, "X-Pyrycode-Server"),
		"no version":         without(good, "X-Pyrycode-Version"),
		"no user agent":      without(good, "User-Agent"),
		"two ids":            with(good, "X-PYRYCODE-SERVER: home"),
		"space in an id":     request(r.addr, "ho me"),
		"UTF-8 in an id":     request(r.addr, "h\u00f6me"),
		"too long an id":     request(r.addr, strings.Repeat("x", 129)),
		"bad, and no ws key": without(without(good, "X-Pyrycode-Server"), "Sec-WebSocket-Key"), // the gate comes first
	} {
		resp, body := r.say(r.addr, req)
		if resp.StatusCode != 400 || body != "" {
			t.Errorf("%s: got %s %q, want 400 and no body", what, resp.Status, body)
		}
	}
	r.untouched()
}

func TestNoUpgradeGetsTheLibrarysAnswer(t *testing.T) {
	r := run(t, testConfig())
	good := request(r.addr, "home")
	for what, c := range map[string]struct {
		req  string
		want int
	}{
		"POST":          {strings.Replace(good, "GET", "POST", 1), 405},
		"no upgrade":    {without(good, "Upgrade"), 426},
		"no connection": {without(good, "Connection"), 426},
		"old version":   {strings.Replace(good, "Version: 13", "Version: 8", 1), 400},
		"no key":        {without(good, "Sec-WebSocket-Key"), 400},
		"two keys":      {with(good, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400},
		"a short key":   {strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1), 400},
		"HTTP/1.0":      {strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), 426},
		"no such page":  {strings.Replace(good, "/v1/server", "/v1/servers", 1), 404},
		"garbage":       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
	} {
		if resp, body := r.say(r.addr, c.req); resp.StatusCode != c.want {
			t.Errorf("%s: got %s %q, want %d", what, resp.Status, body, c.want)
		}
	}
	r.untouched()
}

func TestAnyOriginIsLetIn(t *testing.T) {
	r := run(t, testConfig())
	d, err := r.begin(with(request(r.addr, "home"), "Origin: https://elsewhere.example"))
	if err == nil {
		err = d.upgraded()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	r.until("home", "granted", 1)
}

func TestHeadersBeyondTheLimitGet431(t *testing.T) {
	r := run(t, testConfig())
	if resp, _ := r.say(r.addr, with(request(r.addr, "home"), "X-Padding: "+strings.Repeat("x", headerBytes+5<<10))); resp.StatusCode != 431 {
		t.Errorf("13 KiB of headers: got %s, want 431", resp.Status)
	}
	r.untouched()
	d, err := r.begin(with(request(r.addr, "home"), "X-Padding: "+strings.Repeat("x", headerBytes-512)))
	if err == nil {
		err = d.upgraded()
	}
	if err != nil {
		t.Errorf("8 KiB of headers: %v", err)
	}
	d.Close()
}

// TestConnectionLimit: it holds however many come at once, comes before the gate, and a place that was left is given again.
func TestConnectionLimit(t *testing.T) {
	const limit = 10
	cfg := testConfig()
	cfg.MaxConnections = limit
	r := run(t, cfg)
	var in []*daemon
	for i := range limit {
		in = append(in, r.enters(fmt.Sprint("home-", i)))
	}
	var wg sync.WaitGroup
	for range 5 * limit {
		wg.Go(func() {
			resp, body := r.say(r.addr, without(request(r.addr, "more"), "X-Pyrycode-Server"))
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || body != "" {
				t.Errorf("beyond the limit: got %s, Retry-After %q, %q", resp.Status, resp.Header.Get("Retry-After"), body)
			}
		})
	}
	wg.Wait()
	if got := r.decided("more"); len(got) > 0 {
		t.Errorf("the registry was asked: %v", got)
	}
	in[0].drop("close frame")
	r.enters("more").Close()
}

// enters claims id, and dials again as long as there is no room.
func (r *running) enters(id string) *daemon {
	r.t.Helper()
	for {
		d, err := r.begin(request(r.addr, id))
		if err != nil {
			r.t.Fatal(err)
		}
		if err = d.upgraded(); err == nil {
			r.t.Cleanup(func() { d.Close() })
			return d
		}
		d.Close()
		if !strings.Contains(err.Error(), "503") {
			r.t.Fatal(err)
		}
	}
}

// TestConnectionLimitInAStorm: of many that are in their upgrade at once no more get in than there is room for.
func TestConnectionLimitInAStorm(t *testing.T) {
	const limit, dials = 20, 60 // no more than the door has room for: who is slow there may have to go
	cfg := testConfig()
	cfg.MaxConnections = limit
	r := run(t, cfg)
	var wg sync.WaitGroup
	in := make(chan *daemon, dials)
	for i := range dials {
		wg.Go(func() {
			if d, err := r.begin(request(r.addr, fmt.Sprint("home-", i))); err != nil {
				t.Error(err)
			} else if d.upgraded() == nil {
				in <- d
			} else {
				d.Close()
			}
		})
	}
	wg.Wait()
	close(in)
	if len(in) > limit || len(in) == 0 {
		t.Errorf("%d of %d got in, with room for %d", len(in), dials, limit)
	}
	for d := range in {
		d.Close()
	}
}

// get reads a page, by the name that the admin listener is known by.
func get(t testing.TB, url string) (int, http.Header, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestHealth(t *testing.T) {
	cfg := testConfig()
	cfg.Build = Build{Version: "v0.1.0", Commit: "abc", Built: "2026-01-02T15:04:05Z"}
	cfg.Slots.ProbeTimeout = time.Hour
	r := run(t, cfg)
	r.daemon("home")
	r.until("home", "granted", 1)
	r.daemon("home") // waits: it is no holder
	r.until("home", "waiting", 1)
	code, h, body := get(t, "http://"+r.addr+"/healthz")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || h.Get("Cache-Control") != "no-store" ||
		h.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s (%v)", code, h, body, err)
	}
	if up, ok := got["uptime_seconds"].(float64); !ok || up < 0 || up != float64(int(up)) {
		t.Errorf("uptime_seconds: %v", got["uptime_seconds"])
	}
	delete(got, "uptime_seconds")
	want := "map[built:2026-01-02T15:04:05Z commit:abc connected_binaries:1 connected_phones:0 status:ok version:v0.1.0]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestClaimsQueries(t *testing.T) {
	r := run(t, testConfig()) // whose journal holds nothing else: no grace runs out
	lives := map[string]int{}
	for _, id := range []string{"a&b", "home", "home"} {
		lives[id]++
		c := r.daemon(id)
		r.until(url.QueryEscape(id), "granted", lives[id])
		c.drop("reset")
		r.until(url.QueryEscape(id), "released", lives[id])
	}
	seqs := func(query string) (seqs []int64) {
		t.Helper()
		code, h, body := get(t, "http://"+r.admin+"/claims"+query)
		var es []entry
		if err := json.Unmarshal([]byte(body), &es); err != nil || code != 200 || h.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s (%v)", query, code, body, err)
		}
		for _, e := range es {
			seqs = append(seqs, e.Seq)
		}
		return seqs
	}
	for query, want := range map[string]string{
		"?limit=2": "[1 2]", "?after=1&limit=1": "[2]", "?server_id=a%26b&limit=2": "[1 2]", "?server_id=home&after=2&limit=2": "[3 4]",
		"?server_id=nobody": "[]", "?after=4611686018427387904": "[]", "?newest=2": "[5 6]", "?server_id=home&newest=9": "[3 4 5 6]",
		"?decided=released": "[2 4 6]", "?decided=granted,refused&newest=2": "[3 5]", "?until=2001-02-03T04:05:06Z": "[]",
		"?since=2001-02-03T04:05:06%2B01:00&limit=1": "[1]",
	} {
		if got := fmt.Sprint(seqs(query)); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	if _, _, body := get(t, "http://"+r.admin+"/claims?server_id=nobody"); strings.TrimSpace(body) != "[]" {
		t.Errorf("nothing to tell is %q, want an empty list", body)
	}
	for query, want := range map[string]string{
		"after=-1":               `after: "-1": want a whole number from 0 to`,
		"after=x":                `after: "x": want a whole number`,
		"limit=0":                `limit: "0": want a whole number from 1 to 4096`,
		"limit=4097":             `limit: "4097": want a whole number from 1 to 4096`,
		"limit=1e3":              `limit: "1e3": want`,
		"server_id=h%20m":        `server_id: server-id has byte 0x20 at 1: want 0x21 to 0x7e`,
		"limit=1&limit=2":        `limit: want it once`,
		"limit=1&newest=2":       `newest: want it, or limit`,
		"decided=lost":           `decided: "lost": want one of granted, waiting`,
		"since=yesterday":        `since: "yesterday": want a time such as 2026-`,
		"servr_id=home":          `servr_id: want server_id, decided, since, until, after, limit or newest`,
		"limit=%zz":              `want a query such as`,
		"server_id=" + long(129): `server_id: server-id of 129 characters: want 1 to 128`,
	} {
		if code, _, body := get(t, "http://"+r.admin+"/claims?"+query); code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %q, want 400 %q", query, code, body, want)
		}
	}
	if code, _, _ := get(t, "http://"+r.addr+"/claims"); code != 404 {
		t.Errorf("the journal is public: %d", code)
	}
	if code, _, _ := get(t, "http://"+r.admin+"/healthz"); code != 404 {
		t.Errorf("/healthz on the admin listener: %d", code)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// TestAdminAnswersToItsOwnNameOnly: a page of another origin could send a browser to this address under its own name.
func TestAdminAnswersToItsOwnNameOnly(t *testing.T) {
	for _, allow := range []bool{false, true} {
		cfg := testConfig()
		cfg.AdminAllowRemote = allow
		r := run(t, cfg)
		for host, mine := range map[string]bool{"localhost": true, "127.0.0.1:1": true, "[::1]:9180": true, "evil.example": false, "localhost.evil.example:80": false} {
			resp, body := r.say(r.admin, "GET /claims HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			want := 200
			if !mine && !allow {
				want = 421
			}
			if resp.StatusCode != want {
				t.Errorf("Host %s, remote allowed %v: got %s %q, want %d", host, allow, resp.Status, body, want)
			}
		}
	}
}

func TestNoAdminListener(t *testing.T) {
	cfg := testConfig()
	cfg.AdminListen = ""
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Started = func(_, admin net.Addr) {
		if admin != nil {
			t.Errorf("listens for the admin at %s", admin)
		}
		cancel()
	}
	if err := Run(ctx, context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestAddressInUseIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for what, change := range map[string]func(*Config){
		"clients": func(c *Config) { c.Listen = l.Addr().String() },
		"admin":   func(c *Config) { c.AdminListen = l.Addr().String() },
	} {
		cfg := testConfig()
		change(&cfg)
		if err := Run(context.Background(), context.Background(), cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestShutdownStepByStep: from its first sign not ready and no upgrade, while the journal can still be read, and each connection
// is closed in its turn.
func TestShutdownStepByStep(t *testing.T) {
	cfg := testConfig()
	cfg.DrainSpread = time.Hour // of two connections, the second would be closed after half of it
	ctx, cancel := context.WithCancel(context.Background())
	cut, cutNow := context.WithCancelCause(context.Background())
	up, down := make(chan [2]net.Addr, 1), make(chan error, 1)
	cfg.Started = func(l, admin net.Addr) { up <- [2]net.Addr{l, admin} }
	go func() { down <- Run(ctx, cut, cfg) }()
	addrs := <-up
	r := &running{t: t, addr: addrs[0].String(), admin: addrs[1].String()}
	ends := make(chan uint16, 2)
	for i := range 2 {
		d := r.daemon(fmt.Sprint("home-", i))
		go func() {
			code, _ := d.live(0)
			ends <- code
		}()
	}
	r.until("home-0", "granted", 1)
	r.until("home-1", "granted", 1)
	if code, _, _ := get(t, "http://"+r.addr+"/readyz"); code != 200 {
		t.Fatalf("/readyz before: %d", code)
	}
	cancel()
	if code := <-ends; code != 1001 {
		t.Errorf("the first was closed with %d", code)
	}
	if code, _, _ := get(t, "http://"+r.addr+"/readyz"); code != 503 {
		t.Errorf("/readyz during: %d", code)
	}
	if resp, body := r.say(r.addr, request(r.addr, "home-2")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || body != "" {
		t.Errorf("an upgrade during: %s %q", resp.Status, body)
	}
	for i := range 2 { // given back before the first close frame left, whoever's it was
		if got := r.decided(fmt.Sprint("home-", i)); got["released"] != 1 {
			t.Errorf("home-%d: %v", i, got)
		}
	}
	select {
	case code := <-ends:
		t.Errorf("the second was closed with %d, too early", code)
	default:
	}
	why := fmt.Errorf("a second signal")
	cutNow(why)
	if err := <-down; err != why {
		t.Errorf("Run: %v", err)
	}
	<-ends
	http.DefaultClient.CloseIdleConnections()
}

// TestSlowRequestsAreCut: headers that do not end, and a body that was announced and never comes, hold nothing for long.
func TestSlowRequestsAreCut(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("takes the 5 s that a request may: make soak")
	}
	cfg := testConfig()
	cfg.arriveWithin = 0 // as it is where no test sets it
	r := run(t, cfg)
	for what, raw := range map[string]string{
		"half a header": "GET /v1/server HTTP/1.1\r\nHost: relay\r\nX-Pyry",
		"no body":       "POST /healthz HTTP/1.1\r\nHost: relay\r\nContent-Length: 10\r\n\r\n",
		"nothing":       "",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, raw)
			_, _ = io.Copy(io.Discard, c) // until the relay ends it
		})
	}
}

// TestClientThatAsksForCompressionGetsNone: the relay negotiates nothing (docs/protocol.md 3).
func TestClientThatAsksForCompressionGetsNone(t *testing.T) {
	r := run(t, testConfig())
	c, resp, err := websocket.Dial(context.Background(), "ws://"+r.addr+"/v1/server", &websocket.DialOptions{
		CompressionMode: websocket.CompressionContextTakeover, Subprotocols: []string{"pyry"}, HTTPHeader: claimHeaders(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if ext, sub := resp.Header.Get("Sec-WebSocket-Extensions"), c.Subprotocol(); ext != "" || sub != "" {
		t.Fatalf("negotiated %q and %q", ext, sub)
	}
}

// TestPanicEndsTheProcess, and is told: whoever starts a relay again when it ends hears of it. The process is one of its own.
func TestPanicEndsTheProcess(t *testing.T) {
	const child = "PYRYCODE_RELAY_TEST_PANIC"
	if os.Getenv(child) != "" {
		cfg := testConfig()
		cfg.Record, cfg.RecordBytes = filepath.Join(t.TempDir(), "record"), 1<<20
		cfg.AliveEvery, cfg.Alive = time.Hour, func() {}
		cfg.Started = func(net.Addr, net.Addr) { panic("as planned") }
		_ = Run(t.Context(), t.Context(), cfg)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPanicEndsTheProcess$", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), child+"=1")
	if out, err := cmd.CombinedOutput(); ctx.Err() != nil || err == nil || !strings.Contains(string(out), "panic: as planned") {
		t.Errorf("%v, %v: %s", ctx.Err(), err, out)
	}
}
