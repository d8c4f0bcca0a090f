package flow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// args are the arguments of a call.
type args struct {
	pos    []set
	nodes  []*syntax.Node // beside pos; nil where there is none
	more   set            // of * whose length is not known
	kw     []kwArg
	kwMore set // of ** whose keys are not known
}

type kwArg struct {
	name string
	s    set
	node *syntax.Node
}

func (ar *args) node(i int) *syntax.Node {
	if i < len(ar.nodes) {
		return ar.nodes[i]
	}
	return nil
}

// get returns an argument by place or name.
func (ar *args) get(i int, name string) (set, *syntax.Node, bool) {
	if name != "" {
		for _, k := range ar.kw {
			if k.name == name {
				return k.s, k.node, true
			}
		}
	}
	if i >= 0 && i < len(ar.pos) {
		return ar.pos[i], ar.node(i), true
	}
	if i >= 0 && !ar.more.empty() {
		return ar.more, nil, true
	}
	if name != "" && !ar.kwMore.empty() {
		return ar.kwMore, nil, true
	}
	return set{}, nil, false
}

func (e *exec) args(kids []*syntax.Node) *args {
	ar := &args{}
	if len(kids) > 0 {
		ar.pos, ar.nodes = make([]set, 0, len(kids)), make([]*syntax.Node, 0, len(kids))
	}
	for _, k := range kids {
		if k == nil {
			continue
		}
		switch {
		case k.Kind == syntax.Star:
			s := e.eval(k.Kid(0))
			if len(s.vals) == 1 && !s.unknown && ar.more.empty() {
				if n, ok := e.length(s.vals[0]); ok && n <= maxSpread {
					for i := range n {
						ar.pos = append(ar.pos, e.member(s, e.index(i)))
						ar.nodes = append(ar.nodes, k)
					}
					continue
				}
			}
			ar.more = ar.more.or(e.iterate(s, k))
		case k.Kind == syntax.Keyword && k.Text == "":
			e.keywords(ar, e.eval(k.Kid(0)), k)
		case k.Kind == syntax.Keyword:
			ar.kw = append(ar.kw, kwArg{k.Text, e.eval(k.Kid(0)), k.Kid(0)})
		default:
			ar.pos = append(ar.pos, e.eval(k))
			ar.nodes = append(ar.nodes, k)
		}
	}
	return ar
}

func (e *exec) keywords(ar *args, s set, n *syntax.Node) {
	for _, x := range s.vals {
		i := *e.a.info(x.v)
		if i.kind != vDict {
			ar.kwMore.unknown = true
			continue
		}
		e.readAny(i.obj)
		for _, k := range i.obj.keys {
			v := e.readCell(i.obj.cells[k])
			if v.empty() {
				continue
			}
			if strings.HasPrefix(k, "s:") {
				ar.kw = append(ar.kw, kwArg{k[2:], v, n})
			} else {
				ar.kwMore = ar.kwMore.or(v)
			}
		}
	}
	if s.unknown {
		ar.kwMore.unknown = true
	}
}

// call evaluates a call.
func (e *exec) call(n *syntax.Node) set {
	fn := n.Kid(0)
	f := e.eval(fn)
	ar := e.args(n.Kids[min(1, len(n.Kids)):])
	if e.rec != nil {
		e.rec.calls[n] = ar
	}
	r := e.site(n)
	if n.Flag&syntax.New != 0 && e.a.g.units[e.fr.unit].Language.Name == "go" {
		return e.composite(n, f, ar)
	}
	out := set{unknown: f.unknown}
	if f.unknown || len(f.vals) == 0 {
		r.open = r.open || f.unknown
		e.escape(ar)
	}
	for _, x := range f.vals {
		out = out.or(e.callValue(x, ar, n, false))
	}
	return out
}

// site returns the record of a call, new for each run.
func (e *exec) site(n *syntax.Node) *siteRec {
	r := e.a.sites[n]
	if r == nil {
		r = &siteRec{fr: e.fr}
		e.a.sites[n] = r
	}
	if r.run != e.fr.runs {
		r.run, r.callees, r.open, r.settled = e.fr.runs, r.callees[:0], false, false
	}
	return r
}

// note records a callee; n is nil for a call that the source does not show.
func (e *exec) note(n *syntax.Node, c callee) {
	if n == nil || n.Kind != syntax.Call && e.a.sites[n] == nil {
		if !slices.Contains(e.fr.implicit, c) {
			e.fr.implicit = append(e.fr.implicit, c)
		}
		return
	}
	r := e.site(n)
	if !slices.Contains(r.callees, c) {
		r.callees = append(r.callees, c)
	}
}

// settled says that a call calls no function, and that this is all.
func (e *exec) settled(n *syntax.Node) {
	if n != nil && (n.Kind == syntax.Call || e.a.sites[n] != nil) {
		e.site(n).settled = true
	}
}

