// Package dialecttest holds what every dialect must keep to, for the tests of
// the leaves: requests go out as they came, edits change what they name and
// nothing else, streams say the same whole and in pieces.
package dialecttest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Options returns small limits, for fuzzing.
func Options() dialect.Options {
	o := dialect.DefaultOptions()
	o.Limits = wire.Limits{Bytes: 1 << 16, Depth: 32, Values: 2000}
	return o
}

// Decode decodes body and, if it is accepted, checks the edits. It returns nil
// for a body that is refused.
func Decode(t *testing.T, d *dialect.Dialect, to dialect.Target, h dialect.Header, body []byte, o dialect.Options) *dialect.Request {
	t.Helper()
	r, err := d.Decode(to, h, body, o)
	if err != nil {
		if !errors.Is(err, dialect.ErrRequest) && !errors.Is(err, wire.ErrSyntax) {
			t.Fatalf("an error of neither kind: %v", err)
		}
		return nil
	}
	for i, m := range r.Messages {
		for j, p := range m.Parts {
			if p.Span.Start < 0 || p.Span.End > len(body) || p.Span.Start > p.Span.End {
				t.Fatalf("message %d part %d: span %v of %d bytes", i, j, p.Span, len(body))
			}
		}
	}
	same, err := r.Bytes()
	if err != nil {
		t.Fatalf("no edit: %v", err)
	}
	if len(r.Dropped) == 0 && o.Caps.MaxOutput == 0 && !bytes.Equal(same, body) {
		t.Fatalf("no edit, but %q became %q", body, same)
	}
	edits(t, d, to, h, body, o)
	return r
}

