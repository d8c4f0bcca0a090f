// Package gateway is the inference proxy: identity → decode → admission of the
// model → policy → forward the original bytes → record. It refuses every route
// whose model's digest is denied, quarantined or unknown, and fails closed when
// it cannot ask. It sees services, never SQL.
package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// ErrRoute is wrapped by errors about routes that cannot be served.
var ErrRoute = errors.New("invalid route")

// A Route is one public model name and what stands behind it.
type Route struct {
	Name          string         // what clients send as model
	Model         string         // registry reference: digest, namespace/model@number or namespace/model (newest)
	Upstream      string         // base URL; "/chat/completions" is added
	UpstreamModel string         // what the upstream calls it; "" means Name
	Credential    access.Secret  // sent to the upstream as a bearer token; may be empty
	AllowPrivate  []netip.Prefix // private address ranges that the upstream may be in
	Demo          bool
}

// A Config is what a Gateway needs; Log and the durations may be zero.
type Config struct {
	Registry *registry.Service
	Judge    *registry.Judge
	Access   *access.Service
	Now      func() time.Time
	Log      *slog.Logger
	MaxStale time.Duration // how long an answer of the registry holds when it cannot be asked again; zero: 5 s
	Idle     time.Duration // longest silence of an upstream; zero: 60 s
}

// A Gateway serves routes. Make one with New, run Serve beside its Handler.
type Gateway struct {
	cfg  Config
	id   string // names this gateway to others, against loops
	rec  *recorder
	load *load

	routes     atomic.Pointer[map[string]*route]
	generation atomic.Uint64 // counts changes in the registry
	fresh      atomic.Int64  // Unix nanoseconds of the last successful look at the registry

	mu sync.Mutex // serialises changes of routes
}

type route struct {
	Route
	url    *url.URL
	client *http.Client

	requests, refused, tokens atomic.Uint64
	last                      atomic.Int64 // Unix seconds

	mu  sync.Mutex // guards adm
	adm admission
}

// An admission is what the registry and the policies say about a route's model.
type admission struct {
	valid      bool
	generation uint64
	at         time.Time
	digest     warden.Digest
	open       bool
	reason     string
	because    []string
}

// admissionAge is how long an admission is believed without any change.
const admissionAge = 10 * time.Second

// New checks cfg. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	if cfg.Registry == nil || cfg.Judge == nil || cfg.Access == nil || cfg.Now == nil {
		return nil, errors.New("gateway: registry, judge, access and clock are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.MaxStale, cfg.Idle = cmp.Or(cfg.MaxStale, 5*time.Second), cmp.Or(cfg.Idle, time.Minute)
	g := &Gateway{cfg: cfg, id: "warden-" + rand.Text(), rec: newRecorder(cfg.Registry, cfg.Log), load: newLoad()}
	g.routes.Store(&map[string]*route{})
	return g, nil
}

// SetRoutes replaces the routes whose Demo mark is demo. On an error nothing is
// changed.
func (g *Gateway) SetRoutes(demo bool, routes ...Route) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next, gone := map[string]*route{}, []*route{}
	for name, r := range *g.routes.Load() {
		if r.Demo != demo {
			next[name] = r
		} else {
			gone = append(gone, r)
		}
	}
	for _, r := range routes {
		u, err := url.Parse(r.Upstream)
		switch {
		case r.Name == "" || len(r.Name) > 200:
			return fmt.Errorf("%w: a route needs a name of at most 200 bytes", ErrRoute)
		case next[r.Name] != nil:
			return fmt.Errorf("%w: route %q is there twice", ErrRoute, r.Name)
		case r.Model == "":
			return fmt.Errorf("%w: route %q names no registry model", ErrRoute, r.Name)
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("%w: route %q: upstream must be http(s)://host[:port][/path]", ErrRoute, r.Name)
		}
		r.Demo = demo
		next[r.Name] = &route{Route: r, url: u.JoinPath("chat", "completions"), client: dialGuard{r.AllowPrivate}.client(g.cfg.Idle)}
	}
	g.routes.Store(&next)
	for _, r := range gone {
		r.client.CloseIdleConnections()
	}
	return nil
}

// A Status is what a Gateway says of one route.
type Status struct {
	Route
	Digest                    warden.Digest
	Open                      bool
	Reason                    string
	Requests, Refused, Tokens uint64
	Last                      time.Time // zero: no request yet
}

