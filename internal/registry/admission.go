package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
)

// An Outcome is all that examining an artifact brought: it is kept whole or not
// at all.
type Outcome struct {
	Actor      warden.Principal // who examined it
	Scan       Scan             // ID and At are filled in
	Statements []Statement      // Received is filled in
	Edges      []Edge           // Created is filled in; From may be zero: the artifact
	Failed     string           // why it was given up; "": it was examined
	Decision   Decision         // Artifact, At, Digest and Record are filled in
	// Decide makes Decision from what is kept then, with the statements above, in
	// the same transaction; nil: Decision is given.
	Decide func(ctx context.Context, r Reader, a Artifact) (Decision, error)
}

// RecordScan keeps the outcome of a scan and moves the artifact to Admitted or
// Denied, as the decision says. A quarantine stays. It returns the artifact as
// it is then. Recording the same outcome twice changes nothing but the log.
func (s *Service) RecordScan(ctx context.Context, o Outcome) (Artifact, error) {
	d := o.Scan.Artifact
	doing := "record the scan of " + d.String()
	if err := named(o.Actor); err != nil {
		return Artifact{}, err
	}
	var a Artifact
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if a, err = tx.Artifact(ctx, d); err != nil {
			return err
		}
		now := s.cfg.Now().UTC()
		o.Scan.At = now
		if _, err := tx.PutScan(ctx, o.Scan); err != nil {
			return err
		}
		var names []string
		for _, st := range o.Statements {
			st.Received = now
			if err := tx.PutStatement(ctx, st); err != nil {
				return err
			}
			names = append(names, st.Payload.String())
		}
		for _, e := range o.Edges {
			if e.From == (warden.Ref{}) {
				e.From = a.Ref()
			}
			e.Created, e.Demo = now, a.Demo
			if err := tx.PutEdge(ctx, e); err != nil {
				return err
			}
		}
		a.Verdict, a.Complete, a.Scanned = o.Scan.Verdict.String(), o.Scan.Complete, now
		dec := o.Decision
		if o.Decide != nil {
			if dec, err = o.Decide(ctx, tx, a); err != nil {
				return err
			}
		}
		decided, err := s.decide(ctx, tx, &a, dec)
		if err != nil {
			return err
		}
		if err := tx.UnwantScan(ctx, d); err != nil {
			return err
		}
		if err := s.endJob(ctx, tx, a, o.Failed); err != nil {
			return err
		}
		if err := s.regroup(ctx, tx, a); err != nil {
			return err
		}
		_, err = s.cfg.Log.AppendAll(ctx, tx, []audit.Record{
			{Event: warden.Event{Actor: o.Actor, Action: "registry.scan", Object: a.Ref()}, Payload: map[string]any{
				"verdict": a.Verdict, "complete": a.Complete, "findings": len(o.Scan.Findings),
				"rules": o.Scan.RuleSet, "statements": names,
			}},
			decisionRecord(o.Actor, a, decided),
		})
		return err
	})
	if err != nil {
		return Artifact{}, s.explain(doing, err)
	}
	s.tell(Change{Epoch: a.Epoch, Artifact: d, State: a.State()})
	return a, nil
}

// Decide keeps a new decision about an artifact that was scanned before, for
// example because policies changed, and moves it as [Service.RecordScan] does.
func (s *Service) Decide(ctx context.Context, actor warden.Principal, dec Decision) (Artifact, error) {
	if err := named(actor); err != nil {
		return Artifact{}, err
	}
	var a Artifact
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if a, err = tx.Artifact(ctx, dec.Artifact); err != nil {
			return err
		}
		if a.Scanned.IsZero() && dec.Effect == warden.Allow {
			return &warden.Error{
				Code: warden.CodeConflict, Message: fmt.Sprintf("%s cannot be admitted before its scan has finished", a.Digest),
				Hint: "wait for the scan",
			}
		}
		decided, err := s.decide(ctx, tx, &a, dec)
		if err != nil {
			return err
		}
		r := decisionRecord(actor, a, decided)
		_, err = s.cfg.Log.Append(ctx, tx, r.Event, r.Payload)
		return err
	})
	if err != nil {
		return Artifact{}, s.explain("decide on "+dec.Artifact.String(), err)
	}
	s.tell(Change{Epoch: a.Epoch, Artifact: a.Digest, State: a.State()})
	return a, nil
}

// decide keeps dec and makes it the last decision on a, in tx.
func (s *Service) decide(ctx context.Context, tx Tx, a *Artifact, dec Decision) (Decision, error) {
	dec.Artifact = a.Digest
	if dec.Action == "" {
		dec.Action = "admit"
	}
	switch dec.Effect {
	case warden.Allow:
		a.Decided = Admitted
	case warden.Deny, warden.Require:
		a.Decided = Denied
	default:
		return Decision{}, fmt.Errorf("decision %q on %s: want allow, require or deny", dec.Effect, a.Digest)
	}
	dec, err := s.keep(ctx, tx, dec)
	if err != nil {
		return Decision{}, err
	}
	a.Decision, a.Reason = dec.Digest, dec.Reason
	if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
		return Decision{}, err
	}
	return dec, tx.SetArtifact(ctx, *a)
}

