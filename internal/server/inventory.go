package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
)

// A known joins what registry, gateway and access know for the register.
type known struct {
	s     *Server
	rules map[warden.RuleID]warden.Rule

	mu     sync.Mutex // guards models
	models map[string]knownModel
}

// registerRules returns every rule that the platform may report.
func registerRules() (map[warden.RuleID]warden.Rule, error) {
	all := scan.Rules()
	maps.Copy(all, guard.Rules())
	cat, err := rules.LoadCatalogue()
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Concat(code.Rules(cat), register.Rules(), inventory.ShadowRules()) {
		all[r.ID] = r
	}
	return all, nil
}

// A knownModel is what was read of one version, while its artifact stays as it
// was.
type knownModel struct {
	epoch uint64
	model register.Model
}

// Bounds of what is read at a time.
const (
	knownModels   = 20_000
	knownFindings = 1000 // of one model
	useSince      = 30 * 24 * time.Hour
)

// Version implements [register.Platform].
func (k *known) Version(ctx context.Context) (string, error) {
	var epoch uint64
	err := k.s.registry.View(ctx, func(r registry.Reader) (err error) {
		epoch, err = r.Epoch(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	gone, err := k.disabled(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %q", epoch, gone)
	for _, r := range k.s.gateway.Routes(ctx) {
		x := routeStatus(r)
		fmt.Fprintf(&b, " %q %q %q %s %t", x.Name, x.Model, x.Provider, x.Guard, x.Open)
	}
	return warden.Sum([]byte(b.String())).String(), nil
}

func (k *known) disabled(ctx context.Context) (out []string, err error) {
	users, err := k.s.access.Users(ctx)
	for _, u := range users {
		if u.Disabled {
			out = append(out, u.ID)
		}
	}
	return out, err
}

// Snapshot implements [register.Platform].
func (k *known) Snapshot(ctx context.Context) (snap register.Snapshot, err error) {
	snap.Rules = k.rules
	if snap.Disabled, err = k.disabled(ctx); err != nil {
		return snap, err
	}
	if snap.Models, err = k.versions(ctx); err != nil {
		return snap, err
	}
	snap.Routes, err = k.routes(ctx)
	return snap, err
}

func (k *known) versions(ctx context.Context) (out []register.Model, err error) {
	var ms []registry.Model
	err = k.s.registry.View(ctx, func(r registry.Reader) error {
		for p := (registry.Page{Limit: 1000}); ; {
			part, next, err := r.Models(ctx, registry.ModelFilter{}, p)
			if err != nil {
				return err
			}
			ms = append(ms, part...)
			if p.After = next; next == "" || len(ms) >= knownModels {
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := map[string]knownModel{}
	for _, m := range ms {
		key := fmt.Sprintf("%s@%d", m.Name, m.Latest.Number)
		x, ok := k.models[key]
		if !ok || x.epoch != m.Latest.Artifact.Epoch {
			if x.model, err = k.version(ctx, m.Latest); err != nil {
				return nil, err
			}
			x.epoch = m.Latest.Artifact.Epoch
		}
		if x.model.Signed, x.model.Provenance, x.model.Stale, err = k.papers(ctx, m.Latest); err != nil {
			return nil, err
		}
		kept[key] = x
		out = append(out, x.model)
	}
	k.models = kept
	return out, nil
}

// papers says what signed statements there are; the judge remembers them.
func (k *known) papers(ctx context.Context, v registry.Version) (signed, provenance, stale bool, err error) {
	f, err := k.s.judge.Facts(ctx, v.Artifact)
	return f.Signed, f.Provenance.Present, f.Scan.Stale, err
}

func (k *known) version(ctx context.Context, v registry.Version) (m register.Model, err error) {
	a := v.Artifact
	m = register.Model{
		Name: string(v.Model), Number: v.Number, Digest: v.Digest.String(), State: string(a.State()), Scanned: a.Scanned, Complete: a.Complete, Pushed: v.Created, Demo: v.Demo,
	}
	if a.Verdict != "" {
		if m.Verdict, err = warden.ParseVerdict(a.Verdict); err != nil {
			return m, err
		}
	}
	err = k.s.registry.View(ctx, func(r registry.Reader) error {
		raw, err := r.Manifest(ctx, v.Digest)
		if err != nil {
			return err
		}
		manifest, err := registry.DecodeManifest(raw)
		if err != nil {
			return err
		}
		for _, f := range manifest.Files {
			m.Files = append(m.Files, register.File{Path: f.Path, Digest: f.Digest.String()})
		}
		history, err := r.StageChanges(ctx, v.Model, v.Number)
		if err != nil {
			return err
		}
		m.Stage = string(registry.StageOf(history))
		fs, _, err := r.Findings(ctx, registry.FindingFilter{Artifact: v.Digest}, registry.Page{Limit: knownFindings})
		if err != nil {
			return err
		}
		for _, f := range fs {
			x := register.ModelFinding{Rule: f.Finding.Rule, Severity: f.Finding.Severity, Path: f.Finding.At.Path, Message: f.Finding.Message, Evidence: f.Finding.Evidence}
			g, err := r.GroupFor(ctx, f.Finding.Rule, v.Model.Ref())
			if err == nil { // a finding that came between two scans has none yet
				x.Group = g.ID
				if g.State == registry.Accepted || g.State == registry.False {
					x.Word, x.Note = string(g.State), g.Note
				}
			}
			m.Findings = append(m.Findings, x)
		}
		return nil
	})
	return m, err
}

// routes returns the routes of the gateways, with the sums of 30 days.
func (k *known) routes(ctx context.Context) (out []register.Route, err error) {
	now := k.s.opts.Now()
	use, err := k.s.traffic.Used(ctx, now.Add(-useSince), now.Add(time.Hour))
	if err != nil {
		return nil, err
	}
	for _, r := range k.s.gateway.Routes(ctx) {
		x := routeStatus(r)
		model, _, _ := strings.Cut(x.Model, "@")
		y := register.Route{Name: x.Name, Model: model, Provider: x.Provider, Guard: x.Guard, Open: x.Open, Demo: x.Demo}
		callers := map[string]bool{}
		for _, u := range use {
			if u.Route != x.Name {
				continue
			}
			y.Requests, y.Denied = y.Requests+u.Requests, y.Denied+u.Denied
			callers[u.Principal] = true
			if u.Hour.After(y.Last) {
				y.Last = u.Hour
			}
		}
		y.Callers = len(callers)
		out = append(out, y)
	}
	slices.SortFunc(out, func(a, b register.Route) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// openRegister makes the register of assets.
func (s *Server) openRegister() error {
	all, err := registerRules()
	if err != nil {
		return err
	}
	s.register, err = register.New(register.Config{Store: s.store, Log: s.log, Now: s.opts.Now, Person: s.person, Platform: &known{s: s, rules: all, models: map[string]knownModel{}}})
	return err
}

// asset is what policies see of a model's place in the register.
func (s *Server) asset(model registry.Name) *policy.Asset {
	if s.register == nil {
		return nil
	}
	v, ok := s.register.Known(string(model))
	if !ok {
		return nil
	}
	a := &policy.Asset{Tier: v.Tier}
	for _, e := range v.Evidence {
		switch e.State {
		case register.Missing, register.Stale:
			a.Missing++
		case register.Absent:
			a.Absent++
		default: // it is there, or not asked for
		}
	}
	return a
}
