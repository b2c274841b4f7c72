package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func page(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryDependencyHasItsReason, and no reason is left of one that has gone.
func TestEveryDependencyHasItsReason(t *testing.T) {
	reasons, mod := page(t, "docs/dependencies.md"), page(t, "go.mod")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(mod, -1) { // what is indirect says so behind
		if !strings.Contains(reasons, "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md does not say why %s is here", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`([a-z.]+/[^` ]+/[^` ]+)`").FindAllStringSubmatch(reasons, -1) {
		if !strings.Contains(mod, "\t"+m[1]+" v") && strings.Contains(strings.Split(m[1], "/")[0], ".") {
			t.Errorf("docs/dependencies.md speaks of %s, which is not in go.mod", m[1])
		}
	}
}

// TestThreatModelNamesTestsThatExist: a mitigation is worth as much as its test.
func TestThreatModelNamesTestsThatExist(t *testing.T) {
	var tests strings.Builder
	for _, room := range []string{"actors", "cmd", "messages", "transport"} { // what else lies in the checkout may come and go
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, "_test.go") {
				b, rerr := os.ReadFile(path)
				tests.Write(b)
				return rerr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(page(t, "docs/threat-model.md"), -1) {
		if !strings.Contains(tests.String(), "func "+m[1]+"(") {
			t.Errorf("docs/threat-model.md names %s, which does not exist", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`([a-z]+\\.txt)`").FindAllStringSubmatch(page(t, "docs/threat-model.md"), -1) {
		if _, err := os.Stat("testdata/script/" + m[1]); err != nil {
			t.Errorf("docs/threat-model.md names %s: %v", m[1], err)
		}
	}
}
