package python

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A lexer cuts the source into tokens, as the reference does: indentation
// becomes tokens, and so do the parts of f-strings. It never stops at an
// error: it notes it and goes on at the next thing that makes sense.
type lexer struct {
	src     string
	pos     int
	toks    []token
	indents []int32   // columns of the open blocks, the first is 0
	open    []byte    // brackets: ( [ {, f for a field of an f-string, s for its format
	strs    []openStr // f-strings that are not closed
	odd     int32     // a column that matches no block, taken for the block further out; -1: none
	fresh   bool      // at the start of a logical line
	resumed int       // strings without an end, after which reading went on
	lim     Limits
	errs    []Error
	dropped bool // an error was not kept
	python2 bool
}

// An openStr is an f-string whose end was not yet seen.
type openStr struct {
	quote byte
	flag  uint8
	depth int // brackets that were open when it began
}

// maxResumed bounds how often reading goes on after a string without an end:
// finding that out costs the rest of the file.
const maxResumed = 8

func (l *lexer) fail(start, end int, cause error, format string, args ...any) {
	if len(l.errs) >= l.lim.Errors && cause == nil {
		l.dropped = true
		return
	}
	l.errs = append(l.errs, Error{start, end, fmt.Sprintf(format, args...), cause})
}

func (l *lexer) emit(k tok, start, end int) {
	l.emitString(k, 0, start, end)
}

func (l *lexer) emitString(k tok, flag uint8, start, end int) {
	l.toks = append(l.toks, token{k, flag, int32(start), int32(end)}) //nolint:gosec // Parse cuts the source at 1 GiB
}

func (l *lexer) run(ctx context.Context) {
	l.indents = append(l.indents[:0], 0)
	l.fresh, l.odd = true, -1
	for next := 0; l.pos < len(l.src); {
		if len(l.toks) >= next {
			next = len(l.toks) + 4096
			if ctx.Err() != nil {
				l.fail(l.pos, len(l.src), context.Cause(ctx), "reading was stopped")
				break
			}
		}
		switch {
		case l.inText():
			l.text()
		case l.fresh:
			l.indent()
		default:
			l.token()
		}
	}
	if len(l.open) > 0 {
		l.fail(len(l.src), len(l.src), nil, "%q is not closed", l.open[len(l.open)-1])
		l.emit(tError, len(l.src), len(l.src))
	}
	if n := len(l.toks); n > 0 && l.toks[n-1].kind != tNewline && l.toks[n-1].kind != tDedent {
		l.emit(tNewline, len(l.src), len(l.src))
	}
	for range l.indents[1:] {
		l.emit(tDedent, len(l.src), len(l.src))
	}
	l.emit(tEOF, len(l.src), len(l.src))
}

// indent measures the white space at the start of a logical line. Tabs go to
// the next multiple of eight columns.
func (l *lexer) indent() {
	col, i := int32(0), l.pos
	for ; i < len(l.src); i++ {
		switch l.src[i] {
		case ' ':
			col++
			continue
		case '\t':
			col = col/8*8 + 8
			continue
		case '\f':
			col = 0
			continue
		}
		break
	}
	l.pos = i
	if i == len(l.src) {
		return
	}
	switch c := l.src[i]; {
	case c == '#':
		l.comment()
		return
	case c == '\n' || c == '\r':
		l.pos++
		return
	case c == '\\' && l.continues(): // the columns are those before it
		for l.pos < len(l.src) && classes[l.src[l.pos]] == cSpace {
			l.pos++
		}
		i = l.pos
		if i == len(l.src) || classes[l.src[i]] == cLine {
			return
		}
	}
	l.fresh = false
	top := l.indents[len(l.indents)-1]
	if col == l.odd && col > top {
		return // as the line before, which was told about
	}
	l.odd = -1
	if col > top {
		if len(l.indents) >= l.lim.Depth {
			l.fail(i, i, ErrLimit, "blocks are nested deeper than %d", l.lim.Depth)
			l.pos = len(l.src)
			return
		}
		l.indents = append(l.indents, col)
		l.emit(tIndent, i, i)
		return
	}
	for col < top {
		l.indents = l.indents[:len(l.indents)-1]
		l.emit(tDedent, i, i)
		top = l.indents[len(l.indents)-1]
		if col > top {
			l.fail(i, i, nil, "indentation matches no block above")
			l.odd = col // and go on as if it belonged to the one further out
			break
		}
	}
}

