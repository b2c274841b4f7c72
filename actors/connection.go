package actors

import (
	"bytes"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// connection is what the actors of binaries and of phones have in common.
type connection struct {
	relay  *Relay
	socket Socket
	pid    *actor.PID
	server messages.ServerID
	conn   messages.ConnID
	token  messages.ClaimToken
	box    *mailbox
}

func (c *connection) address() messages.Address { return messages.Address(c.pid.Id) }

// guarded runs the last words of an actor that has failed: what fails in them is logged, and that is all.
func (c *connection) guarded(lastWords func()) {
	defer func() {
		if reason := recover(); reason != nil {
			c.relay.scribe.panicked("socket", reason)
		}
	}()
	lastWords()
}

// kind starts the connections of one kind: binaries, or phones.
type kind struct {
	relay *Relay
	boxes *mailboxKind
	props *actor.Props // one for all: a Props a connection is 230 bytes

	spawning sync.Mutex // guards the two below, which the producers hand out, for the microsecond of a spawn
	next     actor.Actor
	nextBox  *mailbox
}

func (r *Relay) newKind(name string, boxes mailboxKind) *kind {
	k := &kind{relay: r, boxes: r.kindOf(boxes)}
	k.props = r.props(name, actor.StopDirective,
		func() actor.Actor { return k.next }, func() actor.Mailbox { return k.nextBox })
	return k
}

// start starts a, which is the actor of c, and hands it its first message.
func (k *kind) start(a actor.Actor, c *connection, first any) *Inbox {
	c.relay, c.token = k.relay, messages.ClaimToken(k.relay.lastToken.Add(1))
	c.box = newMailbox(k.boxes)
	k.relay.connections.Add(1)
	k.spawning.Lock()
	k.next, k.nextBox = a, c.box
	c.pid = k.relay.system.Root.Spawn(k.props)
	k.next, k.nextBox = nil, nil
	k.spawning.Unlock()
	c.box.PostUserMessage(first) // not before it knows its address
	return &Inbox{c.box}
}

// fromTheRegistry is what may not run on its sender's goroutine: how long all claims take must not depend on what one connection
// does. What a connection's socket says, and what a binary and its phones say to each other, may.
func fromTheRegistry(message any) bool {
	switch message.(type) {
	case messages.Granted, messages.Refused, messages.Probe, messages.Evicted, messages.Settled, messages.Attached, messages.Parked:
		return true
	}
	return false
}

// keep makes a message fit to be queued: one with a frame is lent only while it is handled.
func keep(message any) any {
	switch m := message.(type) {
	case *messages.Received:
		kept := *m
		kept.Bytes = bytes.Clone(m.Bytes)
		return &kept
	case *messages.Frame:
		kept := *m
		kept.Bytes = bytes.Clone(m.Bytes)
		return &kept
	case *messages.Deliver:
		kept := *m
		kept.Frame = bytes.Clone(m.Frame)
		return &kept
	}
	return message
}

// weigh is what a message counts in a mailbox's limits.
func weigh(message any) int {
	switch m := message.(type) {
	case *messages.Received:
		return charge(m.Bytes)
	case *messages.Frame:
		return charge(m.Bytes)
	case *messages.Deliver:
		return charge(m.Frame)
	}
	return messages.FrameCost
}

func charge(frame []byte) int { return len(frame) + messages.FrameCost }
