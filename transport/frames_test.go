package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// frame is a client's frame, masked.
func frame(first byte, payload []byte) []byte {
	b := appendHeader(nil, 0, len(payload))
	b[0], b[1] = first, b[1]|0x80
	key := [4]byte{1, 2, 3, 4}
	b = append(b, key[:]...)
	p := bytes.Clone(payload)
	for i := range p {
		p[i] ^= key[i%4]
	}
	return append(b, p...)
}

const (
	fin   = 0x80
	text  = fin | opText
	bin   = fin | opBinary
	ping  = fin | opPing
	pong  = fin | opPong
	shut  = fin | opClose
	begin = opText
	more  = opContinuation
	last  = fin | opContinuation
)

func closing(code uint16, reason string) []byte {
	return frame(shut, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

func join(bs ...[]byte) []byte { return bytes.Join(bs, nil) }

// recorder is an inbox that keeps what it is told, and closes its socket as an actor would.
type recorder struct {
	s    *socket
	told chan messages.FromSocket
}

func (r recorder) Tell(m messages.FromSocket) {
	if data, ok := m.(*messages.Received); ok {
		m = &messages.Received{Bytes: bytes.Clone(data.Bytes)} // they are lent
	}
	r.told <- m
	if e, ok := m.(messages.Ended); ok {
		r.s.Close(e.Code, e.Reason)
	}
}

func testSockets(t testing.TB, cfg socketConfig) *sockets {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat, cfg.HeartbeatTimeout = ample, ample
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = ample
	}
	cfg.WriteTimeout, cfg.Linger = ample, ample
	set, err := newSockets(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.stop)
	return set
}

// pair is a socket on a real connection, and its peer's end.
type pair struct {
	*socket
	peer peerConn
	tcp  *net.TCPConn // that of peer
	told chan messages.FromSocket
}

// peerConn is TCP or TLS.
type peerConn interface {
	net.Conn
	CloseWrite() error
}

// connect upgrades a real connection; early goes out with the request.
func connect(t testing.TB, set *sockets, early []byte) pair {
	t.Helper()
	return connectAs(t, set, &socketKind{maxMessage: 1 << 20}, early)
}

func connectAs(t testing.TB, set *sockets, kind *socketKind, early []byte) pair {
	t.Helper()
	accepted := make(chan recorder, 1)
	l := &listener{door: newDoor(16), within: ample, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := set.accept(w, r, kind, nil)
		if err != nil {
			t.Error(err)
			return
		}
		rec := recorder{s, make(chan messages.FromSocket, 1<<12)}
		accepted <- rec
		s.start(rec)
	})}
	_, secure := overTLS.Load(set)
	if secure {
		l.tls = testTLS(t)
	}
	var err error
	if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	srv := (&server{cfg: Config{arriveWithin: ample}}).http(l.handler)
	l.door.guard(srv)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	tcp, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	var c peerConn = tcp.(*net.TCPConn)
	if secure {
		c = tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
	}
	request := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := c.Write(append([]byte(request), early...)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(&oneByte{c})
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	rec := <-accepted
	t.Cleanup(rec.s.cut)
	return pair{rec.s, c, tcp.(*net.TCPConn), rec.told}
}

// oneByte keeps a buffered reader from taking what follows.
type oneByte struct{ io.Reader }

func (o *oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

func (p pair) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := p.peer.Write(b); err != nil {
		t.Fatal(err)
	}
}

// read reads one frame of the relay's.
func (p pair) read(t testing.TB) (opcode byte, payload []byte) {
	t.Helper()
	op, payload, err := readFrame(p.peer)
	if err != nil {
		t.Fatal(err)
	}
	return op, payload
}

func readFrame(r io.Reader) (opcode byte, payload []byte, err error) {
	var h [10]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, h[2:4])
		n = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(r, h[2:10])
		n = binary.BigEndian.Uint64(h[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return h[0] & 0x0f, payload, err
}

// overTLS is the sets whose connections are to come over TLS.
var overTLS sync.Map

// inModes runs a test with the poller and without it, over TCP and over TLS.
func inModes(t *testing.T, f func(t *testing.T, set func(socketConfig) *sockets)) {
	for name, mode := range map[string]struct{ blocking, secure bool }{
		"poller": {false, false}, "blocking": {true, false}, "TLS": {false, true}, "TLS blocking": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			f(t, func(cfg socketConfig) *sockets {
				cfg.blocking = mode.blocking
				set := testSockets(t, cfg)
				if mode.secure {
					overTLS.Store(set, true)
					t.Cleanup(func() { overTLS.Delete(set) })
				}
				return set
			})
		})
	}
}

