package python

import "github.com/modelwarden/warden/internal/source/syntax"

// How tightly operators bind.
const (
	precOr = iota + 1
	precAnd
	precNot
	precCompare
	precBitOr
	precBitXor
	precBitAnd
	precShift
	precSum
	precProduct
	precUnary
	precPower
)

// precedence is that of the operators between two operands.
var precedence = [numToks]uint8{
	tOr: precOr, tAnd: precAnd, tNot: precCompare, tIn: precCompare, tIs: precCompare,
	tLess: precCompare, tGreater: precCompare, tEq: precCompare, tNe: precCompare, tLe: precCompare, tGe: precCompare,
	tPipe: precBitOr, tCaret: precBitXor, tAmp: precBitAnd, tShl: precShift, tShr: precShift,
	tPlus: precSum, tMinus: precSum, tStar: precProduct, tSlash: precProduct, tSlashSlash: precProduct,
	tPercent: precProduct, tAt: precProduct, tStarStar: precPower,
}

// expr reads an expression without assignment: "a if b else c" or a lambda.
func (p *parser) expr() *syntax.Node {
	if !p.enter() {
		p.exit()
		return p.bad()
	}
	defer p.exit()
	start := p.start()
	if p.kind == tLambda {
		return p.lambda()
	}
	then := p.binary(precOr)
	if p.kind != tIf {
		return then
	}
	p.next()
	test := p.binary(precOr)
	p.expect(tElse)
	other := p.expr()
	return p.node(syntax.IfExp, start, "", test, then, other)
}

func (p *parser) lambda() *syntax.Node {
	start := p.start()
	p.next()
	params := p.params(tColon)
	p.expect(tColon)
	body := p.expr()
	return p.node(syntax.Lambda, start, "", params, body)
}

// named reads an expression that may be name := value.
func (p *parser) named() *syntax.Node {
	if p.kind != tName || p.peek(1) != tWalrus {
		return p.expr()
	}
	target := p.name()
	p.next()
	value := p.expr()
	return p.node(syntax.Walrus, target.Start, "", target, value)
}

// starOr reads *x, or else what or reads.
func (p *parser) starOr(or func() *syntax.Node) *syntax.Node {
	start := p.start()
	if p.accept(tStar) {
		v := p.binary(precBitOr)
		return p.node(syntax.Star, start, "", v)
	}
	return or()
}

// starExprs reads a, *b, c: a tuple if there is a comma.
func (p *parser) starExprs() *syntax.Node {
	start := p.start()
	var first *syntax.Node
	if p.kind == tStar {
		first = p.starOr(p.expr)
	} else {
		first = p.expr()
	}
	if p.kind != tComma {
		return first
	}
	mark := len(p.stack)
	p.push(first)
	for p.accept(tComma) {
		if p.endsExprs() {
			break
		}
		if p.kind == tStar {
			p.push(p.starOr(p.expr))
		} else {
			p.push(p.expr())
		}
	}
	return p.take(syntax.Tuple, start, "", mark)
}

// endsExprs reports whether a list of expressions ends after its last comma.
func (p *parser) endsExprs() bool {
	switch p.kind {
	case tNewline, tSemi, tEOF, tError, tAssign, tAugAssign, tColon, tRParen, tRBracket, tRBrace, tIn, tFColon, tFBang:
		return true
	default:
		return false
	}
}

func (p *parser) yield() *syntax.Node {
	start := p.start()
	p.next()
	if p.accept(tFrom) {
		v := p.expr()
		return p.node(syntax.YieldFrom, start, "", v)
	}
	if p.endsExprs() {
		return p.node(syntax.Yield, start, "")
	}
	v := p.starExprs()
	return p.node(syntax.Yield, start, "", v)
}

// binary reads operators that bind at least as tightly as least.
func (p *parser) binary(least uint8) *syntax.Node {
	start := p.start()
	left := p.unary(least)
	for {
		op := p.kind
		prec := precedence[op]
		if prec < least || prec == 0 {
			return left
		}
		switch prec {
		case precOr, precAnd:
			mark := len(p.stack)
			p.push(left)
			for p.accept(op) {
				p.push(p.binary(prec + 1))
			}
			left = p.take(syntax.Bool, start, spelling[op], mark)
		case precCompare:
			if op == tNot && p.peek(1) != tIn {
				return left
			}
			left = p.compare(start, left)
		case precPower:
			p.next()
			right := p.binary(precUnary)
			left = p.node(syntax.Binary, start, "**", left, right)
		default:
			p.next()
			right := p.binary(prec + 1)
			left = p.node(syntax.Binary, start, spelling[op], left, right)
		}
	}
}

