package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/notebook"
)

// show writes a value as JSON does, for comparison.
func show(v *config.Value) string {
	if v == nil {
		return "-"
	}
	switch v.Kind {
	case config.List:
		var b []string
		for _, k := range v.Kids {
			b = append(b, show(k))
		}
		return "[" + strings.Join(b, ",") + "]"
	case config.Map:
		var b []string
		for i, k := range v.Kids {
			b = append(b, v.Keys[i]+":"+show(k))
		}
		return "{" + strings.Join(b, ",") + "}"
	case config.Null:
		return "null"
	case config.String:
		return fmt.Sprintf("%q", v.Text)
	default:
		return v.Text
	}
}

func TestYAML(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"map":            {"a: 1\nb: two\nc: true\nd: null\ne:\nf: ~\n", `{a:1,b:"two",c:true,d:null,e:null,f:null}`},
		"nested":         {"a:\n  b:\n    c: 1\n  d: 2\ne: 3\n", `{a:{b:{c:1},d:2},e:3}`},
		"list":           {"- a\n- b: 1\n  c: 2\n-\n  d: 3\n- - x\n  - y\n", `["a",{b:1,c:2},{d:3},["x","y"]]`},
		"list_under_key": {"k:\n- a\n- b\nm: 1\n", `{k:["a","b"],m:1}`},
		"flow":           {"a: {b: 1, c: [x, 'y', \"z\"]}\nd: []\ne: {}\n", `{a:{b:1,c:["x","y","z"]},d:[],e:{}}`},
		"flow_lines":     {"a: [\n  1,\n  2, # two\n]\nb: 3\n", `{a:[1,2],b:3}`},
		"quoted":         {`a: "x: y # z"` + "\nb: 'it''s'\nc: \"\\n\"\n\"d e\": 1\n", `{a:"x: y # z",b:"it's",c:"\n",d e:1}`},
		"comment":        {"a: 1 # one\n# b: 2\nurl: http://x/#y\n", `{a:1,url:"http://x/#y"}`},
		"literal":        {"a: |\n  one\n   two\n\n  three\nb: >-\n  folded\n  line\n", `{a:"one\n two\n\nthree",b:"folded line"}`},
		"anchor":         {"base: &b\n  x: 1\n  y: 2\none:\n  <<: *b\n  y: 3\ntwo: *b\n", `{base:{x:1,y:2},one:{x:1,y:2,y:3},two:{x:1,y:2}}`},
		"documents":      {"a: 1\n---\nb: 2\n...\n", `{a:1} {b:2}`},
		"template":       {"{{- if .x }}\na: {{ .Values.model }}\n{{- end }}\nb: \"{{ .y }}\"\n", `{a:"{{ .Values.model }}",b:"{{ .y }}"}`},
		"plain_goes_on":  {"a: one\n  two\nb: 1\n", `{a:"one two",b:1}`},
		"address":        {"image: ollama/ollama:latest\nenv:\n  - A=http://x:1/y\n", `{image:"ollama/ollama:latest",env:["A=http://x:1/y"]}`},
		"tag":            {"a: !!str 1\nb: !custom {x: 1}\n", `{a:1,b:{x:1}}`},
		"windows":        {"a: 1\r\nb:\r\n  - c\r\n", `{a:1,b:["c"]}`},
		"empty":          {"\n# nothing\n", ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs, _ := config.YAML(c.text)
			var got []string
			for _, d := range docs {
				got = append(got, show(d))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, problem := config.YAML("a: 1\n   b: 2\nc: 3\n"); problem != 2 {
		t.Errorf("a line that fits nowhere is told as %d, want 2", problem)
	}
}

func TestJSONAndTOML(t *testing.T) {
	t.Parallel()
	v, problem := config.JSON("{\"a\": [1, 2.5, \"x\\u0041\\n\"], // c\n \"b\": {\"c\": true, \"d\": null,},\n}")
	if want := `{a:[1,2.5,"xA\n"],b:{c:true,d:null}}`; show(v) != want || problem != 0 {
		t.Errorf("JSON: %s, problem %d", show(v), problem)
	}
	if v.Get("b").Line != 2 {
		t.Errorf("line of b is %d, want 2", v.Get("b").Line)
	}
	for _, bad := range []string{"{\"a\": ", "[1 2", "{a: 1}", "{\"a\" 1}", "nope", "{\"a\": 'x'}", "[1] x"} {
		if _, problem := config.JSON(bad); problem == 0 {
			t.Errorf("JSON(%q) has no problem", bad)
		}
	}
	v, problem = config.TOML("top = 1\n[tool.poetry]\nname = \"x\" # c\ndeps = [\n  \"a>=1\", # one\n  'b',\n]\n[tool.poetry.dependencies]\ntorch = {version = \"2.4\", extras = [\"x\"]}\n\"quoted.key\" = true\n[[package]]\nname = 'p'\n[[package]]\nname = 'q'\ntext = \"\"\"\nlong\n\"\"\"\n")
	if want := `{top:1,tool:{poetry:{name:"x",deps:["a>=1","b"],dependencies:{torch:{version:"2.4",extras:["x"]},quoted.key:true}}},package:[{name:"p"},{name:"q",text:"long\n"}]}`; show(v) != want || problem != 0 {
		t.Errorf("TOML: %s, problem %d", show(v), problem)
	}
}

// Of two members with one name the last counts, and what a map says itself
// before what it merges.
func TestNameTwice(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`"x":1,`, 20)
	docs, _ := config.YAML("base: &b\n  a: no\nhere:\n  <<: *b\n  a: yes\n")
	for name, v := range map[string]*config.Value{
		"json": first(config.JSON(`{"a":"no","b":1,"a":"yes"}`)),
		"many": first(config.JSON(`{"a":"no",` + many + `"a":"yes"}`)),
		"late": first(config.JSON(`{` + many + `"a":"no","a":"yes"}`)),
		"yaml": docs[0].Get("here"),
	} {
		if got := v.Get("a"); got == nil || got.Text != "yes" && got.Text != "true" {
			t.Errorf("%s: a is %+v, want yes", name, got)
		}
	}
}

func first(v *config.Value, _ int) *config.Value { return v }

// TestRead compares what files say: assets, packages, variables, entries.
func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, text, want string }{
		"requirements":     {"requirements.txt", "torch==2.4.1\ntransformers[sentencepiece] >= 4.40 ; python_version > '3.8'\n# no\n-r other.txt\nPillow\n", "pkg pypi/torch 2.4.1\npkg pypi/transformers >=4.40\npkg pypi/pillow "},
		"pyproject":        {"pyproject.toml", "[project]\nname = 'x'\ndependencies = ['openai>=1.2', 'torch']\n[project.scripts]\nrun = 'pkg.cli:main'\n", "pkg pypi/openai >=1.2\npkg pypi/torch \nentry pkg.cli main"},
		"package_json":     {"package.json", `{"dependencies":{"openai":"^4.0.0"},"devDependencies":{"vitest":"1"},"main":"dist/i.js"}`, "pkg npm/openai ^4.0.0\npkg npm/vitest 1\nentry dist/i.js "},
		"lock":             {"uv.lock", "[[package]]\nname = \"torch\"\nversion = \"2.5.0\"\n", "pkg pypi/torch 2.5.0"},
		"go_mod":           {"go.mod", "module x\nrequire (\n\tgithub.com/openai/openai-go v1.2.3 // indirect\n)\n", "pkg go/github.com/openai/openai-go v1.2.3"},
		"pom":              {"pom.xml", "<project><properties><v>1.0</v></properties><dependencies><dependency><groupId>dev.langchain4j</groupId><artifactId>langchain4j-open-ai</artifactId><version>${v}</version></dependency></dependencies></project>", "pkg maven/dev.langchain4j:langchain4j-open-ai 1.0"},
		"dotenv":           {".env", "MODEL=gpt-4o # c\nEMPTY=\nexport B=\"x\"\nC= # none\n", "env MODEL=gpt-4o\nenv EMPTY=\nenv B=x\nenv C="},
		"compose":          {"docker-compose.yml", "services:\n  o:\n    image: ollama/ollama:latest\n    environment:\n      - GENERATION_MODEL=${GENERATION_MODEL:-qwen3:9b}\n", "container ollama/ollama:latest  image_latest\nprovider ollama \nenv GENERATION_MODEL=qwen3:9b"},
		"compose_models":   {"compose.yaml", "services: {}\nmodels:\n  llm:\n    model: ai/smollm2\n", "model ai/smollm2 docker"},
		"dockerfile":       {"Dockerfile", "ARG M=acme/chat-7b\nFROM python:3.11\nENV HF_MODEL=${M}\nRUN pip install x && \\\n    huggingface-cli download ${M} --revision main\nCMD [\"python\", \"-m\", \"app.main\"]\n", "model acme/chat-7b huggingface revision_unpinned\nenv HF_MODEL=acme/chat-7b\nentry app.main "},
		"vllm":             {"k8s/pod.yaml", "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n        - image: vllm/vllm-openai:v0.6.3\n          args: [--model, acme/chat-7b, --trust-remote-code]\n", "container vllm/vllm-openai:v0.6.3 \nmodel acme/chat-7b huggingface revision_unpinned trust_remote_code"},
		"kserve":           {"isvc.yaml", "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec:\n  predictor:\n    model:\n      modelFormat: {name: huggingface}\n      storageUri: hf://acme/chat-7b\n", "model acme/chat-7b huggingface revision_unpinned"},
		"terraform":        {"main.tf", "resource \"azurerm_cognitive_deployment\" \"d\" {\n  model {\n    format = \"OpenAI\"\n    name   = \"gpt-4o\"\n  }\n}\n", "provider azure-openai \nmodel gpt-4o azure-openai"},
		"mcp":              {".mcp.json", `{"mcpServers":{"fs":{"command":"npx","args":["-y","@acme/server-files"]},"web":{"url":"http://mcp.example.org/sse?key=1"}}}`, "mcp_client fs  unpinned_package\nmcp_client http://mcp.example.org/sse  plain_http"},
		"mcp_pinned":       {".mcp.json", `{"mcpServers":{"fs":{"command":"npx","args":["-y","@acme/server-files@1.2.3"]}}}`, "mcp_client fs "},
		"mcp_secret":       {".cursor/mcp.json", `{"mcpServers":{"x":{"command":"node","args":["x.js"],"env":{"API_KEY":"abcd1234efgh5678","OTHER":"${TOKEN}"}}}}`, "mcp_client x  inline_secret"},
		"litellm":          {"litellm.yaml", "model_list:\n  - model_name: x\n    litellm_params:\n      model: azure/gpt-4o-eu\n", "model gpt-4o-eu azure-openai"},
		"modelfile":        {"Modelfile", "FROM llama3.2:3b\nSYSTEM You are a helpful pirate.\n", "model llama3.2:3b ollama\nprompt You are a helpful pirate. "},
		"card":             {"README.md", "---\nbase_model: acme/base-7b\ndatasets:\n- acme/rows\n---\n# x\n", "model acme/base-7b huggingface revision_unpinned\ndataset acme/rows huggingface"},
		"adapter":          {"adapter_config.json", `{"base_model_name_or_path": "acme/base-7b"}`, "model acme/base-7b huggingface revision_unpinned"},
		"auto_map":         {"m/config.json", `{"architectures":["X"],"auto_map":{"AutoModel":"modeling.X"}}`, "model_file m  remote_code_config"},
		"workflow":         {".github/workflows/x.yml", "jobs:\n  a:\n    steps:\n      - uses: actions/ai-inference@v1\n        with:\n          model: openai/gpt-4o-mini\n      - run: |\n          ollama pull qwen3:8b\n", "assistant actions/ai-inference \nprovider github-models \nmodel qwen3:8b ollama\nmodel openai/gpt-4o-mini github-models"},
		"assistant":        {"CLAUDE.md", "Be brief.\n", "assistant claude-code "},
		"bypass":           {".claude/settings.json", `{"permissions":{"defaultMode":"bypassPermissions"}}`, "assistant claude-code  permission_bypass"},
		"spring":           {"application.yml", "spring:\n  ai:\n    openai:\n      chat:\n        options:\n          model: ${MODEL:gpt-4o-mini}\n", "model gpt-4o-mini openai\nprovider openai "},
		"look_alike":       {"values.yaml", "model: Toyota\nmodelName: x\nimage: nginx:latest\n", ""},
		"no_registry_word": {"config.json", `{"model": "a car", "name": "model"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := config.Read(t.Context(), c.path, []byte(c.text))
			var got []string
			for i := range d.Sightings {
				s := &d.Sightings[i]
				l := fmt.Sprintf("%s %s %s", s.Kind, s.Name, s.Provider)
				for _, f := range s.Flags {
					l += " " + f.Flag
				}
				got = append(got, l)
			}
			for _, p := range d.Packages {
				got = append(got, fmt.Sprintf("pkg %s/%s %s", p.Ecosystem, p.Name, p.Version))
			}
			for _, v := range d.Env {
				if !v.Default {
					got = append(got, "env "+v.Name+"="+v.Value)
				}
			}
			for _, e := range d.Entries {
				got = append(got, "entry "+e.Path+e.Module+" "+e.Func)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
			if len(d.Problems) > 0 {
				t.Errorf("problems: %+v", d.Problems)
			}
		})
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	d := config.Shell(t.Context(), "n.ipynb", []notebook.Line{
		{Text: "hf download acme/chat-7b --revision 0123456789abcdef0123456789abcdef01234567 && echo done", Line: 1},
		{Text: "wget https://huggingface.co/acme/base-7b/resolve/main/model.gguf -O x", Line: 2},
		{Text: "git clone https://huggingface.co/datasets/acme/rows", Line: 3},
		{Text: "echo https://huggingface.co/docs/hub", Line: 4},
	})
	var got []string
	for i := range d.Sightings {
		got = append(got, fmt.Sprintf("%s %s %s %v", d.Sightings[i].Kind, d.Sightings[i].Name, d.Sightings[i].Revision, d.Sightings[i].Pinned))
	}
	want := "model acme/chat-7b 0123456789abcdef0123456789abcdef01234567 true\nmodel acme/base-7b main false\ndataset acme/rows  false"
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

// TestMany keeps large maps from costing the square of their size.
func TestMany(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&b, "k%d = %d\n", i, i)
	}
	v, problem := config.TOML(b.String())
	if problem != 0 || len(v.Keys) != 200_000 || v.Get("k199999").Text != "199999" {
		t.Errorf("%d keys, problem %d", len(v.Keys), problem)
	}
	deep := strings.Repeat("[", 100_000)
	if _, problem := config.JSON(deep); problem == 0 {
		t.Error("what is nested too deeply has no problem")
	}
	config.YAML(strings.Repeat("- ", 5000) + "x")
	config.YAML(strings.Repeat("a:\n ", 3000))
}

func FuzzRead(f *testing.F) {
	for _, p := range []string{"requirements.txt", "pyproject.toml", "package.json", "pom.xml", "Dockerfile", "docker-compose.yml", "x.yaml", "main.tf", ".mcp.json", "Modelfile", "README.md", "yarn.lock", "run.sh", ".env", "build.gradle", "a.csproj", "environment.yml"} {
		f.Add(p, "a: {b: [1, 'x', \"y\"]}\n- c: |\n  d\nFROM x\nRUN ollama pull y\n[t]\nk = \"v\"\n")
	}
	f.Add("x.json", `{"mcpServers":{"a":{"command":"npx","args":["-y","b"]}},"nodes":[],"connections":{}}`)
	f.Fuzz(func(t *testing.T, p, s string) {
		if !config.Wants(p) {
			p = "x.yaml"
		}
		d := config.Read(t.Context(), p, []byte(s))
		e := config.Read(t.Context(), p, []byte(s))
		if diff := cmp.Diff(d.Packages, e.Packages); diff != "" {
			t.Error(diff)
		}
	})
}
