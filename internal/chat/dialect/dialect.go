// Package dialect is the shape that every provider's dialect has here: which
// paths it knows, how a request, an answer and a stream are read into the
// neutral exchange, which fields of a request are governed, and how errors look.
// A leaf beside this package (openai, anthropic, gemini, ollama, oip, generic)
// returns one [Dialect].
//
// Whatever is read is an index of the bytes that came; whatever is changed is
// spliced into those bytes and read again before it is sent.
package dialect

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Errors of bodies that are JSON but may not pass. Syntax errors wrap
// [wire.ErrSyntax], passed limits also detect.ErrLimit.
var (
	ErrRequest = errors.New("not an acceptable request")
	ErrAnswer  = errors.New("not an acceptable answer")
)

// An Op is what a path asks for.
type Op string

// The operations. Those from Models on have no body; the gateway may answer
// them itself.
const (
	Chat        Op = "chat"         // messages to text
	Generate    Op = "generate"     // one prompt to text
	Responses   Op = "responses"    // items to items
	Embed       Op = "embed"        // texts to vectors
	CountTokens Op = "count_tokens" // messages to a number
	Infer       Op = "infer"        // tensors to tensors
	Generic     Op = "generic"      // any JSON
	Models      Op = "models"       // list of models
	Version     Op = "version"      // of the server
	Live        Op = "live"         // is the server there
	Ready       Op = "ready"        // is the server, or the model, ready
	Metadata    Op = "metadata"     // of the server or the model
)

// Task returns the task of the model that the operation is about; "" for those
// of the server.
func (o Op) Task() chat.Task {
	switch o {
	case Chat, Generate, Responses, CountTokens:
		return chat.Chat
	case Embed:
		return chat.Embed
	case Infer:
		return chat.Classify
	case Generic:
		return chat.Generic
	}
	return ""
}

// A Target is what a request line means.
type Target struct {
	Op      Op
	Model   string // from the path; "": the body says it, or none is meant
	Version string // of the model, from the path
	Stream  bool   // the path asks for a stream
	SSE     bool   // and for server-sent events
}

// A Header returns the first value of a header field, or "".
type Header func(name string) string

// None is the Header that has no fields.
func None(string) string { return "" }

// A Dialect is one provider's way to speak. It has no state and is safe for
// concurrent use. A nil function means that the dialect has no such thing.
type Dialect struct {
	Name string
	// Match reads a request line: the path as it was sent, and the raw query. It
	// knows a path in one spelling only.
	Match func(method, path, query string) (Target, bool)
	// Decode reads a request. The errors wrap ErrRequest or wire.ErrSyntax.
	Decode func(t Target, h Header, body []byte, o Options) (*Request, error)
	// Answer reads a whole answer to an exchange that went well. The errors wrap
	// ErrAnswer or wire.ErrSyntax.
	Answer func(t Target, h Header, body []byte, lim wire.Limits) (*Answer, error)
	// Stream reads an answer that comes in pieces, of that media type.
	Stream func(t Target, mediaType string, body io.Reader) (*Stream, error)
	// Error returns the JSON body of an error.
	Error func(p Problem) []byte
	// Failed reports whether an upstream's body is the dialect's error object.
	Failed func(root wire.Value) bool
	// Models returns the body of the list of models.
	Models func(names []string) []byte
	// Path returns path and query at the upstream for a target whose model the
	// upstream knows by that name.
	Path func(t Target, model string) string

	Keys     []Key    // where a client's key may stand, the first is how the upstream wants it
	QueryKey string   // the parameter of the query that a client's key may stand in; "": none
	Fixed    []Field  // header fields that every request to the upstream has
	Request  []string // header fields of the client that may pass
	Response []string // header fields of the upstream that may pass
}

// A Key says where a credential stands: in a header field behind a prefix.
type Key struct{ Header, Prefix string }

// A Field is a header field.
type Field struct{ Name, Value string }

// A Problem is an error in no dialect.
type Problem struct {
	Status        int
	Code, Message string
}

