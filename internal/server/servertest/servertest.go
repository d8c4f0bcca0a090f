// Package servertest composes the services of a platform in a test's own
// folder: real database, real blobs, real scans, a clock that the test sets,
// and a switch that makes the registry unreachable.
package servertest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob/dirblob"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/internal/store"
	"github.com/modelwarden/warden/rules"
)

// Models of which the one is admitted and the other is not. Nobody loads them.
const (
	Clean   = "(dp0\nS'weight'\np1\nF0.5\ns."
	Hostile = "cposix\nsystem\n(S'echo hello'\ntR."
)

// A Platform is what the edges need, without the edges.
type Platform struct {
	T        testing.TB
	Dir      string
	Store    *store.Store
	Blobs    *dirblob.Store
	Registry *registry.Service
	Judge    *registry.Judge
	Examiner *registry.Examiner
	Governor *registry.Governor
	Access   *access.Service
	Traffic  *monitor.Service
	Archive  *monitor.Archive
	Register *register.Service // of inventories alone
	Verifier note.Verifier
	Tool     report.Tool
	log      *audit.Log

	Down  atomic.Bool  // the registry's database cannot be reached
	ahead atomic.Int64 // nanoseconds that the clock is ahead
}

// Now is the clock of the platform.
func (p *Platform) Now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

// Skip moves the clock.
func (p *Platform) Skip(d time.Duration) { p.ahead.Add(int64(d)) }

// Admin is who does what a test needs done.
func Admin() warden.Principal {
	return warden.Principal{ID: "user:admin", Roles: []string{access.RoleAdmin}}
}

