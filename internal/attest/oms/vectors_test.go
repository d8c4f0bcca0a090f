package oms_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
)

const vectors = "../../../../shared/data/oms"

type vector struct {
	ID, Category, Method, Model, Expect, Bundle, Trust string
	Online                                             bool
	SigInside                                          bool `json:"sig_inside_model"`
	Verify                                             struct {
		PublicKey      string   `json:"public_key"`
		CertChain      []string `json:"cert_chain"`
		Identity       string
		Issuer         string   `json:"identity_provider"`
		IgnorePaths    []string `json:"ignore_paths"`
		IgnoreUnsigned bool     `json:"ignore_unsigned_files"`
	}
	Sign *struct {
		PrivateKey  string   `json:"private_key"`
		SigningCert string   `json:"signing_cert"`
		CertChain   []string `json:"cert_chain"`
		IgnorePaths []string `json:"ignore_paths"`
	}
	Changes struct {
		Tamper, Inject, Symlinks map[string]string
		Delete                   []string
	} `json:"model_modifications"`
	Signed []string `json:"expected_signed_files"`
}

// UnmarshalJSON takes trust as one path or as a list.
func (v *vector) UnmarshalJSON(b []byte) error {
	type plain vector
	x := struct {
		*plain
		Trust any
	}{plain: (*plain)(v)}
	if err := json.Unmarshal(b, &x); err != nil {
		return err
	}
	v.Trust, _ = x.Trust.(string)
	return nil
}

func load(t *testing.T) (upstream, own []vector) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectors, "manifest.json"))
	if err != nil {
		t.Skipf("no vectors: %v", err)
	}
	var m struct{ Vectors, Own []vector }
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m.Vectors, m.Own
}

func asset(t *testing.T, name string) []byte {
	t.Helper()
	for _, dir := range []string{"assets", ""} {
		if b, err := os.ReadFile(filepath.Join(vectors, dir, name)); err == nil {
			return b
		}
	}
	t.Fatalf("no asset %s", name)
	return nil
}

func certificates(t *testing.T, names ...string) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, n := range names {
		for rest := asset(t, n); ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

func signer(t *testing.T, name string) *attest.Signer {
	t.Helper()
	key := privateKey(t, asset(t, name))
	s, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func privateKey(t *testing.T, text []byte) *ecdsa.PrivateKey {
	t.Helper()
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			t.Fatal("no private key")
		}
		if b.Type == "EC PRIVATE KEY" {
			key, err := x509.ParseECPrivateKey(b.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		if b.Type == "PRIVATE KEY" {
			key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key.(*ecdsa.PrivateKey)
		}
	}
}

// modelOf copies the model of a case and changes it as the case says.
func modelOf(t *testing.T, v vector) string {
	t.Helper()
	from, to := filepath.Join(vectors, v.Model), filepath.Join(t.TempDir(), filepath.Base(v.Model))
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(dst, 0o755)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range v.Changes.Tamper {
		write(t, filepath.Join(to, name), text)
	}
	for name, text := range v.Changes.Inject {
		write(t, filepath.Join(to, name), text)
	}
	for name, target := range v.Changes.Symlinks {
		if err := os.Symlink(target, filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range v.Changes.Delete {
		if err := os.Remove(filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	if v.Model == "assets/models/single-file" { // the conformance suite signs the one file in it
		list, err := os.ReadDir(to)
		if err != nil || len(list) != 1 {
			t.Fatalf("single file model: %v, %v", list, err)
		}
		return filepath.Join(to, list[0].Name())
	}
	return to
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T, v vector) oms.VerifyConfig {
	t.Helper()
	cfg := oms.VerifyConfig{Ignore: v.Verify.IgnorePaths, IgnoreUnsigned: v.Verify.IgnoreUnsigned, Now: time.Now()}
	switch v.Method {
	case "key":
		key, err := attest.ParsePublicPEM(asset(t, v.Verify.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Key = key
	case "certificate":
		cfg.Roots = certificates(t, v.Verify.CertChain...)
	}
	return cfg
}

func run(ctx context.Context, t *testing.T, v vector) error {
	t.Helper()
	model := modelOf(t, v)
	cfg := config(t, v)
	var bundle []byte
	if v.Bundle != "" {
		bundle = asset(t, v.Bundle)
	} else {
		signature := filepath.Join(t.TempDir(), "model.sig")
		if v.SigInside {
			signature = filepath.Join(model, "model.sig")
		}
		ignore := v.Sign.IgnorePaths
		if len(ignore) == 0 {
			ignore = v.Verify.IgnorePaths
		}
		m, err := oms.Read(ctx, model, oms.SignConfig{Ignore: ignore, Signature: signature})
		if err != nil {
			return err
		}
		var names []string
		for _, r := range m.Resources {
			names = append(names, r.Name)
		}
		if len(v.Signed) > 0 && !slices.Equal(names, v.Signed) {
			t.Errorf("signed %q, want %q", names, v.Signed)
		}
		var chain []*x509.Certificate
		if v.Sign.SigningCert != "" {
			chain = certificates(t, append([]string{v.Sign.SigningCert}, v.Sign.CertChain...)...)
		}
		if bundle, err = oms.Sign(m, signer(t, v.Sign.PrivateKey), chain); err != nil {
			return err
		}
		if v.SigInside {
			write(t, signature, string(bundle))
		}
		cfg.Signature = signature
	}
	r, err := oms.Verify(ctx, bundle, model, cfg)
	if err == nil && !r.Verified {
		t.Errorf("no error and not verified: %+v", r)
	}
	return err
}

func TestVectors(t *testing.T) {
	upstream, own := load(t)
	for name, list := range map[string][]vector{"upstream": upstream, "own": own} {
		ran := 0
		for _, v := range list {
			if v.Method == "sigstore" {
				continue // the leaf keyless runs them
			}
			ran++
			t.Run(name+"/"+v.ID, func(t *testing.T) {
				err := run(t.Context(), t, v)
				switch {
				case v.Expect == "pass" && err != nil:
					t.Errorf("want pass: %v", err)
				case v.Expect == "fail" && err == nil:
					t.Error("want a rejection, it passed")
				case v.Expect == "fail" && !oms.IsRejected(err):
					t.Errorf("want a rejection, could not finish: %v", err)
				}
			})
		}
		t.Logf("%s: %d of %d without a log entry", name, ran, len(list))
	}
}
