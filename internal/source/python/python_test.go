package python_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// brief writes a tree without positions: Kind:text(kids).
func brief(n *syntax.Node) string {
	if n == nil {
		return "_"
	}
	var b strings.Builder
	b.WriteString(n.Kind.String())
	if n.Text != "" {
		b.WriteString(":" + n.Text)
	}
	if len(n.Kids) > 0 {
		b.WriteByte('(')
		for i, k := range n.Kids {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(brief(k))
		}
		b.WriteByte(')')
	}
	return b.String()
}

func parse(t testing.TB, src string) (*python.Module, []python.Error) {
	t.Helper()
	return python.Parse(t.Context(), []byte(src), python.Limits{})
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"walrus":           {"if (n := f(a)) > 1: pass", "If(Compare:>(Walrus(Name:n Call(Name:f Name:a)) Number:1) Block(Pass) _)"},
		"nested_fstring":   {`x = f"a{f"{b!r:>{w}}"}c"`, "Assign(Name:x FString(String:a Field(FString(Field:r(Name:b FString(String:> Field(Name:w _)))) _) String:c))"},
		"fstring_debug":    {`f'{x = }'`, "Expr(FString(String:x =  Field:r(Name:x _)))"},
		"match":            {"match p:\n  case {'a': [x, *_], **r} if x: pass\n  case A(b=1) | None: pass", "Match(Name:p Case(PatMap:r(String:a PatSeq(PatAs:x PatStar)) Name:x Block(Pass)) Case(PatOr(PatClass(Name:A PatKeyword:b(PatValue(Number:1))) PatConst:None) _ Block(Pass)))"},
		"match_as_name":    {"match = 1\nmatch(x)\nmatch[x]", "Assign(Name:match Number:1) Expr(Call(Name:match Name:x)) Expr(Subscript(Name:match Name:x))"},
		"type_params":      {"type A[T: int = str, *U, **P] = B\ndef f[T](x: T) -> T: ...", "TypeAlias(Name:A TypeParams(TypeParam:T(Name:int Name:str) TypeParam:U(_ _) TypeParam:P(_ _)) Name:B) Func:f(Params(Param:x(Name:T _)) Name:T TypeParams(TypeParam:T(_ _)) Block(Expr(Constant:...)))"},
		"except_star":      {"try: pass\nexcept* E as e: pass", "Try(Block(Pass) _ _ Handler:e(Name:E Block(Pass)))"},
		"except_bare_list": {"try: pass\nexcept A, B: pass", "Try(Block(Pass) _ _ Handler(Tuple(Name:A Name:B) Block(Pass)))"},
		"template":         {`t"a{x}"`, "Expr(FString(String:a Field(Name:x _)))"},
		"python2_print":    {"print 'a', b\nexec 'x' in ns", "Print(String:a Name:b) Exec(String:x Name:ns)"},
		"decorators":       {"@a.b(1)\nasync def f(): await x", "Func:f(Params _ _ Block(Expr(Await(Name:x))) Call(Attr:b(Name:a) Number:1))"},
		"with_brackets":    {"with (a as b, c):\n pass", "With(Block(Pass) WithItem(Name:a Name:b) WithItem(Name:c))"},
		"elif":             {"if a: pass\nelif b: pass\nelse: x", "If(Name:a Block(Pass) Block(If(Name:b Block(Pass) Block(Expr(Name:x)))))"},
		"crlf_and_bom":     {"\ufeffx = 1\r\nif x:\r\n\ty\r\n", "Assign(Name:x Number:1) If(Name:x Block(Expr(Name:y)) _)"},
		"same_name":        {"ｅval(x)", "Expr(Call(Name:eval Name:x))"},
		"latin1":           {"# -*- coding: latin-1 -*-\nx = '\xe9'", "Assign(Name:x String:é)"},
		"escapes":          {`'\x41\101\u0041\n' "b" r'\n'`, "Expr(String:AAA\nb\\n)"},
		"continuation":     {"x = 1 + \\\n  2", "Assign(Name:x Binary:+(Number:1 Number:2))"},
		"power":            {"-a ** -b ** c", "Expr(Unary:-(Binary:**(Name:a Unary:-(Binary:**(Name:b Name:c)))))"},
		"comprehension":    {"[a async for a, in b if c if d]", "Expr(ListComp(Name:a Comp(Tuple(Name:a) Name:b Name:c Name:d)))"},
		"lambda":           {"lambda a, /, b=1, *c, d, **e: a", "Expr(Lambda(Params(Param:a(_ _) Param:b(_ Number:1) Param:c(_ _) Param:d(_ _) Param:e(_ _)) Name:a))"},
	} {
		t.Run(name, func(t *testing.T) {
			m, errs := parse(t, c.src)
			var got []string
			for _, n := range m.Body {
				got = append(got, brief(n))
			}
			if d := cmp.Diff(c.want, strings.Join(got, " ")); d != "" || len(errs) > 0 {
				t.Errorf("Parse(%q): errors %v, (-want +got)\n%s", c.src, errs, d)
			}
		})
	}
}

