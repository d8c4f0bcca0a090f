// Package gateway is the inference proxy: identity → decode → policy → admission
// of the model → limits → guard → forward the original bytes → guard → settle →
// record. It refuses every route whose model's digest is denied, quarantined or
// unknown, and fails closed when it cannot ask. It sees services, never SQL.
package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialects"
	"github.com/modelwarden/warden/internal/chat/generic"
	"github.com/modelwarden/warden/internal/gateway/deadline"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/registry"
)

// A Config is what a Gateway needs; all from Token on may be zero.
type Config struct {
	Registry *registry.Service
	Judge    *registry.Judge
	Access   *access.Service
	Traffic  *monitor.Service
	Now      func() time.Time

	Token       func(ctx context.Context, token string) (access.Identity, error) // who holds a signed token of a provider
	Peer        func(r *http.Request) (access.Identity, bool)                    // who holds the client certificate of a connection
	Archive     *monitor.Archive                                                 // of contents; nil: no route may keep any
	Tracer      *monitor.Tracer                                                  // nil: no traces
	TrustTraces bool                                                             // a traceparent of the client is the parent of its span
	Limits      []limit.Rule                                                     // besides those of routes
	Shared      limit.Shared                                                     // counts with other replicas; nil: there are none
	Metrics     prometheus.Registerer
	Log         *slog.Logger
	// QueryKeys lets clients of Gemini give their key in the address.
	QueryKeys bool
	Waiting   int           // records that may wait to be written; zero: 16,384
	MaxStale  time.Duration // how long an answer of the registry holds when it cannot be asked again; zero: 5 s
	Idle      time.Duration // longest silence of an upstream; zero: 60 s
}

// A Gateway serves routes. Make one with New, run Serve beside its Handler.
type Gateway struct {
	cfg      Config
	id       string // names this gateway to others, against loops
	hop      string // its entry in Via
	dialects []*dialect.Dialect

	grpcDialect *dialect.Dialect
	generic     atomic.Pointer[[]*dialect.Dialect] // of routes

	keys    *access.Cache
	limits  *limit.Limiter
	rec     *recorder
	load    *load
	waits   *deadline.Watch
	guesses *guesses
	metrics *metrics

	routes     atomic.Pointer[map[string]*route]
	mixed      atomic.Bool   // routes differ in what requests may hold
	generation atomic.Uint64 // counts changes in the registry
	fresh      atomic.Int64  // Unix nanoseconds of the last successful look at the registry

	mu sync.Mutex // serialises changes of routes
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	if cfg.Registry == nil || cfg.Judge == nil || cfg.Access == nil || cfg.Traffic == nil || cfg.Now == nil {
		return nil, errors.New("gateway: registry, judge, access, traffic and clock are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.MaxStale, cfg.Idle = cmp.Or(cfg.MaxStale, 5*time.Second), cmp.Or(cfg.Idle, time.Minute)
	limits, err := limit.New(limit.Config{Rules: cfg.Limits, Now: cfg.Now, Shared: cfg.Shared})
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	id := "warden-" + rand.Text()
	g := &Gateway{
		cfg: cfg, id: id, hop: "1.1 " + id, dialects: dialects.All(), keys: access.NewCache(cfg.Access, cfg.MaxStale), limits: limits,
		rec: newRecorder(cfg.Traffic, cfg.Log, id, cmp.Or(cfg.Waiting, recordPlaces)), load: newLoad(), waits: deadline.New(), guesses: newGuesses(cfg.Now), metrics: m,
	}
	g.grpcDialect = grpcDialect()
	g.routes.Store(&map[string]*route{})
	return g, nil
}

// Close ends idle connections to upstreams.
func (g *Gateway) Close() {
	for _, r := range *g.routes.Load() {
		r.close()
	}
}

func (g *Gateway) dialectOf(name string) *dialect.Dialect {
	if name == grpcName {
		return g.grpcDialect
	}
	for _, d := range g.dialects {
		if d.Name == name {
			return d
		}
	}
	return nil
}

func (g *Gateway) dialectNames() []string {
	var out []string
	for _, d := range g.dialects {
		out = append(out, d.Name)
	}
	return append(out, grpcName, generic.Name)
}

// watchEvery is how often changes by other processes are looked for; changes by
// this process are known at once.
const watchEvery = 250 * time.Millisecond

// Serve watches the registry and writes records until ctx ends and every
// accepted record is written. Without it every route is closed.
func (g *Gateway) Serve(ctx context.Context) error {
	g.restore(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { g.watch(ctx) })
	wg.Go(func() { g.rec.run(ctx) })
	if g.cfg.Tracer != nil {
		wg.Go(func() { g.cfg.Tracer.Serve(ctx) })
	}
	if g.cfg.Archive != nil {
		wg.Go(func() { g.cfg.Archive.Serve(ctx) })
	}
	wg.Go(func() { g.limits.Serve(ctx) }) //nolint:errcheck // it ends with ctx only
	wg.Wait()
	return nil
}

// restore counts what was used this month against the budgets that go on, unless
// the replicas count together and know.
func (g *Gateway) restore(ctx context.Context) {
	if g.cfg.Shared != nil {
		return
	}
	now := g.cfg.Now().UTC()
	used, err := g.cfg.Traffic.Used(ctx, time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), now.Add(time.Hour))
	if err != nil {
		g.cfg.Log.ErrorContext(ctx, "what was used before cannot be read: budgets of days and months begin anew", slog.Any("error", err))
		return
	}
	for _, u := range used {
		c := limit.Caller{Identity: u.Principal, Key: u.Key, Route: u.Route}
		if u.Team != "" {
			c.Groups = []string{u.Team}
		}
		g.limits.Restore(c, u.Requests, limit.Use{Tokens: u.Input + u.Output, Rows: u.Rows, Money: u.Cost}, u.Hour)
	}
}

// Ready returns what keeps the gateway from doing its work, by name; empty: it
// can. A route that is closed does not.
func (g *Gateway) Ready() map[string]string {
	out := map[string]string{}
	if g.cfg.Now().Sub(time.Unix(0, g.fresh.Load())).Abs() > g.cfg.MaxStale {
		out["registry"] = "it cannot be asked: all routes are closed"
	}
	if g.rec.full() {
		out["audit"] = "its records cannot be written"
	}
	for name, r := range *g.routes.Load() {
		if r.broken.Load() {
			out["guard of "+name] = "it failed its self-test"
		}
	}
	return out
}

// Accounts returns what callers used of the limits, the fullest first.
func (g *Gateway) Accounts(most int) []limit.Account { return g.limits.Accounts(most) }

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
		if err == nil {
			err = g.keys.Refresh(ctx)
		}
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
		g.choose(ctx, r)
		g.selfTest(ctx, r)
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
