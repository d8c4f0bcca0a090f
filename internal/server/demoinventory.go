package server

import (
	"context"
	"errors"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/source/sight"
)

// demoSource names the made-up source tree of the demo.
const demoSource = "demo/shop"

// demoInventory is what an inventory of a made-up shop would see: code that
// loads the hostile weights, services, an agent and a coding assistant.
func demoInventory() *inventory.Document {
	at := func(path string, line int) []sight.Place { return []sight.Place{{Path: path, Line: line}} }
	found := func(rule, flag, severity, path string, line int, message string) []inventory.Finding {
		return []inventory.Finding{{Rule: warden.RuleID(rule), Flag: flag, Severity: severity, Path: path, Line: line, Message: message}}
	}
	return &inventory.Document{Schema: inventory.Schema, Root: ".", Complete: true, Assets: []inventory.Asset{
		{
			ID: "model_file:weights/pytorch_model.bin", Kind: sight.ModelFile, Name: "weights/pytorch_model.bin", State: sight.Reachable, Scope: sight.Production, Loads: "pickle", Owner: "@demo/ml",
			Evidence: at("shop/assistant.py", 14), CallStack: []string{"shop.app.main", "shop.assistant.load"}, Flags: []string{"weights_only_false"},
			Findings: found("WDN-SC-004", "weights_only_false", "high", "shop/assistant.py", 14, "A checkpoint is unpickled with all its code"),
		},
		{
			ID: "model:huggingface:baai/bge-small-en-v1.5", Kind: sight.Model, Name: "BAAI/bge-small-en-v1.5", Provider: "huggingface", State: sight.Reachable, Scope: sight.Production, Loads: "safe", Owner: "@demo/search",
			Evidence: at("shop/search.py", 8), Flags: []string{"revision_unpinned"},
			Findings: found("WDN-SC-002", "revision_unpinned", "medium", "shop/search.py", 8, "A model is downloaded without a pinned revision"),
		},
		{ID: "model:openai:gpt-4o", Kind: sight.Model, Name: "gpt-4o", Provider: "openai", State: sight.Reachable, Scope: sight.Production, Evidence: at("shop/support.py", 21), Owner: "@demo/support"},
		{ID: "provider:openai", Kind: sight.Provider, Name: "openai", Provider: "openai", State: sight.Reachable, Scope: sight.Production, Evidence: at("shop/support.py", 3), Owner: "@demo/support"},
		{ID: "agent:refunds", Kind: sight.Agent, Name: "refunds", State: sight.Reachable, Scope: sight.Production, Evidence: at("shop/refunds.py", 30)},
		{ID: "assistant:claude-code", Kind: sight.Assistant, Name: "claude-code", State: sight.ConfigOnly, Scope: sight.Production, Evidence: at(".claude/settings.json", 1), Owner: "@demo/platform"},
		{ID: "framework:torch", Kind: sight.Framework, Name: "torch", State: sight.Reachable, Scope: sight.Production, Evidence: at("requirements.txt", 4)},
	}}
}

// inventory registers the made-up tree and says what people would say of it.
func (d *demo) inventory(ctx context.Context, actor warden.Principal) error {
	reg := d.s.register
	if _, err := reg.Register(ctx, demoSource, demoInventory(), true, actor); err != nil {
		var we *warden.Error
		if errors.As(err, &we) && we.Code == warden.CodeConflict {
			return nil // somebody has a real source of this name
		}
		return err
	}
	b, err := reg.Board(ctx) // brings the demo's models and routes in
	if err != nil {
		return err
	}
	say := func(id string, fn func(p *register.Person)) error {
		if v, ok := b.View(id); !ok || !v.Demo || v.Changed != (time.Time{}) {
			return nil
		}
		return reg.Set(ctx, id, 0, func(p *register.Person) error { fn(p); return nil }, actor)
	}
	return errors.Join(
		say("agent:refunds", func(p *register.Person) {
			p.Owner, p.Use, p.Criticality, p.Stage = "group:payments", "gives money back to customers whose parcel is lost", 4, "deployed"
			p.System.Purpose, p.System.Data, p.System.Exposure, p.System.Effect, p.System.Autonomy, p.System.Tools = "customer_support", []string{"payment", "personal"}, "internet", "automatic_reversible", "acts_alone", []string{"money"}
		}),
		say("model:registry:demo/chat-base", func(p *register.Person) {
			p.Owner, p.Approver, p.Use, p.Criticality, p.Stage = "group:support", "user:ciso", "answers questions of customers", 3, "deployed"
			p.System.Purpose, p.System.Data, p.System.Exposure, p.System.Effect, p.System.Autonomy = "customer_support", []string{"personal"}, "internet", "advisory", "answers"
		}),
		say("model:huggingface:baai/bge-small-en-v1.5", func(p *register.Person) {
			p.Use, p.Criticality = "finds products", 2
			p.System.Purpose, p.System.Data, p.System.Exposure, p.System.Effect, p.System.Autonomy = "search", []string{"none"}, "internal", "advisory", "answers"
		}),
	)
}
