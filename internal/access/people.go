package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
)

// A User is a person who may sign in.
type User struct {
	ID       string // "user:…", never reused for somebody else
	Name     string // as people write it
	Mail     string
	Person   string // id of the user who is the same human being; "": none
	Disabled bool
	Created  time.Time
	Seen     time.Time // last login with an identity provider; zero: none
	Roles    []string  // of their own, as texts of grants; sorted
	Groups   []string  // names; sorted
}

// A Group is a list of principals that hold roles together.
type Group struct {
	Name    string
	Note    string
	Created time.Time
	Roles   []string // as texts of grants; sorted
	Members []string // principals; sorted
}

// A Directory reads people and groups. Look-ups wrap [ErrNotFound].
type Directory interface {
	User(ctx context.Context, id string) (User, error)
	Users(ctx context.Context) ([]User, error) // by id
	UserGroup(ctx context.Context, name string) (Group, error)
	UserGroups(ctx context.Context) ([]Group, error) // by name
	// Held returns the grants of a principal, with those of its groups, and the
	// names of the groups.
	Held(ctx context.Context, principal string) (roles, groups []string, err error)
	// Login returns the user that an identity of a provider belongs to.
	Login(ctx context.Context, issuer, subject string) (user string, err error)
}

// A DirectoryWriter changes people and groups.
type DirectoryWriter interface {
	PutUser(ctx context.Context, u User) error       // without Groups
	PutUserGroup(ctx context.Context, g Group) error // with roles and members
	DeleteUserGroup(ctx context.Context, name string) error
	PutLogin(ctx context.Context, issuer, subject, user string, at time.Time) error
	// Spend marks a token as used until a time. It reports whether it was not
	// used before.
	Spend(ctx context.Context, hash []byte, now, until time.Time) (bool, error)
}

// Bounds of the directory.
const (
	maxText    = 200
	maxGrants  = 50
	maxMembers = 10_000
	maxAliases = 16 // keys made with keys, and people who are the same
)

// Principals of one-time links and of commands on the server's machine: the way
// back in, which nobody can take away through the platform.
const (
	adminUser = "user:admin"
	localUser = "user:local"
)

// AddUser makes a person known before they first sign in. ID, Name, Mail and
// Roles of u count.
func (s *Service) AddUser(ctx context.Context, u User, by warden.Principal) (User, error) {
	u = User{ID: u.ID, Name: strings.TrimSpace(u.Name), Mail: strings.ToLower(strings.TrimSpace(u.Mail)), Roles: u.Roles, Created: s.now()}
	err := s.update(ctx, func(tx Tx) error {
		if err := checkUser(&u); err != nil {
			return err
		}
		if _, err := tx.User(ctx, u.ID); !errors.Is(err, ErrNotFound) {
			return orConflict(err, "there is a user "+u.ID+" already", "change it with: warden access user roles "+u.ID)
		}
		return s.putUser(ctx, tx, u, by, "access.user.add", map[string]any{"name": u.Name, "mail": u.Mail, "roles": u.Roles})
	})
	return u, err
}

func (s *Service) putUser(ctx context.Context, tx Tx, u User, by warden.Principal, action string, payload any) error {
	if err := tx.PutUser(ctx, u); err != nil {
		return err
	}
	return s.log(ctx, tx, by, action, warden.Ref{Kind: warden.KindPrincipal, ID: u.ID}, payload)
}

// A UserChange says what to change; nil fields stay as they are.
type UserChange struct {
	Name, Mail *string
	Disabled   *bool
	Person     *string // id of the user who is the same human being; "" parts them
	Roles      *[]string
}

// SetUser changes a user. Disabling one ends their sessions and keys at once.
func (s *Service) SetUser(ctx context.Context, id string, c UserChange, by warden.Principal) (u User, err error) {
	err = s.update(ctx, func(tx Tx) error {
		if u, err = tx.User(ctx, id); err != nil {
			return missing(err, "user", id, "list them with: warden access user list")
		}
		changed := map[string]any{}
		set(&u.Name, c.Name, "name", changed)
		set(&u.Mail, c.Mail, "mail", changed)
		set(&u.Disabled, c.Disabled, "disabled", changed)
		set(&u.Person, c.Person, "person", changed)
		if c.Roles != nil {
			u.Roles = slices.Clone(*c.Roles)
			changed["roles"] = u.Roles
		}
		if err := checkUser(&u); err != nil {
			return err
		}
		if u.Person != "" {
			if err := s.samePerson(ctx, tx, u); err != nil {
				return err
			}
		}
		if len(changed) == 0 {
			return nil
		}
		action := "access.user.change"
		if c.Disabled != nil && *c.Disabled {
			action = "access.user.disable"
		}
		return s.putUser(ctx, tx, u, by, action, changed)
	})
	return u, err
}

