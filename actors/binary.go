package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

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
	claiming life = iota // and not yet begun: the first message is begin
	holding
	ending // the registry has been told, and has not yet answered
	ended
)

// binary is the actor of one binary's connection. Small: a relay has one for each daemon, and most of them are idle for days.
type binary struct {
	relay  *Relay
	socket Socket
	pid    *actor.PID
	server messages.ServerID
	conn   messages.ConnID

	token messages.ClaimToken
	epoch messages.Epoch // 0 until granted
	last  messages.Ended // how to close; from the socket's Ended on
	life  life

	complained [envelopeKinds]time.Duration // when each complaint was last logged, by the relay's age; 0: never
}

// begin is the first message.
type begin struct{ Binary }

// Receive handles one message.
func (b *binary) Receive(ctx actor.Context) {
	if tap := b.relay.cfg.tap; tap != nil {
		tap(b.conn, ctx.Message())
	}
	switch m := ctx.Message().(type) {
	case begin:
		b.begin(m.Binary)
	case messages.ToBinary:
		b.handle(m)
	case *actor.Stopping:
		b.stopping()
	case *actor.Stopped:
		b.relay.connections.Done()
	}
}

func (b *binary) begin(who Binary) {
	b.relay.tellRegistry(messages.Claim{
		Server: who.Server, From: b.address(), Token: b.token, Conn: who.Conn, Version: who.Version, Remote: who.Remote,
	})
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
			b.end(messages.CloseClaimed, messages.ReasonClaimed)
		}
	case messages.Evicted:
		b.evicted(m)
	case messages.Probe:
		if b.life == holding && b.epoch == m.Epoch {
			b.socket.Ping(m)
		}
	case messages.Ponged:
		b.ponged(m)
	case messages.Received:
		b.received(m)
	case messages.Ended:
		b.over(m)
	case messages.Settled:
		if b.life == ending {
			b.end(b.last.Code, b.last.Reason)
		}
	}
}

func (b *binary) granted(m messages.Granted) {
	if b.life != claiming {
		return // the Withdraw that is under way gives the slot back
	}
	b.life, b.epoch = holding, m.Epoch
}

func (b *binary) evicted(m messages.Evicted) {
	if b.life == ending {
		return // Settled is on its way, and how to close has been decided by the peer
	}
	b.end(m.Code, m.Reason)
}

func (b *binary) ponged(m messages.Ponged) {
	if b.life != holding || b.epoch != m.Epoch {
		return
	}
	b.relay.tellRegistry(messages.ProbeAnswered{
		Server: b.server, Epoch: m.Epoch, Probe: m.Probe, Sent: m.Sent, Answered: m.Answered,
	})
}

// received: there are no phones yet that an envelope could reach.
func (b *binary) received(m messages.Received) {
	if b.life == ending {
		return
	}
	kind := classify(m.Bytes)
	b.relay.dropped[kind].Add(1)
	event := complaints[kind]
	now := b.relay.age()
	if event == "" || b.complained[kind] != 0 && now-b.complained[kind] < time.Second {
		return
	}
	b.complained[kind] = now
	b.relay.log.Warn(event, "server_id", b.server, "conn_id", b.conn)
}

// over: the peer is gone, or is to go. The registry hears of it before any time is spent on closing.
func (b *binary) over(m messages.Ended) {
	if b.life == ending {
		return
	}
	b.last = m
	b.giveBack()
	b.life = ending
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
func (b *binary) end(code messages.CloseCode, reason string) {
	b.socket.Close(code, reason)
	b.life = ended
	b.relay.system.Root.Stop(b.pid)
}

// stopping: the actor ends. If it has not ended its connection itself, it has panicked or was overrun, and nobody else will. It
// cannot wait for the registry's answer any more, but the registry has the release before the socket is told.
func (b *binary) stopping() {
	if b.life == ended {
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			b.relay.scribe.panicked("socket", reason)
		}
	}()
	b.giveBack()
	b.life = ended
	b.socket.Close(messages.CloseInternal, messages.ReasonInternal)
}

func (b *binary) address() messages.Address { return messages.Address(b.pid.Id) }
