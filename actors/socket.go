package actors

import "github.com/pyrycode/pyrycode-relay/messages"

// Socket is all that an actor sees of a connection. No method waits for the network, and each may be called from any
// goroutine. What the socket has to say comes back through the [Inbox] as Received, Ponged, Written and Ended.
type Socket interface {
	// Send queues one data message, made of the three parts in their order; they are copied. It reports false, and queues
	// nothing, where the message does not fit: where the socket has a budget, is not idle, and would be over it. What is sent
	// after Close or Drop, or once nothing can be written, is thrown away. With Last the caller expects nothing more to send
	// for the moment: an idle socket then writes at once, as far as that needs no waiting, instead of waking somebody who does.
	Send(head, frame, tail []byte, how messages.Passing) bool

	// Notify asks for one Written, when all that was sent before has left. While one is under way it asks for no second.
	Notify()

	// Ping sends the peer a ping with a payload of its own, ahead of queued data. The pong to it, and to no earlier ping, comes
	// back as one Ponged with the probe's epoch and number.
	Ping(messages.Probe)

	// Pause lets no further data message be read: what has begun is still read to its end, and comes as Received. Pings are
	// answered, and the end of the connection is seen, unless they lie behind a message that is held back.
	Pause()

	// Resume undoes Pause.
	Resume()

	// Close sends what is queued, then a close frame with code and reason, ends the write side, and cuts the connection when the
	// peer has closed too or 5 s later. Nothing comes from the socket after it: no Received, Ponged, Written or Ended. With
	// CloseNone the connection is cut at once. Of Close and Drop only the first counts.
	Close(messages.CloseCode, string)

	// Drop is Close, but for what is queued: that is thrown away.
	Drop(messages.CloseCode, string)
}