// TestRecovers breaks sources and wants the rest of them.
func TestRecovers(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"statement":         {"a = = 1\nb", "Bad Expr(Name:b)"},
		"in_block":          {"def f():\n  a b\n  c\nd", "Func:f(Params _ _ Block(Bad Expr(Name:c))) Expr(Name:d)"},
		"header_keeps_body": {"def f(:\n  import os\nb", "Bad(Block(Import(Alias:os))) Expr(Name:b)"},
		"open_bracket":      {"x = f(a,\nimport os\ny", "Bad Import(Alias:os) Expr(Name:y)"},
		"open_string":       {"x = 'abc\nimport os", "Bad Import(Alias:os)"},
		"open_triple":       {"x = '''abc\nimport os\n", "Bad Import(Alias:os)"},
		"open_fstring":      {"x = f'{a\nimport os\n", "Bad Import(Alias:os)"},
		"indent":            {"a\n  b\nc", "Expr(Name:a) Bad(Block(Expr(Name:b))) Expr(Name:c)"},
		"dedent":            {"if a:\n    b\n  c\nd", "If(Name:a Block(Expr(Name:b)) _) Expr(Name:c) Expr(Name:d)"},
		"try_alone":         {"try:\n  a\nb", "Try(Block(Expr(Name:a)) _ _) Expr(Name:b)"},
		"match_mixed":       {"class C:\n  match x:\n    case 1: a\n    b\n  c", "Class:C(_ Args Block(Bad(Block(Expr(Name:b))) Expr(Name:c)))"},
		"odd_byte":          {"a $ b\nc", "Bad Expr(Name:c)"},
		"wrong_bracket":     {"a = (b]\nimport c", "Bad Import(Alias:c)"},
	} {
		t.Run(name, func(t *testing.T) {
			m, errs := parse(t, c.src)
			var got []string
			for _, n := range m.Body {
				got = append(got, brief(n))
			}
			if d := cmp.Diff(c.want, strings.Join(got, " ")); d != "" || len(errs) == 0 {
				t.Errorf("Parse(%q): errors %v, (-want +got)\n%s", c.src, errs, d)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  func() context.Context
		src  string
		lim  python.Limits
		want error
	}{
		"bytes":       {t.Context, "a = 1\n", python.Limits{Bytes: 3}, python.ErrLimit},
		"brackets":    {t.Context, strings.Repeat("(", 10000), python.Limits{}, python.ErrLimit},
		"unary":       {t.Context, strings.Repeat("-", 10000) + "a", python.Limits{}, python.ErrLimit},
		"conditional": {t.Context, strings.Repeat("a if b else ", 10000) + "c", python.Limits{}, python.ErrLimit},
		"lambdas":     {t.Context, strings.Repeat("lambda:", 10000) + "c", python.Limits{}, python.ErrLimit},
		"awaits":      {t.Context, strings.Repeat("await ", 10000) + "c", python.Limits{}, python.ErrLimit},
		"powers":      {t.Context, strings.Repeat("a**-", 10000) + "c", python.Limits{}, python.ErrLimit},
		"chain":       {t.Context, "a" + strings.Repeat(".b", 20000), python.Limits{}, python.ErrLimit},
		"sum":         {t.Context, "a" + strings.Repeat("+b", 20000), python.Limits{}, python.ErrLimit},
		"elif":        {t.Context, "if a: b\n" + strings.Repeat("elif a: b\n", 20000), python.Limits{}, python.ErrLimit},
		"blocks":      {t.Context, nestedBlocks(3000), python.Limits{Bytes: 1 << 26}, python.ErrLimit},
		"fstrings":    {t.Context, strings.Repeat("f'{", 10000), python.Limits{}, python.ErrLimit},
		"errors":      {t.Context, strings.Repeat("a b\n", 1000), python.Limits{}, python.ErrLimit},
		"cancelled":   {func() context.Context { return ctx }, "a = 1\n", python.Limits{}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := python.Parse(c.ctx(), []byte(c.src), c.lim)
			for _, e := range errs {
				if errors.Is(e, c.want) {
					return
				}
			}
			t.Errorf("Parse: errors %.200v, want one that is %v", errs, c.want)
		})
	}
}

func nestedBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "if a:\n")
	}
	b.WriteString(strings.Repeat(" ", n) + "b\n")
	return b.String()
}

