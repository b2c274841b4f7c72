package transport

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors"
	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
	"github.com/pyrycode/pyrycode-relay/transport/push"
)

// Config is everything that a relay is told. Nothing in it is checked here: package main does, before a socket is opened.
type Config struct {
	Listen           string // host:port of plain HTTP, or empty for none
	HTTPSListen      string // host:port of TLS, for Certificate or ACME; without both there is none
	Certificate      Certificate
	ACME             ACME
	AdminListen      string // host:port, or empty for none
	AdminAllowRemote bool
	AdminToken       func() string // called when the admin listens: what who changes something there has to show; nil: nobody may

	Slots            slots.Config
	Journal          int // decisions kept, at least 1
	Heartbeat        time.Duration
	HeartbeatTimeout time.Duration
	ReadTimeout      time.Duration
	WriteTimeout     time.Duration
	MaxFrameBytes    int
	PhoneBacklog     int // bytes that may wait for a phone
	MaxQueuedBytes   int64
	MaxConnections   int
	DrainTimeout     time.Duration
	DrainSpread      time.Duration

	// Inherited are listeners that were opened by somebody else, by their names. They are closed when a shutdown begins.
	Inherited map[string]net.Listener
	// Alive is called each AliveEvery, for as long as the registry handles what it is sent. It may be nil.
	AliveEvery time.Duration
	Alive      func()

	ProxyProtocol       bool           // each connection begins with a PROXY header
	TrustForwardedFor   bool           // X-Forwarded-For says where a request comes from
	TrustedProxies      []netip.Prefix // believed in both
	RateBurst           int            // upgrades of one address at once; 0: no limit
	RatePerMinute       int            // and so many more a minute; 0: no limit
	RateLoopback        bool           // this machine's own addresses too
	MaxConnectionsPerIP int            // 0: no limit

	PushKey []byte // of the service account that wakes phones; empty: none are woken

	Record      string // the file to record the registry's messages in; empty: none
	RecordBytes int64  // how large it may grow before it is rotated

	Log     *slog.Logger
	Build   Build
	Started func(relay, admin net.Addr) // called once, when both listen; admin is nil where there is none

	// Of tests, on machines that may stand still for longer than any of these: where wakes go, what is in place of headerTimeout, and
	// what is in place of lastWords for close frames.
	pushEndpoint             string
	arriveWithin, partWithin time.Duration
}

// Build names the running program.
type Build struct{ Version, Commit, Built string }

const (
	// envelopeSlack is how much larger than a frame a binary's envelope may be (docs/protocol.md 3).
	envelopeSlack = 4 << 10
	// closeLinger is how long TCP may outlive a close frame of the relay's (docs/protocol.md 3).
	closeLinger = 5 * time.Second
	// headerTimeout and headerBytes bound a request before anything else is known of it (docs/protocol.md 7).
	headerTimeout = 5 * time.Second
	headerBytes   = 8 << 10
	// answerTimeout bounds what a peer may take to take an answer. An upgraded connection leaves both bounds behind.
	answerTimeout = 30 * time.Second
	// adminBuffer is what the kernel may hold for one that asks the admin listener and does not read, and lastWords how long what such
	// a one is told may take to go out at the end; and close frames, where nothing else may.
	adminBuffer = 64 << 10
	lastWords   = time.Second
	// retryAfter is what a client is told that comes at a bad time.
	retryAfter = 5 * time.Second
	// spareGoroutines is how many there may be beside those of connections: one or two for each request, of which streams of the journal
	// stay, and some of the relay's own.
	spareGoroutines = 5000
)

// server is one running relay: its listeners, its sockets and its actors.
type server struct {
	cfg                  Config
	aside                *slog.Logger // for who must not wait
	relay                *actors.Relay
	recorder             *recording // nil: nobody records
	sockets              *sockets
	ofBinaries, ofPhones *socketKind
	limits               *limits
	push                 *push.Sender
	door                 *door
	began                time.Time
	inherited            []net.Listener // of those that the configuration has, what is served
	unwatch              func()

	mu       sync.Mutex     // guards leaving and arriving
	leaving  bool           // a shutdown has begun: no upgrade is let in
	arriving int            // upgrades that were let in, and are not among the sockets yet, or have not failed yet
	arrived  sync.WaitGroup // the same, for a shutdown to wait for
}

