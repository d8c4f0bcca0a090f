package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.uber.org/goleak"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/server/servertest"
	"github.com/modelwarden/warden/scan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is the API over real services, with one key for each role.
type bench struct {
	*servertest.Platform
	url    string
	client *http.Client
	keys   map[string]string
	logs   *servertest.Buffer
	done   chan struct{}
}

const maxBlob = 4 << 20

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		Platform: servertest.New(t), keys: map[string]string{}, logs: &servertest.Buffer{}, done: make(chan struct{}),
		client: &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	h := api.New(api.Config{
		Registry: b.Registry, Judge: b.Judge, Governor: b.Governor, Person: b.Access.Person, Blobs: b.Blobs, Uploads: b.Blobs, Access: b.Access, Traffic: b.Traffic, Register: b.Register, Verifier: b.Verifier, Rules: scan.Rules(), Tool: b.Tool,
		Link: func(context.Context) (string, error) { return "http://h/#/login?link=x", nil }, Log: slog.New(slog.NewJSONHandler(b.logs, nil)), Now: b.Now,
		MaxBlob: maxBlob, Secure: true, Done: b.done,
	})
	srv := httptest.NewServer(h)
	b.url = srv.URL
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		srv.Close()
	})
	for _, role := range access.Roles() {
		_, b.keys[role] = b.Key([]string{role})
	}
	return b
}

// do sends one request with the key of a role ("" for none).
func (b *bench) do(role, method, path, body string, headers ...string) (*http.Response, string) {
	b.T.Helper()
	req, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.T.Fatal(err)
	}
	if role != "" {
		req.Header.Set("Authorization", "Bearer "+b.keys[role])
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
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
	if err != nil {
		text = append(text, " "+err.Error()...)
	}
	return resp, string(text)
}

// want checks the status of an answer and, of an error, its form.
func (b *bench) want(status int, code string, resp *http.Response, text string) {
	b.T.Helper()
	if resp.StatusCode != status {
		b.T.Errorf("%s %s: %d %.300s, want %d", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode, text, status)
		return
	}
	if status < 400 || resp.Request.Method == http.MethodHead {
		return
	}
	var p struct {
		Title, Detail, Code, Hint string
		Status                    int
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Detail == "" || p.Title == "" || p.Code != code {
		b.T.Errorf("%s %s: %v %s %s, want a problem with code %s", resp.Request.Method, resp.Request.URL.Path, err, resp.Header.Get("Content-Type"), text, code)
	}
}

type operation struct{ method, path string }

// operations lists every operation of the description and every plain handler.
func operations(t *testing.T) []operation {
	t.Helper()
	text, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var ops []operation
	for path, methods := range doc.Paths {
		for m := range methods {
			ops = append(ops, operation{strings.ToUpper(m), path})
		}
	}
	if len(ops) < 30 {
		t.Fatalf("the description has %d operations only", len(ops))
	}
	for _, s := range []string{
		"HEAD /api/v1/blobs/{digest}", "POST /api/v1/uploads", "HEAD /api/v1/uploads/{id}", "PATCH /api/v1/uploads/{id}", "PUT /api/v1/uploads/{id}", "DELETE /api/v1/uploads/{id}",
		"GET /api/v1/artifacts/{digest}/manifest", "GET /api/v1/artifacts/{digest}/report", "GET /api/v1/artifacts/{digest}/files/x", "GET /api/v1/events", "GET /tlog/checkpoint",
		"GET /api/openapi-3.0.json", "GET /api/v1/nothing", "POST /api/v1/health", "GET /api/v1/session", "PUT /api/v1/session",
	} {
		m, p, _ := strings.Cut(s, " ")
		ops = append(ops, operation{m, p})
	}
	return ops
}

// Every operation needs an identity, but for those that begin one.
func TestIdentityIsNeeded(t *testing.T) {
	b := newBench(t)
	public := map[operation]bool{{"GET", "/api/v1/health"}: true, {"POST", "/api/v1/session"}: true, {"GET", "/api/v1/login"}: true}
	d := b.Admit("team/good", "m.pkl", []byte(servertest.Clean)).Digest.String()
	fill := func(path string) string {
		path = strings.ReplaceAll(path, "{digest}", d)
		return regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "1")
	}
	for _, op := range operations(t) {
		if public[op] {
			continue
		}
		for name, h := range map[string][]string{
			"none": {}, "empty": {"Authorization", ""}, "basic": {"Authorization", "Basic YTpi"}, "wrong": {"Authorization", "Bearer wdn_x"}, "lower": {"Authorization", "bearer " + b.keys["admin"]},
			"cookie": {"Cookie", "warden_session=x"}, "key_in_cookie": {"Cookie", "warden_session=" + b.keys["admin"]}, "wrong_beats_cookie": {"Authorization", "Bearer x", "Cookie", "warden_session=x"},
		} {
			resp, text := b.do("", op.method, fill(op.path), "", h...)
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with credential %s: %d %.200s, want 401", op.method, op.path, name, resp.StatusCode, text)
			}
			b.want(401, "unauthenticated", resp, text)
		}
	}
	for _, path := range []string{"/api/v1/health", "/api/openapi.json", "/api/openapi.yaml"} {
		if resp, _ := b.do("", "GET", path, ""); resp.StatusCode != 200 || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"//api/v1/models", "/x/../api/v1/models", "/api/v1/../v1/models", "/api/v1/health/../models", "/API/v1/models", "/api%2Fv1/models", "/./api/v1/models"} {
		if resp, text := b.do("", "GET", path, ""); resp.StatusCode < 300 || strings.Contains(text, "items") {
			t.Errorf("%s without a credential: %d %s", path, resp.StatusCode, text)
		}
	}
}

