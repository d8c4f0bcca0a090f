package js

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// prec tells how strongly an operator binds; 0 if it is none between two values.
func prec(op string) int {
	switch op {
	case "??":
		return 1
	case "||":
		return 2
	case "&&":
		return 3
	case "|":
		return 4
	case "^":
		return 5
	case "&":
		return 6
	case "==", "!=", "===", "!==":
		return 7
	case "<", ">", "<=", ">=", "instanceof", "in":
		return 8
	case "<<", ">>", ">>>":
		return 9
	case "+", "-":
		return 10
	case "*", "/", "%":
		return 11
	case "**":
		return 12
	}
	return 0
}

// expr reads an expression with commas.
func (p *parser) expr() *syntax.Node {
	start := p.start
	n := p.assign()
	if !p.is(",") {
		return n
	}
	kids := []*syntax.Node{n}
	for p.eat(",") {
		kids = append(kids, p.assign())
	}
	return p.node(syntax.Bool, start, ",", kids...)
}

// assign reads an expression without commas.
func (p *parser) assign() *syntax.Node {
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	start := p.start
	if p.kind == tName {
		switch p.text {
		case "async":
			if n := p.asyncArrow(); n != nil {
				return n
			}
		case "yield":
			return p.yield()
		}
		if n := p.nameArrow(start, 0); n != nil {
			return n
		}
	}
	if p.is("(") && p.arrowAhead() {
		return p.arrow(start, 0)
	}
	if p.is("<") && p.ts {
		if n := p.genericArrow(start, 0); n != nil {
			return n
		}
	}
	left := p.conditional()
	if p.kind != tPunct {
		return left
	}
	switch op := p.text; op {
	case "=":
		p.next()
		return p.node(syntax.Walrus, start, "", left, p.assign())
	case "??=", "||=":
		p.next()
		v := p.assign()
		return p.node(syntax.Walrus, start, "", left, p.node(syntax.Bool, start, "or", left, v))
	case "&&=":
		p.next()
		return p.node(syntax.Walrus, start, "", left, p.assign())
	case "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", ">>>=", "**=":
		p.next()
		v := p.assign()
		return p.node(syntax.Walrus, start, "", left, p.node(syntax.Binary, start, op[:len(op)-1], left, v))
	}
	return left
}

func (p *parser) none() *syntax.Node { return p.node(syntax.Constant, p.start, "None") }

func (p *parser) yield() *syntax.Node {
	start := p.start
	p.next()
	kind := syntax.Yield
	if p.eat("*") {
		kind = syntax.YieldFrom
	}
	if p.nl || p.kind == tEOF || p.kind == tPunct && strings.Contains(")]},;:", p.text) {
		return p.node(kind, start, "", nil)
	}
	return p.node(kind, start, "", p.assign())
}

func (p *parser) conditional() *syntax.Node {
	start := p.start
	test := p.binary(1)
	if !p.is("?") {
		return test
	}
	p.next()
	noIn := p.noIn
	p.noIn = false
	p.noColon++
	yes := p.assign()
	p.noColon--
	p.noIn = noIn
	p.want(":")
	no := p.assign()
	return p.node(syntax.IfExp, start, "", test, yes, no)
}

func (p *parser) binary(least int) *syntax.Node {
	start := p.start
	left := p.unary()
	for {
		op := p.text
		if p.kind == tName {
			switch {
			case op == "in" && !p.noIn, op == "instanceof":
			case (op == "as" || op == "satisfies") && p.ts && !p.nl:
				p.next()
				if !p.eatWord("const") {
					p.typ()
				}
				continue
			default:
				return left
			}
		} else if p.kind != tPunct {
			return left
		}
		n := prec(op)
		if n == 0 || n < least {
			return left
		}
		p.next()
		var right *syntax.Node
		if !p.enter() {
			return left
		}
		if op == "**" {
			right = p.binary(n)
		} else {
			right = p.binary(n + 1)
		}
		p.leave()
		switch op {
		case "??", "||":
			left = p.joined("or", start, left, right)
		case "&&":
			left = p.joined("and", start, left, right)
		case "==", "!=", "===", "!==", "<", ">", "<=", ">=", "instanceof", "in":
			left = p.node(syntax.Compare, start, op, left, right)
		default:
			left = p.node(syntax.Binary, start, op, left, right)
		}
		if p.broken {
			return left
		}
	}
}

