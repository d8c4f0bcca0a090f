package stream

import (
	"encoding/json"
	"sort"
	"unicode"
	"unicode/utf8"
)

// A View turns a source into the text that recognisers read, and places in that
// text back into places in the source. Characters that are not seen are left
// out; forms of ASCII characters that only look different are folded. With JSON
// the source is a JSON text: escapes in its strings are decoded, and all else
// stands as it is.
type View struct {
	JSON bool

	src, out int64
	pend     []byte // of the source: an unfinished character or escape
	marks    []mark
	quoted   bool // in a string
	depth    int
	deepest  int
	bad      bool
}

// A mark says that from a place of the text on, places of the source go along.
type mark struct {
	view, src int64
	zone      zone
}

// A zone says what a byte of a JSON text belongs to.
type zone uint8

const (
	plain  zone = iota // no JSON
	frame              // brackets, quotes, commas, white space
	inside             // of a string
	bare               // a number or a name
)

// Malformed reports that an escape in a JSON string is none.
func (v *View) Malformed() bool { return v.bad }

// Depth returns how deep the JSON text is nested, at most.
func (v *View) Depth() int { return v.deepest }

// Source returns how many bytes of the source were read.
func (v *View) Source() int64 { return v.src + int64(len(v.pend)) }

// Add reads p, which follows the source so far, and appends what it means to
// dst; last says that nothing follows.
func (v *View) Add(dst, p []byte, last bool) []byte {
	if len(v.marks) == 0 {
		v.marks = append(v.marks, mark{})
	}
	if len(v.pend) > 0 {
		p = append(v.pend, p...)
		v.pend = nil
	}
	for len(p) > 0 {
		var n int
		var ok bool
		if v.JSON {
			dst, n, ok = v.token(dst, p, last)
		} else {
			dst, n, ok = v.plain(dst, p, last)
		}
		if !ok {
			v.pend = append([]byte(nil), p...)
			break
		}
		p = p[n:]
	}
	return dst
}

func (v *View) plain(dst, p []byte, last bool) ([]byte, int, bool) {
	n := 0
	for n < len(p) && p[n] < utf8.RuneSelf {
		n++
	}
	if n > 0 {
		return v.same(dst, p[:n], plain), n, true
	}
	return v.character(dst, p, last, plain)
}

// character reads one character that is not ASCII.
func (v *View) character(dst, p []byte, last bool, z zone) ([]byte, int, bool) {
	if !last && !utf8.FullRune(p) {
		return dst, 0, false
	}
	r, n := utf8.DecodeRune(p)
	if r == utf8.RuneError && n == 1 {
		return v.same(dst, p[:1], z), 1, true
	}
	if c, folded := fold(r); folded {
		return v.other(dst, n, c, z), n, true
	}
	return v.same(dst, p[:n], z), n, true
}

// same appends bytes that mean themselves.
func (v *View) same(dst, p []byte, z zone) []byte {
	last := v.marks[len(v.marks)-1]
	if last.zone != z || last.src+v.out-last.view != v.src {
		v.marks = append(v.marks, mark{v.out, v.src, z})
	}
	v.src += int64(len(p))
	v.out += int64(len(p))
	return append(dst, p...)
}

// other appends what n bytes of the source mean.
func (v *View) other(dst []byte, n int, means string, z zone) []byte {
	v.marks = append(v.marks, mark{v.out, v.src, z})
	v.src += int64(n)
	v.out += int64(len(means))
	v.marks = append(v.marks, mark{v.out, v.src, z})
	return append(dst, means...)
}

// token reads a piece of a JSON text.
func (v *View) token(dst, p []byte, last bool) ([]byte, int, bool) {
	c := p[0]
	switch {
	case !v.quoted && c == '"':
		v.quoted = true
		return v.same(dst, p[:1], frame), 1, true
	case !v.quoted && framing(c):
		switch c {
		case '{', '[':
			v.depth++
			v.deepest = max(v.deepest, v.depth)
		case '}', ']':
			v.depth--
		}
		return v.same(dst, p[:1], frame), 1, true
	case !v.quoted: // a number or a name comes as a whole: it is taken out as a whole
		n := 1
		for n < len(p) && n < maxBare && p[n] != '"' && !framing(p[n]) {
			n++
		}
		if n == len(p) && n < maxBare && !last {
			return dst, 0, false
		}
		v.marks = append(v.marks, mark{v.out, v.src, bare})
		return v.same(dst, p[:n], bare), n, true
	case c == '"':
		v.quoted = false
		return v.same(dst, p[:1], frame), 1, true
	case c == '\\':
		return v.escape(dst, p, last)
	case c >= utf8.RuneSelf:
		return v.character(dst, p, last, inside)
	default:
		n := 1
		for n < len(p) && p[n] < utf8.RuneSelf && p[n] != '"' && p[n] != '\\' {
			n++
		}
		return v.same(dst, p[:n], inside), n, true
	}
}

// maxBare is how long a number or a name may be.
const maxBare = 256

