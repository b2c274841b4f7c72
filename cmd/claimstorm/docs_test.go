package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

const manual = "../../docs/load-testing.md"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestManualNamesEveryCheck, and no other, in the order and the words of the reports.
func TestManualNamesEveryCheck(t *testing.T) {
	var ofHistory, ofCommands strings.Builder
	for _, fault := range history.Checks() {
		fmt.Fprintf(&ofHistory, "| %s | %s |\n", fault, fault.Meaning())
	}
	for _, check := range says {
		fmt.Fprintf(&ofCommands, "| %s | %s |\n", check.Name, check.Says)
	}
	page := read(t, manual)
	for _, rows := range []string{ofHistory.String(), ofCommands.String()} {
		if want := "| check | what it looks for |\n| --- | --- |\n" + rows + "\n"; !strings.Contains(page, want) {
			t.Errorf("docs/load-testing.md: want this table:\n%s", want)
		}
	}
}

// TestManualIsTrue: of exit codes, limits, and the drawing of a violation, which is the example of package history.
func TestManualIsTrue(t *testing.T) {
	_, output, _ := strings.Cut(read(t, "history/faults_test.go"), "\t// Output:\n")
	output, _, _ = strings.Cut(output, "}\n")
	wants := []string{
		"```\n" + strings.ReplaceAll(output, "\t// ", "") + "```\n",
		fmt.Sprintf("at most %d ids", report.MaxTimelines),
		fmt.Sprintf("at most %d claims", report.MaxLanes),
	}
	for _, v := range []report.Verdict{report.Pass, report.Fail, report.Gone, report.Void} {
		wants = append(wants, fmt.Sprintf("| %s | %d |", strings.ToUpper(string(v)), v.ExitCode()))
	}
	page := read(t, manual)
	for _, want := range wants {
		if !strings.Contains(page, want) {
			t.Errorf("docs/load-testing.md does not say\n%s", want)
		}
	}
}

// TestManualsCommandsMakeSense: each line that calls claimstorm can be typed.
func TestManualsCommandsMakeSense(t *testing.T) {
	calls := regexp.MustCompile(`(?m)^bin/claimstorm ([^#\n]*)`).FindAllStringSubmatch(read(t, manual), -1)
	if len(calls) < 6 {
		t.Fatalf("docs/load-testing.md has %d calls of claimstorm", len(calls))
	}
	shell := strings.NewReplacer("$admin", "http://127.0.0.1:9180", "$relay", "1")
	for _, call := range calls {
		if _, err := parse(strings.Fields(shell.Replace(call[1]))); err != nil {
			t.Errorf("docs/load-testing.md: claimstorm %s: %v", call[1], err)
		}
	}
}
