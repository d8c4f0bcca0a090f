package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

func TestTraffic(t *testing.T) { testTraffic(t, open(t)) }

func TestTrafficPostgres(t *testing.T) { testTraffic(t, openPG(t, pgSchema(t))) }

// What passes the gateways is kept, proven, summed up and dropped alike on both
// engines.
func testTraffic(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	f := registrytest.New(t, s)
	svc, err := monitor.New(monitor.Config{Store: s, Log: f.Log, Now: f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	hour := f.Clock.Now().UTC().Truncate(time.Hour)
	record := func(n int64, step monitor.Step, id string, change func(*monitor.Record)) monitor.Record {
		r := monitor.Record{Number: n, Step: step, At: hour.Add(time.Duration(n) * time.Minute), Request: id, Principal: "key:1", Key: "1", Groups: []string{"web"}, Route: "chat", Digest: "sha256:00"}
		if change != nil {
			change(&r)
		}
		return r
	}
	keep := func(rs ...monitor.Record) {
		t.Helper()
		if err := svc.Keep(ctx, "gw-1", rs); err != nil {
			t.Fatal(err)
		}
	}
	keep(record(1, monitor.Admitted, "A", func(r *monitor.Record) { r.Because = []string{"clients-query"} }), record(2, monitor.Admitted, "B", nil))
	keep(
		record(3, monitor.Finished, "A", func(r *monitor.Record) { r.Status, r.End, r.Input, r.Output, r.Cost = 200, "complete", 5, 7, 11 }),
		record(4, monitor.Refused, "C", func(r *monitor.Record) { r.Status, r.Code, r.Route = 429, "rate_limit_exceeded", "other" }),
		record(5, monitor.Finished, "D", func(r *monitor.Record) { r.End, r.Guard, r.Input = "denied", warden.Deny, 1 }),
	)
	f.Clock.Skip(time.Hour)
	xs, _, err := svc.Exchanges(ctx, monitor.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, x := range xs {
		ids = append(ids, fmt.Sprint(x.Request, " ", x.Step, " ", x.Running, " ", x.Because))
	}
	if d := cmp.Diff([]string{"D finish false []", "C refuse false []", "A finish false [clients-query]", "B admit true []"}, ids); d != "" {
		t.Errorf("exchanges -want +got:\n%s", d)
	}
	for name, q := range map[string]struct {
		q monitor.Query
		n int
	}{
		"route": {monitor.Query{Route: "other"}, 1}, "blocked": {monitor.Query{Blocked: true}, 2}, "request": {monitor.Query{Request: "A"}, 1},
		"principal": {monitor.Query{Principal: "key:2"}, 0}, "until": {monitor.Query{Until: hour.Add(150 * time.Second)}, 2},
	} {
		if xs, _, err := svc.Exchanges(ctx, q.q); err != nil || len(xs) != q.n {
			t.Errorf("%s: %d exchanges, %v; want %d", name, len(xs), err, q.n)
		}
	}
	ps, err := svc.Prove(ctx, "A")
	if err != nil || len(ps) != 2 {
		t.Fatalf("proofs: %d, %v", len(ps), err)
	}
	for _, p := range ps {
		if err := p.Verify(); err != nil {
			t.Errorf("record %d: %v", p.Index, err)
		}
		p.Record = strings.Replace(p.Record, "chat", "chit", 1)
		if p.Verify() == nil {
			t.Error("the proof holds for a record that was changed")
		}
	}
	if _, err := svc.Prove(ctx, "Z"); !errors.Is(err, error(monitor.ErrNoRecord)) {
		t.Errorf("no such exchange: %v", err)
	}
	used, err := svc.Used(ctx, hour, hour.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := []monitor.Use{
		{Hour: hour, Route: "chat", Principal: "key:1", Key: "1", Team: "web", Model: "sha256:00", Requests: 2, Denied: 1, Input: 6, Output: 7, Cost: 11},
		{Hour: hour, Route: "other", Principal: "key:1", Key: "1", Team: "web", Model: "sha256:00", Refused: 1},
	}
	if d := cmp.Diff(want, used); d != "" {
		t.Errorf("use -want +got:\n%s", d)
	}
	f.Clock.Skip(monitor.KeepRecords)
	if n, err := svc.Sweep(ctx); err != nil || n != 2 {
		t.Errorf("swept %d batches, %v; want 2", n, err)
	}
	if used, err := svc.Used(ctx, hour, hour.Add(time.Hour)); err != nil || len(used) != 2 {
		t.Errorf("sums after the records went: %v, %v", used, err)
	}
}

func TestContent(t *testing.T) { testContent(t, open(t)) }

func TestContentPostgres(t *testing.T) { testContent(t, openPG(t, pgSchema(t))) }

func testContent(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	a, err := monitor.NewArchive(s, make([]byte, 32), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := s.PutContent(ctx, monitor.Sealed{Request: "X", Route: "chat", At: at, Until: at.Add(time.Hour), Box: []byte("not sealed")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Content(ctx, "X"); err == nil {
		t.Error("a row that nobody sealed is opened")
	}
	if _, err := a.Content(ctx, "Y"); !errors.Is(err, error(monitor.ErrNoContent)) {
		t.Errorf("no such content: %v", err)
	}
	for i, now := range []time.Time{at.Add(59 * time.Minute), at.Add(time.Hour)} {
		if n, err := a.Sweep(ctx, now); err != nil || n != i {
			t.Errorf("swept %d at %v, %v; want %d", n, now, err, i)
		}
	}
}
