package messages

import "time"

// ToRegistry is what the registry handles. The order of its mailbox is the order of claims.
//
//sumtype:decl
type ToRegistry interface{ toRegistry() }

// Claim asks for the slot of Server.
//
//	From    a binary connection, once, as its first act
//	Answer  Granted, Refused or Evicted, exactly one; none after a Withdraw
//	Order   claims are ordered by their arrival in the registry's mailbox, and by nothing else (docs/protocol.md 1)
type Claim struct {
	Server  ServerID
	From    Address
	Token   ClaimToken
	Conn    ConnID
	Version Version // for the log only
	Remote  string  // for the log only: the peer's address without the port
}

// Withdraw takes a claim back: its connection has ended before an answer reached it. Where the slot was granted to this
// very claim in the meantime, it is that grant's release.
//
//	From    a binary connection that is still claiming
//	Answer  Settled
type Withdraw struct {
	Server ServerID
	From   Address
	Token  ClaimToken
}

// Release gives a slot back: the holder's connection has ended. Of an older epoch it changes nothing.
//
//	From    a binary connection that holds, or held
//	Answer  Settled
type Release struct {
	Server ServerID
	From   Address
	Epoch  Epoch
}

// ProbeAnswered says that the holder's peer answered a probe.
//
//	From    the binary connection that was sent the Probe
//	Answer  none; the waiting claims that it is proof to are Refused
type ProbeAnswered struct {
	Server         ServerID
	Epoch          Epoch
	Probe          ProbeNumber
	Sent, Answered time.Time // see Proof
}

// ProbeExpired says that a probe went unanswered for the probe timeout. For a probe that was answered it changes nothing.
//
//	From    the registry's own timer
//	Answer  none; the first waiting claim takes the slot over
type ProbeExpired struct {
	Server ServerID
	Epoch  Epoch
	Probe  ProbeNumber
}

// ProbeDue says that the slot may be probed again: the probe interval is over.
//
//	From    the registry's own timer
//	Answer  none; the holder gets a Probe if claims wait
type ProbeDue struct {
	Server ServerID
	Probe  ProbeNumber // the probe that the interval began with: of an older one it changes nothing
}

// GraceExpired says that the grace which began when Epoch was released is over; of epoch 0, the one that began when the relay
// started.
//
//	From    the registry's own timer
//	Answer  none; a slot still in that grace is free, and its phones are Evicted
type GraceExpired struct {
	Server ServerID
	Epoch  Epoch
}

// OperatorRelease throws the holder out. Where nobody holds the slot it changes nothing.
//
//	From    the admin listener, for the operator
//	Answer  none; the holder is Evicted, and what else follows is what follows on its Release
type OperatorRelease struct{ Server ServerID }

// ShutDown begins the end: every slot is given back, waiting claims are forgotten, and nothing is granted from here on.
//
//	From    the server, before it closes its connections
//	Answer  none; later claims are Evicted
type ShutDown struct{}

func (Claim) toRegistry()           {}
func (Withdraw) toRegistry()        {}
func (Release) toRegistry()         {}
func (ProbeAnswered) toRegistry()   {}
func (ProbeExpired) toRegistry()    {}
func (ProbeDue) toRegistry()        {}
func (GraceExpired) toRegistry()    {}
func (OperatorRelease) toRegistry() {}
func (ShutDown) toRegistry()        {}

// ToBinary is what the actor of a binary's connection handles: the registry's word below, its phones' in phones.go, its socket's
// in sockets.go.
//
//sumtype:decl
type ToBinary interface{ toBinary() }

// Granted says that the slot is the claimant's, until its connection ends.
//
//	From    the registry
//	Answer  a Release, when the connection ends
type Granted struct{ Epoch Epoch }

// Refused says that somebody alive holds the slot. It cannot be said without proof.
//
//	From    the registry
//	Answer  none; the connection is closed with 4409
type Refused struct{ Proof Proof }

// Probe asks the holder to ping its peer.
//
//	From    the registry
//	Answer  ProbeAnswered when the pong comes; silence is an answer too
type Probe struct {
	Epoch Epoch
	Probe ProbeNumber
}

// Evicted says that the connection must end: its slot was taken over, or is free, or what it asked for cannot be had.
//
//	From    the registry
//	Answer  none; the connection is closed with Code and Reason
type Evicted struct {
	Code   CloseCode
	Reason string
}

// Settled says that the end of the connection has been decided upon. Only then does the first byte of a close frame leave,
// so that a peer which dials again at once finds its former slot already given back.
//
//	From    the registry, to a Release or a Withdraw
//	Answer  none
type Settled struct{}

func (Granted) toBinary() {}
func (Refused) toBinary() {}
func (Probe) toBinary()   {}
func (Evicted) toBinary() {}
func (Settled) toBinary() {}
