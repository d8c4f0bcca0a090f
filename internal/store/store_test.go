package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/store"
)

func open(t testing.TB) *store.Store {
	t.Helper()
	return reopen(t, filepath.Join(t.TempDir(), "warden.db"))
}

func reopen(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
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

func TestRegistry(t *testing.T) {
	registrytest.TestStore(t, func(t *testing.T) registry.Store { return open(t) })
}

func TestClosed(t *testing.T) {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "warden.db"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if err := s.View(t.Context(), func(registry.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View = %v, want ErrClosed", err)
	}
	if err := s.Update(t.Context(), func(registry.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update = %v, want ErrClosed", err)
	}
}

// The files are for their owner only, and a second process sees what is committed.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b#?.db")
	s := reopen(t, path)
	f := registrytest.New(t, s)
	f.Push(t, "team/bert", "weights")
	st, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("Stat = %v, %v; want mode 0600", st, err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if st, err := os.Stat(path + suffix); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
			t.Errorf("Stat(%s) = %v, %v; want mode 0600", suffix, st, err)
		}
	}
	other := reopen(t, path)
	err = other.View(t.Context(), func(r registry.Reader) error {
		_, err := r.Version(t.Context(), "team/bert", 1)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A schema of a newer program is refused, not guessed at.
func TestNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warden.db")
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if s, err := store.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("Open = %v, %v; want it refused", s, err)
	}
}
