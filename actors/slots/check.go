package slots

import (
	"fmt"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Check says whether every slot is as it must be between two messages.
func (m *Machine) Check() error {
	for place, id := range m.names {
		s, ok := m.One(id)
		if !ok || s.place != place {
			return fmt.Errorf("slots: %s: is at place %d, and says %d", id, place, s.place)
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	if len(m.names) != len(m.slots) {
		return fmt.Errorf("slots: %d slots at %d places", len(m.slots), len(m.names))
	}
	return nil
}

// check panics where a slot is not as it must be. It runs after every message, so it looks at both ends of the line only.
func (s *slot) check() {
	n := len(s.waiting)
	if n == 0 {
		return
	}
	switch first, last := &s.waiting[0], &s.waiting[n-1]; {
	case !s.held():
		broken("%s: nobody holds it while %d claims wait", s.id, n)
	case !s.probe.out && !s.probe.due:
		broken("%s: %d claims wait, and no probe is out or due", s.id, n)
	case first.needs > last.needs:
		broken("%s: the line is out of order: the first needs probe %d, the last %d", s.id, first.needs, last.needs)
	case last.needs > s.probe.number+1:
		broken("%s: %s needs probe %d, but the last was %d", s.id, last.conn, last.needs, s.probe.number)
	case first.token == s.holder.token:
		broken("%s: %s waits for itself", s.id, first.conn)
	}
}

func broken(format string, args ...any) { panic("slots: " + fmt.Sprintf(format, args...)) }

// Failure is the entry for a message whose handling panicked: nothing was changed by it.
func Failure(now time.Time, m messages.ToRegistry) Entry {
	e := Entry{Time: now, Asked: askedBy(m), Decided: Failed, Why: Panicked}
	switch m := m.(type) {
	case messages.Claim:
		e.Server, e.Conn, e.Remote = m.Server, m.Conn, m.Remote
	case messages.Withdraw:
		e.Server = m.Server
	case messages.Release:
		e.Server, e.Epoch = m.Server, m.Epoch
	case messages.ProbeAnswered:
		e.Server, e.Epoch, e.Probe = m.Server, m.Epoch, m.Probe
	case messages.ProbeExpired:
		e.Server, e.Epoch, e.Probe = m.Server, m.Epoch, m.Probe
	case messages.ProbeDue:
		e.Server, e.Probe = m.Server, m.Probe
	case messages.GraceExpired:
		e.Server, e.Epoch = m.Server, m.Epoch
	case messages.Join:
		e.Server, e.Conn, e.Remote, e.Device = m.Server, m.Conn, m.Remote, m.Device
	case messages.Leave:
		e.Server = m.Server
	case messages.OperatorRelease:
		e.Server = m.Server
	case messages.ShutDown:
	}
	return e
}

// askedBy names the message.
func askedBy(m messages.ToRegistry) Asked {
	switch m.(type) {
	case messages.Claim:
		return AskedClaim
	case messages.Withdraw:
		return AskedWithdraw
	case messages.Release:
		return AskedRelease
	case messages.ProbeAnswered:
		return AskedProbeAnswered
	case messages.ProbeExpired:
		return AskedProbeExpired
	case messages.ProbeDue:
		return AskedProbeDue
	case messages.GraceExpired:
		return AskedGraceExpired
	case messages.ShutDown:
		return AskedShutDown
	case messages.Join:
		return AskedJoin
	case messages.Leave:
		return AskedLeave
	case messages.OperatorRelease:
		return AskedOperatorRelease
	}
	panic(fmt.Sprintf("slots: no name for %T", m))
}
