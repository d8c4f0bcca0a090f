package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// An Explanation is a past decision with all that it was made from.
type Explanation struct {
	Decision Decision
	Names    []Version
	Request  policy.Recorded
	Facts    policy.Facts
	Set      *policy.Set
	Trust    TrustList
	Reasons  []policy.Reason // the policies that were looked at, those that fired first
	Papers   []Paper         // the statements that were there then, as they count now
	Event    *audit.Entry    // where the log says so; nil if it is not found
	Proof    *audit.Proof    // nil if no checkpoint covers it yet
}

// Explain returns the decision with a digest; or the last one about an artifact,
// at a time (zero: now) and of an action ("": any).
func (g *Governor) Explain(ctx context.Context, d warden.Digest, at time.Time, action string) (Explanation, error) {
	var x Explanation
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		if x.Decision, err = decisionFor(ctx, r, d, at, action); err != nil {
			return err
		}
		return g.explain(ctx, r, &x)
	})
	if err != nil {
		return Explanation{}, g.cfg.Registry.explain("explain "+d.String(), err)
	}
	return x, nil
}

// decisionFor finds a decision by its digest, or about an artifact.
func decisionFor(ctx context.Context, r Reader, d warden.Digest, at time.Time, action string) (Decision, error) {
	dec, err := r.Decision(ctx, d)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return dec, err
	}
	a, err := r.Artifact(ctx, d)
	if err != nil {
		return Decision{}, err
	}
	if at.IsZero() && action == "" && a.Decision != (warden.Digest{}) {
		return r.Decision(ctx, a.Decision)
	}
	for p := (Page{Limit: 1000}); ; {
		ds, next, err := r.DecisionsOn(ctx, d, p)
		if err != nil {
			return Decision{}, err
		}
		for _, dec := range ds {
			if (at.IsZero() || !dec.At.After(at)) && (action == "" || dec.Action == action) {
				return dec, nil
			}
		}
		if p.After = next; next == "" {
			return Decision{}, &warden.Error{Code: warden.CodeNotFound, Message: "no such decision about " + d.String(), Hint: "the console lists the decisions about an artifact; leave out --at and --action for the last one"}
		}
	}
}

func (g *Governor) explain(ctx context.Context, r Reader, x *Explanation) error {
	dec := x.Decision
	var err error
	if x.Names, err = r.VersionsOf(ctx, dec.Artifact); err != nil {
		return err
	}
	if dec.Engine == "" {
		return &warden.Error{
			Code: warden.CodeUnavailable, Message: "decision " + dec.Digest.String() + " was kept by a version that did not keep what it was made from", Hint: "decide again: warden registry show",
		}
	}
	if err := errors.Join(json.Unmarshal(dec.Request, &x.Request), json.Unmarshal(dec.Facts, &x.Facts)); err != nil {
		return fmt.Errorf("decision %s: %w", dec.Digest, err)
	}
	name, digest, _ := strings.Cut(dec.Policy, "@")
	d, err := warden.ParseDigest(digest)
	if err != nil {
		return err
	}
	text, err := r.Content(ctx, d)
	if err != nil {
		return fmt.Errorf("policies of decision %s: %w", dec.Digest, err)
	}
	sources, err := policy.DecodeSources(text)
	if err != nil {
		return err
	}
	if x.Set, err = policy.NewSet(name, rules.PolicySchema(), sources...); err != nil {
		return err
	}
	x.Reasons = x.Set.Explain(x.Request.Request(x.Facts))
	if x.Trust, err = trustAt(ctx, r, dec.Trust); err != nil {
		return err
	}
	book, err := g.cfg.Judge.rules(ctx, r)
	if err != nil {
		return err
	}
	model := Name("")
	if x.Request.Step != nil {
		model = Name(x.Request.Step.Model)
	}
	p, err := g.cfg.Judge.papers(ctx, r, book, dec.Artifact, model)
	if err != nil {
		return err
	}
	x.Papers = slices.DeleteFunc(p.All, func(p Paper) bool { return p.Statement.Received.After(dec.At) })
	return g.logged(ctx, r, x)
}

// logged finds the entry of the audit log that says so.
func (g *Governor) logged(ctx context.Context, r Reader, x *Explanation) error {
	want := []byte(`"decision":"` + x.Decision.Digest.String() + `"`)
	for p := (Page{Limit: 1000}); ; {
		es, next, err := r.Trail(ctx, TrailFilter{Object: ArtifactRef(x.Decision.Artifact), Action: "policy.decide"}, p)
		if err != nil {
			return err
		}
		for _, e := range es {
			if !strings.Contains(string(e.Payload), string(want)) {
				continue
			}
			x.Event = &e
			proof, err := audit.Prove(ctx, r, e.Seq)
			if err == nil {
				x.Proof = &proof
			} else if !errors.Is(err, audit.ErrUnsealed) {
				return err
			}
			return nil
		}
		if p.After = next; next == "" {
			return nil
		}
	}
}

// ExportSchema is the schema of a decision that was written to a file.
const ExportSchema = "warden.decision/v1"