// joined makes one node of a || b || c.
func (p *parser) joined(op string, start int, left, right *syntax.Node) *syntax.Node {
	if left.Kind == syntax.Bool && left.Text == op && int(left.Start) == start {
		return p.node(syntax.Bool, start, op, append(slices.Clip(left.Kids), right)...)
	}
	return p.node(syntax.Bool, start, op, left, right)
}

func (p *parser) eatWord(s string) bool {
	if !p.word(s) {
		return false
	}
	p.next()
	return true
}

func (p *parser) unary() *syntax.Node {
	start := p.start
	op := ""
	switch p.kind {
	case tPunct:
		switch p.text {
		case "!", "-", "+", "~", "++", "--":
			op = p.text
		case "<":
			if p.ts && !p.jsx { // <T>value
				if !p.enter() {
					return p.none()
				}
				defer p.leave()
				p.next()
				if !p.eatWord("const") {
					p.typ()
				}
				p.split()
				p.want(">")
				return p.unary()
			}
		}
	case tName:
		switch p.text {
		case "typeof", "void", "delete":
			op = p.text
		case "await":
			if !p.enter() {
				return p.none()
			}
			defer p.leave()
			p.next()
			return p.node(syntax.Await, start, "", p.unary())
		}
	default:
	}
	if op == "" {
		n := p.postfix()
		if !p.nl && (p.is("++") || p.is("--")) {
			p.next()
			n = p.node(syntax.Walrus, start, "", n, p.node(syntax.Number, start, ""))
		}
		return n
	}
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	p.next()
	v := p.unary()
	switch op {
	case "!":
		return p.node(syntax.Unary, start, "not", v)
	case "++", "--":
		return p.node(syntax.Walrus, start, "", v, p.node(syntax.Number, start, ""))
	}
	return p.node(syntax.Unary, start, op, v)
}

// postfix reads a value with members and calls behind it.
func (p *parser) postfix() *syntax.Node {
	start := p.start
	var n *syntax.Node
	if p.word("new") {
		n = p.newExpr()
	} else {
		n = p.primary()
	}
	return p.members(n, start, true)
}

func (p *parser) newExpr() *syntax.Node {
	start := p.start
	if !p.enter() {
		return p.none()
	}
	defer p.leave()
	p.next()
	if p.eat(".") { // new.target
		p.next()
		return p.none()
	}
	at := p.start
	var fn *syntax.Node
	if p.word("new") {
		fn = p.newExpr()
	} else {
		fn = p.members(p.primary(), at, false)
	}
	kids := []*syntax.Node{fn}
	if p.is("<") && p.ts {
		p.try(func() bool { p.typeArgs(); return true })
	}
	if p.is("(") {
		kids = p.arguments(kids)
	}
	n := p.node(syntax.Call, start, "", kids...)
	n.Flag |= syntax.New
	return n
}

