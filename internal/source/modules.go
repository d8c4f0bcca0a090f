package source

import (
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/flow"
)

// modules resolves what JavaScript imports within a tree: paths beside the
// file, the aliases of tsconfig.json, and the packages of a monorepo.
type modules struct {
	files    map[string]bool
	aliases  []alias           // the longest folder first
	packages map[string]string // name to folder
	mains    map[string]string // folder to what package.json names
	seen     map[[2]string]string
}

// an alias stands for other paths in the files below a folder.
type alias struct {
	dir, prefix, suffix string
	star                bool
	to                  []string // with a * where the rest goes
}

// modules collects what configurations say of modules.
func (t *Tree) modules() *modules {
	m := &modules{files: map[string]bool{}, packages: map[string]string{}, mains: map[string]string{}, seen: map[[2]string]string{}}
	for _, f := range t.Files {
		if f.Lang == JavaScript {
			m.files[f.Path] = true
		}
	}
	for i := range t.facts.docs {
		d := &t.facts.docs[i]
		if d.file == nil || d.doc.Value == nil {
			continue
		}
		dir, base := path.Dir(d.file.Path), path.Base(d.file.Path)
		switch {
		case base == "package.json":
			if name := d.doc.Value.Get("name"); name != nil && name.Text != "" && m.packages[name.Text] == "" {
				m.packages[name.Text] = dir
			}
			for _, key := range [...]string{"source", "module", "main"} {
				if v := d.doc.Value.Get(key); v != nil && v.Text != "" && m.mains[dir] == "" {
					m.mains[dir] = path.Join(dir, v.Text)
				}
			}
		case strings.HasPrefix(base, "tsconfig") && strings.HasSuffix(base, ".json"), base == "jsconfig.json":
			m.configured(dir, d.doc.Value.Get("compilerOptions"))
		}
	}
	slices.SortStableFunc(m.aliases, func(a, b alias) int {
		return len(b.dir) + len(b.prefix) - len(a.dir) - len(a.prefix)
	})
	return m
}

func (m *modules) configured(dir string, options *config.Value) {
	base := dir
	if b := options.Get("baseUrl"); b != nil {
		base = path.Join(dir, b.Text)
		m.aliases = append(m.aliases, alias{dir: dir, star: true, to: []string{path.Join(base, "*")}})
	}
	paths := options.Get("paths")
	if paths == nil {
		return
	}
	for i, k := range paths.Keys {
		a := alias{dir: dir}
		a.prefix, a.suffix, a.star = strings.Cut(k, "*")
		for _, to := range paths.Kids[i].Kids {
			a.to = append(a.to, path.Join(base, to.Text))
		}
		m.aliases = append(m.aliases, a)
	}
}

// endings are tried in this order behind the name that an import gives.
var endings = [...]string{"", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte", "/index.ts", "/index.tsx", "/index.js", "/index.jsx", "/index.mjs", "/index.mts"}

// file finds the file that a path without ending means.
func (m *modules) file(p string) string {
	p = path.Clean(p)
	for _, e := range endings {
		if m.files[p+e] {
			return p + e
		}
	}
	for _, e := range [...]string{".js", ".mjs", ".cjs", ".jsx"} { // TypeScript names what it compiles to
		if stem, ok := strings.CutSuffix(p, e); ok {
			for _, t := range [...]string{".ts", ".tsx", ".mts", ".cts"} {
				if m.files[stem+t] {
					return stem + t
				}
			}
		}
	}
	return ""
}

// resolve finds the file that an import means, or "".
func (m *modules) resolve(from flow.Unit, name string) string {
	dir := path.Dir(from.Path)
	if strings.HasPrefix(name, ".") {
		return m.file(path.Join(dir, name))
	}
	key := [2]string{dir, name}
	if p, ok := m.seen[key]; ok {
		return p
	}
	p := m.outer(dir, name)
	m.seen[key] = p
	return p
}

func (m *modules) outer(dir, name string) string {
	for i := range m.aliases {
		a := &m.aliases[i]
		if a.dir != "." && dir != a.dir && !strings.HasPrefix(dir, a.dir+"/") {
			continue
		}
		rest := ""
		switch {
		case a.star && len(name) >= len(a.prefix)+len(a.suffix) && strings.HasPrefix(name, a.prefix) && strings.HasSuffix(name, a.suffix):
			rest = name[len(a.prefix) : len(name)-len(a.suffix)]
		case !a.star && name == a.prefix:
		default:
			continue
		}
		for _, to := range a.to {
			if p := m.file(strings.Replace(to, "*", rest, 1)); p != "" {
				return p
			}
		}
	}
	for pkg := name; pkg != "" && pkg != "."; pkg = path.Dir(pkg) {
		at, ok := m.packages[pkg]
		if !ok {
			continue
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(name, pkg), "/")
		for _, p := range [...]string{path.Join(at, rest), path.Join(at, "src", rest), path.Join(at, "lib", rest)} {
			if f := m.file(p); f != "" {
				return f
			}
		}
		if rest == "" {
			return m.built(m.mains[at])
		}
		return ""
	}
	for _, mark := range [...]string{"@/", "~/", "~~/", "$lib/", "#"} { // what frameworks set up by themselves
		rest, ok := strings.CutPrefix(name, mark)
		if !ok {
			continue
		}
		for d := dir; ; d = path.Dir(d) {
			for _, sub := range [...]string{"", "src", "app", "src/lib"} {
				if p := m.file(path.Join(d, sub, rest)); p != "" {
					return p
				}
			}
			if d == "." || d == "/" {
				break
			}
		}
	}
	return ""
}

// built finds the source of a file that a build makes: dist/x.js of src/x.ts.
func (m *modules) built(p string) string {
	if p == "" {
		return ""
	}
	if f := m.file(p); f != "" {
		return f
	}
	parts := strings.Split(p, "/")
	for i, part := range parts {
		switch part {
		case "dist", "build", "lib", "out", "esm", "cjs":
			tail := parts[i+1:]
			for len(tail) > 1 && (tail[0] == "esm" || tail[0] == "cjs" || tail[0] == "src") {
				tail = tail[1:]
			}
			stem := strings.TrimSuffix(path.Join(tail...), path.Ext(p))
			for _, src := range [...]string{"src", ""} {
				if f := m.file(path.Join(path.Join(parts[:i]...), src, stem)); f != "" {
					return f
				}
			}
		}
	}
	return ""
}
