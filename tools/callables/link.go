package main

import "strings"

// A world is a set of trees that can import each other.
type world struct {
	modules map[string]*module
	funcs   []*function
	classes []*class
	sinks   map[string]sink
}

// A sink is a row of sinks.tsv.
type sink struct {
	effect string
	args   []string
}

// An entity is what a name stands for; name is its absolute dotted name, and
// the rest is nil if it lies outside the world.
type entity struct {
	fn   *function
	cls  *class
	name string
}

const maxAliases = 16

// find looks a name up as code in m would.
func (w *world) find(m *module, d string, depth int) entity {
	if rest, ok := strings.CutPrefix(d, "."); ok {
		return w.absolute(rest, depth)
	}
	if e, ok := w.member(m, d, depth); ok {
		return e
	}
	head, _, _ := strings.Cut(d, ".")
	if builtins[head] {
		return entity{name: "builtins." + d}
	}
	return entity{name: m.name + "." + d}
}

// member looks a name up among those of a module.
func (w *world) member(m *module, d string, depth int) (entity, bool) {
	if depth > maxAliases {
		return entity{}, false
	}
	head, tail, more := strings.Cut(d, ".")
	if f := m.funcs[head]; f != nil && !more {
		return entity{fn: f, name: f.name}, true
	}
	if c := m.classes[head]; c != nil {
		return w.attribute(c, tail, depth), true
	}
	if t, ok := m.names[head]; ok {
		if more {
			tail = "." + tail
		}
		if own, ok := strings.CutPrefix(t, "="); ok {
			if first, _, _ := strings.Cut(own, "."); first == head {
				return entity{}, false
			}
			return w.find(m, own+tail, depth+1), true
		}
		if t+tail == m.name+"."+d { // from . import itself
			return w.submodule(m, d, depth)
		}
		return w.absolute(t+tail, depth+1), true
	}
	if e, ok := w.submodule(m, d, depth); ok {
		return e, true
	}
	for _, s := range m.stars {
		if other := w.modules[s]; other != nil {
			if e, ok := w.member(other, d, depth+1); ok {
				return e, true
			}
		} else if builtinModules[s] && !builtins[head] {
			return w.absolute(s+"."+d, depth+1), true
		}
	}
	return entity{}, false
}

func (w *world) submodule(m *module, d string, depth int) (entity, bool) {
	head, _, more := strings.Cut(d, ".")
	if m.pkg && more && w.modules[m.name+"."+head] != nil {
		return w.absolute(m.name+"."+d, depth+1), true
	}
	return entity{}, false
}

// absolute looks a dotted name up from the outside.
func (w *world) absolute(d string, depth int) entity {
	if _, ok := w.sinks[d]; ok || depth > maxAliases {
		return entity{name: d, fn: w.direct(d)}
	}
	for end := strings.LastIndexByte(d, '.'); end > 0; end = strings.LastIndexByte(d[:end], '.') {
		if m := w.modules[d[:end]]; m != nil {
			if e, ok := w.member(m, d[end+1:], depth+1); ok {
				return e
			}
			break
		}
	}
	return entity{name: d}
}

// direct returns the function that bears a name itself.
func (w *world) direct(d string) *function {
	if i := strings.LastIndexByte(d, '.'); i > 0 {
		if m := w.modules[d[:i]]; m != nil {
			return m.funcs[d[i+1:]]
		}
	}
	return nil
}

// attribute returns what a path below a class names.
func (w *world) attribute(c *class, path string, depth int) entity {
	if path == "" {
		return entity{cls: c, name: c.name}
	}
	head, tail, more := strings.Cut(path, ".")
	for _, k := range w.order(c) {
		if f := k.methods[head]; f != nil && !more {
			return entity{fn: f, name: f.name}
		}
		if t, ok := k.alias[head]; ok && depth < maxAliases {
			if more {
				t += "." + tail
			}
			return w.find(k.mod, t, depth+1)
		}
	}
	return entity{name: c.name + "." + path}
}

// order returns c and its bases, nearest first.
func (w *world) order(c *class) []*class {
	if c.linked {
		return c.order
	}
	c.linked = true
	c.order = []*class{c}
	seen := map[*class]bool{c: true}
	for _, b := range c.bases {
		if b == "" {
			c.open, c.opaque = true, "a base is computed"
			continue
		}
		e := w.find(c.mod, b, 0)
		switch {
		case plainBases[e.name]:
			continue
		case e.cls == nil:
			c.open, c.opaque = true, e.name
			continue
		}
		for _, k := range w.order(e.cls) {
			if !seen[k] {
				seen[k] = true
				c.order = append(c.order, k)
			}
		}
		if e.cls.open {
			c.open, c.opaque = true, e.cls.opaque
		}
	}
	return c.order
}

