package openai

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// maxIndex bounds the indexes of choices and calls.
const maxIndex = 4096

// An adder takes the texts of a message, whole or in pieces.
type adder func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member)

// known are members of a message or delta that hold no text of the model.
var known = []string{"role", "annotations", "id", "type", "index", "tool_call_id", "name", "token_ids"}

// says hands the texts of the message or delta m of a choice to add. What it
// does not know becomes unknown text.
func says(m wire.Value, choice int, cites []dialect.Member, add adder) error {
	if m.Kind() == wire.Missing || m.Kind() == wire.Null {
		return nil
	}
	if m.Kind() != wire.Object {
		return errors.New("a message is not an object")
	}
	if v := m.Get("annotations"); v.Kind() != wire.Missing {
		cites = append(slices.Clone(cites), dialect.Member{In: m, Value: v})
	}
	for name, v := range m.Members() {
		if v.Kind() == wire.Null || slices.Contains(known, name) {
			continue
		}
		lane := chat.Lane{Choice: choice, Kind: chat.Unknown}
		switch name {
		case "content":
			switch v.Kind() {
			case wire.String:
				lane.Kind = chat.Text
			case wire.Number, wire.Bool: // a client that is not strict shows it, and nobody looked at it
				return errors.New("content is not text")
			}
		case "reasoning", "reasoning_content":
			if v.Kind() == wire.String {
				lane.Kind = chat.Reasoning
				if name == "reasoning" { // some servers send both: each is a text of its own
					lane.Index = 1
				}
			}
		case "refusal":
			lane.Kind = chat.Refusal
		case "function_call":
			if err := called(v, v, chat.Lane{Choice: choice, Kind: chat.ToolCall, Index: maxIndex + 1}, cites, add); err != nil {
				return err
			}
			continue
		case "tool_calls":
			i := 0
			for c := range v.Items() {
				at, err := dialect.Index(c.Get("index"), 0, maxIndex)
				if err != nil {
					return err
				}
				if c.Get("index").Kind() == wire.Missing {
					at = i
				}
				i++
				f := c.Get("function")
				if f.Kind() == wire.Missing {
					f = c.Get("custom")
				}
				if err := called(c, f, chat.Lane{Choice: choice, Kind: chat.ToolCall, Index: at}, cites, add); err != nil {
					return err
				}
			}
			continue
		}
		if lane.Kind == chat.Unknown && len(dialect.Strings(v)) == 0 {
			continue
		}
		add(lane, nil, v, cites...)
	}
	return nil
}

// called hands over the arguments of a call c to the function f.
func called(c, f wire.Value, lane chat.Lane, cites []dialect.Member, add adder) error {
	args := f.Get("arguments")
	if args.Kind() == wire.Missing {
		args = f.Get("input")
	}
	var call *chat.Call
	id, _ := c.Get("id").Text()
	name, _ := f.Get("name").Text()
	if id != "" || name != "" {
		call = &chat.Call{ID: id, Name: name}
	}
	switch {
	case args.Kind() == wire.Missing || args.Kind() == wire.Null:
		if call != nil { // it begins with its name alone
			add(lane, call, wire.Value{})
		}
		return nil
	case args.Kind() == wire.String || args.Kind() == wire.Object:
		add(lane, call, args, cites...)
		return nil
	}
	return errors.New("arguments of a call are not text")
}

func chatAnswer(a *dialect.Answer, root wire.Value) error {
	a.Usage, a.Counted = usage(root.Get("usage"))
	cs := root.Get("choices")
	if cs.Kind() != wire.Array {
		return errors.New("choices is missing or not an array")
	}
	if v := root.Get("prompt_logprobs"); v.Kind() != wire.Missing {
		a.Logprobs = append(a.Logprobs, dialect.Member{In: root, Value: v})
	}
	for c := range cs.Items() {
		i, err := dialect.Index(c.Get("index"), 0, maxIndex)
		if err != nil {
			return err
		}
		var cites []dialect.Member
		if v := c.Get("logprobs"); v.Kind() != wire.Missing {
			m := dialect.Member{In: c, Value: v}
			a.Logprobs = append(a.Logprobs, m)
			cites = append(cites, m)
		}
		if err := says(c.Get("message"), i, cites, a.Add); err != nil {
			return fmt.Errorf("choice %d: %w", i, err)
		}
		if v := c.Get("text"); v.Kind() == wire.String {
			a.Add(chat.Lane{Choice: i, Kind: chat.Text}, nil, v, cites...)
		}
		if reason, ok := c.Get("finish_reason").Text(); ok {
			a.Ended = append(a.Ended, dialect.Ended{Choice: i, Reason: reason})
		}
	}
	return nil
}

