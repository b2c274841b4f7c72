package actors

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// mailboxes are ours, twice, and the one that it has to be as good as.
var mailboxes = map[string]actor.MailboxProducer{
	"protoactor": actor.Unbounded(),
	"inline":     func() actor.Mailbox { return newMailbox(&mailboxKind{}) },
	"goroutine":  func() actor.Mailbox { return newMailbox(&mailboxKind{inline: func(any) bool { return false }}) },
}

func eachMailbox(t *testing.T, test func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer)) {
	for name, box := range mailboxes {
		t.Run(name, func(t *testing.T) { test(t, newSystem(), box) })
	}
}

// guarded says what becomes of an actor that panics.
func guarded(d actor.Directive) actor.PropsOption {
	return actor.WithGuardian(actor.NewOneForOneStrategy(10, 0, func(any) actor.Directive { return d }))
}

// fragile panics in the middle of its mail, and says which of its incarnations handled what.
type fragile struct {
	incarnation int32
	log         *[]string
	ended       chan struct{}
}

func (f *fragile) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case string:
		*f.log = append(*f.log, fmt.Sprintf("%d: %s", f.incarnation, m))
		switch m {
		case "begin": // all of it is queued behind the panic, whoever runs the actor
			for _, next := range []string{"panic", "1", "2", "3", "4", "5", "end"} {
				ctx.Send(ctx.Self(), next)
			}
		case "panic":
			panic("as told")
		case "end":
			ctx.Stop(ctx.Self())
		}
	case *actor.Stopped:
		close(f.ended)
	}
}

func TestMailboxObeysTheDirectiveAfterAPanic(t *testing.T) {
	want := map[actor.Directive][]string{
		actor.ResumeDirective:  {"1: begin", "1: panic", "1: 1", "1: 2", "1: 3", "1: 4", "1: 5", "1: end"},
		actor.RestartDirective: {"1: begin", "1: panic", "2: 1", "2: 2", "2: 3", "2: 4", "2: 5", "2: end"},
		actor.StopDirective:    {"1: begin", "1: panic"},
	}
	eachMailbox(t, func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer) {
		for directive, want := range want {
			var incarnations atomic.Int32
			var log []string
			ended := make(chan struct{})
			props := actor.PropsFromProducer(func() actor.Actor {
				return &fragile{incarnations.Add(1), &log, ended}
			}, guarded(directive), actor.WithMailbox(box))
			system.Root.Send(system.Root.Spawn(props), "begin")
			<-ended
			if !reflect.DeepEqual(log, want) {
				t.Errorf("%v:\n got %q\nwant %q", directive, log, want)
			}
		}
	})
}

func TestMailboxKeepsEachSendersOrderUnderLoad(t *testing.T) {
	const senders, each = 16, 3000
	type mail struct {
		from, number int
		own          bool
	}
	eachMailbox(t, func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer) {
		var inside atomic.Int32
		next, ownNext := [senders]int{}, [senders]int{}
		left := 2 * senders * each
		done := make(chan struct{})
		pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if inside.Add(1) != 1 {
				t.Error("entered twice")
			}
			defer inside.Add(-1)
			m, ok := ctx.Message().(mail)
			if !ok {
				return
			}
			expected := &next
			if m.own {
				expected = &ownNext
			} else {
				ctx.Send(ctx.Self(), mail{m.from, m.number, true})
			}
			if m.number != expected[m.from] {
				t.Errorf("from %d (own: %v): %d, want %d", m.from, m.own, m.number, expected[m.from])
			}
			expected[m.from]++
			if left--; left == 0 {
				close(done)
			}
		}, actor.WithMailbox(box)))
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					system.Root.Send(pid, mail{from: s, number: i})
				}
			})
		}
		wg.Wait()
		<-done
	})
}

func TestMailboxEndsAnActor(t *testing.T) {
	eachMailbox(t, func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer) {
		for _, poison := range []bool{false, true} {
			var handled []int
			seen := make(chan *actor.Terminated, 1)
			pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case string: // what is told to end here finds the three in front of it
					for i := range 3 {
						ctx.Send(ctx.Self(), i)
					}
					if poison {
						ctx.Poison(ctx.Self())
					} else {
						ctx.Stop(ctx.Self())
					}
				case int:
					handled = append(handled, m)
				}
			}, actor.WithMailbox(box)))
			system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case *actor.Started:
					ctx.Watch(pid)
				case *actor.Terminated:
					seen <- m
				}
			}, actor.WithMailbox(box)))
			system.Root.Send(pid, "begin")
			if who := (<-seen).Who; who.Id != pid.Id {
				t.Errorf("%s ended, want %s", who.Id, pid.Id)
			}
			if want := map[bool]int{false: 0, true: 3}[poison]; len(handled) != want {
				t.Errorf("poison %v: %d messages handled, want %d", poison, len(handled), want)
			}
		}
	})
}

func TestPanicStaysInTheActorThatPanicked(t *testing.T) {
	eachMailbox(t, func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer) {
		bad := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(string); ok {
				panic("as told")
			}
		}, guarded(actor.StopDirective), actor.WithMailbox(box)))
		answered := make(chan struct{}, 2)
		good := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(string); ok {
				ctx.Send(bad, "panic")
				answered <- struct{}{}
			}
		}, guarded(actor.StopDirective), actor.WithMailbox(box)))
		for range 2 {
			system.Root.Send(good, "go on")
			<-answered
		}
	})
}

