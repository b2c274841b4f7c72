package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/envelope"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Binary is what is known of a binary when its connection is accepted.
type Binary struct {
	Server  messages.ServerID
	Conn    messages.ConnID
	Version messages.Version
	Remote  string // the peer's address without the port
}

// life is where a connection stands.
//
//	          Granted           Ended               Settled
//	claiming ---------> holding -----> ending ---------------> ended
//	   | | Ended                         ^                       ^
//	   | +-------------------------------+                       |
//	   +---------------------------------------------------------+
//	     Refused, or at any time before ending: Evicted
type life uint8

const (
	claiming life = iota // and not yet begun: the first message is a Binary
	holding
	ending // the registry has been told, and has not yet answered
	ended
)

// binary is the actor of one binary's connection. Small: a relay has one for each daemon, and most of them are idle for days.
type binary struct {
	connection

	epoch  messages.Epoch    // 0 until granted
	phones *members          // nil until the first one comes
	lent   *messages.Deliver // to a phone, while it handles it; nil until the first frame
	last   messages.Ended    // how to close; from the socket's Ended on
	life   life

	asked      time.Duration                  // when it claimed, by the relay's age
	complained [len(complaints)]time.Duration // when each complaint was last logged, by the relay's age; 0: never
}

// Receive handles one message.
func (b *binary) Receive(ctx actor.Context) {
	if tap := b.relay.cfg.tap; tap != nil {
		tap(b.conn, ctx.Message())
	}
	switch m := ctx.Message().(type) {
	case Binary:
		b.asked = b.relay.age()
		b.relay.tellRegistry(messages.Claim{
			Server: m.Server, From: b.address(), Token: b.token, Conn: m.Conn, Version: m.Version, Remote: m.Remote,
		})
	case messages.ToBinary:
		b.handle(m)
	case *actor.Stopping:
		b.stopping()
	case *actor.Stopped:
		b.relay.connections.Done()
	}
}

func (b *binary) handle(m messages.ToBinary) {
	if b.life == ended {
		return
	}
	switch m := m.(type) {
	case messages.Granted:
		b.granted(m)
	case messages.Refused:
		if b.life == claiming {
			b.relay.counts.Decision.Observe(b.relay.age() - b.asked)
			b.end(messages.Ended{Code: messages.CloseClaimed, Reason: messages.ReasonClaimed})
		}
	case messages.Evicted:
		b.evicted(m)
	case messages.Probe:
		if b.life == holding && b.epoch == m.Epoch {
			b.socket.Ping(m)
		}
	case messages.Ponged:
		b.ponged(m)
	case messages.Attach:
		if b.life == holding && b.epoch == m.Epoch {
			b.attach(m)
		}
	case *messages.Frame:
		if b.life == holding && b.epoch == m.Epoch {
			b.frame(m)
		}
	case messages.Detach:
		if b.life == holding && b.epoch == m.Epoch {
			b.detach(m)
		}
	case messages.Written:
		if b.life == holding {
			b.written()
		}
	case *messages.Received:
		if b.life != ending {
			b.received(m)
		}
	case messages.Ended:
		b.over(m)
	case messages.Settled:
		if b.life == ending {
			b.end(b.last)
		}
	}
}

func (b *binary) granted(m messages.Granted) {
	if b.life != claiming {
		return // the Withdraw that is under way gives the slot back
	}
	b.relay.counts.Decision.Observe(b.relay.age() - b.asked)
	b.life, b.epoch = holding, m.Epoch
}

func (b *binary) evicted(m messages.Evicted) {
	if b.life == ending {
		return // Settled is on its way, and how to close has been decided by the peer
	}
	b.end(messages.Ended{Code: m.Code, Reason: m.Reason})
}

func (b *binary) ponged(m messages.Ponged) {
	if b.life != holding || b.epoch != m.Epoch {
		return
	}
	b.relay.tellRegistry(messages.ProbeAnswered{
		Server: b.server, Epoch: m.Epoch, Probe: m.Probe, Sent: m.Sent, Answered: m.Answered,
	})
}

func (b *binary) attach(m messages.Attach) {
	phone, ok := b.relay.system.ProcessRegistry.GetLocal(string(m.From))
	if !ok {
		return // gone already: its Detach is under way
	}
	if b.phones == nil {
		b.phones = newMembers(b.relay)
	}
	if credit := b.phones.attach(m.Conn, phone); credit > 0 {
		b.credit(phone, credit)
	}
}

func (b *binary) credit(phone actor.Process, bytes int64) {
	phone.SendUserMessage(nil, messages.Credit{Epoch: b.epoch, Bytes: bytes})
}

var tail = []byte(envelope.Tail)

