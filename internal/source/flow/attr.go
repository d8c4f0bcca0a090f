package flow

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// attr reads an attribute of everything in s.
func (e *exec) attr(s set, name string, n *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		out = out.or(e.attrOf(x, name, n))
	}
	return out
}

func (e *exec) attrOf(x entry, name string, n *syntax.Node) set {
	a := e.a
	i := *a.info(x.v)
	switch i.kind {
	case vInst:
		return e.instAttr(x, i, name, n)
	case vClass:
		return e.classAttr(x, i.cls, name)
	case vModule:
		return e.moduleAttr(x.v, name)
	case vExt:
		if i.obj != nil && i.obj.kind == objNamespace && !strings.HasPrefix(i.text, "argparse.ArgumentParser") {
			return e.at(i.obj, "s:"+name)
		}
		if s, ok := e.constant(i.text + "." + name); ok {
			return s.via(Constant, name, e.fr.unit, n)
		}
		v := a.intern(info{kind: vExt, text: i.text + "." + name, node: i.node, unit: i.unit, obj: i.obj, recv: x.v})
		if len(i.text)+len(name) > maxPath {
			return unknown()
		}
		return one(v, x.path)
	case vFunc:
		return e.funcAttr(x, i, name)
	case vBound:
		switch name {
		case "__self__":
			return one(i.recv, nil)
		case "__func__", "__wrapped__":
			return one(a.intern(info{kind: vFunc, fr: i.fr}), nil)
		}
		return e.funcAttr(entry{v: a.intern(info{kind: vFunc, fr: i.fr})}, i, name)
	case vSuper:
		return e.superAttr(i, name)
	case vPartial:
		switch name {
		case "func":
			return e.readCell(i.obj.cell("func"))
		case "keywords":
			return unknown()
		}
	case vProperty:
		return one(a.intern(info{kind: vMethod, text: "property." + name, recv: x.v}), nil)
	case vString, vNumber:
		if name == "value" || name == "name" && e.a.g.units[e.fr.unit].Language.Name == "python" { // of a member of an enumeration
			return set{vals: []entry{x}}
		}
		return one(a.intern(info{kind: vMethod, text: name, recv: x.v}), x.path)
	case vPattern, vBool:
		return one(a.intern(info{kind: vMethod, text: name, recv: x.v}), x.path)
	case vList:
		return one(a.intern(info{kind: vMethod, text: name, recv: x.v}), x.path)
	case vDict:
		m := one(a.intern(info{kind: vMethod, text: name, recv: x.v}), x.path)
		if a.g.units[e.fr.unit].Language.Members {
			if s := e.at(i.obj, "s:"+name); !s.empty() {
				return s
			}
			return m
		}
		if i.obj.frozen { // attribute access to configuration, as of OmegaConf or Box
			if c := i.obj.peek("s:" + name); c != nil {
				return e.readCell(c)
			}
		}
		return m
	case vBuiltin:
		return e.builtinAttr(i, name, n)
	case vNone, vOther:
		return set{}
	default:
	}
	return unknown()
}

func (e *exec) instAttr(x entry, i info, name string, n *syntax.Node) set {
	a := e.a
	c := i.obj.cell(name)
	own := e.readCell(c)
	if at, ok := e.cells[c]; ok && e.st[at].def && !i.obj.summary {
		return own
	}
	if !own.empty() && c.ctor {
		return own
	}
	s, ext, ok := e.find(i.cls, name, nil)
	if ok {
		return own.or(e.bind(s, entry{v: x.v, path: x.path}, i.cls))
	}
	if !own.empty() {
		return own
	}
	switch name {
	case "__class__":
		return one(a.intern(info{kind: vClass, cls: i.cls}), nil)
	case "__dict__":
		return unknown()
	}
	if ext != "" && !strings.HasPrefix(ext, "builtins.") {
		out := e.inherited(i, name, n)
		if other, has := startedBy[name]; has { // what the base calls by itself
			if f, _, ok := e.find(i.cls, other, nil); ok {
				out = out.or(e.bind(f, x, i.cls))
			}
		}
		return out
	}
	if g, ok := e.specialOf(x, "__getattr__", &args{pos: []set{one(a.str(name), nil)}}, n); ok {
		return g
	}
	return set{}
}

// startedBy tells which method of a class of the tree runs when one is called
// that only the outside base has.
var startedBy = map[string]string{
	"start": "run", "invoke": "_call", "ainvoke": "_acall", "forward": "forward", "kickoff": "run", "fit": "training_step",
	"run": "_run", "arun": "_arun", "complete": "_complete",
}

