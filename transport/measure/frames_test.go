package measure

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// talker is one end: of a WebSocket, or of a spliced connection, on which the same bytes are sent.
type talker struct {
	net.Conn
	in *bufio.Reader
}

// open opens a binary's connection, or a phone's.
func (s server) open(b testing.TB, kind string, phone bool, id string) *talker {
	b.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	p := &talker{c, bufio.NewReaderSize(c, 64<<10)}
	if kind == "splice" || kind == "copy" {
		_, _ = fmt.Fprintf(c, "%s\n", id)
		return p
	}
	path, header := "/v1/server", "X-Pyrycode-Version: 1"
	if phone {
		path, header = "/v1/client", "X-Pyrycode-Token: t"
	}
	_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: m\r\nX-Pyrycode-Server: %s\r\n%s\r\n\r\n", path, id, header)
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if line == "\r\n" {
			return p
		}
	}
}

// filled is a frame of so many bytes: a JSON string that looks like base64, with who at its beginning.
func filled(who, size int) []byte {
	return masked([]byte(fmt.Sprintf(`"%06d`, who) + strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0", size/36+1)[:size-8] + `"`))
}

// masked is a text message as a client sends it.
func masked(payload []byte) []byte {
	var f []byte
	switch size := len(payload); {
	case size < 126:
		f = []byte{0x81, 0x80 | byte(size)}
	case size < 1<<16:
		f = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(size))
	default:
		f = binary.BigEndian.AppendUint64([]byte{0x81, 0x80 | 127}, uint64(size))
	}
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	f = append(f, key[:]...)
	for i, c := range payload {
		f = append(f, c^key[i%4])
	}
	return f
}

// next reads a frame, and gives the last bytes of its payload, as many as asked for.
func (p *talker) next(tail []byte) error {
	for {
		h, err := p.in.Peek(2)
		if err != nil {
			return err
		}
		op, mask, n, size := h[0]&0x0f, h[1]&0x80 != 0, int(h[1]&0x7f), 2
		switch n {
		case 126:
			if h, err = p.in.Peek(4); err != nil {
				return err
			}
			n, size = int(binary.BigEndian.Uint16(h[2:])), 4
		case 127:
			if h, err = p.in.Peek(10); err != nil {
				return err
			}
			n, size = int(binary.BigEndian.Uint64(h[2:])), 10
		}
		if mask {
			size += 4
		}
		if op == 8 {
			return fmt.Errorf("closed")
		}
		if op > 8 || len(tail) == 0 {
			if _, err := p.in.Discard(size + n); err != nil {
				return err
			}
			if op > 8 {
				continue
			}
			return nil
		}
		if _, err := p.in.Discard(size + n - len(tail)); err != nil {
			return err
		}
		_, err = io.ReadFull(p.in, tail)
		return err
	}
}

// pairs is so many phones, each with its binary, or all with one.
type pairs struct {
	phones, binaries []*talker
}

func (s server) pairs(b testing.TB, kind string, n int, oneBinary bool) (ps pairs) {
	for i := range n {
		id := "m" + strconv.Itoa(i)
		if oneBinary {
			id = "m"
		}
		if !oneBinary || i == 0 {
			ps.binaries = append(ps.binaries, s.open(b, kind, false, id))
		}
		ps.phones = append(ps.phones, s.open(b, kind, true, id))
	}
	return ps
}

// rate is what a server did while all phones sent as fast as they were taken.
type rate struct {
	perSecond float64
	cpu       time.Duration // a frame
	spread    float64       // the slowest phone's part of the fastest's
}

// flood sends for a while, and counts what arrives in the middle of it.
func flood(b testing.TB, s server, ps pairs, size int, d time.Duration) (r rate) {
	arrived := make([]atomic.Int64, len(ps.phones))
	var enough atomic.Bool
	var all sync.WaitGroup
	for i, p := range ps.phones {
		f := filled(i, size)
		all.Go(func() {
			for !enough.Load() {
				if _, err := p.Write(f); err != nil {
					return
				}
			}
		})
	}
	for i, p := range ps.binaries {
		all.Go(func() {
			var tail []byte
			if len(ps.binaries) == 1 && len(ps.phones) > 1 {
				tail = make([]byte, size) // of the frame, and the envelope's last byte
			}
			for {
				if err := p.next(tail); err != nil {
					return
				}
				who := i
				if tail != nil {
					who, _ = strconv.Atoi(string(tail[:6]))
				}
				arrived[who].Add(1)
			}
		})
	}
	counts := func() (each []int64, total int64) {
		for i := range arrived {
			n := arrived[i].Load()
			each = append(each, n)
			total += n
		}
		return each, total
	}
	time.Sleep(d / 4) //nolint:forbidigo // the time is what is measured over
	before, n0 := counts()
	u0, t0 := s.usage(b), time.Now()
	time.Sleep(d) //nolint:forbidigo // likewise
	after, n1 := counts()
	u1, took := s.usage(b), time.Since(t0)
	enough.Store(true) // else each Close would wait for its turn among those who write
	for _, p := range append(slices.Clone(ps.phones), ps.binaries...) {
		all.Go(func() { _ = p.Close() })
	}
	all.Wait()
	least, most := after[0]-before[0], after[0]-before[0]
	for i := range after {
		least, most = min(least, after[i]-before[i]), max(most, after[i]-before[i])
	}
	if n1 == n0 {
		b.Fatal("nothing arrives")
	}
	return rate{float64(n1-n0) / took.Seconds(), (u1.CPU - u0.CPU) / time.Duration(n1-n0), float64(least) / float64(most)}
}

var kinds = []string{"relay", "forward", "copy", "splice"}

// BenchmarkFrames: as many frames as go through, from phones to binaries. The server's CPU is that of its process.
func BenchmarkFrames(b *testing.B) {
	for _, c := range []struct {
		pairs, size int
		one         bool
	}{
		{1, 256, false},
		{1, 1 << 10, false},
		{1, 16 << 10, false},
		{100, 256, false},
		{100, 1 << 10, false},
		{100, 16 << 10, false},
		{100, 1 << 10, true},
		{10, 1 << 10, false},
		{1000, 1 << 10, false},
	} {
		name := fmt.Sprintf("%dpairs/%dB", c.pairs, c.size)
		if c.one {
			name = fmt.Sprintf("%dphones1binary/%dB", c.pairs, c.size)
		}
		for _, kind := range kinds {
			if c.one && (kind == "splice" || kind == "copy") {
				continue
			}
			b.Run(name+"/"+kind, func(b *testing.B) {
				for b.Loop() {
					s := start(b, kind)
					r := flood(b, s, s.pairs(b, kind, c.pairs, c.one), c.size, 2*time.Second)
					b.ReportMetric(r.perSecond, "frames/s")
					b.ReportMetric(float64(r.cpu.Nanoseconds())/1e3, "cpu-us/frame")
					b.ReportMetric(r.spread, "slowest/fastest")
					b.ReportMetric(0, "ns/op")
				}
			})
		}
	}
}

// BenchmarkLoneFrame: one frame at a time, from a phone to its binary; its answer comes back the same way for the splice, and is
// not waited for by the others.
func BenchmarkLoneFrame(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("%dB/%s", size, kind), func(b *testing.B) {
				s := start(b, kind)
				ps := s.pairs(b, kind, 1, false)
				f := filled(0, size)
				var times []time.Duration
				for i := range 30_000 { // enough to meet each of the ways in which an idle processor wakes up
					t0 := time.Now()
					if _, err := ps.phones[0].Write(f); err != nil {
						b.Fatal(err)
					}
					if err := ps.binaries[0].next(nil); err != nil {
						b.Fatal(err)
					}
					if i >= 1000 {
						times = append(times, time.Since(t0))
					}
				}
				for b.Loop() { //nolint:revive // measured above
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-us")
				b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-us")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkIdlePair asks what a phone and its binary cost that do nothing, 2 s after a frame has gone each way.
func BenchmarkIdlePair(b *testing.B) {
	const pairs, size = 2500, 1 << 10
	for _, kind := range []string{"forward", "relay"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				s := start(b, kind)
				before := s.usage(b)
				ps := s.pairs(b, kind, pairs, false)
				f := filled(0, size)
				head := len(`{"conn_id":"client-m-0123456789abcdef",`)
				for i, phone := range ps.phones {
					if _, err := phone.Write(f); err != nil {
						b.Fatal(err)
					}
					// The envelope that comes is one that goes: the binary sends back what it got.
					envelope := make([]byte, head+len(strconv.Itoa(i))+len(`"frame":}`)+size)
					if err := ps.binaries[i].next(envelope); err != nil {
						b.Fatal(err)
					}
					if _, err := ps.binaries[i].Write(masked(envelope)); err != nil {
						b.Fatal(err)
					}
					if err := phone.next(nil); err != nil {
						b.Fatal(err)
					}
				}
				<-time.After(2 * time.Second)
				quiet := s.usage(b)
				b.ReportMetric(float64(quiet.RSSKiB-before.RSSKiB)/(2*pairs), "KiB/conn")
				b.ReportMetric(float64(quiet.Goroutines-before.Goroutines)/(2*pairs), "goroutines/conn")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
