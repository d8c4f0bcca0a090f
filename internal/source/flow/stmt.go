package flow

import (
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/source/syntax"
)

func (e *exec) stmts(l []*syntax.Node) {
	if e.a.g.units[e.fr.unit].Language.Hoist {
		for _, n := range l {
			if n.Kind == syntax.Func {
				e.define(n)
			}
		}
	}
	for _, n := range l {
		if e.dead || n == nil {
			return
		}
		e.stmt(n)
	}
}

func (e *exec) block(n *syntax.Node) {
	if n != nil {
		e.stmts(n.Kids)
	}
}

func (e *exec) stmt(n *syntax.Node) {
	if !e.a.step() {
		return
	}
	switch n.Kind {
	case syntax.Expr:
		if v := n.Kid(0); v != nil && v.Kind != syntax.String {
			e.eval(v)
		}
	case syntax.Assign:
		last := len(n.Kids) - 1
		if last < 0 {
			return
		}
		v := e.eval(n.Kids[last])
		for _, t := range n.Kids[:last] {
			e.assign(t, v)
		}
	case syntax.AugAssign:
		t := n.Kid(0)
		old := e.eval(t)
		e.assign(t, e.binary(n, n.Text, old, e.eval(n.Kid(1)), true))
	case syntax.AnnAssign:
		if n.Kid(2) != nil {
			e.assign(n.Kid(0), e.eval(n.Kid(2)))
		}
	case syntax.Func:
		if !e.a.g.units[e.fr.unit].Language.Hoist {
			e.define(n)
		}
	case syntax.Class:
		e.defineClass(n)
	case syntax.Return:
		if v := n.Kid(0); v != nil {
			e.ret = e.ret.or(e.eval(v))
		} else {
			e.ret = e.ret.or(one(e.a.common.none, nil))
		}
		e.flush()
		e.dead = true
	case syntax.Raise:
		e.raise(n)
		e.flush()
		e.dead = true
	case syntax.Break, syntax.Continue:
		e.jump()
	case syntax.If:
		e.ifStmt(n)
	case syntax.While:
		e.loop(func() {
			e.eval(n.Kid(0))
			e.block(n.Kid(1))
		})
		e.block(n.Kid(2))
	case syntax.For:
		it := e.eval(n.Kid(1))
		e.loop(func() {
			e.assign(n.Kid(0), e.iterate(it, n.Kid(1)))
			e.block(n.Kid(2))
		})
		e.block(n.Kid(3))
	case syntax.Try:
		e.try(n)
	case syntax.With:
		e.with(n)
	case syntax.Match:
		e.match(n)
	case syntax.Import:
		e.importStmt(n)
	case syntax.From:
		e.fromStmt(n)
	case syntax.Assert:
		e.eval(n.Kid(0))
		e.eval(n.Kid(1))
	case syntax.Delete:
		for _, t := range n.Kids {
			if t.Kind != syntax.Name {
				e.eval(t.Kid(0))
			}
		}
	case syntax.Print, syntax.Exec:
		for _, k := range n.Kids {
			e.eval(k)
		}
	case syntax.Block, syntax.Bad:
		e.stmts(n.Body())
	case syntax.TypeAlias, syntax.Pass, syntax.Global, syntax.Nonlocal:
	default:
		e.eval(n)
	}
}

// ifStmt runs both ways; a chain of elif is gone through without recursion
// beyond that of the tree.
func (e *exec) ifStmt(n *syntax.Node) {
	test := n.Kid(0)
	e.eval(test)
	switch e.always(test) {
	case 1:
		e.block(n.Kid(1))
	case -1:
		e.block(n.Kid(2))
	default:
		e.branch(func() { e.narrow(test, true); e.block(n.Kid(1)) }, func() { e.narrow(test, false); e.block(n.Kid(2)) })
	}
}

// always returns 1 for a test that is constantly true, -1 for one that is
// false, else 0. Only what the source says itself counts.
func (e *exec) always(n *syntax.Node) int {
	if n == nil {
		return 0
	}
	switch {
	case n.Kind == syntax.Constant && n.Text == "True", n.Kind == syntax.Number && n.Text == "1":
		return 1
	case n.Kind == syntax.Constant && (n.Text == "False" || n.Text == "None"), n.Kind == syntax.Number && n.Text == "0":
		return -1
	}
	return 0
}

