package main

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
	"github.com/pyrycode/pyrycode-relay/transport"
)

// ourRelay is this module's relay, in this process.
type ourRelay struct {
	url, admin string
	flags      []string // for a load on it
	stop       func()
}

// No machine is too busy for the first; the second is for what has to be taken over.
const (
	longProbe  = 30 * time.Second
	shortProbe = 1500 * time.Millisecond
)

func ourConfig(probe time.Duration) transport.Config {
	return transport.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		Slots:   slots.Config{Grace: 30 * time.Second, ProbeTimeout: probe, ProbeInterval: 10 * time.Millisecond, MaxPhones: 16},
		Journal: 1 << 16, Heartbeat: 30 * time.Second, HeartbeatTimeout: 30 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second,
		MaxFrameBytes: 256 << 10, PhoneBacklog: 4 << 20, MaxQueuedBytes: 64 << 20, MaxConnections: 10_000,
		Log: slog.New(slog.DiscardHandler),
	}
}

func startOurs(t *testing.T, probe time.Duration) *ourRelay {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	up, down := make(chan [2]net.Addr, 1), make(chan error, 1)
	cfg := ourConfig(probe)
	cfg.Inherited = map[string]net.Listener{transport.Insecure: listen(t)}
	cfg.Started = func(l, admin net.Addr) { up <- [2]net.Addr{l, admin} }
	go func() { down <- transport.Run(ctx, context.Background(), cfg) }()
	addrs := <-up
	r := &ourRelay{url: "ws://" + addrs[0].String(), admin: "http://" + addrs[1].String()}
	r.flags = []string{"--url", r.url, "--probe-timeout", probe.String(), "--probe-interval", "10ms"}
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-down
	})
	t.Cleanup(r.stop)
	return r
}

// TestOurRelayHoldsEveryCheck, its journal among them. A load that would go on for an hour ends when the relay has done something so
// often: the first of it was long ago then, whatever the machine.
func TestOurRelayHoldsEveryCheck(t *testing.T) {
	for name, c := range map[string]struct {
		args  string
		until func(r *ourRelay) int
		is    int
	}{
		"storm":           {args: "storm --claimants 20 --ids 5 --rounds 5 --settle 10ms"},
		"churn":           {"churn --clients 20 --ids 10 --duration 1h --hold 100ms --silence 0", decided("granted"), 100},
		"takeovers":       {"churn --clients 20 --ids 10 --duration 1h --hold 100ms --silence 0.1", decided("took_over"), 10},
		"hold":            {args: "hold --claims 100 --duration 500ms --ping-every 100ms"},
		"frames, fast":    {"relay --pairs 2 --duration 1h --size 128,5000", forwarded, 1000},
		"frames, open":    {"relay --pairs 2 --duration 1h --rate 100", forwarded, 100},
		"frames, one way": {"relay --pairs 2 --duration 1h --direction down", forwarded, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probe := longProbe
			if name == "takeovers" {
				probe = shortProbe
			}
			relay := startOurs(t, probe)
			ctx, enough := context.WithCancel(t.Context())
			defer enough()
			if c.until != nil {
				go func() {
					for pause(ctx, 50*time.Millisecond) && c.until(relay) < c.is {
					}
					enough()
				}()
			}
			r := claimstormUntil(ctx, t, append(strings.Fields(c.args), append(relay.flags, "--admin", relay.admin)...)...)
			if name == "takeovers" && r.busy() {
				t.Skip(r.result.Why)
			}
			if r.code != 0 || len(r.result.Checks) == 0 {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
			journal := slices.ContainsFunc(r.result.Checks, func(c report.Check) bool { return strings.HasPrefix(c.Name, "journal-") && c.Looked > 0 })
			if !journal {
				t.Errorf("the journal was not checked\n%+v", r.result.Checks)
			}
		})
	}
}

