package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/generic"
	"github.com/modelwarden/warden/internal/gateway/direct"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// ErrRoute is wrapped by errors about routes that cannot be served.
var ErrRoute = errors.New("invalid route")

// A Target is a server that answers for a route.
type Target struct {
	// Model is the registry's name of what the server runs: a digest,
	// namespace/model@number or namespace/model (newest). Provider names a model
	// that somebody else runs instead, "openai/gpt-4o": it has no digest, and
	// policy must permit it by name. One of the two is required.
	Model    string
	Provider string
	Terms    string // contract under which data goes to the provider; policy may require it

	Upstream      string         // base URL, with or without the version that paths of the dialect begin with
	Dialect       string         // what it speaks; "" means openai
	UpstreamModel string         // what it calls the model; "" means the route's name
	Credential    access.Secret  // as the dialect sends it; may be empty
	AllowPrivate  []netip.Prefix // private address ranges that the upstream may be in
	CA            []byte         // PEM of authorities for its certificate; nil: the system's
}

// A Route is one public model name and what stands behind it. Only Name and a
// Target are required.
type Route struct {
	Name string // what clients send as model
	Target
	Fallbacks []Target // asked in turn when the one before does not take the request
	Task      chat.Task
	Inbound   []string // dialects that clients may speak; none: all that can be answered
	// Generic describes a route whose dialect is its own: where inputs, outputs
	// and scores stand. Its targets speak it.
	Generic *generic.Config
	Source  Source // who keeps it; set by SetRoutes

	Options   dialect.Options // what a request may hold; zero: [dialect.DefaultOptions]
	MaxOutput int64           // tokens of answers whose request does not bound them; 0: 1,024 where tokens are limited
	Estimate  bool            // reserve a quarter of a token per byte of prompt, not one
	Limits    []limit.Rule    // of this route; their Route is set
	Price     Price
	Shape     Shape
	KeepOpen  bool          // running streams go on when the model is withdrawn
	Idle      time.Duration // longest silence of the upstream; 0: the gateway's
	Overrun   bool          // a stream that passes its reservation is cut
	Guard     *GuardConfig  // nil: no guard
	Capture   monitor.Mode  // what is kept of contents; "": nothing
	KeepFor   time.Duration // how long; 0: 7 days
}

// A Price is what tokens cost, in millionths of a currency for a million tokens.
type Price struct{ Input, Output int64 }

func (p Price) of(u chat.Usage) int64 {
	// Neither count exceeds 2^40 and no price 2^20, see checkRoute.
	return (u.Input*p.Input + u.Output*p.Output) / 1_000_000
}

const maxPrice = 1 << 20 * 1_000_000 // a million of the currency for a million tokens is not a price

// A Shape makes answers say less than the model knows. It raises the cost of
// copying a model; it does not stop it.
type Shape struct {
	Logprobs bool // log-probabilities are taken out
	dialect.Shape
	NoiseScale float64 // standard deviation of the noise on scores; 0: none
}

// A route is a Route in service.
type route struct {
	Route
	given   Route // as SetRoutes got it
	targets []*target
	broken  atomic.Bool      // its guard failed the self-test
	secret  string           // of the noise on its scores
	generic *dialect.Dialect // its own; nil: it has none
	meters  *meters

	requests, refused, tokens, blocked atomic.Uint64
	last                               atomic.Int64 // Unix seconds
}

// A target is a Target in service.
type target struct {
	Target
	url     *url.URL
	dialect *dialect.Dialect
	client  *direct.Client
	caller  *http.Client   // of calls by gRPC; nil: the dialect is another
	head    []direct.Field // that each request has

	mu  sync.Mutex // guards adm
	adm admission
}

func (g *Gateway) route(r Route) (*route, error) {
	bad := func(format string, args ...any) (*route, error) {
		return nil, fmt.Errorf("%w: route %q: %s", ErrRoute, r.Name, fmt.Sprintf(format, args...))
	}
	if r.Name == "" || len(r.Name) > 200 || strings.ContainsFunc(r.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%w: a route needs a name of at most 200 bytes, without control characters", ErrRoute)
	}
	given := r
	r.Limits = slices.Clone(r.Limits)
	r.Task = cmp.Or(r.Task, chat.Chat)
	if r.Options.Limits.Bytes == 0 {
		o := dialect.DefaultOptions()
		r.Options.Limits = o.Limits
		if r.Options.Caps == (dialect.Caps{}) {
			r.Options.Caps = o.Caps
		}
	}
	for _, d := range r.Inbound {
		if g.dialectOf(d) == nil {
			return bad("it knows no dialect %q; there are %s", d, strings.Join(g.dialectNames(), ", "))
		}
	}
	if r.Price.Input < 0 || r.Price.Output < 0 || r.Price.Input > maxPrice || r.Price.Output > maxPrice {
		return bad("a price is not below zero, and below a million for a million tokens")
	}
	for i := range r.Limits {
		r.Limits[i].Route = r.Name
	}
	out := &route{Route: r, given: given, secret: rand.Text(), meters: g.metrics.of(r.Name)}
	if r.Generic != nil {
		cfg := *r.Generic
		cfg.Model = r.Name
		d, err := generic.Dialect(cfg)
		if err != nil {
			return bad("%v", err)
		}
		out.generic, out.Task = d, chat.Generic
	}
	for i, t := range append([]Target{r.Target}, r.Fallbacks...) {
		made, err := g.target(out, t)
		if err != nil {
			return bad("target %d: %v", i, err)
		}
		out.targets = append(out.targets, made)
	}
	return out, nil
}

