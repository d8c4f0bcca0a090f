package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/store"
)

func TestRegister(t *testing.T) { testRegister(t, open(t)) }

func TestRegisterPostgres(t *testing.T) { testRegister(t, openPG(t, pgSchema(t))) }

// A fakePlatform is what a test says that the platform knows.
type fakePlatform struct {
	version string
	snap    register.Snapshot
}

func (f *fakePlatform) Version(context.Context) (string, error) { return f.version, nil }

func (f *fakePlatform) Snapshot(context.Context) (register.Snapshot, error) { return f.snap, nil }

func document(loads string, state sight.State) *inventory.Document {
	at := []sight.Place{{Path: "app/main.py", Line: 3}}
	return &inventory.Document{Schema: inventory.Schema, Root: ".", Complete: true, Assets: []inventory.Asset{
		{ID: "model_file:w/a.pt", Kind: sight.ModelFile, Name: "w/a.pt", State: state, Scope: sight.Production, Loads: loads, Evidence: at, Owner: "@org/ml"},
		{ID: "model:openai:gpt-4o", Kind: sight.Model, Provider: "openai", Name: "gpt-4o", State: sight.Reachable, Scope: sight.Production, Evidence: at},
		{ID: "framework:torch", Kind: sight.Framework, Name: "torch", State: sight.Reachable, Scope: sight.Production, Evidence: at, Findings: []inventory.Finding{{Rule: "WDN-SC-004", Flag: "weights_only_false", Severity: "high", Path: "app/main.py", Line: 3}}},
	}}
}

