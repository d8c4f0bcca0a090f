package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

// facts are what the files that are no code say, and what was computed.
type facts struct {
	docs []placed

	cut   bool // the graph lacks files that may call what it has
	whole bool // the graph is to hold all code, not only what matters
	once  sync.Once
	graph *flow.Graph
	reach *flow.Reach
	rows  *recognise.Rows
	err   error
	mu    sync.Mutex // guards seen, and the graph while it is asked
	seen  []sight.Sighting
}

type placed struct {
	doc  config.Doc
	file *File
}

func (f *facts) add(d *config.Doc, file *File) {
	if len(d.Sightings)+len(d.Env)+len(d.Packages)+len(d.Entries) > 0 || d.Value != nil {
		f.docs = append(f.docs, placed{*d, file})
	}
}

// Whole makes [Tree.Flow] analyse all code, not only what can matter for an
// inventory. It must be called before anything that needs the graph.
func (t *Tree) Whole() { t.facts.whole = true }

// Flow returns the call graph of the tree's code, and what can be reached in it.
// It is computed at the first call; ctx bounds that.
func (t *Tree) Flow(ctx context.Context) (*flow.Graph, *flow.Reach) {
	t.facts.once.Do(func() { t.analyse(ctx) })
	return t.facts.graph, t.facts.reach
}

// mostWork bounds the analysis for an inventory, some ten seconds.
const mostWork = 8_000_000

func (t *Tree) analyse(ctx context.Context) {
	env := map[string][]flow.Given{}
	for name, vs := range t.Env() {
		for _, v := range vs {
			if !v.Default {
				env[name] = append(env[name], flow.Given{Text: v.Value, Path: v.At.Path, Line: v.At.Line})
			}
		}
	}
	units := t.units()
	sets, work, whole := [][]flow.Unit{units}, 0, true
	cat, err := rules.LoadCatalogue()
	if err == nil {
		t.facts.rows = recognise.Compile(cat)
	}
	t.facts.err = err
	if err == nil && !t.facts.whole {
		sets, whole = relevant(units, t.facts.rows)
		work = mostWork
		t.drop(sets)
	}
	lib := flow.PythonLibrary()
	if cat != nil {
		lib.Constants = cat.ConstantIDs()
	}
	for i, set := range sets {
		t.facts.graph = flow.Analyse(ctx, set, lib, flow.Options{Environment: env, File: t.data, Work: work})
		t.facts.cut = i > 0 || !whole
		if !errors.Is(t.facts.graph.Incomplete, flow.ErrLimit) || i == len(sets)-1 {
			break
		}
	}
	if t.facts.cut {
		t.Statuses = append(t.Statuses, Status{Reader: "source/flow", State: "not_examined", Detail: fmt.Sprintf(
			"calls and values are followed in %d of %d files, those next to uses of AI: what leads there from farther away is at most possibly reachable", len(t.facts.graph.Units()), len(units))})
	}
	if err := t.facts.graph.Incomplete; err != nil {
		t.Statuses = append(t.Statuses, Status{Reader: "source/flow", State: "partial", Detail: err.Error()})
	}
	entries := t.entries()
	t.facts.reach = t.facts.graph.Reach(entries)
}

// drop forgets the syntax of files that no set has: nobody asks for it.
func (t *Tree) drop(sets [][]flow.Unit) {
	keep := map[string]bool{}
	for _, set := range sets {
		for i := range set {
			keep[set[i].Path] = true
		}
	}
	for _, f := range t.Files {
		if !keep[f.Path] {
			f.Syntax = nil
		}
	}
}

// entries are where programs begin: what the code itself says, what
// configurations name, and, if that gives no program, the surface of a library.
func (t *Tree) entries() []flow.Entry {
	g := t.facts.graph
	out := slices.DeleteFunc(g.Entries(), func(e flow.Entry) bool { return foreign(g.Units()[g.Func(e.Func).Unit].Path) })
	mods := t.modules()
	for _, d := range t.facts.docs {
		for _, e := range d.doc.Entries {
			name := e.Module
			if name == "" {
				p := e.Path
				if d.file != nil {
					p = path.Join(path.Dir(d.file.Path), p)
				}
				if s := mods.built(p); s != "" {
					p = s
				}
				name = strings.ReplaceAll(strings.TrimSuffix(p, path.Ext(p)), "/", ".")
			}
			if e.Func != "" {
				if f, ok := g.Lookup(name + ":" + e.Func); ok {
					out = append(out, flow.Entry{Func: f, Kind: "program", Name: e.Via})
				}
			}
			if f, ok := g.Lookup(name); ok {
				out = append(out, flow.Entry{Func: f, Kind: "program", Name: e.Via})
			}
		}
	}
	out = append(out, t.scripts(g)...)
	for _, e := range out {
		if !e.Test && !e.Possibly && !t.facts.cut {
			return out
		}
	}
	return append(out, slices.DeleteFunc(g.Surface(), func(e flow.Entry) bool { return foreign(g.Units()[g.Func(e.Func).Unit].Path) })...)
}

