package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// TestStray: a pulled folder holds what was admitted and nothing else.
func TestStray(t *testing.T) {
	const body = "weights"
	m := registry.Manifest{Files: []registry.File{{Path: "sub/w.bin", Digest: warden.Sum([]byte(body)), Size: int64(len(body))}}}
	for _, x := range []struct {
		name, file, body string
		link, ok         bool
	}{
		{name: "same", file: "sub/w.bin", body: body, ok: true},
		{name: "broken_off", file: "sub/w.bin.part", body: "wei", ok: true},
		{name: "other_bytes", file: "sub/w.bin", body: "WEIGHTS"},
		{name: "longer", file: "sub/w.bin", body: body + "!"},
		{name: "other_file", file: "sub/x.bin", body: body},
		{name: "other_part", file: "sub/x.bin.part", body: body},
		{name: "link", file: "sub/w.bin", body: body, link: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, filepath.FromSlash(x.file))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			target := name
			if x.link {
				target = filepath.Join(t.TempDir(), "elsewhere")
				if err := os.Symlink(target, name); err != nil {
					t.Skip("no symbolic links here")
				}
			}
			if err := os.WriteFile(target, []byte(x.body), 0o600); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			switch err := stray(root, m); {
			case x.ok && err != nil:
				t.Errorf("stray = %v", err)
			case !x.ok && (err == nil || !strings.Contains(err.Error(), "nothing was written")):
				t.Errorf("stray = %v, want a refusal", err)
			}
		})
	}
}
