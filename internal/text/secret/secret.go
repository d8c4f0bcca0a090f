// Package secret finds keys, tokens and passwords in text by rules that are
// data. A word that a rule knows is looked for first; only then is the rule's
// expression compiled and run over the text around the word.
//
// Source: the rules and their meaning are those of gitleaks 8 (MIT). Words and
// expressions are compared near each other here, not anywhere in one file.
package secret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/modelwarden/warden/internal/text"
)

// ErrTable is wrapped by [Parse] for a table that is not acceptable.
var ErrTable = errors.New("invalid table of secret rules")

// Rules is a set of rules. It is safe for concurrent use.
type Rules struct {
	rules []*rule
	words *text.Words
	of    [][]int // the rules of each word
	size  []int   // of each word
	list  []string
	allow []*allow
}

// A rule is compiled when its first word is found.
type rule struct {
	id, text string
	entropy  float64
	group    int
	path     string
	long     bool // its matches may be longer than a line
	generic  bool // told by the words around it only
	allow    []*allow
	compiled func() (expressions, error)
}

type expressions struct{ match, path *regexp.Regexp }

// An allow list says which matches are no secrets.
type allow struct {
	target   string // secret, match or line
	not      []string
	stop     []string
	compiled func() ([]*regexp.Regexp, error)
}

// A Hit is a place that holds a secret.
type Hit struct {
	Rule       string
	Start, End int  // of the secret itself
	Generic    bool // told by the words around it only
}

// Parse reads a table. Lines hold tab-separated fields and begin with what they
// say: "rule" (id, least entropy, group of the secret, expression of file names,
// expression), "words" of the rule before, "allow" of the rule before or of all
// (what its expressions look at), and its "not" and "stop" lines.
func Parse(table string) (*Rules, error) {
	r := &Rules{}
	byWord := map[string][]int{}
	var last *rule
	var list *allow
	n := 0
	for line := range strings.Lines(table) {
		n++
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		kind := f[0]
		switch {
		case kind == "" || kind[0] == '#':
		case kind == "rule" && len(f) == 6:
			var err error
			if last, err = newRule(f); err != nil {
				return nil, fmt.Errorf("%w: line %d: %w", ErrTable, n, err)
			}
			r.rules = append(r.rules, last)
		case kind == "words" && last != nil && len(f) > 1:
			for _, w := range f[1:] {
				byWord[w] = append(byWord[w], len(r.rules)-1)
			}
		case kind == "allow" && len(f) == 2 && (f[1] == "secret" || f[1] == "match" || f[1] == "line"):
			list = newAllow(f[1])
			if last == nil {
				r.allow = append(r.allow, list)
			} else {
				last.allow = append(last.allow, list)
			}
		case kind == "not" && list != nil && len(f) == 2:
			list.not = append(list.not, f[1])
		case kind == "stop" && list != nil && len(f) == 2:
			list.stop = append(list.stop, f[1])
		default:
			return nil, fmt.Errorf("%w: line %d: %q is not expected here", ErrTable, n, kind)
		}
	}
	if len(r.rules) == 0 || len(byWord) == 0 {
		return nil, fmt.Errorf("%w: no rules", ErrTable)
	}
	for w, rules := range byWord {
		r.list = append(r.list, w)
		r.of, r.size = append(r.of, rules), append(r.size, len(w))
	}
	var err error
	r.words, err = text.NewWords(r.list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTable, err)
	}
	return r, nil
}

func newRule(f []string) (*rule, error) {
	entropy, err1 := strconv.ParseFloat(f[2], 64)
	group, err2 := strconv.Atoi(f[3])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	r := &rule{id: f[1], text: f[5], entropy: entropy, group: group, path: f[4], generic: strings.HasPrefix(f[1], "generic")}
	for _, mark := range []string{`[\s\S`, `(?s:.)`, ".*", ",}", "{250,", "{90,"} {
		r.long = r.long || strings.Contains(r.text, mark)
	}
	r.compiled = sync.OnceValues(func() (x expressions, err error) {
		if x.match, err = regexp.Compile(r.text); err == nil && r.path != "" {
			x.path, err = regexp.Compile(r.path)
		}
		if err != nil {
			err = fmt.Errorf("rule %s: %w", r.id, err)
		}
		return x, err
	})
	return r, nil
}