// keep names a decision by its record, signs it, and keeps it with the policies
// that made it.
func (s *Service) keep(ctx context.Context, tx Tx, dec Decision) (Decision, error) {
	dec.At = s.cfg.Now().UTC()
	if dec.Reason == "" {
		dec.Reason = string(dec.Effect) + " by " + dec.Policy
		if len(dec.Because) > 0 {
			dec.Reason = string(dec.Effect) + ": " + strings.Join(dec.Because, ", ")
		}
	}
	var err error
	if dec.Record, err = record(dec); err != nil {
		return Decision{}, err
	}
	dec.Digest = warden.Sum(dec.Record)
	if dec.Envelope, err = s.signed(dec); err != nil {
		return Decision{}, err
	}
	if len(dec.Policies) > 0 {
		if err := tx.PutContent(ctx, dec.Policies); err != nil {
			return Decision{}, err
		}
	}
	return dec, tx.PutDecision(ctx, dec)
}

// signed returns the envelope of a decision as a statement about its artifact:
// a verification summary of a promotion, else a verification result.
func (s *Service) signed(dec Decision) ([]byte, error) {
	if s.cfg.Signer == nil {
		return nil, nil
	}
	at := dec.At.Truncate(time.Second)
	name, hex, _ := strings.Cut(dec.Policy, "@sha256:")
	by, used := attest.Builder{ID: attest.VerifierID}, attest.Descriptor{Name: name, Digest: map[string]string{"sha256": hex}}
	inputs := []attest.Descriptor{}
	for _, d := range dec.Inputs {
		inputs = append(inputs, attest.FileDescriptor("", d))
	}
	result := "FAILED"
	if dec.Effect == warden.Allow {
		result = "PASSED"
	}
	kind, predicate := attest.SVRType, any(attest.Verification{
		Verifier: by, TimeCreated: at, Policy: used, Decision: attest.FileDescriptor("", dec.Digest), Inputs: inputs,
		Properties: []string{"action:" + dec.Action, "result:" + result},
	})
	if dec.Action == string(policy.Promote) {
		var rec policy.Recorded
		if err := json.Unmarshal(dec.Request, &rec); err != nil || rec.Step == nil {
			return nil, fmt.Errorf("request of promotion %s: %w", dec.Digest, err)
		}
		kind, predicate = attest.VSAType, attest.Summary{
			Verifier: by, TimeVerified: at, ResourceURI: fmt.Sprintf("warden:%s@%d", rec.Step.Model, rec.Step.Version), Policy: used, InputAttestations: inputs,
			VerificationResult: result, VerifiedLevels: []string{"WARDEN_STAGE_" + strings.ToUpper(rec.Step.To)},
		}
	}
	st, err := attest.New(kind, predicate, dec.Artifact)
	if err != nil {
		return nil, err
	}
	return attest.SignStatement(s.cfg.Signer, st)
}

// record returns the canonical bytes that name a decision: its inputs and its
// outcome, so that a replay can be compared. Facts and policies are named by
// their digests.
func record(dec Decision) ([]byte, error) {
	request := dec.Request
	if len(request) == 0 {
		request = json.RawMessage("null")
	}
	because := dec.Because
	if because == nil {
		because = []string{}
	}
	return warden.Canonical(map[string]any{
		"action": dec.Action, "artifact": dec.Artifact.String(), "because": because, "effect": dec.Effect, "engine": dec.Engine,
		"facts": warden.Sum(dec.Facts).String(), "policy": dec.Policy, "request": request, "trust": dec.Trust,
	})
}

func decisionRecord(actor warden.Principal, a Artifact, dec Decision) audit.Record {
	return audit.Record{
		Event: warden.Event{Actor: actor, Action: "policy.decide", Object: a.Ref()},
		Payload: map[string]any{
			"decision": dec.Digest.String(), "action": dec.Action, "effect": dec.Effect, "policy": dec.Policy, "because": dec.Because, "trust": dec.Trust, "state": a.State(),
		},
	}
}

// Quarantine takes an artifact out at once, whatever its decision. That it is
// in quarantine already is not an error; the first reason stays.
func (s *Service) Quarantine(ctx context.Context, d warden.Digest, reason string, actor warden.Principal) (Artifact, error) {
	return s.hold(ctx, "quarantine", d, reason, actor, func(a *Artifact) (bool, error) {
		if a.Quarantine != nil {
			return false, nil
		}
		a.Quarantine = &Quarantine{reason, actor.ID, s.cfg.Now().UTC()}
		return true, nil
	})
}

