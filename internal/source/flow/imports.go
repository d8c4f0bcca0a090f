package flow

import (
	"slices"
	"sort"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// An importer finds units by the names that imports use.
type importer struct {
	units   []Unit
	byName  map[string]int
	byPath  map[string]int      // of languages with rules of their own
	inside  map[string]bool     // dotted names that have something below them
	regular map[string]bool     // packages with an __init__
	roots   map[string][]string // first part of a name: prefixes below which it stands
}

func newImporter(units []Unit) *importer {
	im := &importer{units: units, byName: map[string]int{}, byPath: map[string]int{}, inside: map[string]bool{}, regular: map[string]bool{}, roots: map[string][]string{}}
	for i, u := range units {
		if u.Language != nil && u.Language.Import != nil {
			im.byPath[u.Path] = i
			continue
		}
		if _, ok := im.byName[u.Name]; !ok {
			im.byName[u.Name] = i
		}
		if u.Package {
			im.regular[u.Name] = true
		}
		for p := parentName(u.Name); p != "" && !im.inside[p]; p = parentName(p) {
			im.inside[p] = true
		}
	}
	seen := map[string]bool{}
	add := func(name string) {
		if p := parentName(name); p != "" && !im.regular[p] && !seen[name] {
			seen[name] = true
			last := name[len(p)+1:]
			im.roots[last] = append(im.roots[last], p)
		}
	}
	for _, u := range units {
		if u.Language != nil && u.Language.Import != nil {
			continue
		}
		add(u.Name)
	}
	for p := range im.inside {
		add(p)
	}
	for _, l := range im.roots {
		sort.Strings(l)
	}
	return im
}

func parentName(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i]
	}
	return ""
}

// exact returns the unit of that very name, -1 for a folder without one.
func (im *importer) exact(name string) (int, bool) {
	if i, ok := im.byName[name]; ok {
		return i, true
	}
	return -1, im.inside[name]
}

// find resolves an absolute name as it is used in a unit. The full name is the
// one from the root; unit is -1 for a folder.
func (im *importer) find(from int, name string) (unit int, full string, ok bool) {
	u := &im.units[from]
	if u.Language.Import != nil {
		if unit, ok = im.byPath[u.Language.Import(*u, name)]; ok {
			return unit, im.units[unit].Name, true
		}
		if u.Language.Name == "go" {
			name = strings.TrimSuffix(major.ReplaceAllString(name, "/"), "/")
		}
		return -1, strings.TrimPrefix(name, "node:"), false
	}
	head, _, _ := strings.Cut(name, ".")
	dir := u.Name
	if !u.Package {
		dir = parentName(dir)
	}
	try := func(prefix string) bool {
		h := head
		full = name
		if prefix != "" {
			h, full = prefix+"."+head, prefix+"."+name
		}
		if i, found := im.exact(h); !found || i == from && head != name {
			return false
		}
		unit, ok = im.exact(full)
		return ok
	}
	if dir == "" || im.regular[dir] {
		if try("") {
			return unit, full, true
		}
	}
	for p := dir; p != ""; p = parentName(p) {
		if (name != u.Name || p != dir) && p+"."+name != u.Name && try(p) {
			return unit, full, true
		}
	}
	if try("") {
		return unit, full, true
	}
	if slices.ContainsFunc(im.roots[head], try) {
		return unit, full, true
	}
	return -1, name, false
}

// absolute resolves the module of a from statement.
func (im *importer) absolute(from int, text string) (string, bool) {
	name := strings.TrimLeft(text, ".")
	dots := len(text) - len(name)
	u := &im.units[from]
	if dots == 0 || u.Language.Import != nil {
		return text, false
	}
	base := u.Name
	if u.Package {
		dots--
	}
	for ; dots > 0; dots-- {
		base = parentName(base)
	}
	switch {
	case base == "":
		return name, true
	case name == "":
		return base, true
	}
	return base + "." + name, true
}

