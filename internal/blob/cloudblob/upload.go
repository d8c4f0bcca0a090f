package cloudblob

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
	"slices"
	"strings"
	"time"

	cloud "gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// A part of an upload holds so much at most: what a killed process loses.
const partBytes = 64 << 20

// keepTime is how long a part may take to be kept after its sender has gone.
const keepTime = time.Minute

// A state says which parts make up an upload, with the hash of them all. Two
// processes that append at once write parts of different names, and the state
// that is written last names parts of one of them only.
type state struct {
	Offset int64    `json:"offset"`
	Hash   []byte   `json:"hash"` // as crypto/sha256 marshals it
	Parts  []string `json:"parts"`
}

// maxStateBytes bounds a state: an upload of 1 TiB has 16,384 parts.
const maxStateBytes = 4 << 20

func stateKey(id string) string { return "uploads/" + id + "/state" }

func valid(id string) bool {
	return len(id) == len(rand.Text()) && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func (s *Store) load(ctx context.Context, id string) (x state, h hash.Hash, err error) {
	if !valid(id) {
		return x, nil, blob.ErrNotFound
	}
	r, err := s.bucket.NewReader(ctx, stateKey(id), nil)
	if err != nil {
		return x, nil, explain("look up upload", err)
	}
	defer r.Close() //nolint:errcheck // only read
	if r.Size() > maxStateBytes {
		return x, nil, fmt.Errorf("state of upload has %d bytes, at most %d", r.Size(), maxStateBytes)
	}
	if err := json.NewDecoder(io.LimitReader(r, maxStateBytes)).Decode(&x); err != nil {
		return x, nil, unavailable("look up upload", err)
	}
	h = sha256.New()
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return x, nil, errors.New("the hash cannot be continued")
	}
	return x, h, u.UnmarshalBinary(x.Hash)
}

func (s *Store) save(ctx context.Context, id string, x state, h hash.Hash) error {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return errors.New("the hash cannot be kept")
	}
	var err error
	if x.Hash, err = m.MarshalBinary(); err != nil {
		return err
	}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return explain("keep upload", s.bucket.WriteAll(ctx, stateKey(id), b, &cloud.WriterOptions{ContentType: "application/json"}))
}

// Create implements [blob.Uploads].
func (s *Store) Create(ctx context.Context) (string, error) {
	id := rand.Text()
	if err := s.save(ctx, id, state{}, sha256.New()); err != nil {
		return "", fmt.Errorf("create upload: %w", err)
	}
	return id, nil
}

// Offset implements [blob.Uploads].
func (s *Store) Offset(ctx context.Context, id string) (int64, error) {
	x, _, err := s.load(ctx, id)
	return x.Offset, err
}

// Append implements [blob.Uploads].
func (s *Store) Append(ctx context.Context, id string, offset int64, r io.Reader, maxBytes int64) (int64, error) {
	x, h, err := s.load(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	if offset != x.Offset {
		return x.Offset, fmt.Errorf("append to upload: %w: %d, the upload holds %d bytes", blob.ErrOffset, offset, x.Offset)
	}
	in := &ending{r: r}
	for !in.done {
		n, err := s.part(ctx, id, &x, h, in, maxBytes)
		if err != nil {
			return x.Offset, fmt.Errorf("append to upload: %w", err)
		}
		if n == 0 {
			break
		}
	}
	return x.Offset, nil
}

// part writes one part and the state with it. What arrived before in failed is
// kept, also when ctx has ended.
func (s *Store) part(ctx context.Context, id string, x *state, h hash.Hash, in *ending, maxBytes int64) (n int64, err error) {
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	key := fmt.Sprintf("uploads/%s/%016x-%s", id, x.Offset, rand.Text())
	w, err := s.bucket.NewWriter(keep, key, &cloud.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return 0, explain("write", err)
	}
	sent := make(chan struct{})
	defer close(sent)
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(keepTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-sent:
		}
	})
	defer stop()
	n, pourErr := pour(ctx, w, h, io.LimitReader(in, partBytes), maxBytes-x.Offset)
	if n == 0 {
		cancel() // nothing to keep
		_ = w.Close()
		return 0, pourErr
	}
	if err := w.Close(); err != nil {
		return 0, errors.Join(pourErr, explain("write", err))
	}
	next := state{Offset: x.Offset + n, Parts: append(slices.Clip(x.Parts), key)}
	if err := s.save(keep, id, next, h); err != nil {
		return 0, errors.Join(pourErr, err)
	}
	*x = next
	return n, pourErr
}

