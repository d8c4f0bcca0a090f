package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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

// Handler serves the OpenAI dialect. Paths that are not listed are not found:
// nothing is passed through blindly.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", g.chat)
	mux.HandleFunc("GET /v1/models", g.models)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, refusal{status: http.StatusNotFound, code: "unknown_path", message: "this gateway has no such path"})
	})
	return mux
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
	case r.status >= http.StatusInternalServerError:
		kind = "server_error"
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if r.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
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
		g.cfg.Log.Error("identity cannot be looked up", slog.Any("error", err))
		return id, &refusal{status: http.StatusServiceUnavailable, code: "unavailable", message: "identities cannot be checked right now"}
	}
}

// mayQuery asks policy, and the key's own list of routes.
func (g *Gateway) mayQuery(id access.Identity, name string) warden.Decision {
	if len(id.Routes) > 0 && !slices.Contains(id.Routes, name) {
		return warden.Decision{Effect: warden.Deny, Because: []string{"key-routes"}}
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
// answers first can lose the rest (golang/go#40747).
func readBody(w http.ResponseWriter, r *http.Request, maxBytes int) ([]byte, *refusal) {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "unsupported_encoding", message: "send the body without Content-Encoding"}
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, &refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r.Body, int64(maxBytes)+1))
	switch {
	case err != nil:
		return nil, &refusal{status: http.StatusBadRequest, code: "incomplete_body", message: "the body could not be read to its end"}
	case n > int64(maxBytes):
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large", message: fmt.Sprintf("the body is larger than %d bytes", maxBytes)}
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, &refusal{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	}
	return buf.Bytes(), nil
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
	body, name, ref := g.prepare(w, r, x)
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
		x.route.tokens.Add(uint64(x.usage.Input + x.usage.Output))
	}()
	g.forward(w, r, x, body)
}

// prepare reads and decides. It returns the bytes to forward, or why not.
func (g *Gateway) prepare(w http.ResponseWriter, r *http.Request, x *exchange) (body []byte, name string, ref *refusal) {
	lim := wire.DefaultLimits()
	raw, ref := readBody(w, r, lim.Bytes)
	if ref != nil {
		return nil, "", ref
	}
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
	if x.adm = g.admit(r.Context(), x.route); !x.adm.open {
		return nil, name, &refusal{status: http.StatusServiceUnavailable, code: "model_not_admitted", message: g.closed(x), because: x.adm.because}
	}
	body, err = req.WithModel(x.route.UpstreamModel, lim)
	if err != nil {
		return nil, name, &refusal{status: http.StatusBadRequest, code: "invalid_body", message: err.Error()}
	}
	return body, name, nil
}

// closed is the text for a route that is closed. The reason is for those who
// may read the registry.
func (g *Gateway) closed(x *exchange) string {
	text := "the model behind this route is not admitted"
	who := g.cfg.Judge.Thing(x.who.Principal, policy.Read, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}})
	if who.Effect == warden.Allow {
		text += ": " + x.adm.reason
	}
	return text
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

// forward sends body to the upstream and its answer back.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, x *exchange, body []byte) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.route.url.String(), bytes.NewReader(body))
	if err != nil {
		g.bad(w, x, err)
		return
	}
	// An allow-list: no header of the client reaches the upstream.
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "User-Agent": {"warden-gateway"}}
	if c := x.route.Credential.Reveal(); c != "" {
		req.Header.Set("Authorization", "Bearer "+c)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		if r.Context().Err() != nil {
			x.end = "client_gone"
			return
		}
		g.bad(w, x, err)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		g.bad(w, x, fmt.Errorf("upstream redirects (status %d)", resp.StatusCode))
	case strings.TrimSpace(strings.ToLower(mediaType)) == "text/event-stream" && resp.StatusCode == http.StatusOK:
		g.stream(w, r, x, resp.Body, cancel)
	default:
		g.whole(w, x, resp)
	}
}

// bad answers for an upstream that gave nothing to pass on. The cause is in the
// log only: it can name hosts of the inside.
func (g *Gateway) bad(w http.ResponseWriter, x *exchange, err error) {
	x.end, x.status = "upstream_error", http.StatusBadGateway
	g.cfg.Log.Warn("upstream failed", slog.String("route", x.route.Name), slog.String("request", x.id), slog.Any("error", err))
	refuse(w, refusal{status: http.StatusBadGateway, code: "upstream_error", message: "the upstream of this route failed"})
}

const (
	maxAnswer = 64 << 20
	maxError  = 64 << 10
)

// whole passes an answer that is not a stream. It is read to its end first, so
// that a truncated answer becomes an error and never a short success.
func (g *Gateway) whole(w http.ResponseWriter, x *exchange, resp *http.Response) {
	limit := int64(maxAnswer)
	if resp.StatusCode >= 400 {
		limit = maxError
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(resp.Body, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("answer larger than %d bytes", limit)
	}
	var doc *wire.Doc
	if err == nil {
		lim := wire.DefaultLimits()
		lim.Bytes, lim.Values = maxAnswer, 10_000_000
		doc, err = wire.Parse(buf.Bytes(), lim)
	}
	if err == nil && resp.StatusCode >= 400 && doc.Root().Get("error").Kind() == wire.Missing {
		err = fmt.Errorf("status %d without an error of the dialect", resp.StatusCode)
	}
	if err != nil {
		g.bad(w, x, err)
		return
	}
	x.usage, _ = openai.UsageOf(buf.Bytes())
	x.end, x.status, x.sent = "complete", resp.StatusCode, n
	if ra := resp.Header.Get("Retry-After"); ra != "" && len(ra) < 40 {
		w.Header().Set("Retry-After", ra)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(resp.StatusCode)
	w.Write(buf.Bytes()) //nolint:errcheck // the client is gone
}