// Run serves until ctx is done, whose cause is why, then shuts down in order (docs/protocol.md 7): not ready, no upgrades; slots given back;
// connections closed; admin listener last. It returns nil after a whole shutdown. Where cut is done too, it ends at once.
func Run(ctx, cut context.Context, cfg Config) error {
	cfg.arriveWithin, cfg.partWithin = cmp.Or(cfg.arriveWithin, headerTimeout), cmp.Or(cfg.partWithin, lastWords)
	set, err := newSockets(socketConfig{
		Heartbeat: cfg.Heartbeat, HeartbeatTimeout: cfg.HeartbeatTimeout,
		ReadTimeout: cfg.ReadTimeout, WriteTimeout: cfg.WriteTimeout,
		Linger: closeLinger, MaxQueuedBytes: cfg.MaxQueuedBytes,
	})
	if err != nil {
		return err
	}
	aside := set.newAside(cfg.Log.Handler())
	s := &server{
		cfg: cfg, aside: aside, sockets: set, began: time.Now(), limits: newLimits(&cfg, aside), door: newDoor(doorFor(cfg.MaxConnections)),
		ofBinaries: &socketKind{maxMessage: cfg.MaxFrameBytes + envelopeSlack},
		ofPhones:   &socketKind{maxMessage: cfg.MaxFrameBytes, backlog: int64(cfg.PhoneBacklog), paused: true},
	}
	ac := actors.Config{Slots: cfg.Slots, Journal: cfg.Journal, Log: cfg.Log, Aside: aside, MaxFrameBytes: cfg.MaxFrameBytes, PhoneBacklogBytes: cfg.PhoneBacklog}
	if cfg.Record != "" {
		if s.recorder, err = newRecording(cfg.Record, cfg.RecordBytes, cfg.Build.Version, cfg.Log); err != nil {
			set.stop()
			return err
		}
		ac.Recorder = s.recorder
		set.goroutine(s.recorder.run)
	}
	s.push = push.New(push.Config{
		Key: cfg.PushKey, Endpoint: cfg.pushEndpoint, Log: aside, Count: func(o tally.PushOutcome) { s.relay.Counts().Pushes[o].Add(1) },
	})
	ac.Wake = func(server messages.ServerID, platform, token string) bool {
		return s.push.Wake(string(server), platform, token)
	}
	s.relay = actors.Start(ac)
	err = s.serve(ctx, cut)
	// Not deferred: a panic would wait here, unheard, for goroutines that nobody has told to end.
	s.push.Close()
	if s.recorder != nil {
		s.recorder.stop()
	}
	set.stop()
	return err
}

func (s *server) serve(ctx, cut context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	open, err := s.listen(ctx, life)
	if err != nil {
		s.relay.Stop()
		return err
	}
	var adminAddr net.Addr
	errs := make(chan error, len(open))
	for _, l := range open {
		if l.name == adminName {
			defer s.serveAdmin(l.Listener, errs)() // last: the journal of a shutdown can be read while it goes on
			adminAddr = l.Addr()
			continue
		}
		public := s.http(l.handler)
		l.door.guard(public)
		s.sockets.goroutine(func() { errs <- public.Serve(l) })
		defer public.Close()
	}
	s.unwatch = s.sockets.watch(s.cfg.AliveEvery, s.relay.RoundTrip, s.cfg.Alive)
	if s.cfg.Started != nil {
		s.cfg.Started(open[len(open)-1].Addr(), adminAddr)
	}
	select {
	case err = <-errs:
	case <-ctx.Done():
		s.aside.Info("shutting_down", "signal", context.Cause(ctx).Error())
	}
	s.handOver()
	s.shutDown(cut)
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return context.Cause(cut)
	}
	return err
}

// serveAdmin serves the admin pages on l, until what it returns is called.
func (s *server) serveAdmin(l net.Listener, errs chan<- error) (stop func()) {
	cfg := admin.Config{
		Relay: s.relay, Journal: s.cfg.Journal, AllowRemote: s.cfg.AdminAllowRemote, Connections: s.sockets.connections, Checks: s.checks,
		Build: s.cfg.Build.Version,
	}
	if s.cfg.AdminToken != nil {
		cfg.Token = s.cfg.AdminToken()
	}
	pages, over := admin.New(cfg), make(chan struct{})
	pages.Metrics(s.metrics(pages))
	h := s.http(pages.Handler())
	h.WriteTimeout = 0 // each page has its own
	h.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(adminBuffer)
		}
		return ctx
	}
	s.sockets.goroutine(func() { pages.Run(over) })
	s.sockets.goroutine(func() { errs <- h.Serve(l) })
	return func() {
		close(over)
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = h.Shutdown(ctx) // streams end by themselves, once they have told everything
		_ = h.Close()
	}
}

// checks are the invariants of the transport (docs/protocol.md 7).
func (s *server) checks() []admin.Check {
	connections, goroutines, queued := s.sockets.count(), runtime.NumGoroutine(), s.sockets.queued.Load()
	return []admin.Check{
		{Check: "connections", OK: connections <= s.cfg.MaxConnections, Detail: fmt.Sprintf("%d, at most %d", connections, s.cfg.MaxConnections)},
		{Check: "queued_bytes", OK: queued >= 0, Detail: fmt.Sprintf("%d wait to be written", queued)},
		// A connection has one that reads, one that writes, and one that runs its actor; the rest are requests, which end.
		{Check: "goroutines", OK: goroutines <= 3*connections+spareGoroutines, Detail: fmt.Sprintf("%d, at most 3 a connection and %d", goroutines, spareGoroutines)},
	}
}

