package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// results are the runs that the golden files tell, by name.
var results = map[string]func() *Result{
	"pass": func() *Result { return sample(Pass) },
	"fail": failed,
	"void": func() *Result {
		r := sample(Void)
		r.Why = []string{"no claim was made in a grace, though --silent-share asked for takeovers: 0 graces, 0 takeovers in 8,000 claims, so nothing is known about either of them"}
		r.Latencies, r.Checks, r.Timelines, r.Claims, r.Rounds = nil, nil, nil, nil, nil
		return r
	},
	"gone": func() *Result {
		return &Result{
			Command: []string{"claimstorm", "churn", "--url", "ws://127.0.0.1:1", "--note", "it's mine"}, Relay: Relay{URL: "ws://127.0.0.1:1"},
			Started: time.Date(2026, 11, 24, 21, 36, 11, 0, time.UTC), Verdict: Gone, Why: []string{"no relay answers at ws://127.0.0.1:1: connection refused"},
			Headline: Headline{Of: "claims"}, Tool: Tool{Cores: 2},
		}
	},
	"relay": func() *Result {
		r := sample(Pass)
		r.Headline, r.Frames, r.Counters = Headline{Of: "frames", PerSecond: 2000, P50: 80e3, P99: 900e3}, everything().Frames, nil
		return r
	},
	"hold": func() *Result {
		r := sample(Pass)
		r.Hold, r.Latencies = everything().Hold, r.Latencies[1:]
		return r
	},
	"compare": func() *Result {
		r := sample(Pass)
		r.Compare, r.Latencies = everything().Compare, nil
		return r
	},
}

// TestTold holds what is told to testdata/told; `make stories` writes it anew.
func TestTold(t *testing.T) {
	datadriven.RunTest(t, "testdata/told", func(t *testing.T, d *datadriven.TestData) string {
		r := results[d.CmdArgs[0].Key]()
		var b bytes.Buffer
		var err error
		switch d.Cmd {
		case "summary":
			err = Summary(&b, r, d.HasArg("colour"))
		case "json":
			r.Rounds, r.Claims, r.Timelines = r.Rounds[:1], r.Claims[:1], r.Timelines[:1]
			r.Timelines[0].Lanes = r.Timelines[0].Lanes[:2]
			r.Latencies = r.Latencies[:1]
			r.Latencies[0].Histogram = NewHistogram()
			Record(r.Latencies[0].Histogram, 3*time.Millisecond)
			Record(r.Latencies[0].Histogram, time.Hour)
			err = JSON(&b, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(b.String(), "\x1b", "ESC")
	})
}

// anyResult draws what nobody would write.
func anyResult(t *rapid.T) *Result {
	text := rapid.OneOf(rapid.String(), rapid.Just(hostile), rapid.StringOfN(rapid.RuneFrom([]rune("漢字 e\u0301👩‍💻\n\t-")), 0, 300, -1))
	wait := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "wait")) })
	many := func(name string) int { return rapid.IntRange(0, 70).Draw(t, name) }
	r := sample(rapid.SampledFrom([]Verdict{Pass, Fail, Void, Gone, "", "\x1b[2J"}).Draw(t, "verdict"))
	r.Command, r.Why = rapid.SliceOfN(text, 0, 40).Draw(t, "command"), rapid.SliceOfN(text, 0, 9).Draw(t, "why")
	r.Relay.URL, r.Relay.Version, r.Tool.Bottleneck = text.Draw(t, "url"), text.Draw(t, "version"), text.Draw(t, "bottleneck")
	r.Headline = Headline{text.Draw(t, "of"), 1, rapid.Float64().Draw(t, "rate"), wait.Draw(t, "p50"), wait.Draw(t, "p99"), rapid.Int64().Draw(t, "takeovers"), rapid.Int64().Draw(t, "violations")}
	r.Duration, r.Tool.Behind = wait.Draw(t, "duration"), wait.Draw(t, "behind")
	for range many("violations") {
		r.Violations = append(r.Violations, Violation{Check: text.Draw(t, "check"), ID: text.Draw(t, "id"), At: wait.Draw(t, "at"), Says: text.Draw(t, "says"), Evidence: text.Draw(t, "evidence"), Lanes: []string{"c2"}})
	}
	for i := range many("counters") {
		r.Counters = append(r.Counters, Counter{text.Draw(t, "counter"), int64(i)})
		r.Latencies = append(r.Latencies, Latency{Name: text.Draw(t, "latency"), Histogram: r.Latencies[0].Histogram})
	}
	if rapid.Bool().Draw(t, "of everything") {
		all := everything()
		r.Frames, r.Hold, r.Compare = all.Frames, all.Hold, all.Compare
		r.Hold.MemoryPerClaim, r.Hold.Source = rapid.Float64().Draw(t, "memory"), text.Draw(t, "source")
		for range many("measures") {
			r.Compare.Rows = append(r.Compare.Rows, Measure{Name: text.Draw(t, "measure"), Unit: text.Draw(t, "unit"), MedianA: rapid.Float64().Draw(t, "a"), Ratio: rapid.Float64().Draw(t, "ratio")})
			r.Frames.Directions = append(r.Frames.Directions, Throughput{Name: text.Draw(t, "direction"), Lost: rapid.Int64().Draw(t, "lost")})
		}
	}
	return r
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestSummaryFitsAScreen, whatever there is to tell, and a terminal has nothing to obey in it but the verdict's colour.
func TestSummaryFitsAScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyResult(t)
		for _, colour := range []bool{false, true} {
			var b bytes.Buffer
			if err := Summary(&b, r, colour); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if colour {
				if n := len(ansi.FindAllString(text, -1)); n > 2 {
					t.Errorf("%d changes of colour; want 2", n)
				}
				text = ansi.ReplaceAllString(text, "")
			}
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) > 23 {
				t.Errorf("%d lines; want room for the prompt on a screen of 24", len(lines))
			}
			for _, line := range lines {
				if w := columns.StringWidth(line); w > 80 {
					t.Errorf("%d columns; want at most 80: %q", w, line)
				}
				if i := strings.IndexFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
					t.Errorf("a terminal may obey %q", line[i:])
				}
			}
		}
	})
}

