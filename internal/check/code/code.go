// Package code holds the checks of source trees.
//
// A check of a source tree looks at a [source.Tree]: the files, their syntax and
// the sightings of AI in them. What a tree uses is no finding; how it uses it
// may be one.
package code

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

// All returns every check of source trees. The error is that of a catalogue
// that cannot be read.
func All() ([]*detect.Detector[*source.Tree], error) {
	cat, err := rules.LoadCatalogue()
	if err != nil {
		return nil, err
	}
	return []*detect.Detector[*source.Tree]{unsafe(cat)}, nil
}

// flagRules gives each flag of the catalogue its rule. Numbers are kept for ever.
var flagRules = map[string]int{
	"use_safetensors": 1, "revision_unpinned": 2, "trust_remote_code": 3, "weights_only_false": 4, "weights_only_missing": 5, "pickle": 6,
	"allow_pickle": 7, "skops_trusted": 8, "safe_mode_false": 9, "unsafe_deserialization": 10, "keras_h5": 11, "lambda_layer": 12,
	"custom_op_library": 13, "allow_dangerous_deserialization": 14, "allow_dangerous_code": 15, "torch_hub_unpinned": 16, "code-load": 17,
	"code-exec-tool": 18, "allow_code_execution": 19, "use_docker_false": 20, "tls_off": 21, "plain_http": 22, "key_in_url": 23,
	"hardcoded_key": 24, "placeholder_key": 25, "browser_key": 26, "permission_bypass": 27, "remote_code_config": 28,
	"unpinned_package": 29, "image_latest": 30, "shell_command": 31, "inline_secret": 32,
}

// RuleOf returns the rule of a flag; "" for a flag that the catalogue lacks.
func RuleOf(flag string) warden.RuleID {
	n, ok := flagRules[flag]
	if !ok {
		return ""
	}
	return warden.RuleID(fmt.Sprintf("WDN-SC-%03d", n))
}

// Rules returns the rules of the catalogue's flags, in its order.
func Rules(cat *rules.Catalogue) []warden.Rule {
	out := make([]warden.Rule, 0, len(cat.Unsafe))
	for _, u := range cat.Unsafe {
		severity, err := warden.ParseSeverity(u.Severity)
		if err != nil {
			severity = warden.High // the catalogue's own test does not let this happen
		}
		out = append(out, warden.Rule{ID: RuleOf(u.Flag), Title: u.Title, Severity: severity, Advice: u.Advice, Frameworks: frameworks(u.Flag)})
	}
	return out
}

func frameworks(flag string) []string {
	switch flag {
	case "hardcoded_key", "placeholder_key", "browser_key", "inline_secret", "key_in_url":
		return []string{"owasp-llm@2025:LLM02"}
	case "code-exec-tool", "allow_code_execution", "use_docker_false", "permission_bypass", "allow_dangerous_code", "shell_command":
		return []string{"owasp-llm@2025:LLM06"}
	case "tls_off", "plain_http":
		return []string{"owasp-llm@2025:LLM02"}
	}
	return []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"}
}

func unsafe(cat *rules.Catalogue) *detect.Detector[*source.Tree] {
	return &detect.Detector[*source.Tree]{
		Name: "code/unsafe",
		Doc: "Unsafe ways to use models\n\nLooks at calls that load or reach models and at configurations for switches that run code, " +
			"skip checks or give secrets away. A switch that is off unless something sets it is reported as low. " +
			"It cannot see calls that are made through names the analysis could not resolve, nor what other programs do with a file.",
		Rules: Rules(cat),
		Run: func(ctx context.Context, p *detect.Pass[*source.Tree]) error {
			seen, err := p.Subject.Sightings(ctx)
			if err != nil {
				return err
			}
			for i := range seen {
				for _, f := range seen[i].Flags {
					report(p, cat, &seen[i], f)
				}
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if !p.Subject.Complete() {
				return fmt.Errorf("%w: parts of the tree could not be read", detect.ErrLimit)
			}
			return nil
		},
	}
}

func report(p *detect.Pass[*source.Tree], cat *rules.Catalogue, s *sight.Sighting, f sight.Flag) {
	for _, u := range cat.Unsafe {
		if u.Flag != f.Flag {
			continue
		}
		severity, err := warden.ParseSeverity(u.Severity)
		if err != nil {
			return
		}
		message := u.Title
		if f.Conditional {
			severity = min(severity, warden.Low)
			message += " (opt-in, or not known here)"
		}
		if s.Name != "" {
			message += ": " + s.Name
		}
		line := int64(f.At.Line)
		p.Emit(warden.Finding{
			Rule: RuleOf(f.Flag), Severity: severity, Message: message, Evidence: f.At.Snippet,
			At: warden.Location{Path: f.At.Path, Span: warden.Span{Unit: warden.Lines, Start: line, End: line + 1}},
		})
		return
	}
}