// units are the files of code as modules, in the order of their paths.
func (t *Tree) units() []flow.Unit {
	var out []flow.Unit
	script, gopath := flow.JavaScript(t.modules().resolve), t.packages()
	golang := flow.Golang(func(_ flow.Unit, name string) string { return gopath.resolve(name) })
	managed, vm := map[Lang]*flow.Language{}, t.namespaces()
	for _, f := range t.Files {
		if f.Syntax == nil {
			continue
		}
		var l *flow.Language
		switch f.Lang {
		case Python, Notebook:
			l = flow.Python()
		case JavaScript:
			l = script
		case Go:
			l = golang
		case Java, Kotlin, CSharp:
			if l = managed[f.Lang]; l == nil {
				l = flow.Managed(string(f.Lang), vm)
				managed[f.Lang] = l
			}
		default:
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f.Path, installedPrefix), path.Ext(f.Path))
		pkg := path.Base(name) == "__init__" && l.Import == nil
		if pkg {
			name = strings.TrimSuffix(strings.TrimSuffix(name, "__init__"), "/")
		}
		group := ""
		if strings.HasPrefix(f.group, "vm:") {
			group = f.group
		} else if f.group != "" {
			group = path.Dir(f.Path) + ":" + f.group
		}
		out = append(out, flow.Unit{
			Name: strings.ReplaceAll(name, "/", "."), Path: f.Path, Package: pkg, Notebook: f.Lang == Notebook,
			Language: l, File: f.Syntax, Group: group,
		})
	}
	return out
}

