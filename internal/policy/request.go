package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/modelwarden/warden"
)

// An Action is what somebody wants to do.
type Action string

// The actions that the schema knows.
const (
	Admit      Action = "admit"      // take an artifact into the registry for use
	Retrieve   Action = "retrieve"   // download bytes
	Serve      Action = "serve"      // answer requests with the model
	Use        Action = "use"        // answer requests with a model that others run
	Query      Action = "query"      // send a chat request to a route
	Embed      Action = "embed"      // ask a route for vectors
	Infer      Action = "infer"      // ask a route's classifier
	Deliver    Action = "deliver"    // pass on an exchange in which a guard found something
	Modify     Action = "modify"     // push a version
	Attest     Action = "attest"     // attach a statement
	Approve    Action = "approve"    // say yes to a promotion
	Promote    Action = "promote"    // move a version to another stage
	Quarantine Action = "quarantine" // and release
	Read       Action = "read"       // see what the platform knows
	Administer Action = "administer" // keys, users, policies, trust
)

// A Resource is what an action is about. Kind selects which fields count.
type Resource struct {
	Ref   warden.Ref
	Facts Facts  // of an artifact
	State string // of an artifact: the registry's state; "" if not registered
	Stage string // of an artifact, as the version that is asked about; "" if none is
	Task  string // of a route
	Terms string // of a provider: the contract that holds for what is sent to it
}

// A Step is what a promotion, or an approval of one, wants: a version of a model
// at another stage.
type Step struct {
	Model    string   `json:"model"`
	Version  int      `json:"version"`
	To       string   `json:"to"`
	Person   string   `json:"person,omitempty"` // who stands behind the principal; "": the principal
	PushedBy []string `json:"pushed_by"`        // people who pushed the artifact under this name
	SignedBy []string `json:"signed_by"`        // people who hold the keys that signed its files
	Asset    *Asset   `json:"asset,omitempty"`  // as the register has the model; nil: it does not
}

// An Asset is what the register of assets knows of a model.
type Asset struct {
	Tier    int `json:"tier" yaml:"tier"`                         // 0 prohibited to 4 low
	Missing int `json:"evidence_missing" yaml:"evidence_missing"` // kinds of evidence that the tier asks for, and that could be there
	Absent  int `json:"evidence_absent" yaml:"evidence_absent"`   // and that nothing here can make yet
}

// A Request asks whether principal may do action on resource.
type Request struct {
	Principal warden.Principal // ID "user:…", "service:…" or "key:…"; Roles are groups
	Action    Action
	Resource  Resource
	Step      Step  // of Promote and Approve
	Asked     Asked // of Query, Embed and Infer
	Found     Found // of Deliver
	Now       time.Time
}

// Asked is what a request to a route wants.
type Asked struct {
	Stream     bool       `json:"stream"`
	Tools      bool       `json:"tools"`
	Logprobs   bool       `json:"logprobs"`
	Remote     bool       `json:"remote"` // the upstream fetches addresses that are in it
	Choices    int64      `json:"choices"`
	Tokens     int64      `json:"tokens"`          // at most, prompt and answer together
	Address    netip.Addr `json:"address"`         // of the client; the zero Addr is unknown
	Extraction int64      `json:"extraction_risk"` // of the caller, 0 to 100
	Probing    int64      `json:"probing_risk"`
}

// Found is what a guard found in an exchange, and would do.
type Found struct {
	Rule     warden.RuleID   `json:"rule"`
	Severity warden.Severity `json:"severity"`
	Effect   warden.Effect   `json:"effect"`
	Answer   bool            `json:"answer"` // in the answer; else in the request
}

// A Recorded is a request as decisions keep it: all but the facts, which are
// kept beside it.
type Recorded struct {
	Principal string   `json:"principal"`
	Roles     []string `json:"roles"`
	Action    Action   `json:"action"`
	Resource  string   `json:"resource"` // kind:id
	State     string   `json:"state"`
	Stage     string   `json:"stage,omitempty"`
	Task      string   `json:"task,omitempty"`
	Step      *Step    `json:"step,omitempty"`
	Now       int64    `json:"now"` // seconds since 1970
}

// Record returns r as decisions keep it.
func (r Request) Record() Recorded {
	out := Recorded{
		Principal: r.Principal.ID, Roles: r.Principal.Roles, Action: r.Action, Resource: r.Resource.Ref.String(), State: r.Resource.State, Stage: r.Resource.Stage,
		Task: r.Resource.Task, Now: r.Now.Unix(),
	}
	if out.Roles == nil {
		out.Roles = []string{}
	}
	if r.Action == Promote || r.Action == Approve {
		s := r.Step
		s.PushedBy, s.SignedBy = append([]string{}, s.PushedBy...), append([]string{}, s.SignedBy...)
		out.Step = &s
	}
	return out
}

