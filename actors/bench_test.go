package actors

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// sink is an actor that takes everything and does nothing.
func sink(b *testing.B, r *Relay) messages.Address {
	b.Helper()
	props := actor.PropsFromFunc(func(actor.Context) {}, actor.WithMailbox(func() actor.Mailbox { return newMailbox(&mailboxKind{}) }))
	return messages.Address(r.system.Root.Spawn(props).Id)
}

// BenchmarkClaimOfFreeSlot asks what a claim costs to decide, its release included: by the registry's actor, by the bare machine, and
// by a map under a mutex, which decides less, and journals nothing.
func BenchmarkClaimOfFreeSlot(b *testing.B) {
	cfg := slots.Config{ProbeTimeout: time.Hour, ProbeInterval: time.Hour}
	b.Run("actor", func(b *testing.B) {
		r := Start(Config{Slots: cfg})
		defer r.Stop()
		to := sink(b, r)
		b.ReportAllocs()
		epoch := messages.Epoch(0)
		for b.Loop() {
			epoch++
			r.tellRegistry(messages.Claim{Server: "home", From: to, Token: messages.ClaimToken(epoch), Conn: "c"})
			r.tellRegistry(messages.Release{Server: "home", From: to, Epoch: epoch})
		}
	})
	b.Run("machine", func(b *testing.B) {
		m := slots.New(time.Now(), cfg)
		now := time.Now()
		b.ReportAllocs()
		epoch := messages.Epoch(0)
		for b.Loop() {
			epoch++
			m.Step(now, messages.Claim{Server: "home", From: "a", Token: messages.ClaimToken(epoch), Conn: "c"})
			m.Step(now, messages.Release{Server: "home", From: "a", Epoch: epoch})
		}
	})
	b.Run("mutex", func(b *testing.B) {
		var mu sync.Mutex
		held := map[string]int{}
		epoch := 0
		for b.Loop() {
			mu.Lock()
			if held["home"] == 0 {
				epoch++
				held["home"] = epoch
			}
			mu.Unlock()
			mu.Lock()
			if held["home"] == epoch {
				delete(held, "home")
			}
			mu.Unlock()
		}
	})
}

// BenchmarkClaimOfHeldSlot asks what a refusal costs to decide: the claim, and the answer to the probe that it waits for.
func BenchmarkClaimOfHeldSlot(b *testing.B) {
	r := Start(Config{Slots: slots.Config{ProbeTimeout: time.Hour}})
	defer r.Stop()
	to := sink(b, r)
	r.tellRegistry(messages.Claim{Server: "home", From: to, Token: 1})
	now := time.Now()
	probe := messages.ProbeNumber(0)
	b.ReportAllocs()
	for b.Loop() {
		probe++
		r.tellRegistry(messages.Claim{Server: "home", From: to, Token: messages.ClaimToken(probe + 1), Conn: "c"})
		r.tellRegistry(messages.ProbeAnswered{Server: "home", Epoch: 1, Probe: probe, Sent: now, Answered: now})
		if probe%4096 == 0 { // the probes' timers, which nothing disarms, are not what is asked
			b.StopTimer()
			r.registry.timers.stop()
			b.StartTimer()
		}
	}
}

// BenchmarkClaimsOfManySenders asks the same of 16 senders at once, each with an id of its own, and how much longer than the
// median the slowest claims take.
func BenchmarkClaimsOfManySenders(b *testing.B) {
	r := Start(Config{Slots: slots.Config{ProbeTimeout: time.Hour}})
	defer r.Stop()
	to := sink(b, r)
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		id := messages.ServerID(fmt.Sprint(next.Add(1)))
		var mine []time.Duration
		for n := 0; pb.Next(); n++ {
			token := messages.ClaimToken(next.Add(1))
			began := time.Now()
			r.tellRegistry(messages.Claim{Server: id, From: to, Token: token})
			if n%64 == 0 {
				mine = append(mine, time.Since(began))
			}
			r.tellRegistry(messages.Withdraw{Server: id, From: to, Token: token})
		}
		mu.Lock()
		took = append(took, mine...)
		mu.Unlock()
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns-p50-send")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "ns-p99-send")
}

// BenchmarkJournalAppend asks what the registry pays for being read.
func BenchmarkJournalAppend(b *testing.B) {
	j := newJournal(DefaultJournal)
	e := slots.Entry{Server: "home", Conn: "c", Decided: slots.Granted}
	b.ReportAllocs()
	for b.Loop() {
		j.append(&e)
	}
}

