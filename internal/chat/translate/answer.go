package translate

import (
	"errors"
	"fmt"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
)

// reasons are why a model stopped, a row each, in the words of each dialect. The
// first that fits is taken; what fits none is an ordinary stop and no better.
var reasons = []map[string]string{
	{openai.Name: "stop", anthropic.Name: "end_turn", gemini.Name: "STOP", ollama.Name: "stop"},
	{openai.Name: "stop", anthropic.Name: "stop_sequence", gemini.Name: "STOP", ollama.Name: "stop"},
	{openai.Name: "length", anthropic.Name: "max_tokens", gemini.Name: "MAX_TOKENS", ollama.Name: "length"},
	{openai.Name: "length", anthropic.Name: "model_context_window_exceeded", gemini.Name: "MAX_TOKENS", ollama.Name: "length"},
	{openai.Name: "tool_calls", anthropic.Name: "tool_use", gemini.Name: "STOP", ollama.Name: "stop"},
	{openai.Name: "content_filter", anthropic.Name: "refusal", gemini.Name: "SAFETY", ollama.Name: "content_filter"},
	{openai.Name: "content_filter", anthropic.Name: "refusal", gemini.Name: "RECITATION", ollama.Name: "content_filter"},
	{openai.Name: "content_filter", anthropic.Name: "refusal", gemini.Name: "PROHIBITED_CONTENT", ollama.Name: "content_filter"},
	{openai.Name: "content_filter", anthropic.Name: "refusal", gemini.Name: "BLOCKLIST", ollama.Name: "content_filter"},
	{openai.Name: "content_filter", anthropic.Name: "refusal", gemini.Name: "SPII", ollama.Name: "content_filter"},
}

// reason translates why a model stopped. A call is a reason of its own in two
// dialects, and no reason in the others.
func reason(from, to, why string, called bool) string {
	if called && (to == openai.Name || to == anthropic.Name) {
		for _, r := range reasons {
			if r[from] == why && r[openai.Name] == "stop" {
				return reasons[4][to]
			}
		}
	}
	for _, r := range reasons {
		if r[from] == why {
			return r[to]
		}
	}
	return reasons[0][to]
}

// A said is what one choice of an answer says.
type said struct {
	text, reasoning []byte
	calls           []chat.Part
	why             string
}

// Answer returns what an answer of the upstream's dialect, with all its
// changes, is in the client's.
func Answer(client, upstream *dialect.Dialect, a *dialect.Answer, model string) ([]byte, error) {
	body, err := a.Bytes()
	if err != nil {
		return nil, err
	}
	lim := dialect.AnswerLimits()
	lim.Bytes *= 2
	if a, err = upstream.Answer(a.To, dialect.None, body, lim); err != nil {
		return nil, err
	}
	choices, err := split(a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
	}
	for i := range choices {
		choices[i].why = reason(upstream.Name, client.Name, choices[i].why, len(choices[i].calls) > 0)
	}
	w := &writer{}
	switch client.Name {
	case openai.Name:
		openaiAnswer(w, a, choices, model)
	case anthropic.Name:
		err = anthropicAnswer(w, a, choices[0], model)
	case gemini.Name:
		err = geminiAnswer(w, a, choices, model)
	case ollama.Name:
		err = ollamaAnswer(w, a, choices[0], model)
	default:
		err = refuse("an answer for dialect %s", client.Name)
	}
	return w.b, err
}

// maxChoices is more than any cap lets through.
const maxChoices = 128

func split(a *dialect.Answer) ([]said, error) {
	out := make([]said, 1)
	of := func(i int) (*said, error) {
		if i < 0 || i >= maxChoices {
			return nil, errors.New("too many choices")
		}
		for len(out) <= i {
			out = append(out, said{})
		}
		return &out[i], nil
	}
	for _, t := range a.Texts {
		c, err := of(t.Lane.Choice)
		if err != nil {
			return nil, err
		}
		switch t.Lane.Kind {
		case chat.Text, chat.Refusal:
			c.text = append(c.text, t.Text...)
		case chat.Reasoning:
			c.reasoning = append(c.reasoning, t.Text...)
		case chat.ToolCall:
			c.calls = append(c.calls, chat.Part{Kind: chat.ToolCall, Call: t.Call, Text: t.Text})
		default:
			return nil, errors.New("a part that was not understood cannot be translated")
		}
	}
	for _, e := range a.Ended {
		c, err := of(e.Choice)
		if err != nil {
			return nil, err
		}
		c.why = e.Reason
	}
	return out, nil
}

