package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/store"
)

// TestRoutes: routes are kept as they are put, and every change counts.
func TestRoutes(t *testing.T) { testRoutes(t, open(t)) }

func TestRoutesPostgres(t *testing.T) { testRoutes(t, openPG(t, pgSchema(t))) }

func testRoutes(t *testing.T, st *store.Store) {
	t.Helper()
	ctx := t.Context()
	at := time.Unix(1_800_000_000, 0).UTC()
	a := route.Route{Name: "a", Config: []byte(`{"name":"a"}`), Revision: 1, By: "user:x", Created: at, Changed: at}
	b := route.Route{Name: "b", Config: []byte(`{"name":"b"}`), Disabled: true, Revision: 7, By: "user:y", Created: at, Changed: at.Add(time.Second)}
	update := func(fn func(tx route.Tx) error) {
		t.Helper()
		before, err := st.RouteEpoch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.UpdateRoutes(ctx, fn); err != nil {
			t.Fatal(err)
		}
		if after, err := st.RouteEpoch(ctx); err != nil || after <= before {
			t.Errorf("the epoch was %d and is %d (%v)", before, after, err)
		}
	}
	want := func(rs ...route.Route) {
		t.Helper()
		got, err := st.Routes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rs, got); diff != "" {
			t.Error(diff)
		}
	}
	update(func(tx route.Tx) error { return errors.Join(tx.PutRoute(ctx, b), tx.PutRoute(ctx, a)) })
	want(a, b)
	a.Config, a.Disabled, a.Revision, a.By, a.Changed = []byte(`{"name":"a","task":"chat"}`), true, 2, "user:z", at.Add(time.Minute)
	update(func(tx route.Tx) error {
		if got, err := tx.Route(ctx, "b"); err != nil || got.Revision != 7 {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := tx.Route(ctx, "c"); !errors.Is(err, route.ErrNotFound) {
			t.Errorf("a route that is not there: %v", err)
		}
		return tx.PutRoute(ctx, a)
	})
	want(a, b)
	update(func(tx route.Tx) error { return tx.DeleteRoute(ctx, "b") })
	want(a)
}
