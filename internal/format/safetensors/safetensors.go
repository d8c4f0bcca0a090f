// Package safetensors reads the header of safetensors files and compares every
// offset in it with the file. Tensor data is not read.
//
// Source: the format section of the safetensors README, and the checks of its
// reference implementation.
package safetensors

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/jsontext"
)

// A ProblemKind is the sort of a [Problem].
type ProblemKind uint8

// The kinds of problem.
const (
	Range     ProblemKind = iota // offsets that are no range, overlap or do not fit the shape
	Outside                      // a tensor or the header goes on behind the end of the file
	Duplicate                    // a key occurs twice
	Unclaimed                    // bytes that belong to no tensor
)

// A Problem is a place where the header does not describe the file.
type Problem struct {
	Kind       ProblemKind
	Start, End int64 // in the file
	What       string
}

// A Header is the structure of one file.
type Header struct {
	Tensors  int
	Data     int64 // where tensor data begins
	Metadata []Pair
	List     []Tensor // the first ones by place, at most 4,096
	Problems []Problem
}

// A Tensor is one entry of the header.
type Tensor struct {
	Name       string
	Type       string // "F32", "BF16", …
	Shape      []uint64
	Start, End int64 // in the file
}

// A Pair is one entry of __metadata__.
type Pair struct {
	Key, Value string
	At         int64 // of the value in the file
}

const (
	maxProblems = 100
	keptTensors = 4096
)

// Sniff reports whether head begins with the length of a header that fits and
// an opening brace.
func Sniff(head []byte, size int64) bool {
	if len(head) < 9 || head[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return n > 1 && n < 1<<40 && (int64(n) <= size-8 || size < 1<<20)
}

// Open reads the header. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Header, error) {
	h := &Header{}
	var b [8]byte
	if n, err := r.ReadAt(b[:], 0); n < 8 {
		return h, fmt.Errorf("header length: %w", err)
	}
	n := binary.LittleEndian.Uint64(b[:])
	switch {
	case n > uint64(size-8):
		h.add(Outside, 0, 8, "the header has %d bytes, %d remain", n, size-8)
		return h, fmt.Errorf("header of %d bytes, %d remain", n, size-8)
	case n > uint64(lim.Header):
		return h, fmt.Errorf("header of %d bytes, at most %d: %w", n, lim.Header, detect.ErrLimit)
	}
	text := make([]byte, n)
	if k, err := r.ReadAt(text, 8); k < len(text) {
		return h, fmt.Errorf("header: %w", err)
	}
	doc, err := jsontext.Parse(ctx, text, lim)
	if err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	h.Data = 8 + int64(n)
	return h, h.read(ctx, doc.Root(), size)
}

func (h *Header) add(kind ProblemKind, start, end int64, format string, args ...any) {
	if len(h.Problems) < maxProblems {
		h.Problems = append(h.Problems, Problem{kind, start, end, fmt.Sprintf(format, args...)})
	}
}

type extent struct {
	name       string
	start, end int64
	entry      jsontext.Value
}

func (h *Header) read(ctx context.Context, root jsontext.Value, size int64) error {
	if root.Kind() != jsontext.Object {
		return fmt.Errorf("header is not an object")
	}
	seen := map[string]bool{}
	var list []extent
	room, i := size-h.Data, 0
	for v := range root.All {
		if i++; i&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		name := v.Key()
		start, end := v.Span()
		start, end = start+8, end+8
		if seen[name] {
			h.add(Duplicate, start, end, "the key %q occurs twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			h.metadata(v)
			continue
		}
		h.Tensors++
		e, why := tensor(v)
		if why != "" {
			h.add(Range, start, end, "tensor %q: %s", name, why)
			continue
		}
		if e.end > room {
			h.add(Outside, start, end, "tensor %q ends at %d of %d bytes of data", name, e.end, room)
			continue
		}
		e.name, e.entry = name, v
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b extent) int {
		if a.start != b.start {
			return int(min(max(a.start-b.start, -1), 1))
		}
		return int(min(max(a.end-b.end, -1), 1))
	})
	for _, e := range list[:min(len(list), keptTensors)] {
		t := Tensor{Name: e.name, Type: e.entry.Get("dtype").Text(), Start: h.Data + e.start, End: h.Data + e.end}
		for d := range e.entry.Get("shape").All {
			if n, ok := d.Int(); ok && n >= 0 {
				t.Shape = append(t.Shape, uint64(n))
			}
		}
		h.List = append(h.List, t)
	}
	at := int64(0)
	for _, e := range list {
		switch {
		case e.start < at && e.end > e.start:
			h.add(Range, h.Data+e.start, h.Data+e.end, "tensor %q overlaps another one", e.name)
		case e.start > at:
			h.add(Unclaimed, h.Data+at, h.Data+e.start, "%d bytes before tensor %q belong to no tensor", e.start-at, e.name)
		}
		at = max(at, e.end)
	}
	if at < room {
		h.add(Unclaimed, h.Data+at, size, "%d bytes after the last tensor belong to none", room-at)
	}
	return nil
}

// metadata keeps the texts of __metadata__.
func (h *Header) metadata(v jsontext.Value) {
	seen := map[string]bool{}
	for m := range v.All {
		start, end := m.Span()
		if k := m.Key(); seen[k] {
			h.add(Duplicate, start+8, end+8, "the key %q of __metadata__ occurs twice", k)
		} else {
			seen[k] = true
		}
		h.Metadata = append(h.Metadata, Pair{m.Key(), m.Text(), start + 8})
	}
}

// bitsOf are the element sizes of the known types.
var bitsOf = map[string]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

// tensor reads one entry and says what is wrong with it.
func tensor(v jsontext.Value) (e extent, why string) {
	seen := map[string]bool{}
	for m := range v.All {
		if seen[m.Key()] {
			return e, fmt.Sprintf("the key %q occurs twice", m.Key())
		}
		seen[m.Key()] = true
	}
	var offsets []int64
	for o := range v.Get("data_offsets").All {
		n, ok := o.Int()
		if !ok || n < 0 || len(offsets) == 2 {
			return e, "its offsets are not two numbers"
		}
		offsets = append(offsets, n)
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return e, "its offsets are not a range"
	}
	e = extent{start: offsets[0], end: offsets[1]}
	size, known := bitsOf[strings.ToUpper(v.Get("dtype").Text())]
	if !known {
		return e, "" // a newer type: its range is compared, its size is not
	}
	for d := range v.Get("shape").All {
		n, ok := d.Int()
		hi, lo := bits.Mul64(size, uint64(n))
		if !ok || n < 0 || hi != 0 || lo > math.MaxInt64 {
			return e, "its shape overflows"
		}
		size = lo
	}
	if size%8 != 0 || int64(size/8) != e.end-e.start {
		return e, fmt.Sprintf("its shape needs %d bits, its range has %d bytes", size, e.end-e.start)
	}
	return e, ""
}
