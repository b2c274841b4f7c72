package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/transport/measure/port"
)

// fake is a relay of the tests' own: as small as it can be, right by docs/protocol.md as far as claimstorm looks, and wrong in the one
// way that it is told.
type fake struct {
	fault         string
	grace, silent time.Duration // silent is the probe timeout
	every         time.Duration // the least time between two probes
	enough        func()        // called when it has shown often enough what it is for

	mu       sync.Mutex // guards what follows, and all slots
	slots    map[string]*fakeSlot
	shows    int // how often it has yet to show what it is for
	contests int // slots that a second claim came for
	frames   int
	held     []byte // the frame that is being swapped
	conns    map[net.Conn]bool
	stood    bool
	gone     bool
	running  sync.WaitGroup

	listener    net.Listener
	certificate *x509.Certificate
}

type fakeSlot struct {
	holder  *fakeConn
	waiting []*fakeConn
	probe   [8]byte
	number  int // of the probe that is out, or was
	out     bool
	sent    bool      // not only due
	since   time.Time // when it went out
	proof   time.Time // the last proof of life
	left    time.Time // when the last holder left
	clean   bool      // it had been probed, and left by a close frame
	refused int       // claims, ever
	spared  bool      // its second winner was let through
	phones  map[string]*fakeConn
}

type fakeConn struct {
	id     string
	conn   net.Conn
	br     *bufio.Reader
	needs  int    // the first probe that can refuse it
	wrong  string // the close frame that it should not have got
	heir   bool   // it was granted the slot in the grace of one that had been probed, and left by a close frame
	probed bool
	out    sync.Mutex
}

// newFake is a relay that is broken that way, and no machine is too busy for.
func newFake(fault string) *fake {
	return &fake{
		fault: fault, grace: 30 * time.Second, silent: 30 * time.Second, every: time.Millisecond, enough: func() {},
		slots: map[string]*fakeSlot{}, conns: map[net.Conn]bool{},
	}
}

// startFake gives the URL of a relay that is broken that way.
func startFake(t *testing.T, fault string) string {
	t.Helper()
	return newFake(fault).serve(t, (*httptest.Server).Start)
}

// serve gives its URL. Its port is nobody else's, also after it has stopped listening.
func (f *fake) serve(t *testing.T, start func(*httptest.Server)) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/server", f.server)
	mux.HandleFunc("GET /v1/client", f.client)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) { f.locked(func() {}) })
	srv := &httptest.Server{Listener: listen(t), Config: &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}} // a log would tell of each client that does not trust it
	start(srv)
	f.locked(func() { f.listener, f.certificate = srv.Listener, srv.Certificate() })
	t.Cleanup(func() {
		f.mu.Lock()
		f.gone = true
		for c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		srv.Close()
		f.running.Wait()
	})
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// listen listens where nobody else will when the listener has been closed: who dials then is refused.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", port.Held(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// authority is a file with its certificate.
func (f *fake) authority(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// show is for a fake that is locked: it has shown once more what it is for.
func (f *fake) show() {
	if f.shows--; f.shows == 0 {
		f.enough()
	}
}

// upgrade is for a fake that is locked, until what follows from it is done: who has read the answer comes before who dials after that.
func (f *fake) upgrade(w http.ResponseWriter, r *http.Request, id string) *fakeConn {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	f.conns[conn] = true
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	return &fakeConn{id: id, conn: conn, br: rw.Reader}
}

// read is a frame of a client, which is never fragmented here.
func (c *fakeConn) read() (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.br, h[:]); err != nil {
		return 0, nil, err
	}
	n := int64(h[1] & 0x7f)
	if size := map[int64]int{126: 2, 127: 8}[n]; size > 0 {
		long := make([]byte, 8)
		if _, err := io.ReadFull(c.br, long[8-size:]); err != nil {
			return 0, nil, err
		}
		n = int64(binary.BigEndian.Uint64(long))
	}
	masked := make([]byte, 4+n)
	if _, err := io.ReadFull(c.br, masked); err != nil {
		return 0, nil, err
	}
	for i := range masked[4:] {
		masked[4+i] ^= masked[i%4]
	}
	return h[0] & 0x0f, masked[4:], nil
}

