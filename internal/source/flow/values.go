package flow

import (
	"slices"
	"sort"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// collect makes the sites of the graph.
func (g *Graph) collect() {
	for u := range g.units {
		mod := g.a.modules[u]
		var nodes []*syntax.Node
		owner := map[*syntax.Node]*frame{}
		var walk func(n *syntax.Node, fr *frame)
		walk = func(n *syntax.Node, fr *frame) {
			if n == nil {
				return
			}
			if n.Kind == syntax.Call || g.a.sites[n] != nil {
				nodes = append(nodes, n)
				owner[n] = fr
			}
			inner := g.a.byNode[n]
			if inner == nil {
				for _, k := range n.Kids {
					walk(k, fr)
				}
				return
			}
			for i, k := range n.Kids {
				in := fr
				if n.Kind == syntax.Func && i == 3 || n.Kind == syntax.Lambda && i == 1 {
					in = inner
				}
				walk(k, in)
			}
		}
		for _, n := range g.units[u].File.Body {
			walk(n, mod)
		}
		sort.SliceStable(nodes, func(i, j int) bool { return nodes[i].Start < nodes[j].Start })
		for _, n := range nodes {
			g.siteAt[n] = len(g.sites)
			g.sites = append(g.sites, Site{Unit: u, Node: n, In: owner[n].id, Unresolved: true})
		}
	}
	for i := range g.sites {
		s := &g.sites[i]
		r := g.a.sites[s.Node]
		if r == nil {
			continue
		}
		for j := range r.callees {
			s.Callees = append(s.Callees, g.a.callee(&r.callees[j]))
		}
		slices.SortFunc(s.Callees, func(x, y Callee) int {
			if c := strings.Compare(x.Name, y.Name); c != 0 {
				return c
			}
			return strings.Compare(x.Path, y.Path)
		})
		s.Unresolved = r.open || len(r.callees) == 0 && !r.settled
	}
}

func (a *analysis) callee(c *callee) Callee {
	out := Callee{Func: -1, Name: c.name, Path: c.path, Made: -1, Callback: c.back}
	if c.fr != nil {
		out.Func, out.Name = c.fr.id, c.fr.name
	}
	if i, ok := a.g.siteAt[c.made]; ok && c.made != nil {
		out.Made = i
	}
	return out
}

// maxRecords is how many frames are kept as they were evaluated.
const maxRecords = 256

// record runs a frame once more and keeps what its expressions were.
func (g *Graph) record(fr *frame) *record {
	a := g.a
	if r := a.records[fr]; r != nil {
		return r
	}
	if len(a.records) >= maxRecords {
		clear(a.records)
	}
	r := &record{values: map[*syntax.Node]set{}, calls: map[*syntax.Node]*args{}}
	a.records[fr] = r
	stopped, work := a.stopped, a.work
	a.stopped, a.work = nil, max(a.work, 1<<20)
	if fr.runs > 0 {
		depth := a.depth
		a.depth = maxCalls
		a.exec(fr, r)
		a.depth = depth
	}
	a.stopped, a.work = stopped, work
	return r
}

// Values returns what an expression of a unit can be. It is empty and not
// unknown for code that never runs.
func (g *Graph) Values(unit int, n *syntax.Node) Set {
	if n == nil || unit < 0 || unit >= len(g.units) {
		return Set{Unknown: true}
	}
	frames := g.byUnit(unit, n)
	for _, fr := range frames {
		if s, ok := g.record(fr).values[n]; ok {
			return g.set(s)
		}
	}
	return Set{Unknown: g.Incomplete != nil}
}

func (g *Graph) byUnit(unit int, n *syntax.Node) []*frame {
	if g.a.spans == nil {
		g.a.spans = map[int][]*frame{}
		for _, fr := range g.frames {
			if fr.node != nil {
				g.a.spans[fr.unit] = append(g.a.spans[fr.unit], fr)
			}
		}
	}
	var in []*frame
	for _, fr := range g.a.spans[unit] {
		if fr.node.Start <= n.Start && n.End <= fr.node.End {
			in = append(in, fr)
		}
	}
	sort.SliceStable(in, func(i, j int) bool { return in[i].node.End-in[i].node.Start < in[j].node.End-in[j].node.Start })
	return append(in, g.a.modules[unit])
}

// Argument returns what a call passes at a place, from 0, or under a name. An
// empty name or a negative place asks for the other alone. Lists after * and
// dicts after ** are looked into, and what functools.partial keeps. It returns
// false if nothing is passed there.
func (g *Graph) Argument(site, position int, keyword string) (Set, bool) {
	if site < 0 || site >= len(g.sites) {
		return Set{}, false
	}
	s := &g.sites[site]
	ar := g.record(g.frames[s.In]).calls[s.Node]
	if ar == nil {
		return Set{}, false
	}
	v, _, ok := ar.get(position, keyword)
	if !ok {
		return Set{}, false
	}
	return g.set(v), true
}

// Members returns what a List or a Dict holds, in the order of the source. The
// second result is false if there can be more.
func (g *Graph) Members(v Value) ([]Keyed, bool) {
	a := g.a
	if v.id <= 0 || int(v.id) >= len(a.infos) {
		return nil, false
	}
	i := a.info(v.id)
	if i.obj == nil || i.kind != vList && i.kind != vDict {
		return nil, false
	}
	var out []Keyed
	whole := true
	for _, k := range i.obj.keys {
		s := i.obj.cells[k].all
		if s.empty() {
			continue
		}
		m := Keyed{Value: g.set(s)}
		if len(k) > 1 && k[1] == ':' && k[0] != 'v' {
			m.Key, m.Known = k[2:], true
		} else {
			whole = false
		}
		out = append(out, m)
	}
	return out, whole && len(i.obj.keys) < maxKeys
}

func (g *Graph) set(s set) Set {
	out := Set{Unknown: s.unknown}
	for _, x := range s.vals {
		if slices.ContainsFunc(out.Values, func(v Value) bool { return v.id == x.v }) {
			continue
		}
		out.Values = append(out.Values, g.value(x))
	}
	return out
}

func (a *analysis) kindOf(i *info) Kind {
	switch i.kind {
	case vString:
		return String
	case vPattern:
		return Pattern
	case vNumber:
		return Number
	case vBool:
		return Bool
	case vNone:
		return None
	case vList:
		return List
	case vDict:
		return Dict
	case vInst:
		return Object
	case vClass:
		return Class
	case vFunc, vBound, vStatic, vClassFn:
		return Function
	case vModule:
		return Module
	case vExt, vBuiltin:
		return External
	default:
		return Other
	}
}

func (g *Graph) value(x entry) Value {
	i := g.a.info(x.v)
	v := Value{Kind: g.a.kindOf(i), Text: i.text, Func: -1, Made: -1, id: x.v}
	switch i.kind {
	case vFunc, vBound, vStatic, vClassFn:
		v.Func, v.Text = i.fr.id, i.fr.name
	case vClass, vInst:
		v.Text = i.cls.name
	case vBuiltin:
		v.Text = "builtins." + i.text
	default:
	}
	if s, ok := g.siteAt[i.node]; ok && i.node != nil {
		v.Made = s
	}
	for p := x.path; p != nil; p = p.prev {
		v.Steps = append(v.Steps, Step{Via: p.via, Text: p.text, Unit: p.unit, Node: p.node, File: p.file, Line: p.line})
		if p.via == DefaultParameter || p.via == EnvironmentDefault || p.via == OptionDefault {
			v.Default = true
		}
	}
	slices.Reverse(v.Steps)
	return v
}
