package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialects"
	"github.com/modelwarden/warden/internal/chat/translate"
	"github.com/modelwarden/warden/internal/gateway/framing"
	"github.com/modelwarden/warden/internal/policy"
)

// Handler serves all dialects. Paths are compared as they were sent: those that
// are not listed, or are listed but spelt otherwise, are not found. Nothing is
// cleaned, redirected or passed through blindly.
func (g *Gateway) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		rc := http.NewResponseController(w)
		if r.ContentLength != 0 { // the server itself waits for a body that nobody reads
			rc.SetReadDeadline(begun.Add(bodyTime)) //nolint:errcheck // shows when the body is read
		}
		// The deadline of the request before on this connection may still hold.
		rc.SetWriteDeadline(begun.Add(maxExchange + bodyTime)) //nolint:errcheck // shows when an answer is written
		both := false
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			// It may have named a length, too, which the server drops unseen: what
			// follows on this connection is not read, for somebody in between may
			// have taken it for this body. See RFC 9112, section 6.1.
			w.Header().Set("Connection", "close")
			both = framing.Both(r.Context())
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		x := &exchange{id: rand.Text(), w: w, r: r, rc: rc, begun: begun, started: g.cfg.Now()}
		if isGRPC(r) {
			w.Header().Set("X-Request-Id", x.id)
			g.call(r.Context(), x, path)
			return
		}
		var known bool
		if x.dialect, x.to, known = dialects.Match(g.spoken(), r.Method, path, query, r.Header.Get); !known {
			g.unknown(x, path, query)
			return
		}
		if both {
			g.refuse(x, refusal{status: http.StatusBadRequest, code: "invalid_request", message: "the request names a length and a transfer encoding"})
			return
		}
		if g.loops(r.Header) {
			g.refuse(x, refusal{status: http.StatusLoopDetected, code: "loop_detected", message: "this request went through this gateway, or too many, already"})
			return
		}
		x.query = query
		w.Header().Set("X-Request-Id", x.id)
		switch x.to.Op {
		case dialect.Models:
			g.models(r.Context(), x)
		case dialect.Live, dialect.Ready, dialect.Version, dialect.Metadata:
			g.about(r.Context(), x)
		default:
			g.serve(r.Context(), x)
		}
	})
}

// spoken lists the dialects that have paths now.
func (g *Gateway) spoken() []*dialect.Dialect {
	if own := g.generic.Load(); own != nil {
		return *own
	}
	return g.dialects
}

// unknown answers for a request line that no dialect knows.
func (g *Gateway) unknown(x *exchange, path, query string) {
	x.dialect = g.dialects[0]
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		if d, _, ok := dialects.Match(g.spoken(), method, path, query, x.r.Header.Get); ok {
			x.dialect = d
			x.w.Header().Set("Allow", method)
			g.refuse(x, refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: path + " wants " + method})
			return
		}
	}
	g.refuse(x, refusal{status: http.StatusNotFound, code: "unknown_path", message: "this gateway has no such path"})
}

// A refusal is an answer that did not come from the upstream.
type refusal struct {
	status        int
	code, message string
	because       []string
	retry         time.Duration // when to come again; 0: not said
}

// refuse answers in the dialect of the request.
func (g *Gateway) refuse(x *exchange, r refusal) {
	x.tellStanding()
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="warden"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		wait := int64(5)
		if r.retry > 0 {
			wait = int64((r.retry + time.Second - 1) / time.Second)
		}
		h.Set("Retry-After", strconv.FormatInt(wait, 10))
	}
	x.status = r.status
	g.metrics.requests.WithLabelValues(x.routeName(), x.dialect.Name, "refuse", r.code).Inc()
	if x.grpc {
		x.endCall(grpcStatus(r.status), r.message)
		return
	}
	x.rc.SetWriteDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // shows when it is written
	x.w.WriteHeader(r.status)
	x.w.Write(x.dialect.Error(dialect.Problem{Status: r.status, Code: r.code, Message: r.message})) //nolint:errcheck // the client is gone
}

