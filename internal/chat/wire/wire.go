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
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
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
	name       string // unescaped, of a member of an object
	start, end int32  // span in the body; a string's includes its quotes
	first      int32  // where it begins as a member: at its name's quote
	next       int32  // index of the node after this value and all inside it
	kind       Kind
	escaped    bool // the name was written with escapes
	slashed    bool // the string has escapes
}

// A Doc is one parsed body. It is read-only and safe for concurrent use.
type Doc struct {
	body  []byte
	text  string // the same, so that names and texts are parts of it and not copies
	nodes []node
}

// Parse reads body, which it keeps.
func Parse(body []byte, lim Limits) (*Doc, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d: %w", ErrSyntax, len(body), lim.Bytes, detect.ErrLimit)
	}
	if int64(len(body)) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes cannot be indexed: %w", ErrSyntax, len(body), detect.ErrLimit)
	}
	p := parser{b: body, text: string(body), lim: lim, nodes: make([]node, 0, min(len(body)/24+8, 1024))}
	if err := p.value(0, member{}); err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.b) {
		return nil, p.fail("bytes after the value")
	}
	return &Doc{body, p.text, p.nodes}, nil
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
	return int(v.d.nodes[v.i].start), int(v.d.nodes[v.i].end)
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
	n := &v.d.nodes[v.i]
	if !n.slashed {
		return v.d.text[n.start+1 : n.end-1], true
	}
	return unescape(v.d.body[n.start+1 : n.end-1]), true
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

// Float returns the value of a number.
func (v Value) Float() (float64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v.Raw()), 64)
	return f, err == nil
}

// All yields every value inside v, at any depth, with the name it has there.
func (v Value) All() func(yield func(string, Value) bool) {
	return func(yield func(string, Value) bool) {
		if v.d == nil {
			return
		}
		for i := v.i + 1; i < v.d.nodes[v.i].next; i++ {
			if !yield(v.d.nodes[i].name, Value{v.d, i}) {
				return
			}
		}
	}
}

// At returns the value that starts at that byte of the body, or Missing.
func (d *Doc) At(start int) Value {
	i, ok := slices.BinarySearchFunc(d.nodes, int32(start), func(n node, at int32) int { return cmp.Compare(n.start, at) })
	if !ok {
		return Value{}
	}
	return Value{d, int32(i)}
}

// Len returns how many items an array or members an object has.
func (v Value) Len() int {
	if v.d == nil || v.Kind() != Array && v.Kind() != Object {
		return 0
	}
	n := 0
	for i := v.i + 1; i < v.d.nodes[v.i].next; i = v.d.nodes[i].next {
		n++
	}
	return n
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
	text  string // the same bytes
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

// A member is the name before a value.
type member struct {
	name    string
	at      int // where its quote stands
	escaped bool
}

// value reads one value and what it contains. Recursion ends at Limits.Depth.
func (p *parser) value(depth int, m member) error {
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
		first := p.i
		if m.at > 0 { // a name never stands at byte 0
			first = m.at
		}
		p.nodes = append(p.nodes, node{start: int32(p.i), first: int32(first), name: m.name, escaped: m.escaped})
	}
	var kind Kind
	var err error
	slashed := false
	switch c := p.b[p.i]; {
	case c == '{':
		kind, err = Object, p.object(depth)
	case c == '[':
		kind, err = Array, p.array(depth)
	case c == '"':
		kind = String
		slashed, err = p.str()
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
	n := &p.nodes[at]
	n.kind, n.slashed, n.end, n.next = kind, slashed, int32(p.i), int32(len(p.nodes))
	return nil
}

func (p *parser) word() (Kind, error) {
	for _, w := range [...]struct {
		text string
		kind Kind
	}{{"true", Bool}, {"false", Bool}, {"null", Null}} {
		if strings.HasPrefix(p.text[p.i:], w.text) {
			p.i += len(w.text)
			return w.kind, nil
		}
	}
	return Missing, p.fail("unexpected character")
}

// manyNames is from how many members on duplicates are found by a map.
const manyNames = 16

// names are those of one object so far.
type names struct {
	few  [manyNames]string
	n    int
	many map[string]bool
}

// twice reports whether name was there before, and remembers it.
func (s *names) twice(name string) bool {
	if s.many != nil {
		dup := s.many[name]
		s.many[name] = true
		return dup
	}
	if slices.Contains(s.few[:s.n], name) {
		return true
	}
	if s.n < manyNames {
		s.few[s.n] = name
		s.n++
		return false
	}
	s.many = make(map[string]bool, 2*manyNames)
	for _, n := range s.few {
		s.many[n] = true
	}
	s.many[name] = true
	return false
}

func (p *parser) object(depth int) error {
	p.i++
	var seen names
	for first := true; ; first = false {
		p.space()
		if p.i < len(p.b) && p.b[p.i] == '}' && first {
			p.i++
			return nil
		}
		if p.i >= len(p.b) || p.b[p.i] != '"' {
			return p.fail("a name must be a string")
		}
		m := member{at: p.i}
		var err error
		if m.escaped, err = p.str(); err != nil {
			return err
		}
		m.name = p.text[m.at+1 : p.i-1]
		if m.escaped {
			m.name = unescape(p.b[m.at+1 : p.i-1])
		}
		if seen.twice(m.name) {
			return p.fail(fmt.Sprintf("name %.40q twice", m.name))
		}
		p.space()
		if p.i >= len(p.b) || p.b[p.i] != ':' {
			return p.fail("want ':'")
		}
		p.i++
		if err := p.value(depth+1, m); err != nil {
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
		if err := p.value(depth+1, member{}); err != nil {
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

// str reads a string and reports whether it has escapes.
func (p *parser) str() (escaped bool, err error) {
	start := p.i + 1
	high := byte(0)
	for i := start; i < len(p.b); {
		c := p.b[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			high |= c
			i++
			continue
		}
		switch c {
		case '"':
			if high >= utf8.RuneSelf && !utf8.Valid(p.b[start:i]) || escaped && !escapes(p.b[start:i]) {
				return false, p.fail("invalid string")
			}
			p.i = i + 1
			return escaped, nil
		case '\\':
			escaped = true
			i += 2
		default:
			p.i = i
			return false, p.fail("control character in a string")
		}
	}
	p.i = len(p.b)
	return false, p.fail("string without end")
}

// plain and meant are the escapes of one character and what they mean.
const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"

// escapeAt reads the escape at the start of b, which is a backslash: what it
// means and how long it is. A lone surrogate is no escape.
func escapeAt(b []byte) (r rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	if k := strings.IndexByte(plain, b[1]); k >= 0 {
		return rune(meant[k]), 2
	}
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// escapes reports whether every escape in the inside of a string is one.
func escapes(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return true
		}
		_, size := escapeAt(raw[i:])
		if size == 0 {
			return false
		}
		raw = raw[i+size:]
	}
}

// unescape returns the text of the inside of a string whose escapes are good.
func unescape(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			b.Write(raw)
			return b.String()
		}
		r, size := escapeAt(raw[i:])
		if size == 0 { // was refused when it was read
			return b.String()
		}
		b.Write(raw[:i])
		b.WriteRune(r)
		raw = raw[i+size:]
	}
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
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
	power := is('e') || is('E')
	if power {
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
	if !power { // so few digits are in range
		return nil
	}
	if f, err := strconv.ParseFloat(p.text[start:p.i], 64); err != nil || math.IsInf(f, 0) {
		return p.fail("number out of range")
	}
	return nil
}