// What each role may not do.
func TestRoles(t *testing.T) {
	b := newBench(t)
	a := b.Admit("team/good", "m.pkl", []byte(servertest.Clean))
	d := a.Digest.String()
	held := b.Admit("team/held", "m.pkl", []byte("(dp0\nS'held'\np1\nF0.5\ns.")).Digest.String()
	push := `{"model":"team/new","files":[{"path":"m","digest":"` + d + `","size":1}]}`
	type call struct{ method, path, body string }
	calls := map[string]call{
		"read":       {"GET", "/api/v1/models", ""},
		"audit":      {"GET", "/api/v1/audit", ""},
		"tlog":       {"GET", "/tlog/tile/0/000", ""},
		"manifest":   {"GET", "/api/v1/artifacts/" + d + "/manifest", ""},
		"download":   {"GET", "/api/v1/artifacts/" + d + "/files/m.pkl", ""},
		"upload":     {"POST", "/api/v1/uploads", ""},
		"push":       {"POST", "/api/v1/artifacts", push},
		"quarantine": {"POST", "/api/v1/artifacts/" + held + "/quarantine", `{"reason":"x"}`},
		"release":    {"POST", "/api/v1/artifacts/" + held + "/release", `{"reason":"x"}`},
		"rescan":     {"POST", "/api/v1/artifacts/" + held + "/rescan", ""},
		"triage":     {"PATCH", "/api/v1/findings/1", `{"state":"open","note":"x"}`},
		"keys":       {"GET", "/api/v1/keys", ""},
		"make_key":   {"POST", "/api/v1/keys", `{"name":"x","roles":["admin"]}`},
		"revoke_key": {"DELETE", "/api/v1/keys/x", ""},
		"link":       {"POST", "/api/v1/links", ""},
		"demo":       {"POST", "/api/v1/demo", ""},
		"demo_away":  {"DELETE", "/api/v1/demo", ""},
	}
	may := map[string]string{
		"reader":   "read audit tlog manifest download",
		"engineer": "read audit tlog manifest download upload push",
		"security": "read audit tlog manifest download quarantine release rescan triage",
		"client":   "",
	}
	for role, allowed := range may {
		for name, c := range calls {
			resp, text := b.do(role, c.method, c.path, c.body)
			denied := resp.StatusCode == http.StatusForbidden
			if want := !strings.Contains(" "+allowed+" ", " "+name+" "); denied != want {
				t.Errorf("%s %s: %d %.200s, want refused %v", role, name, resp.StatusCode, text, want)
			}
			if denied {
				b.want(403, "denied", resp, text)
			}
		}
	}
	if n := len(b.Trail("access.deny")); n == 0 {
		t.Error("refusals are not in the log")
	}
	t.Run("reason_is_for_readers", func(t *testing.T) {
		bad := b.Admit("team/bad", "m.pkl", []byte(servertest.Hostile)).Digest.String()
		if _, text := b.do("reader", "GET", "/api/v1/artifacts/"+bad+"/files/m.pkl", ""); !strings.Contains(text, bad+" is denied: the scan is malicious") {
			t.Errorf("a reader is told %s", text)
		}
		if resp, text := b.do("client", "GET", "/api/v1/artifacts/"+bad+"/files/m.pkl", ""); resp.StatusCode != 403 || strings.Contains(text, "malicious") {
			t.Errorf("a client is told %s", text)
		}
		resp, text := b.do("reader", "GET", "/api/v1/artifacts/sha256:"+strings.Repeat("ab", 32)+"/files/m.pkl", "")
		b.want(404, "not_found", resp, text)
		resp, text = b.do("client", "GET", "/api/v1/artifacts/sha256:"+strings.Repeat("ab", 32)+"/files/m.pkl", "")
		b.want(403, "denied", resp, text)
	})
}

