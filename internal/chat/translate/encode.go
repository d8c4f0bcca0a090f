package translate

import (
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// put writes the numbers that the dialect has below a prefix.
func (n *request) put(w *writer, to, prefix string) {
	for i, v := range n.numbers {
		name := numbers[i][to]
		if v.Kind() != wire.Number || len(name) <= len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		w.name(name[len(prefix):]).raw(v.Raw())
	}
}

func (w *writer) list(ss []string) {
	w.open('[')
	for _, s := range ss {
		w.str(s)
	}
	w.close(']')
}

// schema writes a schema, or that of no argument.
func (w *writer) schema(raw []byte) *writer {
	if len(raw) == 0 || string(raw) == "null" {
		raw = []byte(`{"type":"object","properties":{}}`)
	}
	return w.raw(raw)
}

// arguments writes the arguments of a call as an object.
func (w *writer) arguments(text []byte) error {
	if len(text) == 0 {
		w.raw([]byte("{}"))
		return nil
	}
	d, err := wire.Parse(text, wire.DefaultLimits())
	if err != nil || d.Root().Kind() != wire.Object {
		return refuse("arguments of a call that are not a JSON object")
	}
	w.raw(text)
	return nil
}

// texts joins the texts of parts of these kinds.
func texts(m chat.Message, kinds ...chat.PartKind) (string, bool) {
	var b []byte
	some := false
	for _, p := range m.Parts {
		if slices.Contains(kinds, p.Kind) {
			if some {
				b = append(b, '\n')
			}
			b, some = append(b, p.Text...), true
		}
	}
	return string(b), some
}

// id returns the id of a call, or one made of its name where the dialect has
// none: calls and their results get the same.
func id(c *chat.Call, i int) string {
	if c == nil || c.ID == "" {
		if c != nil && c.Name != "" {
			return "call_" + c.Name
		}
		return "call_" + strconv.Itoa(i)
	}
	return c.ID
}

func name(c *chat.Call) string {
	if c == nil {
		return ""
	}
	return c.Name
}

func (n *request) logprobs(w *writer) {
	if n.ex.Params.Logprobs {
		w.name("logprobs").bool(true)
	}
	if n.ex.Params.TopLogprobs > 0 {
		w.name("top_logprobs").num(n.ex.Params.TopLogprobs)
	}
}

func (n *request) openai(model string) ([]byte, error) {
	w := &writer{}
	w.open('{').name("model").str(model).name("messages").open('[')
	for _, m := range n.ex.Messages {
		n.openaiMessage(w, m)
	}
	w.close(']')
	if n.ex.Params.MaxOutput > 0 {
		w.name("max_completion_tokens").num(n.ex.Params.MaxOutput)
	}
	if n.ex.Params.Choices > 0 {
		w.name("n").num(n.ex.Params.Choices)
	}
	n.put(w, openai.Name, "")
	n.logprobs(w)
	if len(n.stop) > 0 {
		w.name("stop").list(n.stop)
	}
	switch {
	case len(n.ex.Schema) > 0:
		w.name("response_format").open('{').name("type").str("json_schema").name("json_schema").open('{').name("name").str("answer").name("schema").raw(n.ex.Schema).close('}').close('}')
	case n.json:
		w.name("response_format").open('{').name("type").str("json_object").close('}')
	}
	if len(n.tools) > 0 {
		w.name("tools").open('[')
		for _, t := range n.tools {
			w.open('{').name("type").str("function").name("function")
			t.write(w, "parameters")
			w.close('}')
		}
		w.close(']')
	}
	switch n.choice.mode {
	case "":
	case "auto", "none":
		w.name("tool_choice").str(n.choice.mode)
	case "any":
		w.name("tool_choice").str("required")
	case "tool":
		w.name("tool_choice").open('{').name("type").str("function").name("function").open('{').name("name").str(n.choice.name).close('}').close('}')
	default:
		return nil, refuse("tools are chosen by %q", n.choice.mode)
	}
	if n.ex.Stream {
		w.name("stream").bool(true).name("stream_options").open('{').name("include_usage").bool(true).close('}')
	}
	return w.close('}').b, nil
}

func (t tool) write(w *writer, schema string) {
	w.open('{').name("name").str(t.name)
	if t.description != "" {
		w.name("description").str(t.description)
	}
	w.name(schema).schema(t.schema).close('}')
}

// openaiMessage writes one message; results of tools become messages of their
// own.
func (n *request) openaiMessage(w *writer, m chat.Message) {
	for i, p := range m.Parts {
		if p.Kind == chat.ToolResult {
			w.open('{').name("role").str("tool").name("tool_call_id").str(id(p.Call, i)).name("content").str(string(p.Text)).close('}')
		}
	}
	rest := slices.DeleteFunc(slices.Clone(m.Parts), func(p chat.Part) bool { return p.Kind == chat.ToolResult || p.Kind == chat.Reasoning })
	if len(rest) == 0 {
		return
	}
	w.open('{').name("role").str(string(m.Role))
	content := slices.ContainsFunc(rest, func(p chat.Part) bool { return p.Kind != chat.ToolCall })
	if content {
		w.name("content").open('[')
	}
	for _, p := range rest {
		switch p.Kind {
		case chat.Text, chat.Refusal:
			w.open('{').name("type").str("text").name("text").str(string(p.Text)).close('}')
		case chat.Image:
			mediaType, data, _ := n.image(p)
			w.open('{').name("type").str("image_url").name("image_url").open('{').name("url").str("data:" + mediaType + ";base64," + data).close('}').close('}')
		}
	}
	if content {
		w.close(']')
	}
	some := false
	for i, p := range rest {
		if p.Kind != chat.ToolCall {
			continue
		}
		if !some {
			w.name("tool_calls").open('[')
			some = true
		}
		args := p.Text
		if len(args) == 0 {
			args = []byte("{}")
		}
		w.open('{').name("id").str(id(p.Call, i)).name("type").str("function").name("function").open('{').name("name").str(name(p.Call)).name("arguments").str(string(args)).close('}').close('}')
	}
	if some {
		w.close(']')
	}
	w.close('}')
}

// defaultMax is the bound where the upstream wants one and the request has none.
const defaultMax = 4096

func (n *request) anthropic(model string) ([]byte, error) {
	switch {
	case n.ex.Params.Choices > 1:
		return nil, refuse("several answers")
	case n.ex.Params.Logprobs:
		return nil, refuse("log-probabilities")
	case n.json && len(n.ex.Schema) == 0:
		return nil, refuse("an answer that is JSON without a schema")
	}
	w := &writer{}
	w.open('{').name("model").str(model)
	most := n.ex.Params.MaxOutput
	if most == 0 {
		most = defaultMax
	}
	w.name("max_tokens").num(most)
	var system []string
	w.name("messages").open('[')
	for _, m := range n.ex.Messages {
		if m.Role == chat.System {
			s, _ := texts(m, chat.Text)
			system = append(system, s)
			continue
		}
		if err := n.anthropicMessage(w, m); err != nil {
			return nil, err
		}
	}
	w.close(']')
	if len(system) > 0 {
		w.name("system").open('[')
		for _, s := range system {
			w.open('{').name("type").str("text").name("text").str(s).close('}')
		}
		w.close(']')
	}
	n.put(w, anthropic.Name, "")
	if len(n.stop) > 0 {
		w.name("stop_sequences").list(n.stop)
	}
	if len(n.ex.Schema) > 0 {
		w.name("output_config").open('{').name("format").open('{').name("type").str("json_schema").name("schema").raw(n.ex.Schema).close('}').close('}')
	}
	if len(n.tools) > 0 {
		w.name("tools").open('[')
		for _, t := range n.tools {
			t.write(w, "input_schema")
		}
		w.close(']')
	}
	switch n.choice.mode {
	case "":
	case "auto", "none", "any":
		w.name("tool_choice").open('{').name("type").str(n.choice.mode).close('}')
	case "tool":
		w.name("tool_choice").open('{').name("type").str("tool").name("name").str(n.choice.name).close('}')
	default:
		return nil, refuse("tools are chosen by %q", n.choice.mode)
	}
	if n.ex.Stream {
		w.name("stream").bool(true)
	}
	return w.close('}').b, nil
}

func (n *request) anthropicMessage(w *writer, m chat.Message) error {
	role := "user"
	if m.Role == chat.Assistant {
		role = "assistant"
	}
	w.open('{').name("role").str(role).name("content").open('[')
	for i, p := range m.Parts {
		switch p.Kind {
		case chat.Text, chat.Refusal:
			if len(p.Text) > 0 { // an empty text block is an error there
				w.open('{').name("type").str("text").name("text").str(string(p.Text)).close('}')
			}
		case chat.Image:
			mediaType, data, _ := n.image(p)
			w.open('{').name("type").str("image").name("source").open('{').name("type").str("base64").name("media_type").str(mediaType).name("data").str(data).close('}').close('}')
		case chat.ToolCall:
			w.open('{').name("type").str("tool_use").name("id").str(id(p.Call, i)).name("name").str(name(p.Call)).name("input")
			if err := w.arguments(p.Text); err != nil {
				return err
			}
			w.close('}')
		case chat.ToolResult:
			w.open('{').name("type").str("tool_result").name("tool_use_id").str(id(p.Call, i)).name("content").str(string(p.Text)).close('}')
		}
	}
	w.close(']').close('}')
	return nil
}

func (n *request) gemini() ([]byte, error) {
	w := &writer{}
	w.open('{').name("contents").open('[')
	var system []string
	for _, m := range n.ex.Messages {
		if m.Role == chat.System {
			s, _ := texts(m, chat.Text)
			system = append(system, s)
			continue
		}
		if err := n.geminiContent(w, m); err != nil {
			return nil, err
		}
	}
	w.close(']')
	if len(system) > 0 {
		w.name("systemInstruction").open('{').name("parts").open('[')
		for _, s := range system {
			w.open('{').name("text").str(s).close('}')
		}
		w.close(']').close('}')
	}
	w.name("generationConfig").open('{')
	if n.ex.Params.MaxOutput > 0 {
		w.name("maxOutputTokens").num(n.ex.Params.MaxOutput)
	}
	if n.ex.Params.Choices > 0 {
		w.name("candidateCount").num(n.ex.Params.Choices)
	}
	n.put(w, gemini.Name, "generationConfig.")
	if len(n.stop) > 0 {
		w.name("stopSequences").list(n.stop)
	}
	if n.json {
		w.name("responseMimeType").str("application/json")
	}
	if len(n.ex.Schema) > 0 {
		w.name("responseJsonSchema").raw(n.ex.Schema)
	}
	if n.ex.Params.Logprobs {
		w.name("responseLogprobs").bool(true)
	}
	if n.ex.Params.TopLogprobs > 0 {
		w.name("logprobs").num(n.ex.Params.TopLogprobs)
	}
	w.close('}')
	if len(n.tools) > 0 {
		w.name("tools").open('[').open('{').name("functionDeclarations").open('[')
		for _, t := range n.tools {
			t.write(w, "parametersJsonSchema")
		}
		w.close(']').close('}').close(']')
	}
	modes := map[string]string{"auto": "AUTO", "none": "NONE", "any": "ANY", "tool": "ANY"}
	if n.choice.mode != "" {
		mode := modes[n.choice.mode]
		if mode == "" {
			return nil, refuse("tools are chosen by %q", n.choice.mode)
		}
		w.name("toolConfig").open('{').name("functionCallingConfig").open('{').name("mode").str(mode)
		if n.choice.name != "" {
			w.name("allowedFunctionNames").list([]string{n.choice.name})
		}
		w.close('}').close('}')
	}
	return w.close('}').b, nil
}

func (n *request) geminiContent(w *writer, m chat.Message) error {
	role := "user"
	if m.Role == chat.Assistant {
		role = "model"
	}
	w.open('{').name("role").str(role).name("parts").open('[')
	for _, p := range m.Parts {
		switch p.Kind {
		case chat.Text, chat.Refusal:
			w.open('{').name("text").str(string(p.Text)).close('}')
		case chat.Image:
			mediaType, data, _ := n.image(p)
			w.open('{').name("inlineData").open('{').name("mimeType").str(mediaType).name("data").str(data).close('}').close('}')
		case chat.ToolCall:
			w.open('{').name("functionCall").open('{').name("name").str(name(p.Call)).name("args")
			if err := w.arguments(p.Text); err != nil {
				return err
			}
			w.close('}').close('}')
		case chat.ToolResult:
			if name(p.Call) == "" {
				return refuse("the result of a call that is not in the request")
			}
			w.open('{').name("functionResponse").open('{').name("name").str(p.Call.Name).name("response").open('{').name("result").str(string(p.Text)).close('}').close('}').close('}')
		}
	}
	w.close(']').close('}')
	return nil
}

func (n *request) ollama(model string) ([]byte, error) {
	switch {
	case n.ex.Params.Choices > 1:
		return nil, refuse("several answers")
	case n.choice.mode != "" && n.choice.mode != "auto":
		return nil, refuse("tool_choice %q", n.choice.mode)
	}
	w := &writer{}
	w.open('{').name("model").str(model).name("stream").bool(n.ex.Stream).name("messages").open('[')
	for _, m := range n.ex.Messages {
		if err := n.ollamaMessage(w, m); err != nil {
			return nil, err
		}
	}
	w.close(']').name("options").open('{')
	if n.ex.Params.MaxOutput > 0 {
		w.name("num_predict").num(n.ex.Params.MaxOutput)
	}
	n.put(w, ollama.Name, "options.")
	if len(n.stop) > 0 {
		w.name("stop").list(n.stop)
	}
	w.close('}')
	n.logprobs(w)
	switch {
	case len(n.ex.Schema) > 0:
		w.name("format").raw(n.ex.Schema)
	case n.json:
		w.name("format").str("json")
	}
	if len(n.tools) > 0 {
		w.name("tools").open('[')
		for _, t := range n.tools {
			w.open('{').name("type").str("function").name("function")
			t.write(w, "parameters")
			w.close('}')
		}
		w.close(']')
	}
	return w.close('}').b, nil
}

func (n *request) ollamaMessage(w *writer, m chat.Message) error {
	for _, p := range m.Parts {
		if p.Kind == chat.ToolResult {
			w.open('{').name("role").str("tool").name("tool_name").str(name(p.Call)).name("content").str(string(p.Text)).close('}')
		}
	}
	content, some := texts(m, chat.Text, chat.Refusal)
	var images []string
	var calls []chat.Part
	for _, p := range m.Parts {
		switch p.Kind {
		case chat.Image:
			_, data, _ := n.image(p)
			images = append(images, data)
		case chat.ToolCall:
			calls = append(calls, p)
		}
	}
	if !some && len(images) == 0 && len(calls) == 0 {
		return nil
	}
	w.open('{').name("role").str(string(m.Role)).name("content").str(content)
	if len(images) > 0 {
		w.name("images").list(images)
	}
	if len(calls) > 0 {
		w.name("tool_calls").open('[')
		for _, p := range calls {
			w.open('{').name("function").open('{').name("name").str(name(p.Call)).name("arguments")
			if err := w.arguments(p.Text); err != nil {
				return err
			}
			w.close('}').close('}')
		}
		w.close(']')
	}
	w.close('}')
	return nil
}
