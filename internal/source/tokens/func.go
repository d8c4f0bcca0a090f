package tokens

import "github.com/modelwarden/warden/internal/source/syntax"

// function reads the body of a function: a block, = expr, => expr.
func (p *parser) function(start int, name string, params *syntax.Node, decs []*syntax.Node, static bool) *syntax.Node {
	at := p.start
	var body []*syntax.Node
	switch {
	case p.is("{"):
		body = append(body, p.block().Kids...)
	case p.eat("="), p.eat("=>"):
		v := p.expr()
		body = append(body, p.node(syntax.Return, at, "", v))
		p.eat(";")
	default:
		p.end()
	}
	if static {
		decs = append([]*syntax.Node{p.name("classmethod", start)}, decs...) // what the others get is the function
	}
	f := p.node(syntax.Func, start, name, append([]*syntax.Node{params, nil, nil, p.node(syntax.Block, at, "", body...)}, decs...)...)
	if static {
		f.Flag |= syntax.Static
	}
	f.Flag |= syntax.Exported | syntax.Partial
	return f
}

// fun reads a function of Kotlin.
func (p *parser) fun(decs []*syntax.Node, static bool) *syntax.Node {
	start := p.start
	p.next()
	if p.is("<") {
		p.generics()
	}
	name := ""
	for p.kind == word {
		name = p.tok
		p.next()
		if p.is("<") {
			p.generics()
		}
		p.eat("?")
		if !p.eat(".") {
			break
		}
	}
	params := p.params()
	if p.eat(":") {
		p.typ()
	}
	return p.function(start, name, params, decs, static)
}

// property reads val x: T = …, by lazy {…}, get() = ….
func (p *parser) property(out []*syntax.Node, value string, valued bool) []*syntax.Node {
	p.next()
	if p.is("<") {
		p.generics()
	}
	at, name := p.start, p.tok
	if p.is("(") { // a pattern
		p.skip()
		if p.eat("=") {
			out = append(out, p.node(syntax.Expr, at, "", p.expr()))
		}
		return out
	}
	p.next()
	for p.eat(".") { // of an extension
		name = p.tok
		p.next()
	}
	if p.eat(":") {
		p.typ()
	}
	switch {
	case p.eat("="):
		return append(out, p.local(at, p.name(name, at), p.expr()))
	case p.eat("by"):
		v := p.expr()
		if v.Kind == syntax.Call && len(v.Kids) == 2 && v.Kids[1] != nil && v.Kids[1].Kind == syntax.Lambda { // lazy {…}
			v = p.node(syntax.Call, at, "", v.Kids[1])
		}
		return append(out, p.local(at, p.name(name, at), v))
	case p.word("get"):
		p.next()
		if p.is("(") {
			p.skip()
		}
		if p.eat(":") {
			p.typ()
		}
		if p.eat("=") {
			return append(out, p.local(at, p.name(name, at), p.expr()))
		}
		if p.is("{") {
			p.block()
		}
	case valued:
		return append(out, p.local(at, p.name(name, at), p.placeholder(value, at)))
	}
	return append(out, p.node(syntax.AnnAssign, at, "", p.name(name, at), nil, nil))
}

// params reads (Type a, b: Type = c).
func (p *parser) params() *syntax.Node {
	start := p.start
	if !p.eat("(") {
		return p.node(syntax.Params, start, "")
	}
	var kids []*syntax.Node
	for !p.is(")") && p.kind != eof {
		_, value, valued := p.annotations()
		for p.kind == word && (modifier(p.tok) || p.kotlin && (p.tok == "val" || p.tok == "var")) {
			p.next()
			if _, v, ok := p.annotations(); ok {
				value, valued = v, true
			}
		}
		if !p.kotlin {
			p.typ()
			p.eat("...")
		}
		at, name := p.start, p.tok
		if p.kotlin {
			p.next()
			if p.eat(":") {
				p.typ()
			}
		} else {
			if p.kind == word {
				p.next()
			}
			for p.is("[") {
				p.skip()
			}
		}
		var def *syntax.Node
		if p.eat("=") {
			def = p.expr()
		} else if valued {
			def = p.placeholder(value, at)
		}
		if name != "" && identStart(name[0]) {
			kids = append(kids, p.node(syntax.Param, at, name, nil, def))
		}
		if !p.eat(",") {
			for p.kind != eof && !p.is(")") && !p.is("{") && !p.is(";") {
				p.next()
			}
			break
		}
	}
	p.eat(")")
	return p.node(syntax.Params, start, "", kids...)
}

type saved struct {
	kind             kind
	tok              string
	start, pos, last int
	nl               bool
	steps            int
}

func (p *parser) save() saved { return saved{p.kind, p.tok, p.start, p.pos, p.last, p.nl, p.steps} }

func (p *parser) restore(s saved) {
	p.wasted += p.steps - s.steps
	p.kind, p.tok, p.start, p.pos, p.last, p.nl = s.kind, s.tok, s.start, s.pos, s.last, s.nl
	if p.wasted > 8*len(p.src)+1<<16 {
		p.cut = true
		p.kind, p.tok, p.pos = eof, "", len(p.src)
		return
	}
	if p.kind == text { // its pieces are gone
		p.pos = s.start
		p.next()
		p.last, p.nl = s.last, s.nl
	}
}

// generics reads over <…>.
func (p *parser) generics() bool {
	depth := 0
	for i := 0; p.kind != eof && i < 400; i++ {
		switch {
		case p.is("<"):
			depth++
		case p.is(">"):
			if depth--; depth == 0 {
				p.next()
				return true
			}
		case p.is(";"), p.is("{"), p.is("}"), p.kind == text, p.is("&&"), p.is("||"), p.is("="), p.kind == number, p.is(")") || p.is("==") || p.is("+"):
			return false
		case p.is("("):
			p.skip()
			continue
		}
		p.next()
	}
	return false
}

// typ reads over a type; false if there is none.
func (p *parser) typ() bool {
	if p.is("(") { // a function type, or a tuple
		p.skip()
		if p.eat("->") {
			return p.typ()
		}
		p.eat("?")
		return true
	}
	if p.kind != word || p.tok == "return" || p.tok == "new" || p.tok == "throw" || p.tok == "await" || p.tok == "else" {
		return false
	}
	for p.kind == word {
		p.next()
		if p.is("@") {
			p.annotations()
		}
		if p.is("<") && !p.generics() {
			return false
		}
		if !p.is(".") {
			break
		}
		p.next()
	}
	for {
		switch {
		case p.is("["):
			s := p.save()
			p.next()
			for p.is(",") {
				p.next()
			}
			if !p.is("]") {
				p.restore(s)
				return true
			}
			p.next()
		case p.is("?"), p.is("*"), p.is("..."):
			p.next()
		default:
			return true
		}
	}
}
