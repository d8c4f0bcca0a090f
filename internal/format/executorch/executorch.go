// Package executorch reads the structure of ExecuTorch programs: the operators
// they call and the backends they hand parts to. Tensor data and the parts
// themselves are passed over.
//
// Source: schema/program.fbs of ExecuTorch 0.6.
package executorch

import (
	"context"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/flatbuf"
)

// Magic is the file identifier, at byte 4.
const Magic = "ET12"

// A Name is the name of an operator or a backend.
type Name struct {
	Text string
	At   int64
}

// A Program is the structure of one file.
type Program struct {
	Operators []Name // "aten::add"
	Delegates []Name
	Plans     int
}

// Open walks the program. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Program, error) {
	p := &Program{}
	d := flatbuf.NewReader(r, size)
	root := d.Root()
	if v := root.Uint32(0, 0); d.Err() == nil && v != 0 {
		return p, fmt.Errorf("version %d of the schema, only 0 is known: %w", v, detect.ErrLimit)
	}
	plans := root.Vector(1, 4)
	left := int64(lim.Members)
	names := func(list flatbuf.Vector, field int) (out []Name, err error) {
		if left -= list.Len; left < 0 {
			return nil, fmt.Errorf("more than %d names: %w", lim.Members, detect.ErrLimit)
		}
		for i := range list.Len {
			if i%4096 == 0 && ctx.Err() != nil {
				return out, ctx.Err()
			}
			t := list.Table(i)
			text := t.Text(field, 256)
			if d.Err() != nil {
				return out, d.Err()
			}
			out = append(out, Name{text, t.At})
		}
		return out, nil
	}
	for i := range plans.Len {
		if left--; left < 0 {
			return p, fmt.Errorf("more than %d plans: %w", lim.Members, detect.ErrLimit)
		}
		plan := plans.Table(i)
		p.Plans++
		ops, err := names(plan.Vector(6, 4), 0)
		p.Operators = append(p.Operators, ops...)
		if err != nil {
			return p, err
		}
		delegates, err := names(plan.Vector(7, 4), 0)
		p.Delegates = append(p.Delegates, delegates...)
		if err != nil {
			return p, err
		}
	}
	return p, d.Err()
}
