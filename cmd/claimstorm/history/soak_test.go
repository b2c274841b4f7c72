//go:build unix

package history

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// TestTenMillionClaims are judged in 10 s and 1 GiB, the history itself included. What counts is the time of the processor: the machine may be busy
// with something else.
func TestTenMillionClaims(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("a long test: SOAK=1 runs it")
	}
	const limit = 1 << 30
	for _, slots := range []int{1, 1000} {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
		h, rules := crowd(10_000_000, slots)
		runtime.GC()
		began := processorTime(t)
		v := Check(h, nil, rules)
		took := processorTime(t) - began
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d claims in %d slots: %s, %d MiB from the system, %+v", h.Len(), slots, took.Round(time.Millisecond), (m.Sys-m.HeapReleased)>>20, v.Counts)
		if !v.OK() {
			t.Errorf("accused: %s\n%s", v.Violations[0], v.Violations[0].Timeline())
		}
		if took > 10*time.Second || m.Sys-m.HeapReleased > limit {
			t.Errorf("%s and %d MiB: want 10 s and %d MiB", took, (m.Sys-m.HeapReleased)>>20, limit>>20)
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
