// Package tally counts what happens, for whoever looks at it later, at next to no cost for whom it happens to: no lock, no
// allocation, no clock, no map. What is counted here is shown by package transport (docs/protocol.md 8); no name of a peer's
// has a place in it.
package tally

import "sync/atomic"

// Counts is what a relay counts.
type Counts struct {
	Attempts  [endpoints][outcomes]atomic.Int64
	Frames    Frames
	Envelopes [drops]atomic.Int64
	Pushes    [pushOutcomes]atomic.Int64
	Probes    [probeResults]atomic.Int64

	Takeovers     atomic.Int64
	GraceExpiries atomic.Int64
	DeadLetters   atomic.Int64 // messages to an actor that had ended
	Panics        atomic.Int64 // of actors

	Decision  Histogram // from a claim to its answer, as its connection sees it
	ProbeTrip Histogram // from a probe's ping to its pong
}

// Endpoint is where an upgrade was asked for.
type Endpoint uint8

// The endpoints.
const (
	Server Endpoint = iota
	Client
	endpoints
)

func (e Endpoint) String() string { return [...]string{"server", "client"}[e] }

// Outcome is what became of an attempt to upgrade. Each has exactly one, when it is decided.
type Outcome uint8

// The outcomes.
const (
	Accept Outcome = iota
	RejectHeaders
	Reject409
	Reject404
	Reject429
	RejectRateLimit
	RejectCapacity
	outcomes
)

func (o Outcome) String() string {
	return [...]string{"accept", "reject_headers", "reject_409", "reject_404", "reject_429", "reject_rate_limit", "reject_capacity"}[o]
}

// Drop is why an envelope of a binary's went nowhere.
type Drop uint8

// The kinds of dropped envelopes.
const (
	Malformed Drop = iota
	UnknownConn
	drops
)

func (d Drop) String() string { return [...]string{"malformed", "unknown_conn_id"}[d] }

// PushOutcome is what became of a wish to wake a phone.
type PushOutcome uint8

// The outcomes of pushes.
const (
	PushSent PushOutcome = iota
	PushUnregistered
	PushSendFailed
	PushTokenFetchFailed
	PushDropped
	pushOutcomes
)

func (p PushOutcome) String() string {
	return [...]string{"sent", "unregistered", "send_failed", "token_fetch_failed", "dropped"}[p]
}

// ProbeResult is how a probe ended.
type ProbeResult uint8

// The results of probes.
const (
	ProbeAnswered ProbeResult = iota
	ProbeExpired
	ProbeAbandoned // its holder left first
	probeResults
)

func (p ProbeResult) String() string { return [...]string{"answered", "expired", "abandoned"}[p] }

// Direction is which way a frame goes.
type Direction uint8

// The directions.
const (
	PhoneToBinary Direction = iota
	BinaryToPhone
	directions
)

func (d Direction) String() string { return [...]string{"phone_to_binary", "binary_to_phone"}[d] }

// Frames counts frames and their bytes. Connections share a few counters, each on cache lines of its own, so that those which
// forward at the same time on different cores seldom wait for the same line.
type Frames struct {
	shards [16]struct {
		frames, bytes [directions]atomic.Int64
		_             [128 - 2*8*directions]byte
	}
}

// Record counts a frame that was forwarded. The key is the connection's: equal ones count in one place.
func (f *Frames) Record(key uint64, d Direction, bytes int) {
	s := &f.shards[key%uint64(len(f.shards))]
	s.frames[d].Add(1)
	s.bytes[d].Add(int64(bytes))
}

// Sum is what has been forwarded.
func (f *Frames) Sum(d Direction) (frames, bytes int64) {
	for i := range f.shards {
		frames += f.shards[i].frames[d].Load()
		bytes += f.shards[i].bytes[d].Load()
	}
	return frames, bytes
}
