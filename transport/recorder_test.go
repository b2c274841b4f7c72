package transport

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/replay"
	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestRecordReplays: what a relay did in a storm is decided again, to the byte.
func TestRecordReplays(t *testing.T) {
	cfg := testConfig()
	cfg.Record, cfg.RecordBytes = filepath.Join(t.TempDir(), "record"), 64<<20
	r := run(t, cfg)
	const claims = 30
	var wg sync.WaitGroup
	for range claims {
		d := r.daemon("home")
		wg.Go(func() { <-d.living() })
	}
	r.until("home", "refused", claims-1)
	r.stop()
	wg.Wait()
	f, err := os.Open(cfg.Record)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := replay.Run(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Differs)+len(again.Gaps) > 0 || len(again.Entries) < 2*claims {
		t.Errorf("%d entries; %v; %+v", len(again.Entries), again.Gaps, again.Differs)
	}
	if info, _ := os.Stat(cfg.Record); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

// linesOf is the lines of a record.
func linesOf(t *testing.T, file string) (lines []string, dropped []int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, line := range lines {
		var l struct{ Dropped int64 }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.Dropped > 0 {
			dropped = append(dropped, l.Dropped)
		}
	}
	return lines, dropped
}

// TestRecordSaysWhatItMisses: what finds no room is dropped, counted, and marked in its place.
func TestRecordSaysWhatItMisses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	r, err := newRecording(file, 1<<30, "test", testConfig().Log)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r.Begins(now, slots.Config{Grace: time.Second})
	handle := func(n int) {
		for range n {
			r.turnsAway(now, 1)
		}
	}
	handle(recordRoom) // nobody writes yet: half of it finds room
	go r.run()
	for r.waiting() > 0 {
		runtime.Gosched()
	}
	handle(1)
	r.stop()
	if ls, dropped := linesOf(t, file); len(dropped) != 1 || dropped[0] != recordRoom/2 || r.drops() != recordRoom/2 || len(ls) != 1+recordRoom+1+2 {
		t.Errorf("%d lines, marks of %v, %d dropped", len(ls), dropped, r.drops())
	}
	b, _ := os.ReadFile(file)
	if again, err := replay.Run(strings.NewReader(string(b)), 0); err != nil || len(again.Gaps) != 1 || len(again.Differs) > 0 {
		t.Errorf("%v: %+v", err, again)
	}
}

func (r *recording) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// TestRecordRotates: of what is too much, the end is kept, and says so.
func TestRecordRotates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	r, err := newRecording(file, 4<<10, "test", testConfig().Log)
	if err != nil {
		t.Fatal(err)
	}
	go r.run()
	now := time.Now()
	r.Begins(now, slots.Config{})
	for i := range 300 {
		r.turnsAway(now, int64(i+1))
	}
	r.stop()
	for _, f := range []string{file, file + ".1"} {
		b, err := os.ReadFile(f)
		if err != nil || len(b) > 5<<10 {
			t.Fatalf("%s: %v, %d bytes", f, err, len(b))
		}
		again, err := replay.Run(strings.NewReader(string(b)), 0)
		if err != nil || len(again.Gaps) != 1 || !strings.Contains(again.Gaps[0], "went before") || len(again.Differs) > 0 {
			t.Errorf("%s: %v: %+v", f, err, again)
		}
		if last := again.Entries[len(again.Entries)-1]; f == file && last.Seq != 300 {
			t.Errorf("the last of 300 is counted as %d", last.Seq)
		}
	}
}

// turnsAway records a message, and what is decided on it.
func (r *recording) turnsAway(now time.Time, seq int64) {
	r.Handles(now, messages.Join{Server: "home", Conn: "p"})
	r.Decided(&slots.Entry{Seq: seq, Time: now, Server: "home", Conn: "p", Asked: slots.AskedJoin, Decided: slots.TurnedAway, Why: slots.NobodyHolds})
}

// TestDecisionIsWrittenBeforeTheNextMessage: a relay that is killed in the night has recorded the last one of the evening.
func TestDecisionIsWrittenBeforeTheNextMessage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	synctest.Test(t, func(t *testing.T) {
		r, err := newRecording(file, 1<<20, "test", testConfig().Log)
		if err != nil {
			t.Fatal(err)
		}
		go r.run()
		defer r.stop()
		written := func(what string) {
			t.Helper()
			synctest.Wait() // until the writer waits for more: one that has not come to that would find more without being woken
			if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), what) {
				t.Fatalf("%v, and no %s in %s", err, what, b)
			}
		}
		now := time.Now()
		r.Begins(now, slots.Config{})
		r.Handles(now, messages.Join{Server: "home", Conn: "p"})
		written(`"message"`)
		r.Decided(&slots.Entry{Seq: 1, Time: now, Server: "home", Conn: "p", Asked: slots.AskedJoin, Decided: slots.TurnedAway, Why: slots.NobodyHolds})
		written(`"decided"`)
	})
}
