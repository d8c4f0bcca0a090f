package api

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/policy"
)

// A StoredRouteBody is a route that was added at run time.
type StoredRouteBody struct {
	Name     string         `json:"name"`
	Config   map[string]any `json:"config" doc:"the route as the configuration file has it; credential is a name of gateway.credentials"`
	Disabled bool           `json:"disabled"`
	Revision int            `json:"revision" doc:"counts changes"`
	By       string         `json:"by" doc:"who changed it last"`
	Created  time.Time      `json:"created"`
	Changed  time.Time      `json:"changed"`
}

func storedRouteOf(r route.Route) (StoredRouteBody, error) {
	b := StoredRouteBody{Name: r.Name, Disabled: r.Disabled, Revision: r.Revision, By: r.By, Created: r.Created, Changed: r.Changed}
	if err := json.Unmarshal(r.Config, &b.Config); err != nil {
		return b, fmt.Errorf("stored route %q: %w", r.Name, err)
	}
	return b, nil
}

// stored runs do for those who may administer the platform.
func stored(ctx context.Context, s *service, do func(by warden.Principal) (route.Route, error)) (*body[StoredRouteBody], error) {
	return administered(ctx, s, func() (StoredRouteBody, error) {
		if s.Stored == nil {
			return StoredRouteBody{}, &warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no routes"}
		}
		r, err := do(identity(ctx).Principal)
		if err != nil {
			return StoredRouteBody{}, err
		}
		return storedRouteOf(r)
	})
}

// A RouteInput names a route in the path.
type RouteInput struct {
	Name string `path:"name" maxLength:"200"`
}

type newRouteInput struct {
	Body struct {
		Config   map[string]any `json:"config" doc:"the route as the configuration file has it; credential is a name of gateway.credentials"`
		Disabled bool           `json:"disabled,omitempty"`
	}
}

type setRouteInput struct {
	RouteInput
	Body struct {
		Config   map[string]any `json:"config,omitempty" doc:"replaces the whole route"`
		Disabled *bool          `json:"disabled,omitempty"`
		Revision *int           `json:"revision,omitempty" doc:"that was changed; if the route has another one, nothing is done"`
	}
}

func (s *service) getRoute(ctx context.Context, in *RouteInput) (*body[StoredRouteBody], error) {
	return stored(ctx, s, func(warden.Principal) (route.Route, error) { return s.Stored.Get(ctx, in.Name) })
}

func (s *service) addRoute(ctx context.Context, in *newRouteInput) (*body[StoredRouteBody], error) {
	return stored(ctx, s, func(by warden.Principal) (route.Route, error) {
		return s.Stored.Add(ctx, in.Body.Config, in.Body.Disabled, by)
	})
}

func (s *service) setRoute(ctx context.Context, in *setRouteInput) (*body[StoredRouteBody], error) {
	return stored(ctx, s, func(by warden.Principal) (route.Route, error) {
		return s.Stored.Set(ctx, in.Name, route.Change{Config: in.Body.Config, Disabled: in.Body.Disabled, Revision: in.Body.Revision}, by)
	})
}

func (s *service) removeRoute(ctx context.Context, in *RouteInput) (*struct{}, error) {
	err := s.may(ctx, policy.Administer)
	if err == nil && s.Stored == nil {
		err = &warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no routes"}
	}
	if err == nil {
		err = s.Stored.Remove(ctx, in.Name, identity(ctx).Principal)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return &struct{}{}, nil
}
