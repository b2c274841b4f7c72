package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// anywhere lets a test's connections come from wherever it likes: through a proxy on this machine, which is trusted.
func anywhere(cfg Config) Config {
	cfg.ProxyProtocol, cfg.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return cfg
}

// proxied is a PROXY header of version 1.
func proxied(from string) string {
	if strings.Contains(from, ":") {
		return "PROXY TCP6 " + from + " 2001:db8::2 1234 443\r\n"
	}
	return "PROXY TCP4 " + from + " 192.0.2.2 1234 443\r\n"
}

// asksFrom asks for an upgrade from an address, and gives the answer's status and its Retry-After in seconds.
func (r *running) asksFrom(from, request string) (status, retry int) {
	r.t.Helper()
	resp, _ := r.say(r.addr, proxied(from)+request)
	return resp.StatusCode, r.retryAfter(resp)
}

// retryAfter is in seconds, and 0 where nothing is said of it.
func (r *running) retryAfter(resp *http.Response) (seconds int) {
	r.t.Helper()
	if h := resp.Header.Get("Retry-After"); h != "" {
		var err error
		if seconds, err = strconv.Atoi(h); err != nil {
			r.t.Errorf("Retry-After: %s", h)
		}
	}
	return seconds
}

// TestUpgradesPerAddress: an address may ask for so many at once, well or badly; then it is told how long to wait. Others are not
// touched by that, and it is told in the log once a second.
func TestUpgradesPerAddress(t *testing.T) {
	var log loglines
	cfg := anywhere(testConfig())
	cfg.RateBurst, cfg.RatePerMinute, cfg.Log = 5, 1, log.log()
	r := run(t, cfg)
	good := request(r.addr, "home")
	for n := range 5 {
		if status, _ := r.asksFrom("192.0.2.1", without(good, "X-Pyrycode-Version")); status != 400 {
			t.Fatalf("number %d: %d", n, status)
		}
	}
	for range 20 {
		if status, retry := r.asksFrom("192.0.2.1", good); status != 429 || retry < 1 || retry > 60 {
			t.Fatalf("beyond the burst: %d, Retry-After %d; want 429 and what is left of the minute that one takes", status, retry)
		}
	}
	if n := log.await("rate_limited"); n > 20 {
		t.Errorf("rate_limited was logged %d times", n)
	}
	for _, other := range []string{"192.0.2.3", "2001:db8::1"} {
		if status, _ := r.asksFrom(other, good); status != 101 {
			t.Errorf("%s: %d", other, status)
		}
	}
	if status, _ := r.asksFrom("192.0.2.1", strings.Replace(without(good, "Upgrade"), "/v1/server", "/healthz", 1)); status != 200 {
		t.Errorf("/healthz of a limited address: %d", status)
	}
	if status, _ := r.asksFrom("192.0.2.1", without(good, "Upgrade")); status != 426 {
		t.Errorf("no upgrade, of a limited address: %d", status)
	}
	_, _, metrics := get(t, "http://"+r.admin+"/metrics")
	for _, want := range []string{
		`ws_upgrade_attempts_total{endpoint="server",outcome="reject_rate_limit"} 20`, `ws_upgrade_attempts_total{endpoint="server",outcome="reject_headers"} 5`,
		`register_failures_total{kind="ratelimit"} 20`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics do not say %s", want)
		}
	}
}

// TestNetworkOfIPv6CountsAsOne: whoever has an address has a /64 of them.
func TestNetworkOfIPv6CountsAsOne(t *testing.T) {
	cfg := anywhere(testConfig())
	cfg.RateBurst, cfg.RatePerMinute = 3, 1
	r := run(t, cfg)
	bad := without(request(r.addr, "home"), "User-Agent")
	for n := range 6 {
		want := 400
		if n >= 3 {
			want = 429
		}
		if got, _ := r.asksFrom(fmt.Sprintf("2001:db8:0:1:%x::%x", n, n), bad); got != want {
			t.Errorf("number %d of a /64: %d, want %d", n, got, want)
		}
	}
	if got, _ := r.asksFrom("2001:db8:0:2::1", bad); got != 400 {
		t.Errorf("the next /64: %d", got)
	}
}

