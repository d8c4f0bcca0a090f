package python

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// simple reads a line of simple statements and pushes them.
func (p *parser) simple() {
	for {
		p.push(p.small())
		if !p.accept(tSemi) || p.kind == tNewline {
			break
		}
	}
	if p.kind != tEOF {
		p.expect(tNewline)
	}
}

// small reads one simple statement.
func (p *parser) small() *syntax.Node {
	start := p.start()
	switch p.kind {
	case tPass:
		p.next()
		return p.node(syntax.Pass, start, "")
	case tBreak:
		p.next()
		return p.node(syntax.Break, start, "")
	case tContinue:
		p.next()
		return p.node(syntax.Continue, start, "")
	case tReturn:
		p.next()
		if p.endsLine() {
			return p.node(syntax.Return, start, "")
		}
		v := p.starExprs()
		return p.node(syntax.Return, start, "", v)
	case tRaise:
		return p.raise(start)
	case tGlobal:
		return p.names(syntax.Global)
	case tNonlocal:
		return p.names(syntax.Nonlocal)
	case tDel:
		p.next()
		mark := len(p.stack)
		for {
			p.push(p.binary(precBitOr))
			if !p.accept(tComma) || p.endsLine() {
				break
			}
		}
		return p.take(syntax.Delete, start, "", mark)
	case tAssert:
		p.next()
		test := p.expr()
		if p.accept(tComma) {
			msg := p.expr()
			return p.node(syntax.Assert, start, "", test, msg)
		}
		return p.node(syntax.Assert, start, "", test)
	case tImport:
		return p.imports(start)
	case tFrom:
		return p.from(start)
	case tName:
		if n := p.softSimple(start); n != nil {
			return n
		}
	default:
	}
	return p.exprStatement(start)
}

func (p *parser) endsLine() bool {
	return p.kind == tNewline || p.kind == tSemi || p.kind == tEOF || p.kind == tError
}

// raise reads the statement, that of Python 2 with commas too.
func (p *parser) raise(start int32) *syntax.Node {
	p.next()
	if p.endsLine() {
		return p.node(syntax.Raise, start, "")
	}
	exc := p.expr()
	switch {
	case p.accept(tFrom):
		cause := p.expr()
		return p.node(syntax.Raise, start, "", exc, cause)
	case p.kind == tComma:
		p.python2 = true
		mark := len(p.stack)
		p.push(exc)
		for p.accept(tComma) {
			p.push(p.expr())
		}
		return p.take(syntax.Raise, start, "", mark)
	}
	return p.node(syntax.Raise, start, "", exc)
}

func (p *parser) names(k syntax.Kind) *syntax.Node {
	start, mark := p.start(), len(p.stack)
	p.next()
	p.push(p.name())
	for p.accept(tComma) {
		p.push(p.name())
	}
	return p.take(k, start, "", mark)
}

func (p *parser) imports(start int32) *syntax.Node {
	p.next()
	mark := len(p.stack)
	for {
		from := p.start()
		name := p.dottedName()
		p.push(p.alias(from, name))
		if !p.accept(tComma) {
			break
		}
	}
	return p.take(syntax.Import, start, "", mark)
}

func (p *parser) alias(start int32, name string) *syntax.Node {
	if p.accept(tAs) {
		as := p.name()
		return p.node(syntax.Alias, start, name, as)
	}
	return p.node(syntax.Alias, start, name)
}

func (p *parser) from(start int32) *syntax.Node {
	p.next()
	dots := 0
	for {
		if p.accept(tDot) {
			dots++
			continue
		}
		if !p.accept(tEllipsis) {
			break
		}
		dots += 3
	}
	module := ""
	if p.kind == tName {
		module = p.dottedName()
	} else if dots == 0 {
		return p.unexpected("a module")
	}
	if dots > 0 {
		module = strings.Repeat(".", dots) + module
	}
	p.expect(tImport)
	mark := len(p.stack)
	if at := p.start(); p.accept(tStar) {
		p.push(p.node(syntax.Alias, at, "*"))
		return p.take(syntax.From, start, module, mark)
	}
	paren := p.accept(tLParen)
	for {
		at := p.start()
		name := p.ident()
		p.push(p.alias(at, name))
		if !p.accept(tComma) || paren && p.kind == tRParen {
			break
		}
	}
	if paren {
		p.expect(tRParen)
	}
	return p.take(syntax.From, start, module, mark)
}

// softSimple reads statements that begin with a word that is a name elsewhere:
// type aliases, and print and exec of Python 2.
func (p *parser) softSimple(start int32) *syntax.Node {
	second := p.peek(1)
	if second != tName && second != tString && second != tNumber && second != tFStart && second != tNone {
		return nil
	}
	switch p.text() {
	case "type":
		if third := p.peek(2); second == tName && (third == tAssign || third == tLBracket) {
			p.next()
			name := p.name()
			params := p.typeParams()
			p.expect(tAssign)
			value := p.expr()
			return p.node(syntax.TypeAlias, start, "", name, params, value)
		}
	case "print":
		p.python2 = true
		p.next()
		mark := len(p.stack)
		for {
			p.push(p.expr())
			if !p.accept(tComma) || p.endsLine() {
				break
			}
		}
		return p.take(syntax.Print, start, "", mark)
	case "exec":
		p.python2 = true
		p.next()
		mark := len(p.stack)
		p.push(p.binary(precBitOr))
		if p.accept(tIn) {
			p.push(p.expr())
			if p.accept(tComma) {
				p.push(p.expr())
			}
		}
		return p.take(syntax.Exec, start, "", mark)
	}
	return nil
}

// exprStatement reads an expression, or an assignment of any sort.
func (p *parser) exprStatement(start int32) *syntax.Node {
	left := p.yieldOrStar()
	switch p.kind {
	case tAssign:
		mark := len(p.stack)
		p.push(left)
		for p.accept(tAssign) {
			p.push(p.yieldOrStar())
		}
		return p.take(syntax.Assign, start, "", mark)
	case tAugAssign:
		op := p.text()
		p.next()
		value := p.yieldOrStar()
		return p.node(syntax.AugAssign, start, op[:len(op)-1], left, value)
	case tColon:
		p.next()
		annotation := p.expr()
		if p.accept(tAssign) {
			value := p.yieldOrStar()
			return p.node(syntax.AnnAssign, start, "", left, annotation, value)
		}
		return p.node(syntax.AnnAssign, start, "", left, annotation)
	default:
		return p.node(syntax.Expr, start, "", left)
	}
}

// yieldOrStar reads what may stand on either side of "=".
func (p *parser) yieldOrStar() *syntax.Node {
	if p.kind == tYield {
		return p.yield()
	}
	return p.starExprs()
}
