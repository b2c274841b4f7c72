package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
)

// claimant is one claim and what becomes of it. Its own goroutine reads (live), and writes into claim; a driver lets it ask, fall
// silent and leave.
type claimant struct {
	s     *session
	link  *link
	made  time.Duration // when its connection was begun
	after func()        // called when it has ended, if there is one
	up    chan struct{} // closed by the upgrade
	done  chan struct{} // closed when claim is complete, and in the history

	mu      sync.Mutex // guards what follows, while it lives
	claim   history.Claim
	pings   uint64        // of ours
	ponged  chan struct{} // closed by the pong to our last ping; nil while none is out
	failure error         // why it never got as far as a claim
}

const (
	probeBytes  = 8                // the payload of a probe (docs/protocol.md 1); a heartbeat's ping has none
	leaveWithin = 10 * time.Second // the longest wait for the answer to a close frame

	requestWithin = 5 * time.Second // what a relay gives a request, from the connection to the last byte (docs/protocol.md 7)
)

// prepare connects for a claim, and sends all of its request but the last byte.
func (s *session) prepare(ctx context.Context, id string) (*claimant, error) {
	made := s.clock.now()
	l, err := s.fleet.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &claimant{s: s, link: l, made: made, up: make(chan struct{}), done: make(chan struct{})}
	c.claim.Server, c.claim.Client = id, int(s.clients.Add(1))
	return c, nil
}

// ask makes the claim, by the request's last byte.
func (c *claimant) ask() {
	c.claim.Asked = c.s.clock.now()
	c.failure = c.link.release()
	c.s.asked.Add(1)
	c.s.living.Go(c.live)
}

// live reads until the connection ends, and then writes down what became of the claim.
func (c *claimant) live() {
	defer func() {
		c.link.cut(false)
		close(c.done)
		if c.after != nil {
			c.after()
		}
	}()
	if c.failure != nil {
		c.s.missed(c.failure)
		return
	}
	_ = c.link.conn.SetReadDeadline(time.Now().Add(handshakeWithin))
	if err := c.link.upgraded(); err != nil {
		c.neverUpgraded(err)
		return
	}
	_ = c.link.conn.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.claim.Upgraded = c.s.clock.now()
	c.mu.Unlock()
	close(c.up)
	c.s.recordUpgrade(c.claim.Asked, c.claim.Upgraded)
	for {
		op, payload, err := c.link.next()
		now := c.s.clock.now()
		switch {
		case err != nil:
			c.ended(now, err)
			return
		case op == opClose:
			c.closed(now, payload)
			return
		case op == opPing:
			c.pinged(now, payload)
		case op == opPong:
			c.gotPong(payload)
		default:
			c.s.fault("a message for %s, which has no phones: %.100q", c.claim.Server, payload)
		}
	}
}

func (c *claimant) neverUpgraded(err error) {
	var answer *noUpgrade
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
	switch {
	case errors.As(err, &answer): // it was asked of nobody
		c.s.turnedAway(answer)
	case errors.As(err, new(wireFault)):
		c.s.fault("%s: %v", c.claim.Server, err)
	default:
		c.claim.End, c.claim.Ended = history.Cut, c.s.clock.now()
		if c.claim.Leaving == 0 && c.claim.Ended-c.made >= requestWithin { // the request may have come too late, and nobody knows
			c.claim.Leaving = c.claim.Asked
		}
		if c.claim.Leaving != 0 {
			c.claim.End = history.Dropped
		}
		c.s.history.Add(c.claim)
	}
}

// pinged answers. The moment of a pong is that before it is written: the relay may have it, and refuse others, before the
// writing returns.
func (c *claimant) pinged(now time.Duration, payload []byte) {
	c.mu.Lock()
	if c.claim.Silent != 0 || c.claim.Leaving != 0 {
		c.mu.Unlock()
		return
	}
	if c.claim.Held == 0 && len(payload) == probeBytes {
		c.claim.Held = now
	}
	at := len(c.claim.Pongs)
	sent := c.s.clock.now()
	c.claim.Pongs = append(c.claim.Pongs, history.Pong{Pinged: now, Sent: sent})
	c.mu.Unlock()
	if c.link.write(opPong, payload) != nil {
		c.mu.Lock()
		c.claim.Pongs[at].Sent = 0
		c.mu.Unlock()
	}
}

