package gguf

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

type tensor struct {
	name    string
	at      int64
	kind    uint32
	shape   []uint64
	offset  uint64
	bytes   uint64
	unknown bool // the type has no known size
}

// A block is how many elements of a tensor type share how many bytes.
type block struct{ elements, bytes uint64 }

// blocks are the tensor types of ggml by number; types that were removed are
// zero.
var blocks = [...]block{
	0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34}, 9: {32, 36},
	10: {256, 84}, 11: {256, 110}, 12: {256, 144}, 13: {256, 176}, 14: {256, 210}, 15: {256, 292},
	16: {256, 66}, 17: {256, 74}, 18: {256, 98}, 19: {256, 50}, 20: {32, 18}, 21: {256, 110}, 22: {256, 82}, 23: {256, 136},
	24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8}, 29: {256, 56}, 30: {1, 2},
	34: {256, 54}, 35: {256, 66}, 39: {32, 17},
}

func (r *reader) tensor() (t tensor, err error) {
	if err := r.step(); err != nil {
		return t, err
	}
	var whole bool
	if t.name, t.at, whole, err = r.string("tensor name", 256); err != nil {
		return t, err
	}
	if !whole {
		r.problem(false, "a tensor name at %d is longer than 256 bytes", t.at)
	}
	dims, err := r.u32()
	if err != nil {
		return t, err
	}
	if dims > maxDims {
		r.problem(false, "tensor %q has %d dimensions; loaders keep %d", t.name, dims, maxDims)
		return t, errSizes
	}
	count, overflow := uint64(1), false
	for range dims {
		n, err := r.length()
		if err != nil {
			return t, err
		}
		t.shape = append(t.shape, n)
		hi, lo := bits.Mul64(count, n)
		overflow = overflow || hi != 0 || lo > math.MaxInt64
		count = lo
	}
	typ, err := r.u32()
	if err != nil {
		return t, err
	}
	t.kind = typ
	if t.offset, err = r.u64(); err != nil {
		return t, err
	}
	if int(typ) >= len(blocks) || blocks[typ].elements == 0 {
		t.unknown = true
		return t, nil
	}
	b := blocks[typ]
	hi, need := bits.Mul64(count/b.elements, b.bytes)
	if t.bytes = need; overflow || hi != 0 || need > math.MaxInt64 {
		r.problem(true, "the size of tensor %q overflows", t.name)
		t.unknown = true
	} else if count%b.elements != 0 {
		r.problem(false, "tensor %q has %d elements, no multiple of its block of %d", t.name, count, b.elements)
	}
	return t, nil
}

// typeNames are the names of the tensor types, as ggml has them.
var typeNames = [...]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
	14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// keep lists the tensors for people.
func (r *reader) keep(list []tensor) {
	for _, t := range list[:min(len(list), keptTensors)] {
		k := Tensor{Name: t.name, Shape: t.shape, Start: -1, End: -1}
		if int(t.kind) < len(typeNames) {
			k.Type = typeNames[t.kind]
		}
		if room := uint64(max(0, r.size-r.m.Data)); !t.unknown && t.offset <= room && t.bytes <= room-t.offset {
			k.Start, k.End = r.m.Data+int64(t.offset), r.m.Data+int64(t.offset+t.bytes)
		}
		r.m.List = append(r.m.List, k)
	}
}

// data compares the tensors with the file and with each other.
func (r *reader) data(list []tensor) {
	r.m.Data = r.at
	if rest := uint64(r.at) % r.m.Alignment; rest != 0 {
		if r.m.Alignment > uint64(r.size) {
			r.problem(false, "the alignment of %d is larger than the file", r.m.Alignment)
			return
		}
		r.m.Data += int64(r.m.Alignment - rest)
	}
	room := uint64(max(0, r.size-r.m.Data))
	for _, t := range list {
		switch {
		case t.offset%r.m.Alignment != 0:
			r.problem(false, "tensor %q begins at %d, no multiple of the alignment of %d", t.name, t.offset, r.m.Alignment)
		case t.unknown && t.offset <= room:
		case t.offset > room || t.bytes > room-t.offset:
			r.problem(t.offset > math.MaxInt64, "tensor %q lies at %d with %d bytes, the data has %d", t.name, t.offset, t.bytes, room)
		}
	}
	slices.SortFunc(list, func(a, b tensor) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return 0
	})
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.bytes > b.offset-a.offset {
			r.problem(false, "%s", fmt.Sprintf("tensors %q and %q overlap", a.name, b.name))
		}
	}
	r.keep(list)
}
