package flow

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

func itoa(i int) string { return strconv.Itoa(i) }

// A piece is text that may be known in part: then it has a * in it.
type piece struct {
	text  string
	known bool
	path  *step
}

// maxFolds bounds the ways in which values are put together.
const maxFolds = 16

// pieces returns the texts that s can be.
func (e *exec) pieces(s set) []piece {
	var out []piece
	rest := s.unknown
	for _, x := range s.vals {
		i := e.a.info(x.v)
		switch {
		case i.kind == vString, i.kind == vNumber && i.text != "", i.kind == vBool:
			out = append(out, piece{i.text, true, x.path})
		case i.kind == vPattern:
			out = append(out, piece{i.text, false, x.path})
		default:
			rest = true
		}
		if len(out) >= maxFolds {
			break
		}
	}
	if rest {
		out = append(out, piece{"*", false, nil})
	}
	return out
}

// glue puts pieces together in every way.
func glue(l, r []piece, sep string) []piece {
	var out []piece
	for _, x := range l {
		for _, y := range r {
			p := x.path
			if p == nil || y.path != nil && y.path.n > p.n {
				p = y.path
			}
			t := x.text + sep + y.text
			if len(t) > maxText {
				t = "*"
			}
			out = append(out, piece{t, x.known && y.known, p})
			if len(out) >= maxFolds {
				return out
			}
		}
	}
	return out
}

// folded makes values of pieces.
func (e *exec) folded(ps []piece, n *syntax.Node) set {
	var out set
	for _, p := range ps {
		v := e.a.common.text
		for strings.Contains(p.text, "**") && !p.known {
			p.text = strings.ReplaceAll(p.text, "**", "*")
		}
		if p.known {
			v = e.a.str(p.text)
		} else if len(p.text) <= maxText {
			v = e.a.intern(info{kind: vPattern, text: p.text})
		}
		st := p.path
		if n != nil {
			st = st.then(Folded, "", e.fr.unit, n)
		}
		out = out.or(one(v, st))
	}
	return out
}

func (e *exec) fstring(n *syntax.Node) set {
	ps := []piece{{"", true, nil}}
	for _, k := range n.Kids {
		var s set
		if k.Kind == syntax.Field {
			s = e.eval(k.Kid(0))
			if k.Kid(1) != nil {
				e.eval(k.Kid(1))
				s = unknown()
			}
			if k.Text == "r" || k.Text == "a" {
				s = unknown()
			}
			if s.empty() {
				return set{}
			}
		} else {
			s = e.eval(k)
		}
		ps = glue(ps, e.pieces(s), "")
	}
	return e.folded(ps, n)
}

// texts is str(x).
func (e *exec) texts(s set) set {
	if s.empty() {
		return s
	}
	return e.folded(e.pieces(s), nil)
}

// dunders are the methods of operators.
var dunders = map[string]string{
	"+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "@": "matmul", "**": "pow",
	"&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift",
}

// binary is an operator between two values.
func (e *exec) binary(n *syntax.Node, op string, l, r set, in bool) set {
	a := e.a
	out := set{unknown: l.unknown && r.unknown}
	d := dunders[op]
	texts, lists, objects := false, false, false
	for _, x := range l.vals {
		switch i := *a.info(x.v); i.kind {
		case vString, vPattern:
			texts = true
		case vList, vDict:
			lists = true
		case vInst:
			objects = true
			ok := false
			var s set
			if in {
				s, ok = e.specialOf(x, "__i"+d+"__", &args{pos: []set{r}}, n)
			}
			if !ok {
				s, ok = e.specialOf(x, "__"+d+"__", &args{pos: []set{r}}, n)
			}
			if ok {
				out = out.or(s)
			}
		default:
		}
	}
	for _, y := range r.vals {
		switch i := *a.info(y.v); i.kind {
		case vInst:
			if !objects {
				s, _ := e.specialOf(y, "__r"+d+"__", &args{pos: []set{l}}, n)
				out = out.or(s)
			}
		case vString, vPattern:
			texts = true
		default:
		}
	}
	if l.empty() || r.empty() && !lists {
		return out
	}
	switch {
	case lists:
		out = out.or(e.joinLists(n, op, l, r, in))
	case op == "+" && texts:
		out = out.or(e.folded(glue(e.pieces(l), e.pieces(r), ""), n))
	case op == "/" && texts:
		out = out.or(e.paths([]set{l, r}, n))
	case op == "%" && texts:
		out = out.or(e.percent(l, r, n))
	case op == "|" && !objects: // a choice of types, or a chain of outside things
		out = out.or(e.outsideOf(l)).or(e.outsideOf(r))
	default:
		if s := e.outsideOf(l).or(e.outsideOf(r)); len(s.vals) > 0 {
			return out.or(s)
		}
		if len(out.vals) == 0 {
			out = out.or(one(a.common.number, nil))
		}
	}
	return out
}

