package cloudblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// An open blob keeps the last windows that it read, as readers of formats jump
// between a few places and read little at each.
const (
	windowBytes = 1 << 20
	windowsKept = 8
)

type file struct {
	ctx  context.Context //nolint:containedctx // of Open: io.ReaderAt passes none, and a read must end with the caller's work
	s    *Store
	d    warden.Digest
	size int64

	mu      sync.Mutex // guards windows
	windows []window   // the last used last
}

type window struct {
	at   int64
	data []byte
}

// Open implements [blob.Store]. Reading ends with ctx. The beginning is read at
// once; other parts of a blob that is deleted meanwhile cannot be read any more
// and are errors, never other bytes.
func (s *Store) Open(ctx context.Context, d warden.Digest) (blob.Blob, error) {
	info, err := s.Stat(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", d, err)
	}
	f := &file{ctx: ctx, s: s, d: d, size: info.Size}
	if f.size > 0 {
		if _, err := f.window(0); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Size implements [blob.Blob].
func (f *file) Size() int64 { return f.size }

// Close implements [blob.Blob].
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.windows = nil
	return nil
}

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read blob: negative offset")
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= f.size {
			return n, io.EOF
		}
		rest := p[n:min(int64(len(p)), int64(n)+f.size-at)]
		if len(rest) >= windowBytes { // nothing to gain by keeping it
			if err := f.fetch(rest, at); err != nil {
				return n, err
			}
			n += len(rest)
			continue
		}
		w, err := f.window(at / windowBytes * windowBytes)
		if err != nil {
			return n, err
		}
		n += copy(rest, w.data[at-w.at:])
	}
	return n, nil
}

// window returns the window that begins at a multiple of windowBytes.
func (f *file) window(at int64) (window, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range f.windows {
		if w.at == at {
			f.windows = append(append(f.windows[:i:i], f.windows[i+1:]...), w)
			return w, nil
		}
	}
	w := window{at, make([]byte, min(windowBytes, f.size-at))}
	if err := f.fetch(w.data, at); err != nil {
		return w, err
	}
	if len(f.windows) == windowsKept {
		f.windows = f.windows[1:]
	}
	f.windows = append(f.windows, w)
	return w, nil
}

// fetch fills p with the bytes from at on. Fewer are an error.
func (f *file) fetch(p []byte, at int64) error {
	r, err := f.s.bucket.NewRangeReader(f.ctx, final(f.d), at, int64(len(p)), nil)
	if err != nil {
		return explain("read blob "+f.d.String(), err)
	}
	_, err = io.ReadFull(r, p)
	if err = errors.Join(err, r.Close()); err != nil {
		return unavailable("read blob "+f.d.String(), err)
	}
	return nil
}
