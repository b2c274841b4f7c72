// Package browser looks at the project's pages in a headless Chromium, as a person would. Only tests use it: those of
// claimstorm's report, and those of the relay's own pages.
//
// Where no Chromium is found a test is skipped, unless CHROMIUM_REQUIRED=1: there it fails. CHROMIUM names another binary.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a browser may take to start, and a page for whatever is asked of it. Only a browser that hangs needs it.
const patience = 2 * time.Minute

// longestTemp is how long the path of the directory for temporary files may be: Chromium makes a socket below it, whose path has 107
// bytes at most, and does not start where it has more.
const longestTemp = 50

// names are what Chromium is called, here and there.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Page is a page that is being looked at. It ends with its test.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards the two below, which the browser's events append to
	errors   []string
	requests []string
}

// Look is how a page is looked at.
type Look struct {
	Width, Height int64 // in CSS pixels
	Dark          bool
	Phone         bool // a touch screen of two pixels to one
	NoScript      bool // the page's scripts do not run
}

// Open starts a browser, with a profile of its own, and opens an address in it, which may be a file's. The profile is chromedp's to
// remove, and not t.TempDir's: a child of the browser's may outlive it, and write there still.
func Open(t testing.TB, url string, look Look) *Page {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(find(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if len(os.TempDir()) > longestTemp {
		options = append(options, chromedp.Env("TMPDIR=/tmp"))
	}
	allocated, free := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(free)
	ctx, _ := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits for the browser's end, and removes its profile
			t.Errorf("the browser does not end in order: %v", err)
		}
	})
	p := &Page{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil { // starts the browser
		t.Fatalf("start %s: %v", find(t), err)
	}
	call(p, log.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	p.As(look)
	run(p, chromedp.Navigate(url))
	return p
}

// Goto opens another address, and returns when it is loaded.
func (p *Page) Goto(url string) {
	p.t.Helper()
	run(p, chromedp.Navigate(url))
}

func find(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CHROMIUM_REQUIRED") == "1" {
		t.Fatalf("no Chromium: want one of %s in PATH, or its path in CHROMIUM", strings.Join(names, ", "))
	}
	t.Skip("no Chromium in PATH (nor in CHROMIUM): the page is not looked at; Debian's package is called chromium")
	return ""
}

// hear keeps what went wrong in the page, and what it fetched.
func (p *Page) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.errors = append(p.errors, exception(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			said := []string{}
			for _, arg := range e.Args {
				said = append(said, string(arg.Value)+arg.Description)
			}
			p.errors = append(p.errors, fmt.Sprintf("console.%s: %s", e.Type, strings.Join(said, " ")))
		}
	case *log.EventEntryAdded: // refused by a policy, not found, and the like
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.errors = append(p.errors, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

func exception(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		return d.Exception.Description
	}
	return d.Text
}

// Errors is what went wrong in the page so far: exceptions, errors and warnings in its console, resources that it did not get.
func (p *Page) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errors)
}

// Requests is what the page asked for so far, itself first.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// As changes how the page is looked at.
func (p *Page) As(l Look) {
	p.t.Helper()
	scheme, scale := "light", 1.0
	if l.Dark {
		scheme = "dark"
	}
	if l.Phone {
		scale = 2
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.NoScript})
	call(p, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: l.Phone})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.Width, Height: l.Height, DeviceScaleFactor: scale, Mobile: l.Phone})
}

// Follow runs what leads to another page, such as a click, and returns when that is loaded.
func (p *Page) Follow(statement string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	click := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](statement+", true")(ctx, t)
		return err
	})
	if _, err := chromedp.RunResponse(ctx, click); err != nil {
		p.t.Fatalf("in the browser: %s: %v; the page complains: %q", statement, err, p.Errors())
	}
}

// Eval is the value of an expression in a page. A promise is waited for.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	return run(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// WaitFor waits until an expression is true in the page.
func (p *Page) WaitFor(expression string) {
	p.t.Helper()
	run(p, chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingTimeout(patience)))
}

// Screenshot is the whole page as a PNG.
func (p *Page) Screenshot() []byte {
	p.t.Helper()
	return run(p, chromedp.FullScreenshot(100))
}

func call[P, R any](p *Page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	return run(p, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

func run[T any](p *Page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("in the browser: %v; the page complains: %q", err, p.Errors())
	}
	return value
}
