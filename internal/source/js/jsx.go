package js

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// element reads <Tag prop={x}>…</Tag>: a call of Tag with an object, or of jsx
// where the tag is one of HTML.
func (p *parser) element() *syntax.Node {
	n := p.elementEnd()
	p.next() // >
	return n
}

// elementEnd leaves the last > as the current token.
func (p *parser) elementEnd() *syntax.Node {
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	start := p.start
	p.next()
	fn, html := p.name("jsx", start), true
	if p.kind == tName {
		at := p.start
		p.tagRest()
		first := p.src[at:p.end]
		p.next()
		if c := first[0]; c >= 'A' && c <= 'Z' || p.is(".") || c == '_' {
			fn, html = p.name(first, at), false
		}
		for p.eat(".") {
			fn = p.attribute(fn, at)
		}
		if p.is("<") {
			p.typeArgs()
		}
	}
	var props []*syntax.Node
	for !p.is(">") && !p.is("/") && p.kind != tEOF {
		at := p.start
		switch {
		case p.kind == tName:
			p.tagRest()
			key := p.node(syntax.String, at, p.src[at:p.end])
			p.next()
			props = append(props, key, p.property(at))
		case p.eat("{"): // {...props}
			p.eat("...")
			if !p.is("}") {
				props = append(props, nil, p.assign())
			}
			p.want("}")
		default:
			p.fail("expected a property")
		}
	}
	kids := []*syntax.Node{}
	if p.is("/") {
		p.next()
		if !p.is(">") {
			p.fail("expected >")
		}
	} else {
		kids = p.children()
	}
	if p.broken {
		return p.none()
	}
	p.last = p.end
	if html {
		out := []*syntax.Node{fn}
		if len(props) > 0 {
			out = append(out, p.node(syntax.Dict, start, "", props...))
		}
		return p.node(syntax.Call, start, "", append(out, kids...)...)
	}
	if len(kids) > 0 {
		props = append(props, p.node(syntax.String, start, "children"), p.node(syntax.List, start, "", kids...))
	}
	return p.node(syntax.Call, start, "", fn, p.node(syntax.Dict, start, "", props...))
}

// tagRest lets a name go on over - and :.
func (p *parser) tagRest() {
	i := p.end
	for i < len(p.src) && (identByte[p.src[i]] != 0 || p.src[i] == '-' || p.src[i] == ':') {
		i++
	}
	p.end, p.pos = i, i
}

func (p *parser) property(at int) *syntax.Node {
	if !p.is("=") {
		return p.node(syntax.Constant, at, "True")
	}
	// Strings of JSX know no escapes and may have line ends.
	i := p.end
	for i < len(p.src) && strings.IndexByte(" \t\r\n", p.src[i]) >= 0 {
		i++
	}
	if i < len(p.src) && (p.src[i] == '"' || p.src[i] == '\'') {
		end := strings.IndexByte(p.src[i+1:], p.src[i])
		if end < 0 {
			p.fail("a string that does not end")
			return p.none()
		}
		s := p.src[i+1 : i+1+end]
		p.pos, p.end = i+end+2, i+end+2
		n := p.node(syntax.String, i, s)
		n.End = int32(p.end) //nolint:gosec // files are smaller than 2 GiB
		p.next()
		return n
	}
	p.next()
	if p.is("<") {
		return p.element()
	}
	p.want("{")
	v := p.none()
	if !p.is("}") {
		v = p.assign()
	}
	p.want("}")
	return v
}

// children reads what is between the tags. The current token is the > of the
// first; afterwards it is the > of the second.
func (p *parser) children() []*syntax.Node {
	var kids []*syntax.Node
	if !p.is(">") {
		p.fail("expected >")
	}
	for !p.broken {
		i := p.end
		for i < len(p.src) && p.src[i] != '<' && p.src[i] != '{' {
			i++
		}
		if i >= len(p.src) {
			p.fail("an element that does not end")
			return kids
		}
		p.pos, p.end = i, i
		p.next()
		if p.is("{") {
			p.next()
			if !p.is("}") {
				p.eat("...")
				kids = append(kids, p.expr())
			}
			if !p.is("}") {
				p.fail("expected }")
			}
			continue
		}
		if i+1 < len(p.src) && p.src[p.start] == '<' && strings.HasPrefix(strings.TrimLeft(p.src[p.start+1:min(len(p.src), p.start+64)], " \t\r\n"), "/") {
			p.pos, p.end = p.start+1, p.start+1
			p.next() // /
			p.next()
			for p.kind != tEOF && !p.is(">") {
				if p.kind == tName {
					p.tagRest()
				}
				p.next()
			}
			if !p.is(">") {
				p.fail("an element that does not end")
			}
			return kids
		}
		if !p.is("<") {
			p.fail("expected an element")
			return kids
		}
		kids = append(kids, p.elementEnd())
	}
	return kids
}
