package flow

import "github.com/modelwarden/warden/internal/source/syntax"

// maxCalls bounds how deeply frames run inside each other.
const maxCalls = 40

// A slot is a variable of a running frame: a local one, or what the frame knows
// of a cell that it wrote.
type slot struct {
	s     set
	def   bool
	dirty bool // the cell does not have it yet
	blind bool // it was read before it was defined
}

type undo struct {
	at  int
	was slot
}

// An exec is one run of a frame.
type exec struct {
	a     *analysis
	fr    *frame
	sc    *scope
	st    []slot
	cells map[*cell]int
	of    []*cell // of slots behind the locals
	dirty []int
	trail []undo
	loops []*loop
	dead  bool // nothing follows: a return, a raise, a break
	rec   *record
	ret   set
	nest  int              // of calls that the language makes by itself
	own   map[*object]bool // made by literals of this run: their order is known
}

// A loop collects the states that leave its body by break and continue.
type loop struct {
	mark  int
	exits []change
}

type change struct {
	at int
	s  set
}

// A record keeps what expressions were in a run, for those who ask later.
type record struct {
	values map[*syntax.Node]set
	calls  map[*syntax.Node]*args
}

// run runs a frame, unless too many run already: then it waits.
func (a *analysis) run(fr *frame) {
	if fr.active || a.depth >= maxCalls {
		a.later(fr)
		return
	}
	a.exec(fr, nil)
}

// later lets a frame run when others have ended.
func (a *analysis) later(fr *frame) {
	if !fr.queued {
		fr.queued = true
		a.queue = append(a.queue, fr)
	}
}

func (a *analysis) exec(fr *frame, rec *record) {
	a.depth++
	fr.active, fr.queued = true, false
	fr.runs++
	fr.implicit = fr.implicit[:0]
	e := &exec{a: a, fr: fr, sc: fr.scope, rec: rec, st: make([]slot, fr.slots), cells: map[*cell]int{}}
	if fr.node == nil {
		e.stmts(a.g.units[fr.unit].File.Body)
	} else {
		e.enterParams()
		if fr.node.Kind == syntax.Lambda {
			if body := fr.node.Kid(1); body != nil && body.Kind == syntax.Block {
				e.stmts(body.Kids)
			} else {
				e.ret = e.eval(body)
			}
		} else {
			e.stmts(fr.node.Body())
		}
	}
	e.flush()
	e.leave()
	fr.active = false
	a.depth--
}

// enterParams gives parameters what callers and defaults say.
func (e *exec) enterParams() {
	for i := range e.fr.params {
		p := &e.fr.params[i]
		var s set
		if p.rest != nil {
			k := vList
			if p.flag&syntax.TwoStars != 0 {
				k = vDict
			}
			s = one(e.a.intern(info{kind: k, obj: p.rest}), nil)
		} else {
			s = p.given
			if p.omitted {
				s = s.or(p.def)
			}
			if i < 63 && len(s.vals) > 0 {
				in := set{vals: make([]entry, len(s.vals)), unknown: s.unknown}
				for j, x := range s.vals {
					x.from = uint8(i + 1)
					in.vals[j] = x
				}
				s = in
			}
		}
		if p.bind.captured {
			e.writeCell(e.fr.vars.cell(p.bind.key), s)
			continue
		}
		e.put(p.bind.slot, s)
	}
}

// leave gives what is returned to callers.
func (e *exec) leave() {
	fr, a := e.fr, e.a
	out := set{unknown: e.ret.unknown}
	through := fr.returns
	for _, x := range e.ret.vals {
		if x.from != 0 {
			through |= 1 << (x.from - 1)
			continue
		}
		out.vals = append(out.vals, x)
	}
	if through != fr.returns {
		fr.returns = through
		a.wake(fr.ret)
	}
	a.write(fr, fr.ret, out)
}

func (e *exec) get(at int) set {
	sl := &e.st[at]
	if !sl.def {
		sl.blind = true
	}
	return sl.s
}

func (e *exec) put(at int, s set) {
	sl := &e.st[at]
	e.trail = append(e.trail, undo{at, *sl})
	sl.s, sl.def = s, true
	if at >= e.fr.slots && !sl.dirty {
		sl.dirty = true
		e.dirty = append(e.dirty, at)
	}
}

// slotOf returns the slot in which the frame keeps a cell.
func (e *exec) slotOf(c *cell) int {
	at, ok := e.cells[c]
	if !ok {
		at = len(e.st)
		e.cells[c] = at
		e.st = append(e.st, slot{})
		e.of = append(e.of, c)
	}
	return at
}

// readCell returns what a cell holds here.
func (e *exec) readCell(c *cell) set {
	e.fr.reading(c)
	if len(e.cells) > 0 {
		if at, ok := e.cells[c]; ok && e.st[at].def {
			if len(c.parts) == 0 || len(c.parts) == 1 && c.parts[0].fr == e.fr {
				return e.st[at].s
			}
			return e.st[at].s.or(c.others(e.fr))
		}
	}
	return c.all
}

// writeCell replaces what a cell holds here.
func (e *exec) writeCell(c *cell, s set) { e.put(e.slotOf(c), s) }