// said is what an inbox was told up to its Ended.
func said(told <-chan messages.FromSocket) (received []string, end messages.Ended) {
	for m := range told {
		switch m := m.(type) {
		case *messages.Received:
			received = append(received, string(m.Bytes))
		case messages.Ended:
			return received, m
		}
	}
	return nil, end
}

// TestFrames sends bytes in one piece, byte by byte, and in random pieces, and looks at what is told, and at the close code.
func TestFrames(t *testing.T) {
	big := strings.Repeat("x", 20_000)
	for _, tc := range []struct {
		name string
		send []byte
		want []string
		code messages.CloseCode
	}{
		{"close", closing(1000, "bye"), nil, 1000},
		{"close with a private code", closing(4001, ""), nil, 4001},
		{"close without a code", frame(shut, nil), nil, messages.CloseNoStatus},
		{"close with half a code", frame(shut, []byte{3}), nil, 1002},
		{"close with a code that may not be sent", closing(1005, ""), nil, 1002},
		{"close with a reason that is not UTF-8", closing(1000, "\xff"), nil, 1002},
		{"text, empty, binary", join(frame(text, []byte("a")), frame(text, nil), frame(bin, []byte("b")), closing(1000, "")), []string{"a", "", "b"}, 1000},
		{"fragments with pings between", join(frame(begin, []byte("a")), frame(ping, []byte("p")), frame(more, nil), frame(pong, nil), frame(last, []byte("b")), closing(1000, "")), []string{"ab"}, 1000},
		{"pings of every length", join(frame(ping, nil), frame(ping, make([]byte, 125)), closing(1000, "")), nil, 1000},
		{"a large message between pings", join(frame(ping, nil), frame(text, []byte(big)), frame(ping, nil), closing(1000, "")), []string{big}, 1000},
		{"a message in many fragments", join(frame(begin, []byte(big)), frame(more, []byte(big)), frame(last, []byte(big)), closing(1000, "")), []string{big + big + big}, 1000},
		{"fragmented ping", frame(opPing, nil), nil, 1002},
		{"oversized ping", frame(ping, make([]byte, 126)), nil, 1002},
		{"unmasked", []byte{text, 1, 'a'}, nil, 1002},
		{"reserved bit", frame(text|0x40, nil), nil, 1002},
		{"unknown opcode", frame(fin|3, nil), nil, 1002},
		{"unknown control opcode", frame(fin|11, nil), nil, 1002},
		{"stray continuation", frame(last, nil), nil, 1002},
		{"new message inside a message", join(frame(begin, nil), frame(text, nil)), nil, 1002},
		{"length not minimal", []byte{text, 0x80 | 126, 0, 1, 0, 0, 0, 0, 'a'}, nil, 1002},
		{"length with the top bit", []byte{text, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 1}, nil, 1002},
		{"too big by its header", join(frame(text, []byte("a")), []byte{text, 0x80 | 127, 0, 0, 0, 0, 0, 0x20, 0, 0, 1, 2, 3, 4}), []string{"a"}, 1009},
		{"too big by its fragments", join(frame(begin, make([]byte, 1<<19)), frame(more, make([]byte, 1<<19)), frame(last, []byte("x"))), nil, 1009},
		{"too big by a fragment, and beyond any number", join(frame(begin, []byte("a")), []byte{last, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), nil, 1009},
	} {
		inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
			t.Run(tc.name, func(t *testing.T) {
				for how, cut := range map[string]func(n int) int{
					"whole":   func(n int) int { return n },
					"bytes":   func(int) int { return 1 },
					"pieces":  func(n int) int { return 1 + rand.IntN(n) },
					"upgrade": nil,
				} {
					if how == "bytes" && len(tc.send) > 50_000 {
						continue
					}
					var p pair
					if cut == nil {
						early := tc.send[:min(len(tc.send), 1000)]
						p = connect(t, set(socketConfig{}), early)
						go p.peer.Write(tc.send[len(early):])
					} else {
						p = connect(t, set(socketConfig{}), nil)
						go func() {
							for b := tc.send; len(b) > 0; {
								n := cut(len(b))
								if _, err := p.peer.Write(b[:n]); err != nil {
									return // closed in the middle of it, as it should be
								}
								b = b[n:]
							}
						}()
					}
					got, end := said(p.told)
					if strings.Join(got, "|") != strings.Join(tc.want, "|") || end.Code != tc.code {
						t.Fatalf("%s: %d messages, %v", how, len(got), end)
					}
					for {
						op, payload := p.read(t)
						if op == opClose {
							code := messages.CloseNoStatus
							if len(payload) > 0 {
								code = messages.CloseCode(binary.BigEndian.Uint16(payload))
							}
							if code != tc.code {
								t.Fatalf("%s: the close frame says %d", how, code)
							}
							break
						}
						if op != opPong {
							t.Fatalf("%s: opcode %d", how, op)
						}
					}
				}
			})
		})
	}
}

