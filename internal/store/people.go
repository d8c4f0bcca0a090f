package store

import (
	"context"
	"time"

	"github.com/modelwarden/warden/internal/access"
)

// seen runs a query of the access room on one snapshot.
func seen[T any](ctx context.Context, s *Store, read func(*view) (T, error)) (out T, err error) {
	err = s.view(ctx, func(v *view) error {
		out, err = read(v)
		return err
	})
	return out, notFound(err)
}

// User implements [access.Directory].
func (s *Store) User(ctx context.Context, id string) (access.User, error) {
	return seen(ctx, s, func(v *view) (access.User, error) { return v.User(ctx, id) })
}

// Users implements [access.Directory].
func (s *Store) Users(ctx context.Context) ([]access.User, error) {
	return seen(ctx, s, func(v *view) ([]access.User, error) { return v.Users(ctx) })
}

// UserGroup implements [access.Directory].
func (s *Store) UserGroup(ctx context.Context, name string) (access.Group, error) {
	return seen(ctx, s, func(v *view) (access.Group, error) { return v.UserGroup(ctx, name) })
}

// UserGroups implements [access.Directory].
func (s *Store) UserGroups(ctx context.Context) ([]access.Group, error) {
	return seen(ctx, s, func(v *view) ([]access.Group, error) { return v.UserGroups(ctx) })
}

// Held implements [access.Directory].
func (s *Store) Held(ctx context.Context, principal string) (roles, groups []string, err error) {
	err = s.view(ctx, func(v *view) error {
		roles, groups, err = v.Held(ctx, principal)
		return err
	})
	return roles, groups, err
}

// Login implements [access.Directory].
func (s *Store) Login(ctx context.Context, issuer, subject string) (string, error) {
	return seen(ctx, s, func(v *view) (string, error) { return v.Login(ctx, issuer, subject) })
}

const userColumns = `id, name, mail, person, disabled, created, seen`

func readUser(r row) (u access.User, err error) {
	err = r(&u.ID, &u.Name, &u.Mail, &u.Person, &u.Disabled, instant{&u.Created}, instant{&u.Seen})
	return u, err
}

// User implements [access.Directory].
func (v *view) User(ctx context.Context, id string) (access.User, error) {
	u, err := one(ctx, v.conn, readUser, `SELECT `+userColumns+` FROM access_user WHERE id = $1`, id)
	if err != nil {
		return u, notFound(err)
	}
	if u.Roles, err = v.grants(ctx, id); err != nil {
		return u, err
	}
	u.Groups, err = v.groupsOf(ctx, id)
	return u, err
}

// Users implements [access.Directory].
func (v *view) Users(ctx context.Context) ([]access.User, error) {
	us, err := list(ctx, v.conn, readUser, `SELECT `+userColumns+` FROM access_user ORDER BY id`)
	if err != nil {
		return nil, err
	}
	at := make(map[string]*access.User, len(us))
	for i := range us {
		at[us[i].ID] = &us[i]
	}
	grants, err := list(ctx, v.conn, pair, `SELECT holder, role FROM access_grant ORDER BY holder, role`)
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		if u := at[g[0]]; u != nil {
			u.Roles = append(u.Roles, g[1])
		}
	}
	members, err := list(ctx, v.conn, pair, `SELECT principal, team FROM access_member ORDER BY principal, team`)
	for _, m := range members {
		if u := at[m[0]]; u != nil {
			u.Groups = append(u.Groups, m[1])
		}
	}
	return us, err
}

func pair(r row) (p [2]string, err error) {
	err = r(&p[0], &p[1])
	return p, err
}

func (v *view) grants(ctx context.Context, holder string) ([]string, error) {
	return list(ctx, v.conn, scalar[string], `SELECT role FROM access_grant WHERE holder = $1 ORDER BY role`, holder)
}

func (v *view) groupsOf(ctx context.Context, principal string) ([]string, error) {
	return list(ctx, v.conn, scalar[string], `SELECT team FROM access_member WHERE principal = $1 ORDER BY team`, principal)
}

func readTeam(r row) (g access.Group, err error) {
	err = r(&g.Name, &g.Note, instant{&g.Created})
	return g, err
}

// UserGroup implements [access.Directory].
func (v *view) UserGroup(ctx context.Context, name string) (access.Group, error) {
	g, err := one(ctx, v.conn, readTeam, `SELECT name, note, created FROM access_group WHERE name = $1`, name)
	if err != nil {
		return g, notFound(err)
	}
	return g, v.fill(ctx, &g)
}

