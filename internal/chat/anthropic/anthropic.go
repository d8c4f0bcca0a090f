// Package anthropic is the dialect of Anthropic's messages. Source: the API
// reference of POST /v1/messages, /v1/messages/count_tokens and GET /v1/models.
package anthropic

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "anthropic"

// VersionHeader is the header field that every client of this dialect sends: it
// tells its list of models from others at the same path.
const VersionHeader = "Anthropic-Version"

// Dialect returns the dialect.
func Dialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name, Match: match, Decode: decode, Answer: answer, Stream: stream, Error: problem, Failed: failed, Models: models, Path: path,
		Keys:     []dialect.Key{{Header: "X-Api-Key"}, {Header: "Authorization", Prefix: "Bearer "}},
		Fixed:    []dialect.Field{{Name: VersionHeader, Value: "2023-06-01"}},
		Request:  []string{VersionHeader, "Anthropic-Beta"},
		Response: []string{"Retry-After", "Request-Id"},
	}
}

func match(method, path, _ string) (dialect.Target, bool) {
	switch method + " " + path {
	case "POST /v1/messages":
		return dialect.Target{Op: dialect.Chat}, true
	case "POST /v1/messages/count_tokens":
		return dialect.Target{Op: dialect.CountTokens}, true
	case "GET /v1/models":
		return dialect.Target{Op: dialect.Models}, true
	}
	return dialect.Target{}, false
}

func path(t dialect.Target, _ string) string {
	switch t.Op {
	case dialect.CountTokens:
		return "/v1/messages/count_tokens"
	case dialect.Models:
		return "/v1/models"
	}
	return "/v1/messages"
}

// fields are those of a request. MCP servers are hosts that the provider calls
// for the client; containers and managed contexts are state nobody here saw.
var fields = dialect.Fields(
	dialect.Row{How: dialect.Read, Names: "model messages system stream tools tool_choice temperature output_config output_format"},
	dialect.Row{How: dialect.Cap, Names: "max_tokens stop_sequences"},
	dialect.Row{How: dialect.Permit, Names: "mcp_servers container context_management"},
	dialect.Row{How: dialect.Pass, Names: "metadata top_k top_p service_tier thinking inference_geo cache_control"},
)

var (
	messageFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "role content"})
	partFields    = dialect.Fields(
		dialect.Row{How: dialect.Read, Names: "type text source id name input tool_use_id content thinking data title context"},
		dialect.Row{How: dialect.Pass, Names: "cache_control citations is_error signature caller"},
	)
	sourceFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "type media_type data url file_id content"})
	toolFields   = dialect.Fields(
		dialect.Row{How: dialect.Read, Names: "type name input_schema"},
		dialect.Row{How: dialect.Pass, Names: `description cache_control strict max_uses allowed_domains blocked_domains user_location citations max_content_tokens
			display_width_px display_height_px display_number max_characters defer_loading allowed_callers input_examples`},
	)
	formatFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "type schema format"}, dialect.Row{How: dialect.Pass, Names: "effort"})
)

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
	if r.Stream, err = dialect.Bool(root, "stream"); err != nil {
		return err
	}
	if err := r.MaxOutput(root, o, "max_tokens"); err != nil {
		return err
	}
	if r.To.Op == dialect.Chat { // counting has no such field
		r.Places.MaxAt = []string{"max_tokens"}
	}
	if err := r.ReadTemperature(root); err != nil {
		return err
	}
	if err := dialect.Stop(root, "stop_sequences", o); err != nil {
		return err
	}
	if err := schema(r, root, o); err != nil {
		return err
	}
	if err := tools(r, root, o); err != nil {
		return err
	}
	names := map[string]string{}
	if err := system(r, root, names, o); err != nil {
		return err
	}
	ms := root.Get("messages")
	if ms.Kind() != wire.Array || ms.Len() == 0 {
		return dialect.Refuse("messages is missing, empty or not an array")
	}
	for m := range ms.Items() {
		msg, err := message(r, m, names, o)
		if err != nil {
			return dialect.Refuse("message %d: %w", len(r.Messages), err)
		}
		r.Messages = append(r.Messages, msg)
	}
	return nil
}

func schema(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	for _, name := range []string{"output_config", "output_format"} {
		v := root.Get(name)
		if v.Kind() == wire.Missing || v.Kind() == wire.Null {
			continue
		}
		if v.Kind() != wire.Object {
			return dialect.Refuse("%s is not an object", name)
		}
		if err := formatFields.Check(r, name, v, o); err != nil {
			return err
		}
		if f := v.Get("format"); f.Kind() == wire.Object {
			if err := formatFields.Check(r, name+".format", f, o); err != nil {
				return err
			}
			v = f
		}
		if s := v.Get("schema"); s.Kind() == wire.Object {
			r.Schema = s.Raw()
		}
	}
	return nil
}

