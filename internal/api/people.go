package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/policy"
)

// A UserBody is a person who may sign in.
type UserBody struct {
	ID       string    `json:"id" doc:"user:…"`
	Name     string    `json:"name"`
	Mail     string    `json:"mail"`
	Person   string    `json:"person" doc:"the user who is the same human being; empty: none"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Seen     time.Time `json:"seen" doc:"last login with an identity provider; zero: none"`
	Roles    []string  `json:"roles" doc:"engineer, or engineer@NAMESPACE,NAMESPACE/MODEL"`
	Groups   []string  `json:"groups"`
}

// A UserGroupBody is a list of principals that hold roles together.
type UserGroupBody struct {
	Name    string    `json:"name"`
	Note    string    `json:"note"`
	Created time.Time `json:"created"`
	Roles   []string  `json:"roles"`
	Members []string  `json:"members"`
}

func filled(ss []string) []string {
	if ss == nil {
		return []string{}
	}
	return ss
}

func userOf(u access.User) UserBody {
	return UserBody{u.ID, u.Name, u.Mail, u.Person, u.Disabled, u.Created, u.Seen, filled(u.Roles), filled(u.Groups)}
}

func userGroupOf(g access.Group) UserGroupBody {
	return UserGroupBody{g.Name, g.Note, g.Created, filled(g.Roles), filled(g.Members)}
}

// administered runs do for those who may administer the platform.
func administered[T any](ctx context.Context, s *service, do func() (T, error)) (*body[T], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	v, err := do()
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(v), nil
}

func (s *service) listUsers(ctx context.Context, _ *struct{}) (*body[list[UserBody]], error) {
	return administered(ctx, s, func() (list[UserBody], error) {
		us, err := s.Access.Users(ctx)
		items := []UserBody{}
		for _, u := range us {
			items = append(items, userOf(u))
		}
		return list[UserBody]{Items: items}, err
	})
}

type newUserInput struct {
	Body struct {
		ID    string   `json:"id" maxLength:"105" doc:"user: and lower-case letters, digits and . _ @ + -"`
		Name  string   `json:"name,omitempty" maxLength:"200"`
		Mail  string   `json:"mail,omitempty" maxLength:"200" doc:"their first login with an identity provider that verified it is theirs"`
		Roles []string `json:"roles,omitempty" maxItems:"50" doc:"engineer, or engineer@NAMESPACE"`
	}
}

func (s *service) addUser(ctx context.Context, in *newUserInput) (*body[UserBody], error) {
	return administered(ctx, s, func() (UserBody, error) {
		u, err := s.Access.AddUser(ctx, access.User{ID: in.Body.ID, Name: in.Body.Name, Mail: in.Body.Mail, Roles: in.Body.Roles}, identity(ctx).Principal)
		return userOf(u), err
	})
}

type userInput struct {
	ID   string `path:"id" maxLength:"105"`
	Body struct {
		Name     *string   `json:"name,omitempty" maxLength:"200"`
		Mail     *string   `json:"mail,omitempty" maxLength:"200"`
		Person   *string   `json:"person,omitempty" maxLength:"105" doc:"id of the user who is the same human being; empty parts them"`
		Disabled *bool     `json:"disabled,omitempty" doc:"ends sessions and keys of the user at once"`
		Roles    *[]string `json:"roles,omitempty" maxItems:"50" doc:"replaces the roles of their own"`
	}
}

func (s *service) setUser(ctx context.Context, in *userInput) (*body[UserBody], error) {
	return administered(ctx, s, func() (UserBody, error) {
		b := in.Body
		u, err := s.Access.SetUser(ctx, in.ID, access.UserChange{Name: b.Name, Mail: b.Mail, Person: b.Person, Disabled: b.Disabled, Roles: b.Roles}, identity(ctx).Principal)
		return userOf(u), err
	})
}

func (s *service) listUserGroups(ctx context.Context, _ *struct{}) (*body[list[UserGroupBody]], error) {
	return administered(ctx, s, func() (list[UserGroupBody], error) {
		gs, err := s.Access.Groups(ctx)
		items := []UserGroupBody{}
		for _, g := range gs {
			items = append(items, userGroupOf(g))
		}
		return list[UserGroupBody]{Items: items}, err
	})
}

// A UserGroupInput names a group in the path.
type UserGroupInput struct {
	Name string `path:"name" maxLength:"100"`
}

type setUserGroupInput struct {
	UserGroupInput
	Body struct {
		Note   *string   `json:"note,omitempty" maxLength:"200"`
		Roles  *[]string `json:"roles,omitempty" maxItems:"50" doc:"replaces the roles that its members hold"`
		Add    []string  `json:"add,omitempty" maxItems:"1000" doc:"new members: user:NAME or service:NAME"`
		Remove []string  `json:"remove,omitempty" maxItems:"1000"`
	}
}

func (s *service) setUserGroup(ctx context.Context, in *setUserGroupInput) (*body[UserGroupBody], error) {
	return administered(ctx, s, func() (UserGroupBody, error) {
		b := in.Body
		g, err := s.Access.SetGroup(ctx, in.Name, access.GroupChange{Note: b.Note, Roles: b.Roles, Add: b.Add, Remove: b.Remove}, identity(ctx).Principal)
		return userGroupOf(g), err
	})
}

func (s *service) removeUserGroup(ctx context.Context, in *UserGroupInput) (*struct{}, error) {
	err := s.may(ctx, policy.Administer)
	if err == nil {
		err = s.Access.RemoveGroup(ctx, in.Name, identity(ctx).Principal)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return &struct{}{}, nil
}
