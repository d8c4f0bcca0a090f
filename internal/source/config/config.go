// Package config reads the files of a source tree that are no code:
// configurations, deployments, manifests, lock files, pipelines, instructions
// for coding assistants. Each reader keeps the line of what it reports.
//
// Nothing is expanded that needs the outside: templates are read as text with
// holes, variables keep their default.
package config

import (
	"slices"

	"github.com/modelwarden/warden/internal/source/sight"
)

// A Doc is what one file says.
type Doc struct {
	Sightings []sight.Sighting // assets that it names; state ConfigOnly unless the file itself runs them
	Env       []Variable       // variables that it sets for a program
	Packages  []Package        // that it declares or locks
	Entries   []Entry          // where programs begin
	Value     *Value           // the content, of a file that a program may read as data: JSON, YAML, TOML, properties, .env
	Problems  []Problem        // what could not be read
}

// A Variable is set for a program.
type Variable struct {
	Name, Value string
	Default     bool // it only holds where nothing else is set: ${NAME:-value}
	At          sight.Place
}

// A Package is declared by a manifest, or locked by a lock file.
type Package struct {
	Ecosystem string // pypi, npm, go, maven, nuget, crates
	Name      string // in the ecosystem's canonical form
	Version   string // exact version, or the range as written; "" if none is given
	Locked    bool   // from a lock file: exact, with what others need
	Dev       bool   // for development or tests only
	At        sight.Place
}

// An Entry is where a program begins.
type Entry struct {
	Path   string // file in the tree, relative to the configuration's folder; "" if a module is named
	Module string // dotted module
	Func   string // function in it; "" for the module's own code
	Via    string // console_scripts, Dockerfile CMD, package.json bin, …
	At     sight.Place
}

// A Problem is a part that could not be read.
type Problem struct {
	Line   int
	Detail string
}

// A Value is a piece of a data file. It is a scalar with Text, a list, or a map
// whose Keys and Kids belong together.
type Value struct {
	Kind ValueKind
	Text string // of a scalar, as a program gets it
	Line int
	Keys []string // of a map, in the order of the file
	Kids []*Value // of a list or map

	index map[string]int // of a map with many members
}

// A ValueKind says what a [Value] is.
type ValueKind uint8

// The kinds of values.
const (
	Null ValueKind = iota
	Bool
	Number
	String
	List
	Map
)

// Get returns the member of a map, or nil.
func (v *Value) Get(key string) *Value {
	if v == nil || v.Kind != Map {
		return nil
	}
	if len(v.Keys) > 16 && len(v.index) != 0 {
		if i, ok := v.index[key]; ok {
			return v.Kids[i]
		}
		return nil
	}
	for i, k := range slices.Backward(v.Keys) {
		if k == key {
			return v.Kids[i]
		}
	}
	return nil
}

// At goes down members by name; "*" is not special. It returns nil where one is missing.
func (v *Value) At(path ...string) *Value {
	for _, p := range path {
		v = v.Get(p)
	}
	return v
}

// put adds a member. Of two with one name the last counts, as for those who read
// JSON and YAML to run what it says.
func (v *Value) put(key string, kid *Value) {
	v.Keys, v.Kids = append(v.Keys, key), append(v.Kids, kid)
	if len(v.Keys) <= 16 {
		return
	}
	if v.index == nil {
		v.index = make(map[string]int, 64)
		for i, k := range v.Keys {
			v.index[k] = i
		}
		return
	}
	v.index[key] = len(v.Keys) - 1
}

// text returns the text of a scalar, or "".
func (v *Value) text() string {
	if v == nil || v.Kind == List || v.Kind == Map {
		return ""
	}
	return v.Text
}

// line returns where v stands; 0 for nil.
func (v *Value) line() int {
	if v == nil {
		return 0
	}
	return v.Line
}

// each calls f for every member of a map, or element of a list with "".
func (v *Value) each(f func(key string, kid *Value)) {
	if v == nil {
		return
	}
	for i, k := range v.Kids {
		if v.Kind == Map {
			f(v.Keys[i], k)
		} else {
			f("", k)
		}
	}
}

// walk calls f for v and everything below, with the names that lead there.
func (v *Value) walk(path []string, f func(path []string, v *Value)) {
	if v == nil || len(path) > maxDepth {
		return
	}
	f(path, v)
	for i, k := range v.Kids {
		key := ""
		if v.Kind == Map {
			key = v.Keys[i]
		}
		k.walk(append(path, key), f)
	}
}
