package main

import "strings"

// triggers are the methods that building, filling or walking an object can
// run, and those that an inert function may call on what it was given: an
// inert class has none of them that is not inert.
var triggers = [...]string{
	"__new__", "__setstate__", "__setattr__", "__getattr__", "__getattribute__", "__del__", "__hash__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__",
	"__ge__", "__len__", "__bool__", "__iter__", "__next__", "__contains__", "__getitem__", "__setitem__", "__missing__", "__str__", "__repr__", "__format__",
	"__set__", "__get__", "__delete__", "__instancecheck__", "__add__", "__iadd__", "__or__", "__ior__", "__index__", "__int__", "__float__",
	"append", "extend", "add", "update", "get", "items", "keys", "values", "copy", "pop", "setdefault", "join", "format", "split", "strip", "lower", "upper",
	"startswith", "endswith", "replace", "remove", "insert", "index", "count", "encode", "decode", "discard", "clear", "sort", "rstrip", "lstrip",
}

// pureMethods may be called on local names.
var pureMethods = set(strings.Join(triggers[35:], " "))

// pure are callables outside the trees that do nothing but compute.
var pure = set(`builtins.len builtins.isinstance builtins.issubclass builtins.super builtins.dict builtins.list builtins.tuple builtins.str builtins.int
	builtins.float builtins.bool builtins.set builtins.frozenset builtins.bytes builtins.hasattr builtins.type builtins.zip builtins.enumerate
	builtins.range builtins.sorted builtins.min builtins.max builtins.sum builtins.any builtins.all builtins.repr builtins.id builtins.hash builtins.abs
	builtins.round builtins.reversed builtins.iter builtins.format builtins.callable builtins.object builtins.property builtins.complex builtins.ord builtins.chr
	warnings.warn collections.OrderedDict collections.defaultdict collections.deque collections.Counter copy.copy numpy.array numpy.asarray numpy.zeros numpy.ones
	numpy.empty numpy.asanyarray numpy.arange numpy.ndarray numpy.dtype datetime.datetime datetime.timedelta datetime.date math.sqrt math.log math.exp
	threading.Lock threading.RLock weakref.ref torch.Size torch.tensor torch.zeros torch.ones torch.empty`)

func isException(name string) bool {
	n := last(name)
	return strings.HasSuffix(n, "Error") || strings.HasSuffix(n, "Exception") || strings.HasSuffix(n, "Warning")
}

// An inertness decides about the functions that one class can run.
type inertness struct {
	w    *world
	c    *class
	seen map[*function]bool
	why  string
}

// inert says whether building an object of c by __new__ and giving it state
// runs nothing but harmless code, and whether calling it does neither.
func (w *world) inert(c *class) (built, called bool, why string) {
	order := w.order(c)
	if c.open {
		return false, false, "base " + c.opaque
	}
	in := &inertness{w: w, c: c, seen: map[*function]bool{}}
	for _, k := range order {
		if k.odd != "" {
			return false, false, k.odd
		}
		for _, f := range k.setters {
			if !in.function(f) {
				return false, false, in.why
			}
		}
		for _, f := range k.methods {
			if f.getter && !in.function(f) {
				return false, false, in.why
			}
		}
	}
	for _, name := range triggers {
		if !in.special(name) {
			return false, false, in.why
		}
	}
	return true, in.special("__init__") && in.special("__post_init__") && in.special("_missing_"), in.why
}

// special decides about a method of the class by name.
func (in *inertness) special(name string) bool {
	for _, k := range in.w.order(in.c) {
		if f := k.methods[name]; f != nil {
			return in.function(f)
		}
		if target, ok := k.alias[name]; ok {
			e := in.w.find(k.mod, target, 0)
			if e.fn == nil {
				if f := k.methods[target]; f != nil {
					return in.function(f)
				}
				in.why = name + " is " + target
				return false
			}
			return in.function(e.fn)
		}
	}
	return true
}

func (in *inertness) function(f *function) bool {
	if done, ok := in.seen[f]; ok {
		return done
	}
	if len(in.seen) > 200 {
		in.why = "calls too much"
		return false
	}
	in.seen[f] = true // as long as nothing is found on the way round
	ok := in.body(f)
	in.seen[f] = ok
	return ok
}

func (in *inertness) body(f *function) bool {
	if f.odd != "" {
		in.why = f.name + ": " + f.odd
		return false
	}
	for _, c := range f.calls {
		if !in.call(f, c) {
			if in.why == "" {
				in.why = f.name + " calls " + c.name
			}
			return false
		}
	}
	return true
}

func (in *inertness) call(f *function, c call) bool {
	switch c.kind {
	case byName:
		e := in.w.find(f.mod, c.name, 0)
		switch {
		case pure[e.name], isException(e.name):
			return true
		case e.name == "builtins.getattr" || e.name == "builtins.setattr":
			return len(c.args) > 1 && c.args[1].known && !strings.HasPrefix(c.args[1].text, "__")
		case e.cls != nil:
			if e.cls == in.c {
				return true
			}
			if len(in.seen) > 100 {
				return false
			}
			inner := &inertness{w: in.w, c: e.cls, seen: in.seen}
			in.w.order(e.cls)
			return !e.cls.open && e.cls.odd == "" && inner.special("__new__") && inner.special("__init__") && inner.special("__post_init__")
		case e.fn != nil:
			return in.function(e.fn)
		}
		return false
	case bySelf:
		if m := in.w.method(in.c, c.name, nil); m != nil {
			return in.function(m)
		}
		return strings.HasPrefix(c.name, "__") || pureMethods[c.name] && len(in.c.bases) > 0
	case bySuper:
		if f.class == nil {
			return false
		}
		if m := in.w.method(in.c, c.name, f.class); m != nil {
			return in.function(m)
		}
		return strings.HasPrefix(c.name, "__") || pureMethods[c.name]
	case byMethod:
		return c.plain && pureMethods[c.name]
	case byClass, byValue:
	}
	return false
}
