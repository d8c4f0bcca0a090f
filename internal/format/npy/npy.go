// Package npy reads the header of NumPy array files with a parser for the one
// Python literal that it may be. It reads no array data.
//
// Source: numpy.lib.format, versions 1.0 to 3.0.
package npy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// Magic begins every file.
const Magic = "\x93NUMPY"

// maxHeader is the length that numpy.load accepts by default: longer headers
// can crash ast.literal_eval.
const maxHeader = 10_000

// A Header is what the header says.
type Header struct {
	Major, Minor int
	Descr        string  // the type, as written
	Shape        []int64 // axes
	Fortran      bool
	Objects      bool  // the data is a pickle
	Data         int64 // where the data begins
	Bytes        int64 // length of numeric data by shape and type; -1 if not known
}

// Open reads the header. Its errors say that numpy would not accept the file
// either; the header is nil then unless the data position is known.
func Open(r io.ReaderAt, size int64, _ bound.Limits) (*Header, error) {
	var pre [12]byte
	if n, _ := r.ReadAt(pre[:], 0); n < 10 || string(pre[:6]) != Magic {
		return nil, errors.New("npy header is cut off")
	}
	h := &Header{Major: int(pre[6]), Minor: int(pre[7]), Bytes: -1}
	n := int64(pre[8]) | int64(pre[9])<<8
	start := int64(10)
	switch h.Major {
	case 1:
	case 2, 3:
		n |= int64(pre[10])<<16 | int64(pre[11])<<24
		start = 12
	default:
		return nil, fmt.Errorf("npy version %d.%d is not known: %w", h.Major, h.Minor, detect.ErrLimit)
	}
	if n > size-start {
		return nil, fmt.Errorf("npy header of %d bytes, %d remain", n, size-start)
	}
	h.Data = start + n
	if n > maxHeader {
		return h, fmt.Errorf("npy header of %d bytes; numpy reads at most %d: %w", n, maxHeader, detect.ErrLimit)
	}
	b := make([]byte, n)
	if k, err := r.ReadAt(b, start); int64(k) < n {
		return nil, fmt.Errorf("npy header: %w", err)
	}
	if err := h.parse(string(b)); err != nil {
		return h, fmt.Errorf("npy header: %w", err)
	}
	return h, nil
}

func (h *Header) parse(s string) error {
	p := literal{s: s}
	v, err := p.value(0)
	if err != nil {
		return err
	}
	if p.space(); p.i < len(s) {
		return fmt.Errorf("text after the literal at %d", p.i)
	}
	d, ok := v.(dict)
	if !ok || len(d) != 3 {
		return errors.New("not a dict of descr, fortran_order and shape")
	}
	descr, ok1 := d["descr"]
	order, ok2 := d["fortran_order"].(bool)
	shape, ok3 := d["shape"].(tuple)
	if !ok1 || !ok2 || !ok3 {
		return errors.New("not a dict of descr, fortran_order and shape")
	}
	h.Fortran = order
	count := uint64(1)
	for _, x := range shape {
		n, ok := x.(int64)
		if !ok || n < 0 {
			return errors.New("shape is not a tuple of sizes")
		}
		h.Shape = append(h.Shape, n)
		hi, lo := bits.Mul64(count, uint64(n))
		if hi != 0 || lo > math.MaxInt64 {
			return errors.New("shape overflows")
		}
		count = lo
	}
	item, objects, err := itemSize(descr, 0)
	if err != nil {
		return err
	}
	h.Objects, h.Descr = objects, describe(descr)
	if hi, lo := bits.Mul64(count, uint64(item)); hi == 0 && lo <= math.MaxInt64 && !objects {
		h.Bytes = int64(lo)
	} else if !objects {
		return errors.New("shape times item size overflows")
	}
	return nil
}

func describe(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return "structured type"
}

// itemSize returns the bytes of one item, and whether it holds Python objects.
func itemSize(v any, depth int) (int64, bool, error) {
	if depth > 32 {
		return 0, false, fmt.Errorf("type nested more than 32 deep: %w", detect.ErrLimit)
	}
	switch v := v.(type) {
	case string:
		return scalar(v)
	case tuple: // (type, shape) of a sub-array
		if len(v) != 2 {
			break
		}
		n, obj, err := itemSize(v[0], depth+1)
		if err != nil {
			return 0, false, err
		}
		n, err = times(n, v[1])
		return n, obj, err
	case list: // fields: (name, type) or (name, type, shape)
		var sum int64
		any := false
		for _, f := range v {
			t, ok := f.(tuple)
			if !ok || len(t) < 2 || len(t) > 3 {
				return 0, false, errors.New("a field of the type is not a (name, type) pair")
			}
			n, obj, err := itemSize(t[1], depth+1)
			if err == nil && len(t) == 3 {
				n, err = times(n, t[2])
			}
			if err != nil {
				return 0, false, err
			}
			if sum += n; sum < 0 {
				return 0, false, errors.New("type size overflows")
			}
			any = any || obj
		}
		return sum, any, nil
	}
	return 0, false, errors.New("type is not understood")
}

func times(n int64, shape any) (int64, error) {
	dims, ok := shape.(tuple)
	if k, isInt := shape.(int64); isInt {
		dims, ok = tuple{k}, true
	}
	if !ok {
		return 0, errors.New("sub-array shape is not a tuple")
	}
	for _, x := range dims {
		k, ok := x.(int64)
		hi, lo := bits.Mul64(uint64(n), uint64(k))
		if !ok || k < 0 || hi != 0 || lo > math.MaxInt64 {
			return 0, errors.New("sub-array shape overflows")
		}
		n = int64(lo)
	}
	return n, nil
}

// scalar reads a type string: byte order, kind, size, and for times a unit.
func scalar(s string) (int64, bool, error) {
	t := strings.TrimLeft(s, "<>|=")
	if t == "" {
		return 0, false, fmt.Errorf("type %q is not understood", s)
	}
	kind, rest := t[0], t[1:]
	if kind == 'O' || strings.HasPrefix(t, "object") {
		return 8, true, nil
	}
	if i := strings.IndexByte(rest, '['); i >= 0 && (kind == 'M' || kind == 'm') {
		rest = rest[:i]
	}
	n, err := strconv.ParseInt(rest, 10, 32)
	if err != nil || n < 0 || !strings.ContainsRune("biufcSaUVMmt?B", rune(kind)) {
		return 0, false, fmt.Errorf("type %q is not understood", s)
	}
	if kind == 'U' {
		n *= 4
	}
	return n, false, nil
}
