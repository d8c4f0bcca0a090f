package rules

import (
	_ "embed" // rules are data
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
)

// An InputRule is a rule over what is sent to a model.
type InputRule struct {
	warden.Rule
	Effect    warden.Effect // what is done where no policy says more
	Untrusted warden.Effect // the same in text that neither operator nor user wrote
	Only      string        // "untrusted": it is about such text alone; "": about the user's and such text
	Kinds     []string      // of what the program finds
	Match     []WordMatch
	Markers   []string // literals, wherever they stand
	Turns     []string // names that begin a line and are followed by a colon, or stand in a heading
	Catch     []string
	Document  []string // more to catch, in untrusted text
	Pass      []string
}

// A WordMatch fires where a word of each set stands within so many words. A word
// may be several, and begin or end in "*" for more letters.
type WordMatch struct {
	Lang   string     `yaml:"lang"`
	Within int        `yaml:"within"`
	Sets   [][]string `yaml:"sets"`
}

type wireInput struct {
	ID         string      `yaml:"id"`
	Title      string      `yaml:"title"`
	Severity   string      `yaml:"severity"`
	Effect     string      `yaml:"effect"`
	Untrusted  string      `yaml:"untrusted"`
	Only       string      `yaml:"only"`
	Frameworks []string    `yaml:"frameworks"`
	Advice     string      `yaml:"advice"`
	Kinds      []string    `yaml:"kinds"`
	Match      []WordMatch `yaml:"match"`
	Markers    []string    `yaml:"markers"`
	Turns      []string    `yaml:"turns"`
	Catch      []string    `yaml:"catch"`
	Document   []string    `yaml:"document"`
	Pass       []string    `yaml:"pass"`
}

// limitKind is the one kind whose examples are too long for a file.
const limitKind = "encoded-limit"

// ParseInput reads rules over requests strictly, as [ParseOutput] does those over
// answers. The examples are tested where the rules are run.
func ParseInput(name string, text []byte) ([]InputRule, error) {
	if len(text) > maxRuleFile {
		return nil, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrRule, name, len(text), maxRuleFile)
	}
	var wire []wireInput
	if err := DecodeStrict(text, &wire); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRule, name, err)
	}
	var out []InputRule
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

func (w wireInput) rule() (InputRule, error) {
	exempt := slices.Contains(w.Kinds, limitKind)
	for field, empty := range map[string]bool{
		"id": w.ID == "", "title": w.Title == "", "advice": w.Advice == "", "frameworks": len(w.Frameworks) == 0,
		"kinds, match, markers or turns": len(w.Kinds)+len(w.Match)+len(w.Markers)+len(w.Turns) == 0,
		"catch":                          len(w.Catch)+len(w.Document) == 0 && !exempt,
		"pass":                           len(w.Pass) == 0 && !exempt,
	} {
		if empty {
			return InputRule{}, fmt.Errorf("%s is missing", field)
		}
	}
	sev, err := warden.ParseSeverity(w.Severity)
	if err != nil {
		return InputRule{}, err
	}
	if w.Untrusted == "" {
		w.Untrusted = w.Effect
	}
	for _, e := range []string{w.Effect, w.Untrusted} {
		if !slices.Contains([]warden.Effect{warden.Allow, warden.AllowReview, warden.Redact, warden.Deny}, warden.Effect(e)) {
			return InputRule{}, fmt.Errorf("effect %q is none of allow, review, redact, deny", e)
		}
	}
	if w.Only != "" && w.Only != "untrusted" {
		return InputRule{}, fmt.Errorf("only: %q, want untrusted or nothing", w.Only)
	}
	for _, m := range w.Match {
		if err := m.check(); err != nil {
			return InputRule{}, fmt.Errorf("match %s: %w", m.Lang, err)
		}
	}
	return InputRule{
		Rule:   warden.Rule{ID: warden.RuleID(w.ID), Title: w.Title, Severity: sev, Advice: w.Advice, Frameworks: w.Frameworks},
		Effect: warden.Effect(w.Effect), Untrusted: warden.Effect(w.Untrusted), Only: w.Only,
		Kinds: w.Kinds, Match: w.Match, Markers: w.Markers, Turns: w.Turns, Catch: w.Catch, Document: w.Document, Pass: w.Pass,
	}, nil
}

// maxSets is how many sets one match may have.
const maxSets = 4

func (m WordMatch) check() error {
	switch {
	case m.Lang == "":
		return errors.New("lang is missing")
	case m.Within < 1 || m.Within > 100:
		return fmt.Errorf("within %d is not between 1 and 100", m.Within)
	case len(m.Sets) == 0 || len(m.Sets) > maxSets:
		return fmt.Errorf("%d sets, want 1 to %d", len(m.Sets), maxSets)
	}
	for _, set := range m.Sets {
		if len(set) == 0 {
			return errors.New("a set is empty")
		}
		for _, word := range set {
			if strings.Trim(word, "* ") == "" || strings.Contains(strings.Trim(word, "*"), "*") {
				return fmt.Errorf("word %q", word)
			}
		}
	}
	return nil
}

//go:embed exchange/input.yaml
var inputRules []byte

// Input returns the rules over what is sent to models.
func Input() ([]InputRule, error) { return ParseInput("exchange/input.yaml", inputRules) }
