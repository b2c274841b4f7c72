package actors

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// Limits of a mailbox. Each is measured or argued in docs/performance.md.
const (
	// inlineBudget is how many messages a sender handles on behalf of an actor that it found idle, its own included.
	inlineBudget = 64
	// keptSlots is the capacity of a queue that an idle mailbox keeps: enough for one answer on its way.
	keptSlots = 4
)

// maxOpenRuns bounds how deeply actors may run inside each other's sends: Go has no cheap way to ask how deep a stack is, so
// the inline runs that are open anywhere in the process are counted instead.
var (
	maxOpenRuns = 64 * int64(runtime.GOMAXPROCS(0))
	openRuns    atomic.Int64
)

// mailboxKind is what all mailboxes of one kind of actor share.
type mailboxKind struct {
	// limit is the most user messages that may be queued; 0 where the senders themselves are bounded.
	limit int
	// room is how many may be queued before awaitRoom waits.
	room int
	// full is called on the sender's goroutine, once, with the first message that found limit others queued. The actor is to be
	// ended by it: this message, and what finds the queue full later, is gone.
	full func(owner *actor.PID, message any)
	// inline says whether a message that finds the actor idle may run on the sender's goroutine; nil: each may.
	inline func(message any) bool
}

// mailbox is an actor's queue, and the decision of who runs the actor.
//
// A message that finds the actor idle runs at once, on the goroutine of its sender: that is an order of magnitude cheaper than
// waking another one. What arrives meanwhile is queued. After inlineBudget messages a goroutine of its own takes over, so that
// no sender is held for long by the others. The actor is never entered twice at the same time. All of it is sound only
// while no Receive ever blocks; a test looks for that.
//
// Order is kept: a message runs inline only if nothing is queued. System messages go first, are never refused, and are
// handled while the mailbox is suspended, as protoactor demands.
type mailbox struct {
	kind    *mailboxKind         // fixed at birth
	invoker actor.MessageInvoker // fixed before the first message

	mu         sync.Mutex // guards all below; never held while the actor runs
	running    bool       // somebody runs the actor: a sender or the goroutine
	suspended  bool       // user messages wait: the actor has failed, and its supervisor has not decided yet
	overflowed bool       // full was called
	system     []any
	user       queue
	roomy      *sync.Cond // made by the first sender that waits for room
}

func newMailbox(kind *mailboxKind) *mailbox { return &mailbox{kind: kind} }

// RegisterHandlers is called once, before the first message.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) { m.invoker = invoker }

// Start has nothing to start: the first message does.
func (m *mailbox) Start() {}

// UserMessageCount is the number of user messages that wait.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.n
}

// PostUserMessage hands message to the actor. It does not wait, and it does not fail: a full queue ends the actor.
func (m *mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	if m.running || m.suspended {
		m.enqueue(message) // unlocks
		return
	}
	// Idle, so nothing is queued: whoever runs the actor leaves only when the queues are empty, or it is suspended.
	m.running = true
	if m.kind.inline != nil && !m.kind.inline(message) {
		m.user.push(message)
		m.mu.Unlock()
		m.handOver()
		return
	}
	m.mu.Unlock()
	m.runFor(message, false)
}

// enqueue is for a mailbox that is locked, and unlocks it.
func (m *mailbox) enqueue(message any) {
	if m.kind.limit == 0 || m.user.n < m.kind.limit {
		m.user.push(message)
		m.mu.Unlock()
		return
	}
	first := !m.overflowed
	m.overflowed = true
	m.mu.Unlock()
	if first {
		m.kind.full(m.invoker.(actor.Context).Self(), message)
	}
}

// PostSystemMessage hands protoactor's own messages to the actor.
func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	if m.running {
		m.system = append(m.system, message)
		m.mu.Unlock()
		return
	}
	m.running = true
	m.mu.Unlock()
	m.runFor(message, true)
}

// awaitRoom returns when fewer than room messages are queued. It is for a socket's reader, which would otherwise outrun an actor that
// somebody else is running. An actor must not call it.
func (m *mailbox) awaitRoom() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.user.n >= m.kind.room && m.running {
		if m.roomy == nil {
			m.roomy = sync.NewCond(&m.mu)
		}
		m.roomy.Wait()
	}
}

// runFor runs the idle actor for one message, here if the stack allows it, and then for what was queued meanwhile.
func (m *mailbox) runFor(message any, system bool) {
	if openRuns.Add(1) > maxOpenRuns {
		openRuns.Add(-1)
		m.mu.Lock()
		if system {
			m.system = append(m.system, message)
		} else {
			m.user.push(message)
		}
		m.mu.Unlock()
		m.handOver()
		return
	}
	r := run{mailbox: m, message: message, system: system, budget: inlineBudget}
	defer r.leave()
	r.handle()
	for r.next() {
		r.handle()
	}
}
