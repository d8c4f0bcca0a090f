// Package risk tells the class of a described system by the EU AI Act, and its
// risk tier. Rules are data (rules/risk); this package only evaluates them, and
// says which fired. The class is a screening aid: what holds is what a named
// person attests.
package risk

import (
	"fmt"
	"slices"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/rules"
)

// A Class is that of Regulation (EU) 2024/1689.
type Class string

// The classes, gravest first.
const (
	Prohibited   Class = "prohibited"
	High         Class = "high"
	HighExempt   Class = "high_exempt"
	Transparency Class = "transparency"
	Minimal      Class = "minimal"
)

// Unknown stands for an axis that nobody described.
const Unknown = "unknown"

// A System is what rules ask about. Empty fields are unknown.
type System struct {
	Purpose   string   `json:"purpose,omitempty" yaml:"purpose" doc:"one of the closed list"`
	Traits    []string `json:"traits,omitempty" yaml:"traits"`
	Data      []string `json:"data,omitempty" yaml:"data" doc:"categories of data that it sees"`
	Exposure  string   `json:"exposure,omitempty" yaml:"exposure" doc:"none, internal, partner or internet"`
	Effect    string   `json:"effect,omitempty" yaml:"effect" doc:"of its decisions: advisory, human_decides, automatic_reversible, automatic_irreversible"`
	Autonomy  string   `json:"autonomy,omitempty" yaml:"autonomy" doc:"answers, suggests, acts_with_approval, acts_alone"`
	Tools     []string `json:"tools,omitempty" yaml:"tools" doc:"what its tools may do: read, write, money, code, identity"`
	Exemption string   `json:"exemption,omitempty" yaml:"exemption" doc:"ground of Art. 6(3) that is claimed"`
	Role      string   `json:"role,omitempty" yaml:"role" doc:"provider, deployer, importer or distributor"`
	FLOP      float64  `json:"flop,omitempty" yaml:"flop" doc:"of training, of a general-purpose model"`
}

// A Fired rule.
type Fired struct {
	ID      string `json:"id"`
	Article string `json:"article,omitempty"`
	Title   string `json:"title"`
	Class   Class  `json:"class,omitempty"`
	Tier    int    `json:"tier"` // of a rule of tiers
	From    string `json:"from,omitempty"`
}

// A Result is what the rules say of a system.
type Result struct {
	Class   Class    `json:"class"`
	GPAI    string   `json:"gpai"` // "", provider or systemic (Art. 51)
	Tier    int      `json:"tier"`
	Fired   []Fired  `json:"fired"`   // all rules that fired, those of the class first
	Coming  []Fired  `json:"coming"`  // that would fire, but hold later
	Unknown []string `json:"unknown"` // axes that nobody described
}

// Rules evaluates.
type Rules struct{ data *rules.Risk }

// Load reads the rules and checks that they name only what there is.
func Load() (*Rules, error) {
	d, err := rules.LoadRisk()
	if err != nil {
		return nil, err
	}
	r := &Rules{d}
	for _, x := range slices.Concat(d.Class, d.Tier) {
		for _, when := range []map[string][]string{x.When, x.Unless} {
			for axis, values := range when {
				for _, v := range values {
					if known := r.values(axis); !slices.Contains(known, v) && v != Unknown {
						return nil, fmt.Errorf("%w: rule %s: %s has no value %q", rules.ErrRule, x.ID, axis, v)
					}
				}
			}
		}
		if len(x.When) == 0 || x.Title == "" {
			return nil, fmt.Errorf("%w: rule %s asks for nothing or has no title", rules.ErrRule, x.ID)
		}
	}
	for i, t := range d.Tiers {
		for _, e := range t.Evidence {
			if !slices.ContainsFunc(d.Evidence, func(x rules.RiskEvidence) bool { return x.ID == e }) {
				return nil, fmt.Errorf("%w: tier %d asks for %q, which is no kind of evidence", rules.ErrRule, i, e)
			}
		}
	}
	return r, nil
}

// Data returns the rules themselves.
func (r *Rules) Data() *rules.Risk { return r.data }

