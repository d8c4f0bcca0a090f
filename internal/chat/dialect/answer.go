package dialect

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// An Answer is a whole answer of an upstream and the changes to it. It belongs
// to one goroutine.
type Answer struct {
	To                     Target
	Doc                    *wire.Doc
	ID, Model, Fingerprint string
	Usage                  chat.Usage
	Counted                bool // the upstream says what it cost
	Texts                  []Text
	Ended                  []Ended
	Scores                 []Scores
	Packed                 []wire.Value // vectors as base64 of little-endian float32
	Logprobs               []Member     // what gives log-probabilities away
	Tail                   []byte       // raw bytes that follow the JSON head

	edits *wire.Edits
	lim   wire.Limits
	head  int
}

// A Text is the text of one lane of an answer. A lane can have several, in
// order. One of an Unknown kind was not understood: what looks at it is not
// complete.
type Text struct {
	Lane  chat.Lane
	Call  *chat.Call // of a ToolCall
	Text  []byte
	At    wire.Value
	Cites []Member // what repeats or points into the text, and goes if it is changed
}

// Ended says why the model stopped, in the dialect's own word.
type Ended struct {
	Choice int
	Reason string
}

// Scores are the numbers of one row of an answer: of classes, or a vector.
type Scores struct {
	Values []wire.Value
	Vector bool // an embedding: it has no best class
}

// Vector returns the scores of an array of numbers that is no list of classes.
func Vector(v wire.Value) Scores {
	s := Scores{Vector: true, Values: make([]wire.Value, 0, v.Len())}
	for x := range v.Items() {
		s.Values = append(s.Values, x)
	}
	return s
}

// maxTokens is more than any exchange costs.
const maxTokens = 1 << 40

// UsageIn reads token counts of these names in u. Numbers that no exchange can
// cost are not believed: they end in sums and in the audit log. Several names of
// input are added up: some dialects count cached input apart.
func UsageIn(u wire.Value, output string, input ...string) (chat.Usage, bool) {
	var out chat.Usage
	found := false
	for i, name := range append([]string{output}, input...) {
		v := u.Get(name)
		if v.Kind() == wire.Missing || v.Kind() == wire.Null {
			continue
		}
		n, ok := v.Int()
		if !ok || n < 0 || n > maxTokens {
			return chat.Usage{}, false
		}
		if found = true; i == 0 {
			out.Output = n
		} else {
			out.Input += n
		}
	}
	return out, found
}

// BeginAnswer parses an answer whose outermost value is an object.
func BeginAnswer(t Target, body []byte, lim wire.Limits) (*Answer, wire.Value, error) {
	d, err := wire.Parse(body, lim)
	if err != nil {
		return nil, wire.Value{}, err
	}
	if d.Root().Kind() != wire.Object {
		return nil, wire.Value{}, fmt.Errorf("%w: it is not an object", ErrAnswer)
	}
	a, root := AnswerOf(t, d, lim)
	return a, root, nil
}

// AnswerOf returns the answer of a body that was parsed, of any kind.
func AnswerOf(t Target, d *wire.Doc, lim wire.Limits) (*Answer, wire.Value) {
	return &Answer{To: t, Doc: d, edits: d.Edit(), lim: lim}, d.Root()
}

// AnswerLimits returns the limits of whole answers.
func AnswerLimits() wire.Limits {
	return wire.Limits{Bytes: 16 << 20, Depth: 64, Values: 4_000_000}
}

// Add appends the text of a string or, for a call's arguments, of any JSON.
func (a *Answer) Add(lane chat.Lane, call *chat.Call, v wire.Value, cites ...Member) {
	p := RawPart(lane.Kind, v)
	if lane.Kind == chat.Unknown {
		p.Text = Strings(v)
	}
	a.Texts = append(a.Texts, Text{Lane: lane, Call: call, Text: p.Text, At: v, Cites: slices.DeleteFunc(cites, func(m Member) bool { return m.Value.Kind() == wire.Missing })})
}

// Messages returns the answer as turns of the model, one for each choice.
func (a *Answer) Messages() []chat.Message {
	var out []chat.Message
	for _, t := range a.Texts {
		i := slices.IndexFunc(out, func(m chat.Message) bool { return m.Choice == t.Lane.Choice })
		if i < 0 {
			i = len(out)
			out = append(out, chat.Message{Role: chat.Assistant, Choice: t.Lane.Choice, Answer: true})
		}
		out[i].Parts = append(out[i].Parts, chat.Part{Kind: t.Lane.Kind, Text: t.Text, Call: t.Call, Span: SpanOf(t.At)})
	}
	return out
}

// Replace puts text in place of the whole text i. What points into it goes.
func (a *Answer) Replace(i int, text []byte) error {
	if i < 0 || i >= len(a.Texts) {
		return fmt.Errorf("%w: no text %d", wire.ErrEdit, i)
	}
	return rewrite(a.edits, a.Texts[i], text)
}

