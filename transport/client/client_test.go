package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/transport"
	"github.com/pyrycode/pyrycode-relay/transport/client"
	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// startRelay runs a relay, and gives its URL and what ends it.
func startRelay() (url string, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	up, down := make(chan string, 1), make(chan error, 1)
	cfg := transport.Config{
		Listen:  "127.0.0.1:0",
		Slots:   slots.Config{Grace: 300 * time.Millisecond, ProbeTimeout: time.Hour, ProbeInterval: time.Millisecond, MaxPhones: 1},
		Journal: 100, Heartbeat: time.Minute, HeartbeatTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		MaxFrameBytes: 1024, PhoneBacklog: 1 << 20, MaxQueuedBytes: 1 << 20, MaxConnections: 100, DrainTimeout: time.Minute,
		Log:     slog.New(slog.DiscardHandler),
		Started: func(l, _ net.Addr) { up <- "ws://" + l.String() },
	}
	go func() { down <- transport.Run(ctx, context.Background(), cfg) }()
	return <-up, func() { cancel(); <-down }
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// claim claims, and waits for the grant, which the wire has no word for: a phone that came sooner would be turned away.
func claim(ctx context.Context, d *client.Dialer) *client.Binary {
	b, err := d.Binary(ctx, "1")
	must(err)
	for {
		resp, err := http.Get("http" + strings.TrimPrefix(d.URL, "ws") + "/healthz")
		must(err)
		var health struct {
			Binaries int `json:"connected_binaries"`
		}
		must(json.NewDecoder(resp.Body).Decode(&health))
		resp.Body.Close()
		if health.Binaries == 1 {
			http.DefaultClient.CloseIdleConnections()
			return b
		}
	}
}

// A daemon claims its server-id and answers its phones, for as long as that makes sense.
func Example() {
	relay, stop := startRelay() // yours has a URL already
	ctx, enough := context.WithCancel(context.Background())

	daemon := client.Dialer{URL: relay, ServerID: "home", UserAgent: "daemon/1.0"}
	done := make(chan error)
	go func() {
		dial := func(ctx context.Context) (*client.Binary, error) { return daemon.Binary(ctx, "1.0") }
		done <- client.Keep(ctx, client.DefaultBackoff, dial, func(ctx context.Context, b *client.Binary) error {
			for {
				e, err := b.Receive(ctx)
				if err != nil {
					return err // Keep asks Advise: another try, or the end
				}
				if e.Gone() {
					continue
				}
				fmt.Printf("a phone says %s\n", e.Frame)
				if err := b.Send(ctx, client.Envelope{ConnID: e.ConnID, Frame: []byte(`"and good day to you"`)}); err != nil {
					return err
				}
			}
		})
	}()

	phones := client.Dialer{URL: relay, ServerID: "home", UserAgent: "phone/1.0"}
	dial := func(ctx context.Context) (*client.Phone, error) { return phones.Phone(ctx, "secret", "Ada's phone") }
	_ = client.Keep(ctx, client.Backoff{Least: time.Millisecond, Most: time.Second}, dial, func(ctx context.Context, p *client.Phone) error {
		if err := p.Send(ctx, []byte(`{"hello": "world"}`)); err != nil {
			return err
		}
		frame, err := p.Receive(ctx) // 4404 while the daemon has not claimed yet: Keep tries again
		if err != nil {
			return err
		}
		fmt.Printf("the daemon says %s\n", frame)
		enough() // without which Keep would dial again
		return p.Close(1000, "done")
	})
	fmt.Println(<-done)
	stop()
	// Output:
	// a phone says {"hello": "world"}
	// the daemon says "and good day to you"
	// context canceled
}

func TestEndsAreTyped(t *testing.T) {
	url, stop := startRelay()
	defer stop()
	ctx := t.Context()
	home := client.Dialer{URL: url, ServerID: "home", UserAgent: "test"}
	holder := claim(ctx, &home)
	defer holder.CloseNow()
	go func() {
		for { // answers probes
			if _, err := holder.Receive(ctx); err != nil {
				return
			}
		}
	}()
	first, err := home.Phone(ctx, "t", "")
	must(err)
	defer first.CloseNow()
	for _, c := range []struct {
		name   string
		end    func() error
		want   error
		advice client.Advice
	}{
		{"a second claim", func() error {
			b, err := home.Binary(ctx, "1")
			must(err)
			_, err = b.Receive(ctx)
			return err
		}, &client.CloseError{Code: client.Claimed, Reason: "server-id already claimed"}, client.Stop},
		{"a second phone", func() error {
			p, err := home.Phone(ctx, "t", "")
			must(err)
			_, err = p.Receive(ctx)
			return err
		}, &client.CloseError{Code: client.TooManyPhones, Reason: "too many phones"}, client.Stop},
		{"a phone of nobody", func() error {
			away := home
			away.ServerID = "away"
			p, err := away.Phone(ctx, "t", "")
			must(err)
			_, err = p.Receive(ctx)
			return err
		}, &client.CloseError{Code: client.NoServer, Reason: "no server with that id"}, client.Retry},
		{"a wrong id", func() error {
			wrong := home
			wrong.ServerID = "two words"
			_, err := wrong.Binary(ctx, "1")
			return err
		}, &client.HTTPError{Status: 400}, client.Stop},
		{"a message that is too big", func() error {
			must(first.Send(ctx, []byte(`"`+strings.Repeat("x", 1025)+`"`)))
			_, err := first.Receive(ctx)
			return err
		}, &client.CloseError{Code: client.TooBig, Reason: "message too big"}, client.Retry},
	} {
		err := c.end()
		if fmt.Sprint(err) != c.want.Error() || client.Advise(err) != c.advice {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, err, client.Advise(err), c.want, c.advice)
		}
	}
}

