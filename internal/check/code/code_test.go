package code_test

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/rules"
)

type tree map[string]string

// List implements [source.Lister].
func (f tree) List(context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		for _, n := range slices.Sorted(maps.Keys(f)) {
			open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(f[n])), nil }
			if !yield(source.Entry{Path: n, Size: int64(len(f[n])), Open: open}, nil) {
				return
			}
		}
	}
}

// read opens a tree and computes what is in it, which is kept.
func read(t *testing.T, f tree) *source.Tree {
	t.Helper()
	src, err := source.Open(t.Context(), f, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Sightings(t.Context()); err != nil {
		t.Fatal(err)
	}
	return src
}

func TestUnsafe(t *testing.T) {
	t.Parallel()
	all, err := code.All()
	if err != nil {
		t.Fatal(err)
	}
	const pin = ", revision='0123456789abcdef0123456789abcdef01234567'"
	hub := "from transformers import AutoModel\nAutoModel.from_pretrained('acme/chat-7b'"
	// One program for each flag, which has this flag alone.
	programs := map[string]string{
		"use_safetensors":                 hub + pin + ", use_safetensors=False)\n",
		"revision_unpinned":               hub + ")\n",
		"trust_remote_code":               hub + pin + ", trust_remote_code=True)\n",
		"weights_only_false":              "import torch\ntorch.load('x.pt', weights_only=False)\n",
		"weights_only_missing":            "import torch\ntorch.load('x.pt')\n",
		"pickle":                          "import pickle\npickle.load(open('x.pkl', 'rb'))\n",
		"allow_pickle":                    "import numpy\nnumpy.load('x.npy', allow_pickle=True)\n",
		"skops_trusted":                   "import skops.io\nskops.io.load('x.skops', trusted=True)\n",
		"safe_mode_false":                 "import keras\nkeras.models.load_model('m.keras', safe_mode=False)\n",
		"unsafe_deserialization":          "import keras\nkeras.config.enable_unsafe_deserialization()\n",
		"keras_h5":                        "import keras\nkeras.models.load_model('m.h5')\n",
		"lambda_layer":                    "import keras\nkeras.layers.Lambda(lambda x: x)\n",
		"custom_op_library":               "import onnxruntime\no = onnxruntime.SessionOptions()\no.register_custom_ops_library('x.so')\n",
		"allow_dangerous_deserialization": "from langchain_community.vectorstores import FAISS\nFAISS.load_local('i', None, allow_dangerous_deserialization=True)\n",
		"allow_dangerous_code":            "from langchain.somewhere import make_agent\nmake_agent(1, allow_dangerous_code=True)\n",
		"torch_hub_unpinned":              "import torch\ntorch.hub.load('acme/repo', 'net')\n",
		"code-load":                       "import torch\ntorch.package.PackageImporter('x.pt')\n",
		"code-exec-tool":                  "from langchain_experimental.tools import PythonREPLTool\nPythonREPLTool()\n",
		"allow_code_execution":            "from crewai import Agent\nAgent(role='coder', allow_code_execution=True)\n",
		"use_docker_false":                "import autogen\nautogen.UserProxyAgent('u', code_execution_config={'use_docker': False})\n",
		"tls_off":                         "import requests\nrequests.post('https://api.openai.com/v1/x', verify=False)\n",
		"plain_http":                      "import openai\nopenai.OpenAI(base_url='http://models.example.org/v1')\n",
		"key_in_url":                      "import requests\nrequests.post('https://generativelanguage.googleapis.com/v1/models/gemini-2.0-flash:generateContent?key=x')\n",
		"hardcoded_key":                   "import openai\nopenai.OpenAI(api_key='sk-proj-" + strings.Repeat("a1B2", 12) + "')\n",
		"placeholder_key":                 "import openai\nopenai.OpenAI(api_key='sk-your-key')\n",
		"permission_bypass":               "import claude_agent_sdk\nclaude_agent_sdk.ClaudeAgentOptions(permission_mode='bypassPermissions')\n",
	}
	files := map[string]tree{
		"browser_key":        {"a.ts": "import OpenAI from 'openai';\nnew OpenAI({ apiKey: k, dangerouslyAllowBrowser: true });\n"},
		"remote_code_config": {"m/config.json": `{"architectures":["X"],"auto_map":{"AutoModel":"modeling.X"}}`},
		"unpinned_package":   {".mcp.json": `{"mcpServers":{"x":{"command":"npx","args":["-y","@acme/files"]}}}`},
		"image_latest":       {"compose.yaml": "services:\n  o:\n    image: ollama/ollama:latest\n"},
		"shell_command":      {".mcp.json": `{"mcpServers":{"x":{"command":"bash","args":["-c","x"]}}}`},
		"inline_secret":      {".mcp.json": `{"mcpServers":{"x":{"command":"node","args":["x.js"],"env":{"API_KEY":"abcd1234efgh5678"}}}}`},
	}
	for flag, text := range programs {
		files[flag] = tree{"a.py": text}
	}
	files["weights_only_missing"]["requirements.txt"] = "torch==2.4.0\n"
	var cases []detecttest.Case[*source.Tree]
	for _, flag := range slices.Sorted(maps.Keys(files)) {
		cases = append(cases, detecttest.Case[*source.Tree]{Name: flag, Subject: read(t, files[flag]), Want: []warden.RuleID{code.RuleOf(flag)}})
	}
	cases = append(cases, detecttest.Case[*source.Tree]{Name: "look_alikes", Subject: read(t, tree{
		"a.py":             hub + pin + ", trust_remote_code=False)\nimport torch, numpy, openai\ntorch.load('x.pt', weights_only=True)\nnumpy.load('x.npy')\nopenai.OpenAI(base_url='https://models.example.org/v1')\ndef load(pickle, trust_remote_code=True): return pickle.loads\nload(1)\n",
		"requirements.txt": "torch==2.7.0\n", ".mcp.json": `{"mcpServers":{"x":{"command":"npx","args":["-y","@acme/files@1.2.3"]}}}`,
	})}, detecttest.Case[*source.Tree]{Name: "broken", Subject: read(t, tree{"a.py": "def f(:\n"}), Incomplete: true})
	detecttest.Accept(t, all[0], cases)
}

// TestRuleOf: each flag of the catalogue has a rule of its own.
func TestRuleOf(t *testing.T) {
	t.Parallel()
	cat, err := rules.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[warden.RuleID]string{}
	for _, u := range cat.Unsafe {
		id := code.RuleOf(u.Flag)
		if id == "" || seen[id] != "" {
			t.Errorf("flag %q has rule %q, that of %q", u.Flag, id, seen[id])
		}
		seen[id] = u.Flag
		if _, err := warden.ParseSeverity(u.Severity); err != nil {
			t.Errorf("flag %q: %v", u.Flag, err)
		}
	}
}
