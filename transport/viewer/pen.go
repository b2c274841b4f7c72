package viewer

import (
	"strconv"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// none is no lane.
const none = -1

// pen draws entry by entry, and knows what is open where it stands: who holds the slot, who waits, which probe is out.
// The journal says each of these when it begins or ends; where the beginning is not among the entries, the drawing begins with it.
type pen struct {
	*chart
	lanes                 map[messages.ConnID]int
	crowd, phones, nobody int // the shared lanes
	x                     int // where it stands

	holder  int // the lane of who holds the slot, or held it last
	holding span
	grace   span
	probe   span
	asked   messages.ProbeNumber // the last probe that went out
	waits   map[messages.ConnID]messages.ProbeNumber
	queues  [2][]span // the waiting spans that are open: of lanes of their own, of the crowd
}

func (p *pen) draw(e *slots.Entry) {
	lane := p.laneOf(e)
	l := &p.Lanes[lane]
	if l.Count++; l.First == 0 {
		l.First = e.Seq
	}
	if e.Version != "" && !l.Shared {
		l.Version = e.Version
	}
	p.Marks = append(p.Marks, mark{Entry: e, Kind: kind(e), Asked: asked(e), X: p.x, Y: l.Y})
	switch e.Decided {
	case slots.Granted:
		p.granted(e, lane)
	case slots.TookOver:
		p.takenOver(e, lane)
	case slots.Waiting:
		p.waiting(e, lane)
	case slots.Refused:
		p.refused(e, lane)
	case slots.Withdrawn:
		p.answered(e.Conn, lane)
	case slots.Released:
		p.released(e, lane)
	case slots.Freed:
		p.inGrace(lane)
		p.end(&p.grace)
	case slots.Attached:
		p.heldBy(e.Other)
	case slots.Parked:
		if former, known := p.lanes[e.Other]; known && p.holding.Kind == "" {
			p.inGrace(former)
		}
	}
}

// kind is the shape of a decision.
func kind(e *slots.Entry) string {
	if e.Decided == slots.Released && e.Why == slots.ByOperator {
		return "thrown_out"
	}
	return e.Decided.String()
}

// asked reports whether the connection of the decision has itself sent the message.
func asked(e *slots.Entry) bool {
	switch e.Asked {
	case slots.AskedClaim, slots.AskedJoin:
		return true
	case slots.AskedWithdraw, slots.AskedLeave, slots.AskedRelease:
		return e.Decided == slots.Released || e.Decided == slots.Withdrawn || e.Decided == slots.Left && e.Why == slots.ConnectionEnded
	}
	return false
}

func (p *pen) laneOf(e *slots.Entry) int {
	switch lane, own := p.lanes[e.Conn]; {
	case ofPhone(e):
		return p.phones
	case e.Conn == "":
		return p.nobody
	case own:
		return lane
	}
	return p.crowd
}

func (p *pen) granted(e *slots.Entry, lane int) {
	switch e.Why {
	case slots.InGrace:
		p.inGrace(p.lanes[e.Other])
		p.end(&p.grace)
		p.join("granted", p.lanes[e.Other], lane)
	case slots.FirstInLine: // no grace lies between a release and the grant of the next in line
		p.grace = span{}
		p.join("granted", p.lanes[e.Other], lane)
	default: // there was no grace, or it is over
		p.grace = span{}
	}
	p.holds(e, lane)
}

// takenOver: the silence of the former holder moves the slot.
func (p *pen) takenOver(e *slots.Entry, lane int) {
	p.heldBy(e.Other)
	p.probing(e.Probe)
	p.probe.Result = "silent"
	p.end(&p.probe)
	p.end(&p.holding)
	p.join("took_over", p.holder, lane)
	p.holds(e, lane)
}

func (p *pen) holds(e *slots.Entry, lane int) {
	p.end(&p.holding) // of a holder whose end is not among the entries
	p.answered(e.Conn, lane)
	p.holder = lane
	p.holding = span{Kind: "holding", Lane: lane, X1: p.x, Epoch: e.Epoch}
	p.probeNext()
}

func (p *pen) waiting(e *slots.Entry, lane int) {
	p.heldBy(e.Other)
	if e.Why == slots.HolderMustProve && p.probe.Probe < e.Probe {
		p.end(&p.probe) // it was answered when nobody waited any more
	}
	queue := &p.queues[0]
	if lane == p.crowd {
		queue = &p.queues[1]
	}
	if len(*queue) == 0 || lane != p.crowd {
		*queue = append(*queue, span{Kind: "waiting", Lane: lane, X1: p.x})
	}
	p.waits[e.Conn] = e.Probe
	p.probing(e.Probe)
}

func (p *pen) refused(e *slots.Entry, lane int) {
	p.heldBy(e.Proof.Conn)
	if p.probe.Kind == "" && p.asked < e.Proof.Probe { // it went out before the first of the entries
		p.probe, p.asked = span{Kind: "probe", Lane: p.holder, X1: p.holding.X1, Probe: e.Proof.Probe}, e.Proof.Probe
	}
	if p.probe.Kind != "" && p.probe.Probe <= e.Proof.Probe { // the first that this pong refuses
		p.probe.Result = "answered"
		p.end(&p.probe)
	}
	p.join("refused", p.holder, lane)
	p.answered(e.Conn, lane)
	for _, needs := range p.waits {
		if needs <= e.Proof.Probe {
			return // it refuses more than this one, and only then the next one goes out
		}
	}
	p.probeNext()
}

// answered ends the wait of a claim.
func (p *pen) answered(conn messages.ConnID, lane int) {
	delete(p.waits, conn)
	if lane == p.crowd {
		for waiter := range p.waits {
			if _, own := p.lanes[waiter]; !own {
				return // the crowd waits as long as one of it does
			}
		}
	}
	for q := range p.queues {
		for i := range p.queues[q] {
			if p.queues[q][i].Lane == lane {
				p.end(&p.queues[q][i])
				p.queues[q] = append(p.queues[q][:i], p.queues[q][i+1:]...)
				return
			}
		}
	}
}

func (p *pen) released(e *slots.Entry, lane int) {
	p.heldBy(e.Conn)
	p.end(&p.probe)
	p.end(&p.holding)
	if e.Why != slots.ShuttingDown {
		p.grace = span{Kind: "grace", Lane: lane, X1: p.x}
	}
}

// heldBy draws a holder whose grant is not among the entries: from the left edge.
func (p *pen) heldBy(conn messages.ConnID) {
	lane, known := p.lanes[conn]
	if !known || p.holding.Kind != "" && p.holding.Lane == lane {
		return
	}
	p.end(&p.holding)
	p.holder, p.holding = lane, span{Kind: "holding", Lane: lane}
}

// inGrace likewise.
func (p *pen) inGrace(lane int) {
	if p.grace.Kind == "" {
		p.grace = span{Kind: "grace", Lane: lane}
	}
}

// probing has a probe go out to the holder, unless one is: that with this number then follows it.
func (p *pen) probing(number messages.ProbeNumber) {
	if p.probe.Kind == "" {
		p.asked = number
		p.probe = span{Kind: "probe", Lane: p.holder, X1: p.x, Probe: number}
	}
}

// probeNext does as the machine does: as long as somebody waits for a later probe, the next one goes out.
func (p *pen) probeNext() {
	if p.probe.Kind != "" && p.probe.Lane != p.holder {
		p.end(&p.probe)
	}
	for _, needs := range p.waits {
		if needs > p.asked || p.holding.X1 == p.x { // a new holder is asked whoever waits
			p.probing(p.asked + 1)
			return
		}
	}
}

func (p *pen) join(kind string, from, to int) {
	if from != to && from != none {
		p.Links = append(p.Links, link{kind, p.x, p.Lanes[from].Y, p.Lanes[to].Y})
	}
}

// end puts a span that was open on the paper.
func (p *pen) end(s *span) {
	if s.Kind != "" {
		s.X2, s.Y = p.x, p.Lanes[s.Lane].Y
		p.Spans = append(p.Spans, *s)
	}
	*s = span{}
}

// finish draws what is still open.
func (p *pen) finish(ended bool) {
	if ended {
		return
	}
	p.x = p.Width
	open := append([]*span{&p.holding, &p.grace, &p.probe}, pointers(p.queues[0])...)
	for _, s := range append(open, pointers(p.queues[1])...) {
		s.Open = true
		p.end(s)
	}
}

func pointers(spans []span) (ps []*span) {
	for i := range spans {
		ps = append(ps, &spans[i])
	}
	return ps
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
