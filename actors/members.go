package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/envelope"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// members is the phones that a binary knows, and what each may still send to it.
//
// Each is given a window of so many bytes, and gets bytes back when they have been written to the binary's peer. So a
// binary that does not keep up slows its phones down, and what waits for it is bounded by its windows. What a phone leaves
// behind in the queue takes room from the next one, which may have to wait for its window: else phones that come, send and go
// would have no bound.
type members struct {
	window  int64 // of each, in bytes
	most    int64 // what all windows may come to
	given   int64 // what they come to, with what is left behind
	known   map[messages.ConnID]*member
	left    member    // what is left behind
	starved []*member // have no window yet, the oldest first
	due     []*member // gave enough to be worth a Credit, once it is written
	asked   []*member // those of the Written that is under way
}

// member is one phone.
type member struct {
	phone actor.Process // held while the phone is known, and it holds the phone's actor
	head  []byte        // of its envelopes
	told  bool          // a frame of it was sent to the binary's peer, which so knows it
	due   bool          // is among members.due
	gone  bool          // has left
	has   bool          // has a window
	owed  int64         // bytes that it sent, and no Written has been asked for
	back  int64         // bytes that the Written under way is about
}

func newMembers(r *Relay) *members {
	return &members{
		window: r.window, most: r.window * int64(r.cfg.Slots.MaxPhones), known: make(map[messages.ConnID]*member),
	}
}

// attach makes a phone known, and reports its credit: 0 where there is no room for a window yet.
func (p *members) attach(conn messages.ConnID, phone actor.Process) (credit int64) {
	m := &member{phone: phone, head: envelope.Head(string(conn))}
	p.known[conn] = m
	if p.given+p.window > p.most {
		p.starved = append(p.starved, m)
		return 0
	}
	return p.admit(m)
}

func (p *members) admit(m *member) (credit int64) {
	p.given += p.window
	m.has = true
	return p.window
}

// sent counts bytes that were sent for m. It reports whether a Written has to be asked for.
func (p *members) sent(m *member, bytes int64) (ask bool) {
	m.told = true
	m.owed += bytes
	if m.due || m.owed < p.window/4 {
		return false
	}
	return p.makeDue(m)
}

func (p *members) makeDue(m *member) (ask bool) {
	m.due = true
	p.due = append(p.due, m)
	return p.ask()
}

// ask makes what is due what is asked for, unless a Written is under way.
func (p *members) ask() bool {
	if len(p.asked) > 0 || len(p.due) == 0 {
		return false
	}
	p.asked, p.due = p.due, p.asked
	for _, m := range p.asked {
		m.back, m.owed, m.due = m.owed, 0, false
	}
	return true
}

// detach forgets a phone. It reports whether a Written has to be asked for.
func (p *members) detach(conn messages.ConnID) (m *member, ask bool) {
	m = p.known[conn]
	if m == nil {
		return nil, false
	}
	delete(p.known, conn)
	m.gone, m.phone = true, nil
	if !m.has {
		return m, false
	}
	behind := m.owed + m.back
	p.given += behind - p.window
	p.left.owed += m.owed
	if m.back > 0 && p.isAsked(&p.left) {
		p.left.back += m.back
	} else if m.back > 0 {
		p.left.back = m.back
		p.asked = append(p.asked, &p.left)
	}
	m.owed, m.back = 0, 0
	if p.left.owed > 0 && !p.left.due {
		ask = p.makeDue(&p.left)
	}
	return m, ask
}

func (p *members) isAsked(m *member) bool {
	return slices.Contains(p.asked, m)
}

// written takes a Written. It calls credit for each phone that gets bytes, and reports whether another has to be asked for.
func (p *members) written(credit func(*member, int64)) (ask bool) {
	for i, m := range p.asked {
		if m == &p.left {
			p.given -= m.back
		} else if m.back > 0 {
			credit(m, m.back)
		}
		m.back = 0
		p.asked[i] = nil
	}
	p.asked = p.asked[:0]
	for len(p.starved) > 0 && p.given+p.window <= p.most {
		m := p.starved[0]
		p.starved = p.starved[1:]
		if !m.gone {
			credit(m, p.admit(m))
		}
	}
	return p.ask()
}