// TestCloseFramesAreCountedByWhoChoseThem: the relay, its peer, or a binary for its phone; be it the same code.
func TestCloseFramesAreCountedByWhoChoseThem(t *testing.T) {
	for _, tc := range []struct {
		name string
		send []byte // nil: the actor closes
		want string
	}{
		{"a close frame", closing(4000, ""), "echoed"},
		{"one without a code", frame(shut, nil), "echoed"},
		{"one that says that we broke the protocol", closing(1002, ""), "echoed"},
		{"a broken one", closing(1005, ""), "1002"},
		{"a broken frame", frame(last, nil), "1002"},
		{"a frame that is too big", frame(text, make([]byte, 1<<20+1)), "1009"},
		{"an order", nil, "ordered"},
	} {
		set := testSockets(t, socketConfig{})
		p := connect(t, set, nil)
		if tc.send == nil {
			p.Close(messages.CloseProtocolError, "")
		} else {
			go p.peer.Write(tc.send) // may be closed in the middle of it
		}
		if op, _ := p.read(t); op != opClose {
			t.Fatalf("%s: opcode %d", tc.name, op)
		}
		_, _ = io.Copy(io.Discard, p.peer) // the end: counted by then
		for v := range verdicts {
			if n := set.verdicts[v].Load(); (n == 1) != (v.String() == tc.want) {
				t.Errorf("%s: %d counted as %s, want it as %s", tc.name, n, v, tc.want)
			}
		}
	}
}

// TestPingsAreAnswered while the connection sleeps, in order and byte for byte, and a half-open end is noticed.
func TestPingsAreAnswered(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{}), nil)
		for i := range 300 {
			want := bytes.Repeat([]byte{byte(i)}, i%126)
			p.write(t, frame(ping, want))
			if op, got := p.read(t); op != opPong || !bytes.Equal(got, want) {
				t.Fatalf("ping %d: opcode %d, %q", i, op, got)
			}
		}
		p.peer.CloseWrite()
		if _, end := said(p.told); end.Code != messages.CloseNone {
			t.Fatal(end)
		}
	})
}

// TestEndOfStream: whatever was under way, an end of the stream is the end, and an unfinished message is not told.
func TestEndOfStream(t *testing.T) {
	for name, send := range map[string][]byte{
		"nothing": nil, "half a header": {text}, "half a payload": frame(text, []byte("abc"))[:7], "half a message": frame(begin, []byte("abc")),
		"half a ping": frame(ping, []byte("abc"))[:8],
	} {
		for _, reset := range []bool{false, true} {
			inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
				p := connect(t, set(socketConfig{}), send)
				if reset {
					p.tcp.SetLinger(0)
				}
				p.peer.Close()
				if got, end := said(p.told); len(got) > 0 || end.Code != messages.CloseNone {
					t.Fatalf("%s, reset %t: %q %v", name, reset, got, end)
				}
			})
		}
	}
}

