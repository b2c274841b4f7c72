package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// storm lets many claims loose on the same ids at the same moment, round after round.
type storm struct {
	load      `embed:""`
	Claimants int           `default:"50" placeholder:"K" help:"How many claim each id at once (${default})."`
	IDs       int           `name:"ids" default:"10" placeholder:"M" help:"How many ids they claim (${default})."`
	Rounds    int           `default:"20" placeholder:"R" help:"How often (${default})."`
	Settle    time.Duration `default:"50ms" help:"How long the winners are watched before they leave (${default})."`
}

// Validate is called by kong.
func (c *storm) Validate() error {
	switch {
	case c.Claimants < 1 || c.IDs < 1 || c.Rounds < 1:
		return fmt.Errorf("--claimants %d --ids %d --rounds %d: want at least 1 of each", c.Claimants, c.IDs, c.Rounds)
	case c.Settle <= 0:
		return fmt.Errorf("--settle %q: want a positive duration such as 50ms", c.Settle)
	}
	return c.validate()
}

func (c *storm) run(e *environment) int { return tell(e, c) }

func (c *storm) measure(e *environment) (*report.Result, error) {
	p := plan{
		title: "storm", steps: int64(c.Rounds), links: c.Claimants * c.IDs, of: "claims",
		refusals: c.Claimants > 1, graceClaims: c.Rounds > 1 && c.Grace > 0,
	}
	return c.execute(e, p, c.drive)
}

// drive plays the rounds. The first one in which a check fails is the last: there is no better evidence than the least.
func (c *storm) drive(ctx context.Context, s *session) {
	ids := s.ids(c.IDs)
	for n := 1; n <= c.Rounds && ctx.Err() == nil && !s.violated() && !s.gone(); n++ {
		r := c.begin(ctx, s, n, ids)
		if r == nil {
			return
		}
		r.release()
		r.await(ctx)
		if ctx.Err() == nil { // else nobody waited for the answers
			r.judge()
		}
		r.end(ctx)
		s.progress.Set(int64(n), fmt.Sprintf("round %d: %d claims, %d refused", n, s.asked.Load(), s.refused.Load()))
	}
}

// round is one release of all claimants.
type round struct {
	s        *session
	storm    *storm
	told     report.Round
	all      []*claimant // in the order of their release
	contests []*contest
}

// contest is the claimants of one id.
type contest struct {
	id      string
	claims  []*claimant
	left    atomic.Int32  // claims that have not ended
	decided chan struct{} // closed when one is left
}

const (
	readyWithin = requestWithin - time.Second // how long the first link may wait for the last
	readyTries  = 3                           // a machine may have stood still in the others
)

// begin has every claim made but for its last byte. It is nil where that cannot be done.
func (c *storm) begin(ctx context.Context, s *session, n int, ids []string) *round {
	r := &round{s: s, storm: c, told: report.Round{Number: n}}
	links, took := c.connect(ctx, s, ids)
	for try := 1; took > readyWithin && try < readyTries && ctx.Err() == nil; try++ {
		for _, claim := range links {
			if claim != nil {
				claim.link.cut(true)
			}
		}
		links, took = c.connect(ctx, s, ids)
	}
	for _, id := range ids {
		r.contests = append(r.contests, &contest{id: id, decided: make(chan struct{})})
	}
	for i, claim := range links {
		if claim != nil {
			k := r.contests[i%c.IDs]
			k.claims = append(k.claims, claim)
			r.all = append(r.all, claim)
		}
	}
	r.told.Unreached = int64(len(links) - len(r.all))
	if took > readyWithin || len(r.all) < len(links) || ctx.Err() != nil {
		for _, claim := range r.all {
			claim.link.cut(true)
		}
		if ctx.Err() == nil {
			s.void("Round %d: %d of %d connections were ready after %s, and all must be within %s, since a relay waits no longer for a request: ask for fewer claimants.",
				n, len(r.all), len(links), took.Round(time.Millisecond), readyWithin)
		}
		return nil
	}
	rng := s.rng(uint64(n))
	rng.Shuffle(len(r.all), func(i, j int) { r.all[i], r.all[j] = r.all[j], r.all[i] })
	for _, k := range r.contests {
		k.left.Store(int32(len(k.claims)))
		for _, claim := range k.claims {
			claim.after = k.ended
		}
		if len(k.claims) == 1 {
			close(k.decided)
		}
	}
	return r
}

// connect prepares all claims; one that could not be is nil.
func (c *storm) connect(ctx context.Context, s *session, ids []string) (links []*claimant, took time.Duration) {
	links = make([]*claimant, c.IDs*c.Claimants)
	began := s.clock.now()
	each(len(links), dialers, func(i int) {
		claim, err := s.prepare(ctx, ids[i%c.IDs])
		if err != nil {
			if ctx.Err() == nil {
				s.missed(err)
			}
			return
		}
		links[i] = claim
	})
	return links, s.clock.now() - began
}

// ended is called by each claim that ends.
func (k *contest) ended() {
	if k.left.Add(-1) == 1 {
		close(k.decided)
	}
}

