// Package generic reads any JSON: a route says at which paths (RFC 9535: names,
// indexes and [*]) input, output and scores stand. A path that finds nothing is
// an error and not a skip.
package generic

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "generic"

// ErrConfig is wrapped by errors of [Config].
var ErrConfig = errors.New("a generic route is not described well")

// Config describes one route. Input and, if texts or scores are to be looked
// at, Output and Score must be there.
type Config struct {
	Path   string   // of the request, as it is sent: "/predict"
	Model  string   // the name of the route
	Input  []string // texts, or numbers, of the request
	Output []string // texts of the answer, and of each event of a stream
	Score  []string // numbers of the answer: each array, or all numbers that a path with [*] finds, is one row
	Stream string   // a boolean of the request; "": no streams
	End    string   // the data of the event that ends a stream; "": the end of the body does
}

// A reader is a Config that was read.
type reader struct {
	cfg                  Config
	input, output, score []path
	stream               *path
	fields               *dialect.Table
}

// Dialect returns the dialect of one route.
func Dialect(cfg Config) (*dialect.Dialect, error) {
	if !strings.HasPrefix(cfg.Path, "/") || strings.ContainsAny(cfg.Path, "?#%\\") || strings.Contains(cfg.Path, "//") || strings.Contains(cfg.Path, "/.") {
		return nil, fmt.Errorf("%w: path %q (hint: an absolute path without query, escapes, dots)", ErrConfig, cfg.Path)
	}
	if cfg.Model == "" || len(cfg.Input) == 0 || len(cfg.Output)+len(cfg.Score) == 0 {
		return nil, fmt.Errorf("%w: name the route, its input and its output or score", ErrConfig)
	}
	g := &reader{cfg: cfg}
	var names []string
	for _, list := range []struct {
		texts []string
		to    *[]path
	}{{cfg.Input, &g.input}, {cfg.Output, &g.output}, {cfg.Score, &g.score}} {
		for _, text := range list.texts {
			p, err := parsePath(text)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrConfig, err)
			}
			*list.to = append(*list.to, p)
		}
	}
	known := g.input
	if cfg.Stream != "" {
		p, err := parsePath(cfg.Stream)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		g.stream = &p
		known = append(slices.Clip(known), p)
	}
	for _, p := range known {
		if len(p.steps) > 0 && p.steps[0].kind == 'n' && !strings.Contains(p.steps[0].name, " ") {
			names = append(names, p.steps[0].name)
		}
	}
	g.fields = dialect.Fields(dialect.Row{How: dialect.Read, Names: strings.Join(names, " ")})
	return &dialect.Dialect{
		Name: Name, Match: g.match, Decode: g.decode, Answer: g.answer, Stream: g.events, Error: problem, Failed: failed,
		Path:     func(dialect.Target, string) string { return cfg.Path },
		Keys:     []dialect.Key{{Header: "Authorization", Prefix: "Bearer "}, {Header: "X-Api-Key"}},
		Response: []string{"Retry-After"},
	}, nil
}

func (g *reader) match(method, path, query string) (dialect.Target, bool) {
	if method != "POST" || path != g.cfg.Path || query != "" {
		return dialect.Target{}, false
	}
	return dialect.Target{Op: dialect.Generic, Model: g.cfg.Model}, true
}

func (g *reader) decode(t dialect.Target, _ dialect.Header, body []byte, o dialect.Options) (*dialect.Request, error) {
	d, err := wire.Parse(body, o.Limits)
	if err != nil {
		return nil, err
	}
	r, root := dialect.Of(t, d, o)
	if err := g.fields.Check(r, "", root, &o); err != nil {
		return nil, err
	}
	if g.stream != nil {
		for _, v := range g.stream.find(root) {
			on, ok := v.Bool()
			if !ok {
				return nil, dialect.Refuse("%s is not a boolean", g.stream.text)
			}
			r.Stream = r.Stream || on
		}
	}
	m := chat.Message{Role: chat.User, Span: dialect.SpanOf(root)}
	for _, p := range g.input {
		found := p.find(root)
		if len(found) == 0 {
			return nil, dialect.Refuse("nothing is at %s", p.text)
		}
		rows := int64(len(found))
		for _, v := range found {
			rows = max(rows, int64(v.Len()))
			m.Parts = append(m.Parts, texts(v)...)
			if numbers(v) {
				r.Tensors = append(r.Tensors, chat.Tensor{Name: p.text, Datatype: "JSON", Data: dialect.SpanOf(v)})
			}
		}
		if r.Params.Rows = max(r.Params.Rows, rows); o.Caps.Rows > 0 && r.Params.Rows > o.Caps.Rows {
			return nil, dialect.Refuse("%s has %d rows, at most %d", p.text, r.Params.Rows, o.Caps.Rows)
		}
	}
	if len(m.Parts) > 0 {
		r.Messages = []chat.Message{m}
	}
	return r, nil
}

