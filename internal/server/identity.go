package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/policy"
)

// An AccessConfig says who else may come in, besides access keys and links.
type AccessConfig struct {
	OIDC      OIDCConfig       `yaml:"oidc"`      // people sign in with this provider; without an issuer with none
	Workloads []WorkloadConfig `yaml:"workloads"` // tokens of programs that the API takes
}

// An OIDCConfig names an identity provider (OpenID Connect).
type OIDCConfig struct {
	Issuer         string              `yaml:"issuer"` // https://…
	ClientID       string              `yaml:"client_id"`
	ClientSecret   string              `yaml:"client_secret"`   // "file:PATH" or "env:NAME"; "": a public client
	Scopes         []string            `yaml:"scopes"`          // default: openid profile email
	GroupsClaim    string              `yaml:"groups_claim"`    // default: groups
	RoleMap        map[string][]string `yaml:"role_map"`        // group of the provider: roles here, also engineer@NAMESPACE
	AllowedDomains []string            `yaml:"allowed_domains"` // of verified mail addresses; none: every one
}

// A WorkloadConfig lets programs in that hold a token of a provider.
type WorkloadConfig struct {
	Issuer   string   `yaml:"issuer"`
	Audience string   `yaml:"audience"` // what the tokens must be made for
	Subject  string   `yaml:"subject"`  // pattern of the subjects that may come in; * stops at /
	Service  string   `yaml:"service"`  // service:NAME, who the program is here
	Roles    []string `yaml:"roles"`
}

// check returns an error for what can never work.
func (c AccessConfig) check() error {
	o := c.OIDC
	if o.Issuer == "" && (o.ClientID != "" || o.ClientSecret != "") {
		return configError("access.oidc.issuer", errors.New("is empty, but a client is named"))
	}
	if o.Issuer != "" {
		if err := idp.CheckIssuer(o.Issuer); err != nil {
			return configError("access.oidc.issuer", err)
		}
		if o.ClientID == "" {
			return configError("access.oidc.client_id", errors.New("is empty"))
		}
	}
	if s := o.ClientSecret; s != "" && !strings.HasPrefix(s, "file:") && !strings.HasPrefix(s, "env:") {
		return configError("access.oidc.client_secret", errors.New("secrets are references: file:PATH or env:NAME"))
	}
	for group, roles := range o.RoleMap {
		if err := checkRoles(roles); err != nil {
			return configError("access.oidc.role_map."+group, err)
		}
	}
	for i, w := range c.Workloads {
		if err := checkRoles(w.Roles); err != nil {
			return configError(fmt.Sprintf("access.workloads[%d].roles", i), err)
		}
	}
	if _, err := idp.NewWorkloads(c.workloads(), nil, nil, nil); err != nil {
		return configError("access.workloads", err)
	}
	return nil
}

func checkRoles(texts []string) error {
	for _, text := range texts {
		g, err := policy.ParseGrant(text)
		if err != nil {
			return err
		}
		if !slices.Contains(access.Roles(), g.Role) {
			return fmt.Errorf("unknown role %q: roles are %s", g.Role, strings.Join(access.Roles(), ", "))
		}
	}
	return nil
}

func (c AccessConfig) workloads() []idp.Workload {
	out := make([]idp.Workload, len(c.Workloads))
	for i, w := range c.Workloads {
		out[i] = idp.Workload{Issuer: w.Issuer, Audience: w.Audience, Subject: w.Subject, Service: w.Service, Roles: w.Roles}
	}
	return out
}

// identity makes what people and programs come in with.
func (s *Server) identity() (err error) {
	c := s.cfg.Access
	if s.workloads, err = idp.NewWorkloads(c.workloads(), s.access, nil, s.opts.Now); err != nil || c.OIDC.Issuer == "" {
		return err
	}
	var pass access.Secret
	if c.OIDC.ClientSecret != "" {
		if pass, err = secret(c.OIDC.ClientSecret, s.opts.Getenv); err != nil {
			return configError("access.oidc.client_secret", err)
		}
	}
	h := hmac.New(sha256.New, s.keys.pepper) // of its own, so that neither tells of the other
	h.Write([]byte("seal of logins"))
	s.login, err = idp.New(idp.Config{
		Issuer: c.OIDC.Issuer, ClientID: c.OIDC.ClientID, ClientSecret: pass, Scopes: c.OIDC.Scopes, GroupsClaim: c.OIDC.GroupsClaim, Roles: c.OIDC.RoleMap,
		Domains: c.OIDC.AllowedDomains, Redirect: func() string { return s.console() + "/api/v1/login/callback" }, Seal: h.Sum(nil), Now: s.opts.Now,
	})
	return err
}
