package prompt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/decode"
	"github.com/modelwarden/warden/internal/text/view"
	"github.com/modelwarden/warden/rules"
)

// Limits bound what is read of one request. Zero fields are the defaults.
type Limits struct {
	Messages int   // 2,048
	Parts    int   // 8,192
	Calls    int   // of tools in one message; 256
	Bytes    int64 // of all text; 8 MiB
}

func (l Limits) orDefault() Limits {
	if l.Messages == 0 {
		l.Messages = 2048
	}
	if l.Parts == 0 {
		l.Parts = 8192
	}
	if l.Calls == 0 {
		l.Calls = 256
	}
	if l.Bytes == 0 {
		l.Bytes = 8 << 20
	}
	return l
}

// An InputConfig says what is known about the exchanges of a route.
type InputConfig struct {
	Limits  Limits
	Unseen  []chat.PartKind // kinds of parts that may pass without being looked at
	Tools   []Tool
	Flows   []Flow
	Tensors []TensorSpec
	Body    []byte // of the request, which tensors point into
}

// A Text is a stretch of a part that one author wrote.
type Text struct {
	Message, Part int
	Start         int // in the part
	Source        []byte
	Origin        chat.Origin
	Label         string
	View          view.View
	Decoded       []decode.Found

	hits     []hit
	exceeded []string
}

// A hit is what a rule of words matched, in the source of its text.
type hit struct {
	rule, start, end int
	chain            string // of encodings it stood in
	quoted           bool
}

// Untrusted reports whether neither the operator nor the user wrote it.
func (t *Text) Untrusted() bool { return t.Origin == chat.Untrusted }

func (t *Text) path() string { return fmt.Sprintf("messages/%d/parts/%d", t.Message, t.Part) }

func (t *Text) at(start, end int) warden.Location {
	return warden.Location{Path: t.path(), Span: warden.Span{Unit: warden.Bytes, Start: int64(t.Start + start), End: int64(t.Start + end)}}
}

// An Input is an exchange with what its checks share, computed once. It is not
// changed after [NewInput].
type Input struct {
	Exchange *chat.Exchange
	Texts    []Text
	Config   InputConfig
	scanner  *inputScanner
	reasons  []string
}

// inputScanner is what all inputs share.
type inputScanner struct {
	rules  []rules.InputRule
	byKind map[string]int
	byID   map[warden.RuleID]int
	words  *wordIndex
}

var sharedInput = sync.OnceValues(func() (*inputScanner, error) {
	list, err := rules.Input()
	if err != nil {
		return nil, err
	}
	s := &inputScanner{rules: list, byKind: map[string]int{}, byID: map[warden.RuleID]int{}}
	for i, r := range list {
		s.byID[r.ID] = i
		for _, k := range r.Kinds {
			s.byKind[k] = i
		}
	}
	s.words, err = newWordIndex(list)
	return s, err
})

// errUnseen is wrapped by the error of [Input.Err].
var errUnseen = errors.New("not looked at")

// NewInput reads x. What it does not read, because it may not or cannot, is said
// by [Input.Reasons]. It returns an error if the rules cannot be read, or as soon
// as ctx ends.
func NewInput(ctx context.Context, x *chat.Exchange, cfg InputConfig) (*Input, error) {
	s, err := sharedInput()
	if err != nil {
		return nil, fmt.Errorf("rules of requests: %w", err)
	}
	in := &Input{Exchange: x, Config: cfg, scanner: s}
	if err := in.read(ctx, cfg.Limits.orDefault()); err != nil {
		return in, err
	}
	for i := range in.Texts {
		if err := in.look(ctx, &in.Texts[i]); err != nil {
			return in, err
		}
	}
	return in, nil
}

// Loaded reports whether the rules of requests can be read.
func Loaded() error {
	_, err := sharedInput()
	return err
}

// Unseen reports whether an error only repeats [Input.Reasons].
func (in *Input) Unseen(err error) bool { return errors.Is(err, errUnseen) }

// UntrustedAt reports whether neither the operator nor the user wrote the text at
// a place.
func (in *Input) UntrustedAt(at warden.Location) bool {
	for i := range in.Texts {
		t := &in.Texts[i]
		if t.path() == at.Path && int64(t.Start) <= at.Span.Start && at.Span.End <= int64(t.Start+len(t.Source)) {
			return t.Untrusted()
		}
	}
	return false
}

// Reasons says what was not looked at.
func (in *Input) Reasons() []string { return in.reasons }

func (in *Input) unseen(format string, args ...any) {
	if why := fmt.Sprintf(format, args...); len(in.reasons) < 100 && !slices.Contains(in.reasons, why) {
		in.reasons = append(in.reasons, why)
	}
}

// read takes in the texts of the request, up to the limits.
func (in *Input) read(ctx context.Context, lim Limits) error {
	parts, size := 0, int64(0)
	for i, m := range in.Exchange.Messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i >= lim.Messages {
			in.unseen("more than %d messages", lim.Messages)
			return nil
		}
		calls := 0
		for j, p := range m.Parts {
			if parts++; parts > lim.Parts {
				in.unseen("more than %d parts", lim.Parts)
				return nil
			}
			if p.Kind == chat.ToolCall {
				if calls++; calls > lim.Calls {
					in.unseen("messages/%d: more than %d calls of tools", i, lim.Calls)
					continue
				}
			}
			if size += int64(len(p.Text)); size > lim.Bytes {
				in.unseen("more than %d bytes of text", lim.Bytes)
				return nil
			}
			in.part(i, j, m, p)
		}
	}
	return nil
}

