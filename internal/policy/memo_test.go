package policy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// What is remembered is what would be decided, for everybody and everything; a
// condition on what a request wants is asked each time.
func TestRemembered(t *testing.T) {
	plain, conditional := standard(t), func() *policy.Set {
		s, err := policy.NewSet("x", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()},
			policy.Source{Name: "own.cedar", Text: []byte(`@id("no-tools") forbid (principal, action == Action::"query", resource) when { context.tools };`)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}()
	request := func(who string, roles []string, route string, tools bool) policy.Request {
		return policy.Request{
			Principal: warden.Principal{ID: who, Roles: roles}, Action: policy.Query, Now: at, Asked: policy.Asked{Tools: tools, Choices: 1},
			Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: route}, Task: "chat"},
		}
	}
	for range 2 {
		for _, who := range []string{"key:1", "key:2"} {
			for _, roles := range [][]string{nil, {"client"}, {"reader"}, {"client", "reader"}, {"admin"}} {
				for _, route := range []string{"a", "b"} {
					r := request(who, roles, route, false)
					fresh := standard(t).Decide(r)
					if d := cmp.Diff(fresh, plain.Decide(r)); d != "" {
						t.Errorf("%s %v %s -fresh +remembered:\n%s", who, roles, route, d)
					}
				}
			}
		}
		for _, tools := range []bool{false, true} {
			if dec := conditional.Decide(request("key:1", []string{"client"}, "a", tools)); (dec.Effect == warden.Deny) != tools {
				t.Errorf("tools %v: %s because %v", tools, dec.Effect, dec.Because)
			}
		}
	}
	for i := range 25_000 { // more than is remembered
		if dec := plain.Decide(request(fmt.Sprint("key:", i), []string{"client"}, "a", false)); dec.Effect != warden.Allow || dec.Subject.ID != "a" {
			t.Fatalf("caller %d: %+v", i, dec)
		}
	}
}
