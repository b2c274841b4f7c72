package actors

import "github.com/pyrycode/pyrycode-relay/messages"

// Socket is all that an actor sees of a connection. No method waits for the network, and each may be called from any
// goroutine. What the socket has to say comes back through the [Inbox] as Received, Ponged and Ended.
type Socket interface {
	// Ping sends the peer a ping with a payload of its own, ahead of queued data. The pong to it, and to no earlier ping, comes
	// back as one Ponged with the probe's epoch and number.
	Ping(messages.Probe)

	// Close sends what is queued, then a close frame with code and reason, ends the write side, and cuts the connection when the
	// peer has closed too or 5 s later. Nothing comes from the socket after it: no Received, Ponged or Ended. With CloseNone
	// the connection is cut at once. Only the first Close counts.
	Close(messages.CloseCode, string)
}
