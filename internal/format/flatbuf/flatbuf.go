// Package flatbuf reads FlatBuffers over an [io.ReaderAt] with every offset
// checked before it is followed. It knows no schema: a caller asks for the
// fields of a table by their number. Nothing is read that is not asked for.
//
// Source: the FlatBuffers documentation, "FlatBuffer internals".
package flatbuf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrBuffer says that an offset or a length leads outside the file.
var ErrBuffer = errors.New("not a FlatBuffer")

// A Reader follows offsets in one file. The first error ends it: everything
// that is read afterwards is zero, so that a caller may ask once at the end. It
// is not safe for concurrent use.
type Reader struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	off  int64 // of buf in the file
	err  error
}

// NewReader returns a Reader of the size bytes of r.
func NewReader(r io.ReaderAt, size int64) *Reader { return &Reader{r: r, size: size} }

// Err returns the first error.
func (d *Reader) Err() error { return d.err }

const window = 8 << 10

func (d *Reader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format+": %w", append(args, ErrBuffer)...)
	}
}

// at returns the n bytes from off, n at most window, or nil.
func (d *Reader) at(off int64, n int) []byte {
	if d.err != nil {
		return nil
	}
	if off < 0 || off > d.size-int64(n) {
		d.fail("%d bytes at %d, the file has %d", n, off, d.size)
		return nil
	}
	if off < d.off || off+int64(n) > d.off+int64(len(d.buf)) {
		if cap(d.buf) == 0 {
			d.buf = make([]byte, window)
		}
		d.buf, d.off = d.buf[:min(window, d.size-off)], off
		k, err := d.r.ReadAt(d.buf, off)
		d.buf = d.buf[:k]
		if k < n {
			if d.err == nil {
				d.err = fmt.Errorf("read at %d: %w", off+int64(k), errors.Join(err, io.ErrUnexpectedEOF))
			}
			return nil
		}
	}
	return d.buf[off-d.off:][:n]
}

func (d *Reader) u16(off int64) int64 {
	if b := d.at(off, 2); b != nil {
		return int64(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (d *Reader) u32(off int64) int64 {
	if b := d.at(off, 4); b != nil {
		return int64(binary.LittleEndian.Uint32(b))
	}
	return 0
}

// A Table is a place where fields begin. The zero Table has no fields.
type Table struct {
	d       *Reader
	At      int64 // in the file
	vtable  int64
	entries int64 // of the vtable
}

// Root returns the table that the offset at the beginning of the file names.
func (d *Reader) Root() Table { return d.table(d.u32(0)) }

func (d *Reader) table(at int64) Table {
	b := d.at(at, 4)
	if b == nil {
		return Table{}
	}
	vtable := at - int64(int32(binary.LittleEndian.Uint32(b)))
	size := d.u16(vtable)
	d.u16(vtable + 2)
	switch {
	case d.err != nil:
		return Table{}
	case size < 4 || size%2 != 0 || vtable+size > d.size:
		d.fail("the table at %d has a list of %d bytes", at, size)
		return Table{}
	}
	return Table{d, at, vtable, (size - 4) / 2}
}

// Ok reports whether the table is there.
func (t Table) Ok() bool { return t.d != nil }

// field returns where the value of field i lies, or 0.
func (t Table) field(i int) int64 {
	if t.d == nil || int64(i) >= t.entries {
		return 0
	}
	off := t.d.u16(t.vtable + 4 + 2*int64(i))
	if off == 0 {
		return 0
	}
	return t.At + off
}

// Byte returns field i, or the default.
func (t Table) Byte(i int, otherwise int8) int8 {
	if at := t.field(i); at > 0 {
		if b := t.d.at(at, 1); b != nil {
			return int8(b[0])
		}
	}
	return otherwise
}

// Uint32 returns field i, or the default.
func (t Table) Uint32(i int, otherwise uint32) uint32 {
	if at := t.field(i); at > 0 {
		return uint32(t.d.u32(at))
	}
	return otherwise
}

// follow returns the target of the offset in field i, or 0.
func (t Table) follow(i int) int64 {
	at := t.field(i)
	if at == 0 {
		return 0
	}
	off := t.d.u32(at)
	if off == 0 {
		t.d.fail("field %d of the table at %d leads nowhere", i, t.At)
	}
	return at + off
}

// Table returns the table in field i.
func (t Table) Table(i int) Table {
	if at := t.follow(i); at > 0 {
		return t.d.table(at)
	}
	return Table{}
}

// Text returns the text in field i, at most maxBytes of it and of window bytes.
func (t Table) Text(i, maxBytes int) string {
	at := t.follow(i)
	if at == 0 {
		return ""
	}
	n := t.d.u32(at)
	if n > t.d.size-at-4 {
		t.d.fail("text of %d bytes at %d, %d remain", n, at, t.d.size-at-4)
		return ""
	}
	return string(t.d.at(at+4, int(min(n, int64(maxBytes), window))))
}

// A Vector is a list in the file. The zero Vector is empty.
type Vector struct {
	d   *Reader
	at  int64 // of the first element
	Len int64
}

// Vector returns the list in field i, whose elements have size bytes each.
func (t Table) Vector(i int, size int64) Vector {
	at := t.follow(i)
	if at == 0 {
		return Vector{}
	}
	n := t.d.u32(at)
	if n > (t.d.size-at-4)/size {
		t.d.fail("list of %d elements at %d, %d bytes remain", n, at, t.d.size-at-4)
		return Vector{}
	}
	return Vector{t.d, at + 4, n}
}

// Bytes returns the place of a list of bytes.
func (v Vector) Bytes() (start, end int64) { return v.at, v.at + v.Len }

// Table returns element i of a list of tables.
func (v Vector) Table(i int64) Table {
	if i < 0 || i >= v.Len {
		return Table{}
	}
	at := v.at + 4*i
	off := v.d.u32(at)
	if off == 0 && v.d.err == nil {
		v.d.fail("element %d of the list at %d leads nowhere", i, v.at)
	}
	return v.d.table(at + off)
}
