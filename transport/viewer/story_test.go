package viewer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// story is a slot machine that is told what happens, and the journal that comes of it.
type story struct {
	t       testing.TB
	m       *slots.Machine
	server  messages.ServerID
	now     time.Time
	armed   []slots.Arm
	epochs  map[messages.Address]messages.Epoch
	journal []slots.Entry
}

func tell(t testing.TB, server messages.ServerID) *story {
	return &story{t: t, server: server, now: start, epochs: map[messages.Address]messages.Epoch{}, m: slots.New(start, slots.Config{
		Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond, MaxPhones: 2,
	})}
}

func (s *story) step(m messages.ToRegistry) {
	for _, effect := range s.m.Step(s.now, m) {
		switch e := effect.(type) {
		case slots.Record:
			entry := *e.Entry
			entry.Seq = int64(len(s.journal) + 1)
			s.journal = append(s.journal, entry)
		case slots.Tell:
			if g, ok := e.Message.(messages.Granted); ok {
				s.epochs[e.To] = g.Epoch
			}
		case slots.Arm:
			s.armed = append(s.armed, e)
		}
	}
}

// at lets time pass, and what was armed fire on the way.
func (s *story) at(d time.Duration) *story {
	for {
		slices.SortStableFunc(s.armed, func(a, b slots.Arm) int { return a.At.Compare(b.At) })
		if len(s.armed) == 0 || s.armed[0].At.After(start.Add(d)) {
			s.now = start.Add(d)
			return s
		}
		next := s.armed[0]
		s.armed = s.armed[1:]
		s.now = next.At
		s.step(next.Say)
	}
}

func (s *story) conn(kind, who string) messages.ConnID {
	return messages.ConnID(fmt.Sprintf("%s-%s-%s", kind, s.server, who))
}

func (s *story) claims(names ...string) *story {
	for _, who := range names {
		s.step(messages.Claim{Server: s.server, From: messages.Address(who), Token: token(who), Conn: s.conn("server", who), Version: "1.4.2", Remote: "192.0.2.1"})
	}
	return s
}

func (s *story) joins(who, device string) *story {
	s.step(messages.Join{Server: s.server, From: messages.Address(who), Token: token(who), Conn: s.conn("client", who), Remote: "192.0.2.2", Device: device})
	return s
}

func (s *story) answers(who string, probe messages.ProbeNumber) *story {
	s.step(messages.ProbeAnswered{
		Server: s.server, Epoch: s.epochs[messages.Address(who)], Probe: probe, Sent: s.now.Add(-300 * time.Microsecond), Answered: s.now,
	})
	return s
}

func (s *story) releases(who string) *story {
	s.step(messages.Release{Server: s.server, From: messages.Address(who), Epoch: s.epochs[messages.Address(who)]})
	return s
}

func (s *story) withdraws(who string) *story {
	s.step(messages.Withdraw{Server: s.server, From: messages.Address(who), Token: token(who)})
	return s
}

func (s *story) leaves(who string) *story {
	s.step(messages.Leave{Server: s.server, From: messages.Address(who), Token: token(who)})
	return s
}

func (s *story) thrownOut() *story {
	s.step(messages.OperatorRelease{Server: s.server})
	return s
}

func (s *story) shutDown() *story {
	s.step(messages.ShutDown{})
	return s
}

// token tells short names apart.
func token(who string) (t messages.ClaimToken) {
	for _, c := range who {
		t = t<<8 | messages.ClaimToken(c)
	}
	return t
}
