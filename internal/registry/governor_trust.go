package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
)

// maxEntries bounds the trust store: every statement is tried with all of them.
const maxEntries = 1000

// Trust returns a version of the trust store; with -1 the newest.
func (g *Governor) Trust(ctx context.Context, version int64) (TrustList, error) {
	var l TrustList
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		l, err = trustAt(ctx, r, version)
		return err
	})
	if err != nil {
		return TrustList{}, g.cfg.Registry.explain(fmt.Sprintf("look up version %d of the trust store", version), err)
	}
	return l, nil
}

func trustAt(ctx context.Context, r Reader, version int64) (TrustList, error) {
	if version < 0 {
		var err error
		if version, err = r.TrustVersion(ctx); err != nil {
			return TrustList{}, err
		}
	}
	if version == 0 {
		return TrustList{}, nil
	}
	return r.Trust(ctx, version)
}

// AddTrust trusts one more signer.
func (g *Governor) AddTrust(ctx context.Context, e attest.Entry, actor warden.Principal) (TrustList, error) {
	e.RevokedAt, e.Revocation = time.Time{}, ""
	if _, err := e.Trusted(); err != nil {
		return TrustList{}, &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "warden trust add --help shows what an entry needs", Err: err}
	}
	return g.changeTrust(ctx, "add", e.ID, actor, map[string]any{"kind": e.Kind, "predicates": e.Predicates, "subjects": e.Subjects, "principal": e.Principal, "comment": e.Comment},
		func(l *TrustList) error {
			if slices.ContainsFunc(l.Entries, func(x attest.Entry) bool { return x.ID == e.ID }) {
				return &warden.Error{
					Code: warden.CodeConflict, Message: fmt.Sprintf("the trust store has an entry %q already", e.ID),
					Hint: "entries are not changed: revoke that one and add another under a new id",
				}
			}
			if len(l.Entries) >= maxEntries {
				return &warden.Error{Code: warden.CodeLimit, Message: fmt.Sprintf("the trust store has %d entries, at most %d", len(l.Entries), maxEntries), Hint: "trust an authority instead of each of its certificates"}
			}
			l.Entries = append(l.Entries, e)
			return nil
		})
}

// RevokeTrust ends an entry: from a time on (attest.RevokeAfter; zero means now)
// or altogether (attest.RevokeAll). What counts is when this server received a
// statement.
func (g *Governor) RevokeTrust(ctx context.Context, id, how string, from time.Time, why string, actor warden.Principal) (TrustList, error) {
	if how != attest.RevokeAfter && how != attest.RevokeAll {
		return TrustList{}, &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("revocation %.40q", how), Hint: "use " + attest.RevokeAfter + " or " + attest.RevokeAll}
	}
	if err := reasoned(why); err != nil {
		return TrustList{}, err
	}
	if from.IsZero() {
		from = g.cfg.Now()
	}
	from = from.UTC()
	return g.changeTrust(ctx, "revoke", id, actor, map[string]any{"revocation": how, "from": from, "reason": why}, func(l *TrustList) error {
		i := slices.IndexFunc(l.Entries, func(x attest.Entry) bool { return x.ID == id })
		if i < 0 {
			return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no trust entry %.100q", id), Hint: "list them with: warden trust list"}
		}
		e := &l.Entries[i]
		if e.Revocation == attest.RevokeAll || e.Revocation == how && !from.Before(e.RevokedAt) {
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("trust entry %q is revoked already (%s %s)", id, e.Revocation, e.RevokedAt.Format(time.RFC3339)), Hint: "an earlier time or " + attest.RevokeAll + " revokes more"}
		}
		e.Revocation, e.RevokedAt = how, from
		return nil
	})
}

func (g *Governor) changeTrust(ctx context.Context, action, id string, actor warden.Principal, details map[string]any, change func(*TrustList) error) (TrustList, error) {
	if err := named(actor); err != nil {
		return TrustList{}, err
	}
	var l TrustList
	err := g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if l, err = trustAt(ctx, tx, -1); err != nil {
			return err
		}
		l.Entries = slices.Clone(l.Entries)
		if err := change(&l); err != nil {
			return err
		}
		l.Version, l.At, l.By, l.Action, l.Entry = l.Version+1, g.cfg.Now().UTC(), actor.ID, action, id
		if err := tx.PutTrust(ctx, l); err != nil {
			return err
		}
		payload := map[string]any{"entry": id, "version": l.Version}
		maps.Copy(payload, details)
		_, err = g.cfg.Registry.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "trust." + action, Object: platform("trust")}, payload)
		return err
	})
	if err != nil {
		return TrustList{}, g.cfg.Registry.explain(action+" trust entry "+id, err)
	}
	return l, g.cfg.Judge.Refresh(ctx)
}

// A Changed is an artifact whose state is another than before.
type Changed struct {
	Artifact      warden.Digest
	Before, After State
}

