package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// pairs lets phones and binaries exchange frames, and checks every one of them.
type pairs struct {
	load      `embed:""`
	Pairs     int           `default:"10" placeholder:"N" help:"How many binaries, each with one phone (${default})."`
	Size      []int         `default:"256" placeholder:"BYTES" help:"The sizes of frames, in turn (${default})."`
	Rate      float64       `default:"0" placeholder:"N" help:"Frames a second of each sender, by a schedule that waits for nobody; 0 is as fast as they are taken."`
	Direction string        `default:"both" enum:"both,up,down" help:"both, up (from phones to binaries) or down (${default})."`
	Duration  time.Duration `default:"10s" help:"How long (${default})."`
}

const maxFrame = 16 << 20

// Validate is called by kong.
func (c *pairs) Validate() error {
	switch {
	case c.Pairs < 1 || c.Duration <= 0:
		return fmt.Errorf("--pairs %d --duration %q: want at least 1, and a positive duration", c.Pairs, c.Duration)
	case !(c.Rate >= 0 && c.Rate <= 1e6): // nor NaN
		return fmt.Errorf("--rate %v: want 0 (as fast as possible) to 1000000", c.Rate)
	case len(c.Size) == 0 || slices.Min(c.Size) < minFrame || slices.Max(c.Size) > maxFrame:
		return fmt.Errorf("--size %v: want %d to %d bytes", c.Size, minFrame, maxFrame)
	}
	return c.validate()
}

func (c *pairs) run(e *environment) int { return tell(e, c) }

func (c *pairs) measure(e *environment) (*report.Result, error) {
	p := plan{title: "relay", steps: c.Duration.Milliseconds(), links: 2 * c.Pairs, of: "frames"}
	return c.execute(e, p, c.drive)
}

// pair is a binary and its phone.
type pair struct {
	s             *session
	id            string
	binary, phone *link
	up, down      *stream
	conn          string        // the phone's name, which its first frame tells the binary
	greeted       chan string   // the same, when it comes
	away          chan struct{} // the phone was turned away, since its binary's claim has not been decided yet
	readers       sync.WaitGroup
	known         atomic.Bool // the first frame has come
	leaving       atomic.Bool
	dead          atomic.Bool // one of the two connections ended by itself
	giveUp        func()      // ends the waiting for the first frame
}

// greeting is a frame before the first: by it the binary knows its phone.
const greeting = `"greetings"`

func (c *pairs) drive(ctx context.Context, s *session) {
	all := make([]*pair, c.Pairs)
	ids := s.ids(c.Pairs)
	tallies := make([]*tally, min(c.Pairs, maxTallies))
	for i := range tallies {
		tallies[i] = newTally()
	}
	each(c.Pairs, dialers, func(i int) {
		p, err := c.join(ctx, s, ids[i], i, tallies[i%len(tallies)])
		if err != nil {
			if ctx.Err() == nil {
				s.missed(err)
			}
			return
		}
		all[i] = p
	})
	all = slices.DeleteFunc(all, func(p *pair) bool { return p == nil })
	if len(all) < c.Pairs && ctx.Err() == nil {
		s.void("%d of %d pairs could be connected.", len(all), c.Pairs)
	}
	s.looked(checkPairs, 2*len(all))
	began := s.clock.now()
	c.exchange(ctx, s, all)
	lasted := s.clock.now() - began
	each(len(all), dialers, func(i int) { all[i].leave() })
	c.tell(s, all, tallies, lasted)
}

// maxTallies is how many tallies the pairs share: more than there are cores, so that they seldom meet.
const maxTallies = 16

