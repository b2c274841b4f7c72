package slots

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Config is the times that the rules speak of (docs/protocol.md 1).
type Config struct {
	Grace         time.Duration // how long a released slot is kept; 0 frees it at once
	ProbeTimeout  time.Duration // how long a probe may stay unanswered
	ProbeInterval time.Duration // the least time between two probes of one slot
	StartupGrace  time.Duration // how long after the start a slot that was never held counts as in grace
	MaxPhones     int           // the most phones of one slot
}

// Machine is every slot of the relay and the rules for them. It belongs to one goroutine at a time.
type Machine struct {
	cfg     Config
	opens   time.Time                  // when the startup grace ends
	slots   map[messages.ServerID]slot // held, in grace, or with phones; a free slot is not here
	names   []messages.ServerID        // of all of these, each at its place: the end of it moves to where one is freed
	epoch   messages.Epoch             // the last one given out, whatever the slot
	closing bool

	effects []Effect // the last Step's, and where the next one's will be
	entries []Entry
}

// New returns the machine of a relay that starts now: every slot is free.
func New(now time.Time, cfg Config) *Machine {
	return &Machine{cfg: cfg, opens: now.Add(cfg.StartupGrace), slots: make(map[messages.ServerID]slot)}
}

// Len is the number of slots that are not free.
func (m *Machine) Len() int { return len(m.slots) }

// Step handles one message at one moment and says what has to be done, in order. Equal state and arguments, equal effects.
// The slice, and the entries that it points at, are the caller's until the next Step. A panic leaves every slot as it was.
func (m *Machine) Step(now time.Time, msg messages.ToRegistry) []Effect {
	t := turn{m: m, now: now, asked: askedBy(msg), lastEpoch: m.epoch, effects: m.effects[:0], entries: m.entries[:0]}
	switch msg := msg.(type) {
	case messages.Claim:
		t.on(msg.Server, func() { t.claim(msg) })
	case messages.Withdraw:
		t.on(msg.Server, func() { t.withdraw(msg) })
	case messages.Release:
		t.on(msg.Server, func() { t.release(msg) })
	case messages.Join:
		t.on(msg.Server, func() { t.join(msg) })
	case messages.Leave:
		t.on(msg.Server, func() { t.leave(msg) })
	case messages.ProbeAnswered:
		t.on(msg.Server, func() { t.probeAnswered(msg) })
	case messages.ProbeExpired:
		t.on(msg.Server, func() { t.probeExpired(msg) })
	case messages.ProbeDue:
		t.on(msg.Server, func() { t.probeDue(msg) })
	case messages.GraceExpired:
		t.on(msg.Server, func() { t.graceExpired(msg) })
	case messages.OperatorRelease:
		t.on(msg.Server, t.operatorRelease)
	case messages.ShutDown:
		t.shutDown()
	default:
		panic(fmt.Sprintf("slots: no rule for %T", msg))
	}
	m.epoch, m.effects, m.entries = t.lastEpoch, t.effects, t.entries
	return t.effects
}

// turn is one message being handled: decided on copies first, changed last.
type turn struct {
	m         *Machine
	now       time.Time
	asked     Asked
	lastEpoch messages.Epoch
	slot      // the one that the message is about, changed in place of the machine's

	effects []Effect
	entries []Entry
}

// on applies rule to the slot of server, and puts the slot back only if the rule came to its end.
func (t *turn) on(server messages.ServerID, rule func()) {
	was, known := t.m.slots[server]
	t.slot = was
	t.id = server
	rule()
	t.check()
	switch {
	case t.held() || t.inGrace() || t.lapsed || len(t.phones) > 0:
		if !known {
			t.place = len(t.m.names)
			t.m.names = append(t.m.names, server)
		}
		t.m.slots[server] = t.slot
	case known:
		t.m.forget(was)
	}
}

// forget takes a free slot away. The last one moves to its place.
func (m *Machine) forget(s slot) {
	last := len(m.names) - 1
	moved := m.slots[m.names[last]]
	moved.place = s.place
	m.slots[moved.id] = moved
	m.names[s.place], m.names[last] = moved.id, ""
	m.names = m.names[:last]
	delete(m.slots, s.id)
}

// inGrace: a free slot has no epoch, see free.
func (t *turn) inGrace() bool { return !t.held() && t.epoch != 0 }

