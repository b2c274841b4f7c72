package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// told is what a run of claimstorm ended with.
type told struct {
	code   int
	result report.Result
	screen string
}

// claimstorm runs a load as a shell would.
func claimstorm(t *testing.T, args ...string) told {
	t.Helper()
	return claimstormUntil(t.Context(), t, args...)
}

// claimstormUntil is interrupted with ctx.
func claimstormUntil(ctx context.Context, t *testing.T, args ...string) told {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	var stdout, stderr bytes.Buffer
	e := &environment{ctx: ctx, args: append([]string{"claimstorm"}, args...), stdout: &stdout, stderr: &stderr}
	c, err := parse(slices.Insert(slices.Clone(args), 1, "--json", file))
	if err != nil {
		t.Fatal(err)
	}
	r := told{code: c.run(e)}
	r.screen = stdout.String() + stderr.String()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("exit %d, and no result: %s", r.code, r.screen)
	}
	var bare struct {
		report.Result
		Latencies []any `json:"latencies"` // which only the report can write
	}
	if err := json.Unmarshal(b, &bare); err != nil {
		t.Fatal(err)
	}
	r.result = bare.Result
	return r
}

// broken are the checks that failed.
func (r *told) broken() (names []string) {
	for _, c := range r.result.Checks {
		if c.Broken > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// ordeal is a load for a fake, which ends it where it would not end by itself: a machine may be too slow for any time to be enough.
type ordeal struct {
	args  string
	until int // the fake has shown so often what it is for
}

// against runs it.
func (o ordeal) against(t *testing.T, f *fake, more ...string) told {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.shows, f.enough = o.until, cancel
	return claimstormUntil(ctx, t, append(strings.Fields(o.args), append(more, "--url", f.serve(t, (*httptest.Server).Start), "--seed", "1")...)...)
}

// The loads. A probe timeout may be longer than any machine stands still, where nobody waits for its end.
var (
	storms = ordeal{"storm --claimants 4 --ids 3 --rounds 3 --settle 10ms --probe-timeout 1s --probe-interval 1ms", 0}
	long   = ordeal{"storm --claimants 3 --ids 10 --rounds 60 --settle 1ms --probe-timeout 1s --probe-interval 1ms", 0}
	churns = ordeal{"churn --clients 12 --ids 6 --duration 1h --hold 100ms --silence 0 --probe-timeout 30s --probe-interval 1ms", 30}
	stays  = ordeal{"churn --clients 12 --ids 3 --duration 1h --hold 1m --silence 0 --probe-timeout 30s --probe-interval 1ms", 5}
	frames = ordeal{"relay --pairs 1 --duration 1h", 300}
)

// TestBrokenRelays: each fault is found, by the check that is for it.
func TestBrokenRelays(t *testing.T) {
	for _, c := range []struct {
		fault string
		load  ordeal
		check string
	}{
		{"second claim wins", storms, checkOneWinner},
		{"two winners once in 500", long, checkOneWinner},
		{"loser closed with 1000", storms, checkLosers},
		{"loser closed with 1000", stays, "wrong-answer"},
		{"loser closed with 1001", storms, checkLosers},
		{"loser closed with 1001", stays, "wrong-answer"},
		{"wrong reason", storms, checkLosers},
		{"wrong reason", stays, "wrong-answer"},
		{"never answered", storms, checkAnswered},
		{"winner dropped", storms, checkWinner},
		{"winner dropped", churns, "cut-off"},
		{"grace ignored", storms, "refused-while-free"},
		{"living holder taken over", churns, "cut-off"},
		{"old proof of life counted", churns, "refused-without-proof"},
		{"two frames swapped", frames, checkOrder},
		{"one frame doubled", frames, checkOnce},
		{"one frame lost", frames, checkComplete},
		{"one byte changed", frames, checkBytes},
	} {
		command, _, _ := strings.Cut(c.load.args, " ")
		t.Run(strings.ReplaceAll(c.fault+", "+command, " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := c.load.against(t, newFake(c.fault))
			if r.code != 1 || !slices.Contains(r.broken(), c.check) {
				t.Fatalf("exit %d, broken %v, want 1 and %s\n%s", r.code, r.broken(), c.check, r.screen)
			}
			if !strings.Contains(r.screen, r.result.Violations[0].Check) {
				t.Errorf("the screen does not name it:\n%s", r.screen)
			}
			if c.check == "cut-off" && !strings.Contains(strings.Join(r.result.Why, " "), "taken to run with --probe-timeout 30s") {
				t.Errorf("the relay may have other times, and that is not said: %q", r.result.Why)
			}
		})
	}
}

// TestADeadRelayIsJudged by what it did until then.
func TestADeadRelayIsJudged(t *testing.T) {
	t.Parallel()
	f := newFake("wrong reason")
	f.shows, f.enough = churns.until, func() { f.listener.Close() }
	r := claimstorm(t, append(strings.Fields(churns.args), "--url", f.serve(t, (*httptest.Server).Start))...)
	if r.code != 1 || !slices.Contains(r.broken(), "wrong-answer") || !strings.Contains(strings.Join(r.result.Why, " "), "died, or stopped listening") {
		t.Errorf("exit %d, broken %v\n%s", r.code, r.broken(), r.screen)
	}
}

// TestARelayThatStandsStillIsNotBroken: it holds up its page that costs nothing, too, and then takes the time that went by for silence.
func TestARelayThatStandsStillIsNotBroken(t *testing.T) {
	t.Parallel()
	brief := ordeal{args: "storm --claimants 4 --ids 1 --rounds 2 --settle 10ms --probe-timeout 300ms --slack 10ms"}
	r := brief.against(t, newFake("stands still"))
	if r.code != 4 || len(r.broken()) > 0 || !strings.Contains(strings.Join(r.result.Why, " "), "too busy for a probe timeout of 300ms") {
		t.Fatalf("exit %d, broken %v\n%s", r.code, r.broken(), r.screen)
	}
	if r.result.Rounds[0].TookOver != 1 || r.result.Rounds[0].Granted != 1 {
		t.Errorf("it stood still in round 1: %+v", r.result.Rounds)
	}
}

// TestARoundIsMadeReadyAgain, since no relay waits so long for a request, and who was late may have been so but once.
func TestARoundIsMadeReadyAgain(t *testing.T) {
	t.Parallel()
	var handshakes atomic.Int64
	f := newFake("")
	url := f.serve(t, func(srv *httptest.Server) {
		srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if handshakes.Add(1) == 4 {
				<-time.After(readyWithin + 100*time.Millisecond)
			}
			return nil, nil
		}}
		srv.StartTLS()
	})
	if r := claimstorm(t, append(strings.Fields(storms.args), "--probe-timeout", "30s", "--url", url, "--ca", f.authority(t))...); r.code != 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
}