// Release ends a quarantine: what the last decision said holds again.
func (s *Service) Release(ctx context.Context, d warden.Digest, reason string, actor warden.Principal) (Artifact, error) {
	return s.hold(ctx, "release", d, reason, actor, func(a *Artifact) (bool, error) {
		if a.Quarantine == nil {
			return false, &warden.Error{
				Code: warden.CodeConflict, Message: fmt.Sprintf("%s is not in quarantine; it is %s", d, a.State()),
				Hint: "a denial ends with a new decision, not with a release",
			}
		}
		a.Quarantine = nil
		return true, nil
	})
}

func (s *Service) hold(ctx context.Context, verb string, d warden.Digest, reason string, actor warden.Principal, change func(*Artifact) (bool, error)) (Artifact, error) {
	if err := named(actor); err != nil {
		return Artifact{}, err
	}
	if err := reasoned(reason); err != nil {
		return Artifact{}, err
	}
	var (
		a       Artifact
		changed bool
	)
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if a, err = tx.Artifact(ctx, d); err != nil {
			return err
		}
		before := a.State()
		if changed, err = change(&a); err != nil || !changed {
			return err
		}
		if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
			return err
		}
		if err := tx.SetArtifact(ctx, a); err != nil {
			return err
		}
		details := map[string]any{"reason": reason, "before": before, "after": a.State()}
		st, err := s.certified(a, reason, actor)
		if err != nil {
			return err
		}
		if st.Envelope != nil {
			details["statement"] = st.Payload.String()
			if err := tx.PutStatement(ctx, st); err != nil {
				return err
			}
		}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "registry." + verb, Object: a.Ref()}, details)
		return err
	})
	if err != nil {
		return Artifact{}, s.explain(verb+" "+d.String(), err)
	}
	if changed {
		s.tell(Change{Epoch: a.Epoch, Artifact: d, State: a.State()})
	}
	return a, nil
}

// quarantineScope is the scope of what is certified by quarantines.
const quarantineScope = "quarantine"

// certified returns what tells others that a is in quarantine, or not any more:
// a signed statement that they can check without this platform. Here only the
// quarantine itself counts.
func (s *Service) certified(a Artifact, reason string, actor warden.Principal) (Statement, error) {
	if s.cfg.Signer == nil {
		return Statement{}, nil
	}
	now := s.cfg.Now().UTC()
	kind := attest.CertifyGoodType
	if a.Quarantine != nil {
		kind = attest.CertifyBadType
	}
	st, err := attest.New(kind, attest.Certification{Scope: quarantineScope, Justification: actor.ID + ": " + reason, KnownSince: now}, a.Digest)
	if err != nil {
		return Statement{}, err
	}
	payload, err := attest.Encode(st)
	if err != nil {
		return Statement{}, err
	}
	envelope, err := s.cfg.Signer.Sign(payload)
	if err != nil {
		return Statement{}, err
	}
	return Statement{
		Payload: warden.Sum(payload), PredicateType: kind, Signer: attest.ServerSigner, Subjects: []warden.Digest{a.Digest}, Received: now, Envelope: envelope,
	}, nil
}

// Retrieve returns an artifact to hand out and keeps who took it. If it may not
// be handed out, the refusal is kept and returned: a *warden.Error with
// CodeDenied that says why. A refusal or hand-out that could not be logged is
// an error too, so nothing leaves unseen.
func (s *Service) Retrieve(ctx context.Context, d warden.Digest, actor warden.Principal) (Artifact, error) {
	if err := named(actor); err != nil {
		return Artifact{}, err
	}
	var (
		a      Artifact
		denied error
	)
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if a, err = tx.Artifact(ctx, d); err != nil {
			return err
		}
		ev := warden.Event{Actor: actor, Action: "registry.retrieve", Object: a.Ref()}
		details := map[string]any{"state": a.State(), "decision": a.Decision.String(), "epoch": a.Epoch}
		if denied = refusal(a); denied != nil {
			ev.Action, details["reason"] = "registry.refuse", a.Why()
		} else if err := tx.AddRetrieval(ctx, d, actor.ID, s.cfg.Now().UTC()); err != nil {
			return err
		}
		_, err = s.cfg.Log.Append(ctx, tx, ev, details)
		return err
	})
	if err != nil {
		return Artifact{}, s.explain("retrieve "+d.String(), err)
	}
	if denied != nil {
		return Artifact{}, denied
	}
	return a, nil
}

// refusal returns why a may not be handed out, or nil.
func refusal(a Artifact) error {
	var hint string
	switch a.State() {
	case Admitted:
		return nil
	case Pending:
		hint = "wait until the scan has finished"
	case Quarantined:
		hint = "use another version, or ask whoever quarantined it to release it"
	case Denied:
		hint = "its findings: warden registry show " + a.Digest.String() + "; decision " + a.Decision.String()
	}
	return &warden.Error{
		Code: warden.CodeDenied, Hint: hint,
		Message: fmt.Sprintf("%s is %s", a.Digest, a.Says()),
	}
}

// Refusal returns nil if a may be handed out, else the *warden.Error with
// CodeDenied that [Service.Retrieve] would give. It logs nothing.
func Refusal(a Artifact) error { return refusal(a) }
