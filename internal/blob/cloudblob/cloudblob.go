// Package cloudblob keeps blobs in a bucket of an S3 service. An object has its
// final name only when the service has all of it and its digest is right: what
// is written under an announced digest is hashed on the way, and cancelled
// before the service is told that it is whole if they differ; what nobody
// announced is written under a temporary name and copied.
//
// Several processes share a bucket. Layout, below the prefix of the address:
//
//	sha256/ab/<62 more hex digits>   blobs
//	tmp/<id>                         Put without a digest, in progress
//	uploads/<id>/<offset>            parts of uploads in progress, and "state"
//
// Keys of the service come from the environment as for every AWS program
// (AWS_ACCESS_KEY_ID, profiles, roles of machines).
package cloudblob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"strings"
	"time"

	cloud "gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

const (
	bufferBytes = 1 << 20
	copyMost    = 5 << 30 // S3 copies no larger object by itself
	uploadAge   = 24 * time.Hour
)

// A Config is what a [Store] needs.
type Config struct {
	URL string // s3://bucket?region=…&endpoint=…&use_path_style=true&prefix=…
	Now func() time.Time
}

// A Store keeps blobs in a bucket. It implements [blob.Store] and
// [blob.Uploads] and may be used concurrently. Close it.
type Store struct {
	bucket *cloud.Bucket
	now    func() time.Time
}

// Open connects to a bucket and looks whether it answers.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != s3blob.Scheme || u.Host == "" || cfg.Now == nil {
		return nil, fmt.Errorf("open blob bucket %q: want s3://bucket?region=…&endpoint=… and a clock", cfg.URL)
	}
	q := u.Query()
	prefix := strings.Trim(q.Get("prefix"), "/")
	q.Del("prefix")
	if !q.Has("response_checksum_validation") { // digests are ours; the client would write a warning for every answer without one
		q.Set("response_checksum_validation", "when_required")
	}
	u.RawQuery = q.Encode()
	bucket, err := (&s3blob.URLOpener{}).OpenBucketURL(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("open blob bucket %s: %w", u.Host, err)
	}
	if prefix != "" {
		bucket = cloud.PrefixedBucket(bucket, prefix+"/")
	}
	s := &Store{bucket: bucket, now: cfg.Now}
	if ok, err := bucket.IsAccessible(ctx); err != nil || !ok {
		if err == nil {
			err = errors.New("there is no such bucket, or it must not be read")
		}
		return nil, errors.Join(unavailable("open blob bucket "+u.Host, err), s.Close())
	}
	return s, nil
}

// Close ends the connection.
func (s *Store) Close() error { return s.bucket.Close() }

// unavailable explains an error of the service to a person.
func unavailable(doing string, err error) error {
	return &warden.Error{
		Code: warden.CodeUnavailable, Message: doing + ": the blob store does not answer as it should",
		Hint: "check that the S3 service runs, that storage.blobs names it, and the keys in the environment; then repeat", Err: err,
	}
}

// explain keeps what callers branch on and explains the rest.
func explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%s: %w", doing, blob.ErrNotFound)
	case gcerrors.Code(err) == gcerrors.ResourceExhausted:
		return fmt.Errorf("%s: %w: %w", doing, blob.ErrNoSpace, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	default:
		return unavailable(doing, err)
	}
}

// final returns the key of blob d.
func final(d warden.Digest) string {
	name := hex.EncodeToString(d[:])
	return "sha256/" + name[:2] + "/" + name[2:]
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, r io.Reader, want warden.Digest, maxBytes int64) (blob.Info, error) {
	key, temp := final(want), false
	if want == (warden.Digest{}) {
		key, temp = "tmp/"+rand.Text(), true
	}
	h := sha256.New()
	n, err := s.write(ctx, key, r, h, maxBytes, func() error {
		if got := warden.Digest(h.Sum(nil)); !temp && got != want {
			return fmt.Errorf("%w: got %s, want %s", blob.ErrDigest, got, want)
		}
		return nil
	})
	if err != nil {
		return blob.Info{}, fmt.Errorf("put blob: %w", err)
	}
	got := warden.Digest(h.Sum(nil))
	if temp {
		err := s.move(ctx, key, got, n)
		if err := errors.Join(err, s.remove(ctx, key)); err != nil {
			return blob.Info{}, fmt.Errorf("put blob: %w", err)
		}
	}
	return s.written(ctx, got, n)
}

