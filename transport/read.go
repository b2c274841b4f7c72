package transport

import (
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// buffer is what a connection reads into while it is awake, and with what.
type buffer struct {
	bytes []byte
	r, w  int // what was read and not yet used

	lent messages.Received // the message that is being handed on

	// For one read that does not wait: made once, since a closure a read would be three allocations.
	n   int
	err error
	try func(fd uintptr) bool
}

// A connection whose peer fills a small buffer goes on with a large one: so a burst costs few system calls, and what says a word now
// and then little memory.
const (
	smallBuffer = 16 << 10
	largeBuffer = 64 << 10
)

var (
	buffers      = sync.Pool{New: func() any { return newBuffer(smallBuffer) }}
	largeBuffers = sync.Pool{New: func() any { return newBuffer(largeBuffer) }}
)

func newBuffer(size int) *buffer {
	b := &buffer{bytes: make([]byte, size)}
	b.try = func(fd uintptr) bool {
		b.n, b.err = syscall.Read(int(fd), b.bytes[b.w:])
		return true
	}
	return b
}

// larger moves what b holds to a large buffer.
func (b *buffer) larger() *buffer {
	l := largeBuffers.Get().(*buffer)
	l.r, l.w = 0, copy(l.bytes, b.bytes[b.r:b.w])
	b.free()
	return l
}

func (b *buffer) free() {
	b.r, b.w = 0, 0
	if len(b.bytes) == largeBuffer {
		largeBuffers.Put(b)
		return
	}
	buffers.Put(b)
}

// readNow reads what has come. It gives EAGAIN where nothing has, and io.EOF where nothing will.
func (b *buffer) readNow(raw syscall.RawConn) error {
	if err := raw.Read(b.try); err != nil {
		return err
	}
	switch {
	case b.err != nil:
		return b.err
	case b.n == 0:
		return io.EOF
	}
	b.w += b.n
	return nil
}

// readNow reads into b what has come, as its readNow does.
func (s *socket) readNow(b *buffer) error {
	if s.below == nil {
		return b.readNow(s.raw)
	}
	s.below.now = true
	n, err := s.conn.Read(b.bytes[b.w:])
	s.below.now = false
	b.w += n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// reading is a connection while it is awake.
type reading struct {
	*socket
	buf *buffer

	open     bool   // a message has begun
	message  []byte // of it, what has come; empty for one that is whole in buf
	held     bool   // the next message may not begin: it waits in the socket
	rest     int64  // of the current frame, what has not
	head     header // of the current frame
	began    int64  // when the rest of a message was first asked for, by the set's clock; 0: none is under way
	deadline bool   // the read deadline is set
	lingers  bool   // it has been made known to those who send it to sleep
	spoke    bool   // a data message has come since this connection woke
}

// read runs an awake connection until it sleeps again or ends. The buffer may hold what was read already.
func (s *socket) read(buf *buffer) {
	r := reading{socket: s, buf: buf}
	for {
		r.consume()
		if r.held {
			r.setDeadline(0)
			if r.lingers { // before another may read
				r.lingers = false
				s.set.lingering.remove(s)
			}
			if s.hold(r.buf.bytes[r.buf.r:r.buf.w]) {
				break // from here on whoever resumes reads
			}
			r.held = false
			continue
		}
		if !r.more() {
			break
		}
	}
	if r.lingers {
		s.set.lingering.remove(s)
	}
	r.buf.free()
	if s.raw != nil && !r.held && !s.isGone() {
		s.asleep.Store(true)
		s.set.poll.arm(s) // the last act: from here on the poller reads
	}
}

// readOn reads as one that is awake, from b on.
func (s *socket) readOn(b []byte) {
	pool := &buffers
	if len(b) > smallBuffer {
		pool = &largeBuffers
	}
	buf := pool.Get().(*buffer)
	buf.r, buf.w = 0, copy(buf.bytes, b)
	s.set.goroutine(func() { s.read(buf) })
}

// more waits for bytes. It reports false where there is nothing to wait for: the connection sleeps, or has ended.
func (r *reading) more() bool {
	if r.buf.w == len(r.buf.bytes) && r.buf.w < largeBuffer {
		r.buf = r.buf.larger()
	}
	b := r.buf
	if b.r > 0 {
		b.w = copy(b.bytes, b.bytes[b.r:b.w])
		b.r = 0
	}
	between := !r.open && b.w == 0
	if between {
		r.setDeadline(0)
	} else if r.began == 0 {
		r.began = r.heard.Load()
	}
	linger := between && r.raw != nil && r.spoke && !r.deaf.Load()
	if r.raw != nil && !linger { // to wait costs something, be it a timer or the way to sleep: look first
		if err := r.readNow(b); err != syscall.EAGAIN && err != syscall.EINTR {
			return r.got(err)
		}
		if between {
			return false
		}
	}
	if !between && !r.deadline {
		r.setDeadline(r.set.cfg.ReadTimeout)
	}
	if linger {
		r.linger()
	}
	n, err := r.conn.Read(b.bytes[b.w:])
	b.w += n
	if n > 0 {
		err = nil
	}
	if linger && r.lingered() && isTimeout(err) {
		return false
	}
	return r.got(err)
}

// setDeadline gives what is read next so much time; 0 is any, since no message is under way.
func (r *reading) setDeadline(d time.Duration) {
	if d == 0 {
		r.began = 0
		if !r.deadline {
			return
		}
	}
	r.deadline = d > 0
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = r.conn.SetReadDeadline(at)
}

// got takes how a read ended. It reports false where that was the last.
func (r *reading) got(err error) bool {
	switch {
	case err == nil:
		now := r.set.now()
		r.heard.Store(now)
		if r.began > 0 && now-r.began > int64(r.set.cfg.ReadTimeout) { // where there is always something to read no deadline is set
			r.ended(messages.ClosePolicy, messages.ReasonTooSlow, false)
		}
	case isTimeout(err): // of the message, also where the read would not have waited
		r.ended(messages.ClosePolicy, messages.ReasonTooSlow, false)
	default:
		r.nothingComes()
		return false
	}
	return true
}

// consume uses up the whole frames of the buffer, and of a data frame what is there.
func (r *reading) consume() {
	for {
		if r.deaf.Load() {
			r.buf.r = r.buf.w
			r.open, r.rest, r.message = false, 0, nil
			return
		}
		b := r.buf.bytes[r.buf.r:r.buf.w]
		if r.rest > 0 {
			if len(b) == 0 {
				return
			}
			r.payload(b)
			continue
		}
		h, ok := parseHeader(b)
		if !ok {
			return
		}
		if h.invalid {
			r.ended(messages.CloseProtocolError, "", false)
			continue
		}
		if h.opcode >= opClose {
			if int64(len(b)-h.size) < h.length {
				return
			}
			p := b[h.size : h.size+int(h.length)]
			unmask(p, h.key, 0)
			r.buf.r += h.size + int(h.length)
			if r.control(h.opcode, p); !r.open {
				r.setDeadline(0)
			}
			continue
		}
		if (h.opcode == opContinuation) != r.open {
			r.ended(messages.CloseProtocolError, "", false)
			continue
		}
		if !r.open && r.paused.Load() {
			r.held = true
			return
		}
		if h.length > int64(r.kind.maxMessage-len(r.message)) { // a sum might overflow
			r.ended(messages.CloseTooBig, messages.ReasonTooBig, false)
			continue
		}
		r.buf.r += h.size
		if !r.open && h.fin && int64(len(b)-h.size) >= h.length { // the common case: whole, and in here
			m := b[h.size : h.size+int(h.length)]
			unmask(m, h.key, 0)
			r.buf.r += int(h.length)
			r.received(m, r.buf.r == r.buf.w)
			continue
		}
		r.open, r.head, r.rest = true, h, h.length
		if r.rest == 0 {
			r.frameDone()
		}
	}
}

// payload takes what has come of the current data frame.
func (r *reading) payload(b []byte) {
	n := min(int64(len(b)), r.rest)
	at := r.head.length - r.rest
	unmask(b[:n], r.head.key, at)
	// Grown by what has come, never by what a header claims.
	r.message = append(r.message, b[:n]...)
	r.buf.r += int(n)
	r.rest -= n
	if r.rest == 0 {
		r.frameDone()
	}
}

func (r *reading) frameDone() {
	if !r.head.fin {
		return
	}
	r.open = false
	r.received(r.message, r.buf.r == r.buf.w)
	r.message = r.message[:0] // kept while the connection is awake
}

// received hands on a message, whose bytes may be used again when this returns.
func (r *reading) received(m []byte, last bool) {
	r.spoke = true
	r.setDeadline(0)
	r.mu.Lock()
	in := r.inbox
	r.mu.Unlock()
	if in != nil {
		lent := &r.buf.lent
		*lent = messages.Received{Bytes: m, Passing: messages.Passing{Last: last, Came: time.Duration(r.heard.Load())}}
		in.Tell(lent)
		lent.Bytes = nil
	}
}

func (r *reading) control(opcode byte, p []byte) {
	switch opcode {
	case opPing:
		r.pong(p)
	case opPong:
		r.ponged(p)
	case opClose:
		code, whole := closeVerdict(p)
		r.mu.Lock()
		r.peerDone, r.echoes = true, whole
		shut := r.out.shut
		r.mu.Unlock()
		if shut {
			r.cut() // both have said it
			return
		}
		r.ended(code, "", false)
	}
}

// nothingComes says that nothing will come any more. Where the close frame has gone out too, that is the end.
func (s *socket) nothingComes() {
	s.mu.Lock()
	s.peerDone, s.lost = true, true
	shut := s.out.shut
	s.mu.Unlock()
	if shut {
		s.cut()
		return
	}
	s.ended(messages.CloseNone, "", false)
}

func (s *socket) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}
