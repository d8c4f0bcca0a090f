//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// canary is the credential that routes have for their upstream.
const canary = "upstream-canary-8f3a91c27b"

// An abused platform has a route for each way to misuse it, all to one upstream
// that the test plays.
type abused struct {
	*platform
	t         *testing.T
	elsewhere *http.Client // when set, requests come from another address
	admin     string       // base URL of metrics and health
	key       string       // of a client
	keyID     string
	up        *mock
	evil      *mock // must never be asked
}

// A mock is a server that says what it is told, and keeps what it heard.
type mock struct {
	*httptest.Server
	mu    sync.Mutex // guards the fields below
	say   http.HandlerFunc
	heard []heard
}

type heard struct {
	uri, host, body string
	header          http.Header
}

func newMock(t testing.TB) *mock {
	m := &mock{say: func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) }}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m.mu.Lock()
		m.heard = append(m.heard, heard{r.URL.RequestURI(), r.Host, string(b), r.Header.Clone()})
		say := m.say
		m.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		say(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mock) says(h http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.say, m.heard = h, nil
}

// took returns what came since the last says.
func (m *mock) took() []heard {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]heard(nil), m.heard...)
}

const whole = `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, body)
}

// pieces says a stream, each piece by itself.
func pieces(mediaType string, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		rc := http.NewResponseController(w)
		for _, p := range parts {
			io.WriteString(w, p)
			rc.Flush()
		}
	}
}

func cases[T any](t *testing.T, name string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "gateway", "testdata", "abuse", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := yaml.UnmarshalWithOptions(b, &out, yaml.Strict()); err != nil || len(out) == 0 {
		t.Fatalf("%s: %d cases, %v", name, len(out), err)
	}
	return out
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newAbused starts a platform. It has as many routes as there are properties,
// so that what one test uses up another does not miss.
func newAbused(t *testing.T) *abused {
	a := &abused{t: t, up: newMock(t), evil: newMock(t), admin: "http://" + freeAddress(t)}
	t.Setenv("WARDEN_ADMIN_LISTEN", strings.TrimPrefix(a.admin, "http://"))
	t.Setenv("CANARY", canary)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, a.evil.URL) // proxies of the environment are not for upstreams
	}
	t.Setenv("NO_PROXY", "none.invalid")
	t.Setenv("no_proxy", "none.invalid")
	dir := t.TempDir()
	model, config := filepath.Join(dir, "m.pkl"), filepath.Join(dir, "warden.yaml")
	write(t, model, "(dp0\nS'weight'\np1\nF0.5\ns.")
	port := a.up.URL[strings.LastIndex(a.up.URL, ":")+1:]
	var y strings.Builder
	y.WriteString("gateway:\n  routes:\n")
	route := func(name, more string) {
		fmt.Fprintf(&y, "    - {name: %s, model: team/m, upstream: %q, allow_private: [127.0.0.0/8], credential: \"env:CANARY\"%s}\n", name, a.up.URL, more)
	}
	const guarded = ", guard: {preset: standard}"
	for name, more := range map[string]string{
		"openai": "", "anthropic": ", dialect: anthropic", "gemini": ", dialect: gemini", "ollama": ", dialect: ollama", "oip": ", dialect: oip, task: classify", "embed": ", task: embed",
		"g-openai": guarded, "g-anthropic": ", dialect: anthropic" + guarded, "g-gemini": ", dialect: gemini" + guarded, "g-ollama": ", dialect: ollama" + guarded,
		"deny":     ", guard: {preset: standard, rules: {WDN-EX-501: deny}}",
		"tokens":   ", limits: [{per: identity, tokens: 100/1m}]",
		"team":     ", limits: [{per: group, tokens: 100/1m}]",
		"floor":    ", limits: [{per: identity, tokens: 100/1m}]",
		"twice":    ", limits: [{per: identity, tokens: 200/1m}]",
		"aborted":  ", limits: [{per: identity, tokens: 3000/1m}]",
		"requests": ", limits: [{per: identity, requests: 5/1m}]",
		"moved":    "",
	} {
		route(name, more)
	}
	for name, upstream := range map[string]string{
		"metadata": "http://169.254.169.254", "loopback": a.up.URL, "by-name": "http://localhost:" + port, "mapped": "http://[::ffff:127.0.0.1]:" + port,
		"loopback6": "http://[::1]:" + port, "nat64": "http://[64:ff9b::7f00:1]:" + port, "zero": "http://0.0.0.0:" + port, "metadata6": "http://[fd00:ec2::254]", "shared": "http://100.64.0.1",
	} {
		fmt.Fprintf(&y, "    - {name: ssrf-%s, model: team/m, upstream: %q}\n", name, upstream)
	}
	write(t, config, y.String())
	a.platform = start(t, "", "--config", config)
	a.must(0, "registry", "push", "team/m", model)
	a.key, a.keyID = a.newKey("client")
	a.eventually(10*time.Second, "the routes to be open", func() bool {
		status, _, _ := a.post("openai", chatOf("openai", "hi", false))
		return status == http.StatusOK
	})
	return a
}

// newKey makes a key, and returns its id.
func (a *abused) newKey(role string) (key, id string) {
	key = strings.TrimSpace(a.must(0, "access", "key", "create", "--name", "abuse", "--role", role))
	return key, strings.Split(key, "_")[1]
}

func chatOf(model, text string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":%q}]}`, model, stream, text)
}

