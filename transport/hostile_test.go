package transport

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// siege is a relay on a plain and a TLS listener behind a proxy, in which a phone and its binary talk all the while.
type siege struct {
	*running
	secureAddr string
	echoes     atomic.Int64
	silent     chan struct{} // closed once the pair talks no more
}

// besieged gives those who arrive so much time for all that comes before a request.
func besieged(t *testing.T, arriveWithin time.Duration) *siege {
	cfg := anywhere(testConfig())
	secure := passOn(t)
	cfg.HTTPSListen, cfg.Certificate, cfg.Inherited = secure.addr(), valid(t), secure.as(HTTPS)
	cfg.RateBurst, cfg.RatePerMinute, cfg.MaxConnections = 20, 10, rounds(150, 2000)
	cfg.ReadTimeout, cfg.arriveWithin = 2*time.Second, arriveWithin
	s := &siege{running: run(t, cfg), secureAddr: secure.addr(), silent: make(chan struct{})}
	binary := s.over(proxied("198.51.100.1"), request(s.addr, "home"))
	s.until("home", "granted", 1)
	phone := s.over(proxied("198.51.100.2"), strings.NewReplacer("/v1/server", "/v1/client", "X-Pyrycode-Version", "X-Pyrycode-Token").Replace(request(s.addr, "home")))
	var talk sync.WaitGroup
	talk.Go(func() { // the binary sends back what it gets
		for {
			op, payload, err := readFrame(binary.br)
			if err != nil {
				return
			}
			if op == opText {
				_, _ = binary.Write(frame(text, payload))
			}
		}
	})
	talk.Go(func() {
		defer close(s.silent)
		for n := 0; ; n++ {
			want := fmt.Sprintf(`{"n":%d}`, n)
			if _, err := phone.Write(frame(text, []byte(want))); err != nil {
				return
			}
			if op, payload, err := readFrame(phone.br); err != nil {
				return
			} else if op != opText || string(payload) != want {
				t.Errorf("the phone gets %q, want %s", payload, want)
			}
			s.echoes.Add(1)
		}
	})
	t.Cleanup(func() { phone.Close(); binary.Close(); talk.Wait() })
	return s
}