// TestOnlyTheLatestProbeCounts: a pong of another payload, or for an older probe, proves nothing.
func TestOnlyTheLatestProbeCounts(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{}), nil)
		p.Ping(messages.Probe{Epoch: 7, Probe: 1})
		_, first := p.read(t)
		p.Ping(messages.Probe{Epoch: 7, Probe: 2})
		_, second := p.read(t)
		if len(first) != 8 || bytes.Equal(first, second) {
			t.Fatalf("payloads %x and %x", first, second)
		}
		p.write(t, join(frame(pong, nil), frame(pong, first), frame(pong, []byte("12345678")), frame(ping, []byte("x"))))
		p.read(t) // the pong to x: all before it was read
		if len(p.told) > 0 {
			t.Fatalf("told too early: %+v", <-p.told)
		}
		p.write(t, frame(pong, second))
		m := (<-p.told).(messages.Ponged)
		if m.Epoch != 7 || m.Probe != 2 || m.Sent.IsZero() || m.Answered.Before(m.Sent) {
			t.Fatalf("%+v", m)
		}
		p.write(t, join(frame(pong, second), closing(1000, ""))) // a second pong is nobody's
		if m := <-p.told; m != messages.FromSocket(messages.Ended{Code: 1000}) {
			t.Fatalf("%+v", m)
		}
	})
}

// TestSlowMessageEnds: a message that has begun must be complete in time; silence between messages may last.
func TestSlowMessageEnds(t *testing.T) {
	for name, send := range map[string][]byte{"header": {text}, "payload": frame(text, []byte("abc"))[:7], "fragments": frame(begin, nil)} {
		inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
			p := connect(t, set(socketConfig{ReadTimeout: 20 * time.Millisecond}), send)
			if _, end := said(p.told); end.Code != messages.ClosePolicy || end.Reason != messages.ReasonTooSlow {
				t.Fatalf("%s: %v", name, end)
			}
		})
	}
}

// TestMessageThatNeverEndsIsTooSlow, however fast its fragments come: there is always something to read.
func TestMessageThatNeverEndsIsTooSlow(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{ReadTimeout: 20 * time.Millisecond}), frame(begin, nil))
		fragments := bytes.Repeat(frame(more, nil), 1000)
		var over atomic.Bool
		var hurry sync.WaitGroup
		hurry.Go(func() {
			for !over.Load() {
				if _, err := p.peer.Write(fragments); err != nil {
					return
				}
			}
		})
		_, end := said(p.told)
		over.Store(true)
		hurry.Wait()
		if end.Code != messages.ClosePolicy || end.Reason != messages.ReasonTooSlow {
			t.Fatal(end)
		}
	})
}

// TestControlFrameIsNoMessage: one that came in pieces takes nothing of the time of those that follow, nor gives a message more.
func TestControlFrameIsNoMessage(t *testing.T) {
	for _, open := range []bool{false, true} {
		r := reading{socket: &socket{kind: &socketKind{}}, buf: newBuffer(smallBuffer), open: open, began: 1}
		r.buf.w = copy(r.buf.bytes, frame(pong, nil))
		if r.consume(); r.began > 0 != open {
			t.Errorf("within a message: %t; its time began at %d", open, r.began)
		}
	}
}

// TestMessageThatBeginsBehindAnotherHasItsTime: the first keeps the connection awake for a moment, and that moment's end is no
// verdict about the second.
func TestMessageThatBeginsBehindAnotherHasItsTime(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{}), nil)
		second := frame(text, bytes.Repeat([]byte("b"), 100))
		p.write(t, frame(text, []byte("a")))
		if m := (<-p.told).(*messages.Received); string(m.Bytes) != "a" {
			t.Fatalf("%q", m.Bytes)
		}
		p.write(t, second[:10])
		time.Sleep(3 * linger) //nolint:forbidigo // the peer's own slowness, nothing is waited for
		p.write(t, join(second[10:], closing(4000, "")))
		if got, end := said(p.told); len(got) != 1 || len(got[0]) != 100 || end.Code != 4000 {
			t.Fatalf("%q %+v", got, end)
		}
	})
}

// TestHeartbeat: a silent peer is pinged, and again when it has been heard, and given up if it stays silent.
func TestHeartbeat(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{Heartbeat: 20 * time.Millisecond, HeartbeatTimeout: ample}), nil)
		for range 3 {
			if op, _ := p.read(t); op != opPing {
				t.Fatalf("opcode %d", op)
			}
			p.write(t, frame(pong, nil))
		}
		silent := connect(t, set(socketConfig{Heartbeat: 20 * time.Millisecond, HeartbeatTimeout: 20 * time.Millisecond}), nil)
		if _, end := said(silent.told); end.Code != messages.CloseInternal || end.Reason != messages.ReasonHeartbeatTimeout {
			t.Fatal(end)
		}
	})
}

