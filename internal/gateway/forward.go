package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// maxHops is how many gateways like this one a request may pass.
const maxHops = 4

// hops returns the gateways that a request says it passed, as their entries in
// Via. Other entries are the client's affair and go no further.
func hops(h http.Header) []string {
	var out []string
	for _, line := range h.Values("Via") {
		for entry := range strings.SplitSeq(line, ",") {
			entry = strings.TrimSpace(entry)
			id, ok := strings.CutPrefix(entry, "1.1 warden-")
			if ok && len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" {
				out = append(out, entry)
			}
		}
	}
	return out
}

func (g *Gateway) loops(h http.Header) bool {
	passed := hops(h)
	return len(passed) >= maxHops || slices.Contains(passed, "1.1 "+g.id)
}

// maxExchange is the longest that an exchange may take.
const maxExchange = time.Hour

// forward sends body to the upstream and its answer back.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, x *exchange, body []byte) {
	ctx, cancel := context.WithTimeout(r.Context(), maxExchange)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.route.url.String(), bytes.NewReader(body))
	if err != nil {
		g.bad(w, x, err)
		return
	}
	// An allow-list: no header of the client reaches the upstream.
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "User-Agent": {"warden-gateway"}}
	req.Header.Set("Via", strings.Join(append(hops(r.Header), "1.1 "+g.id), ", "))
	if c := x.route.Credential.Reveal(); c != "" {
		req.Header.Set("Authorization", "Bearer "+c)
	}
	resp, err := x.route.client.Do(req)
	if err != nil {
		g.failed(w, r, x, err)
		return
	}
	idle := time.AfterFunc(g.cfg.Idle, cancel) // a silent upstream is cut off
	defer idle.Stop()
	resp.Body = &alive{resp.Body, idle, g.cfg.Idle}
	defer resp.Body.Close() //nolint:errcheck // only read
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch {
	case resp.StatusCode != http.StatusOK && resp.StatusCode < 400:
		g.bad(w, x, fmt.Errorf("upstream answers with status %d; redirects are not followed", resp.StatusCode))
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusProxyAuthRequired:
		// It speaks of the route's credential, not of the client's.
		g.bad(w, x, fmt.Errorf("upstream refuses the credential of the route (status %d)", resp.StatusCode))
	case strings.TrimSpace(strings.ToLower(mediaType)) == "text/event-stream" && resp.StatusCode == http.StatusOK:
		g.stream(w, r, x, resp.Body)
	default:
		g.whole(w, r, x, resp)
	}
}

// An alive body puts off its timer at every byte that comes.
type alive struct {
	io.ReadCloser
	idle *time.Timer
	wait time.Duration
}

// Read implements [io.Reader].
func (a *alive) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if n > 0 {
		a.idle.Reset(a.wait)
	}
	return n, err
}

// failed answers for an exchange that ended in err: nobody if the client went.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	if r.Context().Err() != nil {
		x.end = "client_gone"
		return
	}
	g.bad(w, x, err)
}

// bad answers for an upstream that gave nothing to pass on. The cause is in the
// log only: it can name hosts of the inside.
func (g *Gateway) bad(w http.ResponseWriter, x *exchange, err error) {
	x.end, x.status = "upstream_error", http.StatusBadGateway
	g.cfg.Log.Warn("upstream failed", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
	refuse(w, refusal{status: http.StatusBadGateway, code: "upstream_error", message: "the upstream of this route failed"})
}

const (
	maxAnswer = 16 << 20
	maxError  = 64 << 10
)

// whole passes an answer that is not a stream. It is read to its end first, so
// that a truncated answer becomes an error and never a short success, and one
// of a model that was withdrawn meanwhile is not given out.
func (g *Gateway) whole(w http.ResponseWriter, r *http.Request, x *exchange, resp *http.Response) {
	limit := int64(maxAnswer)
	if resp.StatusCode >= 400 {
		limit = maxError
	}
	body, release, err := g.load.read(resp.Body, limit)
	defer release()
	if err == nil {
		err = x.acceptable(body, resp.StatusCode)
	}
	if err != nil {
		g.failed(w, r, x, err)
		return
	}
	if x.adm = g.admit(r.Context(), x.route); !x.adm.open {
		ref := g.closed(x)
		x.end, x.status = "withdrawn", ref.status
		refuse(w, *ref)
		return
	}
	x.end, x.status, x.sent = "complete", resp.StatusCode, int64(len(body))
	if ra := resp.Header.Get("Retry-After"); ra != "" && len(ra) < 40 {
		w.Header().Set("Retry-After", ra)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)) //nolint:errcheck // shows when it is written
	w.WriteHeader(resp.StatusCode)
	if _, err := w.Write(body); err != nil {
		x.end = "client_gone"
	}
}

// answerTime is how long a client may take to read a whole answer.
const answerTime = 5 * time.Minute

var errSecret = errors.New("the answer holds the credential of the route")

// acceptable checks that body is a whole answer of the dialect, and reads what
// it cost.
func (x *exchange) acceptable(body []byte, status int) error {
	lim := wire.DefaultLimits()
	lim.Bytes, lim.Values, lim.Keep = maxAnswer, 4_000_000, 1
	doc, err := wire.Parse(body, lim)
	switch {
	case err != nil:
		return err
	case doc.Root().Kind() != wire.Object:
		return errors.New("the answer is not an object")
	case status >= 400 && doc.Root().Get("error").Kind() == wire.Missing:
		return fmt.Errorf("status %d without an error of the dialect", status)
	case x.leaks(body):
		return errSecret
	}
	x.usage, _ = openai.Usage(doc.Root().Get("usage").Raw())
	return nil
}

// leaks reports whether an upstream sends back the credential it was given.
func (x *exchange) leaks(b []byte) bool {
	c := x.route.Credential.Reveal()
	return len(c) >= 8 && bytes.Contains(b, []byte(c))
}
