package inventory

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
)

// DiffSchema names the form of a [Diff].
const DiffSchema = "warden.inventory.diff/v1"

// ErrSchema is wrapped by [Read] for a file that is no inventory.
var ErrSchema = errors.New("not an inventory")

// readBytes bounds a document that is read back. The largest tree that may be
// read, with ten assets for each hundred files, stays far below it.
const readBytes = 256 << 20

// Read reads a document back. Fields that this version does not know are left
// out, so that documents of later versions of the same schema can be compared.
func Read(r io.Reader) (*Document, error) {
	lim := &io.LimitedReader{R: r, N: readBytes}
	dec := json.NewDecoder(lim)
	var d Document
	if err := dec.Decode(&d); err != nil {
		if lim.N <= 0 {
			return nil, fmt.Errorf("%w: more than %d MiB", ErrSchema, readBytes>>20)
		}
		return nil, fmt.Errorf("%w: %w (hint: warden inventory --format json writes one)", ErrSchema, err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("%w: schema %q, want %q (hint: warden inventory --format json writes one)", ErrSchema, d.Schema, Schema)
	}
	return &d, nil
}

// A Diff says what differs between two inventories of a tree.
type Diff struct {
	Schema   string    `json:"schema"`
	Complete bool      `json:"complete"` // both documents are; else absence may be blindness
	Appeared []Asset   `json:"appeared"`
	Vanished []Asset   `json:"vanished"`
	Changed  []Change  `json:"changed"`
	New      []NewUse  `json:"new_findings"`
	Gone     []NewUse  `json:"gone_findings"`
	Summary  DiffCount `json:"summary"`
}

// A DiffCount counts.
type DiffCount struct {
	Appeared int `json:"appeared"`
	Vanished int `json:"vanished"`
	Changed  int `json:"changed"`
	New      int `json:"new_findings"`
	Gone     int `json:"gone_findings"`
}

// A Change is an asset that both inventories have and that is not the same.
type Change struct {
	ID     string  `json:"id"`
	Kind   string  `json:"kind"`
	Name   string  `json:"name"`
	Fields []Field `json:"fields"`
	Worse  bool    `json:"worse"` // more reachable, less pinned, more flags, more urgent
}

// A Field is one change of an asset.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// A NewUse is an unsafe use that one of the inventories lacks.
type NewUse struct {
	Asset   string `json:"asset"` // id; "" for none
	Name    string `json:"name"`
	Finding `json:"finding"`
}

// Empty reports whether nothing differs.
func (d *Diff) Empty() bool {
	return len(d.Appeared)+len(d.Vanished)+len(d.Changed)+len(d.New)+len(d.Gone) == 0
}

// Worst returns the greatest severity of what is new: unsafe uses, and files
// whose verdict became bad. ok is false where nothing is new.
func (d *Diff) Worst() (worst warden.Severity, ok bool) {
	add := func(s warden.Severity) { worst, ok = max(worst, s), true }
	for i := range d.New {
		if s, err := warden.ParseSeverity(d.New[i].Severity); err == nil {
			add(s)
		}
	}
	verdict := func(v string) {
		switch v {
		case warden.Malicious.String():
			add(warden.Critical)
		case warden.Unsafe.String():
			add(warden.High)
		}
	}
	for i := range d.Appeared {
		verdict(d.Appeared[i].Verdict)
	}
	for _, c := range d.Changed {
		for _, f := range c.Fields {
			if f.Name == "verdict" {
				verdict(f.New)
			}
		}
	}
	return worst, ok
}

// Compare says what differs between two documents, sorted by id. Assets are the
// same by id; unsafe uses by asset, rule and file, so that lines that move are
// no change.
func Compare(old, now *Document) *Diff {
	d := &Diff{
		Schema: DiffSchema, Complete: old.Complete && now.Complete,
		Appeared: []Asset{}, Vanished: []Asset{}, Changed: []Change{}, New: []NewUse{}, Gone: []NewUse{},
	}
	before, after := assetsByID(old), assetsByID(now)
	for i := range now.Assets {
		a := &now.Assets[i]
		b, ok := before[a.ID]
		if !ok {
			d.Appeared = append(d.Appeared, *a)
			continue
		}
		if c := change(b, a); len(c.Fields) > 0 {
			d.Changed = append(d.Changed, c)
		}
	}
	for i := range old.Assets {
		if _, ok := after[old.Assets[i].ID]; !ok {
			d.Vanished = append(d.Vanished, old.Assets[i])
		}
	}
	d.New, d.Gone = missing(now, old), missing(old, now)
	slices.SortFunc(d.Appeared, func(a, b Asset) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(d.Vanished, func(a, b Asset) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(d.Changed, func(a, b Change) int { return cmp.Compare(a.ID, b.ID) })
	d.Summary = DiffCount{len(d.Appeared), len(d.Vanished), len(d.Changed), len(d.New), len(d.Gone)}
	return d
}

func assetsByID(d *Document) map[string]*Asset {
	m := make(map[string]*Asset, len(d.Assets))
	for i := range d.Assets {
		m[d.Assets[i].ID] = &d.Assets[i]
	}
	return m
}

// label is what people call the asset.
func (a *Asset) label() string { return cmp.Or(a.Name, a.Dynamic, a.ID) }

func change(old, now *Asset) Change {
	c := Change{ID: now.ID, Kind: string(now.Kind), Name: now.label()}
	add := func(name, a, b string) bool {
		if a == b {
			return false
		}
		c.Fields = append(c.Fields, Field{name, a, b})
		return true
	}
	if add("state", string(old.State), string(now.State)) && slices.Index(stateOrder[:], string(now.State)) < slices.Index(stateOrder[:], string(old.State)) {
		c.Worse = true
	}
	if add("scope", string(old.Scope), string(now.Scope)) && now.Scope == "production" {
		c.Worse = true
	}
	add("revision", old.Revision, now.Revision)
	if add("revision_pinned", strconv.FormatBool(old.Pinned), strconv.FormatBool(now.Pinned)) && !now.Pinned {
		c.Worse = true
	}
	add("version", old.Version, now.Version)
	add("digest", old.Digest, now.Digest)
	add("provider", old.Provider, now.Provider)
	if add("loads", old.Loads, now.Loads) && now.Loads != "" && now.Loads != "safe" {
		c.Worse = true
	}
	if add("verdict", old.Verdict, now.Verdict) && (now.Verdict == warden.Malicious.String() || now.Verdict == warden.Unsafe.String()) {
		c.Worse = true
	}
	if add("flags", strings.Join(slices.Sorted(slices.Values(old.Flags)), " "), strings.Join(slices.Sorted(slices.Values(now.Flags)), " ")) {
		for _, f := range now.Flags {
			c.Worse = c.Worse || !slices.Contains(old.Flags, f)
		}
	}
	if add("priority", number(old.Priority), number(now.Priority)) && now.Priority > 0 && (old.Priority == 0 || now.Priority < old.Priority) {
		c.Worse = true
	}
	return c
}

// stateOrder has what surely runs first.
var stateOrder = [...]string{"reachable", "possibly_reachable", "config_only", "unreachable", "inactive", "commented"}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

type useKey struct{ asset, rule, flag, path string }

// missing lists the unsafe uses of a that b lacks. Of several in one file, uses
// at the same line are the same; of the others as many are new as there are
// more of them.
func missing(a, b *Document) []NewUse {
	have := map[useKey][]int{} // lines
	each(b, func(k useKey, _ string, f *Finding) { have[k] = append(have[k], place(f)) })
	var rest []NewUse
	var keys []useKey
	each(a, func(k useKey, name string, f *Finding) {
		if i := slices.Index(have[k], place(f)); i >= 0 {
			have[k] = slices.Delete(have[k], i, i+1)
			return
		}
		rest, keys = append(rest, NewUse{Asset: k.asset, Name: name, Finding: *f}), append(keys, k)
	})
	out := []NewUse{}
	for i := range rest {
		if lines := have[keys[i]]; len(lines) > 0 { // moved
			have[keys[i]] = lines[1:]
			continue
		}
		out = append(out, rest[i])
	}
	slices.SortStableFunc(out, func(a, b NewUse) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Asset, b.Asset))
	})
	return out
}

