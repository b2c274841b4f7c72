package history

// Fault is what one of the checks looks for.
type Fault uint8

// Those of claims, safety first, and those of the journal.
const (
	TwoHolders Fault = iota
	GrantedInsideHold
	RefusedWhileFree
	RefusedWithoutProof
	Overtaken
	CutOff
	EvictedForNobody
	WrongAnswer
	LateAnswer
	Unanswered
	JournalOrder
	JournalHolders
	JournalProof
	JournalDisagrees

	checks // how many there are
)

var told = [checks]struct{ name, meaning string }{
	TwoHolders:          {"two-holders", "Two claims surely held one slot at the same time."},
	GrantedInsideHold:   {"granted-inside-hold", "A claim was granted, though from before it asked until after it knew another one surely held the slot."},
	RefusedWhileFree:    {"refused-while-free", "A claim was refused, though nobody can have held the slot when it came: it was free, or in grace."},
	RefusedWithoutProof: {"refused-without-proof", "A claim was refused, though nobody who may have held the slot answered a ping that was read after the claim was made."},
	Overtaken:           {"overtaken", "A claim was refused on the proof of a holder that asked after it, and so stood behind it in the line."},
	CutOff:              {"cut-off", "A holder's connection was ended by the relay, though it had answered every ping in time."},
	EvictedForNobody:    {"evicted-for-nobody", "A silent holder was closed before its heartbeat ran out, though no other claim can have taken its slot over."},
	WrongAnswer:         {"wrong-answer", "A claim was answered by something else than 4409 `server-id already claimed`, and held nothing that could have been ended."},
	LateAnswer:          {"late-answer", "A claim was refused later than any wait for the holders before it can explain."},
	Unanswered:          {"unanswered", "A claim was not refused for so long that it must have been granted, while another one surely held the slot."},
	JournalOrder:        {"journal-order", "The journal's numbers have a gap, its times run backwards, or an epoch of a slot did not grow."},
	JournalHolders:      {"journal-holders", "In the journal's own order, a slot has two holders, or one whom it was never given to."},
	JournalProof:        {"journal-proof", "The journal refuses a claim without a proof: an answer of the holder to a ping that left after the claim came."},
	JournalDisagrees:    {"journal-disagrees", "The journal tells another story than the clients saw at that time."},
}

// String is its name, as reports print it.
func (f Fault) String() string { return told[f].name }

// Meaning says it in one sentence.
func (f Fault) Meaning() string { return told[f].meaning }

// Checks is all that is looked for, in the order in which they are explained.
func Checks() []Fault {
	all := make([]Fault, checks)
	for i := range all {
		all[i] = Fault(i)
	}
	return all
}
