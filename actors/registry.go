package actors

import (
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// registry is the actor around the slot machine. The order of its mailbox is the order of claims: it stamps the time, steps, and
// carries out what the machine decided. It decides nothing itself, waits for nothing, and is never restarted: a new one
// would know no slot.
type registry struct {
	machine *slots.Machine
	journal *Journal
	timers  timers
	handled int64        // how many messages
	holders atomic.Int64 // how many slots are held; read by anybody
	phones  atomic.Int64 // how many phones have a place; likewise
	counts  *tally.Counts

	recorder Recorder // nil: nobody records
	tell     func(to messages.Address, m any)
	scribe   *scribe
	tap      func(messages.ConnID, any) // of tests: may panic
}

// Recorder is told of everything that the registry handles, in its order, on its turn: it may copy what it is told, and not wait. The
// entry is lent.
type Recorder interface {
	Begins(now time.Time, cfg slots.Config)
	Handles(now time.Time, m messages.ToRegistry)
	Decided(e *slots.Entry)
}

// What only the relay itself says to the registry.
type (
	timersDue struct{}
	// awaited is a message that somebody outside waits for, who is told of the first entry that it made. The channel has room for it.
	awaited struct {
		message messages.ToRegistry
		handled chan<- slots.Entry
	}
	// look asks for what is going on. The channel has room for the answer.
	look struct {
		below  int
		page   []slots.Snapshot // to be filled
		answer chan<- view
	}
	// view is a look's answer: one moment between two messages.
	view struct {
		page            []slots.Snapshot
		next            int
		holders, phones int64
		handled         int64
	}
)

// Receive handles one message.
func (r *registry) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case messages.ToRegistry:
		r.handle(time.Now(), m)
	case timersDue:
		r.sayWhatIsDue(time.Now())
	case awaited:
		r.await(time.Now(), m)
	case look:
		r.look(m)
	case *actor.Stopping:
		r.timers.stop()
	}
}

// sayWhatIsDue handles the message of each timer whose time has come.
func (r *registry) sayWhatIsDue(now time.Time) {
	for say, ok := r.timers.due(now); ok; say, ok = r.timers.due(now) {
		r.handle(now, say)
	}
	r.timers.rang(now)
}

func (r *registry) await(now time.Time, m awaited) {
	var first [1]slots.Entry
	last := r.journal.Last()
	r.handle(now, m.message)
	r.journal.Read(last, first[:])
	m.handled <- first[0]
}

// look copies a page of slots. Whoever has asked works out what it says.
func (r *registry) look(m look) {
	n, next := r.machine.Page(m.below, m.page)
	m.answer <- view{m.page[:n], next, r.holders.Load(), r.phones.Load(), r.handled}
}

func (r *registry) handle(now time.Time, m messages.ToRegistry) {
	r.handled++
	if r.recorder != nil {
		r.recorder.Handles(now, m)
	}
	effects, ok := r.step(now, m)
	if !ok {
		r.fail(now, m)
	}
	for i := range effects {
		r.carryOut(now, effects[i])
	}
}

// step is the machine's, but a panic costs this message only: a slot is changed as the last thing that a turn does.
func (r *registry) step(now time.Time, m messages.ToRegistry) (effects []slots.Effect, ok bool) {
	defer func() {
		if !ok {
			r.scribe.panicked("registry", recover())
		}
	}()
	if r.tap != nil {
		r.tap("", m)
	}
	return r.machine.Step(now, m), true
}

// carryOut does one effect. A panic in it, which nobody knows how to cause, costs that effect and not those behind it.
func (r *registry) carryOut(now time.Time, effect slots.Effect) {
	defer func() {
		if reason := recover(); reason != nil {
			r.scribe.panicked("registry", reason)
		}
	}()
	switch e := effect.(type) {
	case slots.Tell:
		r.tell(e.To, e.Message)
	case slots.TellPhone:
		r.tell(e.To, e.Message)
	case slots.Arm:
		r.timers.arm(e.At, e.Say, now)
	case slots.Record:
		r.record(e.Entry)
	case slots.Probed:
		r.probed(e)
	}
}

// record keeps a decision, and the counts that follow from it.
func (r *registry) record(e *slots.Entry) {
	switch e.Decided {
	case slots.Granted:
		r.holders.Add(1)
	case slots.Released:
		r.holders.Add(-1)
	case slots.Attached, slots.Parked:
		r.phones.Add(1)
	case slots.Left:
		r.phones.Add(-1)
	}
	count(r.counts, e)
	r.journal.append(e)
	if r.recorder != nil {
		r.recorder.Decided(e)
	}
	r.scribe.wake()
}

// retryAfter is how long after a panic a message that nobody else would repeat is handled once more.
const retryAfter = time.Second

// fail is for a message whose handling panicked: nobody must wait for what will not come. A lost ProbeExpired, for one, would
// leave a line of claims waiting for ever.
func (r *registry) fail(now time.Time, m messages.ToRegistry) {
	e := slots.Failure(now, m)
	r.record(&e)
	switch m := m.(type) {
	case messages.Claim:
		r.tell(m.From, messages.Evicted{Code: messages.CloseInternal, Reason: messages.ReasonInternal})
	case messages.Join:
		r.tell(m.From, messages.Evicted{Code: messages.CloseInternal, Reason: messages.ReasonInternal})
	case messages.Release:
		r.tell(m.From, messages.Settled{})
	case messages.Withdraw:
		r.tell(m.From, messages.Settled{})
	case messages.Leave, messages.ProbeExpired, messages.ProbeDue, messages.GraceExpired, messages.ShutDown:
		r.timers.arm(now.Add(retryAfter), m, now)
	case messages.ProbeAnswered: // the probe expires
	case messages.OperatorRelease: // who asked is told
	}
}
