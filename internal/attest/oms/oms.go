// Package oms signs and verifies models in the OpenSSF Model Signing format,
// version 1.0: a Sigstore bundle with one DSSE envelope around an in-toto
// statement that lists every file of a model with its digest.
//
// It writes what both reference implementations accept, and accepts what they
// wrote, historical bundles included. Where they disagree with each other or
// with the specification, it takes the side that lets nothing through: names are
// compared, orders other than the two in use are refused, and a key or a root
// inside a bundle is never trusted.
//
// Source: OpenSSF Model Signing Specification v1.0 (2026-05-15).
package oms

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/attest"
)

// Wire constants of the format.
const (
	PredicateType  = "https://model_signing/signature/v1.0"
	legacyType     = "https://model_signing/Digests/v0.1"
	mediaType      = "application/vnd.dev.sigstore.bundle.v0.3+json"
	mediaPrefix    = "application/vnd.dev.sigstore.bundle"
	methodFiles    = "files"
	methodShards   = "shards"
	MaxBundle      = 64 << 20  // bytes of a bundle that is read
	maxResources   = 1_000_000 // files or shards of a model
	DefaultShard   = 1_000_000_000
	maxNameBytes   = 4096
	maxCertificate = 64 // certificates in a chain
)

// ErrRejected is wrapped by every error that says no: the bundle, its signature
// or the files are not what they should be. Other errors mean that something
// could not be read.
var ErrRejected = errors.New("rejected")

func reject(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRejected}, args...)...)
}

// A Resource is one file of a model, or one range of bytes of it.
type Resource struct {
	Name      string `json:"name"` // relative path; with shards path:start:end
	Digest    string `json:"digest"`
	Algorithm string `json:"algorithm"`
}

// A Serialization says how the files were listed and hashed.
type Serialization struct {
	Method        string      `json:"method"`
	HashType      string      `json:"hash_type"`
	ShardSize     json.Number `json:"shard_size,omitempty"` // shards only
	AllowSymlinks bool        `json:"allow_symlinks"`
	IgnorePaths   []string    `json:"ignore_paths,omitempty"`

	shard int64 // ShardSize as a number, 0 for files
}

type predicate struct {
	Resources     []Resource     `json:"resources"`
	Serialization *Serialization `json:"serialization"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

// A bundle is what is read of a Sigstore bundle.
type bundle struct {
	MediaType string   `json:"mediaType"`
	Material  material `json:"verificationMaterial"`
	Envelope  *struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			Sig   []byte  `json:"sig"`
			KeyID *string `json:"keyid,omitempty"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

type certificate struct {
	RawBytes []byte `json:"rawBytes"`
}

// Material is unsigned: it says how a signature was made, and proves nothing.
type material struct {
	PublicKey *struct {
		Hint string `json:"hint,omitempty"`
		Raw  []byte `json:"rawBytes,omitempty"`
	} `json:"publicKey,omitempty"`
	Chain *struct {
		Certificates []certificate `json:"certificates"`
	} `json:"x509CertificateChain,omitempty"`
	Certificate *certificate `json:"certificate,omitempty"`
}

// Methods of signing, as results name them.
const (
	MethodKey         = "key"
	MethodCertificate = "certificate"
	MethodKeyless     = "keyless"
)

// method returns how a bundle was signed.
func (m material) method() (string, error) {
	var found []string
	if m.PublicKey != nil {
		found = append(found, MethodKey)
	}
	if m.Chain != nil {
		found = append(found, MethodCertificate)
	}
	if m.Certificate != nil {
		found = append(found, MethodKeyless)
	}
	if len(found) != 1 {
		return "", reject("verification material names %d ways of signing, want 1", len(found))
	}
	return found[0], nil
}

// decodeBundle reads a bundle strictly.
func decodeBundle(b []byte) (*bundle, error) {
	if len(b) > MaxBundle {
		return nil, reject("bundle of %d bytes, at most %d", len(b), MaxBundle)
	}
	if err := attest.CheckJSON(b); err != nil {
		return nil, reject("bundle: %w", err)
	}
	var x bundle
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, reject("bundle: %w", plain(err))
	}
	switch {
	case !strings.HasPrefix(x.MediaType, mediaPrefix):
		return nil, reject("media type %.100q is no Sigstore bundle", x.MediaType)
	case x.Envelope == nil:
		return nil, reject("bundle holds no DSSE envelope")
	case x.Envelope.PayloadType != attest.PayloadType:
		return nil, reject("payload type %.100q, want %s", x.Envelope.PayloadType, attest.PayloadType)
	case len(x.Envelope.Signatures) != 1:
		return nil, reject("%d signatures, want 1", len(x.Envelope.Signatures))
	}
	return &x, nil
}

// plain takes the internals out of a decoding error.
func plain(err error) error {
	if bad := base64.CorruptInputError(0); errors.As(err, &bad) {
		return errors.New("invalid base64")
	}
	if te := (*json.UnmarshalTypeError)(nil); errors.As(err, &te) {
		return fmt.Errorf("%s is a %s", te.Field, te.Value)
	}
	return err
}