// BenchmarkAsk asks what a message and its answer cost between two actors: with our mailbox, and with the library's two ways.
func BenchmarkAsk(b *testing.B) {
	eachDispatch(b, func(b *testing.B, system *actor.ActorSystem, opts []actor.PropsOption) {
		done := make(chan struct{})
		type ask struct{ from *actor.PID }
		type answer struct{}
		answerer := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(ask); ok {
				ctx.Send(m.from, answer{})
			}
		}, opts...))
		left := b.N
		asker := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(answer); !ok {
				return
			}
			if left--; left <= 0 {
				close(done)
				return
			}
			ctx.Send(answerer, ask{ctx.Self()})
		}, opts...))
		b.ReportAllocs()
		b.ResetTimer()
		system.Root.Send(asker, answer{})
		<-done
	})
}

// BenchmarkWorstServed asks how fair an actor is at full load: what the worst-served of 16 senders got through in a second, as a
// part of what the best-served did.
func BenchmarkWorstServed(b *testing.B) {
	eachDispatch(b, func(b *testing.B, system *actor.ActorSystem, opts []actor.PropsOption) {
		type numbered struct{ sender int }
		var flying [16]chan struct{} // 64 messages of a sender are under way at most: then it waits, without spinning
		for i := range flying {
			flying[i] = make(chan struct{}, 64)
		}
		pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(numbered); ok {
				<-flying[m.sender] // never empty: the message is one of them
			}
		}, opts...))
		for b.Loop() {
			end := time.Now().Add(time.Second)
			var wg sync.WaitGroup
			var sent [16]int64
			for i := range flying {
				wg.Go(func() {
					m := any(numbered{i})
					for n := 0; n%64 != 0 || time.Now().Before(end); n++ {
						flying[i] <- struct{}{}
						system.Root.Send(pid, m)
						sent[i]++
					}
				})
			}
			wg.Wait()
			counts := slices.Clone(sent[:])
			var sum int64
			for _, n := range counts {
				sum += n
			}
			slices.Sort(counts)
			b.ReportMetric(float64(counts[0])/float64(counts[15]), "worst/best")
			b.ReportMetric(float64(sum)/1e6, "M/s")
		}
		b.ReportMetric(0, "ns/op")
	})
}

func eachDispatch(b *testing.B, f func(b *testing.B, system *actor.ActorSystem, opts []actor.PropsOption)) {
	for _, d := range []struct {
		name string
		opts []actor.PropsOption
	}{
		{"inline", []actor.PropsOption{actor.WithMailbox(func() actor.Mailbox { return newMailbox(&mailboxKind{}) })}},
		{"goroutine", nil},
		{"synchronized", []actor.PropsOption{actor.WithDispatcher(actor.NewSynchronizedDispatcher(300))}},
	} {
		b.Run(d.name, func(b *testing.B) { f(b, newSystem(), d.opts) })
	}
}

// paved is a socket whose peer takes everything at once.
type paved struct {
	*line
	taken int
}

func (p *paved) Send(_, _, _ []byte, _ messages.Passing) bool { p.taken++; return true }
func (p *paved) Notify()                                      { p.inbox.Tell(messages.Written{}) }

// crossing is a way through the actors of a phone and of its binary: how a frame is sent, and who takes it.
type crossing struct {
	send  func()
	taker *paved
}

func crossings(t testing.TB, size int) map[string]crossing {
	r := Start(Config{Slots: patient, system: newSystem()})
	t.Cleanup(r.Stop)
	b, p := &paved{line: newLine()}, &paved{line: newLine()}
	b.inbox = r.Binary(b, Binary{Server: "home", Conn: "b"})
	r.RoundTrip()
	p.inbox = r.Phone(p, Phone{Server: "home", Conn: "p"})
	p.attached()
	t.Cleanup(func() { p.ends(); b.ends() })
	payload := strings.Repeat("a", size-2)
	up := &messages.Received{Bytes: []byte(`"` + payload + `"`)}
	down := &messages.Received{Bytes: []byte(`{"conn_id":"p","frame":"` + payload + `"}`)}
	return map[string]crossing{"up": {func() { p.inbox.Tell(up) }, b}, "down": {func() { b.inbox.Tell(down) }, p}}
}

// TestAFrameIsNotAllocatedFor on its way through the actors. What a Credit costs, each hundred frames or so, is not a frame's.
func TestAFrameIsNotAllocatedFor(t *testing.T) {
	const frames = 5000
	for way, c := range crossings(t, 1<<10) {
		before := c.taker.taken
		if n := testing.AllocsPerRun(frames, c.send); n > 0 {
			t.Errorf("%s: %v allocations a frame", way, n)
		}
		if n := c.taker.taken - before; n != 1+frames { // the first is to warm up
			t.Errorf("%s: %d of %d frames have come", way, n, 1+frames)
		}
	}
}

// BenchmarkFrame asks what a frame costs between the sockets: its validation, and the actors of the phone and of the binary.
func BenchmarkFrame(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		for way, c := range crossings(b, size) {
			b.Run(fmt.Sprintf("%s/%dB", way, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.send()
				}
			})
		}
	}
}
