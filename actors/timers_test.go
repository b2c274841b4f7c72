package actors

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestTimersComeInOrderAndInTime: whatever the order in which they are armed, also from within what a timer says.
func TestTimersComeInOrderAndInTime(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		begin, rings := time.Now(), make(chan struct{}, 1)
		timers := timers{ring: func() { rings <- struct{}{} }}
		rng := rand.New(rand.NewPCG(1, 2))
		armed, said := 0, 0
		arm := func() {
			now := time.Now()
			timers.arm(now.Add(time.Duration(rng.IntN(20))*time.Second), messages.ProbeDue{Probe: messages.ProbeNumber(armed)}, now)
			armed++
		}
		for range 200 {
			arm()
		}
		at := map[messages.ProbeNumber]time.Time{}
		for _, due := range timers.heap {
			at[due.say.(messages.ProbeDue).Probe] = due.at
		}
		lastAt, lastProbe := begin, messages.ProbeNumber(-1)
		for said < armed {
			<-rings
			now := time.Now()
			for say, ok := timers.due(now); ok; say, ok = timers.due(now) {
				probe := say.(messages.ProbeDue).Probe
				if want, known := at[probe]; known && !now.Equal(want) {
					t.Errorf("timer %d comes at %v, want %v", probe, now.Sub(begin), want.Sub(begin))
				}
				if now.Equal(lastAt) && probe < lastProbe {
					t.Errorf("at %v: %d after %d, which was armed later", now.Sub(begin), probe, lastProbe)
				}
				lastAt, lastProbe = now, probe
				if said++; said < 50 {
					arm()
				}
			}
			timers.rang(now)
		}
		if !timers.set.IsZero() {
			t.Error("it will ring for nothing")
		}
	})
}

func TestStoppedTimersAreSilent(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		timers := timers{ring: func() { t.Error("it rang") }}
		timers.arm(time.Now().Add(time.Second), messages.ShutDown{}, time.Now())
		timers.stop()
		<-time.After(time.Minute)
	})
}