// Routes returns the state of every route, by name.
func (g *Gateway) Routes(ctx context.Context) []Status {
	var out []Status
	for _, r := range *g.routes.Load() {
		a := g.admit(ctx, r)
		st := Status{Route: r.Route, Digest: a.digest, Open: a.open, Reason: a.reason, Requests: r.requests.Load(), Refused: r.refused.Load(), Tokens: r.tokens.Load()}
		if t := r.last.Load(); t > 0 {
			st.Last = time.Unix(t, 0).UTC()
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// service is the principal that serves models.
func service() warden.Principal { return warden.Principal{ID: "service:gateway"} }

// admit says whether r's model may answer now. The answer is remembered until
// the registry changes, at most admissionAge. If the registry cannot be asked,
// the route is closed.
func (g *Gateway) admit(ctx context.Context, r *route) admission {
	gen, now := g.generation.Load(), g.cfg.Now()
	// A clock that was set back makes an old look seem new: that is stale too.
	if now.Sub(time.Unix(0, g.fresh.Load())).Abs() > g.cfg.MaxStale {
		return admission{reason: "the registry cannot be asked", because: []string{"stale"}}
	}
	r.mu.Lock()
	a := r.adm
	r.mu.Unlock()
	if a.valid && a.generation == gen && now.Sub(a.at).Abs() < admissionAge {
		return a
	}
	a = g.ask(ctx, r, now)
	a.generation = gen
	if a.valid {
		r.mu.Lock()
		before := r.adm
		r.adm = a
		r.mu.Unlock()
		if !before.valid || before.open != a.open || before.reason != a.reason {
			g.tell(ctx, r, a)
		}
	}
	return a
}

// tell logs that a route opened or closed, and why: the client's answer does not
// say it to everybody.
func (g *Gateway) tell(ctx context.Context, r *route, a admission) {
	level, state := slog.LevelInfo, "open"
	if !a.open {
		level, state = slog.LevelWarn, "closed"
	}
	g.cfg.Log.LogAttrs(ctx, level, "route", slog.String("name", r.Name), slog.String("state", state), slog.String("model", r.Model), slog.String("reason", a.reason))
}

func (g *Gateway) ask(ctx context.Context, r *route, now time.Time) admission {
	v, err := g.cfg.Registry.Find(ctx, r.Model)
	if err != nil {
		var we *warden.Error
		if errors.As(err, &we) && we.Code == warden.CodeNotFound {
			return admission{valid: true, at: now, reason: "model " + r.Model + " is not in the registry", because: []string{"not-registered"}}
		}
		return admission{reason: "the registry cannot be asked", because: []string{"unavailable"}}
	}
	dec, a, err := g.cfg.Judge.Artifact(ctx, service(), policy.Serve, v.Digest)
	if err != nil {
		return admission{reason: "the registry cannot be asked", because: []string{"unavailable"}}
	}
	out := admission{valid: true, at: now, digest: v.Digest, open: dec.Effect == warden.Allow, because: dec.Because, reason: a.Why()}
	if !out.open && a.State() == registry.Admitted { // it was admitted, but policy does not let it serve now
		out.reason = "policy: " + strings.Join(dec.Because, ", ")
	}
	return out
}

// watchEvery is how often changes by other processes are looked for; changes by
// this process are known at once.
const watchEvery = 250 * time.Millisecond

// Serve watches the registry and writes records until ctx ends and every
// accepted record is written. Without it every route is closed.
func (g *Gateway) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { g.watch(ctx) })
	wg.Go(func() { g.rec.run(ctx) })
	wg.Wait()
	return nil
}

func (g *Gateway) watch(ctx context.Context) {
	changes := g.cfg.Registry.Changes(ctx)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last uint64
	look := func() {
		var epoch uint64
		begun := g.cfg.Now()
		err := g.cfg.Registry.View(ctx, func(r registry.Reader) (err error) {
			epoch, err = r.Epoch(ctx)
			return err
		})
		if err != nil {
			return // fresh grows old, and routes close
		}
		if epoch != last {
			last = epoch
			g.generation.Add(1)
		}
		g.fresh.Store(begun.UnixNano())
	}
	look()
	for _, r := range *g.routes.Load() { // a route that is closed from the start is told now, not at its first request
		g.admit(ctx, r)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				return
			}
			g.generation.Add(1)
			look()
		case <-tick.C:
			look()
		}
	}
}

// event makes the audit record of one step of one request. It never holds
// content of an exchange.
func event(who warden.Principal, action, route string, details map[string]any) audit.Record {
	return audit.Record{
		Event:   warden.Event{Actor: who, Action: action, Object: warden.Ref{Kind: policy.KindRoute, ID: route}},
		Payload: details,
	}
}
