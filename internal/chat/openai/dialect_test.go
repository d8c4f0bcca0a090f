package openai_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/openai"
)

var (
	toChat      = dialect.Target{Op: dialect.Chat}
	toResponses = dialect.Target{Op: dialect.Responses}
	toEmbed     = dialect.Target{Op: dialect.Embed}
)

const say = `"messages":[{"role":"user","content":"hi"}]`

// Every field that is governed is refused in another spelling, and what a route
// must permit is refused without.
func TestGovernedFields(t *testing.T) {
	d := openai.Dialect()
	for name, table := range openai.Tables() {
		switch name {
		case "chat":
			dialecttest.Governed(t, d, toChat, table, `{%s"model":"m","messages":[{"role":"user","content":"hi"}]}`)
		case "message":
			dialecttest.Governed(t, d, toChat, table, `{"model":"m","messages":[{%s"role":"user","content":"hi"}]}`)
		case "part":
			dialecttest.Governed(t, d, toChat, table, `{"model":"m","messages":[{"role":"user","content":[{%s"type":"text","text":"hi"}]}]}`)
		case "tool":
			dialecttest.Governed(t, d, toChat, table, `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{%s"type":"function","function":{"name":"f"}}]}`)
		case "call":
			dialecttest.Governed(t, d, toChat, table, `{"model":"m","messages":[{"role":"assistant","tool_calls":[{%s"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]}]}`)
		case "responses":
			dialecttest.Governed(t, d, toResponses, table, `{%s"model":"m","input":"x"}`)
		case "item":
			dialecttest.Governed(t, d, toResponses, table, `{"model":"m","input":[{%s"type":"message","role":"user","content":"x"}]}`)
		case "input":
			dialecttest.Governed(t, d, toResponses, table, `{"model":"m","input":[{"role":"user","content":[{%s"type":"input_text","text":"hi"}]}]}`)
		case "responses_tool":
			dialecttest.Governed(t, d, toResponses, table, `{"model":"m","input":"x","tools":[{%s"type":"function","name":"f"}]}`)
		case "embed":
			dialecttest.Governed(t, d, toEmbed, table, `{%s"model":"m","input":"x"}`)
		default:
			t.Errorf("no body for table %s", name)
		}
	}
}

func TestHostile(t *testing.T) {
	for _, h := range dialecttest.Hostile() {
		dialecttest.Refused(t, openai.Dialect(), toChat, `{"model":"m","user":`+h+`,`+say+`}`, `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x","y":`+h+`}]}]}`)
	}
}

