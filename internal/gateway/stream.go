package gateway

import (
	"bufio"
	"bytes"
	"context"
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
)

// stream passes server-sent events as they come, flushing after each. A stream
// ends well only with the dialect's own end. One that breaks off, or whose
// model is withdrawn meanwhile, ends with an error event and a broken
// connection, so that no client takes it for whole.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, x *exchange, body io.Reader, cancel context.CancelFunc) {
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	x.status = http.StatusOK
	w.WriteHeader(http.StatusOK)

	idle := time.AfterFunc(g.cfg.Idle, cancel) // a silent upstream is cut off
	defer idle.Stop()
	in := bufio.NewReaderSize(body, 16<<10)
	var err error
	for done := false; !done && err == nil; {
		var ev []byte
		if ev, err = readEvent(in); err != nil {
			break
		}
		idle.Reset(g.cfg.Idle)
		if x.adm.generation != g.generation.Load() {
			if x.adm = g.admit(r.Context(), x.route); !x.adm.open {
				err = errCut
				break
			}
		}
		data := dataOf(ev)
		done = string(data) == openai.Done
		if u, ok := openai.UsageOf(data); ok {
			x.usage = u
		}
		if err = write(w, rc, ev); err == nil {
			x.sent += int64(len(ev))
		}
	}
	switch {
	case err == nil:
		x.end = "complete"
		return
	case r.Context().Err() != nil:
		x.end = "client_gone"
		return
	case errors.Is(err, errCut):
		x.end = "withdrawn"
	default:
		x.end = "cut_upstream"
	}
	g.cfg.Log.Warn("stream cut", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
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
// it, exactly as they came. Lines end with LF or CRLF. The end of the body is
// an error: a stream that ends well has said so before.
func readEvent(in *bufio.Reader) ([]byte, error) {
	var ev []byte
	for {
		line, err := in.ReadSlice('\n')
		if len(ev)+len(line) > maxEvent {
			return nil, errEvent
		}
		ev = append(ev, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errShort, err)
		}
		if last := bytes.TrimRight(line, "\r\n"); len(last) == 0 && (len(ev) == len(line) || ev[len(ev)-len(line)-1] == '\n') {
			return ev, nil
		}
	}
}

// dataOf joins the data lines of an event.
func dataOf(ev []byte) []byte {
	var data []byte
	for line := range bytes.Lines(ev) {
		if rest, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("data:")); ok {
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(rest, []byte(" "))...)
		}
	}
	return data
}
