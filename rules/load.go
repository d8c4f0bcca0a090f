package rules

import (
	"bytes"
	_ "embed" // the catalogue is data
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/modelwarden/warden"
)

// ErrRule is wrapped by [Parse] for a rule file that is not acceptable. The
// message names the file, and the line or the rule.
var ErrRule = errors.New("invalid rule file")

// A TextRule is a check that is data: expressions over text, with examples of
// what they catch and of look-alikes that they must let pass.
type TextRule struct {
	warden.Rule
	Any   []*regexp.Regexp // RE2; one match is enough
	Catch []string
	Pass  []string
}

// Match returns the first text in s that the rule is about, or nil.
func (r TextRule) Match(s string) []int {
	for _, re := range r.Any {
		if at := re.FindStringIndex(s); at != nil {
			return at
		}
	}
	return nil
}

type wireRule struct {
	ID         string   `yaml:"id"`
	Title      string   `yaml:"title"`
	Severity   string   `yaml:"severity"`
	Frameworks []string `yaml:"frameworks"`
	Advice     string   `yaml:"advice"`
	Match      struct {
		Any []string `yaml:"any"`
	} `yaml:"match"`
	Catch []string `yaml:"catch"`
	Pass  []string `yaml:"pass"`
}

const maxRuleFile = 4 << 20

// Parse reads a rule file strictly: unknown keys, missing fields, expressions
// that do not compile, ids used twice, and examples that the rule gets wrong
// are errors.
func Parse(name string, text []byte) ([]TextRule, error) {
	if len(text) > maxRuleFile {
		return nil, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrRule, name, len(text), maxRuleFile)
	}
	var wire []wireRule
	if err := DecodeStrict(text, &wire); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRule, name, err)
	}
	var out []TextRule
	seen := map[string]bool{}
	for i, w := range wire {
		r, err := w.rule()
		if err == nil && seen[w.ID] {
			err = errors.New("the id is used twice")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: rule %d (%s): %w", ErrRule, name, i+1, w.ID, err)
		}
		seen[w.ID] = true
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s: no rule", ErrRule, name)
	}
	return out, nil
}

// DecodeStrict reads one YAML document into v. Unknown keys are errors; errors
// show line and column. The reader panics on some malformed text: that is an
// error here too.
func DecodeStrict(text []byte, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed YAML: %v", p)
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(v); err != nil {
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return nil
}

func (w wireRule) rule() (TextRule, error) {
	sev, err := warden.ParseSeverity(w.Severity)
	if err != nil {
		return TextRule{}, err
	}
	for field, empty := range map[string]bool{
		"id": w.ID == "", "title": w.Title == "", "advice": w.Advice == "", "frameworks": len(w.Frameworks) == 0,
		"match.any": len(w.Match.Any) == 0, "catch": len(w.Catch) == 0, "pass": len(w.Pass) == 0,
	} {
		if empty {
			return TextRule{}, fmt.Errorf("%s is missing", field)
		}
	}
	r := TextRule{
		Rule:  warden.Rule{ID: warden.RuleID(w.ID), Title: w.Title, Severity: sev, Advice: w.Advice, Frameworks: w.Frameworks},
		Catch: w.Catch, Pass: w.Pass,
	}
	for _, text := range w.Match.Any {
		re, err := regexp.Compile(text)
		if err != nil {
			return TextRule{}, err
		}
		r.Any = append(r.Any, re)
	}
	for _, c := range r.Catch {
		if r.Match(c) == nil {
			return TextRule{}, fmt.Errorf("does not catch %q", c)
		}
	}
	for _, p := range r.Pass {
		if at := r.Match(p); at != nil {
			return TextRule{}, fmt.Errorf("catches %q in %q, which must pass", p[at[0]:at[1]], p)
		}
	}
	return r, nil
}

//go:embed modelfile/text.yaml
var metadataRules []byte

// MetadataRules returns the rules over text in the metadata of model files.
func MetadataRules() ([]TextRule, error) { return Parse("modelfile/text.yaml", metadataRules) }

//go:embed frameworks.yaml
var frameworks []byte

// Controls returns every control of the framework catalogue in the form that
// rules refer to: "owasp-llm@2025:LLM03".
func Controls() (map[string]bool, error) {
	var doc struct {
		Frameworks []struct {
			Ref      string `yaml:"ref"`
			Controls []struct {
				ID string `yaml:"id"`
			} `yaml:"controls"`
		} `yaml:"frameworks"`
	}
	if err := yaml.Unmarshal(frameworks, &doc); err != nil {
		return nil, fmt.Errorf("frameworks.yaml: %w", err)
	}
	known := map[string]bool{}
	for _, f := range doc.Frameworks {
		for _, c := range f.Controls {
			known[f.Ref+":"+c.ID] = true
		}
	}
	if len(known) == 0 {
		return nil, errors.New("frameworks.yaml holds no controls")
	}
	return known, nil
}
