package python

import "github.com/modelwarden/warden/internal/source/syntax"

// isMatch reports whether the word match here begins a match statement: the
// line ends in ":", and the next one, which is indented, begins with case.
func (p *parser) isMatch() bool {
	switch p.peek(1) {
	case tAssign, tAugAssign, tDot, tComma, tSemi, tNewline, tColon, tRParen, tEOF, tWalrus:
		return false
	default:
	}
	for i := p.i + 1; i+3 < len(p.toks); i++ {
		switch p.toks[i].kind {
		case tNewline:
			t := p.toks[i+2]
			return p.toks[i-1].kind == tColon && p.toks[i+1].kind == tIndent && t.kind == tName && p.src[t.start:t.end] == "case"
		case tSemi, tEOF, tError:
			return false
		default:
		}
	}
	return false
}

func (p *parser) match() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	p.next()
	p.push(p.namedOrTuple())
	p.expect(tColon)
	p.expect(tNewline)
	p.expect(tIndent)
	for p.kind == tName && p.text() == "case" {
		at := p.start()
		p.next()
		pattern := p.patterns()
		var guard *syntax.Node
		if p.accept(tIf) {
			guard = p.named()
		}
		body := p.block()
		n := p.node(syntax.Case, at, "", pattern, guard, body)
		p.push(p.trim(n))
	}
	p.expect(tDedent)
	n := p.take(syntax.Match, start, "", mark)
	return p.trim(n)
}

// namedOrTuple reads a, b, *c with assignments inside.
func (p *parser) namedOrTuple() *syntax.Node {
	start := p.start()
	one := func() *syntax.Node {
		if p.kind == tStar {
			return p.starOr(p.expr)
		}
		return p.named()
	}
	first := one()
	if p.kind != tComma {
		return first
	}
	mark := len(p.stack)
	p.push(first)
	for p.accept(tComma) {
		if p.kind == tColon {
			break
		}
		p.push(one())
	}
	return p.take(syntax.Tuple, start, "", mark)
}

// patterns reads what stands behind case: a sequence needs no brackets.
func (p *parser) patterns() *syntax.Node {
	start := p.start()
	first := p.patternAs()
	if p.kind != tComma {
		return first
	}
	mark := len(p.stack)
	p.push(first)
	for p.accept(tComma) {
		if p.kind == tColon || p.kind == tIf {
			break
		}
		p.push(p.patternAs())
	}
	return p.take(syntax.PatSeq, start, "", mark)
}

func (p *parser) patternAs() *syntax.Node {
	start := p.start()
	if p.accept(tStar) {
		name := p.ident()
		if name == "_" {
			name = ""
		}
		return p.node(syntax.PatStar, start, name)
	}
	if !p.enter() {
		p.exit()
		return p.bad()
	}
	n := p.patternOr()
	p.exit()
	if p.accept(tAs) {
		name := p.ident()
		return p.node(syntax.PatAs, start, name, n)
	}
	return n
}

func (p *parser) patternOr() *syntax.Node {
	start := p.start()
	first := p.patternOne()
	if p.kind != tPipe {
		return first
	}
	mark := len(p.stack)
	p.push(first)
	for p.accept(tPipe) {
		p.push(p.patternOne())
	}
	return p.take(syntax.PatOr, start, "", mark)
}

func (p *parser) patternOne() *syntax.Node {
	start := p.start()
	switch p.kind {
	case tNone, tTrue, tFalse:
		text := spelling[p.kind]
		p.next()
		return p.node(syntax.PatConst, start, text)
	case tNumber, tMinus, tString, tFStart:
		v := p.binary(precSum) // -1, 1+2j
		return p.node(syntax.PatValue, start, "", v)
	case tLBracket:
		p.next()
		return p.patternList(start, tRBracket, true)
	case tLParen:
		p.next()
		return p.patternList(start, tRParen, false)
	case tLBrace:
		return p.patternMap(start)
	case tName:
		return p.patternName(start)
	default:
		return p.unexpected("a pattern")
	}
}

// patternList reads the inside of brackets. A single pattern in round ones is
// that pattern.
func (p *parser) patternList(start int32, end tok, always bool) *syntax.Node {
	mark, commas := len(p.stack), 0
	for p.kind != end && !p.failed {
		p.push(p.patternAs())
		if !p.accept(tComma) {
			break
		}
		commas++
	}
	p.expect(end)
	if !always && commas == 0 && len(p.stack) == mark+1 && p.stack[mark].Kind != syntax.PatStar {
		n := p.stack[mark]
		p.stack = p.stack[:mark]
		return n
	}
	return p.take(syntax.PatSeq, start, "", mark)
}

func (p *parser) patternMap(start int32) *syntax.Node {
	p.next()
	mark, rest := len(p.stack), ""
	for p.kind != tRBrace && !p.failed {
		if p.accept(tStarStar) {
			rest = p.ident()
		} else {
			p.push(p.binary(precSum))
			p.expect(tColon)
			p.push(p.patternAs())
		}
		if !p.accept(tComma) {
			break
		}
	}
	p.expect(tRBrace)
	return p.take(syntax.PatMap, start, rest, mark)
}

// patternName reads a capture, a wildcard, a dotted value or a class.
func (p *parser) patternName(start int32) *syntax.Node {
	if k := p.peek(1); k != tDot && k != tLParen {
		name := p.ident()
		if name == "_" {
			name = ""
		}
		return p.node(syntax.PatAs, start, name)
	}
	v := p.name()
	for p.accept(tDot) {
		attr := p.ident()
		v = p.node(syntax.Attr, start, attr, v)
	}
	if !p.accept(tLParen) {
		return p.node(syntax.PatValue, start, "", v)
	}
	mark := len(p.stack)
	p.push(v)
	for p.kind != tRParen && !p.failed {
		if at := p.start(); p.kind == tName && p.peek(1) == tAssign {
			name := p.ident()
			p.next()
			sub := p.patternAs()
			p.push(p.node(syntax.PatKeyword, at, name, sub))
		} else {
			p.push(p.patternAs())
		}
		if !p.accept(tComma) {
			break
		}
	}
	p.expect(tRParen)
	return p.take(syntax.PatClass, start, "", mark)
}
