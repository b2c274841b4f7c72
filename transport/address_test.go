package transport

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded: whatever stands in the header, the address is the peer's or that of a hop which a trusted one has named; and what stands
// left of it changes nothing.
func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.1:80, [fc00::1]:443")
	f.Add("nonsense,,[::1")
	trusted := networks{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")}
	peer := netip.MustParseAddr("10.0.0.9")
	f.Fuzz(func(t *testing.T, header string) {
		got := trusted.forwarded(peer, http.Header{"X-Forwarded-For": {header}})
		if other := trusted.forwarded(netip.MustParseAddr("192.0.2.9"), http.Header{"X-Forwarded-For": {header}}); other.String() != "192.0.2.9" {
			t.Fatalf("%q makes %s of a peer that is not trusted", header, other)
		}
		named := got == peer
		for hop := range strings.SplitSeq(header, ",") {
			a, ok := parseHop(strings.TrimSpace(hop))
			named = named || ok && a == got
		}
		if !named {
			t.Fatalf("%q gives %s, which stands nowhere", header, got)
		}
		if !trusted.has(got) {
			if more := trusted.forwarded(peer, http.Header{"X-Forwarded-For": {"198.51.100.7, " + header}}); more != got {
				t.Fatalf("%q gives %s, and %s with another hop to its left", header, got, more)
			}
		}
	})
}
