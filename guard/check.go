package guard

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/check/prompt"
	"github.com/modelwarden/warden/internal/text/placeholder"
	"github.com/modelwarden/warden/internal/text/stream"
)

// An Edit puts Text in place of the bytes [Start, End) of the text of a part.
type Edit struct {
	Message, Part, Start, End int
	Text                      []byte
}

// A Result is what the examination of a request came to.
type Result struct {
	Effect   warden.Effect // the strongest: allow, review, redact or deny
	Findings []warden.Finding
	Did      []warden.Effect  // about each of them
	Shadowed []warden.Finding // of rules in shadow, and of what is allowed for a time
	Counts   map[warden.RuleID]int
	Complete bool
	Reasons  []string // why it is not
	Edits    []Edit   // by message, part and place; none overlap
	Restore  map[string]string
}

// Check examines a request, and the calls of tools in an answer that x has.
// It cannot fail: what could not be looked at makes the result incomplete, and
// the caller decides what that means. An incomplete result must not pass for a
// clean one.
func (g *Guard) Check(ctx context.Context, x *Exchange) Result { return g.CheckBody(ctx, x, nil) }

// CheckBody is [Guard.Check] of an exchange whose tensors stand in body.
func (g *Guard) CheckBody(ctx context.Context, x *Exchange, body []byte) Result {
	return g.run(ctx, x, body, prompt.Requests())
}

// CheckCalls examines only the calls of tools and the form of the answer in x.
func (g *Guard) CheckCalls(ctx context.Context, x *Exchange) Result {
	return g.run(ctx, x, nil, prompt.Calls())
}

// check is one examination.
type check struct {
	g     *Guard
	x     *Exchange
	in    *prompt.Input
	allow []Allowance
	res   Result
}

func (g *Guard) run(ctx context.Context, x *Exchange, body []byte, ds []*detect.Detector[*prompt.Input]) Result {
	c := &check{g: g, x: x, allow: g.allowances(), res: Result{Effect: warden.Allow, Complete: true, Counts: map[warden.RuleID]int{}}}
	if g.cfg.Budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.cfg.Budget)
		defer cancel()
	}
	c.guarded(ctx, body, ds)
	slices.Sort(c.res.Reasons)
	c.merge()
	return c.res
}

// guarded runs everything; a panic makes the result incomplete.
func (c *check) guarded(ctx context.Context, body []byte, ds []*detect.Detector[*prompt.Input]) {
	defer func() {
		if v := recover(); v != nil {
			c.unseen(fmt.Sprintf("the guard panicked: %v at %s", v, detect.Printable(string(debug.Stack()), 512)))
		}
	}()
	in, err := prompt.NewInput(ctx, c.x, prompt.InputConfig{
		Limits: c.g.cfg.Limits, Unseen: c.g.cfg.Unseen, Tools: c.g.cfg.Tools, Flows: c.g.cfg.Flows, Tensors: c.g.cfg.Tensors, Body: body,
	})
	if err != nil {
		c.unseen(err.Error())
	}
	if in == nil {
		return
	}
	c.in = in
	for _, why := range in.Reasons() {
		c.unseen(why)
	}
	res := detect.Run(ctx, warden.Ref{Kind: warden.KindExchange, ID: c.x.ID}, in, detect.DefaultLimits(), ds...)
	for _, st := range res.Statuses {
		if (st.State == detect.Failed || st.State == detect.Skipped) && !in.Unseen(st.Err) {
			c.unseen(st.Err.Error())
		}
		for id, n := range st.Counts {
			c.res.Counts[id] += n
		}
	}
	for _, f := range res.Findings {
		c.found(f)
	}
	if res.Truncated() {
		c.unseen("more was found than is kept")
	}
	if c.g.cfg.External || c.x.Meta.External {
		if err := c.sensitive(ctx); err != nil {
			c.unseen(err.Error())
		}
	}
}