func rewrite(e *wire.Edits, t Text, text []byte) error {
	switch {
	case t.Lane.Kind == chat.Unknown || t.At.Kind() == wire.Missing:
		return fmt.Errorf("%w: a text that was not understood cannot be changed", wire.ErrEdit)
	case t.At.Kind() == wire.String:
		e.Replace(t.At, wire.AppendString(nil, text))
	default:
		e.Replace(t.At, slices.Clone(text))
	}
	for _, m := range t.Cites {
		e.Remove(m.In, m.Value)
	}
	return nil
}

// Cited is as [Event.Cited].
func (a *Answer) Cited() []byte {
	var out []byte
	for _, t := range a.Texts {
		for _, m := range t.Cites {
			out = append(append(out, Strings(m.Value)...), '\n')
		}
	}
	return out
}

// DropCites takes out what stands beside the texts and points into them.
func (a *Answer) DropCites() {
	for _, t := range a.Texts {
		for _, m := range t.Cites {
			a.edits.Remove(m.In, m.Value)
		}
	}
}

// StripLogprobs takes the log-probabilities out.
func (a *Answer) StripLogprobs() {
	for _, m := range a.Logprobs {
		a.edits.Remove(m.In, m.Value)
	}
}

// A Shape says how the scores of an answer are made coarser. The zero Shape
// changes nothing.
type Shape struct {
	Top       int  // only so many best classes keep their score; the others get 0
	LabelOnly bool // the best class gets 1, the others 0
	Round     bool // to Digits after the point
	Digits    int
	Noise     func(row, class int, score float64) float64 // what is added; the best class stays the best
}

// Shape rewrites the scores. Vectors are rounded only.
func (a *Answer) Shape(s Shape) error {
	if len(a.Tail) > 0 && (s.Top > 0 || s.LabelOnly || s.Round || s.Noise != nil) {
		return fmt.Errorf("%w: its scores are raw bytes, which are not shaped (hint: see Request.ForceJSON)", ErrAnswer)
	}
	for row, sc := range a.Scores {
		values := make([]float64, len(sc.Values))
		for i, v := range sc.Values {
			f, ok := v.Float()
			if !ok {
				return fmt.Errorf("%w: score %d of row %d is not a number", ErrAnswer, i, row)
			}
			values[i] = f
		}
		was := slices.Clone(values)
		if !sc.Vector {
			s.classes(row, values)
		}
		for i, v := range sc.Values {
			digits := -1
			if s.Round {
				digits = max(s.Digits, 0)
			} else if values[i] == was[i] {
				continue
			}
			raw := strconv.AppendFloat(nil, values[i], 'f', digits, 64)
			if string(raw) != string(v.Raw()) {
				a.edits.Replace(v, raw)
			}
		}
	}
	for _, v := range a.Packed {
		if s.Round {
			if err := a.packed(v, max(s.Digits, 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// packed rounds a vector that is written as base64.
func (a *Answer) packed(v wire.Value, digits int) error {
	text, _ := v.Text()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw)%4 != 0 {
		return fmt.Errorf("%w: a vector is not base64 of 32-bit numbers", ErrAnswer)
	}
	for i := 0; i < len(raw); i += 4 {
		f := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
		if err != nil {
			return fmt.Errorf("%w: a vector holds no number", ErrAnswer)
		}
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(rounded)))
	}
	a.edits.Replace(v, wire.AppendString(nil, []byte(base64.StdEncoding.EncodeToString(raw))))
	return nil
}

func (s Shape) classes(row int, values []float64) {
	if len(values) == 0 {
		return
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return 0
	})
	best := order[0]
	if s.LabelOnly {
		for i := range values {
			values[i] = 0
		}
		values[best] = 1
		return
	}
	if s.Noise != nil {
		for i := range values {
			values[i] += s.Noise(row, i, values[i])
		}
		for i := range values { // the label is kept
			if i != best && values[i] > values[best] {
				values[i] = values[best]
			}
		}
	}
	if s.Top > 0 && s.Top < len(order) {
		for _, i := range order[s.Top:] {
			values[i] = 0
		}
	}
}

// Bytes returns the body to give out: the very bytes that came if nothing
// changed.
func (a *Answer) Bytes() ([]byte, error) {
	lim := a.lim
	lim.Bytes *= 2
	d, err := a.edits.Apply(lim)
	if err != nil {
		return nil, err
	}
	body := d.Bytes()
	a.head = len(body)
	if len(a.Tail) > 0 {
		body = append(slices.Clone(body), a.Tail...)
	}
	return body, nil
}

// Headers returns the header fields that say what Bytes returned last.
func (a *Answer) Headers() []Field { return described(a.head, len(a.Tail)) }
