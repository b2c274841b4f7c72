package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// claims is `pyrycode-relay claims`: the journal, in a terminal.
type claims struct {
	operator
	ServerID string `placeholder:"ID" help:"Of this server-id only."`
	Decided  string `placeholder:"WORDS" help:"Of these decisions only, with commas between them, such as refused,took_over."`
	Newest   int    `default:"100" placeholder:"N" help:"At most so many of what there is (${default})."`
	Follow   bool   `help:"Then go on with what is decided from now on."`

	table *table
	last  int64
}

// reconnectPause is how long a follower waits before it dials again.
const reconnectPause = time.Second

func runClaims(args []string) int {
	c := claims{table: newTable(os.Stdout)}
	if err := parse(&c, args, "pyrycode-relay claims", "What the registry decided, oldest first. Its numbers are those to cite."); err != nil {
		return fail(exitConfig, err)
	}
	return untilInterrupted(c.run)
}

func (c *claims) run(ctx context.Context) error {
	if err := c.past(ctx); err != nil || !c.Follow {
		return err
	}
	for {
		err := c.follow(ctx)
		if !passes(ctx, err) {
			return errors.Join(ctx.Err(), err)
		}
		fmt.Fprintf(os.Stderr, "pyrycode-relay: the stream has ended (%v); dialling again\n", err)
		select {
		case <-ctx.Done():
		case <-time.After(reconnectPause):
		}
	}
}

func (c *claims) filter() url.Values {
	q := url.Values{}
	if c.ServerID != "" {
		q.Set("server_id", c.ServerID)
	}
	if c.Decided != "" {
		q.Set("decided", c.Decided)
	}
	return q
}

// past prints what there is.
func (c *claims) past(ctx context.Context) error {
	q := c.filter()
	q.Set("newest", strconv.Itoa(c.Newest))
	resp, err := c.ask(ctx, http.MethodGet, "/claims", q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var entries []json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&entries); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if n := len(entries); n > 0 {
		c.seen(entries[n-1])
	}
	return c.table.decisions(c.JSON, entries...)
}

func (c *claims) seen(entry json.RawMessage) {
	var d decision
	if json.Unmarshal(entry, &d) == nil {
		c.last = d.Seq
	}
}

// follow prints what comes, until the stream ends.
func (c *claims) follow(ctx context.Context) error {
	resp, err := c.ask(ctx, http.MethodGet, "/claims/stream", c.filter(), http.Header{"Last-Event-ID": {strconv.FormatInt(c.last, 10)}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	event := ""
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ": ")
		switch name {
		case "id":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				c.last = n
			}
		case "event":
			event = value
		case "data":
			if err := c.event(event, []byte(value)); err != nil {
				return err
			}
		}
	}
	if in.Err() != nil {
		return in.Err()
	}
	return errors.New("the relay has closed it")
}

func (c *claims) event(event string, data json.RawMessage) error {
	if event == "decision" {
		return c.table.decisions(c.JSON, data)
	}
	fmt.Fprintf(os.Stderr, "pyrycode-relay: %s %s\n", event, data)
	return nil
}
