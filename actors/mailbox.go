package actors

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// inlineBudget is how many messages a sender handles for an actor that it found idle, its own included: so no sender serves the
// others for as long as they keep sending.
const inlineBudget = 64

// keptSlots is the capacity of the queue that an idle mailbox keeps: enough for an answer on its way.
const keptSlots = 4

// How deep actors may run inside each other's sends. Go has no cheap way to ask how deep a stack is, so the inline runs that
// are open anywhere in the process are counted instead.
var (
	openRuns    atomic.Int64
	maxOpenRuns = 64 * int64(runtime.GOMAXPROCS(0))
)

// mailboxKind is what the mailboxes of all actors of a kind share.
type mailboxKind struct {
	// limit is the most that may be queued of user messages, by weigh; 0 where the number of what its senders may say is bounded.
	limit int
	// weigh says what a message counts; nil: 1.
	weigh func(message any) int
	// keep makes a message fit to be queued; nil: each is.
	keep func(message any) any
	// full is called on a sender's goroutine, once, when a message finds no room: the actor has to be ended by it. That
	// message, and those that find no room after it, are gone.
	full func(owner *actor.PID)
	// room is how much of messages.Received may be queued when awaitRoom returns.
	room int
	// inline says whether a message that finds the actor idle may run on the sender's goroutine; nil: each may.
	inline func(message any) bool
	// later has the actor run elsewhere than on its sender's goroutine: nil starts a goroutine. The simulator picks who is next.
	later func(*mailbox)
}

// mailbox is an actor's queue, and the decision of who runs the actor.
//
// A message that finds the actor idle runs at once, on the goroutine of its sender, which is an order of magnitude cheaper than
// to wake another one. What arrives meanwhile is queued. After inlineBudget messages a goroutine takes over. The actor is
// never entered twice at a time. All of it is sound only while no Receive ever waits; a test looks for that.
//
// Order is kept: a message runs inline only if nothing is queued. System messages go first, are never refused, and are
// handled while the mailbox is suspended, as protoactor's supervision needs it.
type mailbox struct {
	kind    *mailboxKind         // fixed at birth
	invoker actor.MessageInvoker // fixed before the first message

	mu         sync.Mutex // guards the rest; never held while the actor runs
	running    bool       // somebody runs the actor: a sender, or the goroutine
	suspended  bool       // user messages wait: the actor has failed, and its supervisor has not decided yet
	overflowed bool       // full was called
	system     []any
	user       queue
	weight     int // of what is queued, and of the Received among it
	read       int
	roomy      *sync.Cond // made by the first sender that waits for room
}

func newMailbox(kind *mailboxKind) *mailbox { return &mailbox{kind: kind} }

// RegisterHandlers is called once, before the first message. Nobody is asked when to run: the sender is at hand.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
}

// Start has nothing to start: the first message does.
func (m *mailbox) Start() {}

// UserMessageCount is how many user messages are queued.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.n
}

// PostUserMessage hands message to the actor. It does not wait, and it does not fail: a full queue ends the actor.
func (m *mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	switch {
	case m.running || m.suspended:
		m.enqueue(message)
	case m.mayRunHere(message):
		// Nothing is queued: who runs an actor stops only when nothing is, or when it is suspended.
		m.running = true
		m.mu.Unlock()
		defer openRuns.Add(-1) // deferred: the actor may end this goroutine
		m.run(message, inlineBudget)
	default:
		m.running = true
		m.push(message)
		m.mu.Unlock()
		m.handOver()
	}
}

// enqueue is for a mailbox that is locked, and unlocks it.
func (m *mailbox) enqueue(message any) {
	if m.kind.limit == 0 || m.weight+m.kind.weightOf(message) <= m.kind.limit {
		m.push(message)
		m.mu.Unlock()
		return
	}
	first := !m.overflowed
	m.overflowed = true
	m.mu.Unlock()
	if first {
		m.kind.full(m.invoker.(actor.Context).Self())
	}
}

// overrun reports whether a message has found no room.
func (m *mailbox) overrun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflowed
}

// push queues message in a mailbox that is locked.
func (m *mailbox) push(message any) {
	if m.kind.keep != nil {
		message = m.kind.keep(message)
	}
	m.count(message, 1)
	m.user.push(message)
}

// count adds message to what is queued, or takes it off.
func (m *mailbox) count(message any, sign int) {
	n := sign * m.kind.weightOf(message)
	m.weight += n
	if _, ok := message.(*messages.Received); ok {
		m.read += n
	}
}

