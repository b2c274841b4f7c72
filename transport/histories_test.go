package transport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/coder/websocket"
)

// asked is what a client does in a history: it claims, or it ends its connection.
type asked struct {
	client int // of one connection
	claims bool
}

// answered is what came of a claim, as far as its client can know. The wire has no word for a grant; but only a holder is
// probed, so a ping of 8 bytes is proof of one.
type answered int

const (
	unknown answered = iota // it left before it was refused, and was never probed
	held                    // it was probed
	refused                 // 4409
)

// lock is a slot as its clients see it: its state is who holds it, 0 for nobody. A claim may be granted only while nobody
// holds, and refused only while somebody does. To end a connection gives the slot back, if it was held. (All clients live here, so
// nothing is taken over; a grace is a time in which nobody holds.)
var lock = porcupine.NondeterministicModel{
	Init: func() []any { return []any{0} },
	Step: func(state, input, output any) []any {
		holder, in := state.(int), input.(asked)
		switch {
		case !in.claims && holder == in.client:
			return []any{0}
		case !in.claims:
			return []any{holder}
		}
		switch out := output.(answered); {
		case out == held && holder == 0:
			return []any{in.client}
		case out == refused && holder != 0:
			return []any{holder}
		case out == unknown && holder == 0:
			return []any{0, in.client}
		case out == unknown:
			return []any{holder}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestHistoriesAreALock: what real clients saw of claiming, holding and dropping can be put into one order that a lock would allow.
func TestHistoriesAreALock(t *testing.T) {
	for seed := range rounds(6, 100) {
		cfg := testConfig()
		cfg.Slots.Grace = []time.Duration{0, 300 * time.Millisecond}[seed%2]
		cfg.Slots.ProbeInterval = time.Millisecond
		r := run(t, cfg)
		// In a history in which nobody holds, or nobody is refused, they were too impatient for this machine: it proves nothing.
		for patience := shortest; ; patience *= 2 {
			history := record(r.addr, uint64(seed), patience)
			if got := porcupine.CheckOperationsTimeout(lock.ToModel(), history, 0); got != porcupine.Ok {
				t.Fatalf("seed %d: %s\n%v", seed, got, history)
			}
			var n [3]int
			for _, op := range history {
				if op.Input.(asked).claims {
					n[op.Output.(answered)]++
				}
			}
			if n[held] > 0 && n[refused] > 0 {
				break
			}
			if patience > time.Minute {
				t.Fatalf("seed %d: %d held, %d refused", seed, n[held], n[refused])
			}
		}
		r.stop()
	}
}

// shortest is how long clients wait at most for news of their claims, on a quick machine.
const shortest = 15 * time.Millisecond

// TestBrokenRelaysAreCaught by the same clients and the same check.
func TestBrokenRelaysAreCaught(t *testing.T) {
	for name, broken := range map[string]func(holders int) (grant bool){
		"two winners":            func(holders int) bool { return holders < 2 },
		"refuses with no holder": func(holders int) bool { return holders == 0 && rand.IntN(3) > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				addr := brokenRelay(t, broken)
				history := record(addr, seed, min(shortest<<seed, time.Second))
				if porcupine.CheckOperationsTimeout(lock.ToModel(), history, 0) == porcupine.Illegal {
					return
				}
			}
			t.Fatal("never caught")
		})
	}
}

// record lets clients claim one id at random moments, wait for at most so long, and drop in every way, and writes down what each saw.
func record(addr string, seed uint64, patience time.Duration) []porcupine.Operation {
	began := time.Now()
	now := func() int64 { return int64(time.Since(began)) }
	var mu sync.Mutex
	var history []porcupine.Operation
	add := func(client int, in asked, out answered, call, back int64) {
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: back})
	}
	r := &running{addr: addr}
	var wg sync.WaitGroup
	for w := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for i := range 12 {
				me := asked{client: 1 + w*100 + i, claims: true}
				call := now()
				d, err := r.begin(request(addr, "home"))
				if err == nil {
					err = d.upgraded()
				}
				if err != nil {
					panic(err)
				}
				// How long it is held is the client's own affair; nothing is concluded from it.
				_ = d.SetReadDeadline(time.Now().Add(time.Duration(rng.Int64N(int64(patience)))))
				out, known := d.watch()
				add(w, me, out, call, int64(known.Sub(began)))
				if out == refused {
					d.Close()
					continue
				}
				me.claims = false
				call = now()
				_ = d.SetReadDeadline(time.Time{})
				if rng.IntN(4) > 0 {
					d.drop("close frame") // its echo says that it is settled
					add(w, me, 0, call, now())
				} else {
					// It is noticed some time; but a slow machine is not the relay's fault.
					d.drop([]string{"FIN", "reset"}[rng.IntN(2)])
					add(w+4+i, me, 0, call, int64(time.Hour))
				}
			}
		})
	}
	wg.Wait()
	return history
}

// watch answers probes until the read deadline, or the connection's end. known is when it knew what came of its claim.
func (d *daemon) watch() (out answered, known time.Time) {
	for {
		op, payload, err := readFrame(d.br)
		if out == unknown {
			known = time.Now()
		}
		switch {
		case err != nil:
			return out, known
		case op == opClose:
			return refused, known
		case op == opPing:
			out = held
			_, _ = d.Write(frame(pong, payload))
		}
	}
}

// brokenRelay is a server that decides by broken, and probes a holder as soon as it has granted.
func brokenRelay(t *testing.T, broken func(holders int) bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	holders := 0
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		mu.Lock()
		grant := broken(holders)
		if grant {
			holders++
		}
		mu.Unlock()
		if !grant {
			_ = c.Close(4409, "server-id already claimed")
			return
		}
		defer func() {
			mu.Lock()
			holders--
			mu.Unlock()
		}()
		go func() { _ = c.Ping(r.Context()) }()
		_, _, _ = c.Read(r.Context())
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(fmt.Errorf("broken relay: %w", err))
		}
	})
	return l.Addr().String()
}
