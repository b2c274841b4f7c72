package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

const (
	writeSize  = 64 << 10 // what one write takes, unless a single frame is larger; a buffer that is larger is not kept
	smallSize  = 4 << 10  // what a batch begins with
	maxPending = 512      // control bytes that may wait to be written: a ping, a probe, the latest pongs
)

// batch is what one write takes of the queue: whole frames, as they go on the wire.
type batch struct {
	bytes  []byte
	charge int64         // of its data frames: the length of each and messages.FrameCost
	came   time.Duration // when the first of them that is timed was read; 0: none is
}

// A batch begins small, and is moved once, so that lone frames cost little memory and bursts little copying.
var (
	smallBatches = sync.Pool{New: func() any { return &batch{bytes: make([]byte, 0, smallSize)} }}
	largeBatches = sync.Pool{New: func() any { return &batch{bytes: make([]byte, 0, writeSize)} }}
)

// newBatch is one with room for n bytes.
func newBatch(n int) *batch {
	switch {
	case n <= smallSize:
		return smallBatches.Get().(*batch)
	case n <= writeSize:
		return largeBatches.Get().(*batch)
	}
	return &batch{bytes: make([]byte, 0, n)} // of this size once: not to be kept
}

func (b *batch) free() {
	pool := &smallBatches
	switch cap(b.bytes) {
	case smallSize:
	case writeSize:
		pool = &largeBatches
	default:
		return
	}
	b.bytes, b.charge, b.came = b.bytes[:0], 0, 0
	pool.Put(b)
}

// outbox is everything that is to be written to one connection, in order. Whoever appends to an idle outbox starts a goroutine
// that writes what has gathered until nothing is left; nobody else ever waits for the network. A lone frame waits for
// nothing, and what comes while it is written goes out together.
type outbox struct {
	rest    []byte   // the answer to the upgrade, or the end of what has gone out in part: before anything else
	control []byte   // pings and pongs, which go ahead of queued data (RFC 6455 5.5)
	full    []*batch // the queue, oldest first, but for its end
	last    *batch   // its end, which grows; a close frame is the last thing in it
	queued  int64    // the charge of what is queued or being written
	passed  int64    // the charge of all that was ever queued
	notify  int64    // tell Written when what was passed by then is written; 0: nobody asks
	writing bool     // somebody is writing: nobody else may
	closing bool     // a close frame is queued, or the connection is cut: nothing follows
	shut    bool     // the close frame has gone out
	verdict verdict  // what that says
}

// empty: there is nothing that a writer could take.
func (o *outbox) empty() bool {
	return len(o.rest)+len(o.control) == 0 && o.last == nil && len(o.full) == 0
}

// grow returns the batch to append n bytes to.
func (o *outbox) grow(n int) *batch {
	if o.last != nil && len(o.last.bytes)+n > writeSize {
		o.full = append(o.full, o.last)
		o.last = nil
	}
	switch {
	case o.last == nil:
		o.last = newBatch(n)
	case len(o.last.bytes)+n > cap(o.last.bytes):
		larger := newBatch(len(o.last.bytes) + n)
		larger.bytes, larger.charge, larger.came = append(larger.bytes, o.last.bytes...), o.last.charge, o.last.came
		o.last.free()
		o.last = larger
	}
	return o.last
}

// next takes the batch that is to be written next, if there is one.
func (o *outbox) next() (b *batch) {
	if len(o.full) == 0 {
		b, o.last = o.last, nil
		return b
	}
	b, o.full[0] = o.full[0], nil
	if o.full = o.full[1:]; len(o.full) == 0 {
		o.full = nil
	}
	return b
}

// discard throws the queue away, and returns its charge. What is being written is not in it any more.
func (o *outbox) discard() (charge int64) {
	for b := o.next(); b != nil; b = o.next() {
		charge += b.charge
		b.free()
	}
	o.control = nil
	o.queued -= charge
	return charge
}

// Send implements actors.Socket.
func (s *socket) Send(head, frame, tail []byte, how messages.Passing) bool {
	n := len(head) + len(frame) + len(tail)
	charge := int64(n) + messages.FrameCost
	s.mu.Lock()
	o := &s.out
	switch {
	case o.closing:
		s.mu.Unlock()
		return true
	case s.kind.backlog > 0 && o.queued > 0 && o.queued+charge > s.kind.backlog:
		s.mu.Unlock()
		return false
	}
	b := o.grow(maxHeader + n)
	b.bytes = appendHeader(b.bytes, opText, n)
	b.bytes = append(append(append(b.bytes, head...), frame...), tail...)
	b.charge += charge
	if b.came == 0 {
		b.came = how.Came
	}
	o.queued += charge
	o.passed += charge
	s.startWriting(how.Last)
	s.set.account(charge)
	return true
}

// startWriting is for a socket that is locked, and unlocks it. Where nobody writes somebody has to: a goroutine, which finds what
// has gathered until it runs, or with here this one, as far as it need not wait.
func (s *socket) startWriting(here bool) {
	start := !s.out.writing
	s.out.writing = true
	s.mu.Unlock()
	switch {
	case !start:
	case here && s.direct():
		bufs, b := s.take()
		if s.writeNow(&bufs) {
			s.written(b)
			if s.rested(false) {
				return
			}
			bufs, b = nil, nil
		}
		s.set.goroutine(func() { s.write(bufs, b) })
	default:
		s.set.goroutine(func() { s.write(nil, nil) })
	}
}