// An Export is a decision that can be made again without a server.
type Export struct {
	Schema     string            `json:"schema"`
	Digest     string            `json:"digest"`
	Artifact   string            `json:"artifact"`
	Action     string            `json:"action"`
	At         time.Time         `json:"at"`
	Effect     warden.Effect     `json:"effect"`
	Because    []string          `json:"because"`
	Reason     string            `json:"reason"`
	Engine     string            `json:"engine"`
	Policy     string            `json:"policy"` // name@digest
	Trust      int64             `json:"trust"`  // version of the trust store
	Request    json.RawMessage   `json:"request"`
	Facts      json.RawMessage   `json:"facts"`
	Policies   json.RawMessage   `json:"policies"` // text of the set, canonical: its digest is that in Policy
	Entries    []attest.Entry    `json:"trust_entries"`
	Statements []json.RawMessage `json:"statements"` // envelopes and bundles that were there then
	Envelope   json.RawMessage   `json:"envelope"`   // the decision, signed by the server; null if it had no signer
	Leaf       string            `json:"leaf"`       // of the audit log; "" if not found
	Proof      *audit.Proof      `json:"proof"`
}

// Export returns x for a file.
func (x Explanation) Export() Export {
	d := x.Decision
	out := Export{
		Schema: ExportSchema, Digest: d.Digest.String(), Artifact: d.Artifact.String(), Action: d.Action, At: d.At, Effect: d.Effect, Because: d.Because, Reason: d.Reason,
		Engine: d.Engine, Policy: d.Policy, Trust: d.Trust, Request: d.Request, Facts: d.Facts, Policies: x.Set.Text(), Entries: x.Trust.Entries, Proof: x.Proof, Statements: []json.RawMessage{},
	}
	if len(d.Envelope) > 0 {
		out.Envelope = d.Envelope
	}
	for _, p := range x.Papers {
		out.Statements = append(out.Statements, p.Statement.Envelope)
	}
	if x.Event != nil {
		out.Leaf = string(x.Event.Leaf)
	}
	return out
}

// A Replayed is what came of making a decision again.
type Replayed struct {
	Export  Export
	Effect  warden.Effect
	Because []string
	Reasons []policy.Reason
	Diffs   []string // how inputs or outcome are not what was decided; none: the same
}

// Replay makes an exported decision again, without a server. The error is for
// what cannot be read; a decision that comes out otherwise, or inputs that are
// not those that were decided on, are in Diffs.
func Replay(text []byte) (Replayed, error) {
	var r Replayed
	if err := attest.CheckJSON(text); err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r.Export); err != nil {
		return r, err
	}
	e := r.Export
	if e.Schema != ExportSchema {
		return r, fmt.Errorf("schema %.60q, want %s", e.Schema, ExportSchema)
	}
	var (
		rec   policy.Recorded
		facts policy.Facts
	)
	if err := errors.Join(json.Unmarshal(e.Request, &rec), json.Unmarshal(e.Facts, &facts)); err != nil {
		return r, err
	}
	diff := func(format string, args ...any) { r.Diffs = append(r.Diffs, fmt.Sprintf(format, args...)) }
	canonical := func(b json.RawMessage) json.RawMessage {
		out, err := warden.Canonical(b)
		if err != nil {
			diff("%v", err)
		}
		return out
	}
	name, digest, _ := strings.Cut(e.Policy, "@")
	if got := warden.Sum(canonical(e.Policies)).String(); got != digest {
		diff("policies: the text is %s, the decision was made by %s", got, digest)
	}
	artifact, err := warden.ParseDigest(e.Artifact)
	if err != nil {
		return r, err
	}
	rebuilt, err := record(Decision{
		Artifact: artifact, Action: e.Action, Effect: e.Effect, Because: e.Because, Engine: e.Engine, Policy: e.Policy, Trust: e.Trust, Request: canonical(e.Request), Facts: canonical(e.Facts),
	})
	if err != nil {
		return r, err
	}
	if got := warden.Sum(rebuilt).String(); got != e.Digest {
		diff("decision: request, facts and outcome are %s, the decision is %s", got, e.Digest)
	}
	if typed, err := warden.Canonical(facts); err != nil || string(typed) != string(canonical(e.Facts)) {
		diff("facts: not all of them are known to this version (%v)", err)
	}
	sources, err := policy.DecodeSources(e.Policies)
	if err != nil {
		return r, err
	}
	set, err := policy.NewSet(name, rules.PolicySchema(), sources...)
	if err != nil {
		return r, err
	}
	req := rec.Request(facts)
	if req.Resource.Ref != ArtifactRef(artifact) || string(rec.Action) != e.Action {
		diff("request: it is %s of %s, the decision is %s of %s", rec.Action, rec.Resource, e.Action, e.Artifact)
	}
	dec := set.Decide(req)
	r.Effect, r.Because, r.Reasons = dec.Effect, dec.Because, set.Reasons(req, dec)
	if dec.Effect != e.Effect {
		diff("effect: it was %s, it is %s", e.Effect, dec.Effect)
	}
	if !slices.Equal(dec.Because, e.Because) {
		diff("because: it was %v, it is %v", e.Because, dec.Because)
	}
	return r, nil
}
