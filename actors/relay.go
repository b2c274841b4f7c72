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
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Limits of a connection's mailbox, in bytes as weigh counts them.
const (
	// connectionRoom is how much of what its peer sent may be queued before the socket's reader waits.
	connectionRoom = 64 << 10
	// connectionSlack is for what the registry and the phones say beside frames.
	connectionSlack = 1 << 20
	// minWindow is the least window of a phone: so much of what it sent may wait for its binary.
	minWindow = 512 << 10
)

// What a Config has where nothing is said.
const (
	defaultMaxPhones    = 16
	defaultMaxFrame     = 256 << 10
	defaultPhoneBacklog = 4 << 20
)

// directoryBuckets replaces protoactor's 1,024 x 32 maps: 2.8 MiB empty, and at 10,000 actors most of them a map of one.
const directoryBuckets = 4

// Config is what the actors have to know.
type Config struct {
	Slots   slots.Config
	Journal int // how many decisions are kept; 0: DefaultJournal
	// MaxFrameBytes is the largest frame, PhoneBacklogBytes what may wait for a phone. 0: 256 KiB and 4 MiB.
	MaxFrameBytes     int
	PhoneBacklogBytes int
	// Wake wakes the phone behind a token, for a binary of this server, and waits for nothing. It reports false where it will not.
	// nil: it never will.
	Wake     func(server messages.ServerID, platform, token string) bool
	Log      *slog.Logger // nil: nothing is logged
	Aside    *slog.Logger // what connections have to say; it has to wait for nobody. nil: Log
	Recorder Recorder     // nil: nothing is recorded

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
	registryBox *mailbox
	scribe      *scribe
	scribePID   *actor.PID

	lastToken atomic.Uint64
	counts    tally.Counts

	binaries *kind
	phones   *kind
	window   int64 // of a phone, in bytes

	connections sync.WaitGroup // those whose actor has not ended
	over        chan struct{}  // closed when the registry is about to end
	end         func()         // closes it
}

// Inbox is where a connection's socket says what happened.
type Inbox struct{ box *mailbox }

// Tell hands m to the connection's actor, which may run at once, on this goroutine. Before a Received it waits until the actor
// has caught up: so a peer that sends faster than it can be handled is read no faster. To an actor that has ended it
// does nothing. A Received and its bytes are the caller's again when it returns.
func (in *Inbox) Tell(m messages.FromSocket) {
	if _, data := m.(*messages.Received); data {
		in.box.awaitRoom()
	}
	in.box.PostUserMessage(m)
}

// Start starts a relay without connections.
func Start(cfg Config) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Aside == nil {
		cfg.Aside = cfg.Log
	}
	orDefault(&cfg.Slots.MaxPhones, defaultMaxPhones)
	orDefault(&cfg.MaxFrameBytes, defaultMaxFrame)
	orDefault(&cfg.PhoneBacklogBytes, defaultPhoneBacklog)
	r := &Relay{cfg: cfg, born: time.Now(), log: cfg.Log, journal: newJournal(cfg.Journal), over: make(chan struct{})}
	r.startSystem()
	r.end = sync.OnceFunc(func() { close(r.over) })
	r.startScribe()
	r.startRegistry()
	r.window = max(minWindow, 2*int64(cfg.MaxFrameBytes))
	both := mailboxKind{inline: func(m any) bool { return !fromTheRegistry(m) }, keep: keep, weigh: weigh, room: connectionRoom, full: r.system.Root.Stop}
	ofBinaries, ofPhones := both, both
	// Of phones no more can come than their windows, and a frame and a room each; so a full one is a fault of the relay.
	ofBinaries.limit = cfg.Slots.MaxPhones*(int(r.window)+cfg.MaxFrameBytes+connectionRoom) + cfg.MaxFrameBytes + connectionSlack
	// A phone's actor is busy for microseconds. But while it is, its binary goes on.
	ofPhones.limit = cfg.PhoneBacklogBytes + cfg.MaxFrameBytes + connectionSlack
	r.binaries, r.phones = r.newKind("binary", ofBinaries), r.newKind("phone", ofPhones)
	return r
}

