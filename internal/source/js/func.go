package js

import (
	"strconv"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// nameArrow reads x => … if that is what stands here.
func (p *parser) nameArrow(start int, flag syntax.Flag) *syntax.Node {
	if p.pos >= len(p.src) || p.kind != tName {
		return nil
	}
	i := p.pos
	for i < len(p.src) && (p.src[i] == ' ' || p.src[i] == '\t') {
		i++
	}
	if i+1 >= len(p.src) || p.src[i] != '=' || p.src[i+1] != '>' {
		return nil
	}
	at, name := p.start, p.text
	p.next()
	params := p.node(syntax.Params, at, "", p.node(syntax.Param, at, name, nil, nil))
	return p.arrowBody(start, flag, params, nil)
}

func (p *parser) asyncArrow() *syntax.Node {
	start := p.start
	s := p.mark()
	p.next()
	if !p.nl {
		if n := p.nameArrow(start, syntax.Async); n != nil {
			return n
		}
		if p.is("(") && p.arrowAhead() {
			return p.arrow(start, syntax.Async)
		}
		if p.is("<") && p.ts {
			if n := p.genericArrow(start, syntax.Async); n != nil {
				return n
			}
		}
	}
	p.reset(s)
	return nil
}

// genericArrow reads <T,>(x: T) => … on trial.
func (p *parser) genericArrow(start int, flag syntax.Flag) *syntax.Node {
	if p.jsx { // <T,> or <T extends …: all else is an element
		s := p.mark()
		p.next()
		p.eatWord("const")
		p.next()
		ok := p.is(",") || p.word("extends")
		p.reset(s)
		if !ok {
			return nil
		}
	}
	if !p.try(func() bool { p.typeParams(); return p.is("(") && p.arrowAhead() }) {
		return nil
	}
	return p.arrow(start, flag)
}

// arrowAhead tells whether the bracket here begins the parameters of an arrow
// function. It only scans over tokens.
func (p *parser) arrowAhead() bool {
	s := p.mark()
	defer p.reset(s)
	p.quiet = true
	at := p.start
	p.next()
	switch {
	case p.is(")"), p.is("..."), p.is("{"), p.is("["), p.is("@"):
	case p.kind == tName:
		p.next()
		if p.kind != tPunct {
			return false
		}
		switch p.text {
		case ",", ")", ":", "?", "=":
		default:
			return false
		}
	default:
		return false
	}
	end, ok := p.closing(at)
	if !ok {
		return false
	}
	p.pos, p.end, p.broken = end, end, false
	p.next()
	switch {
	case p.is("=>"):
		return !p.nl
	case p.is(":") && p.ts && s.noColon == 0 && p.budget > 0:
		p.next()
		p.typ()
		return p.is("=>") && !p.broken
	}
	return false
}

// closing returns where the bracket at a place ends. All that are scanned over
// are remembered, so that brackets in brackets cost nothing more.
func (p *parser) closing(at int) (int, bool) {
	if end, ok := p.pairs[at]; ok {
		return end, end > 0
	}
	if p.pairs == nil {
		p.pairs = map[int]int{}
	}
	p.pos, p.end = at, at
	p.next()
	var open []int
	operand := false // what a / behind would divide
	for ; p.kind != tEOF; p.next() {
		switch p.kind {
		case tName:
			operand = p.text != "return" && p.text != "typeof" && p.text != "case"
		case tNumber, tString:
			operand = true
		case tTemplate:
			p.skipTemplate()
			operand = true
		case tPunct:
			switch p.text {
			case "(", "[", "{":
				open = append(open, p.start)
				operand = false
			case ")", "]", "}":
				if len(open) == 0 {
					return 0, false
				}
				p.pairs[open[len(open)-1]] = p.end
				if open = open[:len(open)-1]; len(open) == 0 {
					return p.pairs[at], true
				}
				operand = true
			case "/", "/=":
				if !operand {
					p.regex()
				}
				operand = !operand
			default:
				operand = false
			}
		default:
		}
		if p.budget <= 0 {
			break
		}
	}
	for _, o := range open {
		p.pairs[o] = 0
	}
	return 0, false
}

// skipTemplate reads over a template without what is in it.
func (p *parser) skipTemplate() {
	depth := 0
	for i := p.end; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '\\':
			i++
		case c == '$' && i+1 < len(p.src) && p.src[i+1] == '{':
			depth++
			i++
		case c == '{' && depth > 0:
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '`' && depth == 0:
			p.pos, p.end = i+1, i+1
			return
		}
	}
	p.pos, p.end = len(p.src), len(p.src)
}

func (p *parser) arrow(start int, flag syntax.Flag) *syntax.Node {
	params, before := p.params()
	if p.is(":") {
		p.next()
		p.typ()
	}
	return p.arrowBody(start, flag, params, before)
}

func (p *parser) arrowBody(start int, flag syntax.Flag, params *syntax.Node, before []*syntax.Node) *syntax.Node {
	p.want("=>")
	noColon := p.noColon
	var body *syntax.Node
	if p.is("{") {
		body = p.functionBody(before)
	} else {
		at := p.start
		body = p.assign()
		if len(before) > 0 {
			before = append(before, p.node(syntax.Return, at, "", body))
			body = p.node(syntax.Block, at, "", before...)
		}
	}
	p.noColon = noColon
	n := p.node(syntax.Lambda, start, "", params, body)
	n.Flag |= flag
	return n
}

