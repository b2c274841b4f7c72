package transport

import (
	"bufio"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pyrycode/pyrycode-relay/messages"
)

func claimHeaders(change ...string) http.Header {
	h := http.Header{"X-Pyrycode-Server": {"home"}, "X-Pyrycode-Version": {"1.4.2"}, "User-Agent": {"pyry/1.4.2"}}
	for i := 0; i < len(change); i += 2 {
		if change[i+1] == "-" {
			h.Del(change[i])
		} else {
			h[change[i]] = strings.Split(change[i+1], "|")
		}
	}
	return h
}

func TestGate(t *testing.T) {
	long := strings.Repeat("x", 128)
	for _, c := range []struct {
		what string
		h    http.Header
		ok   bool
	}{
		{"as a daemon sends them", claimHeaders(), true},
		{"longest id", claimHeaders("X-Pyrycode-Server", long), true},
		{"longest version", claimHeaders("X-Pyrycode-Version", long), true},
		{"every visible character", claimHeaders("X-Pyrycode-Server", `!"#$%&'()*+,-./:;<=>?@[\]^_{}~`), true},
		{"a version with spaces", claimHeaders("X-Pyrycode-Version", "1.4 (rc 2)"), true},
		{"a user agent of any bytes", claimHeaders("User-Agent", "p\u00e4ry"), true},
		{"no id", claimHeaders("X-Pyrycode-Server", "-"), false},
		{"empty id", claimHeaders("X-Pyrycode-Server", ""), false},
		{"two ids", claimHeaders("X-Pyrycode-Server", "home|home"), false},
		{"id too long", claimHeaders("X-Pyrycode-Server", long+"x"), false},
		{"a space in the id", claimHeaders("X-Pyrycode-Server", "ho me"), false},
		{"a tab in the id", claimHeaders("X-Pyrycode-Server", "ho\tme"), false},
		{"DEL in the id", claimHeaders("X-Pyrycode-Server", "home\x7f"), false},
		{"UTF-8 in the id", claimHeaders("X-Pyrycode-Server", "h\u00f6me"), false},
		{"no version", claimHeaders("X-Pyrycode-Version", "-"), false},
		{"empty version", claimHeaders("X-Pyrycode-Version", ""), false},
		{"two versions", claimHeaders("X-Pyrycode-Version", "1|2"), false},
		{"version too long", claimHeaders("X-Pyrycode-Version", long+"x"), false},
		{"a tab in the version", claimHeaders("X-Pyrycode-Version", "1\t2"), false},
		{"UTF-8 in the version", claimHeaders("X-Pyrycode-Version", "\u00fc"), false},
		{"no user agent", claimHeaders("User-Agent", "-"), false},
		{"empty user agent", claimHeaders("User-Agent", ""), false},
		{"two user agents", claimHeaders("User-Agent", "a|b"), false},
		{"a first one empty", claimHeaders("User-Agent", "|b"), false},
	} {
		b, err := gate(c.h)
		if (err == nil) != c.ok {
			t.Errorf("%s: let in %v, want %v (%v)", c.what, err == nil, c.ok, err)
		}
		if c.ok && (string(b.Server) != c.h.Get("X-Pyrycode-Server") || string(b.Version) != c.h.Get("X-Pyrycode-Version")) {
			t.Errorf("%s: got %+v", c.what, b)
		}
	}
}

func TestConnIDNamesItsServer(t *testing.T) {
	want := regexp.MustCompile(`^server-a\.b-c-[0-9a-f]{8}$`)
	if id := newConnID("a.b-c"); !want.MatchString(string(id)) {
		t.Fatalf("%s does not match %s", id, want)
	}
}

func TestRemoteHasNoPort(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "@": "@", "": ""} {
		if got := remote(addr); got != want {
			t.Errorf("%q: got %q, want %q", addr, got, want)
		}
	}
}

// FuzzGate sends a whole request's bytes through net/http's own parser, as a peer would: whatever the gate lets in keeps the
// rules of docs/protocol.md 1, said once more in other words.
func FuzzGate(f *testing.F) {
	good := "X-Pyrycode-Server: home\r\nX-Pyrycode-Version: 1.4.2\r\nUser-Agent: pyry/1.4.2\r\n"
	for _, s := range []string{
		good, good + "x-pyrycode-server: home\r\n", strings.Replace(good, "home", "h\u00f6me", 1), strings.Replace(good, "home", " home\t", 1),
		strings.Replace(good, "1.4.2", "", 1), "User-Agent:\r\n" + good, good + "X-Pyrycode-Server\r\n", "",
	} {
		f.Add([]byte(s))
	}
	id := regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)
	version := regexp.MustCompile(`^[\x20-\x7e]{1,128}$`)
	f.Fuzz(func(t *testing.T, headers []byte) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /v1/server HTTP/1.1\r\nHost: relay\r\n" + string(headers) + "\r\n")))
		if err != nil {
			return
		}
		b, err := gate(r.Header)
		allowed := slices.Equal([]int{len(r.Header["X-Pyrycode-Server"]), len(r.Header["X-Pyrycode-Version"]), len(r.Header["User-Agent"])}, []int{1, 1, 1}) &&
			id.MatchString(r.Header["X-Pyrycode-Server"][0]) && version.MatchString(r.Header["X-Pyrycode-Version"][0]) && r.Header["User-Agent"][0] != ""
		if allowed != (err == nil) {
			t.Fatalf("let in %v, want %v: %v (%q)", err == nil, allowed, err, r.Header)
		}
		if err == nil && (b.Server != messages.ServerID(r.Header.Get("X-Pyrycode-Server")) || b.Version != messages.Version(r.Header.Get("X-Pyrycode-Version"))) {
			t.Fatalf("%+v of %q", b, r.Header)
		}
	})
}
