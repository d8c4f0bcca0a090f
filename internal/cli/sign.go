package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/keyless"
	"github.com/modelwarden/warden/internal/attest/kms"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/attest/pkcs11"
	"github.com/modelwarden/warden/internal/registry"
)

type signFlags struct {
	signature, key, cert, fromManifest, hash string
	tokenFile, signingConfig, trustedRoot    string
	chain, ignore                            []string
	shard                                    int64
	keyless, follow                          bool
}

func newSign(a *app) *cobra.Command {
	f := &signFlags{}
	c := &cobra.Command{
		Use: "sign MODEL --signature FILE --key KEY", Short: "Sign a model file or folder (OpenSSF Model Signing v1.0)",
		Long: "Sign lists every file of a model with its digest and signs that list. The bundle can be verified by\n" +
			"warden verify and by the reference implementations of OpenSSF Model Signing.\n\n" +
			"  warden sign ./model --signature model.sig --key release.key\n" +
			"  warden sign ./model --signature model.sig --key leaf.key --cert leaf.pem --chain ca.pem\n" +
			"  warden sign ./model --signature model.sig --keyless --identity-token-file token",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.sign(c.Context(), f, x) },
	}
	fl := c.Flags()
	fl.StringVar(&f.signature, "signature", "", "where to write the bundle")
	a.keyFlag(fl, &f.key)
	fl.StringVar(&f.cert, "cert", "", "certificate of the key (PEM): sign by certificate")
	fl.StringArrayVar(&f.chain, "chain", nil, "further certificates, leaf to root; repeatable")
	fl.BoolVar(&f.keyless, "keyless", false, "sign with an identity: a short-lived certificate from Fulcio and an entry in Rekor")
	fl.StringVar(&f.tokenFile, "identity-token-file", "", "identity token (OIDC) for --keyless")
	fl.StringVar(&f.signingConfig, "signing-config", "", "Sigstore signing_config.json for --keyless (default: the public instance)")
	fl.StringVar(&f.trustedRoot, "trusted-root", "", "Sigstore trusted_root.json for --keyless (default: the public instance)")
	fl.StringArrayVar(&f.ignore, "ignore", nil, "exact relative path to leave out, with all below it; repeatable")
	fl.StringVar(&f.hash, "hash", "sha256", strings.Join(oms.HashTypes(), ", "))
	fl.Int64Var(&f.shard, "shard-size", 0, "hash ranges of so many bytes instead of whole files (0: whole files)")
	fl.BoolVar(&f.follow, "follow-symlinks", false, "sign what links inside the model lead to")
	fl.StringVar(&f.fromManifest, "from-manifest", "", "sign the digests of a stored manifest; no file is read")
	return c
}

func (a *app) sign(ctx context.Context, f *signFlags, x []string) error {
	switch {
	case f.signature == "":
		return usage("--signature FILE is missing: where to write the bundle")
	case (len(x) == 1) == (f.fromManifest != ""):
		return usage("give a MODEL, or --from-manifest FILE")
	case f.keyless == (f.key != ""):
		return usage("sign with --key or with --keyless (hint: warden key generate --out release makes a key)")
	case f.cert == "" && len(f.chain) > 0:
		return usage("--chain goes with --cert")
	case f.keyless && f.tokenFile == "":
		return usage("--keyless needs --identity-token-file")
	}
	var m oms.Manifest
	var err error
	if f.fromManifest != "" {
		m, err = storedManifest(f.fromManifest)
	} else {
		p := a.counting(x[0])
		m, err = oms.Read(ctx, x[0], oms.SignConfig{Hash: f.hash, Shard: f.shard, Ignore: f.ignore, FollowSymlinks: f.follow, Signature: f.signature, Progress: p.add})
		p.stop()
	}
	if err != nil {
		return rejected(err)
	}
	bundle, who, err := a.bundle(ctx, f, m)
	if err != nil {
		return rejected(err)
	}
	if err := writeWhole(f.signature, bundle, 0o644); err != nil {
		return &exit{exitIncomplete, err}
	}
	_, err = fmt.Fprintf(a.Stdout, "signed %d entries of %s\nby      %s\nbundle  %s\n", len(m.Resources), m.Name, who, f.signature)
	return err
}

