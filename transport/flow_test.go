package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// said in a frame: who it is from or for, which one it is, and something that makes it long.
type saying struct {
	Who  int    `json:"w"`
	Seq  int    `json:"n"`
	Text string `json:"t"`
}

var lorem = strings.Repeat("0123456789abcdef", 16<<10)

// sized makes frame number seq of who. Its length, most of the time small, follows from both.
func sized(who, seq int) []byte {
	rng := rand.New(rand.NewPCG(uint64(who), uint64(seq)))
	n := 1 << rng.IntN(12)
	if rng.IntN(100) == 0 {
		n = 1 << rng.IntN(19)
	}
	b, _ := json.Marshal(saying{who, seq, ""})
	n = min(rng.IntN(n), 256<<10-len(b))
	return fmt.Appendf(nil, `{"w":%d,"n":%d,"t":"%s"}`, who, seq, lorem[:n])
}

// pauses now and then, as people do.
func pause(rng *rand.Rand) {
	switch draw := rng.IntN(200); {
	case draw == 0:
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) //nolint:forbidigo // a peer's habit, nothing is waited for
	case draw < 20:
		runtime.Gosched()
	}
}

// TestFramesBothWays: 16 phones and their binary speak at once; every frame arrives once, in order, byte for byte.
func TestFramesBothWays(t *testing.T) {
	const phones = 16
	frames := rounds(10_000, 100_000) / phones
	r := run(t, testConfig())
	binary := r.claims("home")
	conns, ids := make([]*websocket.Conn, phones), make([]string, phones)
	byID := map[string]int{}
	for i := range conns {
		conns[i] = r.join("home")
		ids[i] = hello(t, conns[i], binary)
		byID[ids[i]] = i
	}
	var all sync.WaitGroup
	side := func(f func() error) {
		all.Go(func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	ctx := context.Background()
	for i, c := range conns {
		side(func() error { // the phone speaks
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for n := range frames {
				if err := c.Write(ctx, websocket.MessageText, sized(i, n)); err != nil {
					return fmt.Errorf("phone %d, frame %d: %w", i, n, err)
				}
				pause(rng)
			}
			return nil
		})
		side(func() error { // the phone listens
			for n := range frames {
				_, got, err := c.Read(ctx)
				if err != nil || !bytes.Equal(got, sized(100+i, n)) {
					return fmt.Errorf("phone %d reads %.60q for frame %d: %w", i, got, n, err)
				}
			}
			return nil
		})
	}
	side(func() error { // the binary listens
		next := make([]int, phones)
		for range phones * frames {
			_, got, err := binary.Read(ctx)
			if err != nil {
				return err
			}
			var e envelopeOf
			if err := json.Unmarshal(got, &e); err != nil {
				return err
			}
			i, ok := byID[e.Conn]
			if !ok || !bytes.Equal(e.Frame, sized(i, next[i])) {
				return fmt.Errorf("the binary reads %.100q, and wants number %d of phone %d", got, next[i], i)
			}
			next[i]++
		}
		return nil
	})
	side(func() error { // the binary speaks
		rng := rand.New(rand.NewPCG(2, 0))
		next := make([]int, phones)
		for left := phones * frames; left > 0; {
			i := rng.IntN(phones)
			if next[i] == frames {
				continue
			}
			if err := binary.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"frame":%s,"conn_id":%q}`, sized(100+i, next[i]), ids[i])); err != nil {
				return err
			}
			next[i]++
			left--
			pause(rng)
		}
		return nil
	})
	all.Wait()
}

// TestFramesWhileTheyComeAndGo: phones and the binary drop and come back all the time. Whoever listens hears of each connection
// the first frame first, then the next, and none twice, for as long as both ends stay.
func TestFramesWhileTheyComeAndGo(t *testing.T) {
	r := run(t, testConfig())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	var toBinary, toPhones, reclaims atomic.Int64
	var lives atomic.Int64 // numbers the connections
	all.Go(func() {        // one binary after the other
		for ctx.Err() == nil {
			c, err := r.tryDial("home")
			if err != nil {
				continue
			}
			c.SetReadLimit(1 << 20)
			me := int(lives.Add(1))
			reclaims.Add(1)
			heard, said := map[string]int{}, map[string]int{}
			rng := rand.New(rand.NewPCG(3, uint64(me)))
			for n := 50 + rng.IntN(400); n > 0 && ctx.Err() == nil; n-- {
				_, got, err := c.Read(ctx)
				if err != nil {
					break
				}
				var e envelopeOf
				var s saying
				if err := json.Unmarshal(got, &e); err != nil {
					t.Errorf("%s: %v", got, err)
				}
				if e.Frame == nil {
					continue // a notice
				}
				_ = json.Unmarshal(e.Frame, &s)
				if s.Seq != heard[e.Conn] {
					t.Errorf("binary %d hears number %d of %s, which it heard %d of", me, s.Seq, e.Conn, heard[e.Conn])
				}
				heard[e.Conn]++
				toBinary.Add(1)
				for range 2 {
					if c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"conn_id":%q,"frame":%s}`, e.Conn, sized(me, said[e.Conn]))) != nil {
						break
					}
					said[e.Conn]++
				}
			}
			if rng.IntN(2) == 0 {
				_ = c.CloseNow()
			} else {
				_ = c.Close(1000, "")
			}
			most := int64(rounds(5_000, 200_000))
			if toBinary.Load() >= most && toPhones.Load() >= most && reclaims.Load() >= 20 || t.Failed() {
				stop()
			}
		}
	})
	for i := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(4, uint64(i)))
			for ctx.Err() == nil {
				c := r.tryJoin("home")
				if c == nil {
					continue
				}
				me := int(lives.Add(1))
				most := 1 + rng.IntN(300)
				spoken := make(chan struct{})
				go func() {
					defer close(spoken)
					rng := rand.New(rand.NewPCG(5, uint64(me)))
					for n := range most {
						if c.Write(ctx, websocket.MessageText, sized(me, n)) != nil {
							return
						}
						pause(rng)
					}
				}()
				heard := map[int]int{}
				for range most {
					_, got, err := c.Read(ctx)
					if err != nil {
						break
					}
					var s saying
					if err := json.Unmarshal(got, &s); err != nil || s.Seq != heard[s.Who] || !bytes.Equal(got, sized(s.Who, s.Seq)) {
						t.Errorf("phone %d hears %.80q, and heard %v", me, got, heard)
					}
					heard[s.Who]++
					if len(heard) > 1 {
						t.Errorf("phone %d hears of two binaries: %v", me, heard)
					}
					toPhones.Add(1)
				}
				_ = c.CloseNow()
				<-spoken
			}
		})
	}
	all.Wait()
	t.Logf("%d frames to %d binaries, %d to phones", toBinary.Load(), reclaims.Load(), toPhones.Load())
}

