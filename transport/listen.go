package transport

import (
	"context"
	"fmt"
)

// adminName is the admin listener's; it alone serves no strangers.
const adminName = "admin"

// listen opens every listener, or none: the admin's first, if there is one, and the one that clients come to last. What they
// need meanwhile lives until life is done.
func (s *server) listen(ctx, life context.Context) (open []*listener, err error) {
	wanted, err := s.listeners(life)
	if err != nil {
		return nil, err
	}
	if err := s.allServed(wanted); err != nil {
		return nil, err
	}
	for _, l := range wanted {
		if l.Listener, err = s.open(ctx, l.name, l.addr); err != nil {
			for _, l := range open {
				_ = l.Close()
			}
			return nil, fmt.Errorf("listen for %s: %w", l.what, err)
		}
		open = append(open, l)
		s.cfg.Log.Info("listening", "listener", l.name, "addr", l.Addr().String(), "version", s.cfg.Build.Version)
	}
	return open, nil
}

// listeners are those that are asked for.
func (s *server) listeners(life context.Context) (ls []*listener, err error) {
	if s.cfg.AdminListen != "" {
		ls = append(ls, &listener{name: adminName, what: "the admin", addr: s.cfg.AdminListen})
	}
	public := listener{door: s.door, within: s.cfg.arriveWithin, trusted: s.cfg.TrustedProxies}
	if s.cfg.ProxyProtocol {
		public.proxy = proxyRequired
	}
	secure, err := s.secureListeners(life, public)
	if err != nil {
		return nil, err
	}
	ls = append(ls, secure...)
	if s.cfg.Listen != "" {
		plain := public
		plain.name, plain.what, plain.addr, plain.handler = Insecure, "clients", s.cfg.Listen, s.routes()
		ls = append(ls, &plain)
	}
	return ls, nil
}

// secureListeners are those of TLS, with their certificate, which is kept until life is done.
func (s *server) secureListeners(life context.Context, public listener) (ls []*listener, err error) {
	k := &keeper{log: s.cfg.Log}
	secure := public
	secure.name, secure.what, secure.addr, secure.handler = HTTPS, "clients over TLS", s.cfg.HTTPSListen, s.routes()
	switch {
	case s.cfg.Certificate.File != "":
		k.source, k.interval = s.cfg.Certificate.source(), ownInterval
		if err := k.look(life); err != nil {
			return nil, err
		}
		secure.tls = tlsConfig(k.get)
	case s.cfg.ACME.Domain != "":
		i := newIssuer(life, s.cfg.ACME, s.cfg.Log)
		k.source, k.interval = i.source, acmeInterval
		secure.tls, secure.handler = i.tlsConfig(k), i.only(secure.handler)
		challenges := public
		challenges.name, challenges.what, challenges.addr, challenges.handler = HTTP, "http-01", s.cfg.ACME.HTTPListen, i.challenges()
		if challenges.proxy == proxyRequired {
			challenges.proxy = proxyOptional // it asks nobody where he comes from
		}
		ls = append(ls, &challenges)
	default:
		return nil, nil
	}
	s.sockets.goroutine(func() { k.keep(life) })
	return append(ls, &secure), nil
}

// doorFor is how many connections may be at the door of a relay that has room for so many.
func doorFor(connections int) int { return min(max(connections/4, 64), 1024) }

// ConnectionsFor is how many connections a process may serve that can have so many descriptors, with those at its door.
func ConnectionsFor(descriptors int) int {
	return max(1, descriptors-doorFor(descriptors*4/5))
}
