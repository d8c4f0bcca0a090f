package owners_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/inventory/owners"
)

const file = `# who answers
*                @org/platform
/models/         @org/ml ann@example.com
*.ipynb          @org/research
docs/*           @org/writers
/app/**/llm.py   @org/assistants   # a comment
/models/free/
[Section][2] @org/default
/section/x.py
`

func TestOwner(t *testing.T) {
	f := owners.Parse(strings.NewReader(file))
	for path, want := range map[string]string{
		"main.py": "@org/platform", "models/a/b.pt": "@org/ml", "x/y/n.ipynb": "@org/research", "docs/a.md": "@org/writers",
		"docs/deep/a.md": "@org/platform", "app/llm.py": "@org/assistants", "app/a/b/llm.py": "@org/assistants", "models/free/x.bin": "",
		"section/x.py": "@org/default",
	} {
		if got := f.Owner(path); got != want {
			t.Errorf("Owner(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, x := range []struct {
		glob, s string
		want    bool
	}{
		{"model:registry:team/*", "model:registry:Team/chat", true},
		{"model:registry:team/*", "model:registry:team/a/b", false},
		{"**chat**", "model:registry:team/chat", true},
		{"shop/src/**", "shop/src/a/b.py", true},
		{"[", "[", true},
		{"a?c", "abc", true},
	} {
		if got := owners.Match(x.glob, x.s); got != x.want {
			t.Errorf("Match(%q, %q) = %v", x.glob, x.s, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(file, "a/b.py")
	f.Add("**/**/**/*?\\ [x]\n!a b\n", "x")
	f.Fuzz(func(_ *testing.T, text, path string) {
		o := owners.Parse(strings.NewReader(text))
		o.Owner(path)
		owners.Match(text, path)
	})
}