// module finds the module that a statement names, and starts it if it has not
// run. It returns the value of it; path is its name if it is outside.
func (e *exec) module(name string, relative bool) (v val, path string, inside bool) {
	im, a := e.a.imports, e.a
	var unit int
	full := name
	var ok bool
	if relative {
		if name == "" {
			return a.intern(info{kind: vModule, unit: -1}), "", true
		}
		unit, ok = im.exact(name)
	} else {
		unit, full, ok = im.find(e.fr.unit, name)
	}
	if !ok {
		return 0, full, false
	}
	e.flush()
	a.start(e.fr, full, unit)
	return a.intern(info{kind: vModule, unit: unit, text: full}), full, true
}

// start runs a module, and the packages around it, that did not run yet.
func (a *analysis) start(by *frame, full string, unit int) {
	if p := parentName(full); p != "" && (unit < 0 || a.g.units[unit].Language.Import == nil) {
		if u, ok := a.imports.exact(p); ok && (u < 0 || a.modules[u].runs == 0 || !slices.Contains(by.starts, a.modules[u])) {
			a.start(by, p, u)
		}
	}
	if unit < 0 {
		return
	}
	fr := a.modules[unit]
	fr.imported = true
	if fr != by && !slices.Contains(by.starts, fr) {
		by.starts = append(by.starts, fr)
	}
	if fr.runs == 0 && !fr.active {
		fr.called = true
		a.run(fr)
	}
}

func (e *exec) importStmt(n *syntax.Node) {
	for _, al := range n.Kids {
		if !e.a.step() {
			return
		}
		v, path, inside := e.module(al.Text, false)
		if as := al.Kid(0); as != nil {
			s := one(v, nil)
			if !inside {
				s = e.outside(path)
			}
			e.assignName(as.Text, s, as)
			continue
		}
		head, _, more := strings.Cut(al.Text, ".")
		s := one(v, nil)
		if more {
			hv, hpath, hin := e.module(head, false)
			if s = one(hv, nil); !hin {
				s = e.outside(hpath)
			}
		} else if !inside {
			s = e.outside(path)
		}
		e.assignName(head, s, al)
	}
}

func (e *exec) outside(path string) set {
	if s, ok := e.constant(path); ok {
		return s
	}
	v, ok := e.a.ext(path, nil, 0)
	if !ok {
		return unknown()
	}
	return one(v, nil)
}

// constant is what an outside name stands for, where the library knows.
func (e *exec) constant(path string) (set, bool) {
	if e.a.lib == nil || len(e.a.lib.Constants) == 0 {
		return set{}, false
	}
	id, ok := e.a.lib.Constants[path]
	if !ok {
		return set{}, false
	}
	st := (*step)(nil).then(Constant, path[strings.LastIndexByte(path, '.')+1:], e.fr.unit, e.fr.node)
	if e.fr.node == nil {
		st = nil
	}
	return one(e.a.str(id), st), true
}

func (e *exec) fromStmt(n *syntax.Node) {
	name, relative := e.a.imports.absolute(e.fr.unit, n.Text)
	if e.a.g.units[e.fr.unit].Language.Name == "javascript" {
		if s, ok := e.dataModule(name, n); ok {
			for _, al := range n.Kids {
				if as := al.Kid(0); as != nil {
					e.assignName(as.Text, s, as)
				}
			}
			return
		}
	}
	v, path, inside := e.module(name, relative)
	var members set // of a class whose members are imported
	if !inside && e.a.g.units[e.fr.unit].Language.Implicit {
		if p := parentName(name); p != "" {
			if mv, _, ok := e.module(p, false); ok {
				members = e.moduleAttr(mv, name[len(p)+1:])
			}
		}
	}
	for _, al := range n.Kids {
		if !e.a.step() {
			return
		}
		if len(members.vals) > 0 && al.Text != "*" {
			e.assignName(al.Text, e.attr(members, al.Text, al), al)
			continue
		}
		if al.Text == "*" {
			e.importAll(v, path, inside)
			continue
		}
		local := al.Text
		if as := al.Kid(0); as != nil {
			local = as.Text
		}
		var s set
		if inside {
			s = e.moduleAttr(v, al.Text)
		} else {
			s = e.outside(path + "." + al.Text)
		}
		e.assignName(local, s, al)
	}
}

