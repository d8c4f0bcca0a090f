// Package onnx walks ONNX models as raw protobuf: every node of every graph,
// function and subgraph, operator domains and references to external files.
// Tensor data is passed over.
//
// Source: onnx.proto of ONNX 1.17.
package onnx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/wire"
)

// An Op is an operator that the model uses.
type Op struct{ Domain, Type string }

// A Use says where an operator is used first, and how often.
type Use struct {
	Start, End int64
	Count      int
}

// An External is a reference of a tensor to a file.
type External struct {
	Tensor, Location string
	Copies           int // 1 for the first location of a tensor; loaders take the last
	Start, End       int64
}

// A Text is a metadata entry.
type Text struct {
	Key, Value string
	Start, End int64
}

// A Model is the structure of one file.
type Model struct {
	IRVersion uint64
	Domains   map[string]bool // imported operator sets
	Ops       map[Op]Use
	Functions map[Op]bool // defined in the model
	External  []External
	Metadata  []Text
	Nodes     int
	Graph     *graph.Model // how the nodes are connected
}

// maxOps bounds the distinct operators that are kept.
const maxOps = 10_000

// errFull ends a walk that has seen enough.
var errFull = errors.New("enough")

// Sniff reports whether the top level is a ModelProto: known fields of the right
// types, with a graph and a version or operator sets.
func Sniff(ctx context.Context, r io.ReaderAt, size int64) bool {
	types := map[int]int{1: wire.Varint, 2: 2, 3: 2, 4: 2, 5: wire.Varint, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
	var graph, version, sets, strange bool
	fields := 0
	err := wire.NewReader(r, size).Each(ctx, 0, size, func(f wire.Field) error {
		if want, known := types[f.Num]; known && want != f.Type || !known && f.Num > 100 {
			strange = true
		}
		switch f.Num {
		case 1:
			version = f.Value > 0 && f.Value < 100
		case 7:
			graph = true
		case 8:
			sets = true
		}
		if fields++; strange || fields > 10_000 {
			return errFull
		}
		return nil
	})
	if strange {
		return false
	}
	return graph && (version || sets) || err != nil && !errors.Is(err, errFull) && version && cutGraph(r, size)
}

// cutGraph reports whether the file begins as the usual writers begin and breaks
// off later.
func cutGraph(r io.ReaderAt, size int64) bool {
	head := make([]byte, min(4, size))
	_, _ = r.ReadAt(head, 0) // a short read does not match
	return len(head) == 4 && head[0] == 8 && head[1] < 32 && head[2] == 0x12 && head[3] > 0 && head[3] < 64
}

type walker struct {
	d         *wire.Reader
	lim       bound.Limits
	m         *Model
	g         graph.Builder
	functions map[Op]*scope
	calls     []call
	limit     error
}

// Open walks the model. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Model, error) {
	m := &Model{Domains: map[string]bool{}, Ops: map[Op]Use{}, Functions: map[Op]bool{}}
	w := &walker{d: wire.NewReader(r, size), lim: lim, m: m, functions: map[Op]*scope{}}
	err := w.d.Each(ctx, 0, size, func(f wire.Field) error {
		if f.Num == 1 && f.Type == wire.Varint {
			m.IRVersion = f.Value
		}
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 7:
			s := newScope(nil)
			err := w.graph(ctx, f, 0, s)
			for _, v := range s.in {
				if !w.g.M.Values[v].Constant {
					w.g.M.Inputs = append(w.g.M.Inputs, v)
				}
			}
			w.g.M.Outputs = append(w.g.M.Outputs, s.out...)
			return err
		case 8:
			return w.opset(ctx, f)
		case 14:
			return w.metadata(ctx, f)
		case 20: // training: two graphs
			return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
				if f.Type == wire.Bytes && f.Num <= 2 {
					return w.graph(ctx, f, 0, newScope(nil))
				}
				return nil
			})
		case 25:
			return w.function(ctx, f)
		}
		return nil
	})
	w.join()
	m.Graph = &w.g.M
	m.Graph.Dialect = graph.ONNX
	return m, errors.Join(err, w.limit, w.g.Err())
}

// short is how much of a name is kept.
const short = 1024

// maxLabel is how much of the name of a node is kept.
const maxLabel = 64

func (w *walker) opset(ctx context.Context, f wire.Field) error {
	return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		s, err := w.d.Text(f, short)
		w.m.Domains[s] = true
		return err
	})
}

func (w *walker) pair(ctx context.Context, f wire.Field) (key, value string, err error) {
	err = w.d.Each(ctx, f.Start, f.End, func(f wire.Field) (err error) {
		switch f.Num {
		case 1:
			key, err = w.d.Text(f, short)
		case 2:
			value, err = w.d.Text(f, 64<<10)
		}
		return err
	})
	return key, value, err
}

func (w *walker) metadata(ctx context.Context, f wire.Field) error {
	k, v, err := w.pair(ctx, f)
	if len(w.m.Metadata) < w.lim.Members {
		w.m.Metadata = append(w.m.Metadata, Text{k, v, f.Start, f.End})
	}
	return err
}

func (w *walker) function(ctx context.Context, f wire.Field) error {
	var op Op
	s := newScope(nil)
	name := func(f wire.Field) (int32, error) {
		t, err := w.d.Text(f, short)
		return w.value(s, t), err
	}
	err := w.d.Each(ctx, f.Start, f.End, func(f wire.Field) (err error) {
		if f.Type != wire.Bytes {
			return nil
		}
		var v int32
		switch f.Num {
		case 1:
			op.Type, err = w.d.Text(f, short)
		case 4:
			v, err = name(f)
			if w.g.Edges(1) {
				s.in = append(s.in, v)
			}
		case 5:
			v, err = name(f)
			if w.g.Edges(1) {
				s.out = append(s.out, v)
			}
		case 10:
			op.Domain, err = w.d.Text(f, short)
		case 7:
			err = w.node(ctx, f, 1, s)
		case 9:
			err = w.opset(ctx, f)
		case 11:
			_, err = w.attribute(ctx, f, 1, s)
		}
		return err
	})
	w.m.Functions[op] = true
	if w.g.Edges(scopeEdges) {
		w.functions[op] = s
	}
	return err
}

