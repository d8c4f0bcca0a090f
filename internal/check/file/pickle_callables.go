package file

import (
	"strings"
	"sync"

	"github.com/modelwarden/warden/rules"
)

// A tier is what the table says about a callable.
type tier uint8

const (
	tierUnknown   tier = iota // not in the table, and its module neither
	tierKnown                 // importing it does nothing; the name is not in the table
	tierClasses               // so too, and classes here may be built by __new__ and given state
	tierVetted                // may be called
	tierInert                 // a class: neither calling it nor giving it state runs anything
	tierBuilt                 // a class: building it by __new__ and giving it state runs nothing
	tierReaches               // a function that comes to something dangerous
	tierDangerous             // may not
)

// A callable is one row of the table, or what follows from several.
type callable struct {
	name   string // as the row says, or the target that a path was resolved to
	tier   tier
	class  bool   // certainly a class
	effect string // of a dangerous one: see verbs; of a vetted one "calls", "construct", "inner"
	exact  bool

	// What tools/callables found out, if via is not "".
	via    string // the way to the effect
	builds bool   // the effect comes with building the object, not just with calling the class
}

// callables is the table of rules/modelfile, parsed when it is first needed.
var callables = sync.OnceValue(parseCallables)

func parseCallables() map[string]callable {
	text := rules.Callables()
	table := make(map[string]callable, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, "\t")
		kind, rest, _ := strings.Cut(rest, "\t")
		grade, rest, _ := strings.Cut(rest, "\t")
		effect, _, _ := strings.Cut(rest, "\t")
		c := callable{name: name, effect: effect, exact: !strings.HasSuffix(name, ".*")}
		c.class = c.exact && kind == "class"
		switch grade {
		case "known":
			c.tier = tierKnown
		case "classes":
			c.tier = tierClasses
		case "vetted":
			c.tier = tierVetted
		case "dangerous":
			c.tier = tierDangerous
		}
		table[strings.TrimSuffix(name, "*")] = c // a prefix keeps its dot
	}
	return table
}

// row returns what the tables say about a dotted name. A name that people
// wrote down counts most, then one that tools/callables found out about, then
// the longest prefix. Below a prefix that is dangerous nothing else counts.
func row(full string) callable {
	table := callables()
	if c, ok := table[full]; ok {
		return c
	}
	var wide callable
	for end := len(full); end > 0; end = strings.LastIndexByte(full[:end], '.') {
		if c, ok := table[full[:end]+"."]; ok {
			wide = c
			break
		}
	}
	if wide.tier == tierDangerous {
		return wide
	}
	if c, ok := generated(full); ok {
		if c.builds {
			c.tier = max(c.tier, wide.tier) // what its state holds decides, see patch
		}
		return c
	}
	return wide
}

// generated looks a name up in the table of tools/callables, by halving: the
// lines are sorted, and none of them is read before.
func generated(full string) (callable, bool) {
	text := rules.GeneratedCallables()
	low, high := 0, len(text) // starts of lines
	for low < high {
		mid := low + strings.LastIndexByte(text[low:(low+high)/2], '\n') + 1
		end := mid + strings.IndexByte(text[mid:], '\n')
		if end < mid {
			end = len(text)
		}
		name, rest, _ := strings.Cut(text[mid:end], "\t")
		switch {
		case name == full:
			return generatedRow(name, rest), true
		case name < full || text[mid] == '#':
			low = min(end+1, len(text))
		default:
			high = mid
		}
	}
	return callable{}, false
}

