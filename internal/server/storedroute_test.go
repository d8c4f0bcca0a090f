package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/access/route"
	"github.com/modelwarden/warden/internal/api"
)

// TestStoredRoutes: an administrator adds, changes, disables and removes a route
// at run time; it is served at once and after a restart, and what cannot be
// served is refused by key.
func TestStoredRoutes(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "key")
	if err := os.WriteFile(secret, []byte("upstream-secret-42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var seen string
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`))
	}))
	defer up.Close()
	cfg := testConfig(filepath.Join(dir, "data"))
	cfg.Gateway.Credentials = map[string]string{"vllm": "file:" + secret, "gone": "file:/no/such/file"}
	cfg.Gateway.Private = []string{"127.0.0.0/8"}
	cfg.Gateway.Routes = []RouteConfig{{Name: "fixed", TargetConfig: TargetConfig{Model: "demo/sentiment", Upstream: up.URL, AllowPrivate: []string{"127.0.0.0/8"}}}}
	r := start(t, cfg, testOptions())
	if status := r.call(http.MethodPost, "/api/v1/demo", "", nil); status != 200 {
		t.Fatalf("demo: %d", status)
	}
	config := `{"name":"chat","model":"demo/chat-base","upstream":"` + up.URL + `/v1","credential":"vllm","allow_private":["127.0.0.1/32"],"limits":[{"per":"identity","requests":"100/1m"}]}`
	add := func(config string) (int, string) {
		var p struct{ Detail string }
		status := r.call(http.MethodPost, "/api/v1/gateway/routes", `{"config":`+config+`}`, &p)
		return status, p.Detail
	}
	for change, want := range map[string]string{
		`"credential":"file:/etc/passwd"`:        "credential: want a name of gateway.credentials",
		`"credential":"env:PATH"`:                "which has: gone, vllm",
		`"credential":"gone"`:                    "it cannot be read",
		`"ca":"/etc/ssl/ca.pem"`:                 "ca: ",
		`"allow_private":["10.0.0.0/8"]`:         "allow_private: 10.0.0.0/8",
		`"allow_private":["0.0.0.0/0"]`:          "allow_private: 0.0.0.0/0",
		`"name":"fixed"`:                         "name: ",
		`"nonsense":1`:                           "nonsense",
		`"limits":[{"per":"x","tokens":"1/1m"}]`: "limits[0]",
		`"upstream":"file:///etc"`:               "upstream",
		`"guard":{"mode":"x"}`:                   "guard.mode",
		`"fallbacks":[{"provider":"p/q","upstream":"https://h","credential":"other"}]`: "fallbacks[0].credential",
	} {
		var m, c map[string]any
		if err := json.Unmarshal([]byte(config), &m); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte("{"+change+"}"), &c); err != nil {
			t.Fatal(err)
		}
		maps.Copy(m, c)
		text, _ := json.Marshal(m)
		if status, detail := add(string(text)); status != http.StatusBadRequest || !strings.Contains(detail, want) || strings.Contains(detail, "upstream-secret") || strings.Contains(detail, "no/such") {
			t.Errorf("%s: %d %q, want %q", change, status, detail, want)
		}
	}
	if status, detail := add(config); status != 200 {
		t.Fatalf("%d %s", status, detail)
	}
	if status, _ := add(config); status != http.StatusConflict {
		t.Errorf("the same again: %d, want 409", status)
	}
	ask := func(model string) int {
		return r.callWith(r.local.Key, http.MethodPost, *r.s.gatewayURL.Load()+"/v1/chat/completions", `{"model":"`+model+`","messages":[{"role":"user","content":"hi"}]}`, nil)
	}
	if status := ask("chat"); status != 200 || seen != "Bearer upstream-secret-42" {
		t.Errorf("the new route: %d, upstream saw %q", status, seen)
	}

	// What GET gives changes nothing when it is given back, and has no secret.
	var got, again api.StoredRouteBody
	r.call(http.MethodGet, "/api/v1/gateway/routes/chat", "", &got)
	text, _ := json.Marshal(map[string]any{"config": got.Config, "revision": got.Revision})
	if got.Config["credential"] != "vllm" || strings.Contains(string(text), "secret") {
		t.Errorf("got %s", text)
	}
	if status := r.call(http.MethodPatch, "/api/v1/gateway/routes/chat", string(text), &again); status != 200 || cmp.Diff(got, again) != "" {
		t.Errorf("given back: %d %s", status, cmp.Diff(got, again))
	}
	if status := r.call(http.MethodPatch, "/api/v1/gateway/routes/chat", `{"disabled":true,"revision":9}`, nil); status != http.StatusConflict {
		t.Errorf("another revision: %d, want 409", status)
	}
	if status := r.call(http.MethodPatch, "/api/v1/gateway/routes/chat", `{"disabled":true}`, nil); status != 200 || ask("chat") == 200 {
		t.Errorf("disabled: %d, and it is served", status)
	}
	r.call(http.MethodPatch, "/api/v1/gateway/routes/chat", `{"disabled":false}`, &again)
	if again.Revision != 3 || ask("chat") != 200 {
		t.Errorf("enabled: revision %d, answer %d", again.Revision, ask("chat"))
	}
	r.stop()

	// A restart without the credential: the route is told and not served.
	cfg.Gateway.Credentials = nil
	r = start(t, cfg, testOptions())
	var list struct{ Items []api.RouteStatus }
	r.call(http.MethodGet, "/api/v1/gateway/routes", "", &list)
	told := false
	for _, x := range list.Items {
		told = told || x.Name == "chat" && !x.Open && strings.Contains(x.Reason, "credential")
	}
	if !told || ask("chat") == 200 {
		t.Errorf("without its credential: %+v", list.Items)
	}
	r.stop()

	cfg.Gateway.Credentials = map[string]string{"vllm": "file:" + secret}
	r = start(t, cfg, testOptions())
	r.eventually("the stored route after a restart", func() bool { return ask("chat") == 200 })

	// Another process changes the routes: this one follows within a second.
	if err := r.s.store.UpdateRoutes(t.Context(), deleteRoute(t, "chat")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	r.eventually("the removal by another process", func() bool { return ask("chat") != 200 })
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if status := r.call(http.MethodDelete, "/api/v1/gateway/routes/fixed", "", nil); status != http.StatusNotFound {
		t.Errorf("a route of the configuration is removed: %d", status)
	}
	var trail struct{ Items []struct{ Action string } }
	r.call(http.MethodGet, "/api/v1/audit?object=route:chat", "", &trail)
	var actions []string
	for _, e := range trail.Items {
		actions = append(actions, e.Action)
	}
	if diff := cmp.Diff([]string{"gateway.route.change", "gateway.route.change", "gateway.route.add"}, actions); diff != "" {
		t.Error(diff)
	}
}

func deleteRoute(t *testing.T, name string) func(route.Tx) error {
	return func(tx route.Tx) error { return tx.DeleteRoute(t.Context(), name) }
}
