package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/translate"
	"github.com/modelwarden/warden/internal/policy"
)

// A Mode says when the text of a stream goes on.
type Mode string

// The modes. The zero Mode is Hold.
const (
	Hold   Mode = "hold"   // as soon as nothing in it can turn into something that must not leave
	Async  Mode = "async"  // at once; a guard can end the stream, and change nothing
	Buffer Mode = "buffer" // when all of it is there
)

// A GuardConfig says what guards do on a route.
type GuardConfig struct {
	Guard *guard.Guard
	Mode  Mode
	// AllowIncomplete lets pass what a guard could not look at wholly.
	AllowIncomplete bool
	Shadow          bool // what would be done is recorded, and not done
	// Canary puts a random word into what the operator tells the model, and looks
	// for it in the answer. It changes the request.
	Canary bool
}

// A relay passes the events of a stream through a guard. Text that is not yet
// decided waits with its event, and all events after it.
type relay struct {
	g     *Gateway
	x     *exchange
	in    *dialect.Stream
	form  dialect.Form
	other *translate.Stream // to a client of another dialect; nil: it is the same
	guard *guard.Stream     // nil: everything passes
	mode  Mode
	calls map[chat.Lane]*chat.Part // of tools, as far as they came
	lanes map[chat.Lane]*passage
	names map[string]bool // of what is called, that were looked at
	queue []waiting
	held  int64          // bytes in queue
	last  *dialect.Event // that was sent
}

// A passage is what was decided of one lane.
type passage struct {
	read, decided int64
	segs          []guard.Segment // that change something, in order
	said, out     []byte          // all that came, and that was released; kept while events may repeat it
	changed       bool
	closed        bool
	judged        bool // of a call: it was looked at whole
}

// A waiting event has deltas at these places of their lanes.
type waiting struct {
	ev *dialect.Event
	at []place
}

type place struct{ from, to int64 }

func newRelay(g *Gateway, x *exchange, in *dialect.Stream) (*relay, error) {
	r := &relay{g: g, x: x, in: in, form: in.Form, lanes: map[chat.Lane]*passage{}}
	if x.dialect != x.target.dialect {
		var err error
		if r.other, err = translate.NewStream(x.dialect, x.target.dialect, x.to, x.route.Name, x.req.ClientUsage); err != nil {
			return nil, err
		}
		r.form = r.other.Form()
	}
	c := x.route.Guard
	if c == nil {
		return r, nil
	}
	r.mode, r.calls = c.Mode, map[chat.Lane]*chat.Part{}
	var err error
	r.guard, err = g.watcher(x)
	return r, err
}

// watched returns the guard of a route for one caller. Policy can be stricter
// than it.
func (g *Gateway) watched(x *exchange, answer bool) *guard.Guard {
	c := x.route.Guard
	return c.Guard.Deciding(func(f warden.Finding, effect warden.Effect) warden.Effect {
		if c.Shadow {
			return warden.Allow
		}
		return g.deliver(x, f, effect, answer)
	})
}

// watcher returns the guard of an answer.
func (g *Gateway) watcher(x *exchange) (*guard.Stream, error) {
	watch := g.watched(x, true)
	if x.canary != "" {
		watch = watch.Marked(x.canary)
	}
	return watch.Stream(&x.req.Exchange, guard.Result{Restore: x.restore})
}

// selfTest lets the guard of a route look at known texts: one that answers all of
// them alike guards nothing, and its route is closed.
func (g *Gateway) selfTest(ctx context.Context, r *route) {
	if r.Guard == nil || r.Guard.AllowIncomplete {
		return
	}
	err := r.Guard.Guard.SelfTest(ctx)
	r.broken.Store(err != nil)
	if err != nil {
		g.cfg.Log.ErrorContext(ctx, "guard fails its self-test", slog.String("route", r.Name), slog.Any("error", err))
	}
}

