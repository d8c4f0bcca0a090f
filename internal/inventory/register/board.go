package register

import (
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/inventory/risk"
	"github.com/modelwarden/warden/rules"
)

// An EvidenceState says whether evidence is there.
type EvidenceState string

// The states of evidence.
const (
	There         EvidenceState = "there"
	Stale         EvidenceState = "stale"
	Missing       EvidenceState = "missing"
	NotApplicable EvidenceState = "not_applicable"
	Absent        EvidenceState = "absent" // nothing here can make it yet; a gap all the same
)

// An Evidence is one kind that the tier of an asset asks for.
type Evidence struct {
	Kind   string        `json:"kind"`
	Title  string        `json:"title"`
	State  EvidenceState `json:"state"`
	At     time.Time     `json:"at,omitzero"` // when it was made
	Detail string        `json:"detail,omitempty"`
	Close  string        `json:"close,omitempty"` // what closes the gap
}

// Gap reports whether e lacks.
func (e Evidence) Gap() bool { return e.State == Missing || e.State == Stale || e.State == Absent }

// Use is what the gateways saw of an asset in 30 days.
type Use struct {
	Routes   []string  `json:"routes"`
	Requests int64     `json:"requests"`
	Denied   int64     `json:"denied"`
	Callers  int       `json:"callers"`
	Last     time.Time `json:"last,omitzero"`
}

// A View is an asset with all that follows from it.
type View struct {
	Asset
	State    string      `json:"state"`
	Gone     bool        `json:"gone"`
	Last     time.Time   `json:"last"`
	Owner    Owner       `json:"owner"`
	Risk     risk.Result `json:"risk"`
	Tier     int         `json:"tier"` // that holds: of the rules, or of people
	TierFrom string      `json:"tier_from"`
	Evidence []Evidence  `json:"evidence"`
	Gaps     int         `json:"gaps"`
	Use      Use         `json:"use"`
	Verdict  string      `json:"verdict,omitempty"`
	Open     int         `json:"open"`     // groups of findings
	Priority int         `json:"priority"` // of the worst
}

// A Board is one consistent state of everything.
type Board struct {
	Assets  []View
	Groups  []Group
	Sources []Source
	Owners  []OwnerRule
	At      time.Time

	byID map[string]int
	near map[string][]int // assets that may be a file or model; see index
}

func (b *Board) asset(id string) *Asset {
	if i, ok := b.byID[id]; ok {
		return &b.Assets[i].Asset
	}
	return nil
}

// View returns an asset.
func (b *Board) View(id string) (View, bool) {
	i, ok := b.byID[id]
	if !ok {
		return View{}, false
	}
	return b.Assets[i], true
}

// assemble makes the views of all assets; findings come later.
func assemble(assets map[string]*Asset, snap *Snapshot, rs []OwnerRule, rules *risk.Rules, now time.Time) *Board {
	b := &Board{byID: map[string]int{}, Owners: rs, At: now}
	models, files := map[string]*Model{}, map[string]*Model{}
	for i := range snap.Models {
		m := &snap.Models[i]
		models[own(m.Name)] = m
		for _, f := range m.Files { // what the registry knows of a file holds for its twins in source trees
			if x := files[f.Digest]; x == nil || m.Verdict > x.Verdict {
				files[f.Digest] = m
			}
		}
	}
	for _, a := range assets {
		v := View{Asset: *a, State: string(a.State()), Gone: a.Gone(), Last: a.Last(), Owner: ownerOf(a, rs, snap.Disabled), Use: Use{Routes: []string{}}}
		if v.Sightings == nil {
			v.Sightings = []Sighting{}
		}
		m := models[a.ID]
		if m == nil && a.Digest != "" {
			m = files[a.Digest]
		}
		if m != nil && !m.Scanned.IsZero() {
			v.Verdict = m.Verdict.String()
		}
		routes := routesOf(a, snap)
		for _, r := range routes {
			v.Use.Routes = append(v.Use.Routes, r.Name)
			v.Use.Requests, v.Use.Denied, v.Use.Callers = v.Use.Requests+r.Requests, v.Use.Denied+r.Denied, max(v.Use.Callers, r.Callers)
			if r.Last.After(v.Use.Last) {
				v.Use.Last = r.Last
			}
		}
		v.classify(rules, now)
		v.evidence(m, routes, rules.Data(), now)
		b.Assets = append(b.Assets, v)
	}
	slices.SortFunc(b.Assets, func(a, c View) int { return strings.Compare(a.ID, c.ID) })
	for i := range b.Assets {
		b.byID[b.Assets[i].ID] = i
	}
	b.index()
	return b
}

// routesOf returns the routes that lead to an asset.
func routesOf(a *Asset, snap *Snapshot) (out []Route) {
	for _, r := range snap.Routes {
		switch {
		case r.Model != "" && own(r.Model) == a.ID, "endpoint:route:"+lower(r.Name) == a.ID:
			out = append(out, r)
		case r.Provider != "":
			p, m, _ := strings.Cut(r.Provider, "/")
			if a.Kind == "provider" && strings.EqualFold(a.Name, p) || a.Kind == "model" && strings.EqualFold(a.Provider, p) && strings.EqualFold(a.Name, m) {
				out = append(out, r)
			}
		}
	}
	return out
}

