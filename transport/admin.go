package transport

import (
	"fmt"
	"net"
	"net/http"
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
	q := r.URL.Query()
	after, err1 := number(q.Get("after"), 0, 1<<62, 0)
	limit, err2 := number(q.Get("limit"), 1, int64(s.cfg.Journal), int64(s.cfg.Journal))
	var err3 error
	if id := q.Get("server_id"); id != "" {
		_, err3 = messages.ParseServerID(id)
	}
	for name, err := range map[string]error{"after": err1, "limit": err2, "server_id": err3} {
		if err != nil {
			http.Error(w, fmt.Sprintf("%s: %v", name, err), http.StatusBadRequest)
			return
		}
	}
	writeJSON(w, s.relay.Journal().Select(messages.ServerID(q.Get("server_id")), after, int(limit)))
}

// number reads a query value from least to most; absent it is otherwise.
func number(s string, least, most, otherwise int64) (int64, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: want a whole number from %d to %d", s, least, most)
	}
	return n, nil
}
