package transport

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// socket is one accepted WebSocket. It implements actors.Socket; see there for what it owes.
//
// It is read by one goroutine at a time: while it sleeps by the poller's, while it is awake by one of its own.
type socket struct {
	set        *sockets
	kind       *socketKind
	conn       net.Conn
	below      *arrival        // what lies below conn where that is TLS, or nil
	raw        syscall.RawConn // of TCP, or nil where the poller cannot be used
	gone       func()          // called when the connection is gone
	early      []byte          // came with the upgrade; until start
	fd         int32
	generation uint32 // the poller's

	heard  atomic.Int64 // when a byte last came, in nanoseconds of the set's clock
	pinged atomic.Int64 // when the heartbeat's ping went out that nothing came after; 0: none is out
	asleep atomic.Bool  // the poller reads; set by the goroutine that goes to sleep, cleared by the poller
	deaf   atomic.Bool  // what still comes is thrown away: Ended was told, or a close frame has gone out
	paused atomic.Bool  // no data message may be begun; set and cleared under mu

	mu       sync.Mutex      // guards what follows
	name     messages.ConnID // for people; empty until it has one
	peerDone bool            // its close frame, or the end of its stream, has come
	echoes   bool            // its close frame has come, and is what it is answered with
	lost     bool            // nothing can be read
	idle     bool            // its goroutine lingers in a read that may be ended
	held     []byte          // read while paused, from the header of a data message on; nobody reads until Resume
	inbox    inbox           // nil before start, and again once nothing may be told any more
	end      *messages.Ended // what ended the reading, once it has ended
	out      outbox
	probe    *probing    // the latest, if any is unanswered
	timer    *time.Timer // cuts a connection that was closed and does not go
}

// socketKind is what sockets of a kind have in common: those of binaries, those of phones.
type socketKind struct {
	maxMessage int   // bytes
	backlog    int64 // how much may be queued for the peer, each message charged its length and messages.FrameCost; 0: no limit
	paused     bool  // from the start
}

// inbox is where a socket's messages go.
type inbox interface{ Tell(messages.FromSocket) }

// probing is a ping that proves life.
type probing struct {
	asked   messages.Probe
	payload [8]byte
	sent    time.Time // zero until it leaves
}

// Ping implements actors.Socket.
func (s *socket) Ping(p messages.Probe) {
	pr := &probing{asked: p}
	binary.LittleEndian.PutUint64(pr.payload[:], rand.Uint64()) // ChaCha8: a peer cannot answer what it has not seen
	s.mu.Lock()
	s.probe = pr
	s.mu.Unlock()
	s.ping(pr.payload[:])
}

func (s *socket) ping(payload []byte) {
	s.control(func(b []byte) []byte {
		if len(b) > maxPending {
			return b // the peer takes nothing: one ping more would not be heard either
		}
		return append(appendHeader(b, opPing, len(payload)), payload...)
	})
}

// ponged takes a pong. Of another payload it is the heartbeat's, or nobody's: it was heard, and that is all.
func (s *socket) ponged(payload []byte) {
	now := time.Now()
	s.mu.Lock()
	p, in := s.probe, s.inbox
	if p == nil || string(p.payload[:]) != string(payload) || p.sent.IsZero() {
		s.mu.Unlock()
		return
	}
	s.probe = nil
	s.mu.Unlock()
	if in != nil {
		in.Tell(messages.Ponged{Epoch: p.asked.Epoch, Probe: p.asked.Probe, Sent: p.sent, Answered: now})
	}
}

// call gives the connection its name.
func (s *socket) call(name messages.ConnID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
}

// start answers the upgrade, and begins to tell in what comes. What ended the connection before is told now.
func (s *socket) start(in inbox) {
	s.greet()
	s.mu.Lock()
	if s.out.closing { // its actor has closed it already: refused at once
		s.mu.Unlock()
	} else if s.end != nil {
		e := *s.end
		s.mu.Unlock()
		in.Tell(e)
		return
	} else {
		s.inbox = in
		s.mu.Unlock()
	}
	s.set.begin(s)
}

// greet lets the answer to the upgrade go out, and what was queued behind it. Not before the actor has claimed or joined: whoever
// has read it comes before who dials after that (docs/protocol.md 1).
func (s *socket) greet() {
	s.mu.Lock()
	s.out.writing = false // as accept has left it, to hold all of it back
	s.startWriting(true)
}

// ended tells, once, that nothing more will be read, and how the connection should be closed.
func (s *socket) ended(code messages.CloseCode, reason string, drain bool) {
	s.deaf.Store(true)
	s.mu.Lock()
	if s.end != nil {
		s.mu.Unlock()
		return
	}
	e := messages.Ended{Code: code, Reason: reason, Drain: drain}
	s.end = &e
	in := s.inbox
	s.inbox = nil
	s.mu.Unlock()
	if in != nil {
		in.Tell(e)
	}
	s.Resume() // to hear the end of it
}

// Pause implements actors.Socket.
func (s *socket) Pause() {
	if s.paused.Load() {
		return
	}
	s.mu.Lock()
	s.paused.Store(true)
	s.mu.Unlock()
}

// Resume implements actors.Socket.
func (s *socket) Resume() {
	if !s.paused.Load() {
		return
	}
	s.mu.Lock()
	s.paused.Store(false)
	held := s.held
	s.held = nil
	s.mu.Unlock()
	if held != nil {
		s.heard.Store(s.set.now()) // for so long it was the relay that did not listen
		s.readOn(held)
	}
}

// hold keeps b until Resume. It reports false where that has come meanwhile.
func (s *socket) hold(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused.Load() || s.deaf.Load() {
		return false
	}
	s.held = append(make([]byte, 0, len(b)), b...)
	return true
}

// holding: nobody reads.
func (s *socket) holding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held != nil
}

// closeWritten ends the write side behind the close frame, and gives the peer the linger to end its own.
func (s *socket) closeWritten() {
	s.deaf.Store(true)
	s.Resume()
	s.mu.Lock()
	over := s.peerDone
	if !over {
		s.timer = time.AfterFunc(s.set.cfg.Linger, s.cut)
	}
	s.mu.Unlock()
	if over {
		s.cut()
		return
	}
	endWriting(s.conn)
	if s.below != nil { // TLS has an end of its own
		endWriting(s.tcp())
	}
}

func endWriting(c net.Conn) {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// cut ends the connection, now. Any goroutine, any number of times.
func (s *socket) cut() {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.set.forget(s)
	_ = s.tcp().Close() // TLS would try to say so, and wait for that
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
