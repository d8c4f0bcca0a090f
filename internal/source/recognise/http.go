package recognise

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
)

// prompts reports what an operator says to a model.
func (m *matcher) prompts(c *call, field string) {
	for _, t := range m.read(c, field).texts {
		m.promptText(c, t)
	}
}

func (m *matcher) promptText(c *call, t text) {
	words := oneLine(t.s)
	if t.dynamic || len(words) < 8 || !strings.Contains(words, " ") {
		return
	}
	s := m.base(c, sight.Prompt, sight.Snippet(words))
	if t.from.Path != "" {
		s.Evidence = []sight.Place{t.from}
	}
	m.out = append(m.out, s)
}

// messages reports the system messages among what is passed as messages.
func (m *matcher) messages(c *call) {
	for _, field := range [...]string{"kw:messages", "arg0.messages", "arg1.messages"} {
		set, ok, rest := m.passed(c, field)
		if !ok {
			continue
		}
		for _, v := range m.walk(set.Values, rest, false, 0) {
			m.systemOf(c, v)
		}
	}
}

func (m *matcher) systemOf(c *call, list flow.Value) {
	if list.Kind != flow.List {
		return
	}
	for _, e := range m.members(list) {
		for _, msg := range e.Value.Values {
			if msg.Kind != flow.Dict {
				continue
			}
			role := ""
			for _, v := range m.walk([]flow.Value{msg}, []string{"role"}, false, 0) {
				role = v.Text
			}
			if role != "system" && role != "developer" {
				continue
			}
			for _, v := range m.walk([]flow.Value{msg}, []string{"content"}, false, 0) {
				if v.Kind == flow.String || v.Kind == flow.Pattern {
					m.promptText(c, text{s: v.Text, from: m.origin(c, v)})
				}
			}
		}
	}
}

// http looks at a raw request: the address tells the provider, the body the id.
func (m *matcher) http(c *call) {
	address := m.read(c, c.row.URL)
	for _, t := range address.texts {
		if t.dynamic {
			continue
		}
		p, local := m.rows.Host(t.s)
		if p == "" && local && strings.Contains(t.s, "/v1/") && (strings.Contains(t.s, "/completions") || strings.Contains(t.s, "/embeddings")) {
			p = "openai-compatible"
		}
		if p == "" {
			p = ollamaPath(t.s)
		}
		if p == "" {
			continue
		}
		s := m.base(c, sight.Provider, p)
		if t.from.Path != "" {
			s.Evidence = append([]sight.Place{t.from}, s.Evidence...)
		}
		s.Flags = m.urlFlags(c, t)
		m.out = append(m.out, s)
		m.bodies(c, p)
		if id := idInURL(p, t.s); id != "" && sight.IsID(id) {
			k := m.base(c, sight.Model, id)
			k.Provider = p
			m.out = append(m.out, k)
		}
	}
}

// ollamaPath tells an address of Ollama's own API whose host is not known.
func ollamaPath(s string) string {
	if !strings.HasPrefix(s, "*") {
		return ""
	}
	for _, end := range [...]string{"/api/generate", "/api/chat", "/api/embeddings", "/api/embed", "/api/tags", "/api/pull"} {
		if strings.HasSuffix(s, end) {
			return "ollama"
		}
	}
	return ""
}

// idInURL reads an id that stands in the path of an address.
func idInURL(provider, s string) string {
	after := func(mark, end string) string {
		_, rest, ok := strings.Cut(s, mark)
		if !ok {
			return ""
		}
		if i := strings.IndexAny(rest, end); i >= 0 {
			rest = rest[:i]
		}
		return rest
	}
	id := ""
	switch provider {
	case "google", "vertex-ai":
		id = after("/models/", ":/?")
	case "huggingface-inference":
		id = after("/models/", "?:")
	case "azure-openai":
		id = after("/deployments/", "/?")
	case "aws-bedrock":
		id = after("/model/", "/?")
	case "replicate":
		id = after("/models/", "?:")
		id = strings.TrimSuffix(id, "/predictions")
	}
	if strings.Contains(id, "*") {
		return ""
	}
	return id
}

// bodies reads the id in a body of JSON.
func (m *matcher) bodies(c *call, provider string) {
	for alt := range strings.SplitSeq(c.row.Body, "|") {
		for _, key := range [...]string{"model", "model_id", "modelId"} {
			s := m.argument(c, alt+"."+key, false)
			for _, t := range s.texts {
				if t.dynamic || t.open || !sight.IsID(t.s) {
					continue
				}
				k := m.base(c, sight.Model, t.s)
				k.Provider, k.Selectable = provider, t.one
				if t.from.Path != "" && t.from.Line != k.Evidence[0].Line {
					k.Evidence = append([]sight.Place{t.from}, k.Evidence...)
				}
				m.out = append(m.out, k)
			}
		}
		if set, ok, _ := m.passed(c, alt); ok {
			for _, v := range m.walk(set.Values, []string{"messages"}, false, 0) {
				m.systemOf(c, v)
			}
		}
	}
}