// over is upgraded over TLS.
func (s *siege) over(before, request string) *daemon {
	s.t.Helper()
	r := *s.running
	r.addr = s.secureAddr
	d, err := r.secureOver(s.dialer, before, request)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// attack dials a listener.
func (s *siege) attack(addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// trickles sends text, and then one byte after the other, until the relay ends it without an answer.
func (s *siege) trickles(what string, c net.Conn, text string) {
	_, _ = io.WriteString(c, text)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if b, err := io.ReadAll(c); len(b) > 0 {
			s.t.Errorf("%s: answered %q, %v", what, b, err)
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_, _ = c.Write([]byte("x"))
		}
	}
}

// TestSiege: whoever does his worst gets the contract's answer, and those who talk go on talking.
func TestSiege(t *testing.T) {
	s := besieged(t, headerTimeout)
	from := func(n int) string { return fmt.Sprintf("203.0.%d.%d", n>>8&0xff, n&0xff) }
	tlsRecord := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	attacks := map[string]func(t *testing.T, n int){
		"slow headers": func(_ *testing.T, n int) {
			s.trickles("slow headers", s.attack(s.addr), proxied(from(n))+"GET /v1/server HTTP/1.1\r\nHost: relay\r\nX-Slow: ")
		},
		"a slow PROXY header": func(_ *testing.T, _ int) { s.trickles("slow PROXY header", s.attack(s.addr), "PROXY ") },
		"slow TLS": func(_ *testing.T, n int) {
			s.trickles("slow TLS", s.attack(s.secureAddr), proxied(from(n))+tlsRecord)
		},
		"slow headers over TLS": func(_ *testing.T, n int) {
			tcp := s.attack(s.secureAddr)
			_, _ = io.WriteString(tcp, proxied(from(n)))
			s.trickles("slow headers over TLS", tls.Client(tcp, &tls.Config{InsecureSkipVerify: true}), "GET /v1/server HTTP/1.1\r\nX-Slow: ")
		},
		"junk TLS": func(t *testing.T, n int) {
			c := s.attack(s.secureAddr)
			junk := make([]byte, 1+rand.IntN(4000))
			for i := range junk {
				junk[i] = byte(rand.Uint32())
			}
			junk[0] = 0x17 // or it might begin like HTTP, which is told what it did
			_, _ = c.Write(append([]byte(proxied(from(n))), junk...))
			_ = c.(*net.TCPConn).CloseWrite()
			if b, _ := io.ReadAll(c); len(b) > 7 { // an alert, at most
				t.Errorf("junk was answered with %q", b)
			}
		},
		"a header bomb": func(t *testing.T, n int) {
			for _, bomb := range []string{"X-Bomb: " + strings.Repeat("x", 64<<10), strings.Repeat("X-Bomb: x\r\n", 5000) + "X-Bomb: x"} {
				if resp := s.asks(t, from(n), with(request(s.addr, "bomb"), bomb)); resp != nil && resp.StatusCode != 431 {
					t.Errorf("a header bomb: %s", resp.Status)
				}
			}
		},
		"a slow frame": func(t *testing.T, n int) {
			d, err := s.begin(proxied(from(n)) + request(s.addr, fmt.Sprint("slow-", n)))
			if err != nil || d.upgraded() != nil {
				return // no room: the siege itself takes it
			}
			defer d.Close()
			_, _ = d.Write(frame(begin, []byte("never")))
			for {
				op, payload, err := readFrame(d.br)
				if err != nil {
					t.Errorf("a slow frame: %v, want a close frame", err)
					return
				}
				if op == opClose {
					if code := binary.BigEndian.Uint16(payload); code != 1008 {
						t.Errorf("a slow frame was closed with %d", code)
					}
					return
				}
			}
		},
		"a flood from one address": func(t *testing.T, n int) {
			resp := s.asks(t, "192.0.2.66", without(request(s.addr, "flood"), "User-Agent"))
			if resp != nil && resp.StatusCode != 400 && (resp.StatusCode != 429 && resp.StatusCode != 503 || s.retryAfter(resp) == 0) {
				t.Errorf("number %d of a flood: %s, Retry-After %q", n, resp.Status, resp.Header.Get("Retry-After"))
			}
		},
		"a flood from a /16": func(t *testing.T, n int) {
			began := time.Now()
			c := s.attack(s.addr)
			_, _ = io.WriteString(c, proxied(fmt.Sprintf("10.7.%d.%d", n>>8&0xff, n&0xff))+request(s.addr, fmt.Sprint("flood-", n)))
			resp, err := http.ReadResponse(bufio.NewReader(c), nil) // and stays, where it was let in
			if err != nil && !mayBeCut(began) || err == nil && resp.StatusCode != 101 && (resp.StatusCode != 503 || s.retryAfter(resp) == 0) {
				t.Errorf("number %d of a /16: %v %v", n, resp, err)
			}
		},
	}
	for what, attack := range attacks {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			workers := rounds(8, 100)
			for w := range workers {
				all.Go(func() {
					for n := w; n < rounds(8, 400); n += workers {
						attack(t, n)
					}
				})
			}
			all.Wait()
		})
	}
	t.Cleanup(s.talksOn)
}

// asks asks from an address, and gives the answer, or nil where the door had the right to give none.
func (s *siege) asks(t *testing.T, from, request string) *http.Response {
	began := time.Now()
	resp, _, err := s.trySay(s.addr, proxied(from)+request)
	if err != nil && !mayBeCut(began) {
		t.Errorf("no answer: %v", err)
	}
	return resp
}

// mayBeCut: in a crowd who has got no request across in the patience of the door may have to go, though it be the machine that held
// him up.
func mayBeCut(began time.Time) bool { return time.Since(began) >= patience }

// talksOn waits until the pair has talked some more.
func (s *siege) talksOn() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for talked := s.echoes.Load(); s.echoes.Load() < talked+10; {
		select {
		case <-tick.C:
		case <-s.silent:
			s.t.Error("the pair talks no more")
			return
		}
	}
}

// TestHalfOpenFlood: connections that say nothing, many times more than there is room for, keep nobody out.
func TestHalfOpenFlood(t *testing.T) {
	s := besieged(t, ample)
	for n := range rounds(300, 10_000) {
		c := s.attack([]string{s.addr, s.secureAddr}[n%2])
		if c == nil {
			return
		}
		if n%100 == 0 {
			d := s.over(proxied(fmt.Sprintf("198.51.100.%d", 10+n/100)), request(s.addr, fmt.Sprint("honest-", n)))
			d.echoPing(t)
			d.Close()
		}
	}
	s.talksOn()
}
