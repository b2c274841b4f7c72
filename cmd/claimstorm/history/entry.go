package history

import "time"

// Entry is an entry of the relay's journal (docs/protocol.md 5), its times moved onto the run's clock.
type Entry struct {
	Seq     int64
	Time    time.Duration
	Server  string
	Conn    string
	Asked   string // the journal's own word: claim, withdraw, release, probe_answered, ...
	Decided string // likewise: granted, waiting, refused, took_over, released, withdrawn, freed, ...
	Epoch   int64
	Reason  string
	Proof   *Proof // of a refusal
}

// Proof is what a refusal rests on.
type Proof struct {
	Probe          int64
	Sent, Answered time.Duration
	Conn           string
}
