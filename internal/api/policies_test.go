package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/server/servertest"
	"github.com/modelwarden/warden/rules"
)

func draftOf(t *testing.T, more string, fields ...string) string {
	t.Helper()
	in := map[string]any{"name": "ours", "sources": []map[string]string{{"name": "standard.cedar", "text": string(rules.StandardPolicies())}, {"name": "ours.cedar", "text": more}}}
	for _, f := range fields {
		in[f] = "because"
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPolicies: what holds changes with four eyes, and only to what parses.
func TestPolicies(t *testing.T) {
	b := newBench(t)
	a := b.pushAs("engineer", "team/good", servertest.Clean)
	const noPickles = "@id(\"no-pickles\")\nforbid (principal, action in [Action::\"admit\", Action::\"retrieve\"], resource) when { resource.has_pickle };"
	download := func() int {
		resp, _ := b.do("reader", "GET", "/api/v1/artifacts/"+a.Digest.String()+"/files/m.pkl", "")
		return resp.StatusCode
	}
	holds := func() (v struct {
		Holds    int64
		Name     string
		IDs      []string
		Versions []struct{ State string }
	},
	) {
		_, text := b.do("reader", "GET", "/api/v1/policies", "")
		decode(t, text, &v)
		return v
	}
	before := holds()
	if before.Holds != 0 || !strings.HasPrefix(before.Name, "standard@sha256:") || download() != 200 {
		t.Fatalf("at first %+v holds", before)
	}
	t.Run("does_not_parse", func(t *testing.T) {
		for name, tt := range map[string]struct{ text, where string }{
			"syntax":      {"@id(\"x\")\npermit (principal, action, resource) when { resource.scan. };", "ours.cedar:2:"},
			"unknown":     {"@id(\"x\")\npermit (principal, action == Action::\"admit\", resource)\n  when { resource.scan.verdikt == \"clean\" };", "ours.cedar:3:24: "},
			"no_id":       {"\npermit (principal, action, resource);", "ours.cedar:2:1: "},
			"known_twice": {"@id(\"admins\") permit (principal, action, resource);", "ours.cedar"},
		} {
			resp, text := b.do("admin", "POST", "/api/v1/policies", draftOf(t, tt.text, "reason"))
			b.want(400, "invalid", resp, text)
			if !strings.Contains(text, tt.where) {
				t.Errorf("%s: %s, want %s", name, text, tt.where)
			}
		}
		if now := holds(); now.Name != before.Name || len(now.Versions) != 0 {
			t.Errorf("after refused sets %+v holds, want what held", now)
		}
	})
	t.Run("simulated", func(t *testing.T) {
		resp, text := b.do("reader", "POST", "/api/v1/policies/simulate", draftOf(t, noPickles))
		b.want(403, "denied", resp, text)
		resp, text = b.do("admin", "POST", "/api/v1/policies/simulate", draftOf(t, noPickles))
		b.want(200, "", resp, text)
		var s struct {
			Artifacts, Total int
			Changes          []struct {
				Artifact, Name, Before, After string
				Because                       []string
			}
		}
		decode(t, text, &s)
		if s.Artifacts != 1 || s.Total != 1 || s.Changes[0].Artifact != a.Digest.String() || s.Changes[0].Name != "team/good@1" || s.Changes[0].After != "deny" || s.Changes[0].Because[0] != "no-pickles" {
			t.Errorf("simulated %+v", s)
		}
		if download() != 200 {
			t.Error("a simulation changed something")
		}
	})
	for _, role := range []string{"reader", "engineer", "security"} {
		resp, text := b.do(role, "POST", "/api/v1/policies", draftOf(t, noPickles, "reason"))
		b.want(403, "denied", resp, text)
	}
	t.Run("four_eyes", func(t *testing.T) {
		ann, bob := b.person("ann", "admin"), b.person("bob", "admin")
		resp, text := b.do(ann, "POST", "/api/v1/policies", draftOf(t, noPickles, "reason"))
		b.want(200, "", resp, text)
		if !strings.Contains(text, `"state":"proposed"`) || download() != 200 {
			t.Errorf("proposed: %s", text)
		}
		resp, text = b.do(ann, "POST", "/api/v1/policies/1/apply", "")
		b.want(403, "denied", resp, text)
		resp, text = b.do(bob, "POST", "/api/v1/policies/1/apply", "")
		b.want(200, "", resp, text)
		if !strings.Contains(text, a.Digest.String()) || !strings.Contains(text, `"after":"denied"`) {
			t.Errorf("applied: %s", text)
		}
		if download() != 403 {
			t.Error("the new policy does not hold")
		}
		if now := holds(); now.Holds != 1 || !strings.HasPrefix(now.Name, "ours@") {
			t.Errorf("%+v holds", now)
		}
		resp, text = b.do(bob, "POST", "/api/v1/policies/1/apply", "")
		b.want(409, "conflict", resp, text)
		resp, text = b.do(bob, "POST", "/api/v1/policies/9/apply", "")
		b.want(404, "not_found", resp, text)
		resp, text = b.do("reader", "GET", "/api/v1/policies/0", "")
		b.want(200, "", resp, text)
		if es := b.Trail("policy.changed"); len(es) != 1 || !strings.Contains(es[0], a.Digest.String()) {
			t.Errorf("policy.changed: %v", es)
		}
		if es := b.Trail("policy.apply"); len(es) != 1 || !strings.Contains(es[0], `"single_administrator":false`) {
			t.Errorf("policy.apply: %v", es)
		}
		// Back to the first one.
		resp, text = b.do(bob, "POST", "/api/v1/policies", draftOf(t, "", "reason"))
		b.want(200, "", resp, text)
		resp, text = b.do(ann, "POST", "/api/v1/policies/2/apply", "")
		b.want(200, "", resp, text)
		if download() != 200 {
			t.Error("the old policies do not hold again")
		}
	})
}

// TestOneAdministrator: where nobody else could look, a set holds at once, and
// the log says so.
func TestOneAdministrator(t *testing.T) {
	b := newBench(t)
	for range 2 { // a second key of the same person is nobody else
		resp, text := b.do("admin", "POST", "/api/v1/policies", draftOf(t, "", "reason"))
		b.want(200, "", resp, text)
		if !strings.Contains(text, `"alone":true`) || !strings.Contains(text, `"state":"applied"`) {
			t.Errorf("got %s", text)
		}
		b.Key([]string{"admin"})
	}
	if es := b.Trail("policy.apply"); len(es) != 2 || !strings.Contains(es[0], `"single_administrator":true`) {
		t.Errorf("policy.apply: %v", es)
	}
	b.person("bob", "admin")
	resp, text := b.do("admin", "POST", "/api/v1/policies", draftOf(t, "", "reason"))
	b.want(200, "", resp, text)
	if !strings.Contains(text, `"alone":false`) || !strings.Contains(text, `"state":"proposed"`) {
		t.Errorf("with another administrator: %s", text)
	}
	if s := fmt.Sprint(b.Judge.Policies().IDs()); !strings.Contains(s, "prod-signed") {
		t.Errorf("policies: %s", s)
	}
}

// TestProviderAdministrator: whom a provider made an administrator at the last
// login counts as another person who could look.
func TestProviderAdministrator(t *testing.T) {
	b := newBench(t)
	login := func(token string, roles ...string) {
		t.Helper()
		_, _, err := b.Access.LogIn(t.Context(), access.Login{
			Issuer: "https://id.example", Subject: "1", Name: "Ida", Mail: "ida@example.com", Roles: roles, Token: []byte(token), Until: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	propose := func(want string) {
		t.Helper()
		resp, text := b.do("admin", "POST", "/api/v1/policies", draftOf(t, "", "reason"))
		b.want(200, "", resp, text)
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s", text, want)
		}
	}
	login("one", "reader")
	propose(`"alone":true`)
	login("two", "admin")
	propose(`"alone":false`)
	login("three", "reader")
	propose(`"alone":true`)
}
