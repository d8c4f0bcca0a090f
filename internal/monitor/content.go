package monitor

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
)

// A Mode says what is kept of what an exchange says.
type Mode string

// The modes. The zero Mode keeps nothing.
const (
	Redacted Mode = "redacted" // as it left, in both directions: without what guards took out
	Full     Mode = "full"     // as it came
)

// A Content is what an exchange said. It is kept encrypted, and only where its
// route says so.
type Content struct {
	Request string          `json:"request"` // id of the exchange
	Route   string          `json:"route"`
	Mode    Mode            `json:"mode"`
	At      time.Time       `json:"at"`
	Until   time.Time       `json:"until"` // it is deleted then
	Asked   json.RawMessage `json:"asked,omitempty"`
	Said    string          `json:"said,omitempty"` // the body of the answer, or its stream
	Cut     bool            `json:"cut,omitempty"`  // it was longer than is kept
	Parts   []Marked        `json:"parts,omitempty"`
}

// A Marked text is a part of a request, or a lane of an answer, in which a guard
// found something, as it came. Only contents in [Full] have any.
type Marked struct {
	At     string  `json:"at" doc:"as the places name it"`
	Text   string  `json:"text"`
	Places []Place `json:"places" doc:"by their beginnings"`
}

// A Sealed content is a row: nobody reads it without the key.
type Sealed struct {
	Request, Route string
	At, Until      time.Time
	Box            []byte
}

// A ContentStore keeps sealed contents.
type ContentStore interface {
	PutContent(ctx context.Context, s Sealed) error
	// Content returns an error wrapping [ErrNoContent] if there is none.
	Content(ctx context.Context, request string) (Sealed, error)
	DropContent(ctx context.Context, now time.Time) (int, error) // that is to be deleted by now
}

// ErrNoContent is returned for an exchange of which no content is kept.
var ErrNoContent = &warden.Error{
	Code: warden.CodeNotFound, Message: "nothing is kept of what this exchange said",
	Hint: "routes keep content with capture: {mode: redacted, days: 7}; it is deleted when its days are over",
}

// MaxContent is how much of a request and of an answer is kept.
const MaxContent = 256 << 10

// contentsWaiting is how many may wait to be written; more are not kept.
const contentsWaiting = 256

// An Archive seals and keeps contents. It is safe for concurrent use.
type Archive struct {
	store ContentStore
	box   cipher.AEAD
	log   *slog.Logger
	queue chan Content
	lost  atomic.Uint64
}

// NewArchive returns an archive that seals with AES-256-GCM under a key that is
// made of secret, which has at least 32 bytes. Run its Serve.
func NewArchive(store ContentStore, secret []byte, log *slog.Logger) (*Archive, error) {
	if store == nil || len(secret) < 32 || log == nil {
		return nil, errors.New("monitor: an archive needs a store, a secret of 32 bytes and a log")
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("warden content of exchanges, version 1"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Archive{store: store, box: box, log: log, queue: make(chan Content, contentsWaiting)}, nil
}

// Keep takes a content to be written. It never blocks: an exchange does not wait
// for its copy. What cannot be taken is counted.
func (a *Archive) Keep(c Content) {
	select {
	case a.queue <- c:
	default:
		a.lost.Add(1)
	}
}

// Lost returns how many contents were not kept.
func (a *Archive) Lost() uint64 { return a.lost.Load() }

// Serve writes contents until ctx ends and all that were taken are written.
func (a *Archive) Serve(ctx context.Context) {
	write := func(c Content) {
		if err := a.write(context.WithoutCancel(ctx), c); err != nil {
			a.lost.Add(1)
			a.log.ErrorContext(ctx, "content of an exchange cannot be kept", slog.String("request", c.Request), slog.Any("error", err))
		}
	}
	for {
		select {
		case c := <-a.queue:
			write(c)
		case <-ctx.Done():
			for {
				select {
				case c := <-a.queue:
					write(c)
				default:
					return
				}
			}
		}
	}
}

func (a *Archive) write(ctx context.Context, c Content) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// The id of the exchange is sealed with it: no row can stand for another.
	box := a.box.Seal(nil, nil, text, []byte(c.Request)) //nolint:gosec // the cipher makes its own random nonce
	return a.store.PutContent(ctx, Sealed{Request: c.Request, Route: c.Route, At: c.At, Until: c.Until, Box: box})
}

// Content returns what an exchange said. Who reads it has to be recorded by the
// caller.
func (a *Archive) Content(ctx context.Context, request string) (Content, error) {
	s, err := a.store.Content(ctx, request)
	if err != nil {
		return Content{}, err
	}
	text, err := a.box.Open(nil, nil, s.Box, []byte(s.Request))
	if err != nil {
		return Content{}, fmt.Errorf("open the content of %s: %w", request, err)
	}
	var c Content
	if err := json.Unmarshal(text, &c); err != nil {
		return Content{}, fmt.Errorf("open the content of %s: %w", request, err)
	}
	return c, nil
}

// Sweep deletes what is to be deleted by now.
func (a *Archive) Sweep(ctx context.Context, now time.Time) (int, error) {
	return a.store.DropContent(ctx, now)
}
