package register

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// A Triage is what a person does with groups of findings. Empty fields change
// nothing.
type Triage struct {
	Do       string     `json:"do" enum:"assign,resolve,ignore,accept,false_positive,reopen,due" doc:"due sets the day only"`
	Assignee string     `json:"assignee,omitempty" doc:"of assign; empty takes it back"`
	Note     string     `json:"note,omitempty" doc:"why; needed to ignore, accept and false_positive"`
	Until    *Ignore    `json:"until,omitempty" doc:"of ignore and accept: when it ends"`
	Due      *time.Time `json:"due,omitempty"`
}

// A Triaged says what came of one group of a bulk.
type Triaged struct {
	ID    string        `json:"id"`
	OK    bool          `json:"ok"`
	Group *Group        `json:"group,omitempty"`
	Err   *warden.Error `json:"-"`
}

// MaxBulk is how many groups one call changes.
const MaxBulk = 1000

// Triage changes groups, each in its own transaction with its event: one that
// cannot be changed leaves the others changed.
func (s *Service) Triage(ctx context.Context, ids []string, t Triage, by warden.Principal) ([]Triaged, error) {
	if len(ids) == 0 || len(ids) > MaxBulk {
		return nil, invalid(fmt.Sprintf("name 1 to %d", MaxBulk), "%d groups", len(ids))
	}
	if err := s.triage(&Group{}, t, by); err != nil {
		return nil, err // it would be refused for every group
	}
	out := make([]Triaged, 0, len(ids))
	for _, id := range ids {
		g, err := s.triageOne(ctx, id, t, by)
		x := Triaged{ID: id, OK: err == nil}
		if err == nil {
			x.Group = &g
		} else if !errors.As(err, &x.Err) {
			return out, err
		}
		out = append(out, x)
	}
	return out, nil
}

func (s *Service) triageOne(ctx context.Context, id string, t Triage, by warden.Principal) (g Group, err error) {
	err = s.cfg.Store.UpdateRegister(ctx, func(tx Tx) error {
		if g, err = tx.FindingGroup(ctx, id); errors.Is(err, ErrNotFound) {
			return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no finding %.40q", id), Hint: "list them with: warden findings list", Err: err}
		} else if err != nil {
			return err
		}
		before := g.State
		if err := s.triage(&g, t, by); err != nil {
			return err
		}
		g.Version++
		if err := tx.PutFindingGroup(ctx, g); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "findings."+t.Do, warden.Ref{Kind: "finding", ID: id}, map[string]any{
			"rule": g.Rule, "before": before, "after": g.State, "note": t.Note, "assignee": g.Assignee, "until": t.Until,
		})
	})
	return g, err
}

func (s *Service) triage(g *Group, t Triage, by warden.Principal) error {
	now := s.now()
	if len(t.Note) > 1000 || len(t.Assignee) > maxText {
		return invalid("write less", "a note of %d bytes", len(t.Note))
	}
	reasoned := func(to State) error {
		if strings.TrimSpace(t.Note) == "" {
			return invalid("say why: whoever looks for hidden findings reads it", "%s without a reason", t.Do)
		}
		if u := t.Until; u != nil {
			if _, err := warden.ParseSeverity(cmp.Or(u.Severity, "info")); err != nil {
				return invalid("info, low, medium, high, critical", "until severity %.20q", u.Severity)
			}
			if !u.Until.IsZero() && !u.Until.After(now) || u.Count < 0 || u.Assets < 0 {
				return invalid("a day in the future, a count above 0", "that end is past already")
			}
		}
		g.Until = t.Until
		return g.turn(to, now, t.Note)
	}
	var err error
	switch t.Do {
	case "assign":
		g.Assignee = t.Assignee
		if g.State == Fresh && t.Assignee != "" {
			g.State = Ongoing
		}
	case "resolve":
		g.Until = nil
		err = g.turn(Resolved, now, t.Note)
	case "ignore":
		err = reasoned(Ignored)
	case "accept":
		err = reasoned(Accepted)
	case "false_positive":
		err = reasoned(FalsePositive)
	case "reopen":
		g.Until, g.Since, g.DueBy = nil, now, ""
		err = g.turn(Ongoing, now, t.Note)
	case "due":
		if t.Due == nil {
			return invalid("give a day", "due without a day")
		}
	default:
		return invalid("assign, resolve, ignore, accept, false_positive, reopen or due", "%.40q cannot be done", t.Do)
	}
	if err != nil {
		return err
	}
	if t.Due != nil {
		g.Due, g.DueBy = t.Due.UTC(), by.ID
	}
	g.log(now, by.ID, t.Do, strings.TrimSpace(cmp.Or(t.Note, t.Assignee)))
	g.settle(now)
	return nil
}

