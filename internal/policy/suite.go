package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/modelwarden/warden"
)

// A Case is one request and what a policy set must say to it.
type Case struct {
	Name      string        `json:"name"`
	Principal string        `json:"principal"`
	Roles     []string      `json:"roles"`
	Action    Action        `json:"action"`
	Resource  string        `json:"resource"` // kind:id
	State     string        `json:"state"`    // of an artifact
	Stage     string        `json:"stage"`
	Task      string        `json:"task"`  // of a route
	Terms     string        `json:"terms"` // of a provider
	Step      Step          `json:"step"`
	Facts     Facts         `json:"facts"`
	Asked     Asked         `json:"asked"` // of a request to a route
	Found     Found         `json:"found"` // of an exchange in which a guard found something
	Expect    warden.Effect `json:"expect"`
	Because   string        `json:"because"` // a policy that must be among the reasons; "": any
}

// Bounds of a suite.
const (
	maxSuite = 4 << 20
	maxCases = 10_000
)

// ParseSuite reads cases from YAML, strictly.
func ParseSuite(name string, text []byte) (cases []Case, err error) {
	defer func() {
		if p := recover(); p != nil { // the YAML reader panics on some malformed texts
			cases, err = nil, fmt.Errorf("%s: malformed YAML: %v", name, p)
		}
	}()
	if len(text) > maxSuite {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", name, len(text), maxSuite)
	}
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, true))
	}
	var doc struct {
		Tests []json.RawMessage `json:"tests"`
	}
	if err := decodeStrict(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Tests) == 0 || len(doc.Tests) > maxCases {
		return nil, fmt.Errorf("%s: %d tests, want 1 to %d under the key tests", name, len(doc.Tests), maxCases)
	}
	for i, raw := range doc.Tests {
		var c Case
		if err := decodeStrict(raw, &c); err != nil {
			return nil, fmt.Errorf("%s: test %d (%s): %w", name, i+1, c.Name, err)
		}
		switch {
		case c.Name == "":
			return nil, fmt.Errorf("%s: test %d has no name", name, i+1)
		case c.Expect != warden.Allow && c.Expect != warden.Deny:
			return nil, fmt.Errorf("%s: test %q: expect %q, want allow or deny", name, c.Name, c.Expect)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func decodeStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// ErrCase is wrapped by errors of cases that came out otherwise.
var ErrCase = errors.New("not as expected")

// Run returns nil if s says what c expects at a time.
func (c Case) Run(s *Set, now time.Time) (warden.Decision, error) {
	ref := Recorded{Resource: c.Resource}.Request(c.Facts).Resource.Ref
	dec := s.Decide(Request{
		Principal: warden.Principal{ID: c.Principal, Roles: c.Roles}, Action: c.Action, Step: c.Step, Asked: c.Asked, Found: c.Found, Now: now,
		Resource: Resource{Ref: ref, Facts: c.Facts, State: c.State, Stage: c.Stage, Task: c.Task, Terms: c.Terms},
	})
	if dec.Effect != c.Expect || c.Because != "" && !slices.Contains(dec.Because, c.Because) {
		return dec, fmt.Errorf("%w: %s because %v, want %s because %s", ErrCase, dec.Effect, dec.Because, c.Expect, c.Because)
	}
	return dec, nil
}
