package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is a gateway over a real registry, with one upstream.
type bench struct {
	*servertest.Platform
	gw     *gateway.Gateway
	url    string
	client *http.Client

	mu       sync.Mutex // guards the fields below
	upstream http.HandlerFunc
	seen     []*http.Request
	bodies   []string
}

const credential = "upstream-secret-1234567890"

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func newBench(t testing.TB, change ...func(*gateway.Config)) *bench {
	t.Helper()
	b := &bench{Platform: servertest.New(t), client: &http.Client{Timeout: 20 * time.Second}}
	b.upstream = func(w http.ResponseWriter, _ *http.Request) { answer(w, whole) }
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.seen, b.bodies = append(b.seen, r), append(b.bodies, string(body))
		serve := b.upstream
		b.mu.Unlock()
		serve(w, r)
	}))
	cfg := gateway.Config{Registry: b.Registry, Judge: b.Judge, Access: b.Access, Traffic: b.Traffic, Archive: b.Archive, Now: b.Now, Idle: 2 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if b.gw, err = gateway.New(cfg); err != nil {
		t.Fatal(err)
	}
	b.Admit("team/good", "m.pkl", []byte(servertest.Clean))
	b.Admit("team/bad", "m.pkl", []byte(servertest.Hostile))
	b.Push("team/pending", "p.pkl", []byte("(dp0\nS'pending'\np1\nF0.5\ns."))
	var routes []gateway.Route
	for name, model := range map[string]string{"good": "team/good", "bad": "team/bad", "pending": "team/pending", "unknown": "team/unknown", "other": "team/good"} {
		routes = append(routes, gateway.Route{Name: name, Target: gateway.Target{Model: model, Upstream: up.URL + "/v1", UpstreamModel: "real-" + name, Credential: credential, AllowPrivate: loopback()}})
	}
	if err := b.gw.SetRoutes(gateway.FromConfig, routes...); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b.gw.Handler())
	b.url = srv.URL
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.gw.Serve(ctx) })
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		srv.Close()
		stop()
		wg.Wait()
		up.Close()
		b.gw.Close()
	})
	b.eventually("the gateway to be open", func() bool {
		for _, s := range b.gw.Routes(t.Context()) {
			if s.Name == "good" {
				return s.Open
			}
		}
		return false
	})
	return b
}

// serve sets what the upstream does from now on. Connections that served
// something else are closed: one that is closing would fail the next request.
func (b *bench) serve(h http.HandlerFunc) {
	b.mu.Lock()
	b.upstream = h
	b.mu.Unlock()
	b.gw.Close()
}

func (b *bench) eventually(what string, ok func() bool) {
	b.T.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.T.Fatalf("waited in vain for %s", what)
}

const whole = `{ "id":"x","choices":[{"message":{"role":"assistant","content":"Grüße"}}],"usage":{"prompt_tokens":3,"completion_tokens":4} }`

func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "account=7")
	w.Header().Set("Server", "vendor")
	io.WriteString(w, body)
}