// authenticate looks at headers only, before any byte of the body is read. All
// failures look alike.
func (g *Gateway) authenticate(ctx context.Context, x *exchange) *refusal {
	if g.cfg.Peer != nil {
		if id, ok := g.cfg.Peer(x.r); ok {
			x.who = id
			return nil
		}
	}
	from, key := clientAddr(x.r), g.credential(x)
	// Behind one address there may be many clients: whoever is known goes on.
	if g.guesses.many(from) && !g.keys.Remembers(key) {
		return &refusal{status: http.StatusTooManyRequests, code: "too_many_failures", message: "too many wrong credentials from this address; come again in a minute", retry: time.Minute}
	}
	var err error
	if g.cfg.Token != nil && idp.Token(key) {
		x.who, err = g.keys.Token(ctx, key, g.cfg.Token)
	} else {
		x.who, err = g.keys.Key(ctx, key)
	}
	we, known := errors.AsType[*warden.Error](err)
	switch {
	case err == nil:
		return nil
	case known && we.Code == warden.CodeUnauthenticated:
		g.guesses.add(from)
		return &refusal{status: http.StatusUnauthorized, code: "invalid_api_key", message: "no valid access key"}
	default:
		g.cfg.Log.ErrorContext(ctx, "identity cannot be looked up", slog.Any("error", err))
		return &refusal{status: http.StatusServiceUnavailable, code: "unavailable", message: "identities cannot be checked right now"}
	}
}

// credential returns what stands where the dialect's clients put their key, or
// where those of any other do.
func (g *Gateway) credential(x *exchange) string {
	for _, k := range x.dialect.Keys {
		if v, ok := strings.CutPrefix(x.r.Header.Get(k.Header), k.Prefix); ok && v != "" {
			return v
		}
	}
	// The name of the scheme may be written in any case (RFC 9110).
	if v := x.r.Header.Get("Authorization"); len(v) > 7 && strings.EqualFold(v[:7], "Bearer ") {
		return v[7:]
	}
	if v := x.r.Header.Get("X-Api-Key"); v != "" {
		return v
	}
	if g.cfg.QueryKeys && x.query != "" && x.dialect.Name == "gemini" {
		if q, err := url.ParseQuery(x.query); err == nil {
			return q.Get("key")
		}
	}
	return ""
}

// models lists the routes that the caller may query and that are open.
func (g *Gateway) models(ctx context.Context, x *exchange) {
	if ref := g.authenticate(ctx, x); ref != nil {
		g.refuse(x, *ref)
		return
	}
	var names []string
	for _, s := range g.Routes(ctx) {
		if s.Open && g.mayQuery(x.who, s.Name, action(dialect.Target{Op: taskOp(s.Task)}), policy.Asked{Choices: 1}).Effect == warden.Allow {
			names = append(names, s.Name)
		}
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.w.Write(x.dialect.Models(names)) //nolint:errcheck // the client is gone
}

const bodyTime = 30 * time.Second // to read a request body, and to write one piece of an answer

// readBody reads all of the request before anything is answered: a proxy that
// answers while the client still sends can lose the end of the answer. No more
// memory is taken than bytes came. Call release when the body is not needed.
func (g *Gateway) readBody(x *exchange, limit int64) (body []byte, release func(), ref *refusal) {
	release = func() {}
	r := x.r
	switch {
	case r.Header.Get("Content-Encoding") != "":
		return nil, release, &refusal{status: http.StatusUnsupportedMediaType, code: "unsupported_encoding", message: "send the body without Content-Encoding"}
	case r.ContentLength > limit:
		return nil, release, &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large", message: fmt.Sprintf("the body has %d bytes, at most %d are taken", r.ContentLength, limit)}
	}
	body, release, err := g.load.read(r.Body, r.ContentLength, limit)
	switch {
	case errors.Is(err, errLarge):
		return nil, release, &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large", message: fmt.Sprintf("the body has more than %d bytes", limit)}
	case errors.Is(err, errBusy):
		return nil, release, &refusal{status: http.StatusServiceUnavailable, code: "busy", message: "the gateway cannot take more requests right now"}
	case err != nil:
		return nil, release, &refusal{status: http.StatusBadRequest, code: "incomplete_body", message: "the body did not arrive"}
	}
	// A deadline that stays would end the exchange, not only the reading.
	if err := x.rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, release, &refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	}
	return body, release, nil
}

