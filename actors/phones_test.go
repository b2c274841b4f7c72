package actors

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// attached waits until the phone is read from.
func (l *line) attached() *line {
	for !l.reads.Load() {
		runtime.Gosched()
	}
	return l
}

func (l *line) says(frame string) {
	lent := []byte(frame)
	l.inbox.Tell(&messages.Received{Bytes: lent})
	clear(lent)
}

func (l *line) wantSent(t testing.TB, want string) {
	t.Helper()
	if got := <-l.sent; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// settled waits until the registry has decided so many things.
func settled(r *Relay, decisions int64) {
	for {
		r.journal.mu.Lock()
		last := r.journal.last
		r.journal.mu.Unlock()
		if last >= decisions {
			return
		}
		runtime.Gosched()
	}
}

func fromPhone(conn, frame string) string { return `{"conn_id":"` + conn + `","frame":` + frame + `}` }

func (l *line) bye(t *testing.T) {
	t.Helper()
	l.ends()
	l.wantClosed(t, "1000")
}

func TestFramesBetweenActors(t *testing.T) {
	r := start(t, Config{})
	b := newLine().claims(r, "alpha", "b")
	settled(r, 1)
	p := newLine().joins(r, "alpha", "p").attached()
	p.says(` {"x": 1} `)
	b.wantSent(t, fromPhone("p", `{"x": 1}`))
	b.says(`{"conn_id":"p","frame": [1, 2] }`)
	p.wantSent(t, `[1, 2]`)
	if r.Phones() != 1 || r.Holders() != 1 {
		t.Errorf("%d phones, %d holders", r.Phones(), r.Holders())
	}
	p.bye(t)
	b.wantSent(t, `{"conn_id":"p","close_code":1000}`)
	b.bye(t)
	r.connections.Wait()
	wantStory(t, r, "b granted, p attached, p left, b released")
	if r.Phones() != 0 {
		t.Errorf("%d phones", r.Phones())
	}
}

func TestPhonesAreLogged(t *testing.T) {
	logged := &logs{}
	inBubble(t, Config{Log: slog.New(logged), Slots: simTimes}, func(r *Relay) {
		lost := newLine().joins(r, "alpha", "lost")
		lost.wantClosed(t, "4404 no server with that id")
		b := newLine().claims(r, "alpha", "b")
		settled(r, 2)
		p := newLine().joins(r, "alpha", "p").attached()
		b.bye(t)
		p.wantClosed(t, "4404 no server with that id")
	})
	want := `phone_register_no_server server_id=alpha remote=192.0.2.8
server_claimed server_id=alpha binary_version=1.2 conn_id=b remote=192.0.2.7
phone_registered server_id=alpha conn_id=p device_name=a phone remote=192.0.2.8
server_released server_id=alpha
phone_unregistered server_id=alpha conn_id=p`
	if got := logged.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

// TestFrameMeetsEviction: the phone does not know yet that its binary is gone, and hands it a frame.
func TestFrameMeetsEviction(t *testing.T) {
	var p *line
	tap := func(_ messages.ConnID, m any) {
		if release, ok := m.(messages.Release); ok && release.Epoch == 1 {
			p.says(`1`) // the binary has ended, the registry is about to decide
		}
	}
	inBubble(t, Config{tap: tap}, func(r *Relay) {
		b := newLine().claims(r, "alpha", "b")
		settled(r, 1)
		p = newLine().joins(r, "alpha", "p").attached()
		silent := newLine().joins(r, "alpha", "silent").attached()
		b.ends()
		b.wantClosed(t, "1000")
		settled(r, 4)
		c := newLine().claims(r, "alpha", "c")
		p.wantClosed(t, "4404 no server with that id")
		silent.attached().says(`2`)
		c.wantSent(t, fromPhone("silent", `2`))
		if len(b.sent) > 0 {
			t.Errorf("the former binary is sent %s", <-b.sent)
		}
		c.bye(t)
		silent.wantClosed(t, "4404 no server with that id")
	})
}

func TestDirectiveMeetsThePhonesOwnClose(t *testing.T) {
	for _, first := range []string{"directive", "close"} {
		r := start(t, Config{})
		b := newLine().claims(r, "alpha", "b")
		settled(r, 1)
		p := newLine().joins(r, "alpha", "p").attached()
		p.says(`"hello"`)
		b.wantSent(t, fromPhone("p", `"hello"`))
		acts := []func(){
			func() { b.says(`{"conn_id":"p","frame":"bye","close_code":4001}`) },
			func() { p.inbox.Tell(messages.Ended{Code: 4002}) },
		}
		if first == "close" {
			acts[0], acts[1] = acts[1], acts[0]
		}
		acts[0]()
		acts[1]()
		if first == "directive" {
			p.wantSent(t, `"bye"`)
			p.wantClosed(t, "4001")
		} else {
			p.wantClosed(t, "4002")
			b.wantSent(t, `{"conn_id":"p","close_code":4002}`)
		}
		q := newLine().joins(r, "alpha", "q").attached()
		q.says(`0`)
		b.wantSent(t, fromPhone("q", `0`)) // and no notice before it
		q.bye(t)
		b.bye(t)
	}
}

// TestNoticeMeetsReclaim: what a phone has to say to its former binary does not reach the next one.
func TestNoticeMeetsReclaim(t *testing.T) {
	inBubble(t, Config{}, func(r *Relay) {
		b := newLine().claims(r, "alpha", "b")
		settled(r, 1)
		p := newLine().joins(r, "alpha", "p").attached()
		p.says(`1`)
		b.ends()
		b.wantClosed(t, "1000")
		settled(r, 3)
		c := newLine().claims(r, "alpha", "c")
		p.ends()
		<-p.closed // by itself, or because of c
		q := newLine().joins(r, "alpha", "q").attached()
		q.says(`2`)
		c.wantSent(t, fromPhone("q", `2`))
		q.bye(t)
		c.bye(t)
	})
}

// TestFirstFrameMeetsADeadBinary: nobody knows yet that it is dead. The phone it reached begins again; one that had sent nothing
// is carried over, by a takeover too.
func TestFirstFrameMeetsADeadBinary(t *testing.T) {
	inBubble(t, Config{}, func(r *Relay) {
		dead := newLine().claims(r, "alpha", "dead")
		settled(r, 1)
		p, silent := newLine().joins(r, "alpha", "p").attached(), newLine().joins(r, "alpha", "silent").attached()
		p.says(`1`)
		dead.wantSent(t, fromPhone("p", `1`))
		heir := newLine().claims(r, "alpha", "heir")
		dead.wantClosed(t, "1011 heartbeat timeout")
		p.wantClosed(t, "4404 no server with that id")
		silent.attached().says(`2`)
		heir.wantSent(t, fromPhone("silent", `2`))
		silent.bye(t)
		heir.bye(t)
	})
}

func TestPanicOfAPhoneEndsItAlone(t *testing.T) {
	r := start(t, Config{tap: panicsAt(func(who messages.ConnID, m any) bool {
		data, ok := m.(*messages.Received)
		return who == "p" && ok && string(data.Bytes) == "2"
	})})
	b := newLine().claims(r, "alpha", "b")
	settled(r, 1)
	p, q := newLine().joins(r, "alpha", "p").attached(), newLine().joins(r, "alpha", "q").attached()
	p.says(`1`)
	b.wantSent(t, fromPhone("p", `1`))
	p.says(`2`)
	p.wantClosed(t, "1011 internal error")
	b.wantSent(t, `{"conn_id":"p","close_code":1011}`)
	q.says(`3`)
	b.wantSent(t, fromPhone("q", `3`))
	q.bye(t)
	b.wantSent(t, `{"conn_id":"q","close_code":1000}`)
	b.bye(t)
}

// TestPanicOfABinaryAtAFrameLeavesThePhone: the phone's actor ran the binary's on its own goroutine.
func TestPanicOfABinaryAtAFrameLeavesThePhone(t *testing.T) {
	inBubble(t, Config{tap: panicsAt(func(who messages.ConnID, m any) bool {
		_, frame := m.(*messages.Frame)
		return who == "b" && frame
	})}, func(r *Relay) {
		b := newLine().claims(r, "alpha", "b")
		settled(r, 1)
		p, silent := newLine().joins(r, "alpha", "p").attached(), newLine().joins(r, "alpha", "silent").attached()
		p.says(`1`)
		b.wantClosed(t, "1011 internal error")
		settled(r, 4)
		c := newLine().claims(r, "alpha", "c")
		p.wantClosed(t, "4404 no server with that id")
		silent.attached().bye(t)
		c.bye(t)
	})
}

func TestPanicOfTheRegistryAtAJoin(t *testing.T) {
	inBubble(t, Config{tap: panicsAt(func(_ messages.ConnID, m any) bool {
		_, join := m.(messages.Join)
		return join
	})}, func(r *Relay) {
		newLine().joins(r, "alpha", "p").wantClosed(t, "1011 internal error")
		wantStory(t, r, "p failed")
	})
}

// TestPanicOfTheRegistryAtALeave: the place is given back all the same, a little later.
func TestPanicOfTheRegistryAtALeave(t *testing.T) {
	inBubble(t, Config{tap: panicsAt(func(_ messages.ConnID, m any) bool {
		_, leave := m.(messages.Leave)
		return leave
	})}, func(r *Relay) {
		b := newLine().claims(r, "alpha", "b")
		settled(r, 1)
		newLine().joins(r, "alpha", "p").attached().bye(t)
		<-time.After(2 * retryAfter)
		wantStory(t, r, "b granted, p attached, failed, p left")
		b.bye(t)
	})
}

// TestPhoneIsSlowedDown: it may send its window, and is read on as its frames leave.
func TestPhoneIsSlowedDown(t *testing.T) {
	r := start(t, Config{})
	b := newLine().claims(r, "alpha", "b")
	settled(r, 1)
	p := newLine().joins(r, "alpha", "p").attached()
	frame := `"` + strings.Repeat("x", 64<<10-2-messages.FrameCost) + `"`
	n := 0
	for ; p.reads.Load(); n++ {
		p.says(frame)
	}
	if want := minWindow / (64 << 10); n != want {
		t.Fatalf("read on for %d frames of 64 KiB, want %d", n, want)
	}
	if b.notices.Load() != 1 {
		t.Fatalf("%d notices asked for at a time", b.notices.Load())
	}
	p.says(`"beyond"`) // the socket had read it already
	for range n {
		b.wantSent(t, fromPhone("p", frame))
	}
	if len(b.sent) > 0 {
		t.Fatalf("sent beyond the window: %s", <-b.sent)
	}
	b.inbox.Tell(messages.Written{})
	b.wantSent(t, fromPhone("p", `"beyond"`))
	if !p.reads.Load() || b.notices.Load() != 2 {
		t.Errorf("read on: %v; %d notices asked for", p.reads.Load(), b.notices.Load())
	}
	p.bye(t)
	b.bye(t)
}

// TestFullBacklogClosesThePhone with 1011, or with the code that came with what did not fit.
func TestFullBacklogClosesThePhone(t *testing.T) {
	r := start(t, Config{})
	b := newLine().claims(r, "alpha", "b")
	settled(r, 1)
	for _, c := range []struct{ envelope, closed, notice string }{
		{`{"conn_id":"p","frame":1}`, "1011 phone backlog full", `{"conn_id":"p","close_code":1011}`},
		{`{"conn_id":"p","frame":1,"close_code":4001}`, "4001", ""},
		{`{"conn_id":"p","frame":1,"close_code":1}`, "1011", ""},
	} {
		p := newLine().joins(r, "alpha", "p").attached()
		p.says(`0`)
		b.wantSent(t, fromPhone("p", `0`))
		p.full.Store(true)
		b.says(c.envelope)
		p.wantClosed(t, c.closed)
		if c.notice != "" {
			b.wantSent(t, c.notice)
		}
	}
	b.bye(t)
}

// TestOverrunPhoneIsClosed: its actor is held up, and its binary goes on.
func TestOverrunPhoneIsClosed(t *testing.T) {
	r := start(t, Config{})
	b := newLine().claims(r, "alpha", "b")
	settled(r, 1)
	p := &stuckSender{line: newLine(), release: make(chan struct{}), entered: make(chan struct{})}
	p.inbox = r.Phone(p, Phone{Server: "alpha", Conn: "p"})
	p.attached()
	p.says(`0`)
	b.wantSent(t, fromPhone("p", `0`))
	box := p.inbox.box
	go box.PostUserMessage(&messages.Deliver{Epoch: 1, Frame: []byte("0")})
	<-p.entered
	q := newLine().joins(r, "alpha", "q").attached()
	frame := []byte(`"` + strings.Repeat("x", 200_000) + `"`)
	for range r.phones.boxes.limit/len(frame) + 1 {
		box.PostUserMessage(&messages.Deliver{Epoch: 1, Frame: frame})
	}
	close(p.release)
	p.wantClosed(t, "1011 phone backlog full")
	b.wantSent(t, `{"conn_id":"p","close_code":1011}`)
	q.bye(t)
	b.bye(t)
}

// stuckSender is a socket that breaks its promise not to wait.
type stuckSender struct {
	*line
	release, entered chan struct{}
}

func (s *stuckSender) Send(_, _, _ []byte, _ messages.Passing) bool {
	s.entered <- struct{}{}
	<-s.release
	return true
}

// TestQueuedBytesAreKept: a message with a frame and its bytes are lent for the time of the call, so what is queued is a copy of both.
func TestQueuedBytesAreKept(t *testing.T) {
	lent := []byte(`"lent"`)
	for _, m := range []any{&messages.Received{Bytes: lent}, &messages.Frame{Bytes: lent}, &messages.Deliver{Frame: lent}} {
		kept := keep(m)
		copy(lent, `"gone"`)
		if kept == m {
			t.Errorf("%T is queued itself, which its sender will use again", m)
		}
		if !strings.Contains(fmt.Sprintf("%s", kept), `"lent"`) {
			t.Errorf("%T keeps what it was lent: %s", m, kept)
		}
		copy(lent, `"lent"`)
	}
	if m := keep(&messages.Deliver{Code: 4000}).(*messages.Deliver); m.Frame != nil {
		t.Error("a directive without a frame has got one")
	}
}

// TestNoFrameCrossesSlots, whatever conn_id a binary makes up.
func TestNoFrameCrossesSlots(t *testing.T) {
	r := start(t, Config{})
	servers := []messages.ServerID{"alpha", "beta"}
	var binaries, phones []*line
	for i, server := range servers {
		binaries = append(binaries, newLine().claims(r, server, messages.ConnID(fmt.Sprint("b", i))))
		settled(r, int64(3*i+1))
		for j := range 2 {
			phones = append(phones, newLine().joins(r, server, messages.ConnID(fmt.Sprintf("client-%s-%d", server, j))).attached())
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, 1).Draw(t, "binary")
		var id string
		if rapid.Bool().Draw(t, "made up") {
			id = rapid.String().Draw(t, "conn_id")
		} else {
			id = fmt.Sprintf("client-%s-%d", servers[rapid.IntRange(0, 1).Draw(t, "server")], rapid.IntRange(0, 1).Draw(t, "phone"))
		}
		frame := fmt.Sprintf(`"of %d"`, from)
		binaries[from].says(fmt.Sprintf(`{"conn_id":%s,"frame":%s}`, quote(id, rapid.Bool().Draw(t, "escaped")), frame))
		for i, p := range phones {
			own := i/2 == from && id == fmt.Sprintf("client-%s-%d", servers[from], i%2)
			if got := len(p.sent) > 0; got != own {
				t.Fatalf("conn_id %q of binary %d: phone %d hears of it: %v", id, from, i, got)
			}
			if own && <-p.sent != frame {
				t.Fatal("another frame")
			}
		}
	})
	for _, l := range append(phones, binaries...) {
		l.ends()
		<-l.closed
	}
}

// quote writes s as a JSON string, with every ASCII character escaped or none that need not be.
func quote(s string, escape bool) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || escape && r < 0x80 {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// TestWindows: whatever phones do, all windows and what was left behind are within the bound, nobody gets more than it gave, and when
// everything is written everybody has its window.
func TestWindows(t *testing.T) {
	for range 20 {
		rapid.Check(t, windows)
	}
}

func windows(t *rapid.T) {
	const window, places, largest = 1000, 3, 400
	type end struct {
		conn   messages.ConnID
		credit int64 // what it may still send, as it knows
	}
	p := newMembers(&Relay{window: window, cfg: Config{Slots: slots.Config{MaxPhones: places}}})
	var phones []*end
	var unwritten, asked int64 // in the queue of the socket, and what the Written under way is about
	underWay := false
	ask := func(yes bool) {
		if yes && underWay {
			t.Fatal("a second Written is asked for")
		}
		if yes {
			underWay, asked = true, unwritten
		}
	}
	credit := func(m *member, n int64) {
		for _, e := range phones {
			if p.known[e.conn] == m {
				e.credit += n
				return
			}
		}
		t.Fatalf("credit of %d for a phone that is gone", n)
	}
	written := func(*rapid.T) {
		if underWay {
			underWay = false
			unwritten -= asked
			ask(p.written(credit))
		}
	}
	joined := 0
	t.Repeat(map[string]func(*rapid.T){
		"joins": func(*rapid.T) {
			if len(phones) < places {
				joined++
				conn := messages.ConnID(fmt.Sprint(joined))
				phones = append(phones, &end{conn, p.attach(conn, nil)})
			}
		},
		"sends": func(t *rapid.T) {
			if len(phones) == 0 {
				return
			}
			e := phones[rapid.IntRange(0, len(phones)-1).Draw(t, "phone")]
			if e.credit > 0 {
				n := rapid.Int64Range(1, largest).Draw(t, "bytes") // the last frame may go beyond the window
				e.credit -= n
				unwritten += n
				ask(p.sent(p.known[e.conn], n))
			}
		},
		"leaves": func(t *rapid.T) {
			if len(phones) > 0 {
				i := rapid.IntRange(0, len(phones)-1).Draw(t, "phone")
				_, yes := p.detach(phones[i].conn)
				phones = slices.Delete(phones, i, i+1)
				ask(yes)
			}
		},
		"written": written,
		"": func(t *rapid.T) {
			if p.given > p.most+places*largest {
				t.Fatalf("%d bytes given, %d may be", p.given, p.most)
			}
			if unwritten > p.most+places*largest {
				t.Fatalf("%d bytes wait, %d may", unwritten, p.most)
			}
		},
	})
	for underWay {
		written(t)
	}
	if p.given != window*int64(len(phones)) {
		t.Fatalf("%d bytes given to %d phones, and everything is written", p.given, len(phones))
	}
	for _, e := range phones {
		if e.credit <= window*3/4-largest || e.credit > window {
			t.Fatalf("phone %s has %d of its window of %d, and everything is written", e.conn, e.credit, window)
		}
	}
}
