package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

// alone reports whether nobody but whoever asks could look at what they propose:
// no other person is an administrator.
func (s *service) alone(ctx context.Context) (bool, error) {
	person := func(id string) (string, error) {
		if s.Person == nil {
			return id, nil
		}
		return s.Person(ctx, id)
	}
	me, err := person(identity(ctx).Principal.ID)
	if err != nil {
		return false, err
	}
	admins, err := s.administrators(ctx)
	if err != nil {
		return false, err
	}
	for _, id := range admins {
		other, err := person(id)
		if err != nil || other != me {
			return false, err
		}
	}
	return true, nil
}

// recentLogin is how long a role that a provider gives at each login counts as
// held: nobody here knows before the next login whether it still does.
const recentLogin = 30 * 24 * time.Hour

// fromProvider begins what the audit log says of how such a session began.
const fromProvider = "identity provider "

// cameAsAdministrator reports whether the provider made somebody an
// administrator at their last login. The audit log remembers it; sessions do not
// live as long.
func (s *service) cameAsAdministrator(ctx context.Context, id string) (is bool, err error) {
	err = s.Registry.View(ctx, func(r registry.Reader) error {
		p := registry.Page{Limit: 100}
		for {
			es, next, err := r.Trail(ctx, registry.TrailFilter{Actor: id, Action: "access.session.begin"}, p)
			if err != nil {
				return err
			}
			for _, e := range es {
				ev, err := audit.ParseLeaf(e.Leaf)
				if err != nil {
					return err
				}
				var details struct{ With string }
				if s.Now().Sub(ev.Time) > recentLogin {
					return nil
				}
				if json.Unmarshal(e.Payload, &details) == nil && strings.HasPrefix(details.With, fromProvider) {
					is = slices.Contains(ev.Actor.Roles, access.RoleAdmin)
					return nil
				}
			}
			if p.After = next; next == "" {
				return nil
			}
		}
	})
	return is, err
}

// administrators lists the principals that hold the role now.
func (s *service) administrators(ctx context.Context) ([]string, error) {
	var out []string
	keys, err := s.Access.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if slices.Contains(k.Roles, access.RoleAdmin) && k.Revoked.IsZero() && s.Now().Before(k.Expires) {
			out = append(out, k.Principal)
		}
	}
	groups, err := s.Access.Groups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if slices.Contains(g.Roles, access.RoleAdmin) {
			out = append(out, g.Members...)
		}
	}
	users, err := s.Access.Users(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		switch {
		case u.Disabled:
			out = slices.DeleteFunc(out, func(id string) bool { return id == u.ID })
		case slices.Contains(u.Roles, access.RoleAdmin):
			out = append(out, u.ID)
		case s.Now().Sub(u.Seen) < recentLogin:
			is, err := s.cameAsAdministrator(ctx, u.ID)
			if err != nil {
				return nil, err
			}
			if is {
				out = append(out, u.ID)
			}
		}
	}
	return out, nil
}
