package flow

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// JavaScript returns the rules of JavaScript and TypeScript. resolve tells the
// path of the unit that an import names, or "" if it is outside of the tree.
func JavaScript(resolve func(from Unit, name string) string) *Language {
	return &Language{
		Name: "javascript", Constructor: "constructor", This: "this", Hoist: true, Members: true, Declares: true, Builtins: "<builtin>",
		Types: map[Kind]string{
			String: "String", Pattern: "String", Number: "Number", Bool: "Boolean", List: "Array", Dict: "Object",
		},
		IsBuiltin: func(name string) bool { return scriptBuiltins[name] },
		Import:    resolve,
	}
}

// scriptBuiltins are the names of the language, of browsers and of Node, Deno
// and Bun; and those that the reader makes: jsx, property, classmethod.
var scriptBuiltins = wordSet(`Array ArrayBuffer BigInt Boolean Buffer Bun console crypto Date Deno document encodeURIComponent
decodeURIComponent encodeURI Error EvalError Event EventSource EventTarget exports fetch FormData Function global globalThis
Headers import Infinity Intl isNaN JSON jsx localStorage location Map Math module NaN navigator Number Object parseFloat
parseInt performance process Promise property classmethod Proxy queueMicrotask RangeError ReadableStream ReferenceError Reflect
RegExp Request require requestAnimationFrame Response self sessionStorage Set setImmediate setInterval setTimeout String
structuredClone super Symbol SyntaxError TextDecoder TextEncoder TypeError Uint8Array URL URLSearchParams WeakMap WeakSet
WebSocket window Worker XMLHttpRequest AbortController AbortSignal alert clearTimeout clearInterval eval`)

// environments are the objects whose members are variables of the environment.
var environments = wordSet("process.env import.meta.env Bun.env globalThis.process.env import.meta.client import.meta.server")

// builtinAttr reads a member of something of the language itself.
func (e *exec) builtinAttr(i info, name string, n *syntax.Node) set {
	a := e.a
	if a.g.units[e.fr.unit].Language.Name == "javascript" {
		switch {
		case environments[i.text]:
			return e.environment(one(a.str(name), nil), set{}, n)
		case i.text == "globalThis" || i.text == "window" || i.text == "global" || i.text == "self":
			return one(a.intern(info{kind: vBuiltin, text: name}), nil)
		}
	}
	if len(i.text)+len(name) > maxPath {
		return unknown()
	}
	return one(a.intern(info{kind: vBuiltin, text: i.text + "." + name}), nil)
}

// environmentName tells which variable an expression reads, as far as the
// source says it itself.
func environmentName(n *syntax.Node) string {
	if n == nil {
		return ""
	}
	switch n.Kind {
	case syntax.Attr:
		if environments[syntax.Dotted(n.Kid(0))] {
			return n.Text
		}
	case syntax.Subscript:
		if k := n.Kid(1); k != nil && k.Kind == syntax.String && environments[syntax.Dotted(n.Kid(0))] {
			return k.Text
		}
	case syntax.Call:
		if k := n.Kid(1); k != nil && k.Kind == syntax.String && strings.HasSuffix(syntax.Dotted(n.Kid(0)), ".env.get") {
			return k.Text
		}
	default:
	}
	return ""
}

