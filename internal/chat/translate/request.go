// Package translate turns exchanges of one dialect into another: a request on
// its way to the upstream, the answer, whole or as a stream, on its way back.
// OpenAI's chat meets Anthropic, Gemini and Ollama, in either direction.
//
// What has no counterpart is refused if it changes what the model may do or say
// (tools, formats, safety settings, several answers, parts that are not text or
// images); what only shades an answer is dropped and named in a warning.
// Nothing is dropped in silence.
package translate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// ErrUntranslatable is wrapped by errors about what the other dialect cannot say.
var ErrUntranslatable = errors.New("the upstream of this model cannot be asked so")

// Pair reports whether exchanges of a client's dialect can go to an upstream's.
func Pair(client, upstream string) bool {
	others := []string{anthropic.Name, gemini.Name, ollama.Name}
	return client == openai.Name && slices.Contains(others, upstream) || upstream == openai.Name && slices.Contains(others, client)
}

// A number is a parameter that maps one to one: where it stands in each
// dialect. Missing there: it is dropped, with a warning.
var numbers = []map[string]string{
	{openai.Name: "temperature", anthropic.Name: "temperature", gemini.Name: "generationConfig.temperature", ollama.Name: "options.temperature"},
	{openai.Name: "top_p", anthropic.Name: "top_p", gemini.Name: "generationConfig.topP", ollama.Name: "options.top_p"},
	{openai.Name: "top_k", anthropic.Name: "top_k", gemini.Name: "generationConfig.topK", ollama.Name: "options.top_k"},
	{openai.Name: "seed", gemini.Name: "generationConfig.seed", ollama.Name: "options.seed"},
	{openai.Name: "presence_penalty", gemini.Name: "generationConfig.presencePenalty", ollama.Name: "options.presence_penalty"},
	{openai.Name: "frequency_penalty", gemini.Name: "generationConfig.frequencyPenalty", ollama.Name: "options.frequency_penalty"},
	{openai.Name: "min_p", ollama.Name: "options.min_p"},
}

// read are the members that the neutral form holds already.
var read = map[string][]string{
	openai.Name:    {"model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format", "max_tokens", "max_completion_tokens", "n", "logprobs", "top_logprobs", "stop"},
	anthropic.Name: {"model", "messages", "system", "stream", "tools", "tool_choice", "output_config", "output_format", "max_tokens", "stop_sequences"},
	gemini.Name:    {"model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig.maxOutputTokens", "generationConfig.candidateCount", "generationConfig.stopSequences", "generationConfig.responseSchema", "generationConfig.responseJsonSchema", "generationConfig.responseMimeType", "generationConfig.responseLogprobs", "generationConfig.logprobs"},
	ollama.Name:    {"model", "messages", "stream", "tools", "format", "logprobs", "top_logprobs", "options.num_predict", "options.stop"},
}

// needed are members that change what the model may do or say and have no
// counterpart: a request with one is refused.
var needed = map[string][]string{
	openai.Name:    {"functions", "function_call", "logit_bias", "best_of", "audio", "modalities", "web_search_options", "prediction", "documents", "echo", "prompt_logprobs", "guided_json", "guided_choice"},
	anthropic.Name: {"mcp_servers", "container", "context_management"},
	gemini.Name:    {"safetySettings", "cachedContent", "generationConfig.responseModalities", "generationConfig.speechConfig", "generationConfig.imageConfig"},
	ollama.Name:    {"raw", "template", "suffix", "context", "images", "system", "prompt"},
}

// A choice says which tools the model may or must call.
type choice struct {
	mode string // "", auto, none, any, tool
	name string
}

type tool struct {
	name, description string
	schema            []byte
}

// A request is what every dialect can say.
type request struct {
	ex       *dialect.Request
	tools    []tool
	choice   choice
	json     bool // an answer that is JSON is asked for; ex.Schema may say which
	stop     []string
	numbers  []wire.Value // as in the table; Missing: not said
	warnings []string
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %w", dialect.ErrRequest, ErrUntranslatable, fmt.Errorf(format, args...))
}

