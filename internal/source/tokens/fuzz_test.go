package tokens_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/syntax"
	"github.com/modelwarden/warden/internal/source/tokens"
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
		"package a; import b.C; @D(e = \"x\") class F<G> extends H { private static final String I = \"j\" + k; @Override void l(int m) throws N { for (O o : p) { q.r().s(o, x -> y); } } }",
		"package a\nimport b.C as D\nclass E(private val f: String = \"g\") : H() { val i by lazy { j(\"$k ${l.m}\") }\n fun n(o: P?) = o?.q ?: when (r) { 1 -> 2; else -> 3 } }",
		"using A.B; namespace C; public record D(string E); class F { [G(H = 1)] public I J { get; set; } = new() { K = $\"l{m}\" }; async Task N() => await O.P(q: 1); }",
		"((((((((((", "a<b<c<", "\"\"\"", "$\"{", "new new new", "@a@a@a(", "if if if (",
	} {
		for _, name := range []string{"a.java", "a.kt", "a.cs"} {
			f.Add(name, s)
		}
	}
	f.Fuzz(func(t *testing.T, name, s string) {
		m := tokens.Parse(t.Context(), name, []byte(s))
		check(t, &m.File)
	})
}

func TestHostile(t *testing.T) {
	for _, s := range []string{"(", "[", "{", "a(", "a<", "a.", "a+", "x->", "x=>", "!", "new ", "@a(", "if(", "class A{", "(a)", "\"", "$\"{", "a?b:", "when{", "{a->", "/*", "fun a(", "[a("} {
		for _, name := range []string{"a.java", "a.kt", "a.cs"} {
			m := tokens.Parse(t.Context(), name, []byte(strings.Repeat(s, 200_000/len(s))))
			check(t, &m.File)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src := []byte("package a;\nimport b.C;\nclass A {\n" + strings.Repeat(`
  /** Asks. */
  @GetMapping("/ask")
  public String ask(@RequestParam String model) throws Exception {
    var m = OpenAiChatModel.builder().apiKey(System.getenv("K")).modelName(model).build();
    for (String s : names) {
      if (s.equals(model) && s.length() > 3) { log.info("asks {}", s); }
    }
    return m.chat("x" + model);
  }
`, 2000) + "}\n")
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		tokens.Parse(b.Context(), "A.java", src)
	}
}
