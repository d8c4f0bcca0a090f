package gateway_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/generic"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/monitor"
)

// A double is an upstream that says what it is told, and keeps what it heard.
type double struct {
	*httptest.Server
	mu   sync.Mutex
	say  http.HandlerFunc
	last *http.Request
	body []byte
}

func newDouble(t testing.TB) *double {
	d := &double{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		d.last, d.body = r, b
		say := d.say
		d.mu.Unlock()
		say(w, r)
	})
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	d.Server = httptest.NewUnstartedServer(h)
	d.Config.Protocols = p
	d.Start()
	t.Cleanup(d.Close)
	return d
}

func (d *double) says(contentType string, parts ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.say = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, p := range parts {
			io.WriteString(w, p)
			http.NewResponseController(w).Flush()
		}
	}
}

func (d *double) heard() (string, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last.URL.RequestURI(), string(d.body)
}

// routes gives the gateway these routes, all to one admitted model.
func (b *bench) routes(up string, rs ...gateway.Route) {
	b.T.Helper()
	for i := range rs {
		rs[i].Model, rs[i].Upstream, rs[i].Credential, rs[i].AllowPrivate = "team/good", up, credential, loopback()
	}
	if err := b.gw.SetRoutes(gateway.FromConfig, rs...); err != nil {
		b.T.Fatal(err)
	}
}

