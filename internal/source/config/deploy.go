package config

import (
	"path"
	"regexp"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
)

func place(p string, line int, text string) sight.Place {
	return sight.Place{Path: p, Line: line, Snippet: Snippet(text)}
}

var reference = regexp.MustCompile(`\$\{([A-Za-z_]\w*)(:?[-=])([^}]*)\}`)

// variable keeps what a file sets. ${NAME:-value} gives the default, both to the
// name that is set and to the one that is read.
func (d *Doc) variable(p, name, value string, line int) {
	name = strings.TrimSpace(name)
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	if name == "" || len(name) > 200 || strings.ContainsAny(name, " ${}()") {
		return
	}
	at := place(p, line, name+"="+value)
	if m := reference.FindStringSubmatch(value); m != nil && m[0] == value {
		d.Env = append(d.Env, Variable{Name: name, Value: strings.Trim(m[3], `"'`), Default: false, At: at})
		if m[1] != name {
			d.Env = append(d.Env, Variable{Name: m[1], Value: strings.Trim(m[3], `"'`), Default: true, At: at})
		}
		return
	}
	if strings.Contains(value, "$") && !strings.Contains(value, "$$") || strings.Contains(value, "{{") {
		return
	}
	d.Env = append(d.Env, Variable{Name: name, Value: value, At: at})
}

func dotenv(p, text string) (d Doc) {
	for i, l := range strings.Split(text, "\n") {
		t := strings.TrimSpace(l)
		t = strings.TrimPrefix(t, "export ")
		if t == "" || t[0] == '#' {
			continue
		}
		if k, v, ok := strings.Cut(t, "="); ok {
			if v = strings.TrimSpace(v); v != "" && v[0] != '"' && v[0] != '\'' {
				v, _, _ = strings.Cut(v, " #")
				if strings.HasPrefix(v, "#") {
					v = ""
				}
			}
			d.variable(p, k, v, i+1)
		}
	}
	d.Value = properties(text)
	return d
}

// properties reads key=value and key: value as data.
func properties(text string) *Value {
	v := &Value{Kind: Map, Line: 1}
	for i, l := range strings.Split(text, "\n") {
		t := strings.TrimSpace(l)
		if t == "" || t[0] == '#' || t[0] == '!' || t[0] == '[' {
			continue
		}
		at := strings.IndexAny(t, "=:")
		if at <= 0 {
			continue
		}
		v.put(strings.TrimSpace(strings.TrimPrefix(t[:at], "export ")), &Value{Kind: String, Text: strings.Trim(strings.TrimSpace(t[at+1:]), `"'`), Line: i + 1})
	}
	return v
}

// dockerfile reads images, variables, downloads and what the image runs.
func dockerfile(p, text string) (d Doc) {
	lines := strings.Split(text, "\n")
	args := map[string]string{}
	stages := map[string]bool{}
	workdir := ""
	for i := 0; i < len(lines); i++ {
		from := i
		l := strings.TrimSpace(lines[i])
		if l == "" || l[0] == '#' {
			continue
		}
		for strings.HasSuffix(l, "\\") && i+1 < len(lines) && len(l) < 64<<10 {
			i++
			next := strings.TrimSpace(lines[i])
			if strings.HasPrefix(next, "#") {
				continue
			}
			l = strings.TrimSuffix(l, "\\") + " " + next
		}
		op, rest, _ := strings.Cut(l, " ")
		rest = strings.TrimSpace(rest)
		switch strings.ToUpper(op) {
		case "ARG":
			if k, v, ok := strings.Cut(rest, "="); ok {
				args[k] = strings.Trim(v, `"'`)
			}
		case "FROM":
			words := strings.Fields(rest)
			for len(words) > 0 && strings.HasPrefix(words[0], "--") {
				words = words[1:]
			}
			if len(words) == 0 {
				continue
			}
			img := substitute(words[0], args)
			if len(words) == 3 && strings.EqualFold(words[1], "as") {
				stages[strings.ToLower(words[2])] = true
			}
			if !stages[strings.ToLower(img)] {
				d.image(p, img, from+1)
			}
		case "ENV":
			d.dockerEnv(p, rest, from+1, args)
		case "WORKDIR":
			workdir = rest
		case "RUN":
			d.Merge(shellLine(p, substitute(strings.TrimPrefix(rest, "--mount"), args), from+1))
		case "ADD", "COPY":
			words := strings.Fields(rest)
			if len(words) > 0 && strings.HasPrefix(words[0], "https://") {
				d.Merge(shellLine(p, "curl "+words[0], from+1))
			}
		case "CMD", "ENTRYPOINT":
			d.command(p, execForm(rest), from+1, "Dockerfile "+strings.ToUpper(op), workdir)
		}
	}
	return d
}

