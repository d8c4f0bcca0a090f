package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
)

// A google is a key version of Google Cloud KMS (REST API v1).
type google struct {
	cfg               Config
	name, base, token string
}

func newGoogle(cfg Config, name string) (*google, error) {
	if f := strings.Split(name, "/"); len(f) != 10 || f[0] != "projects" || f[8] != "cryptoKeyVersions" {
		return nil, fmt.Errorf("gcpkms://%s: want projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N", name)
	}
	g := &google{cfg: cfg, name: name, base: cfg.Endpoint}
	if g.base == "" {
		g.base = "https://cloudkms.googleapis.com"
	}
	var err error
	g.token, err = cfg.need("GOOGLE_OAUTH_ACCESS_TOKEN")
	return g, err
}

func (g *google) public(ctx context.Context) (*ecdsa.PublicKey, error) {
	var out struct {
		PEM string `json:"pem"`
	}
	if err := g.cfg.ask(ctx, http.MethodGet, g.base+"/v1/"+g.name+"/publicKey", nil, bearer(g.token), &out); err != nil {
		return nil, err
	}
	return parsePEM(out.PEM)
}

func (g *google) sign(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	alg, err := names(hash, "sha256", "sha384", "sha512")
	if err != nil {
		return nil, err
	}
	var out struct {
		Signature []byte `json:"signature"`
	}
	err = g.cfg.ask(ctx, http.MethodPost, g.base+"/v1/"+g.name+":asymmetricSign", map[string]any{"digest": map[string][]byte{alg: digest}}, bearer(g.token), &out)
	return out.Signature, err
}

// An azure is a key of Azure Key Vault (REST API 7.4).
type azure struct {
	cfg              Config
	base, key, token string
}

const azureVersion = "?api-version=7.4"

func newAzure(cfg Config, name string) (*azure, error) {
	f := strings.Split(name, "/")
	if len(f) < 2 || len(f) > 3 || strings.ContainsAny(f[0], ".:@") {
		return nil, fmt.Errorf("azurekms://%s: want VAULT/KEY or VAULT/KEY/VERSION", name)
	}
	a := &azure{cfg: cfg, base: cfg.Endpoint, key: url.PathEscape(f[1])}
	if len(f) == 3 {
		a.key += "/" + url.PathEscape(f[2])
	}
	if a.base == "" {
		a.base = "https://" + f[0] + ".vault.azure.net"
	}
	var err error
	a.token, err = cfg.need("AZURE_ACCESS_TOKEN")
	return a, err
}

func (a *azure) public(ctx context.Context) (*ecdsa.PublicKey, error) {
	var out struct {
		Key struct {
			ID    string `json:"kid"`
			Curve string `json:"crv"`
			X     string `json:"x"`
			Y     string `json:"y"`
		} `json:"key"`
	}
	if err := a.cfg.ask(ctx, http.MethodGet, a.base+"/keys/"+a.key+azureVersion, nil, bearer(a.token), &out); err != nil {
		return nil, err
	}
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[out.Key.Curve]
	if !ok {
		return nil, fmt.Errorf("the key is on %.20q, want P-256, P-384 or P-521", out.Key.Curve)
	}
	if id, err := url.Parse(out.Key.ID); err == nil && !strings.Contains(a.key, "/") {
		if version := strings.Split(strings.Trim(id.Path, "/"), "/"); len(version) == 3 {
			a.key += "/" + version[2] // sign with the version that was shown
		}
	}
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4} // uncompressed
	for _, text := range []string{out.Key.X, out.Key.Y} {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) > size {
			return nil, errors.New("the key has no coordinates")
		}
		point = append(point, make([]byte, size-len(b))...)
		point = append(point, b...)
	}
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}

func (a *azure) sign(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	alg, err := names(hash, "ES256", "ES384", "ES512")
	if err != nil {
		return nil, err
	}
	var out struct {
		Value string `json:"value"`
	}
	body := map[string]string{"alg": alg, "value": base64.RawURLEncoding.EncodeToString(digest)}
	if err := a.cfg.ask(ctx, http.MethodPost, a.base+"/keys/"+a.key+"/sign"+azureVersion, body, bearer(a.token), &out); err != nil {
		return nil, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(out.Value)
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return nil, errors.New("the answer holds no signature")
	}
	half := len(raw) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
}
