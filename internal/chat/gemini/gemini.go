// Package gemini is the dialect of Google's Gemini API. Source: its REST
// reference of generateContent, streamGenerateContent, countTokens and
// embedContent. Its servers read Protocol Buffers' JSON: each name can be
// written in lowerCamelCase or with underscores; both at once are refused.
package gemini

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "gemini"

// Dialect returns the dialect.
func Dialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name, Match: match, Decode: decode, Answer: answer, Stream: stream, Error: problem, Failed: failed, Models: models, Path: path,
		Keys:     []dialect.Key{{Header: "X-Goog-Api-Key"}, {Header: "Authorization", Prefix: "Bearer "}},
		QueryKey: "key",
		Response: []string{"Retry-After"},
	}
}

const prefix = "/v1beta/models"

// methods are what can stand behind the colon of a path.
var methods = map[string]dialect.Target{
	"generateContent":       {Op: dialect.Chat},
	"streamGenerateContent": {Op: dialect.Chat, Stream: true},
	"countTokens":           {Op: dialect.CountTokens},
	"embedContent":          {Op: dialect.Embed},
}

// match reads "/v1beta/models/{model}:{method}". Of the query it takes alt and
// key only.
func match(method, path, query string) (dialect.Target, bool) {
	if method == "GET" && path == prefix {
		return dialect.Target{Op: dialect.Models}, true
	}
	rest, ok := strings.CutPrefix(path, prefix+"/")
	name, verb, _ := strings.Cut(rest, ":")
	t, known := methods[verb]
	if !ok || !known || method != "POST" || !dialect.PlainName(name) {
		return dialect.Target{}, false
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return dialect.Target{}, false
	}
	for k, v := range q {
		switch {
		case len(v) != 1 || k != "key" && k != "alt":
			return dialect.Target{}, false
		case k == "alt" && v[0] == "sse":
			t.SSE = true
		case k == "alt" && v[0] != "json":
			return dialect.Target{}, false
		}
	}
	t.Model = name
	return t, true
}

func path(t dialect.Target, model string) string {
	if t.Op == dialect.Models {
		return prefix
	}
	at := prefix + "/" + url.PathEscape(model) + ":"
	switch {
	case t.Op == dialect.CountTokens:
		return at + "countTokens"
	case t.Op == dialect.Embed:
		return at + "embedContent"
	case t.Stream && t.SSE:
		return at + "streamGenerateContent?alt=sse"
	case t.Stream:
		return at + "streamGenerateContent"
	}
	return at + "generateContent"
}

// fields are those of every request. Cached content is a text that nobody here
// saw; a request within a request is not looked into.
var fields = dialect.LooseFields(
	dialect.Row{How: dialect.Read, Names: "contents content systemInstruction tools toolConfig generationConfig safetySettings model"},
	dialect.Row{How: dialect.Permit, Names: "cachedContent generateContentRequest"},
	dialect.Row{How: dialect.Pass, Names: "labels taskType title outputDimensionality"},
)

var (
	contentFields = dialect.LooseFields(dialect.Row{How: dialect.Read, Names: "role parts"})
	partFields    = dialect.LooseFields(
		dialect.Row{How: dialect.Read, Names: "text inlineData fileData functionCall functionResponse executableCode codeExecutionResult thought"},
		dialect.Row{How: dialect.Pass, Names: "thoughtSignature videoMetadata mediaResolution partMetadata"},
	)
	blobFields = dialect.LooseFields(dialect.Row{How: dialect.Read, Names: "mimeType data fileUri"}, dialect.Row{How: dialect.Pass, Names: "displayName"})
	callFields = dialect.LooseFields(dialect.Row{How: dialect.Read, Names: "id name args response parts"}, dialect.Row{How: dialect.Pass, Names: "willContinue scheduling"})
	toolFields = dialect.LooseFields(dialect.Row{
		How:   dialect.Read,
		Names: "functionDeclarations googleSearch googleSearchRetrieval codeExecution urlContext googleMaps fileSearch computerUse mcpServers retrieval enterpriseWebSearch",
	})
	declarationFields = dialect.LooseFields(
		dialect.Row{How: dialect.Read, Names: "name parameters parametersJsonSchema"},
		dialect.Row{How: dialect.Pass, Names: "description response responseJsonSchema behavior"},
	)
	configFields = dialect.LooseFields(
		dialect.Row{How: dialect.Read, Names: "temperature responseSchema responseJsonSchema responseLogprobs"},
		dialect.Row{How: dialect.Cap, Names: "candidateCount maxOutputTokens stopSequences logprobs"},
		dialect.Row{How: dialect.Pass, Names: `topP topK seed presencePenalty frequencyPenalty responseMimeType responseModalities speechConfig thinkingConfig
			mediaResolution imageConfig enableEnhancedCivicAnswers`},
	)
)

