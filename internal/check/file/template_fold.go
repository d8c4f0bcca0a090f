package file

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/format/jinja"
)

// folder computes the texts that an attacker hides a name in: joined, formatted,
// reversed, replaced or put into variables. It knows constants only.
type folder struct {
	known map[string]string // variables set to a constant text
}

// foldedBytes bounds a computed text; names are short.
const foldedBytes = 4096

// learn remembers what {% set x = … %} assigns.
func (f *folder) learn(n *jinja.Node) {
	if n.Kind != jinja.Tag || n.Text != "set" || len(n.Kids) != 2 || n.Kids[0].Kind != jinja.Name {
		return
	}
	if s, ok := f.text(n.Kids[1]); ok {
		f.known[n.Kids[0].Text] = s
	}
}

// text returns the constant text that n evaluates to.
func (f *folder) text(n *jinja.Node) (string, bool) {
	s, ok := f.fold(n)
	return s, ok && len(s) <= foldedBytes
}

func (f *folder) fold(n *jinja.Node) (string, bool) {
	switch n.Kind {
	case jinja.String:
		return n.Text, true
	case jinja.Name:
		s, ok := f.known[n.Text]
		return s, ok
	case jinja.Op:
		return f.op(n)
	case jinja.Item:
		return f.part(n)
	case jinja.Filter:
		return f.filtered(n)
	case jinja.Call:
		return f.called(n)
	}
	return "", false
}

func (f *folder) op(n *jinja.Node) (string, bool) {
	if len(n.Kids) != 2 {
		return "", false
	}
	a, ok := f.text(n.Kids[0])
	if !ok {
		return "", false
	}
	switch n.Text {
	case "~", "+":
		if b, ok := f.text(n.Kids[1]); ok {
			return a + b, true
		}
		if n.Text == "~" && n.Kids[1].Kind == jinja.Number {
			return a + n.Kids[1].Text, true
		}
	case "*":
		if k, err := strconv.Atoi(n.Kids[1].Text); err == nil && k >= 0 && k*len(a) <= foldedBytes {
			return strings.Repeat(a, k), true
		}
	case "%":
		args := n.Kids[1:]
		if n.Kids[1].Kind == jinja.List {
			args = n.Kids[1].Kids
		}
		return f.percent(a, args)
	}
	return "", false
}

// part folds text[i] and text[a:b:c].
func (f *folder) part(n *jinja.Node) (string, bool) {
	s, ok := f.text(n.Kids[0])
	if !ok {
		return "", false
	}
	r := []rune(s)
	key := n.Kids[1]
	if key.Kind != jinja.Slice {
		i, ok := integer(key)
		if i < 0 {
			i += len(r)
		}
		if !ok || i < 0 || i >= len(r) {
			return "", false
		}
		return string(r[i]), true
	}
	start, end, step := 0, len(r), 1
	if v, ok := integer(key.Kids[2]); ok {
		step = v
	}
	if step < 0 {
		slices.Reverse(r)
		step = -step
	}
	if v, ok := integer(key.Kids[0]); ok {
		start = v
	}
	if v, ok := integer(key.Kids[1]); ok {
		end = v
	}
	if start < 0 {
		start += len(r)
	}
	if end < 0 {
		end += len(r)
	}
	var b strings.Builder
	for i := max(0, start); i < min(end, len(r)) && step > 0; i += step {
		b.WriteRune(r[i])
	}
	return b.String(), true
}

func integer(n *jinja.Node) (int, bool) {
	sign := 1
	if n.Kind == jinja.Op && n.Text == "-" && len(n.Kids) == 1 {
		n, sign = n.Kids[0], -1
	}
	if n.Kind != jinja.Number {
		return 0, false
	}
	i, err := strconv.Atoi(n.Text)
	return sign * i, err == nil
}

// list returns the constant texts of a list, or the keys of a dict.
func (f *folder) list(n *jinja.Node) (items []string, ok bool) {
	add := func(k *jinja.Node) bool {
		s, ok := f.text(k)
		if !ok {
			if i, isInt := integer(k); isInt {
				s, ok = strconv.Itoa(i), true
			}
		}
		items = append(items, s)
		return ok
	}
	switch n.Kind {
	case jinja.List:
		for _, k := range n.Kids {
			if !add(k) {
				return nil, false
			}
		}
		return items, true
	case jinja.Dict:
		for i := 0; i < len(n.Kids); i += 2 {
			if !add(n.Kids[i]) {
				return nil, false
			}
		}
		return items, true
	case jinja.Call:
		if n.Kids[0].Kind == jinja.Name && n.Kids[0].Text == "dict" {
			for _, k := range n.Kids[1:] {
				if k.Kind == jinja.Keyword {
					items = append(items, k.Text)
				}
			}
			return items, true
		}
	case jinja.Filter:
		switch n.Text {
		case "list", "sort", "unique":
			return f.list(n.Kids[0])
		case "reverse":
			items, ok = f.list(n.Kids[0])
			items = slices.Clone(items)
			slices.Reverse(items)
			return items, ok
		}
	}
	if s, ok := f.text(n); ok && n.Kind != jinja.Filter {
		return strings.Split(s, ""), true
	}
	return nil, false
}

