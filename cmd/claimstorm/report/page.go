package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"time"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/page.js
	pageJS string
	//go:embed echarts/echarts.min.js
	echartsJS string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"number":   number,
	"duration": duration,
	"at":       func(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) },
	"unit":     inUnit,
	"count":    count,
	"plural":   func(n int, word string) string { return plural(int64(n), word) },
	"size":     size,
	"bytes":    func(n int) string { return size(float64(n)) },
}).Parse(pageHTML))

// policy lets a page run its own two scripts and fetch nothing: should a peer's text ever get past the escaping, it still does
// nothing. (Styles are free: the plotting library sets them on its elements.)
var policy = fmt.Sprintf("default-src 'none'; script-src %s %s; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
	digest(echartsJS), digest(pageJS))

func digest(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is what the template draws.
type page struct {
	*Result
	Policy, Title, Word, Mark, Line string
	RoundsMerged                    bool
	Style                           template.CSS
	Library, Script                 template.JS
}

// words are the verdict as a heading, and its mark.
var words = map[Verdict][2]string{
	Pass: {"Every check held", "✓"}, Fail: {"A check failed", "✗"}, Void: {"Proves nothing", "?"}, Gone: {"The relay is gone", "!"},
}

// HTML writes the result as one page that needs nothing beside it, and fetches nothing.
func HTML(w io.Writer, r *Result) error {
	p := page{
		Result: bounded(r), Policy: policy, Line: commandLine(r.Command), Word: words[r.Verdict][0], Mark: words[r.Verdict][1],
		RoundsMerged: len(r.Rounds) > maxPoints, Title: "claimstorm",
		Style: template.CSS(pageCSS), Library: template.JS(echartsJS), Script: template.JS(pageJS), // our own files, no peer's text
	}
	if len(r.Command) > 0 {
		p.Title = filepath.Base(r.Command[0])
	}
	if len(r.Command) > 1 {
		p.Title += " " + r.Command[1]
	}
	p.Title += " of " + r.Relay.URL
	return pageTemplate.Execute(w, p)
}

// waited is a row of the table of waits.
type waited struct {
	Label string
	Count int64
	Ticks []time.Duration
}

// Waits is the latencies that there are.
func (p page) Waits() (rows []waited) {
	for _, l := range p.Latencies {
		if l.Histogram == nil || l.Histogram.TotalCount() == 0 {
			continue
		}
		row := waited{Label: l.label(), Count: l.Histogram.TotalCount()}
		for _, tick := range ticks {
			row.Ticks = append(row.Ticks, time.Duration(l.Histogram.ValueAtPercentile(tick)))
		}
		rows = append(rows, row)
	}
	return rows
}

// Looked says whether the run counted at how much its checks looked.
func (p page) Looked() bool {
	return slices.ContainsFunc(p.Checks, func(c Check) bool { return c.Looked > 0 })
}

// Holders counts the claims that held the slot.
func (t Timeline) Holders() (n int) {
	for _, lane := range t.Lanes {
		if slices.ContainsFunc(lane.Spans, func(s Span) bool { return s.State == Held || s.State == Silent }) {
			n++
		}
	}
	return n
}
