// Package tflite reads the structure of TensorFlow Lite models: which operators
// they use, and their metadata. Tensor data is passed over.
//
// Source: schema.fbs of TensorFlow 2.18, schema version 3.
package tflite

import (
	"context"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/flatbuf"
)

// Magic is the file identifier, at byte 4.
const Magic = "TFL3"

// custom is the code of operators that the interpreter does not bring.
const custom = 32

// An Op is a row of the table of operators.
type Op struct {
	Builtin int32  // code of the schema
	Custom  string // name of a custom operator, else ""
	At      int64  // of the row
	Uses    int    // nodes that use it
}

// A Model is the structure of one file.
type Model struct {
	Version     uint32
	Description string
	Ops         []Op
	Metadata    []string // names of the entries
	Subgraphs   int
	Nodes       int
}

// maxNodes bounds the nodes of one model, which are counted one by one.
const maxNodes = 10_000_000

// Open walks the model. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Model, error) {
	m := &Model{}
	d := flatbuf.NewReader(r, size)
	root := d.Root()
	m.Version = root.Uint32(0, 0)
	m.Description = root.Text(3, 1024)
	if d.Err() == nil && m.Version != 3 {
		return m, fmt.Errorf("version %d of the schema, only 3 is known: %w", m.Version, detect.ErrLimit)
	}
	codes := root.Vector(1, 4)
	if codes.Len > int64(lim.Members) {
		return m, fmt.Errorf("%d operators, at most %d: %w", codes.Len, lim.Members, detect.ErrLimit)
	}
	for i := range codes.Len {
		if i%4096 == 0 && ctx.Err() != nil {
			return m, ctx.Err()
		}
		c := codes.Table(i)
		if d.Err() != nil {
			return m, d.Err()
		}
		op := Op{Builtin: max(int32(c.Byte(0, 0)), int32(c.Uint32(3, 0))), At: c.At}
		if op.Custom = c.Text(1, 1024); op.Custom == "" && op.Builtin == custom {
			op.Custom = "?"
		}
		m.Ops = append(m.Ops, op)
	}
	if err := m.graphs(ctx, d, root, lim); err != nil {
		return m, err
	}
	meta := root.Vector(6, 4)
	for i := range min(meta.Len, int64(lim.Members)) {
		if i%4096 == 0 && ctx.Err() != nil {
			return m, ctx.Err()
		}
		name := meta.Table(i).Text(0, 1024)
		if d.Err() != nil {
			break
		}
		m.Metadata = append(m.Metadata, name)
	}
	return m, d.Err()
}

// graphs counts the nodes that use each operator. A graph that is listed twice
// is walked once.
func (m *Model) graphs(ctx context.Context, d *flatbuf.Reader, root flatbuf.Table, lim bound.Limits) error {
	list := root.Vector(2, 4)
	if list.Len > int64(lim.Members) {
		return fmt.Errorf("%d graphs, at most %d: %w", list.Len, lim.Members, detect.ErrLimit)
	}
	seen := map[int64]bool{}
	for i := range list.Len {
		g := list.Table(i)
		if d.Err() != nil {
			return d.Err()
		}
		if m.Subgraphs++; seen[g.At] {
			continue
		}
		seen[g.At] = true
		nodes := g.Vector(3, 4)
		for k := range nodes.Len {
			if m.Nodes++; m.Nodes&4095 == 1 && ctx.Err() != nil {
				return ctx.Err()
			}
			if m.Nodes > maxNodes {
				return fmt.Errorf("more than %d nodes: %w", maxNodes, detect.ErrLimit)
			}
			n := nodes.Table(k)
			index := n.Uint32(0, 0)
			if d.Err() != nil {
				return d.Err()
			}
			if int64(index) >= int64(len(m.Ops)) {
				return fmt.Errorf("node %d of graph %d uses operator %d of %d: %w", k, i, index, len(m.Ops), flatbuf.ErrBuffer)
			}
			m.Ops[index].Uses++
		}
	}
	return d.Err()
}
