package api_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// person makes an access key of a human being and returns the name to call with.
func (b *bench) person(user string, roles ...string) string {
	b.T.Helper()
	_, secret, err := b.Access.CreateKey(b.T.Context(), access.NewKey{Name: user, Roles: roles}, warden.Principal{ID: "user:" + user})
	if err != nil {
		b.T.Fatal(err)
	}
	b.keys[user] = secret.Reveal()
	return user
}

// pushAs pushes one file as somebody, and scans it.
func (b *bench) pushAs(user, model, text string) registry.Artifact {
	b.T.Helper()
	info, err := b.Blobs.Put(b.T.Context(), strings.NewReader(text), warden.Digest{}, 1<<20)
	if err != nil {
		b.T.Fatal(err)
	}
	resp, answer := b.do(user, "POST", "/api/v1/artifacts", fmt.Sprintf(`{"model":%q,"files":[{"path":"m.pkl","digest":%q,"size":%d}]}`, model, info.Digest, info.Size))
	b.want(200, "", resp, answer)
	var v struct{ Artifact struct{ Digest string } }
	decode(b.T, answer, &v)
	d, err := warden.ParseDigest(v.Artifact.Digest)
	if err != nil {
		b.T.Fatal(err)
	}
	a, err := b.Examiner.Examine(b.T.Context(), d)
	if err != nil {
		b.T.Fatal(err)
	}
	return a
}

func decode(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
}

func newSigner(t testing.TB) (*attest.Signer, string) {
	t.Helper()
	key, err := attest.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := attest.PublicPEM(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s, string(text)
}

// signed returns a bundle over a model of one file.
func signed(t testing.TB, s *attest.Signer, text string, chain ...*x509.Certificate) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.pkl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := oms.Read(t.Context(), dir, oms.SignConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := oms.Sign(m, s, chain)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func said(t testing.TB, s *attest.Signer, d warden.Digest, kind string, predicate any) string {
	t.Helper()
	st, err := attest.New(kind, predicate, d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := attest.SignStatement(s, st)
	if err != nil {
		t.Fatal(err)
	}
	return string(e)
}

// certificate makes a certificate of key by a new authority, and returns both.
func certificate(t testing.TB, s *attest.Signer, from, to time.Time) (leaf *x509.Certificate, root string) {
	t.Helper()
	ca, err := attest.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	make := func(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, ca)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	top := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: from, NotAfter: to.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	top = make(top, top, &ca.PublicKey)
	leaf = make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "release"}, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}, top, s.Public())
	return leaf, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: top.Raw}))
}

type attachedJSON struct {
	Verified, New  bool
	Signer, Reason string
	Artifact       struct{ State, Why string }
}

func (b *bench) attach(who string, d warden.Digest, text string) attachedJSON {
	b.T.Helper()
	resp, answer := b.do(who, "POST", "/api/v1/artifacts/"+d.String()+"/statements", text)
	b.want(200, "", resp, answer)
	var out attachedJSON
	decode(b.T, answer, &out)
	return out
}

type trustJSON struct {
	Version int64
	Entries []struct{ ID, State string }
	Changed []struct{ Artifact, Before, After string }
}

func (b *bench) trust(fields map[string]any) trustJSON {
	b.T.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		b.T.Fatal(err)
	}
	resp, answer := b.do("admin", "POST", "/api/v1/trust", string(text))
	b.want(200, "", resp, answer)
	var out trustJSON
	decode(b.T, answer, &out)
	return out
}

func (b *bench) revoke(id, how string) trustJSON {
	b.T.Helper()
	resp, answer := b.do("admin", "POST", "/api/v1/trust/"+id+"/revoke", fmt.Sprintf(`{"revocation":%q,"reason":"lost"}`, how))
	b.want(200, "", resp, answer)
	var out trustJSON
	decode(b.T, answer, &out)
	return out
}

