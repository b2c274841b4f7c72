// Package report tells what a run of claimstorm found: while it goes on (Progress), in a terminal at its end (Summary), to a
// program (JSON), and as one page for a browser (HTML).
//
// It measures nothing and decides nothing. A command fills in a Result, which is plain data, and each of the four tells it in its
// own way, verdict first. All times in it count from Started. Whatever a relay or a claimant said is told escaped.
package report

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdict is what a run proves.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "pass" // every check held, and there was something to check
	Fail Verdict = "fail" // a check failed: Violations say which, and show it
	Void Verdict = "void" // nothing failed, but too little happened to prove anything
	Gone Verdict = "gone" // the relay could not be reached, or died
)

// ExitCode is what a process that ran to this verdict exits with. (2 is a command line that makes no sense.)
func (v Verdict) ExitCode() int {
	switch v {
	case Pass:
		return 0
	case Gone:
		return 3
	case Void:
		return 4
	default:
		return 1
	}
}

// Result is a run and what it found.
type Result struct {
	Command  []string      `json:"command"` // as it was typed, for whoever wants to repeat it
	Seed     uint64        `json:"seed"`
	Relay    Relay         `json:"relay"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Verdict  Verdict       `json:"verdict"`
	Why      []string      `json:"why"` // sentences, the weightiest first: why it failed or is void, or what passed
	Headline Headline      `json:"headline"`
	Checks   []Check       `json:"checks"` // those that were looked at, in the order of the manual
	Tool     Tool          `json:"tool"`

	Counters  []Counter  `json:"counters"`  // in the order in which they are to be read
	Latencies []Latency  `json:"latencies"` // likewise; the first is the headline's
	Claims    []Sample   `json:"claims"`    // claims over time
	Rounds    []Round    `json:"rounds"`    // of a storm
	Timelines []Timeline `json:"timelines"` // of contested ids

	Violations []Violation `json:"violations"`

	Frames  *Frames     `json:"frames,omitempty"`  // of `relay`
	Hold    *Hold       `json:"hold,omitempty"`    // of `hold`
	Compare *Comparison `json:"compare,omitempty"` // of `compare`

	LeftOut LeftOut `json:"left_out"`
}

// LeftOut counts what a report does not hold, for it would be too much. A command counts what it did not keep; JSON and HTML add
// what they drop to keep to MaxTimelines, MaxLanes and MaxViolations.
type LeftOut struct {
	Timelines  int `json:"timelines"`
	Lanes      int `json:"lanes"`
	Violations int `json:"violations"`
}

// Relay is the relay that was tried.
type Relay struct {
	URL     string `json:"url"`
	Version string `json:"version"` // from /healthz; empty where it has none
	Commit  string `json:"commit"`
	Started string `json:"started_by_us"` // the path of the binary, where the tool started it
}

// Headline is the one line that everybody reads.
type Headline struct {
	Of         string        `json:"of"` // what is counted: "claims" or "frames"
	Count      int64         `json:"count"`
	PerSecond  float64       `json:"per_second"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	Takeovers  int64         `json:"takeovers"`
	Violations int64         `json:"violations"` // all of them, also those that are not kept
}

// Counter is a named count.
type Counter struct {
	Name  string `json:"name"` // in words, such as "refused (4409)"
	Value int64  `json:"value"`
}

// Latency is a distribution of waiting times.
type Latency struct {
	Name string // in words, such as "from the dial to the refusal"
	// Corrected says that each wait counts from when the schedule wanted it to begin, so that a stalled relay cannot hide the
	// waits of those that it kept from being asked (coordinated omission).
	Corrected bool
	Histogram *hdrhistogram.Histogram // made by NewHistogram; the report only reads it
}

// The waits that a histogram tells apart; shorter and longer ones count as these.
const (
	shortest = time.Microsecond
	longest  = 10 * time.Minute
)

// NewHistogram makes a histogram of nanoseconds, from a microsecond to ten minutes, to three digits.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), 3)
}

// Record adds a wait to a histogram made by NewHistogram, which is for one goroutine at a time.
func Record(h *hdrhistogram.Histogram, wait time.Duration) {
	_ = h.RecordValue(int64(min(max(wait, shortest), longest))) // within its bounds, so never an error
}

// Sample counts what happened since the sample before it, and who holds at its end.
type Sample struct {
	At       time.Duration `json:"at_ns"` // its end
	Asked    int64         `json:"asked"`
	Granted  int64         `json:"granted"` // takeovers among them
	Refused  int64         `json:"refused"`
	TookOver int64         `json:"took_over"`
	Failed   int64         `json:"failed"` // no upgrade, no answer, a close that is no refusal
	Holding  int64         `json:"holding"`
}

// Round is a round of a storm: how its claims ended. Each claim counts once.
type Round struct {
	Number     int           `json:"number"`
	At         time.Duration `json:"at_ns"`
	Granted    int64         `json:"granted"`
	TookOver   int64         `json:"took_over"`
	Refused    int64         `json:"refused"`
	Wrong      int64         `json:"wrong"`      // closed otherwise than by 4409 with its reason
	Unanswered int64         `json:"unanswered"` // neither refused within the bound nor proven to hold
	Unreached  int64         `json:"unreached"`  // no upgrade
}

// State is what a claimant is doing, or what befell it.
type State string

