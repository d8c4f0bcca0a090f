package store

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// AddRetrieval implements [registry.EvidenceWriter].
func (t *tx) AddRetrieval(ctx context.Context, d warden.Digest, principal string, at time.Time) error {
	_, err := t.exec(ctx, `
		INSERT INTO retrieval (artifact, principal, total, first, last) VALUES ($1, $2, 1, $3, $3)
		ON CONFLICT (artifact, principal) DO UPDATE SET total = retrieval.total + 1, last = excluded.last`, d[:], principal, stamp(at))
	return err
}

// Epoch implements [registry.Feed].
func (v *view) Epoch(ctx context.Context) (uint64, error) {
	return one(ctx, v.conn, scalar[uint64], `SELECT value FROM counter WHERE name = 'epoch'`)
}

// BumpEpoch implements [registry.FeedWriter].
func (t *tx) BumpEpoch(ctx context.Context) (uint64, error) {
	return one(ctx, t.conn, scalar[uint64], `UPDATE counter SET value = value + 1 WHERE name = 'epoch' RETURNING value`)
}

// ChangedSince implements [registry.Feed].
func (v *view) ChangedSince(ctx context.Context, epoch uint64, limit int) ([]registry.Artifact, error) {
	return list(ctx, v.conn, readArtifact, `SELECT `+artifactColumns+` FROM artifact a WHERE a.epoch > $1 ORDER BY a.epoch LIMIT $2`, int64(epoch), limit)
}

// Wanted implements [registry.Feed].
func (v *view) Wanted(ctx context.Context, limit int) ([]registry.Wanted, error) {
	return list(ctx, v.conn, func(r row) (w registry.Wanted, err error) {
		err = r(digest{&w.Artifact}, &w.Class, instant{&w.Since}, &w.Why)
		return w, err
	}, `SELECT artifact, class, since, why FROM scan_wanted ORDER BY since, artifact LIMIT $1`, limit)
}

// WantScan implements [registry.FeedWriter].
func (t *tx) WantScan(ctx context.Context, w registry.Wanted) error {
	_, err := t.exec(ctx, `INSERT INTO scan_wanted (artifact, class, since, why) VALUES ($1, $2, $3, $4) ON CONFLICT (artifact) DO NOTHING`,
		w.Artifact[:], w.Class, stamp(w.Since), w.Why)
	return err
}

// UnwantScan implements [registry.FeedWriter].
func (t *tx) UnwantScan(ctx context.Context, d warden.Digest) error {
	_, err := t.exec(ctx, `DELETE FROM scan_wanted WHERE artifact = $1`, d[:])
	return err
}

// Totals implements [registry.Feed]. Files and their bytes are counted when they
// come and go: they are too many to be counted at each reading.
func (v *view) Totals(ctx context.Context) (registry.Totals, error) {
	return one(ctx, v.conn, func(r row) (n registry.Totals, err error) {
		err = r(&n.Models, &n.Versions, &n.Artifacts, &n.Pending, &n.Admitted, &n.Denied, &n.Quarantined, &n.Files, &n.Bytes,
			&n.OpenCritical, &n.OpenHigh, &n.OpenMedium, &n.OpenLow, &n.Decisions, &n.Retrievals, &n.Wanted, &n.Demo)
		return n, err
	}, `
		SELECT (SELECT count(*) FROM model m WHERE EXISTS (SELECT 1 FROM version v WHERE v.model = m.name)),
			(SELECT count(*) FROM version), (SELECT count(*) FROM artifact),
			(SELECT count(*) FROM artifact WHERE state = 'pending'), (SELECT count(*) FROM artifact WHERE state = 'admitted'),
			(SELECT count(*) FROM artifact WHERE state = 'denied'), (SELECT count(*) FROM artifact WHERE state = 'quarantined'),
			(SELECT value FROM counter WHERE name = 'files'), (SELECT value FROM counter WHERE name = 'bytes'),
			(SELECT count(*) FROM finding_group WHERE state = 'open' AND severity = 4),
			(SELECT count(*) FROM finding_group WHERE state = 'open' AND severity = 3),
			(SELECT count(*) FROM finding_group WHERE state = 'open' AND severity = 2),
			(SELECT count(*) FROM finding_group WHERE state = 'open' AND severity < 2),
			(SELECT count(*) FROM decision), (SELECT coalesce(sum(total), 0) FROM retrieval), (SELECT count(*) FROM scan_wanted),
			EXISTS (SELECT 1 FROM version WHERE demo = 1)`)
}

// countFiles counts distinct files and their bytes anew, after some have gone.
func (t *tx) countFiles(ctx context.Context) error {
	for _, text := range []string{
		`UPDATE counter SET value = (SELECT count(*) FROM (SELECT file FROM artifact_file GROUP BY file) AS f) WHERE name = 'files'`,
		`UPDATE counter SET value = (SELECT coalesce(sum(f.size), 0) FROM (SELECT max(size) AS size FROM artifact_file GROUP BY file) AS f) WHERE name = 'bytes'`,
	} {
		if _, err := t.exec(ctx, text); err != nil {
			return err
		}
	}
	return nil
}
