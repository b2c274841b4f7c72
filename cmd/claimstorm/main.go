// Command claimstorm hammers a relay and checks what it saw: claims in storms and in churn, idle claims, frames. By hand it claims a
// server-id, or joins one as a phone, and says what happens.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// The exit codes, which scripts may rely on. Those of a load are its verdict's (report.Verdict).
const (
	exitFailed      = 1 // a check failed; by hand: refused, or the slot lost, or turned away
	exitUsage       = 2 // the command line makes no sense, or this machine cannot do what it asks
	exitUnreachable = 3 // no relay answered, or it did not let us in, or it died
)

type commands struct {
	Run     quick   `cmd:"" help:"Try everything for a while; without --url on a relay of its own."`
	Storm   storm   `cmd:"" help:"Many claims on the same ids at the same moment: one winner each, and a proper answer to the others."`
	Churn   churn   `cmd:"" help:"Claims that come and go, in every way; their history is checked."`
	Hold    hold    `cmd:"" help:"Many idle claims: what one costs the relay, and whether it keeps them."`
	Relay   pairs   `cmd:"" help:"Frames between phones and binaries: all of them, in order, unchanged; how many and how fast."`
	Compare compare `cmd:"" help:"The same load on two relays in turn."`
	Claim   claim   `cmd:"" help:"Claim a server-id, hold it, and say what happens to it. Ctrl-C gives it back."`
	Phone   phone   `cmd:"" help:"Join a server-id as a phone, send it frames, and print an answer to each."`
}

// command is one of them. It gives the exit code.
type command interface{ run(e *environment) int }

// environment is what a command finds around it.
type environment struct {
	ctx            context.Context // ends with the first Ctrl-C; the second one kills
	args           []string
	stdout, stderr io.Writer
	bars, colour   bool   // on stderr, on stdout
	relayPath      string // of the relay that we started
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	e := &environment{
		ctx: ctx, args: append([]string{"claimstorm"}, args...), stdout: os.Stdout, stderr: os.Stderr,
		bars: report.WantsBar(os.Stderr), colour: report.WantsColour(os.Stdout),
	}
	c, err := parse(args)
	if err != nil {
		return e.usage(err)
	}
	return c.run(e)
}

// parse gives the command that args ask for.
func parse(args []string) (command, error) {
	var all commands
	parser := kong.Must(&all, kong.Name("claimstorm"),
		kong.Description("Hammers a relay, and checks what it saw.\n\nExit codes: 0 every check held, 1 one failed, 2 usage, 3 the relay could not be reached or died, 4 the run proves nothing."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	parsed, err := parser.Parse(args)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "claimstorm: "), parser.Model.Name+" "))
	}
	return parsed.Selected().Target.Addr().Interface().(command), nil
}

func (e *environment) usage(err error) int {
	_, _ = fmt.Fprintln(e.stderr, "claimstorm:", err)
	return exitUsage
}

// say prints a line with the time: the commands by hand keep a diary.
func (e *environment) say(format string, args ...any) {
	_, _ = fmt.Fprintf(e.stdout, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}
