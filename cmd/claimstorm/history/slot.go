package history

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const never = time.Duration(math.MaxInt64)

// slot is the claims of one server-id while they are judged.
type slot struct {
	h        *History
	rules    Rules
	refusals []uint32 // claims that were refused: they never held
	spans    []span   // the others, in the order in which they asked: they may have held
	sure     []uint32 // spans that surely held, in their order and disjoint: what clashes is in clashes instead
	clashes  []clash
	windows  []window
	waits    waits
}

// span is a claim that may have held, and when.
type span struct {
	id     uint32
	proven bool // that it held: something reached it that only a holder gets
	loose  bool // it clashes, so others' holds say nothing of when it held

	asked       time.Duration
	from, until time.Duration // outside of these it surely did not hold; from > until: it never did
	known, lost time.Duration // it surely held from known until lost, unless lost comes first
	quiet       time.Duration // when it read, or would have read, the first ping that it did not answer in time
	slowest     time.Duration // of its answers, up to the probe timeout
}

func (p *span) surely() bool { return p.known < p.lost }

// newSlot takes over ids, which are all claims of one slot.
func newSlot(h *History, rules Rules, ids []uint32) *slot {
	s := &slot{h: h, rules: rules}
	refused := 0
	for _, id := range ids {
		if h.refused(id) {
			refused++
		}
	}
	s.refusals, s.spans = ids[:0], make([]span, 0, len(ids)-refused) // never more of them than were read
	for _, id := range ids {
		if h.refused(id) {
			s.refusals = append(s.refusals, id)
		} else {
			s.spans = append(s.spans, s.read(id))
		}
	}
	slices.SortFunc(s.spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.asked, b.asked), cmp.Compare(a.id, b.id))
	})
	s.waits = newWaits(s.spans, rules)
	for i := range s.spans {
		s.countAsGranted(&s.spans[i])
	}
	s.order()
	s.narrow()
	s.windows = newWindows(s.spans)
	return s
}

// refused: it was closed with 4409, and nothing had reached it that only a holder gets.
func (h *History) refused(id uint32) bool {
	c := h.claims.at(id)
	return c.end == Closed && c.code == CodeClaimed && h.hold(id).held == 0
}

// read concludes from a claim alone when it may have held, and how long it did at least, if it did.
func (s *slot) read(id uint32) span {
	c, r := s.h.claims.at(id), s.h.hold(id)
	p := span{id: id, asked: c.asked, from: c.asked, known: never, quiet: never}
	if r.held != 0 {
		p.known, p.proven = r.held, true
	}
	if r.silent != 0 {
		p.quiet = r.silent
	}
	for i := range r.pongs {
		pong := s.h.pongs.at(r.pong + i)
		took := pong.Sent - pong.Pinged
		if pong.Sent == 0 || took > s.rules.patience()-2*s.rules.Slack {
			p.quiet = min(p.quiet, pong.Pinged)
		}
		if pong.Sent != 0 { // and it may have come in time all the same
			p.slowest = max(p.slowest, min(took, s.rules.ProbeTimeout))
		}
	}
	switch s.h.ending(id) {
	case Open: // it may have begun to leave, though
		p.lost, p.until = cmp.Or(r.leaving, never), never
	case Left: // the answer to its close frame says that its end was heard of
		p.lost, p.until = r.leaving, c.ended
	case Dropped:
		p.lost, p.until = r.leaving, c.ended+s.rules.Slack
	case Closed, Cut:
		p.lost, p.until = c.asked, c.ended
		if s.rules.Slack >= s.rules.patience() { // a ping that it had yet to read may have run out
			p.quiet = min(p.quiet, c.ended)
		}
		if s.excused(&p) {
			p.lost = c.ended
		}
	}
	p.lost = min(p.lost, s.patient(&p))
	if s.rules.Shutdown != 0 {
		p.lost = min(p.lost, s.rules.Shutdown)
	}
	return p
}

// ending is how a claim ended. Whatever the relay sends to one that is leaving says nothing, but that it was refused before.
func (h *History) ending(id uint32) End {
	c := h.claims.at(id)
	if c.end != Open && c.end != Left && h.hold(id).leaving != 0 {
		return Dropped
	}
	return c.end
}

