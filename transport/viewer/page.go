package viewer

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// How much is drawn at most. What is left out is said on the page, with the way to it.
const (
	drawnEntries = 200  // of one slot, on the live page
	drawnSlots   = 200  // in the list
	drawnNews    = 15   // decisions beside the list
	filedEntries = 500  // of one slot, in a file
	filedInAll   = 4096 // of all slots, in a file
)

var (
	//go:embed viewer.html
	markup string
	//go:embed viewer.css
	style string
	//go:embed viewer.js
	script string
	//go:embed viewer.svg
	icon string
)

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": clock, "short": short, "ago": ago, "size": size, "words": words, "sentence": sentence, "name": shortName,
	"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // it is ours, embedded
	"add":   func(a, b int) int { return a + b },
}).Parse(markup))

// view is what the templates see.
type view struct {
	Title  string
	Build  string
	Now    time.Time
	File   bool   // it stands alone: no links to other pages, no script
	Policy string // of a file, which has no headers

	Totals  totals
	States  map[string]int
	Phones  int
	Waiting int
	Queued  int64

	Find     string // narrows Slots
	Slots    []Slot
	Unlisted int
	News     []row

	Lives   []life
	Unfiled int // lives that a file leaves out
}

// life is one slot, drawn.
type life struct {
	ID     int
	Server messages.ServerID
	Now    time.Time
	File   bool
	State  Slot // where its Server is empty, the slot is free
	Totals totals
	Chart  *chart
	Rows   []row
	Last   int64 // the newest seq
	Left   int   // older entries that are not drawn
	Past   bool  // newer ones are not drawn
	Asked  query
}

// query is what a page of one slot was asked for.
type query struct {
	Server   messages.ServerID
	Axis     axis
	NoPhones bool
	Before   int64 // 0: the newest
	File     bool  // it is drawn into a file, which opens at the beginning; a page opens at the end
}

// With is the address of the same page with one thing changed.
func (q query) With(what, value string) string {
	v := url.Values{"server_id": {string(q.Server)}}
	set := func(name, is, unless string) {
		if name == what {
			is = value
		}
		if is != unless {
			v.Set(name, is)
		}
	}
	hidden := ""
	if q.NoPhones {
		hidden = "hidden"
	}
	set("axis", string(q.Axis), string(byOrder))
	set("phones", hidden, "")
	set("before", itoa(q.Before), "0")
	return "/?" + v.Encode()
}

// Address is where the page shows an entry.
func Address(e *slots.Entry) string {
	return query{Server: e.Server, Axis: byOrder}.With("", "") + "#seq-" + itoa(e.Seq)
}

// newLife draws the newest entries of a slot, at most limit of them.
func newLife(entries []slots.Entry, reach time.Time, limit int, q query, state Slot, free bool, now time.Time) life {
	l := life{Server: q.Server, File: q.File, Now: now, State: state, Totals: count(entries, now, reach), Asked: q}
	if len(entries) > 0 {
		l.Last = entries[len(entries)-1].Seq
	}
	if q.NoPhones {
		entries = slices.DeleteFunc(entries, func(e slots.Entry) bool { return ofPhone(&e) })
	}
	if q.Before > 0 {
		all := len(entries)
		entries = slices.DeleteFunc(entries, func(e slots.Entry) bool { return e.Seq >= q.Before })
		l.Past = len(entries) < all
	}
	l.Left = max(0, len(entries)-limit)
	entries = entries[l.Left:]
	l.Chart, l.Rows = layout(entries, q.Axis, free && !l.Past, !q.File), rows(entries)
	return l
}

// First is the oldest entry that is drawn.
func (l life) First() int64 {
	if len(l.Rows) == 0 {
		return 0
	}
	return l.Rows[0].Seq
}

// HTML writes a page that stands alone: it fetches nothing and runs nothing, and shows of each slot in entries, which are in order of
// their numbers, the newest of them as swim lanes, and as a table.
func HTML(w io.Writer, title string, entries []slots.Entry) error {
	hash := sha256.Sum256([]byte(style))
	v := view{
		Title: title, File: true, Now: time.Now(),
		Policy: fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(hash[:])),
	}
	var order []messages.ServerID
	of := map[messages.ServerID][]slots.Entry{}
	for i := range entries {
		server := entries[i].Server
		if _, known := of[server]; !known {
			order = append(order, server)
		}
		of[server] = append(of[server], entries[i])
	}
	if len(entries) > 0 {
		v.Now = entries[len(entries)-1].Time
	}
	v.Totals = count(entries, v.Now, time.Time{})
	v.Totals.Span = 0 // how many a second were decided at its end says nothing of a record
	drawn := 0
	for i, server := range order {
		if drawn >= filedInAll {
			v.Unfiled = len(order) - i
			break
		}
		l := newLife(of[server], time.Time{}, filedEntries, query{Server: server, Axis: byOrder, File: true}, Slot{}, false, v.Now)
		l.ID, l.Totals.Span = i, 0
		drawn += len(l.Rows)
		v.Lives = append(v.Lives, l)
	}
	return v.write(w)
}

// write writes all of the page or, where the template fails, nothing.
func (v *view) write(w io.Writer) error {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, "page", v); err != nil {
		return fmt.Errorf("draw the page %q: %w", v.Title, err)
	}
	_, err := page.WriteTo(w)
	return err
}
