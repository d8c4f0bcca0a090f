package python

import "strings"

// str reads the string literal whose prefix begins at start and whose quotes
// begin at i. Of an f-string it reads the opening quotes only.
func (l *lexer) str(start, i int, flag uint8) {
	quote := l.src[i]
	if strings.HasPrefix(l.src[i:], tripled(quote)) {
		flag |= strTriple
		i += 3
	} else {
		i++
	}
	if flag&strFormat != 0 {
		if len(l.strs) >= l.lim.Depth {
			l.fail(start, len(l.src), ErrLimit, "f-strings are nested deeper than %d", l.lim.Depth)
			l.emit(tError, start, start)
			l.pos, l.open, l.strs = len(l.src), nil, nil
			return
		}
		l.pos = i
		l.emitString(tFStart, flag, start, i)
		l.strs = append(l.strs, openStr{quote, flag, len(l.open)})
		return
	}
	end, ok := l.closing(i, quote, flag)
	if !ok {
		l.unclosed(start, end, flag)
		return
	}
	l.pos = end
	l.emitString(tString, flag, start, end)
}

func tripled(quote byte) string {
	if quote == '"' {
		return `"""`
	}
	return "'''"
}

// closing returns the place behind the quotes that close the text at i. If
// there are none it returns the place where the text must have ended.
func (l *lexer) closing(i int, quote byte, flag uint8) (int, bool) {
	triple := flag&strTriple != 0
	for i < len(l.src) {
		switch c := l.src[i]; {
		case c == '\\':
			i++
			if strings.HasPrefix(l.src[min(i, len(l.src)):], "\r\n") {
				i++
			}
		case c == quote && !triple:
			return i + 1, true
		case c == quote && strings.HasPrefix(l.src[i:], tripled(quote)):
			return i + 3, true
		case !triple && (c == '\n' || c == '\r'):
			return i, false
		}
		i++
	}
	return len(l.src), false
}

// unclosed goes on after a string that has no end: at the end of its first
// line, so that what follows is not lost.
func (l *lexer) unclosed(start, end int, flag uint8) {
	l.fail(start, end, nil, "the string is not closed")
	l.emit(tError, start, end)
	l.pos = end
	if flag&strTriple == 0 {
		return
	}
	l.resumed++
	if l.resumed > maxResumed {
		return
	}
	if i := strings.IndexAny(l.src[start:], "\r\n"); i >= 0 {
		l.pos = start + i
	}
}

// inText reports whether the place is literal text of an f-string.
func (l *lexer) inText() bool {
	if len(l.strs) == 0 {
		return false
	}
	n := len(l.open)
	return n == l.strs[len(l.strs)-1].depth || l.open[n-1] == 's'
}

// text reads literal text of an f-string up to a field or the end.
func (l *lexer) text() {
	s := l.strs[len(l.strs)-1]
	spec := len(l.open) > s.depth
	start, i := l.pos, l.pos
	flag := s.flag
	if spec {
		flag |= strSpec
	}
	middle := func(end int) {
		if end > start {
			l.emitString(tFMiddle, flag, start, end)
		}
	}
	triple := s.flag&strTriple != 0
	for i < len(l.src) {
		c := l.src[i]
		switch {
		case c == '\\' && i+1 < len(l.src):
			if s.flag&strRaw == 0 && strings.HasPrefix(l.src[i+1:], "N{") {
				if j := strings.IndexAny(l.src[i:min(len(l.src), i+128)], "}\n"); j > 0 && l.src[i+j] == '}' {
					i += j + 1
					continue
				}
			}
			if d := l.src[i+1]; d != '{' && d != '}' { // those are seen by themselves
				i++
			}
		case c == '{' && !spec && strings.HasPrefix(l.src[i:], "{{"), c == '}' && !spec && strings.HasPrefix(l.src[i:], "}}"):
			i++
		case c == '{':
			middle(i)
			if len(l.open) >= l.lim.Depth {
				l.fail(i, len(l.src), ErrLimit, "brackets are nested deeper than %d", l.lim.Depth)
				l.emit(tError, i, i)
				l.pos, l.open, l.strs = len(l.src), nil, nil
				return
			}
			l.emit(tLBrace, i, i+1)
			l.open = append(l.open, 'f')
			l.pos = i + 1
			return
		case c == '}' && spec:
			middle(i)
			l.emit(tRBrace, i, i+1)
			l.open = l.open[:len(l.open)-1]
			l.pos = i + 1
			return
		case c == '}':
			l.fail(i, i+1, nil, "a single } in an f-string")
		case c == s.quote && (!triple || strings.HasPrefix(l.src[i:], tripled(c))):
			n := 1
			if triple {
				n = 3
			}
			middle(i)
			if spec {
				l.fail(i, i+n, nil, "the f-string ends inside a field")
				l.emit(tError, i, i)
			}
			l.emit(tFEnd, i, i+n)
			l.leave(s)
			l.pos = i + n
			return
		case !triple && (c == '\n' || c == '\r'):
			l.fail(start, i, nil, "the f-string is not closed")
			l.emit(tError, start, i)
			l.leave(s)
			l.pos = i
			return
		}
		i++
	}
	l.fail(start, i, nil, "the f-string is not closed")
	l.emit(tError, start, min(i, len(l.src)))
	l.leave(s)
	l.pos = len(l.src)
	l.resumed++
	if j := strings.IndexAny(l.src[start:], "\r\n"); j >= 0 && l.resumed <= maxResumed {
		l.pos = start + j
	}
}

// leave forgets an f-string and what is open in it.
func (l *lexer) leave(s openStr) {
	l.open = l.open[:s.depth]
	l.strs = l.strs[:len(l.strs)-1]
}