// TestAdviceIsThatOfThePage: each row of the table of close codes that says to stop or to try again.
func TestAdviceIsThatOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	must(err)
	rows := regexp.MustCompile("(?m)^\\| (\\d{4}) \\| (?:`([^`]*)`)? ?\\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 10 {
		t.Fatalf("found only %d rows", len(rows))
	}
	for _, row := range rows {
		code, _ := strconv.Atoi(row[1])
		want := client.Retry
		if strings.HasPrefix(row[3], "stop") {
			want = client.Stop
		}
		if got := client.Advise(fmt.Errorf("wrapped: %w", &client.CloseError{Code: code, Reason: row[2]})); got != want && !strings.HasPrefix(row[3], "as ") {
			t.Errorf("%s: %v, want %v", row[0], got, want)
		}
	}
	for err, want := range map[error]client.Advice{
		&client.CloseError{Code: 4001}:   client.Agreed,
		&client.CloseError{Code: 1005}:   client.Retry,
		&client.HTTPError{Status: 503}:   client.Retry,
		&client.HTTPError{Status: 429}:   client.Retry,
		&client.HTTPError{Status: 421}:   client.Stop,
		errors.New("connection refused"): client.Retry,
		context.DeadlineExceeded:         client.Retry,
		context.Canceled:                 client.Stop,
	} {
		if got := client.Advise(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	d := client.Dialer{URL: "ws" + strings.TrimPrefix(srv.URL, "http"), ServerID: "home", UserAgent: "test"}
	_, err := d.Binary(t.Context(), "1")
	if he := (*client.HTTPError)(nil); !errors.As(err, &he) || *he != (client.HTTPError{Status: 503, RetryAfter: 5 * time.Second}) {
		t.Errorf("%v", err)
	}
}

// TestTokenIsTakenNowhereElse: a redirect is an answer like others, and no reason to dial there.
func TestTokenIsTakenNowhereElse(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s is asked for, with the token %q", r.URL, r.Header.Get("X-Pyrycode-Token"))
	}))
	defer elsewhere.Close()
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer relay.Close()
	d := &client.Dialer{URL: "ws" + strings.TrimPrefix(relay.URL, "http"), ServerID: "home", UserAgent: "test"}
	_, err := d.Phone(t.Context(), "secret", "")
	if he, ok := errors.AsType[*client.HTTPError](err); !ok || he.Status != 307 || client.Advise(err) != client.Stop {
		t.Errorf("got %v, want the redirect as an HTTPError that says stop", err)
	}
}

