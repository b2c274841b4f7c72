package viewer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// sketch is a chart in letters: a row a lane, a mark a column, between them what lasts; then the probes.
//
//	G granted  T took over  w waiting  x refused  R released  O thrown out  F freed  - withdrawn  A P L ! phones
//	=== holds  ~~~ grace  ... waits
func sketch(c *chart) string {
	letters := map[string]byte{
		"granted": 'G', "took_over": 'T', "waiting": 'w', "refused": 'x', "released": 'R', "thrown_out": 'O', "freed": 'F', "withdrawn": '-',
		"attached": 'A', "parked": 'P', "left": 'L', "turned_away": '!', "evicted": 'E', "failed": '?',
	}
	const step = 3
	cell := func(x int) int { // of a place in the drawing
		for i, col := range c.Columns {
			if x <= col.X {
				return i*step + step - 1 - boolInt(x < col.X)*(step-1)
			}
		}
		return len(c.Columns) * step
	}
	paper := make([][]byte, len(c.Lanes))
	for i := range paper {
		paper[i] = []byte(strings.Repeat(" ", len(c.Columns)*step+1))
	}
	at := func(y int) []byte { return paper[y/laneHeight] }
	probes := ""
	for _, s := range c.Spans {
		if s.Kind == "probe" {
			probes += fmt.Sprintf("probe %d of %s from #%d to #%d %s\n", s.Probe, c.Lanes[s.Lane].Name, cell(s.X1)/step+1, cell(s.X2)/step+1, s.Result)
			continue
		}
		for x := cell(s.X1); x <= min(cell(s.X2), len(at(s.Y))-1); x++ {
			at(s.Y)[x] = map[string]byte{"holding": '=', "grace": '~', "waiting": '.'}[s.Kind]
		}
	}
	for _, m := range c.Marks {
		at(m.Y)[cell(m.X)] = letters[m.Kind]
	}
	lines := ""
	for i, l := range c.Lanes {
		lines += strings.TrimRight(fmt.Sprintf("%-6s|%s", l.Name, paper[i]), " ") + "\n"
	}
	return lines + probes
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestLivesAreDrawnAsTheyWere(t *testing.T) {
	for what, c := range map[string]struct {
		story *story
		skip  int  // entries that the journal has dropped
		free  bool // the slot is free now
		want  string
	}{
		"one wins, two lose, each on a proof younger than its claim": {story: tell(t, "alpha").claims("a", "b").at(3*time.Millisecond).claims("c").answers("a", 1).at(time.Second).answers("a", 2), want: `
a     |  G=============
b     |     w.....x
c     |        w.....x
probe 1 of a from #2 to #4 answered
probe 2 of a from #4 to #5 answered
`},
		"a chain of dead holders": {story: tell(t, "alpha").claims("a", "b", "c", "d").at(20 * time.Second), want: `
a     |  G============
b     |     w........T===
c     |        w........T===
d     |           w........T=
probe 1 of a from #2 to #5 silent
probe 2 of b from #5 to #6 silent
probe 3 of c from #6 to #7 silent
`},
		"a grace that is used, and one that runs out": {story: tell(t, "alpha").claims("a").releases("a").claims("b").releases("b").at(time.Minute), free: true, want: `
a     |  G==R~~~
b     |        G==R~~F
`},
		"the next in line inherits": {story: tell(t, "alpha").claims("a", "b", "c").releases("a").withdraws("c"), want: `
a     |  G========R
b     |     w........G====
c     |        w........-
probe 1 of a from #2 to #4 
probe 2 of b from #5 to #7 
`},
		"the operator throws out": {story: tell(t, "alpha").claims("a").thrownOut(), want: `
a     |  G==O~
`},
		"phones share a lane": {story: tell(t, "alpha").joins("p", "").claims("a").joins("p", "").joins("q", "").joins("r", "").releases("a").leaves("q"), want: `
a     |     G===========R~~~~
phones|  !     A  A  !     L
`},
		"the beginning is no longer known": {story: tell(t, "alpha").claims("a", "b", "c").answers("a", 1).at(time.Second).answers("a", 2), skip: 3, want: `
a     |=======
b     |  x
c     |     x
probe 1 of a from #1 to #1 answered
probe 2 of a from #1 to #2 answered
`},
		"a shutdown": {story: tell(t, "alpha").claims("a", "b").shutDown().claims("c"), free: true, want: `
a     |  G=====R
b     |     w.....-
c     |              E
probe 1 of a from #2 to #3 
`},
	} {
		t.Run(what, func(t *testing.T) {
			got := sketch(layout(c.story.journal[c.skip:], byOrder, c.free, false))
			if got != c.want[1:] {
				t.Errorf("got\n%s\nwant\n%s", got, c.want[1:])
			}
		})
	}
}

// TestEveryEntryHasAMark: however a slot lived, and whatever of it the journal has dropped, each entry has one mark in one column of
// its own, in order, nothing lies outside the drawing, and nothing ends before it began.
func TestEveryEntryHasAMark(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomLife(t, rapid.IntRange(0, 200).Draw(t, "acts"))
		entries := s.journal[rapid.IntRange(0, len(s.journal)).Draw(t, "dropped"):]
		by := rapid.SampledFrom([]axis{byOrder, byTime}).Draw(t, "axis")
		c := layout(entries, by, rapid.Bool().Draw(t, "free"), rapid.Bool().Draw(t, "newest"))
		if len(c.Marks) != len(entries) || len(c.Columns) != len(entries) {
			t.Fatalf("%d entries, %d marks, %d columns", len(entries), len(c.Marks), len(c.Columns))
		}
		own := 0
		for _, l := range c.Lanes {
			if l.Conn != "" {
				own++
			}
		}
		x := 0
		for i, m := range c.Marks {
			if m.Entry.Seq != entries[i].Seq || m.X <= x || m.X > c.Width || m.Y < 0 || m.Y > c.Height() {
				t.Fatalf("#%d stands at %d, %d: behind %d, of %d x %d", m.Entry.Seq, m.X, m.Y, x, c.Width, c.Height())
			}
			if l := c.Lanes[m.Y/laneHeight]; l.Conn != "" && l.Conn != m.Entry.Conn {
				t.Fatalf("#%d is about %s, and stands in the lane of %s", m.Entry.Seq, m.Entry.Conn, l.Conn)
			}
			x = m.X
		}
		for _, s := range c.Spans {
			if s.X1 < 0 || s.X2 < s.X1 || s.X2 > c.Width || s.Lane < 0 || s.Lane >= len(c.Lanes) {
				t.Fatalf("%+v lies outside", s)
			}
		}
		oneHolder(t, c)
	})
}

