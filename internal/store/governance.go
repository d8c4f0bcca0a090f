package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// TrustVersion implements [registry.Governance].
func (v *view) TrustVersion(ctx context.Context) (int64, error) {
	return one(ctx, v.conn, scalar[int64], `SELECT coalesce(max(version), 0) FROM trust_version`)
}

// Trust implements [registry.Governance].
func (v *view) Trust(ctx context.Context, version int64) (registry.TrustList, error) {
	return one(ctx, v.conn, func(r row) (l registry.TrustList, err error) {
		var entries []byte
		if err = r(&l.Version, instant{&l.At}, &l.By, &l.Action, &l.Entry, &entries); err != nil {
			return l, err
		}
		if err = json.Unmarshal(entries, &l.Entries); err != nil {
			err = fmt.Errorf("trust store version %d: %w", l.Version, err)
		}
		return l, err
	}, `SELECT version, at, actor, action, entry, entries FROM trust_version WHERE version = $1`, version)
}

// PutTrust implements [registry.GovernanceWriter].
func (t *tx) PutTrust(ctx context.Context, l registry.TrustList) error {
	entries, err := json.Marshal(l.Entries)
	if err != nil {
		return err
	}
	n, err := t.exec(ctx, `
		INSERT INTO trust_version (version, at, actor, action, entry, entries) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (version) DO NOTHING`,
		l.Version, stamp(l.At), l.By, l.Action, l.Entry, entries)
	if err == nil && n == 0 {
		err = fmt.Errorf("trust store version %d: %w", l.Version, registry.ErrExists)
	}
	return err
}

// PolicyApplied implements [registry.Governance].
func (v *view) PolicyApplied(ctx context.Context) (int64, error) {
	return one(ctx, v.conn, scalar[int64], `
		SELECT coalesce((SELECT version FROM policy_version WHERE state = 'applied' ORDER BY decided_at DESC, version DESC LIMIT 1), 0)`)
}

// PolicyVersions implements [registry.Governance].
func (v *view) PolicyVersions(ctx context.Context) ([]registry.PolicyVersion, error) {
	return list(ctx, v.conn, func(r row) (x registry.PolicyVersion, err error) {
		err = r(&x.Version, &x.Name, digest{&x.Digest}, &x.State, &x.Reason, &x.ProposedBy, instant{&x.ProposedAt}, &x.DecidedBy, instant{&x.DecidedAt})
		return x, err
	}, `
		SELECT version, name, digest, state, reason, proposed_by, proposed_at, decided_by, decided_at FROM policy_version ORDER BY version DESC`)
}

// PutPolicyVersion implements [registry.GovernanceWriter].
func (t *tx) PutPolicyVersion(ctx context.Context, x registry.PolicyVersion) error {
	_, err := t.exec(ctx, `
		INSERT INTO policy_version (version, name, digest, state, reason, proposed_by, proposed_at, decided_by, decided_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (version) DO UPDATE SET state = excluded.state, decided_by = excluded.decided_by, decided_at = excluded.decided_at`,
		x.Version, x.Name, x.Digest[:], string(x.State), x.Reason, x.ProposedBy, stamp(x.ProposedAt), x.DecidedBy, stamp(x.DecidedAt))
	return err
}

// StageChanges implements [registry.Governance].
func (v *view) StageChanges(ctx context.Context, model registry.Name, number int) ([]registry.StageChange, error) {
	return list(ctx, v.conn, func(r row) (c registry.StageChange, err error) {
		err = r(&c.Model, &c.Number, digest{&c.Artifact}, &c.Before, &c.After, instant{&c.At}, &c.By, &c.Reason, digest{&c.Decision})
		return c, err
	}, `
		SELECT model, number, artifact, before, after, at, actor, reason, decision FROM stage_change
		WHERE model = $1 AND ($2 = 0 OR number = $2) ORDER BY id`, string(model), number)
}

// PutStageChange implements [registry.GovernanceWriter].
func (t *tx) PutStageChange(ctx context.Context, c registry.StageChange) error {
	_, err := t.exec(ctx, `
		INSERT INTO stage_change (model, number, artifact, before, after, at, actor, reason, decision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(c.Model), c.Number, c.Artifact[:], string(c.Before), string(c.After), stamp(c.At), c.By, c.Reason, c.Decision[:])
	return err
}

// Attested implements [registry.Governance].
func (v *view) Attested(ctx context.Context, after warden.Digest, limit int) ([]warden.Digest, error) {
	return list(ctx, v.conn, readDigest, `
		SELECT DISTINCT x.subject FROM statement_subject x JOIN statement s ON s.id = x.statement
		WHERE s.attached_by <> '' AND x.place = 0 AND x.subject > $1 ORDER BY x.subject LIMIT $2`, after[:], limit)
}

// Content implements [registry.Governance].
func (v *view) Content(ctx context.Context, d warden.Digest) ([]byte, error) {
	return one(ctx, v.conn, scalar[[]byte], `SELECT bytes FROM content WHERE digest = $1`, d[:])
}

// PutContent implements [registry.GovernanceWriter].
func (t *tx) PutContent(ctx context.Context, b []byte) error {
	d := warden.Sum(b)
	_, err := t.exec(ctx, `INSERT INTO content (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, d[:], document(b))
	return err
}

// Counter implements [registry.Governance].
func (v *view) Counter(ctx context.Context, name string) (int64, error) {
	return one(ctx, v.conn, scalar[int64], `SELECT value FROM counter WHERE name = $1`, name)
}

// SetCounter implements [registry.GovernanceWriter].
func (t *tx) SetCounter(ctx context.Context, name string, value int64) error {
	_, err := t.exec(ctx, `UPDATE counter SET value = $2 WHERE name = $1`, name, value)
	return err
}
