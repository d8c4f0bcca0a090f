package config

import (
	"strings"
)

// YAML reads a file of YAML tolerantly: block and flow collections, scalars of
// all styles, anchors, aliases and merge keys, several documents. Lines of
// templates ({{ … }}) are read as text with holes. Tags mean nothing. It is
// bounded by the text: each line is looked at once, aliases are not copied
// deeper than maxDepth, and a document that says nothing readable is null.
//
// It returns one value for each document, and the first line that it could not
// place, or 0.
func YAML(text string) (docs []*Value, problem int) {
	y := &yamlReader{lines: strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n"), anchors: map[string]*Value{}}
	for y.at < len(y.lines) {
		start := y.at
		v := y.document()
		if v != nil {
			docs = append(docs, v)
		}
		if y.at == start { // nothing was taken: a line that fits nowhere
			y.bad(start)
			y.at++
		}
	}
	return docs, y.problem
}

// maxDepth bounds how deep values lie in each other.
const maxDepth = 100

type yamlReader struct {
	lines   []string
	at      int
	anchors map[string]*Value
	problem int
}

func (y *yamlReader) bad(at int) {
	if y.problem == 0 {
		y.problem = at + 1
	}
}

// line returns the indentation and text of the next line that says something.
// ok is false at the end of the document.
func (y *yamlReader) line() (indent int, text string, ok bool) {
	for ; y.at < len(y.lines); y.at++ {
		l := strings.TrimRight(y.lines[y.at], " \t\r")
		t := strings.TrimLeft(l, " ")
		switch {
		case t == "" || t[0] == '#' || strings.HasPrefix(l, "%"):
			continue
		case strings.HasPrefix(t, "{{") && strings.HasSuffix(t, "}}"): // a template's own line
			continue
		case l == "---" || l == "..." || strings.HasPrefix(l, "--- "):
			return 0, "", false
		}
		return len(l) - len(t), t, true
	}
	return 0, "", false
}

func (y *yamlReader) document() *Value {
	for y.at < len(y.lines) {
		l := strings.TrimRight(y.lines[y.at], " \t\r")
		if l == "---" || l == "..." || strings.HasPrefix(l, "--- ") && strings.HasPrefix(strings.TrimSpace(l[4:]), "#") {
			y.at++
			continue
		}
		if strings.HasPrefix(l, "--- ") {
			y.lines[y.at] = "    " + l[4:]
		}
		break
	}
	indent, _, ok := y.line()
	if !ok {
		return nil
	}
	return y.block(indent, 0)
}

// block reads the collection or scalar whose lines are indented by indent.
func (y *yamlReader) block(indent, depth int) *Value {
	in, text, ok := y.line()
	if !ok || in < indent || depth > maxDepth {
		return nil
	}
	if text == "-" || strings.HasPrefix(text, "- ") {
		return y.list(in, depth)
	}
	if _, _, ok := splitKey(text); ok {
		return y.mapping(in, depth)
	}
	start := y.at
	y.at++
	return y.scalar(text, start, in-1, depth)
}

func (y *yamlReader) list(indent, depth int) *Value {
	v := &Value{Kind: List, Line: y.at + 1}
	for {
		in, text, ok := y.line()
		if !ok || in != indent || text != "-" && !strings.HasPrefix(text, "- ") {
			if ok && in > indent {
				y.bad(y.at)
				y.at++
				continue
			}
			return v
		}
		rest := strings.TrimLeft(text[1:], " ")
		if rest == "" || rest[0] == '#' {
			line := y.at
			y.at++
			k := y.block(indent+1, depth+1)
			if k == nil {
				k = &Value{Line: line + 1}
			}
			v.Kids = append(v.Kids, k)
			continue
		}
		// The item stands on the same line: read it as if it began a block there.
		off := indent + len(text) - len(rest)
		y.lines[y.at] = strings.Repeat(" ", off) + rest
		k := y.block(off, depth+1)
		if k == nil {
			y.at++
			k = &Value{Line: y.at}
		}
		v.Kids = append(v.Kids, k)
	}
}

func (y *yamlReader) mapping(indent, depth int) *Value {
	v := &Value{Kind: Map, Line: y.at + 1}
	for {
		in, text, ok := y.line()
		if !ok || in < indent {
			return v
		}
		key, rest, isKey := splitKey(text)
		if in > indent || !isKey {
			if in == indent && (text == "-" || strings.HasPrefix(text, "- ")) {
				return v
			}
			y.bad(y.at)
			y.at++
			continue
		}
		line := y.at
		y.at++
		k := y.value(rest, line, indent, depth+1)
		k.Line = line + 1
		if key == "<<" {
			y.merge(v, k)
			continue
		}
		v.put(key, k)
	}
}

// merge takes over the members of another map that v does not have.
func (y *yamlReader) merge(v, from *Value) {
	list := []*Value{from}
	if from.Kind == List {
		list = from.Kids
	}
	for _, m := range list {
		for i, key := range m.Keys {
			if len(v.Keys) < 10_000 && v.Get(key) == nil {
				v.put(key, m.Kids[i])
			}
		}
	}
}

// value reads what stands behind a key.
func (y *yamlReader) value(rest string, line, indent, depth int) *Value {
	rest, anchor := y.properties(rest)
	var v *Value
	switch {
	case rest == "" || rest[0] == '#':
		in, text, ok := y.line()
		switch {
		case ok && in > indent:
			v = y.block(in, depth)
		case ok && in == indent && (text == "-" || strings.HasPrefix(text, "- ")):
			v = y.list(in, depth)
		}
		if v == nil {
			v = &Value{}
		}
	case rest[0] == '*':
		name, _, _ := strings.Cut(strings.TrimSpace(rest[1:]), " ")
		if a := y.anchors[name]; a != nil {
			c := *a // shared below: values are not changed afterwards
			v = &c
		} else {
			v = &Value{}
		}
	default:
		v = y.scalar(rest, line, indent, depth)
	}
	if anchor != "" {
		y.anchors[anchor] = v
	}
	return v
}

// properties takes anchors and tags off.
func (y *yamlReader) properties(s string) (rest, anchor string) {
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] != '&' && s[0] != '!' {
			return s, anchor
		}
		word, tail, _ := strings.Cut(s, " ")
		if s[0] == '&' {
			anchor = word[1:]
		}
		s = tail
	}
}