// A browser's page of another origin changes nothing, and cookies are what they
// must be.
func TestBrowser(t *testing.T) {
	b := newBench(t)
	resp, text := b.do("", "POST", "/api/v1/session", `{"key":"`+b.keys["admin"]+`"}`)
	b.want(200, "", resp, text)
	c := resp.Cookies()[0]
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || strings.Contains(text, c.Value) {
		t.Errorf("cookie %+v", c)
	}
	cookie := []string{"Cookie", c.Name + "=" + c.Value}
	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"same_origin":      {[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		"typed":            {[]string{"Sec-Fetch-Site", "none"}, 200},
		"cross_site":       {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"same_site":        {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"old_browser":      {[]string{"Origin", "https://evil.example"}, 403},
		"null_origin":      {[]string{"Origin", "null"}, 403},
		"own_origin":       {[]string{"Origin", b.url}, 200},
		"origin_of_prefix": {[]string{"Origin", b.url + "0"}, 403},
	} {
		resp, text := b.do("", "POST", "/api/v1/keys", `{"name":"x","roles":["reader"]}`, append(tt.headers, cookie...)...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, tt.status)
		}
	}
	if resp, _ := b.do("", "POST", "/api/v1/session", `{"key":"`+b.keys["admin"]+`"}`, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("sign-in from another site: %d", resp.StatusCode)
	}
	if resp, _ := b.do("", "GET", "/api/v1/me", "", cookie...); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("me: %d %v", resp.StatusCode, resp.Header)
	}
	resp, _ = b.do("", "DELETE", "/api/v1/session", "", cookie...)
	if cs := resp.Cookies(); len(cs) != 1 || cs[0].MaxAge >= 0 {
		t.Errorf("sign-out: %d %v", resp.StatusCode, cs)
	}
	if resp, _ := b.do("", "GET", "/api/v1/me", "", cookie...); resp.StatusCode != 401 {
		t.Errorf("after sign-out: %d", resp.StatusCode)
	}
	t.Run("wrong_credentials_are_equal", func(t *testing.T) {
		for kind, two := range map[string][2]string{"key": {"wdn_x", b.keys["reader"][:len(b.keys["reader"])-1] + "?"}, "link": {"x", strings.Repeat("a", 52)}} {
			_, a := b.do("", "POST", "/api/v1/session", `{"`+kind+`":"`+two[0]+`"}`)
			_, c := b.do("", "POST", "/api/v1/session", `{"`+kind+`":"`+two[1]+`"}`)
			if a != c || !strings.Contains(a, "unauthenticated") {
				t.Errorf("%s and %s differ", a, c)
			}
		}
	})
}

// Requests that make no sense get a problem that says so, and nothing inner.
func TestBadRequests(t *testing.T) {
	b := newBench(t)
	secret := "wdn_secret_in_the_wrong_place"
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/api/v1/keys", `{"name":"x","roles":["admin"],"extra":1}`, 422, "invalid"},
		{"POST", "/api/v1/keys", `{"name":"x"}`, 422, "invalid"},
		{"POST", "/api/v1/keys", `{"name":7,"roles":["` + secret + `"]}`, 422, "invalid"},
		{"POST", "/api/v1/keys", `{"name":"x","roles":["root"]}`, 400, "invalid"},
		{"POST", "/api/v1/keys", `{"name":`, 400, "invalid"},
		{"POST", "/api/v1/keys", ``, 400, "invalid"},
		{"POST", "/api/v1/keys", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "limit"},
		{"POST", "/api/v1/session", `{"key":{"a":"` + secret + `"}}`, 422, "invalid"},
		{"POST", "/api/v1/session", `{}`, 400, "invalid"},
		{"POST", "/api/v1/session", `{"key":"a","link":"b"}`, 400, "invalid"},
		{"GET", "/api/v1/models?limit=0", "", 422, "invalid"},
		{"GET", "/api/v1/models?limit=1e9", "", 422, "invalid"},
		{"GET", "/api/v1/models?state=evil", "", 422, "invalid"},
		{"GET", "/api/v1/audit?after=%27%20OR%201=1", "", 400, "invalid"},
		{"GET", "/api/v1/audit?after=zzzzzzzzzzzzzzzzzzzzzz", "", 400, "invalid"},
		{"GET", "/api/v1/findings?after=1.2", "", 400, "invalid"},
		{"GET", "/api/v1/findings/99999999", "", 404, "not_found"},
		{"GET", "/api/v1/findings/9223372036854775808", "", 422, "invalid"},
		{"GET", "/api/v1/audit/18446744073709551615/proof", "", 404, "not_found"},
		{"GET", "/api/v1/audit/99999/proof", "", 404, "not_found"},
		{"GET", "/api/v1/find?ref=../../etc", "", 400, "invalid"},
		{"GET", "/api/v1/find?ref=a/b@0", "", 400, "invalid"},
		{"GET", "/api/v1/find?ref=a/b@99999999999999999999", "", 400, "invalid"},
		{"GET", "/api/v1/find?ref=no/such", "", 404, "not_found"},
		{"GET", "/api/v1/artifacts/sha256:xyz", "", 400, "invalid"},
		{"GET", "/api/v1/artifacts/sha256:" + strings.Repeat("00", 32), "", 404, "not_found"},
		{"POST", "/api/v1/artifacts/sha256:" + strings.Repeat("00", 32) + "/quarantine", `{"reason":"x"}`, 404, "not_found"},
		{"POST", "/api/v1/artifacts", `{"model":"noslash","files":[{"path":"a","digest":"sha256:` + strings.Repeat("00", 32) + `","size":1}]}`, 400, "invalid"},
		{"POST", "/api/v1/artifacts", `{"model":"a/b","files":[{"path":"../a","digest":"sha256:` + strings.Repeat("01", 32) + `","size":1}]}`, 400, "invalid"},
		{"POST", "/api/v1/artifacts", `{"model":"a/b","files":[{"path":"a","digest":"sha256:` + strings.Repeat("01", 32) + `","size":1}]}`, 400, "invalid"},
		{"POST", "/api/v1/artifacts", `{"model":"a/b","files":[{"path":"a","digest":"sha256:` + strings.Repeat("01", 32) + `","size":-1}]}`, 422, "invalid"},
		{"POST", "/api/v1/demo", "", 503, "unavailable"},
		{"DELETE", "/api/v1/keys/nokey", "", 404, "not_found"},
		{"GET", "/tlog/tile/0/../../../etc/passwd", "", 307, ""},
		{"GET", "/tlog/tile/99/x999", "", 404, "not_found"},
		{"GET", "/tlog/etc/passwd", "", 404, "not_found"},
		{"GET", "/api/v1/nothing", "", 404, "not_found"},
		{"PUT", "/api/v1/models", "", 404, "not_found"},
	} {
		resp, text := b.do("admin", tt.method, tt.path, tt.body)
		if tt.status == 307 && resp.StatusCode == 301 {
			continue
		}
		b.want(tt.status, tt.code, resp, text)
		if strings.Contains(text, secret) {
			t.Errorf("%s: the answer echoes a value: %s", tt.path, text)
		}
	}
	t.Run("inner_errors_stay_inside", func(t *testing.T) {
		b.Down.Store(true)
		defer b.Down.Store(false)
		for _, path := range []string{"/api/v1/models", "/api/v1/audit", "/tlog/checkpoint", "/api/v1/artifacts/sha256:" + strings.Repeat("00", 32)} {
			resp, text := b.do("admin", "GET", path, "")
			b.want(500, "internal", resp, text)
			if strings.Contains(text, "db.internal") {
				t.Errorf("%s: %s", path, text)
			}
		}
		if !strings.Contains(b.logs.String(), "db.internal") {
			t.Error("the cause is not in the log")
		}
	})
	for _, key := range b.keys {
		if strings.Contains(b.logs.String(), key) {
			t.Error("a key is in the log")
		}
	}
}

