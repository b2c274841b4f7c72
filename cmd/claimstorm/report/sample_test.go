package report

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// hostile is what a peer may call itself.
const hostile = `</script><script>alert(1)</script>"><img src=x onerror=alert(1)>` + "\x1b[31m\u202e"

// sample is a run of the given verdict, the same one each time, with all that a storm and a churn have.
func sample(verdict Verdict) *Result {
	chance := rand.New(rand.NewPCG(1, 2))
	r := &Result{
		Command: []string{"bin/claimstorm", "storm", "--url", "ws://127.0.0.1:8080", "--claimants", "50", "--ids", "4", "--rounds", "40"},
		Seed:    4820, Relay: Relay{URL: "ws://127.0.0.1:8080", Version: "v1.2.3", Commit: "2248ca2"},
		Started: time.Date(2026, 11, 24, 21, 36, 11, 0, time.UTC), Duration: 31200 * time.Millisecond, Verdict: verdict,
		Why:      []string{"all 8 checks held, on 8,000 claims", "40 takeovers and 160 graces were among them"},
		Headline: Headline{Of: "claims", Count: 8000, PerSecond: 3210.4, P50: 1234 * time.Microsecond, P99: 9876 * time.Microsecond, Takeovers: 40},
		Checks: []Check{
			{Name: "two-holders", Says: "Two claims held one slot at the same time.", Looked: 160},
			{Name: "fresh-proof", Says: "A claim was refused, though no holder answered a ping that came after it.", Looked: 7840},
			{Name: "grace", Says: "A claim in grace was refused, or had to wait."},
		},
		Tool: Tool{Version: "v1.2.3", Cores: 2, CPU: 20 * time.Second, Share: 0.43, PeakMemory: 120 << 20, Behind: 12 * time.Millisecond},
		Counters: []Counter{
			{"asked", 8000}, {"granted", 160}, {"refused (4409)", 7840}, {"took over", 40}, {"released cleanly", 60},
			{"released by a reset", 50}, {"gone silent", 50}, {"pings answered", 7900},
		},
	}
	upgrade, refusal := NewHistogram(), NewHistogram()
	for range 8000 {
		Record(upgrade, time.Duration(200e3+chance.ExpFloat64()*400e3))
		Record(refusal, time.Duration(900e3+chance.ExpFloat64()*2e6))
	}
	r.Latencies = []Latency{{Name: "from the release to the refusal", Histogram: refusal}, {Name: "dial to upgrade", Corrected: true, Histogram: upgrade}}
	for i := range 62 {
		n := 100 + chance.Int64N(60)
		r.Claims = append(r.Claims, Sample{At: time.Duration(i+1) * 500 * time.Millisecond, Asked: n, Granted: 4, Refused: n - 4, TookOver: int64(i % 2), Holding: 2 + chance.Int64N(3)})
	}
	for i := range 40 {
		r.Rounds = append(r.Rounds, Round{Number: i + 1, At: time.Duration(i) * 780 * time.Millisecond, Granted: 3, TookOver: 1, Refused: 196})
	}
	for id := range 4 {
		r.Timelines = append(r.Timelines, life(fmt.Sprintf("storm-%d", id+1), 12+3*id))
	}
	return r
}

// life is a slot that is won, lost to a reset, won in grace, lost to silence, and given back.
func life(id string, losers int) Timeline {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	t := Timeline{ID: id, Lanes: []Lane{
		{Who: "c1", Ended: "reset after 2 s", Spans: []Span{{Asked, ms(0), ms(4), ""}, {Waiting, ms(4), ms(200), ""}, {Held, ms(200), ms(2000), ""}, {Released, ms(2000), ms(2000), "reset"}, {Grace, ms(2000), ms(2600), ""}}},
		{Who: "c2", Ended: "silent, taken over", Spans: []Span{{Asked, ms(2590), ms(2600), ""}, {Held, ms(2600), ms(3500), "in grace"}, {Silent, ms(3500), ms(9000), ""}, {TakenOver, ms(9000), ms(9000), "1011 heartbeat timeout"}}},
		{Who: "c3", Ended: "gave it back", Spans: []Span{{Asked, ms(3990), ms(4000), ""}, {Waiting, ms(4000), ms(9000), ""}, {Held, ms(9000), ms(11000), ""}, {Released, ms(11000), ms(11000), ""}, {Grace, ms(11000), ms(12000), ""}}},
	}}
	for i := range losers {
		from := 300 + 600*i
		end := from + 40
		if from > 3300 && from < 9000 {
			end = 9100 + 10*i
		}
		t.Lanes = append(t.Lanes, Lane{Who: fmt.Sprintf("c%d", i+4), Ended: "refused", Spans: []Span{{Asked, ms(from), ms(from + 8), ""}, {Waiting, ms(from + 8), ms(end), ""}, {Refused, ms(end), ms(end), "4409"}}})
	}
	return t
}

// failed is a sample in which two held at once, and a peer chose its names badly.
func failed() *Result {
	r := sample(Fail)
	r.Relay.Version = hostile
	r.Why = []string{"two-holders: two claims held storm-1 at once, in round 7", "all other checks held"}
	r.Headline.Violations, r.Checks[0].Broken = 1, 1
	r.Tool.Bottleneck = "the tool used 96 % of both cores, so the waits are its own as much as the relay's"
	r.Violations = []Violation{{
		Check: "two-holders", ID: "storm-1", Round: 7, At: 2700 * time.Millisecond, Lanes: []string{"c2", "c3"},
		Says:     "c3 held storm-1 while c2 did, for 0.9 s",
		Evidence: "      2.6 s          3.5 s\nc2    |==== held ====|\nc3        |=== held ========|\n" + hostile,
	}}
	r.Timelines[2].ID = hostile
	r.Timelines[0].Lanes[4].Who = hostile
	r.Timelines[0].Lanes[2].Spans[2].From = 2700 * time.Millisecond
	return r
}
