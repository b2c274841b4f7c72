package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A terminal as small as they come, less the line of the prompt.
const (
	screenWidth = 80
	screenLines = 23
)

// The most lines that each part of a summary may have; what is left goes to the counters.
const (
	whyLines       = 3
	evidenceLines  = 10
	measureLines   = 5
	percentileRows = 4
)

// Summary writes the result for a terminal: the verdict, the headline, the smallest evidence of a failure, percentiles. It fits
// a screen of 80 columns and 24 lines; what does not is in JSON and HTML.
func Summary(w io.Writer, r *Result, colour bool) error {
	s := &screen{colour: colour}
	s.verdict(r)
	s.add(clip(r.Headline.String(), screenWidth))
	s.part(runLines(r))
	s.part(evidence(r))
	s.part(measures(r))
	s.part(percentiles(r.Latencies))
	s.part(counters(r.Counters, screenLines-len(s.lines)-1))
	_, err := io.WriteString(w, strings.Join(s.lines, "\n")+"\n")
	return err
}

// screen gathers lines, each of them already clipped.
type screen struct {
	colour bool
	lines  []string
}

func (s *screen) add(lines ...string) { s.lines = append(s.lines, lines...) }

// part adds lines under an empty one, as far as there is room for more than one of them.
func (s *screen) part(lines []string) {
	room := screenLines - len(s.lines) - 1
	if len(lines) == 0 || room < 1 {
		return
	}
	s.add("")
	s.add(lines[:min(len(lines), room)]...)
}

var shades = map[Verdict]string{Pass: "\x1b[1;32m", Fail: "\x1b[1;31m", Void: "\x1b[1;33m", Gone: "\x1b[1;31m"}

// verdict adds the word and the sentences that give its reason.
func (s *screen) verdict(r *Result) {
	word := strings.ToUpper(plain(string(r.Verdict)))
	lines := []string{}
	for _, why := range r.Why {
		if room := whyLines - len(lines); room > 0 {
			lines = append(lines, wrap(plain(why), screenWidth-6, room)...)
		}
	}
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, line := range lines {
		first := pad("", 6)
		if i == 0 {
			first = pad(word, 6)
			if s.colour {
				first = shades[r.Verdict] + first + "\x1b[0m"
			}
		}
		s.add(strings.TrimRight(first+line, " "))
	}
}

// String is the headline as a line.
func (h Headline) String() string {
	parts := []string{fmt.Sprintf("%s %s/s", number(h.PerSecond), plain(h.Of))}
	if h.P99 > 0 {
		parts = append(parts, "p50 "+duration(h.P50), "p99 "+duration(h.P99))
	}
	if h.Of == "claims" {
		parts = append(parts, plural(h.Takeovers, "takeover"))
	}
	return strings.Join(append(parts, plural(h.Violations, "violation")), ", ")
}

func plural(n int64, word string) string {
	if n != 1 {
		word += "s"
	}
	return count(n) + " " + word
}

// runLines says what was run, against what, and what the tool itself used for it.
func runLines(r *Result) []string {
	lines := []string{
		"run    " + commandLine(r.Command),
		fmt.Sprintf("       seed %d, %s from %s", r.Seed, duration(r.Duration), r.Started.Format("2006-01-02 15:04:05 MST")),
		"relay  " + r.Relay.String(),
		"tool   " + r.Tool.String(),
	}
	for i := range lines {
		lines[i] = clip(lines[i], screenWidth)
	}
	if r.Tool.Bottleneck != "" {
		lines = append(lines, wrap("caution: "+plain(r.Tool.Bottleneck), screenWidth, 2)...)
	}
	return lines
}

