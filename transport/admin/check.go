package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
)

// Check is one invariant, and whether it holds (docs/protocol.md 7).
type Check struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// check is GET /check: the invariants, asked of the living relay.
func (p *Pages) check(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), registryTimeout)
	defer cancel()
	checks := append(checkSlots(ctx, p.cfg.Relay), checkJournal(p.cfg.Relay.Journal()))
	if p.cfg.Checks != nil {
		checks = append(checks, p.cfg.Checks()...)
	}
	status := http.StatusOK
	for _, c := range checks {
		if !c.OK {
			status = http.StatusInternalServerError
		}
	}
	writeJSON(w, status, checks)
}

func checkSlots(ctx context.Context, relay *actors.Relay) []Check {
	census, err := relay.Census(ctx)
	if err != nil {
		return []Check{{"registry", false, fmt.Sprintf("does not answer: %v", err)}}
	}
	checks := []Check{{"registry", true, "answers"}}
	var holders, phones, most int
	var broken error
	for i := range census.Slots {
		s := &census.Slots[i]
		broken = errors.Join(broken, s.Check())
		if s.State() == machine.Held || s.State() == machine.Probing {
			holders++
		}
		phones += len(s.Phones())
		most = max(most, len(s.Phones()))
	}
	slots := Check{"slots", broken == nil, fmt.Sprintf("%d, each as it must be", len(census.Slots))}
	if broken != nil {
		slots.Detail = broken.Error()
	}
	// Each message that was handled between the pages may have changed one slot.
	return append(checks, slots,
		agree("holders", census.Holders, holders, census.Meanwhile),
		agree("phones", census.Phones, phones, census.Meanwhile*max(1, most)))
}

// agree holds what is counted as it happens against what is there.
func agree(what string, counted, there, slack int) Check {
	detail := fmt.Sprintf("%d are counted, %d are there", counted, there)
	if slack > 0 {
		detail += fmt.Sprintf("; up to %d may have come or gone while they were looked at", slack)
	}
	return Check{what, counted >= 0 && max(counted-there, there-counted) <= slack, detail}
}

// checkJournal reads all that is kept: number by number, no time before the one ahead, and a proof with each refusal.
func checkJournal(j *actors.Journal) Check {
	var chunk [actors.CopyChunk]machine.Entry
	var before machine.Entry
	read, last := 0, j.Last()
	for before.Seq < last {
		n := j.Read(before.Seq, chunk[:])
		for i := range n {
			switch e := &chunk[i]; {
			case i > 0 && e.Seq != before.Seq+1:
				return Check{"journal", false, fmt.Sprintf("number %d is followed by %d", before.Seq, e.Seq)}
			case e.Time.Before(before.Time):
				return Check{"journal", false, fmt.Sprintf("number %d is earlier than the one before it", e.Seq)}
			case (e.Decided == machine.Refused) != (e.Proof.Probe > 0):
				return Check{"journal", false, fmt.Sprintf("number %d: a refusal without proof, or a proof without refusal", e.Seq)}
			}
			before = chunk[i]
		}
		read += n
	}
	return Check{"journal", true, fmt.Sprintf("%d entries up to number %d, without gaps", read, before.Seq)}
}