// edits makes every edit at once and reads the result again.
func edits(t *testing.T, d *dialect.Dialect, to dialect.Target, h dialect.Header, body []byte, o dialect.Options) {
	t.Helper()
	r, err := d.Decode(to, h, body, o)
	if err != nil {
		t.Fatal(err)
	}
	r.SetModel("another/model")
	r.SetMaxOutput(17)
	r.ForceUsage()
	r.StripLogprobs()
	if r.Places.System != nil {
		if err := r.AddSystem("a \"system\" text\n"); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.Bytes()
	if err != nil {
		t.Fatalf("edits of %q: %v", body, err)
	}
	o.Limits.Bytes *= 2
	if to.Model != "" {
		to.Model = "another/model"
	}
	again, err := d.Decode(to, h, out, o)
	if err != nil {
		t.Fatalf("edits of %q gave %q: %v", body, out, err)
	}
	if r.Places.Model.Kind() == wire.String && again.Model != "another/model" {
		t.Fatalf("the model is %q in %q", again.Model, out)
	}
	if len(r.Places.MaxAt)+len(r.Places.MaxOutput) > 0 && again.Params.MaxOutput != 17 {
		t.Fatalf("the output is bounded by %d in %q", again.Params.MaxOutput, out)
	}
	if again.Params.Logprobs || r.Places.Usage != nil && r.Stream && !again.ClientUsage {
		t.Fatalf("log-probabilities or no usage in %q", out)
	}
	texts(t, r, again)
}

// texts compares what the messages say: all that was said is still there.
func texts(t *testing.T, was, is *dialect.Request) {
	t.Helper()
	all := func(r *dialect.Request) (out [][]byte) {
		for _, m := range r.Messages {
			for _, p := range m.Parts {
				out = append(out, p.Text)
			}
		}
		return out
	}
	now := all(is)
	for _, text := range all(was) {
		i := 0
		for i < len(now) && !bytes.HasPrefix(now[i], text) {
			i++
		}
		if i == len(now) {
			t.Fatalf("%q is not said any more", text)
		}
		now = now[i+1:]
	}
}

// ReplaceAll replaces every text that can be changed by x, reads the result
// again, and returns what is said then. A text with holes for JSON is left.
func ReplaceAll(t *testing.T, d *dialect.Dialect, to dialect.Target, body []byte, x string) *dialect.Request {
	t.Helper()
	r, err := d.Decode(to, dialect.None, body, Options())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range r.Messages {
		for j, p := range m.Parts {
			if err := r.Replace(i, j, 0, len(p.Text), []byte(x)); err != nil && !errors.Is(err, wire.ErrEdit) {
				t.Fatal(err)
			}
		}
	}
	out, err := r.Bytes()
	if err != nil {
		t.Fatalf("replacing all in %s: %v", body, err)
	}
	again, err := d.Decode(to, dialect.None, out, Options())
	if err != nil {
		t.Fatalf("replaced all: %s: %v", out, err)
	}
	return again
}

// Answer reads a whole answer and, if it is accepted, checks that it goes out
// as it came and that a changed text is in what goes out.
func Answer(t *testing.T, d *dialect.Dialect, to dialect.Target, h dialect.Header, body []byte) *dialect.Answer {
	t.Helper()
	lim := wire.Limits{Bytes: 1 << 16, Depth: 32, Values: 2000}
	a, err := d.Answer(to, h, body, lim)
	if err != nil {
		return nil
	}
	same, err := a.Bytes()
	if err != nil || !bytes.Equal(same, body) {
		t.Fatalf("no edit, but %q became %q, %v", body, same, err)
	}
	b, err := d.Answer(to, h, body, lim)
	if err != nil {
		t.Fatal(err)
	}
	b.StripLogprobs()
	if err := b.Shape(dialect.Shape{Top: 1, Round: true, Digits: 2}); err != nil && !errors.Is(err, dialect.ErrAnswer) {
		t.Fatal(err)
	}
	for i, x := range b.Texts {
		if x.At.Kind() == wire.String {
			if err := b.Replace(i, []byte("redacted")); err != nil && !errors.Is(err, wire.ErrEdit) {
				t.Fatal(err)
			}
		}
	}
	out, err := b.Bytes()
	if err != nil {
		if errors.Is(err, wire.ErrEdit) {
			return a // the same string twice in one answer
		}
		t.Fatalf("edits of %q: %v", body, err)
	}
	lim.Bytes *= 2
	if _, err := d.Answer(to, h, out, lim); err != nil {
		t.Fatalf("edits of %q gave %q: %v", body, out, err)
	}
	return a
}

// Stream reads a stream to its end, whole and byte by byte, and checks that both
// say the same, that the events are the body, and that each can be rewritten.
func Stream(t *testing.T, d *dialect.Dialect, to dialect.Target, mediaType string, body []byte) ([]*dialect.Event, error) {
	t.Helper()
	events, err := read(t, d, to, mediaType, bytes.NewReader(body))
	slow, slowErr := read(t, d, to, mediaType, &oneByte{body})
	if len(events) != len(slow) || (err == nil) != (slowErr == nil) {
		t.Fatalf("%d events, %v; byte by byte %d, %v", len(events), err, len(slow), slowErr)
	}
	var sum []byte
	for i, e := range events {
		sum = append(sum, e.Raw...)
		if len(e.Deltas) != len(slow[i].Deltas) || e.Done != slow[i].Done {
			t.Fatalf("event %d is %+v, byte by byte %+v", i, e, slow[i])
		}
		same, err := e.Rewrite(make([][]byte, len(e.Deltas)), false)
		if err != nil || !bytes.Equal(same, e.Raw) {
			t.Fatalf("rewritten as it is: %q, %v", same, err)
		}
		if i < 30 {
			rewritten(t, d, to, mediaType, sum[:len(sum)-len(e.Raw)], e, i)
		}
	}
	if stripped := bytes.ReplaceAll(body, []byte("\n"), nil); !bytes.HasPrefix(stripped, bytes.ReplaceAll(sum, []byte("\n"), nil)) && mediaType == "text/event-stream" {
		t.Fatalf("the events are %q", sum)
	}
	return events, err
}

// rewritten gives every text of an event, which stands behind those before,
// another value.
func rewritten(t *testing.T, d *dialect.Dialect, to dialect.Target, mediaType string, before []byte, e *dialect.Event, at int) {
	t.Helper()
	texts := make([][]byte, len(e.Deltas))
	for i, x := range e.Deltas {
		if x.Lane.Kind != "unknown" && len(x.Text) > 0 && x.Text[0] != '{' {
			texts[i] = []byte("re\"dacted\n")
		}
	}
	out, err := e.Rewrite(texts, true)
	if errors.Is(err, wire.ErrEdit) {
		return
	}
	if err != nil {
		t.Fatalf("rewriting %q: %v", e.Raw, err)
	}
	again, err := read(t, d, to, mediaType, io.MultiReader(bytes.NewReader(before), bytes.NewReader(out)))
	if len(again) <= at {
		t.Fatalf("%q was rewritten as %q: %d events, not %d, %v", e.Raw, out, len(again), at+1, err)
	}
	for i := range texts {
		if texts[i] != nil && (len(again[at].Deltas) <= i || !bytes.Equal(again[at].Deltas[i].Text, texts[i])) {
			t.Fatalf("text %d of %q is %+v", i, out, again[at].Deltas)
		}
	}
}

func read(t *testing.T, d *dialect.Dialect, to dialect.Target, mediaType string, body io.Reader) ([]*dialect.Event, error) {
	t.Helper()
	s, err := d.Stream(to, mediaType, body)
	if err != nil {
		t.Fatal(err)
	}
	var out []*dialect.Event
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
		s.Denied(e)
	}
}

// oneByte gives one byte at a time.
type oneByte struct{ b []byte }

// Read implements [io.Reader].
func (o *oneByte) Read(p []byte) (int, error) {
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = o.b[0]
	o.b = o.b[1:]
	return 1, nil
}
