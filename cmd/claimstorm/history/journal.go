package history

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"
)

// ledger is what the journal says of one slot, as far as it has been read.
type ledger struct {
	known   bool // the journal has said who holds, or that nobody does
	holder  *Entry
	epoch   int64
	waiting map[string]*Entry // by conn
	tenures []tenure
	refused []time.Duration // when
}

// tenure is a grant and its end.
type tenure struct{ from, until time.Duration }

// judgeJournal holds the journal against itself, and gives what it says of each slot.
func judgeJournal(v *Verdict, journal []Entry) map[string]*ledger {
	ledgers := make(map[string]*ledger)
	for i := range journal {
		e := &journal[i]
		if i > 0 {
			judgeOrder(v, &journal[i-1], e)
		}
		l := ledgers[e.Server]
		if l == nil {
			l = &ledger{known: journal[0].Seq == 1, waiting: make(map[string]*Entry)}
			ledgers[e.Server] = l
		}
		l.take(v, e)
	}
	return ledgers
}

func judgeOrder(v *Verdict, last, e *Entry) {
	switch {
	case e.Seq != last.Seq+1:
		v.add(Violation{Fault: JournalOrder, What: fmt.Sprintf("entry %d follows entry %d", e.Seq, last.Seq), Entries: []Entry{*last, *e}})
	case e.Time < last.Time:
		v.add(Violation{Fault: JournalOrder, What: fmt.Sprintf("entry %d is of %s, and the one before it of %s", e.Seq, at(e.Time), at(last.Time)), Entries: []Entry{*last, *e}})
	}
}

// take follows one decision.
func (l *ledger) take(v *Verdict, e *Entry) {
	switch e.Decided {
	case "granted", "took_over":
		l.grant(v, e)
	case "waiting":
		if l.known && l.holder == nil {
			l.accuse(v, JournalHolders, e, nil, "has %s wait, though nobody holds the slot", e.Conn)
		}
		l.waiting[e.Conn] = e
	case "refused":
		l.refuse(v, e)
	case "withdrawn":
		delete(l.waiting, e.Conn)
	case "released":
		if l.known && (l.holder == nil || l.holder.Conn != e.Conn || l.holder.Epoch != e.Epoch) {
			l.accuse(v, JournalHolders, e, l.holder, "releases the slot from %s with epoch %d, which does not hold it", e.Conn, e.Epoch)
		}
		l.vacate(e.Time)
	case "freed":
		if l.known && l.holder != nil {
			l.accuse(v, JournalHolders, e, l.holder, "frees the slot while %s holds it", l.holder.Conn)
		}
		l.vacate(e.Time)
	}
}

func (l *ledger) vacate(at time.Duration) {
	if l.holder != nil {
		l.tenures[len(l.tenures)-1].until = at
	}
	l.holder, l.known = nil, true
}

func (l *ledger) grant(v *Verdict, e *Entry) {
	if e.Decided == "granted" && l.holder != nil {
		l.accuse(v, JournalHolders, e, l.holder, "grants the slot to %s while %s holds it", e.Conn, l.holder.Conn)
	}
	if e.Decided == "took_over" && l.known && l.holder == nil {
		l.accuse(v, JournalHolders, e, nil, "has %s take the slot over from nobody", e.Conn)
	}
	if e.Epoch <= l.epoch {
		l.accuse(v, JournalOrder, e, nil, "grants epoch %d after epoch %d", e.Epoch, l.epoch)
	}
	l.vacate(e.Time)
	delete(l.waiting, e.Conn)
	l.holder, l.epoch = e, e.Epoch
	l.tenures = append(l.tenures, tenure{e.Time, never})
}

func (l *ledger) refuse(v *Verdict, e *Entry) {
	came := l.waiting[e.Conn]
	switch p := e.Proof; {
	case p == nil:
		l.accuse(v, JournalProof, e, came, "refuses %s without a proof", e.Conn)
	case came == nil && l.known:
		l.accuse(v, JournalProof, e, nil, "refuses %s, which does not wait", e.Conn)
	case came != nil && p.Sent < came.Time:
		l.accuse(v, JournalProof, e, came, "refuses %s on a ping of %s, which is older than its claim of %s", e.Conn, at(p.Sent), at(came.Time))
	case p.Answered < p.Sent || p.Answered > e.Time:
		l.accuse(v, JournalProof, e, came, "refuses %s on a ping of %s that was answered at %s", e.Conn, at(p.Sent), at(p.Answered))
	case l.known && (l.holder == nil || l.holder.Conn != p.Conn):
		l.accuse(v, JournalProof, e, l.holder, "refuses %s on an answer of %s, which does not hold the slot", e.Conn, p.Conn)
	}
	delete(l.waiting, e.Conn)
	l.refused = append(l.refused, e.Time)
}

