package actors

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// line is a socket whose peer answers every ping, and that remembers what was sent and how it was closed.
type line struct {
	inbox   *Inbox
	pinged  chan messages.Probe
	closed  chan string // "code reason", once
	sent    chan string
	notices atomic.Int32 // asked for
	full    atomic.Bool  // nothing more fits
	reads   atomic.Bool
}

func newLine() *line {
	return &line{pinged: make(chan messages.Probe, 16), closed: make(chan string, 16), sent: make(chan string, 4096)}
}

func (l *line) Ping(p messages.Probe) { l.pinged <- p }

func (l *line) Close(code messages.CloseCode, reason string) {
	l.closed <- strings.TrimSpace(fmt.Sprintf("%d %s", code, reason))
}

func (l *line) Drop(code messages.CloseCode, reason string) { l.Close(code, reason) }

func (l *line) Send(head, frame, tail []byte, _ messages.Passing) bool {
	if l.full.Load() {
		return false
	}
	l.sent <- string(head) + string(frame) + string(tail)
	return true
}

func (l *line) Notify() { l.notices.Add(1) }
func (l *line) Pause()  { l.reads.Store(false) }
func (l *line) Resume() { l.reads.Store(true) }

func (l *line) joins(r *Relay, server messages.ServerID, conn messages.ConnID) *line {
	l.inbox = r.Phone(l, Phone{Server: server, Conn: conn, Device: "a phone", Remote: "192.0.2.8"})
	return l
}

func (l *line) claims(r *Relay, server messages.ServerID, conn messages.ConnID) *line {
	l.inbox = r.Binary(l, Binary{Server: server, Conn: conn, Version: "1.2", Remote: "192.0.2.7"})
	return l
}

// answers is the pong to the next ping.
func (l *line) answers() {
	p, now := <-l.pinged, time.Now()
	l.inbox.Tell(messages.Ponged{Epoch: p.Epoch, Probe: p.Probe, Sent: now, Answered: now})
}

func (l *line) ends() { l.inbox.Tell(messages.Ended{Code: messages.CloseNormal}) }

func (l *line) wantClosed(t *testing.T, want string) {
	t.Helper()
	if got := <-l.closed; got != want {
		t.Errorf("closed with %q, want %q", got, want)
	}
}

// story is the journal as "conn decided" words.
func story(r *Relay) string {
	var words []string
	for _, e := range r.Journal().Select(Query{Limit: DefaultJournal}) {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s", e.Conn, e.Decided)))
	}
	return strings.Join(words, ", ")
}

func wantStory(t *testing.T, r *Relay, want string) {
	t.Helper()
	if got := story(r); got != want {
		t.Errorf("the journal says\n %s\nwant\n %s", got, want)
	}
}

// patient is for what is played in real time: however long the machine stalls, no probe expires in it and no grace ends.
var patient = slots.Config{Grace: time.Hour, ProbeTimeout: time.Hour, ProbeInterval: time.Hour, MaxPhones: simTimes.MaxPhones}

// start is a relay that is stopped, with nothing left of it, when the test ends.
func start(t *testing.T, cfg Config) *Relay {
	if cfg.Slots == (slots.Config{}) {
		cfg.Slots = patient
	}
	if cfg.system == nil {
		cfg.system = newSystem()
	}
	r := Start(cfg)
	before := processes(r.system)
	t.Cleanup(func() {
		r.Stop()
		// The registry and the scribe have gone; the guardians of binaries and phones came with the first of them, and stay.
		if after := processes(r.system); after > before {
			t.Errorf("%d processes in the actor system, %d before the first connection", after, before)
		}
	})
	return r
}

// panicsAt makes a tap that panics once, at the first message that is picked.
func panicsAt(pick func(who messages.ConnID, m any) bool) func(messages.ConnID, any) {
	var once sync.Once
	return func(who messages.ConnID, m any) {
		if pick(who, m) {
			once.Do(func() { panic(injected("as told")) })
		}
	}
}

// TestRoundTripWaitsForTheRegistry: while that is busy with a claim, nothing comes back.
func TestRoundTripWaitsForTheRegistry(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	r := start(t, Config{tap: func(who messages.ConnID, m any) {
		if _, claim := m.(messages.Claim); claim && who == "" {
			close(entered)
			<-goOn
		}
	}})
	r.RoundTrip()
	l := newLine()
	var claimed sync.WaitGroup
	claimed.Go(func() { l.claims(r, "alpha", "a") })
	<-entered
	back := make(chan struct{})
	go func() {
		r.RoundTrip()
		close(back)
	}()
	select {
	case <-back:
		t.Error("a round trip through a registry that hangs")
	case <-time.After(20 * time.Millisecond): // too short can only miss a fault
	}
	close(goOn)
	<-back
	claimed.Wait()
	l.bye(t)
}