func (p *parser) members(n *syntax.Node, start int, calls bool) *syntax.Node {
	for !p.broken {
		switch p.kind {
		case tTemplate:
			if !calls && p.nl {
				return n
			}
			n = p.node(syntax.Call, start, "", n, p.template())
			continue
		case tPunct:
		default:
			return n
		}
		switch p.text {
		case ".":
			p.next()
			n = p.attribute(n, start)
		case "?.":
			p.next()
			switch {
			case p.is("("):
				n = p.node(syntax.Call, start, "", p.arguments([]*syntax.Node{n})...)
			case p.is("["):
				n = p.index(n, start)
			default:
				n = p.attribute(n, start)
			}
		case "[":
			n = p.index(n, start)
		case "(":
			if !calls {
				return n
			}
			n = p.node(syntax.Call, start, "", p.arguments([]*syntax.Node{n})...)
		case "!":
			if !p.ts || p.nl {
				return n
			}
			p.next()
		case "<", "<<":
			if !p.ts || !calls || !p.try(func() bool {
				p.typeArgs()
				return p.kind == tTemplate || p.kind == tEOF || p.nl || p.kind == tPunct && strings.Contains("( ) ] , ; } . : ?.", p.text)
			}) {
				return n
			}
		default:
			return n
		}
	}
	return n
}

func (p *parser) attribute(n *syntax.Node, start int) *syntax.Node {
	if p.kind != tName {
		p.fail("expected a name")
		return n
	}
	name := p.text
	p.next()
	return p.node(syntax.Attr, start, name, n)
}

func (p *parser) index(n *syntax.Node, start int) *syntax.Node {
	p.next()
	noIn := p.noIn
	p.noIn = false
	i := p.expr()
	p.noIn = noIn
	p.want("]")
	return p.node(syntax.Subscript, start, "", n, i)
}

// arguments reads (a, ...b) behind what is in kids.
func (p *parser) arguments(kids []*syntax.Node) []*syntax.Node {
	noIn, noColon := p.noIn, p.noColon
	p.noIn, p.noColon = false, 0
	p.next()
	for !p.is(")") && p.kind != tEOF {
		start := p.start
		if p.eat("...") {
			kids = append(kids, p.node(syntax.Star, start, "", p.assign()))
		} else {
			kids = append(kids, p.assign())
		}
		if !p.eat(",") {
			break
		}
	}
	p.want(")")
	p.noIn, p.noColon = noIn, noColon
	return kids
}

func (p *parser) primary() *syntax.Node {
	start := p.start
	switch p.kind {
	case tString:
		return p.str()
	case tNumber:
		s := p.text
		p.next()
		return p.node(syntax.Number, start, strings.TrimSuffix(s, "n"))
	case tTemplate:
		return p.template()
	case tName:
		return p.primaryName()
	case tPunct:
		switch p.text {
		case "(":
			return p.parens()
		case "[":
			return p.array()
		case "{":
			return p.object()
		case "/", "/=":
			p.regex()
			p.next()
			return p.node(syntax.Call, start, "", p.name("RegExp", start))
		case "<":
			if p.jsx {
				return p.element()
			}
		case "@":
			return p.class(p.decorators())
		}
	default:
	}
	p.fail("expected an expression")
	return p.none()
}

func (p *parser) str() *syntax.Node {
	start, s := p.start, p.text
	end := len(s)
	if end > 1 && s[end-1] == s[0] {
		end--
	}
	p.next()
	return p.node(syntax.String, start, value(s[1:end]))
}

func (p *parser) primaryName() *syntax.Node {
	start, s := p.start, p.text
	switch s {
	case "true", "false":
		p.next()
		return p.node(syntax.Constant, start, map[bool]string{true: "True", false: "False"}[s == "true"])
	case "null", "undefined":
		p.next()
		return p.node(syntax.Constant, start, "None")
	case "function":
		return p.function(start, 0, false)
	case "class":
		return p.class(nil)
	case "async":
		p.next()
		if p.word("function") && !p.nl {
			return p.function(start, syntax.Async, false)
		}
		return p.name(s, start)
	case "super":
		p.next()
		n := p.node(syntax.Call, start, "", p.name("super", start))
		if p.is("(") { // the constructor of the class above
			return p.node(syntax.Attr, start, "constructor", n)
		}
		return n
	case "case", "catch", "const", "default", "do", "else", "enum", "export", "extends", "finally", "for", "if", "return", "switch", "throw", "try", "var", "while", "with":
		p.fail("expected an expression")
		return p.none()
	}
	p.next()
	return p.name(s, start)
}
