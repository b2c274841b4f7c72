package slots

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// world is the machine among claimants whose connections can do at any moment whatever a real one can: their messages to the
// registry are handled in any order that the mailboxes allow, what the registry tells them reaches them late, timers fire when due or
// later. Its judge knows only what was sent to whom; it never looks into the machine. Every exhaustive and random test of the
// slots is a walk through a world.
type world struct {
	m      Machine
	now    time.Time
	who    []actor
	phones []phone
	armed  []Arm
	asked  []ping // of each server: the latest probe; parallel to servers
	bell   []int  // of each server: which claimant the judge believes to hold it; none
	silent int    // the server whose probe's time is just over, unanswered; none
	ousted int    // the server whose holder the operator is throwing out; none
	thrown bool   // the operator has done so, once in a life, or does no such thing
	down   bool
	story  []string
	epoch  messages.Epoch // the highest that the judge has seen
	seq    int
}

const none = -1

// actor is a claimant's connection, as its own actor sees it.
type actor struct {
	server  int
	life    life
	epoch   messages.Epoch
	inbox   []messages.ToBinary // told, and not yet heard
	ping    ping                // to be answered by the peer
	answers int                 // that it was told: Granted, Refused, Evicted before a grant
	waits   bool                // its claim was handled and not answered
	young   bool                // the probe that is out was sent after its claim was handled
	proven  bool                // and has been answered
}

// phone is a phone's connection, as the judge sees it.
type phone struct {
	server int
	life   life           // unborn, holding while it has a place, gone
	epoch  messages.Epoch // of the holder that it was told of last; 0: it is parked
}

type ping struct {
	epoch  messages.Epoch
	number messages.ProbeNumber
	to     int
	out    bool
	sent   time.Time
}

type life uint8

const (
	unborn life = iota
	claiming
	holding
	ending // it has released or withdrawn, and waits for Settled
	gone
)

func newWorld(claimants, servers, phones int, cfg Config) *world {
	w := &world{m: *New(start, cfg), now: start, silent: none, ousted: none, who: make([]actor, claimants), asked: make([]ping, servers), bell: make([]int, servers)}
	w.phones = make([]phone, phones)
	for i := range w.phones {
		w.phones[i].server = i % servers
	}
	for i := range w.who {
		w.who[i].server = i % servers
	}
	for i := range w.bell {
		w.bell[i] = none
	}
	return w
}

// clone copies everything that a walk changes.
func (w *world) clone() *world {
	c := *w
	c.m.slots = make(map[messages.ServerID]slot, len(w.m.slots))
	for id, s := range w.m.slots {
		s.waiting, s.phones = slices.Clone(s.waiting), slices.Clone(s.phones)
		c.m.slots[id] = s
	}
	c.m.names = slices.Clone(w.m.names)
	c.m.effects, c.m.entries = nil, nil
	c.who, c.phones = slices.Clone(w.who), slices.Clone(w.phones)
	for i := range c.who {
		c.who[i].inbox = slices.Clone(c.who[i].inbox)
	}
	c.armed, c.asked, c.bell = slices.Clone(w.armed), slices.Clone(w.asked), slices.Clone(w.bell)
	c.story = slices.Clone(w.story)
	return &c
}

// act is one thing that can happen next.
type act struct {
	kind string
	who  int // the claimant, or the timer's place
}

// acts lists what can happen next. Claimants leave, are reset and die at any time; a dead one simply does nothing.
func (w *world) acts() (as []act) {
	for i := range w.who {
		a := &w.who[i]
		if a.life == unborn {
			as = append(as, act{"claims", i})
		}
		if len(a.inbox) > 0 && a.life != gone {
			as = append(as, act{"hears", i})
		}
		if a.life == claiming {
			as = append(as, act{"withdraws", i})
		}
		if a.life == holding {
			as = append(as, act{"releases", i})
		}
		if a.ping.out && a.life == holding {
			as = append(as, act{"answers", i})
		}
	}
	for i := range w.phones {
		switch w.phones[i].life {
		case unborn:
			as = append(as, act{"joins", i})
		case holding:
			as = append(as, act{"leaves", i})
		}
	}
	for i := range w.armed {
		as = append(as, act{"fires", i})
	}
	if !w.down {
		as = append(as, act{"shutdown", none})
	}
	if !w.thrown && !w.down {
		for i := range w.asked {
			as = append(as, act{"is released", i})
		}
	}
	for i, q := range w.asked { // the interval ends, and its timer is late
		if q.number > 0 && !w.down && w.now.Before(q.sent.Add(w.m.cfg.ProbeInterval)) {
			as = append(as, act{"passes", i})
		}
	}
	return as
}

