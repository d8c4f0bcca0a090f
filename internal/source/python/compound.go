package python

import "github.com/modelwarden/warden/internal/source/syntax"

// compound reads a compound statement. It returns nil, and reads nothing, if
// there is none.
func (p *parser) compound() *syntax.Node {
	start := p.start()
	switch p.kind {
	case tIf:
		return p.ifs()
	case tFor:
		return p.fors(start, 0)
	case tWhile:
		p.next()
		test := p.named()
		body := p.block()
		return p.trim(p.node(syntax.While, start, "", test, body, p.orElse()))
	case tTry:
		return p.try()
	case tWith:
		return p.with(start, 0)
	case tDef:
		return p.def(start, 0, len(p.stack))
	case tClass:
		return p.class(len(p.stack))
	case tAt:
		return p.decorated()
	case tAsync:
		switch p.peek(1) {
		case tDef:
			p.next()
			return p.def(start, syntax.Async, len(p.stack))
		case tFor:
			p.next()
			return p.fors(start, syntax.Async)
		case tWith:
			p.next()
			return p.with(start, syntax.Async)
		default:
		}
	case tName:
		if p.text() == "match" && p.isMatch() {
			return p.match()
		}
	default:
	}
	return nil
}

// trim lets a statement end where its last block ends, not where its last
// token stands.
func (p *parser) trim(n *syntax.Node) *syntax.Node {
	n.End = max(p.last, n.Start)
	return n
}

// ifs reads if with all its elif: without recursion, since they may be many.
func (p *parser) ifs() *syntax.Node {
	mark := len(p.stack)
	for {
		head := p.start()
		p.next()
		test := p.named()
		body := p.block()
		p.push(p.trim(p.node(syntax.If, head, "", test, body, nil)))
		if p.kind != tElif {
			break
		}
	}
	tail := p.orElse()
	arms := p.stack[mark:]
	p.stack = p.stack[:mark]
	for i := len(arms) - 1; ; i-- {
		n := arms[i]
		p.trim(n)
		if tail != nil && !p.failed {
			n.Kids[2] = tail
			p.measure(n)
		}
		if i == 0 || p.failed {
			return arms[0]
		}
		tail = p.node(syntax.Block, n.Start, "", n)
		tail.End = n.End
	}
}

// orElse reads an else block if there is one.
func (p *parser) orElse() *syntax.Node {
	if p.accept(tElse) {
		return p.block()
	}
	return nil
}

func (p *parser) fors(start int32, flag syntax.Flag) *syntax.Node {
	p.next()
	target := p.targets()
	p.expect(tIn)
	iter := p.starExprs()
	body := p.block()
	n := p.trim(p.node(syntax.For, start, "", target, iter, body, p.orElse()))
	n.Flag = flag
	return n
}

// targets reads what for assigns to.
func (p *parser) targets() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	for {
		p.push(p.target())
		if p.kind != tComma {
			break
		}
		p.next()
		if p.kind == tIn || p.kind == tAssign {
			return p.take(syntax.Tuple, start, "", mark)
		}
	}
	if len(p.stack) == mark+1 {
		n := p.stack[mark]
		p.stack = p.stack[:mark]
		return n
	}
	return p.take(syntax.Tuple, start, "", mark)
}

func (p *parser) target() *syntax.Node {
	if start := p.start(); p.accept(tStar) {
		v := p.binary(precBitOr)
		return p.node(syntax.Star, start, "", v)
	}
	return p.binary(precBitOr)
}

