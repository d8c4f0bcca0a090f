package pickle

import (
	"context"
	"strings"
)

// fold computes the call id of f if f is known to be pure or to look something
// up, and records what f calls in turn. ok is false if the call stays as it is.
func (m *machine) fold(ctx context.Context, id, f, args uint32) (out uint32, ok bool) {
	n := m.a.nodes[f]
	av := m.a.items(args)
	switch n.kind {
	case Global:
		g := m.a.globals[n.num]
		if out, ok = m.foldLookup(g, av); ok {
			return out, true
		}
		if out, ok = m.foldCalls(ctx, g, id, av); ok {
			return out, true
		}
		return m.foldPure(g.module, g.path, av)
	case Call:
		return m.foldResult(ctx, n, av)
	case Attr:
		return m.foldMethod(n, m.a.text(f), av)
	}
	return 0, false
}

// foldResult follows calls of what partial, methodcaller and their like return.
func (m *machine) foldResult(ctx context.Context, made node, av []uint32) (uint32, bool) {
	g, ok := m.a.global(made.a)
	if !ok || made.how == New && g.path != "partial" {
		return 0, false
	}
	bound := m.a.items(made.b)
	switch g.module + "." + g.path {
	case "functools.partial", "functools.partialmethod", "_functools.partial":
		if len(bound) > 0 {
			return m.through(ctx, bound[0], concat(bound[1:], av), Through), true
		}
	case "types.MethodType":
		if len(bound) == 2 {
			return m.through(ctx, bound[0], concat(bound[1:], av), Through), true
		}
	case "operator.methodcaller", "_operator.methodcaller":
		if len(bound) > 0 && len(av) > 0 && m.a.nodes[bound[0]].kind == Str {
			return m.through(ctx, m.attr(av[0], m.a.text(bound[0])), bound[1:], Through), true
		}
	case "operator.attrgetter", "_operator.attrgetter":
		if len(bound) == 1 && len(av) > 0 && m.a.nodes[bound[0]].kind == Str {
			return m.attr(av[0], m.a.text(bound[0])), true
		}
	case "operator.itemgetter", "_operator.itemgetter":
		if len(bound) == 1 && len(av) > 0 {
			return m.item(av[0], bound[0]), true
		}
	}
	return 0, false
}

func concat(a, b []uint32) []uint32 {
	return append(append(make([]uint32, 0, len(a)+len(b)), a...), b...)
}

// foldLookup follows functions that look a name up.
func (m *machine) foldLookup(g global, av []uint32) (uint32, bool) {
	str := func(i int) (string, bool) {
		if i < len(av) && m.a.nodes[av[i]].kind == Str {
			return m.content(av[i])
		}
		return "", false
	}
	switch g.module + "." + g.path {
	case "builtins.getattr", "inspect.getattr_static", "builtins.object.__getattribute__", "builtins.type.__getattribute__":
		if name, ok := str(1); ok {
			return m.attr(av[0], name), true
		}
	case "builtins.__import__":
		if name, ok := str(0); ok {
			top := name
			if len(av) < 4 || len(m.a.items(av[3])) == 0 {
				top, _, _ = strings.Cut(name, ".")
			}
			return m.module(name, top), true
		}
	case "importlib.import_module", "importlib.__import__", "importlib._bootstrap._gcd_import", "importlib._bootstrap._find_and_load",
		"cloudpickle.cloudpickle.subimport", "dill._dill._import_module", "six._import_module":
		if name, ok := str(0); ok {
			return m.module(name, name), true
		}
	case "pkgutil.resolve_name", "pydoc.locate", "django.utils.module_loading.import_string", "logging.config._resolve", "unittest.mock._importer", "test.support.import_helper.import_module":
		if name, ok := str(0); ok {
			module, path, colon := strings.Cut(name, ":")
			if !colon {
				if i := strings.LastIndexByte(name, '.'); i > 0 {
					module, path = name[:i], name[i+1:]
				}
			}
			return m.found(module, path), true
		}
	case "numpy.core._ufunc_reconstruct", "numpy._core._ufunc_reconstruct":
		if module, ok := str(0); ok && len(av) > 1 && m.a.nodes[av[1]].kind == Str {
			return m.found(module, m.a.text(av[1])), true
		}
	case "operator.getitem", "_operator.getitem", "builtins.dict.get", "builtins.dict.__getitem__", "builtins.dict.pop", "builtins.dict.setdefault",
		"builtins.list.__getitem__", "builtins.list.pop", "builtins.tuple.__getitem__":
		if len(av) > 1 {
			return m.item(av[0], av[1]), true
		}
	case "builtins.vars":
		if len(av) == 1 {
			return m.attr(av[0], "__dict__"), true
		}
	case "builtins.globals", "builtins.locals":
		return m.attr(m.a.addGlobal("pickle", "", m.opStart, m.cur.pos), "__dict__"), true
	case "copyreg.add_extension":
		if len(av) == 3 {
			m.register(av[0], av[1], av[2])
		}
	}
	return 0, false
}