// script calls a function of JavaScript itself.
func (e *exec) script(name string, ar *args, n *syntax.Node) set {
	a := e.a
	first, _, _ := ar.get(0, "")
	switch name {
	case "super":
		return e.super(ar)
	case "require", "import", "require.resolve", "jest.requireActual":
		return e.required(first, n)
	case "String", "encodeURIComponent", "decodeURIComponent", "encodeURI":
		return e.texts(first)
	case "Number", "parseInt", "parseFloat", "Date.now", "Math.max", "Math.min", "Math.round", "Math.floor", "Math.ceil", "Math.random", "BigInt":
		return one(a.common.number, nil)
	case "Boolean", "Array.isArray", "isNaN", "Object.is":
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}
	case "JSON.parse":
		if s, ok := e.load(info{}, first, n); ok {
			return s
		}
		return first
	case "JSON.stringify", "Object.freeze", "Object.seal", "structuredClone", "Promise.all", "Promise.allSettled", "Promise.race", "Promise.any",
		"Promise.resolve", "Array.from", "URL", "Proxy", "Object.create", "Buffer.from", "Request":
		if name == "Array.from" && len(ar.pos) > 1 {
			return e.gathered(e.callInside(ar.pos[1], &args{pos: []set{e.iterate(first, n)}}), n, name)
		}
		e.escape(ar)
		return first
	case "Array.of", "Array":
		o := a.object(objList, n, e.fr.unit, name)
		for _, p := range ar.pos {
			e.addCell(e.newCell(o, star), p)
		}
		return one(a.intern(info{kind: vList, obj: o}), nil)
	case "Set":
		return e.gathered(e.iterate(first, n), n, name)
	case "Map", "Object.fromEntries":
		o := a.object(objDict, n, e.fr.unit, name)
		for _, p := range e.items(first).vals {
			pair := set{vals: []entry{p}}
			e.putMember(o, e.member(pair, e.index(0)), e.member(pair, e.index(1)))
		}
		return one(a.intern(info{kind: vDict, obj: o}), nil)
	case "Object.assign":
		o := a.object(objDict, n, e.fr.unit, name)
		for _, p := range ar.pos {
			e.merge2(o, p)
		}
		return one(a.intern(info{kind: vDict, obj: o}), nil)
	case "Object.keys", "Object.values", "Object.entries", "Reflect.ownKeys":
		var out set
		method := strings.ToLower(name[strings.IndexByte(name, '.')+1:])
		if method == "ownkeys" {
			method = "keys"
		}
		if method == "entries" {
			method = "items"
		}
		for _, x := range first.vals {
			i := *a.info(x.v)
			if i.kind != vDict {
				out.unknown = true
				continue
			}
			out = out.or(e.method(info{kind: vMethod, text: method, recv: x.v}, &args{}, n))
		}
		return out
	case "Deno.env.get", "Bun.env.get":
		return e.environment(first, set{}, n)
	case "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "process.nextTick", "requestAnimationFrame", "Promise":
		e.callInside(first, &args{more: unknown()})
		return unknown()
	case "jsx":
		e.escape(ar)
		return set{}
	}
	e.escape(ar)
	if strings.HasSuffix(name, "Error") {
		v, _ := a.ext("builtins."+name+"()", n, e.fr.unit)
		return one(v, nil)
	}
	return unknown()
}

