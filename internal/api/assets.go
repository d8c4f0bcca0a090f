package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/inventory/risk"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// board returns the register for those who may read the platform.
func (s *service) board(ctx context.Context) (*register.Board, error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, err
	}
	if s.Register == nil {
		return nil, &warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no register"}
	}
	return s.Register.Board(ctx)
}

// writes is [service.board] for those who may change what it holds; roles that
// may, besides admin.
func (s *service) writes(ctx context.Context, roles ...string) error {
	if err := s.may(ctx, policy.Read); err != nil {
		return err
	}
	if s.Register == nil {
		return &warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no register"}
	}
	roles = append(roles, access.RoleAdmin)
	who := onPlatform(identity(ctx).Principal, policy.Modify)
	if !slices.ContainsFunc(who.Roles, func(r string) bool { return slices.Contains(roles, r) }) {
		return &warden.Error{Code: warden.CodeDenied, Message: "this needs the role " + strings.Join(roles, " or "), Hint: "ask an administrator for the role"}
	}
	return nil
}

// part cuts a list that is in memory; the cursor is the number of rows before it.
func part[T any](items []T, p Part) ([]T, string, error) {
	from := 0
	if p.After != "" {
		if _, err := fmt.Sscanf(p.After, "%d", &from); err != nil || from < 0 {
			return nil, "", &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("cursor %.40q is not one of this list", p.After), Hint: "use the cursor that the page before gave, or none for the first page"}
		}
	}
	from = min(from, len(items))
	until := min(from+p.page().Size(), len(items))
	next := ""
	if until < len(items) {
		next = fmt.Sprint(until)
	}
	return items[from:until], next, nil
}

type inventoryInput struct {
	Source  string `query:"source" required:"true" maxLength:"120" doc:"name of the tree, as team/shop"`
	RawBody []byte `contentType:"application/json"`
}

func (s *service) registerInventory(ctx context.Context, in *inventoryInput) (*body[register.Registered], error) {
	if err := s.writes(ctx, access.RoleEngineer, access.RoleSecurity); err != nil {
		return nil, s.fail(err)
	}
	var d inventory.Document
	dec := json.NewDecoder(bytes.NewReader(in.RawBody)) // fields that a newer scanner adds are left out
	if err := dec.Decode(&d); err != nil || dec.More() {
		return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("the inventory is no JSON document: %v", err), Hint: "send what `warden inventory --format json` writes"})
	}
	out, err := s.Register.Register(ctx, in.Source, &d, false, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(out), nil
}

func (s *service) listInventories(ctx context.Context, _ *struct{}) (*body[list[register.Source]], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	return listed(b.Sources, ""), nil
}

type assetsInput struct {
	Part
	Family string `query:"family" enum:"own,service,public,assistant,agent,part"`
	Kind   string `query:"kind" maxLength:"40"`
	Tier   int    `query:"tier" minimum:"-1" maximum:"4" default:"-1"`
	Owner  string `query:"owner" maxLength:"400" doc:"- : nobody"`
	State  string `query:"state" maxLength:"40"`
	Source string `query:"source" maxLength:"120"`
	Search string `query:"search" maxLength:"200"`
	Gaps   bool   `query:"gaps" doc:"only with gaps in their evidence"`
	Gone   bool   `query:"gone" doc:"only those that nothing sees any more"`
	Parts  bool   `query:"parts" doc:"also what assets are made of: libraries, prompts, keys"`
	Scan   string `query:"scanned" enum:"yes,no"`
	Tiered string `query:"tiered" enum:"yes,no" doc:"purpose, data and exposure are known"`
}

// An AssetsBody is a part of the register with its totals.
type AssetsBody struct {
	Items    []register.View   `json:"items"`
	Next     string            `json:"next"`
	Total    int               `json:"total" doc:"of the filter"`
	Coverage register.Coverage `json:"coverage" doc:"of the whole register"`
}

func (s *service) listAssets(ctx context.Context, in *assetsInput) (*body[AssetsBody], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	f := register.AssetFilter{
		Kind: in.Kind, Tier: in.Tier, Owner: in.Owner, State: in.State, Source: in.Source, Search: in.Search, Gaps: in.Gaps, Gone: in.Gone, Parts: in.Parts, Scanned: in.Scan, Tiered: in.Tiered,
	}
	if in.Family != "" {
		f.Families = []register.Family{register.Family(in.Family)}
	}
	all := b.AssetsLike(f)
	items, next, err := part(all, in.Part)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(AssetsBody{items, next, len(all), b.Coverage()}), nil
}

// An AssetInput names an asset in the path.
type AssetInput struct {
	ID string `path:"id" maxLength:"1000"`
}

// An AssetDetail is an asset with its groups of findings.
type AssetDetail struct {
	register.View
	Groups []register.Group `json:"groups"`
}

