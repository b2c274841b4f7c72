package transport

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// networks are those whose word is taken for where a connection comes from (docs/protocol.md 7).
type networks []netip.Prefix

func (n networks) has(a netip.Addr) bool {
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(a) })
}

// forwarded is the address that a request came from, where proxies on its way have each added the hop before them to
// X-Forwarded-For: the right-most one that is not trusted itself. What stands left of that anybody may have written.
func (n networks) forwarded(peer netip.Addr, h http.Header) netip.Addr {
	at := peer
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !n.has(at) {
			break
		}
		if hop = strings.TrimSpace(hop); hop == "" {
			continue
		}
		a, ok := parseHop(hop)
		if !ok {
			break
		}
		at = a
	}
	return at
}

// parseHop reads an address with or without a port, which is cut off.
func parseHop(hop string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return plainAddr(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		if hop, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(hop)
	return plainAddr(a), err == nil
}

// plainAddr is a without what has no meaning beyond this machine: a zone, or the mapping of an IPv4 address into IPv6.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// from is the address that a request counts for, and is logged with.
func (s *server) from(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv6Unspecified() // no address of TCP; nobody else has this one
	}
	peer := plainAddr(ap.Addr())
	if !s.cfg.TrustForwardedFor {
		return peer
	}
	return networks(s.cfg.TrustedProxies).forwarded(peer, r.Header)
}
