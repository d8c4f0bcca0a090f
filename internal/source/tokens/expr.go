package tokens

import (
	"slices"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// expr reads an expression; operators are told apart so far as values need.
func (p *parser) expr() *syntax.Node {
	start := p.start
	if !p.enter() {
		p.next()
		return p.none()
	}
	defer func() { p.depth-- }()
	left := p.unary()
	for p.kind == punctuation || p.kind == word {
		switch op := p.tok; op {
		case "+":
			p.next()
			left = p.node(syntax.Binary, start, "+", left, p.unary())
		case "?:", "??":
			p.next()
			left = p.node(syntax.Bool, start, "or", left, p.unary())
		case "?":
			p.next()
			yes := p.expr()
			p.eat(":")
			left = p.node(syntax.IfExp, start, "", left, yes, p.expr())
		case "=", "??=":
			p.next()
			return p.node(syntax.Walrus, start, "", left, p.expr())
		case "-", "*", "/", "%", "&", "|", "^", "&&", "||", "==", "!=", "<", ">", "<=", ">=", "+=", "-=", "*=", "/=", "instanceof", "is", "in", "to", "until", "..":
			if p.kotlin && p.nl && (op == "-" || op == "*" || op == "&") {
				return left
			}
			p.next()
			right := p.unary()
			if op == "to" { // a pair of Kotlin
				left = p.node(syntax.Tuple, start, "", left, right)
			} else {
				left = p.node(syntax.Compare, start, op, left, right)
			}
		case "as":
			p.next()
			p.eat("?")
			p.typ()
		case "switch", "with": // an expression of C#
			p.next()
			if p.is("{") {
				p.skip()
			}
			left = p.none()
		default:
			return left
		}
	}
	return left
}

func (p *parser) unary() *syntax.Node {
	start := p.start
	for p.kind == punctuation {
		switch p.tok {
		case "!", "-", "+", "~", "++", "--", "&", "^", "..":
			p.next()
			continue
		}
		break
	}
	if p.word("await") || p.word("throw") || p.word("ref") || p.word("out") {
		p.next()
		if p.kind == word && p.tok == "var" { // out var x
			p.next()
		}
		return p.unary()
	}
	return p.trailers(p.primary(), start)
}

func (p *parser) primary() *syntax.Node {
	start := p.start
	switch p.kind {
	case text:
		str := append([]*syntax.Node(nil), p.str...)
		p.next()
		if len(str) == 1 && str[0].Kind == syntax.String {
			return p.node(syntax.String, start, str[0].Text)
		}
		return p.node(syntax.FString, start, "", str...)
	case number:
		s := p.tok
		p.next()
		return p.node(syntax.Number, start, s)
	case word:
		return p.primaryWord()
	case punctuation:
		switch p.tok {
		case "(":
			return p.paren()
		case "{":
			if p.kotlin {
				return p.lambda()
			}
			return p.list("{", "}")
		case "[":
			return p.list("[", "]")
		case "@":
			p.annotations()
			return p.unary()
		case "::":
			p.next()
			n := p.name(p.tok, p.start)
			p.next()
			return n
		}
	default:
	}
	if !p.is(")") && !p.is("]") && !p.is("}") && !p.is(";") && !p.is(",") {
		p.next()
	}
	return p.none()
}

func (p *parser) primaryWord() *syntax.Node {
	start, w := p.start, p.tok
	switch w {
	case "true", "True", "false":
		p.next()
		if w == "false" {
			return p.node(syntax.Constant, start, "False")
		}
		return p.node(syntax.Constant, start, "True")
	case "null", "default":
		p.next()
		return p.node(syntax.Constant, start, "None")
	case "new":
		return p.newExpr()
	case "if", "when", "try", "switch":
		if p.kotlin || w == "switch" {
			return p.choice()
		}
	case "object":
		if p.kotlin {
			p.next()
			for p.kind != eof && !p.is("{") && !p.nl {
				p.next()
			}
			if p.is("{") {
				p.skip()
			}
			return p.none()
		}
	case "super", "base":
		p.next()
		n := p.node(syntax.Call, start, "", p.name("super", start))
		if p.is("(") {
			return p.node(syntax.Attr, start, "(init)", n)
		}
		return n
	case "return", "throw":
		p.next()
		return p.expr()
	case "async":
		p.next()
		return p.unary()
	}
	p.next()
	if p.is("->") || p.is("=>") { // x -> …
		param := p.node(syntax.Param, start, w, nil, nil)
		return p.arrow(start, p.node(syntax.Params, start, "", param))
	}
	return p.name(w, start)
}

// choice reads if and when as expressions of Kotlin: one of what the branches give.
func (p *parser) choice() *syntax.Node {
	start := p.start
	isIf := p.word("if")
	p.next()
	test := p.none()
	if p.is("(") {
		test = p.bracketed()
	}
	value := func() *syntax.Node {
		if p.is("{") {
			b := p.block()
			if n := len(b.Kids); n > 0 && b.Kids[n-1].Kind == syntax.Expr {
				return b.Kids[n-1].Kids[0]
			}
			return p.none()
		}
		return p.expr()
	}
	if isIf {
		yes := value()
		no := p.none()
		if p.eat("else") {
			no = value()
		}
		return p.node(syntax.IfExp, start, "", test, yes, no)
	}
	out := p.none()
	if !p.is("{") {
		return out
	}
	p.next()
	for !p.is("}") && p.kind != eof {
		at := p.pos
		for p.kind != eof && !p.is("->") && !p.is("=>") && !p.is("}") && !p.is(":") {
			p.next()
		}
		if p.eat("->") || p.eat("=>") {
			out = p.node(syntax.IfExp, start, "", p.none(), value(), out)
		}
		for p.is(";") || p.is(",") || p.is(":") {
			p.next()
		}
		if p.pos == at {
			p.next()
		}
	}
	p.eat("}")
	return out
}

// paren reads (x), a cast, or the parameters of a lambda.
func (p *parser) paren() *syntax.Node {
	start := p.start
	s := p.save()
	steps := p.steps
	p.skip()
	if p.is("->") || p.is("=>") {
		p.restore(s)
		return p.arrow(start, p.lambdaParams())
	}
	cast := p.kind == word && !p.nl && p.tok != "is" && p.tok != "as" && p.tok != "in" && p.tok != "instanceof" && p.tok != "to" && p.tok != "else" && p.tok != "switch" && p.tok != "with" && p.tok != "until" || p.kind == text
	if p.steps-steps > 2000 { // far ahead: a cast has few tokens
		cast = false
	}
	if cast && !p.kotlin {
		return p.unary()
	}
	p.restore(s)
	args := p.arguments(nil)
	if len(args) == 1 && args[0] != nil {
		return args[0]
	}
	return p.node(syntax.Tuple, start, "", args...)
}

func (p *parser) lambdaParams() *syntax.Node {
	start := p.start
	p.next()
	var kids []*syntax.Node
	name, at := "", p.start
	for p.kind != eof {
		if p.kind == word {
			name, at = p.tok, p.start
		}
		if p.is(",") || p.is(")") {
			if name != "" {
				kids = append(kids, p.node(syntax.Param, at, name, nil, nil))
			}
			name = ""
			if p.is(")") {
				break
			}
		}
		p.next()
	}
	p.next()
	return p.node(syntax.Params, start, "", kids...)
}

func (p *parser) arrow(start int, params *syntax.Node) *syntax.Node {
	p.next()
	if p.is("{") {
		return p.node(syntax.Lambda, start, "", params, p.block())
	}
	return p.node(syntax.Lambda, start, "", params, p.expr())
}

// lambda reads { a, b -> … } of Kotlin; what it ends with it returns.
func (p *parser) lambda() *syntax.Node {
	start := p.start
	s := p.save()
	p.next()
	var kids []*syntax.Node
	ok := false
	for i := 0; i < 16 && p.kind != eof; i++ {
		if p.is("->") {
			ok = true
			break
		}
		if p.kind == word {
			kids = append(kids, p.node(syntax.Param, p.start, p.tok, nil, nil))
			p.next()
			if p.eat(":") {
				p.typ()
			}
			continue
		}
		if !p.eat(",") {
			break
		}
	}
	if !ok {
		kids = []*syntax.Node{p.node(syntax.Param, start, "it", nil, nil)}
		p.restore(s)
	}
	b := p.block()
	if n := len(b.Kids); n > 0 && b.Kids[n-1].Kind == syntax.Expr {
		b.Kids[n-1] = p.node(syntax.Return, int(b.Kids[n-1].Start)-p.shift, "", b.Kids[n-1].Kids[0])
	}
	return p.node(syntax.Lambda, start, "", p.node(syntax.Params, start, "", kids...), b)
}

func (p *parser) list(open, end string) *syntax.Node {
	start := p.start
	p.eat(open)
	var kids []*syntax.Node
	for !p.is(end) && p.kind != eof {
		at := p.pos
		v := p.expr()
		if v.Kind == syntax.Walrus {
			v = v.Kids[1]
		}
		kids = append(kids, v)
		if !p.eat(",") && p.pos == at {
			p.next()
		}
	}
	p.eat(end)
	return p.node(syntax.List, start, "", kids...)
}

// newExpr reads new T(…) {…}, new T[] {…}, new() {…} and new {…}.
func (p *parser) newExpr() *syntax.Node {
	start := p.start
	p.next()
	at := p.start
	var fn *syntax.Node
	if p.kind == word {
		fn = p.qualified(p.dotted(), at)
		if p.is("<") {
			p.generics()
		}
		p.eat("?")
	} else {
		fn = p.node(syntax.Constant, at, "...")
	}
	if p.is("[") {
		p.skip()
		for p.is("[") {
			p.skip()
		}
		if p.is("{") {
			return p.list("{", "}")
		}
		return p.node(syntax.List, start, "")
	}
	kids := []*syntax.Node{fn}
	if p.is("(") {
		kids = p.arguments(kids)
	}
	if p.is("{") {
		if p.csharp {
			kids = p.initialiser(kids)
		} else { // an anonymous class
			p.next()
			for !p.is("}") && p.kind != eof {
				p.guarded(nil, false)
			}
			p.eat("}")
		}
	}
	n := p.node(syntax.Call, start, "", kids...)
	n.Flag |= syntax.New
	return n
}

// initialiser reads { Name = value, … } of C#.
func (p *parser) initialiser(kids []*syntax.Node) []*syntax.Node {
	p.next()
	for !p.is("}") && p.kind != eof {
		at := p.start
		pos := p.pos
		v := p.expr()
		if v.Kind == syntax.Walrus && v.Kids[0].Kind == syntax.Name {
			kids = append(kids, p.node(syntax.Keyword, at, v.Kids[0].Text, v.Kids[1]))
		}
		if !p.eat(",") && p.pos == pos {
			p.next()
		}
	}
	p.eat("}")
	return kids
}

// arguments reads (a, name: b, name = c) behind what is in kids.
func (p *parser) arguments(kids []*syntax.Node) []*syntax.Node {
	p.next()
	for !p.is(")") && p.kind != eof {
		at, pos := p.start, p.pos
		name := ""
		if p.csharp && p.kind == word {
			s := p.save()
			name = p.tok
			p.next()
			if !p.is(":") {
				p.restore(s)
				name = ""
			} else {
				p.next()
			}
		}
		p.eat("*")
		v := p.expr()
		switch {
		case name != "":
			v = p.node(syntax.Keyword, at, name, v)
		case !p.csharp && v.Kind == syntax.Walrus && v.Kids[0].Kind == syntax.Name:
			v = p.node(syntax.Keyword, at, v.Kids[0].Text, v.Kids[1])
		}
		kids = append(kids, v)
		if p.eat(",") {
			continue
		}
		if p.is(")") {
			break
		}
		if p.is(";") || p.is("}") { // it does not end here
			return kids
		}
		if p.pos == pos {
			p.next()
		}
	}
	p.eat(")")
	return kids
}

func (p *parser) trailers(n *syntax.Node, start int) *syntax.Node {
	for {
		switch {
		case p.kind == word && p.kotlin || p.kind != punctuation:
			return n
		case p.is("."), p.is("?."), p.is("::"):
			p.next()
			if p.is("<") {
				p.generics()
			}
			if p.kind != word {
				return n
			}
			if p.tok == "new" || p.tok == "class" {
				p.next()
				continue
			}
			name := p.tok
			p.next()
			n = p.node(syntax.Attr, start, name, n)
		case p.is("("):
			if p.kotlin && p.nl {
				return n
			}
			n = p.node(syntax.Call, start, "", p.arguments([]*syntax.Node{n})...)
			if p.kotlin && p.is("{") && !p.nl {
				n = p.node(syntax.Call, start, "", append(slices.Clip(n.Kids), p.lambda())...)
			}
		case p.is("{") && p.kotlin && !p.nl && (n.Kind == syntax.Name || n.Kind == syntax.Attr):
			n = p.node(syntax.Call, start, "", n, p.lambda())
		case p.is("["):
			if p.nl && p.kotlin {
				return n
			}
			p.next()
			i := p.expr()
			for p.eat(",") {
				p.expr()
			}
			p.eat("]")
			n = p.node(syntax.Subscript, start, "", n, i)
		case p.is("!!"), p.is("++"), p.is("--"):
			p.next()
		case p.is("!") && p.csharp:
			p.next()
		case p.is("<") && (n.Kind == syntax.Name || n.Kind == syntax.Attr): // a generic call
			s := p.save()
			if !p.generics() || !p.is("(") && !p.is(".") && !p.is("::") && (!p.kotlin || !p.is("{")) {
				p.restore(s)
				return n
			}
		default:
			return n
		}
	}
}
