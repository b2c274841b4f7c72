package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
)

// ample is more time than any machine takes for what a test waits for.
const ample = time.Hour

// testConfig is a relay in which time decides nothing, however long the machine stands still: a test that wants a time to run out sets
// it, and then nothing else may hang on it.
func testConfig() Config {
	return Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		Slots:   slots.Config{Grace: ample, ProbeTimeout: ample, ProbeInterval: 10 * time.Millisecond},
		Journal: 4096, Heartbeat: ample, HeartbeatTimeout: ample, ReadTimeout: ample, WriteTimeout: ample,
		MaxFrameBytes: 256 << 10, MaxConnections: 15000, DrainTimeout: ample, arriveWithin: ample, partWithin: ample,
		Log: slog.New(slog.DiscardHandler),
	}
}

// running is a relay under test.
type running struct {
	t           testing.TB
	addr, admin string
	stop        func()       // waits for a whole shutdown
	dialer      net.Dialer   // of daemons
	client      *http.Client // of the library's connections; nil for any
}

// run starts a relay, and stops it with the test.
func run(t testing.TB, cfg Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	up, down := make(chan [2]net.Addr, 1), make(chan error, 1)
	cfg.Started = func(l, admin net.Addr) { up <- [2]net.Addr{l, admin} }
	go func() { down <- Run(ctx, context.Background(), cfg) }()
	r := &running{t: t}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-down; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case addrs := <-up:
		r.addr, r.admin = addrs[0].String(), addrs[1].String()
	case err := <-down:
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

// dial claims id, by the library's own client.
func (r *running) dial(id string) *websocket.Conn {
	r.t.Helper()
	c, err := r.tryDial(id)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *running) tryDial(id string) (*websocket.Conn, error) {
	c, _, err := websocket.Dial(context.Background(), "ws://"+r.addr+"/v1/server", &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: http.Header{
		"X-Pyrycode-Server": {id}, "X-Pyrycode-Version": {"1.0"}, "User-Agent": {"test"},
	}})
	return c, err
}

// hold keeps c reading, as a living daemon does, and returns where the end of it will be told.
func hold(c *websocket.Conn) <-chan error {
	end := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		end <- err
	}()
	return end
}

// closed waits for the close frame.
func closed(t testing.TB, c *websocket.Conn) websocket.CloseError {
	t.Helper()
	_, _, err := c.Read(context.Background())
	var ce websocket.CloseError
	if !errors.As(err, &ce) {
		t.Fatalf("want a close frame, got %v", err)
	}
	return ce
}

type entry struct {
	Seq                                  int64
	Server, Conn, Asked, Decided, Reason string
	Epoch                                int64
	Time                                 time.Time
}

// journal waits until the journal has n entries of id, and gives them.
func (r *running) journal(id string, n int) []entry {
	r.t.Helper()
	for {
		resp, err := http.Get(fmt.Sprintf("http://%s/claims?server_id=%s", r.admin, id))
		if err != nil {
			r.t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		var raw []map[string]any
		if err := json.Unmarshal(b, &raw); err != nil {
			r.t.Fatalf("%s: %v", b, err)
		}
		if len(raw) >= n {
			es := make([]entry, len(raw))
			for i, m := range raw {
				at, err := time.Parse(time.RFC3339Nano, m["time"].(string))
				if err != nil {
					r.t.Fatal(err)
				}
				es[i] = entry{
					Seq: int64(m["seq"].(float64)), Server: m["server_id"].(string), Conn: m["conn_id"].(string),
					Asked: m["asked"].(string), Decided: m["decided"].(string), Reason: m["reason"].(string), Epoch: int64(m["epoch"].(float64)),
					Time: at,
				}
			}
			return es
		}
	}
}

func TestFirstClaimWins(t *testing.T) {
	r := run(t, testConfig())
	winner := r.dial("home")
	defer winner.CloseNow()
	end := hold(winner)
	r.journal("home", 1)
	for range 3 {
		loser := r.dial("home")
		if ce := closed(t, loser); ce.Code != 4409 || ce.Reason != "server-id already claimed" {
			t.Fatalf("the loser got %v", ce)
		}
		loser.CloseNow()
	}
	select {
	case err := <-end:
		t.Fatalf("the winner was disturbed: %v", err)
	default:
	}
	if err := winner.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	winner.CloseNow()
	next := r.dial("home")
	defer next.CloseNow()
	hold(next)
	r.until("home", "granted", 2)
}

func TestSilentHolderIsTakenOver(t *testing.T) {
	cfg := testConfig()
	cfg.Slots.ProbeTimeout = 200 * time.Millisecond
	r := run(t, cfg)
	dead := r.dial("home") // never reads, so never answers a ping
	defer dead.CloseNow()
	r.journal("home", 1)
	next := r.dial("home")
	defer next.CloseNow()
	end := hold(next)
	es := r.journal("home", 3)
	if es[2].Decided != "took_over" || es[2].Asked != "probe_expired" {
		t.Fatalf("%+v", es)
	}
	if ce := closed(t, dead); ce.Code != 1011 || ce.Reason != "heartbeat timeout" {
		t.Fatalf("the dead holder got %v", ce)
	}
	select {
	case err := <-end:
		t.Fatalf("the new holder was disturbed: %v", err)
	default:
	}
}

func TestShutdownClosesWith1001(t *testing.T) {
	r := run(t, testConfig())
	c := r.dial("home")
	r.journal("home", 1)
	go r.stop()
	if ce := closed(t, c); ce.Code != 1001 || ce.Reason != "relay shutting down" {
		t.Fatalf("got %v", ce)
	}
	r.stop()
}
