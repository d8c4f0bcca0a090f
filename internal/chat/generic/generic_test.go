package generic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/generic"
)

var to = dialect.Target{Op: dialect.Generic, Model: "r"}

func config() generic.Config {
	return generic.Config{Path: "/predict", Model: "r", Input: []string{"$.inputs[*].text", "$['features']"}, Output: []string{"$.out[0]"}, Score: []string{"$.scores[*].p", "$.more"}, Stream: "$.options.stream", End: "[DONE]"}
}

func dialectOf(t testing.TB) *dialect.Dialect {
	t.Helper()
	d, err := generic.Dialect(config())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecode(t *testing.T) {
	d := dialectOf(t)
	body := `{"inputs":[{"text":"a"},{"text":"b"}],"features":[[1,2],[3,4]],"options":{"stream":true}}`
	r := dialecttest.Decode(t, d, to, dialect.None, []byte(body), dialecttest.Options())
	if r == nil || !r.Stream || len(r.Tensors) != 1 || r.Params.Rows != 2 {
		t.Fatalf("%+v", r)
	}
	if diff := cmp.Diff([]string{"user/text:a", "user/text:b"}, dialecttest.Said(r)); diff != "" {
		t.Error(diff)
	}
	if got := dialecttest.Said(dialecttest.ReplaceAll(t, d, to, []byte(body), "x")); got[1] != "user/text:x" {
		t.Errorf("%q", got)
	}
	dialecttest.Refused(
		t, d, to, `{}`, `{"inputs":[],"features":[1]}`, `{"inputs":[{"text":"a"}]}`, `{"inputs":[{"text":"a"}],"features":1,"options":{"stream":"yes"}}`,
		`{"Inputs":[{"text":"a"}],"inputs":[{"text":"a"}],"features":1}`, `{"inputs":[{"text":"a"}],"features":1,"api_base":"x"}`,
	)
	for _, h := range dialecttest.Hostile() {
		dialecttest.Refused(t, d, to, `{"inputs":[{"text":"a"}],"features":1,"x":`+h+`}`)
	}
	o := dialect.DefaultOptions()
	o.Unknown = dialect.RefuseUnknown
	if _, err := d.Decode(to, dialect.None, []byte(`{"inputs":[{"text":"a"}],"features":1,"x":1}`), o); !errors.Is(err, dialect.ErrRequest) {
		t.Error(err)
	}
}

func TestAnswer(t *testing.T) {
	d := dialectOf(t)
	a := dialecttest.Answer(t, d, to, dialect.None, []byte(`{"out":["cat"],"scores":[{"p":0.25},{"p":0.75}],"more":[0.5,0.1]}`))
	if a == nil || len(a.Scores) != 2 && len(a.Scores) != 3 || string(a.Texts[0].Text) != "cat" {
		t.Fatalf("%+v", a)
	}
	for _, bad := range []string{`{}`, `{"out":["cat"],"scores":[],"more":[1]}`, `{"out":["cat"],"scores":[{"p":"x"}],"more":[1]}`, `{"out":["cat"],"scores":[{"p":1}],"more":["x"]}`} {
		if a := dialecttest.Answer(t, d, to, dialect.None, []byte(bad)); a != nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestStream(t *testing.T) {
	d := dialectOf(t)
	es, err := dialecttest.Stream(t, d, to, "text/event-stream", []byte("data: {\"out\":[\"he\"]}\n\ndata: {\"other\":\"x\"}\n\ndata: [DONE]\n\n"))
	if err != nil || len(es) != 3 || string(es[0].Deltas[0].Text) != "he" || es[1].Deltas[0].Lane.Kind != chat.Unknown {
		t.Errorf("%+v, %v", es, err)
	}
	if _, err := dialecttest.Stream(t, d, to, "text/event-stream", []byte("data: {\"out\":[\"he\"]}\n\n")); !errors.Is(err, dialect.ErrShort) {
		t.Errorf("cut off: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, p := range []string{"", "inputs", "$.", "$[", "$[01]", "$[-0]", "$['a", "$..x", "$[?(@.x)]", "$[1:2]", "$.a-b", `$['a\'b']`, "$[+1]", "$" + strings.Repeat("[0]", 40), "$.0a"} {
		c := config()
		c.Input = []string{p}
		if _, err := generic.Dialect(c); !errors.Is(err, generic.ErrConfig) {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"", "x", "/a?b", "/a//b", "/a/../b", "/a%2fb"} {
		c := config()
		c.Path = p
		if _, err := generic.Dialect(c); !errors.Is(err, generic.ErrConfig) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"text":"a"}],"features":[1],"options":{"stream":true}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Decode(t, dialectOf(t), to, dialect.None, b, dialecttest.Options())
		dialecttest.Answer(t, dialectOf(t), to, dialect.None, b)
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"out\":[\"he\"]}\n\ndata: [DONE]\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Stream(t, dialectOf(t), to, "text/event-stream", b)
		dialecttest.Stream(t, dialectOf(t), to, "application/x-ndjson", b)
	})
}

// FuzzPath: any text is a path or an error.
func FuzzPath(f *testing.F) {
	f.Add("$.a[0]['b'][*]")
	f.Fuzz(func(t *testing.T, p string) {
		c := config()
		c.Input = []string{p}
		d, err := generic.Dialect(c)
		if err == nil {
			dialecttest.Decode(t, d, to, dialect.None, []byte(`{"a":[{"b":["x"]}]}`), dialecttest.Options())
		}
	})
}
