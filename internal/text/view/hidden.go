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
		return i
	}
	m.base = 0
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

// zeroWidth reads characters without width in a row. They are reported between
// letters and digits and where there are several, unless a script needs them:
// joiners in emoji and in the scripts of the Near East and of India, a soft
// hyphen now and then, a mark where a line may break.
func (m *maker) zeroWidth(i int) int {
	start, count, first := i, 0, rune(0)
	for i < len(m.src) {
		r, n := utf8.DecodeRune(m.src[i:])
		if !isZeroWidth(r) {
			break
		}
		if count == 0 {
			first = r
		}
		i += n
		count++
	}
	next := visible(m.src[i:])
	switch {
	case count > 2:
	case start == 0 && first == 0xfeff:
		return i
	case count == 1 && first == 0xad && start-m.soft > 2 && start > 1 && inWord(m.base) && m.softly(start):
		m.soft = i
		return i
	case first == zwj && isEmoji(m.base) && isEmoji(next):
		return i
	case (first == zwj || first == zwnj) && (joins(m.base) || joins(next)):
		return i
	case wide(m.base) || wide(next) || unicode.Is(unicode.Mn, next):
		return i
	case !inWord(m.base) || !inWord(next):
		m.ignore(start, i)
		return i
	}
	m.hide(ZeroWidth, start, i, "")
	return i
}

// visible returns the next character that is not hidden itself, as far as one
// looks.
func visible(b []byte) rune {
	const far = 64
	for range far {
		r, w := utf8.DecodeRune(b)
		if w == 0 || !isSelector(r) && !isZeroWidth(r) && !isBidi(r) && (r < 0xe0000 || r > endOfTags) {
			return r
		}
		b = b[w:]
	}
	return 'x'
}

// softly reports whether a soft hyphen after so much divides a word as printers
// do: two letters stand before it.
func (m *maker) softly(start int) bool {
	before, _ := utf8.DecodeLastRune(m.src[:start-1])
	return inWord(before)
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

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

// bidi follows the controls of direction in a paragraph.
type bidi struct {
	open []opened // innermost last
	rtl  bool     // it has letters that run from right to left
}

// opened is a control that another closes.
type opened struct {
	start, end int
	closes, by rune
	ascii      bool // a letter or digit of ASCII stands in it
}

// maxOpen is how deep directions may nest (UAX #9, BD2).
const maxOpen = 125

func (b *bidi) seen(r rune) {
	switch {
	case r < utf8.RuneSelf:
		if n := len(b.open); n > 0 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') {
			b.open[n-1].ascii = true
		}
	case r >= 0x590 && r <= 0x8ff || r >= 0xfb1d && r <= 0xfefc || r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff:
		b.rtl = true
	}
}

func (b *bidi) control(m *maker, r rune, start, end int) {
	switch r {
	case 0x200e, 0x200f, 0x61c: // marks: they move nothing, but can stand in a word
		next, _ := utf8.DecodeRune(m.src[end:])
		if m.base < utf8.RuneSelf && next < utf8.RuneSelf && inWord(m.base) && inWord(next) {
			m.hide(ZeroWidth, start, end, "")
		}
	case 0x202a, 0x202b, 0x202d, 0x202e:
		b.push(m, start, end, 0x202c, r)
	case 0x2066, 0x2067, 0x2068:
		b.push(m, start, end, 0x2069, r)
	default:
		n := len(b.open) - 1
		if n < 0 || b.open[n].closes != r {
			m.hide(Bidi, start, end, "")
			return
		}
		o := b.open[n]
		b.open = b.open[:n]
		if o.ascii && (o.by == 0x202e || (o.by == 0x202b || o.by == 0x2067) && !b.rtl) {
			m.hide(Bidi, o.start, o.end, "")
			m.hide(Bidi, start, end, "")
		}
		if n > 0 && o.ascii {
			b.open[n-1].ascii = true
		}
	}
}

func (b *bidi) push(m *maker, start, end int, closes, by rune) {
	if len(b.open) == maxOpen {
		m.hide(Bidi, start, end, "")
		return
	}
	b.open = append(b.open, opened{start: start, end: end, closes: closes, by: by})
}

// close ends a paragraph: what is open there does not balance.
func (b *bidi) close(m *maker) {
	for _, o := range b.open {
		m.hide(Bidi, o.start, o.end, "")
	}
	b.open, b.rtl = b.open[:0], false
}
