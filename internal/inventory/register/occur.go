package register

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Rules of governance. The platform reports them about assets and routes.
const (
	RuleNoOwner    warden.RuleID = "WDN-GV-001"
	RuleGoneOwner  warden.RuleID = "WDN-GV-002"
	RuleEvidence   warden.RuleID = "WDN-GV-003"
	RuleProhibited warden.RuleID = "WDN-GV-004"
	RuleGuarded    warden.RuleID = "WDN-GV-005"
)

// Rules returns the rules that the register itself reports.
func Rules() []warden.Rule {
	return []warden.Rule{
		{ID: RuleNoOwner, Title: "Nobody owns the asset", Severity: warden.Medium, Advice: "Name who answers for it: warden asset set ID --owner TEAM, or a rule for many: warden asset owners set --match GLOB --owner TEAM.", Frameworks: []string{"nist-ai-rmf@1.0:GOVERN 2.1"}},
		{ID: RuleGoneOwner, Title: "The owner of the asset may not sign in any more", Severity: warden.Medium, Advice: "Give the asset to somebody who is there: warden asset set ID --owner TEAM.", Frameworks: []string{"nist-ai-rmf@1.0:GOVERN 2.1"}},
		{ID: RuleEvidence, Title: "Evidence that the risk tier asks for is missing", Severity: warden.Low, Advice: "See what closes each gap: warden asset gaps ID.", Frameworks: []string{"nist-ai-rmf@1.0:MAP 5.1"}},
		{ID: RuleProhibited, Title: "The use is prohibited", Severity: warden.Critical, Advice: "Stop the use: close its routes and quarantine its artifacts. If the description is wrong, correct it: warden asset set ID.", Frameworks: []string{"nist-ai-rmf@1.0:GOVERN 1.1"}},
		{ID: RuleGuarded, Title: "Guards stopped exchanges on a route", Severity: warden.Low, Advice: "Look at the exchanges: warden gateway exchanges --route NAME. Many from one caller are an attack, many from all a rule that is too strict.", Frameworks: []string{"owasp-llm@2025:LLM01"}},
	}
}

// loadings finds how inventories load a file of a model: by digest, then by the
// end of its path, or the whole model by its name.
func (b *Board) loadings(m *Model, f File) (out []loading) {
	for _, i := range b.near[strings.ToLower(base(f.Path))] {
		a := &b.Assets[i].Asset
		if a.Digest == "" && ends(a.Name, f.Path) {
			out = append(out, a.uses()...)
		}
	}
	for _, i := range b.near[f.Digest] {
		out = append(out, b.Assets[i].uses()...)
	}
	for _, i := range b.near["model "+lower(m.Name)] {
		out = append(out, b.Assets[i].uses()...)
	}
	return out
}

