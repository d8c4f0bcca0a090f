package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
)

// A Part asks for a part of a list.
type Part struct {
	After string `query:"after" maxLength:"500" doc:"cursor from the part before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (p Part) page() registry.Page { return registry.Page{After: p.After, Limit: p.Limit} }

// An ArtifactBody is an artifact in an answer.
type ArtifactBody struct {
	Digest     string    `json:"digest"`
	State      string    `json:"state" enum:"pending,admitted,denied,quarantined"`
	Why        string    `json:"why" doc:"reason of the state"`
	Verdict    string    `json:"verdict" doc:"of the last scan; empty if there was none"`
	Complete   bool      `json:"complete"`
	Files      int       `json:"files"`
	Size       int64     `json:"size"`
	Created    time.Time `json:"created"`
	Scanned    time.Time `json:"scanned" doc:"zero if never"`
	Decision   string    `json:"decision" doc:"digest of the last decision; empty if none"`
	Epoch      uint64    `json:"epoch"`
	Demo       bool      `json:"demo"`
	Quarantine *struct {
		Reason string    `json:"reason"`
		By     string    `json:"by"`
		At     time.Time `json:"at"`
	} `json:"quarantine,omitempty"`
}

func artifactOf(a registry.Artifact) ArtifactBody {
	b := ArtifactBody{
		Digest: a.Digest.String(), State: string(a.State()), Why: a.Why(), Verdict: a.Verdict, Complete: a.Complete, Files: a.Files,
		Size: a.Size, Created: a.Created, Scanned: a.Scanned, Epoch: a.Epoch, Demo: a.Demo, Decision: digestText(a.Decision),
	}
	if q := a.Quarantine; q != nil {
		b.Quarantine = &struct {
			Reason string    `json:"reason"`
			By     string    `json:"by"`
			At     time.Time `json:"at"`
		}{q.Reason, q.By, q.At}
	}
	return b
}

func digestText(d warden.Digest) string {
	if d == (warden.Digest{}) {
		return ""
	}
	return d.String()
}

type versionBody struct {
	Model    string       `json:"model"`
	Number   int          `json:"number"`
	PushedBy string       `json:"pushed_by"`
	Created  time.Time    `json:"created"`
	Demo     bool         `json:"demo"`
	Artifact ArtifactBody `json:"artifact"`
}

func versionOf(v registry.Version) versionBody {
	return versionBody{string(v.Model), v.Number, v.PushedBy, v.Created, v.Demo, artifactOf(v.Artifact)}
}

type modelBody struct {
	Name     string      `json:"name"`
	Versions int         `json:"versions"`
	Latest   versionBody `json:"latest"`
}

type modelsInput struct {
	Part
	Search string `query:"search" maxLength:"200"`
	State  string `query:"state" enum:"pending,admitted,denied,quarantined"`
}

func (s *service) listModels(ctx context.Context, in *modelsInput) (*body[list[modelBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.Model, string, error) {
		return r.Models(ctx, registry.ModelFilter{Search: in.Search, State: registry.State(in.State)}, in.page())
	}, func(m registry.Model) modelBody {
		return modelBody{string(m.Name), m.Versions, versionOf(m.Latest)}
	})
}

type versionsInput struct {
	Part
	Namespace string `path:"namespace" maxLength:"96"`
	Model     string `path:"model" maxLength:"96"`
}

func (s *service) listVersions(ctx context.Context, in *versionsInput) (*body[list[versionBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	name, err := registry.ParseName(in.Namespace + "/" + in.Model)
	if err != nil {
		return nil, s.fail(err)
	}
	if _, err := s.Registry.Find(ctx, string(name)); err != nil {
		return nil, s.fail(err)
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.Version, string, error) {
		return r.Versions(ctx, registry.VersionFilter{Model: name}, in.page())
	}, versionOf)
}

func (s *service) listAllVersions(ctx context.Context, in *modelsInput) (*body[list[versionBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.Version, string, error) {
		return r.Versions(ctx, registry.VersionFilter{Search: in.Search, State: registry.State(in.State)}, in.page())
	}, versionOf)
}

type findInput struct {
	Ref string `query:"ref" required:"true" minLength:"3" maxLength:"300" doc:"digest, namespace/model, or namespace/model@number"`
}

func (s *service) find(ctx context.Context, in *findInput) (*body[versionBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	v, err := s.Registry.Find(ctx, in.Ref)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(versionOf(v)), nil
}

type pushInput struct {
	Body struct {
		Model string     `json:"model" maxLength:"200" doc:"namespace/model"`
		Files []fileBody `json:"files" minItems:"1" doc:"the manifest: every file was uploaded before"`
	}
}

type fileBody struct {
	Path   string `json:"path" doc:"relative, slash-separated"`
	Digest string `json:"digest" doc:"sha256:…"`
	Size   int64  `json:"size" minimum:"0"`
}

func (s *service) push(ctx context.Context, in *pushInput) (*body[versionBody], error) {
	name, err := registry.ParseName(in.Body.Model)
	if err != nil {
		return nil, s.fail(err)
	}
	if err := s.mayOn(ctx, policy.Modify, policy.Resource{Ref: name.Ref()}); err != nil {
		return nil, s.fail(err)
	}
	var m registry.Manifest
	for _, f := range in.Body.Files {
		d, err := parseDigest(f.Digest)
		if err != nil {
			return nil, s.fail(err)
		}
		m.Files = append(m.Files, registry.File{Path: f.Path, Digest: d, Size: f.Size})
	}
	if err := s.mayName(ctx, m); err != nil {
		return nil, s.fail(err)
	}
	v, err := s.Registry.Push(ctx, registry.Push{Model: name, Manifest: m, Actor: identity(ctx).Principal})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(versionOf(v)), nil
}

// A DigestInput names an artifact in the path.
type DigestInput struct {
	Digest string `path:"digest" maxLength:"71"`
}

func parseDigest(text string) (warden.Digest, error) {
	d, err := warden.ParseDigest(text)
	if err != nil {
		return d, &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "a digest is sha256: and 64 lower-case hex digits", Err: err}
	}
	return d, nil
}

// lookup authorises reading and parses the digest.
func (s *service) lookup(ctx context.Context, in *DigestInput) (warden.Digest, error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return warden.Digest{}, err
	}
	return parseDigest(in.Digest)
}

type artifactDetail struct {
	ArtifactBody
	Names   []versionRef    `json:"names" doc:"model versions that are this artifact"`
	Members []fileBody      `json:"members"`
	From    []edgeBody      `json:"from" doc:"what it comes from"`
	To      []edgeBody      `json:"to" doc:"what comes from it"`
	Takers  []takerBody     `json:"takers" doc:"who took it, the last first"`
	Status  []report.Status `json:"statuses" doc:"what the last scan could not finish"`
}

type versionRef struct {
	Model  string `json:"model"`
	Number int    `json:"number"`
}

type edgeBody struct {
	Ref      string `json:"ref" doc:"kind:id of the other end"`
	Kind     string `json:"kind"`
	Tier     string `json:"tier" enum:"declared,inferred,attested,verified"`
	Evidence string `json:"evidence"`
}

type takerBody struct {
	Principal string    `json:"principal"`
	Count     int       `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

func takers(rs []registry.Retrieval) []takerBody {
	out := []takerBody{}
	for _, r := range rs {
		out = append(out, takerBody{r.Principal, r.Count, r.First, r.Last})
	}
	return out
}

func edgesOf(es []registry.Edge, back bool) []edgeBody {
	out := []edgeBody{}
	for _, e := range es {
		end := e.To
		if back {
			end = e.From
		}
		out = append(out, edgeBody{end.String(), e.Kind, tierName(e.Tier), e.Evidence})
	}
	return out
}

func tierName(t registry.Tier) string {
	switch t {
	case registry.Inferred:
		return "inferred"
	case registry.Attested:
		return "attested"
	case registry.Verified:
		return "verified"
	default:
		return "declared"
	}
}

func (s *service) getArtifact(ctx context.Context, in *DigestInput) (*body[artifactDetail], error) {
	d, err := s.lookup(ctx, in)
	if err != nil {
		return nil, s.fail(err)
	}
	if _, err := s.Registry.State(ctx, d); err != nil {
		return nil, s.fail(err)
	}
	out := artifactDetail{Names: []versionRef{}, Members: []fileBody{}, Status: []report.Status{}}
	err = s.Registry.View(ctx, func(r registry.Reader) error {
		a, err := r.Artifact(ctx, d)
		if err != nil {
			return err
		}
		out.ArtifactBody = artifactOf(a)
		vs, err := r.VersionsOf(ctx, d)
		if err != nil {
			return err
		}
		at := []warden.Ref{a.Ref()}
		for _, v := range vs {
			out.Names = append(out.Names, versionRef{string(v.Model), v.Number})
			at = append(at, v.Model.Ref())
		}
		raw, err := r.Manifest(ctx, d)
		if err != nil {
			return err
		}
		m, err := registry.DecodeManifest(raw)
		if err != nil {
			return err
		}
		for _, f := range m.Files[:min(len(m.Files), filesShown)] {
			out.Members = append(out.Members, fileBody{f.Path, f.Digest.String(), f.Size})
		}
		var from, to []registry.Edge
		for _, ref := range at {
			es, err := r.Edges(ctx, ref, false)
			if err != nil {
				return err
			}
			from = append(from, es...)
			if es, err = r.Edges(ctx, ref, true); err != nil {
				return err
			}
			to = append(to, es...)
		}
		out.From, out.To = edgesOf(from, false), edgesOf(to, true)
		rs, err := r.Retrievals(ctx, d)
		if err != nil {
			return err
		}
		out.Takers = takers(rs)
		sc, err := r.Scan(ctx, d)
		if errors.Is(err, registry.ErrNotFound) {
			return nil
		}
		for _, st := range sc.Statuses {
			out.Status = append(out.Status, report.Status{Detector: st.Detector, State: st.State, Error: st.Error})
		}
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(out), nil
}

// filesShown bounds the file list of one answer; the manifest has all.
const filesShown = 10_000

type findingRow struct {
	ID int64 `json:"id"`
	report.Finding
	Title string `json:"title"`
}

type artifactFindingsInput struct {
	DigestInput
	Part
}

func (s *service) artifactFindings(ctx context.Context, in *artifactFindingsInput) (*body[list[findingRow]], error) {
	d, err := s.lookup(ctx, &in.DigestInput)
	if err != nil {
		return nil, s.fail(err)
	}
	return s.findings(ctx, registry.FindingFilter{Artifact: d}, in.Part)
}

func (s *service) findings(ctx context.Context, f registry.FindingFilter, p Part) (*body[list[findingRow]], error) {
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.FindingRow, string, error) {
		return r.Findings(ctx, f, p.page())
	}, func(row registry.FindingRow) findingRow {
		rule := s.Rules[row.Finding.Rule]
		return findingRow{row.ID, report.NewFinding(row.Finding, rule), rule.Title}
	})
}

type statementBody struct {
	ID            string          `json:"id"`
	Payload       string          `json:"payload" doc:"digest of the payload"`
	PredicateType string          `json:"predicate_type"`
	Signer        string          `json:"signer" doc:"as the trust store names it now; empty if not verified"`
	Verified      bool            `json:"verified" doc:"it counts: somebody who is trusted for it signed it"`
	Reason        string          `json:"reason" doc:"why it does not count; empty if it does"`
	Received      time.Time       `json:"received"`
	By            string          `json:"by" doc:"who attached it; empty if this server made it"`
	Envelope      json.RawMessage `json:"envelope" doc:"the DSSE envelope or bundle as received"`
	Predicate     json.RawMessage `json:"predicate" doc:"decoded, for people"`
}

func (s *service) statements(ctx context.Context, in *DigestInput) (*body[list[statementBody]], error) {
	d, err := s.lookup(ctx, in)
	if err != nil {
		return nil, s.fail(err)
	}
	p, err := s.Judge.Papers(ctx, d, "")
	if err != nil {
		return nil, s.fail(err)
	}
	var items []statementBody
	for _, x := range p.All {
		st := x.Statement
		items = append(items, statementBody{
			st.ID.String(), st.Payload.String(), st.PredicateType, x.Signer, x.Err == nil, reasonOf(x), st.Received, st.By, json.RawMessage(st.Envelope), predicateOf(st.Envelope),
		})
	}
	return listed(items, ""), nil
}

type decisionBody struct {
	Digest  string          `json:"digest"`
	Action  string          `json:"action"`
	Effect  string          `json:"effect"`
	Policy  string          `json:"policy"`
	Because []string        `json:"because"`
	Reason  string          `json:"reason"`
	At      time.Time       `json:"at"`
	Facts   json.RawMessage `json:"facts"`
	Request json.RawMessage `json:"request"`
}

type decisionsInput struct {
	DigestInput
	Part
}

func (s *service) decisions(ctx context.Context, in *decisionsInput) (*body[list[decisionBody]], error) {
	d, err := s.lookup(ctx, &in.DigestInput)
	if err != nil {
		return nil, s.fail(err)
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.Decision, string, error) {
		return r.DecisionsOn(ctx, d, in.page())
	}, func(x registry.Decision) decisionBody {
		return decisionBody{x.Digest.String(), x.Action, string(x.Effect), x.Policy, x.Because, x.Reason, x.At, x.Facts, x.Request}
	})
}