// ending remembers that a reader has ended.
type ending struct {
	r    io.Reader
	done bool
}

// Read implements [io.Reader].
func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.done = e.done || err != nil
	return n, err
}

// Commit implements [blob.Uploads].
func (s *Store) Commit(ctx context.Context, id string, want warden.Digest) (blob.Info, error) {
	x, h, err := s.load(ctx, id)
	if err != nil {
		return blob.Info{}, fmt.Errorf("commit upload: %w", err)
	}
	got := warden.Digest(h.Sum(nil))
	if want != (warden.Digest{}) && got != want {
		err = fmt.Errorf("commit upload: %w: got %s (%d bytes), want %s", blob.ErrDigest, got, x.Offset, want)
		return blob.Info{}, errors.Join(err, s.Abort(ctx, id))
	}
	if len(x.Parts) == 1 {
		err = s.move(ctx, x.Parts[0], got, x.Offset)
	} else { // read and hashed again
		_, err = s.Put(ctx, &parts{ctx: ctx, s: s, keys: x.Parts}, got, x.Offset)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("commit upload: %w", err)
	}
	info, err := s.written(ctx, got, x.Offset)
	return info, errors.Join(err, s.Abort(ctx, id))
}

// parts reads objects one after another.
type parts struct {
	ctx  context.Context //nolint:containedctx // lives for one Commit; io.Reader passes none
	s    *Store
	keys []string
	r    *cloud.Reader
}

// Read implements [io.Reader].
func (p *parts) Read(b []byte) (int, error) {
	for {
		if p.r == nil {
			if len(p.keys) == 0 {
				return 0, io.EOF
			}
			r, err := p.s.bucket.NewReader(p.ctx, p.keys[0], nil)
			if err != nil {
				return 0, explain("read part", err)
			}
			p.r, p.keys = r, p.keys[1:]
		}
		n, err := p.r.Read(b)
		if errors.Is(err, io.EOF) {
			err = p.r.Close()
			p.r = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Abort implements [blob.Uploads]. The state goes first: without it there is no
// upload.
func (s *Store) Abort(ctx context.Context, id string) error {
	if !valid(id) {
		return nil
	}
	if err := s.remove(ctx, stateKey(id)); err != nil {
		return err
	}
	return s.sweep(ctx, "uploads/"+id+"/", time.Time{})
}

// sweep removes objects below a prefix that are older than before, or all.
func (s *Store) sweep(ctx context.Context, prefix string, before time.Time) error {
	it := s.bucket.List(&cloud.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return explain("list uploads", err)
		}
		if !before.IsZero() && !o.ModTime.Before(before) {
			continue
		}
		if err := s.remove(ctx, o.Key); err != nil {
			return err
		}
	}
}

// SweepUploads removes uploads and unfinished objects that nobody has touched
// for a day.
func (s *Store) SweepUploads(ctx context.Context) error {
	before := s.now().Add(-uploadAge)
	ids := s.bucket.List(&cloud.ListOptions{Prefix: "uploads/", Delimiter: "/"})
	for {
		o, err := ids.Next(ctx)
		if errors.Is(err, io.EOF) {
			return s.sweep(ctx, "tmp/", before)
		}
		if err != nil {
			return explain("list uploads", err)
		}
		id := strings.Trim(strings.TrimPrefix(o.Key, "uploads/"), "/")
		a, err := s.bucket.Attributes(ctx, stateKey(id))
		switch {
		case err == nil && a.ModTime.Before(before):
			err = s.Abort(ctx, id)
		case gcerrors.Code(err) == gcerrors.NotFound: // parts of one that ended
			err = s.sweep(ctx, o.Key, before)
		}
		if err != nil {
			return explain("sweep uploads", err)
		}
	}
}
