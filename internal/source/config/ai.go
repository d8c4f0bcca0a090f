package config

import (
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
)

// mcpFiles are files that configure servers of the Model Context Protocol, and
// the key under which they do.
var mcpFiles = [...]struct{ end, key string }{
	{".mcp.json", "mcpServers"},
	{"mcp.json", "mcpServers|servers"},
	{"claude_desktop_config.json", "mcpServers"},
	{".gemini/settings.json", "mcpServers"},
	{".codex/config.toml", "mcp_servers"},
	{".zed/settings.json", "context_servers"},
	{"opencode.json", "mcp"},
	{"opencode.jsonc", "mcp"},
	{"mcp_config.json", "mcpServers"},
	{"mcp_settings.json", "mcpServers"},
	{"cline_mcp_settings.json", "mcpServers"},
}

func mcpKey(p string) string {
	low := strings.ToLower(p)
	for _, f := range mcpFiles {
		if strings.HasSuffix(low, f.end) {
			return f.key
		}
	}
	if base := path.Base(low); strings.HasPrefix(base, "mcp-servers") && strings.HasSuffix(base, ".json") {
		return "mcpServers|servers"
	}
	return ""
}

// mcp reads the servers that a configuration starts or reaches.
func mcp(p string, v *Value) (d Doc) {
	keys := mcpKey(p)
	if keys == "" {
		keys = "mcpServers"
	}
	for key := range strings.SplitSeq(keys, "|") {
		v.Get(key).each(func(name string, s *Value) {
			if s.Kind == Map {
				d.mcpServer(p, name, s)
			}
		})
	}
	return d
}

var (
	exactPackage = regexp.MustCompile(`^(?:@[\w.-]+/)?[\w.-]+@\d[\w.+-]*$|^[\w.-]+(?:\[[\w,]+\])?==\d[\w.+-]*$`)
	secretName   = regexp.MustCompile(`(?i)(?:key|token|secret|password|pat)$`)
)

