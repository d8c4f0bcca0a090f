// Package attest makes signed statements about artifacts and turns verified
// ones into claims: in-toto Statement v1 in a DSSE envelope.
//
// A statement says something about digests. Its signature says who. Whether
// that signer may say it is the trust store's answer, and what follows from it
// is policy's: this package decides nothing.
package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // hashes of P-384 and P-521 signatures
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// PayloadType is the DSSE payload type of in-toto statements.
const PayloadType = "application/vnd.in-toto+json"

// MaxEnvelope is the size of the largest envelope that is read, in bytes.
const MaxEnvelope = 16 << 20

// Errors that callers branch on.
var (
	ErrMalformed = errors.New("malformed envelope")
	ErrSignature = errors.New("signature does not verify")
	ErrKey       = errors.New("unusable key")
)

// An Envelope is a DSSE envelope (secure-systems-lab/dsse, protocol v1.0.2).
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// A Signature is one signature over the pre-authentication encoding.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// pae is the DSSE pre-authentication encoding: what is signed.
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// A Signer signs statements with one ECDSA key, wherever that key lives. It is
// safe for concurrent use if its key is.
type Signer struct {
	key crypto.Signer
	pub *ecdsa.PublicKey
	id  string
}

// NewSigner returns a Signer for key, which must be an ECDSA key on the curve
// P-256, P-384 or P-521.
func NewSigner(key crypto.Signer) (*Signer, error) {
	if key == nil {
		return nil, fmt.Errorf("%w: none", ErrKey)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, want ECDSA", ErrKey, key.Public())
	}
	if _, err := hashOf(pub); err != nil {
		return nil, err
	}
	id, err := KeyID(pub)
	if err != nil {
		return nil, err
	}
	return &Signer{key: key, pub: pub, id: id}, nil
}

// hashOf returns the hash that signatures of a key are made over, which its
// curve decides (OpenSSF Model Signing v1.0): never what a bundle says.
func hashOf(pub *ecdsa.PublicKey) (crypto.Hash, error) {
	if pub != nil {
		switch pub.Curve {
		case elliptic.P256():
			return crypto.SHA256, nil
		case elliptic.P384():
			return crypto.SHA384, nil
		case elliptic.P521():
			return crypto.SHA512, nil
		}
	}
	return 0, fmt.Errorf("%w: want ECDSA on P-256, P-384 or P-521", ErrKey)
}

// GenerateKey makes a new signing key on curve; nil means P-256.
func GenerateKey(curve elliptic.Curve) (*ecdsa.PrivateKey, error) {
	if curve == nil {
		curve = elliptic.P256()
	}
	return ecdsa.GenerateKey(curve, rand.Reader)
}

// KeyID returns the name of a public key: the lower-case hex SHA-256 of its
// PEM-encoded SubjectPublicKeyInfo, as OpenSSF Model Signing hints do.
func KeyID(pub crypto.PublicKey) (string, error) {
	text, err := PublicPEM(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// PublicPEM encodes a public key as PEM SubjectPublicKeyInfo.
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// PrivatePEM encodes a private key as PEM PKCS #8.
func PrivatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePrivatePEM is the inverse of [PrivatePEM].
func ParsePrivatePEM(text []byte) (*ecdsa.PrivateKey, error) {
	b, rest := pem.Decode(text)
	if b == nil || b.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: want one PEM block PRIVATE KEY", ErrKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, want ECDSA", ErrKey, key)
	}
	return ec, nil
}

// ParsePublicPEM reads a public key from PEM SubjectPublicKeyInfo.
func ParsePublicPEM(text []byte) (*ecdsa.PublicKey, error) {
	b, rest := pem.Decode(text)
	if b == nil || b.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: want one PEM block PUBLIC KEY", ErrKey)
	}
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	ec, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, want ECDSA", ErrKey, key)
	}
	_, err = hashOf(ec)
	return ec, err
}

// ID returns the key id; see [KeyID].
func (s *Signer) ID() string { return s.id }