// method finds a method along the bases of c, behind one of them if after is
// not nil.
func (w *world) method(c *class, name string, after *class) *function {
	skip := after != nil
	for _, k := range w.order(c) {
		if skip {
			skip = k != after
			continue
		}
		if f := k.methods[name]; f != nil {
			return f
		}
	}
	return nil
}

// callees returns what a call reaches: functions, and how many parameters the
// object takes in front; or the name of something outside.
func (w *world) callees(f *function, c call) (fns []*function, bound bool, name string) {
	switch c.kind {
	case byName:
		e := w.find(f.mod, c.name, 0)
		switch {
		case e.cls != nil:
			if _, ok := w.sinks[e.name]; ok {
				return nil, false, e.name
			}
			for _, special := range [...]string{"__init__", "__new__"} {
				if m := w.method(e.cls, special, nil); m != nil {
					fns = append(fns, m)
				}
			}
			return fns, true, e.name
		case e.fn != nil:
			if _, ok := w.sinks[e.name]; ok {
				return nil, false, e.name
			}
			return []*function{e.fn}, false, e.name
		}
		return nil, false, e.name
	case bySelf:
		if f.class != nil {
			if m := w.method(f.class, c.name, nil); m != nil {
				return []*function{m}, m.method, m.name
			}
		}
	case bySuper:
		if f.class != nil {
			if m := w.method(f.class, c.name, f.class); m != nil {
				return []*function{m}, m.method, m.name
			}
		}
	case byClass:
		made, method, _ := strings.Cut(c.name, "|")
		e := w.find(f.mod, made, 0)
		if e.cls != nil {
			if m := w.method(e.cls, method, nil); m != nil {
				return []*function{m}, m.method, m.name
			}
		}
		return nil, true, e.name + "." + method
	case byMethod, byValue:
	}
	if i := strings.IndexByte(c.name, '|'); i >= 0 {
		return nil, true, "." + c.name[i+1:]
	}
	return nil, true, "." + c.name
}

func set(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

var (
	builtinModules = set("posix nt _io _socket _ssl _ctypes _pickle _winapi _posixsubprocess _imp marshal sys time")
	// builtins are the names that need no import and matter here.
	builtins = set(`exec eval execfile compile __import__ open file getattr setattr hasattr delattr isinstance issubclass len range enumerate
		zip map filter sorted reversed min max sum any all abs round repr str int float bool bytes bytearray list tuple dict set frozenset type
		super object id hash print format iter next callable vars dir globals locals input chr ord divmod pow slice property staticmethod classmethod
		memoryview complex ascii bin hex oct ValueError TypeError KeyError IndexError AttributeError RuntimeError NotImplementedError Exception
		ImportError OSError IOError StopIteration AssertionError Warning UserWarning DeprecationWarning FutureWarning RuntimeWarning unicode basestring long xrange`)
	// plainBases build nothing but data.
	plainBases = set(`builtins.object builtins.dict builtins.list builtins.tuple builtins.set builtins.frozenset builtins.str builtins.int builtins.float
		builtins.bytes builtins.bool builtins.complex builtins.Exception builtins.ValueError builtins.TypeError builtins.RuntimeError builtins.KeyError
		builtins.IndexError builtins.AttributeError builtins.ImportError builtins.OSError builtins.IOError builtins.NotImplementedError
		builtins.Warning builtins.UserWarning builtins.DeprecationWarning builtins.FutureWarning builtins.RuntimeWarning builtins.AssertionError builtins.StopIteration
		abc.ABC enum.Enum enum.IntEnum enum.Flag enum.IntFlag enum.StrEnum typing.Generic typing.NamedTuple typing.Protocol typing.TypedDict
		typing_extensions.Protocol typing_extensions.TypedDict typing_extensions.Generic collections.OrderedDict collections.abc.Mapping
		collections.abc.MutableMapping collections.abc.Sequence collections.abc.Sized collections.abc.Iterable collections.abc.Hashable
		builtins.BaseException builtins.LookupError builtins.ArithmeticError threading.Thread_ numbers.Number`)
)