func (c *fakeConn) write(op byte, payload []byte) {
	c.out.Lock()
	defer c.out.Unlock()
	b := []byte{0x80 | op}
	if n := len(payload); n < 126 {
		b = append(b, byte(n))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
		if n < 1<<16 {
			b = binary.BigEndian.AppendUint16([]byte{0x80 | op, 126}, uint16(n))
		}
	}
	c.conn.Write(append(b, payload...))
}

func (c *fakeConn) close(code uint16, reason string) (payload string) {
	b := append(binary.BigEndian.AppendUint16(nil, code), reason...)
	c.write(opClose, b)
	return string(b)
}

func (f *fake) slot(id string) *fakeSlot {
	if f.slots[id] == nil {
		f.slots[id] = &fakeSlot{phones: map[string]*fakeConn{}}
	}
	return f.slots[id]
}

// server is the life of a binary.
func (f *fake) server(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Pyrycode-Server")
	var c *fakeConn
	f.locked(func() {
		c = f.upgrade(w, r, "server-"+id)
		f.claim(f.slot(id), c)
	})
	for {
		op, payload, err := c.read()
		switch {
		case err != nil || op == opClose:
			f.locked(func() {
				s := f.slot(id)
				if s.holder == c {
					s.clean = c.probed && err == nil
				}
				f.release(s, c)
				if c.wrong != "" && string(payload) == c.wrong { // its client took it for the end, and did not leave by itself
					f.show()
				}
			})
			if err == nil {
				c.write(opClose, payload)
			}
			c.conn.Close()
			f.locked(func() { delete(f.conns, c.conn) })
			return
		case op == opPing && f.fault != "no pongs":
			c.write(opPong, payload)
		case op == opPong:
			f.locked(func() { f.answered(f.slot(id), c, payload) })
		case op == opText:
			conn, frame, _, _ := opened(payload)
			var phone *fakeConn
			f.locked(func() { phone = f.slot(id).phones[conn] })
			if phone != nil {
				phone.write(opText, frame)
			}
		}
	}
}

func (f *fake) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) claim(s *fakeSlot, c *fakeConn) {
	switch {
	case s.holder == nil && f.fault == "grace ignored" && time.Since(s.left) < f.grace && !s.left.IsZero():
		f.refuse(c)
		return
	case s.holder == nil:
		s.holder, s.spared, c.heir = c, false, s.clean
		return
	case f.fault == "second claim wins" && !s.spared:
		s.holder, s.spared = c, true
		return
	case f.fault == "old proof of life counted" && time.Since(s.proof) < time.Second:
		c.wrong = c.close(4409, "server-id already claimed")
		return
	}
	if len(s.waiting) == 0 && !s.spared {
		f.contests++
		if s.spared = f.fault == "two winners once in 500" && f.contests == 500; s.spared {
			s.holder = c
			return
		}
	}
	c.needs = s.number + 1
	s.waiting = append(s.waiting, c)
	f.ask(s)
}

// ask probes the holder, at most every so often, as long as claims wait.
func (f *fake) ask(s *fakeSlot) {
	if s.out || len(s.waiting) == 0 || f.gone {
		return
	}
	s.out, s.sent = true, false
	holder := s.holder
	f.running.Go(func() {
		<-time.After(f.every)
		f.locked(func() { f.send(s, holder) })
	})
}

func (f *fake) send(s *fakeSlot, holder *fakeConn) {
	if s.holder != holder { // it has left; whoever came next is asked
		s.out = false
		f.ask(s)
		return
	}
	s.number++
	s.sent = true
	number := s.number
	rand.Read(s.probe[:])
	s.since = time.Now()
	probe := s.probe
	f.running.Go(func() {
		holder.write(opPing, probe[:])
		for end := time.Now().Add(f.silent); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
			done := false
			f.locked(func() { done = !f.waits(s, holder, number) })
			if done {
				return
			}
		}
		f.locked(func() { f.expired(s, holder, number) })
	})
}

// waits says whether this probe has yet to be answered.
func (f *fake) waits(s *fakeSlot, holder *fakeConn, number int) bool {
	return s.holder == holder && s.number == number && s.out && s.sent && !f.gone
}

