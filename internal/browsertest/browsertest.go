// Package browsertest gives tests a real browser, Debian's chromium without a window, to
// open a page from a file. Each page that a test opens has to be silent and content with
// itself: an error on its console, an exception, or a request for anything but the page
// fails the test. Nothing here is skipped when the program is missing: a test that cannot
// run has failed.
package browsertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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

// patience is how long a page may take for one thing. A loaded CI machine needs seconds.
const patience = time.Minute

// Page is one page in a browser of its own.
type Page struct {
	t   testing.TB
	ctx context.Context
	url string

	mu       sync.Mutex
	problems []string
}

// program returns the browser's path: RQVAULT_CHROMIUM, or what Debian installs.
func program(t testing.TB) string {
	t.Helper()
	name := os.Getenv("RQVAULT_CHROMIUM")
	if name == "" {
		name = "chromium"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("chromium is needed (run tools/setup.sh test, or set RQVAULT_CHROMIUM): %v", err)
	}
	return path
}

// Open opens the file, with its scripts or without, and returns when it is loaded. The
// browser ends with the test.
func Open(t testing.TB, path string, scripts bool) *Page {
	t.Helper()
	// The sandbox cannot start for root, nor in most containers. The only page that ever
	// is opened is the test's own.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), chromedp.WindowSize(1280, 900))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closePage := chromedp.NewContext(alloc)
	t.Cleanup(closePage)
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{t: t, ctx: ctx, url: (&url.URL{Scheme: "file", Path: path}).String()}
	if err := chromedp.Listen(ctx, p.note); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	t.Cleanup(p.check)
	if !scripts {
		call(p, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return chromedp.Void{}, err
		})
	}
	call(p, chromedp.Navigate(p.url))
	return p
}

// note keeps what no page of ours may do.
func (p *Page) note(event any) {
	var what string
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != p.url {
			what = "it asked for " + e.Request.URL
		}
	case *runtime.EventExceptionThrown:
		what = fmt.Sprintf("an exception at %d:%d: %s", e.ExceptionDetails.LineNumber, e.ExceptionDetails.ColumnNumber, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		what = fmt.Sprintf("on its console, by %s: %v", e.Type, e.Args)
	case *log.EventEntryAdded:
		what = fmt.Sprintf("logged as %s: %s", e.Entry.Level, e.Entry.Text)
	}
	if what != "" {
		p.mu.Lock()
		p.problems = append(p.problems, what)
		p.mu.Unlock()
	}
}

func (p *Page) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.problems) > 0 {
		p.t.Errorf("the page is not silent:\n%s", strings.Join(p.problems, "\n"))
	}
}

func call[T any](p *Page, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// Value returns what an expression comes to in the page.
func Value[T any](p *Page, expression string) T {
	p.t.Helper()
	return call(p, chromedp.Evaluate[T](expression))
}

// Wait returns when the expression is true in the page, and fails the test if it never is.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	look := "new Promise(done => { const look = () => (" + expression + ") ? done(true) : requestAnimationFrame(look); look(); })"
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](look, chromedp.EvalAwaitPromise)); err != nil {
		p.t.Fatalf("waiting for %s: %v", expression, err)
	}
}

// Type types text into the element, as a person does.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	call(p, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Click clicks on the element.
func (p *Page) Click(selector string) {
	p.t.Helper()
	call(p, chromedp.Click(chromedp.CSS(selector)))
}

// Width makes the window that wide, in the pixels of CSS.
func (p *Page) Width(pixels int64) {
	p.t.Helper()
	call(p, chromedp.EmulateViewport(pixels, 844))
}
