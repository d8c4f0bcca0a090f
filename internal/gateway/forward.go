package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/translate"
	"github.com/modelwarden/warden/internal/chat/wire"
	"github.com/modelwarden/warden/internal/gateway/direct"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
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
	return len(passed) >= maxHops || slices.Contains(passed, g.hop)
}

// via is what the next one is told of the gateways before it.
func (g *Gateway) via(h http.Header) string {
	passed := hops(h)
	if len(passed) == 0 {
		return g.hop
	}
	return strings.Join(append(passed, g.hop), ", ")
}

// maxExchange is the longest that an exchange may take.
const maxExchange = time.Hour

// maxHeader is the longest value of a client's header field that is passed on.
const maxHeader = 1 << 10

// body returns the bytes that go to a target.
func (x *exchange) body(t *target) ([]byte, error) {
	req := x.req
	if t != x.target { // an edited request cannot be edited again: this one begins anew
		var err error
		if req, err = x.dialect.Decode(x.to, x.r.Header.Get, x.raw, x.route.Options); err != nil {
			return nil, err
		}
		x.req, x.target = req, t
	}
	name := t.UpstreamModel
	if name == "" {
		name = x.route.Name
	}
	req.SetModel(name)
	if x.maxOutput > 0 {
		req.SetMaxOutput(x.maxOutput)
	}
	if x.route.Shape.Logprobs {
		req.StripLogprobs()
	}
	if err := x.edited(req); err != nil {
		return nil, err
	}
	if x.shaped() {
		req.ForceJSON()
	}
	if x.dialect == t.dialect {
		req.ForceUsage()
		x.asked = x.to
		return req.Bytes()
	}
	body, to, dropped, err := translate.Request(x.dialect, t.dialect, req, name, x.route.Options)
	if err != nil {
		return nil, err
	}
	x.asked = to
	if len(dropped) > 0 {
		x.w.Header().Set("X-Warden-Dropped", strings.Join(dropped, ", "))
	}
	return body, nil
}

// forwarded adds the header fields of the client that the target's dialect lets
// pass, and those that describe the body, after those in out.
func (x *exchange) forwarded(out []direct.Field, t *target) []direct.Field {
	if x.dialect != t.dialect {
		return append(out, direct.Field{Name: "Content-Type", Value: "application/json"})
	}
	for _, f := range x.req.Headers() {
		out = append(out, direct.Field{Name: f.Name, Value: f.Value})
	}
	for _, name := range t.dialect.Request { // an allow-list: nothing else of the client's header goes on
		if v := x.r.Header.Get(name); v != "" && len(v) <= maxHeader && !strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > 0x7e }) {
			out = append(out, direct.Field{Name: name, Value: v})
		}
	}
	return out
}

// send sends the request to a target.
func (g *Gateway) send(ctx context.Context, x *exchange, t *target) (*http.Response, error) {
	if t != x.target {
		var err error
		if x.out, err = x.body(t); err != nil {
			return nil, err
		}
	}
	head := make([]direct.Field, 0, len(t.head)+12)
	head = append(append(head, t.head...),
		direct.Field{Name: "Accept", Value: "application/json, text/event-stream, application/x-ndjson"},
		direct.Field{Name: "Via", Value: g.via(x.r.Header)})
	head = x.forwarded(head, t)
	model := t.UpstreamModel
	if model == "" {
		model = x.route.Name
	}
	return t.client.Do(ctx, &direct.Request{Method: http.MethodPost, Target: t.path(x.asked, model), Header: head, Body: x.out, Sent: x.tellStanding})
}

// ask sends the request to the target, and once more to the next one that is
// admitted if the first did not take it. Nothing was answered until then.
func (g *Gateway) askUpstream(ctx context.Context, x *exchange) (*http.Response, error) {
	x.sentAt = time.Now()
	t := x.target
	resp, err := g.send(ctx, x, t)
	if !refusedToTry(resp, err) {
		return resp, err
	}
	for _, next := range x.route.targets[slices.Index(x.route.targets, t)+1:] {
		adm := g.admit(ctx, x.route, next)
		if !adm.open || next.dialect != x.dialect && !translate.Pair(x.dialect.Name, next.dialect.Name) {
			continue
		}
		if resp != nil {
			resp.Body.Close() //nolint:errcheck // its answer is not wanted
		}
		g.cfg.Log.WarnContext(ctx, "upstream does not take the request: the next one is asked", slog.String("route", x.route.Name), slog.String("request", x.id))
		x.adm = adm
		return g.send(ctx, x, next)
	}
	return resp, err
}