func (d *Doc) mcpServer(p, name string, v *Value) {
	command, address := v.Get("command").text(), v.Get("url").text()
	if address == "" {
		address = v.Get("serverUrl").text()
	}
	if address == "" {
		address = v.Get("httpUrl").text()
	}
	args := argv(v.Get("args"))
	if v.Get("command") != nil && v.Get("command").Kind == List {
		all := argv(v.Get("command"))
		if len(all) > 0 {
			command, args = all[0], all[1:]
		}
	}
	if command == "" && address == "" {
		return
	}
	line := v.Line
	id := name
	if address != "" {
		id = stripQuery(address)
	}
	s := d.sight(p, sight.MCPClient, id, "", line, name+": "+strings.Join(append([]string{command + address}, args...), " "))
	s.Note = Snippet(strings.Join(append([]string{name + ":", command + stripQuery(address)}, args...), " "))
	if v.Get("disabled").text() == "true" || v.Get("enabled").text() == "false" {
		s.State = sight.Inactive
	}
	flag := func(f string, at *Value) {
		s.Flags = append(s.Flags, sight.Flag{Flag: f, At: place(p, max(at.line(), line), "")})
	}
	switch base := strings.TrimSuffix(path.Base(strings.ReplaceAll(command, `\`, "/")), ".cmd"); base {
	case "npx", "bunx", "uvx", "pipx", "pnpm", "yarn":
		for _, a := range args {
			if strings.HasPrefix(a, "-") || a == "dlx" || a == "run" || a == "exec" {
				continue
			}
			if !exactPackage.MatchString(a) && !strings.HasPrefix(a, ".") && !strings.HasPrefix(a, "/") {
				flag("unpinned_package", v.Get("args"))
			}
			break
		}
	case "docker", "podman":
		for _, a := range args {
			if strings.Contains(a, "/") && !strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "=") && (strings.HasSuffix(a, ":latest") || !strings.Contains(a, ":")) {
				flag("image_latest", v.Get("args"))
				break
			}
		}
	case "sh", "bash", "zsh", "cmd", "powershell", "pwsh":
		flag("shell_command", v.Get("command"))
	}
	if u, err := url.Parse(address); err == nil && u.Scheme == "http" && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") && strings.Contains(u.Hostname(), ".") {
		flag("plain_http", v.Get("url"))
	}
	for _, key := range [...]string{"env", "headers"} {
		v.Get(key).each(func(name string, k *Value) {
			t := k.text()
			if (secretName.MatchString(name) || strings.EqualFold(name, "authorization")) && len(t) >= 12 && !strings.ContainsAny(t, "${<") && !placeholderText(t) {
				flag("inline_secret", k)
			}
		})
	}
	d.Sightings = append(d.Sightings, s)
}

func placeholderText(s string) bool {
	l := strings.ToLower(s)
	for _, w := range [...]string{"your", "xxx", "placeholder", "example", "changeme", "insert", "..."} {
		if strings.Contains(l, w) {
			return true
		}
	}
	return false
}

func stripQuery(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return s
}

// known reads files of known programs by what they hold.
func known(p string, v *Value) (d Doc) {
	base := strings.ToLower(path.Base(p))
	// litellm
	v.Get("model_list").each(func(_ string, k *Value) {
		m := k.At("litellm_params", "model")
		if m == nil {
			m = k.Get("model")
		}
		provider, name := prefixed(m.text())
		d.model(p, provider, name, "", m.line(), "model: "+m.text())
	})
	if strings.HasPrefix(base, "promptfooconfig") {
		for _, key := range [...]string{"providers", "targets"} {
			v.Get(key).each(func(_ string, k *Value) {
				id := k.text()
				if k.Kind == Map {
					id = k.Get("id").text()
				}
				parts := strings.Split(id, ":")
				if len(parts) > 1 && parts[0] != "file" && parts[0] != "exec" && parts[0] != "python" && parts[0] != "http" && parts[0] != "https" {
					d.model(p, canonicalProvider(parts[0]), parts[len(parts)-1], "", k.line(), id)
					d.Sightings[max(len(d.Sightings)-1, 0)].Scope = sight.Test
				}
			})
		}
	}
	switch base {
	case "config.json", "adapter_config.json", "tokenizer_config.json":
		if m := v.Get("base_model_name_or_path"); m != nil {
			d.model(p, "huggingface", m.text(), "", m.line(), "base_model_name_or_path")
		}
		if m := v.Get("_name_or_path"); m != nil && sight.IsHub(m.text()) && v.Get("architectures") != nil {
			d.model(p, "huggingface", m.text(), "", m.line(), "_name_or_path")
		}
		if m := v.Get("auto_map"); m != nil && v.Get("architectures") != nil {
			s := d.sight(p, sight.ModelFile, path.Dir(p), "", m.line(), "auto_map")
			s.Flags = []sight.Flag{{Flag: "remote_code_config", At: s.Evidence[0]}}
			d.Sightings = append(d.Sightings, s)
		}
	case "langgraph.json":
		v.Get("graphs").each(func(name string, k *Value) {
			d.Sightings = append(d.Sightings, d.sight(p, sight.Agent, name, "", k.line(), name+": "+k.text()))
			file, _, _ := strings.Cut(k.text(), ":")
			d.Entries = append(d.Entries, Entry{Path: strings.TrimPrefix(file, "./"), Via: "langgraph.json", At: place(p, k.line(), k.text())})
		})
	}
	if strings.HasPrefix(base, "values") || strings.HasPrefix(base, "application") || strings.HasPrefix(base, "appsettings") {
		d.Merge(settings(p, v))
	}
	if nodes := v.Get("nodes"); nodes != nil && nodes.Kind == List && v.Get("connections") != nil { // n8n
		nodes.each(func(_ string, n *Value) {
			t := n.Get("type").text()
			m := n.At("parameters", "model")
			if m == nil {
				m = n.At("parameters", "modelName")
			}
			id := m.text()
			if m != nil && m.Kind == Map {
				id = m.Get("value").text()
			}
			if !strings.Contains(t, "langchain") || id == "" {
				return
			}
			provider := ""
			for _, w := range [...]string{"openAi:openai", "anthropic:anthropic", "gemini:google", "ollama:ollama", "mistral:mistral", "groq:groq", "cohere:cohere", "azure:azure-openai", "bedrock:aws-bedrock", "deepSeek:deepseek", "huggingFace:huggingface-inference"} {
				k, prov, _ := strings.Cut(w, ":")
				if strings.Contains(strings.ToLower(t), strings.ToLower(k)) {
					provider = prov
				}
			}
			d.model(p, provider, id, "", n.line(), t)
		})
	}
	return d
}

// springProviders says which part of a Spring AI or LangChain4j key is whose.
var springProviders = map[string]string{
	"openai": "openai", "azure": "azure-openai", "azure-openai": "azure-openai", "anthropic": "anthropic", "ollama": "ollama", "mistralai": "mistral", "mistral-ai": "mistral",
	"vertex": "vertex-ai", "vertexai": "vertex-ai", "bedrock": "aws-bedrock", "huggingface": "huggingface-inference", "google": "google", "deepseek": "deepseek", "zhipuai": "zhipu", "minimax": "minimax", "moonshot": "moonshot",
}

// settings reads models out of application configurations: Spring AI,
// LangChain4j, Quarkus and Helm values.
func settings(p string, v *Value) (d Doc) {
	v.walk(nil, func(keys []string, k *Value) {
		if k.Kind != String || k.Text == "" || len(keys) == 0 {
			return
		}
		full := strings.ToLower(strings.Join(keys, "."))
		last := strings.ToLower(full[strings.LastIndexByte(full, '.')+1:])
		value := springValue(k.Text)
		switch {
		case strings.HasPrefix(full, "spring.ai."), strings.Contains(full, "langchain4j."):
			if last != "model" && last != "model-name" && last != "deployment-name" && last != "modelname" {
				return
			}
			provider := ""
			for part := range strings.SplitSeq(full, ".") {
				if q, ok := springProviders[part]; ok {
					provider = q
				}
			}
			if provider != "" {
				d.model(p, provider, value, "", k.Line, full+": "+k.Text)
				d.Sightings = append(d.Sightings, d.sight(p, sight.Provider, provider, "", k.Line, full))
			}
		case strings.HasPrefix(strings.ToLower(path.Base(p)), "values") && (last == "modelid" || last == "modelname" || last == "model" || last == "model_id") && (sight.IsHub(value) && strings.ContainsAny(value, "0123456789-")):
			d.model(p, "huggingface", value, "", k.Line, full+": "+k.Text)
		}
	})
	return d
}

// springValue puts the default in for ${NAME:value}.
func springValue(s string) string {
	if inner, ok := strings.CutPrefix(s, "${"); ok && strings.HasSuffix(inner, "}") {
		_, value, _ := strings.Cut(strings.TrimSuffix(inner, "}"), ":")
		return strings.TrimPrefix(value, "-")
	}
	return s
}

// prefixed splits provider/model as LiteLLM writes it.
func prefixed(s string) (provider, name string) {
	head, rest, ok := strings.Cut(s, "/")
	if !ok {
		return "openai", s
	}
	return canonicalProvider(head), rest
}

var providerNames = map[string]string{
	"azure": "azure-openai", "gemini": "google", "vertex_ai": "vertex-ai", "vertex": "vertex-ai", "bedrock": "aws-bedrock", "together_ai": "together", "fireworks_ai": "fireworks",
	"huggingface": "huggingface-inference", "ollama_chat": "ollama", "palm": "google", "mistralai": "mistral", "openai_like": "openai-compatible", "hosted_vllm": "vllm",
}

func canonicalProvider(s string) string {
	s = strings.ToLower(s)
	if p, ok := providerNames[s]; ok {
		return p
	}
	return s
}

// mlmodel reads MLflow's description of a model.
func mlmodel(p string, v *Value) (d Doc) {
	flavors := v.Get("flavors")
	if flavors == nil {
		return d
	}
	s := d.sight(p, sight.ModelFile, path.Dir(p), "", flavors.line(), "flavors")
	var names []string
	flavors.each(func(name string, _ *Value) { names = append(names, name) })
	s.Note = "MLflow: " + strings.Join(names, ", ")
	d.Sightings = append(d.Sightings, s)
	return d
}

// card reads the front matter of a README as the hub writes it.
func card(p, text string) (d Doc) {
	if !strings.HasPrefix(text, "---\n") && !strings.HasPrefix(text, "---\r\n") {
		return d
	}
	end := strings.Index(text[4:], "\n---")
	if end < 0 {
		return d
	}
	docs, _ := YAML(text[4 : 4+end])
	if len(docs) == 0 {
		return d
	}
	v := docs[0]
	list := func(key string, f func(k *Value)) {
		k := v.Get(key)
		if k == nil {
			return
		}
		if k.Kind == List {
			k.each(func(_ string, e *Value) { f(e) })
			return
		}
		f(k)
	}
	list("base_model", func(k *Value) { d.model(p, "huggingface", k.text(), "", k.line()+1, "base_model: "+k.text()) })
	list("models", func(k *Value) { d.model(p, "huggingface", k.text(), "", k.line()+1, "models: "+k.text()) })
	list("datasets", func(k *Value) {
		if sight.IsID(k.text()) {
			d.Sightings = append(d.Sightings, d.sight(p, sight.Dataset, k.text(), "huggingface", k.line()+1, "datasets: "+k.text()))
		}
	})
	return d
}

// modelfile reads Ollama's.
func modelfile(p, text string) (d Doc) {
	for i, l := range strings.Split(text, "\n") {
		op, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		rest = strings.TrimSpace(rest)
		switch strings.ToUpper(op) {
		case "FROM":
			if strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/") || strings.HasSuffix(rest, ".gguf") {
				d.Sightings = append(d.Sightings, d.sight(p, sight.ModelFile, rest, "", i+1, l))
			} else {
				d.model(p, "ollama", rest, "", i+1, l)
			}
		case "ADAPTER":
			d.Sightings = append(d.Sightings, d.sight(p, sight.ModelFile, rest, "", i+1, l))
		case "SYSTEM":
			if s := strings.Trim(rest, `" `); s != "" {
				d.Sightings = append(d.Sightings, d.sight(p, sight.Prompt, Snippet(s), "", i+1, l))
			}
		}
	}
	return d
}

