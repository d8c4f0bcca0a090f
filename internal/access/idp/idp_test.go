package idp_test

import (
	"bytes"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/access/idp/idptest"
	"github.com/modelwarden/warden/internal/server/servertest"
)

const callback = "https://warden.example/api/v1/login/callback"

func config(p *idptest.Provider) idp.Config {
	return idp.Config{
		Issuer: p.URL, ClientID: idptest.Client, ClientSecret: idptest.Secret, Roles: map[string][]string{"ml": {"engineer@team-a"}, "sec": {"security"}},
		Redirect: func() string { return callback }, Seal: bytes.Repeat([]byte("s"), 32), Now: time.Now,
	}
}

func provider(t *testing.T, cfg idp.Config) *idp.Provider {
	t.Helper()
	p, err := idp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// walk is one whole login.
func walk(t *testing.T, server *idptest.Provider, p *idp.Provider) (access.Login, error) {
	t.Helper()
	to, cookie, err := p.Begin(t.Context(), "/models")
	if err != nil {
		return access.Login{}, err
	}
	l, next, err := p.Finish(t.Context(), cookie.Reveal(), server.Authorize(to))
	if err == nil && next != "/models" {
		t.Errorf("next page %q", next)
	}
	return l, err
}

func TestLogin(t *testing.T) {
	server := idptest.New(t)
	p := provider(t, config(server))
	for _, sign := range []func(*idptest.Provider, map[string]any) string{(*idptest.Provider).RS256, (*idptest.Provider).ES256} {
		server.Says(nil, sign)
		l, err := walk(t, server, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Token) != 32 || l.Until.Before(time.Now()) {
			t.Errorf("token %x until %v", l.Token, l.Until)
		}
		l.Token, l.Until = nil, time.Time{}
		want := access.Login{Issuer: server.URL, Subject: "sub-ann", Name: "Ann", Mail: "ann@example.com", Roles: []string{"engineer@team-a"}}
		if diff := cmp.Diff(want, l); diff != "" {
			t.Error(diff)
		}
	}
}

// What a dishonest or broken provider, or somebody between, may send.
func TestHostileTokens(t *testing.T) {
	server := idptest.New(t)
	p := provider(t, config(server))
	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, tt := range []struct {
		name   string
		claims map[string]any
		sign   func(*idptest.Provider, map[string]any) string
		want   error // nil: it is let in
	}{
		{"other_issuer", map[string]any{"iss": "https://evil.example"}, nil, idp.ErrToken},
		{"no_issuer", map[string]any{"iss": ""}, nil, idp.ErrToken},
		{"other_audience", map[string]any{"aud": "other"}, nil, idp.ErrToken},
		{"no_audience", map[string]any{"aud": []string{}}, nil, idp.ErrToken},
		{"two_audiences_no_party", map[string]any{"aud": []string{idptest.Client, "other"}}, nil, idp.ErrToken},
		{"two_audiences_other_party", map[string]any{"aud": []string{idptest.Client, "other"}, "azp": "other"}, nil, idp.ErrToken},
		{"two_audiences", map[string]any{"aud": []string{idptest.Client, "other"}, "azp": idptest.Client}, nil, nil},
		{"other_nonce", map[string]any{"nonce": "x"}, nil, idp.ErrToken},
		{"no_nonce", map[string]any{"nonce": ""}, nil, idp.ErrToken},
		{"no_subject", map[string]any{"sub": ""}, nil, idp.ErrToken},
		{"long_subject", map[string]any{"sub": strings.Repeat("x", 256)}, nil, idp.ErrToken},
		{"expired", map[string]any{"exp": at(-61 * time.Second)}, nil, idp.ErrToken},
		{"expired_within_skew", map[string]any{"exp": at(-50 * time.Second)}, nil, nil},
		{"no_expiry", map[string]any{"exp": 0}, nil, idp.ErrToken},
		{"from_the_future", map[string]any{"iat": at(70 * time.Second)}, nil, idp.ErrToken},
		{"from_the_future_within_skew", map[string]any{"iat": at(50 * time.Second)}, nil, nil},
		{"not_yet", map[string]any{"nbf": at(70 * time.Second)}, nil, idp.ErrToken},
		{"not_yet_within_skew", map[string]any{"nbf": at(50 * time.Second)}, nil, nil},
		{"none", nil, (*idptest.Provider).None, idp.ErrToken},
		{"hs256_with_public_key", nil, (*idptest.Provider).HS256, idp.ErrToken},
		{"unknown_key", nil, (*idptest.Provider).UnknownKey, idp.ErrToken},
		{"forged", nil, (*idptest.Provider).Forged, idp.ErrToken},
		{"garbage", nil, func(*idptest.Provider, map[string]any) string { return "a.b.c" }, idp.ErrToken},
		{"empty", nil, func(*idptest.Provider, map[string]any) string { return "" }, idp.ErrToken},
		{"huge", map[string]any{"x": strings.Repeat("x", 20_000)}, nil, idp.ErrToken},
		{"mail_not_verified", map[string]any{"email_verified": false}, nil, idp.ErrMail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Says(tt.claims, tt.sign)
			if _, err := walk(t, server, p); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
	if n := server.Asked("/keys"); n > 3 {
		t.Errorf("the provider was asked for its keys %d times: unknown keys must not make us ask each time", n)
	}
}

func TestDomains(t *testing.T) {
	server := idptest.New(t)
	cfg := config(server)
	cfg.Domains = []string{"Example.com"}
	p := provider(t, cfg)
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   error
	}{
		{"same", nil, nil},
		{"other_case", map[string]any{"email": "Ann@EXAMPLE.com"}, nil},
		{"other", map[string]any{"email": "ann@evil.example"}, idp.ErrDomain},
		{"below", map[string]any{"email": "ann@sub.example.com"}, idp.ErrDomain},
		{"in_front", map[string]any{"email": "ann@example.com@evil.example"}, idp.ErrDomain},
		{"no_word_of_it", map[string]any{"email_verified": nil}, idp.ErrMail},
		{"no_mail", map[string]any{"email": ""}, idp.ErrMail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Says(tt.claims, nil)
			if _, err := walk(t, server, p); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

// What somebody between browser, provider and server may change or repeat.
func TestHostileFlow(t *testing.T) {
	server := idptest.New(t)
	now := time.Now()
	cfg := config(server)
	cfg.Now = func() time.Time { return now }
	p := provider(t, cfg)
	begin := func() (string, url.Values) {
		t.Helper()
		to, cookie, err := p.Begin(t.Context(), "/")
		if err != nil {
			t.Fatal(err)
		}
		return cookie.Reveal(), server.Authorize(to)
	}
	refuse := func(what, cookie string, q url.Values, want error) {
		t.Helper()
		if _, _, err := p.Finish(t.Context(), cookie, q); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	cookie, q := begin()
	other, _ := begin()
	refuse("cookie of another login", other, q, idp.ErrFlow)
	refuse("no cookie", "", q, idp.ErrFlow)
	refuse("changed cookie", cookie[:len(cookie)-2]+"AA", q, idp.ErrFlow)
	refuse("huge cookie", strings.Repeat("A", 1<<20), q, idp.ErrFlow)
	refuse("no state", cookie, url.Values{"code": q["code"]}, idp.ErrFlow)
	refuse("other state", cookie, url.Values{"code": q["code"], "state": {"x"}}, idp.ErrFlow)
	refuse("no code", cookie, url.Values{"state": q["state"]}, idp.ErrRefused)
	refuse("other provider", cookie, url.Values{"code": q["code"], "state": q["state"], "iss": {"https://evil.example"}}, idp.ErrToken)
	refuse("refused by the person", cookie, url.Values{"error": {"access_denied"}, "state": q["state"]}, idp.ErrRefused)
	if _, _, err := p.Finish(t.Context(), cookie, q); err != nil {
		t.Fatal(err)
	}
	_, _, err := p.Finish(t.Context(), cookie, q)
	if !errors.Is(err, idp.ErrRefused) || strings.Contains(err.Error(), idptest.Secret) {
		t.Errorf("replayed code: %v", err)
	}
	// A code that somebody else's login got does not fit the verifier of this one.
	cookie, mine := begin()
	_, theirs := begin()
	refuse("injected code", cookie, url.Values{"code": theirs["code"], "state": mine["state"]}, idp.ErrRefused)
	cookie, q = begin()
	now = now.Add(idp.FlowTTL)
	refuse("too late", cookie, q, idp.ErrFlow)
}

func TestProviderDown(t *testing.T) {
	server := idptest.New(t)
	server.Down(true)
	p := provider(t, config(server))
	for range 5 {
		if _, err := walk(t, server, p); !errors.Is(err, idp.ErrProvider) {
			t.Fatalf("error = %v, want ErrProvider", err)
		}
	}
	if n := server.Asked("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times within seconds, want once", n)
	}
	server.Down(false)
	p = provider(t, config(server))
	to, cookie, err := p.Begin(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	q := server.Authorize(to)
	server.Down(true)
	if _, _, err := p.Finish(t.Context(), cookie.Reveal(), q); !errors.Is(err, idp.ErrProvider) {
		t.Errorf("down before the exchange: %v", err)
	}
}

func TestPage(t *testing.T) {
	for next, want := range map[string]string{
		"/models": "/models", "/models?search=x": "/models?search=x", "": "/", "https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", "/a\r\nSet-Cookie: x": "/",
		"javascript:alert(1)": "/", "/login?link=x": "/", "/" + strings.Repeat("a", 600): "/",
	} {
		if got := idp.Page(next); got != want {
			t.Errorf("Page(%q) = %q, want %q", next, got, want)
		}
	}
}

func TestCheckIssuer(t *testing.T) {
	for issuer, good := range map[string]bool{
		"https://idp.example": true, "https://idp.example/realms/x": true, "http://127.0.0.1:1": true, "http://idp.example": false, "": false, "idp.example": false,
		"https://u:p@idp.example": false, "https://idp.example?x": false, "file:///etc": false,
	} {
		if err := idp.CheckIssuer(issuer); (err == nil) != good {
			t.Errorf("CheckIssuer(%q) = %v", issuer, err)
		}
	}
}

// Users of a provider: the first login makes one, an invited one is taken once,
// and nobody becomes somebody else by an address.
func TestLogIn(t *testing.T) {
	p := servertest.New(t)
	ctx := t.Context()
	n := byte(0)
	in := func(issuer, subject, mail string, roles ...string) (access.Session, error) {
		t.Helper()
		n++
		s, _, err := p.Access.LogIn(ctx, access.Login{Issuer: issuer, Subject: subject, Mail: mail, Roles: roles, Token: []byte{n}, Until: p.Now().Add(time.Minute)})
		return s, err
	}
	user := func(want string, s access.Session, err error) {
		t.Helper()
		if err != nil || s.Principal != want {
			t.Errorf("signed in as %q, %v, want %s", s.Principal, err, want)
		}
	}
	s, err := in("https://a", "1", "ann@example.com", "engineer@team-a")
	user("user:ann@example.com", s, err)
	s, err = in("https://a", "1", "ann@new.example")
	user("user:ann@example.com", s, err)
	s, err = in("https://b", "1", "ann@example.com")
	if err != nil || s.Principal == "user:ann@example.com" {
		t.Errorf("the same address at another provider signed in as %s, %v", s.Principal, err)
	}
	if _, err := p.Access.AddUser(ctx, access.User{ID: "user:bob", Mail: "bob@example.com", Roles: []string{"reader"}}, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	s, err = in("https://a", "2", "")
	if err != nil || s.Principal == "user:bob" {
		t.Errorf("no verified address: %s, %v", s.Principal, err)
	}
	s, err = in("https://a", "3", "bob@example.com")
	user("user:bob", s, err)
	s, err = in("https://a", "4", "bob@example.com")
	if err != nil || s.Principal == "user:bob" {
		t.Errorf("an invitation works twice: %s, %v", s.Principal, err)
	}
	off := true
	if _, err := p.Access.SetUser(ctx, "user:bob", access.UserChange{Disabled: &off}, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"3", "5"} {
		if _, err := in("https://a", subject, "bob@example.com"); !errors.Is(err, access.ErrDisabled) {
			t.Errorf("disabled user with subject %s: %v", subject, err)
		}
	}
	if _, err := in("https://a", "9", "eve@example.com", "root"); err == nil {
		t.Error("a role that does not exist was given")
	}
	twice := access.Login{Issuer: "https://a", Subject: "1", Token: []byte("x"), Until: p.Now().Add(time.Minute)}
	if _, _, err := p.Access.LogIn(ctx, twice); err != nil {
		t.Error(err)
	}
	if _, _, err := p.Access.LogIn(ctx, twice); !errors.Is(err, access.ErrUsedTwice) {
		t.Errorf("used twice: %v", err)
	}
}

func TestWorkloads(t *testing.T) {
	server, other := idptest.New(t), idptest.New(t)
	p := servertest.New(t)
	w, err := idp.NewWorkloads([]idp.Workload{
		{Issuer: server.URL, Audience: "warden-api", Subject: "repo:acme/*", Service: "service:ci", Roles: []string{"engineer@team-a"}},
	}, p.Access, nil, p.Now)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(more map[string]any) map[string]any {
		c := server.Claims(map[string]any{"aud": "warden-api", "sub": "repo:acme/models"})
		maps.Copy(c, more)
		return c
	}
	id, err := w.Identify(t.Context(), server.RS256(claims(nil)))
	if err != nil || id.Principal.ID != "service:ci" || !slices.Equal(id.Principal.Roles, []string{"engineer@team-a"}) {
		t.Errorf("Identify = %+v, %v", id, err)
	}
	for name, token := range map[string]string{
		"other_audience": server.RS256(claims(map[string]any{"aud": "warden"})), "other_subject": server.RS256(claims(map[string]any{"sub": "repo:evil/models"})),
		"longer_subject": server.RS256(claims(map[string]any{"sub": "repo:acme/models/more"})), "expired": server.RS256(claims(map[string]any{"exp": 1})),
		"not_configured":    other.RS256(other.Claims(map[string]any{"aud": "warden-api", "sub": "repo:acme/models"})),
		"signed_by_another": other.RS256(claims(nil)), "none": server.None(claims(nil)), "hs256": server.HS256(claims(nil)), "unknown_key": server.UnknownKey(claims(nil)),
		"garbage": "eyJ.eyJ.x", "empty": "", "huge": "ey" + strings.Repeat("A", 1<<20) + ".a.b",
	} {
		if _, err := w.Identify(t.Context(), token); !errors.Is(err, error(access.ErrUnknown)) {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
	}
	if n := other.Asked("/.well-known/openid-configuration"); n != 0 {
		t.Errorf("a provider that a token names was asked %d times", n)
	}
	var none *idp.Workloads
	if _, err := none.Identify(t.Context(), server.RS256(claims(nil))); !errors.Is(err, error(access.ErrUnknown)) {
		t.Errorf("without any: %v", err)
	}
	for name, bad := range map[string]idp.Workload{
		"no_audience": {Issuer: server.URL, Subject: "x", Service: "service:x"}, "everybody": {Issuer: server.URL, Subject: "*", Audience: "a", Service: "service:x"},
		"platform": {Issuer: server.URL, Subject: "x", Audience: "a", Service: "service:registry"}, "person": {Issuer: server.URL, Subject: "x", Audience: "a", Service: "user:ann"},
		"plain_http": {Issuer: "http://idp.example", Subject: "x", Audience: "a", Service: "service:x"},
	} {
		if _, err := idp.NewWorkloads([]idp.Workload{bad}, p.Access, nil, p.Now); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzFinish(f *testing.F) {
	cfg := idp.Config{Issuer: "https://127.0.0.1:1", ClientID: "x", Redirect: func() string { return callback }, Seal: make([]byte, 32), Now: time.Now}
	p, err := idp.New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "state=x&code=y")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "error=x")
	f.Fuzz(func(t *testing.T, cookie, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if _, _, err := p.Finish(t.Context(), cookie, q); !errors.Is(err, idp.ErrFlow) {
			t.Errorf("%v", err)
		}
	})
}
