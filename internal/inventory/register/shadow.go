package register

import (
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
)

// unseenAfter is how long a registered asset may be out of sight.
const unseenAfter = 90 * 24 * time.Hour

// shadow compares what sources see of services, public models, agents and
// assistants with what somebody registered: a person who said something of the
// asset, the registry, or a route of the gateway.
func (b *Board) shadow(rules map[warden.RuleID]warden.Rule, now time.Time) (out []Occurrence) {
	var views []inventory.View
	for i := range b.Assets {
		v := &b.Assets[i]
		if v.Family == Part || v.Family == Own {
			continue
		}
		x := inventory.View{
			Asset: v.ID, Name: v.Name, Kind: "", Registered: v.Version > 1, InTraffic: !v.Use.Last.IsZero(), Gateway: true, State: v.State, Last: v.Last,
		}
		for _, s := range v.Sightings {
			platform := s.Source == FromRegistry || s.Source == FromGateway
			x.Registered = x.Registered || platform
			if !platform && !s.Gone {
				x.InCode, x.Scope = true, s.Scope
			}
		}
		views = append(views, x)
	}
	for _, n := range inventory.Shadow(views, now, unseenAfter) {
		v, _ := b.View(n.Asset)
		c := circumstances{severity: n.Severity, asset: &v.Asset, reach: reachOf(v.Asset.State(), "")}
		c.exploit = Factor{Value: 0.3, Why: "a gap, not an attack", Known: true}
		o := Occurrence{
			Asset: n.Asset, Place: n.Asset, Message: clip(strings.TrimSpace(n.Message)), Severity: n.Severity.String(), Source: "register", At: v.First,
			rule: n.Rule, subject: "asset", norm: string(v.Family), title: rules[n.Rule].Title, advice: rules[n.Rule].Advice, demo: v.Demo,
		}
		i := slices.IndexFunc(v.Sightings, func(s Sighting) bool { return !s.Gone && s.Place != "" })
		if i >= 0 {
			o.Evidence = "first at " + v.Sightings[i].Source + "/" + v.Sightings[i].Place
		}
		o.Priority, o.factors, _ = weigh(c)
		o.because = n.Because
		out = append(out, o)
	}
	return out
}
