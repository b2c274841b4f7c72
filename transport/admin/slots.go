package admin

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// slot is one of GET /slots (docs/protocol.md 5).
type slot struct {
	Server  messages.ServerID `json:"server_id"`
	State   machine.State     `json:"state"`
	Epoch   messages.Epoch    `json:"epoch"`
	Conn    messages.ConnID   `json:"conn_id"`
	Since   time.Time         `json:"since"`
	Heard   *time.Time        `json:"last_heard"`
	Waiting int               `json:"waiting"`
	Phones  []messages.ConnID `json:"phones"`
	Queued  int64             `json:"bytes_queued"`
}

// slots is GET /slots.
func (p *Pages) slots(w http.ResponseWriter, r *http.Request) {
	server, err := parseServer(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTimeout)
	defer cancel()
	census, err := p.cfg.Relay.Census(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	connections := p.cfg.Connections()
	all := []slot{}
	for i := range census.Slots {
		s := &census.Slots[i]
		if s.State() != "" && (server == "" || server == s.Server()) {
			all = append(all, describe(s, connections))
		}
	}
	writeJSON(w, http.StatusOK, all)
}

// parseServer reads a query that may name a server-id, and nothing else.
func parseServer(raw string) (messages.ServerID, error) {
	q, err := parseQuery(raw, 0)
	if err == nil && !reflect.DeepEqual(q, actors.Query{Server: q.Server}) {
		err = errors.New("want server_id, or nothing")
	}
	return q.Server, err
}

func describe(s *machine.Snapshot, connections map[messages.ConnID]Connection) slot {
	v := slot{
		Server: s.Server(), State: s.State(), Epoch: s.Epoch(), Conn: s.Holder(), Since: s.Since().UTC(), Waiting: s.Waiting(), Phones: s.Phones(),
	}
	if c, there := connections[v.Conn]; there && v.State != machine.Grace {
		heard := c.Heard.UTC()
		v.Heard, v.Queued = &heard, c.Queued
	}
	for _, phone := range v.Phones {
		v.Queued += connections[phone].Queued
	}
	return v
}

// release is POST /slots/{server_id}/release: the operator throws a holder out.
func (p *Pages) release(w http.ResponseWriter, r *http.Request) {
	if !p.mayChange(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pyrycode-relay admin"`)
		http.Error(w, "want the token of the file that the relay names when it starts, as Authorization: Bearer", http.StatusUnauthorized)
		return
	}
	server, err := messages.ParseServerID(r.PathValue("server_id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTimeout)
	defer cancel()
	e, released, err := p.cfg.Relay.Release(ctx, server)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case !released:
		http.Error(w, "nobody holds that slot", http.StatusNotFound)
	default:
		writeJSON(w, http.StatusOK, e)
	}
}

// mayChange reports whether r shows the token.
func (p *Pages) mayChange(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return p.cfg.Token != "" && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(p.cfg.Token)) == 1
}
