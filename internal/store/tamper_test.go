package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

// A made log is a database file with events and checkpoints, and a checkpoint
// that was kept elsewhere.
type made struct {
	path    string
	f       *registrytest.Fixture
	outside audit.Checkpoint
	entries int
}

func makeLog(t *testing.T) made {
	t.Helper()
	path := filepath.Join(t.TempDir(), "warden.db")
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	m := made{path: path, f: registrytest.New(t, s)}
	v := m.f.Push(t, "team/bert", "weights")
	if _, err := m.f.Service.RecordScan(t.Context(), registrytest.Outcome(v.Digest, warden.Allow, "R-1")); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if _, err := m.f.Service.Retrieve(t.Context(), v.Digest, warden.Principal{ID: fmt.Sprint("p", i)}); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			if m.outside, err = m.f.Service.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if m.outside, err = m.f.Service.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.entries = int(m.outside.Size)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// verify opens a database file and verifies its log.
func (m made) verify(ctx context.Context, path string, outside ...audit.Checkpoint) (rep audit.Report, err error) {
	s, err := store.Open(ctx, path)
	if err != nil {
		return rep, err
	}
	defer s.Close()
	err = s.View(ctx, func(r registry.Reader) error {
		rep, err = audit.Verify(ctx, r, m.f.Verifier, outside...)
		return err
	})
	return rep, err
}

// copyTo copies the database file, whose log of writes is empty, and runs fn on
// the copy with plain SQL, as somebody who owns the file could.
func (m made) copyTo(dir string, fn func(*sql.DB) error) (string, error) {
	b, err := os.ReadFile(m.path)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tampered.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", err
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	// The columns made of the leaf would refuse leaves that are not JSON.
	for _, column := range []string{"object", "actor", "action"} {
		if _, err := db.Exec("DROP INDEX audit_entry_" + column); err != nil {
			return "", err
		}
		if _, err := db.Exec("ALTER TABLE audit_entry DROP COLUMN " + column); err != nil {
			return "", err
		}
	}
	return path, fn(db)
}

// Any byte that is flipped, and any row that is removed, moved or exchanged, is
// found, and the first bad entry is named.
func TestTamperIsFound(t *testing.T) {
	m := makeLog(t)
	if rep, err := m.verify(t.Context(), m.path, m.outside); err != nil || int(rep.Size) != m.entries || rep.Witnessed != rep.Size || rep.Checkpoints < 6 {
		t.Fatalf("untouched: %v, %v", rep, err)
	}
	type cell struct{ table, key, column string }
	cells := []cell{
		{"audit_entry", "seq", "leaf"},
		{"audit_hash", "idx", "hash"},
		{"audit_payload", "seq", "payload"},
		{"audit_payload", "seq", "salt"},
		{"audit_checkpoint", "size", "note"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "") //nolint:usetesting // one folder for each try
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		c := rapid.SampledFrom(cells).Draw(rt, "cell")
		how := rapid.SampledFrom([]string{"flip", "remove", "exchange"}).Draw(rt, "how")
		first := int64(-1) // the entry that is bad, where it is known
		path, err := m.copyTo(dir, func(db *sql.DB) error {
			var keys []int64
			rows, err := db.Query("SELECT " + c.key + " FROM " + c.table + " ORDER BY 1")
			if err != nil {
				return err
			}
			for rows.Next() {
				var k int64
				if err := rows.Scan(&k); err != nil {
					return err
				}
				keys = append(keys, k)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
			i := rapid.IntRange(0, len(keys)-2).Draw(rt, "row")
			if c.key == "seq" {
				first = keys[i]
			}
			switch how {
			case "remove":
				if c.table == "audit_payload" || c.table == "audit_checkpoint" {
					rt.Skip("erased details are legitimate, and a checkpoint is covered by the next")
				}
				_, err = db.Exec("DELETE FROM "+c.table+" WHERE "+c.key+" = $1", keys[i])
			case "exchange":
				swap := "UPDATE " + c.table + " SET " + c.column + " = (SELECT o." + c.column + " FROM " + c.table + " o WHERE o." + c.key + " = $2) WHERE " + c.key + " = $1"
				kinds := 0
				if _, err = db.Exec("CREATE TABLE old AS SELECT * FROM " + c.table); err == nil {
					err = db.QueryRow("SELECT count(DISTINCT "+c.column+") FROM old WHERE "+c.key+" IN ($1, $2)", keys[i], keys[i+1]).Scan(&kinds)
				}
				if kinds == 1 {
					rt.Skip("both rows hold the same")
				}
				if err == nil {
					_, err = db.Exec(swap, keys[i], keys[i+1])
				}
				if err == nil {
					_, err = db.Exec("UPDATE "+c.table+" SET "+c.column+" = (SELECT o."+c.column+" FROM old o WHERE o."+c.key+" = $2) WHERE "+c.key+" = $1", keys[i+1], keys[i])
				}
			default:
				var value []byte
				if err := db.QueryRow("SELECT CAST("+c.column+" AS BLOB) FROM "+c.table+" WHERE "+c.key+" = $1", keys[i]).Scan(&value); err != nil {
					return err
				}
				at := rapid.IntRange(0, len(value)-1).Draw(rt, "byte")
				value[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
				kind := "BLOB"
				if c.column == "leaf" {
					kind = "TEXT"
				}
				_, err = db.Exec("UPDATE "+c.table+" SET "+c.column+" = CAST($2 AS "+kind+") WHERE "+c.key+" = $1", keys[i], value)
			}
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		rep, err := m.verify(t.Context(), path)
		if !errors.Is(err, audit.ErrTampered) || rep.Fault == nil {
			rt.Fatalf("%s of %v: %v, %v; want it found", how, c, rep, err)
		}
		if first >= 0 && int64(rep.Fault.Index) != first {
			rt.Fatalf("%s of %v: first bad entry is %d (%s), want %d", how, c, rep.Fault.Index, rep.Fault.What, first)
		}
	})
}

// Cutting the log back to an earlier checkpoint, with all rows and hashes, is
// found with a checkpoint that was kept outside, and only with one.
func TestRollbackIsFound(t *testing.T) {
	m := makeLog(t)
	path, err := m.copyTo(t.TempDir(), func(db *sql.DB) error {
		var size int64
		if err := db.QueryRow("SELECT max(size) FROM audit_checkpoint WHERE size < (SELECT max(size) FROM audit_checkpoint)").Scan(&size); err != nil {
			return err
		}
		hashes := int64(0) // as many as size entries have
		for n := size; n > 0; n >>= 1 {
			hashes += n
		}
		for text, arg := range map[string]int64{
			"DELETE FROM audit_checkpoint WHERE size > $1": size, "DELETE FROM audit_entry WHERE seq >= $1": size,
			"DELETE FROM audit_payload WHERE seq >= $1": size, "DELETE FROM audit_hash WHERE idx >= $1": hashes,
		} {
			if _, err := db.Exec(text, arg); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := m.verify(t.Context(), path)
	if err != nil || rep.Witnessed != 0 || rep.Sealed != rep.Size {
		t.Errorf("without an outside checkpoint: %v, %v; want whole but unwitnessed", rep, err)
	}
	t.Log(rep)
	rep, err = m.verify(t.Context(), path, m.outside)
	if !errors.Is(err, audit.ErrTampered) || rep.Fault.Index != rep.Size {
		t.Errorf("with one: %v, %v; want it found", rep, err)
	}
	t.Log(rep)
	// Rows removed at the end, hashes forgotten.
	path, err = m.copyTo(t.TempDir(), func(db *sql.DB) error {
		_, err := db.Exec("DELETE FROM audit_entry WHERE seq >= $1", m.entries-3)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := m.verify(t.Context(), path); !errors.Is(err, audit.ErrTampered) || int(rep.Fault.Index) != m.entries-3 {
		t.Errorf("rows cut off: %v, %v; want found", rep, err)
	}
}

// Of two histories under one key, an outside checkpoint of one refutes the other.
func TestRewrittenHistoryIsFound(t *testing.T) {
	m := makeLog(t)
	s := open(t)
	log, err := audit.New(audit.Config{Origin: m.f.Log.Origin(), Signer: m.f.Signer, Now: m.f.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.entries + 2 {
		err := s.Update(t.Context(), func(tx registry.Tx) error {
			_, err := log.Append(t.Context(), tx, warden.Event{Actor: warden.Principal{ID: "owner"}, Action: "test", Object: warden.Ref{Kind: "model", ID: fmt.Sprint(i)}}, nil)
			if err == nil {
				_, err = log.Seal(t.Context(), tx)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = s.View(t.Context(), func(r registry.Reader) error {
		if _, err := audit.Verify(t.Context(), r, m.f.Verifier); err != nil {
			t.Errorf("by itself: %v", err)
		}
		_, err := audit.Verify(t.Context(), r, m.f.Verifier, m.outside)
		return err
	})
	if !errors.Is(err, audit.ErrTampered) {
		t.Errorf("with an outside checkpoint: %v, want ErrTampered", err)
	}
}

func TestProofs(t *testing.T) {
	m := makeLog(t)
	s := reopen(t, m.path)
	ctx := t.Context()
	err := s.View(ctx, func(r registry.Reader) error {
		for i := range uint64(m.entries) {
			p, err := audit.Prove(ctx, r, i)
			if err != nil {
				return err
			}
			c := audit.Checkpoint{Note: []byte(p.Checkpoint)}
			if err := p.Check([]byte(p.Leaf), c, m.f.Verifier); err != nil {
				t.Errorf("Check(%d) = %v", i, err)
			}
			other := p
			other.Index = (i + 1) % uint64(m.entries)
			if err := other.Check([]byte(p.Leaf), c, m.f.Verifier); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("Check of the proof of another entry = %v", err)
			}
			leaf := []byte(p.Leaf)
			leaf[len(leaf)-3] ^= 1
			if err := p.Check(leaf, c, m.f.Verifier); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("Check of another leaf = %v", err)
			}
		}
		if _, err := audit.Prove(ctx, r, uint64(m.entries)); !errors.Is(err, audit.ErrMissing) {
			t.Errorf("Prove past the end = %v", err)
		}
		cs, err := r.AuditCheckpoints(ctx, 0, 100)
		if err != nil {
			return err
		}
		for _, old := range cs {
			now := cs[len(cs)-1]
			hs, err := audit.ProveGrowth(ctx, r, old.Size, now.Size)
			if err != nil {
				return err
			}
			if err := audit.CheckGrowth(hs, old, now, m.f.Verifier); err != nil {
				t.Errorf("CheckGrowth(%d, %d) = %v", old.Size, now.Size, err)
			}
			if err := audit.CheckGrowth(hs, now, old, m.f.Verifier); old.Size != now.Size && !errors.Is(err, audit.ErrTampered) {
				t.Errorf("CheckGrowth backwards = %v", err)
			}
		}
		if b, err := audit.Tile(ctx, r, "tile/3/0/000"); err != nil || len(b) != 8*32 {
			t.Errorf("Tile = %d bytes, %v", len(b), err)
		}
		if _, err := audit.Tile(ctx, r, "tile/8/0/000"); !errors.Is(err, audit.ErrMissing) {
			t.Errorf("Tile that is not full = %v, want ErrMissing", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