func newAllow(target string) *allow {
	a := &allow{target: target}
	a.compiled = sync.OnceValues(func() (list []*regexp.Regexp, err error) {
		for _, text := range a.not {
			x, err := regexp.Compile(text)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	})
	return a
}

// Check compiles every expression, which use puts off.
func (r *Rules) Check() error {
	var errs []error
	lists := slices.Clone(r.allow)
	for _, x := range r.rules {
		_, err := x.compiled()
		errs = append(errs, err)
		lists = append(lists, x.allow...)
	}
	for _, a := range lists {
		_, err := a.compiled()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// How much text around a word an expression sees, and how much it is given at
// once, in bytes. [Reach] is the most that a match can extend.
const (
	Reach    = 8 << 10
	near     = 192
	ahead    = 640
	atOnce   = 64 << 10
	maxFound = 1000
)

// A span is a part of the text that a rule has to look at.
type span struct{ start, end int }

// Find looks for secrets in b, the text of a file of the name, that begin at lo
// or later and before hi. What lies around that helps to tell. It returns what
// it has found beside the error of ctx.
func (r *Rules) Find(ctx context.Context, name string, b []byte, lo, hi int) ([]Hit, error) {
	return r.find(ctx.Err, name, b, lo, hi)
}

// find is Find; stop says why to end early.
func (r *Rules) find(stop func() error, name string, b []byte, lo, hi int) ([]Hit, error) {
	var open []span // of each rule, once one is called for
	var hits []Hit
	var failed error
	var found [2]int // generic ones apart: they may not hide the others
	flush := func(i int) {
		s := open[i]
		open[i] = span{}
		if s.end == 0 || found[boolean(r.rules[i].generic)] >= maxFound {
			return
		}
		if failed = stop(); failed != nil {
			return
		}
		before := len(hits)
		hits, failed = r.match(r.rules[i], name, b, s, hits)
		found[boolean(r.rules[i].generic)] += len(hits) - before
	}
	words := 0
	r.words.Each(b, func(word, start, end int) bool {
		if words++; words&4095 == 0 && failed == nil {
			failed = stop()
		}
		if r.size[word] <= shortWord && !strung(b, start, end) {
			return failed == nil
		}
		for _, i := range r.of[word] {
			if r.rules[i].generic && !valued(b[end:min(len(b), end+valueWithin)]) {
				continue
			}
			if open == nil {
				open = make([]span, len(r.rules))
			}
			from, to := max(0, start-near), min(len(b), end+ahead)
			if r.rules[i].long {
				from, to = max(0, start-2*near), min(len(b), end+Reach)
			}
			if s := open[i]; s.end > 0 && (from > s.end || to-s.start > atOnce) {
				flush(i)
			}
			if open[i].end == 0 {
				open[i].start = from
			}
			open[i].end = to
		}
		return failed == nil
	})
	for i := range open {
		if failed == nil {
			flush(i)
		}
	}
	hits = slices.DeleteFunc(hits, func(h Hit) bool { return h.Start < lo || h.Start >= hi })
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), boolean(a.Generic)-boolean(b.Generic), cmp.Compare(a.Rule, b.Rule))
	})
	apart := hits[:0] // one place is one secret
	for _, h := range hits {
		switch n := len(apart); {
		case n == 0 || h.Start >= apart[n-1].End:
			apart = append(apart, h)
		case apart[n-1].Generic && !h.Generic: // the rule that knows more counts
			apart[n-1] = h
		}
	}
	return apart, failed
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Words of so few letters are everywhere: they count only beside a run of
// letters as long as the secrets of their rules.
const (
	shortWord = 3
	shortRun  = 16
)

