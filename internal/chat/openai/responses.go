package openai

import (
	"slices"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// responsesFields are those of a response. What refers to state that nobody
// here saw (earlier responses, conversations, stored prompts) is for routes that
// permit it.
var responsesFields = dialect.Fields(slices.Concat([]dialect.Row{
	{How: dialect.Read, Names: "model input instructions stream stream_options tools tool_choice text include temperature store background"},
	{How: dialect.Cap, Names: "max_output_tokens top_logprobs"},
	{How: dialect.Permit, Names: "previous_response_id conversation prompt context_management"},
	{How: dialect.Pass, Names: `top_p user metadata service_tier parallel_tool_calls reasoning truncation safety_identifier prompt_cache_key
		prompt_cache_retention max_tool_calls`},
}, shared)...)

var (
	itemFields = dialect.Fields(
		dialect.Row{How: dialect.Read, Names: "type role content call_id name arguments output summary input"},
		dialect.Row{How: dialect.Pass, Names: "id status phase encrypted_content"},
	)
	inputFields = dialect.Fields(
		dialect.Row{How: dialect.Read, Names: "type text refusal image_url file_url file_data file_id input_audio"},
		dialect.Row{How: dialect.Pass, Names: "detail filename annotations logprobs"},
	)
	responseToolFields = dialect.Fields(
		dialect.Row{How: dialect.Read, Names: "type name parameters"},
		dialect.Row{How: dialect.Permit, Names: "server_url connector_id authorization headers"},
		dialect.Row{How: dialect.Pass, Names: "description strict format"},
	)
)

func readResponses(r *dialect.Request, root wire.Value, o *dialect.Options) (err error) {
	if err := responsesFields.Check(r, "", root, o); err != nil {
		return err
	}
	if err := readModel(r, root); err != nil {
		return err
	}
	if r.Stream, err = dialect.Bool(root, "stream"); err != nil {
		return err
	}
	for _, name := range []string{"store", "background"} {
		on, err := dialect.Bool(root, name)
		if err != nil {
			return err
		}
		if on && !slices.Contains(o.Permit, name) {
			return dialect.Refuse("field %q is not allowed on this route", name)
		}
	}
	if err := r.MaxOutput(root, o, "max_output_tokens"); err != nil {
		return err
	}
	r.Places.MaxAt = []string{"max_output_tokens"}
	if err := r.ReadTemperature(root); err != nil {
		return err
	}
	if err := responsesLogprobs(r, root, o); err != nil {
		return err
	}
	if err := responsesTools(r, root, o); err != nil {
		return err
	}
	if f := root.Get("text").Get("format"); f.Kind() == wire.Object {
		if err := formatFields.Check(r, "text.format", f, o); err != nil {
			return err
		}
		r.Schema = f.Get("schema").Raw()
	}
	if err := responsesInput(r, root, o); err != nil {
		return err
	}
	r.Places.System = func(e *wire.Edits, text []byte) {
		v := root.Get("instructions")
		if s, ok := v.Text(); ok {
			e.ReplaceText(v, len(s), len(s), append([]byte("\n\n"), text...))
			return
		}
		e.Set(root, "instructions", wire.AppendString(nil, text))
	}
	return nil
}

func responsesLogprobs(r *dialect.Request, root wire.Value, o *dialect.Options) (err error) {
	if r.Params.TopLogprobs, err = dialect.Capped(root, "top_logprobs", o.Caps.TopLogprobs); err != nil {
		return err
	}
	r.Params.Logprobs = r.Params.TopLogprobs > 0
	if v := root.Get("top_logprobs"); v.Kind() != wire.Missing {
		r.Places.Logprobs = append(r.Places.Logprobs, dialect.Member{In: root, Value: v})
	}
	include := root.Get("include")
	for v := range include.Items() {
		if s, _ := v.Text(); s == "message.output_text.logprobs" {
			r.Params.Logprobs = true
			r.Places.Logprobs = append(r.Places.Logprobs, dialect.Member{In: include, Value: v})
		}
	}
	return nil
}

func responsesTools(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	ts := root.Get("tools")
	if k := ts.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return dialect.Refuse("tools is not an array")
	}
	for t := range ts.Items() {
		if t.Kind() != wire.Object {
			return dialect.Refuse("tools has an entry that is not an object")
		}
		if err := responseToolFields.Check(r, "tools", t, o); err != nil {
			return err
		}
		kind, _ := t.Get("type").Text()
		spec := chat.ToolSpec{Name: kind, Schema: t.Get("parameters").Raw(), Server: kind != "function" && kind != "custom"}
		if spec.Server && !slices.Contains(o.Permit, kind) {
			return dialect.Refuse("tools of type %q are not allowed on this route", kind)
		}
		if name, ok := t.Get("name").Text(); ok {
			spec.Name = name
		}
		r.Tools = append(r.Tools, spec)
	}
	return nil
}

