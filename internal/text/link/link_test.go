package link_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/text/link"
	"github.com/modelwarden/warden/internal/text/stream"
)

func found(t testing.TB, p *link.Policy, pieces ...string) string {
	t.Helper()
	plan, err := stream.NewPlan([]stream.Trigger{
		{Slot: 0, Words: []string{"://"}},
		{Slot: 1, Bytes: "!"},
		{Slot: 2, Bytes: "<"},
		{Slot: 3, Words: []string{"]("}},
		{Slot: 4, Words: []string{"]:"}},
		{Slot: 5, Words: []string{"url("}},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := stream.New(plan, []stream.Recogniser{
		{Run: p.Bare, Cap: link.URLCap},
		{Run: p.Image, Cap: link.ConstructCap},
		{Run: p.Tag, Cap: link.ConstructCap},
		{Run: p.Target, Cap: link.ConstructCap},
		{Run: p.Defined, Cap: link.ConstructCap},
		{Run: p.Style, Cap: link.ConstructCap},
	})
	var out []string
	s := strings.Join(pieces, "")
	for i, piece := range pieces {
		text.Add([]byte(piece), i+1 == len(pieces), func(m stream.Match) { out = append(out, m.Kind+" "+s[m.Start:m.End]) })
	}
	return strings.Join(out, "; ")
}

func TestHosts(t *testing.T) {
	for text, want := range map[string]string{
		"http://0251.0376.0251.0376/":      "url-metadata http://0251.0376.0251.0376/",
		"http://[::ffff:169.254.169.254]/": "url-metadata http://[::ffff:169.254.169.254]/",
		"http://1.2.3.4.5/":                "",
		"http://192.168.0.1/x":             "url-address http://192.168.0.1/x",
		"(see https://go.dev/a_(b).)":      "",
		"https://a:b@c.test.":              "url-credentials https://a:b@c.test",
		"redis://:pw@h:1/0":                "connection redis://:pw@h:1/0",
		"://x":                             "",
	} {
		if got := found(t, &link.Policy{}, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestContext(t *testing.T) {
	c := link.NewContext([]byte("Order 4815-1623 for anna@post.se, see https://a.test/x?id=48151623. The plan is to leave."))
	for s, want := range map[string]bool{"48151623": true, "anna@post.se": true, "https://a.test/x?id=48151623": true, "plan is to leave": true, "plan is": false, "4815": false} {
		if c.Known(s) != want {
			t.Errorf("%q known is %v", s, !want)
		}
	}
	p := &link.Policy{Known: c.Known}
	for text, want := range map[string]bool{
		"https://a.test/x?id=48151623": false, "https://b.test/x?id=48151623": true, "https://b.test/?d=NDgxNTE2MjM": true,
		"https://b.test/anna%40post.se": true, "https://b.test/?q=the+plan+is+to+leave": true, "https://48151623.b.test/": true, "https://b.test/?q=plan": false,
	} {
		if got := strings.HasPrefix(found(t, p, text), "url-context"); got != want {
			t.Errorf("%q carries is %v", text, got)
		}
	}
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{"![a](https://b.c \"t\")", "[a]: <http://x>", "<img src='x' srcset=\"http://a 1x\">", "<https://a|b.com>", "url('//x')", "[x](javascript:1)", "![a][b]", "https://u:p@h/"} {
		f.Add("see "+s+" end", 6)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if len(s) > 20_000 {
			return
		}
		cut = min(max(0, cut), len(s))
		if got, want := found(t, &link.Policy{}, s[:cut], s[cut:]), found(t, &link.Policy{}, s); got != want {
			t.Errorf("%q cut at %d: %q, whole %q", s, cut, got, want)
		}
	})
}
