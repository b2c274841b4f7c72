package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

var usual = Rules{Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * ms, Slack: DefaultSlack}

// holder is a claim that knew it held at held (0: it never did), and is still there. Times are in milliseconds, the slot is one.
func holder(client, asked, held int, more ...func(*Claim)) Claim {
	c := Claim{Server: "home", Client: client, Asked: t(asked), Upgraded: t(asked) + 1, Held: t(held), Ended: time.Hour}
	for _, change := range more {
		change(&c)
	}
	return c
}

func t(at int) time.Duration { return time.Duration(at) * ms }

func left(at int) func(*Claim) {
	return func(c *Claim) { c.Leaving, c.Ended, c.End = t(at), t(at+1), Left }
}

func dropped(at int) func(*Claim) {
	return func(c *Claim) { c.Leaving, c.Ended, c.End = t(at), t(at), Dropped }
}

func closed(at int, code uint16, reason string) func(*Claim) {
	return func(c *Claim) { c.Ended, c.End, c.Code, c.Reason = t(at), Closed, code, reason }
}

func cut(at int) func(*Claim)    { return func(c *Claim) { c.Ended, c.End = t(at), Cut } }
func silent(at int) func(*Claim) { return func(c *Claim) { c.Silent = t(at) } }
func pongs(at ...int) func(*Claim) {
	return func(c *Claim) {
		for _, at := range at {
			c.Pongs = append(c.Pongs, Pong{t(at), t(at) + 1})
		}
	}
}

func loser(client, asked, refused int) Claim {
	return Claim{Server: "home", Client: client, Asked: t(asked), Upgraded: t(asked) + 1, Ended: t(refused), End: Closed, Code: CodeClaimed, Reason: ReasonClaimed}
}

