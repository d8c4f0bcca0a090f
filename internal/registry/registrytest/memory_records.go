package registrytest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// Artifact implements [registry.Catalog].
func (s *state) Artifact(_ context.Context, d warden.Digest) (registry.Artifact, error) {
	return got(s.artifacts, d)
}

// Manifest implements [registry.Catalog].
func (s *state) Manifest(_ context.Context, d warden.Digest) ([]byte, error) {
	return got(s.manifests, d)
}

// all returns the versions for which is holds, newest first.
func (s *state) all(is func(registry.Version) bool) (out []row[registry.Version]) {
	for _, r := range slices.Backward(s.versions) {
		r.v.Artifact = s.artifacts[r.v.Digest]
		if is(r.v) {
			out = append(out, r)
		}
	}
	return out
}

func values[T any](rows []row[T]) (out []T) {
	for _, r := range rows {
		out = append(out, r.v)
	}
	return out
}

// Version implements [registry.Catalog].
func (s *state) Version(_ context.Context, model registry.Name, n int) (registry.Version, error) {
	r, err := find(s.all(func(v registry.Version) bool { return v.Model == model && (n == 0 || v.Number == n) }), func(row[registry.Version]) bool { return true })
	return r.v, err
}

// VersionsOf implements [registry.Catalog].
func (s *state) VersionsOf(_ context.Context, d warden.Digest) ([]registry.Version, error) {
	vs := values(s.all(func(v registry.Version) bool { return v.Digest == d }))
	slices.SortFunc(vs, func(x, y registry.Version) int {
		return cmp.Or(cmp.Compare(x.Model, y.Model), cmp.Compare(x.Number, y.Number))
	})
	return vs, nil
}

// Versions implements [registry.Catalog].
func (s *state) Versions(_ context.Context, f registry.VersionFilter, p registry.Page) ([]registry.Version, string, error) {
	if p.After != "" {
		if _, err := registry.ParseCursor(p.After, 1); err != nil {
			return nil, "", err
		}
	}
	rows, next, err := part(s.all(func(v registry.Version) bool {
		return (f.Model == "" || v.Model == f.Model) && (f.State == "" || v.Artifact.State() == f.State) && (!f.Demo || v.Demo) && contains(string(v.Model), f.Search)
	}), p, func(r row[registry.Version]) string { return registry.Cursor(r.id) })
	return values(rows), next, err
}

// Models implements [registry.Catalog].
func (s *state) Models(_ context.Context, f registry.ModelFilter, p registry.Page) ([]registry.Model, string, error) {
	var out []registry.Model
	for _, name := range slices.Sorted(maps.Keys(s.models)) {
		vs := values(s.all(func(v registry.Version) bool { return string(v.Model) == name }))
		if len(vs) == 0 || f.Namespace != "" && vs[0].Model.Namespace() != f.Namespace || f.State != "" && vs[0].Artifact.State() != f.State || !contains(name, f.Search) {
			continue
		}
		out = append(out, registry.Model{Name: vs[0].Model, Versions: len(vs), Latest: vs[0]})
	}
	return part(out, p, func(m registry.Model) string { return string(m.Name) })
}

// Holders implements [registry.Catalog].
func (s *state) Holders(_ context.Context, file warden.Digest, limit int) (out []warden.Digest, err error) {
	for d, fs := range s.files {
		if slices.ContainsFunc(fs, func(f registry.File) bool { return f.Digest == file }) {
			out = append(out, d)
		}
	}
	return firstBy(out, limit, func(x, y warden.Digest) int {
		return cmp.Or(s.artifacts[x].Created.Compare(s.artifacts[y].Created), bytes.Compare(x[:], y[:]))
	}), nil
}

// PutArtifact implements [registry.CatalogWriter].
func (s *state) PutArtifact(_ context.Context, a registry.Artifact, m registry.Manifest, encoded []byte) error {
	if _, ok := s.artifacts[a.Digest]; ok {
		return registry.ErrExists
	}
	s.artifacts[a.Digest], s.manifests[a.Digest], s.files[a.Digest] = a, encoded, m.Files
	return nil
}

