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

func (Tell) effect()      {}
func (TellPhone) effect() {}
func (Arm) effect()       {}
func (Record) effect()    {}