// piped is a socket on a pipe, for a bubble: its peer, and what its inbox is told. The set is a blocking one.
func piped(t *testing.T, set *sockets, kind *socketKind) (*socket, net.Conn, chan messages.FromSocket) {
	t.Helper()
	peer, conn := net.Pipe()
	s := &socket{set: set, kind: kind, conn: conn}
	s.paused.Store(kind.paused)
	set.remember(s)
	t.Cleanup(s.cut)
	told := make(chan messages.FromSocket, 1<<12)
	s.start(recorder{s, told})
	return s, peer, told
}

// TestAnyByteIsASignOfLife: who answers is never given up, whatever he says, and who does not has his time.
func TestAnyByteIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := testSockets(t, socketConfig{blocking: true, Heartbeat: 30 * time.Second, HeartbeatTimeout: 30 * time.Second})
		_, peer, told := piped(t, set, &socketKind{maxMessage: 1 << 20})
		began := time.Now()
		for n := range 100 {
			if op, _, err := readFrame(peer); op != opPing || err != nil {
				t.Fatalf("number %d: opcode %d, %v", n, op, err)
			}
			time.Sleep(25 * time.Second) //nolint:forbidigo // in a bubble
			_, _ = peer.Write(frame(pong, nil)[n%6 : n%6+1])
		}
		if took := time.Since(began); took < 100*55*time.Second || took > 100*62*time.Second {
			t.Errorf("100 times pinged, and answered 25 s later, in %v", took)
		}
		began = time.Now()
		go func() { _, _ = io.Copy(io.Discard, peer) }()
		if _, end := said(told); end.Code != messages.CloseInternal || end.Reason != messages.ReasonHeartbeatTimeout {
			t.Error(end)
		}
		if took := time.Since(began); took < 60*time.Second || took > 66*time.Second {
			t.Errorf("silent for %v", took)
		}
		peer.Close()
	})
}

// TestHeldBackPeerIsNotGivenUp: while the relay does not read from one, its silence does not count, and the pings that it sent
// before are answered; the one behind the frame that is held back is answered when that has been told.
func TestHeldBackPeerIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := testSockets(t, socketConfig{blocking: true, Heartbeat: 30 * time.Second, HeartbeatTimeout: 30 * time.Second})
		s, peer, told := piped(t, set, &socketKind{maxMessage: 1 << 20, paused: true})
		go func() {
			_, _ = peer.Write(join(frame(ping, []byte("1")), frame(text, []byte(`"x"`)), frame(ping, []byte("2"))))
		}()
		if op, payload, err := readFrame(peer); op != opPong || string(payload) != "1" {
			t.Fatalf("opcode %d %q %v", op, payload, err)
		}
		_ = peer.SetReadDeadline(time.Now().Add(time.Hour))
		if op, payload, err := readFrame(peer); !errors.Is(err, os.ErrDeadlineExceeded) || len(told) > 0 {
			t.Fatalf("held back, it is sent opcode %d %q %v, and %d messages are told", op, payload, err, len(told))
		}
		_ = peer.SetReadDeadline(time.Time{})
		s.Resume()
		if op, payload, err := readFrame(peer); op != opPong || string(payload) != "2" {
			t.Fatalf("opcode %d %q %v", op, payload, err)
		}
		if m, ok := (<-told).(*messages.Received); !ok || string(m.Bytes) != `"x"` {
			t.Fatalf("%+v", m)
		}
		if op, _, err := readFrame(peer); op != opPing {
			t.Errorf("from here on its silence counts: opcode %d %v", op, err)
		}
		peer.Close()
	})
}