func refusedToTry(resp *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, direct.ErrNotSent)
	}
	return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable
}

// within ends ctx after the longest time that an exchange may take.
func (g *Gateway) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := g.waits.After(maxExchange, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		over.Stop()
		cancel(nil)
	}
}

// forward sends the request to the upstream and its answer back.
func (g *Gateway) forward(ctx context.Context, x *exchange) {
	ctx, cancel := g.within(ctx)
	defer cancel()
	resp, err := g.askUpstream(ctx, x)
	if err != nil {
		g.failed(x, err)
		return
	}
	x.first = time.Since(x.sentAt)
	x.route.meters.first.Observe(x.first.Seconds())
	defer resp.Body.Close() //nolint:errcheck // only read
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch {
	case resp.StatusCode != http.StatusOK && resp.StatusCode < 400:
		g.bad(x, fmt.Errorf("upstream answers with status %d; redirects are not followed", resp.StatusCode))
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusProxyAuthRequired:
		// It speaks of the route's credential, not of the client's.
		g.bad(x, fmt.Errorf("upstream refuses the credential of the route (status %d)", resp.StatusCode))
	case resp.StatusCode == http.StatusOK && x.comesInPieces(mediaType):
		stream, err := x.target.dialect.Stream(x.asked, mediaType, eager{resp.Body, x})
		if err != nil {
			g.bad(x, err)
			return
		}
		g.stream(ctx, x, resp.Header, stream)
	default:
		g.whole(ctx, x, resp)
	}
}

// comesInPieces reports whether an answer is a stream: what the upstream sends
// says so, and where both forms look alike, what the request asked for.
func (x *exchange) comesInPieces(mediaType string) bool {
	switch mediaType {
	case dialect.SSE.MediaType(), dialect.NDJSON.MediaType(), "application/jsonl", "application/stream+json":
		return true
	}
	return x.req.Stream && x.target.dialect.Name == "gemini"
}

// failed answers for an exchange that ended in err: nobody if the client went.
func (g *Gateway) failed(x *exchange, err error) {
	if x.r.Context().Err() != nil {
		x.end = "client_gone"
		return
	}
	g.bad(x, err)
}

// bad answers for an upstream that gave nothing to pass on. The cause is in the
// log only: it can name hosts of the inside.
func (g *Gateway) bad(x *exchange, err error) {
	x.end, x.status = "upstream_error", http.StatusBadGateway
	g.cfg.Log.Warn("upstream failed", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
	g.refuse(x, refusal{status: http.StatusBadGateway, code: "upstream_error", message: "the upstream of this route failed"})
}

const (
	maxAnswer = 16 << 20
	maxError  = 64 << 10
)

// whole passes an answer that is not a stream. It is read to its end first, so
// that a truncated answer becomes an error and never a short success, and one
// of a model that was withdrawn meanwhile is not given out.
func (g *Gateway) whole(ctx context.Context, x *exchange, resp *http.Response) {
	limit := int64(maxAnswer)
	if resp.StatusCode >= 400 {
		limit = maxError
	}
	body, release, err := g.load.read(resp.Body, resp.ContentLength, limit)
	defer release()
	if err != nil {
		g.failed(x, err)
		return
	}
	if resp.StatusCode >= 400 {
		body, err = g.upstreamError(x, body, resp.StatusCode)
	} else {
		body, err = g.answer(ctx, x, resp, body)
	}
	if errors.Is(err, errBlocked) {
		g.blocked(x)
		return
	}
	if err != nil {
		g.failed(x, err)
		return
	}
	if x.adm = g.admit(ctx, x.route, x.target); !x.adm.open {
		ref := g.closed(x)
		x.end, x.status = "withdrawn", ref.status
		g.refuse(x, *ref)
		return
	}
	x.end, x.status, x.sent = "complete", resp.StatusCode, int64(len(body))
	x.passHeaders(resp.Header)
	x.timing()
	h := x.w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h["Content-Length"] = []string{strconv.Itoa(len(body))} // so that it goes out at once, and whole
	x.hears(monitor.Redacted, body)
	x.rc.SetWriteDeadline(time.Now().Add(answerTime)) //nolint:errcheck // shows when it is written
	x.settle()                                        // before the client has it, and comes again
	x.w.WriteHeader(resp.StatusCode)
	_, err = x.w.Write(body)
	if err == nil {
		err = x.rc.Flush() // the client need not wait for what is recorded
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		x.end = "client_gone"
	}
}

// passHeaders passes on the fields of the upstream's header that the dialect
// lists.
func (x *exchange) passHeaders(from http.Header) {
	h := x.w.Header()
	if x.dialect != x.target.dialect {
		return
	}
	for _, name := range x.target.dialect.Response {
		if v := from.Get(name); v != "" && len(v) <= maxHeader {
			h.Set(name, v)
		}
	}
}

// timing tells the client how long the gateway and the upstream took until the
// first byte.
func (x *exchange) timing() {
	x.tellStanding()
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64) }
	own := x.sentAt.Sub(x.begun)
	if x.guarded > 0 {
		x.w.Header().Set("Server-Timing", "warden;dur="+ms(own)+", guard;dur="+ms(x.guarded)+", upstream;dur="+ms(x.first))
		return
	}
	x.w.Header().Set("Server-Timing", "warden;dur="+ms(own)+", upstream;dur="+ms(x.first))
}