// The states of a span.
const (
	Asked     State = "asked"      // dialled, the upgrade not yet answered
	Waiting   State = "waiting"    // upgraded, and neither refused nor known to hold
	Held      State = "held"       // holds the slot by the evidence there is
	Silent    State = "silent"     // holds it still, but answers no pings
	Grace     State = "grace"      // gone; the slot is kept for a successor
	Refused   State = "refused"    // 4409
	TakenOver State = "taken over" // lost it to silence
	Lost      State = "lost"       // ended otherwise, and not by its own doing
	Released  State = "released"   // gave it back: cleanly, or by a reset
)

// Span is a claimant in one state. One that begins and ends at once is an event.
type Span struct {
	State State         `json:"state"`
	From  time.Duration `json:"from_ns"`
	To    time.Duration `json:"to_ns"`
	Note  string        `json:"note,omitempty"` // what else is known, such as the close code
}

// Lane is one claim in a timeline, its spans in order.
type Lane struct {
	Who   string `json:"who"` // unique in its timeline; Violation.Lanes refers to it
	Spans []Span `json:"spans"`
	Ended string `json:"ended"` // how, in words
}

// Timeline is the life of a contested server-id: who asked when, who held it from when to when, how it ended.
type Timeline struct {
	ID    string `json:"server_id"`
	Lanes []Lane `json:"lanes"` // by when they asked
}

// Check is a rule that the run was held to.
type Check struct {
	Name   string `json:"name"`   // as in docs/load-testing.md
	Says   string `json:"says"`   // what it looks for, as a sentence
	Looked int64  `json:"looked"` // at how many occasions; 0 in all of them if nobody counted
	Broken int64  `json:"broken"` // how often it was found
}

// Violation is an occasion on which a check did not hold.
type Violation struct {
	Check    string        `json:"check"`     // the check's name
	ID       string        `json:"server_id"` // whose slot
	Round    int           `json:"round,omitempty"`
	At       time.Duration `json:"at_ns"`
	Says     string        `json:"says"`     // what was seen, as a sentence
	Evidence string        `json:"evidence"` // the operations that clash, as text of several lines
	Lanes    []string      `json:"lanes"`    // of the timeline of ID
}

// Tool is what the tool itself used, since a tool that is the bottleneck measures itself.
type Tool struct {
	Version    string        `json:"version"`
	Cores      int           `json:"cores"`
	CPU        time.Duration `json:"cpu_ns"`
	Share      float64       `json:"cpu_share"` // of all cores, 0 to 1
	PeakMemory int64         `json:"peak_memory_bytes"`
	Behind     time.Duration `json:"behind_ns"` // the most that its schedule fell behind
	// Bottleneck says, as a sentence, why the figures may be the tool's and not the relay's; empty if they are the relay's.
	Bottleneck string `json:"bottleneck"`
}

// Frames is what crossed the relay in a `relay` run.
type Frames struct {
	Pairs      int          `json:"pairs"`
	Size       int          `json:"size_bytes"`      // of a frame
	Wanted     float64      `json:"wanted_a_second"` // frames in all; 0 is as fast as possible
	Directions []Throughput `json:"directions"`
}

// Throughput is one direction of the frames.
type Throughput struct {
	Name           string  `json:"name"` // such as "phone to binary"
	Sent           int64   `json:"sent"`
	Arrived        int64   `json:"arrived"`
	PerSecond      float64 `json:"per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	Lost           int64   `json:"lost"`
	Doubled        int64   `json:"doubled"`
	Swapped        int64   `json:"swapped"`
	Changed        int64   `json:"changed"`
}

// Hold is what idle claims cost in a `hold` run.
type Hold struct {
	Claims         int64         `json:"claims"`
	Lost           int64         `json:"lost"`
	PerSecond      float64       `json:"per_second"`             // opened
	MemoryPerClaim float64       `json:"memory_bytes_per_claim"` // 0 is unknown
	CPUPerClaim    time.Duration `json:"cpu_ns_per_claim"`       // to open one
	CPUIdle        time.Duration `json:"cpu_ns_per_idle_second"` // to keep one for a second
	Source         string        `json:"source"`                 // of the relay's figures: its metrics page, or a process id
}

// Comparison is the same run against two relays in turn.
type Comparison struct {
	A    Relay     `json:"a"`
	B    Relay     `json:"b"`
	Rows []Measure `json:"rows"`
}

// Measure is one measure of both relays: what each run gave, the medians, and B's as a ratio of A's.
type Measure struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"` // "s" is told in ms or us, "bytes" in KiB or MiB, anything else as it is
	Higher  bool      `json:"higher_is_better"`
	A       []float64 `json:"a"`
	B       []float64 `json:"b"`
	MedianA float64   `json:"median_a"`
	MedianB float64   `json:"median_b"`
	Ratio   float64   `json:"ratio"` // 0 where A's median is 0
}

// Compared makes a measure of what each run of both relays gave.
func Compared(name, unit string, higher bool, a, b []float64) Measure {
	m := Measure{Name: name, Unit: unit, Higher: higher, A: a, B: b, MedianA: median(a), MedianB: median(b)}
	if m.MedianA != 0 {
		m.Ratio = m.MedianB / m.MedianA
	}
	return m
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	if n := len(sorted); n > 0 {
		return (sorted[(n-1)/2] + sorted[n/2]) / 2
	}
	return 0
}