// gathered makes a collection of items whose places are not known.
func (e *exec) gathered(items set, n *syntax.Node, extra string) set {
	o := e.a.object(objGenerator, n, e.fr.unit, extra)
	e.addCell(e.newCell(o, star), items)
	return one(e.a.intern(info{kind: vList, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
}

// required is require and import(…) with names that are known.
func (e *exec) required(names set, n *syntax.Node) set {
	a := e.a
	out := set{unknown: names.unknown}
	for _, x := range names.vals {
		i := *a.info(x.v)
		if i.kind != vString {
			out.unknown = true
			continue
		}
		if s, ok := e.dataModule(i.text, n); ok {
			out = out.or(s)
			continue
		}
		v, path, inside := e.module(i.text, false)
		switch {
		case !inside:
			out = out.or(e.outside(path))
		case a.info(v).unit >= 0 && a.modules[a.info(v).unit].scope.binds["module.exports"] != nil:
			out = out.or(e.moduleAttr(v, "module.exports"))
		default:
			out = out.or(one(v, nil))
		}
	}
	return out
}

// dataModule is what the import of a file of data gives.
func (e *exec) dataModule(name string, n *syntax.Node) (set, bool) {
	if !strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") || e.a.opt.File == nil {
		return set{}, false
	}
	name = strings.TrimLeft(name, "./@~")
	d, ok := e.a.opt.File(name)
	if !ok {
		return set{}, false
	}
	return e.data(d, n, name), true
}

// scriptMethod calls a method of an array, a string or another value of
// JavaScript; ok is false if it is like one of Python.
func (e *exec) scriptMethod(name string, recv info, x entry, ar *args, n *syntax.Node) (out set, ok bool) {
	a := e.a
	self := set{vals: []entry{x}}
	first, _, _ := ar.get(0, "")
	second, _, _ := ar.get(1, "")
	switch name {
	case "then":
		return e.callInside(first, &args{pos: []set{self}}), true
	case "catch", "finally":
		e.callInside(first, &args{more: unknown()})
		return self, true
	case "toString", "valueOf", "href":
		return self, true
	}
	switch recv.kind {
	case vString, vPattern:
		switch name {
		case "toLowerCase", "toUpperCase", "trim", "trimStart", "trimEnd", "replaceAll":
			python := map[string]string{"toLowerCase": "lower", "toUpperCase": "upper", "trim": "strip", "trimStart": "lstrip", "trimEnd": "rstrip", "replaceAll": "replace"}[name]
			return e.textMethod(python, x, ar, n), true
		case "concat":
			ps := e.pieces(self)
			for _, p := range ar.pos {
				ps = glue(ps, e.pieces(p), "")
			}
			return e.folded(ps, n), true
		case "slice", "substring":
			if recv.kind == vString {
				return e.sliceText(x, first, second, set{}), true
			}
		case "startsWith", "endsWith", "includes", "test":
			return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}, true
		}
	case vList:
		return e.arrayMethod(name, x, recv, ar, n)
	case vDict:
		switch name {
		case "set":
			e.putMember(recv.obj, first, second)
			return self, true
		case "has":
			return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}, true
		case "entries":
			return e.method(info{kind: vMethod, text: "items", recv: x.v}, ar, nil), true
		case "forEach":
			e.callInside(first, &args{pos: []set{e.all(recv.obj), e.keysOf(recv.obj)}})
			return one(a.common.none, nil), true
		case "hasOwnProperty":
			return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}, true
		}
	default:
	}
	return set{}, false
}

func (e *exec) arrayMethod(name string, x entry, recv info, ar *args, n *syntax.Node) (set, bool) {
	a := e.a
	self := set{vals: []entry{x}}
	first, _, _ := ar.get(0, "")
	second, _, _ := ar.get(1, "")
	items := func() set { return e.items(self) }
	each := &args{pos: []set{items(), one(a.common.number, nil), self}}
	switch name {
	case "map", "flatMap":
		got := e.callInside(first, each)
		if name == "flatMap" {
			got = got.or(e.items(e.onlyLists(got)))
		}
		return e.gathered(got, n, name), true
	case "filter":
		e.callInside(first, each)
		return e.gathered(items(), n, name), true
	case "find", "findLast":
		e.callInside(first, each)
		return items(), true
	case "forEach", "some", "every", "findIndex":
		e.callInside(first, each)
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}, true
	case "reduce", "reduceRight":
		out := second
		for range 2 {
			out = out.or(e.callInside(first, &args{pos: []set{out.or(items()), items()}}))
		}
		return out, true
	case "push", "unshift", "add":
		for _, p := range ar.pos {
			e.addCell(e.newCell(recv.obj, star), p)
		}
		return self, true
	case "concat", "flat":
		all := items()
		if name == "flat" {
			all = all.or(e.items(e.onlyLists(all)))
		}
		for _, p := range ar.pos {
			all = all.or(e.items(p))
		}
		return e.gathered(all, n, name), true
	case "slice", "toSorted", "sort", "reverse", "toReversed", "values", "fill":
		if name == "sort" || name == "toSorted" {
			e.callInside(first, &args{pos: []set{items(), items()}})
		}
		return self, true
	case "at", "pop", "shift", "get":
		return items(), true
	case "entries":
		t := a.object(objTuple, n, e.fr.unit, name)
		e.addCell(e.newCell(t, "i:0"), one(a.common.number, nil))
		e.addCell(e.newCell(t, "i:1"), items())
		return e.gathered(one(a.intern(info{kind: vList, obj: t}), nil), n, name), true
	case "keys", "indexOf", "lastIndexOf":
		return one(a.common.number, nil), true
	case "includes", "has":
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}, true
	case "join":
		if k, ok := e.length(x); ok && k > 0 && k < 64 && len(first.vals) == 1 && a.info(first.vals[0].v).kind == vString {
			ps := []piece{{"", true, nil}}
			for i := range k {
				sep := a.info(first.vals[0].v).text
				if i == 0 {
					sep = ""
				}
				ps = glue(ps, e.pieces(e.at(recv.obj, "i:"+itoa(i))), sep)
			}
			return e.folded(ps, n), true
		}
		return one(a.common.text, nil), true
	}
	return set{}, false
}

