package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
	"github.com/pyrycode/pyrycode-relay/transport/measure/port"
)

func TestMain(m *testing.M) {
	if ports := os.Getenv(pebbleEnv); ports != "" {
		servePebble(ports)
		return
	}
	os.Exit(leak.Main(m))
}

// rounds is short, or in make soak long.
func rounds(short, long int) int {
	if os.Getenv("SOAK") != "" {
		return long
	}
	return short
}

// daemon is a client that is a plain connection: its test says when it reads, and what it answers.
type daemon struct {
	net.Conn
	br *bufio.Reader
}

func request(addr, id string) string {
	return "GET /v1/server HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Pyrycode-Server: " + id + "\r\nX-Pyrycode-Version: 1.4.2\r\nUser-Agent: test\r\n\r\n"
}

// daemon claims id, and does nothing more.
func (r *running) daemon(id string) *daemon {
	r.t.Helper()
	d, err := r.begin(request(r.addr, id))
	if err == nil {
		err = d.upgraded()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { d.Close() })
	return d
}

func (r *running) begin(request string) (*daemon, error) {
	c, err := r.dialer.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, request)
	return &daemon{c, bufio.NewReaderSize(c, 512)}, err
}

func (d *daemon) upgraded() error {
	resp, err := http.ReadResponse(d.br, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("upgrade: %s", resp.Status)
	}
	return err
}

// live reads and answers pings until the connection ends, and gives the close code and reason, or 0.
func (d *daemon) live(delay time.Duration) (code uint16, reason string) {
	for {
		op, payload, err := readFrame(d.br)
		switch {
		case err != nil:
			return 0, ""
		case op == opClose && len(payload) >= 2:
			_, _ = d.Write(frame(shut, payload))
			d.Close()
			return binary.BigEndian.Uint16(payload), string(payload[2:])
		case op == opPing:
			t := time.NewTimer(delay)
			<-t.C
			_, _ = d.Write(frame(pong, payload))
		}
	}
}

// living keeps d alive, and gives its end.
func (d *daemon) living() <-chan uint16 {
	end := make(chan uint16, 1)
	go func() {
		code, _ := d.live(0)
		end <- code
	}()
	return end
}

// drop ends the connection of d in one of the ways that there are.
func (d *daemon) drop(how string) {
	switch how {
	case "close frame":
		_, _ = d.Write(closing(1000, "bye"))
		_, _ = io.Copy(io.Discard, d.br)
	case "reset":
		d.Conn.(*net.TCPConn).SetLinger(0)
	}
	d.Close()
}

// decided counts the journal's decisions about id.
func (r *running) decided(id string) map[string]int {
	n := map[string]int{}
	for _, e := range r.journal(id, 0) {
		n[e.Decided]++
	}
	return n
}

// until waits for a decision about id.
func (r *running) until(id, decided string, n int) {
	for r.decided(id)[decided] < n {
		runtime.Gosched()
	}
}

// TestDropAndClaimAgain: a daemon that drops is back 5 ms later, and is granted every time, however it dropped.
func TestDropAndClaimAgain(t *testing.T) {
	for _, how := range []string{"close frame", "FIN", "reset"} {
		for _, grace := range []time.Duration{0, 300 * time.Millisecond} {
			t.Run(fmt.Sprint(how, grace), func(t *testing.T) {
				cfg := testConfig()
				cfg.Slots.Grace = grace
				r := run(t, cfg)
				n := rounds(40, 200)
				d := r.daemon("home")
				for i := range n {
					r.until("home", "granted", i+1)
					d.drop(how)
					time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the daemon's own habit, nothing is waited for
					d = r.daemon("home")
				}
				r.until("home", "granted", n+1)
				if got := r.decided("home"); got["refused"]+got["took_over"] > 0 {
					t.Fatalf("%v", got)
				}
			})
		}
	}
}