// decodeStatement reads the signed payload and checks all that does not need
// the files: types, names, digests, order and root.
func decodeStatement(payload []byte) (*statement, string, error) {
	if err := attest.CheckJSON(payload); err != nil {
		return nil, "", reject("statement: %w", err)
	}
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, "", reject("statement: %w", plain(err))
	}
	switch {
	case s.Type != attest.StatementType:
		return nil, "", reject("statement type %.100q, want %s", s.Type, attest.StatementType)
	case s.PredicateType != PredicateType:
		return nil, "", reject("predicate type %.100q, want %s", s.PredicateType, PredicateType)
	case len(s.Subject) != 1:
		return nil, "", reject("%d subjects, want 1", len(s.Subject))
	case s.Predicate.Serialization == nil:
		return nil, "", reject("predicate has no serialization")
	}
	if err := s.Predicate.Serialization.check(); err != nil {
		return nil, "", err
	}
	order, err := s.Predicate.check()
	if err != nil {
		return nil, "", err
	}
	root, err := rootOf(s.Predicate.Resources)
	if err != nil {
		return nil, "", err
	}
	if s.Subject[0].Digest["sha256"] != root {
		return nil, "", reject("the root digest does not follow from the listed files")
	}
	return &s, order, nil
}

// check validates a serialization and resolves its shard size, which the Python
// reference writes as 1000.0.
func (s *Serialization) check() error {
	if _, ok := hashes[s.HashType]; !ok {
		return reject("unknown hash type %.40q", s.HashType)
	}
	switch s.Method {
	case methodFiles:
		if s.ShardSize != "" {
			return reject("a shard size without shards")
		}
		return nil
	case methodShards:
	default:
		return reject("unknown serialization method %.40q", s.Method)
	}
	if n, err := s.ShardSize.Int64(); err == nil {
		s.shard = n
	} else if f, err := s.ShardSize.Float64(); err == nil && f == float64(int64(f)) && f < 1<<53 {
		s.shard = int64(f)
	}
	if s.shard < 1 {
		return reject("shard size %.40q is no positive integer", s.ShardSize.String())
	}
	return nil
}

// Orders of resources in use.
const (
	OrderString     = "string"     // by code point of the whole name: the specification, and the Go reference
	OrderComponents = "components" // by path component: the Python reference
)

// check validates the listed files and returns their order.
func (p predicate) check() (order string, err error) {
	rs, s := p.Resources, p.Serialization
	if len(rs) == 0 || len(rs) > maxResources {
		return "", reject("%d files are listed, want 1 to %d", len(rs), maxResources)
	}
	seen := make(map[string]bool, len(rs))
	for _, r := range rs {
		name := r.Name
		if s.Method == methodShards {
			path, start, end, ok := shardName(name)
			if !ok || start%s.shard != 0 || end <= start || end-start > s.shard {
				return "", reject("%.200q is no shard of %d bytes", name, s.shard)
			}
			name = path
		}
		if err := checkName(name, len(rs) == 1); err != nil {
			return "", err
		}
		if seen[r.Name] {
			return "", reject("%.200q is listed twice", r.Name)
		}
		seen[r.Name] = true
		if r.Algorithm != s.HashType && r.Algorithm != fmt.Sprintf("%s-sharded-%d", s.HashType, s.shard) {
			return "", reject("%.200q is hashed by %.40q, the model by %s", r.Name, r.Algorithm, s.HashType)
		}
		if raw, err := hex.DecodeString(r.Digest); err != nil || len(raw) != hashes[s.HashType].size || strings.ToLower(r.Digest) != r.Digest {
			return "", reject("digest of %.200q is no %s", r.Name, s.HashType)
		}
	}
	switch {
	case slices.IsSortedFunc(rs, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) }):
		return OrderString, nil
	case slices.IsSortedFunc(rs, byComponents(s)):
		return OrderComponents, nil
	}
	return "", reject("the files are listed in an order that no signer uses")
}

// byComponents compares as the Python reference does: paths by component, then
// shards by place.
func byComponents(s *Serialization) func(a, b Resource) int {
	key := func(r Resource) ([]string, int64, int64) {
		if s.Method != methodShards {
			return strings.Split(r.Name, "/"), 0, 0
		}
		path, start, end, _ := shardName(r.Name)
		return strings.Split(path, "/"), start, end
	}
	return func(a, b Resource) int {
		ap, as, ae := key(a)
		bp, bs, be := key(b)
		if c := slices.Compare(ap, bp); c != 0 {
			return c
		}
		return slices.Compare([]int64{as, ae}, []int64{bs, be})
	}
}

// checkName refuses names that are no canonical relative path. A model of one
// file was called "." until version 1.0.0.
func checkName(name string, only bool) error {
	if only && name == "." {
		return nil
	}
	if name == "" || len(name) > maxNameBytes || strings.ContainsRune(name, 0) {
		return reject("file name %.100q is empty, too long or no text", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return reject("file name %.200q is not canonical", name)
		}
	}
	return nil
}

// rootOf is the digest over the raw digests in listed order. It covers no names.
func rootOf(rs []Resource) (string, error) {
	h := sha256.New()
	for _, r := range rs {
		raw, err := hex.DecodeString(r.Digest)
		if err != nil {
			return "", reject("digest of %.200q is no hexadecimal text", r.Name)
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