// importAll binds what a module exports.
func (e *exec) importAll(v val, path string, inside bool) {
	a := e.a
	mine := a.modules[e.fr.unit]
	if !inside {
		if l := a.extStars[mine]; len(l) == 0 || a.g.units[e.fr.unit].Language.Implicit && len(l) < 24 && !slices.Contains(l, path) {
			a.extStars[mine] = append(l, path)
		}
		return
	}
	unit := a.info(v).unit
	if unit < 0 || a.modules[unit] == mine {
		return
	}
	if g := a.g.units[unit].Group; g != "" && a.g.units[unit].Language.Implicit { // looked up by name
		if l := a.extStars[mine]; len(l) < 24 && !slices.Contains(l, strings.TrimPrefix(g, "vm:")) {
			a.extStars[mine] = append(l, strings.TrimPrefix(g, "vm:"))
		}
		return
	}
	from := a.modules[unit]
	if p := a.extStars[from]; len(p) > 0 && len(a.extStars[mine]) == 0 {
		a.extStars[mine] = p
	}
	e.readAny(from.vars)
	var names []string
	if from.scope.binds["__all__"] != nil {
		for _, x := range e.items(e.readCell(from.vars.cell("__all__"))).vals {
			if i := a.info(x.v); i.kind == vString {
				names = append(names, i.text)
			}
		}
	} else {
		for _, k := range from.vars.keys {
			if !strings.HasPrefix(k, "_") && k != "default" && k != "module.exports" {
				names = append(names, k)
			}
		}
	}
	sort.Strings(names)
	for _, k := range names {
		if s := e.moduleAttr(v, k); len(s.vals) > 0 {
			e.writeCell(mine.vars.cell(k), s)
		}
	}
}

// moduleAttr reads a name of a module: a variable, or a module below it.
func (e *exec) moduleAttr(v val, name string) set {
	a := e.a
	i := *a.info(v)
	if i.unit >= 0 {
		m := a.modules[i.unit]
		if m.scope.binds[name] != nil || m.vars.peek(name) != nil {
			s := e.readCell(m.vars.cell(name))
			if !s.empty() || m.scope.binds[name] != nil && !a.below(i.text, name) {
				return s
			}
		}
		if g := a.g.units[i.unit].Group; g != "" {
			if k, ok := a.groups[g][name]; ok && k != i.unit {
				return e.shared(k, name)
			}
			return set{}
		}
		if name != "module.exports" && m.scope.binds["module.exports"] != nil {
			s := e.moduleAttr(v, "module.exports")
			if name == "default" {
				return s
			}
			return e.attr(s, name, m.node)
		}
	}
	full := name
	if i.text != "" {
		full = i.text + "." + name
	}
	if u, ok := a.imports.exact(full); ok {
		e.flush()
		a.start(e.fr, full, u)
		return one(a.intern(info{kind: vModule, unit: u, text: full}), nil)
	}
	if i.unit >= 0 {
		m := a.modules[i.unit]
		if p := a.extStars[m]; len(p) > 0 {
			return e.outside(p[0] + "." + name)
		}
		if m.active || m.runs == 0 { // a star import may still bring it
			return e.readCell(m.vars.cell(name))
		}
		if m.scope.binds["__getattr__"] != nil {
			return e.callInside(e.readCell(m.vars.cell("__getattr__")), &args{pos: []set{one(a.str(name), nil)}})
		}
	}
	return unknown()
}

func (a *analysis) below(pkg, name string) bool {
	_, ok := a.imports.exact(pkg + "." + name)
	return ok
}
