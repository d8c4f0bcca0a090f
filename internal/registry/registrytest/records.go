package registrytest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

func (f *Fixture) groups(t testing.TB, filter registry.GroupFilter) (out []registry.Group) {
	t.Helper()
	f.view(t, func(r registry.Reader) error {
		for p := (registry.Page{Limit: 2}); ; {
			gs, next, err := r.Groups(t.Context(), filter, p)
			if out = append(out, gs...); err != nil || next == "" {
				return err
			}
			p.After = next
		}
	})
	return out
}

func describe(gs []registry.Group) (out []string) {
	for _, g := range gs {
		out = append(out, fmt.Sprintf("%s %s %s %s x%d in %d", g.Rule, g.Subject.ID, g.Severity, g.State, g.Count, g.Artifacts))
	}
	return out
}

func testGroups(t *testing.T, f *Fixture) {
	one, two := f.Push(t, "team/bert", "1"), f.Push(t, "team/bert", "2")
	f.record(t, Outcome(one.Digest, warden.Deny, "R-1", "R-1", "R-2"))
	first := f.groups(t, registry.GroupFilter{})
	f.record(t, Outcome(two.Digest, warden.Deny, "R-1"))
	got := f.groups(t, registry.GroupFilter{})
	wantText(t, "groups", describe(got), []string{"R-1 team/bert critical open x3 in 2", "R-2 team/bert medium open x1 in 1"})
	if len(first) != 2 || !got[0].First.Equal(first[0].First) || !got[0].Last.After(first[0].Last) {
		t.Errorf("first and last seen: %v then %v", first, got)
	}
	// The same artifact under another name is a group there.
	f.Push(t, "team/copy", "1")
	wantText(t, "groups of the copy", describe(f.groups(t, registry.GroupFilter{Subject: registry.Name("team/copy").Ref()})),
		[]string{"R-1 team/copy critical open x2 in 1", "R-2 team/copy medium open x1 in 1"})
	// What is not found any more is resolved; what comes back is open.
	f.record(t, Outcome(one.Digest, warden.Allow))
	f.record(t, Outcome(two.Digest, warden.Allow))
	wantText(t, "resolved", describe(f.groups(t, registry.GroupFilter{Subject: registry.Name("team/bert").Ref(), State: registry.Resolved})),
		[]string{"R-1 team/bert critical resolved x0 in 0", "R-2 team/bert medium resolved x0 in 0"})
	f.record(t, Outcome(two.Digest, warden.Deny, "R-9", "R-2"))
	wantText(t, "open again", describe(f.groups(t, registry.GroupFilter{Subject: registry.Name("team/bert").Ref(), State: registry.Open})),
		[]string{"R-9 team/bert critical open x1 in 1", "R-2 team/bert high open x1 in 1"})
	wantText(t, "high and worse", len(f.groups(t, registry.GroupFilter{Severity: warden.High})), 5-1)
	wantText(t, "rule", len(f.groups(t, registry.GroupFilter{Rule: "R-2"})), 2)
	wantText(t, "search", len(f.groups(t, registry.GroupFilter{Search: "COP"})), 2)
	wantText(t, "search for wildcards", len(f.groups(t, registry.GroupFilter{Search: "%"})), 0)
	g := f.groups(t, registry.GroupFilter{Rule: "R-9"})[0]
	f.view(t, func(r registry.Reader) error {
		ms, err := r.Members(t.Context(), g.ID)
		if len(ms) != 1 || ms[0].Artifact != two.Digest || ms[0].Count != 1 {
			t.Errorf("members = %+v", ms)
		}
		return err
	})
}

