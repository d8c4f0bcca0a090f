// Package idptest is a small identity provider in the test's own process: it
// signs what it is told to, also what no honest one would.
package idptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Client is the client that the provider knows, with its secret.
const (
	Client = "warden"
	Secret = "client-secret-of-the-test"
)

// A Provider is one running identity provider.
type Provider struct {
	URL string
	T   testing.TB

	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey

	mu     sync.Mutex // guards the fields below
	claims map[string]any
	sign   func(p *Provider, claims map[string]any) string
	codes  map[string]url.Values // requests that wait for their exchange
	down   bool
	asked  map[string]int
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{T: t, codes: map[string]url.Values{}, asked: map[string]int{}, sign: (*Provider).RS256}
	var err error
	if p.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { p.json(w, map[string]any{"keys": p.keys()}) })
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) { // a real browser: it is signed in here already
		http.Redirect(w, r, r.URL.Query().Get("redirect_uri")+"?"+p.Authorize(r.URL.String()).Encode(), http.StatusSeeOther)
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Path]++
		down := p.down
		p.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	p.URL = srv.URL
	t.Cleanup(srv.Close)
	return p
}

// Down makes the provider answer nothing, or answer again.
func (p *Provider) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Asked returns how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Says sets the claims of the next tokens, on top of the usual ones, and how
// they are signed; nil means RS256.
func (p *Provider) Says(claims map[string]any, sign func(*Provider, map[string]any) string) {
	if sign == nil {
		sign = (*Provider).RS256
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims, p.sign = claims, sign
}

// Authorize is the person who signs in: it takes the address that the browser
// was sent to and returns what the provider sends back.
func (p *Provider) Authorize(address string) url.Values {
	p.T.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.T.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": Client, "code_challenge_method": "S256"} {
		if q.Get(name) != want {
			p.T.Errorf("authorization request: %s = %q, want %q", name, q.Get(name), want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(q.Get(name)) < 20 {
			p.T.Errorf("authorization request: %s = %q is short", name, q.Get(name))
		}
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = q
	p.mu.Unlock()
	return url.Values{"code": {code}, "state": {q.Get("state")}}
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	code := r.FormValue("code")
	p.mu.Lock()
	q, ok := p.codes[code]
	delete(p.codes, code) // a code works once
	claims, sign := p.claims, p.sign
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || id != Client || secret != Secret || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || r.FormValue("redirect_uri") != q.Get("redirect_uri") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		p.json(w, map[string]any{"error": "invalid_grant", "error_description": "with " + secret})
		return
	}
	all := p.Claims(map[string]any{"nonce": q.Get("nonce")})
	maps.Copy(all, claims)
	p.json(w, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": sign(p, all)})
}

// Claims returns the usual claims with others on top.
func (p *Provider) Claims(more map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": p.URL, "aud": Client, "sub": "sub-ann", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(),
		"name": "Ann", "email": "ann@example.com", "email_verified": true, "groups": []string{"ml"},
	}
	maps.Copy(c, more)
	return c
}

func (p *Provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.T.Error(err)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *Provider) keys() []map[string]any {
	x, y := make([]byte, 32), make([]byte, 32)
	p.ec.X.FillBytes(x)
	p.ec.Y.FillBytes(y)
	return []map[string]any{
		{"kty": "RSA", "kid": "r1", "use": "sig", "alg": "RS256", "n": b64(p.rsa.N.Bytes()), "e": b64(big.NewInt(int64(p.rsa.E)).Bytes())},
		{"kty": "EC", "kid": "e1", "use": "sig", "alg": "ES256", "crv": "P-256", "x": b64(x), "y": b64(y)},
	}
}

// text returns the part of a token that is signed.
func (p *Provider) text(header, claims map[string]any) string {
	h, err := json.Marshal(header)
	if err != nil {
		p.T.Error(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		p.T.Error(err)
	}
	return b64(h) + "." + b64(c)
}

// RS256 signs with the provider's RSA key.
func (p *Provider) RS256(claims map[string]any) string { return p.rsaWith("r1", claims) }

// UnknownKey signs with the RSA key under a name that nobody knows.
func (p *Provider) UnknownKey(claims map[string]any) string { return p.rsaWith("r9", claims) }

func (p *Provider) rsaWith(kid string, claims map[string]any) string {
	text := p.text(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT"}, claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.rsa, crypto.SHA256, sum[:])
	if err != nil {
		p.T.Error(err)
	}
	return text + "." + b64(sig)
}

// ES256 signs with the provider's P-256 key.
func (p *Provider) ES256(claims map[string]any) string {
	text := p.text(map[string]any{"alg": "ES256", "kid": "e1"}, claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.ec, sum[:])
	if err != nil {
		p.T.Error(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + b64(sig)
}

// None does not sign at all.
func (p *Provider) None(claims map[string]any) string {
	return p.text(map[string]any{"alg": "none"}, claims) + "."
}

// HS256 takes the public key for a shared secret.
func (p *Provider) HS256(claims map[string]any) string {
	der, err := x509.MarshalPKIXPublicKey(&p.rsa.PublicKey)
	if err != nil {
		p.T.Error(err)
	}
	text := p.text(map[string]any{"alg": "HS256", "kid": "r1"}, claims)
	h := hmac.New(sha256.New, der)
	h.Write([]byte(text))
	return text + "." + b64(h.Sum(nil))
}

// Forged signs with a key of somebody else.
func (p *Provider) Forged(claims map[string]any) string {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.T.Error(err)
	}
	return (&Provider{T: p.T, rsa: other}).RS256(claims)
}
