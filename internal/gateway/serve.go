package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
	"github.com/modelwarden/warden/internal/policy"
)

// Handler serves the OpenAI dialect. Paths are compared as they were sent:
// those that are not listed, or are listed but spelt otherwise, are not found.
// Nothing is cleaned, redirected or passed through blindly.
func (g *Gateway) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.ContentLength != 0 { // the server itself waits for a body that nobody reads
			rc.SetReadDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // shows when the body is read
		}
		// The deadline of the request before on this connection may still hold.
		rc.SetWriteDeadline(time.Now().Add(maxExchange + bodyTime)) //nolint:errcheck // shows when an answer is written
		var method string
		var serve http.HandlerFunc
		path, _, _ := strings.Cut(r.RequestURI, "?")
		switch path {
		case "/v1/chat/completions":
			method, serve = http.MethodPost, g.chat
		case "/v1/models":
			method, serve = http.MethodGet, g.models
		default:
			refuse(w, refusal{status: http.StatusNotFound, code: "unknown_path", message: "this gateway has no such path"})
			return
		}
		switch {
		case r.Method != method:
			w.Header().Set("Allow", method)
			refuse(w, refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: path + " wants " + method})
		case g.loops(r.Header):
			refuse(w, refusal{status: http.StatusLoopDetected, code: "loop_detected", message: "this request went through this gateway, or too many, already"})
		default:
			serve(w, r)
		}
	})
}

// A refusal is an answer that did not come from the upstream.
type refusal struct {
	status        int
	code, message string
	because       []string
}

