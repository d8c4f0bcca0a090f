package oms_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
)

// bundleOf signs files in a folder and returns the bundle.
func bundleOf(t testing.TB, cfg oms.SignConfig, files map[string]string) (bundle []byte, s *attest.Signer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := attest.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = attest.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	m, err := oms.Read(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if bundle, err = oms.Sign(m, s, nil); err != nil {
		t.Fatal(err)
	}
	return bundle, s
}

func listed(files map[string]string) map[string]oms.Listed {
	out := map[string]oms.Listed{}
	for name, text := range files {
		out[name] = oms.Listed{Digest: warden.Sum([]byte(text)), Size: int64(len(text))}
	}
	return out
}

// TestCompare: a signature over files counts for exactly these files, by digests
// that are known already.
func TestCompare(t *testing.T) {
	model := map[string]string{"a.bin": "weights", "sub/config.json": "{}", "skip/x.py": "1", ".gitattributes": "x"}
	with := func(change func(map[string]string)) map[string]string {
		out := maps.Clone(model)
		change(out)
		return out
	}
	skip := oms.SignConfig{Ignore: []string{"skip"}}
	for _, tt := range []struct {
		name  string
		cfg   oms.SignConfig
		files map[string]string
		want  string // part of the refusal; "": none
	}{
		{"same", skip, model, ""},
		{"changed", skip, with(func(m map[string]string) { m["a.bin"] = "other" }), "digest differs"},
		{"missing", skip, with(func(m map[string]string) { delete(m, "a.bin") }), "is no file of this artifact"},
		{"added", skip, with(func(m map[string]string) { m["modeling.py"] = "1" }), "was not signed"},
		{"swapped", skip, with(func(m map[string]string) { m["a.bin"], m["sub/config.json"] = m["sub/config.json"], m["a.bin"] }), "digest differs"},
		{"other_hash", oms.SignConfig{Ignore: []string{"skip"}, Hash: "blake3"}, model, "only sha256"},
		{"one_shard_each", oms.SignConfig{Ignore: []string{"skip"}, Shard: 100}, model, ""},
		{"several_shards", oms.SignConfig{Ignore: []string{"skip"}, Shard: 3}, model, "several parts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bundle, s := bundleOf(t, tt.cfg, model)
			p, err := oms.Peek(bundle)
			if err != nil || !p.Signed() || p.Method != oms.MethodKey || p.Hint != s.ID() {
				t.Fatalf("Peek = %+v, %v", p, err)
			}
			if _, err := oms.Authenticate(t.Context(), bundle, oms.VerifyConfig{Key: s.Public()}); err != nil {
				t.Errorf("Authenticate = %v", err)
			}
			r, err := oms.Compare(p.Payload, listed(tt.files), warden.Sum(bundle))
			if tt.want == "" && err != nil || tt.want != "" && (!oms.IsRejected(err) || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("Compare = %+v, %v, want %q", r, err, tt.want)
			}
			if tt.want == "" && strings.Join(r.Ignored, " ") != ".gitattributes skip/x.py" {
				t.Errorf("left out: %v", r.Ignored)
			}
		})
	}
	t.Run("bundle_in_the_artifact", func(t *testing.T) {
		bundle, _ := bundleOf(t, skip, model)
		p, err := oms.Peek(bundle)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := oms.Compare(p.Payload, listed(with(func(m map[string]string) { m["model.sig"] = string(bundle) })), warden.Sum(bundle)); err != nil {
			t.Errorf("Compare = %v", err)
		}
	})
}

func FuzzDecodePeek(f *testing.F) {
	bundle, _ := bundleOf(f, oms.SignConfig{}, map[string]string{"a": "1"})
	f.Add(bundle)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":""}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := oms.Peek(b)
		if err != nil {
			return
		}
		if _, err := oms.Compare(p.Payload, listed(map[string]string{"a": "1"}), warden.Sum(b)); err == nil && !p.Signed() {
			t.Errorf("%q is a signature over files", p.PredicateType)
		}
	})
}
