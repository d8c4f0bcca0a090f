package prompt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/text/view"
)

// Requests returns the detectors of what is sent to models.
func Requests() []*detect.Detector[*Input] { return slices.Clone(requestDetectors()) }

// textRules says which rules that are data each detector has.
var textRules = []struct {
	name, doc string
	rules     string // the beginning of their ids
	run       func(ctx context.Context, p *pass, prefix string) error
}{
	{
		"input/hidden", `Text that readers do not see, or see as something else.

Tag characters, characters without width, controls of direction, variation
selectors, marks in piles, and words that mix scripts to look like others. What
a script or an emoji needs is left alone. Every stretch is found, and taken out
where the rule says so.`,
		"WDN-EX-10", hidden,
	},
	{
		"input/encoded", `Instructions to the model inside an encoding.

Base64, base32, hexadecimal, percent, entities, escapes, quoted-printable, ROT13,
reversed, leet, Morse, binary, spaced letters, and gzip inside base64; three deep,
with bounds. What is past a bound is reported.`,
		"WDN-EX-12", encoded,
	},
	{
		"input/marker", `Markers of chat templates and forged turns.

The markers of the known templates are found in every form that hides them; that
is a guarantee. Whether one does harm depends on the server that runs the model.`,
		"WDN-EX-21", matched,
	},
	{
		"input/direct", `Phrases that tell a model to set its instructions aside, to show them, or to
become somebody without rules, in eighteen languages.

It finds words that stand near one another and no paraphrase of them: it points a
person to an exchange, and guarantees nothing.`,
		"WDN-EX-20", matched,
	},
	{
		"input/indirect", `Phrases in documents and results of tools that speak to the model.

The same limits as input/direct. What such a text can do is decided by what tools
may do with its values; see input/taint.`,
		"WDN-EX-30", matched,
	},
}

var requestDetectors = sync.OnceValue(func() []*detect.Detector[*Input] {
	s, err := sharedInput()
	var out []*detect.Detector[*Input]
	for _, t := range textRules {
		d := &detect.Detector[*Input]{Name: t.name, Doc: t.doc}
		if err == nil {
			d.Rules = s.of(t.rules)
		}
		d.Run = func(ctx context.Context, p *pass) error {
			if err != nil {
				return err // the rules cannot be read: nothing was looked for
			}
			return t.run(ctx, p, t.rules)
		}
		out = append(out, d)
	}
	return append(out, codeDetectors()...)
})

// hidden reports each class once a text, with its first place; [Cuts] has all.
func hidden(ctx context.Context, p *pass, _ string) error {
	in := p.Subject
	for i := range in.Texts {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &in.Texts[i]
		type sum struct {
			n int
			h view.Hidden
		}
		by := map[view.Class]*sum{}
		for _, h := range t.View.Hidden {
			if h.Class == view.Confusable && !in.scanner.words.known(h.Text) {
				continue
			}
			s := by[h.Class]
			if s == nil {
				s = &sum{h: h}
				by[h.Class] = s
			}
			s.n++
		}
		for _, k := range []view.Class{view.Tags, view.ZeroWidth, view.Bidi, view.Selectors, view.Ignorable, view.Marks, view.Confusable} {
			s := by[k]
			if s == nil {
				continue
			}
			r := in.scanner.rules[in.scanner.byKind[string(k)]]
			msg := r.Title
			if s.n > 1 {
				msg = fmt.Sprintf("%s: %d places", r.Title, s.n)
			}
			f := warden.Finding{Rule: r.ID, Severity: r.Severity, At: t.at(s.h.Start, s.h.End), Message: msg}
			if k == view.Confusable {
				f.Evidence = "looks like " + s.h.Text
			} else if s.h.Text != "" && k == view.Tags {
				f.Evidence = fmt.Sprintf("%d hidden letters", len(s.h.Text))
			}
			p.Emit(f)
		}
	}
	return in.err()
}

// encoded reports rules of words that match in what was decoded.
func encoded(ctx context.Context, p *pass, _ string) error {
	in := p.Subject
	for i := range in.Texts {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &in.Texts[i]
		told := map[string]bool{}
		for _, h := range t.hits {
			if key := fmt.Sprint(h.chain, h.start, h.end); h.chain != "" && !told[key] {
				told[key] = true
				r := in.scanner.rules[in.scanner.byKind["encoded"]]
				p.Emit(warden.Finding{
					Rule: r.ID, Severity: r.Severity, At: t.at(h.start, h.end),
					Message: r.Title + ": " + strings.ReplaceAll(h.chain, ">", ", then "), Evidence: string(in.scanner.rules[h.rule].ID),
				})
			}
		}
		if len(t.exceeded) > 0 {
			r := in.scanner.rules[in.scanner.byKind["encoded-limit"]]
			p.Emit(warden.Finding{Rule: r.ID, Severity: r.Severity, At: t.at(0, len(t.Source)), Message: r.Title + ": " + t.exceeded[0]})
		}
	}
	return in.err()
}

// perText bounds how often one rule is told of one text.
const perText = 10

// matched reports what rules of words match in the texts themselves.
func matched(ctx context.Context, p *pass, prefix string) error {
	in := p.Subject
	for i := range in.Texts {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := &in.Texts[i]
		told := map[int]int{}
		for _, h := range t.hits {
			r := &in.scanner.rules[h.rule]
			if !strings.HasPrefix(string(r.ID), prefix) || h.chain != "" {
				continue
			}
			if told[h.rule]++; told[h.rule] > perText {
				continue
			}
			f := warden.Finding{Rule: r.ID, Severity: r.Severity, At: t.at(h.start, h.end), Message: r.Title}
			if h.quoted && len(r.Match) > 0 {
				f.Severity, f.Message = min(f.Severity, warden.Low), r.Title+", in quotation marks"
			}
			if len(r.Markers) > 0 {
				f.Evidence = string(t.Source[h.start:h.end])
			}
			p.Emit(f)
		}
	}
	return in.err()
}

// A Cut is a stretch of a part that a rule takes out.
type Cut struct{ Message, Part, Start, End int }

// Sums reports whether one finding of a rule stands for all its places in a text.
func Sums(id warden.RuleID) bool { return strings.HasPrefix(string(id), "WDN-EX-10") }

// At returns the text of a stretch.
func (in *Input) At(c Cut) string {
	return string(in.Exchange.Messages[c.Message].Parts[c.Part].Text[c.Start:c.End])
}

// Cuts returns the stretches of the part of a finding that its rule takes out.
func (in *Input) Cuts(f warden.Finding) []Cut {
	var out []Cut
	for i := range in.Texts {
		t := &in.Texts[i]
		if t.path() != f.At.Path || int64(t.Start) > f.At.Span.Start || int64(t.Start+len(t.Source)) < f.At.Span.End {
			continue
		}
		add := func(start, end int) {
			out = append(out, Cut{t.Message, t.Part, t.Start + start, t.Start + end})
		}
		for _, h := range t.View.Hidden {
			if k, ok := in.scanner.byKind[string(h.Class)]; ok && in.scanner.rules[k].ID == f.Rule && (h.Class != view.Confusable || in.scanner.words.known(h.Text)) {
				add(h.Start, h.End)
			}
		}
		for _, h := range t.hits {
			if in.scanner.rules[h.rule].ID == f.Rule && h.chain == "" {
				add(h.start, h.end)
			}
		}
	}
	return out
}
