// Package torch7 walks files of the Lua Torch serialiser, in its binary and its
// ascii form. It keeps functions, names of classes and texts, and passes over
// numbers; nothing is evaluated.
//
// Source: File.lua, generic/Tensor.c and lib/TH/THDiskFile.c of Torch 7.
package torch7

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// ErrFormat says that bytes are not of this format.
var ErrFormat = errors.New("not a Torch object")

// A Function is a function of Lua, which loading compiles or undumps.
type Function struct {
	Start, End int64
	Code       []byte // bytecode or source; at most its first maxCode bytes
	Whole      bool
}

// A Text is a string value.
type Text struct {
	Value string
	At    int64
}

// A Doc is what a file holds.
type Doc struct {
	ASCII     bool
	Functions []Function
	Classes   []string // distinct, in order
	Texts     []Text
	Objects   int
	Size      int64 // of the object; what follows it is not read
}

// The types of objects.
const (
	isNil      = 0
	isNumber   = 1
	isString   = 2
	isTable    = 3
	isTorch    = 4
	isBoolean  = 5
	isFunction = 6 // without a reference
	isLegacy   = 7
	isClosure  = 8
)

const (
	maxDepth   = 500
	maxCode    = 64 << 10
	maxCodes   = 16 << 20 // bytes of all functions that are kept
	maxText    = 4 << 10
	maxTexts   = 10_000
	maxClasses = 1000
	maxName    = 256
)

// signature begins the bytecode of every Lua.
const signature = "\x1bL"

// Sniff reports whether head begins an object, and whether it is certain: an
// object of a class or a function, and not merely a table or a number.
func Sniff(head []byte) (maybe, certain, ascii bool) {
	for _, ascii := range []bool{false, true} {
		s := &source{b: head, ascii: ascii}
		kind, err := s.int()
		if err != nil || kind < isNil || kind > isClosure {
			continue
		}
		if kind != isTable && kind != isTorch && kind < isFunction {
			maybe = maybe || !ascii
			continue
		}
		if kind != isFunction {
			if index, err := s.int(); err != nil || index < 1 || index > 1<<20 {
				continue
			}
		}
		n, err := s.int()
		if err != nil || n < 0 {
			continue
		}
		if kind == isTable {
			next, err := s.int()
			if err == nil && next >= isNil && next <= isClosure || n == 0 {
				return true, false, ascii
			}
			continue
		}
		text := string(s.b[s.at:min(int64(len(s.b)), s.at+min(n, 64))])
		switch {
		case kind == isTorch && n >= 1 && n <= maxName && name(text):
			return true, true, ascii
		case kind >= isFunction && strings.HasPrefix(text, signature):
			return true, true, ascii
		}
	}
	return maybe, false, false
}

// name reports whether s is a version or the name of a class.
func name(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != ' ' {
			return false
		}
	}
	return strings.HasPrefix(s, "V ") || strings.ContainsRune(s, '.')
}

// Open walks the object. Numbers of type long have four or eight bytes, as the
// machine that wrote the file had them; the walk that ends well counts. The
// result is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, ascii bool, lim bound.Limits) (*Doc, error) {
	doc, err := walk(ctx, r, size, ascii, 8, lim)
	if ascii || err == nil && doc.Size == size || !errors.Is(err, ErrFormat) && err != nil {
		return doc, err
	}
	short, err2 := walk(ctx, r, size, ascii, 4, lim)
	if err2 == nil && short.Size == size {
		return short, nil
	}
	if len(short.Functions) > len(doc.Functions) { // no walk ends well: the worse one counts
		doc.Functions = short.Functions
	}
	return doc, err
}

func walk(ctx context.Context, r io.ReaderAt, size int64, ascii bool, long int, lim bound.Limits) (*Doc, error) {
	w := &walker{s: &source{r: r, size: size, ascii: ascii, long: long, check: ctx.Err}, doc: &Doc{ASCII: ascii}, seen: map[int64]bool{}, classes: map[string]bool{}, lim: lim}
	err := w.object(ctx, 0)
	if err == nil && ascii {
		w.s.space()
	}
	w.doc.Size = w.s.at
	return w.doc, err
}

type walker struct {
	s       *source
	doc     *Doc
	seen    map[int64]bool // objects read, by their index
	classes map[string]bool
	codes   int
	lim     bound.Limits
}

func (w *walker) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: "+format+": %w", append(append([]any{w.s.at}, args...), ErrFormat)...)
}

