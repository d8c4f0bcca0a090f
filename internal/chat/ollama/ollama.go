// Package ollama is the dialect of Ollama. Source: its API document (chat,
// generate, embed, tags, version) and api/types.go. Its server reads JSON with
// encoding/json, which matches names without regard to case. The paths that
// change what a server has (create, pull, push, copy, delete, blobs) are not
// known here: they are never routed.
package ollama

import (
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "ollama"

// Dialect returns the dialect.
func Dialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name, Match: match, Decode: decode, Answer: answer, Stream: stream, Error: problem, Failed: failed, Models: models, Path: path,
		Keys:     []dialect.Key{{Header: "Authorization", Prefix: "Bearer "}},
		Response: []string{"Retry-After"},
	}
}

// operations are the paths with their method.
var operations = map[string]struct {
	method string
	op     dialect.Op
}{
	"/api/chat":     {"POST", dialect.Chat},
	"/api/generate": {"POST", dialect.Generate},
	"/api/embed":    {"POST", dialect.Embed},
	"/api/tags":     {"GET", dialect.Models},
	"/api/version":  {"GET", dialect.Version},
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

// fields are those of every request. A template or raw text goes around what
// the model's own template says; a context is a text that nobody here can read;
// keep_alive decides what stays in the server's memory.
var fields = dialect.Fields(
	dialect.Row{How: dialect.Read, Names: "model stream messages prompt system images tools format options input logprobs suffix dimensions"},
	dialect.Row{How: dialect.Cap, Names: "top_logprobs"},
	dialect.Row{How: dialect.Permit, Names: "raw template context keep_alive shift"},
	dialect.Row{How: dialect.Pass, Names: "think truncate"},
)

// optionFields are those of options. Some place the model on the machine.
var optionFields = dialect.Fields(
	dialect.Row{How: dialect.Read, Names: "temperature"},
	dialect.Row{How: dialect.Cap, Names: "num_predict stop"},
	dialect.Row{How: dialect.Permit, Names: "num_ctx num_batch num_gpu main_gpu num_thread use_mmap use_mlock low_vram numa vocab_only"},
	dialect.Row{How: dialect.Pass, Names: `num_keep seed top_k top_p min_p typical_p tfs_z repeat_last_n repeat_penalty presence_penalty frequency_penalty
		mirostat mirostat_tau mirostat_eta penalize_newline`},
)

var (
	messageFields  = dialect.Fields(dialect.Row{How: dialect.Read, Names: "role content thinking images tool_calls tool_name tool_call_id"})
	callFields     = dialect.Fields(dialect.Row{How: dialect.Read, Names: "id type function"})
	functionFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "name parameters arguments index"}, dialect.Row{How: dialect.Pass, Names: "description"})
)

// Tables returns what the dialect knows of fields, by the kind of object.
func Tables() map[string]*dialect.Table {
	return map[string]*dialect.Table{"request": fields, "options": optionFields, "message": messageFields, "call": callFields, "function": functionFields}
}

func decode(t dialect.Target, _ dialect.Header, body []byte, o dialect.Options) (*dialect.Request, error) {
	r, root, err := dialect.Begin(t, body, o)
	if err != nil {
		return nil, err
	}
	if err := read(r, root, &o); err != nil {
		return nil, err
	}
	return r, nil
}

func read(r *dialect.Request, root wire.Value, o *dialect.Options) (err error) {
	if err := fields.Check(r, "", root, o); err != nil {
		return err
	}
	r.Places.Model = root.Get("model")
	if r.Model, _ = r.Places.Model.Text(); r.Model == "" {
		return dialect.Refuse("model is missing or not a string")
	}
	if err := options(r, root, o); err != nil {
		return err
	}
	if r.To.Op == dialect.Embed {
		return embed(r, root, o)
	}
	r.Places.MaxAt = []string{"options", "num_predict"}
	r.Stream = true // unless it says otherwise
	if v := root.Get("stream"); v.Kind() != wire.Missing && v.Kind() != wire.Null {
		if r.Stream, err = dialect.Bool(root, "stream"); err != nil {
			return err
		}
	}
	if r.Params.Logprobs, err = dialect.Bool(root, "logprobs"); err != nil {
		return err
	}
	if r.Params.TopLogprobs, err = dialect.Capped(root, "top_logprobs", o.Caps.TopLogprobs); err != nil {
		return err
	}
	r.Params.Logprobs = r.Params.Logprobs || r.Params.TopLogprobs > 0
	for _, name := range []string{"logprobs", "top_logprobs"} {
		if v := root.Get(name); v.Kind() != wire.Missing {
			r.Places.Logprobs = append(r.Places.Logprobs, dialect.Member{In: root, Value: v})
		}
	}
	if f := root.Get("format"); f.Kind() == wire.Object {
		r.Schema = f.Raw()
	}
	if err := tools(r, root, o); err != nil {
		return err
	}
	if r.To.Op == dialect.Generate {
		return generate(r, root)
	}
	return messages(r, root, o)
}

