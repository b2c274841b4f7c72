package tally

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHistogramPutsEachDurationUnderItsBounds: it is counted under each bound that it is not above, and under no other.
func TestHistogramPutsEachDurationUnderItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.OneOf(rapid.Int64Range(-5, 5000), rapid.Int64()).Draw(t, "d"))
		var h Histogram
		h.Observe(d)
		count, sum, atMost := h.Read()
		if count != 1 || sum != max(d, 0).Seconds() || len(atMost) != buckets-1 {
			t.Fatalf("%v: %d of them, sum %v, %d bounds", d, count, sum, len(atMost))
		}
		for i := range buckets - 1 {
			bound := time.Microsecond << i
			if got, want := atMost[bound.Seconds()], uint64(0); d <= bound {
				if want = 1; got != want {
					t.Fatalf("%v is not counted as at most %v", d, bound)
				}
			} else if got != want {
				t.Fatalf("%v is counted as at most %v", d, bound)
			}
		}
	})
}

func TestFramesAddUp(t *testing.T) {
	var f Frames
	for key := range uint64(40) {
		f.Record(key, Direction(key%2), 10)
	}
	for d := range directions {
		if frames, bytes := f.Sum(d); frames != 20 || bytes != 200 {
			t.Errorf("%s: %d frames of %d bytes", d, frames, bytes)
		}
	}
}

// BenchmarkRecordFrame: what it costs to count a frame, on one core, and on all of them at once in different connections.
func BenchmarkRecordFrame(b *testing.B) {
	var f Frames
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Record(7, PhoneToBinary, 100)
		}
	})
	b.Run("all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for key := uint64(time.Now().UnixNano()) / 100; pb.Next(); {
				f.Record(key, PhoneToBinary, 100)
			}
		})
	})
}
