package tally

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// buckets of a histogram: up to 1, 2, 4, ... microseconds, the last with a bound up to 33 seconds, and one beyond.
const buckets = 27

// Histogram counts durations by their magnitude. Its zero value is empty.
type Histogram struct {
	counts [buckets]atomic.Int64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts d; below 0 it is 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[min(bits.Len64(uint64(max(d-1, 0)/time.Microsecond)), buckets-1)].Add(1)
	h.sum.Add(int64(d))
}

// Read gives how many there were, their sum in seconds, and how many were not above each bound in seconds. Counts that are made
// meanwhile may be in one of these and not in another.
func (h *Histogram) Read() (count uint64, sum float64, atMost map[float64]uint64) {
	atMost = make(map[float64]uint64, buckets-1)
	for i := range h.counts {
		count += uint64(h.counts[i].Load())
		if i < buckets-1 {
			atMost[(time.Microsecond << i).Seconds()] = count
		}
	}
	return count, time.Duration(h.sum.Load()).Seconds(), atMost
}