// set changes a value and notes it.
func set[T comparable](value, to *T, name string, changed map[string]any) {
	if to != nil && *value != *to {
		*value = *to
		changed[name] = *to
	}
}

// samePerson refuses links to nobody and in circles.
func (s *Service) samePerson(ctx context.Context, tx Tx, u User) error {
	at := u.Person
	for range maxAliases {
		if at == u.ID {
			return invalid(u.ID+" cannot be the same person as somebody who is the same as "+u.ID, "link the others to one of them")
		}
		next, err := tx.User(ctx, at)
		if err != nil {
			return missing(err, "user", at, "add the user first: warden access user add")
		}
		if next.Person == "" {
			return nil
		}
		at = next.Person
	}
	return invalid("too many links between users", "link them all to one")
}

// Users lists all users by id.
func (s *Service) Users(ctx context.Context) ([]User, error) { return s.cfg.Store.Users(ctx) }

// User returns one user.
func (s *Service) User(ctx context.Context, id string) (User, error) {
	u, err := s.cfg.Store.User(ctx, id)
	if err != nil {
		return u, missing(err, "user", id, "list them with: warden access user list")
	}
	return u, nil
}

// Groups lists all groups by name.
func (s *Service) Groups(ctx context.Context) ([]Group, error) { return s.cfg.Store.UserGroups(ctx) }

// A GroupChange says what to change; nil fields stay as they are.
type GroupChange struct {
	Note        *string
	Roles       *[]string
	Add, Remove []string // members
}

// SetGroup changes a group, or makes it.
func (s *Service) SetGroup(ctx context.Context, name string, c GroupChange, by warden.Principal) (g Group, err error) {
	err = s.update(ctx, func(tx Tx) error {
		action := "access.group.change"
		g, err = tx.UserGroup(ctx, name)
		if errors.Is(err, ErrNotFound) {
			g, err, action = Group{Name: name, Created: s.now()}, nil, "access.group.add"
		}
		if err != nil {
			return err
		}
		payload := map[string]any{"add": c.Add, "remove": c.Remove}
		set(&g.Note, c.Note, "note", payload)
		if c.Roles != nil {
			g.Roles = slices.Clone(*c.Roles)
			payload["roles"] = g.Roles
		}
		if err := checkGroup(&g, c); err != nil {
			return err
		}
		for _, m := range c.Add {
			if _, err := tx.User(ctx, m); strings.HasPrefix(m, "user:") && err != nil {
				return missing(err, "user", m, "add the user first: warden access user add")
			}
		}
		if err := tx.PutUserGroup(ctx, g); err != nil {
			return err
		}
		return s.log(ctx, tx, by, action, g.ref(), payload)
	})
	return g, err
}

func (g Group) ref() warden.Ref { return warden.Ref{Kind: warden.KindPrincipal, ID: "group:" + g.Name} }

// RemoveGroup deletes a group; its members lose what it gave them at once.
func (s *Service) RemoveGroup(ctx context.Context, name string, by warden.Principal) error {
	return s.update(ctx, func(tx Tx) error {
		g, err := tx.UserGroup(ctx, name)
		if err != nil {
			return missing(err, "group", name, "list them with: warden access group list")
		}
		if err := tx.DeleteUserGroup(ctx, name); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "access.group.remove", g.ref(), map[string]any{"roles": g.Roles, "members": len(g.Members)})
	})
}

// Person returns who stands behind a principal, for rules that count people: a
// key stands for whoever made it, a user for the user they are linked to. What
// nobody knows stands for itself.
func (s *Service) Person(ctx context.Context, principal string) (string, error) {
	at := principal
	for range maxAliases {
		next := ""
		if id, ok := strings.CutPrefix(at, "key:"); ok {
			k, err := s.cfg.Store.Key(ctx, id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return "", fmt.Errorf("person behind %s: %w", principal, err)
			}
			next = k.Owner
		} else if strings.HasPrefix(at, "user:") {
			u, err := s.cfg.Store.User(ctx, at)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return "", fmt.Errorf("person behind %s: %w", principal, err)
			}
			next = u.Person
		}
		if next == "" || next == at {
			return at, nil
		}
		at = next
	}
	return "", fmt.Errorf("person behind %s: more than %d links", principal, maxAliases)
}

