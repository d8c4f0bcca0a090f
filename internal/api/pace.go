package api

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// How fast both sides must be. Nobody waits for a peer that stands still, and a
// body that trickles costs a connection no longer than this says.
const (
	bodyTime   = 30 * time.Second // to send a body, besides its bytes
	stallTime  = time.Minute      // longest pause in a body or an answer
	leastBytes = 1 << 10          // of a body in a second, on average
)

// A paced body has a new deadline for every piece, and one from the beginning:
// the server itself waits for a body that its handler does not read. At the end
// of the body the server takes the deadline away.
type paced struct {
	io.ReadCloser
	rc    *http.ResponseController
	stall time.Duration
	begun time.Time
	n     int64
}

// pace bounds how slowly the peer of one request may be. The request is a copy:
// the server must still know its own body, or what is left of one that was
// closed early would be read as the next request.
func pace(w http.ResponseWriter, r *http.Request, stall time.Duration) (http.ResponseWriter, *http.Request) {
	rc := http.NewResponseController(w)
	// The deadline of the request before on this connection may still hold.
	rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // shows when an answer is written
	if body := r.Body; body != nil && body != http.NoBody {
		r = r.WithContext(r.Context())
		p := &paced{ReadCloser: body, rc: rc, stall: stall, begun: time.Now()}
		r.Body = p
		p.wait() //nolint:errcheck // shows when the body is read
	}
	return &pacedWriter{w, rc, stall}, r
}

// wait sets the deadline of the next piece.
func (p *paced) wait() error {
	end := p.begun.Add(bodyTime + time.Duration(p.n/leastBytes)*time.Second)
	if stall := time.Now().Add(p.stall); stall.Before(end) {
		end = stall
	}
	if err := p.rc.SetReadDeadline(end); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Read implements [io.Reader].
func (p *paced) Read(b []byte) (int, error) {
	if err := p.wait(); err != nil {
		return 0, err
	}
	n, err := p.ReadCloser.Read(b)
	p.n += int64(n)
	return n, err
}

// A pacedWriter has a new deadline for every piece of an answer.
type pacedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
}

// Write implements [io.Writer].
func (p *pacedWriter) Write(b []byte) (int, error) {
	if err := p.rc.SetWriteDeadline(time.Now().Add(p.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }
