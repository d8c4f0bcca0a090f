package oms

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
)

// LegacyType is the predicate type of bundles of version 0.2.0.
const LegacyType = legacyType

// A Peeked is what a bundle says of itself. None of it is verified.
type Peeked struct {
	Method        string // one of the Method constants
	PredicateType string
	Hint          string // of the key
	Payload       []byte
}

// Peek reads a Sigstore bundle without looking at its signature.
func Peek(text []byte) (Peeked, error) {
	x, err := decodeBundle(text)
	if err != nil {
		return Peeked{}, err
	}
	p := Peeked{Payload: x.Envelope.Payload}
	if p.Method, err = x.Material.method(); err != nil {
		return Peeked{}, err
	}
	if k := x.Material.PublicKey; k != nil {
		p.Hint = k.Hint
	}
	if err := attest.CheckJSON(p.Payload); err != nil {
		return Peeked{}, reject("statement: %w", err)
	}
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	if err := json.Unmarshal(p.Payload, &s); err != nil || s.PredicateType == "" {
		return Peeked{}, reject("the statement has no predicate type")
	}
	p.PredicateType = s.PredicateType
	return p, nil
}

// Signed reports whether a predicate type is a signature over the files of a
// model.
func (p Peeked) Signed() bool {
	return p.PredicateType == PredicateType || p.PredicateType == legacyType
}

// Authenticate checks who signed a bundle, whatever its statement says.
func Authenticate(ctx context.Context, text []byte, cfg VerifyConfig) (*Result, error) {
	r := &Result{}
	x, err := decodeBundle(text)
	if err == nil {
		r.Method, err = x.Material.method()
	}
	if err := r.step("parse", err, "Sigstore bundle with one signature"); err != nil {
		return r, err
	}
	r.Legacy = isLegacy(x.Envelope.Payload)
	return r, r.authenticate(ctx, x, text, cfg, r.Legacy)
}

// A Listed is a file whose digest is known already.
type Listed struct {
	Digest warden.Digest
	Size   int64
}

// Compare checks that the files which a statement lists are exactly those of a
// model, by digests that are known already: nothing is read. Only SHA-256 of
// whole files can be compared. The bundle itself, if it lies beside the model,
// is no part of it. The signature is not looked at.
func Compare(payload []byte, files map[string]Listed, bundle warden.Digest) (*Result, error) {
	r := &Result{}
	var (
		s   *statement
		err error
	)
	if r.Legacy = isLegacy(payload); r.Legacy {
		s, err = decodeLegacy(payload)
		r.Order = OrderString
	} else {
		s, r.Order, err = decodeStatement(payload)
	}
	if err := r.step("statement", err, "lists the files of a model"); err != nil {
		return r, err
	}
	ser := s.Predicate.Serialization
	r.Hash, r.Files = ser.HashType, s.Predicate.Resources
	if ser.HashType != "sha256" {
		return r, r.step("files", reject("files were hashed by %s; only sha256 can be compared with what is stored (sign with --hash sha256)", ser.HashType), "")
	}
	signed := make(map[string]bool, len(r.Files))
	for _, x := range r.Files {
		name, start, end := x.Name, int64(0), int64(-1)
		if ser.Method == methodShards {
			name, start, end, _ = shardName(x.Name)
		}
		if name == "." && len(files) == 1 {
			for only := range files {
				name = only
			}
		}
		f, ok := files[name]
		switch {
		case !ok:
			return r, r.step("files", reject("%.200q was signed and is no file of this artifact", name), "")
		case end >= 0 && (start != 0 || end != f.Size):
			return r, r.step("files", reject("%.200q was signed in several parts, which cannot be compared with what is stored (sign without --shard-size)", name), "")
		case "sha256:"+x.Digest != f.Digest.String():
			return r, r.step("files", reject("%.200q is not what was signed: its digest differs", name), "")
		}
		signed[name] = true
	}
	_ = r.step("files", nil, "%d of %d as signed", len(signed), len(signed))
	return r, r.rest(ser, files, signed, bundle)
}

// rest judges the files of a stored model that were not signed.
func (r *Result) rest(ser *Serialization, files map[string]Listed, signed map[string]bool, bundle warden.Digest) error {
	var extra []entry
	for name, f := range files {
		if !signed[name] && f.Digest != bundle {
			extra = append(extra, entry{name: name, size: f.Size})
		}
	}
	slices.SortFunc(extra, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	skip, err := signedIgnores(ser.IgnorePaths, extra)
	if err != nil {
		return r.step("unsigned", err, "")
	}
	for _, f := range extra {
		switch {
		case skip.match(f.name):
			r.Ignored = append(r.Ignored, f.name)
		case f.size == 0 && ser.Method == methodShards && harmlessEmpty(f.name):
			r.Empty = append(r.Empty, f.name)
		default:
			return r.step("unsigned", reject("%.200q is in the artifact and was not signed", f.name), "")
		}
	}
	return r.step("unsigned", nil, "%d left out by the signature", len(r.Ignored))
}
