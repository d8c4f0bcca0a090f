package report

import (
	"crypto/sha256"
	_ "embed" // the page, its style and its script
	"encoding/base64"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed html/inventory.tmpl
var inventoryPage string

//go:embed html/inventory.css
var inventoryStyle string

//go:embed html/inventory.js
var inventoryScript string

// WriteHTML renders an inventory as one page that needs no network: summary,
// priorities, a drawn graph, a table with filters, and what was not read. The
// page names the digests of its own style and script as the only ones that may
// run; without a script the search field alone is missing. Every text of the
// tree is escaped by html/template for the place where it stands.
func (n *Inventory) WriteHTML(w io.Writer) error {
	t, err := template.New("inventory").Parse(inventoryPage)
	if err != nil {
		return err
	}
	return t.Execute(w, n.page())
}

type page struct {
	Inventory *Inventory
	Summary   string
	Policy    string
	Style     template.CSS
	Script    template.JS
	Kinds     []kindCount
	States    []kindCount
	Tasks     []pageTask
	Later     []pageTask // priority 4 and 5
	Graph     drawing
	Rows      []pageRow
	Gaps      []pageGap
	Skipped   string
	Levels    []kindCount
}

type kindCount struct {
	Kind, Title string
	Count       int
}

type pageTask struct {
	Priority                            int
	Severity, Rule, Title, Asset, About string
	Anchor                              string
	Places                              []Place
	More                                int
	Because, Advice                     string
}

type pageRow struct {
	*Asset
	Anchor, Title, KindTitle, StateTitle, Pin string
	First                                     Place
	More                                      int
	Urgent                                    bool
	Leads                                     []pageLink // what it leads to
	Used                                      []pageLink // what leads to it
	Text                                      string     // what the search looks at
}

type pageLink struct{ Kind, Label, Anchor string }

type pageGap struct {
	State, Reader, Error string
	Blind                bool
	Places               []Place
	More                 int
}

// placesListed bounds the places that the page lists of one thing.
const placesListed = 25

// stateRank orders states, what surely runs first.
func stateRank(s string) int {
	return slices.Index([]string{"reachable", "possibly_reachable", "config_only", "unreachable", "inactive", "commented"}, s)
}

func sourceDigest(s string) string {
	d := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(d[:]) + "'"
}

func (n *Inventory) page() page {
	p := page{
		Inventory: n, Summary: n.summary(), Graph: n.draw(), Skipped: strings.Join(n.Skipped, ", "),
		// Both come from files beside this one, never from the tree.
		Style: template.CSS(inventoryStyle), Script: template.JS(inventoryScript), //nolint:gosec // constants of the program
		Policy: "default-src 'none'; style-src " + sourceDigest(inventoryStyle) + "; script-src " + sourceDigest(inventoryScript) + "; base-uri 'none'; form-action 'none'",
	}
	anchors, labels := map[string]string{}, map[string]string{}
	for i := range n.Assets {
		anchors[n.Assets[i].ID], labels[n.Assets[i].ID] = anchor(i), n.Assets[i].Label()
	}
	out, in := map[string][]pageLink{}, map[string][]pageLink{}
	for _, l := range n.Links {
		kind := strings.ReplaceAll(l.Kind, "_", " ")
		out[l.From] = append(out[l.From], pageLink{kind, labels[l.To], anchors[l.To]})
		in[l.To] = append(in[l.To], pageLink{kind, labels[l.From], anchors[l.From]})
	}
	count := func(list []kindCount, kind, title string) []kindCount {
		if i := slices.IndexFunc(list, func(k kindCount) bool { return k.Kind == kind }); i >= 0 {
			list[i].Count++
			return list
		}
		return append(list, kindCount{kind, title, 1})
	}
	for i := range n.Assets {
		a := &n.Assets[i]
		p.Kinds = count(p.Kinds, a.Kind, heading(a.Kind))
		p.States = count(p.States, a.State, strings.ReplaceAll(a.State, "_", " "))
		p.Rows = append(p.Rows, a.pageRow(anchor(i), out[a.ID], in[a.ID]))
	}
	slices.SortStableFunc(p.States, func(a, b kindCount) int { return stateRank(a.Kind) - stateRank(b.Kind) })
	for _, t := range n.tasks() {
		p.Levels = count(p.Levels, t.severity, t.severity)
		k := pageTask{
			Priority: t.priority, Severity: t.severity, Rule: t.rule, Title: t.title, Asset: t.asset, Anchor: anchors[t.assetID],
			Places: t.places, Because: strings.Join(t.because, ", "), Advice: strings.Join(t.advice, " "),
		}
		if len(k.Places) > placesListed {
			k.Places, k.More = k.Places[:placesListed], len(k.Places)-placesListed
		}
		if k.Priority > 3 {
			p.Later = append(p.Later, k)
			continue
		}
		p.Tasks = append(p.Tasks, k)
	}
	slices.SortStableFunc(p.Levels, func(a, b kindCount) int { return severityRank(b.Kind) - severityRank(a.Kind) })
	for _, g := range n.gapGroups() {
		k := pageGap{State: strings.ReplaceAll(g.State, "_", " "), Reader: g.Reader, Error: g.Error, Blind: g.Blind(), Places: g.places}
		if len(k.Places) > placesListed {
			k.Places, k.More = k.Places[:placesListed], len(k.Places)-placesListed
		}
		p.Gaps = append(p.Gaps, k)
	}
	return p
}

func (a *Asset) pageRow(id string, out, in []pageLink) pageRow {
	r := pageRow{Asset: a, Anchor: id, Title: a.Label(), KindTitle: strings.ReplaceAll(a.Kind, "_", " "), StateTitle: strings.ReplaceAll(a.State, "_", " "), Urgent: a.urgent(), Leads: out, Used: in}
	switch {
	case a.Revision != "" && a.Pinned:
		r.Pin = "pinned"
	case a.Revision != "", a.Provider == "huggingface" && (a.Kind == "model" || a.Kind == "dataset"):
		r.Pin = "not pinned"
	}
	text := []string{r.Title, a.Kind, a.Provider, a.State, a.Scope, a.Owner, strings.Join(a.Flags, " ")}
	for _, p := range a.Places {
		text = append(text, p.Path)
	}
	r.Text = strings.ToLower(cut(strings.Join(text, " "), 2000))
	if len(a.Places) > 0 {
		r.First = a.Places[0]
	}
	if len(a.Places) > placesListed {
		r.More = len(a.Places) - placesListed
	}
	return r
}

// Listed are the places that the page shows.
func (r pageRow) Listed() []Place { return r.Places[:min(len(r.Places), placesListed)] }
