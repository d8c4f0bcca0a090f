package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
)

const leaked = "mara.lindqvist@acme-corp.io"

// Names of calls, queries and code of tools that the provider runs, and what
// says that it repeats something: no string of an answer is a way around the
// guard, whole or in pieces. What is harmless passes byte for byte.
func TestBeside(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	half, rest := leaked[:9], leaked[9:]
	item := func(i int, v string) string {
		return fmt.Sprintf(`{"type":"web_search_call","id":"ws_%d","status":"completed","action":{"type":"search","query":%q}}`, i, v)
	}
	code := func(v string) string {
		return fmt.Sprintf(`{"type":"code_interpreter_call","id":"ci_1","status":"completed","container_id":"c","code":%q,"outputs":[]}`, v)
	}
	response := func(items ...string) string {
		return fmt.Sprintf(`{"id":"r","object":"response","status":"completed","model":"real","output":[%s],"usage":{"input_tokens":3,"output_tokens":1}}`, strings.Join(items, ","))
	}
	completed := func(items ...string) string {
		return "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + response(items...) + "}\n\n"
	}
	event := func(kind, more string) string {
		return fmt.Sprintf("event: %s\ndata: {\"type\":%q,%s}\n\n", kind, kind, more)
	}
	const ask, asks, stream = "/v1/responses", `{"model":"m","input":"hi"}`, `{"model":"m","stream":true,"input":"hi"}`
	chatStream := strings.Replace(chatBody("m"), "{", `{"stream":true,`, 1)
	const message, messages = "/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
	for _, c := range []struct {
		name, path, ask, form string
		say                   []string
		kept                  string // of what is said, where it is not refused
	}{
		{"name", "/v1/chat/completions", chatBody("m"), plain, []string{fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":%q,"arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`, leaked)}, ""},
		{"name_stream", "/v1/chat/completions", chatStream, sse, []string{
			fmt.Sprintf("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":%q,\"arguments\":\"\"}}]}}]}\n\n", leaked),
			"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n", "data: [DONE]\n\n",
		}, ""},
		{"name_anthropic", message, messages, plain, []string{fmt.Sprintf(`{"id":"x","type":"message","role":"assistant","model":"real","content":[{"type":"tool_use","id":"t","name":%q,"input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`, leaked)}, ""},
		{"server_tool_anthropic", message, messages, plain, []string{fmt.Sprintf(`{"id":"x","type":"message","role":"assistant","model":"real","content":[{"type":"server_tool_use","id":"t","name":"web_search","input":{"query":%q}}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`, leaked)}, ""},
		{"name_gemini", "/v1beta/models/m:generateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`, plain, []string{fmt.Sprintf(`{"candidates":[{"index":0,"content":{"role":"model","parts":[{"functionCall":{"name":%q,"args":{}}}]},"finishReason":"STOP"}]}`, leaked)}, ""},
		{"name_ollama", "/api/chat", `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}]}`, plain, []string{fmt.Sprintf(`{"model":"real","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":%q,"arguments":{}}}]},"done":true,"done_reason":"stop"}`, leaked)}, ""},
		{"name_responses", ask, asks, plain, []string{response(fmt.Sprintf(`{"type":"function_call","id":"f","call_id":"c","name":%q,"arguments":"{}"}`, leaked))}, ""},
		{"query", ask, asks, plain, []string{response(item(1, "who is "+leaked))}, "who is "},
		{"code", ask, asks, plain, []string{response(code("send('" + leaked + "')"))}, "send('"},
		{"refusal", ask, asks, plain, []string{response(`{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"not for ` + leaked + `"}]}`)}, "not for "},
		{"file", ask, asks, plain, []string{response(`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"see the file","annotations":[{"type":"file_citation","file_id":"f","filename":"` + leaked + `","index":3}]}]}`)}, "see the file"},
		{"query_stream", ask, stream, sse, []string{
			event("response.output_item.added", `"output_index":0,"item":{"type":"web_search_call","id":"ws_1","status":"in_progress"}`),
			event("response.output_item.done", `"output_index":0,"item":`+item(1, "who is "+leaked)), completed(item(1, "who is "+leaked)),
		}, "who is "},
		{"code_stream", ask, stream, sse, []string{
			event("response.code_interpreter_call_code.delta", fmt.Sprintf(`"output_index":0,"item_id":"ci_1","delta":%q`, "send('"+half)),
			event("response.code_interpreter_call_code.delta", fmt.Sprintf(`"output_index":0,"item_id":"ci_1","delta":%q`, rest+"')")),
			event("response.code_interpreter_call_code.done", fmt.Sprintf(`"output_index":0,"item_id":"ci_1","code":%q`, "send('"+leaked+"')")),
			event("response.output_item.done", `"output_index":0,"item":`+code("send('"+leaked+"')")), completed(code("send('" + leaked + "')")),
		}, "send('"},
		{"file_stream", ask, stream, sse, []string{
			event("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"see the file"`),
			event("response.output_text.annotation.added", `"output_index":0,"content_index":0,"annotation_index":0,"annotation":{"type":"file_citation","file_id":"f","filename":"`+leaked+`","index":3}`),
			completed(`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"see the file","annotations":[]}]}`),
		}, "see the file"},
		{"other_repeat", ask, stream, sse, []string{
			event("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"fine"`),
			event("response.output_text.done", fmt.Sprintf(`"output_index":0,"content_index":0,"text":%q`, "not fine: "+leaked)),
			completed(fmt.Sprintf(`{"type":"message","role":"assistant","content":[{"type":"output_text","text":%q,"annotations":[]}]}`, "not fine: "+leaked)),
		}, "not fine: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialect := "openai"
			for _, d := range []string{"anthropic", "gemini", "ollama"} {
				if strings.HasSuffix(c.name, d) {
					dialect = d
				}
			}
			b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}, Target: gateway.Target{Dialect: dialect}})
			up.says(c.form, c.say...)
			status, text, err := b.send(key, c.path, c.ask)
			if err != nil || strings.Contains(text, "lindqvist") || strings.Contains(text, "acme") {
				t.Errorf("%d %v %s", status, err, text)
			}
			if c.kept != "" && !strings.Contains(text, c.kept) {
				t.Errorf("what is harmless went, too: %d %s", status, text)
			}
			if c.kept == "" && c.form == plain && status != 403 {
				t.Errorf("got %d, want that it is refused", status)
			}
			for i := range c.say {
				c.say[i] = strings.NewReplacer(leaked, "the weather", half, "the weat", rest, "her").Replace(c.say[i])
			}
			up.says(c.form, c.say...)
			if _, text, err := b.send(key, c.path, c.ask); err != nil || text != strings.Join(c.say, "") {
				t.Errorf("harmless, but %v\n%s\nwas\n%s", err, text, strings.Join(c.say, ""))
			}
		})
	}
}
