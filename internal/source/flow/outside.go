package flow

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// method calls a method of a builtin type.
func (e *exec) method(i info, ar *args, n *syntax.Node) set {
	a := e.a
	recv := *a.info(i.recv)
	x := entry{v: i.recv}
	node := n
	if node == nil {
		node = e.fr.node
	}
	if strings.HasPrefix(i.text, "property.") {
		key := map[string]string{"property.setter": "set", "property.deleter": "del", "property.getter": "get"}[i.text]
		if s, _, ok := ar.get(0, ""); ok && key != "" {
			e.addCell(recv.obj.cell(key), s)
		}
		return set{vals: []entry{x}}
	}
	lang := a.g.units[e.fr.unit].Language
	if name, ok := lang.Types[a.kindOf(&recv)]; ok {
		e.note(n, callee{name: name + "." + i.text, path: "builtins." + strings.ToLower(a.kindOf(&recv).String()) + "." + i.text})
	} else {
		e.settled(n)
	}
	first, _, has := ar.get(0, "")
	second, _, _ := ar.get(1, "")
	self := set{vals: []entry{x}}
	if lang.Implicit {
		if s, ok := e.managedMethod(i.text, x, ar); ok {
			return s
		}
	}
	if lang.Name == "javascript" {
		if s, ok := e.scriptMethod(i.text, recv, x, ar, node); ok {
			return s
		}
	}
	switch recv.kind {
	case vString, vPattern, vNumber, vBool:
		return e.textMethod(i.text, x, ar, node)
	case vList:
		return e.listMethod(i.text, x, recv, ar, node)
	case vDict:
		o := recv.obj
		switch i.text {
		case "get", "pop", "setdefault":
			if i.text == "setdefault" {
				e.putMember(o, first, second)
			}
			got := e.member(self, first)
			if !e.sure(o, first) {
				got = got.or(second)
			}
			return got
		case "keys":
			k := a.object(objGenerator, node, e.fr.unit, "keys")
			e.addCell(e.newCell(k, star), e.keysOf(o))
			return one(a.intern(info{kind: vList, obj: k}), nil)
		case "values":
			k := a.object(objGenerator, node, e.fr.unit, "values")
			e.addCell(e.newCell(k, star), e.all(o))
			return one(a.intern(info{kind: vList, obj: k}), nil)
		case "items", "popitem":
			k, t := a.object(objGenerator, node, e.fr.unit, "items"), a.object(objTuple, node, e.fr.unit, "items")
			e.addCell(e.newCell(t, "i:0"), e.keysOf(o))
			e.addCell(e.newCell(t, "i:1"), e.all(o))
			pair := one(a.intern(info{kind: vList, obj: t}), nil)
			if i.text == "popitem" {
				return pair
			}
			e.addCell(e.newCell(k, star), pair)
			return one(a.intern(info{kind: vList, obj: k}), nil)
		case "update":
			if has {
				e.merge2(o, first)
			}
			for _, k := range ar.kw {
				e.setCell(o, "s:"+k.name, k.s)
			}
			return one(a.common.none, nil)
		case "copy":
			c := a.object(objDict, node, e.fr.unit, "copy")
			e.merge2(c, self)
			return one(a.intern(info{kind: vDict, obj: c}), nil)
		}
	default:
	}
	return unknown()
}

// sure reports whether a dict has the member.
func (e *exec) sure(o *object, k set) bool {
	key, ok := e.oneKey(k)
	return ok && o.peek(key) != nil && !e.readCell(o.peek(key)).empty() && !o.summary
}

func (e *exec) listMethod(name string, x entry, recv info, ar *args, n *syntax.Node) set {
	a := e.a
	o := recv.obj
	first, _, _ := ar.get(0, "")
	self := set{vals: []entry{x}}
	switch name {
	case "append":
		if k, ok := e.lengthOfOwn(x); ok {
			e.setCell(o, "i:"+itoa(k), first)
			return one(a.common.none, nil)
		}
		e.addCell(e.newCell(o, star), first)
	case "add", "appendleft", "put":
		e.addCell(e.newCell(o, star), first)
	case "insert":
		s, _, _ := ar.get(1, "")
		e.addCell(e.newCell(o, star), s)
	case "extend", "update":
		if k, ok := e.lengthOfOwn(x); ok {
			e.spread(o, first, k)
			return one(a.common.none, nil)
		}
		e.addCell(e.newCell(o, star), e.iterate(first, n))
	case "pop", "popleft":
		if len(ar.pos) > 0 {
			return e.member(self, first)
		}
		if k, ok := e.length(x); ok && k > 0 {
			return e.last(x, "i:-1")
		}
		return e.items(self)
	case "copy":
		return self
	case "sort":
		if f, _, ok := ar.get(-1, "key"); ok {
			e.callInside(f, &args{pos: []set{e.items(self)}})
		}
	case "send":
		return e.items(self)
	case "union", "intersection", "difference":
		c := a.object(objSet, n, e.fr.unit, name)
		e.addCell(e.newCell(c, star), e.items(self))
		for _, p := range ar.pos {
			e.addCell(e.newCell(c, star), e.iterate(p, n))
		}
		return one(a.intern(info{kind: vList, obj: c}), nil)
	case "index", "count":
		return one(a.common.number, nil)
	}
	return one(a.common.none, nil)
}

