package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	r.Frames = &Frames{Pairs: 8, Sizes: []int{256, 4096}, Wanted: 2000, Directions: []Throughput{{Name: "phone to binary", Sent: 60000, Arrived: 60000, PerSecond: 2000, BytesPerSecond: 512000}}}
	r.Hold = &Hold{Claims: 5000, PerSecond: 7800, MemoryPerClaim: 4300, CPUPerClaim: 98000, CPUIdle: 2900, Source: "http://127.0.0.1:9180/metrics"}
	r.Compare = &Comparison{A: Relay{URL: "ws://127.0.0.1:8080"}, B: Relay{URL: "ws://127.0.0.1:8081"}, Rows: []Measure{
		Compared("claims a second", "", true, []float64{3000, 3100, 2900}, []float64{4400, 4500, 4700}),
		Compared("p99 of a refusal", "s", false, []float64{.0098, .0101, .0090}, []float64{.0120, .0110, .0140}),
	}}
	return r
}

// drawing is what a plot has drawn.
type drawing struct {
	Plot   string
	Width  float64
	Shapes map[string]int // by the colour that fills them
	Points map[string]int // of the longest line, by its colour
	Texts  []string
}

// drawings reads the plots that stand in the page.
func drawings(p *browser.Page) (all []drawing) {
	return browser.Eval[[]drawing](p, `[...document.querySelectorAll("figure[data-plot]")].filter(f => f.querySelector("svg")).map(f => {
		const svg = f.querySelector("svg"), shapes = {}, points = {};
		for (const shape of svg.querySelectorAll("path")) {
			const fill = shape.getAttribute("fill"), stroke = shape.getAttribute("stroke");
			shapes[fill] = (shapes[fill] || 0) + 1;
			points[stroke] = Math.max(points[stroke] || 0, (shape.getAttribute("d") || "").match(/[\d.]+/g)?.length >> 1);
		}
		return { Plot: f.dataset.plot, Width: svg.getBoundingClientRect().width, Shapes: shapes, Points: points,
			Texts: [...svg.querySelectorAll("text")].map(t => t.textContent) };
	})`)
}

// shade is a colour of the page's style.
func shade(p *browser.Page, name string) string {
	return browser.Eval[string](p, `getComputedStyle(document.documentElement).getPropertyValue("--`+name+`").trim()`)
}

