package slots

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Asked is the message that a decision was made on.
type Asked uint8

// The words are those of the journal as it is served (docs/protocol.md 5).
const (
	AskedClaim Asked = iota + 1
	AskedWithdraw
	AskedRelease
	AskedProbeAnswered
	AskedProbeExpired
	AskedProbeDue
	AskedGraceExpired
	AskedShutDown
	AskedJoin
	AskedLeave
	AskedOperatorRelease
)

func (a Asked) String() string {
	return [...]string{
		"?", "claim", "withdraw", "release", "probe_answered", "probe_expired", "probe_due", "grace_expired", "shut_down",
		"join", "leave", "operator_release",
	}[a]
}

// Decided is what became of it.
type Decided uint8

// The words are those of the journal as it is served (docs/protocol.md 5).
const (
	Granted    Decided = iota + 1 // the claimant holds the slot from here on
	Waiting                       // the claim waits for a probe
	Refused                       // the claimant is closed with 4409
	TookOver                      // the claimant holds the slot that its silent holder lost
	Released                      // the slot is in grace, or free where grace is 0, or goes to the next in line
	Withdrawn                     // the claim is forgotten: its connection ended, or the relay shuts down
	Freed                         // grace ran out
	Evicted                       // the claim came after shutdown had begun
	Failed                        // the registry's handling of the message panicked: nothing was changed
	Attached                      // the phone belongs to the slot, and to its holder
	Parked                        // the phone belongs to the slot, and waits for a holder
	TurnedAway                    // the phone is closed
	Left                          // the phone belongs to the slot no more
)

// decisions are their words, in their order.
var decisions = [...]string{
	"?", "granted", "waiting", "refused", "took_over", "released", "withdrawn", "freed", "evicted", "failed",
	"attached", "parked", "turned_away", "left",
}

func (d Decided) String() string { return decisions[d] }

// ParseDecided is the decision that the journal calls by that word.
func ParseDecided(word string) (Decided, error) {
	if i := slices.Index(decisions[1:], word); i >= 0 {
		return Decided(i + 1), nil
	}
	return 0, fmt.Errorf("%q: want one of %s", word, strings.Join(decisions[1:], ", "))
}

// Why is the rule that decided; [Entry.Reason] makes it a sentence.
type Why uint8

// One for each sentence of Entry.Reason.
const (
	NobodyHeldIt Why = iota + 1
	InGrace
	FirstInLine
	HolderMustProve
	ProbeIsOlder
	ProvedAlive
	LeftUnanswered
	ConnectionEnded
	ClaimantLeft
	GraceRanOut
	ShuttingDown
	Panicked
	BinaryIsThere
	JustStarted
	NobodyHolds
	NoPlace
	NoGrace
	ByOperator
)

// Entry is one decision of the registry. It is a plain value, so that keeping one costs no allocation; the sentence is made
// when somebody reads it.
type Entry struct {
	Seq     int64 // given by the journal: 1, 2, 3, ... without gaps
	Time    time.Time
	Server  messages.ServerID
	Conn    messages.ConnID // whom the decision is about
	Asked   Asked
	Decided Decided
	Why     Why
	Epoch   messages.Epoch // the grant that the decision made, ended, or was measured against

	Other  messages.ConnID      // the other connection of the sentence: the holder, mostly
	Probe  messages.ProbeNumber // the probe of the sentence, if it has one
	Waited time.Duration        // the time of the sentence, if it has one
	Proof  messages.Proof       // for Refused, and only for it

	Version messages.Version // for the log line of a grant
	Remote  string           // for the log line
	Device  string           // for the log line of a phone
}

// Reason says why, as a sentence for people.
func (e *Entry) Reason() string {
	switch e.Why {
	case NobodyHeldIt:
		return "nobody held it"
	case InGrace:
		return fmt.Sprintf("in grace since %s left", e.Other)
	case FirstInLine:
		return fmt.Sprintf("first in line when %s left", e.Other)
	case HolderMustProve:
		return fmt.Sprintf("%s holds it and must answer probe %d", e.Other, e.Probe)
	case ProbeIsOlder:
		return fmt.Sprintf("%s holds it and must answer probe %d: the one under way went out before this claim came", e.Other, e.Probe)
	case ProvedAlive:
		return fmt.Sprintf("%s answered probe %d, sent after this claim came", e.Other, e.Probe)
	case LeftUnanswered:
		return fmt.Sprintf("%s left probe %d unanswered for %s", e.Other, e.Probe, e.Waited)
	case ConnectionEnded:
		return "its connection ended"
	case ClaimantLeft:
		return "it left before its answer"
	case GraceRanOut:
		return fmt.Sprintf("nobody claimed it within %s", e.Waited)
	case ShuttingDown:
		return "the relay is shutting down"
	case Panicked:
		return "the rule for this message panicked; nothing was changed"
	case BinaryIsThere:
		return fmt.Sprintf("%s holds it", e.Other)
	case JustStarted:
		return "the relay has just started, and nobody has claimed it yet"
	case NobodyHolds:
		return "nobody holds it"
	case NoPlace:
		return "it has as many phones as it may have"
	case NoGrace:
		return "its binary left, and there is no grace"
	case ByOperator:
		return "the operator threw it out"
	}
	return "?"
}
