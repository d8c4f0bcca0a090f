package flow

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// An mroEntry is a class in the order in which attributes are looked up: one of
// the tree, or the path of one outside.
type mroEntry struct {
	cls *class
	ext string
}

// maxBases bounds the order of a class.
const maxBases = 256

// defineClass runs a class statement.
func (e *exec) defineClass(n *syntax.Node) {
	a := e.a
	c := a.classes[n]
	if c == nil {
		return
	}
	var bases []set
	for _, b := range kids(n.Kid(1)) {
		s := e.eval(b)
		if b.Kind == syntax.Keyword {
			continue
		}
		bases = append(bases, s)
	}
	if len(c.bases) != len(bases) {
		c.bases = make([]set, len(bases))
	}
	for i, s := range bases {
		more, changed := c.bases[i].join(s.plain())
		if changed {
			c.bases[i] = more
			c.forget()
			a.wake(c.basesAt)
		}
	}
	outer := e.sc
	e.sc = c.scope
	e.stmts(n.Body())
	e.sc = outer
	e.dead = false
	s := one(a.intern(info{kind: vClass, cls: c}), nil)
	ds := n.Decorators()
	decs := make([]set, len(ds))
	for i, d := range ds {
		decs[i] = e.eval(d)
	}
	for i, d := range slices.Backward(ds) {
		s = e.decorate(decs[i], s, d, nil)
	}
	e.assignName(n.Text, s, n)
	for _, b := range c.bases {
		for _, x := range b.vals {
			if i := a.info(x.v); i.kind == vClass {
				e.special(e.classAttr(x, i.cls, "__init_subclass__"), "", nil, n)
			}
		}
	}
}

// order returns the classes in which an attribute of c is looked up: C3, and
// where that does not exist, depth first. In a circle of bases, which no
// program has that runs, some are left out.
func (a *analysis) order(c *class) []mroEntry {
	if c.mro == nil {
		c.mro = a.linear(c, 0)
	}
	return c.mro
}

// forget drops the order of a class, and of those that extend it.
func (c *class) forget() {
	if c.mro == nil {
		return
	}
	c.mro = nil
	for _, s := range c.subs {
		s.forget()
	}
}

func (a *analysis) linear(c *class, depth int) []mroEntry {
	if c.open || depth > 64 {
		return nil
	}
	c.open = true
	defer func() { c.open = false }()
	var lists [][]mroEntry
	var direct []mroEntry
	for _, b := range c.bases {
		for _, x := range b.vals {
			switch i := a.info(x.v); i.kind {
			case vClass:
				if i.cls.mro == nil && !i.cls.open {
					i.cls.mro = a.linear(i.cls, depth+1)
				}
				if !slices.Contains(i.cls.subs, c) {
					i.cls.subs = append(i.cls.subs, c)
				}
				if l := i.cls.mro; len(l) > 0 && i.cls != c {
					lists = append(lists, l)
					direct = append(direct, mroEntry{cls: i.cls})
				}
			case vExt:
				m := mroEntry{ext: i.text}
				lists = append(lists, []mroEntry{m})
				direct = append(direct, m)
			case vBuiltin:
				if i.text == "object" {
					continue
				}
				m := mroEntry{ext: "builtins." + i.text}
				lists = append(lists, []mroEntry{m})
				direct = append(direct, m)
			default:
			}
		}
	}
	lists = append(lists, direct)
	out := []mroEntry{{cls: c}}
	for len(out) < maxBases && a.step() {
		lists = slices.DeleteFunc(lists, func(l []mroEntry) bool { return len(l) == 0 })
		if len(lists) == 0 {
			break
		}
		next := lists[0][0]
		for _, l := range lists {
			h := l[0]
			if !slices.ContainsFunc(lists, func(o []mroEntry) bool { return slices.Contains(o[1:], h) }) {
				next = h
				break
			}
		}
		out = append(out, next)
		for i, l := range lists {
			switch {
			case l[0] == next:
				lists[i] = l[1:]
			case slices.Contains(l, next):
				lists[i] = slices.DeleteFunc(slices.Clone(l), func(m mroEntry) bool { return m == next })
			}
		}
	}
	return out
}

// enum reports whether c is an enumeration.
func (e *exec) enum(c *class) bool {
	for _, m := range e.a.order(c) {
		if strings.HasPrefix(m.ext, "enum.") || strings.HasSuffix(m.ext, "Choices") {
			return true
		}
	}
	return false
}

