package onnx

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/wire"
)

// A scope is a graph or function while it is read. Names of a body that it does
// not define are those of the graph around it; of a function, they are nothing.
type scope struct {
	up      *scope
	values  map[string]int32
	order   []int32 // its values as they were met
	defined map[int32]bool
	in, out []int32
}

// scopeEdges is what a scope counts for.
const scopeEdges = 16

func newScope(up *scope) *scope {
	return &scope{up: up, values: map[string]int32{}, defined: map[int32]bool{}}
}

// value returns the number of a name. The empty name is no value.
func (w *walker) value(s *scope, name string) int32 {
	if name == "" {
		return -1
	}
	v, ok := s.values[name]
	if !ok {
		if v = w.g.Value(name); v >= 0 {
			s.values[name] = v
			s.order = append(s.order, v)
		}
	}
	return v
}

func (w *walker) define(s *scope, name string) int32 {
	v := w.value(s, name)
	if v >= 0 {
		s.defined[v] = true
	}
	return v
}

// close links the names that s takes from around it.
func (w *walker) close(s *scope, at wire.Field) {
	if s.up == nil {
		return
	}
	for _, v := range s.order {
		if !s.defined[v] {
			w.g.Link(w.value(s.up, w.g.M.Values[v].Name), v, at.Start, at.End)
		}
	}
}

// info returns the name of a ValueInfoProto.
func (w *walker) info(ctx context.Context, f wire.Field) (name string, err error) {
	err = w.d.Each(ctx, f.Start, f.End, func(f wire.Field) (err error) {
		if f.Num == 1 && f.Type == wire.Bytes {
			name, err = w.d.Text(f, short)
		}
		return err
	})
	return name, err
}

// A body is a graph in an attribute.
type body struct {
	key string
	s   *scope
}

// emit adds a node, its bodies linked to it. A conditional becomes a selector
// for each output.
func (w *walker) emit(n graph.Node, bodies []body) {
	in := func(i int) int32 {
		if i < len(n.In) {
			return n.In[i]
		}
		return -1
	}
	get := func(vs []int32, i int) int32 {
		if i < len(vs) {
			return vs[i]
		}
		return -1
	}
	choose := func(pred, a, b, out int32) {
		w.g.Node(graph.Node{Op: n.Op, Name: n.Name, In: []int32{pred, a, b}, Out: []int32{out}, Select: true, Start: n.Start, End: n.End})
	}
	switch {
	case n.Domain == "" && n.Op == "Where" && len(n.In) == 3:
		n.Select = true
		w.g.Node(n)
	case n.Domain == "" && n.Op == "If" && len(bodies) > 0:
		var yes, no []int32
		for _, b := range bodies {
			if b.key == "else_branch" {
				no = b.s.out
			} else {
				yes = b.s.out
			}
		}
		for i, out := range n.Out {
			choose(in(0), get(yes, i), get(no, i), out)
		}
	case n.Domain == "" && n.Op == "Loop" && len(bodies) > 0:
		s := bodies[0].s
		for i, v := range s.in { // the counter is no value of the model
			if i > 0 {
				w.g.Link(in(i), v, n.Start, n.End)
				w.g.Link(get(s.out, i-1), v, n.Start, n.End)
			}
		}
		for i, out := range n.Out {
			choose(in(0), get(s.out, i+1), in(i+2), out)
			choose(in(1), get(s.out, i+1), in(i+2), out)
		}
	default:
		w.g.Node(n)
		for _, b := range bodies {
			for i, v := range b.s.in {
				w.g.Link(in(i), v, n.Start, n.End)
				w.g.Link(get(b.s.out, i), v, n.Start, n.End)
			}
			for i, v := range n.Out {
				w.g.Link(get(b.s.out, i), v, n.Start, n.End)
			}
		}
	}
}

// A call is a node that may run a function of the model; functions are known
// when all is read.
type call struct {
	op   Op
	node graph.Node
}

// join links calls to their functions.
func (w *walker) join() {
	for _, c := range w.calls {
		s := w.functions[c.op]
		if s == nil || w.g.Full() {
			continue
		}
		for i, v := range s.in[:min(len(s.in), len(c.node.In))] {
			w.g.Link(c.node.In[i], v, c.node.Start, c.node.End)
		}
		for i, v := range s.out[:min(len(s.out), len(c.node.Out))] {
			w.g.Link(v, c.node.Out[i], c.node.Start, c.node.End)
		}
	}
}

// sizes are the bytes of an element of each data type.
var sizes = map[uint64]int64{1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 8: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2, 17: 1, 18: 1, 19: 1, 20: 1}

