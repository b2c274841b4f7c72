package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// hold opens idle claims, each on an id of its own, and keeps them.
type hold struct {
	load      `embed:""`
	Claims    int           `default:"1000" placeholder:"N" help:"How many (${default})."`
	Duration  time.Duration `default:"10s" help:"How long they are kept (${default})."`
	PingEvery time.Duration `default:"0s" help:"How often each asks the relay for a pong; 0 is never."`
	Pid       int           `placeholder:"PID" help:"The relay's process, where it is of this machine and has no metrics page."`
}

// Validate is called by kong.
func (c *hold) Validate() error {
	switch {
	case c.Claims < 1 || c.Duration <= 0:
		return fmt.Errorf("--claims %d --duration %q: want at least 1, and a positive duration", c.Claims, c.Duration)
	case c.PingEvery < 0 || c.Pid < 0:
		return fmt.Errorf("--ping-every %q --pid %d: want neither below 0", c.PingEvery, c.Pid)
	}
	return c.validate()
}

func (c *hold) run(e *environment) int { return tell(e, c) }

func (c *hold) measure(e *environment) (*report.Result, error) {
	if c.Pid != 0 {
		if _, err := processUsage(c.Pid); err != nil {
			return nil, err
		}
	}
	p := plan{title: "hold", steps: int64(c.Claims) + c.Duration.Milliseconds(), links: c.Claims, of: "claims"}
	return c.execute(e, p, c.drive)
}

func (c *hold) drive(ctx context.Context, s *session) {
	before, unknown := c.relayUsage(ctx, c.Pid)
	all := c.open(ctx, s)
	s.lasted = s.clock.now()
	opened, err := c.relayUsage(ctx, c.Pid)
	if unknown == nil {
		unknown = err
	}
	kept := s.clock.now()
	c.keep(ctx, s, all)
	after, err := c.relayUsage(context.WithoutCancel(ctx), c.Pid)
	if unknown == nil {
		unknown = err
	}
	if c.PingEvery > 0 && ctx.Err() == nil && !s.gone() {
		c.hear(s, all)
	}
	h := &report.Hold{Claims: int64(len(all)), PerSecond: perSecond(int64(len(all)), s.lasted), Source: after.source}
	s.looked(checkHeld, len(all))
	for _, claim := range all {
		if !claim.holds() {
			h.Lost++
			c.accuse(s, claim)
		}
	}
	if n := int64(len(all)); n > 0 && unknown == nil {
		h.MemoryPerClaim = float64(max(after.memory-before.memory, 0)) / float64(n) // what the opening itself took is given back by then
		h.CPUPerClaim = (opened.cpu - before.cpu) / time.Duration(n)
		h.CPUIdle = time.Duration(float64(after.cpu-opened.cpu) / (s.clock.now() - kept).Seconds() / float64(n))
	} else {
		h.Source = ""
		s.notes = append(s.notes, fmt.Sprintf("What the relay uses is not known: %v.", unknown))
	}
	s.hold = h
	each(len(all), dialers, func(i int) { all[i].leave(cleanly) })
}

// open makes the claims as fast as the relay takes them.
func (c *hold) open(ctx context.Context, s *session) (all []*claimant) {
	ids := s.ids(c.Claims)
	claims := make([]*claimant, c.Claims)
	var done atomic.Int64
	each(c.Claims, dialers, func(i int) {
		if ctx.Err() != nil || s.gone() {
			return
		}
		claim, err := s.prepare(ctx, ids[i])
		if err != nil {
			if ctx.Err() == nil {
				s.missed(err)
			}
			return
		}
		claim.ask()
		if claim.upgraded() {
			claims[i] = claim
		}
		s.progress.Set(done.Add(1), fmt.Sprintf("%d claims opened", done.Load()))
	})
	for _, claim := range claims {
		if claim != nil {
			all = append(all, claim)
		}
	}
	if missing := c.Claims - len(all); missing > 0 && ctx.Err() == nil {
		s.void("%d of %d claims could not be opened.", missing, c.Claims)
	}
	return all
}

// keep lets them be, or has them ask for pongs, one after the other within each period.
func (c *hold) keep(ctx context.Context, s *session, all []*claimant) {
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	began, turn := s.clock.now(), 0
	for pause(ctx, 10*time.Millisecond) && !s.gone() {
		lasted := s.clock.now() - began
		s.progress.Set(int64(c.Claims)+lasted.Milliseconds(), fmt.Sprintf("%d claims kept", len(all)))
		if c.PingEvery == 0 || len(all) == 0 {
			continue
		}
		for due := int(float64(lasted) / float64(c.PingEvery) * float64(len(all))); turn < due && ctx.Err() == nil; turn++ {
			_ = all[turn%len(all)].link.write(opPing, nil) // where that fails, its reader tells
		}
	}
}

// pongWithin is how long a daemon waits for a pong before it hangs up.
const pongWithin = 30 * time.Second

// hear has every claim ask once more, all together, and wait for the answer.
func (c *hold) hear(s *session, all []*claimant) {
	each(len(all), len(all), func(i int) {
		if claim := all[i]; !claim.answers(pongWithin) && claim.holds() {
			s.violate(report.Violation{
				Check: checkHeld, ID: claim.claim.Server, At: s.clock.now(), Lanes: []string{claim.name()},
				Says: fmt.Sprintf("%s asked for a pong, and got none within %s.", claim.name(), pongWithin), Evidence: claim.told() + "\n",
			})
		}
	})
}

func (c *hold) accuse(s *session, claim *claimant) {
	if claim.failure != nil || claim.claim.End == history.Left {
		return
	}
	s.violate(report.Violation{
		Check: checkHeld, ID: claim.claim.Server, At: claim.claim.Ended, Lanes: []string{claim.name()},
		Says: fmt.Sprintf("%s was idle, and was %s.", claim.name(), outcome(&claim.claim)), Evidence: claim.told() + "\n",
	})
}