func (s *server) http(h http.Handler) *http.Server {
	only := new(http.Protocols)
	only.SetHTTP1(true) // a WebSocket needs no other
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.cfg.arriveWithin, IdleTimeout: time.Minute, MaxHeaderBytes: headerBytes,
		// Nothing here has use for a body: one that was announced and never comes would hold a goroutine for ever.
		ReadTimeout: s.cfg.arriveWithin, WriteTimeout: answerTimeout, Protocols: only,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // peers' errors are not ours
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/server", s.claim)
	mux.HandleFunc("/v1/client", s.join)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	return mux
}

// claim is GET /v1/server (docs/protocol.md 1).
func (s *server) claim(w http.ResponseWriter, r *http.Request) {
	upgrade(s, w, r, tally.Server, gate, s.ofBinaries, func(sock *socket, who actors.Binary, from string) *actors.Inbox {
		who.Conn, who.Remote = newConnID(who.Server), from
		sock.call(who.Conn)
		return s.relay.Binary(sock, who)
	})
}

// join is GET /v1/client (docs/protocol.md 2).
func (s *server) join(w http.ResponseWriter, r *http.Request) {
	upgrade(s, w, r, tally.Client, phoneGate, s.ofPhones, func(sock *socket, who actors.Phone, from string) *actors.Inbox {
		who.Conn, who.Remote = newPhoneID(who.Server), from
		sock.call(who.Conn)
		return s.relay.Phone(sock, who)
	})
}

// upgrade lets a request in, if there is room and its headers are as they have to be, and has start start the actor of its connection.
// Each attempt is counted where it is decided, and what is no attempt is not.
func upgrade[W any](s *server, w http.ResponseWriter, r *http.Request, at tally.Endpoint, gate func(http.Header) (W, error), kind *socketKind, start func(*socket, W, string) *actors.Inbox) {
	from := s.from(r)
	if isUpgrade(r) && s.ready() {
		if retry, ok := s.limits.mayUpgrade(from, time.Now()); !ok {
			s.reject(r, at, tally.RejectRateLimit)
			refuse(w, http.StatusTooManyRequests, retry)
			return
		}
	}
	if !s.enter(from) {
		s.reject(r, at, tally.RejectCapacity)
		refuse(w, http.StatusServiceUnavailable, retryAfter)
		return
	}
	defer s.entered()
	who, err := gate(r.Header)
	if err != nil {
		s.reject(r, at, tally.RejectHeaders)
		s.limits.leave(from)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	sock, err := s.sockets.accept(w, r, kind, func() { s.limits.leave(from) })
	if err != nil { // the library has answered
		s.reject(r, at, tally.RejectHeaders)
		s.limits.leave(from)
		return
	}
	sock.start(start(sock, who, from.String()))
}

// reject counts an attempt to upgrade that came to nothing here. What asks for no upgrade is none (docs/protocol.md 8).
func (s *server) reject(r *http.Request, at tally.Endpoint, o tally.Outcome) {
	if isUpgrade(r) {
		s.relay.Counts().Attempts[at][o].Add(1)
	}
}

// enter lets an upgrade in, if there is room and time. Whoever is let in is waited for by a shutdown, so that none slips
// through behind it.
func (s *server) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	// Who is arriving counts, and for a moment twice: rather one too few at the limit than a storm of upgrades beyond it.
	if s.sockets.count()+s.arriving >= s.cfg.MaxConnections || !s.limits.enter(from) {
		s.limits.capReached(from)
		return false
	}
	s.arriving++
	s.arrived.Add(1)
	return true
}

// entered says that an upgrade that was let in is a socket now, or has failed.
func (s *server) entered() {
	s.mu.Lock()
	s.arriving--
	s.mu.Unlock()
	s.arrived.Done()
}

// shutDown closes every connection in order; when cut is done it stops being polite.
func (s *server) shutDown(cut context.Context) {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.arrived.Wait()
	s.relay.ShutDown()
	how, within := messages.Ended{Code: messages.CloseGoingAway, Reason: messages.ReasonShuttingDown, Drain: true}, s.cfg.DrainTimeout
	if within == 0 { // nothing that is queued goes out, but why it does not has to be said
		how.Drain, within = false, s.cfg.partWithin
	}
	ctx, cancel := context.WithTimeout(cut, s.cfg.DrainSpread+within)
	defer cancel()
	s.sockets.closeAll(ctx, how, s.cfg.DrainSpread)
	s.unwatch()
	s.relay.Stop()
}

// ready reports whether upgrades are let in.
func (s *server) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.leaving
}

func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, struct {
		Status  string `json:"status"`
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Built   string `json:"built"`
		Holders int    `json:"connected_binaries"`
		Phones  int    `json:"connected_phones"`
		Uptime  int64  `json:"uptime_seconds"`
	}{"ok", s.cfg.Build.Version, s.cfg.Build.Commit, s.cfg.Build.Built, s.relay.Holders(), s.relay.Phones(), int64(time.Since(s.began).Seconds())})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // to a peer that has left, nothing can be said
}