func (l *lexer) comment() {
	if i := strings.IndexAny(l.src[l.pos:], "\r\n"); i >= 0 {
		l.pos += i
		return
	}
	l.pos = len(l.src)
}

// continues steps over a backslash that joins two lines, if there is one here.
func (l *lexer) continues() bool {
	switch rest := l.src[l.pos+1:]; {
	case strings.HasPrefix(rest, "\r\n"):
		l.pos += 3
	case rest != "" && (rest[0] == '\n' || rest[0] == '\r'):
		l.pos += 2
	default:
		return false
	}
	return true
}

// Classes of bytes.
const (
	cOther = iota
	cSpace
	cLetter
	cDigit
	cLine
	cQuote
)

// classes tells what a token that begins with a byte is.
var classes = [256]uint8{
	' ': cSpace, '\t': cSpace, '\f': cSpace, '\n': cLine, '\r': cLine, '"': cQuote, '\'': cQuote, '_': cLetter,
	'0': cDigit, '1': cDigit, '2': cDigit, '3': cDigit, '4': cDigit, '5': cDigit, '6': cDigit, '7': cDigit, '8': cDigit, '9': cDigit,
	'a': cLetter, 'b': cLetter, 'c': cLetter, 'd': cLetter, 'e': cLetter, 'f': cLetter, 'g': cLetter, 'h': cLetter, 'i': cLetter,
	'j': cLetter, 'k': cLetter, 'l': cLetter, 'm': cLetter, 'n': cLetter, 'o': cLetter, 'p': cLetter, 'q': cLetter, 'r': cLetter,
	's': cLetter, 't': cLetter, 'u': cLetter, 'v': cLetter, 'w': cLetter, 'x': cLetter, 'y': cLetter, 'z': cLetter,
	'A': cLetter, 'B': cLetter, 'C': cLetter, 'D': cLetter, 'E': cLetter, 'F': cLetter, 'G': cLetter, 'H': cLetter, 'I': cLetter,
	'J': cLetter, 'K': cLetter, 'L': cLetter, 'M': cLetter, 'N': cLetter, 'O': cLetter, 'P': cLetter, 'Q': cLetter, 'R': cLetter,
	'S': cLetter, 'T': cLetter, 'U': cLetter, 'V': cLetter, 'W': cLetter, 'X': cLetter, 'Y': cLetter, 'Z': cLetter,
}

// token reads one token, or steps over white space.
func (l *lexer) token() {
	start := l.pos
	c := l.src[start]
	switch classes[c] {
	case cSpace:
		l.pos++
	case cLetter:
		l.word()
	case cDigit:
		l.number()
	case cQuote:
		l.str(start, start, 0)
	case cLine:
		l.pos++
		if len(l.open) > 0 {
			l.brokenLine()
			return
		}
		l.emit(tNewline, start, start)
		l.fresh = true
	default:
		switch {
		case c >= utf8.RuneSelf:
			l.word()
		case c == '#':
			l.comment()
		case c == '\\' && l.continues():
		case c == '.' && start+1 < len(l.src) && classes[l.src[start+1]] == cDigit:
			l.number()
		default:
			l.operator(c)
		}
	}
}

// brokenLine looks at the first word of a line inside brackets: a statement
// there means that the bracket was never closed.
func (l *lexer) brokenLine() {
	i := l.pos
	for i < len(l.src) && classes[l.src[i]] == cSpace {
		i++
	}
	j := i
	for j < len(l.src) && j < i+9 && classes[l.src[j]] == cLetter {
		j++
	}
	if j == i || !keyword(l.src[i:j]).startsLine() || j < len(l.src) && (classes[l.src[j]] == cDigit || l.src[j] >= utf8.RuneSelf) {
		return
	}
	l.fail(l.pos-1, l.pos, nil, "%q is not closed before a statement", l.open[len(l.open)-1])
	l.open, l.strs = l.open[:0], l.strs[:0]
	l.emit(tError, l.pos-1, l.pos-1)
	l.emit(tNewline, l.pos-1, l.pos-1)
	l.fresh = true
}

