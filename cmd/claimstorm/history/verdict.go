package history

import (
	"fmt"
	"time"
)

// Verdict is what a history shows.
type Verdict struct {
	// Violations are what must not have happened, at most MaxViolations of them; Found counts all. Those of one slot stand together.
	Violations []Violation
	Found      [checks]int // by Fault
	Counts     Counts
}

// MaxViolations is how many violations are told in full.
const MaxViolations = 100

// OK reports whether every check held.
func (v *Verdict) OK() bool { return v.Total() == 0 }

// Total is how many violations were found, told in full or not.
func (v *Verdict) Total() (n int) {
	for _, found := range v.Found {
		n += found
	}
	return n
}

func (v *Verdict) add(violation Violation) {
	v.Found[violation.Fault]++
	if len(v.Violations) < MaxViolations {
		v.Violations = append(v.Violations, violation)
	}
}

// Counts is what happened, as far as it is known. A run in which nothing was refused, claimed in grace or taken over proves nothing
// of refusals, grace and takeovers.
type Counts struct {
	Claims      int // all
	Slots       int // server-ids with a claim
	Granted     int // claims that surely held: proven by what reached them, or not refused for longer than any refusal may take
	Proven      int // those of them that something reached
	Refused     int // claims that were closed with 4409
	Unknown     int // the others: they left, or fell silent, before anybody could know; they may have held
	GraceClaims int // granted claims that surely came within the grace of a holder that had left
	Takeovers   int // granted claims that surely followed a holder which never left, but fell silent
	Entries     int // of the journal
}

// Violation is one thing that must not have happened, with the least evidence for it.
type Violation struct {
	Fault  Fault
	Server string // the server-id; empty where the fault is the journal's as a whole
	What   string // one sentence, with the times

	Lanes   []Lane  // the claims that clash, the one that was wronged first
	Entries []Entry // the journal's entries that clash
}

func (v Violation) String() string {
	if v.Server == "" {
		return fmt.Sprintf("%s: %s", v.Fault, v.What)
	}
	return fmt.Sprintf("%s: %s: %s", v.Fault, v.Server, v.What)
}

// Lane is a claim and what can be concluded about when it held the slot.
type Lane struct {
	Claim

	// Outside of MayFrom to MayUntil it surely did not hold. Both 0 if it never can have: it was refused, or waited all its life.
	MayFrom, MayUntil time.Duration
	// From SureFrom to SureUntil it surely held. Both 0 if no such time is known.
	SureFrom, SureUntil time.Duration
}
