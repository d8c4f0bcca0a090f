package prompt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
)

// Bounds of schemas and of what is compared with them.
const (
	maxSchema   = 256 << 10 // bytes
	maxInstance = 4 << 20
	maxWork     = 20e6 // subschemas, with their references followed, times values
)

var errSchema = errors.New("schema")

// A shape is a compiled schema.
type shape struct {
	schema *jsonschema.Schema
	size   int // subschemas, with references followed
}

// nowhere loads nothing: a reference that leaves its schema is an error.
type nowhere struct{}

// Load implements [jsonschema.URLLoader].
func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%w: %s lies outside of it", errSchema, url)
}

// compile reads a schema. Without "$schema" it is of draft 2020-12.
func compile(raw []byte) (*shape, error) {
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errSchema, len(raw), maxSchema)
	}
	if _, err := measure(raw); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSchema, err)
	}
	w := weigher{root: doc, known: map[string]int{}}
	size, err := w.weigh(doc, 0)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	const name = "schema:///request"
	if err := c.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("%w: %w", errSchema, err)
	}
	s, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSchema, err)
	}
	return &shape{s, size}, nil
}

// measure counts the values in a JSON text, and refuses one that is nested
// deeper than maxJSON, before anything recursive reads it.
func measure(b []byte) (values int, err error) {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			values++
			if depth++; depth > maxJSON {
				return 0, fmt.Errorf("%w: nested deeper than %d", errSchema, maxJSON)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',' || c == ':':
			values++
		}
	}
	return values + 1, nil
}

// weigher counts subschemas as often as references lead to them: a schema of
// twenty lines can stand for a million.
type weigher struct {
	root  any
	known map[string]int // of references; -1 while it is counted
}

func (w *weigher) weigh(v any, depth int) (int, error) {
	size := 1
	add := func(n int, err error) error {
		if size += n; size > maxWork && err == nil {
			err = fmt.Errorf("%w: its references stand for more than %d parts", errSchema, int(maxWork))
		}
		return err
	}
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["$id"].(string); ok && depth > 0 {
			return 0, fmt.Errorf("%w: an $id inside of it moves its references", errSchema)
		}
		for k, child := range v {
			if ref, ok := child.(string); ok && (k == "$ref" || k == "$dynamicRef" || k == "$recursiveRef") {
				if err := add(w.reference(ref)); err != nil {
					return 0, err
				}
				continue
			}
			if err := add(w.weigh(child, depth+1)); err != nil {
				return 0, err
			}
		}
	case []any:
		for _, child := range v {
			if err := add(w.weigh(child, depth+1)); err != nil {
				return 0, err
			}
		}
	}
	return size, nil
}

func (w *weigher) reference(ref string) (int, error) {
	if ref != "#" && !strings.HasPrefix(ref, "#/") {
		return 0, fmt.Errorf("%w: %q is no path inside of it", errSchema, ref)
	}
	if n, ok := w.known[ref]; ok {
		return max(n, 1), nil // one that is being counted goes on with the values
	}
	w.known[ref] = -1
	n, err := w.weigh(lookup(w.root, ref), 1)
	w.known[ref] = n
	return n, err
}

// lookup returns what a local reference points to; the whole where that is not
// plain.
func lookup(root any, ref string) any {
	at := root
	if ref == "#" {
		return root
	}
	for key := range strings.SplitSeq(ref[2:], "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return root
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
	}
	return at
}

// fits compares a JSON text with a shape. The error wraps [detect.ErrLimit] if it
// could not be done.
func (s *shape) fits(raw []byte) error {
	if len(raw) > maxInstance {
		return fmt.Errorf("%d bytes, at most %d: %w", len(raw), maxInstance, detect.ErrLimit)
	}
	n, err := measure(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", err, detect.ErrLimit)
	}
	if n*s.size > maxWork {
		return fmt.Errorf("%d values against %d parts of a schema: %w", n, s.size, detect.ErrLimit)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return errors.New("it is not JSON")
	}
	err = s.schema.Validate(doc)
	if bad, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		for len(bad.Causes) > 0 {
			bad = bad.Causes[0]
		}
		// the place only: values are the user's
		return fmt.Errorf("/%s does not keep to %s", strings.Join(bad.InstanceLocation, "/"), strings.Join(bad.ErrorKind.KeywordPath(), "/"))
	}
	return err
}

func schemas(ctx context.Context, p *pass) error {
	in := p.Subject
	calls, bad := in.calls()
	shapes := map[string]*shape{}
	whole := warden.Location{Path: "tools", Span: warden.One(warden.Turns, 0)}
	for _, c := range calls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s, seen := shapes[c.name]
		if !seen {
			var err error
			if s, err = in.toolShape(c.name); err != nil {
				p.Report(ruleSchema, whole, "The schema of %q cannot be used: %v", c.name, err)
				bad = errors.Join(bad, fmt.Errorf("arguments of %s: %w", c.name, err))
			}
			shapes[c.name] = s
		}
		if s == nil {
			if !json.Valid(c.arguments) && len(bytes.TrimSpace(c.arguments)) > 0 {
				p.Report(ruleArguments, c.at(), "Arguments of %s: they are not JSON", c.name)
			}
			continue
		}
		switch err := s.fits(orEmpty(c.arguments)); {
		case errors.Is(err, detect.ErrLimit):
			bad = errors.Join(bad, fmt.Errorf("arguments of %s: %w", c.name, err))
		case err != nil:
			p.Report(ruleArguments, c.at(), "Arguments of %s: %v", c.name, err)
		}
	}
	return errors.Join(bad, in.answer(ctx, p), in.err())
}

// orEmpty stands for arguments that a model leaves out.
func orEmpty(b []byte) []byte {
	if len(bytes.TrimSpace(b)) == 0 {
		return []byte("{}")
	}
	return b
}

func (in *Input) toolShape(name string) (*shape, error) {
	for _, t := range in.Exchange.Tools {
		if t.Name == name && len(t.Schema) > 0 {
			return compile(t.Schema)
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// answer compares what the model said with the schema that was asked for. An
// answer that calls tools or refuses is not yet one.
func (in *Input) answer(ctx context.Context, p *pass) error {
	if len(in.Exchange.Schema) == 0 {
		return nil
	}
	var s *shape
	var bad error
	for i, m := range in.Exchange.Messages {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !m.Answer || m.Text() == "" || calling(m) {
			continue
		}
		at := warden.Location{Path: fmt.Sprintf("messages/%d", i), Span: warden.One(warden.Turns, int64(i))}
		if s == nil {
			var err error
			if s, err = compile(in.Exchange.Schema); err != nil {
				p.Report(ruleSchema, at, "The schema of the answer cannot be used: %v", err)
				return fmt.Errorf("answer: %w", err)
			}
		}
		switch err := s.fits([]byte(m.Text())); {
		case errors.Is(err, detect.ErrLimit):
			bad = errors.Join(bad, fmt.Errorf("answer: %w", err))
		case err != nil:
			p.Report(ruleAnswer, at, "The answer: %v", err)
		}
	}
	return bad
}

func calling(m chat.Message) bool {
	for _, p := range m.Parts {
		if p.Kind == chat.ToolCall || p.Kind == chat.Refusal {
			return true
		}
	}
	return false
}
