package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// columns measures text as it stands in a terminal, whatever the locale of whoever runs this.
var columns = &runewidth.Condition{StrictEmojiNeutral: true}

// plain makes a peer's text safe for a terminal: one line, and nothing in it that a terminal obeys.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

// clip cuts s to a width, and shows that it did.
func clip(s string, width int) string { return columns.Truncate(s, width, "…") }

// pad fills s up to a width with blanks.
func pad(s string, width int) string { return columns.FillRight(clip(s, width), width) }

// wrap breaks s between words into lines of a width, at most so many; the last one is clipped.
func wrap(s string, width, most int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(lines) < most-1 && columns.StringWidth(line)+1+columns.StringWidth(word) > width {
			lines = append(lines, clip(line, width))
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, clip(line, width))
}

// count writes 1234567 as 1,234,567.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := len(s) % 3
	if n < 0 {
		first = (len(s)-1)%3 + 1
	}
	groups := []string{}
	if first > 0 {
		groups = append(groups, s[:first])
	}
	for i := first; i < len(s); i += 3 {
		groups = append(groups, s[i:i+3])
	}
	return strings.Replace(strings.Join(groups, ","), "-,", "-", 1)
}

// number writes a measure to three digits, or as a whole number with its thousands apart.
func number(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "-"
	case math.Abs(f) >= 1e15:
		return strconv.FormatFloat(f, 'g', 3, 64)
	case math.Abs(f) >= 999.5:
		return count(int64(math.Round(f)))
	case math.Abs(f) >= 99.95 || f == math.Trunc(f):
		return strconv.FormatFloat(f, 'f', 0, 64)
	case math.Abs(f) >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	default:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
}

// duration writes a duration to three digits, in the unit that fits it.
func duration(d time.Duration) string {
	switch abs := max(d, -d); {
	case d == 0:
		return "0"
	case abs < time.Microsecond:
		return number(float64(d)) + " ns"
	case abs < time.Millisecond:
		return number(float64(d)/1e3) + " µs"
	case abs < time.Second:
		return number(float64(d)/1e6) + " ms"
	case abs < 10*time.Minute:
		return number(d.Seconds()) + " s"
	default:
		return d.Round(time.Second).String()
	}
}

// size writes a number of bytes to three digits.
func size(bytes float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if math.Abs(bytes) < 1024 {
			return number(bytes) + " " + unit
		}
		bytes /= 1024
	}
	return number(bytes) + " GiB"
}

// inUnit writes a measure of a Comparison.
func inUnit(f float64, unit string) string {
	switch unit {
	case "s":
		return duration(time.Duration(f * float64(time.Second)))
	case "bytes":
		return size(f)
	default:
		return strings.TrimSpace(number(f) + " " + plain(unit))
	}
}

func percent(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) }
