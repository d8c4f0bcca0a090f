package flow

import (
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// eval returns what an expression can be, and does what it does.
func (e *exec) eval(n *syntax.Node) set {
	if n == nil || !e.a.step() {
		return set{}
	}
	s := e.expr(n)
	if e.rec != nil {
		e.rec.values[n] = e.rec.values[n].or(s)
	}
	return s
}

func (e *exec) literal(v val, n *syntax.Node) set {
	return one(v, (*step)(nil).then(Literal, "", e.fr.unit, n))
}

func (e *exec) expr(n *syntax.Node) set {
	a := e.a
	switch n.Kind {
	case syntax.Name:
		return e.name(n)
	case syntax.String:
		return e.literal(a.str(n.Text), n)
	case syntax.Number:
		return e.literal(a.intern(info{kind: vNumber, text: strings.ReplaceAll(n.Text, "_", "")}), n)
	case syntax.Constant:
		switch n.Text {
		case "True":
			return e.literal(a.common.yes, n)
		case "False":
			return e.literal(a.common.no, n)
		case "None":
			return e.literal(a.common.none, n)
		default:
			return unknown()
		}
	case syntax.FString:
		return e.fstring(n)
	case syntax.Attr:
		return e.attr(e.eval(n.Kid(0)), n.Text, n)
	case syntax.Subscript:
		return e.subscript(n)
	case syntax.Call:
		return e.call(n)
	case syntax.Lambda:
		if fr := a.byNode[n]; fr != nil {
			e.defaults(fr)
			return one(a.intern(info{kind: vFunc, fr: fr}), nil)
		}
		return unknown()
	case syntax.Func:
		e.define(n)
		return e.nameOf(n.Text)
	case syntax.Class:
		e.defineClass(n)
		return e.nameOf(n.Text)
	case syntax.Tuple, syntax.List, syntax.Set:
		return e.list(n)
	case syntax.Dict:
		return e.dict(n)
	case syntax.ListComp, syntax.SetComp, syntax.Generator, syntax.DictComp:
		return e.comprehension(n)
	case syntax.IfExp:
		return e.choice(n)
	case syntax.Bool:
		return e.boolean(n)
	case syntax.Compare:
		for i, k := range n.Kids {
			s := e.eval(k)
			if i == 1 && (n.Text == "in" || n.Text == "not in") {
				e.special(s, "__contains__", &args{pos: []set{unknown()}}, n)
			}
		}
		return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}
	case syntax.Unary:
		s := e.eval(n.Kid(0))
		if n.Text == "not" {
			return set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}}
		}
		return e.negative(n.Text, s)
	case syntax.Binary:
		l := e.eval(n.Kid(0))
		return e.binary(n, n.Text, l, e.eval(n.Kid(1)), false)
	case syntax.Await:
		s := e.eval(n.Kid(0))
		e.special(s, "__await__", &args{}, n)
		return s
	case syntax.Yield:
		if e.fr.yield != nil {
			s := e.eval(n.Kid(0))
			if n.Kid(0) != nil {
				e.flush()
				e.a.writeAny(e.fr, e.fr.yield, star, s)
			}
		}
		return unknown()
	case syntax.YieldFrom:
		s := e.iterate(e.eval(n.Kid(0)), n.Kid(0))
		if e.fr.yield != nil {
			e.flush()
			e.a.writeAny(e.fr, e.fr.yield, star, s)
		}
		return unknown()
	case syntax.Walrus:
		s := e.eval(n.Kid(1))
		sc := e.sc
		for e.sc.kind == compScope {
			e.sc = e.sc.parent
		}
		e.assign(n.Kid(0), s)
		e.sc = sc
		return s
	case syntax.Star:
		return e.eval(n.Kid(0))
	default:
		for _, k := range n.Kids {
			e.eval(k)
		}
		return unknown()
	}
}

func (e *exec) choice(n *syntax.Node) set {
	e.eval(n.Kid(0))
	switch e.always(n.Kid(0)) {
	case 1:
		return e.eval(n.Kid(1))
	case -1:
		return e.eval(n.Kid(2))
	}
	var s set
	e.branch(func() { s = s.or(e.eval(n.Kid(1))) }, func() { s = s.or(e.eval(n.Kid(2))) })
	return s
}

