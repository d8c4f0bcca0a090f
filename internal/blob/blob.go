// Package blob keeps immutable bytes by their digest. A [Store] hashes what it
// is given while it writes, under a temporary name, and gives it its final name
// only when it is whole, wanted and on disk: whoever finds a blob finds all of
// it. [Uploads] does the same for bytes that arrive in pieces, also across
// restarts.
//
// Drivers are leaves: dirblob (a folder). All pass blobtest.
package blob

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/modelwarden/warden"
)

// Errors to branch on.
var (
	ErrNotFound = errors.New("no such blob")            // also: no such upload
	ErrDigest   = errors.New("digest does not match")   // the bytes are not those announced
	ErrTooLarge = errors.New("too large")               // more bytes than the caller allows
	ErrNoSpace  = errors.New("no space left for blobs") // free space or use a larger volume, then repeat
	ErrOffset   = errors.New("wrong upload offset")     // ask Offset and send from there
)

// An Info is what a store knows about a blob.
type Info struct {
	Digest   warden.Digest
	Size     int64 // bytes
	Modified time.Time
}

// A Blob is open for reading. ReadAt may be called concurrently. Close it.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// A Store keeps whole blobs. It may be used concurrently.
type Store interface {
	// Put reads r to its end and keeps what it read. A want other than zero
	// must be its digest, else ErrDigest; more than maxBytes is ErrTooLarge.
	// Unless it returns nil, nothing is kept. Putting what is there already
	// renews its Modified time.
	Put(ctx context.Context, r io.Reader, want warden.Digest, maxBytes int64) (Info, error)
	// Open and Stat return an error wrapping ErrNotFound if there is no blob d.
	Open(ctx context.Context, d warden.Digest) (Blob, error)
	Stat(ctx context.Context, d warden.Digest) (Info, error)
	// Delete removes blob d. Blobs that are open stay readable. That there is
	// none is not an error.
	Delete(ctx context.Context, d warden.Digest) error
	// List returns at most limit blobs with a digest greater than after, in
	// order of digest; from the zero digest on, all.
	List(ctx context.Context, after warden.Digest, limit int) ([]Info, error)
}

// Uploads are blobs in the making. One upload is written by one caller at a
// time: a second one gets ErrOffset. Uploads that nobody touches for long are
// removed when the store is opened.
type Uploads interface {
	// Create begins an upload and returns its unguessable name.
	Create(ctx context.Context) (id string, err error)
	// Append adds what r gives at offset, which must be what Offset says, up to
	// maxBytes of the whole upload. It returns the new offset: what arrived
	// before r failed is kept and on disk.
	Append(ctx context.Context, id string, offset int64, r io.Reader, maxBytes int64) (int64, error)
	// Offset returns how many bytes the upload holds.
	Offset(ctx context.Context, id string) (int64, error)
	// Commit makes the upload a blob, as Put does, and ends it. After ErrDigest
	// the upload is gone.
	Commit(ctx context.Context, id string, want warden.Digest) (Info, error)
	// Abort forgets the upload. That there is none is not an error.
	Abort(ctx context.Context, id string) error
}
