package transport

import (
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reads the connections that sleep: an epoll of our own, whose descriptor waits in Go's. It answers pings itself, and
// wakes a connection for everything else. It never waits, and never runs an actor.
type poller struct {
	set  *sockets
	fd   int
	file *os.File
	raw  syscall.RawConn

	mu         sync.Mutex // guards the two below
	table      map[int32]*socket
	generation uint32
}

const (
	asleepEvents = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	awakeEvents  = unix.EPOLLET // HUP and ERR cannot be masked; edge triggered, they do not spin
)

func newPoller(set *sockets) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{set: set, fd: fd, file: os.NewFile(uintptr(fd), "epoll"), table: make(map[int32]*socket)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, err
	}
	set.goroutine(p.run)
	return p, nil
}

func (p *poller) stop() { _ = p.file.Close() }

// arm lets the poller read s, which looks again whether something has come. Nothing of s may be touched after it. The first
// time it makes s known: the poller holds it from here on, since a sleeping connection that nobody knew would be closed by its
// finalizer. Where the system has no room for one more, the connection ends.
func (p *poller) arm(s *socket) {
	if s.generation != 0 {
		p.modify(s, asleepEvents)
		return
	}
	var err error
	_ = s.raw.Control(func(fd uintptr) {
		p.mu.Lock()
		p.generation++
		s.fd, s.generation = int32(fd), p.generation
		p.table[s.fd] = s
		p.mu.Unlock()
		ev := unix.EpollEvent{Events: asleepEvents, Fd: s.fd, Pad: int32(s.generation)}
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &ev)
	})
	if err != nil {
		p.set.goroutine(func() { s.unwritable(err) })
	}
}

// modify runs inside Control, which keeps the descriptor from being reused under it. On a connection that was closed
// meanwhile it does nothing.
func (p *poller) modify(s *socket, events uint32) {
	_ = s.raw.Control(func(fd uintptr) {
		ev := unix.EpollEvent{Events: events, Fd: s.fd, Pad: int32(s.generation)}
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, int(fd), &ev)
	})
}

// remove forgets s, before its descriptor is closed.
func (p *poller) remove(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.generation != 0 && p.table[s.fd] == s {
		delete(p.table, s.fd)
	}
}

// run ends when the epoll's descriptor is closed.
func (p *poller) run() {
	var (
		events [256]unix.EpollEvent
		n      int
		buf    = buffers.Get().(*buffer)
	)
	wait := func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), events[:], 0)
		return err == nil && n > 0 || err != nil && err != unix.EINTR
	}
	for p.raw.Read(wait) == nil && n >= 0 {
		for _, ev := range events[:n] {
			p.mu.Lock()
			s := p.table[ev.Fd]
			p.mu.Unlock()
			// An event of a descriptor's former life, or of a connection that reads itself, is nobody's business here.
			if s == nil || s.generation != uint32(ev.Pad) || !s.asleep.CompareAndSwap(true, false) {
				continue
			}
			if !p.serve(s, buf, ev.Events&^unix.EPOLLIN == 0) {
				buf = buffers.Get().(*buffer)
			}
		}
	}
}

// serve handles what came for a sleeping connection. It reports false where it gave the buffer away. A short read of a
// stream without news of its end has emptied it; else the connection's own goroutine must look.
func (p *poller) serve(s *socket, buf *buffer, plain bool) bool {
	buf.r, buf.w = 0, 0
	if s.below != nil { // TLS may have to write in order to read, and to wait for that: not here
		p.modify(s, awakeEvents)
		p.set.goroutine(func() { s.read(buf) })
		return false
	}
	err := buf.readNow(s.raw)
	switch {
	case s.deaf.Load() && err == nil && buf.w < len(buf.bytes) && plain, err == syscall.EAGAIN && plain:
		s.asleep.Store(true)
		return true
	case err == nil && buf.w < len(buf.bytes) && plain && s.heartbeats(buf.bytes[:buf.w]):
		s.heard.Store(p.set.now())
		s.asleep.Store(true)
		return true
	case err != nil && err != syscall.EAGAIN && err != io.EOF && err != syscall.EINTR:
		buf.w = 0 // reset: the goroutine reads it once more, and hears the same
	}
	p.modify(s, awakeEvents)
	if err == nil {
		s.heard.Store(p.set.now())
	}
	p.set.goroutine(func() { s.read(buf) })
	return false
}

// heartbeats answers b if it is nothing but whole pings, and pongs that no actor waits for.
func (s *socket) heartbeats(b []byte) bool {
	s.mu.Lock()
	probed := s.probe != nil
	s.mu.Unlock()
	for rest := b; len(rest) > 0; {
		h, ok := parseHeader(rest)
		if !ok || h.invalid || h.opcode != opPing && (h.opcode != opPong || probed) || len(rest) < h.size+int(h.length) {
			return false
		}
		rest = rest[h.size+int(h.length):]
	}
	var out [2 * maxPending]byte
	pongs := out[:0]
	for len(b) > 0 {
		h, _ := parseHeader(b)
		p := b[h.size : h.size+int(h.length)]
		b = b[h.size+int(h.length):]
		if h.opcode == opPing {
			unmask(p, h.key, 0)
			if len(pongs)+2+len(p) > maxPending {
				pongs = pongs[:0] // the latest is answered (RFC 6455 5.5.3)
			}
			pongs = append(appendHeader(pongs, opPong, len(p)), p...)
		}
	}
	if len(pongs) > 0 {
		s.sendNow(pongs)
	}
	return true
}

// sendNow writes b if that needs no waiting and nobody else writes, and queues it otherwise.
func (s *socket) sendNow(b []byte) {
	s.mu.Lock()
	if s.out.writing || s.out.closing {
		s.mu.Unlock()
		s.control(func(q []byte) []byte {
			if len(q)+len(b) > maxPending {
				q = keepPings(q)
			}
			return append(q, b...)
		})
		return
	}
	s.out.writing = true
	s.mu.Unlock()
	n := s.tryWrite(b)
	s.mu.Lock()
	s.out.rest = append(s.out.rest, b[n:]...)
	more := !s.out.empty() || s.out.closing
	s.out.writing = more
	s.mu.Unlock()
	if more {
		s.set.goroutine(func() { s.write(nil, nil) })
	}
}
