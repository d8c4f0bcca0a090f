package python

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// maxHeight bounds the height of a tree: chains such as a.b.c or a + b + c
// make it higher without nesting.
const maxHeight = 10000

// A parser makes a tree of the tokens by recursive descent. After an error it
// stands still on a token that nothing accepts, so that all its functions
// return, until the statement is given up; none of them returns nil.
type parser struct {
	*lexer
	syntax.Arena
	stop   func() error // the cause, once reading is to stop
	i      int          // of the token that is next
	kind   tok          // of that token; tError after an error
	depth  int
	failed bool
	end    int32 // of the token before
	last   int32 // the same, white space left out: where a block ends
	stack  []*syntax.Node
}

func (p *parser) load() {
	if !p.failed {
		p.kind = p.toks[p.i].kind
	}
}

// next steps over a token.
func (p *parser) next() {
	if p.failed || p.kind == tEOF {
		return
	}
	p.end = p.toks[p.i].end
	if k := p.kind; k != tNewline && k != tIndent && k != tDedent {
		p.last = p.end
	}
	p.i++
	p.kind = p.toks[p.i].kind
	if p.i&0xfff == 0 && p.stop() != nil {
		p.fail(int(p.end), len(p.src), p.stop(), "reading was stopped")
		p.i = len(p.toks) - 1
		p.failed, p.kind = true, tError
	}
}

func (p *parser) start() int32 { return p.toks[p.i].start }

// peek returns the kind of the token n behind the next one.
func (p *parser) peek(n int) tok {
	if p.failed || p.i+n >= len(p.toks) {
		return tEOF
	}
	return p.toks[p.i+n].kind
}

func (p *parser) accept(k tok) bool {
	if p.kind != k {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(k tok) {
	if !p.accept(k) {
		p.unexpected(spelling[k])
	}
}

// unexpected gives the statement up.
func (p *parser) unexpected(want string) *syntax.Node {
	if p.failed {
		return p.bad()
	}
	t := p.toks[p.i]
	if t.kind != tError { // the lexer has told about those
		got := spelling[t.kind]
		if t.kind == tName || t.kind == tNumber {
			got = p.src[t.start:min(int(t.end), int(t.start)+40)]
		}
		p.fail(int(t.start), int(t.end), nil, "expected %s, found %q", want, got)
	}
	p.failed, p.kind = true, tError
	return p.bad()
}

func (p *parser) bad() *syntax.Node {
	return p.node(syntax.Bad, p.start(), "")
}

// enter counts a level of nesting; it gives the statement up if there are too
// many. Whoever calls it calls leave.
func (p *parser) enter() bool {
	p.depth++
	if p.depth <= p.lim.Depth {
		return true
	}
	if !p.failed {
		p.fail(int(p.start()), int(p.start()), ErrLimit, "the source is nested deeper than %d", p.lim.Depth)
		p.failed, p.kind = true, tError
	}
	return false
}

func (p *parser) exit() { p.depth-- }

// node makes a node that ends with the token before.
func (p *parser) node(k syntax.Kind, start int32, text string, kids ...*syntax.Node) *syntax.Node {
	n := p.New()
	n.Kind, n.Start, n.End, n.Text = k, start, max(p.end, start), text
	if len(kids) > 0 {
		n.Kids = p.List(len(kids))
		copy(n.Kids, kids)
	}
	p.measure(n)
	return n
}

// take makes a node of what was pushed on the stack since mark.
func (p *parser) take(k syntax.Kind, start int32, text string, mark int) *syntax.Node {
	n := p.node(k, start, text, p.stack[mark:]...)
	p.stack = p.stack[:mark]
	return n
}

func (p *parser) push(n *syntax.Node) { p.stack = append(p.stack, n) }

func (p *parser) measure(n *syntax.Node) {
	h := uint16(0)
	for _, k := range n.Kids {
		if k != nil && k.Height >= h {
			h = k.Height + 1
		}
	}
	if h >= maxHeight {
		if !p.failed {
			p.fail(int(n.Start), int(n.Start), ErrLimit, "the source makes a tree higher than %d", maxHeight)
			p.failed, p.kind = true, tError
		}
		n.Kids, h = nil, 0
	}
	n.Height = h
}

// text returns the source of the next token.
func (p *parser) text() string {
	t := p.toks[p.i]
	return p.src[t.start:t.end]
}

// ident reads an identifier. Letters that look different but mean the same
// name are one, as in the reference.
func (p *parser) ident() string {
	if p.kind != tName {
		p.unexpected("a name")
		return ""
	}
	s := p.text()
	p.next()
	return normal(s)
}

func normal(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return norm.NFKC.String(s)
		}
	}
	return s
}

