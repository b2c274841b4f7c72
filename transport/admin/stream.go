package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
)

const (
	// maxStreams bounds the readers of GET /claims/stream.
	maxStreams = 1024
	// feedBlocks is how many of the newest blocks are kept, encoded, for all streams together: some 16,000 decisions.
	feedBlocks = 256
	// feedPause is the least time between two rounds: in a storm, readers are woken for many decisions at once.
	feedPause = 100 * time.Millisecond
	// streamBytes is how much a second all streams together may be sent, and streamBurst how much of it at once: so much of the
	// machine, and no more, may onlookers take from those whom they look at. Whoever does not get his share misses some. A write
	// counts as writeCost at least, however short, and a block of the past, which is encoded for one reader alone, as pastCost.
	streamBytes = 4 << 20
	streamBurst = 1 << 20
	writeCost   = 16 << 10
	pastCost    = 64 << 10
	// streamWrite is how much text is gathered for one write, unless a single block is more.
	streamWrite = 64 << 10
	// streamTimeout is how long a reader may take to take what it is sent. Whoever takes longer is dropped.
	streamTimeout = 5 * time.Second
	// streamIdle is how often a stream without news says that it is there, and how far it has come.
	streamIdle = 15 * time.Second
)

// feed makes the journal's entries into text, once for all streams. It is the journal's one reader who is woken: what a stream
// costs, the registry does not pay.
type feed struct {
	journal *actors.Journal
	pace    *rate.Limiter
	timeout time.Duration // streamTimeout, but in tests

	mu      sync.Mutex    // guards the rest; held to add a block or to find one
	streams int           // how many there are
	dropped int64         // how many were, for not reading
	blocks  []*block      // the newest, oldest first, without gaps
	last    int64         // the last entry that was looked at
	news    chan struct{} // closed when that grows
	over    bool          // it does not any more
}

// block is some successive entries as they go out. Nothing in it is ever changed.
type block struct {
	entries []machine.Entry
	text    []byte
	ends    []int // of each entry's text
}

func newFeed(j *actors.Journal) *feed {
	return &feed{journal: j, pace: rate.NewLimiter(streamBytes, streamBurst), timeout: streamTimeout, news: make(chan struct{})}
}

// run looks for news until done is closed, and once more then.
func (f *feed) run(done <-chan struct{}) {
	pause := time.NewTicker(feedPause)
	defer pause.Stop()
	for over := false; !over; {
		f.journal.Await(done)
		select {
		case <-done:
			over = true
		case <-pause.C:
		}
		f.catchUp(over)
	}
}

// catchUp encodes what is new, if anybody listens.
func (f *feed) catchUp(over bool) {
	f.mu.Lock()
	after := f.last
	if f.streams == 0 {
		after, f.blocks = f.journal.Last(), nil
	}
	f.mu.Unlock()
	var blocks []*block
	for b := readBlock(f.journal, after); b != nil; b = readBlock(f.journal, after) {
		blocks = append(blocks, b)
		after = b.last()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range blocks {
		if len(f.blocks) > 0 && f.blocks[len(f.blocks)-1].last()+1 != b.first() {
			f.blocks = nil
		}
		f.blocks = append(f.blocks, b)
	}
	if surplus := len(f.blocks) - feedBlocks; surplus > 0 {
		f.blocks = append([]*block(nil), f.blocks[surplus:]...)
	}
	f.last, f.over = after, over
	close(f.news)
	f.news = make(chan struct{})
}

// readBlock makes the oldest entries behind number after into a block; nil where there are none.
func readBlock(j *actors.Journal, after int64) *block {
	var chunk [actors.CopyChunk]machine.Entry
	n := j.Read(after, chunk[:])
	if n == 0 {
		return nil
	}
	b := &block{entries: append([]machine.Entry(nil), chunk[:n]...)}
	for i := range b.entries {
		data, err := json.Marshal(&b.entries[i])
		if err != nil {
			panic(err) // of numbers, times and strings
		}
		b.text = fmt.Appendf(b.text, "id: %d\nevent: decision\ndata: %s\n\n", b.entries[i].Seq, data)
		b.ends = append(b.ends, len(b.text))
	}
	return b
}

// has reports whether q wants any of it.
func (b *block) has(q *actors.Query) bool {
	return slices.ContainsFunc(b.entries, func(e machine.Entry) bool { return q.Wants(&e) })
}

func (b *block) first() int64 { return b.entries[0].Seq }
func (b *block) last() int64  { return b.entries[len(b.entries)-1].Seq }

// of is the text of those entries behind number after that q wants.
func (b *block) of(q *actors.Query, after int64) []byte {
	if b.first() > after && len(q.Decided) == 0 && q.Server == "" && q.Since.IsZero() && q.Until.IsZero() {
		return b.text
	}
	var text []byte
	begin := 0
	for i := range b.entries {
		if b.entries[i].Seq > after && q.Wants(&b.entries[i]) {
			text = append(text, b.text[begin:b.ends[i]]...)
		}
		begin = b.ends[i]
	}
	return text
}

// next is the block that goes on behind number after, or for a reader who has been overtaken the oldest that there is. Where there is
// none yet, news says when to look again; nil: never. A block of the past is from before those that the feed has.
func (f *feed) next(after int64, live bool) (b *block, past bool, news <-chan struct{}) {
	f.mu.Lock()
	if len(f.blocks) > 0 && (live || f.blocks[0].first() <= after+1) {
		// Blocks are not all full, so it is looked for, from the newest on: that is where most streams are.
		for i := len(f.blocks) - 1; i >= 0 && f.blocks[i].last() > after; i-- {
			b = f.blocks[i]
		}
	}
	if b == nil && f.last <= after && !f.over {
		news = f.news
	}
	f.mu.Unlock()
	if b == nil && news == nil {
		b = readBlock(f.journal, after)
		past = true
	}
	return b, past, news
}

func (f *feed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams >= maxStreams {
		return false
	}
	f.streams++
	return true
}

func (f *feed) leave(dropped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams--
	if dropped {
		f.dropped++
	}
}

// Streams is how many readers of the stream there are, and how many were dropped because they did not read.
func (p *Pages) Streams() (now int, dropped int64) {
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	return p.feed.streams, p.feed.dropped
}

// stream is GET /claims/stream (docs/protocol.md 5).
func (p *Pages) stream(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery, 0)
	if err == nil {
		err = resume(&q, r, p.cfg.Relay.Journal().Last())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return // a stream without a body would last, and hold its connection, for nobody
	}
	if !p.feed.enter() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d streams are open, which is the most", maxStreams), http.StatusServiceUnavailable)
		return
	}
	s := &stream{feed: p.feed, w: w, rc: http.NewResponseController(w), q: q}
	err = s.run(r.Context())
	p.feed.leave(errors.Is(err, os.ErrDeadlineExceeded))
	if err != nil {
		panic(http.ErrAbortHandler) // a stream that ends in order is one that the reader has had all of
	}
}

