package ollama

import (
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

const maxIndex = 4096

func usage(root wire.Value) (chat.Usage, bool) {
	return dialect.UsageIn(root, "eval_count", "prompt_eval_count")
}

// An adder takes the texts of an answer, whole or in pieces.
type adder func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member)

// says hands the texts of one object of an answer to add. Calls are counted
// from n.
func says(t dialect.Target, root wire.Value, n *int, add adder) error {
	m, text := root.Get("message"), "content"
	if t.Op == dialect.Generate {
		m, text = root, "response"
	} else if m.Kind() != wire.Object {
		if m.Kind() == wire.Missing {
			return nil
		}
		return errors.New("message is not an object")
	}
	cites := []dialect.Member{{In: root, Value: root.Get("logprobs")}, {In: root, Value: root.Get("context")}}
	for _, f := range []struct {
		name string
		kind chat.PartKind
	}{{text, chat.Text}, {"thinking", chat.Reasoning}} {
		v := m.Get(f.name)
		switch v.Kind() {
		case wire.Missing, wire.Null:
		case wire.String:
			add(chat.Lane{Kind: f.kind}, nil, v, cites...)
			cites = nil
		default:
			return fmt.Errorf("%s is not text", f.name)
		}
	}
	for c := range m.Get("tool_calls").Items() {
		f := c.Get("function")
		args := f.Get("arguments")
		if args.Kind() != wire.Object {
			return errors.New("a call has no arguments")
		}
		call := &chat.Call{}
		call.ID, _ = c.Get("id").Text()
		call.Name, _ = f.Get("name").Text()
		if *n > maxIndex {
			return errors.New("too many calls")
		}
		add(chat.Lane{Kind: chat.ToolCall, Index: *n}, call, args)
		*n++
	}
	if t.Op == dialect.Generate {
		return nil
	}
	for name, v := range m.Members() {
		switch name {
		case "role", "content", "thinking", "tool_calls":
		default:
			if len(dialect.Strings(v)) > 0 {
				add(chat.Lane{Kind: chat.Unknown}, nil, v)
			}
		}
	}
	return nil
}

func answer(t dialect.Target, _ dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	a, root, err := dialect.BeginAnswer(t, body, lim)
	if err != nil {
		return nil, err
	}
	a.Model, _ = root.Get("model").Text()
	a.Usage, a.Counted = usage(root)
	if t.Op == dialect.Embed {
		rows := root.Get("embeddings")
		if rows.Kind() != wire.Array {
			return nil, fmt.Errorf("%w: embeddings is missing or not an array", dialect.ErrAnswer)
		}
		for v := range rows.Items() {
			a.Scores = append(a.Scores, dialect.Vector(v))
		}
		return a, nil
	}
	if done, _ := root.Get("done").Bool(); !done {
		return nil, fmt.Errorf("%w: it is not done", dialect.ErrAnswer)
	}
	n := 0
	if err := says(t, root, &n, a.Add); err != nil {
		return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
	}
	if v := root.Get("logprobs"); v.Kind() != wire.Missing {
		a.Logprobs = []dialect.Member{{In: root, Value: v}}
	}
	reason, _ := root.Get("done_reason").Text()
	a.Ended = []dialect.Ended{{Reason: reason}}
	return a, nil
}

func events(t dialect.Target, body io.Reader) *dialect.Stream {
	model, created, calls := "", "1970-01-01T00:00:00Z", 0
	frame := func(model, created string) func([]int) []byte {
		return func([]int) []byte {
			b := wire.AppendString([]byte(`{"model":`), []byte(model))
			b = wire.AppendString(append(b, `,"created_at":`...), []byte(created))
			if t.Op == dialect.Generate {
				b = append(b, `,"response":""`...)
			} else {
				b = append(b, `,"message":{"role":"assistant","content":""}`...)
			}
			return dialect.NDJSON.Frame("", append(b, `,"done":true,"done_reason":"content_filter"}`...))
		}
	}
	read := func(e *dialect.Event) error {
		root, err := e.Parse()
		if err != nil {
			return err
		}
		if e.Failed = root.Get("error").Kind() != wire.Missing; e.Failed {
			return nil
		}
		if e.Model, _ = root.Get("model").Text(); e.Model != "" {
			model = e.Model
		}
		if s, ok := root.Get("created_at").Text(); ok {
			created = s
		}
		e.Usage, e.Counted = usage(root)
		add := func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member) {
			e.Add(lane, call, v, false, cites...)
		}
		if err := says(t, root, &calls, add); err != nil {
			return fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		e.Logprobs(dialect.Member{In: root, Value: root.Get("logprobs")})
		if e.Done, _ = root.Get("done").Bool(); e.Done {
			reason, _ := root.Get("done_reason").Text()
			e.Ended = []dialect.Ended{{Reason: reason}}
		}
		e.OnDeny(frame(model, created))
		return nil
	}
	fail := func(p dialect.Problem) []byte { return dialect.NDJSON.Frame("", problem(p)) }
	return dialect.NewStream(dialect.NDJSON, body, read, fail, frame(model, created), nil)
}