// lengthOfOwn returns the length of a list that this run made, and that grows
// outside of loops: only there the place of what is appended is known.
func (e *exec) lengthOfOwn(x entry) (int, bool) {
	o := e.a.info(x.v).obj
	if len(e.loops) > 0 || o.summary || o.kind != objList || !e.own[o] {
		return 0, false
	}
	n, ok := e.length(x)
	return n, ok && n < maxSpread
}

// escape notes functions that go to someone who is not seen.
func (e *exec) escape(ar *args) {
	for _, p := range ar.pos {
		e.escapes(p, 0)
	}
	for _, k := range ar.kw {
		e.escapes(k.s, 0)
	}
	e.escapes(ar.more, 0)
}

func (e *exec) escapes(s set, depth int) {
	for _, x := range s.vals {
		switch i := *e.a.info(x.v); i.kind {
		case vFunc, vBound, vStatic, vClassFn:
			i.fr.escapes = true
			i.fr.handedBy(e.fr)
		case vPartial:
			if depth < 4 {
				e.escapes(e.readCell(i.obj.cell("func")), depth+1)
			}
		case vList, vDict:
			if depth < 2 {
				e.escapes(e.all(i.obj), depth+1)
			}
		case vClass, vInst:
			if len(i.cls.escapes) < 16 && !slices.Contains(i.cls.escapes, e.fr) {
				i.cls.escapes = append(i.cls.escapes, e.fr)
			}
		default:
		}
	}
}

// handedBy notes which frame lets another go where it is not seen.
func (fr *frame) handedBy(by *frame) {
	if by.handed == nil {
		by.handed = map[*frame]bool{}
	}
	by.handed[fr] = true
}

// outsideCall calls something outside the tree.
func (e *exec) outsideCall(x entry, i info, ar *args, n *syntax.Node) set {
	a := e.a
	made := i.node
	e.note(n, callee{name: shown(i.text), path: i.text, made: made})
	node := n
	if node == nil {
		node = e.fr.node
	}
	var got set
	var ok bool
	switch a.g.units[e.fr.unit].Language.Name {
	case "javascript":
		got, ok = e.scriptKnown(i, x, ar, node)
	case "go":
		got, ok = e.goKnown(i, ar, node)
	case "java", "kotlin", "csharp":
		if i.text == "java.lang.System.getenv" || i.text == "System.Environment.GetEnvironmentVariable" {
			got, ok = e.managed("System.getenv", ar, node), true
		}
	default:
		got, ok = e.known(i, ar, node)
	}
	if ok {
		return got
	}
	sum, ok := a.lib.summary(i.text)
	called := set{}
	back := func(s set) {
		in := &args{}
		if sum.With > 0 {
			given, _, _ := ar.get(sum.With-1, "")
			in.pos = append(in.pos, given)
		} else {
			in.more = unknown()
			in.pos = restOf(ar, sum.Callbacks)
		}
		for _, f := range s.vals {
			switch a.info(f.v).kind {
			case vFunc, vBound, vPartial, vInst, vClass:
				called = called.or(e.callValue(f, in, n, n == nil))
			default:
			}
		}
	}
	if ok {
		for _, c := range sum.Callbacks {
			if s, _, has := ar.get(c, ""); has {
				back(s)
			}
		}
		for _, k := range sum.Keywords {
			if s, _, has := ar.get(-1, k); has {
				back(s)
			}
		}
	}
	e.escape(ar)
	switch {
	case sum.Result:
		return called
	case sum.Text:
		return one(a.common.text, nil)
	case sum.Argument > 0:
		s, _, _ := ar.get(sum.Argument-1, "")
		if sum.Elements {
			return e.items(s)
		}
		return s
	}
	path := i.text + "()"
	if sum.Returns != "" {
		path = sum.Returns
	}
	if len(path) > maxPath || strings.Count(path, "()") > 16 {
		return unknown()
	}
	out := info{kind: vExt, text: path, node: node, unit: e.fr.unit, obj: i.obj}
	return one(a.intern(out), x.path)
}

// restOf are the arguments behind a callback at the first place.
func restOf(ar *args, backs []int) []set {
	if len(backs) == 1 && backs[0]+1 < len(ar.pos) {
		return ar.pos[backs[0]+1:]
	}
	return nil
}