func responsesInput(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	if v := root.Get("instructions"); v.Kind() != wire.Missing && v.Kind() != wire.Null {
		m := chat.Message{Role: chat.System, Span: dialect.SpanOf(v)}
		if v.Kind() == wire.String {
			m.Parts = []chat.Part{dialect.TextPart(chat.Text, v)}
		} else {
			m.Parts = []chat.Part{dialect.UnknownPart(v)}
		}
		r.Messages = append(r.Messages, m)
	}
	in := root.Get("input")
	switch in.Kind() {
	case wire.String:
		r.Messages = append(r.Messages, chat.Message{Role: chat.User, Span: dialect.SpanOf(in), Parts: []chat.Part{dialect.TextPart(chat.Text, in)}})
		return nil
	case wire.Array:
	case wire.Missing:
		if root.Get("prompt").Kind() == wire.Object { // permitted, or it were refused
			return nil
		}
		return dialect.Refuse("input is missing")
	default:
		return dialect.Refuse("input is neither text nor a list")
	}
	names := map[string]string{}
	for it := range in.Items() {
		m, err := item(r, it, names, o)
		if err != nil {
			return dialect.Refuse("input %d: %w", len(r.Messages), err)
		}
		r.Messages = append(r.Messages, m)
	}
	return nil
}

// item reads one item of the input.
func item(r *dialect.Request, it wire.Value, names map[string]string, o *dialect.Options) (chat.Message, error) {
	m := chat.Message{Role: chat.User, Span: dialect.SpanOf(it)}
	if it.Kind() != wire.Object {
		return m, dialect.Refuse("not an object")
	}
	if err := itemFields.Check(r, "input", it, o); err != nil {
		return m, err
	}
	kind, _ := it.Get("type").Text()
	switch kind {
	case "", "message":
		return roleItem(r, it, m, o)
	case "function_call", "custom_tool_call":
		m.Role = chat.Assistant
		p, err := call(r, it, it, map[string]string{}, o)
		if p.Call != nil {
			p.Call.ID, _ = it.Get("call_id").Text()
			names[p.Call.ID] = p.Call.Name
		}
		m.Parts = []chat.Part{p}
		return m, err
	case "function_call_output", "custom_tool_call_output":
		m.Role = chat.Tool
		id, _ := it.Get("call_id").Text()
		var err error
		if m.Parts, err = inputs(r, it.Get("output"), o); err != nil {
			return m, err
		}
		for i := range m.Parts {
			if m.Parts[i].Kind == chat.Text {
				m.Parts[i].Kind, m.Parts[i].Call = chat.ToolResult, &chat.Call{ID: id, Name: names[id]}
			}
		}
		return m, nil
	case "reasoning":
		m.Role = chat.Assistant
		for _, name := range []string{"summary", "content"} {
			for s := range it.Get(name).Items() {
				m.Parts = append(m.Parts, dialect.TextPart(chat.Reasoning, s.Get("text")))
			}
		}
		return m, nil
	case "item_reference":
		if !slices.Contains(o.Permit, kind) {
			return m, dialect.Refuse("items of type %q are not allowed on this route", kind)
		}
	}
	m.Parts = []chat.Part{dialect.UnknownPart(it)}
	return m, dialect.NoFetch(it, o)
}

func roleItem(r *dialect.Request, it wire.Value, m chat.Message, o *dialect.Options) (chat.Message, error) {
	switch role, _ := it.Get("role").Text(); role {
	case "system", "developer":
		m.Role = chat.System
	case "user", "assistant":
		m.Role = chat.Role(role)
	default:
		return m, dialect.Refuse("role %q is not known", role)
	}
	var err error
	m.Parts, err = inputs(r, it.Get("content"), o)
	return m, err
}

// inputs reads the content of an item.
func inputs(r *dialect.Request, v wire.Value, o *dialect.Options) ([]chat.Part, error) {
	if v.Kind() == wire.String {
		return []chat.Part{dialect.TextPart(chat.Text, v)}, nil
	}
	if v.Kind() != wire.Array {
		return nil, dialect.Refuse("content is neither text nor a list")
	}
	var out []chat.Part
	for p := range v.Items() {
		if p.Kind() != wire.Object {
			return nil, dialect.Refuse("a part is not an object")
		}
		if err := inputFields.Check(r, "content", p, o); err != nil {
			return nil, err
		}
		if err := dialect.NoFetch(p, o); err != nil {
			return nil, err
		}
		q, err := input(p, o)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

func input(p wire.Value, o *dialect.Options) (chat.Part, error) {
	kind, _ := p.Get("type").Text()
	switch kind {
	case "input_text", "output_text", "text", "summary_text":
		if t := p.Get("text"); t.Kind() == wire.String {
			return dialect.TextPart(chat.Text, t), nil
		}
	case "refusal":
		if t := p.Get("refusal"); t.Kind() == wire.String {
			return dialect.TextPart(chat.Refusal, t), nil
		}
	case "input_image":
		if s, ok := p.Get("image_url").Text(); ok {
			b, err := dialect.Blob(s, o)
			return chat.Part{Kind: chat.Image, Blob: b, Span: dialect.SpanOf(p.Get("image_url"))}, err
		}
	case "input_audio":
		return media(kind, p.Get("input_audio"), o)
	case "input_file":
		if s, ok := p.Get("file_url").Text(); ok {
			b, err := dialect.Blob(s, o)
			return chat.Part{Kind: chat.File, Blob: b}, err
		}
		return file(p, o)
	}
	return dialect.UnknownPart(p), nil
}
