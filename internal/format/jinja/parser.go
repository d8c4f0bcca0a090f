package jinja

import (
	"fmt"
	"slices"

	"github.com/modelwarden/warden/detect"
)

// parser reads the tokens of one tag.
type parser struct {
	toks  []token
	i     int
	depth int // that remains
	end   int // of the tag in the source
	steps int
	ctx   func() error
}

func (p *parser) peek() token {
	if p.i < len(p.toks) {
		return p.toks[p.i]
	}
	return token{kind: tokOp, start: p.end, end: p.end}
}

// op takes the operator if it comes next.
func (p *parser) op(text string) bool {
	if t := p.peek(); t.kind == tokOp && t.text == text && t.end > t.start {
		p.i++
		return true
	}
	return false
}

// word takes the keyword if it comes next.
func (p *parser) word(text string) bool {
	if t := p.peek(); t.kind == tokName && t.text == text {
		p.i++
		return true
	}
	return false
}

func (p *parser) bad(want string) error {
	t := p.peek()
	if p.i >= len(p.toks) {
		return fmt.Errorf("template: %s is missing at byte %d", want, t.start)
	}
	return fmt.Errorf("template: %q at byte %d where %s is wanted", t.text, t.start, want)
}

func (p *parser) statement(open string) (*Node, error) {
	if open == "{{" {
		e, err := p.tuple()
		if err == nil && p.i < len(p.toks) {
			err = p.bad("the end of the output")
		}
		if err != nil {
			return nil, err
		}
		return &Node{Kind: Output, Kids: []*Node{e}}, nil
	}
	t := p.peek()
	if t.kind != tokName || p.i >= len(p.toks) {
		return nil, p.bad("the name of a tag")
	}
	p.i++
	n := &Node{Kind: Tag, Text: t.text}
	if t.text == "macro" || t.text == "call" || t.text == "filter" || t.text == "block" {
		return n, p.rest(n)
	}
	if t.text == "for" {
		target, err := p.targets()
		if err != nil {
			return nil, err
		}
		if !p.word("in") {
			return nil, p.bad(`"in"`)
		}
		n.Kids = append(n.Kids, target)
	}
	return n, p.rest(n)
}

// between are the keywords and signs between the expressions of a tag.
var between = []string{"recursive", "as", "ignore", "missing", "with", "without", "context", "import", "scoped", "required", "if", "else"}

// rest reads the expressions of a tag, whatever stands between them.
func (p *parser) rest(n *Node) error {
	for p.i < len(p.toks) {
		t := p.peek()
		if t.kind == tokName && slices.Contains(between, t.text) || t.kind == tokOp && (t.text == "=" || t.text == "," || t.text == ";") {
			p.i++
			continue
		}
		var e *Node
		var err error
		if n.Text == "filter" && len(n.Kids) == 0 {
			e, err = p.filters(&Node{Kind: String, Start: t.start, End: t.start}, true)
		} else {
			e, err = p.tuple()
		}
		if err != nil {
			return err
		}
		n.Kids = append(n.Kids, e)
	}
	return nil
}

// targets reads the names that a loop assigns.
func (p *parser) targets() (*Node, error) {
	list := &Node{Kind: List, Start: p.peek().start}
	for {
		e, err := p.primary()
		if err != nil {
			return nil, err
		}
		list.Kids = append(list.Kids, e)
		if !p.op(",") || p.peek().text == "in" {
			break
		}
	}
	list.End = list.Kids[len(list.Kids)-1].End
	if len(list.Kids) == 1 {
		return list.Kids[0], nil
	}
	return list, nil
}

// tuple reads an expression, or several with commas.
func (p *parser) tuple() (*Node, error) {
	first, err := p.expr()
	if err != nil || p.peek().text != "," || p.peek().kind != tokOp {
		return first, err
	}
	list := &Node{Kind: List, Kids: []*Node{first}, Start: first.Start}
	for p.op(",") {
		if t := p.peek(); p.i >= len(p.toks) || t.kind == tokOp && (t.text == ")" || t.text == "=") {
			break
		}
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		list.Kids = append(list.Kids, e)
	}
	list.End = list.Kids[len(list.Kids)-1].End
	return list, nil
}

// expr reads a conditional expression.
func (p *parser) expr() (*Node, error) {
	if p.depth--; p.depth < 0 {
		return nil, fmt.Errorf("template nested too deep at byte %d: %w", p.peek().start, detect.ErrLimit)
	}
	defer func() { p.depth++ }()
	if p.steps++; p.steps&4095 == 0 {
		if err := p.ctx(); err != nil {
			return nil, err
		}
	}
	n, err := p.binary(0)
	for err == nil && p.word("if") {
		var cond, other *Node
		if cond, err = p.binary(0); err != nil {
			return nil, err
		}
		kids := []*Node{cond, n}
		if p.word("else") {
			if other, err = p.expr(); err != nil {
				return nil, err
			}
			kids = append(kids, other)
		}
		n = &Node{Kind: Op, Text: "if", Kids: kids, Start: n.Start, End: kids[len(kids)-1].End}
	}
	return n, err
}

