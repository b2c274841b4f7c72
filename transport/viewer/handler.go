package viewer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Source is the relay, as the page sees it. Any goroutine may call it.
type Source interface {
	// Slots is every slot that is not free, by server-id. The slice is the caller's.
	Slots(ctx context.Context) ([]Slot, error)
	// Entries is what the journal keeps, oldest first. The slice is the caller's.
	Entries() []slots.Entry
}

// policy lets the page load its own two files and talk to its own listener, and nothing else. No script stands in the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler serves the page at /, and what it loads. Who may ask is the business of whoever mounts it.
func Handler(source Source, build string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", pages{source, build, make(chan struct{}, maxDrawings)})
	mux.Handle("GET /viewer/style.css", file("text/css; charset=utf-8", style))
	mux.Handle("GET /viewer/script.js", file("text/javascript; charset=utf-8", script))
	mux.Handle("GET /viewer/icon.svg", file("image/svg+xml", icon))
	return mux
}

func file(kind, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache") // a newer relay has a newer page
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(content)) // to a browser that has left, nothing can be said
	})
}

// maxDrawings is how many pages are drawn at a time, at some ten milliseconds each. Who comes then waits.
const maxDrawings = 2

type pages struct {
	source  Source
	build   string
	drawing chan struct{} // has a value for each page that is being drawn
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, find, err := parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	page, err := p.draw(r.Context(), q, find)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // an address has a server-id in it; without any, a form's Origin would be null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = w.Write(page) // to a browser that has left, nothing can be said
}

func (p pages) draw(ctx context.Context, q query, find string) ([]byte, error) {
	select {
	case p.drawing <- struct{}{}:
		defer func() { <-p.drawing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	v := view{Title: "slots", Build: p.build, Now: time.Now(), Find: find}
	show := p.overview
	if q.Server != "" {
		v.Title, show = string(q.Server), p.life
	}
	if err := show(ctx, q, &v); err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err := v.write(&page)
	return page.Bytes(), err
}

// parse refuses what it does not know: a misspelt parameter would show another page than the one asked for.
func parse(r *http.Request) (q query, find string, err error) {
	q.Axis = byOrder
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, find, fmt.Errorf("%w: want a query such as server_id=home", err)
	}
	for name, values := range all {
		switch value := values[0]; {
		case len(values) > 1:
			err = fmt.Errorf("want it once")
		case name == "server_id" && value != "":
			q.Server, err = messages.ParseServerID(value)
		case name == "server_id":
		case name == "axis" && (axis(value) == byOrder || axis(value) == byTime):
			q.Axis = axis(value)
		case name == "phones" && value == "hidden":
			q.NoPhones = true
		case name == "before":
			if q.Before, err = strconv.ParseInt(value, 10, 64); err != nil || q.Before < 0 {
				err = fmt.Errorf("%q: want a seq of the journal", value)
			}
		case name == "find" && len(value) > messages.MaxHeaderChars:
			err = fmt.Errorf("want at most %d characters, as a server-id has", messages.MaxHeaderChars)
		case name == "find":
			find = value
		default:
			err = fmt.Errorf("want server_id, axis=order or time, phones=hidden, before, or find")
		}
		if err != nil {
			return q, find, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, find, nil
}

// overview is the page of all slots: those first where something is going on.
func (p pages) overview(ctx context.Context, _ query, v *view) error {
	all, err := p.source.Slots(ctx)
	if err != nil {
		return err
	}
	v.States = map[string]int{}
	for i := range all {
		s := &all[i]
		v.States[string(s.State)]++
		v.Phones += s.Phones
		v.Waiting += s.Waiting
		v.Queued += s.Queued
	}
	listed := slices.DeleteFunc(all, func(s Slot) bool { return !strings.Contains(string(s.Server), v.Find) })
	slices.SortStableFunc(listed, func(a, b Slot) int { return cmp.Compare(urgency(a), urgency(b)) })
	v.Slots = listed[:min(len(listed), drawnSlots)]
	v.Unlisted = len(listed) - len(v.Slots)

	entries := p.source.Entries()
	v.Totals = count(entries, v.Now, reach(entries))
	v.News = rows(entries[max(0, len(entries)-drawnNews):])
	slices.Reverse(v.News)
	return nil
}

// urgency sorts the list of slots, the first first.
func urgency(s Slot) int {
	return slices.Index([]slots.State{slots.Probing, slots.Grace, slots.WaitingForBinary, slots.Held}, s.State)
}

// life is the page of one slot.
func (p pages) life(ctx context.Context, q query, v *view) error {
	all, err := p.source.Slots(ctx)
	if err != nil {
		return err
	}
	state, free := Slot{}, true
	if i := slices.IndexFunc(all, func(s Slot) bool { return s.Server == q.Server }); i >= 0 {
		state, free = all[i], false
	}
	entries := p.source.Entries()
	reach := reach(entries)
	own := slices.DeleteFunc(entries, func(e slots.Entry) bool { return e.Server != q.Server })
	v.Lives = []life{newLife(own, reach, drawnEntries, q, state, free, v.Now)}
	return nil
}

// reach is how far back a journal goes: zero where it has everything.
func reach(entries []slots.Entry) time.Time {
	if len(entries) > 0 && entries[0].Seq > 1 {
		return entries[0].Time
	}
	return time.Time{}
}
