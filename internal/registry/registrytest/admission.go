package registrytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

func testPush(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "weights")
	if v.Number != 1 || v.Artifact.State() != registry.Pending || v.Artifact.Files != 1 || v.Artifact.Size != 7 || v.PushedBy != "alice" {
		t.Errorf("Push = %+v", v)
	}
	// Again: the same version, and nothing in the log.
	if again := f.Push(t, "team/bert", "weights"); again.Number != 1 || again.Digest != v.Digest {
		t.Errorf("second Push = %+v", again)
	}
	wantText(t, "trail", f.actions(t, v.Artifact.Ref()), []string{"registry.push"})
	if v2 := f.Push(t, "team/bert", "more weights"); v2.Number != 2 || v2.Digest == v.Digest {
		t.Errorf("Push of other bytes = %+v", v2)
	}
	if v3 := f.Push(t, "team/bert", "weights"); v3.Number != 3 || v3.Digest != v.Digest {
		t.Errorf("Push of the first bytes = %+v", v3)
	}
	f.view(t, func(r registry.Reader) error {
		ws, err := r.Wanted(t.Context(), 10)
		wantText(t, "wanted", len(ws), 2)
		if len(ws) == 2 && (ws[0].Artifact != v.Digest || ws[0].Class != "admission" || ws[0].Why != "push" || ws[0].Since.IsZero()) {
			t.Errorf("wanted = %+v", ws[0])
		}
		if err != nil {
			return err
		}
		b, err := r.Manifest(t.Context(), v.Digest)
		if warden.Sum(b) != v.Digest {
			t.Errorf("manifest has digest %s, want %s", warden.Sum(b), v.Digest)
		}
		return err
	})
	f.Verify(t)
}

func testPushRefused(t *testing.T, f *Fixture) {
	file := f.Blobs.Add("a", "x", f.Clock.Now())
	absent, longer := file, file
	absent.Digest, longer.Size = warden.Sum([]byte("absent")), 2
	twice := []registry.File{file, file}
	for name, p := range map[string]registry.Push{
		"bad_name":  {Model: "bert", Manifest: registry.Manifest{Files: []registry.File{file}}, Actor: alice()},
		"no_files":  {Model: "team/bert", Actor: alice()},
		"absent":    {Model: "team/bert", Manifest: registry.Manifest{Files: []registry.File{absent}}, Actor: alice()},
		"size":      {Model: "team/bert", Manifest: registry.Manifest{Files: []registry.File{longer}}, Actor: alice()},
		"twice":     {Model: "team/bert", Manifest: registry.Manifest{Files: twice}, Actor: alice()},
		"traversal": {Model: "team/bert", Manifest: registry.Manifest{Files: []registry.File{{Path: "../a", Digest: file.Digest, Size: 1}}}, Actor: alice()},
	} {
		_, err := f.Service.Push(t.Context(), p)
		code(t, name, err, warden.CodeInvalid)
	}
	_, err := f.Service.Push(t.Context(), registry.Push{Model: "team/bert", Manifest: registry.Manifest{Files: []registry.File{file}}})
	code(t, "nobody", err, warden.CodeUnauthenticated)
	f.view(t, func(r registry.Reader) error {
		n, err := r.Totals(t.Context())
		wantText(t, "totals", n, registry.Totals{})
		return err
	})
	if rep := f.Verify(t); rep.Size != 0 {
		t.Errorf("%d events, want none", rep.Size)
	}
}

