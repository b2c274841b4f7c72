package admin

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// claims is GET /claims (docs/protocol.md 5).
func (p *Pages) claims(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery, int64(p.cfg.Journal))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, p.cfg.Relay.Journal().Select(q))
}

// leastMost is how many entries may be asked for of a journal that keeps fewer: who asks does not know what it keeps.
const leastMost = 4096

// parseQuery refuses what it does not know: a misspelt parameter would answer another question than the one asked. With most 0 the
// number of entries is not for the query to say.
func parseQuery(raw string, most int64) (q actors.Query, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("%w: want a query such as server_id=home&after=10&limit=100", err)
	}
	q.Limit = int(most)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][0]
		var limit int64
		switch {
		case len(values[name]) > 1:
			err = errors.New("want it once")
		case name == "server_id" && value != "":
			q.Server, err = messages.ParseServerID(value)
		case name == "server_id":
		case name == "decided":
			q.Decided, err = parseDecided(value)
		case name == "since":
			q.Since, err = moment(value)
		case name == "until":
			q.Until, err = moment(value)
		case name == "after":
			q.After, err = number(value, 0, math.MaxInt64)
		case name == "limit" && most > 0:
			limit, err = number(value, 1, max(most, leastMost))
			q.Limit = int(limit)
		case name == "newest" && most > 0 && values["limit"] != nil:
			err = errors.New("want it, or limit: the one counts from the newest, the other from the oldest")
		case name == "newest" && most > 0:
			limit, err = number(value, 1, max(most, leastMost))
			q.Limit, q.Newest = int(limit), true
		case most > 0:
			err = errors.New("want server_id, decided, since, until, after, limit or newest")
		default:
			err = errors.New("want server_id, decided, since, until or after")
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// parseDecided reads decisions with commas between them.
func parseDecided(words string) (all []machine.Decided, err error) {
	for word := range strings.SplitSeq(words, ",") {
		d, err := machine.ParseDecided(word)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func moment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, fmt.Errorf("%q: want a time such as 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}

// number reads a query value from least to most.
func number(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: want a whole number from %d to %d", s, least, most)
	}
	return n, nil
}