// optionDefaults are outside functions that say what a field or an option is
// when no one says.
var optionDefaults = wordSet(`pydantic.Field pydantic.fields.Field dataclasses.field typer.Option typer.Argument fastapi.Query
	fastapi.Body fastapi.Form fastapi.Header fastapi.Path attr.ib attrs.field attr.field pydantic.v1.Field
	streamlit.text_input streamlit.selectbox streamlit.radio streamlit.sidebar.text_input streamlit.sidebar.selectbox gradio.Textbox gradio.Dropdown`)

// passing are outside functions that return a path or text as it is.
var passing = wordSet(`pathlib.Path pathlib.PurePath pathlib.PosixPath pydantic.SecretStr json.dumps yaml.dump string.Template
	types.SimpleNamespace typing.NewType() pydantic.types.SecretStr`)

// known calls the outside functions whose values the analysis follows.
func (e *exec) known(i info, ar *args, n *syntax.Node) (set, bool) {
	a := e.a
	first, _, has := ar.get(0, "")
	switch i.text {
	case "os.getenv", "os.environ.get", "os.environ.setdefault", "os.environ.pop", "decouple.config", "environs.Env().str", "environ.Env().str":
		def, dn, ok := ar.get(1, "default")
		if ok && dn != nil {
			def = def.via(EnvironmentDefault, e.nameText(first), e.fr.unit, dn)
		}
		return e.environment(first, def, n), true
	case "functools.partial", "functools.partialmethod":
		if !has {
			return unknown(), true
		}
		o := a.object(objPartial, n, e.fr.unit, nil)
		e.setCell(o, "func", first)
		for j, p := range ar.pos[1:] {
			e.setCell(o, "i:"+itoa(j), p)
		}
		for _, k := range ar.kw {
			e.setCell(o, "s:"+k.name, k.s)
		}
		e.flush()
		return one(a.intern(info{kind: vPartial, obj: o}), nil), true
	case "os.path.join", "posixpath.join":
		return e.paths(ar.pos, n), true
	case "importlib.import_module", "importlib.reload":
		return e.importNamed(first), true
	case "argparse.ArgumentParser":
		o := a.object(objNamespace, n, e.fr.unit, nil)
		return one(a.intern(info{kind: vExt, text: i.text + "()", node: n, unit: e.fr.unit, obj: o}), nil), true
	case "collections.defaultdict", "collections.OrderedDict", "collections.Counter", "types.MappingProxyType":
		o := a.object(objDict, n, e.fr.unit, nil)
		if i.text == "collections.defaultdict" {
			e.addCell(e.newCell(o, star), e.callInside(first, &args{}))
			first, _, _ = ar.get(1, "")
		}
		e.merge2(o, first)
		return one(a.intern(info{kind: vDict, obj: o}), nil), true
	case "collections.deque", "queue.Queue":
		o := a.object(objList, n, e.fr.unit, nil)
		e.addCell(e.newCell(o, star), e.iterate(first, n))
		return one(a.intern(info{kind: vList, obj: o}), nil), true
	case "enum.auto":
		return one(a.common.number, nil), true
	case "functools.reduce":
		second, _, _ := ar.get(1, "")
		it := e.iterate(second, n)
		third, _, _ := ar.get(2, "")
		out := third.or(it)
		for range 2 {
			for _, f := range first.vals {
				out = out.or(e.callValue(f, &args{pos: []set{out, it}}, n, false))
			}
		}
		return out, true
	case "yaml.safe_load", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "json.load", "json.loads", "tomllib.load", "tomllib.loads",
		"toml.load", "toml.loads", "tomli.load", "tomli.loads", "omegaconf.OmegaConf.load", "builtins.open().read", "orjson.loads", "ujson.load":
		return e.load(i, first, n)
	}
	switch {
	case optionDefaults[i.text]:
		if f, _, ok := ar.get(-1, "default_factory"); ok {
			return e.callInside(f, &args{}), true
		}
		at := 0
		if strings.HasPrefix(i.text, "streamlit.") || strings.HasPrefix(i.text, "gradio.") {
			at = -1
			if strings.HasSuffix(i.text, "box") || strings.HasSuffix(i.text, "radio") {
				s, _, _ := ar.get(1, "options")
				return e.items(s), true
			}
		}
		s, d, ok := ar.get(at, "default")
		if !ok {
			if s, d, ok = ar.get(-1, "value"); !ok {
				return unknown(), true
			}
		}
		return e.optional(s, d), true
	case passing[i.text] && has:
		if i.text == "pathlib.Path" && len(ar.pos) > 1 {
			return e.paths(ar.pos, n), true
		}
		return first, true
	case i.obj != nil && i.obj.kind == objNamespace && strings.HasSuffix(i.text, ".add_argument"):
		name := e.optionName(ar)
		if d, dn, ok := ar.get(-1, "default"); ok {
			e.addCell(e.newCell(i.obj, "s:"+name), e.optional(d, dn))
		} else {
			e.addCell(e.newCell(i.obj, "s:"+name), unknown())
		}
		if c, _, ok := ar.get(-1, "choices"); ok {
			e.addCell(e.newCell(i.obj, "s:"+name), e.items(c))
		}
		return unknown(), true
	case i.obj != nil && i.obj.kind == objNamespace && strings.HasSuffix(i.text, ".set_defaults"):
		for _, k := range ar.kw {
			e.addCell(e.newCell(i.obj, "s:"+k.name), k.s)
		}
		return unknown(), true
	case i.obj != nil && i.obj.kind == objNamespace && strings.Contains(i.text, ".parse_"):
		v := one(a.intern(info{kind: vExt, text: "argparse.Namespace()", node: n, unit: e.fr.unit, obj: i.obj}), nil)
		if strings.HasSuffix(i.text, ".parse_known_args") {
			t := a.object(objTuple, n, e.fr.unit, nil)
			e.setCell(t, "i:0", v)
			e.setCell(t, "i:1", unknown())
			return one(a.intern(info{kind: vList, obj: t}), nil), true
		}
		return v, true
	}
	return set{}, false
}