// params reads parameters in brackets. Patterns get a name, and statements that
// take them apart.
func (p *parser) params() (params *syntax.Node, before []*syntax.Node) {
	start := p.start
	noIn, noColon := p.noIn, p.noColon
	p.noIn, p.noColon = false, 0
	p.want("(")
	var kids []*syntax.Node
	for !p.is(")") && p.kind != tEOF {
		if p.is("@") {
			p.decorators()
		}
		property := p.modifiers()
		at := p.start
		flag := syntax.Flag(0)
		if p.eat("...") {
			flag = syntax.OneStar
		}
		if p.kind == tName {
			name := p.text
			p.next()
			p.annotation()
			var def *syntax.Node
			if p.eat("=") {
				def = p.assign()
			}
			if name != "this" {
				k := p.node(syntax.Param, at, name, nil, def)
				k.Flag |= flag
				kids = append(kids, k)
			}
			if property {
				before = append(before, p.node(syntax.Assign, at, "", p.node(syntax.Attr, at, name, p.name("this", at)), p.name(name, at)))
			}
		} else {
			name := "(" + strconv.Itoa(len(kids)) + ")"
			pat := p.pattern()
			p.annotation()
			var def *syntax.Node
			if p.eat("=") {
				def = p.assign()
			}
			k := p.node(syntax.Param, at, name, nil, def)
			k.Flag |= flag
			kids = append(kids, k)
			before = append(before, p.local(at, pat, p.name(name, at)))
		}
		if !p.eat(",") {
			break
		}
	}
	p.want(")")
	p.noIn, p.noColon = noIn, noColon
	return p.node(syntax.Params, start, "", kids...), before
}

// modifiers reads private, readonly and the like of a parameter.
func (p *parser) modifiers() bool {
	found := false
	for p.ts && p.kind == tName {
		switch p.text {
		case "public", "private", "protected", "readonly", "override":
		default:
			return found
		}
		s := p.mark()
		p.next()
		if p.kind != tName && !p.is("{") && !p.is("[") {
			p.reset(s)
			return found
		}
		found = true
	}
	return found
}

// annotation reads over ?: T.
func (p *parser) annotation() {
	if p.is("?") || p.is("!") {
		p.next()
	}
	if p.is(":") {
		p.next()
		p.typ()
	}
}

// local is a declaration.
func (p *parser) local(start int, target, value *syntax.Node) *syntax.Node {
	n := p.node(syntax.Assign, start, "", target, value)
	n.Flag |= syntax.Declares
	return n
}

// pattern reads what a declaration binds.
func (p *parser) pattern() *syntax.Node {
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	start := p.start
	switch {
	case p.kind == tName:
		s := p.text
		p.next()
		return p.name(s, start)
	case p.is("{"):
		p.next()
		var kids []*syntax.Node
		for !p.is("}") && p.kind != tEOF {
			if p.eat("...") {
				kids = append(kids, nil, p.pattern())
			} else {
				at, plain, text := p.start, p.kind == tName, p.text
				k := p.key()
				var v *syntax.Node
				switch {
				case p.eat(":"):
					v = p.pattern()
				case plain:
					v = p.name(text, at)
				default:
					p.fail("expected :")
					return p.none()
				}
				kids = append(kids, k, p.defaulted(at, v))
			}
			if !p.eat(",") {
				break
			}
		}
		p.want("}")
		return p.node(syntax.Dict, start, "", kids...)
	case p.is("["):
		p.next()
		var kids []*syntax.Node
		for !p.is("]") && p.kind != tEOF {
			at := p.start
			switch {
			case p.is(","):
				kids = append(kids, p.none())
			case p.eat("..."):
				kids = append(kids, p.node(syntax.Star, at, "", p.pattern()))
			default:
				kids = append(kids, p.defaulted(at, p.pattern()))
			}
			if !p.eat(",") {
				break
			}
		}
		p.want("]")
		return p.node(syntax.List, start, "", kids...)
	}
	p.fail("expected a name or a pattern")
	return p.none()
}

func (p *parser) defaulted(start int, n *syntax.Node) *syntax.Node {
	if !p.eat("=") {
		return n
	}
	return p.node(syntax.Walrus, start, "", n, p.assign())
}

// function reads function …; as a statement it is a Func, else a Lambda.
func (p *parser) function(start int, flag syntax.Flag, statement bool) *syntax.Node {
	p.next()
	p.eat("*")
	name := ""
	if p.kind == tName {
		name = p.text
		p.next()
	}
	if p.is("<") {
		p.typeParams()
	}
	params, pro := p.params()
	p.annotation()
	if !p.is("{") { // an overload, or a declaration
		if statement && p.ts {
			p.semicolon()
			return nil
		}
		p.fail("expected {")
		return p.none()
	}
	body := p.functionBody(pro)
	if !statement {
		n := p.node(syntax.Lambda, start, "", params, body)
		n.Flag |= flag
		return n
	}
	if name == "" {
		name = "default"
	}
	n := p.node(syntax.Func, start, name, params, nil, nil, body)
	n.Flag |= flag
	return n
}

// method reads (…) {…} of an object or class.
func (p *parser) method(start int, flag syntax.Flag) *syntax.Node {
	if p.is("<") {
		p.typeParams()
	}
	params, before := p.params()
	p.annotation()
	if !p.is("{") {
		return nil
	}
	n := p.node(syntax.Lambda, start, "", params, p.functionBody(before))
	n.Flag |= flag
	return n
}

func (p *parser) functionBody(before []*syntax.Node) *syntax.Node {
	breaks, noIn, noColon := p.breaks, p.noIn, p.noColon
	p.breaks, p.noIn, p.noColon = nil, false, 0
	b := p.block(before)
	p.breaks, p.noIn, p.noColon = breaks, noIn, noColon
	return b
}