// Request is the inverse of [Request.Record].
func (r Recorded) Request(facts Facts) Request {
	kind, id, _ := strings.Cut(r.Resource, ":")
	out := Request{
		Principal: warden.Principal{ID: r.Principal, Roles: r.Roles}, Action: r.Action, Now: time.Unix(r.Now, 0).UTC(),
		Resource: Resource{Ref: warden.Ref{Kind: warden.Kind(kind), ID: id}, Facts: facts, State: r.State, Stage: r.Stage, Task: r.Task},
	}
	if r.Step != nil {
		out.Step = *r.Step
	}
	return out
}

// Kinds of resources that only policies name.
const (
	KindRoute    warden.Kind = "route"
	KindProvider warden.Kind = "provider" // of a model that others run
	KindPlatform warden.Kind = "platform"
)

func request(r Request) (cedar.EntityMap, cedar.Request) {
	principal := principalUID(r.Principal.ID)
	groups := make([]cedar.EntityUID, 0, len(r.Principal.Roles))
	entities := make(cedar.EntityMap, len(r.Principal.Roles)+2)
	for _, role := range r.Principal.Roles {
		g := cedar.NewEntityUID("Group", cedar.String(role))
		groups = append(groups, g)
		entities[g] = cedar.Entity{UID: g}
	}
	entities[principal] = cedar.Entity{UID: principal, Parents: cedar.NewEntityUIDSet(groups...)}
	resource := cedar.Entity{UID: cedar.NewEntityUID(entityType(r.Resource.Ref.Kind), cedar.String(r.Resource.Ref.ID))}
	switch r.Resource.Ref.Kind {
	case warden.KindArtifact:
		resource.Attributes = artifact(r)
	case KindRoute:
		resource.Attributes = cedar.NewRecord(cedar.RecordMap{"name": cedar.String(r.Resource.Ref.ID), "task": cedar.String(r.Resource.Task)})
	case KindProvider:
		resource.Attributes = cedar.NewRecord(cedar.RecordMap{"terms": cedar.String(r.Resource.Terms)})
	default: // the schema gives the others no attributes
	}
	entities[resource.UID] = resource
	ctx := make(cedar.RecordMap, 12)
	ctx["now"] = cedar.Long(r.Now.Unix())
	switch r.Action {
	case Query, Embed, Infer:
		asked(ctx, r)
	case Deliver:
		ctx["rule"], ctx["severity"] = cedar.String(r.Found.Rule), cedar.String(r.Found.Severity.String())
		ctx["effect"], ctx["answer"] = cedar.String(r.Found.Effect), cedar.Boolean(r.Found.Answer)
	case Promote, Approve:
		ctx["model"], ctx["version"] = cedar.String(r.Step.Model), cedar.Long(int64(r.Step.Version))
		ctx["from"], ctx["to"] = cedar.String(r.Resource.Stage), cedar.String(r.Step.To)
		ctx["pushed_it"] = cedar.Boolean(slices.Contains(r.Step.PushedBy, r.person()))
		ctx["asset"] = asset(r.Step.Asset)
		ctx["signed_it"] = cedar.Boolean(slices.Contains(r.Step.SignedBy, r.person()))
	default: // of the others policies see the time only
	}
	return entities, cedar.Request{
		Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(r.Action)), Resource: resource.UID, Context: cedar.NewRecord(ctx),
	}
}

// asset is what policies see of the register. What it does not have is no tier.
func asset(a *Asset) cedar.Record {
	known := a != nil
	if !known {
		a = &Asset{Tier: -1}
	}
	return cedar.NewRecord(cedar.RecordMap{
		"known": cedar.Boolean(known), "tier": cedar.Long(int64(a.Tier)), "evidence_missing": cedar.Long(int64(a.Missing)), "evidence_absent": cedar.Long(int64(a.Absent)),
	})
}

