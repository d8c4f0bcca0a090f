package attest

import (
	"encoding/json"
	"fmt"
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

// A Rejection says why an envelope did not become a claim. Its Envelope is the
// index in the input.
type Rejection struct {
	Envelope int
	Err      error
}

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
	return VerifyStatement(Subject{Digest: subject}, b, trust, now)
}

// VerifyStatement returns the claim about a subject that an envelope, which was
// received at a time, proves.
func VerifyStatement(about Subject, b []byte, trust TrustStore, received time.Time) (warden.Claim, error) {
	e, s, err := Open(b)
	if err != nil {
		return warden.Claim{}, err
	}
	if s.Subjects[0] != about.Digest {
		return warden.Claim{}, fmt.Errorf("%w: %v, want %v", ErrSubject, s.Subjects[0], about.Digest)
	}
	err = ErrUntrusted
	for _, t := range trust {
		if t.Key == nil || e.verify(t.Key) != nil {
			continue
		}
		if err = t.For(s.PredicateType, about); err != nil {
			continue
		}
		if err = t.Holds(received); err == nil {
			return warden.Claim{Statement: s, Signer: t.ID, Verified: received}, nil
		}
	}
	return warden.Claim{}, err
}

// Open reads an envelope and the statement in it, strictly, without looking at
// the signature.
func Open(b []byte) (Envelope, warden.Statement, error) {
	e, err := DecodeEnvelope(b)
	if err != nil {
		return Envelope{}, warden.Statement{}, err
	}
	if e.PayloadType != PayloadType {
		return Envelope{}, warden.Statement{}, fmt.Errorf("%w: payload type %q", ErrMalformed, e.PayloadType)
	}
	s, err := Decode(e.Payload)
	return e, s, err
}