func (b *bench) send(key, path, body string) (int, string, error) {
	b.T.Helper()
	req, _ := http.NewRequest(http.MethodPost, b.url+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

const (
	sse    = "text/event-stream"
	ndjson = "application/x-ndjson"
	plain  = "application/json"
)

// Every dialect passes as it came, whole and in pieces, with the model under the
// name that the upstream knows.
func TestDialects(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	for _, tt := range []struct {
		name, dialect string
		task          chat.Task
		path, body    string
		asked, sent   string // of the upstream
		kind, answer  string
	}{
		{
			"anthropic", "anthropic", chat.Chat, "/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`,
			"/v1/messages", `"real"`, plain, `{"id":"x","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}`,
		},
		{
			"anthropic_stream", "anthropic", chat.Chat, "/v1/messages", `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`,
			"/v1/messages", `"real"`, sse, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"x\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"real\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"ok\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		},
		{
			"responses", "openai", chat.Chat, "/v1/responses", `{"model":"m","input":"hi","store":false}`, "/v1/responses", `"real"`, plain,
			`{"id":"r","object":"response","status":"completed","model":"real","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"ok","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":1}}`,
		},
		{
			"embeddings", "openai", chat.Embed, "/v1/embeddings", `{"model":"m","input":["a","b"]}`, "/v1/embeddings", `"real"`, plain,
			`{"object":"list","model":"real","data":[{"object":"embedding","index":0,"embedding":[0.1,0.2]},{"object":"embedding","index":1,"embedding":[0.3,0.4]}],"usage":{"prompt_tokens":2,"total_tokens":2}}`,
		},
		{
			"gemini", "gemini", chat.Chat, "/v1beta/models/m:generateContent", `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`,
			"/v1beta/models/real:generateContent", `"hi"`, plain, `{"candidates":[{"content":{"role":"model","parts":[{"text":"ok"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}`,
		},
		{
			"ollama_stream", "ollama", chat.Chat, "/api/chat", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`,
			"/api/chat", `"real"`, ndjson, "{\"model\":\"real\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\",\"content\":\"ok\"},\"done\":false}\n{\"model\":\"real\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":1}\n",
		},
		{
			"oip", "oip", chat.Classify, "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.5,1.5]}]}`,
			"/v2/models/real/infer", `"FP32"`, plain, `{"model_name":"real","outputs":[{"name":"p","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.routes(up.URL, gateway.Route{Name: "m", Task: tt.task, Target: gateway.Target{Dialect: tt.dialect, UpstreamModel: "real"}})
			up.says(tt.kind, tt.answer)
			status, text, err := b.send(key, tt.path, tt.body)
			if status != 200 || err != nil || text != tt.answer {
				t.Errorf("got %d %v\n%s\nwant\n%s", status, err, text, tt.answer)
			}
			asked, sent := up.heard()
			if asked != tt.asked || !strings.Contains(sent, tt.sent) {
				t.Errorf("the upstream was asked %s %s", asked, sent)
			}
			if strings.Contains(tt.kind, "stream") || tt.kind == ndjson { // one that breaks off is never clean
				up.says(tt.kind, tt.answer[:len(tt.answer)*2/3])
				if _, text, err := b.send(key, tt.path, tt.body); err == nil {
					t.Errorf("a stream that breaks off looks whole: %s", text)
				}
			}
			for _, bad := range []string{"", "{", "[]", `{"model":"m"}`, tt.body + "x"} {
				if status, text, _ := b.send(key, tt.path, bad); status != 400 || !strings.HasPrefix(text, "{") {
					t.Errorf("body %q: %d %s, want 400 and an error of the dialect", bad, status, text)
				}
			}
			if status, text, _ := b.send("wdn_wrong", tt.path, tt.body); status != 401 || strings.Contains(text, "real") {
				t.Errorf("wrong key: %d %s", status, text)
			}
		})
	}
}

// Clients of one dialect, an upstream of another.
func TestTranslated(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	b.routes(up.URL, gateway.Route{Name: "m", Target: gateway.Target{Dialect: "anthropic", UpstreamModel: "real"}, MaxOutput: 77})
	up.says(plain, `{"id":"x","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"Grüße"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}`)
	status, text, err := b.send(key, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
	if status != 200 || err != nil || !strings.Contains(text, `"content":"Grüße"`) || !strings.Contains(text, `"finish_reason":"stop"`) || strings.Contains(text, "real") {
		t.Errorf("got %d %v %s", status, err, text)
	}
	if asked, sent := up.heard(); asked != "/v1/messages" || !strings.Contains(sent, `"max_tokens":77`) || !strings.Contains(sent, `"real"`) {
		t.Errorf("the upstream was asked %s %s", asked, sent)
	}
	up.says(sse, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"x\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"real\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"ok\"}}\n\n",
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	status, text, err = b.send(key, "/v1/chat/completions", `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	if status != 200 || err != nil || !strings.Contains(text, `"content":"ok"`) || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("got %d %v %s", status, err, text)
	}
	// What cannot be said there is refused before anything is sent.
	up.says(plain, "{}")
	if status, text, _ := b.send(key, "/v1/chat/completions", `{"model":"m","logit_bias":{"1":2},"messages":[{"role":"user","content":"hi"}]}`); status != 400 {
		t.Errorf("logit_bias: %d %s", status, text)
	}
	if status, text, _ := b.send(key, "/api/chat", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`); status != 400 || !strings.Contains(text, "dialect") {
		t.Errorf("ollama to anthropic: %d %s", status, text)
	}
}

// A route with a dialect of its own.
func TestGeneric(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	b.routes(up.URL, gateway.Route{
		Name: "spam", Generic: &generic.Config{Path: "/predict", Input: []string{"$.text"}, Score: []string{"$.scores[*]"}},
		Shape: gateway.Shape{Shape: dialect.Shape{Top: 1, Round: true, Digits: 2}},
	})
	up.says(plain, `{"scores":[0.1234,0.8766]}`)
	status, text, err := b.send(key, "/predict", `{"text":"hello"}`)
	if status != 200 || err != nil || text != `{"scores":[0.00,0.88]}` {
		t.Errorf("got %d %v %s", status, err, text)
	}
	if status, _, _ := b.send(key, "/predict", `{"txt":"hello"}`); status != 400 {
		t.Errorf("a path that finds nothing: %d", status)
	}
}

func frame(message []byte) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
}

// Calls by gRPC over HTTP/2 without TLS.
func TestGRPC(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	b.routes(up.URL, gateway.Route{Name: "m", Task: chat.Classify, Target: gateway.Target{Dialect: "oip-grpc"}})
	field := func(num protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), v)
	}
	var tensor []byte
	tensor = append(tensor, field(1, "x")...)
	tensor = append(tensor, field(2, "FP32")...)
	tensor = append(tensor, field(3, "\x01\x02")...) // shape 1, 2
	request := append(field(1, "m"), field(5, string(tensor))...)
	request = append(request, field(7, "\x00\x00\x00\x3f\x00\x00\xc0\x3f")...) // raw contents
	answer := field(1, "m")
	up.mu.Lock()
	up.say = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, frame(answer))
		w.Header().Set("Grpc-Status", "0")
	}
	up.mu.Unlock()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	srv := httptest.NewUnstartedServer(b.gw.Handler())
	srv.Config.Protocols = protocols
	srv.Start()
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	call := func(key, method string, message []byte) (status, text string) {
		req, _ := http.NewRequest(http.MethodPost, srv.URL+"/inference.GRPCInferenceService/"+method, strings.NewReader(frame(message)))
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if status = resp.Trailer.Get("Grpc-Status"); status == "" {
			status = resp.Header.Get("Grpc-Status")
		}
		return status, string(body)
	}
	if status, text := call(key, "ModelInfer", request); status != "0" || text != frame(answer) {
		t.Errorf("ModelInfer: status %s, %q", status, text)
	}
	if asked, sent := up.heard(); asked != "/inference.GRPCInferenceService/ModelInfer" || sent != frame(request) {
		t.Errorf("the upstream was asked %s %q", asked, sent)
	}
	for _, tt := range []struct {
		name, key, method string
		message           []byte
		status            string
	}{
		{"wrong_key", "wdn_x", "ModelInfer", request, "16"},
		{"unknown_model", key, "ModelInfer", bytes.Replace(request, []byte("m"), []byte("n"), 1), "5"},
		{"malformed", key, "ModelInfer", request[:len(request)-1], "3"},
		{"shared_memory", key, "SystemSharedMemoryRegister", nil, "12"},
		{"repository", key, "RepositoryModelLoad", nil, "12"},
		{"live", "", "ServerLive", nil, "0"},
		{"ready", key, "ModelReady", field(1, "m"), "0"},
	} {
		if status, text := call(tt.key, tt.method, tt.message); status != tt.status {
			t.Errorf("%s: status %s %q, want %s", tt.name, status, text, tt.status)
		}
	}
	b.eventually("the records", func() bool { return len(b.Steps(monitor.Finished)) == 1 && len(b.Steps(monitor.Refused)) == 2 })
}

// The guard of answers: whole or in pieces, what must not leave does not, and
// the rest leaves as it came.
func TestGuardedAnswer(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}})
	const secret = "write to mara.lindqvist@acme-corp.io today"
	up.says(plain, fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`, secret))
	status, whole, err := b.send(key, "/v1/chat/completions", chatBody("m"))
	if status != 200 || err != nil || strings.Contains(whole, "lindqvist") || !strings.Contains(whole, "write to ") || !strings.Contains(whole, " today") {
		t.Errorf("whole: %d %v %s", status, err, whole)
	}
	for _, size := range []int{1, 2, 3, 7, 40} {
		var parts []string
		for i := 0; i < len(secret); i += size {
			parts = append(parts, "data: "+delta(secret[i:min(len(secret), i+size)])+"\n\n")
		}
		parts = append(parts, "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n")
		up.says(sse, parts...)
		status, text, err := b.send(key, "/v1/chat/completions", strings.Replace(chatBody("m"), "{", `{"stream":true,`, 1))
		var said strings.Builder
		for line := range strings.Lines(text) {
			_, rest, _ := strings.Cut(line, `"content":"`)
			piece, _, _ := strings.Cut(rest, `"`)
			said.WriteString(piece)
		}
		_, rest, _ := strings.Cut(whole, `"content":"`)
		want, _, _ := strings.Cut(rest, `"`)
		if status != 200 || err != nil || said.String() != want || !strings.HasSuffix(text, "data: [DONE]\n\n") {
			t.Errorf("pieces of %d: %d %v %q, want %q\n%s", size, status, err, said.String(), want, text)
		}
	}
	clean := fmt.Sprintf(`{ "id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}] }`, "nothing to see")
	up.says(plain, clean)
	if _, text, _ := b.send(key, "/v1/chat/completions", chatBody("m")); text != clean {
		t.Errorf("a clean answer was changed: %s", text)
	}
	b.eventually("a record of what was found", func() bool {
		all := strings.Join(b.Steps(monitor.Finished), "\n")
		return strings.Contains(all, `"guard":"redact"`) && strings.Contains(all, "WDN-EX-5") && !strings.Contains(all, "lindqvist")
	})
}

