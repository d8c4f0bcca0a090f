package guard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// fragments are what texts of the property test are put together from: parts of
// what recognisers know, and what they must not trip over.
var fragments = []string{
	" ", "\n", "\n\n", ". ", ", ", "a ", "the card ", "4111 1111 1111 1111", "4111111111111111", "4111-1111-", "1111-1111", "41111111", "1", "0", "-", ".", ":", "+", "(", ") ",
	"karin.lund@skane-mail.se", "karin@", "@skane", ".se", "GB82 WEST 1234 5698 7654 32", "GB82WEST", "12345698765432", "SSN ", "460-89-9847", "call me at ",
	"0494 92 82 32", "+46 8 928 571 38", " fax", " office", "41.173.96.26", "2a00:1450:4001:81b::200e", "00:1b:44:11:3a:b7", "é", "𝄞", "\u200b", "４１１１", "x12",
	"[", "]", "](", "![", "!", "<", ">", "\"", "'", "=", "https://", "http://evil.test/a?b=", "evil.example.org/x.png", "img src=", "a href=", "www.", "/", "?q=", ")", "data:image/png;base64,",
	"iVBORw0KGgo", "eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxIn0.", "c2ln", "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "api_key = ", "password: ", "token=",
	"Zx9Kq2Lm8Vb4Nc7Rt1Wy5Pd3", "AKIA", "QWERTYUIOPASDFGH", "ghp_", "Authorization: Bearer ", "postgres://bob:", "s3cr3tpw@db.internal/x", "\x1b[31m", "\x1b]8;;", "\a",
	"DROP TABLE users;", "rm -rf /", "curl http://a.b/c", " | sh", "=HYPERLINK(", "<script>", "</script>", "javascript:", "onerror=", "url(", "P<UTO", "<<", "[EMAIL_1_k3f9]", "[EMAIL_1",
	"you are the assistant of the northern branch", "and never speak about", " prices of the competition", "Y o u ", "a r e ", "qz7canary4Tx", "qz7can", "ary4Tx", "{", "}", "\\",
	"WW91IGFyZSB0aGUgYXNzaXN0YW50IG9mIHRoZSBub3J0aGVybiBicmFuY2ggYW5kIG5ldmVyIHNwZWFr", "\xff", "\xe2\x82", "0x", "bc1q", "日本語", "١٢٣",
}

func texts(tool bool) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		n := rapid.IntRange(1, 24).Draw(t, "n")
		var b strings.Builder
		for range n {
			switch rapid.IntRange(0, 11).Draw(t, "kind") {
			case 0:
				b.WriteString(rapid.StringN(0, 8, -1).Draw(t, "any"))
			case 1:
				b.WriteString(strings.Repeat(rapid.SampledFrom(fragments).Draw(t, "again"), rapid.IntRange(1, 300).Draw(t, "times")))
			default:
				b.WriteString(rapid.SampledFrom(fragments).Draw(t, "part"))
			}
		}
		if !tool {
			return b.String()
		}
		s := strings.ToValidUTF8(b.String(), "")
		cut := rapid.IntRange(0, len(s)).Draw(t, "cut")
		raw, err := json.Marshal(map[string]any{"a": strings.ToValidUTF8(s[:cut], ""), "b": []any{strings.ToValidUTF8(s[cut:], ""), 4111111111111111, true}})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	})
}

func propertyConfig() (guard.StreamConfig, *chat.Exchange) {
	x := &chat.Exchange{Messages: []chat.Message{{Role: chat.System, Parts: []chat.Part{{Kind: chat.Text, Text: []byte(operatorText)}}}}}
	return guard.StreamConfig{
		PhoneRegions: []string{"US", "DE"}, Canary: "qz7canary4Tx", Words: 6, Restore: map[string]string{"[EMAIL_1_k3f9]": "anna@post.se"},
		ImageHosts: []string{"img.example.net"},
	}, x
}

const operatorText = "You are the assistant of the northern branch and never speak about prices of the competition. The word is qz7canary4Tx."

// sameAnyCut fails if a text that is cut gives another answer than the whole.
func sameAnyCut(t interface {
	Fatalf(format string, args ...any)
}, tb testing.TB, lane chat.Lane, text string, cuts []int,
) {
	cfg, x := propertyConfig()
	want, one := examine(tb, cfg, x, lane, text)
	got, res := examine(tb, cfg, x, lane, text, cuts...)
	if got != want {
		t.Fatalf("cut in %d, %q gives\n%q, whole\n%q", len(cuts), text, got, want)
	}
	if d := cmp.Diff(one, res); d != "" {
		t.Fatalf("cut in %d, %q: %s", len(cuts), text, d)
	}
	if len(one.Findings) == 0 && len(cfg.Restore) == 0 && got != text {
		t.Fatalf("%q became %q without a finding", text, got)
	}
	if lane.Kind == chat.ToolCall && one.Effect != "deny" && json.Valid([]byte(text)) && !json.Valid([]byte(got)) {
		t.Fatalf("%q became %q, which is not JSON", text, got)
	}
}

// cutsOf cuts a text into pieces of up to forty bytes, or into single bytes.
func cutsOf(text string, seed uint32) []int {
	if seed%3 == 0 && len(text) < 3000 {
		return every(text)
	}
	var cuts []int
	for at := 0; at < len(text); {
		seed = seed*1664525 + 1013904223
		at += int(seed>>24)%40 + 1
		cuts = append(cuts, at)
	}
	return cuts
}

// What is not seen goes with the body that it stands in, wherever the text is cut.
func TestHiddenInABody(t *testing.T) {
	const text = "-----BEGIN RSA PRIVATE KEY-----\n\u00adA"
	for i := range len(text) {
		sameAnyCut(t, t, chat.Lane{Kind: chat.Text}, text, []int{i})
	}
}

func TestAnyCut(t *testing.T) {
	for _, lane := range []chat.Lane{textLane, toolLane, {Kind: chat.Reasoning, Choice: 1}} {
		t.Run(string(lane.Kind), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				text := texts(lane.Kind == chat.ToolCall).Draw(r, "text")
				cuts := cutsOf(text, rapid.Uint32().Draw(r, "cuts"))
				sameAnyCut(r, t, lane, text, cuts)
			})
		})
	}
}

func FuzzAnyCut(f *testing.F) {
	f.Add(strings.Join(fragments, ""), uint8(3), false)
	for i := range fragments {
		f.Add("see "+fragments[i]+fragments[(i+7)%len(fragments)]+" end", uint8(1), false)
		raw, _ := json.Marshal(map[string]string{"x": strings.ToValidUTF8(fragments[i], "")})
		f.Add(string(raw), uint8(2), true)
	}
	f.Fuzz(func(t *testing.T, text string, step uint8, tool bool) {
		if len(text) > 20_000 || tool && strings.Count(text, "{")+strings.Count(text, "[") > 64 {
			return // too deep: nothing more leaves, and how much did depends on the pieces
		}
		lane := textLane
		if tool {
			lane = toolLane
		}
		var cuts []int
		for at := int(step%17) + 1; at < len(text); at += int(step%17) + 1 {
			cuts = append(cuts, at)
		}
		sameAnyCut(t, t, lane, text, cuts)
	})
}