// Class is the kind of problem by its status, in the words that OpenAI and
// Anthropic share.
func (p Problem) Class() string {
	switch {
	case p.Status == 401:
		return "authentication_error"
	case p.Status == 403:
		return "permission_error"
	case p.Status == 404:
		return "not_found_error"
	case p.Status == 413:
		return "request_too_large"
	case p.Status == 429:
		return "rate_limit_error"
	case p.Status >= 500:
		return "api_error"
	}
	return "invalid_request_error"
}

// Denied is the problem of content that may not pass.
func Denied(message string) Problem {
	return Problem{Status: 403, Code: "content_denied", Message: message}
}

// A Member is a value together with the object or array that it stands in.
type Member struct{ In, Value wire.Value }

// A Request is a decoded request and the changes to it. It belongs to one
// goroutine.
type Request struct {
	chat.Exchange
	To  Target
	Doc *wire.Doc
	// ClientUsage: the client itself asked for the usage at the end of a stream.
	ClientUsage bool
	Dropped     []string // names of fields that were left out, for a warning
	Places      Places
	Tail        []byte // raw bytes that follow the JSON head, of the binary tensor extension

	lim   wire.Limits
	edits *wire.Edits
	model string
	max   int64
	usage bool // was forced
	head  int
}

// Places say where a dialect's request is changed.
type Places struct {
	Model     wire.Value   // the string; Missing: the path names the model
	Prefix    string       // of the name there
	MaxOutput []wire.Value // numbers that bound the output
	MaxAt     []string     // where the bound goes if there is none: a path of names
	Logprobs  []Member     // what asks for log-probabilities
	System    func(e *wire.Edits, text []byte)
	JSON      func(e *wire.Edits) // makes the answer JSON only; nil: it is anyway
	Usage     func(e *wire.Edits) // makes the stream end with its usage; nil: it does anyway
}

// Begin parses a body whose outermost value is an object.
func Begin(t Target, body []byte, o Options) (*Request, wire.Value, error) {
	d, err := wire.Parse(body, o.Limits)
	if err != nil {
		return nil, wire.Value{}, err
	}
	if d.Root().Kind() != wire.Object {
		return nil, wire.Value{}, fmt.Errorf("%w: the body is not an object", ErrRequest)
	}
	r, root := Of(t, d, o)
	return r, root, nil
}

// Of returns the request of a body that was parsed, of any kind.
func Of(t Target, d *wire.Doc, o Options) (*Request, wire.Value) {
	r := &Request{To: t, Doc: d, lim: o.Limits, edits: d.Edit()}
	r.Task, r.Model, r.Stream = t.Op.Task(), t.Model, t.Stream
	return r, d.Root()
}

// Refuse returns the error of a request that may not pass.
func Refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRequest, fmt.Errorf(format, args...))
}

// SetModel names the model as the upstream knows it. Where the path names it,
// [Dialect.Path] is the place.
func (r *Request) SetModel(name string) { r.model = name }

// SetMaxOutput bounds the tokens of the answer. What the request said is
// replaced.
func (r *Request) SetMaxOutput(tokens int64) { r.max, r.Params.MaxOutput = tokens, tokens }

// ForceUsage makes a stream end with its usage.
func (r *Request) ForceUsage() {
	if r.Places.Usage != nil && r.Stream && !r.ClientUsage && !r.usage {
		r.usage = true
		r.Places.Usage(r.edits)
	}
}

// AddSystem adds a text of the operator to what the request says to the model.
func (r *Request) AddSystem(text string) error {
	if r.Places.System == nil {
		return fmt.Errorf("%w: the operation has no place for a system text", wire.ErrEdit)
	}
	r.Places.System(r.edits, []byte(text))
	return nil
}

// StripLogprobs takes out what asks for log-probabilities.
func (r *Request) StripLogprobs() {
	for _, m := range r.Places.Logprobs {
		r.edits.Remove(m.In, m.Value)
	}
	r.Params.Logprobs, r.Params.TopLogprobs = false, 0
}

// ForceJSON makes the upstream answer with JSON only, so that scores can be
// shaped.
func (r *Request) ForceJSON() {
	if r.Places.JSON != nil {
		r.Places.JSON(r.edits)
		r.Places.JSON = nil
	}
}

