package tokens

import "github.com/modelwarden/warden/internal/source/syntax"

func statementWord(w string) bool {
	switch w {
	case "if", "for", "while", "foreach", "switch", "try", "return", "throw", "do", "when", "using", "lock", "synchronized", "break", "continue",
		"yield", "await", "else", "catch", "finally", "case", "fixed", "unchecked", "checked", "assert", "goto":
		return true
	}
	return false
}

func (p *parser) block() *syntax.Node {
	start := p.start
	if !p.enter() {
		p.skip()
		return p.node(syntax.Block, start, "")
	}
	defer func() { p.depth-- }()
	p.next()
	var body []*syntax.Node
	for !p.is("}") && p.kind != eof {
		at := p.pos
		body = p.statement(body)
		if p.pos == at && p.kind != eof && !p.is("}") {
			p.next()
		}
	}
	p.eat("}")
	return p.node(syntax.Block, start, "", body...)
}

func (p *parser) guard() *syntax.Node {
	if p.is("{") {
		return p.block()
	}
	start := p.start
	return p.node(syntax.Block, start, "", p.statement(nil)...)
}

// bracketed reads (…) as one expression, whatever is in it.
func (p *parser) bracketed() *syntax.Node {
	if !p.is("(") {
		return p.none()
	}
	args := p.arguments(nil)
	if len(args) == 1 && args[0] != nil {
		return args[0]
	}
	return p.node(syntax.Tuple, p.start, "", args...)
}

func (p *parser) statement(out []*syntax.Node) []*syntax.Node {
	if !p.enter() {
		p.skip()
		return out
	}
	defer func() { p.depth-- }()
	start := p.start
	switch {
	case p.is("{"):
		return append(out, p.block())
	case p.is(";"):
		p.next()
		return out
	case p.is("@"):
		p.annotations()
	}
	if p.kind != word {
		return p.simple(out)
	}
	switch p.tok {
	case "if":
		p.next()
		test := p.bracketed()
		yes := p.guard()
		var no *syntax.Node
		if p.eat("else") {
			no = p.guard()
		}
		return append(out, p.node(syntax.If, start, "", test, yes, no))
	case "for", "foreach":
		return p.loop(out)
	case "while", "lock", "synchronized", "fixed":
		p.next()
		test := p.bracketed()
		return append(out, p.node(syntax.While, start, "", test, p.guard(), nil))
	case "do":
		p.next()
		return append(out, p.node(syntax.While, start, "", p.none(), p.guard(), nil))
	case "using":
		p.next()
		p.eat("await")
		if p.is("(") {
			p.next()
			out = p.statement(out)
			p.eat(")")
			return append(out, p.guard())
		}
		return p.statement(out)
	case "try":
		p.next()
		if p.is("(") { // resources
			p.next()
			for !p.is(")") && p.kind != eof && !p.is("{") {
				at := p.pos
				out = p.statement(out)
				if p.pos == at {
					break
				}
			}
			p.eat(")")
		}
		kids := []*syntax.Node{p.guard(), nil, nil}
		for p.word("catch") {
			at := p.start
			p.next()
			if p.is("(") {
				p.skip()
			}
			if p.eat("when") {
				p.bracketed()
			}
			kids = append(kids, p.node(syntax.Handler, at, "", nil, p.guard()))
		}
		if p.eat("finally") {
			kids[2] = p.guard()
		}
		return append(out, p.node(syntax.Try, start, "", kids...))
	case "switch", "when":
		p.next()
		test := p.none()
		if p.is("(") {
			test = p.bracketed()
		}
		return append(out, p.node(syntax.While, start, "", test, p.guard(), nil))
	case "case", "default", "else":
		for p.kind != eof && !p.is(":") && !p.is("->") && !p.is("=>") && !p.is("}") && !p.is(";") && !p.is("{") {
			p.next()
		}
		if !p.eat(":") && !p.eat("->") {
			p.eat("=>")
		}
		return out
	case "return", "throw", "yield":
		raise := p.tok == "throw"
		p.next()
		p.eat("return")
		if p.is("@") { // return@label
			p.next()
			p.next()
		}
		var v *syntax.Node
		if !p.is(";") && !p.is("}") && (!p.kotlin || !p.nl) {
			v = p.expr()
		}
		p.eat(";")
		if raise {
			return append(out, p.node(syntax.Raise, start, "", v, nil))
		}
		return append(out, p.node(syntax.Return, start, "", v))
	case "break", "continue", "goto":
		p.end()
		return out
	case "val":
		if p.kotlin {
			return p.property(out, "", false)
		}
	case "fun":
		if p.kotlin {
			return append(out, p.fun(nil, false))
		}
	case "class", "record", "enum", "interface", "object", "struct":
		s := p.save()
		p.next()
		if p.kind == word || p.is("{") && p.kotlin {
			p.restore(s)
			if n := p.types(nil); n != nil {
				out = append(out, n)
			}
			return out
		}
		p.restore(s)
	case "var":
		if p.kotlin {
			return p.property(out, "", false)
		}
	case "final", "const", "static", "public", "private", "internal", "async":
		p.next()
		return p.statement(out)
	}
	return p.declaration(out)
}

