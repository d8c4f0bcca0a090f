// Package js reads JavaScript and TypeScript, with JSX, and the scripts of Vue
// and Svelte files, into the tree of package syntax.
//
// It reads what ECMAScript 2025 and TypeScript 5 allow. Types are read over: no
// node stands for them. Imports and exports become [syntax.From] and
// assignments of module names, where "default" is the name of the default
// export and "module.exports" that of CommonJS; enumerations become constant
// objects, JSX a call of the component with its properties.
//
// Errors are local: after one, reading goes on at the next statement. Depth is
// bounded, and all that is tried twice is counted, so that hostile input costs
// no more than its size.
package js

import (
	"context"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

const (
	maxDepth  = 500  // of nested statements, expressions and types
	maxHeight = 2000 // of chains such as a.b.c and "x" + "y"
	maxErrors = 32   // that are kept
)

// An Error is a place that could not be read.
type Error struct {
	Start   int // byte of the source
	Message string
}

// Parse reads a file; its name tells the dialect. It always returns a tree, of
// what could be read. If ctx ends, the rest of the file is an error.
func Parse(ctx context.Context, name string, data []byte) (*syntax.File, []Error) {
	p := &parser{done: ctx.Done(), orig: string(data)}
	p.src = p.orig
	ext := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	switch ext {
	case "ts", "mts", "cts":
		p.ts = true
	case "tsx":
		p.ts, p.jsx = true, true
	case "vue", "svelte":
		p.ts = true
		p.src = scripts(p.orig)
	default:
		p.jsx = true
	}
	if strings.HasPrefix(p.src, "#!") {
		if i := strings.IndexByte(p.src, '\n'); i >= 0 {
			p.pos = i
		} else {
			p.pos = len(p.src)
		}
	} else if strings.HasPrefix(p.src, "\ufeff") {
		p.pos = 3
	}
	p.budget = 8*len(p.src) + 1<<16
	p.next()
	var body []*syntax.Node
	for p.kind != tEOF {
		at := p.start
		body = p.statement(body)
		if p.is("}") && p.start >= at { // one too many
			p.note("} without {")
			p.next()
		}
	}
	return &syntax.File{Body: body, Source: p.orig}, p.errs
}

// Imports reduces a tree to what it imports: for bundles that nobody wrote.
func Imports(f *syntax.File) *syntax.File {
	out := &syntax.File{Source: f.Source}
	for _, top := range f.Body {
		syntax.Walk(top, func(n *syntax.Node) bool {
			switch n.Kind {
			case syntax.From, syntax.Import:
				out.Body = append(out.Body, n)
			case syntax.Call:
				if fn := n.Kid(0); fn.Kind == syntax.Name && fn.Text == "require" && len(n.Kids) == 2 && n.Kids[1].Kind == syntax.String {
					out.Body = append(out.Body, &syntax.Node{Kind: syntax.From, Start: n.Start, End: n.End, Text: n.Kids[1].Text, Height: 1})
				}
			default:
			}
			return true
		})
	}
	return out
}

// scripts blanks out all of a Vue or Svelte file but its scripts, so that
// offsets stay.
func scripts(s string) string {
	out := make([]byte, 0, len(s))
	blank := func(t string) {
		for i := range len(t) {
			if t[i] == '\n' || t[i] == '\r' {
				out = append(out, t[i])
			} else {
				out = append(out, ' ')
			}
		}
	}
	for len(s) > 0 {
		i := strings.Index(s, "<script")
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '>')
		if end < 0 {
			break
		}
		end += i + 1
		blank(s[:end])
		s = s[end:]
		stop := strings.Index(s, "</script")
		if stop < 0 {
			stop = len(s)
		}
		out = append(out, s[:stop]...)
		s = s[stop:]
	}
	blank(s)
	return string(out)
}

// A parser reads one file.
type parser struct {
	src, orig string
	ts, jsx   bool
	done      <-chan struct{}
	arena     syntax.Arena

	// The current token.
	kind       tokKind
	text       string
	start, end int
	nl         bool // a line ends before it
	pos        int  // where the next one is looked for

	last    int // where the token before ended
	depth   int
	steps   int
	budget  int  // of tokens that are read on trial
	broken  bool // an error unwinds to the statement
	failed  int  // where it is
	quiet   bool // what is read is on trial
	errs    []Error
	blocks  int // that are open
	noColon int // inside of a ? b, where (c): is no type
	noIn    bool
	breaks  []bool      // what a break leaves: true for a loop, false for a switch
	pairs   map[int]int // where a bracket that was scanned over ends
}

func (p *parser) note(msg string) {
	if !p.quiet && len(p.errs) < maxErrors {
		p.errs = append(p.errs, Error{p.start, msg})
	}
}

// fail notes an error and unwinds: from here on all tokens are the end.
func (p *parser) fail(msg string) {
	if p.broken {
		return
	}
	p.note(msg)
	p.broken, p.failed = true, p.start
	p.kind, p.text = tEOF, ""
}

func (p *parser) is(s string) bool { return p.kind == tPunct && p.text == s }

func (p *parser) word(s string) bool { return p.kind == tName && p.text == s }

// eat reads over a punctuator if it is there.
func (p *parser) eat(s string) bool {
	if !p.is(s) {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(s string) {
	if !p.eat(s) {
		p.fail("expected " + s)
	}
}

// enter counts depth; leave must follow if it returns true.
func (p *parser) enter() bool {
	if p.depth >= maxDepth {
		p.fail("nested too deeply")
		return false
	}
	p.depth++
	return true
}

func (p *parser) leave() { p.depth-- }

// node makes a node that ends where the last token ended.
func (p *parser) node(k syntax.Kind, start int, text string, kids ...*syntax.Node) *syntax.Node {
	n := p.arena.New()
	n.Kind, n.Text = k, text
	n.Start, n.End = int32(start), int32(max(p.last, start)) //nolint:gosec // files are smaller than 2 GiB
	h := uint16(0)
	if len(kids) > 0 {
		n.Kids = p.arena.List(len(kids))
		copy(n.Kids, kids)
		for _, k := range kids {
			if k != nil && k.Height > h {
				h = k.Height
			}
		}
	}
	n.Height = h + 1
	if n.Height > maxHeight {
		p.fail("a chain that is too long")
		n.Kids, n.Height, n.Kind = nil, 1, syntax.Pass
		if k >= syntax.Name {
			n.Kind, n.Text = syntax.Constant, "..."
		}
	}
	return n
}

func (p *parser) name(s string, start int) *syntax.Node { return p.node(syntax.Name, start, s) }

// state is what a trial goes back to.
type state struct {
	kind                   tokKind
	text                   string
	start, end, pos, last  int
	nl, broken, quiet      bool
	failed, depth, noColon int
}

func (p *parser) mark() state {
	return state{p.kind, p.text, p.start, p.end, p.pos, p.last, p.nl, p.broken, p.quiet, p.failed, p.depth, p.noColon}
}

func (p *parser) reset(s state) {
	p.kind, p.text, p.start, p.end, p.pos, p.last, p.nl, p.broken, p.quiet, p.failed, p.depth, p.noColon = s.kind, s.text, s.start, s.end, s.pos, s.last, s.nl, s.broken, s.quiet, s.failed, s.depth, s.noColon
}

// try reads something on trial. Unless it returns true, nothing happened.
func (p *parser) try(read func() bool) bool {
	if p.budget <= 0 || p.broken {
		return false
	}
	s := p.mark()
	p.quiet = true
	ok := read() && !p.broken
	p.quiet = s.quiet
	if !ok {
		p.reset(s)
	}
	return ok
}
