package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/rules"
)

// routesEvery is how often changes of routes by other processes are looked for.
const routesEvery = 500 * time.Millisecond

// storedRoutes is what this process knows of the routes in the database.
type storedRoutes struct {
	svc *route.Service

	mu     sync.Mutex // one load at a time; guards the fields below
	epoch  uint64
	loaded bool
	routes []route.Route
	faults map[string]string // why a route cannot be served, by name
}

func (c GatewayConfig) checkStored() error {
	for name, ref := range c.Credentials {
		if !strings.HasPrefix(ref, "file:") && !strings.HasPrefix(ref, "env:") {
			return configError("gateway.credentials."+name, errors.New("secrets are references: file:PATH or env:NAME"))
		}
	}
	for _, text := range c.Private {
		if _, err := netip.ParsePrefix(text); err != nil {
			return configError("gateway.private", err)
		}
	}
	return nil
}

// storedRoute converts a stored route. Those who wrote it can name no file and
// no variable of this machine: credentials are those that the configuration
// gave a name.
func (c Config) storedRoute(config []byte, getenv func(string) string, secrets bool) (gateway.Route, error) {
	var r RouteConfig
	if err := rules.DecodeStrict(config, &r); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return gateway.Route{}, errors.New(first)
	}
	targets := []*TargetConfig{&r.TargetConfig}
	for i := range r.Fallbacks {
		targets = append(targets, &r.Fallbacks[i])
	}
	for i, t := range targets {
		if err := c.Gateway.resolve(t); err != nil {
			if i > 0 {
				err = fmt.Errorf("fallbacks[%d].%w", i-1, err)
			}
			return gateway.Route{}, err
		}
	}
	for _, x := range c.Gateway.Routes {
		if x.Name == r.Name {
			return gateway.Route{}, fmt.Errorf("name: the configuration of this server has a route %q", r.Name)
		}
	}
	g, err := r.route(getenv, false)
	if err != nil || !secrets {
		return g, err
	}
	if g, err = r.route(getenv, true); err != nil {
		err = unreadableError{err}
	}
	return g, err
}

// An unreadableError is that of a credential that cannot be read. Where it is
// kept is for the server's log alone.
type unreadableError struct{ cause error }

// Error implements error.
func (unreadableError) Error() string {
	return "credential: it cannot be read; the server's log says why"
}

// resolve replaces the name of a credential by its reference.
func (c GatewayConfig) resolve(t *TargetConfig) error {
	if t.CA != "" {
		return errors.New("ca: authorities are files of the server: give a route that needs them in its configuration")
	}
	if t.Credential != "" {
		ref, ok := c.Credentials[t.Credential]
		if !ok {
			return fmt.Errorf("credential: want a name of gateway.credentials in the server's configuration, which has: %s",
				orDefault(strings.Join(slices.Sorted(maps.Keys(c.Credentials)), ", "), "none"))
		}
		t.Credential = ref
	}
	for _, text := range t.AllowPrivate {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("allow_private: %w", err)
		}
		inside := slices.ContainsFunc(c.Private, func(wide string) bool {
			w, err := netip.ParsePrefix(wide)
			return err == nil && w.Bits() <= p.Bits() && w.Contains(p.Addr())
		})
		if !inside {
			return fmt.Errorf("allow_private: %s is in no range of gateway.private in the server's configuration", text)
		}
	}
	return nil
}

// checkRoute returns the name of a stored route, or why it cannot be served.
func (s *Server) checkRoute(config []byte) (string, error) {
	r, err := s.cfg.storedRoute(config, s.opts.Getenv, s.cfg.does(RoleGateway))
	if u, ok := errors.AsType[unreadableError](err); ok {
		s.opts.Log.Error("credential of a route", slog.String("route", r.Name), slog.Any("error", u.cause))
	}
	if err == nil {
		err = s.gateway.Check(r)
	}
	return r.Name, err
}

func (s *Server) openRoutes() (err error) {
	s.stored.svc, err = route.New(route.Config{
		Store: s.store, Log: s.log, Now: s.opts.Now, Check: s.checkRoute, Changed: func(ctx context.Context) {
			if err := s.loadRoutes(ctx); err != nil { // it is tried again soon
				s.opts.Log.ErrorContext(ctx, "changed routes cannot be loaded", slog.Any("error", err))
			}
		},
	})
	return err
}

