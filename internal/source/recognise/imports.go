package recognise

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// a module is imported at a place.
type module struct {
	name string
	unit int
	node *syntax.Node
	lang string
}

// imports reports the packages of AI that the code imports, and remembers all
// that it imports.
func (m *matcher) imports() {
	seen := map[string]bool{}
	for i, u := range m.g.Units() {
		for _, top := range u.File.Body {
			syntax.Walk(top, func(n *syntax.Node) bool {
				switch n.Kind {
				case syntax.Import:
					for _, a := range n.Kids {
						m.modules = append(m.modules, module{a.Text, i, n, u.Language.Name})
					}
				case syntax.From:
					for _, a := range n.Kids {
						name := n.Text
						if a.Text != "*" {
							name += "." + a.Text
						}
						m.modules = append(m.modules, module{name, i, n, u.Language.Name})
					}
				default:
				}
				return true
			})
		}
	}
	for _, w := range m.modules {
		pkg, eco := m.packageOf(w)
		if pkg == "" || pkg == "openai-agents" && !m.has("openai-agents") {
			continue
		}
		key := pkg + "\x00" + m.g.Units()[w.unit].Path
		if seen[key] || m.inTree(w) {
			continue
		}
		seen[key] = true
		s := sight.Sighting{Kind: sight.Framework, Name: pkg, Evidence: []sight.Place{m.place(w.unit, w.node, "import")}, Version: m.version(eco, pkg)}
		s.Scope, s.State = m.in.Scope(m.g.Units()[w.unit].Path), m.moduleState(w.unit, &s)
		m.out = append(m.out, s)
	}
	for _, p := range m.in.Packages {
		if !m.rows.IsPackage(p.Ecosystem, p.Name) {
			continue
		}
		s := sight.Sighting{Kind: sight.Framework, Name: p.Name, Version: p.Version, Evidence: []sight.Place{p.At}, State: sight.ConfigOnly, Scope: m.in.Scope(p.At.Path)}
		if p.Dev {
			s.Scope = sight.Test
		}
		m.out = append(m.out, s)
	}
}

// moduleState is that of the code of a module.
func (m *matcher) moduleState(unit int, s *sight.Sighting) sight.State {
	for f := range m.g.Len() {
		if fn := m.g.Func(flow.FuncID(f)); fn.Unit == unit && fn.Node == nil {
			scope := s.Scope
			m.state(flow.FuncID(f), s, m.g.Units()[unit].Path)
			s.Scope = sight.Wider(scope, s.Scope)
			return s.State
		}
	}
	return sight.Possible
}

// inTree reports whether an import means a module of the tree itself.
func (m *matcher) inTree(w module) bool {
	head, _, _ := strings.Cut(w.name, ".")
	return slices.ContainsFunc(m.g.Units(), func(u flow.Unit) bool {
		return u.Language.Name == w.lang && (u.Name == head || strings.HasPrefix(u.Name, head+"."))
	})
}

// packageOf is the package of AI that a module belongs to, or "".
func (m *matcher) packageOf(w module) (pkg, ecosystem string) {
	switch w.lang {
	case "python":
		name := w.name
		for name != "" && !strings.HasPrefix(name, ".") {
			if p, ok := m.rows.cat.Imports[name]; ok {
				return p, "pypi"
			}
			if p := strings.ReplaceAll(strings.ToLower(name), "_", "-"); m.rows.packages["pypi"][p] {
				return p, "pypi"
			}
			i := strings.LastIndexByte(name, '.')
			if i < 0 {
				break
			}
			name = name[:i]
		}
	default:
		return m.rows.packageIn(w.lang, w.name)
	}
	return "", ""
}

// packageIn is the package of AI that a module of another language than Python
// belongs to, or "".
func (r *Rows) packageIn(lang, name string) (pkg, ecosystem string) {
	switch lang {
	case "javascript":
		for name != "" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "/") {
			if r.IsPackage("npm", name) {
				return name, "npm"
			}
			i := strings.LastIndexAny(name, "/.")
			if i <= 0 {
				break
			}
			name = name[:i]
		}
	case "go":
		for p := range r.packages["go"] {
			if name == p || strings.HasPrefix(name, p+"/") || strings.HasPrefix(name, p+".") {
				return p, "go"
			}
		}
	}
	return "", ""
}