// claim: the first claim wins; behind a holder, a claim waits for proof that the holder lives (docs/protocol.md 1).
func (t *turn) claim(m messages.Claim) {
	c := claim{party: party{from: m.From, token: m.Token, conn: m.Conn}, version: m.Version, remote: m.Remote}
	switch {
	case t.m.closing:
		t.record(c, Evicted, ShuttingDown)
		t.tell(c.from, messages.Evicted{Code: messages.CloseGoingAway, Reason: messages.ReasonShuttingDown})
	case t.held():
		t.wait(c)
	case t.inGrace():
		t.grant(c, Granted, InGrace)
	default:
		t.grant(c, Granted, NobodyHeldIt)
	}
}

// grant makes c the holder, of a new epoch. No probe is out: one of the former holder would say nothing of the new one. The
// claims behind c wait on, for a probe of c.
func (t *turn) grant(c claim, how Decided, why Why) {
	t.lastEpoch++
	t.epoch, t.since = t.lastEpoch, t.now
	e := t.record(c, how, why)
	e.Other, e.Version = t.holder.conn, c.version
	if why == LeftUnanswered {
		e.Probe, e.Waited = t.probe.number, t.m.cfg.ProbeTimeout
	}
	if how == TookOver {
		t.tell(t.holder.from, messages.Evicted{Code: messages.CloseInternal, Reason: messages.ReasonHeartbeatTimeout})
	}
	t.holder = c.party
	t.tell(c.from, messages.Granted{Epoch: t.epoch})
	for _, p := range t.phones { // after the holder knows: it will hear from them
		t.tellPhone(p.from, messages.Attached{Epoch: t.epoch, Binary: c.from})
	}
	t.probeNext()
}

// wait puts c in line.
func (t *turn) wait(c claim) {
	// Not the probe that is out: its pong may have left the holder before this claim came (stories/two_claims_at_once).
	c.needs = t.probe.number + 1
	why := HolderMustProve
	if t.probe.out {
		why = ProbeIsOlder
	}
	e := t.record(c, Waiting, why)
	e.Other, e.Probe = t.holder.conn, c.needs
	t.waiting = append(t.waiting, c)
	t.probeNext()
}

// probeNext probes the holder for the claims that wait: one probe at a time, and no sooner than the interval after the last.
func (t *turn) probeNext() {
	if len(t.waiting) == 0 || t.probe.out {
		return
	}
	if next := t.probe.at.Add(t.m.cfg.ProbeInterval); t.probe.number > 0 && t.now.Before(next) {
		if !t.probe.due {
			t.probe.due = true
			t.arm(next, messages.ProbeDue{Server: t.id, Probe: t.probe.number})
		}
		return
	}
	t.probe.number++
	t.probe.at, t.probe.out = t.now, true
	t.probe.due = false // a ProbeDue that is late is of an older probe: it will change nothing, so it must not be waited for
	t.tell(t.holder.from, messages.Probe{Epoch: t.epoch, Probe: t.probe.number})
	t.arm(t.now.Add(t.m.cfg.ProbeTimeout), messages.ProbeExpired{Server: t.id, Epoch: t.epoch, Probe: t.probe.number})
}

// probeAnswered refuses the claims that this ping is young enough for, and no others.
func (t *turn) probeAnswered(m messages.ProbeAnswered) {
	if !t.probing(m.Epoch, m.Probe) {
		return // of a former holder, or too late: nobody waits for it
	}
	t.probed(ProbeAnswered, m.Answered.Sub(m.Sent))
	proof := messages.Proof{Probe: m.Probe, Sent: m.Sent, Answered: m.Answered, Conn: t.holder.conn}
	for len(t.waiting) > 0 && t.waiting[0].needs <= m.Probe {
		t.refuse(t.shift(), proof)
	}
	t.probeNext() // for those that came while the ping was under way
}

// refuse is the only way to refuse a claim, and it takes the proof.
func (t *turn) refuse(c claim, proof messages.Proof) {
	if c.needs > proof.Probe {
		broken("%s: proof by probe %d is older than a claim that needs %d", t.id, proof.Probe, c.needs)
	}
	e := t.record(c, Refused, ProvedAlive)
	e.Other, e.Probe, e.Proof = proof.Conn, proof.Probe, proof
	t.tell(c.from, messages.Refused{Proof: proof})
}

