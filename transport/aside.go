package transport

import (
	"context"
	"log/slog"
)

// maxAsides is how many lines may wait to be written aside. Each event among them has a limit a second.
const maxAsides = 256

// aside is a handler of log lines that are said by who must not wait for whoever reads the log: the actor of a connection, or
// somebody who refuses a request. They wait here in their place; where too many do, they are lost, and what they tell
// of is counted all the same.
type aside struct {
	slog.Handler // that writes them in the end
	lines        chan<- line
}

// line is one that waits.
type line struct {
	slog.Record
	to slog.Handler
}

// newAside starts what writes such lines to h, until the set is done with.
func (set *sockets) newAside(h slog.Handler) *slog.Logger {
	lines := make(chan line, maxAsides)
	set.goroutine(func() { writeAsides(lines, set.done) })
	return slog.New(aside{h, lines})
}

// writeAsides leaves nothing unwritten that was said before done.
func writeAsides(lines <-chan line, done <-chan struct{}) {
	write := func(l line) { _ = l.to.Handle(context.Background(), l.Record) }
	for {
		select {
		case l := <-lines:
			write(l)
		case <-done:
			for len(lines) > 0 {
				write(<-lines)
			}
			return
		}
	}
}

// Handle implements slog.Handler.
func (a aside) Handle(_ context.Context, r slog.Record) error {
	select {
	case a.lines <- line{r.Clone(), a.Handler}:
	default:
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (a aside) WithAttrs(attrs []slog.Attr) slog.Handler {
	return aside{a.Handler.WithAttrs(attrs), a.lines}
}

// WithGroup implements slog.Handler.
func (a aside) WithGroup(name string) slog.Handler { return aside{a.Handler.WithGroup(name), a.lines} }