// narrow takes None away from a name that a test says is something.
func (e *exec) narrow(test *syntax.Node, holds bool) {
	if test == nil {
		return
	}
	name := test
	switch {
	case test.Kind == syntax.Unary && test.Text == "not":
		e.narrow(test.Kid(0), !holds)
		return
	case test.Kind == syntax.Compare && (test.Text == "is" || test.Text == "is not") && isNone(test.Kid(1)):
		name = test.Kid(0)
		holds = holds == (test.Text == "is not")
	case test.Kind != syntax.Name:
		return
	}
	if name.Kind != syntax.Name {
		return
	}
	r := e.sc.ref(name.Text)
	if r.kind != refSlot {
		return
	}
	s := e.st[r.slot].s
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if (x.v != e.a.common.none) == holds || !holds && test.Kind == syntax.Name {
			out.vals = append(out.vals, x)
		}
	}
	if len(out.vals) != len(s.vals) {
		e.put(r.slot, out)
	}
}

func isNone(n *syntax.Node) bool {
	return n != nil && n.Kind == syntax.Constant && n.Text == "None"
}

// try runs handlers from every state that the body could be left in.
func (e *exec) try(n *syntax.Node) {
	mark := len(e.trail)
	e.block(n.Kid(0))
	bodyDead := e.dead
	end := e.since(mark)
	at := map[int]int{}
	var mixed []change
	for _, u := range e.trail[mark:] {
		i, ok := at[u.at]
		if !ok {
			i = len(mixed)
			at[u.at] = i
			mixed = append(mixed, change{u.at, e.st[u.at].s})
		}
		mixed[i].s = mixed[i].s.or(u.was.s)
	}
	e.revert(mark)
	ways := []func(){func() {
		for _, c := range end {
			e.put(c.at, c.s)
		}
		if e.dead = bodyDead; !e.dead {
			e.block(n.Kid(1))
		}
	}}
	for _, h := range n.Kids[min(3, len(n.Kids)):] {
		ways = append(ways, func() {
			for _, c := range mixed {
				e.put(c.at, c.s)
			}
			typ := e.eval(h.Kid(0))
			if h.Text != "" {
				e.assignName(h.Text, e.caught(typ, h), h)
			}
			e.block(h.Kid(1))
		})
	}
	e.branch(ways...)
	if n.Kid(2) != nil {
		dead := e.dead
		e.dead = false
		e.block(n.Kid(2))
		e.dead = e.dead || dead
	}
}

// caught is what a handler gets: an object of the class it names.
func (e *exec) caught(typ set, h *syntax.Node) set {
	out := set{}
	for _, x := range e.items(typ).or(typ).vals {
		i := *e.a.info(x.v)
		switch i.kind {
		case vClass:
			for _, in := range i.cls.insts {
				out = out.or(one(in, nil))
			}
			e.fr.reading(i.cls.basesAt)
			if len(i.cls.insts) == 0 {
				out = out.or(one(e.a.instance(i.cls, h, e.fr.unit), nil))
			}
		case vExt, vBuiltin:
			if v, ok := e.a.ext(i.text+"()", h, e.fr.unit); ok {
				out = out.or(one(v, nil))
			}
		default:
		}
	}
	if out.empty() {
		return unknown()
	}
	return out
}

func (e *exec) raise(n *syntax.Node) {
	v := n.Kid(0)
	if v != nil {
		s := e.eval(v)
		if v.Kind != syntax.Call {
			for _, x := range s.vals {
				if i := *e.a.info(x.v); i.kind == vClass {
					e.implicitly(e.callValue(x, &args{}, v, true))
				}
			}
		}
	}
	e.eval(n.Kid(1))
}

func (e *exec) with(n *syntax.Node) {
	var managers []set
	async := n.Flag&syntax.Async != 0
	enter, exit := "__enter__", "__exit__"
	if async {
		enter, exit = "__aenter__", "__aexit__"
	}
	for _, it := range n.Kids[min(1, len(n.Kids)):] {
		m := e.eval(it.Kid(0))
		managers = append(managers, m)
		v := e.enterManager(m, enter, it.Kid(0))
		if it.Kid(1) != nil {
			e.assign(it.Kid(1), v)
		}
	}
	e.block(n.Kid(0))
	dead := e.dead
	e.dead = false
	for _, m := range slices.Backward(managers) {
		e.special(m, exit, &args{pos: []set{unknown(), unknown(), unknown()}}, n)
	}
	e.dead = dead
}