func chatBody(model string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"my secret prompt"}]}`, model)
}

// post sends a request and returns everything of the answer; err is that of
// reading the body.
func (b *bench) post(key, body string, headers ...string) (*http.Response, string, error) {
	b.T.Helper()
	req, err := http.NewRequest(http.MethodPost, b.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		b.T.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func TestWhole(t *testing.T) {
	b := newBench(t)
	_, key := b.Key([]string{access.RoleClient})
	resp, text, err := b.post(key, chatBody("good"), "Cookie", "a=b", "X-Api-Key", key, "OpenAI-Organization", "o", "X-Forwarded-For", "1.2.3.4", "Traceparent", "00-1")
	if err != nil || resp.StatusCode != http.StatusOK || text != whole {
		t.Fatalf("got %d %v %q, want the bytes of the upstream", resp.StatusCode, err, text)
	}
	for _, name := range []string{"Set-Cookie", "Server"} {
		if v := resp.Header.Get(name); v != "" {
			t.Errorf("header %s of the upstream came through: %q", name, v)
		}
	}
	if want := strings.Replace(chatBody("good"), `"good"`, `"real-good"`, 1); b.bodies[0] != want {
		t.Errorf("upstream got %q, want %q", b.bodies[0], want)
	}
	for name, values := range b.seen[0].Header {
		switch name {
		case "Content-Type", "Accept", "User-Agent", "Content-Length", "Via":
		case "Authorization":
			if values[0] != "Bearer "+credential {
				t.Errorf("upstream got Authorization %q", values[0])
			}
		default:
			t.Errorf("header %s reached the upstream: %q", name, values)
		}
		if strings.Contains(strings.Join(values, " "), key) {
			t.Errorf("the client's key reached the upstream in %s", name)
		}
	}
	b.eventually("the records", func() bool { return len(b.Steps(monitor.Finished)) == 1 })
	for _, rec := range append(b.Steps(monitor.Finished), b.Steps(monitor.Admitted)...) {
		if strings.Contains(rec, "secret prompt") || strings.Contains(rec, "Grüße") || strings.Contains(rec, key) {
			t.Errorf("a record holds content: %s", rec)
		}
	}
	if rec := b.Steps(monitor.Finished)[0]; !strings.Contains(rec, `"input_tokens":3`) || !strings.Contains(rec, `"end":"complete"`) {
		t.Errorf("finish record: %s", rec)
	}
}

// delta is an event's data of a chat stream.
func delta(text string) string {
	return fmt.Sprintf(`{"id":"x","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, text)
}

func events(w http.ResponseWriter, texts ...string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, s := range texts {
		io.WriteString(w, s)
		http.NewResponseController(w).Flush()
	}
}

func TestStream(t *testing.T) {
	b := newBench(t)
	_, key := b.Key([]string{access.RoleClient})
	for name, parts := range map[string][]string{
		"lf":   {": hello\n\n", "data: " + delta("a") + "\n\n", "id: 7\ndata: {\"id\":\"x\",\ndata: \"choices\":[]}\n\n", "data: " + delta("") + "\n\ndata: [DONE]\n\n"},
		"crlf": {"data: " + delta("a") + "\r\n\r\nda", "ta: " + delta("b") + "\r\n\r", "\ndata: [DONE]\r\n\r\n"},
		"cr":   {"data: " + delta("a") + "\r\rdata: " + delta("b") + "\r", "\rdata: [DONE]\r\r"},
		"big":  {"data: " + delta(strings.Repeat("x", 600<<10)) + "\n\n", "data: [DONE]\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b.serve(func(w http.ResponseWriter, _ *http.Request) { events(w, parts...) })
			resp, text, err := b.post(key, chatBody("good"))
			if want := strings.Join(parts, ""); err != nil || resp.StatusCode != 200 || text != want {
				t.Errorf("got %d %v %.200q, want %.200q", resp.StatusCode, err, text, want)
			}
		})
	}
}

