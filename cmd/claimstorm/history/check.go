package history

import (
	"cmp"
	"slices"
)

// Check holds the claims against the rules, and the journal's entries, where there are any, against the rules and the claims. The
// entries are to be all of the run's, in their order; rules must be valid. It takes O(n log n) time, and beside the history
// 4 bytes a claim, and of the one slot with the most some 150 for each claim that was not refused, and 24 for each pong. Equal histories
// give equal verdicts.
func Check(h *History, journal []Entry, rules Rules) Verdict {
	v := Verdict{Counts: Counts{Claims: h.Len(), Slots: len(h.Servers()), Entries: len(journal)}}
	ledgers := judgeJournal(&v, journal)
	h.bySlot(func(server uint32, ids []uint32) {
		s := newSlot(h, rules, ids)
		s.judge(&v)
		if len(journal) > 0 {
			s.judgeLedger(&v, cmp.Or(ledgers[h.servers.all[server]], &ledger{}))
		}
	})
	return v
}

// Lanes is what can be concluded about each claim of one server-id, in the order in which they asked.
func Lanes(h *History, server string, rules Rules) []Lane {
	number, known := h.servers.of[server]
	if !known {
		return nil
	}
	var ids []uint32
	for i := range h.claims.length {
		if h.claims.at(i).server == number {
			ids = append(ids, i)
		}
	}
	slices.SortStableFunc(ids, func(a, b uint32) int { return cmp.Compare(h.claims.at(a).asked, h.claims.at(b).asked) })
	s := newSlot(h, rules, slices.Clone(ids))
	lanes := make([]Lane, len(ids))
	for i, id := range ids {
		lanes[i] = s.lane(id)
	}
	return lanes
}

// EachLane calls visit with what can be concluded about each claim, slot by slot. It takes as long as Check.
func EachLane(h *History, rules Rules, visit func(Lane)) {
	h.bySlot(func(_ uint32, ids []uint32) {
		s := newSlot(h, rules, slices.Clone(ids))
		for _, id := range ids {
			visit(s.lane(id))
		}
	})
}

// bySlot calls visit with the claims of each slot: a counting sort.
func (h *History) bySlot(visit func(server uint32, ids []uint32)) {
	first := make([]uint32, len(h.servers.all)+1)
	for i := range h.claims.length {
		first[h.claims.at(i).server+1]++
	}
	for i := range h.servers.all {
		first[i+1] += first[i]
	}
	ids, next := make([]uint32, h.claims.length), slices.Clone(first)
	for i := range h.claims.length {
		server := h.claims.at(i).server
		ids[next[server]] = i
		next[server]++
	}
	for server := range h.servers.all {
		visit(uint32(server), ids[first[server]:first[server+1]])
	}
}