// system reads the text of the operator, which stands beside the messages.
func system(r *dialect.Request, root wire.Value, names map[string]string, o *dialect.Options) error {
	v := root.Get("system")
	r.Places.System = func(e *wire.Edits, text []byte) {
		switch v.Kind() {
		case wire.String:
			s, _ := v.Text()
			e.ReplaceText(v, len(s), len(s), append([]byte("\n\n"), text...))
		case wire.Array:
			e.Insert(v, v.Len(), append(wire.AppendString([]byte(`{"type":"text","text":`), text), '}'))
		default:
			e.Set(root, "system", wire.AppendString(nil, text))
		}
	}
	if v.Kind() == wire.Missing || v.Kind() == wire.Null {
		return nil
	}
	parts, err := content(r, v, names, o)
	if err != nil {
		return dialect.Refuse("system: %w", err)
	}
	r.Messages = append(r.Messages, chat.Message{Role: chat.System, Span: dialect.SpanOf(v), Parts: parts})
	return nil
}

// local are the prefixes of the types of tools that the client itself runs.
var local = []string{"bash_", "text_editor_", "computer_", "memory_"}

func tools(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	ts := root.Get("tools")
	if k := ts.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return dialect.Refuse("tools is not an array")
	}
	for t := range ts.Items() {
		if t.Kind() != wire.Object {
			return dialect.Refuse("tools has an entry that is not an object")
		}
		if err := toolFields.Check(r, "tools", t, o); err != nil {
			return err
		}
		kind, _ := t.Get("type").Text()
		spec := chat.ToolSpec{Schema: t.Get("input_schema").Raw()}
		spec.Name, _ = t.Get("name").Text()
		spec.Server = kind != "" && kind != "custom" && !slices.ContainsFunc(local, func(p string) bool { return strings.HasPrefix(kind, p) })
		if spec.Server && !slices.Contains(o.Permit, kind) {
			return dialect.Refuse("tools of type %q are not allowed on this route", kind)
		}
		r.Tools = append(r.Tools, spec)
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
	case "user", "assistant", "system":
		out.Role = chat.Role(role)
	default:
		return out, dialect.Refuse("role %q is not known", role)
	}
	var err error
	out.Parts, err = content(r, m.Get("content"), names, o)
	for name, v := range m.Members() { // what the table does not know may be text
		if name != "role" && name != "content" && !messageFields.Gone(name, o) && len(dialect.Strings(v)) > 0 {
			out.Parts = append(out.Parts, dialect.UnknownPart(v))
		}
	}
	return out, err
}

