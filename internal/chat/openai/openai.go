// Package openai is the dialect of OpenAI and of the many servers that speak
// like it: chat completions, responses, embeddings and the list of models.
// Source: the API reference of these operations, and the sources of vLLM and
// SGLang for the fields that they add.
package openai

import (
	"fmt"
	"io"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "openai"

// Dialect returns the dialect.
func Dialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name, Match: match, Decode: decode, Answer: answer, Stream: stream, Error: problem, Failed: failed, Models: models, Path: path,
		Keys:     []dialect.Key{{Header: "Authorization", Prefix: "Bearer "}},
		Request:  []string{"OpenAI-Beta"},
		Response: []string{"Retry-After", "OpenAI-Processing-Ms", "OpenAI-Version"},
	}
}

// operations are the paths with their method.
var operations = map[string]struct {
	method string
	op     dialect.Op
}{
	"/v1/chat/completions": {"POST", dialect.Chat},
	"/v1/responses":        {"POST", dialect.Responses},
	"/v1/embeddings":       {"POST", dialect.Embed},
	"/v1/models":           {"GET", dialect.Models},
}

func match(method, path, _ string) (dialect.Target, bool) {
	o, ok := operations[path]
	return dialect.Target{Op: o.op}, ok && o.method == method
}

func path(t dialect.Target, _ string) string {
	for p, o := range operations {
		if o.op == t.Op {
			return p
		}
	}
	return ""
}

func decode(t dialect.Target, _ dialect.Header, body []byte, o dialect.Options) (*dialect.Request, error) {
	r, root, err := dialect.Begin(t, body, o)
	if err != nil {
		return nil, err
	}
	switch t.Op {
	case dialect.Chat:
		err = readChat(r, root, &o)
	case dialect.Responses:
		err = readResponses(r, root, &o)
	case dialect.Embed:
		err = readEmbed(r, root, &o)
	default:
		err = dialect.Refuse("operation %s has no body", t.Op)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// readModel reads the model's name, which must be there.
func readModel(r *dialect.Request, root wire.Value) error {
	r.Places.Model = root.Get("model")
	name, ok := r.Places.Model.Text()
	if !ok || name == "" {
		return dialect.Refuse("model is missing or not a string")
	}
	r.Model = name
	return nil
}

func answer(t dialect.Target, _ dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	a, root, err := dialect.BeginAnswer(t, body, lim)
	if err != nil {
		return nil, err
	}
	a.ID, _ = root.Get("id").Text()
	a.Model, _ = root.Get("model").Text()
	a.Fingerprint, _ = root.Get("system_fingerprint").Text()
	switch t.Op {
	case dialect.Responses:
		err = responsesAnswer(a, root)
	case dialect.Embed:
		err = embedAnswer(a, root)
	default:
		err = chatAnswer(a, root)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
	}
	return a, nil
}

func stream(t dialect.Target, mediaType string, body io.Reader) (*dialect.Stream, error) {
	switch {
	case mediaType != dialect.SSE.MediaType():
		return nil, fmt.Errorf("%w: a stream of type %q", dialect.ErrAnswer, mediaType)
	case t.Op == dialect.Responses:
		return responsesStream(body), nil
	case t.Op == dialect.Chat:
		return chatStream(body), nil
	}
	return nil, fmt.Errorf("%w: operation %s has no stream", dialect.ErrAnswer, t.Op)
}

func problem(p dialect.Problem) []byte {
	kind := p.Class()
	if kind == "api_error" {
		kind = "server_error"
	}
	return Error(kind, p.Code, p.Message)
}

func failed(root wire.Value) bool { return root.Get("error").Kind() == wire.Object }

func models(names []string) []byte {
	b := []byte(`{"object":"list","data":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = append(wire.AppendString(b, []byte(n)), `,"object":"model","created":0,"owned_by":"warden"}`...)
	}
	return append(b, "]}"...)
}

// Error returns an error body of the dialect.
func Error(kind, code, message string) []byte {
	b := wire.AppendString([]byte(`{"error":{"message":`), []byte(message))
	b = wire.AppendString(append(b, `,"type":`...), []byte(kind))
	b = wire.AppendString(append(b, `,"param":null,"code":`...), []byte(code))
	return append(b, "}}"...)
}

// Done is the data of the event that ends a stream properly.
const Done = "[DONE]"

// ErrRequest is wrapped by Decode for a body that is JSON but may not pass.
var ErrRequest = dialect.ErrRequest

// A Request is a decoded chat request.
type Request struct{ *dialect.Request }

// Decode reads the body of a chat completion with the default options.
func Decode(body []byte, lim wire.Limits) (*Request, error) {
	o := dialect.DefaultOptions()
	o.Limits = lim
	r, err := decode(dialect.Target{Op: dialect.Chat}, dialect.None, body, o)
	if err != nil {
		return nil, err
	}
	return &Request{r}, nil
}

// WithModel returns the body with the model's name replaced, for an upstream
// that knows it under another. All other bytes stay.
func (r *Request) WithModel(name string, _ wire.Limits) ([]byte, error) {
	r.SetModel(name)
	return r.Bytes()
}

// UsageOf returns what an event of a stream says the answer cost.
func UsageOf(event []byte) (chat.Usage, bool) {
	d, err := wire.Parse(event, wire.DefaultLimits())
	if err != nil {
		return chat.Usage{}, false
	}
	return usage(d.Root().Get("usage"))
}

// Usage reads the usage member of an answer.
func Usage(member []byte) (chat.Usage, bool) {
	d, err := wire.Parse(member, wire.DefaultLimits())
	if err != nil {
		return chat.Usage{}, false
	}
	return usage(d.Root())
}

func usage(u wire.Value) (chat.Usage, bool) {
	if u.Get("prompt_tokens").Kind() == wire.Missing {
		return dialect.UsageIn(u, "output_tokens", "input_tokens")
	}
	return dialect.UsageIn(u, "completion_tokens", "prompt_tokens")
}

// Models returns the body of GET /v1/models for these names.
func Models(names []string) ([]byte, error) { return models(names), nil }
