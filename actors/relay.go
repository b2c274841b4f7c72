package actors

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Config is what the actors of a relay are started with.
type Config struct {
	Slots   slots.Config
	Journal int // how many decisions are kept, at least 1
	Log     *slog.Logger

	mailbox      func(limit int, full func(*actor.PID, any)) actor.MailboxProducer // of the simulator: who runs next; nil: inline
	beforeBinary func(any)                                                         // of tests: sees each message of a binary's actor first, and may panic
	beforeClaims func(messages.ToRegistry)                                         // of tests: the same for the registry
}

// The most messages that may wait for an actor. A connection's are bounded by flow control far below; the registry gets at most
// four from a connection in all its life, so that no machine's descriptors fill it. A full mailbox is a fault, and is handled
// as one.
const (
	binaryMailbox   = 1 << 10
	registryMailbox = 1 << 22
)

// Relay is the actors of one relay. Its methods may be called from any goroutine.
type Relay struct {
	log      *slog.Logger
	system   *actor.ActorSystem
	journal  *Journal
	reg      *registry
	registry *actor.PID
	props    *actor.Props // of every binary
	tokens   atomic.Uint64
	before   func(any)

	connections sync.WaitGroup
}

// Start starts the registry.
func Start(cfg Config) *Relay {
	silent := slog.New(slog.DiscardHandler) // the library's own lines print messages, whole
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return silent }))
	shrink(system)
	if cfg.mailbox == nil {
		cfg.mailbox = inline
	}
	r := &Relay{log: cfg.Log, system: system, journal: newJournal(cfg.Journal), before: cfg.beforeBinary}
	r.reg = &registry{
		machine: slots.New(cfg.Slots), journal: r.journal, log: cfg.Log, closed: make(chan struct{}), before: cfg.beforeClaims,
	}
	r.registry = system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return r.reg },
		actor.WithMailbox(cfg.mailbox(registryMailbox, r.registryFull)), actor.WithGuardian(stopIt)))
	r.reg.timers.wake = func() { system.Root.Send(r.registry, due{}) }
	r.props = actor.PropsFromProducer(func() actor.Actor { return &binary{relay: r} },
		actor.WithMailbox(cfg.mailbox(binaryMailbox, r.binaryFull)), actor.WithGuardian(stopIt))
	return r
}

// stopIt is the supervision of every actor here: one that panics ends, alone. The library's default restarts it, with its state
// gone and its socket forgotten. The registry recovers by itself, message by message.
var stopIt = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// shrink gives the library's table of actors 4 shards in place of 1,024: 2.7 MiB less for an empty relay.
func shrink(system *actor.ActorSystem) {
	table := system.ProcessRegistry.LocalPIDs
	old := table.LocalPIDs
	table.LocalPIDs = make([]cmap.ConcurrentMap, 4)
	for i := range table.LocalPIDs {
		table.LocalPIDs[i] = cmap.New()
	}
	for _, shard := range old {
		for id, process := range shard.Items() {
			table.GetBucket(id).Set(id, process)
		}
	}
}

// Binary makes the actor of a connection to /v1/server, which claims its slot at once: s may be closed before Binary returns.
// What s has to say goes to the inbox.
func (r *Relay) Binary(s Socket, who Binary) *Inbox {
	r.connections.Add(1)
	p := r.system.Root.Spawn(r.props)
	in := &Inbox{root: r.system.Root, pid: p}
	r.system.Root.Send(p, open{s, who})
	return in
}

// Inbox is where a socket's messages go.
type Inbox struct {
	root *actor.RootContext
	pid  *actor.PID
}

// Tell hands m to the actor, which may run on the caller's goroutine. To an actor that has ended it does nothing.
func (i *Inbox) Tell(m messages.ToBinary) { i.root.Send(i.pid, m) }

// ShutDown gives every slot back, and returns when that has been decided. Nothing is granted from here on. Call it once.
func (r *Relay) ShutDown() {
	r.system.Root.Send(r.registry, messages.ShutDown{})
	<-r.reg.closed
}

// Stop ends the registry, once the actor of every connection has ended. Call it last, and once.
func (r *Relay) Stop() {
	r.connections.Wait()
	_ = r.system.Root.StopFuture(r.registry).Wait()
	r.system.Shutdown()
}

// Holders is how many slots are held.
func (r *Relay) Holders() int { return int(r.reg.holders.Load()) }

// Journal is what the registry decided.
func (r *Relay) Journal() *Journal { return r.journal }

// binaryFull ends the connection whose actor does not keep up. Stop overtakes what is queued.
func (r *Relay) binaryFull(self *actor.PID, _ any) {
	r.log.Error("connection_mailbox_full")
	r.system.Root.Stop(self)
}

// registryFull answers for a message that the registry had no room for.
func (r *Relay) registryFull(_ *actor.PID, m any) {
	r.log.Error("registry_full")
	switch m := m.(type) {
	case messages.Claim:
		r.system.Root.Send(pid(m.From), messages.Evicted{Code: messages.CloseInternal, Reason: messages.ReasonInternal})
	case messages.Release:
		r.system.Root.Send(pid(m.From), messages.Settled{})
	case messages.Withdraw:
		r.system.Root.Send(pid(m.From), messages.Settled{})
	}
}