// resume finds where a stream begins: behind what its reader has seen, or with what comes from now on.
func resume(q *actors.Query, r *http.Request, last int64) (err error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if q.After, err = number(id, 0, math.MaxInt64); err != nil {
			return fmt.Errorf("Last-Event-ID: %w", err)
		}
	} else if !r.URL.Query().Has("after") {
		q.After = last
	}
	if q.After > last {
		q.After = 0 // of a former life of the relay: its reader has seen nothing of this one
	}
	return nil
}

// stream is one reader's, on the goroutine of its request.
type stream struct {
	feed *feed
	w    http.ResponseWriter
	rc   *http.ResponseController
	q    actors.Query // After is how far it has come
	live bool         // it has come to what the feed has
}

// run returns nil when there will be nothing more, and else why it ends.
func (s *stream) run(ctx context.Context) error {
	_ = s.rc.SetReadDeadline(time.Time{}) // the listener's would end the request
	if err := s.send([]byte("retry: 1000\n\n")); err != nil {
		return err
	}
	idle := time.NewTicker(streamIdle)
	defer idle.Stop()
	for {
		b, past, news := s.feed.next(s.q.After, s.live)
		s.live = s.live || !past
		var err error
		switch {
		case b != nil && past:
			err = s.pass(ctx, b, pastCost)
		case b != nil && b.first() == s.q.After+1 && !b.has(&s.q):
			s.q.After = b.last()
		case b != nil:
			err = s.pass(ctx, b, writeCost)
		case news == nil:
			return nil
		default:
			select {
			case <-news:
			case <-idle.C:
				// An id alone is no event, but it is remembered: so a reader that filters resumes from here.
				err = s.send(append(strconv.AppendInt([]byte("id: "), s.q.After, 10), "\n\n"...))
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// pass waits for the stream's turn, and sends what is wanted of b, and of what has come behind it by then.
func (s *stream) pass(ctx context.Context, b *block, cost int) error {
	if err := s.feed.pace.WaitN(ctx, cost); err != nil {
		return err
	}
	text := s.gather(nil, b)
	for s.live && len(text) < streamWrite {
		if b, past, _ := s.feed.next(s.q.After, true); b != nil && !past {
			text = s.gather(text, b)
			continue
		}
		break
	}
	if more := min(len(text)-cost, streamBurst); more > 0 {
		if err := s.feed.pace.WaitN(ctx, more); err != nil {
			return err
		}
	}
	return s.send(text)
}

// gather adds what is wanted of b. What there was in between has gone by before the stream's turn came.
func (s *stream) gather(text []byte, b *block) []byte {
	if from, to := s.q.After+1, b.first()-1; from <= to {
		text = fmt.Appendf(text, "id: %d\nevent: gap\ndata: {\"from\":%d,\"to\":%d}\n\n", to, from, to)
	}
	text = append(text, b.of(&s.q, s.q.After)...)
	s.q.After = b.last()
	return text
}

// send is the only place where a stream waits for its reader, and not for long.
func (s *stream) send(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.feed.timeout))
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.rc.Flush()
}