func testNames(t *testing.T, f *Fixture) {
	one, two := f.Push(t, "team/bert", "1"), f.Push(t, "team/bert", "2")
	other := f.Push(t, "team/gpt", "2")
	for text, want := range map[string]warden.Ref{
		"team/bert": two.Ref(), "team/bert@latest": two.Ref(), "team/bert@1": one.Ref(), "team/bert@2": two.Ref(),
		"team/gpt": other.Ref(), one.Digest.String(): one.Ref(), two.Digest.String(): two.Ref(),
	} {
		v, err := f.Service.Find(t.Context(), text)
		if err != nil || v.Ref() != want {
			t.Errorf("Find(%s) = %v, %v; want %v", text, v.Ref(), err, want)
		}
	}
	for text, want := range map[string]warden.Code{
		"": warden.CodeInvalid, "bert": warden.CodeInvalid, "team/bert@": warden.CodeInvalid, "team/bert@0": warden.CodeInvalid,
		"team/bert@01": warden.CodeInvalid, "team/bert@x": warden.CodeInvalid, "sha256:12": warden.CodeInvalid,
		"team/bert@3": warden.CodeNotFound, "team/none": warden.CodeNotFound, warden.Sum(nil).String(): warden.CodeNotFound,
	} {
		_, err := f.Service.Find(t.Context(), text)
		code(t, "Find("+text+")", err, want)
	}
	_, err := f.Service.Push(t.Context(), registry.Push{
		Model: "Team/BERT", Manifest: registry.Manifest{Files: []registry.File{f.Blobs.Add("a", "x", f.Clock.Now())}}, Actor: alice(),
	})
	code(t, "a name in another case", err, warden.CodeConflict)
}

func testAdmission(t *testing.T, f *Fixture) {
	good, bad := f.Push(t, "team/good", "good"), f.Push(t, "team/bad", "bad")
	_, err := f.Service.Retrieve(t.Context(), good.Digest, alice())
	code(t, "Retrieve while pending", err, warden.CodeDenied)

	a := f.record(t, Outcome(good.Digest, warden.Allow))
	if a.State() != registry.Admitted || a.Verdict != "clean" || !a.Complete || a.Scanned.IsZero() || a.Decision == (warden.Digest{}) {
		t.Errorf("admitted artifact = %+v", a)
	}
	for range 2 {
		if got, err := f.Service.Retrieve(t.Context(), good.Digest, alice()); err != nil || got.Digest != good.Digest {
			t.Errorf("Retrieve = %+v, %v", got, err)
		}
	}
	a = f.record(t, Outcome(bad.Digest, warden.Deny, "WDN-MF-001"))
	if a.State() != registry.Denied || a.Verdict != "malicious" || a.Why() != "because of WDN-MF-001" {
		t.Errorf("denied artifact = %+v", a)
	}
	_, err = f.Service.Retrieve(t.Context(), bad.Digest, alice())
	code(t, "Retrieve of denied", err, warden.CodeDenied)
	a = f.record(t, Outcome(bad.Digest, warden.Require))
	if a.State() != registry.Denied {
		t.Errorf("state = %s, want denied until somebody approves", a.State())
	}
	_, err = f.Service.Retrieve(t.Context(), warden.Sum([]byte("unknown")), alice())
	code(t, "Retrieve of unknown", err, warden.CodeNotFound)
	_, err = f.Service.Decide(t.Context(), alice(), registry.Decision{Artifact: f.Push(t, "team/new", "new").Digest, Effect: warden.Allow})
	code(t, "Decide before a scan", err, warden.CodeConflict)
	if a, err = f.Service.Decide(t.Context(), alice(), registry.Decision{Artifact: bad.Digest, Effect: warden.Allow, Policy: "p@1", Because: []string{"waiver"}}); err != nil || a.State() != registry.Admitted {
		t.Errorf("Decide = %+v, %v", a, err)
	}
	o := Outcome(good.Digest, warden.AllowReview)
	if _, err := f.Service.RecordScan(t.Context(), o); err == nil {
		t.Error("an effect that is for exchanges only was taken")
	}
	f.view(t, func(r registry.Reader) error {
		ws, err := r.Wanted(t.Context(), 10)
		wantText(t, "wanted", len(ws), 1)
		if err != nil {
			return err
		}
		rs, err := r.Retrievals(t.Context(), good.Digest)
		if len(rs) != 1 || rs[0].Principal != "alice" || rs[0].Count != 2 || !rs[0].Last.After(rs[0].First) {
			t.Errorf("retrievals = %+v", rs)
		}
		if err != nil {
			return err
		}
		rs, err = r.RetrievedBy(t.Context(), "alice")
		wantText(t, "retrieved by alice", len(rs), 1)
		return err
	})
	wantText(t, "trail", f.actions(t, good.Artifact.Ref()),
		[]string{"registry.push", "registry.refuse", "registry.scan", "policy.decide", "registry.retrieve", "registry.retrieve"})
	f.Verify(t)
}