// loadRoutes serves what the database says. A route that cannot be served, for
// example because its credential is not in the configuration any more, is told
// and does not keep others from it.
func (s *Server) loadRoutes(ctx context.Context) error {
	x := &s.stored
	x.mu.Lock()
	defer x.mu.Unlock()
	epoch, err := x.svc.Epoch(ctx)
	if err != nil || x.loaded && epoch == x.epoch {
		return err
	}
	all, err := x.svc.List(ctx)
	if err != nil {
		return err
	}
	x.routes, x.faults = all, map[string]string{}
	if s.cfg.does(RoleGateway) {
		var serve []gateway.Route
		for _, r := range all {
			if r.Disabled {
				continue
			}
			g, err := s.cfg.storedRoute(r.Config, s.opts.Getenv, true)
			if err != nil {
				x.fault(ctx, s.opts.Log, r.Name, err)
				continue
			}
			serve = append(serve, g)
		}
		if err := s.gateway.SetRoutes(gateway.FromStore, serve...); err != nil {
			var able []gateway.Route // without those that cannot be served
			for _, r := range serve {
				if err := s.gateway.SetRoutes(gateway.FromStore, append(slices.Clip(able), r)...); err != nil {
					x.fault(ctx, s.opts.Log, r.Name, err)
					continue
				}
				able = append(able, r)
			}
			if err := s.gateway.SetRoutes(gateway.FromStore, able...); err != nil {
				return err
			}
		}
	}
	x.epoch, x.loaded = epoch, true
	return nil
}

func (x *storedRoutes) fault(ctx context.Context, log *slog.Logger, name string, err error) {
	x.faults[name] = err.Error()
	if u, ok := errors.AsType[unreadableError](err); ok {
		err = u.cause
	}
	log.ErrorContext(ctx, "stored route cannot be served", slog.String("route", name), slog.Any("error", err))
}

// idle returns the stored routes that are not served here.
func (x *storedRoutes) idle(served func(name string) bool) []api.RouteStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []api.RouteStatus
	for _, r := range x.routes {
		if served(r.Name) && !r.Disabled {
			continue
		}
		st := api.RouteStatus{Name: r.Name, Source: string(gateway.FromStore), Disabled: r.Disabled, Reason: x.faults[r.Name], Limits: []string{}, Guard: "off", Task: "chat"}
		var c RouteConfig
		if rules.DecodeStrict(r.Config, &c) == nil { // what is wrong with it is its reason
			st.Model, st.Provider, st.Upstream, st.Dialect, st.Fallbacks = c.Model, c.Provider, c.Upstream, orDefault(c.Dialect, "openai"), len(c.Fallbacks)
			st.Task = orDefault(c.Task, "chat")
		}
		switch {
		case r.Disabled:
			st.Reason = "disabled by " + r.By
		case st.Reason == "":
			st.Reason = "unknown here: other processes serve it"
		}
		out = append(out, st)
	}
	return out
}

// routes is the state of all routes, by name.
func (s *Server) routes(ctx context.Context) []api.RouteStatus {
	out := []api.RouteStatus{}
	served := map[string]bool{}
	if s.cfg.does(RoleGateway) { // else others serve them
		for _, r := range s.gateway.Routes(ctx) {
			served[r.Name] = true
			out = append(out, routeStatus(r))
		}
	}
	out = append(out, s.stored.idle(func(name string) bool { return served[name] })...)
	slices.SortStableFunc(out, func(a, b api.RouteStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func routeStatus(r gateway.Status) api.RouteStatus {
	x := api.RouteStatus{
		Name: r.Name, Task: string(r.Task), Model: r.Model, Provider: r.Provider, Dialect: orDefault(r.Dialect, "openai"), Upstream: r.Upstream, Fallbacks: len(r.Fallbacks),
		Guard: "off", Limits: []string{}, Open: r.Open, Reason: r.Reason, Requests: r.Requests, Refused: r.Refused, Blocked: r.Blocked, Tokens: r.Tokens, Last: r.Last,
		Demo: r.Source == gateway.FromDemo, Source: string(r.Source),
	}
	if r.Digest.String() != (gateway.Status{}).Digest.String() {
		x.Digest = r.Digest.String()
	}
	for _, l := range r.Limits {
		x.Limits = append(x.Limits, l.Text())
	}
	if r.Guard != nil {
		x.Guard = "standard"
		if r.Guard.Shadow {
			x.Guard = "shadow"
		}
	}
	if r.Price != (gateway.Price{}) {
		x.Price = fmt.Sprintf("%.2f / %.2f", float64(r.Price.Input)/1e6, float64(r.Price.Output)/1e6)
	}
	return x
}
