// Package client dials a relay: as a binary, which claims a server-id, or as a phone, which joins one.
//
//	Dialer   where to connect, and as whom; Binary and Phone open one connection
//	Binary   a claim, and the slot once it is granted: envelopes come and go
//	Phone    frames come and go
//	Keep     dials again, with back-off, whatever ends, until an error says to stop
//	Advise   what an error asks for: another try, or none (docs/protocol.md 6)
//
// It knows the relay by docs/protocol.md alone and shares no code with it, so that what is built upon it can find the relay's faults.
// A program that keeps receiving does all that the relay asks of it: pings are answered while a Receive is under way, and
// only then.
package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// What holds where a Dialer says nothing else.
const (
	DefaultDialWithin = 30 * time.Second
	DefaultPingEvery  = 25 * time.Second
	DefaultPongWithin = 30 * time.Second
	DefaultMaxMessage = 256<<10 + 4<<10 // a frame and its envelope, as the relay bounds them by default
)

// Dialer says where to connect, and as whom. Its fields are not to be changed once it dials; it may dial many times at once.
type Dialer struct {
	URL       string // ws://HOST:PORT or wss://HOST
	ServerID  string // 1 to 128 visible ASCII characters
	UserAgent string // not empty

	DialWithin time.Duration // how long TCP, TLS and the upgrade may take together; 0 is DefaultDialWithin
	MaxMessage int64         // the largest message to take, in bytes; 0 is DefaultMaxMessage
	PingEvery  time.Duration // how often to ask whether the relay lives; 0 is DefaultPingEvery, negative never
	PongWithin time.Duration // how long such a ping may go unanswered before the relay counts as dead; 0 is DefaultPongWithin
	HTTPClient *http.Client  // for TLS settings and proxies; nil is http.DefaultClient. No redirect is followed
}

// Binary claims the server-id for a binary of that version (1 to 128 printable ASCII characters). That it returns means that
// the claim has begun, no more: the wire has no word for a grant, and a refusal comes from Receive, as a CloseError with the code
// Claimed. The context bounds the dialling only.
func (d *Dialer) Binary(ctx context.Context, version string) (*Binary, error) {
	c, err := d.dial(ctx, "/v1/server", http.Header{"X-Pyrycode-Version": {version}})
	if err != nil {
		return nil, err
	}
	return &Binary{c}, nil
}

// Phone joins the server-id. The token must not be empty; the device's name, at most 256 bytes, may be. The context bounds the
// dialling only.
func (d *Dialer) Phone(ctx context.Context, token, device string) (*Phone, error) {
	header := http.Header{"X-Pyrycode-Token": {token}}
	if device != "" {
		header.Set("X-Pyrycode-Device-Name", device)
	}
	c, err := d.dial(ctx, "/v1/client", header)
	if err != nil {
		return nil, err
	}
	return &Phone{c}, nil
}

func (d *Dialer) dial(ctx context.Context, path string, header http.Header) (*conn, error) {
	header.Set("X-Pyrycode-Server", d.ServerID)
	header.Set("User-Agent", d.UserAgent)
	within, cancel := context.WithTimeout(ctx, cmp.Or(d.DialWithin, DefaultDialWithin))
	defer cancel()
	ws, resp, err := websocket.Dial(within, strings.TrimSuffix(d.URL, "/")+path, &websocket.DialOptions{HTTPClient: d.httpClient(), HTTPHeader: header})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, &HTTPError{Status: resp.StatusCode, RetryAfter: retryAfter(resp)}
	case err != nil:
		return nil, fmt.Errorf("dial %s as %q: %w", d.URL, d.ServerID, err)
	}
	ws.SetReadLimit(cmp.Or(d.MaxMessage, DefaultMaxMessage))
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	c := &conn{ws: ws, end: end}
	if every := cmp.Or(d.PingEvery, DefaultPingEvery); every > 0 {
		go c.keepalive(life, every, cmp.Or(d.PongWithin, DefaultPongWithin))
	}
	return c, nil
}

// httpClient follows no redirect: it would take the token there, wherever that is.
func (d *Dialer) httpClient() *http.Client {
	c := *cmp.Or(d.HTTPClient, http.DefaultClient)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// retryAfter is what the relay asks to wait, 0 where it says nothing that can be read.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// conn is what both ends share.
type conn struct {
	ws  *websocket.Conn
	end context.CancelFunc // of the keepalive
}

// keepalive pings, and cuts a connection whose pong does not come. It ends with the connection.
func (c *conn) keepalive(life context.Context, every, within time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(life, within)
		err := c.ws.Ping(ctx)
		cancel()
		if err != nil {
			c.CloseNow()
			return
		}
	}
}

func (c *conn) receive(ctx context.Context) ([]byte, error) {
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		c.CloseNow() // also after a message over the limit, for which the library leaves TCP open
		return nil, ended(err)
	}
	return b, nil
}

func (c *conn) send(ctx context.Context, b []byte) error {
	if err := c.ws.Write(ctx, websocket.MessageText, b); err != nil {
		return ended(err)
	}
	return nil
}

// Close sends a close frame and waits for the answer, at most some seconds. A binary's slot is in grace when it returns nil.
func (c *conn) Close(code int, reason string) error {
	defer c.end()
	if err := c.ws.Close(websocket.StatusCode(code), reason); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// CloseNow ends the connection without a word. It may be called at any time, also twice.
func (c *conn) CloseNow() {
	c.end()
	_ = c.ws.CloseNow()
}

// Binary is the connection of a daemon: a claim that waits, or the holder of its slot.
type Binary struct{ *conn }

// Receive waits for what a phone sent, or for the news that one is gone. Only one goroutine may receive, and it should do so at all
// times: a binary that does not cannot prove that it is alive, and may lose its slot. An end of ctx ends the connection.
func (b *Binary) Receive(ctx context.Context) (Envelope, error) {
	m, err := b.receive(ctx)
	if err != nil {
		return Envelope{}, err
	}
	return parseEnvelope(m)
}

// Send sends to a phone. It may be called from many goroutines. An end of ctx ends the connection.
func (b *Binary) Send(ctx context.Context, e Envelope) error {
	m, err := e.append(nil)
	if err != nil {
		return err
	}
	return b.send(ctx, m)
}

// Phone is the connection of a phone.
type Phone struct{ *conn }

// Receive waits for a frame of the binary. Only one goroutine may receive. An end of ctx ends the connection.
func (p *Phone) Receive(ctx context.Context) ([]byte, error) { return p.receive(ctx) }

// Send sends a frame, which must be one JSON value, to the binary. It may be called from many goroutines. An end of ctx ends the
// connection.
func (p *Phone) Send(ctx context.Context, frame []byte) error { return p.send(ctx, frame) }
