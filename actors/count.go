package actors

import (
	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
)

// count counts what a decision says of attempts to upgrade: each is decided once (docs/protocol.md 8). A claim that left before its
// answer was none.
func count(c *tally.Counts, e *slots.Entry) {
	attempt := func(at tally.Endpoint, o tally.Outcome) { c.Attempts[at][o].Add(1) }
	switch e.Decided {
	case slots.Granted:
		attempt(tally.Server, tally.Accept)
	case slots.TookOver:
		attempt(tally.Server, tally.Accept)
		c.Takeovers.Add(1)
	case slots.Refused:
		attempt(tally.Server, tally.Reject409)
	case slots.Evicted:
		attempt(tally.Server, tally.RejectCapacity)
	case slots.Withdrawn:
		if e.Why == slots.ShuttingDown {
			attempt(tally.Server, tally.RejectCapacity)
		}
	case slots.Freed:
		if e.Why == slots.GraceRanOut {
			c.GraceExpiries.Add(1)
		}
	case slots.Attached, slots.Parked:
		attempt(tally.Client, tally.Accept)
	case slots.TurnedAway:
		switch e.Why {
		case slots.NobodyHolds:
			attempt(tally.Client, tally.Reject404)
		case slots.NoPlace:
			attempt(tally.Client, tally.Reject429)
		default:
			attempt(tally.Client, tally.RejectCapacity)
		}
	case slots.Failed:
		switch e.Asked {
		case slots.AskedClaim:
			attempt(tally.Server, tally.RejectCapacity)
		case slots.AskedJoin:
			attempt(tally.Client, tally.RejectCapacity)
		}
	}
}

// probeResults names the ends of probes as they are counted.
var probeResults = [...]tally.ProbeResult{
	slots.ProbeAnswered: tally.ProbeAnswered, slots.ProbeExpired: tally.ProbeExpired, slots.ProbeAbandoned: tally.ProbeAbandoned,
}

func (r *registry) probed(p slots.Probed) {
	r.counts.Probes[probeResults[p.How]].Add(1)
	if p.How == slots.ProbeAnswered {
		r.counts.ProbeTrip.Observe(p.Trip)
	}
}
