package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
)

// called collects what is judged whole: calls of tools, and where all of the
// answer waits anyway, texts that a schema is for.
func (r *relay) called(d dialect.Delta) {
	formed := d.Lane.Kind == chat.Text && len(r.x.req.Schema) > 0 && r.mode == Buffer
	if d.Lane.Kind != chat.ToolCall && !formed {
		return
	}
	p := r.calls[d.Lane]
	if p == nil {
		p = &chat.Part{Kind: d.Lane.Kind, Call: &chat.Call{}}
		r.calls[d.Lane] = p
	}
	if d.Call != nil {
		*p.Call = chat.Call{ID: cmp.Or(p.Call.ID, d.Call.ID), Name: cmp.Or(p.Call.Name, d.Call.Name)}
	}
	p.Text = append(p.Text, d.Text...)
}

// judgeCalls looks at the calls of tools that have ended with an event.
func (r *relay) judgeCalls(ctx context.Context, ev *dialect.Event) error {
	var parts []chat.Part
	for _, lane := range slices.SortedFunc(maps.Keys(r.calls), func(a, b chat.Lane) int {
		return cmp.Or(cmp.Compare(a.Choice, b.Choice), cmp.Compare(a.Index, b.Index))
	}) {
		p := r.lanes[lane]
		ended := ev == nil || ev.Done || slices.ContainsFunc(ev.Ended, func(e dialect.Ended) bool { return e.Choice == lane.Choice })
		if ended && !p.judged {
			p.judged = true
			parts = append(parts, *r.calls[lane])
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return r.g.judge(ctx, r.x, chat.Message{Role: chat.Assistant, Answer: true, Parts: parts})
}

// judge looks at calls of tools, with all that was said before.
func (g *Gateway) judge(ctx context.Context, x *exchange, answer ...chat.Message) error {
	c := x.route.Guard
	whole := x.req.Exchange
	whole.Messages = append(slices.Clip(whole.Messages), answer...)
	res := g.watched(x, true).CheckCalls(ctx, &whole)
	x.noteAll(res.Counts, res.Effect, res.Reasons)
	x.place(res.Findings, res.Did, "")
	switch {
	case c.Shadow:
		return nil
	case !res.Complete && !c.AllowIncomplete:
		return fmt.Errorf("%w: a call of a tool could not be looked at", errBlocked)
	case res.Effect == warden.Deny:
		return errBlocked
	}
	return nil
}

// harmless reports whether a guard finds nothing in what an answer cites. Sources
// have titles and addresses that somebody else wrote: what is not harmless goes.
func (g *Gateway) harmless(x *exchange, cited []byte) bool {
	s, err := g.watcher(x)
	if err != nil {
		return false
	}
	lane := chat.Lane{Kind: chat.Text}
	_, err1 := s.Write(lane, cited)
	_, err2 := s.Close(lane)
	res := s.Finish()
	x.noteAll(res.Counts, res.Effect, res.Reasons)
	x.place(res.Findings, res.Did, "citations")
	return err1 == nil && err2 == nil && res.Complete && res.Effect == warden.Allow
}