// A model that gives away what only the operator's text has is cut short.
func TestCanary(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch, Canary: true}})
	leak := true
	up.mu.Lock()
	up.say = func(w http.ResponseWriter, _ *http.Request) { // it says what it was told, or does not
		text := "fine"
		if _, rest, ok := strings.Cut(string(up.body), "Reference "); !ok {
			t.Errorf("no canary in %s", up.body)
		} else if leak {
			text, _, _ = strings.Cut(rest, " ")
		}
		answer(w, fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"it is %s"},"finish_reason":"stop"}]}`, text))
	}
	up.mu.Unlock()
	status, text, _ := b.send(key, "/v1/chat/completions", chatBody("m"))
	_, sent := up.heard()
	_, rest, _ := strings.Cut(sent, "Reference ")
	if word, _, _ := strings.Cut(rest, " "); len(word) != 16 || strings.Contains(text, word) || !strings.Contains(sent, "my secret prompt") {
		t.Errorf("the word %q came through: %d %s", word, status, text)
	}
	leak = false
	if status, text, _ := b.send(key, "/v1/chat/completions", chatBody("m")); status != 200 || !strings.Contains(text, "it is fine") {
		t.Errorf("an answer that gives nothing away: %d %s", status, text)
	}
}

// A01, A04, A07: limits hold under concurrency, small ones let the first request
// through, and what is not used comes back.
func TestLimits(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	used := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":5,"completion_tokens":8}}`
	up.says(plain, used)
	b.routes(up.URL, gateway.Route{Name: "m", Estimate: true, Limits: []limit.Rule{{Per: limit.PerKey, Unit: limit.Tokens, Amount: 100, Window: 60e9}}})
	status, text, _ := b.send(key, "/v1/chat/completions", chatBody("m"))
	if status != 200 {
		t.Fatalf("the first request of a small limit: %d %s", status, text)
	}
	if _, sent := up.heard(); !strings.Contains(sent, `"max_tokens":`) && !strings.Contains(sent, `"max_completion_tokens":`) {
		t.Errorf("the answer has no bound: %s", sent)
	}
	var ok, refused int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			status, _, _ := b.send(key, "/v1/chat/completions", `{"model":"m","max_tokens":8,"messages":[{"role":"user","content":"hi"}]}`)
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case 200:
				ok++
			case 429:
				refused++
			}
		})
	}
	wg.Wait()
	if total := (ok + 1) * 13; total > 100 || ok == 0 || ok+refused != 50 {
		t.Errorf("%d served, %d refused: %d tokens of 100", ok, refused, total)
	}
	resp, _, _ := b.post(key, `{"model":"m","max_tokens":90,"messages":[{"role":"user","content":"hi"}]}`)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || !strings.Contains(resp.Header.Get("RateLimit"), `"tokens"`) {
		t.Errorf("got %d, %v", resp.StatusCode, resp.Header)
	}
}

