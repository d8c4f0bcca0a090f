package view

import (
	"unicode"
	"unicode/utf8"
)

func isSelector(r rune) bool { return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef }

func isZeroWidth(r rune) bool {
	switch r {
	case 0xad, 0x180e, 0xfeff, 0x34f:
		return true
	}
	return r >= 0x200b && r <= 0x200d || r >= 0x2060 && r <= 0x2064
}

func isBidi(r rune) bool {
	return r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

const (
	zwnj      = 0x200c
	zwj       = 0x200d
	blackFlag = 0x1f3f4
	endOfTags = 0xe007f
)

// tags reads tag characters in a row. A black flag, three to six of small
// letters and digits, and the end mark are the flag of a region (UTS #51 ED-14a).
func (m *maker) tags(i int) int {
	start := i
	var said []byte
	ended := false
	for i < len(m.src) {
		r, n := utf8.DecodeRune(m.src[i:])
		if r < 0xe0000 || r > endOfTags {
			break
		}
		i += n
		switch {
		case r == endOfTags:
			ended = true
		case r >= 0xe0020 && len(said) < maxPayload:
			said = append(said, byte(r-0xe0000))
		}
		if ended {
			break
		}
	}
	flag := m.base == blackFlag && ended && len(said) >= 3 && len(said) <= 6
	for _, c := range said {
		flag = flag && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !flag {
		m.hide(Tags, start, i, string(said))
	}
	m.base = 0
	m.skip(i)
	return i
}

// selectors reads variation selectors in a row: one may follow a character that
// has variants. Each stands for a byte where they carry a text.
func (m *maker) selectors(i int) int {
	start, count := i, 0
	var said []byte
	for i < len(m.src) {
		r, n := utf8.DecodeRune(m.src[i:])
		if !isSelector(r) {
			break
		}
		i += n
		count++
		b := r - 0xfe00
		if r >= 0xe0100 {
			b = r - 0xe0100 + 16
		}
		if len(said) < maxPayload {
			said = append(said, byte(b)) //nolint:gosec // below 256
		}
	}
	if count > 1 || !variable(m.base) {
		m.hide(Selectors, start, i, string(said))
	}
	m.skip(i)
	return i
}

// variable reports whether characters of this kind have variants: signs, digits
// of keycaps, ideographs, Mongolian and Phags-pa letters, and some of Myanmar.
func variable(r rune) bool {
	switch {
	case r == '#' || r == '*' || r >= '0' && r <= '9':
		return true
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.IsSymbol(r) || unicode.IsPunct(r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.No, r) ||
		unicode.In(r, unicode.Han, unicode.Mongolian, unicode.Phags_Pa, unicode.Myanmar, unicode.Hiragana, unicode.Katakana, unicode.Manichaean) ||
		r == 0x1f3f4 || r >= 0x1f000 && r <= 0x1faff
}

// zeroWidth reports characters without width, unless their script needs them:
// joiners in emoji and in the scripts of the Near East and of India, the soft
// hyphen between letters once, the byte order mark at the beginning.
func (m *maker) zeroWidth(r rune, i, end int) {
	next, n := rune(0), 0
	if end < len(m.src) {
		next, n = utf8.DecodeRune(m.src[end:])
	}
	switch {
	case r == 0xfeff && i == 0:
		return
	case r == zwj && (isEmoji(m.base) || isSelector(m.base)) && isEmoji(next):
		return
	case (r == zwj || r == zwnj) && (joins(m.base) || joins(next)):
		return
	case r == 0x34f && unicode.Is(unicode.Mn, next):
		return
	case r == 0xad && unicode.IsLetter(m.base) && unicode.IsLetter(next) && !m.shy():
		m.ignoreSoft()
		return
	case r == 0x200b && (wide(m.base) || wide(next)): // where lines may break
		return
	case r == 0x2060 && (unicode.IsSpace(m.base) || unicode.IsPunct(m.base)) && n > 0:
		m.ignore(i, end)
		return
	}
	m.hide(ZeroWidth, i, end, "")
}

// maxSoft soft hyphens a text of n bytes may have: typesetters put one into long words.
func (m *maker) shy() bool { return m.free*6 > len(m.Text) }

func (m *maker) ignoreSoft() {}

func isEmoji(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2190 && r <= 0x2bff || r == 0x3030 || r == 0x303d || r == 0xfe0f
}

// joins reports whether a script shapes its letters by joiners.
func joins(r rune) bool {
	return unicode.In(r, unicode.Arabic, unicode.Syriac, unicode.Nko, unicode.Mandaic, unicode.Mongolian, unicode.Adlam,
		unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu,
		unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Myanmar, unicode.Khmer, unicode.Tibetan, unicode.Balinese, unicode.Javanese)
}

// wide reports whether a script is written without spaces.
func wide(r rune) bool {
	return unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Tibetan)
}

// bidi follows the controls of direction in a line.
type bidi struct {
	open  []rune // what closes each, innermost last
	at    []Hidden
	marks []Hidden // controls of the line that reorder ASCII if there is any
	rtl   bool     // the line has letters that run from right to left
	ascii bool     // a letter or digit stands inside of what reorders
}

// maxOpen is how deep directions may nest (UAX #9, BD2).
const maxOpen = 125

func (b *bidi) seen(r rune) {
	switch {
	case r < utf8.RuneSelf:
		if len(b.open) > 0 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') {
			b.ascii = true
		}
	case r >= 0x590 && r <= 0x8ff || r >= 0xfb1d && r <= 0xfefc || r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff:
		b.rtl = true
	}
}

func (b *bidi) control(m *maker, r rune, start, end int) {
	h := Hidden{Class: Bidi, Start: start, End: end}
	switch r {
	case 0x200e, 0x200f, 0x61c: // marks
		if !b.rtl && !rtlNear(m.src, start, end) {
			m.hide(Bidi, start, end, "")
		}
	case 0x202a, 0x202b, 0x202d, 0x202e:
		b.push(h, 0x202c, r == 0x202d || r == 0x202e)
	case 0x2066, 0x2067, 0x2068:
		b.push(h, 0x2069, false)
	default: // closes
		if n := len(b.open); n > 0 && b.open[n-1] == r {
			from := b.at[n-1]
			b.open, b.at = b.open[:n-1], b.at[:n-1]
			if from.Text != "" && b.ascii || !b.rtl { // forced over ASCII, or nothing there runs the other way
				m.hide(Bidi, from.Start, from.End, "")
				m.hide(Bidi, start, end, "")
			}
			b.ascii = b.ascii && n > 1
			return
		}
		m.hide(Bidi, start, end, "")
	}
}

func (b *bidi) push(h Hidden, closes rune, forced bool) {
	if forced {
		h.Text = "forced"
	}
	if len(b.open) < maxOpen {
		b.open, b.at = append(b.open, closes), append(b.at, h)
	} else {
		b.marks = append(b.marks, h)
	}
}

// line ends a paragraph: what is open does not balance.
func (b *bidi) line(m *maker, _ int) { b.end(m) }

func (b *bidi) end(m *maker) {
	for _, h := range append(b.at, b.marks...) {
		m.hide(Bidi, h.Start, h.End, "")
	}
	*b = bidi{open: b.open[:0], at: b.at[:0], marks: b.marks[:0]}
}

// rtlNear reports whether a letter within some characters after a mark runs from
// right to left.
func rtlNear(src []byte, start, end int) bool {
	from, to := max(0, start-64), min(len(src), end+64)
	for _, r := range string(src[from:to]) {
		if r >= 0x590 && r <= 0x8ff || r >= 0xfb1d && r <= 0xfefc || r >= 0x1e800 && r <= 0x1efff {
			return true
		}
	}
	return false
}
