package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
)

// A Promotion is what it takes to bring a version to another stage.
type Promotion struct {
	Version    Version
	From, To   Stage
	Allowed    bool
	Conditions []policy.Condition // what is missing first
	Papers     Papers
}

// A Move asks for a version to come to another stage.
type Move struct {
	Model   Name
	Version int // 0: the newest
	To      Stage
	From    Stage // where whoever asks believes it is; "": wherever it is
	Reason  string
	Actor   warden.Principal
}

func (m Move) check() error {
	if err := named(m.Actor); err != nil {
		return err
	}
	if _, err := ParseName(string(m.Model)); err != nil {
		return err
	}
	if !slices.Contains(Stages(), m.To) {
		var names []string
		for _, s := range Stages() {
			names = append(names, string(s))
		}
		return &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("unknown stage %.40q", m.To), Hint: "stages are " + strings.Join(names, ", ")}
	}
	return nil
}

// StageOf returns where a version is, after its history.
func StageOf(history []StageChange) Stage {
	if len(history) == 0 {
		return Dev
	}
	return history[len(history)-1].After
}

// A step is a promotion or an approval as policies see it, in one state of the
// registry.
type step struct {
	version Version
	from    Stage
	book    *rulebook
	papers  Papers
	request policy.Request
}

func (g *Governor) step(ctx context.Context, r Reader, m Move, action policy.Action) (step, error) {
	var s step
	var err error
	if s.version, err = r.Version(ctx, m.Model, m.Version); err != nil {
		return s, err
	}
	history, err := r.StageChanges(ctx, m.Model, s.version.Number)
	if err != nil {
		return s, err
	}
	s.from = StageOf(history)
	if s.book, err = g.cfg.Judge.rules(ctx, r); err != nil {
		return s, err
	}
	d := s.version.Digest
	if s.papers, err = g.cfg.Judge.papers(ctx, r, s.book, d, m.Model); err != nil {
		return s, err
	}
	vs, err := r.VersionsOf(ctx, d)
	if err != nil {
		return s, err
	}
	at := policy.Step{Model: string(m.Model), Version: s.version.Number, To: string(m.To), PushedBy: []string{}, SignedBy: []string{}}
	for _, v := range vs {
		if v.Model == m.Model {
			at.PushedBy = append(at.PushedBy, v.PushedBy)
		}
	}
	at.SignedBy = append(at.SignedBy, s.papers.People...)
	if g.cfg.Asset != nil {
		at.Asset = g.cfg.Asset(m.Model)
	}
	s.request = policy.Request{
		Principal: m.Actor, Action: action, Step: at, Now: g.cfg.Now(),
		Resource: policy.Resource{Ref: ArtifactRef(d), Facts: s.papers.Facts, State: string(s.version.Artifact.State()), Stage: string(s.from)},
	}
	return s, g.people(ctx, &s.request)
}

// people puts the person in the place of each principal where four eyes are
// counted: one human being may have several keys.
func (g *Governor) people(ctx context.Context, r *policy.Request) error {
	if g.cfg.Person == nil {
		return nil
	}
	who := func(id string) (string, error) {
		p, err := g.cfg.Person(ctx, id)
		if err != nil {
			return "", fmt.Errorf("who is %s: %w", id, err)
		}
		return p, nil
	}
	var err error
	if r.Step.Person, err = who(r.Principal.ID); err != nil {
		return err
	}
	for _, list := range []*[]string{&r.Step.PushedBy, &r.Step.SignedBy} {
		for i, id := range *list {
			if (*list)[i], err = who(id); err != nil {
				return err
			}
		}
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	r.Resource.Facts.Approvals = slices.Clone(r.Resource.Facts.Approvals)
	for i, a := range r.Resource.Facts.Approvals {
		if r.Resource.Facts.Approvals[i].Who, err = who(a.Who); err != nil {
			return err
		}
	}
	return nil
}

// Conditions returns what a promotion needs and whether it has it. It changes
// nothing.
func (g *Governor) Conditions(ctx context.Context, m Move) (Promotion, error) {
	if err := m.check(); err != nil {
		return Promotion{}, err
	}
	var (
		s   step
		out Promotion
	)
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		s, err = g.step(ctx, r, m, policy.Promote)
		return err
	})
	if err != nil {
		return Promotion{}, g.cfg.Registry.explain(fmt.Sprintf("look up %s@%d", m.Model, m.Version), err)
	}
	out = Promotion{Version: s.version, From: s.from, To: m.To, Conditions: s.book.policies.Conditions(s.request), Papers: s.papers}
	out.Allowed = s.book.policies.Decide(s.request).Effect == warden.Allow
	return out, nil
}

