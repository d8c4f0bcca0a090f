// Package view makes the text that checks read from the text that was sent:
// without what no reader sees, with one form of what looks alike. It keeps the
// way back, and says what it took away.
//
// In a view, ASCII stands as it was sent. Other characters are folded: to their
// compatibility form, to lower case, Latin letters without their marks. A word
// that mixes scripts stands as the ASCII word that it looks like, if there is
// one. Bytes that are not UTF-8 stand as U+FFFD.
//
// Sources: Unicode, Default_Ignorable_Code_Point; UAX #9 (bidirectional text),
// UAX #15 (normal forms), UTS #39 (confusables), UTS #51 (emoji).
package view

import (
	"sort"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Class says what was hidden.
type Class string

// The classes.
const (
	Tags       Class = "tags"       // tag characters that are no flag: their text is Text
	ZeroWidth  Class = "zero-width" // characters without width where no script needs them
	Bidi       Class = "bidi"       // controls of direction that do not balance, or that reorder ASCII
	Selectors  Class = "selectors"  // variation selectors in a row, or after what has no variants: their bytes are Text
	Ignorable  Class = "ignorable"  // other characters that are not shown, and those of private use
	Marks      Class = "marks"      // more marks on a letter than any script stacks
	Confusable Class = "confusable" // a word of several scripts that looks like the one in Text
)

// A Hidden is a stretch [Start, End) of the source that readers do not see, or
// see as something else.
type Hidden struct {
	Class      Class
	Start, End int
	Text       string // what it says
}

// bounds
const (
	maxMarks   = 4   // on one letter; more are cut
	maxPayload = 4096 // bytes of one stretch's Text
)

// A View is the text that checks read. The zero View is that of no text.
type View struct {
	Text   []byte // the source itself where there is nothing to change
	Hidden []Hidden
	source int
	runs   []run
	valid  bool
}

// A run begins a stretch where view and source keep their distance, or, if it is
// fixed, one that stands for the source up to the next run as a whole.
type run struct {
	view, src int
	fixed     bool
}

// Plain reports whether b is its own view: printable ASCII, tabs and line ends.
func Plain(b []byte) bool {
	for _, c := range b {
		if c >= 0x7f || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// New returns the view of b, which is not changed while the view is used.
func New(b []byte) View {
	v := View{source: len(b), valid: true}
	if Plain(b) {
		v.Text = b
		return v
	}
	m := maker{View: v, src: b}
	m.make()
	return m.View
}

// Valid reports whether the source is UTF-8.
func (v *View) Valid() bool { return v.valid }

// Source returns the stretch of the source that the text in [a, b) of the view
// comes from.
func (v *View) Source(a, b int) (start, end int) {
	if len(v.runs) == 0 {
		return a, b
	}
	return v.back(a, false), v.back(b, true)
}

func (v *View) back(p int, end bool) int {
	if end && p == len(v.Text) {
		// what is hidden after the last character is not its
		p, end = max(0, p-1), true
		i := v.at(p)
		if i < 0 {
			return v.source
		}
		if r := v.runs[i]; r.fixed {
			return v.next(i)
		}
		return v.runs[i].src + p + 1 - v.runs[i].view
	}
	i := v.at(p)
	if end && i >= 0 && v.runs[i].view == p && i > 0 { // the end of the run before
		i--
		for i > 0 && v.runs[i].view == p {
			i--
		}
		if r := v.runs[i]; r.fixed {
			return v.next(i)
		}
		return v.runs[i].src + p - v.runs[i].view
	}
	if i < 0 {
		return p
	}
	r := v.runs[i]
	switch {
	case r.fixed && end && p > r.view:
		return v.next(i)
	case r.fixed:
		return r.src
	default:
		return r.src + p - r.view
	}
}

// at returns the last run that begins at p or before.
func (v *View) at(p int) int {
	return sort.Search(len(v.runs), func(i int) bool { return v.runs[i].view > p }) - 1
}

func (v *View) next(i int) int {
	if i+1 < len(v.runs) {
		return v.runs[i+1].src
	}
	return v.source
}

// maker makes one view.
type maker struct {
	View
	src   []byte
	marks int // on the letter before
	base  rune
	bidi  bidi
	word  word
	buf   []byte
	free  int // of ignorable characters so far, first and last
	first int
	last  int
}

// A word is the letters in a row that were read last.
type word struct {
	view, src  int // where it begins
	latin, odd int // ASCII letters; others that look like ASCII letters
	other      int // letters that do not
	runs       int
}

func (m *maker) make() {
	m.Text = make([]byte, 0, len(m.src)+len(m.src)/8)
	m.first = -1
	m.runs = append(m.runs, run{})
	b := m.src
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			m.ascii(c, i)
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			m.valid = false
			m.put(i, "\uFFFD", 1)
			m.base, m.marks = r, 0
			i++
			continue
		}
		i = m.other(r, i, n)
	}
	m.endWord(len(b))
	m.bidi.end(m)
	if m.free > maxIgnorable || m.free > 0 && m.free*8 > len(b) {
		m.hide(Ignorable, m.first, m.last, "")
	}
	if m.valid && len(m.runs) == 1 && len(m.Text) == len(b) {
		m.runs = nil
	}
}

// maxIgnorable characters that are not shown may be in a text.
const maxIgnorable = 4

func (m *maker) ascii(c byte, i int) {
	if (c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7f {
		m.ignore(i, i+1)
		m.skip(i + 1)
		return
	}
	if c == '\n' || c == '\r' {
		m.bidi.line(m, i)
	}
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	switch {
	case letter:
		m.startWord(i)
		m.word.latin++
	case m.word.view >= 0 && m.word.latin+m.word.odd+m.word.other > 0:
		m.endWord(i)
	}
	m.bidi.seen(rune(c))
	m.base, m.marks = rune(c), 0
	m.same(i)
	m.Text = append(m.Text, c)
}

// same makes sure that the next byte of the view is that of the source.
func (m *maker) same(i int) {
	if r := m.runs[len(m.runs)-1]; !r.fixed && r.src-r.view == i-len(m.Text) {
		return
	}
	m.begin(run{view: len(m.Text), src: i})
}

// begin adds a run; one that begins at the same place of the view and holds
// nothing gives way.
func (m *maker) begin(r run) {
	if n := len(m.runs); n > 0 && m.runs[n-1].view == r.view {
		m.runs[n-1] = r
		if r.view == 0 {
			return
		}
		return
	}
	m.runs = append(m.runs, r)
}

// put writes text for n bytes of the source at i.
func (m *maker) put(i int, text string, n int) {
	if len(text) == n && text == string(m.src[i:i+n]) {
		m.same(i)
		m.Text = append(m.Text, text...)
		return
	}
	m.begin(run{view: len(m.Text), src: i, fixed: true})
	m.Text = append(m.Text, text...)
	m.skip(i + n)
}

// skip says that the view goes on with the source at i.
func (m *maker) skip(i int) {
	if r := m.runs[len(m.runs)-1]; !r.fixed && r.view == len(m.Text) {
		m.runs[len(m.runs)-1].src = i
		return
	}
	m.runs = append(m.runs, run{view: len(m.Text), src: i})
}

func (m *maker) hide(c Class, start, end int, text string) {
	if len(text) > maxPayload {
		text = text[:maxPayload]
	}
	if n := len(m.Hidden); n > 0 && m.Hidden[n-1].Class == c && m.Hidden[n-1].End == start && len(m.Hidden[n-1].Text)+len(text) <= maxPayload {
		m.Hidden[n-1].End, m.Hidden[n-1].Text = end, m.Hidden[n-1].Text+text
		return
	}
	m.Hidden = append(m.Hidden, Hidden{c, start, end, text})
}

func (m *maker) ignore(start, end int) {
	if m.first < 0 {
		m.first = start
	}
	m.last = end
	m.free++
}

// other reads the character r of n bytes at i, and returns where to go on.
func (m *maker) other(r rune, i, n int) int {
	end := i + n
	switch {
	case r >= 0xe0000 && r <= 0xe007f:
		return m.tags(i)
	case isSelector(r):
		return m.selectors(i)
	case isZeroWidth(r):
		m.zeroWidth(r, i, end)
		m.skip(end)
		return end
	case isBidi(r):
		m.bidi.control(m, r, i, end)
		m.skip(end)
		return end
	case unicode.IsControl(r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Cf, r):
		m.ignore(i, end)
		m.skip(end)
		return end
	}
	m.bidi.seen(r)
	if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
		if m.marks++; m.marks > maxMarks {
			m.hide(Marks, i, end, "")
			m.skip(end)
			return end
		}
		if m.base < 0x250 { // on a Latin letter or a sign
			m.skip(end)
			return end
		}
		m.put(i, string(r), n)
		return end
	}
	m.base, m.marks = r, 0
	if unicode.IsLetter(r) {
		m.startWord(i)
		switch {
		case look(r) != 0:
			m.word.odd++
		case isLatin(r):
			m.word.latin++
		default:
			m.word.other++
		}
	} else {
		m.endWord(i)
	}
	m.put(i, m.fold(i, n, r), n)
	return end
}

// fold returns the form of a character in the view.
func (m *maker) fold(i, n int, r rune) string {
	if r >= 0x3040 && r <= 0x30ff || r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3 {
		return string(m.src[i : i+n])
	}
	m.buf = norm.NFKD.AppendString(m.buf[:0], string(r))
	latin := true
	out := make([]byte, 0, len(m.buf)+2)
	for k := 0; k < len(m.buf); {
		c, w := utf8.DecodeRune(m.buf[k:])
		k += w
		switch {
		case unicode.Is(unicode.Mn, c) && latin:
			continue
		case c == 'ı' || c == 'İ':
			c = 'i'
		case c == 'ß':
			out = append(out, "ss"...)
			continue
		case c == 'ł' || c == 'Ł':
			c = 'l'
		case c == 'ø' || c == 'Ø':
			c = 'o'
		case c == 'đ' || c == 'Đ':
			c = 'd'
		case c >= utf8.RuneSelf:
			c = unicode.ToLower(c)
			latin = isLatin(c)
		}
		out = utf8.AppendRune(out, c)
	}
	if !latin {
		return norm.NFC.String(string(out))
	}
	return string(out)
}

func isLatin(r rune) bool { return unicode.Is(unicode.Latin, r) }

func (m *maker) startWord(i int) {
	if m.word.latin+m.word.odd+m.word.other == 0 {
		m.word = word{view: len(m.Text), src: i, runs: len(m.runs)}
	}
}

// endWord replaces the word before i if it mixes scripts and looks like ASCII.
func (m *maker) endWord(i int) {
	w := m.word
	m.word = word{}
	if w.odd == 0 || w.latin == 0 || w.other > 0 {
		return
	}
	var out []byte
	for _, r := range string(m.src[w.src:i]) {
		switch c := look(r); {
		case c != 0:
			out = append(out, c)
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case unicode.IsLetter(r):
			out = append(out, m.fold(0, 0, r)...)
		}
	}
	if r := m.runs[:w.runs]; len(r) > 0 {
		m.runs = r
	}
	m.Text = m.Text[:w.view]
	m.begin(run{view: w.view, src: w.src, fixed: true})
	m.Text = append(m.Text, out...)
	m.hide(Confusable, w.src, i, string(out))
	m.skip(i)
}
