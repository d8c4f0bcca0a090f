// Package ubjson walks Universal Binary JSON, in which XGBoost writes models. It
// keeps short texts and passes over numbers.
//
// Source: the Universal Binary JSON specification, draft 12.
package ubjson

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// ErrFormat says that bytes are not Universal Binary JSON.
var ErrFormat = errors.New("not UBJSON")

// A Text is a text value and the key under which it lies.
type Text struct {
	Key, Value string
	At         int64
}

// A Doc is what a file holds.
type Doc struct {
	Keys  map[string]bool // of the two outermost levels
	Texts []Text
	Size  int64 // of the document; what follows it is not read
}

const (
	maxText  = 64 << 10 // bytes of a text that is kept
	maxTexts = 100_000
	maxKeys  = 10_000
)

// Sniff reports whether head begins an object with a key, as XGBoost writes it.
func Sniff(head []byte) bool {
	if len(head) < 11 || head[0] != '{' || head[1] != 'L' {
		return false
	}
	n := binary.BigEndian.Uint64(head[2:])
	return n > 0 && n < 256 && head[10] >= ' ' && head[10] < 0x7f
}

// Open walks the document. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Doc, error) {
	w := &walker{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10), size: size, lim: lim, doc: &Doc{Keys: map[string]bool{}}}
	t, err := w.byte()
	if err == nil {
		err = w.value(ctx, t, "", 0)
	}
	w.doc.Size = w.at
	return w.doc, err
}

type walker struct {
	r     *bufio.Reader
	at    int64
	size  int64
	lim   bound.Limits
	doc   *Doc
	steps int
}

func (w *walker) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: "+format+": %w", append(append([]any{w.at}, args...), ErrFormat)...)
}

func (w *walker) byte() (byte, error) {
	b, err := w.r.ReadByte()
	if err != nil {
		return 0, w.bad("the document breaks off")
	}
	w.at++
	return b, nil
}

// skip passes n bytes, which must be there.
func (w *walker) skip(n int64) error {
	if n < 0 || n > w.size-w.at {
		return w.bad("%d bytes, %d remain", n, w.size-w.at)
	}
	for left := n; left > 0; {
		k, err := w.r.Discard(int(min(left, 1<<20)))
		left -= int64(k)
		w.at += int64(k)
		if err != nil {
			return w.bad("the document breaks off")
		}
	}
	return nil
}

// width is how many bytes a value of a type has, or -1.
func width(t byte) int64 {
	switch t {
	case 'Z', 'N', 'T', 'F':
		return 0
	case 'i', 'U', 'C':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	}
	return -1
}

// length reads a type and a number that is not negative.
func (w *walker) length() (int64, error) {
	t, err := w.byte()
	if err != nil {
		return 0, err
	}
	n := width(t)
	if n < 1 || t == 'C' || t == 'd' || t == 'D' {
		return 0, w.bad("type %q in place of a length", t)
	}
	var b [8]byte
	for i := 8 - n; i < 8; i++ {
		if b[i], err = w.byte(); err != nil {
			return 0, err
		}
	}
	v := int64(binary.BigEndian.Uint64(b[:]))
	shift := uint(64 - 8*n)
	if t != 'U' {
		v = v << shift >> shift
	}
	if v < 0 {
		return 0, w.bad("length %d", v)
	}
	return v, nil
}

// text reads a length and the text, of which the beginning is returned.
func (w *walker) text() (string, error) {
	n, err := w.length()
	if err != nil {
		return "", err
	}
	if n > w.size-w.at {
		return "", w.bad("text of %d bytes, %d remain", n, w.size-w.at)
	}
	b := make([]byte, min(n, maxText))
	k, err := io.ReadFull(w.r, b)
	w.at += int64(k)
	if err != nil {
		return "", w.bad("the document breaks off")
	}
	return string(b), w.skip(n - int64(k))
}

func (w *walker) value(ctx context.Context, t byte, key string, depth int) error {
	if w.steps++; w.steps&4095 == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	if depth > w.lim.Nesting {
		return fmt.Errorf("byte %d: nested more than %d deep: %w", w.at, w.lim.Nesting, detect.ErrLimit)
	}
	if n := width(t); n >= 0 {
		return w.skip(n)
	}
	switch t {
	case 'S', 'H':
		at := w.at
		s, err := w.text()
		if err == nil && t == 'S' && s != "" {
			if len(w.doc.Texts) >= maxTexts {
				return fmt.Errorf("more than %d texts: %w", maxTexts, detect.ErrLimit)
			}
			w.doc.Texts = append(w.doc.Texts, Text{key, s, at})
		}
		return err
	case '[', '{':
		return w.container(ctx, t, key, depth+1)
	}
	return w.bad("unknown type %q", t)
}

// container walks an array or an object, with or without a common type and a
// count of its elements.
func (w *walker) container(ctx context.Context, open byte, key string, depth int) error {
	common, count := byte(0), int64(-1)
	t, err := w.byte()
	if err == nil && t == '$' {
		if common, err = w.byte(); err == nil {
			t, err = w.byte()
		}
		if err == nil && t != '#' {
			return w.bad("a type without a count")
		}
	}
	if err == nil && t == '#' {
		if count, err = w.length(); err == nil && open == '[' && width(common) >= 0 && common != 0 {
			if n := width(common); n > 0 && count > (w.size-w.at)/n {
				return w.bad("%d elements of %d bytes, %d bytes remain", count, n, w.size-w.at)
			}
			return w.skip(count * width(common))
		}
		if err == nil && count > w.size-w.at {
			return w.bad("%d elements, %d bytes remain", count, w.size-w.at)
		}
	}
	for i := int64(0); err == nil && i != count; i++ {
		if i&4095 == 4095 && ctx.Err() != nil {
			return ctx.Err()
		}
		if count >= 0 && (open == '{' || common == 0) || count < 0 && i > 0 {
			if t, err = w.byte(); err != nil {
				return err
			}
		}
		switch {
		case t == 'N' && count < 0:
			continue
		case count < 0 && t == ']' && open == '[', count < 0 && t == '}' && open == '{':
			return nil
		case open == '{':
			if err = w.r.UnreadByte(); err != nil {
				return w.bad("the document breaks off")
			}
			w.at--
			if key, err = w.text(); err != nil {
				return err
			}
			if depth <= 2 && len(w.doc.Keys) < maxKeys {
				w.doc.Keys[key] = true
			}
			if t = common; common == 0 {
				if t, err = w.byte(); err != nil {
					return err
				}
			}
		case common != 0:
			t = common
		}
		err = w.value(ctx, t, key, depth)
	}
	return err
}
