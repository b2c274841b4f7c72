// Package admin is what the relay shows its operator: the journal, live and past, the slots, the invariants, metrics and profiles, and
// the one thing that he may change, which is to throw out a holder (docs/protocol.md 5 and 7).
//
// Whatever is asked here, the registry is held up by no more than to copy a few words. Begin with [Pages.Handler], then read
// stream.go, where most of the care went.
package admin

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/viewer"
)

const (
	// answerTimeout bounds what a peer may take to take an answer: the journal's can be long.
	answerTimeout = 30 * time.Second
	// profileTimeout is the same for one that takes its time by itself.
	profileTimeout = 10 * time.Minute
	// registryTimeout bounds the wait for the registry, which is never busy for so long.
	registryTimeout = 5 * time.Second
)

// Config is what the pages are about.
type Config struct {
	Relay       *actors.Relay
	Journal     int    // how many decisions it keeps
	AllowRemote bool   // the listener may be reached under any name
	Token       string // what a request that changes something has to show; empty: nothing can be changed
	Connections func() map[messages.ConnID]Connection
	Checks      func() []Check // what is to be checked of the transport; behind what is here
	Build       string         // names the running program on the status page
}

// Connection is what a socket knows of itself.
type Connection struct {
	Heard  time.Time // when a byte last came from it
	Queued int64     // what waits to be written to it, in bytes
}

// Pages is the admin listener's contents.
type Pages struct {
	cfg     Config
	feed    *feed
	metrics http.Handler
}

// New makes the pages. Run has to be called beside, for as long as they are served.
func New(cfg Config) *Pages { return &Pages{cfg: cfg, feed: newFeed(cfg.Relay.Journal())} }

// Metrics says who answers /metrics. It is not in the Config since the pages have some of their own.
func (p *Pages) Metrics(h http.Handler) { p.metrics = h }

// Run feeds the streams until done is closed, and ends them.
func (p *Pages) Run(done <-chan struct{}) { p.feed.run(done) }

// Handler is the routes, behind the guard.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, d time.Duration, h http.Handler) {
		mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
			h.ServeHTTP(w, r)
		}))
	}
	answer("GET /claims", answerTimeout, http.HandlerFunc(p.claims))
	answer("GET /slots", answerTimeout, http.HandlerFunc(p.slots))
	answer("POST /slots/{server_id}/release", answerTimeout, http.HandlerFunc(p.release))
	answer("POST /slots/release", answerTimeout, http.HandlerFunc(p.release)) // for server-ids that no path can hold: ".", "..", "/"
	answer("GET /check", answerTimeout, http.HandlerFunc(p.check))
	mux.HandleFunc("GET /claims/stream", p.stream)
	answer("GET /metrics", answerTimeout, p.metrics)
	page := viewer.Handler(source{p}, p.cfg.Build)
	answer("GET /{$}", answerTimeout, page)
	answer("GET /viewer/", answerTimeout, page)
	answer("GET /debug/pprof/", profileTimeout, http.HandlerFunc(pprof.Index))
	answer("GET /debug/pprof/cmdline", profileTimeout, http.HandlerFunc(pprof.Cmdline))
	answer("GET /debug/pprof/profile", profileTimeout, http.HandlerFunc(pprof.Profile))
	answer("GET /debug/pprof/symbol", profileTimeout, http.HandlerFunc(pprof.Symbol))
	answer("GET /debug/pprof/trace", profileTimeout, http.HandlerFunc(pprof.Trace))
	return p.guarded(mux)
}

// guarded keeps out what a page of another origin has sent a browser for: under a name of its own, or to here by ours. No
// header lets such a page read an answer, and none lets it frame the status page.
func (p *Pages) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !p.cfg.AllowRemote && !isLoopback(r.Host):
			http.Error(w, "this listener answers to localhost, 127.0.0.1 and [::1] only", http.StatusMisdirectedRequest)
		case isForeign(r):
			http.Error(w, "this listener answers to no page of another origin", http.StatusForbidden)
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("X-Frame-Options", "DENY")
			w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
			h.ServeHTTP(w, r)
		}
	})
}

// isForeign reports whether a browser says that a page of another origin is behind r. To follow a link from there is not foreign, it is a
// person's act, and shows that person the page.
func isForeign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// isLoopback reports whether host, with or without a port, can only mean this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || host == "[::1]" || ip != nil && ip.IsLoopback()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to a peer that has left, nothing can be said
}