// data gives the content of a configuration file that a program opens, if one
// file of the tree has that name.
func (t *Tree) data(name string) (flow.Data, bool) {
	name = strings.TrimPrefix(path.Clean(strings.ReplaceAll(name, `\`, "/")), "/")
	var best *placed
	for i := range t.facts.docs {
		d := &t.facts.docs[i]
		if d.doc.Value == nil || d.file == nil {
			continue
		}
		if d.file.Path == name || strings.HasSuffix(d.file.Path, "/"+name) || strings.HasPrefix(name, "*") && strings.HasSuffix(d.file.Path, strings.TrimLeft(name, "*/")) && len(strings.TrimLeft(name, "*/")) > 3 {
			if best == nil || len(d.file.Path) < len(best.file.Path) {
				best = d
			}
		}
	}
	if best == nil {
		return flow.Data{}, false
	}
	return toData(best.doc.Value, best.file.Path), true
}

func toData(v *config.Value, file string) flow.Data {
	d := flow.Data{Text: v.Text, Path: file, Line: v.Line}
	switch v.Kind {
	case config.String:
		d.Kind = flow.String
	case config.Number:
		d.Kind = flow.Number
	case config.Bool:
		d.Kind = flow.Bool
		d.Text = "False"
		if v.Text == "true" {
			d.Text = "True"
		}
	case config.List:
		d.Kind = flow.List
	case config.Map:
		d.Kind, d.Keys = flow.Dict, v.Keys
	default:
		d.Kind = flow.None
	}
	for _, k := range v.Kids {
		d.Items = append(d.Items, toData(k, file))
	}
	return d
}

// Env returns the variables that files of the tree set, by name.
func (t *Tree) Env() map[string][]config.Variable {
	out := map[string][]config.Variable{}
	for _, d := range t.facts.docs {
		for _, v := range d.doc.Env {
			out[v.Name] = append(out[v.Name], v)
		}
	}
	return out
}

// Packages returns what manifests and lock files declare, sorted.
func (t *Tree) Packages() []config.Package {
	var out []config.Package
	for _, d := range t.facts.docs {
		out = append(out, d.doc.Packages...)
	}
	slices.SortFunc(out, func(a, b config.Package) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.At.Path, b.At.Path), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.Version, b.Version))
	})
	return out
}

// Sightings returns what of AI is in the tree, merged and sorted. It is computed
// at the first call; ctx bounds that. The error is that of a catalogue that
// cannot be read.
func (t *Tree) Sightings(ctx context.Context) ([]sight.Sighting, error) {
	g, reach := t.Flow(ctx)
	t.facts.mu.Lock()
	defer t.facts.mu.Unlock()
	if t.facts.seen != nil || t.facts.err != nil {
		return t.facts.seen, t.facts.err
	}
	paths := map[string]bool{}
	byPath := map[string]*File{}
	for _, f := range t.Files {
		byPath[f.Path] = f
		for p := f.Path; p != "." && !paths[p]; p = path.Dir(p) {
			paths[p] = true
		}
	}
	scope := func(p string) sight.Scope {
		if f := byPath[p]; f != nil {
			return f.Scope
		}
		return scopeOf(p)
	}
	seen := t.facts.rows.Calls(ctx, recognise.Input{
		Graph: g, Reach: reach, Scope: scope, Packages: t.Packages(), Env: t.Env(),
		Cells: func(p string) []int {
			if f := byPath[p]; f != nil {
				return f.Cells
			}
			return nil
		},
		Exists: func(p string) bool { return paths[path.Clean(p)] },
	})
	if names := t.ownNames(g); names != nil {
		seen = ownUse(seen, names)
	}
	for _, d := range t.facts.docs {
		seen = append(seen, d.doc.Sightings...)
	}
	for i := range seen {
		seen[i].Redact()
	}
	weights := t.weights()
	joinFiles(seen, weights)
	t.facts.seen = sight.Merge(append(seen, weights...))
	if t.facts.seen == nil {
		t.facts.seen = []sight.Sighting{}
	}
	return t.facts.seen, nil
}

// scripts are files whose own code runs and that no file imports: somebody may
// start them, though nothing says so.
func (t *Tree) scripts(g *flow.Graph) []flow.Entry {
	imported := map[string]bool{}
	units := g.Units()
	for i := range units {
		for _, name := range importsOf(&units[i]) {
			for ; name != ""; name = parentOf(name) {
				imported[name] = true
			}
		}
	}
	var out []flow.Entry
	for i := range g.Len() {
		f := g.Func(flow.FuncID(i))
		u := &units[f.Unit]
		if f.Node != nil || u.Package || u.Language.Name != "python" || foreign(u.Path) {
			continue
		}
		used := false
		for name := u.Name; name != "" && !used; {
			used = imported[name]
			_, rest, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			name = rest
		}
		if !used {
			out = append(out, flow.Entry{Func: flow.FuncID(i), Kind: "program", Name: u.Path, Possibly: true})
		}
	}
	return out
}

// joinFiles gives a file that code loads the path that it has in the tree: as it
// is written, beside the code, or the one file whose path ends so.
func joinFiles(seen, weights []sight.Sighting) {
	paths, bases := map[string]bool{}, map[string][]string{}
	for i := range weights {
		paths[weights[i].Name] = true
		base := path.Base(weights[i].Name)
		bases[base] = append(bases[base], weights[i].Name)
	}
	for i := range seen {
		s := &seen[i]
		if s.Kind != sight.ModelFile || s.Name == "" || paths[s.Name] || len(s.Evidence) == 0 {
			continue
		}
		if beside := path.Join(path.Dir(s.Evidence[len(s.Evidence)-1].Path), s.Name); paths[beside] {
			s.Name = beside
			continue
		}
		found := ""
		for _, p := range bases[path.Base(s.Name)] {
			if strings.HasSuffix(p, "/"+strings.TrimLeft(s.Name, "./")) {
				if found != "" {
					found = ""
					break
				}
				found = p
			}
		}
		if found != "" {
			s.Name = found
		}
	}
}

// ownNames are the names of the functions of the tree's own code, where packages
// were followed too; nil otherwise.
func (t *Tree) ownNames(g *flow.Graph) map[string]bool {
	if !slices.ContainsFunc(t.Files, func(f *File) bool { return foreign(f.Path) }) {
		return nil
	}
	names := map[string]bool{}
	for i := range g.Len() {
		if f := g.Func(flow.FuncID(i)); !foreign(g.Units()[f.Unit].Path) {
			names[f.Name] = true
		}
	}
	return names
}

// Rows returns the catalogue that [Tree.Sightings] compared the tree with. It is
// nil before that, and where the catalogue could not be read.
func (t *Tree) Rows() *recognise.Rows { return t.facts.rows }

// weights are the files that may hold a model. Whether they do, whoever reads
// them must tell.
func (t *Tree) weights() []sight.Sighting {
	var out []sight.Sighting
	for _, f := range t.Files {
		if f.Lang != Weights {
			continue
		}
		s := sight.Sighting{Kind: sight.ModelFile, Name: f.Path, State: sight.ConfigOnly, Scope: f.Scope, Digest: f.Digest, Size: f.Size, Evidence: []sight.Place{{Path: f.Path}}}
		if f.Pointer {
			s.Note = "Git LFS pointer"
		}
		out = append(out, s)
	}
	return out
}
