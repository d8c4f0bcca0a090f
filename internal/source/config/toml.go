package config

import (
	"strings"
)

// TOML reads TOML tolerantly: tables, arrays of tables, dotted keys, strings of
// all kinds, arrays and inline tables. It returns the first line that it could
// not read, or 0.
func TOML(text string) (*Value, int) {
	root := &Value{Kind: Map, Line: 1}
	at, problem := root, 0
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i := 0; i < len(lines); i++ {
		l := strings.TrimSpace(lines[i])
		switch {
		case l == "" || l[0] == '#':
		case strings.HasPrefix(l, "[["):
			name, _, _ := strings.Cut(l[2:], "]]")
			at = root.path(keys(name), i+1, true)
		case l[0] == '[':
			name, _, _ := strings.Cut(l[1:], "]")
			at = root.path(keys(name), i+1, false)
		default:
			eq := equals(l)
			if eq < 0 || at == nil {
				if problem == 0 {
					problem = i + 1
				}
				continue
			}
			ks, rest := keys(l[:eq]), strings.TrimSpace(l[eq+1:])
			line := i
			if strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, "'''") {
				q := rest[:3]
				for n := 0; strings.Count(rest, q) < 2 && i+1 < len(lines) && n < 10_000; n++ {
					i++
					rest += "\n" + lines[i]
				}
				body := strings.TrimPrefix(rest[3:], "\n")
				body, _, _ = strings.Cut(body, q)
				at.set(ks, &Value{Kind: String, Text: body, Line: line + 1})
				continue
			}
			if rest != "" && (rest[0] == '[' || rest[0] == '{') {
				for n := 0; !balanced(rest) && i+1 < len(lines) && n < 10_000; n++ {
					i++
					rest += "\n" + uncomment(lines[i])
				}
				p := &flowReader{s: strings.ReplaceAll(rest, "=", ": "), line: line + 1}
				if strings.ContainsAny(rest, `"'`) {
					p.s = inline(rest)
				}
				if v := p.value(0); v != nil {
					at.set(ks, v)
				}
				continue
			}
			at.set(ks, tomlScalar(rest, line+1))
		}
	}
	return root, problem
}

// inline writes the "=" of inline tables as ": ", strings left alone.
func inline(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			_, n := unquote(s[i:])
			if n < 0 {
				n = len(s) - i
			}
			b.WriteString(s[i : i+n])
			i += n - 1
		case '=':
			b.WriteString(": ")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func uncomment(s string) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			_, n := unquote(s[i:])
			if n < 0 {
				return s
			}
			i += n - 1
		case '#':
			return s[:i]
		}
	}
	return s
}

func tomlScalar(s string, line int) *Value {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		t, _ := unquote(s)
		return &Value{Kind: String, Text: t, Line: line}
	}
	return scalarOf(strings.TrimSpace(uncomment(s)), line)
}

// equals finds the "=" behind a key.
func equals(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			_, n := unquote(s[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '=':
			return i
		}
	}
	return -1
}

// keys splits a dotted key.
func keys(s string) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; {
		if s[0] == '"' || s[0] == '\'' {
			k, n := unquote(s)
			if n < 0 {
				return append(out, s)
			}
			out = append(out, k)
			s = strings.TrimLeft(s[n:], " .")
			continue
		}
		k, rest, _ := strings.Cut(s, ".")
		out = append(out, strings.TrimSpace(k))
		s = strings.TrimSpace(rest)
	}
	return out
}

// path returns the table of that name, which it makes if there is none; with
// each, a new element of the list of that name.
func (v *Value) path(ks []string, line int, each bool) *Value {
	if len(ks) > maxDepth {
		return nil
	}
	for i, k := range ks {
		next := v.Get(k)
		last := i == len(ks)-1
		switch {
		case next == nil && each && last:
			next = &Value{Kind: List, Line: line}
			v.put(k, next)
		case next == nil:
			next = &Value{Kind: Map, Line: line}
			v.put(k, next)
		}
		if next.Kind == List {
			if each && last || len(next.Kids) == 0 {
				next.Kids = append(next.Kids, &Value{Kind: Map, Line: line})
			}
			next = next.Kids[len(next.Kids)-1]
		}
		if next.Kind != Map {
			return nil
		}
		v = next
	}
	return v
}

// set puts a value under a dotted key.
func (v *Value) set(ks []string, to *Value) {
	if len(ks) == 0 {
		return
	}
	t := v.path(ks[:len(ks)-1], to.Line, false)
	if t == nil {
		return
	}
	k := ks[len(ks)-1]
	if t.Get(k) == nil {
		t.put(k, to)
	}
}
