// Package gguf reads the key-value section and the tensor table of GGUF files,
// versions 1 to 3 in both byte orders, without trusting a count, length or
// offset in them. Tensor data is not read.
//
// Source: the GGUF specification of ggml, docs/gguf.md.
package gguf

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/expand"
)

// Magic begins every file, in both byte orders.
const Magic = "GGUF"

// A Text is a string value that is kept: templates whole, others by their head.
type Text struct {
	Key   string
	Value string
	At    int64 // of the text in the file
	Whole bool
}

// A Problem is a number that a careless loader would trust.
type Problem struct {
	At       int64
	What     string
	Overflow bool // it wraps around in the arithmetic of a loader
}

// A Model is the structure of one file.
type Model struct {
	Version   int
	BigEndian bool
	Alignment uint64
	Keys      int
	Tensors   int
	Data      int64 // where tensor data begins
	Texts     []Text
	List      []Tensor // the first ones by place, at most 4,096
	Problems  []Problem
}

// A Tensor is one row of the tensor table.
type Tensor struct {
	Name       string
	Type       string // as ggml names it; "" if it has no name
	Shape      []uint64
	Start, End int64 // in the file; -1 if its range is none
}

const (
	maxKey      = 1 << 16 // as in the specification
	maxProblems = 100
	keptText    = 4096 // bytes kept of a text that is no template
	maxDims     = 4
	keptTensors = 4096
)

type reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	at    int64
	size  int64
	lim   bound.Limits
	m     *Model
	long  bool // counts and lengths have 64 bits
	check func() error
	steps int
}

// Open reads the structure. The model is valid as far as it goes.
func Open(ctx context.Context, src io.ReaderAt, size int64, lim bound.Limits) (*Model, error) {
	head := io.NewSectionReader(src, 0, min(size, lim.Header))
	r := &reader{
		r: bufio.NewReaderSize(expand.Watch(ctx, head), 64<<10), order: binary.LittleEndian,
		size: size, lim: lim, m: &Model{Alignment: 32}, check: ctx.Err,
	}
	err := r.read()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if size > lim.Header {
			err = fmt.Errorf("header of more than %d bytes: %w", lim.Header, detect.ErrLimit)
		} else {
			err = fmt.Errorf("the file ends inside its header at %d", r.at)
		}
	}
	return r.m, err
}

func (r *reader) problem(overflow bool, format string, args ...any) {
	if len(r.m.Problems) < maxProblems {
		r.m.Problems = append(r.m.Problems, Problem{r.at, fmt.Sprintf(format, args...), overflow})
	}
}

func (r *reader) step() error {
	if r.steps++; r.steps&4095 == 0 {
		return r.check()
	}
	return nil
}

func (r *reader) bytes(b []byte) error {
	n, err := io.ReadFull(r.r, b)
	r.at += int64(n)
	return err
}

func (r *reader) u32() (uint32, error) {
	var b [4]byte
	err := r.bytes(b[:])
	return r.order.Uint32(b[:]), err
}

func (r *reader) u64() (uint64, error) {
	var b [8]byte
	err := r.bytes(b[:])
	return r.order.Uint64(b[:]), err
}

// length reads a count or a length.
func (r *reader) length() (uint64, error) {
	if r.long {
		return r.u64()
	}
	n, err := r.u32()
	return uint64(n), err
}

