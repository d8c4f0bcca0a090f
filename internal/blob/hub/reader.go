package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// blockSize is how much one request reads at least: readers ask for small
// pieces near one another.
const blockSize = 256 << 10

// maxBlocks bounds what one Reader remembers, the newest first.
const maxBlocks = 64

// A Reader reads ranges of one file of a commit. It is safe for concurrent use;
// requests are sent one at a time.
type Reader struct {
	ctx     context.Context //nolint:containedctx // io.ReaderAt has none; a Reader lives for one scan of one file
	client  *Client
	address string
	size    int64

	mu      sync.Mutex // guards the fields below
	etag    string
	blocks  map[int64][]byte
	order   []int64
	fetched int64
}

// Open returns a Reader of a file of a listing. It sends no request yet.
func (c *Client) Open(ctx context.Context, l Listing, f File) *Reader {
	parts := strings.Split(f.Path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return &Reader{
		ctx: ctx, client: c, size: f.Size, blocks: map[int64][]byte{},
		address: c.Base + "/" + l.Ref.ID + "/resolve/" + l.Commit + "/" + strings.Join(parts, "/"),
	}
}

// Fetched returns how many bytes came over the network.
func (r *Reader) Fetched() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetched
}

// ReadAt implements [io.ReaderAt].
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		b, err := r.block(at / blockSize)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[at%blockSize:])
	}
	return n, nil
}

// block returns block i, from memory or from the hub.
func (r *Reader) block(i int64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.blocks[i]; ok {
		return b, nil
	}
	b, err := r.fetch(i*blockSize, min((i+1)*blockSize, r.size))
	if err != nil {
		return nil, err
	}
	if len(r.order) == maxBlocks {
		delete(r.blocks, r.order[0])
		r.order = r.order[1:]
	}
	r.blocks[i], r.order = b, append(r.order, i)
	return b, nil
}

// fetch reads bytes [start, end). A hub that does not answer ranges, and a file
// that is not what it was, are errors: nothing is guessed.
func (r *Reader) fetch(start, end int64) ([]byte, error) {
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", start, end-1)}}
	if r.etag != "" {
		header.Set("If-Range", r.etag)
	}
	resp, err := r.client.get(r.ctx, r.address, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	etag := resp.Header.Get("ETag")
	switch {
	case resp.StatusCode == http.StatusOK && start == 0 && end == r.size:
	case resp.StatusCode == http.StatusOK && r.etag != "":
		return nil, ErrChanged
	case resp.StatusCode == http.StatusOK:
		return nil, fmt.Errorf("%w: it does not answer range requests", ErrAnswer)
	case resp.StatusCode != http.StatusPartialContent:
		return nil, fmt.Errorf("%w: status %s", ErrAnswer, resp.Status)
	case resp.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", start, end-1, r.size):
		return nil, fmt.Errorf("%w: Content-Range %.80q, want bytes %d-%d/%d", ErrAnswer, resp.Header.Get("Content-Range"), start, end-1, r.size)
	}
	if r.etag != "" && etag != r.etag {
		return nil, ErrChanged
	}
	if strings.HasPrefix(etag, `"`) { // only strong tags may stand in If-Range
		r.etag = etag
	}
	b := make([]byte, end-start) // at most one block
	n, err := io.ReadFull(resp.Body, b)
	r.fetched += int64(n)
	if err != nil {
		return nil, fmt.Errorf("%w: %d of %d bytes: %w", ErrAnswer, n, len(b), err)
	}
	return b, nil
}