func options(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	v := root.Get("options")
	if v.Kind() == wire.Missing {
		return nil
	}
	if v.Kind() != wire.Object { // null too: a bound could not be put into it
		return dialect.Refuse("options is not an object")
	}
	if err := optionFields.Check(r, "options", v, o); err != nil {
		return err
	}
	if err := r.MaxOutput(v, o, "num_predict"); err != nil {
		return err
	}
	if err := r.ReadTemperature(v); err != nil {
		return err
	}
	return dialect.Stop(v, "stop", o)
}

func embed(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	in := root.Get("input")
	m := chat.Message{Role: chat.User, Span: dialect.SpanOf(in)}
	if in.Kind() == wire.String {
		m.Parts = []chat.Part{dialect.TextPart(chat.Text, in)}
	}
	for v := range in.Items() {
		if v.Kind() != wire.String {
			return dialect.Refuse("input has an entry that is not text")
		}
		m.Parts = append(m.Parts, dialect.TextPart(chat.Text, v))
	}
	if len(m.Parts) == 0 {
		return dialect.Refuse("input is missing, empty or not text")
	}
	r.Messages, r.Params.Rows = []chat.Message{m}, int64(len(m.Parts))
	if o.Caps.Rows > 0 && r.Params.Rows > o.Caps.Rows {
		return dialect.Refuse("input has %d entries, at most %d", r.Params.Rows, o.Caps.Rows)
	}
	return nil
}

// generate reads a prompt, and what stands around it.
func generate(r *dialect.Request, root wire.Value) error {
	for _, f := range []struct {
		name string
		role chat.Role
	}{{"system", chat.System}, {"template", chat.System}, {"prompt", chat.User}, {"suffix", chat.User}} {
		v := root.Get(f.name)
		switch v.Kind() {
		case wire.Missing, wire.Null:
		case wire.String:
			r.Messages = append(r.Messages, chat.Message{Role: f.role, Span: dialect.SpanOf(v), Parts: []chat.Part{dialect.TextPart(chat.Text, v)}})
		default:
			return dialect.Refuse("%s is not a string", f.name)
		}
	}
	if root.Get("prompt").Kind() != wire.String { // without one the server loads the model, and no more
		return dialect.Refuse("prompt is missing or not a string")
	}
	if v := root.Get("context"); v.Kind() == wire.Array {
		r.Messages = append(r.Messages, chat.Message{Role: chat.User, Span: dialect.SpanOf(v), Parts: []chat.Part{dialect.UnknownPart(v)}})
	}
	parts, err := images(root.Get("images"))
	if err != nil {
		return err
	}
	if len(parts) > 0 {
		r.Messages = append(r.Messages, chat.Message{Role: chat.User, Parts: parts})
	}
	r.Places.System = func(e *wire.Edits, text []byte) {
		v := root.Get("system")
		if s, ok := v.Text(); ok {
			e.ReplaceText(v, len(s), len(s), append([]byte("\n\n"), text...))
			return
		}
		e.Set(root, "system", wire.AppendString(nil, text))
	}
	return nil
}

// images reads a list of images, which are base64 always.
func images(v wire.Value) ([]chat.Part, error) {
	if k := v.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return nil, dialect.Refuse("images is not an array")
	}
	var out []chat.Part
	for x := range v.Items() {
		s, ok := x.Text()
		n, err := dialect.Base64Size(s)
		if !ok || err != nil {
			return nil, dialect.Refuse("an image is not base64")
		}
		out = append(out, chat.Part{Kind: chat.Image, Blob: &chat.Blob{Size: n}, Span: dialect.SpanOf(x)})
	}
	return out, nil
}

func tools(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	ts := root.Get("tools")
	if k := ts.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return dialect.Refuse("tools is not an array")
	}
	for t := range ts.Items() {
		f := t.Get("function")
		if f.Kind() != wire.Object {
			return dialect.Refuse("a tool is not a function")
		}
		if err := callFields.Check(r, "tools", t, o); err != nil {
			return err
		}
		if err := functionFields.Check(r, "tools.function", f, o); err != nil {
			return err
		}
		name, _ := f.Get("name").Text()
		r.Tools = append(r.Tools, chat.ToolSpec{Name: name, Schema: f.Get("parameters").Raw()})
	}
	return nil
}

