package js

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// statement reads one statement and appends what it is lowered to. After an
// error it goes on where the next one may begin.
func (p *parser) statement(out []*syntax.Node) []*syntax.Node {
	from := p.start
	depth, noIn, noColon, blocks := p.depth, p.noIn, p.noColon, p.blocks
	if p.enter() {
		out = p.stmt(out)
	}
	p.depth, p.noIn, p.noColon, p.blocks = depth, noIn, noColon, blocks
	if p.broken && !p.quiet {
		p.resume(from)
	}
	return out
}

// resume goes on behind an error: at the end of the statement, or where a line
// begins like one.
func (p *parser) resume(from int) {
	p.broken = false
	p.pos, p.end = max(p.failed, from), max(p.failed, from)
	p.next()
	if p.start == from && p.kind != tEOF {
		p.next()
	}
	depth, col := 0, p.column(from)
	for p.kind != tEOF {
		if p.nl && p.kind == tName && (depth == 0 && p.column(p.start) <= col || starts(p.text) && (depth == 0 || p.column(p.start) == 0)) {
			return
		}
		switch p.kind {
		case tPunct:
			switch p.text {
			case ";":
				if depth == 0 {
					p.next()
					return
				}
			case "{", "(", "[":
				depth++
			case "}":
				if depth == 0 {
					return
				}
				depth--
			case ")", "]":
				depth = max(depth-1, 0)
			}
		case tTemplate:
			p.skipTemplate()
		default:
		}
		p.next()
	}
}

// column is how far a place is from the beginning of its line, at most 200.
func (p *parser) column(at int) int {
	line := p.src[max(0, at-200):at]
	return len(line) - 1 - strings.LastIndexByte(line, '\n')
}

// starts tells whether a word begins a statement.
func starts(w string) bool {
	switch w {
	case "const", "let", "var", "function", "class", "import", "export", "if", "for", "return", "async", "while", "try", "switch", "throw":
		return true
	}
	return false
}

func (p *parser) semicolon() {
	if p.eat(";") || p.nl || p.is("}") || p.kind == tEOF {
		return
	}
	p.fail("expected ;")
}

// block reads {…}; before is what stands in front.
func (p *parser) block(before []*syntax.Node) *syntax.Node {
	start := p.start
	if !p.is("{") {
		p.fail("expected {")
		return p.node(syntax.Block, start, "")
	}
	p.blocks++
	p.next()
	body := before
	for !p.is("}") && p.kind != tEOF {
		if p.nl && (p.word("import") || p.word("export")) && p.start > 0 && p.src[p.start-1] == '\n' && !p.quiet {
			p.note("expected }")
			p.blocks--
			return p.node(syntax.Block, start, "", body...)
		}
		body = p.statement(body)
		if p.broken {
			break
		}
	}
	p.blocks--
	p.want("}")
	return p.node(syntax.Block, start, "", body...)
}

// body reads the statement that another one guards.
func (p *parser) body() *syntax.Node {
	if p.is("{") {
		return p.block(nil)
	}
	start := p.start
	return p.node(syntax.Block, start, "", p.statement(nil)...)
}

func (p *parser) loopBody() *syntax.Node {
	p.breaks = append(p.breaks, true)
	b := p.body()
	if n := len(p.breaks); n > 0 {
		p.breaks = p.breaks[:n-1]
	}
	return b
}

func (p *parser) condition() *syntax.Node {
	p.want("(")
	n := p.expr()
	p.want(")")
	return n
}

