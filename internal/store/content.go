package store

import (
	"context"
	"errors"
	"time"

	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/registry"
)

// PutContent implements [monitor.ContentStore].
func (s *Store) PutContent(ctx context.Context, c monitor.Sealed) error {
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO traffic_content (request, route, at, until, box) VALUES ($1, $2, $3, $4, $5)`, c.Request, c.Route, stamp(c.At), stamp(c.Until), c.Box)
		return err
	})
}

// Content implements [monitor.ContentStore].
func (s *Store) Content(ctx context.Context, request string) (c monitor.Sealed, err error) {
	err = s.view(ctx, func(v *view) error {
		c, err = one(ctx, v.conn, func(r row) (c monitor.Sealed, err error) {
			err = r(&c.Request, &c.Route, instant{&c.At}, instant{&c.Until}, &c.Box)
			return c, err
		}, `SELECT request, route, at, until, box FROM traffic_content WHERE request = $1`, request)
		return err
	})
	if errors.Is(err, registry.ErrNotFound) {
		return c, monitor.ErrNoContent
	}
	return c, err
}

// DropContent implements [monitor.ContentStore].
func (s *Store) DropContent(ctx context.Context, now time.Time) (n int, err error) {
	err = s.update(ctx, func(t *tx) error {
		m, err := t.exec(ctx, `DELETE FROM traffic_content WHERE until <= $1`, stamp(now))
		n = int(m)
		return err
	})
	return n, err
}