// enterManager returns what with … as gives.
func (e *exec) enterManager(m set, method string, n *syntax.Node) set {
	out := set{unknown: m.unknown}
	for _, x := range m.vals {
		i := *e.a.info(x.v)
		switch i.kind {
		case vInst:
			s, ok := e.specialOf(x, method, &args{}, n)
			if !ok {
				s = set{vals: []entry{x}}
			}
			out = out.or(s)
		case vList:
			if i.obj.kind == objGenerator { // contextlib.contextmanager keeps the function
				out = out.or(e.items(one(x.v, x.path)))
				continue
			}
			out = out.or(set{vals: []entry{x}})
		default:
			out = out.or(set{vals: []entry{x}})
		}
	}
	return out
}

func (e *exec) match(n *syntax.Node) {
	subject := e.eval(n.Kid(0))
	ways := []func(){nil}
	for _, c := range n.Kids[min(1, len(n.Kids)):] {
		ways = append(ways, func() {
			e.pattern(c.Kid(0), subject)
			e.eval(c.Kid(1))
			e.block(c.Kid(2))
		})
		if p := c.Kid(0); p != nil && p.Kind == syntax.PatAs && p.Kid(0) == nil && c.Kid(1) == nil {
			ways = ways[1:] // always matches: nothing falls through
			break
		}
	}
	e.branch(ways...)
}

func (e *exec) pattern(n *syntax.Node, s set) {
	if n == nil || !e.a.step() {
		return
	}
	switch n.Kind {
	case syntax.PatAs:
		e.pattern(n.Kid(0), s)
		if n.Text != "" {
			e.assignName(n.Text, s, n)
		}
	case syntax.PatStar:
		if n.Text != "" {
			e.assignName(n.Text, s, n)
		}
	case syntax.PatSeq:
		for i, k := range n.Kids {
			if k != nil && k.Kind == syntax.PatStar {
				e.pattern(k, s)
				continue
			}
			e.pattern(k, e.member(s, one(e.a.intern(info{kind: vNumber, text: strconv.Itoa(i)}), nil)))
		}
	case syntax.PatMap:
		for i := 0; i+1 < len(n.Kids); i += 2 {
			e.pattern(n.Kids[i+1], e.member(s, e.eval(patValue(n.Kids[i]))))
		}
		if n.Text != "" {
			e.assignName(n.Text, s, n)
		}
	case syntax.PatClass:
		e.eval(n.Kid(0))
		for _, k := range n.Kids[min(1, len(n.Kids)):] {
			if k.Kind == syntax.PatKeyword {
				e.pattern(k.Kid(0), e.attr(s, k.Text, k))
				continue
			}
			e.pattern(k, unknown())
		}
	case syntax.PatOr:
		for _, k := range n.Kids {
			e.pattern(k, s)
		}
	case syntax.PatValue:
		e.eval(n.Kid(0))
	default:
	}
}

func patValue(n *syntax.Node) *syntax.Node {
	if n != nil && n.Kind == syntax.PatValue {
		return n.Kid(0)
	}
	return n
}

// assign gives a value to a target.
func (e *exec) assign(t *syntax.Node, s set) {
	if t == nil || !e.a.step() {
		return
	}
	switch t.Kind {
	case syntax.Name:
		e.assignName(t.Text, s, t)
	case syntax.Attr:
		e.setAttr(e.eval(t.Kid(0)), t.Text, s, t)
	case syntax.Subscript:
		e.setMember(e.eval(t.Kid(0)), e.eval(t.Kid(1)), s, t)
	case syntax.Tuple, syntax.List:
		e.unpack(t.Kids, s, t)
	case syntax.Star:
		e.assign(t.Kid(0), s)
	case syntax.Dict:
		for i := 0; i+1 < len(t.Kids); i += 2 {
			v := s
			switch k := t.Kids[i]; {
			case k == nil:
			case k.Kind == syntax.String:
				v = e.taken(s, k.Text, k)
			default:
				v = e.member(s, e.eval(k))
			}
			e.assign(t.Kids[i+1], v)
		}
	case syntax.Walrus: // a pattern with a default
		if s.empty() || s.unknown || slices.ContainsFunc(s.vals, func(x entry) bool { return x.v == e.a.common.none }) {
			s = s.or(e.eval(t.Kid(1)).via(DefaultParameter, "", e.fr.unit, t))
		}
		e.assign(t.Kid(0), s)
	default:
		e.eval(t)
	}
}

