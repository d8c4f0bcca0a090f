// Package chat is the neutral form of what passes between a client and a model:
// exchanges of messages. Leaves translate provider dialects; this package knows
// no provider.
package chat

// A Role says who speaks.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool"
)

// An Exchange is one request to a model, as its dialect's decoder read it.
type Exchange struct {
	Model    string // the public name of the route
	Messages []Message
	Stream   bool // the client asked for a stream
}

// A Message is one turn.
type Message struct {
	Role Role
	Text string // text parts joined; images and files are not in it
	Span Span   // of the whole message in the original bytes
}

// A Span is the half-open range [Start, End) of bytes of the original body.
type Span struct{ Start, End int }

// Usage is what the upstream says an exchange cost, in tokens.
type Usage struct{ Input, Output int64 }