// A stream of events ends with its client, with its credential and with the
// server; goleak sees that nothing stays.
func TestEvents(t *testing.T) {
	b := newBench(t)
	open := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+b.keys["reader"])
		resp, err := b.client.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		return resp
	}
	ctx, cancel := context.WithCancel(t.Context())
	resp := open(ctx)
	a := b.Admit("team/good", "m.pkl", []byte(servertest.Clean))
	buf := make([]byte, 4096)
	seen := ""
	for !strings.Contains(seen, `"admitted"`) {
		n, err := resp.Body.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatal(err, seen)
		}
	}
	if !strings.Contains(seen, a.Digest.String()) {
		t.Errorf("events: %s", seen)
	}
	cancel()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("after the client went: %v", err)
	}
	resp.Body.Close()
	resp = open(t.Context())
	close(b.done)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("when the server stops: %v, want a clean end", err)
	}
	resp.Body.Close()
}

// What is inside a file can be seen in any state, but only of files that the
// artifact has.
func TestStructure(t *testing.T) {
	b := newBench(t)
	d := b.Push("team/bad", "m.pkl", []byte(servertest.Hostile)).Artifact.Digest.String()
	resp, text := b.do("reader", "GET", "/api/v1/artifacts/"+d+"/structure?path=m.pkl", "")
	if resp.StatusCode != 200 || !strings.Contains(text, `posix.system('echo hello')`) || !strings.Contains(text, `"GLOBAL"`) {
		t.Errorf("structure: %d %.300s", resp.StatusCode, text)
	}
	resp, text = b.do("reader", "GET", "/api/v1/artifacts/"+d+"/structure?path=../m.pkl", "")
	b.want(404, "not_found", resp, text)
	resp, text = b.do("reader", "GET", "/api/v1/artifacts/"+d+"/structure", "")
	b.want(422, "invalid", resp, text)
}
