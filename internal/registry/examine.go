package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/scan"
)

// An ExaminerConfig is what an [Examiner] needs; all but ScanFor are required.
type ExaminerConfig struct {
	Registry *Service
	Blobs    blob.Store
	Judge    *Judge
	Signer   *attest.Signer
	Tool     report.Tool
	Now      func() time.Time
	ScanFor  time.Duration // how long a scan statement holds; zero: 90 days
}

// An Examiner scans registered artifacts: bytes → findings → signed statement →
// facts → decision, kept in one transaction. Examining an artifact twice
// changes nothing but the log.
type Examiner struct{ cfg ExaminerConfig }

// NewExaminer checks cfg. It starts nothing.
func NewExaminer(cfg ExaminerConfig) (*Examiner, error) {
	if cfg.Registry == nil || cfg.Blobs == nil || cfg.Judge == nil || cfg.Signer == nil || cfg.Now == nil {
		return nil, errors.New("registry: an examiner needs a registry, blobs, a judge, a signer and a clock")
	}
	cfg.ScanFor = cmp.Or(cfg.ScanFor, 90*24*time.Hour)
	return &Examiner{cfg}, nil
}

// Worker is the principal that scans and admits.
func Worker() warden.Principal { return warden.Principal{ID: "service:registry"} }

// Examine scans artifact d and records the outcome. An error means that nothing
// was recorded and the work is still wanted.
func (e *Examiner) Examine(ctx context.Context, d warden.Digest) (Artifact, error) {
	return e.Follow(ctx, d, new(Progress))
}

// Follow is [Examiner.Examine] that tells how far it has come.
func (e *Examiner) Follow(ctx context.Context, d warden.Digest, p *Progress) (Artifact, error) {
	return e.examine(ctx, d, "", func(ctx context.Context, m Manifest) ([]scan.Report, error) { return e.scan(ctx, m, p) })
}

// GiveUp records that artifact d could not be examined, as an inconclusive scan
// that names the reason: a file that kills workers ends as a result, not a loop.
func (e *Examiner) GiveUp(ctx context.Context, d warden.Digest, why error) (Artifact, error) {
	return e.examine(ctx, d, why.Error(), func(_ context.Context, m Manifest) ([]scan.Report, error) {
		return []scan.Report{{
			Path: m.Files[0].Path, Artifact: warden.Artifact{Digest: m.Files[0].Digest, Size: m.Files[0].Size}, Verdict: warden.Inconclusive,
			Statuses: []detect.Status{{Detector: "worker", State: detect.Failed, Err: why}}, Counts: map[warden.RuleID]int{},
		}}, nil
	})
}

func (e *Examiner) examine(ctx context.Context, d warden.Digest, failed string, run func(context.Context, Manifest) ([]scan.Report, error)) (Artifact, error) {
	var raw []byte
	err := e.cfg.Registry.View(ctx, func(r Reader) (err error) {
		if _, err = r.Artifact(ctx, d); err != nil {
			return err
		}
		raw, err = r.Manifest(ctx, d)
		return err
	})
	if err != nil {
		return Artifact{}, e.cfg.Registry.explain("examine "+d.String(), err)
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return Artifact{}, err
	}
	started := e.cfg.Now()
	reports, err := run(ctx, m)
	if err != nil {
		return Artifact{}, fmt.Errorf("examine %s: %w", d, err)
	}
	o, pred, err := e.outcome(d, reports, started)
	if err != nil {
		return Artifact{}, err
	}
	subjects := []warden.Digest{d}
	for _, f := range m.Files {
		subjects = append(subjects, f.Digest)
	}
	st, err := attest.New(attest.ScanType, pred, subjects...)
	if err != nil {
		return Artifact{}, err
	}
	payload, err := attest.Encode(st)
	if err != nil {
		return Artifact{}, err
	}
	envelope, err := e.cfg.Signer.Sign(payload)
	if err != nil {
		return Artifact{}, err
	}
	o.Statements = []Statement{{
		Payload: warden.Sum(payload), PredicateType: attest.ScanType, Signer: attest.ServerSigner, Subjects: subjects, Envelope: envelope,
	}}
	o.Decide = func(ctx context.Context, r Reader, a Artifact) (Decision, error) {
		return e.cfg.Judge.admit(ctx, r, Worker(), a)
	}
	o.Edges, o.Failed = e.declared(ctx, m), failed
	return e.cfg.Registry.RecordScan(ctx, o)
}

