package api

import (
	"context"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// uploads stands for models that bytes are uploaded for: which ones shows when
// they are pushed.
const uploads = "any/upload"

// as returns who asks with the roles that hold on what they ask about: roles for
// some namespaces become roles there, and nothing elsewhere.
func (s *service) as(ctx context.Context, action policy.Action, on policy.Resource) (warden.Principal, error) {
	who := identity(ctx).Principal
	if !policy.Scoped(who.Roles) {
		return who, nil
	}
	switch on.Ref.Kind {
	case warden.KindModel:
		if on.Ref.ID == uploads {
			return warden.Principal{ID: who.ID, Roles: policy.Anywhere(who.Roles)}, nil
		}
		return warden.Principal{ID: who.ID, Roles: policy.Resolve(who.Roles, action, on.Ref.ID)}, nil
	case warden.KindArtifact:
		d, err := warden.ParseDigest(on.Ref.ID)
		if err != nil {
			return who, err
		}
		names, err := s.names(ctx, d)
		if err != nil || len(names) == 0 {
			return warden.Principal{ID: who.ID, Roles: policy.Resolve(who.Roles, action)}, err
		}
		return warden.Principal{ID: who.ID, Roles: policy.Resolve(who.Roles, action, names...)}, nil
	default:
		return onPlatform(who, action), nil
	}
}

// onPlatform returns who asks with the roles that hold on the platform as a
// whole. Somebody who works in one namespace sees what there is; files of other
// namespaces they do not get.
func onPlatform(who warden.Principal, action policy.Action) warden.Principal {
	if !policy.Scoped(who.Roles) {
		return who
	}
	roles := policy.Resolve(who.Roles, action)
	sees := func(r string) bool {
		return r == access.RoleReader || r == access.RoleEngineer || r == access.RoleSecurity || r == access.RoleAdmin
	}
	if action == policy.Read && slices.ContainsFunc(policy.Anywhere(who.Roles), sees) {
		roles = append(roles, access.RoleReader)
	}
	return warden.Principal{ID: who.ID, Roles: roles}
}

// names returns the models that an artifact is a version of.
func (s *service) names(ctx context.Context, d warden.Digest) (names []string, err error) {
	err = s.Registry.View(ctx, func(r registry.Reader) error {
		vs, err := r.VersionsOf(ctx, d)
		for _, v := range vs {
			if !slices.Contains(names, string(v.Model)) {
				names = append(names, string(v.Model))
			}
		}
		return err
	})
	return names, err
}

// maxHolders bounds how many artifacts with one file are looked at.
const maxHolders = 1000

// mayName refuses to push a file, by its digest alone, that whoever asks could
// not download: a push must not be a way to the bytes of other namespaces. Who
// has a role everywhere is not asked.
func (s *service) mayName(ctx context.Context, m registry.Manifest) error {
	who := identity(ctx).Principal
	if !policy.Scoped(who.Roles) {
		return nil
	}
	for _, f := range m.Files {
		var holders []warden.Digest
		err := s.Registry.View(ctx, func(r registry.Reader) (err error) {
			holders, err = r.Holders(ctx, f.Digest, maxHolders)
			return err
		})
		if err != nil {
			return err
		}
		may := len(holders) == 0 // nobody has registered it: it was uploaded just now
		for _, d := range holders {
			names, err := s.names(ctx, d)
			if err != nil {
				return err
			}
			roles := policy.Resolve(who.Roles, policy.Retrieve, names...)
			if may = len(names) > 0 && slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(access.Roles(), r) && r != access.RoleClient }); may {
				break
			}
		}
		if !may {
			return &warden.Error{
				Code: warden.CodeDenied, Message: "the bytes of " + f.Path + " are registered in namespaces where you have no role",
				Hint: "ask somebody with a role there to push it",
			}
		}
	}
	return nil
}
