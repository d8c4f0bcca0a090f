// Package tokens reads Java, Kotlin and C# into the tree of package syntax, so
// far as an inventory needs them: packages, imports, types with their fields and
// methods, statements, calls with their arguments, builder chains, annotations.
//
// It is tolerant: what it does not understand it reads over, to the end of the
// statement or the bracket. It never says that a file is wrong, and so nothing
// that it leaves out may be taken for absent: files carry [syntax.Partial].
package tokens

import (
	"context"
	"path"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

const (
	maxDepth  = 300
	maxHeight = 2000
)

// A File is a file of one of these languages.
type File struct {
	syntax.File
	Package string // or namespace
	Whole   bool   // nothing was cut off
}

// Parse reads a file; its name tells the language.
func Parse(ctx context.Context, name string, data []byte) *File {
	p := &parser{src: string(data), done: ctx.Done()}
	switch strings.ToLower(path.Ext(name)) {
	case ".kt", ".kts":
		p.kotlin = true
	case ".cs":
		p.csharp = true
	}
	p.src = strings.TrimPrefix(p.src, "\ufeff")
	p.shift = len(data) - len(p.src)
	p.next()
	out := &File{}
	body := p.top()
	out.File = syntax.File{Body: append(p.imports, body...), Source: string(data)}
	out.Package, out.Whole = p.pkg, !p.cut
	return out
}

type kind uint8

const (
	eof kind = iota
	word
	number
	text // value is in str
	punctuation
)

type parser struct {
	src            string
	shift          int
	kotlin, csharp bool
	done           <-chan struct{}
	arena          syntax.Arena

	kind       kind
	tok        string
	str        []*syntax.Node // of text: pieces
	start, pos int
	last       int
	nl         bool
	depth      int
	steps      int
	cut        bool
	wasted     int // tokens that were read for nothing: bounded
	pkg        string
	imports    []*syntax.Node
	class      []string // that are open
}

func (p *parser) node(k syntax.Kind, start int, text string, kids ...*syntax.Node) *syntax.Node {
	n := p.arena.New()
	n.Kind, n.Text = k, text
	n.Start, n.End = int32(start+p.shift), int32(max(p.last, start)+p.shift) //nolint:gosec // files are smaller than 2 GiB
	h := uint16(0)
	for _, k := range kids {
		if k != nil && k.Height > h {
			h = k.Height
		}
	}
	if h >= maxHeight {
		p.cut = true
		n.Kind, n.Text, n.Height = syntax.Constant, "...", 1
		return n
	}
	if len(kids) > 0 {
		n.Kids = p.arena.List(len(kids))
		copy(n.Kids, kids)
	}
	n.Height = h + 1
	return n
}

func (p *parser) name(s string, at int) *syntax.Node { return p.node(syntax.Name, at, s) }

func (p *parser) none() *syntax.Node { return p.node(syntax.Constant, p.start, "...") }

func (p *parser) is(s string) bool { return p.kind == punctuation && p.tok == s }

func (p *parser) word(s string) bool { return p.kind == word && p.tok == s }

func (p *parser) eat(s string) bool {
	if (p.kind == punctuation || p.kind == word) && p.tok == s {
		p.next()
		return true
	}
	return false
}

// enter counts depth: too deep, and the bracket is read over.
func (p *parser) enter() bool {
	if p.depth >= maxDepth {
		p.cut = true
		return false
	}
	p.depth++
	return true
}

func identStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

func identPart(c byte) bool { return identStart(c) || c >= '0' && c <= '9' }

// next reads the next token.
func (p *parser) next() {
	p.last = p.pos
	if p.steps++; p.steps&1023 == 0 {
		select {
		case <-p.done:
			p.cut = true
			p.pos = len(p.src)
		default:
		}
	}
	p.space()
	p.start = p.pos
	if p.pos >= len(p.src) {
		p.kind, p.tok = eof, ""
		return
	}
	c := p.src[p.pos]
	switch {
	case c == '"' || c == '\'':
		p.literal()
	case p.csharp && (c == '$' || c == '@') && p.csharpText():
	case c == '`' && p.kotlin:
		end := max(strings.IndexByte(p.src[p.pos+1:], '`'), 0)
		p.kind, p.tok = word, p.src[p.pos+1:p.pos+1+end]
		p.pos = min(p.pos+end+2, len(p.src))
	case identStart(c):
		i := p.pos + 1
		for i < len(p.src) && identPart(p.src[i]) {
			i++
		}
		p.kind, p.tok, p.pos = word, p.src[p.pos:i], i
	case c >= '0' && c <= '9':
		i := p.pos + 1
		for i < len(p.src) && (identPart(p.src[i]) || p.src[i] == '.' && i+1 < len(p.src) && p.src[i+1] >= '0' && p.src[i+1] <= '9') {
			i++
		}
		p.kind, p.tok, p.pos = number, p.src[p.pos:i], i
	default:
		n := 1
		for _, op := range [...]string{"??=", "...", "->", "=>", "::", "?.", "?:", "??", "!!", "&&", "||", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "++", "--"} {
			if strings.HasPrefix(p.src[p.pos:], op) {
				n = len(op)
				break
			}
		}
		p.kind, p.tok = punctuation, p.src[p.pos:p.pos+n]
		p.pos += n
	}
}

func (p *parser) space() {
	p.nl = false
	for p.pos < len(p.src) {
		rest := p.src[p.pos:]
		switch c := rest[0]; {
		case c == '\n':
			p.nl = true
			p.pos++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			p.pos++
		case strings.HasPrefix(rest, "//"), c == '#' && p.csharp:
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				p.pos += i
			} else {
				p.pos = len(p.src)
			}
		case strings.HasPrefix(rest, "/*"):
			if i := strings.Index(rest[2:], "*/"); i >= 0 {
				p.nl = p.nl || strings.Contains(rest[:i+2], "\n")
				p.pos += i + 4
			} else {
				p.pos = len(p.src)
			}
		default:
			return
		}
	}
}

