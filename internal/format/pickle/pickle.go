// Package pickle simulates the pickle machine of CPython symbolically. It
// executes nothing, imports nothing and has no opinion: it tells what a loader
// would look up, call, patch and build, each with the bytes that cause it.
package pickle

import (
	"context"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Stream is what one pickle stream does when it is loaded.
type Stream struct {
	Path       string // "" for a top-level stream, "#2" for the second of a stack, "@512" for a folded inner one
	Start, End int64  // half-open, in the innermost file
	Protocol   int
	Stopped    bool // the STOP opcode was reached
}

// Sniff reports whether the bytes are one or more pickles: a PROTO opcode, or a
// trial run that reaches a stack effect or STOP.
func Sniff(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) bool { return false }

// Open runs every stream of a file: stacked ones, the five of a legacy torch
// file, those that a stream itself would load. What could not be read is in the
// statuses; streams before it are valid.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) ([]*Stream, []detect.Status) {
	return nil, nil
}
