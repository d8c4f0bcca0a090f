package openai

import (
	"slices"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// shared are fields that servers of this dialect have in common, for every
// operation.
var shared = []dialect.Row{
	// They choose another model or a host, or carry code (SGLang's logit
	// processors are pickles).
	{How: dialect.Never, Names: "models route provider plugins kv_transfer_params bootstrap_host bootstrap_port bootstrap_room custom_logit_processor lora_path"},
	{How: dialect.Permit, Names: "mm_processor_kwargs media_io_kwargs guided_decoding_backend session_params priority"},
}

// chatFields are those of a chat completion.
var chatFields = dialect.Fields(slices.Concat([]dialect.Row{
	{How: dialect.Read, Names: "model messages stream stream_options tools functions tool_choice function_call response_format logprobs logit_bias temperature"},
	{How: dialect.Cap, Names: "n best_of max_tokens max_completion_tokens top_logprobs prompt_logprobs stop"},
	{How: dialect.Permit, Names: "echo documents prediction web_search_options store"},
	{How: dialect.Pass, Names: `top_p frequency_penalty presence_penalty seed user metadata service_tier parallel_tool_calls reasoning_effort verbosity modalities
		audio safety_identifier prompt_cache_key prompt_cache_retention top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output
		ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens guided_json guided_choice add_generation_prompt continue_final_message
		add_special_tokens cache_salt request_id`},
}, shared)...)

// Tables returns what the dialect knows of fields, by the kind of object.
func Tables() map[string]*dialect.Table {
	return map[string]*dialect.Table{
		"chat": chatFields, "message": messageFields, "part": partFields, "tool": toolFields, "call": callFields,
		"responses": responsesFields, "item": itemFields, "input": inputFields, "responses_tool": responseToolFields, "embed": embedFields,
	}
}

// messageFields are those of one message.
var messageFields = dialect.Fields(
	dialect.Row{How: dialect.Read, Names: "role content tool_calls tool_call_id function_call name refusal reasoning reasoning_content audio"},
	dialect.Row{How: dialect.Pass, Names: "annotations id"},
)

var partFields = dialect.Fields(
	dialect.Row{How: dialect.Read, Names: "type text refusal image_url video_url audio_url input_audio file url"},
	dialect.Row{How: dialect.Pass, Names: "cache_control uuid"},
)

var (
	toolFields     = dialect.Fields(dialect.Row{How: dialect.Read, Names: "type function name parameters custom"}, dialect.Row{How: dialect.Pass, Names: "description strict cache_control format"})
	callFields     = dialect.Fields(dialect.Row{How: dialect.Read, Names: "id type function name arguments custom input index"})
	optionFields   = dialect.Fields(dialect.Row{How: dialect.Read, Names: "include_usage continuous_usage_stats"}, dialect.Row{How: dialect.Pass, Names: "include_obfuscation"})
	formatFields   = dialect.Fields(dialect.Row{How: dialect.Read, Names: "type json_schema schema name"}, dialect.Row{How: dialect.Pass, Names: "strict description"})
	functionFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "name parameters arguments input"}, dialect.Row{How: dialect.Pass, Names: "description strict format"})
)

