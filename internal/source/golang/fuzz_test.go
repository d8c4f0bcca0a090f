package golang_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/golang"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// check tests what every reader promises: places lie in the source, heights are true.
func check(t *testing.T, f *syntax.File) {
	t.Helper()
	for _, top := range f.Body {
		syntax.Walk(top, func(n *syntax.Node) bool {
			if n.Start < 0 || n.End < n.Start || int(n.End) > len(f.Source) {
				t.Fatalf("%s at %d to %d of %d", n.Kind, n.Start, n.End, len(f.Source))
			}
			for _, k := range n.Kids {
				if k != nil && k.Height >= n.Height {
					t.Fatalf("%s of height %d holds %s of %d", n.Kind, n.Height, k.Kind, k.Height)
				}
			}
			return true
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"package a\nimport \"x/y\"\ntype T struct{ *y.Z; a int }\nfunc (t *T) f(a ...string) (b int, err error) { for i, v := range t.m { b += i }; return }",
		"package a\nconst (\n\tA = iota\n\tB\n)\nvar x = map[string][]T{\"a\": {{1}, {a: 2}}}\nfunc g[T any](x T) { switch y := any(x).(type) { case int: _ = y }; select { case <-c: } }",
		"package a\nfunc ( {", "", "package",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, _ := golang.Parse(t.Context(), []byte(s))
		check(t, &m.File)
	})
}

func TestHostile(t *testing.T) {
	for _, s := range []string{"(", "[]", "{", "a(", "func(){", "a.", "a+", "!", "T{", "if a{", "struct{a ", "&", "<-", "map[a]"} {
		m, _ := golang.Parse(t.Context(), []byte("package a\nvar x = "+strings.Repeat(s, 200_000/len(s))))
		check(t, &m.File)
		m, _ = golang.Parse(t.Context(), []byte("package a\nfunc f() { "+strings.Repeat(s, 200_000/len(s))))
		check(t, &m.File)
	}
}

func BenchmarkParse(b *testing.B) {
	src := []byte("package a\nimport \"context\"\n" + strings.Repeat(`
// Ask asks.
func (c *Client) Ask(ctx context.Context, model string) (string, error) {
	req := Request{Model: model, Messages: []Message{{Role: "user", Content: "x"}}}
	for i, m := range c.models {
		if m == model && i > 0 {
			req.Index = i
		}
	}
	resp, err := c.inner.Create(ctx, req)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", model, err)
	}
	return resp.Choices[0].Text, nil
}
`, 2000))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		golang.Parse(b.Context(), src)
	}
}
