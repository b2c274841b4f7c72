package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
)

// journal follows the relay's own account while a run goes on, since the relay keeps only the newest of it (docs/protocol.md 5).
type journal struct {
	url    string
	client *http.Client
	last   int64 // the newest number that was read

	stop    context.CancelFunc // of follow
	done    sync.WaitGroup
	entries []journalEntry
	lost    error // why the account is not whole
}

// journalEntry is an entry as the relay tells it.
type journalEntry struct {
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Server  string    `json:"server_id"`
	Conn    string    `json:"conn_id"`
	Asked   string    `json:"asked"`
	Decided string    `json:"decided"`
	Epoch   int64     `json:"epoch"`
	Reason  string    `json:"reason"`
	Proof   *struct {
		Probe    int64     `json:"probe"`
		Sent     time.Time `json:"sent"`
		Answered time.Time `json:"answered"`
		Conn     string    `json:"conn_id"`
	} `json:"proof"`
}

const (
	journalPage    = 4096
	journalEvery   = 50 * time.Millisecond
	journalWithin  = 30 * time.Second
	journalEntries = 4 << 20 // the most that a run keeps: about a gigabyte
)

// openJournal skips what was decided before the run, and follows from there.
func openJournal(ctx context.Context, admin string) (*journal, error) {
	j := &journal{url: strings.TrimSuffix(admin, "/") + "/claims", client: &http.Client{Timeout: journalWithin, Transport: &http.Transport{}}}
	for {
		page, err := j.page(ctx)
		if err != nil {
			return nil, fmt.Errorf("--admin %s: %w", admin, err)
		}
		if len(page) == 0 {
			break
		}
		j.last = page[len(page)-1].Seq
	}
	ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	j.done.Go(func() {
		for pause(ctx, journalEvery) && j.lost == nil {
			j.catchUp(ctx)
		}
	})
	return j, nil
}

// page reads what follows the last entry, at most so much.
func (j *journal) page(ctx context.Context) (page []journalEntry, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?after=%d&limit=%d", j.url, j.last, journalPage), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the journal: %w", err)
	}
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the journal: %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&page); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return page, nil
}

// catchUp reads until nothing is left. A gap at the beginning of a page is what the relay has forgotten already; a gap within one is
// for the checker to find.
func (j *journal) catchUp(ctx context.Context) {
	for {
		page, err := j.page(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			j.lost = err
			return
		case len(page) == 0:
			return
		case page[0].Seq > j.last+1:
			j.lost = fmt.Errorf("the relay forgot its entries %d to %d before they could be read: start it with a larger --journal", j.last+1, page[0].Seq-1)
			return
		case len(j.entries)+len(page) > journalEntries:
			j.lost = errors.New("the run is too long for it: more than 4,194,304 entries")
			return
		}
		j.entries = append(j.entries, page...)
		j.last = page[len(page)-1].Seq
		if len(page) < journalPage {
			return
		}
	}
}

// finish reads the rest, and moves everything onto the run's clock.
func (j *journal) finish(ctx context.Context, c *clock) ([]history.Entry, error) {
	j.stop()
	j.done.Wait()
	defer j.client.CloseIdleConnections()
	if j.lost == nil {
		j.catchUp(context.WithoutCancel(ctx))
	}
	if j.lost != nil {
		return nil, j.lost
	}
	entries := make([]history.Entry, len(j.entries))
	for i, e := range j.entries {
		entries[i] = history.Entry{Seq: e.Seq, Time: c.at(e.Time), Server: e.Server, Conn: e.Conn, Asked: e.Asked, Decided: e.Decided, Epoch: e.Epoch, Reason: e.Reason}
		if p := e.Proof; p != nil {
			entries[i].Proof = &history.Proof{Probe: p.Probe, Sent: c.at(p.Sent), Answered: c.at(p.Answered), Conn: p.Conn}
		}
	}
	return entries, nil
}
