// Package api is the HTTP interface under /api/v1: typed operations for people's
// console and programs, plain handlers for bytes and streams. It authenticates,
// asks policy, calls the registry, and maps errors to answers in one place. It
// sees services and interfaces, never SQL.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
)

// A Demo fills the platform with demo data and takes it out again.
type Demo interface {
	Load(ctx context.Context, actor warden.Principal) (DemoSummary, error)
	Remove(ctx context.Context, actor warden.Principal) (DemoSummary, error)
}

// A DemoSummary says what a [Demo] did.
type DemoSummary struct {
	Models    int `json:"models" doc:"model versions pushed or removed"`
	Artifacts int `json:"artifacts"`
	Keys      int `json:"keys" doc:"access keys made or removed"`
	Requests  int `json:"requests" doc:"requests sent through the gateway"`
}

// A RouteStatus is what the gateway says of one route.
type RouteStatus struct {
	Name      string    `json:"name"`
	Task      string    `json:"task"`
	Model     string    `json:"model" doc:"registry reference the route is bound to; empty for a model that others run"`
	Provider  string    `json:"provider" doc:"name of a model that others run"`
	Digest    string    `json:"digest" doc:"what the reference means now; empty if it cannot be resolved"`
	Dialect   string    `json:"dialect" doc:"what the upstream speaks"`
	Upstream  string    `json:"upstream"`
	Fallbacks int       `json:"fallbacks"`
	Limits    []string  `json:"limits"`
	Guard     string    `json:"guard" enum:"off,shadow,standard"`
	Price     string    `json:"price" doc:"of a million tokens of input / output; empty: none"`
	Open      bool      `json:"open" doc:"requests are let through"`
	Reason    string    `json:"reason" doc:"why the route is open or closed"`
	Requests  uint64    `json:"requests"`
	Refused   uint64    `json:"refused"`
	Blocked   uint64    `json:"blocked" doc:"by guards"`
	Tokens    uint64    `json:"tokens" doc:"reported by the upstream"`
	Last      time.Time `json:"last" doc:"last request; zero if none"`
	Demo      bool      `json:"demo"`
	Source    string    `json:"source" enum:"config,stored,demo"`
	Disabled  bool      `json:"disabled" doc:"a stored route that is switched off"`
}

// A Config is what the API needs. Demo, Routes and Web may be nil.
type Config struct {
	Registry    *registry.Service
	Judge       *registry.Judge
	Governor    *registry.Governor
	Person      func(ctx context.Context, principal string) (string, error) // who stands behind a principal; nil: itself
	Blobs       blob.Store
	Uploads     blob.Uploads
	Access      *access.Service
	Verifier    note.Verifier    // of audit checkpoints
	Witnesses   *audit.Witnesses // of the same; nil: none are kept
	VerifierKey string           // its text form, for those who check outside
	PublicKey   []byte           // PEM of the statement key
	Rules       map[warden.RuleID]warden.Rule
	Tool        report.Tool
	Demo        Demo
	Login       *idp.Provider                                     // people sign in with it; may be nil
	Workloads   *idp.Workloads                                    // programs come in with its tokens; may be nil
	Link        func(ctx context.Context) (url string, err error) // makes a one-time administrator link
	Routes      func(ctx context.Context) []RouteStatus
	Stored      *route.Service                 // routes that are added at run time; may be nil
	Traffic     *monitor.Service               // may be nil
	Archive     *monitor.Archive               // of contents; may be nil
	Register    *register.Service              // of assets; may be nil
	Accounts    func(most int) []limit.Account // what callers used of limits, in this process; may be nil
	Running     func() int                     // exchanges in this process; may be nil
	Web         http.Handler                   // everything that is not the API
	Log         *slog.Logger
	Now         func() time.Time
	Done        <-chan struct{} // closed when the server begins to stop: endless answers end; may be nil
	MaxBlob     int64           // bytes of one upload
	Secure      bool            // cookies only over TLS
}

type service struct {
	Config
	inspecting chan struct{} // holds one value for each file that is looked into
	streaming  chan struct{} // holds one value for each stream of events
	verifying  sync.Mutex    // one verification of the whole log at a time: it keeps a reader of the database for long
}

// New returns the handler of the API and the console.
func New(cfg Config) http.Handler {
	s, mux, _ := build(cfg)
	return s.guard(mux)
}

// OpenAPI returns the description of the API as YAML. It needs no services.
func OpenAPI() ([]byte, error) {
	_, _, h := build(Config{})
	return h.OpenAPI().YAML()
}

func build(cfg Config) (*service, *http.ServeMux, huma.API) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, mux := &service{Config: cfg, inspecting: make(chan struct{}, inspectAtOnce), streaming: make(chan struct{}, streamsAtOnce)}, http.NewServeMux()
	hc := huma.DefaultConfig("Warden", "v1")
	hc.Info.Description = "AI model security: registry, scans, statements, decisions, audit. Errors are RFC 9457 problems with a code and a hint."
	hc.CreateHooks = nil // no $schema links: they echo the Host header
	hc.Transformers = append(hc.Transformers, s.transform)
	hc.DocsPath, hc.SchemasPath = "", ""
	hc.OpenAPIPath = "/api/openapi"
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":     {Type: "http", Scheme: "bearer", Description: "access key wdn_…"},
		"session": {Type: "apiKey", In: "cookie", Name: cookieName},
	}
	hc.Security = []map[string][]string{{"key": {}}, {"session": {}}}
	h := humago.New(mux, hc)
	s.routes(h, mux)
	return s, mux, h
}

