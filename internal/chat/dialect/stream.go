package dialect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Errors of streams.
var (
	ErrShort = errors.New("the stream ended early")
	ErrEvent = errors.New("event too large")
)

// MaxEvent is the size of the largest event that is passed.
const MaxEvent = 1 << 20

// A Form is how pieces of an answer are told apart.
type Form byte

// The forms.
const (
	SSE       Form = iota + 1 // server-sent events, after the HTML standard
	NDJSON                    // one JSON value a line
	JSONArray                 // the items of one array
)

// MediaType returns the media type of streams of that form.
func (f Form) MediaType() string {
	switch f {
	case NDJSON:
		return "application/x-ndjson"
	case JSONArray:
		return "application/json"
	}
	return "text/event-stream"
}

// A Delta is a piece of a lane's text. Of a lane of kind ToolCall it is a piece
// of JSON text.
type Delta struct {
	Lane chat.Lane
	Call *chat.Call // named by this event
	Text []byte     // decoded
	// Repeats: the text is not new but all, or a closed part, of what the lane
	// said so far. Its place is taken by what was released of it.
	Repeats bool
}

// An Event is one piece of a stream.
type Event struct {
	Raw                    []byte // exactly as it came
	Data                   []byte // the JSON, or other data, in it
	Deltas                 []Delta
	Ended                  []Ended
	Usage                  chat.Usage
	Counted                bool // Usage was told so far
	UsageOnly              bool // it is there because usage was forced; a client that did not ask does not get it
	ID, Model, Fingerprint string
	Cites                  []chat.Lane // it only points into the texts of these lanes: it goes if one was changed
	Done                   bool        // the proper end of the stream
	Failed                 bool        // the dialect's own error: no proper end
	Bare                   bool        // what points into its texts goes when it is rewritten, whether they changed or not

	form  Form
	doc   *wire.Doc
	texts []Text
	extra []Member // goes whenever the event is rewritten
	logp  []Member
	deny  func(choices []int) []byte
}

// Parse reads the event's data as JSON.
func (e *Event) Parse() (wire.Value, error) {
	d, err := wire.Parse(e.Data, wire.Limits{Bytes: MaxEvent, Depth: 64, Values: 100_000})
	if err != nil {
		return wire.Value{}, err
	}
	if d.Root().Kind() != wire.Object {
		return wire.Value{}, fmt.Errorf("%w: an event is not an object", ErrAnswer)
	}
	e.doc = d
	return d.Root(), nil
}

// Add appends a delta whose text is that of v.
func (e *Event) Add(lane chat.Lane, call *chat.Call, v wire.Value, repeats bool, cites ...Member) {
	p := RawPart(lane.Kind, v)
	if lane.Kind == chat.Unknown {
		p.Text = Strings(v)
	}
	e.Deltas = append(e.Deltas, Delta{Lane: lane, Call: call, Text: p.Text, Repeats: repeats})
	e.texts = append(e.texts, Text{Lane: lane, Text: p.Text, At: v})
	e.Drop(cites...)
}

// Drop names what goes when the event is rewritten: what points into its texts
// or repeats them.
func (e *Event) Drop(ms ...Member) {
	for _, m := range ms {
		if m.Value.Kind() != wire.Missing {
			e.extra = append(e.extra, m)
		}
	}
}

// Logprobs names the log-probabilities of the event.
func (e *Event) Logprobs(m Member) {
	if m.Value.Kind() != wire.Missing && m.Value.Kind() != wire.Null {
		e.logp = append(e.logp, m)
	}
}

// OnDeny says how the stream is ended after this event.
func (e *Event) OnDeny(deny func(choices []int) []byte) { e.deny = deny }

// StripLogprobs returns the event without log-probabilities; the very bytes if
// it has none.
func (e *Event) StripLogprobs() ([]byte, error) {
	if len(e.logp) == 0 {
		return e.Raw, nil
	}
	return e.Rewrite(make([][]byte, len(e.Deltas)), true)
}

// Cited returns what stands beside the texts and points into them: titles and
// addresses of sources, which somebody else may have written.
func (e *Event) Cited() []byte {
	var out []byte
	for _, m := range e.extra {
		out = append(append(out, Strings(m.Value)...), '\n')
	}
	return out
}

