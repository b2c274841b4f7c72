package history

import (
	"cmp"
	"slices"
	"time"
)

// cost is how long p, as the holder, can keep a claim waiting until that is refused or p has lost the slot: the probe that is out
// is answered, the interval passes, and the next one is answered, or not. Nobody waits for p longer than p was there.
func (p *span) cost(r Rules) time.Duration {
	last := p.slowest
	if p.quiet != never {
		last = r.ProbeTimeout
	}
	return min(p.slowest+r.ProbeInterval+last+r.Slack, p.until-p.asked)
}

// waits answers how long a claim may have to wait: for all who may have held before it. The costs are summed up by when spans
// began, and by when they ended.
type waits struct {
	rules        Rules
	begun, ended []sum
}

// sum is the cost of all spans that began, or ended, at this time or before.
type sum struct{ at, cost time.Duration }

func newWaits(spans []span, rules Rules) waits {
	w := waits{rules, make([]sum, len(spans)), make([]sum, len(spans))}
	for i := range spans {
		cost := spans[i].cost(rules)
		w.begun[i], w.ended[i] = sum{spans[i].asked, cost}, sum{spans[i].until, cost}
	}
	slices.SortFunc(w.ended, func(a, b sum) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(spans); i++ {
		w.begun[i].cost += w.begun[i-1].cost
		w.ended[i].cost += w.ended[i-1].cost
	}
	return w
}

// deadline is when c must have read its refusal, if it is refused.
func (w *waits) deadline(c *packed) time.Duration {
	came := c.upgraded + w.rules.Slack
	return came + until(w.begun, came) - until(w.ended, c.asked-1)
}

// until is the cost of the spans at t or before.
func until(sums []sum, t time.Duration) time.Duration {
	i, _ := slices.BinarySearchFunc(sums, t+1, func(s sum, t time.Duration) int { return cmp.Compare(s.at, t) })
	if i == 0 {
		return 0
	}
	return sums[i-1].cost
}
