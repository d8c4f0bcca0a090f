package gateway

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Bounds of what runs at once. They keep one key, or many with large bodies,
// from taking the memory and the audit places of all others.
const (
	maxRunning = recordPlaces / 4 // exchanges of all keys; each takes two places
	maxPerKey  = maxRunning / 2
	maxHeld    = 1 << 30   // bytes of requests and answers in memory
	heldPiece  = 128 << 10 // is taken of it at once
)

var (
	errLarge = errors.New("body too large")
	errBusy  = errors.New("no memory for more bodies right now")
)

// A load counts what runs. It is safe for concurrent use.
type load struct {
	bytes *semaphore.Weighted

	mu   sync.Mutex // guards the fields below
	all  int
	keys map[string]int // running exchanges by key; none with zero
}

func newLoad() *load { return &load{bytes: semaphore.NewWeighted(maxHeld), keys: map[string]int{}} }

// enter counts one more exchange of a key, or returns why that is too many.
func (l *load) enter(key string) *refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.keys[key] >= maxPerKey:
		return &refusal{status: 429, code: "too_many_requests", message: fmt.Sprintf("this key has %d requests running", maxPerKey)}
	case l.all >= maxRunning:
		return &refusal{status: 503, code: "busy", message: "the gateway cannot take more requests right now"}
	}
	l.all++
	l.keys[key]++
	return nil
}

func (l *load) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.keys[key]--; l.keys[key] == 0 {
		delete(l.keys, key)
	}
}

// read reads r to its end, at most limit bytes. Memory is taken as bytes come,
// whatever was announced; release gives it back and may be called always. The
// error wraps errLarge, errBusy, or is that of r.
func (l *load) read(r io.Reader, size, limit int64) (body []byte, release func(), err error) {
	var held int64
	release = func() {
		l.bytes.Release(held)
		held = 0
	}
	first := int64(4 << 10)
	if size >= 0 {
		first = size + 1 // with room to see that nothing follows
	}
	body = make([]byte, 0, min(first, heldPiece))
	for {
		if int64(cap(body)) > held {
			if !l.bytes.TryAcquire(heldPiece) {
				return nil, release, errBusy
			}
			held += heldPiece
		}
		n, err := r.Read(body[len(body):min(int64(cap(body)), held)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, release, fmt.Errorf("%w: more than %d bytes", errLarge, limit)
		case errors.Is(err, io.EOF):
			return body, release, nil
		case err != nil:
			return nil, release, err
		case int64(len(body)) == min(int64(cap(body)), held):
			body = slices.Grow(body, min(len(body)+1, heldPiece))
		}
	}
}