// word reads a name, a keyword or the prefix of a string.
func (l *lexer) word() {
	start, i := l.pos, l.pos
	for i < len(l.src) {
		if c := l.src[i]; c < utf8.RuneSelf {
			if k := classes[c]; k != cLetter && k != cDigit {
				break
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(l.src[i:])
		if r == utf8.RuneError && n == 1 || !nameRune(r) {
			break
		}
		i += n
	}
	if i == start {
		_, n := utf8.DecodeRuneInString(l.src[i:])
		l.pos += n
		l.fail(start, l.pos, nil, "%q is no part of a name", l.src[start:l.pos])
		l.emit(tError, start, l.pos)
		return
	}
	if i < len(l.src) && i-start <= 3 && (l.src[i] == '"' || l.src[i] == '\'') {
		if flag, ok := prefix(l.src[start:i]); ok {
			l.str(start, i, flag)
			return
		}
	}
	l.pos = i
	l.emit(keyword(l.src[start:i]), start, i)
}

func nameRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.In(r, unicode.Nl, unicode.Mn, unicode.Mc, unicode.Pc, unicode.Other_ID_Start, unicode.Other_ID_Continue)
}

// prefix reads the letters before a string.
func prefix(s string) (flag uint8, ok bool) {
	for i := range len(s) {
		switch s[i] | 0x20 {
		case 'r':
			flag |= strRaw
		case 'b':
			flag |= strBytes
		case 'f':
			flag |= strFormat
		case 't':
			flag |= strFormat | strTemplate
		case 'u':
		default:
			return 0, false
		}
	}
	return flag, len(s) <= 2
}

// number reads a number of any notation, those of Python 2 too.
func (l *lexer) number() {
	start, i, src := l.pos, l.pos, l.src
	if src[i] == '0' && i+1 < len(src) {
		switch src[i+1] | 0x20 {
		case 'x', 'o', 'b':
			i += 2
			for i < len(src) && (classes[src[i]] == cDigit || src[i] == '_' || src[i]|0x20 >= 'a' && src[i]|0x20 <= 'f') {
				i++
			}
			l.endNumber(start, i)
			return
		}
	}
	digits := func() {
		for i < len(src) && (classes[src[i]] == cDigit || src[i] == '_') {
			i++
		}
	}
	digits()
	if i < len(src) && src[i] == '.' {
		i++
		digits()
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		j := i + 1
		if j < len(src) && (src[j] == '+' || src[j] == '-') {
			j++
		}
		if j < len(src) && classes[src[j]] == cDigit {
			i = j
			digits()
		}
	}
	if i < len(src) && src[i]|0x20 == 'j' {
		i++
	}
	l.endNumber(start, i)
}

func (l *lexer) endNumber(start, end int) {
	if end < len(l.src) && l.src[end]|0x20 == 'l' {
		l.python2 = true
		end++
	}
	l.pos = end
	l.emit(tNumber, start, end)
}

// operator reads an operator or a bracket.
func (l *lexer) operator(c byte) {
	start := l.pos
	kind, n := operatorAt(l.src[start:])
	top := byte(0)
	if len(l.open) > 0 {
		top = l.open[len(l.open)-1]
	}
	if top == 'f' { // directly in the field of an f-string
		switch {
		case c == ':':
			kind, n = tFColon, 1
			l.open[len(l.open)-1] = 's'
		case c == '!' && kind != tNe:
			kind, n = tFBang, 1
		}
	}
	if kind == tError {
		l.fail(start, start+1, nil, "%q means nothing here", c)
		n = 1
	}
	switch kind {
	case tLParen, tLBracket, tLBrace:
		if len(l.open) >= l.lim.Depth {
			l.fail(start, len(l.src), ErrLimit, "brackets are nested deeper than %d", l.lim.Depth)
			l.pos, l.open, l.strs = len(l.src), nil, nil
			l.emit(tError, start, start)
			return
		}
		l.open = append(l.open, c)
	case tRParen, tRBracket, tRBrace:
		switch {
		case top == 'f' && c == '}', top == c-1 && c == ')', top == c-2 && c != ')':
			l.open = l.open[:len(l.open)-1]
		case top == 'f', top == 0:
			l.fail(start, start+1, nil, "%q closes nothing", c)
			kind = tError
		default:
			l.fail(start, start+1, nil, "%q does not close %q", c, top)
			l.open = l.open[:len(l.open)-1]
			kind = tError
		}
	case tNe:
		l.python2 = l.python2 || c == '<'
	case tBackquote:
		l.python2 = true
	default:
	}
	l.pos += n
	l.emit(kind, start, l.pos)
}

// ErrLimit is wrapped by an [Error] that says that the source is larger or
// more deeply nested than the [Limits] allow.
var ErrLimit = errors.New("limit exceeded")
