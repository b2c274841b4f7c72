package transport

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pyrycode/pyrycode-relay/transport/measure/browser"
	"github.com/pyrycode/pyrycode-relay/transport/measure/port"
)

var (
	desk  = browser.Look{Width: 1280, Height: 900}
	night = browser.Look{Width: 1280, Height: 900, Dark: true}
	phone = browser.Look{Width: 360, Height: 740, Phone: true}
)

// show opens a status page, and fails at the test's end if anything went wrong in it or it asked for anything that is not the relay's.
// What is expected to go wrong is given.
func (r *running) show(path string, look browser.Look, expected ...string) *browser.Page {
	r.t.Helper()
	p := browser.Open(r.t, "http://"+r.admin+path, look)
	r.t.Cleanup(func() {
		for _, e := range p.Errors() {
			if !slices.ContainsFunc(expected, func(part string) bool { return strings.Contains(e, part) }) {
				r.t.Errorf("in the page: %s", e)
			}
		}
		for _, asked := range p.Requests() {
			if !strings.HasPrefix(asked, "http://"+r.admin+"/") {
				r.t.Errorf("the page asked for %s", asked)
			}
		}
	})
	return p
}

// shot leaves a picture in the folder SHOTS, for people.
func shot(t testing.TB, p *browser.Page, name string) {
	if dir := os.Getenv("SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), p.Screenshot(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// race plays out on one slot: a living holder and three that lose against it, its death and a takeover, a release and a claim in grace.
// What is later in the list is decided later. It returns when the probe is out that the takeover takes, and goes on when it is told to.
func (r *running) race(id string) (goOn func()) {
	first := r.daemon(id)
	r.until(id, "granted", 1)
	alive := first.living()
	r.join(id)
	r.until(id, "attached", 1)
	r.daemon(id).living()
	r.until(id, "refused", 1)
	for range 2 {
		r.daemon(id).living()
	}
	r.until(id, "refused", 3)
	_ = first.SetReadDeadline(time.Now()) // from here on it answers nothing
	<-alive
	second := r.daemon(id)
	r.until(id, "waiting", 4)
	second.living()
	return func() {
		r.until(id, "took_over", 1)
		second.drop("FIN")
		r.until(id, "released", 1)
		third := r.daemon(id)
		third.living()
		r.until(id, "granted", 2)
		r.daemon(id).living()
		r.until(id, "refused", 4)
	}
}

func pageConfig() Config {
	cfg := testConfig()
	cfg.AdminToken = func() string { return "open sesame" }
	return cfg
}

// storm has four daemons dial id without a pause, for as long as the test lives. Whoever holds it is not asked to end.
func (r *running) storm(id string) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	var dialling sync.WaitGroup
	for range 4 {
		dialling.Go(func() {
			for ctx.Err() == nil {
				d, err := r.begin(request(r.addr, id))
				if err != nil {
					r.t.Error(err)
					return
				}
				cut := context.AfterFunc(ctx, func() { d.Close() })
				if d.upgraded() == nil {
					d.live(0) // until it reads 4409
				}
				cut()
				d.Close()
			}
		})
	}
	return sync.OnceFunc(func() { end(); dialling.Wait() })
}

// TestStatusPageInAStorm: while claims storm in, the page of a slot shows who won, who lost and who took over, as the journal has it.
func TestStatusPageInAStorm(t *testing.T) {
	cfg := pageConfig()
	cfg.Slots.ProbeTimeout = 10 * time.Second                         // also the longest that this machine may stand still; meanwhile a browser starts
	cfg.Slots.ProbeInterval, cfg.Journal = 50*time.Millisecond, 1<<16 // so that the storm buries nothing of what is looked at
	r := run(t, cfg)
	goOn := r.race("home")
	r.daemon("elsewhere").living()
	r.until("elsewhere", "granted", 1)
	stop := r.storm("elsewhere")
	t.Cleanup(stop)
	p := r.show("/?server_id=home", desk, "net::ERR_INCOMPLETE_CHUNKED_ENCODING") // who is slow to hear of the storm is dropped, and comes again
	goOn()

	journal := r.journal("home", 0)
	last := journal[len(journal)-1]
	p.WaitFor(fmt.Sprintf(`document.getElementById("seq-%d")`, last.Seq))
	for _, e := range journal {
		row := browser.Eval[string](p, fmt.Sprintf(`document.getElementById("seq-%d").innerText`, e.Seq))
		if !strings.Contains(row, strings.ReplaceAll(e.Decided, "_", " ")) || !strings.Contains(row, e.Conn[len(e.Conn)-8:]) {
			t.Errorf("#%d %s %s: the table says %q", e.Seq, e.Conn, e.Decided, row)
		}
		mark := browser.Eval[string](p, fmt.Sprintf(`document.getElementById("mark-%d").getAttribute("class")`, e.Seq))
		if mark != "mark k-"+e.Decided {
			t.Errorf("#%d %s: the mark is a %q", e.Seq, e.Decided, mark)
		}
	}
	for kind, least := range map[string]int{"granted": 2, "refused": 4, "took_over": 1, "released": 1, "waiting": 5} {
		if n := browser.Eval[int](p, fmt.Sprintf(`document.querySelectorAll(".mark.k-%s").length`, kind)); n < least {
			t.Errorf("%d marks of %s, want %d", n, kind, least)
		}
	}
	winner := ""
	for _, e := range journal {
		if e.Decided == "granted" || e.Decided == "took_over" {
			winner = e.Conn
		}
	}
	if holder := browser.Eval[string](p, `document.querySelector(".standing code").innerText`); holder != winner {
		t.Errorf("the page says %s holds it, and it is %s", holder, winner)
	}
	p.WaitFor(`document.getElementById("heard").innerText.includes("#")`) // what who hears the page is told

	// All the while the page of all slots keeps up, and does not grow.
	p.Goto("http://" + r.admin)
	p.WaitFor(`document.getElementById("state").innerText === "live"`)
	p.WaitFor(fmt.Sprintf(`+document.querySelector("#news .seq").innerText.slice(1) > %d`, last.Seq))
	if n := browser.Eval[int](p, `document.querySelectorAll("#news li").length`); n != 15 {
		t.Errorf("%d newest decisions, want 15", n)
	}
	p.Goto("http://" + r.admin + "/?server_id=elsewhere")
	p.WaitFor(`document.querySelectorAll(".mark").length === 200`)
	if note := browser.Eval[string](p, `document.querySelector("#drawing .note").innerText`); !strings.Contains(note, "older ones are not") {
		t.Errorf("of what is left out the page says %q", note)
	}
	before := browser.Eval[string](p, `document.querySelector("#drawing .note a").getAttribute("href")`)
	stop()
	p.Goto("http://" + r.admin + before)
	if n := browser.Eval[int](p, `document.querySelectorAll(".mark").length`); n == 0 || n > 200 {
		t.Errorf("%d older marks, want up to 200", n)
	}
}

// hostile are what peers may send, each meant to break out of where a page would put it.
var hostile = struct{ ids, versions, devices []string }{
	ids: []string{
		`<script>alert(1)</script>`, `"><img/src=x/onerror=alert(1)>`, `'-alert(1)-'`, `</title><svg/onload=alert(1)>`, `]]></svg>&lt;b&gt;&amp;`,
		`javascript:alert(1)`, `../../?server_id=x&y=%3Cb%3E#seq-1`, `{{.}}${alert(1)}`, "`alert(1)`", `%00%0d%0a+%2f`, `--><style>*{display:none}</style>`,
	},
	versions: []string{`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`},
	devices:  []string{`<b onclick=alert(1)>&amp;</b>`, "\u202egnirts <svg onload=alert(1)>"},
}

// TestMarkupIsShown: server-ids, versions and device names with markup in them are text, in both pages, and every link finds its slot.
func TestMarkupIsShown(t *testing.T) {
	r := run(t, pageConfig())
	for i, id := range hostile.ids {
		version := hostile.versions[i%len(hostile.versions)]
		d, err := r.begin(strings.Replace(request(r.addr, id), "X-Pyrycode-Version: 1.4.2\r", "X-Pyrycode-Version: "+version+"\r", 1))
		if err == nil {
			err = d.upgraded()
		}
		if err != nil {
			t.Fatal(id, err)
		}
		d.living()
		t.Cleanup(func() { d.Close() })
		r.until(url.QueryEscape(id), "granted", 1)
		c, _, err := websocket.Dial(t.Context(), "ws://"+r.addr+"/v1/client", &websocket.DialOptions{HTTPHeader: http.Header{
			"X-Pyrycode-Server": {id}, "X-Pyrycode-Token": {"secret"}, "User-Agent": {"test"}, "X-Pyrycode-Device-Name": {hostile.devices[i%len(hostile.devices)]},
		}})
		if err != nil {
			t.Fatal(id, err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		r.until(url.QueryEscape(id), "attached", 1)
	}
	p := r.show("/", desk)
	untouched := func() {
		t.Helper()
		if made := browser.Eval[string](p, `[...document.querySelectorAll("script:not([src]), img, style, b[onclick], [onload], [onerror], base, iframe")].map(e => e.outerHTML).join()`); made != "" {
			t.Errorf("the page holds %s", made)
		}
	}
	untouched()
	for i, id := range hostile.ids {
		link := fmt.Sprintf(`[...document.querySelectorAll("#slots th a")].find(a => a.innerText === %q)`, id)
		href := browser.Eval[string](p, link+`.getAttribute("href")`)
		p.Goto("http://" + r.admin + href)
		untouched()
		if got := browser.Eval[string](p, `document.querySelector("h1.id").innerText`); got != id {
			t.Errorf("%s: leads to %q by %s", id, got, href)
		}
		table := browser.Eval[string](p, `document.querySelector(".entries").textContent`)
		for _, want := range []string{hostile.versions[i%len(hostile.versions)], hostile.devices[i%len(hostile.devices)]} {
			if !strings.Contains(table, want) {
				t.Errorf("%s: the table does not show %q", id, want)
			}
		}
		p.WaitFor(`document.getElementById("state").innerText === "live"`) // its stream is the slot's own
		p.Goto("http://" + r.admin)
	}
}

// TestReleaseFromThePage: without the token nothing happens, with it the holder is thrown out, and the page shows it. No script is needed for
// that, nor for anything else that can be seen and done.
func TestReleaseFromThePage(t *testing.T) {
	for _, c := range []struct {
		id   string
		look browser.Look
	}{{`a/b?c=<d>"&%20`, phone}, {"..", browser.Look{Width: 1280, Height: 900, NoScript: true}}} {
		r := run(t, pageConfig())
		end := r.daemon(c.id).living()
		r.until(url.QueryEscape(c.id), "granted", 1)
		p := r.show("/", c.look, "status of 401", "status of 404")
		if seen := browser.Eval[string](p, `document.querySelector("header").innerText`); strings.Contains(seen, "stands still") != c.look.NoScript {
			t.Errorf("with %+v the page begins with %q", c.look, seen)
		}
		own := "http://" + r.admin + browser.Eval[string](p, `document.querySelector("#slots th a").getAttribute("href")`)
		release := func(token, want string) {
			t.Helper()
			p.Goto(own)
			p.Follow(fmt.Sprintf(`document.getElementById("token").value = %q, document.querySelector("#release button").click()`, token))
			if got := browser.Eval[string](p, `document.body.innerText`); !strings.Contains(got, want) {
				t.Fatalf("%s, %q: the page says %q, want %q", c.id, token, got, want)
			}
		}
		release("guess", "want the token")
		if got := r.decided(url.QueryEscape(c.id)); got["released"] != 0 {
			t.Fatalf("%v", got)
		}
		release("open sesame", "operator release")
		if code := <-end; code != 1012 {
			t.Errorf("the holder read %d, want 1012", code)
		}
		if at := browser.Eval[string](p, `document.querySelector("tr:target").innerText + document.querySelector(".mark.k-thrown_out").id`); !strings.Contains(at, "thrown out") {
			t.Errorf("the page shows %q", at)
		}
		if kept := browser.Eval[string](p, `document.getElementById("token").value + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.search`); kept != "{}{}?server_id="+url.QueryEscape(c.id) {
			t.Errorf("the page keeps %q", kept)
		}
		release("open sesame", "nobody holds that slot")
	}
}

// TestPageByKeyboard: one stop of Tab leads into the drawing, the arrows through it, and a new drawing leaves the focus where it was.
func TestPageByKeyboard(t *testing.T) {
	r := run(t, pageConfig())
	for range 5 {
		r.daemon("home").living()
	}
	r.until("home", "refused", 4)
	p := r.show("/?server_id=home", phone)
	if n := browser.Eval[int](p, `document.querySelectorAll('.mark[tabindex="0"]').length`); n != 1 {
		t.Errorf("%d marks are stops of Tab, want 1", n)
	}
	press := func(key string) {
		browser.Eval[bool](p, fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: %q, bubbles: true, cancelable: true}))`, key))
	}
	focused := func(want string) {
		t.Helper()
		if got := browser.Eval[string](p, `document.activeElement.id`); got != want {
			t.Errorf("the focus is on %q, want %q", got, want)
		}
	}
	browser.Eval[bool](p, `document.getElementById("mark-1").focus(), true`)
	press("ArrowRight")
	focused("mark-2")
	press("End")
	press("ArrowRight")
	entries := r.journal("home", 0)
	last := fmt.Sprint("mark-", entries[len(entries)-1].Seq)
	focused(last)
	press("Home")
	focused("mark-1")
	if label := browser.Eval[string](p, `document.activeElement.querySelector("title").textContent`); !strings.Contains(label, "claim: granted (nobody held it)") {
		t.Errorf("the mark is read as %q", label)
	}
	scrolled := browser.Eval[float64](p, `document.querySelector(".chart").scrollLeft`)
	r.daemon("home").living()
	r.until("home", "refused", 5)
	p.WaitFor(fmt.Sprintf(`document.getElementById("mark-%d")`, entries[len(entries)-1].Seq+2))
	focused("mark-1")
	if now := browser.Eval[float64](p, `document.querySelector(".chart").scrollLeft`); now != scrolled {
		t.Errorf("a new drawing scrolled from %v to %v", scrolled, now)
	}
	if wide := browser.Eval[int](p, `document.documentElement.scrollWidth`); int64(wide) > phone.Width {
		t.Errorf("the page is %d wide on a screen of %d", wide, phone.Width)
	}
	for what, missing := range map[string]string{
		"names": `[...document.querySelectorAll("a, button, input:not([type=hidden]), [role=region], nav, section")].filter(e => !(e.innerText || e.querySelector(":scope > title") || e.getAttribute("aria-label") || e.labels?.length || e.getAttribute("aria-labelledby"))).length`,
		"ids":   `document.querySelectorAll("[id]").length - new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size`,
		"rows whose cells lie on each other": `[...document.querySelectorAll(".entries tbody tr")].filter(tr => {
			const cells = [...tr.children].map(cell => { const text = document.createRange(); text.selectNodeContents(cell); return text.getBoundingClientRect(); });
			return cells.some((a, i) => cells.some((b, j) => i < j && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
		}).length`,
		"headings": `document.querySelectorAll("h1").length - 1`,
	} {
		if n := browser.Eval[int](p, missing); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
}

// TestPausedPageStandsStill: what moves by itself can be stopped, and goes on where the journal is by then.
func TestPausedPageStandsStill(t *testing.T) {
	r := run(t, pageConfig())
	p := r.show("/?server_id=home", desk)
	p.WaitFor(`document.getElementById("state").innerText === "live"`)
	browser.Eval[bool](p, `document.getElementById("pause").click(), true`)
	p.WaitFor(`!drawing`) // what it had begun
	r.daemon("home").living()
	r.until("home", "granted", 1)
	if browser.Eval[bool](p, `dirty = true, beat(), drawing || stream.readyState !== EventSource.CLOSED`) {
		t.Error("paused, it draws or listens")
	}
	browser.Eval[bool](p, `document.getElementById("pause").click(), true`)
	p.WaitFor(`document.querySelectorAll(".mark").length === 1`)

	// Behind another tab it listens no more; six of them would have all the connections that a browser opens.
	hide := `(hidden => (Object.defineProperty(document, "hidden", {value: hidden, configurable: true}), document.dispatchEvent(new Event("visibilitychange")), stream.readyState === EventSource.CLOSED))`
	if !browser.Eval[bool](p, hide+"(true)") || browser.Eval[bool](p, hide+"(false)") {
		t.Error("hidden it listens, or shown again it does not")
	}
	r.daemon("home").living()
	p.WaitFor(`document.querySelectorAll(".mark").length === 3`)
}

// TestPageOutlivesTheRelay: while it is away the page says so, and when another one is there, whose numbers begin anew, shows that one.
func TestPageOutlivesTheRelay(t *testing.T) {
	cfg := pageConfig()
	cfg.AdminListen = port.Held(t)
	r := run(t, cfg)
	for range 3 {
		r.daemon("home").living()
	}
	r.until("home", "refused", 2)
	p := r.show("/?server_id=home", desk, "net::ERR_")
	p.WaitFor(`document.getElementById("state").innerText === "live" && document.querySelectorAll(".mark").length === 5`)
	r.stop()
	p.WaitFor(`document.getElementById("state").innerText.includes("trying again")`)
	again := run(t, cfg)
	again.daemon("home").living()
	p.WaitFor(`document.getElementById("state").innerText === "live" && document.querySelectorAll(".mark").length === 1`)
}

// TestLooks is for people: it leaves pictures of the pages in the folder SHOTS.
func TestLooks(t *testing.T) {
	if os.Getenv("SHOTS") == "" {
		t.Skip("no folder SHOTS for the pictures")
	}
	cfg := pageConfig()
	cfg.Slots.ProbeTimeout = 2 * time.Second
	r := run(t, cfg)
	for _, id := range []string{"home-of-alice", "home-of-bob"} {
		r.race(id)()
	}
	for range 40 { // many at once
		r.daemon("home-of-bob").living()
	}
	r.until("home-of-bob", "refused", 44)
	for i := range 12 {
		id := fmt.Sprint("daemon-", i)
		d := r.daemon(id)
		d.living()
		r.until(id, "granted", 1)
		for range i % 4 {
			r.join(id)
		}
		if i%5 == 4 {
			d.drop("FIN")
		}
	}
	r.daemon("sleepy")
	r.until("sleepy", "granted", 1)
	r.daemon("sleepy")
	for i := range 25 { // a line of holders that do not last
		d := r.daemon("home-of-carol")
		d.living()
		d.drop("FIN")
		r.until("home-of-carol", "released", i+1)
	}
	for name, path := range map[string]string{
		"steps": "/?server_id=home-of-carol", "overview": "/", "life": "/?server_id=home-of-alice", "time": "/?server_id=home-of-alice&axis=time", "crowd": "/?server_id=home-of-bob",
	} {
		p := r.show(path, desk)
		for how, look := range map[string]browser.Look{"light": desk, "dark": night, "phone": phone} {
			p.As(look)
			p.Goto("http://" + r.admin + path)
			shot(t, p, name+"-"+how)
		}
		if name == "life" { // docs/race.png
			p.As(desk)
			p.Goto("http://" + r.admin + path)
			p.WaitFor(`document.getElementById("state").innerText === "live"`)
			browser.Eval[bool](p, `document.querySelectorAll("[data-live]").forEach(e => e.removeAttribute("data-live")), document.querySelectorAll(".wide, form, footer, .legend").forEach(e => e.remove()), true`)
			shot(t, p, "race")
		}
	}
}