func refuse(w http.ResponseWriter, r refusal) {
	kind := "invalid_request_error"
	switch {
	case r.status == http.StatusUnauthorized:
		kind = "authentication_error"
	case r.status == http.StatusForbidden:
		kind = "permission_error"
	case r.status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case r.status >= http.StatusInternalServerError:
		kind = "server_error"
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="warden"`)
	}
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // shows when it is written
	w.WriteHeader(r.status)
	w.Write(openai.Error(kind, r.code, r.message)) //nolint:errcheck // the client is gone
}

// authenticate looks at headers only, before any byte of the body is read.
func (g *Gateway) authenticate(r *http.Request) (access.Identity, *refusal) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		key = r.Header.Get("X-Api-Key")
	}
	id, err := g.cfg.Access.Key(r.Context(), key)
	var we *warden.Error
	switch {
	case err == nil:
		return id, nil
	case errors.As(err, &we) && we.Code == warden.CodeUnauthenticated:
		return id, &refusal{status: http.StatusUnauthorized, code: "invalid_api_key", message: "no valid access key"}
	default:
		g.cfg.Log.ErrorContext(r.Context(), "identity cannot be looked up", slog.Any("error", err))
		return id, &refusal{status: http.StatusServiceUnavailable, code: "unavailable", message: "identities cannot be checked right now"}
	}
}

// mayQuery asks policy, and the key's own list of routes.
func (g *Gateway) mayQuery(id access.Identity, name string) warden.Decision {
	if len(id.Routes) > 0 && !slices.Contains(id.Routes, name) {
		return warden.Decision{Effect: warden.Deny, Because: []string{"key-routes"}}
	}
	if !id.Allows(policy.Query) {
		return warden.Decision{Effect: warden.Deny, Because: []string{"key-actions"}}
	}
	return g.cfg.Judge.Thing(id.Principal, policy.Query, policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: name}, Task: "chat"})
}

// models lists the routes that the caller may query and that are open.
func (g *Gateway) models(w http.ResponseWriter, r *http.Request) {
	id, ref := g.authenticate(r)
	if ref != nil {
		refuse(w, *ref)
		return
	}
	var names []string
	for _, s := range g.Routes(r.Context()) {
		if s.Open && g.mayQuery(id, s.Name).Effect == warden.Allow {
			names = append(names, s.Name)
		}
	}
	b, err := openai.Models(names)
	if err != nil {
		refuse(w, refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone
}

const bodyTime = 30 * time.Second // to read a request body, and to write one piece of an answer

// readBody reads all of the request before anything is answered: a proxy that
// answers first can lose the rest (golang/go#40747). The caller releases the
// memory that it takes.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, maxBytes int) (body []byte, release func(), ref *refusal) {
	nothing := func() {}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, nothing, &refusal{status: http.StatusUnsupportedMediaType, code: "unsupported_encoding", message: "send the body without Content-Encoding"}
	}
	large := &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large", message: fmt.Sprintf("the body is larger than %d bytes", maxBytes)}
	if r.ContentLength > int64(maxBytes) {
		return nil, nothing, large
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, nothing, &refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	}
	body, release, err := g.load.read(r.Body, int64(maxBytes))
	switch {
	case errors.Is(err, errLarge):
		return nil, release, large
	case errors.Is(err, errBusy):
		return nil, release, &refusal{status: http.StatusServiceUnavailable, code: "busy", message: "the gateway cannot take more requests right now"}
	case err != nil:
		return nil, release, &refusal{status: http.StatusBadRequest, code: "incomplete_body", message: "the body could not be read to its end"}
	}
	// A deadline that stays would end the exchange, not only the reading.
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, release, &refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	}
	return body, release, nil
}

// An exchange is one request on its way.
type exchange struct {
	id      string
	who     access.Identity
	route   *route
	adm     admission
	started time.Time

	end    string // how it ended
	status int
	sent   int64 // bytes of the answer
	usage  chat.Usage
}

func (g *Gateway) chat(w http.ResponseWriter, r *http.Request) {
	x := &exchange{id: rand.Text(), started: g.cfg.Now()}
	w.Header().Set("X-Request-Id", x.id)
	id, ref := g.authenticate(r)
	if ref != nil {
		refuse(w, *ref)
		return
	}
	x.who = id
	if !g.rec.reserve() {
		refuse(w, refusal{status: http.StatusServiceUnavailable, code: "audit_unavailable", message: "the audit log cannot take more requests right now"})
		return
	}
	if ref := g.load.enter(id.KeyID); ref != nil {
		g.turnAway(w, x, "", *ref)
		return
	}
	defer g.load.leave(id.KeyID)
	raw, release, ref := g.readBody(w, r, wire.DefaultLimits().Bytes)
	defer release()
	var body []byte
	name := ""
	if ref == nil {
		body, name, ref = g.prepare(r.Context(), x, raw)
	}
	if ref != nil {
		g.turnAway(w, x, name, *ref)
		return
	}
	if !g.rec.reserve() { // the place of the record that ends the exchange
		g.turnAway(w, x, name, refusal{status: http.StatusServiceUnavailable, code: "audit_unavailable", message: "the audit log cannot take more requests right now"})
		return
	}
	x.route.requests.Add(1)
	x.route.last.Store(x.started.Unix())
	g.rec.put(event(id.Principal, "gateway.admit", name, map[string]any{
		"request": x.id, "key": id.KeyID, "digest": x.adm.digest.String(), "because": x.adm.because, "bytes": len(body),
	}))
	defer func() {
		g.rec.put(event(id.Principal, "gateway.finish", name, map[string]any{
			"request": x.id, "status": x.status, "end": x.end, "bytes": x.sent, "input_tokens": x.usage.Input, "output_tokens": x.usage.Output,
			"ms": g.cfg.Now().Sub(x.started).Milliseconds(),
		}))
		x.route.tokens.Add(uint64(x.usage.Input + x.usage.Output)) //nolint:gosec // neither is negative
	}()
	g.forward(w, r, x, body)
}

// prepare decides. It returns the bytes to forward, or why not.
func (g *Gateway) prepare(ctx context.Context, x *exchange, raw []byte) (body []byte, name string, ref *refusal) {
	lim := wire.DefaultLimits()
	req, err := openai.Decode(raw, lim)
	switch {
	case errors.Is(err, detect.ErrLimit):
		return nil, "", &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_complex", message: err.Error()}
	case err != nil:
		return nil, "", &refusal{status: http.StatusBadRequest, code: "invalid_body", message: err.Error()}
	}
	name = req.Model
	x.route = (*g.routes.Load())[name]
	dec := g.mayQuery(x.who, name)
	switch {
	case x.route == nil || len(x.who.Routes) > 0 && dec.Effect != warden.Allow && slices.Equal(dec.Because, []string{"key-routes"}):
		x.route = nil
		return nil, "unknown", &refusal{status: http.StatusNotFound, code: "model_not_found", message: "no such model for this key", because: dec.Because}
	case dec.Effect != warden.Allow:
		return nil, name, &refusal{status: http.StatusForbidden, code: "denied", message: "policy does not allow this key to query this model", because: dec.Because}
	}
	if x.adm = g.admit(ctx, x.route); !x.adm.open {
		return nil, name, g.closed(x)
	}
	body, err = req.WithModel(x.route.UpstreamModel, lim)
	if err != nil {
		return nil, name, &refusal{status: http.StatusBadRequest, code: "invalid_body", message: err.Error()}
	}
	return body, name, nil
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

// turnAway refuses and records why, in the place that was reserved.
func (g *Gateway) turnAway(w http.ResponseWriter, x *exchange, name string, ref refusal) {
	if x.route != nil {
		x.route.refused.Add(1)
		x.route.last.Store(x.started.Unix())
	}
	if name == "" {
		name = "unknown"
	}
	g.rec.put(event(x.who.Principal, "gateway.refuse", name, map[string]any{
		"request": x.id, "key": x.who.KeyID, "status": ref.status, "code": ref.code, "because": ref.because, "digest": digestText(x.adm.digest),
	}))
	refuse(w, ref)
}

func digestText(d warden.Digest) string {
	if d == (warden.Digest{}) {
		return ""
	}
	return d.String()
}