// written looks at a blob that was written just now.
func (s *Store) written(ctx context.Context, d warden.Digest, n int64) (blob.Info, error) {
	info, err := s.Stat(ctx, d)
	if err == nil && info.Size != n {
		err = unavailable("put blob", fmt.Errorf("%s has %d bytes, %d were sent", d, info.Size, n))
	}
	return info, err
}

// write makes an object of what r gives, and hashes it. The object comes into
// being only if whole says nil after the last byte.
func (s *Store) write(ctx context.Context, key string, r io.Reader, h hash.Hash, maxBytes int64, whole func() error) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, key, &cloud.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return 0, explain("write", err)
	}
	n, err = pour(ctx, w, h, r, maxBytes)
	if err == nil {
		err = whole()
	}
	if err != nil {
		cancel() // nothing is kept
		_ = w.Close()
		return n, err
	}
	return n, explain("write", w.Close())
}

// pour copies r to w and h, at most maxBytes.
func pour(ctx context.Context, w io.Writer, h hash.Hash, r io.Reader, maxBytes int64) (n int64, err error) {
	buf := make([]byte, bufferBytes)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, readErr := r.Read(buf)
		if int64(k) > maxBytes-n {
			return n, fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, maxBytes)
		}
		if k > 0 {
			if _, err := w.Write(buf[:k]); err != nil {
				return n, explain("write", err)
			}
			h.Write(buf[:k])
			n += int64(k)
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// move gives an object of n bytes, whose digest is d, its final name too. One
// that is too large for the service to copy is read and hashed again.
func (s *Store) move(ctx context.Context, from string, d warden.Digest, n int64) error {
	if n <= copyMost {
		return explain("copy", s.bucket.Copy(ctx, final(d), from, nil))
	}
	r, err := s.bucket.NewReader(ctx, from, nil)
	if err != nil {
		return explain("copy", err)
	}
	defer r.Close() //nolint:errcheck // only read
	_, err = s.Put(ctx, r, d, n)
	return err
}

func (s *Store) remove(ctx context.Context, key string) error {
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return explain("delete "+key, err)
	}
	return nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, d warden.Digest) (blob.Info, error) {
	a, err := s.bucket.Attributes(ctx, final(d))
	if err != nil {
		return blob.Info{}, explain("look up blob "+d.String(), err)
	}
	return blob.Info{Digest: d, Size: a.Size, Modified: a.ModTime}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, d warden.Digest) error { return s.remove(ctx, final(d)) }

// List implements [blob.Store]. It asks for one first byte of digests after
// another, as the service cannot be asked to begin in the middle of all.
func (s *Store) List(ctx context.Context, after warden.Digest, limit int) ([]blob.Info, error) {
	var (
		out   []blob.Info
		start = hex.EncodeToString(after[:])
	)
	for first := int(after[0]); first < 256 && len(out) < limit; first++ {
		prefix := hex.EncodeToString([]byte{byte(first)})
		it := s.bucket.List(&cloud.ListOptions{Prefix: "sha256/" + prefix + "/"})
		for len(out) < limit {
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, explain("list blobs", err)
			}
			name := strings.ReplaceAll(strings.TrimPrefix(o.Key, "sha256/"), "/", "")
			d, err := warden.ParseDigest("sha256:" + name)
			if err != nil || name <= start {
				continue // not a blob, or not asked for
			}
			out = append(out, blob.Info{Digest: d, Size: o.Size, Modified: o.ModTime})
		}
	}
	return out, nil
}
