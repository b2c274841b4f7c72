package actors

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// answered stands for a connection's actor: it is an address, and passes on what the registry says to it.
type answered chan any

func (a answered) SendUserMessage(_ *actor.PID, m any) { a <- m }
func (a answered) SendSystemMessage(*actor.PID, any)   {}
func (a answered) Stop(*actor.PID)                     {}

// BenchmarkRegistryDispatch asks who should run the registry: the claimant that finds it idle, or a goroutine. 64 claimants claim,
// wait for the grant, release, wait for that to be settled, and claim again.
func BenchmarkRegistryDispatch(b *testing.B) {
	const claimants = 64
	for name, kind := range map[string]mailboxKind{"inline": {}, "goroutine": {inline: func(any) bool { return false }}} {
		b.Run(name, func(b *testing.B) {
			r := Start(Config{})
			defer r.Stop()
			pid := r.spawn("measured", kind, &registry{machine: slots.New(time.Now(), slots.Config{}), journal: r.journal, tell: r.tell, scribe: r.scribe})
			var took [claimants][]time.Duration
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range claimants {
				address, inbox := fmt.Sprint("claimant-", i), make(answered, 1)
				r.system.ProcessRegistry.Add(inbox, address)
				claim := messages.Claim{Server: messages.ServerID(address), From: messages.Address(address), Token: 1, Conn: "c"}
				wg.Go(func() {
					for range b.N/claimants + 1 {
						began := time.Now()
						r.system.Root.Send(pid, claim)
						epoch := (<-inbox).(messages.Granted).Epoch
						took[i] = append(took[i], time.Since(began))
						r.system.Root.Send(pid, messages.Release{Server: claim.Server, From: claim.From, Epoch: epoch})
						<-inbox
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(took[:]...)
			slices.Sort(all)
			for _, q := range []struct {
				name string
				at   int
			}{{"p50", len(all) / 2}, {"p99", len(all) * 99 / 100}, {"p99.9", len(all) * 999 / 1000}, {"max", len(all) - 1}} {
				b.ReportMetric(float64(all[q.at].Nanoseconds())/1000, "us-"+q.name)
			}
			_ = r.system.Root.PoisonFuture(pid).Wait()
		})
	}
}

// BenchmarkIdleConnection asks what the actor of a connection that does nothing weighs, its place in the directory included.
func BenchmarkIdleConnection(b *testing.B) {
	const connections = 10_000
	for b.Loop() {
		r := Start(Config{Slots: simTimes})
		before := liveBytes()
		all := make([]*line, connections)
		for i := range all {
			all[i] = &line{}
			all[i].claims(r, messages.ServerID(fmt.Sprint(i)), "")
		}
		b.ReportMetric(float64(liveBytes()-before)/connections, "B/connection")
		r.ShutDown()
		for _, l := range all {
			l.closed = make(chan string, 1)
			l.inbox.Tell(messages.Ended{})
		}
		r.Stop()
	}
}

func liveBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