type blastBody struct {
	Names   []versionRef  `json:"names"`
	Derived []reachedBody `json:"derived"`
	Cut     bool          `json:"cut" doc:"there is more beyond the depth"`
	Takers  []takerBody   `json:"takers"`
}

type reachedBody struct {
	Ref   string `json:"ref"`
	Depth int    `json:"depth"`
}

const blastDepth = 10

func (s *service) blast(ctx context.Context, in *DigestInput) (*body[blastBody], error) {
	d, err := s.lookup(ctx, in)
	if err != nil {
		return nil, s.fail(err)
	}
	b, err := s.Registry.Blast(ctx, d, registry.Declared, blastDepth)
	if err != nil {
		return nil, s.fail(err)
	}
	out := blastBody{Names: []versionRef{}, Derived: []reachedBody{}, Cut: b.Cut, Takers: takers(b.Takers)}
	for _, v := range b.Versions {
		out.Names = append(out.Names, versionRef{string(v.Model), v.Number})
	}
	for _, x := range b.Derived {
		out.Derived = append(out.Derived, reachedBody{x.Ref.String(), x.Depth})
	}
	return answer(out), nil
}

type reasonInput struct {
	DigestInput
	Body struct {
		Reason string `json:"reason" maxLength:"1000" doc:"shown to those who are refused"`
	}
}

func (s *service) quarantine(ctx context.Context, in *reasonInput) (*body[ArtifactBody], error) {
	return s.hold(ctx, in, s.Registry.Quarantine)
}

func (s *service) release(ctx context.Context, in *reasonInput) (*body[ArtifactBody], error) {
	return s.hold(ctx, in, s.Registry.Release)
}

type holdFunc func(context.Context, warden.Digest, string, warden.Principal) (registry.Artifact, error)

func (s *service) hold(ctx context.Context, in *reasonInput, do holdFunc) (*body[ArtifactBody], error) {
	d, err := parseDigest(in.Digest)
	if err == nil {
		err = s.mayArtifact(ctx, policy.Quarantine, d)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	a, err := do(ctx, d, strings.TrimSpace(in.Body.Reason), identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(artifactOf(a)), nil
}

func (s *service) rescan(ctx context.Context, in *DigestInput) (*body[ArtifactBody], error) {
	d, err := parseDigest(in.Digest)
	if err == nil {
		err = s.mayArtifact(ctx, policy.Quarantine, d)
	}
	if err == nil {
		err = s.Registry.Rescan(ctx, d, "request", identity(ctx).Principal)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	a, err := s.Registry.State(ctx, d)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(artifactOf(a)), nil
}
