//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConsoleGateway: the pages of the gateway show the traffic of the demo as
// charts, lead to the exchange that was denied, and are accessible.
func TestConsoleGateway(t *testing.T) {
	_, b := console(t)
	b.show("#/gateway")
	b.until("+document.querySelector('[data-end=denied]')?.textContent > 0 && +document.querySelector('[data-end=redacted]')?.textContent > 0 && +document.querySelector('[data-end=refused]')?.textContent > 0")
	b.until("document.querySelectorAll('.columns rect').length > 3 && document.querySelectorAll('.blocks li a').length > 5")
	b.accessible("gateway")

	type number struct {
		Href  string
		Count int
	}
	for _, l := range eval[[]number](b, "[...document.querySelectorAll('.minutes [data-number]')].map(a => ({Href: a.getAttribute('href'), Count: +a.dataset.number}))") {
		b.show(l.Href)
		if got := b.rows(); got != l.Count {
			t.Errorf("%s: the number is %d, its rows are %d", l.Href, l.Count, got)
		}
	}

	b.show("#/gateway/exchanges?blocked=true")
	b.until("document.querySelectorAll('tr[data-request]').length > 5")
	denied := eval[string](b, "[...document.querySelectorAll('tr[data-request]')].find(r => r.innerText.includes('denied')).dataset.request")
	b.accessible("exchanges")
	b.show("#/gateway/exchanges/" + denied + "?blocked=true")
	b.until("document.querySelector('[data-exchange=\"" + denied + "\"]')")
	if text := eval[string](b, "document.querySelector('.panel').innerText"); !strings.Contains(text, "WDN-EX-601") || !strings.Contains(text, "Admitted") || !strings.Contains(text, "Finished") {
		t.Errorf("the exchange is shown as:\n%s", text)
	}
	b.accessible("exchange")
	b.click("[data-act=proof]")

	b.show("#/gateway/routes")
	b.until("document.querySelectorAll('[data-route]').length === 4")
	b.accessible("routes")
	b.show("#/gateway/limits")
	b.until("document.querySelectorAll('.accounts [data-use]').length === 4 && document.querySelector('.meter.full')")
	b.accessible("limits")
	b.clean()
}

// TestConsoleRouteForm: an administrator adds a route, sees why one is refused,
// changes it, switches it off and on, and removes it.
func TestConsoleRouteForm(t *testing.T) {
	p, b := console(t)
	b.show("#/gateway/routes")
	b.click("[data-act=add-route]")
	b.until("document.querySelector('dialog[open]')")
	b.fill("#route-name", "support")
	b.fill("#route-model", "demo/chat-base")
	b.fill("#route-upstream", upstream(t))
	b.fill("#route-credential", "file:/etc/passwd")
	b.fill("#route-allow_private", "127.0.0.0/8")
	b.fill("#route-rest", `{"limits": [{"per": "identity", "requests": "10/1m"}], "capture": {"mode": "redacted"}}`)
	b.accessible("route-form")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('dialog[open]').innerText.includes('gateway.credentials')")
	time.Sleep(200 * time.Millisecond)
	b.mu.Lock()
	b.faults = nil // the refusal was wanted
	b.mu.Unlock()
	b.fill("#route-credential", "")
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-route=support]')?.innerText.includes('open')")
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "app", "--role", "client"))
	if status, body := p.chat(key, "support", false); status != http.StatusOK {
		t.Errorf("the new route answers %d %s", status, body)
	}
	var xs listJSON[struct{ Request, End string }]
	p.eventually(3*time.Second, "the record of the exchange", func() bool {
		p.get("/api/v1/gateway/exchanges?route=support", &xs)
		return len(xs.Items) == 1 && xs.Items[0].End == "complete"
	})
	b.show("#/gateway/exchanges/" + xs.Items[0].Request)
	b.click("[data-act=content]")
	b.until("[...document.querySelectorAll('pre.said')].some(e => e.innerText.includes('hello'))")
	b.accessible("content")
	if out := p.must(0, "gateway", "show", xs.Items[0].Request, "--content"); !strings.Contains(out, "hello") {
		t.Errorf("gateway show --content says:\n%s", out)
	}
	b.show("#/gateway/routes")
	b.click("[data-edit=support]")
	b.until("document.querySelector('#route-rest')?.value.includes('10/1m')")
	b.fill("#route-rest", `{"limits": [{"per": "identity", "requests": "20/1m"}]}`)
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-route=support]')?.innerText.includes('20 requests')")
	b.click("[data-turn=support]")
	b.until("document.querySelector('[data-route=support]')?.innerText.includes('disabled')")
	if status, _ := p.chat(key, "support", false); status == http.StatusOK {
		t.Error("a disabled route answers")
	}
	b.click("[data-remove=support]")
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('[data-route=support]')")
	b.clean()
}