func (e *exec) implicitly(s set) set { return s }

// callInside calls everything in s, as the language does by itself.
func (e *exec) callInside(s set, ar *args) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		out = out.or(e.callValue(x, ar, nil, true))
	}
	return out
}

// callValue calls one value.
func (e *exec) callValue(x entry, ar *args, n *syntax.Node, implicit bool) set {
	a := e.a
	if !a.step() || e.nest > 60 {
		return unknown()
	}
	e.nest++
	defer func() { e.nest-- }()
	if implicit {
		n = nil
	}
	i := *a.info(x.v)
	switch i.kind {
	case vFunc, vStatic, vClassFn:
		e.note(n, callee{fr: i.fr})
		return e.invoke(i.fr, nil, ar, n)
	case vBound:
		e.note(n, callee{fr: i.fr})
		recv := entry{v: i.recv}
		return e.invoke(i.fr, &recv, ar, n)
	case vClass:
		return e.instantiate(x, i.cls, ar, n)
	case vInst:
		return e.callObject(x, i, ar, n)
	case vPartial:
		return e.callPartial(i.obj, ar, n)
	case vBuiltin:
		return e.builtin(i.text, ar, n)
	case vMethod:
		return e.method(i, ar, n)
	case vExt:
		return e.outsideCall(x, i, ar, n)
	default:
		return set{}
	}
}

func (e *exec) callObject(x entry, i info, ar *args, n *syntax.Node) set {
	s, ext, ok := e.find(i.cls, "__call__", nil)
	if !ok {
		if ext == "" {
			return set{}
		}
		out := e.inherited(i, "__call__", n)
		for _, y := range out.vals {
			out = e.callValue(y, ar, n, n == nil)
		}
		for _, m := range []string{"forward", "call", "_call"} { // what outside bases call in turn
			if f, _, ok := e.find(i.cls, m, nil); ok {
				for _, g := range e.bind(f, x, i.cls).vals {
					out = out.or(e.callValue(g, ar, n, n == nil))
				}
				break
			}
		}
		return out
	}
	var out set
	for _, f := range e.bind(s, x, i.cls).vals {
		out = out.or(e.callValue(f, ar, n, n == nil))
	}
	return out
}

func (e *exec) callPartial(o *object, ar *args, n *syntax.Node) set {
	full := &args{more: ar.more, kwMore: ar.kwMore}
	e.readAny(o)
	for i := 0; o.peek("i:"+strconv.Itoa(i)) != nil; i++ {
		full.pos = append(full.pos, e.readCell(o.peek("i:"+strconv.Itoa(i))))
		full.nodes = append(full.nodes, o.node)
	}
	full.pos = append(full.pos, ar.pos...)
	full.nodes = append(full.nodes, ar.nodes...)
	full.kw = append(full.kw, ar.kw...)
	for _, k := range o.keys {
		if strings.HasPrefix(k, "s:") && !slices.ContainsFunc(ar.kw, func(w kwArg) bool { return w.name == k[2:] }) {
			full.kw = append(full.kw, kwArg{k[2:], e.readCell(o.cells[k]), o.node})
		}
	}
	if e.rec != nil && n != nil {
		e.rec.calls[n] = full
	}
	out := set{}
	for _, f := range e.readCell(o.cell("func")).vals {
		out = out.or(e.callValue(f, full, n, n == nil))
	}
	return out
}

// invoke calls a frame and returns what it returns.
func (e *exec) invoke(fr *frame, recv *entry, ar *args, n *syntax.Node) set {
	a := e.a
	e.flush()
	first := !fr.called
	fr.called = true
	given, changed := e.give(fr, recv, ar, n)
	if (first || changed) && fr.runs < 3 && !fr.active {
		a.run(fr)
	} else if changed || first {
		a.later(fr)
	}
	if fr.yield != nil {
		return one(a.intern(info{kind: vList, obj: fr.yield}), nil)
	}
	e.fr.reading(fr.ret)
	out := fr.ret.all
	if fr.returns != 0 {
		for i, s := range given {
			if i < 63 && fr.returns&(1<<i) != 0 {
				out = out.or(s)
			}
		}
	}
	return out
}

