package flow

import (
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

func (a *analysis) writeAny(fr *frame, o *object, key string, s set) {
	a.write(fr, o.cell(key), s)
}

func (e *exec) subscript(n *syntax.Node) set {
	s := e.eval(n.Kid(0))
	ix := n.Kid(1)
	if ix != nil && ix.Kind == syntax.Slice {
		lo, hi := e.eval(ix.Kid(0)), e.eval(ix.Kid(1))
		st := e.eval(ix.Kid(2))
		return e.sliceOf(s, lo, hi, st, n)
	}
	k := e.eval(ix)
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		switch i.kind {
		case vInst:
			if r, ok := e.specialOf(x, "__getitem__", &args{pos: []set{k}}, n); ok {
				out = out.or(r)
				continue
			}
			out = out.or(e.inherited(i, "__getitem__()", n))
		case vExt:
			if i.text == "os.environ" {
				out = out.or(e.environment(k, set{}, n))
				continue
			}
			if i.obj != nil {
				out = out.or(e.member(set{vals: []entry{x}}, k))
				continue
			}
			if v, ok := e.a.ext(i.text+"[]", i.node, i.unit); ok {
				out = out.or(one(v, x.path))
			}
		case vClass: // Generic[int], or a member of an enumeration
			if c := i.cls.obj; e.enum(i.cls) {
				for _, y := range k.vals {
					if t := e.a.info(y.v); t.kind == vString && c.peek(t.text) != nil {
						out = out.or(e.readCell(c.peek(t.text)))
					}
				}
				continue
			}
			out = out.or(set{vals: []entry{x}})
		case vBuiltin:
			if environments[i.text] {
				for _, y := range k.vals {
					if t := e.a.info(y.v); t.kind == vString {
						out = out.or(e.builtinAttr(i, t.text, n))
					}
				}
				out.unknown = out.unknown || k.unknown
				continue
			}
			out = out.or(set{vals: []entry{x}})
		default:
			out = out.or(e.member(set{vals: []entry{x}}, k))
		}
	}
	return out
}

// member returns the members of s under the keys k.
func (e *exec) member(s, k set) set {
	a := e.a
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := *a.info(x.v)
		switch i.kind {
		case vList, vDict, vExt:
			o := i.obj
			if o == nil {
				out.unknown = true
				continue
			}
			for _, y := range k.vals {
				key, ok := e.key(y.v)
				if !ok {
					out = out.or(e.items(set{vals: []entry{x}}))
					continue
				}
				if i.kind == vList && strings.HasPrefix(key, "i:-") {
					out = out.or(e.last(x, key))
					continue
				}
				out = out.or(e.at(o, key))
			}
			if k.unknown {
				if i.kind == vList {
					out = out.or(e.items(set{vals: []entry{x}}))
				} else {
					out = out.or(e.all(o))
				}
			}
		case vString, vPattern:
			out = out.or(one(a.common.text, nil))
		default:
		}
	}
	return out
}

// at reads one member, and those whose key is not known.
func (e *exec) at(o *object, key string) set {
	s := e.readCell(e.newCellQuiet(o, key))
	if c := o.peek(star); c != nil {
		s = s.or(e.readCell(c))
	} else {
		e.readAny(o)
	}
	return s
}

func (e *exec) newCellQuiet(o *object, key string) *cell {
	if c := o.peek(key); c != nil {
		return c
	}
	if len(o.keys) >= maxKeys {
		return o.cell(star)
	}
	return o.cell(key)
}

// last reads a member counted from the end.
func (e *exec) last(x entry, key string) set {
	back, err := strconv.Atoi(key[3:])
	if n, ok := e.length(x); err == nil && ok && back <= n && back > 0 {
		return e.at(e.a.info(x.v).obj, "i:"+strconv.Itoa(n-back))
	}
	return e.items(set{vals: []entry{x}})
}

