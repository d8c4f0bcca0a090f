package pickle

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	exprBytes = 256
	exprDepth = 10
)

// A printer writes one expression; it stops when it is full.
type printer struct {
	a *arena
	b strings.Builder
}

func (a *arena) expr(id uint32) string {
	p := printer{a: a}
	p.value(id, exprDepth)
	s := p.b.String()
	if len(s) > exprBytes {
		const more = "…"
		s = s[:exprBytes-len(more)]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-4):]) {
			s = s[:len(s)-1]
		}
		s += more
	}
	return s
}

func (p *printer) full() bool { return p.b.Len() > exprBytes }

func (p *printer) value(id uint32, depth int) {
	if p.full() {
		return
	}
	if depth == 0 {
		p.b.WriteString("…")
		return
	}
	n := p.a.nodes[id]
	switch n.kind {
	case None:
		p.b.WriteString("None")
	case Bool:
		p.b.WriteString(map[bool]string{true: "True", false: "False"}[n.num == 1])
	case Int:
		if n.b != 0 {
			p.b.WriteString(p.a.text(id))
		} else {
			p.b.WriteString(strconv.FormatInt(n.num, 10))
		}
	case Float:
		p.b.WriteString(p.a.text(id))
	case Str:
		p.quote("'", p.a.text(id))
	case Bytes:
		p.quote("b'", p.a.text(id))
	case List:
		p.list("[", p.a.items(id), "]", depth)
	case Tuple:
		items := p.a.items(id)
		p.list("(", items, map[bool]string{true: ",)", false: ")"}[len(items) == 1], depth)
	case Set:
		p.list("{", p.a.items(id), "}", depth)
	case FrozenSet:
		p.list("frozenset({", p.a.items(id), "})", depth)
	case Dict:
		p.dict(p.a.items(id), depth)
	case Global:
		p.b.WriteString(p.a.globals[n.num].String())
	case Call:
		p.call(n, depth)
	case Attr:
		p.value(n.a, depth-1)
		p.b.WriteString("." + p.a.text(id))
	case Item:
		p.value(n.a, depth-1)
		p.b.WriteString("[")
		p.value(n.b, depth-1)
		p.b.WriteString("]")
	case Persistent:
		p.b.WriteString("persistent_load(")
		p.value(n.b, depth-1)
		p.b.WriteString(")")
	case Unknown:
		p.b.WriteString("?")
	}
}

func (p *printer) call(n node, depth int) {
	p.value(n.a, depth-1)
	if n.how == New {
		p.b.WriteString(".__new__")
	}
	p.b.WriteString("(")
	if args := p.a.nodes[n.b]; args.kind == Tuple {
		p.join(p.a.items(n.b), depth)
	} else {
		p.b.WriteString("*")
		p.value(n.b, depth-1)
	}
	if n.c != noValue {
		p.b.WriteString(", **")
		p.value(n.c, depth-1)
	}
	p.b.WriteString(")")
}

func (p *printer) list(open string, items []uint32, end string, depth int) {
	p.b.WriteString(open)
	p.join(items, depth)
	p.b.WriteString(end)
}

func (p *printer) join(items []uint32, depth int) {
	for i, it := range items {
		if i > 0 {
			p.b.WriteString(", ")
		}
		if p.full() {
			return
		}
		p.value(it, depth-1)
	}
}

func (p *printer) dict(items []uint32, depth int) {
	p.b.WriteString("{")
	for i := 0; i+1 < len(items) && !p.full(); i += 2 {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.value(items[i], depth-1)
		p.b.WriteString(": ")
		p.value(items[i+1], depth-1)
	}
	p.b.WriteString("}")
}

// quote writes s as Python would, cut to what fits; the first byte of prefix
// may be b.
func (p *printer) quote(prefix, s string) {
	raw := prefix[0] == 'b'
	p.b.WriteString(prefix)
	for i, r := range s {
		if p.b.Len() > exprBytes {
			return
		}
		switch {
		case r == '\'' || r == '\\':
			p.b.WriteString("\\" + string(r))
		case r == '\n':
			p.b.WriteString(`\n`)
		case r == '\r':
			p.b.WriteString(`\r`)
		case r == '\t':
			p.b.WriteString(`\t`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&p.b, `\x%02x`, s[i])
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&p.b, `\x%02x`, r)
		case raw && r >= 0x80:
			for _, b := range []byte(string(r)) {
				fmt.Fprintf(&p.b, `\x%02x`, b)
			}
		default:
			p.b.WriteRune(r)
		}
	}
	p.b.WriteString("'")
}

// String returns the dotted name; a module object stands for itself.
func (g global) String() string {
	switch {
	case g.path == "":
		return g.module
	case g.module == "builtins" && !strings.Contains(g.path, "."):
		return g.path
	default:
		return g.module + "." + g.path
	}
}