// Request returns the body that asks the upstream's dialect what r, with all
// its changes, asks the client's, and the names of what was dropped. The model
// is called as the upstream calls it.
func Request(client, upstream *dialect.Dialect, r *dialect.Request, model string, o dialect.Options) (body []byte, to dialect.Target, dropped []string, err error) {
	if !Pair(client.Name, upstream.Name) || r.To.Op != dialect.Chat {
		return nil, to, nil, refuse("%s of dialect %s by one of %s", r.To.Op, client.Name, upstream.Name)
	}
	now, err := r.Bytes()
	if err != nil {
		return nil, to, nil, err
	}
	o.Limits.Bytes += o.Limits.Bytes / 8
	again := r.To
	ex, err := client.Decode(again, dialect.None, now, o)
	if err != nil {
		return nil, to, nil, err
	}
	n := &request{ex: ex}
	if err := n.read(client.Name); err != nil {
		return nil, to, nil, err
	}
	if n.ex.Stream && upstream.Name == gemini.Name {
		to.Stream, to.SSE = true, true
	}
	to.Op, to.Model = dialect.Chat, ""
	if upstream.Name == gemini.Name {
		to.Model = model
	}
	for i, v := range n.numbers {
		if v.Kind() != wire.Missing && v.Kind() != wire.Null && numbers[i][upstream.Name] == "" {
			n.warnings = append(n.warnings, numbers[i][client.Name])
		}
	}
	if err := n.check(); err != nil {
		return nil, to, nil, err
	}
	switch upstream.Name {
	case anthropic.Name:
		body, err = n.anthropic(model)
	case gemini.Name:
		body, err = n.gemini()
	case ollama.Name:
		body, err = n.ollama(model)
	default:
		body, err = n.openai(model)
	}
	return body, to, append(ex.Dropped, n.warnings...), err
}

// at returns the value at a path of names, in either spelling.
func at(root wire.Value, path string) wire.Value {
	for name := range strings.SplitSeq(path, ".") {
		v := root.Get(name)
		if v.Kind() == wire.Missing {
			v = root.Get(dialect.Snake(name))
		}
		root = v
	}
	return root
}

// read takes from the body what the exchange does not hold.
func (n *request) read(from string) error {
	root := n.ex.Doc.Root()
	for _, name := range needed[from] {
		if v := at(root, name); v.Kind() != wire.Missing && v.Kind() != wire.Null {
			return refuse("field %q has no counterpart", name)
		}
	}
	known := slices.Clone(read[from])
	for _, m := range numbers {
		v := wire.Value{}
		if m[from] != "" {
			v = at(root, m[from])
			known = append(known, m[from])
		}
		n.numbers = append(n.numbers, v)
	}
	n.unknown(root, "", known)
	var err error
	switch from {
	case openai.Name:
		err = n.fromOpenAI(root)
	case anthropic.Name:
		n.fromAnthropic(root)
	case gemini.Name:
		err = n.fromGemini(root)
	default:
		err = n.fromOllama(root)
	}
	return err
}

// unknown notes each member that nothing reads.
func (n *request) unknown(v wire.Value, where string, known []string) {
	for name, m := range v.Members() {
		p := where + name
		inside := func(k string) bool { return strings.HasPrefix(k, p+".") || strings.HasPrefix(dialect.Snake(k), p+".") }
		switch {
		case m.Kind() == wire.Null, slices.ContainsFunc(known, func(k string) bool { return k == p || dialect.Snake(k) == dialect.Snake(p) }):
		case slices.ContainsFunc(known, inside):
			n.unknown(m, p+".", known)
		default:
			n.warnings = append(n.warnings, p)
		}
	}
}

// check refuses parts that have no counterpart. Reasoning of earlier turns is
// signed or encrypted by its provider: it is dropped.
func (n *request) check() error {
	for i, m := range n.ex.Messages {
		for _, p := range m.Parts {
			switch p.Kind {
			case chat.Text, chat.Refusal, chat.ToolCall, chat.ToolResult:
			case chat.Reasoning:
				if !slices.Contains(n.warnings, "reasoning") {
					n.warnings = append(n.warnings, "reasoning")
				}
			case chat.Image:
				if _, _, ok := n.image(p); !ok {
					return refuse("message %d: an image that is not in the request", i)
				}
			default:
				return refuse("message %d: a part of kind %s", i, p.Kind)
			}
		}
	}
	for _, t := range n.ex.Tools {
		if t.Server {
			return refuse("tool %q is run by the provider", t.Name)
		}
	}
	if len(n.tools) != len(n.ex.Tools) {
		return refuse("tools that are not functions")
	}
	return nil
}

// image returns media type and base64 of an image.
func (n *request) image(p chat.Part) (mediaType, data string, ok bool) {
	s, ok := n.ex.Doc.At(p.Span.Start).Text()
	if !ok || p.Blob == nil || p.Blob.URL != "" {
		return "", "", false
	}
	if rest, is := strings.CutPrefix(s, "data:"); is {
		head, data, ok := strings.Cut(rest, ";base64,")
		return head, data, ok
	}
	mediaType = p.Blob.MediaType
	if mediaType == "" { // Ollama does not say; its first bytes do
		switch {
		case strings.HasPrefix(s, "/9j/"):
			mediaType = "image/jpeg"
		case strings.HasPrefix(s, "R0lGOD"):
			mediaType = "image/gif"
		case strings.HasPrefix(s, "UklGR"):
			mediaType = "image/webp"
		default:
			mediaType = "image/png"
		}
	}
	return mediaType, s, true
}

