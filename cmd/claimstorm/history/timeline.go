package history

import (
	"fmt"
	"strings"
	"time"
)

const timelineColumns = 72

// Timeline draws the violation's claims, a line each, time from left to right, around the time when they clash. Where nothing
// else stands: a dot while it was connected, a dash while it may have held, an equals sign while it surely did.
func (v Violation) Timeline() string {
	if len(v.Lanes) == 0 {
		return ""
	}
	var b strings.Builder
	from, until := v.window()
	fmt.Fprintf(&b, "%s from %s to %s, a column is %s\n", v.Server, at(from), at(until), at((until-from)/timelineColumns))
	label := 0
	for _, l := range v.Lanes {
		label = max(label, len(l.name()))
	}
	for _, l := range v.Lanes {
		fmt.Fprintf(&b, "%-*s %s\n", label, l.name(), l.draw(from, until))
	}
	b.WriteString("A asked  . connected  - may have held  = surely held  p answered a ping  ? left a ping unanswered\n" +
		"S silent from here  L began to leave  R refused with 4409  C closed by the relay  ! cut by it  E its end\n")
	return b.String()
}

// window is the time in which the claims clash: all of them are there, or, where there is none such, from the first end to the
// last beginning, and all of the first claim; and half as much before and after it.
func (v Violation) window() (from, until time.Duration) {
	from, until = v.Lanes[0].Asked, v.Lanes[0].Ended
	for _, l := range v.Lanes {
		from, until = max(from, l.Asked), min(until, l.Ended)
	}
	if from > until {
		from, until = min(until, v.Lanes[0].Asked), max(from, v.Lanes[0].Ended)
	}
	margin := max((until-from)/2, time.Millisecond)
	return max(from-margin, 0), until + margin
}

func (l *Lane) name() string { return fmt.Sprintf("c%d", l.Client) }

// draw is the lane between two moments.
func (l *Lane) draw(from, until time.Duration) string {
	row := []byte(strings.Repeat(" ", timelineColumns))
	column := func(t time.Duration) int {
		return int((t - from) * (timelineColumns - 1) / (until - from))
	}
	fill := func(a, b time.Duration, with byte) {
		if b < from || a > until || a >= b {
			return
		}
		for i := max(column(a), 0); i <= min(column(b), timelineColumns-1); i++ {
			row[i] = with
		}
	}
	mark := func(t time.Duration, with byte) {
		if t >= from && t <= until {
			row[column(t)] = with
		}
	}
	fill(l.Asked, l.Ended, '.')
	fill(l.MayFrom, l.MayUntil, '-')
	fill(l.SureFrom, l.SureUntil, '=')
	for _, pong := range l.Pongs {
		mark(pong.Pinged, map[bool]byte{true: 'p', false: '?'}[pong.Sent != 0])
	}
	if l.Silent != 0 {
		mark(l.Silent, 'S')
	}
	if l.Leaving != 0 {
		mark(l.Leaving, 'L')
	}
	mark(l.Asked, 'A')
	switch {
	case l.End == Closed && l.Code == CodeClaimed:
		mark(l.Ended, 'R')
	case l.End == Closed:
		mark(l.Ended, 'C')
	case l.End == Cut:
		mark(l.Ended, '!')
	case l.End != Open:
		mark(l.Ended, 'E')
	}
	return strings.TrimRight(string(row), " ")
}
