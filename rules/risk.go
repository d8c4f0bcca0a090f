package rules

import (
	_ "embed" // the rules are data
	"fmt"
)

//go:embed risk/eu_ai_act.yaml
var euAIAct []byte

//go:embed risk/tiers.yaml
var riskTiers []byte

// A RiskRule says what a described system is. It fires if every key of When has
// one of its values and no key of Unless has.
type RiskRule struct {
	ID      string              `yaml:"id"`
	Class   string              `yaml:"class"` // of the AI Act; "" in a rule of tiers
	Tier    int                 `yaml:"tier"`
	Article string              `yaml:"article"`
	Title   string              `yaml:"title"`
	From    string              `yaml:"from"` // the day it begins to hold, 2006-01-02; "": it does
	When    map[string][]string `yaml:"when"`
	Unless  map[string][]string `yaml:"unless"`
}

// A RiskTerm is one entry of a closed list.
type RiskTerm struct {
	ID    string `yaml:"id" json:"id"`
	Title string `yaml:"title" json:"title"`
}

// A RiskTier says what a tier asks for.
type RiskTier struct {
	Tier     int      `yaml:"tier" json:"tier"`
	Name     string   `yaml:"name" json:"name"`
	Approver string   `yaml:"approver" json:"approver"`
	Days     int      `yaml:"days" json:"review_days"` // until the next review
	Evidence []string `yaml:"evidence" json:"evidence"`
}

// A RiskEvidence is a kind of evidence.
type RiskEvidence struct {
	ID     string `yaml:"id" json:"id"`
	Title  string `yaml:"title" json:"title"`
	Needs  string `yaml:"needs" json:"needs"`   // files, served: what an asset must have for it to be asked for
	Close  string `yaml:"close" json:"close"`   // what makes it
	Absent bool   `yaml:"absent" json:"absent"` // nothing here makes it yet
}

// Risk is what decides classes and tiers.
type Risk struct {
	Purposes   []RiskTerm
	Class      []RiskRule
	Exemptions []string
	Traits     []string
	Systemic   float64 // FLOP of training above which systemic risk is presumed
	Axes       map[string][]string
	Tier       []RiskRule
	Tiers      []RiskTier // by number
	Evidence   []RiskEvidence
}

// LoadRisk reads the rules, strictly.
func LoadRisk() (*Risk, error) {
	var act struct {
		Purposes   []RiskTerm `yaml:"purposes"`
		Rules      []RiskRule `yaml:"rules"`
		Exemptions []string   `yaml:"exemptions"`
		Traits     []string   `yaml:"traits"`
		Systemic   float64    `yaml:"systemic_flop"`
	}
	if err := DecodeStrict(euAIAct, &act); err != nil {
		return nil, fmt.Errorf("%w: risk/eu_ai_act.yaml: %w", ErrRule, err)
	}
	var t struct {
		Axes     map[string][]string `yaml:"axes"`
		Rules    []RiskRule          `yaml:"rules"`
		Tiers    []RiskTier          `yaml:"tiers"`
		Evidence []RiskEvidence      `yaml:"evidence"`
	}
	if err := DecodeStrict(riskTiers, &t); err != nil {
		return nil, fmt.Errorf("%w: risk/tiers.yaml: %w", ErrRule, err)
	}
	return &Risk{
		Purposes: act.Purposes, Class: act.Rules, Exemptions: act.Exemptions, Traits: act.Traits, Systemic: act.Systemic,
		Axes: t.Axes, Tier: t.Rules, Tiers: t.Tiers, Evidence: t.Evidence,
	}, nil
}