func TestLoopbackHasNoRateUnlessAsked(t *testing.T) {
	for _, too := range []bool{false, true} {
		cfg := testConfig()
		cfg.RateBurst, cfg.RatePerMinute, cfg.RateLoopback = 2, 1, too
		r := run(t, cfg)
		for n := range 5 {
			want := 400
			if too && n >= 2 {
				want = 429
			}
			if resp, _ := r.say(r.addr, without(request(r.addr, "home"), "User-Agent")); resp.StatusCode != want {
				t.Errorf("rate of loopback %t, number %d: %s", too, n, resp.Status)
			}
		}
	}
}

func TestRateRefills(t *testing.T) {
	l := newLimits(&Config{RateBurst: 20, RatePerMinute: 10}, testConfig().Log)
	a, now := netip.MustParseAddr("192.0.2.1"), time.Now()
	take := func() (n int, retry time.Duration) {
		for {
			wait, ok := l.mayUpgrade(a, now)
			if !ok {
				return n, wait
			}
			n++
		}
	}
	if n, retry := take(); n != 20 || retry != 6*time.Second {
		t.Errorf("at once: %d, then one in %v", n, retry)
	}
	now = now.Add(time.Minute)
	if n, _ := take(); n != 10 {
		t.Errorf("a minute later: %d", n)
	}
	now = now.Add(time.Hour)
	if n, _ := take(); n != 20 {
		t.Errorf("an hour later: %d", n)
	}
}

// TestRatesAreForgotten: what is remembered of addresses has a bound, whoever asks.
func TestRatesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // or time would have them forgotten
		l := newLimits(&Config{RateBurst: 20, RatePerMinute: 10}, testConfig().Log)
		a := netip.MustParseAddr("10.0.0.0")
		for range maxRemembered + 1000 {
			l.mayUpgrade(a, time.Now())
			a = a.Next()
		}
		if n := l.upgrades.Len(); n != maxRemembered {
			t.Errorf("%d addresses are remembered, want %d", n, maxRemembered)
		}
	})
}

