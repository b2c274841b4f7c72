package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// clash is two spans that surely held at the same time.
type clash struct{ first, second uint32 }

// judge adds what is wrong with the slot to v, and what happened to its counts.
func (s *slot) judge(v *Verdict) {
	s.judgeHolds(v)
	s.judgeRefusals(v)
	s.judgeEnds(v)
	s.count(&v.Counts)
}

func (s *slot) judgeHolds(v *Verdict) {
	for _, c := range s.clashes {
		a, b := &s.spans[c.first], &s.spans[c.second]
		together := fmt.Sprintf("from %s to %s", at(b.known), at(min(a.lost, b.lost)))
		switch {
		case a.proven && !b.proven:
			s.accuse(v, Unanswered, fmt.Sprintf("%s was neither refused nor can it have been granted by %s: %s held the slot", s.who(b.id), at(b.known), s.who(a.id)), b.id, a.id)
		case b.proven && !a.proven:
			s.accuse(v, Unanswered, fmt.Sprintf("%s was neither refused by %s nor can it have been granted: %s held the slot %s", s.who(a.id), at(a.known), s.who(b.id), together), a.id, b.id)
		case b.asked >= a.known:
			s.accuse(v, GrantedInsideHold, fmt.Sprintf("%s asked at %s and held by %s, while %s held the slot since %s", s.who(b.id), at(b.asked), at(b.known), s.who(a.id), at(a.known)), b.id, a.id)
		default:
			s.accuse(v, TwoHolders, fmt.Sprintf("%s and %s both held the slot %s", s.who(a.id), s.who(b.id), together), a.id, b.id)
		}
	}
}

func (s *slot) judgeRefusals(v *Verdict) {
	if len(s.refusals) == 0 {
		return
	}
	proofs := s.newProofs()
	for _, id := range s.refusals {
		c := s.h.claims.at(id)
		came := min(c.upgraded+s.rules.Slack, c.ended) // the registry had it by then
		by := proofs.find(c.asked, c.ended, came)
		switch {
		case !s.mayHaveHeld(c.asked, came, -1):
			s.accuse(v, RefusedWhileFree, fmt.Sprintf("%s came between %s and %s, when nobody can have held the slot%s, and was refused at %s",
				s.who(id), at(c.asked), at(came), s.grace(c.asked), at(c.ended)), append([]uint32{id}, s.around(c.asked)...)...)
		case by < 0:
			s.accuse(v, RefusedWithoutProof, fmt.Sprintf("%s asked at %s and was refused at %s; meanwhile no holder read a ping and answered it", s.who(id), at(c.asked), at(c.ended)),
				append([]uint32{id}, s.around(c.asked)...)...)
		case s.spans[by].asked > came:
			s.accuse(v, Overtaken, fmt.Sprintf("%s had come by %s, and was refused at %s on a ping of %s, which asked at %s", s.who(id), at(came), at(c.ended),
				s.who(s.spans[by].id), at(s.spans[by].asked)), id, s.spans[by].id)
		}
		if latest := s.waits.deadline(c); c.ended > latest {
			s.accuse(v, LateAnswer, fmt.Sprintf("%s asked at %s and was refused at %s; the holders before it explain a wait until %s", s.who(id), at(c.asked), at(c.ended), at(latest)),
				append([]uint32{id}, s.around(c.asked)...)...)
		}
		if reason := s.h.reason(c); reason != ReasonClaimed {
			s.accuse(v, WrongAnswer, fmt.Sprintf("%s was refused with 4409 %q, not %q", s.who(id), reason, ReasonClaimed), id)
		}
	}
}

