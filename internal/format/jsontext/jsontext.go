// Package jsontext parses JSON as Python's json module reads it, and keeps what
// that throws away: duplicate keys, their order and the place of every value.
// The tree is one array of small nodes over the source text, so that a large
// tokenizer costs little.
//
// Source: RFC 8259; json.decoder of CPython, which also takes NaN, Infinity and
// -Infinity.
package jsontext

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Kind is the type of a value.
type Kind uint8

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// maxNodes bounds the values of one document: 28 bytes each.
const maxNodes = 3_000_000

type node struct {
	kind       Kind
	start, end int32 // of the value in the source
	key        int32 // start of the key text, or -1
	keyEnd     int32
	next       int32 // next sibling, or -1
	child      int32 // first child, or -1
}

// A Doc is a parsed document.
type Doc struct {
	src   []byte
	nodes []node
}

// A Value is one value of a document. The zero Value is absent: it has no
// members and empty text.
type Value struct {
	d *Doc
	i int32
}

// Parse reads all of src, which it keeps. An error says where it is not JSON,
// or wraps [detect.ErrLimit].
func Parse(ctx context.Context, src []byte, lim bound.Limits) (*Doc, error) {
	if len(src) > math.MaxInt32 {
		return nil, fmt.Errorf("JSON of %d bytes: %w", len(src), detect.ErrLimit)
	}
	p := parser{ctx: ctx.Err, d: &Doc{src: src}, depth: lim.Nesting}
	if len(src) >= 3 && string(src[:3]) == "\xef\xbb\xbf" {
		p.i = 3
	}
	if err := p.value(-1, -1, 0); err != nil {
		return nil, err
	}
	if p.space(); p.i < len(src) {
		return nil, fmt.Errorf("JSON: more text at byte %d", p.i)
	}
	return p.d, nil
}

// Root returns the outermost value.
func (d *Doc) Root() Value {
	if d == nil || len(d.nodes) == 0 {
		return Value{}
	}
	return Value{d, 0}
}

// Ok reports whether v is present.
func (v Value) Ok() bool { return v.d != nil }

func (v Value) node() node {
	if v.d == nil {
		return node{child: -1, next: -1, key: -1}
	}
	return v.d.nodes[v.i]
}

// Kind returns the type of v; Null for an absent one.
func (v Value) Kind() Kind { return v.node().kind }

// Span returns the bytes of v in the source.
func (v Value) Span() (start, end int64) { n := v.node(); return int64(n.start), int64(n.end) }

// Key returns the key under which v is a member.
func (v Value) Key() string {
	n := v.node()
	if n.key < 0 || v.d == nil {
		return ""
	}
	return unquote(v.d.src[n.key:n.keyEnd])
}

// Text returns the text of a string, and "" for other values.
func (v Value) Text() string {
	n := v.node()
	if n.kind != String {
		return ""
	}
	return unquote(v.d.src[n.start:n.end])
}

// Raw returns the source text of v.
func (v Value) Raw() string {
	n := v.node()
	if v.d == nil {
		return ""
	}
	return string(v.d.src[n.start:n.end])
}

// Int returns a number that is an integer.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Raw(), 10, 64)
	return n, err == nil
}

// True reports whether v is the value true.
func (v Value) True() bool { return v.Kind() == Bool && v.Raw() == "true" }

// All yields the members of an object or the items of an array, duplicates
// included, in order.
func (v Value) All(yield func(Value) bool) {
	for i := v.node().child; i >= 0; i = v.d.nodes[i].next {
		if !yield(Value{v.d, i}) {
			return
		}
	}
}

// Get returns the last member with the key, as Python does.
func (v Value) Get(key string) (got Value) {
	if v.Kind() != Object {
		return Value{}
	}
	for m := range v.All {
		if m.Key() == key {
			got = m
		}
	}
	return got
}

// Each calls visit for v and every value below it, parents first, until it
// returns false.
func (v Value) Each(visit func(Value) bool) {
	if v.d == nil {
		return
	}
	end := v.last()
	for i := v.i; i <= end; i++ { // nodes lie in document order
		if !visit(Value{v.d, i}) {
			return
		}
	}
}

// last returns the last node below v: nodes of a subtree are contiguous.
func (v Value) last() int32 {
	n := v.node()
	if n.next >= 0 {
		return n.next - 1
	}
	i := v.i
	for int(i)+1 < len(v.d.nodes) && v.d.nodes[i+1].start < n.end {
		i++
	}
	return i
}

type parser struct {
	ctx   func() error
	d     *Doc
	i     int
	depth int
}