// TestARequestThatMayHaveComeTooLateIsNobodysFault.
func TestARequestThatMayHaveComeTooLateIsNobodysFault(t *testing.T) {
	for made, want := range map[time.Duration]history.End{0: history.Cut, -requestWithin: history.Dropped} {
		s := &session{clock: startClock()}
		c := &claimant{s: s, made: made}
		c.claim.Asked = s.clock.now()
		c.neverUpgraded(io.EOF)
		s.clock.halt()
		if got := s.history.Claim(0).End; got != want {
			t.Errorf("made at %s: %s, want %s", made, got, want)
		}
	}
}

// TestTheFakeIsRightButForItsFaults, or the test above proves nothing.
func TestTheFakeIsRightButForItsFaults(t *testing.T) {
	for name, load := range map[string]ordeal{"storm": storms, "long storm": long, "churn": churns, "frames": frames} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var patient []string
			if strings.HasPrefix(load.args, "storm") {
				patient = []string{"--probe-timeout", "30s"}
			}
			if r := load.against(t, newFake(""), patient...); r.code != 0 {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
		})
	}
}

// busy says that the machine was, for so short a probe timeout, and that no check was broken for it. Then nothing is proven.
func (r *told) busy() bool {
	return r.code == 4 && len(r.broken()) == 0 && strings.Contains(strings.Join(r.result.Why, " "), "The machine was too busy")
}