// declaration reads Type name = expr; or an expression.
func (p *parser) declaration(out []*syntax.Node) []*syntax.Node {
	if p.kotlin {
		return p.simple(out)
	}
	s := p.save()
	if p.typ() && p.kind == word && p.tok != "instanceof" && p.tok != "is" && p.tok != "as" && p.tok != "switch" && p.tok != "with" {
		at, name := p.start, p.tok
		p.next()
		switch {
		case p.is("("), p.is("<"): // a local function
			if p.is("<") {
				p.generics()
			}
			params := p.params()
			p.throws()
			return append(out, p.function(at, name, params, nil, false))
		case p.is("="), p.is(";"), p.is(","), p.is(":"), p.is(")"), p.is("["):
			for p.is("[") {
				p.skip()
			}
			for {
				if p.eat("=") {
					out = append(out, p.local(at, p.name(name, at), p.expr()))
				} else {
					out = append(out, p.node(syntax.AnnAssign, at, "", p.name(name, at), nil, nil))
				}
				if !p.eat(",") || p.kind != word {
					break
				}
				at, name = p.start, p.tok
				p.next()
			}
			p.eat(";")
			return out
		}
	}
	p.restore(s)
	return p.simple(out)
}

// simple reads an expression as a statement.
func (p *parser) simple(out []*syntax.Node) []*syntax.Node {
	start := p.start
	v := p.expr()
	p.eat(";")
	if v.Kind == syntax.Walrus {
		return append(out, p.node(syntax.Assign, start, "", v.Kids...))
	}
	return append(out, p.node(syntax.Expr, start, "", v))
}

// loop reads for and foreach.
func (p *parser) loop(out []*syntax.Node) []*syntax.Node {
	start := p.start
	p.next()
	if !p.eat("(") {
		return append(out, p.guard())
	}
	p.eat("final")
	s := p.save()
	if p.kotlin || p.typ() {
		at, name := p.start, p.tok
		p.next()
		if p.kotlin && p.eat(":") {
			p.typ()
		}
		if p.eat(":") || p.eat("in") {
			it := p.expr()
			p.eat(")")
			n := p.node(syntax.For, start, "", p.name(name, at), it, p.guard(), nil)
			n.Flag |= syntax.Declares
			return append(out, n)
		}
	}
	p.restore(s)
	out = p.statement(out)
	for !p.is(")") && p.kind != eof && !p.is("{") {
		at := p.pos
		p.expr()
		p.eat(";")
		if p.pos == at {
			p.next()
		}
	}
	p.eat(")")
	return append(out, p.node(syntax.While, start, "", p.none(), p.guard(), nil))
}