// give binds arguments to parameters. It returns what each parameter is in
// this call, and whether a parameter got something new.
func (e *exec) give(fr *frame, recv *entry, ar *args, _ *syntax.Node) (given []set, changed bool) {
	given = make([]set, len(fr.params))
	has := make([]bool, len(fr.params))
	at := 0
	next := func(s set, node *syntax.Node, self bool) {
		if at >= len(fr.params) || fr.params[at].flag&(syntax.KwOnly|syntax.TwoStars|syntax.OneStar) != 0 {
			return
		}
		has[at], given[at] = true, s
		changed = e.hand(&fr.params[at], s, node, self) || changed
		at++
	}
	restAt := slices.IndexFunc(fr.params, func(p param) bool { return p.flag&syntax.OneStar != 0 })
	n := 0
	put := func(s set, node *syntax.Node, self bool) {
		if restAt >= 0 && at == restAt {
			key := star
			if n < maxRest {
				key = "i:" + strconv.Itoa(n)
			}
			e.rest(e.newCell(fr.params[restAt].rest, key), s, fr.params[restAt].name, node)
			n++
			return
		}
		next(s, node, self)
	}
	switch {
	case recv == nil:
	case fr.self != nil:
		e.a.write(e.fr, fr.self, set{vals: []entry{*recv}})
	default:
		put(set{vals: []entry{*recv}}, nil, true)
	}
	for i, s := range ar.pos {
		put(s, ar.node(i), false)
	}
	if !ar.more.empty() {
		for i := range fr.params {
			p := &fr.params[i]
			if i < at || p.flag&(syntax.KwOnly|syntax.TwoStars|syntax.OneStar) != 0 {
				continue
			}
			given[i] = ar.more
			changed = e.hand(p, ar.more, nil, false) || changed
		}
		if restAt >= 0 {
			e.a.write(e.fr, e.newCell(fr.params[restAt].rest, star), ar.more)
		}
	}
	for _, k := range ar.kw {
		i := slices.IndexFunc(fr.params, func(p param) bool { return p.name == k.name && p.rest == nil })
		if i >= 0 {
			has[i] = true
			given[i] = given[i].or(k.s)
			changed = e.hand(&fr.params[i], k.s, k.node, false) || changed
			continue
		}
		if j := len(fr.params) - 1; j >= 0 && fr.params[j].flag&syntax.TwoStars != 0 {
			e.rest(e.newCell(fr.params[j].rest, "s:"+k.name), k.s, k.name, k.node)
		}
	}
	for i := range fr.params {
		p := &fr.params[i]
		if has[i] || p.rest != nil {
			continue
		}
		if !ar.kwMore.empty() {
			given[i] = given[i].or(ar.kwMore)
			changed = e.hand(p, ar.kwMore, nil, false) || changed
		}
		given[i] = given[i].or(p.def)
		if !p.omitted {
			p.omitted = true
			changed = changed || p.hasDef
		}
	}
	return given, changed
}

// maxRest is how many arguments of *args are told apart.
const maxRest = 16

// rest joins an argument into a member of *args or **kwargs.
func (e *exec) rest(c *cell, s set, name string, n *syntax.Node) {
	if !c.all.covers(s) {
		s = s.via(Caller, name, e.fr.unit, n)
	}
	e.a.write(e.fr, c, s)
}

// hand joins an argument into a parameter.
func (e *exec) hand(p *param, s set, n *syntax.Node, self bool) bool {
	fresh := set{unknown: s.unknown}
	for _, x := range s.vals {
		x.from = 0
		if !p.given.has(x) && !fresh.has(x) {
			fresh.vals = append(fresh.vals, x)
		}
	}
	if len(fresh.vals) == 0 && (!s.unknown || p.given.unknown) {
		return false
	}
	if len(fresh.vals) > 0 && !self && n != nil {
		fresh = fresh.via(Caller, p.name, e.fr.unit, n)
	}
	more, changed := p.given.join(fresh)
	p.given = more
	return changed
}

// callUnknown lets a frame run that no one was seen to call: its parameters
// can be anything.
func (a *analysis) callUnknown(fr *frame) {
	fr.called = true
	start := 0
	if kind := shape(fr); fr.class != nil && (fr.self != nil || len(fr.params) > 0 && fr.params[0].rest == nil) && kind != "staticmethod" {
		c := fr.class
		if len(c.insts) == 0 {
			a.instance(c, c.node, c.unit)
		}
		self := set{}
		for _, v := range c.insts {
			self = self.or(one(v, nil))
		}
		if kind == "classmethod" {
			self = one(a.intern(info{kind: vClass, cls: c}), nil)
		}
		if fr.self != nil {
			a.write(fr, fr.self, self)
		} else {
			fr.params[0].given = fr.params[0].given.or(self)
			start = 1
		}
	}
	for i := start; i < len(fr.params); i++ {
		p := &fr.params[i]
		p.omitted = true
		p.given.unknown = true
		if p.rest != nil {
			a.write(nil, p.rest.cell(star), unknown())
		}
	}
	a.run(fr)
}

// shape returns staticmethod or classmethod for a method that is one.
func shape(fr *frame) string {
	for _, d := range fr.node.Decorators() {
		if d.Text == "staticmethod" || d.Text == "classmethod" {
			return d.Text
		}
	}
	return ""
}