func (f *folder) filtered(n *jinja.Node) (string, bool) {
	arg := func(i int) string {
		if a := n.Arg(i); a != nil {
			s, _ := f.text(a)
			return s
		}
		return ""
	}
	switch n.Text {
	case "join", "first", "last":
		items, ok := f.list(n.Kids[0])
		if !ok || len(items) == 0 {
			return "", false
		}
		switch n.Text {
		case "first":
			return items[0], true
		case "last":
			return items[len(items)-1], true
		}
		return strings.Join(items, arg(0)), true
	}
	s, ok := f.text(n.Kids[0])
	if !ok {
		return "", false
	}
	if n.Text == "format" {
		return f.percent(s, n.Kids[1:])
	}
	return change(n.Text, s, arg(0), arg(1))
}

// change applies a filter or method that makes text of text.
func change(name, s, a, b string) (string, bool) {
	switch name {
	case "lower", "casefold":
		return strings.ToLower(s), true
	case "upper":
		return strings.ToUpper(s), true
	case "reverse":
		r := []rune(s)
		slices.Reverse(r)
		return string(r), true
	case "replace":
		if a == "" || len(s)*max(1, len(b)) > foldedBytes {
			return "", false
		}
		return strings.ReplaceAll(s, a, b), true
	case "trim", "strip":
		if a == "" {
			return strings.TrimSpace(s), true
		}
		return strings.Trim(s, a), true
	case "string", "safe", "e", "escape", "forceescape", "list":
		return s, true
	case "removeprefix":
		return strings.TrimPrefix(s, a), true
	case "removesuffix":
		return strings.TrimSuffix(s, a), true
	}
	return "", false
}

func (f *folder) called(n *jinja.Node) (string, bool) {
	callee := n.Kids[0]
	if callee.Kind == jinja.Name && callee.Text == "chr" && len(n.Kids) == 2 {
		i, ok := integer(n.Kids[1])
		return string(rune(i)), ok
	}
	if callee.Kind != jinja.Attr {
		return "", false
	}
	s, ok := f.text(callee.Kids[0])
	if !ok {
		return "", false
	}
	arg := func(i int) string {
		if a := n.Arg(i); a != nil {
			t, _ := f.text(a)
			return t
		}
		return ""
	}
	switch callee.Text {
	case "join":
		if a := n.Arg(0); a != nil {
			items, ok := f.list(a)
			return strings.Join(items, s), ok
		}
		return "", false
	case "format":
		return f.braces(s, n.Kids[1:])
	}
	return change(callee.Text, s, arg(0), arg(1))
}

// percent formats with %s, %d and %c.
func (f *folder) percent(s string, args []*jinja.Node) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == '%' {
			b.WriteByte('%')
			continue
		}
		if len(args) == 0 {
			return "", false
		}
		v, isInt := integer(args[0])
		t, isText := f.text(args[0])
		args = args[1:]
		switch {
		case s[i] == 'c' && isInt:
			b.WriteRune(rune(v))
		case (s[i] == 's' || s[i] == 'd') && isInt:
			b.WriteString(strconv.Itoa(v))
		case (s[i] == 's' || s[i] == 'c') && isText:
			b.WriteString(t)
		default:
			return "", false
		}
	}
	return b.String(), true
}

// braces formats with {}, {0} and {0:c}.
func (f *folder) braces(s string, args []*jinja.Node) (string, bool) {
	var b strings.Builder
	next := 0
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			break
		}
		shut := strings.IndexByte(s[open:], '}')
		if shut < 0 {
			return "", false
		}
		b.WriteString(s[:open])
		field, spec, _ := strings.Cut(s[open+1:open+shut], ":")
		s = s[open+shut+1:]
		i := next
		if field != "" {
			var err error
			if i, err = strconv.Atoi(field); err != nil {
				return "", false
			}
		}
		next++
		if i < 0 || i >= len(args) {
			return "", false
		}
		v, isInt := integer(args[i])
		t, isText := f.text(args[i])
		switch {
		case isInt && spec == "c":
			b.WriteRune(rune(v))
		case isInt:
			b.WriteString(strconv.Itoa(v))
		case isText:
			b.WriteString(t)
		default:
			return "", false
		}
	}
	b.WriteString(s)
	return b.String(), true
}
