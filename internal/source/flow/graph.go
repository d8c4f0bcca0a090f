package flow

import (
	"slices"
	"sort"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// A Graph is the result of [Analyse]. Its methods must not run beside each
// other: values are computed when they are asked for, and kept.
type Graph struct {
	// Incomplete is nil, or why the graph lacks something: it wraps [ErrLimit] or
	// is the cause that the context ended.
	Incomplete error

	units  []Unit
	frames []*frame
	sites  []Site
	siteAt map[*syntax.Node]int
	a      *analysis
}

// Units returns the files, in the order that numbers of units mean.
func (g *Graph) Units() []Unit { return g.units }

// Sites returns every call, in the order of units and of the source.
func (g *Graph) Sites() []Site { return g.sites }

// SiteAt returns the site of a call.
func (g *Graph) SiteAt(n *syntax.Node) (int, bool) {
	i, ok := g.siteAt[n]
	return i, ok
}

// Func returns a function. It panics if there is none with that number.
func (g *Graph) Func(f FuncID) Func {
	fr := g.frames[f]
	out := Func{Name: fr.name, Unit: fr.unit, Node: fr.node, Parent: -1, Escapes: fr.escapes}
	if fr.class != nil {
		out.Class = fr.class.name
	}
	if fr.parent != nil {
		out.Parent = fr.parent.id
	}
	return out
}

// Len returns how many functions there are; their numbers begin at 0.
func (g *Graph) Len() int { return len(g.frames) }

// Calls returns the whole graph in PyCG's form: callers, and callees that call
// nothing in the tree, with their sorted callees. Names are dotted from the
// root; builtins are <builtin>.len, methods of their types <**PyStr**>.split.
func (g *Graph) Calls() map[string][]string {
	out := make(map[string][]string, len(g.frames))
	add := func(fr *frame, c *Callee) {
		out[fr.name] = append(out[fr.name], c.Name)
		if _, ok := out[c.Name]; !ok {
			out[c.Name] = []string{}
		}
	}
	for _, fr := range g.frames {
		if _, ok := out[fr.name]; !ok {
			out[fr.name] = []string{}
		}
		for i := range fr.implicit {
			c := g.a.callee(&fr.implicit[i])
			add(fr, &c)
		}
	}
	for i := range g.sites {
		s := &g.sites[i]
		for j := range s.Callees {
			add(g.frames[s.In], &s.Callees[j])
		}
	}
	for k, l := range out {
		sort.Strings(l)
		out[k] = slices.Compact(l)
	}
	return out
}

// shown is the path of an outside thing as the graph names it.
func shown(path string) string { return strings.ReplaceAll(path, "()", "") }
