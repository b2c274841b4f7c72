package actors

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Limits of a connection's mailbox. Its senders are its socket's reader, which waits for room, and the registry, which has a
// handful of things to say; so a full one is a fault of the relay.
const (
	binaryQueue = 1024
	binaryRoom  = 16
)

// directoryBuckets replaces protoactor's 1,024 x 32 maps: 2.8 MiB empty, and at 10,000 actors most of them a map of one.
const directoryBuckets = 4

// Config is what the actors have to know.
type Config struct {
	Slots   slots.Config
	Journal int          // how many decisions are kept; 0: DefaultJournal
	Log     *slog.Logger // nil: nothing is logged

	// Of tests.
	system *actor.ActorSystem               // a new one takes milliseconds
	later  func(*mailbox)                   // picks who runs next; nothing runs inline then
	tap    func(who messages.ConnID, m any) // sees each message before its actor does (the registry is ""); may panic
}

// Relay is the actors of one process.
type Relay struct {
	cfg     Config
	system  *actor.ActorSystem
	born    time.Time
	log     *slog.Logger
	journal *Journal

	registry    *registry
	registryPID *actor.PID
	scribe      *scribe
	scribePID   *actor.PID

	lastToken atomic.Uint64
	dropped   [envelopeKinds]atomic.Int64

	binaryKind *mailboxKind
	binaries   *actor.Props // one for all: a Props a connection is 230 bytes
	spawning   sync.Mutex   // guards the two below, which binaries' producers hand out, for the microsecond of a spawn
	next       *binary
	nextBox    *mailbox

	connections sync.WaitGroup // those whose actor has not ended
}

// Inbox is where a connection's socket says what happened.
type Inbox struct{ box *mailbox }

// Tell hands m to the connection's actor, which may run at once, on this goroutine. Before a Received it waits until the actor
// has caught up: so a peer that sends faster than its envelopes can be handled is read no faster. To an actor that has
// ended it does nothing.
func (in *Inbox) Tell(m messages.ToBinary) {
	if _, data := m.(messages.Received); data {
		in.box.awaitRoom()
	}
	in.box.PostUserMessage(m)
}

// Start starts a relay without connections.
func Start(cfg Config) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.system == nil {
		cfg.system = newSystem()
	}
	r := &Relay{cfg: cfg, system: cfg.system, born: time.Now(), log: cfg.Log, journal: newJournal(cfg.Journal)}
	r.startScribe()
	r.startRegistry()
	r.prepareBinaries()
	return r
}

// newSystem is an actor system that is small and keeps quiet. Left alone, protoactor logs the contents of messages, and has a
// goroutine wait for a second whenever mail comes for an actor that has ended.
func newSystem() *actor.ActorSystem {
	silent := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return silent }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	large := system.ProcessRegistry.LocalPIDs
	small := &actor.SliceMap{LocalPIDs: make([]cmap.ConcurrentMap, directoryBuckets)}
	for i := range small.LocalPIDs {
		small.LocalPIDs[i] = cmap.New()
	}
	for _, bucket := range large.LocalPIDs {
		for id, process := range bucket.Items() {
			small.GetBucket(id).Set(id, process)
		}
	}
	system.ProcessRegistry.LocalPIDs = small
	return system
}

func (r *Relay) startScribe() {
	r.scribe = &scribe{log: r.log, quiet: !r.log.Enabled(context.Background(), slog.LevelInfo), journal: r.journal}
	r.scribe.post = func(m any) { r.system.Root.Send(r.scribePID, m) }
	r.scribePID = r.spawn("scribe", mailboxKind{inline: func(any) bool { return false }}, r.scribe)
}

func (r *Relay) startRegistry() {
	r.registry = &registry{
		machine: slots.New(r.cfg.Slots), journal: r.journal, tell: r.tell, scribe: r.scribe, tap: r.cfg.tap,
	}
	r.registry.timers.ring = func() { r.system.Root.Send(r.registryPID, timersDue{}) }
	// No limit: a connection has a claim, an end and the answer to a probe in there, and no more.
	r.registryPID = r.spawn("registry", mailboxKind{}, r.registry)
}