func (s *slot) judgeEnds(v *Verdict) {
	for i := range s.spans {
		p := &s.spans[i]
		if end := s.h.ending(p.id); end != Closed && end != Cut {
			continue
		}
		switch c := s.h.claims.at(p.id); {
		case s.excused(p) && (s.goingAway(c) || s.timedOut(p, c) || s.mayHaveHeld(p.quiet+s.rules.ProbeTimeout-s.rules.Slack, c.ended, i)):
		case s.excused(p):
			s.accuse(v, EvictedForNobody, fmt.Sprintf("%s fell silent at %s and was closed %s at %s, when nobody else can have held the slot", s.who(p.id), at(p.quiet), s.how(c), at(c.ended)), p.id)
		case p.known != never:
			s.accuse(v, CutOff, fmt.Sprintf("%s held the slot by %s, answered every ping%s, and was ended %s at %s", s.who(p.id), at(p.known), s.untilQuiet(p), s.how(c), at(c.ended)), p.id)
		default:
			s.accuse(v, WrongAnswer, fmt.Sprintf("%s asked at %s and was ended %s at %s", s.who(p.id), at(c.asked), s.how(c), at(c.ended)), p.id)
		}
	}
}

// how the relay ended it.
func (s *slot) how(c *packed) string {
	if c.end == Cut {
		return "without a close frame"
	}
	return fmt.Sprintf("with %d %q", c.code, s.h.reason(c))
}

// timedOut: the heartbeat alone explains the end, or the relay's giving up on a peer that took nothing.
func (s *slot) timedOut(p *span, c *packed) bool {
	return c.end == Cut || s.rules.HeartbeatTimeout > 0 && c.ended >= p.quiet+s.rules.HeartbeatTimeout-s.rules.Slack
}

func (s *slot) untilQuiet(p *span) string {
	if p.quiet == never {
		return ""
	}
	return " until " + at(p.quiet)
}

// grace says in a few words that the slot was in grace, where it surely was.
func (s *slot) grace(asked time.Duration) string {
	if p := s.before(asked); p != nil && p.lost+s.rules.Grace > asked && s.rules.Grace > 0 {
		return fmt.Sprintf(" (in grace since %s left)", s.who(p.id))
	}
	return ""
}

// before is the last one that surely held before t.
func (s *slot) before(t time.Duration) (last *span) {
	for _, id := range s.around(t) {
		if i, _ := s.find(id); s.spans[i].known <= t {
			last = &s.spans[i]
		}
	}
	return last
}

// around is the claims that surely held last before t, and first after it: what a picture needs.
func (s *slot) around(t time.Duration) (ids []uint32) {
	i, _ := slices.BinarySearchFunc(s.sure, t+1, func(j uint32, t time.Duration) int { return cmp.Compare(s.spans[j].known, t) })
	for _, j := range s.sure[max(0, i-1):min(i+1, len(s.sure))] {
		ids = append(ids, s.spans[j].id)
	}
	return ids
}

func (s *slot) accuse(v *Verdict, f Fault, what string, ids ...uint32) {
	violation := Violation{Fault: f, Server: s.h.servers.all[s.h.claims.at(ids[0]).server], What: what}
	for _, id := range ids {
		violation.Lanes = append(violation.Lanes, s.lane(id))
	}
	v.add(violation)
}

func (s *slot) count(n *Counts) {
	n.Refused += len(s.refusals)
	for i := range s.spans {
		p := &s.spans[i]
		switch {
		case p.proven:
			n.Granted, n.Proven = n.Granted+1, n.Proven+1
		case p.known != never:
			n.Granted++
		default:
			n.Unknown++
		}
	}
	for i := 1; i < len(s.sure); i++ {
		s.countSuccession(n, &s.spans[s.sure[i-1]], &s.spans[s.sure[i]])
	}
}

// countSuccession counts how the slot came from one holder to the next, where that is sure.
func (s *slot) countSuccession(n *Counts, was, is *span) {
	leaving := s.h.hold(was.id).leaving
	switch next := s.h.claims.at(is.id); {
	case leaving == 0 || leaving > is.known:
		if was.quiet != never {
			n.Takeovers++
		}
	case is.asked >= was.until && next.upgraded != 0 && next.upgraded <= was.lost+s.rules.Grace:
		n.GraceClaims++
	}
}

func (s *slot) who(id uint32) string { return fmt.Sprintf("c%d", s.h.claims.at(id).client) }

// at is a time as sentences print it.
func at(t time.Duration) string { return t.Round(time.Microsecond).String() }
