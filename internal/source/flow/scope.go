package flow

import (
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

type scopeKind uint8

const (
	moduleScope scopeKind = iota
	funcScope
	classScope
	compScope // of a comprehension: its names are its own, its code runs in the frame around it
)

// A scope holds the names that a piece of source binds.
type scope struct {
	kind    scopeKind
	name    string // dotted
	parent  *scope
	fr      *frame // where its code runs
	class   *class // of a class scope
	binds   map[string]*binding
	outer   map[string]scopeKind // names declared global (moduleScope) or nonlocal (funcScope)
	uses    map[string]bool      // names that are read, until captures are known
	refs    map[string]ref
	lambdas int
}

type binding struct {
	slot     int  // in the frame
	captured bool // a frame inside reads it: then it is a cell of the frame's object
	key      string
}

type refKind uint8

const (
	refNone refKind = iota
	refSlot
	refCell  // of the frame object of fr
	refClass // of a class body, and else what next says
)

// A ref is what a name means in a scope.
type ref struct {
	kind refKind
	slot int
	fr   *frame // whose object holds the cell
	cls  *class
	key  string
}

// A param is a parameter of a frame, and what callers gave it.
type param struct {
	name    string
	flag    syntax.Flag
	node    *syntax.Node
	bind    *binding
	given   set
	def     set
	hasDef  bool
	omitted bool    // some call leaves it out
	rest    *object // of *args and **kwargs
}

// A frame is a function, a lambda, or the code of a module.
type frame struct {
	id       FuncID
	name     string
	short    string
	unit     int
	node     *syntax.Node
	scope    *scope
	parent   *frame
	class    *class // whose method it is
	params   []param
	slots    int
	vars     *object // captured variables; of a module its names
	attrs    *object // of the function itself
	ret      *cell
	self     *cell   // the receiver, in languages where it is no parameter
	yield    *object // what a generator gives
	returns  uint64  // parameters that are returned as they came
	reads    map[*cell]struct{}
	implicit []callee // of the last run: calls that are no Call node
	wrapped  []string // outside decorators it went through
	handed   map[*frame]bool
	starts   []*frame // modules that its imports run

	runs                             int
	queued, active, called, imported bool
	escapes                          bool
}

// A class is a class statement.
type class struct {
	name    string
	node    *syntax.Node
	unit    int
	scope   *scope
	obj     *object
	bases   []set
	basesAt *cell // changes with bases
	insts   []val
	mro     []mroEntry
	subs    []*class
	open    bool     // its order is being found
	escapes []*frame // who hands it, or an object of it, to someone unseen
}

// A binder makes the scopes of a unit.
type binder struct {
	a    *analysis
	unit int
	all  []*scope
	free bool // names that are assigned are not made by that
}

func (a *analysis) bindUnit(i int) {
	u := a.g.units[i]
	b := &binder{a: a, unit: i}
	fr := b.frame(u.Name, nil, nil)
	sc := b.scope(moduleScope, u.Name, nil, fr)
	fr.scope = sc
	a.modules[i] = fr
	b.list(u.File.Body, sc)
	if u.Group != "" {
		g := a.groups[u.Group]
		if g == nil {
			g = map[string]int{}
			a.groups[u.Group] = g
		}
		for name := range sc.binds {
			if _, ok := g[name]; !ok {
				g[name] = i
			}
		}
	}
	for _, s := range b.all {
		for name := range s.uses {
			b.capture(s, name)
		}
		s.uses = nil
	}
}

func (b *binder) frame(name string, node *syntax.Node, parent *frame) *frame {
	a := b.a
	fr := &frame{id: FuncID(len(a.frames)), name: name, short: name[strings.LastIndexByte(name, '.')+1:], unit: b.unit, node: node, parent: parent}
	fr.vars = a.newObject(objFrame, node, b.unit)
	fr.ret = a.newCell()
	if a.g.units[b.unit].Language.This != "" {
		fr.self = a.newCell()
	}
	a.frames = append(a.frames, fr)
	return fr
}

func (b *binder) scope(k scopeKind, name string, parent *scope, fr *frame) *scope {
	s := &scope{kind: k, name: name, parent: parent, fr: fr, binds: map[string]*binding{}, uses: map[string]bool{}, refs: map[string]ref{}}
	b.all = append(b.all, s)
	return s
}

func (b *binder) bind(s *scope, name string) {
	if k, ok := s.outer[name]; ok && s.kind != moduleScope { // "global x" in a module's own code says nothing
		if k == moduleScope {
			for s.kind != moduleScope {
				s = s.parent
			}
			b.bind(s, name)
		}
		return
	}
	if s.binds[name] != nil {
		return
	}
	x := &binding{slot: s.fr.slots, key: name}
	if s.kind == compScope {
		x.key = name + "@" + strconv.Itoa(x.slot)
	}
	if s.kind != moduleScope && s.kind != classScope {
		s.fr.slots++
	}
	s.binds[name] = x
}

// capture marks the variable of an outer function that a name in s means.
func (b *binder) capture(s *scope, name string) {
	for t := s; t != nil; t = t.parent {
		if t.kind == classScope && t != s {
			continue
		}
		if _, elsewhere := t.outer[name]; elsewhere {
			continue
		}
		if x := t.binds[name]; x != nil {
			if t.fr != s.fr {
				x.captured = true
			}
			return
		}
	}
}

func (b *binder) list(l []*syntax.Node, s *scope) {
	for _, n := range l {
		b.node(n, s)
	}
}

func (b *binder) node(n *syntax.Node, s *scope) {
	if n == nil {
		return
	}
	switch n.Kind {
	case syntax.Name:
		s.uses[n.Text] = true
	case syntax.Func:
		b.fn(n, s)
	case syntax.Lambda:
		b.lambda(n, s)
	case syntax.Class:
		b.class(n, s)
	case syntax.ListComp, syntax.SetComp, syntax.Generator, syntax.DictComp:
		b.comp(n, s)
	case syntax.Assign:
		b.targets(n, n.Kids[:max(len(n.Kids)-1, 0)], s)
		b.node(n.Kid(len(n.Kids)-1), s)
	case syntax.AugAssign, syntax.AnnAssign, syntax.For, syntax.Comp:
		b.targets(n, n.Kids[:min(1, len(n.Kids))], s)
		b.list(n.Kids[min(1, len(n.Kids)):], s)
	case syntax.Walrus:
		t := s
		for t.kind == compScope {
			t = t.parent
		}
		b.targets(n, n.Kids[:min(1, len(n.Kids))], t)
		b.node(n.Kid(1), s)
	case syntax.WithItem:
		b.node(n.Kid(0), s)
		b.target(n.Kid(1), s)
	case syntax.Handler, syntax.PatAs, syntax.PatStar, syntax.PatMap:
		if n.Text != "" {
			b.bind(s, n.Text)
		}
		b.list(n.Kids, s)
	case syntax.Import:
		for _, al := range n.Kids {
			if as := al.Kid(0); as != nil {
				b.bind(s, as.Text)
			} else {
				head, _, _ := strings.Cut(al.Text, ".")
				b.bind(s, head)
			}
		}
	case syntax.From:
		for _, al := range n.Kids {
			if as := al.Kid(0); as != nil {
				b.bind(s, as.Text)
			} else if al.Text != "*" {
				b.bind(s, al.Text)
			}
		}
	case syntax.Global, syntax.Nonlocal:
		if s.outer == nil {
			s.outer = map[string]scopeKind{}
		}
		for _, k := range n.Kids {
			if n.Kind == syntax.Global {
				s.outer[k.Text] = moduleScope
				b.bind(s, k.Text)
				continue
			}
			s.outer[k.Text] = funcScope
			s.uses[k.Text] = true
		}
	case syntax.Delete:
		for _, k := range n.Kids {
			b.target(k, s)
		}
	case syntax.TypeAlias:
		b.target(n.Kid(0), s)
	default:
		b.list(n.Kids, s)
	}
}

// targets binds what a statement assigns to, if that makes names.
func (b *binder) targets(n *syntax.Node, ts []*syntax.Node, s *scope) {
	free := b.free
	b.free = b.a.g.units[b.unit].Language.Declares && n.Flag&syntax.Declares == 0 && n.Kind != syntax.AnnAssign && n.Kind != syntax.Comp
	for _, t := range ts {
		b.target(t, s)
	}
	b.free = free
}

func (b *binder) target(n *syntax.Node, s *scope) {
	if n == nil {
		return
	}
	switch n.Kind {
	case syntax.Name:
		if b.free {
			s.uses[n.Text] = true
			return
		}
		b.bind(s, n.Text)
	case syntax.Walrus: // a pattern with a default
		b.target(n.Kid(0), s)
		b.node(n.Kid(1), s)
	case syntax.Tuple, syntax.List, syntax.Star:
		for _, k := range n.Kids {
			b.target(k, s)
		}
	case syntax.Dict: // patterns of other languages
		for i := 1; i < len(n.Kids); i += 2 {
			b.target(n.Kids[i], s)
		}
	default:
		b.node(n, s)
	}
}

func (b *binder) fn(n *syntax.Node, s *scope) {
	b.bind(s, n.Text)
	b.list(n.Decorators(), s)
	fr := b.frame(s.name+"."+n.Text, n, s.fr)
	fr.class = s.class
	b.params(n.Kid(0), s, fr)
	in := b.scope(funcScope, fr.name, s, fr)
	b.body(fr, in, n.Body())
}

func (b *binder) lambda(n *syntax.Node, s *scope) {
	s.lambdas++
	fr := b.frame(s.name+".<lambda"+strconv.Itoa(s.lambdas)+">", n, s.fr)
	if fr.self != nil {
		fr.class = s.class // a field that holds a function
	}
	b.params(n.Kid(0), s, fr)
	in := b.scope(funcScope, fr.name, s, fr)
	b.body(fr, in, n.Kids[min(1, len(n.Kids)):])
}

func (b *binder) body(fr *frame, in *scope, body []*syntax.Node) {
	fr.scope = in
	b.a.byNode[fr.node] = fr
	for i := range fr.params {
		b.bind(in, fr.params[i].name)
		fr.params[i].bind = in.binds[fr.params[i].name]
	}
	b.list(body, in)
	gen := false
	for _, st := range body {
		syntax.Walk(st, func(k *syntax.Node) bool {
			gen = gen || k.Kind == syntax.Yield || k.Kind == syntax.YieldFrom
			return !gen && k.Kind != syntax.Func && k.Kind != syntax.Lambda && k.Kind != syntax.Class
		})
	}
	if gen {
		fr.yield = b.a.newObject(objGenerator, fr.node, b.unit)
	}
}

func (b *binder) params(n *syntax.Node, s *scope, fr *frame) {
	if n == nil {
		return
	}
	for _, p := range n.Kids {
		b.node(p.Kid(1), s)
		q := param{name: p.Text, flag: p.Flag, node: p}
		switch {
		case p.Flag&syntax.OneStar != 0:
			if p.Text == "" {
				continue
			}
			q.rest = b.a.newObject(objTuple, p, b.unit)
		case p.Flag&syntax.TwoStars != 0:
			q.rest = b.a.newObject(objDict, p, b.unit)
		default:
		}
		fr.params = append(fr.params, q)
	}
}

func (b *binder) class(n *syntax.Node, s *scope) {
	b.bind(s, n.Text)
	b.list(n.Decorators(), s)
	b.node(n.Kid(1), s)
	c := &class{name: s.name + "." + n.Text, node: n, unit: b.unit}
	c.obj = b.a.newObject(objClass, n, b.unit)
	c.basesAt = b.a.newCell()
	in := b.scope(classScope, c.name, s, s.fr)
	in.class = c
	c.scope = in
	b.a.classes[n] = c
	b.a.classList = append(b.a.classList, c)
	b.list(n.Body(), in)
}

func (b *binder) comp(n *syntax.Node, s *scope) {
	in := b.scope(compScope, s.name, s, s.fr)
	b.a.comps[n] = in
	first := true
	for _, k := range n.Kids {
		if k.Kind != syntax.Comp {
			continue
		}
		b.target(k.Kid(0), in)
		if first {
			b.node(k.Kid(1), s)
			b.list(k.Kids[min(2, len(k.Kids)):], in)
		} else {
			b.list(k.Kids[min(1, len(k.Kids)):], in)
		}
		first = false
	}
	for _, k := range n.Kids {
		if k.Kind != syntax.Comp {
			b.node(k, in)
		}
	}
}

// ref tells what a name means in s, for code that runs in s.fr.
func (s *scope) ref(name string) ref {
	if r, ok := s.refs[name]; ok {
		return r
	}
	r := s.find(name)
	s.refs[name] = r
	return r
}

func (s *scope) find(name string) ref {
	for t := s; t != nil; t = t.parent {
		if t.kind == classScope && t != s && (s.kind != compScope || t.fr != s.fr) {
			continue
		}
		if k, ok := t.outer[name]; ok {
			for k == moduleScope && t.kind != moduleScope {
				t = t.parent
			}
			if k == funcScope {
				continue
			}
		}
		x := t.binds[name]
		if x == nil {
			continue
		}
		switch {
		case t.kind == moduleScope:
			return ref{kind: refCell, fr: t.fr, key: name}
		case t.kind == classScope:
			return ref{kind: refClass, cls: t.class, key: name, fr: t.fr}
		case x.captured || t.fr != s.fr:
			return ref{kind: refCell, fr: t.fr, key: x.key}
		default:
			return ref{kind: refSlot, slot: x.slot, fr: t.fr}
		}
	}
	return ref{key: name}
}
