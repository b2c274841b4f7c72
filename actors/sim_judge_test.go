package actors

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// judge has a model of its own, and asks the machine nothing. It believes the sockets' records and the order in which messages
// reached the actors, and holds the journal, and what is done to the sockets, against both.
type judge struct {
	world   *world
	verdict string // the first rule that was broken, and how

	seq     int64 // of the journal's last entry that was read
	epoch   messages.Epoch
	shut    bool // the registry has handled the shutdown
	known   map[messages.ConnID]*known
	at      map[messages.Address]*known
	holders map[messages.ServerID]*known
	left    map[messages.ServerID]time.Time // since when a slot is in grace

	seen seen
}

// known is what the judge knows of a connection.
type known struct {
	peer     *peer
	arrived  int            // the moment at which its claim reached the registry
	decided  slots.Decided  // the last that the journal said of it
	epoch    messages.Epoch // of its grant
	left     bool           // its Release or Withdraw has reached the registry
	givenUp  bool           // and was handled
	proved   map[messages.ProbeNumber]bool
	answered int  // how often it heard Granted, Refused or, instead of either, Evicted
	ousted   bool // the operator has thrown it out
	ill      bool // a panic hit it: it may be closed unsettled, or lose a slot that it has proved

	// Of phones.
	reached *known         // the binary that frames of it were sent to
	spoken  int            // how many
	told    messages.Epoch // of the holder that it heard of last; 0: none
	noticed bool           // a binary was told of its end
	ordered bool           // it was closed by its binary's order
	heard   map[messages.ConnID]int
}

// seen counts what happened: a world in which nothing happens keeps every rule.
type seen struct {
	Granted, InGrace, FirstInLine, Refused, TookOver, Freed, Evicted, Withdrawn, WithdrawnGrants, LateReleases, LatePongs, LateTimers,
	Ousted, Failed, PanicsOfBinaries, PanicsOfSockets, PanicsOfPhones int
	Attached, Parked, TurnedAway, TooMany, PhonesEvicted, CarriedOver, FramesToBinaries, FramesToPhones, Notices, Ordered, LostSessions, NoFrame, Overfull int
}

func newJudge(w *world) *judge {
	return &judge{
		world: w, known: map[messages.ConnID]*known{}, at: map[messages.Address]*known{},
		holders: map[messages.ServerID]*known{}, left: map[messages.ServerID]time.Time{},
	}
}

// must does not panic: it is called inside of actors too, and they would survive it.
func (j *judge) must(ok bool, format string, args ...any) {
	if !ok && j.verdict == "" {
		j.verdict = fmt.Sprintf(format, args...)
	}
}

func (j *judge) know(conn messages.ConnID) *known {
	k := j.known[conn]
	if k == nil {
		k = &known{peer: j.world.peer(conn), proved: map[messages.ProbeNumber]bool{}, heard: map[messages.ConnID]int{}}
		j.known[conn] = k
	}
	return k
}

// registryHandles comes before the machine sees m.
func (j *judge) registryHandles(m messages.ToRegistry, fails bool) {
	switch m := m.(type) {
	case messages.Claim:
		k := j.know(m.Conn)
		k.arrived, k.ill = j.world.moment, k.ill || fails
		j.at[m.From] = k
	case messages.Withdraw:
		j.givesUp(m.From, fails)
	case messages.Release:
		if k := j.givesUp(m.From, fails); j.holders[m.Server] != k {
			j.seen.LateReleases++
		}
	case messages.ProbeAnswered:
		h := j.holders[m.Server]
		if h == nil || h.epoch != m.Epoch {
			j.seen.LatePongs++
			return
		}
		h.proved[m.Probe], h.ill = !fails, h.ill || fails
	case messages.ProbeExpired:
		if h := j.holders[m.Server]; h == nil || h.epoch != m.Epoch || h.proved[m.Probe] {
			j.seen.LateTimers++
		}
	case messages.ShutDown:
		j.shut = true
	case messages.Join:
		k := j.know(m.Conn)
		k.arrived, k.ill = j.world.moment, k.ill || fails
		j.at[m.From] = k
	case messages.Leave:
		j.givesUp(m.From, false)
	}
}

func (j *judge) givesUp(from messages.Address, fails bool) *known {
	k := j.at[from]
	if k != nil { // else it panicked before it could claim
		k.left, k.givenUp, k.ill = true, k.givenUp || !fails, k.ill || fails
	}
	return k
}