// runs are the bytes of such runs.
var runs = func() (in [256]bool) {
	for c := range in {
		in[c] = token(byte(c))
	}
	return in
}()

// strung reports whether a run of letters and digits lies at the word.
func strung(b []byte, start, end int) bool {
	run := 0
	for _, c := range b[max(0, start-shortRun):min(len(b), end+4*shortRun)] {
		if !runs[c] {
			run = 0
		} else if run++; run == shortRun {
			return true
		}
	}
	return false
}

// A generic secret has at least so many letters, not all of them letters of the
// alphabet, and begins so near to its word.
const (
	valueRun    = 10
	valueWithin = 256
)

// valued reports whether b holds what could be the value of a generic secret.
func valued(b []byte) bool {
	run, mixed := 0, false
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c == '=', c == '+', c == '/':
			run, mixed = run+1, true
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '-', c == '.':
			run++
		default:
			run, mixed = 0, false
		}
		if run >= valueRun && mixed {
			return true
		}
	}
	return false
}

// match runs the expression of a rule over a part of b.
func (r *Rules) match(x *rule, name string, b []byte, s span, hits []Hit) ([]Hit, error) {
	e, err := x.compiled()
	if err != nil || e.path != nil && !e.path.MatchString(name) {
		return hits, err
	}
	part := b[s.start:s.end]
	for _, m := range e.match.FindAllSubmatchIndex(part, -1) {
		if m[1] == len(part) && s.end < len(b) {
			continue // it may go on
		}
		from, to := m[0], m[1]
		for g := 1; g < len(m)/2; g++ {
			if (x.group == 0 || x.group == g) && m[2*g] >= 0 && m[2*g] < m[2*g+1] {
				from, to = m[2*g], m[2*g+1]
				break
			}
		}
		for from < to && part[from] == '\n' {
			from++
		}
		if x.entropy > 0 && entropy(part[from:to]) <= x.entropy {
			continue
		}
		ok, err := r.allowed(x, part, m[0], m[1], string(part[from:to]))
		if err != nil {
			return hits, err
		}
		if !ok {
			hits = append(hits, Hit{Rule: x.id, Start: s.start + from, End: s.start + to, Generic: x.generic})
		}
	}
	return hits, nil
}

// allowed reports whether an allow list knows the match.
func (r *Rules) allowed(x *rule, b []byte, from, to int, secret string) (bool, error) {
	for _, a := range slices.Concat(r.allow, x.allow) {
		target := secret
		switch a.target {
		case "match":
			target = string(b[from:to])
		case "line":
			start := strings.LastIndexByte(string(b[:from]), '\n') + 1
			end := len(b)
			if i := strings.IndexByte(string(b[to:]), '\n'); i >= 0 {
				end = to + i
			}
			target = string(b[start:end])
		}
		list, err := a.compiled()
		if err != nil {
			return false, err
		}
		for _, not := range list {
			if not.MatchString(target) {
				return true, nil
			}
		}
		small := strings.ToLower(secret)
		for _, w := range a.stop {
			if strings.Contains(small, w) {
				return true, nil
			}
		}
	}
	return false, nil
}

// entropy is that of Shannon, in bits per byte.
func entropy(b []byte) float64 {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	e, n := 0.0, float64(len(b))
	for _, c := range count {
		if c > 0 {
			p := float64(c) / n
			e -= p * math.Log2(p)
		}
	}
	return e
}

// Redact tells what a secret looks like without telling it: at most four letters
// of the beginning, and the length.
func Redact(secret string) string {
	const shown = 4
	head := ""
	for _, c := range secret {
		if len(secret) < 4*shown || len(head) == shown || c < ' ' || c > '~' {
			break
		}
		head += string(c)
	}
	return fmt.Sprintf("%s… (%d characters)", head, len(secret))
}
