package openai

import (
	"errors"
	"slices"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// embedFields are those of an embedding.
var embedFields = dialect.Fields(slices.Concat([]dialect.Row{
	{How: dialect.Read, Names: "model input encoding_format"},
	{How: dialect.Pass, Names: "dimensions user truncate_prompt_tokens input_type truncation"},
	{How: dialect.Permit, Names: "messages"}, // vLLM: embeds a conversation
}, shared)...)

func readEmbed(r *dialect.Request, root wire.Value, o *dialect.Options) error {
	if err := embedFields.Check(r, "", root, o); err != nil {
		return err
	}
	if err := readModel(r, root); err != nil {
		return err
	}
	if _, err := dialect.String(root, "encoding_format"); err != nil {
		return err
	}
	in := root.Get("input")
	m := chat.Message{Role: chat.User, Span: dialect.SpanOf(in)}
	switch in.Kind() {
	case wire.String:
		m.Parts = []chat.Part{dialect.TextPart(chat.Text, in)}
	case wire.Array:
		for v := range in.Items() {
			switch v.Kind() {
			case wire.String:
				m.Parts = append(m.Parts, dialect.TextPart(chat.Text, v))
			case wire.Array: // tokens: a text that nobody here can read
				m.Parts = append(m.Parts, dialect.UnknownPart(v))
			case wire.Number: // tokens of one text
				if len(m.Parts) == 0 {
					m.Parts = append(m.Parts, dialect.UnknownPart(in))
				}
			default:
				return dialect.Refuse("input has an entry that is neither text nor tokens")
			}
		}
	}
	if len(m.Parts) == 0 {
		return dialect.Refuse("input is missing, empty or neither text nor tokens")
	}
	r.Messages = []chat.Message{m}
	r.Params.Rows = int64(len(m.Parts))
	if o.Caps.Rows > 0 && r.Params.Rows > o.Caps.Rows {
		return dialect.Refuse("input has %d entries, at most %d", r.Params.Rows, o.Caps.Rows)
	}
	return nil
}

func embedAnswer(a *dialect.Answer, root wire.Value) error {
	a.Usage, a.Counted = dialect.UsageIn(root.Get("usage"), "completion_tokens", "prompt_tokens")
	data := root.Get("data")
	if data.Kind() != wire.Array {
		return errors.New("data is missing or not an array")
	}
	for d := range data.Items() {
		v := d.Get("embedding")
		switch v.Kind() {
		case wire.Array:
			a.Scores = append(a.Scores, dialect.Vector(v))
		case wire.String:
			a.Packed = append(a.Packed, v)
		default:
			return errors.New("an embedding is neither a list nor base64")
		}
	}
	return nil
}
