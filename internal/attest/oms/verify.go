package oms

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/attest"
)

// How the time is chosen at which a certificate must be valid.
const (
	TimeAuto   = "auto"   // now: a bundle without a verified timestamp proves no earlier time
	TimeNow    = "now"    // now
	TimeIssued = "issued" // the certificate's own begin, as both references do: expiry never bites
)

// A VerifyConfig says who may have signed and what may differ. Exactly one of
// Key, Roots and Keyless is set.
type VerifyConfig struct {
	Key     *ecdsa.PublicKey    // the signer's key
	Roots   []*x509.Certificate // certificate authorities that are trusted
	Keyless KeylessVerifier     // checks bundles of short-lived certificates

	CertTime       string   // one of the Time constants; "" is auto
	AnyPurpose     bool     // certificates for other purposes than code signing are taken too
	Ignore         []string // unsigned files that may be there: exact relative paths; listed files are checked all the same
	IgnoreUnsigned bool     // any unsigned file may be there
	FollowSymlinks bool     // where the signer followed links, follow those that stay inside
	Signature      string   // path of the bundle, which is no part of the model
	Now            time.Time
	Progress       func(n int64) // see SignConfig
}

// A KeylessVerifier checks a whole Sigstore bundle: certificate, log entry and
// signature. It returns an error wrapping [ErrRejected] for no.
type KeylessVerifier interface {
	Verify(ctx context.Context, bundle []byte) (KeylessSigner, error)
}

// A KeylessSigner is who signed a keyless bundle, and when the log says so.
type KeylessSigner struct {
	Identity, Issuer string
	Time             time.Time
}

