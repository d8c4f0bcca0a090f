package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/sight"
)

// files is a tree in memory, listed in any order.
type files struct {
	of   map[string]string
	seed uint64
}

// List implements [source.Lister].
func (f files) List(context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		var names []string
		for n := range f.of {
			names = append(names, n)
		}
		slices.Sort(names)
		r := rand.New(rand.NewPCG(f.seed, 1))
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, n := range names {
			text := f.of[n]
			open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			if !yield(source.Entry{Path: n, Size: int64(len(text)), Open: open}, nil) {
				return
			}
		}
	}
}

func open(t testing.TB, of map[string]string, lim source.Limits) *source.Tree {
	t.Helper()
	tree, err := source.Open(t.Context(), files{of, 0}, source.Options{Limits: lim})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// assetsOf lists what is in a tree, one line for each asset.
func assetsOf(t testing.TB, tree *source.Tree) string {
	t.Helper()
	all, err := tree.Sightings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range all {
		s := &all[i]
		l := fmt.Sprintf("%s %s|%s|%s|%s", s.Kind, s.Name, s.Provider, s.State, s.Scope)
		for _, f := range s.Flags {
			l += fmt.Sprintf(" %s:%d", f.Flag, f.At.Line)
			if f.Conditional {
				l += "?"
			}
		}
		out = append(out, l)
	}
	return strings.Join(out, "\n")
}

// TestRules has one small program for each way in which an id comes to its
// slot. only is the kind that is compared.
func TestRules(t *testing.T) {
	t.Parallel()
	const hub = "from transformers import AutoModel\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string // models alone: name|provider, a comma between
	}{
		"literal":            {map[string]string{"a.py": "import openai\nopenai.OpenAI().responses.create(model='gpt-4o')\n"}, "gpt-4o|openai"},
		"keyword_dict":       {map[string]string{"a.py": "import openai\nkw = {'model': 'gpt-4o'}\nopenai.OpenAI().responses.create(**kw)\n"}, "gpt-4o|openai"},
		"environment":        {map[string]string{"a.py": "import os\n" + hub + "AutoModel.from_pretrained(os.getenv('M', 'acme/chat-7b'))\n"}, "acme/chat-7b|huggingface"},
		"environment_set":    {map[string]string{"a.py": "import os\n" + hub + "AutoModel.from_pretrained(os.environ['M'])\n", ".env": "M=acme/chat-8b\n"}, "acme/chat-8b|huggingface"},
		"module_dict":        {map[string]string{"c.py": "CFG = {'llm': {'model': 'acme/chat-7b'}}\n", "a.py": hub + "from c import CFG\nAutoModel.from_pretrained(CFG['llm']['model'])\n"}, "acme/chat-7b|huggingface"},
		"class_attribute":    {map[string]string{"a.py": hub + "class C:\n  name = 'acme/chat-7b'\n  def load(self): return AutoModel.from_pretrained(self.name)\nC().load()\n"}, "acme/chat-7b|huggingface"},
		"default_parameter":  {map[string]string{"a.py": hub + "def load(name='acme/chat-7b'): return AutoModel.from_pretrained(name)\nload()\n"}, "acme/chat-7b|huggingface"},
		"caller":             {map[string]string{"a.py": hub + "def load(name): return AutoModel.from_pretrained(name)\nload('acme/chat-7b')\n"}, "acme/chat-7b|huggingface"},
		"import_in_function": {map[string]string{"c.py": "M = 'acme/chat-7b'\n", "a.py": hub + "def f():\n  from c import M\n  return AutoModel.from_pretrained(M)\nf()\n"}, "acme/chat-7b|huggingface"},
		"yaml_file":          {map[string]string{"cfg/model.yaml": "llm:\n  name: acme/chat-7b\n", "a.py": "import yaml\n" + hub + "c = yaml.safe_load(open('cfg/model.yaml'))\nAutoModel.from_pretrained(c['llm']['name'])\n"}, "acme/chat-7b|huggingface"},
		"argparse":           {map[string]string{"a.py": "import argparse\n" + hub + "p = argparse.ArgumentParser()\np.add_argument('--model', default='acme/chat-7b')\nAutoModel.from_pretrained(p.parse_args().model)\n"}, "acme/chat-7b|huggingface"},
		"folded":             {map[string]string{"a.py": hub + "org = 'acme'\nAutoModel.from_pretrained(f'{org}/chat-' + '7b')\n"}, "acme/chat-7b|huggingface"},
		"list":               {map[string]string{"a.py": hub + "for m in ['acme/chat-7b', 'acme/chat-8b']:\n  AutoModel.from_pretrained(m)\n"}, "acme/chat-7b|huggingface,acme/chat-8b|huggingface"},
		"base_url":           {map[string]string{"a.py": "import openai\nc = openai.OpenAI(base_url='https://api.deepseek.com/v1')\nc.chat.completions.create(model='deepseek-chat')\n"}, "deepseek-chat|deepseek"},
		"local_server":       {map[string]string{"a.py": "import openai\nc = openai.OpenAI(base_url='http://localhost:11434/v1')\nc.chat.completions.create(model='qwen3:8b')\n"}, "qwen3:8b|ollama"},
		"other_port":         {map[string]string{"a.py": "import openai\nc = openai.OpenAI(base_url='http://localhost:9999/v1')\nc.chat.completions.create(model='acme/chat-7b')\n"}, "acme/chat-7b|openai-compatible"},
		"raw_http":           {map[string]string{"a.py": "import requests\nrequests.post('https://api.mistral.ai/v1/chat/completions', json={'model': 'mistral-small-latest'})\n"}, "mistral-small-latest|mistral"},
		"prefix":             {map[string]string{"a.py": "import litellm\nlitellm.completion(model='anthropic/claude-3-haiku')\n"}, "claude-3-haiku|anthropic"},
		"framework_default":  {map[string]string{"a.py": "from langchain_openai import ChatOpenAI\nChatOpenAI()\n"}, "gpt-3.5-turbo|openai"},
		"hub_default_org":    {map[string]string{"a.py": "from sentence_transformers import SentenceTransformer\nSentenceTransformer('all-MiniLM-L6-v2')\n"}, "sentence-transformers/all-MiniLM-L6-v2|huggingface"},
		"notebook":           {map[string]string{"n.ipynb": `{"cells":[{"cell_type":"code","source":"import openai\nc = openai.OpenAI()"},{"cell_type":"code","source":"c.responses.create(model='gpt-4o')"}]}`}, "gpt-4o|openai"},
		"unresolved":         {map[string]string{"a.py": "import openai, sys\nopenai.OpenAI().responses.create(model=sys.argv[1])\n"}, "|openai"},
		"local_path":         {map[string]string{"a.py": hub + "AutoModel.from_pretrained('./out/model')\n"}, ""},
		"own_class":          {map[string]string{"a.py": "class OpenAI:\n  def create(self, model): pass\nOpenAI().create(model='gpt-4o-like')\nclass Agent: pass\nAgent()\n"}, ""},
		"docstring":          {map[string]string{"a.py": "'''use acme/chat-7b or openai.OpenAI().responses.create(model=\"gpt-4o\")'''\n# model='gpt-4o'\n"}, ""},
		"placeholder":        {map[string]string{"a.py": "import openai\nopenai.OpenAI().responses.create(model='your-model-name')\n"}, "|openai"},
		"word_is_no_model":   {map[string]string{"a.py": "import logging\nmodel = str\nlogging.debug('model=%s', model)\nraise ValueError(model)\n"}, ""},
		"typescript":         {map[string]string{"a.ts": "import OpenAI from 'openai';\nconst M: string = process.env.M ?? 'gpt-4o-mini';\nnew OpenAI().chat.completions.create({ model: M });\n"}, "gpt-4o-mini|openai"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := open(t, c.files, source.Limits{})
			all, err := tree.Sightings(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range all {
				if all[i].Kind == sight.Model {
					got = append(got, all[i].Name+"|"+all[i].Provider)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, ",")); diff != "" {
				t.Errorf("%s\n%s", diff, assetsOf(t, tree))
			}
		})
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"trust_literal":     {"from transformers import AutoModel\nAutoModel.from_pretrained('a/b-1',\n  trust_remote_code=True)\n", "revision_unpinned:2 trust_remote_code:3"},
		"trust_constant":    {"from transformers import AutoModel\nT = True\nAutoModel.from_pretrained('a/b-1', trust_remote_code=T)\n", "revision_unpinned:3 trust_remote_code:3"},
		"trust_off":         {"from transformers import AutoModel\nAutoModel.from_pretrained('a/b-1', trust_remote_code=False)\n", "revision_unpinned:2"},
		"trust_opt_in":      {"import os\nfrom transformers import AutoModel\nAutoModel.from_pretrained('a/b-1', trust_remote_code=os.getenv('X') == '1')\n", "revision_unpinned:3 trust_remote_code:3?"},
		"pinned":            {"from transformers import AutoModel\nAutoModel.from_pretrained('a/b-1', revision='0123456789abcdef0123456789abcdef01234567')\n", ""},
		"weights_only":      {"import torch\ntorch.load('x.pt', weights_only=False)\n", "weights_only_false:2"},
		"weights_only_safe": {"import torch\ntorch.load('x.pt', weights_only=True)\n", ""},
		"dangerous":         {"from langchain_community.vectorstores import FAISS\nFAISS.load_local('i', e, allow_dangerous_deserialization=True)\n", "allow_dangerous_deserialization:2"},
		"hardcoded":         {"import openai\nopenai.OpenAI(api_key='sk-proj-" + strings.Repeat("a1B2", 12) + "')\n", "hardcoded_key:2"},
		"placeholder":       {"import openai\nopenai.OpenAI(api_key='sk-your-key')\n", "placeholder_key:2"},
		"torch_hub":         {"import torch\ntorch.hub.load('a/b', 'm')\n", "torch_hub_unpinned:2"},
		"keras":             {"import keras\nkeras.models.load_model('m.keras', safe_mode=False)\n", "safe_mode_false:2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := open(t, map[string]string{"a.py": c.text, "requirements.txt": "torch==2.7.0\n"}, source.Limits{})
			all, err := tree.Sightings(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range all {
				for _, f := range all[i].Flags {
					l := fmt.Sprintf("%s:%d", f.Flag, f.At.Line)
					if f.Conditional {
						l += "?"
					}
					if !slices.Contains(got, l) {
						got = append(got, l)
					}
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	key := "sk-proj-" + strings.Repeat("a1B2", 12)
	tree := open(t, map[string]string{"a.py": "import openai\nc = openai.OpenAI(api_key='" + key + "')\nc.responses.create(model='gpt-4o')\n", ".env": "OPENAI_API_KEY=" + key + "\n"}, source.Limits{})
	all, err := tree.Sightings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%+v", all); strings.Contains(s, key) || strings.Contains(s, key[10:40]) {
		t.Error("a key of the source is in the sightings")
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	tree := open(t, map[string]string{
		"main.py":            "from lib import used\nif __name__ == '__main__':\n    used()\n",
		"lib.py":             "import openai\nc = openai.OpenAI()\ndef used(): c.responses.create(model='gpt-4o')\ndef dead(): c.responses.create(model='gpt-4o-mini')\n",
		"tests/test_a.py":    "import openai\ndef test_x(): openai.OpenAI().responses.create(model='gpt-4')\n",
		"docker-compose.yml": "services:\n  o:\n    image: ollama/ollama\n    command: ollama pull qwen3:8b\n",
	}, source.Limits{})
	script := assetsOf(t, open(t, map[string]string{"job.py": "import openai\nanswer = openai.OpenAI().responses.create(model='gpt-4o')\n", "main.py": "if __name__ == '__main__':\n    print(1)\n"}, source.Limits{}))
	if !strings.Contains(script, "model gpt-4o|openai|possibly_reachable|production") {
		t.Errorf("a script that nobody imports:\n%s", script)
	}
	got := assetsOf(t, tree)
	for _, want := range []string{"model gpt-4o|openai|reachable|production", "model gpt-4o-mini|openai|unreachable|production", "model gpt-4|openai|reachable|test", "model qwen3:8b|ollama|config_only|production"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	of := map[string]string{
		"a.py": "from transformers import AutoModel\nimport b\nAutoModel.from_pretrained(b.NAME, trust_remote_code=True)\n", "b.py": "import os\nNAME = os.getenv('M', 'acme/chat-7b')\n",
		".env": "M=acme/chat-8b\n", "c.py": "import b, a\nfor m in ['x/y-1', b.NAME]: a.AutoModel.from_pretrained(m)\n", "d.ts": "import OpenAI from 'openai'; new OpenAI().responses.create({model: 'gpt-4o'});",
	}
	first := assetsOf(t, open(t, of, source.Limits{}))
	for seed := range uint64(5) {
		tree, err := source.Open(t.Context(), files{of, seed}, source.Options{Limits: source.Limits{Jobs: 1 + int(seed%3)}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, assetsOf(t, tree)); diff != "" {
			t.Errorf("order %d: %s", seed, diff)
		}
	}
}

// TestBadInput: what cannot be read is told with its place, and is never taken
// for empty.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, text string
		lim        source.Limits
		line       int
	}{
		"half_edited":   {path: "a.py", text: "import openai\ndef f(:\n  x =\ny = 1\n", line: 2},
		"invalid_utf8":  {path: "a.py", text: "x = '\xff\xfe'\n"},
		"too_large":     {path: "a.py", text: strings.Repeat("x = 1\n", 100), lim: source.Limits{FileBytes: 100}},
		"broken_json":   {path: "config.json", text: "{\"a\": \n\n [1,"},
		"no_notebook":   {path: "n.ipynb", text: "{\"cells\": 7}"},
		"binary_config": {path: "x.yaml", text: "a: \x00\x01\x02"},
		"broken_ts":     {path: "a.ts", text: "import x from 'y'\nfunction f( {\n"},
		"deep":          {path: "a.py", text: "x = " + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000) + "\n", line: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := open(t, map[string]string{c.path: c.text, "good.py": "import openai\nopenai.OpenAI().responses.create(model='gpt-4o')\n"}, c.lim)
			if tree.Complete() || len(tree.Statuses) == 0 || tree.Statuses[0].Path != c.path {
				t.Fatalf("statuses %+v, want one of %s", tree.Statuses, c.path)
			}
			if c.line > 0 && tree.Statuses[0].Line != c.line {
				t.Errorf("line %d, want %d", tree.Statuses[0].Line, c.line)
			}
			if !strings.Contains(assetsOf(t, tree), "gpt-4o") {
				t.Error("the other file was not read")
			}
		})
	}
	tree := open(t, map[string]string{"a.py": "x = 1\n", "b.py": "x = 1\n", "c.py": "x = 1\n"}, source.Limits{Files: 2})
	if tree.Complete() || len(tree.Files) != 2 {
		t.Errorf("a limit of files: %d files, complete %v", len(tree.Files), tree.Complete())
	}
	long := "import OpenAI from 'openai';" + strings.Repeat("var a=function(b){return b+1};", 100_000)
	if tree := open(t, map[string]string{"bundle.min.js": long}, source.Limits{}); !tree.Files[0].Imports {
		t.Error("a bundle is not told from source that somebody wrote")
	}
}

// TestDir: links are not followed, and loops of them end.
func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), "out.py")
	for p, text := range map[string]string{filepath.Join(dir, "a.py"): "x = 1\n", out: "import openai\n", filepath.Join(dir, "node_modules", "x", "i.js"): "x"} {
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"loop": ".", "out.py": out, "self": "self"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Skip("links cannot be made here")
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tree, err := source.Open(t.Context(), source.Dir{Root: root}, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) != 1 || tree.Files[0].Path != "a.py" || len(tree.Left) != 1 || tree.Left[0] != "node_modules" || !tree.Complete() {
		t.Errorf("files %d, left %v, statuses %+v", len(tree.Files), tree.Left, tree.Statuses)
	}
}

// TestFollow: a model that a dependency loads is seen where the tree's own code
// leads there, and only there.
func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for p, text := range map[string]string{
		"helper/__init__.py":       "from .load import embed\n",
		"helper/load.py":           "from transformers import AutoModel\nimport deeper\ndef embed(x):\n    deeper.run()\n    return AutoModel.from_pretrained('acme/embed-1')\ndef unused():\n    AutoModel.from_pretrained('acme/unused-1')\n",
		"helper/tests/test_x.py":   "from transformers import AutoModel\nAutoModel.from_pretrained('acme/test-1')\n",
		"deeper.py":                "import openai\ndef run(): openai.OpenAI().responses.create(model='gpt-4o')\n",
		"other/__init__.py":        "import openai\nopenai.OpenAI().responses.create(model='gpt-4')\n",
		"transformers/__init__.py": "class AutoModel: pass\n",
	} {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tree := open(t, map[string]string{"main.py": "import helper\nif __name__ == '__main__':\n    helper.embed('x')\n"}, source.Limits{})
	if err := tree.Follow(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	all, err := tree.Sightings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range all {
		if all[i].Kind == sight.Model {
			got = append(got, all[i].Name+" "+string(all[i].State)+" "+all[i].Evidence[0].Path)
		}
	}
	want := []string{"acme/embed-1 reachable site-packages/helper/load.py", "gpt-4o reachable site-packages/deeper.py"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	oid := strings.Repeat("ab", 32)
	tree := open(t, map[string]string{"m.pt": "not really", "big.safetensors": "version https://git-lfs.github.com/spec/v1\noid sha256:" + oid + "\nsize 12345\n"}, source.Limits{})
	if f := tree.Files[0]; !f.Pointer || f.Digest != "sha256:"+oid || f.Size != 12345 {
		t.Errorf("pointer: %+v", f)
	}
	if f := tree.Files[1]; f.Pointer || len(f.Digest) != 71 {
		t.Errorf("file: %+v", f)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Open(ctx, files{map[string]string{"a.py": "x = 1"}, 0}, source.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want the cause of the end", err)
	}
}

func FuzzTree(f *testing.F) {
	f.Add("import openai\nopenai.OpenAI().responses.create(model='gpt-4o')\n", "FROM x\n", "a: 1\n", "import a from 'openai'")
	f.Fuzz(func(t *testing.T, py, docker, yml, ts string) {
		tree, err := source.Open(t.Context(), files{map[string]string{"a.py": py, "Dockerfile": docker, "a.yaml": yml, "a.ts": ts}, 0}, source.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Sightings(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkTree(b *testing.B) {
	var buf bytes.Buffer
	for i := range 400 {
		fmt.Fprintf(&buf, "import openai\nclass C%d:\n    def run(self, x, name='gpt-4o'):\n        client = openai.OpenAI(timeout=%d)\n        if x:\n            return client.responses.create(model=name, input=[str(y) for y in x])\n        return None\n\nC%d().run([1, 2])\n", i, i, i)
	}
	of := map[string]string{}
	total := 0
	for i := range 20 {
		of[fmt.Sprintf("pkg%d/mod.py", i)] = buf.String()
		total += buf.Len()
	}
	b.SetBytes(int64(total))
	for b.Loop() {
		tree := open(b, of, source.Limits{})
		if _, err := tree.Sightings(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
