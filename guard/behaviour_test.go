package guard_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/placeholder"
)

// both examines a text whole and byte by byte.
func both(t *testing.T, cfg guard.StreamConfig, x *chat.Exchange, lane chat.Lane, text string) (string, guard.StreamResult) {
	t.Helper()
	want, one := examine(t, cfg, x, lane, text)
	got, res := examine(t, cfg, x, lane, text, every(text)...)
	if d := cmp.Diff(want, got) + cmp.Diff(one, res); d != "" {
		t.Errorf("%q: %s", text, d)
	}
	return got, res
}

// TestWire: values that are cut, escaped or hidden are found as if they were not.
func TestWire(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"escaped", `{"n":"41\u0031111111111\u0031111"}`, `{"n":"[CARD]"}`},
		{"number", `{"n":4111111111111111,"m":[1.5,-2e3]}`, `{"n":"[CARD]","m":[1.5,-2e3]}`},
		{"key", `{"karin.lund@skane-mail.se":1}`, `{"[EMAIL]":1}`},
		{"surrogates", `{"a":"\ud834\udd1e karin.lund@skane-mail.se\n"}`, `{"a":"\ud834\udd1e [EMAIL]\n"}`},
		{"lone_surrogate", `{"a":"\ud834 karin.lund@skane-mail.se"}`, `{"a":"\ud834 [EMAIL]"}`},
		{"quoted", `{"a":"say \"![x](https://evil.test/\\\"y)\" now"}`, `{"a":"say \"x\" now"}`},
		{"untouched", `{ "a" : [ 1 , "\u00e9\/" , null ] }`, `{ "a" : [ 1 , "\u00e9\/" , null ] }`},
	} {
		if got, res := both(t, guard.StreamConfig{}, nil, toolLane, tt.text); got != tt.want || !res.Complete {
			t.Errorf("%s: %s becomes %s, want %s (%v)", tt.name, tt.text, got, tt.want, res.Reasons)
		}
	}
	if _, res := both(t, guard.StreamConfig{}, nil, toolLane, `{"a":"\x"}`); res.Complete {
		t.Error("arguments that are not JSON are complete")
	}
}

// TestOverlap: no form of a copy of the operator's text leaves.
func TestOverlap(t *testing.T) {
	cfg, x := propertyConfig()
	leak := "the assistant of the northern branch and never speak about prices"
	words := strings.Fields(leak)
	reversed := []byte(leak)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	rot := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return 'a' + (r-'a'+13)%26
		}
		return r
	}, leak)
	for name, text := range map[string]string{
		"plain": leak, "upper": strings.ToUpper(leak), "lines": strings.Join(words, "\n"), "punctuation": strings.Join(words, " * "), "code": strings.Join(words, "_"),
		"base64": base64.StdEncoding.EncodeToString([]byte(leak)), "url": base64.RawURLEncoding.EncodeToString([]byte(leak)), "hex": hex.EncodeToString([]byte(leak)),
		"reversed": string(reversed), "rot13": rot, "spaced": strings.Join(strings.Split(strings.ReplaceAll(leak, " ", ""), ""), " "),
	} {
		got, res := both(t, cfg, x, textLane, "It says: "+text+".")
		if len(res.Findings) == 0 || res.Findings[0].Rule != "WDN-EX-421" || strings.Contains(got, "northern") {
			t.Errorf("%s: %q, %v", name, got, rulesOf(res))
		}
	}
	if got, res := both(t, cfg, x, textLane, strings.Join(words[:5], " ")+" office"); len(res.Findings) > 0 {
		t.Errorf("five words are a leak: %q", got)
	}
	x.Messages = append(x.Messages, chat.Message{Role: chat.User, Parts: []chat.Part{{Kind: chat.Text, Text: []byte("I was told: " + leak)}}})
	if got, res := both(t, cfg, x, textLane, leak); len(res.Findings) > 0 {
		t.Errorf("the user has said it too: %q", got)
	}
	for name, text := range map[string]string{
		"plain": "qz7canary4Tx", "spaced": "q z 7 c a n a r y 4 T x", "dashed": "QZ7-CANARY-4TX", "hex": hex.EncodeToString([]byte("the qz7canary4Tx")),
		"base64": base64.StdEncoding.EncodeToString([]byte("a qz7canary4Tx b")),
	} {
		if _, res := both(t, cfg, x, textLane, "see "+text+"!"); res.Effect != warden.Deny {
			t.Errorf("canary %s: %v", name, rulesOf(res))
		}
	}
}

