package observe_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest/observe"
)

func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads are observed on Linux")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"in.txt": "input", "unused.txt": "not read", "gone.txt": "x", "sub/data.csv": "1,2"} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const script = `cat in.txt sub/data.csv > out.bin; mkdir -p made/deep; echo late > made/deep/m.txt; rm gone.txt; exit 3`
	r, err := observe.Run(t.Context(), observe.Config{Command: []string{"sh", "-c", script}, Dir: dir, Env: os.Environ(), Folders: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Incomplete) > 0 {
		t.Skipf("this machine does not tell: %v", r.Incomplete)
	}
	names := func(files []observe.File) string {
		var out []string
		for _, f := range files {
			rel, err := filepath.Rel(dir, f.Path)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return strings.Join(out, " ")
	}
	if got := names(r.Read); got != "in.txt sub/data.csv" {
		t.Errorf("read %q", got)
	}
	if got := names(r.Written); got != "made/deep/m.txt out.bin" {
		t.Errorf("written %q", got)
	}
	if len(r.Removed) != 1 || filepath.Base(r.Removed[0]) != "gone.txt" || r.ExitCode != 3 {
		t.Errorf("removed %v, exit code %d", r.Removed, r.ExitCode)
	}
	for _, f := range r.Written {
		if filepath.Base(f.Path) == "out.bin" && f.Digest != warden.Sum([]byte("input1,2")) {
			t.Errorf("digest of out.bin %v", f.Digest)
		}
	}
}

func TestRunFails(t *testing.T) {
	dir := t.TempDir()
	for name, cfg := range map[string]observe.Config{
		"no_command": {Folders: []string{dir}}, "no_folder": {Command: []string{"true"}},
		"missing_folder":  {Command: []string{"true"}, Folders: []string{filepath.Join(dir, "x")}},
		"missing_command": {Command: []string{filepath.Join(dir, "nothing")}, Folders: []string{dir}},
	} {
		if _, err := observe.Run(t.Context(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