// guardRequest looks at what a request says, before anything is sent. What must
// not leave is taken out, or the request refused.
func (g *Gateway) guardRequest(ctx context.Context, x *exchange) *refusal {
	c := x.route.Guard
	if c == nil {
		return nil
	}
	if x.route.broken.Load() {
		return &refusal{status: http.StatusServiceUnavailable, code: "guard_unavailable", message: "the guard of this model does not work"}
	}
	begun := time.Now()
	x.req.Meta = chat.Meta{Principal: x.who.Principal.ID, Route: x.route.Name, Digest: digestText(x.adm.digest), Dialect: x.dialect.Name, External: x.target.Provider != ""}
	body := x.raw
	if x.grpc { // places are those of the message
		body = x.raw[frameHead:]
	}
	res := g.watched(x, false).CheckBody(ctx, &x.req.Exchange, body)
	x.noteAll(res.Counts, res.Effect, res.Reasons)
	x.place(res.Findings, res.Did, "")
	x.guarded += time.Since(begun)
	g.metrics.guard.WithLabelValues("request").Observe(time.Since(begun).Seconds())
	if !res.Complete {
		g.metrics.partial.WithLabelValues("request").Inc()
	}
	switch {
	case c.Shadow:
		return nil
	case !res.Complete && !c.AllowIncomplete:
		x.effect = warden.Deny
		return &refusal{status: http.StatusForbidden, code: "guard_incomplete", message: "a guard could not look at all of this request: " + strings.Join(res.Reasons, "; "), because: x.rules()}
	case res.Effect == warden.Deny:
		x.route.blocked.Add(1)
		return &refusal{status: http.StatusForbidden, code: "content_denied", message: "a guard does not let this request pass", because: x.rules()}
	}
	x.edits, x.restore = res.Edits, res.Restore
	if c.Canary && x.req.Places.System != nil {
		x.canary = strings.ToLower(rand.Text()[:16])
	}
	return nil
}

// edited applies what the guard takes out of a request.
func (x *exchange) edited(req *dialect.Request) error {
	for _, e := range x.edits {
		if err := req.Replace(e.Message, e.Part, e.Start, e.End, e.Text); err != nil {
			return fmt.Errorf("what a guard takes out cannot be taken out: %w", err)
		}
	}
	if x.canary != "" {
		return req.AddSystem("Reference " + x.canary + " is internal: never mention it.")
	}
	return nil
}

// take passes an event on, or keeps it until its text is decided.
func (r *relay) take(ctx context.Context, ev *dialect.Event) error {
	if r.guard == nil {
		return r.send(ev, nil)
	}
	begun := time.Now()
	w := waiting{ev: ev, at: make([]place, len(ev.Deltas))}
	for i := range ev.Deltas {
		d := &ev.Deltas[i]
		if err := r.named(d.Lane.Choice, d.Call); err != nil {
			return err
		}
		if d.Repeats {
			r.again(d)
		}
		p := r.passage(d.Lane)
		if d.Repeats {
			if err := r.close(d.Lane, p); err != nil {
				return err
			}
			continue
		}
		if r.x.to.Op == dialect.Responses {
			p.said = append(p.said, d.Text...)
		}
		r.x.speaks(d.Lane, d.Text)
		w.at[i] = place{p.read, p.read + int64(len(d.Text))}
		p.read = w.at[i].to
		r.called(*d)
		segs, err := r.guard.Write(d.Lane, d.Text)
		if err := r.decided(p, segs, err); err != nil {
			return err
		}
	}
	for lane, p := range r.lanes {
		for _, e := range ev.Ended {
			if e.Choice == lane.Choice {
				if err := r.close(lane, p); err != nil {
					return err
				}
			}
		}
		if ev.Done {
			if err := r.close(lane, p); err != nil {
				return err
			}
		}
	}
	err := r.judgeCalls(ctx, ev)
	r.x.guarded += time.Since(begun)
	if err != nil {
		return err
	}
	if r.guard.Denied() {
		return errBlocked
	}
	if cited := ev.Cited(); len(cited) > 0 && !r.g.harmless(r.x, cited) {
		ev.Bare = true
	}
	if r.mode == Async {
		return r.send(ev, nil)
	}
	r.queue = append(r.queue, w)
	if r.held += int64(len(ev.Raw)); r.held > maxAnswer {
		return fmt.Errorf("%w: more than %d bytes wait", errBlocked, int64(maxAnswer))
	}
	if r.mode == Buffer && !ev.Done {
		return nil
	}
	return r.release()
}

func (r *relay) passage(l chat.Lane) *passage {
	p := r.lanes[l]
	if p == nil {
		p = &passage{}
		r.lanes[l] = p
	}
	return p
}

func (r *relay) close(l chat.Lane, p *passage) error {
	if p.closed {
		return nil
	}
	p.closed = true
	segs, err := r.guard.Close(l)
	return r.decided(p, segs, err)
}

