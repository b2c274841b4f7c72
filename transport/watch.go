package transport

import "time"

// watch calls alive so often, each time behind a round trip through the registry: where that hangs, it falls silent. What it
// returns ends it, and has to be called before the registry is stopped.
func (set *sockets) watch(every time.Duration, roundTrip, alive func()) (unwatch func()) {
	if alive == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	set.goroutine(func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				roundTrip()
				alive()
			}
		}
	})
	return func() {
		close(done)
		<-ended
	}
}
