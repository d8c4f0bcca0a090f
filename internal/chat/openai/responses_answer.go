package openai

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// The lane of a text of a response is its kind and its place: the output item
// and, within, the part. Summaries of reasoning come behind its parts.
const (
	partBits  = 10
	summaryAt = 1 << (partBits - 1)
)

func place(kind chat.PartKind, output, part int) chat.Lane {
	return chat.Lane{Kind: kind, Index: output<<partBits | part}
}

// output hands the texts of one output item to add.
func output(it wire.Value, at int, add adder) error {
	kind, _ := it.Get("type").Text()
	switch kind {
	case "message":
		return parts(it.Get("content"), at, 0, add)
	case "reasoning":
		if err := parts(it.Get("summary"), at, summaryAt, add); err != nil {
			return err
		}
		return parts(it.Get("content"), at, 0, add)
	case "function_call", "custom_tool_call", "mcp_call":
		args := it.Get("arguments")
		if args.Kind() == wire.Missing {
			args = it.Get("input")
		}
		c := &chat.Call{}
		c.ID, _ = it.Get("call_id").Text()
		c.Name, _ = it.Get("name").Text()
		add(place(chat.ToolCall, at, 0), c, args)
		if out := it.Get("output"); len(dialect.Strings(out)) > 0 {
			add(place(chat.Unknown, at, 1), nil, out)
		}
		return nil
	}
	return beside(it, at, add)
}

// beside hands over each string of an item that is not for the reader: queries,
// code, names of files. The code comes in pieces, too, and has their lane.
func beside(it wire.Value, at int, add adder) error {
	i := 0
	for name, v := range it.All() {
		if v.Kind() != wire.String || named(name) {
			continue
		}
		lane := place(chat.Beside, at, 0)
		if name != "code" {
			if i++; i >= summaryAt {
				return errors.New("too many strings in an item")
			}
			lane = place(chat.Beside, at, i)
		}
		add(lane, nil, v)
	}
	return nil
}

func parts(list wire.Value, at, first int, add adder) error {
	i := first
	for p := range list.Items() {
		if i >= first+summaryAt {
			return errors.New("too many parts")
		}
		outputPart(p, place("", at, i), add)
		i++
	}
	return nil
}

// outputPart hands over the text of one part of an output.
func outputPart(p wire.Value, lane chat.Lane, add adder) {
	kind, _ := p.Get("type").Text()
	switch kind {
	case "output_text", "text":
		lane.Kind = chat.Text
	case "reasoning_text", "summary_text":
		lane.Kind = chat.Reasoning
	case "refusal":
		lane.Kind = chat.Refusal
		add(lane, nil, p.Get("refusal"))
		return
	default:
		lane.Kind = chat.Unknown
		if len(said(p)) > 0 {
			add(lane, nil, p)
		}
		return
	}
	add(lane, nil, p.Get("text"), dialect.Member{In: p, Value: p.Get("annotations")}, dialect.Member{In: p, Value: p.Get("logprobs")})
}

// named reports whether a member only names a thing or its state.
func named(member string) bool {
	return member == "type" || member == "status" || member == "id" || strings.HasSuffix(member, "_id")
}

// said returns the strings of something unknown that are not names and states.
func said(v wire.Value) []byte {
	var b []byte
	for name, x := range v.All() {
		if s, ok := x.Text(); ok && !named(name) {
			b = append(append(b, s...), '\n')
		}
	}
	return b
}

func responsesAnswer(a *dialect.Answer, root wire.Value) error {
	a.Usage, a.Counted = usage(root.Get("usage"))
	out := root.Get("output")
	if out.Kind() != wire.Array {
		return errors.New("output is missing or not an array")
	}
	i := 0
	for it := range out.Items() {
		if i > maxIndex {
			return errors.New("too many items")
		}
		if err := output(it, i, a.Add); err != nil {
			return err
		}
		for p := range it.Get("content").Items() {
			if v := p.Get("logprobs"); v.Kind() != wire.Missing {
				a.Logprobs = append(a.Logprobs, dialect.Member{In: p, Value: v})
			}
		}
		i++
	}
	if v := root.Get("output_text"); v.Kind() == wire.String { // some servers repeat the text here
		a.Add(chat.Lane{Kind: chat.Text, Index: -1}, nil, v)
	}
	if s, ok := root.Get("status").Text(); ok {
		a.Ended = []dialect.Ended{{Reason: s}}
	}
	return nil
}

// responsesState is what is known of one stream.
type responsesState struct {
	id, model string
	seq       int64
}

func (s responsesState) deny([]int) []byte {
	b := wire.AppendString([]byte(`{"type":"response.incomplete","response":{"id":`), []byte(s.id))
	b = wire.AppendString(append(b, `,"object":"response","status":"incomplete","incomplete_details":{"reason":"content_filter"},"model":`...), []byte(s.model))
	b = strconv.AppendInt(append(b, `,"output":[],"usage":null},"sequence_number":`...), s.seq+1, 10)
	return dialect.SSE.Frame("response.incomplete", append(b, '}'))
}

