// Package browser opens the chat page in a headless Chromium, for tests: it drives the page as a
// person would, with keys and clicks, and looks at what the document shows.
//
// A test whose page breaks its content security policy, throws, or writes an error to the console
// fails. Where there is no Chromium the test is skipped.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long a page has for what must come; no test that passes waits for it.
const patience = 20 * time.Second

// names a Chromium goes by.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"}

// find gives the path of a Chromium; PARLEY_TEST_CHROMIUM comes first.
func find() string {
	if path := os.Getenv("PARLEY_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Browser is one Chromium; each of its pages is a person with a storage of their own.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// New starts a Chromium, which ends with the test, or skips the test.
func New(t testing.TB) *Browser {
	t.Helper()
	path := find()
	if path == "" {
		t.Skip("needs chromium: none of " + strings.Join(names, ", ") + " is on the PATH")
	}
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options,
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en-GB"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &Browser{t: t, ctx: ctx}
}

// Size is a screen's.
type Size struct{ Width, Height int64 }

// Screens that pages are looked at on.
var (
	Desk   = Size{1280, 800}
	Phone  = Size{390, 844}
	Narrow = Size{360, 740}
)

// Page is somebody's page.
type Page struct {
	t       testing.TB
	ctx     context.Context
	mu      sync.Mutex
	faults  []string
	allowed []string
}

// violations are noted from the document's beginning.
const violations = `window.violations = [];
document.addEventListener('securitypolicyviolation', (e) => {
  window.violations.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample);
});`

// Open opens the page at url. What storage holds is there before the page's first script runs.
func (b *Browser) Open(url string, size Size, storage map[string]string) *Page {
	b.t.Helper()
	p := &Page{t: b.t}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	b.t.Cleanup(func() {
		p.check()
		cancel()
	})
	// The first run makes the page, which lives as long as that run's context: no deadline here.
	if err := chromedp.Do(p.ctx); err != nil {
		b.t.Fatalf("open a page: %v", err)
	}
	var script strings.Builder
	script.WriteString(violations)
	for key, value := range storage {
		fmt.Fprintf(&script, "\nif (localStorage.getItem(%q) === null) localStorage.setItem(%[1]q, %[2]q);", "parley."+key, value)
	}
	call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script.String()})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: size.Width, Height: size.Height, DeviceScaleFactor: 1, Mobile: size.Width < 600,
	})
	call(p, cdplog.Enable, cdp.Empty{})
	p.do("open "+url, chromedp.Navigate(url))
	return p
}

// OpenAs is Open for somebody who has been here before and given a name.
func (b *Browser) OpenAs(name, url string, size Size) *Page {
	b.t.Helper()
	p := b.Open(url, size, map[string]string{"name": name})
	p.Until("connected as "+name, fmt.Sprintf(`document.querySelector('.me .name').textContent === %q && !document.querySelector('parley-banner').dataset.kind && document.querySelectorAll('parley-people li').length > 0`, name))
	return p
}

// Allow takes messages on the console that have this in them for no fault.
func (p *Page) Allow(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, text)
}

func (p *Page) hear(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "uncaught: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			fault += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "assert" {
			fault = "console: "
			for _, a := range e.Args {
				fault += string(a.Value) + a.Description + " "
			}
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError {
			fault = fmt.Sprintf("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if fault == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fault)
}

// check fails the test for what went wrong in the page.
func (p *Page) check() {
	var broken []string
	p.Get("window.violations", &broken)
	for _, v := range broken {
		p.t.Errorf("content security policy: %s", v)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range p.faults {
		if !p.isAllowed(fault) {
			p.t.Errorf("the page's %s", fault)
		}
	}
}

func (p *Page) isAllowed(fault string) bool {
	for _, a := range p.allowed {
		if strings.Contains(fault, a) {
			return true
		}
	}
	return false
}

// do runs an action within bounds.
func (p *Page) do(what string, action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// call sends the page a command.
func call[P, R any](p *Page, command cdp.Command[P, R], params P) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		p.t.Fatalf("%T: %v", params, err)
	}
}

// Until waits until a JavaScript expression is true. It looks from within the page.
func (p *Page) Until(what, expression string) {
	p.t.Helper()
	script := fmt.Sprintf(`new Promise((done) => {
  const end = Date.now() + %d;
  const look = () => {
    let found = false;
    try { found = !!(%s); } catch {}
    if (found || Date.now() > end) done(found);
    else setTimeout(look, 20);
  };
  look();
})`, patience.Milliseconds(), expression)
	var found bool
	p.Get(script, &found)
	if !found {
		var text string
		p.Get("document.querySelector('parley-app').innerText.slice(-3000)", &text)
		p.t.Fatalf("not seen within %v: %s\n  %s\nThe page shows:\n%s", patience, what, expression, text)
	}
}

// UntilAnew is Until where the page may be loaded anew meanwhile.
func (p *Page) UntilAnew(what, expression string) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(p.ctx, 2*patience)
	defer cancel()
	for {
		// A page that goes away while it is asked gives an error.
		found, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("(() => { try { return !!(%s); } catch { return false; } })()", expression), chromedp.EvalAsValue))
		if err == nil && found {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("not seen within %v: %s\n  %s", 2*patience, what, expression)
		}
	}
}

// Get evaluates an expression, or a promise of it, into a value.
func (p *Page) Get(expression string, into any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise, chromedp.EvalAsValue))
	if err == nil {
		err = json.Unmarshal(value, into)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
}

// Do runs a script.
func (p *Page) Do(script string) {
	p.t.Helper()
	p.do(script, chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise))
}

// Int evaluates an expression that is a whole number.
func (p *Page) Int(expression string) int {
	p.t.Helper()
	var n float64
	p.Get(expression, &n)
	return int(n)
}

// Text is what an element shows, "" if there is none.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	var text string
	p.Get(fmt.Sprintf("document.querySelector(%q)?.textContent ?? ''", selector), &text)
	return text
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	p.do("reload", chromedp.Reload())
}

// Click clicks on the middle of an element, as the mouse does.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// Type puts text where the focus is.
func (p *Page) Type(text string) {
	p.t.Helper()
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// Press presses a key, with modifiers.
func (p *Page) Press(key string, modifiers ...kb.Modifier) {
	p.t.Helper()
	p.do("press "+key, chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...)))
}

// Say writes a message into the box and sends it.
func (p *Page) Say(text string) {
	p.t.Helper()
	p.Do("document.querySelector('parley-composer textarea').focus()")
	p.Type(text)
	p.Press("\r")
}

// Sees waits until a message with this text is in the log, as the page shows it.
func (p *Page) Sees(text string) {
	p.t.Helper()
	p.Until("the message "+text, fmt.Sprintf(`[...document.querySelectorAll('.message[data-seq] .body')].some((b) => b.textContent === %q)`, text))
}

// Bodies are the texts of the messages that stand in the log, in order.
func (p *Page) Bodies() []string {
	p.t.Helper()
	var all []string
	p.Get(`[...document.querySelectorAll('.message .body')].map((b) => b.textContent)`, &all)
	return all
}

// Dark makes the system prefer the dark theme, or the light one.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// Screenshot writes a picture of what is in view.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(path, picture, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
