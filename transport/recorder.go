package transport

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/replay"
	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// recordRoom is how many messages and decisions may wait to be written. What the disk is too slow for is dropped, and counted.
const recordRoom = 4096

// recording writes what the registry handles to a file (package replay says how). The registry copies into a queue, which is as
// large as it will ever be from the start; a goroutine writes.
type recording struct {
	file  string // fixed at birth, as is limit
	limit int64
	head  replay.Head
	log   *slog.Logger
	news  chan struct{} // has a value when there is something in the queue, or the end has come

	mu      sync.Mutex // guards the rest; held to copy one item, or to take all
	queue   []recorded
	missing int64 // messages, since the last that found room
	dropped int64 // in all
	over    bool

	// The writer's alone.
	out     *os.File
	buf     *bufio.Writer
	size    int64 // of the file
	lines   int64 // of all files, heads left out
	seq     int64 // of the last decision
	failed  bool
	stopped chan struct{}
}

// recorded is one line to be: of a message, of a decision where there is none, or of what is missing.
type recorded struct {
	at      time.Time
	message messages.ToRegistry
	decided slots.Entry
	missing int64
}

// newRecording opens the file. A former one of that name is kept as the rotated one.
func newRecording(file string, limit int64, version string, log *slog.Logger) (*recording, error) {
	r := &recording{
		file: file, limit: limit, log: log, head: replay.Head{Record: replay.Format, Version: version},
		news: make(chan struct{}, 1), queue: make([]recorded, 0, recordRoom), stopped: make(chan struct{}),
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// open begins a file. The one before it is the only one that is kept.
func (r *recording) open() (err error) {
	if err := os.Rename(r.file, r.file+".1"); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("rotate the --record: %w", err)
	}
	if r.out, err = os.OpenFile(r.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("open the --record: %w", err)
	}
	r.buf, r.size = bufio.NewWriter(r.out), 0
	return nil
}

// Begins implements actors.Recorder.
func (r *recording) Begins(now time.Time, cfg slots.Config) {
	r.head.Started, r.head.Slots = now.UTC(), cfg
	r.wake() // the writer reads the head when it has been woken, and not before
}

// Handles implements actors.Recorder.
func (r *recording) Handles(now time.Time, m messages.ToRegistry) {
	r.mu.Lock()
	if r.has(2) {
		if r.missing > 0 {
			r.queue = append(r.queue, recorded{missing: r.missing})
			r.missing = 0
		}
		r.queue = append(r.queue, recorded{at: now, message: m})
	}
	r.mu.Unlock()
	r.wake()
}

// Decided implements actors.Recorder.
func (r *recording) Decided(e *slots.Entry) {
	r.mu.Lock()
	if r.missing == 0 && r.has(1) { // else the message that it was decided on is not there
		r.queue = append(r.queue, recorded{decided: *e})
	}
	r.mu.Unlock()
	r.wake() // it may have written the message already, and the next one may be long in coming
}

// has counts what there is no room for.
func (r *recording) has(room int) bool {
	if len(r.queue)+room <= cap(r.queue) {
		return true
	}
	r.missing++
	r.dropped++
	return false
}

func (r *recording) wake() {
	select {
	case r.news <- struct{}{}:
	default: // it is awake
	}
}

// drops is how many messages could not be taken.
func (r *recording) drops() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// lose counts what was taken, and could not be written.
func (r *recording) lose(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped += int64(n)
}

// stop returns when all is written. Nothing may be recorded any more.
func (r *recording) stop() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.wake()
	<-r.stopped
}

// run writes, until stop.
func (r *recording) run() {
	defer close(r.stopped)
	spare := make([]recorded, 0, recordRoom)
	<-r.news
	r.write(json.Marshal(r.head))
	for over := false; !over; {
		r.mu.Lock()
		items := r.queue
		r.queue = spare[:0]
		over = r.over
		if over && r.missing > 0 {
			items = append(items, recorded{missing: r.missing})
		}
		r.mu.Unlock()
		for i := range items {
			r.item(&items[i])
		}
		if r.failed {
			r.lose(len(items))
		}
		if err := r.buf.Flush(); err != nil {
			r.fail(err)
		}
		clear(items)
		spare = items
		if !over {
			<-r.news
		}
	}
	_ = r.out.Close()
}

func (r *recording) item(it *recorded) {
	switch {
	case it.missing > 0:
		r.write(replay.Dropped(it.missing))
	case it.message != nil:
		if r.size >= r.limit {
			r.rotate()
		}
		r.write(replay.Message(it.at, it.message))
	default:
		r.write(replay.Decision(&it.decided))
		r.seq = it.decided.Seq
	}
	r.lines++
}

// rotate goes on in a new file, which says that it is not the first.
func (r *recording) rotate() {
	if err := r.buf.Flush(); err != nil {
		r.fail(err)
	}
	_ = r.out.Close()
	if err := r.open(); err != nil {
		r.fail(err)
		return
	}
	r.write(json.Marshal(r.head))
	r.write(replay.Continues(r.lines, r.seq))
}

func (r *recording) write(line []byte, err error) {
	if err == nil && !r.failed {
		r.size += int64(len(line)) + 1
		_, err = r.buf.Write(append(line, '\n'))
	}
	if err != nil {
		r.fail(err)
	}
}

// fail gives up: a record with holes that nobody knows of would be worse than none.
func (r *recording) fail(err error) {
	if !r.failed {
		r.failed = true
		r.log.Error("record_failed", "error", err.Error())
	}
}
