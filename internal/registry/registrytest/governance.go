package registrytest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/registry"
)

// testTrust: every version of the trust store stays as it was.
func testTrust(t *testing.T, f *Fixture) {
	ctx := t.Context()
	at := f.Clock.Now()
	lists := []registry.TrustList{
		{Version: 1, At: at, By: "alice", Action: "add", Entry: "a", Entries: []attest.Entry{{ID: "a", Kind: attest.KindKey, Value: "k", Predicates: []string{"p"}, NotAfter: at}}},
		{Version: 2, At: at.Add(time.Second), By: "alice", Action: "revoke", Entry: "a", Entries: []attest.Entry{{ID: "a", Kind: attest.KindKey, Value: "k", Predicates: []string{"p"}, RevokedAt: at, Revocation: attest.RevokeAll}}},
	}
	for _, l := range lists {
		if err := f.Store.Update(ctx, func(tx registry.Tx) error { return tx.PutTrust(ctx, l) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Store.Update(ctx, func(tx registry.Tx) error { return tx.PutTrust(ctx, lists[0]) }); !errors.Is(err, registry.ErrExists) {
		t.Errorf("a version that is there: %v, want ErrExists", err)
	}
	f.view(t, func(r registry.Reader) error {
		n, err := r.TrustVersion(ctx)
		wantText(t, "trust version", n, 2)
		if err != nil {
			return err
		}
		for _, want := range lists {
			got, err := r.Trust(ctx, want.Version)
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("version %d: %v, -want +got:\n%s", want.Version, err, d)
			}
		}
		if _, err := r.Trust(ctx, 3); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("version 3: %v, want ErrNotFound", err)
		}
		return nil
	})
}

// testPolicyVersions: the set that was applied last holds.
func testPolicyVersions(t *testing.T, f *Fixture) {
	ctx := t.Context()
	put := func(v registry.PolicyVersion) {
		t.Helper()
		if err := f.Store.Update(ctx, func(tx registry.Tx) error { return tx.PutPolicyVersion(ctx, v) }); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(want int64) {
		t.Helper()
		var n int64
		err := f.Store.View(ctx, func(r registry.Reader) (err error) {
			n, err = r.PolicyApplied(ctx)
			return err
		})
		if n != want || err != nil {
			t.Errorf("version %d holds, %v; want %d", n, err, want)
		}
	}
	holds(0)
	one := registry.PolicyVersion{Version: 1, Name: "a", Digest: warden.Sum([]byte("a")), State: registry.Proposed, Reason: "why", ProposedBy: "alice", ProposedAt: f.Clock.Now()}
	two := registry.PolicyVersion{Version: 2, Name: "b", Digest: warden.Sum([]byte("b")), State: registry.Proposed, Reason: "why", ProposedBy: "alice", ProposedAt: f.Clock.Now()}
	put(one)
	put(two)
	holds(0)
	two.State, two.DecidedBy, two.DecidedAt = registry.Applied, "bob", f.Clock.Now()
	put(two)
	holds(2)
	one.State, one.DecidedBy, one.DecidedAt = registry.Applied, "bob", f.Clock.Now()
	put(one)
	holds(1)
	f.view(t, func(r registry.Reader) error {
		all, err := r.PolicyVersions(ctx)
		if d := cmp.Diff([]registry.PolicyVersion{two, one}, all); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		return err
	})
}

// testStages: the history of a version is kept in order, and goes with demo data.
func testStages(t *testing.T, f *Fixture) {
	ctx := t.Context()
	v := f.Push(t, "team/bert", "weights")
	w := f.Push(t, "team/bert", "more weights")
	var want []registry.StageChange
	for _, c := range []registry.StageChange{
		{Number: v.Number, Artifact: v.Digest, Before: registry.Dev, After: registry.Staging},
		{Number: w.Number, Artifact: w.Digest, Before: registry.Dev, After: registry.Staging},
		{Number: v.Number, Artifact: v.Digest, Before: registry.Staging, After: registry.Prod},
	} {
		c.Model, c.At, c.By, c.Reason, c.Decision = v.Model, f.Clock.Now(), "alice", "why", warden.Sum([]byte("decision"))
		want = append(want, c)
		if err := f.Store.Update(ctx, func(tx registry.Tx) error { return tx.PutStageChange(ctx, c) }); err != nil {
			t.Fatal(err)
		}
	}
	f.view(t, func(r registry.Reader) error {
		all, err := r.StageChanges(ctx, v.Model, 0)
		if d := cmp.Diff(want, all); d != "" || err != nil {
			t.Errorf("%v, -want +got:\n%s", err, d)
		}
		one, err := r.StageChanges(ctx, v.Model, v.Number)
		if d := cmp.Diff([]registry.StageChange{want[0], want[2]}, one); d != "" || registry.StageOf(one) != registry.Prod {
			t.Errorf("-want +got:\n%s", d)
		}
		return err
	})
}

// testStatements: what two signers say in equal words is two statements, and
// attached ones lead to their artifacts. Facts of decisions are kept once.
func testStatements(t *testing.T, f *Fixture) {
	ctx := t.Context()
	v := f.Push(t, "team/bert", "weights")
	same := warden.Sum([]byte("payload"))
	for i, by := range []string{"alice", "bob", "bob"} {
		st := registry.Statement{
			ID: warden.Sum([]byte(by)), Payload: same, PredicateType: "p", Subjects: []warden.Digest{v.Digest}, Received: f.Clock.Now(), By: by, Envelope: []byte{byte('0' + i)},
		}
		if err := f.Store.Update(ctx, func(tx registry.Tx) error { return tx.PutStatement(ctx, st) }); err != nil {
			t.Fatal(err)
		}
	}
	f.record(t, Outcome(v.Digest, warden.Allow))
	f.view(t, func(r registry.Reader) error {
		sts, err := r.Statements(ctx, v.Digest)
		if len(sts) != 3 || err != nil || sts[0].By != "alice" || sts[1].By != "bob" || string(sts[1].Envelope) != "1" || sts[2].By != "" || sts[0].Payload != same || sts[0].ID == sts[1].ID {
			t.Errorf("statements = %+v, %v", sts, err)
		}
		ds, err := r.Attested(ctx, warden.Digest{}, 10)
		if err != nil || len(ds) != 1 || ds[0] != v.Digest {
			t.Errorf("attested = %v, %v", ds, err)
		}
		if ds, err = r.Attested(ctx, v.Digest, 10); err != nil || len(ds) != 0 {
			t.Errorf("attested after the last = %v, %v", ds, err)
		}
		last, err := r.LastDecisions(ctx, 1)
		if err != nil || len(last) != 1 || last[0].Artifact != v.Digest || len(last[0].Facts) == 0 {
			t.Fatalf("last decisions = %+v, %v", last, err)
		}
		kept, err := r.Content(ctx, warden.Sum(last[0].Facts))
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
		if err == nil && string(kept) != string(last[0].Facts) {
			t.Errorf("facts under their digest = %s", kept)
		}
		_, err = r.Content(ctx, warden.Sum([]byte("nothing")))
		if !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("content that is not there: %v", err)
		}
		return nil
	})
	if err := f.Store.Update(ctx, func(tx registry.Tx) error {
		return errors.Join(tx.SetCounter(ctx, registry.JudgedTrust, 7), tx.PutContent(ctx, []byte("x")), tx.PutContent(ctx, []byte("x")))
	}); err != nil {
		t.Fatal(err)
	}
	f.view(t, func(r registry.Reader) error {
		n, err := r.Counter(ctx, registry.JudgedTrust)
		wantText(t, "counter", n, 7)
		if err != nil {
			return err
		}
		b, err := r.Content(ctx, warden.Sum([]byte("x")))
		wantText(t, "content", string(b), "x")
		return err
	})
}
