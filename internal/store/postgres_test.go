package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver named "pgx"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

// pgSchema makes an empty schema in the database of WARDEN_TEST_POSTGRES and
// returns the address of a database that has only it.
func pgSchema(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv("WARDEN_TEST_POSTGRES")
	if dsn == "" {
		t.Skip("PostgreSQL was not tried: set WARDEN_TEST_POSTGRES to the URL of a database for tests")
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("WARDEN_TEST_POSTGRES is not a URL")
	}
	name := "t" + strings.ToLower(rand.Text())
	admin(t, "CREATE SCHEMA "+name)
	t.Cleanup(func() { admin(t, "DROP SCHEMA "+name+" CASCADE") })
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// admin runs a statement beside the store.
func admin(t testing.TB, text string) {
	t.Helper()
	db, err := sql.Open("pgx", os.Getenv("WARDEN_TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), text); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func openPG(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRegistryPostgres(t *testing.T) {
	registrytest.TestStore(t, func(t *testing.T) registry.Store { return openPG(t, pgSchema(t)) })
}

func TestAccessPostgres(t *testing.T) { testAccess(t, openPG(t, pgSchema(t))) }

// Several processes append to one log: no entry is lost, and the log verifies.
func TestPostgresShared(t *testing.T) {
	dsn := pgSchema(t)
	var stores [3]*store.Store
	var open sync.WaitGroup
	for i := range stores { // all bring the schema up to date at once
		open.Go(func() {
			s, err := store.OpenPostgres(t.Context(), dsn)
			if err != nil {
				t.Error(err)
			}
			stores[i] = s
		})
	}
	open.Wait()
	if t.Failed() {
		return
	}
	f := registrytest.New(t, stores[0])
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for i, s := range stores {
		t.Cleanup(func() { _ = s.Close() })
		for range writers {
			wg.Go(func() {
				for range each {
					err := s.Update(t.Context(), func(tx registry.Tx) error {
						n, err := tx.BumpEpoch(t.Context())
						if err != nil {
							return err
						}
						_, err = f.Log.Append(t.Context(), tx, warden.Event{
							Actor: warden.Principal{ID: fmt.Sprint("node", i)}, Action: "test.append", Object: warden.Ref{Kind: warden.KindModel, ID: fmt.Sprint(n)},
						}, nil)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	total := uint64(len(stores) * writers * each)
	if err := stores[1].View(t.Context(), func(r registry.Reader) error {
		n, err := r.Epoch(t.Context())
		if n != total {
			t.Errorf("Epoch = %d, want %d", n, total)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	f.Verify(t)
}

// A statement that fails and whose error is swallowed must not end in a commit
// that silently was a rollback.
func TestPostgresSwallowedError(t *testing.T) {
	s := openPG(t, pgSchema(t))
	d := warden.Sum([]byte("x"))
	put := func(tx registry.Tx) error {
		return tx.PutArtifact(t.Context(), registry.Artifact{Digest: d}, registry.Manifest{Files: []registry.File{{Path: "a"}, {Path: "a"}}}, nil)
	}
	err := s.Update(t.Context(), func(tx registry.Tx) error {
		_ = put(tx) // two files of one path
		return nil
	})
	if err == nil {
		t.Error("Update = nil for a transaction that was rolled back")
	}
}

// Text of hostile files can be kept, and found again.
func TestPostgresHostileText(t *testing.T) {
	s := openPG(t, pgSchema(t))
	d := warden.Sum([]byte("x"))
	err := s.Update(t.Context(), func(tx registry.Tx) error {
		_, err := tx.PutScan(t.Context(), registry.Scan{Artifact: d, Findings: []warden.Finding{{
			Rule: "WDN-X", Severity: warden.High, At: warden.Location{Path: "a\x00b\xff"}, Message: "\x00", Evidence: "\xf0\x28",
		}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(r registry.Reader) error {
		fs, _, err := r.Findings(t.Context(), registry.FindingFilter{Artifact: d}, registry.Page{})
		if len(fs) != 1 || fs[0].Finding.At.Path != "a\uFFFDb\uFFFD" {
			t.Errorf("Findings = %+v", fs)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// Connections that the server ends are replaced, as after its restart.
func TestPostgresReconnects(t *testing.T) {
	s := openPG(t, pgSchema(t))
	bump := func() error {
		return s.Update(t.Context(), func(tx registry.Tx) error { _, err := tx.BumpEpoch(t.Context()); return err })
	}
	look := func() error {
		return s.View(t.Context(), func(r registry.Reader) error { _, err := r.Epoch(t.Context()); return err })
	}
	for range 3 {
		for range 20 {
			if err := errors.Join(bump(), look()); err != nil {
				t.Fatal(err)
			}
		}
		admin(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'warden' AND usename = current_user")
	}
	if err := errors.Join(bump(), look()); err != nil {
		t.Error(err)
	}
}

// An address with a password is never quoted, and a server that is not there is
// "unavailable" with what to do.
func TestPostgresUnreachable(t *testing.T) {
	for _, dsn := range []string{"postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=2", "postgres://u:hunter2@[bad/x", "hunter2="} {
		_, err := store.OpenPostgres(t.Context(), dsn)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("OpenPostgres = %v, want an error without the password", err)
		}
		var we *warden.Error
		if strings.Contains(dsn, "127.0.0.1") && (!errors.As(err, &we) || we.Code != warden.CodeUnavailable) {
			t.Errorf("OpenPostgres = %v, want unavailable", err)
		}
	}
}

// Both folders of migrations have the same steps.
func TestMigrationsAlike(t *testing.T) {
	names := func(folder string) (out []string) {
		es, err := os.ReadDir(filepath.Join("migrations", folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			out = append(out, e.Name())
		}
		return out
	}
	if diff := cmp.Diff(names("sqlite"), names("postgres")); diff != "" {
		t.Errorf("migrations (-sqlite +postgres):\n%s", diff)
	}
}

// Both engines have the same tables with the same columns.
func TestSchemasAlike(t *testing.T) {
	dsn := pgSchema(t)
	openPG(t, dsn)
	path := filepath.Join(t.TempDir(), "warden.db")
	reopen(t, path)
	read := func(driver, dsn, text string) map[string][]string {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query(text)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		out := map[string][]string{}
		for rows.Next() {
			var table, column string
			if err := rows.Scan(&table, &column); err != nil {
				t.Fatal(err)
			}
			out[table] = append(out[table], column)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for _, cs := range out {
			slices.Sort(cs)
		}
		maps.DeleteFunc(out, func(name string, _ []string) bool {
			return name == "goose_db_version" || name == "audit_head" || strings.HasPrefix(name, "sqlite_")
		})
		return out
	}
	lite := read("sqlite", path, `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table'`)
	pg := read("pgx", dsn, `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()`)
	if diff := cmp.Diff(lite, pg); diff != "" {
		t.Errorf("tables (-sqlite +postgres):\n%s", diff)
	}
	if len(lite) < 10 {
		t.Errorf("%d tables were compared", len(lite))
	}
}
