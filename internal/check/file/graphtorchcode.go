package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// scope is what the names of a method stand for.
type scope map[string]int32

// nothing is a value that is not there: an uninitialised one.
const nothing = -1

// maxCalls bounds functions that are followed inside one another.
const maxCalls = 16

// A torchBuilder builds the graph of one method.
type torchBuilder struct {
	graph.Builder

	p       *torchProgram
	class   *torchClass
	self    int32
	attrs   map[string]int32  // values of attributes of self
	parts   map[int32][]int32 // elements of a tuple or list
	modules map[int32]string  // class of a module, or name of a function
	made    map[int32]int     // node that makes a value
	always  []int32           // what runs whatever comes out
	running []*syntax.Node    // functions that are being followed
}

// spend counts steps, and reports whether there are any left.
func (b *torchBuilder) spend(n int) bool {
	before := b.p.steps
	b.p.steps += n
	switch {
	case b.p.err != nil:
	case b.p.steps > maxSteps:
		b.p.err = fmt.Errorf("more than %d steps in TorchScript source: %w", maxSteps, detect.ErrLimit)
	case before>>12 != b.p.steps>>12:
		b.p.err = b.p.ended()
	}
	return b.p.err == nil && !b.Full()
}

// An exit is a return that some condition guards.
type exit struct {
	pred, value int32
	yes         bool // taken where the condition holds
	at          *syntax.Node
}

// run follows a function and returns what it returns.
func (b *torchBuilder) run(fn *syntax.Node, env scope, depth int) int32 {
	b.running = append(b.running, fn)
	defer func() { b.running = b.running[:len(b.running)-1] }()
	f := &torchRun{torchBuilder: b, depth: depth}
	_, out := f.block(fn.Body(), env)
	for _, e := range slices.Backward(f.exits) {
		if e.yes {
			out = b.choose("if", e.at, e.pred, e.value, out)
		} else {
			out = b.choose("if", e.at, e.pred, out, e.value)
		}
	}
	return out
}

// A torchRun is one function while it is followed.
type torchRun struct {
	*torchBuilder

	depth  int
	exits  []exit
	breaks []int32 // conditions that end the loop at hand
	guards []exit  // conditions around the statement at hand, without values
}

// How a block ends.
type ending uint8

const (
	goesOn ending = iota
	returns
	raises
)

func (f *torchRun) block(body []*syntax.Node, env scope) (ending, int32) {
	for _, s := range body {
		if !f.spend(1) {
			return goesOn, nothing
		}
		if end, v := f.statement(s, env); end != goesOn {
			return end, v
		}
	}
	return goesOn, nothing
}

func (f *torchRun) statement(s *syntax.Node, env scope) (ending, int32) {
	switch s.Kind {
	case syntax.Return:
		return returns, f.eval(s.Kid(0), env, 0)
	case syntax.Raise:
		return raises, nothing
	case syntax.Expr:
		f.eval(s.Kid(0), env, 0)
		if name := torchName(s.Kid(0).Kid(0)); s.Kid(0).Kind == syntax.Call && name == "ops.prim.RaiseException" {
			return raises, nothing
		}
	case syntax.Assign:
		value := s.Kid(len(s.Kids) - 1)
		v := f.eval(value, env, 0)
		for _, target := range s.Kids[:len(s.Kids)-1] {
			f.assign(target, v, env)
		}
	case syntax.AnnAssign:
		if s.Kid(2) != nil {
			f.assign(s.Kid(0), f.eval(s.Kid(2), env, 0), env)
		}
	case syntax.AugAssign:
		old := f.eval(s.Kid(0), env, 0)
		f.assign(s.Kid(0), f.op(operators[s.Text], s, old, f.eval(s.Kid(1), env, 0)), env)
	case syntax.If:
		return f.branch(s, env)
	case syntax.While:
		f.loop(s, nil, s.Kid(0), s.Kid(1), env)
	case syntax.For:
		f.loop(s, s.Kid(0), s.Kid(1), s.Kid(2), env)
	case syntax.With:
		return f.block(s.Body(), env)
	case syntax.Break:
		if n := len(f.guards); n > 0 {
			f.breaks = append(f.breaks, f.guards[n-1].pred)
		}
	default:
	}
	return goesOn, nothing
}

func (f *torchRun) assign(target *syntax.Node, v int32, env scope) {
	switch target.Kind {
	case syntax.Name:
		env[target.Text] = v
	case syntax.Tuple, syntax.List:
		parts := f.parts[v]
		for i, t := range target.Kids {
			if i < len(parts) {
				f.assign(t, parts[i], env)
			} else {
				f.assign(t, v, env)
			}
		}
	case syntax.Attr:
		if f.eval(target.Kid(0), env, 0) == f.self {
			f.store(target.Text, v, target)
		}
	default:
	}
}

// store keeps a value in an attribute of the module, for the next call.
func (f *torchRun) store(name string, v int32, at *syntax.Node) {
	done := f.Value("")
	f.Node(graph.Node{Op: "setattr", Name: name, In: []int32{f.attribute(name), v}, Out: []int32{done}, Writes: true, Start: int64(at.Start), End: int64(at.End)})
	f.always = append(f.always, done)
	f.attrs[name] = v
}

// choose makes a value that is one of two.
func (b *torchBuilder) choose(op string, at *syntax.Node, pred, one, other int32) int32 {
	switch {
	case one == other || other == nothing:
		return one
	case one == nothing:
		return other
	}
	out := b.Value("")
	if out >= 0 && b.Edges(4) {
		b.Node(graph.Node{Op: op, In: []int32{pred, one, other}, Out: []int32{out}, Select: true, Start: int64(at.Start), End: int64(at.End)})
	}
	return out
}

