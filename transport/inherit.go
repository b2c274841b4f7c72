package transport

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
)

// The names by which a service manager hands over the sockets of the public listeners (docs/protocol.md 7).
const (
	Insecure = "insecure"
	HTTPS    = "https"
	HTTP     = "http"
)

// open gives the listener of this name: the one that was inherited, or a new one at addr.
func (s *server) open(ctx context.Context, name, addr string) (net.Listener, error) {
	if l, ok := s.cfg.Inherited[name]; ok {
		s.inherited = append(s.inherited, l)
		return inherited{l}, nil
	}
	return listenTCP(ctx, addr)
}

// listenTCP opens a listener without TCP keep-alive: the heartbeat finds dead peers, and an idle connection is not to cost the
// kernel a packet each 15 s, nor an accepted one four system calls.
func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	return lc.Listen(ctx, "tcp", addr)
}

// inherited is a listener that net.FileListener made. That has no way to leave keep-alive out, so it is taken back.
type inherited struct{ net.Listener }

func (l inherited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(false) // fails for a peer that is gone: the first read says so
	}
	return c, err
}

// allServed refuses sockets that were handed over and that none of the listeners has: their clients would connect, and wait for ever.
func (s *server) allServed(wanted []*listener) error {
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Inherited)) {
		if !slices.ContainsFunc(wanted, func(l *listener) bool { return l.name == name }) {
			return fmt.Errorf("a socket named %q was handed over, and no flag asks for that listener: want --%s-listen or what it needs, or its socket unit stopped", name, name)
		}
	}
	return nil
}

// handOver stops accepting on what was inherited. Those sockets live on with whoever handed them over, so that a client which
// connects from here on is accepted by the successor, now or in a moment, and not turned away with 503.
func (s *server) handOver() {
	for _, l := range s.inherited {
		_ = l.Close()
	}
}
