package actors

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// registry is the actor around the slot machine. The order of its mailbox is the order of claims; it stamps the time, lets the
// machine decide, and carries the effects out. It decides nothing itself, and waits for nothing.
type registry struct {
	machine *slots.Machine
	journal *Journal
	timers  timers
	log     *slog.Logger
	holders atomic.Int64  // how many slots are held; read from any goroutine
	closed  chan struct{} // closed when ShutDown has been handled

	before func(messages.ToRegistry) // of tests: may panic
}

// Receive implements actor.Actor.
func (r *registry) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case messages.ToRegistry:
		r.handle(ctx, m)
	case due:
		now := time.Now()
		for say, ok := r.timers.next(now); ok; say, ok = r.timers.next(now) {
			r.handle(ctx, say)
		}
		r.timers.fired()
	case *actor.Stopping:
		r.timers.stop()
	}
}

// handle is one message. A panic in it costs this message and no other, and no slot: the machine is as it was. The registry is
// never restarted, since it would come back empty.
func (r *registry) handle(ctx actor.Context, m messages.ToRegistry) {
	now := time.Now()
	defer func() {
		if p := recover(); p != nil {
			r.failed(ctx, now, m, p)
		}
	}()
	if r.before != nil {
		r.before(m)
	}
	for _, e := range r.machine.Step(now, m) {
		switch e := e.(type) {
		case slots.Record:
			r.record(e.Entry)
		case slots.Tell:
			ctx.Send(pid(e.To), e.Message)
		case slots.Arm:
			r.timers.arm(e.At, e.Say)
		}
	}
	if _, ok := m.(messages.ShutDown); ok {
		close(r.closed)
	}
}

// failed answers for a message whose handling panicked, so that nobody waits for ever.
func (r *registry) failed(ctx actor.Context, now time.Time, m messages.ToRegistry, p any) {
	e := slots.Failure(now, m)
	r.record(&e)
	r.log.Error("registry_panic", "asked", e.Asked.String(), "server_id", string(e.Server), "error", fmt.Sprint(p))
	switch m := m.(type) {
	case messages.Claim:
		ctx.Send(pid(m.From), messages.Evicted{Code: messages.CloseInternal, Reason: messages.ReasonInternal})
	case messages.Release:
		ctx.Send(pid(m.From), messages.Settled{})
	case messages.Withdraw:
		ctx.Send(pid(m.From), messages.Settled{})
	}
}

// record keeps a decision, counts it, and logs it.
func (r *registry) record(e *slots.Entry) {
	r.journal.add(e)
	switch e.Decided {
	case slots.Granted:
		r.holders.Add(1)
	case slots.Released:
		r.holders.Add(-1)
	}
	logDecision(r.log, e)
}

// pid is where mail to a goes.
func pid(a messages.Address) *actor.PID { return actor.NewPID("nonhost", string(a)) }
