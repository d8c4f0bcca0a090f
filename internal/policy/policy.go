package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/modelwarden/warden"
)

// Engine names what evaluates policies; decisions keep it.
const Engine = "cedar-go 1.9.0"

// ErrPolicy is wrapped by [NewSet] for a policy that does not parse or does not
// fit the schema. The message names file, line, column and policy.
var ErrPolicy = errors.New("invalid policy")

// A Source is one policy file.
type Source struct {
	Name string `json:"name"` // shown in errors
	Text []byte `json:"-"`
}

// A Set is an immutable, validated set of policies. It is safe for concurrent use.
type Set struct {
	name    string // name@digest
	digest  warden.Digest
	text    []byte // canonical, named by digest
	sources []Source
	set     *cedar.PolicySet
	index   *index
	ids     []string // @id annotations, sorted

	memo     *memo
	observed map[cedar.PolicyID]bool // forbids with @observe: they report and do not deny
}

// Bounds of a policy set: what is evaluated at every request has an end.
const (
	MaxPolicies    = 10_000
	MaxPolicyBytes = 4 << 20
)

// NewSet parses and validates policies. Each policy needs an @id that is unique
// in the set. The schema is the text that rules.PolicySchema returns.
func NewSet(name string, schemaText []byte, sources ...Source) (*Set, error) {
	check, err := validator(schemaText)
	if err != nil {
		return nil, err
	}
	s := &Set{set: cedar.NewPolicySet(), index: &index{at: map[place][]entry{}}, memo: newMemo(), observed: map[cedar.PolicyID]bool{}, sources: slices.Clone(sources)}
	size := 0
	for _, src := range sources {
		if size += len(src.Text); size > MaxPolicyBytes {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrPolicy, MaxPolicyBytes)
		}
		if err := s.parse(src, check); err != nil {
			return nil, err
		}
	}
	if len(s.ids) == 0 {
		return nil, fmt.Errorf("%w: no policy in %d files", ErrPolicy, len(sources))
	}
	slices.Sort(s.ids)
	slices.SortFunc(s.sources, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	if s.text, err = encode(s.sources); err != nil {
		return nil, err
	}
	s.digest = warden.Sum(s.text)
	s.name = name + "@" + s.digest.String()
	return s, nil
}

func validator(schemaText []byte) (*validate.Validator, error) {
	var sch schema.Schema
	if err := sch.UnmarshalCedar(schemaText); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	resolved, err := sch.Resolve()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return validate.New(resolved), nil
}

func (s *Set) parse(src Source, check *validate.Validator) error {
	if err := bounded(src); err != nil {
		return err
	}
	list, err := cedar.NewPolicyListFromBytes(src.Name, src.Text)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrPolicy, parseError(src.Name, err))
	}
	for _, p := range list {
		id, at := string(p.Annotations()["id"]), p.Position()
		where := fmt.Sprintf("%s:%d:%d", src.Name, at.Line, at.Column)
		if id == "" {
			return fmt.Errorf("%w: %s: policy without @id(\"…\")", ErrPolicy, where)
		}
		if err := check.Policy(id, (*ast.Policy)(p.AST())); err != nil {
			return fmt.Errorf("%w: %s: policy %q: %s", ErrPolicy, locate(src, p, err), id, reasonOf(id, err))
		}
		if !s.set.Add(cedar.PolicyID(id), p) {
			return fmt.Errorf("%w: %s: policy id %q is used twice", ErrPolicy, where, id)
		}
		if s.ids = append(s.ids, id); len(s.ids) > MaxPolicies {
			return fmt.Errorf("%w: %s: more than %d policies", ErrPolicy, where, MaxPolicies)
		}
		if _, ok := p.Annotations()["observe"]; ok && p.Effect() == cedar.Forbid {
			s.observed[cedar.PolicyID(id)] = true
		}
		s.index.add(cedar.PolicyID(id), p)
		s.memo.learn(p)
	}
	return nil
}

// Bounds of one policy. The parser and the evaluator recurse as deep as a policy
// nests, and a text of nothing but brackets would end the process.
const (
	maxPolicyBytes = 16 << 10
	maxNesting     = 100
	maxDots        = 1000 // checking a chain of attributes takes more than square time
)

// bounded refuses policies that are too long or nest too deep, before they are
// parsed.
func bounded(src Source) error {
	var (
		begin, depth, line, dots int
		quoted, comment          bool
	)
	too := func(what string) error { return fmt.Errorf("%w: %s:%d:1: %s", ErrPolicy, src.Name, line+1, what) }
	for i := 0; i < len(src.Text); i++ {
		c := src.Text[i]
		if c == '\n' {
			line++
		}
		switch {
		case comment:
			comment = c != '\n'
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '/' && i+1 < len(src.Text) && src.Text[i+1] == '/':
			comment = true
		case c == '(' || c == '[' || c == '{':
			if depth++; depth > maxNesting {
				return too(fmt.Sprintf("brackets are nested deeper than %d", maxNesting))
			}
		case c == ')' || c == ']' || c == '}':
			depth = max(0, depth-1)
		case c == '.':
			if dots++; dots > maxDots {
				return too(fmt.Sprintf("a policy names more than %d attributes", maxDots))
			}
		case c == ';':
			begin, dots = i, 0
		}
		if i-begin > maxPolicyBytes {
			return too(fmt.Sprintf("a policy is longer than %d bytes", maxPolicyBytes))
		}
	}
	return nil
}