// execForm turns ["a", "b"] into a b.
func execForm(s string) string {
	if strings.HasPrefix(s, "[") {
		if v, _ := JSON(s); v != nil && v.Kind == List {
			var words []string
			for _, k := range v.Kids {
				words = append(words, k.Text)
			}
			return strings.Join(words, " ")
		}
	}
	return s
}

func (d *Doc) dockerEnv(p, rest string, line int, args map[string]string) {
	if k, v, ok := strings.Cut(rest, " "); ok && !strings.Contains(k, "=") {
		d.variable(p, k, substitute(v, args), line)
		args[k] = strings.Trim(v, `"'`)
		return
	}
	for _, w := range words(rest) {
		if k, v, ok := strings.Cut(w, "="); ok {
			v = substitute(v, args)
			d.variable(p, k, v, line)
			args[k] = v
		}
	}
}

var argRef = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)(?::-([^}]*))?\}?`)

func substitute(s string, args map[string]string) string {
	return argRef.ReplaceAllStringFunc(s, func(m string) string {
		g := argRef.FindStringSubmatch(m)
		if v, ok := args[g[1]]; ok {
			return v
		}
		if g[2] != "" {
			return g[2]
		}
		return m
	})
}

// images says what known images serve, and where the model stands.
var images = [...]struct {
	match    string
	kind     sight.Kind
	provider string
	name     string
	flags    string // of the command line, whose argument is the model
	env      string
}{
	{"vllm/vllm-openai", "", "vllm", "", "--model", "MODEL"},
	{"ghcr.io/huggingface/text-generation-inference", "", "huggingface", "", "--model-id", "MODEL_ID"},
	{"ghcr.io/huggingface/text-embeddings-inference", "", "huggingface", "", "--model-id", "MODEL_ID"},
	{"lmsysorg/sglang", "", "huggingface", "", "--model-path", ""},
	{"ollama/ollama", "", "ollama", "", "", "OLLAMA_MODEL"},
	{"ghcr.io/ggml-org/llama.cpp", "", "huggingface", "", "-hf|--hf-repo", "LLAMA_ARG_HF_REPO"},
	{"ghcr.io/ggerganov/llama.cpp", "", "huggingface", "", "-hf|--hf-repo", "LLAMA_ARG_HF_REPO"},
	{"nvcr.io/nvidia/tritonserver", "", "", "", "", ""},
	{"nvcr.io/nim/", "", "nvidia", "", "", ""},
	{"pytorch/torchserve", "", "", "", "", ""},
	{"tensorflow/serving", "", "", "", "", "MODEL_NAME"},
	{"localai/localai", "", "", "", "", ""},
	{"quay.io/go-skynet/local-ai", "", "", "", "", ""},
	{"ghcr.io/berriai/litellm", "", "litellm", "", "--model", ""},
	{"litellm/litellm", "", "litellm", "", "--model", ""},
	{"ghcr.io/open-webui/open-webui", "", "", "", "", ""},
	{"langgenius/dify-", "", "", "", "", ""},
	{"flowiseai/flowise", "", "", "", "", ""},
	{"n8nio/n8n", "", "", "", "", ""},
	{"qdrant/qdrant", sight.VectorStore, "", "qdrant", "", ""},
	{"chromadb/chroma", sight.VectorStore, "", "chroma", "", ""},
	{"ghcr.io/chroma-core/chroma", sight.VectorStore, "", "chroma", "", ""},
	{"semitechnologies/weaviate", sight.VectorStore, "", "weaviate", "", ""},
	{"cr.weaviate.io/semitechnologies/weaviate", sight.VectorStore, "", "weaviate", "", ""},
	{"milvusdb/milvus", sight.VectorStore, "", "milvus", "", ""},
	{"pgvector/pgvector", sight.VectorStore, "", "pgvector", "", ""},
	{"ankane/pgvector", sight.VectorStore, "", "pgvector", "", ""},
	{"redis/redis-stack", sight.VectorStore, "", "redis", "", ""},
}

// image reports an image that is known to serve models or to hold vectors.
func (d *Doc) image(p, ref string, line int) int {
	ref = strings.Trim(ref, `"'`)
	for i := range images {
		m := &images[i]
		if !strings.HasPrefix(strings.TrimPrefix(ref, "docker.io/"), m.match) {
			continue
		}
		s := sight.Sighting{Kind: sight.Container, Name: ref, State: sight.ConfigOnly, Scope: sight.Production, Evidence: []sight.Place{place(p, line, "image: "+ref)}, Pinned: strings.Contains(ref, "@sha256:")}
		if at := strings.Index(ref, "@"); at > 0 {
			s.Revision = ref[at+1:]
		} else if c := strings.LastIndexByte(ref, ':'); c > strings.LastIndexByte(ref, '/') {
			s.Revision = ref[c+1:]
		}
		if !s.Pinned && (s.Revision == "" || s.Revision == "latest") {
			s.Flags = []sight.Flag{{Flag: "image_latest", At: place(p, line, ref)}}
		}
		d.Sightings = append(d.Sightings, s)
		if m.kind == sight.VectorStore {
			d.Sightings = append(d.Sightings, d.sight(p, m.kind, m.name, "", line, ref))
		}
		if m.provider != "" && m.provider != "vllm" && m.provider != "litellm" && m.provider != "huggingface" {
			d.Sightings = append(d.Sightings, d.sight(p, sight.Provider, m.provider, "", line, ref))
		}
		if m.match == "nvcr.io/nim/" {
			name := strings.TrimPrefix(ref, m.match)
			name, _, _ = strings.Cut(name, ":")
			d.model(p, "nvidia", name, "", line, ref)
		}
		return i
	}
	return -1
}

