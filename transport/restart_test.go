package transport

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestRestartMovesAFleet: daemons and phones that dial again at once after 1001 come to the successor, and no phone that was attached is turned away, though many come back before their daemons (docs/deploy.md).
func TestRestartMovesAFleet(t *testing.T) {
	daemons, spread := 200, 2*time.Second
	if os.Getenv("SOAK") != "" {
		daemons, spread = 2000, 20*time.Second
	}
	peak := restartFleet(t, daemons, daemons/4, spread)
	// Which a machine that stands still for a tenth of the spread can make any number: TestClosesAreSpread has a clock of its own.
	t.Logf("%d daemons, %d phones over %s: the busiest tenth had %.2f times the mean", daemons, daemons/4, spread, peak)
}

// TestClosesAreSpread evenly, over all of the time that there is for it: so come those who dial again at once.
func TestClosesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, spread = 200, 20 * time.Second
		set := testSockets(t, socketConfig{blocking: true})
		closed := make(chan time.Time, n)
		for range n {
			_, peer, _ := piped(t, set, &socketKind{maxMessage: 1 << 20})
			go func() {
				if op, payload, err := readFrame(peer); op != opClose || binary.BigEndian.Uint16(payload) != 1001 {
					t.Errorf("opcode %d %q %v", op, payload, err)
				}
				closed <- time.Now()
				_, _ = peer.Write(closing(1001, ""))
			}()
		}
		began := time.Now()
		set.closeAll(t.Context(), messages.Ended{Code: messages.CloseGoingAway, Reason: messages.ReasonShuttingDown, Drain: true}, spread)
		for i := range n {
			if got, want := (<-closed).Sub(began), spread*time.Duration(i)/n; got != want {
				t.Fatalf("number %d is closed after %v, want %v", i, got, want)
			}
		}
	})
}

// restartFleet has a fleet go over from one relay to the next, and returns how many times the mean the busiest tenth had.
func restartFleet(t *testing.T, daemons, phones int, spread time.Duration) (peak float64) {
	socket := passOn(t)
	cfg := testConfig()
	cfg.Journal = 16 * daemons
	cfg.DrainSpread = spread
	cfg.Inherited = socket.as(Insecure)
	before := run(t, cfg)
	first, second := newFleet(t, before, daemons, phones), fleet{}
	cfg.Slots.StartupGrace = time.Hour
	cfg.Inherited = socket.as(Insecure)
	after := run(t, cfg)
	var stopped, moved sync.WaitGroup
	stopped.Go(before.stop)
	var mu sync.Mutex
	first.each(func(c *websocket.Conn, dial func() (*websocket.Conn, error)) {
		moved.Go(func() {
			if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("closed with %v", err)
			}
			again, err := dial()
			if err != nil {
				t.Errorf("a connection is refused: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			second.conns = append(second.conns, again)
		})
	})
	moved.Wait()
	stopped.Wait()
	defer second.close()
	if t.Failed() {
		return 0
	}
	var arrivals []time.Time
	for _, e := range after.journal("", daemons+phones) {
		switch {
		case e.Decided == "turned_away" || e.Decided == "refused":
			t.Errorf("%+v", e)
		case e.Asked == "claim" || e.Asked == "join":
			arrivals = append(arrivals, e.Time)
		}
	}
	if !t.Failed() {
		after.mustHave(daemons, phones)
	}
	return busiestTenth(arrivals, spread)
}

// busiestTenth is how many of the arrivals fell into the busiest tenth of the time, by the mean. That time is at least spread.
func busiestTenth(arrivals []time.Time, spread time.Duration) float64 {
	began := arrivals[0]
	took := max(spread, arrivals[len(arrivals)-1].Sub(began)+1)
	var tenths [10]int
	most := 0
	for _, at := range arrivals {
		i := min(9, int(10*at.Sub(began)/took))
		tenths[i]++
		most = max(most, tenths[i])
	}
	return float64(10*most) / float64(len(arrivals))
}

// fleet is the connections of daemons, each in a slot of its own, and of phones in the first of those slots.
type fleet struct {
	conns []*websocket.Conn
	dial  []func() (*websocket.Conn, error)
}

func newFleet(t *testing.T, r *running, daemons, phones int) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range daemons {
		f.dial = append(f.dial, func() (*websocket.Conn, error) { return r.tryDial(fmt.Sprint("home-", i)) })
	}
	for i := range phones {
		f.dial = append(f.dial, func() (*websocket.Conn, error) {
			if c := r.tryJoin(fmt.Sprint("home-", i)); c != nil {
				return c, nil
			}
			return nil, fmt.Errorf("phone %d is not let in", i)
		})
	}
	for i, dial := range f.dial {
		if i == daemons {
			r.mustHave(daemons, 0) // phones come when their daemons are there
		}
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		f.conns = append(f.conns, c)
	}
	r.mustHave(daemons, phones)
	return f
}

func (f *fleet) each(do func(*websocket.Conn, func() (*websocket.Conn, error))) {
	for i, c := range f.conns {
		do(c, f.dial[i])
	}
}

func (f *fleet) close() {
	for _, c := range f.conns {
		_ = c.CloseNow()
	}
}

// mustHave waits until the relay has so many holders and phones.
func (r *running) mustHave(holders, phones int) {
	r.t.Helper()
	for {
		_, _, body := get(r.t, "http://"+r.addr+"/healthz")
		var got struct {
			Holders int `json:"connected_binaries"`
			Phones  int `json:"connected_phones"`
		}
		if err := json.NewDecoder(strings.NewReader(body)).Decode(&got); err != nil {
			r.t.Fatal(err)
		}
		if got.Holders == holders && got.Phones == phones {
			return
		}
	}
}

// TestPaceAfterAStall goes at most twice as fast as the mean, and ends in time all the same if it can.
func TestPaceAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, spread = 100, 100 * time.Second
		for stall, want := range map[time.Duration]time.Duration{
			0:                spread - time.Second,
			20 * time.Second: spread - time.Second,
			90 * time.Second: 90*time.Second + 11*time.Second + 88*time.Second/2,
		} {
			began := time.Now()
			var calls []time.Duration
			pace(t.Context(), spread, n, func(i int) {
				calls = append(calls, time.Since(began))
				if i == 10 {
					<-time.After(stall)
				}
			})
			for i := 1; i < n; i++ {
				if gap := calls[i] - calls[i-1]; gap < spread/n/2 {
					t.Fatalf("stall of %s: %s between %d and the one before", stall, gap, i)
				}
			}
			if got := calls[n-1]; (got - want).Abs() > time.Second {
				t.Errorf("stall of %s: the last is called after %s, want about %s", stall, got, want)
			}
		}
	})
}