// TestThousandClaimants: all upgraded at once, one wins, the others read 4409 and why, and the winner never notices.
func TestThousandClaimants(t *testing.T) {
	n := 1000
	var limit syscall.Rlimit // of descriptors: a connection has two here
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 2400 {
		n = int(limit.Cur)/2 - 200
	}
	r := run(t, testConfig())
	for round := range rounds(2, 100) {
		id := fmt.Sprint("home-", round)
		var ready, all sync.WaitGroup
		release := make(chan struct{})
		type end struct {
			d      *daemon
			code   uint16
			reason string
		}
		ends := make(chan end, n)
		all.Add(n)
		ready.Add(n)
		var mu sync.Mutex
		alive := map[*daemon]bool{}
		for range n {
			go func() {
				defer all.Done()
				req := request(r.addr, id)
				d, err := r.begin(req[:len(req)-1])
				ready.Done()
				<-release
				if err == nil {
					_, err = io.WriteString(d, req[len(req)-1:])
				}
				if err == nil {
					err = d.upgraded()
				}
				if err != nil {
					t.Error(err)
					ends <- end{}
					return
				}
				mu.Lock()
				alive[d] = true
				mu.Unlock()
				code, reason := d.live(0)
				mu.Lock()
				delete(alive, d)
				mu.Unlock()
				ends <- end{d, code, reason}
			}()
		}
		ready.Wait()
		close(release)
		for range n - 1 {
			if e := <-ends; e.code != 4409 || e.reason != "server-id already claimed" {
				t.Fatalf("a loser read %d %q", e.code, e.reason)
			}
		}
		mu.Lock()
		if len(alive) != 1 {
			t.Fatalf("%d winners", len(alive))
		}
		for d := range alive {
			defer d.Close()
		}
		mu.Unlock()
		if got := r.decided(id); got["granted"] != 1 || got["took_over"] > 0 {
			t.Fatalf("%v", got)
		}
		mu.Lock()
		for d := range alive {
			d.Close()
		}
		mu.Unlock()
		all.Wait()
	}
}

// TestDeadIncumbent: a holder that is dead in one way or another is replaced, and its successor never hears 4409.
func TestDeadIncumbent(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(d *daemon) // what it does last, before the claim of its successor or after
		silent        bool            // silence decides, not an end of the connection
	}{
		"silent":         {silent: true},
		"reset":          {after: func(d *daemon) { d.drop("reset") }},
		"does not drain": {before: (*daemon).clog, silent: true},
		"late bytes": {after: func(d *daemon) {
			_, _ = d.Write(join(frame(text, []byte(`{}`)), frame(pong, []byte("12345678")), frame(ping, nil)))
		}, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Slots.ProbeTimeout = 300 * time.Millisecond
			cfg.Inherited = tight(t)
			r := run(t, cfg)
			r.dialer.Control = smallWindow
			dead := r.daemon("home")
			r.until("home", "granted", 1)
			if c.before != nil {
				c.before(dead)
			}
			next := r.daemon("home")
			end := next.living()
			if c.after != nil {
				c.after(dead)
			}
			for got := r.decided("home"); got["took_over"]+got["granted"] < 2; got = r.decided("home") {
				if got["refused"] > 0 {
					t.Fatalf("%v", got)
				}
			}
			es := r.journal("home", 3)
			if last := es[len(es)-1]; c.silent {
				if last.Decided != "took_over" || last.Asked != "probe_expired" {
					t.Fatalf("%+v", es)
				}
				t.Logf("taken over %v after the probe timeout", last.Time.Sub(es[1].Time)-cfg.Slots.ProbeTimeout)
			}
			if c.before != nil && !clogged() {
				t.Fatal("the relay could write to the dead holder after all")
			}
			select {
			case code := <-end:
				t.Fatalf("the successor was closed with %d", code)
			default:
			}
		})
	}
}

// smallWindow lets next to nothing come that is not read. It is set before the connection is: a window that was offered and
// then shrinks stops TCP in both directions.
func smallWindow(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
}

// fewBuffers has the kernel hold little of a connection in either direction, and always as much.
func fewBuffers(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		for _, of := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, of, 64<<10)
		}
	})
}

// tight is a listener whose connections have few buffers.
func tight(t testing.TB) map[string]net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{Control: fewBuffers}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]net.Listener{Insecure: l}
}

// clog pings and never reads, until what the relay owes goes nowhere.
func (d *daemon) clog() {
	pings := bytes.Repeat(frame(ping, make([]byte, 125)), 100)
	for !clogged() {
		_, _ = d.Write(pings)
	}
}

// clogged reports whether a connection's writer waits for its peer.
func clogged() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for one := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(one, []byte("(*socket).write(")) && bytes.Contains(one, []byte("waitWrite")) {
			return true
		}
	}
	return false
}

