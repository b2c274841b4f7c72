package actors

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// simTimes are the relay's in the simulator.
var simTimes = slots.Config{Grace: 2 * time.Second, ProbeTimeout: 500 * time.Millisecond, ProbeInterval: 100 * time.Millisecond, MaxPhones: 3}

// world is one life of a relay: the real registry and the real connection actors on their real mailboxes, with sockets and peers of
// the test's, in a bubble where time is the test's too. A seed picks, again and again, what happens next: which mailbox
// handles a message, which peer does what, that time passes. All of it happens on one goroutine, so a seed is a life.
type world struct {
	rng   *rand.Rand
	begin time.Time
	slots slots.Config
	lazy  bool // time may pass while mail waits: a relay that is short of CPU, in which every timer is late
	ills  int  // how many more panics there may be

	relay     *Relay
	processes int // of the actor system, before the first connection
	peers     []*peer
	net       []*event // what is under way in the network
	moment    int      // counts what happens: an order within an instant

	mu       sync.Mutex // guards runnable: the registry's timer tells it from a goroutine of its own
	runnable []*mailbox // whose actors have mail, in the order in which they got it

	judge  *judge
	closed bool // the shutdown has begun
	story  []string
	told   bool // whether anybody listens to the story
}

// event is something that reaches the relay from outside, at a time or later.
type event struct {
	at   time.Time
	text string
	do   func()
}

// injected is the reason of the test's own panics.
type injected string

func newWorld(seed uint64, system *actor.ActorSystem, told bool) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0)), begin: time.Now(), slots: simTimes, told: told}
	w.lazy = w.chance(40)
	if w.chance(25) {
		w.slots.Grace = 0
	}
	if w.chance(30) {
		w.slots.StartupGrace = 3 * time.Second
	}
	if w.chance(50) {
		w.ills = 1 + w.rng.IntN(3)
	}
	w.judge = newJudge(w)
	w.relay = Start(Config{
		Slots: w.slots, system: system, tap: w.tap,
		later: func(m *mailbox) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.runnable = append(w.runnable, m)
		},
	})
	w.processes = processes(system)
	return w
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func (w *world) say(format string, args ...any) {
	if w.told {
		w.story = append(w.story, fmt.Sprintf(format, args...))
	}
}

// tap sees each message before its actor does, and is where the actors' own code may fail.
func (w *world) tap(who messages.ConnID, m any) {
	w.moment++
	fails := w.ills > 0 && w.rng.IntN(60) == 0
	switch m := m.(type) {
	case messages.ToRegistry:
		if _, end := m.(messages.ShutDown); end {
			fails = false
		}
		if slots.Text(m) != fmt.Sprintf("%T", m) { // what a timer says
			w.say("   %s", slots.Text(m))
		}
		w.judge.registryHandles(m, fails)
	case Binary, Phone, messages.ToBinary, messages.ToPhone:
		if p := w.peer(who); p.phone {
			w.judge.phoneHandles(p, m, fails)
		} else {
			w.judge.binaryHandles(p, m, fails)
		}
	default:
		return
	}
	if fails {
		w.ills--
		w.say("   panic in %s at %s", nameOr(who, "the registry"), slots.Text(m))
		panic(injected("as told"))
	}
}

func nameOr(who messages.ConnID, other string) string {
	if who == "" {
		return other
	}
	return string(who)
}

func (w *world) peer(conn messages.ConnID) *peer {
	i := slices.IndexFunc(w.peers, func(p *peer) bool { return p.who.Conn == conn })
	return w.peers[i]
}

// live is the whole life: a busy time, a quiet one, and the end.
func (w *world) live() {
	for range 40 + w.rng.IntN(80) {
		w.act()
	}
	if w.chance(30) {
		w.shutDown()
		for range w.rng.IntN(15) {
			w.act()
		}
	}
	// A quiet time, long enough for every probe of every dead holder in line, and for every grace.
	w.drain()
	w.lazy = false
	w.pass(time.Duration(len(w.peers)+4)*2*w.slots.ProbeTimeout + w.slots.Grace + 3*retryAfter)
	w.judge.atRest()
	w.look()
	if !w.closed {
		w.shutDown()
		w.drain()
	}
	for _, p := range w.peers {
		p.end(messages.CloseGoingAway, "the relay closes it")
	}
	w.drain()
	w.judge.atTheEnd()
	w.look()
	w.relay.system.Root.Poison(w.relay.registryPID)
	w.relay.system.Root.Poison(w.relay.scribePID)
	w.drain()
}

