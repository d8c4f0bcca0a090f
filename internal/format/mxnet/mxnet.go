// Package mxnet reads the two files of an MXNet model: the graph, which is JSON,
// and the arrays, whose headers and names are read and whose data is passed over.
//
// Source: symbol/json/legacy_json_util.cc and ndarray/ndarray.cc of MXNet 1.9.
package mxnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/named"
)

// Magic begins a file of arrays.
const Magic = "\x12\x01\x00\x00\x00\x00\x00\x00"

// IsSymbol reports whether a JSON document is a graph.
func IsSymbol(doc *jsontext.Doc) bool {
	root := doc.Root()
	nodes, args := root.Get("nodes"), root.Get("arg_nodes")
	return nodes.Kind() == jsontext.Array && args.Kind() == jsontext.Array
}

// Symbol lists what the nodes of a graph name: the Python class of a Custom
// operator, files, and further texts.
func Symbol(ctx context.Context, doc *jsontext.Doc, lim bound.Limits) (*named.List, error) {
	list := named.NewList(lim)
	steps := 0
	for graphs := []jsontext.Value{doc.Root()}; len(graphs) > 0; {
		g := graphs[len(graphs)-1]
		graphs = graphs[:len(graphs)-1]
		for nodes := range g.All {
			if nodes.Key() != "nodes" {
				continue
			}
			for n := range nodes.All {
				if steps++; steps&1023 == 0 && ctx.Err() != nil {
					return list, ctx.Err()
				}
				symbolNode(list, n)
				for m := range n.All {
					if m.Key() == "subgraphs" {
						for sub := range m.All {
							graphs = append(graphs, sub)
						}
					}
				}
			}
		}
	}
	return list, list.Err()
}

// plain are attributes whose value is a name or a list of numbers.
var plain = map[string]bool{"name": true, "__dtype__": true, "__shape__": true, "__init__": true, "__lr_mult__": true, "__wd_mult__": true}

func symbolNode(list *named.List, n jsontext.Value) {
	var ops []string
	for m := range n.All { // every copy counts: readers differ in which one they take
		if m.Key() == "op" {
			ops = append(ops, m.Text())
		}
	}
	python := false
	start, end := n.Span()
	for _, op := range ops {
		python = python || op == "Custom" || op == "_Native" || op == "_NDArray"
		if custom := strings.Contains(op, "plugin") || op == "_CustomFunction"; custom {
			list.Add(named.Item{Kind: named.Custom, Key: "op", Value: op, Start: start, End: end})
		}
	}
	known := false
	for m := range n.All {
		switch m.Key() {
		case "name":
			if s := m.Text(); odd(s) {
				at, to := m.Span()
				list.Add(named.Item{Kind: named.Text, Key: "name", Value: s, Start: at, End: to})
			}
		case "attrs", "attr", "param":
			for a := range m.All {
				at, to := a.Span()
				s := a.Text()
				kind := named.Text
				switch {
				case python && (a.Key() == "op_type" || a.Key() == "info"):
					kind, known = named.Python, true
				case native(s):
					kind = named.Library
				case strings.Contains(a.Key(), "path") || strings.Contains(a.Key(), "file") || strings.HasSuffix(a.Key(), "lib"):
					kind = named.File
				case plain[a.Key()] || !odd(s):
					continue
				}
				list.Add(named.Item{Kind: kind, Key: a.Key(), Value: s, Start: at, End: to})
			}
		}
	}
	if python && !known {
		list.Add(named.Item{Kind: named.Python, Key: "op", Value: strings.Join(ops, " "), Start: start, End: end})
	}
}

// native reports whether a text names a native library.
func native(s string) bool {
	s = strings.ToLower(s)
	return strings.HasSuffix(s, ".so") || strings.HasSuffix(s, ".dll") || strings.HasSuffix(s, ".dylib")
}

// odd reports whether a text is more than a name, a number or a shape.
func odd(s string) bool {
	if len(s) > 256 {
		return true
	}
	for _, c := range s {
		word := c == '_' || c == '-' || c == '.' || c == '/' || c == ':' || c == ',' || c == '(' || c == ')' || c == '[' || c == ']' || c == ' ' || c == '+'
		if !word && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return true
		}
	}
	return false
}

// ErrArrays says that bytes are no file of arrays.
var ErrArrays = errors.New("not a file of arrays")

// The forms of an array: with a version before its shape, or an old one that
// begins with the number of its dimensions.
const (
	v1 = 0xf993fac8
	v2 = 0xf993fac9
	v3 = 0xf993faca
)

// sizes are the bytes of an element of each type.
var sizes = map[int32]int64{0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 8: 2, 9: 2, 10: 4, 11: 8, 12: 2}

const maxDims = 32

type reader struct {
	r         io.ReaderAt
	off, size int64
	err       error
	buf       [8]byte
}

