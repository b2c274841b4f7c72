package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// conclude judges a run whose connections have all ended, and fills in the result.
func (s *session) conclude(ctx context.Context, r *report.Result) {
	s.clock.halt()
	r.Duration = s.clock.lasted
	rules := s.load.rules()
	rules.Slack += s.clock.stalled() + s.lag
	if s.history.Len() > 0 && rules.Slack > 2*s.load.Slack {
		s.notes = append(s.notes, fmt.Sprintf("The machine was busy: claimstorm stalled up to %s, and the relay took up to %s for a page that costs nothing. The checks of claims allow for that.",
			s.clock.stalled().Round(time.Millisecond), s.lag.Round(time.Millisecond)))
	}
	entries := s.account(ctx)
	if s.bury(context.WithoutCancel(ctx)); s.died != nil {
		rules.Shutdown = max(s.alive, 1) // 0 is never
	}
	verdict := history.Check(&s.history, entries, rules)
	verdict.Counts.Takeovers = max(verdict.Counts.Takeovers, int(s.evicted.Load())) // the heirs may have left before they knew
	s.tellChecks(r, &verdict)
	s.tellFigures(r, &verdict)
	tellClaims(r, &s.history, rules)
	s.decide(ctx, r, &verdict, rules)
}

// account is the journal, where there is one that is whole.
func (s *session) account(ctx context.Context) []history.Entry {
	if s.journal == nil {
		return nil
	}
	entries, err := s.journal.finish(ctx, s.clock)
	if set := s.clock.drifted(); err == nil && set > s.load.Skew {
		entries, err = nil, fmt.Errorf("this machine's clock was set by %s meanwhile, and its times are by that", set.Round(time.Millisecond))
	}
	if err != nil {
		s.voids = append(s.voids, fmt.Sprintf("The journal was asked for, and could not be followed: %v.", err))
	}
	return entries
}

// decide says what the run proves.
func (s *session) decide(ctx context.Context, r *report.Result, v *history.Verdict, rules history.Rules) {
	var why []string
	switch {
	case r.Headline.Violations > 0:
		r.Verdict = report.Fail
		for _, c := range r.Checks {
			if c.Broken > 0 {
				why = append(why, fmt.Sprintf("%s (%d times): %s", c.Name, c.Broken, c.Says))
			}
		}
		if s.died != nil {
			why = append(why, s.obituary())
		}
		if v.Found[history.CutOff]+v.Found[history.EvictedForNobody]+v.Found[history.LateAnswer]+v.Found[history.Unanswered] > 0 {
			why = append(why, fmt.Sprintf("The relay was taken to run with --probe-timeout %s, --probe-interval %s and --heartbeat-timeout %s: if that is not so, say it here.",
				rules.ProbeTimeout, rules.ProbeInterval, rules.HeartbeatTimeout))
		}
	case s.died != nil:
		r.Verdict, why = report.Gone, []string{s.obituary(), "What it did until then was checked, and no check failed."}
	default:
		if why = append(s.voids, s.missing(r, v, rules)...); len(why) > 0 {
			r.Verdict, why = report.Void, append(s.causes(), why...)
			break
		}
		r.Verdict = report.Pass
		why = append(why, fmt.Sprintf("%d checks held.", len(r.Checks)))
	}
	if ctx.Err() != nil { // which explains a void, and little else
		why = slices.Insert(why, min(len(r.Violations), len(why)), "It was interrupted.")
	}
	r.Why = append(why, s.notes...)
}

// obituary says how the relay ended.
func (s *session) obituary() string {
	if s.farewell {
		return fmt.Sprintf("The relay shut down: it closed connections with %d %q.", history.CodeGoingAway, history.ReasonGoingAway)
	}
	return "The relay died, or stopped listening: " + explain(s.died) + "."
}

// causes is what kept the run from its aim, where the relay said.
func (s *session) causes() (why []string) {
	for _, status := range slices.Sorted(maps.Keys(s.statuses)) {
		why = append(why, fmt.Sprintf("Requests that were answered with %d %s, and no upgrade: %d.", status, http.StatusText(status), s.statuses[status]))
	}
	if s.unreached > 0 {
		why = append(why, fmt.Sprintf("Connections that were not made: %d, the first one: %s.", s.unreached, explain(s.first)))
	}
	return why
}

// missing is what was asked for, and did not happen.
func (s *session) missing(r *report.Result, v *history.Verdict, rules history.Rules) (voids []string) {
	add := func(asked bool, format string, args ...any) {
		if asked {
			voids = append(voids, fmt.Sprintf(format, args...))
		}
	}
	add(r.Headline.Count == 0, "No %s.", s.plan.of)
	add(r.Headline.PerSecond < s.load.MinRate, "%.1f %s a second, and at least %v were asked for.", r.Headline.PerSecond, s.plan.of, s.load.MinRate)
	add(s.plan.refusals && 2*rules.Slack >= rules.ProbeTimeout, "The machine was too busy for a probe timeout of %s: what came up to %s late is nobody's fault, and so nothing is sure.",
		rules.ProbeTimeout, rules.Slack.Round(time.Millisecond))
	add(s.plan.refusals && v.Counts.Refused == 0, "No claim was refused: the claims did not meet.")
	add(s.plan.graceClaims && v.Counts.GraceClaims == 0, "No claim came in a grace, as far as is sure: longer or more rounds would have one.")
	add(s.plan.takeovers && v.Counts.Takeovers == 0, "No slot was taken over: run for several probe timeouts (%s each), or without silence.", s.load.ProbeTimeout)
	return voids
}