// What an upstream does wrong never looks like a short success.
func TestBadUpstream(t *testing.T) {
	b := newBench(t, func(c *gateway.Config) { c.Idle = 300 * time.Millisecond })
	_, key := b.Key([]string{access.RoleClient})
	hang := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	type handler = http.HandlerFunc
	for name, up := range map[string]handler{
		"truncated_json": func(w http.ResponseWriter, _ *http.Request) { answer(w, whole[:60]) },
		"two_values":     func(w http.ResponseWriter, _ *http.Request) { answer(w, whole+whole) },
		"duplicate_name": func(w http.ResponseWriter, _ *http.Request) { answer(w, `{"choices":[],"choices":[]}`) },
		"not_an_object":  func(w http.ResponseWriter, _ *http.Request) { answer(w, `[]`) },
		"empty":          func(w http.ResponseWriter, _ *http.Request) { answer(w, ``) },
		"garbage":        func(w http.ResponseWriter, _ *http.Request) { answer(w, "<html>hello</html>") },
		"short_of_length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			answer(w, whole)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"no_content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"accepted":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); io.WriteString(w, whole) },
		"unauthorized": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			io.WriteString(w, `{"error":{"message":"key sk-1"}}`)
		},
		"error_page": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "goroutine 1 [running]", 500) },
		"error_huge": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, `{"error":"`+strings.Repeat("x", 70<<10)+`"}`)
		},
		"huge":             func(w http.ResponseWriter, _ *http.Request) { answer(w, `{"a":"`+strings.Repeat("x", 17<<20)+`"}`) },
		"echoes_our_key":   func(w http.ResponseWriter, r *http.Request) { answer(w, `{"a":"`+r.Header.Get("Authorization")+`"}`) },
		"silent":           func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"silent_body":      hang,
		"drops_connection": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			b.serve(up)
			resp, text, err := b.post(key, chatBody("good"))
			if err != nil || resp.StatusCode != http.StatusBadGateway || !strings.Contains(text, `"upstream_error"`) {
				t.Errorf("got %d %v %.200q, want 502 in the dialect", resp.StatusCode, err, text)
			}
			if strings.Contains(text, credential) || strings.Contains(text, "127.0.0.1") {
				t.Errorf("the answer says too much: %q", text)
			}
		})
	}
	for name, up := range map[string]handler{
		"no_end":       func(w http.ResponseWriter, _ *http.Request) { events(w, "data: "+delta("a")+"\n\n") },
		"done_unended": func(w http.ResponseWriter, _ *http.Request) { events(w, "data: "+delta("a")+"\n\ndata: [DONE]\n") },
		"dies_mid_event": func(w http.ResponseWriter, _ *http.Request) {
			events(w, "data: "+delta("a")+"\n\ndata: b")
			panic(http.ErrAbortHandler)
		},
		"event_too_big": func(w http.ResponseWriter, _ *http.Request) {
			events(w, "data: "+delta("a")+"\n\ndata: "+strings.Repeat("x", 1<<20+1)+"\n\ndata: [DONE]\n\n")
		},
		"goes_silent": func(w http.ResponseWriter, r *http.Request) {
			events(w, "data: "+delta("a")+"\n\n")
			<-r.Context().Done()
		},
		"echoes_our_key": func(w http.ResponseWriter, r *http.Request) {
			events(w, "data: "+delta("a")+"\n\ndata: "+credential+"\n\ndata: [DONE]\n\n")
		},
		"empty": func(w http.ResponseWriter, _ *http.Request) { events(w) },
	} {
		t.Run("stream_"+name, func(t *testing.T) {
			b.serve(up)
			_, text, err := b.post(key, chatBody("good"))
			if err == nil || !strings.Contains(text, `"cut_upstream"`) || strings.Contains(text, "data: [DONE]\n\n") || strings.Contains(text, credential) {
				t.Errorf("got %v %.200q, want an error event and a broken connection", err, text)
			}
		})
	}
	t.Run("error_of_the_dialect_passes", func(t *testing.T) {
		const body = `{"error":{"message":"slow down","type":"rate_limit"}}`
		b.serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
			io.WriteString(w, body)
		})
		if resp, text, _ := b.post(key, chatBody("good")); resp.StatusCode != 429 || text != body || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("got %d %q", resp.StatusCode, text)
		}
	})
	t.Run("impossible_usage", func(t *testing.T) { // a number that the audit log cannot hold must not stop it
		b.serve(func(w http.ResponseWriter, _ *http.Request) {
			answer(w, `{"choices":[],"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}}`)
		})
		before := len(b.Steps(monitor.Finished))
		if resp, _, _ := b.post(key, chatBody("good")); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
		b.eventually("the record", func() bool { return len(b.Steps(monitor.Finished)) > before })
	})
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	admin, adminKey := b.Key([]string{access.RoleAdmin})
	_, client := b.Key([]string{access.RoleClient})
	_, reader := b.Key([]string{access.RoleReader})
	_, limited := b.Key([]string{access.RoleClient}, "other")
	revoked, revokedKey := b.Key([]string{access.RoleClient})
	if _, err := b.Access.RevokeKey(t.Context(), revoked.ID, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	_ = admin
	big := `{"model":"good","messages":[{"role":"user","content":"` + strings.Repeat("x", 8<<20) + `"}]}`
	deep := `{"model":"good","messages":[{"role":"user","content":"x"}],"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`
	remote := `{"model":"good","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}]}]}`
	for _, tt := range []struct {
		name, key, body string
		status          int
		code            string
	}{
		// The order is fixed: a credential first, then the body, then the route,
		// then the right to it, then its model.
		{"no_key", "", big, 401, "invalid_api_key"},
		{"wrong_key", "wdn_aaaa", big, 401, "invalid_api_key"},
		{"revoked_key", revokedKey, chatBody("good"), 401, "invalid_api_key"},
		{"damaged_key", client[:len(client)-1] + "x", chatBody("good"), 401, "invalid_api_key"},
		{"too_large", client, big, 413, "body_too_large"},
		{"too_deep", client, deep, 413, "body_too_complex"},
		{"not_json", client, `{"model":`, 400, "invalid_body"},
		{"duplicate_model", client, `{"model":"good","model":"bad","messages":[{"role":"user"}]}`, 400, "invalid_body"},
		{"folded_model", client, `{"model":"good","Model":"bad","messages":[{"role":"user"}]}`, 400, "invalid_body"},
		{"escaped_name", client, `{"mode\u006c":"good","messages":[{"role":"user"}]}`, 400, "invalid_body"},
		{"foreign_base", client, `{"model":"good","api_base":"http://evil","messages":[{"role":"user"}]}`, 400, "invalid_body"},
		{"remote_image", client, remote, 400, "invalid_body"},
		{"no_such_route", client, chatBody("nowhere"), 404, "model_not_found"},
		{"route_not_of_key", limited, chatBody("good"), 404, "model_not_found"},
		{"role_may_not", reader, chatBody("good"), 403, "denied"},
		{"role_may_not_closed", reader, chatBody("bad"), 403, "denied"},
		{"denied_model", client, chatBody("bad"), 503, "model_not_admitted"},
		{"pending_model", client, chatBody("pending"), 503, "model_not_admitted"},
		{"unregistered_model", client, chatBody("unknown"), 503, "model_not_admitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, text, _ := b.post(tt.key, tt.body)
			var e struct {
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(text), &e); err != nil || resp.StatusCode != tt.status || e.Error.Code != tt.code || e.Error.Message == "" || e.Error.Type == "" {
				t.Errorf("got %d %q, want %d with code %s", resp.StatusCode, text, tt.status, tt.code)
			}
			if tt.key == client && strings.Contains(text, "malicious") {
				t.Errorf("a client that may not read the registry is told %q", text)
			}
		})
	}
	if len(b.seen) != 0 {
		t.Errorf("%d refused requests reached the upstream", len(b.seen))
	}
	if resp, text, _ := b.post(adminKey, chatBody("bad")); resp.StatusCode != 503 || !strings.Contains(text, "malicious") {
		t.Errorf("who may read the registry is told why: %d %q", resp.StatusCode, text)
	}
	b.eventually("a record of each refusal after the credential", func() bool { return len(b.Steps(monitor.Refused)) == 16 })
	if _, text, _ := b.post(limited, chatBody("other")); text != whole {
		t.Errorf("the route of a limited key: %q", text)
	}
	t.Run("401_are_equal", func(t *testing.T) {
		_, a, _ := b.post("", chatBody("good"))
		_, c, _ := b.post(revokedKey, chatBody("good"))
		if a != c {
			t.Errorf("%q and %q differ", a, c)
		}
	})
	t.Run("expired", func(t *testing.T) {
		b.Skip(access.DefaultKeyTTL + time.Second)
		defer b.Skip(-access.DefaultKeyTTL - time.Second)
		if resp, _, _ := b.post(client, chatBody("good")); resp.StatusCode != 401 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestPaths(t *testing.T) {
	b := newBench(t)
	_, key := b.Key([]string{access.RoleClient})
	host := strings.TrimPrefix(b.url, "http://")
	for target, want := range map[string]string{
		"POST /v1/chat/completions/":          "404",
		"POST //v1/chat/completions":          "404",
		"POST /v1/../v1/chat/completions":     "404",
		"POST /v1/chat%2Fcompletions":         "404",
		"POST /v1/chat/completions%3F":        "404",
		"POST /V1/chat/completions":           "404",
		"POST http://h/v1/chat/completions":   "404",
		"POST /api/create":                    "404",
		"GET /v1/chat/completions":            "405",
		"CONNECT 169.254.169.254:80":          "404",
		"DELETE /v1/models":                   "405",
		"POST /v1/chat/completions?model=bad": "200",
	} {
		status, err := rawRequest(host, target+" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "+key+fmt.Sprintf("\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(chatBody("good")), chatBody("good")))
		if err != nil || status != want {
			t.Errorf("%s: %s %v, want %s", target, status, err, want)
		}
	}
	t.Run("smuggling", func(t *testing.T) {
		for _, head := range []string{"Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: xchunked", "X: a\x00b"} {
			status, err := rawRequest(host, "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "+key+"\r\n"+head+"\r\n\r\n0\r\n\r\n")
			if err != nil || (status != "400" && status != "501") {
				t.Errorf("%q: %s %v, want 400 or 501", head, status, err)
			}
		}
	})
	t.Run("loop", func(t *testing.T) {
		b.post(key, chatBody("good"))
		via := b.seen[len(b.seen)-1].Header.Get("Via")
		n := len(b.seen)
		if resp, _, _ := b.post(key, chatBody("good"), "Via", "1.1 proxy, "+via); resp.StatusCode != http.StatusLoopDetected || len(b.seen) != n {
			t.Errorf("own name in Via: status %d", resp.StatusCode)
		}
		b.post(key, chatBody("good"), "Via", "1.1 evil\tname, 1.1 warden-x")
		if got := b.seen[len(b.seen)-1].Header.Get("Via"); got != via {
			t.Errorf("Via %q of a client went on", got)
		}
	})
	t.Run("models_are_those_that_may_be_queried", func(t *testing.T) {
		_, limited := b.Key([]string{access.RoleClient}, "other", "bad")
		for k, want := range map[string]int{key: 2, limited: 1} {
			req, _ := http.NewRequest(http.MethodGet, b.url+"/v1/models", nil)
			req.Header.Set("X-Api-Key", k)
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var list struct{ Data []struct{ ID string } }
			json.NewDecoder(resp.Body).Decode(&list)
			resp.Body.Close()
			if len(list.Data) != want {
				t.Errorf("models: %v, want %d", list.Data, want)
			}
		}
	})
}

// A stream whose model is quarantined ends with an error event and a broken
// connection; the next request is refused.
func TestQuarantineMidStream(t *testing.T) {
	b := newBench(t)
	_, key := b.Key([]string{access.RoleClient})
	var more atomic.Bool
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; !more.Load() && r.Context().Err() == nil; i++ {
			events(w, "data: "+delta(fmt.Sprint(i))+"\n\n")
			time.Sleep(5 * time.Millisecond)
		}
		events(w, "data: [DONE]\n\n")
	})
	v, err := b.Registry.Find(t.Context(), "team/good")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPost, b.url+"/v1/chat/completions", strings.NewReader(chatBody("good")))
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := b.Registry.Quarantine(t.Context(), v.Digest, "drill", servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in)
	if err == nil || !strings.Contains(string(rest), `"withdrawn"`) || time.Since(began) > time.Second {
		t.Errorf("after %v: %v %.300q, want a cut within a second", time.Since(began), err, rest)
	}
	more.Store(true)
	if resp, text, _ := b.post(key, chatBody("good")); resp.StatusCode != 503 {
		t.Errorf("after the quarantine: %d %q", resp.StatusCode, text)
	}
	b.eventually("the record", func() bool {
		return len(b.Steps(monitor.Finished)) == 1 && strings.Contains(b.Steps(monitor.Finished)[0], "withdrawn")
	})
	t.Run("whole_answer_is_not_given_out", func(t *testing.T) {
		if _, err := b.Registry.Release(t.Context(), v.Digest, "over", servertest.Admin()); err != nil {
			t.Fatal(err)
		}
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if _, err := b.Registry.Quarantine(context.WithoutCancel(r.Context()), v.Digest, "drill", servertest.Admin()); err != nil {
				t.Error(err)
			}
			answer(w, whole)
		})
		if resp, text, _ := b.post(key, chatBody("good")); resp.StatusCode != 503 || strings.Contains(text, "Grüße") {
			t.Errorf("got %d %q", resp.StatusCode, text)
		}
	})
}