func (r *reader) skip(n uint64) error {
	for n > 0 {
		if err := r.check(); err != nil {
			return err
		}
		k, err := r.r.Discard(int(min(n, 1<<20)))
		r.at += int64(k)
		n -= uint64(k)
		if err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether count items of at least size bytes can lie in the rest of
// the file.
func (r *reader) fits(what string, count, size uint64) bool {
	hi, need := bits.Mul64(count, size)
	if hi == 0 && need <= uint64(r.size-r.at) {
		return true
	}
	r.problem(hi != 0 || need > math.MaxInt64, "%s: %d items of %d bytes, %d bytes remain", what, count, size, r.size-r.at)
	return false
}

var errSizes = errors.New("a length in the header leads outside the file")

func (r *reader) read() error {
	if err := r.skip(4); err != nil {
		return err
	}
	v, err := r.u32()
	if err != nil {
		return err
	}
	if v&0xffff == 0 && v != 0 {
		r.order, r.m.BigEndian, v = binary.BigEndian, true, bits.ReverseBytes32(v)
	}
	if r.m.Version = int(v); v < 1 || v > 3 {
		return fmt.Errorf("GGUF version %d is not read: %w", v, detect.ErrLimit)
	}
	r.long = v >= 2
	tensors, err := r.length()
	if err != nil {
		return err
	}
	keys, err := r.length()
	if err != nil {
		return err
	}
	if !r.fits("keys", keys, 10) || !r.fits("tensors", tensors, 20) {
		return errSizes
	}
	for range keys {
		if err := r.pair(); err != nil {
			return err
		}
		r.m.Keys++
	}
	if a := r.m.Alignment; a == 0 || a&(a-1) != 0 {
		r.problem(false, "the alignment of %d is not a power of two", a)
		return errSizes
	}
	var list []tensor
	for range tensors {
		t, err := r.tensor()
		if err != nil {
			return err
		}
		list = append(list, t)
		r.m.Tensors++
	}
	r.data(list)
	return nil
}

// string reads a text of at most keep bytes and passes the rest.
func (r *reader) string(what string, keep uint64) (s string, at int64, whole bool, err error) {
	n, err := r.length()
	if err != nil {
		return "", 0, false, err
	}
	at = r.at
	if !r.fits(what, n, 1) {
		return "", at, false, errSizes
	}
	b := make([]byte, min(n, keep)) // keep is a constant or a limit
	if err := r.bytes(b); err != nil {
		return "", at, false, err
	}
	return string(b), at, n <= keep, r.skip(n - uint64(len(b)))
}

// sizes are the bytes of the value types; 0 has no fixed size.
var sizes = [...]uint64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

const (
	typeU32    = 4
	typeString = 8
	typeArray  = 9
	typeU64    = 10
)

func (r *reader) pair() error {
	if err := r.step(); err != nil {
		return err
	}
	key, at, whole, err := r.string("key", maxKey)
	if err != nil {
		return err
	}
	if !whole {
		r.problem(false, "a key at %d is longer than %d bytes", at, maxKey)
	}
	typ, err := r.u32()
	if err != nil {
		return err
	}
	switch {
	case typ == typeString:
		return r.text(key)
	case typ == typeArray:
		return r.array(key, 0)
	case typ >= uint32(len(sizes)):
		return fmt.Errorf("key %q has the unknown type %d", key, typ)
	case key == "general.alignment" && typ == typeU32:
		n, err := r.u32()
		r.m.Alignment = uint64(n)
		return err
	case key == "general.alignment" && typ == typeU64:
		r.m.Alignment, err = r.u64()
		return err
	}
	return r.skip(sizes[typ])
}

// text keeps a string value, whole if it is a template.
func (r *reader) text(key string) error {
	keep := uint64(keptText)
	if strings.Contains(key, "template") {
		keep = uint64(max(0, r.lim.String))
	}
	s, at, whole, err := r.string(key, keep)
	if err != nil {
		return err
	}
	if len(r.m.Texts) < r.lim.Members {
		r.m.Texts = append(r.m.Texts, Text{key, s, at, whole})
	}
	return nil
}

func (r *reader) array(key string, depth int) error {
	if depth > 8 {
		return fmt.Errorf("key %q: arrays nested more than 8 deep: %w", key, detect.ErrLimit)
	}
	typ, err := r.u32()
	if err != nil {
		return err
	}
	n, err := r.length()
	if err != nil {
		return err
	}
	switch {
	case typ == typeString:
		if !r.fits(key, n, 4) {
			return errSizes
		}
		template := strings.Contains(key, "template")
		for range n {
			if err := r.step(); err != nil {
				return err
			}
			if template {
				err = r.text(key)
			} else {
				_, _, _, err = r.string(key, 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case typ == typeArray:
		if !r.fits(key, n, 8) {
			return errSizes
		}
		for range n {
			if err := r.step(); err != nil {
				return err
			}
			if err := r.array(key, depth+1); err != nil {
				return err
			}
		}
		return nil
	case typ >= uint32(len(sizes)):
		return fmt.Errorf("key %q is an array of the unknown type %d", key, typ)
	}
	if !r.fits(key, n, sizes[typ]) {
		return errSizes
	}
	return r.skip(n * sizes[typ]) // the product fits
}
