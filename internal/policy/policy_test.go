package policy_test

import (
	"encoding/json"
	"errors"
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

func stale(r policy.Resource) policy.Resource {
	r.Facts.Scan.Stale = true
	return r
}

func who(id string, roles ...string) warden.Principal { return warden.Principal{ID: id, Roles: roles} }

// standardCases has a case that each policy decides and look-alikes that it must
// leave alone; TestStandardPolicies fails for a policy without one.
var standardCases = []struct {
	name   string
	who    warden.Principal
	action policy.Action
	on     policy.Resource
	want   warden.Effect
	by     string
}{
	{"clean_is_admitted", who("service:registry"), policy.Admit, artifact("pending", "clean", true), warden.Allow, "admit-examined"},
	{"review_is_admitted", who("service:registry"), policy.Admit, artifact("pending", "review", true), warden.Allow, "admit-examined"},
	{"malicious_is_not", who("service:registry"), policy.Admit, artifact("pending", "malicious", true), warden.Deny, "no-dangerous"},
	{"inconclusive_is_not", who("service:registry"), policy.Admit, artifact("pending", "inconclusive", false), warden.Deny, "no-unexamined"},
	{"incomplete_clean_is_not", who("service:registry"), policy.Admit, artifact("pending", "clean", false), warden.Deny, "no-unexamined"},
	{"no_statement_is_not", who("service:registry"), policy.Admit, artifact("pending", "", false), warden.Deny, "no-unexamined"},
	{"admitted_is_served", who("service:gateway"), policy.Serve, artifact("admitted", "clean", true), warden.Allow, "admit-examined"},
	{"quarantined_is_not_served", who("service:gateway"), policy.Serve, artifact("quarantined", "clean", true), warden.Deny, "no-quarantined"},
	{"stale_is_not_served", who("service:gateway"), policy.Serve, stale(artifact("admitted", "clean", true)), warden.Deny, "no-stale"},
	{"stale_is_not_retrieved", who("user:root", "admin"), policy.Retrieve, stale(artifact("admitted", "clean", true)), warden.Deny, "no-stale"},
	{"stale_can_be_quarantined", who("user:sec", "security"), policy.Quarantine, stale(artifact("admitted", "clean", true)), warden.Allow, "security-quarantines"},
	{"unregistered_is_not_served", who("service:gateway"), policy.Serve, artifact("", "clean", true), warden.Deny, "serve-registered-only"},
	{"reader_retrieves", who("user:ann", "reader"), policy.Retrieve, artifact("admitted", "clean", true), warden.Allow, "readers-retrieve"},
	{"stranger_does_not", who("user:eve"), policy.Retrieve, artifact("admitted", "clean", true), warden.Deny, policy.NoPermit},
	{"admin_cannot_retrieve_malicious", who("user:root", "admin"), policy.Retrieve, artifact("admitted", "malicious", true), warden.Deny, "no-dangerous"},
	{"engineer_pushes", who("user:ann", "engineer"), policy.Modify, policy.Resource{Ref: warden.Ref{Kind: warden.KindModel, ID: "a/b"}}, warden.Allow, "engineers-modify"},
	{"reader_does_not_push", who("user:ann", "reader"), policy.Modify, policy.Resource{Ref: warden.Ref{Kind: warden.KindModel, ID: "a/b"}}, warden.Deny, policy.NoPermit},
	{"security_quarantines", who("user:sec", "security"), policy.Quarantine, artifact("admitted", "clean", true), warden.Allow, "security-quarantines"},
	{"engineer_does_not", who("user:ann", "engineer"), policy.Quarantine, artifact("admitted", "clean", true), warden.Deny, policy.NoPermit},
	{"client_queries", who("key:1", "client"), policy.Query, policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: "chat"}, Task: "chat"}, warden.Allow, "clients-query"},
	{"admin_administers", who("user:root", "admin"), policy.Administer, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}}, warden.Allow, "admins"},
	{"client_does_not", who("key:1", "client"), policy.Administer, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}}, warden.Deny, policy.NoPermit},
}

func TestStandardPolicies(t *testing.T) {
	set, decided := standard(t), map[string]bool{}
	for _, tt := range standardCases {
		t.Run(tt.name, func(t *testing.T) {
			dec := set.Decide(policy.Request{Principal: tt.who, Action: tt.action, Resource: tt.on, Now: at})
			if dec.Effect != tt.want || !strings.Contains(strings.Join(dec.Because, " "), tt.by) {
				t.Errorf("got %s because %v, want %s because %s", dec.Effect, dec.Because, tt.want, tt.by)
			}
			for _, id := range dec.Because {
				decided[id] = true
			}
		})
	}
	for _, id := range set.IDs() {
		if !decided[id] {
			t.Errorf("policy %s decides no case", id)
		}
	}
}

func TestNewSetRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"syntax", "@id(\"a\")\npermit (principal, action resource);", "mine.cedar"},
		{"no_id", "\npermit (principal, action, resource);", "mine.cedar:2: policy without @id"},
		{"twice", `@id("a") permit (principal, action, resource); @id("a") forbid (principal, action, resource);`, `policy id "a" is used twice`},
		{"unknown_action", `@id("a") permit (principal, action == Action::"deploi", resource);`, `policy "a"`},
		{"unknown_fact", `@id("a") permit (principal, action == Action::"admit", resource) when { resource.scan.verdikt == "clean" };`, `policy "a"`},
		{"wrong_type", `@id("a") permit (principal, action == Action::"admit", resource) when { resource.scan.complete == "yes" && resource.scan.expires > "x" };`, `policy "a"`},
		{"empty", "// nothing", "no policy"},
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
		if len(b) > 4096 || strings.Count(string(b), "(")+strings.Count(string(b), "!")+strings.Count(string(b), "[")+strings.Count(string(b), "-") > 200 {
			return
		}
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
