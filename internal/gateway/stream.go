package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/monitor"
)

var (
	errCut     = errors.New("the model was withdrawn")
	errGone    = errors.New("the client does not read")
	errOverrun = errors.New("the answer passed its reservation")
)

// An eager body lets the client have all that was written for it before it waits
// for more of the upstream: pieces that came together go out together, and none
// waits for one that is yet to come.
type eager struct {
	io.Reader
	x *exchange
}

// Read implements [io.Reader].
func (e eager) Read(p []byte) (int, error) {
	if err := e.x.flush(); err != nil {
		return 0, err
	}
	return e.Reader.Read(p)
}

// flush sends what was written.
func (x *exchange) flush() error {
	if !x.unsent {
		return nil
	}
	x.unsent = false
	if err := x.rc.Flush(); err != nil {
		x.gone = fmt.Errorf("%w: %w", errGone, err)
	}
	return x.gone
}

// stream passes an answer that comes in pieces, as they come. It ends
// well only with the dialect's own end. One that breaks off, or whose model is
// withdrawn meanwhile, ends with an error event and a broken connection, so that
// no client takes it for whole. One that a guard denies ends as the dialect ends
// answers whose content may not pass.
func (g *Gateway) stream(ctx context.Context, x *exchange, header http.Header, in *dialect.Stream) {
	h := x.w.Header()
	out, err := newRelay(g, x, in)
	if err != nil {
		g.bad(x, err)
		return
	}
	x.passHeaders(header)
	x.timing()
	h.Set("Content-Type", out.form.MediaType())
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)

	for done := false; !done && err == nil; {
		var ev *dialect.Event
		if ev, err = in.Next(); err != nil {
			if errors.Is(err, io.EOF) { // the end of the body is this dialect's proper end
				err = out.end(ctx)
			}
			break
		}
		done = ev.Done
		if err = g.mayGoOn(ctx, x, ev); err == nil {
			err = out.take(ctx, ev)
		}
	}
	out.finish()
	x.flush() //nolint:errcheck // it is in gone
	if x.gone != nil {
		err = x.gone
	}
	switch {
	case err == nil:
		x.end = "complete"
		return
	case errors.Is(err, errBlocked):
		x.end = "denied"
		x.route.blocked.Add(1)
		if werr := errors.Join(out.write(out.denied()), x.flush()); werr != nil {
			panic(http.ErrAbortHandler)
		}
		return
	case x.r.Context().Err() != nil, errors.Is(err, errGone):
		x.end = "client_gone"
		g.metrics.cut.WithLabelValues("client").Inc()
		panic(http.ErrAbortHandler)
	case errors.Is(err, errCut):
		x.end = "withdrawn"
	case errors.Is(err, errOverrun):
		x.end = "limit"
	default:
		x.end = "cut_upstream"
		g.metrics.cut.WithLabelValues("upstream").Inc()
	}
	g.cfg.Log.WarnContext(ctx, "stream cut", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
	out.write(out.failed(dialect.Problem{Status: http.StatusBadGateway, Code: x.end, Message: "the stream was cut: " + cutText(err)})) //nolint:errcheck // it is cut in any case
	x.flush()                                                                                                                          //nolint:errcheck // as above
	panic(http.ErrAbortHandler)                                                                                                        // the connection breaks: no clean end
}

// mayGoOn looks at what an event says about the exchange, before its text.
func (g *Gateway) mayGoOn(ctx context.Context, x *exchange, ev *dialect.Event) error {
	if !x.route.KeepOpen {
		if x.adm = g.admit(ctx, x.route, x.target); !x.adm.open {
			return errCut
		}
	}
	if x.leaks(ev.Raw) {
		return errSecret
	}
	x.hears(monitor.Full, ev.Raw)
	if ev.Failed {
		return errors.New("the upstream ends the stream with an error")
	}
	if ev.Model != "" {
		x.named = ev.Model
	}
	if ev.Counted {
		x.usage, x.counted = ev.Usage, true
	}
	for _, d := range ev.Deltas {
		if !d.Repeats {
			x.said += int64(len(d.Text))
		}
	}
	if x.route.Overrun && g.limits != nil && x.res.Tokens > 0 && x.prompt+x.said/4 > x.res.Tokens {
		return errOverrun
	}
	return nil
}

func cutText(err error) string {
	for _, known := range []error{errCut, errOverrun} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return dialect.ErrShort.Error()
}

// write writes to the client: at once if a guard works on what comes next, which
// can take its time, else before the upstream is waited for.
func (r *relay) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	x := r.x
	if err := x.rc.SetWriteDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if _, err := x.w.Write(b); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	x.unsent = true
	if r.guard != nil {
		if err := x.flush(); err != nil {
			return err
		}
	}
	x.sent += int64(len(b))
	x.hears(monitor.Redacted, b)
	return nil
}

// blocked answers for a whole answer that a guard denies.
func (g *Gateway) blocked(x *exchange) {
	x.end = "denied"
	x.route.blocked.Add(1)
	g.refuse(x, refusal{status: http.StatusForbidden, code: "content_denied", message: "a guard does not let this answer pass", because: x.rules()})
}

// rules names the rules that fired.
func (x *exchange) rules() []string {
	return slices.Sorted(maps.Keys(x.found))
}