// find looks up an attribute of a class, behind after if that is not nil. It
// returns the path of an outside class that may have it instead.
func (e *exec) find(c *class, name string, after *class) (s set, ext string, ok bool) {
	e.fr.reading(c.basesAt)
	skip := after != nil
	for _, m := range e.a.order(c) {
		if skip {
			skip = m.cls != after
			continue
		}
		if m.cls == nil {
			if ext == "" {
				ext = m.ext
			}
			continue
		}
		e.fr.reading(m.cls.basesAt)
		if m.cls.scope.binds[name] == nil && m.cls.obj.peek(name) == nil {
			e.readAny(m.cls.obj)
			continue
		}
		s = e.readCell(m.cls.obj.cell(name))
		if !s.empty() {
			return s, "", true
		}
		if m.cls.scope.binds[name] != nil && m.cls.scope.fr.active {
			return s, "", true
		}
	}
	return set{}, ext, false
}

// maxInstances is how many objects of a class are told apart.
const maxInstances = 8

// instance returns the object that a call of a class makes.
func (a *analysis) instance(c *class, n *syntax.Node, unit int) val {
	key := objKey{n, objInst, c}
	o := a.objects[key]
	if o == nil {
		if len(c.insts) >= maxInstances {
			key = objKey{nil, objInst, c}
		}
		if o = a.objects[key]; o == nil {
			o = a.newObject(objInst, n, unit)
			o.summary = key.node == nil
			a.objects[key] = o
		}
	}
	v := a.intern(info{kind: vInst, obj: o, cls: c, node: n, unit: unit})
	if o.summary {
		v = a.intern(info{kind: vInst, obj: o, cls: c, node: o.node, unit: o.unit})
	}
	if !slices.Contains(c.insts, v) {
		c.insts = append(c.insts, v)
		a.wake(c.basesAt)
	}
	return v
}

// instantiate calls a class.
func (e *exec) instantiate(x entry, c *class, ar *args, n *syntax.Node) set {
	a := e.a
	if e.enum(c) && len(ar.pos) == 1 {
		return ar.pos[0].or(e.items(set{vals: []entry{x}}))
	}
	at := n
	if at == nil {
		at = c.node
	}
	inst := a.instance(c, at, e.fr.unit)
	self := entry{v: inst}
	out := one(inst, nil)
	if s, _, ok := e.find(c, "__new__", nil); ok {
		for _, f := range s.vals {
			i := *a.info(f.v)
			if i.kind == vStatic || i.kind == vFunc {
				r := e.invoke(i.fr, &x, ar, n)
				e.note(n, callee{fr: i.fr})
				for _, y := range r.vals {
					if k := a.info(y.v); k.kind == vInst && k.cls != c {
						out = out.or(one(y.v, nil))
					}
				}
			}
		}
	}
	ctor := a.g.units[c.unit].Language.Constructor
	s, ext, ok := e.find(c, ctor, nil)
	if ok {
		for _, f := range e.bind(s, self, c).vals {
			e.callValue(f, ar, n, false)
		}
		if s.empty() {
			e.settled(n)
		}
		return out
	}
	if ext != "" && !strings.HasPrefix(ext, "builtins.") {
		e.note(n, callee{name: ext + "." + ctor, path: ext})
		e.escape(ar)
	}
	e.settled(n)
	// A class without a constructor of its own takes its fields by name.
	obj := a.info(inst).obj
	for _, k := range ar.kw {
		cell := obj.cell(k.name)
		cell.ctor = true
		e.addCell(cell, k.s.plain())
	}
	for i, p := range ar.pos {
		if f := fields(c.node); i < len(f) {
			cell := obj.cell(f[i])
			cell.ctor = true
			e.addCell(cell, p.plain())
		}
	}
	if p, _, ok := e.find(c, "__post_init__", nil); ok {
		for _, f := range e.bind(p, self, c).vals {
			e.implicitly(e.callValue(f, &args{}, nil, true))
		}
	}
	return out
}

// fields returns the annotated names of a class body.
func fields(n *syntax.Node) []string {
	var out []string
	for _, s := range n.Body() {
		if s.Kind == syntax.AnnAssign && s.Kid(0) != nil && s.Kid(0).Kind == syntax.Name {
			out = append(out, s.Kid(0).Text)
		}
	}
	return out
}