// join connects a binary, and then its phone, until the one knows the other.
func (c *pairs) join(ctx context.Context, s *session, id string, n int, y *tally) (p *pair, err error) {
	interval := time.Duration(0)
	if c.Rate > 0 {
		interval = time.Duration(float64(time.Second) / c.Rate)
	}
	p = &pair{s: s, id: id, greeted: make(chan string, 1), away: make(chan struct{}, 1)}
	p.up = newStream(fmt.Sprintf("up%06d", n+1), c.Size, interval, y)
	p.down = newStream(fmt.Sprintf("dn%06d", n+1), c.Size, interval, y)
	p.up.phase, p.down.phase = interval*time.Duration(2*n)/time.Duration(2*c.Pairs), interval*time.Duration(2*n+1)/time.Duration(2*c.Pairs)
	if p.binary, err = s.fleet.join(ctx, "/v1/server", id, "X-Pyrycode-Version: claimstorm"); err != nil {
		return nil, err
	}
	ctx, p.giveUp = context.WithTimeout(ctx, handshakeWithin)
	defer p.giveUp()
	p.readers.Go(func() { p.read(p.binary, "binary", p.fromPhone) })
	for ctx.Err() == nil {
		phone, failed := s.fleet.join(ctx, "/v1/client", id, "X-Pyrycode-Token: claimstorm", "X-Pyrycode-Device-Name: claimstorm")
		if err = failed; err != nil {
			break
		}
		p.phone = phone
		p.readers.Go(func() { p.read(phone, "phone", p.fromBinary) })
		_ = phone.write(opText, []byte(greeting))
		select {
		case p.conn = <-p.greeted:
			return p, nil
		case <-p.away:
			pause(ctx, joinAgain)
		case <-ctx.Done():
		}
	}
	p.leave()
	if p.dead.Load() {
		return nil, errors.New("a connection ended before the first frame of the phone had reached its binary")
	}
	return nil, cmp.Or(err, fmt.Errorf("the first frame of a phone did not reach its binary within %s", handshakeWithin))
}

// joinAgain is how long a phone waits that was turned away: a binary's upgrade may be through before its claim is.
const joinAgain = 10 * time.Millisecond

// exchange lets everybody send for a while, and waits until everything has come, or long enough.
func (c *pairs) exchange(ctx context.Context, s *session, all []*pair) {
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	var senders sync.WaitGroup
	for _, p := range all {
		if c.Direction != "down" {
			senders.Go(func() { p.up.send(ctx, s.clock, p.phone, func(b, frame []byte) []byte { return append(b, frame...) }) })
		}
		if c.Direction != "up" {
			senders.Go(func() {
				p.down.send(ctx, s.clock, p.binary, func(b, frame []byte) []byte { return appendEnvelope(b, p.conn, frame) })
			})
		}
	}
	began := s.clock.now()
	for pause(ctx, 100*time.Millisecond) && !s.violated() && !s.gone() {
		s.progress.Set((s.clock.now() - began).Milliseconds(), fmt.Sprintf("%d frames", arrived(all)))
	}
	cancel()
	senders.Wait()
	for patience := s.lookout.patience(drainWithin); !whole(all) && !patience.over(); {
		pause(context.WithoutCancel(ctx), 5*time.Millisecond)
	}
}

// drainWithin is how long the last frames may take.
const drainWithin = 10 * time.Second

func arrived(all []*pair) (n int64) {
	for _, p := range all {
		for _, t := range []*stream{p.up, p.down} {
			t.mu.Lock()
			n += t.arrived
			t.mu.Unlock()
		}
	}
	return n
}

func whole(all []*pair) bool {
	return !slices.ContainsFunc(all, func(p *pair) bool { return !p.dead.Load() && (!p.up.whole() || !p.down.whole()) })
}

// read serves one end until its connection ends.
func (p *pair) read(l *link, who string, message func(payload []byte)) {
	defer l.cut(false)
	for {
		op, payload, err := l.next()
		switch {
		case err != nil || op == opClose:
			if !p.leaving.Load() {
				p.ended(who, payload, err)
			}
			return
		case op == opPing:
			_ = l.write(opPong, payload)
		case op == opText:
			message(payload)
		}
	}
}

