package admin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/viewer"
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
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", fmt.Errorf("%w: want server_id=home, or nothing", err)
	}
	id := values["server_id"]
	if len(values) > len(id) || len(id) > 1 {
		return "", errors.New("want server_id once, or nothing")
	}
	if len(id) == 0 || id[0] == "" {
		return "", nil
	}
	return messages.ParseServerID(id[0])
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

// formBytes is the longest body of a form, of a token and a server-id.
const formBytes = 4 << 10

// release is POST /slots/{server_id}/release, and POST /slots/release with the server-id in the query or, as the status page sends it,
// in a form: the operator throws a holder out.
func (p *Pages) release(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	token, byForm := tokenOf(r)
	if p.cfg.Token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(p.cfg.Token)) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pyrycode-relay admin"`)
		http.Error(w, "want the token of the file that the relay names when it starts, as Authorization: Bearer or in a form", http.StatusUnauthorized)
		return
	}
	id := r.PathValue("server_id")
	if id == "" {
		id = r.FormValue("server_id")
	}
	server, err := messages.ParseServerID(id)
	if err != nil {
		http.Error(w, "server_id: "+err.Error(), http.StatusBadRequest)
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
	case byForm:
		http.Redirect(w, r, viewer.Address(&e), http.StatusSeeOther)
	default:
		writeJSON(w, http.StatusOK, e)
	}
}

// tokenOf is the token that r shows: in its header, or in the body of a form. In a query it would be kept by whatever keeps addresses.
func tokenOf(r *http.Request) (token string, byForm bool) {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return token, false
	}
	return strings.TrimSpace(r.PostFormValue("token")), true
}
