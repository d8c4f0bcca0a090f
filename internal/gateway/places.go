package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/monitor"
)

// place notes where guards found something and what was done about it. What is
// looked at beside the texts has no place of its own, but a name.
func (x *exchange) place(found []warden.Finding, did []warden.Effect, at string) {
	for i, f := range found {
		if len(x.places) == monitor.MaxPlaces || i >= len(did) {
			return
		}
		x.places = append(x.places, monitor.Place{Rule: f.Rule, At: cmp.Or(at, f.At.Path), Start: f.At.Span.Start, End: f.At.Span.End, Did: did[i]})
	}
}

// speaks keeps what a lane of the answer says, where the route keeps all of it: the
// body has it in pieces, in which nobody finds a place again.
func (x *exchange) speaks(lane chat.Lane, text []byte) {
	if x.route.Capture != monitor.Full {
		return
	}
	if x.lanes == nil {
		x.lanes = map[string][]byte{}
	}
	at := guard.PathOf(lane)
	if room := monitor.MaxContent - len(x.lanes[at]); len(text) > room {
		text = text[:room]
	}
	x.lanes[at] = append(x.lanes[at], text...)
}

// marked returns the texts in which something was found.
func (x *exchange) marked() []monitor.Marked {
	var out []monitor.Marked
	room := monitor.MaxContent
	for _, p := range x.places {
		i := slices.IndexFunc(out, func(m monitor.Marked) bool { return m.At == p.At })
		if i < 0 {
			text := x.textAt(p.At)
			if len(text) == 0 || len(text) > room {
				continue
			}
			room -= len(text)
			i = len(out)
			out = append(out, monitor.Marked{At: p.At, Text: strings.ToValidUTF8(string(text), "")}) // it may be cut at its end
		}
		if m := &out[i]; p.Start <= p.End && p.End <= int64(len(m.Text)) {
			m.Places = append(m.Places, p)
		}
	}
	for i := range out {
		slices.SortStableFunc(out[i].Places, func(a, b monitor.Place) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	}
	return out
}

// textAt returns the text that a path names; nil: none.
func (x *exchange) textAt(at string) []byte {
	if text, ok := x.lanes[at]; ok {
		return text
	}
	var m, p int
	if n, err := fmt.Sscanf(at, "messages/%d/parts/%d", &m, &p); err != nil || n != 2 || m < 0 || p < 0 {
		return nil
	}
	if ms := x.req.Messages; m < len(ms) && p < len(ms[m].Parts) {
		return ms[m].Parts[p].Text
	}
	return nil
}
