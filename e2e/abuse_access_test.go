//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite"
)

func (a *abused) noEscalation(t *testing.T) {
	bodiesOf("A09")(a, t)
	enc := base64.RawURLEncoding.EncodeToString
	claims := enc(fmt.Appendf(nil, `{"iss":%q,"aud":"warden","sub":"admin","roles":["admin"],"groups":["admin"],"exp":%d}`, a.evil.URL, time.Now().Add(time.Hour).Unix()))
	signed := func(head string) string {
		text := enc([]byte(head)) + "." + claims
		m := hmac.New(sha256.New, []byte("public"))
		m.Write([]byte(text))
		return text + "." + enc(m.Sum(nil))
	}
	for name, token := range map[string]string{
		"none": enc([]byte(`{"alg":"none"}`)) + "." + claims + ".", "hmac": signed(`{"alg":"HS256"}`), "foreign_keys": signed(fmt.Sprintf(`{"alg":"RS256","jku":"%s/keys","kid":"x"}`, a.evil.URL)),
	} {
		if status, _, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer "+token); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if status, _ := request(t, http.MethodGet, a.API+"/api/v1/keys", token, ""); status != http.StatusUnauthorized {
			t.Errorf("%s at the API: %d", name, status)
		}
	}
	if n := len(a.up.took()); n > 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func (a *abused) headersChooseNothing(t *testing.T) {
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	evil := strings.TrimPrefix(a.evil.URL, "http://")
	set := []string{
		"X-Portkey-Custom-Host", a.evil.URL, "X-Portkey-Config", `{"custom_host":"` + a.evil.URL + `"}`, "X-Portkey-Provider", "openai", "X-Litellm-Api-Base", a.evil.URL, "X-Bf-Base-Url", a.evil.URL,
		"X-Forwarded-Host", evil, "X-Forwarded-For", "10.0.0.1", "Forwarded", "host=" + evil, "X-Real-Ip", "10.0.0.1", "X-Original-Url", a.evil.URL, "X-Rewrite-Url", "/admin", "X-Api-Base", a.evil.URL,
		"Openai-Organization", "org-x", "Cookie", "a=b", "Proxy-Authorization", "Basic eDp5", "X-Goog-Api-Key", "client-key", "X-Api-Key", "client-key", "Host", evil, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Connection", "X-Secret", "X-Secret", "x", "Te", "trailers", "X-Http-Method-Override", "GET",
	}
	if status, _, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false), set...); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	got := a.up.took()
	if len(got) != 1 {
		t.Fatalf("the upstream was asked %d times", len(got))
	}
	for i := 0; i < len(set); i += 2 {
		if v := got[0].header.Get(set[i]); v != "" {
			t.Errorf("the upstream was sent %s: %s", set[i], v)
		}
	}
	if got[0].host != strings.TrimPrefix(a.up.URL, "http://") || got[0].header.Get("Authorization") != "Bearer "+canary {
		t.Errorf("the upstream was asked as %q with %q", got[0].host, got[0].header.Get("Authorization"))
	}
}

func (a *abused) loops(t *testing.T) {
	// An upstream that sends what it gets back to the gateway, as it came.
	var inner sync.Map
	a.up.says(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		status, _, text, _ := a.send("/v1/chat/completions", string(b), "Via", r.Header.Get("Via"))
		inner.Store(status, text)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
	status, text, _ := a.post("openai", chatOf("openai", "hi", false))
	if _, met := inner.Load(http.StatusLoopDetected); !met || status == http.StatusOK {
		t.Errorf("a request that came back: %d %s, want 508 inside", status, text)
	}
	if n := len(a.up.took()); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	var hops []string
	for range 4 {
		hops = append(hops, "1.1 warden-"+strings.Repeat("ABCDEFGHIJKLM", 2)) // other gateways
	}
	if status, _, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Via", strings.Join(hops, ", ")); status != http.StatusLoopDetected {
		t.Errorf("after four gateways: %d %s", status, text)
	}
	// Whatever clients make up does not stay in memory.
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	ask := func(n int) {
		for i := range n {
			name := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 4000))
			a.send("/v1/chat/completions", chatOf("openai", "hi", false), "X-Forwarded-Host", name, "X-Portkey-Custom-Host", "http://"+name, "User-Agent", name)
			a.send("/v1/chat/completions", chatOf("no-such-"+name, "hi", false))
			a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer wdn_"+name)
			a.send("/v1/"+name, chatOf("openai", "hi", false))
		}
	}
	ask(300)
	before := memory(t, a.cmd.Process.Pid)
	ask(1500)
	if after := memory(t, a.cmd.Process.Pid); after > before+64<<20 {
		t.Errorf("memory grew from %d to %d MiB", before>>20, after>>20)
	}
}

