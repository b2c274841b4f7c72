package report

import (
	"bufio"
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"

	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// TestPipeGetsALineEachFiveSeconds, and one at the end.
func TestPipeGetsALineEachFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, false, "storm", 500)
		for round := range int64(500) {
			p.Set(round+1, "3,210 claims/s\n\x1b[2J")
			<-time.After(25 * time.Millisecond)
		}
		p.Close()
		want := "   5.0s  storm  40 %  3,210 claims/s��[2J\n  10.0s  storm  80 %  3,210 claims/s��[2J\n  12.5s  storm 100 %  3,210 claims/s��[2J\n"
		if b.String() != want {
			t.Errorf("the pipe got\n%q; want\n%q", b.String(), want)
		}
	})
}

// TestTerminalGetsABar, which is gone when the summary comes, also after a run that was cut short or went on past its total.
func TestTerminalGetsABar(t *testing.T) {
	t.Setenv("TERM", "xterm") // a dumb one is no terminal
	for _, done := range []int64{200, 500, 900} {
		ours, theirs, err := pty.Open()
		if err != nil {
			t.Skipf("no pseudo-terminal here: %v", err)
		}
		if !IsTerminal(theirs) || WantsBar(theirs) {
			t.Error("a bar for a terminal without a width")
		}
		if err := pty.Setsize(theirs, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
			t.Fatal(err)
		}
		if !WantsBar(theirs) {
			t.Error("no bar for a terminal of 80 columns")
		}
		lines := make(chan string)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(ours); s.Scan(); {
				lines <- s.Text()
			}
		}()

		p := NewProgress(theirs, true, "storm", 500)
		p.Set(done, "3,210 claims/s, and more than a line can hold of whatever there is")
		bar := regexp.MustCompile(`storm +\d+ % ?\[=+>?-*\] [\dhms]+ +3,210 claims/s, and more than a line …`)
		var drawn string
		for !bar.MatchString(drawn) {
			drawn = <-lines
		}
		if w := columns.StringWidth(ansi.ReplaceAllString(drawn, "")); w > 80 {
			t.Errorf("the bar has %d columns: %q", w, drawn)
		}
		closed := make(chan struct{})
		go func() { // what it draws must be read
			p.Close()
			_, _ = theirs.WriteString("PASS\n")
			close(closed)
		}()
		var after string
		for !strings.Contains(after, "PASS") {
			after = <-lines
		}
		<-closed
		if strings.Contains(after, "storm") || !strings.Contains(after, "\x1b[") {
			t.Errorf("the bar is not taken away: %q", after)
		}
		theirs.Close()
		ours.Close()
		for range lines { // until its goroutine has ended
		}
	}
}
