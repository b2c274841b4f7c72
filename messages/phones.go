package messages

// Join asks for a place among the phones of Server.
//
//	From    a phone connection, once, as its first act
//	Answer  Attached, or Evicted; none while it is parked, which is how it began
type Join struct {
	Server ServerID
	From   Address
	Token  ClaimToken
	Conn   ConnID
	Device string // for the log only
	Remote string // for the log only: the peer's address without the port
}

// Leave gives the place back: the connection has ended. Where the registry has taken it already, it changes nothing.
//
//	From    a phone connection
//	Answer  none
type Leave struct {
	Server ServerID
	From   Address
	Token  ClaimToken
}

func (Join) toRegistry()  {}
func (Leave) toRegistry() {}

// ToPhone is what the actor of a phone's connection handles: the registry's word first, then its binary's, its socket's in
// sockets.go.
//
//sumtype:decl
type ToPhone interface{ toPhone() }

// Attached says who holds the slot from here on. Of two, the later one counts.
//
//	From    the registry
//	Answer  none to the registry; Attach to the binary, unless a frame has reached a former one: then the connection ends
type Attached struct {
	Epoch  Epoch
	Binary Address
}

// Parked says that the holder of Epoch has left, and that nobody has claimed the slot since.
//
//	From    the registry
//	Answer  none; nothing is read from the phone until it is attached again
type Parked struct{ Epoch Epoch }

// Attach makes a phone known to its binary, before its first frame.
//
//	From    a phone connection that was Attached to this binary
//	Answer  Credit, when there is room
type Attach struct {
	Epoch Epoch
	Conn  ConnID
	From  Address
}

// Credit lets a phone send so many bytes more, each frame counted as its length and FrameCost.
//
//	From    the binary that it is attached to
//	Answer  Frame, as the phone's peer has something to say
type Credit struct {
	Epoch Epoch
	Bytes int64
}

// Frame is one frame of a phone, for its binary: one valid JSON value, without white space around it.
//
//	From    a phone connection that was given Credit for it
//	Answer  Credit, when it is written
//
// It is lent, and so are its bytes.
type Frame struct {
	Epoch Epoch
	Conn  ConnID
	Bytes []byte
	Passing
}

// Detach says that the phone is gone, behind its last Frame. Code is how its connection ended, or CloseNone where the binary
// itself has ordered that.
//
//	From    a phone connection that had sent Attach
//	Answer  none
type Detach struct {
	Epoch Epoch
	Conn  ConnID
	Code  CloseCode
}

// Deliver is what a binary has for a phone: a frame, an order to close, or the one and behind it the other.
//
//	From    the binary that the phone is attached to
//	Answer  none; after an order to close, Detach
//
// It is lent, and so are its bytes.
type Deliver struct {
	Epoch Epoch
	Frame []byte    // nil: none
	Code  CloseCode // CloseNone: stay; else as the binary wrote it, be it one that may go on the wire or not
	Passing
}

// FrameCost is what a frame is charged beyond its length wherever bytes are counted that wait.
const FrameCost = 64

func (Attached) toPhone() {}
func (Parked) toPhone()   {}
func (Evicted) toPhone()  {}
func (Credit) toPhone()   {}
func (*Deliver) toPhone() {}

func (Attach) toBinary() {}
func (*Frame) toBinary() {}
func (Detach) toBinary() {}