// tellChecks gathers the checks of this command and those of the history, and what broke them.
func (s *session) tellChecks(r *report.Result, v *history.Verdict) {
	r.Checks = s.ledger.told()
	r.Violations = s.ledger.violations
	r.Headline.Violations = s.ledger.broken
	r.LeftOut.Violations = int(s.ledger.broken) - len(s.ledger.violations)
	for _, fault := range history.Checks() {
		looked := int64(v.Counts.Claims)
		switch {
		case fault == history.JournalDisagrees:
			looked = min(looked, int64(v.Counts.Entries))
		case fault >= history.JournalOrder:
			looked = int64(v.Counts.Entries)
		}
		if looked > 0 {
			r.Checks = append(r.Checks, report.Check{Name: fault.String(), Says: fault.Meaning(), Looked: looked, Broken: int64(v.Found[fault])})
		}
	}
	r.Headline.Violations += int64(v.Total())
	r.LeftOut.Violations += v.Total() - len(v.Violations)
	for _, violation := range v.Violations {
		told := report.Violation{Check: violation.Fault.String(), ID: violation.Server, Says: violation.What, Evidence: violation.Timeline()}
		for i, lane := range violation.Lanes {
			if i == 0 { // the one that was wronged
				told.At = lane.Asked
			}
			told.Lanes = append(told.Lanes, clientName(lane.Client))
		}
		r.Violations = append(r.Violations, told)
	}
}

// tellFigures fills in what was counted and measured.
func (s *session) tellFigures(r *report.Result, v *history.Verdict) {
	h := &r.Headline
	r.Latencies = append(s.latencies,
		report.Latency{Name: "from the claim to its refusal", Histogram: s.refusals},
		report.Latency{Name: "from the claim to the upgrade", Histogram: s.upgrades})
	r.Latencies = slices.DeleteFunc(r.Latencies, func(l report.Latency) bool { return l.Histogram.TotalCount() == 0 })
	if h.Count = s.counted; s.plan.of == "claims" {
		h.Count = s.asked.Load()
	}
	h.PerSecond = perSecond(h.Count, cmp.Or(s.lasted, r.Duration))
	if len(r.Latencies) > 0 {
		first := r.Latencies[0].Histogram
		h.P50, h.P99 = time.Duration(first.ValueAtQuantile(50)), time.Duration(first.ValueAtQuantile(99))
	}
	h.Takeovers = int64(v.Counts.Takeovers)
	r.Rounds, r.Frames, r.Hold = s.rounds, s.frames, s.hold
	r.Counters = append(s.counters, s.count(v)...)
	r.Tool.CPU, r.Tool.Share, r.Tool.PeakMemory, r.Tool.Behind = s.clock.used, s.clock.share, peakMemory(), max(s.behind, s.clock.stalled())
	r.Tool.Bottleneck = bottleneck(r.Tool.Share, r.Tool.Behind)
}

// count is the counts that did not stay 0.
func (s *session) count(v *history.Verdict) (told []report.Counter) {
	n := v.Counts
	counters := []report.Counter{
		{Name: "claims", Value: int64(n.Claims)},
		{Name: "on server-ids", Value: int64(n.Slots)},
		{Name: "granted, as far as is sure", Value: int64(n.Granted)},
		{Name: "refused (4409)", Value: int64(n.Refused)},
		{Name: "granted in grace", Value: int64(n.GraceClaims)},
		{Name: "taken over", Value: int64(n.Takeovers)},
		{Name: "left before it was sure", Value: int64(n.Unknown)},
		{Name: "links not made", Value: s.unreached},
		{Name: "journal entries checked", Value: int64(n.Entries)},
	}
	for _, status := range slices.Sorted(maps.Keys(s.statuses)) {
		counters = append(counters, report.Counter{Name: fmt.Sprintf("answered with %d", status), Value: s.statuses[status]})
	}
	return slices.DeleteFunc(counters, func(c report.Counter) bool { return c.Value == 0 })
}

// What of its machine a tool may use before its figures are as much its own as the relay's.
const (
	modestShare  = 0.4
	modestBehind = 100 * time.Millisecond
)

// bottleneck says why the figures may not be the relay's.
func bottleneck(share float64, behind time.Duration) string {
	switch {
	case share > modestShare:
		return fmt.Sprintf("claimstorm itself used %.0f %% of all cores: what is slow here may be the tool, or its taking the cores from a relay beside it. Run it on another machine.", 100*share)
	case behind > modestBehind:
		return fmt.Sprintf("claimstorm itself fell up to %s behind: the waits may be its own.", behind.Round(time.Millisecond))
	}
	return ""
}