// texts returns the strings in v, each where it stands.
func texts(v wire.Value) []chat.Part {
	if v.Kind() == wire.String {
		return []chat.Part{dialect.TextPart(chat.Text, v)}
	}
	var out []chat.Part
	for _, x := range v.All() {
		if x.Kind() == wire.String {
			out = append(out, dialect.TextPart(chat.Text, x))
		}
	}
	return out
}

func numbers(v wire.Value) bool {
	if v.Kind() == wire.Number {
		return true
	}
	for _, x := range v.All() {
		if x.Kind() == wire.Number {
			return true
		}
	}
	return false
}

func (g *reader) answer(t dialect.Target, _ dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	d, err := wire.Parse(body, lim)
	if err != nil {
		return nil, err
	}
	a, root := dialect.AnswerOf(t, d, lim)
	for _, p := range g.output {
		found := p.find(root)
		if len(found) == 0 {
			return nil, fmt.Errorf("%w: nothing is at %s", dialect.ErrAnswer, p.text)
		}
		for _, v := range found {
			for _, s := range texts(v) {
				a.Add(chat.Lane{Kind: chat.Text, Index: len(a.Texts)}, nil, d.At(s.Span.Start))
			}
		}
	}
	for _, p := range g.score {
		found := p.find(root)
		if len(found) == 0 {
			return nil, fmt.Errorf("%w: nothing is at %s", dialect.ErrAnswer, p.text)
		}
		row := dialect.Scores{}
		for _, v := range found {
			switch v.Kind() {
			case wire.Number:
				row.Values = append(row.Values, v)
				if !p.wild() {
					a.Scores, row = append(a.Scores, dialect.Scores{Values: row.Values, Vector: true}), dialect.Scores{}
				}
			case wire.Array:
				s := dialect.Vector(v)
				s.Vector = false
				a.Scores = append(a.Scores, s)
			default:
				return nil, fmt.Errorf("%w: %s is neither a number nor a list of them", dialect.ErrAnswer, p.text)
			}
		}
		if len(row.Values) > 0 {
			a.Scores = append(a.Scores, row)
		}
	}
	for _, s := range a.Scores {
		for _, v := range s.Values {
			if v.Kind() != wire.Number {
				return nil, fmt.Errorf("%w: a score is not a number", dialect.ErrAnswer)
			}
		}
	}
	return a, nil
}

func (g *reader) events(_ dialect.Target, mediaType string, body io.Reader) (*dialect.Stream, error) {
	form := dialect.SSE
	switch {
	case g.stream == nil:
		return nil, fmt.Errorf("%w: the route has no streams", dialect.ErrAnswer)
	case mediaType == form.MediaType():
	case strings.HasSuffix(mediaType, "ndjson"):
		form = dialect.NDJSON
	default:
		return nil, fmt.Errorf("%w: a stream of type %q", dialect.ErrAnswer, mediaType)
	}
	read := func(e *dialect.Event) error {
		if g.cfg.End != "" && string(e.Data) == g.cfg.End {
			e.Done = true
			return nil
		}
		root, err := e.Parse()
		if err != nil {
			return err
		}
		some := false
		for i, p := range g.output {
			for _, v := range p.find(root) {
				if v.Kind() == wire.String {
					some = true
					e.Add(chat.Lane{Kind: chat.Text, Index: i}, nil, v, false)
				}
			}
		}
		if e.Failed = failed(root); !some && !e.Failed && len(dialect.Strings(root)) > 0 { // the route does not say what it is
			e.Add(chat.Lane{Kind: chat.Unknown}, nil, root, false)
		}
		return nil
	}
	end := g.cfg.End
	deny := func([]int) []byte {
		out := form.Frame("", problem(dialect.Denied("the content of the answer may not pass")))
		if end != "" {
			out = append(out, form.Frame("", []byte(end))...)
		}
		return out
	}
	fail := func(p dialect.Problem) []byte { return form.Frame("", problem(p)) }
	return dialect.NewStream(form, body, read, fail, deny, func() bool { return end == "" }), nil
}

func problem(p dialect.Problem) []byte {
	b := wire.AppendString([]byte(`{"error":{"code":`), []byte(p.Code))
	b = wire.AppendString(append(b, `,"message":`...), []byte(p.Message))
	return append(b, "}}"...)
}

func failed(root wire.Value) bool { return root.Get("error").Kind() != wire.Missing }