var auditFull = refusal{status: http.StatusServiceUnavailable, code: "audit_unavailable", message: "the audit log cannot take more requests right now"}

// serve takes one request through all steps. Each may refuse; what was taken
// until then is given back.
func (g *Gateway) serve(ctx context.Context, x *exchange) {
	if ref := g.authenticate(ctx, x); ref != nil {
		g.refuse(x, *ref)
		return
	}
	if !g.rec.reserve() {
		g.refuse(x, auditFull)
		return
	}
	key := x.who.KeyID
	if key == "" {
		key = x.who.Principal.ID
	}
	if ref := g.load.enter(key); ref != nil {
		g.turnAway(x, *ref)
		return
	}
	defer g.load.leave(key)
	most := int64(dialect.DefaultOptions().Limits.Bytes)
	if x.to.Op == dialect.Infer {
		most = maxCall
	}
	body, release, ref := g.readBody(x, most)
	defer release()
	if ref == nil {
		ref = g.prepare(ctx, x, body)
	}
	if ref == nil && !g.rec.reserve() { // the place of the record that ends the exchange
		ref = &auditFull
	}
	if ref != nil {
		if x.res != nil {
			x.res.Release()
		}
		g.turnAway(x, *ref)
		return
	}
	g.admitted(x)
	defer g.finished(x)
	if x.grpc {
		x.tellStanding()
		g.forwardCall(ctx, x)
		return
	}
	g.forward(ctx, x)
}

// prepare decides, in the order that is the same for every dialect.
func (g *Gateway) prepare(ctx context.Context, x *exchange, body []byte) *refusal {
	decode := g.decode
	if x.grpc {
		decode = g.decodeInfer
	}
	if ref := decode(x, body); ref != nil {
		return ref
	}
	if ref := g.permitted(x); ref != nil {
		return ref
	}
	if x.target, x.adm = g.choose(ctx, x.route); !x.adm.open {
		return g.closed(x)
	}
	if up := x.target.dialect; up != x.dialect && !translate.Pair(x.dialect.Name, up.Name) {
		return &refusal{status: http.StatusBadRequest, code: "wrong_dialect", message: "this model cannot be asked in the dialect " + x.dialect.Name}
	}
	if ref := g.reserve(ctx, x); ref != nil {
		return ref
	}
	if ref := g.guardRequest(ctx, x); ref != nil || x.grpc {
		return ref
	}
	var err error
	if x.out, err = x.body(x.target); err != nil {
		return bodyRefusal(err)
	}
	return nil
}

// decode reads the request and finds its route.
func (g *Gateway) decode(x *exchange, body []byte) *refusal {
	x.raw = body
	routes := *g.routes.Load()
	options, name := dialect.DefaultOptions(), x.to.Model
	if name == "" && g.mixed.Load() { // what may be in the body depends on its route
		name = modelOf(body, options.Limits)
	}
	if r := routes[name]; r != nil {
		options = r.Options
	}
	req, err := x.dialect.Decode(x.to, x.r.Header.Get, body, options)
	if err != nil {
		return bodyRefusal(err)
	}
	if name != "" && req.Model != name { // two readers, two models: nobody's options were asked
		return &refusal{status: http.StatusBadRequest, code: "invalid_body", message: "the model's name cannot be told"}
	}
	x.req, x.route = req, routes[req.Model]
	return nil
}

