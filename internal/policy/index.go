package policy

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// An index finds the policies whose scope can match a request, so that a
// decision evaluates some of them and not all. It leaves out only policies whose
// scope names another action, principal, group, resource or type of resource;
// for each policy whose scope matches, Cedar still evaluates the whole.
type index struct {
	at map[place][]entry // in the order of the set
}

// A place is one combination of what scopes name. A zero UID or an empty type
// stands for scopes that name nothing there.
type place struct {
	action, principal, resource cedar.EntityUID
	kind                        cedar.EntityType // of the resource
}

type entry struct {
	id     cedar.PolicyID
	policy *cedar.Policy
}

func (x *index) add(id cedar.PolicyID, p *cedar.Policy) {
	a := (*ast.Policy)(p.AST())
	for _, action := range actionsOf(a.Action) {
		pl := place{action: action}
		switch s := a.Principal.(type) {
		case ast.ScopeTypeEq:
			pl.principal = s.Entity
		case ast.ScopeTypeIn:
			pl.principal = s.Entity
		case ast.ScopeTypeIsIn:
			pl.principal = s.Entity
		default: // every principal, or every one of a type
		}
		switch s := a.Resource.(type) {
		case ast.ScopeTypeEq:
			pl.resource = s.Entity
		case ast.ScopeTypeIn:
			pl.resource = s.Entity
		case ast.ScopeTypeIsIn:
			pl.resource = s.Entity
		case ast.ScopeTypeIs:
			pl.kind = s.Type
		default:
		}
		x.at[pl] = append(x.at[pl], entry{id, p})
	}
}

// actionsOf returns the actions that a scope names; a zero UID for all. The
// schema has no groups of actions.
func actionsOf(s ast.IsActionScopeNode) []cedar.EntityUID {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return []cedar.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []cedar.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	default:
		return []cedar.EntityUID{{}}
	}
}

// candidates are the policies to evaluate for one request.
type candidates struct {
	x        *index
	req      cedar.Request
	entities cedar.EntityMap
	without  map[cedar.PolicyID]bool // policies to leave out
}

// All implements [cedar.PolicyIterator]. A policy whose scope lists an action
// twice may come twice, which changes nothing.
func (c candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		principals := make([]cedar.EntityUID, 0, 8)
		principals = append(principals, cedar.EntityUID{}, c.req.Principal)
		for p := range c.entities[c.req.Principal].Parents.All() {
			principals = append(principals, p)
		}
		resources := []place{{}, {resource: c.req.Resource}, {kind: c.req.Resource.Type}}
		for p := range c.entities[c.req.Resource].Parents.All() {
			resources = append(resources, place{resource: p})
		}
		for _, action := range []cedar.EntityUID{{}, c.req.Action} {
			for _, principal := range principals {
				for _, r := range resources {
					r.action, r.principal = action, principal
					for _, e := range c.x.at[r] {
						if c.without[e.id] {
							continue
						}
						if !yield(e.id, e.policy) {
							return
						}
					}
				}
			}
		}
	}
}
