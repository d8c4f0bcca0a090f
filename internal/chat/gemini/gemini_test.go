package gemini_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/gemini"
)

var (
	to      = dialect.Target{Op: dialect.Chat, Model: "m"}
	toEmbed = dialect.Target{Op: dialect.Embed, Model: "m"}
)

func TestGovernedFields(t *testing.T) {
	bodies := map[string]string{
		"request":     `{%s"model":"models/m","generationConfig":{},"contents":[{"parts":[{"text":"hi"}]}]}`,
		"content":     `{"contents":[{%s"role":"user","parts":[{"text":"hi"}]}]}`,
		"part":        `{"contents":[{"parts":[{%s"text":"hi"}]}]}`,
		"blob":        `{"contents":[{"parts":[{"inlineData":{%s"data":"aGk="}}]}]}`,
		"call":        `{"contents":[{"parts":[{"functionCall":{%s"name":"f","args":{}}}]}]}`,
		"tool":        `{"contents":[{"parts":[{"text":"x"}]}],"tools":[{%s"functionDeclarations":[]}]}`,
		"declaration": `{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{%s"name":"f"}]}]}`,
		"config":      `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{%s"topK":1}}`,
	}
	for name, table := range gemini.Tables() {
		dialecttest.Governed(t, gemini.Dialect(), to, table, bodies[name])
	}
}

const full = `{"system_instruction":{"parts":[{"text":"s"}]},"generationConfig":{"max_output_tokens":7,"candidateCount":2,"responseSchema":{"a":1}},"tools":[{"function_declarations":[{"name":"f","parameters":{"b":1}}]}],"contents":[
	{"role":"user","parts":[{"text":"a"},{"inline_data":{"mime_type":"image/png","data":"aGk="}}]},{"role":"model","parts":[{"text":"hm","thought":true},{"functionCall":{"name":"f","args":{"x":1}}}]},
	{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"r","list":["q"]}}},{"hologram":{"y":"z"}}]}]}`

