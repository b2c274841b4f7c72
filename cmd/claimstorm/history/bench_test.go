package history

import (
	"fmt"
	"testing"
	"time"
)

// crowd is a history of claims in slots: in each one after the other holds for a while, is asked about by six others, which are
// refused on the pongs it gives, and leaves, in turn cleanly, by reset, and by silence.
func crowd(claims, slots int) (*History, Rules) {
	h := &History{}
	rules := Rules{Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond, Slack: DefaultSlack}
	const us = time.Microsecond
	names := make([]string, slots)
	began := make([]time.Duration, slots)
	for i := range names {
		names[i], began[i] = fmt.Sprintf("home-%d", i), time.Duration(1+i)*us
	}
	for h.Len() < claims {
		slot := h.Len() / 7 % slots
		t, name := began[slot], names[slot]
		holder := Claim{Server: name, Client: h.Len() % 1000, Asked: t, Upgraded: t + 300*us, Held: t + 1100*us}
		for i := range 6 {
			asked := t + 900*us + time.Duration(i)*100*time.Millisecond
			h.Add(Claim{Server: name, Client: i, Asked: asked, Upgraded: asked + 300*us, Ended: asked + 700*us, End: Closed, Code: CodeClaimed, Reason: ReasonClaimed})
			holder.Pongs = append(holder.Pongs, Pong{asked + 500*us, asked + 510*us})
		}
		left := t + 700*time.Millisecond
		switch n := h.Len() / 7 / slots; {
		case n%3 == 0 || h.Len()+7*slots >= claims: // nobody comes to take over from the last
			holder.Leaving, holder.Ended, holder.End = left, left+400*us, Left
		case n%3 == 1:
			holder.Leaving, holder.Ended, holder.End = left, left+10*us, Dropped
		default:
			holder.Silent, holder.Ended, holder.End, holder.Code, holder.Reason = left, left+6*time.Second, Closed, CodeInternal, ReasonTimeout
			left += 5900 * time.Millisecond // the next one is there
		}
		h.Add(holder)
		began[slot] = left + 500*us
	}
	return h, rules
}

// BenchmarkCheck asks what it takes to judge a million claims.
func BenchmarkCheck(b *testing.B) {
	for _, slots := range []int{1, 1000} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			h, rules := crowd(1_000_000, slots)
			b.ReportAllocs()
			for b.Loop() {
				if v := Check(h, nil, rules); !v.OK() {
					b.Fatal(v.Violations[0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(h.Len()), "ns/claim")
		})
	}
}
