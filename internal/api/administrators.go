package api

import (
	"context"
	"slices"

	"github.com/modelwarden/warden/internal/access"
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
		}
	}
	return out, nil
}