// SetArtifact implements [registry.CatalogWriter].
func (s *state) SetArtifact(_ context.Context, a registry.Artifact) error {
	if _, err := got(s.artifacts, a.Digest); err != nil {
		return err
	}
	s.artifacts[a.Digest] = a
	return nil
}

// PutVersion implements [registry.CatalogWriter].
func (s *state) PutVersion(_ context.Context, v registry.Version) (int, error) {
	name := string(v.Model)
	for other := range s.models {
		if other != name && strings.EqualFold(other, name) {
			return 0, registry.ErrExists
		}
	}
	s.models[name]++
	v.Number = s.models[name]
	s.versions = append(s.versions, row[registry.Version]{s.id(), v})
	return v.Number, nil
}

// DeleteDemo implements [registry.CatalogWriter].
func (s *state) DeleteDemo(context.Context) (versions, artifacts int, err error) {
	before := len(s.versions)
	s.versions = keep(s.versions, func(r row[registry.Version]) bool { return !r.v.Demo })
	for d, a := range s.artifacts {
		if !a.Demo || slices.ContainsFunc(s.versions, func(r row[registry.Version]) bool { return r.v.Digest == d }) {
			continue
		}
		artifacts++
		delete(s.artifacts, d)
		delete(s.manifests, d)
		delete(s.files, d)
		delete(s.scans, d)
		delete(s.wanted, d)
		delete(s.jobs, d)
		s.findings = keep(s.findings, func(f registry.FindingRow) bool { return f.Artifact != d })
		s.decisions = keep(s.decisions, func(r row[registry.Decision]) bool { return r.v.Artifact != d })
		s.statements = keep(s.statements, func(x registry.Statement) bool { return len(x.Subjects) == 0 || x.Subjects[0] != d })
		maps.DeleteFunc(s.retrievals, func(_ [2]string, r registry.Retrieval) bool { return r.Artifact == d })
		for _, m := range s.members {
			delete(m, d)
		}
	}
	s.stages = keep(s.stages, func(c registry.StageChange) bool {
		return slices.ContainsFunc(s.versions, func(r row[registry.Version]) bool { return r.v.Model == c.Model && r.v.Number == c.Number })
	})
	s.edges = keep(s.edges, func(e registry.Edge) bool { return !e.Demo })
	s.groups = keep(s.groups, func(g registry.Group) bool {
		named := g.Subject.Kind != warden.KindModel || slices.ContainsFunc(s.versions, func(r row[registry.Version]) bool { return r.v.Model.Ref() == g.Subject })
		return len(s.members[g.ID]) > 0 && (named || !g.Demo)
	})
	for _, g := range s.groups {
		s.sum(g.ID)
	}
	return before - len(s.versions), artifacts, nil
}

// Scan implements [registry.Evidence].
func (s *state) Scan(_ context.Context, d warden.Digest) (registry.Scan, error) {
	return got(s.scans, d)
}

// PutScan implements [registry.EvidenceWriter].
func (s *state) PutScan(_ context.Context, x registry.Scan) (int64, error) {
	x.ID = s.id()
	s.findings = keep(s.findings, func(f registry.FindingRow) bool { return f.Artifact != x.Artifact })
	for _, f := range x.Findings {
		s.findings = append(s.findings, registry.FindingRow{ID: s.id(), Artifact: x.Artifact, Found: x.At, Finding: f})
	}
	x.Findings = nil
	s.scans[x.Artifact] = x
	return x.ID, nil
}

// Findings implements [registry.Evidence].
func (s *state) Findings(_ context.Context, f registry.FindingFilter, p registry.Page) ([]registry.FindingRow, string, error) {
	rows := keep(s.findings, func(r registry.FindingRow) bool {
		return (f.Artifact == (warden.Digest{}) || r.Artifact == f.Artifact) && (f.Rule == "" || r.Finding.Rule == f.Rule) && r.Finding.Severity >= f.Severity
	})
	rows = firstBy(rows, len(rows), func(x, y registry.FindingRow) int {
		return cmp.Or(cmp.Compare(y.Finding.Severity, x.Finding.Severity), cmp.Compare(x.ID, y.ID))
	})
	return part(rows, p, func(r registry.FindingRow) string { return registry.Cursor(int64(r.Finding.Severity), r.ID) })
}