func TestPanicOfAConnectionEndsItAlone(t *testing.T) {
	logged := &logs{}
	r := start(t, Config{Log: slog.New(logged), tap: panicsAt(func(who messages.ConnID, m any) bool {
		_, data := m.(*messages.Received)
		return who == "bad" && data
	})})
	good := newLine().claims(r, "alpha", "good")
	bad := newLine().claims(r, "beta", "bad")
	bad.inbox.Tell(&messages.Received{Bytes: []byte("{}")})
	bad.wantClosed(t, "1011 internal error")
	after := newLine().claims(r, "beta", "after")
	wantStory(t, r, "good granted, bad granted, bad released, after granted")
	if r.Holders() != 2 {
		t.Errorf("%d holders, want 2", r.Holders())
	}
	bad.inbox.Tell(messages.Ended{}) // its socket may not know yet
	good.ends()
	good.wantClosed(t, "1000")
	after.ends()
	after.wantClosed(t, "1000")
	r.connections.Wait()
	r.Stop()
	if !strings.Contains(logged.String(), "actor_panicked actor=binary error=as told") {
		t.Errorf("the panic is not in the log:\n%s", logged)
	}
}

func TestPanicOfTheRegistryCostsOneMessage(t *testing.T) {
	r := start(t, Config{tap: panicsAt(func(who messages.ConnID, m any) bool {
		c, claim := m.(messages.Claim)
		return claim && c.Conn == "bad"
	})})
	machine := r.registry.machine
	good := newLine().claims(r, "alpha", "good")
	bad := newLine().claims(r, "alpha", "bad")
	bad.wantClosed(t, "1011 internal error")
	rival := newLine().claims(r, "alpha", "rival")
	good.answers()
	rival.wantClosed(t, "4409 server-id already claimed")
	wantStory(t, r, "good granted, bad failed, rival waiting, rival refused")
	if r.registry.machine != machine {
		t.Error("the registry was made anew")
	}
	good.ends()
	good.wantClosed(t, "1000")
}

func TestPanicOnAReleaseLeavesNobodyWaiting(t *testing.T) {
	r := start(t, Config{tap: panicsAt(func(_ messages.ConnID, m any) bool {
		_, release := m.(messages.Release)
		return release
	})})
	gone := newLine().claims(r, "alpha", "gone")
	gone.ends()
	gone.wantClosed(t, "1000") // although nothing was released
	heir := newLine().claims(r, "alpha", "heir")
	wantStory(t, r, "gone granted, failed, heir waiting") // for a probe of the one that is gone, which stays unanswered
	heir.ends()
	heir.wantClosed(t, "1000")
}

// TestRegistryOutlivesAPanicAnywhere: here in the actor itself, where no message of a connection's is lost.
func TestRegistryOutlivesAPanicAnywhere(t *testing.T) {
	r := start(t, Config{})
	first := newLine().claims(r, "alpha", "first")
	handled := make(chan slots.Entry)
	close(handled) // so that to answer panics
	r.system.Root.Send(r.registryPID, awaited{messages.ShutDown{}, handled})
	second := newLine().claims(r, "beta", "second")
	second.wantClosed(t, "1001 relay shutting down")
	wantStory(t, r, "first granted, first released, second evicted")
	first.ends()
	first.wantClosed(t, "1000")
}

func TestMailThatComesAfterTheEndChangesNothing(t *testing.T) {
	r := start(t, Config{})
	l := newLine().claims(r, "alpha", "c")
	l.ends()
	l.wantClosed(t, "1000")
	r.connections.Wait()
	before := story(r)
	for _, m := range []any{
		messages.Granted{Epoch: 1},
		messages.Refused{},
		messages.Evicted{},
		messages.Probe{Epoch: 1, Probe: 1},
		messages.Settled{},
		&messages.Received{Bytes: []byte("{}")},
		messages.Ponged{Epoch: 1, Probe: 1},
		messages.Ended{},
	} {
		l.inbox.box.PostUserMessage(m)
	}
	newLine().claims(r, "beta", "later").ends() // what was told is handled
	if after, _ := strings.CutPrefix(story(r), before); after != ", later granted, later released" {
		t.Errorf("the journal goes on with %q", after)
	}
	if len(l.closed)+len(l.pinged) != 0 {
		t.Error("the socket was told something")
	}
}

func TestShutDownGivesEverySlotBackAndGrantsNothing(t *testing.T) {
	r := start(t, Config{})
	holder := newLine().claims(r, "alpha", "holder")
	waits := newLine().claims(r, "alpha", "waits")
	r.ShutDown()
	late := newLine().claims(r, "alpha", "late")
	late.wantClosed(t, "1001 relay shutting down")
	wantStory(t, r, "holder granted, waits waiting, holder released, waits withdrawn, late evicted")
	for _, l := range []*line{holder, waits} {
		l.inbox.Tell(messages.Ended{Code: messages.CloseGoingAway, Reason: messages.ReasonShuttingDown})
		l.wantClosed(t, "1001 relay shutting down")
	}
	if r.Holders() != 0 {
		t.Errorf("%d holders", r.Holders())
	}
}

