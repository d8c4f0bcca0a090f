package flow

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// decorate returns what a decorator makes of s. fr is the function, or nil for
// a class.
func (e *exec) decorate(dec, s set, n *syntax.Node, fr *frame) set {
	a := e.a
	out := set{unknown: dec.unknown}
	at := n
	if n.Kind == syntax.Call {
		at = nil // its site is that of the call that made the decorator
	} else {
		e.site(n)
	}
	ar := &args{pos: []set{s}, nodes: []*syntax.Node{nil}}
	for _, x := range dec.vals {
		i := *a.info(x.v)
		switch i.kind {
		case vBuiltin:
			if !shapes[i.text] {
				e.note(at, callee{name: e.builtinName(i.text), path: "builtins." + i.text})
			}
			e.settled(n)
			out = out.or(e.wrapBuiltin(i.text, s, n))
		case vMethod:
			out = out.or(e.method(i, ar, at))
		case vExt:
			if n.Kind != syntax.Call {
				e.note(at, callee{name: shown(i.text), path: i.text, made: i.node})
			}
			out = out.or(e.decorateOutside(i, s, n, fr))
		default:
			if n.Kind == syntax.Call {
				out = out.or(e.callValue(x, ar, nil, true))
			} else {
				out = out.or(e.callValue(x, ar, n, false))
			}
		}
	}
	if dec.unknown || len(dec.vals) == 0 {
		out = out.or(s) // nothing is known: most decorators keep what they get
		if fr != nil {
			fr.escapes = true
		}
	}
	return out
}

// shapes are decorators that say what a function of a class is, and call nothing.
var shapes = wordSet("staticmethod classmethod property")

func (e *exec) wrapBuiltin(name string, s set, n *syntax.Node) set {
	a := e.a
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := *a.info(x.v)
		if i.kind != vFunc {
			out = out.or(set{vals: []entry{x}})
			continue
		}
		switch name {
		case "staticmethod":
			out = out.or(one(a.intern(info{kind: vStatic, fr: i.fr}), nil))
		case "classmethod":
			out = out.or(one(a.intern(info{kind: vClassFn, fr: i.fr}), nil))
		case "property":
			o := a.object(objProperty, n, e.fr.unit, i.fr)
			e.addCell(o.cell("get"), set{vals: []entry{x}})
			out = out.or(one(a.intern(info{kind: vProperty, obj: o}), nil))
		default:
			out = out.or(set{vals: []entry{x}})
		}
	}
	return out
}

// decorateOutside keeps the function: wrappers call it, and others see it under
// its name. What the wrapper adds is found through the path of the decorator.
func (e *exec) decorateOutside(i info, s set, n *syntax.Node, fr *frame) set {
	a := e.a
	path := i.text
	switch {
	case propertyLike[path]:
		return e.wrapBuiltin("property", s, n)
	case path == "contextlib.contextmanager" || path == "contextlib.asynccontextmanager":
		return s
	}
	sum, known := a.lib.summary(path)
	if known && sum.Argument == 1 {
		return s
	}
	for _, x := range s.vals {
		if f := a.info(x.v); f.kind == vFunc {
			f.fr.escapes = true
			if p := path + "()"; len(f.fr.wrapped) < 8 && !slices.Contains(f.fr.wrapped, p) {
				f.fr.wrapped = append(f.fr.wrapped, p)
				f.fr.handedBy(e.fr)
			}
		}
	}
	if fr != nil && strings.HasPrefix(path, "click.") && strings.HasSuffix(path, "option()") && n.Kind == syntax.Call {
		e.option(fr, e.args(n.Kids[1:]), n)
	}
	return s
}

// propertyLike are outside decorators that make attributes of methods.
var propertyLike = wordSet(`functools.cached_property django.utils.functional.cached_property abc.abstractproperty
	werkzeug.utils.cached_property cached_property.cached_property pydantic.computed_field sqlalchemy.ext.hybrid.hybrid_property`)

