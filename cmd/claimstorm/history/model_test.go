package history

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// model is a relay of one slot with its clients and the network between them, all of them events in one order of time. It is
// written from the contract, not from the relay. What its clients saw is a history; faults make it one that no relay may cause.
type model struct {
	rng    *rand.Rand
	rules  Rules
	fault  string
	delay  time.Duration // the most that a message takes
	now    time.Duration
	events events
	next   int
	end    time.Duration
	did    int // how often the fault was committed

	epoch   int64
	holder  *conn
	waiting []*conn
	grace   time.Duration // when it began; 0 for never
	closing bool
	probe   struct {
		number   int
		out, due bool
		sent, at time.Duration
	}

	server  string
	conns   []*conn
	journal []Entry
}

type conn struct {
	Claim
	m              *model
	name           string
	deaf           bool // silent, and does not even read
	done           bool // its client has seen or made the end
	gone           bool // the relay has done with it
	needs          int
	epoch          int64
	toRelay, toHim time.Duration // when the last message arrives
	heard          time.Duration // by the relay
	answers        time.Duration // how long it takes to answer, at most
	probesTell     bool
}

type event struct {
	at   time.Duration
	n    int
	what func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(v any)   { *e = append(*e, v.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (m *model) at(t time.Duration, what func()) {
	m.next++
	heap.Push(&m.events, event{max(t, m.now), m.next, what})
}

func (m *model) upTo(most time.Duration) time.Duration {
	return time.Duration(m.rng.Int64N(int64(most) + 1))
}

func (m *model) chance(percent int) bool { return m.rng.IntN(100) < percent }

// commits says whether the relay commits the fault now.
func (m *model) commits(fault string, percent int) bool {
	if m.fault != fault || !m.chance(percent) {
		return false
	}
	m.did++
	return true
}

// send delivers what to the relay or to the client, behind all that c sent there before.
func (c *conn) send(clock *time.Duration, what func()) {
	*clock = max(*clock+1, c.m.now+c.m.upTo(c.m.delay))
	c.m.at(*clock, what)
}

// run lives until no client does anything any more, or the run ends.
func run(seed uint64, fault string, clients, claims int) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 5)), fault: fault, now: time.Millisecond, server: "home"}
	m.rules = Rules{
		Grace: []time.Duration{0, time.Second}[m.rng.IntN(2)], ProbeTimeout: []time.Duration{time.Second, 5 * time.Second}[m.rng.IntN(2)],
		ProbeInterval: []time.Duration{0, 100 * time.Millisecond}[m.rng.IntN(2)], Slack: DefaultSlack,
	}
	if m.chance(50) {
		m.rules.HeartbeatTimeout = []time.Duration{800 * time.Millisecond, 3 * time.Second}[m.rng.IntN(2)]
	}
	m.delay = m.rules.Slack / time.Duration(8+m.rng.IntN(1000))
	tells := m.chance(70)
	m.end = time.Duration(2+m.rng.IntN(20)) * time.Second
	if m.chance(20) {
		m.rules.Shutdown = m.end / 2
		m.at(m.rules.Shutdown+m.upTo(m.delay), m.shutDown)
	}
	for client := range clients {
		m.live(client, claims, tells)
	}
	for m.events.Len() > 0 && m.events[0].at <= m.end {
		e := heap.Pop(&m.events).(event)
		m.now = e.at
		e.what()
	}
	for _, c := range m.conns {
		if !c.done {
			c.Ended = m.end
		}
	}
	return m
}

// live lets a client claim again and again.
func (m *model) live(client, claims int, tells bool) {
	if claims == 0 {
		return
	}
	m.at(m.now+m.upTo([]time.Duration{time.Millisecond, 300 * time.Millisecond, 2 * time.Second}[m.rng.IntN(3)]), func() {
		c := &conn{m: m, Claim: Claim{Server: m.server, Client: client, Asked: m.now}, probesTell: tells, answers: m.delay}
		c.name = "server-home-" + string(rune('a'+client)) + time.Duration(len(m.conns)).String()
		if m.chance(5) {
			c.answers = 2 * m.rules.ProbeTimeout
		}
		m.conns = append(m.conns, c)
		c.send(&c.toRelay, func() { m.upgrade(c) })
		m.at(m.now+m.upTo([]time.Duration{m.delay, time.Second, 8 * time.Second}[m.rng.IntN(3)]), func() { c.leave(claims > 0) })
		var again func()
		again = func() {
			if c.done || c.Silent != 0 && m.chance(50) {
				m.live(client, claims-1, tells)
				return
			}
			m.at(m.now+50*time.Millisecond, again)
		}
		again()
	})
}

