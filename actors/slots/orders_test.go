package slots

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestEveryOrder tries every order of what three claimants of one slot, or two and two phones, can do: claims, releases,
// withdrawals, late grants and refusals, answers to probes, silence, joins and leaves, timers at their time or later, and a
// shutdown at any point; of two and a phone also with an operator who throws the holder out. Who comes first is called a. Walks that
// have come to the same state go on as one, so an order is counted, but its common end walked once.
func TestEveryOrder(t *testing.T) {
	for _, grace := range []time.Duration{0, 30 * time.Second} {
		for _, people := range []struct {
			claimants, phones int
			operator          bool
		}{{3, 0, false}, {2, 2, false}, {2, 1, true}} {
			cfg := storyTimes
			cfg.Grace, cfg.MaxPhones = grace, 1
			if people.phones > 0 {
				cfg.StartupGrace = grace / 2
			}
			e := everyOrder{t: t, seen: map[string]uint64{}, begin: func() *world {
				w := newWorld(people.claimants, 1, people.phones, cfg)
				w.thrown = !people.operator
				return w
			}}
			orders := e.walk(e.begin())
			t.Logf("grace %s, %+v: %d orders of messages, through %d states", grace, people, orders, len(e.seen))
			if orders < 1_000_000 {
				t.Fatalf("only %d orders were tried: the world has become too small to prove anything", orders)
			}
		}
	}
}

type everyOrder struct {
	t     *testing.T
	begin func() *world
	seen  map[string]uint64 // how many orders lead on from a state
	path  []act             // what led to where the walk is
}

func (e *everyOrder) walk(w *world) (orders uint64) {
	key := w.key()
	if n, ok := e.seen[key]; ok {
		return n
	}
	acts := w.acts()
	if len(acts) == 0 || w.down && len(acts) == len(w.armed) {
		if broken := w.stuck(); broken != "" {
			e.fail(broken)
		}
	}
	for _, a := range acts {
		if w.mirrored(a) {
			continue
		}
		e.path = append(e.path, a)
		next := w.clone()
		if broken := next.do(a); broken != "" {
			e.fail(broken)
		}
		orders += e.walk(next)
		e.path = e.path[:len(e.path)-1]
	}
	orders = max(orders, 1)
	e.seen[key] = orders
	return orders
}

// mirrored is whether the walk would be another one with two names changed: they come in the order of their names.
func (w *world) mirrored(a act) bool {
	return a.who > 0 && (a.kind == "claims" && w.who[a.who-1].life == unborn || a.kind == "joins" && w.phones[a.who-1].life == unborn)
}

// fail walks the path again, to tell it as a story.
func (e *everyOrder) fail(broken string) {
	w := e.begin()
	w.story = []string{}
	for _, a := range e.path {
		w.do(a)
	}
	fail(e.t, w, broken)
}

func fail(t interface{ Fatalf(string, ...any) }, w *world, broken string) {
	t.Fatalf("%s\n%s", broken, strings.Join(w.story, "\n"))
}

// TestLongLives walks at random through many claimants of three slots, and shrinks what fails to a story.
func TestLongLives(t *testing.T) {
	for range 30 { // rapid's own number of checks is set for the cost of others
		rapid.Check(t, longLife)
	}
}

func longLife(t *rapid.T) {
	cfg := storyTimes
	cfg.Grace = rapid.SampledFrom([]time.Duration{0, 30 * time.Second}).Draw(t, "grace")
	cfg.MaxPhones = 2
	cfg.StartupGrace = rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "startup grace")
	w := newWorld(12, 2, 8, cfg)
	w.story = []string{}
	for range rapid.IntRange(1, 300).Draw(t, "length") {
		acts := w.acts()
		if len(acts) == 0 {
			break
		}
		a := acts[rapid.IntRange(0, len(acts)-1).Draw(t, "act")]
		if a.kind == "shutdown" && rapid.IntRange(0, 30).Draw(t, "down") != 30 {
			continue
		}
		if broken := w.do(a); broken != "" {
			fail(t, w, broken)
		}
	}
}

// TestEqualMessagesGiveEqualEffects: to the byte, so that a record can be replayed.
func TestEqualMessagesGiveEqualEffects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, v := newWorld(12, 4, 12, storyTimes), newWorld(12, 4, 12, storyTimes)
		for range rapid.IntRange(1, 200).Draw(t, "length") {
			acts := w.acts()
			if len(acts) == 0 {
				break
			}
			a := acts[rapid.IntRange(0, len(acts)-1).Draw(t, "act")]
			w.do(a)
			v.do(a)
			if x, y := text(w.m.effects), text(v.m.effects); x != y {
				t.Fatalf("the same messages gave\n%s\nand\n%s", x, y)
			}
		}
	})
}