func testTriage(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "1")
	f.record(t, Outcome(v.Digest, warden.Deny, "R-1"))
	g := f.groups(t, registry.GroupFilter{})[0]
	_, err := f.Service.SetGroup(t.Context(), g.ID, registry.Accepted, "", alice())
	code(t, "SetGroup without a reason", err, warden.CodeInvalid)
	_, err = f.Service.SetGroup(t.Context(), g.ID, registry.Resolved, "x", alice())
	code(t, "SetGroup to resolved", err, warden.CodeInvalid)
	_, err = f.Service.SetGroup(t.Context(), 999, registry.Open, "", alice())
	code(t, "SetGroup of unknown", err, warden.CodeNotFound)
	if g, err = f.Service.SetGroup(t.Context(), g.ID, registry.False, "a test file", alice()); err != nil || g.State != registry.False {
		t.Errorf("SetGroup = %+v, %v", g, err)
	}
	f.record(t, Outcome(v.Digest, warden.Deny, "R-1"))
	if g := f.groups(t, registry.GroupFilter{})[0]; g.State != registry.False || g.Note != "a test file" {
		t.Errorf("group after another scan = %+v, want false", g)
	}
}

func testEvidence(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "1")
	o := Outcome(v.Digest, warden.Deny, "R-1", "R-2", "R-3")
	a := f.record(t, o)
	f.record(t, o)
	f.view(t, func(r registry.Reader) error {
		ctx := t.Context()
		s, err := r.Scan(ctx, v.Digest)
		if err != nil {
			return err
		}
		if s.Verdict != warden.Malicious || !s.Complete || s.RuleSet != "rules@1" || s.By != "worker" || string(s.Report) != `{"schema":"warden.scan/v1"}` ||
			len(s.Statuses) != 1 || s.Statuses[0].Findings != 3 || s.ID == 0 || s.At.IsZero() {
			t.Errorf("Scan = %+v", s)
		}
		var found []registry.FindingRow
		for p := (registry.Page{Limit: 2}); ; {
			fs, next, err := r.Findings(ctx, registry.FindingFilter{Artifact: v.Digest}, p)
			if err != nil {
				return err
			}
			if found = append(found, fs...); next == "" {
				break
			}
			p.After = next
		}
		if len(found) != 3 || found[1].Finding != o.Scan.Findings[1] || found[1].Artifact != v.Digest || !found[1].Found.Equal(s.At) {
			t.Errorf("Findings = %+v", found)
		}
		for filter, want := range map[registry.FindingFilter]int{
			{}: 3, {Rule: "R-2"}: 1, {Severity: warden.High}: 2, {Severity: warden.High, Rule: "R-3"}: 0, {Artifact: warden.Sum(nil)}: 0,
		} {
			fs, _, err := r.Findings(ctx, filter, registry.Page{})
			if len(fs) != want || err != nil {
				t.Errorf("Findings(%+v) = %d rows, %v; want %d", filter, len(fs), err, want)
			}
		}
		sts, err := r.Statements(ctx, v.Digest)
		if err != nil {
			return err
		}
		if len(sts) != 1 || !slices.Equal(sts[0].Subjects, o.Statements[0].Subjects) || sts[0].Payload != o.Statements[0].Payload || string(sts[0].Envelope) != `{"payload":""}` {
			t.Errorf("Statements = %+v", sts)
		}
		d, err := r.Decision(ctx, a.Decision)
		if err != nil {
			return err
		}
		if warden.Sum(d.Record) != d.Digest || d.Digest != a.Decision || d.Effect != warden.Deny || d.Artifact != v.Digest ||
			!slices.Equal(d.Because, []string{"bad-is-bad"}) || string(d.Facts) != `{"scan":{"verdict":"x"}}` {
			t.Errorf("Decision = %+v", d)
		}
		wantText(t, "record", string(d.Record), `{"action":"admit","artifact":"`+v.Digest.String()+
			`","because":["bad-is-bad"],"effect":"deny","engine":"","facts":"`+warden.Sum([]byte(`{"scan":{"verdict":"x"}}`)).String()+
			`","policy":"standard@sha256:00","request":{"action":"admit"},"trust":0}`)
		ds, next, err := r.DecisionsOn(ctx, v.Digest, registry.Page{}) // made twice, kept once
		if len(ds) != 1 || next != "" {
			t.Errorf("DecisionsOn = %d, %q", len(ds), next)
		}
		return err
	})
}

