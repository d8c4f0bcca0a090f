package oms

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/attest"
)

// Version 0.2.0 of the Python reference listed files as subjects, and signed a
// text of its own: the pre-authentication encoding with a lower-case tag and
// the payload as Python prints bytes, always by SHA-256. Such bundles are
// verified, never written.

type legacyStatement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name        string            `json:"name"`
		Digest      map[string]string `json:"digest"`
		Annotations struct {
			Algorithm string `json:"actual_hash_algorithm"`
		} `json:"annotations"`
	} `json:"subject"`
	PredicateType string `json:"predicateType"`
}

// isLegacy looks at the type that a payload claims; its signature is checked as
// that of a legacy bundle then.
func isLegacy(payload []byte) bool {
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	return json.Unmarshal(payload, &s) == nil && s.PredicateType == legacyType
}

func verifyLegacy(key *ecdsa.PublicKey, payloadType string, payload, sig []byte) error {
	text := fmt.Sprintf("DSSEV1 %d %s %d %s", len(payloadType), payloadType, len(payload), pythonBytes(payload))
	sum := sha256.Sum256([]byte(text))
	if !ecdsa.VerifyASN1(key, sum[:], sig) {
		return attest.ErrSignature
	}
	return nil
}

// pythonBytes prints bytes as Python's repr does.
func pythonBytes(b []byte) string {
	quote := byte('\'')
	if strings.IndexByte(string(b), '\'') >= 0 && strings.IndexByte(string(b), '"') < 0 {
		quote = '"'
	}
	var out strings.Builder
	out.WriteByte('b')
	out.WriteByte(quote)
	for _, c := range b {
		switch {
		case c == quote || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c == '\t':
			out.WriteString(`\t`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte(quote)
	return out.String()
}

func decodeLegacy(payload []byte) (*statement, error) {
	if err := attest.CheckJSON(payload); err != nil {
		return nil, reject("statement: %w", err)
	}
	var old legacyStatement
	if err := json.Unmarshal(payload, &old); err != nil {
		return nil, reject("statement: %w", plain(err))
	}
	if old.Type != attest.StatementType {
		return nil, reject("statement type %.100q, want %s", old.Type, attest.StatementType)
	}
	p := predicate{Serialization: &Serialization{Method: methodFiles, HashType: "sha256"}}
	for _, s := range old.Subject {
		if s.Annotations.Algorithm != "file-sha256" {
			return nil, reject("%.200q is hashed by %.40q, which is not verified", s.Name, s.Annotations.Algorithm)
		}
		p.Resources = append(p.Resources, Resource{Name: s.Name, Digest: s.Digest["sha256"], Algorithm: "sha256"})
	}
	slices.SortFunc(p.Resources, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
	if _, err := p.check(); err != nil {
		return nil, err
	}
	return &statement{Type: old.Type, PredicateType: legacyType, Predicate: p}, nil
}
