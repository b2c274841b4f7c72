package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// churn lets clients claim ids, hold them for a while, and leave in every way, all at random; what they saw is checked.
type churn struct {
	load     `embed:""`
	Duration time.Duration `default:"60s" help:"How long (${default})."`
	Clients  int           `default:"100" placeholder:"N" help:"How many clients (${default})."`
	IDs      int           `name:"ids" default:"20" placeholder:"M" help:"How many ids they claim (${default})."`
	Hold     time.Duration `default:"200ms" help:"How long a client stays, in the mean (${default})."`
	Reset    float64       `default:"0.2" placeholder:"SHARE" help:"How many of those that leave do so by a reset (${default}); as many do by FIN."`
	Silence  float64       `default:"0.03" placeholder:"SHARE" help:"How many fall silent in place of leaving, so that they are taken over (${default})."`
}

// Validate is called by kong.
func (c *churn) Validate() error {
	switch {
	case c.Duration <= 0 || c.Hold <= 0:
		return fmt.Errorf("--duration %q --hold %q: want positive durations", c.Duration, c.Hold)
	case c.Clients < 1 || c.IDs < 1:
		return fmt.Errorf("--clients %d --ids %d: want at least 1 of each", c.Clients, c.IDs)
	case !(c.Reset >= 0 && c.Silence >= 0 && 2*c.Reset+c.Silence <= 1): // nor NaN
		return fmt.Errorf("--reset %v --silence %v: want shares, together (FIN like reset) at most 1", c.Reset, c.Silence)
	}
	return c.validate()
}

func (c *churn) run(e *environment) int { return tell(e, c) }

func (c *churn) measure(e *environment) (*report.Result, error) {
	p := plan{
		title: "churn", steps: c.Duration.Milliseconds(), links: c.Clients, of: "claims",
		refusals: c.Clients > c.IDs, graceClaims: c.Grace > 0, takeovers: c.Silence > 0 && c.Clients > c.IDs,
	}
	return c.execute(e, p, c.drive)
}

func (c *churn) drive(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	ids := s.ids(c.IDs)
	var clients sync.WaitGroup
	for n := range c.Clients {
		rng := s.rng(uint64(n))
		clients.Go(func() {
			for ctx.Err() == nil && !s.gone() {
				c.once(ctx, s, c.draw(rng, ids))
			}
		})
	}
	for pause(ctx, 100*time.Millisecond) && !s.gone() {
		s.progress.Set(s.clock.now().Milliseconds(), fmt.Sprintf("%d claims, %d refused", s.asked.Load(), s.refused.Load()))
	}
	clients.Wait()
}

// chances are what one claim of one client leaves to chance. All are drawn at once, so that they do not depend on what the relay does.
type chances struct {
	id         string
	stay, rest time.Duration // how long it holds, or waits; and how long the client rests after it
	share      float64       // which way it leaves
}

func (c *churn) draw(rng *rand.Rand, ids []string) chances {
	return chances{
		id:    ids[rng.IntN(len(ids))],
		stay:  min(time.Duration(rng.ExpFloat64()*float64(c.Hold)), 10*c.Hold),
		rest:  time.Duration(rng.Float64() * float64(c.Hold)),
		share: rng.Float64(),
	}
}

// once is one claim.
func (c *churn) once(ctx context.Context, s *session, by chances) {
	defer pause(ctx, by.rest)
	claim, err := s.prepare(ctx, by.id)
	if err != nil {
		if ctx.Err() == nil {
			s.missed(err)
		}
		return
	}
	claim.ask()
	switch claim.stay(ctx, by.stay); {
	case by.share < c.Silence:
		claim.fallSilent()
		claim.stay(ctx, 2*c.ProbeTimeout) // a claim behind it takes over; where none is, nothing happens
		claim.leave(byReset)
	case by.share < c.Silence+c.Reset:
		claim.leave(byReset)
	case by.share < c.Silence+2*c.Reset:
		claim.leave(byFIN)
	default:
		claim.leave(cleanly)
	}
}

// stay waits for so long, or until it has ended.
func (c *claimant) stay(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	case <-ctx.Done():
	}
}
