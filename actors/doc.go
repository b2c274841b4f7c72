// Package actors is who decides: the registry, and one actor a connection.
//
//	socket --Received, Ponged, Ended--> binary --Claim, Withdraw, Release, ProbeAnswered--> registry
//	socket <--Ping, Close-------------- binary <--Granted, Refused, Probe, Evicted, Settled-- registry
//
// The registry (registry.go) owns every slot. The order of its mailbox is the order of claims. What it decides is computed by
// package slots, which knows no actor, and written to the journal (journal.go), from which the log lines are made (log.go). A
// connection (binary.go) claims its slot, holds it, and gives it back before a byte of its close frame leaves.
//
// No Receive waits: not for I/O, not for a channel, not for another actor's answer, which is a message like any other. On
// that rests the mailbox (mailbox.go), which runs an idle actor on its sender's goroutine. The scribe, which writes the log, is
// the one exception, and nobody runs it but a goroutine of its own.
//
// Actors are protoactor's, for its supervision and its directory of addresses. Begin with [Start], then binary.go.
package actors
