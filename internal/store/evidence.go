package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// document is JSON kept as bytes; an absent one is kept empty.
func document(b json.RawMessage) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// parseRef is the inverse of [warden.Ref.String].
func parseRef(s string) warden.Ref {
	kind, id, _ := strings.Cut(s, ":")
	return warden.Ref{Kind: warden.Kind(kind), ID: id}
}

// Scan implements [registry.Evidence].
func (v *view) Scan(ctx context.Context, d warden.Digest) (registry.Scan, error) {
	return one(ctx, v.conn, func(r row) (s registry.Scan, err error) {
		var statuses, report []byte
		if err = r(&s.ID, digest{&s.Artifact}, instant{&s.At}, &s.By, &s.RuleSet, &s.Verdict, &s.Complete, &statuses, &report); err != nil {
			return s, err
		}
		s.Report = report
		if err = json.Unmarshal(statuses, &s.Statuses); err != nil {
			err = fmt.Errorf("statuses of scan %d: %w", s.ID, err)
		}
		return s, err
	}, `SELECT id, artifact, at, actor, rule_set, verdict, complete, statuses, report FROM scan WHERE artifact = $1 ORDER BY id DESC LIMIT 1`, d[:])
}

func readFinding(r row) (f registry.FindingRow, err error) {
	var subject string
	x := &f.Finding
	err = r(&f.ID, digest{&f.Artifact}, instant{&f.Found}, &x.Rule, &x.Severity, &subject, &x.At.Path, &x.At.Span.Unit,
		&x.At.Span.Start, &x.At.Span.End, &x.Message, &x.Evidence)
	x.Subject = parseRef(subject)
	return f, err
}