// sight makes a sighting that a configuration names.
func (d *Doc) sight(p string, kind sight.Kind, name, provider string, line int, text string) sight.Sighting {
	return sight.Sighting{Kind: kind, Name: name, Provider: provider, State: sight.ConfigOnly, Scope: sight.Production, Evidence: []sight.Place{place(p, line, text)}}
}

// compose reads services: images, variables, commands, models.
func compose(p string, v *Value) (d Doc) {
	v.Get("services").each(func(_ string, s *Value) {
		d.container(p, s.Get("image"), s.Get("environment"), s.Get("command"), s.Get("entrypoint"), "compose command")
	})
	v.Get("models").each(func(_ string, m *Value) {
		if id := m.Get("model").text(); id != "" {
			d.model(p, "docker", id, "", m.Get("model").line(), "model: "+id)
		}
	})
	return d
}

// container reads what runs in one container.
func (d *Doc) container(p string, image, env, command, entry *Value, via string) {
	known := -1
	if image.text() != "" {
		known = d.image(p, expandDefault(image.text()), image.line())
	}
	vars := map[string]string{}
	env.each(func(key string, k *Value) {
		name, value, line := key, k.text(), k.line()
		switch {
		case key == "" && k.Kind == Map: // Kubernetes: name, value
			name, value, line = k.Get("name").text(), k.Get("value").text(), k.Get("value").line()
		case key == "":
			name, value, _ = strings.Cut(k.text(), "=")
		}
		if value == "" {
			return
		}
		d.variable(p, name, value, line)
		vars[name] = expandDefault(value)
		if known >= 0 && images[known].env == name && images[known].provider != "" {
			d.model(p, servedBy(images[known].provider), expandDefault(value), "", line, name+"="+value)
		}
	})
	words := argv(command)
	line := command.line()
	if len(words) > 0 {
		d.command(p, strings.Join(words, " "), line, via, "")
	}
	if e := argv(entry); len(e) > 0 {
		d.command(p, strings.Join(e, " "), entry.line(), via, "")
		words = append(words, e...)
	}
	if known >= 0 && images[known].flags != "" {
		d.served(p, words, images[known].flags, servedBy(images[known].provider), line)
	}
	d.Merge(shellLine(p, strings.Join(words, " "), line))
}

