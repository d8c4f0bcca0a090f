package translate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
)

// A Stream writes the events of an upstream as those of the client's dialect.
// Calls are passed in pieces where the client's dialect has pieces, and whole
// where it has not. It belongs to one goroutine.
type Stream struct {
	client, upstream *dialect.Dialect
	model            string
	usage            bool // the client wants to know what it cost
	form             dialect.Form

	id      string
	started bool
	total   chat.Usage
	ended   []dialect.Ended
	order   []chat.Lane              // the lanes of calls, as they came
	calls   map[chat.Lane]*chat.Part // by lane; Text is what was said of it
	open    chat.Lane                // Anthropic: the lane of the block that is open
	block   int                      // and its number
	opened  bool
	over    bool
}

// NewStream returns the stream to a client of target t for a model of that name.
// Usage says that an OpenAI client asked what the answer costs.
func NewStream(client, upstream *dialect.Dialect, t dialect.Target, model string, usage bool) (*Stream, error) {
	if !Pair(client.Name, upstream.Name) {
		return nil, refuse("a stream of dialect %s for %s", upstream.Name, client.Name)
	}
	s := &Stream{client: client, upstream: upstream, model: model, usage: usage, form: dialect.SSE, id: "warden", calls: map[chat.Lane]*chat.Part{}}
	switch {
	case client.Name == ollama.Name:
		s.form = dialect.NDJSON
	case client.Name == gemini.Name && !t.SSE:
		s.form = dialect.JSONArray
	}
	return s, nil
}

// Form says how the pieces are told apart.
func (s *Stream) Form() dialect.Form { return s.form }

// Write returns the frames for an event whose deltas say these texts; nil stands
// for what they said themselves. There may be none.
func (s *Stream) Write(e *dialect.Event, texts [][]byte) ([]byte, error) {
	if e.ID != "" && !s.started {
		s.id = e.ID
	}
	if e.Counted {
		s.total = chat.Usage{Input: max(s.total.Input, e.Usage.Input), Output: max(s.total.Output, e.Usage.Output)}
	}
	s.ended = append(s.ended, e.Ended...)
	var out []byte
	for i, d := range e.Deltas {
		if i < len(texts) && texts[i] != nil {
			d.Text = texts[i]
		}
		b, err := s.delta(d)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		out = append(out, b...)
	}
	if e.Done {
		b, err := s.End()
		return append(out, b...), err
	}
	return out, nil
}

// End returns the frames that end the stream properly, once.
func (s *Stream) End() ([]byte, error) {
	if s.over {
		return nil, nil
	}
	out, err := s.collected()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
	}
	if len(s.ended) == 0 {
		s.ended = []dialect.Ended{{}}
	}
	for i, e := range s.ended {
		called := slices.ContainsFunc(s.order, func(l chat.Lane) bool { return l.Choice == e.Choice })
		s.ended[i].Reason = reason(s.upstream.Name, s.client.Name, e.Reason, called)
	}
	return append(out, s.finish(s.ended)...), nil
}

// Denied returns the frames that end the stream because its content may not
// pass.
func (s *Stream) Denied() []byte {
	if s.over {
		return nil
	}
	return s.finish([]dialect.Ended{{Reason: reasons[5][s.client.Name]}})
}

// Failed returns the frame of an error in the middle of the stream.
func (s *Stream) Failed(p dialect.Problem) []byte {
	name := ""
	if s.client.Name == anthropic.Name {
		name = "error"
	}
	return s.frame(name, s.client.Error(p))
}

// frame returns one piece. The first of an array has its bracket.
func (s *Stream) frame(name string, data []byte) []byte {
	out := s.form.Frame(name, data)
	if s.form == dialect.JSONArray && !s.started {
		out[0] = '['
	}
	s.started = true
	return out
}

