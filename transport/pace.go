package transport

import (
	"context"
	"time"
)

// pace calls do for 0 to n-1, spread evenly over spread. Where it is late, as after a stall of the machine, it goes at most twice
// as fast: whoever is closed dials again at once, and what comes next must not get in a heap what was meant to be spread. When ctx is
// done it waits no more.
func pace(ctx context.Context, spread time.Duration, n int, do func(i int)) {
	began := time.Now()
	next := began
	for i := range n {
		wait(ctx, time.Until(next))
		do(i)
		next = began.Add(spread * time.Duration(i+1) / time.Duration(n))
		if soonest := time.Now().Add(spread / time.Duration(2*n)); soonest.After(next) {
			next = soonest
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
