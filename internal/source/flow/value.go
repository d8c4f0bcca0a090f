package flow

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// maxSet is how many values a set holds before it is marked unknown.
const maxSet = 32

// maxText bounds a folded string, in bytes.
const maxText = 8 << 10

// maxPath bounds the path of an outside object, in bytes.
const maxPath = 400

// A val names a value of the analysis: equal values have one number.
type val int32

type valKind uint8

const (
	vOther valKind = iota
	vString
	vPattern
	vNumber
	vBool
	vNone
	vData   // content of a configuration file that is no scalar; obj
	vFunc   // fr
	vBound  // fr, recv
	vClass  // cls
	vInst   // obj, cls
	vList   // obj: list, tuple, set, generator
	vDict   // obj
	vModule // unit
	vExt    // text is the path, node the call that made the object
	vBuiltin
	vMethod   // of a builtin type: text, recv
	vPartial  // obj
	vProperty // obj
	vStatic   // fr
	vClassFn  // fr: classmethod
	vSuper    // cls, recv
	vStored   // recv is the receiver of a property that is read: never in a set
)

// info is what a val stands for.
type info struct {
	kind valKind
	text string
	obj  *object
	fr   *frame
	cls  *class
	node *syntax.Node
	recv val
	unit int
}

func (a *analysis) intern(i info) val {
	if v, ok := a.vals[i]; ok {
		return v
	}
	v := val(len(a.infos)) //nolint:gosec // the work that is counted keeps it far below 2^31
	a.infos = append(a.infos, i)
	a.vals[i] = v
	return v
}

func (a *analysis) info(v val) *info { return &a.infos[v] }

func (a *analysis) str(s string) val {
	if len(s) > maxText {
		return a.intern(info{kind: vPattern, text: "*"})
	}
	return a.intern(info{kind: vString, text: s})
}

func (a *analysis) ext(path string, node *syntax.Node, unit int) (val, bool) {
	if len(path) > maxPath || strings.Count(path, "()") > 16 {
		return 0, false
	}
	return a.intern(info{kind: vExt, text: path, node: node, unit: unit}), true
}

// A step is a place on the path of a value; prev is nearer to its origin.
type step struct {
	via  Via
	text string
	unit int
	node *syntax.Node
	file string
	line int
	prev *step
	n    int16
}

// maxSteps bounds the path of a value.
const maxSteps = 24

func (s *step) then(via Via, text string, unit int, node *syntax.Node) *step {
	if s != nil && (s.n >= maxSteps || s.via == via && s.node == node && s.text == text) {
		return s
	}
	t := &step{via: via, text: text, unit: unit, node: node, prev: s, n: 1}
	if s != nil {
		t.n = s.n + 1
	}
	return t
}

// An entry is a value in a set. from is 1 + the parameter of the running frame
// that it came by as it is, or 0.
type entry struct {
	v    val
	from uint8
	path *step
}

// A set is never changed once it is made.
type set struct {
	vals    []entry
	unknown bool
}

func (s set) empty() bool { return len(s.vals) == 0 && !s.unknown }

func (s set) has(e entry) bool {
	for i := range s.vals {
		if s.vals[i].v == e.v && s.vals[i].from == e.from {
			return true
		}
	}
	return false
}

func one(v val, p *step) set { return set{vals: []entry{{v: v, path: p}}} }

func unknown() set { return set{unknown: true} }

// join returns a with b, and whether that is more than a.
func (s set) join(b set) (set, bool) {
	if len(s.vals) == 0 && !s.unknown {
		return b, !b.empty()
	}
	changed := b.unknown && !s.unknown
	out := s
	out.unknown = s.unknown || b.unknown
	copied := false
	for _, e := range b.vals {
		if s.has(e) || copied && out.has(e) {
			continue
		}
		if len(out.vals) >= maxSet {
			changed = changed || !out.unknown
			out.unknown = true
			break
		}
		if !copied {
			out.vals = append(make([]entry, 0, len(s.vals)+len(b.vals)), s.vals...)
			copied = true
		}
		out.vals = append(out.vals, e)
		changed = true
	}
	return out, changed
}

func (s set) or(b set) set {
	out, _ := s.join(b)
	return out
}

// covers reports whether s, which is plain, has all of b.
func (s set) covers(b set) bool {
	if b.unknown && !s.unknown {
		return false
	}
	for _, x := range b.vals {
		x.from = 0
		if !s.has(x) {
			return false
		}
	}
	return true
}

// plain forgets by which parameter values came.
func (s set) plain() set {
	if !slices.ContainsFunc(s.vals, func(e entry) bool { return e.from != 0 }) {
		return s
	}
	out := set{unknown: s.unknown}
	for _, e := range s.vals {
		e.from = 0
		if !out.has(e) {
			out.vals = append(out.vals, e)
		}
	}
	return out
}

// via adds a step to every value.
func (s set) via(v Via, text string, unit int, node *syntax.Node) set {
	if len(s.vals) == 0 {
		return s
	}
	out := set{vals: make([]entry, len(s.vals)), unknown: s.unknown}
	for i, e := range s.vals {
		e.path = e.path.then(v, text, unit, node)
		out.vals[i] = e
	}
	return out
}

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}