func orDefault(n *int, otherwise int) {
	if *n == 0 {
		*n = otherwise
	}
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

func (r *Relay) startSystem() {
	if r.system = r.cfg.system; r.system != nil {
		return
	}
	r.system = newSystem()
	r.system.EventStream.Subscribe(func(event any) {
		if _, lost := event.(*actor.DeadLetterEvent); lost {
			r.counts.DeadLetters.Add(1)
		}
	})
}

func (r *Relay) startScribe() {
	r.scribe = &scribe{log: r.log, quiet: !r.log.Enabled(context.Background(), slog.LevelInfo), journal: r.journal, panics: &r.counts.Panics}
	r.scribe.post = func(m any) { r.system.Root.Send(r.scribePID, m) }
	r.scribePID = r.spawn("scribe", mailboxKind{inline: func(any) bool { return false }}, r.scribe)
}

func (r *Relay) startRegistry() {
	now := time.Now()
	if r.cfg.Recorder != nil {
		r.cfg.Recorder.Begins(now, r.cfg.Slots)
	}
	r.registry = &registry{
		machine: slots.New(now, r.cfg.Slots), recorder: r.cfg.Recorder, journal: r.journal, tell: r.tell, scribe: r.scribe, tap: r.cfg.tap, counts: &r.counts,
	}
	r.registry.timers.ring = func() { r.system.Root.Send(r.registryPID, timersDue{}) }
	// No limit: a connection has a claim, an end and the answer to a probe in there, and no more.
	r.registryBox = newMailbox(r.kindOf(mailboxKind{}))
	r.registryPID = r.spawnBehind(r.registryBox, "registry", r.registry)
}

// spawn starts one of the relay's own actors. One that fails goes on as it is.
func (r *Relay) spawn(name string, kind mailboxKind, a actor.Actor) *actor.PID {
	return r.spawnBehind(newMailbox(r.kindOf(kind)), name, a)
}

func (r *Relay) spawnBehind(box *mailbox, name string, a actor.Actor) *actor.PID {
	props := r.props(name, actor.ResumeDirective, func() actor.Actor { return a }, func() actor.Mailbox { return box })
	pid, err := r.system.Root.SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Sprintf("spawn %s: %v", name, err))
	}
	return pid
}

// kindOf lets a test pick who runs next.
func (r *Relay) kindOf(kind mailboxKind) *mailboxKind {
	if r.cfg.later != nil {
		kind.later, kind.inline = r.cfg.later, func(any) bool { return false }
	}
	return &kind
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
	b := &binary{connection: connection{socket: socket, server: who.Server, conn: who.Conn}}
	return r.binaries.start(b, &b.connection, who)
}

// Phone starts the actor of an accepted connection, which asks for a place at once; so the socket may be told to close before this
// returns. It has to be paused from the start. Any goroutine may call it.
func (r *Relay) Phone(socket Socket, who Phone) *Inbox {
	p := &phone{connection: connection{socket: socket, server: who.Server, conn: who.Conn}}
	return r.phones.start(p, &p.connection, who)
}

// tellRegistry hands m to the registry.
func (r *Relay) tellRegistry(m messages.ToRegistry) { r.system.Root.Send(r.registryPID, m) }

// tell hands m to the connection at to, if it is still there. It looks the address up each time: a PID that was used once keeps
// the actor that it found in memory, and its socket with it.
func (r *Relay) tell(to messages.Address, m any) {
	if process, ok := r.system.ProcessRegistry.GetLocal(string(to)); ok {
		process.SendUserMessage(nil, m)
		return
	}
	r.counts.DeadLetters.Add(1)
}

// ShutDown gives every slot back, and returns when that has been decided. Nothing is granted from here on. The connections
// remain: whoever accepted them ends them.
func (r *Relay) ShutDown() {
	_, _ = r.await(context.Background(), messages.ShutDown{})
}

// Stop waits until the actor of every connection has ended, then ends the relay's own, and returns when the last log line is
// written. Call it last, and once.
func (r *Relay) Stop() {
	r.connections.Wait()
	r.end()
	for _, pid := range []*actor.PID{r.registryPID, r.scribePID} {
		_ = r.system.Root.PoisonFuture(pid).Wait() // an actor that waits for nothing has no reason to be late
	}
}

// Holders is the number of slots that are held.
func (r *Relay) Holders() int { return int(r.registry.holders.Load()) }

// Phones is the number of phones that have a place.
func (r *Relay) Phones() int { return int(r.registry.phones.Load()) }

// Counts is what is counted of the relay. Any goroutine may read it.
func (r *Relay) Counts() *tally.Counts { return &r.counts }

// RegistryDepth is how many messages wait for the registry.
func (r *Relay) RegistryDepth() int { return r.registryBox.UserMessageCount() }

// Journal is what the registry decided.
func (r *Relay) Journal() *Journal { return r.journal }

// age is how long the relay has run, and never 0.
func (r *Relay) age() time.Duration { return time.Since(r.born) + 1 }