func (b *bench) facts(d warden.Digest) (signed bool, signers []string) {
	b.T.Helper()
	p, err := b.Judge.Papers(b.T.Context(), d, "")
	if err != nil {
		b.T.Fatal(err)
	}
	return p.Facts.Signed, p.Facts.Signers
}

const signatureType = oms.PredicateType

// TestAttach: what is attached counts as far as somebody is trusted, and no
// further.
func TestAttach(t *testing.T) {
	b := newBench(t)
	a := b.pushAs("engineer", "team/good", servertest.Clean)
	d := a.Digest
	s, pub := newSigner(t)
	bundle := signed(t, s, servertest.Clean)

	got := b.attach("engineer", d, bundle)
	if got.Verified || !got.New || !strings.Contains(got.Reason, "not trusted") || got.Artifact.State != "admitted" {
		t.Errorf("before anybody is trusted: %+v", got)
	}
	if ok, _ := b.facts(d); ok {
		t.Error("an unverified signature became a fact")
	}
	if l := b.trust(map[string]any{"id": "release", "kind": "key", "value": pub, "predicates": []string{signatureType}, "subjects": []string{"team/*"}}); l.Version != 1 || len(l.Entries) != 2 {
		t.Errorf("trust = %+v", l)
	}
	if ok, who := b.facts(d); !ok || len(who) != 1 || who[0] != "release" {
		t.Errorf("after release is trusted: signed %v by %v", ok, who)
	}
	if got = b.attach("engineer", d, bundle); !got.Verified || got.New || got.Signer != "release" {
		t.Errorf("the same again: %+v", got)
	}
	if got = b.attach("engineer", d, signed(t, s, servertest.Clean)); !got.Verified || got.New {
		t.Errorf("the same payload, signed again: %+v", got)
	}
	t.Run("refused", func(t *testing.T) {
		for name, tt := range map[string]struct {
			who, text string
			status    int
			code      string
		}{
			"bundle_of_another_model":    {"engineer", signed(t, s, "other bytes"), 400, "invalid"},
			"statement_about_another":    {"engineer", said(t, s, warden.Sum(nil), attest.ProvenanceType, map[string]any{}), 400, "invalid"},
			"reader":                     {"reader", bundle, 403, "denied"},
			"client":                     {"client", bundle, 403, "denied"},
			"no_statement":               {"engineer", `{"a":1}`, 400, "invalid"},
			"no_json":                    {"engineer", `junk`, 400, "invalid"},
			"truncated":                  {"engineer", bundle[:len(bundle)/2], 400, "invalid"},
			"duplicate_names":            {"engineer", strings.Replace(bundle, `"mediaType"`, `"mediaType":"x","mediaType"`, 1), 400, "invalid"},
			"bundle_without_a_statement": {"engineer", `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{}}`, 400, "invalid"},
		} {
			resp, text := b.do(tt.who, "POST", "/api/v1/artifacts/"+d.String()+"/statements", tt.text)
			if resp.StatusCode != tt.status {
				t.Errorf("%s: %d %.300s, want %d", name, resp.StatusCode, text, tt.status)
			}
		}
	})
	t.Run("wrong_key", func(t *testing.T) {
		other, _ := newSigner(t)
		if got := b.attach("engineer", d, signed(t, other, servertest.Clean)); got.Verified || !got.New {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("revoked_keeps_what_came_before", func(t *testing.T) {
		b.revoke("release", "signed-after")
		if ok, _ := b.facts(d); !ok {
			t.Error("a signature from before the revocation fell")
		}
		b.Skip(time.Second)
		late := b.pushAs("engineer", "team/late", strings.Replace(servertest.Clean, "0.5", "0.25", 1)).Digest
		if got := b.attach("engineer", late, signed(t, s, strings.Replace(servertest.Clean, "0.5", "0.25", 1))); got.Verified || !strings.Contains(got.Reason, "revoked") {
			t.Errorf("a signature from after it: %+v", got)
		}
		b.revoke("release", "all")
		if ok, _ := b.facts(d); ok {
			t.Error("a signature of a revoked signer counts")
		}
		resp, text := b.do("admin", "POST", "/api/v1/trust/release/revoke", `{"revocation":"all","reason":"again"}`)
		b.want(409, "conflict", resp, text)
	})
	t.Run("listed_with_reasons", func(t *testing.T) {
		_, text := b.do("reader", "GET", "/api/v1/artifacts/"+d.String()+"/statements", "")
		if !strings.Contains(text, `"reason":"release: signer is revoked"`) || !strings.Contains(text, `"signer":"server"`) {
			t.Errorf("statements: %.2000s", text)
		}
	})
	if n := len(b.Trail("registry.attach")); n != 3 {
		t.Errorf("%d attach events, want 3: those that were new", n)
	}
}

// TestTrustEntries: an entry counts for its time, its types and its models.
func TestTrustEntries(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	d := b.pushAs("engineer", "team/good", servertest.Clean).Digest
	s, pub := newSigner(t)
	leaf, root := certificate(t, s, now.Add(-time.Hour), now.Add(time.Hour))
	old, oldRoot := certificate(t, s, now.Add(-2*time.Hour), now.Add(-time.Hour))
	_, foreign := certificate(t, s, now.Add(-time.Hour), now.Add(time.Hour))
	for _, tt := range []struct {
		name   string
		entry  map[string]any
		bundle string
		want   string // part of the reason; "": it counts
	}{
		{"key", map[string]any{"kind": "key", "value": pub}, signed(t, s, servertest.Clean), ""},
		{"key_not_yet", map[string]any{"kind": "key", "value": pub, "not_before": now.Add(time.Hour)}, signed(t, s, servertest.Clean), "not valid at this time"},
		{"key_expired", map[string]any{"kind": "key", "value": pub, "not_after": now.Add(-time.Hour)}, signed(t, s, servertest.Clean), "not valid at this time"},
		{"other_type", map[string]any{"kind": "key", "value": pub, "predicates": []string{attest.ProvenanceType}}, signed(t, s, servertest.Clean), "not trusted for this predicate"},
		{"other_model", map[string]any{"kind": "key", "value": pub, "subjects": []string{"lab/*"}}, signed(t, s, servertest.Clean), "not trusted for this model"},
		{"namespace", map[string]any{"kind": "key", "value": pub, "subjects": []string{"team"}}, signed(t, s, servertest.Clean), ""},
		{"certificate", map[string]any{"kind": "ca", "value": root}, signed(t, s, servertest.Clean, leaf), ""},
		{"expired_certificate", map[string]any{"kind": "ca", "value": oldRoot}, signed(t, s, servertest.Clean, old), "expired"},
		{"foreign_certificate", map[string]any{"kind": "ca", "value": foreign}, signed(t, s, servertest.Clean, leaf), "certificate"},
		{"key_for_a_certificate", map[string]any{"kind": "key", "value": pub}, signed(t, s, servertest.Clean, leaf), "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry["id"] = "e." + strings.ReplaceAll(tt.name, "_", "-")
			if tt.entry["predicates"] == nil {
				tt.entry["predicates"] = []string{signatureType}
			}
			b.trust(tt.entry)
			got := b.attach("engineer", d, tt.bundle)
			if tt.want == "" != got.Verified || !strings.Contains(got.Reason, tt.want) {
				t.Errorf("got %+v, want %q", got, tt.want)
			}
			b.revoke(tt.entry["id"].(string), "all")
		})
	}
	for name, body := range map[string]string{
		"no_kind": `{"id":"x","value":"x","predicates":["p"]}`, "bad_key": `{"id":"x","kind":"key","value":"x","predicates":["p"]}`, "server": `{"id":"server","kind":"identity","value":"x","issuer":"y","predicates":["p"]}`,
		"no_issuer": `{"id":"x","kind":"identity","value":"x","predicates":["p"]}`, "no_types": `{"id":"x","kind":"identity","value":"x","issuer":"y","predicates":[]}`,
		"twice": `{"id":"e.key","kind":"identity","value":"x","issuer":"y","predicates":["p"]}`, "bad_glob": `{"id":"y","kind":"identity","value":"x","issuer":"y","predicates":["p"],"subjects":["a/[b"]}`,
	} {
		if resp, text := b.do("admin", "POST", "/api/v1/trust", body); resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	for _, role := range []string{"reader", "engineer", "security", "client"} {
		if resp, text := b.do(role, "POST", "/api/v1/trust", `{"id":"x","kind":"identity","value":"x","issuer":"y","predicates":["p"]}`); resp.StatusCode != 403 {
			t.Errorf("%s adds trust: %d %s", role, resp.StatusCode, text)
		}
	}
}

// TestCertified: a statement of a trusted signer takes an artifact out, and only
// one of the same scope brings it back. A change of trust decides again.
func TestCertified(t *testing.T) {
	b := newBench(t)
	d := b.pushAs("engineer", "team/good", servertest.Clean).Digest
	s, pub := newSigner(t)
	b.trust(map[string]any{"id": "psirt", "kind": "key", "value": pub, "predicates": []string{attest.CertifyBadType, attest.CertifyGoodType}})
	bad := said(t, s, d, attest.CertifyBadType, attest.Certification{Scope: "artifact", Justification: "backdoor"})
	if got := b.attach("security", d, bad); got.Artifact.State != "denied" || !strings.Contains(got.Artifact.Why, "no-quarantined") {
		t.Errorf("certified as bad: %+v", got)
	}
	if resp, _ := b.do("reader", "GET", "/api/v1/artifacts/"+d.String()+"/files/m.pkl", ""); resp.StatusCode != 403 {
		t.Errorf("download of what is certified as bad: %d", resp.StatusCode)
	}
	b.Skip(time.Second)
	if got := b.attach("security", d, said(t, s, d, attest.CertifyGoodType, attest.Certification{Scope: "other", Justification: "x"})); got.Artifact.State != "denied" {
		t.Errorf("good of another scope: %+v", got)
	}
	if got := b.attach("security", d, said(t, s, d, attest.CertifyGoodType, attest.Certification{Scope: "artifact", Justification: "false alarm"})); got.Artifact.State != "admitted" {
		t.Errorf("certified as good: %+v", got)
	}
	b.Skip(time.Second)
	if got := b.attach("security", d, said(t, s, d, attest.CertifyBadType, attest.Certification{Scope: "artifact", Justification: "it is one"})); got.Artifact.State != "denied" {
		t.Errorf("bad again: %+v", got)
	}
	l := b.revoke("psirt", "all")
	if len(l.Changed) != 1 || l.Changed[0].Artifact != d.String() || l.Changed[0].After != "admitted" {
		t.Errorf("revoking the signer changed %+v", l.Changed)
	}
	if es := b.Trail("trust.changed"); len(es) != 1 || !strings.Contains(es[0], d.String()) {
		t.Errorf("trust.changed: %v", es)
	}
	t.Run("own_old_statement_is_no_news", func(t *testing.T) {
		p, err := b.Judge.Papers(t.Context(), d, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := b.attach("engineer", d, string(p.All[0].Statement.Envelope)); got.New {
			t.Errorf("an old scan was taken as new: %+v", got)
		}
	})
	t.Run("approval_in_another_name", func(t *testing.T) {
		k, pub := newSigner(t)
		b.trust(map[string]any{"id": "eve", "kind": "key", "value": pub, "principal": "user:eve", "predicates": []string{attest.ApprovalType}})
		if got := b.attach("engineer", d, said(t, k, d, attest.ApprovalType, attest.Approval{Who: "user:cat", Action: "promote"})); got.Verified {
			t.Errorf("eve approved for cat: %+v", got)
		}
		if got := b.attach("engineer", d, said(t, k, d, attest.ApprovalType, attest.Approval{Who: "user:eve", Action: "promote"})); !got.Verified {
			t.Errorf("eve's own approval: %+v", got)
		}
	})
}

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
