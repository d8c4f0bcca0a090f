// Package rdata walks serialised R objects: the trees of RDS and RData files.
// It evaluates nothing and passes over numbers.
//
// Source: R Internals, section 1.8, and src/main/serialize.c of R 4.4.
package rdata

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// ErrFormat says that bytes are not a serialised R object.
var ErrFormat = errors.New("not serialised R")

// A Promise is an expression whose value R computes when it is first used.
type Promise struct {
	At      int64
	Symbols []string // names in the expression
}

// A Tree is what a file holds.
type Tree struct {
	Version  int
	Promises []Promise // those without a value
	Closures int
	Calls    int // language objects
	Bytecode int
	External int      // pointers and weak references
	Symbols  []string // distinct names, in order
	Items    int
	Size     int64 // of the object; what follows it is not read
	seen     map[string]bool
}

// The types of items.
const (
	symbol    = 1
	pairs     = 2
	closure   = 3
	env       = 4
	promise   = 5
	language  = 6
	special   = 7
	builtin   = 8
	char      = 9
	logical   = 10
	integer   = 13
	real      = 14
	complexes = 15
	text      = 16
	dots      = 17
	list      = 19
	expr      = 20
	bytecode  = 21
	pointer   = 22
	weak      = 23
	raw       = 24
	object    = 25

	altrep     = 238
	attrList   = 239
	attrLang   = 240
	bcRef      = 243
	bcDef      = 244
	persistent = 247
	pack       = 248
	namespace  = 249
	unbound    = 252
	reference  = 255
)

const (
	maxDepth   = 1000
	maxSymbols = 10_000
	maxName    = 256
)

// The forms, by their first letter: big-endian, text, and as the machine of the
// writer had it, which is little-endian nowadays.
const (
	xdr    = 'X'
	ascii  = 'A'
	native = 'B'
)

// Sniff returns where the object begins: behind the mark of RData files, at the
// mark of one of the forms. It returns -1 for other files.
func Sniff(head []byte) int {
	at := 0
	if len(head) > 5 && string(head[:2]) == "RD" && (head[2] == xdr || head[2] == ascii || head[2] == native) && (head[3] == '2' || head[3] == '3') && head[4] == '\n' {
		at = 5
	}
	if len(head) < at+12 || head[at+1] != '\n' {
		return -1
	}
	version := uint32(0)
	switch h := head[at+2:]; head[at] {
	case xdr:
		version = binary.BigEndian.Uint32(h)
	case native:
		version = binary.LittleEndian.Uint32(h)
	case ascii:
		if h[1] == '\n' && h[2] >= '0' && h[2] <= '9' {
			version = uint32(h[0]) - '0'
		}
	}
	if version == 2 || version == 3 {
		return at
	}
	return -1
}

// Open walks the object that begins at a place. The tree is valid as far as it
// goes.
func Open(ctx context.Context, r io.ReaderAt, start, size int64, lim bound.Limits) (*Tree, error) {
	w := &walker{
		r: bufio.NewReaderSize(io.NewSectionReader(r, start, size-start), 64<<10), at: start, size: size, lim: lim,
		t: &Tree{seen: map[string]bool{}},
	}
	err := w.header()
	if err == nil {
		_, err = w.item(ctx, 0)
	}
	w.t.Size = w.at - start
	return w.t, err
}

type walker struct {
	r      *bufio.Reader
	form   byte
	at     int64
	size   int64
	lim    bound.Limits
	t      *Tree
	inside []int    // promises whose expression is being walked, as indexes
	refs   []string // what references name: of symbols their name
}

func (w *walker) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: "+format+": %w", append(append([]any{w.at}, args...), ErrFormat)...)
}

func (w *walker) int() (int32, error) {
	if w.form == ascii {
		return w.written()
	}
	var b [4]byte
	n, err := io.ReadFull(w.r, b[:])
	w.at += int64(n)
	if err != nil {
		return 0, w.bad("the object breaks off")
	}
	if w.form == native {
		return int32(binary.LittleEndian.Uint32(b[:])), nil
	}
	return int32(binary.BigEndian.Uint32(b[:])), nil
}

// length reads a length and compares it with what remains, if its elements have
// at least size bytes each.
func (w *walker) length(size int64) (int64, error) {
	n, err := w.int()
	long := int64(n)
	if w.form == ascii {
		size = min(size, 2) // a digit and a line break
	}
	if err == nil && n == -1 {
		var hi, lo int32
		if hi, err = w.int(); err == nil {
			lo, err = w.int()
		}
		long = int64(hi)<<32 | int64(uint32(lo))
	}
	if err == nil && (long < 0 || long > (w.size-w.at)/size) {
		err = w.bad("%d elements of %d bytes, %d bytes remain", long, size, w.size-w.at)
	}
	return long, err
}

func (w *walker) skip(n int64) error {
	for n > 0 {
		k, err := w.r.Discard(int(min(n, 1<<20)))
		n -= int64(k)
		w.at += int64(k)
		if err != nil {
			return w.bad("the object breaks off")
		}
	}
	return nil
}

func (w *walker) header() error {
	form, err := w.r.ReadByte()
	if w.at++; err != nil {
		return w.bad("the object breaks off")
	}
	w.form = form
	if err := w.skip(1); err != nil {
		return err
	}
	v, err := w.int()
	if err != nil || v != 2 && v != 3 {
		return w.bad("version %d", v)
	}
	w.t.Version = int(v)
	for range 2 { // versions of R
		if _, err := w.int(); err != nil {
			return err
		}
	}
	if v == 3 {
		_, err = w.chars()
	}
	return err
}

// name keeps a symbol, and ties it to the promises around it.
func (w *walker) name(s string) error {
	for _, i := range w.inside {
		p := &w.t.Promises[i]
		if len(p.Symbols) < 64 && !slices.Contains(p.Symbols, s) {
			p.Symbols = append(p.Symbols, s)
		}
	}
	if w.t.seen[s] {
		return nil
	}
	if len(w.t.Symbols) >= maxSymbols {
		return fmt.Errorf("more than %d names: %w", maxSymbols, detect.ErrLimit)
	}
	w.t.seen[s] = true
	w.t.Symbols = append(w.t.Symbols, s)
	return nil
}

// refer adds to the table of references.
func (w *walker) refer(name string) error {
	if len(w.refs) >= 1_000_000 {
		return fmt.Errorf("more than %d references: %w", len(w.refs), detect.ErrLimit)
	}
	w.refs = append(w.refs, name)
	return nil
}

// chars reads the text of a CHARSXP after its flags.
func (w *walker) chars() (string, error) {
	n, err := w.int()
	if err != nil || n == -1 {
		return "", err
	}
	if n < 0 || int64(n) > w.size-w.at {
		return "", w.bad("text of %d bytes, %d remain", n, w.size-w.at)
	}
	if w.form == ascii {
		return w.escaped(int64(n))
	}
	b := make([]byte, min(n, maxName))
	k, err := io.ReadFull(w.r, b)
	w.at += int64(k)
	if err != nil {
		return "", w.bad("the object breaks off")
	}
	return string(b), w.skip(int64(n) - int64(k))
}