func framing(c byte) bool {
	switch c {
	case '{', '[', '}', ']', ',', ':', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// escape reads an escape. Two halves of a surrogate pair are one character.
func (v *View) escape(dst, p []byte, last bool) ([]byte, int, bool) {
	n := 2
	if len(p) > 1 && p[1] == 'u' {
		n = 6
		if len(p) >= 6 && (p[2] == 'd' || p[2] == 'D') && p[3] >= '8' && (p[3] <= '9' || p[3]|0x20 == 'a' || p[3]|0x20 == 'b') {
			switch {
			case len(p) == 6 && !last, len(p) > 6 && len(p) < 12 && p[6] == '\\' && (len(p) == 7 || p[7] == 'u') && !last:
				return dst, 0, false
			case len(p) >= 12 && p[6] == '\\' && p[7] == 'u':
				n = 12
			}
		}
	}
	if len(p) < n && !last {
		return dst, 0, false
	}
	n = min(n, len(p))
	var s string
	quoted := append(append([]byte{'"'}, p[:n]...), '"')
	if json.Unmarshal(quoted, &s) != nil {
		v.bad = true
		return v.same(dst, p[:1], inside), 1, true
	}
	if n == 12 && utf8.RuneCountInString(s) == 2 { // no pair
		n = 6
		s = "\uFFFD"
	}
	if r, size := utf8.DecodeRuneInString(s); size == len(s) {
		if c, folded := fold(r); folded {
			s = c
		}
	}
	return v.other(dst, n, s, inside), n, true
}

// at returns the index of the last mark that is not after a place of the text.
func (v *View) at(place int64) int {
	return sort.Search(len(v.marks), func(i int) bool { return v.marks[i].view > place }) - 1
}

// start returns the place in the source of the character at a place of the text.
func (v *View) start(place int64) int64 {
	m := v.marks[max(0, v.at(place))]
	return m.src + place - m.view
}

// end returns the place in the source after the character before a place.
func (v *View) end(place int64) int64 {
	i := v.at(place - 1)
	if i+1 < len(v.marks) && v.marks[i+1].view == place {
		return v.marks[i+1].src
	}
	m := v.marks[max(0, i)]
	return m.src + place - m.view
}

// Released returns the place in the source up to which the text before a place
// stands. What is not seen right before the place does not yet: it may belong to
// a body that goes on there.
func (v *View) Released(place int64) int64 {
	if place <= 0 {
		return 0
	}
	if m := v.marks[max(0, v.at(place))]; place < v.out && m.zone == bare {
		return m.src // a number or a name goes as a whole
	}
	return v.end(place)
}

// A Piece is a part of the source that stands for a part of the text.
type Piece struct {
	Start, End int64
	Bare       bool // a JSON number or name, of which all is here
	Quoted     bool // in a JSON string
}

// Pieces returns the parts of the source that the text in [a, b) comes from, less
// what frames JSON. With joined, what is not seen before a is of it too.
func (v *View) Pieces(a, b int64, joined bool) []Piece {
	if !v.JSON {
		p := Piece{Start: v.start(a), End: v.end(b)}
		if joined {
			p.Start = v.end(a)
		}
		return []Piece{p}
	}
	var out []Piece
	for i := max(0, v.at(a)); i < len(v.marks) && v.marks[i].view < b; i++ {
		m, next := v.marks[i], v.out
		if i+1 < len(v.marks) {
			next = v.marks[i+1].view
		}
		from, to := max(a, m.view), min(b, next)
		if m.zone == frame || from >= to {
			continue
		}
		p := Piece{Start: m.src + from - m.view, End: v.end(to), Bare: m.zone == bare, Quoted: m.zone == inside}
		if joined && from == a && p.Quoted {
			p.Start = v.end(a)
		}
		if p.Bare {
			p.Start, p.End = m.src, m.src+next-m.view
		}
		if n := len(out); n > 0 && p.Quoted && out[n-1].Quoted && v.unframed(out[n-1].End, p.Start) {
			out[n-1].End = p.End
			continue
		}
		out = append(out, p)
	}
	return out
}

// unframed reports whether nothing that frames JSON lies between two places of the
// source.
func (v *View) unframed(a, b int64) bool {
	for _, m := range v.marks {
		if m.src >= a && m.src < b && m.zone == frame {
			return false
		}
	}
	return true
}

// Forget drops what is known of the text before a place.
func (v *View) Forget(place int64) {
	if i := v.at(place - 1); i > 256 {
		v.marks = v.marks[:copy(v.marks, v.marks[i-1:])]
	}
}

// fold returns what stands for a character that is not seen, or that looks like
// ASCII and is not.
//
// Source: Unicode, Default_Ignorable_Code_Point and the compatibility forms of
// ASCII; decimal digits of all scripts.
func fold(r rune) (string, bool) {
	switch {
	case r == 0x9b: // the control sequence introducer in one character
		return "\x1b[", true
	case r < 0xa0:
		return "", false
	case r >= 0xff01 && r <= 0xff5e:
		return string(r - 0xff01 + '!'), true
	case r == 0xa0, r == 0x3000, r == 0x202f, r == 0x205f, r >= 0x2000 && r <= 0x200a:
		return " ", true
	case r == 0x2212, r == 0xfe63, r >= 0x2010 && r <= 0x2015:
		return "-", true
	case r == 0xad, r == 0x61c, r == 0x180e, r == 0xfeff, r == 0x34f,
		r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f,
		r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff:
		return "", true
	case unicode.Is(unicode.Nd, r):
		return string('0' + digitOf(r)), true
	}
	return "", false
}

// digitOf returns the value of a decimal digit: digits come in blocks of ten.
func digitOf(r rune) rune {
	for _, x := range unicode.Nd.R16 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) {
			return (r - rune(x.Lo)) % 10
		}
	}
	for _, x := range unicode.Nd.R32 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) { //nolint:gosec // code points fit
			return (r - rune(x.Lo)) % 10 //nolint:gosec // code points fit
		}
	}
	return 0
}
