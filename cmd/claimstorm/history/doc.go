// Package history checks the claims of a run, as its clients saw them, against the rules of a lock with grace and takeover.
//
// It knows nothing of the relay but the contract (docs/protocol.md 1), and nothing of sockets: a tool that owns both ends, claimants
// and holders, writes down what each saw ([History.Add]), and [Check] says what cannot have happened.
package history