// scan examines every file of m. Blobs are hashed when they are written, so the
// digest is not computed again.
func (e *Examiner) scan(ctx context.Context, m Manifest, p *Progress) ([]scan.Report, error) {
	reports := make([]scan.Report, 0, len(m.Files))
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return nil, err // not a verdict: the job is done again
		}
		b, err := e.cfg.Blobs.Open(ctx, f.Digest)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
		follow := &followed{ctx: ctx, r: b, p: p}
		follow.left.Store(b.Size())
		rep := scan.File(ctx, f.Path, follow, b.Size(), scan.Options{NoDigest: true})
		if err := b.Close(); err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		follow.end()
		rep.Artifact.Digest = f.Digest
		if dir := path.Dir(f.Path); dir != "." {
			for i := range rep.Findings {
				rep.Findings[i].At.Path = dir + "/" + rep.Findings[i].At.Path
			}
		}
		reports = append(reports, rep)
	}
	return reports, nil
}

func (e *Examiner) outcome(d warden.Digest, reports []scan.Report, started time.Time) (Outcome, attest.Scan, error) {
	rules := scan.Rules()
	doc := report.Document{Schema: report.Schema, Tool: e.cfg.Tool, Started: started.UTC().Truncate(time.Second), DurationMS: e.cfg.Now().Sub(started).Milliseconds()}
	out := Outcome{Actor: Worker(), Scan: Scan{Artifact: d, By: Worker().ID, RuleSet: e.cfg.Tool.Rules, Complete: true}}
	pred := attest.NewScan(attest.Scanner(e.cfg.Tool), e.cfg.Now(), e.cfg.ScanFor)
	for _, r := range reports {
		t := report.NewTarget(r.Path, r.Artifact, r.Verdict, r.Findings, r.Statuses, r.Counts, r.Truncated, rules)
		doc.Targets = append(doc.Targets, t)
		doc.Summary.Count(t.Verdict)
		out.Scan.Verdict = max(out.Scan.Verdict, r.Verdict)
		out.Scan.Complete = out.Scan.Complete && r.Complete()
		for _, f := range r.Findings {
			f.Subject = ArtifactRef(d)
			out.Scan.Findings = append(out.Scan.Findings, f)
		}
		for _, s := range t.Statuses {
			out.Scan.Statuses = append(out.Scan.Statuses, Status{Detector: s.Detector, State: s.State, Error: r.Path + ": " + s.Error})
		}
		AddTarget(&pred, t)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return Outcome{}, attest.Scan{}, err
	}
	out.Scan.Report, pred.Report = text, warden.Sum(text).String()
	return out, pred, nil
}

// AddTarget merges one target of a report into the predicate of a scan
// statement.
func AddTarget(s *attest.Scan, t report.Target) {
	found := make([]attest.ScanFinding, 0, len(t.Findings))
	for _, f := range t.Findings {
		found = append(found, attest.ScanFinding{Rule: f.Rule, Severity: f.Severity, Path: f.At.Path})
	}
	v, err := warden.ParseVerdict(t.Verdict)
	if err != nil {
		v = warden.Malicious // never accept what cannot be understood
	}
	s.Add(v, t.Complete, t.Format, t.Counts, found)
	s.Code = s.Code || slices.Contains(programs(), strings.ToLower(path.Ext(t.Path)))
}

// programs are the suffixes of files that a loader may run.
func programs() []string {
	return []string{".bat", ".cmd", ".dll", ".dylib", ".exe", ".ipynb", ".js", ".ps1", ".py", ".pyc", ".pyd", ".pyz", ".sh", ".so", ".whl"}
}

// maxDeclared bounds a configuration file that is read for declarations.
const maxDeclared = 1 << 20

// declared returns the origins that files of the artifact declare. They are
// worth no more than somebody's word: tier Declared.
func (e *Examiner) declared(ctx context.Context, m Manifest) []Edge {
	var edges []Edge
	for _, f := range m.Files {
		var key, kind string
		switch path.Base(f.Path) {
		case "adapter_config.json":
			key, kind = "base_model_name_or_path", "adapter"
		case "config.json":
			key, kind = "base_model", "base"
		default:
			continue
		}
		if f.Size > maxDeclared {
			continue
		}
		b, err := e.cfg.Blobs.Open(ctx, f.Digest)
		if err != nil {
			continue
		}
		text := make([]byte, f.Size)
		_, err = io.ReadFull(io.NewSectionReader(b, 0, f.Size), text)
		if cerr := b.Close(); err != nil || cerr != nil {
			continue
		}
		var fields map[string]any
		if json.NewDecoder(bytes.NewReader(text)).Decode(&fields) != nil {
			continue
		}
		base, ok := fields[key].(string)
		if !ok {
			continue
		}
		if name, err := ParseName(strings.TrimSpace(base)); err == nil {
			edges = append(edges, Edge{To: name.Ref(), Kind: kind, Tier: Declared, Evidence: f.Path + "#" + key})
		}
	}
	return edges
}