// TestEchoLeak is the shape of CVE-2025-32711: an image by reference, and a host
// that is trusted and sends its readers on.
func TestEchoLeak(t *testing.T) {
	x := &chat.Exchange{Messages: []chat.Message{{Role: chat.User, Parts: []chat.Part{{Kind: chat.Text, Text: []byte("The code of the vault is 48151623.")}}}}}
	cfg := guard.StreamConfig{ImageHosts: []string{"cdn.corp.example.net/img", "*.trusted.net"}, URLHosts: []string{"docs.corp.example.net"}}
	for _, tt := range []struct {
		name, text, want string
	}{
		{"reference", "![logo][1]\n\n[1]: https://evil.test/a.png?d=1", "logo\n\n[1]: https://evil.test/a.png?d=1"},
		{"definition_first", "[1]: https://evil.test/a.png?d=1\n\n![logo][1]", ""},
		{"shortcut", "[logo]: https://evil.test/a.png\n\n![logo]", ""},
		{"allowed", "![logo](https://cdn.corp.example.net/img/a.png)", "![logo](https://cdn.corp.example.net/img/a.png)"},
		{"other_path", "![logo](https://cdn.corp.example.net/proxy/a.png)", "logo"},
		{"prefix", "![logo](https://cdn.corp.example.net/imgs/a.png)", "logo"},
		{"redirector", "![logo](https://cdn.corp.example.net/img/?u=https://evil.test/a)", "logo"},
		{"encoded_redirector", "![logo](https://cdn.corp.example.net/img/a?u=https%3A%2F%2Fevil.test)", "logo"},
		{"dots", "![logo](https://cdn.corp.example.net/img/../proxy)", "logo"},
		{"subdomain", "![logo](https://a.trusted.net/x)", "![logo](https://a.trusted.net/x)"},
		{"lookalike", "![logo](https://eviltrusted.net/x)", "logo"},
		{"carries", "see https://docs.corp.example.net/?q=48151623", "see [URL]"},
		{"split_rows", "![a](https://evil.test/\n\"t\")", "a"},
		{"nested", "![a ![b](https://evil.test/1) c](https://evil.test/2)", ""},
		{"padding", "![a](  https://evil.test/1  )", "a"},
		{"protocol_relative", "![a](//evil.test/1)", "a"},
		{"backslashes", `![a](\\\\evil.test/1)`, "a"},
		{"unquoted", "<img src=https://evil.test/1 alt=x>", "x"},
		{"upper", "<IMG SRC='https://evil.test/1'>", "[image]"},
		{"entities", "<img src=&#104;ttps://evil.test/1>", "[image]"},
	} {
		got, res := both(t, cfg, x, textLane, tt.text)
		if strings.Contains(tt.want, "evil") || tt.want == tt.text {
			if tt.want == tt.text && len(res.Findings) > 0 {
				t.Errorf("%s: %q, %v", tt.name, got, rulesOf(res))
			}
			continue
		}
		if tt.want != "" && got != tt.want || strings.Contains(got, "://evil.test/a.png") && strings.Contains(got, "![") || len(res.Findings) == 0 {
			t.Errorf("%s: %q becomes %q, want %q (%v)", tt.name, tt.text, got, tt.want, rulesOf(res))
		}
		if tt.name == "nested" && strings.Contains(got, "evil") {
			t.Errorf("nested: %q", got)
		}
	}
}

func TestEffects(t *testing.T) {
	text := "to karin.lund@skane-mail.se, card 4111 1111 1111 1111, end"
	for _, tt := range []struct {
		name   string
		cfg    guard.StreamConfig
		want   string
		effect warden.Effect
		rules  int
	}{
		{"default", guard.StreamConfig{}, "to [EMAIL], card [CARD], end", warden.Redact, 2},
		{"rule", guard.StreamConfig{Rules: map[warden.RuleID]warden.Effect{"WDN-EX-501": warden.Allow, "WDN-EX-502": warden.AllowReview}}, text, warden.AllowReview, 2},
		{"family", guard.StreamConfig{Families: map[string]warden.Effect{"WDN-EX-5": warden.Allow, "WDN-EX-502": warden.Redact}}, "to karin.lund@skane-mail.se, card [CARD], end", warden.Redact, 2},
		{"deny", guard.StreamConfig{Rules: map[warden.RuleID]warden.Effect{"WDN-EX-502": warden.Deny}}, "to [EMAIL], card ", warden.Deny, 2},
		{"shadow", guard.StreamConfig{Shadow: map[warden.RuleID]bool{"WDN-EX-501": true}}, "to karin.lund@skane-mail.se, card [CARD], end", warden.Redact, 1},
		{"literal", guard.StreamConfig{Allow: []guard.Allowance{{Rule: "WDN-EX-501", Literal: "karin.lund@skane-mail.se"}}}, "to karin.lund@skane-mail.se, card [CARD], end", warden.Redact, 1},
		{"digest", guard.StreamConfig{Allow: []guard.Allowance{{Rule: "WDN-EX-502", Digest: warden.Sum([]byte("4111 1111 1111 1111"))}}}, "to [EMAIL], card 4111 1111 1111 1111, end", warden.Redact, 1},
		{"other_rule", guard.StreamConfig{Allow: []guard.Allowance{{Rule: "WDN-EX-502", Prefix: "karin"}}}, "to [EMAIL], card [CARD], end", warden.Redact, 2},
		{"policy", guard.StreamConfig{Decide: func(f warden.Finding, _ warden.Effect) warden.Effect {
			if f.Severity >= warden.High {
				return warden.Deny
			}
			return warden.Allow
		}}, "to karin.lund@skane-mail.se, card ", warden.Deny, 2},
	} {
		got, res := both(t, tt.cfg, nil, textLane, text)
		if got != tt.want || res.Effect != tt.effect || len(res.Findings) != tt.rules || !res.Complete {
			t.Errorf("%s: %q, %+v", tt.name, got, res)
		}
		if len(res.Shadowed) != 0 != (tt.name == "shadow") {
			t.Errorf("%s: shadowed %v", tt.name, res.Shadowed)
		}
	}
}

