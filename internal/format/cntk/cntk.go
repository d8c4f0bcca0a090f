// Package cntk reads the names in models of the Microsoft Cognitive Toolkit:
// version 2 is a dictionary in protobuf, version 1 a sequence of UTF-16 marks and
// numbers of which only the texts are listed.
//
// Source: CNTK.proto, UserDefinedFunction and Serialization.cpp of CNTK 2.7, and
// File.cpp of CNTK 1.
package cntk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/wire"
)

// Magic begins a model of version 1: "BCN" in UTF-16.
const Magic = "B\x00C\x00N\x00"

// errFull ends a walk that has seen enough.
var errFull = errors.New("enough")

// short is how much of a text is kept.
const short = 4096

// marks are keys that only the dictionary of a model has at its top.
var marks = map[string]bool{"primitive_functions": true, "root_uid": true, "root": true, "uid": true, "inputs": true}

// Sniff reports whether the file is the dictionary of a model: a version, and
// entries of which several have the names that a model has.
func Sniff(ctx context.Context, r io.ReaderAt, size int64) bool {
	d := wire.NewReader(r, size)
	hits, strange, fields := 0, false, 0
	err := d.Each(ctx, 0, size, func(f wire.Field) error {
		switch {
		case f.Num == 1 && f.Type == wire.Varint && f.Value < 100:
		case f.Num == 2 && f.Type == wire.Bytes:
			key, err := entryKey(ctx, d, f)
			if err != nil {
				return err
			}
			if marks[key] {
				hits++
			}
		default:
			strange = true
		}
		if fields++; strange || fields > 1000 {
			return errFull
		}
		return nil
	})
	return !strange && hits >= 2 && (err == nil || errors.Is(err, errFull))
}

func entryKey(ctx context.Context, d *wire.Reader, e wire.Field) (key string, err error) {
	err = d.Each(ctx, e.Start, e.End, func(f wire.Field) (err error) {
		if f.Num == 1 && f.Type == wire.Bytes {
			key, err = d.Text(f, 256)
		}
		return err
	})
	return key, err
}

// keys say what a text of a dictionary is.
var keys = map[string]named.Kind{
	"module": named.Python, "deserialize_method": named.Python, "class": named.Python, "udf_module": named.Python, "factory": named.Python,
	"library": named.Library, "library_name": named.Library, "native_library": named.Library,
	"path": named.File, "file": named.File, "filename": named.File, "file_path": named.File,
}

type walker struct {
	d    *wire.Reader
	lim  bound.Limits
	list *named.List
	deep bool
}

// Open walks the dictionary of a model. The list is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*named.List, error) {
	w := &walker{d: wire.NewReader(r, size), lim: lim, list: named.NewList(lim)}
	err := w.dictionary(ctx, wire.Field{Type: wire.Bytes, End: size}, 0)
	if w.deep {
		err = errors.Join(err, fmt.Errorf("values nested more than %d deep were not read: %w", lim.Nesting, detect.ErrLimit))
	}
	return w.list, errors.Join(err, w.list.Err())
}

func (w *walker) dictionary(ctx context.Context, m wire.Field, depth int) error {
	return w.d.Each(ctx, m.Start, m.End, func(e wire.Field) error {
		if e.Num != 2 || e.Type != wire.Bytes {
			return nil
		}
		key, err := entryKey(ctx, w.d, e)
		if err != nil {
			return err
		}
		return w.d.Each(ctx, e.Start, e.End, func(f wire.Field) error {
			if f.Num != 2 || f.Type != wire.Bytes {
				return nil
			}
			return w.value(ctx, key, f, depth+1)
		})
	})
}

func (w *walker) value(ctx context.Context, key string, v wire.Field, depth int) error {
	if depth > w.lim.Nesting {
		w.deep = true
		return nil
	}
	return w.d.Each(ctx, v.Start, v.End, func(f wire.Field) error {
		switch {
		case f.Num == 3 && f.Type == wire.Varint && key == "native" && f.Value != 0:
			w.list.Add(named.Item{Kind: named.Custom, Key: key, Value: "native user-defined function", Start: v.Start, End: v.End})
		case f.Type != wire.Bytes:
		case f.Num == 8:
			text, err := w.d.Text(f, short)
			w.add(key, text, f.Start, f.End)
			return err
		case f.Num == 11: // a vector
			return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
				if f.Num != 1 || f.Type != wire.Bytes {
					return nil
				}
				return w.value(ctx, key, f, depth+1)
			})
		case f.Num == 12:
			return w.dictionary(ctx, f, depth+1)
		}
		return nil
	})
}

// add keeps a text of a dictionary as what its key and its own form say.
func (w *walker) add(key, text string, start, end int64) {
	kind, ok := keys[key]
	switch {
	case text == "":
		return
	case !ok && native(text):
		kind = named.Library
	case !ok && (key == "type" || key == "op") && strings.HasPrefix(text, "UserDefined"):
		kind = named.Custom
	case kind == named.File && native(text):
		kind = named.Library
	}
	w.list.Add(named.Item{Kind: kind, Key: key, Value: text, Start: start, End: end})
}

// native reports whether a text names a native library.
func native(text string) bool {
	switch strings.ToLower(path.Ext(text)) {
	case ".dll", ".so", ".dylib", ".pyd":
		return !strings.ContainsAny(text, "\n\r")
	}
	return false
}

const (
	least   = 4         // letters of a text of version 1 that is kept
	maxScan = 512 << 20 // bytes of a model of version 1 that are looked through
	chunk   = 256 << 10
)

// OpenV1 lists the texts of a model of version 1: runs of letters in UTF-16, as
// the writer leaves them between numbers. Those that are no more than a name are
// left out.
func OpenV1(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*named.List, error) {
	list := named.NewList(lim)
	buf := make([]byte, chunk)
	var text [2][]byte // of even and of odd bytes
	var start [2]int64
	flush := func(k int, end int64) {
		if len(text[k]) >= least {
			keep(list, string(text[k]), start[k], end)
		}
		text[k] = text[k][:0]
	}
	last := byte(0)
	end := min(size, maxScan)
	for off := int64(0); off < end; {
		if err := ctx.Err(); err != nil {
			return list, err
		}
		n, err := r.ReadAt(buf[:min(chunk, end-off)], off)
		if n == 0 {
			return list, fmt.Errorf("read at %d: %w", off, err)
		}
		for i, c := range buf[:n] { // a letter and a zero, on each of the two alignments
			at := off + int64(i)
			k := int(at+1) & 1 // where the letter before lies
			if at == 0 {
				last = c
				continue
			}
			if c != 0 || last < ' ' || last > '~' || len(text[k]) >= short {
				flush(k, at-1)
			} else {
				if len(text[k]) == 0 {
					start[k] = at - 1
				}
				text[k] = append(text[k], last)
			}
			last = c
		}
		off += int64(n)
	}
	flush(0, end)
	flush(1, end)
	if size > maxScan {
		return list, fmt.Errorf("only the first %d bytes were looked through: %w", int64(maxScan), detect.ErrLimit)
	}
	return list, list.Err()
}

// keep keeps a text of version 1 if it may be more than the name of a node.
func keep(list *named.List, text string, start, end int64) {
	kind := named.Text
	switch {
	case native(text):
		kind = named.Library
	case strings.HasPrefix(text, "UserDefined"):
		kind = named.Custom
	case !strings.ContainsAny(text, ` /\;|$(`):
		return
	}
	list.Add(named.Item{Kind: kind, Key: "text", Value: text, Start: start, End: end})
}
