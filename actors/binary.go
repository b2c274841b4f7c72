package actors

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// Binary is who has connected to /v1/server, as the gate found it. The strings must not share memory with the request.
type Binary struct {
	Server  messages.ServerID
	Conn    messages.ConnID
	Version messages.Version
	Remote  string // the peer's address without the port
}

// standing is where a binary's connection stands.
type standing uint8

const (
	unborn   standing = iota
	claiming          // its Claim is under way or waits
	holding           // Granted has come
	ending            // nothing comes from the socket any more; Settled is awaited
	ended             // the socket was closed
)

// binary is the actor of one connection of a binary: claiming -> holding -> ending -> ended, each at most once.
type binary struct {
	relay    *Relay
	socket   Socket
	server   messages.ServerID
	conn     messages.ConnID
	token    messages.ClaimToken
	epoch    messages.Epoch // of the grant, while holding
	standing standing

	verdict messages.Ended // how to close once settled
	logged  int64          // when an envelope was last complained about, in seconds
}

// open is a binary's first message, from whoever accepted it. (One Props for all: a Props a connection is 230 bytes.)
type open struct {
	socket Socket
	who    Binary
}

// Receive implements actor.Actor.
func (b *binary) Receive(ctx actor.Context) {
	if b.relay.before != nil {
		b.relay.before(ctx.Message())
	}
	switch m := ctx.Message().(type) {
	case open:
		b.claim(ctx, m)
	case messages.Granted:
		b.granted(m)
	case messages.Refused:
		b.close(ctx, messages.CloseClaimed, messages.ReasonClaimed)
	case messages.Evicted:
		b.close(ctx, m.Code, m.Reason)
	case messages.Probe:
		b.probe(m)
	case messages.Ponged:
		b.ponged(ctx, m)
	case messages.Received:
		b.received(m)
	case messages.Ended:
		b.end(ctx, m)
	case messages.Settled:
		b.close(ctx, b.verdict.Code, b.verdict.Reason)
	case *actor.Stopping:
		b.stopping(ctx)
	case *actor.Stopped:
		b.relay.connections.Done()
	}
}

// claim is the first act.
func (b *binary) claim(ctx actor.Context, m open) {
	b.socket, b.server, b.conn, b.standing = m.socket, m.who.Server, m.who.Conn, claiming
	b.token = messages.ClaimToken(b.relay.tokens.Add(1))
	ctx.Send(b.relay.registry, messages.Claim{
		Server: b.server, From: messages.Address(ctx.Self().Id), Token: b.token,
		Conn: b.conn, Version: m.who.Version, Remote: m.who.Remote,
	})
}

// granted: where the connection has ended meanwhile, its Withdraw is on the way, and releases this grant.
func (b *binary) granted(m messages.Granted) {
	if b.standing == claiming {
		b.standing, b.epoch = holding, m.Epoch
	}
}

// probe: the answer is the peer's to give, and its silence too.
func (b *binary) probe(m messages.Probe) {
	if b.standing == holding && m.Epoch == b.epoch {
		b.socket.Ping(m)
	}
}

func (b *binary) ponged(ctx actor.Context, m messages.Ponged) {
	if b.standing == holding && m.Epoch == b.epoch {
		ctx.Send(b.relay.registry, messages.ProbeAnswered{
			Server: b.server, Epoch: m.Epoch, Probe: m.Probe, Sent: m.Sent, Answered: m.Answered,
		})
	}
}

// end tells the registry before anything is spent on closing politely (docs/decisions/0003).
func (b *binary) end(ctx actor.Context, m messages.Ended) {
	if b.giveBack(ctx) {
		b.standing, b.verdict = ending, m
	}
}

// giveBack sends the message that ends this connection's claim or grant, if that has not been done. Settled answers it.
func (b *binary) giveBack(ctx actor.Context) bool {
	self := messages.Address(ctx.Self().Id)
	switch b.standing {
	case claiming:
		ctx.Send(b.relay.registry, messages.Withdraw{Server: b.server, From: self, Token: b.token})
	case holding:
		ctx.Send(b.relay.registry, messages.Release{Server: b.server, From: self, Epoch: b.epoch})
	default:
		return false
	}
	return true
}

// close is the last act.
func (b *binary) close(ctx actor.Context, code messages.CloseCode, reason string) {
	if b.standing == ended {
		return
	}
	b.standing = ended
	b.socket.Close(code, reason)
	ctx.Stop(ctx.Self())
}

// stopping comes without an ending only after a panic. Nobody can wait for Settled then: the registry's mailbox keeps the
// release in front of whatever the peer does once it is closed.
func (b *binary) stopping(ctx actor.Context) {
	b.giveBack(ctx)
	if b.standing != ended && b.socket != nil {
		b.socket.Close(messages.CloseInternal, messages.ReasonInternal)
	}
	b.standing = ended
}

// received: there are no phones yet, so nothing that a binary sends has anywhere to go (docs/protocol.md 3).
func (b *binary) received(m messages.Received) {
	event := judge(m.Bytes)
	now := time.Now().Unix()
	if b.standing > holding || event == "" || now == b.logged {
		return
	}
	b.logged = now
	b.relay.log.Warn(event, slog.String("server_id", string(b.server)), slog.String("conn_id", string(b.conn)))
}
