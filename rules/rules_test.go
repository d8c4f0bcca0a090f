package rules_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/rules"
)

func TestTextRules(t *testing.T) {
	known, err := rules.Controls()
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rules.MetadataRules()
	if err != nil {
		t.Fatal(err) // every catch and pass was tried on loading
	}
	for _, r := range rs {
		for _, f := range r.Frameworks {
			if !known[f] {
				t.Errorf("%s: %q is not in the catalogue", r.ID, f)
			}
		}
	}
}

const good = `- id: X-1
  title: t
  severity: low
  frameworks: ["a@1:b"]
  advice: a
  match: {any: ["foo+"]}
  catch: ["foo"]
  pass: ["fo"]
`

func TestParseRefuses(t *testing.T) {
	if rs, err := rules.Parse("good.yaml", []byte(good)); err != nil || len(rs) != 1 {
		t.Fatalf("Parse(good) = %v, %v", rs, err)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"unknown_key", strings.Replace(good, "title: t", "titel: t", 1), "[2:"},
		{"no_catch", strings.Replace(good, `  catch: ["foo"]`+"\n", "", 1), "catch is missing"},
		{"no_pass", strings.Replace(good, `  pass: ["fo"]`+"\n", "", 1), "pass is missing"},
		{"misses", strings.Replace(good, `["foo"]`, `["bar"]`, 1), `does not catch "bar"`},
		{"catches_too_much", strings.Replace(good, `["fo"]`, `["a food"]`, 1), `catches "foo"`},
		{"bad_expression", strings.Replace(good, "foo+", "foo(", 1), "missing closing )"},
		{"bad_severity", strings.Replace(good, "low", "awful", 1), "awful"},
		{"twice", good + good, "used twice"},
		{"empty", "[]", "no rule"},
		{"no_list", "id: x", "rules.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rules.Parse("rules.yaml", []byte(tt.text))
			if !errors.Is(err, rules.ErrRule) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrRule with %q", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := rules.Parse("x", b)
		if err == nil && len(rs) == 0 {
			t.Error("no rules and no error")
		}
	})
}
