package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
	"github.com/modelwarden/warden/internal/monitor"
)

// An exchange is one request on its way. It belongs to one goroutine.
type exchange struct {
	id      string
	w       http.ResponseWriter
	r       *http.Request
	rc      *http.ResponseController
	query   string
	begun   time.Time // by the monotonic clock
	started time.Time // by the platform's

	dialect *dialect.Dialect // of the client
	grpc    bool             // it is a call
	to      dialect.Target
	who     access.Identity
	raw     []byte
	req     *dialect.Request
	route   *route // nil: not known, or not for this caller
	target  *target
	asked   dialect.Target // of the upstream, in its dialect
	out     []byte         // that goes to the target
	adm     admission
	res     *limit.Reservation
	left    []limit.Standing // after res, until the client is told

	prompt    int64 // tokens that were reserved for the prompt
	maxOutput int64 // bound that the gateway sets; 0: none

	sentAt time.Time // when the request went to the upstream
	first  time.Duration
	end    string // how it ended
	status int
	sent   int64 // bytes of the answer
	unsent bool  // some of them wait to be flushed
	gone   error // of flushing them
	said   int64 // bytes of text that the model said
	usage  chat.Usage
	// counted: usage is the upstream's word.
	counted bool
	effect  warden.Effect  // of the guards; "" without
	found   map[string]int // rules that fired
	places  []monitor.Place
	lanes   map[string][]byte // of the answer, as they came, where all is kept
	partial []string          // what guards could not look at
	edits   []guard.Edit      // of the request
	restore map[string]string
	canary  string // word that only the operator's text has
	heard   []byte // of the answer, where the route keeps it
	deaf    bool   // there was more
	guarded time.Duration
	obliged []string // @shape of the policies that allowed the request

	because  []string // policies that allowed the request
	policies string   // their set
	named    string   // model, as the answer names it
}

func (x *exchange) routeName() string {
	if x.route == nil {
		return "unknown"
	}
	return x.route.Name
}

func tooLarge(err error) bool { return errors.Is(err, detect.ErrLimit) }

// modelOf returns what a body names as its model; "" if that cannot be told,
// which reading all of it will say better.
func modelOf(body []byte, lim wire.Limits) string {
	lim.Keep = 1
	d, err := wire.Parse(body, lim)
	if err != nil {
		return ""
	}
	name, _ := d.Root().Get("model").Text()
	return name
}

// taskOp is an operation that a task's routes are asked for.
func taskOp(t chat.Task) dialect.Op {
	switch t {
	case chat.Embed:
		return dialect.Embed
	case chat.Classify:
		return dialect.Infer
	case chat.Generic:
		return dialect.Generic
	default:
		return dialect.Chat
	}
}

// admitted records that the request goes on, before it does.
func (g *Gateway) admitted(x *exchange) {
	x.route.requests.Add(1)
	x.route.last.Store(x.started.Unix())
	x.route.meters.allowed(x.dialect.Name).Inc()
	g.metrics.inflight.Inc()
	rec := x.record(monitor.Admitted)
	rec.Because, rec.Policies, rec.Asked, rec.Stream = x.because, x.policies, int64(len(x.raw)), x.req.Stream
	rec.Body = x.bodyDigest()
	g.rec.put(rec)
}

// record begins a record of the exchange.
func (x *exchange) record(s monitor.Step) monitor.Record {
	rec := monitor.Record{
		Step: s, At: x.started.UTC(), Request: x.id, Principal: x.who.Principal.ID, Key: x.who.KeyID, Groups: x.who.Groups, Route: x.routeName(), Dialect: x.dialect.Name,
		Digest: digestText(x.adm.digest),
	}
	if x.target != nil {
		rec.Provider = x.target.Provider
	}
	return rec
}

// bodyDigest names the request's bytes, so that somebody who has them can show
// that they were those.
func (x *exchange) bodyDigest() string {
	sum := sha256.Sum256(x.raw)
	return hex.EncodeToString(sum[:])
}

// settle replaces what was reserved by what was used. Only its first call counts.
func (x *exchange) settle() (used chat.Usage, cost int64) {
	used = x.usage
	if !x.counted { // the prompt was sent; of the answer what came is counted
		used = chat.Usage{Input: x.prompt, Output: (x.said + 3) / 4}
		if x.sentAt.IsZero() || x.end == "upstream_error" && x.said == 0 {
			used = chat.Usage{}
		}
	}
	cost = x.route.Price.of(used)
	x.res.Settle(limit.Use{Tokens: used.Input + used.Output, Rows: x.req.Params.Rows, Money: cost})
	return used, cost
}