func (f *fake) expired(s *fakeSlot, holder *fakeConn, number int) {
	if !f.waits(s, holder, number) {
		return
	}
	s.out = false
	if len(s.waiting) > 0 {
		holder.close(1011, "heartbeat timeout")
		s.holder, s.waiting = s.waiting[0], s.waiting[1:]
		s.spared = false
		f.show()
	}
	f.ask(s)
}

func (f *fake) answered(s *fakeSlot, c *fakeConn, payload []byte) {
	if s.holder != c || !s.out || string(payload) != string(s.probe[:]) {
		return
	}
	if c.heir && f.fault == "" && !c.probed {
		f.show()
	}
	c.probed = true
	if f.fault == "stands still" && !f.stood && len(s.waiting) > 0 {
		f.stood = true
		<-time.After(2 * time.Second)
		f.expired(s, c, s.number)
		return
	}
	s.out, s.proof = false, time.Now()
	if f.fault == "living holder taken over" && len(s.waiting) > 0 {
		c.wrong = c.close(1011, "heartbeat timeout")
		s.holder, s.waiting = s.waiting[0], s.waiting[1:]
		f.ask(s)
		return
	}
	var later []*fakeConn
	for _, w := range s.waiting {
		if w.needs <= s.number {
			f.refuse(w)
			s.refused++
		} else {
			later = append(later, w)
		}
	}
	s.waiting = later
	if f.fault == "winner dropped" && s.refused >= 3 { // all others of a storm
		c.conn.Close()
		f.show()
	}
	f.ask(s)
}

func (f *fake) refuse(c *fakeConn) {
	switch f.fault {
	case "loser closed with 1000":
		c.wrong = c.close(1000, "server-id already claimed")
	case "loser closed with 1001":
		c.wrong = c.close(1001, "relay shutting down")
	case "wrong reason":
		c.wrong = c.close(4409, "taken")
	case "never answered":
	default:
		c.close(4409, "server-id already claimed")
	}
}

func (f *fake) release(s *fakeSlot, c *fakeConn) {
	for i, w := range s.waiting {
		if w == c {
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
		}
	}
	if s.holder != c {
		return
	}
	s.holder, s.left, s.out, s.proof, s.spared = nil, time.Now(), false, time.Time{}, false
	if len(s.waiting) > 0 {
		s.holder, s.waiting = s.waiting[0], s.waiting[1:]
	}
	f.ask(s)
}

// client is the life of a phone. Its frames are what the frame faults befall.
func (f *fake) client(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Pyrycode-Server")
	var c *fakeConn
	f.locked(func() {
		c = f.upgrade(w, r, "client-"+id+"-"+strings.ToLower(rand.Text()[:16]))
		f.slot(id).phones[c.id] = c
	})
	defer func() {
		c.conn.Close()
		f.locked(func() { delete(f.conns, c.conn); delete(f.slot(id).phones, c.id) })
	}()
	for {
		op, payload, err := c.read()
		if err != nil {
			return
		}
		switch op {
		case opClose:
			c.write(opClose, payload)
			return
		case opPing:
			c.write(opPong, payload)
		case opText:
			var holder *fakeConn
			f.locked(func() { holder = f.slot(id).holder })
			if holder == nil {
				return
			}
			for _, frame := range f.mangled(payload) {
				holder.write(opText, appendEnvelope(nil, c.id, frame))
			}
		}
	}
}

// mangled does its worst to the hundredth frame of a phone.
func (f *fake) mangled(frame []byte) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if string(frame) != greeting {
		f.frames++
		f.show()
	}
	switch {
	case f.fault == "two frames swapped" && f.frames == 100:
		f.held = frame
		return nil
	case f.held != nil:
		held := f.held
		f.held = nil
		return [][]byte{frame, held}
	case f.frames != 100:
	case f.fault == "one frame doubled":
		return [][]byte{frame, frame}
	case f.fault == "one frame lost":
		return nil
	case f.fault == "one byte changed":
		frame[len(frame)/2] ^= 1
	}
	return [][]byte{frame}
}
