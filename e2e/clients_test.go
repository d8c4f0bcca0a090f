//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const greeting = "Hello wörld 𝄞"

// provider is a server that answers as OpenAI and Anthropic do.
func provider(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var ask struct {
		Model    string
		Stream   bool
		Tools    []any
		Input    any
		Encoding string `json:"encoding_format"`
		Options  struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
		Messages []struct{ Role string }
	}
	json.Unmarshal(b, &ask)
	whole := func(text string) { reply(w, text) }
	stream := func(parts ...string) { pieces("text/event-stream", parts...)(w, r) }
	last := len(ask.Messages) > 0 && ask.Messages[len(ask.Messages)-1].Role == "tool"
	says := greeting
	if ask.Model == "deny" {
		says = "Write to karin.lund@skane-mail.se"
	}
	const head = `"id":"c1","created":1,"model":"real","system_fingerprint":"f"`
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}`
	chunk := func(delta, reason string) string {
		return `data: {` + head + `,"object":"chat.completion.chunk","choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + reason + `}]}` + "\n\n"
	}
	event := func(kind, rest string) string {
		return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + rest + "}\n\n"
	}
	const response = `{"id":"r1","object":"response","created_at":1,"model":"real","status":%q,"error":null,"incomplete_details":null,"instructions":null,"metadata":{},"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"output":[%s],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":7}}`
	const item = `{"id":"m1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"` + greeting + `","annotations":[]}]}`
	switch {
	case ask.Model == "broken":
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "<html>oops")
	case ask.Model == "cut":
		stream(chunk(`{"role":"assistant","content":"Hel"}`, "null"))
	case r.URL.Path == "/v1/chat/completions" && ask.Stream && len(ask.Tools) > 0:
		stream(chunk(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"weather","arguments":""}}]}`, "null"),
			chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"place\":"}}]}`, "null"), chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"\"Göteborg\"}"}}]}`, "null"), chunk(`{}`, `"tool_calls"`), "data: [DONE]\n\n")
	case r.URL.Path == "/v1/chat/completions" && ask.Stream:
		parts := []string{chunk(`{"role":"assistant","content":""}`, "null")}
		for _, c := range strings.SplitAfter(says, " ") {
			parts = append(parts, chunk(fmt.Sprintf(`{"content":%q}`, c), "null"))
		}
		parts = append(parts, chunk(`{}`, `"stop"`))
		if ask.Options.Usage {
			parts = append(parts, `data: {`+head+`,"object":"chat.completion.chunk","choices":[],`+usage+"}\n\n")
		}
		stream(append(parts, "data: [DONE]\n\n")...)
	case r.URL.Path == "/v1/chat/completions" && len(ask.Tools) > 0 && !last:
		whole(`{` + head + `,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"weather","arguments":"{\"place\":\"Göteborg\"}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],` + usage + `}`)
	case r.URL.Path == "/v1/chat/completions":
		whole(fmt.Sprintf(`{%s,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":"stop"}],%s}`, head, says, usage))
	case r.URL.Path == "/v1/embeddings":
		vector := `[0.5,-1.25]`
		if ask.Encoding == "base64" {
			vector = `"AAAAPwAAoL8="` // the same as two float32, the lowest byte first
		}
		n := 1
		if list, ok := ask.Input.([]any); ok {
			n = len(list)
		}
		var data []string
		for i := range n {
			data = append(data, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":%s}`, i, vector))
		}
		whole(`{"object":"list","model":"real","data":[` + strings.Join(data, ",") + `],"usage":{"prompt_tokens":2,"total_tokens":2}}`)
	case r.URL.Path == "/v1/responses" && ask.Stream:
		stream(event("response.created", `,"sequence_number":0,"response":`+fmt.Sprintf(response, "in_progress", "")),
			event("response.output_item.added", `,"sequence_number":1,"output_index":0,"item":{"id":"m1","type":"message","role":"assistant","status":"in_progress","content":[]}`),
			event("response.content_part.added", `,"sequence_number":2,"item_id":"m1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}`),
			event("response.output_text.delta", `,"sequence_number":3,"item_id":"m1","output_index":0,"content_index":0,"delta":"Hello wör"`),
			event("response.output_text.delta", `,"sequence_number":4,"item_id":"m1","output_index":0,"content_index":0,"delta":"ld 𝄞"`),
			event("response.output_text.done", `,"sequence_number":5,"item_id":"m1","output_index":0,"content_index":0,"text":"`+greeting+`"`),
			event("response.content_part.done", `,"sequence_number":6,"item_id":"m1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"`+greeting+`","annotations":[]}`),
			event("response.output_item.done", `,"sequence_number":7,"output_index":0,"item":`+item),
			event("response.completed", `,"sequence_number":8,"response":`+fmt.Sprintf(response, "completed", item)))
	case r.URL.Path == "/v1/responses":
		whole(fmt.Sprintf(response, "completed", item))
	case r.URL.Path == "/v1/messages/count_tokens":
		whole(`{"input_tokens":9}`)
	case r.URL.Path == "/v1/messages" && ask.Stream:
		block, deltas, reason := `{"type":"text","text":""}`, []string{`{"type":"text_delta","text":"Hello "}`, `{"type":"text_delta","text":"wörld 𝄞"}`}, "end_turn"
		if len(ask.Tools) > 0 {
			block, deltas, reason = `{"type":"tool_use","id":"t1","name":"weather","input":{}}`, []string{`{"type":"input_json_delta","partial_json":"{\"place\":"}`, `{"type":"input_json_delta","partial_json":"\"Göteborg\"}"}`}, "tool_use"
		}
		parts := []string{
			event("message_start", `,"message":{"id":"x1","type":"message","role":"assistant","model":"real","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}`),
			event("content_block_start", `,"index":0,"content_block":`+block), event("ping", ""),
		}
		for _, d := range deltas {
			parts = append(parts, event("content_block_delta", `,"index":0,"delta":`+d))
		}
		stream(append(parts, event("content_block_stop", `,"index":0`), event("message_delta", `,"delta":{"stop_reason":"`+reason+`","stop_sequence":null},"usage":{"output_tokens":4}`), event("message_stop", ""))...)
	case r.URL.Path == "/v1/messages":
		block, reason := `{"type":"text","text":"`+greeting+`"}`, "end_turn"
		if len(ask.Tools) > 0 {
			block, reason = `{"type":"tool_use","id":"t1","name":"weather","input":{"place":"Göteborg"}}`, "tool_use"
		}
		whole(`{"id":"x1","type":"message","role":"assistant","model":"real","content":[` + block + `],"stop_reason":"` + reason + `","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}`)
	default:
		http.NotFound(w, r)
	}
}

// TestOfficialClients runs the npm packages of OpenAI and Anthropic against the
// real binary. They are those of e2e/clients/package-lock.json.
func TestOfficialClients(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node.js is not installed: the official clients were not tried")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "clients.mjs"} {
		b, err := os.ReadFile(filepath.Join("clients", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(b))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the official clients, which were not tried: %v\n%s", err, out)
	}

	up := httptest.NewServer(http.HandlerFunc(provider))
	t.Cleanup(up.Close)
	config, model := filepath.Join(dir, "warden.yaml"), filepath.Join(dir, "m.pkl")
	text := "gateway:\n  routes:\n"
	for name, more := range map[string]string{
		"openai": "", "embed": ", task: embed", "anthropic": ", dialect: anthropic", "deny": ", guard: {preset: standard, rules: {WDN-EX-501: deny}}", "cut": "", "broken": "",
		"spent": ", limits: [{per: identity, requests: 0/1m}]", "spent-anthropic": ", dialect: anthropic, limits: [{per: identity, requests: 0/1m}]",
	} {
		text += fmt.Sprintf("    - {name: %s, model: team/m, upstream: %q, allow_private: [127.0.0.0/8]%s}\n", name, up.URL, more)
	}
	text += fmt.Sprintf("    - {name: closed, model: team/never-pushed, upstream: %q, allow_private: [127.0.0.0/8]}\n", up.URL)
	write(t, config, text)
	write(t, model, "(dp0\nS'weight'\np1\nF0.5\ns.")
	p := start(t, "", "--config", config)
	p.must(0, "registry", "push", "team/m", model)
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "clients", "--role", "client"))
	p.eventually(5*time.Second, "the routes to be open", func() bool {
		status, _ := p.chat(key, "openai", false)
		return status == http.StatusOK
	})
	run := exec.CommandContext(ctx, node, "clients.mjs")
	run.Dir = dir
	run.Env = append(os.Environ(), "BASE="+p.Gateway, "KEY="+key)
	out, err := run.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := strings.Fields(lines[len(lines)-1])
	if err != nil || len(last) != 4 || last[0] != last[2] {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(lines[len(lines)-1])
}