// servedBy is the namespace of the models that a server loads.
func servedBy(provider string) string {
	if provider == "vllm" {
		return "huggingface"
	}
	return provider
}

// served reads the model out of a server's command line.
func (d *Doc) served(p string, words []string, flags, provider string, line int) {
	id, rev, remote := "", "", false
	for i, w := range words {
		flag, value, has := strings.Cut(w, "=")
		if !has && i+1 < len(words) {
			value = words[i+1]
		}
		switch {
		case contains(flags, flag):
			id = value
		case flag == "--revision":
			rev = value
		case flag == "--trust-remote-code":
			remote = true
		case w == "serve" && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-"):
			id = words[i+1]
		}
	}
	if id == "" {
		return
	}
	d.model(p, provider, expandDefault(id), rev, line, strings.Join(words, " "))
	if remote && len(d.Sightings) > 0 {
		s := &d.Sightings[len(d.Sightings)-1]
		s.Flags = append(s.Flags, sight.Flag{Flag: "trust_remote_code", At: s.Evidence[0]})
	}
}

func contains(list, s string) bool {
	for f := range strings.SplitSeq(list, "|") {
		if f == s {
			return true
		}
	}
	return false
}

func argv(v *Value) []string {
	if v == nil {
		return nil
	}
	if v.Kind == List {
		var out []string
		for _, k := range v.Kids {
			out = append(out, k.Text)
		}
		return out
	}
	return words(v.text())
}

// expandDefault puts the default in for ${NAME:-value}.
func expandDefault(s string) string {
	return reference.ReplaceAllString(s, "$3")
}

var (
	tfResource = regexp.MustCompile(`^\s*(?:resource|data)\s+"((?:aws_bedrock|aws_sagemaker|azurerm_cognitive|azurerm_ai|google_vertex_ai)\w*)"\s+"([\w-]+)"`)
	tfAttr     = regexp.MustCompile(`^\s*([a-z_]+)\s*=\s*"([^"]+)"`)
)

// terraform reads resources of model services.
func terraform(p, text string) (d Doc) {
	resource, depth, block := "", 0, ""
	for i, l := range strings.Split(text, "\n") {
		if len(l) > 4000 {
			continue
		}
		if m := tfResource.FindStringSubmatch(l); m != nil && depth == 0 {
			resource = m[1]
			provider := "aws-bedrock"
			switch {
			case strings.HasPrefix(resource, "aws_sagemaker"):
				provider = "aws-sagemaker"
			case strings.HasPrefix(resource, "azurerm"):
				provider = "azure-openai"
			case strings.HasPrefix(resource, "google"):
				provider = "vertex-ai"
			}
			d.Sightings = append(d.Sightings, d.sight(p, sight.Provider, provider, "", i+1, l))
		}
		if resource != "" {
			if m := tfAttr.FindStringSubmatch(l); m != nil && !strings.Contains(m[2], "${") {
				switch {
				case m[1] == "foundation_model" || m[1] == "base_model_identifier" || m[1] == "model_id" || m[1] == "model_identifier":
					d.model(p, "aws-bedrock", m[2], "", i+1, l)
				case m[1] == "name" && block == "model" && strings.HasPrefix(resource, "azurerm"):
					d.model(p, "azure-openai", m[2], "", i+1, l)
				}
			}
			if t := strings.TrimSpace(l); strings.HasSuffix(t, "{") && depth > 0 {
				block = strings.TrimSpace(strings.TrimSuffix(t, "{"))
			}
		}
		depth += strings.Count(l, "{") - strings.Count(l, "}")
		if depth <= 0 {
			depth, resource, block = 0, "", ""
		}
	}
	return d
}

// actions says which workflow steps run a model.
var actions = map[string]string{
	"anthropics/claude-code-action": "anthropic", "anthropics/claude-code-base-action": "anthropic", "openai/codex-action": "openai",
	"google-github-actions/run-gemini-cli": "google", "google-gemini/gemini-cli-action": "google", "actions/ai-inference": "github-models",
}