// distribution is the name of the package that a module's first part belongs to.
func (m *matcher) distribution(head string) string {
	if p, ok := m.rows.cat.Imports[head]; ok {
		return p
	}
	return strings.ReplaceAll(head, "_", "-")
}

// version is what the manifests say of a package; a locked version first.
func (m *matcher) version(ecosystem, pkg string) string {
	v := ""
	for _, p := range m.in.Packages {
		if p.Ecosystem == ecosystem && p.Name == pkg && p.Version != "" && (v == "" || p.Locked) {
			v = p.Version
		}
	}
	return strings.TrimPrefix(v, "==")
}

// importedProviders reports the provider of an SDK that is imported, where no
// call of it was recognised.
func (m *matcher) importedProviders() {
	for _, w := range m.modules {
		head, _, _ := strings.Cut(w.name, ".")
		if m.inTree(w) {
			continue
		}
		t := m.rows.calls[w.lang]
		if t == nil || m.used[head] {
			continue
		}
		for _, r := range t.byHead[head] {
			if r.Kind != "client" || strings.Contains(r.Call, "*") || !m.rows.IsService(r.Provider) || r.First != "" {
				continue
			}
			// Only a package that is one provider's own.
			same := true
			for _, o := range t.byHead[head] {
				same = same && (o.Provider == r.Provider || o.Provider == "client")
			}
			if !same && head != "anthropic" && head != "openai" && head != "ibm_watsonx_ai" {
				continue
			}
			s := sight.Sighting{Kind: sight.Provider, Name: r.Provider, Evidence: []sight.Place{m.place(w.unit, w.node, "import")}}
			s.Scope = m.in.Scope(m.g.Units()[w.unit].Path)
			s.State = m.moduleState(w.unit, &s)
			m.out = append(m.out, s)
			break
		}
	}
}

// decorators reports functions that a decorator makes a tool, a prompt or an
// agent's step.
func (m *matcher) decorators() {
	for i := range m.g.Len() {
		f := m.g.Func(flow.FuncID(i))
		if f.Node == nil || f.Unit < 0 {
			continue
		}
		for _, d := range f.Node.Decorators() {
			m.decorator(f, flow.FuncID(i), d)
		}
	}
}

func (m *matcher) decorator(f flow.Func, id flow.FuncID, d *syntax.Node) {
	lang := m.g.Units()[f.Unit].Language.Name
	for _, c := range m.calleesOf(f.Unit, d) {
		for _, w := range m.rows.calls[lang].find(c.path) {
			c.row = w
			if !strings.Contains(w.Name, "decorated") || !m.accepts(c) {
				continue
			}
			name := f.Node.Text
			if c.index >= 0 {
				if given := m.read(c, strings.ReplaceAll(w.Name, "decorated", "")).first(); given != "" {
					name = given
				}
			}
			s := sight.Sighting{Kind: sight.Kind(w.Kind), Name: name, Evidence: []sight.Place{m.place(f.Unit, f.Node, "")}}
			m.state(id, &s, m.g.Units()[f.Unit].Path)
			if s.State == sight.Unreachable {
				s.State = sight.Possible // whoever was given it may call it
			}
			m.out = append(m.out, s)
			return
		}
	}
}

// calleesOf names what a decorator is: @mcp.tool() or @mcp.tool.
func (m *matcher) calleesOf(unit int, d *syntax.Node) []*call {
	var out []*call
	if i, ok := m.g.SiteAt(d); ok {
		s := m.g.Sites()[i]
		for _, c := range s.Callees {
			if c.Path != "" {
				out = append(out, &call{index: i, site: s, path: c.Path, made: c.Made})
			}
		}
		return out
	}
	for _, v := range m.g.Values(unit, d).Values {
		if v.Kind == flow.External {
			out = append(out, &call{index: -1, site: flow.Site{Unit: unit, Node: d, In: -1}, path: v.Text, made: v.Made})
		}
	}
	return out
}