func TestGoexitEndsTheGoroutineAlone(t *testing.T) {
	eachMailbox(t, func(t *testing.T, system *actor.ActorSystem, box actor.MailboxProducer) {
		if reflect.TypeOf(box()).String() == "*actor.defaultMailbox" {
			t.Skip("protoactor's stays running for ever, and handles nothing more")
		}
		before := openRuns.Load()
		handled := make(chan struct{})
		pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch ctx.Message() {
			case "exit":
				ctx.Send(ctx.Self(), "go on")
				runtime.Goexit()
			case "go on":
				close(handled)
			}
		}, actor.WithMailbox(box)))
		var wg sync.WaitGroup
		wg.Go(func() { system.Root.Send(pid, "exit") })
		wg.Wait()
		<-handled
		if now := openRuns.Load(); now > before { // fewer: another test's goroutine has ended meanwhile
			t.Errorf("%d inline runs are still counted", now-before)
		}
	})
}

func TestFullMailboxEndsItsActorOnce(t *testing.T) {
	const limit = 8
	system := newSystem()
	var full atomic.Int32
	kind := &mailboxKind{limit: limit, full: func(owner *actor.PID) {
		full.Add(1)
		system.Root.Stop(owner)
	}}
	handled, ended := 0, make(chan struct{})
	pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case string:
			for i := range 3 * limit {
				ctx.Send(ctx.Self(), i)
			}
		case int:
			handled++
		case *actor.Stopped:
			close(ended)
		}
	}, actor.WithMailbox(func() actor.Mailbox { return newMailbox(kind) })))
	system.Root.Send(pid, "overrun yourself")
	<-ended
	if n := full.Load(); n != 1 || handled != 0 {
		t.Errorf("full was called %d times, %d messages were handled; want 1 and 0", n, handled)
	}
}

func TestNoSenderRunsAnActorForLong(t *testing.T) {
	system := newSystem()
	var enough atomic.Bool
	handled, ended := 0, make(chan struct{})
	pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case string: // always another one waits
			handled++
			if !enough.Load() {
				ctx.Send(ctx.Self(), "again")
				return
			}
			ctx.Stop(ctx.Self())
		case *actor.Stopped:
			close(ended)
		}
	}, actor.WithMailbox(mailboxes["inline"])))
	system.Root.Send(pid, "begin") // comes back, or this test does not end
	enough.Store(true)
	<-ended
	if handled <= inlineBudget {
		t.Errorf("%d messages handled, want more than the budget of %d", handled, inlineBudget)
	}
}

func TestInlineRunsNestOnlySoDeep(t *testing.T) {
	const actors = 4000
	system := newSystem()
	var deepest atomic.Int64
	last := make(chan struct{})
	next := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok {
			close(last)
		}
	}, actor.WithMailbox(mailboxes["inline"])))
	for range actors {
		to := next
		next = system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(string); ok {
				deepest.Store(max(deepest.Load(), openRuns.Load())) // one message: one actor at a time
				ctx.Send(to, m)
			}
		}, actor.WithMailbox(mailboxes["inline"])))
	}
	system.Root.Send(next, "pass it on")
	<-last
	if d := deepest.Load(); d > maxOpenRuns || d < maxOpenRuns/2 {
		t.Errorf("%d runs were open at once, the limit is %d", d, maxOpenRuns)
	}
}

func TestReaderWaitsForRoom(t *testing.T) {
	kind := &mailboxKind{limit: 100, room: 2, inline: func(any) bool { return false }}
	box := newMailbox(kind)
	system, blocked, handled := newSystem(), make(chan struct{}), make(chan int, 100)
	system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*messages.Received); ok {
			<-blocked // the test's way to be slow
			handled <- int(m.Bytes[0])
		}
	}, actor.WithMailbox(func() actor.Mailbox { return box })))
	queuedMost := 0
	go func() {
		for range 50 {
			blocked <- struct{}{}
		}
	}()
	for i := range 50 {
		box.awaitRoom()
		box.PostUserMessage(&messages.Received{Bytes: []byte{byte(i)}})
		queuedMost = max(queuedMost, box.UserMessageCount())
	}
	for i := range 50 {
		if m := <-handled; m != i {
			t.Fatalf("handled %d, want %d", m, i)
		}
	}
	if queuedMost > kind.room {
		t.Errorf("%d were queued, want at most %d", queuedMost, kind.room)
	}
}

// TestReaderIsNotHeldUpByOtherSenders: it waits until what it sent itself is handled, whatever else is queued.
func TestReaderIsNotHeldUpByOtherSenders(t *testing.T) {
	system := newSystem()
	synctest.Test(t, func(t *testing.T) {
		kind := &mailboxKind{room: 1, inline: func(any) bool { return false }, later: func(*mailbox) {}}
		box := newMailbox(kind)
		pid := system.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}, actor.WithMailbox(func() actor.Mailbox { return box })))
		box.run(nil, 1) // its start
		box.PostUserMessage(&messages.Received{})
		for range 10 {
			system.Root.Send(pid, "of another sender")
		}
		returned := false
		go func() {
			box.awaitRoom()
			returned = true
		}()
		synctest.Wait()
		if returned {
			t.Fatal("there is no room")
		}
		box.run(nil, 1)
		synctest.Wait()
		if !returned || box.UserMessageCount() == 0 {
			t.Fatalf("the reader still waits, with %d messages of others queued", box.UserMessageCount())
		}
	})
}

func TestIdleMailboxKeepsNoLargeQueue(t *testing.T) {
	var q queue
	for round := range 3 {
		for i := range 1000 {
			q.push(i)
		}
		for i := range 1000 {
			if got := q.pop(); got != i {
				t.Fatalf("round %d: popped %v, want %d", round, got, i)
			}
		}
		q.shrink()
		if cap(q.ring) != 0 {
			t.Fatalf("round %d: %d places kept", round, cap(q.ring))
		}
	}
}
