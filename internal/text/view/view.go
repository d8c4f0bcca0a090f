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
	"context"
	"sort"
	"sync"
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

// Bounds.
const (
	maxMarks   = 4    // on one letter; more are cut
	pace       = 4096 // bytes read between two looks at the clock
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

// A run begins a stretch where view and source keep their distance, or, if src
// bytes of the source are given for it, one that stands for them as a whole.
type run struct{ view, src, n int }

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
	m := maker{View: v, src: b, soft: -1}
	_ = m.make(nil) // nothing stops it
	return m.View
}

// Make is [New] that stops, with its error, when ctx ends.
func Make(ctx context.Context, b []byte) (View, error) {
	v := View{source: len(b), valid: true}
	if Plain(b) {
		v.Text = b
		return v, ctx.Err()
	}
	m := maker{View: v, src: b, soft: -1}
	err := m.make(ctx.Err)
	return m.View, err
}

// Valid reports whether the source is UTF-8.
func (v *View) Valid() bool { return v.valid }

// Source returns the stretch of the source that the text in [a, b) of the view
// comes from.
func (v *View) Source(a, b int) (start, end int) {
	if len(v.runs) == 0 {
		return a, b
	}
	if a >= len(v.Text) {
		return v.source, v.source
	}
	r := v.at(a)
	start = r.src
	if r.n == 0 {
		start += a - r.view
	}
	if b <= a {
		return start, start
	}
	r = v.at(min(b, len(v.Text)) - 1)
	if r.n > 0 {
		return start, r.src + r.n
	}
	return start, r.src + min(b, len(v.Text)) - r.view
}

// at returns the run that holds a place.
func (v *View) at(p int) run {
	return v.runs[max(0, sort.Search(len(v.runs), func(i int) bool { return v.runs[i].view > p })-1)]
}

// maker makes one view.
type maker struct {
	View
	src   []byte
	marks int // on the letter before
	base  rune
	bidi  bidi
	word  word
	free  int // of ignorable characters so far
	soft  int // where the last soft hyphen ended
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

func (m *maker) make(stop func() error) error {
	m.Text = make([]byte, 0, len(m.src)+len(m.src)/8)
	m.first = -1
	b := m.src
	for i, next := 0, 0; i < len(b); {
		if i >= next && stop != nil {
			if next = i + pace; stop() != nil {
				return stop()
			}
		}
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
	m.bidi.close(m)
	if m.free > maxIgnorable {
		m.hide(Ignorable, m.first, m.last, "")
	}
	sort.SliceStable(m.Hidden, func(i, k int) bool { return m.Hidden[i].Start < m.Hidden[k].Start })
	return nil
}

// maxIgnorable characters that are not shown may be in a text.
const maxIgnorable = 4

func (m *maker) ascii(c byte, i int) {
	if (c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7f {
		m.ignore(i, i+1)
		return
	}
	if c == '\n' || c == '\r' {
		m.bidi.close(m)
	}
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	if letter {
		m.startWord(i)
		m.word.latin++
	} else {
		m.endWord(i)
	}
	m.bidi.seen(rune(c))
	m.base, m.marks = rune(c), 0
	m.same(i)
	m.Text = append(m.Text, c)
}

// same makes sure that the next byte of the view is that of the source.
func (m *maker) same(i int) {
	if n := len(m.runs); n > 0 && m.runs[n-1].n == 0 && m.runs[n-1].src-m.runs[n-1].view == i-len(m.Text) {
		return
	}
	m.runs = append(m.runs, run{view: len(m.Text), src: i})
}

// put writes text for n bytes of the source at i.
func (m *maker) put(i int, text string, n int) {
	switch {
	case text == "":
		return
	case len(text) == n && text == string(m.src[i:i+n]):
		m.same(i)
	default:
		m.runs = append(m.runs, run{view: len(m.Text), src: i, n: n})
	}
	m.Text = append(m.Text, text...)
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
	case common(r):
	case r >= 0xe0000 && r <= 0xe007f:
		return m.tags(i)
	case isSelector(r):
		return m.selectors(i)
	case isZeroWidth(r):
		return m.zeroWidth(i)
	case isBidi(r):
		m.bidi.control(m, r, i, end)
		return end
	case unicode.IsControl(r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Cf, r):
		m.ignore(i, end)
		return end
	}
	m.bidi.seen(r)
	if !common(r) && (unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r)) {
		if m.marks++; m.marks > maxMarks {
			m.hide(Marks, i, end, "")
			return end
		}
		if m.base < 0x250 { // on a Latin letter or a sign
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

// common reports whether a character is a letter or sign of a script that many
// texts are written in: nothing hidden, and no mark.
func common(r rune) bool {
	return r > 0xad && r < 0x250 || r >= 0x400 && r <= 0x481 || r >= 0x3040 && r <= 0x3096 || r >= 0x30a0 && r <= 0x30ff || r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3
}

// fold returns the form of a character in the view.
func (m *maker) fold(i, n int, r rune) string {
	switch {
	case r < lastLatin:
		return latin()[r]
	case r >= 0x250 && common(r) && (r > 0x42f || r < 0x400) || r < 0x1c00 && unicode.ToLower(r) == r:
		return string(m.src[i : i+n])
	case r < 0x1c00:
		return string(unicode.ToLower(r))
	default:
		return form(r)
	}
}

const lastLatin = 0x250

// latin is what [form] makes of the first letters.
var latin = sync.OnceValue(func() *[lastLatin]string {
	var out [lastLatin]string
	for r := range rune(lastLatin) {
		out[r] = form(r)
	}
	return &out
})

// form returns the compatibility form of a character in lower case; without
// marks if it is Latin.
func form(r rune) string {
	plain := true
	var out []byte
	for _, c := range norm.NFKD.String(string(r)) {
		switch {
		case plain && unicode.Is(unicode.Mn, c):
			continue
		case c == 'ß' || c == 'ẞ':
			out = append(out, "ss"...)
			continue
		case c == 'ı':
			c = 'i'
		case c == 'ł' || c == 'Ł':
			c = 'l'
		case c == 'ø' || c == 'Ø':
			c = 'o'
		case c == 'đ' || c == 'Đ':
			c = 'd'
		case c >= utf8.RuneSelf:
			c = unicode.ToLower(c)
			plain = isLatin(c)
		}
		out = utf8.AppendRune(out, c)
	}
	if !plain {
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
			out = append(out, byte(r)) //nolint:gosec // ASCII
		case unicode.IsLetter(r):
			out = append(out, form(r)...)
		}
	}
	if !Plain(out) {
		return
	}
	m.runs, m.Text = m.runs[:w.runs], m.Text[:w.view]
	m.put(w.src, string(out), i-w.src)
	m.hide(Confusable, w.src, i, string(out))
}