func stops(v wire.Value) []string {
	if s, ok := v.Text(); ok {
		return []string{s}
	}
	var out []string
	for x := range v.Items() {
		s, _ := x.Text()
		out = append(out, s)
	}
	return out
}

func function(f wire.Value, schema string) tool {
	t := tool{schema: f.Get(schema).Raw()}
	t.name, _ = f.Get("name").Text()
	t.description, _ = f.Get("description").Text()
	return t
}

func (n *request) fromOpenAI(root wire.Value) error {
	for t := range root.Get("tools").Items() {
		if kind, _ := t.Get("type").Text(); kind == "function" {
			n.tools = append(n.tools, function(t.Get("function"), "parameters"))
		}
	}
	switch c := root.Get("tool_choice"); c.Kind() {
	case wire.String:
		n.choice.mode, _ = c.Text()
		if n.choice.mode == "required" {
			n.choice.mode = "any"
		}
	case wire.Object:
		n.choice.mode = "tool"
		if n.choice.name, _ = c.Get("function").Get("name").Text(); n.choice.name == "" {
			return refuse("tool_choice of that type")
		}
	}
	switch kind, _ := root.Get("response_format").Get("type").Text(); kind {
	case "", "text":
	case "json_object", "json_schema":
		n.json = true
	default:
		return refuse("response_format of type %q", kind)
	}
	n.stop = stops(root.Get("stop"))
	return nil
}

func (n *request) fromAnthropic(root wire.Value) {
	for t := range root.Get("tools").Items() {
		if kind, _ := t.Get("type").Text(); kind == "" || kind == "custom" {
			n.tools = append(n.tools, function(t, "input_schema"))
		}
	}
	c := root.Get("tool_choice")
	n.choice.mode, _ = c.Get("type").Text()
	n.choice.name, _ = c.Get("name").Text()
	if off, _ := c.Get("disable_parallel_tool_use").Bool(); off {
		n.warnings = append(n.warnings, "tool_choice.disable_parallel_tool_use")
	}
	n.json = len(n.ex.Schema) > 0
	n.stop = stops(root.Get("stop_sequences"))
}

func (n *request) fromGemini(root wire.Value) error {
	for t := range root.Get("tools").Items() {
		for f := range at(t, "functionDeclarations").Items() {
			x := function(f, "parameters")
			x.schema = lowerTypes(f.Get("parameters"))
			if len(x.schema) == 0 {
				x.schema = at(f, "parametersJsonSchema").Raw()
			}
			n.tools = append(n.tools, x)
		}
	}
	c := at(root, "toolConfig.functionCallingConfig")
	mode, _ := c.Get("mode").Text()
	names := at(c, "allowedFunctionNames")
	switch {
	case names.Len() > 1:
		return refuse("toolConfig with several allowed functions")
	case names.Len() == 1:
		n.choice.mode = "tool"
		n.choice.name = stops(names)[0]
	case mode != "" && mode != "MODE_UNSPECIFIED":
		n.choice.mode = strings.ToLower(mode)
	}
	kind, _ := at(root, "generationConfig.responseMimeType").Text()
	switch kind {
	case "", "text/plain":
	case "application/json":
		n.json = true
	default:
		return refuse("responseMimeType %q", kind)
	}
	if v := at(root, "generationConfig.responseSchema"); v.Kind() == wire.Object {
		n.ex.Schema = lowerTypes(v)
	}
	n.json = n.json || len(n.ex.Schema) > 0
	n.stop = stops(at(root, "generationConfig.stopSequences"))
	return nil
}

func (n *request) fromOllama(root wire.Value) error {
	for t := range root.Get("tools").Items() {
		n.tools = append(n.tools, function(t.Get("function"), "parameters"))
	}
	f := root.Get("format")
	kind, text := f.Text()
	switch {
	case text && kind != "" && kind != "json":
		return refuse("format %q", kind)
	case text && kind == "json", f.Kind() == wire.Object:
		n.json = true
	}
	n.stop = stops(at(root, "options.stop"))
	return nil
}

// lowerTypes returns a schema of Gemini, whose types are written in capitals, as
// JSON schema writes them.
func lowerTypes(v wire.Value) []byte {
	if v.Kind() != wire.Object {
		return nil
	}
	start, _ := v.Span()
	out, done := []byte(nil), 0
	raw := v.Raw()
	for name, x := range v.All() {
		if s, ok := x.Text(); ok && name == "type" && s == strings.ToUpper(s) {
			from, to := x.Span()
			out = append(out, raw[done:from-start]...)
			out = wire.AppendString(out, []byte(strings.ToLower(s)))
			done = to - start
		}
	}
	return append(out, raw[done:]...)
}
