package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// artifactColumns are read by artifactInto, in this order.
const artifactColumns = `a.digest, a.files, a.size, a.created, a.demo, a.decided, a.verdict, a.complete, a.scanned, a.decision, a.reason, a.held_by, a.held_reason, a.held_at, a.epoch`

// artifactInto returns pointers for artifactColumns and a function to call
// after they are filled.
func artifactInto(a *registry.Artifact) (into []any, done func()) {
	q := new(registry.Quarantine)
	into = []any{
		digest{&a.Digest},
		&a.Files, &a.Size,
		instant{&a.Created},
		&a.Demo, &a.Decided, &a.Verdict, &a.Complete,
		instant{&a.Scanned},
		digest{&a.Decision},
		&a.Reason, &q.By, &q.Reason,
		instant{&q.At},
		&a.Epoch,
	}
	return into, func() {
		if q.By != "" {
			a.Quarantine = q
		}
	}
}

func readArtifact(r row) (a registry.Artifact, err error) {
	into, done := artifactInto(&a)
	err = r(into...)
	done()
	return a, err
}

const versionColumns = `v.id, v.model, v.number, v.pushed_by, v.created, v.demo, ` + artifactColumns

// A numbered version has its row id, which is the cursor of lists.
type numbered struct {
	id    int64
	count int // versions of the model, where asked for
	registry.Version
}

func readVersion(r row) (v numbered, err error) {
	return readVersionAnd(r)
}

// readVersionAnd reads versionColumns and what follows.
func readVersionAnd(r row, more ...any) (v numbered, err error) {
	into, done := artifactInto(&v.Artifact)
	err = r(append(append([]any{&v.id, &v.Model, &v.Number, &v.PushedBy, instant{&v.Created}, &v.Demo}, into...), more...)...)
	done()
	v.Digest = v.Artifact.Digest
	return v, err
}

func bare(vs []numbered) []registry.Version {
	var out []registry.Version
	for _, v := range vs {
		out = append(out, v.Version)
	}
	return out
}

// Artifact implements [registry.Catalog].
func (v *view) Artifact(ctx context.Context, d warden.Digest) (registry.Artifact, error) {
	return one(ctx, v.conn, readArtifact, `SELECT `+artifactColumns+` FROM artifact a WHERE a.digest = $1`, d[:])
}

// Manifest implements [registry.Catalog].
func (v *view) Manifest(ctx context.Context, d warden.Digest) ([]byte, error) {
	return one(ctx, v.conn, scalar[[]byte], `SELECT bytes FROM manifest WHERE artifact = $1`, d[:])
}

// Version implements [registry.Catalog].
func (v *view) Version(ctx context.Context, model registry.Name, n int) (registry.Version, error) {
	// Two texts, so that a number is found by the index and not by going through
	// all that are greater.
	const text = `SELECT ` + versionColumns + ` FROM version v JOIN artifact a ON a.digest = v.artifact WHERE v.model = $1`
	if n != 0 {
		found, err := one(ctx, v.conn, readVersion, text+` AND v.number = $2`, string(model), n)
		return found.Version, err
	}
	found, err := one(ctx, v.conn, readVersion, text+` ORDER BY v.number DESC LIMIT 1`, string(model))
	return found.Version, err
}

// VersionsOf implements [registry.Catalog].
func (v *view) VersionsOf(ctx context.Context, d warden.Digest) ([]registry.Version, error) {
	vs, err := list(ctx, v.conn, readVersion, `
		SELECT `+versionColumns+` FROM version v JOIN artifact a ON a.digest = v.artifact
		WHERE v.artifact = $1 ORDER BY v.model, v.number`, d[:])
	return bare(vs), err
}

