package store

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden/internal/monitor"
)

// UpdateTraffic implements [monitor.Store].
func (s *Store) UpdateTraffic(ctx context.Context, fn func(monitor.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// Batches implements [monitor.Store].
func (s *Store) Batches(ctx context.Context, from, until time.Time, before uint64, limit int) (bs []monitor.Batch, err error) {
	if before == 0 {
		before = 1 << 62
	}
	err = s.view(ctx, func(v *view) error {
		bs, err = list(ctx, v.conn, func(r row) (b monitor.Batch, err error) {
			var root []byte
			err = r(&b.Entry, &b.Replica, &b.First, &b.Count, instant{&b.From}, instant{&b.Until}, &root, &b.Packed)
			if len(root) == tlog.HashSize {
				b.Root = tlog.Hash(root)
			}
			return b, err
		}, `SELECT entry, replica, first, count, began, ended, root, packed FROM traffic_batch
			WHERE entry < $1 AND ended >= $2 AND began <= $3 ORDER BY entry DESC LIMIT $4`, int64(before), stamp(from), stamp(until), limit)
		return err
	})
	return bs, err
}

// Used implements [monitor.Store].
func (s *Store) Used(ctx context.Context, from, until time.Time) (us []monitor.Use, err error) {
	err = s.view(ctx, func(v *view) error {
		us, err = list(ctx, v.conn, func(r row) (u monitor.Use, err error) {
			err = r(instant{&u.Hour}, &u.Route, &u.Principal, &u.Key, &u.Team, &u.Model, &u.Requests, &u.Refused, &u.Denied, &u.Input, &u.Output, &u.Rows, &u.Cost, &u.Errors, &u.Took)
			return u, err
		}, `SELECT hour, route, principal, key, team, model, requests, refused, denied, input, output, inputs, cost, errors, took FROM traffic_use
			WHERE hour >= $1 AND hour < $2 ORDER BY hour, route, principal, key, team, model`, stamp(from), stamp(until))
		return err
	})
	return us, err
}

// PutBatch implements [monitor.Tx].
func (t *tx) PutBatch(ctx context.Context, b monitor.Batch) error {
	_, err := t.exec(ctx, `
		INSERT INTO traffic_batch (entry, replica, first, count, began, ended, root, packed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		int64(b.Entry), b.Replica, b.First, b.Count, stamp(b.From), stamp(b.Until), b.Root[:], b.Packed)
	return err
}

// AddUse implements [monitor.Tx].
func (t *tx) AddUse(ctx context.Context, us []monitor.Use) error {
	for _, u := range us {
		_, err := t.exec(ctx, `
			INSERT INTO traffic_use (hour, route, principal, key, team, model, requests, refused, denied, input, output, inputs, cost, errors, took)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
			ON CONFLICT (hour, route, principal, key, team, model) DO UPDATE SET
				requests = traffic_use.requests + excluded.requests, refused = traffic_use.refused + excluded.refused, denied = traffic_use.denied + excluded.denied,
				input = traffic_use.input + excluded.input, output = traffic_use.output + excluded.output, inputs = traffic_use.inputs + excluded.inputs,
				cost = traffic_use.cost + excluded.cost, errors = traffic_use.errors + excluded.errors, took = traffic_use.took + excluded.took`,
			stamp(u.Hour), u.Route, u.Principal, u.Key, u.Team, u.Model, u.Requests, u.Refused, u.Denied, u.Input, u.Output, u.Rows, u.Cost, u.Errors, u.Took)
		if err != nil {
			return err
		}
	}
	return nil
}

// DropRecords implements [monitor.Tx].
func (t *tx) DropRecords(ctx context.Context, records, sums time.Time) (int, error) {
	if _, err := t.exec(ctx, `DELETE FROM traffic_use WHERE hour < $1`, stamp(sums)); err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, `DELETE FROM traffic_batch WHERE ended < $1`, stamp(records))
	return int(n), err
}