func (s *service) assetDetail(ctx context.Context, id string) (*body[AssetDetail], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	v, ok := b.View(id)
	if !ok {
		return nil, s.fail(&warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no asset %.100q", id), Hint: "list them under /api/v1/assets"})
	}
	return answer(AssetDetail{v, b.Select(register.Filter{Asset: id})}), nil
}

func (s *service) getAsset(ctx context.Context, in *AssetInput) (*body[AssetDetail], error) {
	return s.assetDetail(ctx, in.ID)
}

type setAssetInput struct {
	AssetInput
	Body struct {
		Version     int       `json:"version,omitempty" doc:"that was changed; if the asset has another one, nothing is done"`
		Owner       *string   `json:"owner,omitempty"`
		Contact     *string   `json:"contact,omitempty"`
		Approver    *string   `json:"approver,omitempty"`
		Use         *string   `json:"use,omitempty"`
		Criticality *int      `json:"criticality,omitempty"`
		Stage       *string   `json:"stage,omitempty"`
		Purpose     *string   `json:"purpose,omitempty"`
		Traits      *[]string `json:"traits,omitempty"`
		Data        *[]string `json:"data,omitempty"`
		Exposure    *string   `json:"exposure,omitempty"`
		Effect      *string   `json:"effect,omitempty"`
		Autonomy    *string   `json:"autonomy,omitempty"`
		Tools       *[]string `json:"tools,omitempty"`
		Exemption   *string   `json:"exemption,omitempty"`
		Role        *string   `json:"role,omitempty"`
		FLOP        *float64  `json:"flop,omitempty"`
	}
}

func put[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *service) setAsset(ctx context.Context, in *setAssetInput) (*body[AssetDetail], error) {
	if err := s.writes(ctx, access.RoleSecurity, access.RoleEngineer); err != nil {
		return nil, s.fail(err)
	}
	err := s.Register.Set(ctx, in.ID, in.Body.Version, func(p *register.Person) error {
		c, x := &in.Body, &p.System
		put(&p.Owner, c.Owner)
		put(&p.Contact, c.Contact)
		put(&p.Approver, c.Approver)
		put(&p.Use, c.Use)
		put(&p.Criticality, c.Criticality)
		put(&p.Stage, c.Stage)
		put(&x.Purpose, c.Purpose)
		put(&x.Traits, c.Traits)
		put(&x.Data, c.Data)
		put(&x.Exposure, c.Exposure)
		put(&x.Effect, c.Effect)
		put(&x.Autonomy, c.Autonomy)
		put(&x.Tools, c.Tools)
		put(&x.Exemption, c.Exemption)
		put(&x.Role, c.Role)
		put(&x.FLOP, c.FLOP)
		return nil
	}, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return s.assetDetail(ctx, in.ID)
}

func (s *service) listOwnerRules(ctx context.Context, _ *struct{}) (*body[list[register.OwnerRule]], error) {
	b, err := s.board(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	return listed(b.Owners, ""), nil
}

type ownerRuleInput struct {
	Body struct {
		Match string `json:"match" maxLength:"400" doc:"glob over id, name or source/path; the last rule that matches counts"`
		Owner string `json:"owner" maxLength:"400" doc:"empty takes the rule away"`
	}
}

func (s *service) setOwnerRule(ctx context.Context, in *ownerRuleInput) (*body[list[register.OwnerRule]], error) {
	if err := s.writes(ctx, access.RoleSecurity); err != nil {
		return nil, s.fail(err)
	}
	rs, err := s.Register.SetOwners(ctx, in.Body.Match, in.Body.Owner, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return listed(rs, ""), nil
}

type tierInput struct {
	AssetInput
	Body struct {
		Tier   int        `json:"tier" minimum:"-1" maximum:"4" doc:"-1: that of the rules again"`
		Reason string     `json:"reason" maxLength:"400"`
		Until  *time.Time `json:"until,omitempty" doc:"of a milder tier: at most 90 days ahead"`
	}
}

func (s *service) setTier(ctx context.Context, in *tierInput) (*body[AssetDetail], error) {
	if err := s.writes(ctx, access.RoleSecurity, access.RoleEngineer); err != nil {
		return nil, s.fail(err)
	}
	var until time.Time
	put(&until, in.Body.Until)
	if err := s.Register.Retier(ctx, in.ID, in.Body.Tier, in.Body.Reason, until, identity(ctx).Principal); err != nil {
		return nil, s.fail(err)
	}
	return s.assetDetail(ctx, in.ID)
}

type approveTierInput struct {
	AssetInput
	Body struct {
		Reason string `json:"reason" maxLength:"400"`
	}
}

func (s *service) approveTier(ctx context.Context, in *approveTierInput) (*body[AssetDetail], error) {
	if err := s.writes(ctx, access.RoleSecurity); err != nil {
		return nil, s.fail(err)
	}
	if err := s.Register.ApproveTier(ctx, in.ID, in.Body.Reason, identity(ctx).Principal); err != nil {
		return nil, s.fail(err)
	}
	return s.assetDetail(ctx, in.ID)
}

// A RiskBody is what rules of risk may be told, and what tiers ask for.
type RiskBody struct {
	Purposes   []rules.RiskTerm     `json:"purposes"`
	Traits     []string             `json:"traits"`
	Exemptions []string             `json:"exemptions"`
	Axes       map[string][]string  `json:"axes"`
	Tiers      []rules.RiskTier     `json:"tiers"`
	Evidence   []rules.RiskEvidence `json:"evidence"`
}

func (s *service) riskRules(ctx context.Context, _ *struct{}) (*body[RiskBody], error) {
	if _, err := s.board(ctx); err != nil {
		return nil, s.fail(err)
	}
	d := s.Register.Risk().Data()
	return answer(RiskBody{d.Purposes, d.Traits, d.Exemptions, d.Axes, d.Tiers, d.Evidence}), nil
}

type classifyInput struct{ Body risk.System }

func (s *service) classify(ctx context.Context, in *classifyInput) (*body[risk.Result], error) {
	if _, err := s.board(ctx); err != nil {
		return nil, s.fail(err)
	}
	if err := s.Register.Risk().Check(in.Body); err != nil {
		return nil, s.fail(err)
	}
	return answer(s.Register.Risk().Classify(in.Body, s.Now())), nil
}