func testLists(t *testing.T, f *Fixture) {
	for i := range 5 {
		f.Push(t, fmt.Sprintf("team/m_%d", i), fmt.Sprint("m", i))
	}
	last := f.Push(t, "other/zoo", "zoo")
	f.Push(t, "team/m_0", "m0 again")
	f.record(t, Outcome(last.Digest, warden.Allow))
	models := func(filter registry.ModelFilter) (out []string) {
		f.view(t, func(r registry.Reader) error {
			for p := (registry.Page{Limit: 2}); ; {
				ms, next, err := r.Models(t.Context(), filter, p)
				for _, m := range ms {
					out = append(out, fmt.Sprintf("%s %d@%d", m.Name, m.Versions, m.Latest.Number))
				}
				if err != nil || next == "" {
					return err
				}
				p.After = next
			}
		})
		return out
	}
	wantText(t, "models", models(registry.ModelFilter{}), "[other/zoo 1@1 team/m_0 2@2 team/m_1 1@1 team/m_2 1@1 team/m_3 1@1 team/m_4 1@1]")
	wantText(t, "namespace", len(models(registry.ModelFilter{Namespace: "team"})), 5)
	wantText(t, "state", models(registry.ModelFilter{State: registry.Admitted}), "[other/zoo 1@1]")
	wantText(t, "search", models(registry.ModelFilter{Search: "M_3"}), "[team/m_3 1@1]")
	versions := func(filter registry.VersionFilter) (out []string) {
		f.view(t, func(r registry.Reader) error {
			for p := (registry.Page{Limit: 3}); ; {
				vs, next, err := r.Versions(t.Context(), filter, p)
				for _, v := range vs {
					out = append(out, v.Ref().ID+" "+string(v.Artifact.State()))
				}
				if err != nil || next == "" {
					return err
				}
				p.After = next
			}
		})
		return out
	}
	wantText(t, "versions", versions(registry.VersionFilter{}),
		"[team/m_0@2 pending other/zoo@1 admitted team/m_4@1 pending team/m_3@1 pending team/m_2@1 pending team/m_1@1 pending team/m_0@1 pending]")
	wantText(t, "of a model", versions(registry.VersionFilter{Model: "team/m_0"}), "[team/m_0@2 pending team/m_0@1 pending]")
	wantText(t, "admitted", versions(registry.VersionFilter{State: registry.Admitted}), "[other/zoo@1 admitted]")
	wantText(t, "search", versions(registry.VersionFilter{Search: "zo"}), "[other/zoo@1 admitted]")
	f.view(t, func(r registry.Reader) error {
		_, _, err := r.Versions(t.Context(), registry.VersionFilter{}, registry.Page{After: "no.cursor"})
		code(t, "bad cursor", err, warden.CodeInvalid)
		_, _, err = r.Groups(t.Context(), registry.GroupFilter{}, registry.Page{After: "1"})
		code(t, "cursor of another list", err, warden.CodeInvalid)
		hs, err := r.Holders(t.Context(), warden.Sum([]byte("zoo")), 10)
		if len(hs) != 1 || hs[0] != last.Digest {
			t.Errorf("Holders = %v", hs)
		}
		if err != nil {
			return err
		}
		n, err := r.Totals(t.Context())
		want := registry.Totals{Models: 6, Versions: 7, Artifacts: 7, Pending: 6, Admitted: 1, Files: 7, Bytes: 21, Decisions: 1, Wanted: 6}
		wantText(t, "totals", fmt.Sprintf("%+v", n), fmt.Sprintf("%+v", want))
		return err
	})
}