// branch follows both sides of an if. A name that they set differently stands for
// a choice afterwards.
func (f *torchRun) branch(s *syntax.Node, env scope) (ending, int32) {
	pred := f.eval(s.Kid(0), env, 0)
	guard := exit{pred: pred, at: s}
	if n := len(f.guards); n > 0 { // one condition inside another
		guard.pred = f.op("__and__", s, f.guards[n-1].pred, pred)
	}
	f.guards = append(f.guards, guard)
	f.spend(4*len(env) + 4*len(f.attrs))
	yes, no := maps.Clone(env), maps.Clone(env)
	before := maps.Clone(f.attrs)
	endYes, outYes := f.block(s.Kid(1).Body(), yes)
	after := f.attrs
	f.attrs = before
	endNo, outNo := f.block(s.Kid(2).Body(), no)
	f.guards = f.guards[:len(f.guards)-1]
	for name, v := range after {
		if old, ok := f.attrs[name]; !ok {
			f.attrs[name] = v
		} else if old != v {
			f.attrs[name] = f.choose("if", s, pred, v, old)
		}
	}
	switch {
	case endYes == returns && endNo == returns:
		return returns, f.choose("if", s, pred, outYes, outNo)
	case endYes == returns:
		f.exits = append(f.exits, exit{guard.pred, outYes, true, s})
	case endNo == returns:
		f.exits = append(f.exits, exit{guard.pred, outNo, false, s})
	case endYes == raises && endNo == raises:
		return raises, nothing
	}
	names := slices.Sorted(maps.Keys(yes))
	for name := range no {
		if _, ok := yes[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		a, okA := yes[name]
		c, okC := no[name]
		switch {
		case endYes != goesOn || !okA:
			if okC {
				env[name] = c
			}
		case endNo != goesOn || !okC:
			env[name] = a
		default:
			env[name] = f.choose("if", s, pred, a, c)
		}
	}
	return goesOn, nothing
}

// loop follows the body once: what it sets goes round, and stands afterwards for
// a choice between that and what was there before.
func (f *torchRun) loop(s, target, over, body *syntax.Node, env scope) {
	set := map[string]bool{}
	syntax.Walk(body, func(n *syntax.Node) bool {
		f.spend(1)
		switch n.Kind {
		case syntax.Assign, syntax.AugAssign, syntax.AnnAssign:
			for _, t := range n.Kids {
				syntax.Walk(t, func(t *syntax.Node) bool {
					if t.Kind == syntax.Name {
						set[t.Text] = true
					}
					return t.Kind == syntax.Name || t.Kind == syntax.Tuple || t.Kind == syntax.List
				})
			}
		case syntax.Call: // or changes in place
			if callee, first := n.Kid(0), n.Kid(1); first != nil && first.Kind == syntax.Name && inPlace(callee.Text) {
				set[first.Text] = true
			} else if callee.Kind == syntax.Attr && callee.Kid(0).Kind == syntax.Name && inPlace(callee.Text) {
				set[callee.Kid(0).Text] = true
			}
		default:
		}
		return true
	})
	names := slices.Sorted(maps.Keys(set))
	start := int64(s.Start)
	first := map[string]int32{}
	head := map[string]int32{}
	for _, name := range names {
		if v, ok := env[name]; ok && v >= 0 {
			h := f.Value(name)
			f.Link(v, h, start, int64(s.End))
			first[name], head[name], env[name] = v, h, h
		}
	}
	pred := f.eval(over, env, 0)
	if target != nil {
		f.assign(target, f.op("__next__", s, pred), env)
	}
	breaks := f.breaks
	f.breaks = nil
	f.block(body.Body(), env)
	if len(f.breaks) > 0 {
		pred = f.op("__and__", s, append([]int32{pred}, f.breaks...)...)
	}
	f.breaks = breaks
	for _, name := range names {
		h, ok := head[name]
		if !ok {
			continue
		}
		after := env[name]
		f.Link(after, h, start, int64(s.End))
		env[name] = f.choose("loop", s, pred, after, first[name])
	}
}

// attribute returns the value of an attribute of the module.
func (b *torchBuilder) attribute(name string) int32 {
	if v, ok := b.attrs[name]; ok {
		return v
	}
	v := b.Value("self." + name)
	kind := b.class.attrs[name]
	switch bytes, tensor := b.class.tensors[name]; {
	case tensor:
		b.Constant(v, graph.Value{Bytes: bytes})
	case strings.HasPrefix(kind, "__torch__."):
		b.modules[v] = kind
		b.Constant(v, graph.Value{Bytes: moduleBytes})
		if !b.p.heavy(kind, 0) {
			b.Constant(v, graph.Value{})
		}
	default:
		b.Constant(v, graph.Value{Bytes: 8})
	}
	b.attrs[name] = v
	return v
}

// op makes a node of one of torch's own functions.
func (b *torchBuilder) op(name string, at *syntax.Node, in ...int32) int32 {
	return b.node("", name, at, in)
}

func (b *torchBuilder) node(space, name string, at *syntax.Node, in []int32) int32 {
	out := b.Value("")
	if out < 0 || !b.Edges(len(in)) {
		return out
	}
	b.made[out] = len(b.M.Nodes)
	b.Node(graph.Node{Domain: space, Op: name, In: in, Out: []int32{out}, Start: int64(at.Start), End: int64(at.End)})
	return out
}
