// Package dirblob keeps blobs in a folder. A blob is written under a temporary
// name, hashed while it is written, flushed to disk and then renamed, and the
// folder is flushed too: a crash at any time leaves whole blobs and rubbish
// that Open sweeps, never half a blob under a final name.
//
// The folder belongs to one process. Layout:
//
//	sha256/ab/<62 more hex digits>   blobs
//	tmp/                             Put in progress
//	uploads/<id>/data, state         uploads in progress
package dirblob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// bufferBytes is how much is read, hashed and written at once.
const bufferBytes = 1 << 20

// A Config is what a [Store] needs.
type Config struct {
	Dir       string        // is made if it does not exist
	UploadAge time.Duration // uploads not touched for so long are swept by Open; 0 means 24 hours
	Now       func() time.Time
}

// A Store keeps blobs in a folder. It implements [blob.Store] and
// [blob.Uploads] and may be used concurrently.
type Store struct {
	dir       string
	now       func() time.Time
	uploadAge time.Duration

	// wrap is where tests make writing fail. It is not changed after Open.
	wrap func(io.Writer) io.Writer

	mu   sync.Mutex      // guards busy
	busy map[string]bool // uploads that are being written
}

// Open opens the store in a folder and removes what a crash left behind.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" || cfg.Now == nil {
		return nil, errors.New("open blob folder: a folder and a clock are required")
	}
	if cfg.UploadAge == 0 {
		cfg.UploadAge = 24 * time.Hour
	}
	s := &Store{dir: cfg.Dir, now: cfg.Now, uploadAge: cfg.UploadAge, wrap: func(w io.Writer) io.Writer { return w }, busy: map[string]bool{}}
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return nil, fmt.Errorf("sweep blob folder: %w", err)
	}
	for _, sub := range []string{"sha256", "tmp", "uploads"} {
		if err := os.MkdirAll(s.path(sub), 0o700); err != nil {
			return nil, fmt.Errorf("open blob folder: %w", err)
		}
	}
	if err := s.SweepUploads(); err != nil {
		return nil, err
	}
	return s, syncDir(s.dir)
}

// View returns a store for reading a folder that another process may be writing
// to: it makes, sweeps and changes nothing there.
func View(dir string) *Store { return &Store{dir: dir} }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// final returns the folder and path of blob d.
func (s *Store) final(d warden.Digest) (dir, path string) {
	name := hex.EncodeToString(d[:])
	dir = s.path("sha256", name[:2])
	return dir, filepath.Join(dir, name[2:])
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, r io.Reader, want warden.Digest, maxBytes int64) (info blob.Info, err error) {
	temp := s.path("tmp", rand.Text())
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return blob.Info{}, fmt.Errorf("put blob: %w", full(err))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("put blob: %w", err)
			_ = os.Remove(temp) // may be renamed already; Open sweeps what stays
		}
	}()
	h := sha256.New()
	n, err := s.pour(ctx, f, h, r, maxBytes)
	if err == nil {
		err = full(f.Sync())
	}
	if closeErr := f.Close(); err == nil {
		err = full(closeErr)
	}
	if err != nil {
		return blob.Info{}, err
	}
	return s.keep(temp, n, h, want)
}

// pour copies r to f and h. It returns how many bytes f got.
func (s *Store) pour(ctx context.Context, f io.Writer, h hash.Hash, r io.Reader, maxBytes int64) (int64, error) {
	var (
		n   int64
		buf = make([]byte, bufferBytes)
		w   = s.wrap(f)
	)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, readErr := r.Read(buf)
		if int64(k) > maxBytes-n {
			return n, fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, maxBytes)
		}
		if k > 0 {
			m, err := w.Write(buf[:k])
			h.Write(buf[:m])
			n += int64(m)
			if err != nil {
				return n, full(err)
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// keep gives a written and flushed file its final name.
func (s *Store) keep(temp string, size int64, h hash.Hash, want warden.Digest) (blob.Info, error) {
	got := warden.Digest(h.Sum(nil))
	if want != (warden.Digest{}) && got != want {
		return blob.Info{}, fmt.Errorf("%w: got %s (%d bytes), want %s", blob.ErrDigest, got, size, want)
	}
	dir, path := s.final(got)
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return blob.Info{}, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return blob.Info{}, full(err)
	}
	// Replaces a blob that is there already by the same bytes, which renews its
	// time and heals it if it was damaged.
	if err := os.Rename(temp, path); err != nil {
		return blob.Info{}, full(err)
	}
	if err := syncDir(dir); err != nil {
		return blob.Info{}, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Digest: got, Size: size, Modified: st.ModTime()}, nil
}

// full marks errors of a volume that has no space, or of a quota.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: free space on the volume of the data folder and repeat: %w", blob.ErrNoSpace, err)
	}
	return err
}

// syncDir flushes the entries of a folder. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(full(d.Sync()), d.Close())
}

// A file is an open blob.
type file struct {
	*os.File
	size int64
}

// Size implements [blob.Blob].
func (f file) Size() int64 { return f.size }

// Open implements [blob.Store].
func (s *Store) Open(_ context.Context, d warden.Digest) (blob.Blob, error) {
	_, path := s.final(d)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", d, missing(err))
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open blob %s: %w", d, err), f.Close())
	}
	return file{f, st.Size()}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(_ context.Context, d warden.Digest) (blob.Info, error) {
	_, path := s.final(d)
	st, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, fmt.Errorf("look up blob %s: %w", d, missing(err))
	}
	return blob.Info{Digest: d, Size: st.Size(), Modified: st.ModTime()}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(_ context.Context, d warden.Digest) error {
	dir, path := s.final(d)
	err := os.Remove(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return syncDir(dir)
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return blob.ErrNotFound
	}
	return err
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, after warden.Digest, limit int) ([]blob.Info, error) {
	var (
		out   []blob.Info
		start = hex.EncodeToString(after[:])
	)
	for first := int(after[0]); first < 256 && len(out) < limit; first++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		prefix := hex.EncodeToString([]byte{byte(first)})
		entries, err := os.ReadDir(s.path("sha256", prefix)) // sorted by name
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list blobs: %w", err)
		}
		for _, e := range entries {
			name := prefix + e.Name()
			d, err := warden.ParseDigest("sha256:" + name)
			if err != nil || name <= start || len(out) == limit {
				continue // not a blob, or not asked for
			}
			st, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("list blobs: %w", err)
			}
			out = append(out, blob.Info{Digest: d, Size: st.Size(), Modified: st.ModTime()})
		}
	}
	return out, nil
}
