package actors

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// DefaultJournal is how many entries a journal keeps unless told otherwise.
const DefaultJournal = 4096

// CopyChunk is how many entries a reader should copy at a time: so long, some microseconds, may an append have to wait for it.
const CopyChunk = 64

// Journal keeps the newest decisions of the registry (docs/protocol.md 5).
type Journal struct {
	mu   sync.Mutex    // held to write one entry, or to copy CopyChunk of them
	ring []slots.Entry // entry number seq is at (seq-1) % len(ring)
	last int64         // the newest entry's number; 0: none yet

	news  chan struct{} // has a value where somebody is to be woken; one at most is under way, so to send never waits
	noted atomic.Bool   // it is
}

func newJournal(size int) *Journal {
	if size <= 0 {
		size = DefaultJournal
	}
	// Whole from the start: to append allocates nothing.
	return &Journal{ring: make([]slots.Entry, size), news: make(chan struct{}, 1)}
}

// append numbers e and keeps a copy, in the place of the oldest. Only the registry calls it.
func (j *Journal) append(e *slots.Entry) {
	j.mu.Lock()
	j.last++
	e.Seq = j.last
	j.ring[(j.last-1)%int64(len(j.ring))] = *e
	j.mu.Unlock()
	if !j.noted.Load() && !j.noted.Swap(true) {
		j.news <- struct{}{}
	}
}

// Await returns when entries were added since it last did, or done is closed. One goroutine may call it, and not an actor's. However
// many want to know, to the registry they are this one.
func (j *Journal) Await(done <-chan struct{}) {
	select {
	case <-j.news:
		j.noted.Store(false) // before it is read: what is added from here on wakes again
	case <-done:
	}
}

// Last is the newest entry's number; 0: none yet. Any goroutine may call it.
func (j *Journal) Last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Query says which entries of a journal somebody wants.
type Query struct {
	Server  messages.ServerID // empty: of all
	Decided []slots.Decided   // empty: all
	Since   time.Time         // zero: any time
	Until   time.Time         // likewise; an entry of this very moment is wanted
	After   int64             // those behind this number
	Limit   int               // at most so many
	Newest  bool              // of more than Limit the newest, rather than the oldest
}

// Wants reports whether e is among what is asked for, but for After and Limit.
func (q *Query) Wants(e *slots.Entry) bool {
	return (q.Server == "" || q.Server == e.Server) && (len(q.Decided) == 0 || slices.Contains(q.Decided, e.Decided)) &&
		(q.Since.IsZero() || !e.Time.Before(q.Since)) && (q.Until.IsZero() || !e.Time.After(q.Until))
}

// Select returns the entries that are asked for, oldest first. What the journal no longer keeps is passed over. Any goroutine may
// call it.
func (j *Journal) Select(q Query) []slots.Entry {
	var chunk [CopyChunk]slots.Entry
	selected := []slots.Entry{}
	for after := q.After; q.Newest || len(selected) < q.Limit; {
		n := j.Read(after, chunk[:])
		if n == 0 {
			break
		}
		if chunk[0].Seq > after+1 {
			selected = selected[:0] // the writer has overtaken us: what we have so far would leave a gap in the middle
		}
		for i := range n {
			if q.Wants(&chunk[i]) && (q.Newest || len(selected) < q.Limit) {
				selected = append(selected, chunk[i])
			}
		}
		if len(selected) >= 2*q.Limit {
			selected = append(selected[:0], selected[len(selected)-q.Limit:]...)
		}
		after = chunk[n-1].Seq
	}
	return selected[max(0, len(selected)-q.Limit):]
}

// Read copies the oldest entries behind number after into chunk, and says how many. Any goroutine may call it.
func (j *Journal) Read(after int64, chunk []slots.Entry) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := max(after+1, j.last-int64(len(j.ring))+1, 1)
	n := int(min(j.last-first+1, int64(len(chunk))))
	for i := range max(n, 0) {
		chunk[i] = j.ring[(first-1+int64(i))%int64(len(j.ring))]
	}
	return max(n, 0)
}
