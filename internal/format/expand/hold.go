// Package expand decompresses single streams within limits and holds the result
// for random access: in memory while it is small, in an unlinked temporary file
// when it is not.
package expand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// ErrBomb says that data expands beyond the permitted ratio or total. Callers
// branch on it to report an expansion bomb; it comes with [detect.ErrLimit].
var ErrBomb = errors.New("expansion bomb")

// Held is decompressed data. Close it after use.
type Held struct {
	Size int64

	mem  []byte
	file *os.File // unlinked; nil while the data fits into memory
	name string   // of file where it could not be unlinked while open
}

// ReadAt implements [io.ReaderAt].
func (h *Held) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > h.Size {
		return 0, io.EOF
	}
	if h.file != nil {
		return h.file.ReadAt(p, off)
	}
	n := copy(p, h.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close frees the temporary file, if there is one.
func (h *Held) Close() {
	h.mem = nil
	if h.file != nil {
		_ = h.file.Close() // nothing in it is to be kept
	}
	if h.name != "" {
		_ = os.Remove(h.name)
	}
}

// chunk is how much is decompressed between two looks at ctx and the limits.
const chunk = 64 << 10

// Hold reads r to its end; up to inMemory bytes stay in memory. The packed bytes it comes from bound the ratio. With
// an error it still returns what was read before, which a streaming loader
// would have used. The result is never nil.
func Hold(ctx context.Context, r io.Reader, packed, inMemory int64, b *bound.Budget) (*Held, error) {
	h, lim := &Held{}, b.Limits()
	buf := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return h, fmt.Errorf("stopped after %d decompressed bytes: %w", h.Size, err)
		}
		n, err := r.Read(buf)
		if n > 0 {
			if err := b.Expand(int64(n)); err != nil {
				return h, fmt.Errorf("%w: %w", ErrBomb, err)
			}
			if err := h.write(buf[:n], inMemory, lim.Spool); err != nil {
				return h, err
			}
			if h.Size > lim.RatioFrom && h.Size/max(packed, 1) >= lim.Ratio {
				return h, fmt.Errorf("%w: %d bytes expand to more than %d, over %d to 1: %w", ErrBomb, packed, h.Size, lim.Ratio, detect.ErrLimit)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return h, fmt.Errorf("after %d decompressed bytes: %w", h.Size, err)
		}
	}
}

func (h *Held) write(p []byte, inMemory int64, spool bool) error {
	if h.file == nil && h.Size+int64(len(p)) <= inMemory {
		h.mem = append(h.mem, p...)
		h.Size += int64(len(p))
		return nil
	}
	if h.file == nil {
		if !spool {
			return fmt.Errorf("member larger than %d bytes needs a temporary file, which --no-spool forbids: %w", inMemory, detect.ErrLimit)
		}
		if err := h.spool(); err != nil {
			return err
		}
	}
	n, err := h.file.Write(p)
	h.Size += int64(n)
	if err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	return nil
}

// spool moves what is held to a temporary file without a name.
func (h *Held) spool() error {
	f, err := os.CreateTemp("", "warden-member-*")
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		h.name = f.Name() // Windows removes no open file: Close does
	}
	h.file = f
	if _, err := f.Write(h.mem); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	h.mem = nil
	return nil
}
