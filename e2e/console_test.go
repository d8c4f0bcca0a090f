//go:build e2e

package e2e_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// digestOf returns the digest of the artifact that a reference means.
func digestOf(p *platform, ref string) string {
	p.t.Helper()
	var v versionJSON
	p.get("/api/v1/find?ref="+url.QueryEscape(ref), &v)
	if v.Artifact.Digest == "" {
		p.t.Fatalf("%s names nothing", ref)
	}
	return v.Artifact.Digest
}

// console starts a platform with demo data and a browser that is signed in as
// its administrator.
func console(t *testing.T) (*platform, *browser) {
	t.Helper()
	p := start(t, "")
	p.must(0, "demo", "load")
	b := openBrowser(t, p.API)
	b.look(1440, "light")
	b.enter(p.Key)
	return p, b
}

// TestConsolePages: every page loads without a console error, a CSP report or a
// request to another host, is accessible in light and dark, fits a phone, and
// shows the same rows to a fresh browser that gets its URL.
func TestConsolePages(t *testing.T) {
	p, b := console(t)
	hostile := digestOf(p, "demo/free-gpt5-weights")
	for name, hash := range map[string]string{
		"posture":   "#/posture?routes=closed",
		"models":    "#/models?search=chat&state=admitted",
		"artifact":  "#/artifacts/" + hostile,
		"structure": "#/artifacts/" + hostile + "?file=pytorch_model.bin",
		"versions":  "#/artifacts?state=denied",
		"model":     "#/models/demo/free-gpt5-weights",
		"lineage":   "#/artifacts/" + digestOf(p, "demo/chat-support"),
		"findings":  "#/findings?severity=high&max=high&state=open",
		"finding":   "#/findings/1?severity=high",
		"inbox":     "#/inbox?band=1",
		"urgent":    "#/inbox/" + worst(p),
		"assets":    "#/assets?owner=-",
		"asset":     "#/assets/agent:refunds",
		"audit":     "#/audit?entry=3&action=registry.push",
		"search":    "#/search?q=demo",
	} {
		t.Run(name, func(t *testing.T) {
			outer := b.t
			b.t = t // faults go to this page
			defer func() { b.t = outer }()
			b.show(hash)
			b.accessible(name)
			want := eval[string](b, pageText)
			b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(p.API+"/"+hash))
			b.until("document.querySelector('nav.side')")
			b.until(settled)
			b.until(pageText + " === " + quote(want))
			if ms := eval[float64](b, "performance.getEntriesByType('resource').reduce((most, r) => Math.max(most, r.responseEnd), 0)"); ms > 3000 {
				t.Errorf("the page has its data after %.0f ms, want at most 3000 (goal 1000)", ms)
			}
			b.clean()
		})
	}
}

// pageText is what a page shows, without ages.
const pageText = `[...document.querySelectorAll('main tbody tr, main h1, main h2, main pre')].map(e => e.innerText.replace(/(now|\d+ (sec|min)\. ago)/g, '')).join('\n')`

// TestConsoleNumbers: every number of the first page is the number of the rows
// behind its link.
func TestConsoleNumbers(t *testing.T) {
	p, b := console(t)
	p.must(0, "registry", "quarantine", "demo/vision", "--reason", "count me")
	b.show("#/posture")
	b.until("document.querySelector('.tone-quarantined + strong')?.textContent === '1'")
	type number struct {
		Href  string
		Count int
	}
	links := eval[[]number](b, "[...document.querySelectorAll('[data-number]')].map(a => ({Href: a.getAttribute('href'), Count: +a.dataset.number}))")
	if len(links) != 19 {
		t.Errorf("%d numbers on the first page, want 19", len(links))
	}
	sum := 0
	for _, l := range links {
		b.show(l.Href)
		if got := b.rows(); got != l.Count {
			t.Errorf("%s: the number is %d, its rows are %d", l.Href, l.Count, got)
		}
		sum += l.Count
	}
	if sum == 0 {
		t.Error("all numbers are 0")
	}
	b.clean()
}

// TestConsoleQuarantine: the button refuses an artifact with a reason, live in
// another window, and another button releases it. A reader sees neither.
func TestConsoleQuarantine(t *testing.T) {
	p, b := console(t)
	digest := digestOf(p, "demo/sentiment")
	b.show("#/artifacts/" + digest)
	b.until("document.querySelector('[data-state=admitted] .badge.good')")
	b.click("[data-act=quarantine]")
	b.until("document.querySelector('dialog[open]')")
	b.accessible("dialog")
	b.click("dialog button[type=submit]") // no reason yet
	b.until("document.querySelector('dialog[open] [aria-invalid=true]')")
	reason := "<img src=x onerror=alert(1)> \u202egnp.exe"
	b.fill("#reason", reason)
	b.click("dialog button[type=submit]")
	b.until("!document.querySelector('dialog[open]') && document.querySelector('[data-state=quarantined]')")
	if text := eval[string](b, "document.querySelector('[data-state]').innerText"); !strings.Contains(text, "<img src=x onerror=alert(1)>") || !strings.Contains(text, "U+202E") {
		t.Errorf("the reason is not shown as text:\n%s", text)
	}
	if status := p.get("/api/v1/artifacts/"+digest+"/files/model.safetensors", nil); status != 403 {
		t.Errorf("download of the quarantined artifact: status %d, want 403", status)
	}

	// Live: a change elsewhere shows without a reload.
	b.show("#/models?search=sentiment")
	b.until("document.querySelector('tbody .badge.held')")
	p.must(0, "registry", "release", "demo/sentiment", "--reason", "looked at it")
	b.until("document.querySelector('tbody .badge.good')")

	b.show("#/artifacts/" + digest)
	b.click("[data-act=quarantine]")
	b.fill("#reason", "again")
	b.click("dialog button[type=submit]")
	b.click("[data-act=release]")
	b.fill("#reason", "fine")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('[data-state=admitted]')")

	// A reader looks and changes nothing.
	reader := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "auditor", "--role", "reader"))
	b.click("button[aria-label='Sign out']")
	b.until("document.querySelector('#credential')")
	b.enter(reader)
	b.show("#/artifacts/" + digest)
	b.until("document.querySelector('[data-state]')")
	if eval[bool](b, "!!document.querySelector('[data-act], .actions button')") {
		t.Error("a reader sees buttons that change state")
	}
	b.show("#/findings/1")
	if eval[bool](b, "!!document.querySelector('.triage')") {
		t.Error("a reader is asked to set the state of a finding")
	}
	if eval[bool](b, "!!document.querySelector('[data-demo] button')") {
		t.Error("a reader is asked to remove the demo data")
	}
	b.clean()
}

// TestConsoleStructure: a file opens to its members with a verdict each, the
// bytes of a finding and the opcodes around it, at a URL of its own.
func TestConsoleStructure(t *testing.T) {
	p, b := console(t)
	digest := digestOf(p, "demo/free-gpt5-weights")
	b.show("#/artifacts/" + digest)
	b.until("document.querySelector('[data-file=\"pytorch_model.bin\"]')")
	b.click("[data-file=\"pytorch_model.bin\"]")
	b.until("document.querySelector('.structure[data-loaded=yes] details[data-member$=\"data.pkl\"] table.hex b')")
	if n := eval[int](b, "document.querySelectorAll('.structure tr.hit').length"); n == 0 {
		t.Error("no opcode is marked as part of the finding")
	}
	if hash := eval[string](b, "location.hash"); !strings.Contains(hash, "file=") {
		t.Errorf("the URL %s does not say which file is open", hash)
	}
	eval[bool](b, "(document.querySelectorAll('.structure details').forEach(d => d.open = true), true)")
	b.accessible("structure")
	b.clean()
}

