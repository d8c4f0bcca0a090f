package server

import (
	"fmt"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/gateway"
)

// guard converts the configuration of a route's guards; nil: none look.
func (c GuardConfig) guard() (*gateway.GuardConfig, error) {
	out := &gateway.GuardConfig{Mode: gateway.Mode(c.Mode)}
	switch out.Mode {
	case "", gateway.Hold, gateway.Async, gateway.Buffer:
	default:
		return nil, fmt.Errorf("mode: %q, want hold, async or buffer", c.Mode)
	}
	var err error
	if out.AllowIncomplete, err = word("on_error", orDefault(c.OnError, "deny"), "deny", "allow"); err != nil {
		return nil, err
	}
	cfg := &guard.StreamConfig{
		Rules: map[warden.RuleID]warden.Effect{}, Families: map[string]warden.Effect{}, URLHosts: c.Links, ImageHosts: c.Images, PhoneRegions: c.Phones, Words: c.Words,
	}
	for rule, effect := range c.Rules {
		e := warden.Effect(effect)
		switch e {
		case warden.Allow, warden.AllowReview, warden.Redact, warden.Deny:
		default:
			return nil, fmt.Errorf("rules: %s: %q, want allow, review, redact or deny", rule, effect)
		}
		cfg.Families[rule] = e
	}
	switch c.Preset {
	case "", "off":
		return nil, nil //nolint:nilnil // no guard is a choice
	case "standard":
	case "shadow":
		out.Shadow = true
	default:
		return nil, fmt.Errorf("preset: %q, want off, shadow or standard", c.Preset)
	}
	out.Output = cfg
	return out, nil
}

func orDefault(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
