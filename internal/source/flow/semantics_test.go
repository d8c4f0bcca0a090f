package flow_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
)

// TestSemantics holds what Python does where graphs often go wrong. An edge is
// written caller>callee, main is left out where it is the caller, builtins are
// left out.
func TestSemantics(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"reassigned", "def f(): pass\ndef g(): pass\nx = f\nx = g\nx()", "g"},
		{"branches", "def f(): pass\ndef g(): pass\nif q: x = f\nelse: x = g\nx()", "f g"},
		{"one_branch", "def f(): pass\ndef g(): pass\nx = f\nif q: x = g\nx()", "f g"},
		{"returns_early", "def f(): pass\ndef g(): pass\ndef h(q):\n  x = f\n  if q:\n    x = g\n    return\n  x()\nh(1)", "h h>f"},
		{"loop_carried", "def f(): pass\ndef g(): pass\nx = f\nfor i in y:\n  x()\n  x = g", "f g"},
		{"break_state", "def f(): pass\ndef g(): pass\nx = f\nwhile q:\n  if r:\n    x = g\n    break\n  x = f\nx()", "f g"},
		{"handler_state", "def f(): pass\ndef g(): pass\nx = None\ntry:\n  x = f\n  q()\n  x = g\nexcept E:\n  x()", "f g"},
		{"finally_runs", "def f(): pass\ndef h():\n  try:\n    return 1\n  finally:\n    f()\nh()", "h h>f"},
		{"chained_compare", "def f(): return f\na = b = c = f\nb()()", "f"},
		{"swap", "def f(): pass\ndef g(): pass\na, b = f, g\na, b = b, a\na()", "g"},
		{"starred_middle", "def f(): pass\ndef g(): pass\na, *b, c = f, g, f, g\nc()\n", "g"},
		{"nested_target", "def f(): pass\ndef g(): pass\n[a, (b, c)] = [f, (f, g)]\nc()", "g"},
		{"walrus", "def f(): pass\nif (x := f): x()", "f"},
		{"augmented_list", "def f(): pass\ndef g(): pass\nl = [f]\nl += [g]\nfor x in l: x()", "f g"},
		{"append", "def f(): pass\nl = []\nl.append(f)\nl[0]()", "f"},
		{"negative_index", "def f(): pass\ndef g(): pass\nl = [f, g]\nl[-1]()", "g"},
		{"list_sum", "def f(): pass\ndef g(): pass\nl = [f] + [g]\nl[1]()", "g"},
		{"pop", "def f(): pass\ndef g(): pass\nl = [f, g]\nl.pop()()", "g"},
		{"dict_merge", "def f(): pass\ndef g(): pass\nd = {**{'a': f}, 'a': g}\nd['a']()", "g"},
		{"dict_or", "def f(): pass\ndef g(): pass\nd = {'a': f} | {'b': g}\nd['b']()", "g"},
		{"dict_call", "def f(): pass\nd = dict(a=f)\nd['a']()", "f"},
		{"dict_get", "def f(): pass\ndef g(): pass\nd = {'a': f}\nd.get('a', g)()", "f"},
		{"dict_values", "def f(): pass\nfor v in {'a': f}.values(): v()", "f"},
		{"dict_comprehension", "def f(): pass\nd = {k: f for k in 'ab'}\nd['a']()", "f"},
		{"setdefault", "def f(): pass\nd = {}\nd.setdefault('a', f)()", "f"},
		{"dispatch_unknown_key", "def f(): pass\ndef g(): pass\nd = {'a': f, 'b': g}\nd[input()]()", "f g"},
		{"list_comprehension", "def f(): pass\n[x() for x in [f]]", "f"},
		{"comprehension_scope", "def f(): pass\ndef g(): pass\nx = f\n[x for x in [g]]\nx()", "f"},
		{"generator_function", "def f(): pass\ndef gen(): yield f\nnext(gen())()", "f gen"},
		{"yield_from", "def f(): pass\ndef a(): yield f\ndef b(): yield from a()\nfor x in b(): x()", "b b>a f"},
		{"sorted_key", "def k(x): pass\nsorted([1], key=k)", "k"},
		{"map_lambda", "def f(): pass\nlist(map(lambda x: x(), [f]))", "<lambda1> <lambda1>>f"},
		{"filter_result", "def p(x): return True\ndef f(): pass\nfor x in filter(p, [f]): x()", "f p"},
		{"zip_items", "def f(): pass\ndef g(): pass\nfor a, b in zip([f], [g]): b()", "g"},
		{"enumerate_items", "def f(): pass\nfor i, x in enumerate([f]): x()", "f"},
		{"closure_late", "def f(): pass\ndef g(): pass\ndef mk():\n  x = f\n  def inner(): x()\n  x = g\n  return inner\nmk()()", "mk mk.inner mk.inner>g"},
		{"nonlocal", "def f(): pass\ndef mk():\n  x = None\n  def put():\n    nonlocal x\n    x = f\n  put()\n  x()\nmk()", "mk mk>f mk>mk.put"},
		{"global", "def f(): pass\nx = None\ndef put():\n  global x\n  x = f\nput()\nx()", "f put"},
		{"default_and_argument", "def f(): pass\ndef g(): pass\ndef h(x=f): x()\nh()\nh(g)", "h h>f h>g"},
		{"argument_only", "def f(): pass\ndef g(): pass\ndef h(x=f): x()\nh(g)", "h h>g"},
		{"star_args", "def f(): pass\ndef g(): pass\ndef h(*a): a[1]()\nh(f, g)", "h h>g"},
		{"star_kwargs", "def f(): pass\ndef h(**k): k['x']()\nh(x=f)", "h h>f"},
		{"spread_args", "def f(): pass\ndef g(): pass\ndef h(a, b): b()\nh(*[f, g])", "h h>g"},
		{"spread_kwargs", "def f(): pass\ndef h(a): a()\nh(**{'a': f})", "h h>f"},
		{"forwarded", "def f(): pass\ndef h(a): a()\ndef w(*a, **k): return h(*a, **k)\nw(f)\n", "h>f w w>h"},
		{"keyword_only", "def f(): pass\ndef h(*, k): k()\nh(k=f)", "h h>f"},
		{"identity_apart", "def f(): pass\ndef g(): pass\ndef i(x): return x\na = i(f)\nb = i(g)\na()", "f i"},
		{"decorator_with_wraps", "import functools\ndef dec(fn):\n  @functools.wraps(fn)\n  def w(*a): return fn(*a)\n  return w\n@dec\ndef f(): pass\nf()", "dec dec.w dec.w>f dec>functools.wraps"},
		{"decorator_arguments", "def dec(n):\n  def d(fn): return fn\n  return d\n@dec(1)\ndef f(): pass\nf()", "dec dec.d f"},
		{"class_decorator", "def dec(c): return c\n@dec\nclass A:\n  def m(self): pass\nA().m()", "A.m dec"},
		{"decorator_class", "class D:\n  def __init__(self, fn): self.fn = fn\n  def __call__(self): self.fn()\n@D\ndef f(): pass\nf()", "D.__call__ D.__call__>f D.__init__"},
		{"partial", "from functools import partial\ndef f(a, b): b()\ndef g(): pass\npartial(f, 1)(g)", "f f>g functools.partial"},
		{"static", "class A:\n  @staticmethod\n  def s(x): x()\ndef f(): pass\nA().s(f)\n", "A.s A.s>f"},
		{"class_method", "class A:\n  @classmethod\n  def c(cls): return cls()\n  def m(self): pass\nA.c().m()", "A.c A.m"},
		{"class_method_subclass", "class A:\n  @classmethod\n  def c(cls): cls().m()\n  def m(self): pass\nclass B(A):\n  def m(self): pass\nB.c()", "A.c A.c>B.m"},
		{"property", "def f(): pass\nclass A:\n  @property\n  def p(self): return f\nA().p()", "A.p f"},
		{"property_setter", "def f(): pass\nclass A:\n  @property\n  def p(self): pass\n  @p.setter\n  def p(self, v): v()\nA().p = f", "A.p A.p>f"},
		{"callable_object", "class A:\n  def __call__(self): pass\nA()()", "A.__call__"},
		{"with_object", "class A:\n  def __enter__(self): return f\n  def __exit__(self, *a): pass\ndef f(): pass\nwith A() as x: x()", "A.__enter__ A.__exit__ f"},
		{"context_manager", "from contextlib import contextmanager\ndef f(): pass\n@contextmanager\ndef c(): yield f\nwith c() as x: x()", "c contextlib.contextmanager f"},
		{"get_item", "def f(): pass\nclass A:\n  def __getitem__(self, k): return f\nA()[0]()", "A.__getitem__ f"},
		{"get_attr", "def f(): pass\nclass A:\n  def __getattr__(self, k): return f\nA().x()", "A.__getattr__ f"},
		{"operator", "class A:\n  def __add__(self, o): pass\nA() + 1", "A.__add__"},
		{"descriptor", "def f(): pass\nclass D:\n  def __get__(self, o, t): return f\nclass A:\n  d = D()\nA().d()", "D.__get__ f"},
		{"super_diamond", "class A:\n  def m(self): pass\nclass B(A):\n  def m(self): super().m()\nclass C(A):\n  def m(self): super().m()\nclass D(B, C):\n  def m(self): super().m()\nD().m()", "B.m>C.m C.m>A.m D.m D.m>B.m"},
		{"super_named", "class A:\n  def m(self): pass\nclass B(A):\n  def m(self): super(B, self).m()\nB().m()", "B.m B.m>A.m"},
		{"base_calls_own", "class A:\n  def run(self): self.step()\n  def step(self): pass\nclass B(A):\n  def step(self): pass\nB().run()", "A.run A.run>B.step"},
		{"method_by_class", "class A:\n  def m(self): pass\nA.m(A())", "A.m"},
		{"class_attribute_function", "def f(): pass\nclass A:\n  g = staticmethod(f)\nA.g()", "f"},
		{"class_variable", "def f(): pass\nclass A:\n  pass\nA.x = f\nA.x()", "f"},
		{"instance_attribute_apart", "def f(): pass\ndef g(): pass\nclass A: pass\na = A()\nb = A()\na.x = f\nb.x = g\na.x()", "f"},
		{"new", "class A:\n  def __new__(cls): return object.__new__(cls)\n  def m(self): pass\nA().m()", "A.__new__ A.m"},
		{"getattr_text", "class A:\n  def m(self): pass\ngetattr(A(), 'm')()", "A.m"},
		{"getattr_joined", "class A:\n  def do_x(self): pass\nn = 'x'\ngetattr(A(), 'do_' + n)()", "A.do_x"},
		{"setattr_text", "def f(): pass\nclass A: pass\na = A()\nsetattr(a, 'x', f)\na.x()", "f"},
		{"raise_class", "class E(Exception):\n  def __init__(self): pass\nraise E", "E.__init__"},
		{"caught_object", "class E(Exception):\n  def m(self): pass\ntry: raise E()\nexcept E as e: e.m()", "E.m"},
		{"conditional_value", "def f(): pass\ndef g(): pass\n(f if q else g)()", "f g"},
		{"or_value", "def f(): pass\ndef g(): pass\n(f or g)()", "f"},
		{"none_or", "def f(): pass\n(None or f)()", "f"},
		{"match_capture", "def f(): pass\nmatch [f]:\n  case [x]: x()", "f"},
		{"lambda_default", "def f(): pass\n(lambda x=f: x())()", "<lambda1> <lambda1>>f"},
		{"nested_lambda", "def f(): pass\n(lambda: lambda: f())()()", "<lambda1> <lambda1>.<lambda1> <lambda1>.<lambda1>>f"},
		{"recursion", "def f(x): return f(x)\nf(1)", "f f>f"},
		{"async_await", "async def f(): return g\ndef g(): pass\nasync def m(): (await f())()\nimport asyncio\nasyncio.run(m())", "asyncio.run m m>f m>g"},
		{"thread_target", "import threading\ndef f(): pass\nthreading.Thread(target=f).start()", "f threading.Thread threading.Thread.start"},
		{"data_class_field", "from dataclasses import dataclass\ndef f(): pass\n@dataclass\nclass A:\n  g: object\nA(f).g()", "dataclasses.dataclass f"},
		{"function_attribute", "def f(): pass\ndef g(): pass\nf.x = g\nf.x()", "g"},
		{"del_keeps", "def f(): pass\nx = f\nx()\ndel x", "f"},
		{"type_of", "class A:\n  def m(self): pass\ntype(A())().m()", "A.m"},
		{"external_subclass", "import ext\nclass A(ext.B):\n  def m(self): self.n()\nA().m()", "A.m A.m>ext.B.n ext.B.__init__"},
		{"external_chain", "import ext\next.a().b.c()", "ext.a ext.a.b.c"},
		{"import_fallback", "try:\n  import fast as m\nexcept ImportError:\n  import slow as m\nm.f()", "fast.f slow.f"},
		{"iterator_protocol", "def f(): pass\nclass A:\n  def __iter__(self): return iter([f])\nfor x in A(): x()", "A.__iter__ f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := flow.Analyse(t.Context(), units(t, map[string]string{"main.py": c.src}), flow.PythonLibrary(), flow.Options{})
			got := map[string]bool{}
			for e := range edges(g.Calls()) {
				from, to, _ := strings.Cut(e, " -> ")
				if strings.HasPrefix(to, "<") {
					continue
				}
				from, to = strings.TrimPrefix(from, "main."), strings.TrimPrefix(to, "main.")
				if from != "main" {
					to = from + ">" + to
				}
				got[to] = true
			}
			want := map[string]bool{}
			for e := range strings.FieldsSeq(c.want) {
				want[e] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