// TestConsoleKeyRotation: a key is rotated on the page of access, and the review
// of rights is there.
func TestConsoleKeyRotation(t *testing.T) {
	p, b := console(t)
	old := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "shop", "--role", "reader"))
	b.show("#/access")
	b.until("document.querySelector('[data-review]:not([data-review=\"\"])')")
	b.click("[data-rotate=shop]")
	b.fill("#access-overlap", "0")
	b.accessible("rotate")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('dialog[open] [data-secret]')")
	fresh := eval[string](b, "document.querySelector('[data-secret]').innerText")
	if a, c := as(p, fresh, "/api/v1/models"), as(p, old, "/api/v1/models"); a != http.StatusOK || c != http.StatusUnauthorized {
		t.Errorf("the new secret: %d, the old one: %d", a, c)
	}
	b.clean()
}

// checkBlocked sends a request that a guard denies, finds its record, and
// verifies its proof without the platform.
func checkBlocked(t *testing.T, p *platform, dir, key string) {
	status, body := p.chat(key, "guarded", false)
	if status == http.StatusOK || strings.Contains(body, "4111") {
		t.Fatalf("the answer with a card number: %d %s", status, body)
	}
	var xs listJSON[struct{ Request, Guard string }]
	p.eventually(3*time.Second, "the record of the blocked exchange", func() bool {
		p.get("/api/v1/gateway/exchanges?blocked=true&route=guarded", &xs)
		return len(xs.Items) == 1 && xs.Items[0].Guard == "deny"
	})
	proof := filepath.Join(dir, "exchange.json")
	if out := p.must(0, "gateway", "show", xs.Items[0].Request, "--proof", proof); !strings.Contains(out, "WDN-EX-502") {
		t.Errorf("gateway show says:\n%s", out)
	}
	var cp struct{ Verifier string }
	p.get("/api/v1/audit/checkpoint", &cp)
	p.must(0, "gateway", "verify", proof, "--key", cp.Verifier)
	text, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(dir, "forged-exchange.json")
	write(t, forged, strings.Replace(string(text), `\"guard\":\"deny\"`, `\"guard\":\"redact\"`, 1))
	p.must(1, "gateway", "verify", forged, "--key", cp.Verifier)
	if out := p.must(0, "gateway", "exchanges", "--blocked"); !strings.Contains(out, fmt.Sprint(xs.Items[0].Request)) {
		t.Errorf("gateway exchanges says:\n%s", out)
	}
}

// TestConsoleMarks: the page of an exchange says where rules fired, and marks the
// places in what is kept whole; the command line and the stream of events say
// where, and never what.
func TestConsoleMarks(t *testing.T) {
	p, b := console(t)
	const said = "Größe: ask mara.lindqvist@acme-corp.io about it"
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":9}}`, said)
	}))
	defer up.Close()
	b.show("#/gateway/routes")
	b.click("[data-act=add-route]")
	b.until("document.querySelector('dialog[open]')")
	b.fill("#route-name", "kept")
	b.fill("#route-model", "demo/chat-base")
	b.fill("#route-upstream", up.URL)
	b.fill("#route-allow_private", "127.0.0.0/8")
	b.fill("#route-rest", `{"guard": {"preset": "standard"}, "capture": {"mode": "full"}}`)
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-route=kept]')?.innerText.includes('open')")
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "app", "--role", "client"))
	if status, body := p.chat(key, "kept", false); status != http.StatusOK || strings.Contains(body, "lindqvist") {
		t.Fatalf("%d %s", status, body)
	}
	var xs listJSON[struct{ Request, Guard string }]
	p.eventually(3*time.Second, "the record of the exchange", func() bool {
		p.get("/api/v1/gateway/exchanges?route=kept", &xs)
		return len(xs.Items) == 1 && xs.Items[0].Guard == "redact"
	})
	b.show("#/gateway/exchanges/" + xs.Items[0].Request)
	b.until("document.querySelector('.places')?.innerText.includes('choices/0/text/0')")
	b.click("[data-act=content]")
	b.until("[...document.querySelectorAll('mark.did-redact')].some(e => e.innerText === 'mara.lindqvist@acme-corp.io')")
	b.accessible("marks")
	b.shot("marks")
	if out := p.must(0, "gateway", "show", xs.Items[0].Request); !strings.Contains(out, "at choices/0/text/0, bytes 13 to 40: redact") || strings.Contains(out, "lindqvist") {
		t.Errorf("gateway show says:\n%s", out)
	}
	if out := p.must(0, "events", "--kind", "guard", "--format", "json"); !strings.Contains(out, xs.Items[0].Request) || strings.Contains(out, "lindqvist") {
		t.Errorf("events says:\n%s", out)
	}
	b.clean()
}
