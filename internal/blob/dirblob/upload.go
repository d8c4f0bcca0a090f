package dirblob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// A state is how far an upload is known to be on disk, with the hash of so much
// of its data: each byte is hashed once, also across restarts. Data beyond it
// was not flushed in time and is cut off.
type state struct {
	Offset int64  `json:"offset"`
	Hash   []byte `json:"hash"` // as crypto/sha256 marshals it
}

// Create implements [blob.Uploads].
func (s *Store) Create(_ context.Context) (string, error) {
	id := rand.Text()
	if err := os.Mkdir(s.path("uploads", id), 0o700); err != nil {
		return "", fmt.Errorf("create upload: %w", full(err))
	}
	f, err := os.OpenFile(s.path("uploads", id, "data"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = s.saveState(id, 0, sha256.New())
	}
	if err == nil {
		err = syncDir(s.path("uploads"))
	}
	if err != nil {
		return "", fmt.Errorf("create upload: %w", full(err))
	}
	return id, nil
}

// take makes the caller the only writer of an upload.
func (s *Store) take(id string) (release func(), err error) {
	if len(id) != len(rand.Text()) || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return nil, blob.ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return nil, fmt.Errorf("%w: another request is writing this upload", blob.ErrOffset)
	}
	s.busy[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, id)
	}, nil
}

// Append implements [blob.Uploads].
func (s *Store) Append(ctx context.Context, id string, offset int64, r io.Reader, maxBytes int64) (now int64, err error) {
	release, err := s.take(id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	defer release()
	now, err = s.add(ctx, id, offset, r, maxBytes)
	if err != nil {
		return now, fmt.Errorf("append to upload: %w", err)
	}
	return now, nil
}

func (s *Store) add(ctx context.Context, id string, offset int64, r io.Reader, maxBytes int64) (int64, error) {
	at, h, err := s.loadState(id)
	if err != nil {
		return 0, err
	}
	if offset != at {
		return at, fmt.Errorf("%w: %d, the upload holds %d bytes", blob.ErrOffset, offset, at)
	}
	f, err := os.OpenFile(s.path("uploads", id, "data"), os.O_WRONLY, 0)
	if err != nil {
		return at, missing(err)
	}
	err = f.Truncate(at)
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return at, errors.Join(err, f.Close())
	}
	n, pourErr := s.pour(ctx, f, h, r, maxBytes-at)
	// Keep what arrived, whatever ended it.
	if err := errors.Join(full(f.Sync()), full(f.Close())); err != nil {
		return at, errors.Join(pourErr, err)
	}
	if err := s.saveState(id, at+n, h); err != nil {
		return at, errors.Join(pourErr, full(err))
	}
	return at + n, pourErr
}

// Offset implements [blob.Uploads].
func (s *Store) Offset(_ context.Context, id string) (int64, error) {
	release, err := s.take(id)
	if err != nil {
		return 0, fmt.Errorf("look up upload: %w", err)
	}
	defer release()
	at, _, err := s.loadState(id)
	if err != nil {
		return 0, fmt.Errorf("look up upload: %w", err)
	}
	return at, nil
}

// Commit implements [blob.Uploads].
func (s *Store) Commit(_ context.Context, id string, want warden.Digest) (blob.Info, error) {
	release, err := s.take(id)
	if err != nil {
		return blob.Info{}, fmt.Errorf("commit upload: %w", err)
	}
	defer release()
	at, h, err := s.loadState(id)
	if err != nil {
		return blob.Info{}, fmt.Errorf("commit upload: %w", err)
	}
	data := s.path("uploads", id, "data")
	st, err := os.Stat(data)
	if err != nil {
		return blob.Info{}, fmt.Errorf("commit upload: %w", missing(err))
	}
	switch {
	case st.Size() < at: // only a damaged file system loses what was flushed
		return blob.Info{}, errors.Join(fmt.Errorf("commit upload: %d bytes are on disk, want %d: send it again", st.Size(), at), s.drop(id))
	case st.Size() > at:
		if err := trim(data, at); err != nil {
			return blob.Info{}, fmt.Errorf("commit upload: %w", err)
		}
	}
	info, err := s.keep(data, at, h, want)
	if err != nil && !errors.Is(err, blob.ErrDigest) {
		return blob.Info{}, fmt.Errorf("commit upload: %w", err)
	}
	if dropErr := s.drop(id); err == nil {
		return info, dropErr
	}
	return blob.Info{}, fmt.Errorf("commit upload: %w", err)
}

// trim cuts a file off at size and flushes it.
func trim(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// Abort implements [blob.Uploads].
func (s *Store) Abort(_ context.Context, id string) error {
	release, err := s.take(id)
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("abort upload: %w", err)
	}
	defer release()
	return s.drop(id)
}

func (s *Store) drop(id string) error {
	if err := os.RemoveAll(s.path("uploads", id)); err != nil {
		return fmt.Errorf("remove upload: %w", err)
	}
	return nil
}

// maxStateBytes bounds a state file, which is some 200 bytes.
const maxStateBytes = 4096

func (s *Store) loadState(id string) (int64, hash.Hash, error) {
	f, err := os.Open(s.path("uploads", id, "state"))
	if err != nil {
		return 0, nil, missing(err)
	}
	defer f.Close() //nolint:errcheck // only read
	var (
		st state
		h  = sha256.New()
	)
	if err := json.NewDecoder(io.LimitReader(f, maxStateBytes)).Decode(&st); err != nil {
		return 0, nil, fmt.Errorf("state of upload: %w", err)
	}
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return 0, nil, errors.New("state of upload: the hash cannot be restored")
	}
	if err := u.UnmarshalBinary(st.Hash); err != nil {
		return 0, nil, fmt.Errorf("state of upload: %w", err)
	}
	return st.Offset, h, nil
}

func (s *Store) saveState(id string, offset int64, h hash.Hash) error {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return errors.New("state of upload: the hash cannot be kept")
	}
	sum, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	b, err := json.Marshal(state{offset, sum})
	if err != nil {
		return err
	}
	temp := s.path("uploads", id, "state.new")
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = s.wrap(f).Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path("uploads", id, "state")); err != nil {
		return err
	}
	return syncDir(filepath.Dir(temp))
}

// SweepUploads removes uploads that nobody touched for long, as Open does.
func (s *Store) SweepUploads() error {
	if err := s.sweepUploads(s.now().Add(-s.uploadAge)); err != nil {
		return fmt.Errorf("sweep uploads: %w", err)
	}
	return nil
}

// sweepUploads removes uploads that were not written since a time, and those
// that were never whole enough to be used. One that is being written stays.
func (s *Store) sweepUploads(since time.Time) error {
	entries, err := os.ReadDir(s.path("uploads"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		release, err := s.take(e.Name())
		if errors.Is(err, blob.ErrOffset) {
			continue // busy
		}
		st, statErr := os.Stat(s.path("uploads", e.Name(), "state"))
		if statErr != nil { // never whole, or being made now
			st, statErr = os.Stat(s.path("uploads", e.Name()))
		}
		var removeErr error
		if statErr == nil && !st.ModTime().After(since) {
			removeErr = os.RemoveAll(s.path("uploads", e.Name()))
		}
		if err == nil {
			release()
		}
		if removeErr != nil {
			return removeErr
		}
	}
	return nil
}