// memory returns the bytes of memory that a process has; the test is skipped
// where that cannot be told.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("the memory of processes cannot be read here: it was not looked at")
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func (a *abused) inside(t *testing.T) {
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	for _, name := range []string{"metadata", "loopback", "by-name", "mapped", "loopback6", "nat64", "zero", "metadata6", "shared"} {
		begun := time.Now()
		status, text, _ := a.post("", chatOf("ssrf-"+name, "hi", false))
		if status != http.StatusBadGateway || strings.Contains(text, "127.") || strings.Contains(text, "169.") {
			t.Errorf("%s: %d %s, want 502 without an address", name, status, text)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: refused after %v: it was dialled", name, took)
		}
	}
	if n := len(a.up.took()); n > 0 {
		t.Errorf("an inside address was asked %d times", n)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		a.up.says(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", a.evil.URL+"/latest/meta-data")
			w.WriteHeader(status)
		})
		if got, h, text, _ := a.send("/v1/chat/completions", chatOf("moved", "hi", false)); got != http.StatusBadGateway || h.Get("Location") != "" {
			t.Errorf("a redirect with %d: %d %s", status, got, text)
		}
	}
}

// operations lists what the API can do, as it says itself.
func (a *abused) operations() (out [][2]string) {
	a.platform.t.Helper()
	_, b := request(a.platform.t, http.MethodGet, a.API+"/api/openapi.json", a.Key, "")
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || len(doc.Paths) < 20 {
		a.platform.t.Fatalf("%d paths, %v", len(doc.Paths), err)
	}
	for path, ops := range doc.Paths {
		for method := range ops {
			if method != "parameters" {
				out = append(out, [2]string{strings.ToUpper(method), path})
			}
		}
	}
	return out
}

func (a *abused) administration(t *testing.T) {
	open := map[string]bool{"GET /api/v1/health": true, "GET /api/v1/login": true, "POST /api/v1/session": true}
	place := regexp.MustCompile(`\{[^}]*\}`)
	for _, op := range a.operations() {
		if regexp.MustCompile(`(?i)command|plugin|script|exec|shell|eval\b|mcp|webhook`).MatchString(op[1]) {
			t.Errorf("%v looks as if it ran something", op)
		}
		if open[op[0]+" "+op[1]] {
			continue
		}
		for _, key := range []string{"", "x", a.key} { // a client of the gateway administers nothing
			status, b := request(t, op[0], a.API+place.ReplaceAllString(op[1], "1"), key, "{}")
			if want := status == http.StatusUnauthorized; key != a.key && !want {
				t.Errorf("%v without a credential: %d %.200s", op, status, b)
			}
			if key == a.key && op[0] != http.MethodGet && status < 400 && op[1] != "/api/v1/session" {
				t.Errorf("%v by a client of the gateway: %d %.200s", op, status, b)
			}
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} { // what metrics listen on changes nothing
		for _, path := range []string{"/metrics", "/healthz", "/readyz", "/", "/debug/pprof/", "/api/v1/keys"} {
			if status, _ := request(t, method, a.admin+path, "", "{}"); status < 400 {
				t.Errorf("%s %s of the admin listener: %d", method, path, status)
			}
		}
	}
	if status, _ := request(t, http.MethodGet, a.admin+"/debug/pprof/", "", ""); status != http.StatusNotFound {
		t.Errorf("profiles of the process are open: %d", status)
	}
}

// serveFails runs serve with a configuration that cannot hold and returns what
// it says. It fails if the server starts.
func serveFails(t *testing.T, config string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "warden.yaml")
	write(t, name, config)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"serve", "--data", filepath.Join(t.TempDir(), "d"), "--config", name}, args...)...)
	cmd.Env = append([]string{"WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0"}, os.Environ()...)
	cmd.Env = append(cmd.Env, "WARDEN_ADMIN_LISTEN=127.0.0.1:0")
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Errorf("it starts with %s %v:\n%s", config, args, out)
	} else if code := cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("%s %v: exit code %d, want 2\n%s", config, args, code, out)
	}
	return string(out)
}