// base is the last part of a path, in any notation.
func base(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// index finds the assets that may be a file or model, by what names them.
func (b *Board) index() {
	b.near = map[string][]int{}
	for i := range b.Assets {
		a, key := &b.Assets[i].Asset, ""
		switch sight.Kind(a.Kind) {
		case sight.ModelFile:
			if key = a.Digest; key == "" {
				key = strings.ToLower(base(a.Name))
			}
		case sight.Model:
			if a.Provider != "registry" {
				key = "model " + lower(a.Name)
			}
		default: // nothing else is a file that code loads
		}
		if key != "" {
			b.near[key] = append(b.near[key], i)
		}
	}
}

// uses returns how inventories load an asset.
func (a *Asset) uses() (out []loading) {
	for _, s := range a.Sightings {
		if !s.Gone && s.Source != FromRegistry && s.Source != FromGateway {
			out = append(out, loading{s.Loads, sight.State(s.State), sight.Scope(s.Scope), a.Pinned || a.Digest != "", s.Source + "/" + s.Place})
		}
	}
	return out
}

// ends reports whether two paths end in the same file: one is the end of the other.
func ends(a, b string) bool {
	a, b = "/"+strings.TrimLeft(strings.TrimPrefix(a, "./"), "/"), "/"+strings.TrimLeft(strings.TrimPrefix(b, "./"), "/")
	return strings.HasSuffix(a, b) || strings.HasSuffix(b, a)
}

func (b *Board) occurrences(snap *Snapshot, sources []Source) []Occurrence {
	var out []Occurrence
	for i := range snap.Models {
		out = append(out, b.ofModel(snap, &snap.Models[i])...)
	}
	for _, s := range sources {
		for _, f := range s.Findings {
			out = append(out, b.ofSource(snap, s, f))
		}
	}
	for i := range b.Assets {
		out = append(out, b.ofAsset(&b.Assets[i])...)
	}
	out = append(out, b.shadow(snap.Rules, b.At)...)
	for _, r := range snap.Routes {
		if r.Denied > 0 {
			out = append(out, b.ofRoute(r))
		}
	}
	return out
}

// ofModel makes occurrences of what the last scan found.
func (b *Board) ofModel(snap *Snapshot, m *Model) (out []Occurrence) {
	asset := b.asset(own(m.Name))
	for _, f := range m.Findings {
		file, _, _ := strings.Cut(f.Path, "!/")
		i := slices.IndexFunc(m.Files, func(x File) bool { return x.Path == file })
		if i < 0 { // a scan of a single file names it without its folder
			i = slices.IndexFunc(m.Files, func(x File) bool { return ends(x.Path, file) })
		}
		c := circumstances{severity: f.Severity, asset: asset, exposure: b.exposure(snap, m.Name)}
		c.exploit = Factor{Value: 0.6, Why: "known from other files of this kind", Known: true}
		if f.Severity >= warden.Critical {
			c.exploit = Factor{Value: 1, Why: "the payload runs when the file is loaded", Known: true}
		}
		c.reach = reachOf("", "")
		if r := b.served(snap, m.Name); r != "" {
			c.reach = Factor{Value: 1, Why: "route " + r + " serves it", Known: true}
		}
		var ls []loading
		if i >= 0 {
			ls = b.loadings(m, m.Files[i])
		}
		b.meet(&c, m, ls)
		switch m.State {
		case "denied", "quarantined":
			c.control = Factor{"control", 0.4, 0, "the registry and the gateway refuse it: " + m.State, true}
			if len(ls) > 0 {
				c.control = Factor{"control", 1, 0, "code loads it from a path: what the registry refuses does not help there", true}
			}
		}
		o := Occurrence{
			Asset: own(m.Name), Place: fmt.Sprintf("%s@%d/%s", m.Name, m.Number, f.Path), Digest: m.Digest, Message: clip(f.Message), Evidence: clip(f.Evidence), Severity: f.Severity.String(), Source: FromRegistry, At: m.Scanned,
			rule: f.Rule, subject: "file", norm: placeOf(f.Path), cause: plain(f.Evidence), title: snap.Rules[f.Rule].Title, advice: snap.Rules[f.Rule].Advice,
			group: f.Group, word: f.Word, note: f.Note, demo: m.Demo,
		}
		o.Priority, o.factors, o.because = weigh(c)
		out = append(out, o)
	}
	return out
}

// meet lets the decision table speak where a file meets loaders: the most urgent
// of them counts.
func (b *Board) meet(c *circumstances, m *Model, ls []loading) {
	if len(ls) == 0 {
		c.table, c.because = inventory.Priority(m.Verdict, true, "", "", sight.Production, true)
		c.because = []string{"no code of the registered inventories loads it", "the file is " + m.Verdict.String()}
		return
	}
	best := -1
	for i, l := range ls {
		row, because := inventory.Priority(m.Verdict, true, l.loads, l.state, l.scope, l.pinned)
		if best < 0 || row < c.table {
			best, c.table, c.because = i, row, append([]string{l.where}, because...)
		}
	}
	l := ls[best]
	c.reach = reachOf(l.state, l.where)
	if l.loads == "safe" {
		c.exploit = Factor{Value: 0, Why: "every loader that was found is a safe one", Known: true}
		c.reach = Factor{Value: 0, Why: "the safe loader at " + l.where + " does not run it", Known: true}
	}
}

// ofSource makes an occurrence of what an inventory found.
func (b *Board) ofSource(snap *Snapshot, s Source, f Seen) Occurrence {
	asset := b.asset(f.Asset)
	c := circumstances{severity: rank(f.Severity), asset: asset}
	c.exploit = Factor{Value: 0.3, Why: "a path in code, not tried", Known: true}
	if f.Conditional {
		c.exploit = Factor{Value: 0, Why: "off unless something sets it", Known: true}
	}
	c.reach = reachOf(sight.State(f.State), fmt.Sprintf("%s:%d", f.Path, f.Line))
	rule := snap.Rules[warden.RuleID(f.Rule)]
	o := Occurrence{
		Asset: f.Asset, Place: fmt.Sprintf("%s/%s:%d", s.Name, f.Path, f.Line), Message: f.Message, Severity: f.Severity, Source: s.Name, At: s.At,
		rule: warden.RuleID(f.Rule), subject: "source", norm: plain(f.Path), cause: plain(f.Flag), title: cmp.Or(rule.Title, f.Message), advice: rule.Advice, demo: s.Demo,
	}
	o.Priority, o.factors, o.because = weigh(c)
	return o
}

// ofAsset makes occurrences of what governance misses.
func (b *Board) ofAsset(v *View) (out []Occurrence) {
	a := &v.Asset
	if !governed(a) {
		return nil
	}
	add := func(id warden.RuleID, cause, format string, args ...any) {
		rules := Rules()
		i := slices.IndexFunc(rules, func(r warden.Rule) bool { return r.ID == id })
		c := circumstances{severity: rules[i].Severity, asset: a, reach: reachOf(a.State(), "")}
		c.exploit = Factor{Value: 0.3, Why: "a gap, not an attack", Known: true}
		if id == RuleProhibited {
			c.exploit = Factor{Value: 1, Why: "it happens", Known: true}
		}
		o := Occurrence{
			Asset: a.ID, Place: a.ID, Message: clip(fmt.Sprintf(format, args...)), Severity: rules[i].Severity.String(), Source: "register", At: a.First,
			rule: id, subject: "asset", norm: string(a.Family), cause: cause, title: rules[i].Title, advice: rules[i].Advice, demo: a.Demo,
		}
		o.Priority, o.factors, o.because = weigh(c)
		out = append(out, o)
	}
	switch {
	case v.Owner.Name == "":
		add(RuleNoOwner, "", "%s has no owner", a.ID)
	case v.Owner.Disabled:
		add(RuleGoneOwner, v.Owner.Name, "%s belongs to %s, who is disabled", a.ID, v.Owner.Name)
	}
	if v.Tier == 0 {
		add(RuleProhibited, a.Person.System.Purpose, "%s: %s", a.ID, firedTitles(v))
	}
	if v.Tier == 1 || v.Tier == 2 {
		for _, e := range v.Evidence {
			if e.State == Missing || e.State == Stale {
				add(RuleEvidence, e.Kind, "%s is in tier %d and lacks: %s", a.ID, v.Tier, e.Title)
				out[len(out)-1].title += ": " + e.Title
			}
		}
	}
	return out
}

func firedTitles(v *View) string {
	var out []string
	for _, f := range v.Risk.Fired {
		if f.Tier == 0 || f.Class == "prohibited" {
			out = append(out, f.Title)
		}
	}
	return strings.Join(out, ", ")
}

func (b *Board) ofRoute(r Route) Occurrence {
	id := "endpoint:route:" + lower(r.Name)
	c := circumstances{severity: warden.Low, asset: b.asset(id), exposure: "internal"}
	c.exploit = Factor{Value: 0.6, Why: "somebody tried", Known: true}
	c.reach = reachOf(sight.Reachable, "route "+r.Name)
	c.control = Factor{"control", 0.4, 0, "a guard stopped them", true}
	rules := Rules()
	rule := rules[len(rules)-1]
	o := Occurrence{
		Asset: id, Place: "route " + r.Name, Message: fmt.Sprintf("guards stopped %d of %d exchanges in 30 days", r.Denied, r.Requests), Severity: "low", Source: FromGateway, At: r.Last,
		rule: RuleGuarded, subject: "traffic", norm: plain(r.Name), title: rule.Title, advice: rule.Advice, demo: r.Demo,
	}
	o.Priority, o.factors, o.because = weigh(c)
	return o
}

// served returns an open route to a model, or "".
func (b *Board) served(snap *Snapshot, model string) string {
	for _, r := range snap.Routes {
		if r.Open && r.Model == model {
			return r.Name
		}
	}
	return ""
}

// exposure is what routes say: who calls a route is inside, as far as is known.
func (b *Board) exposure(snap *Snapshot, model string) string {
	if b.served(snap, model) != "" {
		return "internal"
	}
	return ""
}