// TestChainOfDeadHolders: each a past self of the last; the living one ends with the slot, and no 4409.
func TestChainOfDeadHolders(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.ProbeTimeout = 200 * time.Millisecond
	r := run(t, cfg)
	for i := range 3 {
		r.daemon("home")
		r.until("home", "waiting", i)
	}
	r.until("home", "granted", 1)
	end := r.daemon("home").living()
	r.until("home", "took_over", 3)
	if got := r.decided("home"); got["refused"] > 0 {
		t.Fatalf("%v", got)
	}
	select {
	case code := <-end:
		t.Fatalf("the living one was closed with %d", code)
	default:
	}
}

// TestSlowHolderKeepsItsSlot while 200 claims a second arrive.
func TestSlowHolderKeepsItsSlot(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.ProbeTimeout = time.Duration(rounds(3600, 5)) * time.Second // in make soak it is probed for longer than that
	r := run(t, cfg)
	holder := r.daemon("home")
	go holder.live(50 * time.Millisecond)
	r.until("home", "granted", 1)
	n := rounds(200, 2000)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	codes := make(chan uint16, n)
	for range n {
		<-tick.C
		d := r.daemon("home")
		go func() {
			code, _ := d.live(0)
			codes <- code
		}()
	}
	for range n {
		if code := <-codes; code != 4409 {
			t.Fatalf("a claim was closed with %d", code)
		}
	}
	if got := r.decided("home"); got["took_over"] > 0 {
		t.Fatalf("%v", got)
	}
}

// TestNothingIsLeft after many connections came and went, in every way that there is.
func TestNothingIsLeft(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.Grace = 0
	r := run(t, cfg)
	holder := r.daemon("taken")
	go holder.live(0)
	r.until("taken", "granted", 1)
	descriptors := func() int {
		es, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not tell of its descriptors")
		}
		return len(es)
	}
	http.DefaultClient.CloseIdleConnections()
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range rounds(1000, 10_000) / 8 {
				r.comeAndGo(fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	wg.Wait()
	for {
		http.DefaultClient.CloseIdleConnections()
		// Two of each: this very question is a connection.
		if descriptors() <= fds+2 && runtime.NumGoroutine() <= goroutines+2 && r.holders() == 1 {
			return
		}
		runtime.Gosched()
	}
}

// comeAndGo is one short life.
func (r *running) comeAndGo(id string) {
	req := request(r.addr, id)
	how := rand.IntN(6)
	switch how {
	case 0: // cut in the middle of its upgrade
		req = req[:rand.IntN(len(req))]
	case 1: // loses
		req = request(r.addr, "taken")
	}
	d, err := r.begin(req)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer d.Close()
	if how == 0 {
		return
	}
	if err := d.upgraded(); err != nil {
		r.t.Error(err)
		return
	}
	switch how {
	case 1:
		if code, _ := d.live(0); code != 4409 {
			r.t.Errorf("the loser was closed with %d", code)
		}
	case 2: // cut in the middle of a frame
		f := frame(text, make([]byte, 1000))
		_, _ = d.Write(f[:1+rand.IntN(len(f)-1)])
	case 3:
		d.drop("reset")
	case 4:
		d.drop("close frame")
	}
}

func (r *running) holders() int {
	resp, err := http.Get("http://" + r.addr + "/healthz")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var h struct {
		Holders int `json:"connected_binaries"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		r.t.Fatal(err)
	}
	return h.Holders
}

// TestShutdownAmongClaims: whoever is let in while a shutdown begins is closed with 1001, or told 503.
func TestShutdownAmongClaims(t *testing.T) {
	cfg := testConfig()
	cfg.Listen = port.Held(t) // or who dials once more could find somebody else there
	r := run(t, cfg)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ends := map[string]int{}
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				d, err := r.begin(request(r.addr, fmt.Sprintf("%d-%d", w, i)))
				if err != nil {
					return // the listener is gone
				}
				how := ""
				if err := d.upgraded(); err != nil {
					how = err.Error()
				} else if code, reason := d.live(0); code != 0 {
					how = fmt.Sprint(code, " ", reason)
				} else {
					how = "cut"
				}
				d.Close()
				mu.Lock()
				ends[how]++
				mu.Unlock()
				if !strings.HasPrefix(how, fmt.Sprint(messages.CloseGoingAway)) {
					return
				}
			}
		})
	}
	for r.holders() < 8 {
		runtime.Gosched()
	}
	r.stop()
	wg.Wait()
	if ends["1001 relay shutting down"] < 8 || ends["cut"] > 0 {
		t.Fatalf("%v", ends)
	}
}
