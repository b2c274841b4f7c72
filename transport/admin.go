package transport

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// adminRoutes are the pages for the operator. A page of another origin can send a browser here under a name of its own, so
// the Host must be this machine's, unless the operator has opened the listener.
func (s *server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /claims", s.claims)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.cfg.AdminAllowRemote && !isLoopback(r.Host) {
			http.Error(w, "this listener answers to localhost, 127.0.0.1 and [::1] only", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isLoopback reports whether host, with or without a port, can only mean this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || host == "[::1]" || ip != nil && ip.IsLoopback()
}

// claims is GET /claims (docs/protocol.md 5).
func (s *server) claims(w http.ResponseWriter, r *http.Request) {
	q, err := parseClaimsQuery(r.URL.RawQuery, int64(s.cfg.Journal))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, s.relay.Journal().Select(q.server, q.after, int(q.limit)))
}

// claimsQuery is what may be asked of the journal.
type claimsQuery struct {
	server messages.ServerID // empty for all
	after  int64             // entries behind this one
	limit  int64             // so many, the oldest first
}

// parseClaimsQuery refuses what it does not know: a misspelt parameter would answer another question than the one asked.
func parseClaimsQuery(raw string, most int64) (q claimsQuery, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("%w: want a query such as server_id=home&after=10&limit=100", err)
	}
	q.limit = most
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][0]
		switch {
		case len(values[name]) > 1:
			err = errors.New("want it once")
		case name == "server_id" && value != "":
			q.server, err = messages.ParseServerID(value)
		case name == "server_id":
		case name == "after":
			q.after, err = number(value, 0, math.MaxInt64)
		case name == "limit":
			q.limit, err = number(value, 1, most)
		default:
			err = errors.New("want server_id, after or limit")
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// number reads a query value from least to most.
func number(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: want a whole number from %d to %d", s, least, most)
	}
	return n, nil
}
