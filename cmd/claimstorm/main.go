// Command claimstorm is a client of the relay for people: it claims a server-id, or joins one as a phone, and says what happens.
package main

import (
	"context"
	"encoding/json"
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
	exitRefused     = 1 // the claim was refused, or the slot lost; the phone was turned away, or closed before its answers
	exitUsage       = 2 // the command line makes no sense
	exitUnreachable = 3 // no relay answered, or it did not let the claim in
)

type commands struct {
	Claim claim `cmd:"" help:"Claim a server-id, hold it, and say what happens to it. Ctrl-C gives it back."`
	Phone phone `cmd:"" help:"Join a server-id as a phone, send it frames, and print an answer to each."`
}

// relay is where to connect to.
type relay struct {
	ID  string `required:"" placeholder:"ID" help:"The server-id: 1 to 128 visible ASCII characters."`
	URL string `default:"ws://127.0.0.1:8080" help:"The relay (${default})."`
}

// Validate is called by kong.
func (r *relay) Validate() error {
	if !strings.HasPrefix(r.URL, "ws://") && !strings.HasPrefix(r.URL, "wss://") {
		return fmt.Errorf("--url %q: want ws://HOST:PORT or wss://HOST", r.URL)
	}
	return nil
}

// dial connects as a binary or as a phone, by the path and the headers that the two have for themselves.
func (r *relay) dial(ctx context.Context, path string, headers http.Header) (*websocket.Conn, bool) {
	headers.Set("X-Pyrycode-Server", r.ID)
	headers.Set("User-Agent", "claimstorm")
	conn, resp, err := websocket.Dial(ctx, strings.TrimSuffix(r.URL, "/")+path, &websocket.DialOptions{HTTPHeader: headers})
	if err != nil {
		r.explainNoUpgrade(resp, err)
		return nil, false
	}
	conn.SetReadLimit(maxMessage)
	return conn, true
}

// maxMessage is what the largest relay may send: a frame of 16 MiB in its envelope.
const maxMessage = 16<<20 + 4<<10

type claim struct {
	relay   `embed:""`
	Echo    bool          `help:"Send every frame of a phone back to it."`
	Version string        `default:"claimstorm" help:"What to send as the binary's version (${default})."`
	Within  time.Duration `default:"6s" help:"Unrefused for so long, the claim counts as granted: the wire has no word for it (${default}, the relay's probe timeout and some)."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c commands
	parser := kong.Must(&c, kong.Name("claimstorm"), kong.Description("A client of a relay, to try it by hand: a binary that claims, or a phone that joins."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	parsed, err := parser.Parse(args)
	if err == nil && c.Claim.Within <= 0 {
		err = fmt.Errorf("--within %q: want a positive duration such as 6s", c.Claim.Within)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "claimstorm:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if parsed.Command() == "claim" {
		return c.Claim.run(ctx)
	}
	return c.Phone.run(ctx)
}

// say prints a line with the time: this is a diary.
func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (c *claim) run(ctx context.Context) int {
	say("claiming %q at %s", c.ID, c.URL)
	conn, ok := c.dial(ctx, "/v1/server", http.Header{"X-Pyrycode-Version": {c.Version}})
	if !ok {
		return exitUnreachable
	}
	defer func() { _ = conn.CloseNow() }()
	say("connected; unless it is refused within %s, the slot is mine", c.Within)
	end := make(chan error, 1)
	go func() { end <- c.read(ctx, conn) }() // reading answers the relay's pings, its probes among them
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

// read reads until the connection ends, and answers phones if it is to. (Its context is not ctx: the library cuts a connection
// whose read is cancelled, and the relay would get no close frame.)
func (c *claim) read(ctx context.Context, conn *websocket.Conn) error {
	ctx = context.WithoutCancel(ctx)
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var e struct {
			Conn  string          `json:"conn_id"`
			Frame json.RawMessage `json:"frame,omitempty"`
			Code  int             `json:"close_code,omitempty"`
		}
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("the relay sent what is no envelope, %.100q: %w", b, err)
		}
		if e.Frame == nil {
			say("phone %s is gone (%d)", e.Conn, e.Code)
			continue
		}
		say("phone %s says %.100s", e.Conn, e.Frame)
		if !c.Echo {
			continue
		}
		answer, err := json.Marshal(e)
		if err == nil {
			err = conn.Write(ctx, websocket.MessageText, answer)
		}
		if err != nil {
			return err
		}
	}
}

type phone struct {
	relay  `embed:""`
	Device string   `default:"claimstorm" help:"What to send as the device's name (${default})."`
	Frames []string `arg:"" name:"frame" help:"What to send: each a JSON value."`
}

func (p *phone) run(ctx context.Context) int {
	conn, ok := p.dial(ctx, "/v1/client", http.Header{"X-Pyrycode-Token": {"claimstorm"}, "X-Pyrycode-Device-Name": {p.Device}})
	if !ok {
		return exitUnreachable
	}
	defer func() { _ = conn.CloseNow() }()
	for _, frame := range p.Frames {
		if err := conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
			break // the reading below says why
		}
	}
	for range p.Frames {
		_, b, err := conn.Read(ctx)
		if err != nil {
			explainEnd(err)
			return exitRefused
		}
		fmt.Printf("%s\n", b)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "done")
	return 0
}

func (r *relay) explainNoUpgrade(resp *http.Response, err error) {
	switch {
	case resp == nil:
		say("no relay answers at %s: %v", r.URL, err)
	case resp.StatusCode == http.StatusBadRequest:
		say("the relay does not accept these headers (400): an id is 1 to 128 visible ASCII characters, a version printable ones")
	case resp.Header.Get("Retry-After") != "":
		say("the relay has no room or time now (%s): try again in %s s", resp.Status, resp.Header.Get("Retry-After"))
	default:
		say("the relay did not let us in: %s", resp.Status)
	}
}

func explainEnd(err error) {
	var ce websocket.CloseError
	switch {
	case !errors.As(err, &ce):
		say("the connection is gone, without a close frame: %v", err)
	case ce.Code == 4409:
		say("refused (4409 %q): somebody else holds it, and has just proven to be alive", ce.Reason)
	case ce.Code == 4404:
		say("turned away (4404 %q): no binary holds it; a phone would try again later", ce.Reason)
	case ce.Code == websocket.StatusGoingAway:
		say("closed (1001 %q): the relay is going away; whoever is not here to try would dial again", ce.Reason)
	default:
		say("closed (%d %q): see docs/protocol.md 6", ce.Code, ce.Reason)
	}
}
