package slots

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/pyrycode/pyrycode-relay/messages"
)

var (
	start      = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	storyTimes = Config{Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond, MaxPhones: 16}
)

// TestStories plays each file of testdata/stories: one race, told as who does what, with the journal and the messages that
// come of it. `make stories` renews the answers.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		p := newPlay(storyTimes)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			lines := []string{d.Cmd}
			for _, a := range d.CmdArgs {
				lines[0] += " " + a.String()
			}
			for line := range strings.Lines(d.Input) {
				lines = append(lines, strings.TrimSpace(line))
			}
			p.out.Reset()
			for _, line := range lines {
				if err := p.act(line); err != nil {
					d.Fatalf(t, "%q: %v", line, err)
				}
				if err := p.m.Check(); err != nil {
					d.Fatalf(t, "after %q: %v", line, err)
				}
			}
			return p.out.String()
		})
	})
}

// play is one story: the machine, and of each character what the outside would know.
type play struct {
	m     *Machine
	now   time.Time
	seq   int64
	armed []Arm
	cast  map[string]*character
	out   strings.Builder
}

type character struct {
	claim messages.Claim               // or a phone's Join, as far as they are alike
	epoch messages.Epoch               // of its grant
	asked map[messages.ProbeNumber]ask // the probes that it was sent
}

type ask struct {
	epoch messages.Epoch
	sent  time.Time
}

func newPlay(cfg Config) *play {
	return &play{m: New(start, cfg), now: start, cast: map[string]*character{}}
}

// act plays one line of a story.
func (p *play) act(line string) error {
	w := strings.Fields(line)
	switch {
	case len(w) == 2 && w[0] == "at":
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err
		}
		p.until(start.Add(d))
		return nil
	case line == "grace 0":
		p.m.cfg.Grace = 0
		return nil
	case len(w) == 3 && w[0] == "startup" && w[1] == "grace":
		d, err := time.ParseDuration(w[2])
		if err != nil {
			return err
		}
		p.m.opens = start.Add(d)
		p.m.cfg.StartupGrace = d
		return nil
	case line == "one phone a slot":
		p.m.cfg.MaxPhones = 1
		return nil
	case line == "shutdown":
		p.step(line, messages.ShutDown{})
		return nil
	case len(w) == 4 && strings.HasPrefix(line, "the operator releases "):
		p.step(line, messages.OperatorRelease{Server: messages.ServerID(w[3])})
		return nil
	case len(w) == 3 && w[1] == "claims":
		c := messages.Claim{
			Server: messages.ServerID(w[2]), From: messages.Address(w[0]), Token: messages.ClaimToken(len(p.cast) + 1),
			Conn: messages.ConnID(w[0]), Version: "1", Remote: "192.0.2.1",
		}
		p.cast[w[0]] = &character{claim: c, asked: map[messages.ProbeNumber]ask{}}
		p.step(line, c)
		return nil
	case len(w) == 3 && w[1] == "joins":
		c := messages.Claim{Server: messages.ServerID(w[2]), From: messages.Address(w[0]), Token: messages.ClaimToken(len(p.cast) + 1)}
		p.cast[w[0]] = &character{claim: c}
		p.step(line, messages.Join{Server: c.Server, From: c.From, Token: c.Token, Conn: messages.ConnID(w[0]), Remote: "192.0.2.2"})
		return nil
	}
	if len(w) < 2 || p.cast[w[0]] == nil {
		return fmt.Errorf("want `at D`, `shutdown`, `grace 0`, `startup grace D`, `one phone a slot`, `the operator releases ID`, `X claims ID`, `X joins ID`, " +
			"or for an X that has claimed: answers probe N, releases, withdraws; for one that has joined: leaves")
	}
	c := p.cast[w[0]]
	switch strings.Join(w[1:], " ") {
	case "releases":
		p.step(line, messages.Release{Server: c.claim.Server, From: c.claim.From, Epoch: c.epoch})
	case "leaves":
		p.step(line, messages.Leave{Server: c.claim.Server, From: c.claim.From, Token: c.claim.Token})
	case "withdraws":
		p.step(line, messages.Withdraw{Server: c.claim.Server, From: c.claim.From, Token: c.claim.Token})
	default:
		var n messages.ProbeNumber
		if _, err := fmt.Sscanf(strings.Join(w[1:], " "), "answers probe %d", &n); err != nil {
			return fmt.Errorf("no such act")
		}
		q, ok := c.asked[n]
		if !ok {
			return fmt.Errorf("%s was never sent probe %d", w[0], n)
		}
		p.step(line, messages.ProbeAnswered{Server: c.claim.Server, Epoch: q.epoch, Probe: n, Sent: q.sent, Answered: p.now})
	}
	return nil
}

// until lets time pass, and what was armed fire on the way. Nothing is ever disarmed.
func (p *play) until(at time.Time) {
	for {
		slices.SortStableFunc(p.armed, func(a, b Arm) int { return a.At.Compare(b.At) })
		if len(p.armed) == 0 || p.armed[0].At.After(at) {
			p.now = at
			return
		}
		next := p.armed[0]
		p.armed = p.armed[1:]
		p.now = next.At
		p.step(Text(next.Say), next.Say)
	}
}

// step hands m in, and tells what came of it.
func (p *play) step(line string, m messages.ToRegistry) {
	changed := false
	for _, e := range p.m.Step(p.now, m) {
		switch e := e.(type) {
		case Record:
			p.seq++
			entry := *e.Entry
			entry.Seq = p.seq
			fmt.Fprintln(&p.out, entry.Line(start))
			changed = true
		case Tell:
			p.told(e)
			_, settled := e.Message.(messages.Settled)
			changed = changed || !settled
			fmt.Fprintf(&p.out, "   to %s: %s\n", e.To, Text(e.Message))
		case TellPhone:
			changed = true
			fmt.Fprintf(&p.out, "   to %s: %s\n", e.To, Text(e.Message))
		case Arm:
			p.armed = append(p.armed, e)
			changed = true
			fmt.Fprintf(&p.out, "   at %s: %s\n", e.At.Sub(start), Text(e.Say))
		}
	}
	if !changed {
		fmt.Fprintf(&p.out, "(changes nothing: %s)\n", line)
	}
}

// told lets a character know what it was sent.
func (p *play) told(e Tell) {
	c := p.cast[string(e.To)]
	switch m := e.Message.(type) {
	case messages.Granted:
		c.epoch = m.Epoch
	case messages.Probe:
		c.asked[m.Probe] = ask{m.Epoch, p.now}
	}
}
