// Package kms signs with keys that live in a key management service: HashiCorp
// Vault (transit engine), AWS KMS, Google Cloud KMS, Azure Key Vault. Only a
// digest is sent, never a model. Each key is a [crypto.Signer] over plain HTTP;
// credentials come from the environment, as the services' own tools take them.
package kms

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A Config says how services are reached.
type Config struct {
	Getenv   func(string) string
	Client   *http.Client // zero: one that gives up after 30 seconds
	Endpoint string       // base URL instead of the service's own, for private endpoints
	Now      func() time.Time
}

// ErrScheme is wrapped for an address of no known service.
var ErrScheme = errors.New("unknown key service")

// Schemes lists the beginnings of addresses that Open takes.
func Schemes() []string {
	return []string{"vault-transit://", "awskms:///", "gcpkms://", "azurekms://"}
}

// Open finds the key at an address and reads its public half:
//
//	vault-transit://NAME                   VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE
//	awskms:///ARN or awskms:///alias/NAME  AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//	gcpkms://projects/…/cryptoKeyVersions/N  GOOGLE_OAUTH_ACCESS_TOKEN
//	azurekms://VAULT/KEY[/VERSION]         AZURE_ACCESS_TOKEN
//
// The signer keeps ctx: its requests end with it.
func Open(ctx context.Context, address string, cfg Config) (crypto.Signer, error) {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a key service does not redirect")
		}}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	scheme, rest, ok := strings.Cut(address, "://")
	rest = strings.TrimPrefix(rest, "/")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%w: %q", ErrScheme, address)
	}
	var s service
	var err error
	switch scheme {
	case "vault-transit":
		s, err = newVault(cfg, rest)
	case "awskms":
		s, err = newAWS(cfg, rest)
	case "gcpkms":
		s, err = newGoogle(cfg, rest)
	case "azurekms":
		s, err = newAzure(cfg, rest)
	default:
		return nil, fmt.Errorf("%w: %q", ErrScheme, scheme)
	}
	if err != nil {
		return nil, err
	}
	pub, err := s.public(ctx)
	if err != nil {
		return nil, fmt.Errorf("public key of %s: %w", address, err)
	}
	return &signer{ctx, s, pub, address}, nil
}

// A service holds one key.
type service interface {
	public(ctx context.Context) (*ecdsa.PublicKey, error)
	sign(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) // ASN.1
}

type signer struct {
	ctx     context.Context
	s       service
	pub     *ecdsa.PublicKey
	address string
}

// Public implements [crypto.Signer].
func (s *signer) Public() crypto.PublicKey { return s.pub }

// Sign implements [crypto.Signer]. What comes back is verified: a service that
// signs with another key than it showed is an error here, not at a verifier.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := s.s.sign(s.ctx, digest, opts.HashFunc())
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.address, err)
	}
	if !ecdsa.VerifyASN1(s.pub, digest, sig) {
		return nil, fmt.Errorf("sign with %s: the signature does not verify with the key that the service showed", s.address)
	}
	return sig, nil
}

const maxAnswer = 1 << 20

// ask makes one request with a JSON body and reads a JSON answer.
func (cfg Config) ask(ctx context.Context, method, url string, body any, prepare func(*http.Request, []byte) error, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := prepare(req, text); err != nil {
		return err
	}
	resp, err := cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := io.Copy(&answer, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the service answers %s", resp.Status) // its text may repeat what was sent
	}
	if err := json.Unmarshal(answer.Bytes(), out); err != nil {
		return fmt.Errorf("the answer is no JSON of the expected form: %w", err)
	}
	return nil
}

func bearer(token string) func(*http.Request, []byte) error {
	return func(r *http.Request, _ []byte) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

// need returns a variable of the environment that must be set.
func (cfg Config) need(name string) (string, error) {
	v := cfg.Getenv(name)
	if v == "" {
		return "", fmt.Errorf("%s is not set", name)
	}
	return v, nil
}

func parsePEM(text string) (*ecdsa.PublicKey, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return nil, errors.New("the service shows no PEM key")
	}
	return parseDER(b.Bytes)
}

func parseDER(der []byte) (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T, want ECDSA", key)
	}
	return ec, nil
}

// names says how a service calls a hash.
func names(hash crypto.Hash, sha256, sha384, sha512 string) (string, error) {
	switch hash {
	case crypto.SHA256:
		return sha256, nil
	case crypto.SHA384:
		return sha384, nil
	case crypto.SHA512:
		return sha512, nil
	default:
		return "", fmt.Errorf("hash %v is not signed here", hash)
	}
}
