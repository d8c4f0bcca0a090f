// Package openai is the dialect of OpenAI's chat completions: what a request
// says, which of its fields are governed, how a stream ends well, and what an
// error looks like. See the API reference of POST /v1/chat/completions.
package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// ErrRequest is wrapped by [Decode] for a body that is JSON but no chat request
// that may pass. Syntax errors wrap [wire.ErrSyntax].
var ErrRequest = errors.New("not an acceptable chat request")

// refused are fields that choose a host, a key or another model behind the
// gateway's back, or that make the upstream evaluate a template of the client.
// Several servers honour them; none belongs in a governed request.
var refused = []string{
	"api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "model_list", "fallbacks", "extra_headers", "extra_body",
	"organization", "server_url", "prompt_embeds", "chat_template", "chat_template_kwargs", "logits_processors", "guided_regex", "guided_grammar",
}

// governed are fields that decisions read.
var governed = []string{"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "role", "content"}

// A Request is a decoded chat request.
type Request struct {
	chat.Exchange
	Doc   *wire.Doc
	model wire.Value
}

// Decode reads a request body. It refuses what an upstream might read in
// another way: governed names written with escapes or in another case, since
// servers built on encoding/json match names without regard to case.
func Decode(body []byte, lim wire.Limits) (*Request, error) {
	d, err := wire.Parse(body, lim)
	if err != nil {
		return nil, err
	}
	root := d.Root()
	if root.Kind() != wire.Object {
		return nil, fmt.Errorf("%w: the body is not an object", ErrRequest)
	}
	if err := names(root); err != nil {
		return nil, err
	}
	r := &Request{Doc: d, model: root.Get("model")}
	var ok bool
	if r.Model, ok = r.model.Text(); !ok || r.Model == "" {
		return nil, fmt.Errorf("%w: model is missing or not a string", ErrRequest)
	}
	if s := root.Get("stream"); s.Kind() != wire.Missing && s.Kind() != wire.Null {
		if r.Stream, ok = s.Bool(); !ok {
			return nil, fmt.Errorf("%w: stream is not a boolean", ErrRequest)
		}
	}
	ms := root.Get("messages")
	if ms.Kind() != wire.Array {
		return nil, fmt.Errorf("%w: messages is missing or not an array", ErrRequest)
	}
	for m := range ms.Items() {
		msg, err := message(m)
		if err != nil {
			return nil, fmt.Errorf("%w: message %d: %w", ErrRequest, len(r.Messages), err)
		}
		r.Messages = append(r.Messages, msg)
	}
	if len(r.Messages) == 0 {
		return nil, fmt.Errorf("%w: messages is empty", ErrRequest)
	}
	return r, nil
}

// names refuses the members that may not pass at the top of a request.
func names(root wire.Value) error {
	for name, v := range root.Members() {
		folded := strings.ToLower(strings.ToUpper(name)) // as encoding/json folds
		for _, f := range refused {
			if folded == f {
				return fmt.Errorf("%w: field %q is not allowed", ErrRequest, f)
			}
		}
		for _, g := range governed {
			if folded == g && (name != g || v.Escaped()) {
				return fmt.Errorf("%w: field %q must be written exactly so", ErrRequest, g)
			}
		}
	}
	return nil
}

func message(m wire.Value) (chat.Message, error) {
	if m.Kind() != wire.Object {
		return chat.Message{}, errors.New("not an object")
	}
	if err := names(m); err != nil {
		return chat.Message{}, err
	}
	role, ok := m.Get("role").Text()
	if !ok {
		return chat.Message{}, errors.New("role is missing or not a string")
	}
	if role == "developer" { // the newer name
		role = string(chat.System)
	}
	out := chat.Message{Role: chat.Role(role)}
	out.Span.Start, out.Span.End = m.Span()
	switch c := m.Get("content"); c.Kind() {
	case wire.String:
		text, _ := c.Text()
		out.Parts = []chat.Part{{Kind: chat.Text, Text: []byte(text)}}
	case wire.Array:
		for p := range c.Items() {
			if err := remote(p); err != nil {
				return chat.Message{}, err
			}
			if s, ok := p.Get("text").Text(); ok {
				out.Parts = append(out.Parts, chat.Part{Kind: chat.Text, Text: []byte(s)})
			}
		}
	case wire.Missing, wire.Null: // an assistant's tool call has no content
	default:
		return chat.Message{}, errors.New("content is neither text nor parts")
	}
	return out, nil
}

// remote refuses a part that makes the upstream fetch an address of the client's
// choice (CVE-2025-6242): the address of an image, a video or audio must be a
// data URL, which carries its content.
func remote(part wire.Value) error {
	for name, v := range part.Members() {
		if !strings.HasSuffix(strings.ToLower(strings.ToUpper(name)), "_url") {
			continue
		}
		text, ok := v.Text()
		if v.Kind() == wire.Object {
			for inner, u := range v.Members() {
				if strings.ToLower(strings.ToUpper(inner)) == "url" {
					if text, ok = u.Text(); !ok || !strings.HasPrefix(text, "data:") {
						return errors.New("remote content is not allowed; send it as a data URL")
					}
				}
			}
			continue
		}
		if v.Kind() != wire.Null && (!ok || !strings.HasPrefix(text, "data:")) {
			return errors.New("remote content is not allowed; send it as a data URL")
		}
	}
	return nil
}

// WithModel returns the body with the model's name replaced, for an upstream
// that knows it under another. All other bytes stay.
func (r *Request) WithModel(name string, lim wire.Limits) ([]byte, error) {
	if name == "" || name == r.Model {
		return r.Doc.Bytes(), nil
	}
	raw, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	d, err := r.Doc.Splice(r.model, raw, lim)
	if err != nil {
		return nil, err
	}
	return d.Bytes(), nil
}

// UsageOf returns what the last event of a stream says the answer cost.
func UsageOf(event []byte) (chat.Usage, bool) {
	if !bytes.Contains(event, []byte(`"usage"`)) {
		return chat.Usage{}, false
	}
	d, err := wire.Parse(event, wire.DefaultLimits())
	if err != nil {
		return chat.Usage{}, false
	}
	return usage(d.Root().Get("usage"))
}

// Usage reads the usage member of an answer. Numbers that no exchange can cost
// are not believed: they end in sums and in the audit log.
func Usage(member []byte) (chat.Usage, bool) {
	d, err := wire.Parse(member, wire.DefaultLimits())
	if err != nil {
		return chat.Usage{}, false
	}
	return usage(d.Root())
}

// maxTokens is more than any exchange costs.
const maxTokens = 1 << 40

func usage(u wire.Value) (chat.Usage, bool) {
	in, ok1 := u.Get("prompt_tokens").Int()
	out, ok2 := u.Get("completion_tokens").Int()
	if !ok1 || !ok2 || in < 0 || out < 0 || in > maxTokens || out > maxTokens {
		return chat.Usage{}, false
	}
	return chat.Usage{Input: in, Output: out}, true
}

// Done is the data of the event that ends a stream properly.
const Done = "[DONE]"

// Error returns an error body of the dialect.
func Error(kind, code, message string) []byte {
	b, err := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
	if err != nil {
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":"internal"}}`)
	}
	return b
}

// Models returns the body of GET /v1/models for these names.
func Models(names []string) ([]byte, error) {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	data := []model{}
	for _, n := range names {
		data = append(data, model{n, "model", 0, "warden"})
	}
	return json.Marshal(map[string]any{"object": "list", "data": data})
}
