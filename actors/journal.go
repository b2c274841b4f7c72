package actors

import (
	"sync"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Journal keeps the newest decisions of the registry. The registry appends; anybody may select, from any goroutine.
type Journal struct {
	mu   sync.Mutex    // guards the rest; held to copy entries, never longer
	ring []slots.Entry // entry seq is at seq % len(ring)
	last int64         // the number of the newest entry; 0: none yet
}

func newJournal(size int) *Journal { return &Journal{ring: make([]slots.Entry, size)} }

// add gives e the next number and keeps a copy. It allocates nothing: the ring was made at the start.
func (j *Journal) add(e *slots.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Seq = j.last
	j.ring[e.Seq%int64(len(j.ring))] = *e
}

// Select returns copies of the kept entries with a number above after, oldest first, at most limit, of one server-id or, if
// that is empty, of all.
func (j *Journal) Select(server messages.ServerID, after int64, limit int) []slots.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := []slots.Entry{}
	for seq := max(after, j.last-int64(len(j.ring)), 0) + 1; seq <= j.last && len(found) < limit; seq++ {
		if e := &j.ring[seq%int64(len(j.ring))]; server == "" || e.Server == server {
			found = append(found, *e)
		}
	}
	return found
}
