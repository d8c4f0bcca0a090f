package flow

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// An Entry is where a program begins, or is called from outside.
type Entry struct {
	Func     FuncID
	Kind     string // program, web, cli, worker, notebook, tool, library, test
	Name     string // what it is known by, for a person
	Test     bool   // the scope is test
	Possibly bool   // it is not known that anyone calls it: the surface of a library
}

// A State says whether a function can run.
type State uint8

// The states, from worst to best known.
const (
	Unreachable State = iota // nothing calls it, and its name goes nowhere
	Possibly                 // by a path with an unresolved step, or from the surface of a library
	Reachable                // a path of resolved calls leads there
)

var stateNames = [...]string{"unreachable", "possibly_reachable", "reachable"}

// String returns the name that reports use.
func (s State) String() string { return stateNames[min(int(s), len(stateNames)-1)] }

// A Reach says what the functions of a graph can be reached from.
type Reach struct {
	g     *Graph
	state []State
	test  []bool // best state is from a test only
	from  []FuncID
}

// State returns the state of f and the names of the functions that lead to it,
// the entry first, by the shortest path of its state.
func (r *Reach) State(f FuncID) (State, []string) {
	if r == nil || f < 0 || int(f) >= len(r.state) {
		return Possibly, nil
	}
	if r.state[f] == Unreachable {
		return Unreachable, nil
	}
	var stack []string
	for i, at := 0, f; at >= 0 && i <= len(r.state); i++ {
		stack = append(stack, r.g.frames[at].name)
		at = r.from[at]
	}
	for i, j := 0, len(stack)-1; i < j; i, j = i+1, j-1 {
		stack[i], stack[j] = stack[j], stack[i]
	}
	return r.state[f], stack
}

// Test reports whether f is reached from tests alone.
func (r *Reach) Test(f FuncID) bool { return r != nil && f >= 0 && int(f) < len(r.test) && r.test[f] }

// Reach finds what runs from entries. Imports run the code of modules that the
// program imports; a function that was handed to someone unseen, and a method
// whose name an unresolved call has, can possibly run.
func (g *Graph) Reach(entries []Entry) *Reach {
	n := len(g.frames)
	r := &Reach{g: g, state: make([]State, n), test: make([]bool, n), from: make([]FuncID, n)}
	sure, maybe := g.edges()
	mark := func(state State, test bool, roots []FuncID, next ...[][]FuncID) {
		queue := roots
		for len(queue) > 0 {
			f := queue[0]
			queue = queue[1:]
			for _, edges := range next {
				for _, t := range edges[f] {
					if r.state[t] == Unreachable {
						r.state[t], r.test[t], r.from[t] = state, test, f
						queue = append(queue, t)
					}
				}
			}
		}
	}
	for _, test := range []bool{false, true} {
		for _, state := range []State{Reachable, Possibly} {
			var roots []FuncID
			for _, e := range entries {
				if e.Func < 0 || int(e.Func) >= n || e.Test != test || e.Possibly != (state == Possibly) || r.state[e.Func] != Unreachable {
					continue
				}
				r.state[e.Func], r.test[e.Func], r.from[e.Func] = state, test, -1
				roots = append(roots, e.Func)
			}
			if state == Reachable {
				mark(state, test, roots, sure)
				continue
			}
			for f := range n {
				if r.state[f] != Unreachable && r.test[f] == test && r.from[f] >= -1 {
					roots = append(roots, FuncID(f))
				}
			}
			mark(state, test, roots, sure, maybe)
		}
	}
	return r
}

// edges returns whom each function calls, and whom it possibly calls.
func (g *Graph) edges() (sure, maybe [][]FuncID) {
	n := len(g.frames)
	sure, maybe = make([][]FuncID, n), make([][]FuncID, n)
	methods := map[string][]FuncID{}
	ofClass := map[*class][]FuncID{}
	for _, fr := range g.frames {
		if fr.class != nil {
			methods[fr.short] = append(methods[fr.short], fr.id)
			ofClass[fr.class] = append(ofClass[fr.class], fr.id)
		}
	}
	for _, fr := range g.frames {
		for _, c := range fr.implicit {
			if c.fr != nil {
				sure[fr.id] = append(sure[fr.id], c.fr.id)
			}
		}
		for h := range fr.handed {
			maybe[fr.id] = append(maybe[fr.id], h.id)
		}
		for _, m := range fr.starts {
			sure[fr.id] = append(sure[fr.id], m.id)
		}
	}
	for i := range g.sites {
		s := &g.sites[i]
		for _, c := range s.Callees {
			if c.Func >= 0 {
				sure[s.In] = append(sure[s.In], c.Func)
			}
		}
		if !s.Unresolved {
			continue
		}
		if fn := s.Node.Kid(0); fn != nil && fn.Kind == syntax.Attr {
			maybe[s.In] = append(maybe[s.In], methods[fn.Text]...)
		}
	}
	for _, c := range g.a.classList {
		outside := false
		for _, m := range g.a.order(c) {
			outside = outside || m.ext != "" && !strings.HasPrefix(m.ext, "builtins.")
		}
		by := c.escapes
		if outside {
			by = append(slices.Clip(by), c.scope.fr)
		}
		for _, fr := range by {
			maybe[fr.id] = append(maybe[fr.id], ofClass[c]...)
		}
	}
	for i := range maybe {
		slices.Sort(maybe[i])
		maybe[i] = slices.Compact(maybe[i])
	}
	return sure, maybe
}