// part takes in the text of a part by its authors.
func (in *Input) part(i, j int, m chat.Message, p chat.Part) {
	switch {
	case slices.Contains(in.Config.Unseen, p.Kind):
		if len(p.Text) == 0 {
			return
		}
	case p.Kind == chat.Unknown:
		in.unseen("messages/%d/parts/%d is of an unknown kind", i, j)
	case p.Blob != nil && len(p.Text) == 0:
		in.unseen("messages/%d/parts/%d: %s without text", i, j, p.Kind)
	}
	if m.Answer {
		return
	}
	last := 0
	for _, o := range p.Origins(m) {
		from, to := max(last, min(o.Start, len(p.Text))), max(0, min(o.End, len(p.Text)))
		if from > last { // a gap: nobody vouches for it
			in.Texts = append(in.Texts, Text{Message: i, Part: j, Start: last, Source: p.Text[last:from], Origin: chat.Untrusted})
		}
		if from < to {
			in.Texts = append(in.Texts, Text{Message: i, Part: j, Start: from, Source: p.Text[from:to], Origin: o.Origin, Label: o.Label})
			last = to
		}
	}
	if last < len(p.Text) {
		in.Texts = append(in.Texts, Text{Message: i, Part: j, Start: last, Source: p.Text[last:], Origin: chat.Untrusted})
	}
}

// look makes the view of a text, decodes it and runs the rules of words.
func (in *Input) look(ctx context.Context, t *Text) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if t.View, err = view.Make(ctx, t.Source); err != nil {
		return err
	}
	if err := in.words(ctx, t, t.View.Text, false, "", t.View.Source); err != nil {
		return err
	}
	for _, h := range t.View.Hidden {
		if (h.Class == view.Tags || h.Class == view.Selectors) && utf8.ValidString(h.Text) {
			if err := in.words(ctx, t, []byte(h.Text), false, string(h.Class), func(int, int) (int, int) { return h.Start, h.End }); err != nil {
				return err
			}
		}
	}
	if t.Origin == chat.Operator {
		return nil
	}
	res, err := decode.Find(ctx, t.View.Text, decode.Limits{})
	if err != nil {
		return err
	}
	t.Decoded, t.exceeded = res.Found, res.Exceeded
	for _, why := range res.Exceeded {
		in.unseen("%s: %s", t.path(), why)
	}
	for _, d := range t.Decoded {
		start, end := t.View.Source(d.Start, d.End)
		v, err := view.Make(ctx, d.Text)
		if err != nil {
			return err
		}
		if err := in.words(ctx, t, v.Text, d.Loose, d.Chain, func(int, int) (int, int) { return start, end }); err != nil {
			return err
		}
	}
	return nil
}

// words notes what rules of words match in b, a form of t.
func (in *Input) words(ctx context.Context, t *Text, b []byte, loose bool, chain string, source func(a, b int) (int, int)) error {
	if t.Origin == chat.Operator {
		return ctx.Err()
	}
	return in.scanner.words.scan(ctx, b, loose, func(rule, start, end int) {
		r := &in.scanner.rules[rule]
		if r.Only == "untrusted" && !t.Untrusted() || chain != "" && len(r.Match) == 0 {
			return
		}
		h := hit{rule: rule, chain: chain, quoted: quoted(b, start, end)}
		h.start, h.end = source(start, end)
		for k := len(t.hits) - 1; k >= max(0, len(t.hits)-near); k-- { // several matches of one rule say the same
			if o := t.hits[k]; o.rule == rule && o.chain == chain && o.start < h.end && h.start < o.end && len(r.Markers) == 0 {
				t.hits[k].start, t.hits[k].end = min(o.start, h.start), max(o.end, h.end)
				return
			}
		}
		t.hits = append(t.hits, h)
	})
}

// near is how many hits back one of the same place is looked for.
const near = 8

// quoteReach is how far before and after a match its quotation marks may stand.
const quoteReach = 48

// quoted reports whether a match stands in quotation marks or code.
func quoted(b []byte, start, end int) bool {
	open := byte(0)
	for i := start - 1; i >= 0 && i > start-quoteReach && b[i] != '\n'; i-- {
		if b[i] == '"' || b[i] == '`' {
			open = b[i]
			break
		}
	}
	if open == 0 {
		return false
	}
	for i := end; i < len(b) && i < end+quoteReach && b[i] != '\n'; i++ {
		if b[i] == open {
			return true
		}
	}
	return false
}

// err is the error of detectors that depend on all of the exchange being read.
func (in *Input) err() error {
	if len(in.reasons) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errUnseen, in.reasons[0])
}

// Effect returns what a rule does about a text where no policy says more.
func (in *Input) Effect(id warden.RuleID, untrusted bool) (warden.Effect, bool) {
	if e, ok := codeEffects[id]; ok {
		return e, true
	}
	i, ok := in.scanner.byID[id]
	if !ok {
		return warden.Deny, false
	}
	if untrusted {
		return in.scanner.rules[i].Untrusted, true
	}
	return in.scanner.rules[i].Effect, true
}

// of returns the rules whose ids begin so.
func (s *inputScanner) of(prefix string) []warden.Rule {
	var out []warden.Rule
	for _, r := range s.rules {
		if strings.HasPrefix(string(r.ID), prefix) {
			out = append(out, r.Rule)
		}
	}
	return out
}

// A pass is one run of a detector of requests.
type pass = detect.Pass[*Input]
