package api_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/modelwarden/warden/internal/api"
)

var update = flag.Bool("update", false, "rewrite docs/api/openapi.yaml")

// TestOpenAPIIsCurrent: the committed description is what the code serves.
func TestOpenAPIIsCurrent(t *testing.T) {
	got, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("..", "..", "docs", "api", "openapi.yaml")
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || string(want) != string(got) {
		t.Errorf("docs/api/openapi.yaml is not current (%v): run make generate", err)
	}
}
