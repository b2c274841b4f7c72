package actors

import (
	"bytes"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/envelope"
	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Phone is what is known of a phone when its connection is accepted.
type Phone struct {
	Server messages.ServerID
	Conn   messages.ConnID
	Device string // what it calls itself; may be empty
	Remote string // the peer's address without the port
}

// phone is the actor of one phone's connection. It is parked until the registry says who its binary is, and again when that one
// has left. Parked, it reads nothing.
//
//	        Attached, and Attach to the binary
//	parked -----------------------------------> attached
//	       <-----------------------------------
//	                     Parked
//	  each to ended: Evicted; Ended; the binary's order; a frame that is none; a full backlog; a new binary where a
//	                 frame has reached a former one
//
// The socket is paused but for the time in which the phone is attached and has credit.
type phone struct {
	connection

	epoch   messages.Epoch      // of its binary; 0 while it is parked
	binary  actor.Process       // kept while attached, since a look-up a frame would cost more than the frame
	window  int64               // the bytes that it may still send
	pending []messages.Received // frames that were read before the socket had paused
	lent    *messages.Frame     // to the binary, while it handles it; nil until the first frame
	reached bool                // a frame was handed to a binary, so its peer may know it
	ended   bool
}

// Receive handles one message.
func (p *phone) Receive(ctx actor.Context) {
	if tap := p.relay.cfg.tap; tap != nil {
		tap(p.conn, ctx.Message())
	}
	switch m := ctx.Message().(type) {
	case Phone:
		p.relay.tellRegistry(messages.Join{
			Server: m.Server, From: p.address(), Token: p.token, Conn: m.Conn, Device: m.Device, Remote: m.Remote,
		})
	case messages.ToPhone:
		if !p.ended {
			p.handle(m)
		}
	case *actor.Stopping:
		p.stopping()
	case *actor.Stopped:
		p.relay.connections.Done()
	}
}

func (p *phone) handle(m messages.ToPhone) {
	switch m := m.(type) {
	case messages.Attached:
		p.attached(m)
	case messages.Parked:
		if p.epoch == m.Epoch {
			p.park()
		}
	case messages.Evicted:
		p.drop(m.Code, m.Reason)
	case messages.Credit:
		if p.epoch == m.Epoch {
			p.credited(m.Bytes)
		}
	case *messages.Deliver:
		if p.epoch == m.Epoch {
			p.deliver(m)
		}
	case *messages.Received:
		p.received(m)
	case messages.Ended:
		p.over(m)
	}
}

// attached: the end-to-end session of a phone that a former binary knew has died with that one.
func (p *phone) attached(m messages.Attached) {
	if p.reached {
		p.drop(messages.CloseNoServer, messages.ReasonNoServer)
		return
	}
	p.park()
	binary, ok := p.relay.system.ProcessRegistry.GetLocal(string(m.Binary))
	if !ok {
		return // gone already: the registry is about to say so
	}
	p.epoch, p.binary = m.Epoch, binary
	p.tell(messages.Attach{Epoch: m.Epoch, Conn: p.conn, From: p.address()})
}

// park: nobody is there to read for. A former binary is not told: it has ended, or is about to.
func (p *phone) park() {
	p.socket.Pause()
	p.epoch, p.binary, p.window = 0, nil, 0
}

func (p *phone) credited(bytes int64) {
	p.window += bytes
	for len(p.pending) > 0 && p.window > 0 {
		p.send(p.pending[0].Bytes, p.pending[0].Passing)
		p.pending = p.pending[1:]
	}
	if p.window > 0 {
		p.pending = nil
		p.socket.Resume()
	}
}

func (p *phone) received(m *messages.Received) {
	frame, ok := envelope.Frame(m.Bytes)
	switch {
	case !ok:
		p.drop(messages.CloseInvalidData, messages.ReasonInvalidFrame)
	case p.window <= 0: // the socket had read it already when it was paused
		p.pending = append(p.pending, messages.Received{Bytes: bytes.Clone(frame), Passing: messages.Passing{Came: m.Came}})
	default:
		p.send(frame, m.Passing)
		if p.window <= 0 {
			p.socket.Pause()
		}
	}
}

func (p *phone) send(frame []byte, how messages.Passing) {
	p.reached = true
	p.window -= int64(charge(frame))
	if p.lent == nil {
		p.lent = new(messages.Frame)
	}
	*p.lent = messages.Frame{Epoch: p.epoch, Conn: p.conn, Bytes: frame, Passing: how}
	p.tell(p.lent)
	p.lent.Bytes = nil
}

// deliver: the frame first, then the order to close, behind all that was queued before.
func (p *phone) deliver(m *messages.Deliver) {
	if m.Frame != nil {
		if !p.socket.Send(nil, m.Frame, nil, m.Passing) {
			p.overfull(m.Code)
			return
		}
		p.relay.counts.Frames.Record(uint64(p.token), tally.BinaryToPhone, len(m.Frame))
	}
	if m.Code != messages.CloseNone {
		p.leave(messages.CloseNone)
		p.socket.Close(sendable(m.Code), "")
	}
}

// overfull: a frame did not fit, which carried the order to close with code, or none.
func (p *phone) overfull(code messages.CloseCode) {
	if code == messages.CloseNone {
		p.drop(messages.CloseInternal, messages.ReasonBacklog)
		return
	}
	p.leave(messages.CloseNone)
	p.socket.Drop(sendable(code), "")
}

// sendable is the code itself, or 1011 where it may not go on the wire.
func sendable(code messages.CloseCode) messages.CloseCode {
	if code.Sendable() {
		return code
	}
	return messages.CloseInternal
}

// over: the peer is gone, or is to go.
func (p *phone) over(m messages.Ended) {
	code := m.Code
	if code == messages.CloseNone || code == messages.CloseNoStatus {
		code = messages.CloseGoingAway
	}
	p.leave(code)
	if m.Drain {
		p.socket.Close(m.Code, m.Reason)
		return
	}
	p.socket.Drop(m.Code, m.Reason)
}

// drop ends the connection by a decision of the relay's.
func (p *phone) drop(code messages.CloseCode, reason string) {
	p.leave(code)
	p.socket.Drop(code, reason)
}

// leave is the end of the actor. The registry has heard of it before the socket is told: so a phone that dials again at once
// finds its place given back. The binary is told how it ended, or CloseNone.
func (p *phone) leave(code messages.CloseCode) {
	p.ended = true
	p.relay.tellRegistry(messages.Leave{Server: p.server, From: p.address(), Token: p.token})
	if p.epoch != 0 {
		p.tell(messages.Detach{Epoch: p.epoch, Conn: p.conn, Code: code})
	}
	p.pending, p.binary = nil, nil
	p.relay.system.Root.Stop(p.pid)
}

// stopping: if the actor has not ended its connection itself, it has panicked, or did not keep up with its binary.
func (p *phone) stopping() {
	if p.ended {
		return
	}
	reason := messages.ReasonInternal
	if p.box.overrun() {
		reason = messages.ReasonBacklog
	}
	p.guarded(func() { p.drop(messages.CloseInternal, reason) })
}

// tell hands m to the binary.
func (p *phone) tell(m messages.ToBinary) { p.binary.SendUserMessage(nil, m) }