// Rewrite returns the event with the texts in place of those of its deltas, in
// order; nil leaves one as it is. If one is changed, annotations and
// log-probabilities go; strip takes the latter out in any case.
func (e *Event) Rewrite(texts [][]byte, strip bool) ([]byte, error) {
	if len(texts) != len(e.texts) {
		return nil, fmt.Errorf("%w: %d texts for %d deltas", wire.ErrEdit, len(texts), len(e.texts))
	}
	if e.doc == nil {
		return e.Raw, nil
	}
	ed := e.doc.Edit()
	for i, t := range texts {
		if t == nil || bytes.Equal(t, e.texts[i].Text) {
			continue
		}
		if err := rewrite(ed, e.texts[i], t); err != nil {
			return nil, err
		}
	}
	changed := !ed.Empty() || e.Bare
	if changed {
		for _, m := range e.extra {
			ed.Remove(m.In, m.Value)
		}
	}
	if changed || strip {
		for _, m := range e.logp {
			ed.Remove(m.In, m.Value)
		}
	}
	if ed.Empty() {
		return e.Raw, nil
	}
	d, err := ed.Apply(wire.Limits{Bytes: 8 * MaxEvent, Depth: 64, Values: 100_000})
	if err != nil {
		return nil, err
	}
	return e.with(d.Bytes()), nil
}

// with returns the frame with other data.
func (e *Event) with(data []byte) []byte {
	if e.form != SSE {
		at := bytes.Index(e.Raw, e.Data)
		return bytes.Join([][]byte{e.Raw[:at], data, e.Raw[at+len(e.Data):]}, nil)
	}
	var out []byte
	for _, line := range lines(e.Raw) {
		if isData(line) || len(line) == 0 {
			continue
		}
		out = append(append(out, line...), '\n')
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		out = append(append(append(out, "data: "...), line...), '\n')
	}
	return append(out, '\n')
}

// Frame returns data as one piece of a stream of that form; name is the type of
// a server-sent event, "" for none.
func (f Form) Frame(name string, data []byte) []byte {
	switch f {
	case NDJSON:
		return append(bytes.Clone(data), '\n')
	case JSONArray:
		return append([]byte(",\n"), data...)
	}
	var out []byte
	if name != "" {
		out = append(append(append(out, "event: "...), name...), '\n')
	}
	return append(append(append(out, "data: "...), data...), "\n\n"...)
}

// A Stream reads the events of one answer. It belongs to one goroutine.
type Stream struct {
	Form Form
	in   *bufio.Reader
	read func(*Event) error // of the dialect: fills what it understands
	deny func(choices []int) []byte
	fail func(p Problem) []byte
	over func() bool // a body that ends now is whole
	end  bool
	some bool // an event was read
	cr   bool // and it ended with CR: a LF that follows belongs to it
}

// NewStream returns the stream of a body. The leaf's read gets each event with
// Raw and Data; fail makes the frame of an error; deny the frames that end a
// stream of which nothing was sent; whole, if not nil, reports whether the end
// of the body is proper.
func NewStream(form Form, body io.Reader, read func(*Event) error, fail func(Problem) []byte, deny func(choices []int) []byte, whole func() bool) *Stream {
	return &Stream{Form: form, in: bufio.NewReaderSize(body, 4<<10), read: read, deny: deny, fail: fail, over: whole}
}

