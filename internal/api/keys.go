package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/policy"
)

// A KeyBody is an access key in an answer, without its secret.
type KeyBody struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Principal string    `json:"principal"`
	Roles     []string  `json:"roles"`
	Routes    []string  `json:"routes" doc:"gateway routes it may query; empty: every route its roles allow"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	State     string    `json:"state" enum:"valid,expired,revoked"`
	Demo      bool      `json:"demo"`
	Actions   []string  `json:"actions" doc:"actions it is limited to; empty: every one its roles allow"`
	Owner     string    `json:"owner" doc:"who made it and answers for it"`
	Used      time.Time `json:"used" doc:"last use, to some minutes; zero: never"`
}

func (s *service) keyOf(k access.Key) KeyBody {
	b := KeyBody{k.ID, k.Name, k.Principal, k.Roles, k.Routes, k.Created, k.Expires, "valid", k.Demo, filled(k.Actions), k.Owner, k.Used}
	b.Routes = filled(b.Routes)
	switch {
	case !k.Revoked.IsZero():
		b.State = "revoked"
	case !s.Now().Before(k.Expires):
		b.State = "expired"
	}
	return b
}

func (s *service) listKeys(ctx context.Context, _ *struct{}) (*body[list[KeyBody]], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	keys, err := s.Access.Keys(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	var items []KeyBody
	for _, k := range keys {
		items = append(items, s.keyOf(k))
	}
	return listed(items, ""), nil
}

type newKeyInput struct {
	Body struct {
		Name    string   `json:"name" maxLength:"100" doc:"what it is for"`
		Roles   []string `json:"roles" minItems:"1" doc:"admin, security, engineer, reader, client; or one of them for some namespaces: engineer@team-a,lab/*"`
		Routes  []string `json:"routes,omitempty" doc:"limit to these gateway routes"`
		Actions []string `json:"actions,omitempty" doc:"limit to these actions, for example modify"`
		User    string   `json:"user,omitempty" maxLength:"105" doc:"the user whom it acts as; empty: the key is its own principal"`
		Days    int      `json:"days,omitempty" minimum:"1" maximum:"366" default:"90"`
	}
}

type newKeyBody struct {
	KeyBody
	Secret string `json:"secret" doc:"the key; it is not shown again"`
}

func (s *service) createKey(ctx context.Context, in *newKeyInput) (*body[newKeyBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	if in.Body.User != "" {
		if _, err := s.Access.User(ctx, in.Body.User); err != nil {
			return nil, s.fail(err)
		}
	}
	k, secret, err := s.Access.CreateKey(ctx, access.NewKey{
		Name: in.Body.Name, Principal: in.Body.User, Roles: in.Body.Roles, Routes: in.Body.Routes, Actions: in.Body.Actions, TTL: time.Duration(in.Body.Days) * 24 * time.Hour,
	}, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(newKeyBody{s.keyOf(k), secret.Reveal()}), nil
}

type keyInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *service) revokeKey(ctx context.Context, in *keyInput) (*body[KeyBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	k, err := s.Access.RevokeKey(ctx, in.ID, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(s.keyOf(k)), nil
}

type linkBody struct {
	URL string `json:"url" doc:"opens the console signed in; works once, for 24 hours"`
}

func (s *service) createLink(ctx context.Context, _ *struct{}) (*body[linkBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	url, err := s.Link(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(linkBody{url}), nil
}
