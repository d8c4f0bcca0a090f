package policy_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

var at = time.Unix(1_800_000_000, 0).UTC()

func standard(t *testing.T) *policy.Set {
	t.Helper()
	s, err := policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claim(t *testing.T, signer, verdict string, complete bool, scanned time.Time) warden.Claim {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"verdict": verdict, "complete": complete, "scanned": scanned, "expires": scanned.Add(24 * time.Hour), "formats": []string{"pickle"},
		"scanner": map[string]string{"rules": "r-" + verdict},
	})
	if err != nil {
		t.Fatal(err)
	}
	return warden.Claim{Signer: signer, Statement: warden.Statement{PredicateType: "https://modelwarden.dev/model-scan/v1", Predicate: b}}
}

func TestReduce(t *testing.T) {
	one := claim(t, "a", "clean", true, at.Add(-time.Hour))
	worse := claim(t, "b", "malicious", true, at.Add(-2*time.Hour))
	newer := claim(t, "a", "review", true, at)
	broken := warden.Claim{Signer: "c", Statement: warden.Statement{PredicateType: "https://modelwarden.dev/model-scan/v1", Predicate: []byte(`{"verdict":"great"}`)}}
	old := claim(t, "a", "clean", true, at.Add(-48*time.Hour))
	for _, tt := range []struct {
		name   string
		claims []warden.Claim
		want   policy.ScanFacts
	}{
		{"nothing", nil, policy.ScanFacts{}},
		{"one", []warden.Claim{one}, policy.ScanFacts{Present: true, Verdict: "clean", Complete: true, Rules: "r-clean", Expires: at.Add(23 * time.Hour)}},
		{"worst_of_two_signers", []warden.Claim{one, worse}, policy.ScanFacts{Present: true, Verdict: "malicious", Complete: true, Rules: "r-malicious", Expires: at.Add(22 * time.Hour)}},
		{"latest_of_one_signer", []warden.Claim{one, newer}, policy.ScanFacts{Present: true, Verdict: "review", Complete: true, Rules: "r-review", Expires: at.Add(24 * time.Hour)}},
		{"broken_predicate", []warden.Claim{one, broken}, policy.ScanFacts{Present: true, Verdict: "clean", Rules: "r-clean", Expires: at.Add(23 * time.Hour)}},
		{"stale", []warden.Claim{old}, policy.ScanFacts{Present: true, Verdict: "clean", Complete: true, Rules: "r-clean", Expires: at.Add(-24 * time.Hour), Stale: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts := policy.Reduce(tt.claims, at)
			if d := cmp.Diff(tt.want, facts.Scan); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			reversed := make([]warden.Claim, 0, len(tt.claims))
			for _, c := range tt.claims {
				reversed = append([]warden.Claim{c}, reversed...)
			}
			a, errA := facts.Digest()
			b, errB := policy.Reduce(reversed, at).Digest()
			if a != b || errA != nil || errB != nil {
				t.Errorf("the order of claims changes the facts: %v %v, %v %v", a, errA, b, errB)
			}
		})
	}
}

func artifact(state, verdict string, complete bool) policy.Resource {
	return policy.Resource{
		Ref: warden.Ref{Kind: warden.KindArtifact, ID: "sha256:00"}, State: state,
		Facts: policy.Facts{Scan: policy.ScanFacts{Present: verdict != "", Verdict: verdict, Complete: complete}},
	}
}

func who(id string, roles ...string) warden.Principal { return warden.Principal{ID: id, Roles: roles} }

// TestSuites runs the cases that lie beside the policies. Each policy must decide
// one.
func TestSuites(t *testing.T) {
	for name, sources := range map[string][]policy.Source{
		"standard": {{Name: "standard.cedar", Text: rules.StandardPolicies()}},
		"strict":   {{Name: "standard.cedar", Text: rules.StandardPolicies()}, {Name: "strict.cedar", Text: rules.StrictPolicies()}},
		"tiers":    {{Name: "standard.cedar", Text: rules.StandardPolicies()}, {Name: "tiers.cedar", Text: rules.TierPolicies()}},
	} {
		set, err := policy.NewSet(name, rules.PolicySchema(), sources...)
		if err != nil {
			t.Fatal(err)
		}
		decided := map[string]bool{}
		for _, file := range []string{"standard", "strict", "tiers"} {
			if file != "standard" && file != name {
				continue
			}
			text, err := os.ReadFile("../../rules/policies/" + file + "_test.yaml")
			if err != nil {
				t.Fatal(err)
			}
			cases, err := policy.ParseSuite(file, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				dec, err := c.Run(set, at)
				for _, id := range dec.Because {
					decided[id] = true
				}
				if err != nil && (name == file || c.Expect == warden.Deny && dec.Effect != warden.Deny) {
					t.Errorf("%s, %s: %v", name, c.Name, err)
				}
			}
		}
		for _, id := range set.IDs() {
			if !decided[id] {
				t.Errorf("%s: policy %s decides no case", name, id)
			}
		}
	}
}