// Tables returns what the dialect knows of fields, by the kind of object.
func Tables() map[string]*dialect.Table {
	return map[string]*dialect.Table{
		"request": fields, "content": contentFields, "part": partFields, "blob": blobFields, "call": callFields, "tool": toolFields,
		"declaration": declarationFields, "config": configFields,
	}
}

// get returns the member of that name in either spelling.
func get(v wire.Value, name string) wire.Value {
	if m := v.Get(name); m.Kind() != wire.Missing {
		return m
	}
	return v.Get(dialect.Snake(name))
}

// spelt returns the spelling in which object has the member, else the first.
func spelt(object wire.Value, name string) string {
	if s := dialect.Snake(name); object.Get(s).Kind() != wire.Missing {
		return s
	}
	return name
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

func read(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	if err := fields.Check(r, "", root, o); err != nil {
		return err
	}
	if m := root.Get("model"); m.Kind() != wire.Missing { // said twice: the two must be one
		if s, _ := m.Text(); s != "models/"+r.To.Model {
			return dialect.Refuse("model is not the one in the path")
		}
		r.Places.Model, r.Places.Prefix = m, "models/"
	}
	if err := config(r, root, o); err != nil {
		return err
	}
	if err := tools(r, root, o); err != nil {
		return err
	}
	if err := system(r, root, o); err != nil {
		return err
	}
	if r.To.Op == dialect.Embed {
		r.Params.Rows = 1
		return turn(r, root.Get("content"), o)
	}
	cs := root.Get("contents")
	switch cs.Kind() {
	case wire.Array:
		for c := range cs.Items() {
			if err := turn(r, c, o); err != nil {
				return dialect.Refuse("content %d: %w", len(r.Messages), err)
			}
		}
	case wire.Object: // a list of one may be written without brackets
		if err := turn(r, cs, o); err != nil {
			return err
		}
	}
	if len(r.Messages) == 0 {
		return dialect.Refuse("contents is missing, empty or not an array")
	}
	return nil
}

// object returns the member of that name, which must be an object if it is there.
func object(v wire.Value, name string) (wire.Value, error) {
	m := get(v, name)
	if k := m.Kind(); k != wire.Object && k != wire.Missing && k != wire.Null {
		return m, dialect.Refuse("%s is not an object", name)
	}
	return m, nil
}

func config(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	c, err := object(root, "generationConfig")
	if err != nil {
		return err
	}
	if c.Kind() == wire.Null {
		return dialect.Refuse("generationConfig is null")
	}
	if r.To.Op == dialect.Chat {
		r.Places.MaxAt = []string{spelt(root, "generationConfig"), "maxOutputTokens"}
	}
	if c.Kind() == wire.Missing {
		return nil
	}
	if err := configFields.Check(r, "generationConfig", c, o); err != nil {
		return err
	}
	if err := r.MaxOutput(c, o, spelt(c, "maxOutputTokens")); err != nil {
		return err
	}
	if r.Params.Choices, err = dialect.Capped(c, spelt(c, "candidateCount"), o.Caps.Choices); err != nil {
		return err
	}
	if err := r.ReadTemperature(c); err != nil {
		return err
	}
	if r.Params.Logprobs, err = dialect.Bool(c, spelt(c, "responseLogprobs")); err != nil {
		return err
	}
	if r.Params.TopLogprobs, err = dialect.Capped(c, "logprobs", o.Caps.TopLogprobs); err != nil {
		return err
	}
	r.Params.Logprobs = r.Params.Logprobs || r.Params.TopLogprobs > 0
	for _, name := range []string{"responseLogprobs", "logprobs"} {
		if v := get(c, name); v.Kind() != wire.Missing {
			r.Places.Logprobs = append(r.Places.Logprobs, dialect.Member{In: c, Value: v})
		}
	}
	for _, name := range []string{"responseSchema", "responseJsonSchema"} {
		if s := get(c, name); s.Kind() == wire.Object {
			r.Schema = s.Raw()
		}
	}
	return dialect.Stop(c, spelt(c, "stopSequences"), o)
}

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
		for name, v := range t.Members() {
			if name != "functionDeclarations" && name != "function_declarations" { // what Google runs
				if v.Kind() != wire.Null && !slices.Contains(o.Permit, name) {
					return dialect.Refuse("tools of type %q are not allowed on this route", name)
				}
				r.Tools = append(r.Tools, chat.ToolSpec{Name: name, Server: true})
				continue
			}
			for f := range v.Items() {
				if f.Kind() != wire.Object {
					return dialect.Refuse("a function is not an object")
				}
				if err := declarationFields.Check(r, name, f, o); err != nil {
					return err
				}
				spec := chat.ToolSpec{Schema: f.Get("parameters").Raw()}
				if len(spec.Schema) == 0 {
					spec.Schema = get(f, "parametersJsonSchema").Raw()
				}
				spec.Name, _ = f.Get("name").Text()
				r.Tools = append(r.Tools, spec)
			}
		}
	}
	return nil
}