// settle waits until the page has a new look, and has drawn itself for it.
func settle(p *browser.Page, l browser.Look) {
	p.WaitFor(fmt.Sprintf(`matchMedia("(width: %dpx) and (prefers-color-scheme: %s)").matches`, l.Width, map[bool]string{false: "light", true: "dark"}[l.Dark]))
	browser.Eval[bool](p, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
}

// clean fails if the page complained or fetched something.
func clean(t *testing.T, p *browser.Page) {
	t.Helper()
	if e := p.Errors(); len(e) > 0 {
		t.Errorf("the page complains: %s", strings.Join(e, "\n"))
	}
	if r := p.Requests(); len(r) != 1 {
		t.Errorf("the page fetched %q; want itself only", r[1:])
	}
}

// TestPageInABrowser looks at the page as a person does: on a desk, at night, and on a phone. SCREENSHOTS=DIR keeps what it saw.
func TestPageInABrowser(t *testing.T) {
	result := everything()
	p := browser.Open(t, write(t, result), desk)
	for _, at := range []struct {
		name string
		look browser.Look
	}{{"desk", desk}, {"night", night}, {"phone", phone}} {
		p.As(at.look)
		settle(p, at.look)
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, at.name+".png"), p.Screenshot(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if wide := browser.Eval[float64](p, `document.documentElement.scrollWidth - window.innerWidth`); wide > 0 {
			t.Errorf("%s: the page is %.0f pixels wider than the screen", at.name, wide)
		}
		see(t, p, result, float64(at.look.Width))
		if t.Failed() {
			t.Fatalf("that was the %s", at.name)
		}
	}
	mute := browser.Eval[[]string](p, `[...document.querySelectorAll("figure")].filter(f => !f.querySelector(".plot[role=img][aria-label]") || !f.querySelector("table tbody tr"))
		.map(f => f.dataset.plot)`)
	if len(mute) > 0 {
		t.Errorf("plots without a name or a table beside them: %q", mute)
	}
	if n := browser.Eval[int](p, `document.querySelectorAll("script").length + document.images.length`); n != 3 {
		t.Errorf("%d scripts and images; want 3, and none of a peer's", n)
	}
	clean(t, p)
}

// see checks that each plot has its data in it, in the colours of the look.
func see(t *testing.T, p *browser.Page, r *Result, width float64) {
	t.Helper()
	rounds, samples := len(r.Rounds), len(r.Claims)
	shapes := map[string]map[string]int{ // by plot and colour, the least number; one of each is the legend's
		"compare":  {"pass": 1, "waiting": 1},
		"rounds":   {"held": rounds + 1, "took": rounds + 1, "refused": rounds + 1},
		"timeline": {"held": 4, "waiting": 10, "took": 2, "grace": 3},
	}
	points := map[string]map[string]int{ // by plot and colour, the least number in a line
		"latency":  {"held": 20, "waiting": 20},
		"claims":   {"held": samples, "took": samples, "refused": samples, "released": samples},
		"timeline": {"refused": 4, "released": 4},
	}
	seen := map[string]int{}
	for i, d := range drawings(p) {
		seen[d.Plot]++
		if d.Width < width/2 || d.Width > width {
			t.Errorf("plot %d, %s, is %.0f pixels wide on a screen of %.0f", i, d.Plot, d.Width, width)
		}
		for name, n := range shapes[d.Plot] {
			if got := d.Shapes[shade(p, name)]; got < n {
				t.Errorf("plot %d, %s: %d shapes of %s; want at least %d", i, d.Plot, got, name, n)
			}
		}
		for name, n := range points[d.Plot] {
			if got := d.Points[shade(p, name)]; got < n {
				t.Errorf("plot %d, %s: a line of %s has %d points; want at least %d", i, d.Plot, name, got, n)
			}
		}
		if d.Plot == "timeline" && !slices.Contains(d.Texts, "c7") {
			t.Errorf("plot %d, a timeline, has no lane c7: %q", i, d.Texts)
		}
		if d.Plot == "timeline" && seen[d.Plot] == 1 && d.Points[shade(p, "bad")] == 0 { // the first, since it has the violation
			t.Error("the timeline with the violation does not show it")
		}
	}
	for _, plot := range []string{"compare", "latency", "rounds", "claims", "timeline"} {
		if n := map[bool]int{true: 3, false: 1}[plot == "timeline"]; seen[plot] != n {
			t.Errorf("%d drawings of %s; want %d", seen[plot], plot, n)
		}
	}
}

// TestTimelineIsDrawnWhenOpened: a page of many ids draws three of them at first.
func TestTimelineIsDrawnWhenOpened(t *testing.T) {
	p := browser.Open(t, write(t, sample(Pass)), desk)
	before := len(drawings(p))
	browser.Eval[bool](p, `(document.querySelector("details.timeline:not([open])").open = true)`)
	p.WaitFor(`document.querySelectorAll("details.timeline")[3].querySelector("svg")`)
	if after := len(drawings(p)); after != before+1 {
		t.Errorf("%d plots after opening a fourth timeline, %d before", after, before)
	}
	clean(t, p)
}

// TestPlotsExplainThemselves: what a mouse points at is told in words.
func TestPlotsExplainThemselves(t *testing.T) {
	p := browser.Open(t, write(t, failed()), desk)
	browser.Eval[bool](p, `(() => {
		const plot = document.querySelector("figure[data-plot=timeline] .plot"), box = plot.getBoundingClientRect();
		const bar = [...plot.querySelectorAll("svg path")].filter(s => s.getAttribute("fill") === getComputedStyle(document.documentElement).getPropertyValue("--held").trim());
		const at = bar.map(s => s.getBoundingClientRect()).sort((a, b) => b.width - a.width)[0];
		const event = { bubbles: true, clientX: at.x + at.width / 2, clientY: at.y + at.height / 2 };
		return plot.querySelector("svg").dispatchEvent(new MouseEvent("mousemove", event));
	})()`)
	p.WaitFor(`document.querySelector(".tip")`)
	text := browser.Eval[string](p, `document.querySelector(".tip").innerText`)
	if !strings.Contains(text, "c3: held") || !strings.Contains(text, "ended: gave it back") {
		t.Errorf("the longest bar says %q; want whose it is, and how it ended", text)
	}
	clean(t, p)
}

// TestEmptyPage: a run that never began has a page too.
func TestEmptyPage(t *testing.T) {
	p := browser.Open(t, write(t, &Result{Verdict: Gone, Why: []string{"no relay answers"}}), phone)
	if title := browser.Eval[string](p, `document.querySelector("h1").innerText`); !strings.Contains(title, "gone") {
		t.Errorf("its title is %q", title)
	}
	clean(t, p)
}

// TestPageIsNotGigantic, and says the same twice if asked twice.
func TestPageIsNotGigantic(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(HTML(&a, everything()), HTML(&b, everything())); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("two pages of one result differ")
	}
	if a.Len() > 1<<20 {
		t.Errorf("a page has %d bytes", a.Len())
	}
	if strings.Contains(a.String(), hostile) {
		t.Error("a peer's text is in the page as it came")
	}
}
