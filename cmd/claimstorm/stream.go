package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// stream is the frames of one sender to one receiver. Each is a goroutine.
type stream struct {
	name     string
	sizes    []int
	interval time.Duration // between two frames by the schedule; 0 is as fast as possible
	window   chan struct{} // a token for each frame under way, so that neither end is drowned

	// The sender's.
	sent   atomic.Int64
	behind time.Duration // the most that it was late

	// The receiver's.
	mu      sync.Mutex    // guards what follows
	origin  time.Duration // when frame 1 is due, which the sender sets
	arrived int64
	bytes   int64
	next    int64              // the number that is expected
	missing map[int64]struct{} // numbers that were passed over
	doubled finding
	swapped finding
	changed finding
	tally   *tally
}

// finding counts something that went wrong, and keeps the first of it.
type finding struct {
	times int64
	first string
}

func (f *finding) add(format string, args ...any) {
	if f.times++; f.times == 1 {
		f.first = fmt.Sprintf(format, args...)
	}
}

// tally is the waits of several streams: a histogram is large.
type tally struct {
	mu        sync.Mutex
	waits     *hdrhistogram.Histogram // from the writing to the reading
	corrected *hdrhistogram.Histogram // from when the schedule wanted it written; empty where there is none
}

func newTally() *tally {
	return &tally{waits: report.NewHistogram(), corrected: report.NewHistogram()}
}

func (y *tally) record(wait, corrected time.Duration, scheduled bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	report.Record(y.waits, wait)
	if scheduled {
		report.Record(y.corrected, corrected)
	}
}

// maxMissing bounds what a receiver remembers of holes.
const maxMissing = 1 << 16

func newStream(name string, sizes []int, interval time.Duration, y *tally) *stream {
	return &stream{
		name: name, sizes: sizes, interval: interval, window: make(chan struct{}, windowOf(slices.Max(sizes))), next: 1,
		missing: map[int64]struct{}{}, tally: y,
	}
}

// windowOf is how many frames may be under way: less than a relay would close a phone for (docs/protocol.md 3).
func windowOf(size int) int { return min(max(1<<20/size, 1), 256) }

// batchBytes is how much is written at once, when so much may be sent.
const batchBytes = 64 << 10

// send writes frames until ctx ends: wrap makes a message of a frame.
func (t *stream) send(ctx context.Context, c *clock, l *link, wrap func(b, frame []byte) []byte) {
	var batch, message, frame []byte
	origin := c.now()
	t.mu.Lock()
	t.origin = origin
	t.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(1); ctx.Err() == nil; {
		if t.interval > 0 {
			timer.Reset(origin + time.Duration(n-1)*t.interval - c.now())
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		batch = batch[:0]
		for len(batch) < batchBytes && t.due(c, origin, n) && t.admit(ctx, len(batch) == 0) {
			frame = appendOurs(frame[:0], t.name, n, c.now(), t.sizes[int(n)%len(t.sizes)])
			message = wrap(message[:0], frame)
			batch = appendFrame(batch, opText, message)
			n++
		}
		if len(batch) == 0 {
			continue
		}
		if l.writeAll(batch) != nil {
			return // the reader says why
		}
		t.sent.Store(n - 1)
	}
}

// due says whether frame n may go out, and how late it is.
func (t *stream) due(c *clock, origin time.Duration, n int64) bool {
	if t.interval == 0 {
		return true
	}
	late := c.now() - (origin + time.Duration(n-1)*t.interval)
	t.behind = max(t.behind, late)
	return late >= 0
}

// admit takes a place in the window, and waits for one if it is to.
func (t *stream) admit(ctx context.Context, wait bool) bool {
	select {
	case t.window <- struct{}{}:
		return true
	default:
	}
	if !wait {
		return false
	}
	select {
	case t.window <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// receive judges one frame.
func (t *stream) receive(now time.Duration, frame []byte) {
	name, seq, sent, err := ours(frame)
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.window:
	default:
	}
	switch {
	case err != nil:
		t.changed.add("behind number %d: %v", t.next-1, err)
		return
	case name != t.name:
		t.changed.add("behind number %d: number %d of another stream, %s", t.next-1, seq, name)
		return
	case seq < t.next:
		if _, hole := t.missing[seq]; !hole {
			t.doubled.add("number %d", seq)
			return
		}
		delete(t.missing, seq)
		t.swapped.add("number %d", seq)
	default:
		for ; t.next < seq && len(t.missing) < maxMissing; t.next++ {
			t.missing[t.next] = struct{}{}
		}
		t.next = seq + 1
	}
	t.arrived++
	t.bytes += int64(len(frame))
	t.tally.record(now-sent, now-(t.origin+time.Duration(seq-1)*t.interval), t.interval > 0)
}

// whole says whether everything that was sent has come.
func (t *stream) whole() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arrived+t.changed.times >= t.sent.Load()
}

// judge adds what was wrong with the stream to the session. A frame that was changed is not lost, nor is one under way when a
// connection ends: that is a fault of its own.
func (t *stream) judge(s *session, p *pair, way string, into *report.Throughput) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent := t.sent.Load()
	lost := max(sent-t.arrived-t.changed.times, 0)
	into.Sent, into.Arrived = into.Sent+sent, into.Arrived+t.arrived
	into.BytesPerSecond += float64(t.bytes) // divided later
	into.Lost, into.Doubled = into.Lost+lost, into.Doubled+t.doubled.times
	into.Swapped, into.Changed = into.Swapped+t.swapped.times, into.Changed+t.changed.times
	for _, check := range []string{checkComplete, checkOnce, checkOrder, checkBytes} {
		s.looked(check, int(sent))
	}
	accuse := func(check, format string, args ...any) {
		s.violate(report.Violation{
			Check: check, ID: p.id, At: s.clock.now(), Says: fmt.Sprintf("Stream %s, %s: ", t.name, way) + fmt.Sprintf(format, args...) + ".",
			Evidence: fmt.Sprintf("%d frames were sent, %d arrived as they were, the last of them number %d\n", sent, t.arrived, t.next-1),
		})
	}
	if lost > 0 && !p.dead.Load() {
		first := t.next
		for seq := range t.missing {
			first = min(first, seq)
		}
		accuse(checkComplete, "%d frames did not arrive, number %d first", lost, first)
	}
	for _, f := range []struct {
		finding
		check, says string
	}{
		{t.doubled, checkOnce, "came again"},
		{t.swapped, checkOrder, "came behind later ones"},
		{t.changed, checkBytes, "were not as they were sent"},
	} {
		if f.times > 0 {
			accuse(f.check, "%d frames %s, the first %s", f.times, f.says, f.first)
		}
	}
}
