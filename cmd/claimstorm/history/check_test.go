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
	for seed := range uint64(rounds(3000, 300_000)) {
		m := run(seed, "", 1+int(seed%8), 1+int(seed%12))
		v := Check(m.history(), nil, m.rules)
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
	if n.Granted < n.Claims/10 || n.Refused < n.Claims/10 || n.Takeovers < n.Claims/100 || n.GraceClaims < n.Claims/100 {
		t.Errorf("this proves nothing: %+v", n)
	}
	t.Logf("%+v", n)
}

// TestFaultsAreFound: what each fault of a relay is called, and that it is called nothing else.
func TestFaultsAreFound(t *testing.T) {
	for fault, want := range map[string][]Fault{
		"two winners":              {TwoHolders, GrantedInsideHold, Unanswered},
		"second claim wins":        {RefusedWithoutProof, RefusedWhileFree, CutOff},
		"living holder taken over": {CutOff, WrongAnswer},
		"refused without a pong":   {RefusedWithoutProof},
		"old proof counted":        {RefusedWithoutProof},
		"grace ignored":            {RefusedWhileFree},
		"never answered":           {Unanswered},
		"late answer":              {LateAnswer},
		"wrong code":               {WrongAnswer},
		"wrong reason":             {WrongAnswer},
		"holder dropped":           {CutOff, WrongAnswer},
		"evicted for nobody":       {EvictedForNobody},
		"unfair":                   {Overtaken, Unanswered},
	} {
		t.Run(strings.ReplaceAll(fault, " ", "_"), func(t *testing.T) {
			did, caught, found := 0, 0, map[Fault]int{}
			for seed := range uint64(400) {
				m := run(seed, fault, 1+int(seed%8), 1+int(seed%12))
				v := Check(m.history(), nil, m.rules)
				if m.did > 0 {
					did++
				}
				if !v.OK() {
					caught++
				}
				for _, violation := range v.Violations {
					if found[violation.Fault]++; !slices.Contains(want, violation.Fault) {
						t.Errorf("seed %d, rules %+v:\n%s\n%s", seed, m.rules, violation, violation.Timeline())
					}
				}
			}
			t.Logf("committed in %d runs, caught in %d: %v", did, caught, found)
			if found[want[0]] == 0 {
				t.Errorf("no %s was found in %d runs", want[0], did)
			}
		})
	}
}