// TestFramesAreNotTouched: encoding/json would drop the space, and write \u003c.
func TestFramesAreNotTouched(t *testing.T) {
	url, stop := startRelay()
	defer stop()
	d := client.Dialer{URL: url, ServerID: "home", UserAgent: "test"}
	b := claim(t.Context(), &d)
	defer b.CloseNow()
	p, err := d.Phone(t.Context(), "t", "")
	must(err)
	defer p.CloseNow()
	const frame = `{"a": "<&>",  "b": [1, 2]}`
	must(p.Send(t.Context(), []byte(frame)))
	e, err := b.Receive(t.Context())
	must(err)
	if string(e.Frame) != frame {
		t.Errorf("the binary got %s", e.Frame)
	}
	must(b.Send(t.Context(), e))
	got, err := p.Receive(t.Context())
	must(err)
	if string(got) != frame {
		t.Errorf("the phone got %s", got)
	}
	for _, dropped := range []client.Envelope{
		{},
		{ConnID: e.ConnID},
		{Frame: []byte("1")},
		{ConnID: e.ConnID, Frame: []byte("{")},
		{ConnID: e.ConnID, Frame: []byte("\"\xff\"")},
		{ConnID: e.ConnID, CloseCode: -1},
		{ConnID: e.ConnID, CloseCode: 1 << 16},
	} {
		if err := b.Send(t.Context(), dropped); err == nil {
			t.Errorf("%+v was sent, and the relay drops it without a word", dropped)
		}
	}
	must(b.Send(t.Context(), client.Envelope{PushWake: &client.PushWake{Platform: "fcm", Token: "t"}}))
	must(b.Send(t.Context(), client.Envelope{ConnID: e.ConnID, CloseCode: 4001}))
	if _, err := p.Receive(t.Context()); client.Advise(err) != client.Agreed {
		t.Errorf("the phone was closed with %v", err)
	}
}

// TestSilentRelayIsLeft: one that upgrades, and never reads or answers again.
func TestSilentRelayIsLeft(t *testing.T) {
	left := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		must(err)
		<-left
		c.CloseNow()
	}))
	defer srv.Close()
	d := client.Dialer{URL: "ws" + strings.TrimPrefix(srv.URL, "http"), ServerID: "home", UserAgent: "test", PingEvery: time.Millisecond, PongWithin: 10 * time.Millisecond}
	b, err := d.Binary(t.Context(), "1")
	must(err)
	if _, err := b.Receive(t.Context()); client.Advise(err) != client.Retry {
		t.Errorf("%v", err)
	}
	close(left)
}

// TestDiallingEnds, also where the relay takes a connection and says nothing, and nobody set a deadline.
func TestDiallingEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer l.Close()
	d := client.Dialer{URL: "ws://" + l.Addr().String(), ServerID: "home", UserAgent: "test", DialWithin: 10 * time.Millisecond}
	if _, err := d.Binary(context.Background(), "1"); !errors.Is(err, context.DeadlineExceeded) || client.Advise(err) != client.Retry {
		t.Errorf("%v", err)
	}
}

type dialled struct{ closed *int }

func (d dialled) CloseNow() { *d.closed++ }

// TestKeepDialsAgain, and waits longer each time, until somebody says to stop.
func TestKeepDialsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		closed, began := 0, time.Now()
		ended := time.Now()
		err := client.Keep(t.Context(), client.Backoff{Least: time.Second, Most: 8 * time.Second},
			func(context.Context) (dialled, error) {
				waits = append(waits, time.Since(ended))
				ended = time.Now()
				if len(waits) < 6 {
					return dialled{}, errors.New("nobody listens")
				}
				if len(waits) == 7 {
					return dialled{}, &client.HTTPError{Status: 503, RetryAfter: time.Minute}
				}
				return dialled{&closed}, nil
			},
			func(context.Context, dialled) error {
				if len(waits) == 8 {
					return &client.CloseError{Code: client.Claimed}
				}
				<-time.After(10 * time.Second)
				ended = time.Now()
				return errors.New("reset")
			})
		if client.Advise(err) != client.Stop || closed != 2 || time.Since(began) > 3*time.Minute {
			t.Errorf("%v, closed %d after %s", err, closed, time.Since(began))
		}
		for i, most := range []time.Duration{0, 1, 2, 4, 8, 8, 0, 60} {
			if most *= time.Second; waits[i] > most || waits[i] < most/2 {
				t.Errorf("try %d came after %s, want up to %s", i, waits[i], most)
			}
		}
	})
}

// TestNoBackoffIsTheDefault, and not a loop without a pause.
func TestNoBackoffIsTheDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		err := client.Keep(t.Context(), client.Backoff{}, func(context.Context) (dialled, error) {
			if tries++; tries == 3 {
				return dialled{}, &client.CloseError{Code: client.Claimed}
			}
			return dialled{}, errors.New("nobody listens")
		}, nil)
		if took := time.Since(began); client.Advise(err) != client.Stop || took < 1500*time.Millisecond || took > 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestKeepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := client.Keep(ctx, client.DefaultBackoff, func(context.Context) (dialled, error) { return dialled{}, errors.New("nobody listens") }, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