// binaryHandles comes before the connection's actor sees m.
func (j *judge) binaryHandles(p *peer, m any, fails bool) {
	k := j.know(p.who.Conn)
	if fails {
		j.seen.PanicsOfBinaries++
		k.ill = true
	}
	switch m := m.(type) {
	case messages.Granted:
		k.answered++
		j.must(k.epoch == m.Epoch, "%s hears of grant e%d, the journal gave it e%d", p.who.Conn, m.Epoch, k.epoch)
	case messages.Refused:
		k.answered++
		j.must(k.decided == slots.Refused, "%s hears that it is refused, the journal says %s", p.who.Conn, k.decided)
	case messages.Evicted:
		if k.epoch == 0 {
			k.answered++
		}
	}
	j.must(k.answered <= 1, "%s is answered a second time", p.who.Conn)
}

// phoneHandles comes before the connection's actor sees m.
func (j *judge) phoneHandles(p *peer, m any, fails bool) {
	k := j.know(p.who.Conn)
	if fails {
		j.seen.PanicsOfPhones++
		k.ill = true
	}
	switch m := m.(type) {
	case messages.Attached:
		if k.told != 0 && k.reached == nil {
			j.seen.CarriedOver++
		}
		j.must(m.Epoch > k.told, "%s is attached to e%d after e%d", p.who.Conn, m.Epoch, k.told)
		k.told = m.Epoch
	case messages.Parked:
		j.must(m.Epoch == k.told, "%s is parked since e%d left, and was attached to e%d", p.who.Conn, m.Epoch, k.told)
	}
}

// sentToBinary: each frame of a phone once, in order, to one binary only, that of its slot.
func (j *judge) sentToBinary(p *peer, text string) {
	var e struct {
		Conn  messages.ConnID    `json:"conn_id"`
		Frame *string            `json:"frame"`
		Code  messages.CloseCode `json:"close_code"`
	}
	text = strings.Replace(text, padding, "", 1) // or the race detector would look at each byte of it, again and again
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		j.must(false, "%s: %v", text, err)
		return
	}
	b, k := j.know(p.who.Conn), j.know(e.Conn)
	j.must(k.peer.phone && k.peer.who.Server == p.who.Server, "%s of %s is sent something of %s of %s", p.who.Conn, p.who.Server, e.Conn, k.peer.who.Server)
	j.must(b.epoch != 0 && len(p.closes) == 0, "%s, which does not hold, is sent %s", p.who.Conn, text)
	j.must(!k.noticed, "%s: after its close notice: %s", e.Conn, text)
	if e.Frame == nil {
		k.noticed = true
		j.seen.Notices++
		j.must(k.reached == b, "%s does not know %s, and gets a notice", p.who.Conn, e.Conn)
		j.must(!k.ordered, "%s gets a notice of %s, which it had ordered", p.who.Conn, e.Conn)
		return
	}
	var conn messages.ConnID
	var n int
	_, err := fmt.Sscanf(*e.Frame, "%s %d", &conn, &n)
	j.must(err == nil && conn == e.Conn && n == k.spoken, "%s is sent %.40s, and had %d frames of it", p.who.Conn, text, k.spoken)
	j.must(k.reached == nil || k.reached == b, "%s is sent a frame of %s, which another has heard of", p.who.Conn, e.Conn)
	k.reached = b
	k.spoken++
	p.heard[e.Conn]++
	j.seen.FramesToBinaries++
}

// sentToPhone: what the binary of its slot has said to it, each once and in order.
func (j *judge) sentToPhone(p *peer, text string) {
	k := j.know(p.who.Conn)
	j.seen.FramesToPhones++
	j.must(len(p.closes) == 0, "%s is sent %s after it was closed", p.who.Conn, text)
	var from messages.ConnID
	var n int
	if text == `"made up"` {
		return // by somebody who knows no better
	}
	_, err := fmt.Sscanf(strings.Trim(text, `"`), "%s %d", &from, &n)
	j.must(err == nil && n == k.heard[from], "%s is sent %s, and had %d of that", p.who.Conn, text, k.heard[from])
	j.must(err == nil && j.know(from).peer.who.Server == p.who.Server && k.reached == j.know(from), "%s of %s is sent %s", p.who.Conn, p.who.Server, text)
	k.heard[from]++
}

