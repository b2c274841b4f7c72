package replay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestEveryMessageOfTheRegistryIsKnown: one that is not could be written, and not read.
func TestEveryMessageOfTheRegistryIsKnown(t *testing.T) {
	files, _ := filepath.Glob("../../messages/*.go")
	found := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`func \((\w+)\) +toRegistry\(\)`).FindAllStringSubmatch(string(b), -1) {
			found++
			if kinds[m[1]] == nil {
				t.Errorf("%s is not among the kinds", m[1])
			}
		}
	}
	if found != len(kinds) {
		t.Errorf("%d messages for the registry, %d kinds", found, len(kinds))
	}
}

// TestMessagesComeBackAsTheyWere, whatever is in them.
func TestMessagesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,20}`)
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		m := rapid.SampledFrom([]messages.ToRegistry{
			messages.Claim{Server: messages.ServerID(text.Draw(t, "server")), From: "$1", Token: messages.ClaimToken(rapid.Uint64().Draw(t, "token")), Conn: "c", Version: "<1>", Remote: "::1"},
			messages.ProbeAnswered{Server: "a", Epoch: 3, Probe: 7, Sent: at, Answered: at.Add(1)},
			messages.Join{Server: "a", Device: text.Draw(t, "device")},
			messages.ShutDown{},
		}).Draw(t, "message")
		b, err := Message(at, m)
		if err != nil {
			t.Fatal(err)
		}
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			t.Fatal(err)
		}
		if got, err := l.parse(); err != nil || !reflect.DeepEqual(got, m) || !l.At.Equal(at) {
			t.Fatalf("%s: %v, %v", b, got, err)
		}
	})
}

// two is a record of two claims and what was decided on them.
func two(t *testing.T) string {
	t.Helper()
	start := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	cfg := slots.Config{Grace: time.Second, ProbeTimeout: time.Second, ProbeInterval: time.Second, MaxPhones: 1}
	head, _ := json.Marshal(Head{Format, "v1", start, cfg})
	lines := []string{string(head)}
	m, seq := slots.New(start, cfg), int64(0)
	for i, conn := range []messages.ConnID{"a", "b"} {
		claim := messages.Claim{Server: "home", From: messages.Address(conn), Token: messages.ClaimToken(i + 1), Conn: conn}
		b, _ := Message(start, claim)
		lines = append(lines, string(b))
		for _, e := range m.Step(start, claim) {
			if r, ok := e.(slots.Record); ok {
				seq++
				r.Entry.Seq = seq
				b, _ := Decision(r.Entry)
				lines = append(lines, string(b))
			}
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func run(t *testing.T, record string, until int64) *Result {
	t.Helper()
	r, err := Run(strings.NewReader(record), until)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEqualRulesDecideTheSame(t *testing.T) {
	if r := run(t, two(t), 0); len(r.Differs) > 0 || len(r.Entries) != 2 || r.Entries[1].Decided != slots.Waiting {
		t.Errorf("%+v", r)
	}
}

func TestDifferenceNamesItsMessage(t *testing.T) {
	r := run(t, strings.Replace(two(t), `"decided":"waiting"`, `"decided":"granted"`, 1), 0)
	if len(r.Differs) != 1 || r.Differs[0].Line != 4 || !strings.Contains(r.Differs[0].Recorded, "granted") || !strings.Contains(r.Differs[0].Here, "waiting") {
		t.Errorf("%+v", r.Differs)
	}
}

func TestMissingDecisionIsADifference(t *testing.T) {
	lines := strings.SplitAfter(two(t), "\n")
	if r := run(t, strings.Join(lines[:4], ""), 0); len(r.Differs) != 1 || r.Differs[0].Recorded != "" {
		t.Errorf("%+v", r.Differs)
	}
}

// TestRecordThatBreaksOff is handled as far as it goes: that is what a relay leaves that was killed.
func TestRecordThatBreaksOff(t *testing.T) {
	record := two(t)
	for cut := len(record) - 1; cut > strings.Index(record, "\n")+1; cut-- {
		r := run(t, record[:cut], 0)
		if record[cut-1] != '\n' && (len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0], "breaks off") || len(r.Differs) > 0) {
			t.Fatalf("cut at %d: %+v", cut, r)
		}
	}
	if r := run(t, record[:len(record)-1], 0); len(r.Entries) != 2 {
		t.Errorf("%+v", r.Entries)
	}
}

// TestRotatedRecordGoesOnCounting: its numbers are those to cite, and --until means them.
func TestRotatedRecordGoesOnCounting(t *testing.T) {
	lines := strings.SplitAfter(two(t), "\n")
	continues, _ := Continues(500, 98)
	record := lines[0] + string(continues) + "\n" + strings.Join(lines[1:], "")
	if r := run(t, record, 0); len(r.Entries) != 2 || r.Entries[1].Seq != 100 || len(r.Gaps) != 1 || len(r.Differs) > 0 {
		t.Errorf("%+v", r)
	}
	if r := run(t, record, 99); len(r.Entries) != 1 || r.Entries[0].Seq != 99 {
		t.Errorf("%+v", r)
	}
}

func TestUntilEndsBehindThatEntry(t *testing.T) {
	if r := run(t, two(t), 1); len(r.Entries) != 1 || len(r.Differs) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	good := two(t)
	for _, record := range []string{
		"", "{}\n", `{"record":2}` + "\n", "nonsense\n", good + "nonsense\n", good + "[]\n", good + strings.Repeat("x", maxLine) + "\n", `{"record":1,`, good + `{"at":"2026-01-02T15:04:05Z","message":"Evict","body":{}}` + "\n",
		good + `{"message":"ShutDown","body":{}}` + "\n", good + `{"at":"2026-01-02T15:04:05Z","message":"Claim","body":7}` + "\n",
	} {
		if _, err := Run(strings.NewReader(record), 0); err == nil {
			t.Errorf("%q is taken for a record", record)
		}
	}
}

func FuzzRun(f *testing.F) {
	f.Add([]byte(`{"record":1,"started":"2026-01-02T15:04:05Z","slots":{}}` + "\n" + `{"at":"2026-01-02T15:04:05Z","message":"ShutDown","body":{}}`))
	f.Fuzz(func(_ *testing.T, record []byte) {
		_, _ = Run(strings.NewReader(string(record)), 0) // it does not panic
	})
}
