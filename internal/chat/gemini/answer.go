package gemini

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

const maxIndex = 4096

// usage adds up what is counted apart: thoughts are output.
func usage(root wire.Value) (chat.Usage, bool) {
	u := root.Get("usageMetadata")
	out, ok1 := dialect.UsageIn(u, "candidatesTokenCount", "promptTokenCount", "toolUsePromptTokenCount")
	thoughts, ok2 := dialect.UsageIn(u, "thoughtsTokenCount")
	out.Output += thoughts.Output
	return out, ok1 || ok2
}

// An adder takes the texts of an answer, whole or in pieces.
type adder func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member)

// calls counts the calls of each choice.
type calls map[int]int

// says hands the texts of one candidate to add and returns its number.
func (n calls) says(c wire.Value, add adder) (int, error) {
	at, err := dialect.Index(c.Get("index"), 0, maxIndex)
	if err != nil {
		return 0, err
	}
	var cites []dialect.Member
	for _, name := range []string{"citationMetadata", "groundingMetadata", "logprobsResult", "avgLogprobs"} {
		if v := c.Get(name); v.Kind() != wire.Missing {
			cites = append(cites, dialect.Member{In: c, Value: v})
		}
	}
	ps := c.Get("content").Get("parts")
	if k := ps.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return 0, errors.New("parts is not an array")
	}
	for p := range ps.Items() {
		thought, _ := p.Get("thought").Bool()
		for name, v := range p.Members() {
			lane := chat.Lane{Choice: at, Kind: chat.Unknown}
			switch {
			case v.Kind() == wire.Null || name == "thought" || name == "thoughtSignature" || name == "inlineData":
				continue
			case name == "text" && v.Kind() == wire.String:
				if lane.Kind = chat.Text; thought {
					lane.Kind = chat.Reasoning
				}
				add(lane, nil, v, cites...)
				continue
			case name == "text" && (v.Kind() == wire.Number || v.Kind() == wire.Bool): // a client that is not strict shows it, and nobody looked at it
				return 0, errors.New("a text is not one")
			case name == "functionCall":
				call := &chat.Call{}
				call.ID, _ = v.Get("id").Text()
				call.Name, _ = v.Get("name").Text()
				lane.Kind, lane.Index = chat.ToolCall, n[at]
				if n[at]++; n[at] > maxIndex {
					return 0, errors.New("too many calls")
				}
				args := v.Get("args")
				switch args.Kind() {
				case wire.Object:
				case wire.Missing, wire.Null:
					args = wire.Value{}
				default: // nobody would look at it
					return 0, errors.New("args of a call are not an object")
				}
				add(lane, call, args)
				continue
			}
			if len(dialect.Strings(v)) > 0 {
				add(lane, nil, v)
			}
		}
	}
	return at, nil
}

func answer(t dialect.Target, _ dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	a, root, err := dialect.BeginAnswer(t, body, lim)
	if err != nil {
		return nil, err
	}
	a.ID, _ = root.Get("responseId").Text()
	a.Model, _ = root.Get("modelVersion").Text()
	a.Usage, a.Counted = usage(root)
	switch t.Op {
	case dialect.CountTokens:
		if a.Usage, a.Counted = dialect.UsageIn(root, "", "totalTokens"); !a.Counted {
			return nil, fmt.Errorf("%w: no totalTokens", dialect.ErrAnswer)
		}
		return a, nil
	case dialect.Embed:
		v := root.Get("embedding").Get("values")
		if v.Kind() != wire.Array {
			return nil, fmt.Errorf("%w: no embedding", dialect.ErrAnswer)
		}
		a.Scores = []dialect.Scores{dialect.Vector(v)}
		return a, nil
	}
	cs := root.Get("candidates")
	if cs.Kind() != wire.Array && root.Get("promptFeedback").Kind() != wire.Object {
		return nil, fmt.Errorf("%w: candidates is missing or not an array", dialect.ErrAnswer)
	}
	n := calls{}
	for c := range cs.Items() {
		at, err := n.says(c, a.Add)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
		for _, name := range []string{"logprobsResult", "avgLogprobs"} {
			if v := c.Get(name); v.Kind() != wire.Missing {
				a.Logprobs = append(a.Logprobs, dialect.Member{In: c, Value: v})
			}
		}
		if s, ok := c.Get("finishReason").Text(); ok {
			a.Ended = append(a.Ended, dialect.Ended{Choice: at, Reason: s})
		}
	}
	if s, ok := root.Get("promptFeedback").Get("blockReason").Text(); ok {
		a.Ended = append(a.Ended, dialect.Ended{Reason: s})
	}
	return a, nil
}

