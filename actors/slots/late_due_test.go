package slots

import (
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestLateProbeDueIsNotWaitedFor: the interval is over, a claim has the holder probed, and only then comes the ProbeDue that was
// armed for the interval. Found by the simulator of package actors (seed 2869): the line then waited for ever.
func TestLateProbeDueIsNotWaitedFor(t *testing.T) {
	m := New(start, Config{ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond})
	at := func(d time.Duration, msg messages.ToRegistry) []Effect { return m.Step(start.Add(d), msg) }
	claim := func(d time.Duration, who string, token messages.ClaimToken) {
		at(d, messages.Claim{Server: "alpha", From: messages.Address(who), Token: token, Conn: messages.ConnID(who)})
	}
	claim(0, "a", 1)
	claim(0, "b", 2) // probe 1
	at(0, messages.ProbeAnswered{Server: "alpha", Epoch: 1, Probe: 1})
	claim(0, "c", 3)                    // waits for the end of the interval: ProbeDue 1 is armed
	claim(200*time.Millisecond, "d", 4) // that is late: probe 2 goes out
	at(200*time.Millisecond, messages.ProbeDue{Server: "alpha", Probe: 1})
	// a leaves: c holds, and d waits for a probe of c, which is due when the interval after probe 2 is over.
	for _, e := range at(201*time.Millisecond, messages.Release{Server: "alpha", From: "a", Epoch: 1}) {
		if arm, ok := e.(Arm); ok && arm.Say == (messages.ProbeDue{Server: "alpha", Probe: 2}) {
			return
		}
	}
	t.Error("d waits, and nothing is armed that would have c probed")
}
