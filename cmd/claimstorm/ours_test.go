package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
	"github.com/pyrycode/pyrycode-relay/transport"
)

// ourRelay is this module's relay, in this process.
type ourRelay struct {
	url, admin string
	stop       func()
}

var ofOurs = []string{"--probe-timeout", "1500ms", "--probe-interval", "10ms"}

func startOurs(t *testing.T) *ourRelay {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	up, down := make(chan [2]net.Addr, 1), make(chan error, 1)
	cfg := transport.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		Slots:   slots.Config{Grace: 30 * time.Second, ProbeTimeout: 1500 * time.Millisecond, ProbeInterval: 10 * time.Millisecond, MaxPhones: 16},
		Journal: 1 << 16, Heartbeat: 30 * time.Second, HeartbeatTimeout: 30 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second,
		MaxFrameBytes: 256 << 10, PhoneBacklog: 4 << 20, MaxQueuedBytes: 64 << 20, MaxConnections: 10_000,
		Log:     slog.New(slog.DiscardHandler),
		Started: func(l, admin net.Addr) { up <- [2]net.Addr{l, admin} },
	}
	go func() { down <- transport.Run(ctx, context.Background(), cfg) }()
	addrs := <-up
	r := &ourRelay{url: "ws://" + addrs[0].String(), admin: "http://" + addrs[1].String()}
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			<-down
		}
	}
	t.Cleanup(r.stop)
	return r
}

// TestOurRelayHoldsEveryCheck, its journal among them.
func TestOurRelayHoldsEveryCheck(t *testing.T) {
	for name, args := range map[string]string{
		"storm":           "storm --claimants 20 --ids 5 --rounds 5 --settle 10ms",
		"churn":           "churn --clients 20 --ids 4 --duration 4s --hold 50ms --silence 0.1",
		"hold":            "hold --claims 100 --duration 500ms --ping-every 100ms",
		"frames, fast":    "relay --pairs 2 --duration 500ms --size 128,5000",
		"frames, open":    "relay --pairs 2 --duration 500ms --rate 100",
		"frames, one way": "relay --pairs 2 --duration 500ms --direction down",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := startOurs(t)
			r := claimstorm(t, append(append(strings.Fields(args), ofOurs...), "--url", relay.url, "--admin", relay.admin)...)
			if r.code == 4 && strings.Contains(strings.Join(r.result.Why, " "), "too busy") {
				t.Skip(r.result.Why)
			}
			if r.code != 0 || len(r.result.Checks) == 0 {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
			journal := slices.ContainsFunc(r.result.Checks, func(c report.Check) bool { return strings.HasPrefix(c.Name, "journal-") && c.Looked > 0 })
			if asksClaims := !strings.HasPrefix(name, "frames"); journal != asksClaims {
				t.Errorf("the journal was checked: %v\n%+v", journal, r.result.Checks)
			}
		})
	}
}

// TestFiveThousandClaimants in one storm, from one process (and the relay in the same) of less than a gibibyte.
func TestFiveThousandClaimants(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("a long test: SOAK=1 runs it")
	}
	relay := startOurs(t)
	r := claimstorm(t, "storm", "--claimants", "500", "--ids", "10", "--rounds", "3", "--probe-timeout", "30s", "--url", relay.url)
	if r.code != 0 || r.result.Headline.Count != 15_000 || r.result.Tool.PeakMemory > 1<<30 {
		t.Errorf("exit %d, %d claims, %d bytes\n%s", r.code, r.result.Headline.Count, r.result.Tool.PeakMemory, r.screen)
	}
}

func TestRunsThatProveNothingAreVoid(t *testing.T) {
	t.Parallel()
	relay := startOurs(t)
	for args, why := range map[string]string{
		"storm --claimants 2 --ids 1 --rounds 1 --min-rate 1e9":        "at least 1e+09 were asked for",
		"churn --clients 4 --ids 1 --duration 200ms --hold 20ms":       "No slot was taken over",
		"churn --clients 2 --ids 1 --duration 100ms --hold 1m":         "No claim came in a grace",
		"storm --claimants 2 --ids 1 --rounds 1 --slack 800ms":         "too busy for a probe timeout of 1.5s",
		"hold --claims 1 --duration 1ms --admin http://127.0.0.1:1":    "",
		"relay --pairs 1 --duration 100ms --rate 10 --min-rate 100000": "at least 100000 were asked for",
	} {
		r := claimstorm(t, append(append(strings.Fields(args), ofOurs...), "--url", relay.url)...)
		want := 4
		if why == "" {
			want = 3 // there are no admin pages
		}
		if r.code != want || !strings.Contains(strings.Join(r.result.Why, " "), why) {
			t.Errorf("%s: exit %d, %q", args, r.code, r.result.Why)
		}
	}
}

// TestADeadRelayIsGone: nobody there, and one that ends in the middle.
func TestADeadRelayIsGone(t *testing.T) {
	t.Parallel()
	relay := startOurs(t)
	go func() {
		<-time.After(300 * time.Millisecond)
		relay.stop()
	}()
	for range 2 {
		if r := claimstorm(t, append([]string{"churn", "--clients", "5", "--ids", "2", "--duration", "1m", "--url", relay.url}, ofOurs...)...); r.code != 3 {
			t.Errorf("exit %d\n%s", r.code, r.screen)
		}
	}
}

// TestAnInterruptedRunReports what it saw until then.
func TestAnInterruptedRunReports(t *testing.T) {
	t.Parallel()
	relay := startOurs(t)
	for _, load := range []string{"storm --claimants 5 --ids 2 --rounds 1000000", "churn --clients 5 --ids 2 --duration 1h", "hold --claims 5 --duration 1h", "relay --pairs 1 --duration 1h"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		r := claimstormUntil(ctx, t, append(append(strings.Fields(load), ofOurs...), "--url", relay.url)...)
		cancel()
		if r.code == 1 || r.code == 3 || !strings.Contains(strings.Join(r.result.Why, " "), "interrupted") || r.result.Headline.Count == 0 {
			t.Errorf("%s: exit %d\n%s", load, r.code, r.screen)
		}
	}
}

// TestCompareTakesTurns, and gives medians.
func TestCompareTakesTurns(t *testing.T) {
	t.Parallel()
	a, b := startOurs(t), startOurs(t)
	args := append([]string{"compare", "--rounds", "2", a.url, b.url, "--", "storm", "--claimants", "5", "--ids", "2", "--rounds", "3"}, ofOurs...)
	r := claimstorm(t, args...)
	if r.code == 4 && strings.Contains(strings.Join(r.result.Why, " "), "too busy") {
		t.Skip(r.result.Why)
	}
	if r.code != 0 || r.result.Compare == nil || len(r.result.Compare.Rows) < 3 || len(r.result.Compare.Rows[0].B) != 2 {
		t.Errorf("exit %d, %+v\n%s", r.code, r.result.Compare, r.screen)
	}
}
