package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pyrycode/pyrycode-relay/transport/client"
)

// byHand is what the two commands by hand have in common.
type byHand struct {
	ID  string `required:"" placeholder:"ID" help:"The server-id: 1 to 128 visible ASCII characters."`
	URL string `default:"ws://127.0.0.1:8080" help:"The relay: ws://HOST:PORT or wss://HOST (${default})."`
	CA  string `placeholder:"FILE" type:"existingfile" help:"Trust the certificates in this file, beside the system's."`
}

// Validate is called by kong.
func (h *byHand) Validate() error { return (&target{URL: h.URL}).validate() }

func (h *byHand) dialer() (*client.Dialer, error) {
	d := &client.Dialer{URL: h.URL, ServerID: h.ID, UserAgent: "claimstorm", MaxMessage: maxMessage}
	if h.CA != "" {
		trusted, err := trust(h.CA, "")
		if err != nil {
			return nil, err
		}
		d.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trusted}}
	}
	return d, nil
}

// maxMessage is what the largest relay may send: a frame of 16 MiB in its envelope.
const maxMessage = 16<<20 + 4<<10

// explainNoUpgrade says why there is no connection.
func (h *byHand) explainNoUpgrade(e *environment, err error) int {
	var answer *client.HTTPError
	switch {
	case e.ctx.Err() != nil:
		e.say("interrupted: %s has not answered yet", h.URL)
	case !errors.As(err, &answer):
		e.say("no relay answers at %s: %s", h.URL, explain(err))
	case answer.Status == 400:
		e.say("the relay does not accept these headers (400): an id is 1 to 128 visible ASCII characters, a version printable ones")
	case answer.RetryAfter > 0:
		e.say("the relay has no room or time now (%d): try again in %s", answer.Status, answer.RetryAfter)
	default:
		e.say("the relay did not let us in: %d", answer.Status)
	}
	return exitUnreachable
}

// explainEnd says why a connection is over.
func explainEnd(e *environment, err error) int {
	var ce *client.CloseError
	switch {
	case e.ctx.Err() != nil:
		e.say("interrupted")
	case !errors.As(err, &ce):
		e.say("%v", err)
	case ce.Code == client.Claimed:
		e.say("refused (4409 %q): somebody else holds it, and has just proven to be alive", ce.Reason)
	case ce.Code == client.NoServer:
		e.say("turned away (4404 %q): no binary holds it; a phone would try again later", ce.Reason)
	case ce.Code == client.GoingAway:
		e.say("closed (1001 %q): the relay is going away; whoever is not here to try would dial again", ce.Reason)
	default:
		e.say("closed (%d %q): see docs/protocol.md 6", ce.Code, ce.Reason)
	}
	return exitFailed
}

type claim struct {
	byHand  `embed:""`
	Echo    bool          `help:"Send every frame of a phone back to it."`
	Version string        `default:"claimstorm" help:"What to send as the binary's version (${default})."`
	Within  time.Duration `default:"6s" help:"Unrefused for so long, the claim counts as granted: the wire has no word for it (${default}, the relay's probe timeout and some)."`
}

// Validate is called by kong.
func (c *claim) Validate() error {
	if c.Within <= 0 {
		return fmt.Errorf("--within %q: want a positive duration such as 6s", c.Within)
	}
	return c.byHand.Validate()
}

func (c *claim) run(e *environment) int {
	dialer, err := c.dialer()
	if err != nil {
		return e.usage(err)
	}
	e.say("claiming %q at %s", c.ID, c.URL)
	binary, err := dialer.Binary(e.ctx, c.Version)
	if err != nil {
		return c.explainNoUpgrade(e, err)
	}
	defer binary.CloseNow()
	e.say("connected; unless it is refused within %s, the slot is mine", c.Within)
	end := make(chan error, 1)
	go func() { end <- c.read(e, binary) }() // reading answers the relay's pings, its probes among them
	granted := time.NewTimer(c.Within)
	defer granted.Stop()
	for {
		select {
		case <-granted.C:
			e.say("holding %q: nobody refused it", c.ID)
		case <-e.ctx.Done():
			e.say("giving %q back", c.ID)
			_ = binary.Close(1000, "done")
			return 0
		case err := <-end:
			if e.ctx.Err() != nil {
				e.say("gave %q back", c.ID)
				return 0
			}
			return explainEnd(e, err)
		}
	}
}

// read reads until the connection ends, and answers phones if it is to. (Its context is not e's: the end of that would cut the
// connection, and the relay would get no close frame.)
func (c *claim) read(e *environment, binary *client.Binary) error {
	ctx := context.WithoutCancel(e.ctx)
	for {
		m, err := binary.Receive(ctx)
		switch {
		case err != nil:
			return err
		case m.Gone():
			e.say("phone %s is gone (%d)", m.ConnID, m.CloseCode)
			continue
		}
		e.say("phone %s says %.100s", m.ConnID, m.Frame)
		if c.Echo {
			if err := binary.Send(ctx, m); err != nil {
				return err
			}
		}
	}
}
