package viewer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/measure/browser"
)

// fake is a relay that is as a test says.
type fake struct {
	slots   []Slot
	entries []slots.Entry
	err     error
}

func (f fake) Slots(context.Context) ([]Slot, error) { return slices.Clone(f.slots), f.err }
func (f fake) Entries() []slots.Entry                { return slices.Clone(f.entries) }

func get(t testing.TB, f fake, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(f, "v1").ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func TestMisspeltQueriesAreRefused(t *testing.T) {
	for query, want := range map[string]string{
		"server=home":                 "server: want server_id",
		"server_id=a%20b":             "server_id: server-id has byte 0x20 at 1",
		"server_id=a&server_id=b":     "server_id: want it once",
		"axis=x":                      "axis: want",
		"phones=yes":                  "phones: want",
		"before=-1":                   `before: "-1": want a seq`,
		"before=x":                    `before: "x": want a seq`,
		"find=" + longest("x") + "xx": "find: want at most 128 characters",
		"server_id=a;b":               "invalid semicolon separator in query: want a query",
	} {
		if w := get(t, fake{}, "/?"+query); w.Code != 400 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want 400 %s", query, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/?server_id=&find=", "/viewer/style.css", "/viewer/script.js", "/viewer/icon.svg"} {
		if w := get(t, fake{}, path); w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
		}
	}
	if w := get(t, fake{err: errors.New("the relay has shut down")}, "/"); w.Code != 503 || strings.TrimSpace(w.Body.String()) != "the relay has shut down" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func longest(s string) string { return strings.Repeat(s, messages.MaxHeaderChars) }

// TestPolicyHoldsNoInlineScript: the page needs none, so nothing that got into it could run.
func TestPolicyHoldsNoInlineScript(t *testing.T) {
	w := get(t, fake{}, "/")
	got := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(got, "default-src 'none'; script-src 'self';") || strings.Contains(got, "unsafe") {
		t.Errorf("the policy is %q", got)
	}
	for _, inline := range []string{"<style", " style=", " onclick=", "javascript:"} {
		if strings.Contains(w.Body.String(), inline) {
			t.Errorf("the page has %q in it, which its policy forbids", inline)
		}
	}
}

// TestPagesBackReachEveryEntry: what a page leaves out it says, and links to; following the links, each entry is seen once.
func TestPagesBackReachEveryEntry(t *testing.T) {
	s := tell(t, "a&b=c#d")
	for i := range 450 {
		s.claims(fmt.Sprint("c", i)).releases(fmt.Sprint("c", i))
	}
	older := regexp.MustCompile(`<a href="([^"]*before=[^"]*)">Older</a>`)
	seen, path := map[string]int{}, "/?server_id="+url.QueryEscape("a&b=c#d")
	for pages := 1; ; pages++ {
		began := time.Now()
		body := get(t, fake{entries: s.journal}, path).Body.String()
		for _, row := range regexp.MustCompile(`<tr id="(seq-\d+)"`).FindAllStringSubmatch(body, -1) {
			seen[row[1]]++
		}
		if len(body) > 1<<20 {
			t.Errorf("%s is %d bytes, want at most 1 MiB", path, len(body))
		}
		t.Logf("%s: %d bytes in %s", path, len(body), time.Since(began))
		next := older.FindStringSubmatch(body)
		if next == nil {
			break
		}
		if path = strings.ReplaceAll(next[1], "&amp;", "&"); pages > 100 {
			t.Fatal("the pages never end")
		}
	}
	if len(seen) != len(s.journal) {
		t.Errorf("%d of %d entries were seen", len(seen), len(s.journal))
	}
	for row, times := range seen {
		if times > 1 {
			t.Errorf("%s was seen %d times", row, times)
		}
	}
}

// TestTenThousandSlots: the list shows those first where something is going on, and says how many it leaves out.
func TestTenThousandSlots(t *testing.T) {
	var f fake
	for i := range 10_000 {
		s := Slot{Server: messages.ServerID(fmt.Sprintf("slot-%05d", i)), State: slots.Held, Holder: "h", Epoch: 1, Since: time.Now()}
		if i == 9_999 {
			s.State, s.Waiting = slots.Probing, 2
		}
		f.slots = append(f.slots, s)
	}
	body := get(t, f, "/").Body.String()
	if n := strings.Count(body, `<a id="slot-slot-`); n != drawnSlots || !strings.Contains(body, "9800 more are not listed") {
		t.Errorf("%d slots are listed", n)
	}
	if first := strings.Index(body, `id="slot-slot-09999"`); first < 0 || first > strings.Index(body, `id="slot-slot-00000"`) {
		t.Error("the slot that is being probed is not the first")
	}
	if body := get(t, f, "/?find=slot-0123").Body.String(); strings.Count(body, `<a id="slot-slot-`) != 10 {
		t.Error("what was asked for by name is not what is listed")
	}
}

// TestPhonesCanBeHidden: the numbers of the others stay as they are.
func TestPhonesCanBeHidden(t *testing.T) {
	s := tell(t, "home").claims("a").joins("p", "").claims("b")
	body := get(t, fake{entries: s.journal}, "/?server_id=home&phones=hidden").Body.String()
	if strings.Contains(body, `id="mark-2"`) || !strings.Contains(body, `id="mark-3"`) || !strings.Contains(body, `data-after="3"`) {
		t.Error("want #1 and #3, and a stream that goes on behind #3")
	}
}

// TestFileStandsAlone: in a real browser it shows two slots, asks for nothing, runs nothing, and markup in it is text.
func TestFileStandsAlone(t *testing.T) {
	const id, device = `<script>document.title="run"</script>"'&`, `</table><img src=x onerror=alert(1)>`
	first := tell(t, id).claims("a").joins("p", device).claims("b").answers("a", 1).at(time.Second).claims("c").at(10 * time.Second).journal
	second := tell(t, "other").claims("x").releases("x").at(time.Minute).journal
	var entries []slots.Entry
	for i := range max(len(first), len(second)) { // as a journal has them: mixed
		for _, of := range [][]slots.Entry{first, second} {
			if i < len(of) {
				e := of[i]
				e.Seq = int64(len(entries) + 1)
				entries = append(entries, e)
			}
		}
	}
	var page bytes.Buffer
	if err := HTML(&page, "an <incident>", entries); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "replay.html")
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := browser.Open(t, "file://"+path, browser.Look{Width: 1280, Height: 900})
	if got := browser.Eval[string](p, `[...document.querySelectorAll("h1, h2.id")].map(e => e.innerText).join("|")`); got != "an <incident>|"+id+"|other" {
		t.Errorf("it is about %q", got)
	}
	if n := browser.Eval[int](p, `document.querySelectorAll(".mark").length`); n != len(entries) {
		t.Errorf("%d marks of %d entries", n, len(entries))
	}
	if !browser.Eval[bool](p, `document.querySelector(".entries").innerText.includes('`+device+`') && document.title === "an <incident> - pyrycode-relay"`) {
		t.Error("the device name is not shown, or something ran")
	}
	if height := browser.Eval[float64](p, `document.querySelector(".lanes li").getBoundingClientRect().height`); height != laneHeight {
		t.Errorf("a label is %v high, and its lane %d", height, laneHeight)
	}
	if asked := p.Requests(); len(asked) != 1 {
		t.Errorf("it asked for %q", asked)
	}
	for _, e := range p.Errors() {
		t.Errorf("in the page: %s", e)
	}
}

// TestFileOfNothing: a record without decisions makes a page that says so.
func TestFileOfNothing(t *testing.T) {
	var page bytes.Buffer
	if err := HTML(&page, "nothing", nil); err != nil || !strings.Contains(page.String(), "There is no decision in it.") {
		t.Errorf("%v: %s", err, page.String())
	}
}

// BenchmarkPage draws the page of a slot with a full journal, 200 decisions of it, as each new decision asks for.
func BenchmarkPage(b *testing.B) {
	s := tell(b, "home")
	for i := range 2048 {
		s.claims(fmt.Sprint("c", i)).releases(fmt.Sprint("c", i))
	}
	for b.Loop() {
		get(b, fake{entries: s.journal}, "/?server_id=home")
	}
}
