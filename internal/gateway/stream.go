package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/modelwarden/warden/internal/chat/openai"
)

// maxEvent is the size of the largest event that is passed.
const maxEvent = 1 << 20

var (
	errEvent = errors.New("event too large")
	errCut   = errors.New("the model was withdrawn")
	errShort = errors.New("the stream ended early")
	errGone  = errors.New("the client does not read")
)

// stream passes server-sent events as they come, flushing after each. A stream
// ends well only with the dialect's own end. One that breaks off, or whose
// model is withdrawn meanwhile, ends with an error event and a broken
// connection, so that no client takes it for whole.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, x *exchange, body io.Reader) {
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	x.status = http.StatusOK
	w.WriteHeader(http.StatusOK)

	in := bufio.NewReaderSize(body, 16<<10)
	var err error
	for done := false; !done && err == nil; {
		var ev []byte
		if ev, err = readEvent(in); err != nil {
			break
		}
		if x.adm = g.admit(r.Context(), x.route); !x.adm.open {
			err = errCut
			break
		}
		if x.leaks(ev) {
			err = errSecret
			break
		}
		data := dataOf(ev)
		done = string(data) == openai.Done
		if u, ok := openai.UsageOf(data); ok {
			x.usage = u
		}
		if err = write(w, rc, ev); err != nil {
			err = fmt.Errorf("%w: %w", errGone, err)
			break
		}
		x.sent += int64(len(ev))
	}
	switch {
	case err == nil:
		x.end = "complete"
		return
	case r.Context().Err() != nil, errors.Is(err, errGone):
		x.end = "client_gone"
		panic(http.ErrAbortHandler)
	case errors.Is(err, errCut):
		x.end = "withdrawn"
	default:
		x.end = "cut_upstream"
	}
	g.cfg.Log.WarnContext(r.Context(), "stream cut", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
	msg := fmt.Appendf(nil, "data: %s\n\n", openai.Error("server_error", x.end, "the stream was cut: "+cutText(err)))
	if write(w, rc, msg) == nil {
		x.sent += int64(len(msg))
	}
	panic(http.ErrAbortHandler) // the connection breaks: no clean end
}

func cutText(err error) string {
	if errors.Is(err, errCut) {
		return errCut.Error()
	}
	return errShort.Error()
}

func write(w http.ResponseWriter, rc *http.ResponseController, b []byte) error {
	if err := rc.SetWriteDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return rc.Flush()
}

// readEvent returns the bytes of the next event, with the empty line that ends
// it, exactly as they came. Lines end with LF, CR or CRLF, as the HTML standard
// says: what a client takes for an event must be one here too. The end of the
// body is an error: a stream that ends well has said so before.
func readEvent(in *bufio.Reader) ([]byte, error) {
	var (
		ev    []byte
		empty = true // nothing stands on the line so far
	)
	for {
		c, err := in.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errShort, err)
		}
		if len(ev) >= maxEvent {
			return nil, errEvent
		}
		ev = append(ev, c)
		switch c {
		case '\n':
			if n := len(ev); n > 1 && ev[n-2] == '\r' {
				continue // the other half of a line end
			}
		case '\r':
		default:
			empty = false
			continue
		}
		if !empty {
			empty = true
			continue
		}
		return withLF(in, ev, c), nil
	}
}

// withLF adds to an event that ended with CR the LF that belongs to it, if it
// is there already: a client that sees only CR has a whole event too.
func withLF(in *bufio.Reader, ev []byte, last byte) []byte {
	if last != '\r' || in.Buffered() == 0 {
		return ev
	}
	if next, err := in.Peek(1); err == nil && next[0] == '\n' {
		if _, err := in.Discard(1); err == nil {
			return append(ev, '\n')
		}
	}
	return ev
}

// dataOf joins the data lines of an event.
func dataOf(ev []byte) []byte {
	var data []byte
	for line := range bytes.FieldsFuncSeq(ev, func(r rune) bool { return r == '\r' || r == '\n' }) {
		rest, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok && string(line) != "data" {
			continue
		}
		if data == nil {
			data = []byte{}
		} else {
			data = append(data, '\n')
		}
		if ok {
			data = append(data, bytes.TrimPrefix(rest, []byte(" "))...)
		}
	}
	return data
}
