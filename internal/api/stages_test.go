package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// TestPromotion follows a version to production with four eyes.
func TestPromotion(t *testing.T) {
	b := newBench(t)
	ann, bob, cat := b.person("ann", "engineer"), b.person("bob", "engineer"), b.person("cat", "security")
	d := b.pushAs(ann, "team/good", servertest.Clean).Digest
	const at = "/api/v1/models/team/good/versions/1"
	step := func(who, path, body string, status int, code, want string) {
		t.Helper()
		resp, text := b.do(who, "POST", at+path, body)
		b.want(status, code, resp, text)
		if !strings.Contains(text, want) {
			t.Errorf("%s %s: %s, want %q", who, path, text, want)
		}
	}
	missing := func(who, to string) string {
		t.Helper()
		resp, text := b.do(who, "GET", at+"/promotion?to="+to, "")
		b.want(200, "", resp, text)
		var p struct {
			Allowed    bool
			Conditions []struct {
				Policy, Needs, Fix string
				Met                bool
			}
		}
		decode(t, text, &p)
		var out []string
		for _, c := range p.Conditions {
			if !c.Met {
				out = append(out, c.Policy)
			}
		}
		if p.Allowed != (len(out) == 0) {
			t.Errorf("allowed %v, missing %v", p.Allowed, out)
		}
		return strings.Join(out, " ")
	}
	step(ann, "/promote", `{"to":"staging","reason":"try it"}`, 200, "", `"after":"staging"`)
	step(ann, "/promote", `{"to":"staging","reason":"again"}`, 409, "conflict", "already")
	step(ann, "/promote", `{"to":"prod","from":"dev","reason":"late"}`, 409, "conflict", "not in dev any more")
	step("reader", "/promote", `{"to":"dev","reason":"x"}`, 403, "denied", "permitted")
	if got := missing(ann, "prod"); got != "prod-approved prod-four-eyes prod-signed" {
		t.Errorf("ann lacks %q", got)
	}
	if got := missing(bob, "prod"); got != "prod-approved prod-signed" {
		t.Errorf("bob lacks %q", got)
	}
	step(bob, "/promote", `{"to":"prod","reason":"go"}`, 403, "denied", "prod-signed")

	s, pub := newSigner(t)
	b.trust(map[string]any{"id": "release", "kind": "key", "value": pub, "principal": "user:sid", "predicates": []string{signatureType}})
	b.attach(ann, d, signed(t, s, servertest.Clean))
	sid := b.person("sid", "engineer")
	step(ann, "/approvals", `{"to":"prod","reason":"mine"}`, 403, "denied", "approve-others")
	step(sid, "/approvals", `{"to":"prod","reason":"I signed it"}`, 403, "denied", "approve-others")
	step("reader", "/approvals", `{"to":"prod","reason":"x"}`, 403, "denied", "")
	step(bob, "/approvals", `{"to":"prod","role":"admin","reason":"x"}`, 403, "denied", "has not the role")
	step(cat, "/approvals", `{"to":"prod","role":"security","reason":"looked at it"}`, 200, "", `"statement"`)
	step(cat, "/promote", `{"to":"prod","reason":"mine"}`, 403, "denied", "prod-approved")
	step(cat, "/approvals", `{"to":"prod","withdraw":true,"reason":"wait"}`, 200, "", "")
	if got := missing(bob, "prod"); got != "prod-approved" {
		t.Errorf("after the approval was taken back bob lacks %q", got)
	}
	b.Skip(time.Second)
	step(cat, "/approvals", `{"to":"prod","days":1,"reason":"go"}`, 200, "", "")
	b.Skip(25 * time.Hour)
	if got := missing(bob, "prod"); got != "prod-approved" {
		t.Errorf("after the approval ended bob lacks %q", got)
	}
	step(cat, "/approvals", `{"to":"prod","reason":"go"}`, 200, "", "")
	// Another key of cat is no second person, and cannot promote what cat approved.
	_, second, err := b.Access.CreateKey(t.Context(), access.NewKey{Name: "2", Roles: []string{"engineer"}}, warden.Principal{ID: "user:cat"})
	if err != nil {
		t.Fatal(err)
	}
	b.keys["cat2"] = second.Reveal()
	step("cat2", "/promote", `{"to":"prod","reason":"mine"}`, 403, "denied", "prod-approved")
	step(sid, "/promote", `{"to":"prod","reason":"mine"}`, 403, "denied", "prod-four-eyes")
	step(bob, "/promote", `{"to":"prod","from":"staging","reason":"release"}`, 200, "", `"after":"prod"`)

	_, text := b.do("reader", "GET", "/api/v1/models/team/good/history", "")
	var h struct {
		Items []struct{ Before, After, By, Decision string }
	}
	decode(t, text, &h)
	if len(h.Items) != 2 || h.Items[0].After != "staging" || h.Items[1].Before != "staging" || h.Items[1].After != "prod" {
		t.Errorf("history = %+v", h.Items)
	}
	if n := len(b.Trail("registry.promote")); n != 2 {
		t.Errorf("%d promotions in the log, want 2", n)
	}
	if n := len(b.Trail("registry.promote-refused")); n != 5 {
		t.Errorf("%d refused promotions in the log, want 5", n)
	}
	t.Run("signed_summary", func(t *testing.T) {
		dd, err := warden.ParseDigest(h.Items[1].Decision)
		if err != nil {
			t.Fatal(err)
		}
		var dec registry.Decision
		if err := b.Store.View(t.Context(), func(r registry.Reader) (err error) {
			dec, err = r.Decision(t.Context(), dd)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, st, err := attest.Open(dec.Envelope)
		if err != nil || st.PredicateType != attest.VSAType || st.Subjects[0] != d || !strings.Contains(string(st.Predicate), `"verificationResult":"PASSED"`) || !strings.Contains(string(st.Predicate), "WARDEN_STAGE_PROD") {
			t.Errorf("statement %+v, %v", st, err)
		}
	})
	t.Run("explained_and_replayed", func(t *testing.T) { replays(t, b, h.Items[1].Decision, d) })
	t.Run("revoked_signer_blocks_the_next", func(t *testing.T) {
		b.revoke("release", "all")
		step(bob, "/promote", `{"to":"archived","reason":"rolled back"}`, 200, "", "")
		step(bob, "/promote", `{"to":"prod","reason":"again"}`, 403, "denied", "prod-signed")
	})
}

// replays exports a decision, makes it again, and finds every change in it.
func replays(t *testing.T, b *bench, decision string, d warden.Digest) {
	resp, text := b.do("reader", "GET", "/api/v1/explain?ref="+url.QueryEscape(decision), "")
	b.want(200, "", resp, text)
	var x struct {
		Reasons []struct {
			Policy string
			Fired  bool
			Reads  []struct{ Path, Value string }
		}
		Statements []struct{ Reason string }
		Seq        int64
		Export     json.RawMessage
	}
	decode(t, text, &x)
	if len(x.Reasons) == 0 || !x.Reasons[0].Fired || x.Seq < 0 || len(x.Statements) < 3 || !strings.Contains(text, `"resource.signed","value":"true"`) {
		t.Errorf("explanation: %.3000s", text)
	}
	r, err := registry.Replay(x.Export)
	if err != nil || len(r.Diffs) != 0 || r.Effect != warden.Allow {
		t.Fatalf("Replay = %+v, %v", r, err)
	}
	for name, change := range map[string][2]string{
		"effect": {`"effect":"allow"`, `"effect":"deny"`}, "fact": {`"signed":true`, `"signed":false`}, "policy": {`resource.approvals.count \u003c 1`, `resource.approvals.count \u003c 9`},
		"request": {`"to":"prod"`, `"to":"staging"`}, "reason": {`"engineers-modify"`, `"admins"`}, "role": {`"roles":["engineer"]`, `"roles":["reader"]`},
	} {
		forged := strings.Replace(string(x.Export), change[0], change[1], 1)
		if forged == string(x.Export) {
			forged = strings.Replace(string(x.Export), strings.ReplaceAll(change[0], `\u003c`, "<"), strings.ReplaceAll(change[1], `\u003c`, "<"), 1)
		}
		if r, err := registry.Replay([]byte(forged)); err == nil && len(r.Diffs) == 0 || forged == string(x.Export) {
			t.Errorf("a changed %s was not noticed: %+v, %v", name, r.Diffs, err)
		}
	}
	resp, text = b.do("reader", "GET", "/api/v1/explain?action=admit&ref=team/good@1", "")
	b.want(200, "", resp, text)
	if !strings.Contains(text, "admit-examined") || !strings.Contains(text, d.String()) {
		t.Errorf("explanation of the admission: %.2000s", text)
	}
	resp, text = b.do("reader", "GET", "/api/v1/explain?at=2001-01-01T00:00:00Z&ref=team/good", "")
	b.want(404, "not_found", resp, text)
	if _, err := registry.Replay([]byte(`{"schema":"x"}`)); err == nil {
		t.Error("another schema was taken")
	}
}

// TestAtOnce: of two that do the same at once, one does.
func TestAtOnce(t *testing.T) {
	b := newBench(t)
	ann := b.person("ann", "engineer")
	b.pushAs(ann, "team/good", servertest.Clean)
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 8 {
		wg.Go(func() {
			req, err := http.NewRequest("POST", b.url+"/api/v1/models/team/good/versions/1/promote", strings.NewReader(`{"to":"staging","from":"dev","reason":"race"}`))
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+b.keys[ann])
			req.Header.Set("Content-Type", "application/json")
			resp, err := b.client.Do(req)
			if err != nil {
				return
			}
			resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			codes[resp.StatusCode]++
		})
	}
	wg.Wait()
	if codes[200] != 1 || codes[409] != 7 {
		t.Errorf("eight promotions at once: %v, want one done and seven conflicts", codes)
	}
	if h := b.Trail("registry.promote"); len(h) != 1 {
		t.Errorf("%d promotions in the log, want 1", len(h))
	}
	// Two pushes of one name at once get two numbers, of the same bytes one.
	pushed := map[int]int{}
	for i := range 4 {
		wg.Go(func() {
			v, err := b.Registry.Push(t.Context(), registry.Push{Model: "team/race", Actor: servertest.Admin(), Manifest: b.manifest(fmt.Sprintf("(dp0\nS'%d'\np1\nF0.5\ns.", i%2))})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			pushed[v.Number]++
		})
	}
	wg.Wait()
	if len(pushed) < 2 || pushed[1] == 0 || pushed[2] == 0 {
		t.Errorf("versions of pushes at once: %v", pushed)
	}
}

func (b *bench) manifest(text string) registry.Manifest {
	info, err := b.Blobs.Put(b.T.Context(), strings.NewReader(text), warden.Digest{}, 1<<20)
	if err != nil {
		b.T.Error(err)
	}
	return registry.Manifest{Files: []registry.File{{Path: "m.pkl", Digest: info.Digest, Size: info.Size}}}
}
