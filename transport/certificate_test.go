package transport

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// issued makes a certificate for this machine that is valid between the two times, and puts it and its key into files.
func issued(t testing.TB, from, to time.Time) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: serial, NotBefore: from, NotAfter: to, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{File: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{c.File: {Type: "CERTIFICATE", Bytes: der}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func valid(t testing.TB) Certificate {
	return issued(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
}

var (
	testTLSOnce sync.Once
	testPair    *tls.Certificate
)

// testTLS is the relay's configuration, with one certificate for all tests.
func testTLS(t testing.TB) *tls.Config {
	testTLSOnce.Do(func() {
		var err error
		if testPair, err = valid(t).Load(); err != nil {
			t.Fatal(err)
		}
	})
	return tlsConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return testPair, nil })
}

// loglines is a log that tests can look at.
type loglines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *loglines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *loglines) count(event string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), "msg="+event+" ")
}

// await waits until the event was logged, and counts it.
func (l *loglines) await(event string) (n int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; n == 0; n = l.count(event) {
		<-tick.C
	}
	return n
}

func (l *loglines) log() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// served is the certificate that a relay shows.
func served(t testing.TB, addr string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// move puts the files of one certificate in the place of another's.
func move(t testing.TB, from, to Certificate) {
	t.Helper()
	for old, now := range map[string]string{from.File: to.File, from.KeyFile: to.KeyFile} {
		if err := os.Rename(old, now); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificateIsReadAgain when its files change, under a connection that goes on; a pair that is none is told of once, and the
// one before stays.
func TestCertificateIsReadAgain(t *testing.T) {
	var log loglines
	cfg := testConfig()
	cfg.Log, cfg.Listen, cfg.HTTPSListen, cfg.Certificate = log.log(), "", "127.0.0.1:0", valid(t)
	r := run(t, cfg)
	held := r.secure(request(r.addr, "home"))
	before := served(t, r.addr)
	if err := os.WriteFile(cfg.Certificate.KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for log.count("certificate_not_renewed") == 0 {
		if !served(t, r.addr).Equal(before) {
			t.Fatal("another certificate, though the new one is none")
		}
	}
	move(t, valid(t), cfg.Certificate)
	for served(t, r.addr).Equal(before) {
		held.echoPing(t)
	}
	if n := log.count("certificate_not_renewed"); n != 1 {
		t.Errorf("a broken certificate was told of %d times", n)
	}
	held.echoPing(t)
}

func TestCertificateThatIsNoneIsAnErrorAtTheStart(t *testing.T) {
	cfg := testConfig()
	cfg.HTTPSListen, cfg.Certificate = "127.0.0.1:0", Certificate{File: "no such file", KeyFile: "none"}
	if err := Run(context.Background(), context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// TestExpiryIsToldOnce: before it, and after it, and again of the next certificate.
func TestExpiryIsToldOnce(t *testing.T) {
	var log loglines
	k := &keeper{log: log.log()}
	now := time.Now()
	for n := range 2 {
		cert, err := issued(t, now.Add(-time.Hour), now.Add(30*24*time.Hour)).Load()
		if err != nil {
			t.Fatal(err)
		}
		k.current.Store(cert)
		for day := range 40 {
			k.warn(now.Add(time.Duration(day) * 24 * time.Hour))
			soon, over := n, n
			if day >= 25 { // a sixth of the thirty is left
				soon++
			}
			if day >= 30 {
				over++
			}
			if got := log.count("certificate_expires_soon"); got != soon {
				t.Fatalf("day %d: expires soon, %d times", day, got)
			}
			if got := log.count("certificate_expired"); got != over {
				t.Fatalf("day %d: expired, %d times", day, got)
			}
		}
	}
}

// secure makes a request over TLS, and is upgraded.
func (r *running) secure(request string) *daemon {
	r.t.Helper()
	d, err := r.secureOver(r.dialer, "", request)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// secureOver does so behind what is to be sent before TLS.
func (r *running) secureOver(by net.Dialer, before, request string) (*daemon, error) {
	tcp, err := by.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { tcp.Close() })
	_, _ = io.WriteString(tcp, before)
	c := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	d := &daemon{c, bufio.NewReaderSize(c, 512)}
	return d, d.upgraded()
}

// echoPing pings and waits for the pong.
func (d *daemon) echoPing(t testing.TB) {
	t.Helper()
	if _, err := d.Write(frame(ping, []byte("there?"))); err != nil {
		t.Fatal(err)
	}
	for {
		op, payload, err := readFrame(d.br)
		if err != nil {
			t.Fatal(err)
		}
		if op == opPong && string(payload) == "there?" {
			return
		}
	}
}

// TestClaimsOverTLS: the story of a claim is the same: the first wins, a second is refused, a silent one is taken over, and what
// ends one is a close frame and an end of TLS.
func TestClaimsOverTLS(t *testing.T) {
	cfg := testConfig()
	cfg.Listen, cfg.HTTPSListen, cfg.Certificate = "", "127.0.0.1:0", valid(t)
	r := run(t, cfg)
	holder := r.secure(request(r.addr, "home"))
	end := holder.living()
	r.until("home", "granted", 1)
	second := r.secure(request(r.addr, "home"))
	op, payload, err := readFrame(second.br)
	if err != nil || op != opClose || binary.BigEndian.Uint16(payload) != 4409 {
		t.Fatalf("the second: opcode %d, %q, %v", op, payload, err)
	}
	if _, err := second.br.ReadByte(); err != io.EOF {
		t.Errorf("behind the close frame: %v, want the end that TLS has for it", err)
	}
	_, _ = holder.Write(closing(1000, "bye"))
	if code := <-end; code != 1000 {
		t.Errorf("the close frame was answered with %d", code)
	}
	r.until("home", "released", 1)

	cfg.Slots.ProbeTimeout = 300 * time.Millisecond
	r = run(t, cfg)
	dead := r.secure(request(r.addr, "home")) // never answers
	r.until("home", "granted", 1)
	r.secure(request(r.addr, "home")).living()
	r.until("home", "took_over", 1)
	if code, reason := dead.live(0); code != 1011 || reason != "heartbeat timeout" {
		t.Errorf("the dead one was closed with %d %q", code, reason)
	}
}

// TestOldTLSIsRefused, and so is who speaks another protocol than HTTP/1.1.
func TestOldTLSIsRefused(t *testing.T) {
	cfg := testConfig()
	cfg.Listen, cfg.HTTPSListen, cfg.Certificate = "", "127.0.0.1:0", valid(t)
	r := run(t, cfg)
	for what, c := range map[string]*tls.Config{
		"TLS 1.1": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "HTTP/2 only": {NextProtos: []string{"h2"}},
	} {
		c.InsecureSkipVerify = true
		if conn, err := tls.Dial("tcp", r.addr, c); err == nil {
			conn.Close()
			t.Errorf("%s was let in", what)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState(); got.Version != version || got.NegotiatedProtocol != "http/1.1" {
			t.Errorf("version %x, protocol %q", got.Version, got.NegotiatedProtocol)
		}
		conn.Close()
	}
}

// TestIdleOverTLSHasNoGoroutine: it sleeps as one over TCP does, and a ping wakes it.
func TestIdleOverTLSHasNoGoroutine(t *testing.T) {
	set := testSockets(t, socketConfig{})
	overTLS.Store(set, true)
	defer overTLS.Delete(set)
	var idle []pair
	for range 50 {
		p := connect(t, set, nil)
		p.write(t, frame(ping, nil))
		if op, _ := p.read(t); op != opPong {
			t.Fatal(op)
		}
		idle = append(idle, p)
	}
	for _, p := range idle {
		for !p.asleep.Load() {
			runtime.Gosched()
		}
	}
	for _, p := range idle {
		p.write(t, frame(ping, []byte("still?")))
		if op, got := p.read(t); op != opPong || string(got) != "still?" {
			t.Fatal(op, got)
		}
	}
}