// phoneCloses comes when a phone's socket is told to close.
func (j *judge) phoneCloses(p *peer, code messages.CloseCode, reason string) {
	k, who := j.know(p.who.Conn), p.who.Conn
	k.ordered = k.ordered || reason == "" && (!p.over || p.said != code)
	if k.ill {
		return
	}
	j.must(len(p.closes) == 0, "%s is closed twice", who)
	switch {
	case code == messages.CloseNoServer && k.decided == slots.TurnedAway:
	case code == messages.CloseNoServer && k.reached != nil:
		j.seen.LostSessions++
	case code == messages.CloseNoServer:
		// Evicted, or a frame of it was handed to a binary whose connection had just ended.
		j.must(k.decided == slots.Left || p.spoken > 0, "%s is closed with 4404, the journal says %s", who, k.decided)
	case code == messages.CloseTooManyPhones:
		j.must(k.decided == slots.TurnedAway, "%s is closed with 4429, the journal says %s", who, k.decided)
		j.seen.TooMany++
	case reason == messages.ReasonShuttingDown:
		j.must(j.shut && code == messages.CloseGoingAway, "%s is closed with %d %s before the shutdown", who, code, reason)
	case reason == messages.ReasonInvalidFrame:
		j.must(p.garbage && code == messages.CloseInvalidData, "%s is closed with %d %s", who, code, reason)
		j.seen.NoFrame++
	case reason == messages.ReasonBacklog:
		j.must(p.full && code == messages.CloseInternal, "%s is closed with %d %s", who, code, reason)
		j.seen.Overfull++
	case p.over && p.said == code:
	default:
		ordered := false
		for _, b := range j.world.peers {
			ordered = ordered || b.who.Server == p.who.Server && slices.Contains(b.orders[who], code)
		}
		j.must(ordered && reason == "", "%s is closed with %d %s, which nobody has ordered", who, code, reason)
		j.seen.Ordered++
	}
}

// pings comes when a socket is told to ping.
func (j *judge) pings(p *peer, probe messages.Probe) {
	k := j.know(p.who.Conn)
	j.must(k.epoch == probe.Epoch, "%s, granted e%d, is pinged for e%d", p.who.Conn, k.epoch, probe.Epoch)
	j.must(len(p.closes) == 0, "%s is pinged after it was closed", p.who.Conn)
}

// closes comes when a socket is told to close.
func (j *judge) closes(p *peer, code messages.CloseCode, reason string) {
	if p.phone {
		j.phoneCloses(p, code, reason)
		return
	}
	k, who := j.know(p.who.Conn), p.who.Conn
	if k.ill {
		return // it may be closed twice, unsettled, and with 1011
	}
	j.must(len(p.closes) == 0, "%s is closed twice", who)
	j.must(j.holders[p.who.Server] != k, "%s is closed while it holds %s: its next self would find the slot taken", who, p.who.Server)
	j.must(k.decided != slots.Waiting || j.shut, "%s is closed while its claim waits", who)
	switch {
	case code == messages.CloseClaimed:
		j.must(k.decided == slots.Refused && reason == messages.ReasonClaimed, "%s is closed with 4409, the journal says %s", who, k.decided)
	case reason == messages.ReasonHeartbeatTimeout:
		j.must(k.epoch != 0 && code == messages.CloseInternal, "%s, which held nothing, is closed with %d %s", who, code, reason)
	case reason == messages.ReasonShuttingDown:
		j.must(j.shut && code == messages.CloseGoingAway, "%s is closed with %d %s before the shutdown", who, code, reason)
	case reason == messages.ReasonReleased:
		j.must(k.ousted && code == messages.CloseServiceRestart, "%s is closed with %d %s, and nobody threw it out", who, code, reason)
	default:
		j.must(p.over && p.said == code, "%s is closed with %d %s, its socket said %d", who, code, reason, p.said)
	}
}

func (j *judge) socketFails(p *peer) {
	j.seen.PanicsOfSockets++
	j.know(p.who.Conn).ill = true
}

// look reads what is new in the journal.
func (j *judge) look() {
	var chunk [CopyChunk]slots.Entry
	for n := j.world.relay.journal.Read(j.seq, chunk[:]); n > 0; n = j.world.relay.journal.Read(j.seq, chunk[:]) {
		for i := range n {
			e := &chunk[i]
			j.must(e.Seq == j.seq+1, "the journal goes from %d to %d", j.seq, e.Seq)
			j.seq = e.Seq
			if j.world.told {
				j.world.say("   %s", e.Line(j.world.begin))
			}
			j.read(e)
		}
	}
}