// act is one thing that happens.
func (w *world) act() {
	w.moment++
	switch draw := w.rng.IntN(100); {
	case draw < 55:
		w.handleOne()
	case draw < 65:
		w.happenOne()
	case draw < 74:
		w.connect()
	case draw < 92:
		w.somePeer((*peer).acts)
	case draw < 93:
		w.operatorReleases()
	default:
		d := []time.Duration{time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}
		w.pass(d[w.rng.IntN(len(d))])
	}
	w.look()
}

// look ends the life when a rule is broken.
func (w *world) look() {
	w.judge.look()
	if w.judge.verdict != "" {
		panic(w.judge)
	}
}

// handleOne has one actor handle one message.
func (w *world) handleOne() bool {
	w.mu.Lock()
	var m *mailbox
	if waiting := len(w.runnable); waiting > 0 {
		i := w.rng.IntN(waiting)
		m = w.runnable[i]
		w.runnable = slices.Delete(w.runnable, i, i+1)
	}
	w.mu.Unlock()
	if m == nil {
		return false
	}
	m.run(nil, 1) // one message; if there are more, it becomes runnable again
	w.look()
	return true
}

// drain lets the actors handle what there is.
func (w *world) drain() {
	for w.handleOne() {
	}
}

// happenOne lets something arrive whose time has come. What one peer sent arrives in its order: it is one TCP stream.
func (w *world) happenOne() bool {
	now := time.Now()
	var ready []int
	for i, e := range w.net {
		if !e.at.After(now) {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		return false
	}
	i := ready[w.rng.IntN(len(ready))]
	e := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	w.say("%s", e.text)
	e.do()
	return true
}

// pass lets time pass. Unless the relay is lazy, it stops at whatever is due, and all of that is dealt with: a relay with CPU to
// spare.
func (w *world) pass(d time.Duration) {
	until := time.Now().Add(d)
	for {
		if !w.lazy {
			for w.handleOne() || w.happenOne() {
			}
		}
		now := time.Now()
		if !now.Before(until) {
			return
		}
		next := until
		if !w.lazy {
			for _, e := range w.net {
				if e.at.Before(next) {
					next = e.at
				}
			}
			if ring := w.relay.registry.timers.set; !ring.IsZero() && ring.Before(next) {
				w.judge.must(ring.After(now), "the registry's timer has rung, and is not set anew")
				next = ring
			}
			w.look()
		}
		<-time.After(max(next.Sub(now), time.Nanosecond))
		synctest.Wait() // the registry's timer has told it
		w.say("at %s", time.Since(w.begin))
	}
}

func (w *world) connect() {
	if len(w.peers) >= 16 {
		return
	}
	servers := []messages.ServerID{"alpha", "alpha", "alpha", "beta"}
	p := &peer{world: w, heard: map[messages.ConnID]int{}, spoke: map[messages.ConnID]int{}, orders: map[messages.ConnID][]messages.CloseCode{}, who: Binary{
		Server: servers[w.rng.IntN(len(servers))], Conn: messages.ConnID(fmt.Sprintf("c%d", len(w.peers))), Version: "1", Remote: "192.0.2.1",
	}}
	switch draw := w.rng.IntN(10); {
	case draw < 5:
		p.delay = time.Duration(w.rng.Int64N(int64(w.slots.ProbeTimeout - time.Millisecond))) // slow, but in time
	case draw < 7:
		p.delay = w.slots.ProbeTimeout + time.Duration(w.rng.Int64N(int64(time.Second))) // too late
	default:
		p.silent = true
	}
	w.peers = append(w.peers, p)
	if w.chance(45) {
		p.phone, p.silent = true, false
		w.say("%s joins %s", p.who.Conn, p.who.Server)
		p.inbox = w.relay.Phone(p, Phone{Server: p.who.Server, Conn: p.who.Conn})
		return
	}
	w.say("%s claims %s (%s)", p.who.Conn, p.who.Server, p)
	p.inbox = w.relay.Binary(p, p.who)
}

func (w *world) operatorReleases() {
	server := []messages.ServerID{"alpha", "beta"}[w.rng.IntN(2)]
	w.say("the operator releases %s", server)
	w.relay.tellRegistry(messages.OperatorRelease{Server: server})
}

func (w *world) somePeer(do func(*peer)) {
	if len(w.peers) > 0 {
		do(w.peers[w.rng.IntN(len(w.peers))])
	}
}

func (w *world) shutDown() {
	w.say("the relay shuts down")
	w.closed = true
	w.relay.tellRegistry(messages.ShutDown{})
}

// peer is a binary or a phone at the far end, and the relay's socket to it.
type peer struct {
	world *world
	who   Binary
	phone bool
	inbox *Inbox

	silent bool          // its machine sleeps: nothing comes from it, not even an end
	delay  time.Duration // how long its pongs take
	over   bool          // the socket has said Ended
	said   messages.CloseCode
	closes []string // how the relay closed it
	pings  []ping

	// Of phones.
	reads   bool // not paused
	spoken  int  // frames that were read from it
	garbage bool // something was read from it that is none
	full    bool // a frame did not fit

	// Of binaries.
	heard  map[messages.ConnID]int // frames that were sent to it, of each phone
	spoke  map[messages.ConnID]int // frames that were read from it, for each phone that it had heard of
	orders map[messages.ConnID][]messages.CloseCode
	asked  bool // a Written
}

// ping is what a socket knows of a probe. The judge believes nobody else.
type ping struct {
	probe    messages.Probe
	sent     time.Time
	moment   int
	answered time.Time // when the pong reached the relay; zero: it has not
}

func (p *peer) String() string {
	switch {
	case p.silent:
		return "its peer is silent"
	case p.delay > p.world.slots.ProbeTimeout:
		return "its peer answers too late"
	}
	return "its peer is alive"
}

// Ping implements Socket.
func (p *peer) Ping(probe messages.Probe) {
	p.world.judge.pings(p, probe)
	i, sent := len(p.pings), time.Now()
	p.pings = append(p.pings, ping{probe: probe, sent: sent, moment: p.world.moment})
	if p.silent {
		return
	}
	p.world.net = append(p.world.net, &event{sent.Add(p.delay), fmt.Sprintf("%s answers probe %d", p.who.Conn, probe.Probe), func() {
		if p.silent || p.over || len(p.closes) > 0 {
			return
		}
		p.pings[i].answered = time.Now()
		p.inbox.Tell(messages.Ponged{Epoch: probe.Epoch, Probe: probe.Probe, Sent: sent, Answered: time.Now()})
	}})
}

// Close implements Socket.
func (p *peer) Close(code messages.CloseCode, reason string) {
	p.world.say("   %s is closed: %d %s", p.who.Conn, code, reason)
	p.world.judge.closes(p, code, reason)
	p.closes = append(p.closes, strings.TrimSpace(fmt.Sprintf("%d %s", code, reason)))
	if p.world.ills > 0 && p.world.rng.IntN(60) == 0 {
		p.world.ills--
		p.world.say("   panic in the socket of %s", p.who.Conn)
		p.world.judge.socketFails(p)
		panic(injected("as told"))
	}
}

// Drop implements Socket.
func (p *peer) Drop(code messages.CloseCode, reason string) { p.Close(code, reason) }

// Send implements Socket.
func (p *peer) Send(head, frame, tail []byte, _ messages.Passing) bool {
	text := string(head) + string(frame) + string(tail)
	if p.phone && p.world.chance(14) {
		p.full = true
		p.world.say("   %s does not fit into the backlog of %s", text, p.who.Conn)
		return false
	}
	p.world.say("   %s is sent %s", p.who.Conn, text)
	if p.phone {
		p.world.judge.sentToPhone(p, text)
	} else {
		p.world.judge.sentToBinary(p, text)
	}
	return true
}

// Notify implements Socket.
func (p *peer) Notify() {
	p.world.judge.must(!p.asked, "%s is asked for a second Written", p.who.Conn)
	p.asked = true
	if p.silent {
		return
	}
	p.world.net = append(p.world.net, &event{time.Now().Add(p.delay), fmt.Sprintf("%s has taken what was sent", p.who.Conn), func() {
		if !p.silent && !p.over && len(p.closes) == 0 {
			p.asked = false
			p.inbox.Tell(messages.Written{})
		}
	}})
}

// Pause implements Socket.
func (p *peer) Pause() { p.reads = false }

// Resume implements Socket.
func (p *peer) Resume() { p.reads = true }

// end is the socket's last word.
func (p *peer) end(code messages.CloseCode, how string) {
	if p.over || len(p.closes) > 0 {
		return
	}
	p.world.say("%s: %s", p.who.Conn, how)
	p.over, p.said = true, code
	p.inbox.Tell(messages.Ended{Code: code})
}

// acts: the peer, or its network, does something of its own.
func (p *peer) acts() {
	if draw := p.world.rng.IntN(100); draw < 85 {
		if p.silent || p.over || len(p.closes) > 0 {
			return
		}
		if p.phone {
			p.speaks(draw)
		} else {
			p.answers(draw)
		}
		return
	}
	switch draw := p.world.rng.IntN(10); {
	case draw < 2 && !p.phone:
		p.world.say("%s falls silent", p.who.Conn)
		p.silent = true
	case draw < 4:
		p.end(messages.CloseNone, "its peer is gone")
	case draw < 6 && !p.silent:
		p.end(messages.CloseNormal, "its peer sends a close frame")
	case draw < 7 && !p.silent:
		p.end(messages.CloseProtocolError, "its peer breaks the protocol")
	}
}

// speaks: the phone sends a frame. What was sent is read, unless the socket is paused; and even then if that came too late.
func (p *peer) speaks(draw int) {
	if !p.reads && draw > 5 || p.inbox.box.read >= p.inbox.box.kind.room { // its socket's reader would wait
		return
	}
	frame := fmt.Sprintf(`"%s %d"`, p.who.Conn, p.spoken)
	if draw == 0 {
		p.garbage, frame = true, "garbage"
	} else if draw > 40 { // large, so that windows are used up
		frame = frame[:len(frame)-1] + " " + padding + `"`
	}
	p.spoken++
	p.world.say("%s says %.40s", p.who.Conn, frame)
	p.isRead(frame)
}

var padding = strings.Repeat("x", 150<<10)

// answers: the binary sends an envelope, to a phone that it has heard of, to another, or to nobody.
func (p *peer) answers(draw int) {
	if draw < 5 {
		p.isRead("nonsense")
		return
	}
	to := p.world.peers[p.world.rng.IntN(len(p.world.peers))].who.Conn
	if known := slices.Sorted(maps.Keys(p.heard)); len(known) > 0 && p.world.chance(80) {
		to = known[p.world.rng.IntN(len(known))]
	}
	frame := `"made up"`
	if p.heard[to] > 0 && p.orders[to] == nil {
		frame = fmt.Sprintf(`"%s %d"`, p.who.Conn, p.spoke[to])
		p.spoke[to]++
	}
	envelope := fmt.Sprintf(`{"conn_id":"%s","frame":%s}`, to, frame)
	if draw < 25 {
		code := []messages.CloseCode{4000, 1000, 1005, 7}[p.world.rng.IntN(4)]
		p.orders[to] = append(p.orders[to], sendable(code))
		envelope = fmt.Sprintf(`{"conn_id":"%s","frame":%s,"close_code":%d}`, to, frame, code)
	}
	p.world.say("%s says %s", p.who.Conn, envelope)
	p.isRead(envelope)
}

// isRead: the socket reads a message, into bytes that it uses again.
func (p *peer) isRead(message string) {
	lent := []byte(message)
	p.inbox.Tell(&messages.Received{Bytes: lent})
	clear(lent)
}