func testQuarantine(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "weights")
	f.record(t, Outcome(v.Digest, warden.Allow))
	if _, err := f.Service.Release(t.Context(), v.Digest, "why not", alice()); err == nil {
		t.Error("Release of what is not in quarantine: want an error")
	}
	_, err := f.Service.Quarantine(t.Context(), v.Digest, "", alice())
	code(t, "Quarantine without a reason", err, warden.CodeInvalid)
	_, err = f.Service.Quarantine(t.Context(), warden.Sum(nil), "bad", alice())
	code(t, "Quarantine of unknown", err, warden.CodeNotFound)
	before, err := f.Service.State(t.Context(), v.Digest)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Service.Quarantine(t.Context(), v.Digest, "calls home", alice())
	if err != nil || a.State() != registry.Quarantined || a.Epoch <= before.Epoch || a.Quarantine.By != "alice" {
		t.Fatalf("Quarantine = %+v, %v", a, err)
	}
	if _, err := f.Service.Quarantine(t.Context(), v.Digest, "another reason", alice()); err != nil {
		t.Errorf("second Quarantine = %v", err)
	}
	_, err = f.Service.Retrieve(t.Context(), v.Digest, alice())
	code(t, "Retrieve from quarantine", err, warden.CodeDenied)
	wantText(t, "reason", err, v.Digest.String()+" is quarantined by alice: calls home (hint: use another version, or ask whoever quarantined it to release it)")
	// A scan does not end it.
	if a = f.record(t, Outcome(v.Digest, warden.Allow)); a.State() != registry.Quarantined {
		t.Errorf("state after a scan = %s, want quarantined", a.State())
	}
	if a, err = f.Service.State(t.Context(), v.Digest); err != nil || a.State() != registry.Quarantined || a.Decided != registry.Admitted {
		t.Errorf("State = %+v, %v", a, err)
	}
	if a, err = f.Service.Release(t.Context(), v.Digest, "false alarm", alice()); err != nil || a.State() != registry.Admitted {
		t.Errorf("Release = %+v, %v", a, err)
	}
	f.view(t, func(r registry.Reader) error {
		changed, err := r.ChangedSince(t.Context(), before.Epoch, 10)
		if len(changed) != 1 || changed[0].Digest != v.Digest {
			t.Errorf("changed = %+v", changed)
		}
		if err != nil {
			return err
		}
		epoch, err := r.Epoch(t.Context())
		wantText(t, "epoch", epoch, a.Epoch)
		return err
	})
	wantText(t, "trail", f.actions(t, a.Ref()), []string{
		"registry.push", "registry.scan", "policy.decide", "registry.quarantine", "registry.refuse", "registry.scan", "policy.decide", "registry.release",
	})
}