func (g *Group) turn(to State, now time.Time, note string) error {
	g.State, g.Note, g.Decided = to, clip(note), now
	return nil
}

// A Filter selects groups; zero fields select all.
type Filter struct {
	States   []State
	Severity string // this or worse
	Band     int
	Rule     string
	Asset    string
	Assignee string // "-": nobody
	Subject  string
	Search   string // part of id, rule, title, place or asset, in any case
	Overdue  bool
}

// Select returns the groups that f selects, the most urgent first.
func (b *Board) Select(f Filter) []Group {
	out := []Group{}
	find := strings.ToLower(f.Search)
	for i := range b.Groups {
		g := &b.Groups[i]
		switch {
		case len(f.States) > 0 && !slices.Contains(f.States, g.State),
			f.Severity != "" && rank(g.Severity) < rank(f.Severity),
			f.Band != 0 && g.Band != f.Band,
			f.Rule != "" && string(g.Rule) != f.Rule,
			f.Subject != "" && g.Subject != f.Subject,
			f.Asset != "" && !slices.Contains(g.Assets, f.Asset),
			f.Assignee == "-" && g.Assignee != "" || f.Assignee != "" && f.Assignee != "-" && g.Assignee != f.Assignee,
			f.Overdue && (g.Due.IsZero() || g.Due.After(b.At) || !g.State.Active()):
			continue
		}
		if find != "" && !strings.Contains(strings.ToLower(strings.Join(append([]string{g.ID, string(g.Rule), g.Title, g.Place, g.Cause, g.Note}, g.Assets...), "\n")), find) {
			continue
		}
		out = append(out, *g)
	}
	return out
}

// Group returns one.
func (b *Board) Group(id string) (Group, bool) {
	for i := range b.Groups {
		if b.Groups[i].ID == id {
			return b.Groups[i], true
		}
	}
	return Group{}, false
}

// An AssetFilter selects assets; zero fields select all.
type AssetFilter struct {
	Families []Family
	Kind     string
	Tier     int    // -1: any
	Owner    string // "-": nobody
	State    string
	Source   string
	Search   string
	Gaps     bool // with gaps
	Scanned  string
	Parts    bool // also parts, where no family is asked for
	Gone     bool // only those that are gone; else none of them
	Tiered   string
}

// AssetsLike returns what f selects, the most urgent first.
func (b *Board) AssetsLike(f AssetFilter) []View {
	out := []View{}
	find := strings.ToLower(f.Search)
	files := func(v *View) bool { return v.Family == Own || v.Family == Public }
	for i := range b.Assets {
		v := &b.Assets[i]
		switch {
		case len(f.Families) > 0 && !slices.Contains(f.Families, v.Family),
			len(f.Families) == 0 && !f.Parts && v.Family == Part,
			v.Gone != f.Gone,
			f.Kind != "" && v.Kind != f.Kind,
			f.Tier >= 0 && v.Tier != f.Tier,
			f.State != "" && v.State != f.State,
			f.Owner == "-" && v.Owner.Name != "" && !v.Owner.Disabled, f.Owner != "" && f.Owner != "-" && v.Owner.Name != f.Owner,
			f.Source != "" && !slices.ContainsFunc(v.Sightings, func(s Sighting) bool { return s.Source == f.Source && !s.Gone }),
			f.Scanned == "no" && (v.Verdict != "" || !files(v)), f.Scanned == "yes" && v.Verdict == "",
			f.Tiered == "no" && v.Described(), f.Tiered == "yes" && !v.Described(),
			f.Gaps && v.Gaps == 0:
			continue
		}
		if find != "" && !strings.Contains(strings.ToLower(strings.Join([]string{v.ID, v.Name, v.Provider, v.Owner.Name, v.Digest, v.Person.Use}, "\n")), find) {
			continue
		}
		out = append(out, *v)
	}
	slices.SortFunc(out, worstFirst)
	return out
}