func (e *exec) outsideOf(s set) set {
	var out set
	for _, x := range s.vals {
		if e.a.info(x.v).kind == vExt {
			out.vals = append(out.vals, x)
		}
	}
	return out
}

func (e *exec) joinLists(n *syntax.Node, op string, l, r set, in bool) set {
	a := e.a
	if op == "|" {
		o := a.object(objDict, n, e.fr.unit, nil)
		e.merge2(o, l)
		e.merge2(o, r)
		return one(a.intern(info{kind: vDict, obj: o}), nil)
	}
	if in {
		for _, x := range l.vals {
			if i := a.info(x.v); i.kind == vList {
				e.addCell(e.newCell(i.obj, star), e.items(r))
			}
		}
		return l
	}
	o := a.object(objList, n, e.fr.unit, nil)
	if op == "*" {
		e.addCell(e.newCell(o, star), e.items(l))
	} else if at := e.spread(o, l, 0); at >= 0 {
		e.spread(o, r, at)
	} else {
		e.addCell(e.newCell(o, star), e.items(r))
	}
	return one(a.intern(info{kind: vList, obj: o}), nil)
}

// paths joins parts of a path.
func (e *exec) paths(parts []set, n *syntax.Node) set {
	var ps []piece
	for i, s := range parts {
		if s.empty() {
			return set{}
		}
		next := e.pieces(s)
		if i == 0 {
			ps = next
			continue
		}
		var out []piece
		for _, x := range ps {
			for _, y := range next {
				if len(out) >= maxFolds {
					break
				}
				t := y.text
				if !strings.HasPrefix(t, "/") {
					t = path.Join(x.text, y.text)
				}
				p := x.path
				if p == nil {
					p = y.path
				}
				out = append(out, piece{t, x.known && y.known, p})
			}
		}
		ps = out
	}
	return e.folded(ps, n)
}

// percent folds "…%s…" % values.
func (e *exec) percent(l, r set, n *syntax.Node) set {
	var vals []set
	for _, y := range r.vals {
		if i := e.a.info(y.v); i.kind == vList {
			if k, ok := e.length(y); ok && len(r.vals) == 1 {
				for j := range k {
					vals = append(vals, e.at(i.obj, "i:"+itoa(j)))
				}
			}
		}
	}
	if vals == nil {
		vals = []set{r}
	}
	var out set
	for _, f := range e.pieces(l) {
		if !f.known || strings.Contains(f.text, "%(") {
			out = out.or(one(e.a.common.text, nil))
			continue
		}
		ps, used := []piece{{"", true, f.path}}, 0
		for t := f.text; ; {
			i := strings.IndexByte(t, '%')
			if i < 0 || i+1 >= len(t) {
				ps = glue(ps, []piece{{t, true, nil}}, "")
				break
			}
			ps = glue(ps, []piece{{t[:i], true, nil}}, "")
			switch c := t[i+1]; {
			case c == '%':
				ps = glue(ps, []piece{{"%", true, nil}}, "")
			case (c == 's' || c == 'd') && used < len(vals):
				ps = glue(ps, e.pieces(vals[used]), "")
				used++
			default:
				ps = glue(ps, []piece{{"*", false, nil}}, "")
				used++
			}
			t = t[i+2:]
		}
		out = out.or(e.folded(ps, n))
	}
	return out
}