// TestVerdicts: the smallest histories that show each fault, and their neighbours that show none.
func TestVerdicts(tt *testing.T) {
	for name, c := range map[string]struct {
		rules  func(*Rules)
		claims []Claim
		want   []Fault
	}{
		"one after the other":                    {claims: []Claim{holder(1, 10, 20, left(90)), holder(2, 85, 95)}},
		"the second knew before the first left":  {claims: []Claim{holder(1, 10, 20, left(90)), holder(2, 15, 85)}, want: []Fault{TwoHolders}},
		"the second asked after the first knew":  {claims: []Claim{holder(1, 10, 20, left(90)), holder(2, 30, 85)}, want: []Fault{GrantedInsideHold}},
		"refused on a pong":                      {claims: []Claim{holder(1, 10, 20, pongs(35)), loser(2, 30, 40)}},
		"refused on a pong sent after that":      {claims: []Claim{holder(1, 10, 20, pongs(45)), loser(2, 30, 40)}, want: []Fault{RefusedWithoutProof}},
		"refused on a ping read before it asked": {claims: []Claim{holder(1, 10, 20, pongs(25)), loser(2, 30, 40)}, want: []Fault{RefusedWithoutProof}},
		"refused on the pong of one who waits": {
			claims: []Claim{holder(1, 10, 20, left(5000)), loser(2, 30, 40), holder(3, 15, 0, pongs(35), left(90))},
			want:   []Fault{RefusedWithoutProof},
		},
		"refused in grace":         {claims: []Claim{holder(1, 10, 20, left(90), pongs(50)), loser(2, 95, 99)}, want: []Fault{RefusedWhileFree}},
		"refused before anybody":   {claims: []Claim{loser(2, 5, 9), holder(1, 10, 20)}, want: []Fault{RefusedWhileFree}},
		"refused by a later claim": {claims: []Claim{loser(2, 5, 500), holder(1, 300, 310, pongs(400))}, want: []Fault{RefusedWhileFree, LateAnswer}},
		"refused, perhaps by a reset": {
			claims: []Claim{holder(1, 10, 20, pongs(95), dropped(97)), loser(2, 90, 150)},
		},
		"taken over": {claims: []Claim{holder(1, 10, 20, silent(100), closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 5310)}},
		"taken over too soon": {
			claims: []Claim{holder(1, 10, 20, silent(1000), closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 5310)},
			want:   []Fault{CutOff},
		},
		"taken over alive": {
			claims: []Claim{holder(1, 10, 20, pongs(300), closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 5310)},
			want:   []Fault{CutOff},
		},
		"overtaken": {
			claims: []Claim{holder(1, 10, 20, silent(100), closed(5300, CodeInternal, ReasonTimeout)), loser(2, 200, 5400), holder(3, 4000, 5310, pongs(5390))},
			want:   []Fault{Overtaken},
		},
		"evicted for nobody": {claims: []Claim{holder(1, 10, 20, silent(100), closed(5300, CodeInternal, ReasonTimeout))}, want: []Fault{EvictedForNobody}},
		"its heartbeat ran out": {
			rules:  func(r *Rules) { r.HeartbeatTimeout = 5 * time.Second },
			claims: []Claim{holder(1, 10, 20, silent(100), closed(5300, CodeInternal, ReasonTimeout))},
		},
		"a holder is refused":                          {claims: []Claim{holder(1, 10, 20, closed(90, CodeClaimed, ReasonClaimed))}, want: []Fault{CutOff}},
		"a holder is dropped":                          {claims: []Claim{holder(1, 10, 20, cut(90))}, want: []Fault{CutOff}},
		"a claimant is dropped":                        {claims: []Claim{holder(1, 10, 0, cut(90))}, want: []Fault{WrongAnswer}},
		"a loser is closed with 1000":                  {claims: []Claim{holder(1, 10, 20, pongs(35)), holder(2, 30, 0, closed(40, 1000, ""))}, want: []Fault{WrongAnswer}},
		"another reason":                               {claims: []Claim{holder(1, 10, 20, pongs(35)), func() Claim { c := loser(2, 30, 40); c.Reason = "taken"; return c }()}, want: []Fault{WrongAnswer}},
		"late":                                         {claims: []Claim{holder(1, 10, 20, pongs(35, 5000)), loser(2, 30, 5600)}, want: []Fault{LateAnswer}},
		"behind one dead holder":                       {claims: []Claim{holder(1, 10, 20, silent(25), closed(5100, CodeInternal, ReasonTimeout)), holder(3, 26, 5090, pongs(5150)), loser(2, 30, 5160)}},
		"late behind a dead holder":                    {claims: []Claim{holder(1, 10, 20, silent(25), closed(5100, CodeInternal, ReasonTimeout)), holder(3, 26, 5090, pongs(6900)), loser(2, 30, 7000)}, want: []Fault{LateAnswer}},
		"never answered":                               {claims: []Claim{holder(1, 10, 20, pongs(35)), holder(2, 30, 0)}, want: []Fault{Unanswered}},
		"left in time":                                 {claims: []Claim{holder(1, 10, 20, pongs(35)), holder(2, 30, 0, left(300))}},
		"two that nobody refused":                      {claims: []Claim{holder(1, 10, 0), holder(2, 15, 0)}, want: []Fault{TwoHolders}},
		"refused after a reset that may not have come": {claims: []Claim{holder(1, 10, 20, pongs(50), dropped(97)), loser(2, 98, 150)}, want: []Fault{RefusedWithoutProof}},
		"two winners, and a refusal by either":         {claims: []Claim{holder(1, 10, 20), holder(2, 15, 25, pongs(35)), loser(3, 30, 40)}, want: []Fault{TwoHolders}},
		"closed while it leaves":                       {claims: []Claim{holder(1, 10, 20, closed(55, 1000, ""), func(c *Claim) { c.Leaving = t(50) })}},
		"a pong that may have come too late": {claims: []Claim{
			holder(1, 10, 20, closed(5300, CodeInternal, ReasonTimeout), func(c *Claim) { c.Pongs = []Pong{{t(250), t(4950)}} }), holder(2, 200, 5310),
		}},
		"taken over for a ping that it had yet to read": {
			rules:  func(r *Rules) { r.Slack = r.ProbeTimeout },
			claims: []Claim{holder(1, 10, 0, closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 5310)},
		},
		"taken over for no ping": {
			rules:  func(r *Rules) { r.Slack = r.ProbeTimeout - 1 },
			claims: []Claim{holder(1, 10, 0, closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 5310)},
			want:   []Fault{WrongAnswer},
		},
		"taken over by one that left before it knew": {claims: []Claim{
			holder(1, 10, 20, silent(100), closed(5300, CodeInternal, ReasonTimeout)), holder(2, 200, 0, left(5260)),
		}},
		"the tool stops looking while it leaves": {claims: []Claim{holder(1, 10, 20, func(c *Claim) { c.Leaving = t(90) }), holder(2, 95, 98)}},
		"the relay ends": {
			rules:  func(r *Rules) { r.Shutdown = t(80) },
			claims: []Claim{holder(1, 10, 20, closed(90, CodeGoingAway, ReasonGoingAway)), holder(2, 85, 0, closed(91, CodeGoingAway, ReasonGoingAway))},
		},
		"the relay ends unasked": {claims: []Claim{holder(1, 10, 20, closed(90, CodeGoingAway, ReasonGoingAway))}, want: []Fault{CutOff}},
	} {
		tt.Run(name, func(tt *testing.T) {
			rules, h := usual, &History{}
			if c.rules != nil {
				c.rules(&rules)
			}
			for _, claim := range c.claims {
				h.Add(claim)
			}
			v := Check(h, nil, rules)
			var got []Fault
			for _, violation := range v.Violations {
				got = append(got, violation.Fault)
			}
			if !slices.Equal(got, c.want) {
				tt.Errorf("found %v, want %v\n%v", got, c.want, v.Violations)
			}
			for _, violation := range v.Violations {
				for line := range strings.SplitSeq(violation.Timeline(), "\n") {
					if len(line) > 110 {
						tt.Errorf("a line of %d columns: %s", len(line), line)
					}
				}
			}
		})
	}
}

