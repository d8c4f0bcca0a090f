package keyless_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/attest/keyless"
	"github.com/modelwarden/warden/internal/attest/oms"
)

const vectors = "../../../../shared/data/oms"

type vector struct {
	ID, Method, Model, Expect, Bundle string
	Verify                            struct {
		Identity    string
		Issuer      string   `json:"identity_provider"`
		IgnorePaths []string `json:"ignore_paths"`
	}
	Online  bool
	Changes struct {
		Tamper map[string]string
	} `json:"model_modifications"`
}

// modelOf copies the model of a case and changes it as the case says.
func modelOf(t *testing.T, v vector) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(to, os.DirFS(filepath.Join(vectors, v.Model))); err != nil {
		t.Fatal(err)
	}
	for name, text := range v.Changes.Tamper {
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestVectors verifies the bundles with a log entry, offline.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(vectors, "manifest.json"))
	if err != nil {
		t.Skipf("no vectors: %v", err)
	}
	var m struct{ Vectors, Own []vector }
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, v := range append(m.Vectors, m.Own...) {
		if v.Method != "sigstore" || v.Online {
			continue
		}
		ran++
		t.Run(v.ID, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(vectors, v.Bundle))
			if err != nil {
				t.Fatal(err)
			}
			k, err := keyless.NewVerifier(keyless.VerifierConfig{Identity: v.Verify.Identity, Issuer: v.Verify.Issuer})
			if err != nil {
				t.Fatal(err)
			}
			r, err := oms.Verify(t.Context(), b, modelOf(t, v), oms.VerifyConfig{Keyless: k, Ignore: v.Verify.IgnorePaths, Now: time.Now()})
			switch {
			case v.Expect == "pass" && err != nil:
				t.Errorf("want pass: %v", err)
			case v.Expect == "fail" && !oms.IsRejected(err):
				t.Errorf("want a rejection, got %v", err)
			case v.Expect == "pass" && (r.Signer != v.Verify.Identity || r.CertTime.IsZero()):
				t.Errorf("signer %q at %v", r.Signer, r.CertTime)
			}
		})
	}
	if ran < 10 {
		t.Errorf("%d cases ran", ran)
	}
}

func TestIdentityIsNeeded(t *testing.T) {
	for name, cfg := range map[string]keyless.VerifierConfig{
		"nobody": {}, "no_issuer": {Identity: "a@example.com"}, "both": {Identity: "a", IdentityPattern: "a", Issuer: "i"},
		"bad_pattern": {IdentityPattern: "(", Issuer: "i"}, "bad_root": {Identity: "a", Issuer: "i", TrustedRoot: []byte("{")},
	} {
		if _, err := keyless.NewVerifier(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Patterns are for the whole text: a prefix is another identity.
func TestPatternsAreAnchored(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(vectors, "historical/historical-v1.1.0-sigstore/bundle.sig"))
	if err != nil {
		t.Skipf("no vectors: %v", err)
	}
	for pattern, ok := range map[string]bool{`stefanb@us\.ibm\.com`: true, `stefanb@us\.ibm`: false, `.*@us\.ibm\.com`: true, `tefanb@us\.ibm\.com`: false} {
		k, err := keyless.NewVerifier(keyless.VerifierConfig{IdentityPattern: pattern, Issuer: "https://sigstore.verify.ibm.com/oauth2"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Verify(t.Context(), b); (err == nil) != ok {
			t.Errorf("%s: %v, want accepted %v", pattern, err, ok)
		}
	}
}
