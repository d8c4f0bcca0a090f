package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
)

// predicateOf decodes the predicate of an envelope for people. What cannot be
// decoded is null; the envelope itself is beside it.
func predicateOf(envelope []byte) json.RawMessage {
	payload := []byte{}
	if e, err := attest.DecodeEnvelope(envelope); err == nil {
		payload = e.Payload
	} else if p, err := oms.Peek(envelope); err == nil && !p.Signed() { // the list of files is in the manifest
		payload = p.Payload
	}
	st, err := attest.Decode(payload)
	if err != nil {
		return json.RawMessage("null")
	}
	return st.Predicate
}

// A GroupBody is a finding group in an answer.
type GroupBody struct {
	ID        int64     `json:"id"`
	Rule      string    `json:"rule"`
	Title     string    `json:"title"`
	Severity  string    `json:"severity"`
	Subject   string    `json:"subject" doc:"kind:id"`
	State     string    `json:"state" enum:"open,resolved,accepted,false"`
	Note      string    `json:"note"`
	Count     int       `json:"count" doc:"findings in the last scans"`
	Artifacts int       `json:"artifacts"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Demo      bool      `json:"demo"`
}

func (s *service) groupOf(g registry.Group) GroupBody {
	return GroupBody{
		g.ID, string(g.Rule), s.Rules[g.Rule].Title, g.Severity.String(), g.Subject.String(), string(g.State), g.Note,
		g.Count, g.Artifacts, g.First, g.Last, g.Demo,
	}
}

type groupsInput struct {
	Part
	Severity string `query:"severity" enum:"info,low,medium,high,critical" doc:"this or worse"`
	Max      string `query:"max" enum:"info,low,medium,high,critical" doc:"this or milder"`
	Rule     string `query:"rule" maxLength:"40"`
	Model    string `query:"model" maxLength:"200"`
	State    string `query:"state" enum:"open,resolved,accepted,false"`
	Search   string `query:"search" maxLength:"200"`
}

func (s *service) listGroups(ctx context.Context, in *groupsInput) (*body[list[GroupBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	f := registry.GroupFilter{Rule: warden.RuleID(in.Rule), State: registry.GroupState(in.State), Search: in.Search}
	if in.Severity != "" {
		sev, err := warden.ParseSeverity(in.Severity)
		if err != nil {
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Err: err})
		}
		f.Severity = sev
	}
	if in.Max != "" && in.After == "" {
		sev, err := warden.ParseSeverity(in.Max)
		if err != nil {
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Err: err})
		}
		// The list is worst first: it begins where the worse severities end.
		in.After = registry.Cursor(int64(sev), math.MaxInt64, math.MaxInt64)
	}
	if in.Model != "" {
		f.Subject = registry.Name(in.Model).Ref()
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]registry.Group, string, error) {
		return r.Groups(ctx, f, in.page())
	}, s.groupOf)
}

// A GroupInput names a finding group in the path.
type GroupInput struct {
	ID int64 `path:"id" minimum:"1"`
}

type groupDetail struct {
	GroupBody
	Advice     string       `json:"advice"`
	Frameworks []string     `json:"frameworks"`
	Where      []memberBody `json:"where"`
	Examples   []findingRow `json:"examples" doc:"findings of this rule in the artifact that has it, worst first"`
}

type memberBody struct {
	Digest   string    `json:"digest"`
	Count    int       `json:"count" doc:"0: had it once, does not have it now"`
	Severity string    `json:"severity"`
	Last     time.Time `json:"last"`
}

const examples = 50

func (s *service) getGroup(ctx context.Context, in *GroupInput) (*body[groupDetail], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	out := groupDetail{Where: []memberBody{}, Examples: []findingRow{}}
	err := s.Registry.View(ctx, func(r registry.Reader) error {
		g, err := r.Group(ctx, in.ID)
		if errors.Is(err, registry.ErrNotFound) {
			return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no finding group %d", in.ID), Hint: "list them under /api/v1/findings"}
		}
		if err != nil {
			return err
		}
		rule := s.Rules[g.Rule]
		out.GroupBody, out.Advice, out.Frameworks = s.groupOf(g), rule.Advice, rule.Frameworks
		if out.Frameworks == nil {
			out.Frameworks = []string{}
		}
		ms, err := r.Members(ctx, in.ID)
		if err != nil {
			return err
		}
		for _, m := range ms {
			out.Where = append(out.Where, memberBody{m.Artifact.String(), m.Count, m.Severity.String(), m.Last})
			if m.Count == 0 || len(out.Examples) >= examples {
				continue
			}
			fs, _, err := r.Findings(ctx, registry.FindingFilter{Artifact: m.Artifact, Rule: g.Rule}, registry.Page{Limit: examples})
			if err != nil {
				return err
			}
			for _, row := range fs {
				out.Examples = append(out.Examples, findingRow{row.ID, report.NewFinding(row.Finding, rule), rule.Title})
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(out), nil
}

type setGroupInput struct {
	GroupInput
	Body struct {
		State string `json:"state" enum:"open,accepted,false"`
		Note  string `json:"note" maxLength:"1000" doc:"why"`
	}
}

func (s *service) setGroup(ctx context.Context, in *setGroupInput) (*body[GroupBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	if !slices.ContainsFunc(identity(ctx).Principal.Roles, func(r string) bool { return r == access.RoleAdmin || r == access.RoleSecurity }) {
		return nil, s.fail(&warden.Error{Code: warden.CodeDenied, Message: "triage needs the role security or admin", Hint: "ask an administrator for the role"})
	}
	g, err := s.Registry.SetGroup(ctx, in.ID, registry.GroupState(in.Body.State), in.Body.Note, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(s.groupOf(g)), nil
}

type ruleBody struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Severity   string   `json:"severity"`
	Advice     string   `json:"advice"`
	Frameworks []string `json:"frameworks"`
}

func (s *service) listRules(ctx context.Context, _ *struct{}) (*body[list[ruleBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	var items []ruleBody
	for _, r := range s.Rules {
		items = append(items, ruleBody{string(r.ID), r.Title, r.Severity.String(), r.Advice, r.Frameworks})
	}
	slices.SortFunc(items, func(a, b ruleBody) int { return cmp.Compare(a.ID, b.ID) })
	return listed(items, ""), nil
}