// leave ends the connection, or falls silent and is left lying.
func (c *conn) leave(quietly bool) {
	m := c.m
	switch {
	case c.done || c.Leaving != 0:
	case m.chance(25) && quietly && c.Silent == 0:
		c.Silent, c.deaf = m.now, m.chance(50)
		m.at(m.now+m.upTo(3*m.rules.ProbeTimeout), func() { c.leave(false) })
	case m.chance(50) && !c.deaf:
		c.Leaving = m.now
		c.send(&c.toRelay, func() {
			if c.gone {
				return
			}
			m.release(c)
			c.send(&c.toHim, func() { c.ended(Left, 0, "") })
		})
	default:
		c.Leaving = m.now
		c.send(&c.toRelay, func() { m.release(c) })
		m.at(m.now+m.upTo(time.Millisecond), func() { c.ended(Dropped, 0, "") })
	}
}

// ended is what the client sees, once.
func (c *conn) ended(how End, code uint16, reason string) {
	if !c.done && (!c.deaf || how == Dropped) {
		c.done, c.End, c.Code, c.Reason, c.Ended = true, how, code, reason, c.m.now
	}
}

// pinged is a client that reads a ping.
func (c *conn) pinged(probe bool, answered func()) {
	if c.done || c.deaf || c.Leaving != 0 {
		return
	}
	if probe && c.probesTell && c.Held == 0 {
		c.Held = c.m.now
	}
	c.Pongs = append(c.Pongs, Pong{Pinged: c.m.now})
	if c.Silent != 0 {
		return
	}
	i := len(c.Pongs) - 1
	c.m.at(c.m.now+c.m.upTo(c.answers), func() {
		if c.done || c.Leaving != 0 || c.Silent != 0 {
			return
		}
		c.send(&c.toRelay, answered)
		c.Pongs[i].Sent = c.m.now
	})
}

// upgrade is the relay's from here on.
func (m *model) upgrade(c *conn) {
	c.send(&c.toHim, func() {
		if !c.done {
			c.Upgraded = m.now
		}
	})
	m.at(m.now+m.upTo(m.delay), func() { m.claim(c) })
	if m.chance(20) {
		m.at(m.now+m.upTo(2*time.Second), func() { m.heartbeat(c) })
	}
}

func (m *model) record(c *conn, asked, decided string) *Entry {
	m.journal = append(m.journal, Entry{Seq: int64(len(m.journal) + 1), Time: m.now, Server: m.server, Conn: c.name, Asked: asked, Decided: decided, Epoch: m.epoch})
	return &m.journal[len(m.journal)-1]
}

func (m *model) claim(c *conn) {
	switch {
	case c.gone: // it left before its claim came
	case m.closing:
		m.record(c, "claim", "evicted")
		m.close(c, CodeGoingAway, ReasonGoingAway)
	case m.holder == nil && m.grace != 0 && m.now < m.grace+m.rules.Grace && m.commits("grace ignored", 50),
		m.holder != nil && m.commits("refused without a pong", 30):
		m.close(c, CodeClaimed, ReasonClaimed)
	case m.holder == nil:
		m.grant(c, "claim", "granted")
	case m.commits("two winners", 5):
		old := m.holder
		m.grant(c, "claim", "granted")
		m.holder, m.probe.out = old, false
	case m.commits("second claim wins", 10):
		m.evict(c, "claim", CodeClaimed, ReasonClaimed)
	case m.commits("living holder taken over", 10):
		m.evict(c, "claim", CodeInternal, ReasonTimeout)
	default:
		c.needs = m.probe.number + 1
		if m.probe.out && m.commits("old proof counted", 100) {
			c.needs--
		}
		m.record(c, "claim", "waiting")
		m.waiting = append(m.waiting, c)
		m.probeNext()
	}
}

func (m *model) evict(c *conn, asked string, code uint16, reason string) {
	old := m.holder
	m.grant(c, asked, "took_over")
	m.close(old, code, reason)
}

func (m *model) grant(c *conn, asked, decided string) {
	m.epoch += 1 + int64(m.rng.IntN(2))
	m.holder, c.epoch = c, m.epoch
	m.record(c, asked, decided)
	m.grace, m.probe.out = 0, false
	m.probeNext()
	for range m.rng.IntN(3) { // phones
		m.at(m.now+m.upTo(time.Second), func() {
			if m.holder == c || m.fault == "two winners" && !c.gone {
				c.send(&c.toHim, func() {
					if c.Held == 0 && !c.done && !c.deaf && c.Leaving == 0 {
						c.Held = m.now
					}
				})
			}
		})
	}
	if m.fault == "holder dropped" {
		m.at(m.now+m.upTo(3*time.Second), func() {
			if m.holder == c && !c.gone && m.commits("holder dropped", 20) {
				m.vacate("release")
				if m.chance(30) {
					c.gone = true
					c.send(&c.toHim, func() { c.ended(Cut, 0, "") })
				} else {
					m.close(c, CodeInternal, ReasonTimeout)
				}
			}
		})
	}
	if m.fault == "evicted for nobody" {
		var look func()
		look = func() {
			switch {
			case m.holder != c || c.gone:
			case c.Silent != 0 && m.now > c.Silent+m.rules.ProbeTimeout && len(m.waiting) == 0 && m.commits("evicted for nobody", 50):
				m.vacate("release")
				m.close(c, CodeInternal, ReasonTimeout)
			default:
				m.at(m.now+500*time.Millisecond, look)
			}
		}
		look()
	}
}