// name reads an identifier as a node.
func (p *parser) name() *syntax.Node {
	start := p.start()
	text := p.ident()
	return p.node(syntax.Name, start, text)
}

// dottedName reads a.b.c.
func (p *parser) dottedName() string {
	first := p.i
	s := p.ident()
	if p.kind != tDot {
		return s
	}
	for p.accept(tDot) {
		p.ident()
	}
	var b strings.Builder
	for _, t := range p.toks[first:p.i] {
		b.WriteString(normal(p.src[t.start:t.end]))
	}
	return b.String()
}

// file reads all statements.
func (p *parser) file() []*syntax.Node {
	p.load()
	for p.kind != tEOF {
		if p.kind == tNewline || p.kind == tDedent {
			p.next()
			continue
		}
		p.statement()
	}
	body := p.List(len(p.stack))
	copy(body, p.stack)
	return body
}

// resync gives up the statement that began at token first, keeps what is
// indented below it, and goes on behind it.
func (p *parser) resync(first, mark int) {
	start := p.toks[first].start
	p.stack = p.stack[:mark]
	p.failed = false
	below := 0 // blocks that the statement has opened and not closed
	for _, t := range p.toks[first:p.i] {
		switch t.kind {
		case tIndent:
			below++
		case tDedent:
			below--
		default:
		}
	}
	for k := p.toks[p.i].kind; ; k = p.toks[p.i].kind {
		if k == tEOF || k == tIndent || k == tDedent {
			break
		}
		if b := p.toks[max(p.i-1, 0)].kind; p.i > first && (b == tNewline || b == tDedent) {
			break // a statement has begun: it was the one before that broke
		}
		p.i++
	}
	p.load()
	p.end = max(start, p.toks[max(p.i-1, first)].start)
	p.last = max(p.last, p.end)
	n := p.node(syntax.Bad, start, "")
	switch {
	case p.kind == tIndent:
		n.Kids = append(n.Kids, p.indented())
	case below > 0:
		n.Kids = append(n.Kids, p.rest())
		for range below - 1 {
			p.stack = append(p.stack, p.rest())
		}
	}
	p.measure(n)
	p.push(n)
}

// statement reads one line of statements, or a compound statement, and pushes
// what it finds.
func (p *parser) statement() {
	first, mark, depth := p.i, len(p.stack), p.depth
	if p.kind == tIndent { // nothing asked for it
		p.fail(int(p.start()), int(p.start()), nil, "unexpected indentation")
		block := p.indented()
		if p.failed {
			p.resync(first, mark)
			return
		}
		p.push(p.node(syntax.Bad, block.Start, "", block))
		return
	}
	if n := p.compound(); n != nil {
		p.push(n)
	} else {
		p.simple()
	}
	if p.failed {
		p.depth = depth
		p.resync(first, mark)
	}
}

// indented reads a block from its indentation on.
func (p *parser) indented() *syntax.Node {
	p.next()
	return p.rest()
}

// rest reads the statements up to the end of a block, and the end.
func (p *parser) rest() *syntax.Node {
	start, mark := p.start(), len(p.stack)
	if p.enter() {
		for p.kind != tDedent && p.kind != tEOF && !p.failed {
			if p.kind == tNewline {
				p.next()
				continue
			}
			p.statement()
		}
	} else {
		p.skipBlock()
	}
	p.exit()
	n := p.take(syntax.Block, start, "", mark)
	if len(n.Kids) > 0 {
		n.Start, n.End = n.Kids[0].Start, max(p.last, n.Kids[len(n.Kids)-1].End)
	}
	p.accept(tDedent)
	return n
}

// skipBlock steps to the end of a block that is too deep.
func (p *parser) skipBlock() {
	p.failed = false
	open := 1
	for p.i < len(p.toks)-1 {
		switch p.toks[p.i].kind {
		case tIndent:
			open++
		case tDedent:
			open--
		default:
		}
		if open == 0 {
			break
		}
		p.i++
	}
	p.load()
}

// block reads ":" and what belongs to it.
func (p *parser) block() *syntax.Node {
	p.expect(tColon)
	if p.accept(tNewline) {
		if p.kind != tIndent {
			p.unexpected("an indented block")
			return p.bad()
		}
		return p.indented()
	}
	start, mark := p.start(), len(p.stack)
	p.simple()
	n := p.take(syntax.Block, start, "", mark)
	if len(n.Kids) > 0 {
		n.End = max(p.last, start)
	}
	return n
}
