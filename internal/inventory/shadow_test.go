package inventory_test

import (
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/source/sight"
)

func TestShadow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	old := now.AddDate(0, -6, 0)
	for name, c := range map[string]struct {
		view inventory.View
		rule warden.RuleID
		at   warden.Severity
	}{
		"all_is_well":         {view: inventory.View{Registered: true, Declared: true, InCode: true, InTraffic: true, Last: now}},
		"unregistered":        {inventory.View{InCode: true, State: "possibly_reachable", Scope: "production"}, inventory.RuleUnregistered, warden.Medium},
		"reachable":           {inventory.View{InCode: true, State: "reachable", Scope: "production"}, inventory.RuleUnregistered, warden.High},
		"in_tests":            {inventory.View{InCode: true, State: "reachable", Scope: "test"}, inventory.RuleUnregistered, warden.Low},
		"deployed":            {inventory.View{Deployed: true}, inventory.RuleUnregistered, warden.Medium},
		"traffic_only":        {inventory.View{InTraffic: true, Who: []string{"key-1"}}, inventory.RuleShadow, warden.High},
		"declared_in_traffic": {view: inventory.View{InTraffic: true, Declared: true}},
		"unseen":              {inventory.View{Registered: true, Declared: true, Last: old}, inventory.RuleUnseen, warden.Info},
		"seen_lately":         {view: inventory.View{Registered: true, Last: now.AddDate(0, 0, -3)}},
		"never_seen":          {view: inventory.View{Registered: true}},
		"drift":               {inventory.View{Registered: true, InCode: true, Revision: "a", Seen: []string{"b"}, Last: now}, inventory.RuleDrift, warden.Medium},
		"no_drift":            {view: inventory.View{Registered: true, InCode: true, Revision: "a", Seen: []string{"a", ""}, Last: now}},
		"bypass":              {inventory.View{Registered: true, InCode: true, Bypass: []string{"api.openai.com"}, Last: now}, inventory.RuleBypass, warden.Medium},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.view.Asset, c.view.Name, c.view.Kind = "model:openai:gpt-4o", "gpt-4o", sight.Model
			got := inventory.Shadow([]inventory.View{c.view}, now, 90*24*time.Hour)
			switch {
			case c.rule == "" && len(got) != 0:
				t.Errorf("notices %+v, want none", got)
			case c.rule != "" && (len(got) != 1 || got[0].Rule != c.rule || got[0].Severity != c.at || len(got[0].Because) == 0):
				t.Errorf("notices %+v, want %s at %v", got, c.rule, c.at)
			}
		})
	}
}