func system(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	s, err := object(root, "systemInstruction")
	if err != nil {
		return err
	}
	ps := s.Get("parts")
	if r.To.Op == dialect.Chat {
		r.Places.System = func(e *wire.Edits, text []byte) {
			raw := append(wire.AppendString([]byte(`{"text":`), text), '}')
			if ps.Kind() == wire.Array {
				e.Insert(ps, ps.Len(), raw)
				return
			}
			list := slices.Concat([]byte{'['}, raw, []byte{']'})
			if ps.Kind() == wire.Object { // a list of one, without brackets
				list = slices.Concat([]byte{'['}, ps.Raw(), []byte{','}, raw, []byte{']'})
			}
			if s.Kind() == wire.Object {
				e.Set(s, "parts", list)
				return
			}
			e.Set(root, spelt(root, "systemInstruction"), slices.Concat([]byte(`{"parts":`), list, []byte{'}'}))
		}
	}
	if s.Kind() != wire.Object {
		return nil
	}
	if err := contentFields.Check(r, "systemInstruction", s, o); err != nil {
		return err
	}
	m := chat.Message{Role: chat.System, Span: dialect.SpanOf(s)}
	if m.Parts, err = parts(r, ps, o); err != nil {
		return dialect.Refuse("systemInstruction: %w", err)
	}
	r.Messages = append(r.Messages, m)
	return nil
}

// turn reads one content.
func turn(r *dialect.Request, c wire.Value, o *dialect.Options) error {
	if c.Kind() != wire.Object {
		return dialect.Refuse("content is missing or not an object")
	}
	if err := contentFields.Check(r, "contents", c, o); err != nil {
		return err
	}
	m := chat.Message{Span: dialect.SpanOf(c)}
	role, err := dialect.String(c, "role")
	if err != nil {
		return err
	}
	switch role {
	case "", "user":
		m.Role = chat.User
	case "model":
		m.Role = chat.Assistant
	case "function":
		m.Role = chat.Tool
	case "system":
		m.Role = chat.System
	default:
		return dialect.Refuse("role %q is not known", role)
	}
	if m.Parts, err = parts(r, c.Get("parts"), o); err != nil {
		return err
	}
	for name, v := range c.Members() { // what the table does not know may be text
		if name != "role" && name != "parts" && !contentFields.Gone(name, o) && len(dialect.Strings(v)) > 0 {
			m.Parts = append(m.Parts, dialect.UnknownPart(v))
		}
	}
	r.Messages = append(r.Messages, m)
	return nil
}

func parts(r *dialect.Request, ps wire.Value, o *dialect.Options) ([]chat.Part, error) {
	switch ps.Kind() {
	case wire.Object:
		return part(r, ps, o)
	case wire.Missing, wire.Null:
		return nil, nil
	case wire.Array:
	default:
		return nil, dialect.Refuse("parts is not an array")
	}
	out := make([]chat.Part, 0, ps.Len())
	for p := range ps.Items() {
		if p.Kind() != wire.Object {
			return nil, dialect.Refuse("a part is not an object")
		}
		q, err := part(r, p, o)
		if err != nil {
			return nil, err
		}
		out = append(out, q...)
	}
	return out, nil
}