// frame: a phone's frame goes out in its envelope.
func (b *binary) frame(m *messages.Frame) {
	if b.phones == nil {
		return
	}
	phone := b.phones.known[m.Conn]
	if phone == nil {
		return
	}
	b.socket.Send(phone.head, m.Bytes, tail, m.Passing)
	b.relay.counts.Frames.Record(uint64(b.token), tally.PhoneToBinary, len(m.Bytes))
	b.notify(b.phones.sent(phone, int64(charge(m.Bytes))))
}

func (b *binary) notify(ask bool) {
	if ask {
		b.socket.Notify()
	}
}

func (b *binary) written() {
	b.notify(b.phones.written(func(m *member, bytes int64) {
		if m.phone != nil {
			b.credit(m.phone, bytes)
		}
	}))
}

// detach: a peer that knows the phone hears how its connection ended, unless it was by the peer's own order.
func (b *binary) detach(m messages.Detach) {
	if b.phones == nil {
		return
	}
	phone, ask := b.phones.detach(m.Conn)
	b.notify(ask)
	if phone != nil && phone.told && m.Code != messages.CloseNone {
		b.socket.Send(nil, envelope.Notice(string(m.Conn), uint16(m.Code)), nil, messages.Passing{})
	}
}

// received: an envelope goes to the phone that it names, and to no phone of another slot.
func (b *binary) received(m *messages.Received) {
	e := envelope.Parse(m.Bytes)
	switch e.Kind {
	case envelope.Malformed:
		b.dropped(tally.Malformed, malformed)
	case envelope.PushWake:
		if wake := b.relay.cfg.Wake; wake == nil || !wake(b.server, string(e.Platform), string(e.Token)) {
			b.relay.counts.Pushes[tally.PushDropped].Add(1)
			b.complain(pushDropped)
		}
	case envelope.ToPhone:
		var phone *member
		if b.phones != nil {
			phone = b.phones.known[messages.ConnID(e.Conn)]
		}
		if phone == nil {
			b.dropped(tally.UnknownConn, unknownConn)
			return
		}
		if b.lent == nil {
			b.lent = new(messages.Deliver)
		}
		*b.lent = messages.Deliver{Epoch: b.epoch, Frame: e.Frame, Code: messages.CloseCode(e.Close), Passing: m.Passing}
		phone.phone.SendUserMessage(nil, b.lent)
		b.lent.Frame = nil
	}
}

// complaint is an envelope that came to nothing, as it is told of in the log (docs/protocol.md 3).
type complaint uint8

const (
	malformed complaint = iota
	unknownConn
	pushDropped // a wake that was not granted; the envelope itself is not among those that went nowhere
)

var complaints = [...]string{malformed: "malformed_envelope", unknownConn: "unknown_conn_id", pushDropped: "push_wake_dropped"}

// dropped counts and logs an envelope that went nowhere.
func (b *binary) dropped(kind tally.Drop, why complaint) {
	b.relay.counts.Envelopes[kind].Add(1)
	b.complain(why)
}

// complain logs, at most once a second.
func (b *binary) complain(kind complaint) {
	now := b.relay.age()
	if b.complained[kind] != 0 && now-b.complained[kind] < time.Second {
		return
	}
	b.complained[kind] = now
	b.relay.cfg.Aside.Warn(complaints[kind], "server_id", b.server, "conn_id", b.conn)
}

// over: the peer is gone, or is to go. The registry hears of it before any time is spent on closing.
func (b *binary) over(m messages.Ended) {
	if b.life == ending {
		return
	}
	b.last = m
	b.giveBack()
	b.life, b.phones = ending, nil
}

// giveBack takes back the claim, or releases the slot.
func (b *binary) giveBack() {
	switch b.life {
	case claiming:
		b.relay.tellRegistry(messages.Withdraw{Server: b.server, From: b.address(), Token: b.token})
	case holding:
		b.relay.tellRegistry(messages.Release{Server: b.server, From: b.address(), Epoch: b.epoch})
	}
}

// end closes the connection, and is the actor's last act.
func (b *binary) end(how messages.Ended) {
	if how.Drain {
		b.socket.Close(how.Code, how.Reason)
	} else {
		b.socket.Drop(how.Code, how.Reason)
	}
	b.life, b.phones = ended, nil
	b.relay.system.Root.Stop(b.pid)
}

// stopping: the actor ends. If it has not ended its connection itself, it has panicked or was overrun, and nobody else will. It
// cannot wait for the registry's answer any more, but the registry has the release before the socket is told.
func (b *binary) stopping() {
	if b.life == ended {
		return
	}
	b.guarded(func() {
		b.giveBack()
		b.life, b.phones = ended, nil
		b.socket.Drop(messages.CloseInternal, messages.ReasonInternal)
	})
}
