package transport

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/transport/measure/browser"
)

var (
	desk  = browser.Look{Width: 1280, Height: 900}
	night = browser.Look{Width: 1280, Height: 900, Dark: true}
	phone = browser.Look{Width: 390, Height: 844, Phone: true}
)

// show opens a status page, and fails at the test's end if anything went wrong in it or it asked for anything that is not the relay's.
func (r *running) show(path string, look browser.Look) *browser.Page {
	r.t.Helper()
	p := browser.Open(r.t, "http://"+r.admin+path, look)
	r.t.Cleanup(func() {
		for _, e := range p.Errors() {
			r.t.Errorf("in the page: %s", e)
		}
		for _, asked := range p.Requests() {
			if !strings.HasPrefix(asked, "http://"+r.admin+"/") {
				r.t.Errorf("the page asked for %s", asked)
			}
		}
	})
	p.WaitFor(`document.readyState === "complete"`)
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
// What is later in the list is decided later.
func (r *running) race(id string) {
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
	r.until(id, "took_over", 1)
	second.drop("FIN")
	r.until(id, "released", 1)
	third := r.daemon(id)
	third.living()
	r.until(id, "granted", 2)
	r.daemon(id).living()
	r.until(id, "refused", 4)
}

func pageConfig() Config {
	cfg := testConfig()
	cfg.Slots.Grace, cfg.Slots.ProbeTimeout = time.Hour, 2*time.Second
	return cfg
}

// TestLooks is for people: it leaves pictures of the pages in the folder SHOTS.
func TestLooks(t *testing.T) {
	if os.Getenv("SHOTS") == "" {
		t.Skip("no folder SHOTS for the pictures")
	}
	r := run(t, pageConfig())
	r.race("home-of-alice")
	for i := range 12 {
		d := r.daemon(fmt.Sprint("daemon-", i))
		d.living()
		if i%5 == 4 {
			r.until(fmt.Sprint("daemon-", i), "granted", 1)
			d.drop("FIN")
		}
	}
	r.daemon("sleepy")
	r.daemon("sleepy")
	p := r.show("/", desk)
	q := r.show("/?server_id=home-of-alice", desk)
	for name, look := range map[string]browser.Look{"light": desk, "dark": night, "phone": phone} {
		p.As(look)
		shot(t, p, "overview-"+name)
		q.As(look)
		shot(t, q, "life-"+name)
	}
}