// boolean returns what and, or and ?? give: of those before the last, only what
// can decide.
func (e *exec) boolean(n *syntax.Node) set {
	var out set
	variable := ""
	for i, k := range n.Kids {
		s := e.eval(k)
		if variable != "" {
			s = s.via(EnvironmentDefault, variable, e.fr.unit, k)
		}
		if i == len(n.Kids)-1 {
			return out.or(s)
		}
		if n.Text == "," {
			continue
		}
		if n.Text == "or" && e.a.g.units[e.fr.unit].Language.Name == "javascript" {
			variable = environmentName(k)
		}
		keep := set{unknown: s.unknown}
		for _, x := range s.vals {
			if f := e.falsy(x.v); n.Text == "and" && f >= 0 || n.Text != "and" && f <= 0 {
				keep.vals = append(keep.vals, x)
			}
		}
		if n.Text == "and" { // a value that is known to hold is not the result
			keep.vals = e.onlyFalsy(keep.vals)
		}
		out = out.or(keep)
		if n.Text != "and" && e.holds(s) {
			return out
		}
	}
	return out
}

// holds reports whether s is something that counts as true whatever happens.
func (e *exec) holds(s set) bool {
	for _, x := range s.vals {
		switch e.a.info(x.v).kind {
		case vFunc, vBound, vClass, vModule:
		default:
			return false
		}
	}
	return len(s.vals) > 0 && !s.unknown
}

// falsy returns 1 for a value that counts as false, -1 for one that counts as
// true, 0 if that depends.
func (e *exec) falsy(v val) int {
	switch i := e.a.info(v); i.kind {
	case vNone:
		return 1
	case vBool:
		if i.text == "False" {
			return 1
		}
		return -1
	case vString:
		if i.text == "" {
			return 1
		}
		return -1
	case vNumber:
		switch i.text {
		case "":
			return 0
		case "0", "0.0":
			return 1
		}
		return -1
	case vFunc, vBound, vClass, vModule, vBuiltin:
		return -1
	default:
		return 0
	}
}

func (e *exec) onlyFalsy(l []entry) []entry {
	var out []entry
	for _, x := range l {
		if e.falsy(x.v) >= 0 {
			out = append(out, x)
		}
	}
	return out
}

func (e *exec) nameOf(name string) set {
	return e.name(&syntax.Node{Kind: syntax.Name, Text: name})
}

// name returns what a name holds.
func (e *exec) name(n *syntax.Node) set {
	a := e.a
	name := n.Text
	if this := a.g.units[e.fr.unit].Language.This; this != "" && name == this {
		return e.this()
	}
	for sc := e.sc; ; {
		r := sc.ref(name)
		switch r.kind {
		case refSlot:
			return e.get(r.slot)
		case refCell:
			s := e.readCell(r.fr.vars.cell(r.key))
			if s.empty() && r.fr.node == nil && a.g.units[e.fr.unit].Language.IsBuiltin(name) {
				return one(a.intern(info{kind: vBuiltin, text: name}), nil)
			}
			return s
		case refClass:
			s := e.readCell(r.cls.obj.cell(name))
			if !s.empty() || r.cls.scope.parent == nil {
				return s
			}
			sc = r.cls.scope.parent
			for sc.kind == classScope {
				sc = sc.parent
			}
			continue
		default:
		}
		return e.free(name)
	}
}

// this returns the receiver of the method around the code.
func (e *exec) this() set {
	for fr := e.fr; fr != nil; fr = fr.parent {
		if fr.class != nil && fr.self != nil {
			return e.readCell(fr.self)
		}
	}
	return unknown()
}