// prompt reports a file of words for a model.
func prompt(p, text string) (d Doc) {
	first := ""
	for l := range strings.SplitSeq(text, "\n") {
		if first = strings.TrimSpace(l); first != "" && first != "---" {
			break
		}
	}
	s := d.sight(p, sight.Prompt, path.Base(p), "", 1, first)
	d.Sightings = append(d.Sightings, s)
	return d
}

// assistantFiles are files that steer coding assistants: a path or its end, and whose.
var assistantFiles = [...]struct{ match, name string }{
	{"CLAUDE.md", "claude-code"},
	{"CLAUDE.local.md", "claude-code"},
	{"AGENTS.md", "agents-md"},
	{"GEMINI.md", "gemini-cli"},
	{".claude/settings", "claude-code"},
	{".claude/agents/", "claude-code"},
	{".claude/commands/", "claude-code"},
	{".claude/skills/", "claude-code"},
	{".claude/hooks", "claude-code"},
	{".cursorrules", "cursor"},
	{".cursor/rules/", "cursor"},
	{".github/copilot-instructions.md", "github-copilot"},
	{".github/instructions/", "github-copilot"},
	{".github/prompts/", "github-copilot"},
	{".github/agents/", "github-copilot"},
	{".github/workflows/copilot-setup-steps.yml", "github-copilot"},
	{".windsurfrules", "windsurf"},
	{".windsurf/rules", "windsurf"},
	{".clinerules", "cline"},
	{".roo/rules", "roo"},
	{".kilocode", "kilocode"},
	{".continue/", "continue"},
	{".aider", "aider"},
	{".junie/", "junie"},
	{".kiro/", "kiro"},
	{".augment", "augment"},
	{".trae/rules", "trae"},
	{".tabnine", "tabnine"},
	{".sourcery.yaml", "sourcery"},
	{".coderabbit.yaml", "coderabbit"},
	{".goosehints", "goose"},
	{".openhands/microagents", "openhands"},
	{".devin", "devin"},
	{"llms.txt", "llms-txt"},
	{"replit.md", "replit"},
}

