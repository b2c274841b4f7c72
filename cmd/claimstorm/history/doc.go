// Package history checks the claims of a run, as its clients saw them, against the rules of a lock with grace and takeover.
//
// It knows nothing of a relay but the contract (docs/protocol.md 1), and nothing of sockets. A tool that owns both ends, claimants
// and holders, writes down what each saw ([History.Add]); [Check] says what cannot have happened, and [Violation.Timeline] draws it.
//
// # What counts as evidence
//
// The wire has no word for "granted". A claim surely held the slot
//
//   - once something had reached it that only a holder gets: a phone's frame, or a probe, where the tool can tell one from a
//     heartbeat ([Claim].Held), and
//   - once it had not been refused for longer than any refusal may take: until its holder has answered the probe that is out,
//     the interval has passed, and the next one is answered too, or the probe timeout is over; for every claim before it that may
//     have been a holder in its turn; and the slack.
//
// From then on it held until it began to leave, or until a relay could first have lost patience with it: a probe timeout, less
// the slack, after the first ping that it left unanswered, or answered too late to be sure. A claim may have held, at most, from
// when it asked until its end had been answered (a close frame), or a slack after it (a reset).
//
// Of a claim that left, or fell silent, before either is known, nobody can say what became of it. It accuses nobody, and it
// excuses whatever it may have been the reason for.
//
// Where the journal is given it is not evidence against the clients, but held against them: against its own rules first, then
// each time in which a claim surely held against the journal's grants, and each refusal that a client read against its refusals.
// The wire does not say which connection of the journal a client is, so nothing rests on their names.
//
// # What is assumed
//
// That what leaves one side is handled by the other within the slack, there and back. Under a correct relay and with such a
// network no history is accused, whatever its clients do. Without it only what rests on order stays sure: two-holders and
// granted-inside-hold by two proven claims none of which fell silent, refused-without-proof, wrong-answer, and the journal's own.
//
// # How
//
// What surely held a slot did so in one order only, that of when it was first known to. So overlaps are found by one sweep; what a
// claim may have held shrinks to what the sure ones leave; and whether somebody may have held in a time, or answered a ping in
// one, is a look into a sorted list. All of it is O(n log n), where a search for an order of all operations would give up.
// Of claims whose fate is known no impossible history passes as far as a lock is concerned; of the others one may, where only the
// combination of several unknown fates rules it out.
//
// # What each check means
//
//   - two-holders: Two claims surely held one slot at the same time.
//   - granted-inside-hold: A claim was granted, though from before it asked until after it knew another one surely held the slot.
//   - refused-while-free: A claim was refused, though nobody can have held the slot when it came: it was free, or in grace.
//   - refused-without-proof: A claim was refused, though nobody who may have held the slot answered a ping that was read after the claim was made.
//   - overtaken: A claim was refused on the proof of a holder that asked after it, and so stood behind it in the line.
//   - cut-off: A holder's connection was ended by the relay, though it had answered every ping in time.
//   - evicted-for-nobody: A silent holder was closed before its heartbeat ran out, though no other claim can have taken its slot over.
//   - wrong-answer: A claim was answered by something else than 4409 `server-id already claimed`, and held nothing that could have been ended.
//   - late-answer: A claim was refused later than any wait for the holders before it can explain.
//   - unanswered: A claim was not refused for so long that it must have been granted, while another one surely held the slot.
//   - journal-order: The journal's numbers have a gap, its times run backwards, or an epoch of a slot did not grow.
//   - journal-holders: In the journal's own order, a slot has two holders, or one whom it was never given to.
//   - journal-proof: The journal refuses a claim without a proof: an answer of the holder to a ping that left after the claim came.
//   - journal-disagrees: The journal tells another story than the clients saw at that time.
//
// Begin with [Claim], then read [Check].
package history
