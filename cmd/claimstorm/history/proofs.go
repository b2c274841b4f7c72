package history

import (
	"cmp"
	"slices"
	"time"
)

// proofs are the answers of those who may have held, in the order in which their pings were read.
type proofs struct {
	spans   []span
	answers []answer
	soonest []time.Duration // the first pong that was sent to this ping or a later one
	// oldest is a tree of the least span, made when it is first needed: a correct relay hardly ever has one ask for it. The answers are
	// its leaves, at len(answers) and on; i is above 2i and 2i+1.
	oldest []uint32
}

// answer is a ping that a span read and answered.
type answer struct {
	pinged time.Duration
	span   uint32 // a place among the spans: the less, the sooner it asked
}

func (s *slot) newProofs() *proofs {
	f := &proofs{spans: s.spans, answers: make([]answer, 0, s.answered(func(int, *Pong) {}))}
	s.answered(func(i int, pong *Pong) { f.answers = append(f.answers, answer{pong.Pinged, uint32(i)}) })
	slices.SortFunc(f.answers, func(a, b answer) int {
		return cmp.Or(cmp.Compare(a.pinged, b.pinged), cmp.Compare(a.span, b.span))
	})
	n := len(f.answers)
	f.soonest = make([]time.Duration, n+1)
	for i := range f.soonest {
		f.soonest[i] = never
	}
	s.answered(func(i int, pong *Pong) {
		at := &f.soonest[f.from(pong.Pinged-1)]
		*at = min(*at, pong.Sent)
	})
	for i := n - 1; i >= 0; i-- {
		f.soonest[i] = min(f.soonest[i], f.soonest[i+1])
	}
	return f
}

// answered visits every ping that was answered by one who may have held then, and counts them.
func (s *slot) answered(visit func(span int, pong *Pong)) (n int) {
	for i := range s.spans {
		p := &s.spans[i]
		r := s.h.hold(p.id)
		for j := range r.pongs {
			if pong := s.h.pongs.at(r.pong + j); pong.Sent != 0 && pong.Pinged >= p.from && pong.Pinged <= p.until {
				visit(i, pong)
				n++
			}
		}
	}
	return n
}

// from is the place of the first ping that was read later than t.
func (f *proofs) from(t time.Duration) int {
	i, _ := slices.BinarySearchFunc(f.answers, t+1, func(a answer, t time.Duration) int { return cmp.Compare(a.pinged, t) })
	return i
}

// find looks for an answer that can have refused a claim: to a ping that was read after it asked, and sent before its refusal was
// read. by is a span that gave one, which asked no later than came if any of them did, and -1 where nobody gave one.
func (f *proofs) find(asked, refused, came time.Duration) (by int) {
	i := f.from(asked)
	if f.soonest[i] > refused {
		return -1
	}
	if first := f.answers[i].span; f.spans[first].asked <= came {
		return int(first)
	}
	return f.least(i, f.from(refused))
}

// least is the span that asked first of those that gave an answer from i up to end.
func (f *proofs) least(i, end int) int {
	n := len(f.answers)
	if f.oldest == nil {
		f.oldest = make([]uint32, 2*n)
		for i, a := range f.answers {
			f.oldest[n+i] = a.span
		}
		for i := n - 1; i > 0; i-- {
			f.oldest[i] = min(f.oldest[2*i], f.oldest[2*i+1])
		}
	}
	least := f.answers[i].span
	for i, end = i+n, end+n; i < end; i, end = i/2, end/2 {
		if i%2 == 1 {
			least = min(least, f.oldest[i])
			i++
		}
		if end%2 == 1 {
			end--
			least = min(least, f.oldest[end])
		}
	}
	return int(least)
}