// changedKept bounds the list of one event.
const changedKept = 1000

// Reconcile decides again on what a change of trust or policies may concern, if
// there was one since the last time, and returns what changed. It may be called
// as often as one likes and goes on where a crash ended it.
func (g *Governor) Reconcile(ctx context.Context) ([]Changed, error) {
	g.reconciling.Lock()
	defer g.reconciling.Unlock()
	var trust, judgedTrust, set, judgedSet int64
	err := g.cfg.Registry.View(ctx, func(r Reader) (err error) {
		for _, x := range []struct {
			to  *int64
			get func() (int64, error)
		}{
			{&trust, func() (int64, error) { return r.TrustVersion(ctx) }},
			{&judgedTrust, func() (int64, error) { return r.Counter(ctx, JudgedTrust) }},
			{&set, func() (int64, error) { return r.PolicyApplied(ctx) }},
			{&judgedSet, func() (int64, error) { return r.Counter(ctx, JudgedPolicy) }},
		} {
			if *x.to, err = x.get(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, g.cfg.Registry.explain("look for changes of trust and policies", err)
	}
	var out []Changed
	if trust != judgedTrust {
		changed, err := g.rejudge(ctx, g.attested)
		if err == nil {
			err = g.rejudged(ctx, "trust.changed", JudgedTrust, trust, changed)
		}
		if err != nil {
			return nil, g.cfg.Registry.explain("decide again after a change of trust", err)
		}
		out = append(out, changed...)
	}
	if set != judgedSet {
		changed, err := g.rejudge(ctx, g.everything)
		if err == nil {
			err = g.rejudged(ctx, "policy.changed", JudgedPolicy, set, changed)
		}
		if err != nil {
			return nil, g.cfg.Registry.explain("decide again after a change of policies", err)
		}
		out = append(out, changed...)
	}
	return out, nil
}

// attested lists the artifacts that others than this server spoke about.
func (g *Governor) attested(ctx context.Context) ([]warden.Digest, error) {
	var out []warden.Digest
	err := g.cfg.Registry.View(ctx, func(r Reader) error {
		after := warden.Digest{}
		for {
			ds, err := r.Attested(ctx, after, 1000)
			if err != nil || len(ds) == 0 {
				return err
			}
			out, after = append(out, ds...), ds[len(ds)-1]
		}
	})
	return out, err
}

// everything lists all artifacts.
func (g *Governor) everything(ctx context.Context) ([]warden.Digest, error) {
	var out []warden.Digest
	err := g.cfg.Registry.View(ctx, func(r Reader) error {
		for epoch := uint64(0); ; {
			as, err := r.ChangedSince(ctx, epoch, 1000)
			if err != nil || len(as) == 0 {
				return err
			}
			for _, a := range as {
				out, epoch = append(out, a.Digest), a.Epoch
			}
		}
	})
	return out, err
}

func (g *Governor) rejudge(ctx context.Context, list func(context.Context) ([]warden.Digest, error)) ([]Changed, error) {
	ds, err := list(ctx)
	if err != nil {
		return nil, err
	}
	var out []Changed
	for _, d := range ds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var (
			a      Artifact
			before State
			kept   bool
		)
		err := g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) (err error) {
			kept = false
			if a, err = tx.Artifact(ctx, d); err != nil {
				return err
			}
			before = a.State()
			if a.Scanned.IsZero() {
				return nil
			}
			records, err := g.again(ctx, tx, &a, Worker(), false)
			if err != nil || len(records) == 0 {
				return err
			}
			kept = true
			_, err = g.cfg.Registry.cfg.Log.AppendAll(ctx, tx, records)
			return err
		})
		if err != nil {
			return nil, err
		}
		if kept {
			g.cfg.Registry.tell(Change{Epoch: a.Epoch, Artifact: d, State: a.State()})
		}
		if a.State() != before {
			out = append(out, Changed{d, before, a.State()})
		}
	}
	return out, nil
}

// rejudged remembers how far the judging came, and says what changed.
func (g *Governor) rejudged(ctx context.Context, action, counter string, version int64, changed []Changed) error {
	return g.cfg.Registry.cfg.Store.Update(ctx, func(tx Tx) error {
		if err := tx.SetCounter(ctx, counter, version); err != nil || len(changed) == 0 {
			return err
		}
		list := []map[string]string{}
		for _, c := range changed[:min(len(changed), changedKept)] {
			list = append(list, map[string]string{"artifact": c.Artifact.String(), "before": string(c.Before), "after": string(c.After)})
		}
		_, err := g.cfg.Registry.cfg.Log.AppendAll(ctx, tx, []audit.Record{{
			Event:   warden.Event{Actor: Worker(), Action: action, Object: platform("registry")},
			Payload: map[string]any{"version": version, "changed": len(changed), "artifacts": list},
		}})
		return err
	})
}