// literal reads a string or character.
func (p *parser) literal() {
	p.kind, p.tok = text, `"`
	q := p.src[p.pos]
	if strings.HasPrefix(p.src[p.pos:], `"""`) {
		body := p.src[p.pos+3:]
		end := strings.Index(body, `"""`)
		if end < 0 {
			end = len(body)
		}
		from := p.pos + 3
		p.pos = min(from+end+3, len(p.src))
		p.pieces(strings.TrimPrefix(body[:end], "\n"), from, p.kotlin, false)
		return
	}
	i := p.pos + 1
	for i < len(p.src) && p.src[i] != q && p.src[i] != '\n' {
		if p.src[i] == '\\' {
			i++
		}
		i++
	}
	i = min(i, len(p.src))
	from := p.pos + 1
	p.pos = min(i+1, len(p.src))
	p.pieces(p.src[from:max(i, from)], from, p.kotlin && q == '"', true)
}

// csharpText reads $"…", @"…" and $@"…".
func (p *parser) csharpText() bool {
	i := p.pos
	for i < len(p.src) && (p.src[i] == '$' || p.src[i] == '@') {
		i++
	}
	if i >= len(p.src) || p.src[i] != '"' {
		return false
	}
	mark := p.src[p.pos:i]
	from := i + 1
	if strings.HasPrefix(p.src[i:], `"""`) {
		p.pos = i
		p.literal()
		return true
	}
	i = from
	verbatim := strings.Contains(mark, "@")
	for i < len(p.src) && (verbatim || p.src[i] != '\n') {
		if p.src[i] == '"' {
			if !verbatim || i+1 >= len(p.src) || p.src[i+1] != '"' {
				break
			}
			i++
		}
		if p.src[i] == '\\' && !verbatim {
			i++
		}
		i++
	}
	i = min(i, len(p.src))
	p.kind, p.tok = text, `"`
	p.pos = min(i+1, len(p.src))
	p.pieces(p.src[from:max(i, from)], from, strings.Contains(mark, "$"), !verbatim)
	return true
}

// pieces splits a string at the names and expressions in it. Of those only
// dotted names are understood.
func (p *parser) pieces(s string, at int, holes, escapes bool) {
	p.str = p.str[:0]
	open := "{"
	if p.kotlin {
		open = "$"
	}
	add := func(t string) {
		if escapes {
			t = unescape(t)
		}
		p.str = append(p.str, p.node(syntax.String, at, t))
	}
	for holes {
		i := strings.Index(s, open)
		if i < 0 || i+1 >= len(s) {
			break
		}
		rest := s[i+1:]
		end, skip := 0, 0
		if p.kotlin && rest[0] != '{' {
			for end < len(rest) && identPart(rest[end]) {
				end++
			}
		} else {
			if p.kotlin {
				rest = rest[1:]
			}
			end = strings.IndexByte(rest, '}')
			skip = 1
		}
		if end <= 0 {
			break
		}
		if i > 0 {
			add(s[:i])
		}
		v := p.node(syntax.Constant, at, "...")
		for j, part := range strings.Split(rest[:end], ".") {
			if part == "" || !identStart(part[0]) || strings.ContainsFunc(part, func(r rune) bool { return r < 0x80 && !identPart(byte(r&0x7f)) }) {
				v = p.node(syntax.Constant, at, "...")
				break
			}
			if j == 0 {
				v = p.name(part, at)
			} else {
				v = p.node(syntax.Attr, at, part, v)
			}
		}
		p.str = append(p.str, p.node(syntax.Field, at, "", v, nil))
		s = rest[end+skip:]
		if len(p.str) > 200 {
			break
		}
	}
	if s != "" || len(p.str) == 0 {
		add(s)
	}
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\'`, `'`, `\$`, "$").Replace(s)
}

// skip reads over the bracket that is open here, and what is in it.
func (p *parser) skip() {
	depth := 0
	for p.kind != eof {
		if p.kind == punctuation {
			switch p.tok {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth--; depth <= 0 {
					p.next()
					return
				}
			}
		}
		p.next()
	}
}
