package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ErrGrant is wrapped by [ParseGrant] for text that is no grant.
var ErrGrant = errors.New("malformed role")

// A Grant is a role: everywhere, or for the models that some patterns name. As
// text, which is how principals carry it, it is "engineer" or
// "engineer@team-a/*,lab". To Cedar only the resolved role is a group, so a
// grant that nobody resolved permits nothing.
type Grant struct {
	Role   string
	Models []string // patterns as trust entries have them: team/*, team; none: everywhere
}

// maxPatterns bounds the patterns of one grant.
const maxPatterns = 100

// ParseGrant reads the text of a grant. It does not know which roles exist.
func ParseGrant(text string) (Grant, error) {
	role, scope, scoped := strings.Cut(text, "@")
	if role == "" || len(text) > 1000 {
		return Grant{}, fmt.Errorf("%w %.100q: want ROLE or ROLE@NAMESPACE,NAMESPACE/MODEL", ErrGrant, text)
	}
	g := Grant{Role: role}
	if !scoped {
		return g, nil
	}
	g.Models = strings.Split(scope, ",")
	if len(g.Models) > maxPatterns {
		return Grant{}, fmt.Errorf("%w: %d patterns, at most %d", ErrGrant, len(g.Models), maxPatterns)
	}
	for _, p := range g.Models {
		if _, err := path.Match(p, "a/b"); err != nil || p == "" || strings.Count(p, "/") > 1 || strings.ContainsAny(p, " @\t\n") {
			return Grant{}, fmt.Errorf("%w %.100q: %q is no pattern of model names such as team/*", ErrGrant, text, p)
		}
	}
	slices.Sort(g.Models)
	g.Models = slices.Compact(g.Models)
	return g, nil
}

// String returns g as text.
func (g Grant) String() string {
	if len(g.Models) == 0 {
		return g.Role
	}
	return g.Role + "@" + strings.Join(g.Models, ",")
}

// covers reports whether g holds for a model.
func (g Grant) covers(model string) bool {
	if len(g.Models) == 0 {
		return true
	}
	namespace, _, _ := strings.Cut(model, "/")
	return slices.ContainsFunc(g.Models, func(p string) bool {
		ok, err := path.Match(p, model)
		return err == nil && (ok || p == namespace)
	})
}

// Resolve returns the roles of a principal that hold for action on something
// that goes by these model names. Reading bytes takes one name that a grant
// covers; whatever changes something takes all of them, as it changes them all.
// Roles that hold everywhere always do. Text that is no grant holds nowhere.
func Resolve(roles []string, action Action, models ...string) []string {
	out := []string{}
	for _, text := range roles {
		g, err := ParseGrant(text)
		if err != nil {
			continue
		}
		uncovered := func(m string) bool { return !g.covers(m) }
		holds := len(g.Models) == 0
		switch {
		case holds || len(models) == 0:
		case action == Retrieve || action == Read:
			holds = slices.ContainsFunc(models, g.covers)
		default:
			holds = !slices.ContainsFunc(models, uncovered)
		}
		if holds && !slices.Contains(out, g.Role) {
			out = append(out, g.Role)
		}
	}
	return out
}

// Anywhere returns the roles of a principal that hold for at least one model:
// for what is not about any yet, as uploading bytes.
func Anywhere(roles []string) []string {
	out := []string{}
	for _, text := range roles {
		if g, err := ParseGrant(text); err == nil && !slices.Contains(out, g.Role) {
			out = append(out, g.Role)
		}
	}
	return out
}

// Scoped reports whether some role holds for some models only.
func Scoped(roles []string) bool {
	return slices.ContainsFunc(roles, func(text string) bool { return strings.Contains(text, "@") })
}