// hold is the part of a claim that most refused ones do not have.
func (h *History) hold(id uint32) hold {
	if n := h.claims.at(id).hold; n != 0 {
		return *h.holds.at(n - 1)
	}
	return hold{}
}

// patient is the least time until which a relay must have borne with p's silence. The ping may have left a slack before p read it.
func (s *slot) patient(p *span) time.Duration {
	if p.quiet == never {
		return never
	}
	return p.quiet + s.rules.patience() - s.rules.Slack
}

// excused: the relay ended the connection, and had reason to.
func (s *slot) excused(p *span) bool {
	c := s.h.claims.at(p.id)
	timeout := c.end == Cut || c.code == CodeInternal && s.h.reason(c) == ReasonTimeout
	return timeout && c.ended >= s.patient(p) || s.goingAway(c)
}

func (s *slot) goingAway(c *packed) bool {
	return s.rules.Shutdown != 0 && c.ended >= s.rules.Shutdown &&
		(c.end == Cut || c.code == CodeGoingAway && s.h.reason(c) == ReasonGoingAway)
}

func (h *History) reason(c *packed) string { return h.reasons.all[c.reason] }

// countAsGranted: a claim that was not refused within the longest wait for a refusal must have been granted.
func (s *slot) countAsGranted(p *span) {
	c, r := s.h.claims.at(p.id), s.h.hold(p.id)
	if c.upgraded == 0 {
		return // it could not have read a refusal
	}
	watched := min(c.ended, p.quiet) // it would have seen its refusal until then
	if r.leaving != 0 {
		watched = min(watched, r.leaving)
	}
	if s.rules.Shutdown != 0 {
		watched = min(watched, s.rules.Shutdown)
	}
	if by := s.waits.deadline(c) - p.cost(s.rules); by <= watched { // it did not wait for itself
		p.known = min(p.known, by)
	}
}

// order puts what surely held in the only order that it can have had, and finds what overlaps.
func (s *slot) order() {
	for i := range s.spans {
		if s.spans[i].surely() {
			s.sure = append(s.sure, uint32(i))
		}
	}
	slices.SortFunc(s.sure, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(s.spans[a].known, s.spans[b].known), cmp.Compare(a, b))
	})
	kept := s.sure[:0]
	for _, i := range s.sure {
		if len(kept) == 0 {
			kept = append(kept, i)
			continue
		}
		last := kept[len(kept)-1]
		a, b := &s.spans[last], &s.spans[i]
		if b.known >= a.lost {
			kept = append(kept, i)
			continue
		}
		a.loose, b.loose = true, true
		s.clashes = append(s.clashes, clash{last, i})
		if b.proven && !a.proven || a.proven == b.proven && b.lost > a.lost {
			kept[len(kept)-1] = i // against whom later ones are held
		}
	}
	s.sure = kept
}

// narrow takes from the time in which a span may have held what others surely held. One that held before another surely did must
// have ended before, too: whoever was still there after the other's hold had begun can have held only after it.
func (s *slot) narrow() {
	for i := range s.spans {
		p := &s.spans[i]
		if p.loose {
			continue
		}
		end := p.lost
		if p.surely() {
			end = p.known
		}
		after, _ := slices.BinarySearchFunc(s.sure, end, func(j uint32, t time.Duration) int { return cmp.Compare(s.spans[j].known, t) })
		if after > 0 {
			p.from = max(p.from, s.spans[s.sure[after-1]].lost)
		}
		if p.surely() && after+1 < len(s.sure) {
			p.until = min(p.until, s.spans[s.sure[after+1]].known)
		}
	}
}

// lane is what is concluded about a claim.
func (s *slot) lane(id uint32) Lane {
	l := Lane{Claim: s.h.unpack(id)}
	i, is := s.find(id)
	if !is {
		return l
	}
	p := &s.spans[i]
	if p.from <= p.until {
		l.MayFrom, l.MayUntil = p.from, min(p.until, l.Ended)
	}
	if p.surely() {
		l.SureFrom, l.SureUntil = p.known, min(p.lost, l.Ended)
	}
	return l
}

// find is the place of a claim among the spans.
func (s *slot) find(id uint32) (int, bool) {
	c := s.h.claims.at(id)
	return slices.BinarySearchFunc(s.spans, span{asked: c.asked, id: id}, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.asked, b.asked), cmp.Compare(a.id, b.id))
	})
}