func (k *mailboxKind) weightOf(message any) int {
	if k.weigh == nil {
		return 1
	}
	return k.weigh(message)
}

// PostSystemMessage hands one of protoactor's own messages to the actor.
func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system = append(m.system, message)
	if m.running {
		m.mu.Unlock()
		return
	}
	m.running = true
	here := m.mayRunHere(message)
	m.mu.Unlock()
	if !here {
		m.handOver()
		return
	}
	defer openRuns.Add(-1)
	m.run(nil, inlineBudget)
}

// mayRunHere reports whether the sender may run the idle actor for message. If so, openRuns has counted it.
func (m *mailbox) mayRunHere(message any) bool {
	if m.kind.inline != nil && !m.kind.inline(message) {
		return false
	}
	if openRuns.Add(1) > maxOpenRuns {
		openRuns.Add(-1)
		return false
	}
	return true
}

// handOver starts the goroutine that runs the actor until nothing is queued. Whoever must not run it any longer starts it; the
// empty queue ends it; nobody waits for it: one waits for actors to end, not for their mailboxes.
func (m *mailbox) handOver() {
	if m.kind.later != nil {
		m.kind.later(m)
		return
	}
	go m.run(nil, -1)
}

// run handles message, if there is one, and then what is queued: until nothing is, or until budget messages are done and a
// goroutine takes over. A budget below 0 is none.
func (m *mailbox) run(message any, budget int) {
	for m.serve(message, &budget) {
		message = nil
	}
}

// serve is run up to the first panic. It reports whether there was one; the actor's supervisor has then been told.
func (m *mailbox) serve(message any, budget *int) (panicked bool) {
	system, done := false, false
	defer func() {
		if done {
			return
		}
		if reason := recover(); reason != nil {
			panicked = true
			m.invoker.EscalateFailure(reason, message)
			return
		}
		m.handOver() // runtime.Goexit in a Receive: it ends this goroutine, not the actor
	}()
	for {
		switch {
		case message == nil:
		case system:
			m.invoker.InvokeSystemMessage(message)
		default:
			m.invoker.InvokeUserMessage(message)
		}
		if message, system = m.next(budget); message == nil {
			done = true
			return false
		}
	}
}

// next takes what is to be handled next. If there is nothing, or not for the caller, the actor is no longer the caller's to run.
func (m *mailbox) next(budget *int) (message any, system bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.obeySupervision()
	switch {
	case len(m.system) == 0 && (m.suspended || m.user.n == 0):
		m.running = false
		m.user.shrink()
		m.wakeWaiting()
		return nil, false
	case *budget == 0:
		m.handOver()
		return nil, false
	}
	*budget--
	if len(m.system) > 0 {
		message, m.system = m.system[0], m.system[1:]
		return message, true
	}
	message = m.user.pop()
	was := m.read
	m.count(message, -1)
	if m.read == 0 && was > 0 {
		m.wakeWaiting()
	}
	return message, false
}

// obeySupervision takes what is meant for the mailbox itself from the head of the system queue.
func (m *mailbox) obeySupervision() {
	for len(m.system) > 0 {
		switch m.system[0].(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return
		}
		m.system = m.system[1:]
	}
	m.system = nil
}

// awaitRoom returns when there is room for another Received: at once, or where there was none, when all are handled. It is for a
// socket's reader, which could otherwise outrun an actor that somebody else runs. No actor may call it.
func (m *mailbox) awaitRoom() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read < m.kind.room {
		return
	}
	for m.running && m.read > 0 {
		if m.roomy == nil {
			m.roomy = sync.NewCond(&m.mu)
		}
		m.roomy.Wait()
	}
}

func (m *mailbox) wakeWaiting() {
	if m.roomy != nil {
		m.roomy.Broadcast()
	}
}

// queue is a ring that has no array until it is used.
type queue struct {
	ring    []any
	head, n int
}

func (q *queue) push(message any) {
	if q.n == len(q.ring) {
		ring := make([]any, max(keptSlots, 2*q.n))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = message
	q.n++
}

func (q *queue) pop() any {
	message := q.ring[q.head]
	q.ring[q.head] = nil // it may be large, and the ring may idle for days
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return message
}

// shrink lets the array of a busy hour go, once the queue is empty.
func (q *queue) shrink() {
	if q.n == 0 && len(q.ring) > keptSlots {
		*q = queue{}
	}
}
