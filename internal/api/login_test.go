package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/access/idp/idptest"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// A browser keeps cookies and follows nothing.
type browser struct {
	t       *testing.T
	h       http.Handler
	cookies map[string]string
}

func (b *browser) get(target string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, target, nil)
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		b.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode {
			b.t.Errorf("cookie %s is not HttpOnly, Secure and SameSite=Lax: %+v", c.Name, c)
		}
	}
	return resp
}

func TestLoginWithProvider(t *testing.T) {
	server := idptest.New(t)
	p := servertest.New(t)
	login, err := idp.New(idp.Config{
		Issuer: server.URL, ClientID: idptest.Client, ClientSecret: idptest.Secret, Roles: map[string][]string{"ml": {"reader"}}, Domains: []string{"example.com"},
		Redirect: func() string { return "https://w.example/api/v1/login/callback" }, Seal: bytes.Repeat([]byte("s"), 32), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	work, err := idp.NewWorkloads([]idp.Workload{{Issuer: server.URL, Audience: "api", Subject: "job", Service: "service:ci", Roles: []string{"reader"}}}, p.Access, nil, p.Now)
	if err != nil {
		t.Fatal(err)
	}
	h := api.New(api.Config{Registry: p.Registry, Judge: p.Judge, Access: p.Access, Login: login, Workloads: work, Now: p.Now, Secure: true})
	b := &browser{t, h, map[string]string{}}
	walk := func(next string) string {
		t.Helper()
		to := b.get("/api/v1/login/begin?next=" + url.QueryEscape(next)).Header.Get("Location")
		return b.get("/api/v1/login/callback?" + server.Authorize(to).Encode()).Header.Get("Location")
	}
	if to := walk("/models"); to != "/#/models" {
		t.Fatalf("sent to %q", to)
	}
	first := b.cookies["warden_session"]
	if resp := b.get("/api/v1/models"); resp.StatusCode != http.StatusOK || first == "" || b.cookies["warden_login"] != "" {
		t.Fatalf("signed in: %d with cookies %v", resp.StatusCode, b.cookies)
	}
	if to := walk("/models?search=a%20b&state=denied"); to != "/#/models?search=a%20b&state=denied" {
		t.Errorf("sent to %q", to)
	}
	for _, next := range []string{"https://evil.example", "//evil.example", `/\evil.example`} {
		if to := walk(next); to != "/#/" {
			t.Errorf("next %q: sent to %q", next, to)
		}
	}
	// Each login rotates the session and ends the one before.
	if b.cookies["warden_session"] == first {
		t.Error("the session is the same after another login")
	}
	old := &browser{t, h, map[string]string{"warden_session": first}}
	if resp := old.get("/api/v1/models"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("session before the last login: %d", resp.StatusCode)
	}
	for what, do := range map[string]func() string{
		"flow": func() string { // a link that somebody else made
			to := (&browser{t, h, map[string]string{}}).get("/api/v1/login/begin").Header.Get("Location")
			return b.get("/api/v1/login/callback?" + server.Authorize(to).Encode()).Header.Get("Location")
		},
		"domain": func() string {
			server.Says(map[string]any{"sub": "eve", "email": "eve@evil.example"}, nil)
			return walk("/")
		},
		"mail": func() string {
			server.Says(map[string]any{"email_verified": false}, nil)
			return walk("/")
		},
		"token": func() string {
			server.Says(nil, (*idptest.Provider).HS256)
			return walk("/")
		},
	} {
		session := b.cookies["warden_session"]
		if to := do(); to != "/#/login?problem="+what {
			t.Errorf("%s: sent to %q", what, to)
		}
		if b.cookies["warden_session"] != session {
			t.Errorf("%s: a session began", what)
		}
		server.Says(nil, nil)
	}
	if resp := b.get("/api/v1/login"); resp.StatusCode != http.StatusOK {
		t.Errorf("ways to sign in: %d", resp.StatusCode)
	}
	for token, want := range map[string]int{
		server.RS256(server.Claims(map[string]any{"aud": "api", "sub": "job"})): 200, server.RS256(server.Claims(map[string]any{"sub": "job"})): 401,
		server.None(server.Claims(map[string]any{"aud": "api", "sub": "job"})): 401,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/models", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "audience") {
			t.Errorf("token: %d %s, want %d", w.Code, w.Body, want)
		}
	}
	// Without a provider there is nothing to begin.
	bare := &browser{t, api.New(api.Config{Registry: p.Registry, Judge: p.Judge, Access: p.Access, Now: p.Now}), map[string]string{}}
	for _, path := range []string{"/api/v1/login/begin", "/api/v1/login/callback?code=x&state=y"} {
		if resp := bare.get(path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s without a provider: %d", path, resp.StatusCode)
		}
	}
}
