package python

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// strings reads adjacent literals as one.
func (p *parser) strings() *syntax.Node {
	start := p.start()
	if p.kind == tString && p.peek(1) != tString && p.peek(1) != tFStart { // the usual case
		t := p.toks[p.i]
		text := literal(p.src[t.start:t.end], t.flag)
		p.next()
		return p.withBytes(p.node(syntax.String, start, text), t.flag)
	}
	var b strings.Builder
	format, flag, mark := false, uint8(0), len(p.stack)
	flush := func(at int32) {
		if b.Len() > 0 {
			p.push(p.node(syntax.String, at, b.String()))
			b.Reset()
		}
	}
	for p.kind == tString || p.kind == tFStart {
		t := p.toks[p.i]
		flag |= t.flag
		if p.kind == tString {
			b.WriteString(literal(p.src[t.start:t.end], t.flag))
			p.next()
			continue
		}
		format = true
		p.next()
		p.fields(&b, flush, tFEnd)
		p.expect(tFEnd)
	}
	if !format {
		text := b.String()
		return p.withBytes(p.node(syntax.String, start, text), flag)
	}
	flush(start)
	n := p.take(syntax.FString, start, "", mark)
	if flag&strTemplate != 0 {
		n.Flag = syntax.Template
	}
	return n
}

func (p *parser) withBytes(n *syntax.Node, flag uint8) *syntax.Node {
	if flag&strBytes != 0 {
		n.Flag = syntax.Bytes
	}
	return n
}

// fields reads the inside of an f-string, or of a format in it. Literal text
// goes to b, which flush turns into a node.
func (p *parser) fields(b *strings.Builder, flush func(int32), end tok) {
	for p.kind != end && !p.failed {
		start := p.start()
		if p.kind == tFMiddle {
			t := p.toks[p.i]
			b.WriteString(middle(p.src[t.start:t.end], t.flag))
			p.next()
			continue
		}
		p.expect(tLBrace)
		if !p.enter() {
			p.exit()
			return
		}
		exprAt := p.end
		value := p.yieldOrStar()
		conversion, debug := "", false
		if p.accept(tAssign) {
			debug = true
			b.WriteString(p.src[exprAt:p.toks[p.i].start])
		}
		flush(start)
		if p.accept(tFBang) {
			conversion = p.ident()
		}
		var spec *syntax.Node
		if at := p.start(); p.accept(tFColon) {
			spec = p.spec(at)
		}
		p.expect(tRBrace)
		p.exit()
		if debug && conversion == "" && spec == nil {
			conversion = "r"
		}
		p.push(p.node(syntax.Field, start, conversion, value, spec))
	}
}

func (p *parser) spec(start int32) *syntax.Node {
	var b strings.Builder
	mark := len(p.stack)
	flush := func(at int32) {
		if b.Len() > 0 {
			p.push(p.node(syntax.String, at, b.String()))
			b.Reset()
		}
	}
	p.fields(&b, flush, tRBrace)
	flush(start)
	return p.take(syntax.FString, start, "", mark)
}
