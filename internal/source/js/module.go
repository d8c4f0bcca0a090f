package js

import "github.com/modelwarden/warden/internal/source/syntax"

// importStmt reads import …; import(…) and import.meta are expressions.
func (p *parser) importStmt(out []*syntax.Node) []*syntax.Node {
	start := p.start
	s := p.mark()
	p.next()
	if p.is("(") || p.is(".") {
		p.reset(s)
		return p.expression(out)
	}
	if p.kind == tString {
		from := p.module()
		p.semicolon()
		return append(out, p.node(syntax.From, start, from))
	}
	types := false
	if p.word("type") {
		t := p.mark()
		p.next()
		if types = p.is("{") || p.is("*") || p.kind == tName && p.text != "from"; !types {
			p.reset(t)
		}
	}
	var names []*syntax.Node
	space := ""
	at := p.start
	if p.kind == tName {
		name := p.text
		p.next()
		if p.eat("=") { // import x = require("y"), import x = A.B
			v := p.assign()
			p.semicolon()
			return append(out, p.local(start, p.name(name, at), v))
		}
		names = append(names, p.node(syntax.Alias, at, "default", p.name(name, at)))
		p.eat(",")
	}
	if p.eat("*") {
		p.eatWord("as")
		space = p.text
		at = p.start
		p.next()
	} else if p.is("{") {
		names = p.specifiers(names)
	}
	if !p.eatWord("from") || p.kind != tString {
		p.fail("expected the name of a module")
		return out
	}
	from := p.module()
	p.semicolon()
	if types {
		return out
	}
	if space != "" {
		out = append(out, p.node(syntax.Import, start, "", p.node(syntax.Alias, start, from, p.name(space, at))))
	}
	if len(names) > 0 || space == "" {
		out = append(out, p.node(syntax.From, start, from, names...))
	}
	return out
}

// specifiers reads {a, b as c}.
func (p *parser) specifiers(names []*syntax.Node) []*syntax.Node {
	p.next()
	for !p.is("}") && p.kind != tEOF {
		types := false
		if p.word("type") {
			s := p.mark()
			p.next()
			if types = (p.kind == tName && p.text != "as") || p.kind == tString; !types {
				p.reset(s)
			}
		}
		at := p.start
		name := p.text
		if p.kind == tString {
			name = p.str().Text
		} else {
			p.next()
		}
		local, la := name, at
		if p.eatWord("as") {
			local, la = p.text, p.start
			if p.kind == tString {
				local = p.str().Text
			} else {
				p.next()
			}
		}
		if !types {
			names = append(names, p.node(syntax.Alias, at, name, p.name(local, la)))
		}
		if !p.eat(",") {
			break
		}
	}
	p.want("}")
	return names
}

// module reads the name of a module, and over the attributes behind it.
func (p *parser) module() string {
	s := p.str().Text
	if (p.word("with") || p.word("assert")) && !p.nl {
		p.next()
		p.braces()
	}
	return s
}

func exported(nodes []*syntax.Node) {
	for _, n := range nodes {
		n.Flag |= syntax.Exported
	}
}

func (p *parser) export(out, decs []*syntax.Node) []*syntax.Node {
	start := p.start
	p.next()
	if p.is("@") {
		decs = p.decorators()
	}
	n := len(out)
	switch {
	case p.eatWord("default"):
		return p.exportDefault(out, decs, start)
	case p.eat("*"):
		space := ""
		at := p.start
		if p.eatWord("as") {
			space = p.text
			at = p.start
			p.next()
		}
		if !p.eatWord("from") || p.kind != tString {
			p.fail("expected the name of a module")
			return out
		}
		from := p.module()
		p.semicolon()
		if space != "" {
			return append(out, p.node(syntax.Import, start, "", p.node(syntax.Alias, start, from, p.name(space, at))))
		}
		return append(out, p.node(syntax.From, start, from, p.node(syntax.Alias, start, "*", nil)))
	case p.is("{"):
		names := p.specifiers(nil)
		if p.eatWord("from") && p.kind == tString {
			from := p.module()
			p.semicolon()
			return append(out, p.node(syntax.From, start, from, names...))
		}
		p.semicolon()
		for _, a := range names {
			if as := a.Kid(0); as.Text != a.Text {
				out = append(out, p.local(int(a.Start), as, p.name(a.Text, int(a.Start))))
			}
		}
		exported(out[n:])
		return out
	case p.eat("="): // export = x
		v := p.assign()
		p.semicolon()
		return append(out, p.local(start, p.name("module.exports", start), v))
	case p.word("class"), p.word("abstract"):
		p.eatWord("abstract")
		out = append(out, p.class(decs))
	case p.word("type"):
		s := p.mark()
		p.next()
		if p.is("{") || p.is("*") { // export type {…} from "…"
			for p.kind != tEOF && !p.is("}") && !p.is("*") {
				p.next()
			}
			p.next()
			if p.eatWord("as") {
				p.next()
			}
			if p.eatWord("from") && p.kind == tString {
				p.module()
			}
			p.semicolon()
			return out
		}
		p.reset(s)
		out = p.stmt(out)
	default:
		out = p.stmt(out)
	}
	exported(out[n:])
	return out
}

