package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/pyrycode/pyrycode-relay/actors/replay"
	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/transport/viewer"
)

// replayed is `pyrycode-relay replay`: a record, handled again by the rules of this program.
type replayed struct {
	File     string `arg:"" help:"What --record has written."`
	ServerID string `placeholder:"ID" help:"Show this server-id only."`
	Until    int64  `placeholder:"SEQ" help:"Stop behind the message that made this entry."`
	HTML     string `name:"html" placeholder:"OUT" help:"Draw it, as the status page does, into this file."`
	JSON     bool   `help:"One JSON object a line, for pipes."`

	table *table
}

// toldDifferences is how many are told: behind the first, most follow from it.
const toldDifferences = 5

func runReplay(args []string) int {
	r := replayed{table: newTable(os.Stdout)}
	err := parse(&r, args, "pyrycode-relay replay",
		"Handle a record again, by the rules of this program: print its journal, and say on which message something else is decided than was recorded. Exit 1 if so.")
	if err != nil {
		return fail(exitConfig, err)
	}
	differs, err := r.run()
	if err != nil {
		return fail(exitFailure, err)
	}
	if differs {
		return exitFailure
	}
	return 0
}

func (r *replayed) run() (differs bool, err error) {
	f, err := os.Open(r.File)
	if err != nil {
		return false, fmt.Errorf("read the record: %w", err)
	}
	result, err := replay.Run(f, r.Until)
	_ = f.Close() // it was only read
	if err != nil {
		return false, fmt.Errorf("replay %s: %w", r.File, err)
	}
	entries := slices.DeleteFunc(result.Entries, func(e slots.Entry) bool { return r.ServerID != "" && string(e.Server) != r.ServerID })
	if err := r.print(entries); err != nil {
		return false, err
	}
	if r.HTML != "" {
		if err := r.draw(entries); err != nil {
			return false, err
		}
	}
	for _, gap := range result.Gaps {
		fmt.Fprintf(os.Stderr, "%s: %s\n", r.File, gap)
	}
	for i, d := range result.Differs {
		if i == toldDifferences {
			fmt.Fprintf(os.Stderr, "and on %d messages more\n", len(result.Differs)-i)
			break
		}
		fmt.Fprintf(os.Stderr, "%s:%d: another decision\nthe message   %s\nwas recorded  %s\nis decided    %s\n",
			r.File, d.Line, d.Message, orNothing(d.Recorded), orNothing(d.Here))
	}
	return len(result.Differs) > 0, nil
}

func orNothing(decisions string) string {
	if decisions == "" {
		return "(nothing)"
	}
	return decisions[:len(decisions)-1]
}

func (r *replayed) print(entries []slots.Entry) error {
	all := make([]json.RawMessage, len(entries))
	for i := range entries {
		var err error
		if all[i], err = json.Marshal(&entries[i]); err != nil {
			return fmt.Errorf("number %d: %w", entries[i].Seq, err)
		}
	}
	return r.table.decisions(r.JSON, all...)
}

func (r *replayed) draw(entries []slots.Entry) (err error) {
	out, err := os.Create(r.HTML)
	if err != nil {
		return fmt.Errorf("draw the record: %w", err)
	}
	defer func() {
		if closed := out.Close(); err == nil && closed != nil {
			err = fmt.Errorf("draw the record: %w", closed)
		}
	}()
	return viewer.HTML(out, r.File, entries)
}
