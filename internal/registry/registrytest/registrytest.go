// Package registrytest is the conformance suite of registry stores: the rules
// of the registry are tried on each, so that no database changes them. It also
// has the trivial store, [Memory].
package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/registry"
)

// TestStore runs the suite on the stores that open returns, each empty.
func TestStore(t *testing.T, open func(t *testing.T) registry.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *Fixture){
		"push": testPush, "push_refused": testPushRefused, "names": testNames, "admission": testAdmission,
		"quarantine": testQuarantine, "groups": testGroups, "triage": testTriage, "evidence": testEvidence, "lists": testLists,
		"blast": testBlast, "demo": testDemo, "changes": testChanges, "sweep_blobs": testSweepBlobs, "trail": testTrail,
		"update_is_atomic": testAtomic, "concurrent": testConcurrent, "erase": testErase,
		"jobs": testJobs, "trust": testTrust, "policy_versions": testPolicyVersions, "stages": testStages, "statements": testStatements,
	} {
		t.Run(name, func(t *testing.T) { test(t, New(t, open(t))) })
	}
}

// The actors of the suite.
func alice() warden.Principal  { return warden.Principal{ID: "alice", Roles: []string{"ml-eng"}} }
func worker() warden.Principal { return warden.Principal{ID: "worker"} }

// A Fixture is a service on a store, with bytes, a clock and a log.
type Fixture struct {
	Service  *registry.Service
	Store    registry.Store
	Blobs    *Blobs
	Log      *audit.Log
	Verifier note.Verifier
	Clock    *Clock
	Signer   note.Signer // of the log: who has it can rewrite history
}

// A Clock moves by a second each time it is read.
type Clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

// Now returns the next second.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Second)
	return c.at
}

// Skip moves the clock.
func (c *Clock) Skip(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Blobs remembers sizes of blobs and not their bytes.
type Blobs struct {
	mu sync.Mutex // guards m
	m  map[warden.Digest]blob.Info
}

// Add makes a blob of text present and returns it as a file.
func (b *Blobs) Add(path, text string, at time.Time) registry.File {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := warden.Sum([]byte(text))
	b.m[d] = blob.Info{Digest: d, Size: int64(len(text)), Modified: at}
	return registry.File{Path: path, Digest: d, Size: int64(len(text))}
}

// Stat implements [registry.Blobs].
func (b *Blobs) Stat(_ context.Context, d warden.Digest) (blob.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if info, ok := b.m[d]; ok {
		return info, nil
	}
	return blob.Info{}, blob.ErrNotFound
}

// List implements [registry.Blobs].
func (b *Blobs) List(_ context.Context, after warden.Digest, limit int) ([]blob.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []blob.Info
	for _, info := range b.m {
		if bytes.Compare(info.Digest[:], after[:]) > 0 {
			out = append(out, info)
		}
	}
	return firstBy(out, limit, func(x, y blob.Info) int { return bytes.Compare(x.Digest[:], y.Digest[:]) }), nil
}

// Delete implements [registry.Blobs].
func (b *Blobs) Delete(_ context.Context, d warden.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.m, d)
	return nil
}

// New returns a fixture on a store.
func New(t testing.TB, store registry.Store) *Fixture {
	t.Helper()
	skey, vkey, err := audit.GenerateKey(audit.Origin("test.example"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := audit.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	clock := &Clock{at: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)}
	log, err := audit.New(audit.Config{Origin: audit.Origin("test.example"), Signer: signer, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	blobs := &Blobs{m: map[warden.Digest]blob.Info{}}
	svc, err := registry.New(registry.Config{Store: store, Log: log, Blobs: blobs, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return &Fixture{svc, store, blobs, log, verifier, clock, signer}
}

// Push pushes a model of one file that holds text.
func (f *Fixture) Push(t testing.TB, model, text string) registry.Version {
	t.Helper()
	v, err := f.Service.Push(t.Context(), registry.Push{
		Model: registry.Name(model), Manifest: registry.Manifest{Files: []registry.File{f.Blobs.Add("model.bin", text, f.Clock.Now())}}, Actor: alice(),
	})
	if err != nil {
		t.Fatalf("Push(%s) = %v", model, err)
	}
	return v
}

// Outcome returns the outcome of a scan with findings of rules, that ended in a
// decision.
func Outcome(d warden.Digest, effect warden.Effect, rules ...string) registry.Outcome {
	o := registry.Outcome{
		Actor: worker(),
		Scan: registry.Scan{
			Artifact: d, By: "worker", RuleSet: "rules@1", Complete: true, Report: json.RawMessage(`{"schema":"warden.scan/v1"}`),
			Statuses: []registry.Status{{Detector: "file/pickle", State: "complete", Findings: len(rules)}},
		},
		Decision: registry.Decision{
			Action: "admit", Effect: effect, Policy: "standard@sha256:00", Because: []string{"bad-is-bad"}, Reason: "because of " + strings.Join(rules, " "),
			Request: json.RawMessage(`{"action":"admit"}`), Facts: json.RawMessage(`{"scan":{"verdict":"x"}}`),
		},
		Statements: []registry.Statement{{
			Payload: warden.Sum([]byte("payload" + d.String())), PredicateType: "https://modelwarden.dev/model-scan/v1", Signer: "server",
			Subjects: []warden.Digest{d, warden.Sum([]byte("file"))}, Envelope: []byte(`{"payload":""}`),
		}},
	}
	for i, r := range rules {
		o.Scan.Verdict = warden.Malicious
		o.Scan.Findings = append(o.Scan.Findings, warden.Finding{
			Rule: warden.RuleID(r), Severity: warden.Critical - warden.Severity(i), Subject: registry.ArtifactRef(d),
			At:      warden.Location{Path: "model.bin!/data.pkl", Span: warden.Span{Unit: warden.Bytes, Start: int64(i), End: int64(i) + 3}},
			Message: "found " + r, Evidence: "posix.system",
		})
	}
	return o
}

func (f *Fixture) record(t testing.TB, o registry.Outcome) registry.Artifact {
	t.Helper()
	a, err := f.Service.RecordScan(t.Context(), o)
	if err != nil {
		t.Fatalf("RecordScan = %v", err)
	}
	return a
}

// view runs fn on one state and fails on an error.
func (f *Fixture) view(t testing.TB, fn func(r registry.Reader) error) {
	t.Helper()
	if err := f.Store.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// Verify checks the audit log.
func (f *Fixture) Verify(t testing.TB) audit.Report {
	t.Helper()
	var rep audit.Report
	f.view(t, func(r registry.Reader) (err error) {
		rep, err = audit.Verify(t.Context(), r, f.Verifier)
		return err
	})
	return rep
}

// code fails unless err is a *warden.Error of a code with a message.
func code(t testing.TB, doing string, err error, want warden.Code) {
	t.Helper()
	var we *warden.Error
	if !errors.As(err, &we) || we.Code != want || we.Message == "" || we.Hint == "" {
		t.Errorf("%s: error = %v, want code %s with message and hint", doing, err, want)
	}
}

// actions returns the actions about an object, oldest first.
func (f *Fixture) actions(t testing.TB, object warden.Ref) (out []string) {
	t.Helper()
	f.view(t, func(r registry.Reader) error {
		es, _, err := r.Trail(t.Context(), registry.TrailFilter{Object: object}, registry.Page{Limit: 1000})
		for _, e := range es {
			ev, err := audit.ParseLeaf(e.Leaf)
			if err != nil {
				return err
			}
			out = append([]string{ev.Action}, out...)
		}
		return err
	})
	return out
}

func wantText(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s = %s, want %s", what, g, w)
	}
}