// values lists what an axis may be.
func (r *Rules) values(axis string) []string {
	switch axis {
	case "purpose":
		out := make([]string, 0, len(r.data.Purposes))
		for _, p := range r.data.Purposes {
			out = append(out, p.ID)
		}
		return out
	case "trait":
		return r.data.Traits
	case "exemption":
		return r.data.Exemptions
	case "class":
		return []string{string(Prohibited), string(High), string(HighExempt), string(Transparency), string(Minimal)}
	default:
		return r.data.Axes[axis]
	}
}

// Check returns what of s is in none of the closed lists, as a *warden.Error.
func (r *Rules) Check(s System) error {
	ask := func(axis string, values ...string) error {
		for _, v := range values {
			if v == "" {
				continue
			}
			if known := r.values(axis); !slices.Contains(known, v) {
				return &warden.Error{
					Code: warden.CodeInvalid, Message: fmt.Sprintf("%s: %.60q is not in the list", axis, v), Hint: fmt.Sprintf("one of %v", known),
				}
			}
		}
		return nil
	}
	for _, err := range []error{
		ask("purpose", s.Purpose), ask("trait", s.Traits...), ask("data", s.Data...), ask("exposure", s.Exposure), ask("effect", s.Effect),
		ask("autonomy", s.Autonomy), ask("tool", s.Tools...), ask("exemption", s.Exemption), ask("role", s.Role),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Classify evaluates the rules as they hold at now. It is pure.
func (r *Rules) Classify(s System, now time.Time) Result {
	out := Result{Class: Minimal, Tier: 4, Fired: []Fired{}, Coming: []Fired{}, Unknown: []string{}}
	have := map[string][]string{
		"purpose": {s.Purpose}, "trait": s.Traits, "data": s.Data, "exposure": {s.Exposure}, "effect": {s.Effect}, "autonomy": {s.Autonomy}, "tool": s.Tools,
	}
	for _, axis := range [...]string{"purpose", "data", "exposure", "effect", "autonomy"} {
		if vs := have[axis]; len(vs) == 0 || vs[0] == "" {
			have[axis] = []string{Unknown}
			out.Unknown = append(out.Unknown, axis)
		}
	}
	order := [...]Class{Prohibited, High, HighExempt, Transparency, Minimal}
	profiled, product := slices.Contains(s.Traits, "profiling"), slices.Contains(s.Traits, "annex_i_safety")
	for _, x := range r.data.Class {
		if !fires(x, have) {
			continue
		}
		c := Class(x.Class)
		f := Fired{ID: x.ID, Article: x.Article, Title: x.Title, Class: c, Tier: -1, From: x.From}
		if x.From != "" && now.Format(time.DateOnly) < x.From {
			out.Coming = append(out.Coming, f)
			continue
		}
		if c == High && s.Exemption != "" && !profiled && !product {
			c = HighExempt
			f.Class, f.Title = c, x.Title+"; exempt: "+s.Exemption+" (Art. 6(3))"
		}
		out.Fired = append(out.Fired, f)
		if slices.Index(order[:], c) < slices.Index(order[:], out.Class) {
			out.Class = c
		}
	}
	if slices.Contains(s.Traits, "gpai_provider") {
		out.GPAI = "provider"
		out.Fired = append(out.Fired, Fired{ID: "EU-53", Article: "Art. 53", Title: "Provides a general-purpose model", Tier: -1})
		if s.FLOP > r.data.Systemic {
			out.GPAI = "systemic"
			out.Fired = append(out.Fired, Fired{ID: "EU-51-2", Article: "Art. 51(2)", Title: "Systemic risk is presumed: trained with more than 10^25 operations", Tier: -1})
		}
	}
	have["class"] = []string{string(out.Class)}
	for _, x := range r.data.Tier {
		if fires(x, have) {
			out.Fired = append(out.Fired, Fired{ID: x.ID, Title: x.Title, Tier: x.Tier})
			out.Tier = min(out.Tier, x.Tier)
		}
	}
	return out
}

func fires(x rules.RiskRule, have map[string][]string) bool {
	for axis, want := range x.When {
		if !meet(want, have[axis]) {
			return false
		}
	}
	for axis, not := range x.Unless {
		if meet(not, have[axis]) {
			return false
		}
	}
	return true
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
