package viewer

import (
	"fmt"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// row is an entry in the words of the page.
type row struct {
	*slots.Entry
	Kind  string
	Name  string        // of whom it is about
	Since time.Duration // since the one before
}

func rows(entries []slots.Entry) []row {
	rs := make([]row, len(entries))
	for i := range entries {
		e := &entries[i]
		rs[i] = row{Entry: e, Kind: kind(e), Name: shortName(e.Server, e.Conn)}
		if i > 0 {
			rs[i].Since = max(0, e.Time.Sub(entries[i-1].Time))
		}
	}
	return rs
}

// Proved says what a refusal proves itself with.
func (r row) Proved() string {
	if r.Decided != slots.Refused {
		return ""
	}
	return fmt.Sprintf("probe %d left %s, answered %s later", r.Proof.Probe, clock(r.Proof.Sent), short(r.Proof.Answered.Sub(r.Proof.Sent)))
}

// Because is the reason of the journal, with names as short as beside it.
func (r row) Because() string { return because(r.Entry) }

func because(e *slots.Entry) string {
	return strings.NewReplacer("server-"+string(e.Server)+"-", "", "client-"+string(e.Server)+"-", "").Replace(e.Reason())
}

// sentence is an entry for whoever hears the page.
func sentence(e *slots.Entry) string {
	who := shortName(e.Server, e.Conn)
	if who == "" {
		who = "the slot"
	}
	return fmt.Sprintf("#%d %s, %s: %s (%s)", e.Seq, who, words(e.Asked.String()), words(kind(e)), because(e))
}

// words are those of the journal, for people.
func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

// clock is the time of day: a race is read by its microseconds.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

// short is a duration in at most two digits behind the point.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3gs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// ago is short for a moment in the past, to the second.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if now.Sub(t) < time.Second {
		return "<1s"
	}
	return short(now.Sub(t).Truncate(time.Second))
}

// size is a number of bytes, for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.3g KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.3g MiB", float64(n)/(1<<20))
}

// totals counts what was decided.
type totals struct {
	Granted, Refused, TookOver, Waiting, Released, ThrownOut, Withdrawn, Freed, Joined, Left, TurnedAway, Failed int
	All                                                                                                          int
	PerSecond                                                                                                    float64       // of all, over the last Span
	Span                                                                                                         time.Duration // rateSpan, or as far back as is known; 0: there is no rate
}

// rateSpan is how far back a rate looks.
const rateSpan = 10 * time.Second

// count counts entries, of a journal that says nothing of the time before reach.
func count(entries []slots.Entry, now, reach time.Time) totals {
	t := totals{All: len(entries), Span: rateSpan}
	recent := 0
	for i := range entries {
		e := &entries[i]
		if now.Sub(e.Time) <= rateSpan {
			recent++
		}
		switch e.Decided {
		case slots.Granted:
			t.Granted++
		case slots.Refused:
			t.Refused++
		case slots.TookOver:
			t.TookOver++
		case slots.Waiting:
			t.Waiting++
		case slots.Released:
			t.Released++
			if e.Why == slots.ByOperator {
				t.ThrownOut++
			}
		case slots.Withdrawn:
			t.Withdrawn++
		case slots.Freed:
			t.Freed++
		case slots.Attached, slots.Parked:
			t.Joined++
		case slots.Left:
			t.Left++
		case slots.TurnedAway, slots.Evicted:
			t.TurnedAway++
		case slots.Failed:
			t.Failed++
		}
	}
	if known := now.Sub(reach); known < rateSpan {
		t.Span = max(known, time.Millisecond)
	}
	t.PerSecond = float64(recent) / t.Span.Seconds()
	return t
}

// Slot is a slot as it stands.
type Slot struct {
	Server  messages.ServerID
	State   slots.State
	Since   time.Time // in this state
	Holder  messages.ConnID
	Epoch   messages.Epoch
	Waiting int // claims
	Phones  int
	Heard   time.Time // when something last came from its holder; zero: unknown
	Queued  int64     // bytes that wait for its holder and its phones
}