func (v *view) fill(ctx context.Context, g *access.Group) (err error) {
	if g.Roles, err = v.grants(ctx, "group:"+g.Name); err != nil {
		return err
	}
	g.Members, err = list(ctx, v.conn, scalar[string], `SELECT principal FROM access_member WHERE team = $1 ORDER BY principal`, g.Name)
	return err
}

// UserGroups implements [access.Directory].
func (v *view) UserGroups(ctx context.Context) ([]access.Group, error) {
	gs, err := list(ctx, v.conn, readTeam, `SELECT name, note, created FROM access_group ORDER BY name`)
	for i := range gs {
		if err := v.fill(ctx, &gs[i]); err != nil {
			return nil, err
		}
	}
	return gs, err
}

// Held implements [access.Directory].
func (v *view) Held(ctx context.Context, principal string) (roles, groups []string, err error) {
	if groups, err = v.groupsOf(ctx, principal); err != nil {
		return nil, nil, err
	}
	roles, err = list(ctx, v.conn, scalar[string], `
		SELECT DISTINCT role FROM access_grant
		WHERE holder = $1 OR holder IN (SELECT 'group:' || team FROM access_member WHERE principal = $1)
		ORDER BY role`, principal)
	return roles, groups, err
}

// Login implements [access.Directory].
func (v *view) Login(ctx context.Context, issuer, subject string) (string, error) {
	user, err := one(ctx, v.conn, scalar[string], `SELECT holder FROM access_login WHERE issuer = $1 AND subject = $2`, issuer, subject)
	return user, notFound(err)
}

// PutUser implements [access.DirectoryWriter].
func (t *tx) PutUser(ctx context.Context, u access.User) error {
	if err := t.accessChanged(ctx); err != nil {
		return err
	}
	_, err := t.exec(ctx, `
		INSERT INTO access_user (`+userColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, mail = excluded.mail, person = excluded.person, disabled = excluded.disabled, seen = excluded.seen`,
		u.ID, u.Name, u.Mail, u.Person, u.Disabled, stamp(u.Created), stamp(u.Seen))
	if err != nil {
		return err
	}
	return t.putGrants(ctx, u.ID, u.Roles)
}

// putGrants replaces what a holder may do.
func (t *tx) putGrants(ctx context.Context, holder string, roles []string) error {
	if _, err := t.exec(ctx, `DELETE FROM access_grant WHERE holder = $1`, holder); err != nil {
		return err
	}
	for _, r := range roles {
		if _, err := t.exec(ctx, `INSERT INTO access_grant (holder, role) VALUES ($1, $2)`, holder, r); err != nil {
			return err
		}
	}
	return nil
}

// PutUserGroup implements [access.DirectoryWriter].
func (t *tx) PutUserGroup(ctx context.Context, g access.Group) error {
	if err := t.accessChanged(ctx); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO access_group (name, note, created) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET note = excluded.note`, g.Name, g.Note, stamp(g.Created))
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM access_member WHERE team = $1`, g.Name); err != nil {
		return err
	}
	for _, m := range g.Members {
		if _, err := t.exec(ctx, `INSERT INTO access_member (team, principal) VALUES ($1, $2)`, g.Name, m); err != nil {
			return err
		}
	}
	return t.putGrants(ctx, "group:"+g.Name, g.Roles)
}

// DeleteUserGroup implements [access.DirectoryWriter].
func (t *tx) DeleteUserGroup(ctx context.Context, name string) error {
	if err := t.accessChanged(ctx); err != nil {
		return err
	}
	for _, text := range []string{`DELETE FROM access_member WHERE team = $1`, `DELETE FROM access_group WHERE name = $1`} {
		if _, err := t.exec(ctx, text, name); err != nil {
			return err
		}
	}
	return t.putGrants(ctx, "group:"+name, nil)
}

// PutLogin implements [access.DirectoryWriter].
func (t *tx) PutLogin(ctx context.Context, issuer, subject, user string, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO access_login (issuer, subject, holder, created) VALUES ($1, $2, $3, $4)`, issuer, subject, user, stamp(at))
	return err
}

// Spend implements [access.DirectoryWriter]. Tokens that are over are dropped.
func (t *tx) Spend(ctx context.Context, hash []byte, now, until time.Time) (bool, error) {
	if _, err := t.exec(ctx, `DELETE FROM access_spent WHERE until < $1`, stamp(now)); err != nil {
		return false, err
	}
	n, err := t.exec(ctx, `INSERT INTO access_spent (hash, until) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash, stamp(until))
	return n == 1, err
}