func (e *exec) fromEnd(s set, back int, at *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if i := e.a.info(x.v); i.kind == vList {
			out = out.or(e.last(x, "i:-"+strconv.Itoa(back)))
			continue
		}
		out = out.or(e.iterate(set{vals: []entry{x}}, at))
	}
	return out
}

// all returns the values of every member.
func (e *exec) all(o *object) set {
	e.readAny(o)
	var out set
	for _, k := range o.keys {
		if !e.a.step() || len(out.vals) >= maxSet && out.unknown {
			break
		}
		out = out.or(e.readCell(o.cells[k]))
	}
	return out
}

// items returns what one gets by going through s, without calls of methods.
func (e *exec) items(s set) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		switch i.kind {
		case vList:
			out = out.or(e.all(i.obj))
		case vDict:
			out = out.or(e.keysOf(i.obj))
		case vString, vPattern:
			out = out.or(one(e.a.common.text, nil))
		case vExt:
			if v, ok := e.a.ext(i.text+"[]", i.node, i.unit); ok {
				out = out.or(one(v, x.path))
			}
		case vClass:
			if e.enum(i.cls) {
				for _, k := range i.cls.obj.keys {
					if !strings.HasPrefix(k, "_") {
						out = out.or(e.scalars(e.readCell(i.cls.obj.cells[k])))
					}
				}
			}
		default:
		}
	}
	return out
}

func (e *exec) scalars(s set) set {
	var out set
	for _, x := range s.vals {
		if k := e.a.info(x.v).kind; k == vString || k == vNumber {
			out.vals = append(out.vals, x)
		}
	}
	return out
}

// keysOf returns the keys of a dict as values.
func (e *exec) keysOf(o *object) set {
	e.readAny(o)
	var out set
	for _, k := range o.keys {
		if len(out.vals) >= maxSet {
			out.unknown = true
			break
		}
		c := o.cells[k]
		v := e.readCell(c)
		if v.empty() {
			continue
		}
		var p *step
		if len(v.vals) > 0 {
			p = v.vals[0].path
		}
		switch {
		case strings.HasPrefix(k, "s:"):
			out.vals = append(out.vals, entry{v: e.a.str(k[2:]), path: p.then(Member, k[2:], e.fr.unit, o.node)})
		case strings.HasPrefix(k, "i:"):
			out.vals = append(out.vals, entry{v: e.a.intern(info{kind: vNumber, text: k[2:]})})
		case strings.HasPrefix(k, "v:"):
			if n, err := strconv.ParseInt(k[2:], 10, 32); err == nil {
				out.vals = append(out.vals, entry{v: val(n)})
			}
		default:
			out.unknown = true
		}
	}
	return out
}

// iterate is what a for statement gives: it calls __iter__ and __next__.
func (e *exec) iterate(s set, n *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if e.a.info(x.v).kind != vInst {
			out = out.or(e.items(set{vals: []entry{x}}))
			continue
		}
		it, ok := e.specialOf(x, "__iter__", &args{}, n)
		if !ok {
			if it, ok = e.specialOf(x, "__aiter__", &args{}, n); !ok {
				if r, ok := e.specialOf(x, "__getitem__", &args{pos: []set{one(e.a.common.number, nil)}}, n); ok {
					out = out.or(r)
					continue
				}
				out = out.or(e.inherited(*e.a.info(x.v), "[]", n))
				continue
			}
		}
		for _, y := range it.vals {
			if e.a.info(y.v).kind != vInst {
				out = out.or(e.items(set{vals: []entry{y}}))
				continue
			}
			r, ok := e.specialOf(y, "__next__", &args{}, n)
			if !ok {
				r, _ = e.specialOf(y, "__anext__", &args{}, n)
			}
			out = out.or(r)
		}
		out.unknown = out.unknown || it.unknown
	}
	return out
}