func testChanges(t *testing.T, f *Fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	changes := f.Service.Changes(ctx)
	v := f.Push(t, "team/bert", "weights")
	f.record(t, Outcome(v.Digest, warden.Allow))
	if _, err := f.Service.Quarantine(t.Context(), v.Digest, "bad", alice()); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for _, want := range []registry.State{registry.Pending, registry.Admitted, registry.Quarantined} {
		c := <-changes
		if c.Artifact != v.Digest || c.State != want || c.Epoch <= last {
			t.Errorf("change %+v, want %s", c, want)
		}
		last = c.Epoch
	}
	// A listener that falls behind is told to forget everything.
	for i := range 300 {
		f.Push(t, "team/many", fmt.Sprint(i))
	}
	missed := false
	for len(changes) > 0 {
		c := <-changes
		missed = missed || c.All
	}
	if !missed {
		t.Error("missed changes were not announced")
	}
	cancel()
	select {
	case _, ok := <-changes:
		if ok {
			t.Error("change after the end")
		}
	case <-time.After(10 * time.Second):
		t.Error("channel is not closed when its context ends")
	}
}

func testAtomic(t *testing.T, f *Fixture) {
	boom := errors.New("boom")
	err := f.Store.Update(t.Context(), func(tx registry.Tx) error {
		if _, err := tx.BumpEpoch(t.Context()); err != nil {
			return err
		}
		if _, err := f.Log.Append(t.Context(), tx, warden.Event{Actor: alice(), Action: "test", Object: warden.Ref{Kind: "principal", ID: "a"}}, "x"); err != nil {
			return err
		}
		if n, err := tx.Epoch(t.Context()); err != nil || n != 1 {
			t.Errorf("Epoch in the transaction = %d, %v; want 1", n, err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Update = %v, want boom", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Store.Update(ended, func(registry.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update with an ended context = %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic was swallowed")
			}
		}()
		_ = f.Store.Update(t.Context(), func(tx registry.Tx) error {
			if _, err := tx.BumpEpoch(t.Context()); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	f.view(t, func(r registry.Reader) error {
		n, err := r.Epoch(t.Context())
		wantText(t, "epoch", n, 0)
		return err
	})
	if rep := f.Verify(t); rep.Size != 0 {
		t.Errorf("%d entries, want none", rep.Size)
	}
}

func testConcurrent(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "weights")
	f.record(t, Outcome(v.Digest, warden.Allow))
	const callers, each = 16, 10
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				if _, err := f.Service.Retrieve(t.Context(), v.Digest, warden.Principal{ID: fmt.Sprint("p", i)}); err != nil {
					t.Errorf("Retrieve = %v", err)
				}
				// Some fail beside those that do not.
				if _, err := f.Service.Retrieve(t.Context(), warden.Sum(fmt.Append(nil, i, j)), alice()); err == nil {
					t.Error("Retrieve of unknown: want an error")
				}
				if _, err := f.Service.State(t.Context(), v.Digest); err != nil {
					t.Errorf("State = %v", err)
				}
			}
		})
	}
	wg.Wait()
	f.view(t, func(r registry.Reader) error {
		rs, err := r.Retrievals(t.Context(), v.Digest)
		total := 0
		for _, x := range rs {
			total += x.Count
		}
		wantText(t, "retrievals", fmt.Sprint(len(rs), total), fmt.Sprint(callers, callers*each))
		return err
	})
	if rep := f.Verify(t); rep.Size != 3+callers*each {
		t.Errorf("log has %d entries, want %d", rep.Size, 3+callers*each)
	}
}

func testErase(t *testing.T, f *Fixture) {
	v := f.Push(t, "team/bert", "weights")
	err := f.Store.Update(t.Context(), func(tx registry.Tx) error {
		_, err := f.Log.Erase(t.Context(), tx, []uint64{0}, alice(), "request of a person")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Service.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rep := f.Verify(t); rep.Erased != 1 || rep.Size != 2 || rep.Sealed != 2 {
		t.Errorf("report %v", rep)
	}
	f.view(t, func(r registry.Reader) error {
		p, err := audit.Prove(t.Context(), r, 0)
		if err != nil {
			return err
		}
		wantText(t, "trail", f.actions(t, v.Artifact.Ref()), []string{"registry.push"})
		return p.Check([]byte(p.Leaf), audit.Checkpoint{Note: []byte(p.Checkpoint)}, f.Verifier)
	})
}