// Next returns the next event. After the proper end it is io.EOF; a body that
// ends before is ErrShort.
func (s *Stream) Next() (*Event, error) {
	if s.end {
		return nil, io.EOF
	}
	e := &Event{form: s.Form}
	var err error
	switch s.Form {
	case SSE:
		e.Raw, err = readEvent(s.in, s.cr)
		s.cr = bytes.HasSuffix(e.Raw, []byte("\r"))
		if !s.some && bytes.HasPrefix(e.Raw, []byte("\xef\xbb\xbf")) {
			err = fmt.Errorf("%w: a byte-order mark, which clients skip", ErrAnswer)
		}
	case NDJSON:
		e.Raw, err = readLine(s.in)
	default:
		e.Raw, err = readItem(s.in)
	}
	s.some = true
	if err != nil {
		if errors.Is(err, io.EOF) && s.over != nil && s.over() && s.Form != JSONArray {
			s.end = true
			return nil, io.EOF
		}
		if errors.Is(err, ErrEvent) || errors.Is(err, ErrAnswer) {
			return nil, err
		}
		if errors.Is(err, io.EOF) { // which would say that all is well
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w: %w", ErrShort, err)
	}
	switch s.Form {
	case SSE:
		e.Data = dataOf(e.Raw)
	case NDJSON:
		e.Data = bytes.TrimSpace(e.Raw)
	default:
		e.Data = bytes.Trim(e.Raw, ", \t\r\n")
		if bytes.HasPrefix(e.Data, []byte("[")) {
			e.Data = bytes.TrimLeft(e.Data[1:], " \t\r\n")
		}
		if string(e.Data) == "]" || string(e.Data) == "" {
			e.Data, e.Done = nil, true
			if s.over != nil && !s.over() {
				return nil, fmt.Errorf("%w: the list is closed", ErrShort)
			}
		}
	}
	if e.Data != nil && !e.Done {
		if err := s.read(e); err != nil {
			return nil, err
		}
	}
	s.end = e.Done
	return e, nil
}

// Denied returns the frames that end the stream because its content may not
// pass, after the event that was sent last; nil: none was. Of several choices
// it ends those; none named means all, and then the stream.
func (s *Stream) Denied(after *Event, choices ...int) []byte {
	if after != nil && after.deny != nil {
		return after.deny(choices)
	}
	return s.deny(choices)
}

// Failed returns the frame of an error in the middle of a stream. The
// connection must break behind it.
func (s *Stream) Failed(p Problem) []byte { return s.fail(p) }

// readEvent returns the bytes of the next event, with the empty line that ends
// it, exactly as they came. Lines end with LF, CR or CRLF, as the HTML standard
// says: what a client takes for an event must be one here too.
func readEvent(in *bufio.Reader, cr bool) ([]byte, error) {
	var (
		ev    []byte
		empty = true // nothing stands on the line so far
	)
	for {
		c, err := in.ReadByte()
		if err != nil {
			if len(bytes.TrimSpace(ev)) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(ev) >= MaxEvent {
			return nil, ErrEvent
		}
		ev = append(ev, c)
		switch c {
		case '\n':
			if n := len(ev); n > 1 && ev[n-2] == '\r' || n == 1 && cr {
				continue // the other half of a line end
			}
		case '\r':
		default:
			empty = false
			continue
		}
		if !empty {
			empty = true
			continue
		}
		return withLF(in, ev, c), nil
	}
}

// withLF adds to an event that ended with CR the LF that belongs to it, if it
// is there already: a client that sees only CR has a whole event too.
func withLF(in *bufio.Reader, ev []byte, last byte) []byte {
	if last != '\r' || in.Buffered() == 0 {
		return ev
	}
	if next, err := in.Peek(1); err == nil && next[0] == '\n' {
		if _, err := in.Discard(1); err == nil {
			return append(ev, '\n')
		}
	}
	return ev
}

// lines returns the lines of an event without their ends. An empty one inside
// is half a line end or the end of the event.
func lines(ev []byte) [][]byte {
	return bytes.FieldsFunc(ev, func(r rune) bool { return r == '\r' || r == '\n' })
}

func isData(line []byte) bool {
	return bytes.HasPrefix(line, []byte("data:")) || string(line) == "data"
}

// dataOf joins the data lines of an event; nil: it has none.
func dataOf(ev []byte) []byte {
	var data []byte
	for _, line := range lines(ev) {
		if !isData(line) {
			continue
		}
		if data == nil {
			data = []byte{}
		} else {
			data = append(data, '\n')
		}
		if rest, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(rest, []byte(" "))...)
		}
	}
	return data
}

// Name returns the type of a server-sent event, "" if it has none.
func (e *Event) Name() string {
	name := ""
	for _, line := range lines(e.Raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			name = string(bytes.TrimPrefix(rest, []byte(" ")))
		}
	}
	return name
}

// readLine returns the next line that is not empty, with its end.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := in.ReadSlice('\n')
		if len(line)+len(piece) > MaxEvent {
			return nil, ErrEvent
		}
		line = append(line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil // a last line without its end
		case err != nil:
			return nil, err
		case len(bytes.TrimSpace(line)) == 0:
			line = line[:0]
			continue
		}
		return line, nil
	}
}

// readItem returns the next item of an array of objects, with the bracket or
// comma before it; or the bracket that closes the array.
func readItem(in *bufio.Reader) ([]byte, error) {
	var item []byte
	depth, quoted, escaped := 0, false, false
	for {
		c, err := in.ReadByte()
		if err != nil {
			if len(bytes.TrimSpace(item)) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(item) >= MaxEvent {
			return nil, ErrEvent
		}
		item = append(item, c)
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"' && depth > 0:
			quoted = true
		case c == '{' || c == '[' && depth > 0:
			depth++
		case (c == '}' || c == ']') && depth > 0:
			if depth--; depth == 0 {
				return item, nil
			}
		case depth == 0 && c == ']':
			return item, nil
		case depth == 0 && c != '[' && c != ',' && c != ' ' && c != '\n' && c != '\r' && c != '\t':
			return nil, fmt.Errorf("%w: not a list of objects", ErrAnswer)
		}
	}
}
