package report

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// IsTerminal says whether f is a screen that somebody looks at.
func IsTerminal(f *os.File) bool {
	return os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// WantsBar says whether a bar can be drawn on f: not on a terminal that does not say how wide it is.
func WantsBar(f *os.File) bool {
	width, _, err := term.GetSize(int(f.Fd()))
	return IsTerminal(f) && err == nil && width > 0
}

// WantsColour says whether f may get colours (https://no-color.org).
func WantsColour(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && IsTerminal(f) }

// lineEvery is how often a pipe gets a line.
const lineEvery = 5 * time.Second

// statusWidth is what the bar and its decoration leave of a line.
const statusWidth = 38

// Progress tells whoever waits how far a run is: a bar on a terminal, elsewhere a plain line each five seconds. Its methods may be
// called from any goroutine.
type Progress struct {
	title   string
	started time.Time
	total   int64

	mu     sync.Mutex // guards the two below
	done   int64
	status string

	bars   *mpb.Progress // nil in a pipe
	bar    *mpb.Bar
	stop   chan struct{} // closed by Close; ends the goroutine of lines, which Close waits for
	closed sync.WaitGroup
}

// NewProgress begins to tell of a run of total steps: rounds, claims, or milliseconds.
func NewProgress(w io.Writer, terminal bool, title string, total int64) *Progress {
	p := &Progress{title: title, started: time.Now(), total: max(total, 1), stop: make(chan struct{})}
	if terminal {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(200*time.Millisecond))
		p.bar = p.bars.New(p.total, mpb.BarStyle(), mpb.BarWidth(22),
			mpb.PrependDecorators(decor.Name(title+" "), decor.Percentage(decor.WC{W: 5})),
			mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO), decor.Any(func(decor.Statistics) string { return "  " + clip(p.said(), statusWidth) })),
			mpb.BarRemoveOnComplete())
		return p
	}
	p.closed.Go(func() { p.lines(w) })
	return p
}

func (p *Progress) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Set says how many steps are done, and in a few words what they brought.
func (p *Progress) Set(done int64, status string) {
	p.mu.Lock()
	p.done, p.status = min(done, p.total), plain(status)
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetCurrent(min(done, p.total-1)) // the last step is Close's: a bar that is full ends by itself
	}
}

// Close takes the bar away, or writes a last line. Call it before anything else is written to where the progress goes.
func (p *Progress) Close() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
		return
	}
	close(p.stop)
	p.closed.Wait()
}

// lines writes a line each five seconds, and one at the end.
func (p *Progress) lines(w io.Writer) {
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.line(w)
		case <-p.stop:
			p.line(w)
			return
		}
	}
}

func (p *Progress) line(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(w, "%6.1fs  %s %3d %%  %s\n", time.Since(p.started).Seconds(), p.title, 100*p.done/p.total, p.status)
}