// probeExpired: silence hands the slot to the claim that is then first in line, whenever it came.
func (t *turn) probeExpired(m messages.ProbeExpired) {
	if !t.probing(m.Epoch, m.Probe) {
		return // answered in time, or of a former holder
	}
	t.probed(ProbeExpired, 0)
	if len(t.waiting) == 0 {
		return // nobody asks any more: with no claim in line silence decides nothing
	}
	t.grant(t.shift(), TookOver, LeftUnanswered)
}

// probed: no probe is out any more.
func (t *turn) probed(how ProbeEnd, trip time.Duration) {
	t.probe.out = false
	t.effects = append(t.effects, Probed{how, trip})
}

// probing reports whether the probe of this epoch and number is the one that is out.
func (t *turn) probing(e messages.Epoch, n messages.ProbeNumber) bool {
	return t.held() && t.probe.out && t.epoch == e && t.probe.number == n
}

// probeDue: the probe interval is over.
func (t *turn) probeDue(m messages.ProbeDue) {
	if !t.probe.due || t.probe.number != m.Probe {
		return // of a former life of the slot
	}
	t.probe.due = false
	t.probeNext()
}

// release: the holder's connection has ended. The first claim that waits is granted as one in grace would be.
func (t *turn) release(m messages.Release) {
	if t.held() && t.epoch == m.Epoch {
		t.vacate(ConnectionEnded)
	} // else it was taken over, or given back by a shutdown: a release of an older epoch changes nothing
	t.tell(m.From, messages.Settled{})
}

// withdraw: a claimant left before its answer reached it. It may have been granted meanwhile, and then this is its release.
func (t *turn) withdraw(m messages.Withdraw) {
	if t.held() && t.holder.token == m.Token {
		t.vacate(ConnectionEnded)
	} else if i := slices.IndexFunc(t.waiting, func(c claim) bool { return c.token == m.Token }); i >= 0 {
		t.record(t.waiting[i], Withdrawn, ClaimantLeft)
		t.waiting = slices.Concat(t.waiting[:i], t.waiting[i+1:]) // a new slice: the old one is the old slot's
	} // else it was refused meanwhile
	t.tell(m.From, messages.Settled{})
}

// operatorRelease: the operator throws the holder out. What follows is what follows on each release.
func (t *turn) operatorRelease() {
	if !t.held() {
		return // there is nobody to throw out
	}
	t.tell(t.holder.from, messages.Evicted{Code: messages.CloseServiceRestart, Reason: messages.ReasonReleased})
	t.vacate(ByOperator)
}

// vacate takes the slot from its holder, for the next in line or for grace.
func (t *turn) vacate(why Why) {
	t.recordHolder(Released, why)
	if t.probe.out {
		t.probed(ProbeAbandoned, 0)
	}
	t.holder.from, t.since = "", t.now
	switch {
	case len(t.waiting) > 0:
		t.grant(t.shift(), Granted, FirstInLine)
	case t.m.cfg.Grace == 0:
		t.free(NoGrace, 0)
	default:
		for _, p := range t.phones {
			t.tellPhone(p.from, messages.Parked{Epoch: t.epoch})
		}
		t.arm(t.now.Add(t.m.cfg.Grace), messages.GraceExpired{Server: t.id, Epoch: t.epoch})
	}
}

// graceExpired frees a slot that nobody claimed since the release of this epoch, or since the relay started.
func (t *turn) graceExpired(m messages.GraceExpired) {
	switch {
	case t.held() || t.epoch != m.Epoch: // claimed again in time
	case t.inGrace():
		e := t.recordHolder(Freed, GraceRanOut)
		e.Waited = t.m.cfg.Grace
		t.free(GraceRanOut, t.m.cfg.Grace)
	default:
		t.free(GraceRanOut, t.m.cfg.StartupGrace)
	}
}

// free frees the slot. Its phones have nobody to wait for.
func (t *turn) free(why Why, waited time.Duration) {
	for _, p := range t.phones {
		e := t.record(claim{party: p}, Left, why)
		e.Waited = waited
		t.tellPhone(p.from, messages.Evicted{Code: messages.CloseNoServer, Reason: messages.ReasonNoServer})
	}
	was := t.epoch
	t.slot = slot{id: t.id, place: t.place, lapsed: t.startingUp()}
	if t.lapsed && was != 0 {
		t.arm(t.m.opens, messages.GraceExpired{Server: t.id})
	}
}

