package history

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// op is what porcupine is asked to put into one order: a claim, or the end of one.
type op struct {
	claim int
	ends  bool
}

// outcome of a claim.
type outcome int

const (
	unknown outcome = iota
	granted
	refused
)

// holds is a slot as its clients see it: who holds it, -1 for nobody, and which claims, of the first 64, ended before they held.
type holds struct {
	holder int
	over   uint64
}

// lock: a claim is granted while nobody holds, refused while somebody does, and if nobody knows which, either.
var lock = porcupine.NondeterministicModel{
	Init: func() []any { return []any{holds{holder: -1}} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(holds), input.(op), output.(outcome)
		switch {
		case in.ends && s.holder == in.claim:
			return []any{holds{-1, s.over}}
		case in.ends && out == unknown:
			return []any{holds{s.holder, s.over | 1<<in.claim}}
		case out == refused && s.holder >= 0, out == unknown && (s.holder >= 0 || s.over&(1<<in.claim) != 0):
			return []any{s}
		case out == granted && s.holder < 0:
			return []any{holds{in.claim, s.over}}
		case out == unknown:
			return []any{s, holds{in.claim, s.over}}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}

// operations are the claims of a history as porcupine takes them.
func operations(claims []Claim) (ops []porcupine.Operation) {
	for i, c := range claims {
		add := func(ends bool, out outcome, call, back time.Duration) {
			ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: op{i, ends}, Output: out, Call: int64(call), Return: int64(back)})
		}
		switch {
		case c.End == Closed:
			add(false, refused, c.Asked, c.Ended)
			continue
		case c.Held != 0:
			add(false, granted, c.Asked, c.Held)
			add(true, granted, c.Leaving, c.Ended)
		default:
			add(false, unknown, c.Asked, c.Ended)
			add(true, unknown, c.Leaving, c.Ended)
		}
	}
	return ops
}

// lived is a history of a lock whose clients claim, hold and leave, and in percent of the cases leave before they know.
func lived(rng *rand.Rand, clients, claims, percent int) []Claim {
	type client struct {
		at    time.Duration // of what it does next to the lock
		holds *Claim
	}
	delay := func(most int64) time.Duration { return time.Duration(1 + rng.Int64N(most)) }
	all, history := make([]client, clients), make([]Claim, 0, claims)
	for i := range all {
		all[i].at = delay(20_000)
	}
	held := false
	for len(history) < claims {
		next := 0
		for i := range all {
			if all[i].at < all[next].at {
				next = i
			}
		}
		me := &all[next]
		now := me.at
		me.at += 1000 + delay(20_000)
		if me.holds != nil { // its release comes
			me.holds.Ended = now + delay(1000)
			me.holds, held = nil, false
			continue
		}
		history = append(history, Claim{Server: "home", Client: next, Asked: max(now-delay(1000), 1)})
		c := &history[len(history)-1]
		switch {
		case held:
			c.End, c.Code, c.Reason, c.Ended = Closed, CodeClaimed, ReasonClaimed, now+delay(1000)
			c.Upgraded = c.Ended
			if rng.IntN(100) < percent {
				*c = Claim{Server: c.Server, Client: next, Asked: c.Asked, Leaving: now + delay(100), Ended: now + 100 + delay(1000), End: Left}
			}
		default:
			held, me.holds = true, c
			c.Held, c.Leaving, c.End = now+delay(500), me.at-delay(500), Left
			if rng.IntN(100) < percent {
				c.Held = 0
				c.Leaving = now + delay(me.at.Nanoseconds()-now.Nanoseconds()-1)
			}
		}
	}
	for i := range all {
		if c := all[i].holds; c != nil {
			c.Ended = all[i].at + delay(1000)
		}
	}
	return history
}

// spoil makes a history into one that may be impossible.
func spoil(rng *rand.Rand, claims []Claim) {
	c := &claims[rng.IntN(len(claims))]
	switch delay := time.Duration(1 + rng.Int64N(20_000)); {
	case c.End == Closed && rng.IntN(2) == 0: // it won, too
		*c = Claim{Server: c.Server, Client: c.Client, Asked: c.Asked, Held: c.Ended, Leaving: c.Ended + delay, Ended: c.Ended + delay + 1, End: Left}
	case c.End == Closed: // it was refused, but later or sooner
		c.Asked, c.Ended = c.Asked+delay, c.Ended+delay
		c.Upgraded = c.Ended
	case c.Held != 0 && rng.IntN(2) == 0: // it lost
		*c = Claim{Server: c.Server, Client: c.Client, Asked: c.Asked, Upgraded: c.Held, Ended: c.Held, End: Closed, Code: CodeClaimed, Reason: ReasonClaimed}
	case c.Held != 0: // it stayed longer, or left sooner
		c.Leaving = c.Held + delay
		c.Ended = max(c.Ended, c.Leaving+1)
		if rng.IntN(2) == 0 {
			c.Ended = c.Leaving + 1
		}
	}
}

// TestPorcupineAgrees: a general checker of histories, which knows a lock only by its transitions, finds the same ones possible. Where
// nobody knows what became of some claims, this package may overlook what only their combination rules out, and no more.
func TestPorcupineAgrees(t *testing.T) {
	for _, tt := range []struct {
		name             string
		histories        int
		clients, claims  int
		unknown, spoiled int
		exactly          bool
	}{
		{"known", rounds(40, 2000), 20, 500, 0, 3, true},
		{"short", rounds(1000, 100_000), 6, 20, 0, 1, true},
		{"some unknown", rounds(1000, 50_000), 5, 20, 20, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var possible, impossible, overlooked int
			for seed := range uint64(tt.histories) {
				rng := rand.New(rand.NewPCG(seed, 7))
				claims := lived(rng, tt.clients, tt.claims, tt.unknown)
				for range rng.IntN(tt.spoiled + 1) {
					spoil(rng, claims)
				}
				h := &History{}
				for _, c := range claims {
					h.Add(c)
				}
				v := Check(h, nil, Rules{ProbeTimeout: time.Hour, Slack: 1})
				ok := v.Found[TwoHolders]+v.Found[GrantedInsideHold]+v.Found[RefusedWhileFree]+v.Found[Unanswered] == 0
				switch got := porcupine.CheckOperations(lock.ToModel(), operations(claims)); {
				case got && !ok:
					t.Fatalf("seed %d: porcupine finds an order for it, not so the checks: %v\n%+v", seed, v.Violations, claims)
				case got:
					possible++
				case ok && tt.exactly:
					t.Fatalf("seed %d: porcupine finds no order for it:\n%+v", seed, claims)
				case ok:
					overlooked++
				default:
					impossible++
				}
			}
			t.Logf("%d possible, %d impossible, %d overlooked", possible, impossible, overlooked)
			if possible < tt.histories/10 || impossible < tt.histories/10 || overlooked > impossible/20 {
				t.Errorf("this proves nothing: %d possible, %d impossible, %d overlooked", possible, impossible, overlooked)
			}
		})
	}
}
