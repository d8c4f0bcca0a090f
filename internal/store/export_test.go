package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
)

// exported fills a log with n entries and exports it.
func exported(t *testing.T, n int) (dir string, f *registrytest.Fixture) {
	t.Helper()
	f = registrytest.New(t, open(t))
	batch := make([]audit.Record, n)
	for i := range batch {
		batch[i] = event(i)
	}
	if _, err := f.Service.Record(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	c, err := f.Service.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	err = f.Store.View(t.Context(), func(r registry.Reader) error {
		x, err := audit.Export(t.Context(), r, "key", []audit.Checkpoint{c}, dir)
		if x.Entries != uint64(n) {
			t.Errorf("Export = %+v, want %d entries", x, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, f
}

// verifyExport verifies a folder as somebody who has only it and the key.
func verifyExport(t *testing.T, dir string, f *registrytest.Fixture) error {
	t.Helper()
	x, err := audit.OpenExport(dir)
	if err != nil {
		return err
	}
	defer x.Close()
	_, err = audit.Verify(t.Context(), x, f.Verifier, x.Cosigned()...)
	return err
}

func TestExport(t *testing.T) {
	for _, n := range []int{1, 2, 255, 256, 257, 1000} {
		dir, f := exported(t, n)
		if err := verifyExport(t, dir, f); err != nil {
			t.Errorf("%d entries: %v", n, err)
		}
		err := f.Store.View(t.Context(), func(r registry.Reader) error { // what is served is what is exported
			return filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				want, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				name, err := filepath.Rel(dir, path)
				if err != nil {
					return err
				}
				got, err := audit.Resource(t.Context(), r, filepath.ToSlash(name))
				if !bytes.Equal(got, want) {
					t.Errorf("%s: served and exported bytes differ", name)
				}
				return err
			})
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Any changed byte of entries, tiles or checkpoint is found.
func TestExportTampered(t *testing.T) {
	dir, f := exported(t, 300)
	var files []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(path) != "key" && filepath.Base(filepath.Dir(path)) != "entries" && !bytes.Contains([]byte(path), []byte("entries/")) {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, len(old) / 3, len(old) / 2, len(old) - 2} {
			bad := bytes.Clone(old)
			bad[at] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := verifyExport(t, dir, f); err == nil {
				t.Errorf("%s: byte %d of %d was changed, and nobody saw it", path, at, len(old))
			}
		}
		if err := os.WriteFile(path, old[:len(old)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verifyExport(t, dir, f); err == nil {
			t.Errorf("%s was cut, and nobody saw it", path)
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := verifyExport(t, dir, f); err != nil {
		t.Error(err)
	}
	if len(files) < 5 {
		t.Errorf("%d files were tried", len(files))
	}
	err := f.Store.View(t.Context(), func(r registry.Reader) error {
		for _, path := range []string{"", "tile", "tile/0", "tile/0/001", "tile/entries/001.p/300", "tile/entries/9/9", "tile/8/data/000", "tile/0/../000", "tile/0/001.p/45"} {
			if b, err := audit.Resource(t.Context(), r, path); !errors.Is(err, audit.ErrMissing) {
				t.Errorf("Resource(%q) = %d bytes, %v; want ErrMissing", path, len(b), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
