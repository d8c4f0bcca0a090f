package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

func dump(t *testing.T, s *store.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Dump(t.Context(), &b, func(registry.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func load(t *testing.T, s *store.Store, b []byte) {
	t.Helper()
	if err := s.Load(t.Context(), bytes.NewReader(b), func(registry.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// filled returns a store with records of many kinds, hostile ones included.
func filled(t *testing.T, s *store.Store) *registrytest.Fixture {
	t.Helper()
	f := registrytest.New(t, s)
	v := f.Push(t, "team/bert", "weights")
	err := s.Update(t.Context(), func(tx registry.Tx) error {
		_, err := tx.PutScan(t.Context(), registry.Scan{Artifact: v.Digest, Findings: []warden.Finding{{
			Rule: "WDN-X", Severity: warden.High, Subject: v.Artifact.Ref(), At: warden.Location{Path: "a\xff"}, Message: "<&>\u2028",
		}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := f.Service.Record(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// What is dumped and loaded is the same, and its audit log verifies.
func TestDump(t *testing.T) {
	s := open(t)
	f := filled(t, s)
	b := dump(t, s)
	other := open(t)
	load(t, other, b)
	if again := dump(t, other); !bytes.Equal(again, b) {
		t.Errorf("a dump of what was loaded differs: %d and %d bytes", len(again), len(b))
	}
	f.Store = other
	f.Verify(t)
	if err := other.Load(t.Context(), bytes.NewReader(b), func(registry.Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Load into a database in use = %v", err)
	}
}

// Nothing is loaded of a dump that is cut, changed, or that check refuses.
func TestLoadRefuses(t *testing.T) {
	s := open(t)
	filled(t, s)
	b := dump(t, s)
	lines := bytes.SplitAfter(b, []byte("\n"))
	boom := errors.New("boom")
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": b[:len(b)/2], "no_end": bytes.Join(lines[:len(lines)-2], nil),
		"row_missing": bytes.Join(append(append([][]byte{}, lines[:3]...), lines[4:]...), nil),
		"no_table":    lines[1], "unknown_table": []byte(`{"table":"sqlite_master","columns":["name"]}` + "\n"),
		"injection": []byte(`{"table":"artifact\"; DROP TABLE artifact; --","columns":["name"]}` + "\n"), "checked": b,
	} {
		other := open(t)
		if err := other.Load(t.Context(), bytes.NewReader(bad), func(registry.Tx) error { return boom }); err == nil {
			t.Errorf("%s: it was loaded", name)
		}
		if err := other.View(t.Context(), func(r registry.Reader) error {
			head, err := r.AuditHead(t.Context())
			if head.Entries != 0 {
				t.Errorf("%s: %d entries were loaded", name, head.Entries)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}

// A dump of the embedded engine can be loaded into PostgreSQL, where everything
// goes on, and back again.
func TestPostgresDump(t *testing.T) {
	s := open(t)
	f := filled(t, s)
	b := dump(t, s)
	pg := openPG(t, pgSchema(t))
	load(t, pg, b)
	f.Store = pg
	f.Verify(t)
	g := registrytest.New(t, pg)
	v := g.Push(t, "team/next", "other weights") // ids go on
	if v.Number != 1 {
		t.Errorf("Push = %+v", v)
	}
	pg2 := openPG(t, pgSchema(t))
	b2 := dump(t, pg)
	load(t, pg2, b2)
	back := open(t)
	load(t, back, b2)
	err := back.View(t.Context(), func(r registry.Reader) error {
		head, err := r.AuditHead(t.Context())
		if err != nil || head.Entries < 300 {
			t.Errorf("AuditHead = %+v, %v", head, err)
		}
		_, err = r.Version(t.Context(), "team/next", 1)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Inspect neither makes nor changes a database.
func TestInspect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warden.db")
	if s, err := store.Inspect(t.Context(), path); err == nil {
		t.Errorf("Inspect of no file = %v", s)
	}
	reopen(t, path)
	s, err := store.Inspect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v, err := s.Schema(t.Context()); err != nil || v < 3 {
		t.Errorf("Schema = %d, %v", v, err)
	}
}