func TestDecode(t *testing.T) {
	r := dialecttest.Decode(t, gemini.Dialect(), to, dialect.None, []byte(full), dialecttest.Options())
	if r == nil {
		t.Fatal("refused")
	}
	want := []string{
		"system/text:s", "user/text:a", "user/image:image/png+2", "assistant/reasoning:hm", `assistant/tool_call:{"x":1}@f`, "user/tool_result:r@f", "user/tool_result:q@f", "user/unknown:z",
	}
	if d := cmp.Diff(want, dialecttest.Said(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if r.Params.MaxOutput != 7 || r.Params.Choices != 2 || string(r.Schema) != `{"a":1}` || len(r.Tools) != 1 || string(r.Tools[0].Schema) != `{"b":1}` {
		t.Errorf("%+v", r)
	}
	dialecttest.ReplaceAll(t, gemini.Dialect(), to, []byte(full), `{}`)
	e := dialecttest.Decode(t, gemini.Dialect(), toEmbed, dialect.None, []byte(`{"model":"models/m","content":{"parts":[{"text":"x"}]},"taskType":"T"}`), dialecttest.Options())
	if e == nil {
		t.Fatal("refused")
	}
	e.SetModel("other")
	if b, err := e.Bytes(); err != nil || !strings.Contains(string(b), `"models/other"`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestRefused(t *testing.T) {
	const say = `"contents":[{"parts":[{"text":"x"}]}]`
	dialecttest.Refused(
		t, gemini.Dialect(), to, `{}`, `{"contents":[]}`, `{"contents":"x"}`, `{"systemInstruction":{},"system_instruction":{},`+say+`}`, `{"model":"models/n",`+say+`}`, `{"cachedContent":"c",`+say+`}`,
		`{"cached_content":"c",`+say+`}`, `{"generationConfig":{"maxOutputTokens":5,"max_output_tokens":6},`+say+`}`, `{"generationConfig":null,`+say+`}`, `{"tools":[{"googleSearch":{}}],`+say+`}`,
		`{"tools":[{"url_context":{}}],`+say+`}`, `{"contents":[{"role":"robot","parts":[]}]}`, `{"contents":[{"parts":[{"text":7}]}]}`,
		`{"contents":[{"parts":[{"fileData":{"fileUri":"https://x"}}]}]}`, `{"contents":[{"parts":[{"file_data":{"file_uri":"gs://x"}}]}]}`, `{"contents":[{"parts":[{"inlineData":{"fileUri":"https://x"}}]}]}`,
		`{"contents":[{"parts":[{"new":{"file_uri":"https://x"}}]}]}`, `{"Contents":[{"parts":[{"text":"x"}]}]}`, `{"generationConfig":{"candidateCount":99},`+say+`}`,
	)
	for _, h := range dialecttest.Hostile() {
		dialecttest.Refused(t, gemini.Dialect(), to, `{"labels":`+h+`,`+say+`}`)
	}
}

func TestMatch(t *testing.T) {
	d := gemini.Dialect()
	for line, want := range map[string]dialect.Target{
		"/v1beta/models/gemini-2.0:generateContent":                     {Op: dialect.Chat, Model: "gemini-2.0"},
		"/v1beta/models/g:streamGenerateContent?alt=sse&key=x":          {Op: dialect.Chat, Model: "g", Stream: true, SSE: true},
		"/v1beta/models/g:streamGenerateContent":                        {Op: dialect.Chat, Model: "g", Stream: true},
		"/v1beta/models/g:embedContent":                                 {Op: dialect.Embed, Model: "g"},
		"/v1beta/models/g:batchEmbedContents":                           {},
		"/v1beta/models/..:generateContent":                             {},
		"/v1beta/models/a%2Fb:generateContent":                          {},
		"/v1beta/models/a/b:generateContent":                            {},
		"/v1beta/models/:generateContent":                               {},
		"/v1beta/models/g:generateContent?$alt=x":                       {},
		"/v1beta/models/g:generateContent?alt=proto":                    {},
		"/v1beta/models/g:generateContent?alt=json&alt=sse":             {},
		"/v1beta/models/g:generateContent:generateContent":              {},
		"/v1beta/models/g:generateContent?upload_protocol=x&callback=y": {},
	} {
		path, query, _ := strings.Cut(line, "?")
		got, ok := d.Match("POST", path, query)
		if got != want || ok != (want.Op != "") {
			t.Errorf("%s is %+v, %v", line, got, ok)
		}
		if p, q, _ := strings.Cut(d.Path(got, got.Model), "?"); ok {
			if again, _ := d.Match("POST", p, q); again != got {
				t.Errorf("%s goes to %s", line, p)
			}
		}
	}
}

const whole = `{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hello"},{"functionCall":{"name":"f","args":{"a":1}}}],"role":"model"},"finishReason":"STOP","index":0,"citationMetadata":{"x":1},"avgLogprobs":-0.1}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"thoughtsTokenCount":4},"modelVersion":"g"}`

func TestAnswer(t *testing.T) {
	a := dialecttest.Answer(t, gemini.Dialect(), to, dialect.None, []byte(whole))
	if a == nil || len(a.Texts) != 3 || a.Usage != (chat.Usage{Input: 3, Output: 6}) || a.Model != "g" {
		t.Fatalf("%+v", a)
	}
	if err := a.Replace(1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := a.Bytes(); err != nil || string(b) != strings.Replace(strings.Replace(whole, `,"citationMetadata":{"x":1},"avgLogprobs":-0.1`, "", 1), "hello", "x", 1) {
		t.Errorf("%s, %v", b, err)
	}
}

const (
	one = `{"candidates":[{"content":{"parts":[{"text":"he, ]} \" llo"}]},"index":0}],"usageMetadata":{"promptTokenCount":3}}`
	two = `{"candidates":[{"content":{"parts":[{"text":"!"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}`
)

func TestStream(t *testing.T) {
	d := gemini.Dialect()
	for mediaType, body := range map[string]string{"text/event-stream": "data: " + one + "\r\n\r\ndata: " + two + "\r\n\r\n", "application/json": "[" + one + "\n,\r\n" + two + "\n]\n"} {
		es, err := dialecttest.Stream(t, d, to, mediaType, []byte(body))
		if err != nil || len(es) < 2 || string(es[0].Deltas[0].Text) != `he, ]} " llo` || es[1].Usage != (chat.Usage{Input: 3, Output: 2}) || es[1].Ended[0].Reason != "STOP" {
			t.Fatalf("%s: %+v, %v", mediaType, es, err)
		}
		s, err := d.Stream(to, mediaType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dialecttest.Stream(t, d, to, mediaType, s.Denied(nil)); err != nil || got[0].Ended[0].Reason != "SAFETY" {
			t.Errorf("%s denied at once: %q, %v", mediaType, s.Denied(nil), err)
		}
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dialecttest.Stream(t, d, to, mediaType, append(e.Raw, s.Denied(e)...)); err != nil || got[1].Ended[0].Reason != "SAFETY" {
			t.Errorf("%s denied: %q, %v", mediaType, s.Denied(e), err)
		}
	}
	for _, bad := range []string{"[" + one, "[" + one + "]", "[" + one + "," + two, "x", "[1]", `{"a":1}[`, "[[" + two + "]]", `[{"candidates":[{"index":-1}]}]`} {
		if _, err := dialecttest.Stream(t, d, to, "application/json", []byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestBodies(t *testing.T) {
	if s := string(gemini.Dialect().Error(dialect.Denied("no"))); s != `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}` {
		t.Error(s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"model":"models/m","content":{"parts":[{"text":"x"}]}}`))
	f.Add([]byte(`{"contents":{"parts":{"text":"x"}},"systemInstruction":{"parts":{"text":"s"}},"generationConfig":{"responseLogprobs":true,"logprobs":2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Decode(t, gemini.Dialect(), to, dialect.None, b, dialecttest.Options())
		dialecttest.Decode(t, gemini.Dialect(), toEmbed, dialect.None, b, dialecttest.Options())
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, b []byte) { dialecttest.Answer(t, gemini.Dialect(), to, dialect.None, b) })
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("data: " + one + "\n\ndata: " + two + "\n\n"))
	f.Add([]byte("[" + one + "," + two + "]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Stream(t, gemini.Dialect(), to, "text/event-stream", b)
		dialecttest.Stream(t, gemini.Dialect(), to, "application/json", b)
	})
}
