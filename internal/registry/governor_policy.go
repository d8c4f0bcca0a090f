package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// A Draft is a policy set that does not hold yet.
type Draft struct {
	Name    string
	Sources []policy.Source
}

// set parses and validates a draft.
func (d Draft) set() (*policy.Set, error) {
	if d.Name == "" || len(d.Name) > 100 || len(d.Sources) == 0 || len(d.Sources) > 1000 {
		return nil, &warden.Error{Code: warden.CodeInvalid, Message: "a policy set needs a name of at most 100 bytes and 1 to 1000 files", Hint: "give the .cedar files of the whole set"}
	}
	set, err := policy.NewSet(d.Name, rules.PolicySchema(), d.Sources...)
	if err != nil {
		return nil, &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "correct it there; the set that holds stays", Err: err}
	}
	return set, nil
}

// Policies returns the versions of the policy set, newest first, the number of
// the one that holds, and that set.
func (g *Governor) Policies(ctx context.Context) ([]PolicyVersion, int64, *policy.Set, error) {
	var (
		all  []PolicyVersion
		book *rulebook
	)
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		if all, err = r.PolicyVersions(ctx); err != nil {
			return err
		}
		book, err = g.cfg.Judge.rules(ctx, r)
		return err
	})
	if err != nil {
		return nil, 0, nil, g.cfg.Registry.explain("list policies", err)
	}
	return all, book.policyVersion, book.policies, nil
}

// PolicySet returns one version of the policy set.
func (g *Governor) PolicySet(ctx context.Context, version int64) (*policy.Set, error) {
	var set *policy.Set
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		set, err = g.cfg.Judge.policySet(ctx, r, version)
		return err
	})
	if err != nil {
		return nil, g.cfg.Registry.explain(fmt.Sprintf("policy version %d", version), err)
	}
	return set, nil
}

// Propose keeps a policy set for another person to apply. If alone, whoever
// proposes is the only administrator there is: then it is applied at once, and
// the audit log says why nobody else looked at it. A set that does not parse is
// refused, and the one that holds stays.
func (g *Governor) Propose(ctx context.Context, d Draft, why string, alone bool, actor warden.Principal) (PolicyVersion, error) {
	if err := named(actor); err != nil {
		return PolicyVersion{}, err
	}
	if err := reasoned(why); err != nil {
		return PolicyVersion{}, err
	}
	set, err := d.set()
	if err != nil {
		return PolicyVersion{}, err
	}
	var v PolicyVersion
	err = g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.PolicyVersions(ctx)
		if err != nil {
			return err
		}
		now := g.cfg.Now().UTC()
		v = PolicyVersion{Version: 1, Name: d.Name, Digest: set.Digest(), State: Proposed, Reason: why, ProposedBy: actor.ID, ProposedAt: now}
		if len(all) > 0 {
			v.Version = all[0].Version + 1
		}
		if err := tx.PutContent(ctx, set.Text()); err != nil {
			return err
		}
		action := "policy.propose"
		if alone {
			v.State, v.DecidedBy, v.DecidedAt, action = Applied, actor.ID, now, "policy.apply"
		}
		if err := tx.PutPolicyVersion(ctx, v); err != nil {
			return err
		}
		_, err = g.cfg.Registry.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: action, Object: platform("policies")}, map[string]any{
			"version": v.Version, "policy": set.Name(), "reason": why, "single_administrator": alone,
		})
		return err
	})
	if err != nil {
		return PolicyVersion{}, g.cfg.Registry.explain("propose policies", err)
	}
	return v, g.cfg.Judge.Refresh(ctx)
}

// Apply makes a proposed policy set hold. It takes another person than the one
// who proposed it.
func (g *Governor) Apply(ctx context.Context, version int64, actor warden.Principal) (PolicyVersion, error) {
	if err := named(actor); err != nil {
		return PolicyVersion{}, err
	}
	var v PolicyVersion
	err := g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.PolicyVersions(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(x PolicyVersion) bool { return x.Version == version })
		switch {
		case i < 0:
			return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no policy version %d", version), Hint: "list them with: warden policy list"}
		case all[i].State != Proposed:
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("policy version %d was applied already", version), Hint: "to go back to it, propose its text again"}
		}
		v = all[i]
		same, err := g.samePerson(ctx, v.ProposedBy, actor.ID)
		if err != nil {
			return err
		}
		if same {
			return &warden.Error{
				Code: warden.CodeDenied, Message: fmt.Sprintf("policy version %d was proposed by %s, who cannot apply it", version, v.ProposedBy), Hint: "four eyes: ask another administrator",
			}
		}
		set, err := g.cfg.Judge.policySet(ctx, tx, version)
		if err != nil {
			return err
		}
		v.State, v.DecidedBy, v.DecidedAt = Applied, actor.ID, g.cfg.Now().UTC()
		if err := tx.PutPolicyVersion(ctx, v); err != nil {
			return err
		}
		_, err = g.cfg.Registry.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "policy.apply", Object: platform("policies")}, map[string]any{
			"version": v.Version, "policy": set.Name(), "proposed_by": v.ProposedBy, "single_administrator": false,
		})
		return err
	})
	if err != nil {
		return PolicyVersion{}, g.cfg.Registry.explain(fmt.Sprintf("apply policy version %d", version), err)
	}
	return v, g.cfg.Judge.Refresh(ctx)
}