func (j *judge) read(e *slots.Entry) {
	if e.Decided == slots.Failed {
		j.seen.Failed++
		return
	}
	k := j.know(e.Conn)
	h := j.holders[e.Server]
	left, inGrace := j.left[e.Server]
	switch e.Decided {
	case slots.Granted:
		j.must(h == nil, "#%d: %s is granted while %v holds", e.Seq, e.Conn, h)
		j.must(inGrace == (e.Why == slots.InGrace || e.Why == slots.FirstInLine), "#%d: %s, but grace is %v", e.Seq, e.Reason(), inGrace)
		j.granted(k, e)
	case slots.TookOver:
		j.takenOver(h, e)
		j.granted(k, e)
	case slots.Waiting:
		j.must(h != nil && h != k, "#%d: %s waits for nobody", e.Seq, e.Conn)
	case slots.Refused:
		j.must(k.decided == slots.Waiting && !k.givenUp, "#%d: %s, which does not wait, is refused", e.Seq, e.Conn)
		j.proves(e, k, h)
	case slots.Released:
		k.ousted = e.Asked == slots.AskedOperatorRelease
		if k.ousted {
			j.seen.Ousted++
		}
		j.must(h == k && (k.givenUp || k.ousted || j.shut), "#%d: %s has not given %s back", e.Seq, e.Conn, e.Server)
		delete(j.holders, e.Server)
		j.left[e.Server] = e.Time
		if e.Asked == slots.AskedWithdraw {
			j.seen.WithdrawnGrants++
		}
		if j.world.slots.Grace == 0 && !j.world.waits(e.Server) {
			delete(j.left, e.Server)
		}
	case slots.Withdrawn:
		j.must(k.decided == slots.Waiting && (k.givenUp || j.shut), "#%d: %s has not left", e.Seq, e.Conn)
		j.seen.Withdrawn++
	case slots.Freed:
		j.must(inGrace && (j.shut || e.Time.Sub(left) >= j.world.slots.Grace), "#%d: freed after %v", e.Seq, e.Time.Sub(left))
		delete(j.left, e.Server)
		j.seen.Freed++
		return // it is about a connection of long ago
	case slots.Attached:
		j.must(h != nil && !j.shut && k.decided == 0, "#%d: %s is attached to nobody", e.Seq, e.Conn)
		j.seen.Attached++
	case slots.Parked:
		j.must(h == nil && !j.shut && k.decided == 0, "#%d: %s is parked while %v holds", e.Seq, e.Conn, h)
		j.must(inGrace == (e.Why == slots.InGrace), "#%d: %s, but grace is %v", e.Seq, e.Reason(), inGrace)
		j.must(inGrace || time.Since(j.world.begin) < j.world.slots.StartupGrace, "#%d: %s is parked in no grace", e.Seq, e.Conn)
		j.seen.Parked++
	case slots.TurnedAway:
		j.must(k.decided == 0 && (j.shut || e.Why == slots.NoPlace || h == nil && !inGrace), "#%d: %s is turned away: %s", e.Seq, e.Conn, e.Reason())
		j.seen.TurnedAway++
	case slots.Left:
		j.must(k.decided == slots.Attached || k.decided == slots.Parked, "#%d: %s leaves, and was %s", e.Seq, e.Conn, k.decided)
		j.must(k.left || j.shut || h == nil, "#%d: %s has not left", e.Seq, e.Conn)
		if !k.left && !j.shut {
			j.seen.PhonesEvicted++
		}
	case slots.Evicted:
		j.must(j.shut, "#%d: %s is evicted before the shutdown", e.Seq, e.Conn)
		j.seen.Evicted++
	}
	k.decided = e.Decided
	j.count(e)
}

// waits is what the judge knows of a line: somebody's claim waits for the slot.
func (w *world) waits(server messages.ServerID) bool {
	for _, k := range w.judge.known {
		if k.peer.who.Server == server && k.decided == slots.Waiting && !k.givenUp {
			return true
		}
	}
	return false
}

func (j *judge) granted(k *known, e *slots.Entry) {
	j.must(!j.shut, "#%d: granted after the shutdown", e.Seq)
	j.must(e.Epoch > j.epoch, "#%d: epoch %d after %d", e.Seq, e.Epoch, j.epoch)
	j.must(k.arrived > 0 && k.epoch == 0 && !k.givenUp, "#%d: %s does not ask for a grant", e.Seq, e.Conn)
	j.must(k.decided == 0 || k.decided == slots.Waiting, "#%d: %s is granted after it was %s", e.Seq, e.Conn, k.decided)
	j.epoch, k.epoch = e.Epoch, e.Epoch
	j.holders[e.Server] = k
	delete(j.left, e.Server)
}

// takenOver: never from a holder that answers in time.
func (j *judge) takenOver(h *known, e *slots.Entry) {
	if h == nil {
		j.must(false, "#%d: taken over from nobody", e.Seq)
		return
	}
	j.must(!h.proved[e.Probe], "#%d: %s had proved that it lives", e.Seq, h.peer.who.Conn)
	if j.world.lazy || h.ill {
		return
	}
	for _, ping := range h.peer.pings {
		if ping.probe.Probe == e.Probe {
			j.must(ping.answered.IsZero() || !ping.answered.Before(e.Time), "#%d: %s had answered in time", e.Seq, h.peer.who.Conn)
		}
	}
}

