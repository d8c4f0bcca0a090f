package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
)

// A TLSConfig lets the gateway speak TLS, and know programs by their
// certificates.
type TLSConfig struct {
	Cert     string         `yaml:"cert"`      // PEM file; "": plain HTTP
	Key      string         `yaml:"key"`       // PEM file
	ClientCA string         `yaml:"client_ca"` // PEM file of authorities for certificates of clients
	Clients  []ClientConfig `yaml:"clients"`
}

// A ClientConfig says who holds a certificate.
type ClientConfig struct {
	SPIFFE  string   `yaml:"spiffe"`  // id in the certificate, or a pattern with * for one element: spiffe://prod/ns/*/sa/chat
	Service string   `yaml:"service"` // name of the program; "": the id itself
	Roles   []string `yaml:"roles"`
	Routes  []string `yaml:"routes"` // that it may query; none: all that its roles allow
}

func (c TLSConfig) check() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("cert and key belong together")
	}
	if len(c.Clients) > 0 && c.ClientCA == "" {
		return errors.New("clients need client_ca: whose certificates count")
	}
	if c.ClientCA != "" && c.Cert == "" {
		return errors.New("client_ca needs cert and key: only over TLS clients show certificates")
	}
	for i, x := range c.Clients {
		if _, err := path.Match(x.SPIFFE, ""); err != nil || !strings.HasPrefix(x.SPIFFE, "spiffe://") {
			return fmt.Errorf("clients[%d].spiffe: %q, want a SPIFFE id or a pattern of some", i, x.SPIFFE)
		}
		if len(x.Roles) == 0 {
			return fmt.Errorf("clients[%d].roles: none", i)
		}
		if err := checkRoles(x.Roles); err != nil {
			return fmt.Errorf("clients[%d].roles: %w", i, err)
		}
	}
	return nil
}

// server returns the configuration of the listener; nil: plain HTTP.
func (c TLSConfig) server() (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil //nolint:nilnil // plain HTTP is a choice
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, configError("gateway.tls", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return nil, configError("gateway.tls.client_ca", err)
		}
		out.ClientCAs = x509.NewCertPool()
		if !out.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, configError("gateway.tls.client_ca", errors.New("it holds no certificate in PEM"))
		}
		out.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return out, nil
}

// peer says who holds the certificate that a client showed. The connection has
// checked it; its id must be one that is configured.
func (c TLSConfig) peer(r *http.Request) (access.Identity, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return access.Identity{}, false
	}
	leaf := r.TLS.VerifiedChains[0][0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe" || time.Now().After(leaf.NotAfter) { // a SPIFFE certificate has exactly one
		return access.Identity{}, false
	}
	id := leaf.URIs[0].String()
	for _, x := range c.Clients {
		if ok, err := path.Match(x.SPIFFE, id); err != nil || !ok {
			continue
		}
		name := x.Service
		if name == "" {
			name = id
		}
		return access.Identity{Principal: warden.Principal{ID: "service:" + strings.TrimPrefix(name, "service:"), Roles: x.Roles}, Routes: x.Routes, Expires: leaf.NotAfter}, true
	}
	return access.Identity{}, false
}