// TestBoundsKeepWhatClashes: JSON and HTML drop the rest, and say how much of it.
func TestBoundsKeepWhatClashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &Result{LeftOut: LeftOut{Timelines: 2}}
		for i := range rapid.IntRange(0, 40).Draw(t, "ids") {
			line := Timeline{ID: fmt.Sprint("id", i)}
			for j := range rapid.IntRange(0, 150).Draw(t, "lanes") {
				line.Lanes = append(line.Lanes, Lane{Who: fmt.Sprint("c", j)})
			}
			r.Timelines = append(r.Timelines, line)
		}
		for range rapid.IntRange(0, 10).Draw(t, "violations") {
			if len(r.Timelines) > 0 {
				line := rapid.SampledFrom(r.Timelines).Draw(t, "timeline")
				if len(line.Lanes) > 0 {
					r.Violations = append(r.Violations, Violation{ID: line.ID, Lanes: []string{rapid.SampledFrom(line.Lanes).Draw(t, "lane").Who}})
				}
			}
		}
		for range rapid.IntRange(0, 3000).Draw(t, "samples") {
			r.Claims = append(r.Claims, Sample{Asked: 3, Granted: 2, Refused: 1})
			r.Rounds = append(r.Rounds, Round{Granted: 1, Refused: 2, Wrong: 1})
		}
		b := bounded(r)
		lanes := map[string]bool{}
		kept := 0
		for _, line := range b.Timelines {
			kept += len(line.Lanes)
			if len(line.Lanes) > MaxLanes {
				t.Errorf("%d lanes", len(line.Lanes))
			}
			for _, lane := range line.Lanes {
				lanes[line.ID+lane.Who] = true
			}
		}
		for _, v := range r.Violations {
			if !lanes[v.ID+v.Lanes[0]] {
				t.Errorf("the lane %s of %s is dropped, though a violation names it", v.Lanes[0], v.ID)
			}
		}
		if got := len(b.Timelines) + b.LeftOut.Timelines; len(b.Timelines) > MaxTimelines || got != len(r.Timelines)+2 {
			t.Errorf("%d timelines, %d left out; there were %d, and 2 left out", len(b.Timelines), b.LeftOut.Timelines, len(r.Timelines))
		}
		var sum Sample
		var rounds Round
		for _, s := range b.Claims {
			sum.Asked, sum.Granted, sum.Refused = sum.Asked+s.Asked, sum.Granted+s.Granted, sum.Refused+s.Refused
		}
		for _, s := range b.Rounds {
			rounds.Granted, rounds.Refused, rounds.Wrong = rounds.Granted+s.Granted, rounds.Refused+s.Refused, rounds.Wrong+s.Wrong
		}
		n := int64(len(r.Claims))
		if want := (Sample{Asked: 3 * n, Granted: 2 * n, Refused: n}); len(b.Claims) > maxPoints || sum != want {
			t.Errorf("%d samples, together %+v; want at most %d, and %+v", len(b.Claims), sum, maxPoints, want)
		}
		if want := (Round{Granted: n, Refused: 2 * n, Wrong: n}); len(b.Rounds) > maxPoints || rounds != want {
			t.Errorf("%d rounds, together %+v; want at most %d, and %+v", len(b.Rounds), rounds, maxPoints, want)
		}
	})
}