// option gives the default of a command line option to the parameter.
func (e *exec) option(fr *frame, ar *args, n *syntax.Node) {
	def, node, ok := ar.get(-1, "default")
	name := e.optionName(ar)
	for i := range fr.params {
		p := &fr.params[i]
		if p.name != name || p.rest != nil {
			continue
		}
		p.given.unknown = true
		if !ok {
			continue
		}
		more, changed := p.given.join(e.optional(def, node).plain())
		if changed {
			p.given = more
			e.a.enqueue(fr)
		}
	}
	_ = n
}

// optionName is the variable that an option such as --model-name fills.
func (e *exec) optionName(ar *args) string {
	if s, _, ok := ar.get(-1, "dest"); ok && len(s.vals) == 1 {
		return e.a.info(s.vals[0].v).text
	}
	name := ""
	for _, p := range ar.pos {
		if len(p.vals) != 1 || e.a.info(p.vals[0].v).kind != vString {
			continue
		}
		t := e.a.info(p.vals[0].v).text
		switch {
		case strings.HasPrefix(t, "--"):
			if !strings.HasPrefix(name, "--") {
				name = t
			}
		case strings.HasPrefix(t, "-"):
			if name == "" {
				name = t
			}
		default:
			return t
		}
	}
	return strings.ReplaceAll(strings.TrimLeft(name, "-"), "-", "_")
}

func (e *exec) optional(s set, n *syntax.Node) set {
	if n == nil {
		return s
	}
	return s.via(OptionDefault, "", e.fr.unit, n)
}

func (e *exec) builtinName(name string) string {
	return e.a.g.units[e.fr.unit].Language.Builtins + "." + name
}

