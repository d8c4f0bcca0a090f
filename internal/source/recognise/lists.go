package recognise

import (
	"regexp"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// modelNames are names of variables that hold models to choose from.
var modelNames = regexp.MustCompile(`(?i)(?:^|[_a-z])(?:models?|llms?|checkpoints?|rerankers?|embedders?)(?:$|_?(?:list|names?|ids?|options|choices|map|registry|available|supported|configs?|presets?|catalog|info|versions?))`)

// lists reports models that a user may choose from: constant collections under
// a name that says so, whose every element has the form of an id of a hub or of
// a known provider. One element that has not, and none is reported: then it is
// a collection of something else.
func (m *matcher) lists() {
	for i, u := range m.g.Units() {
		for _, top := range u.File.Body {
			syntax.Walk(top, func(n *syntax.Node) bool {
				name, value := "", (*syntax.Node)(nil)
				switch n.Kind {
				case syntax.Assign:
					if t := n.Kids[0]; len(n.Kids) == 2 && (t.Kind == syntax.Name || t.Kind == syntax.Attr) {
						name, value = t.Text, n.Kids[1]
					}
				case syntax.AnnAssign:
					if t := n.Kid(0); t != nil && (t.Kind == syntax.Name || t.Kind == syntax.Attr) {
						name, value = t.Text, n.Kid(2)
					}
				case syntax.AugAssign:
					if t := n.Kid(0); t != nil && (t.Kind == syntax.Name || t.Kind == syntax.Attr) {
						name, value = t.Text, n.Kid(1)
					}
				case syntax.Call: // models.extend([…]), models.append("…")
					if f := n.Kid(0); f != nil && f.Kind == syntax.Attr && (f.Text == "extend" || f.Text == "append" || f.Text == "push" || f.Text == "update") && len(n.Kids) == 2 {
						if o := f.Kid(0); o != nil && (o.Kind == syntax.Name || o.Kind == syntax.Attr) {
							name, value = o.Text, n.Kids[1]
						}
					}
				case syntax.Keyword:
					name, value = n.Text, n.Kid(0)
				case syntax.Param:
					m.parameter(i, n)
				default:
				}
				switch {
				case value == nil:
				case value.Kind == syntax.String && value.Flag&syntax.Bytes == 0 && n.Kind != syntax.Call && paramNames.MatchString(name):
					m.plain(i, value, "named "+name)
				case modelNames.MatchString(name):
					m.list(i, value)
				}
				return true
			})
		}
	}
}

func (m *matcher) list(unit int, n *syntax.Node) {
	elements, values := n.Kids, []*syntax.Node(nil)
	switch n.Kind {
	case syntax.List, syntax.Tuple, syntax.Set:
	case syntax.Dict:
		elements = nil
		for i := 0; i+1 < len(n.Kids); i += 2 {
			elements, values = append(elements, n.Kids[i]), append(values, n.Kids[i+1])
		}
	default:
		return
	}
	// The values of a map name models rather than its keys, which may be names for people.
	for _, v := range values {
		if v != nil && (v.Kind == syntax.Call || v.Kind == syntax.Dict) && m.names(unit, v) {
			return
		}
	}
	if values == nil || !m.ids(unit, values) {
		m.ids(unit, elements)
	}
}

// names reports whether an entry of a map names a model itself.
func (m *matcher) names(unit int, n *syntax.Node) bool {
	found := false
	for i, k := range n.Kids {
		name, v := "", (*syntax.Node)(nil)
		switch {
		case n.Kind == syntax.Dict && i%2 == 0 && k != nil && i+1 < len(n.Kids):
			name, v = k.Text, n.Kids[i+1]
		case k != nil && k.Kind == syntax.Keyword:
			name, v = k.Text, k.Kid(0)
		}
		if v != nil && v.Kind == syntax.String && (idNames.MatchString(name) || paramNames.MatchString(name)) {
			m.plain(unit, v, "map of models")
			found = true
		}
	}
	return found
}

var idNames = regexp.MustCompile(`(?i)^(?:id|model|name|model_?id|model_?name|repo_?id|deployment)$`)

// plain reports a text that can only be a model: of a provider's own form,
// with or without the provider before it, or org/name of a hub.
func (m *matcher) plain(unit int, v *syntax.Node, via string) {
	id := v.Text
	if !sight.IsID(id) || sight.IsPath(id, m.in.Exists) {
		return
	}
	provider, rest := m.rows.Prefix(id)
	switch {
	case provider != "" && !m.rows.IsGateway(provider) && (m.rows.Maker(rest) != "" || strings.Contains(id, ":") && strings.ContainsAny(rest, "0123456789")):
		id = rest
	case m.rows.Maker(id) != "":
		provider = m.rows.Maker(id)
	case sight.IsHub(id) && m.rows.Known(id):
		provider = "huggingface"
	default:
		return
	}
	u := m.g.Units()[unit]
	scope := m.in.Scope(u.Path)
	for i := range m.out {
		if m.out[i].Kind == sight.Model && strings.EqualFold(m.out[i].Name, id) && sight.Wider(m.out[i].Scope, scope) == m.out[i].Scope {
			return
		}
	}
	m.out = append(m.out, sight.Sighting{
		Kind: sight.Model, Name: id, Provider: provider, State: sight.Possible, Scope: scope,
		Evidence: []sight.Place{m.place(unit, v, via)},
	})
	if m.rows.IsService(provider) {
		m.out = append(m.out, sight.Sighting{
			Kind: sight.Provider, Name: provider, State: sight.Possible, Scope: m.in.Scope(u.Path),
			Evidence: []sight.Place{m.place(unit, v, via)},
		})
	}
}

// ids reports elements if all are texts with the form of an id.
func (m *matcher) ids(unit int, elements []*syntax.Node) bool {
	if len(elements) == 0 || len(elements) > 500 {
		return false
	}
	for _, e := range elements {
		if e == nil || e.Kind != syntax.String || e.Flag&syntax.Bytes != 0 || !sight.IsID(e.Text) || !m.rows.Known(e.Text) || sight.IsPath(e.Text, m.in.Exists) {
			return false
		}
	}
	u := m.g.Units()[unit]
	for _, e := range elements {
		s := sight.Sighting{
			Kind: sight.Model, Name: e.Text, Provider: m.rows.Maker(e.Text), Selectable: true, State: sight.Possible,
			Scope: m.in.Scope(u.Path), Evidence: []sight.Place{m.place(unit, e, "list of models")},
		}
		if s.Provider == "" {
			s.Provider = "huggingface"
		}
		if p, rest := m.rows.Prefix(e.Text); p != "" && strings.Contains(e.Text, "/") && !m.rows.IsGateway(p) && m.rows.Maker(rest) != "" {
			s.Name, s.Provider = rest, p
		}
		m.out = append(m.out, s)
	}
	return true
}

// parameter reports a model that is the default of a parameter, even where
// every caller of the tree passes another one.
func (m *matcher) parameter(unit int, n *syntax.Node) {
	if v := n.Kid(1); v != nil && v.Kind == syntax.String && paramNames.MatchString(n.Text) {
		m.plain(unit, v, "default parameter")
	}
}

// paramNames are names of parameters that take a model.
var paramNames = regexp.MustCompile(`(?i)^(?:\w*_)?(?:model|llm|embedder|reranker)(?:_?(?:name|id|path|name_or_path|repo|checkpoint))?$`)
