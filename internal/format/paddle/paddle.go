// Package paddle walks the programs of PaddlePaddle as raw protobuf, and the
// tensors that its inference format stores one behind the other. It lists the
// operators that run Python or reach outside, with the texts among their
// attributes. Tensor data is passed over.
//
// Source: framework.proto, tensor_util.cc and lod_tensor.cc of PaddlePaddle 2.6.
package paddle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/wire"
)

// effects are operators that do more than to compute.
var effects = map[string]named.Kind{
	"py_func": named.Python, "py_layer": named.Python, "pylayer": named.Python, "run_py_func": named.Python,
	"save": named.Writes, "save_combine": named.Writes, "print": named.Text, "share_data": named.Text,
	"load": named.Reads, "load_combine": named.Reads, "read_file": named.Reads,
	"send": named.Network, "recv": named.Network, "listen_and_serv": named.Network, "send_barrier": named.Network, "fetch_barrier": named.Network,
	"heter_listen_and_serv": named.Network, "send_and_recv": named.Network, "prefetch": named.Network, "checkpoint_notify": named.Network,
	"distributed_lookup_table": named.Network, "distributed_push_sparse": named.Network, "remote_prefetch": named.Network,
	"gen_nccl_id": named.Network, "c_gen_nccl_id": named.Network, "gen_bkcl_id": named.Network, "gen_hccl_id": named.Network,
	"custom_engine": named.Custom, "dlnne_engine": named.Custom, "lite_engine": named.Custom,
}

// EffectOf returns what an operator does besides computing; false if nothing.
// Operators that change their operand have the same name with "_" at the end.
func EffectOf(op string) (named.Kind, bool) {
	k, ok := effects[strings.TrimSuffix(op, "_")]
	return k, ok && k != named.Text
}

// short is how much of a text is kept.
const short = 4096

// errFull ends a walk that has seen enough.
var errFull = errors.New("enough")

// maxSniff bounds the fields looked at to tell a program.
const maxSniff = 10_000

// Sniff reports whether the file is a ProgramDesc: it begins with a block that
// has its number, the number of its parent, and variables or operators.
func Sniff(ctx context.Context, r io.ReaderAt, size int64) bool {
	d := wire.NewReader(r, size)
	found, first, fields := false, true, 0
	err := d.Each(ctx, 0, size, func(f wire.Field) error {
		if fields++; fields > maxSniff {
			return errFull
		}
		if f.Num != 1 || f.Type != wire.Bytes {
			if first {
				return errFull
			}
			return nil
		}
		first = false
		var idx, parent, content bool
		err := d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
			switch {
			case f.Num == 1 && f.Type == wire.Varint:
				idx = true
			case f.Num == 2 && f.Type == wire.Varint:
				parent = true
			case (f.Num == 3 || f.Num == 4) && f.Type == wire.Bytes:
				content = true
			}
			if fields++; fields > maxSniff || idx && parent && content {
				return errFull
			}
			return nil
		})
		if (err == nil || errors.Is(err, errFull)) && idx && parent && content {
			found = true
			return errFull
		}
		return err
	})
	return found && (err == nil || errors.Is(err, errFull))
}

// Open walks a program. The list is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*named.List, error) {
	w := &walker{d: wire.NewReader(r, size), list: named.NewList(lim)}
	err := w.each(ctx, wire.Field{End: size}, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		return w.each(ctx, f, func(f wire.Field) error {
			if f.Num != 4 {
				return nil
			}
			return w.op(ctx, f)
		})
	})
	return w.list, errors.Join(err, w.list.Err())
}

type walker struct {
	d    *wire.Reader
	list *named.List
}

func (w *walker) each(ctx context.Context, f wire.Field, visit func(wire.Field) error) error {
	return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		return visit(f)
	})
}

