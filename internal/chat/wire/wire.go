// Package wire reads one JSON body once and keeps where everything stands in
// it. Decisions read the index, the forwarder sends the original bytes, so that
// there is no second parser whose idea of the body could differ from ours.
//
// It accepts RFC 8259 as narrowed by I-JSON (RFC 7493) and refuses what parsers
// disagree about: duplicate names, invalid UTF-8, lone surrogates, a byte-order
// mark, numbers that float64 cannot hold, bytes after the value.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/modelwarden/warden/detect"
)

// ErrSyntax is wrapped by every error about a body that is not acceptable JSON.
// Limits wrap [detect.ErrLimit] too.
var ErrSyntax = errors.New("not acceptable JSON")

// Limits bound a body. A zero field allows nothing, but see Keep.
type Limits struct {
	Bytes  int
	Depth  int
	Values int
	Keep   int // values nested deeper are checked but not kept in the index; 0 keeps all
}

// DefaultLimits returns the limits of chat bodies.
func DefaultLimits() Limits { return Limits{Bytes: 8 << 20, Depth: 64, Values: 100_000} }

// Kind is the type of a JSON value.
type Kind byte

// The kinds. Missing is what Get returns for a name that is not there.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

type node struct {
	kind       Kind
	start, end int    // span in the body; a string's includes its quotes
	name       string // unescaped, of a member of an object
	escaped    bool   // the name was written with escapes
	next       int32  // index of the node after this value and all inside it
}

// A Doc is one parsed body. It is read-only and safe for concurrent use.
type Doc struct {
	body  []byte
	nodes []node
}

// Parse reads body, which it keeps.
func Parse(body []byte, lim Limits) (*Doc, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d: %w", ErrSyntax, len(body), lim.Bytes, detect.ErrLimit)
	}
	p := parser{b: body, lim: lim}
	if err := p.value(0, "", false); err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.b) {
		return nil, p.fail("bytes after the value")
	}
	return &Doc{body, p.nodes}, nil
}

// Bytes returns the body.
func (d *Doc) Bytes() []byte { return d.body }

// Root returns the outermost value.
func (d *Doc) Root() Value { return Value{d, 0} }

// A Value is one value in a Doc. The zero Value is Missing.
type Value struct {
	d *Doc
	i int32
}

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if v.d == nil {
		return Missing
	}
	return v.d.nodes[v.i].kind
}

// Span returns where v stands in the body, half-open.
func (v Value) Span() (start, end int) {
	if v.d == nil {
		return 0, 0
	}
	return v.d.nodes[v.i].start, v.d.nodes[v.i].end
}

// Raw returns the bytes of v.
func (v Value) Raw() []byte {
	s, e := v.Span()
	if v.d == nil {
		return nil
	}
	return v.d.body[s:e]
}

// Get returns the member of that name, or Missing.
func (v Value) Get(name string) Value {
	for n, m := range v.Members() {
		if n == name {
			return m
		}
	}
	return Value{}
}

// Members yields the members of an object with unescaped names, in order.
func (v Value) Members() func(yield func(string, Value) bool) {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		for i := v.i + 1; i < v.d.nodes[v.i].next; i = v.d.nodes[i].next {
			if !yield(v.d.nodes[i].name, Value{v.d, i}) {
				return
			}
		}
	}
}

// Items yields the elements of an array.
func (v Value) Items() func(yield func(Value) bool) {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		for i := v.i + 1; i < v.d.nodes[v.i].next; i = v.d.nodes[i].next {
			if !yield(Value{v.d, i}) {
				return
			}
		}
	}
}

// Escaped reports whether the name of this member was written with escapes.
func (v Value) Escaped() bool { return v.d != nil && v.d.nodes[v.i].escaped }

// Text returns the unescaped text of a string.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	raw := v.Raw()
	s, _ := unescape(raw[1 : len(raw)-1])
	return s, true
}

// Bool returns the value of a boolean.
func (v Value) Bool() (value, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.Raw()[0] == 't', true
}

// Int returns the value of a number that is an integer.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Raw()), 10, 64)
	return n, err == nil
}

// Splice returns the body with the bytes of v replaced by raw, which must be
// JSON. The result is parsed again: what is sent is what was read.
func (d *Doc) Splice(v Value, raw []byte, lim Limits) (*Doc, error) {
	s, e := v.Span()
	b := make([]byte, 0, len(d.body)-(e-s)+len(raw))
	b = append(append(append(b, d.body[:s]...), raw...), d.body[e:]...)
	return Parse(b, lim)
}

type parser struct {
	b     []byte
	i     int
	lim   Limits
	count int // values so far, kept or not
	nodes []node
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, p.i)
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\n' || p.b[p.i] == '\r') {
		p.i++
	}
}

// value reads one value and what it contains. Recursion ends at Limits.Depth.
func (p *parser) value(depth int, name string, escaped bool) error {
	if depth > p.lim.Depth {
		return fmt.Errorf("%w: nested deeper than %d: %w", ErrSyntax, p.lim.Depth, detect.ErrLimit)
	}
	if p.count++; p.count > p.lim.Values {
		return fmt.Errorf("%w: more than %d values: %w", ErrSyntax, p.lim.Values, detect.ErrLimit)
	}
	p.space()
	if p.i >= len(p.b) {
		return p.fail("unexpected end")
	}
	at, keep := len(p.nodes), p.lim.Keep == 0 || depth <= p.lim.Keep
	if keep {
		p.nodes = append(p.nodes, node{start: p.i, name: name, escaped: escaped})
	}
	var kind Kind
	var err error
	switch c := p.b[p.i]; {
	case c == '{':
		kind, err = Object, p.object(depth)
	case c == '[':
		kind, err = Array, p.array(depth)
	case c == '"':
		kind = String
		_, _, err = p.str()
	case c == '-' || '0' <= c && c <= '9':
		kind, err = Number, p.number()
	default:
		kind, err = p.word()
	}
	if err != nil {
		return err
	}
	if !keep {
		return nil
	}
	p.nodes[at].kind, p.nodes[at].end, p.nodes[at].next = kind, p.i, int32(len(p.nodes))
	return nil
}

