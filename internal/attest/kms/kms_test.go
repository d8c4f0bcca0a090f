package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A fake speaks the four protocols for one key.
type fake struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	if err != nil {
		f.t.Error(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	var body map[string]any
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			f.t.Error(err)
		}
	}
	sign := func(digest string, enc *base64.Encoding) []byte {
		b, err := enc.DecodeString(digest)
		if err != nil {
			f.t.Error(err)
		}
		sig, err := ecdsa.SignASN1(rand.Reader, f.key, b)
		if err != nil {
			f.t.Error(err)
		}
		return sig
	}
	answer := func(v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			f.t.Error(err)
		}
	}
	std := base64.StdEncoding
	switch target := r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Amz-Target"); strings.TrimSpace(target) {
	case "GET /v1/transit/keys/release":
		if r.Header.Get("X-Vault-Token") != "t" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		answer(map[string]any{"data": map[string]any{"latest_version": 2, "keys": map[string]any{"2": map[string]string{"public_key": text}}}})
	case "POST /v1/transit/sign/release/sha2-384":
		answer(map[string]any{"data": map[string]string{"signature": "vault:v2:" + std.EncodeToString(sign(body["input"].(string), std))}})
	case "POST / TrentService.GetPublicKey":
		answer(map[string]any{"PublicKey": der})
	case "POST / TrentService.Sign":
		answer(map[string]any{"Signature": sign(body["Message"].(string), std)})
	case "GET /v1/projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1/publicKey":
		answer(map[string]string{"pem": text})
	case "POST /v1/projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1:asymmetricSign":
		answer(map[string]any{"signature": sign(body["digest"].(map[string]any)["sha384"].(string), std)})
	case "GET /keys/k":
		x, y := make([]byte, 48), make([]byte, 48)
		f.key.X.FillBytes(x)
		f.key.Y.FillBytes(y)
		answer(map[string]any{"key": map[string]string{"kid": "https://v.vault.azure.net/keys/k/abc", "crv": "P-384", "x": base64.RawURLEncoding.EncodeToString(x), "y": base64.RawURLEncoding.EncodeToString(y)}})
	case "POST /keys/k/abc/sign":
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sign(body["value"].(string), base64.RawURLEncoding), &rs); err != nil {
			f.t.Error(err)
		}
		raw := make([]byte, 96)
		rs.R.FillBytes(raw[:48])
		rs.S.FillBytes(raw[48:])
		answer(map[string]string{"value": base64.RawURLEncoding.EncodeToString(raw)})
	default:
		f.t.Errorf("unexpected request %s", target)
		w.WriteHeader(http.StatusNotFound)
	}
}

func config(url string) Config {
	env := map[string]string{"VAULT_TOKEN": "t", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "GOOGLE_OAUTH_ACCESS_TOKEN": "g", "AZURE_ACCESS_TOKEN": "z"}
	return Config{Getenv: func(n string) string { return env[n] }, Endpoint: url}
}

var addresses = []string{
	"vault-transit://release", "awskms:///arn:aws:kms:eu-west-1:1:key/x", "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "azurekms://v/k",
}

func TestSign(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&fake{t, key})
	defer srv.Close()
	sum := sha512.Sum384([]byte("a statement"))
	for _, address := range addresses {
		s, err := Open(t.Context(), address, config(srv.URL))
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		sig, err := s.Sign(rand.Reader, sum[:], crypto.SHA384)
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
			t.Errorf("%s: signature does not verify: %v", address, err)
		}
	}
}

// A service that is missing, refuses, lies or redirects is an error that shows
// no credential.
func TestBadService(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for name, h := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "token s3cret")
		},
		"no_json":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"empty":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
	} {
		srv := httptest.NewServer(h)
		for _, address := range addresses {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := Open(ctx, address, config(srv.URL))
			cancel()
			if err == nil {
				t.Errorf("%s with %s: no error", name, address)
			} else if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s with %s: the error repeats the answer: %v", name, address, err)
			}
		}
		srv.Close()
	}
	for _, address := range []string{"", "file://x", "awskms:///", "gcpkms://projects/p", "azurekms://v", "azurekms://evil.com/k", "vault-transit://"} {
		if _, err := Open(t.Context(), address, config("")); err == nil {
			t.Errorf("%q: no error", address)
		}
	}
	for _, address := range addresses {
		if _, err := Open(t.Context(), address, Config{Getenv: func(string) string { return "" }}); err == nil || !strings.Contains(err.Error(), "not set") {
			t.Errorf("%s without credentials: %v", address, err)
		}
	}
}

// TestSignV4 is the case get-vanilla of the AWS Signature Version 4 test suite.
func TestSignV4(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.amazonaws.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	signV4(r, nil, "service", "us-east-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
	const want = "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
	if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