func (e *exec) negative(op string, s set) set {
	var out set
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		if i.kind == vNumber && op == "-" && i.text != "" {
			x.v = e.a.intern(info{kind: vNumber, text: "-" + i.text})
			out.vals = append(out.vals, x)
			continue
		}
		if i.kind == vNumber {
			out = out.or(set{vals: []entry{x}})
		}
	}
	if len(out.vals) == 0 && !s.empty() {
		return one(e.a.common.number, nil)
	}
	return out
}

// textMethods fold a text with constant arguments.
var textMethods = map[string]func(t string, args []string) (string, bool){
	"strip":        func(t string, a []string) (string, bool) { return trim(t, a, strings.Trim, strings.TrimSpace), true },
	"lstrip":       func(t string, a []string) (string, bool) { return trim(t, a, strings.TrimLeft, trimLeft), true },
	"rstrip":       func(t string, a []string) (string, bool) { return trim(t, a, strings.TrimRight, trimRight), true },
	"lower":        func(t string, _ []string) (string, bool) { return strings.ToLower(t), true },
	"upper":        func(t string, _ []string) (string, bool) { return strings.ToUpper(t), true },
	"casefold":     func(t string, _ []string) (string, bool) { return strings.ToLower(t), true },
	"encode":       func(t string, _ []string) (string, bool) { return t, true },
	"decode":       func(t string, _ []string) (string, bool) { return t, true },
	"expanduser":   func(t string, _ []string) (string, bool) { return t, true },
	"resolve":      func(t string, _ []string) (string, bool) { return t, true },
	"as_posix":     func(t string, _ []string) (string, bool) { return t, true },
	"absolute":     func(t string, _ []string) (string, bool) { return t, true },
	"removeprefix": func(t string, a []string) (string, bool) { return strings.TrimPrefix(t, arg(a, 0)), len(a) == 1 },
	"removesuffix": func(t string, a []string) (string, bool) { return strings.TrimSuffix(t, arg(a, 0)), len(a) == 1 },
	"replace":      func(t string, a []string) (string, bool) { return replace(t, arg(a, 0), arg(a, 1)), len(a) == 2 },
	"joinpath":     func(t string, a []string) (string, bool) { return path.Join(append([]string{t}, a...)...), true },
}

func arg(a []string, i int) string {
	if i < len(a) {
		return a[i]
	}
	return ""
}

func replace(t, from, to string) string {
	if from == "" || len(to)*strings.Count(t, from) > maxText {
		return t
	}
	return strings.ReplaceAll(t, from, to)
}

func trimLeft(t string) string  { return strings.TrimLeft(t, " \t\r\n\v\f") }
func trimRight(t string) string { return strings.TrimRight(t, " \t\r\n\v\f") }

func trim(t string, a []string, cut func(string, string) string, space func(string) string) string {
	if len(a) == 0 {
		return space(t)
	}
	return cut(t, a[0])
}

// textMethod calls a method of text.
func (e *exec) textMethod(name string, x entry, ar *args, n *syntax.Node) set {
	a := e.a
	t := *a.info(x.v)
	switch name {
	case "split", "rsplit", "splitlines", "partition", "rpartition":
		return e.split(name, t, x, ar, n)
	case "join":
		if len(ar.pos) == 1 && len(ar.pos[0].vals) == 1 && t.kind == vString {
			if k, ok := e.length(ar.pos[0].vals[0]); ok && k < 64 {
				ps := []piece{{"", true, nil}}
				for i := range k {
					sep := t.text
					if i == 0 {
						sep = ""
					}
					ps = glue(ps, e.pieces(e.at(a.info(ar.pos[0].vals[0].v).obj, "i:"+itoa(i))), sep)
				}
				return e.folded(ps, n)
			}
		}
		return one(a.common.text, nil)
	case "format":
		return e.format(t, x, ar, n)
	case "startswith", "endswith", "isdigit", "exists", "is_file", "is_dir":
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}
	case "find", "index", "count", "rfind":
		return one(a.common.number, nil)
	case "open", "read_text", "read_bytes":
		return e.opened(set{vals: []entry{x}}, n)
	case "get", "items", "keys", "values", "append", "pop":
		return set{}
	}
	f := textMethods[name]
	if f == nil || t.kind != vString {
		return one(a.common.text, nil)
	}
	var as []string
	for _, p := range ar.pos {
		if len(p.vals) != 1 || p.unknown || a.info(p.vals[0].v).kind != vString {
			return one(a.common.text, x.path)
		}
		as = append(as, a.info(p.vals[0].v).text)
	}
	r, ok := f(t.text, as)
	if !ok {
		return one(a.common.text, x.path)
	}
	return one(a.str(r), x.path)
}