func (s *Stream) delta(d dialect.Delta) ([]byte, error) {
	if d.Repeats {
		return nil, nil
	}
	switch d.Lane.Kind {
	case chat.ToolCall:
		return s.call(d)
	case chat.Text, chat.Refusal, chat.Reasoning:
		if len(d.Text) == 0 {
			return nil, nil
		}
	default:
		return nil, errors.New("a part that was not understood cannot be translated")
	}
	if d.Lane.Choice >= maxChoices || d.Lane.Choice != 0 && (s.client.Name == anthropic.Name || s.client.Name == ollama.Name) {
		return nil, errors.New("several answers")
	}
	thought := d.Lane.Kind == chat.Reasoning
	w := &writer{}
	switch s.client.Name {
	case openai.Name:
		s.chunk(w, d.Lane.Choice)
		member := "content"
		if thought {
			member = "reasoning_content"
		}
		w.name(member).str(string(d.Text))
		return s.frame("", w.close('}').name("finish_reason").raw([]byte("null")).close('}').close(']').close('}').b), nil
	case anthropic.Name:
		kind, member := "text", "text"
		if thought {
			kind, member = "thinking", "thinking"
		}
		out := s.begin(d.Lane, func(w *writer) { w.name("type").str(kind).name(member).str("") })
		w.open('{').name("type").str("content_block_delta").name("index").num(int64(s.block)).name("delta").open('{').name("type").str(kind + "_delta").name(member).str(string(d.Text)).close('}').close('}')
		return append(out, s.frame("content_block_delta", w.b)...), nil
	case gemini.Name:
		w.open('{').name("candidates").open('[').open('{').name("content").open('{').name("role").str("model").name("parts").open('[').open('{').name("text").str(string(d.Text))
		if thought {
			w.name("thought").bool(true)
		}
		w.close('}').close(']').close('}').name("index").num(int64(d.Lane.Choice)).close('}').close(']').name("modelVersion").str(s.model).close('}')
	default:
		w.open('{').name("model").str(s.model).name("created_at").str(epoch).name("message").open('{').name("role").str("assistant").name("content")
		if thought {
			w.str("").name("thinking")
		}
		w.str(string(d.Text)).close('}').name("done").bool(false).close('}')
	}
	return s.frame("", w.b), nil
}

// chunk begins a chunk of OpenAI up to what its delta says.
func (s *Stream) chunk(w *writer, choice int) {
	w.open('{').name("id").str("chatcmpl-" + s.id).name("object").str("chat.completion.chunk").name("created").num(0).name("model").str(s.model)
	w.name("choices").open('[').open('{').name("index").num(int64(choice)).name("delta").open('{')
	if !s.started {
		w.name("role").str("assistant")
	}
}

// begin opens the block of a lane, and closes the one before.
func (s *Stream) begin(lane chat.Lane, block func(w *writer)) []byte {
	if s.opened && s.open == lane {
		return nil
	}
	var out []byte
	if !s.started {
		w := &writer{}
		w.open('{').name("type").str("message_start").name("message").open('{').name("id").str("msg_" + s.id).name("type").str("message").name("role").str("assistant").name("model").str(s.model)
		w.name("content").open('[').close(']').name("stop_reason").raw([]byte("null")).name("stop_sequence").raw([]byte("null")).name("usage").open('{').name("input_tokens").num(s.total.Input).name("output_tokens").num(0).close('}').close('}').close('}')
		out = s.frame("message_start", w.b)
	}
	out = append(out, s.closeBlock()...)
	if block == nil {
		return out
	}
	s.open, s.opened = lane, true
	w := &writer{}
	w.open('{').name("type").str("content_block_start").name("index").num(int64(s.block)).name("content_block").open('{')
	block(w)
	return append(out, s.frame("content_block_start", w.close('}').close('}').b)...)
}

func (s *Stream) closeBlock() []byte {
	if !s.opened {
		return nil
	}
	w := &writer{}
	w.open('{').name("type").str("content_block_stop").name("index").num(int64(s.block)).close('}')
	s.opened = false
	s.block++
	return s.frame("content_block_stop", w.b)
}

// maxCall bounds a call that is collected.
const maxCall = 1 << 20

// call passes a piece of a call, or collects it.
func (s *Stream) call(d dialect.Delta) ([]byte, error) {
	p := s.calls[d.Lane]
	first := p == nil
	if first {
		if len(s.order) >= 4096 || d.Call == nil || d.Call.Name == "" {
			return nil, errors.New("a call without a name, or too many")
		}
		p = &chat.Part{Call: d.Call}
		s.calls[d.Lane] = p
		s.order = append(s.order, d.Lane)
	}
	number := slices.Index(s.order, d.Lane)
	switch s.client.Name {
	case openai.Name:
		w := &writer{}
		s.chunk(w, d.Lane.Choice)
		at := 0
		for _, l := range s.order[:number] {
			if l.Choice == d.Lane.Choice {
				at++
			}
		}
		w.name("tool_calls").open('[').open('{').name("index").num(int64(at))
		if first {
			w.name("id").str(callID(d.Call, d.Lane.Choice, at)).name("type").str("function")
		}
		w.name("function").open('{')
		if first {
			w.name("name").str(d.Call.Name)
		}
		w.name("arguments").str(string(d.Text)).close('}').close('}').close(']')
		return s.frame("", w.close('}').name("finish_reason").raw([]byte("null")).close('}').close(']').close('}').b), nil
	case anthropic.Name:
		if !first && (!s.opened || s.open != d.Lane) {
			return nil, errors.New("calls that are mixed")
		}
		out := s.begin(d.Lane, func(w *writer) {
			w.name("type").str("tool_use").name("id").str(callID(p.Call, 0, number)).name("name").str(p.Call.Name).name("input").open('{').close('}')
		})
		if len(d.Text) == 0 {
			return out, nil
		}
		w := &writer{}
		w.open('{').name("type").str("content_block_delta").name("index").num(int64(s.block)).name("delta").open('{').name("type").str("input_json_delta").name("partial_json").str(string(d.Text)).close('}').close('}')
		return append(out, s.frame("content_block_delta", w.b)...), nil
	}
	if p.Text = append(p.Text, d.Text...); len(p.Text) > maxCall {
		return nil, errors.New("the arguments of a call are too large")
	}
	return nil, nil
}