func name(i int) string { return string(rune('a' + i)) }

func server(i int) messages.ServerID { return messages.ServerID(fmt.Sprint("s", i)) }

// do makes it happen, and gives what rule was broken.
func (w *world) do(a act) (broken string) {
	defer func() {
		if r := recover(); r != nil {
			broken = fmt.Sprint(r)
		}
	}()
	switch a.kind {
	case "fires":
		timer := w.armed[a.who]
		w.armed = slices.Delete(slices.Clone(w.armed), a.who, a.who+1)
		if timer.At.After(w.now) {
			w.now = timer.At
		}
		w.tellStory("at %s", w.now.Sub(start))
		w.silent = none
		if m, ok := timer.Say.(messages.ProbeExpired); ok {
			for i, q := range w.asked {
				if q.out && server(i) == m.Server && q.epoch == m.Epoch && q.number == m.Probe {
					w.silent = i
				}
			}
		}
		w.step(timer.Say)
		if w.silent != none && w.asked[w.silent].epoch == timer.Say.(messages.ProbeExpired).Epoch {
			w.asked[w.silent].out = false // nobody was in line: it decided nothing
		}
		w.silent = none
		return w.check()
	case "passes":
		w.now = w.asked[a.who].sent.Add(w.m.cfg.ProbeInterval)
		w.tellStory("at %s, and timers are late", w.now.Sub(start))
		return w.check()
	case "is released":
		w.ousted, w.thrown = a.who, true
		w.tellStory("the operator releases %s", server(a.who))
		held := w.bell[a.who]
		w.step(messages.OperatorRelease{Server: server(a.who)})
		w.ousted = none
		if held != none && w.bell[a.who] == held {
			return fmt.Sprintf("the operator has thrown %s out, and it still holds", name(held))
		}
		return w.check()
	case "shutdown":
		w.down = true
		w.tellStory("shutdown")
		w.step(messages.ShutDown{})
		for i := range w.bell {
			w.bell[i] = none
		}
		for i := range w.who {
			w.who[i].waits = false // forgotten: the server closes it
		}
		for i := range w.phones {
			if w.phones[i].life == holding {
				w.phones[i].life = gone
			}
		}
		return w.check()
	}
	if a.kind == "joins" || a.kind == "leaves" {
		w.phoneActs(a)
		return w.check()
	}
	p := &w.who[a.who]
	id, from, token := server(p.server), messages.Address(name(a.who)), messages.ClaimToken(a.who+1)
	switch a.kind {
	case "claims":
		p.life, p.waits = claiming, true
		w.tellStory("%s claims %s", name(a.who), id)
		w.step(messages.Claim{Server: id, From: from, Token: token, Conn: messages.ConnID(name(a.who))})
	case "withdraws":
		p.life = ending
		w.tellStory("%s withdraws", name(a.who))
		w.leaves(a.who)
		w.step(messages.Withdraw{Server: id, From: from, Token: token})
	case "releases":
		p.life, p.ping.out = ending, false
		w.tellStory("%s releases", name(a.who))
		w.leaves(a.who)
		w.step(messages.Release{Server: id, From: from, Epoch: p.epoch})
	case "answers":
		p.ping.out = false
		w.tellStory("%s answers probe %d", name(a.who), p.ping.number)
		if q := &w.asked[p.server]; q.out && q.to == a.who && q.number == p.ping.number && w.bell[p.server] == a.who {
			q.out = false
			for i := range w.who {
				if c := &w.who[i]; c.server == p.server && c.waits {
					c.proven = c.proven || c.young
				}
			}
		}
		w.step(messages.ProbeAnswered{Server: id, Epoch: p.ping.epoch, Probe: p.ping.number, Sent: w.now, Answered: w.now})
	case "hears":
		m := p.inbox[0]
		p.inbox = p.inbox[1:]
		w.hears(p, m)
	}
	return w.check()
}

