package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

// installedPrefix stands before the paths of packages that are not the tree's own.
const installedPrefix = "site-packages/"

// Limits of what is read of an environment.
const (
	mostInstalled      = 20_000
	mostInstalledBytes = 256 << 20
)

// Follow reads the packages that the code imports, and those that they import,
// from an environment's folder site-packages, so that calls are followed into
// them and a model that a dependency loads is seen. Packages that the catalogue
// knows are not read: what they do is known. It must be called before anything
// that needs the graph. Assets of packages count only where the tree's own code
// leads there.
func (t *Tree) Follow(ctx context.Context, root *os.Root) error {
	cat, err := rules.LoadCatalogue()
	if err != nil {
		return err
	}
	rows := recognise.Compile(cat)
	own, queued := map[string]bool{}, map[string]bool{}
	var queue []string
	want := func(names []string) {
		for _, n := range names {
			head, _, _ := strings.Cut(n, ".")
			if head != "" && !queued[head] && !own[head] && !rows.Catalogued("python", head) {
				queued[head] = true
				queue = append(queue, head)
			}
		}
	}
	units := t.units()
	for i := range units {
		head, _, _ := strings.Cut(units[i].Name, ".")
		own[head] = true
	}
	for i := range units {
		if units[i].Language.Name == "python" {
			want(importsOf(&units[i]))
		}
	}
	files, total := 0, int64(0)
	for len(queue) > 0 {
		slices.Sort(queue) // the same order whatever order imports were seen in
		head := queue[0]
		queue = queue[1:]
		for _, name := range modulesOf(root.FS(), head) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if files++; files > mostInstalled || total > mostInstalledBytes {
				t.Statuses = append(t.Statuses, Status{Reader: "source/packages", State: "partial", Detail: fmt.Sprintf("more than %d files: package %s and those after it were not followed", mostInstalled, head)})
				return nil
			}
			f := t.installed(ctx, root, name)
			if f == nil {
				continue
			}
			total += f.Size
			t.Files = append(t.Files, f)
			u := flow.Unit{Name: moduleName(name), Package: path.Base(name) == "__init__.py", File: f.Syntax, Language: flow.Python()}
			want(importsOf(&u))
		}
	}
	slices.SortFunc(t.Files, func(a, b *File) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// modulesOf lists the modules of a package, tests left out.
func modulesOf(fsys fs.FS, head string) []string {
	if !fs.ValidPath(head) {
		return nil
	}
	if info, err := fs.Stat(fsys, head+".py"); err == nil && info.Mode().IsRegular() {
		return []string{head + ".py"}
	}
	var out []string
	err := fs.WalkDir(fsys, head, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case d.IsDir() && p != head && (d.Name() == "tests" || d.Name() == "test" || d.Name() == "testing" || d.Name() == "__pycache__"):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(p, ".py") && len(out) < mostInstalled:
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}

func moduleName(p string) string {
	p = strings.TrimSuffix(strings.TrimSuffix(p, ".py"), "/__init__")
	return strings.ReplaceAll(p, "/", ".")
}

// installed reads one module of an environment.
func (t *Tree) installed(ctx context.Context, root *os.Root, name string) *File {
	info, err := fs.Stat(root.FS(), name)
	if err != nil || info.Size() > DefaultLimits().FileBytes {
		return nil
	}
	e := Entry{Path: installedPrefix + name, Size: info.Size(), Open: func() (io.ReadCloser, error) { return root.Open(filepath.FromSlash(name)) }}
	data, err := slurp(e, DefaultLimits().FileBytes)
	if err != nil {
		t.Statuses = append(t.Statuses, Status{Reader: "source/packages", Path: e.Path, State: "skipped", Detail: reason(err)})
		return nil
	}
	m, errs := python.Parse(ctx, data, python.Limits{})
	if len(errs) > 0 {
		t.Statuses = append(t.Statuses, Status{Reader: "source/packages", Path: e.Path, State: "not_examined", Line: m.Line(int32(min(errs[0].Start, 1<<30))), Detail: errs[0].Message}) //nolint:gosec // bounded
	}
	return &File{Path: e.Path, Lang: Python, Scope: sight.Production, Size: e.Size, Syntax: &m.File}
}

// foreign reports whether a path is in a package that is not the tree's own.
func foreign(p string) bool { return strings.HasPrefix(p, installedPrefix) }

// ownUse drops what only packages have, and nothing of the tree leads to.
func ownUse(all []sight.Sighting, names map[string]bool) []sight.Sighting {
	return slices.DeleteFunc(all, func(s sight.Sighting) bool {
		if len(s.Evidence) == 0 || slices.ContainsFunc(s.Evidence, func(p sight.Place) bool { return !foreign(p.Path) }) {
			return false
		}
		used := (s.State == sight.Reachable || s.State == sight.Possible) && len(s.Stack) > 0 && names[s.Stack[0]]
		return !used || s.Kind == sight.Framework
	})
}