// TestCountsAndLanes of a run in which everything happens once.
func TestCountsAndLanes(tt *testing.T) {
	rules, h := usual, &History{}
	rules.Shutdown = t(20_000)
	for _, c := range []Claim{
		holder(1, 10, 20, pongs(35), left(90)), loser(2, 30, 40),
		holder(3, 95, 98, silent(200), closed(5400, CodeInternal, ReasonTimeout)),                           // in grace
		holder(4, 300, 5390, closed(20_001, CodeGoingAway, ReasonGoingAway)),                                // a takeover
		holder(5, 8000, 0, func(c *Claim) { c.Leaving, c.Ended, c.End = t(8100), t(15_000), Left }),         // nobody knows
		holder(6, 19_999, 0, func(c *Claim) { c.Ended, c.End = t(30_000), Dropped; c.Leaving = t(29_000) }), // nor here: the relay ends
	} {
		h.Add(c)
	}
	v := Check(h, nil, rules)
	want := Counts{Claims: 6, Slots: 1, Granted: 3, Proven: 3, Refused: 1, Unknown: 2, GraceClaims: 1, Takeovers: 1}
	if !v.OK() || v.Counts != want {
		tt.Errorf("counted %+v, want %+v\n%v", v.Counts, want, v.Violations)
	}
	for i, want := range []Lane{
		{MayFrom: t(10), MayUntil: t(91), SureFrom: t(20), SureUntil: t(90)},
		{},
		{MayFrom: t(95), MayUntil: t(5390), SureFrom: t(98), SureUntil: t(5000)},
		{MayFrom: t(5000), MayUntil: t(20_001), SureFrom: t(5390), SureUntil: t(20_000)},
	} {
		got := Lanes(h, "home", rules)[i]
		if got.MayFrom != want.MayFrom || got.MayUntil != want.MayUntil || got.SureFrom != want.SureFrom || got.SureUntil != want.SureUntil {
			tt.Errorf("c%d may have held from %s to %s and surely did from %s to %s, want %s to %s, %s to %s", got.Client,
				got.MayFrom, got.MayUntil, got.SureFrom, got.SureUntil, want.MayFrom, want.MayUntil, want.SureFrom, want.SureUntil)
		}
	}
	if got := Lanes(h, "nobody", rules); got != nil {
		tt.Errorf("lanes of an id that was never claimed: %v", got)
	}
}

// TestRefusalsSayWhetherItWasGrace, where the relay has one.
func TestRefusalsSayWhetherItWasGrace(tt *testing.T) {
	for asked, grace := range map[int]bool{95: true, 40_000: false} {
		h := &History{}
		h.Add(holder(1, 10, 20, left(90)))
		h.Add(loser(2, asked, asked+4))
		v := Check(h, nil, usual)
		if len(v.Violations) != 1 || strings.Contains(v.Violations[0].What, "in grace since c1 left") != grace {
			tt.Errorf("asked at %s: %v", t(asked), v.Violations)
		}
	}
}