// ended: it should not have.
func (p *pair) ended(who string, payload []byte, err error) {
	code, reason := 0, ""
	if err == nil {
		code, reason, _ = closing(payload)
	}
	if code == codeNoServer && !p.known.Load() {
		p.away <- struct{}{}
		return
	}
	p.dead.Store(true)
	p.giveUp()
	how := ""
	var fault wireFault
	switch {
	case errors.As(err, &fault):
		p.s.fault("to the %s of %s: %v", who, p.id, err)
		return
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		how = explain(err)
	case err != nil:
		how = "the connection broke: " + explain(err)
	default:
		p.s.told(p.s.clock.now(), code, reason)
		how = fmt.Sprintf("the relay closed it with %d %q", code, reason)
	}
	p.s.violate(report.Violation{
		Check: checkPairs, ID: p.id, At: p.s.clock.now(), Says: fmt.Sprintf("The %s of %s did nothing wrong, and its connection ended.", who, p.id), Evidence: how + "\n",
	})
}

func (p *pair) fromPhone(payload []byte) {
	now := p.s.clock.now()
	conn, frame, code, err := opened(payload)
	switch {
	case err != nil:
		p.s.fault("to the binary of %s: %v", p.id, err)
	case frame == nil && p.leaving.Load():
	case frame == nil:
		p.dead.Store(true)
		p.s.violate(report.Violation{
			Check: checkPairs, ID: p.id, At: now, Says: fmt.Sprintf("The binary of %s was told that its phone, which did nothing wrong, is gone.", p.id),
			Evidence: fmt.Sprintf("a close notice with the code %d\n", code),
		})
	case string(frame) == greeting:
		if p.known.Swap(true) {
			p.s.violate(report.Violation{Check: checkOnce, ID: p.id, At: now, Says: "The first frame of the phone came again."})
			return
		}
		p.greeted <- conn
	default:
		p.up.receive(now, frame)
	}
}

func (p *pair) fromBinary(payload []byte) { p.down.receive(p.s.clock.now(), payload) }

// codeNoServer is what a phone is turned away with (docs/protocol.md 6).
const codeNoServer = 4404

// leave ends the phone, if there is one, and then the binary.
func (p *pair) leave() {
	p.leaving.Store(true)
	for _, l := range []*link{p.phone, p.binary} {
		if l == nil {
			continue
		}
		_ = l.conn.SetReadDeadline(time.Now().Add(leaveWithin))
		_ = l.writeClose(leaveCode, "done")
	}
	p.readers.Wait()
}

// tell fills in what was measured.
func (c *pairs) tell(s *session, all []*pair, tallies []*tally, lasted time.Duration) {
	up, down := report.Throughput{Name: "phone to binary"}, report.Throughput{Name: "binary to phone"}
	waits, corrected := report.NewHistogram(), report.NewHistogram()
	for _, p := range all {
		p.up.judge(s, p, up.Name, &up)
		p.down.judge(s, p, down.Name, &down)
		s.behind = max(s.behind, p.up.behind, p.down.behind)
	}
	for _, y := range tallies {
		waits.Merge(y.waits)
		corrected.Merge(y.corrected)
	}
	senders := map[string]int{"both": 2, "up": 1, "down": 1}[c.Direction] * c.Pairs
	s.frames = &report.Frames{Pairs: c.Pairs, Sizes: c.Size, Wanted: c.Rate * float64(senders)}
	for _, t := range []*report.Throughput{&up, &down} {
		if t.Sent > 0 {
			t.PerSecond, t.BytesPerSecond = perSecond(t.Arrived, lasted), t.BytesPerSecond/lasted.Seconds()
			s.frames.Directions = append(s.frames.Directions, *t)
		}
	}
	s.counted, s.lasted = up.Arrived+down.Arrived, lasted
	if c.Rate > 0 {
		s.latencies = append(s.latencies, report.Latency{Name: "of a frame, since due", Corrected: true, Histogram: corrected})
	}
	s.latencies = append(s.latencies, report.Latency{Name: "of a frame, since written", Histogram: waits})
}
