package transport

import (
	"sync"
	"time"
)

// linger is how long a connection stays awake after a data message, at least, so that a conversation never pays for waking.
const linger = 20 * time.Millisecond

// past is a deadline that ends a read which is under way.
var past = time.Unix(1, 0)

// linger says that the connection is about to read what may never come.
func (r *reading) linger() {
	if !r.lingers {
		r.lingers = true
		r.set.lingering.add(r.socket)
	}
	r.mu.Lock()
	r.idle = true
	r.mu.Unlock()
}

// lingered reports whether somebody has ended that read.
func (r *reading) lingered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := !r.idle
	r.idle = false
	if ended {
		_ = r.conn.SetReadDeadline(time.Time{})
	}
	return ended
}

// sleepIfIdle ends the read of a lingering connection that nothing has come from for a while.
func (s *socket) sleepIfIdle(now int64) {
	if now-s.heard.Load() < int64(linger) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle {
		s.idle = false
		_ = s.conn.SetReadDeadline(past)
	}
}

// lingering is the connections that are awake after a data message. While there are any, a goroutine looks every now and then who
// has become idle: an active connection pays for no timer.
type lingering struct {
	mu      sync.Mutex // guards the two below
	awake   map[*socket]struct{}
	looking bool
}

func (l *lingering) add(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awake == nil {
		l.awake = make(map[*socket]struct{})
	}
	l.awake[s] = struct{}{}
	if !l.looking {
		l.looking = true
		s.set.goroutine(func() { l.look(s.set) })
	}
}

func (l *lingering) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.awake, s)
}

// all are those that are awake; where there are none, nobody looks from here on.
func (l *lingering) all(into []*socket) []*socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.awake {
		into = append(into, s)
	}
	l.looking = len(into) > 0
	return into
}

// look ends when nobody is awake, or the set is done with.
func (l *lingering) look(set *sockets) {
	tick := time.NewTicker(linger)
	defer tick.Stop()
	var awake []*socket
	for {
		select {
		case <-set.done:
			return
		case <-tick.C:
		}
		if awake = l.all(awake[:0]); len(awake) == 0 {
			return
		}
		now := set.now()
		for _, s := range awake {
			s.sleepIfIdle(now)
		}
		clear(awake)
	}
}
