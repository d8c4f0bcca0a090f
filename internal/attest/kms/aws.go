package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An aws is a key of AWS KMS (API version 2014-11-01), with requests signed by
// Signature Version 4.
type aws struct {
	cfg                         Config
	key, region, base           string
	accessKey, secret, sessions string
}

func newAWS(cfg Config, key string) (*aws, error) {
	a := &aws{cfg: cfg, key: key, base: cfg.Endpoint, region: cfg.Getenv("AWS_REGION"), sessions: cfg.Getenv("AWS_SESSION_TOKEN")}
	if f := strings.Split(key, ":"); len(f) >= 6 && f[0] == "arn" {
		a.region = f[3]
	}
	if a.region == "" {
		a.region = cfg.Getenv("AWS_DEFAULT_REGION")
	}
	if a.region == "" || strings.ContainsAny(a.region, "/.:@ ") {
		return nil, fmt.Errorf("AWS_REGION is not set, and the address is no ARN that names one")
	}
	var err error
	if a.accessKey, err = cfg.need("AWS_ACCESS_KEY_ID"); err != nil {
		return nil, err
	}
	if a.secret, err = cfg.need("AWS_SECRET_ACCESS_KEY"); err != nil {
		return nil, err
	}
	if a.base == "" {
		a.base = "https://kms." + a.region + ".amazonaws.com"
	}
	return a, nil
}

func (a *aws) call(ctx context.Context, operation string, body, out any) error {
	return a.cfg.ask(ctx, http.MethodPost, strings.TrimSuffix(a.base, "/")+"/", body, func(r *http.Request, text []byte) error {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "TrentService."+operation)
		if a.sessions != "" {
			r.Header.Set("X-Amz-Security-Token", a.sessions)
		}
		signV4(r, text, "kms", a.region, a.accessKey, a.secret, a.cfg.Now())
		return nil
	}, out)
}

func (a *aws) public(ctx context.Context) (*ecdsa.PublicKey, error) {
	var out struct{ PublicKey []byte }
	if err := a.call(ctx, "GetPublicKey", map[string]string{"KeyId": a.key}, &out); err != nil {
		return nil, err
	}
	return parseDER(out.PublicKey)
}

func (a *aws) sign(ctx context.Context, digest []byte, hash crypto.Hash) ([]byte, error) {
	alg, err := names(hash, "ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512")
	if err != nil {
		return nil, err
	}
	var out struct{ Signature []byte }
	err = a.call(ctx, "Sign", map[string]any{"KeyId": a.key, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": alg}, &out)
	return out.Signature, err
}

// signV4 signs a request without query parameters (AWS documentation, "Create a
// signed AWS API request").
func signV4(r *http.Request, body []byte, service, region, accessKey, secret string, now time.Time) {
	const format = "20060102T150405Z"
	stamp := now.UTC().Format(format)
	day := stamp[:8]
	r.Header.Set("X-Amz-Date", stamp)
	names := []string{"host"}
	for h := range r.Header {
		if name := strings.ToLower(h); strings.HasPrefix(name, "x-amz-") || name == "content-type" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, n := range names {
		v := r.Header.Get(n)
		if n == "host" {
			v = r.URL.Host
		}
		headers.WriteString(n + ":" + strings.TrimSpace(v) + "\n")
	}
	path := (&url.URL{Path: r.URL.Path}).EscapedPath()
	if path == "" {
		path = "/"
	}
	signed, sum := strings.Join(names, ";"), sha256.Sum256(body)
	canonical := strings.Join([]string{r.Method, path, "", headers.String(), signed, hex.EncodeToString(sum[:])}, "\n")
	scope := day + "/" + region + "/" + service + "/aws4_request"
	digest := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", accessKey, scope, signed, mac(key, text)))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