// scriptKnown calls functions of Node and of packages whose values are followed.
func (e *exec) scriptKnown(i info, x entry, ar *args, n *syntax.Node) (set, bool) {
	if base, ok := strings.CutSuffix(i.text, ".bind"); ok && len(ar.pos) == 1 && strings.Contains(base, ".") {
		i.text = base // a method with its receiver: itself
		return one(e.a.intern(i), x.path), true
	}
	first, _, has := ar.get(0, "")
	path := strings.Replace(i.text, ".default.", ".", 1)
	switch path {
	case "fs.readFileSync", "fs.readFile", "fs/promises.readFile", "fs.promises.readFile", "fs-extra.readJson", "fs-extra.readFile":
		return e.opened(first, n), true
	case "path.join", "path.resolve", "path.posix.join":
		return e.paths(ar.pos, n), true
	case "yaml.parse", "yaml.load", "js-yaml.load", "toml.parse", "smol-toml.parse", "json5.parse":
		return e.load(info{}, first, n)
	case "fs.readFileSync().toString", "fs.readFile().toString":
		return one(e.a.intern(info{kind: vExt, text: strings.TrimSuffix(i.text, ".toString"), node: i.node, unit: i.unit, obj: i.obj}), nil), true
	case "url.fileURLToPath", "url.pathToFileURL", "react.use", "react.memo", "react.forwardRef", "react.cache", "next/cache.unstable_cache", "react.lazy":
		e.escape(ar)
		return first, has
	case "react.useState", "react.useRef":
		return e.hook(first, n), true
	case "react.useMemo", "react.lazy()":
		return e.callInside(first, &args{}), true
	case "react.useCallback":
		e.escape(ar)
		return first, has
	case "react.useEffect", "react.useLayoutEffect":
		e.callInside(first, &args{})
		return set{}, true
	case "util.promisify":
		return first, has
	}
	switch {
	case strings.HasSuffix(path, ".then") && i.recv != 0:
		promise := info{kind: vExt, text: strings.TrimSuffix(i.text, ".then"), node: i.node, unit: i.unit, obj: i.obj}
		return e.callInside(first, &args{pos: []set{one(e.a.intern(promise), x.path)}}), true
	case (strings.HasSuffix(path, ".catch") || strings.HasSuffix(path, ".finally")) && i.recv != 0 && strings.Contains(path, "()"):
		e.callInside(first, &args{more: unknown()})
		promise := info{kind: vExt, text: i.text[:strings.LastIndexByte(i.text, '.')], node: i.node, unit: i.unit, obj: i.obj}
		return one(e.a.intern(promise), x.path), true
	}
	return set{}, false
}

// hook is [value, setter].
func (e *exec) hook(first set, n *syntax.Node) set {
	o := e.a.object(objTuple, n, e.fr.unit, "state")
	e.setCell(o, "i:0", first)
	e.addCell(e.newCell(o, "i:0"), unknown())
	e.addCell(e.newCell(o, "i:1"), unknown())
	e.addCell(e.newCell(o, "s:current"), first)
	return one(e.a.intern(info{kind: vList, obj: o}), nil)
}
