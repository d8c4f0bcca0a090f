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

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
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
	d     *wire.Reader
	lim   bound.Limits
	m     *Model
	limit error
}

// Open walks the model. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Model, error) {
	m := &Model{Domains: map[string]bool{}, Ops: map[Op]Use{}, Functions: map[Op]bool{}}
	w := &walker{d: wire.NewReader(r, size), lim: lim, m: m}
	err := w.d.Each(ctx, 0, size, func(f wire.Field) error {
		if f.Num == 1 && f.Type == wire.Varint {
			m.IRVersion = f.Value
		}
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 7:
			return w.graph(ctx, f, 0)
		case 8:
			return w.opset(ctx, f)
		case 14:
			return w.metadata(ctx, f)
		case 20: // training: two graphs
			return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
				if f.Type == wire.Bytes && f.Num <= 2 {
					return w.graph(ctx, f, 0)
				}
				return nil
			})
		case 25:
			return w.function(ctx, f)
		}
		return nil
	})
	return m, errors.Join(err, w.limit)
}

// short is how much of a name is kept.
const short = 1024

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
	err := w.d.Each(ctx, f.Start, f.End, func(f wire.Field) (err error) {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 1:
			op.Type, err = w.d.Text(f, short)
		case 10:
			op.Domain, err = w.d.Text(f, short)
		case 7:
			err = w.node(ctx, f, 1)
		case 9:
			err = w.opset(ctx, f)
		case 11:
			err = w.attribute(ctx, f, 1)
		}
		return err
	})
	w.m.Functions[op] = true
	return err
}

func (w *walker) graph(ctx context.Context, g wire.Field, depth int) error {
	if depth > w.lim.Nesting {
		return fmt.Errorf("graphs nested more than %d deep at %d: %w", w.lim.Nesting, g.Start, detect.ErrLimit)
	}
	return w.d.Each(ctx, g.Start, g.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 1:
			return w.node(ctx, f, depth+1)
		case 5:
			return w.tensor(ctx, f)
		case 15:
			return w.sparse(ctx, f)
		}
		return nil
	})
}

func (w *walker) node(ctx context.Context, n wire.Field, depth int) error {
	var op Op
	err := w.d.Each(ctx, n.Start, n.End, func(f wire.Field) (err error) {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 4:
			op.Type, err = w.d.Text(f, short)
		case 7:
			op.Domain, err = w.d.Text(f, short)
		case 5:
			err = w.attribute(ctx, f, depth)
		}
		return err
	})
	w.m.Nodes++
	u, known := w.m.Ops[op]
	switch {
	case !known && len(w.m.Ops) >= maxOps:
		w.limit = fmt.Errorf("more than %d different operators: %w", maxOps, detect.ErrLimit)
		return err
	case !known:
		u.Start, u.End = n.Start, n.End
	}
	u.Count++
	w.m.Ops[op] = u
	return err
}

func (w *walker) attribute(ctx context.Context, a wire.Field, depth int) error {
	return w.d.Each(ctx, a.Start, a.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		switch f.Num {
		case 5, 10:
			return w.tensor(ctx, f)
		case 6, 11:
			return w.graph(ctx, f, depth+1)
		case 22, 23:
			return w.sparse(ctx, f)
		}
		return nil
	})
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