// parseError says where a text is no policy, as file:line:column.
func parseError(name string, err error) string {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	if m := regexp.MustCompile(`^parse error at [^:]*:(\d+):(\d+) (.*)`).FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s:%s:%s: %s", name, m[1], m[2], m[3])
	}
	return name + ": " + text
}

// reasonOf returns the last line of a validation error: for which types of
// resource a policy was tried does not matter to who wrote it.
func reasonOf(id string, err error) string {
	lines := strings.Split(err.Error(), "\n")
	pick := lines[0]
	for _, l := range lines {
		if strings.Contains(l, "entity type `Artifact`") {
			pick = l
		}
	}
	return strings.TrimPrefix(pick, "for policy `"+id+"`, ")
}

// locate returns the place of what a validation error names, inside its policy,
// or of the policy.
func locate(src Source, p *cedar.Policy, err error) string {
	at := p.Position()
	from := max(0, min(at.Offset, len(src.Text)))
	line, column := at.Line, at.Column
	if m := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(reasonOf(string(p.Annotations()["id"]), err), -1); m != nil {
		for _, quoted := range m {
			word := strings.Trim(quoted[1], `"`)
			if i := strings.LastIndexAny(word, `."`); i >= 0 {
				word = word[i+1:]
			}
			if i := strings.Index(string(src.Text[from:]), word); word != "" && i >= 0 {
				before := string(src.Text[:from+i])
				line = 1 + strings.Count(before, "\n")
				column = 1 + len([]rune(before[strings.LastIndex(before, "\n")+1:]))
				break
			}
		}
	}
	return src.Name + ":" + strconv.Itoa(line) + ":" + strconv.Itoa(column)
}

type namedText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func encode(sources []Source) ([]byte, error) {
	var all []namedText
	for _, s := range sources {
		all = append(all, namedText{s.Name, string(s.Text)})
	}
	return warden.Canonical(all)
}

// DecodeSources reads the text of a set, as [Set.Text] returns it.
func DecodeSources(text []byte) ([]Source, error) {
	var all []namedText
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	var out []Source
	for _, s := range all {
		out = append(out, Source{s.Name, []byte(s.Text)})
	}
	return out, nil
}

// Name returns "name@digest", which decisions carry.
func (s *Set) Name() string { return s.name }

// Digest names the set: SHA-256 of its text.
func (s *Set) Digest() warden.Digest { return s.digest }

// Text returns the canonical JSON of the sources.
func (s *Set) Text() []byte { return slices.Clone(s.text) }

// Sources returns the files of the set, by name.
func (s *Set) Sources() []Source { return slices.Clone(s.sources) }

// IDs returns the ids of the policies, sorted.
func (s *Set) IDs() []string { return slices.Clone(s.ids) }

// Decide evaluates r. Default is deny, a forbid beats every permit, and an
// error in any policy denies: a forbid that failed must not let anything pass.
func (s *Set) Decide(r Request) warden.Decision {
	k, steady := s.memo.key(r)
	if !steady {
		return s.evaluate(r)
	}
	if d, ok := s.memo.get(k); ok {
		return d
	}
	d := s.evaluate(r)
	d.Because = slices.Clip(d.Because)
	s.memo.put(k, d)
	return d
}

func (s *Set) evaluate(r Request) warden.Decision {
	dec := warden.Decision{Effect: warden.Deny, Subject: r.Resource.Ref, Policy: s.Name()}
	entities, req := request(r)
	effect, diag := cedar.Authorize(candidates{s.index, req, entities, nil}, entities, req)
	for _, reason := range diag.Reasons {
		dec.Because = append(dec.Because, string(reason.PolicyID))
	}
	slices.Sort(dec.Because)
	dec.Because = slices.Compact(dec.Because)
	if len(diag.Errors) > 0 {
		failed := string(diag.Errors[0].PolicyID)
		for _, e := range diag.Errors {
			failed = min(failed, string(e.PolicyID))
		}
		dec.Because = []string{"error:" + failed}
		return dec
	}
	if effect == cedar.Deny && s.observes(diag.Reasons) {
		// Once more without those that only observe. They came without an error.
		effect, diag = cedar.Authorize(candidates{s.index, req, entities, s.observed}, entities, req)
		enforced := make([]string, 0, len(diag.Reasons)+len(dec.Because))
		for _, reason := range diag.Reasons {
			enforced = append(enforced, string(reason.PolicyID))
		}
		for _, id := range dec.Because {
			if s.observed[cedar.PolicyID(id)] {
				enforced = append(enforced, Observed+id)
			}
		}
		if effect == cedar.Deny && len(diag.Reasons) == 0 {
			enforced = append(enforced, NoPermit)
		}
		dec.Because = enforced
		slices.Sort(dec.Because)
		dec.Because = slices.Compact(dec.Because)
	}
	if effect == cedar.Allow {
		dec.Effect = warden.Allow
	}
	if len(dec.Because) == 0 {
		dec.Because = []string{NoPermit}
	}
	return dec
}

// Observed stands in Decision.Because before the id of a forbid that would have
// denied the request, had it not the annotation @observe.
const Observed = "observed:"

// observes reports whether some reason only observes.
func (s *Set) observes(reasons []cedar.DiagnosticReason) bool {
	return slices.ContainsFunc(reasons, func(r cedar.DiagnosticReason) bool { return s.observed[r.PolicyID] })
}

// NoPermit stands in Decision.Because when no policy permitted the request.
const NoPermit = "default-deny"