// TestAClockThatIsSetMakesTheJournalVoid, since its times cannot be held against what was seen.
func TestAClockThatIsSetMakesTheJournalVoid(t *testing.T) {
	t.Parallel()
	relay := startOurs(t, longProbe)
	j, err := openJournal(t.Context(), relay.admin)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{load: &load{timing: timing{Skew: 10 * time.Millisecond}}, clock: startClock(), journal: j}
	defer s.clock.halt()
	s.clock.drift.Store(int64(time.Hour))
	s.account(t.Context())
	if len(s.voids) != 1 || !strings.Contains(s.voids[0], "clock was set by 1h0m0s") {
		t.Errorf("%q", s.voids)
	}
}

func TestAClockKnowsWhenItIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{began: time.Now(), calendar: time.Now().Round(0), stop: make(chan struct{}), done: make(chan struct{})}
		go c.watch()
		<-time.After(time.Second)
		if before := c.drifted(); before != 0 {
			t.Errorf("set by %s, and nobody did", before)
		}
		c.halt()
		c.calendar, c.stop, c.done = c.calendar.Add(-time.Hour), make(chan struct{}), make(chan struct{})
		go c.watch()
		<-time.After(time.Second)
		c.halt()
		if got := c.drifted(); got != time.Hour {
			t.Errorf("set by %s, want 1h", got)
		}
	})
}

// decided counts such entries of the journal.
func decided(how string) func(r *ourRelay) int {
	last, n := int64(0), 0
	return func(r *ourRelay) int {
		j := r.journal()
		defer j.client.CloseIdleConnections()
		for j.last = last; ; last = j.last {
			page, err := j.page(context.Background())
			if err != nil || len(page) == 0 { // it tells why it is of no use when claimstorm reads it
				return n
			}
			for _, e := range page {
				if j.last = e.Seq; e.Decided == how {
					n++
				}
			}
		}
	}
}

// forwarded counts frames.
func forwarded(r *ourRelay) (n int) {
	resp, err := http.Get(r.admin + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), "} "); strings.HasPrefix(name, "pyrycode_relay_frames_forwarded_total{") {
			is, _ := strconv.ParseFloat(value, 64)
			n += int(is)
		}
	}
	return n
}

// TestFiveThousandClaimants in one storm, from one process (and the relay in the same) of less than a gibibyte.
func TestFiveThousandClaimants(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("a long test: SOAK=1 runs it")
	}
	relay := startOurs(t, longProbe)
	r := claimstorm(t, append(strings.Fields("storm --claimants 500 --ids 10 --rounds 3"), relay.flags...)...)
	if r.code != 0 || r.result.Headline.Count != 15_000 || r.result.Tool.PeakMemory > 1<<30 {
		t.Errorf("exit %d, %d claims, %d bytes\n%s", r.code, r.result.Headline.Count, r.result.Tool.PeakMemory, r.screen)
	}
}

func TestRunsThatProveNothingAreVoid(t *testing.T) {
	t.Parallel()
	relay := startOurs(t, longProbe)
	for args, why := range map[string]string{
		"storm --claimants 2 --ids 1 --rounds 1 --min-rate 1e9":        "at least 1e+09 were asked for",
		"churn --clients 4 --ids 1 --duration 200ms --hold 20ms":       "No slot was taken over",
		"churn --clients 2 --ids 1 --duration 100ms --hold 1h":         "No claim came in a grace",
		"storm --claimants 2 --ids 1 --rounds 1 --slack 16s":           "too busy for a probe timeout of 30s",
		"hold --claims 1 --duration 1ms --admin http://127.0.0.1:1":    "",
		"relay --pairs 1 --duration 100ms --rate 10 --min-rate 100000": "at least 100000 were asked for",
	} {
		r := claimstorm(t, append(strings.Fields(args), relay.flags...)...)
		want := 4
		if why == "" {
			want = 3 // there are no admin pages
		}
		if r.code != want || !strings.Contains(strings.Join(r.result.Why, " "), why) {
			t.Errorf("%s: exit %d, %q", args, r.code, r.result.Why)
		}
	}
}