// object walks one object and what lies in it.
func (w *walker) object(ctx context.Context, depth int) error {
	if w.doc.Objects++; w.doc.Objects&1023 == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	if depth > maxDepth {
		return fmt.Errorf("byte %d: nested more than %d deep: %w", w.s.at, maxDepth, detect.ErrLimit)
	}
	kind, err := w.s.int()
	if err != nil {
		return err
	}
	switch kind {
	case isNil:
		return nil
	case isNumber:
		return w.s.double()
	case isBoolean:
		_, err := w.s.int()
		return err
	case isString:
		return w.text()
	case isFunction:
		return w.function(ctx, depth)
	case isTable, isTorch, isLegacy, isClosure:
	default:
		return w.bad("object of type %d", kind)
	}
	index, err := w.s.int()
	if err != nil || w.seen[index] {
		return err
	}
	if len(w.seen) >= w.lim.Memo {
		return fmt.Errorf("byte %d: more than %d objects: %w", w.s.at, w.lim.Memo, detect.ErrLimit)
	}
	w.seen[index] = true
	switch kind {
	case isTable:
		return w.table(ctx, depth)
	case isTorch:
		return w.torch(ctx, depth)
	default:
		return w.function(ctx, depth)
	}
}

func (w *walker) table(ctx context.Context, depth int) error {
	n, err := w.s.int()
	if err != nil {
		return err
	}
	for range n {
		for range 2 { // key and value
			if err := w.object(ctx, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// chars reads a text of which at most so many bytes are kept, and says where it
// lies.
func (w *walker) chars(keep int) (b []byte, start, end int64, err error) {
	n, err := w.s.int()
	if err != nil {
		return nil, 0, 0, err
	}
	if n < 0 || n > w.s.size-w.s.at {
		return nil, 0, 0, w.bad("text of %d bytes, %d remain", n, w.s.size-w.s.at)
	}
	start = w.s.at
	if b, err = w.s.chars(min(n, int64(keep))); err != nil {
		return nil, 0, 0, err
	}
	if err = w.s.skip(n - int64(len(b))); err != nil {
		return nil, 0, 0, err
	}
	end = w.s.at
	if n > 0 {
		w.s.newline()
	}
	return b, start, end, nil
}

func (w *walker) text() error {
	b, at, _, err := w.chars(maxText)
	if err != nil {
		return err
	}
	const least = 8 // shorter texts describe nothing
	if len(b) >= least && len(w.doc.Texts) < maxTexts {
		w.doc.Texts = append(w.doc.Texts, Text{string(b), at})
	}
	return nil
}

// function walks a function: its code, then the values that it holds.
func (w *walker) function(ctx context.Context, depth int) error {
	b, start, end, err := w.chars(maxCode)
	if err != nil {
		return err
	}
	if len(w.doc.Functions) >= w.lim.Members || w.codes+len(b) > maxCodes {
		return fmt.Errorf("byte %d: more functions than are kept: %w", start, detect.ErrLimit)
	}
	w.codes += len(b)
	w.doc.Functions = append(w.doc.Functions, Function{start, end, b, int64(len(b)) == end-start})
	return w.object(ctx, depth+1)
}

// torch walks an object of a class. Tensors and storages have a form of their
// own, other classes write a table.
func (w *walker) torch(ctx context.Context, depth int) error {
	class, _, _, err := w.chars(maxName)
	if err == nil && strings.HasPrefix(string(class), "V ") {
		class, _, _, err = w.chars(maxName)
	}
	if err != nil {
		return err
	}
	name := string(class)
	if !w.classes[name] {
		if len(w.doc.Classes) >= maxClasses {
			return fmt.Errorf("byte %d: more than %d classes: %w", w.s.at, maxClasses, detect.ErrLimit)
		}
		w.classes[name] = true
		w.doc.Classes = append(w.doc.Classes, name)
	}
	if kind, ok := strings.CutSuffix(name, "Storage"); ok && element[kind] != (number{}) {
		n, err := w.s.longs(1)
		if err != nil {
			return err
		}
		return w.s.numbers(n, element[kind])
	}
	if kind, ok := strings.CutSuffix(name, "Tensor"); ok && element[kind] != (number{}) {
		dims, err := w.s.int()
		if err != nil {
			return err
		}
		if dims < 0 || dims > 1000 {
			return w.bad("tensor of %d dimensions", dims)
		}
		for _, n := range []int64{dims, dims, 1} {
			if _, err := w.s.longs(n); err != nil {
				return err
			}
		}
	}
	return w.object(ctx, depth+1)
}

// A number is a type of elements. Those of one byte are written as such in the
// ascii form too, and those of type long are as wide as the writer had them.
type number struct {
	bytes     int64
	raw, long bool
}

// element has the types of elements, by the beginnings of their classes.
var element = map[string]number{
	"torch.Byte": {bytes: 1, raw: true}, "torch.Char": {bytes: 1, raw: true}, "torch.Short": {bytes: 2}, "torch.Int": {bytes: 4}, "torch.Float": {bytes: 4},
	"torch.Long": {bytes: 8, long: true}, "torch.Double": {bytes: 8}, "torch.Half": {bytes: 2}, "torch.Cuda": {bytes: 4}, "torch.CudaDouble": {bytes: 8},
	"torch.CudaHalf": {bytes: 2}, "torch.CudaByte": {bytes: 1, raw: true}, "torch.CudaChar": {bytes: 1, raw: true}, "torch.CudaShort": {bytes: 2}, "torch.CudaInt": {bytes: 4},
	"torch.CudaLong": {bytes: 8, long: true},
}