// compare reads a < b <= c as one node.
func (p *parser) compare(start int32, left *syntax.Node) *syntax.Node {
	mark := len(p.stack)
	p.push(left)
	ops := ""
	for precedence[p.kind] == precCompare && (p.kind != tNot || p.peek(1) == tIn) {
		op := spelling[p.kind]
		switch p.kind {
		case tNot:
			p.next()
			op = "not in"
		case tIs:
			if p.peek(1) == tNot {
				p.next()
				op = "is not"
			}
		default:
		}
		p.next()
		p.push(p.binary(precBitOr))
		if ops == "" {
			ops = op
			continue
		}
		if len(p.stack)-mark > 64 { // names of operators would grow with the square
			p.unexpected("fewer comparisons in a row")
			break
		}
		ops += "," + op
	}
	return p.take(syntax.Compare, start, ops, mark)
}

// unary reads an operand and the operators in front of it.
func (p *parser) unary(least uint8) *syntax.Node {
	start, op := p.start(), p.kind
	switch op {
	case tNot:
		if least > precNot {
			return p.unexpected("an operand")
		}
	case tPlus, tMinus, tTilde:
	default:
		return p.primary()
	}
	if !p.enter() {
		p.exit()
		return p.bad()
	}
	p.next()
	inner := uint8(precUnary)
	if op == tNot {
		inner = precNot
	}
	v := p.binary(inner)
	p.exit()
	return p.node(syntax.Unary, start, spelling[op], v)
}

// primary reads an atom and what is called on it.
func (p *parser) primary() *syntax.Node {
	start := p.start()
	if p.kind == tAwait {
		if !p.enter() {
			p.exit()
			return p.bad()
		}
		p.next()
		v := p.primary()
		p.exit()
		return p.node(syntax.Await, start, "", v)
	}
	n := p.atom()
	for {
		switch p.kind {
		case tDot:
			p.next()
			attr := p.ident()
			n = p.node(syntax.Attr, start, attr, n)
		case tLParen:
			at := p.start()
			p.next()
			mark := len(p.stack)
			p.push(n)
			p.args(at)
			p.expect(tRParen)
			// A generator alone takes the brackets of the call as its own.
			if len(p.stack) == mark+2 && p.stack[mark+1].Kind == syntax.Generator && p.stack[mark+1].Start == at {
				p.stack[mark+1].End = p.end
			}
			n = p.take(syntax.Call, start, "", mark)
		case tLBracket:
			p.next()
			index := p.index()
			p.expect(tRBracket)
			n = p.node(syntax.Subscript, start, "", n, index)
		default:
			return n
		}
	}
}

// args pushes the arguments of a call whose bracket is at open.
func (p *parser) args(open int32) {
	if !p.enter() {
		p.exit()
		return
	}
	first := true
	for p.kind != tRParen && !p.failed {
		start := p.start()
		switch {
		case p.accept(tStar):
			v := p.expr()
			p.push(p.node(syntax.Star, start, "", v))
		case p.accept(tStarStar):
			v := p.expr()
			p.push(p.node(syntax.Keyword, start, "", v))
		case p.kind == tName && p.peek(1) == tAssign:
			name := p.ident()
			p.next()
			v := p.expr()
			p.push(p.node(syntax.Keyword, start, name, v))
		default:
			v := p.named()
			if p.kind == tFor || p.kind == tAsync {
				if first {
					start = open
				}
				v = p.comprehension(syntax.Generator, start, v)
			}
			p.push(v)
		}
		first = false
		if !p.accept(tComma) {
			break
		}
	}
	p.exit()
}

// index reads what stands in the brackets of a subscript.
func (p *parser) index() *syntax.Node {
	start := p.start()
	if !p.enter() {
		p.exit()
		return p.bad()
	}
	defer p.exit()
	first := p.slice()
	if p.kind != tComma {
		if first.Kind == syntax.Star { // x[*a] is x[(*a,)]
			return p.node(syntax.Tuple, start, "", first)
		}
		return first
	}
	mark := len(p.stack)
	p.push(first)
	for p.accept(tComma) {
		if p.kind == tRBracket {
			break
		}
		p.push(p.slice())
	}
	return p.take(syntax.Tuple, start, "", mark)
}

func (p *parser) slice() *syntax.Node {
	start := p.start()
	if p.kind == tStar {
		return p.starOr(p.expr)
	}
	var part [3]*syntax.Node
	i := 0
	if p.kind != tColon {
		part[0] = p.named()
		if p.kind != tColon {
			return part[0]
		}
	}
	for i < 2 && p.accept(tColon) {
		i++
		if p.kind != tColon && p.kind != tComma && p.kind != tRBracket {
			part[i] = p.expr()
		}
	}
	return p.node(syntax.Slice, start, "", part[:]...)
}

