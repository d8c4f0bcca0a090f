package python

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// maxFold bounds the bytes of a folded string.
const maxFold = 1 << 20

// Fold returns the text that an expression always has: a literal, literals
// joined by + or by a constant "".join([…]), an f-string without open fields.
// Names are looked up with known, which may be nil.
func Fold(n *syntax.Node, known func(name string) (string, bool)) (string, bool) {
	if n == nil {
		return "", false
	}
	switch n.Kind {
	case syntax.String:
		return n.Text, true
	case syntax.Name:
		if known == nil {
			return "", false
		}
		return known(n.Text)
	case syntax.Binary:
		if n.Text != "+" {
			return "", false
		}
		return foldAll(n.Kids, "", known)
	case syntax.FString:
		return foldAll(n.Kids, "", known)
	case syntax.Field:
		if n.Text != "" && n.Text != "s" || n.Kid(1) != nil {
			return "", false
		}
		return Fold(n.Kids[0], known)
	case syntax.Call:
		f := n.Kids[0]
		if len(n.Kids) != 2 || f.Kind != syntax.Attr || f.Text != "join" {
			return "", false
		}
		sep, ok := Fold(f.Kids[0], known)
		list := n.Kids[1]
		if !ok || list.Kind != syntax.List && list.Kind != syntax.Tuple {
			return "", false
		}
		return foldAll(list.Kids, sep, known)
	default:
		return "", false
	}
}

func foldAll(kids []*syntax.Node, sep string, known func(string) (string, bool)) (string, bool) {
	parts, size := make([]string, len(kids)), 0
	for i, k := range kids {
		s, ok := Fold(k, known)
		size += len(s) + len(sep)
		if !ok || size > maxFold {
			return "", false
		}
		parts[i] = s
	}
	return strings.Join(parts, sep), true
}

// Imports tells what the names of a module stand for.
type Imports struct {
	names map[string]string // local name to dotted target
	all   []string          // modules imported with *
}

// NewImports collects the imports of a module: all of them, those in functions
// too, since the first question about a file is what it can reach. Where two
// imports give one name, the later one counts. Module is the dotted name of
// the module and isPackage says that it is an __init__; relative imports need
// both and are left out if module is "".
func NewImports(body []*syntax.Node, module string, isPackage bool) *Imports {
	im := &Imports{names: map[string]string{}}
	for _, n := range body {
		syntax.Walk(n, func(n *syntax.Node) bool {
			im.Add(n, module, isPackage)
			return n.Kind != syntax.Expr && n.Kind != syntax.Assign
		})
	}
	return im
}

// Add takes in n if it is an import.
func (im *Imports) Add(n *syntax.Node, module string, isPackage bool) {
	switch n.Kind {
	case syntax.Import:
		for _, a := range n.Kids {
			if as := a.Kid(0); as != nil {
				im.names[as.Text] = a.Text
				continue
			}
			head, _, _ := strings.Cut(a.Text, ".")
			im.names[head] = head
		}
	case syntax.From:
		from := Absolute(n.Text, module, isPackage)
		if from == "" {
			return
		}
		for _, a := range n.Kids {
			if a.Text == "*" {
				im.all = append(im.all, from)
				continue
			}
			local := a.Text
			if as := a.Kid(0); as != nil {
				local = as.Text
			}
			im.names[local] = from + "." + a.Text
		}
	default:
	}
}

// Absolute resolves the module of a from statement, with its dots, against the
// module that holds the statement. It returns "" if that is not possible.
func Absolute(from, module string, isPackage bool) string {
	name := strings.TrimLeft(from, ".")
	dots := len(from) - len(name)
	if dots == 0 {
		return name
	}
	if isPackage {
		dots--
	}
	for ; dots > 0; dots-- {
		i := strings.LastIndexByte(module, '.')
		if i < 0 {
			if dots > 1 || name == "" || module == "" {
				return ""
			}
			return name
		}
		module = module[:i]
	}
	switch {
	case module == "":
		return ""
	case name == "":
		return module
	}
	return module + "." + name
}

// Names returns the table of local names and their targets. It is read only.
func (im *Imports) Names() map[string]string { return im.names }

// Stars returns the modules that are imported with *.
func (im *Imports) Stars() []string { return im.all }

// Resolve replaces the first part of a dotted name by what it was imported as:
// with "import a.b as c", c.run is a.b.run. It returns false, and the name, if
// no import gives it.
func (im *Imports) Resolve(dotted string) (string, bool) {
	head, tail, more := strings.Cut(dotted, ".")
	target, ok := im.names[head]
	switch {
	case !ok:
		return dotted, false
	case more:
		return target + "." + tail, true
	}
	return target, true
}
