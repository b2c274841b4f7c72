package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// compare runs the same load against two relays in turn, so that what changes with the time of day changes both.
type compare struct {
	A      string   `arg:"" help:"The URL of one relay."`
	B      string   `arg:"" help:"The URL of the other."`
	Args   []string `arg:"" passthrough:"partial" name:"command" help:"Behind --, the load: storm, churn, hold or relay, and its flags."`
	Rounds int      `default:"3" placeholder:"N" help:"How often each (${default})."`
	JSON   string   `name:"json" placeholder:"FILE" help:"Write the result here."`
	HTML   string   `name:"html" placeholder:"FILE" help:"Write the result here, as one page with plots."`
}

// Validate is called by kong.
func (c *compare) Validate() error {
	if c.Rounds < 1 {
		return fmt.Errorf("--rounds %d: want at least 1", c.Rounds)
	}
	for _, url := range []string{c.A, c.B} {
		if err := (&target{URL: url}).validate(); err != nil {
			return err
		}
	}
	return nil
}

// loadOf gives the load that is compared, anew for each run.
func (c *compare) loadOf() (loader, error) {
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	parsed, err := parse(args)
	if err != nil {
		return nil, err
	}
	l, ok := parsed.(loader)
	if !ok {
		return nil, fmt.Errorf("compare -- %s: want a load: storm, churn, hold or relay", strings.Join(args, " "))
	}
	if s := l.shared(); s.JSON != "" || s.HTML != "" || s.Admin != "" || slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--url") }) {
		return nil, fmt.Errorf("compare -- %s: want --json and --html before the --, and neither --url nor --admin", strings.Join(args, " "))
	}
	return l, nil
}

func (c *compare) run(e *environment) int {
	files := output{JSON: c.JSON, HTML: c.HTML}
	if err := files.writable(); err != nil {
		return e.usage(err)
	}
	runs := [2][]*report.Result{}
	for i := range 2 * c.Rounds {
		l, err := c.loadOf()
		if err != nil {
			return e.usage(err)
		}
		if l.shared().URL = []string{c.A, c.B}[i%2]; runs[0] != nil {
			l.shared().Seed = runs[0][0].Seed
		}
		r, err := l.measure(e)
		if err != nil {
			return e.usage(err)
		}
		runs[i%2] = append(runs[i%2], r)
		if r.Verdict != report.Pass || e.ctx.Err() != nil {
			r.Why = append(r.Why, fmt.Sprintf("This was run %d of %d of a comparison, which ends here.", i+1, 2*c.Rounds))
			return e.publish(r, files)
		}
	}
	return e.publish(c.result(e, runs), files)
}

// result is that of the last run, with the comparison.
func (c *compare) result(e *environment, runs [2][]*report.Result) *report.Result {
	r := *runs[1][c.Rounds-1]
	r.Command, r.Compare = e.args, &report.Comparison{A: runs[0][0].Relay, B: runs[1][0].Relay}
	r.Started = runs[0][0].Started
	r.Duration = time.Since(r.Started)
	r.Why = append([]string{fmt.Sprintf("%d runs of each relay, in turn; the figures below the medians are those of the last.", c.Rounds)}, r.Why...)
	for _, m := range measures(runs[0][0]) {
		var values [2][]float64
		for side := range runs {
			for _, run := range runs[side] {
				values[side] = append(values[side], m.of(run))
			}
		}
		r.Compare.Rows = append(r.Compare.Rows, report.Compared(m.name, m.unit, m.higher, values[0], values[1]))
	}
	return &r
}

// measure is a figure of a run that can be compared.
type measure struct {
	name, unit string
	higher     bool
	of         func(r *report.Result) float64
}

func measures(like *report.Result) []measure {
	all := []measure{
		{like.Headline.Of + " a second", "", true, func(r *report.Result) float64 { return r.Headline.PerSecond }},
		{"p50", "s", false, func(r *report.Result) float64 { return r.Headline.P50.Seconds() }},
		{"p99", "s", false, func(r *report.Result) float64 { return r.Headline.P99.Seconds() }},
	}
	if like.Hold != nil && like.Hold.Source != "" {
		all = append(all,
			measure{"memory a claim", "bytes", false, func(r *report.Result) float64 { return r.Hold.MemoryPerClaim }},
			measure{"CPU to open a claim", "s", false, func(r *report.Result) float64 { return r.Hold.CPUPerClaim.Seconds() }})
	}
	return all
}