// TestCloseIsBehindWhatWasQueued, and nothing is behind it.
func TestCloseIsBehindWhatWasQueued(t *testing.T) {
	inModes(t, func(t *testing.T, set func(socketConfig) *sockets) {
		p := connect(t, set(socketConfig{}), nil)
		for n := range 100 {
			p.Send([]byte("a"), []byte("b"), []byte("c"), messages.Passing{Last: n%2 == 0})
		}
		p.Close(4000, strings.Repeat("ä", 100))
		p.Send(nil, []byte("after"), nil, messages.Passing{Last: true})
		p.Ping(messages.Probe{})
		for range 100 {
			if op, got := p.read(t); op != opText || string(got) != "abc" {
				t.Fatalf("opcode %d, %q", op, got)
			}
		}
		op, got := p.read(t)
		if op != opClose || binary.BigEndian.Uint16(got) != 4000 || string(got[2:]) != strings.Repeat("ä", 61) {
			t.Fatalf("opcode %d, %q", op, got)
		}
		if b, err := io.ReadAll(p.peer); err != nil || len(b) > 0 {
			t.Fatalf("behind the close frame: %q %v", b, err)
		}
		p.write(t, closing(4000, ""))
		p.peer.Close()
		p.set.waitEmpty(context.Background()) // long before the linger: the peer has closed too
	})
}

// FuzzFrames gives the same bytes to a connection of the library's and to ours. They must tell the same messages and end with
// the same close code, but for what docs/decisions/0004 names.
func FuzzFrames(f *testing.F) {
	f.Add(join(frame(text, []byte("hello")), frame(ping, []byte("x")), closing(1000, "bye")))
	f.Add(join(frame(begin, []byte("a")), frame(ping, nil), frame(last, []byte("b")), closing(4001, "")))
	f.Add([]byte{text, 0x80 | 126, 0, 1, 0, 0, 0, 0, 'a'})
	f.Add(frame(text|0x40, nil))
	f.Add(join(frame(begin, []byte("a")), frame(text, nil)))
	f.Add(frame(text, make([]byte, 2000)))
	set := testSockets(f, socketConfig{blocking: true})
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, code := ourVerdict(set, b)
		theirs, want := libraryVerdict(b)
		switch {
		case code == messages.CloseProtocolError && want != code:
			// We are stricter: unmasked frames, lengths that are not minimal, reasons that are not UTF-8.
		case code == messages.CloseTooBig && want == messages.CloseNone:
			// We judge a message by its header; the library reads until the limit.
		case code == messages.CloseNoStatus && want == messages.CloseNone:
			// Both answer a close frame without a code by one without a code.
		case code != want:
			t.Fatalf("we end with %d, the library with %d", code, want)
		}
		for i := range ours {
			if i >= len(theirs) || ours[i] != theirs[i] {
				t.Fatalf("message %d: we have %q of %q", i, ours, theirs)
			}
		}
		strict := code == messages.CloseProtocolError || code == messages.CloseTooBig
		truncated := code == messages.CloseNone && len(theirs) == len(ours)+1 // a message that the end of the stream cut off
		if len(theirs) > len(ours) && !strict && !truncated {
			t.Fatalf("we miss messages: %q of %q", ours, theirs)
		}
	})
}

// talksToNobody takes what is written: a pong that finds its peer gone would end the connection before the rest was read.
type talksToNobody struct{ net.Conn }

func (talksToNobody) Write(b []byte) (int, error) { return len(b), nil }

func ourVerdict(set *sockets, b []byte) ([]string, messages.CloseCode) {
	peer, conn := net.Pipe()
	s := &socket{set: set, kind: &socketKind{maxMessage: 1000}, conn: talksToNobody{conn}}
	set.remember(s)
	told := make(chan messages.FromSocket, 1<<12)
	s.start(recorder{s, told})
	_, _ = peer.Write(b)
	peer.Close()
	got, end := said(told)
	s.cut()
	return got, end.Code
}

// pipeWriter lets the library upgrade a pipe.
type pipeWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

func libraryVerdict(b []byte) (received []string, code messages.CloseCode) {
	peer, conn := net.Pipe()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(k, v)
	}
	c, err := websocket.Accept(pipeWriter{httptest.NewRecorder(), conn}, r, nil)
	if err != nil {
		panic(err)
	}
	c.SetReadLimit(1000)
	written := make(chan messages.CloseCode, 1)
	go func() {
		code := messages.CloseNone
		for {
			op, payload, err := readFrame(peer)
			if err != nil {
				written <- code
				return
			}
			if op == opClose && len(payload) >= 2 {
				code = messages.CloseCode(binary.BigEndian.Uint16(payload))
			}
		}
	}()
	go func() {
		_, _ = peer.Write(b)
		_ = peer.SetWriteDeadline(time.Now())
		halfClose(conn)
	}()
	for {
		_, m, err := c.Read(context.Background())
		if err != nil {
			break
		}
		received = append(received, string(m))
	}
	_ = c.CloseNow()
	return received, <-written
}

