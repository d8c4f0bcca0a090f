package gateway

import (
	"strconv"
	"strings"
)

// A Source says who keeps a route.
type Source string

// The sources.
const (
	FromConfig Source = "config" // the configuration file
	FromStore  Source = "stored" // the database: administrators change it at run time
	FromDemo   Source = "demo"
)

// Check returns why a route cannot be served; nil: it can. Nothing is kept.
func (g *Gateway) Check(r Route) error {
	made, err := g.route(r)
	if err != nil {
		return err
	}
	made.close()
	return nil
}

// Running returns how many exchanges run in this process now.
func (g *Gateway) Running() int {
	g.load.mu.Lock()
	defer g.load.mu.Unlock()
	return g.load.all
}

// forbidden says why a provider's model is not used, and what would permit it.
func forbidden(t *target, because []string) string {
	hint := "let a policy permit it: permit (principal, action == Action::\"use\", resource == Provider::" + strconv.Quote(t.Provider) + ");"
	if t.Terms == "" {
		hint = "name the contract with terms: TEXT in the route, or " + hint
	}
	return "policy does not permit the provider's model " + t.Provider + " (" + strings.Join(because, ", ") + "; hint: " + hint + ")"
}