// TestLinear reads sources that invite work that grows with the square.
func TestLinear(t *testing.T) {
	const n = 200000
	for name, src := range map[string]string{
		"match_statements": strings.Repeat("match(x);", n),
		"triple_quotes":    strings.Repeat(`\"""`+"\n", n),
		"fstring_starts":   strings.Repeat("f'{\n", n),
		"with_brackets":    strings.Repeat("with (", 400) + strings.Repeat("a,", n),
		"comparisons":      "a" + strings.Repeat("<b", n),
		"semicolons":       strings.Repeat(";", n),
		"dedents":          strings.Repeat("if a:\n  b\n c\n", n/4),
		"open_brackets":    strings.Repeat("f(\nimport a\n", n/4),
		"backslashes":      strings.Repeat("\\\n", n),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			parse(t, src)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("%d bytes took %v", len(src), d)
			}
		})
	}
}

func TestNames(t *testing.T) {
	const src = "import a.b as c, d.e\nfrom x import y as z, w\nfrom . import s\nfrom ..t import u\nfrom v import *\ndef f():\n  import inner\n"
	m, errs := parse(t, src)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	im := python.NewImports(m.Body, "p.q.r", false)
	for local, want := range map[string]string{
		"c.run": "a.b.run", "d.e.f": "d.e.f", "z": "x.y", "w.k": "x.w.k", "s": "p.q.s", "u": "p.t.u", "inner.x": "inner.x", "other": "other",
	} {
		if got, _ := im.Resolve(local); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", local, got, want)
		}
	}
	if d := cmp.Diff([]string{"v"}, im.Stars()); d != "" {
		t.Error(d)
	}
	known := func(name string) (string, bool) { return "K", name == "k" }
	for src, want := range map[string]string{
		`"a" + 'b' + k`: "abK", `"-".join(["a", "b"])`: "a-b", `f"x{k}y"`: "xKy", `"a" "b"`: "ab",
	} {
		m, _ := parse(t, src)
		if got, ok := python.Fold(m.Body[0].Kids[0], known); !ok || got != want {
			t.Errorf("Fold(%s) = %q, %v, want %q", src, got, ok, want)
		}
	}
	m, _ = parse(t, "a.b.c(1).d")
	if got := syntax.Dotted(m.Body[0].Kids[0].Kids[0].Kids[0]); got != "a.b.c" {
		t.Errorf("Dotted = %q, want a.b.c", got)
	}
	if got := syntax.Dotted(m.Body[0].Kids[0]); got != "" {
		t.Errorf("Dotted of a call = %q, want none", got)
	}
	if got := m.Line(0); got != 1 {
		t.Errorf("Line(0) = %d", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"def f(a, *b, c=1, **d) -> e:\n  return [x for x in y if z]\n", "match a:\n case {'b': [c, *_], **d}: pass\n",
		`f"a{b!r:>{c}}{d=}"` + "\n", "try:\n a\nexcept* B as c:\n d\nfinally: e\n", "x = '''a\n", "with (a as b, c): pass\n",
		"print 'a'\nexec b in c\n", "@a\nclass B[T](C, d=e):\n  f: int = 1\n", "if a:\n  b\n c\n", "\\\n", "# coding: latin-1\n'\xe9'", "(((((", "f'{f'{f'{", "match 0:\n case \n", " !", "lambda: (yield)\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, errs := python.Parse(t.Context(), src, python.Limits{Depth: 60})
		bad := 0
		var last int32
		for _, n := range m.Body {
			if n.Start < last {
				t.Fatalf("statement at %d behind %d", n.Start, last)
			}
			last = n.Start
			syntax.Walk(n, func(n *syntax.Node) bool {
				if n.Start < 0 || n.End < n.Start || int(n.End) > len(m.Source) {
					t.Fatalf("%v covers %d to %d of %d", n.Kind, n.Start, n.End, len(m.Source))
				}
				if n.Kind == syntax.Bad {
					bad++
				}
				syntax.Dotted(n)
				n.Body()
				n.Decorators()
				return true
			})
		}
		if bad > 0 && len(errs) == 0 {
			t.Fatal("a statement was given up without an error")
		}
		python.NewImports(m.Body, "a.b", false)
	})
}

// BenchmarkParse reads the sources of a folder that the environment names.
func BenchmarkParse(b *testing.B) {
	src := []byte(strings.Repeat("def f(self, name, *args, key=None):\n    \"\"\"Says what it does.\"\"\"\n    for x in self.items(name, key=key or 'default'):\n        if x.value is not None and x.count > 10:\n            result[x.name] = {'a': [1, 2, 3], \"b\": (x.a + x.b) * 2}\n    return result\n\n", 2000))
	if dir := os.Getenv("WARDEN_ORACLE"); dir != "" {
		src = nil
		names, _ := filepath.Glob(filepath.Join(dir, "*.py"))
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err == nil && len(src) < 7<<20 {
				src = append(append(src, data...), '\n')
			}
		}
	}
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		python.Parse(b.Context(), src, python.Limits{})
	}
}