func (p *parser) space() {
	for p.i < len(p.d.src) {
		switch p.d.src[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) bad(what string) error { return fmt.Errorf("JSON: %s at byte %d", what, p.i) }

func (p *parser) value(key, keyEnd int32, depth int) error {
	if depth > p.depth {
		return fmt.Errorf("JSON nested more than %d deep at byte %d: %w", p.depth, p.i, detect.ErrLimit)
	}
	if len(p.d.nodes)&4095 == 0 {
		if err := p.ctx(); err != nil {
			return err
		}
	}
	if len(p.d.nodes) >= maxNodes {
		return fmt.Errorf("JSON of more than %d values: %w", maxNodes, detect.ErrLimit)
	}
	p.space()
	if p.i >= len(p.d.src) {
		return p.bad("no value")
	}
	at := len(p.d.nodes)
	p.d.nodes = append(p.d.nodes, node{start: int32(p.i), key: key, keyEnd: keyEnd, next: -1, child: -1})
	var kind Kind
	var err error
	switch c := p.d.src[p.i]; {
	case c == '{':
		kind, err = Object, p.members(at, '}', depth)
	case c == '[':
		kind, err = Array, p.members(at, ']', depth)
	case c == '"':
		kind, err = String, p.text()
	case c == '-' && !p.word("-Infinity"), c >= '0' && c <= '9':
		kind, err = Number, p.number()
	case p.word("true"), p.word("false"):
		kind = Bool
	case p.word("null"):
		kind = Null
	case p.word("NaN"), p.word("Infinity"), p.i > int(p.d.nodes[at].start):
		kind = Number
	default:
		err = p.bad("not a value")
	}
	p.d.nodes[at].kind, p.d.nodes[at].end = kind, int32(p.i)
	return err
}

func (p *parser) word(w string) bool {
	if len(p.d.src)-p.i < len(w) || string(p.d.src[p.i:p.i+len(w)]) != w {
		return false
	}
	p.i += len(w)
	return true
}

func (p *parser) members(parent int, end byte, depth int) error {
	p.i++
	last := -1
	for first := true; ; first = false {
		p.space()
		if p.i >= len(p.d.src) {
			return p.bad("no end")
		}
		if p.d.src[p.i] == end {
			p.i++
			return nil
		}
		if !first {
			if p.d.src[p.i] != ',' {
				return p.bad("no comma")
			}
			p.i++
			p.space()
		}
		key, keyEnd := int32(-1), int32(-1)
		if end == '}' {
			key = int32(p.i)
			if p.i >= len(p.d.src) || p.d.src[p.i] != '"' {
				return p.bad("no key")
			}
			if err := p.text(); err != nil {
				return err
			}
			keyEnd = int32(p.i)
			p.space()
			if p.i >= len(p.d.src) || p.d.src[p.i] != ':' {
				return p.bad("no colon")
			}
			p.i++
		}
		at := len(p.d.nodes)
		if err := p.value(key, keyEnd, depth+1); err != nil {
			return err
		}
		if last < 0 {
			p.d.nodes[parent].child = int32(at)
		} else {
			p.d.nodes[last].next = int32(at)
		}
		last = at
	}
}

// text passes a string. Control characters are let through: Python takes them
// with strict=False.
func (p *parser) text() error {
	for p.i++; p.i < len(p.d.src); p.i++ {
		switch p.d.src[p.i] {
		case '"':
			p.i++
			return nil
		case '\\':
			p.i++
		}
	}
	p.i = len(p.d.src)
	return p.bad("text without end")
}

func (p *parser) number() error {
	start := p.i
	for p.i < len(p.d.src) {
		switch c := p.d.src[p.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			p.i++
		default:
			goto done
		}
	}
done:
	if p.i-start > 4096 {
		return fmt.Errorf("JSON: number of %d digits at byte %d: %w", p.i-start, start, detect.ErrLimit)
	}
	if _, err := strconv.ParseFloat(string(p.d.src[start:p.i]), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
		return p.bad("not a number")
	}
	return nil
}

// unquote decodes a quoted text. Bad escapes stay as they are.
func unquote(q []byte) string {
	if len(q) < 2 {
		return ""
	}
	q = q[1 : len(q)-1]
	out := make([]byte, 0, len(q))
	for i := 0; i < len(q); i++ {
		if q[i] != '\\' || i+1 >= len(q) {
			out = append(out, q[i])
			continue
		}
		i++
		switch q[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			r, ok := hex4(q[i+1:])
			if !ok {
				out = append(out, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && len(q) > i+2 && q[i+1] == '\\' && q[i+2] == 'u' {
				if low, ok := hex4(q[i+3:]); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r, i = both, i+6
					}
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, q[i])
		}
	}
	return string(out)
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil
}