func (w *walker) op(ctx context.Context, o wire.Field) error {
	name := ""
	err := w.each(ctx, o, func(f wire.Field) (err error) {
		if f.Num == 3 {
			name, err = w.d.Text(f, short)
		}
		return err
	})
	if err != nil {
		return err
	}
	kind, acts := EffectOf(name)
	if acts {
		w.list.Add(named.Item{Kind: kind, Key: name, Start: o.Start, End: o.End})
	}
	return w.each(ctx, o, func(f wire.Field) error {
		if f.Num != 4 {
			return nil
		}
		key := ""
		return w.each(ctx, f, func(f wire.Field) (err error) {
			switch f.Num {
			case 1:
				key, err = w.d.Text(f, 256)
			case 5, 8:
				text, e := w.d.Text(f, short)
				err = e
				if item, ok := attribute(name, key, text, kind, acts); ok {
					item.Start, item.End = f.Start, f.End
					w.list.Add(item)
				}
			}
			return err
		})
	})
}

// attribute says what a text among the attributes of an operator is: the path of
// one that reaches outside, or else the trace of where in a program the operator
// was made, which is not worth keeping.
func attribute(op, key, text string, kind named.Kind, acts bool) (named.Item, bool) {
	switch {
	case text == "" || key == "op_callstack" || key == "op_namescope" || key == "op_role_var":
		return named.Item{}, false
	case acts && (kind == named.Reads || kind == named.Writes) && strings.Contains(key, "path"):
		return named.Item{Kind: named.File, Key: op + "." + key, Value: text}, true
	default:
		return named.Item{Kind: named.Text, Key: op + "." + key, Value: text}, true
	}
}

// ErrTensor says that bytes are no tensors in the inference format.
var ErrTensor = errors.New("not a file of tensors")

// tensorHead is how long the fixed part before a tensor is: version, levels of
// sequences, version, length of the description.
const tensorHead = 4 + 8 + 4 + 4

// SniffTensors reports whether the file begins like a tensor: no sequences, and
// a description of its element type.
func SniffTensors(head []byte) bool {
	if len(head) < tensorHead+2 {
		return false
	}
	for _, b := range head[:16] {
		if b != 0 {
			return false
		}
	}
	n := binary.LittleEndian.Uint32(head[16:])
	return n >= 2 && n < 1024 && head[20] == 1<<3 && sizes[uint64(head[21])] > 0
}

// sizes are the bytes of an element of each type.
var sizes = map[uint64]int64{0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16}

// Tensors walks a file of tensors to its end and returns how many there are.
func Tensors(ctx context.Context, r io.ReaderAt, size int64) (n int, err error) {
	d := wire.NewReader(r, size)
	head := make([]byte, tensorHead)
	for off := int64(0); off < size; n++ {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if size-off < tensorHead {
			return n, fmt.Errorf("%d bytes at %d: %w", size-off, off, ErrTensor)
		}
		if k, err := r.ReadAt(head, off); k < len(head) {
			return n, fmt.Errorf("read at %d: %w", off, err)
		}
		le := binary.LittleEndian
		if le.Uint32(head) != 0 || le.Uint64(head[4:]) != 0 || le.Uint32(head[12:]) != 0 {
			return n, fmt.Errorf("version or sequences at %d: %w", off, ErrTensor)
		}
		off += tensorHead
		length := int64(le.Uint32(head[16:]))
		if length > size-off {
			return n, fmt.Errorf("description of %d bytes at %d, %d remain: %w", length, off, size-off, ErrTensor)
		}
		element, elements := int64(0), int64(1)
		grow := func(v uint64) {
			if v > math.MaxInt32 || v != 0 && elements > math.MaxInt64/int64(v)/16 {
				elements = -1
			}
			elements *= int64(min(v, math.MaxInt32))
		}
		err := d.Each(ctx, off, off+length, func(f wire.Field) error {
			switch {
			case f.Num == 1 && f.Type == wire.Varint:
				element = sizes[f.Value]
			case f.Num == 2 && f.Type == wire.Varint && elements >= 0:
				grow(f.Value)
			case f.Num == 2 && f.Type == wire.Bytes:
				return d.Packed(ctx, f, func(v uint64) {
					if elements >= 0 {
						grow(v)
					}
				})
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		off += length
		if element == 0 || elements < 0 || elements > (size-off)/element {
			return n, fmt.Errorf("tensor %d of %d elements at %d, %d bytes remain: %w", n, elements, off, size-off, ErrTensor)
		}
		off += elements * element
	}
	return n, nil
}
