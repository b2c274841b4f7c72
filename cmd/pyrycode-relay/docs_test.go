package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestDocsNameTestsThatExist: a mitigation is worth as much as its test, and a figure as much as the command that makes it.
func TestDocsNameTestsThatExist(t *testing.T) {
	tests := map[string][]string{} // of each folder
	def := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, room := range []string{"actors", "cmd", "messages", "transport"} { // what else lies in the checkout may come and go
		walk(t, room, "_test.go", func(path string) {
			for _, m := range def.FindAllStringSubmatch(page(t, path), -1) {
				tests[filepath.Dir(path)] = append(tests[filepath.Dir(path)], m[1])
			}
		})
	}
	all := slices.Concat(slices.Collect(maps.Values(tests))...)
	pages := []string{"README.md", "CHANGELOG.md", "SECURITY.md"}
	walk(t, "docs", ".md", func(path string) { pages = append(pages, path) })
	commands := 0
	for _, name := range pages {
		text := page(t, name)
		for _, test := range regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(text, -1) {
			if !slices.Contains(all, test) {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
		for _, script := range regexp.MustCompile("`([a-z]+\\.txt)`").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("testdata/script/" + script[1]); err != nil {
				t.Errorf("%s names %s: %v", name, script[1], err)
			}
		}
		for _, command := range regexp.MustCompile("go test [^`\n#]+").FindAllString(text, -1) {
			commands++
			var there []string
			for _, m := range regexp.MustCompile(` \./(\S+)`).FindAllStringSubmatch(command, -1) {
				there = append(there, tests[m[1]]...)
			}
			for _, m := range regexp.MustCompile(` -(?:run|bench) '?([^' ]+)`).FindAllStringSubmatch(command, -1) {
				if m[1] != "^$" && !slices.ContainsFunc(there, regexp.MustCompile(m[1]).MatchString) {
					t.Errorf("%s: %s: nothing there is named like %s", name, command, m[1])
				}
			}
		}
	}
	if commands < 10 {
		t.Errorf("only %d commands were found", commands)
	}
}

// walk goes over the files below a folder of the module whose names end so.
func walk(t *testing.T, folder, end string, do func(path string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("../.."), folder, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, end) {
			do(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
