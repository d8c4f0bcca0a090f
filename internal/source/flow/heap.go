package flow

import (
	"slices"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// maxKeys bounds the members that an object tells apart.
const maxKeys = 4096

type objKind uint8

const (
	objFrame objKind = iota
	objClass
	objInst
	objList
	objTuple
	objSet
	objDict
	objGenerator
	objPartial
	objProperty
	objFunc
	objNamespace // of argparse and the like: attributes are options
)

// star is the key of members that are not told apart.
const star = "*"

// An object has members: attributes under their names, members of containers
// under "s:text" and "i:number".
type object struct {
	kind    objKind
	node    *syntax.Node
	unit    int
	cells   map[string]*cell
	keys    []string
	any     *cell // its readers want to know of every member
	summary bool  // stands for several objects
	frozen  bool  // filled from a configuration file: written once
}

// A cell is a variable that more than one frame sees.
type cell struct {
	all     set
	parts   []part // what each frame wrote
	readers []*frame
	key     string
	ctor    bool // constructors write it, so that nothing of the class shows through
	obj     *object
}

type part struct {
	fr *frame
	s  set
}

func (a *analysis) newCell() *cell { return &cell{} }

func (a *analysis) newObject(k objKind, n *syntax.Node, unit int) *object {
	return &object{kind: k, node: n, unit: unit, cells: map[string]*cell{}}
}

type objKey struct {
	node  *syntax.Node
	kind  objKind
	extra any
}

// object returns the one object that a node makes.
func (a *analysis) object(k objKind, n *syntax.Node, unit int, extra any) *object {
	key := objKey{n, k, extra}
	if o := a.objects[key]; o != nil {
		return o
	}
	o := a.newObject(k, n, unit)
	a.objects[key] = o
	return o
}

// cell returns the member of o, and makes it.
func (o *object) cell(key string) *cell {
	if c := o.cells[key]; c != nil {
		return c
	}
	if len(o.keys) >= maxKeys && o.kind != objFrame && o.kind != objClass {
		key = star
		if c := o.cells[key]; c != nil {
			return c
		}
	}
	c := &cell{key: key, obj: o}
	o.cells[key] = c
	o.keys = append(o.keys, key)
	return c
}

// peek returns the member of o, or nil.
func (o *object) peek(key string) *cell { return o.cells[key] }

func (a *analysis) wake(c *cell) {
	for _, r := range c.readers {
		a.enqueue(r)
	}
}

func (a *analysis) enqueue(fr *frame) {
	if fr.queued || fr.runs == 0 && !fr.called {
		return
	}
	fr.queued = true
	a.queue = append(a.queue, fr)
}

// write joins s into c for fr.
func (a *analysis) write(fr *frame, c *cell, s set) {
	if s.empty() {
		return
	}
	i := slices.IndexFunc(c.parts, func(p part) bool { return p.fr == fr })
	if i < 0 {
		c.parts = append(c.parts, part{fr: fr})
		i = len(c.parts) - 1
	}
	if c.parts[i].s.covers(s) {
		return
	}
	s = s.plain()
	more, changed := c.parts[i].s.join(s)
	if !changed {
		return
	}
	c.parts[i].s = more
	all, changed := c.all.join(s)
	if !changed {
		return
	}
	c.all = all
	for _, r := range c.readers {
		if r != fr || fr.node != nil {
			a.enqueue(r)
		}
	}
	if c.obj != nil && c.obj.any != nil && len(c.all.vals) == len(s.vals) { // it had nothing before
		for _, r := range c.obj.any.readers {
			if r != fr || fr.node != nil {
				a.enqueue(r)
			}
		}
	}
}

// others returns what frames besides fr wrote.
func (c *cell) others(fr *frame) set {
	var s set
	for _, p := range c.parts {
		if p.fr != fr {
			s = s.or(p.s)
		}
	}
	return s
}

// reading remembers that fr must run again when c changes.
func (fr *frame) reading(c *cell) {
	if _, ok := fr.reads[c]; ok {
		return
	}
	if fr.reads == nil {
		fr.reads = map[*cell]struct{}{}
	}
	fr.reads[c] = struct{}{}
	c.readers = append(c.readers, fr)
}