func (a *abused) alwaysAuthenticates(t *testing.T) {
	for _, config := range []string{"access: {enabled: false}", "access: {insecure: true}", "gateway: {auth: none}", "gateway: {insecure_no_auth: true}", "access: {anonymous: true}", "storage: {database: none}"} {
		serveFails(t, config)
	}
	for _, flag := range []string{"--no-auth", "--insecure-no-auth", "--anonymous"} {
		serveFails(t, "{}", flag)
	}
	// An empty platform, without any key that a client could have.
	t.Setenv("WARDEN_ADMIN_LISTEN", "127.0.0.1:0")
	p := start(t, "")
	for _, path := range []string{"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/v1/messages/count_tokens", "/v1beta/models/m:generateContent", "/api/chat", "/api/generate", "/api/embed", "/v2/models/m/infer"} {
		if status, b := request(t, http.MethodPost, p.Gateway+path, "", chatOf("m", "hi", false)); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
	for _, path := range []string{"/v1/models", "/api/tags", "/v1beta/models", "/v2/models/m/ready"} {
		if status, b := request(t, http.MethodGet, p.Gateway+path, "", ""); status != http.StatusUnauthorized && status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
	p.stop()
	// One whose records cannot be read does not start.
	write(t, filepath.Join(p.data, "warden.db"), strings.Repeat("not a database ", 500))
	os.Remove(filepath.Join(p.data, "warden.db-wal"))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "serve", "--data", p.data)
	cmd.Env = append(os.Environ(), "WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0")
	if out, err := cmd.CombinedOutput(); err == nil || ctx.Err() != nil {
		t.Errorf("with a broken database: %v\n%s", err, out)
	}
}

func (a *abused) keysAreText(t *testing.T) {
	tables := func() (names []string, rows int) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(a.data, "warden.db")+"?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rs, err := db.QueryContext(t.Context(), "SELECT name FROM sqlite_master ORDER BY name")
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		for rs.Next() {
			var n string
			if err := rs.Scan(&n); err != nil {
				t.Fatal(err)
			}
			names = append(names, n)
		}
		if err := rs.Err(); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM access_key").Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return names, rows
	}
	names, rows := tables()
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	keys := []string{
		"' OR '1'='1", `" OR ""="`, "wdn_' OR 1=1 --_x", "wdn_x'; DROP TABLE access_key; --_y", "wdn_" + a.keyID + "_' OR 'a'='a", "wdn_" + a.keyID + "' --_x", "wdn_%_%", "wdn_*_*", "wdn_" + a.keyID + "_%",
		"wdn_x' UNION SELECT * FROM access_key --_y", "wdn_$1_$2", "wdn_?_?", "wdn_:id_:secret", `wdn_\'_\'`, "wdn__", "wdn_" + strings.Repeat("a", 8000) + "_b", a.key + " ", a.key + "'", a.key[:len(a.key)-1], strings.ToUpper(a.key),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const letters = `'"\;%_-*()=$?:x0 `
	for range 300 {
		b := []byte("wdn_" + a.keyID + "_")
		for range rng.IntN(60) {
			b = append(b, letters[rng.IntN(len(letters))])
		}
		keys = append(keys, string(b))
	}
	for _, key := range keys {
		if strings.TrimSpace(key) == a.key {
			continue // the header's own rules take spaces away
		}
		if status, _, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer "+key); status != http.StatusUnauthorized {
			t.Errorf("key %q: %d %s", key, status, text)
		}
		if status, b := request(t, http.MethodGet, a.API+"/api/v1/models", key, ""); status != http.StatusUnauthorized {
			t.Errorf("key %q at the API: %d %s", key, status, b)
		}
	}
	for _, text := range []string{"'", "' OR 1=1 --", "x'; DROP TABLE access_key; --", "%", `\`} { // names reach queries, too
		for _, path := range []string{"/api/v1/search?q=", "/api/v1/models?search=", "/api/v1/find?ref=team/", "/api/v1/keys/"} {
			if status, b := request(t, http.MethodGet, a.API+path+url.PathEscape(text), a.Key, ""); status >= 500 {
				t.Errorf("%s%s: %d %s", path, text, status, b)
			}
		}
		a.post("", chatOf(text, "hi", false))
	}
	if n := len(a.up.took()); n > 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	if after, now := tables(); strings.Join(after, " ") != strings.Join(names, " ") || now != rows {
		t.Errorf("%d keys and tables %v, before %d and %v", now, after, rows, names)
	}
}

func (a *abused) nothingRuns(t *testing.T) {
	for _, path := range []string{
		"/mcp-rest/test/connection", "/mcp-rest/test/tools/list", "/prompts/test", "/utils/transform_request", "/utils/test_policies_and_guardrails", "/guardrails/test_custom_code", "/config/update", "/model/new", "/key/generate",
		"/health/test_connection", "/api/v1/test", "/api/v1/run", "/api/v1/exec", "/api/v1/plugins", "/api/v1/guards/test", "/api/v1/mcp", "/api/v1/templates/render", "/debug", "/admin",
	} {
		for _, base := range []string{a.Gateway, a.API} {
			status, b := request(t, http.MethodPost, base+path, a.Key, `{"command":"touch /tmp/x","template":"{{7*7}}","code":"import os"}`)
			if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d %.200s", path, status, b)
			}
		}
	}
	// Templates are text, on the way there and back.
	const text = `{{7*7}} ${7*7} <%= 7*7 %> #{7*7} {% include "/etc/passwd" %} {{ config.items() }} $(id) %s%n`
	said, _ := json.Marshal(text)
	a.up.says(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, strings.Replace(whole, `"fine"`, string(said), 1))
	})
	status, answer, _ := a.post("openai", chatOf("openai", text, false))
	if got := a.up.took(); status != http.StatusOK || len(got) != 1 || !strings.Contains(got[0].body, `{{7*7}} ${7*7}`) || !strings.Contains(answer, string(said)) {
		t.Errorf("%d %s\n%+v", status, answer, got)
	}
}

