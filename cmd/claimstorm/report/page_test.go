package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pyrycode/pyrycode-relay/transport/measure/browser"
)

var (
	desk  = browser.Look{Width: 1280, Height: 900}
	night = browser.Look{Width: 1280, Height: 900, Dark: true}
	phone = browser.Look{Width: 390, Height: 844, Phone: true}
)

// write puts a page into a file and returns its address.
func write(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// everything is a result with all that any command may bring.
func everything() *Result {
	r := failed()
	r.Frames = &Frames{Pairs: 8, Size: 256, Wanted: 2000, Directions: []Throughput{{Name: "phone to binary", Sent: 60000, Arrived: 60000, PerSecond: 2000, BytesPerSecond: 512000}}}
	r.Hold = &Hold{Claims: 5000, PerSecond: 7800, MemoryPerClaim: 4300, CPUPerClaim: 98000, CPUIdle: 2900, Source: "http://127.0.0.1:9180/metrics"}
	r.Compare = &Comparison{A: Relay{URL: "ws://127.0.0.1:8080"}, B: Relay{URL: "ws://127.0.0.1:8081"}, Rows: []Measure{
		Compared("claims a second", "", true, []float64{3000, 3100, 2900}, []float64{4400, 4500, 4700}),
		Compared("p99 of a refusal", "s", false, []float64{.0098, .0101, .0090}, []float64{.0120, .0110, .0140}),
	}}
	return r
}

// TestPageInABrowser looks at the page as a person does: on a desk, at night, and on a phone.
func TestPageInABrowser(t *testing.T) {
	p := browser.Open(t, write(t, everything()), desk)
	for name, look := range map[string]browser.Look{"desk": desk, "night": night, "phone": phone} {
		t.Run(name, func(t *testing.T) {
			p.As(look)
			browser.Eval[bool](p, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+".png"), p.Screenshot(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if wide := browser.Eval[float64](p, `document.documentElement.scrollWidth - window.innerWidth`); wide > 0 {
				t.Errorf("the page is %.0f pixels wider than the screen", wide)
			}
		})
	}
	if e := p.Errors(); len(e) > 0 {
		t.Errorf("the page complains: %s", strings.Join(e, "\n"))
	}
	if r := p.Requests(); len(r) != 1 {
		t.Errorf("the page fetched %q; want itself only", r[1:])
	}
}