// serverOf is the server of an act of a claimant, a phone or the operator.
func (w *world) serverOf(a act) int {
	switch a.kind {
	case "joins", "leaves":
		return w.phones[a.who].server
	case "is released":
		return a.who
	}
	return w.who[a.who].server
}

func phoneName(i int) string { return string(rune('p' + i)) }

// phoneActs: what it is told, it is told at once. When it hears of that changes nothing for the machine.
func (w *world) phoneActs(a act) {
	p := &w.phones[a.who]
	from, token := messages.Address(phoneName(a.who)), messages.ClaimToken(1000+a.who)
	if a.kind == "leaves" {
		p.life = gone
		w.tellStory("%s leaves", phoneName(a.who))
		w.step(messages.Leave{Server: server(p.server), From: from, Token: token})
		return
	}
	there := w.places(p.server)
	p.life = holding
	w.tellStory("%s joins %s", phoneName(a.who), server(p.server))
	w.step(messages.Join{Server: server(p.server), From: from, Token: token, Conn: messages.ConnID(from)})
	if p.life == holding && there >= w.m.cfg.MaxPhones {
		panic(fmt.Sprintf("%s has a place, and there were %d before it", phoneName(a.who), there))
	}
}

// places is how many phones of the server have a place.
func (w *world) places(server int) (n int) {
	for _, p := range w.phones {
		if p.server == server && p.life == holding {
			n++
		}
	}
	return n
}

// judgePhone holds what a phone is told to what the judge knows of the holder.
func (w *world) judgePhone(i int, m messages.ToPhone) {
	p, who := &w.phones[i], phoneName(i)
	if p.life != holding {
		panic(fmt.Sprintf("%s is told %s, and has no place", who, Text(m)))
	}
	bell := w.bell[p.server]
	switch m := m.(type) {
	case messages.Attached:
		if bell == none || m.Epoch <= p.epoch || m.Binary != messages.Address(name(bell)) {
			panic(fmt.Sprintf("%s, told of e%d, is attached to %s of e%d", who, p.epoch, m.Binary, m.Epoch))
		}
		p.epoch = m.Epoch
	case messages.Parked:
		if bell != none || m.Epoch != p.epoch {
			panic(fmt.Sprintf("%s, told of e%d, is parked since e%d left", who, p.epoch, m.Epoch))
		}
		p.epoch = 0
	case messages.Evicted:
		p.life = gone
		switch {
		case m.Code == messages.CloseNoServer && bell != none:
			panic(fmt.Sprintf("%s is closed with 4404 while %s holds", who, name(bell)))
		case m.Code == messages.CloseTooManyPhones && w.places(p.server) < w.m.cfg.MaxPhones:
			panic(fmt.Sprintf("%s is one too many, and there are %d others", who, w.places(p.server)))
		case m.Code == messages.CloseGoingAway && !w.down:
			panic(fmt.Sprintf("%s is closed with 1001 before the shutdown", who))
		}
	}
}

// leaves: the judge sees a claimant go, before the machine is told.
func (w *world) leaves(i int) {
	p := &w.who[i]
	if w.bell[p.server] == i {
		w.bell[p.server] = none
	}
	p.waits = false
}

// hears is what the actor of a connection does with its mail.
func (w *world) hears(p *actor, m messages.ToBinary) {
	switch m := m.(type) {
	case messages.Granted:
		if p.life == claiming {
			p.life, p.epoch = holding, m.Epoch
		}
	case messages.Probe:
		if p.life == holding {
			p.ping = ping{epoch: m.Epoch, number: m.Probe, out: true}
		}
	case messages.Refused, messages.Evicted, messages.Settled:
		p.life = gone
		p.inbox = nil
	}
}

// step lets the machine handle m, and judges what it says.
func (w *world) step(m messages.ToRegistry) {
	w.now = w.now.Add(time.Nanosecond)
	for _, e := range w.m.Step(w.now, m) {
		switch e := e.(type) {
		case Arm:
			w.armed = append(w.armed, e)
		case Record:
			w.judgeEntry(e.Entry)
		case TellPhone:
			w.judgePhone(int(e.To[0]-'p'), e.Message)
		case Tell:
			i := int(e.To[0] - 'a')
			w.judge(i, e.Message)
			w.who[i].inbox = append(slices.Clone(w.who[i].inbox), e.Message)
		}
	}
}

