package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
		})
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
	r := claimstorm(t, append(churns, "--url", startFake(t, ""), "--silence", "0.1", "--probe-timeout", "1s", "--duration", "4s")...)
	if r.code == 4 && strings.Contains(strings.Join(r.result.Why, " "), "too busy") {
		t.Skip(r.result.Why)
	}
	if r.code != 0 || r.result.Headline.Takeovers == 0 {
		t.Errorf("exit %d\n%s", r.code, r.screen)
	}
}
