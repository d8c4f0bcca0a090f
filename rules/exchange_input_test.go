package rules_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/rules"
)

const goodInput = `- id: X-1
  title: t
  severity: low
  effect: review
  frameworks: ["a@1:b"]
  advice: a
  match:
    - {lang: en, within: 3, sets: [[foo*], ["bar baz"]]}
  catch: ["foo bar baz"]
  pass: ["fo"]
`

func TestParseInputRefuses(t *testing.T) {
	if rs, err := rules.ParseInput("good.yaml", []byte(goodInput)); err != nil || len(rs) != 1 || rs[0].Untrusted != "review" {
		t.Fatalf("ParseInput(good) = %+v, %v", rs, err)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"unknown_key", strings.Replace(goodInput, "title: t", "titel: t", 1), "[2:"},
		{"no_catch", strings.Replace(goodInput, `  catch: ["foo bar baz"]`+"\n", "", 1), "catch is missing"},
		{"no_pass", strings.Replace(goodInput, `  pass: ["fo"]`+"\n", "", 1), "pass is missing"},
		{"bad_effect", strings.Replace(goodInput, "review", "applaud", 1), "applaud"},
		{"bad_severity", strings.Replace(goodInput, "low", "awful", 1), "awful"},
		{"no_reach", strings.Replace(goodInput, "within: 3", "within: 0", 1), "within 0"},
		{"star_inside", strings.Replace(goodInput, "foo*", "'fo*o'", 1), "fo*o"},
		{"empty_word", strings.Replace(goodInput, "foo*", "'*'", 1), "word"},
		{"empty_set", strings.Replace(goodInput, "[foo*]", "[]", 1), "a set is empty"},
		{"no_lang", strings.Replace(goodInput, "lang: en, ", "", 1), "lang is missing"},
		{"bad_only", goodInput + "  only: me\n", "only"},
		{"twice", goodInput + goodInput, "used twice"},
		{"empty", "[]", "no rule"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rules.ParseInput("rules.yaml", []byte(tt.text))
			if !errors.Is(err, rules.ErrRule) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrRule with %q", err, tt.want)
			}
		})
	}
}

func FuzzParseInput(f *testing.F) {
	f.Add([]byte(goodInput))
	f.Add([]byte("- {id: [}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := rules.ParseInput("rules.yaml", b); err != nil && !errors.Is(err, rules.ErrRule) {
			t.Errorf("error %v does not wrap ErrRule", err)
		}
	})
}