func readChat(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	if err := chatFields.Check(r, "", root, o); err != nil {
		return err
	}
	if err := readModel(r, root); err != nil {
		return err
	}
	if err := params(r, root, o); err != nil {
		return err
	}
	if err := tools(r, root, o); err != nil {
		return err
	}
	ms := root.Get("messages")
	if ms.Kind() != wire.Array || ms.Len() == 0 {
		return dialect.Refuse("messages is missing, empty or not an array")
	}
	names := map[string]string{} // of the functions called, by call
	leading := 0                 // how many messages of the operator come first
	r.Messages = make([]chat.Message, 0, ms.Len())
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

// params reads the numbers and switches of a chat request.
func params(r *dialect.Request, root wire.Value, o *dialect.Options) (err error) {
	if r.Stream, err = dialect.Bool(root, "stream"); err != nil {
		return err
	}
	if so := root.Get("stream_options"); so.Kind() != wire.Missing && so.Kind() != wire.Null {
		if so.Kind() != wire.Object {
			return dialect.Refuse("stream_options is not an object")
		}
		if err := optionFields.Check(r, "stream_options", so, o); err != nil {
			return err
		}
		if r.ClientUsage, err = dialect.Bool(so, "include_usage"); err != nil {
			return err
		}
	}
	r.Places.Usage = func(e *wire.Edits) {
		if so := root.Get("stream_options"); so.Kind() == wire.Object {
			e.Set(so, "include_usage", []byte("true"))
			return
		}
		e.Set(root, "stream_options", []byte(`{"include_usage":true}`))
	}
	if err := r.MaxOutput(root, o, "max_tokens", "max_completion_tokens"); err != nil {
		return err
	}
	r.Places.MaxAt = []string{"max_completion_tokens"}
	if r.Params.Choices, err = dialect.Capped(root, "n", o.Caps.Choices); err != nil {
		return err
	}
	if _, err = dialect.Capped(root, "best_of", o.Caps.Choices); err != nil {
		return err
	}
	if err := r.ReadTemperature(root); err != nil {
		return err
	}
	if err := logprobs(r, root, o); err != nil {
		return err
	}
	if err := dialect.Stop(root, "stop", o); err != nil {
		return err
	}
	f := root.Get("response_format")
	if f.Kind() != wire.Object {
		if f.Kind() != wire.Missing && f.Kind() != wire.Null {
			return dialect.Refuse("response_format is not an object")
		}
		return nil
	}
	if err := formatFields.Check(r, "response_format", f, o); err != nil {
		return err
	}
	if js := f.Get("json_schema"); js.Kind() == wire.Object {
		if err := formatFields.Check(r, "response_format.json_schema", js, o); err != nil {
			return err
		}
		r.Schema = js.Get("schema").Raw()
	}
	return nil
}

func logprobs(r *dialect.Request, root wire.Value, o *dialect.Options) (err error) {
	if r.Params.Logprobs, err = dialect.Bool(root, "logprobs"); err != nil {
		return err
	}
	if r.Params.TopLogprobs, err = dialect.Capped(root, "top_logprobs", o.Caps.TopLogprobs); err != nil {
		return err
	}
	prompt, err := dialect.Capped(root, "prompt_logprobs", o.Caps.TopLogprobs)
	if err != nil {
		return err
	}
	r.Params.Logprobs = r.Params.Logprobs || r.Params.TopLogprobs > 0 || prompt > 0 || root.Get("prompt_logprobs").Kind() == wire.Number
	for _, name := range []string{"logprobs", "top_logprobs", "prompt_logprobs"} {
		if v := root.Get(name); v.Kind() != wire.Missing {
			r.Places.Logprobs = append(r.Places.Logprobs, dialect.Member{In: root, Value: v})
		}
	}
	r.Params.LogitBias = root.Get("logit_bias").Len() > 0
	return nil
}

// tools reads the functions that the model may call, of either age.
func tools(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	for _, list := range []string{"tools", "functions"} {
		ts := root.Get(list)
		if k := ts.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
			return dialect.Refuse("%s is not an array", list)
		}
		for t := range ts.Items() {
			if t.Kind() != wire.Object {
				return dialect.Refuse("%s has an entry that is not an object", list)
			}
			if err := toolFields.Check(r, list, t, o); err != nil {
				return err
			}
			f, kind := t, "function"
			if list == "tools" {
				kind, _ = t.Get("type").Text()
				if f = t.Get(kind); f.Kind() == wire.Object {
					if err := functionFields.Check(r, list+"."+kind, f, o); err != nil {
						return err
					}
				}
			}
			spec := chat.ToolSpec{Schema: f.Get("parameters").Raw(), Server: kind != "function" && kind != "custom"}
			if spec.Name, _ = f.Get("name").Text(); spec.Name == "" {
				spec.Name = kind
			}
			if spec.Server && !slices.Contains(o.Permit, kind) {
				return dialect.Refuse("tools of type %q are not allowed on this route", kind)
			}
			r.Tools = append(r.Tools, spec)
		}
	}
	return nil
}

