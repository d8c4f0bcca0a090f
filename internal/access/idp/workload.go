package idp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/access"
)

// A Workload says which tokens of a provider let which program in.
type Workload struct {
	Issuer   string
	Audience string   // tokens made for anybody else are refused
	Subject  string   // pattern of subjects as path.Match has it: repo:acme/models:ref:refs/heads/main
	Service  string   // "service:…", who the program is here
	Roles    []string // texts of grants
}

// Workloads accept the tokens of programs. The zero value accepts none. It is
// safe for concurrent use.
type Workloads struct {
	list      []Workload
	providers map[string]*lazy
	access    *access.Service
	now       func() time.Time
}

// NewWorkloads checks the list. It asks nobody.
func NewWorkloads(list []Workload, svc *access.Service, transport http.RoundTripper, now func() time.Time) (*Workloads, error) {
	w := &Workloads{list: list, providers: map[string]*lazy{}, access: svc, now: now}
	for i, x := range list {
		if err := CheckIssuer(x.Issuer); err != nil {
			return nil, fmt.Errorf("workload %d: %w", i, err)
		}
		_, err := path.Match(x.Subject, "x")
		name, ok := strings.CutPrefix(x.Service, "service:")
		switch {
		case err != nil || x.Subject == "" || strings.Trim(x.Subject, "*/") == "":
			return nil, fmt.Errorf("workload %d: subject %q: want a pattern of the subjects that may come in", i, x.Subject)
		case x.Audience == "":
			return nil, fmt.Errorf("workload %d: without an audience every token of the provider would do", i)
		case !ok || name == "" || name == "registry" || name == "gateway":
			return nil, fmt.Errorf("workload %d: service %q: want service:NAME, and not the platform's own", i, x.Service)
		}
		if w.providers[x.Issuer] == nil {
			w.providers[x.Issuer] = newLazy(x.Issuer, transport)
		}
	}
	return w, nil
}

// Token reports whether a credential looks like a token of a provider.
func Token(credential string) bool {
	return strings.HasPrefix(credential, "ey") && strings.Count(credential, ".") == 2
}

// Identify returns who holds a token. The error is [access.ErrUnknown] for
// every token that lets nobody in; with it comes the reason, for the log. A
// provider that cannot be asked lets nobody in, either.
func (w *Workloads) Identify(ctx context.Context, token string) (access.Identity, error) {
	if w == nil || len(token) > maxToken {
		return access.Identity{}, access.ErrUnknown
	}
	no := func(why error) (access.Identity, error) {
		return access.Identity{}, errors.Join(access.ErrUnknown, why)
	}
	issuer := issuerOf(token) // not checked yet: it only selects
	lz := w.providers[issuer]
	if lz == nil {
		return no(errors.New("issuer is not configured"))
	}
	found, err := lz.provider(ctx)
	if err != nil {
		return no(err)
	}
	for _, x := range w.list {
		if x.Issuer != issuer {
			continue
		}
		t, verr := found.verify(ctx, token, x.Audience, w.now())
		if verr != nil {
			err = verr
			continue
		}
		if ok, _ := path.Match(x.Subject, t.Subject); !ok {
			err = errors.New("subject is not configured")
			continue
		}
		return w.access.Service(ctx, x.Service, x.Roles, t.Expiry)
	}
	return no(err)
}

// issuerOf reads the issuer that a token names, before anything is checked.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(b, &c) != nil {
		return ""
	}
	return c.Issuer
}
