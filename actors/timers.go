package actors

import (
	"container/heap"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// timers is what the registry has to be told later: a heap, under one timer of the runtime's for the earliest of them. The runtime's
// timer only says that something is due, by a message like any other; so what a timer says has its place in the
// registry's order, and a slot costs no timer. All of it belongs to the registry.
type timers struct {
	heap  timerHeap
	armed int64       // numbers those of one moment
	alarm *time.Timer // nil before the first
	set   time.Time   // when alarm rings; zero: it does not
	ring  func()      // tells the registry, from a goroutine of the runtime's
}

type timer struct {
	at     time.Time
	number int64
	say    messages.ToRegistry
}

// arm has say said at that time or later. Of two for the same time, the one that was armed first is first.
func (t *timers) arm(at time.Time, say messages.ToRegistry, now time.Time) {
	t.armed++
	heap.Push(&t.heap, timer{at: at, number: t.armed, say: say})
	if t.set.IsZero() || at.Before(t.set) {
		t.setAlarm(at, now)
	}
}

// due takes the earliest of those whose time has come.
func (t *timers) due(now time.Time) (messages.ToRegistry, bool) {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil, false
	}
	return heap.Pop(&t.heap).(timer).say, true
}

// rang is to be called when what was due has been taken.
func (t *timers) rang(now time.Time) {
	t.set = time.Time{}
	if len(t.heap) > 0 {
		t.setAlarm(t.heap[0].at, now)
	}
}

func (t *timers) setAlarm(at, now time.Time) {
	t.set = at
	if t.alarm == nil {
		t.alarm = time.AfterFunc(at.Sub(now), t.ring)
		return
	}
	t.alarm.Reset(at.Sub(now))
}

// stop: nothing rings from here on, but for what is ringing right now.
func (t *timers) stop() {
	if t.alarm != nil {
		t.alarm.Stop()
	}
	t.heap = nil
}

// timerHeap is container/heap's view of it.
type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].number < h[j].number
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	popped := (*h)[last]
	(*h)[last] = timer{} // its message
	*h = (*h)[:last]
	return popped
}