// taken is what a pattern takes of s under a name: what is not there is
// undefined.
func (e *exec) taken(s set, name string, n *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if i := e.a.info(x.v); i.kind == vDict {
			v := e.at(i.obj, "s:"+name)
			if v.empty() {
				v = one(e.a.common.none, nil)
			}
			out = out.or(v)
			continue
		}
		out = out.or(e.attrOf(x, name, n))
	}
	return out
}

// unpack gives the members of s to targets.
func (e *exec) unpack(ts []*syntax.Node, s set, at *syntax.Node) {
	starAt := -1
	for i, t := range ts {
		if t.Kind == syntax.Star {
			starAt = i
		}
	}
	num := func(i int) set { return one(e.a.intern(info{kind: vNumber, text: strconv.Itoa(i)}), nil) }
	if starAt < 0 {
		for i, t := range ts {
			e.assign(t, e.position(s, num(i), at))
		}
		return
	}
	for i, t := range ts[:starAt] {
		e.assign(t, e.position(s, num(i), at))
	}
	after := len(ts) - starAt - 1
	e.assign(ts[starAt].Kid(0), e.slice(s, starAt, -after, ts[starAt]))
	for i, t := range ts[starAt+1:] {
		e.assign(t, e.fromEnd(s, after-i, at))
	}
}

// position is what unpacking takes: a member of a list, or an item of whatever
// can be gone through.
func (e *exec) position(s, index set, at *syntax.Node) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		i := e.a.info(x.v)
		o := set{vals: []entry{x}}
		if i.kind == vList && (i.obj.kind == objList || i.obj.kind == objTuple) {
			out = out.or(e.member(o, index))
			continue
		}
		if e.a.g.units[e.fr.unit].Language.Name == "go" { // x, err := f(…)
			if k, ok := e.oneKey(index); ok && k == "i:0" {
				out = out.or(o)
			} else {
				out.unknown = true
			}
			continue
		}
		out = out.or(e.iterate(o, at))
	}
	return out
}

// assignName gives a value to a name.
func (e *exec) assignName(name string, s set, _ *syntax.Node) {
	switch r := e.sc.ref(name); r.kind {
	case refSlot:
		e.put(r.slot, s)
	case refCell:
		c := r.fr.vars.cell(r.key)
		if r.fr == e.fr {
			e.writeCell(c, s)
			return
		}
		e.writeCell(c, s)
		e.fr.reading(c)
	case refClass:
		e.writeCell(r.cls.obj.cell(name), s)
	default:
		if e.a.g.units[e.fr.unit].Language.Implicit {
			e.setAttr(e.this(), name, s, e.fr.node)
		}
	}
}

// define makes the function of a def statement.
func (e *exec) define(n *syntax.Node) {
	fr := e.a.byNode[n]
	if fr == nil {
		return
	}
	e.defaults(fr)
	s := one(e.a.intern(info{kind: vFunc, fr: fr}), nil)
	ds := n.Decorators()
	decs := make([]set, len(ds))
	for i, d := range ds {
		decs[i] = e.eval(d)
	}
	for i, d := range slices.Backward(ds) {
		s = e.decorate(decs[i], s, d, fr)
	}
	e.assignName(n.Text, s, n)
}

// defaults evaluates the defaults of parameters, where the function is made.
func (e *exec) defaults(fr *frame) {
	changed := false
	for i := range fr.params {
		p := &fr.params[i]
		if d := p.node.Kid(1); d != nil {
			p.hasDef = true
			s := e.eval(d).plain()
			more, ch := p.def.join(s.via(DefaultParameter, p.name, e.fr.unit, d))
			if ch {
				p.def = more
				changed = changed || p.omitted
			}
		}
	}
	if changed {
		e.a.enqueue(fr)
	}
}