// When one target does not take the request, the next one does, if its own model
// is admitted.
func TestFallback(t *testing.T) {
	b, first, second := newBench(t), newDouble(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	fallback := gateway.Target{Model: "team/good", Upstream: second.URL, UpstreamModel: "second", AllowPrivate: loopback()}
	b.routes(first.URL, gateway.Route{Name: "m", Fallbacks: []gateway.Target{fallback}})
	second.says(plain, whole)
	first.mu.Lock()
	first.say = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	first.mu.Unlock()
	if status, text, _ := b.send(key, "/v1/chat/completions", chatBody("m")); status != 200 || text != whole {
		t.Errorf("busy first target: %d %s", status, text)
	}
	if _, sent := second.heard(); !strings.Contains(sent, `"second"`) || strings.Contains(sent, credential) || second.last.Header.Get("Authorization") != "" {
		t.Errorf("the second target got %s with %v", sent, second.last.Header)
	}
	first.Close()
	if status, _, _ := b.send(key, "/v1/chat/completions", chatBody("m")); status != 200 {
		t.Errorf("unreachable first target: %d", status)
	}
	fallback.Model = "team/bad"
	b.routes(first.URL, gateway.Route{Name: "m", Fallbacks: []gateway.Target{fallback}})
	if status, _, _ := b.send(key, "/v1/chat/completions", chatBody("m")); status != 502 {
		t.Errorf("a fallback to a denied model: %d, want 502", status)
	}
}

// Whoever tries many keys is not answered any more, for a while.
func TestGuesses(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	up.says(plain, whole)
	_, key := b.Key([]string{access.RoleClient})
	statuses := map[int]int{}
	for range 310 {
		status, _, _ := b.send("wdn_guess", "/v1/chat/completions", chatBody("good"))
		statuses[status]++
	}
	if statuses[401] != 300 || statuses[429] != 10 {
		t.Errorf("statuses %v, want 300 times 401 and 10 times 429", statuses)
	}
	b.Skip(time.Minute)
	b.eventually("the gateway to answer again", func() bool {
		status, _, _ := b.send(key, "/v1/chat/completions", chatBody("good"))
		return status == 200
	})
}

// What an answer cites is looked at too: sources have addresses and titles that
// somebody else wrote.
func TestCitations(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}})
	for title, kept := range map[string]bool{"The weather of May": true, "ask mara.lindqvist@acme-corp.io": false} {
		cites := fmt.Sprintf(`"annotations":[{"type":"url_citation","url_citation":{"url":"https://weather.example.org/may","title":%q,"start_index":0,"end_index":2}}]`, title)
		up.says(plain, fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"it rains",%s},"finish_reason":"stop"}]}`, cites))
		_, text, err := b.send(key, "/v1/chat/completions", chatBody("m"))
		if err != nil || strings.Contains(text, title) != kept || !strings.Contains(text, "it rains") {
			t.Errorf("whole, %q: %v %s", title, err, text)
		}
		up.says(sse, "data: "+delta("it rains")+"\n\n", fmt.Sprintf("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" today\",%s},\"finish_reason\":\"stop\"}]}\n\n", cites), "data: [DONE]\n\n")
		_, text, err = b.send(key, "/v1/chat/completions", strings.Replace(chatBody("m"), "{", `{"stream":true,`, 1))
		if err != nil || strings.Contains(text, title) != kept || !strings.Contains(text, " today") {
			t.Errorf("stream, %q: %v %s", title, err, text)
		}
	}
}

// A model that others run has no digest: the standard policies permit what the
// configuration names.
func TestProvider(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	up.says(plain, whole)
	err := b.gw.SetRoutes(gateway.FromConfig, gateway.Route{Name: "gpt", Target: gateway.Target{Provider: "openai/gpt-4o", Upstream: up.URL, AllowPrivate: loopback()}})
	if err != nil {
		t.Fatal(err)
	}
	if status, text, _ := b.send(key, "/v1/chat/completions", chatBody("gpt")); status != 200 || text != whole {
		t.Errorf("got %d %s", status, text)
	}
	b.eventually("its record", func() bool {
		return strings.Contains(strings.Join(b.Steps(monitor.Finished), ""), `"provider":"openai/gpt-4o"`)
	})
}
