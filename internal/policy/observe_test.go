package policy_test

import (
	"slices"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// TestObserve: the set observe allows what the others deny about findings, and
// says so; it denies as they do what is not about findings.
func TestObserve(t *testing.T) {
	set, err := policy.NewSet("observe", rules.PolicySchema(), policy.Source{Name: "observe.cedar", Text: rules.ObservePolicies()})
	if err != nil {
		t.Fatal(err)
	}
	worker := who("service:registry")
	held := artifact("admitted", "clean", true)
	held.Facts.Quarantined = true
	for _, tt := range []struct {
		name    string
		who     warden.Principal
		action  policy.Action
		on      policy.Resource
		effect  warden.Effect
		because string
	}{
		{"clean", worker, policy.Admit, artifact("pending", "clean", true), warden.Allow, "admit-examined"},
		{"malicious", worker, policy.Admit, artifact("pending", "malicious", true), warden.Allow, "observed:no-dangerous"},
		{"incomplete", worker, policy.Admit, artifact("pending", "inconclusive", false), warden.Allow, "observed:no-unexamined"},
		{"quarantined", worker, policy.Admit, held, warden.Deny, "no-quarantined"},
		{"retrieve", who("user:a", "reader"), policy.Retrieve, artifact("admitted", "unsafe", true), warden.Allow, "observed:no-dangerous"},
		{"retrieve_without_role", who("user:a"), policy.Retrieve, artifact("admitted", "unsafe", true), warden.Deny, policy.NoPermit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dec := set.Decide(policy.Request{Principal: tt.who, Action: tt.action, Resource: tt.on, Now: at})
			if dec.Effect != tt.effect || !slices.Contains(dec.Because, tt.because) {
				t.Errorf("got %s because %v, want %s because %s", dec.Effect, dec.Because, tt.effect, tt.because)
			}
		})
	}
	step := policy.Request{
		Principal: who("user:a", "engineer"), Action: policy.Promote, Resource: artifact("admitted", "unsafe", true), Now: at,
		Step: policy.Step{Model: "team/m", Version: 1, To: "prod"},
	}
	if dec := set.Decide(step); dec.Effect != warden.Allow || !slices.Contains(dec.Because, "observed:prod-signed") {
		t.Errorf("promotion: %s because %v", dec.Effect, dec.Because)
	}
	for _, c := range set.Conditions(step) {
		if !c.Met {
			t.Errorf("condition %s blocks", c.Policy)
		}
	}
	ids := set.IDs()
	for _, id := range []string{"no-dangerous", "strict-no-code", "observe-admits"} {
		if !slices.Contains(ids, id) {
			t.Errorf("policies %v, want %s among them", ids, id)
		}
	}
}
