// Package prompt holds the checks of exchanges with models: what goes in and
// what comes out.
package prompt

import (
	"fmt"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/link"
	"github.com/modelwarden/warden/internal/text/overlap"
	"github.com/modelwarden/warden/internal/text/pii"
	"github.com/modelwarden/warden/internal/text/placeholder"
	"github.com/modelwarden/warden/internal/text/secret"
	"github.com/modelwarden/warden/internal/text/stream"
	"github.com/modelwarden/warden/rules"
)

// The slots of the recognisers that are not expressions; those come after.
const (
	slotEmail = iota
	slotRun
	slotMRZ
	slotSecret
	slotPEM
	slotJWT
	slotLongJWT
	slotBare
	slotImage
	slotTag
	slotTarget
	slotDefined
	slotStyle
	slotTerminal
	slotRestore
	slots
)

// unsafeGroup is the group of sequences for terminals, and the next that of
// expressions.
const unsafeGroup = 11

// scanner is what all exchanges share: the rules, and where recognisers are
// called.
type scanner struct {
	plan    *stream.Plan
	rules   []rules.OutputRule
	byKind  map[string]int
	secrets *secret.Rules
	recs    []stream.Recogniser // those that are the same for all
}

var shared = sync.OnceValues(newScanner)

func newScanner() (*scanner, error) {
	list, err := rules.Output()
	if err != nil {
		return nil, err
	}
	s := &scanner{rules: list, byKind: map[string]int{}, recs: make([]stream.Recogniser, slots)}
	if s.secrets, err = secret.Parse(rules.Secrets()); err != nil {
		return nil, err
	}
	triggers := []stream.Trigger{
		{Slot: slotEmail, Bytes: "@"},
		{Slot: slotRun, Runs: true},
		{Slot: slotMRZ, Words: []string{"<<"}},
		{Slot: slotSecret, Words: s.secrets.Words()},
		{Slot: slotPEM, Words: secret.PEMWords()},
		{Slot: slotJWT, Bytes: "."},
		{Slot: slotLongJWT, Words: []string{"eyj"}},
		{Slot: slotBare, Words: []string{"://"}},
		{Slot: slotImage, Bytes: "!"},
		{Slot: slotTag, Bytes: "<"},
		{Slot: slotTarget, Words: []string{"]("}},
		{Slot: slotDefined, Words: []string{"]:"}},
		{Slot: slotStyle, Words: []string{"url(", "@import"}},
		{Slot: slotTerminal, Bytes: "\x1b"},
		{Slot: slotRestore, Bytes: "["},
	}
	s.recs[slotEmail] = stream.Recogniser{Run: pii.Email}
	s.recs[slotMRZ] = stream.Recogniser{Run: pii.MRZ, Cap: pii.MRZCap}
	s.recs[slotSecret] = stream.Recogniser{Run: s.secrets.In, Cap: secret.WindowCap}
	s.recs[slotPEM] = stream.Recogniser{Run: secret.PEM}
	s.recs[slotJWT] = stream.Recogniser{Run: secret.JWT}
	s.recs[slotLongJWT] = stream.Recogniser{Run: secret.LongJWT, Cap: secret.TokenCap}
	s.recs[slotTerminal] = stream.Terminal("terminal", unsafeGroup)
	for i, r := range list {
		for _, k := range r.Kinds {
			s.byKind[k] = i
		}
		if len(r.Any) == 0 {
			continue
		}
		kind := string(r.ID)
		s.byKind[kind] = i
		triggers = append(triggers, stream.Trigger{Slot: len(s.recs), Words: r.Words})
		rec, err := stream.Expressions(r.Any, kind, unsafeGroup+1, r.Ahead)
		if err != nil {
			return nil, err
		}
		s.recs = append(s.recs, rec)
	}
	s.plan, err = stream.NewPlan(triggers)
	return s, err
}

// An OutputConfig says what the recognisers of an exchange look for.
type OutputConfig struct {
	PhoneRegions []string
	URLHosts     []string // host, or host with the beginning of a path
	ImageHosts   []string
	Words        int    // of the operator's text in a row; 0: 12, below 0: not looked for
	Canary       string // a word that stands in the operator's text only
	Restore      map[string]string
}

// An OutputScanner makes texts that are searched for one exchange.
type OutputScanner struct {
	*scanner
	recs    []stream.Recogniser
	tool    []stream.Recogniser // the same without placeholders
	print   *overlap.Print
	canary  string
	reasons []string
}

// defaultWords in a row of the operator's text are a leak.
const defaultWords = 12

