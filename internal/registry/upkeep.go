package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/queue"
)

func find(ctx context.Context, r Reader, text string) (Version, error) {
	if strings.HasPrefix(text, "sha256:") {
		d, err := warden.ParseDigest(text)
		if err != nil {
			return Version{}, &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "a digest is sha256: and 64 lower-case hex digits", Err: err}
		}
		a, err := r.Artifact(ctx, d)
		if err != nil {
			return Version{}, err
		}
		vs, err := r.VersionsOf(ctx, d)
		if err != nil {
			return Version{}, err
		}
		if len(vs) == 0 {
			return Version{Digest: d, Created: a.Created, Demo: a.Demo, Artifact: a}, nil
		}
		return vs[0], nil
	}
	model, number, cut := strings.Cut(text, "@")
	name, err := ParseName(model)
	if err != nil {
		return Version{}, err
	}
	n := 0
	if cut && number != "latest" {
		if n, err = strconv.Atoi(number); err != nil || n < 1 || strconv.Itoa(n) != number {
			return Version{}, &warden.Error{
				Code: warden.CodeInvalid, Message: fmt.Sprintf("%.200q is not a version", number),
				Hint: "write namespace/model@3, namespace/model@latest or namespace/model",
			}
		}
	}
	return r.Version(ctx, name, n)
}

// regroup brings the groups of every model that a belongs to, or of a itself if
// it belongs to none, in line with its last scan.
func (s *Service) regroup(ctx context.Context, tx Tx, a Artifact) error {
	vs, err := tx.VersionsOf(ctx, a.Digest)
	if err != nil {
		return err
	}
	demo := map[warden.Ref]bool{}
	var subjects []warden.Ref
	for _, v := range vs {
		ref := v.Model.Ref()
		if _, ok := demo[ref]; !ok {
			subjects, demo[ref] = append(subjects, ref), true
		}
		demo[ref] = demo[ref] && v.Demo
	}
	if len(subjects) == 0 {
		subjects, demo[a.Ref()] = []warden.Ref{a.Ref()}, a.Demo
	}
	found, err := tally(ctx, tx, a.Digest)
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		had, err := tx.GroupsOf(ctx, subject, a.Digest)
		if err != nil {
			return err
		}
		for _, g := range had { // what the last scan does not find any more
			if _, ok := found.shares[g.Rule]; ok {
				continue
			}
			if err := tx.PutMember(ctx, g.ID, Member{Artifact: a.Digest, Severity: g.Severity, Last: a.Scanned}); err != nil {
				return err
			}
			if g, err = tx.Group(ctx, g.ID); err != nil {
				return err
			}
			if g.Count == 0 && g.State == Open {
				g.State, g.Note = Resolved, "the last scans do not find it"
				if _, err := tx.PutGroup(ctx, g); err != nil {
					return err
				}
			}
		}
		for _, rule := range found.rules {
			if err := join(ctx, tx, rule, subject, demo[subject], found.shares[rule]); err != nil {
				return err
			}
		}
	}
	return nil
}

// join puts an artifact's share into the group of a rule and subject.
func join(ctx context.Context, tx Tx, rule warden.RuleID, subject warden.Ref, demo bool, m Member) error {
	g, err := tx.GroupFor(ctx, rule, subject)
	switch {
	case errors.Is(err, ErrNotFound):
		g = Group{Rule: rule, Subject: subject, State: Open, First: m.Last, Demo: demo}
	case err != nil:
		return err
	case g.State == Resolved:
		g.State, g.Note = Open, "came back"
	}
	g.Last, g.Demo = m.Last, g.Demo && demo || g.ID == 0 && demo
	id, err := tx.PutGroup(ctx, g)
	if err != nil {
		return err
	}
	return tx.PutMember(ctx, id, m)
}

type shares struct {
	rules  []warden.RuleID // in the order found
	shares map[warden.RuleID]Member
}