func (p *parser) stmt(out []*syntax.Node) []*syntax.Node {
	start := p.start
	if p.kind == tPunct {
		switch p.text {
		case "{":
			return append(out, p.block(nil))
		case ";":
			p.next()
			return out
		case "@":
			decs := p.decorators()
			if p.word("export") {
				return p.export(out, decs)
			}
			p.eatWord("abstract")
			return append(out, p.class(decs))
		}
	}
	if p.kind != tName {
		return p.expression(out)
	}
	switch p.text {
	case "var", "const", "let":
		if n, ok := p.declarations(out); ok {
			return n
		}
	case "function":
		if n := p.function(start, 0, true); n != nil {
			out = append(out, n)
		}
		return out
	case "class":
		return append(out, p.class(nil))
	case "if":
		return append(out, p.ifStmt())
	case "for":
		return p.forStmt(out)
	case "while":
		p.next()
		test := p.condition()
		return append(out, p.node(syntax.While, start, "", test, p.loopBody(), nil))
	case "do":
		p.next()
		b := p.loopBody()
		if !p.eatWord("while") {
			p.fail("expected while")
		}
		test := p.condition()
		p.eat(";")
		return append(out, p.node(syntax.While, start, "", test, b, nil))
	case "return":
		p.next()
		if p.nl || p.is(";") || p.is("}") || p.kind == tEOF {
			p.semicolon()
			return append(out, p.node(syntax.Return, start, "", nil))
		}
		v := p.expr()
		p.semicolon()
		return append(out, p.node(syntax.Return, start, "", v))
	case "throw":
		p.next()
		v := p.expr()
		p.semicolon()
		return append(out, p.node(syntax.Raise, start, "", v, nil))
	case "try":
		return append(out, p.tryStmt())
	case "switch":
		return append(out, p.switchStmt())
	case "break", "continue":
		k := syntax.Break
		if p.text == "continue" {
			k = syntax.Continue
		} else if n := len(p.breaks); n == 0 || !p.breaks[n-1] {
			k = syntax.Pass // it leaves a switch, whose cases end by themselves
		}
		p.next()
		if p.kind == tName && !p.nl {
			p.next()
		}
		p.semicolon()
		return append(out, p.node(k, start, ""))
	case "debugger":
		p.next()
		p.semicolon()
		return out
	case "import":
		return p.importStmt(out)
	case "export":
		return p.export(out, nil)
	case "async":
		s := p.mark()
		p.next()
		if p.word("function") && !p.nl {
			if n := p.function(start, syntax.Async, true); n != nil {
				out = append(out, n)
			}
			return out
		}
		p.reset(s)
	case "enum", "namespace", "module", "declare", "abstract", "type", "interface", "global":
		if p.ts {
			if n, ok := p.typescript(out); ok {
				return n
			}
		}
	}
	s := p.mark()
	p.next()
	if p.eat(":") { // a label
		return p.statement(out)
	}
	p.reset(s)
	return p.expression(out)
}

// expression reads an expression as a statement; assignments become statements.
func (p *parser) expression(out []*syntax.Node) []*syntax.Node {
	start := p.start
	n := p.expr()
	p.semicolon()
	if p.broken {
		return append(out, p.node(syntax.Expr, start, "", n))
	}
	return append(out, p.lower(start, n))
}

func (p *parser) lower(start int, n *syntax.Node) *syntax.Node {
	if n.Kind != syntax.Walrus || len(n.Kids) != 2 {
		return p.node(syntax.Expr, start, "", n)
	}
	target := n.Kids[0]
	if target.Kind == syntax.Attr {
		switch d := syntax.Dotted(target); {
		case d == "module.exports":
			target = p.name(d, start)
			a := p.local(start, target, n.Kids[1])
			a.Flag |= syntax.Default | syntax.Exported
			return a
		case strings.HasPrefix(d, "module.exports.") && strings.Count(d, ".") == 2, strings.HasPrefix(d, "exports.") && strings.Count(d, ".") == 1:
			if n.Kids[1].Kind == syntax.Name && n.Kids[1].Text == target.Text {
				return p.node(syntax.Expr, start, "", n.Kids[1])
			}
			a := p.local(start, p.name(target.Text, start), n.Kids[1])
			a.Flag |= syntax.Exported
			return a
		}
	}
	return p.node(syntax.Assign, start, "", target, n.Kids[1])
}

// declarations reads var, let and const. ok is false if the word is a name.
func (p *parser) declarations(out []*syntax.Node) ([]*syntax.Node, bool) {
	s := p.mark()
	word := p.text
	p.next()
	if word == "const" && p.word("enum") {
		return p.enum(out), true
	}
	if p.kind != tName && !p.is("{") && !p.is("[") || word == "let" && (p.word("in") || p.word("instanceof")) {
		p.reset(s)
		return out, false
	}
	out = p.declarators(out)
	p.semicolon()
	return out, true
}

func (p *parser) declarators(out []*syntax.Node) []*syntax.Node {
	for {
		at := p.start
		t := p.pattern()
		p.annotation()
		if p.eat("=") {
			out = append(out, p.local(at, t, p.assign()))
		} else {
			out = append(out, p.node(syntax.AnnAssign, at, "", t, nil, nil))
		}
		if !p.eat(",") {
			return out
		}
	}
}

