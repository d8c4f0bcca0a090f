package source

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// relevant keeps the units that can matter for an inventory. Those that import
// a package of AI, or name a provider's host, count with everybody who imports
// them and with what all these import, since values come from there. Those
// that only unpickle or send requests count by themselves. In a tree without
// AI little is left, however large it is.
//
// The sets are tried one after the other while the analysis runs out of its
// bounds: all that, unless it is more than mostFlow bytes; the neighbours of the
// files that matter; these files alone. whole says that the first is all.
func relevant(units []flow.Unit, rows *recognise.Rows) (sets [][]flow.Unit, whole bool) {
	imports := make([][]string, len(units))
	bySuffix := map[string][]int{}
	byPath := map[string]int{}
	for i, u := range units {
		imports[i] = importsOf(&u)
		if u.Language.Import != nil {
			byPath[u.Path] = i
			continue
		}
		for name := u.Name; ; {
			if l := bySuffix[name]; len(l) < 64 {
				bySuffix[name] = append(l, i)
			}
			_, rest, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			name = rest
		}
	}
	target := func(name string) []int {
		for ; name != ""; name = parentOf(name) {
			if l := bySuffix[name]; len(l) > 0 {
				return l
			}
		}
		return nil
	}
	uses, usedBy := make([][]int, len(units)), make([][]int, len(units))
	for i := range units {
		for _, name := range imports[i] {
			found := []int(nil)
			if l := units[i].Language; l.Import == nil {
				found = target(name)
			} else if k, ok := byPath[l.Import(units[i], name)]; ok {
				found = []int{k}
			}
			for _, k := range found {
				if k != i {
					uses[i], usedBy[k] = append(uses[i], k), append(usedBy[k], i)
				}
			}
		}
	}
	groups := map[string]int{}
	for i, u := range units { // the files of a package count together: a ring
		if u.Group == "" {
			continue
		}
		if k, ok := groups[u.Group]; ok {
			uses[i], usedBy[k] = append(uses[i], k), append(usedBy[k], i)
			uses[k], usedBy[i] = append(uses[k], i), append(usedBy[i], k)
			continue
		}
		groups[u.Group] = i
	}
	strong, alone := make([]bool, len(units)), make([]bool, len(units))
	for i := range units {
		strong[i], alone[i] = rows.Matters(units[i].Language.Name, imports[i], units[i].File.Source)
		alone[i] = alone[i] || units[i].Notebook || units[i].Language.Name == "python" && importsByName(units[i].File.Source)
	}
	last := 0
	for _, depth := range [...]int{len(units), 2, 1, 0} {
		keep := closure(closure(strong, usedBy, min(depth, 1+depth/2)), uses, depth)
		var out []flow.Unit
		total := 0
		for i, u := range units {
			if keep[i] || alone[i] {
				out = append(out, u)
				total += len(u.File.Source)
			}
		}
		if (total <= mostFlow || depth == 0) && (len(sets) == 0 || len(out) < last) {
			sets, last = append(sets, out), len(out)
			whole = whole || depth == len(units)
		}
	}
	return sets, whole
}

// mostFlow is how much code is analysed for an inventory: some ten seconds.
const mostFlow = 9 << 20

// closure adds what can be reached in so many steps.
func closure(from []bool, edges [][]int, depth int) []bool {
	in := append([]bool(nil), from...)
	var now, next []int
	for i, s := range in {
		if s {
			now = append(now, i)
		}
	}
	for ; depth > 0 && len(now) > 0; depth-- {
		for _, i := range now {
			for _, k := range edges[i] {
				if !in[k] {
					in[k] = true
					next = append(next, k)
				}
			}
		}
		now, next = next, now[:0]
	}
	return in
}

// importsByName reports whether a file of Python may import what only its
// values tell.
func importsByName(text string) bool {
	return strings.Contains(text, "import_module") || strings.Contains(text, "__import__") || strings.Contains(text, "sys.modules[")
}

func parentOf(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	return name[:i]
}

// importsOf returns the dotted names that a unit imports; relative ones are
// made absolute.
func importsOf(u *flow.Unit) []string {
	var out []string
	base := u.Name
	if !u.Package {
		base = parentOf(base)
	}
	for _, top := range u.File.Body {
		syntax.Walk(top, func(n *syntax.Node) bool {
			switch n.Kind {
			case syntax.Import:
				for _, a := range n.Kids {
					out = append(out, a.Text)
				}
			case syntax.From:
				mod := n.Text
				if dots := len(mod) - len(strings.TrimLeft(mod, ".")); dots > 0 && u.Language.Name == "python" {
					b := base
					for range dots - 1 {
						b = parentOf(b)
					}
					mod = strings.Trim(b+"."+mod[dots:], ".")
				}
				if u.Language.Import != nil {
					out = append(out, mod)
					break
				}
				for _, a := range n.Kids {
					out = append(out, mod+"."+a.Text)
				}
			case syntax.Call: // require("x"), import("x"), importlib.import_module("x")
				f := n.Kid(0)
				if u.Language.Name == "python" && len(n.Kids) > 1 && n.Kids[1].Kind == syntax.String && (f.Text == "import_module" || f.Text == "__import__") {
					out = append(out, n.Kids[1].Text)
				}
				if u.Language.Import != nil && len(n.Kids) == 2 && f.Kind == syntax.Name && (f.Text == "require" || f.Text == "import") && n.Kids[1].Kind == syntax.String {
					out = append(out, n.Kids[1].Text)
				}
			default:
			}
			return true
		})
	}
	return out
}
