package flow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/python"
)

func TestHostile(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"import_cycle":    {"a.py": "from b import *\nimport c\ndef f(): g()", "b.py": "from a import *\nfrom c import *\ndef g(): f()", "c.py": "import a, b\na.f()"},
		"global_at_top":   {"a.py": "global x\nx = 1\ndef f():\n  global x\n  nonlocal y\n  x = y\nclass C:\n  global z\n  z = 2\nf()"},
		"self_import":     {"a.py": "import a\nfrom a import a\nfrom . import a\na.a.a()"},
		"class_cycle":     {"a.py": "class A(B): pass\nclass B(A): pass\nclass A(B):\n  x = 1\nA().f()\nB().g()"},
		"own_base":        {"a.py": "class A: pass\nclass A(A): pass\nA = type('A', (A,), {})\nA().f()"},
		"recursion":       {"a.py": "def f(x): return f(g(x))\ndef g(x): return f(x) + g(f)\nf(f)\nf(g)"},
		"self_list":       {"a.py": "a = []\na.append(a)\na[0] = a\nfor x in a: x()\nd = {}\nd[d] = d\nd.update(d)\nprint([*a, *a], {**d})"},
		"growing_text":    {"a.py": "s = 'x'\nwhile True:\n  s = s + s\n  sink(s)\ndef f(s): return f(s + 'y')\nf('z')"},
		"growing_path":    {"a.py": "import x\nwhile x:\n  x = x.y().z\nx()"},
		"growing_partial": {"a.py": "import functools\ndef f(g): return f(functools.partial(g, g))\nf(f)\np = functools.partial(print)\nfor i in range(9): p = functools.partial(p, p)\np()"},
		"partial_self":    {"a.py": "from functools import partial\ndef g(): pass\nfor i in x:\n  g = partial(g, 1)\ng()"},
		"getattr_self":    {"a.py": "class A:\n  def __getattr__(self, n): return self.m\n  def __iter__(self): return self\n  def __next__(self): return self\n  def __call__(self): return self\nfor a in A(): a()()()\nA().x.y.z"},
		"decorator_self":  {"a.py": "@f\ndef f(x): return f\n@f\n@f\nclass C: pass\n@C\ndef g(): pass"},
		"property_self":   {"a.py": "class A:\n  @property\n  def p(self): return self.p\nA().p"},
		"descriptor_self": {"a.py": "class D:\n  def __get__(self, o, t): return o.d\nclass A:\n  d = D()\nA().d"},
		"huge_dict":       {"a.py": "d = {" + strings.Repeat("'k': f, ", 1000) + manyKeys(100_000) + "}\nfor k in d: d[k]()"},
		"deep_calls":      {"a.py": strings.Repeat("f(", 400) + strings.Repeat(")", 400)},
		"deep_blocks":     {"a.py": deepBlocks(90)},
		"deep_chain":      {"a.py": "x" + strings.Repeat(".a()", 20_000)},
		"nested_loops":    {"a.py": nested("for x%d in y:", 60) + strings.Repeat(" ", 60) + "x0()\n"},
		"nested_comps":    {"a.py": strings.Repeat("[", 200) + "x" + strings.Repeat(" for x in x]", 200)},
		"nested_classes":  {"a.py": nested("class C%d:", 80) + strings.Repeat(" ", 80) + "x = 1\n"},
		"many_ifs":        {"a.py": "x = 1\n" + strings.Repeat("if x: x = x + 1\n", 20_000)},
		"elif_chain":      {"a.py": "if x: pass\n" + strings.Repeat("elif x: x = f()\n", 450)},
		"many_subclasses": {"a.py": "class A:\n  def f(self): self.g()\n" + repeat("class C%d(A):\n  def g(self): pass\nC%[1]d().f()\n", 2000)},
		"many_callers":    {"a.py": "def f(x): return x\n" + repeat("f('v%d')\n", 5000)},
		"call_chain":      {"a.py": repeat("def f%d(x): return f%[1]d1(x)\n", 5000)},
		"star_of_stars":   {"a/__init__.py": "from .b import *\nfrom . import *", "a/b.py": "from . import *\nfrom .. import *\n__all__ = ['x', *__all__]"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			g := flow.Analyse(t.Context(), units(t, files), flow.PythonLibrary(), flow.Options{Work: 50_000_000})
			g.Calls()
			g.Reach(g.Entries())
			for i := range min(len(g.Sites()), 50) {
				g.Argument(i, 0, "x")
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			if g.Incomplete != nil {
				t.Log(g.Incomplete)
			}
		})
	}
}

func repeat(f string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, f, i)
	}
	return b.String()
}

func manyKeys(n int) string { return repeat("'k%d': 1, ", n) }

func nested(f string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + strings.ReplaceAll(f, "%d", fmt.Sprint(i)) + "\n")
	}
	return b.String()
}

func deepBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "def f():\n")
	}
	b.WriteString(strings.Repeat(" ", n) + "f()\n")
	return b.String()
}