// NewOutput returns the scanner of the answer to x.
func NewOutput(cfg OutputConfig, x *chat.Exchange) (*OutputScanner, error) {
	s, err := shared()
	if err != nil {
		return nil, fmt.Errorf("rules of answers: %w", err)
	}
	o := &OutputScanner{scanner: s, canary: cfg.Canary}
	o.recs = append(o.recs, s.recs...)
	personal := pii.Options{Regions: map[string]bool{}}
	for _, r := range cfg.PhoneRegions {
		personal.Regions[strings.ToUpper(r)] = true
	}
	o.recs[slotRun] = stream.Recogniser{Run: personal.Run}
	own, others := texts(x)
	links := &link.Policy{}
	for _, h := range cfg.URLHosts {
		links.Links = append(links.Links, link.ParseEntry(h))
	}
	for _, h := range cfg.ImageHosts {
		links.Images = append(links.Images, link.ParseEntry(h))
	}
	said := sync.OnceValue(func() *link.Context { return link.NewContext(append(own, others...)...) })
	if len(own)+len(others) > 0 {
		links.Known = func(part string) bool { return said().Known(part) }
	}
	o.recs[slotBare] = stream.Recogniser{Run: links.Bare, Cap: link.URLCap}
	for slot, run := range map[int]func(stream.Window) ([]stream.Match, stream.State){
		slotImage: links.Image, slotTag: links.Tag, slotTarget: links.Target, slotDefined: links.Defined, slotStyle: links.Style,
	} {
		o.recs[slot] = stream.Recogniser{Run: run, Cap: link.ConstructCap}
	}
	o.tool = append(o.tool, o.recs...)
	if len(cfg.Restore) > 0 {
		o.recs[slotRestore] = placeholder.In(cfg.Restore)
	}
	k := cfg.Words
	if k == 0 {
		k = defaultWords
	}
	if k < 0 {
		k, own = defaultWords, nil
	}
	if len(own) > 0 || o.canary != "" {
		o.print = overlap.New(k, own, others)
		if o.print.Full() {
			o.reasons = append(o.reasons, "the operator's text is longer than what answers are compared with")
		}
	}
	return o, nil
}

// texts returns what the operator said and what others did.
func texts(x *chat.Exchange) (own, others [][]byte) {
	if x == nil {
		return nil, nil
	}
	for _, m := range x.Messages {
		if m.Answer {
			continue
		}
		for _, p := range m.Parts {
			for _, t := range p.Origins(m) {
				from, to := max(0, min(t.Start, len(p.Text))), max(0, min(t.End, len(p.Text)))
				if from >= to {
					continue
				}
				if t.Origin == chat.Operator {
					own = append(own, p.Text[from:to])
				} else {
					others = append(others, p.Text[from:to])
				}
			}
		}
	}
	return own, others
}

// Reasons says what of the exchange could not be taken in.
func (o *OutputScanner) Reasons() []string { return o.reasons }

// Restores reports whether a match is of a placeholder, which is no finding.
func Restores(m stream.Match) bool { return m.Kind == placeholder.Kind }

// An OutputText is one text of an answer that is searched. It belongs to one
// goroutine.
type OutputText struct {
	*stream.Text
	used, defined map[string]bool
}

// Text returns a text that is searched: the argument of a tool, or another.
func (o *OutputScanner) Text(tool bool) *OutputText {
	recs := o.recs
	if tool {
		recs = o.tool
	}
	t := &OutputText{used: map[string]bool{}, defined: map[string]bool{}}
	if o.print != nil {
		t.Text = stream.New(o.plan, recs, o.print.Watch(o.canary))
	} else {
		t.Text = stream.New(o.plan, recs)
	}
	return t
}

// maxLabels is how many labels of references are remembered; past that each
// counts as one that was seen.
const maxLabels = 1024

// Add is Add of [stream.Text]. A reference to an image counts where its
// definition stands before it, and a definition where the reference does.
func (t *OutputText) Add(b []byte, last bool, tell func(stream.Match)) int64 {
	return t.Text.Add(b, last, func(m stream.Match) {
		seen, other := t.used, t.defined
		if m.Kind == link.Definition {
			seen, other = other, seen
		}
		if m.Kind == link.Use || m.Kind == link.Definition {
			if len(seen) < maxLabels {
				seen[m.Note] = true
			}
			if !other[m.Note] && len(other) < maxLabels {
				return
			}
			m.Kind, m.Note = "image", "by reference"
		}
		tell(m)
	})
}

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
