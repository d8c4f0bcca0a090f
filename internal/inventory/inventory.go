// Package inventory turns what was seen in source trees into the record of a
// system's assets: models, providers, datasets, agents and what they use, each
// with evidence, state and priority.
//
// [Build] makes a [Document] of one tree. A document is deterministic: it holds
// no time and no absolute path, and the same tree gives the same bytes.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Schema names the form of a [Document].
const Schema = "warden.inventory/v1"

// A Document is the inventory of one tree, in the form that reports use.
type Document struct {
	Schema   string    `json:"schema"`
	Root     string    `json:"root"`
	Complete bool      `json:"complete"` // everything that counts was read
	Statuses []Status  `json:"statuses"`
	Summary  Summary   `json:"summary"`
	Assets   []Asset   `json:"assets"`
	Edges    []Edge    `json:"edges"`
	Findings []Finding `json:"findings"` // that belong to no asset
}

// A Summary counts.
type Summary struct {
	Files   int            `json:"files"`
	Bytes   int64          `json:"bytes"` // of source that was read
	Assets  map[string]int `json:"assets"`
	Skipped []string       `json:"not_analysed"` // folders that hold the code of others
}

// A Status says what was not looked at, or not wholly.
type Status struct {
	Detector string         `json:"detector"`
	State    string         `json:"state"` // complete, truncated, failed, not_examined, skipped, partial
	Path     string         `json:"path,omitempty"`
	Line     int            `json:"line,omitempty"`
	Counts   map[string]int `json:"counts"`
	Error    string         `json:"error"`
}

// An Asset is one thing of the inventory.
type Asset struct {
	ID         string        `json:"id"`
	Kind       sight.Kind    `json:"kind"`
	Name       string        `json:"name"` // "" where it could not be resolved: see Dynamic
	Aliases    []string      `json:"aliases"`
	Revision   string        `json:"revision"`
	Pinned     bool          `json:"revision_pinned"`
	Version    string        `json:"version,omitempty"`
	Provider   string        `json:"provider"`
	PURL       string        `json:"purl"`
	Digest     string        `json:"digest,omitempty"`
	Size       int64         `json:"size,omitempty"`
	State      sight.State   `json:"state"`
	Scope      sight.Scope   `json:"scope"`
	Selectable bool          `json:"selectable"`
	Implicit   string        `json:"implicit,omitempty"`
	Dynamic    string        `json:"dynamic"`
	Note       string        `json:"note,omitempty"`
	Evidence   []sight.Place `json:"evidence"`
	CallStack  []string      `json:"callstack"`
	Flags      []string      `json:"flags"`
	Findings   []Finding     `json:"findings"`
	Scores     Scores        `json:"scores"`
	Loads      string        `json:"loads,omitempty"`    // what loading it executes: pickle, code, keras, …; safe
	Verdict    string        `json:"verdict,omitempty"`  // of the file behind it, where one was scanned
	Priority   int           `json:"priority,omitempty"` // 1 to 5, where a verdict meets a loader
	Because    []string      `json:"because,omitempty"`
	Owner      string        `json:"owner,omitempty"` // whom CODEOWNERS names for its first evidence
}

// Scores inform about a model; a score is nil where nothing is known.
type Scores struct {
	Popularity  *float64 `json:"popularity"`
	Activity    *float64 `json:"activity"`
	Operational *float64 `json:"operational"`
	Security    *float64 `json:"security"`
	Known       float64  `json:"known,omitempty"` // share of the factors that are known
}

// A Finding is something unsafe at a place.
type Finding struct {
	Rule        warden.RuleID `json:"rule"`
	Flag        string        `json:"flag"`
	CWE         []string      `json:"cwe"`
	Severity    string        `json:"severity"`
	Path        string        `json:"path"`
	Line        int           `json:"line"`
	Cell        int           `json:"cell,omitempty"`
	Message     string        `json:"message"`
	Advice      string        `json:"advice,omitempty"`
	Conditional bool          `json:"conditional,omitempty"`
	Priority    int           `json:"priority"`
	Because     []string      `json:"because"`
}

// An Edge leads from one asset to another, by their ids.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"`
}