func TestLimit(t *testing.T) {
	us := units(t, map[string]string{"a.py": repeat("def f%d(): pass\nf%[1]d()\n", 1000)})
	g := flow.Analyse(t.Context(), us, nil, flow.Options{Work: 100})
	if !errors.Is(g.Incomplete, flow.ErrLimit) {
		t.Errorf("Incomplete = %v, want ErrLimit", g.Incomplete)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g := flow.Analyse(ctx, us, nil, flow.Options{}); !errors.Is(g.Incomplete, context.Canceled) {
		t.Errorf("Incomplete = %v, want Canceled", g.Incomplete)
	}
}

func TestOrderOfUnits(t *testing.T) {
	files := map[string]string{}
	for i := range 12 {
		files[fmt.Sprintf("m%d.py", i)] = fmt.Sprintf("import m%d as n\nfrom m%d import *\nclass C(n.C):\n  def f(self, x='%d'):\n    n.g(self.f); x()\ndef g(h): h(g)\nC().f(g)\n", (i+1)%12, (i+5)%12, i)
	}
	us := units(t, files)
	want := flow.Analyse(t.Context(), us, nil, flow.Options{}).Calls()
	for range 5 {
		rand.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
		if diff := cmp.Diff(want, flow.Analyse(t.Context(), us, nil, flow.Options{}).Calls()); diff != "" {
			t.Fatal(diff)
		}
	}
}

// program writes a program of about so many lines.
func program(lines int) map[string]string {
	const perModule = 500
	files := map[string]string{}
	n := lines / perModule
	for m := range n {
		var b strings.Builder
		fmt.Fprintf(&b, "import os, json, logging\nfrom pkg%d.mod%d import Base%[2]d, run%[2]d\nlog = logging.getLogger(__name__)\nCFG = {'model': os.getenv('M', 'org/m%d'), 'n': 3}\n", (m+1)%n/20, (m+1)%n, m)
		fmt.Fprintf(&b, "class Base%d:\n    def __init__(self, name='n', cfg=CFG):\n        self.name = name\n        self.cfg = cfg\n        self.items = []\n    def go(self, x):\n        return run%[1]d(x, self.name)\n", m)
		fmt.Fprintf(&b, "def run%d(x, name='a'):\n    return Base%d(name).go(x)\n", m, (m+1)%n)
		for i := range (perModule - 13) / 16 {
			fmt.Fprintf(&b, "class C%d(Base%d):\n    def step(self, data, flag=False):\n        total = 0\n        out = []\n        for i, row in enumerate(data):\n            if flag and row.get('k') is not None:\n                total += row['k'] * 2\n                out.append(self.go(f'{self.name}-{i}'))\n            else:\n                log.info('skip %%s', row)\n        self.items.extend(out)\n        return {'total': total, 'out': out}\ndef use%d(rows):\n    c = C%[1]d('n%[1]d')\n    return c.step(rows, flag=True)['out']\n", i, m, i)
		}
		fmt.Fprintf(&b, "if __name__ == '__main__':\n    print(use0([{'k': 1}]))\n")
		files[fmt.Sprintf("pkg%d/mod%d.py", m/20, m)] = b.String()
	}
	return files
}

func TestLargeProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	us := units(t, program(500_000))
	lines := 0
	for _, u := range us {
		lines += strings.Count(u.File.Source, "\n")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	g := flow.Analyse(t.Context(), us, flow.PythonLibrary(), flow.Options{})
	d := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d lines, %d sites in %v, %d MiB besides the trees (%d MiB); %v", lines, len(g.Sites()), d, (after.HeapAlloc-before.HeapAlloc)>>20, before.HeapAlloc>>20, g.Incomplete)
	if g.Incomplete != nil || d > 60*time.Second {
		t.Errorf("%v in %v", g.Incomplete, d)
	}
	runtime.KeepAlive(us)
}

func FuzzAnalyse(f *testing.F) {
	for _, s := range []string{
		"def f(a, *b, c=1, **d):\n  return a(*b, **d)\nf(f, f, c=f, x=f)",
		"class A(B):\n  @property\n  def p(self): return self\n  def __iter__(self): yield self.p\nfor x in A(): x.p()",
		"with a as (b, *c), d: b()\ntry: x()\nexcept E as e: e()\nelse: y()\nfinally: z()",
		"match x:\n  case {'a': b, **r}: b()\n  case [c, *d] | C(e, f=g): g()\n  case _: h()",
		"x = [lambda y: y() for y in (z, *w) if (q := y)]\nx[0](x)[1:2][-1]()",
		"import os, a.b.c as d\nfrom . import *\nfrom .e import f\nd[f'{os.environ[\"x\"]!r}'] = '%s' % f % (1,)",
	} {
		f.Add(s, "def g(x): return x\n")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 4096 {
			return
		}
		var us []flow.Unit
		for i, src := range []string{a, b} {
			m, _ := python.Parse(t.Context(), []byte(src), python.Limits{})
			us = append(us, flow.Unit{Name: []string{"e", "p.a"}[i], Path: []string{"e.py", "p/a.py"}[i], File: &m.File})
		}
		g := flow.Analyse(t.Context(), us, flow.PythonLibrary(), flow.Options{Work: 2_000_000})
		g.Calls()
		g.Reach(g.Entries())
		g.Surface()
		for i, s := range g.Sites() {
			v, _ := g.Argument(i, 0, "")
			for _, x := range append(v.Values, g.Values(s.Unit, s.Node).Values...) {
				g.Members(x)
			}
		}
	})
}
