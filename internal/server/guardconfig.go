package server

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/gateway"
)

// guard converts the configuration of a route's guards; nil: none look. External
// says that others run the model.
func (c GuardConfig) guard(external bool) (*gateway.GuardConfig, error) {
	out := &gateway.GuardConfig{Mode: gateway.Mode(c.Mode), Canary: c.Canary}
	switch out.Mode {
	case "", gateway.Hold, gateway.Async, gateway.Buffer:
	default:
		return nil, fmt.Errorf("mode: %q, want hold, async or buffer", c.Mode)
	}
	var err error
	if out.AllowIncomplete, err = word("on_error", orDefault(c.OnError, "deny"), "deny", "allow"); err != nil {
		return nil, err
	}
	cfg := guard.Config{
		External: external, Rules: map[warden.RuleID]warden.Effect{}, Families: map[string]warden.Effect{},
		Answers: guard.StreamConfig{URLHosts: c.Links, ImageHosts: c.Images, PhoneRegions: c.Phones, Words: c.Words},
	}
	var all map[warden.RuleID]warden.Rule
	if len(c.Rules) > 0 {
		all = guard.Rules()
	}
	for rule, effect := range c.Rules {
		if rule == "" || !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(id warden.RuleID) bool { return strings.HasPrefix(string(id), rule) }) {
			return nil, fmt.Errorf("rules: no rule is %q or begins so: warden rules lists them", rule) // it would hold for nothing
		}
		cfg.Families[rule] = warden.Effect(effect)
	}
	for _, a := range c.Allow {
		e, err := a.exception()
		if err != nil {
			return nil, err
		}
		cfg.Allow = append(cfg.Allow, e)
	}
	for _, t := range c.Tools {
		cfg.Tools = append(cfg.Tools, guard.Tool{Name: t.Name, Effect: guard.ToolEffect(t.Effect), Sinks: t.Sinks})
	}
	for _, f := range c.Flows {
		cfg.Flows = append(cfg.Flows, guard.Flow(f))
	}
	for _, t := range c.Tensors {
		cfg.Tensors = append(cfg.Tensors, guard.TensorSpec(t))
	}
	for _, k := range c.Unseen {
		cfg.Unseen = append(cfg.Unseen, guard.PartKind(k))
	}
	switch c.Preset {
	case "", "standard":
	case "off":
		return nil, nil //nolint:nilnil // no guard is a choice
	case "shadow":
		out.Shadow = true
	default:
		return nil, fmt.Errorf("preset: %q, want off, shadow or standard", c.Preset)
	}
	if c.Preset == "" && !external {
		return nil, nil //nolint:nilnil // own models have a guard when it is configured
	}
	out.Guard, err = guard.New(cfg)
	return out, err
}

func orDefault(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func (a AllowConfig) exception() (guard.Exception, error) {
	e := guard.Exception{Allowance: guard.Allowance{Rule: warden.RuleID(a.Rule), Literal: a.Literal, Prefix: a.Prefix}, Owner: a.Owner, Approver: a.Approver, Reason: a.Reason}
	var err error
	if e.Until, err = time.Parse(time.DateOnly, a.Until); err != nil {
		return e, fmt.Errorf("allow: until: %q, want a day such as 2026-12-31", a.Until)
	}
	if a.Digest != "" {
		if e.Digest, err = warden.ParseDigest(a.Digest); err != nil {
			return e, fmt.Errorf("allow: digest: %w", err)
		}
	}
	return e, nil
}
