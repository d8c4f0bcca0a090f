package python

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal returns the value of a string literal with its prefix and quotes.
// A name in \N{…} is left as it is written.
func literal(s string, flag uint8) string {
	i := strings.IndexAny(s, `'"`)
	n := 1
	if flag&strTriple != 0 {
		n = 3
	}
	return unescape(s[i+n:len(s)-n], flag)
}

// middle returns the value of literal text in an f-string.
func middle(s string, flag uint8) string {
	if flag&strSpec == 0 {
		s = undouble(s)
	}
	return unescape(s, flag)
}

// undouble turns {{ and }} into one brace, except in \N{…}, where none is
// doubled.
func undouble(s string) string {
	if !strings.Contains(s, "{{") && !strings.Contains(s, "}}") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "{{", "{"), "}}", "}")
}

// unescape returns the value of the inside of a literal. Line ends are \n in
// it, as in the reference.
func unescape(s string, flag uint8) string {
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	if flag&strRaw != 0 || strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' || i+1 == len(s) {
			b.WriteByte(c)
			i++
			continue
		}
		i += escape(&b, s[i:], flag)
	}
	return b.String()
}

// simple are the escapes of one letter.
const simpleEscapes = `\'"abfnrtv`

// escape writes what the escape at the start of s means and returns its length.
func escape(b *strings.Builder, s string, flag uint8) int {
	put := func(r rune) {
		if flag&strBytes != 0 && r < 0x100 {
			b.WriteByte(byte(r & 0xff))
			return
		}
		if r >= 0xd800 && r < 0xe000 { // a surrogate is no UTF-8: as CPython's surrogatepass
			b.Write([]byte{0xed, 0x80 | byte(r>>6&0x3f), 0x80 | byte(r&0x3f)})
			return
		}
		b.WriteRune(r)
	}
	c := s[1]
	switch {
	case c == '\n':
		return 2
	case strings.IndexByte(simpleEscapes, c) >= 0:
		b.WriteByte("\\'\"\a\b\f\n\r\t\v"[strings.IndexByte(simpleEscapes, c)])
		return 2
	case c >= '0' && c <= '7':
		n := 1
		for n < 4 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[1:n], 8, 16)
		if err == nil {
			put(rune(v))
		}
		return n
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits == 0 || c != 'x' && flag&strBytes != 0 || len(s) < 2+digits {
		b.WriteByte('\\')
		_, n := utf8.DecodeRuneInString(s[1:])
		b.WriteString(s[1 : 1+n])
		return 1 + n
	}
	v, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || v > utf8.MaxRune {
		b.WriteString(s[:2])
		return 2
	}
	put(rune(v))
	return 2 + digits
}
