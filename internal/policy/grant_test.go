package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/policy"
)

func TestResolve(t *testing.T) {
	roles := []string{"reader", "engineer@team-a,lab/chat*", "security@team-b/*", "group:ml", "odd@", "bad@[", "client@x y"}
	for _, tt := range []struct {
		name   string
		action policy.Action
		models []string
		want   []string
	}{
		{"platform", policy.Administer, nil, []string{"reader", "group:ml"}},
		{"namespace", policy.Modify, []string{"team-a/x"}, []string{"reader", "engineer", "group:ml"}},
		{"pattern", policy.Modify, []string{"lab/chat-1"}, []string{"reader", "engineer", "group:ml"}},
		{"not_the_pattern", policy.Modify, []string{"lab/other"}, []string{"reader", "group:ml"}},
		{"longer_namespace", policy.Modify, []string{"team-ab/x"}, []string{"reader", "group:ml"}},
		{"reading_takes_one_name", policy.Retrieve, []string{"team-a/x", "team-b/x"}, []string{"reader", "engineer", "security", "group:ml"}},
		{"changing_takes_all", policy.Quarantine, []string{"team-a/x", "team-b/x"}, []string{"reader", "group:ml"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, policy.Resolve(roles, tt.action, tt.models...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff([]string{"reader", "engineer", "security", "group:ml"}, policy.Anywhere(roles)); diff != "" {
		t.Error(diff)
	}
}

func TestParseGrant(t *testing.T) {
	for text, want := range map[string]string{"admin": "admin", "engineer@b,a": "engineer@a,b", "reader@t/*": "reader@t/*"} {
		if g, err := policy.ParseGrant(text); err != nil || g.String() != want {
			t.Errorf("ParseGrant(%q) = %v, %v", text, g, err)
		}
	}
	for _, bad := range []string{"", "@a", "engineer@", "engineer@a,", "engineer@[", "engineer@a/b/c", "engineer@a b", "engineer@" + strings.Repeat("a", 2000)} {
		if _, err := policy.ParseGrant(bad); !errors.Is(err, policy.ErrGrant) {
			t.Errorf("ParseGrant(%.40q) = %v", bad, err)
		}
	}
}
