package report

import (
	"cmp"
	"encoding/json"
	"io"
	"math"
	"slices"
	"time"
)

// The most that JSON and HTML tell of a run. LeftOut says what they dropped.
const (
	MaxTimelines  = 16  // those with violations first, then those with the most claims
	MaxLanes      = 60  // of a timeline: those with violations first, then the earliest
	MaxViolations = 50  // the first ones
	maxPoints     = 400 // of claims over time and of rounds: neighbours are added up
)

// JSON writes the result as one object. Durations are nanoseconds.
func JSON(w io.Writer, r *Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(bounded(r))
}

// bounded is a copy of r that keeps to the bounds above.
func bounded(r *Result) *Result {
	b := *r
	b.Command, b.Why, b.Checks, b.Counters, b.Latencies = list(r.Command), list(r.Why), list(r.Checks), list(r.Counters), list(r.Latencies)
	b.Violations = list(r.Violations[:min(len(r.Violations), MaxViolations)])
	b.LeftOut.Violations += len(r.Violations) - len(b.Violations)

	clash := map[string]map[string]bool{} // by server-id, the lanes that a violation names
	for _, v := range r.Violations {
		if clash[v.ID] == nil {
			clash[v.ID] = map[string]bool{}
		}
		for _, who := range v.Lanes {
			clash[v.ID][who] = true
		}
	}
	b.Timelines = list(r.Timelines)
	slices.SortStableFunc(b.Timelines, func(x, y Timeline) int {
		return cmp.Or(cmp.Compare(len(clash[y.ID]), len(clash[x.ID])), cmp.Compare(len(y.Lanes), len(x.Lanes)))
	})
	b.Timelines = b.Timelines[:min(len(b.Timelines), MaxTimelines)]
	b.LeftOut.Timelines += len(r.Timelines) - len(b.Timelines)
	for i, t := range b.Timelines {
		b.Timelines[i].Lanes = firstLanes(t.Lanes, clash[t.ID])
		b.LeftOut.Lanes += len(t.Lanes) - len(b.Timelines[i].Lanes)
	}
	b.Claims = thin(r.Claims, func(sum *Sample, next Sample) {
		sum.At, sum.Holding = next.At, next.Holding
		sum.Asked, sum.Granted, sum.Refused = sum.Asked+next.Asked, sum.Granted+next.Granted, sum.Refused+next.Refused
		sum.TookOver, sum.Failed = sum.TookOver+next.TookOver, sum.Failed+next.Failed
	})
	b.Rounds = thin(r.Rounds, func(sum *Round, next Round) {
		sum.Granted, sum.TookOver, sum.Refused = sum.Granted+next.Granted, sum.TookOver+next.TookOver, sum.Refused+next.Refused
		sum.Wrong, sum.Unanswered, sum.Unreached = sum.Wrong+next.Wrong, sum.Unanswered+next.Unanswered, sum.Unreached+next.Unreached
	})
	return &b
}

// list is a copy that is never null in JSON.
func list[T any](s []T) []T { return append([]T{}, s...) }

// firstLanes keeps MaxLanes, those that clash among them, in their order.
func firstLanes(lanes []Lane, clash map[string]bool) []Lane {
	spare := MaxLanes
	for _, lane := range lanes {
		if clash[lane.Who] {
			spare--
		}
	}
	kept := []Lane{}
	for _, lane := range lanes {
		switch {
		case len(kept) == MaxLanes:
		case clash[lane.Who]:
			kept = append(kept, lane)
		case spare > 0:
			kept = append(kept, lane)
			spare--
		}
	}
	return kept
}

// thin adds neighbours up until maxPoints are left.
func thin[T any](points []T, add func(sum *T, next T)) []T {
	each := (len(points) + maxPoints - 1) / maxPoints
	sums := []T{}
	for i, p := range points {
		if i%max(each, 1) == 0 {
			sums = append(sums, p)
		} else {
			add(&sums[len(sums)-1], p)
		}
	}
	return sums
}

// point of a percentile curve: one wait in so many was longer.
type point struct {
	OneIn float64       `json:"one_in"`
	Wait  time.Duration `json:"ns"`
}

// curve follows a distribution into its tail, eight points to a factor of ten, down to the one longest wait.
func (l Latency) curve() []point {
	points, total := []point{}, float64(l.Histogram.TotalCount())
	for k := 0.0; ; k++ {
		oneIn := math.Pow(10, k/8)
		if oneIn >= total {
			break
		}
		points = append(points, point{oneIn, time.Duration(l.Histogram.ValueAtPercentile(100 - 100/oneIn))})
	}
	if total > 0 {
		points = append(points, point{total, time.Duration(l.Histogram.Max())})
	}
	return points
}

// MarshalJSON tells the distribution by its percentiles and its curve.
func (l Latency) MarshalJSON() ([]byte, error) {
	h := l.Histogram
	if h == nil {
		h = NewHistogram()
	}
	at := func(p float64) time.Duration { return time.Duration(h.ValueAtPercentile(p)) }
	return json.Marshal(struct {
		Name      string        `json:"name"`
		Corrected bool          `json:"corrected"`
		Count     int64         `json:"count"`
		Mean      time.Duration `json:"mean_ns"`
		P50       time.Duration `json:"p50_ns"`
		P90       time.Duration `json:"p90_ns"`
		P99       time.Duration `json:"p99_ns"`
		P999      time.Duration `json:"p99_9_ns"`
		Max       time.Duration `json:"max_ns"`
		Curve     []point       `json:"curve"`
	}{l.Name, l.Corrected, h.TotalCount(), time.Duration(h.Mean()), at(50), at(90), at(99), at(99.9), at(100), Latency{Histogram: h}.curve()})
}