// comprehension reads the for clauses behind an element that is given.
func (p *parser) comprehension(k syntax.Kind, start int32, elements ...*syntax.Node) *syntax.Node {
	mark := len(p.stack)
	for _, e := range elements {
		p.push(e)
	}
	for p.kind == tFor || p.kind == tAsync && p.peek(1) == tFor {
		at := p.start()
		flag := syntax.Flag(0)
		if p.accept(tAsync) {
			flag = syntax.Async
		}
		p.next()
		from := len(p.stack)
		p.push(p.targets())
		p.expect(tIn)
		p.push(p.binary(precOr))
		for p.accept(tIf) {
			if p.kind == tLambda {
				p.push(p.lambda())
			} else {
				p.push(p.namedCondition())
			}
		}
		c := p.take(syntax.Comp, at, "", from)
		c.Flag = flag
		p.push(c)
	}
	if p.kind == tAsync {
		p.unexpected("for")
	}
	return p.take(k, start, "", mark)
}

// namedCondition reads a condition of a comprehension.
func (p *parser) namedCondition() *syntax.Node {
	if p.kind == tName && p.peek(1) == tWalrus {
		return p.named()
	}
	return p.binary(precOr)
}

// atom reads a name, a literal or something in brackets.
func (p *parser) atom() *syntax.Node {
	start := p.start()
	switch p.kind {
	case tName:
		return p.name()
	case tNumber:
		text := p.text()
		p.next()
		return p.node(syntax.Number, start, text)
	case tString, tFStart:
		return p.strings()
	case tNone, tTrue, tFalse, tEllipsis:
		text := spelling[p.kind]
		p.next()
		return p.node(syntax.Constant, start, text)
	case tLParen, tLBracket, tLBrace, tBackquote:
		if !p.enter() {
			p.exit()
			return p.bad()
		}
		defer p.exit()
	default:
		return p.unexpected("an expression")
	}
	switch p.kind {
	case tLParen:
		return p.parens()
	case tLBracket:
		return p.brackets()
	case tLBrace:
		return p.braces()
	default:
		p.next()
		v := p.starExprs()
		p.expect(tBackquote)
		return p.node(syntax.Repr, start, "", v)
	}
}

// parens reads (…): a tuple, a generator, or just an expression.
func (p *parser) parens() *syntax.Node {
	start := p.start()
	p.next()
	if p.accept(tRParen) {
		return p.node(syntax.Tuple, start, "")
	}
	if p.kind == tYield {
		v := p.yield()
		p.expect(tRParen)
		return v
	}
	first := p.starOr(p.named)
	switch p.kind {
	case tFor, tAsync:
		n := p.comprehension(syntax.Generator, start, first)
		p.expect(tRParen)
		n.End = p.end
		return n
	case tComma:
		mark := len(p.stack)
		p.push(first)
		p.elements(tRParen)
		p.expect(tRParen)
		return p.take(syntax.Tuple, start, "", mark)
	default:
		p.expect(tRParen)
		return first
	}
}

// elements pushes what follows the first one, up to a bracket.
func (p *parser) elements(end tok) {
	for p.accept(tComma) {
		if p.kind == end {
			return
		}
		p.push(p.starOr(p.named))
	}
}

func (p *parser) brackets() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	p.next()
	if p.accept(tRBracket) {
		return p.node(syntax.List, start, "")
	}
	first := p.starOr(p.named)
	if p.kind == tFor || p.kind == tAsync {
		n := p.comprehension(syntax.ListComp, start, first)
		p.expect(tRBracket)
		n.End = p.end
		return n
	}
	p.push(first)
	p.elements(tRBracket)
	p.expect(tRBracket)
	return p.take(syntax.List, start, "", mark)
}

// braces reads a set or a dictionary.
func (p *parser) braces() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	p.next()
	if p.accept(tRBrace) {
		return p.node(syntax.Dict, start, "")
	}
	if p.kind != tStarStar {
		first := p.starOr(p.named)
		switch p.kind {
		case tColon:
			p.next()
			value := p.expr()
			if p.kind == tFor || p.kind == tAsync {
				n := p.comprehension(syntax.DictComp, start, first, value)
				p.expect(tRBrace)
				n.End = p.end
				return n
			}
			p.push(first)
			p.push(value)
		case tFor, tAsync:
			n := p.comprehension(syntax.SetComp, start, first)
			p.expect(tRBrace)
			n.End = p.end
			return n
		default:
			p.push(first)
			p.elements(tRBrace)
			p.expect(tRBrace)
			return p.take(syntax.Set, start, "", mark)
		}
		p.accept(tComma)
	}
	for p.kind != tRBrace && !p.failed {
		if p.accept(tStarStar) {
			p.push(nil)
			p.push(p.binary(precBitOr))
		} else {
			p.push(p.expr())
			p.expect(tColon)
			p.push(p.expr())
		}
		if !p.accept(tComma) {
			break
		}
	}
	p.expect(tRBrace)
	return p.take(syntax.Dict, start, "", mark)
}