// TestJournalFaults: what the journal of a correct relay becomes when it is changed.
func TestJournalFaults(tt *testing.T) {
	pick := func(j []Entry, decided string) int {
		return slices.IndexFunc(j, func(e Entry) bool { return e.Decided == decided })
	}
	renumber := func(j []Entry) []Entry {
		for i := range j {
			j[i].Seq = int64(1 + i)
		}
		return j
	}
	for name, c := range map[string]struct {
		change func([]Entry) []Entry
		want   Fault
	}{
		"a gap":                  {func(j []Entry) []Entry { return slices.Delete(j, 2, 3) }, JournalOrder},
		"time runs backwards":    {func(j []Entry) []Entry { j[3].Time = j[2].Time - 1; return j }, JournalOrder},
		"an epoch again":         {func(j []Entry) []Entry { j[len(j)-1].Epoch = j[0].Epoch; return j }, JournalOrder},
		"two holders":            {func(j []Entry) []Entry { j[1].Decided = "granted"; j[1].Epoch++; return j }, JournalHolders},
		"a release of another":   {func(j []Entry) []Entry { j[pick(j, "released")].Conn = "other"; return j }, JournalHolders},
		"taken over nobody":      {func(j []Entry) []Entry { j[0].Decided = "took_over"; return j }, JournalHolders},
		"no proof":               {func(j []Entry) []Entry { j[pick(j, "refused")].Proof = nil; return j }, JournalProof},
		"an old proof":           {func(j []Entry) []Entry { j[pick(j, "refused")].Proof.Sent = j[0].Time; return j }, JournalProof},
		"a proof of another":     {func(j []Entry) []Entry { j[pick(j, "refused")].Proof.Conn = "other"; return j }, JournalProof},
		"answered before it":     {func(j []Entry) []Entry { j[pick(j, "refused")].Proof.Answered = 1; return j }, JournalProof},
		"refused without a line": {func(j []Entry) []Entry { return renumber(slices.Delete(j, 1, 2)) }, JournalProof},
		"a refusal is missing":   {func(j []Entry) []Entry { return renumber(slices.Delete(j, 1, 3)) }, JournalDisagrees},
		"a hold is missing":      {func(j []Entry) []Entry { return renumber(j[:4]) }, JournalDisagrees},
		"one hold for two":       {func(j []Entry) []Entry { return renumber(j[:3]) }, JournalDisagrees},
		"released too soon":      {func(j []Entry) []Entry { j[3].Time = t(60); return j }, JournalDisagrees},
		"another time": {func(j []Entry) []Entry {
			j[2].Time += time.Second
			j[3].Time += time.Second
			j[4].Time += time.Second
			return j
		}, JournalDisagrees},
		"nothing": {func(j []Entry) []Entry { j[0].Server = "other"; return j[:1] }, JournalDisagrees},
	} {
		tt.Run(name, func(tt *testing.T) {
			h := &History{}
			for _, claim := range []Claim{holder(1, 10, 20, pongs(35), left(90)), loser(2, 30, 40), holder(3, 95, 98)} {
				h.Add(claim)
			}
			entry := func(at int, conn, asked, decided string, epoch int64) Entry {
				return Entry{Time: t(at), Server: "home", Conn: conn, Asked: asked, Decided: decided, Epoch: epoch}
			}
			journal := renumber([]Entry{
				entry(12, "a", "claim", "granted", 1), entry(31, "b", "claim", "waiting", 1), entry(37, "b", "probe_answered", "refused", 1),
				entry(91, "a", "release", "released", 1), entry(96, "c", "claim", "granted", 2),
			})
			journal[2].Proof = &Proof{Probe: 1, Sent: t(33), Answered: t(36), Conn: "a"}
			if v := Check(h, journal, usual); !v.OK() {
				tt.Fatalf("the journal is as it should be: %v", v.Violations)
			}
			v := Check(h, c.change(journal), usual)
			if v.Found[c.want] == 0 {
				tt.Errorf("found %v, want %s", v.Violations, c.want)
			}
		})
	}
}

// ExampleViolation_Timeline is what a person sees of a fault.
func ExampleViolation_Timeline() {
	h := &History{}
	h.Add(holder(1, 10, 20, pongs(35), left(90)))
	h.Add(loser(2, 95, 99))
	v := Check(h, nil, usual)
	fmt.Println(v.Violations[0])
	fmt.Print(v.Violations[0].Timeline())
	// Output:
	// refused-while-free: home: c2 came between 95ms and 99ms, when nobody can have held the slot (in grace since c1 left), and was refused at 99ms
	// home from 87ms to 103ms, a column is 222µs
	// c2                                    A.................R
	// c1 =============L---E
	// A asked  . connected  - may have held  = surely held  p answered a ping  ? left a ping unanswered
	// S silent from here  L began to leave  R refused with 4409  C closed by the relay  ! cut by it  E its end
}
