// Package sight has the words for what an inventory sees in a source tree: a
// [Sighting] is one asset at one or more places, before assets of several trees
// and of the platform are brought together.
//
// A sighting is a fact, not a finding: what is wrong with it are its [Flag]s,
// of which checks make findings.
package sight

import (
	"cmp"
	"slices"
	"strings"
)

// A Kind says what an asset is.
type Kind string

// The kinds of assets.
const (
	Model       Kind = "model"        // by a name that a provider or hub knows
	Provider    Kind = "provider"     // who runs or hands out models
	Framework   Kind = "framework"    // a library
	Dataset     Kind = "dataset"      //
	VectorStore Kind = "vector_store" //
	MCPServer   Kind = "mcp_server"   // a server of the Model Context Protocol, made here or configured
	MCPClient   Kind = "mcp_client"   // the use of one
	Agent       Kind = "agent"        //
	Tool        Kind = "tool"         // something a model may call
	Prompt      Kind = "prompt"       // what the operator says to a model
	Endpoint    Kind = "endpoint"     // an address that answers
	Key         Kind = "key"          // name of a variable or fingerprint, never the secret
	Container   Kind = "container"    // an image
	ModelFile   Kind = "model_file"   // a file of weights
	Assistant   Kind = "assistant"    // what steers a coding assistant
)

// A State says whether an asset is used.
type State string

// The states, best evidence of use first.
const (
	Reachable   State = "reachable"          // a path of resolved calls leads from an entry point to it
	Possible    State = "possibly_reachable" // the path has an unresolved step, or begins at a library's surface
	ConfigOnly  State = "config_only"        // named by a configuration; no code that reads it was found
	Unreachable State = "unreachable"        // nothing calls it and its name does not escape
	Inactive    State = "inactive"           // configured, but what would use it is absent or switched off
	Commented   State = "commented"          // in a comment only
)

// rank orders states, best first.
var rank = [...]State{Reachable, Possible, ConfigOnly, Unreachable, Inactive, Commented}

// Better returns the one of two states that says more about use. An empty state
// says nothing.
func Better(a, b State) State {
	for _, s := range rank {
		if a == s || b == s {
			return s
		}
	}
	return a
}

// A Scope says what the code around an asset is for.
type Scope string

// The scopes.
const (
	Production Scope = "production"
	Test       Scope = "test" // evaluation counts as test
	Example    Scope = "example"
	Docs       Scope = "docs"
)

// Wider returns the scope that matters more: production, then example, then
// test, then docs.
func Wider(a, b Scope) Scope {
	for _, s := range [...]Scope{Production, Example, Test, Docs} {
		if a == s || b == s {
			return s
		}
	}
	return a
}

// A Place is where something was seen.
type Place struct {
	Path    string `json:"path"`
	Line    int    `json:"line"`              // from 1; 0: the file as a whole
	Cell    int    `json:"cell,omitempty"`    // of a notebook, from 1; Line counts in it
	Snippet string `json:"snippet,omitempty"` // at most 160 bytes, secrets redacted
	Via     string `json:"via,omitempty"`     // how the value came there: "default parameter"
}

// A Flag is an unsafe way in which an asset is used at one place.
type Flag struct {
	Flag        string // its name in the catalogue: "trust_remote_code"
	At          Place
	Conditional bool   // off unless something sets it, or not known: reported as low
	Detail      string // what was seen, for the message; may be empty
}

// A Link is a directed edge to another asset, by kind and name.
type Link struct {
	Relation string // uses, loads, calls, trained_on, adapter_of, provided_by, holds
	Kind     Kind
	Provider string // namespace of the other asset, where it has one
	Name     string
}

// A Sighting is an asset at one or more places of one tree.
type Sighting struct {
	Kind       Kind
	Name       string // "" where it could not be resolved: see Dynamic
	Provider   string // of a model, dataset or key: its namespace; canonical
	Revision   string // as given
	Pinned     bool   // Revision is a commit or a digest
	Version    string // of a framework
	State      State
	Scope      Scope
	Stack      []string // of calls that lead to it, outermost first
	Selectable bool     // one of several that a user may choose
	Implicit   string   // whence the name, if the code does not say it: "library default"
	Dynamic    string   // the expression that could not be resolved
	Loads      string   // what loading executes: pickle, code, keras, …, safe
	Evidence   []Place
	Flags      []Flag
	Links      []Link
	Note       string // anything else worth a line: transport, command, size
	Digest     string // of a model file, sha256:…
	Size       int64  // of a model file
}

