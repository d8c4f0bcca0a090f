package anthropic

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

const maxIndex = 4096

func usage(u wire.Value) (chat.Usage, bool) {
	return dialect.UsageIn(u, "output_tokens", "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
}

// kinds are the blocks whose text a member holds.
var kinds = map[string]struct {
	kind   chat.PartKind
	member string
}{"text": {chat.Text, "text"}, "thinking": {chat.Reasoning, "thinking"}, "tool_use": {chat.ToolCall, "input"}}

func answer(t dialect.Target, _ dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	a, root, err := dialect.BeginAnswer(t, body, lim)
	if err != nil {
		return nil, err
	}
	if t.Op == dialect.CountTokens {
		if a.Usage, a.Counted = usage(root); !a.Counted {
			return nil, fmt.Errorf("%w: no input_tokens", dialect.ErrAnswer)
		}
		return a, nil
	}
	a.ID, _ = root.Get("id").Text()
	a.Model, _ = root.Get("model").Text()
	a.Usage, a.Counted = usage(root.Get("usage"))
	blocks := root.Get("content")
	if blocks.Kind() != wire.Array {
		return nil, fmt.Errorf("%w: content is missing or not an array", dialect.ErrAnswer)
	}
	i := 0
	for b := range blocks.Items() {
		if err := whole(a, b, i); err != nil {
			return nil, fmt.Errorf("%w: block %d: %w", dialect.ErrAnswer, i, err)
		}
		i++
	}
	if s, ok := root.Get("stop_reason").Text(); ok {
		a.Ended = []dialect.Ended{{Reason: s}}
	}
	return a, nil
}

// whole reads block i of an answer.
func whole(a *dialect.Answer, b wire.Value, i int) error {
	kind, _ := b.Get("type").Text()
	k, ok := kinds[kind]
	v := b.Get(k.member)
	switch {
	case ok && (v.Kind() == wire.String || k.kind == chat.ToolCall && v.Kind() == wire.Object):
		var call *chat.Call
		if k.kind == chat.ToolCall {
			call = called(b)
		}
		a.Add(chat.Lane{Kind: k.kind, Index: i}, call, v, dialect.Member{In: b, Value: b.Get("citations")})
	case kind == "redacted_thinking":
	case ok && (v.Kind() == wire.Number || v.Kind() == wire.Bool): // a client that is not strict shows it, and nobody looked at it
		return errors.New(k.member + " is not text")
	case len(dialect.Strings(b)) > 0:
		a.Add(chat.Lane{Kind: chat.Unknown, Index: i}, nil, b)
	}
	return nil
}

func called(b wire.Value) *chat.Call {
	c := &chat.Call{}
	c.ID, _ = b.Get("id").Text()
	c.Name, _ = b.Get("name").Text()
	return c
}

// state is what is known of one stream.
type state struct {
	id, model string
	started   bool
	open      map[int]chat.PartKind // blocks that have begun and not ended
}

// deny closes the blocks and the message, as the provider's own classifiers do.
func (s state) deny([]int) []byte {
	var out []byte
	if !s.started {
		b := wire.AppendString([]byte(`{"type":"message_start","message":{"id":`), []byte(s.id))
		b = wire.AppendString(append(b, `,"type":"message","role":"assistant","model":`...), []byte(s.model))
		b = append(b, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}`...)
		out = append(out, dialect.SSE.Frame("message_start", b)...)
	}
	for _, i := range slices.Sorted(maps.Keys(s.open)) {
		b := strconv.AppendInt([]byte(`{"type":"content_block_stop","index":`), int64(i), 10)
		out = append(out, dialect.SSE.Frame("content_block_stop", append(b, '}'))...)
	}
	out = append(out, dialect.SSE.Frame("message_delta", []byte(`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null},"usage":{"output_tokens":0}}`))...)
	return append(out, dialect.SSE.Frame("message_stop", []byte(`{"type":"message_stop"}`))...)
}

func events(body io.Reader) *dialect.Stream {
	st := state{id: "msg_warden", open: map[int]chat.PartKind{}}
	var total chat.Usage
	read := func(e *dialect.Event) error {
		root, err := e.Parse()
		if err != nil {
			return err
		}
		kind, ok := root.Get("type").Text()
		if name := e.Name(); !ok || name != "" && name != kind {
			return fmt.Errorf("%w: an event called %q is of type %q", dialect.ErrAnswer, e.Name(), kind)
		}
		if err := event(e, kind, root, &st, &total); err != nil {
			return fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		now := st
		now.open = maps.Clone(st.open)
		e.OnDeny(now.deny)
		return nil
	}
	fail := func(p dialect.Problem) []byte { return dialect.SSE.Frame("error", problem(p)) }
	return dialect.NewStream(dialect.SSE, body, read, fail, st.deny, nil)
}

func event(e *dialect.Event, kind string, root wire.Value, st *state, total *chat.Usage) error {
	at, err := dialect.Index(root.Get("index"), 0, maxIndex)
	if err != nil {
		return err
	}
	switch kind {
	case "message_start":
		m := root.Get("message")
		st.id, _ = m.Get("id").Text()
		st.model, _ = m.Get("model").Text()
		st.started = true
		e.ID, e.Model = st.id, st.model
		count(e, m.Get("usage"), total)
		if s := dialect.Strings(m.Get("content")); len(s) > 0 {
			e.Add(chat.Lane{Kind: chat.Unknown}, nil, m.Get("content"), false)
		}
	case "content_block_start":
		begin(e, root.Get("content_block"), at, st)
	case "content_block_delta":
		return delta(e, root.Get("delta"), at, st)
	case "content_block_stop":
		delete(st.open, at)
	case "message_delta":
		if s, ok := root.Get("delta").Get("stop_reason").Text(); ok {
			e.Ended = []dialect.Ended{{Reason: s}}
		}
		count(e, root.Get("usage"), total)
	case "message_stop":
		e.Done = true
	case "error":
		e.Failed = true
	case "ping":
	default:
		e.Add(chat.Lane{Kind: chat.Unknown, Index: at}, nil, root, false)
	}
	return nil
}

// count adds what an event says of the cost. The counts of output are running
// totals; those of input may come once only.
func count(e *dialect.Event, u wire.Value, total *chat.Usage) {
	now, ok := usage(u)
	if !ok {
		return
	}
	total.Output = max(total.Output, now.Output)
	total.Input = max(total.Input, now.Input)
	e.Usage, e.Counted = *total, true
}

func begin(e *dialect.Event, b wire.Value, at int, st *state) {
	kind, _ := b.Get("type").Text()
	k, ok := kinds[kind]
	switch {
	case ok:
	case kind == "redacted_thinking":
		k.kind = chat.Reasoning
		st.open[at] = k.kind
		return
	default:
		st.open[at] = chat.Unknown
		e.Add(chat.Lane{Kind: chat.Unknown, Index: at}, nil, b, false)
		return
	}
	st.open[at] = k.kind
	v := b.Get(k.member)
	if k.kind != chat.ToolCall {
		if v.Kind() == wire.String {
			e.Add(chat.Lane{Kind: k.kind, Index: at}, nil, v, false, dialect.Member{In: b, Value: b.Get("citations")})
		}
		return
	}
	if v.Len() > 0 { // the arguments come in pieces; whole ones here would be a second truth
		e.Add(chat.Lane{Kind: chat.Unknown, Index: at}, called(b), v, false)
		return
	}
	e.Add(chat.Lane{Kind: k.kind, Index: at}, called(b), wire.Value{}, false)
}

func delta(e *dialect.Event, d wire.Value, at int, st *state) error {
	open, ok := st.open[at]
	if !ok {
		return errors.New("a delta of a block that is not open")
	}
	kind, _ := d.Get("type").Text()
	var want chat.PartKind
	var v wire.Value
	switch kind {
	case "text_delta":
		want, v = chat.Text, d.Get("text")
	case "thinking_delta":
		want, v = chat.Reasoning, d.Get("thinking")
	case "input_json_delta":
		want, v = chat.ToolCall, d.Get("partial_json")
	case "signature_delta":
		return nil
	case "citations_delta":
		e.Cites = []chat.Lane{{Kind: chat.Text, Index: at}}
		return nil
	default:
		e.Add(chat.Lane{Kind: chat.Unknown, Index: at}, nil, d, false)
		return nil
	}
	if v.Kind() != wire.String {
		return fmt.Errorf("%s has no text", kind)
	}
	if open != want { // a server-side tool's arguments, or a mixture
		want = chat.Unknown
	}
	e.Add(chat.Lane{Kind: want, Index: at}, nil, v, false)
	return nil
}
