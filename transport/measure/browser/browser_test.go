package browser

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestErrorsAreHeard: a harness that hears nothing would let every page pass.
func TestErrorsAreHeard(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "style-src 'none'")
		_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><img src="/missing.png"><style>p{}</style>
			<script>console.log("nothing"); console.error("an error", 42); setTimeout(() => { throw new Error("thrown") }); Promise.reject(new Error("rejected"))</script>
			<script>window.loaded = true; it is no script</script>`))
	}))
	t.Cleanup(server.Close)
	p := Open(t, server.URL, Look{Width: 640, Height: 480, Dark: true})
	for _, want := range []string{`"an error" 42`, "Error: thrown", "Error: rejected", "SyntaxError", "404", "Content Security Policy"} {
		heard := func(e string) bool { return strings.Contains(e, want) }
		for late := time.Now().Add(patience); !slices.ContainsFunc(p.Errors(), heard); { // events come when they like
			if time.Now().After(late) {
				t.Fatalf("not heard: %s; heard: %q", want, p.Errors())
			}
			Eval[bool](p, "true") // a round trip
		}
	}
	if e := p.Errors(); slices.ContainsFunc(e, func(e string) bool { return strings.Contains(e, "nothing") }) {
		t.Errorf("what was merely logged is taken for an error: %q", e)
	}
	if r := p.Requests(); len(slices.DeleteFunc(r, func(r string) bool { return strings.HasPrefix(r, "data:") })) != 2 {
		t.Errorf("requests: %q; want the page and its image", r)
	}
	if !Eval[bool](p, `matchMedia("(prefers-color-scheme: dark)").matches && innerWidth === 640`) {
		t.Error("the page is not dark and 640 wide")
	}
	if png := p.Screenshot(); !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("no PNG: %.8q", png)
	}
}