func generatedRow(name, rest string) callable {
	kind, rest, _ := strings.Cut(rest, "\t")
	grade, rest, _ := strings.Cut(rest, "\t")
	effect, rest, _ := strings.Cut(rest, "\t")
	via, _, _ := strings.Cut(rest, "\t")
	c := callable{name: name, class: kind == "class", exact: true}
	switch grade {
	case "inert":
		c.tier = tierInert
		return c
	case "new":
		c.tier = tierBuilt
		return c
	case "reaches":
		c.tier = tierReaches
	case "builds":
		c.tier, c.builds = tierKnown, true
	case "dangerous":
		c.tier = tierDangerous
		if c.class {
			c.tier = tierKnown // what its arguments are decides
		}
	}
	c.effect, c.via = effect, via
	return c
}

// unmistakable are modules that are dangerous to find under any name.
var unmistakable = map[string]bool{
	"os": true, "posix": true, "nt": true, "sys": true, "subprocess": true, "builtins": true, "importlib": true,
	"ctypes": true, "socket": true, "pickle": true, "shutil": true, "pty": true, "runpy": true, "__builtins__": true,
}

// classify says what the table knows of the object that module and path name.
// A path through a module attribute is resolved to its target; one through a
// module that the table does not know is dangerous, since no honest stream
// names an object by another module's attribute.
func classify(module, path string) callable {
	module = unvendored(module)
	full := module
	if path != "" {
		full += "." + path
	}
	c := row(full)
	if c.exact || path == "" || c.tier == tierDangerous {
		return c
	}
	parts := strings.Split(path, ".")
	for i, part := range parts {
		bare := strings.Trim(part, "_")
		switch {
		case part == "__builtins__":
			target := row("builtins." + strings.Join(parts[i+1:], "."))
			if target.tier == tierDangerous && target.exact || i+1 == len(parts) {
				return callable{name: "builtins." + strings.Join(parts[i+1:], "."), tier: tierDangerous, effect: orEffect(target.effect)}
			}
		case i+1 < len(parts):
			tail := bare + "." + strings.Join(parts[i+1:], ".")
			if target := row(tail); target.tier == tierDangerous {
				target.name = tail
				return target
			}
		case i+1 == len(parts) && (unmistakable[bare] && bare != "pickle" || part == "sys"):
			return callable{name: bare, tier: tierDangerous, effect: "lookup"}
		}
		if isDunder(part) && part != "__new__" && part != "__main__" {
			return callable{name: full, tier: tierDangerous, effect: "lookup"}
		}
		if i == 0 && len(parts) > 1 && !classLike(part) && !callables()[module+"."+part].class {
			return callable{name: full, tier: tierDangerous, effect: "lookup"}
		}
	}
	return c
}

func orEffect(s string) string {
	if s == "" || s == "-" {
		return "lookup"
	}
	return s
}

// unvendored maps the copies of six, which re-export the standard library
// under other names, to what they stand for.
func unvendored(module string) string {
	switch module {
	case "__builtin__", "__builtins__":
		return "builtins"
	case "copy_reg":
		return "copyreg"
	}
	_, tail, ok := strings.Cut(module, "six.moves.")
	if !ok {
		return module
	}
	switch first, _, _ := strings.Cut(tail, "."); first {
	case "cPickle":
		return "pickle"
	case "builtins", "urllib":
		return tail
	case "http_client", "BaseHTTPServer", "socketserver", "xmlrpc_client", "urllib_request":
		return "http.client"
	default:
		return tail
	}
}

func isDunder(s string) bool {
	return len(s) > 4 && strings.HasPrefix(s, "__") && strings.HasSuffix(s, "__")
}

// classLike reports whether the last part of a path is written as classes are.
func classLike(path string) bool {
	last := strings.TrimLeft(path[strings.LastIndexByte(path, '.')+1:], "_")
	return last != "" && last[0] >= 'A' && last[0] <= 'Z' && last != strings.ToUpper(last) || len(last) == 1 && last >= "A" && last <= "Z" || isAcronym(last)
}

// isAcronym tells class names such as PCA and SVC from constants such as MAX_LEN.
func isAcronym(s string) bool {
	return s != "" && s[0] >= 'A' && s[0] <= 'Z' && !strings.Contains(s, "_")
}