// startingUp: the relay has just started, and who was here before may not be back yet.
func (t *turn) startingUp() bool { return t.now.Before(t.m.opens) }

// join: a phone comes to a binary, or waits for it where one is to be expected (docs/protocol.md 2).
func (t *turn) join(m messages.Join) {
	c := claim{party: party{from: m.From, token: m.Token, conn: m.Conn}, remote: m.Remote}
	expected := !t.held() && !t.inGrace() && !t.lapsed && t.startingUp()
	switch {
	case t.m.closing:
		t.turnAway(c, ShuttingDown, messages.CloseGoingAway, messages.ReasonShuttingDown)
		return
	case !t.held() && !t.inGrace() && !expected:
		t.turnAway(c, NobodyHolds, messages.CloseNoServer, messages.ReasonNoServer)
		return
	case len(t.phones) >= t.m.cfg.MaxPhones:
		t.turnAway(c, NoPlace, messages.CloseTooManyPhones, messages.ReasonTooManyPhones)
		return
	}
	var e *Entry
	switch {
	case t.held():
		e = t.record(c, Attached, BinaryIsThere)
		t.tellPhone(c.from, messages.Attached{Epoch: t.epoch, Binary: t.holder.from})
	case expected:
		e = t.record(c, Parked, JustStarted)
		if len(t.phones) == 0 {
			t.since = t.now
			t.arm(t.m.opens, messages.GraceExpired{Server: t.id})
		}
	default:
		e = t.record(c, Parked, InGrace)
	}
	e.Other, e.Device = t.holder.conn, m.Device
	t.phones = slices.Concat(t.phones, []party{c.party}) // a new slice: the old one is the old slot's
}

// turnAway has a phone closed that was never here.
func (t *turn) turnAway(c claim, why Why, code messages.CloseCode, reason string) {
	t.record(c, TurnedAway, why)
	t.tellPhone(c.from, messages.Evicted{Code: code, Reason: reason})
}

// leave: a phone's connection has ended.
func (t *turn) leave(m messages.Leave) {
	i := slices.IndexFunc(t.phones, func(p party) bool { return p.token == m.Token })
	if i < 0 {
		return // it was evicted, or turned away
	}
	t.record(claim{party: t.phones[i]}, Left, ConnectionEnded)
	t.phones = slices.Concat(t.phones[:i], t.phones[i+1:])
	if len(t.phones) == 0 {
		t.phones = nil
	}
}

// shutDown gives every slot back and forgets every waiting claim; their connections are closed by the server. The slots go
// in the order of their names, since a map has none.
func (t *turn) shutDown() {
	for _, server := range slices.Sorted(maps.Keys(t.m.slots)) {
		t.slot = t.m.slots[server]
		switch {
		case t.held():
			t.recordHolder(Released, ShuttingDown)
		case t.inGrace():
			t.recordHolder(Freed, ShuttingDown)
		}
		for _, c := range t.waiting {
			t.record(c, Withdrawn, ShuttingDown)
		}
		for _, p := range t.phones {
			t.record(claim{party: p}, Left, ShuttingDown)
		}
	}
	t.m.closing = true
	clear(t.m.slots)
	t.m.names = nil
}

// shift takes the first claim out of the line.
func (t *turn) shift() claim {
	c := t.waiting[0]
	t.waiting = t.waiting[1:]
	if len(t.waiting) == 0 {
		t.waiting = nil // let the array go: the slot may now idle for days
	}
	return c
}

func (t *turn) tell(to messages.Address, m messages.ToBinary) {
	t.effects = append(t.effects, Tell{to, m})
}

func (t *turn) tellPhone(to messages.Address, m messages.ToPhone) {
	t.effects = append(t.effects, TellPhone{to, m})
}

func (t *turn) arm(at time.Time, m messages.ToRegistry) { t.effects = append(t.effects, Arm{at, m}) }

// record adds a decision about c, and returns it for the particulars of its sentence.
func (t *turn) record(c claim, d Decided, why Why) *Entry {
	t.entries = append(t.entries, Entry{
		Time: t.now, Server: t.id, Conn: c.conn, Asked: t.asked, Decided: d, Why: why, Epoch: t.epoch, Remote: c.remote,
	})
	e := &t.entries[len(t.entries)-1]
	t.effects = append(t.effects, Record{e})
	return e
}

func (t *turn) recordHolder(d Decided, why Why) *Entry {
	return t.record(claim{party: t.holder}, d, why)
}