// TestTakeoversAreSeen, unless the machine is too busy for so short a probe timeout: then that is said.
func TestTakeoversAreSeen(t *testing.T) {
	t.Parallel()
	f := newFake("")
	f.silent, f.fault = time.Second, "takes over"
	r := ordeal{churns.args, 6}.against(t, f, "--silence", "0.3", "--grace", "0s", "--probe-timeout", "1s")
	if r.busy() {
		t.Skip(r.result.Why)
	}
	if r.code != 0 || r.result.Headline.Takeovers == 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	for _, sample := range r.result.Claims {
		if sample.Holding > 6 {
			t.Errorf("%d claims held 6 ids at %s", sample.Holding, sample.At)
		}
	}
}

// TestLoadsGoOverTLS, where the certificate is one to be trusted.
func TestLoadsGoOverTLS(t *testing.T) {
	t.Parallel()
	f := newFake("")
	url := f.serve(t, (*httptest.Server).StartTLS) + "/" // as one copies it from a browser
	ca := f.authority(t)
	args := append(strings.Fields(storms.args), "--probe-timeout", "30s", "--url", url)
	if r := claimstorm(t, append(args, "--ca", ca)...); r.code != 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	if r := claimstorm(t, args...); r.code != 3 || !strings.Contains(r.screen, "certificate") {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	byHand := append(strings.Fields("claim --id home --within 1ms --url"), url)
	if code, says := handUntil(t, "holding", append(byHand, "--ca", ca)...); code != 0 {
		t.Errorf("exit %d\n%s", code, says)
	}
	if code, says := handUntil(t, "holding", byHand...); code != 3 || !strings.Contains(says, "name one who did by --ca") {
		t.Errorf("exit %d\n%s", code, says)
	}
}

// handUntil runs a command by hand, and presses Ctrl-C when it says a word.
func handUntil(t *testing.T, word string, args ...string) (code int, says string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := &listener{word: word, heard: cancel}
	c, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	code = c.run(&environment{ctx: ctx, args: args, stdout: heard, stderr: heard})
	return code, heard.String()
}

type listener struct {
	bytes.Buffer
	word  string
	heard func()
}

func (l *listener) Write(b []byte) (int, error) {
	if n, err := l.Buffer.Write(b); err != nil || !strings.Contains(l.String(), l.word) {
		return n, err
	}
	l.heard()
	return len(b), nil
}

// TestPongsAreCounted, where they were asked for.
func TestPongsAreCounted(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("half a minute of waiting for a pong: SOAK=1 runs it")
	}
	t.Parallel()
	r := claimstorm(t, append(strings.Fields("hold --claims 2 --duration 10ms --ping-every 5ms"), "--url", startFake(t, "no pongs"))...)
	if r.code != 1 || !slices.Contains(r.broken(), checkHeld) {
		t.Errorf("exit %d, broken %v\n%s", r.code, r.broken(), r.screen)
	}
}

// TestSeedRepeatsTheChoices of every client.
func TestSeedRepeatsTheChoices(t *testing.T) {
	c, ids := churn{Hold: time.Second}, []string{"a", "b", "c"}
	draw := func(seed, client uint64) (all []chances) {
		rng := (&session{load: &load{output: output{Seed: seed}}}).rng(client)
		for range 20 {
			all = append(all, c.draw(rng, ids))
		}
		return all
	}
	if !slices.Equal(draw(1, 2), draw(1, 2)) {
		t.Error("one seed, two stories")
	}
	if slices.Equal(draw(1, 2), draw(1, 3)) || slices.Equal(draw(1, 2), draw(2, 2)) {
		t.Error("another client or another seed, and the same story")
	}
}

func TestTheToolSaysWhenItIsTheBottleneck(t *testing.T) {
	for _, c := range []struct {
		share  float64
		behind time.Duration
		says   string
	}{{0.1, time.Millisecond, ""}, {0.7, 0, "70 % of all cores"}, {0.1, time.Second, "1s behind"}} {
		if got := bottleneck(c.share, c.behind); (c.says == "") != (got == "") || !strings.Contains(got, c.says) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