// Promote moves a version to another stage if policy allows it. Decision, stage
// and event are kept together; a refusal is kept, too, and returned as a
// *warden.Error with CodeDenied that says what is missing.
func (g *Governor) Promote(ctx context.Context, m Move) (StageChange, Decision, error) {
	if err := m.check(); err != nil {
		return StageChange{}, Decision{}, err
	}
	if err := reasoned(m.Reason); err != nil {
		return StageChange{}, Decision{}, err
	}
	var (
		c      StageChange
		dec    Decision
		denied error
		a      Artifact
	)
	err := g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) error {
		s, err := g.step(ctx, tx, m, policy.Promote)
		if err != nil {
			return err
		}
		switch {
		case m.From != "" && m.From != s.from:
			return &warden.Error{
				Code: warden.CodeConflict, Message: fmt.Sprintf("%s@%d is in %s, not in %s any more", m.Model, s.version.Number, s.from, m.From),
				Hint: "somebody else moved it: warden registry history " + string(m.Model),
			}
		case s.from == m.To:
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("%s@%d is in %s already", m.Model, s.version.Number, m.To), Hint: "see warden registry history " + string(m.Model)}
		}
		if dec, err = g.cfg.Judge.judge(s.book, s.papers, s.request); err != nil {
			return err
		}
		if dec, err = g.cfg.Registry.keep(ctx, tx, dec); err != nil {
			return err
		}
		a = s.version.Artifact
		details := map[string]any{"model": m.Model, "version": s.version.Number, "from": s.from, "to": m.To, "reason": m.Reason, "decision": dec.Digest.String()}
		records := []audit.Record{decisionRecord(m.Actor, a, dec)}
		if dec.Effect != warden.Allow {
			denied = g.refused(m, s, dec)
			_, err = g.cfg.Registry.cfg.Log.AppendAll(ctx, tx, append(records, audit.Record{
				Event: warden.Event{Actor: m.Actor, Action: "registry.promote-refused", Object: a.Ref()}, Payload: details,
			}))
			return err
		}
		denied = nil
		c = StageChange{Model: m.Model, Number: s.version.Number, Artifact: a.Digest, Before: s.from, After: m.To, At: g.cfg.Now().UTC(), By: m.Actor.ID, Reason: m.Reason, Decision: dec.Digest}
		if err := tx.PutStageChange(ctx, c); err != nil {
			return err
		}
		if err := g.touch(ctx, tx, &a); err != nil {
			return err
		}
		_, err = g.cfg.Registry.cfg.Log.AppendAll(ctx, tx, append(records, audit.Record{
			Event: warden.Event{Actor: m.Actor, Action: "registry.promote", Object: a.Ref()}, Payload: details,
		}))
		return err
	})
	if err != nil {
		return StageChange{}, Decision{}, g.cfg.Registry.explain(fmt.Sprintf("promote %s@%d", m.Model, m.Version), err)
	}
	if denied != nil {
		return StageChange{}, dec, denied
	}
	g.cfg.Registry.tell(Change{Epoch: a.Epoch, Artifact: a.Digest, State: a.State()})
	return c, dec, nil
}

// refused says what a promotion lacks.
func (g *Governor) refused(m Move, s step, dec Decision) error {
	var missing []string
	fix := ""
	for _, c := range s.book.policies.Conditions(s.request) {
		if !c.Met {
			missing = append(missing, c.Needs+" ("+c.Policy+")")
			if fix == "" {
				fix = c.Fix
			}
		}
	}
	return &warden.Error{
		Code: warden.CodeDenied, Hint: fix,
		Message: fmt.Sprintf("%s@%d does not go to %s; it needs: %s; decision %s", m.Model, s.version.Number, m.To, strings.Join(missing, "; "), dec.Digest),
	}
}

// An Approval is what somebody says of a promotion.
type Approval struct {
	Move
	Role     string        // one of the roles of the actor, or ""
	Valid    time.Duration // zero: 30 days
	Withdraw bool          // takes an approval back
}

// Bounds of the life of an approval.
const (
	approvalFor = 30 * 24 * time.Hour
	maxApproval = 366 * 24 * time.Hour
)

