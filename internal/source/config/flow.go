package config

import (
	"strings"
)

// JSON reads JSON, with comments and commas at the end as editors allow. It
// returns what it could read, and the line where it could not go on, or 0.
func JSON(text string) (*Value, int) {
	p := &flowReader{s: strings.TrimPrefix(text, "\ufeff"), line: 1, comments: true}
	v := p.value(0)
	p.space()
	if v == nil || p.i < len(p.s) || p.broken {
		return v, p.line
	}
	return v, 0
}

// A flowReader reads JSON, and the flow collections of YAML, whose keys and
// scalars may be plain.
type flowReader struct {
	s        string
	i        int
	line     int
	comments bool // // and /* */ are comments
	broken   bool
}

func (p *flowReader) space() {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '\n':
			p.line++
			p.i++
		case c == ' ' || c == '\t' || c == '\r':
			p.i++
		case p.comments && strings.HasPrefix(p.s[p.i:], "//"), !p.comments && c == '#':
			n := strings.IndexByte(p.s[p.i:], '\n')
			if n < 0 {
				n = len(p.s) - p.i
			}
			p.i += n
		case p.comments && strings.HasPrefix(p.s[p.i:], "/*"):
			n := strings.Index(p.s[p.i:], "*/")
			if n < 0 {
				n = len(p.s) - p.i - 2
			}
			p.line += strings.Count(p.s[p.i:p.i+n], "\n")
			p.i += n + 2
		default:
			return
		}
	}
}

func (p *flowReader) value(depth int) *Value {
	p.space()
	if p.i >= len(p.s) || depth > maxDepth {
		p.broken = true
		return nil
	}
	switch c := p.s[p.i]; c {
	case '{', '[':
		return p.collection(c, depth)
	case '"', '\'':
		if c == '\'' && p.comments {
			p.broken = true
			return nil
		}
		line := p.line
		return &Value{Kind: String, Text: p.quoted(), Line: line}
	case '}', ']', ',', ':':
		if p.comments {
			p.broken = true
			return nil
		}
		return &Value{Line: p.line}
	}
	from := p.i
	for p.i < len(p.s) && strings.IndexByte(",]}\n", p.s[p.i]) < 0 && (p.s[p.i] != ':' || p.i+1 < len(p.s) && p.s[p.i+1] != ' ') {
		if p.comments && (p.s[p.i] == ' ' || p.s[p.i] == '/' || p.s[p.i] == '\r' || p.s[p.i] == '\t') {
			break
		}
		p.i++
	}
	v := scalarOf(strings.TrimSpace(p.s[from:p.i]), p.line)
	if p.comments && v.Kind == String {
		p.broken = true
		return nil
	}
	return v
}

func (p *flowReader) collection(open byte, depth int) *Value {
	v := &Value{Kind: List, Line: p.line}
	end := byte(']')
	if open == '{' {
		v.Kind, end = Map, '}'
	}
	p.i++
	for {
		p.space()
		if p.i >= len(p.s) {
			p.broken = true
			return v
		}
		if p.s[p.i] == end {
			p.i++
			return v
		}
		if p.s[p.i] == ',' {
			p.i++
			continue
		}
		at, line := p.i, p.line
		k := p.value(depth + 1)
		if k == nil || p.i == at {
			p.broken = true
			return v
		}
		p.space()
		if v.Kind == List {
			v.Kids = append(v.Kids, k)
			continue
		}
		member := &Value{Line: line}
		if p.i < len(p.s) && p.s[p.i] == ':' {
			p.i++
			m := p.value(depth + 1)
			if m == nil {
				return v
			}
			member = m
		} else if p.comments {
			p.broken = true
			return v
		}
		v.put(k.Text, member)
	}
}

// quoted reads a string in quotes; escapes of JSON are resolved.
func (p *flowReader) quoted() string {
	q := p.s[p.i]
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == q:
			return b.String()
		case c == '\n':
			p.line++
			b.WriteByte(c)
		case c == '\\' && q == '"' && p.i < len(p.s):
			e := p.s[p.i]
			p.i++
			switch e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r', 'b', 'f':
				b.WriteByte(' ')
			case 'u':
				r := rune(0)
				for k := 0; k < 4 && p.i < len(p.s); k++ {
					d := strings.IndexByte("0123456789abcdef", p.s[p.i]|0x20)
					if d < 0 {
						break
					}
					r = r<<4 | rune(d) //nolint:gosec // a hex digit
					p.i++
				}
				b.WriteRune(r)
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	p.broken = true
	return b.String()
}