func (d *reader) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s at byte %d: %w", what, d.off, ErrArrays)
	}
}

func (d *reader) bytes(n int) []byte {
	if d.err == nil && d.size-d.off < int64(n) {
		d.fail("end of the file")
	}
	if d.err != nil {
		clear(d.buf[:])
		return d.buf[:n]
	}
	if k, err := d.r.ReadAt(d.buf[:n], d.off); k < n {
		d.err = fmt.Errorf("read at %d: %w", d.off, err)
	}
	d.off += int64(n)
	return d.buf[:n]
}

func (d *reader) u32() uint32 { return binary.LittleEndian.Uint32(d.bytes(4)) }
func (d *reader) u64() uint64 { return binary.LittleEndian.Uint64(d.bytes(8)) }

// skip passes count elements of a size.
func (d *reader) skip(count, size int64) {
	if d.err == nil && (count < 0 || size <= 0 || count > (d.size-d.off)/size) {
		d.fail(fmt.Sprintf("%d elements of %d bytes", count, size))
	}
	if d.err == nil {
		d.off += count * size
	}
}

// shape returns the number of elements, and whether there is any dimension.
func (d *reader) shape(n int32, wide bool) (elements int64, known bool) {
	if n < 0 || n > maxDims {
		if n != -1 {
			d.fail(fmt.Sprintf("%d dimensions", n))
		}
		return 0, false
	}
	elements = 1
	for range n {
		var v int64
		if wide {
			v = int64(d.u64())
		} else {
			v = int64(d.u32())
		}
		if v < 0 || v != 0 && elements > d.size/v+1 { // an element has at least one byte
			d.fail(fmt.Sprintf("dimension of %d", v))
			return 0, false
		}
		elements *= v
	}
	return elements, true
}

// element returns the bytes of an element.
func (d *reader) element() int64 {
	kind := int32(d.u32())
	n := sizes[kind]
	if n == 0 {
		d.fail(fmt.Sprintf("element type %d", kind))
	}
	return n
}

// array passes one array.
func (d *reader) array() {
	first := d.u32()
	switch first {
	case v2, v3:
		sparse := int32(d.u32())
		aux := map[int32]int{0: 0, 1: 1, 2: 2, -1: 0}
		more, ok := aux[sparse]
		if !ok {
			d.fail(fmt.Sprintf("storage type %d", sparse))
		}
		stored := int64(-1)
		if more > 0 {
			stored, _ = d.shape(int32(d.u32()), true)
		}
		n := int32(d.u32())
		elements, known := d.shape(n, true)
		if d.err != nil || !known || first == v2 && n == 0 {
			return
		}
		d.bytes(8) // the device
		size := d.element()
		var counts, widths [2]int64
		for i := range more {
			widths[i] = d.element()
			counts[i], _ = d.shape(int32(d.u32()), true)
		}
		if more > 0 {
			elements = stored
		}
		d.skip(elements, size)
		for i := range more {
			d.skip(counts[i], widths[i])
		}
	default:
		n, wide := int32(first), false
		if first == v1 {
			n, wide = int32(d.u32()), true
		}
		elements, _ := d.shape(n, wide)
		if n == 0 || d.err != nil {
			return
		}
		d.bytes(8)
		d.skip(elements, d.element())
	}
}

// Arrays walks a file of arrays to its end and lists the names that are more than
// names.
func Arrays(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*named.List, error) {
	list := named.NewList(lim)
	d := &reader{r: r, size: size, off: int64(len(Magic))}
	d.u64() // reserved
	for i := range d.u64() {
		if i&1023 == 0 && ctx.Err() != nil {
			return list, ctx.Err()
		}
		if d.array(); d.err != nil {
			return list, d.err
		}
		if i >= uint64(lim.TotalMembers) {
			return list, fmt.Errorf("more than %d arrays: %w", lim.TotalMembers, detect.ErrLimit)
		}
	}
	for i := range d.u64() {
		if i&1023 == 0 && ctx.Err() != nil {
			return list, ctx.Err()
		}
		n := d.u64()
		if d.err == nil && n > uint64(d.size-d.off) {
			d.fail(fmt.Sprintf("name of %d bytes", n))
		}
		if d.err != nil {
			return list, d.err
		}
		b := make([]byte, min(n, 4096))
		if k, err := r.ReadAt(b, d.off); k < len(b) {
			return list, fmt.Errorf("read at %d: %w", d.off, err)
		}
		if odd(string(b)) {
			list.Add(named.Item{Kind: named.Text, Key: "name of an array", Value: string(b), Start: d.off, End: d.off + int64(n)})
		}
		d.off += int64(n)
	}
	if d.err == nil && d.off < size {
		d.fail(fmt.Sprintf("%d further bytes", size-d.off))
	}
	return list, errors.Join(d.err, list.Err())
}