func (c *check) unseen(why string) {
	c.res.Complete = false
	if len(c.res.Reasons) < 100 && !slices.Contains(c.res.Reasons, why) {
		c.res.Reasons = append(c.res.Reasons, why)
	}
}

// found decides about a finding.
func (c *check) found(f warden.Finding) {
	cuts := c.in.Cuts(f)
	own, ok := c.in.Effect(f.Rule, c.in.UntrustedAt(f.At))
	if !ok {
		c.unseen("no rule " + string(f.Rule))
	}
	e, done := c.decide(f, own, c.whole(f, cuts))
	if !done || e != warden.Redact {
		return
	}
	if len(cuts) == 0 { // there is nothing that could be taken out
		c.res.Did[len(c.res.Did)-1] = warden.Deny
		c.strongest(warden.Deny)
		return
	}
	for _, cut := range cuts {
		if !c.allowed(f.Rule, c.in.At(cut)) {
			e := Edit{Message: cut.Message, Part: cut.Part, Start: cut.Start, End: cut.End}
			if !prompt.Sums(f.Rule) { // what stands around a marker must not become one
				e.Text = []byte(" ")
			}
			c.res.Edits = append(c.res.Edits, e)
		}
	}
}

// whole returns the text that a finding is about; "" if it is about several.
func (c *check) whole(f warden.Finding, cuts []prompt.Cut) string {
	for _, cut := range cuts {
		if int64(cut.Start) == f.At.Span.Start && int64(cut.End) == f.At.Span.End && (len(cuts) == 1 || !prompt.Sums(f.Rule)) {
			return c.in.At(cut)
		}
	}
	return ""
}

func (c *check) allowed(rule warden.RuleID, whole string) bool {
	return (&Stream{cfg: StreamConfig{Allow: c.allow}}).allowed(rule, whole)
}

// decide keeps a finding and says what is done about it; not, if its rule is in
// shadow or its text allowed.
func (c *check) decide(f warden.Finding, own warden.Effect, whole string) (warden.Effect, bool) {
	cfg := StreamConfig{Rules: c.g.cfg.Rules, Families: c.g.cfg.Families, Decide: c.g.cfg.Decide}
	e := (&Stream{cfg: cfg}).effect(f, own)
	if c.g.cfg.Shadow[f.Rule] || c.allowed(f.Rule, whole) {
		c.res.Shadowed = append(c.res.Shadowed, f)
		if c.res.Counts[f.Rule]--; c.res.Counts[f.Rule] <= 0 {
			delete(c.res.Counts, f.Rule)
		}
		return e, false
	}
	c.res.Findings, c.res.Did = append(c.res.Findings, f), append(c.res.Did, e)
	c.strongest(e)
	return e, true
}

func (c *check) strongest(e warden.Effect) {
	if rank(e) > rank(c.res.Effect) {
		c.res.Effect = e
	}
}

// The families of what must not leave the house.
var leaving = []string{"WDN-EX-5", "WDN-EX-6"}

// sensitive looks for personal data and secrets in a request, with the
// recognisers of answers, and puts placeholders in their place.
func (c *check) sensitive(ctx context.Context) error {
	a := c.g.cfg.Answers
	out, err := prompt.NewOutput(prompt.OutputConfig{PhoneRegions: a.PhoneRegions, Words: -1}, nil)
	if err != nil {
		return err
	}
	places := placeholder.New(c.g.cfg.Nonce())
	lim := c.in.Config.Limits
	parts := 0
	for i, m := range c.x.Messages {
		if m.Answer || lim.Messages > 0 && i >= lim.Messages {
			continue
		}
		for j, p := range m.Parts {
			if parts++; lim.Parts > 0 && parts > lim.Parts {
				break
			}
			if err := c.leaving(ctx, out, places, i, j, p); err != nil {
				return err
			}
		}
	}
	c.res.Restore = places.Values()
	return nil
}

// step is how much text is read between two looks at the clock.
const step = 16 << 10