func responsesStream(body io.Reader) *dialect.Stream {
	st := responsesState{id: "resp_warden"}
	read := func(e *dialect.Event) error {
		if string(e.Data) == Done { // some servers send it behind the proper end
			return nil
		}
		root, err := e.Parse()
		if err != nil {
			return err
		}
		kind, ok := root.Get("type").Text()
		if name := e.Name(); !ok || name != "" && name != kind {
			return fmt.Errorf("%w: an event called %q is of type %q", dialect.ErrAnswer, e.Name(), kind)
		}
		if n, ok := root.Get("sequence_number").Int(); ok {
			st.seq = n
		}
		if err := responsesEvent(e, kind, root, &st); err != nil {
			return fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		e.OnDeny(st.deny)
		return nil
	}
	fail := func(p dialect.Problem) []byte {
		b := wire.AppendString([]byte(`{"type":"error","code":`), []byte(p.Code))
		b = wire.AppendString(append(b, `,"message":`...), []byte(p.Message))
		return dialect.SSE.Frame("error", append(b, `,"param":null}`...))
	}
	return dialect.NewStream(dialect.SSE, body, read, fail, st.deny, nil)
}

// texts are the events that carry text: the kind of the lane, and the member
// that holds it. A name ending in .done repeats what was said.
var texts = map[string]struct {
	kind   chat.PartKind
	member string
}{
	"response.output_text.delta":                {chat.Text, "delta"},
	"response.output_text.done":                 {chat.Text, "text"},
	"response.refusal.delta":                    {chat.Refusal, "delta"},
	"response.refusal.done":                     {chat.Refusal, "refusal"},
	"response.reasoning_text.delta":             {chat.Reasoning, "delta"},
	"response.reasoning_text.done":              {chat.Reasoning, "text"},
	"response.reasoning_summary_text.delta":     {chat.Reasoning, "delta"},
	"response.reasoning_summary_text.done":      {chat.Reasoning, "text"},
	"response.function_call_arguments.delta":    {chat.ToolCall, "delta"},
	"response.function_call_arguments.done":     {chat.ToolCall, "arguments"},
	"response.custom_tool_call_input.delta":     {chat.ToolCall, "delta"},
	"response.custom_tool_call_input.done":      {chat.ToolCall, "input"},
	"response.code_interpreter_call_code.delta": {chat.Beside, "delta"},
	"response.code_interpreter_call_code.done":  {chat.Beside, "code"},
	"response.mcp_call_arguments.delta":         {chat.ToolCall, "delta"},
	"response.mcp_call_arguments.done":          {chat.ToolCall, "arguments"},
}

// silent are events that hold no text of the model.
var silent = []string{"response.created", "response.in_progress", "response.queued"}

func responsesEvent(e *dialect.Event, kind string, root wire.Value, st *responsesState) error {
	at, err := dialect.Index(root.Get("output_index"), 0, maxIndex)
	if err != nil {
		return err
	}
	in, err := dialect.Index(root.Get("content_index"), 0, summaryAt-1)
	if err != nil {
		return err
	}
	if v := root.Get("summary_index"); v.Kind() != wire.Missing {
		if in, err = dialect.Index(v, 0, summaryAt-1); err != nil {
			return err
		}
		in += summaryAt
	}
	end := kind == "response.completed" || kind == "response.failed" || kind == "response.incomplete"
	add := func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member) {
		e.Add(lane, call, v, end || strings.HasSuffix(kind, ".done"), cites...)
	}
	if t, ok := texts[kind]; ok {
		v := root.Get(t.member)
		if v.Kind() != wire.String {
			return fmt.Errorf("%s has no text", kind)
		}
		e.Logprobs(dialect.Member{In: root, Value: root.Get("logprobs")})
		add(place(t.kind, at, in), nil, v)
		return nil
	}
	resp := root.Get("response")
	if id, ok := resp.Get("id").Text(); ok {
		st.id = id
		st.model, _ = resp.Get("model").Text()
		e.ID, e.Model = st.id, st.model
	}
	if end {
		return ended(e, strings.TrimPrefix(kind, "response."), resp, add)
	}
	switch kind {
	case "response.output_item.added", "response.output_item.done":
		return output(root.Get("item"), at, add)
	case "response.content_part.added", "response.content_part.done", "response.reasoning_summary_part.added", "response.reasoning_summary_part.done":
		outputPart(root.Get("part"), place("", at, in), add)
		return nil
	case "response.output_text.annotation.added":
		e.Cites = []chat.Lane{place(chat.Text, at, in)}
		e.Drop(dialect.Member{In: root, Value: root.Get("annotation")})
		return nil
	case "error":
		e.Failed = true
		return nil
	}
	if slices.Contains(silent, kind) {
		return nil
	}
	if len(said(root)) > 0 {
		add(place(chat.Unknown, at, in), nil, root)
	}
	return nil
}

// ended reads the event that ends a stream: it repeats the whole answer.
func ended(e *dialect.Event, reason string, resp wire.Value, add adder) error {
	e.Done = true
	e.Usage, e.Counted = usage(resp.Get("usage"))
	e.Ended = []dialect.Ended{{Reason: reason}}
	i := 0
	for it := range resp.Get("output").Items() {
		if i > maxIndex {
			return errors.New("too many items")
		}
		if err := output(it, i, add); err != nil {
			return err
		}
		i++
	}
	return nil
}