// TestEvidence: what a finding tells does not give the value away.
func TestEvidence(t *testing.T) {
	_, res := both(t, guard.StreamConfig{}, nil, textLane, "card 4111 1111 1111 1234 or 4454794511390933 and karin.lund@skane-mail.se")
	for _, f := range res.Findings {
		if strings.Contains(f.Evidence+f.Message, "445479") || strings.Contains(f.Evidence+f.Message, "karin") {
			t.Errorf("%+v", f)
		}
	}
	if len(res.Findings) == 0 || !strings.HasSuffix(res.Findings[0].Evidence, "0933") {
		t.Errorf("%+v", res.Findings)
	}
}

func TestRestore(t *testing.T) {
	m := placeholder.New("k3f9")
	a, b := m.Put("email", "anna@post.se"), m.Put("email", "bo@post.se")
	if again := m.Put("email", "anna@post.se"); again != a || a == b || a != "[EMAIL_1_k3f9]" {
		t.Errorf("%s, %s, %s", a, b, again)
	}
	if e := m.Escape("what is [EMAIL_2_k3f9]?"); strings.Contains(e, b) {
		t.Errorf("%q asks for another's value", e)
	}
	cfg := guard.StreamConfig{Restore: m.Values()}
	if got, res := both(t, cfg, nil, textLane, "Dear "+a+" and "+b+", [EMAIL_3_k3f9] [EMAIL_1_k3f8] [x]"); got != "Dear anna@post.se and bo@post.se, [EMAIL_3_k3f9] [EMAIL_1_k3f8] [x]" || len(res.Findings) > 0 {
		t.Errorf("%q %v", got, res.Findings)
	}
	if got, _ := both(t, cfg, nil, toolLane, `{"to":"`+a+`"}`); got != `{"to":"`+a+`"}` {
		t.Errorf("a tool gets %q", got)
	}
}

// TestLimits: what cannot be looked at does not leave.
func TestLimits(t *testing.T) {
	s, err := guard.NewStream(guard.StreamConfig{MaxBytes: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(textLane, []byte("0123456789a")); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("eleven bytes of ten: %v", err)
	}
	if res := s.Finish(); res.Complete || len(res.Reasons) == 0 {
		t.Errorf("%+v", res)
	}
	s, _ = guard.NewStream(guard.StreamConfig{}, nil)
	for i := range 513 {
		_, err = s.Write(chat.Lane{Choice: i}, []byte("a"))
	}
	if !errors.Is(err, detect.ErrLimit) {
		t.Errorf("513 lanes: %v", err)
	}
	s, _ = guard.NewStream(guard.StreamConfig{}, nil)
	if _, err := s.Write(toolLane, []byte(strings.Repeat("[", 65))); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("65 deep: %v", err)
	}
	s, _ = guard.NewStream(guard.StreamConfig{MaxFindings: 2}, nil)
	if _, err := s.Write(textLane, []byte(strings.Repeat("karin.lund@skane-mail.se ", 5))); err != nil {
		t.Error(err)
	}
	if res := s.Finish(); res.Complete {
		t.Error("a lane that did not end is complete")
	}
	if _, err := s.Close(textLane); err != nil {
		t.Error(err)
	}
	if res := s.Finish(); len(res.Findings) != 2 || !res.Truncated || res.Counts["WDN-EX-501"] != 5 || !res.Complete {
		t.Errorf("%+v", res)
	}
}

// TestDelay: prose goes on at once, less the word that is being written.
func TestDelay(t *testing.T) {
	s, err := guard.NewStream(guard.StreamConfig{}, &chat.Exchange{})
	if err != nil {
		t.Fatal(err)
	}
	sent, most := int64(0), int64(0)
	for i := range len(prose) {
		segs, err := s.Write(textLane, []byte(prose[i:i+1]))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range segs {
			sent = g.End
		}
		most = max(most, int64(i+1)-sent)
	}
	if most > 32 {
		t.Errorf("%d bytes are held back", most)
	}
	t.Logf("at most %d bytes are held back", most)
}

// TestMemory: a thousand streams in the middle of an answer.
func TestMemory(t *testing.T) {
	const streams = 1000
	_, x := propertyConfig()
	var list []*guard.Stream
	var before, after runtime.MemStats
	if _, err := guard.NewStream(guard.StreamConfig{}, x); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range streams {
		s, err := guard.NewStream(guard.StreamConfig{}, x)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 20_000; i += 40 {
			if _, err := s.Write(textLane, []byte(prose[i%300:i%300+40])); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, s)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / streams
	t.Logf("%d bytes a stream", each)
	if each > 64<<10 {
		t.Errorf("%d bytes a stream", each)
	}
	runtime.KeepAlive(list)
}