func testBlast(t *testing.T, f *Fixture) {
	base := f.Push(t, "team/base", "base")
	push := func(name string, from warden.Digest, tier registry.Tier) registry.Version {
		v, err := f.Service.Push(t.Context(), registry.Push{
			Model: registry.Name(name), Manifest: registry.Manifest{Files: []registry.File{f.Blobs.Add("w", name, f.Clock.Now())}}, Actor: alice(),
			Edges: []registry.Edge{{To: registry.ArtifactRef(from), Kind: "base", Tier: tier, Evidence: "README.md"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	child := push("team/child", base.Digest, registry.Attested)
	grand := push("team/grand", child.Digest, registry.Declared)
	// A cycle must not matter.
	err := f.Store.Update(t.Context(), func(tx registry.Tx) error {
		return tx.PutEdge(t.Context(), registry.Edge{From: registry.ArtifactRef(base.Digest), To: registry.ArtifactRef(grand.Digest), Kind: "merged_from", Tier: registry.Declared})
	})
	if err != nil {
		t.Fatal(err)
	}
	f.record(t, Outcome(grand.Digest, warden.Allow))
	if _, err := f.Service.Retrieve(t.Context(), grand.Digest, warden.Principal{ID: "bob"}); err != nil {
		t.Fatal(err)
	}
	b, err := f.Service.Blast(t.Context(), base.Digest, registry.Declared, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []registry.Reached{{Ref: registry.ArtifactRef(child.Digest), Depth: 1}, {Ref: registry.ArtifactRef(grand.Digest), Depth: 2}}
	if !slices.Equal(b.Derived, want) || b.Cut || len(b.Versions) != 1 || len(b.Takers) != 1 || b.Takers[0].Principal != "bob" {
		t.Errorf("Blast = %+v", b)
	}
	if b, err = f.Service.Blast(t.Context(), base.Digest, registry.Attested, 10); err != nil || len(b.Derived) != 1 || len(b.Takers) != 0 {
		t.Errorf("Blast over attested edges = %+v, %v", b, err)
	}
	if b, err = f.Service.Blast(t.Context(), base.Digest, registry.Declared, 1); err != nil || len(b.Derived) != 1 || !b.Cut {
		t.Errorf("Blast of depth 1 = %+v, %v; want cut", b, err)
	}
	_, err = f.Service.Blast(t.Context(), warden.Sum(nil), registry.Declared, 1)
	code(t, "Blast of unknown", err, warden.CodeNotFound)
	f.view(t, func(r registry.Reader) error {
		es, err := r.Edges(t.Context(), registry.ArtifactRef(child.Digest), false)
		if len(es) != 1 || es[0].To != base.Artifact.Ref() || es[0].Tier != registry.Attested || es[0].Evidence != "README.md" || es[0].Created.IsZero() {
			t.Errorf("Edges = %+v", es)
		}
		return err
	})
	// The same edge known better keeps the better tier, and worse does not lower it.
	for _, tier := range []registry.Tier{registry.Verified, registry.Declared} {
		push("team/child", base.Digest, tier)
		err := f.Store.Update(t.Context(), func(tx registry.Tx) error {
			return tx.PutEdge(t.Context(), registry.Edge{From: child.Artifact.Ref(), To: base.Artifact.Ref(), Kind: "base", Tier: tier, Evidence: "README.md"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.view(t, func(r registry.Reader) error {
		es, err := r.Edges(t.Context(), base.Artifact.Ref(), true)
		if len(es) != 1 || es[0].Tier != registry.Verified {
			t.Errorf("Edges = %+v", es)
		}
		return err
	})
}

func testDemo(t *testing.T, f *Fixture) {
	demo := func(model, text string) registry.Version {
		v, err := f.Service.Push(t.Context(), registry.Push{
			Model: registry.Name(model), Manifest: registry.Manifest{Files: []registry.File{f.Blobs.Add("model.bin", text, f.Clock.Now())}}, Actor: alice(), Demo: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		f.record(t, Outcome(v.Digest, warden.Deny, "R-1"))
		return v
	}
	only, shared := demo("demo/only", "only"), demo("demo/shared", "shared")
	real := f.Push(t, "team/real", "shared")
	versions, artifacts, err := f.Service.DeleteDemo(t.Context(), alice())
	if err != nil || versions != 2 || artifacts != 1 {
		t.Errorf("DeleteDemo = %d, %d, %v; want 2 versions, 1 artifact", versions, artifacts, err)
	}
	_, err = f.Service.State(t.Context(), only.Digest)
	code(t, "demo artifact", err, warden.CodeNotFound)
	if a, err := f.Service.State(t.Context(), shared.Digest); err != nil || a.Demo || real.Digest != shared.Digest {
		t.Errorf("artifact that is not only demo data = %+v, %v", a, err)
	}
	f.view(t, func(r registry.Reader) error {
		n, err := r.Totals(t.Context())
		if n.Models != 1 || n.Versions != 1 || n.Artifacts != 1 || n.Demo || n.Decisions != 1 {
			t.Errorf("totals = %+v", n)
		}
		return err
	})
	wantText(t, "groups", describe(f.groups(t, registry.GroupFilter{Subject: registry.Name("team/real").Ref()})), []string{"R-1 team/real critical open x1 in 1"})
	wantText(t, "groups of demo models", len(f.groups(t, registry.GroupFilter{Search: "demo/"})), 0)
	if v := f.Push(t, "demo/only", "only"); v.Number != 2 {
		t.Errorf("number %d was used before", v.Number)
	}
	f.Verify(t)
}

func testSweepBlobs(t *testing.T, f *Fixture) {
	f.Push(t, "team/bert", "named")
	old := f.Blobs.Add("", "old", f.Clock.Now().Add(-48*time.Hour))
	f.Blobs.Add("", "new", f.Clock.Now())
	f.Blobs.Add("model.bin", "named", f.Clock.Now().Add(-48*time.Hour))
	if n, err := f.Service.SweepBlobs(t.Context(), 24*time.Hour); n != 1 || err != nil {
		t.Errorf("SweepBlobs = %d, %v; want 1", n, err)
	}
	if _, err := f.Blobs.Stat(t.Context(), old.Digest); err == nil {
		t.Error("old blob is still there")
	}
	wantText(t, "blobs", len(f.Blobs.m), 2)
}

func testTrail(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "1")
	f.record(t, Outcome(v.Digest, warden.Allow))
	for range 7 {
		if _, err := f.Service.Retrieve(t.Context(), v.Digest, warden.Principal{ID: "bob"}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(filter registry.TrailFilter) (n int) {
		f.view(t, func(r registry.Reader) error {
			last := uint64(1 << 62)
			for p := (registry.Page{Limit: 3}); ; {
				es, next, err := r.Trail(t.Context(), filter, p)
				for _, e := range es {
					if e.Seq >= last || e.Salt == nil {
						t.Errorf("entry %d after %d", e.Seq, last)
					}
					last = e.Seq
				}
				n += len(es)
				if err != nil || next == "" {
					return err
				}
				p.After = next
			}
		})
		return n
	}
	wantText(t, "all", count(registry.TrailFilter{}), 10)
	wantText(t, "of bob", count(registry.TrailFilter{Actor: "bob"}), 7)
	wantText(t, "decisions", count(registry.TrailFilter{Action: "policy.decide"}), 1)
	wantText(t, "object", count(registry.TrailFilter{Object: v.Artifact.Ref(), Actor: "worker"}), 2)
	wantText(t, "nothing", count(registry.TrailFilter{Actor: "nobody"}), 0)
	evs, err := f.Service.Record(t.Context(), audit.Record{Event: warden.Event{Actor: alice(), Action: "access.login", Object: warden.Ref{Kind: warden.KindPrincipal, ID: "alice"}}})
	if err != nil || len(evs) != 1 || evs[0].Index != 10 {
		t.Errorf("Record = %+v, %v", evs, err)
	}
	c, err := f.Service.Seal(t.Context())
	if err != nil || c.Size != 11 {
		t.Errorf("Seal = %d, %v", c.Size, err)
	}
	if again, err := f.Service.Seal(t.Context()); err != nil || again.String() != c.String() {
		t.Errorf("second Seal = %v, %v", again, err)
	}
	if rep := f.Verify(t); rep.Sealed != 11 || rep.Checkpoints != 1 {
		t.Errorf("report %v", rep)
	}
}
