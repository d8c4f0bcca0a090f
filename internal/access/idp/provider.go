package idp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	answerTime = 10 * time.Second // longest wait for a provider
	maxAnswer  = 1 << 20          // bytes of an answer
	maxToken   = 16 << 10         // bytes of a token
	askAgain   = 5 * time.Second  // between two tries, and between two looks at the keys
)

// algorithms lists how tokens may be signed: never by a shared secret, as every
// client would hold it, and never not at all.
func algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

// A lazy provider is asked about itself when it is first needed.
type lazy struct {
	issuer string
	client *http.Client

	mu    sync.Mutex // guards the fields below
	found *discovered
	err   error
	tried time.Time
}

// A discovered provider said where its endpoints and keys are.
type discovered struct {
	*oidc.Provider
	style oauth2.AuthStyle
}

func newLazy(issuer string, transport http.RoundTripper) *lazy {
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &lazy{issuer: issuer, client: &http.Client{
		Timeout: answerTime, Transport: &bounded{next: transport, kept: map[string]answer{}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a provider does not redirect") },
	}}
}

// context returns ctx with the client that everything is asked with.
func (l *lazy) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, l.client)
}

// provider returns the provider. One that did not answer is asked again, but not
// at every request.
func (l *lazy) provider(ctx context.Context) (*discovered, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found != nil {
		return l.found, nil
	}
	if l.err != nil && time.Since(l.tried) < askAgain {
		return nil, l.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime) // for all who wait
	defer cancel()
	p, err := oidc.NewProvider(l.context(ctx), l.issuer)
	l.tried = time.Now()
	if err != nil {
		l.err = fmt.Errorf("%w: %w", ErrProvider, err)
		return nil, l.err
	}
	var meta struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := p.Claims(&meta); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProvider, err)
	}
	l.found, l.err = &discovered{p, oauth2.AuthStyleInHeader}, nil
	if len(meta.Methods) > 0 && !slices.Contains(meta.Methods, "client_secret_basic") {
		l.found.style = oauth2.AuthStyleInParams
	}
	return l.found, nil
}

// verify checks signature, issuer, audience and times of a token.
func (d *discovered) verify(ctx context.Context, raw, audience string, now time.Time) (*oidc.IDToken, error) {
	if len(raw) > maxToken {
		return nil, fmt.Errorf("%w: %d bytes", ErrToken, len(raw))
	}
	early := func() time.Time { return now.Add(-Skew) } // what ended within the skew still holds
	t, err := d.Verifier(&oidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms(), Now: early}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	var c struct {
		NotBefore float64 `json:"nbf"`
		Party     string  `json:"azp"`
	}
	if err := t.Claims(&c); err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrToken, err)
	}
	late := now.Add(Skew)
	switch {
	case t.Subject == "" || len(t.Subject) > 255:
		return nil, fmt.Errorf("%w: subject", ErrToken)
	case t.IssuedAt.After(late) || c.NotBefore > float64(late.Unix()):
		return nil, fmt.Errorf("%w: from the future", ErrToken)
	case len(t.Audience) > 1 && c.Party != audience || c.Party != "" && c.Party != audience:
		return nil, fmt.Errorf("%w: made for another client", ErrToken)
	}
	return t, nil
}

// A bounded transport cuts answers that are too long, and gives the answer of a
// moment ago to a GET that is repeated: tokens with unknown keys, which anybody
// can send, do not make us ask the provider each time.
type bounded struct {
	next http.RoundTripper

	mu   sync.Mutex // guards kept
	kept map[string]answer
}

type answer struct {
	at     time.Time
	header http.Header
	body   []byte
}

// RoundTrip implements [http.RoundTripper].
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.String()
	if r.Method == http.MethodGet {
		b.mu.Lock()
		a, ok := b.kept[name]
		b.mu.Unlock()
		if ok && time.Since(a.at) < askAgain {
			return &http.Response{
				Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(),
				Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
			}, nil
		}
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(resp.Body, maxAnswer+1))
	err = errors.Join(err, resp.Body.Close())
	if n > maxAnswer {
		err = errors.Join(err, fmt.Errorf("answer of more than %d bytes", maxAnswer))
	}
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
		b.mu.Lock()
		b.kept[name] = answer{time.Now(), resp.Header.Clone(), body.Bytes()} // two addresses of one provider at most
		b.mu.Unlock()
	}
	resp.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	return resp, nil
}
