package actors

import (
	"sync"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// DefaultJournal is how many entries a journal keeps unless told otherwise.
const DefaultJournal = 4096

// copyChunk is how many entries a reader copies at a time: so long, some microseconds, may an append have to wait for it.
const copyChunk = 64

// Journal keeps the newest decisions of the registry (docs/protocol.md 5).
type Journal struct {
	mu   sync.Mutex    // held to write one entry, or to copy copyChunk of them
	ring []slots.Entry // entry number seq is at (seq-1) % len(ring)
	last int64         // the newest entry's number; 0: none yet
}

func newJournal(size int) *Journal {
	if size <= 0 {
		size = DefaultJournal
	}
	return &Journal{ring: make([]slots.Entry, size)} // whole from the start: to append allocates nothing
}

// append numbers a copy of e and keeps it, in the place of the oldest. Only the registry calls it.
func (j *Journal) append(e *slots.Entry) {
	j.mu.Lock()
	j.last++
	kept := &j.ring[(j.last-1)%int64(len(j.ring))]
	*kept = *e
	kept.Seq = j.last
	j.mu.Unlock()
}

// Last is the newest entry's number; 0: none yet. Any goroutine may call it.
func (j *Journal) Last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Select returns at most limit of the entries behind number after, oldest first; of server only, unless it is empty. What
// the journal no longer keeps is passed over. Any goroutine may call it.
func (j *Journal) Select(server messages.ServerID, after int64, limit int) []slots.Entry {
	var chunk [copyChunk]slots.Entry
	selected := []slots.Entry{}
	for len(selected) < limit {
		n := j.read(after, chunk[:])
		if n == 0 {
			break
		}
		if chunk[0].Seq > after+1 {
			selected = selected[:0] // the writer has overtaken us: what we have so far would leave a gap in the middle
		}
		for i := 0; i < n && len(selected) < limit; i++ {
			if server == "" || chunk[i].Server == server {
				selected = append(selected, chunk[i])
			}
		}
		after = chunk[n-1].Seq
	}
	return selected
}

// read copies the oldest entries behind number after into chunk, and says how many.
func (j *Journal) read(after int64, chunk []slots.Entry) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := max(after+1, j.last-int64(len(j.ring))+1, 1)
	n := int(min(j.last-first+1, int64(len(chunk))))
	for i := range max(n, 0) {
		chunk[i] = j.ring[(first-1+int64(i))%int64(len(j.ring))]
	}
	return max(n, 0)
}