// classify tells class and tier. What the machine knows stands where nobody
// said anything: a route makes an asset at least internal.
func (v *View) classify(rules *risk.Rules, now time.Time) {
	s := v.Person.System
	if s.Exposure == "" && len(v.Use.Routes) > 0 {
		s.Exposure = "internal"
	}
	v.Risk = rules.Classify(s, now)
	v.Tier, v.TierFrom = v.Risk.Tier, "rules"
	if o := v.Override; o.Holds(now) {
		switch {
		case !o.Lowers && o.Tier < v.Tier:
			v.Tier, v.TierFrom = o.Tier, "raised by "+o.By
		case o.Lowers && o.Tier > v.Tier && v.Tier >= o.Was && v.Tier > 0:
			v.Tier, v.TierFrom = o.Tier, "lowered for "+o.By+" until "+o.Until.Format(time.DateOnly)
		}
	}
}

const trafficFresh = 30 * 24 * time.Hour

// evidence looks for what the tier asks for.
func (v *View) evidence(m *Model, routes []Route, data *rules.Risk, now time.Time) {
	v.Evidence = []Evidence{}
	if v.Family == Part {
		return
	}
	files := v.Family == Own || v.Family == Public
	for _, kind := range data.Tiers[v.Tier].Evidence {
		i := slices.IndexFunc(data.Evidence, func(e rules.RiskEvidence) bool { return e.ID == kind })
		row := data.Evidence[i]
		e := Evidence{Kind: kind, Title: row.Title, State: Missing, Close: row.Close}
		there := func(ok bool, at time.Time, detail string) {
			e.Detail = detail
			if ok {
				e.State, e.At, e.Close = There, at, ""
			}
		}
		switch {
		case row.Absent:
			e.State, e.Detail = Absent, "not yet producible here"
		case row.Needs == "files" && !files:
			e.State, e.Detail, e.Close = NotApplicable, "it has no files of its own here", ""
		case row.Needs == "served" && v.Family == Own && len(routes) == 0:
			e.State, e.Detail, e.Close = NotApplicable, "no route serves it", ""
		case kind == "owner":
			there(v.Owner.Name != "" && !v.Owner.Disabled, v.Changed, v.Owner.Name)
		case kind == "purpose":
			there(v.Person.System.Purpose != "", v.Changed, v.Person.System.Purpose)
		case kind == "oversight":
			there(v.Person.Approver != "", v.Changed, v.Person.Approver)
		case kind == "signature_or_digest":
			there(m != nil || v.Pinned || v.Digest != "", v.First, "named by its digest")
		case kind == "guard":
			there(len(routes) > 0 && !slices.ContainsFunc(routes, func(r Route) bool { return r.Guard != "standard" }), now, guards(routes))
		case kind == "monitoring":
			there(!v.Use.Last.IsZero() && now.Sub(v.Use.Last) < trafficFresh, v.Use.Last, traffic(v.Use))
		case m == nil:
			e.Detail = "the registry does not have it"
		case kind == "scan":
			there(!m.Scanned.IsZero() && m.Complete && !m.Stale, m.Scanned, m.Verdict.String())
			if e.State == Missing && !m.Scanned.IsZero() {
				e.State, e.At, e.Detail = Stale, m.Scanned, "the last scan is incomplete or no longer holds"
			}
		case kind == "signature":
			there(m.Signed, m.Pushed, "")
		case kind == "provenance":
			there(m.Provenance, m.Pushed, "")
		}
		if e.Gap() {
			v.Gaps++
		}
		v.Evidence = append(v.Evidence, e)
	}
}

func guards(routes []Route) string {
	if len(routes) == 0 {
		return "no gateway route leads to it"
	}
	var out []string
	for _, r := range routes {
		out = append(out, r.Name+": "+r.Guard)
	}
	return strings.Join(out, ", ")
}

func traffic(u Use) string {
	if u.Last.IsZero() {
		return "the gateways saw no traffic of it"
	}
	return strings.Join(u.Routes, ", ")
}

// join puts findings beside their assets.
func (b *Board) join(groups map[string]*Group) {
	for _, g := range groups {
		b.Groups = append(b.Groups, *g)
		if !g.State.Active() {
			continue
		}
		for _, id := range g.Assets {
			if i, ok := b.byID[id]; ok {
				b.Assets[i].Open++
				b.Assets[i].Priority = max(b.Assets[i].Priority, g.Priority)
			}
		}
	}
	slices.SortFunc(b.Groups, func(x, y Group) int {
		if x.State.Active() != y.State.Active() {
			if x.State.Active() {
				return -1
			}
			return 1
		}
		if x.Priority != y.Priority {
			return y.Priority - x.Priority
		}
		return strings.Compare(x.ID, y.ID)
	})
}

// Coverage counts assets that need an owner of their own.
type Coverage struct {
	Assets  int `json:"assets"` // that people must govern, and that are there
	Owned   int `json:"owned"`
	Tiered  int `json:"tiered"` // purpose, data and exposure are known
	Files   int `json:"files"`  // that have files
	Scanned int `json:"scanned"`
	Gone    int `json:"gone"`
	Sources int `json:"sources"`
}

// Coverage counts.
func (b *Board) Coverage() (c Coverage) {
	c.Sources = len(b.Sources)
	for i := range b.Assets {
		v := &b.Assets[i]
		if v.Gone {
			c.Gone++
		}
		if !governed(&v.Asset) {
			continue
		}
		c.Assets++
		if v.Owner.Name != "" && !v.Owner.Disabled {
			c.Owned++
		}
		if v.Described() {
			c.Tiered++
		}
		if v.Family == Own || v.Family == Public {
			c.Files++
			if v.Verdict != "" {
				c.Scanned++
			}
		}
	}
	return c
}

// Described reports whether people said what a tier needs.
func (v *View) Described() bool {
	return !slices.Contains(v.Risk.Unknown, "purpose") && !slices.Contains(v.Risk.Unknown, "data") && !slices.Contains(v.Risk.Unknown, "exposure")
}
