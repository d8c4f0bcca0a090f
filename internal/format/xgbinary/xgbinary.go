// Package xgbinary walks the binary model files that XGBoost wrote before 3.1,
// with and without their mark. It checks every length, keeps the texts and
// passes over the trees.
//
// Source: src/learner.cc, src/gbm/gbtree_model.h and include/xgboost/tree_model.h
// of XGBoost 0.90 and 1.7.
package xgbinary

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

// ErrFormat says that bytes are not such a model.
var ErrFormat = errors.New("not a binary XGBoost model")

// A Text is a field of text.
type Text struct {
	Key, Value string
	At         int64
}

// A Model is what is kept of one file.
type Model struct {
	Booster string
	Trees   int
	Texts   []Text
	Size    int64 // of the model; what follows it is not read
}

// Sizes of the fixed parts, in bytes.
const (
	mark        = "binf"
	learnerSize = 136
	gbtreeSize  = 160
	linearSize  = 136
	treeSize    = 148
	nodeSize    = 20
	statSize    = 16
	maxText     = 64 << 10 // kept of one text
	maxName     = 64       // letters of an objective or a booster
)

var boosters = []string{"gbtree", "gblinear", "dart"}

// Sniff reports whether head begins such a model: the fixed part is followed by
// the names of an objective and of a booster.
func Sniff(head []byte) bool {
	if len(head) > 4 && string(head[:4]) == mark {
		head = head[4:]
	}
	if len(head) < learnerSize+8 {
		return false
	}
	rest := head[learnerSize:]
	for _, last := range []bool{false, true} {
		if len(rest) < 8 {
			return false
		}
		n := binary.LittleEndian.Uint64(rest)
		if n < 4 || n > maxName || uint64(len(rest)-8) < n {
			return false
		}
		name := string(rest[8 : 8+n])
		for _, c := range name {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != ':' && c != '_' {
				return false
			}
		}
		if last {
			return slices.Contains(boosters, name)
		}
		rest = rest[8+n:]
	}
	return false
}

// Open walks the model. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Model, error) {
	w := &walker{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10), size: size, lim: lim, m: &Model{}, check: ctx.Err}
	w.walk()
	w.m.Size = w.at
	return w.m, w.err
}

type walker struct {
	r     *bufio.Reader
	at    int64
	size  int64
	lim   bound.Limits
	m     *Model
	check func() error
	err   error // the first one; after it nothing is read
}

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("byte %d: "+format+": %w", append(append([]any{w.at}, args...), ErrFormat)...)
	}
}

// bytes reads a part of a size that the caller has bounded.
func (w *walker) bytes(n int64) []byte {
	b := make([]byte, n)
	if w.err != nil {
		return b
	}
	if w.err = w.check(); w.err != nil {
		return b
	}
	k, err := io.ReadFull(w.r, b)
	if w.at += int64(k); err != nil {
		w.fail("the model breaks off")
	}
	return b
}

func (w *walker) skip(n, each int64) {
	if w.err == nil && (n < 0 || n > (w.size-w.at)/each) {
		w.fail("%d elements of %d bytes, %d bytes remain", n, each, w.size-w.at)
	}
	for left := n * each; left > 0 && w.err == nil; {
		k, err := w.r.Discard(int(min(left, 1<<20)))
		left -= int64(k)
		if w.at += int64(k); err != nil {
			w.fail("the model breaks off")
		} else if w.err = w.check(); w.err != nil {
			return
		}
	}
}

func number(b []byte, at int) int64 { return int64(int32(binary.LittleEndian.Uint32(b[at:]))) }

// count reads a length of 64 bits and compares it with what remains.
func (w *walker) count(each int64) int64 {
	n := binary.LittleEndian.Uint64(w.bytes(8))
	if w.err == nil && n > uint64((w.size-w.at)/each) {
		w.fail("%d elements of %d bytes, %d bytes remain", n, each, w.size-w.at)
	}
	if w.err != nil {
		return 0
	}
	return int64(n)
}

// text reads a text and keeps it under the key.
func (w *walker) text(key string) string {
	n := w.count(1)
	at := w.at
	b := w.bytes(min(n, maxText))
	w.skip(n-int64(len(b)), 1)
	if w.err != nil {
		return ""
	}
	if key != "" {
		if len(w.m.Texts) >= w.lim.Members {
			w.err = fmt.Errorf("more than %d texts: %w", w.lim.Members, detect.ErrLimit)
			return ""
		}
		w.m.Texts = append(w.m.Texts, Text{key, string(b), at})
	}
	return string(b)
}

func (w *walker) walk() {
	head := w.bytes(min(4, w.size))
	if string(head) == mark {
		head = nil
	}
	learner := append(head, w.bytes(learnerSize-int64(len(head)))...)
	attributes, metrics := number(learner, 12) != 0, number(learner, 16) != 0
	objective := w.text("objective")
	w.m.Booster = w.text("")
	if w.err != nil {
		return
	}
	switch w.m.Booster {
	case "gbtree", "dart":
		w.trees()
		if w.m.Booster == "dart" && w.m.Trees > 0 {
			w.skip(w.count(4), 4)
		}
	case "gblinear":
		w.bytes(linearSize)
		w.skip(w.count(4), 4)
	default:
		w.fail("booster %.32q", w.m.Booster)
	}
	if attributes {
		for range w.count(16) {
			if w.err != nil {
				return
			}
			w.text(w.text(""))
		}
	}
	if objective == "count:poisson" && w.at < w.size {
		w.text("max_delta_step")
	}
	if metrics {
		for range w.count(8) {
			if w.err != nil {
				return
			}
			w.text("metric")
		}
	}
}

func (w *walker) trees() {
	model := w.bytes(gbtreeSize)
	trees, buffer, groups, leaves := number(model, 0), int64(binary.LittleEndian.Uint64(model[16:])), number(model, 24), number(model, 28)
	if trees < 0 || trees > (w.size-w.at)/treeSize {
		w.fail("%d trees, %d bytes remain", trees, w.size-w.at)
	}
	for range trees {
		tree := w.bytes(treeSize)
		nodes := number(tree, 4)
		w.skip(nodes, nodeSize+statSize)
		if number(tree, 20) != 0 {
			w.skip(w.count(4), 4)
		}
		if w.err != nil {
			return
		}
		w.m.Trees++
	}
	if trees > 0 {
		w.skip(trees, 4)
	}
	if buffer != 0 && w.at < w.size && groups >= 0 && leaves >= 0 && groups < 1<<20 && leaves < 1<<20 {
		n := buffer * max(1, groups) * (leaves + 1) // predictions that 0.4 kept
		if buffer > 0 && n > 0 && n <= (w.size-w.at)/8 {
			w.skip(n, 8)
		}
	}
}
