package messages

import "time"

// Received is one whole data message from the peer.
//
//	From    the connection's own socket, in the order of the wire
//	Answer  none
//
// The bytes belong to the receiver from the send on.
type Received struct{ Bytes []byte }

// Ponged says that the peer answered the ping of a Probe.
//
//	From    the connection's own socket
//	Answer  none; the registry is told
type Ponged struct {
	Epoch          Epoch
	Probe          ProbeNumber
	Sent, Answered time.Time
}

// Ended says that nothing will be read from the peer any more, and how the connection is to be closed. It comes once, and
// last: nothing follows it from the socket. Code is what the relay is to say: the echo of the peer's close frame, the relay's
// own verdict (1002, 1008, 1009, 1011, ...), or CloseNone where the peer is gone without a word.
//
//	From    the connection's own socket
//	Answer  Socket.Close, once the registry has settled it
type Ended struct {
	Code   CloseCode
	Reason string
}

func (Received) toBinary() {}
func (Ponged) toBinary()   {}
func (Ended) toBinary()    {}