// Approve keeps a person's approval of a promotion, as a statement that this
// server signs on behalf of whom it authenticated.
func (g *Governor) Approve(ctx context.Context, p Approval) (Statement, error) {
	if err := p.check(); err != nil {
		return Statement{}, err
	}
	if err := reasoned(p.Reason); err != nil {
		return Statement{}, err
	}
	if p.Valid == 0 {
		p.Valid = approvalFor
	}
	switch {
	case p.Valid < 0 || p.Valid > maxApproval:
		return Statement{}, &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("an approval for %v", p.Valid), Hint: "at most 366 days"}
	case p.Role != "" && !slices.Contains(p.Actor.Roles, p.Role):
		return Statement{}, &warden.Error{
			Code: warden.CodeDenied, Message: fmt.Sprintf("%s has not the role %.40q", p.Actor.ID, p.Role), Hint: "approve in a role that you have: " + strings.Join(p.Actor.Roles, ", "),
		}
	}
	var (
		st     Statement
		denied error
		a      Artifact
	)
	err := g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) error {
		s, err := g.step(ctx, tx, p.Move, policy.Approve)
		if err != nil {
			return err
		}
		a = s.version.Artifact
		if dec := s.book.policies.Decide(s.request); dec.Effect != warden.Allow {
			denied = &warden.Error{
				Code: warden.CodeDenied, Message: fmt.Sprintf("policy does not let %s approve %s@%d (%s)", p.Actor.ID, p.Model, s.version.Number, strings.Join(dec.Because, ", ")),
				Hint: "four eyes: somebody who did not push or sign it approves it",
			}
			_, err := g.cfg.Registry.cfg.Log.Append(ctx, tx, warden.Event{Actor: p.Actor, Action: "access.deny", Object: a.Ref()}, map[string]any{
				"action": policy.Approve, "policy": dec.Policy, "because": dec.Because,
			})
			return err
		}
		denied = nil
		given := 0
		for _, x := range s.papers.All {
			if x.Statement.PredicateType == attest.ApprovalType {
				given++
			}
		}
		if given >= maxStatements {
			return &warden.Error{Code: warden.CodeLimit, Message: fmt.Sprintf("%d approvals of %s, at most %d", given, s.version.Digest, maxStatements), Hint: "push a new version"}
		}
		if st, err = g.approval(s, p); err != nil {
			return err
		}
		if err := tx.PutStatement(ctx, st); err != nil {
			return err
		}
		if err := g.touch(ctx, tx, &a); err != nil {
			return err
		}
		action := "registry.approve"
		if p.Withdraw {
			action = "registry.withdraw-approval"
		}
		_, err = g.cfg.Registry.cfg.Log.Append(ctx, tx, warden.Event{Actor: p.Actor, Action: action, Object: a.Ref()}, map[string]any{
			"model": p.Model, "version": s.version.Number, "to": p.To, "role": p.Role, "reason": p.Reason, "statement": st.Payload.String(),
		})
		return err
	})
	if err == nil {
		err = denied
	}
	if err != nil {
		return Statement{}, g.cfg.Registry.explain(fmt.Sprintf("approve %s@%d", p.Model, p.Version), err)
	}
	g.cfg.Registry.tell(Change{Epoch: a.Epoch, Artifact: a.Digest, State: a.State()})
	return st, nil
}

// approval makes the signed statement of p.
func (g *Governor) approval(s step, p Approval) (Statement, error) {
	now := g.cfg.Now().UTC()
	d := s.version.Digest
	raw, err := attest.New(attest.ApprovalType, attest.Approval{
		Who: p.Actor.ID, Role: p.Role, Action: string(policy.Promote), Model: string(p.Model), Version: s.version.Number, Stage: string(p.To), Reason: p.Reason,
		Withdrawn: p.Withdraw, Given: now, Expires: now.Add(p.Valid).Truncate(time.Second),
	}, d)
	if err != nil {
		return Statement{}, err
	}
	payload, err := attest.Encode(raw)
	if err != nil {
		return Statement{}, err
	}
	envelope, err := g.cfg.Signer.Sign(payload)
	if err != nil {
		return Statement{}, err
	}
	id := warden.Sum(payload)
	return Statement{ID: id, Payload: id, PredicateType: attest.ApprovalType, Signer: attest.ServerSigner, Subjects: []warden.Digest{d}, Received: now, Envelope: envelope}, nil
}

// History returns where the versions of a model were, oldest first; number 0
// asks for all of them.
func (g *Governor) History(ctx context.Context, model Name, number int) ([]StageChange, error) {
	var out []StageChange
	err := g.cfg.Registry.View(ctx, func(r Reader) error {
		if _, err := r.Version(ctx, model, number); err != nil {
			return err
		}
		var err error
		out, err = r.StageChanges(ctx, model, number)
		return err
	})
	if err != nil {
		return nil, g.cfg.Registry.explain(fmt.Sprintf("history of %s", model), err)
	}
	return out, nil
}