func asked(ctx cedar.RecordMap, r Request) {
	a := r.Asked
	if !a.Address.IsValid() {
		a.Address = netip.IPv4Unspecified()
	}
	ctx["stream"], ctx["tools"] = cedar.Boolean(a.Stream), cedar.Boolean(a.Tools)
	ctx["logprobs"], ctx["remote"] = cedar.Boolean(a.Logprobs), cedar.Boolean(a.Remote)
	ctx["choices"], ctx["tokens"] = cedar.Long(a.Choices), cedar.Long(a.Tokens)
	ctx["address"] = cedar.IPAddr(netip.PrefixFrom(a.Address.Unmap(), a.Address.Unmap().BitLen()))
	ctx["hour"] = cedar.Long(int64(r.Now.UTC().Hour()))
	ctx["extraction_risk"], ctx["probing_risk"] = cedar.Long(a.Extraction), cedar.Long(a.Probing)
}

func entityType(k warden.Kind) cedar.EntityType {
	switch k {
	case warden.KindArtifact:
		return "Artifact"
	case warden.KindModel:
		return "Model"
	case KindRoute:
		return "Route"
	case KindProvider:
		return "Provider"
	default:
		return "Platform"
	}
}

func principalUID(id string) cedar.EntityUID {
	kind, _, _ := strings.Cut(id, ":")
	switch kind {
	case "service":
		return cedar.NewEntityUID("Service", cedar.String(id))
	case "key":
		return cedar.NewEntityUID("Key", cedar.String(id))
	default:
		return cedar.NewEntityUID("User", cedar.String(id))
	}
}

func artifact(r Request) cedar.Record {
	f := r.Resource.Facts
	return cedar.NewRecord(cedar.RecordMap{
		"registered":  cedar.Boolean(r.Resource.State != ""),
		"state":       cedar.String(r.Resource.State),
		"stage":       cedar.String(r.Resource.Stage),
		"quarantined": cedar.Boolean(r.Resource.State == "quarantined" || f.Quarantined),
		"signed":      cedar.Boolean(f.Signed),
		"signers":     stringSet(f.Signers),
		"formats":     stringSet(f.Formats),
		"has_pickle":  cedar.Boolean(f.HasPickle),
		"has_code":    cedar.Boolean(f.HasCode),
		"oms": cedar.NewRecord(cedar.RecordMap{
			"legacy": cedar.Boolean(f.OMS.Legacy), "orders": stringSet(f.OMS.Orders), "hashes": stringSet(f.OMS.Hashes), "ignored_present": stringSet(f.OMS.IgnoredPresent),
		}),
		"approvals":  approvals(r),
		"provenance": cedar.NewRecord(cedar.RecordMap{"present": cedar.Boolean(f.Provenance.Present), "builders": stringSet(f.Provenance.Builders)}),
		"scan": cedar.NewRecord(cedar.RecordMap{
			"present":  cedar.Boolean(f.Scan.Present),
			"verdict":  cedar.String(f.Scan.Verdict),
			"complete": cedar.Boolean(f.Scan.Complete),
			"stale":    cedar.Boolean(f.Scan.Stale),
			"expires":  cedar.Long(seconds(f.Scan.Expires)),
		}),
	})
}

// approvals are those that count for what is asked: people who do not act, push
// or sign themselves (four eyes), each once.
func approvals(r Request) cedar.Record {
	var people, roles []string
	expires := time.Time{}
	for _, a := range r.Resource.Facts.Approvals {
		step := r.Step
		switch {
		case r.Now.After(a.Expires):
			continue
		case r.Action != Promote && r.Action != Approve:
		case a.Stage != step.To || a.Model != step.Model || a.Version != step.Version, a.Who == r.person(),
			slices.Contains(step.PushedBy, a.Who), slices.Contains(step.SignedBy, a.Who):
			continue
		}
		if !slices.Contains(people, a.Who) {
			people = append(people, a.Who)
		}
		if a.Role != "" {
			roles = append(roles, a.Role)
		}
		if expires.IsZero() || a.Expires.Before(expires) {
			expires = a.Expires
		}
	}
	return cedar.NewRecord(cedar.RecordMap{"count": cedar.Long(int64(len(people))), "roles": stringSet(roles), "expires": cedar.Long(seconds(expires))})
}

func (r Request) person() string { return cmp.Or(r.Step.Person, r.Principal.ID) }

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func stringSet(ss []string) cedar.Set {
	vs := make([]cedar.Value, 0, len(ss))
	for _, s := range ss {
		vs = append(vs, cedar.String(s))
	}
	return cedar.NewSet(vs...)
}

// CheckRequest returns an error if what r says of principal, resource and
// context is not what the schema promises to policies.
func CheckRequest(schemaText []byte, r Request) error {
	check, err := validator(schemaText)
	if err != nil {
		return err
	}
	entities, req := request(r)
	if err := check.Entities(entities); err != nil {
		return err
	}
	return check.Request(req)
}
