package cli_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// volatile finds what differs without a change of the outputs: the version of
// the rules, numbers that are made from it, and the time that a run took.
var volatile = regexp.MustCompile(`\d{4}\.\d\d\.\d\d\+sha256:[0-9a-f]+|[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|\d+\.\d s\b`)

// TestInventoryOutputs runs the command on a small application, in every format.
func TestInventoryOutputs(t *testing.T) {
	app := filepath.Join("..", "inventory", "testdata", "app")
	for _, format := range []string{"text", "json", "cyclonedx", "spdx", "sarif", "html"} {
		t.Run(format, func(t *testing.T) {
			run := func() []byte {
				var out, errs bytes.Buffer
				code := cli.Run(t.Context(), cli.Process{Args: []string{"inventory", "--format", format, app}, Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs})
				if code != 0 || errs.Len() > 0 {
					t.Fatalf("exit code %d\n%s", code, &errs)
				}
				return volatile.ReplaceAll(out.Bytes(), []byte("VOLATILE"))
			}
			got := run()
			if d := cmp.Diff(string(got), string(run())); d != "" {
				t.Errorf("two runs differ:\n%s", d)
			}
			golden := filepath.Join("testdata", "inventory", "app."+format+".golden")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got (go test ./internal/cli -run Outputs -update writes it anew; read the difference):\n%s", d)
			}
		})
	}
}