// halfClose ends what can be read from a pipe, and lets its other direction live.
func halfClose(conn net.Conn) { _ = conn.SetReadDeadline(time.Unix(1, 0)) }

func BenchmarkReadMessage(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		message := frame(text, make([]byte, size))
		feed := func(b *testing.B, c net.Conn) {
			batch := bytes.Repeat(message, max(1, 64<<10/len(message)))
			for sent := 0; sent < b.N; sent += len(batch) / len(message) {
				if _, err := c.Write(batch); err != nil {
					return
				}
			}
		}
		b.Run("ours/"+sizeName(size), func(b *testing.B) {
			p := connect(b, testSockets(b, socketConfig{}), nil)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go feed(b, p.peer)
			for range b.N {
				<-p.told
			}
		})
		b.Run("library/"+sizeName(size), func(b *testing.B) {
			got := make(chan []byte, 1<<12)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					return
				}
				defer c.CloseNow()
				for {
					_, m, err := c.Read(context.Background())
					if err != nil {
						return
					}
					got <- m
				}
			}))
			defer srv.Close()
			c, _, err := websocket.Dial(context.Background(), srv.URL, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer c.CloseNow()
			raw := dialRaw(b, srv.Listener.Addr().String())
			defer raw.Close()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go feed(b, raw)
			for range b.N {
				<-got
			}
		})
	}
}

func sizeName(n int) string {
	if n < 1<<10 {
		return "256B"
	}
	return map[int]string{1 << 10: "1KiB", 16 << 10: "16KiB"}[n]
}

func dialRaw(b testing.TB, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(&oneByte{c}), nil); err != nil {
		b.Fatal(err)
	}
	return c
}

// TestLoserHoldsNoGoroutine: a connection that was closed, and whose peer makes no move, costs a timer until it is cut.
func TestLoserHoldsNoGoroutine(t *testing.T) {
	set := testSockets(t, socketConfig{})
	before := runtime.NumGoroutine()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := set.accept(w, r, &socketKind{maxMessage: 1 << 20}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		s.Close(messages.CloseClaimed, messages.ReasonClaimed) // refused before it has started
		s.start(recorder{s, nil})
	}))
	var losers []net.Conn
	for range 200 {
		c := dialRaw(t, srv.Listener.Addr().String())
		if op, payload, err := readFrame(c); err != nil || op != opClose || binary.BigEndian.Uint16(payload) != 4409 {
			t.Fatal(op, payload, err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		losers = append(losers, c)
	}
	srv.Close()
	for runtime.NumGoroutine() > before+5 { // net/http's own end in their time
		runtime.Gosched()
	}
	if n := set.count(); n != len(losers) {
		t.Fatalf("%d connections are left of %d: this proves nothing", n, len(losers))
	}
	for _, c := range losers {
		c.Close()
	}
	set.waitEmpty(context.Background())
}

// TestUpgradeIsAnsweredBehindTheClaim: before start, by when its actor has claimed or joined, a connection says nothing; then the answer
// goes ahead of all else.
func TestUpgradeIsAnsweredBehindTheClaim(t *testing.T) {
	set := testSockets(t, socketConfig{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := set.accept(w, r, &socketKind{maxMessage: 1 << 20}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		s.ping([]byte("queued"))
		if r.URL.Path == "/unanswered" {
			s.cut()
			return
		}
		s.start(recorder{s, make(chan messages.FromSocket, 2)})
	}))
	defer srv.Close()
	dial := func(path string) (net.Conn, *http.Response, error) {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(&oneByte{c}), nil)
		return c, resp, err
	}
	if _, resp, err := dial("/unanswered"); err == nil {
		t.Errorf("not started, and answered %s", resp.Status)
	}
	c, resp, err := dial("/")
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatal(resp, err)
	}
	if op, payload, err := readFrame(c); op != opPing || string(payload) != "queued" {
		t.Errorf("behind the answer: %d %q %v", op, payload, err)
	}
	c.Close()
	set.waitEmpty(t.Context())
}
