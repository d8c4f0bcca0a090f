package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// ServerSigner is the id of the entry that every trust store of a server has:
// its own key.
const ServerSigner = "server"

// Predicate types of our own that a server signs besides [ScanType].
const (
	ApprovalType    = "https://modelwarden.dev/approval/v1"
	CertifyBadType  = "https://modelwarden.dev/certify-bad/v1"
	CertifyGoodType = "https://modelwarden.dev/certify-good/v1"
)

// Server returns the trust entry of a server's own key.
func Server(key *ecdsa.PublicKey) Trusted {
	return Trusted{ID: ServerSigner, Kind: KindKey, Key: key, Predicates: []string{ScanType, ApprovalType, CertifyBadType, CertifyGoodType, SVRType, VSAType}}
}

// Kinds of trust entries.
const (
	KindKey      = "key"      // one public key
	KindCA       = "ca"       // certificate authorities, whose certificates sign
	KindIdentity = "identity" // a keyless signer: an identity and who vouches for it
)

// Ways of revoking an entry.
const (
	RevokeAfter = "signed-after" // what was received before stays
	RevokeAll   = "all"          // nothing stays
)

// An Entry is one line of a trust store as it is kept: a signer, and what it is
// trusted for. Zero times mean no bound.
type Entry struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	Value      string    `json:"value"`                // PEM of a key or of certificates; an identity
	Issuer     string    `json:"issuer,omitempty"`     // of an identity: who vouches for it
	Root       string    `json:"root,omitempty"`       // of an identity: Sigstore trusted root; "" is the public instance
	Principal  string    `json:"principal,omitempty"`  // person who holds the key: four eyes count people
	Subjects   []string  `json:"subjects,omitempty"`   // globs of model names; none: every model
	Predicates []string  `json:"predicates,omitempty"` // predicate types; none: nothing
	NotBefore  time.Time `json:"not_before,omitzero"`
	NotAfter   time.Time `json:"not_after,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	Revocation string    `json:"revocation,omitempty"` // RevokeAfter or RevokeAll
	AnyPurpose bool      `json:"any_purpose,omitempty"`
	Comment    string    `json:"comment,omitempty"`
}

// ErrEntry is wrapped by errors about trust entries that make no sense.
var ErrEntry = errors.New("invalid trust entry")

// Bounds of an entry.
const (
	maxEntryValue = 64 << 10
	maxEntryRoot  = 1 << 20
	maxEntryList  = 100
	maxEntryText  = 500
)

// Trusted checks e and returns what signatures are compared with.
func (e Entry) Trusted() (Trusted, error) {
	bad := func(format string, args ...any) (Trusted, error) {
		return Trusted{}, fmt.Errorf("%w: %s", ErrEntry, fmt.Sprintf(format, args...))
	}
	t := Trusted{
		ID: e.ID, Kind: e.Kind, Issuer: e.Issuer, Root: e.Root, Principal: e.Principal, Subjects: e.Subjects, Predicates: e.Predicates, NotBefore: e.NotBefore, NotAfter: e.NotAfter,
		RevokedAt: e.RevokedAt, Revoked: e.Revocation == RevokeAll, AnyPurpose: e.AnyPurpose,
	}
	switch {
	case !entryID(e.ID) || e.ID == ServerSigner:
		return bad("id %.100q: want 1 to 64 letters, digits, dots and dashes, and not %q", e.ID, ServerSigner)
	case len(e.Value) > maxEntryValue || len(e.Root) > maxEntryRoot || len(e.Comment) > maxEntryText || len(e.Principal) > maxEntryText || len(e.Issuer) > maxEntryText:
		return bad("a text is too long")
	case len(e.Predicates) == 0 || len(e.Predicates) > maxEntryList:
		return bad("%d predicate types: a signer is trusted for some", len(e.Predicates))
	case len(e.Subjects) > maxEntryList:
		return bad("%d subjects, at most %d", len(e.Subjects), maxEntryList)
	case !e.NotAfter.IsZero() && !e.NotAfter.After(e.NotBefore):
		return bad("it ends before it begins")
	case e.Revocation != "" && e.Revocation != RevokeAfter && e.Revocation != RevokeAll, (e.Revocation == "") != e.RevokedAt.IsZero():
		return bad("revocation %.40q: want %s or %s, and a time", e.Revocation, RevokeAfter, RevokeAll)
	}
	for _, g := range e.Subjects {
		if _, err := path.Match(g, "a/b"); err != nil || g == "" || strings.Count(g, "/") > 1 {
			return bad("subject %.100q is no pattern of model names such as team/*", g)
		}
	}
	var err error
	switch e.Kind {
	case KindKey:
		t.Key, err = ParsePublicPEM([]byte(e.Value))
	case KindCA:
		t.Roots, err = ParseCertificates([]byte(e.Value))
	case KindIdentity:
		if t.Identity = e.Value; e.Value == "" || e.Issuer == "" || len(e.Value) > maxEntryText {
			err = errors.New("an identity needs its issuer: nobody else is who they say")
		}
	default:
		err = fmt.Errorf("kind %.40q: want %s, %s or %s", e.Kind, KindKey, KindCA, KindIdentity)
	}
	if err != nil {
		return bad("%v", err)
	}
	return t, nil
}

func entryID(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// maxCertificates bounds a list of certificate authorities.
const maxCertificates = 64

// ParseCertificates reads PEM certificates. The error wraps [ErrKey].
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" || len(out) == maxCertificates {
			return nil, fmt.Errorf("%w: want at most %d PEM blocks CERTIFICATE", ErrKey, maxCertificates)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, fmt.Errorf("%w: want PEM blocks CERTIFICATE", ErrKey)
	}
	return out, nil
}

// A Trusted is one signer that is trusted for some predicate types.
type Trusted struct {
	ID         string // how claims and explanations name the signer
	Kind       string // one of the Kind constants; "" is KindKey
	Key        *ecdsa.PublicKey
	Roots      []*x509.Certificate // of a certificate authority
	Identity   string              // of a keyless signer
	Issuer     string
	Root       string    // Sigstore trusted root; "" is the public instance
	Principal  string    // person who holds it; "" is nobody known
	Predicates []string  // predicate types; none: trusted for nothing
	Subjects   []string  // globs of model names; none: every model
	NotBefore  time.Time // zero: always
	NotAfter   time.Time // zero: for ever
	RevokedAt  time.Time // zero: not revoked; what was received before stays
	Revoked    bool      // nothing stays
	AnyPurpose bool      // certificates for other purposes than code signing are taken
}

// A TrustStore is the list of trusted signers. The zero value trusts nobody.
type TrustStore []Trusted

// Errors in a [Rejection], besides [ErrMalformed] and [ErrSignature].
var (
	ErrUntrusted = errors.New("signer is not trusted for this predicate")
	ErrNamespace = errors.New("signer is not trusted for this model")
	ErrExpired   = errors.New("signer's trust is not valid at this time")
	ErrRevoked   = errors.New("signer is revoked")
	ErrSubject   = errors.New("statement is about something else")
)

// Holds returns nil if what t signed counts when it was received at a time: the
// signer's own word is never a source of time.
func (t Trusted) Holds(received time.Time) error {
	switch {
	case t.Revoked, !t.RevokedAt.IsZero() && !received.Before(t.RevokedAt):
		return fmt.Errorf("%s: %w", t.ID, ErrRevoked)
	case !t.NotBefore.IsZero() && received.Before(t.NotBefore), !t.NotAfter.IsZero() && received.After(t.NotAfter):
		return fmt.Errorf("%s: %w", t.ID, ErrExpired)
	}
	return nil
}

// A Subject is what statements are about: an artifact and the models that it
// belongs to.
type Subject struct {
	Digest warden.Digest
	Names  []string // every name it goes by
	Model  string   // the one that is asked about; "": all of Names
}

// For reports whether t is trusted to say things of a type about s. A warning
// counts if the signer is trusted for any name of the artifact; what speaks for
// it only if for each that is asked about, so that nobody speaks for a model by
// pushing its bytes under a name of theirs.
func (t Trusted) For(predicateType string, s Subject) error {
	if !slices.Contains(t.Predicates, predicateType) {
		return ErrUntrusted
	}
	if len(t.Subjects) == 0 {
		return nil
	}
	names := s.Names
	covered := func(name string) bool {
		return slices.ContainsFunc(t.Subjects, func(g string) bool {
			ok, err := path.Match(g, name)
			namespace, _, _ := strings.Cut(name, "/")
			return err == nil && (ok || g == namespace)
		})
	}
	if predicateType == ScanType || predicateType == CertifyBadType {
		if slices.ContainsFunc(names, covered) {
			return nil
		}
		return fmt.Errorf("%s: %w", t.ID, ErrNamespace)
	}
	if s.Model != "" {
		names = []string{s.Model}
	}
	if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return !covered(n) }) {
		return fmt.Errorf("%s: %w", t.ID, ErrNamespace)
	}
	return nil
}
