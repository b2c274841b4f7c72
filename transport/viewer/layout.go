package viewer

import (
	"math"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// axis says what the distance between two decisions means.
type axis string

const (
	// byOrder gives each decision the same room: the order is what decides a race.
	byOrder axis = "order"
	// byTime gives each tenfold of the time between two decisions one step more. A linear axis would show a race, which is over
	// in microseconds, and the pause before it, which lasts minutes, as a dot and a void.
	byTime axis = "time"
)

// Sizes in CSS pixels. viewer.css knows laneHeight too: the labels stand beside the drawing.
const (
	laneHeight = 34
	digitWidth = 8
	leastRoom  = 48 // of a column
	mostRoom   = 80 // the same, where there are few
	allRoom    = 1000
	timeStep   = 26 // of byTime, for each tenfold above a microsecond
)

// maxLosers is how many claimants that never held the slot have a lane of their own. Each decision has a column of its own, so
// the others fit into one lane without covering each other.
const maxLosers = 12

// chart is a slot's life with everything in its place.
type chart struct {
	Lanes   []lane
	Columns []column // one for each entry
	Marks   []mark   // likewise
	Spans   []span   // what lasts: behind the marks
	Links   []link   // whose act decided about whom
	Width   int
}

// Height is that of the drawing, without its axis.
func (c *chart) Height() int { return laneHeight * len(c.Lanes) }

// lane is one connection, or what has to share a lane.
type lane struct {
	Name    string // what tells it from the others of its slot
	Conn    messages.ConnID
	Shared  bool // by the phones, or the claimants beyond maxLosers, or what is about no connection
	Members int  // of a shared one
	Version messages.Version
	First   int64 // its first decision here; 0 where it is only spoken of
	Count   int   // of decisions
	Y       int   // its middle
}

type column struct {
	X     int
	Seq   int64
	Since time.Duration // since the one before
	Band  bool          // every second message of the registry's, so that the decisions of one message stand out
	Left  int           // where its background begins
	Width int
}

type mark struct {
	Entry *slots.Entry
	Kind  string // one of the shapes of viewer.html
	Asked bool   // the decision was made on what this connection itself asked
	X, Y  int
}

type span struct {
	Kind   string // waiting, holding, grace, probe
	Lane   int
	X1, X2 int
	Y      int
	Open   bool // it goes on beyond the drawing
	Epoch  messages.Epoch
	Probe  messages.ProbeNumber
	Result string // of a probe: answered, silent, or neither
}

// Length is how far it reaches.
func (s span) Length() int { return s.X2 - s.X1 }

type link struct {
	Kind   string
	X      int
	Y1, Y2 int
}

// layout draws the entries of one slot. Where ended is false, what is open at the last of them goes on. Where more lose than have room,
// newest gives the lanes to the last of them, and not to the first.
func layout(entries []slots.Entry, by axis, ended, newest bool) *chart {
	p := pen{chart: &chart{}, lanes: map[messages.ConnID]int{}, waits: map[messages.ConnID]messages.ProbeNumber{}, holder: none, phones: none, crowd: none, nobody: none}
	p.columns(entries, by)
	p.allot(entries, newest)
	for i := range entries {
		p.x = p.Columns[i].X
		p.draw(&entries[i])
	}
	p.finish(ended)
	return p.chart
}

func (p *pen) columns(entries []slots.Entry, by axis) {
	digits := 1
	if n := len(entries); n > 0 {
		digits = len(itoa(entries[n-1].Seq))
	}
	room := max(min(mostRoom, allRoom/max(1, len(entries))), leastRoom, digits*digitWidth+12)
	left, band := 0, false
	for i := range entries {
		e := &entries[i]
		c := column{Seq: e.Seq, Left: left, Width: room}
		if i > 0 {
			before := &entries[i-1]
			c.Since = max(0, e.Time.Sub(before.Time))
			band = band != (e.Asked != before.Asked || !e.Time.Equal(before.Time))
		}
		if by == byTime {
			c.Width += int(timeStep * max(0, math.Log10(float64(c.Since)/float64(time.Microsecond)+1)))
		}
		c.Band, c.X = band, left+c.Width-room/2
		left += c.Width
		p.Columns = append(p.Columns, c)
	}
	p.Width = left + room/2
}

// allot gives each connection its lane: in the order in which they appear, the shared lanes last.
func (p *pen) allot(entries []slots.Entry, newest bool) {
	held, losers, crowd := map[messages.ConnID]bool{}, map[messages.ConnID]bool{}, map[messages.ConnID]bool{}
	for i := range entries {
		if d := entries[i].Decided; d == slots.Granted || d == slots.TookOver {
			held[entries[i].Conn] = true
		}
		if former := holderBefore(&entries[i]); former != "" {
			held[former] = true
		}
	}
	for i := range entries {
		if newest {
			i = len(entries) - 1 - i
		}
		if e := &entries[i]; len(losers) < maxLosers && !ofPhone(e) && e.Conn != "" && !held[e.Conn] {
			losers[e.Conn] = true
		}
	}
	phones, unnamed := map[messages.ConnID]bool{}, 0
	for i := range entries {
		e := &entries[i]
		if former := holderBefore(e); former != "" {
			p.own(e.Server, former)
		}
		switch {
		case ofPhone(e):
			phones[e.Conn] = true
		case e.Conn == "":
			unnamed++
		case held[e.Conn] || losers[e.Conn]:
			p.own(e.Server, e.Conn)
		default:
			crowd[e.Conn] = true
		}
	}
	p.crowd = p.share("more claimants", len(crowd))
	p.phones = p.share("phones", len(phones))
	p.nobody = p.share("the slot itself", unnamed)
	for i := range p.Lanes {
		p.Lanes[i].Y = i*laneHeight + laneHeight/2
	}
}

func (p *pen) own(server messages.ServerID, conn messages.ConnID) {
	if _, has := p.lanes[conn]; !has {
		p.lanes[conn] = len(p.Lanes)
		p.Lanes = append(p.Lanes, lane{Conn: conn, Name: shortName(server, conn)})
	}
}

// shortName is what tells a connection from the others of its slot: a conn-id without the server-id in it.
func shortName(server messages.ServerID, conn messages.ConnID) string {
	for _, kind := range []string{"server-", "client-"} {
		if rest, ok := strings.CutPrefix(string(conn), kind+string(server)+"-"); ok {
			return rest
		}
	}
	return string(conn)
}

func (p *pen) share(name string, members int) int {
	if members == 0 {
		return none
	}
	p.Lanes = append(p.Lanes, lane{Name: name, Shared: true, Members: members})
	return len(p.Lanes) - 1
}

// holderBefore is who holds the slot, or held it last, by the word of e.
func holderBefore(e *slots.Entry) messages.ConnID {
	switch e.Decided {
	case slots.Waiting, slots.TookOver, slots.Refused, slots.Attached, slots.Parked:
		return e.Other
	case slots.Granted:
		if e.Why != slots.NobodyHeldIt {
			return e.Other
		}
	case slots.Released, slots.Freed:
		return e.Conn
	}
	return ""
}

// ofPhone reports whether e is about a phone.
func ofPhone(e *slots.Entry) bool {
	switch e.Decided {
	case slots.Attached, slots.Parked, slots.TurnedAway, slots.Left:
		return true
	}
	return e.Asked == slots.AskedJoin || e.Asked == slots.AskedLeave
}
