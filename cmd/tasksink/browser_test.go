package main_test

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
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium without windows.
type browser struct{ ctx context.Context } //nolint:containedctx // chromedp keeps the browser in a context

// startBrowser skips the test where there is none, or fails it if TASKSINK_REQUIRE_BROWSER=1.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	switch {
	case path == "" && os.Getenv("TASKSINK_REQUIRE_BROWSER") == "1":
		t.Fatal("no Chromium, and TASKSINK_REQUIRE_BROWSER=1")
	case path == "":
		t.Skip("NOT TESTED IN A BROWSER: no Chromium is installed")
	}
	// Containers run tests as root, where Chromium's sandbox does not start; it only ever sees our own page.
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-dev-shm-usage", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, closeAll := chromedp.NewContext(alloc)
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &browser{ctx}
}

// tab is one page in it. When the test ends it fails for whatever the page complained of.
type tab struct {
	ctx   context.Context //nolint:containedctx // chromedp's handle of the tab
	t     *testing.T
	close func()

	mu       sync.Mutex
	gone     bool // the server is meant to be away: requests that fail are no complaint
	problems []string
	asked    map[string]int // paths, and how often
}

// open shows an address, at a size, in light or dark.
func (b *browser) open(t *testing.T, address string, width, height int, scheme string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	p := &tab{ctx: ctx, t: t, asked: map[string]int{}}
	p.close = sync.OnceFunc(func() {
		closeTab()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Error("the page complains:", problem)
		}
	})
	t.Cleanup(p.close)
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, func(event any) { p.hear(event, own.Host) }); err != nil {
		t.Fatal(err)
	}
	call(p, network.Enable, network.EnableParams{})
	call(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	p.prefers(scheme)
	p.run(chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(address))
	return p
}

func (p *tab) hear(event any, own string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text,
			e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		p.problems = append(p.problems, fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value))
	case *cdplog.EventEntryAdded:
		if !p.gone || e.Entry.Source != "network" {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *page.EventJavascriptDialogOpening:
		p.problems = append(p.problems, "dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Host != own {
			p.problems = append(p.problems, "it asks for "+e.Request.URL)
			return
		}
		p.asked[u.Path]++
	}
}

func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// value is what an action gives.
func value[T any](p *tab, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func call[P any](p *tab, command cdp.Command[P, cdp.Empty], params P) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, command, params); err != nil {
		p.t.Fatal(err)
	}
}

// eval is what an expression of JavaScript gives.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	return value(p, chromedp.Evaluate[T](expression))
}

// text is what a reader sees of an element.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return strings.TrimSpace(eval[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)))
}

// says waits until an element's text contains what is wanted.
func (p *tab) says(selector, want string, limit time.Duration) {
	p.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		last := p.text(selector)
		if strings.Contains(last, want) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s says %q after %v, want %q", selector, last, limit, want)
		}
	}
}

// prefers makes the reader one who likes it light, or dark.
func (p *tab) prefers(scheme string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// look makes the reader look at another tab, or at this one again.
func (p *tab) look(here bool) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %t, configurable: true }) && document.dispatchEvent(new Event("visibilitychange"))`, !here))
}

// mayFail says that the server will be away from now on.
func (p *tab) mayFail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// requests is how often a path was asked for.
func (p *tab) requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// picture keeps what the tab shows, all of it or what one sees first, for the documents.
func (p *tab) picture(name string, whole bool) {
	p.t.Helper()
	shot := page.CaptureScreenshotParams{CaptureBeyondViewport: &whole}
	if whole {
		shot.Clip = &page.Viewport{Width: eval[float64](p, "innerWidth"),
			Height: eval[float64](p, "document.documentElement.scrollHeight"), Scale: 1}
	}
	taken, err := chromedp.Call(p.ctx, page.CaptureScreenshot, shot)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "page", name), taken.Data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
