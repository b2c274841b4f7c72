package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// The loads. Where nothing has to be taken over, a probe timeout may be so long that no machine is too busy for it.
var (
	storms = strings.Fields("storm --claimants 4 --ids 3 --rounds 3 --settle 10ms --probe-timeout 1s --probe-interval 1ms")
	long   = strings.Fields("storm --claimants 3 --ids 10 --rounds 60 --settle 1ms --probe-timeout 1s --probe-interval 1ms")
	churns = strings.Fields("churn --clients 12 --ids 3 --duration 1500ms --hold 30ms --silence 0 --probe-timeout 30s --probe-interval 1ms")
	frames = strings.Fields("relay --pairs 1 --duration 300ms")
)

// TestBrokenRelays: each fault is found, by the check that is for it.
func TestBrokenRelays(t *testing.T) {
	for _, c := range []struct {
		fault string
		load  []string
		check string
	}{
		{"second claim wins", storms, checkOneWinner},
		{"two winners once in 500", long, checkOneWinner},
		{"loser closed with 1000", storms, checkLosers},
		{"loser closed with 1000", churns, "wrong-answer"},
		{"loser closed with 1001", storms, checkLosers},
		{"loser closed with 1001", churns, "wrong-answer"},
		{"wrong reason", storms, checkLosers},
		{"wrong reason", churns, "wrong-answer"},
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
		t.Run(strings.ReplaceAll(c.fault+", "+c.load[0], " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := claimstorm(t, append(c.load, "--url", startFake(t, c.fault), "--seed", "1")...)
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
	srv := serveFake(t, "wrong reason", func(h http.Handler) *httptest.Server {
		var srv *httptest.Server
		var claims atomic.Int64
		srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if claims.Add(1) == 500 { // of 12 clients and one look at its health in 10 ms: many have been answered
				srv.Listener.Close()
			}
			h.ServeHTTP(w, r)
		}))
		return srv
	})
	r := claimstorm(t, append(churns, "--duration", "1h", "--url", "ws"+strings.TrimPrefix(srv.URL, "http"))...)
	if r.code != 1 || !slices.Contains(r.broken(), "wrong-answer") || !strings.Contains(r.screen, "died, or stopped listening") {
		t.Errorf("exit %d, broken %v\n%s", r.code, r.broken(), r.screen)
	}
}

// TestTheFakeIsRightButForItsFaults, or the test above proves nothing.
func TestTheFakeIsRightButForItsFaults(t *testing.T) {
	for _, load := range [][]string{append(storms, "--probe-timeout", "30s"), append(long, "--probe-timeout", "30s"), churns, frames} {
		t.Run(load[0], func(t *testing.T) {
			t.Parallel()
			if r := claimstorm(t, append(load, "--url", startFake(t, ""))...); r.code != 0 {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
		})
	}
}

// TestTakeoversAreSeen, unless the machine is too busy for so short a probe timeout: then that is said.
func TestTakeoversAreSeen(t *testing.T) {
	t.Parallel()
	r := claimstorm(t, append(churns, "--url", startFake(t, ""), "--silence", "0.03", "--grace", "0s", "--probe-timeout", "1s", "--duration", "4s")...)
	if r.code == 4 && strings.Contains(strings.Join(r.result.Why, " "), "too busy") {
		t.Skip(r.result.Why)
	}
	if r.code != 0 || r.result.Headline.Takeovers == 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	for _, sample := range r.result.Claims {
		if sample.Holding > 3 {
			t.Errorf("%d claims held 3 ids at %s", sample.Holding, sample.At)
		}
	}
}

// TestLoadsGoOverTLS, where the certificate is one to be trusted.
func TestLoadsGoOverTLS(t *testing.T) {
	t.Parallel()
	srv := serveFake(t, "", httptest.NewTLSServer)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(storms, "--probe-timeout", "30s", "--url", "wss"+strings.TrimPrefix(srv.URL, "https"))
	args[len(args)-1] += "/" // as one copies it from a browser
	if r := claimstorm(t, append(args, "--ca", ca)...); r.code != 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	if r := claimstorm(t, args...); r.code != 3 || !strings.Contains(r.screen, "certificate") {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
	byHand := append(strings.Fields("claim --id home --within 1ms --url"), args[len(args)-1])
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
