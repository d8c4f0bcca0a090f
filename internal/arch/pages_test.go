package arch_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/cli"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
)

// TestRulePages: docs/rules holds a page for each rule, as the code has it.
func TestRulePages(t *testing.T) {
	detectors := map[warden.RuleID]string{}
	for _, d := range slices.Concat(scan.Detectors(), guard.Detectors()) {
		for _, r := range d.Rules {
			detectors[r.ID] = fmt.Sprintf("Found by `%s`: %s", d.Name, d.Doc)
		}
	}
	pages := map[string]string{}
	all := scan.Rules()
	maps.Copy(all, guard.Rules())
	for _, r := range slices.Concat(register.Rules(), inventory.ShadowRules()) {
		all[r.ID], detectors[r.ID] = r, "Found by the register of assets (`warden asset list`, `warden findings list`)."
	}
	cat, err := rules.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range code.Rules(cat) {
		all[r.ID], detectors[r.ID] = r, "Found by `warden inventory`: a call or a configuration of a source tree. A switch that is off unless something sets it is reported as low."
	}
	for id, r := range all {
		pages[string(id)+".md"] = fmt.Sprintf("# %s %s\n\nSeverity: %s, or less where the evidence is weaker.\n\n**What to do.** %s\n\n%s\n\nFrameworks: %s\n",
			id, r.Title, r.Severity, r.Advice, detectors[id], strings.Join(r.Frameworks, ", "))
	}
	compare(t, "docs/rules", pages)
}

// TestCommandPages: docs/cli holds the help of each command.
func TestCommandPages(t *testing.T) {
	pages := map[string]string{}
	for _, name := range append(cli.Commands(), "") {
		var out bytes.Buffer
		args := append(strings.Fields(name), "--help")
		if code := cli.Run(t.Context(), cli.Process{Args: args, Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out}); code != 0 {
			t.Fatalf("warden %s --help: exit code %d", name, code)
		}
		title := strings.TrimSpace("warden " + name)
		pages[strings.ReplaceAll(title, " ", "_")+".md"] = fmt.Sprintf("# %s\n\n```text\n%s```\n", title, out.String())
	}
	compare(t, "docs/cli", pages)
}

// compare compares the generated pages with a folder, or writes it with -update.
func compare(t *testing.T, dir string, pages map[string]string) {
	t.Helper()
	if *update {
		if err := os.RemoveAll(abs(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(abs(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join(abs(dir), name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	have, err := filepath.Glob(filepath.Join(abs(dir), "*.md"))
	if err != nil || len(have) != len(pages) {
		t.Errorf("%s has %d pages, want %d (%v): run make pages", dir, len(have), len(pages), err)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(abs(dir), name))
		if err != nil || string(got) != want {
			t.Errorf("%s/%s is not current (%v): run make pages", dir, name, err)
		}
	}
}

// TestReadmeSnippetsCompile builds the Go programs in README.
func TestReadmeSnippetsCompile(t *testing.T) {
	b, err := os.ReadFile(abs("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(b), "```go\n")
	if len(parts) < 2 {
		t.Fatal("README.md shows no Go program")
	}
	for _, p := range parts[1:] {
		code, _, _ := strings.Cut(p, "```")
		name := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(name, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "vet", name)
		cmd.Dir = abs(".")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("a program of README.md does not compile: %v\n%s", err, out)
		}
	}
}
