package secret_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/text/secret"
)

// load reads the rules that the scanner uses.
func load(t testing.TB) *secret.Rules {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "rules", "secrets", "gitleaks.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := secret.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// letters makes text without a pattern, so that no real secret lies in a test.
func letters(alphabet string, n int) string {
	var b strings.Builder
	x := uint32(7)
	for range n {
		x = x*1664525 + 1013904223
		b.WriteByte(alphabet[int(x>>16)%len(alphabet)])
	}
	return b.String()
}

const (
	upper = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
	small = "abcdefghijklmnopqrstuvwxyz"
	mixed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

func TestRules(t *testing.T) {
	if err := load(t).Check(); err != nil {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	r := load(t)
	key := "-----BEGIN RSA PRIV" + "ATE KEY-----\n" + letters(mixed, 600) + "\n-----END RSA PRIV" + "ATE KEY-----\n"
	for _, tt := range []struct{ name, text, want string }{
		{"aws", "aws_access_key_id = AKIA" + letters(upper, 16) + "\n", "aws-access-token"},
		{"hugging_face", "token hf" + "_" + letters(small, 34) + "\n", "huggingface-access-token"},
		{"github", "https://x:ghp" + "_" + letters(mixed, 36) + "@github.com/a/b", "github-pat"},
		{"openai", "OPENAI_API_KEY=sk-" + letters(mixed, 20) + "T3Blbk" + "FJ" + letters(mixed, 20) + "\n", "openai-api-key"},
		{"slack", `{"hook": "https://hooks.slack.com/services/T` + letters(upper, 10) + "/B" + letters(upper, 10) + "/" + letters(mixed, 24) + `"}`, "slack-webhook-url"},
		{"private_key", key, "private-key"},
		{"generic", `{"api_key": "` + letters(mixed, 32) + `"}`, "generic-api-key"},
		{"example", "aws_access_key_id = AKIAIOSFODNN7EXAM" + "PLE", ""},
		{"placeholder", "api_key = your_api_key_here\ntoken: ${HF_TOKEN}\npassword: <password>", ""},
		{"repeated", "hf" + "_" + strings.Repeat("x", 34), ""},
		{"words", "AKIA is the prefix; hf_hub_download; the key of the map; sk-learn", ""},
		{"vocabulary", strings.Repeat(`"Ġtoken": 17, "key": 18, "Ġsk": 19, "s.": 20, "Ġauthentication": 21, `, 50), ""},
		{"digest", "sha256: " + letters("0123456789abcdef", 64), ""},
	} {
		hits, err := r.Find(t.Context(), "a.txt", []byte(tt.text), 0, len(tt.text))
		got := ""
		for _, h := range hits {
			got += h.Rule
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestBounds(t *testing.T) {
	r := load(t)
	text := strings.Repeat("words ", 5000) + "AKIA" + letters(upper, 16) + strings.Repeat(" words", 5000)
	at := strings.Index(text, "AKIA")
	for _, b := range []struct{ lo, hi, want int }{{0, len(text), 1}, {0, at, 0}, {at, at + 1, 1}, {at + 1, len(text), 0}} {
		hits, err := r.Find(t.Context(), "", []byte(text), b.lo, b.hi)
		if err != nil || len(hits) != b.want {
			t.Errorf("from %d to %d: %v, %v", b.lo, b.hi, hits, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	dense := []byte(strings.Repeat("secret token: api_key 0123456789abcdef0 ", 1<<19))
	start := time.Now()
	if _, err := r.Find(ctx, "", dense, 0, len(dense)); err == nil {
		t.Error("20 MB of words are done in a millisecond")
	}
	if d := time.Since(start); d > 200*time.Millisecond {
		t.Errorf("stopped after %v", d)
	}
}

// TestMany hides one real token behind generic ones.
func TestMany(t *testing.T) {
	text := strings.Repeat(`"api_key": "`+letters(mixed, 32)+"\",\n", 3000) + "x = ghp" + "_" + letters(mixed, 36) + "\n"
	hits, err := load(t).Find(t.Context(), "a.json", []byte(text), 0, len(text))
	if err != nil || len(hits) < 1001 || hits[len(hits)-1].Rule != "github-pat" {
		t.Errorf("%d hits, %v", len(hits), err)
	}
}

func TestRedact(t *testing.T) {
	whole := "hf" + "_" + letters(small, 34)
	if got := secret.Redact(whole); got != whole[:4]+"… (37 characters)" {
		t.Error(got)
	}
	if got := secret.Redact("short"); got != "… (5 characters)" {
		t.Error(got)
	}
}

func TestParse(t *testing.T) {
	for name, table := range map[string]string{
		"nothing":     "# a comment\n",
		"before":      "words\ta\n",
		"unknown":     "rule\ta\t0\t0\t\tx\nwords\ta\nmore\n",
		"number":      "rule\ta\tx\t0\t\tx\nwords\ta\n",
		"target":      "allow\tfile\n",
		"no_list":     "not\tx\n",
		"few_fields":  "rule\ta\n",
		"empty_words": "rule\ta\t0\t0\t\tx\nwords\t\n",
	} {
		if _, err := secret.Parse(table); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r, err := secret.Parse("rule\ta\t0\t0\t\t(x\nwords\ta\n")
	if err != nil || r.Check() == nil {
		t.Errorf("an expression that does not compile: %v", err)
	}
}

func FuzzFind(f *testing.F) {
	r := load(f)
	f.Add("token = AKIA"+letters(upper, 16), 0, 100)
	f.Add("curl -u a:b", 3, 5)
	f.Fuzz(func(t *testing.T, s string, lo, hi int) {
		if len(s) > 10_000 {
			return
		}
		one, err := r.Find(t.Context(), "a.yaml", []byte(s), lo, hi)
		two, _ := r.Find(t.Context(), "a.yaml", []byte(s), lo, hi)
		if d := cmp.Diff(one, two); d != "" || err != nil {
			t.Error(d, err)
		}
		for _, h := range one {
			if h.Start < max(0, lo) || h.End > len(s) || h.Start > h.End {
				t.Errorf("%+v of %d bytes", h, len(s))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("rule\ta\t0\t0\t\tx\nwords\ta\nallow\tsecret\nnot\tx\nstop\ty\n")
	f.Fuzz(func(_ *testing.T, s string) { _, _ = secret.Parse(s) })
}

func BenchmarkFind(b *testing.B) {
	r := load(b)
	data := []byte(strings.Repeat(`"Ġtoken": 17, "key": 18, "Ġsk": 19, "s.": 20, "Ġand": 1234, "houses": 4567, "Ġgreat": 99, "ing": 7, "ation": 8,`+"\n", 1<<14))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := r.Find(b.Context(), "tokenizer.json", data, 0, len(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		load(b)
	}
}
