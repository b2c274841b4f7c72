package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
)

// socketConfig is what every socket of a relay has in common (docs/protocol.md 3, 4).
type socketConfig struct {
	Heartbeat        time.Duration // silence after which a peer is pinged
	HeartbeatTimeout time.Duration // silence after that, until it is given up
	ReadTimeout      time.Duration // from the first byte of a message to its last
	WriteTimeout     time.Duration // of one write
	Linger           time.Duration // from a close frame to the end of TCP
	MaxQueuedBytes   int64         // what may wait to be written, of all connections; 0: no limit

	// blocking keeps a goroutine in each connection's read, as is done where there is no poller.
	blocking bool
}

// sockets is every accepted WebSocket that is not gone yet, with what they share. Its methods may be called from any goroutine.
type sockets struct {
	cfg   socketConfig
	poll  *poller
	birth time.Time
	work  sync.WaitGroup // every goroutine that was started here
	done  chan struct{}

	lingering lingering

	verdicts  [verdicts]atomic.Int64 // close frames that have gone out
	lost      atomic.Int64           // connections that were given up because nothing was heard of them
	transit   tally.Histogram        // from the reading of a frame to its writing, of the first frame of each write
	queued    atomic.Int64           // what waits to be written, of all connections
	relieving atomic.Bool            // somebody looks for the longest queue

	mu    sync.Mutex // guards live and empty
	live  map[*socket]struct{}
	empty chan struct{} // closed when live is empty, if anybody waits for that
}

func newSockets(cfg socketConfig) (*sockets, error) {
	set := &sockets{cfg: cfg, birth: time.Now(), live: make(map[*socket]struct{}), done: make(chan struct{})}
	if !cfg.blocking {
		p, err := newPoller(set)
		if err != nil {
			return nil, err
		}
		set.poll = p
	}
	set.goroutine(set.sweep)
	return set, nil
}

// goroutine starts f, for stop to wait for.
func (set *sockets) goroutine(f func()) { set.work.Go(f) }

// now is the time since the set was made, in nanoseconds: a clock that only grows.
func (set *sockets) now() int64 { return int64(time.Since(set.birth)) }

// begin lets s be read. Bytes that came with the upgrade are read first.
func (set *sockets) begin(s *socket) {
	early := s.early
	s.early = nil
	if s.raw != nil && len(early) == 0 {
		s.asleep.Store(true)
		set.poll.arm(s)
		return
	}
	s.readOn(early)
}

// account counts bytes that wait to be written. Over the budget the phone with the longest queue is closed, by a goroutine of
// its own, until what waits is within it again.
func (set *sockets) account(bytes int64) {
	if set.queued.Add(bytes) <= set.cfg.MaxQueuedBytes || bytes <= 0 || set.cfg.MaxQueuedBytes == 0 {
		return
	}
	if !set.relieving.Swap(true) {
		set.goroutine(set.relieve)
	}
}

func (set *sockets) relieve() {
	defer set.relieving.Store(false)
	for set.queued.Load() > set.cfg.MaxQueuedBytes {
		var longest *socket
		most := int64(0)
		for _, s := range set.all(nil) {
			if n := s.backlog(); n > most {
				longest, most = s, n
			}
		}
		if longest == nil {
			return // what waits is for binaries, and within the windows of their phones
		}
		longest.ended(messages.CloseInternal, messages.ReasonBacklog, false)
		longest.Drop(messages.CloseInternal, messages.ReasonBacklog) // where its actor has not done so yet
	}
}

// backlog is what waits for a phone, and 0 for a binary and for what ends already.
func (s *socket) backlog() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kind.backlog == 0 || s.out.closing {
		return 0
	}
	return s.out.queued
}

func (set *sockets) remember(s *socket) {
	set.mu.Lock()
	defer set.mu.Unlock()
	set.live[s] = struct{}{}
}

func (set *sockets) forget(s *socket) {
	if set.poll != nil {
		set.poll.remove(s)
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	if _, known := set.live[s]; !known {
		return
	}
	delete(set.live, s)
	if s.gone != nil {
		s.gone()
	}
	if len(set.live) == 0 && set.empty != nil {
		close(set.empty)
		set.empty = nil
	}
}

// count is the number of connections that are not gone yet.
func (set *sockets) count() int {
	set.mu.Lock()
	defer set.mu.Unlock()
	return len(set.live)
}

func (set *sockets) all(into []*socket) []*socket {
	set.mu.Lock()
	defer set.mu.Unlock()
	for s := range set.live {
		into = append(into, s)
	}
	return into
}

// connections says of each connection that has a name what the operator may want to know.
func (set *sockets) connections() map[messages.ConnID]admin.Connection {
	all := set.all(nil)
	known := make(map[messages.ConnID]admin.Connection, len(all))
	for _, s := range all {
		s.mu.Lock()
		name, queued := s.name, s.out.queued
		s.mu.Unlock()
		if name != "" {
			known[name] = admin.Connection{Heard: set.birth.Add(time.Duration(s.heard.Load())), Queued: queued}
		}
	}
	return known
}

// closeAll ends every connection in this way, spread evenly over spread, and waits until they are gone. When ctx is done
// it cuts what is left.
func (set *sockets) closeAll(ctx context.Context, how messages.Ended, spread time.Duration) {
	all := set.all(nil)
	pace(ctx, spread, len(all), func(i int) { all[i].ended(how.Code, how.Reason, how.Drain) })
	set.waitEmpty(ctx)
	for _, s := range set.all(all[:0]) {
		s.Close(messages.CloseNone, "")
		s.cut()
	}
}

// waitEmpty returns when no connection is left, or ctx is done. One goroutine at a time may wait.
func (set *sockets) waitEmpty(ctx context.Context) {
	set.mu.Lock()
	empty := make(chan struct{})
	if len(set.live) == 0 {
		close(empty)
	} else {
		set.empty = empty
	}
	set.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// stop ends the sweep and the poller and waits for every goroutine. No connection may be left.
func (set *sockets) stop() {
	close(set.done)
	if set.poll != nil {
		set.poll.stop()
	}
	set.work.Wait()
}

// sweep pings the connections that nothing came from for a while, and ends those that stay silent. Any byte counts.
func (set *sockets) sweep() {
	tick := time.NewTicker(max(min(set.cfg.Heartbeat, set.cfg.HeartbeatTimeout)/10, 10*time.Millisecond))
	defer tick.Stop()
	var all []*socket
	for {
		select {
		case <-set.done:
			return
		case <-tick.C:
			clear(all)
			all = set.all(all[:0])
			now := set.now()
			for _, s := range all {
				s.sweep(now)
			}
		}
	}
}

func (s *socket) sweep(now int64) {
	heard, pinged := s.heard.Load(), s.pinged.Load()
	switch {
	case s.deaf.Load() || now-heard < int64(s.set.cfg.Heartbeat) || s.holding():
		return
	case pinged <= heard: // 0, or something came since
		s.pinged.Store(now)
		s.ping(nil)
	case now-pinged >= int64(s.set.cfg.HeartbeatTimeout):
		s.set.lost.Add(1)
		s.ended(messages.CloseInternal, messages.ReasonHeartbeatTimeout, false)
	}
}