func TestSuiteRefuses(t *testing.T) {
	for _, text := range []string{
		"", "tests: []", "tests: 7", "a: &a [*a]", "tests: [{name: x, expect: maybe}]", "tests: [{expect: allow}]", "tests: [{name: x, expect: allow, fact: {}}]", "{", "tests: [{name: x, expect: allow, facts: {scan: {verdikt: x}}}]",
	} {
		if cases, err := policy.ParseSuite("x.yaml", []byte(text)); err == nil {
			t.Errorf("ParseSuite(%q) = %v, want an error", text, cases)
		}
	}
}

func TestNewSetRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"syntax", "@id(\"a\")\npermit (principal, action resource);", "mine.cedar:2:35: "},
		{"no_id", "\npermit (principal, action, resource);", "mine.cedar:2:1: policy without @id"},
		{"twice", `@id("a") permit (principal, action, resource); @id("a") forbid (principal, action, resource);`, `policy id "a" is used twice`},
		{"unknown_action", `@id("a") permit (principal, action == Action::"deploi", resource);`, `policy "a"`},
		{"unknown_fact", `@id("a") permit (principal, action == Action::"admit", resource) when { resource.scan.verdikt == "clean" };`, "mine.cedar:1:87: policy \"a\": attribute `scan.verdikt`"},
		{"wrong_type", `@id("a") permit (principal, action == Action::"admit", resource) when { resource.scan.complete == "yes" && resource.scan.expires > "x" };`, `policy "a"`},
		{"empty", "// nothing", "no policy"},
		{"deep", `@id("a") permit (principal, action, resource) when { ` + strings.Repeat("(", 1<<20) + `1`, "nested deeper"},
		{"deep_in_a_comment_and_not", "@id(\"a\") permit (principal, action, resource) when { // \"\n" + strings.Repeat("[", 1<<20), "mine.cedar:2:1: brackets are nested deeper"},
		{"long", `@id("a") permit (principal, action, resource) when { 1 == 1` + strings.Repeat(" && 1 == 1", 1<<16) + ` };`, "longer than"},
		{"long_with_quoted_ends", `@id("a") permit (principal, action, resource) when { "" == ""` + strings.Repeat(` && ";" == ";"`, 1<<14) + ` };`, "longer than"},
		{"chain", `@id("a") permit (principal, action, resource) when { context has ` + strings.Repeat("a.", 1<<12) + `a };`, "more than 1000 attributes"},
		{"negated", `@id("a") permit (principal, action, resource) when { ` + strings.Repeat("!", 1<<20) + `true };`, "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy.NewSet("x", rules.PolicySchema(), policy.Source{Name: "mine.cedar", Text: []byte(tt.text)})
			if !errors.Is(err, policy.ErrPolicy) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrPolicy with %q", err, tt.want)
			}
		})
	}
}

// TestErrorDenies: a forbid that cannot be evaluated must not let anything pass.
func TestErrorDenies(t *testing.T) {
	set, err := policy.NewSet("x", rules.PolicySchema(), policy.Source{Name: "x.cedar", Text: []byte(`
		@id("all") permit (principal, action, resource);
		@id("overflow") forbid (principal, action == Action::"admit", resource) when { context.now * 9223372036854775807 > 0 };`)})
	if err != nil {
		t.Fatal(err)
	}
	dec := set.Decide(policy.Request{Principal: who("service:registry"), Action: policy.Admit, Resource: artifact("pending", "clean", true), Now: at})
	if dec.Effect != warden.Deny || !cmp.Equal(dec.Because, []string{"error:overflow"}) {
		t.Errorf("got %+v, want deny because of the error", dec)
	}
}

func FuzzNewSet(f *testing.F) {
	f.Add(rules.StandardPolicies())
	f.Add([]byte(`@id("a") permit (principal, action, resource) when { context.now > 1 };`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := policy.NewSet("x", rules.PolicySchema(), policy.Source{Name: "x", Text: b})
		if err == nil {
			set.Decide(policy.Request{Principal: who("user:a"), Action: policy.Admit, Resource: artifact("", "clean", true), Now: at})
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	set, err := policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
	if err != nil {
		b.Fatal(err)
	}
	req := policy.Request{Principal: who("user:ann", "reader"), Action: policy.Retrieve, Resource: artifact("admitted", "clean", true), Now: at}
	for b.Loop() {
		set.Decide(req)
	}
}
