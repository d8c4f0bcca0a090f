package secret_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/text/secret"
	"github.com/modelwarden/warden/internal/text/stream"
)

// streamed returns what is found in a text that comes in pieces of n bytes.
func streamed(t testing.TB, r *secret.Rules, s string, n int) string {
	t.Helper()
	plan, err := stream.NewPlan([]stream.Trigger{{Slot: 0, Words: r.Words()}, {Slot: 1, Words: secret.PEMWords()}, {Slot: 2, Bytes: "."}, {Slot: 3, Words: []string{"eyj"}}})
	if err != nil {
		t.Fatal(err)
	}
	text := stream.New(plan, []stream.Recogniser{{Run: r.In, Cap: secret.WindowCap}, {Run: secret.PEM}, {Run: secret.JWT}, {Run: secret.LongJWT, Cap: secret.TokenCap}})
	var out []string
	tell := func(m stream.Match) {
		switch {
		case m.More:
		case m.Kind == "secret":
			out = append(out, m.Note)
		default:
			out = append(out, m.Kind)
		}
	}
	for len(s) > n {
		text.Add([]byte(s[:n]), false, tell)
		s = s[n:]
	}
	text.Add([]byte(s), true, tell)
	return strings.Join(out, " ")
}

// TestIn: a stream finds what a look at the whole text finds.
func TestIn(t *testing.T) {
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
		{"jwt", "see eyJhbGciOiJIUzI1NiJ9." + letters(mixed, 3000) + "." + letters(mixed, 43) + " end", "jwt"},
		{"jwt_of_no_header", "see eyJ" + letters(mixed, 20) + ".b.c", ""},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			if got := streamed(t, r, tt.text, n); got != tt.want {
				t.Errorf("%s in pieces of %d: %q, want %q", tt.name, n, got, tt.want)
			}
		}
	}
}

func FuzzIn(f *testing.F) {
	r := load(f)
	f.Add("token = AKIA"+letters(upper, 16)+" x", 3)
	f.Add("-----BEGIN RSA PRIV"+"ATE KEY-----abc-----END x eyJhbGciOiJIUzI1NiJ9.a.b", 1)
	f.Add("api_key: '"+letters(mixed, 700), 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if len(s) > 10_000 {
			return
		}
		if got, want := streamed(t, r, s, max(1, n)), streamed(t, r, s, len(s)+1); got != want {
			t.Errorf("%q in pieces of %d: %q, whole %q", s, n, got, want)
		}
	})
}