// TestConsoleTrust: an administrator trusts a signer, sees it, and revokes it.
func TestConsoleTrust(t *testing.T) {
	p, b := console(t)
	dir := t.TempDir()
	p.must(0, "key", "generate", "--out", filepath.Join(dir, "ci"))
	pub, err := os.ReadFile(filepath.Join(dir, "ci.pub"))
	if err != nil {
		t.Fatal(err)
	}
	b.show("#/trust")
	b.until("document.querySelectorAll('tr[data-row]').length === 2") // the server and the signer of the demo
	b.click("[data-act=add-trust]")
	b.until("document.querySelector('dialog[open]')")
	b.fill("#trust-id", "ci")
	b.fill("#trust-value", string(pub))
	b.fill("#trust-predicates", "https://model_signing/signature/v1.0")
	b.fill("#trust-subjects", "team/*")
	b.accessible("trust-dialog")
	b.click("dialog button[type=submit]")
	b.until("document.querySelector('[data-revoke=ci]')")
	b.accessible("trust")
	b.click("[data-revoke=ci]")
	b.fill("#reason", "it leaked")
	b.click("dialog button[type=submit]")
	b.until("document.querySelectorAll('tr[data-row]').length === 3 && !document.querySelector('[data-revoke=ci]')")
	if text := eval[string](b, "document.querySelector('main').innerText"); !strings.Contains(text, "revoked") {
		t.Errorf("the page says:\n%s", text)
	}
	b.clean()
}

// TestConsoleJobs: what was scanned is seen as done and scanned again by a
// button; the list shows how much was read.
func TestConsoleJobs(t *testing.T) {
	_, b := console(t)
	b.show("#/jobs?state=done")
	b.until("document.querySelectorAll('tr[data-job=done]').length > 3")
	b.accessible("jobs")
	if full := eval[bool](b, "[...document.querySelectorAll('progress')].every((p) => p.value === p.max)"); !full {
		t.Error("a scan that is done is not shown as full")
	}
	b.show("#/jobs")
	b.until("document.querySelector('[data-retry]')")
	first := eval[string](b, "document.querySelector('[data-retry]').dataset.retry")
	b.click("[data-retry]")
	b.until("[...document.querySelectorAll('tr[data-job=done]')].some((r) => r.querySelector('[data-retry]')?.dataset.retry === '" + first + "' && r.innerText.includes('a retry'))")
	b.clean()
}

// TestConsolePolicies: a draft is tried before it is proposed, and shows what it
// would change. The stage of a version shows what blocks its promotion.
func TestConsolePolicies(t *testing.T) {
	p, b := console(t)
	b.show("#/policies")
	b.until("document.querySelector('[data-act=edit-policy]:not(:disabled)')")
	b.accessible("policies")
	b.click("[data-act=edit-policy]")
	b.until("document.querySelector('#draft-0')")
	text := eval[string](b, "document.querySelector('#draft-0').value")
	b.fill("#draft-0", text+"\n@id(\"nothing-at-all\") forbid (principal, action, resource);\n")
	b.click("[data-act=simulate]")
	b.until("+document.querySelector('[data-total]')?.dataset.total > 0")
	b.accessible("draft")

	b.show("#/artifacts/" + digestOf(p, "demo/vision") + "?to=prod")
	b.until("document.querySelector('.conditions li[data-met=false]') && document.querySelector('.conditions li[data-met=true]')")
	if !eval[bool](b, "document.querySelector('[data-act=promote]').disabled") {
		t.Error("a version that lacks conditions can be promoted")
	}
	b.accessible("stage")
	b.clean()
}

