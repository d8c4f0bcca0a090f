package rules_test

import (
	"errors"
	"testing"

	"github.com/modelwarden/warden/rules"
)

const outputRule = "- {id: A, title: t, severity: low, effect: redact, frameworks: [x], advice: a, kinds: [k], catch: [c], pass: [p]}\n"

func TestParseOutput(t *testing.T) {
	if list, err := rules.ParseOutput("a", []byte(outputRule)); err != nil || len(list) != 1 || list[0].Kinds[0] != "k" {
		t.Errorf("%+v, %v", list, err)
	}
	for name, text := range map[string]string{
		"twice":     outputRule + outputRule,
		"unknown":   "- {id: A, wrong: 1}\n",
		"no_pass":   "- {id: A, title: t, severity: low, effect: redact, frameworks: [x], advice: a, kinds: [k], catch: [c]}\n",
		"effect":    "- {id: A, title: t, severity: low, effect: drop, frameworks: [x], advice: a, kinds: [k], catch: [c], pass: [p]}\n",
		"no_words":  "- {id: A, title: t, severity: low, effect: redact, frameworks: [x], advice: a, match: {any: [x]}, catch: [c], pass: [p]}\n",
		"bad_regex": "- {id: A, title: t, severity: low, effect: redact, frameworks: [x], advice: a, match: {words: [x], any: ['(']}, catch: [c], pass: [p]}\n",
		"above":     "- {id: A, title: t, severity: low, chat: high, effect: redact, frameworks: [x], advice: a, kinds: [k], catch: [c], pass: [p]}\n",
		"nothing":   "[]\n",
	} {
		if _, err := rules.ParseOutput("a", []byte(text)); !errors.Is(err, rules.ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := rules.Output(); err != nil || len(list) < 25 {
		t.Errorf("%d rules, %v", len(list), err)
	}
}

func FuzzParseOutput(f *testing.F) {
	f.Add([]byte(outputRule))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = rules.ParseOutput("a", b) })
}
