package store

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

const jobColumns = `id, artifact, class, why, state, attempts, files_done, files, bytes_done, bytes, problem, wanted, started, changed`

func readJob(r row) (j registry.Job, err error) {
	err = r(&j.ID, digest{&j.Artifact}, &j.Class, &j.Why, &j.State, &j.Attempts, &j.FilesDone, &j.Files, &j.BytesDone, &j.Bytes, &j.Problem,
		instant{&j.Wanted}, instant{&j.Started}, instant{&j.Changed})
	return j, err
}

// Job implements [registry.Feed].
func (v *view) Job(ctx context.Context, d warden.Digest) (registry.Job, error) {
	return one(ctx, v.conn, readJob, `SELECT `+jobColumns+` FROM job WHERE artifact = $1`, d[:])
}

// Jobs implements [registry.Feed].
func (v *view) Jobs(ctx context.Context, state registry.JobState, p registry.Page) ([]registry.Job, string, error) {
	after, err := before(p, 2)
	if err != nil {
		return nil, "", err
	}
	// One text where the state is known, so that its index is used.
	const rest = `(changed < $1 OR changed = $1 AND id < $2) AND ($3 = '' OR state = $3) ORDER BY changed DESC, id DESC LIMIT $4`
	text := `SELECT ` + jobColumns + ` FROM job WHERE ` + rest
	if state != "" {
		text = `SELECT ` + jobColumns + ` FROM job WHERE state = $3 AND ` + rest
	}
	js, err := list(ctx, v.conn, readJob, text, after[0], after[1], string(state), p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	js, next := page(js, p.Size(), func(j registry.Job) string { return registry.Cursor(stamp(j.Changed), j.ID) })
	return js, next, nil
}

// PutJob implements [registry.FeedWriter].
func (t *tx) PutJob(ctx context.Context, j registry.Job) error {
	_, err := t.exec(ctx, `
		INSERT INTO job (artifact, class, why, state, attempts, files_done, files, bytes_done, bytes, problem, wanted, started, changed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (artifact) DO UPDATE SET class = excluded.class, why = excluded.why, state = excluded.state, attempts = excluded.attempts,
			files_done = excluded.files_done, files = excluded.files, bytes_done = excluded.bytes_done, bytes = excluded.bytes,
			problem = excluded.problem, wanted = excluded.wanted, started = excluded.started, changed = excluded.changed`,
		j.Artifact[:], j.Class, j.Why, string(j.State), j.Attempts, j.FilesDone, j.Files, j.BytesDone, j.Bytes, j.Problem, stamp(j.Wanted), stamp(j.Started), stamp(j.Changed))
	return err
}

// DeleteJobs implements [registry.FeedWriter].
func (t *tx) DeleteJobs(ctx context.Context, state registry.JobState, before time.Time) (int, error) {
	n, err := t.exec(ctx, `DELETE FROM job WHERE state = $1 AND changed < $2`, string(state), stamp(before))
	return int(n), err
}
