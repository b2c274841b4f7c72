package history

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// rounds is how often a test looks: long of them in a soak.
func rounds(short, long int) int {
	if os.Getenv("SOAK") != "" {
		return long
	}
	return short
}

// TestACorrectRelayIsNeverAccused, whatever the network, its clients and the moment do.
func TestACorrectRelayIsNeverAccused(t *testing.T) {
	var n Counts
	for seed := range uint64(rounds(1000, 100_000)) {
		m := run(seed, "", 1+int(seed%8), 1+int(seed%12))
		v := Check(m.history(), m.journal, m.rules)
		if !v.OK() {
			t.Fatalf("seed %d, rules %+v:\n%s\n%s", seed, m.rules, v.Violations[0], v.Violations[0].Timeline())
		}
		n.Claims += v.Counts.Claims
		n.Granted += v.Counts.Granted
		n.Proven += v.Counts.Proven
		n.Refused += v.Counts.Refused
		n.Unknown += v.Counts.Unknown
		n.Takeovers += v.Counts.Takeovers
		n.GraceClaims += v.Counts.GraceClaims
	}
	if least := n.Claims / 200; n.Proven < least || n.Granted-n.Proven < least || n.Refused < least || n.Takeovers < least || n.GraceClaims < least {
		t.Errorf("this proves nothing: %+v", n)
	}
}

// TestFaultsAreFound: a relay with one fault is accused of it. Clients that do not trust each other, and leave when they like, cannot
// prove every deed; but a share of them, and the more the rest of the run allows. What the deed brings about is found too: whoever is
// granted a slot for himself also overtakes those in line.
func TestFaultsAreFound(t *testing.T) {
	for _, tt := range []struct {
		fault string
		share int // of the runs in which it was committed, in percent
		want  Fault
		alone bool // nothing else is found
	}{
		{"two winners", 50, GrantedInsideHold, false},
		{"second claim wins", 90, CutOff, false},
		{"living holder taken over", 90, CutOff, false},
		{"refused without a pong", 95, RefusedWithoutProof, true},
		{"old proof counted", 5, RefusedWithoutProof, true},
		{"grace ignored", 90, RefusedWhileFree, false},
		{"never answered", 50, Unanswered, false},
		{"late answer", 50, LateAnswer, false},
		{"wrong code", 95, WrongAnswer, true},
		{"wrong reason", 95, WrongAnswer, true},
		{"holder dropped", 65, CutOff, false},
		{"evicted for nobody", 5, EvictedForNobody, true},
		{"unfair", 60, Overtaken, false},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			did, caught := 0, 0
			var found [checks]int
			for seed := range uint64(rounds(150, 3000)) {
				m := run(seed, tt.fault, 1+int(seed%8), 1+int(seed%12))
				v := Check(m.history(), nil, m.rules)
				if m.did == 0 {
					continue
				}
				did++
				if v.Total() > 0 {
					caught++
				}
				for _, violation := range v.Violations {
					if found[violation.Fault]++; tt.alone && violation.Fault != tt.want {
						t.Fatalf("seed %d, rules %+v:\n%s\n%s", seed, m.rules, violation, violation.Timeline())
					}
				}
			}
			if caught*100 < did*tt.share || found[tt.want] == 0 {
				t.Errorf("committed in %d runs and caught in %d, %s found %d times", did, caught, tt.want, found[tt.want])
			}
		})
	}
}

// TestTheJournalTellsOldProofs, which clients can only see where the ping was read before the claim was made.
func TestTheJournalTellsOldProofs(t *testing.T) {
	did := 0
	for seed := range uint64(100) {
		m := run(seed, "old proof counted", 6, 10)
		v := Check(m.history(), m.journal, m.rules)
		refusals := slices.IndexFunc(m.journal, func(e Entry) bool {
			return e.Proof != nil && slices.ContainsFunc(m.journal, func(w Entry) bool { return w.Conn == e.Conn && w.Decided == "waiting" && w.Time > e.Proof.Sent })
		})
		if refusals >= 0 {
			did++
		}
		if (refusals >= 0) != (v.Found[JournalProof] > 0) {
			t.Errorf("seed %d: %d of journal-proof, the first by entry %d", seed, v.Found[JournalProof], refusals+1)
		}
	}
	if did < 10 {
		t.Errorf("this proves nothing: %d runs with an old proof", did)
	}
}

// TestTheDocExplainsEachCheck in the same words as the reports.
func TestTheDocExplainsEachCheck(t *testing.T) {
	b, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, f := range Checks() {
		line := "//   - " + f.String() + ": " + f.Meaning() + "\n"
		i := strings.Index(doc, line)
		if i < 0 {
			t.Fatalf("doc.go lacks, or has too soon, the line\n%s", line)
		}
		doc = doc[i:]
	}
}