// Public returns the public half.
func (s *Signer) Public() *ecdsa.PublicKey { return s.pub }

// LogValue keeps the private key out of logs.
func (s *Signer) LogValue() slog.Value { return slog.StringValue(s.id) }

// Signature returns the ASN.1 signature over the pre-authentication encoding of
// payload.
func (s *Signer) Signature(payloadType string, payload []byte) ([]byte, error) {
	hash, err := hashOf(s.pub)
	if err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(pae(payloadType, payload))
	sig, err := s.key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	return sig, nil
}

// Sign returns the DSSE envelope of payload as canonical JSON.
func (s *Signer) Sign(payload []byte) ([]byte, error) {
	sig, err := s.Signature(PayloadType, payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Envelope{PayloadType: PayloadType, Payload: payload, Signatures: []Signature{{KeyID: s.id, Sig: sig}}})
}

// DecodeEnvelope reads one envelope strictly: duplicate and unknown names,
// trailing bytes and more than one signature are refused, because readers
// disagree on what they mean.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	if len(b) > MaxEnvelope {
		return e, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxEnvelope)
	}
	if err := decodeStrict(b, &e); err != nil {
		return e, err
	}
	if len(e.Signatures) != 1 {
		return e, fmt.Errorf("%w: %d signatures, want 1", ErrMalformed, len(e.Signatures))
	}
	return e, nil
}

// verify checks the one signature of e.
func (e Envelope) verify(pub *ecdsa.PublicKey) error {
	return VerifySignature(pub, e.PayloadType, e.Payload, e.Signatures[0].Sig)
}

// VerifySignature checks a signature that [Signer.Signature] made. The curve of
// the key decides the hash. It returns [ErrSignature], or an error wrapping
// [ErrKey].
func VerifySignature(pub *ecdsa.PublicKey, payloadType string, payload, sig []byte) error {
	hash, err := hashOf(pub)
	if err != nil {
		return err
	}
	h := hash.New()
	h.Write(pae(payloadType, payload))
	if !ecdsa.VerifyASN1(pub, h.Sum(nil), sig) {
		return ErrSignature
	}
	return nil
}

// CheckJSON refuses what JSON readers disagree on: duplicate names (also those
// that differ in case only), deep nesting, bytes after the value. The error
// wraps [ErrMalformed].
func CheckJSON(b []byte) error {
	if err := checkNames(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	var v json.RawMessage
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes after the JSON value", ErrMalformed)
	}
	return nil
}

// maxDepth bounds the nesting of envelopes and statements.
const maxDepth = 32

// decodeStrict decodes one JSON value into v. On top of encoding/json it
// refuses duplicate names (also those that differ in case only, which
// encoding/json would merge), unknown names, deep nesting and trailing bytes.
func decodeStrict(b []byte, v any) error {
	if err := checkNames(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		if bad := base64.CorruptInputError(0); errors.As(err, &bad) {
			return fmt.Errorf("%w: invalid base64", ErrMalformed)
		}
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes after the JSON value", ErrMalformed)
	}
	return nil
}

func checkNames(b []byte) error {
	type level struct {
		names map[string]bool // nil: an array
		key   bool            // the next string is a name
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		top := len(stack) - 1
		switch tok := tok.(type) {
		case json.Delim:
			switch tok {
			case '{':
				stack = append(stack, level{names: map[string]bool{}, key: true})
			case '[':
				stack = append(stack, level{})
			default:
				stack = stack[:top]
				if top > 0 && stack[top-1].names != nil {
					stack[top-1].key = true
				}
			}
			if len(stack) > maxDepth {
				return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
			}
			continue
		case string:
			if top >= 0 && stack[top].key {
				folded := strings.ToLower(strings.ToUpper(tok)) // as encoding/json folds
				if stack[top].names[folded] {
					return fmt.Errorf("%w: name %q twice", ErrMalformed, tok)
				}
				stack[top].names[folded], stack[top].key = true, false
				continue
			}
		}
		if top >= 0 && stack[top].names != nil {
			stack[top].key = true
		}
	}
}
