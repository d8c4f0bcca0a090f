package main

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// A body reads the statements of one function. Flow is told roughly and never
// too little: a value comes from every parameter that is named in making it.
type body struct {
	f     *function
	r     *reader
	from  map[string]mask
	alias map[string]string // a local that names, or "new " and a class that made it
	local map[string]bool
}

// names collects what is local, imports in the function included.
func (b *body) names(n *syntax.Node) {
	syntax.Walk(n, func(n *syntax.Node) bool {
		switch n.Kind {
		case syntax.Import, syntax.From:
			im := python.NewImports([]*syntax.Node{n}, b.r.mod.name, b.r.mod.pkg)
			for k, v := range im.Names() {
				b.alias[k] = "." + v // absolute
			}
			if len(im.Stars()) > 0 {
				b.refuse("import *")
			}
		case syntax.Assign:
			for _, t := range n.Kids[:len(n.Kids)-1] {
				b.define(t)
			}
		case syntax.AugAssign, syntax.AnnAssign, syntax.Walrus, syntax.For, syntax.Comp:
			b.define(n.Kids[0])
		case syntax.WithItem:
			b.define(n.Kid(1))
		case syntax.Handler:
			b.local[n.Text] = true
		case syntax.Func, syntax.Class:
			b.local[n.Text] = true
			if n.Kind == syntax.Func {
				for _, p := range n.Kids[0].Kids {
					b.local[p.Text] = true
				}
			}
		case syntax.Lambda:
			for _, p := range n.Kids[0].Kids {
				b.local[p.Text] = true
			}
		case syntax.Global, syntax.Nonlocal, syntax.Await, syntax.While, syntax.Exec, syntax.Bad:
			b.refuse(n.Kind.String())
		default:
		}
		return true
	})
}

func (b *body) refuse(why string) {
	if b.f.odd == "" {
		b.f.odd = why
	}
}

func (b *body) define(t *syntax.Node) {
	syntax.Walk(t, func(n *syntax.Node) bool {
		if n.Kind == syntax.Name {
			b.local[n.Text] = true
		}
		return n.Kind == syntax.Tuple || n.Kind == syntax.List || n.Kind == syntax.Star
	})
}

// assign lets the names of a target come from what m says.
func (b *body) assign(t *syntax.Node, m mask) {
	switch t.Kind {
	case syntax.Name:
		b.from[t.Text] |= m
	case syntax.Tuple, syntax.List, syntax.Star:
		for _, k := range t.Kids {
			b.assign(k, m)
		}
	case syntax.Attr, syntax.Subscript:
		root := t
		for root.Kind == syntax.Attr || root.Kind == syntax.Subscript {
			root = root.Kids[0]
		}
		if root.Kind != syntax.Name || !b.local[root.Text] {
			b.refuse("changes " + syntax.Dotted(t))
			return
		}
		b.from[root.Text] |= m
	default:
	}
}

func (b *body) statement(n *syntax.Node) {
	if n == nil {
		return
	}
	switch n.Kind {
	case syntax.Assign:
		value := n.Kids[len(n.Kids)-1]
		m := b.expr(value)
		for _, t := range n.Kids[:len(n.Kids)-1] {
			b.target(t)
			b.assign(t, m)
			if t.Kind == syntax.Name {
				b.nickname(t.Text, value)
			}
		}
	case syntax.AugAssign:
		b.target(n.Kids[0])
		b.assign(n.Kids[0], b.expr(n.Kids[1]))
	case syntax.AnnAssign:
		if v := n.Kid(2); v != nil {
			b.assign(n.Kids[0], b.expr(v))
			if n.Kids[0].Kind == syntax.Name {
				b.nickname(n.Kids[0].Text, v)
			}
		}
	case syntax.For:
		b.assign(n.Kids[0], b.expr(n.Kids[1]))
		b.block(n.Kids[2:])
	case syntax.With:
		for _, item := range n.Kids[1:] {
			m := b.expr(item.Kids[0])
			if t := item.Kid(1); t != nil {
				b.assign(t, m)
				if t.Kind == syntax.Name {
					b.nickname(t.Text, item.Kids[0])
				}
			}
		}
		b.block(n.Kids[:1])
	case syntax.Func:
		for _, d := range n.Decorators() {
			b.expr(d)
		}
		b.block(n.Kids[3:4])
	case syntax.Class:
		b.refuse("class")
		b.block(n.Kids[2:3])
	case syntax.Exec:
		b.f.calls = append(b.f.calls, call{name: "exec", args: []arg{b.arg(n.Kids[0])}})
	case syntax.Import, syntax.From, syntax.Global, syntax.Nonlocal:
	case syntax.Block:
		for _, k := range n.Kids {
			b.statement(k)
		}
	default:
		for _, k := range n.Kids {
			if k == nil {
				continue
			}
			if k.Kind == syntax.Block || k.Kind == syntax.Handler || k.Kind == syntax.Case {
				b.statement(k)
			} else {
				b.expr(k)
			}
		}
	}
}