// TestCurveGrows: a percentile curve never falls, and ends with the longest wait.
func TestCurveGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Latency{Histogram: NewHistogram()}
		for _, ns := range rapid.SliceOf(rapid.Int64()).Draw(t, "waits") {
			Record(l.Histogram, time.Duration(ns))
		}
		before := point{}
		for _, p := range l.curve() {
			if p.OneIn <= before.OneIn || p.Wait < before.Wait || p.Wait > longest+longest/1000 {
				t.Errorf("%+v after %+v", p, before)
			}
			before = p
		}
		if l.Histogram.TotalCount() > 0 && before.Wait != time.Duration(l.Histogram.Max()) {
			t.Errorf("ends with %s; the longest wait is %s", before.Wait, time.Duration(l.Histogram.Max()))
		}
	})
}

// TestTakeoverIsAmongTheLanes, if there is one: it tells more than yet another refusal.
func TestTakeoverIsAmongTheLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lanes := make([]Lane, rapid.IntRange(1, 300).Draw(t, "lanes"))
		for i := range lanes {
			lanes[i].Who = fmt.Sprint("c", i)
		}
		first := rapid.IntRange(0, len(lanes)-1).Draw(t, "takeover")
		lanes[first].Spans = []Span{{State: TakenOver}}
		kept := bounded(&Result{Timelines: []Timeline{{ID: "id", Lanes: lanes}}}).Timelines[0]
		if len(kept.Lanes) != min(len(lanes), MaxLanes) || kept.Claims != len(lanes) {
			t.Errorf("%d lanes of %d claims; there were %d", len(kept.Lanes), kept.Claims, len(lanes))
		}
		if !slices.ContainsFunc(kept.Lanes, func(l Lane) bool { return l.Who == lanes[first].Who }) {
			t.Errorf("the takeover of %s is left out", lanes[first].Who)
		}
	})
}

// TestJSONIsReadBack by whoever has only the types.
func TestJSONIsReadBack(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, failed()); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Verdict    Verdict
		Violations []Violation
		Duration   time.Duration `json:"duration_ns"`
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if want := failed(); back.Verdict != Fail || back.Duration != want.Duration || back.Violations[0].Evidence != want.Violations[0].Evidence {
		t.Errorf("read back as %+v", back)
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(-1000): "-1,000", count(-999999): "-999,999", count(1234567): "1,234,567",
		number(0): "0", number(0.1234): "0.12", number(9.999): "10.0", number(99.96): "100", number(999.6): "1,000", number(1234567.8): "1,234,568",
		duration(0): "0", duration(999): "999 ns", duration(1234567): "1.23 ms", duration(61e9): "61 s", duration(3723e9): "1h2m3s",
		size(1023): "1,023 B", size(4300): "4.20 KiB", size(3 << 40): "3,072 GiB",
		inUnit(0.0098, "s"): "9.80 ms", inUnit(2048, "bytes"): "2 KiB", inUnit(12, "frames"): "12 frames",
		commandLine([]string{"a", "", "it's", "x=1"}):                                  `a '' 'it'\''s' x=1`,
		strings.Join(wrap("one two three four five", 9, 3), "|"):                       "one two|three|four five",
		strings.Join(wrap("one two three four five", 9, 2), "|"):                       "one two|three fo…",
		fmt.Sprint(Compared("", "", false, []float64{3, 1, 2}, []float64{4, 1}).Ratio): "1.25",
		fmt.Sprint(Compared("", "", false, nil, []float64{4}).Ratio):                   "0",
	} {
		if got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	for verdict, want := range map[Verdict]int{Pass: 0, Fail: 1, Gone: 3, Void: 4, "": 1} {
		if got := verdict.ExitCode(); got != want {
			t.Errorf("%q exits with %d; want %d", verdict, got, want)
		}
	}
}
