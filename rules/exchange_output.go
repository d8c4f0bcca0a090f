package rules

import (
	_ "embed" // rules are data
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/modelwarden/warden"
)

// An OutputRule is a rule over what a model says: either for kinds of matches
// that recognisers know, or for expressions that are looked at where one of its
// words is read.
type OutputRule struct {
	warden.Rule
	Effect warden.Effect // what is done about it where no policy says more
	Chat   warden.Severity
	Kinds  []string
	Words  []string         // that call for the expressions
	Any    []*regexp.Regexp // RE2, over the line around the word
	Ahead  string           // what may follow the word: "" nothing, "word", "line"
	Catch  []string
	Pass   []string
	Tool   []string // more examples to catch, as arguments of a tool
}

type wireOutput struct {
	ID         string   `yaml:"id"`
	Title      string   `yaml:"title"`
	Severity   string   `yaml:"severity"`
	Chat       string   `yaml:"chat"` // severity where it is not the argument of a tool
	Effect     string   `yaml:"effect"`
	Frameworks []string `yaml:"frameworks"`
	Advice     string   `yaml:"advice"`
	Kinds      []string `yaml:"kinds"`
	Match      struct {
		Words []string `yaml:"words"`
		Any   []string `yaml:"any"`
		Ahead string   `yaml:"ahead"`
	} `yaml:"match"`
	Catch []string `yaml:"catch"`
	Pass  []string `yaml:"pass"`
	Tool  []string `yaml:"tool"`
}

// ParseOutput reads rules over answers strictly: unknown keys, missing fields,
// expressions that do not compile and ids or kinds used twice are errors. The
// examples are tested where the recognisers are.
func ParseOutput(name string, text []byte) ([]OutputRule, error) {
	if len(text) > maxRuleFile {
		return nil, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrRule, name, len(text), maxRuleFile)
	}
	var wire []wireOutput
	if err := DecodeStrict(text, &wire); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRule, name, err)
	}
	var out []OutputRule
	used := map[string]bool{}
	for i, w := range wire {
		r, err := w.rule()
		for _, key := range append([]string{w.ID}, w.Kinds...) {
			if err == nil && used[key] {
				err = fmt.Errorf("%s is used twice", key)
			}
			used[key] = true
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: rule %d (%s): %w", ErrRule, name, i+1, w.ID, err)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s: no rule", ErrRule, name)
	}
	return out, nil
}

func (w wireOutput) rule() (OutputRule, error) {
	for field, empty := range map[string]bool{
		"id": w.ID == "", "title": w.Title == "", "advice": w.Advice == "", "frameworks": len(w.Frameworks) == 0,
		"kinds or match.any": len(w.Kinds) == 0 && len(w.Match.Any) == 0, "catch": len(w.Catch) == 0 && len(w.Tool) == 0, "pass": len(w.Pass) == 0,
		"match.words": len(w.Match.Any) > 0 && len(w.Match.Words) == 0,
	} {
		if empty {
			return OutputRule{}, fmt.Errorf("%s is missing", field)
		}
	}
	sev, err := warden.ParseSeverity(w.Severity)
	if err != nil {
		return OutputRule{}, err
	}
	r := OutputRule{
		Rule:   warden.Rule{ID: warden.RuleID(w.ID), Title: w.Title, Severity: sev, Advice: w.Advice, Frameworks: w.Frameworks},
		Effect: warden.Effect(w.Effect), Chat: sev, Kinds: w.Kinds, Words: w.Match.Words, Ahead: w.Match.Ahead,
		Catch: w.Catch, Pass: w.Pass, Tool: w.Tool,
	}
	if w.Chat != "" {
		if r.Chat, err = warden.ParseSeverity(w.Chat); err != nil {
			return OutputRule{}, err
		}
	}
	if !slices.Contains([]warden.Effect{warden.Allow, warden.AllowReview, warden.Redact, warden.Deny}, r.Effect) {
		return OutputRule{}, fmt.Errorf("effect %q is none of allow, review, redact, deny", w.Effect)
	}
	if r.Chat > sev {
		return OutputRule{}, errors.New("chat is above severity")
	}
	if !slices.Contains([]string{"", "word", "line"}, r.Ahead) {
		return OutputRule{}, fmt.Errorf("match.ahead %q is none of word, line", r.Ahead)
	}
	for _, text := range w.Match.Any {
		re, err := regexp.Compile(text)
		if err != nil {
			return OutputRule{}, err
		}
		r.Any = append(r.Any, re)
	}
	return r, nil
}

//go:embed exchange/output.yaml
var outputRules []byte

// Output returns the rules over answers of models.
func Output() ([]OutputRule, error) { return ParseOutput("exchange/output.yaml", outputRules) }