// tally counts the findings of an artifact's last scan by rule.
func tally(ctx context.Context, r Reader, d warden.Digest) (shares, error) {
	out, p := shares{shares: map[warden.RuleID]Member{}}, Page{Limit: 1000}
	for {
		fs, next, err := r.Findings(ctx, FindingFilter{Artifact: d}, p)
		if err != nil {
			return shares{}, err
		}
		for _, f := range fs {
			m, ok := out.shares[f.Finding.Rule]
			if !ok {
				out.rules = append(out.rules, f.Finding.Rule)
				m = Member{Artifact: d, Last: f.Found, Severity: f.Finding.Severity}
			}
			m.Count, m.Severity = m.Count+1, max(m.Severity, f.Finding.Severity)
			out.shares[f.Finding.Rule] = m
		}
		if p.After = next; next == "" {
			return out, nil
		}
	}
}

// SetGroup keeps what a person thinks of a group: Open, Accepted or False.
func (s *Service) SetGroup(ctx context.Context, id int64, state GroupState, note string, actor warden.Principal) (Group, error) {
	if err := named(actor); err != nil {
		return Group{}, err
	}
	if state != Open && state != Accepted && state != False {
		return Group{}, &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("state %.50q of a finding group", state), Hint: "use open, accepted or false"}
	}
	if state != Open {
		if err := reasoned(note); err != nil {
			return Group{}, err
		}
	}
	var g Group
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if g, err = tx.Group(ctx, id); err != nil {
			return err
		}
		before := g.State
		g.State, g.Note = state, note
		if _, err := tx.PutGroup(ctx, g); err != nil {
			return err
		}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "registry.triage", Object: g.Subject}, map[string]any{
			"group": id, "rule": g.Rule, "before": before, "after": state, "note": note,
		})
		return err
	})
	if err != nil {
		return Group{}, s.explain(fmt.Sprintf("change finding group %d", id), err)
	}
	return g, nil
}

// Rescan wants an artifact scanned again. Its state stays until then.
func (s *Service) Rescan(ctx context.Context, d warden.Digest, why string, actor warden.Principal) error {
	if err := named(actor); err != nil {
		return err
	}
	w := Wanted{d, string(queue.Interactive), s.cfg.Now().UTC(), why}
	err := s.cfg.Store.Update(ctx, func(tx Tx) error {
		a, err := tx.Artifact(ctx, d)
		if err != nil {
			return err
		}
		if err := s.want(ctx, tx, &a, w); err != nil {
			return err
		}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "registry.rescan", Object: a.Ref()}, map[string]any{"why": why})
		return err
	})
	if err != nil {
		return s.explain("rescan "+d.String(), err)
	}
	s.offer(ctx, w)
	return nil
}

// offer hints a worker at wanted work. The row is the truth: what fails here,
// Requeue does later.
func (s *Service) offer(ctx context.Context, w Wanted) {
	if s.cfg.Work == nil {
		return
	}
	if _, err := s.cfg.Work.Enqueue(ctx, queue.Class(w.Class), w.Artifact.String(), nil); err != nil {
		s.cfg.Slog.WarnContext(ctx, "scan job not queued, the sweep will", slog.String("artifact", w.Artifact.String()), slog.Any("error", err))
	}
}

// maxRequeue is how many wanted scans one sweep offers.
const maxRequeue = 100_000

// Requeue offers everything that is wanted to the queue again; what is there
// already is not doubled. It returns how many are wanted.
func (s *Service) Requeue(ctx context.Context) (int, error) {
	var ws []Wanted
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		ws, err = r.Wanted(ctx, maxRequeue)
		return err
	})
	if err != nil {
		return 0, s.explain("list wanted scans", err)
	}
	for _, w := range ws {
		s.offer(ctx, w)
	}
	return len(ws), nil
}

// DeleteDemo removes everything that was only ever demo data. The audit log
// keeps its leaves.
func (s *Service) DeleteDemo(ctx context.Context, actor warden.Principal) (versions, artifacts int, err error) {
	if err := named(actor); err != nil {
		return 0, 0, err
	}
	var epoch uint64
	err = s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if versions, artifacts, err = tx.DeleteDemo(ctx); err != nil {
			return err
		}
		if epoch, err = tx.BumpEpoch(ctx); err != nil {
			return err
		}
		object := warden.Ref{Kind: warden.KindPrincipal, ID: actor.ID}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "registry.delete-demo", Object: object}, map[string]any{
			"versions": versions, "artifacts": artifacts,
		})
		return err
	})
	if err != nil {
		return 0, 0, s.explain("delete demo data", err)
	}
	s.tell(Change{Epoch: epoch, All: true})
	return versions, artifacts, nil
}

