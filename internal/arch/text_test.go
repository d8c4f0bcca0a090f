package arch_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
)

// textFiles lists files that people write, relative to the module's root.
func textFiles(t *testing.T) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(abs(".")), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci" || slices.Contains([]string{"testdata", "node_modules", "dist", "bin"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() && p == "rules":
			return nil
		case slices.Contains([]string{".go", ".md", ".ts", ".svelte", ".yaml", ".yml", ".tsv", ".mjs", ".sql", ".cedar", ".txtar", ".html", ".css"}, path.Ext(p)), d.Name() == "Makefile", p == ".ci/run":
			names = append(names, p)
		}
		return nil
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	return names
}

// TestNoMachinePaths keeps build machines and package registries out of what is
// committed. Rules must name registries to find them in other people's files.
func TestNoMachinePaths(t *testing.T) {
	machine := regexp.MustCompile(`(^|[^A-Za-z0-9_.])/(work|farm|root)/|/tmp/bash_jobs`)
	hosts := regexp.MustCompile(`(?i)\b(proxy\.golang\.org|registry\.npmjs\.org|deb\.debian\.org|pypi\.org/simple)\b`)
	for _, name := range textFiles(t) {
		if strings.HasPrefix(name, "rules/") || name == "internal/arch/text_test.go" {
			continue
		}
		b, err := os.ReadFile(abs(name))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(b, []byte("\n")) {
			if machine.Match(line) || hosts.Match(line) {
				t.Errorf("%s:%d: names a path of a build machine or the host of a package registry", name, i+1)
			}
		}
	}
}

// TestNothingUnfinished fails for marks of unfinished work in code. Open points
// are issues, or lines of docs/STATUS.md.
func TestNothingUnfinished(t *testing.T) {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|not (yet )?implement` + `ed`)
	for _, name := range textFiles(t) {
		if !slices.Contains([]string{".go", ".ts", ".svelte", ".mjs"}, path.Ext(name)) {
			continue
		}
		b, err := os.ReadFile(abs(name))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(b, []byte("\n")) {
			if marks.Match(line) {
				t.Errorf("%s:%d: unfinished", name, i+1)
			}
		}
	}
}

// TestFrameworkReferences: every rule refers to controls that the catalogue has.
func TestFrameworkReferences(t *testing.T) {
	known, err := rules.Controls()
	if err != nil {
		t.Fatal(err)
	}
	owner := map[string]string{}
	for _, d := range slices.Concat(scan.Detectors(), guard.Detectors()) {
		for _, r := range d.Rules {
			if other, ok := owner[string(r.ID)]; ok {
				t.Errorf("%s belongs to %s and to %s", r.ID, other, d.Name)
			}
			owner[string(r.ID)] = d.Name
		}
	}
	all := scan.Rules()
	maps.Copy(all, guard.Rules())
	for id, r := range all {
		if len(r.Frameworks) == 0 || r.Title == "" || r.Advice == "" {
			t.Errorf("%s: title, advice and frameworks are required", id)
		}
		for _, ref := range r.Frameworks {
			if !known[ref] {
				t.Errorf("%s: %q is not in rules/frameworks.yaml", id, ref)
			}
		}
	}
}

// TestParsersAreFuzzed: every reader of hostile bytes has a fuzz target.
func TestParsersAreFuzzed(t *testing.T) {
	fuzzed := map[string]bool{}
	for _, name := range goFiles(t, true) {
		b, err := os.ReadFile(abs(name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") && bytes.Contains(b, []byte("\nfunc Fuzz")) {
			fuzzed[path.Dir(name)] = true
		}
	}
	leaves, err := fs.Glob(os.DirFS(abs(".")), "internal/format/*")
	if err != nil {
		t.Fatal(err)
	}
	exempt := []string{"internal/format/bound", "internal/format/formattest"} // no parser
	for _, dir := range append(leaves, "internal/chat/wire", "internal/chat/openai", "internal/attest", "internal/policy", "internal/registry", "internal/audit") {
		if st, err := os.Stat(abs(dir)); err != nil || !st.IsDir() || slices.Contains(exempt, dir) || path.Base(dir) == "testdata" {
			continue
		}
		if !fuzzed[dir] {
			t.Errorf("%s: no fuzz target", dir)
		}
	}
}
