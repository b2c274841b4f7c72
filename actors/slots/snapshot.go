package slots

import (
	"fmt"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// State is where a slot stands, as docs/protocol.md 5 names it.
type State string

// A free slot is in no state: it is not there.
const (
	Held             State = "held"
	Probing          State = "probing" // held, while claims wait for proof that the holder lives
	Grace            State = "grace"
	WaitingForBinary State = "waiting_for_binary" // phones wait for a first claim, since the relay has just started
)

// Snapshot is one slot as it stood between two messages. To take one copies a few words: it shares the slot's lines, of which
// nothing is ever changed that a snapshot sees. What it says is worked out by whoever asks, on a goroutine of his own.
type Snapshot struct {
	slot
	lastEpoch messages.Epoch
	maxPhones int
}

// Page copies the slots below that place into page, from the highest down, and says how many, and below which place to go on; the
// first page is below Len, the last goes on below 0. Between two pages anything may be handled. A slot that is there all the
// time is not missed, since a place is only ever left for a lower one; it may come twice, and then the later one is newer.
func (m *Machine) Page(below int, page []Snapshot) (n, next int) {
	below = min(below, len(m.names))
	n = min(below, len(page))
	for i := range n {
		page[i] = m.snapshot(m.names[below-1-i])
	}
	return n, below - n
}

// One is the slot of server, if it is not free.
func (m *Machine) One(server messages.ServerID) (s Snapshot, ok bool) {
	s = m.snapshot(server)
	return s, s.id == server
}

func (m *Machine) snapshot(server messages.ServerID) Snapshot {
	return Snapshot{slot: m.slots[server], lastEpoch: m.epoch, maxPhones: m.cfg.MaxPhones}
}

// Server is whose slot it is.
func (s *Snapshot) Server() messages.ServerID { return s.id }

// State is where it stands; empty where it is free.
func (s *Snapshot) State() State {
	switch {
	case len(s.waiting) > 0:
		return Probing
	case s.held():
		return Held
	case s.epoch != 0:
		return Grace
	case len(s.phones) > 0:
		return WaitingForBinary
	}
	return ""
}

// Since is when it was granted, or given back, or when the first phone came that waits for a first claim.
func (s *Snapshot) Since() time.Time { return s.since }

// Epoch is the holder's, in grace the last one's, and 0 before the first.
func (s *Snapshot) Epoch() messages.Epoch { return s.epoch }

// Holder is the connection that holds it; in grace the one that left.
func (s *Snapshot) Holder() messages.ConnID { return s.holder.conn }

// Waiting is how many claims wait.
func (s *Snapshot) Waiting() int { return len(s.waiting) }

// Phones are its phones, in order of arrival.
func (s *Snapshot) Phones() []messages.ConnID {
	conns := make([]messages.ConnID, len(s.phones))
	for i, p := range s.phones {
		conns[i] = p.conn
	}
	return conns
}

// Check says whether it is as it must be between two messages.
func (s *Snapshot) Check() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	switch {
	case s.epoch < 0 || s.epoch > s.lastEpoch || s.epoch == 0 && s.held():
		broken("%s: epoch %d was never given out (the last was %d)", s.id, s.epoch, s.lastEpoch)
	case s.epoch == 0 && !s.lapsed && len(s.phones) == 0:
		broken("%s: is free, and still here", s.id)
	case len(s.phones) > s.maxPhones:
		broken("%s: %d phones, at most %d may be", s.id, len(s.phones), s.maxPhones)
	}
	s.check()
	return nil
}