// deny returns what ends these candidates, or all that are open.
func deny(form dialect.Form, first bool, open []int) func([]int) []byte {
	return func(choices []int) []byte {
		all := len(choices) == 0
		if all {
			if choices = open; len(choices) == 0 {
				choices = []int{0}
			}
		}
		b := []byte(`{"candidates":[`)
		for i, c := range choices {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendInt(append(b, `{"index":`...), int64(c), 10), `,"finishReason":"SAFETY"}`...)
		}
		b = append(b, "]}"...)
		if form == dialect.SSE {
			return form.Frame("", b)
		}
		sep := ",\n"
		if first {
			sep = "["
		}
		out := append([]byte(sep), b...)
		if all {
			out = append(out, ']')
		}
		return out
	}
}

func stream(t dialect.Target, mediaType string, body io.Reader) (*dialect.Stream, error) {
	form := dialect.JSONArray
	switch {
	case t.Op != dialect.Chat:
		return nil, fmt.Errorf("%w: operation %s has no stream", dialect.ErrAnswer, t.Op)
	case mediaType == dialect.SSE.MediaType():
		form = dialect.SSE
	case mediaType != form.MediaType():
		return nil, fmt.Errorf("%w: a stream of type %q", dialect.ErrAnswer, mediaType)
	}
	var open []int // candidates that have begun and not ended
	over := false  // every one ended
	var total chat.Usage
	n := calls{}
	read := func(e *dialect.Event) error {
		root, err := e.Parse()
		if err != nil {
			return err
		}
		if e.Failed = failed(root); e.Failed {
			return nil
		}
		e.ID, _ = root.Get("responseId").Text()
		e.Model, _ = root.Get("modelVersion").Text()
		if now, ok := usage(root); ok { // running totals
			total = chat.Usage{Input: max(total.Input, now.Input), Output: max(total.Output, now.Output)}
			e.Usage, e.Counted = total, true
		}
		add := func(lane chat.Lane, call *chat.Call, v wire.Value, cites ...dialect.Member) {
			e.Add(lane, call, v, false, cites...)
		}
		for c := range root.Get("candidates").Items() {
			at, err := n.says(c, add)
			if err != nil {
				return fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
			}
			for _, name := range []string{"logprobsResult", "avgLogprobs"} {
				e.Logprobs(dialect.Member{In: c, Value: c.Get(name)})
			}
			if !slices.Contains(open, at) {
				open = append(open, at)
			}
			if s, ok := c.Get("finishReason").Text(); ok {
				e.Ended = append(e.Ended, dialect.Ended{Choice: at, Reason: s})
				open = slices.DeleteFunc(open, func(o int) bool { return o == at })
				over = len(open) == 0
			}
		}
		if s, ok := root.Get("promptFeedback").Get("blockReason").Text(); ok {
			e.Ended, over = append(e.Ended, dialect.Ended{Reason: s}), true
		}
		e.OnDeny(deny(form, false, slices.Clone(open)))
		return nil
	}
	fail := func(p dialect.Problem) []byte { return form.Frame("", problem(p)) }
	return dialect.NewStream(form, body, read, fail, deny(form, true, nil), func() bool { return over }), nil
}