// module is the module object that an import by name returns.
func (m *machine) module(imported, returned string) uint32 {
	id := m.a.addGlobal(imported, "", m.opStart, m.cur.pos)
	m.effect(Import, id)
	return m.a.addGlobal(returned, "", m.opStart, m.cur.pos)
}

// found is a global that a lookup by text finds.
func (m *machine) found(module, path string) uint32 {
	id := m.a.addGlobal(module, trimPath(path), m.opStart, m.cur.pos)
	m.effect(Import, id)
	return id
}

// attr is getattr(owner, name).
func (m *machine) attr(owner uint32, name string) uint32 {
	for part := range strings.SplitSeq(name, ".") {
		owner = m.attr1(owner, part)
	}
	return owner
}

func (m *machine) attr1(owner uint32, name string) uint32 {
	if name == "__call__" {
		return owner
	}
	if g, ok := m.a.global(owner); ok {
		if name == "__builtins__" {
			return m.found("builtins", "")
		}
		if g.path == "" {
			return m.found(g.module, name)
		}
		return m.found(g.module, g.path+"."+name)
	}
	m.share(owner)
	m.a.texts = append(m.a.texts, name)
	return m.a.add(node{kind: Attr, flags: flagShared, a: owner, num: int64(len(m.a.texts) - 1), start: m.opStart, size: span32(m.opStart, m.cur.pos)})
}

// item is container[key]. The namespaces of modules are followed.
func (m *machine) item(container, key uint32) uint32 {
	c := m.a.nodes[container]
	if g, ok := m.a.global(container); ok && m.a.nodes[key].kind == Str {
		name := m.a.text(key)
		switch {
		case g.path == "modules" || strings.HasSuffix(g.path, ".modules"):
			return m.module(name, name)
		case g.module == "builtins" && g.path == "":
			return m.found("builtins", name)
		case strings.HasSuffix(g.path, "__dict__"):
			owner := strings.TrimSuffix(strings.TrimSuffix(g.path, "__dict__"), ".")
			if owner != "" {
				owner += "."
			}
			return m.found(g.module, owner+name)
		case strings.HasSuffix(g.path, "__builtins__"):
			return m.found("builtins", name)
		case strings.HasSuffix(g.path, "__globals__"):
			if name == "__builtins__" {
				return m.found("builtins", "")
			}
			return m.found(g.module, name)
		}
	}
	if c.kind == Dict {
		items := m.a.items(container)
		for i := len(items) - 2; i >= 0; i -= 2 {
			if m.same(items[i], key) {
				return items[i+1]
			}
		}
	}
	if k := m.a.nodes[key]; (c.kind == List || c.kind == Tuple) && k.kind == Int && k.b == 0 {
		items := m.a.items(container)
		i := k.num
		if i < 0 {
			i += int64(len(items))
		}
		if i >= 0 && i < int64(len(items)) {
			return items[i]
		}
	}
	m.share(container)
	m.share(key)
	return m.a.add(node{kind: Item, flags: flagShared, a: container, b: key, start: m.opStart, size: span32(m.opStart, m.cur.pos)})
}

// same reports whether two constants are equal.
func (m *machine) same(a, b uint32) bool {
	x, y := m.a.nodes[a], m.a.nodes[b]
	switch {
	case a == b:
		return true
	case x.kind != y.kind:
		return false
	case x.kind == Str || x.kind == Bytes:
		return m.a.text(a) == m.a.text(b)
	default:
		return x.kind == Int && x.b == 0 && y.b == 0 && x.num == y.num
	}
}