// permitted asks policy whether the caller may do what the request wants.
func (g *Gateway) permitted(x *exchange) *refusal {
	p := x.req.Params
	x.prompt = promptTokens(&x.req.Exchange, x.route != nil && x.route.Estimate)
	asked := policy.Asked{
		Stream: x.req.Stream, Tools: len(x.req.Tools) > 0, Logprobs: p.Logprobs || p.TopLogprobs > 0, Remote: remote(&x.req.Exchange),
		Choices: max(p.Choices, 1), Tokens: x.prompt + p.MaxOutput*max(p.Choices, 1), Address: clientAddr(x.r),
	}
	dec := g.mayQuery(x.who, x.req.Model, action(x.to), asked)
	hidden := len(x.who.Routes) > 0 && dec.Effect != warden.Allow && len(dec.Because) == 1 && dec.Because[0] == "key-routes"
	switch {
	case x.route == nil || hidden:
		x.route = nil
		return &refusal{status: http.StatusNotFound, code: "model_not_found", message: "no such model for this key", because: dec.Because}
	case dec.Effect != warden.Allow:
		return &refusal{status: http.StatusForbidden, code: "denied", message: "policy does not allow this key to query this model", because: dec.Because}
	}
	x.because, x.policies = dec.Because, dec.Policy
	x.obliged = g.cfg.Judge.Policies().Obligations(dec, "shape")
	return x.route.speaks(x)
}

// speaks refuses a dialect or a task that the route has not.
func (r *route) speaks(x *exchange) *refusal {
	if task := x.to.Op.Task(); task != r.Task {
		return &refusal{status: http.StatusBadRequest, code: "wrong_operation", message: fmt.Sprintf("this model is asked to %s, not to %s", r.Task, task)}
	}
	if len(r.Inbound) == 0 || slices.Contains(r.Inbound, x.dialect.Name) {
		return nil
	}
	return &refusal{status: http.StatusBadRequest, code: "wrong_dialect", message: "this model is not offered in the dialect " + x.dialect.Name}
}

func bodyRefusal(err error) *refusal {
	if tooLarge(err) {
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_complex", message: err.Error()}
	}
	return &refusal{status: http.StatusBadRequest, code: "invalid_body", message: err.Error()}
}

// closed is the refusal of a route that is closed. The reason is for those who
// may read the registry.
func (g *Gateway) closed(x *exchange) *refusal {
	text := "the model behind this route is not admitted"
	who := g.cfg.Judge.Thing(x.who.Principal, policy.Read, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}})
	if who.Effect == warden.Allow {
		text += ": " + x.adm.reason
	}
	return &refusal{status: http.StatusServiceUnavailable, code: "model_not_admitted", message: text, because: x.adm.because}
}

// reserve takes what the exchange may use at most from every limit.
func (g *Gateway) reserve(ctx context.Context, x *exchange) *refusal {
	r, p := x.route, &x.req.Params
	c := limit.Caller{Identity: x.who.Principal.ID, Key: x.who.KeyID, Groups: x.who.Groups, Route: r.Name}
	choices := max(p.Choices, 1)
	ask := limit.Ask{Tokens: x.prompt, Rows: p.Rows}
	bounded := g.limits.Bounds(c)
	generates := x.to.Op.Task() == chat.Chat && x.to.Op != dialect.CountTokens
	said := p.MaxOutput
	if generates && bounded {
		if said == 0 {
			said = r.MaxOutput
			if said == 0 {
				said = defaultMaxOutput
			}
			ask.Least = x.prompt + choices // a small limit does not refuse every request that names no bound
		}
		ask.Tokens += said * choices
	}
	if r.Price != (Price{}) {
		ask.Price = func(tokens int64) int64 {
			return (x.prompt*r.Price.Input + (tokens-x.prompt)*r.Price.Output) / 1_000_000
		}
	}
	res, err := g.limits.Reserve(ctx, c, ask)
	if reached, ok := errors.AsType[*limit.ReachedError](err); ok {
		g.metrics.limited.WithLabelValues(string(reached.Rule.Per), string(reached.Rule.Unit)).Inc()
		x.standing([]limit.Standing{{Rule: reached.Rule, Reset: reached.Retry}})
		return &refusal{
			status: http.StatusTooManyRequests, code: "rate_limit_exceeded", retry: reached.Retry, because: []string{"limit:" + string(reached.Rule.Per) + ":" + string(reached.Rule.Unit)},
			message: "limit reached (" + string(reached.Rule.Unit) + " per " + string(reached.Rule.Per) + ")",
		}
	}
	if err != nil {
		g.cfg.Log.ErrorContext(ctx, "limits cannot be counted", slog.Any("error", err))
		return &refusal{status: http.StatusServiceUnavailable, code: "limits_unavailable", message: "limits cannot be counted right now"}
	}
	x.res, x.left = res, res.Standing
	if generates && bounded && p.MaxOutput == 0 || generates && p.MaxOutput == 0 && r.MaxOutput > 0 {
		most := r.MaxOutput
		if bounded {
			most = (res.Tokens - x.prompt) / choices
		}
		x.maxOutput = most
	}
	return nil
}