func (w *world) judgeEntry(e *Entry) {
	w.seq++
	if (e.Decided == Refused) != (e.Proof.Probe != 0) {
		panic("a refusal without proof in the journal, or a proof without refusal")
	}
	if e.Asked == 0 || e.Decided == 0 || e.Why == 0 || strings.Contains(e.Reason(), "?") {
		panic(fmt.Sprintf("an entry that does not say what, or why: %+v", *e))
	}
}

// judge holds what is told to the invariants of docs/ordering.md, by what was told and done before.
func (w *world) judge(i int, m messages.ToBinary) {
	p := &w.who[i]
	switch m := m.(type) {
	case messages.Granted:
		if w.bell[p.server] != none {
			panic(fmt.Sprintf("%s was granted a slot that %s holds", name(i), name(w.bell[p.server])))
		}
		w.answered(i)
		if m.Epoch <= w.epoch {
			panic(fmt.Sprintf("epoch %d came again", m.Epoch))
		}
		if w.down {
			panic("a grant after shutdown")
		}
		w.epoch, w.bell[p.server] = m.Epoch, i
		w.asked[p.server].out = false
		w.nobodyYoung(p.server)
	case messages.Refused:
		w.answered(i)
		if !p.proven {
			panic(fmt.Sprintf("%s was refused on proof of life older than its claim, or none", name(i)))
		}
		if w.bell[p.server] == none {
			panic(fmt.Sprintf("%s was refused while nobody held the slot", name(i)))
		}
	case messages.Evicted:
		if w.bell[p.server] == i {
			w.bell[p.server] = none
			if thrown := m.Code == messages.CloseServiceRestart; thrown != (w.ousted == p.server) || !thrown && w.silent != p.server {
				panic(fmt.Sprintf("%s was evicted, and no probe of it had just gone unanswered for its time", name(i)))
			}
		} else {
			w.answered(i)
		}
	case messages.Probe:
		if w.bell[p.server] != i {
			panic(fmt.Sprintf("%s was probed, and is not the holder", name(i)))
		}
		if w.asked[p.server].out {
			panic("a second probe while one is out")
		}
		w.asked[p.server] = ping{epoch: m.Epoch, number: m.Probe, to: i, out: true, sent: w.now}
		w.nobodyYoung(p.server)
		for j := range w.who {
			if c := &w.who[j]; c.server == p.server {
				c.young = c.waits
			}
		}
	case messages.Settled:
	}
}

func (w *world) nobodyYoung(server int) {
	for j := range w.who {
		if w.who[j].server == server {
			w.who[j].young = false
		}
	}
}

func (w *world) answered(i int) {
	p := &w.who[i]
	p.answers++
	if p.answers > 1 || !p.waits {
		panic(fmt.Sprintf("%s got an answer that it did not wait for", name(i)))
	}
	p.waits = false
}

// check is what must hold after every act.
func (w *world) check() string {
	if err := w.m.Check(); err != nil {
		return err.Error()
	}
	for i := range w.phones {
		if broken := w.checkPhone(i); broken != "" {
			return broken
		}
	}
	for i := range w.who {
		if p := &w.who[i]; p.waits && w.bell[p.server] == none && !w.down {
			return fmt.Sprintf("%s waits for a slot that nobody holds", name(i))
		}
		if p := &w.who[i]; p.waits && !w.down && !slices.ContainsFunc(w.armed, func(a Arm) bool { return w.wakes(p.server, a.Say) }) {
			return fmt.Sprintf("%s waits, and if nobody ever does anything it waits for ever", name(i))
		}
	}
	return ""
}

// checkPhone: who has a place has been told of the holder, and of no other; where there is none, it does not wait for ever.
func (w *world) checkPhone(i int) string {
	p, who := &w.phones[i], phoneName(i)
	if p.life != holding {
		return ""
	}
	bell := w.bell[p.server]
	switch {
	case w.down:
		return who + " has a place after the shutdown"
	case bell == none && p.epoch != 0:
		return fmt.Sprintf("%s believes that e%d holds, and nobody does", who, p.epoch)
	case bell != none && p.epoch == 0:
		return fmt.Sprintf("%s does not know that %s holds", who, name(bell))
	case bell == none && !slices.ContainsFunc(w.armed, func(a Arm) bool {
		m, ok := a.Say.(messages.GraceExpired)
		return ok && m.Server == server(p.server)
	}):
		return fmt.Sprintf("%s waits, and if nobody ever claims it waits for ever", who)
	}
	return ""
}

