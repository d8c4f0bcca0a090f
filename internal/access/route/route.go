// Package route keeps the routes that administrators give the gateways at run
// time, besides those of the configuration. What a route may say is checked by
// whoever serves it; secrets are never in it, only their names.
package route

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
)

// ErrNotFound is wrapped by a Store for a route that does not exist.
var ErrNotFound = errors.New("not found")

// A Route is one stored route.
type Route struct {
	Name     string
	Config   []byte // JSON with sorted keys, as the configuration file has it
	Disabled bool
	Revision int // counts changes, from 1
	By       string
	Created  time.Time
	Changed  time.Time
}

// A Store keeps routes.
type Store interface {
	Routes(ctx context.Context) ([]Route, error) // by name
	// RouteEpoch returns the number of changes of routes.
	RouteEpoch(ctx context.Context) (uint64, error)
	// UpdateRoutes runs fn in one serialisable transaction. It may run fn again
	// after a conflict.
	UpdateRoutes(ctx context.Context, fn func(Tx) error) error
}

// A Tx is one transaction of a Store.
type Tx interface {
	audit.Tx
	Route(ctx context.Context, name string) (Route, error)
	PutRoute(ctx context.Context, r Route) error
	DeleteRoute(ctx context.Context, name string) error
}

// A Config is what a Service needs; all but Changed are required.
type Config struct {
	Store Store
	Log   *audit.Log
	Now   func() time.Time
	// Check returns the name of a route, or which key of it cannot be used.
	Check func(config []byte) (name string, err error)
	// Changed is called after every change by this process; may be nil.
	Changed func(ctx context.Context)
}

// A Service changes routes. It is safe for concurrent use.
type Service struct{ cfg Config }

// New checks cfg.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Now == nil || cfg.Check == nil {
		return nil, errors.New("route: store, log, clock and check are required")
	}
	if cfg.Changed == nil {
		cfg.Changed = func(context.Context) {}
	}
	return &Service{cfg}, nil
}

// Bounds of what is kept.
const (
	maxConfig = 64 << 10
	maxRoutes = 1000
)

// canonical returns the one form of a route's configuration, and its name.
func (s *Service) canonical(config map[string]any) (text []byte, name string, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(config); err != nil {
		return nil, "", invalid(err.Error(), "a route is an object of the keys that the configuration file has")
	}
	text = bytes.TrimSpace(b.Bytes())
	if len(text) > maxConfig {
		return nil, "", invalid(fmt.Sprintf("a route of %d bytes", len(text)), fmt.Sprintf("at most %d", maxConfig))
	}
	if name, err = s.cfg.Check(text); err != nil {
		return nil, "", &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "warden config print --help shows the keys of a route", Err: err}
	}
	return text, name, nil
}

// List returns all stored routes by name.
func (s *Service) List(ctx context.Context) ([]Route, error) { return s.cfg.Store.Routes(ctx) }

// Epoch returns the number of changes so far.
func (s *Service) Epoch(ctx context.Context) (uint64, error) { return s.cfg.Store.RouteEpoch(ctx) }

// Get returns one stored route.
func (s *Service) Get(ctx context.Context, name string) (Route, error) {
	rs, err := s.List(ctx)
	if err != nil {
		return Route{}, err
	}
	for _, r := range rs {
		if r.Name == name {
			return r, nil
		}
	}
	return Route{}, missing(ErrNotFound, name)
}

// Add makes a route.
func (s *Service) Add(ctx context.Context, config map[string]any, disabled bool, by warden.Principal) (Route, error) {
	text, name, err := s.canonical(config)
	if err != nil {
		return Route{}, err
	}
	all, err := s.List(ctx)
	if err != nil {
		return Route{}, err
	}
	if len(all) >= maxRoutes {
		return Route{}, &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("there are %d routes", len(all)), Hint: "remove some: warden gateway route remove NAME"}
	}
	now := s.cfg.Now().UTC()
	r := Route{Name: name, Config: text, Disabled: disabled, Revision: 1, By: by.ID, Created: now, Changed: now}
	err = s.change(ctx, func(tx Tx) error {
		if _, err := tx.Route(ctx, name); !errors.Is(err, ErrNotFound) {
			if err == nil {
				err = conflict("there is a route "+name+" already", "change it: warden gateway route set")
			}
			return err
		}
		return s.put(ctx, tx, r, by, "gateway.route.add")
	})
	return r, err
}

// A Change says what to change; nil fields stay as they are.
type Change struct {
	Config   map[string]any
	Disabled *bool
	Revision *int // that was changed; another one is a conflict
}

// Set changes a route. What changes nothing is no change.
func (s *Service) Set(ctx context.Context, name string, c Change, by warden.Principal) (r Route, err error) {
	var text []byte
	if c.Config != nil {
		var named string
		if text, named, err = s.canonical(c.Config); err != nil {
			return r, err
		}
		if named != name {
			return r, invalid("name: the route is called "+name, "add a route of the other name, and remove this one")
		}
	}
	err = s.change(ctx, func(tx Tx) error {
		if r, err = tx.Route(ctx, name); err != nil {
			return missing(err, name)
		}
		if c.Revision != nil && *c.Revision != r.Revision {
			return conflict(fmt.Sprintf("somebody else changed the route: it has revision %d", r.Revision), "read it again, and make your change to that")
		}
		was := r
		if text != nil {
			r.Config = text
		}
		if c.Disabled != nil {
			r.Disabled = *c.Disabled
		}
		if bytes.Equal(r.Config, was.Config) && r.Disabled == was.Disabled {
			return nil
		}
		r.Revision, r.By, r.Changed = r.Revision+1, by.ID, s.cfg.Now().UTC()
		return s.put(ctx, tx, r, by, "gateway.route.change")
	})
	return r, err
}

// Remove deletes a route.
func (s *Service) Remove(ctx context.Context, name string, by warden.Principal) error {
	return s.change(ctx, func(tx Tx) error {
		if _, err := tx.Route(ctx, name); err != nil {
			return missing(err, name)
		}
		if err := tx.DeleteRoute(ctx, name); err != nil {
			return err
		}
		_, err := s.cfg.Log.Append(ctx, tx, warden.Event{Actor: by, Action: "gateway.route.remove", Object: ref(name)}, nil)
		return err
	})
}

func (s *Service) change(ctx context.Context, fn func(Tx) error) error {
	if err := s.cfg.Store.UpdateRoutes(ctx, fn); err != nil {
		return err
	}
	s.cfg.Changed(ctx)
	return nil
}

func (s *Service) put(ctx context.Context, tx Tx, r Route, by warden.Principal, action string) error {
	if err := tx.PutRoute(ctx, r); err != nil {
		return err
	}
	_, err := s.cfg.Log.Append(ctx, tx, warden.Event{Actor: by, Action: action, Object: ref(r.Name)}, map[string]any{
		"config": json.RawMessage(r.Config), "disabled": r.Disabled, "revision": r.Revision,
	})
	return err
}

func ref(name string) warden.Ref { return warden.Ref{Kind: "route", ID: name} }

func invalid(message, hint string) error {
	return &warden.Error{Code: warden.CodeInvalid, Message: message, Hint: hint}
}

func conflict(message, hint string) error {
	return &warden.Error{Code: warden.CodeConflict, Message: message, Hint: hint}
}

func missing(err error, name string) error {
	if errors.Is(err, ErrNotFound) {
		return &warden.Error{
			Code: warden.CodeNotFound, Message: fmt.Sprintf("no stored route %q", name[:min(len(name), 64)]), Err: err,
			Hint: "list them with: warden gateway routes; those of the configuration are changed there",
		}
	}
	return err
}