var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// send sends a request as a client that is known, and reads the answer to its
// end. The error is that of reading: an answer that was cut.
func (a *abused) send(path, body string, headers ...string) (int, http.Header, string, error) {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPost, a.Gateway+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	use := client
	if a.elsewhere != nil {
		use = a.elsewhere
	}
	resp, err := use.Do(req)
	if err != nil {
		a.t.Errorf("%s: %v", path, err)
		return 0, http.Header{}, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

func (a *abused) post(_ string, body string) (int, string, error) {
	a.t.Helper()
	status, _, text, err := a.send("/v1/chat/completions", body)
	return status, text, err
}

// away makes requests come from another address of this machine until the
// returned function is called: wrong credentials are counted by address.
func (a *abused) away() (back func()) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 7, byte(addresses.Add(1)%200+1), 1)}}
	tr := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	a.elsewhere = &http.Client{Timeout: time.Minute, Transport: tr, CheckRedirect: client.CheckRedirect}
	return func() {
		tr.CloseIdleConnections()
		a.elsewhere = nil
	}
}

// addresses counts those that were used.
var addresses atomic.Int32

// metric returns a value of the metrics, 0 if it is not there.
func (a *abused) metric(name string) float64 {
	a.t.Helper()
	resp, err := client.Get(a.admin + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := 0.0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if at := strings.LastIndexByte(lines.Text(), ' '); at > 0 && strings.HasPrefix(lines.Text(), name) {
			v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
			if err != nil {
				a.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// serves fails the test if the server does not serve any more, or a handler
// panicked.
func (a *abused) serves(t *testing.T) {
	t.Helper()
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	if status, text, err := a.post("openai", chatOf("openai", "hi", false)); status != http.StatusOK || err != nil {
		t.Errorf("after that: %d %v %s", status, err, text)
	}
	if log := a.logs.String(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Error("a handler panicked")
	}
	if n := len(a.evil.took()); n > 0 {
		t.Errorf("a foreign server was asked %d times: %+v", n, a.evil.took()[0])
	}
}

// TestAbuse has one test for each row of the corpus of what went wrong in
// gateways: each fails if the property of its row does not hold.
func TestAbuse(t *testing.T) {
	a := newAbused(t)
	for _, row := range []struct {
		name string
		test func(*abused, *testing.T)
	}{
		{"A01_concurrent_requests_keep_to_a_token_limit", (*abused).tokenLimit},
		{"A02_concurrent_requests_keep_to_the_limit_of_a_group", (*abused).groupLimit},
		{"A04_small_limit_serves_the_first_request", (*abused).smallLimit},
		{"A05_no_path_escapes_accounting", (*abused).everyPathCounts},
		{"A06_usage_counts_once", (*abused).usageOnce},
		{"A07_aborted_streams_are_charged", (*abused).abortedIsCharged},
		{"A08_no_field_chooses_host_or_key", bodiesOf("A08")},
		{"A09_no_field_chooses_models_and_no_token_escalates", (*abused).noEscalation},
		{"A10_no_header_chooses_a_host", (*abused).headersChooseNothing},
		{"A11_loops_end_and_memory_is_bounded", (*abused).loops},
		{"A12_inside_addresses_are_not_reached", (*abused).inside},
		{"A13_administration_needs_a_credential", (*abused).administration},
		{"A14_nothing_serves_without_authentication", (*abused).alwaysAuthenticates},
		{"A15_keys_are_never_a_query", (*abused).keysAreText},
		{"A16_no_endpoint_runs_what_it_is_sent", (*abused).nothingRuns},
		{"A17_secrets_are_nowhere", (*abused).secretsAreNowhere},
		{"A18_refusals_of_credentials_are_equal", (*abused).equalRefusals},
		{"A19_references_survive_printing", (*abused).referencesSurvive},
		{"A20_each_dialect_streams", (*abused).dialectsStream},
		{"A21_streams_under_load_are_whole", (*abused).streamsAreWhole},
		{"A22_broken_streams_are_errors", (*abused).brokenStreams},
		{"A23_streams_are_guarded_alike", (*abused).guardedAlike},
		{"A24_no_cut_hides_a_secret", (*abused).noCutHides},
		{"A25_text_is_put_together_byte_for_byte", (*abused).textIsKept},
		{"A26_guards_that_cannot_look_deny", (*abused).guardsFailClosed},
		{"A27_limits_of_unknown_things_do_not_load", (*abused).limitsLoadStrictly},
		{"A28_bodies_that_parsers_disagree_about", bodiesOf("A28")},
		{"A29_shared_memory_and_repository_control", (*abused).triton},
		{"A30_upstreams_fetch_and_evaluate_nothing", bodiesOf("A30")},
		{"A31_smuggling_and_headers", (*abused).smuggling},
		{"A32_slow_clients_hold_nobody_up", (*abused).slowClients},
		{"A33_builds_repeat_and_installs_run_nothing", (*abused).supplyChain},
		{"A34_no_connection_but_configured_ones", (*abused).noOtherConnection},
	} {
		t.Run(row.name, func(t *testing.T) {
			outer := a.t
			a.t, a.platform.t = t, t
			defer func() { a.t, a.platform.t = outer, outer }()
			row.test(a, t)
			a.serves(t)
		})
	}
}

// charging plays an upstream that counts what it was asked for: it uses up all
// that a request was allowed.
func charging(used *atomic.Int64, prompt, output int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		used.Add(prompt + output)
		time.Sleep(20 * time.Millisecond) // so that all of them run at once
		reply(w, fmt.Sprintf(`{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"length"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, prompt, output, prompt+output))
	}
}

// raced sends n requests at once and returns what the upstream counted.
func (a *abused) raced(t *testing.T, route string, n int, keys ...string) int64 {
	var used, refused atomic.Int64
	a.up.says(charging(&used, 10, 5)) // "hi" is two bytes, and a message eight more
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			status, _, text, err := a.send("/v1/chat/completions", fmt.Sprintf(`{"model":%q,"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, route), "Authorization", "Bearer "+keys[i%len(keys)])
			switch {
			case status == http.StatusTooManyRequests:
				refused.Add(1)
			case status != http.StatusOK || err != nil:
				t.Errorf("%d %v %s", status, err, text)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("no request was refused")
	}
	return used.Load()
}

func (a *abused) tokenLimit(t *testing.T) {
	if used := a.raced(t, "tokens", 50, a.key); used > 100 || used < 75 {
		t.Errorf("%d tokens of 100 were used", used)
	}
}

func (a *abused) groupLimit(t *testing.T) {
	var keys []string
	for _, name := range []string{"g1", "g2", "g3"} {
		a.must(0, "access", "user", "add", "user:"+name, "--role", "client")
		keys = append(keys, strings.TrimSpace(a.must(0, "access", "key", "create", "--name", name, "--role", "client", "--user", "user:"+name)))
	}
	a.must(0, "access", "group", "add", "crew", "user:g1", "user:g2", "user:g3", "--role", "client")
	if used := a.raced(t, "team", 50, keys...); used > 100 || used < 75 {
		t.Errorf("%d tokens of 100 were used by three members of a group", used)
	}
}

func (a *abused) smallLimit(t *testing.T) {
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	status, text, _ := a.post("floor", chatOf("floor", "hi", false)) // names no bound: 1,024 would be reserved
	if status != http.StatusOK {
		t.Fatalf("the first request: %d %s", status, text)
	}
	if h := a.up.took(); len(h) != 1 || !strings.Contains(h[0].body, `"max_tokens":90`) && !strings.Contains(h[0].body, `"max_completion_tokens":90`) {
		t.Errorf("the upstream was not told the bound that is left: %+v", h)
	}
}

func (a *abused) everyPathCounts(t *testing.T) {
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	before := a.metric(`warden_gateway_requests_total{dialect="openai",effect="allow",reason="",route="requests"}`) + a.metric(`warden_gateway_requests_total{dialect="anthropic",effect="allow",reason="",route="requests"}`)
	ok := 0
	for range 3 { // a client of another dialect uses up the same limit
		for path, body := range map[string]string{
			"/v1/chat/completions": chatOf("requests", "hi", false),
			"/v1/messages":         `{"model":"requests","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
		} {
			if status, _, text, _ := a.send(path, body); status == http.StatusOK {
				ok++
			} else if status != http.StatusTooManyRequests {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	}
	n := a.metric(`warden_gateway_requests_total{dialect="openai",effect="allow",reason="",route="requests"}`) + a.metric(`warden_gateway_requests_total{dialect="anthropic",effect="allow",reason="",route="requests"}`) - before
	if ok != 5 || len(a.up.took()) != 5 || n != 5 {
		t.Errorf("%d answers, the upstream was asked %d times, %v were counted; the limit is 5", ok, len(a.up.took()), n)
	}
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	for _, path := range []string{
		"/v1/completions", "/v1/audio/speech", "/v1/images/generations", "/v1/files", "/v1/fine_tuning/jobs", "/v1/batches", "/v1/assistants", "/v1/moderations", "/v1/rerank", "/v1/realtime",
		"/openai/v1/chat/completions", "/anthropic/v1/messages", "/passthrough/x", "/v1/chat/completions/", "/V1/chat/completions", "/v1/chat/completions%20", "/v1/chat/completions;a",
		"/v1/complete", "/v1/messages/batches", "/v1beta/models/gemini:batchGenerateContent", "/v1beta/cachedContents", "/api/create", "/api/pull", "/api/push", "/api/copy", "/api/delete", "/api/blobs/x", "/", "",
	} {
		if status, _, text, _ := a.send(path, chatOf("openai", "hi", false)); status != http.StatusNotFound && status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", path, status, text)
		}
	}
	if h := a.up.took(); len(h) > 0 {
		t.Errorf("the upstream was asked %s", h[0].uri)
	}
}

const chunk = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n"

const chunkEnd = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

func (a *abused) usageOnce(t *testing.T) {
	const usage = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":8,\"total_tokens\":20}}\n\n"
	a.up.says(pieces("text/event-stream", fmt.Sprintf(chunk, "a"), usage, usage, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":8,\"total_tokens\":20}}\n\ndata: [DONE]\n\n"))
	if status, text, err := a.post("twice", chatOf("twice", "hi", true)); status != http.StatusOK || err != nil {
		t.Fatalf("%d %v %s", status, err, text)
	}
	a.eventually(2*time.Second, "the settlement", func() bool { return a.metric(`warden_gateway_tokens_total{kind="output",route="twice"}`) == 8 })
	if n := a.metric(`warden_gateway_tokens_total{kind="input",route="twice"}`); n != 12 {
		t.Errorf("%v tokens were counted, the upstream counted 12", n)
	}
	// 180 of 200 are left: a request for all of them passes, one token more does not.
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	for _, tt := range []struct{ most, want int }{{171, http.StatusTooManyRequests}, {170, http.StatusOK}} {
		if status, text, _ := a.post("twice", fmt.Sprintf(`{"model":"twice","max_tokens":%d,"messages":[{"role":"user","content":"hi"}]}`, tt.most)); status != tt.want {
			t.Errorf("a request for %d: %d %s", tt.most+10, status, text)
		}
	}
}

func (a *abused) abortedIsCharged(t *testing.T) {
	gone := make(chan struct{})
	a.up.says(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for range 30 {
			fmt.Fprintf(w, chunk, strings.Repeat("word", 10))
			rc.Flush()
		}
		<-r.Context().Done() // the gateway hangs up when its client does
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, a.Gateway+"/v1/chat/completions", strings.NewReader(`{"model":"aborted","stream":true,"max_tokens":500,"messages":[{"role":"user","content":"`+strings.Repeat("x", 92)+`"}]}`))
	req.Header.Set("Authorization", "Bearer "+a.key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines, n := bufio.NewScanner(resp.Body), 0; n < 30 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			n++
		}
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the upstream goes on though the client is gone")
	}
	a.eventually(5*time.Second, "the charge", func() bool { return a.metric(`warden_gateway_tokens_total{kind="output",route="aborted"}`) > 0 })
	in, out := a.metric(`warden_gateway_tokens_total{kind="input",route="aborted"}`), a.metric(`warden_gateway_tokens_total{kind="output",route="aborted"}`)
	if in != 100 || out != 300 {
		t.Errorf("%v and %v tokens were charged, want the prompt's 100 and a quarter of the 1,200 bytes that came", in, out)
	}
}

// bodiesOf sends the bodies of a row: each is refused, and neither the upstream
// nor anybody else is asked.
func bodiesOf(row string) func(*abused, *testing.T) {
	return func(a *abused, t *testing.T) {
		a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
		n := 0
		for _, c := range cases[struct{ Row, Name, Path, Body string }](t, "bodies.yaml") {
			if c.Row != row {
				continue
			}
			n++
			status, _, text, err := a.send(c.Path, strings.ReplaceAll(c.Body, "EVIL", a.evil.URL))
			if status != http.StatusBadRequest || err != nil || !strings.HasPrefix(text, "{") {
				t.Errorf("%s: %d %v %s, want 400", c.Name, status, err, text)
			}
		}
		if n == 0 {
			t.Fatal("no bodies")
		}
		for _, h := range a.up.took() {
			t.Errorf("the upstream was asked %s %s", h.uri, h.body)
		}
	}
}