// wakes reports whether this timer will do something for those who wait for the slot.
func (w *world) wakes(i int, m messages.ToRegistry) bool {
	q := w.asked[i]
	switch m := m.(type) {
	case messages.ProbeExpired:
		return q.out && m.Server == server(i) && m.Probe == q.number && m.Epoch == q.epoch
	case messages.ProbeDue:
		return !q.out && m.Server == server(i) && m.Probe == q.number
	}
	return false
}

// stuck is what must hold where nothing more can happen: nobody waits for ever.
func (w *world) stuck() string {
	for i := range w.who {
		switch p := &w.who[i]; {
		case p.life == ending:
			return fmt.Sprintf("%s waits for Settled", name(i))
		case p.life == claiming && !w.down:
			return fmt.Sprintf("%s waits for an answer", name(i))
		}
	}
	return ""
}

// tellStory adds a line in the language of testdata/stories.
func (w *world) tellStory(format string, args ...any) {
	if w.story != nil {
		w.story = append(w.story, fmt.Sprintf(format, args...))
	}
}

// key names the state of the world, so that two walks that have come to the same are known to. Time counts only as far as the
// rules look at it: whether the probe interval is over.
func (w *world) key() string {
	b := make([]byte, 0, 512)
	n := func(ns ...int64) {
		for _, n := range ns {
			b = strconv.AppendInt(b, n, 36)
			b = append(b, '.')
		}
	}
	yes := func(bs ...bool) {
		for _, y := range bs {
			b = strconv.AppendBool(b, y)[:len(b)+1]
		}
	}
	for i := range w.who {
		p := &w.who[i]
		n(int64(p.life), int64(p.epoch), int64(p.ping.number))
		yes(p.waits, p.young, p.proven, p.ping.out)
		for _, m := range p.inbox {
			switch m := m.(type) {
			case messages.Granted:
				b = append(b, 'G')
				n(int64(m.Epoch))
			case messages.Probe:
				b = append(b, 'P')
				n(int64(m.Epoch), int64(m.Probe))
			case messages.Refused:
				b = append(b, 'R')
			case messages.Evicted:
				b = append(b, 'E')
			case messages.Settled:
				b = append(b, 'S')
			}
		}
	}
	for _, p := range w.phones {
		n(int64(p.life), int64(p.epoch))
	}
	yes(w.now.Before(w.m.opens))
	b = append(b, '|')
	armed := make([]string, len(w.armed))
	for i, a := range w.armed {
		switch m := a.Say.(type) {
		case messages.ProbeExpired:
			armed[i] = "e" + string(m.Server) + strconv.FormatInt(int64(m.Epoch)<<32|int64(m.Probe), 36)
		case messages.ProbeDue:
			armed[i] = "d" + string(m.Server) + strconv.FormatInt(int64(m.Probe), 36)
		case messages.GraceExpired:
			armed[i] = "g" + string(m.Server) + strconv.FormatInt(int64(m.Epoch), 36)
		}
	}
	slices.Sort(armed)
	for _, a := range armed {
		b = append(append(b, a...), ',')
	}
	yes(w.down, w.thrown)
	n(int64(w.epoch))
	for i, q := range w.asked {
		n(int64(q.epoch), int64(q.number), int64(q.to), int64(w.bell[i]))
		yes(q.out)
		s, known := w.m.slots[server(i)]
		n(int64(s.epoch), int64(s.holder.token), int64(s.probe.number))
		yes(s.lapsed)
		for _, p := range s.phones {
			n(int64(p.token))
		}
		yes(known, s.held(), s.probe.out, s.probe.due, s.probe.number > 0 && w.now.Before(s.probe.at.Add(w.m.cfg.ProbeInterval)))
		b = append(b, s.holder.conn...)
		for _, c := range s.waiting {
			n(int64(c.token), int64(c.needs))
		}
	}
	return string(b)
}
