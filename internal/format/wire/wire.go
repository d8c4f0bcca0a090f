// Package wire walks protobuf messages in the wire format over an
// [io.ReaderAt], so that a field of any size is passed over without reading it.
// It knows no schema.
//
// Source: the protocol buffers documentation, "Encoding".
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// The wire types.
const (
	Varint = 0
	Fixed8 = 1
	Bytes  = 2
	Fixed4 = 5
)

// ErrWire says that bytes are not a protobuf message.
var ErrWire = errors.New("not a protobuf message")

// A Field is one field of a message.
type Field struct {
	Num        int
	Type       int
	Value      uint64 // of a Varint
	Start, End int64  // of the payload
}

// A Reader walks messages of one file. It is not safe for concurrent use.
type Reader struct {
	r     io.ReaderAt
	size  int64
	buf   []byte
	off   int64 // of buf in the file
	steps int
}

// NewReader returns a Reader of the size bytes of r.
func NewReader(r io.ReaderAt, size int64) *Reader { return &Reader{r: r, size: size} }

const window = 32 << 10

// at returns up to n bytes from off.
func (d *Reader) at(off int64, n int) ([]byte, error) {
	if off < d.off || off+int64(n) > d.off+int64(len(d.buf)) {
		if cap(d.buf) == 0 {
			d.buf = make([]byte, window)
		}
		d.buf, d.off = d.buf[:min(window, max(0, d.size-off))], off
		k, err := d.r.ReadAt(d.buf, off)
		if k < len(d.buf) && err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		d.buf = d.buf[:k]
	}
	b := d.buf[off-d.off:]
	return b[:min(n, len(b))], nil
}

// varint reads a number before end and returns where it ends.
func (d *Reader) varint(off, end int64) (v uint64, next int64, err error) {
	b, err := d.at(off, 10)
	if err != nil {
		return 0, off, err
	}
	for i, c := range b {
		if off+int64(i) >= end {
			break
		}
		if i == 9 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, off + int64(i) + 1, nil
		}
	}
	return 0, off, fmt.Errorf("number at %d: %w", off, ErrWire)
}

// Each calls visit for the fields of the message that lies in [start, end).
// Errors of visit end the walk.
func (d *Reader) Each(ctx context.Context, start, end int64, visit func(Field) error) error {
	end = min(end, d.size)
	for off := start; off < end; {
		if d.steps++; d.steps&4095 == 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		key, next, err := d.varint(off, end)
		if err != nil {
			return err
		}
		f := Field{Num: int(key >> 3), Type: int(key & 7), Start: next}
		if key>>3 == 0 || key>>3 >= 1<<29 {
			return fmt.Errorf("field number %d at %d: %w", key>>3, off, ErrWire)
		}
		switch f.Type {
		case Varint:
			f.Value, f.End, err = d.varint(next, end)
		case Fixed8:
			f.End = next + 8
		case Fixed4:
			f.End = next + 4
		case Bytes:
			var n uint64
			if n, f.Start, err = d.varint(next, end); err == nil && n > uint64(end-f.Start) {
				err = fmt.Errorf("field %d at %d has %d bytes, %d remain: %w", f.Num, off, n, end-f.Start, ErrWire)
			}
			f.End = f.Start + int64(n)
		default:
			err = fmt.Errorf("wire type %d at %d: %w", f.Type, off, ErrWire)
		}
		if err == nil && f.End > end {
			err = fmt.Errorf("field %d at %d leads outside its message: %w", f.Num, off, ErrWire)
		}
		if err == nil {
			err = visit(f)
		}
		if err != nil {
			return err
		}
		off = f.End
	}
	return nil
}

// Text returns the payload of f, at most maxBytes of it.
func (d *Reader) Text(f Field, maxBytes int64) (string, error) {
	if f.Type != Bytes {
		return "", fmt.Errorf("field %d at %d is no text: %w", f.Num, f.Start, ErrWire)
	}
	n := min(f.End-f.Start, maxBytes)
	if n <= window {
		b, err := d.at(f.Start, int(n))
		return string(b), err
	}
	b := make([]byte, n)
	k, err := d.r.ReadAt(b, f.Start)
	if k < len(b) {
		return string(b[:k]), fmt.Errorf("read at %d: %w", f.Start+int64(k), err)
	}
	return string(b), nil
}

// Packed calls visit for the numbers of a packed repeated field.
func (d *Reader) Packed(ctx context.Context, f Field, visit func(uint64)) error {
	for off := f.Start; off < f.End; {
		if d.steps++; d.steps&4095 == 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		v, next, err := d.varint(off, f.End)
		if err != nil {
			return err
		}
		visit(v)
		off = next
	}
	return nil
}
