// Package chat is the neutral form of what passes between a client and a model:
// exchanges of messages for language models, of tensors for classifiers. Leaves
// read and write the dialects of providers; this package knows no provider.
//
// Bytes are never decoded twice: a part keeps where it stands in the original
// body, and what is changed is spliced there.
package chat

import "encoding/json"

// A Role says who speaks.
type Role string

// The roles. A dialect's "developer" is System.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool"
)

// A Task is what a model is asked to do.
type Task string

// The tasks. The zero Task is no task.
const (
	Chat     Task = "chat"     // messages to text
	Embed    Task = "embed"    // texts to vectors
	Classify Task = "classify" // tensors to tensors
	Generic  Task = "generic"  // any JSON, read at declared places
)

// An Exchange is one request to a model and, once there is one, its answer.
// The zero Exchange is empty. Who writes to it owns it; readers share it.
type Exchange struct {
	ID       string
	Task     Task
	Model    string     // the public name of the route
	Messages []Message  // the request's, then the answer's, in order
	Tools    []ToolSpec // that the model may call
	Tensors  []Tensor   // of a classifier's request
	Schema   json.RawMessage
	Params   Params
	Stream   bool // the client asked for a stream
	Meta     Meta
}

// Meta says who asks whom; every field may be empty.
type Meta struct {
	Principal, Tenant, Route, Digest, Dialect string
	External                                  bool // the model is run by somebody else: what is sent leaves the house
}

// Params are the parameters of a request that decisions read. Zero means that
// the request does not say.
type Params struct {
	MaxOutput   int64    // tokens
	Choices     int64    // answers asked for
	Logprobs    bool     // log-probabilities are asked for
	TopLogprobs int64    // alternatives a token
	LogitBias   bool     // the request shifts probabilities
	Temperature *float64 // nil: not said
	Rows        int64    // of a batch of inputs: texts to embed, rows of a tensor
}

// A Message is one turn.
type Message struct {
	Role   Role
	Choice int  // of an answer with several
	Answer bool // it came from the model in this exchange
	Parts  []Part
	Span   Span // of the whole message in the original body
}

// Text returns the text parts of m, with line ends between them.
func (m Message) Text() string {
	var b []byte
	n := 0
	for _, p := range m.Parts {
		if p.Kind != Text {
			continue
		}
		if n++; n > 1 {
			b = append(b, '\n')
		}
		b = append(b, p.Text...)
	}
	return string(b)
}

// A PartKind says what a part is.
type PartKind string

// The kinds. A part of a kind that the dialect does not know is Unknown: its
// text is what the strings in it say, and nothing that looked at it is complete.
// Beside is what a model says to others than the reader: names of what it calls,
// queries and code of tools that the provider runs.
const (
	Text       PartKind = "text"
	Reasoning  PartKind = "reasoning"
	Refusal    PartKind = "refusal"
	ToolCall   PartKind = "tool_call"
	ToolResult PartKind = "tool_result"
	Image      PartKind = "image"
	Audio      PartKind = "audio"
	File       PartKind = "file"
	Beside     PartKind = "beside"
	Unknown    PartKind = "unknown"
)

// A Part is a piece of a message.
type Part struct {
	Kind PartKind
	Text []byte // decoded, never the escaped form of the frame
	Call *Call  // of a ToolCall; its arguments are Text
	Blob *Blob  // of an Image, Audio or File
	// Trust says who wrote which bytes of Text. None: the role of the message
	// says it (see [Part.Origins]).
	Trust []TrustSpan
	Span  Span // of the JSON value that holds Text; zero if it stands nowhere by itself
}

// A Call names the function that a model calls.
type Call struct{ ID, Name string }

// A Blob is content that is not text.
type Blob struct {
	MediaType string
	Size      int64
	URL       string // that the upstream would fetch; "": the content is in the request
}

// An Origin says who wrote a text, from most to least trusted.
type Origin string

// The origins.
const (
	Operator  Origin = "operator"
	FromUser  Origin = "user"
	Untrusted Origin = "untrusted"
)

// A TrustSpan says who wrote the bytes [Start, End) of a part's text.
type TrustSpan struct {
	Start, End int
	Origin     Origin
	Label      string // where it came from: "tool:read_mail"
}

// Origins returns who wrote the text of p in a message of that role: what Trust
// says, else operator for system messages, untrusted for results of tools,
// files and unknown parts, and the user for all else. Earlier turns of the
// assistant are the user's, who can forge them.
func (p Part) Origins(m Message) []TrustSpan {
	if len(p.Trust) > 0 {
		return p.Trust
	}
	t := TrustSpan{End: len(p.Text), Origin: FromUser}
	switch {
	case p.Kind == ToolResult || p.Kind == File || p.Kind == Unknown || m.Role == Tool:
		t.Origin = Untrusted
		if p.Call != nil && p.Call.Name != "" {
			t.Label = "tool:" + p.Call.Name
		}
	case m.Role == System:
		t.Origin = Operator
	}
	return []TrustSpan{t}
}

// A ToolSpec is a function that the model may call.
type ToolSpec struct {
	Name   string
	Schema json.RawMessage // of the arguments
	Server bool            // the provider runs it: it reaches hosts that nobody here sees
}

// A Tensor is one input of a classifier.
type Tensor struct {
	Name     string
	Datatype string  // of the Open Inference Protocol: FP32, INT64, BYTES, …
	Shape    []int64 // rows first
	Data     Span    // in the original body, of its JSON array or of its raw bytes
	Raw      bool    // Data is raw little-endian bytes
}

// A Span is the half-open range [Start, End) of bytes of the original body.
type Span struct{ Start, End int }

// A Lane is one of the texts that an answer consists of: they may grow at the
// same time, and each is scanned by itself.
type Lane struct {
	Choice int
	Kind   PartKind // Text, Reasoning, Refusal, Beside or ToolCall (its arguments)
	Index  int      // of the part or the tool call
}

// Usage is what the upstream says an exchange cost, in tokens.
type Usage struct{ Input, Output int64 }