// A Step is one check of a verification, in the order they are made.
type Step struct {
	Name   string `json:"name"` // parse, signer, signature, statement, files, unsigned
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// A Result is what a verification found, whatever its outcome. It is about the
// bytes that were read: open files by digest afterwards, not by path again.
type Result struct {
	Verified bool
	Steps    []Step
	Method   string // MethodKey, MethodCertificate, MethodKeyless
	Signer   string // key id, subject of the certificate, or identity
	Issuer   string // of the certificate or identity

	CertTime   time.Time // at which the certificate was valid; zero for keys
	CertSource string    // where that time is from
	NotBefore  time.Time // of the certificate
	NotAfter   time.Time

	Legacy   bool   // format of version 0.2.0
	Order    string // one of the Order constants
	Hash     string // hash type
	Files    []Resource
	Unsigned []string // files that are there but not signed
	Ignored  []string // files that are there and that the signature leaves out
	Empty    []string // unsigned files without bytes, which shards cannot cover
	Warnings []string
}

func (r *Result) step(name string, err error, format string, args ...any) error {
	s := Step{Name: name, OK: err == nil, Detail: fmt.Sprintf(format, args...)}
	if err != nil {
		s.Detail = strings.TrimPrefix(err.Error(), ErrRejected.Error()+": ")
	}
	r.Steps = append(r.Steps, s)
	return err
}

// Verify checks the bundle against the model at a path. The error wraps
// [ErrRejected] if the answer is no, and is another one if something could not
// be read; the Result says how far it came.
func Verify(ctx context.Context, bundleText []byte, modelPath string, cfg VerifyConfig) (*Result, error) {
	r := &Result{}
	x, err := decodeBundle(bundleText)
	if err == nil {
		r.Method, err = x.Material.method()
	}
	if err := r.step("parse", err, "Sigstore bundle with one signature"); err != nil {
		return r, err
	}
	legacy := isLegacy(x.Envelope.Payload)
	if err := r.authenticate(ctx, x, bundleText, cfg, legacy); err != nil {
		return r, err
	}
	var s *statement
	if legacy {
		s, err = decodeLegacy(x.Envelope.Payload)
		r.Legacy, r.Order = true, OrderString
	} else {
		s, r.Order, err = decodeStatement(x.Envelope.Payload)
	}
	if err != nil {
		return r, r.step("statement", err, "")
	}
	r.Hash, r.Files = s.Predicate.Serialization.HashType, s.Predicate.Resources
	_ = r.step("statement", nil, "%d entries by %s, order: %s", len(r.Files), r.Hash, r.Order)
	if err := r.files(ctx, s, modelPath, cfg); err != nil {
		return r, err
	}
	r.Verified = true
	return r, nil
}

// authenticate finds out who signed, and whether the signature is theirs.
func (r *Result) authenticate(ctx context.Context, x *bundle, text []byte, cfg VerifyConfig, legacy bool) error {
	var key *ecdsa.PublicKey
	switch {
	case cfg.Key != nil && r.Method == MethodKey:
		key = cfg.Key
		id, err := attest.KeyID(key)
		if err != nil {
			return r.step("signer", err, "")
		}
		r.Signer = id
		if hint := x.Material.PublicKey.Hint; hint != "" && hint != id {
			r.Warnings = append(r.Warnings, "the bundle hints at another key than the one it was verified with; hints are not signed")
		}
		_ = r.step("signer", nil, "key %s", id)
	case len(cfg.Roots) > 0 && r.Method == MethodCertificate:
		leaf, err := r.chain(x.Material, cfg)
		if err := r.step("signer", err, "certificate of %s, valid at %s (%s)", r.Signer, r.CertTime.UTC().Format(time.RFC3339), r.CertSource); err != nil {
			return err
		}
		key = leaf
	case cfg.Keyless != nil && r.Method == MethodKeyless:
		who, err := cfg.Keyless.Verify(ctx, text)
		if err != nil {
			return r.step("signer", err, "")
		}
		r.Signer, r.Issuer, r.CertTime, r.CertSource = who.Identity, who.Issuer, who.Time, "transparency log"
		_ = r.step("signer", nil, "%s, says %s", who.Identity, who.Issuer)
		return r.step("signature", nil, "verified with its log entry")
	default:
		return r.step("signer", reject("the bundle was signed by the method %q, which what is trusted here cannot verify", r.Method), "")
	}
	env := x.Envelope
	var err error
	if legacy {
		err = verifyLegacy(key, env.PayloadType, env.Payload, env.Signatures[0].Sig)
	} else {
		err = attest.VerifySignature(key, env.PayloadType, env.Payload, env.Signatures[0].Sig)
	}
	if err != nil {
		err = reject("%w", err)
	}
	return r.step("signature", err, "signature of %d bytes verifies", len(env.Payload))
}

// chain verifies the certificates of a bundle against the trusted roots.
func (r *Result) chain(m material, cfg VerifyConfig) (*ecdsa.PublicKey, error) {
	raw := m.Chain.Certificates
	if len(raw) == 0 || len(raw) > maxCertificate {
		return nil, reject("%d certificates, want 1 to %d", len(raw), maxCertificate)
	}
	var certs []*x509.Certificate
	for i, c := range raw {
		cert, err := x509.ParseCertificate(c.RawBytes)
		if err != nil {
			return nil, reject("certificate %d: %w", i, err)
		}
		certs = append(certs, cert)
	}
	leaf := certs[0]
	r.Signer, r.Issuer, r.NotBefore, r.NotAfter = leaf.Subject.String(), leaf.Issuer.String(), leaf.NotBefore, leaf.NotAfter
	switch cfg.CertTime {
	case "", TimeAuto, TimeNow:
		r.CertTime, r.CertSource = cfg.Now, "now"
	case TimeIssued:
		r.CertTime, r.CertSource = leaf.NotBefore, "begin of the certificate"
		r.Warnings = append(r.Warnings, "the certificate was judged at its own begin, so its expiry says nothing")
	default:
		return nil, reject("unknown time %q", cfg.CertTime)
	}
	if !cfg.AnyPurpose {
		if err := leafPurpose(leaf); err != nil {
			return nil, err
		}
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range cfg.Roots {
		roots.AddCert(c)
	}
	for _, c := range certs[1:] {
		inter.AddCert(c) // carried along: they lead to a root, and are none
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter, CurrentTime: r.CertTime, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, reject("certificate of %s: %w", leaf.Subject, err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, reject("the certificate holds a %T, want ECDSA", leaf.PublicKey)
	}
	return key, nil
}

// leafPurpose refuses certificates that are for something else, such as TLS
// servers.
func leafPurpose(c *x509.Certificate) error {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return reject("the certificate of %s is not for code signing", c.Subject)
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return reject("the certificate of %s is not for signatures", c.Subject)
	}
	return nil
}

// files compares the model with what was signed, both ways.
func (r *Result) files(ctx context.Context, s *statement, modelPath string, cfg VerifyConfig) error {
	m, err := openModel(modelPath)
	if err != nil {
		return r.step("files", err, "")
	}
	defer m.close()
	ser := s.Predicate.Serialization
	bundleFile := ignores{}
	if in := m.inside(cfg.Signature); in != "" {
		bundleFile = append(bundleFile, in)
	}
	found, err := m.list(bundleFile, ser.AllowSymlinks && cfg.FollowSymlinks)
	if err != nil {
		return r.step("files", err, "")
	}
	skip, err := signedIgnores(ser.IgnorePaths, found)
	if err != nil {
		return r.step("files", err, "")
	}
	byName := make(map[string]entry, len(found))
	for _, f := range found {
		byName[f.name] = f
	}
	ps, err := r.wanted(s, m, byName)
	if err != nil {
		return r.step("files", err, "")
	}
	sums, err := digest(ctx, m, ps, hashes[ser.HashType], cfg.Progress)
	if err != nil {
		return r.step("files", err, "")
	}
	for i, p := range ps {
		if sums[i] != s.Predicate.Resources[i].Digest {
			return r.step("files", reject("%.200q is not what was signed: its digest differs", p.name), "")
		}
	}
	_ = r.step("files", nil, "%d of %d as signed", len(ps), len(ps))
	return r.extras(found, ps, skip, ser.Method == methodShards, cfg)
}

// wanted finds the file, or the range of a file, of each listed resource.
func (r *Result) wanted(s *statement, m *model, byName map[string]entry) ([]piece, error) {
	ser, rs := s.Predicate.Serialization, s.Predicate.Resources
	covered := map[string]int64{}
	ps := make([]piece, 0, len(rs))
	for _, x := range rs {
		name, start, end := x.Name, int64(0), int64(-1)
		if ser.Method == methodShards {
			name, start, end, _ = shardName(x.Name)
		}
		if name == "." && m.single {
			name = m.base
		}
		f, ok := byName[name]
		if !ok {
			return nil, reject("%.200q was signed and is missing", name)
		}
		if end < 0 {
			end = f.size
		}
		if end > f.size || ser.Method == methodShards && end-start != ser.shard && end != f.size {
			return nil, reject("%.200q has %d bytes, its shards were signed for another size", name, f.size)
		}
		covered[name] += end - start
		ps = append(ps, piece{x.Name, f, start, end})
	}
	for name, n := range covered {
		if n != byName[name].size {
			return nil, reject("%.200q has %d bytes, %d were signed", name, byName[name].size, n)
		}
	}
	return ps, nil
}

// signedIgnores are the signed paths that leave files out: exact relative paths
// only. What would leave out more than it names is refused; entries that name
// nothing in the model, such as absolute paths of the signer's machine, have no
// effect.
func signedIgnores(signed []string, found []entry) (ignores, error) {
	skip := ignores(slices.Clone(defaultIgnored))
	for _, p := range signed {
		switch {
		case p == "." || p == "" || p == "./":
			return nil, reject("the signature leaves out %q, which is the whole model", p)
		case strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../") || strings.Contains(p, "/../"):
		case strings.ContainsAny(p, "*?["):
			for _, f := range found {
				if hit, err := path.Match(p, f.name); err != nil || hit {
					return nil, reject("the signature leaves out the pattern %.100q; only exact paths are allowed", p)
				}
			}
		default:
			skip = append(skip, strings.TrimSuffix(strings.TrimPrefix(p, "./"), "/"))
		}
	}
	return skip, nil
}

// extras judges files that are there and were not signed.
func (r *Result) extras(found []entry, ps []piece, skip ignores, shards bool, cfg VerifyConfig) error {
	signed := make(map[string]bool, len(ps))
	for _, p := range ps {
		signed[p.file.name] = true
	}
	allowed := ignores{}
	for _, p := range cfg.Ignore {
		clean, err := userIgnore(p)
		if err != nil {
			return r.step("unsigned", err, "")
		}
		allowed = append(allowed, clean)
	}
	for _, f := range found {
		switch {
		case signed[f.name]:
		case skip.match(f.name):
			r.Ignored = append(r.Ignored, f.name)
		case allowed.match(f.name):
			r.Unsigned = append(r.Unsigned, f.name)
		default:
			r.Unsigned = append(r.Unsigned, f.name)
			if f.size == 0 && shards {
				r.Empty = append(r.Empty, f.name)
				if harmlessEmpty(f.name) {
					continue
				}
			}
			if !cfg.IgnoreUnsigned {
				return r.step("unsigned", reject("%.200q is in the model and was not signed", f.name), "")
			}
		}
	}
	return r.step("unsigned", nil, "%d unsigned files, %d left out by the signature", len(r.Unsigned), len(r.Ignored))
}

// harmlessEmpty reports whether a file without bytes means nothing to a loader.
// Shards cannot list files without bytes, so a signer's own ones are unlisted as
// much as added ones. Raw tensor data of no bytes is nothing; any other name may
// matter by being there, as __init__.py does, and stays an unsigned file.
func harmlessEmpty(name string) bool {
	return slices.Contains([]string{".bin", ".safetensors", ".npy", ".data", ".raw", ".dat"}, strings.ToLower(path.Ext(name)))
}

// IsRejected reports whether an error of this package is a no, and not a
// failure to look.
func IsRejected(err error) bool { return errors.Is(err, ErrRejected) }
