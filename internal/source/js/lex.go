package js

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokKind uint8

const (
	tEOF      tokKind = iota
	tName             // identifiers and keywords; #x, too
	tNumber           //
	tString           // text is as written, with its quotes
	tTemplate         // the backquote that begins one
	tPunct
)

// next reads the next token.
func (p *parser) next() {
	if p.broken {
		return
	}
	p.last = p.end
	if p.steps++; p.steps&1023 == 0 {
		select {
		case <-p.done:
			p.note("stopped")
			p.pos = len(p.src)
		default:
		}
	}
	if p.quiet {
		p.budget--
	}
	p.space()
	p.start = p.pos
	if p.pos >= len(p.src) {
		p.kind, p.text, p.end = tEOF, "", p.pos
		return
	}
	c := p.src[p.pos]
	switch {
	case identByte[c] == 1 || c == '#' && p.pos+1 < len(p.src) && identByte[p.src[p.pos+1]] == 1:
		p.ident()
	case c >= '0' && c <= '9' || c == '.' && p.pos+1 < len(p.src) && p.src[p.pos+1] >= '0' && p.src[p.pos+1] <= '9':
		p.number()
	case c == '"' || c == '\'':
		p.quoted(c)
	case c == '`':
		p.kind, p.pos = tTemplate, p.pos+1
	default:
		p.kind = tPunct
		p.pos += punct(p.src[p.pos:])
	}
	p.end = p.pos
	p.text = p.src[p.start:p.end]
}

// identByte is 1 for what begins an identifier, 2 for what goes on.
var identByte = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '$', c == '\\', c >= 0x80:
			t[c] = 1
		case c >= '0' && c <= '9':
			t[c] = 2
		}
	}
	return t
}()

func (p *parser) ident() {
	p.kind = tName
	i := p.pos + 1
	for i < len(p.src) && identByte[p.src[i]] != 0 {
		i++
	}
	p.pos = i
}

// space reads over white space and comments.
func (p *parser) space() {
	p.nl = false
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; c {
		case ' ', '\t', '\v', '\f':
			p.pos++
		case '\n', '\r':
			p.nl = true
			p.pos++
		case '/':
			rest := p.src[p.pos:]
			switch {
			case strings.HasPrefix(rest, "//"):
				if i := strings.IndexByte(rest, '\n'); i >= 0 {
					p.pos += i
				} else {
					p.pos = len(p.src)
				}
			case strings.HasPrefix(rest, "/*"):
				i := strings.Index(rest[2:], "*/")
				if i < 0 {
					p.pos = len(p.src)
					return
				}
				p.nl = p.nl || strings.Contains(rest[:i+2], "\n")
				p.pos += i + 4
			default:
				return
			}
		default:
			if c < utf8.RuneSelf {
				return
			}
			r, n := utf8.DecodeRuneInString(p.src[p.pos:])
			switch {
			case r == '\u2028' || r == '\u2029':
				p.nl = true
			case r != '\ufeff' && !unicode.IsSpace(r):
				return
			}
			p.pos += n
		}
	}
}

func (p *parser) number() {
	p.kind = tNumber
	i := p.pos
	for i < len(p.src) && (identByte[p.src[i]] != 0 || p.src[i] == '.' || (p.src[i] == '+' || p.src[i] == '-') && i > p.pos && p.src[i-1]|0x20 == 'e' && !strings.HasPrefix(p.src[p.pos:], "0x")) {
		i++
	}
	p.pos = i
}

func (p *parser) quoted(q byte) {
	p.kind = tString
	i := p.pos + 1
	for i < len(p.src) {
		switch p.src[i] {
		case q:
			p.pos = i + 1
			return
		case '\\':
			i++
			if strings.HasPrefix(p.src[min(i, len(p.src)):], "\r\n") {
				i++
			}
		case '\n', '\r': // it does not end: what follows is read as usual
			p.pos = i
			return
		}
		i++
	}
	p.pos = len(p.src)
}

// punct returns the length of the punctuator at the beginning of s.
func punct(s string) int {
	for _, n := range [...]int{4, 3, 2} {
		if len(s) >= n {
			switch s[:n] {
			case ">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=",
				"=>", "==", "!=", "<=", ">=", "&&", "||", "??", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**":
				return n
			case "?.":
				if len(s) < 3 || s[2] < '0' || s[2] > '9' {
					return n
				}
			}
		}
	}
	return 1
}

// split makes > of a longer token that begins with it, for types.
func (p *parser) split() {
	if p.kind == tPunct && len(p.text) > 1 && p.text[0] == '>' {
		p.text, p.end, p.pos = ">", p.start+1, p.start+1
	}
}

// regex reads the current / as the beginning of a regular expression.
func (p *parser) regex() {
	i := p.start + 1
	class := false
	for i < len(p.src) {
		c := p.src[i]
		switch {
		case c == '\\':
			i++
		case c == '\n':
			p.fail("a regular expression that does not end")
			return
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			i++
			for i < len(p.src) && identByte[p.src[i]] != 0 {
				i++
			}
			p.pos, p.end = i, i
			return
		}
		i++
	}
	p.fail("a regular expression that does not end")
}

// value decodes a string literal, or a piece of a template.
func value(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'v':
			b.WriteByte('\v')
		case '0':
			b.WriteByte(0)
		case '\n':
		case '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
		case 'x', 'u':
			n, size := escape(s[i:])
			if size == 0 {
				b.WriteByte(c)
				continue
			}
			b.WriteRune(n)
			i += size - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// escape reads x41, u0041 or u{41}; size is how many bytes it takes.
func escape(s string) (r rune, size int) {
	digits, size := "", 0
	switch {
	case s[0] == 'x' && len(s) >= 3:
		digits, size = s[1:3], 3
	case strings.HasPrefix(s, "u{"):
		end := strings.IndexByte(s[:min(len(s), 10)], '}')
		if end < 0 {
			return 0, 0
		}
		digits, size = s[2:end], end+1
	case len(s) >= 5:
		digits, size = s[1:5], 5
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || n > unicode.MaxRune {
		return 0, 0
	}
	return rune(n), size
}
