package register

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Bounds of what is kept of a document. More is an error, never a silent cut.
const (
	maxAssets   = 20_000
	maxFindings = 20_000
	maxText     = 400 // bytes of a name or message
	keepHour    = time.Hour
)

// hosted lists providers that run models; what others hand out runs here.
func hosted(provider string) bool {
	switch provider {
	case "", "huggingface", "ollama", "local", "registry", "modelscope", "torchhub", "tensorflow-hub", "kaggle", "spacy", "nltk", "timm", "sentence-transformers", "llama.cpp", "vllm", "lmstudio", "openai-compatible", "gpt4all":
		return false
	}
	return true
}

// familyOf tells what people take an asset for.
func familyOf(kind sight.Kind, provider string) Family {
	switch kind {
	case sight.Model:
		if hosted(provider) {
			return ServiceOf
		}
		return Public
	case sight.Provider, sight.Endpoint:
		return ServiceOf
	case sight.ModelFile:
		return Own
	case sight.Assistant:
		return Assistant
	case sight.Agent, sight.MCPServer:
		return Agent
	default:
		return Part
	}
}

// An observed asset, by one source.
type observed struct {
	id, kind       string
	family         Family
	name, provider string
	revision       string
	pinned         bool
	digest         string
	demo           bool
	s              Sighting
}

func lower(s string) string { return strings.ToLower(s) }

func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText-3], "") + "…"
	}
	return s
}

// observe reads a document, which comes from outside.
func observe(source string, d *inventory.Document) ([]observed, []Seen, error) {
	bad := func(format string, args ...any) error {
		return &warden.Error{Code: warden.CodeInvalid, Message: "inventory: " + fmt.Sprintf(format, args...), Hint: "send what `warden inventory --format json` writes"}
	}
	if d.Schema != inventory.Schema {
		return nil, nil, bad("schema %.60q, want %q", d.Schema, inventory.Schema)
	}
	if len(d.Assets) > maxAssets {
		return nil, nil, bad("%d assets, at most %d", len(d.Assets), maxAssets)
	}
	out, seen, ids := make([]observed, 0, len(d.Assets)), []Seen{}, map[string]bool{}
	add := func(asset string, state, scope string, fs []inventory.Finding) error {
		for _, f := range fs {
			if _, err := warden.ParseSeverity(f.Severity); err != nil {
				return bad("a finding of %.60q: %v", asset, err)
			}
			if f.Rule == "" || len(f.Rule) > 40 {
				return bad("a finding of %.60q has no rule", asset)
			}
			if len(seen) >= maxFindings {
				return bad("more than %d findings", maxFindings)
			}
			seen = append(seen, Seen{
				Asset: asset, Rule: string(f.Rule), Flag: clip(f.Flag), Severity: f.Severity, Path: clip(f.Path), Line: f.Line, Message: clip(f.Message), Conditional: f.Conditional, State: state, Scope: scope,
			})
		}
		return nil
	}
	for i := range d.Assets {
		a := &d.Assets[i]
		if a.ID == "" || len(a.ID) > 1000 || strings.ContainsFunc(a.ID, func(r rune) bool { return r < ' ' || r == 0x7f }) || ids[a.ID] {
			return nil, nil, bad("asset %d: id %.60q is empty, too long, there twice or has control characters", i, a.ID)
		}
		ids[a.ID] = true
		id := clip(a.ID)
		o := observed{
			id: id, kind: clip(string(a.Kind)), family: familyOf(a.Kind, a.Provider), name: clip(cmp.Or(a.Name, a.Dynamic)), provider: clip(a.Provider),
			revision: clip(a.Revision), pinned: a.Pinned, digest: clip(a.Digest),
			s: Sighting{Source: source, State: clip(string(a.State)), Scope: clip(string(a.Scope)), Loads: clip(a.Loads), Owner: clip(a.Owner), Sites: len(a.Evidence)},
		}
		if len(a.Evidence) > 0 {
			o.s.Place = clip(a.Evidence[0].Path)
			if a.Evidence[0].Line > 0 {
				o.s.Place += fmt.Sprintf(":%d", a.Evidence[0].Line)
			}
		}
		out = append(out, o)
		if err := add(id, o.s.State, o.s.Scope, a.Findings); err != nil {
			return nil, nil, err
		}
	}
	if err := add("", "", "", d.Findings); err != nil {
		return nil, nil, err
	}
	return out, seen, nil
}

