package store

import (
	"context"
	"errors"

	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/registry"
)

// UpdateRoutes implements [route.Store].
func (s *Store) UpdateRoutes(ctx context.Context, fn func(route.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// RouteEpoch implements [route.Store].
func (s *Store) RouteEpoch(ctx context.Context) (n uint64, err error) {
	err = s.view(ctx, func(v *view) error {
		n, err = one(ctx, v.conn, scalar[uint64], `SELECT value FROM counter WHERE name = 'routes'`)
		return err
	})
	return n, err
}

func (t *tx) routesChanged(ctx context.Context) error {
	_, err := t.exec(ctx, `UPDATE counter SET value = value + 1 WHERE name = 'routes'`)
	return err
}

const routeColumns = `name, config, disabled, revision, changer, created, changed`

func readRoute(r row) (x route.Route, err error) {
	var config string
	err = r(&x.Name, &config, &x.Disabled, &x.Revision, &x.By, instant{&x.Created}, instant{&x.Changed})
	x.Config = []byte(config)
	return x, err
}

// Routes implements [route.Store].
func (s *Store) Routes(ctx context.Context) (rs []route.Route, err error) {
	err = s.view(ctx, func(v *view) error {
		rs, err = list(ctx, v.conn, readRoute, `SELECT `+routeColumns+` FROM gateway_route ORDER BY name`)
		return err
	})
	return rs, err
}

// Route implements [route.Tx].
func (t *tx) Route(ctx context.Context, name string) (route.Route, error) {
	r, err := one(ctx, t.conn, readRoute, `SELECT `+routeColumns+` FROM gateway_route WHERE name = $1`, name)
	if errors.Is(err, registry.ErrNotFound) {
		err = route.ErrNotFound
	}
	return r, err
}

// PutRoute implements [route.Tx].
func (t *tx) PutRoute(ctx context.Context, r route.Route) error {
	if err := t.routesChanged(ctx); err != nil {
		return err
	}
	_, err := t.exec(ctx, `
		INSERT INTO gateway_route (`+routeColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET config = excluded.config, disabled = excluded.disabled, revision = excluded.revision, changer = excluded.changer, changed = excluded.changed`,
		r.Name, string(r.Config), r.Disabled, r.Revision, r.By, stamp(r.Created), stamp(r.Changed))
	return err
}

// DeleteRoute implements [route.Tx].
func (t *tx) DeleteRoute(ctx context.Context, name string) error {
	if err := t.routesChanged(ctx); err != nil {
		return err
	}
	_, err := t.exec(ctx, `DELETE FROM gateway_route WHERE name = $1`, name)
	return err
}