// accuse says what entry e does wrong, and which other one shows it.
func (l *ledger) accuse(v *Verdict, f Fault, e, other *Entry, format string, args ...any) {
	violation := Violation{Fault: f, Server: e.Server, What: fmt.Sprintf("entry %d of %s ", e.Seq, at(e.Time)) + fmt.Sprintf(format, args...)}
	if other != nil {
		violation.Entries = append(violation.Entries, *other)
	}
	violation.Entries = append(violation.Entries, *e)
	v.add(violation)
}

// judgeLedger holds what the journal says of the slot against what the clients saw.
func (s *slot) judgeLedger(v *Verdict, l *ledger) {
	s.judgeTenures(v, l)
	s.judgeRefused(v, l)
}

// judgeTenures: whoever surely held did so in one tenure, and in one of its own.
func (s *slot) judgeTenures(v *Verdict, l *ledger) {
	last := -1
	for i, j := range s.sure {
		p := &s.spans[j]
		from, until := p.known+s.rules.Skew, p.lost-s.rules.Skew
		if p.lost == never {
			until = s.h.claims.at(p.id).ended - s.rules.Skew
		}
		if from >= until {
			continue
		}
		n, _ := slices.BinarySearchFunc(l.tenures, from+1, func(t tenure, at time.Duration) int { return cmp.Compare(t.from, at) })
		switch n--; {
		case n < 0 || l.tenures[n].until < until:
			s.accuse(v, JournalDisagrees, fmt.Sprintf("%s held the slot from %s to %s; in the journal nobody held it all that time", s.who(p.id), at(from), at(until)), p.id)
		case n == last:
			other := s.spans[s.sure[i-1]].id
			s.accuse(v, JournalDisagrees, fmt.Sprintf("%s and %s held the slot one after the other; in the journal one did all that time", s.who(other), s.who(p.id)), other, p.id)
		}
		last = n
	}
}

// judgeRefused: every claim that was refused finds an entry of its own that refuses between its asking and its end. Each entry goes
// to the claim that ends first of those that were there, which leaves the most for the others.
func (s *slot) judgeRefused(v *Verdict, l *ledger) {
	byAsked := slices.Clone(s.refusals)
	slices.SortFunc(byAsked, func(a, b uint32) int { return cmp.Compare(s.h.claims.at(a).asked, s.h.claims.at(b).asked) })
	open := &byEnd{h: s.h}
	missing := func(until time.Duration) { // those that ended before it have none
		for len(open.ids) > 0 && s.h.claims.at(open.ids[0]).ended+s.rules.Skew < until {
			id := heap.Pop(open).(uint32)
			c := s.h.claims.at(id)
			s.accuse(v, JournalDisagrees, fmt.Sprintf("%s asked at %s and was refused at %s; the journal has no refusal for it in that time", s.who(id), at(c.asked), at(c.ended)), id)
		}
	}
	for _, when := range l.refused {
		for len(byAsked) > 0 && s.h.claims.at(byAsked[0]).asked-s.rules.Skew <= when {
			heap.Push(open, byAsked[0])
			byAsked = byAsked[1:]
		}
		missing(when)
		if len(open.ids) > 0 {
			heap.Pop(open) // else its claimant left, or fell silent, without reading it
		}
	}
	for _, id := range byAsked {
		heap.Push(open, id)
	}
	missing(never)
}

// byEnd is a heap of claims, those first that ended first.
type byEnd struct {
	h   *History
	ids []uint32
}

func (b *byEnd) Len() int { return len(b.ids) }
func (b *byEnd) Less(i, j int) bool {
	return b.h.claims.at(b.ids[i]).ended < b.h.claims.at(b.ids[j]).ended
}
func (b *byEnd) Swap(i, j int) { b.ids[i], b.ids[j] = b.ids[j], b.ids[i] }
func (b *byEnd) Push(id any)   { b.ids = append(b.ids, id.(uint32)) }
func (b *byEnd) Pop() any {
	last := b.ids[len(b.ids)-1]
	b.ids = b.ids[:len(b.ids)-1]
	return last
}