// Options configure [Build].
type Options struct {
	Root    string // as the caller named the tree; "." for none
	Verdict func(path, digest, model, revision string) (warden.Verdict, bool)
}

// Build makes the document of a tree.
func Build(ctx context.Context, t *source.Tree, opts Options) (*Document, error) {
	seen, err := t.Sightings(ctx)
	if err != nil {
		return nil, err
	}
	rows := t.Rows()
	if opts.Root == "" {
		opts.Root = "."
	}
	d := &Document{Schema: Schema, Root: opts.Root, Complete: t.Complete(), Statuses: []Status{}, Edges: []Edge{}, Findings: []Finding{}, Assets: []Asset{}}
	d.Summary = Summary{Files: len(t.Files), Bytes: t.Bytes, Assets: map[string]int{}, Skipped: t.Left}
	if d.Summary.Skipped == nil {
		d.Summary.Skipped = []string{}
	}
	d.statuses(t)
	byID := map[string]int{}
	for i := range seen {
		s := &seen[i]
		a := asset(s, rows)
		if k, ok := byID[a.ID]; ok { // unresolved ones of one place and text
			d.Assets[k].Evidence = append(d.Assets[k].Evidence, a.Evidence...)
			continue
		}
		byID[a.ID] = len(d.Assets)
		d.Assets = append(d.Assets, a)
		d.Summary.Assets[string(a.Kind)]++
	}
	d.edges(seen, byID)
	d.join(opts.Verdict)
	declared, ecosystems := map[string]bool{}, map[string]bool{}
	for _, p := range t.Packages() {
		declared[p.Ecosystem+"\x00"+strings.ToLower(p.Name)], ecosystems[p.Ecosystem] = true, true
	}
	d.undeclared(declared, ecosystems)
	return d, nil
}

func (d *Document) statuses(t *source.Tree) {
	readers := map[string]int{}
	for _, f := range t.Files {
		readers["source/"+string(f.Lang)]++
	}
	for _, s := range t.Statuses {
		d.Statuses = append(d.Statuses, Status{Detector: s.Reader, State: s.State, Path: s.Path, Line: s.Line, Counts: map[string]int{}, Error: s.Detail})
		if s.State != "not_examined" {
			delete(readers, s.Reader)
		}
	}
	for r, n := range readers {
		d.Statuses = append(d.Statuses, Status{Detector: r, State: "complete", Counts: map[string]int{"files": n}})
	}
	slices.SortFunc(d.Statuses, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Error, b.Error))
	})
}

// asset turns a sighting into the record.
func asset(s *sight.Sighting, rows *recognise.Rows) Asset {
	a := Asset{
		ID: s.ID(), Kind: s.Kind, Name: s.Name, Aliases: []string{}, Revision: s.Revision, Pinned: s.Pinned, Version: s.Version,
		Provider: s.Provider, Digest: s.Digest, Size: s.Size, State: s.State, Scope: s.Scope, Selectable: s.Selectable,
		Implicit: s.Implicit, Dynamic: s.Dynamic, Note: s.Note, Evidence: s.Evidence, CallStack: s.Stack, Flags: []string{},
		Findings: []Finding{}, Loads: s.Loads,
	}
	if a.Kind == sight.Provider {
		a.Provider = s.Name
	}
	if a.Evidence == nil {
		a.Evidence = []sight.Place{}
	}
	if a.CallStack == nil {
		a.CallStack = []string{}
	}
	a.PURL = purl(s)
	for _, f := range s.Flags {
		u := rows.Unsafe(f.Flag)
		severity := u.Severity
		if f.Conditional {
			severity = "low"
		}
		if !slices.Contains(a.Flags, f.Flag) {
			a.Flags = append(a.Flags, f.Flag)
		}
		message := u.Title
		if f.Conditional {
			message += " (opt-in, or not known here)"
		}
		if f.Detail != "" {
			message += ": " + f.Detail
		}
		n := Finding{
			Rule: code.RuleOf(f.Flag), Flag: f.Flag, CWE: u.CWE, Severity: severity, Path: f.At.Path, Line: f.At.Line, Cell: f.At.Cell,
			Message: message, Advice: u.Advice, Conditional: f.Conditional,
		}
		n.Priority, n.Because = flagPriority(&n, s)
		a.Findings = append(a.Findings, n)
	}
	slices.Sort(a.Flags)
	return a
}