func place(f *Finding) int { return f.Cell<<32 | f.Line }

func each(d *Document, fn func(k useKey, name string, f *Finding)) {
	for i := range d.Assets {
		a := &d.Assets[i]
		for k := range a.Findings {
			f := &a.Findings[k]
			fn(useKey{a.ID, string(f.Rule), f.Flag, f.Path}, a.label(), f)
		}
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		fn(useKey{"", string(f.Rule), f.Flag, f.Path}, "", f)
	}
}

// Only returns the document with what the baseline lacks: assets that appeared
// or changed for the worse, and unsafe uses that are new. Assets with neither
// are left out, with the edges to them.
func Only(old, now *Document) *Document {
	d := Compare(old, now)
	out := *now
	out.Assets, out.Edges, out.Findings = []Asset{}, []Edge{}, []Finding{}
	out.Summary.Assets = map[string]int{}
	keep := map[string]bool{}
	for i := range d.Appeared {
		keep[d.Appeared[i].ID] = true
	}
	for _, c := range d.Changed {
		keep[c.ID] = keep[c.ID] || c.Worse
	}
	uses := map[string][]Finding{}
	for i := range d.New {
		u := &d.New[i]
		if u.Asset == "" {
			out.Findings = append(out.Findings, u.Finding)
			continue
		}
		keep[u.Asset] = true
		uses[u.Asset] = append(uses[u.Asset], u.Finding)
	}
	for i := range now.Assets {
		a := now.Assets[i]
		if !keep[a.ID] {
			continue
		}
		a.Findings = uses[a.ID]
		if a.Findings == nil {
			a.Findings = []Finding{}
		}
		out.Assets = append(out.Assets, a)
		out.Summary.Assets[string(a.Kind)]++
	}
	for _, e := range now.Edges {
		if keep[e.From] && keep[e.To] {
			out.Edges = append(out.Edges, e)
		}
	}
	return &out
}