// oneHolder fails if two holders are drawn at one place of the order.
func oneHolder(t *rapid.T, c *chart) {
	end := 0
	for _, s := range c.Spans {
		if s.Kind != "holding" {
			continue
		}
		if s.X1 < end {
			t.Fatalf("%s holds from %d on, another one until %d", c.Lanes[s.Lane].Name, s.X1, end)
		}
		end = s.X2
	}
}

// randomLife has people do what they can, in any order.
func randomLife(t *rapid.T, acts int) *story {
	s := tell(nil, "alpha")
	names := []string{"a", "b", "c", "d", "e"}
	now, claimed := time.Duration(0), map[string]bool{}
	for range acts {
		who := rapid.SampledFrom(names).Draw(t, "who")
		switch rapid.IntRange(0, 8).Draw(t, "act") {
		case 0, 1, 2:
			if !claimed[who] {
				s.claims(who)
				claimed[who] = true
			}
		case 3:
			s.releases(who)
		case 4:
			s.answers(who, messages.ProbeNumber(rapid.IntRange(1, 9).Draw(t, "probe")))
		case 5:
			s.withdraws(who)
			claimed[who] = false
		case 6:
			s.joins("p"+who, "")
		case 7:
			s.thrownOut()
		case 8:
			now += rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 6 * time.Second, time.Minute}).Draw(t, "pause")
			s.at(now)
		}
	}
	return s
}

