package transport

import (
	"net"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

const (
	writeSize  = 64 << 10 // a batch buffer that has grown beyond this is not kept
	maxPending = 512      // control bytes that may wait to be written: a ping, a probe, the latest pongs
)

var batches = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// outbox is everything that is to be written to one connection, in order. Whoever appends to an idle outbox starts a goroutine
// that writes what has gathered until nothing is left; nobody else ever waits for the network.
type outbox struct {
	rest    []byte // the end of a frame that has gone out in part: before anything else
	control []byte // pings and pongs, which go ahead of queued data (RFC 6455 5.5)
	batch   []byte // whole frames as they go on the wire, in order; a close frame is the last
	writing bool   // somebody is writing: nobody else may
	closing bool   // a close frame is queued, or the connection is cut: nothing follows
	shut    bool   // the close frame has gone out
}

// send appends to the outbox by add, which gets the buffer to append to, and sees to it that somebody writes. It reports
// false where nothing may follow any more.
func (s *socket) send(urgent bool, add func([]byte) []byte) bool {
	s.mu.Lock()
	if s.out.closing {
		s.mu.Unlock()
		return false
	}
	if urgent {
		s.out.control = add(s.out.control)
	} else {
		if s.out.batch == nil {
			s.out.batch = (*batches.Get().(*[]byte))[:0]
		}
		s.out.batch = add(s.out.batch)
	}
	start := !s.out.writing
	s.out.writing = true
	s.mu.Unlock()
	if start {
		s.set.goroutine(s.write)
	}
	return true
}

// write writes until the outbox is empty, as the one that writes.
func (s *socket) write() {
	for {
		bufs, last := s.take()
		if bufs == nil {
			if last {
				s.closeWritten()
			}
			return
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.set.cfg.WriteTimeout))
		v := net.Buffers(bufs)
		if _, err := v.WriteTo(s.conn); err != nil {
			s.unwritable()
			return
		}
	}
}

// take takes what is queued, or ends the writing. last reports that the close frame has gone out just now.
func (s *socket) take() (bufs [][]byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	if b := s.spent; b != nil {
		s.spent = nil
		if cap(b) <= writeSize {
			batches.Put(&b)
		}
	}
	if len(o.rest)+len(o.control)+len(o.batch) == 0 {
		// An expired deadline would keep sendNow from writing. Cleared while nobody else can write.
		_ = s.conn.SetWriteDeadline(time.Time{})
		o.writing = false
		last = o.closing && !o.shut
		o.shut = o.closing
		return nil, last
	}
	for _, b := range [][]byte{o.rest, o.control, o.batch} {
		if len(b) > 0 {
			bufs = append(bufs, b)
		}
	}
	s.spent = o.batch
	o.rest, o.control, o.batch = nil, nil, nil
	if s.probe != nil && s.probe.sent.IsZero() {
		s.probe.sent = time.Now()
	}
	return bufs, false
}

// pong answers a ping. Where pongs cannot leave as fast as pings come, only the latest is kept (RFC 6455 5.5.3).
func (s *socket) pong(payload []byte) {
	s.send(true, func(b []byte) []byte {
		if len(b)+2+len(payload) > maxPending {
			b = keepPings(b)
		}
		return append(appendHeader(b, opPong, len(payload)), payload...)
	})
}

// keepPings drops the pongs of b.
func keepPings(b []byte) []byte {
	kept := make([]byte, 0, maxPending)
	for len(b) > 0 {
		n := 2 + int(b[1])
		if b[0]&0x0f == opPing {
			kept = append(kept, b[:n]...)
		}
		b = b[n:]
	}
	return kept
}

// Close implements actors.Socket.
func (s *socket) Close(code messages.CloseCode, reason string) {
	s.mu.Lock()
	s.inbox = nil
	if s.out.closing {
		s.mu.Unlock()
		return
	}
	if code == messages.CloseNone {
		s.out.closing, s.out.shut = true, true
		s.mu.Unlock()
		s.cut()
		return
	}
	s.out.batch = appendClose(s.out.batch, code, reason)
	s.out.closing = true
	start := !s.out.writing
	s.out.writing = true
	s.mu.Unlock()
	if start {
		s.set.goroutine(s.write)
	}
}