func (e *exec) split(name string, t info, x entry, ar *args, n *syntax.Node) set {
	a := e.a
	o := a.object(objList, n, e.fr.unit, "split"+itoa(int(x.v)))
	out := one(a.intern(info{kind: vList, obj: o}), nil)
	sep := ""
	if len(ar.pos) > 0 && len(ar.pos[0].vals) == 1 {
		if i := a.info(ar.pos[0].vals[0].v); i.kind == vString {
			sep = i.text
		}
	}
	known := t.kind == vString && (len(ar.pos) == 0 || sep != "")
	if !known {
		e.addCell(e.newCell(o, star), one(a.common.text, nil))
		return out
	}
	limit := -1
	if m, _, ok := ar.get(1, "maxsplit"); ok {
		k, ok := e.number(m, 0)
		if !ok || k < 0 {
			e.addCell(e.newCell(o, star), one(a.common.text, nil))
			return out
		}
		limit = k + 1
	}
	var parts []string
	switch {
	case name == "splitlines":
		parts = strings.Split(t.text, "\n")
	case strings.HasSuffix(name, "partition"):
		i := strings.Index(t.text, sep)
		if name == "rpartition" {
			i = strings.LastIndex(t.text, sep)
		}
		switch {
		case i >= 0:
			parts = []string{t.text[:i], sep, t.text[i+len(sep):]}
		case name == "partition":
			parts = []string{t.text, "", ""}
		default:
			parts = []string{"", "", t.text}
		}
	case sep == "":
		parts = strings.Fields(t.text)
	case name == "rsplit" && limit > 0:
		for rest := t.text; ; limit-- {
			i := strings.LastIndex(rest, sep)
			if i < 0 || limit == 1 {
				parts = append(parts, rest)
				break
			}
			parts = append(parts, rest[i+len(sep):])
			rest = rest[:i]
		}
		slices.Reverse(parts)
	default:
		parts = strings.SplitN(t.text, sep, limit)
	}
	for i, p := range parts[:min(len(parts), 256)] {
		e.setCell(o, "i:"+itoa(i), one(a.str(p), x.path))
	}
	return out
}

// format folds "{} {name}".format(…).
func (e *exec) format(t info, x entry, ar *args, n *syntax.Node) set {
	if t.kind != vString {
		return one(e.a.common.text, x.path)
	}
	ps, auto := []piece{{"", true, x.path}}, 0
	for s := t.text; ; {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			return e.folded(glue(ps, []piece{{s, true, nil}}, ""), n)
		}
		ps = glue(ps, []piece{{s[:i], true, nil}}, "")
		if i+1 < len(s) && s[i+1] == s[i] {
			ps = glue(ps, []piece{{s[i : i+1], true, nil}}, "")
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			return one(e.a.common.text, x.path)
		}
		field := s[i+1 : i+end]
		s = s[i+end+1:]
		var v set
		var ok bool
		switch k, err := strconv.Atoi(field); {
		case field == "":
			v, _, ok = ar.get(auto, "")
			auto++
		case err == nil:
			v, _, ok = ar.get(k, "")
		default:
			v, _, ok = ar.get(-1, field)
		}
		if !ok {
			v = unknown()
		}
		ps = glue(ps, e.pieces(v), "")
	}
}
