package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// slotList is `pyrycode-relay slots`: who holds what.
type slotList struct {
	operator
	Watch bool `help:"Ask again each second."`

	table *table
}

// watchPause is the time between two looks.
const watchPause = time.Second

// clearScreen goes to the top of an empty screen.
const clearScreen = "\x1b[H\x1b[2J"

// slotState is what /slots shows of one.
type slotState struct {
	Server  string     `json:"server_id"`
	State   string     `json:"state"`
	Epoch   int64      `json:"epoch"`
	Conn    string     `json:"conn_id"`
	Since   time.Time  `json:"since"`
	Heard   *time.Time `json:"last_heard"`
	Waiting int        `json:"waiting"`
	Phones  []string   `json:"phones"`
	Queued  int64      `json:"bytes_queued"`
}

var stateColours = map[string]string{"held": green, "probing": yellow, "grace": grey, "waiting_for_binary": grey}

func runSlots(args []string) int {
	s := slotList{table: newTable(os.Stdout)}
	if err := parse(&s, args, "pyrycode-relay slots", "Every slot that is not free: its state, since when, and who holds it."); err != nil {
		return fail(exitConfig, err)
	}
	return untilInterrupted(s.run)
}

func (s *slotList) run(ctx context.Context) error {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for shown := false; ; {
		switch err := s.show(ctx); {
		case !s.Watch, err != nil && (!shown || !passes(ctx, err)):
			return err
		case err != nil:
			fmt.Fprintf(os.Stderr, "pyrycode-relay: %v; asking again\n", err)
		default:
			shown = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *slotList) show(ctx context.Context) error {
	resp, err := s.ask(ctx, http.MethodGet, "/slots", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var all []json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return fmt.Errorf("read the slots: %w", err)
	}
	rows := [][]cell{heading("SERVER-ID", "STATE", "SINCE", "HEARD", "EPOCH", "WAITING", "PHONES", "QUEUED", "CONN-ID")}
	now := time.Now()
	for _, one := range all {
		if s.JSON {
			if _, err := fmt.Printf("%s\n", one); err != nil {
				return err
			}
			continue
		}
		var v slotState
		if err := json.Unmarshal(one, &v); err != nil {
			return fmt.Errorf("read a slot: %w", err)
		}
		rows = append(rows, v.row(now))
	}
	if s.JSON {
		return nil
	}
	if s.Watch && isTerminal(os.Stdout) {
		fmt.Print(clearScreen)
	}
	return s.table.print(rows...)
}

func (v *slotState) row(now time.Time) []cell {
	heard := "-"
	if v.Heard != nil {
		heard = ago(now.Sub(*v.Heard))
	}
	return []cell{
		{v.Server, plain},
		{v.State, stateColours[v.State]},
		{ago(now.Sub(v.Since)), plain},
		{heard, plain},
		{fmt.Sprint("e", v.Epoch), plain},
		{fmt.Sprint(v.Waiting), plain},
		{fmt.Sprint(len(v.Phones)), plain},
		{fmt.Sprint(v.Queued), plain},
		{v.Conn, plain},
	}
}

// ago is a duration as people say it: to the second, or below one as less than that.
func ago(d time.Duration) string {
	if d < time.Second {
		return "<1s"
	}
	return d.Truncate(time.Second).String()
}