func (m *model) probeNext() {
	if len(m.waiting) == 0 || m.probe.out || m.holder == nil {
		return
	}
	if next := m.probe.at + m.rules.ProbeInterval; m.probe.number > 0 && m.now < next {
		if !m.probe.due {
			m.probe.due = true
			m.at(next, func() { m.probe.due = false; m.probeNext() })
		}
		return
	}
	m.probe.number++
	m.probe.at, m.probe.out = m.now, true
	c, number, sent := m.holder, m.probe.number, m.now
	c.send(&c.toHim, func() {
		c.pinged(true, func() {
			c.heard = m.now
			answered := m.now
			m.at(m.now+m.upTo(m.delay), func() { m.answered(c, number, sent, answered) })
		})
	})
	m.at(m.now+m.rules.ProbeTimeout, func() { m.expired(c, number) })
}

func (m *model) probing(c *conn, number int) bool {
	return m.holder == c && m.probe.out && m.probe.number == number
}

func (m *model) answered(c *conn, number int, sent, answered time.Duration) {
	if !m.probing(c, number) {
		return
	}
	m.probe.out = false
	for len(m.waiting) > 0 && m.waiting[0].needs <= number {
		w := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.record(w, "probe_answered", "refused").Proof = &Proof{Probe: int64(number), Sent: sent, Answered: answered, Conn: c.name}
		switch {
		case m.commits("never answered", 20):
		case m.commits("wrong code", 20):
			m.close(w, 1000, "")
		case m.commits("wrong reason", 20):
			m.close(w, CodeClaimed, "taken")
		case m.commits("late answer", 20):
			m.at(m.now+m.rules.ProbeTimeout*6, func() { m.close(w, CodeClaimed, ReasonClaimed) })
		default:
			m.close(w, CodeClaimed, ReasonClaimed)
		}
	}
	m.probeNext()
}

func (m *model) expired(c *conn, number int) {
	if !m.probing(c, number) {
		return
	}
	m.probe.out = false
	if len(m.waiting) == 0 {
		return
	}
	i := 0
	if len(m.waiting) > 1 && m.commits("unfair", 100) {
		i = len(m.waiting) - 1
	}
	first := m.waiting[i]
	m.waiting = append(append([]*conn{}, m.waiting[:i]...), m.waiting[i+1:]...)
	m.evict(first, "probe_expired", CodeInternal, ReasonTimeout)
}

// release is what the relay hears of a client that left.
func (m *model) release(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	if m.holder == c {
		m.vacate("release")
		return
	}
	for i, w := range m.waiting {
		if w == c {
			m.record(c, "withdraw", "withdrawn")
			m.waiting = append(append([]*conn{}, m.waiting[:i]...), m.waiting[i+1:]...)
			return
		}
	}
}

func (m *model) vacate(asked string) {
	m.record(m.holder, asked, "released")
	m.holder, m.probe.out = nil, false
	if len(m.waiting) > 0 {
		first := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.grant(first, asked, "granted")
		return
	}
	m.grace = m.now
}

func (m *model) close(c *conn, code uint16, reason string) {
	if c.gone {
		return
	}
	c.gone = true
	c.send(&c.toHim, func() { c.ended(Closed, code, reason) })
}

// heartbeat pings c, and gives it up when nothing comes.
func (m *model) heartbeat(c *conn) {
	if c.gone || m.rules.HeartbeatTimeout == 0 {
		return
	}
	sent := m.now
	c.send(&c.toHim, func() { c.pinged(false, func() { c.heard = m.now }) })
	m.at(m.now+m.rules.HeartbeatTimeout, func() {
		if !c.gone && c.heard < sent {
			m.release(c)
			c.gone = false
			m.close(c, CodeInternal, ReasonTimeout)
		}
	})
}

func (m *model) shutDown() {
	m.closing = true
	if m.holder != nil {
		m.record(m.holder, "shut_down", "released")
	}
	for _, c := range m.waiting {
		m.record(c, "shut_down", "withdrawn")
	}
	m.holder, m.waiting, m.probe.out = nil, nil, false
	for _, c := range m.conns {
		if !c.gone {
			m.close(c, CodeGoingAway, ReasonGoingAway)
		}
	}
}

// history is what the clients saw.
func (m *model) history() *History {
	h := &History{}
	for _, c := range m.conns {
		h.Add(c.Claim)
	}
	return h
}