// Group implements [registry.Evidence].
func (s *state) Group(_ context.Context, id int64) (registry.Group, error) {
	return find(s.groups, func(g registry.Group) bool { return g.ID == id })
}

// GroupFor implements [registry.Evidence].
func (s *state) GroupFor(_ context.Context, rule warden.RuleID, subject warden.Ref) (registry.Group, error) {
	return find(s.groups, func(g registry.Group) bool { return g.Rule == rule && g.Subject == subject })
}

// Groups implements [registry.Evidence].
func (s *state) Groups(_ context.Context, f registry.GroupFilter, p registry.Page) ([]registry.Group, string, error) {
	rows := keep(s.groups, func(g registry.Group) bool {
		return g.Severity >= f.Severity && (f.Rule == "" || g.Rule == f.Rule) && (f.Subject.Kind == "" || g.Subject == f.Subject) &&
			(f.State == "" || g.State == f.State) && (contains(string(g.Rule), f.Search) || contains(g.Subject.String(), f.Search))
	})
	rows = firstBy(rows, len(rows), func(x, y registry.Group) int {
		return cmp.Or(cmp.Compare(y.Severity, x.Severity), y.Last.Compare(x.Last), cmp.Compare(y.ID, x.ID))
	})
	return part(rows, p, func(g registry.Group) string { return registry.Cursor(int64(g.Severity), g.Last.UnixNano(), g.ID) })
}

// Members implements [registry.Evidence].
func (s *state) Members(_ context.Context, group int64) ([]registry.Member, error) {
	ms := s.members[group]
	return firstBy(slices.Collect(maps.Values(ms)), len(ms), func(x, y registry.Member) int {
		return cmp.Or(y.Last.Compare(x.Last), bytes.Compare(x.Artifact[:], y.Artifact[:]))
	}), nil
}

// GroupsOf implements [registry.EvidenceWriter].
func (s *state) GroupsOf(_ context.Context, subject warden.Ref, artifact warden.Digest) ([]registry.Group, error) {
	return keep(s.groups, func(g registry.Group) bool {
		_, ok := s.members[g.ID][artifact]
		return ok && g.Subject == subject
	}), nil
}

// PutGroup implements [registry.EvidenceWriter].
func (s *state) PutGroup(_ context.Context, g registry.Group) (int64, error) {
	if g.ID == 0 {
		g.ID = s.id()
		s.groups = append(s.groups, g)
		s.members[g.ID] = map[warden.Digest]registry.Member{}
		return g.ID, nil
	}
	i := slices.IndexFunc(s.groups, func(x registry.Group) bool { return x.ID == g.ID })
	if i < 0 {
		return 0, fmt.Errorf("finding group %d: %w", g.ID, registry.ErrNotFound)
	}
	s.groups[i] = g
	s.sum(g.ID)
	return g.ID, nil
}

// PutMember implements [registry.EvidenceWriter].
func (s *state) PutMember(_ context.Context, group int64, m registry.Member) error {
	s.members[group][m.Artifact] = m
	s.sum(group)
	return nil
}

// sum brings a group in line with its members.
func (s *state) sum(id int64) {
	g := &s.groups[slices.IndexFunc(s.groups, func(x registry.Group) bool { return x.ID == id })]
	g.Count, g.Artifacts = 0, 0
	worst := warden.Info
	for _, m := range s.members[id] {
		if m.Count > 0 {
			g.Count, g.Artifacts, worst = g.Count+m.Count, g.Artifacts+1, max(worst, m.Severity)
		}
	}
	if g.Artifacts > 0 {
		g.Severity = worst
	}
}

// Statements implements [registry.Evidence].
func (s *state) Statements(_ context.Context, d warden.Digest) ([]registry.Statement, error) {
	return keep(s.statements, func(x registry.Statement) bool { return slices.Contains(x.Subjects, d) }), nil
}

// PutStatement implements [registry.EvidenceWriter].
func (s *state) PutStatement(_ context.Context, x registry.Statement) error {
	if x.ID == (warden.Digest{}) {
		x.ID = x.Payload
	}
	if _, err := find(s.statements, func(y registry.Statement) bool { return y.ID == x.ID }); err != nil {
		s.statements = append(s.statements, x)
	}
	return nil
}