// proves: a refusal needs a pong, of the holder, to a ping that left after the refused claim had come.
func (j *judge) proves(e *slots.Entry, k, h *known) {
	if h == nil || e.Proof.Conn != h.peer.who.Conn {
		j.must(false, "#%d: the proof is %s's, who does not hold %s", e.Seq, e.Proof.Conn, e.Server)
		return
	}
	for _, ping := range h.peer.pings {
		if ping.probe.Probe == e.Proof.Probe && ping.probe.Epoch == h.epoch {
			j.must(ping.moment > k.arrived, "#%d: %s was refused on proof of life older than its claim", e.Seq, e.Conn)
			j.must(!ping.answered.IsZero() && ping.answered.Equal(e.Proof.Answered), "#%d: that pong never came", e.Seq)
			j.must(ping.sent.Equal(e.Proof.Sent), "#%d: that ping left at another time", e.Seq)
			return
		}
	}
	j.must(false, "#%d: no such ping was ever sent", e.Seq)
}

func (j *judge) count(e *slots.Entry) {
	switch {
	case e.Decided == slots.Granted && e.Why == slots.InGrace:
		j.seen.InGrace++
	case e.Decided == slots.Granted && e.Why == slots.FirstInLine:
		j.seen.FirstInLine++
	case e.Decided == slots.Granted:
		j.seen.Granted++
	case e.Decided == slots.TookOver:
		j.seen.TookOver++
	case e.Decided == slots.Refused:
		j.seen.Refused++
	}
}

// atRest is asked when nothing has happened for so long that every probe, grace and wait is over.
func (j *judge) atRest() {
	relay, open := j.world.relay, 0
	for _, p := range j.world.peers {
		k := j.know(p.who.Conn)
		holds := j.holders[p.who.Server] == k
		if p.phone {
			open += j.phoneAtRest(p, k)
			continue
		}
		if len(p.closes) == 0 {
			open++
			j.must(j.shut || holds, "%s is left without an answer", p.who.Conn)
		} else {
			j.must(!holds || k.left, "%s is closed and has not given %s back", p.who.Conn, p.who.Server)
		}
	}
	j.must(relay.Holders() == len(j.holders), "%d holders are counted, there are %d", relay.Holders(), len(j.holders))
	j.must(len(j.left) == 0 || j.shut, "a grace does not end")
	actors := j.world.connectionActors()
	j.must(actors == open, "%d actors live for %d open connections", actors, open)
	if err := relay.registry.machine.Check(); err != nil {
		j.must(false, "%v", err)
	}
}

// phoneAtRest: a phone that is not closed belongs to somebody, who lets it speak. It gives 1 for an open phone.
func (j *judge) phoneAtRest(p *peer, k *known) (open int) {
	placed := k.decided == slots.Attached || k.decided == slots.Parked
	if len(p.closes) > 0 {
		j.must(!placed || k.ill, "%s is closed and keeps its place", p.who.Conn)
		return 0
	}
	h := j.holders[p.who.Server]
	j.must(j.shut || placed && h != nil, "%s waits for nobody, %s", p.who.Conn, k.decided)
	if h != nil && !h.peer.silent && !h.ill && !j.shut {
		j.must(p.reads, "%s is held back, and everything that it sent has been taken", p.who.Conn)
	}
	return 1
}

// atTheEnd is asked when the relay has shut down, and everything was closed.
func (j *judge) atTheEnd() {
	relay := j.world.relay
	for _, p := range j.world.peers {
		j.must(len(p.closes) > 0, "%s is never closed", p.who.Conn)
	}
	j.must(relay.Phones() == 0, "%d phones after the end", relay.Phones())
	j.must(relay.Holders() == 0 && relay.registry.machine.Len() == 0, "%d holders after the end", relay.Holders())
	j.must(j.world.connectionActors() == 0, "a connection's actor lives on")
}

// connectionActors is how many connections' actors there are, by the actor system's own count.
func (w *world) connectionActors() int {
	guardians, kinds := 0, map[bool]bool{} // one comes with the first connection of a kind, and stays
	for _, p := range w.peers {
		if !kinds[p.phone] {
			kinds[p.phone] = true
			guardians++
		}
	}
	return processes(w.relay.system) - w.processes - guardians
}

// processes is the actor system's own count of what it knows, actors among it.
func processes(system *actor.ActorSystem) int {
	n := 0
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		n += bucket.Count()
	}
	return n
}