// TestConnectionsPerAddress: one too many gets 503, others come in, and a place that was left is given again.
func TestConnectionsPerAddress(t *testing.T) {
	var log loglines
	cfg := anywhere(testConfig())
	cfg.MaxConnectionsPerIP, cfg.Log = 2, log.log()
	r := run(t, cfg)
	from := func(a, id string) *daemon {
		t.Helper()
		d, err := r.begin(proxied(a) + request(r.addr, id))
		if err == nil {
			err = d.upgraded()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	first := from("192.0.2.1", "a")
	from("192.0.2.1", "b")
	for range 3 { // refused ones take no place
		if status, retry := r.asksFrom("192.0.2.1", request(r.addr, "c")); status != 503 || retry == 0 {
			t.Errorf("the third: %d, Retry-After %d", status, retry)
		}
		if status, _ := r.asksFrom("192.0.2.3", without(request(r.addr, "c"), "User-Agent")); status != 400 {
			t.Errorf("refused by the gate: %d", status)
		}
		if status, _ := r.asksFrom("192.0.2.3", without(request(r.addr, "c"), "Sec-WebSocket-Key")); status != 400 {
			t.Errorf("refused by the library: %d", status)
		}
	}
	from("192.0.2.3", "d")
	from("192.0.2.3", "e")
	if n := log.await("conn_cap_reached"); n > 3 {
		t.Errorf("conn_cap_reached was logged %d times", n)
	}
	first.drop("reset")
	for {
		if status, _ := r.asksFrom("192.0.2.1", request(r.addr, "f")); status == 101 {
			break
		}
	}
}

// TestLimitsInTheirOrder: what is refused for two reasons is refused for the first.
func TestLimitsInTheirOrder(t *testing.T) {
	cfg := anywhere(testConfig())
	cfg.RateBurst, cfg.RatePerMinute, cfg.MaxConnections = 1, 1, 1
	r := run(t, cfg)
	bad := without(request(r.addr, "home"), "X-Pyrycode-Server")
	d, err := r.begin(proxied("192.0.2.9") + request(r.addr, "home"))
	if err == nil {
		err = d.upgraded()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if status, _ := r.asksFrom("192.0.2.1", with(bad, "X-Padding: "+strings.Repeat("x", headerBytes+5<<10))); status != 431 {
		t.Errorf("too large, and all else: %d", status)
	}
	if status, _ := r.asksFrom("192.0.2.1", bad); status != 503 {
		t.Errorf("no room, and a bad header: %d", status)
	}
	if status, _ := r.asksFrom("192.0.2.1", bad); status != 429 {
		t.Errorf("too fast, no room, and a bad header: %d", status)
	}
}

// TestWhereAConnectionComesFrom, as the PROXY header says: v1 or v2, with more behind it.
func TestWhereAConnectionComesFrom(t *testing.T) {
	var log loglines
	cfg := anywhere(testConfig())
	cfg.Log = log.log()
	r := run(t, cfg)
	secured := anywhere(testConfig())
	secured.Listen, secured.HTTPSListen, secured.Certificate, secured.Log = "", "127.0.0.1:0", valid(t), log.log()
	s := run(t, secured)
	v2 := func(command proxyproto.ProtocolVersionAndCommand, family proxyproto.AddressFamilyAndProtocol, block string) string {
		return string(proxyproto.SIGV2) + string([]byte{byte(command), byte(family), 0, byte(len(block))}) + block
	}
	v4, tlv := "\xc0\x00\x02\x07\xc0\x00\x02\x08\x01\x02\x01\x03", "\x04\x00\x01x"
	for what, c := range map[string]struct{ header, remote string }{
		"v1 TCP4":         {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "192.0.2.1"},
		"v1 TCP6":         {"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "2001:db8::1"},
		"v1 UNKNOWN":      {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"v1 UNKNOWN, say": {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"},
		"v2":              {v2(proxyproto.PROXY, proxyproto.TCPv4, v4), "192.0.2.7"},
		"v2 with more":    {v2(proxyproto.PROXY, proxyproto.TCPv4, v4+tlv), "192.0.2.7"},
		"v2 LOCAL":        {v2(proxyproto.LOCAL, proxyproto.UNSPEC, ""), "127.0.0.1"},
		"v2 LOCAL, says":  {v2(proxyproto.LOCAL, proxyproto.TCPv4, v4), "127.0.0.1"},
		"v2 AF_UNSPEC":    {v2(proxyproto.PROXY, proxyproto.UNSPEC, ""), "127.0.0.1"},
		"v2 AF_UNSPEC, x": {v2(proxyproto.PROXY, proxyproto.UNSPEC, tlv), "127.0.0.1"},
	} {
		id := strings.NewReplacer(" ", "-", ",", "").Replace(what)
		d, err := r.begin(c.header + request(r.addr, id) + string(frame(ping, []byte("early"))))
		if err == nil {
			err = d.upgraded()
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if op, payload, err := readFrame(d.br); err != nil || op != opPong || string(payload) != "early" {
			t.Errorf("%s: what came with the upgrade is lost: %d %q %v", what, op, payload, err)
		}
		d.echoPing(t)
		d.Close()
		over, err := s.secureOver(s.dialer, c.header, request(s.addr, id))
		if err != nil {
			t.Errorf("%s, TLS behind it: %v", what, err)
			continue
		}
		over.echoPing(t)
		over.Close()
		for _, relay := range []*running{r, s} {
			relay.until(id, "released", 1)
		}
		for n := 0; n < 2; {
			log.mu.Lock()
			n = strings.Count(log.text.String(), "msg=server_claimed server_id="+id+" binary_version=1.4.2 conn_id=server-"+id+"-")
			text := log.text.String()
			log.mu.Unlock()
			if n < 2 {
				continue
			}
			for line := range strings.Lines(text) {
				if strings.Contains(line, "msg=server_claimed server_id="+id+" ") && !strings.HasSuffix(line, "remote="+c.remote+"\n") {
					t.Errorf("%s: want remote=%s in %s", what, c.remote, line)
				}
			}
		}
	}
}

// TestProxyHeaderMayComeInPieces, each of which is one read.
func TestProxyHeaderMayComeInPieces(t *testing.T) {
	for _, header := range []string{
		proxied("192.0.2.1"), proxied("2001:db8::1"), "PROXY UNKNOWN\r\n",
		string(proxyproto.SIGV2) + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x01\x02\x01\x03", string(proxyproto.SIGV2) + "\x21\x00\x00\x00",
	} {
		c, peer := net.Pipe()
		defer peer.Close()
		go func() {
			for _, b := range []byte(header + "behind") {
				_, _ = peer.Write([]byte{b})
			}
		}()
		a := &arrival{Conn: c, until: time.Now().Add(time.Minute), proxy: proxyHeader{kind: proxyRequired}}
		b := make([]byte, len("behind"))
		if _, err := io.ReadFull(a, b); err != nil || string(b) != "behind" {
			t.Errorf("%q: behind it comes %q, %v", header, b, err)
		}
		if from := a.RemoteAddr().String(); strings.HasPrefix(header, "PROXY TCP") && !strings.HasSuffix(from, ":1234") {
			t.Errorf("%q: from %s", header, from)
		}
	}
}

// TestProxyHeaderIsRequired, and believed of nobody else.
func TestProxyHeaderIsRequired(t *testing.T) {
	r := run(t, anywhere(testConfig()))
	untrusted := anywhere(testConfig())
	untrusted.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	u := run(t, untrusted)
	good := request(r.addr, "home")
	for what, c := range map[string]struct {
		to   *running
		sent string
	}{
		"none": {r, good}, "half": {r, "PROXY TCP4 192.0.2.1"}, "wrong address": {r, "PROXY TCP4 192.0.2.999 192.0.2.2 1 2\r\n" + good},
		"words behind": {r, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n" + good}, "no end": {r, "PROXY " + strings.Repeat("x", 4000)},
		"v2, too short": {r, string(proxyproto.SIGV2) + "\x21\x11\x00\x02\x01\x02" + good}, "v2, another version": {r, string(proxyproto.SIGV2) + "\x31\x11\x00\x00" + good},
		"from elsewhere": {u, proxied("192.0.2.1") + good}, "none, from elsewhere": {u, good},
	} {
		d, err := c.to.begin(c.sent)
		if err != nil {
			continue // gone already
		}
		if tcp, ok := d.Conn.(interface{ CloseWrite() error }); ok {
			_ = tcp.CloseWrite()
		}
		if b, err := d.br.ReadByte(); err == nil {
			t.Errorf("%s: answered, beginning with %q", what, b)
		}
		d.Close()
	}
	r.untouched()
	u.untouched()
	without := run(t, testConfig())
	if resp, _ := without.say(without.addr, proxied("192.0.2.1")+good); resp.StatusCode != 400 {
		t.Errorf("where none is expected: %s", resp.Status)
	}
}

// TestForwardedHops is docs/protocol.md 7, row by row.
func TestForwardedHops(t *testing.T) {
	trusted := networks{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")}
	for _, c := range []struct {
		peer string
		xff  []string
		want string
	}{
		{"127.0.0.1", nil, "127.0.0.1"},
		{"127.0.0.1", []string{""}, "127.0.0.1"},
		{"127.0.0.1", []string{"192.0.2.1"}, "192.0.2.1"},
		{"127.0.0.1", []string{"192.0.2.1:1234"}, "192.0.2.1"},
		{"127.0.0.1", []string{"[2001:db8::1]:1234"}, "2001:db8::1"},
		{"127.0.0.1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"127.0.0.1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"127.0.0.1", []string{"2001:db8::1%eth0"}, "2001:db8::1"},
		{"127.0.0.1", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"192.0.2.9", []string{"192.0.2.1"}, "192.0.2.9"}, // who is not trusted is not believed
		{"127.0.0.1", []string{"192.0.2.1, 192.0.2.2"}, "192.0.2.2"},
		{"127.0.0.1", []string{"192.0.2.1,192.0.2.2, 10.1.1.1"}, "192.0.2.2"},
		{"127.0.0.1", []string{"192.0.2.1", "192.0.2.2", "10.1.1.1"}, "192.0.2.2"}, // several headers are one
		{"127.0.0.1", []string{"192.0.2.2,\t10.1.1.1 , ,"}, "192.0.2.2"},           // an empty one is no hop
		{"127.0.0.1", []string{"192.0.2.1, unknown, 10.1.1.1"}, "10.1.1.1"},        // at no address the hop to its right
		{"127.0.0.1", []string{"192.0.2.1, unknown"}, "127.0.0.1"},
		{"127.0.0.1", []string{"192.0.2.1, [2001:db8::1"}, "127.0.0.1"},
		{"127.0.0.1", []string{"10.3.3.3, fc00::2, 10.1.1.1"}, "10.3.3.3"}, // all trusted: the left-most
		{"::ffff:127.0.0.1", []string{"192.0.2.1"}, "192.0.2.1"},
	} {
		s := &server{cfg: Config{TrustForwardedFor: true, TrustedProxies: trusted}}
		r := &http.Request{RemoteAddr: netip.AddrPortFrom(netip.MustParseAddr(c.peer), 80).String(), Header: http.Header{"X-Forwarded-For": c.xff}}
		if got := s.from(r).String(); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.peer, c.xff, got, c.want)
		}
		s.cfg.TrustForwardedFor = false
		if got, want := s.from(r).String(), strings.TrimPrefix(c.peer, "::ffff:"); got != want {
			t.Errorf("%s, %q, not asked to believe it: %s", c.peer, c.xff, got)
		}
	}
}

// TestDoorTurnsOutTheLongestSilent, not before it has had its time, and whoever has asked for something is not that.
func TestDoorTurnsOutTheLongestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(2)
		var in []*arrival
		var peers []net.Conn
		for range 4 {
			c, peer := net.Pipe()
			defer peer.Close()
			in, peers = append(in, &arrival{Conn: c}), append(peers, peer)
		}
		began := time.Now()
		d.enter(in[0])
		d.enter(in[1])
		time.Sleep(patience / 2) //nolint:forbidigo // in a bubble
		d.follow(in[0], http.StateActive)
		d.enter(in[2]) // in[1] has to go
		if took := time.Since(began); took != patience {
			t.Errorf("the longest silent had %v, want %v", took, patience)
		}
		if _, err := peers[1].Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("the longest silent is told %v", err)
		}
		d.follow(in[1], http.StateClosed)
		go d.follow(in[0], http.StateHijacked) // and so its place is free
		d.enter(in[3])
		if took := time.Since(began); took != patience {
			t.Errorf("a place that was left is given %v later", took-patience)
		}
		if d.inside.Len() != 2 || len(d.places) != 2 || d.out.Load() != 1 || d.lost.Load() != 1 {
			t.Errorf("%d inside, %d places, %d had to go, %d came to nothing", d.inside.Len(), len(d.places), d.out.Load(), d.lost.Load())
		}
		for _, i := range []int{0, 2, 3} {
			go func() { _, _ = peers[i].Write([]byte("x")) }()
			if _, err := in[i].Read(make([]byte, 1)); err != nil {
				t.Errorf("number %d: %v", i, err)
			}
		}
	})
}

// TestNobodyPaysForASlowRelay: whose request lies there unread is not the one that is silent.
func TestNobodyPaysForASlowRelay(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	d := newDoor(1)
	l := &listener{Listener: tcp, door: d, within: ample}
	arrives := func(says string) *arrival {
		peer, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		_, _ = io.WriteString(peer, says)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*arrival)
	}
	heard := arrives("GET")
	for !heard.unread() {
		runtime.Gosched()
	}
	d.mu.Lock()
	heard.since = heard.since.Add(-time.Hour)
	d.patience = time.Minute // from now on, which is more than this test may take
	d.mu.Unlock()
	go func() {
		for {
			d.mu.Lock()
			renewed := time.Since(heard.since) < time.Minute
			d.mu.Unlock()
			if renewed || d.out.Load() > 0 {
				d.follow(heard, http.StateHijacked)
				return
			}
			runtime.Gosched()
		}
	}()
	arrives("")
	if n := d.out.Load(); n != 0 {
		t.Errorf("%d had to go", n)
	}
}

// TestWholeFleetGetsIn: who dials while the door is full of others that do waits, and is served.
func TestWholeFleetGetsIn(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var fleet []*bufio.Reader
	for range 50 {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
		fleet = append(fleet, bufio.NewReader(c))
	}
	d := newDoor(4)
	d.patience = time.Hour
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ConnState: d.follow}
	defer srv.Close()
	go func() { _ = srv.Serve(&listener{Listener: tcp, door: d, within: ample}) }()
	for i, c := range fleet {
		if resp, err := http.ReadResponse(c, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("number %d: %v, %v", i, resp, err)
		}
	}
}

// TestArrivalsThatComeToNothingAreCounted: whatever has come of them, if it was no request.
func TestArrivalsThatComeToNothingAreCounted(t *testing.T) {
	l := &listener{door: newDoor(16), within: ample}
	var err error
	if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	srv := (&server{cfg: Config{arriveWithin: ample}}).http(http.NotFoundHandler())
	l.door.guard(srv)
	go srv.Serve(l)
	defer srv.Close()
	for _, text := range []string{
		"", "GET /v1/server HTTP/1.1\r\nHost: rel", "\x16\x03\x01\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX-Padding: " + strings.Repeat("x", headerBytes+5<<10) + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nand then junk",
	} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the relay is done with it
		c.Close()
	}
	inside := func() int {
		l.door.mu.Lock()
		defer l.door.mu.Unlock()
		return len(l.door.places)
	}
	for inside() > 0 {
		runtime.Gosched()
	}
	if n := l.door.lost.Load(); n != 5 {
		t.Errorf("%d came to nothing, want 5", n)
	}
}

// TestWhatCameWithAProxyHeaderIsKept, should the HTTP server not have read it all when a connection is upgraded.
func TestWhatCameWithAProxyHeaderIsKept(t *testing.T) {
	c, peer := net.Pipe()
	defer peer.Close()
	s := &socket{conn: &arrival{Conn: c, early: []byte("behind")}, early: []byte("before ")}
	if s.unwrap(); s.conn != c || string(s.early) != "before behind" {
		t.Errorf("%T, %q", s.conn, s.early)
	}
}

// TestOneTimeForAllThatComesBeforeARequest: no read of it lasts longer than until its end, whatever net/http asks for each.
func TestOneTimeForAllThatComesBeforeARequest(t *testing.T) {
	c, peer := net.Pipe()
	defer peer.Close()
	a := &arrival{Conn: c, until: time.Now().Add(-time.Second)}
	for _, until := range []time.Time{{}, time.Now().Add(time.Hour)} {
		if err := a.SetDeadline(until); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("a read until %v: %v", until, err)
		}
	}
	a.requested.Store(true)
	_ = a.SetDeadline(time.Time{})
	go func() { _, _ = peer.Write([]byte("x")) }()
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Errorf("once it is requested: %v", err)
	}
}
