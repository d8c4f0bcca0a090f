package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A vault is a key of the transit engine (Vault HTTP API, "Transit secrets
// engine").
type vault struct {
	cfg              Config
	base, key, token string
	namespace        string
	version          int // of the key that was shown: signatures are asked of it
}

func newVault(cfg Config, key string) (*vault, error) {
	v := &vault{cfg: cfg, key: key, base: cfg.Endpoint, namespace: cfg.Getenv("VAULT_NAMESPACE")}
	var err error
	if v.token, err = cfg.need("VAULT_TOKEN"); err != nil {
		return nil, err
	}
	if v.base == "" {
		if v.base, err = cfg.need("VAULT_ADDR"); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *vault) prepare(r *http.Request, _ []byte) error {
	r.Header.Set("X-Vault-Token", v.token)
	if v.namespace != "" {
		r.Header.Set("X-Vault-Namespace", v.namespace)
	}
	return nil
}

func (v *vault) url(parts ...string) string {
	return strings.TrimSuffix(v.base, "/") + "/v1/transit/" + strings.Join(parts, "/")
}

func (v *vault) public(ctx context.Context) (*ecdsa.PublicKey, error) {
	var out struct {
		Data struct {
			Latest int `json:"latest_version"`
			Keys   map[string]struct {
				PublicKey string `json:"public_key"`
			} `json:"keys"`
		} `json:"data"`
	}
	if err := v.cfg.ask(ctx, http.MethodGet, v.url("keys", url.PathEscape(v.key)), nil, v.prepare, &out); err != nil {
		return nil, err
	}
	v.version = out.Data.Latest
	return parsePEM(out.Data.Keys[strconv.Itoa(out.Data.Latest)].PublicKey)
}

func (v *vault) sign(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	alg, err := names(hash, "sha2-256", "sha2-384", "sha2-512")
	if err != nil {
		return nil, err
	}
	var out struct {
		Data struct {
			Signature string `json:"signature"`
		} `json:"data"`
	}
	body := map[string]any{"input": base64.StdEncoding.EncodeToString(digest), "prehashed": true, "marshaling_algorithm": "asn1", "key_version": v.version}
	if err := v.cfg.ask(ctx, http.MethodPost, v.url("sign", url.PathEscape(v.key), alg), body, v.prepare, &out); err != nil {
		return nil, err
	}
	parts := strings.Split(out.Data.Signature, ":")
	if len(parts) != 3 || parts[0] != "vault" {
		return nil, errors.New("the answer holds no signature")
	}
	sig, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("the signature is no base64: %w", err)
	}
	return sig, nil
}