// free returns what a name means that nothing binds.
func (e *exec) free(name string) set {
	a := e.a
	m := a.modules[e.fr.unit]
	if c := m.vars.peek(name); c != nil {
		if s := e.readCell(c); !s.empty() {
			return s
		}
	}
	if g := a.g.units[e.fr.unit].Group; g != "" {
		if k, ok := a.groups[g][name]; ok && k != e.fr.unit {
			return e.shared(k, name)
		}
	}
	switch name {
	case "__name__":
		s := set{vals: []entry{{v: a.str(m.name)}}}
		return s.or(one(a.str("__main__"), nil))
	case "__file__":
		return one(a.common.text, nil)
	case "__doc__":
		return unknown()
	}
	if a.g.units[e.fr.unit].Language.IsBuiltin(name) {
		return one(a.intern(info{kind: vBuiltin, text: name}), nil)
	}
	e.readAny(m.vars)
	stars := a.extStars[m]
	if a.g.units[e.fr.unit].Language.Implicit {
		for _, p := range stars {
			if k, ok := a.groups["vm:"+p][name]; ok && k != e.fr.unit {
				return e.shared(k, name)
			}
		}
		if s, ok := e.implicit(name); ok {
			return s
		}
		var out set
		for _, p := range stars {
			out = out.or(e.outside(p + "." + name))
		}
		if !out.empty() {
			return out
		}
		return unknown()
	}
	if len(stars) > 0 {
		return e.outside(stars[0] + "." + name)
	}
	return unknown()
}

// shared reads a name that another unit of the group has.
func (e *exec) shared(unit int, name string) set {
	e.flush()
	e.a.start(e.fr, e.a.g.units[unit].Name, unit)
	return e.readCell(e.a.modules[unit].vars.cell(name))
}

// readAny lets the frame run again when o gets members.
func (e *exec) readAny(o *object) {
	if o.any == nil {
		o.any = e.a.newCell()
	}
	e.fr.reading(o.any)
}