// TestConsoleHostileText: names and evidence from a model are text, and what
// they hide is visible.
func TestConsoleHostileText(t *testing.T) {
	p, b := console(t)
	dir := t.TempDir()
	name := "<img src=x onerror=alert(1)>\u202egnp.pkl"
	write(t, filepath.Join(dir, name), "cposix\nsystem\n(S'<script>alert(2)</script>'\ntR.")
	p.must(1, "registry", "push", "team/hostile", dir)
	for _, hash := range []string{"#/artifacts/" + digestOf(p, "team/hostile"), "#/findings?search=team/hostile", "#/models/team/hostile"} {
		b.show(hash)
		if n := eval[int](b, "document.querySelectorAll('main img, main script, main iframe').length"); n != 0 {
			t.Errorf("%s: %d elements from hostile text", hash, n)
		}
		if raw := eval[bool](b, "document.body.innerText.includes('\\u202e')"); raw {
			t.Errorf("%s: a bidirectional override is in the text", hash)
		}
	}
	b.show("#/artifacts/" + digestOf(p, "team/hostile"))
	b.until("document.querySelector('.finding')")
	text := eval[string](b, "document.querySelector('main').innerText")
	b.until("document.querySelector('#h-files ~ .scroll td .bad')") // the verdict is beside the hostile name
	for _, want := range []string{"<img src=x onerror=alert(1)>", "U+202E", "<script>alert(2)</script>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
	b.accessible("hostile")
	b.clean()
}

// TestConsoleSignIn: the one-time link leaves the URL and works once; a wrong
// key says what to do.
func TestConsoleSignIn(t *testing.T) {
	p := start(t, "")
	b := openBrowser(t, p.API)
	b.look(1440, "light")
	link := p.Link[strings.Index(p.Link, "#"):]
	b.do(chromedp.Navigate(p.API + "/" + link))
	b.until("document.querySelector('nav.side')")
	if at := eval[string](b, "location.href"); strings.Contains(at, "link=") {
		t.Errorf("the token is still in the URL %s", at)
	}
	b.until(settled)
	b.accessible("empty")
	b.click(".empty button.primary") // load demo data
	b.until("document.querySelector('[data-demo]') && document.querySelector('#routes tbody tr')")
	b.click("[data-demo] button")
	b.until("!document.querySelector('[data-demo]') && document.querySelector('.empty')")
	b.click("button[aria-label='Sign out']")
	b.until("document.querySelector('#credential')")
	b.accessible("login")
	b.clean()

	b.fill("#credential", "wdn_wrong")
	b.click("main.login button[type=submit]")
	b.until("document.querySelector('.note.bad')")
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(p.API+"/"+link))
	b.until("document.querySelector('.note.bad')")
	b.shot("login-error")
	if text := eval[string](b, "document.querySelector('.note.bad').innerText"); !strings.Contains(text, "What to do") {
		t.Errorf("the error has no hint: %s", text)
	}
}

// TestConsoleAudit: the whole log is verified, and a proof is offered, by hand
// and key alone; an export holds every row.
func TestConsoleAudit(t *testing.T) {
	p, b := console(t)
	for range 5 { // more entries than one page shows
		p.must(0, "demo", "load")
	}
	last := -1
	p.eventually(10*time.Second, "the records of the traffic", func() bool { // the gateway writes them behind its answers
		var now struct{ Size int }
		p.get("/api/v1/audit/checkpoint", &now)
		same := now.Size == last
		last = now.Size
		time.Sleep(1200 * time.Millisecond) // a checkpoint comes every second
		return same
	})
	eval[bool](b, `(() => { const make = URL.createObjectURL; URL.createObjectURL = x => { x.text().then(text => window.saved = text); return make.call(URL, x) }; return true })()`)
	b.show("#/audit")
	b.click("main .head button.primary")
	b.until("document.querySelector('[data-verified=true]')")
	b.click("tbody button.link")
	var sealed struct{ Size int }
	p.eventually(5*time.Second, "a checkpoint over the entry", func() bool {
		p.get("/api/v1/audit/checkpoint", &sealed)
		return sealed.Size > eval[int](b, "+document.querySelector('tbody button.link').textContent.replace(/\\D/g, '')") // more may have come since
	})
	b.click("tr.detail button")
	b.until(`window.saved?.includes('"checkpoint"')`)
	all := b.rows()
	eval[bool](b, "window.saved = '', true")
	b.click(".export button")
	b.until("window.saved")
	b.show("#/audit?entry=0") // the oldest entry is far down
	b.until("document.querySelector('tr.detail')")
	if lines := eval[int](b, "window.saved.trim().split('\\r\\n').length"); lines != all+1 || all <= 50 {
		t.Errorf("the export has %d lines, want a heading and %d rows (more than 50)", lines, all)
	}
	b.clean()
}

