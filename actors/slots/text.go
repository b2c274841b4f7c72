package slots

import (
	"fmt"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Line is the one text form of a decision, in stories, simulations and replays. The time is given as what has passed since
// start.
func (e *Entry) Line(start time.Time) string {
	about := string(e.Conn)
	if about == "" {
		about = "-"
	}
	return fmt.Sprintf("#%d %s %s %s: %s %s e%d (%s)", e.Seq, e.Time.Sub(start), e.Server, e.Asked, about, e.Decided, e.Epoch, e.Reason())
}

// Text is the one text form of a message of the registry's, or of one that a timer carries.
func Text(m any) string {
	switch m := m.(type) {
	case messages.Granted:
		return fmt.Sprintf("Granted e%d", m.Epoch)
	case messages.Refused:
		return fmt.Sprintf("Refused, by %s's answer to probe %d", m.Proof.Conn, m.Proof.Probe)
	case messages.Probe:
		return fmt.Sprintf("Probe %d", m.Probe)
	case messages.Evicted:
		return fmt.Sprintf("Evicted, %d %s", m.Code, m.Reason)
	case messages.Attached:
		return fmt.Sprintf("Attached e%d", m.Epoch)
	case messages.Parked:
		return fmt.Sprintf("Parked e%d", m.Epoch)
	case messages.Settled:
		return "Settled"
	case messages.ProbeExpired:
		return fmt.Sprintf("ProbeExpired e%d probe %d", m.Epoch, m.Probe)
	case messages.ProbeDue:
		return fmt.Sprintf("ProbeDue after probe %d", m.Probe)
	case messages.GraceExpired:
		return fmt.Sprintf("GraceExpired e%d", m.Epoch)
	}
	return fmt.Sprintf("%T", m)
}
