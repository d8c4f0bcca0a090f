// Package msgpack walks MessagePack, in which Flax writes checkpoints. It keeps
// extension types and the types of arrays, and passes over everything else.
//
// Source: the MessagePack specification; flax.serialization of Flax 0.10.
package msgpack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// ErrFormat says that bytes are not MessagePack.
var ErrFormat = errors.New("not MessagePack")

// The extension types of Flax.
const (
	Array   = 1
	Complex = 2
	Scalar  = 3
)

// An Extension is a value of an application's own type.
type Extension struct {
	Type       int8
	DType      string // of an array or scalar of Flax
	Start, End int64
}

// A Doc is what a file holds.
type Doc struct {
	Map        bool // the outermost value is a map with texts as keys
	Extensions []Extension
	Values     int64
	Size       int64 // of the document; what follows it is not read
}

// Sniff reports whether head begins a map whose first key is a text.
func Sniff(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	key := 1
	switch c := head[0]; {
	case c > 0x80 && c <= 0x8f:
	case c == 0xde:
		key = 3
	case c == 0xdf:
		key = 5
	default:
		return false
	}
	return len(head) > key+1 && (head[key] > 0xa0 && head[key] <= 0xbf || head[key] == 0xd9 || head[key] == 0xda)
}

// Open walks the document. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Doc, error) {
	w := &walker{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10), size: size, lim: lim, doc: &Doc{}}
	err := w.walk(ctx)
	w.doc.Size = w.at
	return w.doc, err
}

type walker struct {
	r    *bufio.Reader
	at   int64
	size int64
	lim  bound.Limits
	doc  *Doc
}

func (w *walker) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: "+format+": %w", append(append([]any{w.at}, args...), ErrFormat)...)
}

// number reads a big-endian number of n bytes.
func (w *walker) number(n int) (int64, error) {
	var b [8]byte
	k, err := io.ReadFull(w.r, b[8-n:])
	w.at += int64(k)
	if err != nil {
		return 0, w.bad("the document breaks off")
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

func (w *walker) skip(n int64) error {
	if n > w.size-w.at {
		return w.bad("%d bytes, %d remain", n, w.size-w.at)
	}
	for n > 0 {
		k, err := w.r.Discard(int(min(n, 1<<20)))
		n -= int64(k)
		w.at += int64(k)
		if err != nil {
			return w.bad("the document breaks off")
		}
	}
	return nil
}

// walk passes values one by one: how many are left at each level is a stack of
// numbers, so that nothing is nested in the walker.
func (w *walker) walk(ctx context.Context) error {
	left := []int64{1}
	for len(left) > 0 {
		top := len(left) - 1
		if left[top] == 0 {
			left = left[:top]
			continue
		}
		left[top]--
		if w.doc.Values++; w.doc.Values&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := w.value()
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if n > w.size-w.at {
			return w.bad("%d values, %d bytes remain", n, w.size-w.at)
		}
		if len(left) >= w.lim.Nesting {
			return fmt.Errorf("byte %d: nested more than %d deep: %w", w.at, w.lim.Nesting, detect.ErrLimit)
		}
		left = append(left, n)
	}
	return nil
}

// value passes one value and returns how many values it holds.
func (w *walker) value() (inside int64, err error) {
	start := w.at
	c, err := w.number(1)
	if err != nil {
		return 0, err
	}
	sized := func(n int, times int64) (int64, error) {
		k, err := w.number(n)
		return k * times, err
	}
	payload := func(n int) error {
		k, err := w.number(n)
		if err != nil {
			return err
		}
		return w.skip(k)
	}
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 0, nil
	case c <= 0x8f:
		w.doc.Map = w.doc.Map || start == 0
		return 2 * (c & 15), nil
	case c <= 0x9f:
		return c & 15, nil
	case c <= 0xbf:
		return 0, w.skip(c & 31)
	}
	switch c {
	case 0xc4, 0xd9:
		return 0, payload(1)
	case 0xc5, 0xda:
		return 0, payload(2)
	case 0xc6, 0xdb:
		return 0, payload(4)
	case 0xca, 0xce, 0xd2:
		return 0, w.skip(4)
	case 0xcb, 0xcf, 0xd3:
		return 0, w.skip(8)
	case 0xcc, 0xd0:
		return 0, w.skip(1)
	case 0xcd, 0xd1:
		return 0, w.skip(2)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return 0, w.extension(start, 1<<(c-0xd4))
	case 0xc7, 0xc8, 0xc9:
		n, err := w.number(1 << (c - 0xc7))
		if err != nil {
			return 0, err
		}
		return 0, w.extension(start, n)
	case 0xdc:
		return sized(2, 1)
	case 0xdd:
		return sized(4, 1)
	case 0xde, 0xdf:
		w.doc.Map = w.doc.Map || start == 0
		return sized(2<<(c-0xde), 2)
	}
	return 0, w.bad("unknown type %#x", c)
}

// extension passes a value of an application's type, and keeps what arrays of
// Flax say about their type: the second of three values, behind the shape.
func (w *walker) extension(start, n int64) error {
	t, err := w.number(1)
	if err != nil {
		return err
	}
	if n > w.size-w.at {
		return w.bad("%d bytes, %d remain", n, w.size-w.at)
	}
	e := Extension{Type: int8(t), Start: start, End: w.at + n}
	if e.Type == Array || e.Type == Scalar {
		head, _ := w.r.Peek(int(min(n, 512))) // a short one shows when it is passed
		e.DType = dtype(head)
	}
	if len(w.doc.Extensions) >= w.lim.Members {
		return fmt.Errorf("more than %d values of own types: %w", w.lim.Members, detect.ErrLimit)
	}
	w.doc.Extensions = append(w.doc.Extensions, e)
	return w.skip(n)
}

// dtype returns the name of the type in the packed triple of shape, type and
// bytes; "?" if it is not one.
func dtype(b []byte) string {
	if len(b) < 3 || b[0] != 0x93 {
		return "?"
	}
	w := &walker{r: bufio.NewReader(bytes.NewReader(b[1:])), size: int64(len(b) - 1), doc: &Doc{}}
	n, err := w.value()
	for ; err == nil && n > 0; n-- {
		_, err = w.value()
	}
	at := int(w.at) + 1
	if err != nil || at >= len(b) || b[at] < 0xa0 || b[at] > 0xbf || at+1+int(b[at]&31) > len(b) {
		return "?"
	}
	return string(b[at+1 : at+1+int(b[at]&31)])
}