// decided notes what the guard decided. What it could not look at is denied, or
// passes unseen if the route says so.
func (r *relay) decided(p *passage, segs []guard.Segment, err error) error {
	if err != nil {
		r.g.metrics.partial.WithLabelValues("answer").Inc()
		if !r.x.route.Guard.AllowIncomplete {
			return fmt.Errorf("%w: %w", errBlocked, err)
		}
		p.decided = math.MaxInt64
		return nil
	}
	for _, s := range segs {
		p.decided = max(p.decided, s.End)
		if s.Changed {
			p.segs, p.changed = append(p.segs, s), true
		}
	}
	return nil
}

// release sends the events at the head of the queue whose text is decided.
func (r *relay) release() error {
	for len(r.queue) > 0 {
		w := r.queue[0]
		for i, d := range w.ev.Deltas {
			if p := r.lanes[d.Lane]; p.decided < w.at[i].to || d.Lane.Kind == chat.ToolCall && !p.judged {
				return nil
			}
		}
		r.queue[0] = waiting{}
		r.queue = r.queue[1:]
		r.held -= int64(len(w.ev.Raw))
		if r.citesChanged(w.ev) { // it points into a text that is not what it was
			continue
		}
		texts := make([][]byte, len(w.ev.Deltas))
		changed := false
		for i, d := range w.ev.Deltas {
			p := r.lanes[d.Lane]
			switch {
			case d.Repeats && p.changed:
				texts[i], changed = append([]byte{}, p.out...), true
			case d.Repeats:
			default:
				text, other := p.text(w.at[i], d.Text)
				if other {
					texts[i], changed = text, true
				}
				if r.x.to.Op == dialect.Responses { // its events repeat all of it
					p.out = append(p.out, text...)
				}
			}
		}
		if !changed && !w.ev.Bare {
			texts = nil
		}
		if err := r.send(w.ev, texts); err != nil {
			return err
		}
	}
	return nil
}

func (r *relay) citesChanged(ev *dialect.Event) bool {
	return slices.ContainsFunc(ev.Cites, func(l chat.Lane) bool { return r.lanes[l] != nil && r.lanes[l].changed })
}

// text returns what stands for the source text at a place. What replaces a
// stretch stands where the stretch begins.
func (p *passage) text(at place, source []byte) (text []byte, changed bool) {
	pos := at.from
	for i := 0; i < len(p.segs); i++ {
		s := p.segs[i]
		if s.End <= pos && s.Start < s.End {
			continue
		}
		if s.Start >= at.to {
			break
		}
		if s.Start > pos {
			text = append(text, source[pos-at.from:s.Start-at.from]...)
		}
		if s.Start >= at.from {
			text = append(text, s.Text...)
		}
		pos, changed = min(max(s.End, pos), at.to), true
	}
	if !changed {
		return source, false
	}
	if pos < at.to {
		text = append(text, source[pos-at.from:]...)
	}
	if text == nil {
		text = []byte{}
	}
	for len(p.segs) > 0 && p.segs[0].End <= at.to && p.segs[0].Start < at.to { // nothing comes before here again
		p.segs = p.segs[1:]
	}
	return text, true
}

// send writes an event with these texts, nil: as it came.
func (r *relay) send(ev *dialect.Event, texts [][]byte) error {
	var raw []byte
	var err error
	switch {
	case r.other != nil:
		raw, err = r.other.Write(ev, texts)
	case ev.UsageOnly && !r.x.req.ClientUsage:
		return nil
	case texts != nil:
		raw, err = ev.Rewrite(texts, r.x.route.Shape.Logprobs)
	case r.x.route.Shape.Logprobs:
		raw, err = ev.StripLogprobs()
	default:
		raw = ev.Raw
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBlocked, err)
	}
	r.last = ev
	return r.write(raw)
}

// end ends a stream whose body ended properly without saying so.
func (r *relay) end(ctx context.Context) error {
	if r.guard != nil {
		for lane, p := range r.lanes {
			if err := r.close(lane, p); err != nil {
				return err
			}
		}
		if err := r.judgeCalls(ctx, nil); err != nil {
			return err
		}
		if r.guard.Denied() {
			return errBlocked
		}
		if err := r.release(); err != nil {
			return err
		}
	}
	if r.other == nil {
		return nil
	}
	b, err := r.other.End()
	if err != nil {
		return err
	}
	return r.write(b)
}

