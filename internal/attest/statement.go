package attest

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// StatementType is the in-toto statement type. Predicate types under
// modelwarden.dev are our own, where no standard exists.
const StatementType = "https://in-toto.io/Statement/v1"

type wireStatement struct {
	Type          string          `json:"_type"`
	Subject       []wireSubject   `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type wireSubject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// New returns the statement that predicate holds for the subjects.
func New(predicateType string, predicate any, subjects ...warden.Digest) (warden.Statement, error) {
	b, err := warden.Canonical(predicate)
	if err != nil {
		return warden.Statement{}, fmt.Errorf("predicate %s: %w", predicateType, err)
	}
	if len(subjects) == 0 {
		return warden.Statement{}, fmt.Errorf("predicate %s: %w: no subject", predicateType, ErrMalformed)
	}
	return warden.Statement{Subjects: subjects, PredicateType: predicateType, Predicate: b}, nil
}

// Encode returns the in-toto form of s, the bytes that are signed.
func Encode(s warden.Statement) ([]byte, error) {
	w := wireStatement{Type: StatementType, PredicateType: s.PredicateType, Predicate: s.Predicate}
	for _, d := range s.Subjects {
		w.Subject = append(w.Subject, wireSubject{Digest: map[string]string{"sha256": strings.TrimPrefix(d.String(), "sha256:")}})
	}
	return warden.Canonical(w)
}

// Decode is the inverse of [Encode]. It is strict: what it does not understand
// it refuses with an error wrapping [ErrMalformed].
func Decode(b []byte) (warden.Statement, error) {
	var w wireStatement
	if err := decodeStrict(b, &w); err != nil {
		return warden.Statement{}, err
	}
	if w.Type != StatementType {
		return warden.Statement{}, fmt.Errorf("%w: statement type %q, want %q", ErrMalformed, w.Type, StatementType)
	}
	s := warden.Statement{PredicateType: w.PredicateType, Predicate: w.Predicate}
	for i, sub := range w.Subject {
		d, err := warden.ParseDigest("sha256:" + sub.Digest["sha256"])
		if err != nil {
			return warden.Statement{}, fmt.Errorf("%w: subject %d: %w", ErrMalformed, i, err)
		}
		s.Subjects = append(s.Subjects, d)
	}
	if len(s.Subjects) == 0 || s.PredicateType == "" {
		return warden.Statement{}, fmt.Errorf("%w: no subject or no predicate type", ErrMalformed)
	}
	return s, nil
}

// SignStatement encodes s and returns its signed envelope.
func SignStatement(signer *Signer, s warden.Statement) ([]byte, error) {
	payload, err := Encode(s)
	if err != nil {
		return nil, err
	}
	return signer.Sign(payload)
}

// A Trusted is one signer that is trusted for some predicate types.
type Trusted struct {
	ID         string // how claims and explanations name the signer
	Key        *ecdsa.PublicKey
	Predicates []string  // predicate types; none: trusted for nothing
	NotBefore  time.Time // zero: always
	NotAfter   time.Time // zero: for ever
	Revoked    bool
}

// A TrustStore is the list of trusted signers. The zero value trusts nobody.
type TrustStore []Trusted

// A Rejection says why an envelope did not become a claim. Its Envelope is the
// index in the input.
type Rejection struct {
	Envelope int
	Err      error
}

// Errors in a [Rejection], besides [ErrMalformed] and [ErrSignature].
var (
	ErrUntrusted = errors.New("signer is not trusted for this predicate")
	ErrExpired   = errors.New("signer's trust is not valid at this time")
	ErrRevoked   = errors.New("signer is revoked")
	ErrSubject   = errors.New("statement is about something else")
)

// Verify returns the claims about subject that the envelopes prove, and a
// reason for each envelope that proves none. A key inside an envelope is never
// trusted; the key id is a hint that selects candidates from the trust store.
func Verify(subject warden.Digest, envelopes [][]byte, trust TrustStore, now time.Time) ([]warden.Claim, []Rejection) {
	var claims []warden.Claim
	var rejected []Rejection
	for i, b := range envelopes {
		c, err := verifyOne(subject, b, trust, now)
		if err != nil {
			rejected = append(rejected, Rejection{Envelope: i, Err: err})
			continue
		}
		claims = append(claims, c)
	}
	return claims, rejected
}

func verifyOne(subject warden.Digest, b []byte, trust TrustStore, now time.Time) (warden.Claim, error) {
	e, err := DecodeEnvelope(b)
	if err != nil {
		return warden.Claim{}, err
	}
	if e.PayloadType != PayloadType {
		return warden.Claim{}, fmt.Errorf("%w: payload type %q", ErrMalformed, e.PayloadType)
	}
	s, err := Decode(e.Payload)
	if err != nil {
		return warden.Claim{}, err
	}
	if s.Subjects[0] != subject {
		return warden.Claim{}, fmt.Errorf("%w: %v, want %v", ErrSubject, s.Subjects[0], subject)
	}
	err = ErrUntrusted
	for _, t := range trust {
		if !slices.Contains(t.Predicates, s.PredicateType) || e.verify(t.Key) != nil {
			continue
		}
		switch {
		case t.Revoked:
			err = fmt.Errorf("%s: %w", t.ID, ErrRevoked)
		case !t.NotBefore.IsZero() && now.Before(t.NotBefore), !t.NotAfter.IsZero() && now.After(t.NotAfter):
			err = fmt.Errorf("%s: %w", t.ID, ErrExpired)
		default:
			return warden.Claim{Statement: s, Signer: t.ID, Verified: now, Until: t.NotAfter}, nil
		}
	}
	return warden.Claim{}, err
}