// closed: the relay sent a close frame, of its own or as an answer.
func (c *claimant) closed(now time.Duration, payload []byte) {
	code, reason, err := closing(payload)
	if err != nil {
		c.s.fault("%s: %v", c.claim.Server, err)
	}
	c.s.told(now, code, reason)
	c.mu.Lock()
	c.claim.Ended = now
	if c.claim.Leaving != 0 && code == leaveCode {
		c.claim.End = history.Left
	} else {
		c.claim.End, c.claim.Code, c.claim.Reason = history.Closed, uint16(code), reason
	}
	answer := c.claim.Leaving == 0 && c.claim.Silent == 0
	c.mu.Unlock()
	if answer {
		_ = c.link.write(opClose, payload)
	}
	c.complete()
}

// ended: the connection is gone without a close frame.
func (c *claimant) ended(now time.Duration, err error) {
	if errors.As(err, new(wireFault)) {
		c.s.fault("%s: %v", c.claim.Server, err)
	}
	c.mu.Lock()
	c.claim.Ended, c.claim.End = now, history.Cut
	if c.claim.Leaving != 0 {
		c.claim.End = history.Dropped
	}
	c.mu.Unlock()
	c.complete()
}

func (c *claimant) complete() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.add(&c.claim)
	c.claim.Pongs = nil // the history has them
}

// upgraded waits for the upgrade, and says whether it came.
func (c *claimant) upgraded() bool {
	select {
	case <-c.up:
		return true
	case <-c.done:
		return false
	}
}

// holds says whether a claim is neither refused nor over.
func (c *claimant) holds() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// pending says whether the relay has yet to answer the request.
func (c *claimant) pending() bool {
	select {
	case <-c.up:
		return false
	default:
		return true
	}
}

// fallSilent: from now on it answers nothing, as a peer that has died would. It still reads.
func (c *claimant) fallSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claim.Silent = c.s.clock.now()
}

// answers asks the relay for a pong, and says whether it came in time.
func (c *claimant) answers(within time.Duration) bool {
	c.mu.Lock()
	c.pings++
	c.ponged = make(chan struct{})
	ponged, payload := c.ponged, binary.BigEndian.AppendUint64(nil, c.pings)
	c.mu.Unlock()
	if c.link.write(opPing, payload) != nil {
		return false
	}
	return c.s.lookout.patience(within).await(ponged, c.done)
}

// gotPong: a pong of a former ping may come late, and an unasked one is no fault (RFC 6455 5.5.3).
func (c *claimant) gotPong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ponged != nil && len(payload) == 8 && binary.BigEndian.Uint64(payload) == c.pings {
		close(c.ponged)
		c.ponged = nil
	}
}

// leaveCode is what a claimant closes with.
const leaveCode = 1000

// leave gives the slot back, or withdraws: by a close frame whose answer is waited for, by FIN, or by a reset.
func (c *claimant) leave(how departure) {
	c.mu.Lock()
	if c.claim.Leaving == 0 {
		c.claim.Leaving = c.s.clock.now()
	}
	upgraded := c.claim.Upgraded != 0
	c.mu.Unlock()
	if how == cleanly && upgraded && c.link.writeClose(leaveCode, "done") == nil {
		_ = c.link.conn.SetReadDeadline(time.Now().Add(leaveWithin))
	} else {
		c.link.cut(how == byReset)
	}
	<-c.done
}

// departure is a way to leave.
type departure int

const (
	cleanly departure = iota
	byFIN
	byReset
)

func (d departure) String() string { return [...]string{"close frame", "FIN", "reset"}[d] }

// probed says that it surely holds, or held: only holders are probed.
func (c *claimant) probed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.claim.Held != 0
}

// told is what is known of it, in a line.
func (c *claimant) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := func(t time.Duration) string { return t.Round(time.Microsecond).String() }
	line := "asked at " + at(c.claim.Asked)
	if c.claim.Upgraded != 0 {
		line += ", upgraded at " + at(c.claim.Upgraded)
	}
	if c.claim.Held != 0 {
		line += ", probed first at " + at(c.claim.Held)
	}
	if c.claim.Ended != 0 {
		line += ", " + outcome(&c.claim) + " at " + at(c.claim.Ended)
	}
	return line
}

// name is the claim as reports call it.
func (c *claimant) name() string { return clientName(c.claim.Client) }

func clientName(n int) string { return fmt.Sprintf("c%d", n) }