// assistantFile returns whose assistant a file steers, or "".
func assistantFile(p string) string {
	for _, f := range assistantFiles {
		if p == f.match || strings.HasSuffix(p, "/"+f.match) || strings.HasPrefix(p, f.match) && (strings.HasPrefix(f.match, ".") || strings.HasSuffix(f.match, "/")) ||
			strings.Contains(p, "/"+f.match) && strings.HasPrefix(f.match, ".") {
			return f.name
		}
	}
	return ""
}

// assistant reports a file that steers a coding assistant.
func assistant(p, text string) (d Doc) {
	s := d.sight(p, sight.Assistant, assistantFile(p), "", 1, "")
	s.Evidence[0].Line = 0
	for i, l := range strings.Split(text, "\n") {
		if strings.Contains(l, "bypassPermissions") || strings.Contains(l, "dangerously-skip-permissions") || strings.Contains(l, `"enableAllProjectMcpServers": true`) || strings.Contains(l, "danger-full-access") {
			if strings.HasSuffix(p, ".md") && !strings.Contains(l, "`") {
				continue
			}
			s.Flags = append(s.Flags, sight.Flag{Flag: "permission_bypass", At: place(p, i+1, l), Conditional: strings.HasSuffix(p, ".md")})
		}
	}
	d.Sightings = append(d.Sightings, s)
	if strings.HasSuffix(p, ".json") {
		if v, _ := JSON(text); v != nil {
			d.Merge(mcp(p, v))
			if m := v.Get("model"); m.text() != "" && strings.Contains(p, ".claude/") {
				d.model(p, "anthropic", m.text(), "", m.line(), "model: "+m.text())
			}
		}
	}
	return d
}