func (p *parser) try() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	p.next()
	body := p.block()
	p.push(body)
	p.push(nil)
	p.push(nil)
	flag := syntax.Flag(0)
	for p.kind == tExcept {
		at := p.start()
		p.next()
		if p.accept(tStar) {
			flag = syntax.OneStar
		}
		var typ *syntax.Node
		name := ""
		if p.kind != tColon {
			typ = p.exceptTypes()
			if p.accept(tAs) {
				name = p.ident()
			}
		}
		block := p.block()
		p.push(p.trim(p.node(syntax.Handler, at, name, typ, block)))
	}
	if len(p.stack) > mark+3 {
		p.stack[mark+1] = p.orElse()
	}
	if p.accept(tFinally) {
		p.stack[mark+2] = p.block()
	} else if len(p.stack) == mark+3 {
		p.fail(int(start), int(start), nil, "try without except or finally")
	}
	n := p.take(syntax.Try, start, "", mark)
	n.Flag = flag
	return p.trim(n)
}

// exceptTypes reads the types of a handler. Several without brackets are those
// of Python 3.14; Python 2 means the second one as the name of the exception.
func (p *parser) exceptTypes() *syntax.Node {
	start := p.start()
	typ := p.expr()
	if p.kind != tComma {
		return typ
	}
	mark := len(p.stack)
	p.push(typ)
	for p.accept(tComma) {
		p.push(p.expr())
	}
	return p.take(syntax.Tuple, start, "", mark)
}

func (p *parser) with(start int32, flag syntax.Flag) *syntax.Node {
	p.next()
	mark := len(p.stack)
	p.push(nil)
	if !p.parenthesisedItems() {
		p.withItems(tColon)
	}
	body := p.block()
	p.stack[mark] = body
	n := p.take(syntax.With, start, "", mark)
	n.Flag = flag
	return p.trim(n)
}

// parenthesisedItems reads with (a as b, c as d): the form of Python 3.9, if
// that is what stands here and not just an expression in brackets.
func (p *parser) parenthesisedItems() bool {
	if p.kind != tLParen {
		return false
	}
	// Look for the bracket that closes: ":" must follow, and inside there must
	// be a comma or "as" at the top level and no "for", which would make it a
	// tuple's brother.
	depth, as, comma := 0, false, false
	i := p.i
scan:
	for ; i < len(p.toks); i++ {
		switch p.toks[i].kind {
		case tLParen, tLBracket, tLBrace, tFStart:
			depth++
		case tRParen, tRBracket, tRBrace, tFEnd:
			depth--
			if depth == 0 {
				break scan
			}
		case tAs:
			as = as || depth == 1
		case tComma:
			comma = comma || depth == 1
		case tFor, tWalrus, tYield:
			if depth == 1 {
				return false
			}
		case tNewline, tEOF, tError:
			return false
		default:
		}
	}
	if i+1 >= len(p.toks) || p.toks[i+1].kind != tColon || !as && !comma {
		return false
	}
	p.next()
	p.withItems(tRParen)
	p.expect(tRParen)
	return true
}

func (p *parser) withItems(end tok) {
	for {
		start := p.start()
		var value *syntax.Node
		if p.kind == tStar {
			value = p.starOr(p.expr)
		} else {
			value = p.expr()
		}
		if p.accept(tAs) {
			target := p.target()
			p.push(p.node(syntax.WithItem, start, "", value, target))
		} else {
			p.push(p.node(syntax.WithItem, start, "", value))
		}
		if !p.accept(tComma) || p.kind == end {
			return
		}
	}
}

func (p *parser) decorated() *syntax.Node {
	mark := len(p.stack)
	for p.accept(tAt) {
		p.push(p.named())
		p.expect(tNewline)
	}
	start := p.start()
	switch {
	case p.kind == tDef:
		return p.def(start, 0, mark)
	case p.kind == tClass:
		return p.class(mark)
	case p.kind == tAsync && p.peek(1) == tDef:
		p.next()
		return p.def(start, syntax.Async, mark)
	}
	return p.unexpected("def or class")
}

// def reads a function whose decorators are on the stack from mark.
func (p *parser) def(start int32, flag syntax.Flag, mark int) *syntax.Node {
	p.next()
	name := p.ident()
	generic := p.typeParams()
	p.expect(tLParen)
	params := p.params(tRParen)
	p.expect(tRParen)
	var returns *syntax.Node
	if p.accept(tArrow) {
		returns = p.starExprs()
	}
	body := p.block()
	n := p.headed(syntax.Func, start, name, mark, params, returns, generic, body)
	n.Flag = flag
	return p.trim(n)
}