// New composes a platform. It ends with the test.
func New(t testing.TB) *Platform {
	t.Helper()
	ctx := t.Context()
	p := &Platform{T: t, Dir: t.TempDir(), Tool: report.Tool{Name: "warden", Version: "test", Rules: "test"}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	p.Store, err = store.Open(ctx, filepath.Join(p.Dir, "warden.db"))
	check(err)
	t.Cleanup(func() {
		if err := p.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	p.Blobs, err = dirblob.Open(dirblob.Config{Dir: filepath.Join(p.Dir, "blobs"), Now: p.Now})
	check(err)
	sk, vk, err := audit.GenerateKey(audit.Origin("test"))
	check(err)
	signer, err := audit.NewSigner(sk)
	check(err)
	p.Verifier, err = audit.NewVerifier(vk)
	check(err)
	log, err := audit.New(audit.Config{Origin: audit.Origin("test"), Signer: signer, Now: p.Now})
	check(err)
	key, err := attest.GenerateKey(nil)
	check(err)
	statements, err := attest.NewSigner(key)
	check(err)
	p.Registry, err = registry.New(registry.Config{Store: switched{p.Store, &p.Down}, Log: log, Blobs: p.Blobs, Now: p.Now, Signer: statements})
	check(err)
	set, err := policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
	check(err)
	p.Judge, err = registry.NewJudge(registry.JudgeConfig{Registry: p.Registry, Trust: attest.TrustStore{attest.Server(statements.Public())}, Policies: set, Now: p.Now})
	check(err)
	p.Governor, err = registry.NewGovernor(registry.GovernorConfig{Registry: p.Registry, Judge: p.Judge, Signer: statements, Now: p.Now, Person: func(ctx context.Context, id string) (string, error) { return p.Access.Person(ctx, id) }})
	check(err)
	p.Examiner, err = registry.NewExaminer(registry.ExaminerConfig{Registry: p.Registry, Blobs: p.Blobs, Judge: p.Judge, Signer: statements, Tool: p.Tool, Now: p.Now})
	check(err)
	p.log = log
	p.Traffic, err = monitor.New(monitor.Config{Store: switchedTraffic{p.Store, &p.Down}, Log: log, Now: p.Now})
	check(err)
	p.Archive, err = monitor.NewArchive(p.Store, bytes.Repeat([]byte("k"), 32), slog.New(slog.DiscardHandler))
	check(err)
	p.Access = p.Sibling()
	p.Register, err = register.New(register.Config{Store: p.Store, Log: log, Now: p.Now, Person: p.Access.Person})
	check(err)
	return p
}

// Sibling returns the access service of another process on the same database.
func (p *Platform) Sibling() *access.Service {
	p.T.Helper()
	s, err := access.New(access.Config{Store: p.Store, Log: p.log, Pepper: bytes.Repeat([]byte("p"), 32), Now: p.Now})
	if err != nil {
		p.T.Fatal(err)
	}
	return s
}

// Push registers one file without scanning it.
func (p *Platform) Push(model, file string, data []byte) registry.Version {
	p.T.Helper()
	info, err := p.Blobs.Put(p.T.Context(), bytes.NewReader(data), warden.Digest{}, int64(len(data)))
	if err != nil {
		p.T.Fatal(err)
	}
	v, err := p.Registry.Push(p.T.Context(), registry.Push{
		Model: registry.Name(model), Actor: Admin(), Manifest: registry.Manifest{Files: []registry.File{{Path: file, Digest: info.Digest, Size: info.Size}}},
	})
	if err != nil {
		p.T.Fatal(err)
	}
	return v
}

// Admit pushes one file, scans it and returns the artifact as it is decided.
func (p *Platform) Admit(model, file string, data []byte) registry.Artifact {
	p.T.Helper()
	a, err := p.Examiner.Examine(p.T.Context(), p.Push(model, file, data).Digest)
	if err != nil {
		p.T.Fatal(err)
	}
	return a
}

// Key makes an access key and returns its text.
func (p *Platform) Key(roles []string, routes ...string) (access.Key, string) {
	p.T.Helper()
	k, secret, err := p.Access.CreateKey(p.T.Context(), access.NewKey{Name: "test", Roles: roles, Routes: routes}, Admin())
	if err != nil {
		p.T.Fatal(err)
	}
	return k, secret.Reveal()
}

// Steps returns the records of a step of exchanges, oldest first, as JSON.
func (p *Platform) Steps(step monitor.Step) []string {
	p.T.Helper()
	ls, err := p.Traffic.Lines(p.T.Context(), step)
	if err != nil {
		p.T.Fatal(err)
	}
	return ls
}

// Trail returns the audit entries with one action, newest first, as texts of
// leaf and details.
func (p *Platform) Trail(action string) []string {
	p.T.Helper()
	var out []string
	err := p.Store.View(p.T.Context(), func(r registry.Reader) error {
		es, _, err := r.Trail(p.T.Context(), registry.TrailFilter{Action: action}, registry.Page{Limit: 1000})
		for _, e := range es {
			out = append(out, string(e.Leaf)+" "+string(e.Payload))
		}
		return err
	})
	if err != nil {
		p.T.Fatal(err)
	}
	return out
}

// A switched store answers only while the switch is off.
type switched struct {
	registry.Store
	down *atomic.Bool
}

// View implements [registry.Store].
func (s switched) View(ctx context.Context, fn func(registry.Reader) error) error {
	if s.down.Load() {
		return errors.New("db.internal: connection refused")
	}
	return s.Store.View(ctx, fn)
}

// Update implements [registry.Store].
func (s switched) Update(ctx context.Context, fn func(registry.Tx) error) error {
	if s.down.Load() {
		return errors.New("db.internal: connection refused")
	}
	return s.Store.Update(ctx, fn)
}

// switchedTraffic is a store of traffic that can be out of reach.
type switchedTraffic struct {
	*store.Store
	down *atomic.Bool
}

// UpdateTraffic implements [monitor.Store].
func (s switchedTraffic) UpdateTraffic(ctx context.Context, fn func(monitor.Tx) error) error {
	if s.down.Load() {
		return errors.New("db.internal: connection refused")
	}
	return s.Store.UpdateTraffic(ctx, fn)
}