// samePerson reports whether one human being is behind two principals.
func (g *Governor) samePerson(ctx context.Context, a, b string) (bool, error) {
	if g.cfg.Person == nil {
		return a == b, nil
	}
	x, err := g.cfg.Person(ctx, a)
	if err != nil {
		return false, err
	}
	y, err := g.cfg.Person(ctx, b)
	return x == y, err
}

// A Simulated is what a draft would make of what is there.
type Simulated struct {
	Set       *policy.Set
	Artifacts int // looked at
	Decisions int // of the past, made again
	Changes   []Difference
	Total     int // of changes, of which at most 1,000 are listed
}

// A Difference is one decision that a draft would make otherwise.
type Difference struct {
	Artifact warden.Digest
	Name     string // model@number, or ""
	Action   string
	Who      string // principal
	Decision warden.Digest
	Before   warden.Effect
	After    warden.Effect
	Because  []string // of After
}

const (
	differencesKept = 1000
	maxSimulated    = 10_000 // decisions of the past
)

// Simulate decides with a draft on all artifacts (whether each is admitted) and
// on the last recorded decisions, and says what would come out otherwise. It
// changes nothing.
func (g *Governor) Simulate(ctx context.Context, d Draft, last int) (Simulated, error) {
	set, err := d.set()
	if err != nil {
		return Simulated{}, err
	}
	out := Simulated{Set: set}
	add := func(x Difference) {
		if out.Total++; len(out.Changes) < differencesKept {
			out.Changes = append(out.Changes, x)
		}
	}
	err = g.cfg.Registry.View(ctx, func(r Reader) error {
		if err := g.simulateArtifacts(ctx, r, set, &out, add); err != nil {
			return err
		}
		ds, err := r.LastDecisions(ctx, min(max(last, 0), maxSimulated))
		if err != nil {
			return err
		}
		for _, dec := range ds {
			var (
				rec   policy.Recorded
				facts policy.Facts
			)
			if dec.Engine == "" || json.Unmarshal(dec.Request, &rec) != nil || json.Unmarshal(dec.Facts, &facts) != nil {
				continue // kept by a version that did not keep all of it
			}
			if rec.Action == policy.Admit {
				continue // asked about above, with the facts of now
			}
			out.Decisions++
			if now := set.Decide(rec.Request(facts)); now.Effect != dec.Effect {
				add(Difference{Artifact: dec.Artifact, Action: dec.Action, Who: rec.Principal, Decision: dec.Digest, Before: dec.Effect, After: now.Effect, Because: now.Because})
			}
		}
		return nil
	})
	if err != nil {
		return Simulated{}, g.cfg.Registry.explain("simulate policies", err)
	}
	return out, nil
}

func (g *Governor) simulateArtifacts(ctx context.Context, r Reader, set *policy.Set, out *Simulated, add func(Difference)) error {
	book, err := g.cfg.Judge.rules(ctx, r)
	if err != nil {
		return err
	}
	for epoch := uint64(0); ; {
		as, err := r.ChangedSince(ctx, epoch, 1000)
		if err != nil || len(as) == 0 {
			return err
		}
		for _, a := range as {
			if epoch = a.Epoch; a.Scanned.IsZero() {
				continue
			}
			out.Artifacts++
			p, err := g.cfg.Judge.remembered(ctx, r, book, a, "")
			if err != nil {
				return err
			}
			req := policy.Request{
				Principal: Worker(), Action: policy.Admit, Now: g.cfg.Now(), Resource: policy.Resource{Ref: a.Ref(), Facts: p.Facts, State: string(Pending)},
			}
			before, after := book.policies.Decide(req), set.Decide(req)
			if before.Effect == after.Effect {
				continue
			}
			x := Difference{Artifact: a.Digest, Action: string(policy.Admit), Who: Worker().ID, Before: before.Effect, After: after.Effect, Because: after.Because}
			vs, err := r.VersionsOf(ctx, a.Digest)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if len(vs) > 0 {
				x.Name = vs[0].Ref().ID
			}
			add(x)
		}
	}
}
