package main

import (
	"maps"
	"strings"

	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// A mask says which parameters of a function a value comes from: bit i stands
// for parameter i, the last bit for all from 63 on.
type mask uint64

func bit(i int) mask { return 1 << min(i, 63) }

// What the callee of a call is.
type calleeKind uint8

const (
	byName   calleeKind = iota // a dotted name, to be looked up in the module
	bySelf                     // a method of the object at hand
	bySuper                    // a method of a base
	byClass                    // a method of an object made from a class: name is "class|method"
	byMethod                   // a method of something unknown
	byValue                    // a parameter, or the result of something
)

// A call is what a function calls, without its tree.
type call struct {
	kind  calleeKind
	name  string
	recv  mask // of the object that a method is called on
	plain bool // the object is a local name or self.__dict__, not reached through others
	args  []arg
}

type arg struct {
	from  mask
	name  string // keyword; "**" for two stars
	star  bool
	text  string // if it is a constant string
	known bool   // it is a constant of any sort
}

// A function holds the facts about a function that the analysis needs.
type function struct {
	name   string // "module.Class.method"
	mod    *module
	class  *class
	params []string
	star   int // index of *args, or -1
	named  int // index of **kwargs, or -1
	calls  []call
	method bool   // takes the object first
	odd    string // why it is not inert, whatever it calls; "" if nothing speaks against it
	setter bool
	getter bool

	reach   map[string]reached // by effect
	callers []*function
}

// reached says that a function comes to an effect.
type reached struct {
	from mask // parameters that flow there
	mode mask // parameters that decide whether a file is written or read; 0: it is written
	far  int  // calls in between
	via  string
	next *function
}

type class struct {
	name    string
	mod     *module
	bases   []string
	methods map[string]*function
	alias   map[string]string // attributes that name something else
	setters []*function
	odd     string // why it is not inert
	order   []*class
	linked  bool
	open    bool // a base is not known
	opaque  string
}

type module struct {
	name    string
	pkg     bool
	funcs   map[string]*function
	classes map[string]*class
	names   map[string]string // imported or assigned: absolute dotted name
	stars   []string
	tree    string
}

// reader collects the facts of one module.
type reader struct {
	mod *module
	all []*function
	cls []*class
}

func (r *reader) module(body []*syntax.Node) {
	r.statements(body, nil, "")
}

// statements reads definitions of a module or class body; those under if, try
// and with count too.
func (r *reader) statements(body []*syntax.Node, c *class, prefix string) {
	for _, n := range body {
		switch n.Kind {
		case syntax.Func:
			r.function(n, c, prefix)
		case syntax.Class:
			r.class(n, c, prefix)
		case syntax.Import, syntax.From:
			if c == nil {
				im := python.NewImports([]*syntax.Node{n}, r.mod.name, r.mod.pkg)
				maps.Copy(r.mod.names, im.Names())
				r.mod.stars = append(r.mod.stars, im.Stars()...)
			}
		case syntax.Assign:
			target := syntax.Dotted(n.Kids[len(n.Kids)-1])
			for _, t := range n.Kids[:len(n.Kids)-1] {
				if t.Kind != syntax.Name || target == "" {
					continue
				}
				if c != nil {
					c.alias[t.Text] = target
				} else if t.Text != target {
					r.mod.names[t.Text] = "=" + target
				}
			}
		default:
			for _, k := range n.Kids {
				if k == nil {
					continue
				}
				if k.Kind == syntax.Block || k.Kind == syntax.Handler {
					r.statements(k.Body(), c, prefix)
				}
			}
		}
	}
}

// harmless are decorators that do not change what a class or method does when
// it is built or called.
var harmless = map[string]bool{
	"dataclass": true, "dataclasses.dataclass": true, "total_ordering": true, "functools.total_ordering": true, "final": true,
	"property": true, "staticmethod": true, "classmethod": true, "abstractmethod": true, "abc.abstractmethod": true,
	"runtime_checkable": true, "typing.final": true, "unique": true, "enum.unique": true, "overload": true, "override": true,
	"keras_export": true, "tf_export": true, "set_module": true, "dataclass_transform": true, "Appender": true, "Substitution": true,
	"doc": true, "deprecated": true, "available_if": true, "_fit_context": true, "cached_property": true, "cache_readonly": true,
	"functools.cached_property": true, "attr.s": true, "attrs.define": true, "add_start_docstrings": true, "experimental": true,
}

func (r *reader) class(n *syntax.Node, outer *class, prefix string) {
	c := &class{name: r.mod.name + "." + prefix + n.Text, mod: r.mod, methods: map[string]*function{}, alias: map[string]string{}}
	for _, a := range n.Kids[1].Kids {
		switch a.Kind {
		case syntax.Keyword:
			if v := syntax.Dotted(a.Kids[0]); a.Text == "metaclass" && v != "ABCMeta" && v != "abc.ABCMeta" && v != "type" && v != "EnumMeta" {
				c.odd = "metaclass"
			}
		case syntax.Subscript:
			c.bases = append(c.bases, syntax.Dotted(a.Kids[0]))
		case syntax.Call: // six.with_metaclass, namedtuple
			if f := syntax.Dotted(a.Kids[0]); strings.HasSuffix(f, "namedtuple") {
				c.bases = append(c.bases, "tuple")
				continue
			}
			c.bases = append(c.bases, "")
		default:
			c.bases = append(c.bases, syntax.Dotted(a))
		}
	}
	for _, d := range n.Decorators() {
		if d.Kind == syntax.Call {
			d = d.Kids[0]
		}
		if !harmless[syntax.Dotted(d)] && !harmless[last(syntax.Dotted(d))] {
			c.odd = "decorator"
		}
	}
	r.cls = append(r.cls, c)
	if outer == nil {
		r.mod.classes[prefix+n.Text] = c
	} else {
		outer.alias[n.Text] = "." + c.name
		r.mod.classes[prefix+n.Text] = c
	}
	r.statements(n.Body(), c, prefix+n.Text+".")
}

func last(dotted string) string { return dotted[strings.LastIndexByte(dotted, '.')+1:] }

func (r *reader) function(n *syntax.Node, c *class, prefix string) {
	f := &function{name: r.mod.name + "." + prefix + n.Text, mod: r.mod, class: c, star: -1, named: -1, method: c != nil}
	f.setParams(n.Kids[0])
	for _, d := range n.Decorators() {
		if d.Kind == syntax.Call {
			d = d.Kids[0]
		}
		name := syntax.Dotted(d)
		switch {
		case name == "staticmethod":
			f.method = false
		case name == "property", last(name) == "getter", strings.HasSuffix(name, "cached_property"):
			f.getter = true
		case last(name) == "setter":
			f.setter = true
		case name == "overload" || name == "typing.overload":
			return
		case !harmless[name] && !harmless[last(name)]:
			f.odd = "decorator " + name
		}
	}
	b := &body{f: f, r: r, from: map[string]mask{}, alias: map[string]string{}, local: map[string]bool{}}
	for i, p := range f.params {
		b.from[p], b.local[p] = bit(i), true
	}
	for _, k := range n.Body() {
		b.names(k)
	}
	for range 2 { // once more, for what loops carry around
		f.calls = f.calls[:0]
		for _, k := range n.Body() {
			b.statement(k)
		}
	}
	f.calls = append([]call(nil), f.calls...)
	r.all = append(r.all, f)
	switch {
	case c == nil:
		r.mod.funcs[n.Text] = f
	case f.setter:
		c.setters = append(c.setters, f)
	case c.methods[n.Text] == nil || !c.methods[n.Text].getter:
		c.methods[n.Text] = f
	}
}

func (f *function) setParams(params *syntax.Node) {
	for _, p := range params.Kids {
		switch {
		case p.Flag&syntax.OneStar != 0:
			f.star = len(f.params)
		case p.Flag&syntax.TwoStars != 0:
			f.named = len(f.params)
		}
		f.params = append(f.params, p.Text)
	}
}
