package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokName tokenKind = iota
	tokString
	tokNumber
	tokOp
)

type token struct {
	kind       tokenKind
	text       string
	start, end int
}

type lexer struct {
	src string
	i   int
}

// next passes text and comments up to the next tag and returns what opens it,
// "{{" or "{%", or "" at the end.
func (l *lexer) next() (string, error) {
	for {
		at := strings.IndexByte(l.src[l.i:], '{')
		if at < 0 || l.i+at+1 >= len(l.src) {
			l.i = len(l.src)
			return "", nil
		}
		l.i += at
		switch open := l.src[l.i : l.i+2]; open {
		case "{{", "{%":
			l.i += 2
			if l.i < len(l.src) && (l.src[l.i] == '-' || l.src[l.i] == '+') {
				l.i++
			}
			return open, nil
		case "{#":
			end := strings.Index(l.src[l.i+2:], "#}")
			if end < 0 {
				return "", fmt.Errorf("template: comment at byte %d has no end", l.i)
			}
			l.i += 2 + end + 2
		default:
			l.i++
		}
	}
}

// raw passes everything up to {% endraw %}.
func (l *lexer) raw() error {
	start := l.i
	for {
		at := strings.Index(l.src[l.i:], "{%")
		if at < 0 {
			return fmt.Errorf("template: raw block at byte %d has no end", start)
		}
		l.i += at + 2
		rest := strings.TrimLeft(strings.TrimLeft(l.src[l.i:min(len(l.src), l.i+64)], "-+"), " \t\r\n")
		if !strings.HasPrefix(rest, "endraw") {
			continue
		}
		end := strings.Index(l.src[l.i:], "%}")
		if end < 0 {
			return fmt.Errorf("template: raw block at byte %d has no end", start)
		}
		l.i += end + 2
		return nil
	}
}

// operators are sorted so that longer ones come first.
var operators = []string{"//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", ",", "|", "(", ")", "[", "]", "{", "}", ";"}

// tokens reads up to the end of the tag that open began. Brackets are counted:
// "}}" inside a dict does not end an output.
func (l *lexer) tokens(open string) (toks []token, err error) {
	end := map[string]string{"{{": "}}", "{%": "%}"}[open]
	start, depth := l.i, 0
	for {
		for l.i < len(l.src) && strings.IndexByte(" \t\r\n\f\v", l.src[l.i]) >= 0 {
			l.i++
		}
		rest := l.src[l.i:]
		switch {
		case rest == "":
			return nil, fmt.Errorf("template: tag at byte %d has no end", start-2)
		case depth == 0 && strings.HasPrefix(rest, end):
			l.i += 2
			return toks, nil
		case depth == 0 && (rest[0] == '-' || rest[0] == '+') && strings.HasPrefix(rest[1:], end):
			l.i += 3
			return toks, nil
		}
		t, err := l.token()
		if err != nil {
			return nil, err
		}
		if t.kind == tokOp {
			switch t.text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
		}
		if toks = append(toks, t); len(toks) > maxTokens {
			return toks, nil // the caller counts
		}
	}
}

func (l *lexer) token() (token, error) {
	start := l.i
	c := l.src[l.i]
	switch {
	case c == '"' || c == '\'':
		s, err := l.text(c)
		return token{tokString, s, start, l.i}, err
	case c >= '0' && c <= '9':
		for l.i < len(l.src) && (isWord(rune(l.src[l.i])) || l.src[l.i] == '.' && l.i+1 < len(l.src) && l.src[l.i+1] >= '0' && l.src[l.i+1] <= '9') {
			l.i++
		}
		return token{tokNumber, l.src[start:l.i], start, l.i}, nil
	}
	for l.i < len(l.src) {
		r, n := utf8.DecodeRuneInString(l.src[l.i:])
		if !isWord(r) {
			break
		}
		l.i += n
	}
	if l.i > start {
		return token{tokName, l.src[start:l.i], start, l.i}, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(l.src[l.i:], op) {
			l.i += len(op)
			return token{tokOp, op, start, l.i}, nil
		}
	}
	return token{}, fmt.Errorf("template: unexpected character %q at byte %d", l.src[l.i:min(len(l.src), l.i+1)], l.i)
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// text reads a quoted string and decodes the escapes of Python.
func (l *lexer) text(quote byte) (string, error) {
	start := l.i
	var b strings.Builder
	for l.i++; l.i < len(l.src); {
		c := l.src[l.i]
		switch c {
		case quote:
			l.i++
			return b.String(), nil
		case '\\':
			l.i += escape(&b, l.src[l.i:])
		default:
			b.WriteByte(c)
			l.i++
		}
	}
	return "", fmt.Errorf("template: text at byte %d has no end", start)
}

// simple are the escapes of one letter.
var simple = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\\': "\\", '\'': "'", '"': `"`, '\n': ""}

// escape decodes the escape at the beginning of s and returns its length.
func escape(b *strings.Builder, s string) int {
	if len(s) < 2 {
		b.WriteString(s)
		return len(s)
	}
	if text, ok := simple[s[1]]; ok {
		b.WriteString(text)
		return 2
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	switch {
	case digits > 0 && len(s) >= 2+digits:
		if n, err := strconv.ParseUint(s[2:2+digits], 16, 32); err == nil {
			b.WriteRune(rune(n))
			return 2 + digits
		}
	case s[1] >= '0' && s[1] <= '7':
		n := 2
		for n < len(s) && n < 4 && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, _ := strconv.ParseUint(s[1:n], 8, 32) // only octal digits
		b.WriteRune(rune(v))
		return n
	case strings.HasPrefix(s[1:], "N{"):
		if end := strings.IndexByte(s, '}'); end > 0 && end < 80 {
			r := utf8.RuneError // only the one that hides a name is known
			if strings.EqualFold(s[3:end], "low line") {
				r = '_'
			}
			b.WriteRune(r)
			return end + 1
		}
	}
	b.WriteByte('\\')
	return 1
}
