//go:build e2e

package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/modelwarden/warden/internal/access/idp/idptest"
)

// TestConsoleAccess: an administrator adds users, groups and keys on one page,
// sees a new key once, disables and revokes; a reader does not see the page.
func TestConsoleAccess(t *testing.T) {
	p, b := console(t)
	b.show("#/access")
	b.until("document.querySelector('table[data-users]')")

	b.click("[data-act=add-user]")
	b.until("document.querySelector('dialog[open]')")
	b.accessible("access-dialog")
	b.fill("#access-id", "ann")
	b.fill("#access-mail", "ann@example.com")
	b.fill("#access-name", "<img src=x onerror=alert(1)> Ann")
	b.fill("#access-roles", "root")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('dialog[open] .problem') || document.querySelector('dialog[open]').innerText.includes('unknown role')")
	b.mu.Lock()
	b.faults = nil // the refusal was wanted
	b.mu.Unlock()
	b.fill("#access-roles", "engineer@team-a reader")
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-user=\"user:ann\"]')")
	if text := eval[string](b, "document.querySelector('[data-user=\"user:ann\"]').innerText"); !strings.Contains(text, "engineer@team-a") || !strings.Contains(text, "<img src=x") {
		t.Errorf("the user is shown as:\n%s", text)
	}

	b.click("[data-act=add-group]")
	b.fill("#access-id", "ml")
	b.fill("#access-note", "those who train")
	b.fill("#access-members", "user:ann")
	b.fill("#access-roles", "security")
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-group=ml]')?.innerText.includes('user:ann')")

	b.click("[data-act=add-key]")
	b.fill("#access-name", "ci of team a")
	b.fill("#access-roles", "engineer@team-a")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('dialog[open] [data-secret]')")
	secret := eval[string](b, "document.querySelector('[data-secret]').innerText")
	if !strings.HasPrefix(secret, "wdn_") {
		t.Fatalf("the key is shown as %q", secret)
	}
	if status := as(p, secret, "/api/v1/models"); status != http.StatusOK {
		t.Errorf("the new key reads: %d", status)
	}
	b.click("dialog .actions button")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-key=\"ci of team a\"]')")
	if strings.Contains(eval[string](b, "document.documentElement.outerHTML"), secret) {
		t.Error("the key stays on the page")
	}
	b.accessible("access")

	b.click("[data-revoke=\"ci of team a\"]")
	b.until("document.querySelector('dialog[open]')")
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && !document.querySelector('[data-revoke=\"ci of team a\"]')")
	if status := as(p, secret, "/api/v1/models"); status != http.StatusUnauthorized {
		t.Errorf("the revoked key reads: %d", status)
	}
	b.click("[data-disable=\"user:ann\"]")
	b.until("document.querySelector('dialog[open]')")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('[data-enable=\"user:ann\"]')")
	b.clean()

	out, _, _ := p.warden("access", "key", "create", "--name", "reads", "--role", "reader")
	other := openBrowser(t, p.API)
	other.look(1440, "light")
	other.enter(strings.TrimSpace(out))
	if eval[bool](other, "!!document.querySelector('nav.side a[href=\"#/access\"]')") {
		t.Error("a reader is offered the page")
	}
	other.show("#/access")
	if eval[bool](other, "!!document.querySelector('table[data-users]')") {
		t.Error("a reader sees the page")
	}
}

// as asks with a key and returns the status.
func as(p *platform, key, path string) int {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.API+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestConsoleLogin: a real browser signs in with an identity provider, comes
// back to the page it asked for, and is told why when it may not.
func TestConsoleLogin(t *testing.T) {
	provider := idptest.New(t)
	config := filepath.Join(t.TempDir(), "warden.yaml")
	text := "access:\n  oidc:\n    issuer: " + provider.URL + "\n    client_id: " + idptest.Client + "\n    client_secret: file:" + config + ".secret\n    role_map: {ml: [reader]}\n    allowed_domains: [example.com]\n"
	for name, data := range map[string]string{config: text, config + ".secret": idptest.Secret} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, "", "--config", config)
	b := openBrowser(t, p.API)
	b.look(1440, "light")
	b.do(chromedp.Navigate(p.API + "/#/models?search=x"))
	b.until("document.querySelector('[data-provider]')")
	b.accessible("login")
	b.click("[data-provider]")
	b.until("document.querySelector('nav.side') && location.hash === '#/models?search=x'")
	if who := eval[string](b, "document.querySelector('.me').innerText"); !strings.Contains(who, "user:ann@example.com") {
		t.Errorf("signed in as %q", who)
	}
	provider.Says(map[string]any{"sub": "eve", "email": "eve@evil.example"}, nil)
	b.do(chromedp.Navigate(p.API + "/api/v1/login/begin"))
	b.until("location.hash.startsWith('#/login?problem=domain') && document.querySelector('[data-refused=domain]')")
	b.accessible("login-refused")
	if strings.Contains(p.logs.String(), idptest.Secret) {
		t.Error("the log holds the client's secret")
	}
}