// head is what the events of one stream have in common.
type head struct {
	id, model string
	created   int64
	open      []int // choices that have begun and not ended
}

func (h head) event(choice int, reason string) []byte {
	b := wire.AppendString([]byte(`{"id":`), []byte(h.id))
	b = strconv.AppendInt(append(b, `,"object":"chat.completion.chunk","created":`...), h.created, 10)
	b = wire.AppendString(append(b, `,"model":`...), []byte(h.model))
	b = strconv.AppendInt(append(b, `,"choices":[{"index":`...), int64(choice), 10)
	b = wire.AppendString(append(b, `,"delta":{},"logprobs":null,"finish_reason":`...), []byte(reason))
	return dialect.SSE.Frame("", append(b, "}]}"...))
}

// deny ends these choices, or all of them and the stream.
func (h head) deny(choices []int) []byte {
	all := len(choices) == 0
	if all {
		if choices = h.open; len(choices) == 0 {
			choices = []int{0}
		}
	}
	var out []byte
	for _, c := range choices {
		out = append(out, h.event(c, "content_filter")...)
	}
	if all {
		out = append(out, dialect.SSE.Frame("", []byte(Done))...)
	}
	return out
}

func chatStream(body io.Reader) *dialect.Stream {
	h := head{id: "chatcmpl-warden"}
	read := func(e *dialect.Event) error {
		if string(e.Data) == Done {
			e.Done = true
			return nil
		}
		root, err := e.Parse()
		if err != nil {
			return err
		}
		if err := chunk(e, root, &h); err != nil {
			return fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		e.OnDeny(head{h.id, h.model, h.created, slices.Clone(h.open)}.deny)
		return nil
	}
	return dialect.NewStream(dialect.SSE, body, read, func(p dialect.Problem) []byte { return dialect.SSE.Frame("", problem(p)) }, h.deny, nil)
}

func chunk(e *dialect.Event, root wire.Value, h *head) error {
	if failed(root) {
		e.Failed = true
		return nil
	}
	e.ID, _ = root.Get("id").Text()
	e.Model, _ = root.Get("model").Text()
	e.Fingerprint, _ = root.Get("system_fingerprint").Text()
	created, _ := root.Get("created").Int()
	if e.ID != "" {
		h.id, h.model, h.created = e.ID, e.Model, created
	}
	e.Usage, e.Counted = usage(root.Get("usage"))
	cs := root.Get("choices")
	if cs.Kind() != wire.Array {
		if e.Counted || len(dialect.Strings(root.Get("choices"))) == 0 && root.Get("choices").Kind() == wire.Missing && e.ID != "" {
			return nil
		}
		return errors.New("choices is missing or not an array")
	}
	e.UsageOnly = e.Counted && cs.Len() == 0
	for c := range cs.Items() {
		i, err := dialect.Index(c.Get("index"), 0, maxIndex)
		if err != nil {
			return err
		}
		if !slices.Contains(h.open, i) {
			h.open = append(h.open, i)
		}
		e.Logprobs(dialect.Member{In: c, Value: c.Get("logprobs")})
		add := func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member) {
			e.Add(lane, call, v, false, cites...)
		}
		delta := c.Get("delta")
		if delta.Get("annotations").Len() > 0 && delta.Get("content").Kind() != wire.String {
			e.Cites = append(e.Cites, chat.Lane{Choice: i, Kind: chat.Text})
		}
		if err := says(delta, i, nil, add); err != nil {
			return err
		}
		if m := c.Get("message"); m.Kind() == wire.Object { // a whole message in a stream is text too
			if err := says(m, i, nil, add); err != nil {
				return err
			}
		}
		if v := c.Get("text"); v.Kind() == wire.String {
			add(chat.Lane{Choice: i, Kind: chat.Text}, nil, v)
		}
		if reason, ok := c.Get("finish_reason").Text(); ok {
			e.Ended = append(e.Ended, dialect.Ended{Choice: i, Reason: reason})
			h.open = slices.DeleteFunc(h.open, func(o int) bool { return o == i })
		}
	}
	return nil
}
