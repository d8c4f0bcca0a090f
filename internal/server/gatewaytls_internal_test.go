package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t *testing.T, by *issued, id string, server bool) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	switch {
	case by == nil:
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		by = &issued{c, key}
	case server:
		c.DNSNames, c.ExtKeyUsage = []string{"gateway.test"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	default:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if id != "" {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = []*url.URL{u}
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return issued{c, key}
}

func (i issued) write(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	raw, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: i.cert.Raw}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A program is known by the SPIFFE id in its certificate, if an authority that
// is configured issued it and the id is one that is configured.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, foreign := issue(t, nil, "", false), issue(t, nil, "", false)
	var c TLSConfig
	c.Cert, c.Key = issue(t, &ca, "", true).write(t, dir, "server")
	c.ClientCA, _ = ca.write(t, dir, "ca")
	c.Clients = []ClientConfig{{SPIFFE: "spiffe://prod/ns/*/sa/chat", Service: "chat", Roles: []string{"client"}, Routes: []string{"support"}}}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.server()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := c.peer(r); ok {
			io.WriteString(w, id.Principal.ID)
		}
	}))
	s.TLS = cfg
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, tt := range []struct {
		name, id string
		by       *issued
		want     string
		refused  bool
	}{
		{"known", "spiffe://prod/ns/a/sa/chat", &ca, "service:chat", false},
		{"other_id", "spiffe://prod/ns/a/sa/batch", &ca, "", false},
		{"deeper_id", "spiffe://prod/ns/a/b/sa/chat", &ca, "", false},
		{"other_scheme", "https://prod/ns/a/sa/chat", &ca, "", false},
		{"no_id", "", &ca, "", false},
		{"foreign_authority", "spiffe://prod/ns/a/sa/chat", &foreign, "", true},
		{"none", "", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := &tls.Config{RootCAs: roots, ServerName: "gateway.test", MinVersion: tls.VersionTLS12}
			if tt.by != nil {
				x := issue(t, tt.by, tt.id, false)
				pair := tls.Certificate{Certificate: [][]byte{x.cert.Raw}, PrivateKey: x.key}
				conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
			defer client.CloseIdleConnections()
			resp, err := client.Get(s.URL)
			if tt.refused {
				if err == nil {
					t.Error("a certificate of a foreign authority is taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != tt.want {
				t.Errorf("got %q, %v; want %q", b, err, tt.want)
			}
		})
	}
	for name, bad := range map[string]func(*TLSConfig){
		"key_missing": func(c *TLSConfig) { c.Key = "" }, "no_authority": func(c *TLSConfig) { c.ClientCA = "" }, "no_tls": func(c *TLSConfig) { c.Cert, c.Key = "", "" },
		"pattern": func(c *TLSConfig) { c.Clients = []ClientConfig{{SPIFFE: "spiffe://[", Roles: []string{"client"}}} },
		"role":    func(c *TLSConfig) { c.Clients = []ClientConfig{{SPIFFE: "spiffe://a/b", Roles: []string{"king"}}} },
		"no_role": func(c *TLSConfig) { c.Clients = []ClientConfig{{SPIFFE: "spiffe://a/b"}} },
	} {
		x := c
		bad(&x)
		if x.check() == nil {
			t.Errorf("%s: the configuration is taken", name)
		}
	}
}