func openaiAnswer(w *writer, a *dialect.Answer, choices []said, model string) {
	w.open('{').name("id").str("chatcmpl-" + a.ID).name("object").str("chat.completion").name("created").num(0).name("model").str(model).name("choices").open('[')
	for i, c := range choices {
		w.open('{').name("index").num(int64(i)).name("message").open('{').name("role").str("assistant").name("content")
		if len(c.text) > 0 || len(c.calls) == 0 {
			w.str(string(c.text))
		} else {
			w.raw([]byte("null"))
		}
		if len(c.reasoning) > 0 {
			w.name("reasoning_content").str(string(c.reasoning))
		}
		if len(c.calls) > 0 {
			w.name("tool_calls").open('[')
			for k, p := range c.calls {
				args := p.Text
				if len(args) == 0 {
					args = []byte("{}")
				}
				w.open('{').name("id").str(callID(p.Call, i, k)).name("type").str("function").name("function").open('{').name("name").str(name(p.Call)).name("arguments").str(string(args)).close('}').close('}')
			}
			w.close(']')
		}
		w.close('}').name("finish_reason").str(c.why).close('}')
	}
	w.close(']').name("usage").open('{').name("prompt_tokens").num(a.Usage.Input).name("completion_tokens").num(a.Usage.Output).name("total_tokens").num(a.Usage.Input + a.Usage.Output).close('}').close('}')
}

func callID(c *chat.Call, choice, at int) string {
	if c != nil && c.ID != "" {
		return c.ID
	}
	return fmt.Sprintf("call_%d_%d", choice, at)
}

func anthropicAnswer(w *writer, a *dialect.Answer, c said, model string) error {
	w.open('{').name("id").str("msg_" + a.ID).name("type").str("message").name("role").str("assistant").name("model").str(model).name("content").open('[')
	if len(c.reasoning) > 0 {
		w.open('{').name("type").str("thinking").name("thinking").str(string(c.reasoning)).name("signature").str("").close('}')
	}
	if len(c.text) > 0 {
		w.open('{').name("type").str("text").name("text").str(string(c.text)).close('}')
	}
	for k, p := range c.calls {
		w.open('{').name("type").str("tool_use").name("id").str(callID(p.Call, 0, k)).name("name").str(name(p.Call)).name("input")
		if err := w.arguments(p.Text); err != nil {
			return err
		}
		w.close('}')
	}
	w.close(']').name("stop_reason").str(c.why).name("stop_sequence").raw([]byte("null")).name("usage").open('{').name("input_tokens").num(a.Usage.Input).name("output_tokens").num(a.Usage.Output).close('}').close('}')
	return nil
}

func geminiAnswer(w *writer, a *dialect.Answer, choices []said, model string) error {
	w.open('{').name("candidates").open('[')
	for i, c := range choices {
		w.open('{').name("content").open('{').name("role").str("model").name("parts").open('[')
		if len(c.reasoning) > 0 {
			w.open('{').name("text").str(string(c.reasoning)).name("thought").bool(true).close('}')
		}
		if len(c.text) > 0 {
			w.open('{').name("text").str(string(c.text)).close('}')
		}
		for _, p := range c.calls {
			w.open('{').name("functionCall").open('{').name("name").str(name(p.Call)).name("args")
			if err := w.arguments(p.Text); err != nil {
				return err
			}
			w.close('}').close('}')
		}
		w.close(']').close('}').name("finishReason").str(c.why).name("index").num(int64(i)).close('}')
	}
	w.close(']').name("usageMetadata").open('{').name("promptTokenCount").num(a.Usage.Input).name("candidatesTokenCount").num(a.Usage.Output).name("totalTokenCount").num(a.Usage.Input + a.Usage.Output).close('}').name("modelVersion").str(model).close('}')
	return nil
}

func ollamaAnswer(w *writer, a *dialect.Answer, c said, model string) error {
	w.open('{').name("model").str(model).name("created_at").str(epoch).name("message").open('{').name("role").str("assistant").name("content").str(string(c.text))
	if len(c.reasoning) > 0 {
		w.name("thinking").str(string(c.reasoning))
	}
	if err := ollamaCalls(w, c.calls); err != nil {
		return err
	}
	w.close('}').name("done").bool(true).name("done_reason").str(c.why).name("prompt_eval_count").num(a.Usage.Input).name("eval_count").num(a.Usage.Output).close('}')
	return nil
}

// epoch stands where a dialect wants a time that the upstream did not give.
const epoch = "1970-01-01T00:00:00Z"

func ollamaCalls(w *writer, calls []chat.Part) error {
	if len(calls) == 0 {
		return nil
	}
	w.name("tool_calls").open('[')
	for _, p := range calls {
		w.open('{').name("function").open('{').name("name").str(name(p.Call)).name("arguments")
		if err := w.arguments(p.Text); err != nil {
			return err
		}
		w.close('}').close('}')
	}
	w.close(']')
	return nil
}