// constant reads what a tensor says of itself and the head of its data.
func (w *walker) constant(ctx context.Context, t wire.Field) (name string, v graph.Value, err error) {
	v.Constant, v.Elements = true, 1
	var kind uint64
	var raw, external bool
	var data wire.Field
	err = w.d.Each(ctx, t.Start, t.End, func(f wire.Field) (err error) {
		switch {
		case f.Num == 1 && f.Type == wire.Varint:
			v.Elements = times(v.Elements, f.Value)
		case f.Num == 1 && f.Type == wire.Bytes:
			return w.d.Packed(ctx, f, func(n uint64) { v.Elements = times(v.Elements, n) })
		case f.Num == 2 && f.Type == wire.Varint:
			kind = f.Value
		case f.Num == 8 && f.Type == wire.Bytes:
			name, err = w.d.Text(f, short)
		case f.Num == 13:
			external = true
		case f.Num >= 4 && f.Num <= 11 && f.Num != 8 || f.Num == 9:
			if data.Num == 0 {
				data = f
			}
			raw = f.Num == 9
			v.Bytes += f.End - f.Start
		}
		return err
	})
	if err == nil && external && v.Bytes == 0 {
		v.Bytes = times(v.Elements, uint64(max(1, sizes[kind])))
	}
	if err == nil && data.Num != 0 {
		v.Head, err = w.head(data, kind, raw)
	}
	return name, v, err
}

// times multiplies without passing the largest number.
func times(a int64, b uint64) int64 {
	if b != 0 && uint64(a) > math.MaxInt32*1024/b {
		return math.MaxInt32 * 1024
	}
	return a * int64(b)
}

// head returns the first element of tensor data.
func (w *walker) head(f wire.Field, kind uint64, raw bool) (string, error) {
	if f.Type == wire.Varint {
		return strconv.FormatInt(int64(f.Value), 10), nil
	}
	if f.Type != wire.Bytes {
		return "", nil
	}
	s, err := w.d.Text(f, 10)
	b := []byte(s)
	le := binary.LittleEndian
	switch {
	case err != nil:
	case kind == 1 && len(b) >= 4 && (raw || f.Num == 4):
		return number(float64(math.Float32frombits(le.Uint32(b)))), nil
	case kind == 11 && len(b) >= 8 && (raw || f.Num == 10):
		return number(math.Float64frombits(le.Uint64(b))), nil
	case raw && kind == 7 && len(b) >= 8:
		return strconv.FormatInt(int64(le.Uint64(b)), 10), nil
	case raw && kind == 6 && len(b) >= 4:
		return strconv.FormatInt(int64(int32(le.Uint32(b))), 10), nil
	case raw && (kind == 2 || kind == 3 || kind == 9) && len(b) >= 1:
		return strconv.Itoa(int(b[0])), nil
	case f.Num == 5 || f.Num == 7 || f.Num == 11:
		if n, k := binary.Uvarint(b); k > 0 {
			return strconv.FormatInt(int64(n), 10), nil
		}
	}
	return "", err
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// keepConstant says that a value is stored in the model.
func (w *walker) keepConstant(v int32, c graph.Value) {
	if v < 0 {
		return
	}
	c.Name = w.g.M.Values[v].Name
	w.g.M.Values[v] = c
}

// sparseConstant reads an initializer that is stored as a sparse tensor.
func (w *walker) sparseConstant(ctx context.Context, f wire.Field, s *scope) error {
	size := f.End - f.Start
	err := w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
		if f.Num != 1 || f.Type != wire.Bytes {
			return nil
		}
		name, v, err := w.constant(ctx, f)
		v.Bytes = size
		w.keepConstant(w.define(s, name), v)
		return err
	})
	return errors.Join(err, w.sparse(ctx, f))
}

// finish adds a node that was read.
func (w *walker) finish(g graph.Node, op Op, bodies []body, value *graph.Value) {
	if g.Domain == "" && g.Op == "Constant" && len(g.Out) == 1 && g.Out[0] >= 0 {
		if value == nil {
			value = &graph.Value{Constant: true, Elements: 1}
		}
		w.keepConstant(g.Out[0], *value)
		return
	}
	if g.Op == "ConstantOfShape" && value != nil { // what it fills with becomes an input
		v := w.g.Value("")
		w.keepConstant(v, *value)
		g.In = append(g.In, v)
	}
	w.emit(g, bodies)
	if g.Domain != "" && !w.g.Full() {
		w.calls = append(w.calls, call{op, g})
	}
}

// Defines reports whether the operator is a function of the model.
func (m *Model) Defines(domain, op string) bool { return m.Functions[Op{domain, op}] }