// builtin calls a function of the language itself.
func (e *exec) builtin(name string, ar *args, n *syntax.Node) set {
	a := e.a
	e.note(n, callee{name: e.builtinName(name), path: "builtins." + name})
	first, _, _ := ar.get(0, "")
	second, _, has2 := ar.get(1, "")
	node := n
	if node == nil {
		node = e.fr.node
	}
	switch a.g.units[e.fr.unit].Language.Name {
	case "javascript":
		return e.script(name, ar, node)
	case "go":
		return e.goBuiltin(name, ar, node)
	case "java", "kotlin", "csharp":
		return e.managed(name, ar, node)
	}
	switch name {
	case "super":
		return e.super(ar)
	case "property":
		return e.makeProperty(ar, node)
	case "staticmethod", "classmethod":
		return e.wrapBuiltin(name, first, node)
	case "getattr":
		out := set{}
		for _, k := range second.vals {
			if i := a.info(k.v); i.kind == vString {
				out = out.or(e.attr(first, i.text, node))
			} else {
				out.unknown = true
			}
		}
		third, _, _ := ar.get(2, "")
		out.unknown = out.unknown || second.unknown
		return out.or(third)
	case "setattr":
		third, _, _ := ar.get(2, "")
		for _, k := range second.vals {
			if i := a.info(k.v); i.kind == vString {
				e.setAttr(first, i.text, third, node)
			}
		}
		return one(a.common.none, nil)
	case "map", "filter":
		return e.mapped(name, ar, node)
	case "sorted", "min", "max", "reversed", "list", "tuple", "set", "frozenset", "iter", "enumerate", "zip":
		return e.sequence(name, ar, node)
	case "next", "anext":
		return e.next(first, node).or(second)
	case "reduce":
		it := e.iterate(second, node)
		return e.callInside(first, &args{pos: []set{it, it}})
	case "dict":
		o := a.object(objDict, node, e.fr.unit, "dict")
		if len(first.vals) > 0 {
			e.merge2(o, first)
			for _, p := range e.items(e.onlyLists(first)).vals {
				e.putMember(o, e.member(set{vals: []entry{p}}, e.index(0)), e.member(set{vals: []entry{p}}, e.index(1)))
			}
		}
		for _, k := range ar.kw {
			e.setCell(o, "s:"+k.name, k.s)
		}
		return one(a.intern(info{kind: vDict, obj: o}), nil)
	case "vars":
		for _, x := range first.vals {
			if i := a.info(x.v); i.kind == vExt && i.obj != nil {
				return one(a.intern(info{kind: vDict, obj: i.obj}), nil)
			}
		}
		return unknown()
	case "type":
		if !has2 {
			out := set{}
			for _, x := range first.vals {
				if i := *a.info(x.v); i.kind == vInst {
					out = out.or(one(a.intern(info{kind: vClass, cls: i.cls}), nil))
				}
			}
			return out
		}
		return unknown()
	case "str":
		e.special(first, "__str__", &args{}, node)
		return e.texts(first)
	case "repr", "format":
		return one(a.common.text, nil)
	case "len", "int", "float", "abs", "round", "sum", "hash", "id", "ord", "pow":
		if name == "int" || name == "float" {
			if s := e.scalars(first); len(s.vals) > 0 && len(s.vals) == len(first.vals) {
				return s
			}
		}
		if name == "len" {
			e.special(first, "__len__", &args{}, node)
		}
		return one(a.common.number, nil)
	case "open":
		return e.opened(first, node)
	case "isinstance", "issubclass", "callable", "hasattr", "bool", "all", "any":
		if name == "all" || name == "any" {
			e.iterate(first, node)
		}
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}
	case "__import__":
		return e.importNamed(first)
	case "print":
		return one(a.common.none, nil)
	case "range":
		o := a.object(objGenerator, node, e.fr.unit, "range")
		e.addCell(e.newCell(o, star), one(a.common.number, nil))
		return one(a.intern(info{kind: vList, obj: o}), nil)
	case "globals", "locals", "eval", "exec", "object", "input":
		return unknown()
	case "dict.fromkeys":
		o := a.object(objDict, node, e.fr.unit, "dict")
		e.putMember(o, e.iterate(first, node), second)
		return one(a.intern(info{kind: vDict, obj: o}), nil)
	default:
		if strings.HasSuffix(name, "Error") || strings.HasSuffix(name, "Exception") || name == "StopIteration" {
			v, _ := a.ext("builtins."+name+"()", node, e.fr.unit)
			return one(v, nil)
		}
		e.escape(ar)
		return unknown()
	}
}

func (e *exec) onlyLists(s set) set {
	var out set
	for _, x := range s.vals {
		if e.a.info(x.v).kind == vList {
			out.vals = append(out.vals, x)
		}
	}
	return out
}

// importNamed is importlib.import_module and __import__ with a known name.
func (e *exec) importNamed(s set) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		if i.kind != vString {
			out.unknown = true
			continue
		}
		name, relative := e.a.imports.absolute(e.fr.unit, i.text)
		if v, path, inside := e.module(name, relative); inside {
			out = out.or(one(v, nil))
		} else {
			out = out.or(e.outside(path))
		}
	}
	return out
}

func (e *exec) super(ar *args) set {
	a := e.a
	if len(ar.pos) >= 2 {
		out := set{}
		for _, c := range ar.pos[0].vals {
			for _, o := range ar.pos[1].vals {
				if i := a.info(c.v); i.kind == vClass {
					out = out.or(one(a.intern(info{kind: vSuper, cls: i.cls, recv: o.v}), nil))
				}
			}
		}
		return out
	}
	fr := e.fr
	for fr != nil && fr.class == nil {
		fr = fr.parent
	}
	if fr == nil || fr.self == nil && len(fr.params) == 0 {
		return unknown()
	}
	var self set
	if fr.self != nil {
		self = e.readCell(fr.self)
	} else {
		self = fr.params[0].given
	}
	out := set{unknown: self.unknown}
	for _, x := range self.vals {
		if k := a.info(x.v).kind; k == vInst || k == vClass {
			out = out.or(one(a.intern(info{kind: vSuper, cls: fr.class, recv: x.v}), nil))
		}
	}
	return out
}

