package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/audit/witnesstest"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

func TestWitness(t *testing.T) { testWitness(t, open(t)) }

func TestWitnessPostgres(t *testing.T) { testWitness(t, openPG(t, pgSchema(t))) }

func testWitness(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	f := registrytest.New(t, s)
	ws, err := audit.NewWitnesses(audit.WitnessConfig{Store: s, Log: f.Log, Verifier: f.Verifier, Now: f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	grow := func(n int) {
		t.Helper()
		for i := range n {
			if _, err := f.Service.Record(ctx, event(i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Service.Seal(ctx); err != nil {
			t.Fatal(err)
		}
	}
	root := warden.Principal{ID: "user:root"}
	one := witnesstest.New(t, "one.example/w", f.Verifier)
	if _, err := ws.Add(ctx, one.URL, one.Public(), root); err != nil {
		t.Fatal(err)
	}
	two := witnesstest.New(t, "two.example/w", f.Verifier)
	if _, err := ws.Add(ctx, two.URL, two.Public(), root); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 7, 300} {
		grow(n)
		if signed, err := ws.Push(ctx); err != nil || signed != 2 {
			t.Fatalf("Push = %d, %v; want 2", signed, err)
		}
		if signed, err := ws.Push(ctx); err != nil || signed != 0 {
			t.Errorf("Push of the same checkpoint = %d, %v; want 0", signed, err)
		}
		cs, of, err := ws.Cosigned(ctx)
		if err != nil || len(cs) != 2 || of != 2 {
			t.Fatalf("Cosigned = %d of %d, %v", len(cs), of, err)
		}
		err = s.ViewAudit(ctx, func(r audit.Reader) error {
			rep, err := audit.Verify(ctx, r, f.Verifier, cs...)
			if rep.Witnessed != cs[0].Size || rep.Witnessed < uint64(n) {
				t.Errorf("Verify = %v", rep)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}

	// A witness that lost its memory, or that signs something else.
	one.Seen = audit.Tree{}
	two.Bad = true
	grow(1)
	if signed, err := ws.Push(ctx); signed != 1 || !errors.Is(err, audit.ErrTampered) {
		t.Errorf("Push = %d, %v; want 1 and ErrTampered for the other", signed, err)
	}
	two.Bad = false

	// A log that is not the one they saw: another tree of more entries.
	two.Seen = audit.Tree{Origin: two.Seen.Origin, Size: two.Seen.Size, Root: tlog.Hash{1}}
	grow(3)
	if signed, err := ws.Push(ctx); signed != 1 || err == nil {
		t.Errorf("Push to a witness of another history = %d, %v", signed, err)
	}

	if err := ws.Remove(ctx, "two.example/w", root); err != nil {
		t.Error(err)
	}
	if err := ws.Remove(ctx, "two.example/w", root); err == nil {
		t.Error("a witness was removed twice")
	}
	if all, err := ws.List(ctx); err != nil || len(all) != 1 || all[0].Size == 0 {
		t.Errorf("List = %+v, %v", all, err)
	}
	for _, bad := range [][2]string{{"file:///x", one.Public()}, {one.URL, "x"}, {one.URL, strings.Replace(one.Public(), "one", "own", 1)}, {"http://u:p@h", one.Public()}} {
		if _, err := ws.Add(ctx, bad[0], bad[1], root); err == nil {
			t.Errorf("Add(%q) was accepted", bad)
		}
	}
	f.Verify(t)
}

// TestWatch: what is older than ten minutes must be signed by enough witnesses.
func TestWatch(t *testing.T) {
	ctx, s := t.Context(), open(t)
	f := registrytest.New(t, s)
	now := f.Clock.Now()
	watching := func(required int) *audit.Witnesses {
		t.Helper()
		ws, err := audit.NewWitnesses(audit.WitnessConfig{Store: s, Log: f.Log, Verifier: f.Verifier, Now: func() time.Time { return now }, Required: required})
		if err != nil {
			t.Fatal(err)
		}
		return ws
	}
	state := func(ws *audit.Witnesses, later time.Duration, due, signed int, problem bool) {
		t.Helper()
		now = f.Clock.Now().Add(later)
		w, err := ws.Watch(ctx)
		if err != nil || w.Due != uint64(due) || w.Signed != signed || (w.Problem() != "") != problem {
			t.Errorf("Watch = %+v, %q, %v; want %d due, %d signed, problem %t", w, w.Problem(), err, due, signed, problem)
		}
	}
	ws := watching(2)
	state(ws, time.Hour, 0, 0, false) // an empty log needs nobody
	one, two := witnesstest.New(t, "one.example/w", f.Verifier), witnesstest.New(t, "two.example/w", f.Verifier)
	root := warden.Principal{ID: "user:root"}
	for _, x := range []*witnesstest.Witness{one, two} {
		if _, err := ws.Add(ctx, x.URL, x.Public(), root); err != nil {
			t.Fatal(err)
		}
	}
	state(ws, 0, 0, 0, false) // nothing is old
	state(ws, time.Hour, 2, 0, true)
	state(watching(0), time.Hour, 0, 0, false)
	if _, err := f.Service.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	two.Bad = true
	if _, err := ws.Push(ctx); err == nil {
		t.Error("a bad signature was taken")
	}
	state(ws, time.Hour, 2, 1, true)
	state(watching(1), time.Hour, 2, 1, false)
	two.Bad = false
	if _, err := ws.Push(ctx); err != nil {
		t.Error(err)
	}
	state(ws, time.Hour, 2, 2, false)
	if _, err := f.Service.Record(ctx, event(1)); err != nil {
		t.Fatal(err)
	}
	state(ws, 0, 0, 2, false)
	state(ws, time.Hour, 3, 0, true)
}
