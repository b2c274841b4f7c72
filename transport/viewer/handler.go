package viewer

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Source is the relay, as the page sees it. Any goroutine may call it.
type Source interface {
	// Slots is every slot that is not free, or that of server only, by server-id.
	Slots(ctx context.Context, server messages.ServerID) ([]Slot, error)
	// Entries is what the journal keeps, oldest first; of server only, unless it is empty. The slice is the caller's.
	Entries(server messages.ServerID) []slots.Entry
}

// policy lets the page load its own two files and talk to its own listener, and nothing else. No script stands in the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler serves the page at /, and what it loads. Who may ask is the business of whoever mounts it.
func Handler(source Source, build string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", pages{source, build})
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

type pages struct {
	source Source
	build  string
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, find, err := parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := view{Title: "slots", Build: p.build, Now: time.Now(), Find: find}
	if q.Server == "" {
		err = p.overview(r.Context(), &v)
	} else {
		v.Title = string(q.Server)
		err = p.life(r.Context(), q, &v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // an address has a server-id in it
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := v.write(w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// parse refuses what it does not know: a misspelt parameter would show another page than the one asked for.
func parse(r *http.Request) (q query, find string, err error) {
	q.Axis = byOrder
	for name, values := range r.URL.Query() {
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
			if q.Before, err = strconv.ParseInt(value, 10, 64); err == nil && q.Before < 0 {
				err = fmt.Errorf("%q: want a seq of the journal", value)
			}
		case name == "find" && len(value) <= messages.MaxHeaderChars:
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
func (p pages) overview(ctx context.Context, v *view) error {
	all, err := p.source.Slots(ctx, "")
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

	entries := p.source.Entries("")
	v.Totals = count(entries, v.Now)
	if len(entries) > 0 {
		v.Kept = entries[0].Seq
	}
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
	standing, err := p.source.Slots(ctx, q.Server)
	if err != nil {
		return err
	}
	state := Slot{}
	if len(standing) > 0 {
		state = standing[0]
	}
	v.Lives = []life{newLife(p.source.Entries(q.Server), drawnEntries, q, state, len(standing) == 0, v.Now)}
	return nil
}