// guard is what every request passes: no cross-origin changes, security headers,
// and an identity for everything under /api/v1 and /tlog that is not the
// beginning of a session.
func (s *service) guard(mux http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.problem(w, &warden.Error{Code: warden.CodeDenied, Message: "request from another origin", Hint: "use the console of this server, or an access key without a browser"})
	}))
	return cross.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r = pace(w, r, stallTime)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		private := strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/tlog/")
		if !private {
			if s.Web == nil {
				http.NotFound(w, r)
				return
			}
			s.Web.ServeHTTP(w, r)
			return
		}
		h.Set("Cache-Control", "no-store")
		if public(r) {
			mux.ServeHTTP(w, r)
			return
		}
		id, err := s.identify(r)
		if err != nil {
			s.problem(w, err)
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id))) //nolint:contextcheck // it is derived from that of the request
	}))
}

// public lists the operations that need no identity.
func public(r *http.Request) bool {
	switch r.URL.Path {
	case "/api/v1/health", "/api/openapi.json", "/api/openapi.yaml", loginPath, loginBegin, loginFinish:
		return r.Method == http.MethodGet
	case "/api/v1/session":
		return r.Method == http.MethodPost
	}
	return false
}

type identityKey struct{}

const cookieName = "warden_session"

// identify authenticates the credential of r. A key in the Authorization header
// wins over a cookie.
func (s *service) identify(r *http.Request) (access.Identity, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		key, ok := strings.CutPrefix(h, "Bearer ")
		if !ok {
			return access.Identity{}, access.ErrUnknown
		}
		if idp.Token(key) {
			return s.workload(r, key)
		}
		return s.Access.Key(r.Context(), key)
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return access.Identity{}, access.ErrUnknown
	}
	return s.Access.Session(r.Context(), c.Value)
}

func identity(ctx context.Context) access.Identity {
	id, _ := ctx.Value(identityKey{}).(access.Identity)
	return id
}

// may returns nil if whoever asks may do action on the platform.
func (s *service) may(ctx context.Context, action policy.Action) error {
	return s.mayOn(ctx, action, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}})
}

func (s *service) mayOn(ctx context.Context, action policy.Action, on policy.Resource) error {
	if err := s.credentialMay(ctx, action, on.Ref); err != nil {
		return err
	}
	who, err := s.as(ctx, action, on)
	if err != nil {
		return err
	}
	return s.obey(ctx, s.Judge.Thing(who, action, on), who, action)
}

// credentialMay refuses what the key that was shown is not for, whatever its
// roles allow.
func (s *service) credentialMay(ctx context.Context, action policy.Action, on warden.Ref) error {
	id := identity(ctx)
	if id.Allows(action) {
		return nil
	}
	return s.obey(ctx, warden.Decision{Effect: warden.Deny, Subject: on, Because: []string{"key-actions"}}, id.Principal, action)
}

func (s *service) mayArtifact(ctx context.Context, action policy.Action, d warden.Digest) error {
	ref := registry.ArtifactRef(d)
	if err := s.credentialMay(ctx, action, ref); err != nil {
		return err
	}
	who, err := s.as(ctx, action, policy.Resource{Ref: ref})
	if err != nil {
		return err
	}
	dec, _, err := s.Judge.Artifact(ctx, who, action, d)
	if err != nil {
		return err
	}
	return s.obey(ctx, dec, who, action)
}

// obey turns a decision that is not Allow into an error, and audits it.
func (s *service) obey(ctx context.Context, dec warden.Decision, who warden.Principal, action policy.Action) error {
	if dec.Effect == warden.Allow {
		return nil
	}
	_, err := s.Registry.Record(ctx, audit.Record{
		Event:   warden.Event{Actor: who, Action: "access.deny", Object: dec.Subject},
		Payload: map[string]any{"action": action, "policy": dec.Policy, "because": dec.Because},
	})
	if err != nil {
		return err
	}
	return &warden.Error{
		Code: warden.CodeDenied, Message: "policy does not allow " + string(action) + " on " + dec.Subject.String() + " (" + strings.Join(dec.Because, ", ") + ")",
		Hint: "ask an administrator for a role that may, or see the policy named here",
	}
}

// asError returns what a user may see of err, and logs what they may not.
func (s *service) asError(err error) *warden.Error {
	var we *warden.Error
	if errors.As(err, &we) && we.Code != warden.CodeInternal {
		return we
	}
	if errors.Is(err, context.Canceled) {
		return &warden.Error{Code: warden.CodeUnavailable, Message: "the request was given up", Err: err}
	}
	id := requestID()
	cause := err
	if we != nil && we.Err != nil {
		cause = we.Err
	}
	s.Log.Error("request failed", slog.String("error_id", id), slog.Any("error", cause))
	return &warden.Error{Code: warden.CodeInternal, Message: "internal error " + id, Hint: "the server's log has the cause under this id", Err: err}
}
