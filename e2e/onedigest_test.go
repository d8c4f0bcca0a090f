//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
)

type artifactJSON struct {
	Digest, State, Why, Verdict string
}

type versionJSON struct {
	Model    string
	Number   int
	Artifact artifactJSON
}

type listJSON[T any] struct {
	Items []T
	Next  string
}

// upstream is a model server that answers every chat request.
func upstream(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a client's credential reached the upstream")
		}
		w.Header().Set("Content-Type", "application/json")
		said := "hi"
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "guarded") {
			said = "the card is 4111 1111 1111 1111"
		}
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, said)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String() + "/v1"
}

// TestOneDigest follows one hostile and one clean model through every
// enforcement point that exists. Each capability adds its step. It is never
// skipped.
func TestOneDigest(t *testing.T) {
	dir := t.TempDir()
	hostile, clean := filepath.Join(dir, "hostile.pkl"), filepath.Join(dir, "clean.pkl")
	write(t, hostile, "cposix\nsystem\n(S'echo hello'\ntR.")
	write(t, clean, "(dp0\nS'weight'\np1\nF0.5\ns.")
	config := filepath.Join(dir, "warden.yaml")
	write(t, config, fmt.Sprintf(`gateway:
  routes:
    - {name: bad, model: team/bad, upstream: %[1]q, allow_private: [127.0.0.0/8]}
    - {name: good, model: team/good@1, upstream: %[1]q, allow_private: [127.0.0.0/8]}
    - {name: guarded, model: team/good@1, upstream: %[1]q, allow_private: [127.0.0.0/8], guard: {preset: standard, rules: {WDN-EX-502: deny}}}
`, upstream(t)))
	p := start(t, "", "--config", config)

	var digest string // of the hostile artifact
	t.Run("scan", func(t *testing.T) {
		out := p.must(1, "scan", hostile, clean)
		if !strings.Contains(out, "posix.system('echo hello')") || !strings.Contains(out, "1 malicious, 1 clean") {
			t.Errorf("scan says:\n%s", out)
		}
	})
	t.Run("push_and_deny", func(t *testing.T) {
		if out := p.must(1, "registry", "push", "team/bad", hostile); !strings.Contains(out, "denied") {
			t.Errorf("push of the hostile model says:\n%s", out)
		}
		p.must(0, "registry", "push", "team/good", clean)
		var v versionJSON
		p.get("/api/v1/find?ref=team/bad", &v)
		digest = v.Artifact.Digest
		if v.Artifact.State != "denied" || v.Artifact.Verdict != "malicious" {
			t.Fatalf("got %+v", v)
		}
	})
	t.Run("signed_statement", func(t *testing.T) { checkStatement(t, p, digest) })
	t.Run("attested_before_push", func(t *testing.T) {
		// The statement of the command line is about the digest that the registry has.
		p.must(0, "key", "generate", "--out", filepath.Join(dir, "ci"))
		p.must(1, "scan", "--attest", filepath.Join(dir, "scan.json"), "--key", filepath.Join(dir, "ci.key"), hostile)
		text, err := os.ReadFile(filepath.Join(dir, "scan.json"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := attest.DecodeEnvelope(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := attest.Decode(e.Payload)
		if err != nil || s.Subjects[0].String() != digest {
			t.Errorf("the statement is about %v (%v), the registry has %s", s.Subjects, err, digest)
		}
	})
	t.Run("signed_and_verified", func(t *testing.T) {
		sig := filepath.Join(dir, "clean.sig")
		p.must(0, "sign", clean, "--signature", sig, "--key", filepath.Join(dir, "ci.key"))
		if out := p.must(0, "verify", clean, "--signature", sig, "--key", filepath.Join(dir, "ci.pub")); !strings.Contains(out, "1 of 1 as signed") {
			t.Errorf("verify says:\n%s", out)
		}
		p.must(1, "verify", hostile, "--signature", sig, "--key", filepath.Join(dir, "ci.pub"))
		p.must(1, "verify", clean, "--key", filepath.Join(dir, "ci.pub")) // the server holds none
		p.must(1, "registry", "attach", "team/good@1", sig)               // kept, though nobody trusts the signer yet
		p.must(0, "verify", clean, "--key", filepath.Join(dir, "ci.pub"))
	})
	t.Run("looked_into", func(t *testing.T) {
		var in struct {
			Members []struct {
				Verdict string
				Opcodes []struct{ Name string }
			}
		}
		p.get("/api/v1/artifacts/"+digest+"/structure?path=hostile.pkl", &in)
		if len(in.Members) != 1 || in.Members[0].Verdict != "malicious" || len(in.Members[0].Opcodes) != 6 {
			t.Errorf("got %+v, want one malicious member of six opcodes", in.Members)
		}
		if out := p.must(0, "inspect", hostile); !strings.Contains(out, "posix.system('echo hello')") {
			t.Errorf("inspect says:\n%s", out)
		}
	})
	t.Run("refused_at_download", func(t *testing.T) {
		if status := p.get("/api/v1/artifacts/"+digest+"/files/hostile.pkl", nil); status != http.StatusForbidden {
			t.Errorf("API download: status %d, want 403", status)
		}
		out := filepath.Join(t.TempDir(), "out")
		p.must(1, "registry", "pull", "team/bad", out)
		if _, err := os.Stat(filepath.Join(out, "hostile.pkl")); err == nil {
			t.Error("the refused file was written")
		}
	})
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "app", "--role", "client"))
	t.Run("refused_at_gateway", func(t *testing.T) {
		if status, body := p.chat(key, "bad", false); status != http.StatusServiceUnavailable || !strings.Contains(body, "model_not_admitted") {
			t.Errorf("route of the hostile model: %d %s", status, body)
		}
		if status, body := p.chat(key, "good", false); status != http.StatusOK {
			t.Errorf("route of the clean model: %d %s", status, body)
		}
		if status, _ := p.chat("wdn_wrong", "good", false); status != http.StatusUnauthorized {
			t.Errorf("wrong key: status %d, want 401", status)
		}
	})
	t.Run("blocked_exchange_is_proven", func(t *testing.T) { checkBlocked(t, p, dir, key) })
	t.Run("one_finding_group", func(t *testing.T) {
		var groups listJSON[struct {
			Rule, Subject, Severity, State string
			Artifacts                      int
		}]
		p.get("/api/v1/findings?state=open", &groups)
		if len(groups.Items) != 1 || groups.Items[0].Rule != "WDN-MF-001" || groups.Items[0].Subject != "model:team/bad" || groups.Items[0].Artifacts != 1 {
			t.Errorf("got %+v, want the one group of the hostile model", groups.Items)
		}
	})
	t.Run("first_in_the_inbox", func(t *testing.T) { checkInbox(t, p, dir) })
	t.Run("audit_proof", func(t *testing.T) { checkProof(t, p, digest) })
	t.Run("papers_to_production", func(t *testing.T) { checkPapers(t, p, dir, clean, digest) })
	t.Run("policies_are_tried_before_they_hold", func(t *testing.T) { checkPolicies(t, p, dir, digest) })
	t.Run("quarantine_is_everywhere_within_a_second", func(t *testing.T) { checkQuarantine(t, p, key) })
	t.Run("puller_is_named", func(t *testing.T) {
		var v versionJSON
		p.get("/api/v1/find?ref=team/good@1", &v)
		var blast struct {
			Takers []struct{ Principal string }
		}
		p.get("/api/v1/artifacts/"+v.Artifact.Digest+"/blast", &blast)
		if len(blast.Takers) != 1 || blast.Takers[0].Principal != "user:local" {
			t.Errorf("takers = %+v, want user:local who pulled it", blast.Takers)
		}
	})
	t.Run("log_is_whole", func(t *testing.T) {
		p.eventually(3*time.Second, "the last records", func() bool {
			return strings.Contains(p.must(0, "audit", "list", "--action", "gateway.traffic"), "gateway.traffic")
		})
		if out := p.must(0, "audit", "verify"); !strings.Contains(out, "whole") {
			t.Errorf("audit verify says:\n%s", out)
		}
	})
	t.Run("no_secret_in_logs", func(t *testing.T) {
		for _, secret := range []string{key, p.Key, "hello"} {
			if strings.Contains(p.logs.String(), secret) {
				t.Errorf("the log holds %.12q…", secret)
			}
		}
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkStatement verifies the scan statement outside the platform, with the
// public key alone.
func checkStatement(t *testing.T, p *platform, digest string) {
	var sts listJSON[struct{ Envelope json.RawMessage }]
	p.get("/api/v1/artifacts/"+digest+"/statements", &sts)
	if len(sts.Items) != 1 {
		t.Fatalf("%d statements, want 1", len(sts.Items))
	}
	var cp struct {
		StatementKey string `json:"statement_key"`
	}
	p.get("/api/v1/audit/checkpoint", &cp)
	block, _ := pem.Decode([]byte(cp.StatementKey))
	if block == nil {
		t.Fatal("no statement key")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	d, err := warden.ParseDigest(digest)
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.TrustStore{{ID: "server", Key: pub.(*ecdsa.PublicKey), Predicates: []string{attest.ScanType}}}
	claims, rejected := attest.Verify(d, [][]byte{sts.Items[0].Envelope}, trust, time.Now())
	if len(claims) != 1 || len(rejected) != 0 || !strings.Contains(string(claims[0].Statement.Predicate), `"verdict":"malicious"`) {
		t.Errorf("claims %+v, rejected %+v", claims, rejected)
	}
}

// checkProof verifies, outside the platform, that the denial is in the log.
func checkProof(t *testing.T, p *platform, digest string) {
	var entries listJSON[struct {
		Seq  uint64
		Leaf string
	}]
	p.get("/api/v1/audit?action=policy.decide&object="+url.QueryEscape("artifact:"+digest), &entries)
	if len(entries.Items) != 1 {
		t.Fatalf("%d decisions in the log, want 1", len(entries.Items))
	}
	e := entries.Items[0]
	var proof audit.Proof
	p.eventually(5*time.Second, "a checkpoint over the decision", func() bool {
		return p.get(fmt.Sprintf("/api/v1/audit/%d/proof", e.Seq), &proof) == http.StatusOK
	})
	var cp struct{ Verifier string }
	p.get("/api/v1/audit/checkpoint", &cp)
	v, err := audit.NewVerifier(cp.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := audit.OpenCheckpoint([]byte(proof.Checkpoint), v)
	if err != nil {
		t.Fatal(err)
	}
	at := audit.Checkpoint{Size: tree.Size, Note: []byte(proof.Checkpoint)}
	if err := proof.Check([]byte(e.Leaf), at, v); err != nil {
		t.Error(err)
	}
	forged := strings.Replace(e.Leaf, "policy.decide", "policy.forged", 1)
	if proof.Check([]byte(forged), at, v) == nil {
		t.Error("a forged entry was proved")
	}
}

// checkPapers signs the clean model, brings it to production with four eyes, and
// makes that decision again without the server. The hostile one goes nowhere.
func checkPapers(t *testing.T, p *platform, dir, clean, hostile string) {
	file := func(name string) string { return filepath.Join(dir, name) }
	person := func(who, role string) string {
		name := file(who + ".secret")
		p.must(0, "access", "user", "add", "user:"+who, "--role", role)
		write(t, name, p.must(0, "access", "key", "create", "--name", who, "--user", "user:"+who, "--role", role))
		return name
	}
	p.must(0, "key", "generate", "--out", file("release"))
	p.must(0, "sign", clean, "--key", file("release.key"), "--signature", file("clean.sig"))
	p.must(1, "registry", "attach", "team/good@1", file("clean.sig")) // kept, and counts for nothing
	p.must(1, "registry", "attach", hostile, file("clean.sig"))
	p.must(0, "trust", "add", "release", "--key", file("release.pub"), "--held-by", "user:sid", "--model", "team/*")
	if out := p.must(0, "registry", "attach", "team/good@1", file("clean.sig")); !strings.Contains(out, "signed by release") {
		t.Errorf("attach says:\n%s", out)
	}
	bob, cat := person("bob", "engineer"), person("cat", "security")
	if out := p.must(1, "--key-file", bob, "registry", "promote", "team/good@1", "--to", "prod", "--check"); !strings.Contains(out, "prod-approved") || strings.Contains(out, "missing  its files are signed") {
		t.Errorf("promote --check says:\n%s", out)
	}
	p.must(1, "--key-file", bob, "registry", "promote", "team/good@1", "--to", "prod", "--reason", "too early")
	p.must(1, "registry", "approve", "team/good@1", "--to", "prod", "--reason", "I pushed it")
	p.must(0, "--key-file", cat, "registry", "approve", "team/good@1", "--to", "prod", "--role", "security", "--reason", "looked at it")
	p.must(1, "--key-file", cat, "registry", "promote", "team/good@1", "--to", "prod", "--reason", "I approved it")
	p.must(0, "--key-file", bob, "registry", "promote", "team/good@1", "--to", "prod", "--reason", "release")
	if out := p.must(0, "registry", "history", "team/good"); !strings.Contains(out, "user:bob") || !strings.Contains(out, "prod") {
		t.Errorf("history says:\n%s", out)
	}
	p.must(1, "--key-file", bob, "registry", "promote", "team/bad@1", "--to", "staging", "--reason", "try")

	if out := p.must(0, "explain", "team/good@1", "--action", "promote"); !strings.Contains(out, "resource.signed = true") || !strings.Contains(out, "by release") {
		t.Errorf("explain says:\n%s", out)
	}
	p.must(0, "explain", "team/good@1", "--action", "promote", "--export", file("decision.json"))
	if out := p.must(0, "decide", "--replay", file("decision.json")); !strings.Contains(out, "the same as then") {
		t.Errorf("decide says:\n%s", out)
	}
	text, err := os.ReadFile(file("decision.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, file("forged.json"), strings.Replace(string(text), `"signed":true`, `"signed":false`, 1))
	p.must(1, "decide", "--replay", file("forged.json"))
	p.must(0, "trust", "revoke", "release", "--all", "--reason", "key lost")
	p.must(0, "--key-file", bob, "registry", "promote", "team/good@1", "--to", "staging", "--reason", "rolled back")
	if out := p.must(1, "--key-file", bob, "registry", "promote", "team/good@1", "--to", "prod", "--check"); !strings.Contains(out, "missing  its files are signed") {
		t.Errorf("after the signer was revoked promote --check says:\n%s", out)
	}
}

// checkPolicies applies a policy set after a dry run, and keeps it when another
// one does not parse.
func checkPolicies(t *testing.T, p *platform, dir, hostile string) {
	file := func(name string) string { return filepath.Join(dir, name) }
	write(t, file("standard.cedar"), p.must(0, "policy", "print"))
	write(t, file("kind.cedar"), "@id(\"review-all\")\npermit (principal, action == Action::\"admit\", resource) when { resource.scan.present };\n")
	write(t, file("broken.cedar"), "@id(\"x\")\npermit (principal, action == Action::\"admit\", resource)\n  when { resource.verdikt };\n")
	permissive := strings.Replace(p.must(0, "policy", "print"), "[\"malicious\", \"unsafe\"].contains(resource.scan.verdict)", "resource.scan.verdict == \"unsafe\"", 1)
	write(t, file("permissive.cedar"), permissive)
	if out := p.must(0, "policy", "simulate", file("permissive.cedar"), file("kind.cedar")); !strings.Contains(out, "admit of team/bad@1 "+hostile+": was deny, would be allow (review-all)") {
		t.Errorf("simulate says:\n%s", out)
	}
	if out := p.must(0, "policy", "diff", file("standard.cedar"), file("kind.cedar")); !strings.Contains(out, "+ @id(\"review-all\")") || !strings.Contains(out, "0 would come out otherwise") {
		t.Errorf("diff says:\n%s", out)
	}
	if out := p.must(0, "policy", "apply", file("standard.cedar"), file("kind.cedar"), "--reason", "kinder"); !strings.Contains(out, "version 1 holds") {
		t.Errorf("apply says:\n%s", out)
	}
	p.must(1, "policy", "apply", file("standard.cedar"), file("broken.cedar"), "--reason", "broken")
	if out := p.must(0, "policy", "list"); !strings.Contains(out, "version 1 holds: custom@") {
		t.Errorf("list says:\n%s", out)
	}
	var v versionJSON
	if p.get("/api/v1/find?ref=team/bad", &v); v.Artifact.State != "denied" {
		t.Errorf("the hostile model is %s", v.Artifact.State)
	}
}

// checkQuarantine opens every surface of the clean model, quarantines it, and
// expects every surface to refuse within one second.
func checkQuarantine(t *testing.T, p *platform, key string) {
	var v versionJSON
	p.get("/api/v1/find?ref=team/good@1", &v)
	d := v.Artifact.Digest
	surfaces := map[string]func() bool{ // each reports whether it lets the model through
		"download":       func() bool { return p.get("/api/v1/artifacts/"+d+"/files/clean.pkl", nil) == http.StatusOK },
		"gateway":        func() bool { status, _ := p.chat(key, "good", false); return status == http.StatusOK },
		"gateway_stream": func() bool { status, _ := p.chat(key, "good", true); return status == http.StatusOK },
		"model_list": func() bool {
			_, b := request(t, http.MethodGet, p.Gateway+"/v1/models", key, "")
			return strings.Contains(string(b), `"good"`)
		},
		"command": func() bool {
			_, _, code := p.warden("registry", "pull", d, filepath.Join(t.TempDir(), "out"))
			return code == 0
		},
	}
	for name, open := range surfaces {
		if !open() {
			t.Errorf("%s refuses before the quarantine", name)
		}
	}
	begin := time.Now()
	p.must(0, "registry", "quarantine", "team/good@1", "--reason", "drill")
	for name, open := range surfaces {
		if open() {
			t.Errorf("%s lets the quarantined model through %v after the command began", name, time.Since(begin))
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("asking every surface took %v: too slow to say within one second", took)
	}
	p.must(0, "registry", "release", "team/good@1", "--reason", "drill is over")
	p.eventually(time.Second, "the released model to be served again", surfaces["gateway"])
}
