package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/registry"
)

// UpdateAccess implements [access.Store].
func (s *Store) UpdateAccess(ctx context.Context, fn func(access.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// AccessEpoch implements [access.Store].
func (s *Store) AccessEpoch(ctx context.Context) (n uint64, err error) {
	err = s.view(ctx, func(v *view) error {
		n, err = one(ctx, v.conn, scalar[uint64], `SELECT value FROM counter WHERE name = 'access'`)
		return err
	})
	return n, err
}

// accessChanged counts one change of the directory.
func (t *tx) accessChanged(ctx context.Context) error {
	_, err := t.exec(ctx, `UPDATE counter SET value = value + 1 WHERE name = 'access'`)
	return err
}

const keyColumns = `id, name, principal, roles, routes, hash, created, expires, revoked, demo, actions, owner, used`

func readKey(r row) (k access.Key, err error) {
	err = r(&k.ID, &k.Name, &k.Principal, texts{&k.Roles}, texts{&k.Routes}, &k.Hash, instant{&k.Created}, instant{&k.Expires}, instant{&k.Revoked}, &k.Demo, texts{&k.Actions}, &k.Owner, instant{&k.Used})
	return k, err
}

// Key implements [access.Store].
func (s *Store) Key(ctx context.Context, id string) (k access.Key, err error) {
	err = s.view(ctx, func(v *view) error {
		k, err = one(ctx, v.conn, readKey, `SELECT `+keyColumns+` FROM access_key WHERE id = $1`, id)
		return err
	})
	return k, notFound(err)
}

// Key implements [access.Tx].
func (t *tx) Key(ctx context.Context, id string) (access.Key, error) {
	k, err := one(ctx, t.conn, readKey, `SELECT `+keyColumns+` FROM access_key WHERE id = $1`, id)
	return k, notFound(err)
}

// notFound makes a missing row the error of the access room.
func notFound(err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return access.ErrNotFound
	}
	return err
}

// Keys implements [access.Store].
func (s *Store) Keys(ctx context.Context) (ks []access.Key, err error) {
	err = s.view(ctx, func(v *view) error {
		ks, err = list(ctx, v.conn, readKey, `SELECT `+keyColumns+` FROM access_key ORDER BY created, id`)
		return err
	})
	return ks, err
}

// Session implements [access.Store].
func (s *Store) Session(ctx context.Context, hash []byte) (out access.Session, err error) {
	err = s.view(ctx, func(v *view) error {
		out, err = one(ctx, v.conn, func(r row) (x access.Session, err error) {
			err = r(&x.Hash, &x.Principal, texts{&x.Roles}, &x.Key, instant{&x.Created}, instant{&x.Expires})
			return x, err
		}, `SELECT hash, principal, roles, key, created, expires FROM access_session WHERE hash = $1`, hash)
		return err
	})
	return out, notFound(err)
}

// PutKey implements [access.Tx].
func (t *tx) PutKey(ctx context.Context, k access.Key) error {
	if err := t.accessChanged(ctx); err != nil {
		return err
	}
	_, err := t.exec(ctx, `
		INSERT INTO access_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, roles = excluded.roles, routes = excluded.routes, expires = excluded.expires, revoked = excluded.revoked`,
		k.ID, k.Name, k.Principal, jsonList(k.Roles), jsonList(k.Routes), k.Hash, stamp(k.Created), stamp(k.Expires), stamp(k.Revoked), k.Demo, jsonList(k.Actions), k.Owner, stamp(k.Used))
	return err
}

// UseKey implements [access.Tx].
func (t *tx) UseKey(ctx context.Context, id string, at time.Time) error {
	_, err := t.exec(ctx, `UPDATE access_key SET used = $2 WHERE id = $1 AND used < $2`, id, stamp(at))
	return err
}

// DeleteKeys implements [access.Tx].
func (t *tx) DeleteKeys(ctx context.Context, demo bool) (int, error) {
	if err := t.accessChanged(ctx); err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, `DELETE FROM access_key WHERE demo = $1`, demo)
	return int(n), err
}

// PutSession implements [access.Tx]. Sessions that are long over are dropped.
func (t *tx) PutSession(ctx context.Context, x access.Session) error {
	if _, err := t.exec(ctx, `DELETE FROM access_session WHERE expires < $1`, stamp(x.Created)); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO access_session (hash, principal, roles, key, created, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
		x.Hash, x.Principal, jsonList(x.Roles), x.Key, stamp(x.Created), stamp(x.Expires))
	return err
}

// DeleteSession implements [access.Tx].
func (t *tx) DeleteSession(ctx context.Context, hash []byte) error {
	_, err := t.exec(ctx, `DELETE FROM access_session WHERE hash = $1`, hash)
	return err
}

// PutLink implements [access.Tx].
func (t *tx) PutLink(ctx context.Context, l access.Link) error {
	_, err := t.exec(ctx, `INSERT INTO access_link (hash, principal, roles, expires) VALUES ($1, $2, $3, $4)`, l.Hash, l.Principal, jsonList(l.Roles), stamp(l.Expires))
	return err
}

// TakeLink implements [access.Tx].
func (t *tx) TakeLink(ctx context.Context, hash []byte) (access.Link, error) {
	l, err := one(ctx, t.conn, func(r row) (l access.Link, err error) {
		err = r(&l.Hash, &l.Principal, texts{&l.Roles}, instant{&l.Expires})
		return l, err
	}, `DELETE FROM access_link WHERE hash = $1 RETURNING hash, principal, roles, expires`, hash)
	return l, notFound(err)
}

func jsonList(ss []string) string {
	if ss == nil {
		ss = []string{}
	}
	b, err := json.Marshal(ss)
	if err != nil {
		return "[]" // strings always marshal
	}
	return string(b)
}

// texts scans a JSON array of strings.
type texts struct{ list *[]string }

// Scan implements [sql.Scanner].
func (x texts) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("list column holds %T", v)
	}
	return json.Unmarshal([]byte(s), x.list)
}