// list makes a list, tuple or set.
func (e *exec) list(n *syntax.Node) set {
	k := objList
	switch n.Kind {
	case syntax.Tuple:
		k = objTuple
	case syntax.Set:
		k = objSet
	default:
	}
	o := e.fresh(k, n)
	at := 0
	for _, x := range n.Kids {
		if x == nil {
			continue
		}
		s := e.eval(x)
		switch {
		case x.Kind == syntax.Star:
			at = e.spread(o, s, at)
		case at < 0 || k == objSet:
			e.addCell(o.cell(star), s)
		default:
			e.setCell(o, "i:"+strconv.Itoa(at), s)
			at++
		}
	}
	return one(e.a.intern(info{kind: vList, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
}

// fresh returns the object of a literal, without what an earlier run of the
// frame put there.
func (e *exec) fresh(k objKind, n *syntax.Node) *object {
	o := e.a.object(k, n, e.fr.unit, nil)
	if e.own == nil {
		e.own = map[*object]bool{}
	}
	e.own[o] = true
	for _, key := range o.keys {
		if c := o.cells[key]; len(c.parts) > 0 {
			e.writeCell(c, set{})
		}
	}
	return o
}

// maxSpread is how many members of a list are told apart when it is put
// together of others.
const maxSpread = 64

// spread appends the members of s to o; it returns the next place, or -1 if
// that is not known.
func (e *exec) spread(o *object, s set, at int) int {
	if len(s.vals) == 1 && !s.unknown && at >= 0 && e.a.info(s.vals[0].v).obj != o {
		if n, ok := e.length(s.vals[0]); ok && at+n <= maxSpread {
			for i := range n {
				e.setCell(o, "i:"+strconv.Itoa(at+i), e.member(s, e.index(i)))
			}
			return at + n
		}
	}
	e.addCell(o.cell(star), e.items(s))
	return -1
}

func (e *exec) index(i int) set {
	return one(e.a.intern(info{kind: vNumber, text: strconv.Itoa(i)}), nil)
}

// length returns how many members a list has, if that is known.
func (e *exec) length(x entry) (int, bool) {
	i := e.a.info(x.v)
	if i.kind != vList || i.obj.kind == objGenerator || i.obj.kind == objSet {
		return 0, false
	}
	o := i.obj
	e.readAny(o)
	if c := o.peek(star); c != nil && !e.readCell(c).empty() {
		return 0, false
	}
	n := 0
	for o.peek("i:"+strconv.Itoa(n)) != nil && n < maxKeys {
		if e.readCell(o.peek("i:" + strconv.Itoa(n))).empty() {
			break
		}
		n++
	}
	return n, n < maxKeys
}

// setCell replaces a member, or adds to it where the object stands for several.
func (e *exec) setCell(o *object, key string, s set) {
	c := e.newCell(o, key)
	if o.summary || c.key == star {
		e.addCell(c, s)
		return
	}
	e.writeCell(c, s)
}

// newCell returns the member, and tells readers of all members of a new one.
func (e *exec) newCell(o *object, key string) *cell {
	if c := o.peek(key); c != nil {
		return c
	}
	c := o.cell(key)
	if o.any != nil {
		for _, r := range o.any.readers {
			if r != e.fr || r.node != nil {
				e.a.enqueue(r)
			}
		}
	}
	return c
}

func (e *exec) dict(n *syntax.Node) set {
	o := e.fresh(objDict, n)
	for i := 0; i+1 < len(n.Kids); i += 2 {
		if !e.a.step() {
			break
		}
		if n.Kids[i] == nil {
			e.merge2(o, e.eval(n.Kids[i+1]))
			continue
		}
		k := e.eval(n.Kids[i])
		v := e.eval(n.Kids[i+1])
		if key, ok := e.oneKey(k); ok {
			e.setCell(o, key, v)
			continue
		}
		e.putMember(o, k, v)
	}
	return one(e.a.intern(info{kind: vDict, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
}

// merge2 puts the members of a dict into o.
func (e *exec) merge2(o *object, s set) {
	exact := len(s.vals) == 1 && !s.unknown
	for _, x := range s.vals {
		i := e.a.info(x.v)
		if i.kind != vDict || i.obj == o {
			continue
		}
		e.readAny(i.obj)
		for _, k := range i.obj.keys {
			v := e.readCell(i.obj.cell(k))
			if v.empty() {
				continue
			}
			if exact && k != star {
				e.setCell(o, k, v)
			} else {
				e.addCell(e.newCell(o, k), v)
			}
		}
	}
	if s.unknown {
		e.addCell(e.newCell(o, star), unknown())
	}
}

// key returns the name that a member has under a value.
func (e *exec) key(v val) (string, bool) {
	switch i := e.a.info(v); i.kind {
	case vString:
		return "s:" + i.text, true
	case vNumber:
		if i.text == "" {
			return "", false
		}
		return "i:" + strings.TrimSuffix(i.text, ".0"), true
	case vBool:
		if i.text == "True" {
			return "i:1", true
		}
		return "i:0", true
	case vNone:
		return "n:", true
	case vFunc, vClass, vInst, vModule:
		return "v:" + strconv.Itoa(int(v)), true
	default:
		return "", false
	}
}

// oneKey returns the only key that s can be.
func (e *exec) oneKey(s set) (string, bool) {
	if len(s.vals) != 1 || s.unknown {
		return "", false
	}
	return e.key(s.vals[0].v)
}

func (e *exec) comprehension(n *syntax.Node) set {
	a := e.a
	sc := a.comps[n]
	if sc == nil {
		return unknown()
	}
	k, kind := objList, vList
	switch n.Kind {
	case syntax.SetComp:
		k = objSet
	case syntax.Generator:
		k = objGenerator
	case syntax.DictComp:
		k, kind = objDict, vDict
	default:
	}
	o := a.object(k, n, e.fr.unit, nil)
	outer := e.sc
	first := true
	e.loop(func() {
		for _, c := range n.Kids {
			if c == nil || c.Kind != syntax.Comp {
				continue
			}
			if !first {
				e.sc = sc
			}
			it := e.eval(c.Kid(1))
			e.sc = sc
			e.assign(c.Kid(0), e.iterate(it, c.Kid(1)))
			for _, cond := range c.Kids[min(2, len(c.Kids)):] {
				e.eval(cond)
			}
			first = false
		}
		e.sc = sc
		if kind == vDict {
			key := e.eval(n.Kid(0))
			e.putMember(o, key, e.eval(n.Kid(1)))
		} else {
			e.addCell(e.newCell(o, star), e.eval(n.Kid(0)))
		}
		e.sc = outer
		first = true
	})
	return one(a.intern(info{kind: kind, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
}