// levels are the binary operators, the weakest first.
var levels = [][]string{
	{"or"},
	{"and"},
	{"==", "!=", "<", "<=", ">", ">=", "in"},
	{"+", "-"},
	{"~"},
	{"*", "/", "//", "%"},
	{"**"},
}

// compare is the level above which "not" stands.
const compare = 2

func (p *parser) binary(level int) (*Node, error) {
	if level == len(levels) {
		return p.unary()
	}
	if level == compare && p.word("not") {
		if p.depth--; p.depth < 0 {
			return nil, fmt.Errorf("template nested too deep at byte %d: %w", p.peek().start, detect.ErrLimit)
		}
		k, err := p.binary(level)
		p.depth++
		if err != nil {
			return nil, err
		}
		return &Node{Kind: Op, Text: "not", Kids: []*Node{k}, Start: k.Start, End: k.End}, nil
	}
	left, err := p.binary(level + 1)
	for err == nil {
		t := p.peek()
		op := t.text
		switch {
		case p.i >= len(p.toks) || t.kind == tokString || t.kind == tokNumber:
			return left, nil
		case level == compare && op == "not" && p.i+1 < len(p.toks) && p.toks[p.i+1].text == "in":
			p.i += 2
		case slices.Contains(levels[level], op):
			p.i++
		default:
			return left, nil
		}
		var right *Node
		if right, err = p.binary(level + 1); err == nil {
			left = &Node{Kind: Op, Text: op, Kids: []*Node{left, right}, Start: left.Start, End: right.End}
			err = p.long(left)
		}
	}
	return nil, err
}

// long bounds how deep a tree becomes by a chain of operators, attributes or
// filters, since trees are walked by recursion.
func (p *parser) long(n *Node) error {
	if n.levels() > maxChain {
		return fmt.Errorf("template: chain of more than %d operators at byte %d: %w", maxChain, n.Start, detect.ErrLimit)
	}
	return nil
}

// levels returns the depth of the tree, which is computed once for each node.
func (n *Node) levels() int {
	if n.depth == 0 {
		n.depth = 1
		for _, k := range n.Kids {
			n.depth = max(n.depth, 1+k.levels())
		}
	}
	return n.depth
}

// maxChain bounds one chain such as a.b.c or a + b + c.
const maxChain = 2000

func (p *parser) unary() (*Node, error) {
	t := p.peek()
	if t.kind == tokOp && (t.text == "-" || t.text == "+") && p.i < len(p.toks) {
		p.i++
		if p.depth--; p.depth < 0 {
			return nil, fmt.Errorf("template nested too deep at byte %d: %w", t.start, detect.ErrLimit)
		}
		k, err := p.unary()
		p.depth++
		if err != nil {
			return nil, err
		}
		return &Node{Kind: Op, Text: t.text, Kids: []*Node{k}, Start: t.start, End: k.End}, nil
	}
	n, err := p.primary()
	if err == nil {
		n, err = p.postfix(n)
	}
	if err == nil {
		n, err = p.filters(n, false)
	}
	return n, err
}

func (p *parser) primary() (*Node, error) {
	t := p.peek()
	if p.i >= len(p.toks) {
		return nil, p.bad("an expression")
	}
	p.i++
	n := &Node{Text: t.text, Start: t.start, End: t.end}
	switch {
	case t.kind == tokString:
		n.Kind = String
		for p.peek().kind == tokString && p.i < len(p.toks) { // adjacent texts are one
			n.Text += p.peek().text
			n.End = p.peek().end
			p.i++
		}
		return n, nil
	case t.kind == tokNumber:
		n.Kind = Number
		return n, nil
	case t.kind == tokName:
		n.Kind = Name
		switch t.text {
		case "true", "True", "false", "False", "none", "None":
			n.Kind = Number
		}
		return n, nil
	case t.text == "(":
		n.Kind, n.Text = List, ""
		if p.op(")") {
			n.End = p.toks[p.i-1].end
			return n, nil
		}
		e, err := p.tuple()
		if err == nil && !p.op(")") {
			err = p.bad(`")"`)
		}
		return e, err
	case t.text == "[":
		n.Kind, n.Text = List, ""
		err := p.list(n, "]")
		return n, err
	case t.text == "{":
		n.Kind, n.Text = Dict, ""
		err := p.list(n, "}")
		return n, err
	}
	p.i--
	return nil, p.bad("an expression")
}

