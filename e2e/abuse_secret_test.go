//go:build e2e

package e2e_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// everything returns all that the platform says and keeps, by where it is.
func (a *abused) everything(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"log": a.logs.String(), "output": a.out.String()}
	for _, op := range a.operations() {
		if op[0] == http.MethodGet && !strings.Contains(op[1], "{") {
			path := op[1]
			if strings.HasSuffix(path, "/events/stream") { // which has no end
				path += "?since=0&follow=false"
			}
			_, b := request(t, http.MethodGet, a.API+path, a.Key, "")
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