func (e *exec) nameText(s set) string {
	if len(s.vals) == 1 {
		return e.a.info(s.vals[0].v).text
	}
	return ""
}

// environment is the value of a variable: what deployment files of the tree
// say, and the default.
func (e *exec) environment(names, def set, n *syntax.Node) set {
	out := def
	for _, x := range names.vals {
		i := e.a.info(x.v)
		if i.kind != vString {
			continue
		}
		for _, g := range e.a.opt.Environment[i.text] {
			p := &step{via: Environment, text: i.text, unit: -1, file: g.Path, line: g.Line, n: 1}
			out = out.or(one(e.a.str(g.Text), p.then(Environment, i.text, e.fr.unit, n)))
		}
	}
	if len(out.vals) == 0 {
		out.unknown = true
	}
	return out
}

// opened is a file that the program reads: its path stays with it.
func (e *exec) opened(p set, n *syntax.Node) set {
	a := e.a
	o := a.object(objSet, n, e.fr.unit, "file")
	e.addCell(o.cell("path"), p)
	return one(a.intern(info{kind: vExt, text: "builtins.open()", node: n, unit: e.fr.unit, obj: o}), nil)
}

// load reads a configuration file that the caller of the analysis knows.
func (e *exec) load(i info, s set, n *syntax.Node) (set, bool) {
	a := e.a
	if i.text == "builtins.open().read" {
		return one(a.intern(info{kind: vExt, text: "builtins.open()", node: i.node, unit: i.unit, obj: i.obj}), nil), true
	}
	var out set
	found := false
	for _, x := range s.vals {
		f := *a.info(x.v)
		paths := set{vals: []entry{x}}
		if f.kind == vExt && f.obj != nil && f.obj.peek("path") != nil {
			paths = e.readCell(f.obj.cell("path"))
		}
		for _, p := range paths.vals {
			q := a.info(p.v)
			if q.kind != vString || a.opt.File == nil {
				continue
			}
			if d, ok := a.opt.File(q.text); ok {
				found = true
				out = out.or(e.data(d, n, q.text))
			}
		}
	}
	return out, found
}

// data turns the content of a file into a value, once.
func (e *exec) data(d Data, n *syntax.Node, key string) set {
	a := e.a
	var st *step
	st = &step{via: ConfigurationFile, text: key, unit: -1, file: d.Path, line: d.Line, n: 1, prev: st}
	if d.Unknown || len(key) > 2*maxText {
		return unknown()
	}
	switch d.Kind {
	case String:
		return one(a.str(d.Text), st)
	case Number:
		return one(a.intern(info{kind: vNumber, text: d.Text}), st)
	case Bool:
		if d.Text == "True" || d.Text == "true" {
			return one(a.common.yes, st)
		}
		return one(a.common.no, st)
	case None:
		return one(a.common.none, st)
	case List, Dict:
		kind, k := objList, vList
		if d.Kind == Dict {
			kind, k = objDict, vDict
		}
		o := a.object(kind, n, e.fr.unit, "file:"+key)
		if !o.frozen {
			o.frozen = true
			for j, it := range d.Items {
				if !a.step() {
					break
				}
				name := "i:" + itoa(j)
				if d.Kind == Dict {
					if j >= len(d.Keys) {
						break
					}
					name = "s:" + d.Keys[j]
				}
				a.write(e.fr, e.newCell(o, name), e.data(it, n, key+"/"+name[2:]))
			}
		}
		return one(a.intern(info{kind: k, obj: o}), st)
	default:
		return unknown()
	}
}
