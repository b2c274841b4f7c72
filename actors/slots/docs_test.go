package slots

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const orderingPage = "../../docs/ordering.md"

var diagramMark = regexp.MustCompile("(?s)<!-- story (\\w+) -->\n```mermaid\n.*?```\n")

// TestDiagramsAreTheStories holds the diagrams of docs/ordering.md to the stories that they draw, and the page to all of
// them. `make stories` draws them anew.
func TestDiagramsAreTheStories(t *testing.T) {
	b, err := os.ReadFile(orderingPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	drawn := diagramMark.ReplaceAllStringFunc(page, func(block string) string {
		name := diagramMark.FindStringSubmatch(block)[1]
		return fmt.Sprintf("<!-- story %s -->\n```mermaid\n%s```\n", name, diagram(t, name))
	})
	if drawn != page {
		if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
			if err := os.WriteFile(orderingPage, []byte(drawn), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Error("docs/ordering.md draws what the stories do not tell: make stories")
		}
	}
	stories, _ := filepath.Glob("testdata/stories/*")
	for _, s := range stories {
		if !strings.Contains(page, filepath.Base(s)) {
			t.Errorf("docs/ordering.md does not name the story %s", filepath.Base(s))
		}
	}
}

var (
	entryLine = regexp.MustCompile(`^#\d+ \S+ \S+ \w+: (\S+) (\w+) (e\d+)`)
	toldLine  = regexp.MustCompile(`^   to (\w+): (.*)`)
	actLine   = regexp.MustCompile(`^(\w+) (claims \w+|joins \w+|leaves|releases|withdraws|answers probe \d+)$`)
)

// diagram draws a story as a sequence of messages.
func diagram(t *testing.T, story string) string {
	b, err := os.ReadFile("testdata/stories/" + story)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("sequenceDiagram\n")
	var cast, lines []string
	seen := map[string]bool{}
	var acts []string // of the block, to be drawn in front of what they bring
	flush := func() {
		lines = append(lines, acts...)
		acts = nil
	}
	moment, last := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "at "):
			moment = line[3:]
			acts = append(acts, "Note over registry: at "+moment)
		case actLine.MatchString(line):
			m := actLine.FindStringSubmatch(line)
			if !seen[m[1]] {
				seen[m[1]] = true
				cast = append(cast, m[1])
			}
			acts = append(acts, fmt.Sprintf("%s->>registry: %s", m[1], m[2]))
		case line == "shutdown":
			acts = append(acts, "Note over registry: shutdown")
		case entryLine.MatchString(line):
			flush()
			m := entryLine.FindStringSubmatch(line)
			last = fmt.Sprintf("Note over registry: %s %s %s", m[1], m[2], m[3])
			lines = append(lines, last)
		case toldLine.MatchString(line):
			flush()
			m := toldLine.FindStringSubmatch(line)
			lines = append(lines, fmt.Sprintf("registry->>%s: %s", m[1], m[2]))
		case strings.HasPrefix(line, "(changes nothing"):
			flush()
			lines = append(lines, "Note over registry: "+strings.Trim(line, "()"))
		}
	}
	flush()
	for i, c := range cast {
		if i == (len(cast)+1)/2 {
			out.WriteString("    participant registry\n")
		}
		fmt.Fprintf(&out, "    participant %s\n", c)
	}
	for _, l := range lines {
		fmt.Fprintf(&out, "    %s\n", l)
	}
	return out.String()
}