func TestCaps(t *testing.T) {
	d, o := openai.Dialect(), dialect.DefaultOptions()
	o.Caps = dialect.Caps{MaxOutput: 100, Choices: 2, TopLogprobs: 3, Stop: 1, Rows: 2}
	for body, ok := range map[string]bool{
		`"n":2`: true, `"n":3`: false, `"n":-1`: false, `"n":1.5`: false, `"n":"2"`: false, `"n":null`: true, `"n":1e0`: false, `"best_of":3`: false,
		`"top_logprobs":3,"logprobs":true`: true, `"top_logprobs":4`: false, `"prompt_logprobs":9`: false, `"stop":"x"`: true, `"stop":["x","y"]`: false, `"stop":[1]`: false, `"stop":{}`: false,
		`"max_tokens":0`: false, `"max_tokens":-5`: false, `"max_tokens":"1"`: false, `"max_tokens":99999999999999999999`: false, `"temperature":"1"`: false, `"temperature":0.5`: true,
		`"stream_options":[]`: false, `"stream_options":{"include_usage":1}`: false, `"stream_options":{"Include_Usage":true}`: false, `"response_format":"json"`: false,
		`"tools":{}`: false, `"tools":[1]`: false, `"tools":[{"type":"mcp","server_url":"https://h"}]`: false, `"tools":[{"type":"web_search"}]`: false, `"tools":[{"type":"function","function":{"name":"f"}}]`: true,
		`"tools":[{"type":"function","function":{"nam\u0065":"f"}}]`: false, `"logit_bias":{"5":1}`: true,
	} {
		if _, err := d.Decode(toChat, dialect.None, []byte(`{"model":"m",`+body+`,`+say+`}`), o); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
	r, err := d.Decode(toChat, dialect.None, []byte(`{"model":"m","max_tokens":500,"max_completion_tokens":7,`+say+`}`), o)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := r.Bytes(); err != nil || string(b) != `{"model":"m","max_tokens":100,"max_completion_tokens":100,`+say+`}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestUnknownFields(t *testing.T) {
	d, o := openai.Dialect(), dialect.DefaultOptions()
	body := []byte(`{"new":{"a":1} , "model":"m","newer":2,"messages":[{"role":"user","content":"hi","x":"y"}], "newest":3}`)
	o.Unknown = dialect.RefuseUnknown
	if _, err := d.Decode(toChat, dialect.None, body, o); !errors.Is(err, dialect.ErrRequest) {
		t.Error(err)
	}
	o.Unknown = dialect.DropUnknown
	r, err := d.Decode(toChat, dialect.None, body, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Bytes()
	if want := `{"model":"m","messages":[{"role":"user","content":"hi"}]}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
	if said := dialecttest.Said(r); len(said) != 1 {
		t.Errorf("%q: what was dropped is read", said)
	}
	if diff := cmp.Diff([]string{"new", "newer", "newest", "messages.x"}, r.Dropped); diff != "" {
		t.Error(diff)
	}
}

func TestParts(t *testing.T) {
	body := `{"model":"m","stream":true,"messages":[
	{"role":"system","content":"s"},
	{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}},{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}},{"type":"hologram","text":"t","beam":{"a":"b"}}]},
	{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function","function":{"name":"read_mail","arguments":"{\"n\":1}"}}]},
	{"role":"tool","tool_call_id":"c1","content":"mail \ud83d\ude00 text"}],
	"tools":[{"type":"function","function":{"name":"read_mail","parameters":{"type":"object"}}}],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"a":1}}}}`
	r := dialecttest.Decode(t, openai.Dialect(), toChat, dialect.None, []byte(body), dialecttest.Options())
	if r == nil {
		t.Fatal("refused")
	}
	want := []string{
		"system/text:s", "user/text:look", "user/image:image/png+2", "user/audio:audio/wav+2", "user/text:t", "user/unknown:b",
		"assistant/reasoning:hm", `assistant/tool_call:{"n":1}@read_mail`, "tool/tool_result:mail 😀 text@read_mail",
	}
	if d := cmp.Diff(want, dialecttest.Said(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if string(r.Schema) != `{"a":1}` || len(r.Tools) != 1 || r.Tools[0].Name != "read_mail" || string(r.Tools[0].Schema) != `{"type":"object"}` {
		t.Errorf("%s %+v", r.Schema, r.Tools)
	}
	if err := r.Replace(3, 0, 5, 9, []byte("x\"")); err != nil {
		t.Fatal(err)
	}
	b, err := r.Bytes()
	if want := strings.Replace(body, `\ud83d\ude00`, `x\"`, 1); err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if err := r.Replace(3, 0, 6, 9, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Bytes(); err == nil {
		t.Error("half a character was replaced")
	}
	again := dialecttest.ReplaceAll(t, openai.Dialect(), toChat, []byte(body), `{"k":"v"}`)
	if string(again.Messages[2].Parts[1].Text) != `{"k":"v"}` {
		t.Errorf("%+v", again.Messages[2])
	}
}

func TestResponses(t *testing.T) {
	d := openai.Dialect()
	body := `{"model":"m","instructions":"be kind","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,aGk="}]},
	{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"},{"type":"reasoning","summary":[{"type":"summary_text","text":"think"}]},{"type":"new_thing","x":{"y":"z"}}]}`
	r := dialecttest.Decode(t, d, toResponses, dialect.None, []byte(body), dialecttest.Options())
	if r == nil || len(r.Messages) != 6 || string(r.Messages[3].Parts[0].Text) != "r" || r.Messages[3].Parts[0].Call.Name != "f" || r.Messages[5].Parts[0].Kind != chat.Unknown {
		t.Fatalf("%+v", r)
	}
	for body, ok := range map[string]bool{
		`"input":"hi"`: true, `"input":1`: false, `"x":1`: false, `"input":"x","previous_response_id":"r"`: false, `"input":"x","store":true`: false, `"input":"x","store":false`: true,
		`"input":"x","background":true`: false, `"input":"x","tools":[{"type":"mcp","server_url":"https://x"}]`: false, `"input":"x","tools":[{"type":"web_search"}]`: false,
		`"input":[{"type":"item_reference","id":"x"}]`: false, `"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x"}]}]`: false,
		`"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://x"}]}]`: false, `"input":[{"Role":"user","content":"x"}]`: false, `"input":"x","prompt":{"id":"p"}`: false,
		`"input":"x","conversation":"c"`: false,
	} {
		if _, err := d.Decode(toResponses, dialect.None, []byte(`{"model":"m",`+body+`}`), dialect.DefaultOptions()); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestEmbed(t *testing.T) {
	d := openai.Dialect()
	r := dialecttest.Decode(t, d, toEmbed, dialect.None, []byte(`{"model":"m","input":["a","b",[1,2]]}`), dialecttest.Options())
	if r == nil || r.Params.Rows != 3 || r.Messages[0].Parts[2].Kind != chat.Unknown {
		t.Fatalf("%+v", r)
	}
	a := dialecttest.Answer(t, d, toEmbed, dialect.None, []byte(`{"data":[{"embedding":[0.12345,-1e-9]},{"embedding":"AACAPwAAAEA="}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}`))
	if a == nil || len(a.Scores) != 1 || a.Usage.Input != 3 {
		t.Fatalf("%+v", a)
	}
	if err := a.Shape(dialect.Shape{Round: true, Digits: 2}); err != nil {
		t.Fatal(err)
	}
	b, err := a.Bytes()
	if err != nil || !strings.Contains(string(b), `[0.12,-0.00]`) {
		t.Errorf("%s, %v", b, err)
	}
}

const chatAnswer = `{"id":"i","object":"chat.completion","model":"up","system_fingerprint":"fp","choices":[{"index":0,"message":{"role":"assistant","content":"my card","annotations":[{"url":"x"}],"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"logprobs":{"content":[]},"finish_reason":"stop"},{"index":1,"message":{"content":"other","annotations":[]},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}`

func TestAnswer(t *testing.T) {
	a := dialecttest.Answer(t, openai.Dialect(), toChat, dialect.None, []byte(chatAnswer))
	if a == nil || len(a.Texts) != 3 || a.Model != "up" || a.Fingerprint != "fp" || a.Usage != (chat.Usage{Input: 3, Output: 5}) || len(a.Ended) != 2 {
		t.Fatalf("%+v", a)
	}
	if err := a.Replace(0, []byte(`my "x"`)); err != nil {
		t.Fatal(err)
	}
	b, err := a.Bytes()
	if want := strings.Replace(strings.Replace(strings.Replace(chatAnswer, `my card`, `my \"x\"`, 1), `"annotations":[{"url":"x"}],`, "", 1), `"logprobs":{"content":[]},`, "", 1); err != nil || string(b) != want {
		t.Errorf("got  %s, %v\nwant %s", b, err, want)
	}
	if ms := a.Messages(); len(ms) != 2 || ms[1].Choice != 1 || !ms[0].Answer {
		t.Errorf("%+v", ms)
	}
}

func event(s string) string { return "data: " + s + "\n\n" }

const chatStream = "data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"he\"},\"logprobs\":{\"content\":[]}}]}\n\n" +
	": comment\n\n" +
	"data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\r\n\r\n" +
	"data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\u0022:\"}}]}}]}\n\n" +
	"data: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"i\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"

func TestStream(t *testing.T) {
	es, err := dialecttest.Stream(t, openai.Dialect(), toChat, "text/event-stream", []byte(chatStream))
	if err != nil || len(es) != 7 {
		t.Fatalf("%d events, %v", len(es), err)
	}
	if string(es[0].Deltas[0].Text) != "he" || es[2].Deltas[0].Call.Name != "f" || string(es[3].Deltas[0].Text) != `{"a":` || es[4].Ended[0].Reason != "stop" || !es[5].UsageOnly || es[5].Usage.Output != 2 || !es[6].Done {
		t.Errorf("%+v", es)
	}
	b, err := es[0].Rewrite([][]byte{[]byte("xx")}, false)
	if want := event(`{"id":"i","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"xx"}}]}`); err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	s, err := openai.Dialect().Stream(toChat, "text/event-stream", strings.NewReader(chatStream))
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	if b := string(s.Denied(e)); !strings.Contains(b, `"id":"i"`) || !strings.Contains(b, `"content_filter"`) || !strings.HasSuffix(b, event("[DONE]")) {
		t.Errorf("%s", b)
	}
	if es, err := dialecttest.Stream(t, openai.Dialect(), toChat, "text/event-stream", []byte(string(s.Denied(e)))); err != nil || len(es) != 2 {
		t.Errorf("%+v, %v", es, err)
	}
	for name, body := range map[string]string{
		"bom": "\ufeff" + event(`{"choices":[]}`), "no_end": event(`{"id":"x","choices":[]}`), "half_surrogate": event(`{"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}`),
		"no_json": event(`hello`), "twice": event(`{"choices":[],"choices":[]}`), "list": event(`[]`), "index": event(`{"choices":[{"index":-1}]}`),
	} {
		if _, err := dialecttest.Stream(t, openai.Dialect(), toChat, "text/event-stream", []byte(body + event("[DONE]"))[:len(body)]); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

const responsesStream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"model\":\"m\",\"instructions\":\"s\"}}\n\n" +
	"event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"content\":[]}}\n\n" +
	"data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"hi\",\"logprobs\":[]}\n\n" +
	"data: {\"type\":\"response.output_text.annotation.added\",\"output_index\":0,\"content_index\":0,\"annotation\":{\"url\":\"u\"}}\n\n" +
	"data: {\"type\":\"response.output_text.done\",\"output_index\":0,\"content_index\":0,\"text\":\"hi\"}\n\n" +
	"data: {\"type\":\"response.shiny.new\",\"payload\":\"text\"}\n\n" +
	"data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\",\"annotations\":[]}]}],\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\n"

func TestResponsesStream(t *testing.T) {
	es, err := dialecttest.Stream(t, openai.Dialect(), toResponses, "text/event-stream", []byte(responsesStream))
	if err != nil || len(es) != 7 {
		t.Fatalf("%d events, %v", len(es), err)
	}
	last := es[6]
	if es[2].Deltas[0].Lane != last.Deltas[0].Lane || !last.Deltas[0].Repeats || !es[4].Deltas[0].Repeats || es[2].Deltas[0].Repeats || es[5].Deltas[0].Lane.Kind != chat.Unknown || len(es[3].Cites) != 1 || last.Usage.Input != 4 || !last.Done {
		t.Errorf("%+v", es)
	}
	if _, err := dialecttest.Stream(t, openai.Dialect(), toResponses, "text/event-stream", []byte("event: response.completed\ndata: {\"type\":\"response.created\"}\n\n")); !errors.Is(err, dialect.ErrAnswer) {
		t.Errorf("an event with two types: %v", err)
	}
}

func TestMatch(t *testing.T) {
	d := openai.Dialect()
	for line, op := range map[string]dialect.Op{
		"POST /v1/chat/completions": dialect.Chat, "POST /v1/responses": dialect.Responses, "POST /v1/embeddings": dialect.Embed, "GET /v1/models": dialect.Models,
		"GET /v1/chat/completions": "", "POST /v1/chat%2fcompletions": "", "POST /v1//chat/completions": "", "POST /v1/files": "", "POST /v1/chat/completions/": "",
	} {
		method, path, _ := strings.Cut(line, " ")
		if to, ok := d.Match(method, path, ""); ok != (op != "") || to.Op != op && ok {
			t.Errorf("%s is %v, %v", line, to, ok)
		}
	}
}

func FuzzResponses(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]}],"max_output_tokens":9}`))
	f.Add([]byte(`{"model":"m","input":"x","include":["message.output_text.logprobs"],"top_logprobs":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Decode(t, openai.Dialect(), toResponses, dialect.None, b, dialecttest.Options())
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(chatAnswer))
	f.Add([]byte(`{"output":[{"type":"message","content":[{"type":"output_text","text":"hi","annotations":[],"logprobs":[]}]},{"type":"function_call","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Answer(t, openai.Dialect(), toChat, dialect.None, b)
		dialecttest.Answer(t, openai.Dialect(), toResponses, dialect.None, b)
		dialecttest.Answer(t, openai.Dialect(), toEmbed, dialect.None, b)
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(chatStream))
	f.Add([]byte(responsesStream))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Stream(t, openai.Dialect(), toChat, "text/event-stream", b)
		dialecttest.Stream(t, openai.Dialect(), toResponses, "text/event-stream", b)
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"model":"m","stream":true,"max_tokens":100,"messages":[` + strings.Repeat(`{"role":"user","content":"`+strings.Repeat("lorem ipsum ", 16)+`"},`, 16) + `{"role":"user","content":"end"}]}`)
	d, o := openai.Dialect(), dialect.DefaultOptions()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := d.Decode(toChat, dialect.None, body, o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}