func (p *parser) word() (Kind, error) {
	for _, w := range []struct {
		text string
		kind Kind
	}{{"true", Bool}, {"false", Bool}, {"null", Null}} {
		if bytes.HasPrefix(p.b[p.i:], []byte(w.text)) {
			p.i += len(w.text)
			return w.kind, nil
		}
	}
	return Missing, p.fail("unexpected character")
}

// manyNames is from how many members on duplicates are found by a map.
const manyNames = 16

func (p *parser) object(depth int) error {
	p.i++
	var names []string
	var seen map[string]bool
	for first := true; ; first = false {
		p.space()
		if p.i < len(p.b) && p.b[p.i] == '}' && first {
			p.i++
			return nil
		}
		if p.i >= len(p.b) || p.b[p.i] != '"' {
			return p.fail("a name must be a string")
		}
		name, escaped, err := p.str()
		if err != nil {
			return err
		}
		dup := false
		if seen != nil {
			dup, seen[name] = seen[name], true
		} else {
			for _, n := range names {
				dup = dup || n == name
			}
			if names = append(names, name); len(names) > manyNames {
				seen = make(map[string]bool, 2*manyNames)
				for _, n := range names {
					seen[n] = true
				}
			}
		}
		if dup {
			return p.fail(fmt.Sprintf("name %.40q twice", name))
		}
		p.space()
		if p.i >= len(p.b) || p.b[p.i] != ':' {
			return p.fail("want ':'")
		}
		p.i++
		if err := p.value(depth+1, name, escaped); err != nil {
			return err
		}
		if done, err := p.separator('}'); done || err != nil {
			return err
		}
	}
}

func (p *parser) array(depth int) error {
	p.i++
	p.space()
	if p.i < len(p.b) && p.b[p.i] == ']' {
		p.i++
		return nil
	}
	for {
		if err := p.value(depth+1, "", false); err != nil {
			return err
		}
		if done, err := p.separator(']'); done || err != nil {
			return err
		}
	}
}

func (p *parser) separator(end byte) (done bool, err error) {
	p.space()
	if p.i >= len(p.b) {
		return false, p.fail("unexpected end")
	}
	switch p.b[p.i] {
	case end:
		p.i++
		return true, nil
	case ',':
		p.i++
		return false, nil
	default:
		return false, p.fail(fmt.Sprintf("want ',' or '%c'", end))
	}
}

// str reads a string and returns its text.
func (p *parser) str() (text string, escaped bool, err error) {
	start := p.i + 1
	for i := start; i < len(p.b); {
		switch c := p.b[i]; {
		case c == '"':
			raw := p.b[start:i]
			if !escaped && utf8.Valid(raw) {
				p.i = i + 1
				return string(raw), false, nil
			}
			s, ok := unescape(raw)
			if !ok {
				return "", false, p.fail("invalid string")
			}
			p.i = i + 1
			return s, escaped, nil
		case c == '\\':
			escaped = true
			i += 2
		case c < 0x20:
			p.i = i
			return "", false, p.fail("control character in a string")
		default:
			i++
		}
	}
	p.i = len(p.b)
	return "", false, p.fail("string without end")
}

// unescape returns the text of the inside of a string, and false if it has a
// bad escape, a lone surrogate or invalid UTF-8.
func unescape(raw []byte) (string, bool) {
	if !utf8.Valid(raw) {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), true
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			i++
			continue
		}
		if i+1 >= len(raw) {
			return "", false
		}
		const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if k := strings.IndexByte(from, raw[i+1]); k >= 0 {
			b.WriteByte(to[k])
			i += 2
			continue
		}
		r, ok := hex4(raw[i:])
		if !ok {
			return "", false
		}
		i += 6
		if utf16.IsSurrogate(r) {
			low, ok := hex4(raw[i:])
			if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
				return "", false
			}
			i += 6
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil && b[2] != '+'
}

func (p *parser) number() error {
	start := p.i
	digits := func() bool {
		n := p.i
		for p.i < len(p.b) && '0' <= p.b[p.i] && p.b[p.i] <= '9' {
			p.i++
		}
		return p.i > n
	}
	is := func(c byte) bool { return p.i < len(p.b) && p.b[p.i] == c }
	if is('-') {
		p.i++
	}
	if is('0') {
		p.i++
	} else if !digits() {
		return p.fail("malformed number")
	}
	if is('.') {
		p.i++
		if !digits() {
			return p.fail("malformed number")
		}
	}
	if is('e') || is('E') {
		p.i++
		if is('+') || is('-') {
			p.i++
		}
		if !digits() {
			return p.fail("malformed number")
		}
	}
	if p.i-start > 64 {
		return p.fail("number of more than 64 digits")
	}
	if f, err := strconv.ParseFloat(string(p.b[start:p.i]), 64); err != nil || math.IsInf(f, 0) {
		return p.fail("number out of range")
	}
	return nil
}
