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
	"os"
	"path/filepath"
	"strings"
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
