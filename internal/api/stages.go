package api

import (
	"context"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// A VersionInput names one version of a model.
type VersionInput struct {
	Namespace string `path:"namespace" maxLength:"96"`
	Model     string `path:"model" maxLength:"96"`
	Number    int    `path:"number" minimum:"1"`
}

func (in VersionInput) name() registry.Name { return registry.Name(in.Namespace + "/" + in.Model) }

type stageBody struct {
	Model    string    `json:"model"`
	Number   int       `json:"number"`
	Artifact string    `json:"artifact"`
	Before   string    `json:"before"`
	After    string    `json:"after"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Decision string    `json:"decision"`
}

func stageOf(c registry.StageChange) stageBody {
	return stageBody{string(c.Model), c.Number, c.Artifact.String(), string(c.Before), string(c.After), c.At, c.By, c.Reason, c.Decision.String()}
}

type historyInput struct {
	Namespace string `path:"namespace" maxLength:"96"`
	Model     string `path:"model" maxLength:"96"`
	Number    int    `query:"number" minimum:"0" doc:"one version; 0 for all"`
}

func (s *service) history(ctx context.Context, in *historyInput) (*body[list[stageBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	cs, err := s.Governor.History(ctx, registry.Name(in.Namespace+"/"+in.Model), in.Number)
	if err != nil {
		return nil, s.fail(err)
	}
	var items []stageBody
	for _, c := range cs {
		items = append(items, stageOf(c))
	}
	return listed(items, ""), nil
}

type promotionInput struct {
	VersionInput
	To string `query:"to" required:"true" enum:"dev,staging,prod,archived"`
}

type promotionBody struct {
	Model      string             `json:"model"`
	Number     int                `json:"number"`
	Artifact   string             `json:"artifact"`
	From       string             `json:"from"`
	To         string             `json:"to"`
	Allowed    bool               `json:"allowed" doc:"if whoever asks promoted it now"`
	Conditions []policy.Condition `json:"conditions" doc:"what it needs; what is missing first"`
	Approvals  []policy.Approval  `json:"approvals" doc:"of any stage"`
	Signers    []string           `json:"signers"`
}

// promoter returns who asks, after the register was brought in line: policies
// may ask for the tier of the model and its evidence.
func (s *service) promoter(ctx context.Context, model registry.Name) (warden.Principal, error) {
	if s.Register != nil {
		if _, err := s.Register.Board(ctx); err != nil {
			return warden.Principal{}, err
		}
	}
	return s.as(ctx, policy.Promote, policy.Resource{Ref: model.Ref()})
}

func (s *service) promotion(ctx context.Context, in *promotionInput) (*body[promotionBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	who, err := s.promoter(ctx, in.name())
	if err != nil {
		return nil, s.fail(err)
	}
	p, err := s.Governor.Conditions(ctx, registry.Move{Model: in.name(), Version: in.Number, To: registry.Stage(in.To), Actor: who})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(promotionBody{
		string(p.Version.Model), p.Version.Number, p.Version.Digest.String(), string(p.From), string(p.To), p.Allowed, p.Conditions, p.Papers.Facts.Approvals, p.Papers.Facts.Signers,
	}), nil
}

type promoteInput struct {
	VersionInput
	Body struct {
		To     string `json:"to" enum:"dev,staging,prod,archived"`
		From   string `json:"from,omitempty" enum:"dev,staging,prod,archived" doc:"where you believe it is: refused if it is elsewhere"`
		Reason string `json:"reason" maxLength:"1000"`
	}
}

func (s *service) promote(ctx context.Context, in *promoteInput) (*body[stageBody], error) {
	who, err := s.promoter(ctx, in.name())
	if err != nil {
		return nil, s.fail(err)
	}
	c, _, err := s.Governor.Promote(ctx, registry.Move{
		Model: in.name(), Version: in.Number, To: registry.Stage(in.Body.To), From: registry.Stage(in.Body.From), Reason: strings.TrimSpace(in.Body.Reason), Actor: who,
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(stageOf(c)), nil
}

type approveInput struct {
	VersionInput
	Body struct {
		To       string `json:"to" enum:"dev,staging,prod,archived"`
		Role     string `json:"role,omitempty" maxLength:"100" doc:"one of your roles"`
		Reason   string `json:"reason" maxLength:"1000"`
		Days     int    `json:"days,omitempty" minimum:"1" maximum:"366" default:"30"`
		Withdraw bool   `json:"withdraw,omitempty" doc:"take an approval back"`
	}
}

type approvalBody struct {
	Statement string `json:"statement" doc:"digest of the payload of the signed statement"`
	Artifact  string `json:"artifact"`
	Who       string `json:"who"`
}

func (s *service) approve(ctx context.Context, in *approveInput) (*body[approvalBody], error) {
	who, err := s.as(ctx, policy.Approve, policy.Resource{Ref: in.name().Ref()})
	if err != nil {
		return nil, s.fail(err)
	}
	st, err := s.Governor.Approve(ctx, registry.Approval{
		Move: registry.Move{Model: in.name(), Version: in.Number, To: registry.Stage(in.Body.To), Reason: strings.TrimSpace(in.Body.Reason), Actor: who},
		Role: in.Body.Role, Valid: time.Duration(in.Body.Days) * 24 * time.Hour, Withdraw: in.Body.Withdraw,
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(approvalBody{st.Payload.String(), st.Subjects[0].String(), who.ID}), nil
}

type explainInput struct {
	Ref    string    `query:"ref" required:"true" minLength:"3" maxLength:"300" doc:"digest of a decision or an artifact, namespace/model, or namespace/model@number"`
	At     time.Time `query:"at" doc:"the decision that held then; absent: the last one"`
	Action string    `query:"action" maxLength:"40" doc:"admit or promote; absent: any"`
}

type paperBody struct {
	ID            string    `json:"id"`
	PredicateType string    `json:"predicate_type"`
	Signer        string    `json:"signer"`
	Verified      bool      `json:"verified" doc:"it counts now"`
	Reason        string    `json:"reason" doc:"why it does not count now; empty if it does"`
	Received      time.Time `json:"received"`
}

type explanationBody struct {
	Artifact string          `json:"artifact"`
	Names    []versionRef    `json:"names"`
	Reasons  []policy.Reason `json:"reasons" doc:"every policy that was looked at, those that fired first, with what each read"`
	Papers   []paperBody     `json:"statements" doc:"those that were there then"`
	Seq      int64           `json:"seq" doc:"entry of the audit log; -1 if not found"`
	Export   registry.Export `json:"export" doc:"all that is needed to make the decision again without the server"`
}

func (s *service) explain(ctx context.Context, in *explainInput) (*body[explanationBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	d, err := parseDigest(in.Ref)
	if err != nil {
		v, err := s.Registry.Find(ctx, in.Ref)
		if err != nil {
			return nil, s.fail(err)
		}
		d = v.Digest
	}
	x, err := s.Governor.Explain(ctx, d, in.At, in.Action)
	if err != nil {
		return nil, s.fail(err)
	}
	out := explanationBody{Artifact: x.Decision.Artifact.String(), Names: []versionRef{}, Reasons: x.Reasons, Papers: []paperBody{}, Seq: -1, Export: x.Export()}
	for _, v := range x.Names {
		out.Names = append(out.Names, versionRef{string(v.Model), v.Number})
	}
	for _, p := range x.Papers {
		out.Papers = append(out.Papers, paperBody{p.Statement.ID.String(), p.Statement.PredicateType, p.Signer, p.Err == nil, reasonOf(p), p.Statement.Received})
	}
	if x.Event != nil {
		out.Seq = int64(x.Event.Seq) //nolint:gosec // indexes of the log are rows of a database
	}
	return answer(out), nil
}

// A PolicyBody is a version of the policy set.
type PolicyBody struct {
	Version    int64     `json:"version"`
	Name       string    `json:"name"`
	Digest     string    `json:"digest"`
	State      string    `json:"state" enum:"proposed,applied"`
	Holds      bool      `json:"holds"`
	Reason     string    `json:"reason"`
	ProposedBy string    `json:"proposed_by"`
	ProposedAt time.Time `json:"proposed_at"`
	DecidedBy  string    `json:"decided_by" doc:"who applied it"`
	DecidedAt  time.Time `json:"decided_at"`
}

func policyOf(v registry.PolicyVersion, holds int64) PolicyBody {
	return PolicyBody{v.Version, v.Name, v.Digest.String(), string(v.State), v.Version == holds, v.Reason, v.ProposedBy, v.ProposedAt, v.DecidedBy, v.DecidedAt}
}

type sourceBody struct {
	Name string `json:"name" maxLength:"200"`
	Text string `json:"text"`
}

type policiesBody struct {
	Holds    int64        `json:"holds" doc:"version that holds; 0 is that of the configuration"`
	Name     string       `json:"name" doc:"name@digest of the set that holds"`
	IDs      []string     `json:"ids"`
	Versions []PolicyBody `json:"versions"`
}

func (s *service) listPolicies(ctx context.Context, _ *struct{}) (*body[policiesBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	all, holds, set, err := s.Governor.Policies(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	out := policiesBody{Holds: holds, Name: set.Name(), IDs: set.IDs(), Versions: []PolicyBody{}}
	for _, v := range all {
		out.Versions = append(out.Versions, policyOf(v, holds))
	}
	return answer(out), nil
}

type policyTextBody struct {
	Version int64        `json:"version"`
	Name    string       `json:"name" doc:"name@digest"`
	Sources []sourceBody `json:"sources"`
}

type policyInput struct {
	Version int64 `path:"version" minimum:"-1" doc:"-1 is the set that holds"`
}

func (s *service) getPolicy(ctx context.Context, in *policyInput) (*body[policyTextBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	_, holds, set, err := s.Governor.Policies(ctx)
	if err == nil && in.Version >= 0 {
		holds = in.Version
		set, err = s.Governor.PolicySet(ctx, in.Version)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	out := policyTextBody{Version: holds, Name: set.Name(), Sources: []sourceBody{}}
	for _, src := range set.Sources() {
		out.Sources = append(out.Sources, sourceBody{src.Name, string(src.Text)})
	}
	return answer(out), nil
}

// A DraftBody is a policy set that does not hold yet.
type DraftBody struct {
	Name    string       `json:"name" minLength:"1" maxLength:"100"`
	Sources []sourceBody `json:"sources" minItems:"1" maxItems:"1000" doc:"the .cedar files of the whole set"`
}

func (d DraftBody) draft() registry.Draft {
	out := registry.Draft{Name: d.Name}
	for _, src := range d.Sources {
		out.Sources = append(out.Sources, policy.Source{Name: src.Name, Text: []byte(src.Text)})
	}
	return out
}

type proposeInput struct {
	Body struct {
		DraftBody
		Reason string `json:"reason" maxLength:"1000"`
	}
}

type appliedBody struct {
	PolicyBody
	Alone   bool          `json:"alone" doc:"nobody else could look at it: there is one administrator only"`
	Changed []changedBody `json:"changed" doc:"artifacts whose state this changed"`
}

func (s *service) propose(ctx context.Context, in *proposeInput) (*body[appliedBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	alone, err := s.alone(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	v, err := s.Governor.Propose(ctx, in.Body.draft(), in.Body.Reason, alone, identity(ctx).Principal)
	return s.applied(ctx, v, alone, err)
}

type applyInput struct {
	Version int64 `path:"version" minimum:"1"`
}

func (s *service) apply(ctx context.Context, in *applyInput) (*body[appliedBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	v, err := s.Governor.Apply(ctx, in.Version, identity(ctx).Principal)
	return s.applied(ctx, v, false, err)
}

func (s *service) applied(ctx context.Context, v registry.PolicyVersion, alone bool, err error) (*body[appliedBody], error) {
	var changed []registry.Changed
	if err == nil && v.State == registry.Applied {
		changed, err = s.Governor.Reconcile(ctx)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	holds := int64(-1)
	if v.State == registry.Applied {
		holds = v.Version
	}
	return answer(appliedBody{policyOf(v, holds), alone, changes(changed)}), nil
}

type simulateInput struct {
	Body struct {
		DraftBody
		Last int `json:"last,omitempty" minimum:"0" maximum:"10000" default:"1000" doc:"recorded decisions to make again"`
	}
}

type differenceBody struct {
	Artifact string   `json:"artifact"`
	Name     string   `json:"name"`
	Action   string   `json:"action"`
	Who      string   `json:"who"`
	Decision string   `json:"decision" doc:"of the past; empty: what would be decided now"`
	Before   string   `json:"before"`
	After    string   `json:"after"`
	Because  []string `json:"because"`
}

type simulatedBody struct {
	Name      string           `json:"name" doc:"name@digest of the draft"`
	IDs       []string         `json:"ids"`
	Artifacts int              `json:"artifacts" doc:"looked at"`
	Decisions int              `json:"decisions" doc:"of the past, made again"`
	Total     int              `json:"total" doc:"decisions that would come out otherwise"`
	Changes   []differenceBody `json:"changes" doc:"the first 1,000 of them"`
}

func (s *service) simulate(ctx context.Context, in *simulateInput) (*body[simulatedBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	x, err := s.Governor.Simulate(ctx, in.Body.draft(), in.Body.Last)
	if err != nil {
		return nil, s.fail(err)
	}
	out := simulatedBody{Name: x.Set.Name(), IDs: x.Set.IDs(), Artifacts: x.Artifacts, Decisions: x.Decisions, Total: x.Total, Changes: []differenceBody{}}
	for _, c := range x.Changes {
		out.Changes = append(out.Changes, differenceBody{c.Artifact.String(), c.Name, c.Action, c.Who, digestText(c.Decision), string(c.Before), string(c.After), c.Because})
	}
	return answer(out), nil
}
