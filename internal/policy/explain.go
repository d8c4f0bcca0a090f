package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/modelwarden/warden"
)

// A Value is one attribute that a policy looks at, and its value for a request.
type Value struct {
	Path  string `json:"path"`  // resource.scan.verdict, context.to
	Value string `json:"value"` // as Cedar writes it; "" if there is none
}

// A Reason is one policy in the light of a request.
type Reason struct {
	Policy string  `json:"policy"`
	Effect string  `json:"effect"` // permit or forbid
	Fired  bool    `json:"fired"`  // its conditions hold
	Needs  string  `json:"needs"`  // @needs: what it asks for, in words
	Fix    string  `json:"fix"`    // @fix: what to do where that is missing
	Reads  []Value `json:"reads"`
}

// Explain returns every policy whose scope matches r, those that fired first.
func (s *Set) Explain(r Request) []Reason {
	entities, req := request(r)
	out := []Reason{}
	seen := map[cedar.PolicyID]bool{}
	for id, p := range (candidates{s.index, req, entities, nil}).All() {
		if seen[id] || !inScope(p, entities, req) {
			continue
		}
		seen[id] = true
		x := Reason{Policy: string(id), Effect: "permit", Needs: string(p.Annotations()["needs"]), Fix: string(p.Annotations()["fix"]), Reads: reads(p, entities, req)}
		if p.Effect() == cedar.Forbid {
			x.Effect = "forbid"
		}
		_, diag := cedar.Authorize(single(id, p), entities, req)
		x.Fired = len(diag.Reasons) > 0 || len(diag.Errors) > 0
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Reason) int {
		if a.Fired != b.Fired {
			if a.Fired {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Policy, b.Policy))
	})
	return out
}

func single(id cedar.PolicyID, p *cedar.Policy) *cedar.PolicySet {
	one := cedar.NewPolicySet()
	one.Add(id, p)
	return one
}

// inScope reports whether the scope of a policy matches, whatever its conditions.
func inScope(p *cedar.Policy, entities cedar.EntityMap, req cedar.Request) bool {
	bare := *(*ast.Policy)(p.AST())
	bare.Conditions = nil
	dec, diag := cedar.Authorize(single("scope", cedar.NewPolicyFromAST((*publicast.Policy)(&bare))), entities, req)
	return dec == cedar.Allow || len(diag.Reasons) > 0
}

// A Condition is one thing that a promotion needs.
type Condition struct {
	Policy string  `json:"policy"`
	Met    bool    `json:"met"`
	Needs  string  `json:"needs"`
	Fix    string  `json:"fix"`
	Reads  []Value `json:"reads"`
}

// Permitted stands in [Condition.Policy] for what no forbid says: that somebody
// may do it at all.
const Permitted = "permitted"

// Conditions returns what r, a promotion, needs and whether it has it: one
// condition for each forbid that asks about the stage, and one for being
// permitted at all. What only observes blocks nothing: it counts as met.
func (s *Set) Conditions(r Request) []Condition {
	out := []Condition{}
	permit := Condition{Policy: Permitted, Needs: "whoever asks may promote it", Fix: "ask an administrator for a role that may", Reads: []Value{{"principal", r.Principal.ID + " (" + strings.Join(r.Principal.Roles, ", ") + ")"}}}
	for _, x := range s.Explain(r) {
		if x.Effect == "permit" {
			permit.Met = permit.Met || x.Fired
			continue
		}
		if stages := s.annotation(x.Policy, "stage"); stages != "" && !slices.Contains(strings.Split(stages, ","), r.Step.To) {
			continue
		}
		out = append(out, Condition{x.Policy, !x.Fired || s.observed[cedar.PolicyID(x.Policy)], cmp.Or(x.Needs, "policy "+x.Policy+" does not forbid it"), x.Fix, x.Reads})
	}
	out = append(out, permit)
	slices.SortStableFunc(out, func(a, b Condition) int {
		switch {
		case a.Met == b.Met:
			return cmp.Compare(a.Policy, b.Policy)
		case a.Met:
			return 1
		default:
			return -1
		}
	})
	return out
}

// Obligations returns the values of an annotation of the policies that allowed
// something, by their ids: @shape("label_only") on a permit is what it allows
// things under.
func (s *Set) Obligations(dec warden.Decision, name string) []string {
	if dec.Effect != warden.Allow {
		return nil
	}
	var out []string
	for _, id := range dec.Because {
		if v := s.annotation(id, name); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (s *Set) annotation(id, name string) string {
	p := s.set.Get(cedar.PolicyID(id))
	if p == nil {
		return ""
	}
	return string(p.Annotations()[types.AnnotationKey(name)])
}

// Reasons returns the policies that determined a decision, with what each read.
func (s *Set) Reasons(r Request, dec warden.Decision) []Reason {
	return slices.DeleteFunc(s.Explain(r), func(x Reason) bool { return !slices.Contains(dec.Because, x.Policy) })
}

// reads returns the attributes that the conditions of a policy name.
func reads(p *cedar.Policy, entities cedar.EntityMap, req cedar.Request) []Value {
	out := []Value{}
	for _, c := range (*ast.Policy)(p.AST()).Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			path, ok := pathOf(n)
			if !ok {
				return true
			}
			if text := strings.Join(path, "."); !slices.ContainsFunc(out, func(r Value) bool { return r.Path == text }) {
				out = append(out, Value{text, valueOf(path, entities, req)})
			}
			return false
		})
	}
	slices.SortFunc(out, func(a, b Value) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// pathOf returns the names of a chain of attributes that begins with a variable.
func pathOf(n ast.IsNode) ([]string, bool) {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		if head, ok := variable(n.Arg); ok {
			return append(head, string(n.Value)), true
		}
		head, ok := pathOf(n.Arg)
		return append(head, string(n.Value)), ok
	case ast.NodeTypeHas:
		head, ok := variable(n.Arg)
		return append(head, string(n.Value)), ok
	default:
		return nil, false
	}
}

func variable(n ast.IsNode) ([]string, bool) {
	v, ok := n.(ast.NodeTypeVariable)
	if !ok {
		return nil, false
	}
	return []string{string(v.Name)}, true
}

func valueOf(path []string, entities cedar.EntityMap, req cedar.Request) string {
	record := cedar.Record{}
	switch path[0] {
	case "resource":
		record = entities[req.Resource].Attributes
	case "principal":
		record = entities[req.Principal].Attributes
	case "context":
		record = req.Context
	}
	for i, name := range path[1:] {
		v, ok := record.Get(cedar.String(name))
		if !ok {
			return ""
		}
		if i == len(path)-2 {
			return string(v.MarshalCedar())
		}
		inner, ok := v.(cedar.Record)
		if !ok {
			return ""
		}
		record = inner
	}
	return ""
}
