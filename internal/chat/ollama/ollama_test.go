package ollama_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/ollama"
)

var (
	toChat     = dialect.Target{Op: dialect.Chat}
	toGenerate = dialect.Target{Op: dialect.Generate}
	toEmbed    = dialect.Target{Op: dialect.Embed}
)

const ndjson = "application/x-ndjson"

func TestGovernedFields(t *testing.T) {
	bodies := map[string]string{
		"request":  `{%s"model":"m","options":{},"messages":[{"role":"user","content":"hi"}]}`,
		"options":  `{"model":"m","messages":[{"role":"user","content":"hi"}],"options":{%s"seed":1}}`,
		"message":  `{"model":"m","messages":[{%s"role":"user","content":"hi"}]}`,
		"call":     `{"model":"m","messages":[{"role":"assistant","tool_calls":[{%s"function":{"name":"f","arguments":{}}}]}]}`,
		"function": `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{%s"name":"f","arguments":{}}}]}]}`,
	}
	for name, table := range ollama.Tables() {
		dialecttest.Governed(t, ollama.Dialect(), toChat, table, bodies[name])
	}
}

const full = `{"model":"m","format":{"type":"object"},"tools":[{"type":"function","function":{"name":"f","parameters":{"a":1}}}],"options":{"num_predict":-1},"messages":[{"role":"system","content":"s"},
	{"role":"user","content":"look","images":["aGk="]},{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},{"role":"tool","tool_name":"f","content":"res"}]}`

func TestDecode(t *testing.T) {
	r := dialecttest.Decode(t, ollama.Dialect(), toChat, dialect.None, []byte(full), dialecttest.Options())
	if r == nil {
		t.Fatal("refused")
	}
	want := []string{"system/text:s", "user/text:look", "user/image:+2", "assistant/text:", "assistant/reasoning:hm", `assistant/tool_call:{"x":1}@f`, "tool/tool_result:res@f"}
	if d := cmp.Diff(want, dialecttest.Said(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if !r.Stream || string(r.Schema) != `{"type":"object"}` || len(r.Tools) != 1 {
		t.Errorf("%+v", r)
	}
	dialecttest.ReplaceAll(t, ollama.Dialect(), toChat, []byte(full), `{}`)
	g := dialecttest.Decode(t, ollama.Dialect(), toGenerate, dialect.None, []byte(`{"model":"m","prompt":"p","system":"s","suffix":"x","stream":false,"images":["aGk="]}`), dialecttest.Options())
	if d := cmp.Diff([]string{"system/text:s", "user/text:p", "user/text:x", "user/image:+2"}, dialecttest.Said(g)); d != "" || g.Stream {
		t.Errorf("-want +got:\n%s", d)
	}
	if e := dialecttest.Decode(t, ollama.Dialect(), toEmbed, dialect.None, []byte(`{"model":"m","input":["a","b"]}`), dialecttest.Options()); e == nil || e.Params.Rows != 2 || e.Stream {
		t.Errorf("%+v", e)
	}
}

func TestRefused(t *testing.T) {
	d := ollama.Dialect()
	const say = `"messages":[{"role":"user","content":"x"}]`
	dialecttest.Refused(
		t, d, toChat, `{"model":"m"}`, `{"model":"m","messages":[]}`, `{`+say+`}`, `{"model":"m","stream":"no",`+say+`}`, `{"model":"m","options":null,`+say+`}`, `{"model":"m","options":{"Num_Predict":5},`+say+`}`,
		`{"model":"m","options":{"num_ctx":5},`+say+`}`, `{"model":"m","messages":[{"role":"user","content":7}]}`, `{"model":"m","messages":[{"role":"user","content":"x","images":["http://h/"]}]}`,
		`{"model":"m","messages":[{"role":"user","Content":"x"}]}`, `{"model":"m","tools":[{"type":"mcp"}],`+say+`}`, `{"model":"m","MODEL":"n",`+say+`}`, `{"model":"m","ſtream":true,`+say+`}`,
	)
	dialecttest.Refused(t, d, toGenerate, `{"model":"m"}`, `{"model":"m","prompt":"x","raw":true}`, `{"model":"m","prompt":"x","template":"t"}`, `{"model":"m","prompt":"x","context":[1]}`, `{"model":"m","prompt":"x","system":1}`)
	dialecttest.Refused(t, d, toEmbed, `{"model":"m"}`, `{"model":"m","input":[]}`, `{"model":"m","input":[1]}`)
	for _, h := range dialecttest.Hostile() {
		dialecttest.Refused(t, d, toChat, `{"model":"m","think":`+h+`,`+say+`}`)
	}
	for _, line := range []string{"/api/create", "/api/pull", "/api/push", "/api/copy", "/api/delete", "/api/blobs/sha256:x", "/api/show", "/api/ps", "/api/chat/", "/API/chat"} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			if to, ok := d.Match(method, line, ""); ok {
				t.Errorf("%s %s is %v", method, line, to)
			}
		}
	}
}