// Findings implements [registry.Evidence].
func (v *view) Findings(ctx context.Context, f registry.FindingFilter, p registry.Page) ([]registry.FindingRow, string, error) {
	after := []int64{1<<63 - 1, 0} // severity downwards, id upwards
	if p.After != "" {
		var err error
		if after, err = registry.ParseCursor(p.After, 2); err != nil {
			return nil, "", err
		}
	}
	const columns = `SELECT id, artifact, found, rule, severity, subject, path, unit, span_start, span_end, message, evidence FROM finding `
	const rest = ` AND (severity < $1 OR severity = $1 AND id > $2) AND ($3 = '' OR rule = $3) AND severity >= $4 AND ($5 = 0 OR artifact = $6)
		ORDER BY severity DESC, id LIMIT $7`
	text, only, artifact := columns+`WHERE 1 = 1`+rest, false, []byte{}
	if f.Artifact != (warden.Digest{}) {
		text, only, artifact = columns+`WHERE artifact = $6`+rest, true, f.Artifact[:]
	}
	fs, err := list(ctx, v.conn, readFinding, text, after[0], after[1], string(f.Rule), int(f.Severity), flag(only), artifact, p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	fs, next := page(fs, p.Size(), func(f registry.FindingRow) string { return registry.Cursor(int64(f.Finding.Severity), f.ID) })
	return fs, next, nil
}

const groupColumns = `g.id, g.rule, g.subject, g.severity, g.state, g.note, g.total, g.artifacts, g.first, g.last, g.demo`

func readGroup(r row) (g registry.Group, err error) {
	var subject string
	err = r(&g.ID, &g.Rule, &subject, &g.Severity, &g.State, &g.Note, &g.Count, &g.Artifacts, instant{&g.First}, instant{&g.Last}, &g.Demo)
	g.Subject = parseRef(subject)
	return g, err
}

// Group implements [registry.Evidence].
func (v *view) Group(ctx context.Context, id int64) (registry.Group, error) {
	return one(ctx, v.conn, readGroup, `SELECT `+groupColumns+` FROM finding_group g WHERE g.id = $1`, id)
}

// GroupFor implements [registry.Evidence].
func (v *view) GroupFor(ctx context.Context, rule warden.RuleID, subject warden.Ref) (registry.Group, error) {
	return one(ctx, v.conn, readGroup, `SELECT `+groupColumns+` FROM finding_group g WHERE g.subject = $1 AND g.rule = $2`, subject.String(), string(rule))
}

// Groups implements [registry.Evidence].
func (v *view) Groups(ctx context.Context, f registry.GroupFilter, p registry.Page) ([]registry.Group, string, error) {
	after, err := before(p, 3)
	if err != nil {
		return nil, "", err
	}
	subject := ""
	if f.Subject.Kind != "" {
		subject = f.Subject.String()
	}
	const columns = `SELECT ` + groupColumns + ` FROM finding_group g WHERE `
	const rest = `(g.severity < $1 OR g.severity = $1 AND (g.last < $2 OR g.last = $2 AND g.id < $3))
		AND g.severity >= $4 AND ($5 = '' OR g.rule = $5) AND ($6 = '' OR g.subject = $6) AND ($7 = '' OR g.state = $7)
		AND (lower(g.rule) LIKE $8 ESCAPE '\' OR lower(g.subject) LIKE $8 ESCAPE '\')
		ORDER BY g.severity DESC, g.last DESC, g.id DESC LIMIT $9`
	text := columns + rest
	if subject != "" {
		text = columns + `g.subject = $6 AND ` + rest
	}
	gs, err := list(ctx, v.conn, readGroup, text, after[0], after[1], after[2], int(f.Severity), string(f.Rule), subject, string(f.State),
		containing(f.Search), p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	gs, next := page(gs, p.Size(), func(g registry.Group) string { return registry.Cursor(int64(g.Severity), stamp(g.Last), g.ID) })
	return gs, next, nil
}

// Members implements [registry.Evidence].
func (v *view) Members(ctx context.Context, group int64) ([]registry.Member, error) {
	return list(ctx, v.conn, func(r row) (m registry.Member, err error) {
		err = r(digest{&m.Artifact}, &m.Count, &m.Severity, instant{&m.Last})
		return m, err
	}, `SELECT artifact, total, severity, last FROM group_member WHERE group_id = $1 ORDER BY last DESC, artifact`, group)
}

// GroupsOf implements [registry.EvidenceWriter].
func (t *tx) GroupsOf(ctx context.Context, subject warden.Ref, artifact warden.Digest) ([]registry.Group, error) {
	return list(ctx, t.conn, readGroup, `
		SELECT `+groupColumns+` FROM group_member m JOIN finding_group g ON g.id = m.group_id
		WHERE m.artifact = $1 AND g.subject = $2 ORDER BY g.id`, artifact[:], subject.String())
}

// Statements implements [registry.Evidence].
func (v *view) Statements(ctx context.Context, d warden.Digest) ([]registry.Statement, error) {
	sts, err := list(ctx, v.conn, func(r row) (s registry.Statement, err error) {
		err = r(digest{&s.ID}, digest{&s.Payload}, &s.PredicateType, &s.Signer, instant{&s.Received}, &s.By, &s.Envelope)
		return s, err
	}, `
		SELECT s.id, s.payload, s.predicate_type, s.signer, s.received, s.attached_by, s.envelope FROM statement s
		WHERE s.id IN (SELECT x.statement FROM statement_subject x WHERE x.subject = $1) ORDER BY s.received, s.id`, d[:])
	for i := range sts {
		if err != nil {
			return nil, err
		}
		sts[i].Subjects, err = list(ctx, v.conn, readDigest, `SELECT subject FROM statement_subject WHERE statement = $1 ORDER BY place`, sts[i].ID[:])
	}
	return sts, err
}

const decisionColumns = `d.id, d.digest, d.artifact, d.action, d.at, d.effect, d.policy, d.because, d.reason, d.request, coalesce(c.bytes, d.facts), d.trust, d.engine, d.envelope, d.record`

const decisionTables = ` FROM decision d LEFT JOIN content c ON c.digest = d.facts_digest `

type rowDecision struct {
	id int64
	registry.Decision
}

func readDecision(r row) (d rowDecision, err error) {
	var because, request, facts []byte
	if err = r(&d.id, digest{&d.Digest}, digest{&d.Artifact}, &d.Action, instant{&d.At}, &d.Effect, &d.Policy, &because, &d.Reason, &request, &facts, &d.Trust, &d.Engine, &d.Envelope, &d.Record); err != nil {
		return d, err
	}
	d.Request, d.Facts = request, facts
	if err = json.Unmarshal(because, &d.Because); err != nil {
		err = fmt.Errorf("decision %s: %w", d.Digest, err)
	}
	return d, err
}

// Decision implements [registry.Decisions].
func (v *view) Decision(ctx context.Context, d warden.Digest) (registry.Decision, error) {
	found, err := one(ctx, v.conn, readDecision, `SELECT `+decisionColumns+decisionTables+`WHERE d.digest = $1`, d[:])
	return found.Decision, err
}

// DecisionsOn implements [registry.Decisions].
func (v *view) DecisionsOn(ctx context.Context, artifact warden.Digest, p registry.Page) ([]registry.Decision, string, error) {
	keys, err := before(p, 1)
	if err != nil {
		return nil, "", err
	}
	ds, err := list(ctx, v.conn, readDecision, `
		SELECT `+decisionColumns+decisionTables+`WHERE d.artifact = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3`, artifact[:], keys[0], p.Size()+1)
	if err != nil {
		return nil, "", err
	}
	ds, next := page(ds, p.Size(), func(d rowDecision) string { return registry.Cursor(d.id) })
	var out []registry.Decision
	for _, d := range ds {
		out = append(out, d.Decision)
	}
	return out, next, nil
}

// PutScan implements [registry.EvidenceWriter].
func (t *tx) PutScan(ctx context.Context, s registry.Scan) (int64, error) {
	statuses, err := json.Marshal(s.Statuses)
	if err != nil {
		return 0, err
	}
	id, err := one(ctx, t.conn, scalar[int64], `
		INSERT INTO scan (artifact, at, actor, rule_set, verdict, complete, statuses, report) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`,
		s.Artifact[:], stamp(s.At), s.By, s.RuleSet, int(s.Verdict), flag(s.Complete), statuses, document(s.Report))
	if err != nil {
		return 0, err
	}
	if _, err := t.exec(ctx, `DELETE FROM finding WHERE artifact = $1`, s.Artifact[:]); err != nil {
		return 0, err
	}
	for _, f := range s.Findings {
		if _, err := t.exec(ctx, `
			INSERT INTO finding (artifact, found, rule, severity, subject, path, unit, span_start, span_end, message, evidence)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			s.Artifact[:], stamp(s.At), string(f.Rule), int(f.Severity), f.Subject.String(), f.At.Path, string(f.At.Span.Unit),
			f.At.Span.Start, f.At.Span.End, f.Message, f.Evidence); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// PutGroup implements [registry.EvidenceWriter].
func (t *tx) PutGroup(ctx context.Context, g registry.Group) (int64, error) {
	if g.ID == 0 {
		return one(ctx, t.conn, scalar[int64], `
			INSERT INTO finding_group (rule, subject, severity, state, note, total, artifacts, first, last, demo)
			VALUES ($1, $2, $3, $4, $5, 0, 0, $6, $7, $8) RETURNING id`,
			string(g.Rule), g.Subject.String(), int(g.Severity), string(g.State), g.Note, stamp(g.First), stamp(g.Last), flag(g.Demo))
	}
	n, err := t.exec(ctx, `UPDATE finding_group SET state = $2, note = $3, first = $4, last = $5, demo = $6 WHERE id = $1`,
		g.ID, string(g.State), g.Note, stamp(g.First), stamp(g.Last), flag(g.Demo))
	if err == nil && n == 0 {
		err = fmt.Errorf("finding group %d: %w", g.ID, registry.ErrNotFound)
	}
	return g.ID, err
}

// sumGroups brings the sums of all groups in line with their members. A group
// that nothing has any more keeps the severity it had.
const sumGroups = `UPDATE finding_group SET
	total = (SELECT coalesce(sum(m.total), 0) FROM group_member m WHERE m.group_id = finding_group.id),
	artifacts = (SELECT count(*) FROM group_member m WHERE m.group_id = finding_group.id AND m.total > 0),
	severity = coalesce((SELECT max(m.severity) FROM group_member m WHERE m.group_id = finding_group.id AND m.total > 0), severity)`

// PutMember implements [registry.EvidenceWriter].
func (t *tx) PutMember(ctx context.Context, group int64, m registry.Member) error {
	if _, err := t.exec(ctx, `
		INSERT INTO group_member (group_id, artifact, total, severity, last) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (group_id, artifact) DO UPDATE SET total = excluded.total, severity = excluded.severity, last = excluded.last`,
		group, m.Artifact[:], m.Count, int(m.Severity), stamp(m.Last)); err != nil {
		return err
	}
	_, err := t.exec(ctx, sumGroups+` WHERE id = $1`, group)
	return err
}

// LastDecisions implements [registry.Decisions].
func (v *view) LastDecisions(ctx context.Context, limit int) ([]registry.Decision, error) {
	return list(ctx, v.conn, func(r row) (registry.Decision, error) {
		d, err := readDecision(r)
		return d.Decision, err
	}, `SELECT `+decisionColumns+decisionTables+`ORDER BY d.id DESC LIMIT $1`, limit)
}

// PutStatement implements [registry.EvidenceWriter].
func (t *tx) PutStatement(ctx context.Context, s registry.Statement) error {
	if s.ID == (warden.Digest{}) {
		s.ID = s.Payload
	}
	n, err := t.exec(ctx, `
		INSERT INTO statement (id, payload, predicate_type, signer, received, attached_by, envelope) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO NOTHING`, s.ID[:], s.Payload[:], s.PredicateType, s.Signer, stamp(s.Received), s.By, s.Envelope)
	if err != nil || n == 0 {
		return err
	}
	for i, d := range s.Subjects {
		if _, err := t.exec(ctx, `INSERT INTO statement_subject (statement, place, subject) VALUES ($1, $2, $3)`, s.ID[:], i, d[:]); err != nil {
			return err
		}
	}
	return nil
}

// PutDecision implements [registry.EvidenceWriter]. Facts are kept once.
func (t *tx) PutDecision(ctx context.Context, d registry.Decision) error {
	because, err := json.Marshal(d.Because)
	if err != nil {
		return err
	}
	if err := t.PutContent(ctx, d.Facts); err != nil {
		return err
	}
	facts := warden.Sum(d.Facts)
	_, err = t.exec(ctx, `
		INSERT INTO decision (digest, artifact, action, at, effect, policy, because, reason, request, facts, facts_digest, trust, engine, envelope, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (digest) DO NOTHING`,
		d.Digest[:], d.Artifact[:], d.Action, stamp(d.At), string(d.Effect), d.Policy, because, d.Reason, document(d.Request), []byte{}, facts[:], d.Trust, d.Engine,
		document(d.Envelope), d.Record)
	return err
}