func TestRegistryUnreachable(t *testing.T) {
	b := newBench(t, func(c *gateway.Config) { c.MaxStale = 400 * time.Millisecond })
	_, key := b.Key([]string{access.RoleClient})
	stop := make(chan struct{})
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		for {
			events(w, "data: "+delta("a")+"\n\n")
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	defer close(stop)
	time.AfterFunc(50*time.Millisecond, func() { b.Down.Store(true) })
	_, text, err := b.post(key, chatBody("good"))
	if err == nil || !strings.Contains(text, `"withdrawn"`) {
		t.Errorf("running stream: %v %.200q, want a cut", err, text)
	}
	if resp, text, _ := b.post(key, chatBody("good")); resp.StatusCode != 503 || strings.Contains(text, "db.internal") {
		t.Errorf("got %d %q, want 503 without inner names", resp.StatusCode, text)
	}
	b.Down.Store(false)
	b.serve(func(w http.ResponseWriter, _ *http.Request) { answer(w, whole) })
	b.eventually("the gateway to open again", func() bool { _, text, _ := b.post(key, chatBody("good")); return text == whole })
	t.Run("clock_set_back", func(t *testing.T) { // what was fresh in the future is not fresh now
		b.Down.Store(true)
		defer b.Down.Store(false)
		b.Skip(-time.Hour)
		defer b.Skip(time.Hour)
		if resp, _, _ := b.post(key, chatBody("good")); resp.StatusCode != 503 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// Without a place in the audit log nothing is forwarded.
func TestAuditFull(t *testing.T) {
	b := newBench(t, func(c *gateway.Config) { c.MaxStale, c.Waiting = time.Hour, 1000 })
	_, key := b.Key([]string{access.RoleClient})
	b.Down.Store(true) // records cannot be written and pile up
	full := false
	for range 600 {
		resp, text, _ := b.post(key, chatBody("good"))
		if resp.StatusCode == 503 && strings.Contains(text, "audit_unavailable") {
			full = true
			break
		}
	}
	if !full {
		t.Error("requests are served although no record of them can be kept")
	}
	n := len(b.seen)
	if resp, _, _ := b.post(key, chatBody("good")); resp.StatusCode != 503 || len(b.seen) != n {
		t.Errorf("status %d; %d requests forwarded", resp.StatusCode, len(b.seen)-n)
	}
	b.Down.Store(false)
	b.eventually("the gateway to serve again", func() bool { resp, _, _ := b.post(key, chatBody("good")); return resp.StatusCode == 200 })
	b.eventually("all records", func() bool { return len(b.Steps(monitor.Finished)) >= 499 })
}
