package actors

import (
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

	// For tests.
	mailbox func(owner string, kind *mailboxKind) mailboxed // who makes the mailboxes
	fault   func(messages.ToRegistry)                       // panics where the registry's handling might
}

// Relay is the actors of one process.
type Relay struct {
	system    *actor.ActorSystem
	born      time.Time
	log       *slog.Logger
	journal   *Journal
	scribe    *scribe
	scribePID *actor.PID
	registry  *actor.PID
	holders   atomic.Int64
	lastToken atomic.Uint64
	dropped   [envelopeKinds]atomic.Int64
	binaries  *actor.Props // one for all: a Props a connection is 230 bytes

	spawning sync.Mutex // guards next, for the microsecond of a spawn
	next     *binary    // the actor that binaries' producer is to hand out

	connections sync.WaitGroup // those whose actor has not ended
}

// mailboxed is what the relay needs of a mailbox.
type mailboxed interface {
	actor.Mailbox
	awaitRoom()
}

// Inbox is where a connection's socket says what happened.
type Inbox struct{ box mailboxed }

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
	if cfg.mailbox == nil {
		cfg.mailbox = func(_ string, kind *mailboxKind) mailboxed { return newMailbox(kind) }
	}
	r := &Relay{system: newSystem(), born: time.Now(), log: cfg.Log, journal: newJournal(cfg.Journal)}
	r.startScribe(cfg)
	r.startRegistry(cfg)
	r.prepareBinaries(cfg)
	return r
}

// newSystem is an actor system that is small and keeps quiet: left alone, protoactor logs the contents of messages.
func newSystem() *actor.ActorSystem {
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
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

func (r *Relay) startScribe(cfg Config) {
	r.scribe = &scribe{log: cfg.Log, journal: r.journal}
	kind := &mailboxKind{inline: func(any) bool { return false }}
	r.scribePID = r.spawn("scribe", actor.ResumeDirective, kind, cfg, func() actor.Actor { return r.scribe })
	r.scribe.post = func(m any) { r.system.Root.Send(r.scribePID, m) }
}

func (r *Relay) startRegistry(cfg Config) {
	reg := &registry{
		machine: slots.New(cfg.Slots), journal: r.journal, holders: &r.holders,
		tell: r.tell, scribe: r.scribe, fault: cfg.fault,
	}
	reg.timers.ring = func() { r.system.Root.Send(r.registry, timersDue{}) }
	// No limit: a connection has a claim, an end and an answer to one probe in there, and no more.
	r.registry = r.spawn("registry", actor.ResumeDirective, &mailboxKind{}, cfg, func() actor.Actor { return reg })
}

func (r *Relay) prepareBinaries(cfg Config) {
	kind := &mailboxKind{
		limit: binaryQueue, room: binaryRoom,
		full:   r.system.Root.Stop,
		inline: fromTheSocket,
	}
	r.binaries = r.props("binary", actor.StopDirective, func() actor.Actor { return r.next }, func() actor.Mailbox {
		r.next.box = cfg.mailbox("binary", kind)
		return r.next.box
	})
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

// spawn starts one of the relay's own actors.
func (r *Relay) spawn(name string, onPanic actor.Directive, kind *mailboxKind, cfg Config, make func() actor.Actor) *actor.PID {
	props := r.props(name, onPanic, make, func() actor.Mailbox { return cfg.mailbox(name, kind) })
	pid, err := r.system.Root.SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Sprintf("spawn %s: %v", name, err))
	}
	return pid
}

// props says how an actor fails. Unsaid, protoactor would restart it: a new one, without state, with the old one's mail.
func (r *Relay) props(name string, onPanic actor.Directive, make func() actor.Actor, box actor.MailboxProducer) *actor.Props {
	guardian := actor.NewOneForOneStrategy(0, 0, func(reason any) actor.Directive {
		r.scribe.panicked(name, reason)
		return onPanic
	})
	return actor.PropsFromProducer(make, actor.WithGuardian(guardian), actor.WithMailbox(box))
}

// Binary starts the actor of an accepted connection, which claims its slot at once; so the socket may be told to close before this
// returns. Any goroutine may call it.
func (r *Relay) Binary(socket Socket, who Binary) *Inbox {
	b := &binary{
		relay: r, socket: socket, server: who.Server, conn: who.Conn,
		token: messages.ClaimToken(r.lastToken.Add(1)),
	}
	r.connections.Add(1)
	r.spawning.Lock()
	r.next = b
	b.pid = r.system.Root.Spawn(r.binaries)
	r.next = nil
	r.spawning.Unlock()
	b.box.PostUserMessage(begin{who})
	return &Inbox{b.box}
}

// tellRegistry hands m to the registry.
func (r *Relay) tellRegistry(m messages.ToRegistry) { r.system.Root.Send(r.registry, m) }

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
	r.system.Root.Send(r.registry, shutDown{handled})
	<-handled
}

// Stop waits until the actor of every connection has ended, then ends the relay's own, and returns when the last log line is
// written. Call it last, and once.
func (r *Relay) Stop() {
	r.connections.Wait()
	for _, pid := range []*actor.PID{r.registry, r.scribePID} {
		_ = r.system.Root.PoisonFuture(pid).Wait() // an actor that waits for nothing has no reason to be late
	}
}

// Holders is the number of slots that are held.
func (r *Relay) Holders() int { return int(r.holders.Load()) }

// Journal is what the registry decided.
func (r *Relay) Journal() *Journal { return r.journal }

// age is how long the relay has run.
func (r *Relay) age() time.Duration { return time.Since(r.born) }
