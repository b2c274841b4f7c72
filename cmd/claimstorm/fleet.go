package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// target is the relay that a command is for.
type target struct {
	URL   string `default:"ws://127.0.0.1:8080" help:"The relay: ws://HOST:PORT or wss://HOST (${default})."`
	CA    string `placeholder:"FILE" type:"existingfile" help:"Trust the certificates in this file, beside the system's."`
	Admin string `placeholder:"URL" help:"The relay's admin pages, such as http://127.0.0.1:9180: its journal is checked too."`
}

func (t *target) validate() error {
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !isPort(u.Port()) {
		return fmt.Errorf("--url %q: want ws://HOST:PORT or wss://HOST, and at most a path behind it", t.URL)
	}
	u, err = url.Parse(t.Admin)
	if t.Admin != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("--admin %q: want http://HOST:PORT", t.Admin)
	}
	return nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil
}

// fleet opens links to one relay.
type fleet struct {
	host    string      // as the Host header has it
	prefix  string      // of the paths
	addr    string      // host:port, resolved once
	tls     *tls.Config // nil for ws
	sources []net.Addr  // where to dial from, in turn; none is where the system likes
	turn    atomic.Uint32
}

const (
	dialWithin      = 30 * time.Second // a system that finds a backlog full tries again after 1, 2, 4 and 8 s
	handshakeWithin = 30 * time.Second // storms of TLS are slow
)

// newFleet is for as many links at once.
func newFleet(ctx context.Context, t *target, links int) (*fleet, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err // validated
	}
	f := &fleet{host: u.Host, prefix: strings.TrimSuffix(u.EscapedPath(), "/")}
	port := u.Port()
	if u.Scheme == "wss" {
		if f.tls, err = trust(t.CA, u.Hostname()); err != nil {
			return nil, err
		}
	}
	switch {
	case port == "" && f.tls != nil:
		port = "443"
	case port == "":
		port = "80"
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", u.Hostname(), err)
	}
	ip := listening(ctx, ips, port)
	f.addr = net.JoinHostPort(ip.String(), port)
	if ip.IsLoopback() && ip.To4() != nil {
		f.sources = loopbacks(links)
	}
	return f, nil
}

// listening is the first of a host's addresses at which somebody listens, or else the last: localhost may be ::1 before 127.0.0.1.
func listening(ctx context.Context, ips []net.IPAddr, port string) net.IP {
	last := len(ips) - 1
	for _, ip := range ips[:last] {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port)); err == nil {
			_ = conn.Close()
			return ip.IP
		}
	}
	return ips[last].IP
}

func trust(file, server string) (*tls.Config, error) {
	c := &tls.Config{ServerName: server, NextProtos: []string{"http/1.1"}, ClientSessionCache: nil}
	if file == "" {
		return c, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if c.RootCAs, err = x509.SystemCertPool(); err != nil {
		c.RootCAs = x509.NewCertPool()
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca %s: want certificates in PEM", file)
	}
	return c, nil
}

// connect dials, and completes TLS.
func (f *fleet) connect(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialWithin, KeepAlive: -1}
	if len(f.sources) > 0 {
		d.LocalAddr = f.sources[int(f.turn.Add(1))%len(f.sources)]
	}
	conn, err := d.DialContext(ctx, "tcp", f.addr)
	if err != nil || f.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, f.tls)
	ctx, cancel := context.WithTimeout(ctx, handshakeWithin)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// claim connects, and sends the request of a claim but for its last byte.
func (f *fleet) claim(ctx context.Context, id string) (*link, error) {
	return f.open(ctx, "/v1/server", id, claimBuffer, "X-Pyrycode-Version: claimstorm")
}

// claimBuffer is small: a claimant reads an answer to its request, pings and a close frame.
const claimBuffer = 512

func (f *fleet) open(ctx context.Context, path, id string, buffer int, headers ...string) (*link, error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	l, err := newLink(conn, f.host, f.prefix+path, append(headers, "X-Pyrycode-Server: "+id), buffer)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

// join opens a connection for frames, and has it upgraded.
func (f *fleet) join(ctx context.Context, path, id string, headers ...string) (*link, error) {
	l, err := f.open(ctx, path, id, frameBuffer, headers...)
	if err != nil {
		return nil, err
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(handshakeWithin))
	if err = errors.Join(l.release(), l.upgraded()); err != nil {
		l.cut(false)
		return nil, err
	}
	_ = l.conn.SetReadDeadline(time.Time{})
	return l, nil
}

// frameBuffer takes many small frames, or a good part of a large one, in one read.
const frameBuffer = 32 << 10
