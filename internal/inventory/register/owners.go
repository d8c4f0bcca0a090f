package register

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/inventory/owners"
)

// An Owner is who answers for an asset, and how that is known.
type Owner struct {
	Name     string `json:"name"`
	From     string `json:"from" doc:"person, rule GLOB, codeowners SOURCE; empty: nobody"`
	Disabled bool   `json:"disabled"`
}

// ownerOf: what a person said, then the last rule that matches, then CODEOWNERS
// of the sources that see it, by name of source.
func ownerOf(a *Asset, rules []OwnerRule, disabled []string) Owner {
	o := Owner{Name: a.Person.Owner, From: "person"}
	for _, r := range slices.Backward(rules) {
		if o.Name != "" {
			break
		}
		if covers(r.Match, a) {
			o = Owner{Name: r.Owner, From: "rule " + r.Match}
		}
	}
	if o.Name == "" {
		for _, s := range a.Sightings {
			if s.Owner != "" && !s.Gone {
				o = Owner{Name: s.Owner, From: "codeowners " + s.Source}
				break
			}
		}
	}
	if o.Name == "" {
		return Owner{}
	}
	who := o.Name
	if !strings.Contains(who, ":") {
		who = "user:" + strings.TrimPrefix(who, "@")
	}
	o.Disabled = slices.Contains(disabled, who)
	return o
}

func covers(glob string, a *Asset) bool {
	if owners.Match(glob, a.ID) || owners.Match(glob, a.Name) {
		return true
	}
	return slices.ContainsFunc(a.Sightings, func(s Sighting) bool {
		path, _, _ := strings.Cut(s.Place, ":")
		return !s.Gone && owners.Match(glob, s.Source+"/"+path)
	})
}

// governed reports whether an asset needs an owner of its own.
func governed(a *Asset) bool { return a.Family != Part && !a.Gone() }