// workflow reads pipelines: what runs models, variables, commands.
func workflow(p string, v *Value) (d Doc) {
	v.walk(nil, func(path []string, k *Value) {
		last := ""
		if len(path) > 0 {
			last = path[len(path)-1]
		}
		switch {
		case last == "uses" && k.Kind == String:
			name, rev, _ := strings.Cut(k.Text, "@")
			provider, ok := actions[name]
			if !ok && (strings.HasPrefix(name, "coderabbitai/") || name == "qodo-ai/pr-agent" || name == "Codium-ai/pr-agent") {
				ok = true
			}
			if !ok {
				return
			}
			s := d.sight(p, sight.Assistant, name, "", k.Line, "uses: "+k.Text)
			s.Revision = rev
			s.Scope = sight.Production
			d.Sightings = append(d.Sightings, s)
			if provider != "" {
				d.Sightings = append(d.Sightings, d.sight(p, sight.Provider, provider, "", k.Line, "uses: "+k.Text))
			}
		case last == "env" && k.Kind == Map:
			k.each(func(name string, e *Value) { d.variable(p, name, e.text(), e.line()) })
		case (last == "run" || last == "script") && k.Kind == String:
			for i, l := range strings.Split(k.Text, "\n") {
				d.Merge(shellLine(p, l, k.Line+i))
			}
		}
	})
	v.Get("jobs").each(func(_ string, job *Value) {
		job.Get("steps").each(func(_ string, step *Value) {
			name, _, _ := strings.Cut(step.Get("uses").text(), "@")
			if provider := actions[name]; provider != "" {
				m := step.At("with", "model")
				if m == nil {
					m = step.At("with", "anthropic_model")
				}
				d.model(p, provider, m.text(), "", m.line(), "model: "+m.text())
			}
		})
	})
	return d
}

// Command returns the entry points that a command line of a container starts;
// files are relative to the folder it runs in, without its slash.
func Command(p, line, workdir string) []Entry {
	out := commandEntries(p, line, 0, "container command")
	for i := range out {
		if out[i].Path != "" && !strings.HasPrefix(out[i].Path, "/") {
			out[i].Path = path.Join(workdir, out[i].Path)
		}
		out[i].Path = strings.TrimPrefix(out[i].Path, "/")
		if out[i].Module != "" && workdir != "" {
			out[i].Module = strings.Trim(strings.ReplaceAll(workdir, "/", "."), ".") + "." + out[i].Module
		}
	}
	return out
}

// command turns what a container runs into entry points.
func (d *Doc) command(p, s string, line int, via, _ string) {
	d.Entries = append(d.Entries, commandEntries(p, s, line, via)...)
}

// commandEntries finds the files and modules that a command line runs.
func commandEntries(p, s string, line int, via string) []Entry {
	ws := words(expandDefault(s))
	var out []Entry
	for i, w := range ws {
		next := ""
		if i+1 < len(ws) {
			next = ws[i+1]
		}
		switch base := path.Base(w); {
		case w == "-m" && i > 0 && strings.HasPrefix(path.Base(ws[i-1]), "python") && next != "":
			if next != "uvicorn" && next != "gunicorn" && next != "pip" {
				out = append(out, Entry{Module: next, Via: via, At: place(p, line, s)})
			}
		case base == "uvicorn" || base == "gunicorn" || base == "hypercorn" || base == "celery":
			for _, a := range ws[i+1:] {
				if mod, fn, ok := strings.Cut(a, ":"); ok && mod != "" && !strings.ContainsAny(mod, "/.=0123456789-") || ok && strings.Count(mod, ".") > 0 && !strings.ContainsAny(mod, "/=-0123456789") {
					out = append(out, Entry{Module: mod, Func: fn, Via: via, At: place(p, line, s)})
				}
			}
		case strings.HasSuffix(w, ".py"), strings.HasSuffix(w, ".js"), strings.HasSuffix(w, ".mjs"), strings.HasSuffix(w, ".ts"), strings.HasSuffix(w, ".tsx"):
			out = append(out, Entry{Path: strings.TrimPrefix(w, "./"), Via: via, At: place(p, line, s)})
		}
	}
	return out
}