func (e *exec) superAttr(i info, name string) set {
	a := e.a
	recv := *a.info(i.recv)
	c := recv.cls
	if c == nil {
		c = i.cls
	}
	s, ext, ok := e.find(c, name, i.cls)
	if ok {
		if recv.kind == vInst {
			return e.bind(s, entry{v: i.recv}, c)
		}
		out := set{}
		for _, y := range s.vals {
			k := *a.info(y.v)
			if k.kind == vFunc && name == "__new__" {
				out = out.or(set{vals: []entry{y}})
			} else if k.kind == vFunc || k.kind == vClassFn {
				out = out.or(one(a.intern(info{kind: vBound, fr: k.fr, recv: i.recv}), nil))
			}
		}
		return out
	}
	if ext == "" || strings.HasPrefix(ext, "builtins.") {
		return set{}
	}
	path := ext + "()." + name
	switch name {
	case "__init__":
		path = ext + "." + name
	case a.g.units[e.fr.unit].Language.Constructor:
		path = ext
	}
	v, okay := a.ext(path, recv.node, recv.unit)
	if !okay {
		return unknown()
	}
	return one(v, nil)
}

func (e *exec) funcAttr(x entry, i info, name string) set {
	a := e.a
	if i.fr.attrs != nil {
		if c := i.fr.attrs.peek(name); c != nil {
			return e.readCell(c)
		}
	}
	switch name {
	case "__name__", "__qualname__", "__doc__", "__module__":
		return one(a.str(i.fr.short), nil)
	case "__wrapped__", "func", "fn", "function", "callback":
		return set{vals: []entry{x}}
	case "__call__":
		return set{vals: []entry{x}}
	}
	var out set
	for _, p := range i.fr.wrapped {
		if v, ok := a.ext(p+"."+name, i.fr.node, i.fr.unit); ok {
			out = out.or(one(v, nil))
		}
	}
	if len(i.fr.wrapped) > 0 {
		if wrappedCalls[name] {
			out = out.or(set{vals: []entry{x}})
		}
		return out
	}
	if i.fr.attrs == nil {
		i.fr.attrs = a.newObject(objFunc, i.fr.node, i.fr.unit)
	}
	return e.readCell(i.fr.attrs.cell(name))
}

// wrappedCalls are methods by which an outside wrapper calls its function.
var wrappedCalls = wordSet(`delay apply_async apply remote invoke ainvoke run arun submit map starmap send call kiq si s
	main spawn local local_entrypoint aio batch stream with_options async_ __get__`)

// setAttr writes an attribute of everything in s.
func (e *exec) setAttr(s set, name string, v set, n *syntax.Node) {
	a := e.a
	single := len(s.vals) == 1 && !s.unknown
	for _, x := range s.vals {
		i := *a.info(x.v)
		var o *object
		switch i.kind {
		case vInst:
			if f, _, ok := e.find(i.cls, name, nil); ok && e.setter(f, x, v) {
				continue
			}
			o = i.obj
		case vClass:
			o = i.cls.obj
		case vModule:
			if i.unit < 0 {
				continue
			}
			o = a.modules[i.unit].vars
		case vFunc:
			if i.fr.attrs == nil {
				i.fr.attrs = a.newObject(objFunc, i.fr.node, i.fr.unit)
			}
			o = i.fr.attrs
		case vDict:
			if a.g.units[e.fr.unit].Language.Members {
				e.setMember(set{vals: []entry{x}}, one(a.str(name), nil), v, n)
			}
			continue
		case vExt:
			if i.obj != nil && i.obj.kind == objNamespace {
				e.addCell(e.newCell(i.obj, "s:"+name), v)
			}
			continue
		default:
			continue
		}
		c := e.newCell(o, name)
		if i.kind == vInst {
			v = v.via(Attribute, name, e.fr.unit, n)
		}
		if i.kind == vInst && e.fr.short == a.g.units[e.fr.unit].Language.Constructor {
			c.ctor = true
		}
		if single && !o.summary {
			e.writeCell(c, v)
			continue
		}
		e.addCell(c, v)
	}
}

// setter calls the setters of properties and descriptors; it reports whether
// there was one.
func (e *exec) setter(f set, x entry, v set) bool {
	done := false
	recv := set{vals: []entry{{v: x.v}}}
	for _, y := range f.vals {
		i := *e.a.info(y.v)
		switch i.kind {
		case vProperty:
			done = true
			for _, g := range e.readCell(i.obj.cell("set")).vals {
				e.callValue(g, &args{pos: []set{recv, v}}, nil, true)
			}
		case vInst:
			if _, ok := e.specialOf(y, "__set__", &args{pos: []set{recv, v}}, nil); ok {
				done = true
			}
		default:
		}
	}
	return done
}