// standing returns what registry and gateway see.
func standing(s *Snapshot) (models, routes []observed) {
	for _, m := range s.Models {
		state := sight.Possible // somebody may pull it; who loads it then is not known
		if m.State != "admitted" {
			state = sight.Inactive
		}
		for _, r := range s.Routes {
			if r.Model == m.Name && r.Open {
				state = sight.Reachable
			}
		}
		models = append(models, observed{
			id: own(m.Name), kind: string(sight.Model), family: Own, name: m.Name, provider: "registry", revision: fmt.Sprint(m.Number), pinned: true, digest: m.Digest, demo: m.Demo,
			s: Sighting{Source: FromRegistry, State: string(state), Scope: string(sight.Production), Place: fmt.Sprintf("%s@%d", m.Name, m.Number), Sites: 1},
		})
	}
	for _, r := range s.Routes {
		state := sight.Inactive
		if r.Open {
			state = sight.Reachable
		}
		at := Sighting{Source: FromGateway, State: string(state), Scope: string(sight.Production), Place: "route " + r.Name, Sites: 1}
		routes = append(routes, observed{id: "endpoint:route:" + lower(r.Name), kind: "endpoint", family: ServiceOf, name: r.Name, provider: "gateway", demo: r.Demo, s: at})
		if provider, model, ok := strings.Cut(r.Provider, "/"); ok {
			routes = append(routes,
				observed{id: sight.ID(sight.Provider, "", provider), kind: string(sight.Provider), family: ServiceOf, name: provider, provider: provider, demo: r.Demo, s: at},
				observed{id: sight.ID(sight.Model, provider, model), kind: string(sight.Model), family: familyOf(sight.Model, provider), name: model, provider: provider, demo: r.Demo, s: at})
		}
	}
	return models, routes
}

// meet brings what a source sees now into the assets, and returns the ids of
// those that changed. What it does not see any more it marks as gone.
func meet(assets map[string]*Asset, source string, now time.Time, list []observed) (changed []string) {
	there := map[string]bool{}
	platform := source == FromRegistry || source == FromGateway
	for _, o := range list {
		if there[o.id] {
			continue
		}
		there[o.id] = true
		a := assets[o.id]
		if a == nil {
			a = &Asset{ID: o.id, Kind: o.kind, Family: o.family, First: now, Version: 1, Demo: o.demo}
			assets[o.id] = a
		}
		before := *a
		before.Sightings = slices.Clone(a.Sightings)
		a.Kind, a.Family, a.Name, a.Provider, a.Demo = o.kind, o.family, o.name, o.provider, a.Demo && o.demo
		a.Revision, a.Pinned = cmp.Or(o.revision, a.Revision), o.pinned || a.Pinned && o.revision == ""
		a.Digest = cmp.Or(o.digest, a.Digest)
		s := o.s
		s.First, s.Last = now, now
		i := slices.IndexFunc(a.Sightings, func(x Sighting) bool { return x.Source == source })
		if i < 0 {
			a.Sightings = append(a.Sightings, s)
		} else {
			s.First = a.Sightings[i].First
			if platform && !a.Sightings[i].Gone && now.Sub(a.Sightings[i].Last) < keepHour {
				s.Last = a.Sightings[i].Last // not a row written every few seconds
			}
			a.Sightings[i] = s
		}
		if !same(before, *a) {
			changed = append(changed, a.ID)
		}
	}
	for id, a := range assets {
		i := slices.IndexFunc(a.Sightings, func(x Sighting) bool { return x.Source == source && !x.Gone })
		if i >= 0 && !there[id] {
			a.Sightings[i].Gone = true
			changed = append(changed, id)
		}
	}
	slices.Sort(changed)
	return changed
}

// same compares two rows as they are kept.
func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