// bind turns what a class holds into what an object gives.
func (e *exec) bind(s set, recv entry, c *class) set {
	a := e.a
	plain := true
	for _, x := range s.vals {
		switch a.info(x.v).kind {
		case vFunc, vStatic, vClassFn, vProperty, vInst, vBound:
			plain = false
		default:
		}
	}
	if plain {
		return s
	}
	out := set{unknown: s.unknown}
	add := func(x entry) {
		x.from = 0
		if !out.has(x) && len(out.vals) < maxSet {
			out.vals = append(out.vals, x)
		}
	}
	for _, x := range s.vals {
		i := *a.info(x.v)
		switch i.kind {
		case vFunc:
			add(entry{v: a.intern(info{kind: vBound, fr: i.fr, recv: recv.v}), path: x.path})
		case vStatic:
			add(entry{v: a.intern(info{kind: vFunc, fr: i.fr})})
		case vClassFn:
			add(entry{v: a.intern(info{kind: vBound, fr: i.fr, recv: a.intern(info{kind: vClass, cls: c})})})
		case vProperty:
			out = out.or(e.getProperty(i.obj, recv))
		case vInst:
			if f, _, ok := e.find(i.cls, "__get__", nil); ok {
				for _, g := range e.bind(f, x, i.cls).vals {
					out = out.or(e.implicitly(e.callValue(g, &args{pos: []set{{vals: []entry{recv}}, unknown()}}, nil, true)))
				}
				continue
			}
			add(x)
		default:
			add(x)
		}
	}
	return out
}

func (e *exec) getProperty(o *object, recv entry) set {
	var out set
	for _, f := range e.readCell(o.cell("get")).vals {
		recv.from = 0
		out = out.or(e.callValue(f, &args{pos: []set{{vals: []entry{recv}}}}, nil, true))
	}
	return out
}

// special calls a method that the language calls by itself, on every object of
// the tree in s.
func (e *exec) special(s set, name string, ar *args, n *syntax.Node) {
	if name == "" { // s are the methods themselves
		for _, f := range s.vals {
			e.callValue(f, &args{}, nil, true)
		}
		return
	}
	for _, x := range s.vals {
		if e.a.info(x.v).kind == vInst {
			e.specialOf(x, name, ar, n)
		}
	}
}

// specialOf calls a method of an object, if its class has it.
func (e *exec) specialOf(x entry, name string, ar *args, _ *syntax.Node) (set, bool) {
	i := *e.a.info(x.v)
	if i.kind != vInst {
		return set{}, false
	}
	s, _, ok := e.find(i.cls, name, nil)
	if !ok {
		return set{}, false
	}
	var out set
	for _, f := range e.bind(s, x, i.cls).vals {
		out = out.or(e.callValue(f, ar, nil, true))
	}
	return out, true
}

// inherited is what an object gives that comes from an outside base.
func (e *exec) inherited(i info, name string, _ *syntax.Node) set {
	for _, m := range e.a.order(i.cls) {
		if m.ext == "" || strings.HasPrefix(m.ext, "builtins.") {
			continue
		}
		path := m.ext + "()"
		if !strings.HasPrefix(name, "[") {
			path += "."
		}
		if v, ok := e.a.ext(path+name, i.node, i.unit); ok {
			return one(v, nil)
		}
	}
	return unknown()
}

func (e *exec) classAttr(x entry, c *class, name string) set {
	s, ext, ok := e.find(c, name, nil)
	if ok {
		out := set{unknown: s.unknown}
		for _, y := range s.vals {
			i := *e.a.info(y.v)
			switch i.kind {
			case vStatic:
				y.v = e.a.intern(info{kind: vFunc, fr: i.fr})
			case vClassFn:
				y.v = e.a.intern(info{kind: vBound, fr: i.fr, recv: x.v})
			default:
			}
			out = out.or(set{vals: []entry{y}})
		}
		return out
	}
	switch name {
	case "__name__", "__qualname__":
		return one(e.a.str(c.node.Text), nil)
	case "__init_subclass__":
		return set{}
	}
	if ext != "" {
		return e.outside(ext + "." + name)
	}
	return set{}
}

func kids(n *syntax.Node) []*syntax.Node {
	if n == nil {
		return nil
	}
	return n.Kids
}