// everything returns all that the platform says and keeps, by where it is.
func (a *abused) everything(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"log": a.logs.String(), "output": a.out.String()}
	for _, op := range a.operations() {
		if op[0] == http.MethodGet && !strings.Contains(op[1], "{") {
			_, b := request(t, http.MethodGet, a.API+op[1], a.Key, "")
			out["API "+op[1]] = string(b)
		}
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		_, b := request(t, http.MethodGet, a.admin+path, "", "")
		out["admin "+path] = string(b)
	}
	out["audit"] = a.must(0, "audit", "list", "--format", "json")
	out["keys"] = a.must(0, "access", "key", "list", "--format", "json")
	db, err := sql.Open("sqlite", "file:"+filepath.Join(a.data, "warden.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT entry, packed FROM traffic_batch")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unpack.Close()
	for rows.Next() {
		var entry int
		var packed []byte
		if err := rows.Scan(&entry, &packed); err != nil {
			t.Fatal(err)
		}
		b, err := unpack.DecodeAll(packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprint("records ", entry)] = string(b)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(a.data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "local.json" { // which is the operator's own key
			if b, err := os.ReadFile(path); err == nil {
				out["file "+d.Name()] = string(b)
			}
		}
		return nil
	})
	return out
}

func (a *abused) secretsAreNowhere(t *testing.T) {
	const prompt, said = "the-prompt-canary-51ab", "the-answer-canary-77cd"
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, strings.Replace(whole, "fine", said, 1)) })
	key, _ := a.newKey("client")
	wrong := "wdn_" + strings.Repeat("b", 26) + "_" + strings.Repeat("wrongcanary", 5)
	places := func(key string) [][]string {
		return [][]string{
			{"/v1/chat/completions", "Authorization", "Bearer " + key},
			{"/v1/chat/completions", "Authorization", "Basic " + key},
			{"/v1/chat/completions", "Authorization", "Bearer x", "X-Api-Key", key},
			{"/v1/messages", "Authorization", "", "X-Api-Key", key},
			{"/v1beta/models/gemini:generateContent?key=" + key, "Authorization", ""},
			{"/v1beta/models/gemini:generateContent", "Authorization", "", "X-Goog-Api-Key", key},
			{"/v1/" + key, "Authorization", "Bearer " + key},
			{"/v1/chat/completions?key=" + key, "User-Agent", key},
			{"/v1/chat/completions", "Cookie", "key=" + key, "Via", "1.1 " + key},
		}
	}
	for _, k := range []string{key, wrong} {
		for _, p := range places(k) {
			for _, body := range []string{chatOf("openai", prompt, false), chatOf("ssrf-loopback", prompt, false), "{" + prompt, chatOf("g-openai", prompt, true)} {
				_, _, text, _ := a.send(p[0], body, p[1:]...)
				if strings.Contains(text, k[31:]) || strings.Contains(text, canary) {
					t.Errorf("an answer at %s holds the key: %s", p[0], text)
				}
			}
		}
	}
	// An upstream that sends back the credential it was given, in every form.
	leak := strings.Replace(whole, "fine", "your key is "+canary, 1)
	for name, say := range map[string]http.HandlerFunc{
		"answer": func(w http.ResponseWriter, _ *http.Request) { reply(w, leak) },
		"stream": pieces("text/event-stream", fmt.Sprintf(chunk, "your key is "+canary), chunkEnd),
		"error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			reply(w, `{"error":{"message":"Incorrect API key provided: `+canary+`","type":"invalid_request_error"}}`)
		},
		"unauthorized": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Key", canary)
			w.Header().Set("Openai-Version", canary)
			w.WriteHeader(http.StatusUnauthorized)
			reply(w, `{"error":{"message":"bad key `+canary+`"}}`)
		},
	} {
		a.up.says(say)
		_, h, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", name == "stream"))
		if strings.Contains(text+fmt.Sprint(h), canary) {
			t.Errorf("%s: the client reads the route's credential: %s %v", name, text, h)
		}
	}
	time.Sleep(200 * time.Millisecond) // the records are written
	secrets := map[string]string{"the key": key[31:], "the wrong key": wrong[31:], "the upstream's credential": canary, "the prompt": prompt, "the answer": said, "the client's key": a.key[31:]}
	records := 0
	for where, text := range a.everything(t) {
		if strings.HasPrefix(where, "records") {
			records++
		}
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s holds %s: …%q", where, what, text[max(0, at-80):at])
			}
		}
	}
	if records == 0 {
		t.Error("no records of traffic were looked at")
	}
}

