// Package keyless verifies and makes signatures of short-lived certificates:
// an identity provider says who signs, Fulcio issues a certificate for minutes,
// and Rekor logs the signature. Verifying opens no connection: it needs a
// trusted root, which is a file.
//
// It is the only package that knows sigstore-go, which is large.
package keyless

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
)

// productionRoot is the trusted root of the public Sigstore instance; see
// trust/README.md for its origin and licence.
//
//go:embed trust/sigstore-prod-trusted_root.json
var productionRoot []byte

// A VerifierConfig says whose signatures are taken. Identity and Issuer are
// compared whole unless the patterns, which are anchored, are given instead.
type VerifierConfig struct {
	TrustedRoot                    []byte // Sigstore trusted_root.json; empty: the public instance
	Identity, Issuer               string
	IdentityPattern, IssuerPattern string // regular expressions for the whole text
}

// A Verifier checks bundles against one identity. It is safe for concurrent use.
type Verifier struct {
	verifier *verify.Verifier
	identity verify.CertificateIdentity
}

// NewVerifier checks cfg. It opens no connection.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	text := cfg.TrustedRoot
	if len(text) == 0 {
		text = productionRoot
	}
	trusted, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	if (cfg.Identity == "") == (cfg.IdentityPattern == "") || (cfg.Issuer == "") == (cfg.IssuerPattern == "") {
		return nil, errors.New("a keyless signer is an identity and an issuer, each as text or as a pattern: nobody else is who they say")
	}
	anchored := func(p string) (string, error) {
		if p == "" {
			return "", nil
		}
		_, err := regexp.Compile(p)
		return `\A(?:` + p + `)\z`, err
	}
	idPattern, err := anchored(cfg.IdentityPattern)
	if err != nil {
		return nil, fmt.Errorf("identity pattern: %w", err)
	}
	issPattern, err := anchored(cfg.IssuerPattern)
	if err != nil {
		return nil, fmt.Errorf("issuer pattern: %w", err)
	}
	id, err := verify.NewShortCertificateIdentity(cfg.Issuer, issPattern, cfg.Identity, idPattern)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	v, err := verify.NewVerifier(trusted, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	return &Verifier{v, id}, nil
}

// Verify checks certificate, log entry and signature of a bundle. It says
// nothing of the files that the statement lists.
func (v *Verifier) Verify(_ context.Context, text []byte) (oms.KeylessSigner, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return oms.KeylessSigner{}, fmt.Errorf("%w: bundle: %w", oms.ErrRejected, err)
	}
	res, err := v.verifier.Verify(&b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithCertificateIdentity(v.identity)))
	if err != nil {
		return oms.KeylessSigner{}, fmt.Errorf("%w: %w", oms.ErrRejected, err)
	}
	who := oms.KeylessSigner{Identity: res.Signature.Certificate.SubjectAlternativeName, Issuer: res.Signature.Certificate.Issuer}
	for _, ts := range res.VerifiedTimestamps {
		if who.Time.IsZero() || ts.Timestamp.Before(who.Time) {
			who.Time = ts.Timestamp
		}
	}
	if who.Identity == "" || who.Issuer == "" || who.Time.IsZero() {
		return oms.KeylessSigner{}, fmt.Errorf("%w: the certificate names no identity, issuer or time", oms.ErrRejected)
	}
	return who, nil
}

// A SignerConfig is where a keyless signature is made. The zero value, but for
// the token, is the public instance.
type SignerConfig struct {
	Token         string // identity token (OIDC) of who signs
	SigningConfig []byte // Sigstore signing_config.json; empty: the addresses below
	FulcioURL     string // "": https://fulcio.sigstore.dev
	RekorURL      string // "": https://rekor.sigstore.dev
	TrustedRoot   []byte // with which the result is verified; empty: the public instance
	Timeout       time.Duration
}

// The public instance.
const (
	publicFulcio = "https://fulcio.sigstore.dev"
	publicRekor  = "https://rekor.sigstore.dev"
)

// Sign signs a statement as the holder of the token and returns the bundle. It
// makes requests to Fulcio and Rekor; the statement is sent to the log, the
// files it lists are not.
func Sign(ctx context.Context, payload []byte, cfg SignerConfig) ([]byte, error) {
	if cfg.Token == "" {
		return nil, errors.New("keyless signing needs an identity token")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	text := cfg.TrustedRoot
	if len(text) == 0 {
		text = productionRoot
	}
	trusted, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	fulcio, rekor, version, err := cfg.services()
	if err != nil {
		return nil, err
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	b, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: attest.PayloadType}, key, sign.BundleOptions{
		Context:                    ctx,
		TrustedRoot:                trusted,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: fulcio, Timeout: cfg.Timeout, Retries: 1}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: cfg.Token},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: rekor, Timeout: cfg.Timeout, Retries: 1, Version: version})},
	})
	if err != nil {
		return nil, fmt.Errorf("keyless signature: %w", err)
	}
	pb := bundle.Bundle{Bundle: b}
	return pb.MarshalJSON()
}

// services chooses the addresses of Fulcio and Rekor.
func (cfg SignerConfig) services() (fulcio, rekor string, version uint32, err error) {
	fulcio, rekor, version = publicFulcio, publicRekor, 1
	if len(cfg.SigningConfig) > 0 {
		sc, err := root.NewSigningConfigFromJSON(cfg.SigningConfig)
		if err != nil {
			return "", "", 0, fmt.Errorf("signing configuration: %w", err)
		}
		f, err := root.SelectService(sc.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, time.Now())
		if err != nil {
			return "", "", 0, fmt.Errorf("signing configuration: Fulcio: %w", err)
		}
		r, err := root.SelectServices(sc.RekorLogURLs(), sc.RekorLogURLsConfig(), sign.RekorAPIVersions, time.Now())
		if err != nil || len(r) == 0 {
			return "", "", 0, fmt.Errorf("signing configuration: Rekor: %w", err)
		}
		fulcio, rekor, version = f.URL, r[0].URL, r[0].MajorAPIVersion
	}
	if cfg.FulcioURL != "" {
		fulcio = cfg.FulcioURL
	}
	if cfg.RekorURL != "" {
		rekor = cfg.RekorURL
	}
	return fulcio, rekor, version, nil
}
