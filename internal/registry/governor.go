package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
)

// A GovernorConfig is what a [Governor] needs; all but Person are required.
type GovernorConfig struct {
	Registry *Service
	Judge    *Judge
	Signer   *attest.Signer // signs approvals on behalf of people
	Now      func() time.Time
	// Person returns who stands behind a principal: one human being may have
	// several. nil: each principal is somebody else.
	Person func(ctx context.Context, principal string) (string, error)
	// Asset returns what the register of assets knows of a model, nil for
	// nothing. It must not wait: it is called in transactions. nil: there is no
	// register.
	Asset func(model Name) *policy.Asset
}

// A Governor keeps what people say and decide: statements, trust, approvals,
// stages, policies. Each of its operations is one transaction with its audit
// event, and every artifact that it touches is decided on again.
type Governor struct {
	cfg GovernorConfig

	reconciling sync.Mutex // one at a time
}

// NewGovernor checks cfg. It starts nothing.
func NewGovernor(cfg GovernorConfig) (*Governor, error) {
	if cfg.Registry == nil || cfg.Judge == nil || cfg.Signer == nil || cfg.Now == nil {
		return nil, errors.New("registry: a governor needs a registry, a judge, a signer and a clock")
	}
	return &Governor{cfg: cfg}, nil
}

// Bounds of what is attached.
const (
	MaxEnvelope   = attest.MaxEnvelope
	MaxBundle     = oms.MaxBundle
	maxStatements = 1000 // about one artifact
	maxUnverified = 50   // about one artifact by one principal, that do not count
)

// An Attached is a statement that was taken in.
type Attached struct {
	Paper
	New      bool     // it was not there before
	Artifact Artifact // as it is decided now
}

// Attach keeps a signed statement about an artifact, a DSSE envelope or a
// Sigstore bundle. One that nobody who is trusted signed is kept too, and is
// never a fact. What is there already stays as it is.
func (g *Governor) Attach(ctx context.Context, d warden.Digest, text []byte, actor warden.Principal) (Attached, error) {
	doing := "attach a statement to " + d.String()
	if err := named(actor); err != nil {
		return Attached{}, err
	}
	st, err := received(d, text)
	if err != nil {
		return Attached{}, err
	}
	st.By = actor.ID
	var out Attached
	err = g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		out, err = g.attach(ctx, tx, d, st, actor)
		return err
	})
	if err != nil {
		return Attached{}, g.cfg.Registry.explain(doing, err)
	}
	if out.New {
		g.cfg.Registry.tell(Change{Epoch: out.Artifact.Epoch, Artifact: d, State: out.Artifact.State()})
	}
	return out, nil
}

// received reads a statement without looking at its signature.
func received(d warden.Digest, text []byte) (Statement, error) {
	bad := func(err error, hint string) (Statement, error) {
		return Statement{}, &warden.Error{Code: warden.CodeInvalid, Message: "statement: " + err.Error(), Hint: hint, Err: err}
	}
	st := Statement{Envelope: slices.Clone(text), Subjects: []warden.Digest{d}}
	const about = "attach it to the artifact that it is about"
	if !isBundle(text) {
		if len(text) > MaxEnvelope {
			return Statement{}, &warden.Error{Code: warden.CodeLimit, Message: fmt.Sprintf("envelope of %d bytes, at most %d", len(text), MaxEnvelope), Hint: "attach a smaller statement"}
		}
		e, s, err := attest.Open(text)
		if err != nil {
			return bad(err, "attach a DSSE envelope with one in-toto statement, or a Sigstore bundle")
		}
		if s.Subjects[0] != d {
			return bad(fmt.Errorf("%w: %v", attest.ErrSubject, s.Subjects[0]), about)
		}
		st.Payload, st.PredicateType, st.Subjects = warden.Sum(e.Payload), s.PredicateType, s.Subjects
		return st, nil
	}
	p, err := oms.Peek(text)
	if err != nil {
		return bad(err, "attach a Sigstore bundle, as warden sign writes it")
	}
	st.Payload, st.PredicateType = warden.Sum(p.Payload), p.PredicateType
	if p.Signed() {
		return st, nil // which files it lists is compared when the artifact is at hand
	}
	s, err := attest.Decode(p.Payload)
	if err == nil && s.Subjects[0] != d {
		return bad(fmt.Errorf("%w: %v", attest.ErrSubject, s.Subjects[0]), about)
	}
	if err != nil {
		return bad(err, "attach a bundle with an in-toto statement")
	}
	st.Subjects = s.Subjects
	return st, nil
}

