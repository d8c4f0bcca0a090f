package recognise

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// exposed are beginnings of variables that bundlers put into what browsers get.
var exposed = [...]string{"NEXT_PUBLIC_", "VITE_", "REACT_APP_", "NUXT_PUBLIC_", "PUBLIC_", "EXPO_PUBLIC_", "GATSBY_"}

// literals adds what only the literal of a type tells: where a call was seen
// that gets it, that one knows the provider better.
func (m *matcher) literals() {
	known := map[string]bool{}
	for i := range m.out {
		if m.out[i].Kind == sight.Model {
			known[strings.ToLower(m.out[i].Name)] = true
		}
	}
	skip := false
	for i := range m.weak {
		if s := &m.weak[i]; s.Kind == sight.Model {
			skip = s.Name == "" || known[strings.ToLower(s.Name)]
		}
		if !skip {
			m.out = append(m.out, m.weak[i])
		}
	}
}

// variables reports keys that JavaScript reads as members of the environment:
// no call does that.
func (m *matcher) variables() {
	funcs := map[*syntax.Node]flow.FuncID{}
	modules := map[int]flow.FuncID{}
	for i := range m.g.Len() {
		f := m.g.Func(flow.FuncID(i))
		if f.Node == nil {
			modules[f.Unit] = flow.FuncID(i)
			continue
		}
		funcs[f.Node] = flow.FuncID(i)
	}
	for u, unit := range m.g.Units() {
		if unit.Language.Name != "javascript" || !strings.Contains(unit.File.Source, "env") {
			continue
		}
		var walk func(n *syntax.Node, in flow.FuncID)
		walk = func(n *syntax.Node, in flow.FuncID) {
			if n == nil {
				return
			}
			if f, ok := funcs[n]; ok {
				in = f
			}
			if n.Kind == syntax.Attr || n.Kind == syntax.Subscript || n.Kind == syntax.Dict || n.Kind == syntax.Call {
				m.variable(u, n, in)
			}
			for _, k := range n.Kids {
				walk(k, in)
			}
		}
		for _, top := range unit.File.Body {
			walk(top, modules[u])
		}
	}
}

// tolerant reports whether a function is of a language that is read without
// being understood wholly.
func (m *matcher) tolerant(f flow.FuncID) bool {
	if f < 0 || int(f) >= m.g.Len() {
		return false
	}
	u := m.g.Func(f).Unit
	return u >= 0 && m.g.Units()[u].Language.Implicit
}

func (m *matcher) variable(unit int, n *syntax.Node, in flow.FuncID) {
	name := ""
	switch n.Kind {
	case syntax.Attr:
		name = n.Text
	case syntax.Subscript, syntax.Call:
		if k := n.Kid(1); k != nil && k.Kind == syntax.String {
			name = k.Text
		}
	default:
	}
	switch object := syntax.Dotted(n.Kid(0)); object {
	case "process.env", "import.meta.env", "Bun.env", "Deno.env.get":
	default:
		return
	}
	s := sight.Sighting{Kind: sight.Key, Name: name, Evidence: []sight.Place{m.place(unit, n, "")}}
	plain := name
	for _, p := range exposed {
		if rest, ok := strings.CutPrefix(name, p); ok {
			plain = rest
			s.Flags = []sight.Flag{{Flag: "browser_key", At: s.Evidence[0], Detail: name}}
		}
	}
	if name == "" || !m.rows.IsKeyVariable(plain) {
		return
	}
	m.state(in, &s, m.g.Units()[unit].Path)
	m.out = append(m.out, s)
}