// TestManyLosersShareALane: a thousand claimants are no thousand lanes, but none of their marks is left out.
func TestManyLosersShareALane(t *testing.T) {
	s := tell(t, "alpha").claims("holder")
	for i := range 1000 {
		s.claims(fmt.Sprint("l", i))
	}
	s.answers("holder", 1).at(time.Second).answers("holder", 2)
	c := layout(s.journal, byOrder, false, false)
	if want := 1 + maxLosers + 1; len(c.Lanes) != want {
		t.Fatalf("%d lanes, want %d", len(c.Lanes), want)
	}
	crowd := c.Lanes[len(c.Lanes)-1]
	if crowd.Members != 1000-maxLosers || crowd.Count != 2*crowd.Members || len(c.Marks) != len(s.journal) {
		t.Errorf("%+v; %d marks of %d entries", crowd, len(c.Marks), len(s.journal))
	}
	if last := layout(s.journal, byOrder, false, true).Lanes[maxLosers]; last.Name != "l999" {
		t.Errorf("the newest lane is of %s", last.Name)
	}
	waits := 0
	for _, s := range c.Spans {
		if s.Kind == "waiting" && s.Y == crowd.Y {
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("the crowd waits %d times, want once, as long as one of it waits", waits)
	}
}

// TestTimeWidensPauses: by order each decision has the same room, by time a pause has more.
func TestTimeWidensPauses(t *testing.T) {
	entries := tell(t, "alpha").claims("a").at(10 * time.Microsecond).releases("a").at(10 * time.Second).claims("b").journal
	width := func(c *chart, i int) int { return c.Columns[i].X - c.Columns[i-1].X }
	if c := layout(entries, byOrder, false, false); width(c, 1) != width(c, 2) {
		t.Errorf("by order: %d and %d", width(c, 1), width(c, 2))
	}
	if c := layout(entries, byTime, false, false); width(c, 1)+100 > width(c, 2) {
		t.Errorf("by time: 10µs is %d wide, 10s is %d", width(c, 1), width(c, 2))
	}
}

func TestRates(t *testing.T) {
	entries := tell(t, "alpha").claims("a").at(time.Minute).claims("b").answers("a", 1).journal
	got := count(entries, start.Add(time.Minute+2*time.Second), time.Time{})
	if got.Granted != 1 || got.Refused != 1 || got.Waiting != 1 || got.PerSecond != 0.2 || got.Span != rateSpan {
		t.Errorf("%+v", got)
	}
	// Of a journal that reaches back 2 s only, nothing is known of the 8 s before.
	if got := count(entries[1:], start.Add(time.Minute+2*time.Second), entries[1].Time); got.PerSecond != 1 || got.Span != 2*time.Second {
		t.Errorf("%+v", got)
	}
	if got := count(nil, start, time.Time{}); got.PerSecond != 0 || got.All != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 12 * time.Microsecond: "12µs", 1500 * time.Microsecond: "1.5ms", 98 * time.Millisecond: "98ms", 5 * time.Second: "5s",
		125 * time.Second: "2m05s", 3*time.Hour + 4*time.Minute: "3h04m", 50 * time.Hour: "2d02h",
	} {
		if got := short(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "<1s", 999 * time.Millisecond: "<1s", 1999 * time.Millisecond: "1s"} {
		if got := ago(time.Unix(100, 0), time.Unix(100, 0).Add(-d)); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1 << 10: "1 KiB", 3 << 19: "1.5 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	e := slots.Entry{Seq: 7, Server: "home", Conn: "server-home-b", Other: "server-home-a", Asked: slots.AskedClaim, Decided: slots.Waiting, Why: slots.HolderMustProve, Probe: 3}
	if got, want := sentence(&e), "#7 b, claim: waiting (a holds it and must answer probe 3)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
