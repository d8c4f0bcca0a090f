package store_test

import (
	"path/filepath"
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
