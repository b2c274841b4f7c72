package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// load is what the commands have in common that load a relay and check it.
type load struct {
	target `embed:""`
	timing `embed:"" group:"What the relay was started with"`
	output `embed:"" group:"The run"`
}

// timing is what a check has to know of the relay's settings.
type timing struct {
	Grace            time.Duration `default:"30s" help:"Its --grace (${default})."`
	ProbeTimeout     time.Duration `default:"5s" help:"Its --probe-timeout (${default})."`
	ProbeInterval    time.Duration `default:"100ms" help:"Its --probe-interval (${default})."`
	HeartbeatTimeout time.Duration `default:"30s" help:"Its --heartbeat-timeout (${default})."`
	Skew             time.Duration `default:"10ms" help:"How far its clock may be off this machine's, for the times in its journal (${default})."`
	Slack            time.Duration `default:"200ms" help:"How late it may be beyond those (${default}). What claimstorm is seen to stall, and the relay to take for a page that costs nothing, comes on top."`
}

func (t *timing) rules() history.Rules {
	return history.Rules{Grace: t.Grace, ProbeTimeout: t.ProbeTimeout, ProbeInterval: t.ProbeInterval, HeartbeatTimeout: t.HeartbeatTimeout, Skew: t.Skew, Slack: t.Slack}
}

// output is how a run is repeated, judged and told.
type output struct {
	Seed    uint64  `placeholder:"N" help:"Repeats the choices of the run that named it; 0 draws one."`
	MinRate float64 `placeholder:"N" help:"Fewer claims (or frames) a second make the run void."`
	JSON    string  `name:"json" placeholder:"FILE" help:"Write the result here."`
	HTML    string  `name:"html" placeholder:"FILE" help:"Write the result here, as one page with plots."`
}

func (l *load) validate() error {
	if !(l.MinRate >= 0) { // nor NaN
		return fmt.Errorf("--min-rate %v: want 0 (any) or a number of claims or frames a second", l.MinRate)
	}
	if err := l.rules().Validate(); err != nil {
		return err
	}
	return l.target.validate()
}

// loader is a command that loads a relay: run and compare drive them, too.
type loader interface {
	command
	shared() *load
	// measure runs it, and says what was found. An error is one of usage: nothing was run.
	measure(e *environment) (*report.Result, error)
}

func (l *load) shared() *load { return l }

// tell runs a loader, and tells the world.
func tell(e *environment, l loader) int {
	if err := l.shared().writable(); err != nil {
		return e.usage(err)
	}
	result, err := l.measure(e)
	if err != nil {
		return e.usage(err)
	}
	return e.publish(result, l.shared().output)
}

// writable finds out before a run whether its result can be written.
func (o *output) writable() error {
	for _, file := range []string{o.JSON, o.HTML} {
		if file == "" {
			continue
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o666) // what it held stays, until there is something else to write
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// publish writes a result to the terminal and to the files that were asked for.
func (e *environment) publish(r *report.Result, o output) int {
	err := report.Summary(e.stdout, r, e.colour)
	for _, page := range []struct {
		file  string
		write func(io.Writer, *report.Result) error
	}{{o.JSON, report.JSON}, {o.HTML, report.HTML}} {
		if page.file != "" {
			err = errors.Join(err, writeFile(page.file, r, page.write))
		}
	}
	code := r.Verdict.ExitCode()
	if err != nil && worse(e.usage(err), code) {
		code = exitUsage
	}
	return code
}

func writeFile(name string, r *report.Result, write func(io.Writer, *report.Result) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f, r); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

// plan is what a run needs, and what must happen in it for it to prove something.
type plan struct {
	title string // of the progress
	steps int64  // likewise
	links int    // at once
	of    string // what is counted: "claims" or "frames"

	refusals, graceClaims, takeovers bool // wanted
}

// execute runs drive against the relay, and judges what was seen. An error is one of usage.
func (l *load) execute(e *environment, p plan, drive func(context.Context, *session)) (*report.Result, error) {
	if l.Seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:])                       // never fails
		l.Seed = binary.BigEndian.Uint64(b[:]) >> 11 // what JSON readers hold exactly
	}
	r := &report.Result{Command: e.args, Seed: l.Seed, Relay: report.Relay{URL: l.URL, Started: e.relayPath}, Started: time.Now()}
	r.Headline.Of = p.of
	r.Tool.Version, r.Tool.Cores = toolVersion(), runtime.NumCPU()
	fleet, err := newFleet(e.ctx, &l.target, p.links)
	if err == nil {
		if err := checkLimits(p.links, len(fleet.sources) > 0); err != nil {
			return nil, err
		}
		r.Relay.Version, r.Relay.Commit, err = fleet.health(e.ctx)
	}
	var journal *journal
	if err == nil && l.Admin != "" {
		journal, err = openJournal(e.ctx, l.Admin)
	}
	switch {
	case err != nil && e.ctx.Err() != nil:
		r.Verdict, r.Why = report.Void, []string{"It was interrupted before the relay had answered."}
		return r, nil
	case err != nil:
		r.Verdict, r.Why = report.Gone, []string{"The relay could not be reached: " + explain(err)}
		return r, nil
	}
	s := newSession(l, p, fleet, journal)
	s.progress = report.NewProgress(e.stderr, e.bars, p.title, p.steps)
	s.lookout = s.post(e.ctx)
	drive(e.ctx, s)
	s.living.Wait()
	s.lag = s.lookout.relieve()
	s.progress.Close()
	s.conclude(e.ctx, r)
	return r, nil
}

func toolVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return info.Main.Version
}