// foldCalls follows functions that call what they are given, and loaders.
func (m *machine) foldCalls(ctx context.Context, g global, id uint32, av []uint32) (uint32, bool) {
	name := g.module + "." + g.path
	if isLoader(g) {
		if len(av) > 0 {
			m.load(ctx, id, av[0])
		}
		return 0, false
	}
	switch name {
	case "marshal.loads":
		if len(av) > 0 && (m.a.nodes[av[0]].kind == Bytes || m.a.nodes[av[0]].kind == Str) {
			m.code(id, av[0])
		}
	case "builtins.apply", "multiprocessing.pool.mapstar", "torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type":
		i := 1
		if strings.HasSuffix(name, "type_v2") || strings.HasSuffix(name, "from_type") {
			i = 2
		}
		if len(av) > i && !m.concreteData(av[0]) {
			return m.through(ctx, av[0], m.a.items(av[i]), Through), name == "builtins.apply"
		}
	case "operator.call", "_operator.call", "asyncio.run_coroutine_threadsafe", "contextvars.Context.run":
		if len(av) > 0 && !m.concreteData(av[0]) {
			return m.through(ctx, av[0], av[1:], Through), true
		}
	case "builtins.map", "builtins.filter", "itertools.starmap", "itertools.takewhile", "itertools.dropwhile", "itertools.filterfalse", "functools.reduce", "itertools.groupby", "itertools.accumulate":
		m.lazy(ctx, name, av)
	case "weakref.finalize", "atexit.register", "threading.Timer", "_thread.start_new_thread", "signal.signal":
		m.delayed(ctx, name, av)
	}
	return 0, false
}

func (m *machine) concreteData(id uint32) bool {
	k := m.a.nodes[id].kind
	return k >= None && k <= FrozenSet
}

// lazy records the first call of a function over an iterable.
func (m *machine) lazy(ctx context.Context, name string, av []uint32) {
	if len(av) < 2 {
		return
	}
	f, xs := av[0], av[1]
	switch name {
	case "itertools.groupby", "itertools.accumulate":
		f, xs = xs, f
	}
	items := m.a.items(xs)
	if len(items) == 0 || m.concreteData(f) {
		return
	}
	var args []uint32
	switch name {
	case "itertools.starmap":
		args = m.a.items(items[0])
	case "functools.reduce", "itertools.accumulate":
		args = items[:min(2, len(items))]
	case "builtins.map":
		for _, x := range av[1:] {
			if it := m.a.items(x); len(it) > 0 {
				args = append(args, it[0])
			}
		}
	default:
		args = items[:1]
	}
	m.through(ctx, f, args, Lazy)
}

// delayed records a call that happens later, at exit or on another thread.
func (m *machine) delayed(ctx context.Context, name string, av []uint32) {
	at, rest := 0, 1
	switch name {
	case "weakref.finalize", "threading.Timer", "signal.signal":
		at, rest = 1, 2
	}
	if len(av) <= at || m.concreteData(av[at]) {
		return
	}
	args := av[rest:]
	if name == "_thread.start_new_thread" && len(av) > 1 {
		args = m.a.items(av[1])
	}
	if name == "signal.signal" {
		args = nil
	}
	m.through(ctx, av[at], args, Through)
}

// isLoader reports whether a function reads a pickle from its first argument.
func isLoader(g global) bool {
	switch g.path {
	case "loads", "_loads":
		switch top, _, _ := strings.Cut(g.module, "."); top {
		case "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "pickle5", "zodbpickle", "six", "joblib", "torch", "numpy", "ray", "srsly", "marshal", "dask", "distributed", "jsonpickle", "pyspark", "celery", "kombu", "multiprocess":
			return g.module != "marshal"
		default:
			return strings.HasSuffix(g.module, "pickle") || strings.HasSuffix(g.module, "cPickle")
		}
	case "load", "_load", "Unpickler", "_Unpickler", "read_pickle", "_load_from_bytes", "pickle_load", "ForkingPickler.loads", "_legacy_load":
		switch top, _, _ := strings.Cut(g.module, "."); top {
		case "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "torch", "numpy", "pandas", "six", "sklearn", "multiprocessing", "lightning":
			return true
		}
	}
	return false
}
