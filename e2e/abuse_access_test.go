//go:build e2e

package e2e_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
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
	defer a.away()()
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
			back := a.away()
			a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer wdn_"+name)
			back()
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
	back := func() {}
	for i, key := range keys {
		if strings.TrimSpace(key) == a.key {
			continue // the header's own rules take spaces away
		}
		if i%100 == 0 {
			back()
			back = a.away()
		}
		if status, _, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer "+key); status != http.StatusUnauthorized {
			t.Errorf("key %q: %d %s", key, status, text)
		}
		if status, b := request(t, http.MethodGet, a.API+"/api/v1/models", key, ""); status != http.StatusUnauthorized {
			t.Errorf("key %q at the API: %d %s", key, status, b)
		}
	}
	back()
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
	// Whoever guesses is not answered any more; whoever is known behind the same
	// address is.
	defer a.away()()
	a.post("", chatOf("openai", "hi", false))
	last := 0
	for range 310 {
		last, _, _, _ = a.send("/v1/chat/completions", chatOf("openai", "hi", false), "Authorization", "Bearer wdn_guess")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after 310 guesses: %d", last)
	}
	if status, text, _ := a.post("", chatOf("openai", "hi", false)); status != http.StatusOK {
		t.Errorf("a known client behind the address of a guesser: %d %s", status, text)
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
