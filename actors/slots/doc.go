// Package slots decides who holds a slot, and says why.
//
// A claim that finds its slot free, or in grace, is granted at once. A claim that finds a holder waits while the holder is
// probed: proof of life younger than the claim refuses it, silence hands it the slot. The rest serves that sentence.
//
//	          claim                    release, nobody waits
//	free ---------------> held -----------------------------> grace
//	 ^                    |  ^                                |   |
//	 |                    |  +--------------------------------+   |
//	 |                    |                 claim                 |
//	 +--------------------|---------------------------------------+
//	                      |             GraceExpired
//	                      +--> held, by the first claim that waits: when the holder releases,
//	                           or leaves a probe unanswered for the probe timeout
//
// The rule of docs/protocol.md 1 - no claim is refused on evidence older than itself - is arithmetic here. The probes of a
// slot are numbered. A claim needs an answer to the probe that goes out next: the one under way may have been answered
// before the claim came. An answer to probe k refuses exactly those waiting claims that need k or less.
//
// Nothing here waits, sends, or knows what time it is: Step gets the time and a message, and gives back what has to be done.
// Equal messages at equal times give equal effects, so a race can be replayed from a list. Begin with [Machine.Step], then
// read testdata/stories.
package slots
