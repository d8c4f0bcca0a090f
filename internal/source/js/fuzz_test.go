package js_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/js"
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
		"import A, { b as c } from 'x'; export default class extends A<B> { #x = 1; get y() { return `a${this.#x}` } }",
		"const f = async <T,>({ a = 1, ...b }: T): Promise<void> => <A b='c' {...d}>e {f}</A>",
		"for (const [a, b] of c) switch (d) { case 1: break; default: throw /x[/]/g }",
		"enum E { A = 'x' } namespace N { export const a = <any>b! as const } type T = { [K in keyof U]?: V } | (() => W)",
		"<script>const a = 1</script><p>{{ b }}</p>", "((((((((((((((((((((((((((((((", "a<b<c<d<e<f<g<(h)>>", "`${`${`${", "<a><b><c>", "label: while(1){continue label}",
	} {
		for _, name := range []string{"a.ts", "a.tsx", "a.js", "a.vue"} {
			f.Add(name, s)
		}
	}
	f.Fuzz(func(t *testing.T, name, s string) {
		if !strings.Contains(name, ".") {
			name = "a.ts"
		}
		m, _ := js.Parse(t.Context(), name, []byte(s))
		check(t, m)
		js.Imports(m)
	})
}

func TestHostile(t *testing.T) {
	for _, s := range []string{"(", "[", "{", "a(", "a<", "`${", "<a>", "x=>", "!", "a?b:", "if(a)", "a.", "a+", "{a:", "function f(){", "class A{b(){", "async (", "(a:(", "a<(b)=>", "new ", "/*"} {
		for _, name := range []string{"a.ts", "a.tsx"} {
			m, _ := js.Parse(t.Context(), name, []byte(strings.Repeat(s, 200_000/len(s))))
			check(t, m)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src := []byte(strings.Repeat(`import { streamText } from 'ai';
export async function POST(req: Request): Promise<Response> {
  const { messages, model = 'gpt-4o' }: { messages: Message[]; model?: string } = await req.json();
  // What follows is what a route does.
  const result = streamText({ model: openai(model), messages, onFinish: async ({ text }) => { await save(text, { at: Date.now() }); } });
  return result.toDataStreamResponse({ headers: { 'x-model': `+"`m-${model}`"+` } });
}
`, 2000))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		js.Parse(b.Context(), "a.ts", src)
	}
}