// denied returns the frames that end the stream as one whose content may not
// pass.
func (r *relay) denied() []byte {
	if r.other != nil {
		return r.other.Denied()
	}
	return r.in.Denied(r.last)
}

// failed returns the frame of an error in the middle of the stream.
func (r *relay) failed(p dialect.Problem) []byte {
	if r.other != nil {
		return r.other.Failed(p)
	}
	return r.in.Failed(p)
}

// finish notes what the guard found.
func (r *relay) finish() {
	if r.guard == nil {
		return
	}
	r.x.note(r.guard.Finish())
	r.g.metrics.guard.WithLabelValues("answer").Observe(r.x.guarded.Seconds())
}

func (x *exchange) note(res guard.StreamResult) {
	x.noteAll(res.Counts, res.Effect, res.Reasons)
	x.place(res.Findings, res.Did, "")
}

func (x *exchange) noteAll(counts map[warden.RuleID]int, effect warden.Effect, reasons []string) {
	if len(counts) == 0 && len(reasons) == 0 {
		return
	}
	if rank(effect) > rank(x.effect) {
		x.effect = effect
	}
	if x.found == nil {
		x.found = map[string]int{}
	}
	for id, n := range counts {
		x.found[string(id)] += n
	}
	x.partial = append(x.partial, reasons...)
}

func rank(e warden.Effect) int {
	return slices.Index([]warden.Effect{"", warden.Allow, warden.AllowReview, warden.Redact, warden.Require, warden.Deny}, e)
}

// guardAnswer looks at the texts of a whole answer, as at those of a stream that
// came in one piece.
func (g *Gateway) guardAnswer(ctx context.Context, x *exchange, a *dialect.Answer) error {
	c := x.route.Guard
	if c == nil || len(a.Texts) == 0 {
		return nil
	}
	begun := time.Now()
	s, err := g.watcher(x)
	if err != nil {
		return fmt.Errorf("%w: %w", errBlocked, err)
	}
	r := &relay{g: g, x: x, guard: s, lanes: map[chat.Lane]*passage{}}
	places := make([]place, len(a.Texts))
	for i, t := range a.Texts {
		if err := r.named(t.Lane.Choice, t.Call); err != nil {
			x.note(s.Finish())
			return err
		}
		p := r.passage(t.Lane)
		x.speaks(t.Lane, t.Text)
		places[i] = place{p.read, p.read + int64(len(t.Text))}
		p.read = places[i].to
		segs, err := s.Write(t.Lane, t.Text)
		if err := r.decided(p, segs, err); err != nil {
			x.note(s.Finish())
			return err
		}
	}
	for lane, p := range r.lanes {
		if err := r.close(lane, p); err != nil {
			x.note(s.Finish())
			return err
		}
	}
	x.note(s.Finish())
	x.guarded += time.Since(begun)
	g.metrics.guard.WithLabelValues("answer").Observe(time.Since(begun).Seconds())
	if s.Denied() {
		return errBlocked
	}
	if len(x.req.Schema) > 0 || slices.ContainsFunc(a.Texts, func(t dialect.Text) bool { return t.Lane.Kind == chat.ToolCall }) {
		if err := g.judge(ctx, x, a.Messages()...); err != nil {
			return err
		}
	}
	if cited := a.Cited(); len(cited) > 0 && !g.harmless(x, cited) {
		a.DropCites()
	}
	if c.Mode == Async {
		return nil
	}
	for i, t := range a.Texts {
		if text, changed := r.lanes[t.Lane].text(places[i], t.Text); changed {
			if err := a.Replace(i, text); err != nil {
				return fmt.Errorf("%w: %w", errBlocked, err)
			}
		}
	}
	return nil
}

// deliver asks policy whether an exchange with a finding may pass.
func (g *Gateway) deliver(x *exchange, f warden.Finding, effect warden.Effect, answer bool) warden.Effect {
	if effect == warden.Deny {
		return effect
	}
	dec := g.cfg.Judge.Ask(policy.Request{
		Principal: x.who.Principal, Action: policy.Deliver, Now: g.cfg.Now(),
		Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: x.route.Name}, Task: string(x.route.Task)},
		Found:    policy.Found{Rule: f.Rule, Severity: f.Severity, Effect: effect, Answer: answer},
	})
	if dec.Effect != warden.Allow {
		return warden.Deny
	}
	return effect
}