// collected passes the calls for dialects that have no pieces of them.
func (s *Stream) collected() ([]byte, error) {
	if s.client.Name == openai.Name || s.client.Name == anthropic.Name {
		return nil, nil
	}
	var out []byte
	for _, l := range s.order {
		p := s.calls[l]
		w := &writer{}
		if s.client.Name == gemini.Name {
			w.open('{').name("candidates").open('[').open('{').name("content").open('{').name("role").str("model").name("parts").open('[').open('{').name("functionCall").open('{').name("name").str(p.Call.Name).name("args")
			if err := w.arguments(p.Text); err != nil {
				return nil, err
			}
			w.close('}').close('}').close(']').close('}').name("index").num(int64(l.Choice)).close('}').close(']').close('}')
		} else {
			w.open('{').name("model").str(s.model).name("created_at").str(epoch).name("message").open('{').name("role").str("assistant").name("content").str("")
			if err := ollamaCalls(w, []chat.Part{*p}); err != nil {
				return nil, err
			}
			w.close('}').name("done").bool(false).close('}')
		}
		out = append(out, s.frame("", w.b)...)
	}
	return out, nil
}

// finish ends the choices and the stream.
func (s *Stream) finish(ended []dialect.Ended) []byte {
	s.over = true
	var out []byte
	w := &writer{}
	switch s.client.Name {
	case openai.Name:
		for _, e := range ended {
			w := &writer{}
			s.chunk(w, e.Choice)
			out = append(out, s.frame("", w.close('}').name("finish_reason").str(e.Reason).close('}').close(']').close('}').b)...)
		}
		if s.usage {
			w.open('{').name("id").str("chatcmpl-" + s.id).name("object").str("chat.completion.chunk").name("created").num(0).name("model").str(s.model).name("choices").open('[').close(']')
			w.name("usage").open('{').name("prompt_tokens").num(s.total.Input).name("completion_tokens").num(s.total.Output).name("total_tokens").num(s.total.Input + s.total.Output).close('}').close('}')
			out = append(out, s.frame("", w.b)...)
		}
		return append(out, s.frame("", []byte(openai.Done))...)
	case anthropic.Name:
		out = s.begin(chat.Lane{Index: -1}, nil)
		w.open('{').name("type").str("message_delta").name("delta").open('{').name("stop_reason").str(ended[0].Reason).name("stop_sequence").raw([]byte("null")).close('}').name("usage").open('{').name("output_tokens").num(s.total.Output).close('}').close('}')
		out = append(out, s.frame("message_delta", w.b)...)
		return append(out, s.frame("message_stop", []byte(`{"type":"message_stop"}`))...)
	case gemini.Name:
		w.open('{').name("candidates").open('[')
		for _, e := range ended {
			w.open('{').name("index").num(int64(e.Choice)).name("finishReason").str(e.Reason).close('}')
		}
		w.close(']').name("usageMetadata").open('{').name("promptTokenCount").num(s.total.Input).name("candidatesTokenCount").num(s.total.Output).name("totalTokenCount").num(s.total.Input + s.total.Output).close('}').name("modelVersion").str(s.model).close('}')
		out = s.frame("", w.b)
		if s.form == dialect.JSONArray {
			out = append(out, ']')
		}
		return out
	}
	w.open('{').name("model").str(s.model).name("created_at").str(epoch).name("message").open('{').name("role").str("assistant").name("content").str("").close('}').name("done").bool(true).name("done_reason").str(ended[0].Reason)
	w.name("prompt_eval_count").num(s.total.Input).name("eval_count").num(s.total.Output).close('}')
	return s.frame("", w.b)
}