// Replace puts text in place of the bytes [start, end) of the text of a part.
// Parts of an unknown kind, and those that stand nowhere by themselves, cannot
// be changed.
func (r *Request) Replace(message, part, start, end int, text []byte) error {
	if message < 0 || message >= len(r.Messages) || part < 0 || part >= len(r.Messages[message].Parts) {
		return fmt.Errorf("%w: no part %d of message %d", wire.ErrEdit, part, message)
	}
	p := r.Messages[message].Parts[part]
	if start < 0 || end < start || end > len(p.Text) {
		return fmt.Errorf("%w: bytes %d to %d of a text of %d", wire.ErrEdit, start, end, len(p.Text))
	}
	return replace(r.edits, r.Doc, p, start, end, text)
}

func replace(e *wire.Edits, d *wire.Doc, p chat.Part, start, end int, text []byte) error {
	v := d.At(p.Span.Start)
	switch {
	case p.Kind == chat.Unknown || p.Blob != nil || p.Span.End == 0 || v.Kind() == wire.Missing:
		return fmt.Errorf("%w: the text of a part of kind %s cannot be changed", wire.ErrEdit, p.Kind)
	case v.Kind() == wire.String:
		e.ReplaceText(v, start, end, text)
	default: // arguments as JSON: their text is the JSON itself
		e.Range(p.Span.Start+start, p.Span.Start+end, slices.Clone(text))
	}
	return nil
}

// Bytes returns the body to send: the very bytes that came if nothing changed,
// else those with all changes, read again. It can be called again after another
// SetModel or SetMaxOutput: another upstream is tried.
func (r *Request) Bytes() ([]byte, error) {
	edits := r.edits.Clone()
	if r.model != "" && r.Places.Model.Kind() == wire.String {
		if now, _ := r.Places.Model.Text(); now != r.Places.Prefix+r.model {
			edits.Replace(r.Places.Model, wire.AppendString(nil, []byte(r.Places.Prefix+r.model)))
		}
	}
	if r.max > 0 {
		raw := fmt.Appendf(nil, "%d", r.max)
		for _, v := range r.Places.MaxOutput {
			edits.Replace(v, raw)
		}
		if len(r.Places.MaxOutput) == 0 && len(r.Places.MaxAt) > 0 {
			SetPath(edits, r.Doc.Root(), r.Places.MaxAt, raw)
		}
	}
	lim := r.lim
	lim.Bytes += lim.Bytes / 8 // what the gateway adds is no fault of the client
	lim.Values += 1000
	d, err := edits.Apply(lim)
	if err != nil {
		return nil, err
	}
	body := d.Bytes()
	r.head = len(body)
	if len(r.Tail) > 0 {
		body = append(slices.Clone(body), r.Tail...)
	}
	return body, nil
}

// Headers returns the header fields that say what Bytes returned last.
func (r *Request) Headers() []Field { return described(r.head, len(r.Tail)) }

// described are the fields of a body of JSON and, behind it, raw bytes.
func described(head, tail int) []Field {
	if tail == 0 {
		return []Field{{"Content-Type", "application/json"}}
	}
	return []Field{{"Content-Type", "application/octet-stream"}, {HeadLength, strconv.Itoa(head)}}
}

// HeadLength is the header field of the binary tensor extension: how long the
// JSON before the raw bytes is.
const HeadLength = "Inference-Header-Content-Length"

// SetPath sets the member at a path of names below root, with the objects on
// the way that are missing.
func SetPath(e *wire.Edits, root wire.Value, path []string, raw []byte) {
	for len(path) > 1 {
		v := root.Get(path[0])
		if v.Kind() != wire.Object {
			break
		}
		root, path = v, path[1:]
	}
	for i := len(path) - 1; i > 0; i-- {
		outer := append(wire.AppendString([]byte{'{'}, []byte(path[i])), ':')
		raw = append(append(outer, raw...), '}')
	}
	e.Set(root, path[0], raw)
}