func TestOverrunConnectionIsClosed(t *testing.T) {
	r := start(t, Config{})
	l := &stuck{line: newLine(), release: make(chan struct{})}
	l.claims(r, "alpha", "c")
	l.inbox.box.PostUserMessage(messages.Probe{Epoch: 1, Probe: 1}) // holds the actor in its socket's Ping
	<-l.pinged
	for range r.binaries.boxes.limit/messages.FrameCost + 1 {
		l.inbox.Tell(messages.Ponged{Epoch: 99})
	}
	close(l.release)
	l.wantClosed(t, "1011 internal error")
	wantStory(t, r, "c granted, c released")
}

// stuck is a socket that breaks its promise not to wait.
type stuck struct {
	*line
	release chan struct{}
}

func (s *stuck) claims(r *Relay, server messages.ServerID, conn messages.ConnID) {
	s.inbox = r.Binary(s, Binary{Server: server, Conn: conn})
}

func (s *stuck) Ping(p messages.Probe) {
	s.pinged <- p
	<-s.release
}

// logs is a slog.Handler that keeps lines, and looks at their keys.
type logs struct {
	mu    sync.Mutex
	lines []string
	hold  chan struct{} // if not nil: nothing is written before it is closed
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	if l.hold != nil {
		<-l.hold
	}
	words := []string{r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			words = append(words, a.String())
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.Join(words, " "))
	return nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// inBubble runs test with a relay on a system made outside, and with time of its own.
func inBubble(t *testing.T, cfg Config, test func(r *Relay)) {
	cfg.system = newSystem()
	synctest.Test(t, func(t *testing.T) {
		if cfg.Slots == (slots.Config{}) {
			cfg.Slots = simTimes
		}
		r := Start(cfg)
		test(r)
		r.Stop()
	})
}

func TestDecisionsAreLogged(t *testing.T) {
	logged := &logs{}
	inBubble(t, Config{Log: slog.New(logged)}, func(r *Relay) {
		dead := newLine().claims(r, "alpha", "dead")
		heir := newLine().claims(r, "alpha", "heir")
		dead.wantClosed(t, "1011 heartbeat timeout")
		rival := newLine().claims(r, "alpha", "rival")
		heir.answers()
		rival.wantClosed(t, "4409 server-id already claimed")
		heir.ends()
		heir.wantClosed(t, "1000")
	})
	want := `server_claimed server_id=alpha binary_version=1.2 conn_id=dead remote=192.0.2.7
server_id_takeover server_id=alpha conn_id=heir remote=192.0.2.7
server_id_conflict server_id=alpha remote=192.0.2.7
server_released server_id=alpha`
	if got := logged.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

func TestEnvelopesAreComplainedAboutOnceASecond(t *testing.T) {
	logged := &logs{}
	inBubble(t, Config{Log: slog.New(logged)}, func(r *Relay) {
		l := newLine().claims(r, "alpha", "c")
		say := func() {
			for range 100 {
				l.inbox.Tell(&messages.Received{Bytes: []byte(`{"conn_id":"x","frame":1}`)})
				l.inbox.Tell(&messages.Received{Bytes: []byte(`nonsense`)})
				l.inbox.Tell(&messages.Received{Bytes: []byte(`{"push_wake":{"platform":"fcm","token":"secret"}}`)})
			}
		}
		say()
		<-time.After(time.Second - 1)
		say()
		<-time.After(1)
		say()
		if got := r.counts.Pushes[tally.PushDropped].Load(); got != 300 {
			t.Errorf("%d wishes to push, want 300", got)
		}
		for kind, want := range map[tally.Drop]int64{tally.UnknownConn: 300, tally.Malformed: 300} {
			if got := r.counts.Envelopes[kind].Load(); got != want {
				t.Errorf("%d counted of kind %d, want %d", got, kind, want)
			}
		}
		l.ends()
		l.wantClosed(t, "1000")
	})
	for event, want := range map[string]int{"unknown_conn_id server_id=alpha conn_id=c": 2, "malformed_envelope server_id=alpha conn_id=c": 2, "push_wake_dropped server_id=alpha conn_id=c": 2, "secret": 0} {
		if got := strings.Count(logged.String(), event); got != want {
			t.Errorf("%d lines with %q, want %d", got, event, want)
		}
	}
}

// TestSlowLogHoldsUpNobody: nobody reads what the relay writes, and claims are decided all the same.
func TestSlowLogHoldsUpNobody(t *testing.T) {
	logged := &logs{hold: make(chan struct{})}
	r := start(t, Config{Log: slog.New(logged), Journal: 100})
	for i := range 1000 {
		l := newLine().claims(r, "alpha", messages.ConnID(fmt.Sprint("c", i)))
		l.ends()
		l.wantClosed(t, "1000")
	}
	close(logged.hold)
	r.Stop()
	written, skipped := 0, 0
	for line := range strings.Lines(logged.String()) {
		n := 0
		if _, err := fmt.Sscanf(line, "journal_lines_skipped count=%d", &n); err == nil {
			skipped += n
		} else {
			written++
		}
	}
	if written+skipped != 2000 || skipped == 0 {
		t.Errorf("%d lines written and %d skipped, of 2000", written, skipped)
	}
}