func messages(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	ms := root.Get("messages")
	if ms.Kind() != wire.Array || ms.Len() == 0 { // none: the server loads the model, and no more
		return dialect.Refuse("messages is missing, empty or not an array")
	}
	names := map[string]string{}
	leading := 0
	for m := range ms.Items() {
		msg, err := message(r, m, names, o)
		if err != nil {
			return dialect.Refuse("message %d: %w", len(r.Messages), err)
		}
		if msg.Role == chat.System && leading == len(r.Messages) {
			leading++
		}
		r.Messages = append(r.Messages, msg)
	}
	r.Places.System = func(e *wire.Edits, text []byte) {
		raw := wire.AppendString([]byte(`{"role":"system","content":`), text)
		e.Insert(ms, leading, append(raw, '}'))
	}
	return nil
}

func message(r *dialect.Request, m wire.Value, names map[string]string, o *dialect.Options) (chat.Message, error) {
	out := chat.Message{Span: dialect.SpanOf(m)}
	if m.Kind() != wire.Object {
		return out, dialect.Refuse("not an object")
	}
	if err := messageFields.Check(r, "messages", m, o); err != nil {
		return out, err
	}
	switch role, _ := m.Get("role").Text(); role {
	case "system", "user", "assistant", "tool":
		out.Role = chat.Role(role)
	default:
		return out, dialect.Refuse("role %q is not known", role)
	}
	var result *chat.Call
	if out.Role == chat.Tool {
		result = &chat.Call{}
		result.ID, _ = m.Get("tool_call_id").Text()
		if result.Name, _ = m.Get("tool_name").Text(); names[result.ID] != "" {
			result.Name = names[result.ID]
		}
	}
	for name, v := range m.Members() {
		if v.Kind() == wire.Null || messageFields.Gone(name, o) {
			continue
		}
		switch name {
		case "role", "tool_name", "tool_call_id":
			continue
		case "content", "thinking":
			if v.Kind() != wire.String {
				return out, dialect.Refuse("%s is not a string", name)
			}
			p := dialect.TextPart(chat.Text, v)
			if name == "thinking" {
				p.Kind = chat.Reasoning
			} else if result != nil {
				p.Kind, p.Call = chat.ToolResult, result
			}
			out.Parts = append(out.Parts, p)
		case "images":
			parts, err := images(v)
			if err != nil {
				return out, err
			}
			out.Parts = append(out.Parts, parts...)
		case "tool_calls":
			parts, err := calls(r, v, names, o)
			if err != nil {
				return out, err
			}
			out.Parts = append(out.Parts, parts...)
		default:
			if len(dialect.Strings(v)) > 0 {
				out.Parts = append(out.Parts, dialect.UnknownPart(v))
			}
		}
	}
	return out, nil
}

func calls(r *dialect.Request, v wire.Value, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	if v.Kind() != wire.Array {
		return nil, dialect.Refuse("tool_calls is not an array")
	}
	var out []chat.Part
	for c := range v.Items() {
		f := c.Get("function")
		args := f.Get("arguments")
		if args.Kind() != wire.Object {
			return nil, dialect.Refuse("a tool call has no arguments")
		}
		if err := callFields.Check(r, "tool_calls", c, o); err != nil {
			return nil, err
		}
		if err := functionFields.Check(r, "tool_calls.function", f, o); err != nil {
			return nil, err
		}
		p := dialect.RawPart(chat.ToolCall, args)
		p.Call = &chat.Call{}
		p.Call.ID, _ = c.Get("id").Text()
		p.Call.Name, _ = f.Get("name").Text()
		if p.Call.ID != "" {
			names[p.Call.ID] = p.Call.Name
		}
		out = append(out, p)
	}
	return out, nil
}

func problem(p dialect.Problem) []byte {
	return append(wire.AppendString([]byte(`{"error":`), []byte(p.Message)), '}')
}

func failed(root wire.Value) bool { return root.Get("error").Kind() == wire.String }

func models(names []string) []byte {
	b := []byte(`{"models":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(append(b, `{"name":`...), []byte(n))
		b = wire.AppendString(append(b, `,"model":`...), []byte(n))
		b = append(b, `,"modified_at":"1970-01-01T00:00:00Z","size":0,"digest":"","details":{}}`...)
	}
	return append(b, "]}"...)
}

func stream(t dialect.Target, mediaType string, body io.Reader) (*dialect.Stream, error) {
	if !strings.HasSuffix(mediaType, "ndjson") || t.Op != dialect.Chat && t.Op != dialect.Generate {
		return nil, fmt.Errorf("%w: a stream of type %q", dialect.ErrAnswer, mediaType)
	}
	return events(t, body), nil
}
