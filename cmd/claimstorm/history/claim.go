package history

import "time"

// Claim is one claim as its client saw it: when it asked, what it heard, how it ended. Every time is of one monotonic clock,
// counted from the start of the run, and 0 stands for never: start that clock before the first claim.
//
// A request that got an HTTP status other than 101 never reached the registry, and has no place in a history.
type Claim struct {
	Server string // the server-id, whose slot it asks for
	Client int    // who asked: a number of the tool's own, c7 in drawings; a client may claim many times

	Asked    time.Duration // before the first byte of the request left
	Upgraded time.Duration // the 101 was read; 0 if it never was, and then the registry may have the claim all the same

	// Held is when the client first knew that it held the slot: a phone's frame reached it, or a probe, where the tool can tell one
	// from a heartbeat (this relay's probes carry 8 bytes). 0 if it never knew: the wire has no word for a grant.
	Held time.Duration

	// Silent is from when on it answered nothing, as a dead peer would: it need not have read what came after. 0 if it never fell silent.
	Silent time.Duration

	Leaving time.Duration // before it began to end the connection by itself; 0 if it never did
	Ended   time.Duration // it saw the connection's end, or was done with making it; of an Open one, when the tool stopped looking
	End     End
	Code    uint16 // of the relay's close frame, where End is Closed
	Reason  string // likewise

	Pongs []Pong // the pings that it read before it left or fell silent, in order
}

// Pong is a ping that a client read, and the answer it gave.
type Pong struct {
	Pinged time.Duration // the ping had been read
	Sent   time.Duration // its pong had been written; 0 if it never was
}

// End is how a connection ended, as its client saw it.
type End uint8

// A client that began to leave, and then read 4409, is Closed like any other: it was refused before it left. Any other code that it
// reads then is no matter.
const (
	Open    End = iota // it had not ended when the run did
	Closed             // the relay sent a close frame before the client did
	Cut                // the relay ended the connection without a close frame
	Left               // the client sent a close frame and read the answer to it, at Ended
	Dropped            // the client ended it without waiting: reset, FIN, or a close frame whose answer it did not read
)

func (e End) String() string {
	return [...]string{"open", "closed", "cut", "left", "dropped"}[e]
}

// What a refusal, an eviction and a shutdown say (docs/protocol.md 6).
const (
	CodeGoingAway = 1001
	CodeInternal  = 1011
	CodeClaimed   = 4409

	ReasonGoingAway = "relay shutting down"
	ReasonTimeout   = "heartbeat timeout"
	ReasonClaimed   = "server-id already claimed"
)
