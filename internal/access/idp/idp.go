// Package idp signs people in with an identity provider (OpenID Connect,
// authorization code with PKCE) and accepts the tokens that providers give to
// programs. It checks what the provider says; package access remembers it.
//
// Nothing is kept between the two halves of a login but a sealed cookie of the
// browser that began it: a login cannot be finished by another browser, twice,
// or after ten minutes.
package idp

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
)

// Errors that pages tell apart; each is wrapped by what is returned.
var (
	ErrFlow     = errors.New("login was not begun in this browser, or too long ago")
	ErrProvider = errors.New("identity provider cannot be asked")
	ErrRefused  = errors.New("identity provider refused")
	ErrToken    = errors.New("token is not valid")
	ErrMail     = errors.New("mail address is not verified")
	ErrDomain   = errors.New("mail address is of another domain")
)

// Skew is how far the clock of a provider may be off.
const Skew = time.Minute

// FlowTTL is how long somebody may take to sign in at the provider.
const FlowTTL = 10 * time.Minute

// A Config is what a Provider needs.
type Config struct {
	Issuer       string // https://…; http only on loopback
	ClientID     string
	ClientSecret access.Secret // "": a public client, by PKCE alone
	Scopes       []string      // none: openid profile email
	GroupsClaim  string        // "": groups
	Roles        map[string][]string
	Domains      []string          // of mail addresses; none: every address, also none
	Redirect     func() string     // URL of the second half of a login
	Seal         []byte            // 32 secret bytes
	Transport    http.RoundTripper // nil: the default
	Now          func() time.Time
}

// A Provider signs people in. It is safe for concurrent use.
type Provider struct {
	cfg  Config
	aead cipher.AEAD
	lazy *lazy
}

// New checks cfg. It asks nobody: a provider that is down stops no server.
func New(cfg Config) (*Provider, error) {
	if err := CheckIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.Redirect == nil || cfg.Now == nil {
		return nil, errors.New("idp: client id, redirect and clock are required")
	}
	block, err := aes.NewCipher(cfg.Seal)
	if err != nil || len(cfg.Seal) != 32 {
		return nil, errors.New("idp: want 32 bytes to seal with")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{oidc.ScopeOpenID, "profile", "email"}
	}
	if !slices.Contains(cfg.Scopes, oidc.ScopeOpenID) {
		cfg.Scopes = append([]string{oidc.ScopeOpenID}, cfg.Scopes...)
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	return &Provider{cfg: cfg, aead: aead, lazy: newLazy(cfg.Issuer, cfg.Transport)}, nil
}

// Issuer returns the name of the provider.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// A flow is what the browser keeps, sealed, between the halves of a login.
type flow struct {
	State, Nonce, Verifier, Next string
	Expires                      time.Time
}

// Begin returns where to send the browser, and the cookie that it must bring
// back. Next is where it goes in the end, as the console names its pages.
func (p *Provider) Begin(ctx context.Context, next string) (to string, cookie access.Secret, err error) {
	found, err := p.lazy.provider(ctx)
	if err != nil {
		return "", "", err
	}
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: Page(next), Expires: p.cfg.Now().Add(FlowTTL)}
	sealed, err := p.seal(f)
	if err != nil {
		return "", "", err
	}
	return p.oauth(found).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), sealed, nil
}

func (p *Provider) oauth(found *discovered) *oauth2.Config {
	end := found.Endpoint()
	end.AuthStyle = found.style
	return &oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret.Reveal(), Endpoint: end, RedirectURL: p.cfg.Redirect(), Scopes: p.cfg.Scopes}
}

// Page returns a page of the console, in the form of a fragment, or its first
// one for whatever is none: nobody is sent to another site.
func Page(next string) string {
	bad := func(r rune) bool {
		alnum := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !alnum && !strings.ContainsRune("-._~%/?:@!$&'()*+,;=", r) // what a fragment may hold, RFC 3986
	}
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || len(next) > 500 || strings.ContainsFunc(next, bad) || strings.HasPrefix(next, "/login") {
		return "/"
	}
	return next
}

func (p *Provider) seal(f flow) (access.Secret, error) {
	plain, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, p.aead.NonceSize())
	rand.Read(nonce)
	return access.Secret(base64.RawURLEncoding.EncodeToString(p.aead.Seal(nonce, nonce, plain, []byte(p.cfg.Issuer)))), nil
}

const maxCookie = 4096