// scalar reads a plain, quoted or block scalar, or a flow collection, which may
// go on in the lines that follow.
func (y *yamlReader) scalar(s string, line, indent, depth int) *Value {
	switch s[0] {
	case '|', '>':
		return y.literal(s, line, indent)
	case '[', '{':
		if strings.HasPrefix(s, "{{") {
			return &Value{Kind: String, Text: s, Line: line + 1}
		}
		text, lines := s, 0
		for !balanced(text) && y.at < len(y.lines) && lines < 2000 {
			next := strings.TrimSpace(y.lines[y.at])
			text += "\n" + next
			y.at++
			lines++
		}
		p := &flowReader{s: text, line: line + 1}
		v := p.value(depth)
		if v == nil {
			y.bad(line)
			return &Value{Kind: String, Text: s, Line: line + 1}
		}
		return v
	case '"', '\'':
		text, lines := s, 0
		for !closed(text) && y.at < len(y.lines) && lines < 2000 {
			text += " " + strings.TrimSpace(y.lines[y.at])
			y.at++
			lines++
		}
		t, _ := unquote(text)
		return &Value{Kind: String, Text: t, Line: line + 1}
	}
	var text strings.Builder
	text.WriteString(plain(s))
	// A plain scalar goes on in lines that are indented more.
	for range 2000 {
		in, t, ok := y.line()
		if !ok || in <= indent {
			break
		}
		if _, _, isKey := splitKey(t); isKey && !strings.Contains(t, "://") {
			break
		}
		text.WriteString(" " + plain(t))
		y.at++
	}
	return scalarOf(text.String(), line+1)
}

// literal reads a block scalar.
func (y *yamlReader) literal(head string, line, indent int) *Value {
	var b strings.Builder
	body := -1
	for ; y.at < len(y.lines); y.at++ {
		l := strings.TrimRight(y.lines[y.at], "\r")
		t := strings.TrimLeft(l, " ")
		if strings.TrimSpace(t) == "" {
			b.WriteByte('\n')
			continue
		}
		in := len(l) - len(t)
		if in <= indent {
			break
		}
		if body < 0 {
			body = in
		}
		b.WriteString(l[min(body, in):])
		if head[0] == '>' {
			b.WriteByte(' ')
		} else {
			b.WriteByte('\n')
		}
	}
	return &Value{Kind: String, Text: strings.TrimRight(b.String(), "\n "), Line: line + 1}
}

// splitKey splits "key: rest". A colon counts only before a space or the end,
// and not in quotes or a flow collection.
func splitKey(s string) (key, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	if s[0] == '?' && strings.HasPrefix(s, "? ") {
		return "", "", false
	}
	if s[0] == '"' || s[0] == '\'' {
		k, n := unquote(s)
		if n < 0 {
			return "", "", false
		}
		tail := strings.TrimLeft(s[n:], " ")
		if tail == ":" || strings.HasPrefix(tail, ": ") {
			return k, strings.TrimSpace(tail[1:]), true
		}
		return "", "", false
	}
	if s[0] == '[' || s[0] == '{' && !strings.HasPrefix(s, "{{") || s[0] == '|' || s[0] == '>' || s[0] == '#' {
		return "", "", false
	}
	hole := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "{{"):
			hole++
		case strings.HasPrefix(s[i:], "}}") && hole > 0:
			hole--
		case s[i] == ':' && hole == 0 && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\t'):
			return strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:]), true
		case s[i] == '#' && i > 0 && s[i-1] == ' ':
			return "", "", false
		}
	}
	return "", "", false
}

// plain takes a comment off a plain scalar.
func plain(s string) string {
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}

// closed reports whether a quoted scalar ends.
func closed(s string) bool {
	_, n := unquote(s)
	return n >= 0
}

// unquote reads the quoted scalar that s begins with, and tells where it ends;
// -1 if it does not.
func unquote(s string) (string, int) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == q && q == '\'' && i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		case s[i] == q:
			return b.String(), i + 1
		case s[i] == '\\' && q == '"' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), -1
}

// balanced reports whether the brackets of a flow collection are closed.
func balanced(s string) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[', '{':
			n++
		case ']', '}':
			n--
		case '"', '\'':
			if i == 0 || strings.IndexByte(" ,[{:\n", s[i-1]) >= 0 {
				_, k := unquote(s[i:])
				if k < 0 {
					return false
				}
				i += k - 1
			}
		}
	}
	return n <= 0
}

// scalarOf gives a plain scalar its kind.
func scalarOf(s string, line int) *Value {
	v := &Value{Kind: String, Text: s, Line: line}
	switch strings.ToLower(s) {
	case "", "~", "null":
		v.Kind, v.Text = Null, ""
	case "true", "false":
		v.Kind, v.Text = Bool, strings.ToLower(s)
	default:
		if number(s) {
			v.Kind = Number
		}
	}
	return v
}

func number(s string) bool {
	digits := 0
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case (c == '-' || c == '+') && (i == 0 || s[i-1] == 'e' || s[i-1] == 'E'), c == '.', (c == 'e' || c == 'E') && digits > 0:
		default:
			return false
		}
	}
	return digits > 0 && strings.Count(s, ".") < 2
}
