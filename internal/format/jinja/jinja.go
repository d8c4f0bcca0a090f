// Package jinja parses Jinja templates, as chat templates of models are, to a
// tree of their tags and expressions. It renders nothing.
//
// Source: the documentation of Jinja 3.1, "Template Designer Documentation", and
// the observable behaviour of its lexer.
package jinja

import (
	"bytes"
	"context"
	"fmt"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Kind is the type of a [Node].
type Kind uint8

// The kinds of node.
const (
	Tag     Kind = iota // Text is the name of the tag; the kids are its expressions
	Output              // {{ expression }}
	Name                // Text is the name
	String              // Text is the decoded text
	Number              // Text as written; also true, false and none
	Attr                // Text is the attribute of the only kid
	Item                // kid 0 [ kid 1 ]
	Call                // kid 0 ( other kids )
	Filter              // kid 0 | Text ( other kids )
	Test                // kid 0 is Text ( other kids )
	Op                  // Text is the operator, unary or binary; "if" has condition, value, alternative
	List                // also tuples
	Dict                // keys and values by turns
	Slice               // start, end, step; Number "none" where left out
	Keyword             // Text = kid 0, an argument
)

// A Node is one tag or expression. Start and End are bytes of the template.
type Node struct {
	Kind       Kind
	Text       string
	Kids       []*Node
	Start, End int

	depth int // of the tree below, 0 before it is known
}

// A Template is a parsed template: its tags and outputs in order, flat.
type Template struct {
	Source string
	Nodes  []*Node
}

// maxTokens bounds one template; each costs about 100 bytes.
const maxTokens = 1_000_000

// Has reports whether text holds anything that a template engine would run.
func Has(text []byte) bool {
	return bytes.Contains(text, []byte("{{")) || bytes.Contains(text, []byte("{%"))
}

// Parse reads a template. With an error it returns what was read before.
func Parse(ctx context.Context, source string, lim bound.Limits) (*Template, error) {
	t := &Template{Source: source}
	l := lexer{src: source}
	total := 0
	for {
		if err := ctx.Err(); err != nil {
			return t, fmt.Errorf("template at byte %d: %w", l.i, err)
		}
		open, err := l.next()
		if err != nil || open == "" {
			return t, err
		}
		start := l.i - 2
		toks, err := l.tokens(open)
		if err != nil {
			return t, err
		}
		if total += len(toks); total > maxTokens {
			return t, fmt.Errorf("template of more than %d words: %w", maxTokens, detect.ErrLimit)
		}
		p := &parser{toks: toks, depth: lim.Nesting, end: l.i, ctx: ctx.Err}
		n, err := p.statement(open)
		if err != nil {
			return t, err
		}
		n.Start, n.End = start, l.i
		t.Nodes = append(t.Nodes, n)
		if n.Kind == Tag && n.Text == "raw" {
			if err := l.raw(); err != nil {
				return t, err
			}
		}
	}
}

// Walk calls visit for n and every node below it, parents first.
func (n *Node) Walk(visit func(*Node)) {
	visit(n)
	for _, k := range n.Kids {
		k.Walk(visit) // as deep as the parser allowed
	}
}

// Arg returns the i-th positional argument of a call, filter or test.
func (n *Node) Arg(i int) *Node {
	for _, k := range n.Kids[min(1, len(n.Kids)):] {
		if k.Kind == Keyword {
			continue
		}
		if i == 0 {
			return k
		}
		i--
	}
	return nil
}

// Keyword returns the named argument.
func (n *Node) Keyword(name string) *Node {
	for _, k := range n.Kids {
		if k.Kind == Keyword && k.Text == name {
			return k.Kids[0]
		}
	}
	return nil
}