func (g *Gateway) target(r *route, t Target) (*target, error) {
	if (t.Model == "") == (t.Provider == "") {
		return nil, errors.New("it names either a registry model, or the provider of a model that others run")
	}
	u, err := url.Parse(t.Upstream)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("upstream must be http(s)://host[:port][/path]")
	}
	if secret := t.Credential.Reveal(); strings.ContainsFunc(secret, func(c rune) bool { return c < ' ' || c > 0x7e }) {
		return nil, errors.New("the credential has characters that no header may hold; is there a line end in its file?")
	}
	d := g.dialectOf(cmp.Or(t.Dialect, "openai"))
	if r.generic != nil {
		d = r.generic
	}
	if d == nil {
		return nil, fmt.Errorf("it knows no dialect %q; there are %s", t.Dialect, strings.Join(g.dialectNames(), ", "))
	}
	out := &target{Target: t, url: u, dialect: d}
	cfg := direct.Config{Address: u.Host, Host: u.Host, Dial: dialGuard{t.AllowPrivate}.dial, Idle: cmp.Or(r.Idle, g.cfg.Idle)}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
		if len(t.CA) > 0 {
			cfg.TLS.RootCAs = x509.NewCertPool()
			if !cfg.TLS.RootCAs.AppendCertsFromPEM(t.CA) {
				return nil, errors.New("ca holds no certificate in PEM")
			}
		}
	}
	if u.Port() == "" {
		cfg.Address = net.JoinHostPort(u.Hostname(), port)
	}
	if d == g.grpcDialect {
		if t.UpstreamModel != "" && t.UpstreamModel != r.Name || r.Shape.Top > 0 || r.Shape.LabelOnly || r.Shape.Round || r.Shape.NoiseScale > 0 {
			return nil, errors.New("messages of " + grpcName + " go on as they came: neither can the model be called otherwise nor its scores be shaped")
		}
		out.caller = out.newCaller(cfg.Idle, cfg.TLS)
	}
	if out.client, err = direct.New(cfg); err != nil {
		return nil, err
	}
	out.head = []direct.Field{{Name: "User-Agent", Value: "warden-gateway"}}
	for _, f := range d.Fixed {
		out.head = append(out.head, direct.Field{Name: f.Name, Value: f.Value})
	}
	if c := t.Credential.Reveal(); c != "" && len(d.Keys) > 0 {
		out.head = append(out.head, direct.Field{Name: d.Keys[0].Header, Value: d.Keys[0].Prefix + c})
	}
	return out, nil
}

// path returns what is asked of the upstream: the base path of its URL and that
// of the dialect, without saying the version twice.
func (t *target) path(to dialect.Target, model string) string {
	base, rest := strings.TrimSuffix(t.url.EscapedPath(), "/"), t.dialect.Path(to, model)
	first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	return strings.TrimSuffix(base, "/"+first) + rest
}

// SetRoutes replaces the routes of one source. Those that stay as they were keep
// their connections and counts. On an error nothing is changed.
func (g *Gateway) SetRoutes(source Source, routes ...Route) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := *g.routes.Load()
	next, gone := map[string]*route{}, map[string]*route{}
	for name, r := range old {
		if r.Source != source {
			next[name] = r
		} else {
			gone[name] = r
		}
	}
	for _, r := range routes {
		if next[r.Name] != nil {
			return fmt.Errorf("%w: route %q is there twice", ErrRoute, r.Name)
		}
		r.Source = source
		if was := gone[r.Name]; was != nil && reflect.DeepEqual(was.given, r) {
			next[r.Name] = was
			continue
		}
		made, err := g.route(r)
		if err != nil {
			return err
		}
		next[r.Name] = made
	}
	rules := slices.Clone(g.cfg.Limits)
	for _, r := range next {
		rules = append(rules, r.Limits...)
	}
	for _, r := range g.cfg.Limits {
		if r.Route != "" && next[r.Route] == nil && source == FromConfig {
			return fmt.Errorf("%w: a limit is for route %q, which does not exist", ErrRoute, r.Route)
		}
	}
	if err := g.limits.SetRules(rules); err != nil {
		return fmt.Errorf("%w: %w", ErrRoute, err)
	}
	g.mixed.Store(mixed(next))
	own := slices.Clone(g.dialects)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if d := next[name].generic; d != nil {
			own = append(own, d)
		}
	}
	g.generic.Store(&own)
	g.routes.Store(&next)
	for name, r := range gone {
		if next[name] != r {
			r.close()
		}
	}
	return nil
}