// rawAnswer sends bytes and returns the head and body of the answer as bytes.
func rawAnswer(t testing.TB, address, text string, limit time.Duration) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	b, _ := io.ReadAll(bufio.NewReader(c))
	return string(b)
}

func (a *abused) equalRefusals(t *testing.T) {
	revoked, id := a.newKey("client")
	a.must(0, "access", "key", "revoke", id)
	expired, expiredID := a.newKey("client")
	if status, _, _, _ := a.send("/v1/models", "", "Authorization", "Bearer "+expired); status == http.StatusUnauthorized {
		t.Error("the key that will expire is not known now")
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(a.data, "warden.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if r, err := db.ExecContext(t.Context(), "UPDATE access_key SET expires = 1000 WHERE id = ?", expiredID); err != nil {
		t.Fatal(err)
	} else if n, _ := r.RowsAffected(); n != 1 {
		t.Fatalf("%d keys expired", n)
	}
	a.newKey("client") // the directory changed: keys are read again
	time.Sleep(700 * time.Millisecond)
	other := func(key string) string { // the same id with another secret of proper form
		k, _ := a.newKey("client")
		return "wdn_" + strings.Split(key, "_")[1] + "_" + strings.Split(k, "_")[2]
	}
	unknown := "wdn_" + strings.Repeat("a", 26) + "_" + strings.Split(a.key, "_")[2]
	keys := map[string]string{
		"none": "", "malformed": "hello", "prefix": "wdn_", "unknown": unknown, "revoked": revoked, "expired": expired, "wrong_secret": other(a.key), "wrong_check": a.key[:len(a.key)-1] + "x", "foreign": "sk-ant-api03-abcdef", "token": "eyJhbGciOiJub25lIn0.e30.",
	}
	variable := regexp.MustCompile(`(?m)^(Date|X-Request-Id): .*\r$`)
	host := strings.TrimPrefix(a.Gateway, "http://")
	for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/api/chat", "/v1beta/models/x:generateContent", "/v2/models/x/infer"} {
		seen := map[string]string{}
		for name, key := range keys {
			text := rawAnswer(t, host, "POST "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nAuthorization: Bearer "+key+"\r\nContent-Length: 2\r\n\r\n{}", 10*time.Second)
			if !strings.HasPrefix(text, "HTTP/1.1 401 ") {
				t.Errorf("%s with the key %s: %.300q", path, name, text)
			}
			seen[variable.ReplaceAllString(text, "$1: x\r")] = name
			for _, word := range []string{"sqlite", "postgres", "access_key", "revoked", "expired", "hash", "hmac"} {
				if strings.Contains(strings.ToLower(text), word) {
					t.Errorf("%s: a refusal says %q", path, word)
				}
			}
		}
		if len(seen) != 1 {
			t.Errorf("%s: the refusals differ: %q", path, seen)
		}
	}
}

func (a *abused) referencesSurvive(t *testing.T) {
	name := filepath.Join(t.TempDir(), "printed.yaml")
	write(t, name, fmt.Sprintf("gateway:\n  routes:\n    - {name: m, model: team/m, upstream: %q, allow_private: [127.0.0.0/8], credential: \"env:CANARY\"}\n", a.up.URL))
	printed := a.must(0, "config", "print", "--config", name)
	if strings.Contains(printed, canary) || !strings.Contains(printed, "env:CANARY") {
		t.Fatalf("the printed configuration:\n%s", printed)
	}
	write(t, name, printed)
	t.Setenv("WARDEN_ADMIN_LISTEN", "127.0.0.1:0")
	data := t.TempDir()
	t.Setenv("WARDEN_DATA", data)
	p := start(t, data, "--config", name)
	model := filepath.Join(t.TempDir(), "m.pkl")
	write(t, model, "(dp0\nS'weight'\np1\nF0.5\ns.")
	p.must(0, "registry", "push", "team/m", model)
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "x", "--role", "client"))
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	p.eventually(5*time.Second, "the route", func() bool {
		status, _ := p.chat(key, "m", false)
		return status == http.StatusOK
	})
	if h := a.up.took(); len(h) == 0 || h[0].header.Get("Authorization") != "Bearer "+canary {
		t.Errorf("after printing and loading the upstream is sent another credential: %d requests", len(h))
	}
	// What the API lists of keys holds nothing that could be taken for one, and
	// it takes none.
	_, b := request(t, http.MethodGet, a.API+"/api/v1/keys", a.Key, "")
	if strings.Contains(string(b), "wdn_") || strings.Contains(string(b), "***") || strings.Contains(string(b), "hash") {
		t.Errorf("the list of keys: %s", b)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodPost} {
		if status, b := request(t, method, a.API+"/api/v1/keys/"+a.keyID, a.Key, `{"secret":"****","key":"wdn_****"}`); status < 400 {
			t.Errorf("%s of a key: %d %s", method, status, b)
		}
	}
	if status, _ := request(t, http.MethodPost, a.API+"/api/v1/keys", a.Key, `{"name":"x","roles":["client"],"days":1,"secret":"wdn_mine"}`); status < 400 {
		t.Errorf("a key with a secret of the caller's choice was made: %d", status)
	}
}
