// Package prompt holds the checks of exchanges with models: what goes in and
// what comes out.
package prompt

import (
	"fmt"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/text/pii"
	"github.com/modelwarden/warden/internal/text/stream"
	"github.com/modelwarden/warden/rules"
)

// The slots of the recognisers that are not text rules; those come after.
const (
	slotEmail = iota
	slotRun
	slots
)

// scanner is what all exchanges share: the rules, and where recognisers are
// called.
type scanner struct {
	plan   *stream.Plan
	rules  []rules.OutputRule
	byKind map[string]int
}

var shared = sync.OnceValues(func() (*scanner, error) {
	list, err := rules.Output()
	if err != nil {
		return nil, err
	}
	s := &scanner{rules: list, byKind: map[string]int{}}
	triggers := []stream.Trigger{{Slot: slotEmail, Bytes: "@"}, {Slot: slotRun, Runs: true}}
	for i, r := range list {
		for _, k := range r.Kinds {
			s.byKind[k] = i
		}
	}
	s.plan, err = stream.NewPlan(triggers)
	return s, err
})

// An OutputConfig says what the recognisers of an exchange look for.
type OutputConfig struct {
	PhoneRegions []string
}

// An OutputScanner makes texts that are searched for one exchange.
type OutputScanner struct {
	*scanner
	recs []stream.Recogniser
}

// NewOutput returns the scanner of an exchange.
func NewOutput(cfg OutputConfig) (*OutputScanner, error) {
	s, err := shared()
	if err != nil {
		return nil, fmt.Errorf("rules of answers: %w", err)
	}
	recs := make([]stream.Recogniser, slots)
	recs[slotEmail] = stream.Recogniser{Run: pii.Email}
	personal := pii.Options{Regions: map[string]bool{}}
	for _, r := range cfg.PhoneRegions {
		personal.Regions[r] = true
	}
	recs[slotRun] = stream.Recogniser{Run: personal.Run}
	return &OutputScanner{s, recs}, nil
}

// Text returns a text that is searched.
func (o *OutputScanner) Text() *stream.Text { return stream.New(o.plan, o.recs) }

// Rule returns the rule of a match, and the severity it has in a tool's argument
// or elsewhere.
func (o *OutputScanner) Rule(m stream.Match, tool bool) (rules.OutputRule, warden.Severity, bool) {
	i, ok := o.byKind[m.Kind]
	if !ok {
		return rules.OutputRule{}, 0, false
	}
	r := o.rules[i]
	if tool {
		return r, r.Severity, true
	}
	return r, r.Chat, true
}
