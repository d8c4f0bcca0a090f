package js

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

func (p *parser) parens() *syntax.Node {
	noIn, noColon := p.noIn, p.noColon
	p.noIn, p.noColon = false, 0
	p.next()
	n := p.expr()
	p.want(")")
	p.noIn, p.noColon = noIn, noColon
	return n
}

func (p *parser) array() *syntax.Node {
	start := p.start
	noIn, noColon := p.noIn, p.noColon
	p.noIn, p.noColon = false, 0
	p.next()
	var kids []*syntax.Node
	for !p.is("]") && p.kind != tEOF {
		at := p.start
		switch {
		case p.is(","):
			kids = append(kids, p.none())
		case p.eat("..."):
			kids = append(kids, p.node(syntax.Star, at, "", p.assign()))
		default:
			kids = append(kids, p.assign())
		}
		if !p.eat(",") {
			break
		}
	}
	p.want("]")
	p.noIn, p.noColon = noIn, noColon
	return p.node(syntax.List, start, "", kids...)
}

// object reads an object literal; it may turn out to be a pattern.
func (p *parser) object() *syntax.Node {
	start := p.start
	noIn, noColon, loops := p.noIn, p.noColon, p.breaks
	p.noIn, p.noColon = false, 0
	p.next()
	var kids []*syntax.Node
	for !p.is("}") && p.kind != tEOF {
		if p.eat("...") {
			kids = append(kids, nil, p.assign())
		} else {
			k, v := p.member()
			kids = append(kids, k, v)
		}
		if !p.eat(",") {
			break
		}
	}
	p.want("}")
	p.noIn, p.noColon, p.breaks = noIn, noColon, loops
	return p.node(syntax.Dict, start, "", kids...)
}

func (p *parser) member() (key, val *syntax.Node) {
	start := p.start
	flag := syntax.Flag(0)
	getter := false
	for p.kind == tName && (p.text == "get" || p.text == "set" || p.text == "async") || p.is("*") {
		s := p.mark()
		word := p.text
		p.next()
		if p.kind == tPunct && strings.Contains(", : ( } =", p.text) && word != "*" {
			p.reset(s)
			break
		}
		getter = getter || word == "get"
		if word == "async" {
			flag |= syntax.Async
		}
	}
	plain, text := p.kind == tName, p.text
	key = p.key()
	switch {
	case p.is("("), p.is("<"):
		fn := p.method(start, flag)
		if getter {
			return key, p.node(syntax.Call, start, "", fn)
		}
		return key, fn
	case p.eat(":"):
		return key, p.assign()
	case plain && p.is("="): // of a pattern
		n := p.name(text, start)
		p.next()
		return key, p.node(syntax.Walrus, start, "", n, p.assign())
	case plain:
		return key, p.name(text, start)
	}
	p.fail("expected :")
	return key, p.none()
}

// key reads the name of a member.
func (p *parser) key() *syntax.Node {
	start := p.start
	switch p.kind {
	case tName:
		s := p.text
		p.next()
		return p.node(syntax.String, start, s)
	case tString:
		return p.str()
	case tNumber:
		s := p.text
		p.next()
		return p.node(syntax.Number, start, s)
	default:
	}
	if p.eat("[") {
		n := p.assign()
		p.want("]")
		return n
	}
	p.fail("expected a name")
	return p.none()
}

// template reads a template literal.
func (p *parser) template() *syntax.Node {
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	start := p.start
	var kids []*syntax.Node
	for i := p.end; ; {
		from := i
		for i < len(p.src) && p.src[i] != '`' && (p.src[i] != '$' || i+1 >= len(p.src) || p.src[i+1] != '{') {
			if p.src[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(p.src) {
			p.pos, p.end = len(p.src), len(p.src)
			p.fail("a template that does not end")
			return p.none()
		}
		if i > from {
			s := p.node(syntax.String, from, value(p.src[from:i]))
			s.End = int32(i) //nolint:gosec // files are smaller than 2 GiB
			kids = append(kids, s)
		}
		if p.src[i] == '`' {
			p.pos, p.end = i+1, i+1
			p.next()
			break
		}
		p.pos, p.end = i+2, i+2
		p.next()
		at := p.start
		noIn, noColon := p.noIn, p.noColon
		p.noIn, p.noColon = false, 0
		v := p.expr()
		p.noIn, p.noColon = noIn, noColon
		kids = append(kids, p.node(syntax.Field, at, "", v, nil))
		if !p.is("}") {
			p.fail("expected }")
			return p.none()
		}
		i = p.end
	}
	if len(kids) == 0 {
		return p.node(syntax.String, start, "")
	}
	if len(kids) == 1 && kids[0].Kind == syntax.String {
		return p.node(syntax.String, start, kids[0].Text)
	}
	return p.node(syntax.FString, start, "", kids...)
}
