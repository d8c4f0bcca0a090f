package store

import (
	"context"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// Edges implements [registry.Graph].
func (v *view) Edges(ctx context.Context, at warden.Ref, back bool) ([]registry.Edge, error) {
	const columns = `SELECT from_ref, to_ref, kind, evidence, tier, created, demo FROM edge `
	text := columns + `WHERE from_ref = $1 ORDER BY to_ref, kind, evidence`
	if back {
		text = columns + `WHERE to_ref = $1 ORDER BY from_ref, kind, evidence`
	}
	return list(ctx, v.conn, func(r row) (e registry.Edge, err error) {
		var from, to string
		err = r(&from, &to, &e.Kind, &e.Evidence, &e.Tier, instant{&e.Created}, &e.Demo)
		e.From, e.To = parseRef(from), parseRef(to)
		return e, err
	}, text, at.String())
}

// Reach implements [registry.Graph]. UNION drops rows seen before, so a cycle
// ends when depth is reached.
func (v *view) Reach(ctx context.Context, at warden.Ref, back bool, tier registry.Tier, depth int) ([]registry.Reached, bool, error) {
	const forward = `
		WITH RECURSIVE walk (ref, depth) AS (
			SELECT $1, 0 UNION SELECT e.to_ref, w.depth + 1 FROM walk w JOIN edge e ON e.from_ref = w.ref
			WHERE e.tier >= $2 AND w.depth <= $3 AND e.to_ref <> $1)
		SELECT ref, min(depth) FROM walk WHERE depth > 0 GROUP BY ref ORDER BY 2, 1`
	const backward = `
		WITH RECURSIVE walk (ref, depth) AS (
			SELECT $1, 0 UNION SELECT e.from_ref, w.depth + 1 FROM walk w JOIN edge e ON e.to_ref = w.ref
			WHERE e.tier >= $2 AND w.depth <= $3 AND e.from_ref <> $1)
		SELECT ref, min(depth) FROM walk WHERE depth > 0 GROUP BY ref ORDER BY 2, 1`
	text := forward
	if back {
		text = backward
	}
	found, err := list(ctx, v.conn, func(r row) (x registry.Reached, err error) {
		var ref string
		err = r(&ref, &x.Depth)
		x.Ref = parseRef(ref)
		return x, err
	}, text, at.String(), int(tier), depth)
	if err != nil {
		return nil, false, err
	}
	for i, x := range found { // one step more was taken, to know if there is more
		if x.Depth > depth {
			return found[:i], true, nil
		}
	}
	return found, false, nil
}

func readRetrieval(r row) (x registry.Retrieval, err error) {
	err = r(digest{&x.Artifact}, &x.Principal, &x.Count, instant{&x.First}, instant{&x.Last})
	return x, err
}

// Retrievals implements [registry.Graph].
func (v *view) Retrievals(ctx context.Context, d warden.Digest) ([]registry.Retrieval, error) {
	return list(ctx, v.conn, readRetrieval, `
		SELECT artifact, principal, total, first, last FROM retrieval WHERE artifact = $1 ORDER BY last DESC, principal`, d[:])
}

// RetrievedBy implements [registry.Graph].
func (v *view) RetrievedBy(ctx context.Context, principal string) ([]registry.Retrieval, error) {
	return list(ctx, v.conn, readRetrieval, `
		SELECT artifact, principal, total, first, last FROM retrieval WHERE principal = $1 ORDER BY last DESC, artifact`, principal)
}

// PutEdge implements [registry.EvidenceWriter].
func (t *tx) PutEdge(ctx context.Context, e registry.Edge) error {
	_, err := t.exec(ctx, `
		INSERT INTO edge (from_ref, to_ref, kind, evidence, tier, created, demo) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (from_ref, to_ref, kind, evidence) DO UPDATE SET
			tier = CASE WHEN excluded.tier > edge.tier THEN excluded.tier ELSE edge.tier END,
			demo = CASE WHEN excluded.demo < edge.demo THEN excluded.demo ELSE edge.demo END`,
		e.From.String(), e.To.String(), e.Kind, e.Evidence, int(e.Tier), stamp(e.Created), flag(e.Demo))
	return err
}