func (p *parser) ifStmt() *syntax.Node {
	start := p.start
	p.next()
	test := p.condition()
	yes := p.body()
	var no *syntax.Node
	if p.word("else") {
		p.next()
		no = p.body()
	}
	return p.node(syntax.If, start, "", test, yes, no)
}

func (p *parser) forStmt(out []*syntax.Node) []*syntax.Node {
	start := p.start
	p.next()
	p.eatWord("await")
	p.want("(")
	p.noIn = true
	var first []*syntax.Node
	var target *syntax.Node
	declares := syntax.Flag(0)
	switch {
	case p.is(";"):
	case p.word("var"), p.word("let"), p.word("const"), p.word("using"):
		p.next()
		declares = syntax.Declares
		at := p.start
		target = p.pattern()
		if !p.word("of") && !p.word("in") {
			p.annotation()
			if p.eat("=") {
				first = append(first, p.local(at, target, p.assign()))
			} else {
				first = append(first, p.node(syntax.AnnAssign, at, "", target, nil, nil))
			}
			if p.eat(",") {
				first = p.declarators(first)
			}
		}
	default:
		at := p.start
		target = p.expr()
		if !p.word("of") && !p.word("in") {
			first = append(first, p.lower(at, target))
		}
	}
	p.noIn = false
	if len(first) == 0 && target != nil && (p.word("of") || p.word("in")) {
		p.next()
		it := p.expr()
		p.want(")")
		n := p.node(syntax.For, start, "", target, it, p.loopBody(), nil)
		n.Flag |= declares
		return append(out, n)
	}
	p.want(";")
	test, step := p.node(syntax.Constant, p.start, "..."), (*syntax.Node)(nil)
	if !p.is(";") {
		test = p.expr()
	}
	p.want(";")
	if !p.is(")") {
		at := p.start
		step = p.lower(at, p.expr())
	}
	p.want(")")
	b := p.loopBody()
	if step != nil {
		b = p.node(syntax.Block, int(b.Start), "", append(slices.Clip(b.Kids), step)...)
	}
	return append(append(out, first...), p.node(syntax.While, start, "", test, b, nil))
}

func (p *parser) tryStmt() *syntax.Node {
	start := p.start
	p.next()
	kids := []*syntax.Node{p.block(nil), nil, nil}
	if p.word("catch") {
		at := p.start
		p.next()
		name := ""
		var pro []*syntax.Node
		if p.eat("(") {
			if p.kind == tName {
				name = p.text
				p.next()
			} else {
				b := p.start
				name = "(e)"
				pro = append(pro, p.local(b, p.pattern(), p.name(name, b)))
			}
			p.annotation()
			p.want(")")
		}
		kids = append(kids, p.node(syntax.Handler, at, name, nil, p.block(pro)))
	}
	if p.word("finally") {
		p.next()
		kids[2] = p.block(nil)
	}
	return p.node(syntax.Try, start, "", kids...)
}

func (p *parser) switchStmt() *syntax.Node {
	start := p.start
	p.next()
	kids := []*syntax.Node{p.condition()}
	p.want("{")
	p.breaks = append(p.breaks, false)
	var tests []*syntax.Node
	var last *syntax.Node // default: it comes when nothing else does
	for !p.is("}") && p.kind != tEOF {
		at := p.start
		otherwise := p.word("default")
		if !otherwise && !p.word("case") {
			p.fail("expected case")
			break
		}
		p.next()
		if !otherwise {
			v := p.start
			tests = append(tests, p.node(syntax.PatValue, v, "", p.expr()))
		}
		p.want(":")
		b := p.start
		var body []*syntax.Node
		for !p.is("}") && !p.word("case") && !p.word("default") && p.kind != tEOF {
			body = p.statement(body)
		}
		if len(body) == 0 && !otherwise && !p.is("}") {
			continue // shares the next one's
		}
		block := p.node(syntax.Block, b, "", body...)
		if otherwise {
			last = p.node(syntax.Case, at, "", p.node(syntax.PatAs, at, "", nil), nil, block)
			tests = nil
			continue
		}
		pat := tests[0]
		if len(tests) > 1 {
			pat = p.node(syntax.PatOr, at, "", tests...)
		}
		tests = nil
		kids = append(kids, p.node(syntax.Case, at, "", pat, nil, block))
	}
	if n := len(p.breaks); n > 0 {
		p.breaks = p.breaks[:n-1]
	}
	p.want("}")
	if last != nil {
		kids = append(kids, last)
	}
	return p.node(syntax.Match, start, "", kids...)
}
