// Command callables writes the generated part of the table of callables that
// pickle streams can name. It reads source trees of Python packages, which lie
// outside the project, and tells of every function what it can come to, of
// every class whether building an object of it can run anything. README.md
// says how a maintainer runs it.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/python"
)

//go:embed sinks.tsv
var sinksText string

// A tree is a row of the manifest.
type tree struct {
	name, version, origin string
	root                  string // below the folder of the trees
	roots                 []string
	world                 string
}

func main() {
	manifest := flag.String("manifest", "manifest.tsv", "list of source trees")
	trees := flag.String("trees", "", "folder with the source trees")
	out := flag.String("out", "../../rules/modelfile/callables_generated.tsv", "table to write")
	human := flag.String("human", "../../rules/modelfile/callables.tsv", "table written by hand")
	explain := flag.String("explain", "", "comma-separated names to explain instead of writing")
	list := flag.String("gadgets", "gadgets.tsv", "callables that must come out dangerous; the file is brought up to date")
	flag.Parse()
	g := generator{manifest: *manifest, trees: *trees, out: *out, human: *human, explain: *explain, gadgets: *list, log: os.Stderr} //nolint:forbidigo // a program
	if err := g.run(context.Background()); err != nil {                                                                             //nolint:forbidigo // a program
		fmt.Fprintln(g.log, "callables:", err)
		os.Exit(1) //nolint:forbidigo // a program
	}
}

// A generator is one run of the program: files to read and write.
type generator struct {
	manifest, trees, out, human, gadgets string
	explain                              string // names, or "" to write the table
	log                                  io.Writer
}

func (g *generator) run(ctx context.Context) error {
	if g.trees == "" {
		return fmt.Errorf("no folder of source trees (hint: -trees DIR, see README.md)")
	}
	list, err := readManifest(g.manifest)
	if err != nil {
		return err
	}
	hand, err := readHand(g.human)
	if err != nil {
		return err
	}
	t := newTable(hand)
	for _, name := range worldsOf(list) {
		w := &world{modules: map[string]*module{}, sinks: readSinks()}
		for _, tr := range list {
			if tr.world != name && tr.world != "*" {
				continue
			}
			n, err := w.load(ctx, tr, filepath.Join(g.trees, tr.root))
			if err != nil {
				return fmt.Errorf("tree %s: %w", tr.name, err)
			}
			if n == 0 {
				return fmt.Errorf("tree %s: no Python file below %q (hint: see the manifest for where it comes from)", tr.name, tr.root)
			}
			fmt.Fprintf(g.log, "%s: %s %s: %d files\n", name, tr.name, tr.version, n)
		}
		w.solve()
		if g.explain != "" {
			for n := range strings.SplitSeq(g.explain, ",") {
				w.explain(g.log, n)
			}
			continue
		}
		t.take(w)
	}
	if g.explain != "" {
		return nil
	}
	if err := t.gadgets(g.gadgets, g.log); err != nil {
		return err
	}
	return t.write(g.out, list, g.log)
}

func worldsOf(list []tree) []string {
	var out []string
	for _, t := range list {
		if t.world != "*" && !slices.Contains(out, t.world) {
			out = append(out, t.world)
		}
	}
	return out
}

// readManifest reads rows of world, name, version, origin, folder, packages.
func readManifest(name string) ([]tree, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var list []tree
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		c := strings.Split(line, "\t")
		if len(c) != 6 {
			return nil, fmt.Errorf("%s:%d: %d columns, want 6: world, name, version, origin, folder, packages", name, i+1, len(c))
		}
		list = append(list, tree{world: c[0], name: c[1], version: c[2], origin: c[3], root: c[4], roots: strings.Split(c[5], ",")})
	}
	return list, nil
}

func readSinks() map[string]sink {
	out := map[string]sink{}
	for line := range strings.Lines(sinksText) {
		c := strings.Split(strings.TrimSpace(line), "\t")
		if len(c) == 3 && c[0][0] != '#' {
			out[c[0]] = sink{c[1], strings.Split(c[2], ",")}
		}
	}
	return out
}

// skipped are folders whose modules no stream needs.
var skipped = set("tests test testing_ __pycache__ examples docs benchmarks site-packages node_modules")

// load reads the packages of a tree.
func (w *world) load(ctx context.Context, t tree, root string) (int, error) {
	n := 0
	for _, top := range t.roots {
		start := filepath.Join(root, filepath.FromSlash(top))
		if top == "." {
			start = root
		}
		if _, err := os.Stat(start); err != nil {
			start += ".py" // a module, not a package
		}
		err := filepath.WalkDir(start, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				keep := strings.HasPrefix(filepath.ToSlash(rel), "test/support")
				if skipped[d.Name()] && !keep && path != start && filepath.ToSlash(rel) != "test" {
					return filepath.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(path, ".py") || !d.Type().IsRegular() || strings.HasSuffix(path, "_test.py") || strings.HasPrefix(d.Name(), "test_") || d.Name() == "conftest.py" {
				return nil
			}
			name := strings.ReplaceAll(strings.TrimSuffix(filepath.ToSlash(rel), ".py"), "/", ".")
			if strings.HasPrefix(name, "test.") && !strings.HasPrefix(name, "test.support") {
				return nil
			}
			n++
			return w.file(ctx, t, path, name)
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (w *world) file(ctx context.Context, t tree, path, name string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m := &module{name: name, tree: t.name + " " + t.version, funcs: map[string]*function{}, classes: map[string]*class{}, names: map[string]string{}}
	if pkg, ok := strings.CutSuffix(name, ".__init__"); ok {
		m.name, m.pkg = pkg, true
	}
	parsed, _ := python.Parse(ctx, src, python.Limits{}) // what does not parse is not in the table
	r := &reader{mod: m}
	r.module(parsed.Body)
	if w.modules[m.name] == nil {
		w.modules[m.name] = m
		w.funcs = append(w.funcs, r.all...)
		w.classes = append(w.classes, r.cls...)
	}
	return nil
}

// explain prints what is known of a name.
func (w *world) explain(out io.Writer, name string) {
	e := w.absolute(name, 0)
	switch {
	case e.fn != nil:
		fmt.Fprintf(out, "%s: function %s odd=%q\n", name, e.fn.name, e.fn.odd)
		for effect, r := range e.fn.reach {
			fmt.Fprintf(out, "  %s from %b: %s\n", effect, r.from, e.fn.path(effect))
		}
	case e.cls != nil:
		built, called, why := w.inert(e.cls)
		fmt.Fprintf(out, "%s: class built=%v called=%v %s\n", name, built, called, why)
		for _, s := range [...]string{"__new__", "__init__", "__setstate__"} {
			if f := w.method(e.cls, s, nil); f != nil {
				for effect, r := range f.reach {
					fmt.Fprintf(out, "  %s: %s from %b: %s\n", s, effect, r.from, f.path(effect))
				}
			}
		}
	default:
		fmt.Fprintf(out, "%s: not found (%s)\n", name, e.name)
	}
}