// Notify implements actors.Socket.
func (s *socket) Notify() {
	s.mu.Lock()
	in, idle := s.inbox, s.out.queued == 0
	if !idle {
		s.out.notify = s.out.passed
	}
	s.mu.Unlock()
	if idle && in != nil {
		in.Tell(messages.Written{})
	}
}

// control appends a control frame to what goes first, by add, which gets the buffer to append to.
func (s *socket) control(add func([]byte) []byte) {
	s.mu.Lock()
	if s.out.closing {
		s.mu.Unlock()
		return
	}
	s.out.control = add(s.out.control)
	s.startWriting(false)
}

// write writes bufs, the rest of b, and then until the outbox is empty, as the one that writes.
func (s *socket) write(bufs net.Buffers, b *batch) {
	var deadline bool // one was set
	for {
		if bufs == nil {
			bufs, b = s.take()
		}
		if bufs == nil {
			if s.rested(deadline) {
				return
			}
			continue
		}
		if !s.writeNow(&bufs) {
			deadline = true
			_ = s.conn.SetWriteDeadline(time.Now().Add(s.set.cfg.WriteTimeout))
			if _, err := bufs.WriteTo(s.conn); err != nil {
				if b != nil {
					b.came = 0
				}
				s.written(b)
				s.unwritable(err)
				return
			}
		}
		s.written(b)
		bufs, b = nil, nil
	}
}

// writeNow writes what needs no waiting, and reports whether that was all.
func (s *socket) writeNow(bufs *net.Buffers) bool {
	if !s.direct() || len(*bufs) != 1 {
		return false
	}
	n := s.tryWrite((*bufs)[0])
	(*bufs)[0] = (*bufs)[0][n:]
	return len((*bufs)[0]) == 0
}

// tryWrite is one write that does not wait.
func (s *socket) tryWrite(b []byte) (n int) {
	_ = s.raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), b)
		return true
	})
	return max(n, 0)
}

// take takes what is to be written next.
func (s *socket) take() (bufs net.Buffers, b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	b = o.next()
	for _, bytes := range [][]byte{o.rest, o.control} {
		if len(bytes) > 0 {
			bufs = append(bufs, bytes)
		}
	}
	o.rest, o.control = nil, nil
	if b != nil {
		bufs = append(bufs, b.bytes)
	}
	if s.probe != nil && s.probe.sent.IsZero() {
		s.probe.sent = time.Now()
	}
	return bufs, b
}

// written says that b has gone out, or never will.
func (s *socket) written(b *batch) {
	if b == nil {
		return
	}
	if b.came > 0 {
		s.set.transit.Observe(time.Duration(s.set.now()) - b.came)
	}
	charge := b.charge
	b.free()
	s.mu.Lock()
	o := &s.out
	o.queued -= charge
	var in inbox
	if o.notify > 0 && o.passed-o.queued >= o.notify {
		o.notify = 0
		in = s.inbox
	}
	s.mu.Unlock()
	s.set.account(-charge)
	if in != nil {
		in.Tell(messages.Written{})
	}
}

// rested ends the writing, if nothing has come meanwhile.
func (s *socket) rested(deadline bool) bool {
	s.mu.Lock()
	o := &s.out
	if !o.empty() {
		s.mu.Unlock()
		return false
	}
	if deadline { // an expired one would keep tryWrite from writing. Cleared while nobody else can write
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
	o.writing = false
	last := o.closing && !o.shut
	o.shut = o.closing
	s.mu.Unlock()
	if last {
		s.set.verdicts[o.verdict].Add(1)
		s.closeWritten()
	}
	return true
}

// pong answers a ping. Where pongs cannot leave as fast as pings come, only the latest is kept (RFC 6455 5.5.3).
func (s *socket) pong(payload []byte) {
	s.control(func(b []byte) []byte {
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
func (s *socket) Close(code messages.CloseCode, reason string) { s.close(code, reason, false) }

// Drop implements actors.Socket.
func (s *socket) Drop(code messages.CloseCode, reason string) { s.close(code, reason, true) }

func (s *socket) close(code messages.CloseCode, reason string, drop bool) {
	s.mu.Lock()
	s.inbox = nil
	o := &s.out
	if o.closing {
		s.mu.Unlock()
		return
	}
	o.closing = true
	if drop {
		s.set.account(-o.discard())
	}
	if code == messages.CloseNone {
		o.shut = true
		s.mu.Unlock()
		s.cut()
		return
	}
	o.verdict = s.verdictOf(code, reason)
	b := o.grow(2 + maxControl)
	b.bytes = appendClose(b.bytes, code, reason)
	s.startWriting(false)
}

// unwritable says that nothing can be written any more: the connection is over, whatever was queued. To a phone that does
// not read, that is its backlog's fault.
func (s *socket) unwritable(err error) {
	s.mu.Lock()
	s.set.account(-s.out.discard())
	s.out.closing, s.out.shut = true, true
	s.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) && s.kind.backlog > 0 {
		s.ended(messages.CloseInternal, messages.ReasonBacklog, false)
	} else {
		s.ended(messages.CloseNone, "", false)
	}
	s.cut()
}