func (c *check) leaving(ctx context.Context, out *prompt.OutputScanner, places *placeholder.Map, i, j int, p chat.Part) error {
	tool := p.Kind == chat.ToolCall
	v := stream.View{JSON: tool}
	t := out.Text(tool)
	path := fmt.Sprintf("messages/%d/parts/%d", i, j)
	took := map[string]bool{}
	tell := func(m stream.Match) {
		pieces := v.Pieces(m.Start, m.End, false)
		if len(pieces) == 0 {
			return
		}
		if m.More {
			if took[m.Kind] {
				c.replace(i, j, pieces, nil)
			}
			return
		}
		r, sev, ok := out.Rule(m, tool)
		if !ok || !slices.ContainsFunc(leaving, func(f string) bool { return strings.HasPrefix(string(r.ID), f) }) {
			return
		}
		first, last := pieces[0], pieces[len(pieces)-1]
		f := warden.Finding{
			Rule: r.ID, Severity: sev, Subject: warden.Ref{Kind: warden.KindExchange, ID: c.x.ID},
			At:      warden.Location{Path: path, Span: warden.Span{Unit: warden.Bytes, Start: first.Start, End: last.End}},
			Message: detect.Printable(message(r.Title, m.Note), 1024), Evidence: prompt.Evidence(m),
		}
		c.res.Counts[r.ID]++
		e, done := c.decide(f, r.Effect, m.Whole)
		took[m.Kind] = done && e == warden.Redact
		if !took[m.Kind] {
			return
		}
		value := m.Whole
		if value == "" { // a body follows, which is not kept
			c.replace(i, j, pieces, []byte("["+strings.ToUpper(m.Kind)+"]"))
			return
		}
		c.replace(i, j, pieces, []byte(places.Put(m.Kind, value)))
	}
	var buf []byte
	for text, last := p.Text, false; !last; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: looking for what must not leave: %w", path, err)
		}
		n := min(step, len(text))
		last = n == len(text)
		buf = v.Add(buf[:0], text[:n], last)
		v.Forget(t.Add(buf, last, tell))
		text = text[n:]
	}
	if t.Overrun() {
		return fmt.Errorf("%s: too much is undecided at once: %w", path, detect.ErrLimit)
	}
	return nil
}

// replace puts text in place of the pieces of a match.
func (c *check) replace(i, j int, pieces []stream.Piece, text []byte) {
	for k, p := range pieces {
		e := Edit{Message: i, Part: j, Start: int(p.Start), End: int(p.End)}
		switch {
		case k > 0 && p.Bare:
			e.Text = []byte("null")
		case k > 0:
		case p.Bare:
			e.Text = quote(string(text))
		default:
			e.Text = text
		}
		c.res.Edits = append(c.res.Edits, e)
	}
}

// merge sorts the edits and makes one of those that overlap.
func (c *check) merge() {
	slices.SortStableFunc(c.res.Edits, func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Message, b.Message), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End))
	})
	var out []Edit
	for _, e := range c.res.Edits {
		n := len(out) - 1
		if n < 0 || out[n].Message != e.Message || out[n].Part != e.Part || e.Start >= out[n].End {
			out = append(out, e)
			continue
		}
		if len(e.Text) > 0 && !bytes.Contains(out[n].Text, e.Text) {
			out[n].Text = slices.Concat(out[n].Text, e.Text)
		}
		out[n].End = max(out[n].End, e.End)
	}
	c.res.Edits = out
	if len(c.res.Restore) == 0 {
		c.res.Restore = nil
	}
	c.res.Counts = maps.Clone(c.res.Counts)
}

// Apply returns the text of a part with the edits of a result that are its.
func (r Result) Apply(message, part int, text []byte) []byte {
	var out []byte
	at := 0
	for _, e := range r.Edits {
		if e.Message != message || e.Part != part || e.Start < at || e.End > len(text) {
			continue
		}
		out = append(append(out, text[at:e.Start]...), e.Text...)
		at = e.End
	}
	if at == 0 && out == nil {
		return text
	}
	return append(out, text[at:]...)
}
