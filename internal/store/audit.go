package store

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

// AuditHead implements [audit.Reader] and [audit.Tx].
func (v *view) AuditHead(ctx context.Context) (audit.Head, error) {
	return one(ctx, v.conn, func(r row) (h audit.Head, err error) {
		err = r(&h.Entries, &h.Hashes)
		return h, err
	}, `SELECT coalesce((SELECT max(seq) + 1 FROM audit_entry), 0), coalesce((SELECT max(idx) + 1 FROM audit_hash), 0)`)
}

// AuditHashes implements [audit.Reader] and [audit.Tx].
func (v *view) AuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(indexes))
	for len(indexes) > 0 {
		n := 1 // a run of neighbours is one range query
		for n < len(indexes) && indexes[n] == indexes[n-1]+1 {
			n++
		}
		hs, err := list(ctx, v.conn, func(r row) (tlog.Hash, error) {
			b, err := scalar[[]byte](r)
			if err == nil && len(b) != tlog.HashSize {
				err = fmt.Errorf("%w: a stored hash has %d bytes", audit.ErrMissing, len(b))
			}
			if err != nil {
				return tlog.Hash{}, err
			}
			return tlog.Hash(b), nil
		}, `SELECT hash FROM audit_hash WHERE idx BETWEEN $1 AND $2 ORDER BY idx`, indexes[0], indexes[n-1])
		if err != nil {
			return nil, err
		}
		if len(hs) != n {
			return nil, fmt.Errorf("%w: %d of the %d hashes from %d on", audit.ErrMissing, n-len(hs), n, indexes[0])
		}
		out, indexes = append(out, hs...), indexes[n:]
	}
	return out, nil
}

func readEntry(r row) (e audit.Entry, err error) {
	err = r(&e.Seq, &e.Leaf, &e.Salt, &e.Payload)
	return e, err
}

// AuditEntries implements [audit.Reader].
func (v *view) AuditEntries(ctx context.Context, from uint64, limit int) ([]audit.Entry, error) {
	return list(ctx, v.conn, readEntry, `
		SELECT e.seq, e.leaf, p.salt, p.payload FROM audit_entry e LEFT JOIN audit_payload p ON p.seq = e.seq
		WHERE e.seq >= $1 ORDER BY e.seq LIMIT $2`, int64(from), limit)
}

// AuditCheckpoints implements [audit.Reader].
func (v *view) AuditCheckpoints(ctx context.Context, from uint64, limit int) ([]audit.Checkpoint, error) {
	return list(ctx, v.conn, func(r row) (c audit.Checkpoint, err error) {
		err = r(&c.Size, &c.Note)
		return c, err
	}, `SELECT size, note FROM audit_checkpoint WHERE size >= $1 ORDER BY size LIMIT $2`, int64(from), limit)
}

// Trail implements [registry.AuditTrail].
func (v *view) Trail(ctx context.Context, f registry.TrailFilter, p registry.Page) ([]audit.Entry, string, error) {
	before := int64(1<<63 - 1)
	if p.After != "" {
		keys, err := registry.ParseCursor(p.After, 1)
		if err != nil {
			return nil, "", err
		}
		before = keys[0]
	}
	object := ""
	if f.Object.Kind != "" {
		object = f.Object.String()
	}
	// One text per first filter, so that each uses its index.
	const columns = `SELECT e.seq, e.leaf, p.salt, p.payload FROM audit_entry e LEFT JOIN audit_payload p ON p.seq = e.seq `
	const rest = ` AND e.seq < $1 AND ($2 = '' OR e.object = $2) AND ($3 = '' OR e.actor = $3) AND ($4 = '' OR e.action = $4) ORDER BY e.seq DESC LIMIT $5`
	text := columns + `WHERE 1 = 1` + rest
	switch {
	case object != "":
		text = columns + `WHERE e.object = $2` + rest
	case f.Actor != "":
		text = columns + `WHERE e.actor = $3` + rest
	case f.Action != "":
		text = columns + `WHERE e.action = $4` + rest
	}
	es, err := list(ctx, v.conn, readEntry, text, before, object, f.Actor, f.Action, p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	es, next := page(es, p.Size(), func(e audit.Entry) string { return registry.Cursor(int64(e.Seq)) })
	return es, next, nil
}

// PutAuditHashes implements [audit.Tx].
func (t *tx) PutAuditHashes(ctx context.Context, first int64, hashes []tlog.Hash) error {
	for i, h := range hashes {
		if _, err := t.exec(ctx, `INSERT INTO audit_hash (idx, hash) VALUES ($1, $2)`, first+int64(i), h[:]); err != nil {
			return err
		}
	}
	return nil
}

// PutAuditEntries implements [audit.Tx].
func (t *tx) PutAuditEntries(ctx context.Context, entries []audit.Entry) error {
	for _, e := range entries {
		if _, err := t.exec(ctx, `INSERT INTO audit_entry (seq, leaf) VALUES ($1, $2)`, int64(e.Seq), string(e.Leaf)); err != nil {
			return err
		}
		if e.Salt == nil {
			continue
		}
		if _, err := t.exec(ctx, `INSERT INTO audit_payload (seq, salt, payload) VALUES ($1, $2, $3)`, int64(e.Seq), e.Salt, e.Payload); err != nil {
			return err
		}
	}
	return nil
}

// PutAuditCheckpoint implements [audit.Tx].
func (t *tx) PutAuditCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	_, err := t.exec(ctx, `INSERT INTO audit_checkpoint (size, note) VALUES ($1, $2) ON CONFLICT (size) DO UPDATE SET note = excluded.note`, int64(c.Size), c.Note)
	return err
}

// EraseAuditPayload implements [audit.Tx].
func (t *tx) EraseAuditPayload(ctx context.Context, seq uint64) error {
	_, err := t.exec(ctx, `DELETE FROM audit_payload WHERE seq = $1`, int64(seq))
	return err
}
