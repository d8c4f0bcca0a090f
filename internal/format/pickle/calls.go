package pickle

import (
	"context"
	"fmt"
	"strings"
)

// opCall runs the opcodes that call.
func (m *machine) opCall(ctx context.Context, op byte) error {
	switch op {
	case opInst:
		module, path, cut, err := m.names(ctx)
		if err != nil {
			return err
		}
		class := m.lookup(module, path) // the pure Python unpickler looks up before it misses a mark
		items, err := m.popMark()
		if err != nil {
			return err
		}
		m.push(m.call(ctx, class, m.tuple(items...), noValue, Inst))
		return cut
	case opObj:
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return errUnderflow
		}
		m.push(m.call(ctx, items[0], m.tuple(items[1:]...), noValue, Obj))
		return nil
	}
	want := 2
	if op == opNewObjEx {
		want = 3
	}
	if len(m.stack)-m.floor() < want {
		return errUnderflow
	}
	at := len(m.stack) - want
	f, args, kw, how := m.stack[at], m.stack[at+1], uint32(noValue), Reduce
	if op == opNewObjEx {
		kw = m.stack[at+2]
	}
	if op != opReduce {
		how = New
	}
	m.stack = m.stack[:at]
	if k := m.a.nodes[args].kind; k != Tuple && m.concrete(args) && (op != opReduce || k < List || k > FrozenSet) {
		return fmt.Errorf("arguments that are no tuple: %w", errOperand)
	}
	if k := m.a.nodes[f].kind; k >= None && k <= FrozenSet {
		return fmt.Errorf("call of what cannot be called: %w", errOperand)
	}
	m.push(m.call(ctx, f, args, kw, how))
	return nil
}

// call records that f is called and returns its result: computed if f is known
// to be pure or to look something up, else an expression.
func (m *machine) call(ctx context.Context, f, args, kw uint32, how How) uint32 {
	m.share(args)
	m.share(f)
	m.share(kw)
	id := m.a.add(node{kind: Call, how: how, a: f, b: args, c: kw, start: m.exprStart(args, f), flags: flagShared})
	m.a.nodes[id].size = span32(m.a.nodes[id].start, m.cur.pos)
	at := len(m.s.Effects)
	m.effect(Invoke, id)
	m.s.Effects[at].Start = m.a.nodes[id].start
	if how == New {
		return id
	}
	if m.folds >= maxFolds {
		return id
	}
	m.folds++
	defer func() { m.folds-- }()
	if out, ok := m.fold(ctx, id, f, args); ok {
		m.share(out)
		return out
	}
	return id
}

// maxFolds bounds how deep one computed call may lead to another.
const maxFolds = 64

// near is how far back a part of an expression may lie to belong to its range;
// a function that was memoised long before does not widen it.
const near = 512

// exprStart returns where the expression of the parts begins.
func (m *machine) exprStart(parts ...uint32) int64 {
	at := m.opStart
	for _, id := range parts {
		n := &m.a.nodes[id]
		if id >= valFree && n.start < at && n.start >= m.s.Start && (at-n.start < near || n.start+int64(n.size) >= at-near) {
			at = n.start
		}
	}
	return at
}

// through records a call that happens inside another.
func (m *machine) through(ctx context.Context, f uint32, args []uint32, how How) uint32 {
	return m.call(ctx, f, m.tuple(args...), noValue, how)
}

// falsy reports whether BUILD sets nothing: Python takes the state for false, or
// it is a pair of two such states, which are set one after the other.
func (m *machine) falsy(id uint32) bool {
	empty := func(v Value) bool {
		switch v.Kind() {
		case None:
			return true
		case Bool, Int:
			n, ok := v.Int()
			return ok && n == 0
		case Str, Bytes, List, Tuple, Dict, Set, FrozenSet:
			return v.Len() == 0
		default:
			return false
		}
	}
	v := m.value(id)
	if items := v.Items(); v.Kind() == Tuple && len(items) == 2 {
		return empty(items[0]) && empty(items[1])
	}
	return empty(v)
}

func (m *machine) opBuild(ctx context.Context) error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	obj, err := m.top()
	if err != nil {
		return err
	}
	m.share(state)
	n := &m.a.nodes[obj]
	n.flags |= flagState
	if n.kind >= None && n.kind <= FrozenSet {
		if m.falsy(state) {
			return nil // the pure Python unpickler sets nothing and goes on
		}
		return fmt.Errorf("state for what has none: %w", errOperand)
	}
	e := m.effect(Build, obj)
	e.State = m.value(state)
	if g, ok := m.a.global(m.a.nodes[obj].a); ok && m.a.nodes[obj].kind == Call {
		switch {
		case g == global{"functools", "partial"}:
			m.rebindPartial(obj, state)
		case g == global{"numpy", "dtype"}:
			if m.states == nil {
				m.states = map[uint32]uint32{}
			}
			m.states[obj] = state
		case isArrayWrapper(g) && !m.trial && m.cur.view != viewPlain:
			return m.skipArray(ctx, obj, state)
		}
	}
	return nil
}

// rebindPartial follows functools.partial.__setstate__((f, args, kw, dict)).
func (m *machine) rebindPartial(obj, state uint32) {
	st := m.a.items(state)
	if len(st) < 2 {
		return
	}
	args := append([]uint32{st[0]}, m.a.items(st[1])...)
	t := m.tuple(args...)
	m.a.nodes[obj].b = t
}

func isArrayWrapper(g global) bool {
	return g.path == "NumpyArrayWrapper" && (g.module == "joblib.numpy_pickle" || strings.HasSuffix(g.module, ".joblib.numpy_pickle"))
}