// answerTime is how long a client may take to read a whole answer.
const answerTime = 5 * time.Minute

var (
	errSecret  = errors.New("the answer holds the credential of the route")
	errBlocked = errors.New("a guard does not let the answer pass")
)

// acceptable returns the root of body if that is a whole error of the dialect.
func (x *exchange) acceptable(body []byte) (wire.Value, error) {
	lim := wire.DefaultLimits()
	lim.Bytes = maxError
	doc, err := wire.Parse(body, lim)
	switch {
	case err != nil:
		return wire.Value{}, err
	case doc.Root().Kind() != wire.Object || !x.target.dialect.Failed(doc.Root()):
		return wire.Value{}, errors.New("an error that is not of the dialect")
	case x.leaks(body):
		return wire.Value{}, errSecret
	}
	return doc.Root(), nil
}

// upstreamError returns the body of an upstream's error, in the client's
// dialect. Only the status is told of another dialect's, of one that a guard
// does not let pass as it is, and of a failure of the upstream itself, which can
// name hosts of the inside.
func (g *Gateway) upstreamError(x *exchange, body []byte, status int) ([]byte, error) {
	root, err := x.acceptable(body)
	if err != nil {
		return nil, err
	}
	if x.dialect == x.target.dialect && status < 500 && g.passes(x, dialect.Strings(root)) {
		return body, nil
	}
	return x.dialect.Error(dialect.Problem{Status: status, Code: "upstream_refused", Message: fmt.Sprintf("the upstream of this model answers with status %d", status)}), nil
}

// passes reports whether a guard lets text pass as it is.
func (g *Gateway) passes(x *exchange, text []byte) bool {
	if x.route.Guard == nil || len(text) == 0 {
		return true
	}
	s, err := g.watcher(x)
	if err != nil {
		return false
	}
	lane := chat.Lane{Kind: chat.Text}
	_, err = s.Write(lane, text)
	if err == nil {
		_, err = s.Close(lane)
	}
	res := s.Finish()
	x.note(res)
	if x.route.Guard.Mode == Async {
		return true
	}
	return (err == nil || x.route.Guard.AllowIncomplete) && rank(res.Effect) <= rank(warden.AllowReview)
}

// answer reads a whole answer, looks at it and returns what is given out: the
// very bytes that came if nothing had to be changed.
func (g *Gateway) answer(ctx context.Context, x *exchange, resp *http.Response, body []byte) ([]byte, error) {
	if x.leaks(body) {
		return nil, errSecret
	}
	x.hears(monitor.Full, body)
	a, err := x.target.dialect.Answer(x.asked, resp.Header.Get, body, dialect.AnswerLimits())
	if err != nil {
		return nil, err
	}
	x.usage, x.counted, x.named = a.Usage, a.Counted, a.Model
	for _, t := range a.Texts {
		x.said += int64(len(t.Text))
	}
	if x.route.Shape.Logprobs {
		a.StripLogprobs()
	}
	if x.shaped() {
		if err := a.Shape(x.shape()); err != nil {
			return nil, err
		}
	}
	if err := g.guardAnswer(ctx, x, a); err != nil {
		return nil, err
	}
	if x.dialect != x.target.dialect {
		return translate.Answer(x.dialect, x.target.dialect, a, x.route.Name)
	}
	out, err := a.Bytes()
	for _, f := range a.Headers() {
		x.w.Header().Set(f.Name, f.Value)
	}
	return out, err
}

// leaks reports whether an upstream sends back the credential it was given.
func (x *exchange) leaks(b []byte) bool {
	c := x.target.Credential.Reveal()
	return len(c) >= 8 && bytes.Contains(b, []byte(c))
}

func oneChoice() policy.Asked { return policy.Asked{Choices: 1} }
