package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

const (
	samples      = 200
	maxLanesRead = 50_000 // of one id: a timeline of more would be no picture
)

// tellClaims draws what happened: the claims over time, and the lives of the ids that were fought for most.
func tellClaims(r *report.Result, h *history.History, rules history.Rules) {
	r.Claims = sample(h, rules, r.Duration)
	for _, id := range contested(r, h) {
		if id.claims > maxLanesRead {
			r.LeftOut.Timelines++
			continue
		}
		r.Timelines = append(r.Timelines, timeline(id.server, history.Lanes(h, id.server, rules), rules.Grace))
	}
	r.LeftOut.Timelines += max(0, len(h.Servers())-report.MaxTimelines)
}

type rank struct {
	server         string
	broken, claims int
}

// contested is the ids with violations, and then those with the most claims.
func contested(r *report.Result, h *history.History) []rank {
	ranks := map[string]*rank{}
	for _, server := range h.Servers() {
		ranks[server] = &rank{server: server}
	}
	for i := range h.Len() {
		ranks[h.Claim(i).Server].claims++
	}
	for _, v := range r.Violations {
		if rank := ranks[v.ID]; rank != nil {
			rank.broken++
		}
	}
	all := slices.SortedFunc(maps.Values(ranks), func(a, b *rank) int {
		return cmp.Or(cmp.Compare(b.broken, a.broken), cmp.Compare(b.claims, a.claims), cmp.Compare(a.server, b.server))
	})
	var first []rank
	for _, rank := range all[:min(len(all), report.MaxTimelines)] {
		first = append(first, *rank)
	}
	return first
}

// sample counts what happened in each part of the run. Who held did so for sure: never two of one id.
func sample(h *history.History, rules history.Rules, whole time.Duration) []report.Sample {
	all := make([]report.Sample, samples)
	bin := func(t time.Duration) int { return min(int(samples*t/max(whole, 1)), samples-1) }
	at := func(t time.Duration) *report.Sample { return &all[bin(t)] }
	began, ended := make([]int64, samples), make([]int64, samples)
	for i := range all {
		all[i].At = whole * time.Duration(i+1) / samples
	}
	history.EachLane(h, rules, func(c history.Lane) {
		at(c.Asked).Asked++
		end := at(c.Ended)
		switch {
		case c.End == history.Closed && c.Code == history.CodeClaimed:
			end.Refused++
			return
		case c.Leaving == 0 && (c.End == history.Cut || c.End == history.Closed && !timedOut(c.Claim)):
			end.Failed++
		case timedOut(c.Claim):
			end.TookOver++
		}
		if c.SureUntil > 0 {
			at(c.SureFrom).Granted++
			began[bin(c.SureFrom)]++
			ended[bin(c.SureUntil)]++
		}
	})
	holding := int64(0)
	for i := range all {
		holding += began[i] - ended[i]
		all[i].Holding = holding
	}
	return all
}

func timedOut(c history.Claim) bool {
	return c.End == history.Closed && c.Code == history.CodeInternal && c.Reason == history.ReasonTimeout
}

// timeline draws the life of one id.
func timeline(id string, lanes []history.Lane, grace time.Duration) report.Timeline {
	var holds []time.Duration // when each hold began
	for _, l := range lanes {
		if l.SureUntil > 0 {
			holds = append(holds, l.SureFrom)
		}
	}
	slices.Sort(holds)
	t := report.Timeline{ID: id}
	for _, l := range lanes {
		until := l.Ended + grace
		if next, _ := slices.BinarySearch(holds, l.Ended); next < len(holds) {
			until = min(until, holds[next])
		}
		t.Lanes = append(t.Lanes, lane(l, until))
	}
	return t
}

// lane draws one claim; its grace, if it leaves one, lasts until then.
func lane(l history.Lane, graceUntil time.Duration) report.Lane {
	drawn := report.Lane{Who: clientName(l.Client), Ended: outcome(&l.Claim)}
	span := func(state report.State, from, to time.Duration, note string) {
		if from <= to {
			drawn.Spans = append(drawn.Spans, report.Span{State: state, From: from, To: to, Note: note})
		}
	}
	sure := l.SureUntil > 0
	upgraded := l.Upgraded
	if upgraded == 0 {
		upgraded = l.Ended
	}
	span(report.Asked, l.Asked, upgraded, "")
	if l.Upgraded != 0 {
		until := l.Ended
		if sure {
			until = min(l.SureFrom, until)
		}
		note := ""
		if l.MayUntil > 0 {
			note = fmt.Sprintf("may have held from %s", l.MayFrom.Round(time.Microsecond))
		}
		span(report.Waiting, l.Upgraded, until, note)
	}
	if sure {
		span(report.Held, l.SureFrom, l.SureUntil, "")
	}
	if l.Silent != 0 {
		span(report.Silent, l.Silent, l.Ended, "")
	}
	span(state(&l, sure), l.Ended, l.Ended, drawn.Ended)
	if sure && (l.End == history.Left || l.End == history.Dropped) {
		span(report.Grace, l.Ended, graceUntil, "")
	}
	return drawn
}

func state(l *history.Lane, sure bool) report.State {
	switch {
	case l.End == history.Closed && l.Code == history.CodeClaimed:
		return report.Refused
	case timedOut(l.Claim):
		return report.TakenOver
	case l.End == history.Closed || l.End == history.Cut:
		return report.Lost
	case !sure:
		return report.Left
	default:
		return report.Released
	}
}

// outcome says in words how a claim ended.
func outcome(c *history.Claim) string {
	switch c.End {
	case history.Open:
		return "still open"
	case history.Closed:
		return fmt.Sprintf("closed with %d %q", c.Code, c.Reason)
	case history.Cut:
		return "cut by the relay without a close frame"
	case history.Left:
		return "left, by a close frame that was answered"
	default:
		return "left without waiting for an answer"
	}
}