func (e *exec) makeProperty(ar *args, n *syntax.Node) set {
	o := e.a.object(objProperty, n, e.fr.unit, nil)
	for i, k := range []string{"get", "set", "del"} {
		if s, _, ok := ar.get(i, "f"+k); ok {
			e.addCell(o.cell(k), s)
		}
	}
	return one(e.a.intern(info{kind: vProperty, obj: o}), nil)
}

// mapped is map and filter: the function is called for every item.
func (e *exec) mapped(name string, ar *args, n *syntax.Node) set {
	if len(ar.pos) < 2 {
		return unknown()
	}
	f, rest := ar.pos[0], ar.pos[1:]
	if !e.callable(f) && e.callable(rest[0]) {
		f, rest = rest[0], ar.pos[:1]
	}
	in := &args{}
	for _, r := range rest {
		in.pos = append(in.pos, e.iterate(r, n))
	}
	got := set{}
	for _, x := range f.vals {
		got = got.or(e.callValue(x, in, nil, true))
	}
	if name == "filter" {
		got = in.pos[0]
	}
	o := e.a.object(objGenerator, n, e.fr.unit, name)
	e.addCell(e.newCell(o, star), got)
	return one(e.a.intern(info{kind: vList, obj: o}), nil)
}

func (e *exec) callable(s set) bool {
	for _, x := range s.vals {
		switch e.a.info(x.v).kind {
		case vFunc, vBound, vClass, vBuiltin, vPartial, vExt, vMethod:
			return true
		case vInst:
			return true
		default:
		}
	}
	return false
}

// sequence is a builtin that gives the items of what it gets.
func (e *exec) sequence(name string, ar *args, n *syntax.Node) set {
	a := e.a
	if f, _, ok := ar.get(-1, "key"); ok && len(ar.pos) > 0 {
		it := e.iterate(ar.pos[0], n)
		if len(ar.pos) > 1 {
			it = it.or(ar.pos[1])
		}
		for _, x := range f.vals {
			e.callValue(x, &args{pos: []set{it}}, nil, true)
		}
	}
	if len(ar.pos) == 0 {
		return one(a.intern(info{kind: vList, obj: a.object(objList, n, e.fr.unit, name)}), nil)
	}
	first := ar.pos[0]
	switch name {
	case "min", "max":
		if len(ar.pos) > 1 {
			out := set{}
			for _, p := range ar.pos {
				out = out.or(p)
			}
			return out
		}
		return e.iterate(first, n)
	case "list", "tuple":
		if len(first.vals) == 1 && !first.unknown {
			if _, ok := e.length(first.vals[0]); ok {
				return e.slice(first, 0, 0, n)
			}
		}
	}
	o := a.object(objGenerator, n, e.fr.unit, name)
	switch name {
	case "enumerate", "zip":
		t := a.object(objTuple, n, e.fr.unit, name)
		if name == "enumerate" {
			e.addCell(e.newCell(t, "i:0"), one(a.common.number, nil))
			e.addCell(e.newCell(t, "i:1"), e.iterate(first, n))
		} else {
			for i, p := range ar.pos {
				e.addCell(e.newCell(t, "i:"+itoa(i)), e.iterate(p, n))
			}
		}
		e.addCell(e.newCell(o, star), one(a.intern(info{kind: vList, obj: t}), nil))
	default:
		e.addCell(e.newCell(o, star), e.iterate(first, n))
	}
	return one(a.intern(info{kind: vList, obj: o}), nil)
}

func (e *exec) next(s set, n *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if e.a.info(x.v).kind == vInst {
			r, _ := e.specialOf(x, "__next__", &args{}, n)
			out = out.or(r)
			continue
		}
		out = out.or(e.items(set{vals: []entry{x}}))
	}
	return out
}