func (p *parser) exportDefault(out, decs []*syntax.Node, start int) []*syntax.Node {
	n := len(out)
	named := func() {
		if len(out) == n || out[n].Text == "default" {
			return
		}
		out[n].Flag |= syntax.Exported | syntax.Default
		out = append(out, p.local(start, p.name("default", start), p.name(out[n].Text, start)))
	}
	at := p.start
	switch {
	case p.word("function"):
		if f := p.function(at, 0, true); f != nil {
			out = append(out, f)
		}
		named()
	case p.word("class"), p.word("abstract"), p.is("@"):
		if p.is("@") {
			decs = p.decorators()
		}
		p.eatWord("abstract")
		out = append(out, p.class(decs))
		named()
	case p.word("interface") && p.ts:
		return p.stmt(out)
	default:
		if p.word("async") {
			s := p.mark()
			p.next()
			if p.word("function") && !p.nl {
				if f := p.function(at, syntax.Async, true); f != nil {
					out = append(out, f)
				}
				named()
				return out
			}
			p.reset(s)
		}
		v := p.assign()
		p.semicolon()
		a := p.local(start, p.name("default", start), v)
		a.Flag |= syntax.Exported | syntax.Default
		out = append(out, a)
	}
	return out
}

// typescript reads the statements that only TypeScript has. ok is false if the
// word is a name here.
func (p *parser) typescript(out []*syntax.Node) ([]*syntax.Node, bool) {
	s := p.mark()
	start, word := p.start, p.text
	p.next()
	if p.nl && word != "abstract" {
		p.reset(s)
		return out, false
	}
	switch {
	case word == "enum" && p.kind == tName:
		p.reset(s)
		return p.enum(out), true
	case word == "abstract" && p.word("class"):
		return append(out, p.class(nil)), true
	case word == "type" && p.kind == tName:
		p.next()
		if p.is("<") {
			p.typeParams()
		}
		if !p.eat("=") {
			break
		}
		p.typ()
		p.semicolon()
		return out, true
	case word == "interface" && p.kind == tName:
		p.next()
		if p.is("<") {
			p.typeParams()
		}
		if p.eatWord("extends") {
			for p.typ(); p.eat(","); {
				p.typ()
			}
		}
		if !p.is("{") {
			break
		}
		p.braces()
		return out, true
	case word == "declare" && (p.kind == tName || p.is("{")):
		if p.word("global") || p.word("module") || p.word("namespace") {
			p.next()
			for p.kind == tName || p.kind == tString || p.is(".") {
				p.next()
			}
			if p.is("{") {
				p.braces()
			} else {
				p.semicolon()
			}
			return out, true
		}
		p.stmt(nil)
		return out, true
	case (word == "namespace" || word == "module") && (p.kind == tName || p.kind == tString):
		at, name := p.start, p.text
		p.next()
		for p.eat(".") {
			p.next()
		}
		if !p.is("{") {
			break
		}
		b := p.block(nil)
		var kids []*syntax.Node
		for _, n := range b.Kids {
			if n.Flag&syntax.Exported == 0 {
				continue
			}
			id := n.Text
			if n.Kind == syntax.Assign && n.Kids[0].Kind == syntax.Name {
				id = n.Kids[0].Text
			}
			kids = append(kids, p.node(syntax.String, int(n.Start), id), p.name(id, int(n.Start)))
		}
		return append(append(out, b.Kids...), p.local(start, p.name(name, at), p.node(syntax.Dict, at, "", kids...))), true
	}
	p.reset(s)
	return out, false
}

// enum makes a constant object of an enumeration.
func (p *parser) enum(out []*syntax.Node) []*syntax.Node {
	start := p.start
	p.next()
	at, name := p.start, p.text
	p.next()
	p.want("{")
	var kids []*syntax.Node
	for !p.is("}") && p.kind != tEOF {
		k := p.key()
		v := p.node(syntax.Number, p.start, "")
		if p.eat("=") {
			v = p.assign()
		}
		kids = append(kids, k, v)
		if !p.eat(",") {
			break
		}
	}
	p.want("}")
	return append(out, p.local(start, p.name(name, at), p.node(syntax.Dict, start, "", kids...)))
}