// commandLine is a command as it can be typed again.
func commandLine(args []string) string {
	quoted := slices.Clone(args)
	for i, arg := range quoted {
		if arg == "" || strings.ContainsFunc(arg, func(c rune) bool { return !strings.ContainsRune(bare, c) }) {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return plain(strings.Join(quoted, " "))
}

// bare is what a shell leaves alone.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%"

// String names the relay.
func (r Relay) String() string {
	name := plain(r.URL)
	if r.Version != "" {
		name += ", version " + plain(r.Version)
	}
	if r.Started != "" {
		name += ", started by this run"
	}
	return name
}

// String is what the tool used, as a line.
func (t Tool) String() string {
	parts := []string{percent(t.Share) + " of " + plural(int64(t.Cores), "core")}
	if t.PeakMemory > 0 {
		parts = append(parts, size(float64(t.PeakMemory))+" at most")
	}
	if t.Behind > 0 {
		parts = append(parts, "up to "+duration(t.Behind)+" behind its schedule")
	} else {
		parts = append(parts, "never behind its schedule")
	}
	return strings.Join(parts, ", ")
}

// evidence shows the smallest of the violations: whoever reads it must see the fault with his own eyes.
func evidence(r *Result) (lines []string) {
	if len(r.Violations) == 0 {
		return nil
	}
	v := slices.MinFunc(r.Violations, func(a, b Violation) int { return strings.Count(a.Evidence, "\n") - strings.Count(b.Evidence, "\n") })
	lines = wrap(fmt.Sprintf("%s, %s at %s: %s", plain(v.Check), plain(v.ID), duration(v.At), plain(v.Says)), screenWidth, 2)
	for line := range strings.SplitSeq(strings.TrimRight(v.Evidence, "\n"), "\n") {
		lines = append(lines, clip(plain(line), screenWidth))
	}
	if len(lines) > evidenceLines {
		lines[evidenceLines-1] = fmt.Sprintf("... and %s more", plural(int64(len(lines)-evidenceLines+1), "line"))
		lines = lines[:evidenceLines]
	}
	return lines
}

// measures are the lines that only some commands have.
func measures(r *Result) (lines []string) {
	if f := r.Frames; f != nil {
		for _, d := range f.Directions {
			lines = append(lines, fmt.Sprintf("%s%12s/s %12s/s %14s arrived, %s lost", pad(plain(d.Name), 18), number(d.PerSecond), size(d.BytesPerSecond),
				count(d.Arrived), count(d.Lost)))
		}
	}
	if h := r.Hold; h != nil {
		lines = append(lines, fmt.Sprintf("held %s, lost %s, opened at %s/s", count(h.Claims), count(h.Lost), number(h.PerSecond)))
		if h.Source != "" {
			lines = append(lines, fmt.Sprintf("a claim: %s, %s of CPU to open, %s a second to keep (by %s)", size(h.MemoryPerClaim), duration(h.CPUPerClaim),
				duration(h.CPUIdle), plain(h.Source)))
		}
	}
	if c := r.Compare; c != nil {
		lines = append(lines, pad("", 34)+fmt.Sprintf("%14s%14s%10s", "A", "B", "B/A"))
		for _, m := range c.Rows {
			lines = append(lines, fmt.Sprintf("%s%14s%14s%10s", pad(plain(m.Name), 34), inUnit(m.MedianA, m.Unit), inUnit(m.MedianB, m.Unit), number(m.Ratio)))
		}
	}
	for i := range lines {
		lines[i] = clip(lines[i], screenWidth)
	}
	return lines[:min(len(lines), measureLines)]
}

// ticks are the percentiles that are told as numbers.
var ticks = []float64{50, 90, 99, 99.9, 100}

func percentiles(latencies []Latency) (lines []string) {
	for _, l := range latencies {
		if l.Histogram == nil || l.Histogram.TotalCount() == 0 || len(lines) > percentileRows {
			continue
		}
		line := pad(l.label(), 31)
		for _, tick := range ticks {
			line += fmt.Sprintf("%9s", strings.ReplaceAll(duration(time.Duration(l.Histogram.ValueAtPercentile(tick))), " ", ""))
		}
		lines = append(lines, clip(line, screenWidth))
	}
	if lines == nil {
		return nil
	}
	return append([]string{pad("waits", 31) + fmt.Sprintf("%9s%9s%9s%9s%9s", "p50", "p90", "p99", "p99.9", "max")}, lines...)
}

// label is the latency's name, and what was made of it.
func (l Latency) label() string {
	if l.Corrected {
		return plain(l.Name) + ", corrected"
	}
	return plain(l.Name)
}

// counters stand in two columns, in as many lines as there is room for.
func counters(counters []Counter, room int) (lines []string) {
	rows := min((len(counters)+1)/2, max(room, 0))
	for i := range rows {
		line := cell(counters[i])
		if other := i + rows; other < len(counters) {
			line = pad(line, 42) + cell(counters[other])
		}
		lines = append(lines, line)
	}
	return lines
}

func cell(c Counter) string { return pad(plain(c.Name), 26) + fmt.Sprintf("%12s", count(c.Value)) }