// setMember writes s[k] = v.
func (e *exec) setMember(s, k, v set, n *syntax.Node) {
	single := len(s.vals) == 1 && !s.unknown
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		switch i.kind {
		case vInst:
			e.specialOf(x, "__setitem__", &args{pos: []set{k, v}}, n)
		case vList, vDict:
			if key, ok := e.oneKey(k); ok && single && !strings.HasPrefix(key, "i:-") {
				e.setCell(i.obj, key, v)
				continue
			}
			e.putMember(i.obj, k, v)
		default:
		}
	}
}

// putMember adds v under every key.
func (e *exec) putMember(o *object, k, v set) {
	for _, y := range k.vals {
		if key, ok := e.key(y.v); ok && !strings.HasPrefix(key, "i:-") {
			e.addCell(e.newCell(o, key), v)
			continue
		}
		e.addCell(e.newCell(o, star), v)
	}
	if k.unknown {
		e.addCell(e.newCell(o, star), v)
	}
}

// slice makes a list of the members from a place to another; negative ends
// count from the end.
func (e *exec) slice(s set, from, to int, n *syntax.Node) set {
	o := e.a.object(objList, n, e.fr.unit, "slice")
	out := one(e.a.intern(info{kind: vList, obj: o}), nil)
	if len(s.vals) == 1 && !s.unknown {
		if l, ok := e.length(s.vals[0]); ok {
			if to <= 0 {
				to += l
			}
			if from < 0 {
				from = max(from+l, 0)
			}
			for i, j := from, 0; i < min(to, l); i, j = i+1, j+1 {
				e.setCell(o, "i:"+strconv.Itoa(j), e.at(e.a.info(s.vals[0].v).obj, "i:"+strconv.Itoa(i)))
			}
			return out
		}
	}
	e.addCell(e.newCell(o, star), e.items(s))
	return out
}

func (e *exec) sliceOf(s, lo, hi, by set, n *syntax.Node) set {
	out := set{unknown: s.unknown}
	var lists set
	for _, x := range s.vals {
		switch i := *e.a.info(x.v); i.kind {
		case vList:
			lists.vals = append(lists.vals, x)
		case vInst:
			if r, ok := e.specialOf(x, "__getitem__", &args{pos: []set{unknown()}}, n); ok {
				out = out.or(r)
			}
		case vString:
			if !hi.empty() { // what is cut off at the end is seldom a name any more
				out = out.or(one(e.a.common.text, nil))
				continue
			}
			out = out.or(e.sliceText(x, lo, hi, by))
		case vExt:
			out = out.or(set{vals: []entry{x}})
		default:
			out = out.or(one(e.a.common.text, nil))
		}
	}
	if len(lists.vals) == 0 {
		return out
	}
	from, ok1 := e.number(lo, 0)
	to, ok2 := e.number(hi, 0)
	if to == 0 && !hi.empty() || !by.empty() {
		ok2 = false
	}
	if ok1 && ok2 {
		return out.or(e.slice(lists, from, to, n))
	}
	o := e.a.object(objList, n, e.fr.unit, "slice")
	e.addCell(e.newCell(o, star), e.items(lists))
	return out.or(one(e.a.intern(info{kind: vList, obj: o}), nil))
}

func (e *exec) number(s set, otherwise int) (int, bool) {
	if s.empty() {
		return otherwise, true
	}
	if len(s.vals) != 1 || s.unknown || e.a.info(s.vals[0].v).kind != vNumber {
		return 0, false
	}
	n, err := strconv.Atoi(e.a.info(s.vals[0].v).text)
	return n, err == nil && n > -maxKeys && n < maxKeys
}

func (e *exec) sliceText(x entry, lo, hi, by set) set {
	t := e.a.info(x.v).text
	from, ok1 := e.number(lo, 0)
	to, ok2 := e.number(hi, len(t))
	if !ok1 || !ok2 || !by.empty() {
		return one(e.a.common.text, x.path)
	}
	if from < 0 {
		from = max(from+len(t), 0)
	}
	if to < 0 {
		to += len(t)
	}
	to = min(to, len(t))
	if from > to {
		return one(e.a.str(""), x.path)
	}
	return one(e.a.str(t[from:to]), x.path)
}