func (g *Governor) attach(ctx context.Context, tx Tx, d warden.Digest, st Statement, actor warden.Principal) (Attached, error) {
	j := g.cfg.Judge
	a, err := tx.Artifact(ctx, d)
	if err != nil {
		return Attached{}, err
	}
	book, err := j.rules(ctx, tx)
	if err != nil {
		return Attached{}, err
	}
	if st.PredicateType == oms.PredicateType || st.PredicateType == oms.LegacyType {
		if err := sameFiles(ctx, tx, d, st); err != nil {
			return Attached{}, err
		}
	}
	now, err := j.papers(ctx, tx, book, d, "")
	if err != nil {
		return Attached{}, err
	}
	st.Received = g.cfg.Now().UTC()
	// Named apart for each way it may be verified: a forged copy that came first
	// must not keep the real one out.
	st.ID = warden.Sum(append(slices.Clone(st.Payload[:]), st.Envelope...))
	names := attest.Subject{Digest: d}
	vs, err := tx.VersionsOf(ctx, d)
	if err != nil {
		return Attached{}, err
	}
	for _, v := range vs {
		names.Names = append(names.Names, string(v.Model))
	}
	v, err := j.verify(ctx, tx, book, names, st)
	if err != nil {
		return Attached{}, err
	}
	for _, p := range now.All {
		if p.Statement.Payload == st.Payload && (p.Err == nil && v.err == nil && p.Signer == v.claim.Signer || p.Statement.ID == st.ID) {
			return Attached{Paper: p, Artifact: a}, nil
		}
	}
	idle, others := 0, 0
	for _, p := range now.All {
		if p.Statement.By != "" {
			others++
		}
		if p.Err != nil && p.Statement.By == actor.ID {
			idle++
		}
	}
	if v.err != nil && idle >= maxUnverified {
		return Attached{}, &warden.Error{
			Code: warden.CodeLimit, Message: fmt.Sprintf("%d statements about %s that you attached do not count (%v)", idle, d, v.err), Hint: "add their signers to the trust store first: warden trust add",
		}
	}
	if others >= maxStatements {
		return Attached{}, &warden.Error{
			Code: warden.CodeLimit, Message: fmt.Sprintf("%d statements are attached to %s, at most %d", others, d, maxStatements), Hint: "statements are never removed: attach what is needed only",
		}
	}
	st.Signer = v.claim.Signer
	if err := tx.PutStatement(ctx, st); err != nil {
		return Attached{}, err
	}
	details := map[string]any{"statement": st.ID.String(), "payload": st.Payload.String(), "predicate_type": st.PredicateType, "verified": v.err == nil, "signer": st.Signer}
	if v.err != nil {
		details["reason"] = v.err.Error()
	}
	records := []audit.Record{{Event: warden.Event{Actor: actor, Action: "registry.attach", Object: a.Ref()}, Payload: details}}
	if v.err == nil {
		more, err := g.again(ctx, tx, &a, actor, true)
		if err != nil {
			return Attached{}, err
		}
		records = append(records, more...)
	}
	if _, err := g.cfg.Registry.cfg.Log.AppendAll(ctx, tx, records); err != nil {
		return Attached{}, err
	}
	return Attached{Paper{Statement: st, Signer: st.Signer, Err: v.err}, true, a}, nil
}

// sameFiles refuses a signature over the files of another model.
func sameFiles(ctx context.Context, r Reader, d warden.Digest, st Statement) error {
	files, err := listed(ctx, r, d)
	if err != nil {
		return err
	}
	p, err := oms.Peek(st.Envelope)
	if err == nil {
		_, err = oms.Compare(p.Payload, files, warden.Sum(st.Envelope))
	}
	if err != nil {
		return &warden.Error{Code: warden.CodeInvalid, Message: "signature: " + err.Error(), Hint: "sign exactly the files that were pushed, whole and by sha256, and attach it to their artifact", Err: err}
	}
	return nil
}

// again decides on an artifact once more, in tx. Without always, only a decision
// with another outcome is kept. One that was not scanned yet waits for that.
func (g *Governor) again(ctx context.Context, tx Tx, a *Artifact, actor warden.Principal, always bool) ([]audit.Record, error) {
	if a.Scanned.IsZero() {
		return nil, g.touch(ctx, tx, a)
	}
	dec, err := g.cfg.Judge.admit(ctx, tx, Worker(), *a)
	if err != nil {
		return nil, err
	}
	if !always {
		last, err := tx.Decision(ctx, a.Decision)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err == nil && last.Effect == dec.Effect && slices.Equal(last.Because, dec.Because) {
			return nil, nil
		}
	}
	dec, err = g.cfg.Registry.decide(ctx, tx, a, dec)
	if err != nil {
		return nil, err
	}
	return []audit.Record{decisionRecord(actor, *a, dec)}, nil
}

// touch makes everybody who remembers an artifact look again.
func (g *Governor) touch(ctx context.Context, tx Tx, a *Artifact) (err error) {
	if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
		return err
	}
	return tx.SetArtifact(ctx, *a)
}

// platform is what events about trust and policies are about.
func platform(id string) warden.Ref { return warden.Ref{Kind: policy.KindPlatform, ID: id} }
