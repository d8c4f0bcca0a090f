package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/keyless"
	"github.com/modelwarden/warden/internal/attest/oms"
)

type verifyFlags struct {
	signatures, roots, ignore                        []string
	key, certTime, trustedRoot, format               string
	identity, issuer, identityPattern, issuerPattern string
	ignoreUnsigned, follow, anyPurpose               bool
}

func newVerify(a *app) *cobra.Command {
	f := &verifyFlags{}
	c := &cobra.Command{
		Use: "verify MODEL [--signature FILE]", Short: "Verify who signed a model, and that nothing in it changed",
		Long: "Verify checks a signature (OpenSSF Model Signing v1.0, historical versions included) against the files of\n" +
			"a model: who signed, whether the certificate was valid, and each file both ways. Keys and roots inside\n" +
			"a bundle are never trusted.\n\n" +
			"  warden verify ./model --signature model.sig --key release.pub\n" +
			"  warden verify ./model --signature model.sig --root ca.pem\n" +
			"  warden verify ./model --signature model.sig --identity me@example.com --issuer https://accounts.example.com\n\n" +
			"Exit codes: 0 verified, 1 rejected, 2 usage, 3 could not finish.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.verify(c.Context(), f, x[0]) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.signatures, "signature", nil, "bundle; repeatable: each must verify (default: those that the server holds for these files)")
	fl.StringVar(&f.key, "key", "", "public key of the signer (PEM)")
	fl.StringArrayVar(&f.roots, "root", nil, "trusted certificate authority (PEM); repeatable")
	fl.StringVar(&f.certTime, "cert-time", oms.TimeAuto, "when a certificate must be valid: auto, now or issued")
	fl.BoolVar(&f.anyPurpose, "any-purpose", false, "take certificates for other purposes than code signing too")
	fl.StringVar(&f.identity, "identity", "", "keyless: who signed, whole")
	fl.StringVar(&f.issuer, "issuer", "", "keyless: who says so, whole")
	fl.StringVar(&f.identityPattern, "identity-regexp", "", "keyless: pattern for the whole identity")
	fl.StringVar(&f.issuerPattern, "issuer-regexp", "", "keyless: pattern for the whole issuer")
	fl.StringVar(&f.trustedRoot, "trusted-root", "", "keyless: Sigstore trusted_root.json (default: the public instance)")
	fl.StringArrayVar(&f.ignore, "ignore", nil, "unsigned file that may be there: exact relative path; repeatable")
	fl.BoolVar(&f.ignoreUnsigned, "ignore-unsigned", false, "take a model with files that were not signed")
	fl.BoolVar(&f.follow, "follow-symlinks", false, "where the signer followed links, follow those that stay inside")
	fl.StringVar(&f.format, "format", "text", "text or json")
	return c
}

func (a *app) verify(ctx context.Context, f *verifyFlags, model string) error {
	if f.format != "text" && f.format != "json" {
		return usage("--format %q: want text or json", f.format)
	}
	cfg, err := f.config()
	if err != nil {
		return err
	}
	bundles, err := a.bundles(ctx, f.signatures, model)
	if err != nil {
		return err
	}
	for i, b := range bundles {
		name, text := b.name, b.text
		cfg.Signature = b.file
		p := a.counting(model)
		cfg.Progress = p.add
		r, err := oms.Verify(ctx, text, model, cfg)
		p.stop()
		if perr := a.printVerified(f.format, name, r, err); perr != nil {
			return perr
		}
		held := len(f.signatures) == 0 // by the server: anybody who may push can attach one, so one good one is enough
		switch {
		case err == nil && held:
			return nil
		case err == nil:
		case !oms.IsRejected(err):
			return &exit{exitIncomplete, err}
		case !held || i == len(bundles)-1:
			return &exit{exitFindings, nil} // the report says why
		}
	}
	return nil
}

// A bundleOf is a signature to verify, and the file it lies in, if any.
type bundleOf struct {
	name, file string
	text       []byte
}

// bundles reads the signatures that were named, or else asks the server for
// those that were attached to an artifact of exactly these files.
func (a *app) bundles(ctx context.Context, names []string, model string) ([]bundleOf, error) {
	var out []bundleOf
	for _, name := range names {
		text, err := readUpTo(name, oms.MaxBundle)
		if err != nil {
			return nil, &exit{exitIncomplete, err}
		}
		out = append(out, bundleOf{name, name, text})
	}
	if len(names) > 0 {
		return out, nil
	}
	subjects, err := subjectsOf(ctx, model)
	if err != nil {
		return nil, &exit{exitIncomplete, err}
	}
	cl, err := a.client()
	if err != nil {
		return nil, fmt.Errorf("--signature FILE is missing, and no server holds one: %w", err)
	}
	var page struct {
		Items []struct {
			Payload       string          `json:"payload"`
			PredicateType string          `json:"predicate_type"`
			Envelope      json.RawMessage `json:"envelope"`
		} `json:"items"`
	}
	if err := cl.call(ctx, http.MethodGet, "/api/v1/artifacts/"+subjects[0].String()+"/statements?limit=1000", nil, &page); err != nil {
		return nil, err
	}
	for _, s := range page.Items {
		if s.PredicateType == oms.PredicateType || s.PredicateType == oms.LegacyType {
			out = append(out, bundleOf{name: "signature " + s.Payload, text: s.Envelope})
		}
	}
	if len(out) == 0 {
		return nil, &exit{exitFindings, fmt.Errorf("nobody signed %s, which the server knows (hint: warden sign, then warden registry attach)", subjects[0])}
	}
	return out, nil
}

// config chooses what is trusted: a key, authorities or an identity.
func (f *verifyFlags) config() (oms.VerifyConfig, error) {
	cfg := oms.VerifyConfig{
		CertTime: f.certTime, AnyPurpose: f.anyPurpose, Ignore: f.ignore, IgnoreUnsigned: f.ignoreUnsigned, FollowSymlinks: f.follow, Now: time.Now(),
	}
	if f.certTime != oms.TimeAuto && f.certTime != oms.TimeNow && f.certTime != oms.TimeIssued {
		return cfg, usage("--cert-time %q: want auto, now or issued", f.certTime)
	}
	named := f.identity != "" || f.issuer != "" || f.identityPattern != "" || f.issuerPattern != ""
	switch {
	case f.key != "" && len(f.roots) == 0 && !named:
		text, err := readKeyFile(f.key)
		if err != nil {
			return cfg, usage("--key: %w", err)
		}
		if cfg.Key, err = attest.ParsePublicPEM(text); err != nil {
			return cfg, usage("--key %s: %w (hint: warden key show tells what a file holds)", f.key, err)
		}
	case len(f.roots) > 0 && f.key == "" && !named:
		for _, name := range f.roots {
			certs, err := readCertificates(name)
			if err != nil {
				return cfg, err
			}
			cfg.Roots = append(cfg.Roots, certs...)
		}
	case named && f.key == "" && len(f.roots) == 0:
		k := keyless.VerifierConfig{Identity: f.identity, Issuer: f.issuer, IdentityPattern: f.identityPattern, IssuerPattern: f.issuerPattern}
		if f.trustedRoot != "" {
			var err error
			if k.TrustedRoot, err = readSmall(f.trustedRoot); err != nil {
				return cfg, usage("--trusted-root: %w", err)
			}
		}
		v, err := keyless.NewVerifier(k)
		if err != nil {
			return cfg, usage("%w", err)
		}
		cfg.Keyless = v
	default:
		return cfg, usage("say whom you trust: --key, --root, or --identity with --issuer (one of them)")
	}
	return cfg, nil
}

// A verifiedJSON is the JSON form of a verification.
type verifiedJSON struct {
	Schema     string     `json:"schema"`
	Bundle     string     `json:"bundle"`
	Verified   bool       `json:"verified"`
	Method     string     `json:"method"`
	Signer     string     `json:"signer"`
	Issuer     string     `json:"issuer"`
	Time       *time.Time `json:"time,omitempty"`
	TimeSource string     `json:"time_source"`
	Hash       string     `json:"hash"`
	Order      string     `json:"order"`
	Legacy     bool       `json:"legacy"`
	Files      int        `json:"files"`
	Unsigned   []string   `json:"unsigned"`
	Ignored    []string   `json:"ignored"`
	Empty      []string   `json:"unlisted_empty"`
	Warnings   []string   `json:"warnings"`
	Steps      []oms.Step `json:"steps"`
}

func (a *app) printVerified(format, name string, r *oms.Result, err error) error {
	if format == "json" {
		v := verifiedJSON{
			Schema: "warden.verify/v1", Bundle: name, Verified: r.Verified, Method: r.Method, Signer: r.Signer, Issuer: r.Issuer, TimeSource: r.CertSource, Hash: r.Hash, Order: r.Order,
			Legacy: r.Legacy, Files: len(r.Files), Unsigned: orNone(r.Unsigned), Ignored: orNone(r.Ignored), Empty: orNone(r.Empty), Warnings: orNone(r.Warnings), Steps: r.Steps,
		}
		if !r.CertTime.IsZero() {
			t := r.CertTime.UTC()
			v.Time = &t
		}
		enc := json.NewEncoder(a.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	var b strings.Builder
	head := "verified"
	switch {
	case oms.IsRejected(err):
		head = "rejected"
	case err != nil:
		head = "not verified: it could not be finished"
	}
	fmt.Fprintf(&b, "%s  %s\n", head, name)
	for _, s := range r.Steps {
		mark := "ok  "
		if !s.OK {
			mark = "no  "
		}
		fmt.Fprintf(&b, "  %s%-10s %s\n", mark, s.Name, s.Detail)
	}
	if r.Verified {
		list(&b, "not signed, and taken because you said so", r.Unsigned)
		list(&b, "left out by the signer", r.Ignored)
	}
	if r.Legacy {
		fmt.Fprintln(&b, "  note: a bundle of version 0.2.0, which is no longer written")
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "  note: %s\n", w)
	}
	_, werr := fmt.Fprint(a.Stdout, b.String())
	return werr
}

func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// list prints the first names of a list.
func list(b *strings.Builder, what string, names []string) {
	const shown = 10
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "  %s: %d\n", what, len(names))
	for _, n := range names[:min(len(names), shown)] {
		fmt.Fprintf(b, "    %q\n", n)
	}
	if len(names) > shown {
		fmt.Fprintf(b, "    and %d more\n", len(names)-shown)
	}
}
