package formattest

import (
	"bytes"
)

// An HDF5Link is a link of the root group made by [HDF5].
type HDF5Link struct {
	Name   string
	Soft   string // target path
	File   string // of an external link to Target
	Target string
}

// HDF5 describes a small file with one group.
type HDF5 struct {
	Attrs    [][2]string // fixed-length texts in the object header
	Variable [][2]string // variable-length texts in a global heap
	Dense    [][2]string // texts in a fractal heap with a B-tree
	Links    []HDF5Link
	RawFile  string // external raw storage of the root object, as a dataset has
}

const hdf5None = uint64(1<<64 - 1)

// Bytes writes the file with superblock version 2.
func (h HDF5) Bytes() []byte {
	const header = 48
	var heap, messages bytes.Buffer
	at := uint64(header) // heaps lie between superblock and root header
	add := func(b []byte) uint64 {
		where := at + uint64(heap.Len())
		heap.Write(b)
		return where
	}
	for _, a := range h.Attrs {
		message(&messages, 0x0c, attribute(a[0], fixedText(len(a[1])), []byte(a[1])))
	}
	for _, a := range h.Variable {
		ref := new(bytes.Buffer)
		put(ref, uint32(len(a[1])), add(globalHeap(a[1])), uint32(1))
		message(&messages, 0x0c, attribute(a[0], variableText(), ref.Bytes()))
	}
	if len(h.Dense) > 0 {
		frhp, bthd := h.dense(at + uint64(heap.Len()))
		where := add(frhp)
		info := new(bytes.Buffer)
		put(info, uint8(0), uint8(0), where, where+bthd)
		message(&messages, 0x15, info.Bytes())
	}
	for _, l := range h.Links {
		message(&messages, 0x06, l.bytes())
	}
	if h.RawFile != "" {
		local := new(bytes.Buffer)
		where := at + uint64(heap.Len())
		put(local, []byte("HEAP"), uint32(0), uint64(len(h.RawFile)+1), hdf5None, where+32, []byte(h.RawFile), uint8(0))
		add(local.Bytes())
		list := new(bytes.Buffer)
		put(list, uint32(1), uint16(1), uint16(1), where, uint64(0), uint64(0), uint64(64))
		message(&messages, 0x07, list.Bytes())
	}
	root := at + uint64(heap.Len())
	var out bytes.Buffer
	put(&out, []byte("\x89HDF\r\n\x1a\n"), uint8(2), uint8(8), uint8(8), uint8(0), uint64(0), hdf5None, root+uint64(messages.Len()), root, uint32(0))
	out.Write(heap.Bytes())
	put(&out, []byte("OHDR"), uint8(2), uint8(2), uint32(messages.Len()), messages.Bytes(), uint32(0))
	return out.Bytes()
}

func message(w *bytes.Buffer, typ uint8, body []byte) {
	put(w, typ, uint16(len(body)), uint8(0), body)
}

func attribute(name string, typ, data []byte) []byte {
	var b bytes.Buffer
	put(&b, uint8(3), uint8(0), uint16(len(name)+1), uint16(len(typ)), uint16(4), uint8(0), []byte(name), uint8(0), typ,
		uint8(2), uint8(0), uint8(0), uint8(0), data) // a scalar
	return b.Bytes()
}

func fixedText(n int) []byte {
	var b bytes.Buffer
	put(&b, uint8(0x13), [3]byte{}, uint32(n))
	return b.Bytes()
}

func variableText() []byte {
	var b bytes.Buffer
	put(&b, uint8(0x19), [3]byte{1}, uint32(16), uint8(0x13), [3]byte{}, uint32(1))
	return b.Bytes()
}

func globalHeap(s string) []byte {
	pad := (8 - len(s)%8) % 8
	var b bytes.Buffer
	put(&b, []byte("GCOL"), uint32(1), uint64(16+16+len(s)+pad+16), uint16(1), uint16(1), uint32(0), uint64(len(s)), []byte(s), make([]byte, pad+16))
	return b.Bytes()
}

// dense writes a fractal heap with one direct block and a B-tree with one leaf.
// It returns all of it, and where the tree lies in it.
func (h HDF5) dense(at uint64) (all []byte, tree uint64) {
	const head = 22 + 12*8 + 3*8 + 4
	var objects, records, b bytes.Buffer
	const first = 4 + 1 + 8 + 4 // what the direct block begins with
	for _, a := range h.Dense {
		msg := attribute(a[0], fixedText(len(a[1])), []byte(a[1]))
		id := new(bytes.Buffer)
		put(id, uint8(0), uint32(first+objects.Len()), uint16(len(msg)), uint8(0)) // 8 bytes
		put(&records, id.Bytes(), uint8(0), uint32(0), uint32(0))
		objects.Write(msg)
	}
	block := 512
	for block < first+objects.Len() {
		block *= 2
	}
	put(&b, []byte("FRHP"), uint8(0), uint16(8), uint16(0), uint8(0), uint32(4096), uint64(0), hdf5None, uint64(0), hdf5None,
		make([]byte, 8*8), uint16(4), uint64(block), uint64(block), uint16(32), uint16(1), at+head, uint16(0), uint32(0))
	put(&b, []byte("FHDB"), uint8(0), at, uint32(0), objects.Bytes(), make([]byte, block-first-objects.Len()))
	tree = uint64(b.Len())
	node := uint32(10 + records.Len())
	put(&b, []byte("BTHD"), uint8(0), uint8(8), node, uint16(17), uint16(0), uint8(100), uint8(40), at+tree+38, uint16(len(h.Dense)), uint64(len(h.Dense)), uint32(0))
	put(&b, []byte("BTLF"), uint8(0), uint8(8), records.Bytes(), uint32(0))
	return b.Bytes(), tree
}

func (l HDF5Link) bytes() []byte {
	var b bytes.Buffer
	kind, info := uint8(1), new(bytes.Buffer)
	put(info, uint16(len(l.Soft)), []byte(l.Soft))
	if l.File != "" {
		kind = 64
		info.Reset()
		put(info, uint16(len(l.File)+len(l.Target)+3), uint8(0), []byte(l.File), uint8(0), []byte(l.Target), uint8(0))
	}
	put(&b, uint8(1), uint8(8), kind, uint8(len(l.Name)), []byte(l.Name), info.Bytes())
	return b.Bytes()
}

// KerasZip writes a .keras archive with the configuration as given.
func KerasZip(config string, more ...ZipEntry) []byte {
	return Zip(append([]ZipEntry{
		{Name: "metadata.json", Data: []byte(`{"keras_version": "3.9.0", "date_saved": "2026-01-31@12:00:00"}`)},
		{Name: "config.json", Data: []byte(config)},
	}, more...)...)
}
