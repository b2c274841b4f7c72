package slots

import (
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// slot is one slot, as a value: a turn changes a copy, and the copy replaces the old one at the end.
type slot struct {
	id     messages.ServerID
	epoch  messages.Epoch // of the holder, or of the last one while in grace; 0 before the first
	since  time.Time      // when it was granted, or given back; before the first grant, when its first phone came
	holder party          // who holds it; in grace its address is empty and its conn-id says who left

	waiting []claim // in order of arrival, so also in order of needs
	probe   probe

	phones []party // in order of arrival, at most Config.MaxPhones; they wait where nobody holds the slot
	lapsed bool    // it was held since the relay started, and is free again: the startup grace is over for it
	place  int     // names[place] is id
}

// party is a connection that has the slot, or wants it, or is a phone of it.
type party struct {
	from  messages.Address // empty: nobody
	token messages.ClaimToken
	conn  messages.ConnID
}

// claim is a claim that waits.
type claim struct {
	party
	version messages.Version
	remote  string
	needs   messages.ProbeNumber // the oldest probe whose answer is proof to this claim
}

// probe is where the probing of a slot stands. The number goes on across holders.
type probe struct {
	number messages.ProbeNumber // of the last one sent; 0 before the first
	at     time.Time            // when that was
	out    bool                 // it is neither answered nor expired
	due    bool                 // a ProbeDue is armed
}

func (s *slot) held() bool { return s.holder.from != "" }