// worst is the most urgent group of findings.
func worst(p *platform) string {
	p.t.Helper()
	var gs listJSON[struct{ ID string }]
	p.get("/api/v1/inbox?state=active&limit=1", &gs)
	if len(gs.Items) == 0 {
		p.t.Fatal("the inbox is empty")
	}
	return gs.Items[0].ID
}

// TestConsoleInbox: triage by keys alone, of one finding and of many at once,
// and what nobody owns gets an owner.
func TestConsoleInbox(t *testing.T) {
	p, b := console(t)
	b.show("#/inbox")
	first := worst(p)
	b.keys("jx")
	b.until("document.querySelector('.bulk')")
	b.keys("jx")
	b.until("document.querySelectorAll('tbody input:checked').length === 2")
	b.keys("i")
	b.until("document.activeElement.matches('.bulk [data-note]')")
	b.keys("a lab machine")
	b.click(".bulk button[type=submit]")
	b.until("!document.querySelector('.bulk')")
	var g struct {
		State, Note string
		Activity    []struct{ What string }
	}
	p.get("/api/v1/inbox/"+first, &g)
	if g.State != "ignored" || g.Note != "a lab machine" {
		t.Errorf("the finding is %+v, want ignored", g)
	}
	b.show("#/inbox?state=ignored")
	if n := b.rows(); n != 2 {
		t.Errorf("%d ignored findings are found again, want 2", n)
	}
	b.show("#/assets/model:registry:demo%2Fvision")
	b.until("document.querySelector('#f-owner')")
	b.fill("#f-owner", "group:vision")
	b.click(".panel .triage button[type=submit]")
	b.until("document.querySelector('.panel .facts')?.innerText.includes('group:vision')")
	b.clean()
}

// TestConsoleKeys: pages and rows are reached by keys alone, and triage works.
func TestConsoleKeys(t *testing.T) {
	p, b := console(t)
	b.show("#/posture")
	b.keys("gf")
	b.until("location.hash === '#/inbox'")
	b.until(settled)
	b.show("#/findings")
	b.keys("jjk")
	b.keys("o")
	b.until("/^#\\/findings\\/\\d+$/.test(location.hash) && document.querySelector('.panel h2')")
	b.click(".triage input[value=accepted]")
	b.fill("#note", "known demo")
	b.click(".triage button")
	b.until("document.querySelector('.panel .note')?.innerText.includes('known demo')")
	var group struct{ State, Note string }
	id := regexp.MustCompile(`\d+`).FindString(eval[string](b, "location.hash"))
	p.get("/api/v1/findings/"+id, &group)
	if group.State != "accepted" || group.Note != "known demo" {
		t.Errorf("the finding is %+v, want accepted", group)
	}
	eval[bool](b, "document.activeElement.blur(), true")
	b.keys("?")
	b.until("document.querySelector('dialog[open] kbd')")
	b.click("dialog header button")
	b.keys("gm")
	b.until("location.hash === '#/models'")
	b.until(settled)
	b.keys("/")
	b.until("document.activeElement.matches('[data-filter]')")
	b.keys("churn")
	b.until("location.hash === '#/models?search=churn' && document.querySelectorAll('tbody tr').length === 1")
	b.fill("[data-search]", "free-gpt5")
	b.until("document.querySelector('.hits a')")
	b.click(".hits a")
	b.until("location.hash === '#/models/demo/free-gpt5-weights'")
	b.until("document.querySelector('#versions ~ .scroll tbody tr')")
	b.until(settled)
	b.clean()

	p.kill()
	b.until("document.querySelector('[data-live=false]')?.textContent.includes('not live since')")
	time.Sleep(100 * time.Millisecond)
	if !eval[bool](b, "!!document.querySelector('tbody tr')") {
		t.Error("what was on the page is gone with the connection")
	}
}