const defaultMaxOutput = 1024

// promptTokens is how many tokens a request has at most: one for each byte of
// text, and some for each message. With estimate it is what is likely.
func promptTokens(e *chat.Exchange, estimate bool) int64 {
	var n int64 // quarters of tokens
	for _, m := range e.Messages {
		n += 8 * 4
		for _, p := range m.Parts {
			switch {
			case p.Blob != nil:
				n += blobTokens * 4
			case estimate:
				n += int64(len(p.Text))
			default:
				n += int64(len(p.Text)) * 4
			}
		}
	}
	for _, t := range e.Tools {
		n += 32 + int64(len(t.Schema))*4
	}
	return (n + 3) / 4
}

// blobTokens is what an image or a recording is taken to cost.
const blobTokens = 1600

func remote(e *chat.Exchange) bool {
	for _, m := range e.Messages {
		for _, p := range m.Parts {
			if p.Blob != nil && p.Blob.URL != "" {
				return true
			}
		}
	}
	return false
}

func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// tellStanding tells the client what is left after what the exchange took.
func (x *exchange) tellStanding() {
	if x.left != nil {
		x.standing(x.left)
		x.left = nil
	}
}

// standing tells the client what is left, in the fields that the IETF's draft on
// rate limits names, and in those that clients of OpenAI know.
func (x *exchange) standing(left []limit.Standing) {
	h := x.w.Header()
	var policies, fields []byte
	var last limit.Unit
	for _, s := range left {
		if s.Rule.Unit == last { // the scarcest of a unit comes first
			continue
		}
		last = s.Rule.Unit
		name, seconds := string(s.Rule.Unit), int64((s.Reset+time.Second-1)/time.Second)
		policies = field(policies, name, ";q=", s.Rule.Amount, ";w=", int64(s.Rule.Length()/time.Second))
		fields = field(fields, name, ";r=", s.Left, ";t=", seconds)
		if x.dialect.Name != "openai" {
			continue
		}
		left, reset := strconv.FormatInt(s.Left, 10), (time.Duration(seconds) * time.Second).String()
		if s.Rule.Unit == limit.Requests {
			h["X-Ratelimit-Limit-Requests"] = []string{strconv.FormatInt(s.Rule.Amount, 10)}
			h["X-Ratelimit-Remaining-Requests"], h["X-Ratelimit-Reset-Requests"] = []string{left}, []string{reset}
		}
		if s.Rule.Unit == limit.Tokens {
			h["X-Ratelimit-Limit-Tokens"] = []string{strconv.FormatInt(s.Rule.Amount, 10)}
			h["X-Ratelimit-Remaining-Tokens"], h["X-Ratelimit-Reset-Tokens"] = []string{left}, []string{reset}
		}
	}
	if len(fields) > 0 {
		h["Ratelimit-Policy"], h["Ratelimit"] = []string{string(policies)}, []string{string(fields)}
	}
}

// field appends an item of a list with two parameters (RFC 9651).
func field(b []byte, name, first string, one int64, second string, two int64) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = strconv.AppendInt(append(strconv.AppendQuote(b, name), first...), one, 10)
	return strconv.AppendInt(append(b, second...), two, 10)
}

// action is what policy is asked for an operation.
func action(to dialect.Target) policy.Action {
	switch to.Op {
	case dialect.Embed:
		return policy.Embed
	case dialect.Infer:
		return policy.Infer
	default:
		return policy.Query
	}
}
