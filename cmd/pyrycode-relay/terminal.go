package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// The colours of cells, as a terminal takes them.
const (
	plain  = ""
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	grey   = "\x1b[90m"
	reset  = "\x1b[0m"
)

// cell is one of a table.
type cell struct{ text, colour string }

// table prints aligned columns, with colours if it prints to a terminal.
type table struct {
	out    io.Writer
	colour bool
	widths []int // of what has been seen so far
	headed bool  // decisions have their heading
}

func newTable(out *os.File) *table {
	return &table{out: out, colour: isTerminal(out) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// print prints rows under each other, as wide as the widest of them and of those before.
func (t *table) print(rows ...[]cell) error {
	for _, row := range rows {
		for len(t.widths) < len(row) {
			t.widths = append(t.widths, 0)
		}
		for i, c := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		for i, c := range row {
			pad := t.widths[i] - utf8.RuneCountInString(c.text) + 2
			if i == len(row)-1 {
				pad = 0
			}
			if t.colour && c.colour != plain {
				c.text = c.colour + c.text + reset
			}
			text.WriteString(c.text + strings.Repeat(" ", pad))
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(t.out, text.String())
	return err
}

// heading is a row of names.
func heading(names ...string) (row []cell) {
	for _, name := range names {
		row = append(row, cell{name, grey})
	}
	return row
}

// decision is an entry of the journal, as /claims shows it.
type decision struct {
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Server  string    `json:"server_id"`
	Conn    string    `json:"conn_id"`
	Asked   string    `json:"asked"`
	Decided string    `json:"decided"`
	Epoch   int64     `json:"epoch"`
	Reason  string    `json:"reason"`
}

var decisionHeading = heading("SEQ", "TIME", "SERVER-ID", "ASKED", "DECIDED", "EPOCH", "CONN-ID", "REASON")

// decisionColours are of those that people look for.
var decisionColours = map[string]string{
	"granted": green, "attached": green, "refused": red, "failed": red, "turned_away": red, "took_over": yellow, "released": grey, "left": grey,
}

// decisionWidths are where the columns begin: who follows sees them stay.
var decisionWidths = []int{4, 26, 12, 16, 11, 5, 24}

// decisionRow reads an entry as /claims shows it.
func decisionRow(data []byte) ([]cell, error) {
	var d decision
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read a decision: %w", err)
	}
	return []cell{
		{fmt.Sprint(d.Seq), plain},
		{d.Time.Local().Format("2006-01-02 15:04:05.000000"), grey},
		{d.Server, plain},
		{d.Asked, plain},
		{d.Decided, decisionColours[d.Decided]},
		{fmt.Sprint("e", d.Epoch), plain},
		{d.Conn, plain},
		{d.Reason, plain},
	}, nil
}

// decisions prints entries: as rows below a heading, or where asJSON is set one a line, as they are.
func (t *table) decisions(asJSON bool, entries ...json.RawMessage) error {
	var rows [][]cell
	if !asJSON && !t.headed {
		t.headed, t.widths, rows = true, slices.Clone(decisionWidths), [][]cell{decisionHeading}
	}
	for _, e := range entries {
		if asJSON {
			if _, err := fmt.Fprintf(t.out, "%s\n", e); err != nil {
				return err
			}
			continue
		}
		row, err := decisionRow(e)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return t.print(rows...)
}