// releasers write the last bytes: two, so that a system call of one does not hold up all.
const releasers = 2

func (r *round) release() {
	r.told.At = r.s.clock.now()
	each(len(r.all), releasers, func(i int) { r.all[i].ask() })
}

// await waits until each id has one claim left, and some time more to see whether that one stays.
func (r *round) await(ctx context.Context) {
	l := r.storm.load
	patience := r.s.lookout.patience(l.ProbeTimeout + l.ProbeInterval + 2*l.Slack + time.Second)
	for _, k := range r.contests {
		patience.await(k.decided, ctx.Done())
	}
	pause(ctx, r.storm.Settle)
}

// judge counts winners and looks at what the losers read.
func (r *round) judge() {
	pending := 0
	for _, k := range r.contests {
		var holding, wrong []*claimant
		for _, claim := range k.claims {
			switch {
			case claim.holds() && claim.pending():
				r.told.Unreached++
				pending++
			case claim.holds():
				holding = append(holding, claim)
			case claim.failure != nil:
				r.told.Unreached++
			case claim.claim.End == history.Closed && claim.claim.Code == history.CodeClaimed && claim.claim.Reason == history.ReasonClaimed:
				r.told.Refused++
			case timedOut(claim.claim): // whether it was silent is for package history to say
				r.told.TookOver++
			default:
				r.told.Wrong++
				wrong = append(wrong, claim)
			}
		}
		r.s.looked(checkOneWinner, 1)
		r.s.looked(checkLosers, len(k.claims)-1)
		r.s.looked(checkAnswered, len(k.claims))
		r.judgeWinners(k, holding, wrong)
	}
	if pending > 0 {
		r.s.void("In round %d the relay did not answer %d of %d requests at all.", r.told.Number, pending, len(r.all))
	}
	r.s.mu.Lock()
	r.s.rounds = append(r.s.rounds, r.told)
	r.s.mu.Unlock()
}

func (r *round) judgeWinners(k *contest, holding, wrong []*claimant) {
	proven := slices.DeleteFunc(slices.Clone(holding), func(c *claimant) bool { return !c.probed() })
	switch {
	case len(holding) == 1:
		r.told.Granted++
	case len(holding) == 0 && len(wrong) > 0:
		r.accuse(checkWinner, k, wrong, "nobody was left, and %s was not refused but %s", wrong[0].name(), outcome(&wrong[0].claim))
		wrong = wrong[1:]
	case len(holding) == 0 && r.told.Unreached > 0:
		return // whoever did not get in may have been the one
	default:
		r.told.Unanswered += int64(max(0, len(holding)-1))
		r.accuse(checkOneWinner, k, holding, "%d of %d claims were left unrefused", len(holding), len(k.claims))
		if len(holding) > 1 && len(proven) == 1 {
			r.accuse(checkAnswered, k, holding, "%s was probed, so it held the slot, and %d others were never answered", proven[0].name(), len(holding)-1)
		}
	}
	for _, loser := range wrong {
		r.accuse(checkLosers, k, []*claimant{loser}, "%s was not refused with 4409 %q but %s", loser.name(), history.ReasonClaimed, outcome(&loser.claim))
	}
}

// accuse tells of a violation in the round.
func (r *round) accuse(check string, k *contest, who []*claimant, format string, args ...any) {
	v := report.Violation{
		Check: check, ID: k.id, Round: r.told.Number, At: r.told.At,
		Says: fmt.Sprintf("In round %d ", r.told.Number) + fmt.Sprintf(format, args...) + ".",
	}
	var b strings.Builder
	for _, c := range who[:min(len(who), 5)] {
		fmt.Fprintf(&b, "%s, from %s: %s\n", c.name(), c.link.conn.LocalAddr(), c.told())
		v.Lanes = append(v.Lanes, c.name())
	}
	v.Evidence = b.String()
	r.s.violate(v)
}

// end has every claim that is left prove that it is undisturbed, and give its slot back.
func (r *round) end(ctx context.Context) {
	var left []*claimant
	for _, c := range r.all {
		if c.holds() {
			left = append(left, c)
		}
	}
	each(len(left), dialers, func(i int) {
		c := left[i]
		if c.pending() {
			c.leave(byReset)
			return
		}
		k := r.contests[slices.IndexFunc(r.contests, func(k *contest) bool { return k.id == c.claim.Server })]
		answered := c.answers(r.storm.ProbeTimeout + 2*r.storm.Slack)
		c.leave(cleanly)
		r.s.looked(checkWinner, 1)
		switch {
		case ctx.Err() != nil, timedOut(c.claim): // nor is this judged
		case !answered:
			r.accuse(checkWinner, k, []*claimant{c}, "%s got no pong", c.name())
		case c.claim.End != history.Left && c.claim.Code != history.CodeClaimed:
			r.accuse(checkWinner, k, []*claimant{c}, "the close frame of %s was not answered: %s", c.name(), outcome(&c.claim))
		}
	})
}
