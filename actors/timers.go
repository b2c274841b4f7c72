package actors

import (
	"container/heap"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// timers are the messages that the registry has armed, the earliest first, under one runtime timer. They belong to the
// registry; the runtime timer only wakes it, by a message.
type timers struct {
	armed armed
	clock *time.Timer
	at    time.Time // when clock will fire; zero: it will not
	wake  func()    // posts due to the registry
}

// due tells the registry to look for what has become due. It is the registry's own.
type due struct{}

func (t *timers) arm(at time.Time, say messages.ToRegistry) {
	heap.Push(&t.armed, timer{at, say})
	t.set()
}

// next takes out the earliest message that is due at now.
func (t *timers) next(now time.Time) (messages.ToRegistry, bool) {
	if len(t.armed) == 0 || t.armed[0].at.After(now) {
		return nil, false
	}
	return heap.Pop(&t.armed).(timer).say, true
}

// fired is called when due comes, after the last next.
func (t *timers) fired() {
	t.at = time.Time{}
	t.set()
}

// set sees to it that the clock fires for the earliest.
func (t *timers) set() {
	if len(t.armed) == 0 || !t.at.IsZero() && !t.armed[0].at.Before(t.at) {
		return // nothing to wait for, or the clock fires early enough
	}
	t.at = t.armed[0].at
	if t.clock == nil {
		t.clock = time.AfterFunc(time.Until(t.at), t.wake)
		return
	}
	t.clock.Reset(time.Until(t.at))
}

func (t *timers) stop() {
	t.armed = nil
	if t.clock != nil {
		t.clock.Stop()
	}
}

// armed is a heap by time.
type armed []timer

type timer struct {
	at  time.Time
	say messages.ToRegistry
}

func (a armed) Len() int           { return len(a) }
func (a armed) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a armed) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *armed) Push(x any)        { *a = append(*a, x.(timer)) }
func (a *armed) Pop() any {
	last := (*a)[len(*a)-1]
	(*a)[len(*a)-1] = timer{}
	*a = (*a)[:len(*a)-1]
	return last
}