// part reads one part. It should have one content, but everything in it counts.
func part(r *dialect.Request, p wire.Value, o *dialect.Options) ([]chat.Part, error) {
	if err := partFields.Check(r, "parts", p, o); err != nil {
		return nil, err
	}
	thought, err := dialect.Bool(p, "thought")
	if err != nil {
		return nil, err
	}
	var out []chat.Part
	for name, v := range p.Members() {
		if v.Kind() == wire.Null || partFields.Gone(name, o) {
			continue
		}
		switch canonical := camel(name); canonical {
		case "thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata":
		case "text":
			if v.Kind() != wire.String {
				return nil, dialect.Refuse("text is not a string")
			}
			q := dialect.TextPart(chat.Text, v)
			if thought {
				q.Kind = chat.Reasoning
			}
			out = append(out, q)
		case "inlineData", "fileData":
			q, err := blob(r, v, canonical, o)
			if err != nil {
				return nil, err
			}
			out = append(out, q)
		case "functionCall", "functionResponse":
			q, err := call(r, v, canonical, o)
			if err != nil {
				return nil, err
			}
			out = append(out, q...)
		default:
			if err := dialect.NoFetch(v, o); err != nil {
				return nil, err
			}
			if len(dialect.Strings(v)) > 0 {
				out = append(out, dialect.UnknownPart(v))
			}
		}
	}
	return out, nil
}

// camel returns a name with underscores in lowerCamelCase.
func camel(name string) string {
	head, rest, ok := strings.Cut(name, "_")
	for ok {
		var word string
		word, rest, ok = strings.Cut(rest, "_")
		if word != "" {
			head += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return head
}

func blob(r *dialect.Request, v wire.Value, kind string, o *dialect.Options) (chat.Part, error) {
	p := chat.Part{Kind: chat.File}
	if v.Kind() != wire.Object {
		return p, dialect.Refuse("%s is not an object", kind)
	}
	if err := blobFields.Check(r, kind, v, o); err != nil {
		return p, err
	}
	mediaType, _ := get(v, "mimeType").Text()
	switch {
	case strings.HasPrefix(mediaType, "image/"):
		p.Kind = chat.Image
	case strings.HasPrefix(mediaType, "audio/"):
		p.Kind = chat.Audio
	}
	address, remote := get(v, "fileUri").Text()
	if remote || kind == "fileData" {
		b, err := dialect.Blob(address, o)
		if err != nil {
			return p, err
		}
		b.MediaType, p.Blob = mediaType, b
		return p, nil
	}
	data, ok := v.Get("data").Text()
	n, err := dialect.Base64Size(data)
	if err != nil || !ok {
		return p, dialect.Refuse("%s has no base64 data", kind)
	}
	p.Blob, p.Span = &chat.Blob{MediaType: mediaType, Size: n}, dialect.SpanOf(v.Get("data"))
	return p, nil
}

// call reads a call of a function, or what it gave back.
func call(r *dialect.Request, v wire.Value, kind string, o *dialect.Options) ([]chat.Part, error) {
	if v.Kind() != wire.Object {
		return nil, dialect.Refuse("%s is not an object", kind)
	}
	if err := callFields.Check(r, kind, v, o); err != nil {
		return nil, err
	}
	c := &chat.Call{}
	c.ID, _ = v.Get("id").Text()
	c.Name, _ = v.Get("name").Text()
	if kind == "functionCall" {
		args := v.Get("args")
		if args.Kind() != wire.Object {
			return []chat.Part{{Kind: chat.ToolCall, Call: c}}, nil
		}
		p := dialect.RawPart(chat.ToolCall, args)
		p.Call = c
		return []chat.Part{p}, nil
	}
	// A response is an object: each text in it is a result of its own, so that
	// it can be changed where it stands.
	var out []chat.Part
	for _, x := range v.Get("response").All() {
		if x.Kind() == wire.String {
			p := dialect.TextPart(chat.ToolResult, x)
			p.Call = c
			out = append(out, p)
		}
	}
	more, err := parts(r, v.Get("parts"), o)
	return append(out, more...), err
}

// states are the names of statuses in errors.
var states = map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}

func problem(p dialect.Problem) []byte {
	state := states[p.Status]
	if state == "" {
		state = "INVALID_ARGUMENT"
		if p.Status >= 500 {
			state = "INTERNAL"
		}
	}
	b := strconv.AppendInt([]byte(`{"error":{"code":`), int64(p.Status), 10)
	b = wire.AppendString(append(b, `,"message":`...), []byte(p.Message))
	b = wire.AppendString(append(b, `,"status":`...), []byte(state))
	return append(b, "}}"...)
}

func failed(root wire.Value) bool { return root.Get("error").Kind() == wire.Object }

func models(names []string) []byte {
	b := []byte(`{"models":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(append(b, `{"name":`...), []byte("models/"+n))
		b = wire.AppendString(append(b, `,"displayName":`...), []byte(n))
		b = append(b, `,"supportedGenerationMethods":["generateContent","countTokens"]}`...)
	}
	return append(b, "]}"...)
}