func text(effects []Effect) string {
	var b strings.Builder
	for _, e := range effects {
		switch e := e.(type) {
		case Record:
			fmt.Fprintf(&b, "%+v\n", *e.Entry)
		case Tell:
			fmt.Fprintf(&b, "to %s: %#v\n", e.To, e.Message)
		case TellPhone:
			fmt.Fprintf(&b, "to %s: %#v\n", e.To, e.Message)
		case Arm:
			fmt.Fprintf(&b, "at %s: %#v\n", e.At, e.Say)
		}
	}
	return b.String()
}

// TestSlotsShareNothing plays two slots in one machine and each alone: but for the epochs, each gets what it gets alone.
func TestSlotsShareNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		both := newWorld(8, 2, 4, storyTimes)
		alone := [2]*world{newWorld(8, 2, 4, storyTimes), newWorld(8, 2, 4, storyTimes)}
		for range rapid.IntRange(1, 150).Draw(t, "length") {
			var acts []act // of the claimants only: timers stand in other places in each world
			for _, a := range both.acts() {
				if a.who != none && a.kind != "fires" && a.kind != "passes" {
					acts = append(acts, a)
				}
			}
			if len(acts) == 0 {
				break
			}
			a := acts[rapid.IntRange(0, len(acts)-1).Draw(t, "act")]
			one := alone[both.serverOf(a)]
			one.now = both.now
			both.do(a)
			one.do(a)
			if a.kind == "hears" {
				continue
			}
			if x, y := withoutEpochs(both.m.effects), withoutEpochs(one.m.effects); x != y {
				t.Fatalf("%s %s: beside another slot\n%s\nalone\n%s", name(a.who), a.kind, x, y)
			}
		}
	})
}

func withoutEpochs(effects []Effect) string {
	var b strings.Builder
	for _, e := range effects {
		switch e := e.(type) {
		case Record:
			entry := *e.Entry
			entry.Epoch = 0
			fmt.Fprintf(&b, "%+v\n", entry)
		case Tell:
			fmt.Fprintf(&b, "to %s: %T\n", e.To, e.Message)
		case TellPhone:
			fmt.Fprintf(&b, "to %s: %T\n", e.To, e.Message)
		case Arm:
			fmt.Fprintf(&b, "at %s: %T\n", e.At, e.Say)
		}
	}
	return b.String()
}

// TestPanicChangesNothing: a message whose rule panics, here for a broken invariant, leaves every slot as it was.
func TestPanicChangesNothing(t *testing.T) {
	m := New(start, storyTimes)
	claim := messages.Claim{Server: "alpha", From: "a", Token: 1, Conn: "a"}
	m.Step(start, claim)
	before := fmt.Sprintf("%+v", m.slots)
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("a second claim of one token was taken")
				}
			}()
			m.Step(start, claim)
		}()
		if after := fmt.Sprintf("%+v", m.slots); after != before || m.epoch != 1 {
			t.Fatalf("was %s\n is %s", before, after)
		}
	}
	if got := m.Step(start, messages.Claim{Server: "alpha", From: "b", Token: 2, Conn: "b"}); len(got) != 3 {
		t.Fatalf("the next message: %v", got)
	}
}

func BenchmarkClaimAndReleaseOfFreeSlot(b *testing.B) {
	m := New(start, Config{ProbeTimeout: time.Second, ProbeInterval: time.Second})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Step(start, messages.Claim{Server: "alpha", From: "a", Token: messages.ClaimToken(i)})
		m.Step(start, messages.Release{Server: "alpha", From: "a", Epoch: m.epoch})
	}
}

func BenchmarkRefusedClaim(b *testing.B) {
	m := New(start, Config{ProbeTimeout: time.Second})
	m.Step(start, messages.Claim{Server: "alpha", From: "a", Token: 1})
	b.ReportAllocs()
	for i := 1; b.Loop(); i++ {
		m.Step(start, messages.Claim{Server: "alpha", From: "b", Token: messages.ClaimToken(i + 1)})
		m.Step(start, messages.ProbeAnswered{Server: "alpha", Epoch: 1, Probe: messages.ProbeNumber(i)})
	}
}
