package store

import (
	"context"

	"github.com/modelwarden/warden/internal/audit"
)

// ViewAudit implements [audit.WitnessStore].
func (s *Store) ViewAudit(ctx context.Context, fn func(audit.Reader) error) error {
	return s.view(ctx, func(v *view) error { return fn(v) })
}

// UpdateWitnesses implements [audit.WitnessStore].
func (s *Store) UpdateWitnesses(ctx context.Context, fn func(audit.WitnessTx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// Witnesses implements [audit.WitnessStore].
func (s *Store) Witnesses(ctx context.Context) (ws []audit.Witness, cs []audit.Cosignature, err error) {
	err = s.view(ctx, func(v *view) error {
		ws, cs = nil, nil
		type both struct {
			w audit.Witness
			c audit.Cosignature
		}
		all, err := list(ctx, v.conn, func(r row) (x both, err error) {
			err = r(&x.w.Name, &x.w.URL, &x.w.Key, instant{&x.w.Added}, &x.c.Size, instant{&x.c.At}, &x.c.Note)
			x.c.Witness = x.w.Name
			return x, err
		}, `SELECT name, url, key, added, size, at, note FROM audit_witness ORDER BY name`)
		for _, x := range all {
			ws, cs = append(ws, x.w), append(cs, x.c)
		}
		return err
	})
	return ws, cs, err
}

// PutWitness implements [audit.WitnessTx]. A witness whose key changed has
// signed nothing yet.
func (t *tx) PutWitness(ctx context.Context, w audit.Witness) error {
	_, err := t.exec(ctx, `
		INSERT INTO audit_witness (name, url, key, added, size, at, note) VALUES ($1, $2, $3, $4, 0, 0, $5)
		ON CONFLICT (name) DO UPDATE SET url = excluded.url, key = excluded.key, added = excluded.added,
			size = CASE WHEN excluded.key = audit_witness.key THEN audit_witness.size ELSE 0 END,
			note = CASE WHEN excluded.key = audit_witness.key THEN audit_witness.note ELSE excluded.note END`,
		w.Name, w.URL, w.Key, stamp(w.Added), []byte{})
	return err
}

// DeleteWitness implements [audit.WitnessTx].
func (t *tx) DeleteWitness(ctx context.Context, name string) error {
	n, err := t.exec(ctx, `DELETE FROM audit_witness WHERE name = $1`, name)
	if err == nil && n == 0 {
		err = audit.ErrMissing
	}
	return err
}

// PutCosignature implements [audit.WitnessTx]. An older one never replaces a
// newer one.
func (t *tx) PutCosignature(ctx context.Context, c audit.Cosignature) error {
	_, err := t.exec(ctx, `UPDATE audit_witness SET size = $2, at = $3, note = $4 WHERE name = $1 AND size <= $2`,
		c.Witness, int64(c.Size), stamp(c.At), c.Note)
	return err
}