// spawn starts one of the relay's own actors. One that fails goes on as it is.
func (r *Relay) spawn(name string, kind mailboxKind, a actor.Actor) *actor.PID {
	box := newMailbox(r.kindOf(kind))
	props := r.props(name, actor.ResumeDirective, func() actor.Actor { return a }, func() actor.Mailbox { return box })
	pid, err := r.system.Root.SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Sprintf("spawn %s: %v", name, err))
	}
	return pid
}

func (r *Relay) prepareBinaries() {
	r.binaryKind = r.kindOf(mailboxKind{limit: binaryQueue, full: r.system.Root.Stop, room: binaryRoom, inline: fromTheSocket})
	r.binaries = r.props("binary", actor.StopDirective,
		func() actor.Actor { return r.next }, func() actor.Mailbox { return r.nextBox })
}

// kindOf lets a test pick who runs next.
func (r *Relay) kindOf(kind mailboxKind) *mailboxKind {
	if r.cfg.later != nil {
		kind.later, kind.inline = r.cfg.later, func(any) bool { return false }
	}
	return &kind
}

// fromTheSocket: what a connection's own socket says may run on the socket's goroutine. What the registry says may not run on
// whoever runs the registry: how long all claims take must not depend on what one connection does.
func fromTheSocket(message any) bool {
	switch message.(type) {
	case messages.Granted, messages.Refused, messages.Probe, messages.Evicted, messages.Settled:
		return false
	}
	return true
}

// props says how actors fail. Unsaid, protoactor would restart a failed one: a new actor, without state, with the old one's mail.
func (r *Relay) props(name string, onPanic actor.Directive, produce actor.Producer, box actor.MailboxProducer) *actor.Props {
	guardian := actor.NewOneForOneStrategy(0, 0, func(reason any) actor.Directive {
		r.scribe.panicked(name, reason)
		return onPanic
	})
	return actor.PropsFromProducer(produce, actor.WithGuardian(guardian), actor.WithMailbox(box))
}

// Binary starts the actor of an accepted connection, which claims its slot at once; so the socket may be told to close before this
// returns. Any goroutine may call it.
func (r *Relay) Binary(socket Socket, who Binary) *Inbox {
	b := &binary{
		relay: r, socket: socket, server: who.Server, conn: who.Conn,
		token: messages.ClaimToken(r.lastToken.Add(1)),
	}
	box := newMailbox(r.binaryKind)
	r.connections.Add(1)
	r.spawning.Lock()
	r.next, r.nextBox = b, box
	b.pid = r.system.Root.Spawn(r.binaries)
	r.next, r.nextBox = nil, nil
	r.spawning.Unlock()
	box.PostUserMessage(begin{who}) // not before it knows its address
	return &Inbox{box}
}

// tellRegistry hands m to the registry.
func (r *Relay) tellRegistry(m messages.ToRegistry) { r.system.Root.Send(r.registryPID, m) }

// tell hands m to the connection at to, if it is still there. It looks the address up each time: a PID that was used once keeps
// the actor that it found in memory, and its socket with it.
func (r *Relay) tell(to messages.Address, m messages.ToBinary) {
	if process, ok := r.system.ProcessRegistry.GetLocal(string(to)); ok {
		process.SendUserMessage(nil, m)
	}
}

// ShutDown gives every slot back, and returns when that has been decided. Nothing is granted from here on. The connections
// remain: whoever accepted them ends them.
func (r *Relay) ShutDown() {
	handled := make(chan struct{})
	r.system.Root.Send(r.registryPID, shutDown{handled})
	<-handled
}

// Stop waits until the actor of every connection has ended, then ends the relay's own, and returns when the last log line is
// written. Call it last, and once.
func (r *Relay) Stop() {
	r.connections.Wait()
	for _, pid := range []*actor.PID{r.registryPID, r.scribePID} {
		_ = r.system.Root.PoisonFuture(pid).Wait() // an actor that waits for nothing has no reason to be late
	}
}

// Holders is the number of slots that are held.
func (r *Relay) Holders() int { return int(r.registry.holders.Load()) }

// Journal is what the registry decided.
func (r *Relay) Journal() *Journal { return r.journal }

// age is how long the relay has run, and never 0.
func (r *Relay) age() time.Duration { return time.Since(r.born) + 1 }