// standing returns the grants that a principal holds now, besides those of its
// credential. The error is ErrUnknown for a disabled user.
func (s *Service) standing(ctx context.Context, principal string, own []string) ([]string, error) {
	u, err := s.cfg.Store.User(ctx, principal)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("look up user: %w", err)
	}
	if u.Disabled {
		return nil, ErrUnknown
	}
	roles, groups, err := s.cfg.Store.Held(ctx, principal)
	if err != nil {
		return nil, fmt.Errorf("look up roles: %w", err)
	}
	all := slices.Concat(own, roles)
	for _, g := range groups {
		all = append(all, "group:"+g)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Second) }

// name reports whether text may follow "user:" or name a group.
func name(text string) bool {
	for i := range len(text) {
		c := text[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
		if !alnum && (i == 0 || !strings.ContainsRune("._@+-", rune(c))) {
			return false
		}
	}
	return text != "" && len(text) <= 100
}

func checkUser(u *User) (err error) {
	id, ok := strings.CutPrefix(u.ID, "user:")
	switch {
	case !ok || !name(id):
		return invalid(fmt.Sprintf("%q is no id of a user", detail(u.ID)), "user: and 1 to 100 lower-case letters, digits and . _ @ + -, for example user:ann")
	case u.ID == adminUser || u.ID == localUser:
		return invalid(u.ID+" is who one-time links and commands on the server's machine act as", "choose another id")
	case len(u.Name) > maxText || len(u.Mail) > maxText:
		return invalid("name or mail address is too long", fmt.Sprintf("at most %d bytes", maxText))
	case u.Mail != "" && (strings.Count(u.Mail, "@") != 1 || strings.ContainsAny(u.Mail, " \t\r\n<>")):
		return invalid(fmt.Sprintf("%q is no mail address", detail(u.Mail)), "want somebody@example.com")
	}
	u.Roles, err = checkRoles(u.Roles)
	return err
}

func checkGroup(g *Group, c GroupChange) (err error) {
	if !name(g.Name) || len(g.Note) > maxText {
		return invalid(fmt.Sprintf("%q is no name of a group, or its note is too long", detail(g.Name)), "1 to 100 lower-case letters, digits and . _ @ + -")
	}
	for _, m := range slices.Concat(c.Add, c.Remove) {
		kind, id, _ := strings.Cut(m, ":")
		if kind != "user" && kind != "service" || !name(id) {
			return invalid(fmt.Sprintf("%q cannot be a member", detail(m)), "members are user:NAME or service:NAME")
		}
	}
	g.Members = slices.DeleteFunc(slices.Concat(g.Members, c.Add), func(m string) bool { return slices.Contains(c.Remove, m) })
	slices.Sort(g.Members)
	if g.Members = slices.Compact(g.Members); len(g.Members) > maxMembers {
		return invalid("too many members", fmt.Sprintf("at most %d", maxMembers))
	}
	g.Roles, err = checkRoles(g.Roles)
	return err
}

// checkRoles returns the texts of grants in their one form, sorted.
func checkRoles(texts []string) ([]string, error) {
	if len(texts) > maxGrants {
		return nil, invalid(fmt.Sprintf("%d roles", len(texts)), fmt.Sprintf("at most %d", maxGrants))
	}
	out := []string{}
	for _, text := range texts {
		g, err := policy.ParseGrant(text)
		if err != nil {
			return nil, invalid(err.Error(), "for example engineer, or engineer@team-a,lab/*")
		}
		switch {
		case !slices.Contains(Roles(), g.Role):
			return nil, invalid(fmt.Sprintf("unknown role %q", detail(g.Role)), "roles are "+strings.Join(Roles(), ", "))
		case g.Role == RoleClient && len(g.Models) > 0:
			return nil, invalid("clients query routes, which have no namespace", "limit a key to routes instead: --route NAME")
		}
		out = append(out, g.String())
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// missing makes a look-up that found nothing an error for users.
func missing(err error, what, id, hint string) error {
	if errors.Is(err, ErrNotFound) {
		return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no %s %q", what, detail(id)), Hint: hint, Err: err}
	}
	return err
}

// orConflict returns err, or a conflict if err is nil.
func orConflict(err error, message, hint string) error {
	if err != nil {
		return err
	}
	return &warden.Error{Code: warden.CodeConflict, Message: message, Hint: hint}
}