// purl is the package URL of what a hub or registry has.
func purl(s *sight.Sighting) string {
	at := ""
	if s.Revision != "" {
		at = "@" + s.Revision
	}
	switch {
	case s.Kind == sight.Model && s.Provider == "huggingface" && s.Name != "":
		return "pkg:huggingface/" + s.Name + at
	case s.Kind == sight.Dataset && s.Provider == "huggingface" && s.Name != "":
		return "pkg:huggingface/datasets/" + s.Name + at
	case s.Kind == sight.Framework && len(s.Evidence) > 0:
		eco := "pypi"
		switch {
		case strings.HasPrefix(s.Name, "@"), strings.HasSuffix(s.Evidence[0].Path, "package.json"), strings.HasSuffix(s.Evidence[0].Path, ".ts"), strings.HasSuffix(s.Evidence[0].Path, ".js"), strings.HasSuffix(s.Evidence[0].Path, ".tsx"):
			eco = "npm"
		case strings.Contains(s.Name, ":"):
			eco = "maven"
		case strings.HasPrefix(s.Name, "github.com/"), strings.HasPrefix(s.Name, "google.golang.org/"), strings.HasPrefix(s.Name, "cloud.google.com/"):
			eco = "golang"
		case strings.HasSuffix(s.Evidence[0].Path, ".cs"), strings.HasSuffix(s.Evidence[0].Path, ".csproj"):
			eco = "nuget"
		}
		name := strings.ReplaceAll(strings.ReplaceAll(s.Name, "@", "%40"), ":", "/")
		if v := exact(s.Version); v != "" {
			return fmt.Sprintf("pkg:%s/%s@%s", eco, name, v)
		}
		return fmt.Sprintf("pkg:%s/%s", eco, name)
	}
	return ""
}

// exact returns a version that is one, not a range.
func exact(v string) string {
	v = strings.TrimPrefix(v, "==")
	if v == "" || strings.ContainsAny(v, "<>=~^*|, ") {
		return ""
	}
	return v
}

// edges joins assets: what sightings name themselves, models to who provides
// them, and what stands in one call stack.
func (d *Document) edges(seen []sight.Sighting, byID map[string]int) {
	add := func(from, to, kind string) {
		if from == to {
			return
		}
		if _, ok := byID[from]; !ok {
			return
		}
		if _, ok := byID[to]; !ok {
			return
		}
		d.Edges = append(d.Edges, Edge{from, to, kind})
	}
	for i := range seen {
		s := &seen[i]
		for _, l := range s.Links {
			add(s.ID(), sight.ID(l.Kind, l.Provider, l.Name), l.Relation)
		}
		if s.Provider != "" && s.Kind != sight.Provider {
			add(s.ID(), sight.ID(sight.Provider, "", s.Provider), "provided_by")
		}
	}
	d.near(seen, add)
	slices.SortFunc(d.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	d.Edges = slices.Compact(d.Edges)
}

// near joins what one call names: an agent and its model, a model and the
// library that loads it.
func (d *Document) near(seen []sight.Sighting, add func(from, to, kind string)) {
	type at struct {
		path string
		line int
		cell int
	}
	where := map[at][]*sight.Sighting{}
	for i := range seen {
		for _, p := range seen[i].Evidence {
			if p.Line > 0 {
				k := at{p.Path, p.Line, p.Cell}
				where[k] = append(where[k], &seen[i])
			}
		}
	}
	for _, l := range where {
		for _, a := range l {
			for _, b := range l {
				switch {
				case a.Kind == sight.Agent && (b.Kind == sight.Model || b.Kind == sight.Tool || b.Kind == sight.Prompt || b.Kind == sight.MCPClient):
					add(a.ID(), b.ID(), "uses")
				case a.Kind == sight.Framework && (b.Kind == sight.Model || b.Kind == sight.ModelFile || b.Kind == sight.Dataset):
					add(a.ID(), b.ID(), "loads")
				case a.Kind == sight.Model && b.Kind == sight.Prompt:
					add(b.ID(), a.ID(), "sent_to")
				}
			}
		}
	}
}
