package history

import (
	"cmp"
	"slices"
	"time"
)

// window is a span's from, and the last until of all spans that begin there or before: whether somebody may have held between two
// moments is a look at one window. The second is the last until of the others than who.
type window struct {
	from, until, second time.Duration
	who                 uint32 // a place among the spans
}

func newWindows(spans []span) []window {
	w := make([]window, 0, len(spans))
	for i := range spans {
		if p := &spans[i]; p.from <= p.until {
			w = append(w, window{p.from, p.until, -1, uint32(i)})
		}
	}
	slices.SortFunc(w, func(a, b window) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.who, b.who)) })
	for i := 1; i < len(w); i++ {
		last, this := w[i-1], &w[i]
		if this.until >= last.until {
			this.second = last.until
		} else {
			this.until, this.who, this.second = last.until, last.who, max(last.second, this.until)
		}
	}
	return w
}

// mayHaveHeld reports whether some claim may have held at a moment between the two, except the span besides (-1: none).
func (s *slot) mayHaveHeld(from, until time.Duration, besides int) bool {
	i, _ := slices.BinarySearchFunc(s.windows, until+1, func(w window, t time.Duration) int { return cmp.Compare(w.from, t) })
	if i == 0 {
		return false
	}
	w := s.windows[i-1]
	if int(w.who) == besides {
		return w.second >= from
	}
	return w.until >= from
}