func (w *walker) graph(ctx context.Context, g wire.Field, depth int, s *scope) error {
	defer w.close(s, g)
	if depth > w.lim.Nesting {
		return fmt.Errorf("graphs nested more than %d deep at %d: %w", w.lim.Nesting, g.Start, detect.ErrLimit)
	}
	return w.d.Each(ctx, g.Start, g.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 1:
			return w.node(ctx, f, depth+1, s)
		case 5:
			name, v, err := w.constant(ctx, f)
			w.keepConstant(w.define(s, name), v)
			return errors.Join(err, w.tensor(ctx, f))
		case 11, 12:
			name, err := w.info(ctx, f)
			v := w.value(s, name)
			if !w.g.Edges(1) || v < 0 {
				return err
			}
			if f.Num == 11 {
				s.defined[v] = true
				s.in = append(s.in, v)
			} else {
				s.out = append(s.out, v)
			}
			return err
		case 15:
			return w.sparseConstant(ctx, f, s)
		}
		return nil
	})
}

func (w *walker) node(ctx context.Context, n wire.Field, depth int, s *scope) error {
	var op Op
	var bodies []body
	var value *graph.Value
	g := graph.Node{Start: n.Start, End: n.End}
	err := w.d.Each(ctx, n.Start, n.End, func(f wire.Field) (err error) {
		if f.Type != wire.Bytes {
			return nil
		}
		var t string
		switch f.Num {
		case 1:
			t, err = w.d.Text(f, short)
			if w.g.Edges(1) {
				g.In = append(g.In, w.value(s, t))
			}
		case 2:
			t, err = w.d.Text(f, short)
			if w.g.Edges(1) {
				g.Out = append(g.Out, w.define(s, t))
			}
		case 3:
			g.Name, err = w.d.Text(f, maxLabel)
		case 4:
			op.Type, err = w.d.Text(f, short)
		case 7:
			op.Domain, err = w.d.Text(f, short)
		case 5:
			var a attribute
			a, err = w.attribute(ctx, f, depth, s)
			bodies = append(bodies, a.bodies...)
			if a.value != nil {
				value = a.value
			}
		}
		return err
	})
	w.count(op, n)
	g.Op, g.Domain = op.Type, op.Domain
	if op.Domain == "ai.onnx" {
		g.Domain = ""
	}
	w.finish(g, op, bodies, value)
	return err
}

// count keeps an operator.
func (w *walker) count(op Op, n wire.Field) {
	w.m.Nodes++
	u, known := w.m.Ops[op]
	switch {
	case !known && len(w.m.Ops) >= maxOps:
		w.limit = fmt.Errorf("more than %d different operators: %w", maxOps, detect.ErrLimit)
		return
	case !known:
		u.Start, u.End = n.Start, n.End
	}
	u.Count++
	w.m.Ops[op] = u
}

// An attribute is what the graph needs of one.
type attribute struct {
	bodies []body
	value  *graph.Value // a tensor or a number
}

func (w *walker) attribute(ctx context.Context, a wire.Field, depth int, s *scope) (attribute, error) {
	var out attribute
	key := ""
	err := w.d.Each(ctx, a.Start, a.End, func(f wire.Field) (err error) {
		if f.Num == 3 && f.Type == wire.Varint {
			out.value = &graph.Value{Constant: true, Bytes: 8, Elements: 1, Head: strconv.FormatInt(int64(f.Value), 10)}
		}
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 1:
			key, err = w.d.Text(f, short)
		case 5, 10:
			_, v, err := w.constant(ctx, f)
			out.value = &v
			return errors.Join(err, w.tensor(ctx, f))
		case 6, 11:
			b := newScope(s)
			err = w.graph(ctx, f, depth+1, b)
			if w.g.Edges(scopeEdges) {
				out.bodies = append(out.bodies, body{s: b})
			}
		case 22, 23:
			return w.sparse(ctx, f)
		}
		return err
	})
	for i := range out.bodies {
		out.bodies[i].key = key
	}
	return out, err
}

func (w *walker) sparse(ctx context.Context, s wire.Field) error {
	return w.d.Each(ctx, s.Start, s.End, func(f wire.Field) error {
		if f.Type == wire.Bytes && f.Num <= 2 {
			return w.tensor(ctx, f)
		}
		return nil
	})
}

// tensor keeps references to external files. They count also where the tensor
// says that its data is in the model: tools differ in what they look at.
func (w *walker) tensor(ctx context.Context, t wire.Field) error {
	e := External{Start: t.Start, End: t.End}
	return w.d.Each(ctx, t.Start, t.End, func(f wire.Field) (err error) {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 8:
			e.Tensor, err = w.d.Text(f, short)
		case 13:
			k, v, err := w.pair(ctx, f)
			if k == "location" {
				e.Location = v
				e.Copies++
				e.Start, e.End = f.Start, f.End
				w.keep(e)
			}
			return err
		}
		return err
	})
}

func (w *walker) keep(e External) {
	if len(w.m.External) >= w.lim.Members {
		w.limit = fmt.Errorf("more than %d external tensors: %w", w.lim.Members, detect.ErrLimit)
		return
	}
	w.m.External = append(w.m.External, e)
}