// TestARelayThatEndsIsGone, in the middle of a run or before it. Its end is no violation of anything.
func TestARelayThatEndsIsGone(t *testing.T) {
	for _, args := range []string{"storm --claimants 5 --ids 2 --rounds 1000000", "churn --clients 5 --ids 2 --duration 1h", "hold --claims 5 --duration 1h", "relay --pairs 2 --duration 1h"} {
		t.Run(strings.Fields(args)[0], func(t *testing.T) {
			t.Parallel()
			relay := startOurs(t, longProbe)
			go func() {
				relay.awaitClaim(t)
				relay.stop()
			}()
			for _, says := range []string{"check", "could not be reached"} { // a load that had not begun to claim says that none failed, too
				r := claimstorm(t, append(strings.Fields(args), relay.flags...)...)
				if r.code != 3 || r.result.Headline.Violations != 0 || !strings.Contains(strings.Join(r.result.Why, " "), says) {
					t.Errorf("exit %d\n%s", r.code, r.screen)
				}
			}
		})
	}
}

// TestAnInterruptedRunReports what it saw until then.
func TestAnInterruptedRunReports(t *testing.T) {
	for _, args := range []string{"storm --claimants 5 --ids 2 --rounds 1000000", "churn --clients 5 --ids 2 --duration 1h", "hold --claims 5 --duration 1h", "relay --pairs 1 --duration 1h"} {
		t.Run(strings.Fields(args)[0], func(t *testing.T) {
			t.Parallel()
			relay := startOurs(t, longProbe)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer cancel()
				relay.awaitClaim(t)
			}()
			r := claimstormUntil(ctx, t, append(strings.Fields(args), relay.flags...)...)
			if r.code == 1 || r.code == 3 || !strings.Contains(strings.Join(r.result.Why, " "), "interrupted") || !strings.Contains(r.screen, "interrupted") {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
		})
	}
}

func (r *ourRelay) journal() *journal {
	return &journal{url: r.admin + "/claims", client: &http.Client{Transport: &http.Transport{}}}
}

// awaitClaim waits until the relay has decided about somebody.
func (r *ourRelay) awaitClaim(t *testing.T) {
	j := r.journal()
	defer j.client.CloseIdleConnections()
	for pause(t.Context(), time.Millisecond) {
		switch page, err := j.page(t.Context()); {
		case err != nil:
			t.Error(err)
			return
		case len(page) > 0:
			return
		}
	}
}

// TestCompareTakesTurns, and gives medians.
func TestCompareTakesTurns(t *testing.T) {
	t.Parallel()
	a, b := startOurs(t, longProbe), startOurs(t, longProbe)
	args := append([]string{"compare", "--rounds", "2", a.url, b.url, "--"}, strings.Fields("storm --claimants 5 --ids 2 --rounds 3 --probe-timeout 30s --probe-interval 10ms")...)
	r := claimstorm(t, args...)
	if r.code != 0 || r.result.Compare == nil || len(r.result.Compare.Rows) < 3 || len(r.result.Compare.Rows[0].B) != 2 {
		t.Errorf("exit %d, %+v\n%s", r.code, r.result.Compare, r.screen)
	}
}

// TestRelaysThatDoNotAnswer: one that upgrades nobody proves nothing, and is told from one that has many winners.
func TestRelaysThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, says string }{
		{"storm --claimants 2 --ids 1 --rounds 2 --probe-timeout 300ms --slack 10ms", "did not answer 2 of 2 requests at all"},
		{"relay --pairs 1 --duration 1s", "Connections that were not made: 1"},
	} {
		t.Run(strings.Fields(c.args)[0], func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/healthz":
				case strings.HasPrefix(c.args, "relay"):
					http.Error(w, "no room", http.StatusServiceUnavailable)
				default:
					<-over
				}
			}))
			defer srv.Close()
			defer close(over)
			r := claimstorm(t, append(strings.Fields(c.args), "--url", "ws"+strings.TrimPrefix(srv.URL, "http"))...)
			if r.code != 4 || !strings.Contains(strings.Join(r.result.Why, " "), c.says) {
				t.Errorf("exit %d\n%s", r.code, r.screen)
			}
		})
	}
}
