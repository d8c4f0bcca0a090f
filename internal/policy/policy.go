package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/modelwarden/warden"
)

// ErrPolicy is wrapped by [NewSet] for a policy that does not parse or does not
// fit the schema. The message names file, line and policy.
var ErrPolicy = errors.New("invalid policy")

// An Action is what somebody wants to do.
type Action string

// The actions that the schema knows.
const (
	Admit      Action = "admit"      // take an artifact into the registry for use
	Retrieve   Action = "retrieve"   // download bytes
	Serve      Action = "serve"      // answer requests with the model
	Query      Action = "query"      // send a request to a route
	Modify     Action = "modify"     // push a version
	Quarantine Action = "quarantine" // and release
	Read       Action = "read"       // see what the platform knows
	Administer Action = "administer" // keys, users, policies
)

// A Source is one policy file.
type Source struct {
	Name string // shown in errors
	Text []byte
}

// A Set is an immutable, validated set of policies. It is safe for concurrent use.
type Set struct {
	name   string
	digest warden.Digest
	set    *cedar.PolicySet
	ids    []string // @id annotations, sorted
}

// NewSet parses and validates policies. Each policy needs an @id that is unique
// in the set. The schema is the text that rules.PolicySchema returns.
func NewSet(name string, schemaText []byte, sources ...Source) (*Set, error) {
	var sch schema.Schema
	if err := sch.UnmarshalCedar(schemaText); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	resolved, err := sch.Resolve()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	check := validate.New(resolved)
	s := &Set{name: name, set: cedar.NewPolicySet()}
	type named struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
	var all []named
	for _, src := range sources {
		list, err := cedar.NewPolicyListFromBytes(src.Name, src.Text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrPolicy, src.Name, err)
		}
		for _, p := range list {
			id := string(p.Annotations()["id"])
			where := fmt.Sprintf("%s:%d", src.Name, p.Position().Line)
			if id == "" {
				return nil, fmt.Errorf("%w: %s: policy without @id(\"…\")", ErrPolicy, where)
			}
			if err := check.Policy(id, (*ast.Policy)(p.AST())); err != nil {
				return nil, fmt.Errorf("%w: %s: policy %q: %w", ErrPolicy, where, id, err)
			}
			if !s.set.Add(cedar.PolicyID(id), p) {
				return nil, fmt.Errorf("%w: %s: policy id %q is used twice", ErrPolicy, where, id)
			}
			s.ids = append(s.ids, id)
		}
		all = append(all, named{src.Name, string(src.Text)})
	}
	if len(s.ids) == 0 {
		return nil, fmt.Errorf("%w: no policy in %d files", ErrPolicy, len(sources))
	}
	slices.Sort(s.ids)
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.Name, b.Name) })
	text, err := warden.Canonical(all)
	if err != nil {
		return nil, err
	}
	s.digest = warden.Sum(text)
	return s, nil
}

// Name returns "name@digest", which decisions carry.
func (s *Set) Name() string { return s.name + "@" + s.digest.String() }

// IDs returns the ids of the policies, sorted.
func (s *Set) IDs() []string { return slices.Clone(s.ids) }

// A Resource is what an action is about. Kind selects which fields count.
type Resource struct {
	Ref   warden.Ref
	Facts Facts  // of an artifact
	State string // of an artifact: the registry's state; "" if not registered
	Task  string // of a route
}

// A Request asks whether principal may do action on resource.
type Request struct {
	Principal warden.Principal // ID "user:…", "service:…" or "key:…"; Roles are groups
	Action    Action
	Resource  Resource
	Now       time.Time
}

// Decide evaluates r. Default is deny, a forbid beats every permit, and an
// error in any policy denies: a forbid that failed must not let anything pass.
func (s *Set) Decide(r Request) warden.Decision {
	dec := warden.Decision{Effect: warden.Deny, Subject: r.Resource.Ref, Policy: s.Name()}
	entities, req := request(r)
	effect, diag := cedar.Authorize(s.set, entities, req)
	for _, reason := range diag.Reasons {
		dec.Because = append(dec.Because, string(reason.PolicyID))
	}
	slices.Sort(dec.Because)
	if len(diag.Errors) > 0 {
		dec.Because = []string{"error:" + string(diag.Errors[0].PolicyID)}
		return dec
	}
	if effect == cedar.Allow {
		dec.Effect = warden.Allow
	}
	if len(dec.Because) == 0 {
		dec.Because = []string{NoPermit}
	}
	return dec
}

// NoPermit stands in Decision.Because when no policy permitted the request.
const NoPermit = "default-deny"

func request(r Request) (cedar.EntityMap, cedar.Request) {
	principal := principalUID(r.Principal.ID)
	var groups []cedar.EntityUID
	entities := cedar.EntityMap{}
	for _, role := range r.Principal.Roles {
		g := cedar.NewEntityUID("Group", cedar.String(role))
		groups = append(groups, g)
		entities[g] = cedar.Entity{UID: g}
	}
	entities[principal] = cedar.Entity{UID: principal, Parents: cedar.NewEntityUIDSet(groups...)}
	resource := cedar.Entity{UID: cedar.NewEntityUID(entityType(r.Resource.Ref.Kind), cedar.String(r.Resource.Ref.ID))}
	switch r.Resource.Ref.Kind {
	case warden.KindArtifact:
		resource.Attributes = artifact(r.Resource)
	case KindRoute:
		resource.Attributes = cedar.NewRecord(cedar.RecordMap{"name": cedar.String(r.Resource.Ref.ID), "task": cedar.String(r.Resource.Task)})
	default: // the schema gives the others no attributes
	}
	entities[resource.UID] = resource
	return entities, cedar.Request{
		Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(r.Action)), Resource: resource.UID,
		Context: cedar.NewRecord(cedar.RecordMap{"now": cedar.Long(r.Now.Unix())}),
	}
}

// Kinds of resources that only policies name.
const (
	KindRoute    warden.Kind = "route"
	KindPlatform warden.Kind = "platform"
)

func entityType(k warden.Kind) cedar.EntityType {
	switch k {
	case warden.KindArtifact:
		return "Artifact"
	case warden.KindModel:
		return "Model"
	case KindRoute:
		return "Route"
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

func artifact(r Resource) cedar.Record {
	expires := int64(0)
	if !r.Facts.Scan.Expires.IsZero() {
		expires = r.Facts.Scan.Expires.Unix()
	}
	return cedar.NewRecord(cedar.RecordMap{
		"registered":  cedar.Boolean(r.State != ""),
		"state":       cedar.String(r.State),
		"quarantined": cedar.Boolean(r.State == "quarantined"),
		"signed":      cedar.Boolean(r.Facts.Signed),
		"signers":     stringSet(r.Facts.Signers),
		"formats":     stringSet(r.Facts.Formats),
		"scan": cedar.NewRecord(cedar.RecordMap{
			"present":  cedar.Boolean(r.Facts.Scan.Present),
			"verdict":  cedar.String(r.Facts.Scan.Verdict),
			"complete": cedar.Boolean(r.Facts.Scan.Complete),
			"stale":    cedar.Boolean(r.Facts.Scan.Stale),
			"expires":  cedar.Long(expires),
		}),
	})
}

func stringSet(ss []string) cedar.Set {
	vs := make([]cedar.Value, 0, len(ss))
	for _, s := range ss {
		vs = append(vs, cedar.String(s))
	}
	return cedar.NewSet(vs...)
}