// TestPhoneThatNeverReads is closed with 1011 when its backlog is full. Nobody else notices: its sibling is served, and the binary's
// pings are answered.
func TestPhoneThatNeverReads(t *testing.T) {
	cfg := testConfig()
	cfg.PhoneBacklog = 512 << 10
	r := run(t, cfg)
	binary := r.claims("home")
	stuck, sibling := r.join("home"), r.join("home")
	stuckID, siblingID := hello(t, stuck, binary), hello(t, sibling, binary)
	frame := `"` + lorem[:8<<10] + `"`
	notice := listen(binary)
	for n := 0; ; n++ {
		write(t, binary, `{"conn_id":%q,"frame":%s}`, stuckID, frame)
		write(t, binary, `{"conn_id":%q,"frame":%d}`, siblingID, n)
		if got := read(t, sibling); got != fmt.Sprint(n) {
			t.Fatalf("the sibling reads %s", got)
		}
		if err := binary.Ping(context.Background()); err != nil {
			t.Fatalf("the binary's ping: %v", err)
		}
		select {
		case e := <-notice:
			if e.Conn != stuckID || e.Close != 1011 {
				t.Fatalf("the binary reads %+v", e)
			}
			// What was queued is thrown away, and the close frame follows what was on its way already.
			for {
				_, _, err := stuck.Read(context.Background())
				var ce websocket.CloseError
				if errors.As(err, &ce) && ce.Code == 1011 && ce.Reason == "phone backlog full" {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		default:
		}
	}
}

// listen reads what a binary is sent, until its connection ends.
func listen(c *websocket.Conn) <-chan envelopeOf {
	heard := make(chan envelopeOf, 16)
	go func() {
		defer close(heard)
		for {
			_, got, err := c.Read(context.Background())
			if err != nil {
				return
			}
			var e envelopeOf
			_ = json.Unmarshal(got, &e)
			heard <- e
		}
	}()
	return heard
}

// TestMalformedAmongFrames: at full speed too, what is no envelope is dropped, and the frames among it arrive; and phones that say
// what is no frame are closed one by one, while their sibling's frames arrive.
func TestMalformedAmongFrames(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	phone := r.join("home")
	id := hello(t, phone, binary)
	malformed := []string{
		"", "{", "nonsense", "[]", "null", `{"conn_id":7,"frame":1}`, `{"frame":1}`, `{"conn_id":"ID"}`, `{"conn_id":"ID","frame":nul}`,
		`{"conn_id":"ID","close_code":70000}`, `{"conn_id":"ID","close_code":4e3}`, `{"conn_id":"ID","frame":1}}`, "{\"conn_id\":\"ID\",\"frame\":\"\xff\"}",
		`{"conn_id":"elsewhere","frame":1,"close_code":4000}`,
	}
	frames := rounds(5_000, 100_000)
	go func() {
		for n := range frames {
			write(t, binary, "%s", strings.ReplaceAll(malformed[n%len(malformed)], "ID", id))
			write(t, binary, `{"conn_id":%q,"frame":%d}`, id, n)
		}
	}()
	for n := range frames {
		if got := read(t, phone); got != fmt.Sprint(n) {
			t.Fatalf("the phone reads %s for number %d", got, n)
		}
	}
	heard, sane := listen(binary), r.join("home")
	for n := range rounds(200, 2_000) {
		mad := r.join("home")
		write(t, mad, `"sane"`)
		write(t, mad, `"mad`)
		write(t, sane, "%d", n)
		wantClose(t, mad, 1007, "frame is not valid JSON")
		for seen, closed := false, false; !seen || !closed; {
			switch e := <-heard; {
			case e.Close == 1007:
				closed = true
			case string(e.Frame) == fmt.Sprint(n):
				seen = true
			case string(e.Frame) != `"sane"`:
				t.Fatalf("the binary reads %+v", e)
			}
		}
	}
}

// TestWriteTimeoutOfAPhone: it takes nothing for too long, although its backlog would have room.
func TestWriteTimeoutOfAPhone(t *testing.T) {
	cfg := testConfig()
	cfg.WriteTimeout, cfg.PhoneBacklog = 200*time.Millisecond, 64<<20
	r := run(t, cfg)
	binary := r.claims("home")
	stuck := r.join("home")
	id := hello(t, stuck, binary)
	notice := listen(binary)
	for sent := 0; sent < 60<<20 && len(notice) == 0; sent += 200 << 10 { // until the kernel takes no more
		write(t, binary, `{"conn_id":%q,"frame":"%s"}`, id, lorem[:200<<10])
	}
	if e := <-notice; e.Conn != id || e.Close != 1011 {
		t.Fatalf("the binary reads %+v", e)
	}
}

// TestQueuedBytesOfAll: over the budget of all connections together, the phone with the longest queue is closed.
func TestQueuedBytesOfAll(t *testing.T) {
	cfg := testConfig()
	cfg.PhoneBacklog, cfg.MaxQueuedBytes = 64<<20, 4<<20 // what one may have does not decide
	r := run(t, cfg)
	binary := r.claims("home")
	longer, shorter := r.join("home"), r.join("home")
	longerID, shorterID := hello(t, longer, binary), hello(t, shorter, binary)
	frame := `"` + lorem[:200<<10] + `"`
	send := func(id string) { write(t, binary, `{"conn_id":%q,"frame":%s}`, id, frame) }
	notice := listen(binary)
	send(shorterID)
	for sent := 0; sent < 60<<20 && len(notice) == 0; sent += len(frame) { // until the kernel takes no more; less than the backlog of one
		send(longerID)
	}
	if e := <-notice; e.Conn != longerID || e.Close != 1011 {
		t.Fatalf("the binary reads %+v", e)
	}
	if got := read(t, shorter); got != frame {
		t.Fatal("the other one is hurt")
	}
}

// TestBinaryThatNeverReads: its phones are slowed to a halt, what waits is bounded, and when the write times out its slot is in
// grace.
func TestBinaryThatNeverReads(t *testing.T) {
	cfg := testConfig()
	cfg.WriteTimeout = 500 * time.Millisecond
	cfg.Inherited = tight(t)
	r := run(t, cfg)
	way := &http.Transport{DialContext: (&net.Dialer{Control: fewBuffers}).DialContext}
	defer way.CloseIdleConnections()
	r.client = &http.Client{Transport: way}
	binary := r.claims("home")
	var conns []*websocket.Conn
	for range 4 {
		c := r.join("home")
		hello(t, c, binary) // which reads no more than that
		conns = append(conns, c)
	}
	var taken atomic.Int64
	var phones sync.WaitGroup
	for _, c := range conns {
		phones.Go(func() {
			for {
				if c.Write(context.Background(), websocket.MessageText, []byte(`"`+lorem[:60<<10]+`"`)) != nil {
					return
				}
				taken.Add(60 << 10)
			}
		})
	}
	r.until("home", "released", 1)
	// A window each, and what the kernel holds of five connections: of what it is asked for twice as much, at either end, and some.
	if most := int64(4*(512<<10) + 5*(1<<20)); taken.Load() > most {
		t.Errorf("%d bytes were taken, at most %d may be", taken.Load(), most)
	}
	next := r.dial("home")
	defer next.CloseNow()
	hold(next)
	phones.Wait() // each had sent to the former binary, and is closed
	r.until("home", "left", 4)
}

// TestBurstsRightAfterAJoin: a daemon greets a new phone with 12 bursts of 60 small frames. No phone is lost by it.
func TestBurstsRightAfterAJoin(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	for range rounds(10, 100) {
		phone := r.join("home")
		id := hello(t, phone, binary)
		go func() {
			for n := range 12 * 60 {
				write(t, binary, `{"conn_id":%q,"frame":{"status":%d}}`, id, n)
			}
		}()
		for n := range 12 * 60 {
			if got := read(t, phone); got != fmt.Sprintf(`{"status":%d}`, n) {
				t.Fatalf("number %d is %s", n, got)
			}
		}
		_ = phone.Close(1000, "")
		if e := readEnvelope(t, binary); e.Conn != id || e.Close != 1000 {
			t.Fatalf("%+v", e)
		}
		write(t, binary, `{"conn_id":%q,"frame":"too late"}`, id)
	}
}

// TestShutdownDrains: what was queued for a phone goes out before the close frame.
func TestShutdownDrains(t *testing.T) {
	r := run(t, testConfig())
	binary := r.claims("home")
	phone, marker := r.join("home"), r.join("home")
	id, markerID := hello(t, phone, binary), hello(t, marker, binary)
	const frames = 500
	for n := range frames {
		write(t, binary, `{"conn_id":%q,"frame":"%d %s"}`, id, n, lorem[:4<<10])
	}
	write(t, binary, `{"conn_id":%q,"frame":"done"}`, markerID)
	read(t, marker) // the relay has read everything
	hold(marker)
	hold(binary)
	go r.stop()
	for n := range frames {
		if got := read(t, phone); !strings.HasPrefix(got, fmt.Sprintf(`"%d `, n)) {
			t.Fatalf("number %d is %.20s", n, got)
		}
	}
	wantClose(t, phone, 1001, "relay shutting down")
	r.stop()
}

// TestShutdownWithoutADrainSaysSo: no time for what is queued is time enough for close frames.
func TestShutdownWithoutADrainSaysSo(t *testing.T) {
	cfg := testConfig()
	cfg.DrainTimeout = 0
	r := run(t, cfg)
	var all []*websocket.Conn
	for n := range 20 {
		all = append(all, r.claims(fmt.Sprint("home-", n)))
	}
	go r.stop()
	for _, c := range all {
		wantClose(t, c, 1001, "relay shutting down")
	}
	r.stop()
}

// TestHeldBackBytesAreAllKept: a burst that was read in one go, and may not be handed on, is not lost. Behind a large message reads
// are large, so more is held back than a small buffer takes.
func TestHeldBackBytesAreAllKept(t *testing.T) {
	p := connectAs(t, testSockets(t, socketConfig{}), &socketKind{maxMessage: 1 << 20, paused: true}, nil)
	const frames = 60
	tell := pausing{pair: p, frames: make(chan string, frames)}
	p.mu.Lock()
	p.inbox = tell
	p.mu.Unlock()
	burst := frame(text, []byte(lorem[:40<<10]))
	for n := range frames {
		burst = append(burst, frame(text, fmt.Appendf(nil, "%d %s", n, lorem[:1000]))...)
	}
	if _, err := p.peer.Write(burst); err != nil { // the kernel has it all before the relay reads
		t.Fatal(err)
	}
	for n := -1; n < frames; n++ {
		for !p.holding() { // until its reader has given up: there is more
			runtime.Gosched()
		}
		p.Resume()
		if got := <-tell.frames; n >= 0 && (!strings.HasPrefix(got, fmt.Sprintf("%d ", n)) || len(got) < 1000) {
			t.Fatalf("number %d is %.20q", n, got)
		}
	}
}

// pausing is an inbox that pauses its socket at every message.
type pausing struct {
	pair
	frames chan string
}

func (g pausing) Tell(m messages.FromSocket) {
	if data, ok := m.(*messages.Received); ok {
		g.Pause()
		g.frames <- string(data.Bytes)
	}
}

// TestBacklogIsBounded: a phone that never reads is sent what its backlog takes and what its kernel takes, and no more; a queue that
// is empty takes any frame.
func TestBacklogIsBounded(t *testing.T) {
	const backlog = 100 << 10
	p := connectAs(t, testSockets(t, socketConfig{}), &socketKind{maxMessage: 1 << 20, backlog: backlog}, nil)
	if !p.Send(nil, []byte(lorem[:2*backlog]), nil, messages.Passing{}) {
		t.Fatal("an empty queue takes any frame")
	}
	for range 1000 { // 64 MB: more than any kernel takes
		if !p.Send(nil, []byte(lorem[:64<<10]), nil, messages.Passing{}) {
			p.mu.Lock()
			queued := p.out.queued
			p.mu.Unlock()
			if queued > 2*backlog+messages.FrameCost {
				t.Fatalf("%d bytes are queued", queued)
			}
			return
		}
	}
	t.Fatal("nothing is ever refused")
}