// The register follows what is seen, keeps what people say, and groups of
// findings live, alike on both engines.
func testRegister(t *testing.T, s *store.Store) { //nolint:gocognit // one story
	t.Helper()
	ctx := t.Context()
	f := registrytest.New(t, s)
	hostile := register.Model{
		Name: "team/a", Number: 1, Digest: "sha256:aa", State: "denied", Verdict: warden.Malicious, Scanned: f.Clock.Now(), Complete: true,
		Files:    []register.File{{Path: "w/a.pt", Digest: "sha256:01"}},
		Findings: []register.ModelFinding{{Rule: "WDN-MF-001", Severity: warden.Critical, Path: "w/a.pt", Message: "runs a command", Evidence: "posix.system"}},
	}
	p := &fakePlatform{version: "1", snap: register.Snapshot{Models: []register.Model{hostile}}}
	svc, err := register.New(register.Config{Store: s, Log: f.Log, Now: f.Clock.Now, Platform: p})
	if err != nil {
		t.Fatal(err)
	}
	ann, bob, eve := warden.Principal{ID: "user:ann"}, warden.Principal{ID: "user:bob"}, warden.Principal{ID: "user:eve"}
	board := func() *register.Board {
		t.Helper()
		f.Clock.Skip(2 * time.Minute)
		b, err := svc.Board(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rule := func(b *register.Board, id warden.RuleID) register.Group {
		t.Helper()
		for _, g := range b.Select(register.Filter{Rule: string(id)}) {
			return g
		}
		t.Fatalf("no group of %s", id)
		return register.Group{}
	}
	code := func(err error, want warden.Code) {
		t.Helper()
		var we *warden.Error
		if !errors.As(err, &we) || we.Code != want {
			t.Errorf("error = %v, want %s", err, want)
		}
	}

	// Nobody loads it: last of the malicious ones that can run.
	g := rule(board(), "WDN-MF-001")
	if g.Band != 3 || g.State != register.Fresh || len(g.Assets) != 1 || g.Due.IsZero() {
		t.Errorf("unloaded: %+v", g)
	}
	if _, err := svc.Register(ctx, "team/app", document("pickle", sight.Reachable), false, ann); err != nil {
		t.Fatal(err)
	}
	if g = rule(board(), "WDN-MF-001"); g.Band != 1 {
		t.Errorf("a reachable loader: %+v", g)
	}
	v, _ := board().View("model_file:w/a.pt")
	if v.Owner.Name != "@org/ml" || v.Owner.From != "codeowners team/app" || v.Tier != 3 {
		t.Errorf("owner %+v, tier %d", v.Owner, v.Tier)
	}
	if _, err := svc.Register(ctx, "team/app", document("safe", sight.Reachable), false, ann); err != nil {
		t.Fatal(err)
	}
	if g = rule(board(), "WDN-MF-001"); g.Priority > 20 || g.Band != 3 {
		t.Errorf("shielded: %+v", g)
	}

	// People: versions, owners, refusals.
	own := func(owner string) func(*register.Person) error {
		return func(p *register.Person) error { p.Owner = owner; return nil }
	}
	if err := svc.Set(ctx, "model:registry:team/a", 1, own("group:ml"), ann); err != nil {
		t.Fatal(err)
	}
	code(svc.Set(ctx, "model:registry:team/a", 1, own("group:x"), ann), warden.CodeConflict)
	code(svc.Set(ctx, "model:none", 0, own("x"), ann), warden.CodeNotFound)
	code(svc.Set(ctx, "model:registry:team/a", 0, func(p *register.Person) error { p.System.Purpose = "fun"; return nil }, ann), warden.CodeInvalid)
	if _, err := svc.SetOwners(ctx, "model:openai:*", "user:gone", ann); err != nil {
		t.Fatal(err)
	}
	p.snap.Disabled, p.version = []string{"user:gone"}, "2"
	if g := rule(board(), register.RuleGoneOwner); g.Assets[0] != "model:openai:gpt-4o" {
		t.Errorf("disabled owner: %+v", g)
	}

	// A milder tier needs two people where the rules say 1, and ends.
	describe := func(p *register.Person) error {
		p.System.Purpose, p.System.Exposure = "recruitment", "internal"
		return nil
	}
	if err := svc.Set(ctx, "model:registry:team/a", 0, describe, ann); err != nil {
		t.Fatal(err)
	}
	tier := func() int { v, _ := board().View("model:registry:team/a"); return v.Tier }
	if tier() != 1 {
		t.Errorf("tier %d", tier())
	}
	until := f.Clock.Now().Add(30 * 24 * time.Hour)
	code(svc.Retier(ctx, "model:registry:team/a", 3, "a pilot", until.Add(100*24*time.Hour), ann), warden.CodeInvalid)
	if err := svc.Retier(ctx, "model:registry:team/a", 3, "a pilot", until, ann); err != nil {
		t.Fatal(err)
	}
	code(svc.ApproveTier(ctx, "model:registry:team/a", "mine", ann), warden.CodeDenied)
	if err := svc.ApproveTier(ctx, "model:registry:team/a", "seen", bob); err != nil {
		t.Fatal(err)
	}
	code(svc.ApproveTier(ctx, "model:registry:team/a", "again", bob), warden.CodeDenied)
	if tier() != 1 {
		t.Error("one of two approvals lowered the tier")
	}
	if err := svc.ApproveTier(ctx, "model:registry:team/a", "seen", eve); err != nil || tier() != 3 {
		t.Errorf("tier %d after two approvals, %v", tier(), err)
	}
	f.Clock.Skip(31 * 24 * time.Hour)
	if tier() != 1 {
		t.Error("a milder tier did not end")
	}
	if err := svc.Retier(ctx, "model:openai:gpt-4o", 2, "board's wish", time.Time{}, ann); err != nil {
		t.Fatal(err)
	}
	if v, _ := board().View("model:openai:gpt-4o"); v.Tier != 2 {
		t.Errorf("raised to %d", v.Tier)
	}
	if g := rule(board(), register.RuleEvidence); g.Count == 0 {
		t.Errorf("no gap: %+v", g)
	}

	// The life of a group.
	if _, err := svc.Triage(ctx, []string{g.ID}, register.Triage{Do: "ignore"}, ann); err == nil {
		t.Error("ignored without a reason")
	}
	done, err := svc.Triage(ctx, []string{g.ID, "F-none"}, register.Triage{Do: "ignore", Note: "lab", Until: &register.Ignore{Until: f.Clock.Now().Add(time.Hour)}}, ann)
	if err != nil || len(done) != 2 || !done[0].OK || done[1].OK || done[1].Err.Code != warden.CodeNotFound {
		t.Fatalf("bulk = %+v, %v", done, err)
	}
	if got := rule(board(), "WDN-MF-001").State; got != register.Ignored {
		t.Errorf("state %s", got)
	}
	f.Clock.Skip(2 * time.Hour)
	if got := rule(board(), "WDN-MF-001").State; got != register.Ongoing {
		t.Errorf("state %s after the day", got)
	}
	if _, err := svc.Triage(ctx, []string{g.ID}, register.Triage{Do: "resolve", Note: "replaced"}, ann); err != nil {
		t.Fatal(err)
	}
	if got := rule(board(), "WDN-MF-001").State; got != register.Resolved {
		t.Errorf("state %s: no scan found it since", got)
	}
	p.snap.Models[0].Scanned, p.version = f.Clock.Now(), "3"
	if got := rule(board(), "WDN-MF-001"); got.State != register.Regressed || got.Since.Before(until) {
		t.Errorf("seen again: %+v", got)
	}
	p.snap.Models, p.version = nil, "4"
	b := board()
	if got := rule(b, "WDN-MF-001"); got.State != register.Resolved || got.Count != 0 {
		t.Errorf("gone: %+v", got)
	}
	if v, ok := b.View("model:registry:team/a"); !ok || !v.Gone {
		t.Errorf("an asset that nothing sees: %+v", v)
	}

	// The same again writes nothing; demo data goes.
	before := f.Clock.Now()
	if _, err := svc.Register(ctx, "demo/shop", &inventory.Document{Schema: inventory.Schema, Assets: []inventory.Asset{{ID: "agent:x", Kind: sight.Agent, Name: "x"}, {ID: "model:openai:gpt-4o", Kind: sight.Model, Provider: "openai", Name: "gpt-4o"}}}, true, ann); err != nil {
		t.Fatal(err)
	}
	board()
	if n, err := svc.DeleteDemo(ctx, ann); err != nil || n != 1 {
		t.Errorf("DeleteDemo = %d, %v", n, err)
	}
	b = board()
	if _, ok := b.View("agent:x"); ok {
		t.Error("the demo's asset is there")
	}
	if v, _ := b.View("model:openai:gpt-4o"); len(v.Sightings) != 1 || v.Gone || v.First.After(before) {
		t.Errorf("a real asset after the demo: %+v", v)
	}
	var epochs [2]uint64
	for i := range epochs {
		board()
		if err := s.ViewRegister(ctx, func(r register.Reader) (err error) { epochs[i], err = r.RegisterEpoch(ctx); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(epochs[0], epochs[1]); diff != "" {
		t.Error("looking changes the register", diff)
	}
}

// TestRegisterRefuses: documents from outside are bounded and checked.
func TestRegisterRefuses(t *testing.T) {
	s := open(t)
	f := registrytest.New(t, s)
	svc, err := register.New(register.Config{Store: s, Log: f.Log, Now: f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	twice := document("", sight.Reachable)
	twice.Assets[1].ID = twice.Assets[0].ID
	odd := document("", sight.Reachable)
	odd.Assets[2].Findings[0].Severity = "huge"
	control := document("", sight.Reachable)
	control.Assets[0].ID = "a\x1b[2J"
	for name, d := range map[string]*inventory.Document{"twice": twice, "severity": odd, "control": control, "schema": {Schema: "x"}} {
		if _, err := svc.Register(t.Context(), "a", d, false, warden.Principal{ID: "user:x"}); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
	for _, source := range []string{"", "registry", "gateway", "a b", "../x\n"} {
		if _, err := svc.Register(t.Context(), source, document("", sight.Reachable), false, warden.Principal{ID: "user:x"}); err == nil {
			t.Errorf("source %q: registered", source)
		}
	}
}