func (p *Provider) open(cookie string) (f flow, err error) {
	if len(cookie) > maxCookie {
		return f, ErrFlow
	}
	b, err := base64.RawURLEncoding.DecodeString(cookie)
	n := p.aead.NonceSize()
	if err != nil || len(b) < n {
		return f, ErrFlow
	}
	plain, err := p.aead.Open(nil, b[:n], b[n:], []byte(p.cfg.Issuer))
	if err != nil || json.Unmarshal(plain, &f) != nil || !p.cfg.Now().Before(f.Expires) {
		return flow{}, ErrFlow
	}
	return f, nil
}

// Finish takes what the browser brings back from the provider, exchanges the
// code and checks the token. It returns what to log in with, and the page to go
// to. What is wrong with a token is in the error, for the log.
func (p *Provider) Finish(ctx context.Context, cookie string, q url.Values) (l access.Login, next string, err error) {
	f, err := p.open(cookie)
	if err != nil {
		return l, "", err
	}
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.State)) != 1 {
		return l, "", fmt.Errorf("%w: another state", ErrFlow)
	}
	if text := q.Get("error"); text != "" {
		return l, "", fmt.Errorf("%w: %.100q", ErrRefused, text)
	}
	found, err := p.lazy.provider(ctx)
	if err != nil {
		return l, "", err
	}
	// RFC 9207: a provider that says who it is must be the one we asked.
	if iss := q.Get("iss"); iss != "" && iss != p.cfg.Issuer {
		return l, "", fmt.Errorf("%w: answer of %.100q", ErrToken, iss)
	}
	if code := q.Get("code"); code == "" || len(code) > maxCookie {
		return l, "", fmt.Errorf("%w: no code", ErrRefused)
	}
	tok, err := p.oauth(found).Exchange(p.lazy.context(ctx), q.Get("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return l, "", exchangeError(err)
	}
	raw, ok := tok.Extra("id_token").(string)
	if !ok {
		return l, "", fmt.Errorf("%w: the provider sent none", ErrToken)
	}
	t, err := found.verify(ctx, raw, p.cfg.ClientID, p.cfg.Now())
	if err != nil {
		return l, "", err
	}
	if subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(f.Nonce)) != 1 {
		return l, "", fmt.Errorf("%w: another nonce", ErrToken)
	}
	if l, err = p.login(t); err != nil {
		return l, "", err
	}
	sum := sha256.Sum256([]byte(f.State))
	l.Token, l.Until = sum[:], f.Expires
	return l, f.Next, nil
}

// exchangeError keeps the provider's code of an error and leaves out the rest,
// which may hold secrets.
func exchangeError(err error) error {
	var re *oauth2.RetrieveError
	if errors.As(err, &re) && re.Response != nil && re.Response.StatusCode < 500 {
		return fmt.Errorf("%w: %d %.40q", ErrRefused, re.Response.StatusCode, re.ErrorCode)
	}
	return fmt.Errorf("%w: exchange the code", ErrProvider)
}

// login reads the claims of a checked token.
func (p *Provider) login(t *oidc.IDToken) (l access.Login, err error) {
	var c struct {
		Name     string `json:"name"`
		Mail     string `json:"email"`
		Verified *bool  `json:"email_verified"`
	}
	all := map[string]json.RawMessage{}
	if err := errors.Join(t.Claims(&c), t.Claims(&all)); err != nil {
		return l, fmt.Errorf("%w: claims: %w", ErrToken, err)
	}
	l = access.Login{Issuer: t.Issuer, Subject: t.Subject, Name: c.Name}
	switch {
	case c.Mail != "" && c.Verified != nil && !*c.Verified:
		return l, ErrMail
	case c.Verified != nil && *c.Verified:
		l.Mail = strings.ToLower(strings.TrimSpace(c.Mail))
	}
	if len(p.cfg.Domains) > 0 {
		if l.Mail == "" {
			return l, ErrMail
		}
		_, domain, _ := strings.Cut(l.Mail, "@")
		if !slices.ContainsFunc(p.cfg.Domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
			return l, ErrDomain
		}
	}
	for _, g := range texts(all[p.cfg.GroupsClaim]) {
		l.Roles = append(l.Roles, p.cfg.Roles[g]...)
	}
	slices.Sort(l.Roles)
	l.Roles = slices.Compact(l.Roles)
	return l, nil
}

// texts reads a claim that is a list of strings or one string.
func texts(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	return nil
}

// CheckIssuer returns an error for what cannot be a provider's name.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	loopback := err == nil && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("issuer %.100q is no https URL", issuer), Hint: "take the issuer from the provider's /.well-known/openid-configuration"}
	}
	return nil
}