// finished settles what was reserved and records how the exchange ended.
func (g *Gateway) finished(x *exchange) {
	used, cost := x.settle()
	g.metrics.inflight.Dec()
	m := x.route.meters
	m.input.Add(float64(used.Input))
	m.output.Add(float64(used.Output))
	if !x.sentAt.IsZero() {
		m.upstream.Observe(since(x.sentAt))
		g.metrics.before.Observe(x.sentAt.Sub(x.begun).Seconds())
	}
	x.route.tokens.Add(uint64(used.Input + used.Output)) //nolint:gosec // neither is negative
	rec := x.record(monitor.Finished)
	rec.Status, rec.End, rec.Sent, rec.Input, rec.Output, rec.Rows, rec.Cost = x.status, x.end, x.sent, used.Input, used.Output, x.req.Params.Rows, cost
	rec.Guessed, rec.Stream, rec.Model = !x.counted, x.req.Stream, x.named
	rec.Took = g.cfg.Now().Sub(x.started).Milliseconds()
	rec.First, rec.Guard, rec.Found, rec.Places, rec.Partial = x.first.Milliseconds(), x.effect, x.found, x.places, x.partial
	rec.Guess = x.guarded.Microseconds()
	if !x.sentAt.IsZero() {
		rec.Own = x.sentAt.Sub(x.begun).Microseconds()
	}
	g.rec.put(rec)
	g.capture(x)
	g.trace(x, x.fault())
}

// defaultKeep is how long contents are kept where the route does not say.
const defaultKeep = 7 * 24 * time.Hour

// capture keeps what the exchange said, where its route says so.
func (g *Gateway) capture(x *exchange) {
	if x.route.Capture == "" || g.cfg.Archive == nil || x.grpc || len(x.req.Tail) > 0 {
		return
	}
	c := monitor.Content{
		Request: x.id, Route: x.route.Name, Mode: x.route.Capture, At: x.started.UTC(), Until: x.started.UTC().Add(cmp.Or(x.route.KeepFor, defaultKeep)), Asked: x.out, Said: string(x.heard), Cut: x.deaf,
	}
	if x.route.Capture == monitor.Full {
		c.Asked, c.Parts = x.raw, x.marked()
	}
	if len(c.Asked) > monitor.MaxContent {
		c.Asked, c.Cut = nil, true
	}
	g.cfg.Archive.Keep(c)
}

// hears keeps what the answer says: b as the upstream said it, or as the client
// got it.
func (x *exchange) hears(mode monitor.Mode, b []byte) {
	if x.route == nil || x.route.Capture != mode || mode == "" {
		return
	}
	if room := monitor.MaxContent - len(x.heard); len(b) > room {
		b, x.deaf = b[:room], true
	}
	x.heard = append(x.heard, b...)
}

// turnAway refuses and records why, in the place that was reserved.
func (g *Gateway) turnAway(x *exchange, ref refusal) {
	if x.route != nil {
		x.route.refused.Add(1)
		x.route.last.Store(x.started.Unix())
	}
	rec := x.record(monitor.Refused)
	rec.Status, rec.Code, rec.Because, rec.Policies, rec.Asked = ref.status, ref.code, ref.because, x.policies, int64(len(x.raw))
	rec.Guard, rec.Found, rec.Places, rec.Partial = x.effect, x.found, x.places, x.partial
	g.rec.put(rec)
	x.status = ref.status
	g.trace(x, ref.code)
	g.refuse(x, ref)
}

func digestText(d warden.Digest) string {
	if d == (warden.Digest{}) {
		return ""
	}
	return d.String()
}

// ready reports whether the caller may ask a route, and it is open.
func (g *Gateway) ready(ctx context.Context, x *exchange, name string) bool {
	r := (*g.routes.Load())[name]
	if r == nil || g.mayQuery(x.who, name, action(dialect.Target{Op: taskOp(r.Task)}), oneChoice()).Effect != warden.Allow {
		return false
	}
	_, a := g.choose(ctx, r)
	return a.open
}

// about answers what clients ask of the server itself, or whether a model is
// ready.
func (g *Gateway) about(ctx context.Context, x *exchange) {
	if x.to.Op != dialect.Live { // whether the process is there is no secret
		if ref := g.authenticate(ctx, x); ref != nil {
			g.refuse(x, *ref)
			return
		}
	}
	ok := true
	if x.to.Model != "" {
		ok = g.ready(ctx, x, x.to.Model)
	}
	x.w.Header().Set("Content-Type", "application/json")
	switch {
	case x.to.Op == dialect.Metadata && x.to.Model != "":
		g.refuse(x, refusal{status: http.StatusNotFound, code: "unknown_path", message: "this gateway does not pass on descriptions of models"})
	case x.to.Op == dialect.Version:
		x.w.Write([]byte(`{"version":"warden"}`)) //nolint:errcheck // the client is gone
	case x.to.Op == dialect.Metadata:
		x.w.Write([]byte(`{"name":"warden","version":"1","extensions":[]}`)) //nolint:errcheck // the client is gone
	case !ok:
		x.w.WriteHeader(http.StatusServiceUnavailable)
		x.w.Write([]byte(`{"ready":false}`)) //nolint:errcheck // the client is gone
	case x.to.Op == dialect.Live:
		x.w.Write([]byte(`{"live":true}`)) //nolint:errcheck // the client is gone
	default:
		x.w.Write([]byte(`{"ready":true}`)) //nolint:errcheck // the client is gone
	}
}