const chatStream = `{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"hel"},"logprobs":[{"token":"hel"}],"done":false}

{"model":"m","message":{"role":"assistant","content":"lo","thinking":"hm"},"done":false}
{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}
{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":4,"eval_count":2}
`

func TestStream(t *testing.T) {
	d := ollama.Dialect()
	es, err := dialecttest.Stream(t, d, toChat, ndjson, []byte(chatStream))
	if err != nil || len(es) != 4 || string(es[2].Deltas[1].Text) != `{"a":1}` || es[3].Usage != (chat.Usage{Input: 4, Output: 2}) || !es[3].Done {
		t.Fatalf("%+v, %v", es, err)
	}
	b, err := es[0].Rewrite([][]byte{[]byte("x")}, false)
	if want := `{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"x"},"done":false}` + "\n"; err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
	s, err := d.Stream(toChat, ndjson, strings.NewReader(chatStream))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := dialecttest.Stream(t, d, toChat, ndjson, s.Denied(nil)); err != nil || got[0].Ended[0].Reason != "content_filter" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "{}\n", `{"message":{"content":"x"},"done":false}` + "\n", "[1]\n", `{"message":7,"done":true}`, `{"message":{"content":"\ud800"},"done":true}`} {
		if _, err := dialecttest.Stream(t, d, toChat, ndjson, []byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

const whole = `{"model":"m","response":"hello","context":[1,2],"done":true,"done_reason":"stop","prompt_eval_count":4,"eval_count":2}`

func TestAnswer(t *testing.T) {
	d := ollama.Dialect()
	a := dialecttest.Answer(t, d, toGenerate, dialect.None, []byte(whole))
	if a == nil || string(a.Texts[0].Text) != "hello" || a.Usage.Input != 4 {
		t.Fatalf("%+v", a)
	}
	if err := a.Replace(0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := a.Bytes(); err != nil || string(b) != strings.Replace(whole, `"hello","context":[1,2]`, `"x"`, 1) {
		t.Errorf("%s, %v", b, err)
	}
	if e := dialecttest.Answer(t, d, toEmbed, dialect.None, []byte(`{"model":"m","embeddings":[[0.1,0.2]],"prompt_eval_count":1}`)); e == nil || len(e.Scores) != 1 {
		t.Errorf("%+v", e)
	}
	if s := string(d.Error(dialect.Problem{Message: "no"})); s != `{"error":"no"}` {
		t.Error(s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"model":"m","prompt":"p","system":"s","stream":false,"options":{"num_predict":5,"stop":["x"]}}`))
	f.Add([]byte(`{"model":"m","input":["p"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, to := range []dialect.Target{toChat, toGenerate, toEmbed} {
			dialecttest.Decode(t, ollama.Dialect(), to, dialect.None, b, dialecttest.Options())
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"embeddings":[[0.1,0.2]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, to := range []dialect.Target{toChat, toGenerate, toEmbed} {
			dialecttest.Answer(t, ollama.Dialect(), to, dialect.None, b)
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(chatStream))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Stream(t, ollama.Dialect(), toChat, ndjson, b)
		dialecttest.Stream(t, ollama.Dialect(), toGenerate, ndjson, b)
	})
}