// headed makes a node of kids and the decorators from mark.
func (p *parser) headed(k syntax.Kind, start int32, name string, mark int, kids ...*syntax.Node) *syntax.Node {
	decorators := len(p.stack) - mark
	for _, kid := range kids {
		p.push(kid)
	}
	all := p.stack[mark:]
	if decorators > 0 {
		moved := append(append(make([]*syntax.Node, 0, len(all)), kids...), all[:decorators]...)
		copy(all, moved)
	}
	return p.take(k, start, name, mark)
}

func (p *parser) class(mark int) *syntax.Node {
	start := p.start()
	p.next()
	name := p.ident()
	generic := p.typeParams()
	at := p.start()
	var args *syntax.Node
	if p.accept(tLParen) {
		from := len(p.stack)
		p.args(at)
		p.expect(tRParen)
		args = p.take(syntax.Args, at, "", from)
	} else {
		args = p.node(syntax.Args, at, "")
		args.End = at
	}
	body := p.block()
	n := p.headed(syntax.Class, start, name, mark, generic, args, body)
	return p.trim(n)
}

// typeParams reads [T, *Ts, **P] if it stands here.
func (p *parser) typeParams() *syntax.Node {
	start := p.start()
	if !p.accept(tLBracket) {
		return nil
	}
	mark := len(p.stack)
	for p.kind != tRBracket && !p.failed {
		at, flag := p.start(), syntax.Flag(0)
		switch {
		case p.accept(tStar):
			flag = syntax.OneStar
		case p.accept(tStarStar):
			flag = syntax.TwoStars
		}
		name := p.ident()
		var bound, def *syntax.Node
		if p.accept(tColon) {
			bound = p.expr()
		}
		if p.accept(tAssign) {
			def = p.starOr(p.expr)
		}
		n := p.node(syntax.TypeParam, at, name, bound, def)
		n.Flag = flag
		p.push(n)
		if !p.accept(tComma) {
			break
		}
	}
	p.expect(tRBracket)
	return p.take(syntax.TypeParams, start, "", mark)
}

// params reads the parameters of a function or, up to ":", of a lambda.
func (p *parser) params(end tok) *syntax.Node {
	start, mark := p.start(), len(p.stack)
	flag := syntax.Flag(0)
	for p.kind != end && !p.failed {
		at := p.start()
		switch {
		case p.accept(tSlash):
			for _, n := range p.stack[mark:] {
				n.Flag |= syntax.PosOnly
			}
		case p.accept(tStar):
			flag = syntax.KwOnly
			if p.kind != tComma {
				p.push(p.param(at, end, syntax.OneStar))
			}
		case p.accept(tStarStar):
			p.push(p.param(at, end, syntax.TwoStars))
		case p.kind == tLParen:
			p.python2 = true // def f(a, (b, c)):
			t := p.atom()
			p.push(p.node(syntax.Param, at, "", nil, t))
		default:
			p.push(p.param(at, end, flag))
		}
		if !p.accept(tComma) {
			break
		}
	}
	n := p.take(syntax.Params, start, "", mark)
	return n
}

func (p *parser) param(start int32, end tok, flag syntax.Flag) *syntax.Node {
	nameAt := p.start()
	name := p.ident()
	var annotation, def *syntax.Node
	if end == tRParen && p.accept(tColon) {
		annotation = p.starOr(p.expr)
	}
	if flag&(syntax.OneStar|syntax.TwoStars) == 0 && p.accept(tAssign) {
		def = p.expr()
	}
	if flag&(syntax.OneStar|syntax.TwoStars) != 0 {
		start = nameAt
	}
	n := p.node(syntax.Param, start, name, annotation, def)
	n.Flag = flag
	return n
}