func (b *body) block(kids []*syntax.Node) {
	for _, k := range kids {
		b.statement(k)
	}
}

// target reads the expressions inside the target of an assignment.
func (b *body) target(t *syntax.Node) {
	if t.Kind == syntax.Subscript || t.Kind == syntax.Attr {
		b.expr(t)
	}
}

// nickname remembers what a local stands for.
func (b *body) nickname(name string, value *syntax.Node) {
	if d := syntax.Dotted(value); d != "" {
		if full, ok := b.global(d); ok {
			b.alias[name] = full
		}
		return
	}
	if value.Kind == syntax.Call {
		if full, ok := b.global(syntax.Dotted(value.Kids[0])); ok {
			b.alias[name] = "new " + full
		}
	}
}

// global turns a dotted name into one that the module can look up, if it does
// not begin with a local.
func (b *body) global(d string) (string, bool) {
	if d == "" {
		return "", false
	}
	head, tail, more := strings.Cut(d, ".")
	if a, ok := b.alias[head]; ok && !strings.HasPrefix(a, "new ") {
		if more {
			a += "." + tail
		}
		return a, true
	}
	return d, !b.local[head]
}

// expr notes the calls in an expression and says what it comes from.
func (b *body) expr(n *syntax.Node) mask {
	if n == nil {
		return 0
	}
	switch n.Kind {
	case syntax.Name:
		return b.from[n.Text]
	case syntax.Call:
		return b.call(n)
	case syntax.Walrus:
		m := b.expr(n.Kids[1])
		b.assign(n.Kids[0], m)
		return m
	case syntax.Comp:
		m := b.expr(n.Kids[1])
		b.assign(n.Kids[0], m)
		for _, k := range n.Kids[2:] {
			m |= b.expr(k)
		}
		return m
	case syntax.ListComp, syntax.SetComp, syntax.Generator, syntax.DictComp:
		var m mask
		for _, k := range slices.Backward(n.Kids) { // the clauses first, they define names
			m |= b.expr(k)
		}
		return m
	default:
		var m mask
		for _, k := range n.Kids {
			m |= b.expr(k)
		}
		return m
	}
}

func (b *body) arg(n *syntax.Node) arg {
	a := arg{}
	switch n.Kind {
	case syntax.Star:
		a.star = true
		n = n.Kids[0]
	case syntax.Keyword:
		a.name = n.Text
		if a.name == "" {
			a.name = "**"
		}
		n = n.Kids[0]
	default:
	}
	a.from = b.expr(n)
	if s, ok := python.Fold(n, nil); ok {
		a.text, a.known = s, true
	}
	a.known = a.known || n.Kind == syntax.Number || n.Kind == syntax.Constant
	return a
}

func (b *body) call(n *syntax.Node) mask {
	c := call{}
	fn := n.Kids[0]
	d := syntax.Dotted(fn)
	full, isGlobal := b.global(d)
	switch {
	case isGlobal:
		c.name = full
	case fn.Kind == syntax.Attr:
		c.kind, c.name = byMethod, fn.Text
		obj := fn.Kids[0]
		switch {
		case obj.Kind == syntax.Name && len(b.f.params) > 0 && b.f.method && obj.Text == b.f.params[0]:
			c.kind, c.recv = bySelf, bit(0)
		case obj.Kind == syntax.Call && syntax.Dotted(obj.Kids[0]) == "super":
			c.kind, c.recv = bySuper, bit(0)
		case obj.Kind == syntax.Name && strings.HasPrefix(b.alias[obj.Text], "new "):
			c.kind, c.name, c.recv = byClass, b.alias[obj.Text][4:]+"|"+fn.Text, b.from[obj.Text]
		case obj.Kind == syntax.Call:
			c.recv = b.expr(obj)
			if made, ok := b.global(syntax.Dotted(obj.Kids[0])); ok {
				c.kind, c.name = byClass, made+"|"+fn.Text
			}
		default:
			c.recv = b.expr(obj)
			inner := syntax.Dotted(obj)
			c.plain = obj.Kind == syntax.Name || strings.HasSuffix(inner, ".__dict__") || obj.Kind == syntax.String
		}
	default:
		c.kind, c.recv = byValue, b.expr(fn)
	}
	m := c.recv
	for _, k := range n.Kids[1:] {
		a := b.arg(k)
		m |= a.from
		c.args = append(c.args, a)
	}
	b.f.calls = append(b.f.calls, c)
	return m
}