// mixed reports whether routes differ in what requests may hold.
func mixed(routes map[string]*route) bool {
	for _, r := range routes {
		if !reflect.DeepEqual(r.Options, dialect.DefaultOptions()) {
			return true
		}
	}
	return false
}

func (r *route) close() {
	for _, t := range r.targets {
		t.client.Close()
		if t.caller != nil {
			t.caller.CloseIdleConnections()
		}
	}
}

// A Status is what a Gateway says of one route.
type Status struct {
	Route
	Digest                             warden.Digest
	Open                               bool
	Reason                             string
	Requests, Refused, Blocked, Tokens uint64
	Last                               time.Time // zero: no request yet
}

// Routes returns the state of every route, by name.
func (g *Gateway) Routes(ctx context.Context) []Status {
	var out []Status
	for _, r := range *g.routes.Load() {
		_, a := g.choose(ctx, r)
		st := Status{
			Route: r.Route, Digest: a.digest, Open: a.open, Reason: a.reason,
			Requests: r.requests.Load(), Refused: r.refused.Load(), Blocked: r.blocked.Load(), Tokens: r.tokens.Load(),
		}
		if t := r.last.Load(); t > 0 {
			st.Last = time.Unix(t, 0).UTC()
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// An admission is what the registry and the policies say about a target's model.
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

// service is the principal that serves models.
func service() warden.Principal { return warden.Principal{ID: "service:gateway"} }

// choose returns the first target whose model is admitted, or the first and why
// it is not.
func (g *Gateway) choose(ctx context.Context, r *route) (*target, admission) {
	var why admission
	for i, t := range r.targets {
		a := g.admit(ctx, r, t)
		if a.open {
			return t, a
		}
		if i == 0 {
			why = a
		}
	}
	return r.targets[0], why
}

// admit says whether the model of a target may answer now. The answer is
// remembered until the registry changes, at most admissionAge. If the registry
// cannot be asked, the target is closed.
func (g *Gateway) admit(ctx context.Context, r *route, t *target) admission {
	gen, now := g.generation.Load(), g.cfg.Now()
	// A clock that was set back makes an old look seem new: that is stale too.
	if now.Sub(time.Unix(0, g.fresh.Load())).Abs() > g.cfg.MaxStale {
		return admission{reason: "the registry cannot be asked", because: []string{"stale"}}
	}
	t.mu.Lock()
	a := t.adm
	t.mu.Unlock()
	if a.valid && a.generation == gen && now.Sub(a.at).Abs() < admissionAge {
		return a
	}
	a = g.ask(ctx, t, now)
	a.generation = gen
	if a.valid {
		t.mu.Lock()
		before := t.adm
		t.adm = a
		t.mu.Unlock()
		if !before.valid || before.open != a.open || before.reason != a.reason {
			g.tell(ctx, r, t, a)
		}
	}
	return a
}

// tell logs that a route opened or closed, and why: the client's answer does not
// say it to everybody.
func (g *Gateway) tell(ctx context.Context, r *route, t *target, a admission) {
	level, state := slog.LevelInfo, "open"
	if !a.open {
		level, state = slog.LevelWarn, "closed"
	}
	g.cfg.Log.LogAttrs(ctx, level, "route", slog.String("name", r.Name), slog.String("state", state), slog.String("model", cmp.Or(t.Model, t.Provider)), slog.String("reason", a.reason))
}

func (g *Gateway) ask(ctx context.Context, t *target, now time.Time) admission {
	if t.Provider != "" {
		dec := g.cfg.Judge.Thing(service(), policy.Use, policy.Resource{Ref: warden.Ref{Kind: policy.KindProvider, ID: t.Provider}, Terms: t.Terms})
		out := admission{valid: true, at: now, open: dec.Effect == warden.Allow, because: dec.Because}
		if !out.open {
			out.reason = forbidden(t, dec.Because)
		}
		return out
	}
	v, err := g.cfg.Registry.Find(ctx, t.Model)
	if err != nil {
		if we, ok := errors.AsType[*warden.Error](err); ok && we.Code == warden.CodeNotFound {
			return admission{valid: true, at: now, reason: "model " + t.Model + " is not in the registry", because: []string{"not-registered"}}
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

// mayQuery asks policy, and the key's own list of routes.
func (g *Gateway) mayQuery(id access.Identity, name string, action policy.Action, asked policy.Asked) warden.Decision {
	if len(id.Routes) > 0 && !slices.Contains(id.Routes, name) {
		return warden.Decision{Effect: warden.Deny, Because: []string{"key-routes"}}
	}
	if !id.Allows(policy.Query) {
		return warden.Decision{Effect: warden.Deny, Because: []string{"key-actions"}}
	}
	task := chat.Task("")
	if r := (*g.routes.Load())[name]; r != nil {
		task = r.Task
	}
	return g.cfg.Judge.Ask(policy.Request{
		Principal: id.Principal, Action: action, Asked: asked, Now: g.cfg.Now(),
		Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: name}, Task: string(task)},
	})
}
