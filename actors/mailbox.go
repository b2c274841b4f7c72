package actors

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// budget is how many messages one sender runs of an actor that it found idle, before a goroutine takes over: no sender serves
// the others for as long as they keep sending.
const budget = 64

// openRuns counts the inline runs of the process that have not come back. It bounds how deep one actor's message can run
// another's: Go offers no cheap depth of a goroutine.
var openRuns atomic.Int64

var maxOpenRuns = int64(64 * runtime.GOMAXPROCS(0))

// mailbox is bounded, and runs its actor on the goroutine of whoever finds it idle. It never blocks a sender, never drops in
// silence and never re-enters: a message that comes while the actor runs is queued, also one of its own.
type mailbox struct {
	limit int
	full  func(self *actor.PID, message any) // gets the message that did not fit; any goroutine

	invoker actor.MessageInvoker // fixed by RegisterHandlers, before the first message

	mu        sync.Mutex // guards the rest
	running   bool
	suspended bool // by supervision: only system messages run
	user      queue
	system    queue // few, and never bounded: supervision must get through
}

// inline makes mailboxes that hold at most limit messages.
func inline(limit int, full func(*actor.PID, any)) actor.MailboxProducer {
	return func() actor.Mailbox { return &mailbox{limit: limit, full: full} }
}

func (m *mailbox) RegisterHandlers(i actor.MessageInvoker, _ actor.Dispatcher) { m.invoker = i }

// Start runs what was posted before: spawning posts Started.
func (m *mailbox) Start() {}

func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

func (m *mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	if m.user.len() >= m.limit {
		m.mu.Unlock()
		m.full(m.invoker.(actor.Context).Self(), message)
		return
	}
	m.user.push(message)
	m.post()
}

func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system.push(message)
	m.post()
}

// post runs the actor if nobody does. It is called with mu held, and lets it go.
func (m *mailbox) post() {
	if m.running || m.suspended && m.system.len() == 0 {
		m.mu.Unlock()
		return
	}
	m.running = true
	m.mu.Unlock()
	if openRuns.Add(1) > maxOpenRuns {
		openRuns.Add(-1)
		go m.runAll()
		return
	}
	done := m.run(budget)
	openRuns.Add(-1)
	if !done {
		go m.runAll()
	}
}

// runAll is the hand-over: started by a sender whose budget is spent, ends when nothing is queued, waited for by nobody.
func (m *mailbox) runAll() {
	for !m.run(budget) {
		runtime.Gosched()
	}
}

// run handles up to n messages. It reports whether the actor is idle again; if not, the caller must see to it that it runs.
func (m *mailbox) run(n int) (idle bool) {
	var message any
	finished := false
	defer func() {
		if finished {
			return
		}
		// A panic: the actor is suspended, and its supervisor told, which may post to this mailbox; the rest runs from the hand-over.
		// Or runtime.Goexit in the actor, where there is nothing to recover and the goroutine ends.
		if r := recover(); r != nil {
			m.invoker.EscalateFailure(r, message)
			idle = false
			return
		}
		go m.runAll()
	}()
	for range n {
		m.mu.Lock()
		system := m.system.len() > 0
		switch {
		case system:
			message = m.system.pop()
		case !m.suspended && m.user.len() > 0:
			message = m.user.pop()
		default:
			m.running = false
			m.mu.Unlock()
			finished = true
			return true
		}
		m.mu.Unlock()
		switch {
		case !system:
			m.invoker.InvokeUserMessage(message)
		default:
			m.invokeSystem(message)
		}
	}
	finished = true
	return false
}

func (m *mailbox) invokeSystem(message any) {
	switch message.(type) {
	case *actor.SuspendMailbox, *actor.ResumeMailbox:
		_, suspend := message.(*actor.SuspendMailbox)
		m.mu.Lock()
		m.suspended = suspend
		m.mu.Unlock()
	default:
		m.invoker.InvokeSystemMessage(message)
	}
}

// queue is a ring that has no array until it is used, and lets a large one go when it is empty.
type queue struct {
	ring []any
	head int
	n    int
}

func (q *queue) len() int { return q.n }

func (q *queue) push(m any) {
	if q.n == len(q.ring) {
		ring := make([]any, max(4, 2*len(q.ring)))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = m
	q.n++
}

func (q *queue) pop() any {
	m := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	if q.n == 0 && len(q.ring) > 64 {
		q.ring, q.head = nil, 0
	}
	return m
}
