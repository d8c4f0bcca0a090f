//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser is one headless Chromium with a profile of its own. It collects
// what must not happen: console errors, CSP reports, requests to other hosts.
type browser struct {
	t    testing.TB
	ctx  context.Context //nolint:containedctx // of the browser, ends with the test
	base string

	mu     sync.Mutex
	faults []string
}

// openBrowser starts a browser for the console at base, or skips the test if no
// Chromium is installed.
func openBrowser(t testing.TB, base string) *browser {
	t.Helper()
	exe := ""
	for _, name := range []string{os.Getenv("WARDEN_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			exe = p
			break
		}
	}
	if exe == "" {
		t.Skip("no Chromium here: install chromium, or name it in WARDEN_CHROMIUM, to test the console in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(exe), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
	)
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	limit, cancel := context.WithTimeout(alloc, 4*time.Minute)
	b := &browser{t: t, base: base}
	ctx, stop := chromedp.NewContext(limit, chromedp.WithListener(b.event))
	t.Cleanup(func() { stop(); cancel(); stopAlloc() })
	b.ctx = ctx
	send(b, network.Enable, network.EnableParams{})
	send(b, log.Enable, cdp.Empty{})
	return b
}

func (b *browser) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

func (b *browser) event(ev any) {
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		text, _ := json.Marshal(ev.ExceptionDetails)
		b.fault("exception: %s", text)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			args, _ := json.Marshal(ev.Args)
			b.fault("console %s: %s", ev.Type, args)
		}
	case *log.EventEntryAdded:
		// Asking who is signed in before anybody is: 401 is the answer.
		if ev.Entry.Level == log.EntryLevelError && (ev.Entry.Source != log.EntrySourceNetwork || !strings.HasSuffix(ev.Entry.URL, "/api/v1/me")) {
			b.fault("log: %s %s", ev.Entry.Text, ev.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u := ev.Request.URL; !strings.HasPrefix(u, b.base) && !strings.HasPrefix(u, "blob:"+b.base) {
			b.fault("foreign request: %s", u)
		}
	}
}

// clean fails the test for everything that must not have happened so far.
func (b *browser) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Error(f)
	}
	b.faults = nil
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// send sends one command of the protocol.
func send[P, R any](b *browser, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	out, err := chromedp.Call(b.ctx, cmd, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// eval evaluates an expression in the page.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", js, err)
	}
	return out
}

// until waits for a JavaScript condition.
func (b *browser) until(js string) {
	b.t.Helper()
	end := time.Now().Add(15 * time.Second)
	for !eval[bool](b, "!!("+js+")") {
		if time.Now().After(end) {
			text := eval[string](b, "location.hash + '\\n' + document.body.innerText")
			b.t.Fatalf("waited for %s; the page shows\n%.3000s", js, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settled is true when nothing on the page waits for the server.
const settled = `document.querySelector('main h1') && !document.querySelector('[data-rows=""]') &&
	![...document.querySelectorAll('[role=status]')].some(e => e.textContent.trim() === 'Loading…')`

// show opens a page of the console by its hash, as if it was typed.
func (b *browser) show(hash string) {
	b.t.Helper()
	eval[string](b, "location.hash = "+quote(hash))
	time.Sleep(30 * time.Millisecond)
	b.until(settled)
}

// enter signs in with an access key in a fresh page.
func (b *browser) enter(key string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+"/"), chromedp.WaitVisible(chromedp.CSS("#credential")),
		chromedp.SendKeys(chromedp.CSS("#credential"), key), chromedp.Click(chromedp.CSS("main.login button[type=submit]")))
	b.until("document.querySelector('nav.side')")
	b.until(settled)
}

// click clicks the first element that a CSS selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.until("document.querySelector(" + quote(selector) + ")")
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// keys types on whatever has the focus.
func (b *browser) keys(text string) {
	b.t.Helper()
	for _, r := range text {
		key := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Text: string(r), Key: string(r)}
		send(b, input.DispatchKeyEvent, key)
		key.Type, key.Text = input.DispatchKeyEventTypeKeyUp, ""
		send(b, input.DispatchKeyEvent, key)
	}
}

// fill puts text into a field as if it was pasted.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.until("document.querySelector(" + quote(selector) + ")")
	eval[bool](b, fmt.Sprintf("(e => { e.value = %s; return e.dispatchEvent(new Event('input', {bubbles: true})) })(document.querySelector(%s))", quote(text), quote(selector)))
}

// rows returns how many rows the list of the page has, after showing all.
func (b *browser) rows() int {
	b.t.Helper()
	for eval[bool](b, "!!document.querySelector('.more button')") {
		before := eval[int](b, "document.querySelectorAll('tbody [data-row]').length")
		b.click(".more button")
		b.until(fmt.Sprintf("document.querySelectorAll('tbody [data-row]').length > %d", before))
	}
	return eval[int](b, "document.querySelectorAll('tbody tr[data-row]').length")
}

// look sets the width of the window and the colour scheme.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	send(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
	send(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// shot writes a picture of the whole page into the folder that
// WARDEN_SCREENSHOTS names, if it does.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("WARDEN_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// accessible fails the test for everything that axe-core finds wrong, in both
// colour schemes, and for a page that is wider than a phone.
func (b *browser) accessible(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.look(1440, scheme)
		b.shot(name + "-1440-" + scheme)
		for _, v := range b.axe() {
			b.t.Errorf("%s, %s: %s", name, scheme, v)
		}
		b.look(390, scheme)
		b.shot(name + "-390-" + scheme)
		if w := eval[int](b, "document.documentElement.scrollWidth"); w > 390 {
			b.t.Errorf("%s is %d pixels wide on a screen of 390", name, w)
		}
	}
	b.look(1440, "light")
}

// axe runs axe-core on the page and returns what it finds wrong. The script
// comes from web/node_modules, as it is a tool of developers.
func (b *browser) axe() []string {
	b.t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "web", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		b.t.Log("accessibility is not tested: no axe-core here; run npm ci in web")
		return nil
	}
	if !eval[bool](b, "!!window.axe") {
		eval[any](b, string(script)+";0")
	}
	return eval[[]string](b, `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
		.then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.target.join(' ') + ': ' + n.failureSummary.replaceAll('\n', ' '))))`)
}

func quote(s string) string {
	q, _ := json.Marshal(s)
	return string(q)
}