// message reads one message. Names are those of the functions called so far.
func message(r *dialect.Request, m wire.Value, names map[string]string, o *dialect.Options) (chat.Message, error) {
	out := chat.Message{Span: dialect.SpanOf(m)}
	if m.Kind() != wire.Object {
		return out, dialect.Refuse("not an object")
	}
	if err := messageFields.Check(r, "messages", m, o); err != nil {
		return out, err
	}
	role, ok := m.Get("role").Text()
	if !ok {
		return out, dialect.Refuse("role is missing or not a string")
	}
	switch role {
	case "system", "developer":
		out.Role = chat.System
	case "user", "assistant", "tool":
		out.Role = chat.Role(role)
	case "function":
		out.Role = chat.Tool
	default:
		return out, dialect.Refuse("role %q is not known", role)
	}
	for name, v := range m.Members() {
		parts, err := member(r, out.Role, name, v, names, o)
		if err != nil {
			return out, err
		}
		out.Parts = append(out.Parts, parts...)
	}
	if out.Role != chat.Tool {
		return out, nil
	}
	id, err := dialect.String(m, "tool_call_id")
	if err != nil {
		return out, err
	}
	name, err := dialect.String(m, "name")
	if err != nil {
		return out, err
	}
	if names[id] != "" {
		name = names[id]
	}
	for i := range out.Parts {
		if out.Parts[i].Kind == chat.Text {
			out.Parts[i].Kind, out.Parts[i].Call = chat.ToolResult, &chat.Call{ID: id, Name: name}
		}
	}
	return out, nil
}

// member reads the parts of one member of a message.
func member(r *dialect.Request, role chat.Role, name string, v wire.Value, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	if v.Kind() == wire.Null || messageFields.Gone(name, o) {
		return nil, nil
	}
	switch name {
	case "role", "annotations", "id", "tool_call_id":
		return nil, nil
	case "name":
		if v.Kind() != wire.String {
			return nil, dialect.Refuse("name is not a string")
		}
		return nil, nil
	case "content":
		return content(r, v, o)
	case "refusal", "reasoning", "reasoning_content":
		kind := chat.Reasoning
		if name == "refusal" {
			kind = chat.Refusal
		}
		if v.Kind() != wire.String {
			return []chat.Part{dialect.UnknownPart(v)}, nil
		}
		return []chat.Part{dialect.TextPart(kind, v)}, nil
	case "tool_calls":
		return calls(r, v, names, o)
	case "function_call":
		p, err := call(r, v, v, names, o)
		return []chat.Part{p}, err
	case "audio":
		if v.Kind() == wire.Object && role == chat.Assistant { // names an earlier answer
			return []chat.Part{{Kind: chat.Audio, Blob: &chat.Blob{}}}, nil
		}
	}
	if len(dialect.Strings(v)) == 0 {
		return nil, nil
	}
	return []chat.Part{dialect.UnknownPart(v)}, dialect.NoFetch(v, o)
}

func content(r *dialect.Request, c wire.Value, o *dialect.Options) ([]chat.Part, error) {
	switch c.Kind() {
	case wire.String:
		return []chat.Part{dialect.TextPart(chat.Text, c)}, nil
	case wire.Array:
		out := make([]chat.Part, 0, c.Len())
		for p := range c.Items() {
			q, err := part(r, p, o)
			if err != nil {
				return nil, err
			}
			out = append(out, q...)
		}
		return out, nil
	}
	return nil, dialect.Refuse("content is neither text nor parts")
}

