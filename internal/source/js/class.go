package js

import "github.com/modelwarden/warden/internal/source/syntax"

func (p *parser) decorators() []*syntax.Node {
	var out []*syntax.Node
	for p.eat("@") {
		start := p.start
		if p.is("(") {
			out = append(out, p.parens())
			continue
		}
		out = append(out, p.members(p.primary(), start, true))
		if p.broken {
			break
		}
	}
	return out
}

// class reads class ….
func (p *parser) class(decs []*syntax.Node) *syntax.Node {
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	start := p.start
	if !p.eatWord("class") {
		p.fail("expected class")
		return p.none()
	}
	name := "(class)"
	if p.kind == tName && p.text != "extends" && p.text != "implements" {
		name = p.text
		p.next()
	}
	if p.is("<") {
		p.typeParams()
	}
	at := p.start
	var bases []*syntax.Node
	if p.eatWord("extends") {
		b := p.start
		bases = append(bases, p.members(p.primary(), b, true))
		if p.is("<") {
			p.typeArgs()
		}
	}
	args := p.node(syntax.Args, at, "", bases...)
	if p.eatWord("implements") {
		for p.typ(); p.eat(","); {
			p.typ()
		}
	}
	at = p.start
	p.want("{")
	var body []*syntax.Node
	for !p.is("}") && p.kind != tEOF {
		if p.eat(";") {
			continue
		}
		body = p.classMember(body)
	}
	p.want("}")
	n := p.node(syntax.Class, start, name, append([]*syntax.Node{nil, args, p.node(syntax.Block, at, "", body...)}, decs...)...)
	return n
}

func (p *parser) classMember(body []*syntax.Node) []*syntax.Node {
	decs := p.decorators()
	start := p.start
	flag := syntax.Flag(0)
	static, getter, setter, abstract := false, false, false, false
	for p.kind == tName || p.is("*") {
		word := p.text
		switch word {
		case "static", "async", "get", "set", "public", "private", "protected", "readonly", "override", "abstract", "declare", "accessor", "*":
		default:
			word = ""
		}
		if word == "" {
			break
		}
		s := p.mark()
		p.next()
		if p.kind == tPunct && word != "*" {
			switch p.text {
			case "(", "=", ";", ":", "?", "!", "}", "<":
				p.reset(s)
				word = ""
			case "{":
				if word == "static" {
					b := p.functionBody(nil)
					return append(body, b.Kids...)
				}
			}
		}
		if word == "" || p.nl && word != "*" && word != "static" && !p.ts {
			break
		}
		switch word {
		case "static":
			static = true
		case "async":
			flag |= syntax.Async
		case "get":
			getter = true
		case "set":
			setter = true
		case "abstract", "declare":
			abstract = true
		}
	}
	if p.is("[") && p.ts { // an index signature
		if p.try(func() bool {
			p.next()
			p.next()
			if !p.eat(":") {
				return false
			}
			p.typ()
			p.want("]")
			p.annotation()
			return true
		}) {
			p.semicolon()
			return body
		}
	}
	key := p.key()
	name := key.Text
	if key.Kind != syntax.String && key.Kind != syntax.Number {
		name = "[]"
	}
	if p.is("?") || p.is("!") {
		p.next()
	}
	if p.is("(") || p.is("<") {
		m := p.method(start, flag)
		if m == nil {
			p.semicolon()
			return body
		}
		switch {
		case setter:
			name = "set " + name
		case getter:
			decs = append(decs, p.name("property", start))
		case static:
			decs = append(decs, p.name("classmethod", start))
		}
		params, block := m.Kids[0], m.Kids[1]
		n := p.node(syntax.Func, start, name, append([]*syntax.Node{params, nil, nil, block}, decs...)...)
		n.Flag |= flag
		if static {
			n.Flag |= syntax.Static
		}
		return append(body, n)
	}
	p.annotation()
	if p.eat("=") {
		noIn, breaks := p.noIn, p.breaks
		p.noIn = false
		v := p.assign()
		p.noIn, p.breaks = noIn, breaks
		body = append(body, p.local(start, p.name(name, start), v))
	} else if !abstract && p.kind == tPunct && !p.is(";") && !p.is("}") && !p.nl {
		p.fail("expected ;")
	}
	p.semicolon()
	return body
}
