package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/registry"
)

type inboxInput struct {
	Part
	State    string `query:"state" maxLength:"80" doc:"one or more, with commas: new,regressed,ongoing,resolved,ignored,accepted,false_positive; active: the first three"`
	Severity string `query:"severity" enum:"info,low,medium,high,critical" doc:"this or worse"`
	Band     int    `query:"band" minimum:"0" maximum:"4" doc:"1 to 4"`
	Rule     string `query:"rule" maxLength:"40"`
	Asset    string `query:"asset" maxLength:"1000"`
	Assignee string `query:"assignee" maxLength:"400" doc:"- : nobody; me: whoever asks"`
	Subject  string `query:"subject" enum:"file,source,asset,traffic"`
	Search   string `query:"search" maxLength:"200"`
	Overdue  bool   `query:"overdue"`
}

// An InboxBody is a part of the groups with counts of the whole.
type InboxBody struct {
	Items  []register.Group `json:"items"`
	Next   string           `json:"next"`
	Total  int              `json:"total" doc:"of the filter"`
	States map[string]int   `json:"states" doc:"groups in each state, of all"`
	Bands  [4]int           `json:"bands" doc:"active groups in P1 to P4, of all"`
}

func (s *service) listInbox(ctx context.Context, in *inboxInput) (*body[InboxBody], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	f := register.Filter{Severity: in.Severity, Band: in.Band, Rule: in.Rule, Asset: in.Asset, Assignee: in.Assignee, Subject: in.Subject, Search: in.Search, Overdue: in.Overdue}
	if f.Assignee == "me" {
		f.Assignee = identity(ctx).Principal.ID
	}
	for state := range strings.SplitSeq(in.State, ",") {
		switch {
		case state == "active":
			f.States = append(f.States, register.Fresh, register.Regressed, register.Ongoing)
		case state != "" && !slices.Contains(register.States(), register.State(state)):
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("state %.40q", state), Hint: fmt.Sprintf("some of %v, or active", register.States())})
		case state != "":
			f.States = append(f.States, register.State(state))
		}
	}
	all := b.Select(f)
	items, next, err := part(all, in.Part)
	if err != nil {
		return nil, s.fail(err)
	}
	out := InboxBody{Items: items, Next: next, Total: len(all), States: map[string]int{}}
	for i := range b.Groups {
		g := &b.Groups[i]
		out.States[string(g.State)]++
		if g.State.Active() {
			out.Bands[g.Band-1]++
		}
	}
	return answer(out), nil
}

// An InboxGroup names a group in the path.
type InboxGroup struct {
	ID string `path:"id" maxLength:"40"`
}

func (s *service) getInbox(ctx context.Context, in *InboxGroup) (*body[register.Group], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	g, ok := b.Group(in.ID)
	if !ok {
		return nil, s.fail(&warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no finding %.40q", in.ID), Hint: "list them under /api/v1/inbox"})
	}
	return answer(g), nil
}

type triageInput struct {
	Body struct {
		IDs []string `json:"ids" minItems:"1" maxItems:"1000"`
		register.Triage
	}
}

// A TriageResult is what came of one group.
type TriageResult struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	State string `json:"state,omitempty"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func (s *service) triage(ctx context.Context, in *triageInput) (*body[list[TriageResult]], error) {
	if err := s.writes(ctx, access.RoleSecurity); err != nil {
		return nil, s.fail(err)
	}
	by := identity(ctx).Principal
	done, err := s.Register.Triage(ctx, in.Body.IDs, in.Body.Triage, by)
	if err != nil {
		return nil, s.fail(err)
	}
	out := make([]TriageResult, 0, len(done))
	for _, x := range done {
		r := TriageResult{ID: x.ID, OK: x.OK}
		if x.OK {
			r.State = string(x.Group.State)
			if err := s.follow(ctx, x.Group, by); err != nil {
				e := s.asError(err)
				r.OK, r.Error, r.Hint = false, "the registry's own groups were not changed: "+e.Message, e.Hint
			}
		} else {
			r.Error, r.Hint = x.Err.Message, x.Err.Hint
		}
		out = append(out, r)
	}
	return listed(out, ""), nil
}

// follow gives the registry's groups per model, of which a group is made, the
// same state where they have it. They count on the first page. One of them may
// hold findings of other groups, too: it is only set if this is all of it.
func (s *service) follow(ctx context.Context, g *register.Group, by warden.Principal) error {
	state := map[register.State]registry.GroupState{register.Accepted: registry.Accepted, register.FalsePositive: registry.False, register.Ongoing: registry.Open}[g.State]
	if state == "" {
		return nil
	}
	b, err := s.Register.Board(ctx)
	if err != nil {
		return err
	}
	for _, id := range g.Registered {
		alone := true
		for i := range b.Groups {
			x := &b.Groups[i]
			alone = alone && (x.ID == g.ID || !slices.Contains(x.Registered, id) || x.State == g.State)
		}
		if !alone {
			continue
		}
		var was registry.Group
		err := s.Registry.View(ctx, func(r registry.Reader) (err error) {
			was, err = r.Group(ctx, id)
			return err
		})
		if err != nil {
			return err
		}
		if was.State == state || was.State == registry.Resolved {
			continue
		}
		note := g.Note
		if note == "" && state == registry.Open {
			note = "opened again"
		}
		if _, err := s.Registry.SetGroup(ctx, id, state, note, by); err != nil {
			return err
		}
	}
	return nil
}