// ID returns the name that is stable over runs and machines: kind, namespace,
// name in lower case. A sighting without name is told apart by its place.
func (s *Sighting) ID() string {
	name := strings.ToLower(s.Name)
	if name == "" {
		name = "?"
		if len(s.Evidence) > 0 {
			name += s.Evidence[0].Path + ":" + s.Dynamic
		}
	}
	return ID(s.Kind, s.namespace(), name)
}

func (s *Sighting) namespace() string {
	switch s.Kind {
	case Model, Dataset, Key:
		return s.Provider
	default:
		return ""
	}
}

// ID joins the parts of a stable name.
func ID(kind Kind, namespace, name string) string {
	if namespace != "" {
		return string(kind) + ":" + namespace + ":" + strings.ToLower(name)
	}
	return string(kind) + ":" + strings.ToLower(name)
}

// Merge brings sightings of one asset together and sorts them by id. Of states
// the best counts, of scopes the widest; places, flags and links are united.
func Merge(all []Sighting) []Sighting {
	at := map[string]int{}
	var out []Sighting
	for i := range all {
		s := &all[i]
		id := s.ID()
		k, ok := at[id]
		if !ok {
			at[id] = len(out)
			c := *s
			c.Evidence, c.Flags, c.Links = slices.Clone(s.Evidence), slices.Clone(s.Flags), slices.Clone(s.Links)
			out = append(out, c)
			continue
		}
		out[k].add(s)
	}
	for i := range out {
		out[i].tidy()
	}
	slices.SortFunc(out, func(a, b Sighting) int { return cmp.Compare(a.ID(), b.ID()) })
	return out
}

func (s *Sighting) add(o *Sighting) {
	better := Wider(s.Scope, o.Scope) != s.Scope || s.Scope == o.Scope && Better(s.State, o.State) != s.State
	if better {
		s.Scope, s.State, s.Stack = o.Scope, o.State, o.Stack
	} else if s.Scope == o.Scope && s.State == o.State && less(o.Stack, s.Stack) {
		s.Stack = o.Stack
	}
	s.Selectable = s.Selectable && o.Selectable
	if s.Implicit == "" || o.Implicit == "" {
		s.Implicit = ""
	}
	// The worst loader and an unpinned use count; of revisions the first in order.
	if !o.Pinned && s.Pinned || s.Pinned == o.Pinned && o.Revision != "" && (s.Revision == "" || o.Revision < s.Revision) {
		s.Pinned, s.Revision = o.Pinned, o.Revision
	}
	for _, f := range []struct{ to, from *string }{{&s.Version, &o.Version}, {&s.Note, &o.Note}, {&s.Digest, &o.Digest}, {&s.Provider, &o.Provider}} {
		if *f.to == "" || *f.from != "" && *f.from < *f.to {
			*f.to = *f.from
		}
	}
	if s.Loads == "" || s.Loads == "safe" && o.Loads != "" {
		s.Loads = o.Loads
	}
	if s.Name > o.Name && o.Name != "" { // spellings differ in case only
		s.Name = o.Name
	}
	s.Size = max(s.Size, o.Size)
	s.Evidence = append(s.Evidence, o.Evidence...)
	s.Flags = append(s.Flags, o.Flags...)
	s.Links = append(s.Links, o.Links...)
}

// less prefers the shorter stack, then the one that comes first.
func less(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) > len(b)
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return slices.Compare(a, b) < 0
}

func (s *Sighting) tidy() {
	slices.SortFunc(s.Evidence, ComparePlaces)
	s.Evidence = slices.CompactFunc(s.Evidence, func(a, b Place) bool { return a.Path == b.Path && a.Line == b.Line && a.Cell == b.Cell })
	slices.SortFunc(s.Flags, func(a, b Flag) int {
		return cmp.Or(cmp.Compare(a.Flag, b.Flag), ComparePlaces(a.At, b.At), compareBool(a.Conditional, b.Conditional))
	})
	s.Flags = slices.CompactFunc(s.Flags, func(a, b Flag) bool {
		return a.Flag == b.Flag && a.At.Path == b.At.Path && a.At.Line == b.At.Line && a.At.Cell == b.At.Cell
	})
	slices.SortFunc(s.Links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(a.Relation, b.Relation), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Provider, b.Provider), cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	s.Links = slices.Compact(s.Links)
}

// ComparePlaces orders places by path, cell and line, then by what is written there.
func ComparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Via, b.Via), cmp.Compare(a.Snippet, b.Snippet))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