// addCell adds to a cell that may stand for several.
func (e *exec) addCell(c *cell, s set) {
	if at, ok := e.cells[c]; ok && e.st[at].def {
		if more, changed := e.st[at].s.join(s); changed {
			e.put(at, more)
		}
		return
	}
	e.a.write(e.fr, c, s)
}

// flush lets other frames see what was written.
func (e *exec) flush() {
	for _, at := range e.dirty {
		sl := &e.st[at]
		sl.dirty = false
		c := e.of[at-e.fr.slots]
		e.a.write(e.fr, c, e.stepped(c, sl.s))
	}
	e.dirty = e.dirty[:0]
}

// stepped notes where a value is kept, for those that the cell lacks.
func (e *exec) stepped(c *cell, s set) set {
	if c.obj == nil {
		return s
	}
	via := Member
	switch c.obj.kind {
	case objFrame:
		if c.obj != e.a.modules[e.fr.unit].vars {
			return s
		}
		via = Constant
	case objClass:
		via = Constant
	case objDict, objList, objTuple:
	default:
		return s
	}
	var out set
	for i, x := range s.vals {
		if x.path == nil || c.all.has(entry{v: x.v}) {
			continue
		}
		if out.vals == nil {
			out.vals = append([]entry(nil), s.vals...)
		}
		node := x.path.node
		out.vals[i].path = x.path.then(via, keyText(c.key), x.path.unit, node)
	}
	if out.vals == nil {
		return s
	}
	out.unknown = s.unknown
	return out
}

func keyText(k string) string {
	if len(k) > 2 && k[1] == ':' {
		return k[2:]
	}
	return k
}

// since returns the variables that changed after a mark, with what they are.
func (e *exec) since(mark int) []change {
	if len(e.trail) == mark {
		return nil
	}
	seen := map[int]bool{}
	var out []change
	for _, u := range e.trail[mark:] {
		if !seen[u.at] {
			seen[u.at] = true
			out = append(out, change{u.at, e.st[u.at].s})
		}
	}
	return out
}

// revert takes back what happened after a mark.
func (e *exec) revert(mark int) {
	for i := len(e.trail) - 1; i >= mark; i-- {
		u := &e.trail[i]
		sl := &e.st[u.at]
		dirty, blind := sl.dirty, sl.blind
		*sl = u.was
		if u.was.dirty && !dirty { // the branch told others of its value, not of this one
			e.dirty = append(e.dirty, u.at)
			dirty = true
		}
		sl.dirty, sl.blind = dirty, blind
	}
	e.trail = e.trail[:mark]
}

// base is what a variable is without the changes of a branch.
func (e *exec) base(at int) set {
	sl := &e.st[at]
	if !sl.def && at >= e.fr.slots {
		c := e.of[at-e.fr.slots]
		e.fr.reading(c)
		return c.all
	}
	return sl.s
}

// branch runs each way from the same state and joins where they lead.
func (e *exec) branch(ways ...func()) {
	var ends [][]change
	mark := len(e.trail)
	for _, way := range ways {
		e.dead = false
		if way != nil {
			way()
		}
		if !e.dead {
			ends = append(ends, e.since(mark))
		}
		e.revert(mark)
	}
	e.dead = len(ends) == 0
	e.merge(ends, false)
}

// merge puts the join of several ends, each told by what changed; with base,
// what was before is one more.
func (e *exec) merge(ends [][]change, base bool) {
	if len(ends) == 1 && !base {
		for _, c := range ends[0] {
			e.put(c.at, c.s)
		}
		return
	}
	type sum struct {
		s set
		n int
	}
	sums := map[int]*sum{}
	var order []int
	for _, end := range ends {
		for _, c := range end {
			m := sums[c.at]
			if m == nil {
				m = &sum{}
				sums[c.at] = m
				order = append(order, c.at)
			}
			m.s = m.s.or(c.s)
			m.n++
		}
	}
	for _, at := range order {
		m := sums[at]
		if base || m.n < len(ends) {
			m.s = e.base(at).or(m.s)
		}
		e.put(at, m.s)
	}
}

// loop runs a body any number of times.
func (e *exec) loop(body func()) {
	times := 2
	if len(e.loops) >= 2 {
		times = 1
	}
	for range times {
		mark := len(e.trail)
		l := &loop{mark: mark}
		e.loops = append(e.loops, l)
		body()
		e.loops = e.loops[:len(e.loops)-1]
		ends := [][]change{l.exits}
		if !e.dead {
			ends = append(ends, e.since(mark))
		}
		e.dead = false
		blind := map[int]bool{}
		for _, u := range e.trail[mark:] {
			if !u.was.def && e.st[u.at].blind {
				blind[u.at] = true
			}
		}
		e.revert(mark)
		again := false
		for _, end := range ends {
			for _, c := range end {
				if sl := &e.st[c.at]; sl.def || blind[c.at] {
					if _, changed := sl.s.join(c.s); changed {
						again = true
					}
				}
			}
		}
		e.merge(ends, true)
		if !again || e.a.stopped != nil {
			return
		}
	}
}

// jump leaves the body of the loop.
func (e *exec) jump() {
	if n := len(e.loops); n > 0 {
		l := e.loops[n-1]
		l.exits = append(l.exits, e.since(l.mark)...)
	}
	e.dead = true
}
