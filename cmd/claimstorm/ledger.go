package main

import (
	"slices"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// The checks of the commands' own, beside those of package history.
const (
	checkOneWinner = "one-winner"
	checkAnswered  = "all-answered"
	checkLosers    = "loser-answer"
	checkWinner    = "winner-undisturbed"
	checkHeld      = "held-throughout"
	checkWire      = "wire"
	checkPairs     = "pairs-connected"
	checkComplete  = "frames-complete"
	checkOnce      = "frames-once"
	checkOrder     = "frames-in-order"
	checkBytes     = "frames-unchanged"
)

// says is what each of them looks for, in the order in which they are told.
var says = []report.Check{
	{Name: checkOneWinner, Says: "Of the claims on one id, made together, another number than one was left unrefused."},
	{Name: checkAnswered, Says: "A claim was neither granted nor refused in time, while another one, which was probed, held the slot."},
	{Name: checkLosers, Says: "A claim that did not win was answered by something else than 4409 `server-id already claimed`."},
	{Name: checkWinner, Says: "A winner was closed, did not get a pong, or its own close frame was not answered."},
	{Name: checkHeld, Says: "An idle claim, on an id of its own, that answered every ping was ended, or got no pong to its own (`--ping-every`)."},
	{Name: checkPairs, Says: "A binary or a phone that did nothing wrong was closed."},
	{Name: checkComplete, Says: "A frame did not arrive, though both ends stayed connected."},
	{Name: checkOnce, Says: "A frame arrived more than once."},
	{Name: checkOrder, Says: "A frame arrived behind one that was sent after it."},
	{Name: checkBytes, Says: "A frame arrived with other bytes than it was sent with."},
	{Name: checkWire, Says: "The relay sent what RFC 6455 or the protocol forbids."},
}

// maxKept is how many violations of the commands' own checks are kept; all are counted.
const maxKept = 100

// ledger counts how often each check was looked at and broken.
type ledger struct {
	checks     map[string]*report.Check
	violations []report.Violation
	broken     int64
}

func (l *ledger) check(name string) *report.Check {
	if l.checks == nil {
		l.checks = map[string]*report.Check{}
	}
	if l.checks[name] == nil {
		l.checks[name] = &report.Check{Name: name}
	}
	return l.checks[name]
}

func (l *ledger) looked(name string, times int64) { l.check(name).Looked += times }

func (l *ledger) add(v report.Violation) {
	l.check(v.Check).Broken++
	l.broken++
	if len(l.violations) < maxKept {
		l.violations = append(l.violations, v)
	}
}

// forgive takes back what the end of the relay explains: all but what is wrong with something that it sent.
func (l *ledger) forgive() {
	explained := func(check string) bool {
		return !slices.Contains([]string{checkOnce, checkOrder, checkBytes, checkWire}, check)
	}
	for name, c := range l.checks {
		if explained(name) {
			l.broken, c.Broken = l.broken-c.Broken, 0
		}
	}
	l.violations = slices.DeleteFunc(l.violations, func(v report.Violation) bool { return explained(v.Check) })
}

// told is the checks that were looked at, in order.
func (l *ledger) told() (checks []report.Check) {
	for _, c := range says {
		if seen := l.checks[c.Name]; seen != nil {
			c.Looked, c.Broken = max(seen.Looked, seen.Broken), seen.Broken
			checks = append(checks, c)
		}
	}
	return checks
}
