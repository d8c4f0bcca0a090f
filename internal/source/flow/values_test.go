package flow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// show renders a set: kinds and texts, a default with a question mark, an open
// set with three dots.
func show(s flow.Set) []string {
	var out []string
	for _, v := range s.Values {
		t := v.Text
		if v.Kind != flow.String {
			t = v.Kind.String() + " " + t
		}
		if v.Default {
			t += "?"
		}
		out = append(out, t)
	}
	if s.Unknown {
		out = append(out, "...")
	}
	slices.Sort(out)
	return out
}

// sink returns what the calls of sink(…) get as their first argument.
func sink(t testing.TB, g *flow.Graph, name string) flow.Set {
	t.Helper()
	var out flow.Set
	for i, s := range g.Sites() {
		fn := syntax.Dotted(s.Node.Kid(0))
		if s.Node.Kind != syntax.Call || fn != name && !strings.HasSuffix(fn, "."+name) {
			continue
		}
		v, _ := g.Argument(i, 0, "model")
		out.Values = append(out.Values, v.Values...)
		out.Unknown = out.Unknown || v.Unknown
	}
	return out
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"literal", `sink("a/b")`, []string{"a/b"}},
		{"module_constant", "M = 'a/b'\ndef f():\n  sink(M)\n", []string{"a/b"}},
		{"strong_update", "m = 'x'\nm = 'y'\nsink(m)", []string{"y"}},
		{"branch", "if c:\n  m = 'x'\nelse:\n  m = 'y'\nsink(m)", []string{"x", "y"}},
		{"environment_default", "import os\nsink(os.getenv('M', 'a/b'))", []string{"a/b?"}},
		{"environment_get", "from os import environ\nsink(environ.get('M', 'a/b'))", []string{"a/b?"}},
		{"environment_unset", "import os\nsink(os.environ['M'])", []string{"..."}},
		{"environment_or", "import os\nsink(os.getenv('M') or 'a/b')", []string{"...", "a/b"}},
		{"environment_given", "import os\nsink(os.environ['GIVEN'])", []string{"from-compose"}},
		{"nested_dict", "C = {'llm': {'model': 'a/b'}}\nsink(C['llm']['model'])", []string{"a/b"}},
		{"dict_get", "C = {'m': 'a'}\nsink(C.get('m', 'b'))", []string{"a"}},
		{"dict_get_default", "C = {}\nsink(C.get('m', 'b'))", []string{"b"}},
		{"class_attribute", "class C:\n  M = 'a'\nsink(C.M)\nsink(C().M)", []string{"a", "a"}},
		{"enum_value", "import enum\nclass C(enum.Enum):\n  M = 'a'\nsink(C.M.value)", []string{"a"}},
		{"dataclass_default", "from dataclasses import dataclass\n@dataclass\nclass C:\n  m: str = 'a'\ndef f(c: C):\n  pass\nsink(C().m)", []string{"a"}},
		{"dataclass_given", "from dataclasses import dataclass\n@dataclass\nclass C:\n  m: str = 'a'\nsink(C(m='b').m)", []string{"b"}},
		{"dataclass_position", "from dataclasses import dataclass\n@dataclass\nclass C:\n  m: str\nsink(C('b').m)", []string{"b"}},
		{"field_default", "from pydantic import BaseModel, Field\nclass S(BaseModel):\n  m: str = Field(default='a')\nsink(S().m)", []string{"a?"}},
		{"default_parameter", "def f(m='a'):\n  sink(m)\nf()\nf('b')", []string{"a?", "b"}},
		{"every_caller", "def f(m='a'):\n  sink(m)\nf('b')", []string{"b"}},
		{"no_caller", "def f(m='a'):\n  sink(m)\n", []string{"...", "a?"}},
		{"attribute", "class A:\n  def __init__(self, m):\n    self.m = m\n  def go(self):\n    sink(self.m)\nA('x').go()", []string{"x"}},
		{"return", "def f():\n  return 'x'\nsink(f())", []string{"x"}},
		{"identity", "def f(x):\n  return x\na = f('x')\nb = f('y')\nsink(a)", []string{"x"}},
		{"fstring", "o = 'org'\nsink(f'{o}/name')", []string{"org/name"}},
		{"fstring_open", "def f(o):\n  sink(f'{o}/name')\n", []string{"pattern */name"}},
		{"percent", "sink('%s/%s' % ('a', 'b'))", []string{"a/b"}},
		{"format", "sink('{}/{n}'.format('a', n='b'))", []string{"a/b"}},
		{"join", "sink('/'.join(['a', 'b']))", []string{"a/b"}},
		{"split", "sink('a/b:c'.split(':')[0])", []string{"a/b"}},
		{"rsplit", "sink('a/b'.rsplit('/', 1)[-1])", []string{"b"}},
		{"replace", "sink('a_b'.replace('_', '/').strip())", []string{"a/b"}},
		{"slice_text", "sink('ollama/x'[7:])", []string{"x"}},
		{"path", "from pathlib import Path\nsink(Path('a') / 'b' / 'c.bin')", []string{"a/b/c.bin"}},
		{"os_path", "import os\nsink(os.path.join('a', 'b'))", []string{"a/b"}},
		{"conditional", "sink('a' if c else 'b')", []string{"a", "b"}},
		{"argparse", "import argparse\np = argparse.ArgumentParser()\np.add_argument('--model-id', '-m', default='a')\nargs = p.parse_args()\nsink(args.model_id)", []string{"a?"}},
		{"argparse_group", "import argparse\np = argparse.ArgumentParser()\ng = p.add_argument_group('x')\ng.add_argument('--m', default='a')\ndef main(args):\n  sink(args.m)\nmain(p.parse_args())", []string{"a?"}},
		{"click", "import click\n@click.command()\n@click.option('--m', default='a')\ndef f(m):\n  sink(m)\n", []string{"...", "a?"}},
		{"typer", "import typer\napp = typer.Typer()\n@app.command()\ndef f(m: str = typer.Option('a')):\n  sink(m)\n", []string{"...", "a?"}},
		{"for_each", "for m in ['a', 'b']:\n  sink(m)", []string{"a", "b"}},
		{"dict_keys", "for m in {'a': 1, 'b': 2}:\n  sink(m)", []string{"a", "b"}},
		{"dict_items", "for k, v in {'a': 'x'}.items():\n  sink(v)", []string{"x"}},
		{"keywords", "kw = {'model': 'a'}\nsink(**kw)", []string{"a"}},
		{"through_kwargs", "def f(**kw):\n  sink(**kw)\nf(model='a')", []string{"a"}},
		{"through_args", "def f(*a):\n  sink(*a)\nf('a', 'b')", []string{"a"}},
		{"partial", "import functools\np = functools.partial(sink2, 'a')\ndef f():\n  g = functools.partial(h, 'a')\n  g()\ndef h(m):\n  sink(m)\n", []string{"a"}},
		{"closure", "def f(m):\n  def g():\n    sink(m)\n  return g\nf('a')()", []string{"a"}},
		{"global", "M = None\ndef set():\n  global M\n  M = 'a'\ndef use():\n  sink(M)\nset()\nuse()", []string{"a", "none "}},
		{"yaml", "import yaml\nwith open('config.yaml') as f:\n  c = yaml.safe_load(f)\nsink(c['llm']['model'])", []string{"from-file"}},
		{"json", "import json\nc = json.loads(open('config.yaml').read())\nsink(c['llm']['model'])", []string{"from-file"}},
		{"type_name", "def f(m: str):\n  sink(m)\nf(str)", []string{"external builtins.str"}},
		{"not_a_word", "sink(undefined_name)", []string{"..."}},
		{"walrus", "if (m := 'a'):\n  sink(m)", []string{"a"}},
		{"starred", "a, *b = 'x', 'y', 'z'\nsink(b[1])", []string{"z"}},
		{"none_narrowed", "def f(m=None):\n  if m is None:\n    m = 'a'\n  sink(m)\nf()", []string{"a"}},
		{"or_default", "def f(m=None):\n  m = m or 'a'\n  sink(m)\nf()", []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := flow.Analyse(t.Context(), units(t, map[string]string{"main.py": c.src}), flow.PythonLibrary(), flow.Options{
				Environment: map[string][]flow.Given{"GIVEN": {{Text: "from-compose", Path: "compose.yaml", Line: 3}}},
				File: func(p string) (flow.Data, bool) {
					return flow.Data{Kind: flow.Dict, Keys: []string{"llm"}, Items: []flow.Data{
						{Kind: flow.Dict, Keys: []string{"model"}, Items: []flow.Data{{Kind: flow.String, Text: "from-file", Path: p, Line: 2}}},
					}}, p == "config.yaml"
				},
			})
			if diff := cmp.Diff(c.want, show(sink(t, g, "sink"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLocalGPT follows a model from the environment to the loader.
func TestLocalGPT(t *testing.T) {
	g := flow.Analyse(t.Context(), units(t, map[string]string{
		"rag/main.py": `import os
MODELS = {"rerank": {"name": os.getenv("RERANK_MODEL", "org/reranker")}}
`,
		"rag/rerank.py": `from transformers import AutoModel
class Reranker:
    def __init__(self, model_name: str = "org/small"):
        self.model_name = model_name
        self.model = AutoModel.from_pretrained(self.model_name)
`,
		"app.py": `def build():
    from rag.main import MODELS
    from rag.rerank import Reranker
    Reranker()
    return Reranker(MODELS["rerank"]["name"])
if __name__ == "__main__":
    build()
`,
	}), flow.PythonLibrary(), flow.Options{})
	s := sink(t, g, "from_pretrained")
	if diff := cmp.Diff([]string{"org/reranker?", "org/small?"}, show(s)); diff != "" {
		t.Fatal(diff)
	}
	var via []string
	for _, st := range s.Values[slices.IndexFunc(s.Values, func(v flow.Value) bool { return v.Text == "org/reranker" })].Steps {
		p, line := g.Line(st)
		via = append(via, string(st.Via)+" "+st.Text+" "+p+":"+string(rune('0'+line)))
	}
	t.Log(via)
	for _, want := range []string{"environment default", "dict member", "caller", "attribute"} {
		if !strings.Contains(strings.Join(via, "\n"), want) {
			t.Errorf("steps %q lack %q", via, want)
		}
	}
}

func TestClients(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"direct", "import openai\nopenai.OpenAI(base_url='u').chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"variable", "from openai import OpenAI as O\nc = O(base_url='u')\nc.chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"attribute", "import openai\nclass A:\n  def __init__(self):\n    self.c = openai.OpenAI(base_url='u')\n  def go(self):\n    self.c.chat.completions.create()\n", "openai.OpenAI().chat.completions.create"},
		{"parameter", "import openai\ndef f(c):\n  c.chat.completions.create()\nf(openai.OpenAI(base_url='u'))", "openai.OpenAI().chat.completions.create"},
		{"return", "import openai\ndef get():\n  return openai.OpenAI(base_url='u')\nget().chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"dict", "import openai\nd = {'c': openai.OpenAI(base_url='u')}\nd['c'].chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"with", "import openai\nwith openai.OpenAI(base_url='u') as c:\n  c.chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"subclass", "import openai\nclass My(openai.OpenAI):\n  pass\nMy(base_url='u').chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"partial", "import openai, functools\nmk = functools.partial(openai.OpenAI, base_url='u')\nmk().chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"property", "import openai\nclass A:\n  @property\n  def c(self):\n    return openai.OpenAI(base_url='u')\nA().c.chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"cached", "import openai\nfrom functools import lru_cache\n@lru_cache(maxsize=None)\ndef get():\n  return openai.OpenAI(base_url='u')\nget().chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"lazy_global", "import openai\nc = None\ndef get():\n  global c\n  if c is None:\n    c = openai.OpenAI(base_url='u')\n  return c\nget().chat.completions.create()", "openai.OpenAI().chat.completions.create"},
		{"async", "import openai\nasync def f():\n  c = openai.AsyncOpenAI(base_url='u')\n  await c.chat.completions.create()\n", "openai.AsyncOpenAI().chat.completions.create"},
		{"self_call_in_subclass", "import openai\nclass My(openai.OpenAI):\n  def go(self):\n    self.chat.completions.create()\nMy(base_url='u').go()", "openai.OpenAI().chat.completions.create"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := flow.Analyse(t.Context(), units(t, map[string]string{"main.py": c.src}), flow.PythonLibrary(), flow.Options{})
			for _, s := range g.Sites() {
				for _, x := range s.Callees {
					if x.Path != c.want {
						continue
					}
					if x.Made < 0 {
						t.Fatal("the site that made the client is not known")
					}
					if u, ok := g.Argument(x.Made, -1, "base_url"); !ok || len(u.Values) != 1 || u.Values[0].Text != "u" {
						t.Errorf("base_url = %v, %v", show(u), ok)
					}
					return
				}
			}
			t.Errorf("no call of %s; calls: %v", c.want, g.Calls())
		})
	}
}