// part reads one part. A server may read more of it than its type says, so that
// everything in it is looked at.
func part(r *dialect.Request, p wire.Value, o *dialect.Options) ([]chat.Part, error) {
	if p.Kind() == wire.String { // some servers take bare strings
		return []chat.Part{dialect.TextPart(chat.Text, p)}, nil
	}
	if p.Kind() != wire.Object {
		return nil, dialect.Refuse("a part is not an object")
	}
	if err := partFields.Check(r, "content", p, o); err != nil {
		return nil, err
	}
	if err := dialect.NoFetch(p, o); err != nil {
		return nil, err
	}
	var out []chat.Part
	kind, _ := p.Get("type").Text()
	for name, v := range p.Members() {
		if v.Kind() == wire.Null || partFields.Gone(name, o) || name == "type" || name == "cache_control" || name == "uuid" {
			continue
		}
		switch {
		case name == "text" && v.Kind() == wire.String:
			out = append(out, dialect.TextPart(chat.Text, v))
		case name == "refusal" && v.Kind() == wire.String:
			out = append(out, dialect.TextPart(chat.Refusal, v))
		case name == kind:
			q, err := media(name, v, o)
			if err != nil {
				return nil, err
			}
			out = append(out, q)
		default:
			out = append(out, dialect.UnknownPart(v))
		}
	}
	if len(out) == 0 { // a kind of part that may say anything
		out = append(out, dialect.UnknownPart(p))
	}
	return out, nil
}

// media reads the content of a part that is not text.
func media(kind string, v wire.Value, o *dialect.Options) (chat.Part, error) {
	address := v
	if v.Kind() == wire.Object {
		address = v.Get("url")
	}
	var out chat.Part
	switch kind {
	case "image_url":
		out.Kind = chat.Image
	case "audio_url":
		out.Kind = chat.Audio
	case "video_url":
		out.Kind = chat.File
	case "input_audio":
		data, _ := v.Get("data").Text()
		n, err := dialect.Base64Size(data)
		format, _ := v.Get("format").Text()
		return chat.Part{Kind: chat.Audio, Blob: &chat.Blob{MediaType: "audio/" + format, Size: n}}, err
	case "file":
		return file(v, o)
	default:
		return dialect.UnknownPart(v), nil
	}
	s, ok := address.Text()
	if !ok {
		return out, dialect.Refuse("%s has no url", kind)
	}
	var err error
	out.Blob, err = dialect.Blob(s, o)
	out.Span = dialect.SpanOf(address)
	return out, err
}

// file reads a file: its content as base64, or the id of one that lies with the
// provider, whose content nobody here sees.
func file(v wire.Value, o *dialect.Options) (chat.Part, error) {
	data, ok := v.Get("file_data").Text()
	if !ok {
		return dialect.UnknownPart(v), nil
	}
	if len(data) > 5 && data[:5] == "data:" {
		b, err := dialect.Blob(data, o)
		return chat.Part{Kind: chat.File, Blob: b}, err
	}
	n, err := dialect.Base64Size(data)
	return chat.Part{Kind: chat.File, Blob: &chat.Blob{Size: n}}, err
}

func calls(r *dialect.Request, v wire.Value, names map[string]string, o *dialect.Options) ([]chat.Part, error) {
	if v.Kind() != wire.Array {
		return nil, dialect.Refuse("tool_calls is not an array")
	}
	var out []chat.Part
	for c := range v.Items() {
		if c.Kind() != wire.Object {
			return nil, dialect.Refuse("a tool call is not an object")
		}
		if err := callFields.Check(r, "tool_calls", c, o); err != nil {
			return nil, err
		}
		f := c.Get("function")
		if f.Kind() == wire.Missing {
			f = c.Get("custom")
		}
		p, err := call(r, c, f, names, o)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// call reads a call c of the function f, and remembers its name.
func call(r *dialect.Request, c, f wire.Value, names map[string]string, o *dialect.Options) (chat.Part, error) {
	if f.Kind() != wire.Object {
		return dialect.UnknownPart(c), nil
	}
	if err := functionFields.Check(r, "tool_calls.function", f, o); err != nil {
		return chat.Part{}, err
	}
	args := f.Get("arguments")
	if args.Kind() == wire.Missing {
		args = f.Get("input")
	}
	if args.Kind() == wire.Missing {
		return dialect.UnknownPart(c), nil
	}
	p := dialect.RawPart(chat.ToolCall, args)
	p.Call = &chat.Call{}
	p.Call.ID, _ = c.Get("id").Text()
	p.Call.Name, _ = f.Get("name").Text()
	if p.Call.ID != "" {
		names[p.Call.ID] = p.Call.Name
	}
	return p, nil
}