// Decision implements [registry.Decisions].
func (s *state) Decision(_ context.Context, d warden.Digest) (registry.Decision, error) {
	r, err := find(s.decisions, func(r row[registry.Decision]) bool { return r.v.Digest == d })
	return r.v, err
}

// DecisionsOn implements [registry.Decisions].
func (s *state) DecisionsOn(_ context.Context, artifact warden.Digest, p registry.Page) ([]registry.Decision, string, error) {
	rows := keep(s.decisions, func(r row[registry.Decision]) bool { return r.v.Artifact == artifact })
	slices.Reverse(rows)
	rows, next, err := part(rows, p, func(r row[registry.Decision]) string { return registry.Cursor(r.id) })
	return values(rows), next, err
}

// PutDecision implements [registry.EvidenceWriter].
func (s *state) PutDecision(ctx context.Context, d registry.Decision) error {
	if _, err := s.Decision(ctx, d.Digest); err != nil {
		s.decisions = append(s.decisions, row[registry.Decision]{s.id(), d})
	}
	return nil
}

// PutEdge implements [registry.EvidenceWriter].
func (s *state) PutEdge(_ context.Context, e registry.Edge) error {
	i := slices.IndexFunc(s.edges, func(x registry.Edge) bool {
		return x.From == e.From && x.To == e.To && x.Kind == e.Kind && x.Evidence == e.Evidence
	})
	if i < 0 {
		s.edges = append(s.edges, e)
		return nil
	}
	s.edges[i].Tier, s.edges[i].Demo = max(s.edges[i].Tier, e.Tier), s.edges[i].Demo && e.Demo
	return nil
}

// Edges implements [registry.Graph].
func (s *state) Edges(_ context.Context, at warden.Ref, back bool) ([]registry.Edge, error) {
	return keep(s.edges, func(e registry.Edge) bool { return !back && e.From == at || back && e.To == at }), nil
}

// Reach implements [registry.Graph].
func (s *state) Reach(ctx context.Context, at warden.Ref, back bool, tier registry.Tier, depth int) (found []registry.Reached, cut bool, err error) {
	level, seen := []warden.Ref{at}, map[warden.Ref]bool{at: true}
	for step := 1; len(level) > 0; step++ {
		var next []warden.Ref
		for _, from := range level {
			es, err := s.Edges(ctx, from, back)
			if err != nil {
				return nil, false, err
			}
			for _, e := range es {
				to := e.To
				if back {
					to = e.From
				}
				if seen[to] || e.Tier < tier {
					continue
				}
				if step > depth {
					return found, true, nil
				}
				seen[to] = true
				next = append(next, to)
			}
		}
		slices.SortFunc(next, func(x, y warden.Ref) int { return strings.Compare(x.String(), y.String()) })
		for _, ref := range next {
			found = append(found, registry.Reached{Ref: ref, Depth: step})
		}
		level = next
	}
	return found, false, nil
}

// Totals implements [registry.Feed].
func (s *state) Totals(context.Context) (n registry.Totals, err error) {
	models, files := map[registry.Name]bool{}, map[warden.Digest]int64{}
	for _, r := range s.versions {
		models[r.v.Model], n.Demo = true, n.Demo || r.v.Demo
	}
	for d, a := range s.artifacts {
		switch a.State() {
		case registry.Pending:
			n.Pending++
		case registry.Admitted:
			n.Admitted++
		case registry.Denied:
			n.Denied++
		case registry.Quarantined:
			n.Quarantined++
		}
		for _, f := range s.files[d] {
			files[f.Digest] = f.Size
		}
	}
	for _, size := range files {
		n.Bytes += size
	}
	for _, g := range s.groups {
		switch {
		case g.State != registry.Open:
		case g.Severity == warden.Critical:
			n.OpenCritical++
		case g.Severity == warden.High:
			n.OpenHigh++
		case g.Severity == warden.Medium:
			n.OpenMedium++
		default:
			n.OpenLow++
		}
	}
	for _, r := range s.retrievals {
		n.Retrievals += r.Count
	}
	n.Models, n.Versions, n.Artifacts, n.Files, n.Decisions, n.Wanted = len(models), len(s.versions), len(s.artifacts), len(files), len(s.decisions), len(s.wanted)
	return n, nil
}
