package history

import (
	"fmt"
	"time"
)

// Rules are the times that the relay was configured with, and how late a thing may be.
type Rules struct {
	Grace            time.Duration // how long a released slot is kept; 0 frees it at once
	ProbeTimeout     time.Duration // how long a probe may stay unanswered
	ProbeInterval    time.Duration // the least time between two probes of one slot
	HeartbeatTimeout time.Duration // how long a ping to an idle connection may stay unanswered; 0 if the relay sends none

	// Slack is how long what leaves one side may take to be handled on the other, there and back: DefaultSlack, and whatever the
	// tool itself was seen to stall. A larger one overlooks more, a smaller one accuses the relay of the machine's sins.
	Slack time.Duration

	// Shutdown is when the relay was told to end: from then on it grants nothing, and closing with 1001 is no fault. 0 is never.
	Shutdown time.Duration

	// Skew is how far the journal's clock, moved onto the run's, may be off: 0 only where both are of one machine and were read together.
	Skew time.Duration
}

// DefaultSlack is what the relay has for everything but waiting for a holder.
const DefaultSlack = 200 * time.Millisecond

// Validate says which rule makes no sense.
func (r Rules) Validate() error {
	for _, v := range []struct {
		name  string
		is    time.Duration
		least time.Duration
		want  string
	}{
		{"grace", r.Grace, 0, "0 or more"},
		{"probe timeout", r.ProbeTimeout, 1, "more than 0"},
		{"probe interval", r.ProbeInterval, 0, "0 or more"},
		{"heartbeat timeout", r.HeartbeatTimeout, 0, "0 (none) or more"},
		{"slack", r.Slack, 1, "more than 0, such as 200ms"},
		{"shutdown", r.Shutdown, 0, "0 (never) or more"},
		{"skew", r.Skew, 0, "0 or more"},
	} {
		if v.is < v.least {
			return fmt.Errorf("%s %s: want %s", v.name, v.is, v.want)
		}
	}
	return nil
}

// patience is the least that a ping must stay unanswered before its connection may be closed.
func (r Rules) patience() time.Duration {
	if r.HeartbeatTimeout > 0 {
		return min(r.ProbeTimeout, r.HeartbeatTimeout)
	}
	return r.ProbeTimeout
}