// list reads the items of a list, the pairs of a dict or the arguments of a
// call up to the end sign.
func (p *parser) list(n *Node, end string) error {
	for {
		if p.op(end) {
			n.End = p.toks[p.i-1].end
			return nil
		}
		var e *Node
		var err error
		t := p.peek()
		if end == ")" && t.kind == tokName && p.i+1 < len(p.toks) && p.toks[p.i+1].text == "=" && p.toks[p.i+1].kind == tokOp {
			p.i += 2
			if e, err = p.expr(); err == nil {
				e = &Node{Kind: Keyword, Text: t.text, Kids: []*Node{e}, Start: t.start, End: e.End}
			}
		} else {
			if end == ")" && (p.op("*") || p.op("**")) {
				p.steps++ // the star changes nothing for a reader
			}
			e, err = p.expr()
		}
		if err != nil {
			return err
		}
		n.Kids = append(n.Kids, e)
		if end == "}" {
			if !p.op(":") {
				return p.bad(`":"`)
			}
			if e, err = p.expr(); err != nil {
				return err
			}
			n.Kids = append(n.Kids, e)
		}
		if !p.op(",") && p.peek().text != end {
			return p.bad(fmt.Sprintf("%q", end))
		}
	}
}

// postfix reads attributes, items and calls.
func (p *parser) postfix(n *Node) (*Node, error) {
	for {
		next := &Node{Kids: []*Node{n}, Start: n.Start}
		switch {
		case p.op("."):
			t := p.peek()
			if t.kind == tokNumber {
				next.Kind, next.Kids = Item, append(next.Kids, &Node{Kind: Number, Text: t.text, Start: t.start, End: t.end})
			} else {
				next.Kind, next.Text = Attr, t.text
			}
			if t.kind != tokName && t.kind != tokNumber || p.i >= len(p.toks) {
				return nil, p.bad("an attribute")
			}
			p.i++
			next.End = t.end
		case p.op("["):
			next.Kind = Item
			key, err := p.subscript()
			if err != nil {
				return nil, err
			}
			next.Kids = append(next.Kids, key)
			next.End = p.toks[p.i-1].end
		case p.op("("):
			next.Kind = Call
			if err := p.list(next, ")"); err != nil {
				return nil, err
			}
		default:
			return n, nil
		}
		if err := p.long(next); err != nil {
			return nil, err
		}
		n = next
	}
}

// subscript reads a key or a slice and the closing bracket.
func (p *parser) subscript() (*Node, error) {
	none := &Node{Kind: Number, Text: "none", Start: p.peek().start, End: p.peek().start}
	parts, at, slice := []*Node{none, none, none}, 0, false
	var many []*Node
	for !p.op("]") {
		switch {
		case p.op(":"):
			slice = true
			if at++; at > 2 {
				return nil, p.bad(`"]"`)
			}
		case p.op(","):
			many, at = append(many, parts[0]), 0
		default:
			e, err := p.expr()
			if err != nil {
				return nil, err
			}
			parts[at] = e
			if t := p.peek().text; t != ":" && t != "]" && t != "," {
				return nil, p.bad(`"]"`)
			}
		}
	}
	switch {
	case slice:
		return &Node{Kind: Slice, Kids: parts, Start: none.Start, End: p.toks[p.i-1].start}, nil
	case len(many) > 0:
		return &Node{Kind: List, Kids: append(many, parts[0]), Start: none.Start, End: p.toks[p.i-1].start}, nil
	}
	return parts[0], nil
}

// filters reads filters, tests and the calls behind them. A filter block begins
// with a name without a bar.
func (p *parser) filters(n *Node, named bool) (*Node, error) {
	for {
		switch {
		case named || p.op("|"):
			next := &Node{Kind: Filter, Kids: []*Node{n}, Start: n.Start}
			if err := p.named(next); err != nil {
				return nil, err
			}
			if p.op("(") {
				if err := p.list(next, ")"); err != nil {
					return nil, err
				}
			}
			n, named = next, false
		case p.word("is"):
			next := &Node{Kind: Test, Kids: []*Node{n}, Start: n.Start}
			p.word("not")
			if err := p.named(next); err != nil {
				return nil, err
			}
			if err := p.testArgs(next); err != nil {
				return nil, err
			}
			n = next
		case p.peek().text == "(" && p.peek().kind == tokOp || p.peek().text == "." && p.peek().kind == tokOp || p.peek().text == "[" && p.peek().kind == tokOp:
			next, err := p.postfix(n)
			if err != nil {
				return nil, err
			}
			n = next
		default:
			return n, nil
		}
		if err := p.long(n); err != nil {
			return nil, err
		}
	}
}

// named reads the dotted name of a filter or test.
func (p *parser) named(n *Node) error {
	for {
		t := p.peek()
		if t.kind != tokName || p.i >= len(p.toks) {
			return p.bad("a name")
		}
		p.i++
		n.Text += t.text
		n.End = t.end
		if !p.op(".") {
			return nil
		}
		n.Text += "."
	}
}

// testArgs reads the arguments of a test, which may stand without brackets.
func (p *parser) testArgs(n *Node) error {
	if p.op("(") {
		return p.list(n, ")")
	}
	t := p.peek()
	if p.i >= len(p.toks) || t.kind == tokOp && t.text != "[" && t.text != "{" || t.kind == tokName && slices.Contains([]string{"else", "or", "and", "is", "if", "not", "in", "recursive"}, t.text) {
		return nil
	}
	e, err := p.primary()
	if err == nil {
		e, err = p.postfix(e)
	}
	if err == nil {
		n.Kids = append(n.Kids, e)
		n.End = e.End
	}
	return err
}
