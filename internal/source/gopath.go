package source

import (
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/flow"
)

// packages resolves what Go imports within a tree: the packages below each
// go.mod.
type packages struct {
	modules []goModule
	first   map[string]string // folder to the first file in it that is no test
}

type goModule struct{ dir, path string }

func (t *Tree) packages() *packages {
	p := &packages{first: map[string]string{}}
	for _, f := range t.Files {
		if f.Lang != Go || f.Syntax == nil || strings.HasSuffix(f.Path, "_test.go") {
			continue
		}
		if d := path.Dir(f.Path); p.first[d] == "" {
			p.first[d] = f.Path
		}
	}
	for i := range t.facts.docs {
		d := &t.facts.docs[i]
		if d.file != nil && path.Base(d.file.Path) == "go.mod" {
			if name := modulePath(d.doc.Value); name != "" {
				p.modules = append(p.modules, goModule{path.Dir(d.file.Path), name})
			}
		}
	}
	slices.SortFunc(p.modules, func(a, b goModule) int { return len(b.path) - len(a.path) })
	return p
}

// namespaces resolves packages of Java and Kotlin and namespaces of C#: to one
// of their files.
func (t *Tree) namespaces() func(flow.Unit, string) string {
	first := map[string]string{}
	for _, f := range t.Files {
		if f.Syntax != nil && strings.HasPrefix(f.group, "vm:") && first[f.group] == "" {
			first[f.group] = f.Path
		}
	}
	return func(_ flow.Unit, name string) string { return first["vm:"+name] }
}

// modulePath is what go.mod calls the module.
func modulePath(v *config.Value) string {
	if m := v.Get("module"); m != nil {
		return m.Text
	}
	return ""
}

// resolve finds a file of the package that an import names, or "".
func (p *packages) resolve(name string) string {
	for _, m := range p.modules {
		if rest, ok := strings.CutPrefix(name, m.path); ok && (rest == "" || rest[0] == '/') {
			return p.first[path.Join(m.dir, strings.TrimPrefix(rest, "/"))]
		}
	}
	return ""
}