// bundle signs m as the flags say, and tells by whom.
func (a *app) bundle(ctx context.Context, f *signFlags, m oms.Manifest) ([]byte, string, error) {
	if f.keyless {
		payload, err := m.Payload()
		if err != nil {
			return nil, "", err
		}
		token, err := readSmall(f.tokenFile)
		if err != nil {
			return nil, "", usage("--identity-token-file: %w", err)
		}
		cfg := keyless.SignerConfig{Token: strings.TrimSpace(string(token))}
		for name, to := range map[string]*[]byte{f.signingConfig: &cfg.SigningConfig, f.trustedRoot: &cfg.TrustedRoot} {
			if name == "" {
				continue
			}
			if *to, err = readSmall(name); err != nil {
				return nil, "", usage("%w", err)
			}
		}
		b, err := keyless.Sign(ctx, payload, cfg)
		return b, "the holder of the identity token", err
	}
	s, err := a.signer(ctx, f.key)
	if err != nil {
		return nil, "", err
	}
	var chain []*x509.Certificate
	for _, name := range append(sliceOf(f.cert), f.chain...) {
		certs, err := readCertificates(name)
		if err != nil {
			return nil, "", err
		}
		chain = append(chain, certs...)
	}
	who := "key " + s.ID()
	if len(chain) > 0 {
		who = "certificate of " + chain[0].Subject.String()
	}
	b, err := oms.Sign(m, s, chain)
	return b, who, err
}

// sliceOf is a list of s, or none if s is empty.
func sliceOf(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// rejected gives an error of signing or verifying its exit code: a no is 1, what
// could not be read is 3.
func rejected(err error) error {
	if oms.IsRejected(err) {
		return &exit{exitFindings, err}
	}
	return err
}

// storedManifest reads a manifest of the registry.
func storedManifest(name string) (oms.Manifest, error) {
	b, err := readUpTo(name, registry.MaxManifestBytes)
	if err != nil {
		return oms.Manifest{}, usage("--from-manifest: %w", err)
	}
	stored, err := registry.DecodeManifest(b)
	if err != nil {
		return oms.Manifest{}, usage("--from-manifest %s: %w", name, err)
	}
	files := make(map[string]warden.Digest, len(stored.Files))
	for _, f := range stored.Files {
		files[f.Path] = f.Digest
	}
	return oms.FromDigests(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), files)
}

// keyForms says which keys --key takes.
const keyForms = "file (PEM), env://NAME, vault-transit://KEY, awskms:///ARN, gcpkms://…, azurekms://VAULT/KEY or pkcs11:… (build tag pkcs11)"

// signer opens a private key by its address.
func (a *app) signer(ctx context.Context, uri string) (*attest.Signer, error) {
	if name, ok := strings.CutPrefix(uri, "env://"); ok {
		text := a.Getenv(name)
		if text == "" {
			return nil, usage("--key env://%s: the variable is not set", name)
		}
		return a.signerOf("env://"+name, []byte(text))
	}
	if slices.ContainsFunc(kms.Schemes(), func(s string) bool { return strings.HasPrefix(uri, s) }) {
		key, err := kms.Open(ctx, uri, kms.Config{Getenv: a.Getenv})
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", uri, err)
		}
		return attest.NewSigner(key)
	}
	if strings.HasPrefix(uri, pkcs11.Scheme) {
		key, err := pkcs11.Open(uri, pkcs11.Config{Getenv: a.Getenv}) //nolint:staticcheck // its error may be nil with the build tag
		switch {
		case errors.Is(err, pkcs11.ErrURI), errors.Is(err, pkcs11.ErrAbsent):
			return nil, usage("--key: %w", err)
		case err != nil: //nolint:staticcheck // it may be nil with the build tag
			return nil, fmt.Errorf("--key: %w", err)
		}
		return attest.NewSigner(key)
	}
	return a.readSigner(uri)
}

// readSmall reads a file of configuration.
func readSmall(name string) ([]byte, error) { return readUpTo(name, 1<<20) }

func readUpTo(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return []byte(b.String()), err
}

// readCertificates reads the certificates of a PEM file.
func readCertificates(name string) ([]*x509.Certificate, error) {
	rest, err := readSmall(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	var out []*x509.Certificate
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, usage("%s: %w", name, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, usage("%s holds no certificate (want PEM)", name)
	}
	return out, nil
}

// counting is a progress line of bytes on a terminal.
type counting struct {
	read atomic.Int64
	quit chan struct{}
	done chan struct{}
}

// counting shows how many bytes of a model were read, after a moment.
func (a *app) counting(name string) *counting {
	c := &counting{quit: make(chan struct{}), done: make(chan struct{})}
	if !terminal(a.Stderr) {
		close(c.done)
		return c
	}
	go func() {
		defer close(c.done)
		wait := progressAfter
		for {
			select {
			case <-c.quit:
				fmt.Fprint(a.Stderr, "\r\x1b[K")
				return
			case <-time.After(wait):
				fmt.Fprintf(a.Stderr, "\r\x1b[K%.1f MB of %q", float64(c.read.Load())/1e6, filepath.Base(name))
				wait = progressEvery
			}
		}
	}()
	return c
}

func (c *counting) add(n int64) { c.read.Add(n) }

func (c *counting) stop() {
	close(c.quit)
	<-c.done
}
