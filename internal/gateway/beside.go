package gateway

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
)

// named looks at the name of what a model calls. A tool that the request offers
// has its name from the client; any other name is the model's own text, and can
// carry out what a guard would take out of its arguments. Nothing can stand for
// it, so that one which is not harmless ends the answer.
func (r *relay) named(choice int, c *chat.Call) error {
	if c == nil || c.Name == "" || r.names[c.Name] {
		return nil
	}
	if r.names == nil {
		r.names = map[string]bool{}
	}
	r.names[c.Name] = true
	if slices.ContainsFunc(r.x.req.Tools, func(t chat.ToolSpec) bool { return t.Name == c.Name }) {
		return nil
	}
	lane := chat.Lane{Choice: choice, Kind: chat.Beside, Index: -len(r.names)}
	segs, err1 := r.guard.Write(lane, []byte(c.Name))
	last, err2 := r.guard.Close(lane)
	for _, err := range []error{err1, err2} {
		if err == nil {
			continue
		}
		r.g.metrics.partial.WithLabelValues("answer").Inc()
		if !r.x.route.Guard.AllowIncomplete {
			return fmt.Errorf("%w: the name of a call could not be looked at: %w", errBlocked, err)
		}
	}
	changes := func(s guard.Segment) bool { return s.Changed }
	if r.guard.Denied() || slices.ContainsFunc(segs, changes) || slices.ContainsFunc(last, changes) {
		r.x.effect = warden.Deny
		return fmt.Errorf("%w: the name of a call is not let out", errBlocked)
	}
	return nil
}

// again gives a text that says it repeats its lane, and does not, a lane of its
// own: nobody has looked at it.
func (r *relay) again(d *dialect.Delta) {
	const next = 1 << 24 // behind all places of the dialects
	for lane := d.Lane; ; lane.Index += next {
		p := r.lanes[lane]
		if p == nil {
			d.Lane, d.Repeats = lane, false
			return
		}
		if bytes.Equal(p.said, d.Text) {
			d.Lane = lane
			return
		}
	}
}