// content reads a text or a list of blocks.
func content(r *dialect.Request, c wire.Value, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	switch c.Kind() {
	case wire.String:
		return []chat.Part{dialect.TextPart(chat.Text, c)}, nil
	case wire.Array:
	default:
		return nil, dialect.Refuse("content is neither text nor blocks")
	}
	out := make([]chat.Part, 0, c.Len())
	for b := range c.Items() {
		if b.Kind() != wire.Object {
			return nil, dialect.Refuse("a block is not an object")
		}
		if err := partFields.Check(r, "content", b, o); err != nil {
			return nil, err
		}
		parts, err := block(r, b, names, o)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// block reads one block of content.
func block(r *dialect.Request, b wire.Value, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	kind, _ := b.Get("type").Text()
	switch kind {
	case "text":
		if t := b.Get("text"); t.Kind() == wire.String {
			return []chat.Part{dialect.TextPart(chat.Text, t)}, nil
		}
	case "thinking":
		if t := b.Get("thinking"); t.Kind() == wire.String {
			return []chat.Part{dialect.TextPart(chat.Reasoning, t)}, nil
		}
	case "redacted_thinking": // encrypted by the provider, for the provider
		return []chat.Part{{Kind: chat.Reasoning}}, nil
	case "image", "document":
		return source(r, b, kind, names, o)
	case "tool_use":
		if in := b.Get("input"); in.Kind() == wire.Object {
			p := dialect.RawPart(chat.ToolCall, in)
			p.Call = &chat.Call{}
			p.Call.ID, _ = b.Get("id").Text()
			p.Call.Name, _ = b.Get("name").Text()
			names[p.Call.ID] = p.Call.Name
			return []chat.Part{p}, nil
		}
	case "tool_result":
		id, _ := b.Get("tool_use_id").Text()
		c := b.Get("content")
		if c.Kind() == wire.Missing || c.Kind() == wire.Null {
			return nil, nil
		}
		parts, err := content(r, c, names, o)
		for i := range parts {
			if parts[i].Kind == chat.Text {
				parts[i].Kind, parts[i].Call = chat.ToolResult, &chat.Call{ID: id, Name: names[id]}
			}
		}
		return parts, err
	case "search_result":
		parts, err := content(r, b.Get("content"), names, o)
		for i := range parts {
			if parts[i].Kind == chat.Text {
				parts[i].Kind, parts[i].Call = chat.ToolResult, &chat.Call{Name: kind}
			}
		}
		return append(parts, captions(b, "title", "source")...), err
	}
	return []chat.Part{dialect.UnknownPart(b)}, dialect.NoFetch(b, o)
}

// captions returns the members of these names as untrusted texts.
func captions(b wire.Value, names ...string) []chat.Part {
	var out []chat.Part
	for _, n := range names {
		if v := b.Get(n); v.Kind() == wire.String {
			out = append(out, dialect.TextPart(chat.File, v))
		}
	}
	return out
}

// source reads an image or a document: its bytes, its text, an address that the
// provider fetches, or the id of a file that lies there.
func source(r *dialect.Request, b wire.Value, kind string, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	s := b.Get("source")
	if s.Kind() != wire.Object {
		return nil, dialect.Refuse("%s has no source", kind)
	}
	if err := sourceFields.Check(r, kind+".source", s, o); err != nil {
		return nil, err
	}
	if err := dialect.NoFetch(s, o); err != nil {
		return nil, err
	}
	p := chat.Part{Kind: chat.File}
	if kind == "image" {
		p.Kind = chat.Image
	}
	extra := captions(b, "title", "context")
	mediaType, _ := s.Get("media_type").Text()
	data := s.Get("data")
	text, ok := data.Text()
	switch how, _ := s.Get("type").Text(); how {
	case "base64":
		n, err := dialect.Base64Size(text)
		if err != nil || !ok {
			return nil, dialect.Refuse("%s has no base64 data", kind)
		}
		p.Blob, p.Span = &chat.Blob{MediaType: mediaType, Size: n}, dialect.SpanOf(data)
	case "text":
		p.Text, p.Span = []byte(text), dialect.SpanOf(data)
	case "content":
		parts, err := content(r, s.Get("content"), names, o)
		for i := range parts {
			if parts[i].Kind == chat.Text {
				parts[i].Kind = chat.File
			}
		}
		return append(parts, extra...), err
	case "url":
		address, _ := s.Get("url").Text()
		blob, err := dialect.Blob(address, o)
		if err != nil {
			return nil, err
		}
		p.Blob = blob
	default:
		p = dialect.UnknownPart(s)
	}
	return append([]chat.Part{p}, extra...), nil
}

func problem(p dialect.Problem) []byte {
	b := wire.AppendString([]byte(`{"type":"error","error":{"type":`), []byte(p.Class()))
	b = wire.AppendString(append(b, `,"message":`...), []byte(p.Message))
	return append(b, "}}"...)
}

func failed(root wire.Value) bool {
	kind, _ := root.Get("type").Text()
	return kind == "error" && root.Get("error").Kind() == wire.Object
}

func models(names []string) []byte {
	b := []byte(`{"data":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(append(b, `{"type":"model","id":`...), []byte(n))
		b = wire.AppendString(append(b, `,"display_name":`...), []byte(n))
		b = append(b, `,"created_at":"1970-01-01T00:00:00Z"}`...)
	}
	b = append(b, `],"has_more":false,"first_id":`...)
	if len(names) == 0 {
		return append(b, `null,"last_id":null}`...)
	}
	b = wire.AppendString(b, []byte(names[0]))
	return append(wire.AppendString(append(b, `,"last_id":`...), []byte(names[len(names)-1])), '}')
}

func stream(t dialect.Target, mediaType string, body io.Reader) (*dialect.Stream, error) {
	if mediaType != dialect.SSE.MediaType() || t.Op != dialect.Chat {
		return nil, fmt.Errorf("%w: a stream of type %q", dialect.ErrAnswer, mediaType)
	}
	return events(body), nil
}

// Tables returns what the dialect knows of fields, by the kind of object.
func Tables() map[string]*dialect.Table {
	return map[string]*dialect.Table{"request": fields, "message": messageFields, "part": partFields, "source": sourceFields, "tool": toolFields, "format": formatFields}
}
