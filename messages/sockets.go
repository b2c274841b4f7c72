package messages

import "time"

// FromSocket is what a connection hears from its own socket, be it a binary's or a phone's.
//
//sumtype:decl
type FromSocket interface{ fromSocket() }

// Received is one whole data message from the peer.
//
//	From    the connection's own socket, in the order of the wire
//	Answer  none; Socket.Pause, when there should be no more for now
//
// It is lent, and so are its bytes.
type Received struct {
	Bytes []byte
	Passing
}

// Passing is what goes with a frame from the socket that it was read from to the one that it is written to.
type Passing struct {
	Last bool          // nothing had come behind it yet: who sends because of it need not wait for more
	Came time.Duration // when its end was read, by a clock of the transport's; 0: nobody asks
}

// Ponged says that the peer answered the ping of a Probe.
//
//	From    the socket of a binary
//	Answer  none; the registry is told
type Ponged struct {
	Epoch          Epoch
	Probe          ProbeNumber
	Sent, Answered time.Time
}

// Written says that all which had been sent when Socket.Notify was called has left the relay.
//
//	From    the connection's own socket, once for each Notify that found none under way
//	Answer  none; the phones whose frames those were get Credit
type Written struct{}

// Ended says that nothing will be read from the peer any more, and how the connection is to be closed. It comes once, and
// last: nothing follows it from the socket. Code is what the relay is to say: the echo of the peer's close frame, the relay's
// own verdict (1002, 1008, 1009, 1011, ...), or CloseNone where the peer is gone without a word.
//
//	From    the connection's own socket
//	Answer  Socket.Close if Drain, else Socket.Drop; of a binary, once the registry has settled it
type Ended struct {
	Code   CloseCode
	Reason string
	Drain  bool // what is queued for the peer is to go out first
}

func (*Received) fromSocket() {}
func (Ponged) fromSocket()    {}
func (Written) fromSocket()   {}
func (Ended) fromSocket()     {}

func (*Received) toBinary() {}
func (Ponged) toBinary()    {}
func (Written) toBinary()   {}
func (Ended) toBinary()     {}

func (*Received) toPhone() {}
func (Ended) toPhone()     {}
