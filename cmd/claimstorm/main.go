// Command claimstorm is a client of the relay for people: it claims a server-id and says what happens to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coder/websocket"
)

// The exit codes, which scripts may rely on.
const (
	exitRefused     = 1 // the claim was refused, or the slot lost
	exitUsage       = 2 // the command line makes no sense
	exitUnreachable = 3 // no relay answered, or it did not let the claim in
)

type commands struct {
	Claim claim `cmd:"" help:"Claim a server-id, hold it, and say what happens to it. Ctrl-C gives it back."`
}

type claim struct {
	ID      string        `required:"" placeholder:"ID" help:"The server-id to claim: 1 to 128 visible ASCII characters."`
	URL     string        `default:"ws://127.0.0.1:8080" help:"The relay (${default})."`
	Version string        `default:"claimstorm" help:"What to send as the binary's version (${default})."`
	Within  time.Duration `default:"6s" help:"Unrefused for so long, the claim counts as granted: the wire has no word for it (${default}, the relay's probe timeout and some)."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c commands
	parser := kong.Must(&c, kong.Name("claimstorm"), kong.Description("A client that claims server-ids of a relay, to try it by hand."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	parsed, err := parser.Parse(args)
	if err == nil && c.Claim.Within <= 0 {
		err = fmt.Errorf("--within %q: want a positive duration such as 6s", c.Claim.Within)
	}
	if err == nil && !strings.HasPrefix(c.Claim.URL, "ws://") && !strings.HasPrefix(c.Claim.URL, "wss://") {
		err = fmt.Errorf("--url %q: want ws://HOST:PORT or wss://HOST", c.Claim.URL)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "claimstorm:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_ = parsed // there is one command
	return c.Claim.run(ctx)
}

// say prints a line with the time: this is a diary.
func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (c *claim) run(ctx context.Context) int {
	say("claiming %q at %s", c.ID, c.URL)
	conn, resp, err := websocket.Dial(ctx, strings.TrimSuffix(c.URL, "/")+"/v1/server", &websocket.DialOptions{HTTPHeader: http.Header{
		"X-Pyrycode-Server": {c.ID}, "X-Pyrycode-Version": {c.Version}, "User-Agent": {"claimstorm"},
	}})
	if err != nil {
		explainNoUpgrade(c, resp, err)
		return exitUnreachable
	}
	defer func() { _ = conn.CloseNow() }()
	say("connected; unless it is refused within %s, the slot is mine", c.Within)
	end := make(chan error, 1)
	go func() { end <- read(ctx, conn) }() // reading answers the relay's pings, its probes among them
	granted := time.NewTimer(c.Within)
	defer granted.Stop()
	for {
		select {
		case <-granted.C:
			say("holding %q: nobody refused it", c.ID)
		case <-ctx.Done():
			say("giving %q back", c.ID)
			_ = conn.Close(websocket.StatusNormalClosure, "done")
			return 0
		case err := <-end:
			if ctx.Err() != nil {
				say("gave %q back", c.ID)
				return 0
			}
			explainEnd(err)
			return exitRefused
		}
	}
}

// read reads until the connection ends. (Its context is not ctx: the library cuts a connection whose read is cancelled, and
// the relay would get no close frame.)
func read(ctx context.Context, conn *websocket.Conn) error {
	for {
		_, b, err := conn.Read(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		say("got a frame of %d bytes", len(b))
	}
}

func explainNoUpgrade(c *claim, resp *http.Response, err error) {
	switch {
	case resp == nil:
		say("no relay answers at %s: %v", c.URL, err)
	case resp.StatusCode == http.StatusBadRequest:
		say("the relay does not accept these headers (400): an id is 1 to 128 visible ASCII characters, a version printable ones")
	case resp.Header.Get("Retry-After") != "":
		say("the relay has no room or time now (%s): try again in %s s", resp.Status, resp.Header.Get("Retry-After"))
	default:
		say("the relay did not let the claim in: %s", resp.Status)
	}
}

func explainEnd(err error) {
	var ce websocket.CloseError
	switch {
	case !errors.As(err, &ce):
		say("the connection is gone, without a close frame: %v", err)
	case ce.Code == 4409:
		say("refused (4409 %q): somebody else holds it, and has just proven to be alive", ce.Reason)
	case ce.Code == websocket.StatusGoingAway:
		say("closed (1001 %q): the relay is going away; a daemon would dial again", ce.Reason)
	default:
		say("closed (%d %q): a daemon would dial again", ce.Code, ce.Reason)
	}
}
