// Package register remembers the AI assets of an organisation, who answers for
// them, which risk tier they are in, which evidence is there, and what is wrong
// with them.
//
// Assets come from inventories of source trees, from the registry and from the
// gateway's routes; people add what no machine knows. What no source sees any
// more is said to be gone and is never deleted. Findings of everything are
// grouped, and a group has a life: new, ongoing, resolved, regressed.
//
// [Service] has the rules, [Store] keeps rows and knows none. What the registry
// and the gateway know comes through [Platform], as rooms do not know each other.
package register

import (
	"time"

	"github.com/modelwarden/warden/internal/inventory/risk"
	"github.com/modelwarden/warden/internal/source/sight"
)

// A Family is a group of assets that people look at together.
type Family string

// The families. Part has what an asset is made of: libraries, prompts, keys. It
// needs no owner of its own.
const (
	Own       Family = "own"       // models of the registry, and model files in source trees
	ServiceOf Family = "service"   // providers, endpoints, routes, models that others run
	Public    Family = "public"    // models that others made and that run here
	Assistant Family = "assistant" // what helps people to write code
	Agent     Family = "agent"     // agents and what they reach by MCP
	Part      Family = "part"
)

// Families lists all.
func Families() []Family { return []Family{Own, ServiceOf, Public, Assistant, Agent, Part} }

// An Asset is one entry of the register.
type Asset struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"`
	Family    Family     `json:"family"`
	Name      string     `json:"name"`
	Provider  string     `json:"provider,omitempty"`
	Revision  string     `json:"revision,omitempty"` // of the model, as code names it
	Pinned    bool       `json:"pinned,omitempty"`
	Digest    string     `json:"digest,omitempty"` // of its file or artifact
	Sightings []Sighting `json:"sightings"`        // by source; at most one for each
	First     time.Time  `json:"first"`
	Demo      bool       `json:"demo,omitempty"`
	Person    Person     `json:"person"`
	Override  *Override  `json:"override,omitempty"` // of the tier
	Changed   time.Time  `json:"changed"`            // by a person; zero: never
	By        string     `json:"by,omitempty"`       // who
	Version   int        `json:"version"`            // counts changes by people, from 1
}

// Gone reports whether no source sees the asset any more.
func (a *Asset) Gone() bool {
	for _, s := range a.Sightings {
		if !s.Gone {
			return false
		}
	}
	return true
}

// Last returns when a source saw it last.
func (a *Asset) Last() (t time.Time) {
	for _, s := range a.Sightings {
		if s.Last.After(t) {
			t = s.Last
		}
	}
	return t
}

// State returns the best state of use over the sources that see it.
func (a *Asset) State() sight.State {
	var out sight.State
	for _, s := range a.Sightings {
		if !s.Gone {
			out = sight.Better(out, sight.State(s.State))
		}
	}
	return out
}

// A Sighting says that one source has an asset.
type Sighting struct {
	Source string    `json:"source"` // of an inventory; registry and gateway are sources, too
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"` // of registry and gateway to the hour
	Gone   bool      `json:"gone,omitempty"`
	State  string    `json:"state"`
	Scope  string    `json:"scope,omitempty"`
	Place  string    `json:"place,omitempty"` // the first evidence: path:line
	Loads  string    `json:"loads,omitempty"` // what loading it there executes
	Owner  string    `json:"owner,omitempty"` // whom CODEOWNERS there names
	Sites  int       `json:"sites,omitempty"` // pieces of evidence
}

// A Person is what people say about an asset.
type Person struct {
	Owner       string      `json:"owner,omitempty" doc:"user:NAME, group:NAME or a team's name"`
	Contact     string      `json:"contact,omitempty" doc:"technical contact"`
	Approver    string      `json:"approver,omitempty" doc:"who approves its risks"`
	Use         string      `json:"use,omitempty" doc:"intended use, in a sentence"`
	Criticality int         `json:"criticality,omitempty" minimum:"0" maximum:"4" doc:"business impact, 1 to 4; 0: not said"`
	Stage       string      `json:"stage,omitempty" doc:"candidate, approved, deployed, restricted, retired"`
	System      risk.System `json:"system"`
}

// An Override is a tier that people chose instead of that of the rules.
type Override struct {
	Tier   int       `json:"tier"`
	Lowers bool      `json:"lowers,omitempty"` // milder than the rules: holds only with Votes, until Until
	Was    int       `json:"was"`              // the tier by the rules, when it was asked for
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"`
	Votes  []Vote    `json:"votes,omitempty"`
}

// A Vote approves a milder tier.
type Vote struct {
	By     string    `json:"by"`
	Person string    `json:"person"` // who stands behind By
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Needs returns how many people must approve.
func (o *Override) Needs() int {
	if o.Was <= 1 {
		return 2
	}
	return 1
}

// Holds reports whether the tier of o counts at now.
func (o *Override) Holds(now time.Time) bool {
	return o != nil && (!o.Lowers || len(o.Votes) >= o.Needs() && now.Before(o.Until))
}

// A Source is an inventory that was registered last under a name.
type Source struct {
	Name     string    `json:"name"`
	Digest   string    `json:"digest"` // of the document's canonical bytes
	Root     string    `json:"root"`
	Complete bool      `json:"complete"`
	Assets   int       `json:"assets"`
	First    time.Time `json:"first"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Demo     bool      `json:"demo,omitempty"`
	Findings []Seen    `json:"-"`
}

// A Seen is a finding in a registered inventory.
type Seen struct {
	Asset       string `json:"asset,omitempty"`
	Rule        string `json:"rule"`
	Flag        string `json:"flag,omitempty"`
	Severity    string `json:"severity"`
	Path        string `json:"path"`
	Line        int    `json:"line,omitempty"`
	Message     string `json:"message"`
	Conditional bool   `json:"conditional,omitempty"`
	State       string `json:"state,omitempty"`
	Scope       string `json:"scope,omitempty"`
}

// An OwnerRule gives assets an owner by id or name. The last that matches counts.
type OwnerRule struct {
	Match string    `json:"match" doc:"glob over id, name or source/path: * any text within a segment, ** any text"`
	Owner string    `json:"owner"`
	By    string    `json:"by"`
	At    time.Time `json:"at"`
}
