package measure

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// idlers is how many connections are held at once: what two processes of one machine with 20,000 descriptors can do.
const (
	idlers        = 10_000
	idlersOverTLS = 4000
)

// BenchmarkIdleConnection asks what a held claim costs that does nothing: memory and goroutines 2 s after each of 10,000 has
// been pinged and has pinged, and CPU a ping at the 400 a second that they make at one ping each 25 s.
func BenchmarkIdleConnection(b *testing.B) {
	for _, kind := range []string{"plain", "relay"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				idle(b, kind, idlers)
			}
		})
	}
}

// BenchmarkIdleConnectionOverTLS asks the same of fewer, whose other ends cost more than what is measured.
func BenchmarkIdleConnectionOverTLS(b *testing.B) {
	for _, kind := range []string{"plain-tls", "relay-tls"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				idle(b, kind, idlersOverTLS)
			}
		})
	}
}

func idle(b *testing.B, kind string, idlers int) {
	s := start(b, kind)
	before := s.usage(b)
	conns := make([]*peer, idlers)
	began := time.Now()
	each(conns, 16, func(i int) { conns[i] = dialOver(b, overTLS[kind], s.addr, i, fmt.Sprintf("idle-%d", i)) })
	took := time.Since(began)
	defer each(conns, 16, func(i int) { _ = conns[i].Close() })
	opened := s.usage(b)

	// Each connection is pinged by the server, answers, and pings once itself.
	each(conns, 64, func(i int) {
		conns[i].answerPing(b)
		conns[i].ping(b)
	})
	settle := time.NewTimer(2 * time.Second)
	<-settle.C
	quiet := s.usage(b)
	b.ReportMetric(float64(quiet.RSSKiB-before.RSSKiB)/float64(idlers), "KiB/conn")
	b.ReportMetric(float64(quiet.Goroutines-before.Goroutines)/float64(idlers), "goroutines/conn")
	b.ReportMetric(float64((opened.CPU-before.CPU).Microseconds())/float64(idlers), "us-CPU/upgrade")
	b.ReportMetric(float64(idlers)/took.Seconds(), "upgrades/s")

	const pings, gap = 2000, time.Second / 400
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for i := range pings {
		<-tick.C
		conns[i%idlers].ping(b)
	}
	pinged := s.usage(b)
	perPing := float64((pinged.CPU - quiet.CPU).Microseconds()) / pings
	b.ReportMetric(perPing, "us-CPU/ping")
	b.ReportMetric(perPing/25, "us-CPU/s/conn")

	times := make([]time.Duration, 4000)
	for i := range times {
		began := time.Now()
		conns[0].ping(b)
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "us-p50")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "us-p99")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLostClaim asks what a claim costs that loses to a living holder, its upgrade included, until the loser has
// read its 4409. The plain server does not ask its holder.
func BenchmarkLostClaim(b *testing.B) {
	for _, kind := range []string{"plain", "relay"} {
		b.Run(kind, func(b *testing.B) {
			s := start(b, kind)
			holder := dial(b, s.addr, 0, "home")
			defer holder.Close()
			stop := make(chan struct{})
			defer func() { _ = holder.Close(); <-stop }()
			go func() { // the holder answers every probe
				defer close(stop)
				for holder.answer() == nil {
				}
			}()
			before := s.usage(b)
			n := 0
			for b.Loop() {
				// 50 at a time, so that the relay's probe interval is not what is measured
				each(make([]*peer, 50), 50, func(i int) {
					p := dial(b, s.addr, n+i, "home")
					defer p.Close()
					if code := p.closeCode(b); code != 4409 {
						b.Errorf("the loser was closed with %d", code)
					}
				})
				n += 50
			}
			b.ReportMetric(float64((s.usage(b).CPU-before.CPU).Microseconds())/float64(n), "us-CPU/claim")
		})
	}
}

// each runs f for every index, with so many workers.
func each(conns []*peer, workers int, f func(i int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(conns); i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// peer is a client without goroutines and with next to no memory, so that it is not what is measured.
type peer struct{ net.Conn }

// dial claims id from one of many loopback addresses, since each has only so many ports.
func dial(b testing.TB, addr string, i int, id string) *peer { return dialOver(b, false, addr, i, id) }

func dialOver(b testing.TB, secure bool, addr string, i int, id string) *peer {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/100%100), byte(1+i%100))}, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	_, err = fmt.Fprintf(c, "GET /v1/server HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Pyrycode-Server: %s\r\nX-Pyrycode-Version: 1\r\nUser-Agent: measure\r\n\r\n", addr, id)
	if err != nil {
		b.Fatal(err)
	}
	// One byte at a time from here, so that nothing of the first frame is read with the response.
	resp, err := http.ReadResponse(bufio.NewReaderSize(onebyte{c}, 16), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("upgrade: %v %v", resp, err)
	}
	return &peer{c}
}

// onebyte reads a byte at a time.
type onebyte struct{ io.Reader }

func (r onebyte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// frame reads one short frame of the server's.
func (p *peer) frame() (opcode byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(p, h[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, h[1]&0x7f)
	_, err = io.ReadFull(p, payload)
	return h[0] & 0x0f, payload, err
}

// answer reads a frame and answers it if it is a ping.
func (p *peer) answer() error {
	op, payload, err := p.frame()
	if err == nil && op == 9 {
		_, err = p.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	}
	return err
}

func (p *peer) answerPing(b *testing.B) {
	if err := p.answer(); err != nil {
		b.Error(err)
	}
}

// ping sends a ping and waits for its pong, answering the server's own on the way.
func (p *peer) ping(b *testing.B) {
	if _, err := p.Write([]byte{0x89, 0x82, 0, 0, 0, 0, 'h', 'i'}); err != nil {
		b.Error(err)
		return
	}
	for {
		op, payload, err := p.frame()
		switch {
		case err != nil:
			b.Error(err)
			return
		case op == 10:
			return
		case op == 9:
			_, _ = p.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
		}
	}
}

// closeCode waits for the server's close frame.
func (p *peer) closeCode(b *testing.B) uint16 {
	op, payload, err := p.frame()
	if err != nil || op != 8 || len(payload) < 2 {
		b.Errorf("want a close frame, got opcode %d, %q, %v", op, payload, err)
		return 0
	}
	return binary.BigEndian.Uint16(payload)
}