// SweepBlobs deletes blobs that no artifact names and that are older than age,
// which must leave time between upload and push. It returns how many.
func (s *Service) SweepBlobs(ctx context.Context, age time.Duration) (int, error) {
	deleted, after := 0, warden.Digest{}
	for {
		infos, err := s.cfg.Blobs.List(ctx, after, 1000)
		if err != nil {
			return deleted, s.explain("list blobs", err)
		}
		if len(infos) == 0 {
			return deleted, nil
		}
		after = infos[len(infos)-1].Digest
		for _, info := range infos {
			if s.cfg.Now().Sub(info.Modified) < age {
				continue
			}
			gone := false
			// In a write transaction: no push can name the blob meanwhile.
			err := s.cfg.Store.Update(ctx, func(tx Tx) error {
				held, err := tx.Holders(ctx, info.Digest, 1)
				if err != nil || len(held) > 0 {
					return err
				}
				fresh, err := s.cfg.Blobs.Stat(ctx, info.Digest)
				if err != nil || s.cfg.Now().Sub(fresh.Modified) < age {
					return nil //nolint:nilerr // gone or renewed meanwhile: nothing to sweep
				}
				gone = true
				return s.cfg.Blobs.Delete(ctx, info.Digest)
			})
			if err != nil {
				return deleted, s.explain("sweep blob "+info.Digest.String(), err)
			}
			if gone {
				deleted++
			}
		}
	}
}

// Record appends events of other parts of the platform to the audit log.
func (s *Service) Record(ctx context.Context, records ...audit.Record) ([]warden.Event, error) {
	var evs []warden.Event
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		evs, err = s.cfg.Log.AppendAll(ctx, tx, records)
		return err
	})
	if err != nil {
		return nil, s.explain("write the audit log", err)
	}
	return evs, nil
}

// Seal signs a checkpoint if the log grew since the last one. The server calls
// it every second and when it stops.
func (s *Service) Seal(ctx context.Context) (audit.Checkpoint, error) {
	var (
		c     audit.Checkpoint
		fresh bool
	)
	err := s.cfg.Store.View(ctx, func(r Reader) error {
		head, err := r.AuditHead(ctx)
		if err != nil {
			return err
		}
		last, ok, err := audit.Latest(ctx, r)
		c, fresh = last, ok && last.Size == head.Entries
		return err
	})
	if err == nil && !fresh {
		err = s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
			c, err = s.cfg.Log.Seal(ctx, tx)
			return err
		})
	}
	if err != nil {
		return audit.Checkpoint{}, s.explain("seal the audit log", err)
	}
	return c, nil
}

// A Blast is what a bad artifact reaches.
type Blast struct {
	Artifact Artifact
	Versions []Version   // names it goes by
	Derived  []Reached   // what comes from it
	Cut      bool        // there is more beyond the depth
	Takers   []Retrieval // who took it or what comes from it
}

// Blast follows derivatives over edges of at least tier, depth steps far, and
// names who took any of them.
func (s *Service) Blast(ctx context.Context, d warden.Digest, tier Tier, depth int) (Blast, error) {
	var b Blast
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		if b.Artifact, err = r.Artifact(ctx, d); err != nil {
			return err
		}
		if b.Versions, err = r.VersionsOf(ctx, d); err != nil {
			return err
		}
		if b.Derived, b.Cut, err = r.Reach(ctx, b.Artifact.Ref(), true, tier, depth); err != nil {
			return err
		}
		if b.Takers, err = r.Retrievals(ctx, d); err != nil {
			return err
		}
		for _, x := range b.Derived {
			xd, err := warden.ParseDigest(x.Ref.ID)
			if x.Ref.Kind != warden.KindArtifact || err != nil {
				continue
			}
			more, err := r.Retrievals(ctx, xd)
			if err != nil {
				return err
			}
			b.Takers = append(b.Takers, more...)
		}
		return nil
	})
	if err != nil {
		return Blast{}, s.explain("blast radius of "+d.String(), err)
	}
	return b, nil
}
