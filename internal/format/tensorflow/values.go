package tensorflow

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/wire"
)

// maxBodyNames bounds the bytes of names kept of all bodies of a file.
const maxBodyNames = 64 << 20

// room counts an edge and the bytes of its name before it is kept, and reports
// whether it may be.
func (w *walker) room(names int) bool {
	w.edges++
	w.names += names
	if w.edges > maxBodyEdges || w.names > maxBodyNames {
		w.full("nodes and inputs of graphs", maxBodyEdges)
		return false
	}
	return true
}

// loadable drops the error of a part that is no message: under this kind no loader
// takes the file, and what the other kinds need was read before.
func loadable(err error) error {
	if errors.Is(err, wire.ErrWire) {
		return nil
	}
	return err
}

// keep keeps what the graph needs of a node.
func (s *scope) keep(ctx context.Context, n wire.Field, r raw) error {
	if !s.w.room(len(r.name) + len(r.op)) {
		return nil
	}
	stored, variable := r.op == "Const", variables[r.op]
	if restores[r.op] {
		r.value.Bytes = unknownBytes
	}
	var kind uint64
	err := s.w.d.Each(ctx, n.Start, n.End, func(f wire.Field) error {
		if f.Num != 5 || f.Type != wire.Bytes {
			return nil
		}
		key := ""
		return s.w.each(ctx, f, func(f wire.Field) (err error) {
			if f.Num == 1 {
				key, err = s.w.d.Text(f, short)
				return err
			}
			if f.Num != 2 {
				return nil
			}
			return s.w.d.Each(ctx, f.Start, f.End, func(v wire.Field) (err error) {
				switch {
				case v.Num == 6 && v.Type == wire.Varint && key == "dtype" && variable:
					kind = v.Value
				case v.Type != wire.Bytes:
				case v.Num == 10:
					err = s.function(ctx, key, v, &r)
				case v.Num == 1: // a list
					err = s.w.each(ctx, v, func(f wire.Field) error {
						if f.Num != 9 {
							return nil
						}
						return s.function(ctx, key, f, &r)
					})
				case v.Num == 7 && key == "shape" && variable:
					r.value.Elements, err = s.w.shape(ctx, v)
				case v.Num == 8 && key == "value" && stored:
					r.value, err = s.w.tensor(ctx, v)
				}
				return err
			})
		})
	})
	if variable { // what a variable holds lies in a checkpoint beside the graph
		r.value.Bytes = times(r.value.Elements, uint64(max(1, sizes[kind%100])))
	}
	s.b.nodes = append(s.b.nodes, r)
	return loadable(err)
}

// function keeps a function that an attribute names.
func (s *scope) function(ctx context.Context, key string, v wire.Field, r *raw) error {
	return s.w.each(ctx, v, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		name, err := s.w.d.Text(f, short)
		if s.w.room(len(name)) {
			r.funcs = append(r.funcs, attrFunc{key, name})
		}
		return err
	})
}

// sizes are the bytes of an element of each data type. References to a variable
// have the type of the variable, plus 100.
var sizes = map[uint64]int64{
	1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 7: 16, 8: 8, 9: 8, 10: 1, 11: 1, 12: 1, 13: 4, 14: 2, 15: 2, 16: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8,
}

// shape returns how many elements a shape has; unknown dimensions count for one.
func (w *walker) shape(ctx context.Context, s wire.Field) (int64, error) {
	n := int64(1)
	err := w.each(ctx, s, func(f wire.Field) error {
		if f.Num != 2 {
			return nil
		}
		size := int64(0)
		err := w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
			if f.Num == 1 && f.Type == wire.Varint {
				size = int64(f.Value)
			}
			return nil
		})
		if size >= 0 {
			n = times(n, uint64(size))
		}
		return err
	})
	return n, err
}

// times multiplies without passing the largest number.
func times(a int64, b uint64) int64 {
	const most = 1 << 40
	if b != 0 && uint64(a) > most/b {
		return most
	}
	return a * int64(b)
}

// tensor reads what a TensorProto says of itself, its bytes as they are stored,
// and its first element.
func (w *walker) tensor(ctx context.Context, t wire.Field) (v graph.Value, err error) {
	v.Elements = 1
	var kind uint64
	var first wire.Field
	err = w.d.Each(ctx, t.Start, t.End, func(f wire.Field) (err error) {
		switch {
		case f.Num == 1 && f.Type == wire.Varint:
			kind = f.Value
		case f.Num == 2 && f.Type == wire.Bytes:
			v.Elements, err = w.shape(ctx, f)
		case f.Num >= 4:
			v.Bytes += f.End - f.Start
			if first.Num == 0 {
				first = f
			}
		}
		return err
	})
	if err == nil && first.Num != 0 {
		v.Head, err = w.head(first, kind)
	}
	return v, err
}

// head returns the first element of tensor data as text.
func (w *walker) head(f wire.Field, kind uint64) (string, error) {
	switch {
	case f.Type == wire.Varint:
		return strconv.FormatInt(int64(f.Value), 10), nil
	case f.Type == wire.Fixed4 || f.Type == wire.Fixed8: // one number, not packed
		f.Type = wire.Bytes
	case f.Type != wire.Bytes:
		return "", nil
	}
	s, err := w.d.Text(f, 10)
	if err != nil {
		return "", err
	}
	b, le, content := []byte(s), binary.LittleEndian, f.Num == 4
	switch {
	case kind == 1 && len(b) >= 4 && (content || f.Num == 5):
		return number(float64(math.Float32frombits(le.Uint32(b)))), nil
	case kind == 2 && len(b) >= 8 && (content || f.Num == 6):
		return number(math.Float64frombits(le.Uint64(b))), nil
	case content && (kind == 9 || kind == 23) && len(b) >= 8:
		return strconv.FormatInt(int64(le.Uint64(b)), 10), nil
	case content && (kind == 3 || kind == 22) && len(b) >= 4:
		return strconv.FormatInt(int64(int32(le.Uint32(b))), 10), nil
	case content && (kind == 4 || kind == 6 || kind == 10) && len(b) >= 1:
		return strconv.Itoa(int(b[0])), nil
	case f.Num == 7 || f.Num == 10 || f.Num == 11 || f.Num == 16 || f.Num == 17: // packed
		if n, k := binary.Uvarint(b); k > 0 {
			return strconv.FormatInt(int64(n), 10), nil
		}
	}
	return "", nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }
