package slots

import (
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Effect is one thing that the registry has to do because of a message, in the order of the slice that it came in.
//
//sumtype:decl
type Effect interface{ effect() }

// Tell sends Message to the binary connection at To.
type Tell struct {
	To      messages.Address
	Message messages.ToBinary
}

// TellPhone sends Message to the phone connection at To.
type TellPhone struct {
	To      messages.Address
	Message messages.ToPhone
}

// Arm hands Say to the registry at At or later. Nothing is ever disarmed: a late Say carries an old epoch or probe number, and
// changes nothing.
type Arm struct {
	At  time.Time
	Say messages.ToRegistry
}

// Record adds Entry to the journal. The entry belongs to the machine: copy it before the next Step.
type Record struct{ Entry *Entry }

// Probed says that a probe has ended. It is for the count of them: whatever follows from it are effects of their own.
type Probed struct {
	How  ProbeEnd
	Trip time.Duration // of one that was answered: from its ping to its pong
}

// ProbeEnd is how a probe ends.
type ProbeEnd uint8

// The ends of probes.
const (
	ProbeAnswered  ProbeEnd = iota
	ProbeExpired            // it was silence
	ProbeAbandoned          // the holder left first, or was thrown out
)

func (Tell) effect()      {}
func (TellPhone) effect() {}
func (Arm) effect()       {}
func (Record) effect()    {}
func (Probed) effect()    {}