// Versions implements [registry.Catalog].
func (v *view) Versions(ctx context.Context, f registry.VersionFilter, p registry.Page) ([]registry.Version, string, error) {
	before, err := before(p, 1)
	if err != nil {
		return nil, "", err
	}
	// One text where the model is known, so that its index is used.
	const columns = `SELECT ` + versionColumns + ` FROM version v JOIN artifact a ON a.digest = v.artifact `
	const rest = ` AND v.id < $1 AND ($2 = '' OR v.model = $2) AND ($3 = '' OR a.state = $3) AND ($4 = 0 OR v.demo = 1)
		  AND lower(v.model) LIKE $5 ESCAPE '\'
		ORDER BY v.id DESC LIMIT $6`
	text := columns + `WHERE 1 = 1` + rest
	if f.Model != "" {
		text = columns + `WHERE v.model = $2` + rest
	}
	vs, err := list(ctx, v.conn, readVersion, text, before[0], string(f.Model), string(f.State), flag(f.Demo), containing(f.Search), p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	vs, next := page(vs, p.Size(), func(v numbered) string { return registry.Cursor(v.id) })
	return bare(vs), next, nil
}

// Models implements [registry.Catalog].
func (v *view) Models(ctx context.Context, f registry.ModelFilter, p registry.Page) ([]registry.Model, string, error) {
	namespace := ""
	if f.Namespace != "" {
		namespace = escaped(f.Namespace) + "/%"
	}
	vs, err := list(ctx, v.conn, func(r row) (numbered, error) {
		var count int
		v, err := readVersionAnd(r, &count)
		v.count = count
		return v, err
	}, `
		SELECT `+versionColumns+`, (SELECT count(*) FROM version w WHERE w.model = v.model)
		FROM model m JOIN version v ON v.model = m.name AND v.number = (SELECT max(w.number) FROM version w WHERE w.model = m.name)
		JOIN artifact a ON a.digest = v.artifact
		WHERE m.name > $1 AND ($2 = '' OR m.name LIKE $2 ESCAPE '\') AND ($3 = '' OR a.state = $3) AND lower(m.name) LIKE $4 ESCAPE '\'
		ORDER BY m.name LIMIT $5`, p.After, namespace, string(f.State), containing(f.Search), p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	vs, next := page(vs, p.Size(), func(v numbered) string { return string(v.Model) })
	var out []registry.Model
	for _, v := range vs {
		out = append(out, registry.Model{Name: v.Model, Versions: v.count, Latest: v.Version})
	}
	return out, next, nil
}

// Holders implements [registry.Catalog].
func (v *view) Holders(ctx context.Context, file warden.Digest, limit int) ([]warden.Digest, error) {
	return list(ctx, v.conn, readDigest, `
		SELECT a.digest FROM artifact a WHERE a.digest IN (SELECT f.artifact FROM artifact_file f WHERE f.file = $1)
		ORDER BY a.created, a.digest LIMIT $2`, file[:], limit)
}

func readDigest(r row) (d warden.Digest, err error) {
	err = r(digest{&d})
	return d, err
}

// before returns the keys of the cursor of a list that is sorted downwards by n
// numbers, or the greatest there are.
func before(p registry.Page, n int) ([]int64, error) {
	if p.After != "" {
		return registry.ParseCursor(p.After, n)
	}
	keys := make([]int64, n)
	for i := range keys {
		keys[i] = 1<<63 - 1
	}
	return keys, nil
}

// escaped makes s stand for itself in LIKE … ESCAPE '\'.
func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// containing returns the LIKE pattern of texts that contain s in any case.
func containing(s string) string {
	if s == "" {
		return "%"
	}
	return "%" + escaped(strings.ToLower(s)) + "%"
}

// held returns the columns of a quarantine.
func held(a registry.Artifact) (by, reason string, at int64) {
	if a.Quarantine == nil {
		return "", "", 0
	}
	return a.Quarantine.By, a.Quarantine.Reason, stamp(a.Quarantine.At)
}

// PutArtifact implements [registry.CatalogWriter].
func (t *tx) PutArtifact(ctx context.Context, a registry.Artifact, m registry.Manifest, encoded []byte) error {
	by, reason, at := held(a)
	n, err := t.exec(ctx, `
		INSERT INTO artifact (digest, files, size, created, demo, decided, verdict, complete, scanned, decision, reason, held_by, held_reason, held_at, epoch)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (digest) DO NOTHING`,
		a.Digest[:], a.Files, a.Size, stamp(a.Created), flag(a.Demo), string(a.Decided), a.Verdict, flag(a.Complete), stamp(a.Scanned),
		a.Decision[:], a.Reason, by, reason, at, int64(a.Epoch))
	if err == nil && n == 0 {
		err = fmt.Errorf("artifact %s: %w", a.Digest, registry.ErrExists)
	}
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `INSERT INTO manifest (artifact, bytes) VALUES ($1, $2)`, a.Digest[:], encoded); err != nil {
		return err
	}
	var files, size int64 // that no artifact had before
	for _, f := range m.Files {
		known, err := one(ctx, t.conn, scalar[bool], `SELECT EXISTS (SELECT 1 FROM artifact_file WHERE file = $1)`, f.Digest[:])
		if err != nil {
			return err
		}
		if !known {
			files, size = files+1, size+f.Size
		}
		if _, err := t.exec(ctx, `INSERT INTO artifact_file (artifact, path, file, size) VALUES ($1, $2, $3, $4)`,
			a.Digest[:], f.Path, f.Digest[:], f.Size); err != nil {
			return err
		}
	}
	if files == 0 {
		return nil
	}
	if _, err := t.exec(ctx, `UPDATE counter SET value = value + $1 WHERE name = 'files'`, files); err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE counter SET value = value + $1 WHERE name = 'bytes'`, size)
	return err
}

// SetArtifact implements [registry.CatalogWriter].
func (t *tx) SetArtifact(ctx context.Context, a registry.Artifact) error {
	by, reason, at := held(a)
	n, err := t.exec(ctx, `
		UPDATE artifact SET demo = $2, decided = $3, verdict = $4, complete = $5, scanned = $6, decision = $7, reason = $8,
			held_by = $9, held_reason = $10, held_at = $11, epoch = $12 WHERE digest = $1`,
		a.Digest[:], flag(a.Demo), string(a.Decided), a.Verdict, flag(a.Complete), stamp(a.Scanned), a.Decision[:], a.Reason,
		by, reason, at, int64(a.Epoch))
	if err == nil && n == 0 {
		err = fmt.Errorf("artifact %s: %w", a.Digest, registry.ErrNotFound)
	}
	return err
}

// PutVersion implements [registry.CatalogWriter].
func (t *tx) PutVersion(ctx context.Context, v registry.Version) (int, error) {
	name := string(v.Model)
	n, err := one(ctx, t.conn, scalar[int], `UPDATE model SET last = last + 1 WHERE name = $1 RETURNING last`, name)
	if errors.Is(err, registry.ErrNotFound) {
		n, err = one(ctx, t.conn, scalar[int], `
			INSERT INTO model (name, folded, last) VALUES ($1, $2, 1) ON CONFLICT (folded) DO NOTHING RETURNING last`, name, strings.ToLower(name))
		if errors.Is(err, registry.ErrNotFound) {
			err = fmt.Errorf("model %s: %w", name, registry.ErrExists)
		}
	}
	if err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, `INSERT INTO version (model, number, artifact, pushed_by, created, demo) VALUES ($1, $2, $3, $4, $5, $6)`,
		name, n, v.Digest[:], v.PushedBy, stamp(v.Created), flag(v.Demo))
	return n, err
}

// DeleteDemo implements [registry.CatalogWriter]. Numbers of models stay used.
func (t *tx) DeleteDemo(ctx context.Context) (versions, artifacts int, err error) {
	gone, err := t.exec(ctx, `DELETE FROM version WHERE demo = 1`)
	if err != nil {
		return 0, 0, err
	}
	// An artifact that a real version names is not demo data.
	ds, err := list(ctx, t.conn, readDigest, `
		SELECT digest FROM artifact WHERE demo = 1 AND NOT EXISTS (SELECT 1 FROM version v WHERE v.artifact = digest)`)
	if err != nil {
		return 0, 0, err
	}
	for _, d := range ds {
		for _, text := range []string{
			`DELETE FROM manifest WHERE artifact = $1`,
			`DELETE FROM artifact_file WHERE artifact = $1`,
			`DELETE FROM scan WHERE artifact = $1`,
			`DELETE FROM finding WHERE artifact = $1`,
			`DELETE FROM group_member WHERE artifact = $1`,
			`DELETE FROM decision WHERE artifact = $1`,
			`DELETE FROM retrieval WHERE artifact = $1`,
			`DELETE FROM scan_wanted WHERE artifact = $1`,
			`DELETE FROM job WHERE artifact = $1`,
			`DELETE FROM statement WHERE id IN (SELECT statement FROM statement_subject WHERE subject = $1 AND place = 0)`,
			`DELETE FROM artifact WHERE digest = $1`,
		} {
			if _, err := t.exec(ctx, text, d[:]); err != nil {
				return 0, 0, err
			}
		}
	}
	for _, text := range []string{
		`DELETE FROM statement_subject WHERE statement NOT IN (SELECT id FROM statement)`,
		`DELETE FROM stage_change WHERE NOT EXISTS (SELECT 1 FROM version v WHERE v.model = stage_change.model AND v.number = stage_change.number)`,
		`DELETE FROM edge WHERE demo = 1`,
		`DELETE FROM group_member WHERE group_id IN (SELECT g.id FROM finding_group g WHERE g.demo = 1 AND g.subject LIKE 'model:%'
			AND NOT EXISTS (SELECT 1 FROM version v WHERE 'model:' || v.model = g.subject))`,
		`DELETE FROM finding_group WHERE NOT EXISTS (SELECT 1 FROM group_member m WHERE m.group_id = id)`,
		sumGroups,
	} {
		if _, err := t.exec(ctx, text); err != nil {
			return 0, 0, err
		}
	}
	return int(gone), len(ds), t.countFiles(ctx)
}
